"""Killed on the road of a second person's yes: it is asked once, told once, decided once, and done once."""

import secrets
from typing import Any

import httpx
import sqlalchemy as sa

from models.approval import approval
from models.database import Transaction
from models.device import device
from models.event import event
from models.job import job
from models.notification import notification
from models.organization import organization
from models.session import SessionState, hash_token, open_session
from models.settings import SESSION_ABSOLUTE
from models.vocabulary import JobState
from tests.faults.conftest import Build
from tests.faults.installation import Installation, until
from tests.people import Person, give_totp, hire

API = ("accept.before_commit", "accept.before_commit:2", "accept.after_commit")
"""While it is asked for; while it is approved; and when it was, before anybody heard of it."""
TICK = ("sweep.before_commit",)
WORKER = ("plan.before_commit",)
PLATFORM = "ios"


async def sign_in(house: Installation, person: Person, strength: int) -> str:
    token = secrets.token_urlsafe(32)

    async def work(tx: Transaction) -> None:
        await open_session(
            tx,
            organization_id=person.organization_id,
            account_id=person.id,
            token_hash=hash_token(token),
            generation=0,
            state=SessionState.SIGNED_IN,
            strength=strength,
            methods=("password",),
            lifetime=SESSION_ABSOLUTE,
            now=await tx.now(),
            re_sign_in_id=None,
            address=None,
            client=None,
        )

    await house.insist(work, write=True)
    return token


async def say(house: Installation, path: str, token: str, body: Any = None) -> httpx.Response:
    """Again and again, until an answer is had."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": path}
    answers = []

    async def answered() -> bool:
        try:
            answers.append(await house.client.post(f"/api/v1{path}", json=body, headers=headers))
        except httpx.TransportError:
            return False
        return answers[-1].status_code < 500

    await until(answered)
    return answers[-1]


async def test_death_on_the_road_of_a_second_yes_leaves_one_of_each(build: Build) -> None:
    async with build(api=API, tick=TICK, worker=WORKER) as house:
        boss = await hire(house.db, house.organization_id, "boss", house.clock(), roles=("global_administrator",))
        await give_totp(house.db, house.keys, boss, house.clock())

        async def demand(tx: Transaction) -> None:
            await tx.execute(sa.update(organization).values(settings={"second_approver": ["remove"]}))

        await house.insist(demand, write=True)
        await house.settle_in(1, PLATFORM)
        (anna,) = house.residents
        asked = await say(house, f"/devices/{anna.device_id}/remove", await sign_in(house, anna.person, 1))
        assert asked.status_code == 201, asked.text
        approval_id = asked.json()["id"]

        async def is_told() -> bool:
            if house.processes["tick"].died_at:
                # The duty of one that was killed is free again after its lease: nobody waits that long.
                await house.put_forward()
            told = sa.select(approval.c.told_at)
            return await house.insist(lambda tx: _one(tx, told)) is not None

        await until(is_told)
        token = await sign_in(house, boss, 2)
        approved = await say(house, f"/approvals/{approval_id}/approve", token, {"reason": "lost"})
        assert (approved.status_code, approved.json()["state"]) == (409, "approved"), "the yes that died had counted"
        job_id = await house.insist(lambda tx: _one(tx, sa.select(approval.c.job_id)))
        await house.until_ended(job_id)

        died = {name: tuple(process.died_at) for name, process in house.processes.items()}
        assert died == {"api": API, "tick": TICK, "worker": WORKER}
        rows = await house.insist(everything)
        assert rows["approvals"] == ["approved"]
        assert rows["jobs"] == [("remove", JobState.SUCCEEDED)]
        assert rows["devices"] == ["left"]
        assert sorted(rows["told"]) == sorted(
            [
                (boss.id, "approval.remove.asked"),
                (anna.person.id, "approval.remove.approved"),
                (anna.person.id, "job.remove.succeeded"),
            ]
        )
        assert rows["record"] == ["device:approval:approve", "device:approval:submit", "device:remove:ask"]
        assert [process.odd_ends for process in house.processes.values()] == [[], [], []]


async def _one(tx: Transaction, statement: sa.Select[Any]) -> Any:
    return (await tx.execute(statement)).scalar_one()


async def everything(tx: Transaction) -> dict[str, list[Any]]:
    recorded = sa.or_(event.c.action.like("device:approval:%"), event.c.action == "device:remove:ask")
    statements: dict[str, sa.Select[Any]] = {
        "approvals": sa.select(approval.c.state),
        "jobs": sa.select(job.c.kind, job.c.state),
        "devices": sa.select(device.c.state),
        "told": sa.select(notification.c.account_id, notification.c.key),
        "record": sa.select(event.c.action).where(recorded).order_by(event.c.action),
    }
    found = {}
    for name, statement in statements.items():
        rows = [tuple(row) for row in await tx.execute(statement)]
        found[name] = [row[0] if len(row) == 1 else row for row in rows]
    return found
