"""What Android devices can do, what Google tells us of them, and what comes of it. Pure; the network is in channel.py.

Devices do not call us: Google does, at least once and in any order. Of two words about a device the newer one counts,
by the time at which the device reported, or else at which the notice was published.
"""

import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from models.vocabulary import Act, JobState, Order, Outcome, Ownership, PlatformName, Reason, Secret
from platforms.android import acts, oidc, passcode, wire
from platforms.android.acts import Planned
from platforms.android.channel import open_channel
from platforms.android.memory import Memory
from platforms.android.passcode import Scope
from platforms.android.settings import AndroidSettings
from platforms.base import (
    Answer,
    Caller,
    Channel,
    CheckIn,
    Command,
    DeviceReply,
    DeviceRequest,
    Enrollment,
    EnrollmentState,
    Facts,
    Management,
    PasscodeRule,
    Plan,
    Reach,
    Refusal,
    Report,
    Road,
    Shared,
    Welcome,
)
from platforms.errors import Refused, Unreadable

log = logging.getLogger("platforms.android")

NAME: Final = PlatformName("android")
OS_NAME: Final = "Android"
MAX_LINK: Final = 256

OUTRUN: Final = timedelta(minutes=5)
"""So young, a notice may be here before we have written down what it answers; older, it answers somebody else's."""

REPORT: Final = "report"
"""What a refresh waits for: any report of the device that is newer than the wish."""

# 2xx is heard, everything else comes again. What is not ours, or known, will not become so by coming again.
_HEARD: Final = DeviceReply(204)
_ANOTHERS: Final = DeviceReply(403)
REFUSALS: Final[Mapping[Refusal, DeviceReply]] = {
    Refusal.UNREADABLE: DeviceReply(401, {"WWW-Authenticate": "Bearer"}),
    Refusal.NOT_BOUND: _HEARD,
    Refusal.UNSUPPORTED: DeviceReply(404),
    Refusal.LINK_GONE: DeviceReply(410, {"Cache-Control": "no-store"}),
    Refusal.SEEN: _HEARD,
    Refusal.TRY_LATER: DeviceReply(503, {"Retry-After": "30"}),
}

_ALIVE: Final = frozenset({"ACTIVE", "DISABLED", "LOST", "PREPARING_FOR_MIGRATION", "DEACTIVATED_BY_DEVICE_FINANCE"})
_OPEN: Final = frozenset({JobState.QUEUED, JobState.WAITING, JobState.DELIVERED})

_CANCELLED: Final = 1
_DEADLINE_EXCEEDED: Final = 4
_DEVICES_REASONS: Final[Mapping[str, tuple[JobState, Reason]]] = {
    "API_LEVEL": (JobState.UNSUPPORTED, Reason.OS_VERSION),
    "MANAGEMENT_MODE": (JobState.UNSUPPORTED, Reason.MANAGEMENT_MODE),
    "UNSUPPORTED": (JobState.UNSUPPORTED, Reason.AGENT_TOO_OLD),
    "INVALID_VALUE": (JobState.FAILED, Reason.DEVICE_REFUSED),
}


@dataclass(frozen=True, slots=True)
class Heard:
    """A notice, of which nothing is kept but this."""

    published_at: datetime
    said: wire.Operation | wire.Device


