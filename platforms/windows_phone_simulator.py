"""The other end of the talk: a Windows phone on the real wire, of 8.1 or of 10. The push service is in `wns_service`.

It reads and writes SyncML by itself: what the server's grammar gets wrong must not be got wrong here too.
Not simulated: WBXML, large objects in pieces, apps, policies, signed messages, recovery of a PIN by ticket.
"""

import asyncio
import base64
import secrets
import string
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from platforms import loopback
from platforms import windows_phone_wire as wire
from platforms.identity import make_ca
from platforms.windows_phone_tree import GENERATIONS, PHONE_10, Generation, Run
from platforms.windows_phone_wire import Bond, EnrollmentFailed, Mistake
from platforms.wns_service import Wns, WnsService, open_service

Transport = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""(method, url, headers, body) → (status, headers with lower-case names, body). Raises OSError when the road is cut."""

AGENT: Final = "MSFT OMA DM Client/1.2.0.1"
UNENROLLED: Final = "com.microsoft:mdm.unenrollment.userrequest"

FIRST_COMMAND: Final = 2
"""Windows counts so in its first message of a session."""
LONGEST_PAUSE: Final = 30.0
LONGEST_SESSION: Final = 100
"""Messages. A real phone would go on for ever; here it is a mistake to show."""
REPEATS: Final = 6
"""How often a message is sent again before its session is given up."""
CHALLENGES: Final = 2
"""How often a phone proves itself anew in one session."""


class _Lost(Exception):
    """The road is cut: the message that got no answer is sent again when there is a road."""


class _Refused(_Lost):
    """The server will not hear this: the session is over."""


@dataclass
class Habits:
    """How this phone misbehaves; each can be changed at any time."""

    slow: float = 0.0
    """Seconds before an order is run."""
    refusing: bool = False
    """Every Exec fails with 500."""
    repeating: bool = False
    """Says each message twice, and begins each session with the first message of an older one."""
    losing_results: int = 0
    """So many messages that tell what became of an order never leave the phone."""
    losing_answers: int = 0
    """So many answers that bring an order never reach it, though its message arrived."""
    reboots_in_reset: int = 0
    """So many times it restarts between the new PIN and the telling: nobody will ever know that PIN."""
    silent_pin: str = ""
    """How it says that there is no PIN to read though it made one: "missing", "empty" or "bare"."""
    pin_twice: bool = False
    """Gives the Results with the PIN twice, the second with another word in it."""
    parent_last: bool = False
    """The status of a Sequence comes behind those of its parts."""
    without_proof: bool = False
    """Shows no credentials before it is asked for them."""
    doubts_the_server: bool = False
    """Asks the server for its proof in each session."""
    farewell: tuple[str, ...] = ("report", "alert")
    """What is still said when it is wiped ("report") or let go ("alert")."""


@dataclass
class _Talk:
    """One session. Gone with a restart, as on a real phone."""

    id: str
    woken: bool
    message: int = 0
    sent: set[str] = field(default_factory=set)
    """CmdIDs of our last message."""
    challenges: int = 0
    server_known: bool = False
    farewell: bool = False


_KEPT: Final = (
    *(
        "dev_id",
        "generation",
        "os_version",
        "model",
        "manufacturer",
        "channel",
        "pfn",
        "passcode",
        "pins_made",
        "locked",
    ),
    *("erased", "enrolled", "aad_device_id", "sessions", "calls"),
)


@dataclass
class WindowsPhone:
    """One simulated phone. `wake` is what a push does; everything else follows from what the server answers.

    A message that got no answer is sent again as it was, byte for byte. A restart forgets it, and its session.
    """

    transport: Transport = field(repr=False)
    generation: str = "10"
    dev_id: str = field(default_factory=lambda: f"urn:uuid:{uuid4()}".upper().replace("URN:UUID", "urn:uuid"))
    os_version: str = ""
    manufacturer: str = ""
    model: str = ""
    channel: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(48)).decode(), repr=False)
    """The token of its channel at the push service."""
    pfn: str | None = None
    """The app for which it keeps a channel; None: no channel."""
    passcode: str | None = field(default=None, repr=False)
    pins_made: int = 0
    locked: bool = True
    aad_device_id: str | None = None
    """Joined to a directory: a reset wipes such a phone."""
    erased: bool = False
    enrolled: bool = False
    online: bool = True
    sessions: int = 0xA0
    """Counts up; its hex digits are the name of the session."""
    calls: int = 0
    """How many calls of its schedule are done."""
    bond: Bond | None = None
    effects: Counter[str] = field(default_factory=Counter)
    """How often each order really did something, by its CmdID."""
    offers: Counter[str] = field(default_factory=Counter)
    """How often each order was handed to it, run or not."""
    complaints: list[str] = field(default_factory=list)
    """What the server did that a real phone would not understand."""
    habits: Habits = field(default_factory=Habits)
    next_pins: deque[str] = field(default_factory=deque, repr=False)
    """What it makes next, instead of something random."""
    service: WnsService | None = field(default=None, repr=False)
    patience: float | None = None
    """Seconds until it tries again by itself when the road was cut, twice as many each time; None: only when told.
    With patience it also keeps its schedule."""
    saved: Callable[[], None] | None = field(default=None, repr=False)
    """Called whenever `state()` has changed."""

    def __post_init__(self) -> None:
        kind = self._kind
        self.os_version = self.os_version or kind.os_version
        self.manufacturer = self.manufacturer or kind.manufacturer
        self.model = self.model or kind.model
        self._called = False
        self._woken = False
        self._lock = asyncio.Lock()
        self._boot = 0
        self._talk: _Talk | None = None
        self._unanswered: bytes | None = None
        self._tries = 0
        self._unread_pin: str | None = None
        self._firsts: deque[bytes] = deque(maxlen=4)
        self._timer: asyncio.TimerHandle | None = None
        self._polling: asyncio.Task[None] | None = None

    @property
    def _kind(self) -> Generation:
        return GENERATIONS[self.generation]

    @property
    def address(self) -> str:
        return self.channel

    def a_push(self) -> Wns:
        """As the push service would hand it over, for a driver that has none."""
        return Wns(self.channel)

    @property
    def certificate(self) -> bytes | None:
        """What TLS would prove of it."""
        return None if self.bond is None else self.bond.certificate

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What nobody may find in a log."""
        mine = [] if self.passcode is None else [self.passcode.encode()]
        if self.bond is not None:
            mine += [self.bond.secret.encode(), self.bond.server_secret.encode(), *self.bond.key.splitlines()[1:-1]]
        return tuple(mine)

    def signed(self, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with which this phone would say `body`: its proof is inside."""
        return dict(headers)

    # Enrolling and leaving

    async def open_link(self, url: str) -> None:
        """Fetch the document, once, and install it. Raises EnrollmentFailed; OSError where a later try may go well."""
        status, _, body = await self.transport("GET", url, {"accept": "*/*"}, b"")
        if _is_trouble(status):
            raise OSError(f"the link was answered with {status}")
        if status != 200:
            raise EnrollmentFailed(f"the link was answered with {status}", status)
        self.install(body)

    def install(self, handout: bytes) -> None:
        """Raises EnrollmentFailed."""
        self.bond = wire.bond_of(handout)
        self._talk = self._unanswered = None
        self._firsts.clear()
        if self.passcode is None:
            self.passcode = self._make_pin()
        self._changed()

    async def check_in(self) -> None:
        """The first session. Raises EnrollmentFailed when it is refused; OSError where a later try may go well."""
        async with self._lock:
            try:
                await self._session(self._bond)
            except _Refused as refused:
                raise EnrollmentFailed(f"the first session was refused: {refused}") from None
            except _Lost as lost:
                raise OSError(f"the first session failed: {lost}") from lost.__cause__
        self.enrolled = True
        self._changed()
        self._listen()

    async def check_out(self) -> None:
        """The account is removed by hand: one try to say so."""
        await self._leave(said=("alert",))

    def upgrade(self) -> None:
        """From 8.1 to 10: the bond stays, the channel does not."""
        self.generation, self.os_version = "10", PHONE_10.os_version
        self.reboot()
        self.lose_channel()

    def lose_channel(self) -> None:
        """The push service knows it no more: a new one comes when the server names its app again."""
        if self.service is not None:
            self.service.away(self.channel)
        self.pfn = None
        self.channel = base64.b64encode(secrets.token_bytes(48)).decode()
        self._changed()

    # Being reached

    async def wake(self, push: Wns) -> None:
        """A push came. Several coalesce: one that comes during a session is one more session after it."""
        if push.address != self.channel:
            self.complaints.append("a push for another channel")
            return
        self._woken = True
        await self.poll()

    async def poll(self) -> None:
        """Call the server; a message that got no answer goes first."""
        self._called = True
        if self._lock.locked():
            return
        async with self._lock:
            pause = self.patience
            while self._called and self.online and self.enrolled:
                self._called = False
                try:
                    await self._session(self._bond)
                except _Lost:
                    if pause is None or not self.online:
                        return
                    await asyncio.sleep(pause)
                    self._called, pause = True, min(pause * 2, LONGEST_PAUSE)

    def go_offline(self) -> None:
        self.online = False
        if self.service is not None:
            self.service.away(self.channel)

    async def go_online(self) -> None:
        """The push service hands over what it kept, and a message that got no answer is sent."""
        self.online = True
        self._listen()
        if self._unanswered is not None:
            await self.poll()

    def reboot(self) -> None:
        """What was not written down is forgotten: the session, and what it had to tell."""
        self._boot += 1
        self._talk = self._unanswered = self._unread_pin = None

    def pause_before(self, call: int) -> timedelta | None:
        """How long after the call before it the phone makes its `call`-th (from 0) by schedule; None: it does not."""
        for minutes, count in self._bond.poll:
            if count == 0 and minutes:
                return timedelta(minutes=minutes)
            if call < count:
                return timedelta(minutes=minutes)
            call -= count
        return None

    # What is kept

    def state(self) -> dict[str, Any]:
        """As a property list has it: without None."""
        state = {name: value for name in _KEPT if (value := getattr(self, name)) is not None}
        state["effects"] = dict(self.effects)
        if self.bond is not None:
            state["bond"] = vars(self.bond)
        return state

    @classmethod
    def restore(cls, state: Mapping[str, Any], transport: Transport) -> Self:
        values: dict[str, Any] = dict(state)
        values["effects"] = Counter(values.get("effects", {}))
        if "bond" in values:
            values["bond"] = Bond(**values["bond"])
        return cls(transport, **values)

    # The session

    async def _session(self, bond: Bond, *, farewell: bool = False) -> None:
        """From our first message to the server's last, or on from where the road was cut."""
        message, talk = self._unanswered, self._talk
        if message is None or talk is None or farewell:
            talk = self._begin(farewell=farewell)
            if self.habits.repeating and self._firsts:
                with suppress(_Lost):
                    await self._post(bond, self._firsts[0], "")
            message = self._first(bond, talk)
            self._firsts.append(message)
        for _ in range(LONGEST_SESSION):
            answer = await self._say(bond, message)
            try:
                reply = await self._hear(bond, talk, answer)
            except Mistake as mistake:
                self.complaints.append(str(mistake))
                reply = None
            if reply is None:
                self._talk = None
                return
            message = reply
        self.complaints.append("a session without end")

    def _begin(self, *, farewell: bool) -> _Talk:
        self.sessions = self.sessions + 1 & 0xFFFF
        self._talk = _Talk(f"{self.sessions:X}", self._woken, farewell=farewell)
        self._unanswered, self._woken, self._tries = None, False, 0
        self._changed()
        return self._talk

    def _first(self, bond: Bond, talk: _Talk, after: str | None = None) -> bytes:
        """Package 1. `after`: the server's message that asked for proof, which is answered along with it."""
        body: list[ET.Element] = []
        numbers = wire.numbers(FIRST_COMMAND)
        if after is not None:
            body.append(wire.status(next(numbers), after, "0", "SyncHdr", "200"))
        alerts = [wire.command("Alert", next(numbers), wire.text("Data", "1200" if talk.woken else "1201"))]
        if self._kind.tells_who_is_there:
            who = wire.item(meta={"Type": "com.microsoft/MDM/LoginStatus"}, data="user")
            alerts.append(wire.command("Alert", next(numbers), wire.text("Data", "1224"), who))
        information = {
            "DevId": self.dev_id,
            "Man": self.manufacturer,
            "Mod": self.model,
            "DmV": "1.3",
            "Lang": "en-US",
        }
        items = [wire.item(source=f"./DevInfo/{name}", data=value) for name, value in information.items()]
        commands = [*alerts, wire.command("Replace", next(numbers), *items)]
        if talk.farewell:
            gone = wire.item(meta={"Type": UNENROLLED, "Format": "int"}, data="1")
            commands.append(wire.command("Alert", next(numbers), wire.text("Data", "1226"), gone))
        proof = after is not None or not self.habits.without_proof
        talk.sent = {command.findtext("CmdID", "") for command in commands}
        return self._message(bond, talk, [*body, *commands], proof=proof)

    def _message(self, bond: Bond, talk: _Talk, body: Sequence[ET.Element], *, proof: bool = False) -> bytes:
        talk.message += 1
        source = wire.named("Source", wire.text("LocURI", self.dev_id))
        header = wire.named(
            "SyncHdr",
            *(wire.text("VerDTD", "1.2"), wire.text("VerProto", "DM/1.2"), wire.text("SessionID", talk.id)),
            *(wire.text("MsgID", str(talk.message)), wire.named("Target", wire.text("LocURI", bond.address)), source),
        )
        if proof:
            source.append(wire.text("LocName", bond.name))
            meta = wire.metadata({"Format": "b64", "Type": "syncml:auth-md5"})
            header.append(wire.named("Cred", meta, wire.text("Data", wire.digest(bond.name, bond.secret, bond.nonce))))
        root = ET.Element("SyncML", {"xmlns": "SYNCML:SYNCML1.2"})
        root.extend([header, wire.named("SyncBody", *body, ET.Element("Final"))])
        written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
        return written

    async def _say(self, bond: Bond, message: bytes) -> bytes:
        """One message and its answer. What got none is kept, and sent again as it was."""
        boot = self._boot
        self._unanswered = message
        self._tries += 1
        if self.habits.losing_results and self.effects and b"<Cmd>Exec</Cmd>" in message:
            self.habits.losing_results -= 1
            raise self._given_up("lost on the way")
        answer = await self._post(bond, message, "lost on the way back")
        if self.habits.repeating:
            again = await self._post(bond, message, "lost on the way back")
            if again != answer:
                self.complaints.append("a message that was said again was answered otherwise")
        if boot != self._boot:
            raise _Lost("restarted")
        self._unanswered, self._tries = None, 0
        return answer

    def _given_up(self, why: str) -> _Lost:
        """After so many tries a phone begins a new session, and what it had to tell is never told."""
        if self._tries > REPEATS:
            self._talk = self._unanswered = None
        return _Lost(why)

    async def _post(self, bond: Bond, message: bytes, lost: str) -> bytes:
        if not self.online:
            raise _Lost("offline")
        headers = {"content-type": wire.MIME, "user-agent": AGENT, "accept": wire.MIME}
        try:
            status, answered, answer = await self.transport("POST", bond.address, headers, message)
        except OSError as error:
            raise self._given_up("unreachable") from error
        if lost and self.habits.losing_answers and b"<Exec>" in answer:
            self.habits.losing_answers -= 1
            raise self._given_up(lost)
        if _is_trouble(status):
            raise self._given_up(f"status {status}")
        if status != 200:
            if lost:
                self.complaints.append(f"status {status}")
                self._talk = self._unanswered = None
            raise _Refused(f"status {status}")
        if answered.get("content-type", "").partition(";")[0] != wire.MIME:
            self.complaints.append("an answer that is not called SyncML")
        return answer

    async def _hear(self, bond: Bond, talk: _Talk, answer: bytes) -> bytes | None:
        """What to say next; None: the session is over. Raises Mistake, _Refused or _Lost."""
        header, body = wire.read(answer)
        told = [one for one in body if one.tag == "Status"]
        commands = [one for one in body if one.tag not in {"Status", "Results", "Final", "Alert"}]
        self._check_header(bond, talk, header, told)
        verdict = told[0].findtext("Data", "")
        challenge = told[0].findtext("Chal/Meta/NextNonce")
        if challenge is not None and verdict in {"200", "212", "401", "407"}:
            bond.nonce = base64.b64decode(challenge)
            self._changed()
        if verdict in {"401", "407"}:
            if commands:
                raise Mistake("orders for somebody who has not proven himself")
            talk.challenges += 1
            if challenge is None or talk.challenges > CHALLENGES:
                raise _Refused(f"not let in: {verdict}")
            return self._first(bond, talk, after=header.findtext("MsgID", ""))
        if verdict not in {"200", "212"}:
            raise _Refused(f"the message was answered with {verdict}")
        codes = {one.findtext("Data") for one in body if one.tag == "Alert"}
        if "1223" in codes or not commands:
            return None
        head = None
        if self.habits.doubts_the_server and not talk.server_known:
            head = self._doubt(bond, talk, header)
            if not talk.server_known:
                return self._nothing_run(bond, talk, header, commands, head)
        return await self._obey(bond, talk, header, commands, head)

    def _check_header(self, bond: Bond, talk: _Talk, header: ET.Element, told: Sequence[ET.Element]) -> None:
        wanted = {"VerDTD": "1.2", "VerProto": "DM/1.2", "SessionID": talk.id, "Target/LocURI": self.dev_id}
        for path, value in wanted.items():
            if header.findtext(path) != value:
                raise Mistake(f"a head with another {path}")
        if not header.findtext("Source/LocURI") or not header.findtext("MsgID"):
            raise Mistake("a head without Source or MsgID")
        if not told or told[0].findtext("CmdRef") != "0" or told[0].findtext("Cmd") != "SyncHdr":
            raise Mistake("an answer that does not begin with the status of our head")
        if {one.findtext("MsgRef") for one in told} != {str(talk.message)}:
            raise Mistake("a status for another message")
        missing = talk.sent - {one.findtext("CmdRef") for one in told}
        if missing:
            raise Mistake(f"no status for our {', '.join(sorted(missing))}")

    def _doubt(self, bond: Bond, talk: _Talk, header: ET.Element) -> ET.Element:
        """What we make of the server's proof, as the status of its head. Raises _Refused."""
        shown = header.findtext("Cred/Data")
        talk.server_known = shown == wire.digest(bond.provider, bond.server_secret, bond.server_nonce)
        code = "212" if talk.server_known else "407" if shown is None else "401"
        if not talk.server_known:
            talk.challenges += 1
            if talk.challenges > CHALLENGES:
                raise _Refused("the server could not prove itself")
        bond.server_nonce = secrets.token_bytes(16)
        self._changed()
        head = wire.status(1, header.findtext("MsgID", ""), "0", "SyncHdr", code)
        nonce = base64.b64encode(bond.server_nonce).decode()
        head.insert(
            4, wire.named("Chal", wire.metadata({"Format": "b64", "Type": "syncml:auth-md5", "NextNonce": nonce}))
        )
        return head

    def _nothing_run(
        self, bond: Bond, talk: _Talk, header: ET.Element, commands: Sequence[ET.Element], head: ET.Element
    ) -> bytes:
        code, numbers, message = head.findtext("Data", ""), wire.numbers(2), header.findtext("MsgID", "")
        ids = [(one.findtext("CmdID", ""), one.tag) for one in wire.flat(commands)]
        talk.sent = set()
        refused = [wire.status(next(numbers), message, ref, name, code) for ref, name in ids]
        return self._message(bond, talk, [head, *refused])

    async def _obey(
        self,
        bond: Bond,
        talk: _Talk,
        header: ET.Element,
        commands: Sequence[ET.Element],
        head: ET.Element | None = None,
    ) -> bytes | None:
        """Package 3: the commands are run, and what became of each is told in one message."""
        ids = [one.findtext("CmdID", "") for one in wire.flat(commands)]
        if len(set(ids)) != len(ids) or not all(ids) or "0" in ids:
            raise Mistake("commands without numbers of their own")
        if any(one.find("Item") is None for one in wire.flat(commands) if one.tag not in {"Sequence", "Atomic"}):
            raise Mistake("a command without an item")
        boot = self._boot
        if self.habits.slow:
            await asyncio.sleep(self.habits.slow)
        if boot != self._boot or not self.online:
            raise _Lost("away")
        message = header.findtext("MsgID", "")
        run = Run(self, bond, message)
        said = [wire.status(run.number(), message, "0", "SyncHdr", "200")]
        if head is not None:
            said = [head]
        for command in commands:
            said += run.one(command)
        self._unread_pin = None
        self._changed()
        talk.sent = set()
        if run.made_pin and self.habits.reboots_in_reset:
            self.habits.reboots_in_reset -= 1
            self.reboot()
            raise _Lost("restarted")
        if run.leaving:
            await self._leave(self._message(bond, talk, said))
            return None
        return self._message(bond, talk, said)

    async def _leave(self, last: bytes | None = None, said: Sequence[str] | None = None) -> None:
        """Everything is gone; what is said of it is said once. After an Unenroll no status comes, but a new session."""
        bond, words = self._bond, self.habits.farewell if said is None else said
        try:
            if last is not None and self.erased and "report" in words:
                await self._post(bond, last, "lost on the way back")
            if not self.erased and "alert" in words:
                await self._session(bond, farewell=True)
        except _Lost:
            pass
        if self.service is not None:
            self.service.away(self.channel)
        if self._timer is not None:
            self._timer.cancel()
        self.enrolled, self.bond, self._talk, self._unanswered, self.pfn = False, None, None, None, None
        self._changed()

    # The phone itself

    def reset_pin(self) -> None:
        self.passcode, self.locked = self._make_pin(), True
        self.pins_made += 1
        self._unread_pin = self.passcode

    def take_pin(self) -> str | None:
        """Readable once, by a Get in the message that made it."""
        pin, self._unread_pin = self._unread_pin, None
        return pin

    def erase(self) -> None:
        self.erased, self.passcode = True, None

    def _make_pin(self) -> str:
        if self.next_pins:
            return self.next_pins.popleft()
        if not self._kind.letters:
            return "".join(secrets.choice(string.digits) for _ in range(8))
        signs = string.ascii_letters + string.digits
        while True:
            pin = "".join(secrets.choice(signs) for _ in range(8))
            if not pin.isalpha() and not pin.isdigit():
                return pin

    def open_channel(self, pfn: str) -> None:
        self.pfn = pfn
        self._listen()

    def _listen(self) -> None:
        if self.service is not None and self.online and self.enrolled and self.pfn is not None:
            self.service.listen(self.channel, self.wake)
        self._keep_schedule()

    def _keep_schedule(self) -> None:
        if self.patience is None or self._timer is not None or not self.enrolled:
            return
        pause = self.pause_before(self.calls)
        if pause is not None:
            self._timer = asyncio.get_running_loop().call_later(pause.total_seconds(), self._by_schedule)

    def _by_schedule(self) -> None:
        self._timer = None
        self.calls += 1
        self._changed()
        self._keep_schedule()
        self._polling = asyncio.ensure_future(self.poll())

    @property
    def _bond(self) -> Bond:
        if self.bond is None:
            raise EnrollmentFailed("nothing is installed")
        return self.bond

    def _changed(self) -> None:
        if self.saved is not None:
            self.saved()


def _is_trouble(status: int) -> bool:
    """The server's own: the same message may go well later."""
    return status >= 500 or status == 429


# What every simulator offers to the fleet driver


def wake_service(keys: Path, port: int) -> AbstractAsyncContextManager[WnsService]:
    return open_service(keys, port)


def demo_keys(now: datetime) -> tuple[Mapping[str, bytes], Mapping[str, str]]:
    """Files of a push service nobody trusts but this installation, and which setting each of them is. Both phones use
    the same: whoever makes them last made them all."""
    authority = make_ca("Push service of Windows phones of this machine alone", now)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]
    certificate, key = loopback.issue(authority, subject, ExtendedKeyUsageOID.SERVER_AUTH, now)
    files = {
        "wns-ca.crt": authority.pem()[0].encode(),
        "wns-server.crt": certificate,
        "wns-server.key": key,
        "wns-package-sid.txt": f"ms-app://s-1-15-2-{secrets.randbelow(10**9)}".encode(),
        "wns-secret.txt": secrets.token_urlsafe(24).encode(),
        "wns-pfn.txt": b"Latchkey.Demo_" + secrets.token_hex(6).encode(),
    }
    settings = {
        "WNS_CA_FILE": "wns-ca.crt",
        "WNS_PACKAGE_SID_FILE": "wns-package-sid.txt",
        "WNS_SECRET_FILE": "wns-secret.txt",
        "WNS_PFN_FILE": "wns-pfn.txt",
    }
    return files, settings
