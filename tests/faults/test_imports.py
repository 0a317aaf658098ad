"""A worker that is killed while it reads accounts in: no row is done twice, and none is left out."""

from collections import Counter

import pytest
import sqlalchemy as sa

from models import job, sheet
from models.account import account
from models.csv_text import read_head
from models.database import Transaction
from models.delivery import delivery
from models.event import Actor, event
from models.notification import notification
from models.sheet import COLUMNS, REQUIRED
from models.vocabulary import JobState, Queue, Task
from tests import runs
from tests.faults.conftest import Build
from tests.faults.installation import Installation, until
from tests.people import hire

ROWS = 170
DEATHS = ("import.before_commit:2", "import.committed:1")
MORE = (*DEATHS, "import.before_commit:1", "import.committed:2")


async def begin(house: Installation) -> job.Job:
    boss = await hire(house.db, house.organization_id, "boss", house.clock(), roles=("global_administrator",))
    lines = ["sign_in_name,display_name,department", *(f"p{n}@example.org,P {n},Care" for n in range(ROWS))]
    content = ("\n".join(lines) + "\n").encode()

    async def work(tx: Transaction) -> job.Job:
        now = await tx.now()
        asked = await runs.ask(tx, boss, None, Task.IMPORT_ACCOUNTS, now, queue=Queue.BULK, by="administrator")
        await sheet.begin(
            tx,
            job_id=asked.id,
            organization_id=boss.organization_id,
            account_id=boss.id,
            head=read_head(content, known=COLUMNS, required=REQUIRED),
            size=len(content),
            actor=Actor("account", boss.id),
            now=now,
            invite=True,
        )
        await sheet.keep_file(tx, house.keys, asked.id, boss.id, content)
        return asked

    return await house.insist(work, write=True)


async def test_death_in_the_middle_of_a_file_doubles_no_row(build: Build) -> None:
    async with build(worker=DEATHS) as house:
        asked = await begin(house)

        await house.until_ended(asked.id)

        assert (await house.only(asked.id)).state is JobState.SUCCEEDED
        worker = house.processes["worker"]

        async def came_back() -> bool:
            return worker.starts > len(DEATHS)

        await until(came_back)
        assert worker.died_at == list(DEATHS)
        async with house.db.read() as tx:
            made = (
                await tx.execute(sa.select(event.c.account_id).where(event.c.action == "account:life:create"))
            ).all()
            there = (await tx.execute(sa.select(account.c.sign_in_name))).scalars().all()
            invited = (await tx.execute(sa.select(delivery.c.account_id))).scalars().all()
            lines = (await tx.execute(sa.select(sheet.sheet_row).order_by(sheet.sheet_row.c.number))).all()
            told = (await tx.execute(sa.select(notification.c.key, notification.c.version))).all()
        assert len({row.account_id for row in made}) == len(made) == ROWS
        assert Counter(there) == Counter(["boss", *(f"p{n}@example.org" for n in range(ROWS))])
        assert len(set(invited)) == len(invited) == ROWS
        assert [(row.number, row.outcome) for row in lines] == [(n, "created") for n in range(1, ROWS + 1)]
        assert [tuple(row) for row in told] == [("job.import_accounts.succeeded", 1)]
        assert worker.odd_ends == []


@pytest.mark.prove
async def test_a_file_is_read_to_its_end_while_everything_is_killed(build: Build) -> None:
    async with build(worker=MORE) as house:
        asked = await begin(house)
        for name in ("tick", "worker"):
            house.kill(name)
            await house.empty_redis()

        await house.until_ended(asked.id)

        async with house.db.read() as tx:
            made = (
                await tx.execute(sa.select(event.c.account_id).where(event.c.action == "account:life:create"))
            ).all()
        assert len({row.account_id for row in made}) == len(made) == ROWS
