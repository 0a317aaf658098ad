"""The person's own page over HTTP, on both databases: what is shown, and what of it is theirs to set (A1)."""

import asyncio
import io
from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import pytest
import sqlalchemy as sa
from PIL import Image

from api.pictures import BYTES_LIMIT
from models.event import event
from models.organization import organization
from models.profile import FIELDS, profile
from models.verification import VerificationKind
from tests.api.house import Answer, House, give_address
from tests.people import Person, found

SYNCED = "2026-03-01T11:30:00+00:00"


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire("anna")
    await house.open_session(person, "t")
    return person


async def show(house: House, token: str = "t") -> Answer:
    return await house.ask("GET", "/profile", token=token)


async def change(house: House, body: dict[str, Any], match: str | None = "*", token: str = "t") -> Answer:
    return await house.ask("PATCH", "/profile", body, token=token, headers={} if match is None else {"If-Match": match})


async def fill(house: House, person: Person, values: dict[str, Any], masters: dict[str, Any]) -> None:
    async with house.db.write() as tx:
        await tx.execute(
            sa.insert(profile).values(
                account_id=person.id, organization_id=person.organization_id, values=values, masters=masters
            )
        )


async def hide(house: House, *sections: str) -> None:
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization).values(settings={"hidden_sections": list(sections)}))


async def test_every_field_tells_its_master_and_who_may_change_it(house: House, anna: Person) -> None:
    await fill(
        house,
        anna,
        {"job_title": "Nurse", "surname": "Jansen"},
        {"job": {"master": "hr", "last_synced_at": SYNCED}},
    )

    shown = await show(house)

    assert shown.status == 200
    assert shown.headers["Cache-Control"] == "no-store"
    assert (shown.json["account_id"], shown.json["sign_in_name"]) == (str(anna.id), "anna")
    assert set(shown.json["fields"]) == set(FIELDS)
    assert shown.json["fields"]["job_title"] == {
        "value": "Nurse",
        "master": "hr",
        "editable": False,
        "editable_by": "administrator",
        "last_synced_at": "2026-03-01T11:30:00Z",
        "next_sync_at": "2026-03-01T12:30:00Z",
    }
    assert shown.json["fields"]["surname"] == {
        "value": "Jansen",
        "master": "local",
        "editable": False,
        "editable_by": "administrator",
        "last_synced_at": None,
        "next_sync_at": None,
    }
    assert shown.json["fields"]["language"] == {
        "value": "en",
        "master": "user",
        "editable": True,
        "editable_by": "person",
        "last_synced_at": None,
        "next_sync_at": None,
    }


async def test_what_is_ones_own_is_set_and_counts_from_then_on(house: House, anna: Person) -> None:
    before = await show(house)
    wanted = {
        "language": "nl",
        "preferred_languages": ["nl-nl", "en"],
        "regional_format": "nl-nl",
        "time_zone": "Europe/Amsterdam",
    }

    changed = await change(house, wanted, before.headers["ETag"])

    assert changed.status == 200
    values = {name: changed.json["fields"][name]["value"] for name in wanted}
    assert values == {
        "language": "nl",
        "preferred_languages": ["nl-NL", "en"],
        "regional_format": "nl-NL",
        "time_zone": "Europe/Amsterdam",
    }
    assert changed.headers["ETag"] != before.headers["ETag"]
    assert (await show(house)).json == changed.json
    assert (await house.ask("GET", "/sessions/current", token="t")).json["account"]["language"] == "nl"
    refused = await house.ask("GET", f"/devices/{anna.id}", token="t")
    assert refused.json["detail"] != (await house.ask("GET", f"/devices/{anna.id}")).json["detail"]
    (line,) = await house.rows(sa.select(event).where(event.c.action == "account:profile:edit"))
    assert line.facts == {"fields": sorted(wanted)}, "names, never values"


@pytest.mark.parametrize(("sections", "shown"), [((), True), (("job",), True), (("identity",), False)])
async def test_who_somebody_is_is_hidden_from_their_sessions_as_well(
    house: House, anna: Person, sections: tuple[str, ...], shown: bool
) -> None:
    await hide(house, *sections)

    profile_page = await show(house)
    current = await house.ask("GET", "/sessions/current", token="t")
    (listed,) = (await house.ask("GET", "/sessions", token="t")).json["items"]
    signed_in = await house.sign_in(anna)

    assert ("display_name" in profile_page.json["fields"]) is shown
    for account in (current.json["account"], listed["account"], signed_in.json["session"]["account"]):
        assert ("display_name" in account) is shown
        assert account["sign_in_name"] == "anna"


