"""One session of OMA device management, as the server leads it: packages 1 to 4, proof in both directions, and which
answer belongs to what. Pure; free of either phone's rules.

Protocol: https://www.openmobilealliance.org/release/DM/V1_2-20070209-A/OMA-TS-DM_Protocol-V1_2-20070209-A.pdf
Security: https://www.openmobilealliance.org/release/DM/V1_2-20070209-A/OMA-TS-DM_Security-V1_2-20070209-A.pdf

    package 1  device: an alert, and who it is      package 2  server: statuses, commands
    package 3  device: statuses, results            package 4  server: statuses, more commands or none: the end

`hear` takes one message, `answer` spells the reply. What must be known at the next message is `Memory`.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

from models.vocabulary import Secret
from platforms import syncml
from platforms.errors import Unreadable
from platforms.syncml import Alert, Command, Cred, Group, Header, Item, Message, Meta, Operation, Results, Status, Stray

VERSION: Final = 1
MD5: Final = "syncml:auth-md5"
NONCE: Final = 16
TRIES: Final = 2
"""Wrong credentials in one session: after these there is no further challenge."""
IDLE: Final = 3600
"""Seconds after which a session that says nothing is over; the protocol knows no time."""
ECHO: Final = 30
"""Seconds in which a first message that comes again is an echo, and begins no session."""
MAX_OBJECT: Final = 64 * 1024

INFORMATION: Final = frozenset({"DevId", "Man", "Mod", "DmV", "Lang"})
"""./DevInfo, which comes unasked; other names are not taken from a device."""
STARTS: Final = frozenset({"1200", "1201"})
UNENROLLED: Final = "com.microsoft:mdm.unenrollment.userrequest"
PENDING: Final = "com.microsoft.mdm.requestpending"
LOGIN: Final = "com.microsoft/mdm/loginstatus"
_DOMAIN: Final = "reversed-domain-name:"


def key_of(name: str, secret: str) -> str:
    """What is kept instead of the secret."""
    return _md5(f"{name}:{secret}".encode())


def digest(key: str, nonce: bytes) -> str:
    """What proves the secret behind `key`. MD5 is what the phones speak; it is only used inside TLS."""
    return _md5(key.encode() + b":" + nonce)


def _md5(octets: bytes) -> str:
    return base64.b64encode(hashlib.md5(octets, usedforsecurity=False).digest()).decode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that we sent and that is to be answered."""

    cmd_id: str
    verb: str
    uri: str


@dataclass(frozen=True, slots=True)
class Answered:
    code: str | None = None
    error: str | None = None
    data: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    id: str
    began: int
    """Seconds since 1970, as all moments here."""
    last: int
    heard: int
    """The device's last MsgID, and what it was the id of."""
    body: str = field(repr=False)
    first: str = field(repr=False)
    said: int = 0
    reply: str = field(default="", repr=False)
    over: bool = False
    known: bool = False
    """TLS proved the device when it began, and has to in every message since."""
    proving: bool = False
    """The device asked for our proof: from then on it is shown."""
    doubts: int = 0
    asked_in: int = 0
    asked: tuple[Asked, ...] = ()
    answers: Mapping[str, Answered] = field(default_factory=dict, repr=False)
    partial: tuple[str, int, str] | None = field(default=None, repr=False)
    """CmdRef, size and what came so far of an object that comes in pieces."""
    subject: str = ""
    """What the commands under way are for, in the words of whoever asked."""
    ref: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Challenge:
    """Somebody who has not proven himself yet."""

    id: str
    heard: int
    body: str = field(repr=False)
    said: int
    failures: int
    reply: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Memory:
    device_key: str = field(repr=False)
    device_nonce: str = field(repr=False)
    """Base64; the one that the device must use next."""
    server_key: str = field(repr=False)
    server_nonce: str = field(repr=False)
    session: Session | None = None
    challenge: Challenge | None = None
    channel_uri: str | None = field(default=None, repr=False)
    channel_named: bool = False
    since: int = 0
    """The first proven session."""

    @classmethod
    def read(cls, sealed: Secret | None) -> Self:
        """Raises Unreadable: nothing was ever handed out to such a bond."""
        if sealed is None:
            raise Unreadable("no_memory")
        values: dict[str, Any] = json.loads(sealed.value)
        if values.pop("version") != VERSION:
            raise Unreadable("memory_of_another_version")
        if values["session"] is not None:
            values["session"] = _session(values["session"])
        if values["challenge"] is not None:
            values["challenge"] = Challenge(**values["challenge"])
        return cls(**values)

    def write(self) -> Secret:
        return Secret(json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":")).encode())


