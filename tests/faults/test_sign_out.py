"""Workers killed while they tell apps: each app that somebody used hears of it, and none hears of anybody else.

The apps are real servers, in the test's process: they keep what they were told, whoever is alive.
"""

import asyncio
import random
import secrets
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt
import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer

from models import account, app, sign_out
from models.app import App
from models.database import Transaction
from models.delivery import Person as Whose
from models.event import Actor
from models.job import job, job_move
from models.notification import notification
from models.sign_out import CallState
from models.vocabulary import JobState, Queue, Task, new_id
from tests.faults.conftest import Build
from tests.faults.installation import Installation, flaws
from tests.people import Person, hire

MARKS = ("sign_out.begun.before_commit", "sign_out.told", "sign_out.noted.before_commit")
NETWORKS = {"APP_NETWORKS": "127.0.0.0/8"}


@dataclass
class Party:
    """An app that answers now and then that it has no time."""

    client_id: str
    by_name: bool
    chance: random.Random
    troubled: float
    uri: str = ""
    app_id: UUID | None = None
    heard: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append(str((await request.post())["logout_token"]))
        return web.Response(status=503 if self.chance.random() < self.troubled else 200)


@asynccontextmanager
async def parties(seed: int, troubled: float = 0.0) -> AsyncIterator[list[Party]]:
    chance = random.Random(seed)
    found = [Party("timesheet", False, chance, troubled), Party("wiki", True, chance, troubled)]
    served = web.Application()
    for party in found:
        served.router.add_post(f"/{party.client_id}", party.answer)
    async with TestServer(served) as server:
        for party in found:
            party.uri = str(server.make_url(f"/{party.client_id}"))
        yield found


