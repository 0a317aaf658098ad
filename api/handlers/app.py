"""The apps of an organization, and the keys by which they know what we tell them."""

from typing import Any, Final

from msgspec import UNSET

from api import render, schemas
from api.call import Call, Reply
from api.operations import app, signing_key
from models.app import may_be_told_at
from models.device import clean_name
from models.errors import Invalid
from models.signing_key import READERS_KEEP

_PUBLIC: Final = {"Cache-Control": f"public, max-age={int(READERS_KEEP.total_seconds())}"}


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await app.page(call.needs.database, call.person, after=call.query.cursor, limit=limit)
    items = [render.app(one, call.person) for one in found]
    return Reply(200, schemas.AppPage(items=items, next_cursor=render.next_cursor([one.id for one in found], limit)))


async def show(call: Call[None, None]) -> Reply:
    found = await app.show(call.needs.database, call.person, call.id("app_id"))
    return Reply(200, render.app(found, call.person), headers={"ETag": found.mark})


async def add(call: Call[schemas.AppAdded, None]) -> Reply:
    given = call.body
    made = await app.add(
        call.needs.database,
        call.person,
        name=_name(given.name),
        client_id=given.client_id,
        backchannel_logout_uri=_uri(call, given.backchannel_logout_uri),
        session_required=given.session_required,
        actor=call.actor,
    )
    return Reply(201, render.app(made, call.person), headers={"ETag": made.mark, "Location": f"/api/v1/apps/{made.id}"})


async def change(call: Call[schemas.AppChanged, None]) -> Reply:
    given = call.body
    changes: dict[str, Any] = {}
    if given.name is not UNSET:
        changes["name"] = _name(given.name)
    if given.client_id is not UNSET:
        changes["client_id"] = given.client_id
    if given.backchannel_logout_uri is not UNSET:
        changes["backchannel_logout_uri"] = _uri(call, given.backchannel_logout_uri)
    if given.session_required is not UNSET:
        changes["session_required"] = given.session_required
    changed = await app.change(
        call.needs.database, call.person, call.id("app_id"), changes, matches=call.matches, actor=call.actor
    )
    return Reply(200, render.app(changed, call.person), headers={"ETag": changed.mark})


async def remove(call: Call[None, None]) -> Reply:
    await app.remove(call.needs.database, call.person, call.id("app_id"), actor=call.actor)
    return Reply(204)


async def use(call: Call[None, None]) -> Reply:
    held, sid = await app.use(call.needs.database, call.person, call.id("app_id"), actor=call.actor)
    body = schemas.AppUse(
        app_id=held.id,
        client_id=held.client_id,
        iss=call.needs.settings.public_url,
        sub=call.person.account_id,
        sid=sid,
    )
    return Reply(200, body)


async def keys(call: Call[None, None]) -> Reply:
    found = await signing_key.published(call.needs.database)
    # Whoever kept an empty set would refuse the first token.
    headers = _PUBLIC if found else {}
    return Reply(200, schemas.KeySet(keys=[dict(one.public) for one in found]), headers=headers)


def _name(text: str) -> str:
    name = clean_name(text)
    if name is None:
        raise Invalid(errors=[{"field": "name", "rule": "name"}])
    return name


def _uri(call: Call[Any, None], uri: str | None) -> str | None:
    if uri is not None and not may_be_told_at(uri, plain=not call.needs.settings.production):
        raise Invalid(errors=[{"field": "backchannel_logout_uri", "rule": "https_without_fragment"}])
    return uri
