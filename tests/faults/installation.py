"""A whole installation that a test may hurt: our real processes on a real Redis and database, with people and phones.

The phones and their push service live in the test's process and speak with the others over the wire alone. Whoever of
ours dies is started anew at once, as any supervisor does. Time is played where nothing happens any more: then the
clock of all processes is put forward to the next moment that a row waits for.
"""

import asyncio
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import httpx
import sqlalchemy as sa

from launch.process import spawn
from models import event, re_sign_in, session
from models.base import Moment
from models.clock import OffsetClock
from models.database import Database, DatabaseDown, Transaction
from models.duty import duty
from models.job import ENDINGS, MOVES, OPEN, Job, job, job_move
from models.notification import notification
from models.passcode import Passcode, passcode
from models.re_sign_in import ReSignInState
from models.sealed import Keyring
from models.session import SessionState, hash_token
from models.settings import RE_SIGN_IN_WINDOW, SESSION_ABSOLUTE, SESSION_IDLE
from models.vocabulary import Act, JobState, Queue, Secret
from platforms import simulation
from tests.people import Person, hire
from tests.servers import PostgreSQLServer, RedisServer
from workers.queue import QueueDoor, QueueDown

ROOT: Final = Path(__file__).parents[2]
AGAIN: Final = 0.05
"""Seconds until somebody who was not heard says it again."""
STILL: Final = 0.4
"""Seconds without any ending after which time is put forward."""
PATIENCE: Final = 60.0
MOVING_IN: Final = 4
"""So many enrol at a time: keys take a processor each."""

T = TypeVar("T")