async def test_null_empties_a_field(house: House, anna: Person) -> None:
    await change(house, {"time_zone": "UTC", "regional_format": "nl"})

    emptied = await change(house, {"time_zone": None})

    assert emptied.json["fields"]["time_zone"]["value"] is None
    assert emptied.json["fields"]["regional_format"]["value"] == "nl"
    (row,) = await house.rows(sa.select(profile))
    assert row._mapping["values"] == {"regional_format": "nl"}


async def test_the_same_again_is_no_change(house: House, anna: Person) -> None:
    first = await change(house, {"language": "nl"})
    second = await change(house, {"language": "nl"}, first.headers["ETag"])

    assert (second.status, second.json) == (200, first.json)
    assert (await house.events(anna))["account:profile:edit", "success", None] == 1


@pytest.mark.parametrize("master", ["local", "directory", "hr"])
async def test_what_is_not_ones_own_is_refused_and_nothing_else_is_taken_over(
    house: House, anna: Person, master: str
) -> None:
    await fill(house, anna, {}, {"job": {"master": master}})

    refused = await change(house, {"language": "nl", "job_title": "Director"})

    assert (refused.status, refused.json["code"]) == (403, "field_not_editable")
    assert (refused.json["field"], refused.json["master"]) == ("job_title", master)
    assert (await show(house)).json["fields"]["language"]["value"] == "en"
    assert (await house.events(anna))["account:access:deny", "failure", "field_not_editable"] == 1


@pytest.mark.rule("A1.1")
@pytest.mark.parametrize("field", ["roles", "blocked", "master", "is_operator"])
async def test_what_is_slipped_in_changes_nothing_and_is_written_down(house: House, anna: Person, field: str) -> None:
    refused = await change(house, {"language": "nl", field: ["administrator"]})

    assert (refused.status, refused.json["code"]) == (422, "invalid")
    assert (await show(house)).json["fields"]["language"]["value"] == "en"
    (line,) = await house.rows(sa.select(event).where(event.c.action == "account:access:deny"))
    assert (line.reason, line.facts) == ("unknown_field", {"route": "/api/v1/profile", "field": field})


async def test_a_name_that_could_be_a_secret_is_not_written_down(house: House, anna: Person) -> None:
    await change(house, {"q" * 65: 1})
    house.clock.forward(61)
    await change(house, {"Tk7-secret": 1})

    lines = await house.rows(sa.select(event.c.facts).where(event.c.action == "account:access:deny"))
    assert [row.facts["field"] for row in lines] == ["", ""]


@pytest.mark.rule("A1.2")
async def test_a_section_that_the_organization_hides_is_absent_from_the_answer(house: House, anna: Person) -> None:
    await fill(house, anna, {"job_title": "Nurse"}, {})
    await hide(house, "job", "contact")

    shown = await show(house)
    refused = await change(house, {"job_title": "Director"})

    assert set(shown.json["fields"]) == {
        name for name, field in FIELDS.items() if field.section.value not in {"job", "contact"}
    }
    assert "Nurse" not in str(shown.json)
    assert (refused.status, refused.json["field"], "master" in refused.json) == (403, "job_title", False)


async def test_every_broken_rule_is_named(house: House, anna: Person) -> None:
    refused = await change(house, {"language": "de", "time_zone": "Mars/Olympus", "regional_format": "nl"})

    assert refused.status == 422
    assert [one["field"] for one in refused.json["errors"]] == ["language", "time_zone"]
    assert "Olympus" not in str(refused.json)


async def test_an_edit_says_what_it_was_made_from(house: House, anna: Person) -> None:
    mark = (await show(house)).headers["ETag"]

    without = await change(house, {"language": "nl"}, None)
    first = await change(house, {"language": "nl"}, mark)
    late = await change(house, {"time_zone": "UTC"}, mark)

    assert [(one.status, one.json.get("code")) for one in (without, first, late)] == [
        (428, "precondition_required"),
        (200, None),
        (412, "precondition_failed"),
    ]


async def test_of_two_edits_at_once_one_has_seen_the_other(house: House, anna: Person) -> None:
    mark = (await show(house)).headers["ETag"]

    answers = await asyncio.gather(
        change(house, {"time_zone": "UTC"}, mark), change(house, {"regional_format": "nl"}, mark)
    )

    assert sorted(one.status for one in answers) == [200, 412]


async def test_somebody_elses_page_is_not_reached(house: House, anna: Person) -> None:
    elsewhere = await found(house.db, datetime(2026, 3, 1, tzinfo=UTC), name="Other")
    bert = await house.hire("bert", organization_id=elsewhere)
    await house.open_session(bert, "b")
    await change(house, {"time_zone": "UTC"})

    assert (await show(house, "b")).json["fields"]["time_zone"]["value"] is None
    assert (await house.ask("GET", "/profile")).status == 401


# Linked addresses


