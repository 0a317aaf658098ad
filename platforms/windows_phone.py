"""What both Windows phones have in common: what they are asked, what their answers mean, how they are reached. Pure.

A phone behaves by the system it runs today, which it tells in each session, and not by the one it was enrolled with:
a phone of 8.1 that was upgraded keeps its bond and speaks as 10 does.

RemoteLock, RemoteWipe, DMClient, DevDetail: https://learn.microsoft.com/windows/client-management/mdm/remotelock-csp
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from models.vocabulary import (
    EPOCH,
    Act,
    JobState,
    Join,
    Order,
    Outcome,
    Ownership,
    PasscodeKind,
    PlatformName,
    Reason,
    Secret,
)
from platforms import dm_session, syncml, wap, wns
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
from platforms.dm_session import Answered, Kind, Memory, Turn
from platforms.errors import Refused, Unreadable
from platforms.identity import certificate_hash, new_key, parse_certificate
from platforms.syncml import Group, Item, Message, Operation
from platforms.windows_settings import WindowsSettings

PROVIDER_ID: Final = "Latchkey"
MAX_LINK: Final = 256
ATTEMPTS: Final = 3
"""Times that an order is handed over whose answer nobody ever hears."""
FIRST_REF: Final = 100_000
"""The CmdID of an order is its name. Those of everything else are small."""
LAST_REF: Final = 2**31 - 1

LOCK: Final = "./Vendor/MSFT/RemoteLock/Lock"
RESET: Final = "./Vendor/MSFT/RemoteLock/LockAndResetPIN"
NEW_PIN: Final = "./Vendor/MSFT/RemoteLock/NewPINValue"
WIPE: Final = "./Vendor/MSFT/RemoteWipe/doWipe"
UNENROLL_8: Final = "./Vendor/MSFT/DMClient/Unenroll"
PROVIDER: Final = f"./Vendor/MSFT/DMClient/Provider/{PROVIDER_ID}"
VERSION: Final = "./DevDetail/SwV"
JOINED: Final = f"{PROVIDER}/AADDeviceID"
EDITION: Final = "./Vendor/MSFT/DeviceStatus/OS/Edition"
APP: Final = f"{PROVIDER}/Push/PFN"
CHANNEL: Final = f"{PROVIDER}/Push/ChannelURI"
CHANNEL_STATUS: Final = f"{PROVIDER}/Push/Status"
INFORMATION: Final[Mapping[str, str]] = {
    VERSION: "version",
    "./DevDetail/FwV": "firmware",
    "./DevDetail/HwV": "hardware",
    "./DevDetail/OEM": "manufacturer",
    "./DevDetail/Ext/Microsoft/DeviceName": "device_name",
    "./DevDetail/Ext/Microsoft/OSPlatform": "os_platform",
    "./DevDetail/Ext/Microsoft/Resolution": "resolution",
    "./DevDetail/Ext/Microsoft/TotalRAM": "memory",
    "./DevDetail/Ext/Microsoft/TotalStorage": "storage",
    "./Vendor/MSFT/DeviceStatus/Compliance/EncryptionCompliance": "encrypted",
}
"""What is asked at a refresh, and the trait that each answer becomes."""

FACTS: Final = "facts"
"""Subject of what each session begins with."""
SYSTEM: Final = "system"
JOIN: Final = "joined"
PUSH: Final = "push"
SINCE: Final = "since"

MOBILE_EDITIONS: Final = frozenset({"104", "133"})
JOIN_KNOWN_FROM: Final = 14393
"""The build of 1607: from here on a phone can say whether it belongs to a directory."""
_ABSENT: Final = frozenset({"404", "405", "406"})
_OK: Final = frozenset({"200", "202"})
_NOT_RUN: Final = frozenset({"214", "215"})
_ACTS: Final = (Act.RESET_PASSCODE, Act.REMOTE_LOCK, Act.WIPE, Act.REMOVE, Act.REFRESH)
_ONCE: Final = frozenset({Act.WIPE, Act.REMOVE})
"""Never handed over a second time."""

_NO_STORE: Final = {"Cache-Control": "no-store"}
_REFUSALS: Final = {
    Refusal.UNREADABLE: DeviceReply(400, _NO_STORE),
    Refusal.NOT_BOUND: DeviceReply(403, _NO_STORE),
    Refusal.UNSUPPORTED: DeviceReply(403, _NO_STORE),
    Refusal.LINK_GONE: DeviceReply(410, _NO_STORE),
    Refusal.SEEN: DeviceReply(200, _NO_STORE),
    Refusal.TRY_LATER: DeviceReply(503, {**_NO_STORE, "Retry-After": "30"}),
}
_WBXML: Final = DeviceReply(415, {**_NO_STORE, "Accept": syncml.MIME})


class System(StrEnum):
    """What runs on the device now. OTHER: a computer, or a phone before 8.1; none of them can be given orders."""

    PHONE_8_1 = "windows_phone_8_1"
    MOBILE_10 = "windows_10_mobile"
    OTHER = "other"


_OS_NAMES: Final = {System.PHONE_8_1: "Windows Phone", System.MOBILE_10: "Windows 10 Mobile"}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an order: an answer of these platforms."""

    system: System | None
    lost: bool = False
    code: str | None = None
    """Of the Exec."""
    error: str | None = None
    pin: str | None = field(default=None, repr=False)


