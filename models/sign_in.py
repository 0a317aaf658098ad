"""What a person can see of sign-ins to their account. The record keeps its own lines, and longer."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction
from models.errors import DeviceDisabled
from models.event import Actor
from models.hot import Hot
from models.settings import SIGN_IN_KEPT
from models.vocabulary import id_after, new_id

sign_in = sa.Table(
    "sign_in",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("session_id", Id, nullable=True),
    sa.Column("address", sa.Text, nullable=True),
    sa.Column("client", sa.Text, nullable=True),
    sa.Column("disowned_at", Moment, nullable=True, comment="when its owner said that it was somebody else"),
    sa.Index("ix_sign_in_account", "organization_id", "account_id", "id"),
    sa.Index("ix_sign_in_session", "session_id"),
)


class Outcome(StrEnum):
    """Each has its own advice."""

    SUCCEEDED = "succeeded"
    PASSWORD_FAILED = "password_failed"
    PASSKEY_FAILED = "passkey_failed"
    """Without a password."""
    SECOND_FACTOR_FAILED = "second_factor_failed"
    """The password was right: whoever it was knows it."""


@dataclass(frozen=True, slots=True)
class SignIn:
    id: UUID
    at: datetime
    outcome: Outcome
    reason: str | None
    session_id: UUID | None
    address: str | None
    client: str | None
    disowned_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "SignIn":
        return cls(
            id=row.id,
            at=row.at,
            outcome=Outcome(row.outcome),
            reason=row.reason,
            session_id=row.session_id,
            address=row.address,
            client=row.client,
            disowned_at=row.disowned_at,
        )

    @property
    def advice(self) -> str:
        """Whose password was right must not read that it was wrong: on a device that is disabled, it was."""
        return f"sign_in.{DeviceDisabled.code if self._was_right else self.outcome}"

    @property
    def can_be_disowned(self) -> bool:
        """Whoever did not even pass the first step has got nothing that must be taken from him. Whoever was turned
        away for the device alone has passed it."""
        return self._was_right or self.outcome not in {Outcome.PASSWORD_FAILED, Outcome.PASSKEY_FAILED}

    @property
    def _was_right(self) -> bool:
        """But for the device."""
        return self.reason == DeviceDisabled.code


_INSERT: Final = Hot(sa.insert(sign_in))


async def note(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    outcome: Outcome,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
    session_id: UUID | None = None,
) -> UUID:
    """A line is never changed afterwards but by its owner's word that it was somebody else."""
    line_id = new_id(now)
    values = {
        "id": line_id,
        "organization_id": organization_id,
        "account_id": account_id,
        "at": now,
        "outcome": outcome.value,
        "reason": reason,
        "session_id": session_id,
        "address": actor.address,
        "client": actor.client,
    }
    tx.later(_INSERT, values)
    return line_id


async def page(
    tx: Transaction, organization_id: UUID, account_id: UUID, *, now: datetime, before: UUID | None, limit: int
) -> list[SignIn]:
    """Newest first."""
    statement = (
        sa.select(sign_in)
        .where(
            sign_in.c.organization_id == organization_id,
            sign_in.c.account_id == account_id,
            sign_in.c.at > now - SIGN_IN_KEPT,
        )
        .order_by(sign_in.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(sign_in.c.id < before)
    return [SignIn.of(row) for row in await tx.execute(statement)]


async def by_id(tx: Transaction, organization_id: UUID, account_id: UUID, line_id: UUID) -> SignIn | None:
    statement = sa.select(sign_in).where(
        sign_in.c.id == line_id, sign_in.c.organization_id == organization_id, sign_in.c.account_id == account_id
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else SignIn.of(row)


async def disown(tx: Transaction, account_id: UUID, line_id: UUID, now: datetime) -> bool:
    """Its owner says that it was somebody else. False: that was said before."""
    statement = (
        sa.update(sign_in)
        .where(sign_in.c.id == line_id, sign_in.c.account_id == account_id, sign_in.c.disowned_at.is_(None))
        .values(disowned_at=now)
    )
    return (await tx.execute(statement)).rowcount == 1


async def has_line(tx: Transaction, account_id: UUID, session_id: UUID) -> bool:
    """Whether anything of this sign-in was noted before."""
    statement = sa.select(sign_in.c.id).where(sign_in.c.session_id == session_id, sign_in.c.account_id == account_id)
    return (await tx.execute(statement.limit(1))).one_or_none() is not None


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    cutoff = now - SIGN_IN_KEPT
    old = (
        sa.select(sign_in.c.id)
        .where(sign_in.c.id < id_after(cutoff), sign_in.c.at <= cutoff)
        .order_by(sign_in.c.id)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(sign_in).where(sign_in.c.id.in_(old)))).rowcount
