"""Workers killed while they send: each delivery ends, doubled only where nobody could tell, and so often at most.

The mail server and the gateway are real ones, in the test's process: they keep what they took, whoever is alive.
"""

import asyncio
import base64
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiosmtpd.smtp import SMTP, Envelope, Session

from models import delivery
from models.base import Moment
from models.database import Transaction
from models.delivery import UNSURE, AttemptOutcome, Channel, DeliveryState, Link
from models.duty import duty
from models.vocabulary import Secret
from tests.faults.conftest import Build
from tests.faults.installation import AGAIN, STILL, Installation
from tests.people import Person, hire
from tests.workers.post import MailServer, serving

MARKS = ("delivery.claimed", "delivery.sent")
SEEN = {"network": "192.0.2.0/24", "browser": "Firefox", "at": "2026-03-01T12:00:00+00:00"}


@dataclass
class BadServer(MailServer):
    """Slow, and now and then it hangs up in the middle, or asks to come back later."""

    chance: random.Random = field(default_factory=random.Random)
    troubled: float = 0.0
    slow: float = 0.0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        await asyncio.sleep(self.chance.uniform(0, self.slow))
        trouble = self.chance.random()
        if trouble < self.troubled / 2:
            return "451 later"
        said = await super().handle_DATA(server, session, envelope)
        if trouble < self.troubled:
            server.transport.abort()  # it was taken, and nobody hears so
        return said

    def copies(self) -> Counter[UUID]:
        return Counter(
            UUID(str(self.mail(at)["Message-ID"]).strip("<>").partition("@")[0]) for at in range(len(self.taken))
        )


@dataclass
class Gateway:
    chance: random.Random
    troubled: float = 0.0
    slow: float = 0.0
    url: str = ""
    taken: Counter[UUID] = field(default_factory=Counter)

    async def answer(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.chance.uniform(0, self.slow))
        if self.chance.random() < self.troubled:
            return web.Response(status=503)
        await request.read()
        self.taken[UUID(request.headers["Latchkey-Id"])] += 1
        return web.Response(status=202)


@dataclass
class Post:
    """Both other ends, and the settings that lead to them."""

    mail: BadServer
    sms: Gateway

    @property
    def settings(self) -> dict[str, str]:
        return {
            "MAIL_URL": f"smtp://127.0.0.1:{self.mail.port}",
            "MAIL_FROM": "Latchkey <no-reply@latchkey.example>",
            "SMS_WEBHOOK_URL": self.sms.url,
            "SMS_WEBHOOK_KEY": base64.b64encode(b"k" * 32).decode(),
        }

    def copies(self) -> Counter[UUID]:
        return self.mail.copies() + self.sms.taken


@asynccontextmanager
async def post_office(seed: int, *, troubled: float = 0.0, slow: float = 0.0) -> AsyncIterator[Post]:
    chance = random.Random(seed)
    gateway = Gateway(chance, troubled, slow)
    app = web.Application()
    app.router.add_post("/", gateway.answer)
    async with TestServer(app) as server, serving(BadServer(chance=chance, troubled=troubled, slow=slow)) as mail:
        assert isinstance(mail, BadServer)
        gateway.url = str(server.make_url("/"))
        yield Post(mail, gateway)


async def write(house: Installation, about: Person, mails: int, messages: int) -> None:
    house.db.ring = house.door.put_delivery
    channels = [Channel.MAIL] * mails + [Channel.SMS] * messages
    house.chance.shuffle(channels)
    for channel in channels:
        sms = channel is Channel.SMS

        async def send(tx: Transaction, channel: Channel = channel, sms: bool = sms) -> None:
            await delivery.send(
                tx,
                keys=house.keys,
                organization_id=about.organization_id,
                account_id=about.id,
                channel=channel,
                to="+31612345678" if sms else "anna@example.org",
                key="code.prove" if sms else "sign_in.new_browser",
                params={**SEEN, "minutes": "10"} if sms else SEEN,
                language="en",
                secret=Secret(b"482913"),
                link=None if sms else Link.NOT_ME,
                now=await tx.now(),
            )

        await house.insist(send, write=True)


async def rows(house: Installation) -> Sequence[Any]:
    async def work(tx: Transaction) -> Sequence[Any]:
        return (await tx.execute(sa.select(delivery.delivery))).all()

    return await house.insist(work)


