"""The platform contract: what the house asks of a folder beside this file, and the values that pass between them.

One talk with a device, seen from the house:

    identify(request)            bytes → who claims to speak, proven as far as bytes can prove it
    read(caller, enrollment)     → what the device says: reports, wishes, new facts, new memory
    judge(command, report)       → the outcome in our words (None: not final)
    write(check_in, command)     → the bytes of the answer, which carry at most one command down

All of that is pure. The channel alone touches the network; it is opened on the loop that uses it. Where the platform's
own company stands between us and the device, the channel is a `Courier`: its wake hands the order itself over, and what
became of it is told by notices (requests like any other) or looked up.

The house stores `memory` sealed and hands it back; only the platform reads it.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, runtime_checkable
from uuid import UUID

from models.vocabulary import Act, JobState, Join, Order, Outcome, Ownership, PasscodeKind, PlatformName, Secret


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
    query: str = field(default="", repr=False)
    """As it came, undecoded."""
    signers: Mapping[str, bytes] = field(default_factory=dict)
    """Public keys (PEM) that the channel's `keys` fetched, by id: who may have signed this. Empty until asked for."""


@dataclass(frozen=True, slots=True)
class DeviceReply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who claims to speak. `message` is the platform's own parsed value, opaque to everybody else.

    Exactly one of `link` (a one-time enrolment link is being opened), `reply` (nobody's: heard, and answered so) and a
    device's identity is set. A device is found by `certificate_hash` where the protocol has certificates, else by
    `enrollment_id` where it names its bond (what proves that is for `read` to check), else by `address`.
    """

    message: object = field(repr=False)
    address: str | None = None
    certificate_hash: bytes | None = None
    enrollment_id: UUID | None = None
    link: Secret | None = None
    reply: DeviceReply | None = None
    message_id: str | None = None
    """Where the other side sends a message more than once: heard again, it is refused as SEEN."""
    relayed: bool = False
    """The platform's company tells of it: the place from which that calls says nothing of the device."""


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
class Management:
    """How a device came in, and whether it keeps to the rules that it was given there."""

    join: Join
    compliant: bool | None = None
    """None: nothing tells us."""


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
    offers: int = 0
    """How often it was handed over."""
    sent_at: datetime | None = None
    """A courier may hold it since then, without our knowing."""
    expires_at: datetime | None = None
    """Nobody waits for it after that; None: it is never given up."""
    receipt: str | None = None
    """The courier's name for it."""


@dataclass(frozen=True, slots=True)
class Report:
    """A device's answer to the command named `ref`, or named `receipt` by a courier; `answer` is the platform's own."""

    ref: str | None
    answer: object = field(repr=False)
    receipt: str | None = None
    may_outrun: bool = False
    """It may be here before we have written down what it answers: not known, it is to be heard again later."""


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
    os_name: str | None = None
    os_version: str | None = None
    maker: str | None = None
    model: str | None = None
    serial: str | None = None
    reports: tuple[Report, ...] = ()
    formerly: tuple[str, ...] = ()
    """Addresses that this device had before, where a new life brings a new one."""
    proven: bool = True
    """Not: it has yet to show who it is. Its memory (a nonce) is kept, it is answered, and nothing else comes of it."""
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
    SEEN = "seen"
    UNSUPPORTED = "unsupported"
    TRY_LATER = "try_later"


@dataclass(frozen=True, slots=True)
class PasscodeRule:
    """What a passcode reset means here. The keys lead to the folder's texts: what the person is told, and does next."""

    kind: PasscodeKind
    done_key: str
    reveal_key: str


class Road(StrEnum):
    """How an order gets to a device."""

    PUSH = "push"
    """It is woken and calls us."""
    POLL = "poll"
    """It calls by its own schedule."""
    COURIER = "courier"
    """Its platform's company takes it there."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How a device is reached, and when it should call at the latest; None: nobody can tell."""

    road: Road
    expected_by: datetime | None = None


class Limiter(Protocol):
    """A count that all processes share."""

    async def take(self, name: str, limit: int, window: timedelta) -> timedelta | None:
        """One of `limit` in a `window`. None: taken; else how long to wait for the next."""


class Clock(Protocol):
    def __call__(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What the house hands to every channel."""

    limiter: Limiter
    clock: Clock


class Channel(Protocol):
    async def wake(self, command: Command, enrollment: Enrollment) -> Receipt | None:
        """Ask the device to call us, or hand the order to the courier (a receipt).

        Raises Unreachable (it was not taken), Refused or Uncertain (it may have been taken).
        """


@runtime_checkable
class Courier(Channel, Protocol):
    """A channel that takes orders. Nothing is handed over twice without a look."""

    async def look(self, command: Command, enrollment: Enrollment, others: frozenset[str]) -> Report | None:
        """What became of an order, by its receipt, or (uncertain) found by what it is; `others`: receipts of other
        orders. None: not there. Raises Unreachable or Refused."""

    async def withdraw(self, command: Command, enrollment: Enrollment) -> None:
        """Take an order back that is over for us; as far as it goes. Raises Unreachable."""


@runtime_checkable
class KeySource(Protocol):
    """A channel that knows who may sign the requests of its platform."""

    async def keys(self) -> "Keys":
        """Raises Unreachable."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Public keys (PEM) by id, and for how long they may be kept."""

    signers: Mapping[str, bytes]
    keep: timedelta


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

    def reach(self, facts: Facts, last_seen_at: datetime | None, now: datetime) -> Reach:
        """What a person who waits may be told. `facts.traits` as the device's last words left them."""

    def management(self, facts: Facts) -> Management:
        """What a person may be told of how it is managed. `facts.traits` as the device's last words left them."""

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        """Decide once what a resend must not change. Raises Refused."""

    def welcome(self, enrollment_id: UUID, ownership: Ownership, now: datetime) -> Welcome:
        """Make the identity that an opened link hands out. Slow (keys): call it in a thread, outside a transaction."""

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        """Raises Unreadable, or KeysNeeded: asked again with `signers` filled."""

    def read(self, caller: Caller, enrollment: Enrollment, now: datetime) -> CheckIn:
        """Raises Unreadable."""

    def judge(self, command: Command, report: Report) -> Outcome: ...

    def write(self, check_in: CheckIn, command: Command | None, enrollment: Enrollment) -> Answer:
        """`enrollment` holds the newest memory. Raises Refused: the command cannot be spelled any more."""

    def refuse(self, refusal: Refusal) -> DeviceReply: ...

    def open_channel(self, shared: Shared) -> AbstractAsyncContextManager[Channel]: ...
