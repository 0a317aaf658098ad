"""End what somebody who left an organization still had there: their devices' trust, and what was asked of those.

That they no longer belong was settled when they left, in one transaction; nothing here decides it again. A device at a
time, each in a transaction of its own: a run that dies goes on with the next device.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from models import account, departure, enrollment, job, leaving
from models.database import Transaction
from models.device import Device, device
from models.event import WORKER
from models.job import Job, Told
from models.vocabulary import JobState, Outcome, Task
from workers import jobs
from workers.needs import Needs

_DONE: Final = Outcome(JobState.SUCCEEDED)


async def run(needs: Needs, held: Job) -> None:
    async with needs.database.write() as tx:
        now = await tx.now()
        if held.state is JobState.QUEUED and not await job.begin(tx, held, now):
            return
    after: UUID | None = None
    while (after := await _cut_off_next(needs, held, after)) is not None:
        needs.fault.mark("leave.cut_off")
    async with needs.database.write() as tx:
        current = await jobs.still_held(tx, held)
        if current is None:
            return
        await jobs.end(tx, current, _DONE, actor=WORKER, now=await tx.now(), fence=True)
        needs.fault.mark("leave.before_commit")
    needs.door.nudge(held.account_id)


async def _cut_off_next(needs: Needs, held: Job, after: UUID | None) -> UUID | None:
    """None: there is no other, or this run has nothing to say any more."""
    async with needs.database.write() as tx:
        gone = None if await jobs.still_held(tx, held) is None else await leaving.of_job(tx, held.id)
        device_id = None if gone is None else await leaving.next_device(tx, gone, after)
        if device_id is None:
            return None
        # As in a check-in: the bond, then the account.
        await enrollment.hold_living(tx, device_id)
        await account.lock(tx, held.account_id)
        if await leaving.of_job(tx, held.id) is None:  # taken back while their account was waited for
            return None
        of = Device.of((await tx.execute(sa.select(device).where(device.c.id == device_id))).one())
        await departure.end_trust(tx, of, actor=WORKER, keys=needs.keys, now=await tx.now())
        needs.fault.mark("leave.device.before_commit")
    return device_id


async def close(tx: Transaction, held: Job, outcome: Outcome, now: datetime) -> Told | None:
    """Of a success there is nothing to add to what was told when they left."""
    return None if outcome.state is JobState.SUCCEEDED else Told(f"job.{Task.LEAVE}.{outcome.state}", {})