def system_of(version: str, edition: str | None) -> System:
    if version.startswith("8.10."):
        return System.PHONE_8_1
    if version.startswith("10.0.") and (edition is None or edition in MOBILE_EDITIONS):
        return System.MOBILE_10
    return System.OTHER


def build_of(version: str) -> int:
    """The third number, which tells the releases of 10 apart."""
    parts = version.split(".")
    third = parts[2] if len(parts) > 2 else ""
    return int(third) if third.isascii() and third.isdecimal() and len(third) <= 9 else 0


def would_wipe(facts: Mapping[str, str]) -> bool:
    """A phone that belongs to a directory is wiped by a reset. One that could say so, and is silent, may be one."""
    joined = facts.get(JOIN)
    could_say = facts.get(SYSTEM) == System.MOBILE_10 and build_of(facts.get("version", "")) >= JOIN_KNOWN_FROM
    return joined == "yes" or (joined != "no" and could_say)


class WindowsPhone:
    """Meets PlatformHandler. A folder gives its name, what a reset means there, and the words for each system."""

    def __init__(self, settings: WindowsSettings, rule: PasscodeRule, told: Mapping[System, str]) -> None:
        self._settings = settings
        self._rule = rule
        self._told = told

    @property
    def name(self) -> PlatformName:
        return self._settings.platform

    @property
    def aliases(self) -> tuple[str, ...]:
        return ()

    @property
    def max_body(self) -> int:
        return syncml.MAX_BODY

    @property
    def passcode(self) -> PasscodeRule:
        return self._rule

    def offers(self, facts: Facts) -> Mapping[Act, str | None]:
        """A restart is none of the phones' acts."""
        reason: Reason | None = None
        if facts.state is not EnrollmentState.ENROLLED:
            reason = Reason.NOT_ENROLLED
        elif facts.traits.get(SYSTEM) not in {System.PHONE_8_1, System.MOBILE_10}:
            reason = Reason.OS_VERSION
        offered: dict[Act, str | None] = dict.fromkeys(_ACTS, reason)
        if reason is None and would_wipe(facts.traits):
            offered[Act.RESET_PASSCODE] = Reason.WOULD_WIPE
        return offered

    def reach(self, facts: Facts, last_seen_at: datetime | None, now: datetime) -> Reach:
        """Without a channel it calls by the schedule of its provisioning document."""
        if facts.traits.get(PUSH) == "yes":
            return Reach(Road.PUSH)
        since = facts.traits.get(SINCE, "")
        if last_seen_at is None or not (since.isascii() and since.isdecimal() and len(since) <= 11):
            return Reach(Road.POLL)
        age, past = last_seen_at - (EPOCH + timedelta(seconds=int(since))), timedelta()
        for pause, count in wap.POLL:
            past += pause * count
            if count == 0 or age < past:
                return Reach(Road.POLL, last_seen_at + pause)
        return Reach(Road.POLL)

    def management(self, facts: Facts) -> Management:
        """Whoever's it is, a phone that belongs to a directory is joined. It is given no rules to keep to."""
        joined = facts.traits.get(JOIN) == "yes" or facts.ownership is Ownership.CORPORATE
        return Management(Join.JOINED if joined else Join.REGISTERED)

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        """The name alone: the phone makes the PIN, and everything else follows from what it runs when it calls."""
        if order.act not in _ACTS:
            raise Refused(Reason.PLATFORM_UNSUPPORTED)
        if enrollment.state is not EnrollmentState.ENROLLED:
            raise Refused(Reason.NOT_ENROLLED)
        # Made of the job's own id, so that a plan that was made twice is one command to the device.
        return Plan(str(FIRST_REF + order.job_id.int % (LAST_REF - FIRST_REF)), Secret(b"{}"))

    def welcome(self, enrollment_id: UUID, ownership: Ownership, now: datetime) -> Welcome:
        """The device's key and both secrets are made, handed out and forgotten: what is kept cannot be turned back."""
        settings = self._settings
        key = new_key(settings.key_type)
        certificate = settings.device_ca.issue(key.public_key(), str(enrollment_id), now)
        ours, theirs = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        our_nonce, their_nonce = secrets.token_bytes(dm_session.NONCE), secrets.token_bytes(dm_session.NONCE)
        handout = wap.handout(
            provider_id=PROVIDER_ID,
            name=settings.organization,
            address=f"{settings.devices_url}/dm/{enrollment_id}",
            ca=settings.device_ca.certificate,
            key=key,
            certificate=certificate,
            enrollment_id=enrollment_id,
            client_secret=ours,
            client_nonce=our_nonce,
            server_secret=theirs,
            server_nonce=their_nonce,
        )
        memory = dm_session.new_memory(
            device=(str(enrollment_id), theirs, their_nonce), server=(PROVIDER_ID, ours, our_nonce)
        )
        reply = DeviceReply(200, {"Content-Type": wap.CONTENT_TYPE, **_NO_STORE}, handout)
        return Welcome(reply, certificate_hash(certificate), memory.write())

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        """Who it is stands in the address, the credential's name or the certificate. `read` asks for the proof."""
        door, _, rest = request.path.strip("/").partition("/")
        if door == "enroll" and request.method == "GET":
            if not (0 < len(rest) <= MAX_LINK and rest.isascii() and rest.isprintable()):
                raise Unreadable("link_unreadable")
            return Caller(message=None, link=Secret(rest.encode()))
        if door != "dm" or request.method != "POST":
            raise Unreadable("unknown_address")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != syncml.MIME:
            return Caller(message=None, reply=_WBXML)
        hashed = None
        if request.certificate is not None:
            certificate = parse_certificate(request.certificate)
            self._settings.device_ca.check(certificate, now)
            hashed = certificate_hash(certificate)
        try:
            message = syncml.parse(request.body)
        except syncml.Binary:
            return Caller(message=None, reply=_WBXML)
        address = message.header.source
        if not (0 < len(address) <= syncml.MAX_WORD and address.isprintable()):
            raise Unreadable("no_device_id")
        named = {_id(text) for text in (rest, message.header.source_name) if text}
        if len(named) > 1:
            raise Unreadable("two_identities")
        bond = next(iter(named), None)
        heard = _Heard(message, request.body, bond, hashed is not None)
        return Caller(heard, address, hashed, enrollment_id=bond if hashed is None else None)

    def read(self, caller: Caller, enrollment: Enrollment, now: datetime) -> CheckIn:
        heard = caller.message
        if not isinstance(heard, _Heard):
            raise Unreadable("no_message")
        if heard.bond not in {None, enrollment.id}:
            raise Unreadable("two_identities")
        seconds = int((now - EPOCH).total_seconds())
        turn = dm_session.hear(
            heard.message, heard.octets, Memory.read(enrollment.memory), known=heard.known, now=seconds
        )
        if turn.kind in {Kind.AGAIN, Kind.REFUSED, Kind.UNPROVEN}:
            return CheckIn(message=turn, proven=False)
        if enrollment.state is EnrollmentState.LEFT:
            # What was handed out for one enrollment is good for that one: coming back takes a new link.
            raise Unreadable("enrollment_over")
        if enrollment.address is not None and enrollment.address != caller.address:
            raise Unreadable("address_of_another")
        if turn.kind is Kind.BEGAN:
            return self._began(turn, enrollment)
        return self._goes_on(turn, caller, enrollment)

    def _began(self, turn: Turn, enrollment: Enrollment) -> CheckIn:
        """Package 1. What an earlier session asked and never heard is lost now."""
        reports: tuple[Report, ...] = ()
        if turn.lost is not None and not (turn.unenrolled and turn.lost[0] == Act.REMOVE):
            reports = (Report(turn.lost[1], Told(None, lost=True)),)
        if turn.unenrolled:
            bound = enrollment.address is not None
            return CheckIn(message=turn, state=EnrollmentState.LEFT if bound else None, reports=reports)
        told = turn.information
        return CheckIn(message=_know(turn, told), reports=reports, maker=told.get("Man"), model=told.get("Mod"))

    def _goes_on(self, turn: Turn, caller: Caller, enrollment: Enrollment) -> CheckIn:
        if turn.unenrolled and enrollment.address is not None:
            return CheckIn(message=turn, state=EnrollmentState.LEFT)
        if turn.finished and turn.subject == FACTS:
            return self._introduced(turn, caller, enrollment)
        if not turn.finished or turn.ref is None:
            return CheckIn(message=turn, wants_order=_may_order(turn), withheld=_withheld(turn))
        return self._answered(turn, turn.ref)

    def _introduced(self, turn: Turn, caller: Caller, enrollment: Enrollment) -> CheckIn:
        """What the phone is today. Before this no device is bound: a computer that knocks leaves nothing behind."""
        found = {one.uri: turn.answers.get(one.cmd_id, Answered()) for one in turn.asked}
        version = _value(found.get(VERSION)) or ""
        edition = _value(found.get(EDITION))
        system = system_of(version, edition)
        told = {"version": version, SYSTEM: system.value, JOIN: _joined(found.get(JOINED))}
        turn = _know(turn, told)
        if system is System.OTHER and enrollment.address is None:
            return CheckIn(message=turn)
        channel = self._channel(found)
        newly = channel is not None and channel != turn.memory.channel_uri
        memory = replace(turn.memory, channel_uri=channel, channel_named=self._settings.pfn is not None)
        turn = replace(turn, memory=memory)
        traits = {**told, PUSH: "no" if channel is None else "yes", SINCE: str(memory.since)}
        return CheckIn(
            message=turn,
            address=caller.address if enrollment.address is None else None,
            state=EnrollmentState.ENROLLED if enrollment.state is not EnrollmentState.ENROLLED else None,
            traits=traits,
            os_name=_OS_NAMES.get(system),
            os_version=version or None,
            reachable_anew=newly,
            wants_order=_may_order(turn),
        )

    def _channel(self, found: Mapping[str, Answered]) -> str | None:
        uri, status = _value(found.get(CHANNEL)), _value(found.get(CHANNEL_STATUS))
        if uri is None or status not in {None, "0"} or not self._settings.accepts_channel(uri):
            return None
        return uri

    def _answered(self, turn: Turn, ref: str) -> CheckIn:
        """What became of an order."""
        act = Act(turn.subject)
        system = _system(turn)
        first = turn.answers.get(ref, Answered())
        told = Told(system, code=first.code, error=first.error)
        if act is Act.RESET_PASSCODE:
            pins = [turn.answers.get(one.cmd_id, Answered()).data for one in turn.asked if one.uri == NEW_PIN]
            told = replace(told, pin=next((pin for pin in pins if pin), None), lost=first.code is None)
        elif first.code is None:
            told = replace(told, lost=True)
        if act is Act.REMOVE and not told.lost and first.code in _OK:
            # Taken is not done: a farewell, or its silence, tells.
            return CheckIn(message=_waiting(turn))
        traits = None
        if act is Act.REFRESH:
            found = {INFORMATION[one.uri]: _value(turn.answers.get(one.cmd_id)) for one in turn.asked}
            session = turn.session
            known = {} if session is None else session.facts
            channel = "no" if turn.memory.channel_uri is None else "yes"
            kept = {name: known[name] for name in ("version", SYSTEM, JOIN) if name in known}
            traits = {**{name: value for name, value in found.items() if value}, **kept}
            traits |= {PUSH: channel, SINCE: str(turn.memory.since)}
        withheld = (*_withheld(turn), ref) if first.code in _NOT_RUN or told.lost else tuple(_withheld(turn))
        if turn.session is not None:
            turn = replace(
                turn, memory=replace(turn.memory, session=replace(turn.session, withheld=tuple(withheld)[-16:]))
            )
        return CheckIn(
            message=turn,
            reports=(Report(ref, told),),
            traits=traits,
            wants_order=_may_order(turn) and act not in _ONCE,
            withheld=frozenset(withheld),
        )

    def judge(self, command: Command, report: Report) -> Outcome:  # noqa: PLR0911 - one return for each ending
        told = report.answer
        if not isinstance(told, Told):
            raise TypeError("a report of another platform")
        if command.act is Act.RESET_PASSCODE:
            return self._judge_reset(command, told)
        if told.lost:
            return _unheard(command)
        detail = _detail(told)
        if command.act is Act.REFRESH:
            # One node that is missing, or all of them: the phone has told what it has.
            return Outcome(JobState.SUCCEEDED)
        if told.code in _OK:
            # The phone says that it will, and nothing after that: whether it is empty nobody hears.
            return (
                Outcome(JobState.UNCONFIRMED, Reason.ACCEPTED) if command.act in _ONCE else Outcome(JobState.SUCCEEDED)
            )
        if told.code in _NOT_RUN:
            return Outcome(None, Reason.NOT_NOW, detail=detail)
        if command.act is Act.REMOTE_LOCK and told.code == "405":
            return Outcome(JobState.FAILED, Reason.NO_PASSCODE_SET, detail=detail)
        return _refused(told)

    def _judge_reset(self, command: Command, told: Told) -> Outcome:
        """A PIN that came is the newest there is, and can be read no second time: with a PIN it is done.

        Only a phone that says it failed, at the first attempt, made none: what it hands out then is not ours.
        """
        failed = told.code is not None and told.code not in _OK
        if told.pin is not None and (not failed or command.offers > 1):
            return self._done(told, told.pin)
        if told.code in _NOT_RUN:
            return Outcome(None, Reason.NOT_NOW, detail=_detail(told))
        if failed:
            return _refused(told)
        why = Reason.ANSWER_LOST if told.lost else Reason.CODE_UNKNOWN
        if command.offers >= ATTEMPTS:
            return Outcome(JobState.FAILED, Reason.CODE_UNKNOWN, detail=_detail(told))
        return Outcome(None, why, detail=_detail(told))

    def _done(self, told: Told, pin: str) -> Outcome:
        kind = PasscodeKind.TEMPORARY_ALPHANUMERIC
        if pin.isascii() and pin.isdecimal():
            kind = PasscodeKind.TEMPORARY_NUMERIC
        expected = PasscodeKind.TEMPORARY_NUMERIC
        if told.system is System.MOBILE_10:
            expected = PasscodeKind.TEMPORARY_ALPHANUMERIC
        detail = () if kind is expected else (("expected_kind", expected.value),)
        key = self._rule.done_key if told.system is None else self._told.get(told.system, self._rule.done_key)
        return Outcome(
            JobState.SUCCEEDED,
            passcode=Secret(pin.encode()),
            passcode_kind=kind,
            detail=detail,
            told=None if key == self._rule.done_key else key,
        )

    def write(self, check_in: CheckIn, command: Command | None, enrollment: Enrollment) -> Answer:
        turn = check_in.message
        if not isinstance(turn, Turn):
            raise TypeError("a check-in of another platform")
        if turn.kind is Kind.AGAIN:
            return _answer(turn.said.encode())
        if turn.kind is Kind.REFUSED:
            return Answer(_REFUSALS[Refusal.UNREADABLE], turn.memory.write())
        orders, subject, ref = None, "", None
        if command is not None:
            orders, subject, ref = _spell(command, turn), command.act.value, command.ref
        elif _asks_facts(turn):
            orders, subject = self._facts(turn.memory), FACTS
        body, memory = dm_session.answer(turn, PROVIDER_ID, orders, subject=subject, ref=ref)
        return _answer(body, memory.write())

    def _facts(self, memory: Memory) -> dm_session.Orders:
        """What a session begins with: what runs there, whether a reset would wipe it, and where it can be called."""
        pfn = self._settings.pfn

        def spell(numbers: Iterator[int]) -> Sequence[syncml.Command]:
            asked: list[syncml.Command] = [_get(numbers, uri) for uri in (VERSION, JOINED, EDITION)]
            if pfn is not None:
                if memory.channel_uri is None:
                    verb = "Replace" if memory.channel_named else "Add"
                    asked.append(Operation(verb, str(next(numbers)), (Item(target=APP, data=pfn),)))
                asked += [_get(numbers, uri) for uri in (CHANNEL, CHANNEL_STATUS)]
            return asked

        return spell

    def refuse(self, refusal: Refusal) -> DeviceReply:
        return _REFUSALS[refusal]

    def open_channel(self, shared: Shared) -> AbstractAsyncContextManager[Channel]:
        return wns.open_channel(self._settings.wns, _channel_of, clock=shared.clock)


