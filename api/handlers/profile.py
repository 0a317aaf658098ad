"""The person's own page."""

from typing import Any

import msgspec

from api import render, schemas
from api.call import Call, Reply
from api.operations import profile
from api.operations.profile import Page
from api.pictures import MEDIA_TYPE


async def show(call: Call[None, None]) -> Reply:
    return _shown(await profile.show(call.needs.database, call.needs.keys, call.person))


async def change(call: Call[schemas.ProfileChanged, None]) -> Reply:
    needs, given = call.needs, given_of(call.body)
    changed = await profile.change(
        needs.database, needs.keys, call.person, given, matches=call.matches, actor=call.actor
    )
    return _shown(changed)


async def photo(call: Call[None, None]) -> Reply:
    held = await profile.photo_of(call.needs.database, call.person)
    # The browser keeps it for its person alone, and asks each time whether it still is the one.
    headers = {"ETag": held.mark, "Cache-Control": "private, no-cache"}
    if call.if_none_match == held.mark:
        return Reply(304, headers=headers)
    return Reply(200, held.content, headers={**headers, "Content-Type": MEDIA_TYPE})


async def keep_photo(call: Call[bytes, None]) -> Reply:
    needs = call.needs
    kept = await profile.keep_photo(
        needs.database, needs.keys, needs.pictures, call.person, call.body, actor=call.actor
    )
    return _shown(kept)


async def remove_photo(call: Call[None, None]) -> Reply:
    await profile.remove_photo(call.needs.database, call.person, actor=call.actor)
    return Reply(204)


def given_of(body: schemas.ProfileChanged) -> dict[str, Any]:
    """The fields that were sent, empty ones too."""
    return {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET}


def _shown(page: Page) -> Reply:
    return Reply(200, render.profile(page.profile, addresses=page.addresses), headers={"ETag": page.profile.mark})
