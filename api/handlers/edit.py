"""Somebody's profile, for the administrators who keep it."""

from collections.abc import Callable

from api import render, schemas
from api.call import Call, Reply
from api.handlers.profile import given_of
from api.operations import authentication_contact, edit
from api.pictures import MEDIA_TYPE
from models.errors import DomainError
from models.profile import Profile
from models.verification import VerificationKind


async def show(call: Call[None, None]) -> Reply:
    return _shown(await edit.show(call.needs.database, call.person, call.id("account_id")))


async def change(call: Call[schemas.AccountProfileChanged, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    page = await edit.change(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        account_id,
        given_of(call.body),
        matches=call.matches,
        actor=call.actor,
    )
    if isinstance(page, DomainError):
        raise page
    needs.door.nudge(account_id)
    return _shown(page)


async def change_many(call: Call[schemas.ProfilesChanged, None]) -> Reply:
    needs = call.needs
    rows = [edit.Row(one.account_id, _matching(one.etag), given_of(one.changes)) for one in call.body.rows]
    done = await edit.change_many(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        rows,
        route="/api/v1/accounts/edit",
        actor=call.actor,
    )
    for one in done:
        if one.changed:
            needs.door.nudge(one.account_id)
    items = [render.profile_edited(one, call.person.language, needs.texts) for one in done]
    return Reply(200, schemas.ProfilesEdited(items=items, next_cursor=None))


async def photo(call: Call[None, None]) -> Reply:
    held = await edit.photo_of(call.needs.database, call.person, call.id("account_id"))
    headers = {"ETag": held.mark, "Cache-Control": "private, no-cache"}
    if call.if_none_match == held.mark:
        return Reply(304, headers=headers)
    return Reply(200, held.content, headers={**headers, "Content-Type": MEDIA_TYPE})


async def keep_photo(call: Call[bytes, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    page = await edit.keep_photo(needs.database, needs.pictures, call.person, account_id, call.body, actor=call.actor)
    needs.door.nudge(account_id)
    return _shown(page)


async def remove_photo(call: Call[None, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    await edit.remove_photo(needs.database, call.person, account_id, actor=call.actor)
    needs.door.nudge(account_id)
    return Reply(204)


async def contacts(call: Call[None, None]) -> Reply:
    needs = call.needs
    found = await authentication_contact.page(needs.database, needs.keys, call.person, call.id("account_id"))
    items = [render.authentication_contact(one) for one in found]
    return Reply(200, schemas.AuthenticationContacts(items=items, next_cursor=None))


async def add_contact(call: Call[schemas.AuthenticationContactGiven, None]) -> Reply:
    needs, given, account_id = call.needs, call.body, call.id("account_id")
    added = await authentication_contact.add(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        account_id,
        kind=VerificationKind(given.kind),
        given=given.address,
        label=given.label,
        replaces=given.replaces,
        actor=call.actor,
    )
    needs.door.nudge(account_id)
    return Reply(201, render.authentication_contact(added))


async def remove_contact(call: Call[None, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    await authentication_contact.remove(
        needs.database, needs.keys, call.person, account_id, call.id("method_id"), actor=call.actor
    )
    needs.door.nudge(account_id)
    return Reply(204)


def _matching(etag: str) -> Callable[[str], bool]:
    """What `If-Match` says of one thing, a row says of its own."""
    return lambda mark: etag in {mark, "*"}


def _shown(held: Profile) -> Reply:
    return Reply(200, render.profile(held, administrator=True), headers={"ETag": held.mark})