class AndroidHandler:
    """Meets PlatformHandler."""

    def __init__(self, settings: AndroidSettings) -> None:
        self._settings = settings

    @property
    def name(self) -> PlatformName:
        return NAME

    @property
    def aliases(self) -> tuple[str, ...]:
        return ()

    @property
    def max_body(self) -> int:
        return wire.MAX_BODY

    @property
    def passcode(self) -> PasscodeRule:
        return passcode.RULE

    def offers(self, facts: Facts) -> Mapping[Act, str | None]:
        if facts.state is not EnrollmentState.ENROLLED:
            return dict.fromkeys(Act, Reason.NOT_ENROLLED)
        return {act: acts.why_not(act, facts.traits) for act in Act}

    def reach(self, facts: Facts, last_seen_at: datetime | None, now: datetime) -> Reach:
        return Reach(Road.COURIER)

    def management(self, facts: Facts) -> Management:
        return acts.management(facts)

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        """The passcode is made here, once: however often the order goes out, it carries this one."""
        if enrollment.state is not EnrollmentState.ENROLLED:
            raise Refused(Reason.NOT_ENROLLED)
        memory = Memory.read(enrollment.memory)
        reason = acts.why_not(order.act, memory.traits)
        if reason is not None:
            raise Refused(reason)
        planned = Planned(
            passcode=Secret(passcode.make(memory.rules).encode()) if order.act is Act.RESET_PASSCODE else None,
            scope=acts.lock_scope(order.act, memory.traits),
            unlocked=memory.traits.get(acts.UNLOCKED) != "no",
        )
        return Plan(REPORT if order.act is Act.REFRESH else str(order.job_id), planned.write())

    def welcome(self, enrollment_id: UUID, ownership: Ownership, now: datetime) -> Welcome:
        """What an enrolment token must carry. Its `additional_data` comes back with the device's first words."""
        correlation = f"{enrollment_id}.{secrets.token_urlsafe(16)}"
        body = json.dumps({"enterprise": self._settings.enterprises[0], "additional_data": correlation}).encode()
        reply = DeviceReply(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, body)
        return Welcome(reply, None, Memory(correlation=correlation).write())

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        """Raises Unreadable (it does not prove who sent it) or KeysNeeded. Nothing is parsed before that is proven."""
        door, _, rest = request.path.strip("/").partition("/")
        if door == "enroll" and request.method == "GET":
            if not (0 < len(rest) <= MAX_LINK and rest.isascii() and rest.isprintable()):
                raise Unreadable("link_unreadable")
            return Caller(message=None, link=Secret(rest.encode()))
        if door != "notices" or rest or request.method != "POST":
            raise Unreadable("unknown_address")
        if len(request.body) > wire.MAX_BODY:
            raise Unreadable("body_too_large")
        header = request.headers.get("authorization", "")
        if not oidc.verify(header, request.signers, self._settings.push, now):
            return Caller(message=None, reply=_ANOTHERS)
        return self._open(request.body)

    def _open(self, body: bytes) -> Caller:
        """What cannot be read comes no better by coming again: it is heard, and only its kind is told."""
        try:
            push = wire.parse_push(body)
        except Unreadable as unreadable:
            return _ignored("a notice cannot be read", unreadable.reason)
        if push.subscription != self._settings.subscription:
            # Not of our setting up: whoever set it up sees it refused.
            return Caller(message=None, reply=_ANOTHERS)
        if push.kind not in {"COMMAND", "ENROLLMENT", "STATUS_REPORT"}:
            return Caller(message=None, reply=_HEARD)
        try:
            value = wire.load(push.data)
            said = wire.parse_operation(value) if push.kind == "COMMAND" else wire.parse_device(value)
        except Unreadable as unreadable:
            return _ignored("a notice's data cannot be read", unreadable.reason)
        address = said.device if isinstance(said, wire.Operation) else said.name
        if address.partition("/devices/")[0] not in self._settings.enterprises:
            return Caller(message=None, reply=_HEARD)
        return Caller(
            message=Heard(push.published_at, said),
            address=address,
            enrollment_id=None if isinstance(said, wire.Operation) else _named_bond(said),
            message_id=push.message_id,
            relayed=True,
        )

    def read(self, caller: Caller, enrollment: Enrollment, now: datetime) -> CheckIn:
        match caller.message:
            case Heard(published_at=published_at, said=wire.Operation() as operation):
                return _read_operation(operation, young=now - published_at <= OUTRUN)
            case Heard(published_at=published_at, said=wire.Device() as device):
                return _read_device(device, min(published_at, now), enrollment, now)
        raise Unreadable("no_message")

    def judge(self, command: Command, report: Report) -> Outcome:
        match report.answer:
            case wire.Operation() as operation:
                return _judge_operation(command, operation)
            case wire.Device() as device:
                return _judge_report(command, device)
            case wire.Gone() if command.act in {Act.WIPE, Act.REMOVE}:
                return Outcome(JobState.SUCCEEDED)
            case wire.Gone():
                return Outcome(JobState.FAILED, Reason.DEVICE_LEFT)
        raise TypeError("a report of another platform")

    def write(self, check_in: CheckIn, command: Command | None, enrollment: Enrollment) -> Answer:
        """Google is thanked, and takes no order here."""
        return Answer(_HEARD)

    def refuse(self, refusal: Refusal) -> DeviceReply:
        return REFUSALS[refusal]

    def open_channel(self, shared: Shared) -> AbstractAsyncContextManager[Channel]:
        return open_channel(self._settings, shared)


def _ignored(message: str, reason: str) -> Caller:
    log.warning(message, extra={"reason": reason})
    return Caller(message=None, reply=_HEARD)


def _named_bond(device: wire.Device) -> UUID | None:
    """The bond that a device's enrolment token named."""
    try:
        return UUID((device.token_data or "").partition(".")[0])
    except ValueError:
        return None


def _read_operation(operation: wire.Operation, *, young: bool) -> CheckIn:
    if not operation.done:
        return CheckIn()
    return CheckIn(message=operation, reports=(Report(None, operation, receipt=operation.name, may_outrun=young),))


