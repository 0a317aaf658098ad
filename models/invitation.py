"""The way into an organization for somebody whose account is another's: a link, mailed to one address, good for once.

Nothing here says whether anybody has an account with that address: who invites learns of it when it is accepted. Of
the address a keyed hash is kept to know it again, and a mask for whoever reads the list.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from models import delivery
from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.session import hash_token, new_token
from models.settings import INVITATION, INVITATION_KEPT
from models.vocabulary import Secret, new_id

invitation = sa.Table(
    "invitation",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("address_hash", sa.Text, nullable=False),
    sa.Column("hint", sa.Text, nullable=False, comment="the address, masked"),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("invited_by", Id, nullable=False, comment="an account"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("outcome", sa.Text, nullable=True),
    sa.Index("ix_invitation_organization", "organization_id", "id"),
    partial_index("uq_invitation_open", "organization_id", "address_hash", unique=True, where="ended_at IS NULL"),
)


class Ending(StrEnum):
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"
    """Another one went to the same address."""


@dataclass(frozen=True, slots=True)
class Invitation:
    id: UUID
    organization_id: UUID
    address_hash: str
    hint: str
    invited_by: UUID
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    outcome: Ending | None

    @classmethod
    def of(cls, row: Any) -> "Invitation":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            address_hash=row.address_hash,
            hint=row.hint,
            invited_by=row.invited_by,
            created_at=row.created_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
            outcome=None if row.outcome is None else Ending(row.outcome),
        )

    def lives(self, now: datetime) -> bool:
        """To its last moment, that one included."""
        return self.ended_at is None and now <= self.expires_at

    def seen_at(self, now: datetime) -> str:
        if self.outcome is not None:
            return self.outcome.value
        return "open" if self.lives(now) else "expired"


async def issue(
    tx: Transaction, *, organization_id: UUID, address_hash: str, hint: str, invited_by: UUID, now: datetime
) -> tuple[Invitation, Secret]:
    """A token of 256 random bits; its hash alone is kept. An earlier one to the same address ends."""
    earlier = sa.update(invitation).where(
        invitation.c.organization_id == organization_id,
        invitation.c.address_hash == address_hash,
        invitation.c.ended_at.is_(None),
    )
    ended = earlier.values(ended_at=now, outcome=Ending.REPLACED.value).returning(invitation.c.id)
    await delivery.withdraw(tx, list((await tx.execute(ended)).scalars()), now)
    token = new_token()
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "address_hash": address_hash,
        "hint": hint,
        "token_hash": hash_token(token),
        "invited_by": invited_by,
        "created_at": now,
        "expires_at": now + INVITATION,
    }
    row = (await tx.execute(sa.insert(invitation).values(**values).returning(invitation))).one()
    return Invitation.of(row), Secret(token.encode())


async def by_token(tx: Transaction, token_hash: bytes) -> Invitation | None:
    """Dead or alive, held until commit."""
    return await _one(tx, invitation.c.token_hash == token_hash)


async def by_id(tx: Transaction, organization_id: UUID, invitation_id: UUID) -> Invitation | None:
    """Held until commit."""
    return await _one(tx, invitation.c.id == invitation_id, invitation.c.organization_id == organization_id)


async def _one(tx: Transaction, *which: sa.ColumnElement[bool]) -> Invitation | None:
    row = (await tx.execute(sa.select(invitation).where(*which).with_for_update())).one_or_none()
    return None if row is None else Invitation.of(row)


async def page(tx: Transaction, organization_id: UUID, *, before: UUID | None, limit: int) -> list[Invitation]:
    """Newest first."""
    statement = (
        sa.select(invitation)
        .where(invitation.c.organization_id == organization_id)
        .order_by(invitation.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(invitation.c.id < before)
    return [Invitation.of(row) for row in await tx.execute(statement)]


async def end(tx: Transaction, held: Invitation, how: Ending, now: datetime) -> None:
    """Its letter has its id: one that still waits goes with it."""
    statement = sa.update(invitation).where(invitation.c.id == held.id)
    await tx.execute(statement.values(ended_at=now, outcome=how.value))
    await delivery.withdraw(tx, [held.id], now)


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    cutoff = now - INVITATION_KEPT
    old = sa.select(invitation.c.id).where(invitation.c.expires_at < cutoff).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(invitation).where(invitation.c.id.in_(old)))).rowcount