@dataclass
class Town:
    house: Installation
    parties: Sequence[Party]
    expected: dict[str, set[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(set))
    """By app, whom it is to hear of: the account, and the sign-in where it asked for those by name."""
    asked: dict[UUID, UUID] = field(default_factory=dict)
    """Job and account."""

    async def register(self) -> None:
        async def work(tx: Transaction) -> None:
            for party in self.parties:
                now = await tx.now()
                party.app_id = new_id(now)
                await app.add(
                    tx,
                    App(
                        id=party.app_id,
                        organization_id=self.house.organization_id,
                        name=party.client_id,
                        client_id=party.client_id,
                        backchannel_logout_uri=party.uri,
                        session_required=party.by_name,
                        version=1,
                        created_at=now,
                    ),
                )

        await self.house.insist(work, write=True)

    async def people(self, count: int) -> list[Person]:
        house = self.house
        return [await hire(house.db, house.organization_id, secrets.token_hex(8), house.clock()) for _ in range(count)]

    async def use(self, person: Person) -> None:
        """Two sign-ins, in both of them each app."""

        async def work(tx: Transaction) -> None:
            held = await account.lock(tx, person.id)
            now = await tx.now()
            for session_id in (new_id(now), new_id(now)):
                for party in self.parties:
                    assert party.app_id is not None
                    sid, _ = await app.use(
                        tx,
                        organization_id=person.organization_id,
                        account_id=person.id,
                        app_id=party.app_id,
                        session_id=session_id,
                        generation=held.session_generation,
                        now=now,
                    )
                    about = (str(person.id), str(sid) if party.by_name else None)
                    self.expected[party.client_id].add(about)

        await self.house.insist(work, write=True)

    async def sign_out(self, person: Person) -> None:
        async def work(tx: Transaction) -> UUID:
            await account.lock(tx, person.id)
            ended = await sign_out.everywhere(
                tx,
                Whose(person.id, person.organization_id),
                keys=self.house.keys,
                actor=Actor("account", person.id),
                by="person",
                notice=sign_out.NOTICE,
                params={},
                facts={},
                now=await tx.now(),
            )
            return ended.job.id

        job_id = await self.house.insist(work, write=True)
        self.asked[job_id] = person.id
        await self.house.door.ring([(job_id, Queue.SYSTEM)])
        await self.house.until_ended(job_id)

    async def everybody_goes(self, count: int) -> None:
        people = await self.people(count)
        for person in people:
            await self.use(person)
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(self.sign_out(person))

    async def inspect(self) -> dict[str, int]:
        """What the rows say and what the apps heard must fit."""
        keys = [jwt.PyJWK(key) for key in (await self.house.client.get("/.well-known/jwks.json")).json()["keys"]]
        by_kid = {key.key_id: key for key in keys}
        doubled = 0
        for party in self.parties:
            heard: Counter[tuple[str, str | None]] = Counter()
            for token in party.heard:
                claims = jwt.decode(
                    token,
                    by_kid[jwt.get_unverified_header(token)["kid"]],
                    algorithms=["ES256"],
                    audience=party.client_id,
                    options={"verify_exp": False, "verify_iat": False},
                )
                heard[claims["sub"], claims.get("sid")] += 1
            assert heard.keys() == self.expected[party.client_id], "told of all that ended, and of nothing else"
            doubled += sum(times - 1 for times in heard.values())
        rows, moves, calls, told = await self.house.insist(self._rows)
        assert {row.id: row.account_id for row in rows} == self.asked
        wrong = [f"{row.id}: {flaw}" for row in rows for flaw in flaws(row, moves[row.id])]
        wrong += [f"{row.id}: {told[row.id]} lines under the flag" for row in rows if told[row.id] != 1]
        assert wrong == []
        assert {row.state for row in rows} == {JobState.SUCCEEDED}
        assert {call.state for call in calls} == {CallState.TOLD}
        assert len(calls) == sum(len(one) for one in self.expected.values())
        await self.house.until_sealed()
        return {"jobs": len(rows), "calls": len(calls), "doubled": doubled}

    async def _rows(self, tx: Transaction) -> tuple[Any, Any, Any, Any]:
        moves: dict[UUID, list[Any]] = defaultdict(list)
        for move in await tx.execute(sa.select(job_move).order_by(job_move.c.job_id, job_move.c.seq)):
            moves[move.job_id].append(move)
        jobs = (await tx.execute(sa.select(job).where(job.c.kind == Task.SIGN_OUT.value))).all()
        told = Counter((await tx.execute(sa.select(notification.c.job_id))).scalars())
        return jobs, moves, (await tx.execute(sa.select(sign_out.sign_out_call))).all(), told


async def test_death_at_each_marked_step_of_telling_apps_does_no_harm(build: Build, seed: int) -> None:
    async with parties(seed) as apps, build(worker=MARKS, more=NETWORKS) as house:
        town, worker = Town(house, apps), house.processes["worker"]
        await town.register()

        await town.everybody_goes(3)
        figures = await town.inspect()

        assert worker.died_at == list(MARKS)
        assert worker.odd_ends == []
        assert figures["doubled"] >= 1, "who died after telling tells again"


@pytest.mark.prove
async def test_hundreds_of_people_go_while_everything_dies(
    build: Build, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with parties(seed, troubled=0.1) as apps, build(more=NETWORKS) as house:
        town = Town(house, apps)
        await town.register()
        hurting = asyncio.create_task(hurt(house))

        for _ in range(10):
            await town.everybody_goes(20)
        hurting.cancel()
        await asyncio.gather(hurting, return_exceptions=True)
        figures = await town.inspect()

        assert house.processes["worker"].kills >= 5
        with capsys.disabled():
            print(f"\n{figures}, {dict(house.hurt)}, {house.jumps} jumps of the clock")  # noqa: T201 - asked for


async def hurt(house: Installation) -> None:
    """Whoever is killed faster than it starts gets nothing done, which proves nothing."""
    at_last_kill = -1
    while True:
        await asyncio.sleep(house.chance.uniform(0.5, 1.5))
        match house.chance.choice(["worker"] * 6 + ["tick", "redis"]):
            case "redis":
                await house.empty_redis()
            case name if house.endings != at_last_kill:
                house.kill(name)
                at_last_kill = house.endings
