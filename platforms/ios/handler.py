"""What iOS devices can do, what they say and what they are told. Pure; the network is in channel.py."""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from cryptography import x509

from models.vocabulary import Act, JobState, Order, Outcome, Ownership, PlatformName, Reason, Secret
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
from platforms.identity import certificate_hash, new_key, pack_identity, parse_certificate, verify_detached
from platforms.ios import acts, passcode, wire
from platforms.ios.channel import open_channel
from platforms.ios.memory import MAX_POSTPONED, Memory, milliseconds
from platforms.ios.settings import IdentityProof, IosSettings

NAME: Final = PlatformName("ios")
MAKER: Final = "Apple"
MAX_LINK: Final = 256

Proof = TypeVar("Proof", str, bytes)

# Never 401, and never the 403 that means "unenrol": a device that hears either takes its own profile away.
_REFUSALS: Final = {
    Refusal.UNREADABLE: DeviceReply(400),
    Refusal.NOT_BOUND: DeviceReply(400),
    Refusal.UNSUPPORTED: DeviceReply(400),
    Refusal.LINK_GONE: DeviceReply(410, {"Cache-Control": "no-store"}),
    Refusal.SEEN: DeviceReply(200),
    Refusal.TRY_LATER: DeviceReply(503, {"Retry-After": "30"}),
}
_NOTHING_MORE: Final = DeviceReply(200)
_FINAL: Final = frozenset({"Acknowledged", "Error", "CommandFormatError"})