async def test_the_mail_addresses_that_are_linked_to_an_account_are_shown_to_its_person_masked(
    house: House, anna: Person
) -> None:
    """Confirmed ones, of no one else; a telephone is none."""
    bert = await house.hire("bert")
    method_id = await give_address(house, anna, VerificationKind.EMAIL, "anna@example.org")
    await give_address(house, anna, VerificationKind.PHONE, "+31612345678")
    await give_address(house, bert, VerificationKind.EMAIL, "bert@example.org")

    shown = (await show(house)).json
    changed = (await change(house, {"language": "nl"})).json

    assert shown["linked_addresses"] == [
        {
            "method_id": str(method_id),
            "value": "a•••@example.org",
            "master": "user",
            "editable": False,
            "editable_by": "person",
            "last_synced_at": None,
            "confirmed_at": "2026-02-28T12:00:00Z",
        }
    ]
    assert changed["linked_addresses"] == shown["linked_addresses"]
    refused = await change(house, {"linked_addresses": []})
    assert refused.status == 422
    await hide(house, "contact")
    assert "linked_addresses" not in (await show(house)).json


# The photo


async def give(house: House, content: bytes, kind: str = "image/png", token: str = "t") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind, "X-Forwarded-For": "192.0.2.1"}
    async with house.client.put("/api/v1/profile/photo", data=io.BytesIO(content), headers=headers) as response:
        return response.status, await response.json()


async def look(house: House, token: str = "t", **headers: str) -> tuple[int, bytes, Any]:
    headers |= {"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.1"}
    async with house.client.get("/api/v1/profile/photo", headers=headers) as response:
        return response.status, await response.read(), response.headers


def png(colour: str = "red") -> bytes:
    into = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(into, "PNG")
    return into.getvalue()


async def test_a_photo_is_given_looked_at_and_taken_away(house: House, anna: Person) -> None:
    before = (await show(house)).json
    status, after = await give(house, png())
    looked = await look(house)

    own = {"master": "user", "editable": True, "editable_by": "person", "last_synced_at": None}
    assert before["photo"] == {"url": None, "changed_at": None, **own}
    assert (status, after["photo"]) == (
        200,
        {"url": "/api/v1/profile/photo", "changed_at": "2026-03-01T12:00:00Z", **own},
    )
    assert (looked[0], looked[2]["Content-Type"]) == (200, "image/jpeg")
    assert looked[2]["X-Content-Type-Options"] == "nosniff"
    assert looked[2]["Cache-Control"] == "private, no-cache"
    assert Image.open(io.BytesIO(looked[1])).size == (60, 40)
    assert (await house.ask("DELETE", "/profile/photo", token="t")).status == 204
    assert (await house.ask("DELETE", "/profile/photo", token="t")).status == 204, "taken away twice is away"
    assert (await look(house))[0] == 404
    assert (await house.events(anna))["account:profile:edit", "success", None] == 2


async def test_a_photo_that_is_known_is_not_sent_again(house: House, anna: Person) -> None:
    await give(house, png())
    mark = (await look(house))[2]["ETag"]

    known = await look(house, **{"If-None-Match": mark})
    await give(house, png("blue"))
    changed = await look(house, **{"If-None-Match": mark})

    assert (known[0], known[1]) == (304, b"")
    assert (changed[0], changed[2]["ETag"] == mark) == (200, False)


async def test_what_is_no_photo_is_refused_and_the_earlier_one_stays(house: House, anna: Person) -> None:
    await give(house, png())
    earlier = (await look(house))[1]

    assert [
        (status, problem["code"], problem.get("reason"))
        for status, problem in (
            await give(house, b"<svg/>"),
            await give(house, b""),
            await give(house, png(), "image/gif"),
            await give(house, png(), "application/json"),
            await give(house, bytes(BYTES_LIMIT + 1)),
            await give(house, bytes(BYTES_LIMIT)),
        )
    ] == [
        (422, "picture_refused", "unreadable"),
        (422, "picture_refused", "unreadable"),
        (415, "unsupported_media_type", None),
        (415, "unsupported_media_type", None),
        (413, "too_large", None),
        (422, "picture_refused", "unreadable"),
    ]
    assert (await look(house))[1] == earlier


async def test_where_photos_are_hidden_there_are_none(house: House, anna: Person) -> None:
    await give(house, png())
    await hide(house, "photo")

    status, refused = await give(house, png("blue"))
    assert await give(house, b"no picture") == (403, refused | {"instance": ANY}), "it is not even looked into"

    assert "photo" not in (await show(house)).json
    assert (await look(house))[0] == 404
    assert (status, refused["code"], refused["field"]) == (403, "field_not_editable", "photo")


async def test_a_photo_is_its_persons_alone(house: House, anna: Person) -> None:
    await give(house, png())
    await house.open_session(await house.hire("bert"), "b")

    assert (await look(house, "b"))[0] == 404
    assert (await look(house, "nobody"))[0] == 401
