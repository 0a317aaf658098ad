"""A Windows phone played by hand, message by message, with the house of the conformance suite behind it."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from models.vocabulary import Act, JobState, Secret
from platforms import dm_session, registry, syncml, windows_phone
from platforms.base import DeviceReply, DeviceRequest, EnrollmentState
from platforms.dm_session import Memory
from platforms.syncml import Alert, Command, Cred, Group, Header, Item, Message, Operation, Results, Status
from tests.platforms.conformance import Bond, House, Job, environ

NAMES = ("windows10mobile", "wp81")
VERSIONS = {"windows10mobile": "10.0.15254.603", "wp81": "8.10.14219.341"}
SECRET, NONCE = "s3cret", b"\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff"
DEV_ID = "urn:uuid:5b5b"
PACKAGE_1: tuple[Command, ...] = (
    Alert("2", "1201"),
    Operation(
        "Replace", "3", (Item(source="./DevInfo/DevId", data=DEV_ID), Item(source="./DevInfo/Mod", data="RM-974"))
    ),
)
Answers = dict[str, tuple[str, str | None]]
"""Code and data by node."""


@dataclass
class Phone:
    """Bound already, unless told otherwise; its secret and nonce are known to the test."""

    house: House
    bond: Bond
    version: str
    session: str = "A3F1"
    dev_id: str = DEV_ID
    nonce: bytes = NONCE
    message: int = 0
    certificate: bytes | None = None
    facts: Answers = field(default_factory=dict)
    last: bytes = b""
    heard: Message | None = None
    reply: DeviceReply | None = None

    @property
    def memory(self) -> Memory:
        return Memory.read(self.bond.memory)

    def say(self, *commands: Command, final: bool = True, proof: bytes | None = None) -> tuple[Command, ...]:
        """One message, and the commands of the answer."""
        self.message += 1
        cred = None
        if proof is not None:
            cred = Cred(dm_session.digest(dm_session.key_of(str(self.bond.id), SECRET), proof))
        header = Header(
            self.session,
            str(self.message),
            "https://latchkey.example/dm",
            self.dev_id,
            source_name=str(self.bond.id) if cred else None,
            cred=cred,
        )
        return self.send(syncml.write(Message(header, commands, final)))

    def send(self, octets: bytes, kind: str = syncml.MIME) -> tuple[Command, ...]:
        self.last = octets
        path = f"dm/{self.bond.id}"
        request = DeviceRequest("POST", path, {"content-type": kind}, octets, self.certificate)
        self.reply = self.house.say(request)
        self.heard = None
        if self.reply.status != 200:
            return ()
        self.heard = syncml.parse(self.reply.body)
        return self.heard.commands

    def begin(self, *more: Command, session: str | None = None) -> tuple[Command, ...]:
        """Package 1, proven."""
        self.session, self.message = session or self.session, 0
        answer = self.say(*PACKAGE_1, *more, proof=self.nonce if self.certificate is None else None)
        self.keep_nonce()
        return answer

    def keep_nonce(self) -> None:
        head = next(one for one in self.heard.commands if isinstance(one, Status)) if self.heard else None
        if head is not None and head.chal is not None and head.chal.next_nonce:
            self.nonce = base64.b64decode(head.chal.next_nonce)

    def introduce(self, asked: Iterable[Command], **more: tuple[str, str | None]) -> tuple[Command, ...]:
        """Package 3 after the questions that each session begins with."""
        known: Answers = {windows_phone.VERSION: ("200", self.version), **self.facts}
        return self.say(*self.answers(asked, known))

    def answers(self, asked: Iterable[Command], known: Answers) -> list[Command]:
        said: list[Command] = [Status("1", self.said, "0", "SyncHdr", "200")]
        for command in asked:
            if not isinstance(command, Operation):
                continue
            code, data = known.get(command.items[0].target or "", ("404", None))
            said.append(Status(str(len(said) + 1), self.said, command.cmd_id, command.verb, code))
            if data is not None:
                item = Item(source=command.items[0].target, data=data)
                said.append(Results(str(len(said) + 1), command.cmd_id, (item,), msg_ref=self.said))
        return said

    @property
    def said(self) -> str:
        """The MsgID of the server's last message."""
        assert self.heard is not None
        return self.heard.header.msg_id

    def call(self, session: str | None = None) -> tuple[Command, ...]:
        """A session up to the first order."""
        return self.introduce(self.begin(session=session))


class Desk(House):
    def say(self, request: DeviceRequest) -> DeviceReply:
        from platforms.base import Refusal
        from platforms.errors import Unreadable

        try:
            return self._talk(self.handler.identify(request, self.now))
        except Unreadable:
            return self.handler.refuse(Refusal.UNREADABLE)


def bound(
    name: str, keys: Path, *, version: str | None = None, state: EnrollmentState = EnrollmentState.ENROLLED
) -> Phone:
    house = Desk(registry.load(environ(keys))[name])  # type: ignore[index]
    house.invite()
    bond = house.bonds[0]
    bond.opened, bond.certificate_hash = True, b"handed out"
    bond.state = state
    bond.address = DEV_ID if state is EnrollmentState.ENROLLED else None
    bond.memory = dm_session.new_memory(
        device=(str(bond.id), SECRET, NONCE), server=("Latchkey", "ours", b"our nonce")
    ).write()
    return Phone(house, bond, VERSIONS[name] if version is None else version)


def orders(commands: Iterable[Command]) -> list[Command]:
    return [one for one in commands if isinstance(one, Operation | Group)]


def codes(commands: Iterable[Command]) -> list[tuple[str, str]]:
    return [(one.cmd_ref, one.code) for one in commands if isinstance(one, Status)]


def told(
    phone: Phone, order: Group, code: str, pin: str | None, *, error: str | None = None, get: str = "200"
) -> list[Command]:
    """What a phone answers to a reset; `pin` None: no Results at all."""
    execute, read = order.commands
    said: list[Command] = [
        Status("1", phone.said, "0", "SyncHdr", "200"),
        Status("2", phone.said, order.cmd_id, "Sequence", "200"),
        Status("3", phone.said, execute.cmd_id or "", "Exec", code, original_error=error),
        Status("4", phone.said, read.cmd_id or "", "Get", get),
    ]
    if pin is not None:
        item = Item(source=windows_phone.NEW_PIN, data=pin)
        said.append(Results("5", read.cmd_id or "", (item,), msg_ref=phone.said))
    return said


def sequence(commands: Iterable[Command]) -> Group:
    (order,) = orders(commands)
    assert isinstance(order, Group)
    return order


def ended(job: Job) -> tuple[JobState | None, str | None]:
    assert len(job.outcomes) == 1
    return job.outcomes[0].state, job.outcomes[0].reason


__all__ = [
    "DEV_ID",
    "NONCE",
    "PACKAGE_1",
    "SECRET",
    "UUID",
    "Act",
    "Secret",
    "bound",
    "codes",
    "ended",
    "orders",
    "sequence",
    "told",
]
