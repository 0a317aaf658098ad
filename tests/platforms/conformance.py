"""What every platform is held to, and a small house in memory that does what the real one does at a check-in."""

import base64
import json
import string
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from models.vocabulary import Act, JobState, Order, Outcome, Ownership, Secret, new_id
from platforms import registry, simulation
from platforms.base import (
    Caller,
    Channel,
    CheckIn,
    Command,
    DeviceReply,
    DeviceRequest,
    Enrollment,
    EnrollmentState,
    Facts,
    KeySource,
    PlatformHandler,
    Receipt,
    Refusal,
    Report,
    Shared,
)
from platforms.errors import KeysNeeded, Refused, Unreadable

ROOT = Path(simulation.__file__).parent
NAMES = simulation.simulated()
# Certificates are looked at by real TLS, which asks the real clock.
NOW = datetime.now(UTC)


class Unlimited:
    """A quota that is never used up."""

    async def take(self, name: str, limit: int, window: timedelta) -> timedelta | None:
        return None


SHARED = Shared(Unlimited(), lambda: NOW)


def environ(keys: Path, port: int = 9) -> dict[str, str]:
    """What embedded mode tells every platform."""
    files = simulation.make_demo_keys(keys)
    told = {name.removesuffix("_FILE"): path.read_text() for name, path in files.items()}
    pushes = {f"{name.upper()}_PUSH_URL": f"https://127.0.0.1:{port}" for name in NAMES}
    kinds = {f"{name.upper()}_KEY": "ec" for name in NAMES}
    return {"MODE": "embedded", "PUBLIC_URL": "http://127.0.0.1:8080", **kinds, **pushes, **told}


@dataclass
class Bond:
    id: UUID
    ownership: Ownership
    link: str
    opened: bool = False
    state: EnrollmentState = EnrollmentState.INVITED
    address: str | None = None
    memory: Secret | None = None
    certificate_hash: bytes | None = None
    traits: Mapping[str, str] = field(default_factory=dict)
    os_version: str | None = None
    os_name: str | None = None
    maker: str | None = None
    model: str | None = None

    @property
    def view(self) -> Enrollment:
        return Enrollment(self.id, self.state, self.address, self.memory)

    @property
    def facts(self) -> Facts:
        return Facts(self.ownership, self.os_version, self.state, self.traits)


@dataclass
class Job:
    command: Command
    bond: Bond
    outcomes: list[Outcome] = field(default_factory=list)
    """Every final word; one more than one is a mistake of the house."""

    @property
    def name(self) -> str:
        """Of its command, for whoever runs it: a courier's own, where one took it."""
        return self.command.receipt or self.command.ref

    @property
    def state(self) -> JobState:
        return self.outcomes[0].state or JobState.WAITING if self.outcomes else self.command.state


