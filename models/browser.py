"""Browsers that somebody has signed in with, known by a cookie that outlives the session.

A known one has a count of wrong passwords of its own, so that strangers who guess shut nobody out of it. One that is
remembered also skips the second factor for a while: never the password, a proof, or a re-sign-in.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction
from models.hot import Hot
from models.settings import BROWSER_KEPT, BROWSER_REMEMBERED, BROWSERS_PER_ACCOUNT
from models.vocabulary import new_id

browser = sa.Table(
    "browser",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, comment="one token per browser, whoever signs in with it"),
    sa.Column("address", sa.Text, nullable=True),
    sa.Column("client", sa.Text, nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("used_at", Moment, nullable=False, index=True, comment="the last sign-in"),
    sa.Column("remembered_until", Moment, nullable=True),
    sa.Column("proven_at", Moment, nullable=True, comment="when the second factor was done that it now skips"),
    sa.Column("proven_with", Id, nullable=True, comment="the method; with it goes what was remembered"),
    sa.Column("generation", sa.BigInteger, nullable=True, comment="of the account; with another it is forgotten"),
    sa.Column("forgotten_at", Moment, nullable=True, comment="known no more, but to say that there was one before"),
    sa.Index("uq_browser_token", "token_hash", "account_id", unique=True),
    sa.Index("ix_browser_account", "account_id"),
)


@dataclass(frozen=True, slots=True)
class Browser:
    id: UUID
    address: str | None
    client: str | None
    created_at: datetime
    used_at: datetime
    remembered_until: datetime | None
    proven_at: datetime | None
    generation: int | None

    @classmethod
    def of(cls, row: Any) -> "Browser":
        return cls(
            id=row.id,
            address=row.address,
            client=row.client,
            created_at=row.created_at,
            used_at=row.used_at,
            remembered_until=row.remembered_until,
            proven_at=row.proven_at,
            generation=row.generation,
        )

    @property
    def lane(self) -> str:
        """What failures in it are counted by, apart from those of strangers."""
        return f"browser:{self.id}"

    def second_factor_done(self, generation: int, now: datetime) -> datetime | None:
        """When the second factor was done that may be skipped now. None: it may not."""
        if self.remembered_until is None or self.generation != generation or now >= self.remembered_until:
            return None
        return self.proven_at


async def known(tx: Transaction, account_id: UUID, token_hash: bytes) -> Browser | None:
    """The browser with this token, if it has signed in to this account before."""
    statement = sa.select(browser).where(
        browser.c.token_hash == token_hash, browser.c.account_id == account_id, browser.c.forgotten_at.is_(None)
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Browser.of(row)


async def lane(tx: Transaction, account_id: UUID, token_hash: bytes | None) -> str:
    """What is counted by: a known browser has a count of its own, and all others have one together."""
    found = None if token_hash is None else await known(tx, account_id, token_hash)
    return str(account_id) if found is None else found.lane


async def is_ours(tx: Transaction, token_hash: bytes) -> bool:
    """Whether we gave out this token, to whomever: another one is never taken up."""
    statement = sa.select(browser.c.id).where(browser.c.token_hash == token_hash).limit(1)
    return (await tx.execute(statement)).one_or_none() is not None


_OF_ACCOUNT: Final = Hot(
    sa.select(browser).where(browser.c.account_id == sa.bindparam("account")).order_by(browser.c.used_at)
)
_INSERT: Final = Hot(sa.insert(browser))


async def meet(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    token_hash: bytes,
    address: str | None,
    client: str | None,
    now: datetime,
) -> tuple[UUID, bool]:
    """A sign-in was finished in this browser. Its id, and whether its like had not been seen before.

    The account's row is held. What keeps no cookie is recognised by its name and address, but for that alone; and the
    first one of all surprises nobody. One that was forgotten is as good as unseen. Of too many the one that was longest
    away goes.
    """
    before = (await tx.ask(_OF_ACCOUNT, {"account": account_id})).rows
    seen = {"address": address, "client": client, "used_at": now}
    same = next((row for row in before if row.token_hash == token_hash), None)
    if same is not None and same.forgotten_at is None:
        await tx.execute(sa.update(browser).where(browser.c.id == same.id).values(**seen))
        return same.id, False
    known = [row for row in before if row.forgotten_at is None]
    unseen = bool(before) and not any((row.address, row.client) == (address, client) for row in known)
    if same is not None:
        again = {**seen, "created_at": now, "forgotten_at": None}
        await tx.execute(sa.update(browser).where(browser.c.id == same.id).values(**again))
        return same.id, unseen
    browser_id = new_id(now)
    values = {
        "id": browser_id,
        "organization_id": organization_id,
        "account_id": account_id,
        "token_hash": token_hash,
        "created_at": now,
        **seen,
    }
    tx.later(_INSERT, values)
    too_many = len(before) + 1 - BROWSERS_PER_ACCOUNT
    if too_many > 0:
        await tx.execute(sa.delete(browser).where(browser.c.id.in_([row.id for row in before[:too_many]])))
    return browser_id, unseen


async def remember(tx: Transaction, browser_id: UUID, method_id: UUID, generation: int, now: datetime) -> None:
    """The second factor was done in it, now, and the person wants to skip it from here on."""
    await tx.execute(
        sa.update(browser)
        .where(browser.c.id == browser_id)
        .values(remembered_until=now + BROWSER_REMEMBERED, proven_at=now, proven_with=method_id, generation=generation)
    )


async def ask_again(tx: Transaction, account_id: UUID, method_id: UUID) -> None:
    """A method is gone: where the second factor was done with it, another one is asked for. The browser stays known."""
    await tx.execute(
        sa.update(browser)
        .where(browser.c.account_id == account_id, browser.c.proven_with == method_id)
        .values(remembered_until=None, proven_at=None, proven_with=None, generation=None)
    )


async def of_account(tx: Transaction, organization_id: UUID, account_id: UUID) -> list[Browser]:
    """The last used first. There are never many."""
    statement = (
        sa.select(browser)
        .where(
            browser.c.organization_id == organization_id,
            browser.c.account_id == account_id,
            browser.c.forgotten_at.is_(None),
        )
        .order_by(browser.c.used_at.desc(), browser.c.id.desc())
    )
    return [Browser.of(row) for row in await tx.execute(statement)]


async def forget(tx: Transaction, organization_id: UUID, account_id: UUID, browser_id: UUID, now: datetime) -> bool:
    """False: it is not one of the account's. What is left of it makes the next sign-in one that is told."""
    statement = _forget(now).where(
        browser.c.id == browser_id, browser.c.organization_id == organization_id, browser.c.account_id == account_id
    )
    return (await tx.execute(statement)).rowcount == 1


async def forget_all(tx: Transaction, account_id: UUID, now: datetime) -> None:
    await tx.execute(_forget(now).where(browser.c.account_id == account_id))


def _forget(now: datetime) -> sa.Update:
    return (
        sa.update(browser)
        .where(browser.c.forgotten_at.is_(None))
        .values(
            address=None,
            client=None,
            remembered_until=None,
            proven_at=None,
            proven_with=None,
            generation=None,
            forgotten_at=now,
        )
    )


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = sa.select(browser.c.id).where(browser.c.used_at <= now - BROWSER_KEPT).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(browser).where(browser.c.id.in_(old)))).rowcount
