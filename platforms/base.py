"""The platform contract: what the house asks of a folder beside this file, and the values that pass between them.

One talk with a device, seen from the house:

    identify(request)            bytes → who claims to speak, proven as far as bytes can prove it
    read(caller, enrollment)     → what the device says: reports, wishes, new facts, new memory
    judge(command, report)       → the outcome in our words (None: not final)
    write(check_in, command)     → the bytes of the answer, which carry at most one command down

All of that is pure. `Channel.wake` alone touches the network; it is opened on the loop that uses it.
The house stores `memory` sealed and hands it back; only the platform reads it.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from models.vocabulary import Act, JobState, Order, Outcome, Ownership, PasscodeKind, PlatformName, Secret


class EnrollmentState(StrEnum):
    """INVITED: a link was made; PENDING: the device began; ENROLLED: it can be given orders; LEFT: it cannot again."""

    INVITED = "invited"
    PENDING = "pending"
    ENROLLED = "enrolled"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One HTTP request of a device, frozen. Header names are lower case; `path` follows /devices/{platform}/."""

    method: str
    path: str = field(repr=False)
    """May hold a link, as headers may hold a signature: both open doors."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    """The client certificate (DER) that TLS proved, here or at the proxy we trust."""


@dataclass(frozen=True, slots=True)
class DeviceReply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who claims to speak. `message` is the platform's own parsed value, opaque to everybody else.

    Exactly one of `link` (a one-time enrolment link is being opened) and a device's identity is set; a device is found
    by `certificate_hash` where the protocol has certificates, else by `address`.
    """

    message: object = field(repr=False)
    address: str | None = None
    certificate_hash: bytes | None = None
    link: Secret | None = None


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The bond as the platform sees it. `address` is None until the device has named itself."""

    id: UUID
    state: EnrollmentState
    address: str | None
    memory: Secret | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What `offers` may look at: no secret is needed to show a button. `traits` are the platform's own words."""

    ownership: Ownership
    os_version: str | None
    state: EnrollmentState
    traits: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a resend must not change. `ref` names the command on the wire; `value` is stored sealed."""

    ref: str
    value: Secret


@dataclass(frozen=True, slots=True)
class Command:
    """A planned order. `state` is WAITING, or DELIVERED when it was handed out and no answer came."""

    job_id: UUID
    act: Act
    ref: str
    state: JobState
    value: Secret


@dataclass(frozen=True, slots=True)
class Report:
    """A device's answer to the command named `ref`; `answer` is the platform's own value."""

    ref: str
    answer: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckIn:
    """What one request of a device means. What is None or empty does not change."""

    message: object = field(default=None, repr=False)
    """The platform's own, handed on to `write`."""
    address: str | None = None
    state: EnrollmentState | None = None
    anew: bool = False
    """The device begins a new life: what was asked of the old one ends."""
    memory: Secret | None = None
    traits: Mapping[str, str] | None = None
    os_version: str | None = None
    model: str | None = None
    serial: str | None = None
    reports: tuple[Report, ...] = ()
    wants_order: bool = False
    withheld: frozenset[str] = frozenset()
    """Refs that must not be offered in this session (the device said "not now")."""
    reachable_anew: bool = False
    """The road to the device changed: wake it for what waits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply, and the new memory where writing it changed what must be remembered."""

    reply: DeviceReply
    memory: Secret | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """What an opened enrolment link hands out, once; the certificate that must come back with it; first memory."""

    reply: DeviceReply
    certificate_hash: bytes | None
    memory: Secret | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The other side's name for what it took from us; stored with the job."""

    reference: str


class Refusal(StrEnum):
    """Why a device request is turned away; each platform says it as its protocol does."""

    UNREADABLE = "unreadable"
    NOT_BOUND = "not_bound"
    LINK_GONE = "link_gone"
    UNSUPPORTED = "unsupported"
    TRY_LATER = "try_later"


@dataclass(frozen=True, slots=True)
class PasscodeRule:
    """What a passcode reset means here. The keys lead to the folder's texts: what the person is told, and does next."""

    kind: PasscodeKind
    done_key: str
    reveal_key: str


class Channel(Protocol):
    async def wake(self, command: Command, enrollment: Enrollment) -> Receipt | None:
        """Ask the device to call us. Raises Unreachable, Refused or Uncertain."""


class PlatformHandler(Protocol):
    """Pure, but for `open_channel`. Built once per process from its own settings."""

    @property
    def name(self) -> PlatformName: ...
    @property
    def aliases(self) -> tuple[str, ...]:
        """Absolute paths fixed by others that lead to this platform."""

    @property
    def max_body(self) -> int:
        """Bytes; a longer request is refused unread."""

    @property
    def passcode(self) -> PasscodeRule | None: ...

    def offers(self, facts: Facts) -> Mapping[Act, str | None]:
        """Each act this platform has; None: available, else the reason. A missing act is platform_unsupported."""

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        """Decide once what a resend must not change. Raises Refused."""

    def welcome(self, enrollment_id: UUID, ownership: Ownership, now: datetime) -> Welcome:
        """Make the identity that an opened link hands out. Slow (keys): call it in a thread, outside a transaction."""

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        """Raises Unreadable."""

    def read(self, caller: Caller, enrollment: Enrollment, now: datetime) -> CheckIn:
        """Raises Unreadable."""

    def judge(self, command: Command, report: Report) -> Outcome: ...

    def write(self, check_in: CheckIn, command: Command | None, enrollment: Enrollment) -> Answer:
        """`enrollment` holds the newest memory. Raises Refused: the command cannot be spelled any more."""

    def refuse(self, refusal: Refusal) -> DeviceReply: ...

    def open_channel(self) -> AbstractAsyncContextManager[Channel]: ...
