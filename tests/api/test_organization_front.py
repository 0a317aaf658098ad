"""What an organization shows of itself over HTTP, on both databases: its pictures, and what it can and cannot see."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image

from api.pictures import BRAND_BYTES_LIMIT, LOGO_BYTES_LIMIT
from models.account import account
from models.event import event
from models.organization_policy import UNSEEN
from models.settings import RECENT_PROOF
from tests.api.house import Answer, House
from tests.api.test_apps import register
from tests.api.test_terms import answer as accept
from tests.api.test_terms import in_force, make, publish
from tests.people import Person, found

NEVER = ["calls_and_browsing", "mail_and_messages", "contacts", "calendar", "passwords", "pictures", "files"]
ALWAYS = ["owner", "device_name", "serial", "model", "maker", "os_version", "imei"]


@pytest.fixture
async def boss(house: House) -> Person:
    return await house.appoint("boss")


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire("anna")
    await house.open_session(person, "anna")
    return person


def png(width: int = 700, height: int = 200) -> bytes:
    into = io.BytesIO()
    Image.new("RGBA", (width, height), (10, 20, 30, 128)).save(into, "PNG")
    return into.getvalue()


async def give(house: House, kind: str, content: bytes, token: str = "boss", media_type: str = "image/png") -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": media_type, "X-Forwarded-For": "192.0.2.1"}
    path = f"/api/v1/organization/pictures/{kind}"
    async with house.client.put(path, data=io.BytesIO(content), headers=headers) as response:
        return response.status, await response.json()


async def fetch(
    house: House, kind: str, token: str = "anna", mark: str | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    headers = {"Authorization": f"Bearer {token}"} | ({} if mark is None else {"If-None-Match": mark})
    async with house.client.get(f"/api/v1/organization/pictures/{kind}", headers=headers) as response:
        return response.status, response.headers, await response.read()


async def test_a_logo_is_shown_to_everybody_and_asked_for_again_by_its_mark(
    house: House, boss: Person, anna: Person
) -> None:
    status, settings = await give(house, "logo-on-theme", png())

    front = (await house.ask("GET", "/organization", token="anna")).json["branding"]
    seen, headers, content = await fetch(house, "logo-on-theme")
    again, _, nothing = await fetch(house, "logo-on-theme", mark=headers["ETag"])

    assert (status, settings["branding"]) == (200, front)
    assert front["logo_on_theme"]["url"] == "/api/v1/organization/pictures/logo-on-theme"
    assert (front["logo_on_light"], front["image"]) == (None, None)
    assert (seen, headers["Content-Type"], headers["Cache-Control"]) == (200, "image/webp", "private, no-cache")
    assert Image.open(io.BytesIO(content)).size == (640, 183)
    assert (again, nothing) == (304, b"")
    (line,) = await house.rows(sa.select(event).where(event.c.action == "organization:picture:keep"))
    assert line.facts == {"picture": "logo_on_theme"}


async def test_another_takes_its_place_and_it_can_be_taken_away(house: House, boss: Person, anna: Person) -> None:
    await give(house, "image", png())
    _, first, _ = await fetch(house, "image")
    await give(house, "image", png(1200, 100))

    _, second, _ = await fetch(house, "image", mark=first["ETag"])
    gone = [await house.ask("DELETE", "/organization/pictures/image", token="boss") for _ in range(2)]

    assert second["ETag"] != first["ETag"]
    assert [answer.status for answer in gone] == [204, 204]
    assert (await fetch(house, "image"))[0] == 404
    assert (await house.events())["organization:picture:remove", "success", None] == 1


@pytest.mark.parametrize(
    ("kind", "content", "media_type", "status", "code"),
    [
        ("logo-on-light", png().ljust(LOGO_BYTES_LIMIT, b"\0"), "image/png", 200, None),
        ("logo-on-light", png().ljust(LOGO_BYTES_LIMIT + 1, b"\0"), "image/png", 422, "picture_refused"),
        ("image", png().ljust(BRAND_BYTES_LIMIT, b"\0"), "image/png", 200, None),
        ("image", png().ljust(BRAND_BYTES_LIMIT + 1, b"\0"), "image/png", 413, "too_large"),
        ("image", png(649), "image/png", 422, "picture_refused"),
        ("logo-on-light", b"<svg/>", "image/png", 422, "picture_refused"),
        ("logo-on-light", b"<svg/>", "image/svg+xml", 415, "unsupported_media_type"),
        ("logo", png(), "image/png", 404, "not_found"),
    ],
)
async def test_what_does_not_fit_is_refused(
    house: House, boss: Person, kind: str, content: bytes, media_type: str, status: int, code: str | None
) -> None:
    answered, body = await give(house, kind, content, media_type=media_type)

    assert (answered, body.get("code")) == (status, code)


async def test_only_a_global_administrator_with_a_fresh_proof_gives_one(
    house: House, boss: Person, anna: Person
) -> None:
    await house.appoint("helper", "user_administrator")

    assert (await give(house, "image", png(), "anna"))[0] == 403
    assert (await give(house, "image", png(), "helper"))[0] == 403
    house.clock.forward(RECENT_PROOF * 1.01)
    assert (await give(house, "image", png()))[1]["code"] == "proof_required"
    assert (await fetch(house, "image"))[0] == 404


async def test_a_picture_is_looked_into_for_nobody_who_may_not_give_one(
    house: House, boss: Person, anna: Person
) -> None:
    await house.appoint("helper", "user_administrator")
    await house.open_session(boss, "weak", strength=1)

    assert (await give(house, "image", b"no picture", "helper"))[1]["code"] == "not_allowed"
    assert (await give(house, "image", b"no picture", "weak"))[1]["code"] == "proof_required"
    assert (await give(house, "image", b"no picture"))[1]["code"] == "picture_refused"


async def test_another_organization_has_pictures_of_its_own(house: House, boss: Person) -> None:
    other = await found(house.db, house.clock.now, name="Other")
    await house.appoint("chief", organization_id=other)

    await give(house, "image", png())

    assert (await fetch(house, "image", "chief"))[0] == 404
    await house.ask("DELETE", "/organization/pictures/image", token="chief")
    assert (await fetch(house, "image", "boss"))[0] == 200


# What your organization can and cannot see


async def privacy(house: House, ownership: str, platform: str | None = None, token: str = "anna") -> Answer:
    more = "" if platform is None else f"&platform={platform}"
    return await house.ask("GET", f"/organization/privacy?ownership={ownership}{more}", token=token)


async def test_what_is_seen_turns_on_whose_device_it_is_and_what_is_not_never_does(
    house: House, boss: Person, anna: Person
) -> None:
    own, ours = await privacy(house, "personal"), await privacy(house, "corporate")

    assert [one["key"] for one in own.json["cannot_see"]] == [f"privacy.unseen.{what}" for what in NEVER]
    assert own.json["cannot_see"] == ours.json["cannot_see"]
    assert [one["key"].rpartition(".")[2] for one in own.json["can_see"]] == [*ALWAYS, "last_four_digits", "work_apps"]
    assert [one["key"].rpartition(".")[2] for one in ours.json["can_see"]] == [*ALWAYS, "phone_number", "all_apps"]
    assert own.json["can_see"][0]["text"] == "Whose device it is"
    assert own.json["about_platform"] is None


async def test_the_page_lists_the_connected_services_of_its_person_and_no_others(
    house: House, boss: Person, anna: Person
) -> None:
    """A1 M: connected services."""
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")
    ids = [(await register(house, name=name, client_id=name)).json["id"] for name in ("old", "new", "berts")]
    for at, app_id in enumerate((ids[0], ids[1], ids[0], ids[1])):
        house.clock.forward(at)
        assert (await house.ask("POST", f"/apps/{app_id}/uses", token="anna")).status == 200
    await house.ask("POST", f"/apps/{ids[2]}/uses", token="bert")

    shown = (await privacy(house, "personal")).json["connected_services"]

    assert [(one["app_id"], one["name"]) for one in shown] == [(ids[1], "new"), (ids[0], "old")]
    assert shown[0]["first_used_at"] < shown[0]["last_used_at"]
    everywhere = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="anna")
    assert everywhere.status == 204
    anew = (await house.sign_in(anna)).json["token"]
    assert (await privacy(house, "personal", token=anew)).json["connected_services"] == []


async def test_the_page_lists_the_terms_in_force_with_what_was_accepted_of_them_and_when(
    house: House, boss: Person, anna: Person
) -> None:
    """A1 M: the terms in force."""
    await accept(house, await in_force(house), "anna")
    accepted_at = house.clock.now
    (terms,) = (await privacy(house, "personal")).json["terms"]
    house.clock.forward(1)
    await publish(house, terms["id"], major=False)
    await make(house, name="Not yet published")

    (after,) = (await privacy(house, "personal")).json["terms"]

    assert (terms["version"], terms["accepted_version"], terms["status"]) == (1, 1, "current")
    assert (after["version"], after["accepted_version"], after["status"]) == (2, 1, "current")
    assert after["accepted_at"] == accepted_at.isoformat().replace("+00:00", "Z")


async def test_it_is_told_in_the_persons_language_with_the_organizations_own_words(
    house: House, boss: Person, anna: Person
) -> None:
    own = {"url": "https://example.org/privacy", "can_see": "**Where** it is", "cannot_see": "Your mood"}
    await house.ask("PATCH", "/organization/settings", {"privacy": own}, token="boss", headers={"If-Match": "*"})
    async with house.db.write() as tx:
        await tx.execute(sa.update(account).where(account.c.id == anna.id).values(language="nl"))

    told = (await privacy(house, "personal")).json

    assert told["cannot_see"][0]["text"] == "Wie u belt en welke pagina's u bezoekt"
    assert len(told["cannot_see"]) == len(UNSEEN)
    assert told["statement_url"] == own["url"]
    assert (told["also_can_see"], told["also_cannot_see"]) == (own["can_see"], own["cannot_see"])


async def test_a_kind_of_device_that_nobody_knows_has_nothing_special(house: House, anna: Person) -> None:
    told = await privacy(house, "corporate", "windows81")

    assert (told.status, told.json["platform"], told.json["about_platform"]) == (200, "windows81", None)
    assert (await privacy(house, "borrowed")).status == 422
