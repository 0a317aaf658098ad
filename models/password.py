"""What opens the account: the earlier ones, and all that dies with one. What it may be is `password_policy`'s."""

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from models import (
    account,
    browser,
    delivery,
    event,
    organization,
    place,
    reset_link,
    sign_out,
    throttle,
    verification,
)
from models.base import Id, metadata
from models.database import Transaction
from models.event import Actor
from models.notification import Severity
from models.password_policy import About
from models.sealed import Keyring
from models.throttle import PASSWORD
from models.vocabulary import new_id

password_history = sa.Table(
    "password_history",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("ix_password_history_account", "account_id", "id"),
    comment="the ones before the present one, as hashes; their ids sort by when they were replaced",
)

REMEMBERED: Final = 5
"""The present password and those before it that may not be chosen again."""


async def about(tx: Transaction, held: Any, now: datetime) -> About:
    """What the rules have to know of an account's owner."""
    home = sa.select(organization.organization).where(organization.organization.c.id == held.organization_id)
    row = (await tx.execute(home)).one()
    return About(
        sign_in_name=held.sign_in_name,
        display_name=held.display_name,
        organization_name=row.name,
        banned_words=organization.OrganizationSettings.of(row.settings).banned_words,
        second_factor=bool(verification.asked_for(await verification.of_account(tx, held.id), now)),
    )


async def earlier(tx: Transaction, held: Any) -> list[str]:
    """The hashes that a new password must not fit, the present one first."""
    statement = (
        sa.select(password_history.c.hash)
        .where(password_history.c.account_id == held.id)
        .order_by(password_history.c.id.desc())
        .limit(REMEMBERED - 1)
    )
    before = list((await tx.execute(statement)).scalars())
    return before if held.password_hash is None else [held.password_hash, *before]


async def replace(
    tx: Transaction,
    held: Any,
    new_hash: str,
    *,
    keys: Keyring,
    why: str,
    actor: Actor,
    now: datetime,
    told: str = "password.changed",
    until: datetime | None = None,
) -> int:
    """Give the account another password, and end all that stood on the old one. Its new generation.

    `held`: the account's row, locked. Whoever may stay signed in is signed in anew under that generation. `told`: the
    key of the notice. `until`: of one that its owner did not choose, and must change.
    """
    if held.password_hash is not None:
        await _remember(tx, held, now)
    await tx.execute(
        sa.update(account.account)
        .where(account.account.c.id == held.id)
        .values(password_hash=new_hash, must_change_password=until is not None, password_until=until)
    )
    await reset_link.end_all(tx, held.id, now)
    generation = await sign_out.end_all(tx, held, why, actor=actor, now=now)
    await _record(tx, held, "change", actor=actor, now=now, facts={"why": why})
    # From where others acted is not theirs to know.
    where = place.of(actor) if actor.id in {None, held.id} else {}
    await delivery.notify(
        tx,
        keys=keys,
        account=held,
        key=told,
        params=where,
        now=now,
        severity=Severity.WARNING,
    )
    return generation


async def open_road(tx: Transaction, held: Any, who: str) -> None:
    """No failures in a row count against the account any more, strangers' nor those of a browser it knows.

    `who`: the counter of its sign-in name.
    """
    await throttle.clear(tx, PASSWORD, who)
    for known in await browser.of_account(tx, held.organization_id, held.id):
        await throttle.clear(tx, PASSWORD, known.lane)


async def start_reset(tx: Transaction, held: Any, *, end_sessions: bool, actor: Actor, now: datetime) -> None:
    """Another one must be chosen, by whichever road its owner comes; `held`: the account's row, locked.

    Whoever has the sessions ended doubts who is behind them: then what is known now opens nothing any more, and only a
    link does.
    """
    if end_sessions:
        await drop(tx, held, why="administrator_reset", actor=actor, now=now)
        return
    await tx.execute(
        sa.update(account.account).where(account.account.c.id == held.id).values(must_change_password=True)
    )


async def drop(tx: Transaction, held: Any, *, why: str, actor: Actor, now: datetime) -> None:
    """Whoever knows it may be somebody else: it opens nothing any more, and all that it opened ends.

    Another one is chosen by a link, or handed over by an administrator. `held`: the account's row, locked.
    """
    if held.password_hash is not None:
        await _remember(tx, held, now)
        await tx.execute(sa.update(account.account).where(account.account.c.id == held.id).values(password_hash=None))
    await demand_change(tx, held, why=why, actor=actor, now=now)


async def demand_change(tx: Transaction, held: Any, *, why: str, actor: Actor, now: datetime) -> int:
    """From now on nothing is open to this account but choosing another password. Its new generation.

    `held`: who it is; the account's row is locked.
    """
    await tx.execute(
        sa.update(account.account).where(account.account.c.id == held.id).values(must_change_password=True)
    )
    generation = await sign_out.end_all(tx, held, why, actor=actor, now=now)
    await _record(tx, held, "demand_change", actor=actor, now=now, facts={"why": why})
    return generation


async def _remember(tx: Transaction, held: Any, now: datetime) -> None:
    """Keep the old hash, and only as many as are looked at."""
    await tx.execute(
        sa.insert(password_history).values(
            id=new_id(now), organization_id=held.organization_id, account_id=held.id, hash=held.password_hash
        )
    )
    newest = (
        sa.select(password_history.c.id)
        .where(password_history.c.account_id == held.id)
        .order_by(password_history.c.id.desc())
        .limit(REMEMBERED - 1)
        .scalar_subquery()
    )
    await tx.execute(
        sa.delete(password_history).where(
            password_history.c.account_id == held.id, password_history.c.id.not_in(newest)
        )
    )


async def _record(tx: Transaction, held: Any, verb: str, *, actor: Actor, now: datetime, facts: dict[str, Any]) -> None:
    await event.record(
        tx,
        organization_id=held.organization_id,
        action=f"account:password:{verb}",
        actor=actor,
        now=now,
        account_id=held.id,
        facts=facts,
    )
