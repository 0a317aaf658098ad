"""Who does the work that only one may do at a time: a lease row per duty."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from models.base import Moment, metadata
from models.database import Transaction
from models.vocabulary import EPOCH

SWEEP: Final = "sweep"
"""The tick's: it is on duty while it has this one."""

duty = sa.Table(
    "duty",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("until", Moment, nullable=False),
)


async def take(tx: Transaction, name: str, holder: str, length: timedelta, now: datetime) -> bool:
    """Take or keep the duty. False: somebody else has it."""
    await tx.execute(tx.insert(duty).values(name=name, holder=holder, until=EPOCH).on_conflict_do_nothing())
    statement = (
        sa.update(duty)
        .where(duty.c.name == name, sa.or_(duty.c.holder == holder, duty.c.until <= now))
        .values(holder=holder, until=now + length)
    )
    return (await tx.execute(statement)).rowcount == 1


async def release(tx: Transaction, name: str, holder: str) -> None:
    """An orderly stop: the next one need not wait for the lease to run out."""
    await tx.execute(sa.update(duty).where(duty.c.name == name, duty.c.holder == holder).values(until=EPOCH))


async def is_held(tx: Transaction, name: str, now: datetime) -> bool:
    statement = sa.select(sa.func.count()).where(duty.c.name == name, duty.c.until > now)
    return bool((await tx.execute(statement)).scalar_one())
