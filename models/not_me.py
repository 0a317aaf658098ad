"""The answer to a notice: "that was not me". Its link carries a token that says whose notice it was.

A token opens nothing and shows nothing: all it can do is what `api/operations/not_me.py` does, once.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.hot import Hot
from models.session import hash_token
from models.settings import NOT_ME_LINK
from models.vocabulary import Secret, new_id

not_me = sa.Table(
    "not_me",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("notice", sa.Text, nullable=False, comment="the key of what was told"),
    sa.Column("method_id", Id, nullable=True, comment="the method that came, or was used, where that was told"),
    sa.Column("gone_id", Id, nullable=True, comment="the address that was taken away, where that was told"),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Column("used_at", Moment, nullable=True),
    sa.Column(
        "answered_at", Moment, nullable=True, comment="when its owner first said, after it, that it was somebody else"
    ),
    # The next word answers these.
    partial_index("ix_not_me_open", "account_id", where="answered_at IS NULL"),
)


@dataclass(frozen=True, slots=True)
class NotMe:
    id: UUID
    organization_id: UUID
    account_id: UUID
    notice: str
    method_id: UUID | None
    gone_id: UUID | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    answered_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "NotMe":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            notice=row.notice,
            method_id=row.method_id,
            gone_id=row.gone_id,
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
            answered_at=row.answered_at,
        )

    def lives(self, now: datetime) -> bool:
        """To its last moment, that one included."""
        return now <= self.expires_at


_INSERT: Final = Hot(sa.insert(not_me))


def issue(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    notice: str,
    method_id: UUID | None = None,
    gone_id: UUID | None = None,
    now: datetime,
) -> Secret:
    """A token of 256 random bits for one notice; its hash alone is kept."""
    token = secrets.token_urlsafe(32)
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "account_id": account_id,
        "notice": notice,
        "method_id": method_id,
        "gone_id": gone_id,
        "token_hash": hash_token(token),
        "created_at": now,
        "expires_at": now + NOT_ME_LINK,
    }
    tx.later(_INSERT, values)
    return Secret(token.encode())


async def by_token(tx: Transaction, token_hash: bytes) -> NotMe | None:
    """Dead or alive."""
    row = (await tx.execute(sa.select(not_me).where(not_me.c.token_hash == token_hash))).one_or_none()
    return None if row is None else NotMe.of(row)


async def use(tx: Transaction, found: NotMe, now: datetime) -> NotMe | None:
    """As it is with its account held: another word may have been said since it was found. None: it was used before."""
    statement = sa.update(not_me).where(not_me.c.id == found.id, not_me.c.used_at.is_(None)).values(used_at=now)
    row = (await tx.execute(statement.returning(not_me))).one_or_none()
    return None if row is None else NotMe.of(row)


async def answer(tx: Transaction, account_id: UUID, now: datetime) -> None:
    """Its owner has spoken: of whatever was told until now, whichever link they followed. The first word counts."""
    outstanding = sa.update(not_me).where(not_me.c.account_id == account_id, not_me.c.answered_at.is_(None))
    await tx.execute(outstanding.values(answered_at=now))


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = sa.select(not_me.c.id).where(not_me.c.expires_at < now).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(not_me).where(not_me.c.id.in_(old)))).rowcount
