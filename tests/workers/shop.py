"""A workshop without processes: real rows and real rules, a platform and a bell that do what the test says."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from models import job
from models.database import Database
from models.event import event
from models.fault import Fault
from models.job import Job
from models.notification import notification
from models.sealed import Keyring
from models.vocabulary import Act, JobState, Order, Outcome, PasscodeKind, PlatformName, Queue, Secret
from platforms.base import Command, Enrollment, Facts, PasscodeRule, Plan, Receipt, Report
from platforms.errors import Unreachable
from tests import runs
from tests.clock import Clock
from tests.people import Person, found, give_device, hire
from workers.needs import Needs
from workers.queue import Errand, QueueDown
from workers.run_job import run_job
from workers.sweep import Sweep

AUDIT_KEY = Secret(b"a" * 32)
POCKET = PlatformName("pocket")


@dataclass
class Pocket:
    """A platform whose plans are numbered: a second plan for one job would show."""

    name: PlatformName = POCKET
    passcode: PasscodeRule | None = field(
        default_factory=lambda: PasscodeRule(PasscodeKind.TEMPORARY_NUMERIC, "pocket.done", "pocket.reveal")
    )
    offered: dict[Act, str | None] = field(default_factory=lambda: dict.fromkeys(Act))
    orders: list[Order] = field(default_factory=list)
    trouble: Exception | None = None

    def offers(self, facts: Facts) -> Mapping[Act, str | None]:
        return self.offered

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        if self.trouble is not None:
            raise self.trouble
        self.orders.append(order)
        return Plan(f"ref-{len(self.orders)}", Secret(b"plan-%d" % len(self.orders)))

    def judge(self, command: Command, report: Report) -> Outcome:
        assert isinstance(report.answer, Outcome)
        return report.answer


@dataclass
class PocketChannel:
    """Answers as told, then silently well."""

    answers: deque[BaseException | Receipt | None] = field(default_factory=deque)
    woken: list[tuple[Command, Enrollment]] = field(default_factory=list)

    async def wake(self, command: Command, enrollment: Enrollment) -> Receipt | None:
        self.woken.append((command, enrollment))
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass
class PocketCourier(PocketChannel):
    """Takes orders itself; what it says to a look is told beforehand, nothing found otherwise."""

    found: deque[BaseException | Report | None] = field(default_factory=deque)
    looked: list[tuple[Command, frozenset[str]]] = field(default_factory=list)
    withdrawn: list[str | None] = field(default_factory=list)
    away: bool = False

    async def look(self, command: Command, enrollment: Enrollment, others: frozenset[str]) -> Report | None:
        self.looked.append((command, others))
        answer = self.found.popleft() if self.found else None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def withdraw(self, command: Command, enrollment: Enrollment) -> None:
        if self.away:
            raise Unreachable("away")
        self.withdrawn.append(command.receipt)


@dataclass
class Bell:
    """What the door would have carried; `down` as when Redis is away."""

    rung: list[tuple[UUID, Queue]] = field(default_factory=list)
    nudged: list[UUID] = field(default_factory=list)
    life: str = "first"
    down: bool = False
    errands: set[Errand] = field(default_factory=set)

    def nudge(self, account_id: UUID) -> None:
        self.nudged.append(account_id)

    def put(self, job_id: UUID, queue: Queue) -> None:
        self.rung.append((job_id, queue))

    async def ring(self, rings: Iterable[tuple[UUID, Queue]], errand: Errand = Errand.RUN_JOB) -> None:
        if self.down:
            raise QueueDown
        self.rung += rings
        self.errands.add(errand)

    async def epoch(self) -> str:
        if self.down:
            raise QueueDown
        return self.life

    def heard(self) -> list[UUID]:
        """What was rung since the last look."""
        told, self.rung = [job_id for job_id, _ in self.rung], []
        return told


@dataclass
class Shop:
    db: Database
    clock: Clock
    keys: Keyring
    person: Person
    device_id: UUID
    platform: Pocket = field(default_factory=Pocket)
    channel: PocketChannel = field(default_factory=PocketChannel)
    bell: Bell = field(default_factory=Bell)

    def __post_init__(self) -> None:
        self.sweep = self.new_sweep()

    def new_sweep(self, **more: Any) -> Sweep:
        return Sweep(self.db, self.keys, AUDIT_KEY, self.bell, Fault(), **more)  # type: ignore[arg-type] # a bell alone

    @property
    def needs(self) -> Needs:
        return Needs(
            self.db,
            {self.platform.name: self.platform},  # type: ignore[dict-item] # what a run asks of a platform
            {self.platform.name: self.channel},
            self.keys,
            self.bell,  # type: ignore[arg-type] # a bell alone
            Fault(),
        )

    async def ask(self, act: Act = Act.RESET_PASSCODE, device_id: UUID | None = None) -> UUID:
        async with self.db.write() as tx:
            return (await runs.ask(tx, self.person, device_id or self.device_id, act, self.clock.now)).id

    async def run(self, job_id: UUID) -> Job:
        await run_job(self.needs, job_id)
        return await self.see(job_id)

    async def claim(self, job_id: UUID) -> Job:
        """As a run that dies right after."""
        async with self.db.write() as tx:
            held = await runs.claim(tx, job_id)
        assert held is not None
        return held

    async def deliver(self, job_id: UUID) -> Job:
        async with self.db.write() as tx:
            held = await job.by_id(tx, job_id)
            assert held is not None
            assert await job.deliver(tx, held, by="device", now=self.clock.now)
        return await self.see(job_id)

    async def see(self, job_id: UUID) -> Job:
        async with self.db.read() as tx:
            held = await job.by_id(tx, job_id)
        assert held is not None
        return held

    async def row(self, job_id: UUID) -> Any:
        (row,) = await self.rows(sa.select(job.job).where(job.job.c.id == job_id))
        return row

    async def due_at(self, job_id: UUID) -> datetime | None:
        due: datetime | None = (await self.row(job_id)).due_at
        return due

    async def rows(self, statement: sa.Select[Any]) -> list[Any]:
        async with self.db.read() as tx:
            return list((await tx.execute(statement)).all())

    async def change(self, statement: Any) -> None:
        async with self.db.write() as tx:
            await tx.execute(statement)

    async def told(self) -> list[tuple[str, str | None]]:
        """Keys and reasons of what the person was told."""
        lines = await self.rows(sa.select(notification).order_by(notification.c.seq))
        return [(line.key, line.params.get("reason")) for line in lines]

    async def timeline(self, job_id: UUID) -> list[tuple[str, str, str | None]]:
        async with self.db.read() as tx:
            lines = await job.timeline(tx, job_id)
        return [(line.to_state, line.by, line.why) for line in lines]

    async def actions(self) -> list[str]:
        return [row.action for row in await self.rows(sa.select(event).order_by(event.c.id))]

    async def ended(self, job_id: UUID, state: JobState, reason: str, key: str) -> None:
        """It has this ending, and everything that belongs to an ending exactly once."""
        held = await self.see(job_id)
        assert (held.state, held.reason, held.lease_until, held.plan) == (state, reason, None, None)
        assert await self.due_at(job_id) is None
        assert await self.told() == [(key, reason)]
        assert await self.actions() == [f"device:{held.kind}:{state}"]
        assert self.bell.nudged == [self.person.id]


async def furnish(db: Database, clock: Clock, keys: Keyring) -> Shop:
    person = await hire(db, await found(db, clock.now), "anna", clock.now)
    return Shop(db, clock, keys, person, await give_device(db, person, clock.now))
