"""Who signs in. `session_generation` is what makes every sign-in end at once; `notification_seq` numbers the flag."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Folded, Id, Moment, metadata, partial_index
from models.database import Transaction
from models.hot import Hot, Question
from models.settings import ACCOUNT_KEPT

account = sa.Table(
    "account",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("sign_in_name", Folded, nullable=False, unique=True),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("looked_up_as", Folded, nullable=False, comment="how the display name begins, folded"),
    sa.Column("language", sa.Text, nullable=False, server_default="en"),
    sa.Column("password_hash", sa.Text, nullable=True),
    sa.Column("must_change_password", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("password_until", Moment, nullable=True, comment="of one that we made; empty: it has no end"),
    sa.Column("session_generation", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("notification_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("is_operator", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("blocked_at", Moment, nullable=True),
    sa.Column("deleted_at", Moment, nullable=True, comment="whoever is deleted is blocked as well"),
    sa.Column("secured_at", Moment, nullable=True, comment="when its owner last said that it was somebody else"),
    sa.Column("erased_at", Moment, nullable=True, comment="nobody any more: what is left is an id that others name"),
    sa.Column("person_key", sa.LargeBinary, nullable=True, comment="sealed; empty: nothing needed it yet, or erased"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Index("ix_account_sign_in_name", "organization_id", "sign_in_name"),
    sa.Index("ix_account_looked_up_as", "organization_id", "looked_up_as", "id"),
    partial_index(
        "ix_account_deleted", "organization_id", "sign_in_name", where="deleted_at IS NOT NULL AND erased_at IS NULL"
    ),
    partial_index("ix_account_to_erase", "deleted_at", "id", where="deleted_at IS NOT NULL AND erased_at IS NULL"),
    sa.CheckConstraint("deleted_at IS NULL OR blocked_at IS NOT NULL", name="deleted"),
    sa.CheckConstraint("erased_at IS NULL OR (deleted_at IS NOT NULL AND person_key IS NULL)", name="erased"),
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
        looked_up_as=look_up(display_name),
        language=language,
        password_hash=password_hash,
        is_operator=is_operator,
        created_at=now,
    )


SIGN_IN_NAME: Final = 113
_LOCAL, _DOMAIN = 64, 48
_UNSEEN: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def clean_sign_in_name(text: str) -> str | None:
    """As it is kept; None: no account may be called so."""
    name = fold(text)
    local, at, domain = name.rpartition("@")
    if not 0 < len(name) <= SIGN_IN_NAME or _UNSEEN.search(name):
        return None
    return None if at and not (0 < len(local) <= _LOCAL and 0 < len(domain) <= _DOMAIN) else name


LOOKED_UP: Final = 64
"""More signs than anybody types to find somebody."""


def look_up(text: str) -> str:
    """The form in which a display name is looked up."""
    return fold(text)[:LOOKED_UP]


def _after(prefix: str) -> str | None:
    """The least text behind all that begins so. None: nothing is."""
    for at in range(len(prefix) - 1, -1, -1):
        following = ord(prefix[at]) + 1
        if following <= 0x10FFFF:
            # Where no text can be, because the place is kept for halves of pairs, the next that can.
            return prefix[:at] + chr(0xE000 if 0xD800 <= following <= 0xDFFF else following)
    return None


def _begins(column: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    end = _after(prefix)
    return column >= prefix if end is None else sa.and_(column >= prefix, column < end)


async def page(
    tx: Transaction, organization_id: UUID, text: str, *, deleted: bool, after: Any, limit: int, now: datetime
) -> list[Any]:
    """Those at home here whose sign-in name begins so, in its order; then those whose display name does.

    Each is told once. `after`: the row of the last one that was told.
    """
    prefix = look_up(text)
    mine = account.c.organization_id == organization_id
    kept = account.c.deleted_at >= now - ACCOUNT_KEPT
    gone = sa.and_(account.c.deleted_at.is_not(None), account.c.erased_at.is_(None), kept)
    there = gone if deleted else account.c.deleted_at.is_(None)
    named = _begins(account.c.sign_in_name, prefix)
    found: list[Any] = []
    if after is None or after.sign_in_name.startswith(prefix):
        first = sa.select(account).where(mine, there, named).order_by(account.c.sign_in_name).limit(limit)
        if after is not None:
            first = first.where(account.c.sign_in_name > after.sign_in_name)
        found += (await tx.execute(first)).all()
        after = None
    if len(found) == limit or not prefix:
        return found
    place = sa.tuple_(account.c.looked_up_as, account.c.id)
    then = (
        sa.select(account)
        .where(mine, there, _begins(account.c.looked_up_as, prefix), sa.not_(named))
        .order_by(account.c.looked_up_as, account.c.id)
        .limit(limit - len(found))
    )
    if after is not None:
        then = then.where(place > sa.tuple_(sa.literal(after.looked_up_as, Folded), sa.literal(after.id, Id)))
    return [*found, *(await tx.execute(then)).all()]


async def at_home(tx: Transaction, organization_id: UUID, account_id: UUID, now: datetime) -> Any:
    """The row of an account that the organization owns; None: it owns no such account, or keeps it no more."""
    statement = sa.select(account).where(account.c.organization_id == organization_id, account.c.id == account_id)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None or not is_kept(row, now) else row


async def home_of(tx: Transaction, account_id: UUID) -> UUID:
    """The organization that owns the account."""
    home: UUID = (await tx.execute(sa.select(account.c.organization_id).where(account.c.id == account_id))).scalar_one()
    return home


def is_kept(row: Any, now: datetime) -> bool:
    """A deleted account can be restored for thirty days, the last moment included."""
    if row.erased_at is not None:
        return False
    return row.deleted_at is None or timedelta(0) <= now - row.deleted_at <= ACCOUNT_KEPT


async def insert(tx: Transaction, rows: Sequence[dict[str, Any]]) -> dict[str, UUID]:
    """By sign-in name those that were made: somebody has the others, here or elsewhere, deleted or not."""
    if not rows:
        return {}
    made = tx.insert(account).values(list(rows)).on_conflict_do_nothing()
    answer = await tx.execute(made.returning(account.c.sign_in_name, account.c.id))
    return {row.sign_in_name: row.id for row in answer}


async def block(tx: Transaction, account_id: UUID, now: datetime) -> None:
    await _set(tx, account_id, blocked_at=now)


async def unblock(tx: Transaction, account_id: UUID) -> None:
    await _set(tx, account_id, blocked_at=None)


async def delete(tx: Transaction, held: Any, now: datetime) -> None:
    """For thirty days it can be restored. `held`: its row, locked."""
    await _set(tx, held.id, deleted_at=now, blocked_at=held.blocked_at or now)


async def restore(tx: Transaction, held: Any) -> None:
    """Whoever was blocked before stays so; who was blocked by being deleted is not. `held`: its row, locked."""
    await _set(tx, held.id, deleted_at=None, blocked_at=None if held.blocked_at == held.deleted_at else held.blocked_at)


async def secured(tx: Transaction, account_id: UUID, now: datetime) -> None:
    """Whatever was told before is answered with it."""
    await _set(tx, account_id, secured_at=now)


async def erase(tx: Transaction, account_id: UUID, now: datetime) -> None:
    """An id is left, which names nobody, and no name that anybody may have: theirs is free. Its row is held."""
    await _set(
        tx,
        account_id,
        sign_in_name=f"erased {account_id}",
        display_name="",
        looked_up_as="",
        language="en",
        password_hash=None,
        must_change_password=False,
        password_until=None,
        secured_at=None,
        is_operator=False,
        person_key=None,
        erased_at=now,
    )


async def _set(tx: Transaction, account_id: UUID, **values: Any) -> None:
    await tx.execute(sa.update(account).where(account.c.id == account_id).values(**values))


async def rename(tx: Transaction, account_id: UUID, sign_in_name: str) -> None:
    """`sign_in_name`: clean. Raises IntegrityError where somebody has it."""
    await _set(tx, account_id, sign_in_name=sign_in_name)


_BY_SIGN_IN_NAME: Final = Hot(sa.select(account).where(account.c.sign_in_name == sa.bindparam("name")))


def named(sign_in_name: str) -> Question:
    """Whose name it is: one row, or nobody's."""
    return _BY_SIGN_IN_NAME, {"name": fold(sign_in_name)}


async def by_sign_in_name(tx: Transaction, sign_in_name: str) -> Any:
    """None: nobody has it."""
    return (await tx.ask(*named(sign_in_name))).one_or_none()


async def by_sign_in_names(tx: Transaction, names: Collection[str]) -> list[Any]:
    """Whosever they are. `names`: clean."""
    statement = sa.select(account).where(account.c.sign_in_name.in_(names))
    return list((await tx.execute(statement)).all())


async def lock_all(tx: Transaction, ids: Collection[UUID]) -> list[Any]:
    """As `lock`, in the one order in which everybody holds several."""
    statement = sa.select(account).where(account.c.id.in_(ids)).order_by(account.c.id)
    return list((await tx.execute(statement.with_for_update(key_share=True))).all())


_LOCK: Final = Hot(sa.select(account).where(account.c.id == sa.bindparam("account")).with_for_update(key_share=True))


def locking(account_id: UUID) -> Question:
    """As `lock`, for who asks other things in the same breath."""
    return _LOCK, {"account": account_id}


async def lock(tx: Transaction, account_id: UUID) -> Any:
    """The account's row, held until commit: what is decided for one person is decided one thing at a time.

    None: there is none.
    """
    return (await tx.ask(*locking(account_id))).one_or_none()


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