def _session(values: dict[str, Any]) -> Session:
    partial = values["partial"]
    return Session(
        **{
            **values,
            "asked": tuple(Asked(**one) for one in values["asked"]),
            "answers": {name: Answered(**one) for name, one in values["answers"].items()},
            "partial": None if partial is None else (str(partial[0]), int(partial[1]), str(partial[2])),
            "withheld": tuple(values["withheld"]),
        }
    )


def new_memory(*, device: tuple[str, str, bytes], server: tuple[str, str, bytes]) -> Memory:
    """Name, secret and first nonce with which each side proves itself to the other."""
    return Memory(
        device_key=key_of(device[0], device[1]),
        device_nonce=_text(device[2]),
        server_key=key_of(server[0], server[1]),
        server_nonce=_text(server[2]),
    )


class Kind(StrEnum):
    AGAIN = "again"
    """Said before, word for word: the same answer, and nothing else."""
    REFUSED = "refused"
    """Not of this session: nothing is heard of it."""
    UNPROVEN = "unproven"
    BEGAN = "began"
    GOES_ON = "goes_on"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one message means; and all that `answer` needs."""

    kind: Kind
    memory: Memory = field(repr=False)
    said: str = field(default="", repr=False)
    """What was answered to the same words before."""
    header: Header | None = None
    statuses: tuple[tuple[str, str, str], ...] = ()
    """CmdRef, Cmd and code of what is answered."""
    code: str = "200"
    """Of the head."""
    challenged: bool = False
    """A nonce goes with the head's status."""
    lost: tuple[str, str] | None = None
    """Subject and ref of what an earlier session asked and never heard."""
    finished: bool = False
    """What we asked is answered, as far as it ever will be; `answers` and `subject` say how."""
    subject: str = ""
    ref: str | None = None
    asked: tuple[Asked, ...] = ()
    answers: Mapping[str, Answered] = field(default_factory=dict, repr=False)
    information: Mapping[str, str] = field(default_factory=dict)
    """./DevInfo, which comes unasked."""
    unenrolled: bool = False
    aborted: bool = False
    more: bool = False
    """The device has not said all: it is asked for the rest."""
    disbelieved: bool = False
    """The device wanted our proof first, and ran nothing."""

    @property
    def session(self) -> Session | None:
        return self.memory.session


# Hearing


def hear(  # noqa: PLR0911 - one return for each way in which a message can belong to a session, or not
    message: Message, octets: bytes, memory: Memory, *, known: bool, now: int
) -> Turn:
    """`known`: TLS has proven the device. Raises Unreadable."""
    header, session, challenge = message.header, memory.session, memory.challenge
    if header.ver_proto != "DM/1.2":
        raise Unreadable("protocol_version")
    number, body = _number(header.msg_id), hashlib.sha256(octets).hexdigest()
    if session is not None and (session.id, session.heard, session.body) == (header.session_id, number, body):
        return Turn(Kind.AGAIN, memory, said=session.reply)
    if challenge is not None and (challenge.id, challenge.heard, challenge.body) == (header.session_id, number, body):
        return Turn(Kind.AGAIN, memory, said=challenge.reply)
    after_challenge = challenge is not None and challenge.id == header.session_id and number == challenge.heard + 1
    starts = any(isinstance(command, Alert) and command.code in STARTS for command in message.commands)
    if starts and (number == 1 or after_challenge):
        return _begin(message, body, memory, known=known, now=now, said=_said(challenge) if after_challenge else 0)
    if session is None or session.id != header.session_id or session.over or now - session.last > IDLE:
        return Turn(Kind.REFUSED, memory)
    if number == session.heard:
        # One number, two messages: one of them is not the device's. Nothing more is believed here.
        return Turn(Kind.REFUSED, replace(memory, session=replace(session, over=True)))
    if (
        number < session.heard
        or (session.known and not known)
        or (header.cred is not None and not known and not _proves(header, memory))
    ):
        return Turn(Kind.REFUSED, memory)
    return _go_on(message, replace(session, heard=number, body=body, last=now), memory)


