"""Who signs in. `session_generation` is what makes every sign-in end at once; `notification_seq` numbers the flag."""

import unicodedata
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction
from models.hot import Hot

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False, index=True),
    sa.Column("sign_in_name", sa.Text, nullable=False, unique=True),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False, server_default="en"),
    sa.Column("password_hash", sa.Text, nullable=True),
    sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("password_until", Moment, nullable=True, comment="of one that we made; empty: it has no end"),
    sa.Column("session_generation", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("notification_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("is_operator", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("blocked_at", Moment, nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    comment="organization_id is the home organization: it owns the account",
)


def fold(sign_in_name: str) -> str:
    """The one form in which a sign-in name is stored and looked up."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", sign_in_name.strip()).casefold())


def new_account(
    *,
    account_id: UUID,
    organization_id: UUID,
    sign_in_name: str,
    display_name: str,
    password_hash: str | None,
    now: datetime,
    language: str = "en",
    is_operator: bool = False,
) -> sa.Insert:
    return sa.insert(account).values(
        id=account_id,
        organization_id=organization_id,
        sign_in_name=fold(sign_in_name),
        display_name=display_name,
        language=language,
        password_hash=password_hash,
        is_operator=is_operator,
        created_at=now,
    )


async def by_sign_in_name(tx: Transaction, sign_in_name: str) -> sa.Row[Any] | None:
    statement = sa.select(account).where(account.c.sign_in_name == fold(sign_in_name))
    return (await tx.execute(statement)).one_or_none()


_LOCK: Final = Hot(sa.select(account).where(account.c.id == sa.bindparam("account")).with_for_update())


async def lock(tx: Transaction, account_id: UUID) -> Any:
    """The account's row, held until commit: what is decided for one person is decided one thing at a time.

    None: there is none.
    """
    return (await tx.ask(_LOCK, {"account": account_id})).one_or_none()


async def end_every_session(tx: Transaction, account_id: UUID) -> int:
    """One row, whatever the number of sessions: each carries the generation it was made under."""
    statement = (
        sa.update(account)
        .where(account.c.id == account_id)
        .values(session_generation=account.c.session_generation + 1)
        .returning(account.c.session_generation)
    )
    return int((await tx.execute(statement)).scalar_one())


async def set_password_hash(tx: Transaction, account_id: UUID, *, old: str, new: str) -> None:
    """A stronger hash of the same password; only while nobody changed it meanwhile."""
    await tx.execute(
        sa.update(account).where(account.c.id == account_id, account.c.password_hash == old).values(password_hash=new)
    )
