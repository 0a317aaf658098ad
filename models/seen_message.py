"""Messages that another company's server sends us at least once: each is heard once."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from models.base import Moment, metadata
from models.database import Transaction

seen_message = sa.Table(
    "seen_message",
    metadata,
    sa.Column("platform", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False, index=True),
)

KEEP: Final = timedelta(days=32)
"""Longer than a message may be kept on its way (31 days at most)."""


async def first_time(tx: Transaction, platform: str, message_id: str, now: datetime) -> bool:
    """Noted with what comes of it: what is rolled back was not heard."""
    values = {"platform": platform, "message_id": message_id, "at": now}
    noted = tx.insert(seen_message).values(values).on_conflict_do_nothing().returning(seen_message.c.at)
    return (await tx.execute(noted)).one_or_none() is not None


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = (
        sa.select(seen_message.c.platform, seen_message.c.message_id)
        .where(seen_message.c.at <= now - KEEP)
        .order_by(seen_message.c.at)
        .limit(limit)
    )
    of_old = sa.tuple_(seen_message.c.platform, seen_message.c.message_id).in_(old)
    return (await tx.execute(sa.delete(seen_message).where(of_old))).rowcount
