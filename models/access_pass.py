"""A temporary access pass: an administrator's stand-in for a second factor that is lost, for a while or for once."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, metadata
from models.database import Transaction

access_pass = sa.Table(
    "access_pass",
    metadata,
    sa.Column("verification_id", Id, sa.ForeignKey("verification.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("one_use", sa.Boolean, nullable=False),
    sa.Column("issued_by", Id, sa.ForeignKey("account.id"), nullable=False),
)

SHORTEST: Final = timedelta(minutes=10)
USUAL: Final = timedelta(hours=1)
LONGEST: Final = timedelta(days=30)
ONE_USE: Final = timedelta(minutes=10)
"""How long a sign-in with one for once lives at most: time enough to add the method that is to take its place."""
GROUPS: Final = 3
"""Of four signs: 60 bits."""


def new_pass(
    *, verification_id: UUID, organization_id: UUID, password_hash: str, one_use: bool, issued_by: UUID
) -> sa.Insert:
    return sa.insert(access_pass).values(
        verification_id=verification_id,
        organization_id=organization_id,
        hash=password_hash,
        one_use=one_use,
        issued_by=issued_by,
    )


async def of_method(tx: Transaction, verification_id: UUID) -> Any:
    """Its row, or None."""
    statement = sa.select(access_pass).where(access_pass.c.verification_id == verification_id)
    return (await tx.execute(statement)).one_or_none()


async def forget(tx: Transaction, verification_id: UUID) -> None:
    await tx.execute(sa.delete(access_pass).where(access_pass.c.verification_id == verification_id))