def _said(challenge: Challenge | None) -> int:
    return 0 if challenge is None else challenge.said


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0):
        raise Unreadable("message_number")
    return int(text)


def _proves(header: Header, memory: Memory) -> bool:
    cred = header.cred
    if cred is None or (cred.type or "").lower() != MD5:
        return False
    expected = digest(memory.device_key, base64.b64decode(memory.device_nonce))
    return hmac.compare_digest(cred.data.encode(), expected.encode())


def _begin(message: Message, body: str, memory: Memory, *, known: bool, now: int, said: int) -> Turn:
    header, former, challenge = message.header, memory.session, memory.challenge
    number = _number(header.msg_id)
    if not known and not _proves(header, memory):
        failures = challenge.failures if challenge is not None and challenge.id == header.session_id else 0
        failures += header.cred is not None
        code = "407" if header.cred is None else "401"
        again = failures < TRIES or header.cred is None
        newest = replace(
            memory,
            device_nonce=_nonce() if again else memory.device_nonce,
            challenge=Challenge(header.session_id, number, body, said, failures),
        )
        statuses = tuple((ref, name, code) for ref, name in _commands(message.commands))
        return Turn(Kind.UNPROVEN, newest, header=header, statuses=statuses, code=code, challenged=again)
    echo = former is not None and not former.over and former.first == body and now - former.began <= ECHO
    if former is not None and echo and former.heard > number:
        return Turn(Kind.REFUSED, memory)
    lost = None if former is None or former.ref is None else (former.subject, former.ref)
    session = Session(header.session_id, now, now, number, body, body, said=said, known=known)
    # Every session has a nonce of its own; the next one's goes with the answer.
    newest = replace(memory, session=session, challenge=None, device_nonce=_nonce(), since=memory.since or now)
    turn = _listen(message, session, newest, Turn(Kind.BEGAN, newest, header=header, lost=lost))
    return replace(turn, code="212", challenged=True)


def _go_on(message: Message, session: Session, memory: Memory) -> Turn:
    turn = _listen(message, session, memory, Turn(Kind.GOES_ON, memory, header=message.header))
    return turn if turn.session is None else _finish(message, turn, turn.session)


def _finish(message: Message, turn: Turn, session: Session) -> Turn:
    """Is what we asked answered? With the end of its package the device has said all that it will."""
    all_here = all(_is_answered(one, session.answers) for one in session.asked)
    if turn.more and not all_here:
        return turn
    if turn.disbelieved:
        fresh = replace(session, asked=(), answers={}, partial=None, ref=None)
        return replace(turn, memory=replace(turn.memory, session=fresh), subject=session.subject)
    done = replace(
        turn,
        finished=bool(session.asked),
        subject=session.subject,
        ref=session.ref,
        asked=session.asked,
        answers=session.answers,
        more=not message.final and not turn.aborted,
    )
    fresh = replace(session, asked=(), answers={}, partial=None, subject="", ref=None)
    return replace(done, memory=replace(turn.memory, session=fresh))


def _is_answered(asked: Asked, answers: Mapping[str, Answered]) -> bool:
    answer = answers.get(asked.cmd_id)
    if answer is None or answer.code is None:
        return False
    return asked.verb != "Get" or answer.code != "200" or answer.data is not None


def _listen(message: Message, session: Session, memory: Memory, turn: Turn) -> Turn:
    """Every command in the order it came: what it tells, and with which code it is answered."""
    ear = _Ear(session, memory)
    for command in message.commands:
        ear.take(command)
    if ear.aborted:
        ear.session = replace(ear.session, over=True)
    return replace(
        turn,
        memory=replace(ear.memory, session=ear.session),
        statuses=tuple(ear.statuses),
        information=ear.information,
        unenrolled=ear.unenrolled,
        aborted=ear.aborted,
        more=(not message.final or ear.pending) and not ear.aborted,
        disbelieved=ear.disbelieved,
    )


