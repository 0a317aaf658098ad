""" "That was not me": the answer to a notice, by whoever got it, signed in or not."""

from datetime import datetime
from uuid import UUID

from models import account, browser, delivery, event, not_me, password, place
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import NotFound
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import hash_token


async def report(db: Database, keys: Keyring, token: str, *, actor: Actor) -> UUID:
    """Whose account it is. The same token again changes nothing more, and is answered alike. Raises NotFound."""
    async with db.write() as tx:
        found = await not_me.by_token(tx, hash_token(token))
        if found is None:
            raise NotFound
        await account.lock(tx, found.account_id)
        now = await tx.now()
        if not found.lives(now):
            raise NotFound
        if await not_me.use(tx, found, now):
            whose = Person(found.account_id, found.organization_id)
            await secure(tx, keys, whose, subject=("not_me", found.id), notice=found.notice, actor=actor, now=now)
        return found.account_id


async def secure(
    tx: Transaction,
    keys: Keyring,
    whose: Person,
    *,
    subject: tuple[str, UUID],
    notice: str,
    actor: Actor,
    now: datetime,
) -> None:
    """Everything that is done for an account which somebody else may be using; its row is held.

    The one place for it: what else an intruder could come back by is taken away here.
    """
    await password.demand_change(tx, whose, why="not_me", actor=actor, now=now)
    await browser.forget_all(tx, whose.id)
    await event.record(
        tx,
        organization_id=whose.organization_id,
        action="account:security:not_me",
        actor=actor,
        now=now,
        account_id=whose.id,
        subject=subject,
        facts={"notice": notice},
    )
    await delivery.notify(
        tx,
        keys=keys,
        account=whose,
        key="not_me.done",
        params=place.of(actor),
        now=now,
        severity=Severity.WARNING,
        not_me=False,
    )
