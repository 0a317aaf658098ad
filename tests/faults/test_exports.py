"""A worker is killed amid a file of somebody's own data: it is one whole document, told of once.

That a run which dies anywhere doubles nothing is tried in the quick suite without processes (tests/api/test_export.py).
"""

import json
from collections import Counter
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import export
from models.database import Transaction
from models.delivery import delivery
from models.export import SECTIONS
from models.notification import notification
from models.vocabulary import JobState, Queue, Task
from tests import runs
from tests.faults.conftest import Build
from tests.people import give_device, hire

STEPS = ("export.begun.before_commit", "export.told.before_commit:7", f"export.told.before_commit:{len(SECTIONS) - 6}")
"""Before it begins; in the middle; and with the last part, which is the job's end and the notices, too."""


@pytest.mark.prove
async def test_a_worker_killed_amid_a_file_of_ones_own_data_leaves_one_whole_file(build: Build) -> None:
    async with build(worker=STEPS) as house:
        now = house.clock()
        anna = await hire(house.db, house.organization_id, "anna", now)
        phone = await give_device(house.db, anna, now)

        async def ask(tx: Transaction) -> UUID:
            return (await runs.ask(tx, anna, None, Task.EXPORT, await tx.now(), queue=Queue.BULK)).id

        job_id = await house.insist(ask, write=True)

        await house.until_ended(job_id)

        async def read(tx: Transaction) -> tuple[bytes, list[str], Counter[str]]:
            made = await export.of_job(tx, job_id)
            assert made is not None
            parts = [await export.part(tx, house.keys, made, number) for number in range(made.parts)]
            kept = (await tx.execute(sa.select(sa.func.count()).select_from(export.export_part))).scalar_one()
            assert kept == made.parts == len(SECTIONS)
            told = (await tx.execute(sa.select(notification.c.key))).scalars()
            letters = (await tx.execute(sa.select(delivery.c.key))).scalars()
            return b"".join(part or b"" for part in parts), list(told), Counter(letters)

        content, told, letters = await house.insist(read)
        said = json.loads(content)
        worker = house.processes["worker"]
        assert worker.died_at == list(STEPS)
        assert (await house.only(job_id)).state is JobState.SUCCEEDED
        assert list(said) == ["made_at", *(section.name for section in SECTIONS)]
        assert [one["id"] for one in said["devices"]] == [str(phone)]
        assert told == ["job.export.succeeded"]
        assert letters in (Counter(), Counter({"export.ready": 1}))
        assert worker.odd_ends == []
