"""What is done for an account: one file a task, called like it, and nothing else to register.

The row, its states, claims, timeline and sweep are those of every job. A file here says what a run does, under the
lease that was taken for it, and what the person is told in the end.
"""

from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from models import job
from models.database import Transaction
from models.event import Actor
from models.job import Job, Told
from models.vocabulary import Outcome

if TYPE_CHECKING:
    from workers.needs import Needs


class Work(Protocol):
    """What a file in this folder holds."""

    async def run(self, needs: "Needs", held: Job) -> None:
        """Begin, or go on. It ends with the job settled, or released until the next run may claim it."""

    async def close(self, tx: Transaction, held: Job, outcome: Outcome, now: datetime) -> Told | None:
        """The job has just ended, so or otherwise: what is left of it ends with it. What the person is told."""


def work_of(held: Job) -> Work:
    return cast("Work", import_module(f"{__name__}.{held.kind}"))


async def still_held(tx: Transaction, held: Job) -> Job | None:
    """The job's row before any other, and only while this run is the last."""
    row = await job.by_id(tx, held.id, hold=True)
    return row if row is not None and row.is_open and row.attempt == held.attempt else None


async def give_way(needs: "Needs", held: Job) -> None:
    """Enough for one run: whoever waits is next, and then the rest of this."""
    async with needs.database.write() as tx:
        current = await still_held(tx, held)
        if current is None or not await job.release(tx, current, available_at=await tx.now()):
            return
    needs.door.put(held.id, held.queue)


async def end(
    tx: Transaction, held: Job, outcome: Outcome, *, actor: Actor, now: datetime, fence: bool = False
) -> bool:
    """Give a task its ending, with all that belongs to it. False: it had moved on."""
    if outcome.state is None:
        raise ValueError("an outcome that is not final ends nothing")
    detail = {"detail": dict(outcome.detail) or None}
    by, why = actor.kind, outcome.reason
    if not await job.move(tx, held, outcome.state, by=by, why=why, now=now, fence=fence, values=detail):
        return False
    told = await work_of(held).close(tx, held, outcome, now)
    await job.tell_ending(tx, held, outcome, told=told, actor=actor, now=now)
    return True