class _Ear:
    """Takes the commands of one message in."""

    def __init__(self, session: Session, memory: Memory) -> None:
        self.session = session
        self.memory = memory
        self.statuses: list[tuple[str, str, str]] = []
        self.information: dict[str, str] = {}
        self.unenrolled = self.aborted = self.pending = self.disbelieved = False
        self._asked = {one.cmd_id: one for one in session.asked}

    def take(self, command: Command) -> None:
        match command:
            case Status():
                self._status(command)
            case Results():
                self._results(command)
            case Alert():
                self.statuses.append((command.cmd_id, "Alert", self._alert(command)))
            case Operation(verb="Replace"):
                for item in command.items:
                    name = (item.source or item.target or "").removeprefix("./DevInfo/")
                    if name in INFORMATION and item.data and len(item.data) <= syncml.MAX_WORD:
                        self.information[name] = item.data.strip()
                self.statuses.append((command.cmd_id, "Replace", "200"))
            case Operation() | Group():
                for ref, name in _commands((command,)):
                    self.statuses.append((ref, name, "406"))
            case Stray():
                self.statuses.append((command.cmd_id or "", command.name, "400"))

    def _status(self, status: Status) -> None:
        session = self.session
        if status.cmd_ref == "0" and status.msg_ref == str(session.said):
            self._head(status)
        elif status.msg_ref == str(session.asked_in) and status.cmd_ref in self._asked:
            before = session.answers.get(status.cmd_ref, Answered())
            if before.code is None:
                self._keep(status.cmd_ref, replace(before, code=status.code, error=status.original_error))

    def _head(self, status: Status) -> None:
        """What the device makes of our proof, and the nonce that it wants next."""
        nonce = None if status.chal is None else _octets(status.chal.next_nonce)
        if nonce:
            self.memory = replace(self.memory, server_nonce=_text(nonce))
        if status.code in {"401", "407"}:
            doubts = self.session.doubts + 1
            self.disbelieved = doubts <= TRIES
            self.aborted = self.aborted or doubts > TRIES
            self.session = replace(self.session, proving=True, doubts=doubts)

    def _results(self, results: Results) -> None:
        """The first word stands. Only for what this session asked, and of the node that it asked for."""
        asked = self._asked.get(results.cmd_ref)
        if asked is None or (results.msg_ref or "1") != str(self.session.asked_in) or not results.items:
            return
        item = results.items[0]
        place = item.source or results.source_ref or results.target_ref or item.target
        if place is not None and _node(place) != _node(asked.uri):
            return
        before = self.session.answers.get(results.cmd_ref, Answered())
        if before.data is not None:
            return
        if item.more_data or (self.session.partial is not None and self.session.partial[0] == results.cmd_ref):
            code, data = self._piece(results, item)
            self.statuses.append((results.cmd_id, "Results", code))
            if data is None:
                return
            self._keep(results.cmd_ref, replace(before, data=data))
            return
        self.session = replace(self.session, partial=None)
        self._keep(results.cmd_ref, replace(before, data=item.data or ""))

    def _piece(self, results: Results, item: Item) -> tuple[str, str | None]:
        """One piece of an object: the code for it, and the whole with its last piece."""
        partial = self.session.partial
        if partial is None or partial[0] != results.cmd_ref:
            size = (item.meta.size if item.meta else None) or (results.meta.size if results.meta else None) or ""
            known = int(size) if size.isascii() and size.isdecimal() and len(size) <= 9 else 0
            partial = (results.cmd_ref, known, "")
        whole = partial[2] + (item.data or "")
        length = len(whole.encode())
        self.session = replace(self.session, partial=None)
        if max(length, partial[1]) > MAX_OBJECT:
            return "413", None
        if item.more_data:
            self.session = replace(self.session, partial=(partial[0], partial[1], whole))
            self.pending = True
            return "213", None
        return ("200", whole) if length == partial[1] else ("424", None)

    def _keep(self, ref: str, answer: Answered) -> None:
        self.session = replace(self.session, answers={**self.session.answers, ref: answer})

    def _alert(self, alert: Alert) -> str:
        match alert.code:
            case "1200" | "1201" | "1222":
                return "200"
            case "1223":
                self.aborted = True
                return "200"
            case "1224":
                return self._event(alert)
            case "1225":
                self.session = replace(self.session, partial=None)
                return "200"
            case "1226":
                return self._generic(alert)
            case _:
                return "406"

    def _event(self, alert: Alert) -> str:
        kinds = {_kind(item) for item in alert.items}
        if any(kind.endswith(PENDING) for kind in kinds):
            self.pending = True
            return "200"
        return "200" if LOGIN in kinds else "406"

    def _generic(self, alert: Alert) -> str:
        said = {(item.data or "").strip() for item in alert.items if _kind(item) == UNENROLLED}
        if not said:
            return "415"
        self.unenrolled = self.unenrolled or "1" in said
        return "200" if "1" in said else "415"


