"""The apps of an organization: registered by its administrators, used by its people."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from api.operations import administration
from api.operations.session import hold_account
from models import app, event, role
from models.app import App
from models.database import Database, Transaction
from models.errors import NotFound, NotSignedIn, PreconditionFailed
from models.event import Actor
from models.session import Who
from models.vocabulary import new_id


async def page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[App]:
    async with db.read() as tx:
        return await app.page(tx, who.organization_id, after=after, limit=limit)


async def show(db: Database, who: Who, app_id: UUID) -> App:
    async with db.read() as tx:
        return await _ours(tx, who, app_id)


async def add(
    db: Database,
    who: Who,
    *,
    name: str,
    client_id: str,
    backchannel_logout_uri: str | None,
    session_required: bool,
    actor: Actor,
) -> App:
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.RULERS)
        await app.hold_names(tx, who.organization_id)
        made = App(
            id=new_id(now),
            organization_id=who.organization_id,
            name=name,
            client_id=client_id,
            backchannel_logout_uri=backchannel_logout_uri,
            session_required=session_required,
            version=1,
            created_at=now,
        )
        await app.add(tx, made)
        await _record(tx, who, made, "add", actor)
        return made


async def change(
    db: Database,
    who: Who,
    app_id: UUID,
    changes: dict[str, Any],
    *,
    matches: Callable[[str], bool],
    actor: Actor,
) -> App:
    async with db.write() as tx:
        await administration.must_be(tx, who, role.RULERS)
        await app.hold_names(tx, who.organization_id)
        held = await _ours(tx, who, app_id, hold=True)
        if not matches(held.mark):
            raise PreconditionFailed
        changed = replace(held, **changes)
        if changed == held:
            return held
        await app.change(tx, changed)
        names = sorted(name for name in changes if getattr(changed, name) != getattr(held, name))
        await _record(tx, who, changed, "change", actor, fields=names)
        return replace(changed, version=held.version + 1)


async def remove(db: Database, who: Who, app_id: UUID, *, actor: Actor) -> None:
    async with db.write() as tx:
        await administration.must_be(tx, who, role.RULERS)
        held = await _ours(tx, who, app_id, hold=True)
        await app.remove(tx, held.id)
        await _record(tx, who, held, "remove", actor)


async def use(db: Database, who: Who, app_id: UUID, *, actor: Actor) -> tuple[App, UUID]:
    """The person launches it from here: the app, and the `sid` of this sign-in there."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        # What ended meanwhile leaves no trace that nobody would be told of.
        if generation != who.session.generation:
            raise NotSignedIn
        held = await _ours(tx, who, app_id, keep=True)
        sid, first = await app.use(
            tx,
            organization_id=who.organization_id,
            account_id=who.account_id,
            app_id=held.id,
            session_id=who.session.id,
            generation=generation,
            now=now,
        )
        if first:  # once for each sign-in: a page that is opened again and again fills no record
            await event.record(
                tx,
                organization_id=who.organization_id,
                action="account:app:use",
                actor=actor,
                now=now,
                account_id=who.account_id,
                subject=("app", held.id),
            )
        return held, sid


async def _ours(tx: Transaction, who: Who, app_id: UUID, *, hold: bool = False, keep: bool = False) -> App:
    found = await app.by_id(tx, who.organization_id, app_id, hold=hold, keep=keep)
    if found is None:
        raise NotFound
    return found


async def _record(
    tx: Transaction, who: Who, held: App, verb: str, actor: Actor, *, fields: list[str] | None = None
) -> None:
    """Names of what was changed, and the address to which something is sent from now on."""
    facts = {"client_id": held.client_id, "backchannel_logout_uri": held.backchannel_logout_uri}
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"organization:app:{verb}",
        actor=actor,
        now=await tx.now(),
        subject=("app", held.id),
        facts=facts if fields is None else {**facts, "fields": fields},
    )