def _read_device(device: wire.Device, published_at: datetime, enrollment: Enrollment, now: datetime) -> CheckIn:
    left = "DELETED" in device.states
    if enrollment.state is EnrollmentState.LEFT:
        # A late report does not revive it; a second farewell is heard.
        return CheckIn(state=EnrollmentState.LEFT if left else None)
    memory = Memory.read(enrollment.memory)
    first = enrollment.address is None
    if first and not _same(device.token_data, memory.correlation):
        return CheckIn(proven=False)
    alive = bool(device.states & _ALIVE)
    if _is_stale(device, published_at, memory) or (
        enrollment.state is EnrollmentState.ENROLLED and not (alive or left)
    ):
        # What was said before it was ready is old news, whatever its time.
        return CheckIn()
    known = acts.traits(device)
    newest = replace(
        memory,
        # A phone whose clock ran ahead is heard again when it is right.
        reported_at=memory.reported_at if device.reported_at is None else min(device.reported_at, now),
        published_at=memory.published_at if device.reported_at is not None else published_at,
        traits=known,
        rules=passcode.rules(device.policies, acts.scope_of(device.mode)),
    )
    return CheckIn(
        message=device,
        address=device.name,
        state=_state(alive=alive, left=left),
        anew=first,
        memory=newest.write(),
        traits=known,
        os_name=OS_NAME,
        os_version=device.os_version,
        maker=device.maker,
        model=device.model,
        serial=device.serial,
        # A refresh is over by it. A farewell is no report.
        reports=() if left or device.reported_at is None else (Report(REPORT, device),),
        formerly=device.formerly if first else (),
    )


def _same(said: str | None, expected: str | None) -> bool:
    return said is not None and expected is not None and hmac.compare_digest(said.encode(), expected.encode())


def _is_stale(device: wire.Device, published_at: datetime, memory: Memory) -> bool:
    """Strictly older than what we know, like compared with like: Google's moment of publishing is not the device's."""
    if device.reported_at is not None:
        return memory.reported_at is not None and device.reported_at < memory.reported_at
    return memory.published_at is not None and published_at < memory.published_at


def _state(*, alive: bool, left: bool) -> EnrollmentState:
    if left:
        return EnrollmentState.LEFT
    return EnrollmentState.ENROLLED if alive else EnrollmentState.PENDING


def _judge_report(command: Command, device: wire.Device) -> Outcome:
    """Whether the device has spoken since it was asked."""
    if command.act is not Act.REFRESH or command.state not in _OPEN:
        return Outcome(None)
    if command.sent_at is None or device.reported_at is None or device.reported_at < command.sent_at:
        return Outcome(None, Reason.NO_ANSWER)
    return Outcome(JobState.SUCCEEDED)


def _judge_operation(command: Command, operation: wire.Operation) -> Outcome:
    """In the order that the service asks for: the device's own code before the service's, and neither is a success.

    A response is never asked for: some successes come without.
    """
    if not operation.done:
        return Outcome(None)
    if operation.status == _CANCELLED:
        return Outcome(JobState.FAILED, Reason.BY_OPERATOR, detail=_shown(operation))
    if operation.error_code is not None:
        state, reason = _reason(command, operation.error_code)
        return Outcome(state, reason, detail=_shown(operation))
    if operation.status == _DEADLINE_EXCEEDED:
        return Outcome(JobState.EXPIRED, Reason.NO_ANSWER, detail=_shown(operation))
    if operation.status is not None:
        return Outcome(JobState.FAILED, Reason.DEVICE_REFUSED, detail=_shown(operation))
    return _success(command)


def _reason(command: Command, error_code: str) -> tuple[JobState, Reason]:
    if error_code in _DEVICES_REASONS:
        return _DEVICES_REASONS[error_code]
    if command.act is not Act.RESET_PASSCODE:
        return JobState.FAILED, Reason.DEVICE_REFUSED
    # The agent does not tell of its token; that it could not use it is the usual cause.
    planned = Planned.read(command.value)
    paused = planned.scope is Scope.PROFILE and not planned.unlocked
    return JobState.FAILED, Reason.PROFILE_PAUSED if paused else Reason.RESET_TOKEN_INACTIVE


def _success(command: Command) -> Outcome:
    planned = Planned.read(command.value)
    of_profile = planned.scope is Scope.PROFILE
    match command.act:
        case Act.RESET_PASSCODE:
            return Outcome(
                JobState.SUCCEEDED,
                passcode=planned.passcode,
                passcode_kind=passcode.RULE.kind,
                told=f"{passcode.RULE.done_key}_profile" if of_profile else None,
            )
        case Act.REMOTE_LOCK if of_profile:
            return Outcome(JobState.SUCCEEDED, told="android.remote_lock.succeeded_profile")
        case _:
            return Outcome(JobState.SUCCEEDED)


def _shown(operation: wire.Operation) -> tuple[tuple[str, str], ...]:
    """For the operator: codes alone. The service's words may quote what was sent."""
    shown = [("error_code", operation.error_code), ("status", operation.status)]
    return tuple((name, str(value)) for name, value in shown if value is not None)
