"""A job that was asked for, and what a run does to it, for tests that play either."""

from datetime import datetime
from uuid import UUID

from models import job
from models.database import Transaction
from models.job import Job
from models.sealed import Keyring
from models.vocabulary import Act, Queue, Secret, Task, new_id
from tests.people import Person

PLAN = Secret(b"plan")


async def ask(
    tx: Transaction,
    person: Person,
    device_id: UUID | None,
    act: Act | Task,
    now: datetime,
    *,
    queue: Queue = Queue.INTERACTIVE,
    by: str = "person",
    key: str | None = None,
) -> Job:
    """`key`: as the request named it; None: one that no other request has."""
    job_id = new_id(now)
    return await job.ask(
        tx,
        organization_id=person.organization_id,
        account_id=person.id,
        device_id=device_id,
        act=act,
        queue=queue,
        by=by,
        idempotency_key=key or job_id.hex,
        request_hash=b"hash",
        now=now,
        job_id=job_id,
    )


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


async def planned(
    tx: Transaction,
    keys: Keyring,
    job_id: UUID,
    now: datetime,
    *,
    ref: str | None = None,
    plan: Secret = PLAN,
    by_courier: bool = False,
) -> Job:
    """As a whole run leaves it: waiting for its device, under its own id unless the test says another name."""
    held = await claim(tx, job_id)
    assert held is not None
    sealed = job.seal_plan(keys, held, plan)
    assert await store_plan(tx, held, ref=ref or str(job_id), sealed=sealed, now=now, by_courier=by_courier)
    waiting = await job.by_id(tx, job_id)
    assert waiting is not None
    return waiting
