"""What a run does to its job, for tests that play one."""

from datetime import datetime
from uuid import UUID

from models import job
from models.database import Transaction
from models.job import Job


async def claim(tx: Transaction, job_id: UUID) -> Job | None:
    claimed = job.claim(tx, job_id)
    await tx.together()
    return job.claimed(claimed)


async def store_plan(
    tx: Transaction, held: Job, *, ref: str, sealed: bytes, now: datetime, by_courier: bool = False
) -> bool:
    """False: this run had lost its lease."""
    if not (await tx.ask(*job.hold_run(held))).rows:
        return False
    await job.store_plan(tx, held, ref=ref, sealed=sealed, now=now, by_courier=by_courier)
    return True
