"""What the house knows of a person, made into a file for them, part by part (models/export.py)."""

from datetime import datetime
from typing import Final

from models import delivery, export, job
from models.database import Transaction
from models.delivery import Person
from models.event import WORKER
from models.job import Job, Told
from models.vocabulary import JobState, Outcome, Reason, Task
from workers import jobs
from workers.needs import Needs

STEPS: Final = 40
"""Parts of one run: well below a lease, and then others have their turn. Nobody with fewer rows waits for a second."""
READY: Final = "export.ready"


async def run(needs: Needs, held: Job) -> None:
    if held.state is JobState.QUEUED and not await _begin(needs, held):
        return
    for _ in range(STEPS):
        if not await _step(needs, held):
            return
    await jobs.give_way(needs, held)


async def _begin(needs: Needs, held: Job) -> bool:
    """False: this run had lost its lease."""
    async with needs.database.write() as tx:
        if await jobs.still_held(tx, held) is None:
            return False
        await export.begin(tx, held)
        begun = await job.begin(tx, held, await tx.now())
        needs.fault.mark("export.begun.before_commit")
    return begun


async def _step(needs: Needs, held: Job) -> bool:
    """One part, and with the last one the job's end and the notice. Whether there is more to do."""
    async with needs.database.write() as tx:
        current = await jobs.still_held(tx, held)
        if current is None:
            return False
        now = await tx.now()
        made = await export.of_job(tx, held.id)
        if made is None:  # it was erased meanwhile, with its person
            await jobs.end(tx, current, Outcome(JobState.FAILED, Reason.CRASHED), actor=WORKER, now=now, fence=True)
            return False
        done = await export.tell(tx, needs.keys, made, now)
        if done:
            await jobs.end(tx, current, Outcome(JobState.SUCCEEDED), actor=WORKER, now=now, fence=True)
            whose = Person(held.account_id, held.organization_id)
            await delivery.mail_notice(tx, keys=needs.keys, account=whose, key=READY, params={}, now=now)
        needs.fault.mark("export.told.before_commit")
    if done:
        needs.door.nudge(held.account_id)
    return not done


async def close(tx: Transaction, held: Job, outcome: Outcome, now: datetime) -> Told | None:
    """Half a file is nobody's."""
    if outcome.state is not JobState.SUCCEEDED:
        await export.give_up(tx, held.id)
    return Told(f"job.{Task.EXPORT}.{outcome.state}", {})
