"""A worker is killed amid what it ends after somebody left: nobody is left half there."""

from uuid import UUID

import sqlalchemy as sa

from models import account, leaving
from models.database import Transaction
from models.device import device
from models.event import Actor, event
from models.job import job_move
from models.notification import notification
from tests.faults.conftest import Build
from tests.people import Person, found, give_device, hire, welcome

STEPS = ("claimed", "leave.device.before_commit:2", "leave.cut_off:1", "leave.before_commit")


async def test_a_worker_killed_amid_leaving_leaves_nobody_half_there(build: Build) -> None:
    async with build(worker=list(STEPS)) as house:
        now = house.clock()
        home = await found(house.db, now, name="Home")
        anna = await hire(house.db, home, "anna", now)
        await welcome(house.db, house.organization_id, anna, now)
        guest = Person(anna.id, house.organization_id, anna.name, anna.password)
        phones = [await give_device(house.db, guest, now) for _ in range(5)]

        async def leave(tx: Transaction) -> UUID:
            made = await leaving.leave(
                tx,
                await account.lock(tx, anna.id),
                house.organization_id,
                name="Acme",
                by="person",
                keys=house.keys,
                actor=Actor("account", anna.id),
                now=await tx.now(),
                notice="organization.left",
                params={},
            )
            return made.id

        job_id = await house.insist(leave, write=True)

        await house.until_ended(job_id)

        async def rows(tx: Transaction) -> tuple[list[str], int, list[str], list[str]]:
            states = sa.select(device.c.state).where(device.c.id.in_(phones))
            cut_off = sa.select(sa.func.count()).where(event.c.action == "device:trust:disable")
            told = sa.select(notification.c.key).where(notification.c.account_id == anna.id)
            moves = sa.select(job_move.c.to_state).where(job_move.c.job_id == job_id).order_by(job_move.c.seq)
            return (
                list((await tx.execute(states)).scalars()),
                (await tx.execute(cut_off)).scalar_one(),
                list((await tx.execute(told)).scalars()),
                list((await tx.execute(moves)).scalars()),
            )

        states, cut_off, told, moves = await house.insist(rows)
        assert house.processes["worker"].died_at == list(STEPS)
        assert (states, cut_off) == (["disabled"] * 5, 5), "each of them, once"
        assert told == ["organization.left"]
        assert moves == ["queued", "waiting", "succeeded"]
