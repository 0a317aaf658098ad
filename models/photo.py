"""A person's picture: as we made it from what they gave, never the file itself."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction

photo = sa.Table(
    "photo",
    metadata,
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="JPEG"),
    sa.Column("changed_at", Moment, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Photo:
    content: bytes
    changed_at: datetime

    @property
    def mark(self) -> str:
        """The ETag."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


async def of_account(tx: Transaction, account_id: UUID) -> Photo | None:
    row = (await tx.execute(sa.select(photo).where(photo.c.account_id == account_id))).one_or_none()
    return None if row is None else Photo(row.content, row.changed_at)


async def keep(tx: Transaction, *, organization_id: UUID, account_id: UUID, content: bytes, now: datetime) -> None:
    """In place of the earlier one. The account's row is held."""
    await remove(tx, account_id)
    await tx.execute(
        sa.insert(photo).values(account_id=account_id, organization_id=organization_id, content=content, changed_at=now)
    )


async def remove(tx: Transaction, account_id: UUID) -> bool:
    return (await tx.execute(sa.delete(photo).where(photo.c.account_id == account_id))).rowcount == 1