async def until_over(house: Installation, patience: float) -> Sequence[Any]:
    """Time is put forward to the next moment that something waits for, when nothing ends any more."""
    ended, last, still = -1, time.monotonic(), STILL
    async with asyncio.timeout(patience):
        while True:
            found = await rows(house)
            over = sum(row.ended_at is not None for row in found)
            if over == len(found):
                return found
            now = time.monotonic()
            if over != ended:
                house.endings += max(over - ended, 0)
                ended, last, still = over, now, STILL
            elif now - last > still:
                moment = await house.insist(next_moment)
                if moment is not None:
                    house.jump(moment - house.clock() + timedelta(milliseconds=1))
                last, still = now, min(still * 1.5, 5.0)
            await asyncio.sleep(AGAIN)


async def next_moment(tx: Transaction) -> datetime | None:
    found = []
    for column in (delivery.delivery.c.due_at, duty.c.until):
        statement = sa.select(sa.func.min(column, type_=Moment)).where(column > await tx.now())
        found.append((await tx.execute(statement)).scalar_one())
    return min((moment for moment in found if moment is not None), default=None)


async def inspect(house: Installation, post: Post, found: Sequence[Any]) -> dict[str, int]:
    """What the rows say and what the other ends took must fit."""

    async def all_attempts(tx: Transaction) -> dict[UUID, list[Any]]:
        return dict(await delivery.attempts_of(tx, [row.id for row in found]))

    attempts, copies, wrong = await house.insist(all_attempts), post.copies(), []
    doubled = 0
    for row in found:
        nobody_saw = sum(one.outcome in {AttemptOutcome.BEGUN, AttemptOutcome.UNSURE} for one in attempts[row.id])
        sent, taken = row.state == DeliveryState.SENT, copies[row.id]
        doubled += taken > 1
        if not sent and not (row.state == DeliveryState.FAILED and row.unsure >= UNSURE):
            wrong.append(f"{row.id} ended as {row.state}, {row.reason}, after {row.unsure} that nobody saw the end of")
        if sent and taken < 1:
            wrong.append(f"{row.id} was sent, and nobody has it")
        if taken > nobody_saw + sent or taken > UNSURE:
            wrong.append(f"{row.id} was taken {taken} times, and {nobody_saw} attempts were unsure")
        if row.unsure != nobody_saw:
            wrong.append(f"{row.id} counts {row.unsure} unsure attempts of {nobody_saw}")
        if (row.content, row.due_at, row.lease_until) != (None, None, None):
            wrong.append(f"{row.id} is over and still holds something")
    assert not wrong, wrong
    assert copies.keys() <= {row.id for row in found}
    return {"deliveries": len(found), "taken": sum(copies.values()), "doubled": doubled}


async def test_death_at_each_marked_step_of_a_delivery_does_no_harm(build: Build, seed: int) -> None:
    faults = [f"{mark}:{passing}" for passing in (1, 2) for mark in MARKS]
    async with post_office(seed) as post, build(worker=faults, more=post.settings) as house:
        anna = await hire(house.db, house.organization_id, "anna", house.clock())
        await write(house, anna, 12, 6)
        worker = house.processes["worker"]

        found = await until_over(house, 60)
        for _ in range(5):
            if len(worker.died_at) == len(faults):
                break
            await write(house, anna, 4, 2)
            found = await until_over(house, 60)
        await inspect(house, post, found)

        assert worker.died_at == faults
        assert worker.odd_ends == []
        assert {row.state for row in found} <= {DeliveryState.SENT, DeliveryState.FAILED}


@pytest.mark.prove
async def test_hundreds_of_deliveries_survive_deaths_at_random(
    build: Build, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    async with post_office(seed, troubled=0.1, slow=0.3) as post, build(more=post.settings) as house:
        anna = await hire(house.db, house.organization_id, "anna", house.clock())
        began = time.monotonic()
        hurting = asyncio.create_task(hurt(house))

        await write(house, anna, 300, 100)
        found = await until_over(house, 600)
        hurting.cancel()
        await asyncio.gather(hurting, return_exceptions=True)
        figures = await inspect(house, post, found)

        assert house.processes["worker"].kills >= 10
        assert figures["deliveries"] == 400
        states = Counter(row.state for row in found)
        with capsys.disabled():
            print(  # noqa: T201 - what the long form is asked for
                f"\n{figures}, {dict(states)}, {dict(house.hurt)}, {house.jumps} jumps of the clock,"
                f" {time.monotonic() - began:.0f} s"
            )


async def hurt(house: Installation) -> None:
    """Whoever is killed faster than it starts gets nothing done, which proves nothing."""
    at_last_kill = -1
    while True:
        await asyncio.sleep(house.chance.uniform(0.3, 1.0))
        match house.chance.choice(["worker"] * 6 + ["tick", "redis"]):
            case "redis":
                await house.empty_redis()
            case name if house.endings != at_last_kill:
                house.kill(name)
                at_last_kill = house.endings
