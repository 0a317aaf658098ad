"""An organization's settings: what its people are shown, and what its administrators decide."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from api import render, schemas
from api.call import Call, Reply
from api.operations import organization
from api.pictures import BRAND_MEDIA_TYPE
from models.errors import NotFound
from models.organization import BannedWords
from models.organization_change import ActChange, Change, Decided
from models.organization_picture import PictureKind
from models.organization_policy import DEVICES, PASSCODE, Hidden
from models.vocabulary import Proof

_GROUPS: Final = ("contact", "privacy", "branding", "privacy_contact")


async def front(call: Call[None, None]) -> Reply:
    decided = await organization.show(call.needs.database, call.person)
    return Reply(200, render.organization_front(decided))


async def show(call: Call[None, None]) -> Reply:
    return _shown(await organization.show(call.needs.database, call.person))


async def change(call: Call[schemas.OrganizationSettingsChanged, None]) -> Reply:
    needs = call.needs
    changed = await organization.change(
        needs.database, needs.platforms, call.person, _wanted(call.body), matches=call.matches, actor=call.actor
    )
    return _shown(changed)


async def show_words(call: Call[None, None]) -> Reply:
    return _words(await organization.show_words(call.needs.database, call.person))


async def change_words(call: Call[schemas.BannedWordsChanged, None]) -> Reply:
    wanted = BannedWords.of(call.body.words)
    changed = await organization.change_words(
        call.needs.database, call.person, wanted, matches=call.matches, actor=call.actor
    )
    return _words(changed)


def _words(words: BannedWords) -> Reply:
    return Reply(200, schemas.BannedWords(words=list(words.words)), headers={"ETag": words.mark})


async def picture(call: Call[None, None]) -> Reply:
    held = await organization.picture_of(call.needs.database, call.person, _kind(call))
    # Each browser keeps it for its person alone, and asks each time whether it still is the one.
    headers = {"ETag": held.mark, "Cache-Control": "private, no-cache"}
    if call.if_none_match == held.mark:
        return Reply(304, headers=headers)
    return Reply(200, held.content, headers={**headers, "Content-Type": BRAND_MEDIA_TYPE})


async def keep_picture(call: Call[bytes, None]) -> Reply:
    needs = call.needs
    kept = await organization.keep_picture(
        needs.database, needs.pictures, call.person, _kind(call), call.body, actor=call.actor
    )
    return _shown(kept)


async def remove_picture(call: Call[None, None]) -> Reply:
    await organization.remove_picture(call.needs.database, call.person, _kind(call), actor=call.actor)
    return Reply(204)


def _kind(call: Call[Any, Any]) -> PictureKind:
    """What is none names nothing."""
    try:
        return PictureKind(call.path["picture"].replace("-", "_"))
    except ValueError:
        raise NotFound from None


async def privacy(call: Call[None, schemas.PrivacyQuery]) -> Reply:
    query, who, needs = call.query, call.person, call.needs
    page = await organization.privacy(needs.database, who, call.browser_token)
    return Reply(200, render.privacy(page, query.platform, query.ownership, who.language, needs.texts))


def _wanted(given: schemas.OrganizationSettingsChanged) -> Change:
    sent = _sent(given)
    groups = {name: _sent(sent[name]) for name in _GROUPS if name in sent}
    hidden = sent.get("hidden_acts")
    return Change(
        **groups,
        hidden_acts=None if hidden is None else [Hidden(one.platform, one.ownership, one.act) for one in hidden],
        hidden_sections=sent.get("hidden_sections"),
        leaving_allowed=sent.get("leaving_allowed"),
        sign_out_proof=None if "sign_out_proof" not in sent else Proof(sent["sign_out_proof"]),
        passcode={name: value for name, value in sent.items() if name in PASSCODE},
        devices={name: value for name, value in sent.items() if name in DEVICES},
        acts=[_act(one) for one in sent.get("acts", ())],
    )


def _act(given: schemas.ActChanged) -> ActChange:
    return ActChange(given.act, {name: value for name, value in _sent(given).items() if name != "act"})


def _sent(given: msgspec.Struct) -> Mapping[str, Any]:
    """What is there, null among it."""
    values = {name: getattr(given, name) for name in given.__struct_fields__}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET}


def _shown(decided: Decided) -> Reply:
    return Reply(200, render.organization_settings(decided), headers={"ETag": decided.mark})