class House:
    """One handler's house: bonds and jobs in lists, each request from first byte to last in one go."""

    def __init__(self, handler: PlatformHandler, now: datetime = NOW) -> None:
        self.handler = handler
        self.now = now
        self.bonds: list[Bond] = []
        self.jobs: list[Job] = []
        self.requests: list[DeviceRequest] = []
        self.seen: list[object] = []
        """Every value that went by, for whoever looks for secrets."""
        self.channel: Channel | None = None
        """Asked for keys, where it knows any."""
        self._signers: Mapping[str, bytes] = {}
        self._heard: set[str] = set()

    def invite(self, ownership: Ownership = Ownership.CORPORATE) -> str:
        bond = Bond(new_id(self.now), ownership, uuid4().hex)
        self.bonds.append(bond)
        return f"http://127.0.0.1:8080/devices/{self.handler.name}/enroll/{bond.link}"

    def ask(self, bond: Bond, act: Act = Act.RESET_PASSCODE) -> Job:
        """Raises Refused."""
        order = Order(new_id(self.now), act, bond.id)
        plan = self.handler.plan(order, bond.view)
        job = Job(Command(order.job_id, act, plan.ref, JobState.WAITING, plan.value), bond)
        self.jobs.append(job)
        self.seen += [order, plan, job.command]
        return job

    async def wake(self, channel: Channel, job: Job) -> Receipt | None:
        receipt = await channel.wake(job.command, job.bond.view)
        if receipt is not None:
            state, offers = JobState.DELIVERED, job.command.offers + 1
            job.command = replace(job.command, state=state, offers=offers, sent_at=self.now, receipt=receipt.reference)
        self.seen += [receipt, job.command]
        return receipt

    async def talk(self, request: DeviceRequest) -> DeviceReply:
        request = replace(request, signers=self._signers)
        try:
            try:
                caller = self.handler.identify(request, self.now)
            except KeysNeeded:
                if isinstance(self.channel, KeySource):
                    self._signers = (await self.channel.keys()).signers
                request = replace(request, signers=self._signers)
                caller = self.handler.identify(request, self.now)
            self.seen.append(caller)
            reply = self._talk(caller)
        except (Unreadable, KeysNeeded) as unreadable:
            self.seen.append(unreadable)
            reply = self.handler.refuse(Refusal.UNREADABLE)
        self.requests.append(request)
        self.seen += [request, reply]
        return reply

    def _talk(self, caller: Caller) -> DeviceReply:
        if caller.reply is not None:
            return caller.reply
        if caller.link is not None:
            return self._welcome(caller.link.text())
        bond = self._find(caller)
        if bond is None or not bond.opened:
            return self.handler.refuse(Refusal.NOT_BOUND)
        if caller.message_id in self._heard:
            return self.handler.refuse(Refusal.SEEN)
        return self._converse(caller, bond)

    def _converse(self, caller: Caller, bond: Bond) -> DeviceReply:
        check_in = self.handler.read(caller, bond.view, self.now)
        self.seen.append(check_in)
        if not check_in.proven:
            bond.memory = check_in.memory or bond.memory
            return self._written(bond, check_in, None)
        if bond.state is EnrollmentState.LEFT or bond.address not in {None, caller.address}:
            return self.handler.refuse(Refusal.NOT_BOUND)
        if any(report.may_outrun and self._answered(bond, report) is None for report in check_in.reports):
            return self.handler.refuse(Refusal.TRY_LATER)
        if caller.message_id is not None:
            self._heard.add(caller.message_id)
        self._apply(bond, check_in)
        for report in check_in.reports:
            self._settle(bond, report)
        return self._answer(bond, check_in)

    def _find(self, caller: Caller) -> Bond | None:
        if caller.certificate_hash is not None:
            found = [bond for bond in self.bonds if bond.certificate_hash == caller.certificate_hash]
        elif caller.enrollment_id is not None:
            found = [bond for bond in self.bonds if bond.id == caller.enrollment_id and bond.opened]
        else:
            found = [bond for bond in self.bonds if bond.address == caller.address]
        return next(iter(found), None)

    def _welcome(self, link: str) -> DeviceReply:
        bond = next((bond for bond in self.bonds if bond.link == link and not bond.opened), None)
        if bond is None:
            return self.handler.refuse(Refusal.LINK_GONE)
        welcome = self.handler.welcome(bond.id, bond.ownership, self.now)
        self.seen.append(welcome)
        bond.certificate_hash, bond.memory, bond.opened = welcome.certificate_hash, welcome.memory, True
        return welcome.reply

    def _apply(self, bond: Bond, check_in: CheckIn) -> None:
        # Who has not proven itself yet is remembered, and nothing that it says.
        names = (
            ("address", "state", "memory", "traits", "os_version", "os_name", "maker", "model")
            if check_in.proven
            else ("memory",)
        )
        for name in names:
            value = getattr(check_in, name)
            if value is not None:
                setattr(bond, name, value)
        if check_in.anew or check_in.state is EnrollmentState.LEFT:
            for job in self._open(bond):
                job.outcomes.append(_left(job.command))

    def _answered(self, bond: Bond, report: Report) -> Job | None:
        """Open or not."""
        for job in reversed(self.jobs):
            command = job.command
            if job.bond is bond and (
                command.ref == report.ref if report.receipt is None else command.receipt == report.receipt
            ):
                return job
        return None

    def _settle(self, bond: Bond, report: Report) -> None:
        job = self._answered(bond, report)
        if job is None or job.outcomes:
            return
        outcome = self.handler.judge(job.command, report)
        self.seen += [report, outcome]
        if outcome.state is not None:
            job.outcomes.append(outcome)
        elif report.receipt is None:
            job.command = replace(job.command, state=JobState.WAITING)

    def _answer(self, bond: Bond, check_in: CheckIn) -> DeviceReply:
        waiting = sorted(self._open(bond), key=lambda job: job.command.state is not JobState.DELIVERED)
        for job in waiting:
            if not check_in.wants_order or job.command.ref in check_in.withheld:
                continue
            try:
                offered = replace(job.command, offers=job.command.offers + 1)
                reply = self._written(bond, check_in, job.command)
            except Refused as refused:
                job.outcomes.append(Outcome(JobState.FAILED, refused.reason))
                continue
            job.command = replace(offered, state=JobState.DELIVERED)
            return reply
        return self._written(bond, check_in, None)

    def _written(self, bond: Bond, check_in: CheckIn, command: Command | None) -> DeviceReply:
        """Raises Refused."""
        answer = self.handler.write(check_in, command, bond.view)
        self.seen.append(answer)
        bond.memory = answer.memory or bond.memory
        return answer.reply

    def _open(self, bond: Bond) -> list[Job]:
        return [job for job in self.jobs if job.bond is bond and not job.outcomes]


def _left(command: Command) -> Outcome:
    """A removal that was handed over is done when the device leaves; everything else can be done no more."""
    if command.act is Act.REMOVE and command.state is JobState.DELIVERED:
        return Outcome(JobState.SUCCEEDED)
    return Outcome(JobState.FAILED, "device_left")


@dataclass
class Stage:
    """A platform, its house, its simulated push service, and one enrolled device."""

    house: House
    device: simulation.Device
    bond: Bond
    channel: Channel
    service: object


@asynccontextmanager
async def stage(name: str, keys: Path) -> AsyncIterator[Stage]:
    simulator = simulation.simulator(name)
    simulation.make_demo_keys(keys)
    async with simulator.wake_service(keys, 0) as service:
        house = House(registry.load(environ(keys, service.port))[name])  # type: ignore[index] - names are its keys
        # A stand-in that signs, or looks at the time, does it by the house's clock.
        service.clock = SHARED.clock
        async with house.handler.open_channel(SHARED) as channel:
            house.channel = channel
            device = simulator.new_device(simulation.in_process(house.talk))
            device.service = service
            link = house.invite()
            await device.open_link(link)
            await device.check_in()
            yield Stage(house, device, house.bonds[0], channel, service)


def texts(name: str) -> dict[str, dict[str, str]]:
    return {
        language: json.loads((ROOT / name / "texts" / f"{language}.json").read_text(encoding="utf-8"))
        for language in ("en", "nl")
    }


def parameters(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def spellings(secret: bytes) -> set[str]:
    """How a value might show itself in print."""
    plain = {repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()}
    with suppress(UnicodeDecodeError):
        plain.add(secret.decode())
    return plain