@dataclass(frozen=True, slots=True)
class _Heard:
    message: Message
    octets: bytes = field(repr=False)
    bond: UUID | None
    known: bool


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Unreadable("unknown_name") from None


def _channel_of(enrollment: Enrollment) -> str | None:
    return None if enrollment.memory is None else Memory.read(enrollment.memory).channel_uri


def _answer(body: bytes, memory: Secret | None = None) -> Answer:
    return Answer(DeviceReply(200, {"Content-Type": f"{syncml.MIME}; charset=utf-8", **_NO_STORE}, body), memory)


def _value(answer: Answered | None) -> str | None:
    """Text that can be shown as it is; anything else is as good as absent."""
    if answer is None or answer.code not in _OK or answer.data is None:
        return None
    text = answer.data.strip()
    return text if 0 < len(text) <= wns.LONGEST_CHANNEL and text.isprintable() else None


def _joined(answer: Answered | None) -> str:
    if answer is not None and answer.code == "404":
        return "no"
    if answer is not None and answer.code == "200" and answer.data is not None:
        return "yes" if answer.data.strip(" \t\r\n\x00") else "no"
    return "unknown"


def _know(turn: Turn, facts: Mapping[str, str]) -> Turn:
    session = turn.session
    if session is None:
        return turn
    known = replace(session, facts={**session.facts, **facts})
    return replace(turn, memory=replace(turn.memory, session=known))