async def until(true: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not await true():  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(AGAIN)


class Life:
    """One process of ours through all its lives: `faults` names, life by life, the step at which it kills itself."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path, faults: Sequence[str] = ()) -> None:
        self.module = module
        self.faults = list(faults)
        self.died_at: list[str] = []
        self.kills = 0
        self.starts = 0
        self.odd_ends: list[int] = []
        self._environment = environment
        self._log = log
        self._step: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._step = self.faults.pop(0) if self.faults else None
        fault = {} if self._step is None else {"FAULT_AT": self._step}
        with self._log.open("ab") as log:
            self._process = spawn(
                [sys.executable, "-m", self.module],
                environment={**self._environment, **fault},
                directory=ROOT,
                output=log.fileno(),
            )
        self.starts += 1

    def look(self) -> None:
        """Start it anew if it has ended."""
        if self._process is None or (code := self._process.poll()) is None:
            return
        if code != -signal.SIGKILL:
            self.odd_ends.append(code)
        elif self._step is not None:
            self.died_at.append(self._step)
        self.start()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self.kills += 1
            self._step = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-3_000:] if self._log.exists() else ""


REMOVES: Final = frozenset({"ios"})
"""Where a reset leaves no passcode."""
MAKES_ITS_OWN: Final = frozenset({"windows10mobile", "wp81"})
"""Where the device makes the code and tells it once: an answer that was lost costs a second one."""
MOST_EFFECTS: Final = 3


@dataclass
class Resident:
    person: Person
    platform: str
    phone: simulation.Device
    device_id: UUID
    asked: list[UUID] = field(default_factory=list)

    def effects_fit(self, row: Any) -> bool:
        """Once where it succeeded, never where it did not, as far as the device's protocol lets us know."""
        name = row.command_ref if row.receipt is None else row.receipt
        done = self.phone.effects[name] if name else 0
        if self.platform in MAKES_ITS_OWN:
            return 1 <= done <= MOST_EFFECTS if row.state == JobState.SUCCEEDED else done <= MOST_EFFECTS
        return bool(done == (row.state == JobState.SUCCEEDED))


@dataclass
class Installation:
    db: Database
    url: str
    clock: OffsetClock
    redis: RedisServer
    postgresql: PostgreSQLServer | None
    services: Mapping[str, Any]
    """What wakes the phones of each platform."""
    door: QueueDoor
    client: httpx.AsyncClient
    organization_id: UUID
    audit_key: Secret
    keys: Keyring
    processes: Mapping[str, Life]
    chance: random.Random
    residents: list[Resident] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    hurt: Counter[str] = field(default_factory=Counter)
    """What was done to it, by kind."""
    jumps: int = 0
    leapt: bool = False
    """Time went on so far that a phone amid a session was rightly refused the rest of it."""
    endings: int = 0
    """How many jobs somebody waited for have ended."""
    _talking: int = 0
    _last_talk: float = 0.0
    _pending: dict[UUID, asyncio.Event] = field(default_factory=dict)

    # Keeping it alive

    async def keep(self) -> None:
        """The supervisor."""
        while True:
            for process in self.processes.values():
                process.look()
            await asyncio.sleep(0.02)

    async def insist(self, work: Callable[[Transaction], Awaitable[T]], *, write: bool = False) -> T:
        """Until the database is there."""
        while True:
            try:
                async with self.db.write() if write else self.db.read() as tx:
                    return await work(tx)
            except DatabaseDown:
                await asyncio.sleep(AGAIN)

    async def watch(self) -> None:
        """Tell who waits for a job that it ended; put time forward when nothing ends any more."""
        last, asked, still = time.monotonic(), 0, STILL
        while True:
            awaited = list(self._pending)  # first: one that is asked for meanwhile is not among those read
            still_open = await self.insist(self._open)
            ended = [job_id for job_id in awaited if job_id not in still_open]
            for job_id in ended:
                self._pending.pop(job_id).set()
                self.endings += 1
            now = time.monotonic()
            if ended or len(self._pending) != asked:
                last, asked, still = now, len(self._pending), STILL
            elif self._pending and now - last > still:
                await self.put_forward()
                # Longer each time: a phone that was not heard tries again in real seconds.
                last, still = now, min(still * 1.5, 5.0)
            await asyncio.sleep(AGAIN)

    async def _open(self, tx: Transaction) -> set[UUID]:
        statement = sa.select(job.c.id).where(job.c.state.in_([state.value for state in OPEN]))
        return set((await tx.execute(statement)).scalars())

    async def put_forward(self) -> None:
        """To the next moment for which a job, or a tick that came after one that died, waits."""

        async def next_moment(tx: Transaction) -> datetime | None:
            due = sa.select(sa.func.min(job.c.due_at, type_=Moment)).where(job.c.due_at > await tx.now())
            lease = sa.select(sa.func.min(duty.c.until, type_=Moment)).where(duty.c.until > await tx.now())
            found = [(await tx.execute(statement)).scalar_one() for statement in (due, lease)]
            return min((moment for moment in found if moment is not None), default=None)

        moment = await self.insist(next_moment)
        if moment is not None:
            self.jump(moment - self.clock() + timedelta(milliseconds=1))

    def jump(self, by: timedelta) -> None:
        if by <= timedelta(0):
            return
        text = self.clock.file.read_text(encoding="ascii") if self.clock.file.exists() else "0"
        draft = self.clock.file.with_suffix(".new")  # renamed, so that nobody reads half a number
        draft.write_text(f"{float(text) + by.total_seconds():.6f}", encoding="ascii")
        draft.replace(self.clock.file)
        self.jumps += 1
        self.leapt = self.leapt or by > SESSION_IDLE

    # People and phones

    async def transport(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._talking += 1
        try:
            answer = await self.client.request(method, url, headers=dict(headers), content=body)
        except httpx.TransportError as error:
            raise OSError(str(error)) from error
        finally:
            self._talking -= 1
            self._last_talk = time.monotonic()
        self._note(answer)
        return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content

    async def quiet(self) -> None:
        """Until no phone talks: one that is put a day forward amid a session is rightly refused the rest of it."""

        async def nobody_talks() -> bool:
            return not self._talking and time.monotonic() - self._last_talk > STILL

        await until(nobody_talks)

    def _note(self, answer: httpx.Response) -> None:
        if answer.status_code >= 500 and answer.status_code != 503:
            self.complaints.append(f"{answer.request.url.path}: {answer.status_code} {answer.text[:200]}")

    async def settle_in(self, count: int, platform: str) -> None:
        """People with a phone each, enrolled by its owner as every device is."""

        async def healthy() -> bool:
            with suppress(httpx.TransportError):
                return (await self.client.get("/healthz")).status_code == 200
            return False

        await until(healthy)
        few = asyncio.Semaphore(MOVING_IN)
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._move_in(platform, f"{platform}{number}", few))

    async def _move_in(self, platform: str, name: str, few: asyncio.Semaphore) -> None:
        async with few:
            person = await hire(self.db, self.organization_id, name, self.clock())
            token = await self._signed_in(person)
            answer = await self.client.post(
                "/api/v1/enrollments",
                json={"platform": platform, "name": name},
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.status_code == 201, answer.text
            phone = simulation.simulator(platform).new_device(self.transport)
            phone.service, phone.patience = self.services[platform], AGAIN
            await phone.open_link(answer.json()["url"])
            await phone.check_in()
            self.residents.append(Resident(person, platform, phone, UUID(answer.json()["device_id"])))

    async def _signed_in(self, person: Person, device_id: UUID | None = None) -> str:
        """A session, as rows; with a device, one that has just proven itself for a reset of it."""
        token = secrets.token_urlsafe(32)

        async def work(tx: Transaction) -> None:
            now = await tx.now()
            whose: dict[str, Any] = {"organization_id": person.organization_id, "account_id": person.id}
            held = await session.open_session(
                tx,
                **whose,
                token_hash=hash_token(token),
                generation=0,
                state=SessionState.SIGNED_IN,
                strength=1,
                methods=("password",),
                lifetime=SESSION_ABSOLUTE,
                now=now,
                re_sign_in_id=None,
                address=None,
                client=None,
            )
            if device_id is not None:
                window = await re_sign_in.open_window(
                    tx,
                    **whose,
                    device_id=device_id,
                    act=Act.RESET_PASSCODE,
                    token_hash=hash_token(secrets.token_urlsafe(32)),
                    now=now,
                )
                assert await re_sign_in.prove(tx, window, held.id, now)

        await self.insist(work, write=True)
        return token

    async def ask(self, resident: Resident) -> UUID:
        """Confirm a reset, with one key until an answer is had."""
        if resident.platform in REMOVES:
            resident.phone.passcode = f"{self.chance.randrange(1_000_000):06}"
        key, since = str(uuid4()), self.clock()
        token = await self._signed_in(resident.person, resident.device_id)
        while True:
            try:
                answer = await self.client.post(
                    f"/api/v1/devices/{resident.device_id}/reset-passcode",
                    headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
                )
            except httpx.TransportError:
                await asyncio.sleep(AGAIN)
                continue
            self._note(answer)
            if answer.status_code == 202:
                job_id = UUID(answer.headers["Location"].rpartition("/")[2])
                resident.asked.append(job_id)
                return job_id
            if answer.status_code < 500:
                # Right only where time was put forward so far between the proof and the confirmation.
                limit = {"re_sign_in_lapsed": RE_SIGN_IN_WINDOW, "sign_in_required": SESSION_IDLE}
                assert self.clock() - since > limit[answer.json()["code"]], answer.text
                since, token = self.clock(), await self._signed_in(resident.person, resident.device_id)
            await asyncio.sleep(AGAIN)

    async def reset(self, resident: Resident) -> None:
        await self.until_ended(await self.ask(resident))

    async def until_ended(self, job_id: UUID) -> None:
        self._pending[job_id] = ended = asyncio.Event()
        await ended.wait()

    # Hurting it

    def kill(self, name: str) -> None:
        self.processes[name].kill()
        self.hurt[f"{name} killed"] += 1

    async def empty_redis(self) -> None:
        await asyncio.to_thread(self.redis.client.flushall)
        self.hurt["redis emptied"] += 1

    async def restart_redis(self) -> None:
        await asyncio.to_thread(self.redis.kill)
        await asyncio.to_thread(self.redis.start)
        self.hurt["redis restarted"] += 1

    async def ring_twice(self) -> None:
        """Whatever is on its way, and some that have ended, twice more."""
        known = [job_id for resident in self.residents for job_id in resident.asked[-2:]]
        with suppress(QueueDown):
            await self.door.ring([(job_id, Queue.INTERACTIVE) for job_id in known] * 2)
            self.hurt["messages doubled"] += 2 * len(known)

    async def database_away(self, seconds: float) -> None:
        if self.postgresql is not None:
            await asyncio.to_thread(self.postgresql.stop)
            await asyncio.sleep(seconds)  # the outage itself
            self.postgresql.start()  # here: it is tied to the life of the thread that starts it
        else:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)) as file:
                await until(lambda: _locked(file))
                await asyncio.sleep(seconds)  # the outage itself
        self.hurt["database away"] += 1

    # Looking at what became of it

    async def inspect(self) -> None:
        """Every job ended once, was done once, was told once; nothing is left over; the record is whole."""
        for service in self.services.values():
            await service.idle()
        await self.until_sealed()
        rows = await self.insist(self._all)
        wrong = list(self.complaints)
        asked = {job_id for resident in self.residents for job_id in resident.asked}
        if asked != rows.jobs.keys():
            wrong.append(f"{len(asked)} were asked, {len(rows.jobs)} jobs are there")
        windows = Counter(row.job_id for row in rows.windows if row.state == ReSignInState.USED)
        if windows != Counter(dict.fromkeys(rows.jobs, 1)):
            wrong.append("the used windows are not one of each job")
        told = Counter(row.job_id for row in rows.notifications if row.job_id is not None)
        for resident in self.residents:
            refused = "status 400" if self.leapt else None
            wrong += [f"phone: {complaint}" for complaint in resident.phone.complaints if complaint != refused]
            of_jobs = {
                name
                for job_id in resident.asked
                if (row := rows.jobs.get(job_id)) is not None
                for name in (row.command_ref, row.receipt)
            }
            strange = resident.phone.effects.keys() - of_jobs
            if strange:
                wrong.append(f"{len(strange)} commands of no job were run")
            wrong += self._code_flaws(resident, rows)
            for job_id in resident.asked:
                if (row := rows.jobs.get(job_id)) is None:
                    continue
                if row.state not in ENDINGS or not resident.effects_fit(row) or told[job_id] != 1:
                    wrong.append(
                        f"{resident.platform} {job_id}: {row.state} ({row.reason}), {dict(resident.phone.effects)},"
                        f" {told[job_id]} notifications, {row.crashes} crashes"
                    )
                wrong += [f"{job_id}: {flaw}" for flaw in flaws(row, rows.moves.get(job_id, []))]
        assert wrong == [], "\n".join(wrong[:20])

    async def until_sealed(self) -> None:
        """The record is whole."""
        if self.jumps:
            # A tick looks back as far as a transaction can last; one that begins anew looks at everything, also at
            # what was written across a jump of the clock.
            self.processes["tick"].kill()

        async def sealed() -> bool:
            verdict = await self.insist(lambda tx: event.verify(tx, self.audit_key, self.organization_id, self.clock()))
            assert verdict.first_bad_seq is None
            if verdict.unsealed:
                await self.put_forward()
            return verdict.unsealed == 0

        await until(sealed)

    def _code_flaws(self, resident: Resident, rows: "Rows") -> list[str]:
        """Each reset's code replaced the one before; the newest opens the phone. None where a reset makes none."""
        codes = [Passcode.of(row) for row in rows.passcodes if row.device_id == resident.device_id]
        succeeded = [one for one in resident.asked if one in rows.jobs and rows.jobs[one].state == JobState.SUCCEEDED]
        if resident.platform in REMOVES:
            flaws = ["a sealed code on a platform that has none"] if codes else []
            still = resident.asked and resident.phone.online and resident.phone.passcode is not None
            return [*flaws, "a phone still has its passcode"] if still else flaws
        if [code.job_id for code in codes] != succeeded:
            return [f"{len(codes)} codes after {len(succeeded)} resets of one {resident.platform} phone"]
        if any(code.sealed is not None for code in codes[:-1]):
            return ["a code that was replaced can still be read"]
        if codes and codes[-1].sealed is not None and codes[-1].open(self.keys).text() != resident.phone.passcode:
            return [f"the code that is told does not open the {resident.platform} phone"]
        return []

    async def _all(self, tx: Transaction) -> "Rows":
        moves: dict[UUID, list[Any]] = {}
        for move in await tx.execute(sa.select(job_move).order_by(job_move.c.job_id, job_move.c.seq)):
            moves.setdefault(move.job_id, []).append(move)
        return Rows(
            {row.id: row for row in await tx.execute(sa.select(job))},
            moves,
            (await tx.execute(sa.select(notification))).all(),
            (await tx.execute(sa.select(re_sign_in.re_sign_in))).all(),
            (await tx.execute(sa.select(passcode).order_by(passcode.c.id))).all(),
        )

    async def states(self) -> Counter[str]:
        async def work(tx: Transaction) -> Counter[str]:
            return Counter((await tx.execute(sa.select(job.c.state))).scalars())

        return await self.insist(work)

    async def only(self, job_id: UUID) -> Job:
        async def work(tx: Transaction) -> Job:
            return Job.of((await tx.execute(sa.select(job).where(job.c.id == job_id))).one())

        return await self.insist(work)

    def tale(self) -> str:
        """For whoever must find out what went wrong."""
        words = [f"{process.module}:\n{process.last_words()}" for process in self.processes.values()]
        return "\n".join([f"hurt: {dict(self.hurt)}", *words])


@dataclass(frozen=True)
class Rows:
    jobs: Mapping[UUID, Any]
    moves: Mapping[UUID, Sequence[Any]]
    notifications: Sequence[Any]
    windows: Sequence[Any]
    passcodes: Sequence[Any]


def flaws(row: Any, moves: Sequence[Any]) -> list[str]:
    """What a timeline may not have."""
    found = []
    if [move.seq for move in moves] != list(range(1, row.moves + 1)):
        found.append("the timeline has gaps")
    at = None
    for move in moves:
        if move.from_state != at or (at is not None and JobState(move.to_state) not in MOVES[JobState(at)]):
            found.append(f"moved from {move.from_state} to {move.to_state}, and was {at}")
        at = move.to_state
    if at != row.state:
        found.append(f"the timeline ends as {at}")
    if row.plan is not None or row.lease_until is not None or row.due_at is not None or row.ended_at is None:
        found.append("an ended job still holds something")
    return found


async def _locked(file: sqlite3.Connection) -> bool:
    try:
        file.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True