def _kind(item: Item) -> str:
    said = ((item.meta.type if item.meta else None) or "").strip().lower()
    return said.removeprefix(_DOMAIN).strip()


def _node(uri: str) -> str:
    return uri.strip().removeprefix("./").rstrip("/")


def _octets(text: str | None) -> bytes | None:
    try:
        octets = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return octets if 0 < len(octets) <= 128 else None


def _commands(commands: Iterable[Command]) -> Iterator[tuple[str, str]]:
    """Everything that is to have a status, nested commands among it."""
    for command in commands:
        match command:
            case Alert():
                yield command.cmd_id, "Alert"
            case Operation():
                yield command.cmd_id, command.verb
            case Group():
                yield command.cmd_id, command.verb
                yield from _commands(command.commands)
            case Stray():
                yield command.cmd_id or "", command.name
            case _:
                pass


# Answering

Orders = Callable[[Iterator[int]], Sequence[Command]]
"""Spells commands; takes the numbers that they may use."""


def answer(
    turn: Turn,
    server_name: str,
    orders: Orders | None = None,
    *,
    subject: str = "",
    ref: str | None = None,
) -> tuple[bytes, Memory]:
    """The reply, and what must be remembered from here on. Without `orders` the session ends."""
    memory, header = turn.memory, turn.header
    if header is None:
        raise ValueError("there is nothing to answer")
    unproven = turn.kind is Kind.UNPROVEN
    session, challenge = memory.session, memory.challenge
    before = challenge.said if unproven and challenge is not None else 0 if session is None else session.said
    numbers = iter(range(1, 1 << 16))
    body: list[Command] = list(_statuses(turn, numbers))
    asks: Sequence[Command] = ()
    if turn.more:
        body.append(Alert(str(next(numbers)), "1222"))
    elif orders is not None and not unproven and not turn.aborted:
        asks = orders(numbers)
        body.extend(asks)
    cred = None
    if not unproven and session is not None and session.proving:
        cred = Cred(digest(memory.server_key, base64.b64decode(memory.server_nonce)))
    reply_header = Header(
        session_id=header.session_id,
        msg_id=str(before + 1),
        target=header.source,
        source=header.target,
        source_name=server_name if cred is not None else None,
        cred=cred,
    )
    reply = syncml.write(Message(reply_header, tuple(body), final=not turn.more))
    text = reply.decode()
    if unproven and challenge is not None:
        return reply, replace(memory, challenge=replace(challenge, said=before + 1, reply=text))
    if session is None:
        raise ValueError("nobody is in session")
    asked = tuple(_leaves(asks))
    newest = replace(session, said=before + 1, reply=text, over=session.over or not (asked or turn.more))
    if asked:
        newest = replace(newest, asked=asked, asked_in=before + 1, answers={}, subject=subject, ref=ref)
    return reply, replace(memory, session=newest)


def _statuses(turn: Turn, numbers: Iterator[int]) -> Iterator[Status]:
    header = turn.header
    message = "" if header is None else header.msg_id
    chal = None
    if turn.challenged:
        chal = Meta(format="b64", type=MD5, next_nonce=turn.memory.device_nonce)
    yield Status(str(next(numbers)), message, "0", "SyncHdr", turn.code, chal=chal)
    for ref, name, code in turn.statuses:
        yield Status(str(next(numbers)), message, ref, name, code)


def _leaves(commands: Iterable[Command]) -> Iterator[Asked]:
    for command in commands:
        match command:
            case Group():
                yield Asked(command.cmd_id, command.verb, "")
                yield from _leaves(command.commands)
            case Operation():
                yield Asked(command.cmd_id, command.verb, command.items[0].target or "")
            case _:
                pass


def _nonce() -> str:
    return _text(secrets.token_bytes(NONCE))


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
