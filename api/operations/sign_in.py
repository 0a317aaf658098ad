"""The person's sign-ins as they can see them, "this wasn't me", and the browsers that are known to the account."""

from datetime import datetime
from uuid import UUID

from api.operations import not_me
from api.operations.session import hold_row
from models import browser, event, sign_in
from models.browser import Browser
from models.database import Database
from models.delivery import Person
from models.errors import NotFound, NothingToDisown, NotSignedIn
from models.event import Actor
from models.sealed import Keyring
from models.session import Who, hash_token
from models.sign_in import SignIn


async def page(db: Database, who: Who, *, before: UUID | None, limit: int) -> list[SignIn]:
    async with db.read() as tx:
        return await sign_in.page(
            tx, who.organization_id, who.account_id, now=await tx.now(), before=before, limit=limit
        )


async def disown(db: Database, keys: Keyring, who: Who, line_id: UUID, *, actor: Actor) -> tuple[SignIn, list[UUID]]:
    """The line as it is then, and who is told of it, its owner first; said again, nothing happens, and nobody is."""
    async with db.write() as tx:
        held, watchers = await not_me.hold(tx, Person(who.account_id, who.organization_id))
        if held is None or held.blocked_at is not None or held.session_generation != who.session.generation:
            raise NotSignedIn
        line = await sign_in.by_id(tx, who.organization_id, who.account_id, line_id)
        if line is None:
            raise NotFound
        if not line.can_be_disowned:
            raise NothingToDisown
        now = await tx.now()
        told: list[UUID] = []
        if await sign_in.disown(tx, who.account_id, line_id, now):
            answered_at = held.secured_at if held.secured_at is not None and line.at < held.secured_at else None
            about = not_me.About("sign_in", ("sign_in", line_id), line.at, answered_at)
            told = await not_me.secure(tx, keys, held, watchers, about, actor=actor, now=now)
        after = await sign_in.by_id(tx, who.organization_id, who.account_id, line_id)
        return after or line, told


async def browsers(db: Database, who: Who, token: str | None) -> tuple[list[Browser], UUID | None, datetime]:
    """All that are known, which of them asks, and the moment."""
    async with db.read() as tx:
        now = await tx.now()
        found = await browser.of_account(tx, who.organization_id, who.account_id)
        asking = None if token is None else await browser.known(tx, who.account_id, hash_token(token))
        return found, None if asking is None else asking.id, now


async def forget_browser(db: Database, who: Who, browser_id: UUID, *, actor: Actor) -> None:
    """It gives up rights alone, so that no proof is asked for."""
    async with db.write() as tx:
        await hold_row(tx, who)
        now = await tx.now()
        if not await browser.forget(tx, who.organization_id, who.account_id, browser_id, now):
            raise NotFound
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="account:browser:forget",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("browser", browser_id),
        )