class IosHandler:
    """Meets PlatformHandler."""

    def __init__(self, settings: IosSettings) -> None:
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
        return {act: acts.why_not(act, facts) for act in Act}

    def reach(self, facts: Facts, last_seen_at: datetime | None, now: datetime) -> Reach:
        return Reach(Road.PUSH)

    def management(self, facts: Facts) -> Management:
        return acts.management(facts)

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        """The unlock token stays where it is: the newest one goes into the bytes when they are handed out."""
        if enrollment.state is not EnrollmentState.ENROLLED:
            raise Refused(Reason.NOT_ENROLLED)
        if order.act is Act.RESET_PASSCODE and Memory.read(enrollment.memory).unlock_token is None:
            raise Refused(Reason.UNLOCK_TOKEN_MISSING)
        # The job's own id, so that a plan that was made twice is one command to the device.
        request_type = acts.REQUEST_TYPES[order.act]
        return Plan(str(order.job_id), Secret(json.dumps({"request_type": request_type}).encode()))

    def welcome(self, enrollment_id: UUID, ownership: Ownership, now: datetime) -> Welcome:
        """The device's key is made, handed out and forgotten."""
        settings = self._settings
        key = new_key(settings.key_type)
        certificate = settings.device_ca.issue(key.public_key(), str(enrollment_id), now)
        password = secrets.token_urlsafe(24)
        rights = wire.rights(ownership)
        profile = wire.enrollment_profile(
            enrollment_id=enrollment_id,
            identifier=settings.profile_identifier,
            organization=settings.organization,
            topic=settings.topic,
            base_url=settings.devices_url,
            access_rights=rights,
            sign_message=settings.identity is not IdentityProof.MTLS,
            identity=pack_identity(key, certificate, password),
            password=password,
        )
        headers = {
            "Content-Type": wire.PROFILE,
            "Content-Disposition": 'attachment; filename="enrollment.mobileconfig"',
            "Cache-Control": "no-store",
        }
        return Welcome(DeviceReply(200, headers, profile), certificate_hash(certificate), Memory(rights=rights).write())

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        """Raises Unreadable. The body is not parsed before its sender is proven."""
        door, _, rest = request.path.strip("/").partition("/")
        if door == "enroll" and request.method == "GET":
            if not (0 < len(rest) <= MAX_LINK and rest.isascii() and rest.isprintable()):
                raise Unreadable("link_unreadable")
            return Caller(message=None, link=Secret(rest.encode()))
        if door not in {"checkin", "command"} or rest or request.method != "PUT":
            raise Unreadable("unknown_address")
        if len(request.body) > wire.MAX_BODY:
            raise Unreadable("body_too_large")
        certificate = self._prove(request, now)
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == wire.CHECK_IN:
            sender, message = wire.parse_check_in(request.body)
        elif content_type == wire.COMMAND and door == "command":
            sender, message = wire.parse_result(request.body)
        else:
            raise Unreadable("content_type")
        return Caller(message=(sender, message), address=sender.address, certificate_hash=certificate_hash(certificate))

    def _prove(self, request: DeviceRequest, now: datetime) -> x509.Certificate:
        """Whose request this is, by every proof that the settings ask for.

        A certificate that is not ours is turned away before its key is used: a stranger's may be made to take long.
        """
        header, proven = request.headers.get("mdm-signature"), request.certificate
        ours = partial(self._settings.device_ca.check, now=now)
        match self._settings.identity:
            case IdentityProof.MTLS:
                connected = parse_certificate(_given(proven))
                ours(connected)
                return connected
            case IdentityProof.MDM_SIGNATURE:
                return verify_detached(_given(header), request.body, ours)
            case IdentityProof.BOTH:
                connected = parse_certificate(_given(proven))
                if verify_detached(_given(header), request.body, ours) != connected:
                    raise Unreadable("two_identities")
                return connected

    def read(self, caller: Caller, enrollment: Enrollment, now: datetime) -> CheckIn:
        sender, message = _opened(caller)
        if enrollment.address is not None and enrollment.address != sender.address:
            raise Unreadable("address_of_another")
        if enrollment.address is None and not isinstance(message, wire.Authenticate):
            # Only Authenticate binds a device to its enrollment.
            raise Unreadable("not_authenticated")
        match message:
            case wire.Declined():
                return CheckIn(message=message)
            case wire.Result():
                return self._result(message, sender, enrollment)
            case wire.Authenticate() | wire.TokenUpdate() | wire.CheckOut() if message.topic != self._settings.topic:
                raise Unreadable("foreign_topic")
            case wire.CheckOut():
                return _check_out(message, enrollment)
            case _ if enrollment.state is EnrollmentState.LEFT:
                # Its identity was handed out for one enrollment; coming back takes a new link.
                raise Unreadable("enrollment_over")
            case wire.Authenticate():
                return _authenticate(message, sender, enrollment)
            case wire.TokenUpdate():
                return _token_update(message, sender, enrollment, now)

    def _result(self, message: wire.Result, sender: wire.Sender, enrollment: Enrollment) -> CheckIn:
        memory = Memory.read(enrollment.memory)
        postponed = memory.postponed
        if message.status == "Idle":
            postponed = ()
        elif message.ref is not None and message.status not in _FINAL and message.ref not in postponed:
            # NotNow, and any status that we do not know: offered again at once it would go round for ever.
            postponed = (*postponed, message.ref)[-MAX_POSTPONED:]
        known = message.information if message.status == "Acknowledged" else None
        newest = replace(_informed(memory, known), postponed=postponed)
        return CheckIn(
            message=message,
            memory=newest.write() if newest != memory else None,
            traits=None if known is None else _traits(sender, newest),
            os_name=None if known is None else _os_name(known.model),
            maker=None if known is None else MAKER,
            os_version=None if known is None else known.os_version,
            model=None if known is None else known.model,
            serial=None if known is None else known.serial,
            reports=() if message.ref is None else (Report(message.ref, message),),
            wants_order=enrollment.state is EnrollmentState.ENROLLED,
            withheld=frozenset(postponed),
        )

    def judge(self, command: Command, report: Report) -> Outcome:
        answer = report.answer
        if not isinstance(answer, wire.Result):
            raise TypeError("a report of another platform")
        match answer.status:
            case "Acknowledged":
                return acts.done(command.act, answer)
            case "Error":
                return Outcome(JobState.FAILED, Reason.DEVICE_REFUSED, detail=tuple(_shown(answer.chain)))
            case "CommandFormatError":
                return Outcome(JobState.FAILED, Reason.DEVICE_REFUSED, detail=(("status", "CommandFormatError"),))
            case _:
                return Outcome(None, Reason.NOT_NOW)

    def write(self, check_in: CheckIn, command: Command | None, enrollment: Enrollment) -> Answer:
        if isinstance(check_in.message, wire.Declined):
            return Answer(DeviceReply(check_in.message.status))
        if command is None:
            return Answer(_NOTHING_MORE)
        body = acts.spell(
            command.act,
            command.ref,
            Memory.read(enrollment.memory),
            profile=self._settings.profile_identifier,
            organization=self._settings.organization,
        )
        return Answer(DeviceReply(200, {"Content-Type": wire.PLIST, "Cache-Control": "no-store"}, body))

    def refuse(self, refusal: Refusal) -> DeviceReply:
        return _REFUSALS[refusal]

    def open_channel(self, shared: Shared) -> AbstractAsyncContextManager[Channel]:
        return open_channel(self._settings, clock=shared.clock)


