"""Who is alive: a row per process, stamped every few seconds."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from models.base import Moment, metadata
from models.database import Transaction

heartbeat = sa.Table(
    "heartbeat",
    metadata,
    sa.Column("process_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

ALIVE: Final = timedelta(seconds=15)
"""Three heartbeats missed: not alive."""


async def beat(tx: Transaction, *, process_id: str, kind: str, now: datetime) -> None:
    statement = (
        tx.insert(heartbeat)
        .values(process_id=process_id, kind=kind, at=now)
        .on_conflict_do_update(index_elements=[heartbeat.c.process_id], set_={"at": now})
    )
    await tx.execute(statement)


async def leave(tx: Transaction, process_id: str) -> None:
    await tx.execute(sa.delete(heartbeat).where(heartbeat.c.process_id == process_id))


async def alive(tx: Transaction, kind: str, now: datetime) -> int:
    statement = sa.select(sa.func.count()).where(heartbeat.c.kind == kind, heartbeat.c.at > now - ALIVE)
    return int((await tx.execute(statement)).scalar_one())


async def bury(tx: Transaction, now: datetime) -> int:
    """Rows of processes that have been silent for an hour."""
    return (await tx.execute(sa.delete(heartbeat).where(heartbeat.c.at < now - timedelta(hours=1)))).rowcount
