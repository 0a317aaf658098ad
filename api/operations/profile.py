"""The person's own page: what their organization knows of them, and what of it they may set themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.operations.session import hold_account
from api.pictures import Pictures
from models import contact, event, photo, profile
from models.contact import Linked
from models.database import Database, Transaction
from models.errors import FieldNotEditable, NotFound, PreconditionFailed
from models.event import Actor
from models.photo import Photo
from models.profile import Editor, Profile
from models.sealed import Keyring
from models.session import Who


@dataclass(frozen=True, slots=True)
class Page:
    """`addresses`: the mail addresses that are linked to the account; None where the organization hides such things."""

    profile: Profile
    addresses: tuple[Linked, ...] | None


async def _page(tx: Transaction, keys: Keyring, held: Profile) -> Page:
    return Page(held, await contact.mails_of(tx, held.account_id, keys) if held.shows_addresses else None)


async def show(db: Database, keys: Keyring, who: Who) -> Page:
    async with db.read() as tx:
        return await _page(tx, keys, await profile.of_account(tx, who.account_id))


async def change(
    db: Database, keys: Keyring, who: Who, given: Mapping[str, Any], *, matches: Callable[[str], bool], actor: Actor
) -> Page:
    """All of it or nothing. `matches`: whether a mark is the one it was made from."""
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        held = await profile.of_account(tx, who.account_id)
        if not matches(held.mark):
            raise PreconditionFailed
        changes = profile.read_changes(held, given, Editor.PERSON)
        if not changes:
            return await _page(tx, keys, held)
        await profile.write(tx, held, changes)
        await _record(tx, held, sorted(changes), actor=actor, now=now)
        return await _page(tx, keys, await profile.of_account(tx, who.account_id))


async def photo_of(db: Database, who: Who) -> Photo:
    """Raises NotFound: they have given none, or their organization shows none."""
    async with db.read() as tx:
        held = await profile.of_account(tx, who.account_id)
        found = await photo.of_account(tx, who.account_id) if held.shows_photo else None
    if found is None:
        raise NotFound
    return found


async def keep_photo(db: Database, keys: Keyring, pictures: Pictures, who: Who, given: bytes, *, actor: Actor) -> Page:
    """Made anew before anything is held, and only where it would be shown: it may take a second."""
    async with db.read() as tx:
        _must_show_photos(await profile.of_account(tx, who.account_id))
    content = await pictures.remake(given)
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        held = await profile.of_account(tx, who.account_id)
        _must_show_photos(held)
        await photo.keep(tx, organization_id=held.organization_id, account_id=held.account_id, content=content, now=now)
        await _record(tx, held, ["photo"], actor=actor, now=now)
        return await _page(tx, keys, await profile.of_account(tx, who.account_id))


def _must_show_photos(held: Profile) -> None:
    """Raises FieldNotEditable."""
    if not held.shows_photo:
        raise FieldNotEditable(field="photo")


async def remove_photo(db: Database, who: Who, *, actor: Actor) -> None:
    """Taken away twice is away."""
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        if await photo.remove(tx, who.account_id):
            held = await profile.of_account(tx, who.account_id)
            await _record(tx, held, ["photo"], actor=actor, now=now)


async def _record(tx: Transaction, held: Profile, fields: list[str], *, actor: Actor, now: datetime) -> None:
    """Names alone: what somebody is called is not the record's to keep."""
    await event.record(
        tx,
        organization_id=held.organization_id,
        action="account:profile:edit",
        actor=actor,
        now=now,
        account_id=held.account_id,
        facts={"fields": fields},
    )