def _given(proof: Proof | None) -> Proof:
    if not proof:
        raise Unreadable("no_proof")
    return proof


def _opened(caller: Caller) -> tuple[wire.Sender, wire.Message]:
    match caller.message:
        case (
            wire.Sender() as sender,
            (wire.Authenticate() | wire.TokenUpdate() | wire.CheckOut() | wire.Declined() | wire.Result()) as message,
        ):
            return sender, message
    raise Unreadable("no_message")


def _authenticate(message: wire.Authenticate, sender: wire.Sender, enrollment: Enrollment) -> CheckIn:
    """A new life begins: of what was remembered only the profile's rights are still good."""
    memory = Memory(rights=Memory.read(enrollment.memory).rights)
    return CheckIn(
        message=message,
        address=sender.address,
        state=EnrollmentState.PENDING,
        anew=True,
        memory=memory.write(),
        traits=_traits(sender, memory),
        os_name=_os_name(message.model),
        maker=MAKER,
        os_version=message.os_version,
        model=message.model,
        serial=message.serial,
    )


def _token_update(message: wire.TokenUpdate, sender: wire.Sender, enrollment: Enrollment, now: datetime) -> CheckIn:
    """The newest token and magic count. An unlock token that does not come again is still good."""
    if enrollment.state is EnrollmentState.INVITED:
        raise Unreadable("not_authenticated")
    memory = Memory.read(enrollment.memory)
    unlock_token = message.unlock_token if message.unlock_token is not None else memory.unlock_token
    newest = replace(
        memory,
        token=message.token,
        push_magic=message.push_magic,
        token_at=milliseconds(now),
        unlock_token=unlock_token,
    )
    return CheckIn(
        message=message,
        state=EnrollmentState.ENROLLED,
        memory=newest.write(),
        traits=_traits(sender, newest),
        reachable_anew=True,
    )


def _check_out(message: wire.CheckOut, enrollment: Enrollment) -> CheckIn:
    if enrollment.state is EnrollmentState.INVITED:
        raise Unreadable("not_authenticated")
    return CheckIn(
        message=message,
        state=EnrollmentState.LEFT,
        memory=Memory().write(),
        traits={acts.UNLOCK_TOKEN: "no"},
    )


def _informed(memory: Memory, known: wire.Information | None) -> Memory:
    """What a device leaves out has not changed."""
    if known is None:
        return memory
    supervised = memory.supervised if known.supervised is None else known.supervised
    return replace(memory, supervised=supervised, name=known.name or memory.name)


def _os_name(model: str | None) -> str | None:
    """One system under two names, which people know by what they hold."""
    if model is None:
        return None
    return "iPadOS" if model.startswith("iPad") else "iOS"


def _traits(sender: wire.Sender, memory: Memory) -> dict[str, str]:
    traits = {acts.UNLOCK_TOKEN: _yes(memory.unlock_token is not None), acts.BY_PERSON: _yes(sender.by_person)}
    if memory.rights is not None:
        traits[acts.RIGHTS] = str(memory.rights)
    if memory.supervised is not None:
        traits[acts.SUPERVISED] = _yes(memory.supervised)
    if memory.name is not None:
        traits[acts.DEVICE_NAME] = memory.name
    return traits


def _yes(so: bool) -> str:
    return "yes" if so else "no"


def _shown(chain: tuple[wire.Error, ...]) -> Iterator[tuple[str, str]]:
    """For the operator: the top error, then its causes. Codes change between releases, so nothing turns on them."""
    for place, error in enumerate(chain):
        yield ("error" if place == 0 else f"cause_{place}"), f"{error.domain} {error.code}"