def _system(turn: Turn) -> System | None:
    said = None if turn.session is None else turn.session.facts.get(SYSTEM)
    return None if said is None else System(said)


def _may_order(turn: Turn) -> bool:
    return not (turn.more or turn.aborted) and _system(turn) in {System.PHONE_8_1, System.MOBILE_10}


def _asks_facts(turn: Turn) -> bool:
    return _system(turn) is None and not turn.unenrolled and not (turn.finished and turn.subject == FACTS)


def _withheld(turn: Turn) -> frozenset[str]:
    return frozenset() if turn.session is None else frozenset(turn.session.withheld)


def _waiting(turn: Turn) -> Turn:
    """Asked and not over: the next session tells."""
    if turn.session is None:
        return turn
    session = replace(turn.session, subject=turn.subject, ref=turn.ref)
    return replace(turn, memory=replace(turn.memory, session=session))


def _get(numbers: Iterator[int], uri: str) -> Operation:
    return Operation("Get", str(next(numbers)), (Item(target=uri),))


def _spell(command: Command, turn: Turn) -> dm_session.Orders:
    """One order, alone in its message. Raises Refused."""
    facts = {} if turn.session is None else turn.session.facts
    match command.act:
        case Act.RESET_PASSCODE:
            if would_wipe(facts):
                raise Refused(Reason.WOULD_WIPE)
            execute = _exec(command.ref, RESET)
            # The value can be read once, by a Get in the very message that makes it.
            return lambda numbers: [Group("Sequence", str(next(numbers)), (execute, _get(numbers, NEW_PIN)))]
        case Act.REMOTE_LOCK:
            return lambda _: [_exec(command.ref, LOCK)]
        case Act.WIPE:
            return lambda _: [_exec(command.ref, WIPE)]
        case Act.REMOVE:
            path = UNENROLL_8 if facts.get(SYSTEM) == System.PHONE_8_1 else f"{PROVIDER}/Unenroll"
            item = Item(target=path, meta=syncml.Meta(format="chr"), data=PROVIDER_ID)
            return lambda _: [Operation("Exec", command.ref, (item,))]
        case Act.REFRESH:
            first, *rest = INFORMATION
            begin = Operation("Get", command.ref, (Item(target=first),))
            # One Get for each: a node that is not there fails no other.
            return lambda numbers: [begin, *(_get(numbers, uri) for uri in rest)]
        case _:
            raise Refused(Reason.PLATFORM_UNSUPPORTED)


def _exec(ref: str, path: str) -> Operation:
    return Operation("Exec", ref, (Item(target=path),))


def _unheard(command: Command) -> Outcome:
    """The session ended without a word. What can be done twice without harm is offered again."""
    if command.act in _ONCE:
        return Outcome(JobState.UNCONFIRMED, Reason.NO_ANSWER)
    if command.offers >= ATTEMPTS:
        return Outcome(JobState.FAILED, Reason.NO_ANSWER)
    return Outcome(None, Reason.ANSWER_LOST)


def _refused(told: Told) -> Outcome:
    if told.code in _ABSENT:
        return Outcome(JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED, detail=_detail(told))
    return Outcome(JobState.FAILED, Reason.DEVICE_REFUSED, detail=_detail(told))


def _detail(told: Told) -> tuple[tuple[str, str], ...]:
    """For the operator, as it came."""
    said = (("status", told.code), ("original_error", told.error))
    return tuple((name, value) for name, value in said if value is not None)
