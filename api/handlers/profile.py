"""The person's own page."""

import msgspec

from api import render, schemas
from api.call import Call, Reply
from api.operations import profile
from models.profile import Profile


async def show(call: Call[None, None]) -> Reply:
    return _shown(await profile.show(call.needs.database, call.person))


async def change(call: Call[schemas.ProfileChanged, None]) -> Reply:
    given = {
        name: value for name in call.body.__struct_fields__ if (value := getattr(call.body, name)) is not msgspec.UNSET
    }
    return _shown(await profile.change(call.needs.database, call.person, given, matches=call.matches, actor=call.actor))


def _shown(held: Profile) -> Reply:
    return Reply(200, render.profile(held), headers={"ETag": held.mark})
