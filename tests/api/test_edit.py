"""Profiles as administrators edit them, over HTTP, on both databases (A10, A15)."""

import asyncio
import io
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import account, contact, organization, session, verification
from models.delivery import Delivery, delivery
from models.event import event
from models.profile import FIELDS, Editor, profile
from models.throttle import PASSWORD
from models.verification import VerificationKind
from models.vocabulary import new_id
from tests.api.house import Answer, House, give_address
from tests.api.test_profile import fill, hide, png
from tests.models.test_profile import MOST
from tests.people import Person, found

GLOBAL = "global_administrator"
SYNCED = "2026-03-01T11:50:00+00:00"


@pytest.fixture
async def boss(house: House) -> Person:
    """A global administrator, signed in with `boss`."""
    return await house.appoint()


@pytest.fixture
async def anna(house: House) -> Person:
    """Signed in with `anna`."""
    person = await house.hire("anna@example.org")
    await house.open_session(person, "anna")
    return person


async def show(house: House, whose: Person, token: str = "boss") -> Answer:
    return await house.ask("GET", f"/accounts/{whose.id}/profile", token=token)


async def edit(house: House, whose: Person, token: str = "boss", mark: str | None = "*", **changes: Any) -> Answer:
    headers = {} if mark is None else {"If-Match": mark}
    return await house.ask("PATCH", f"/accounts/{whose.id}/profile", changes, token=token, headers=headers)


def value(shown: Answer, name: str) -> Any:
    return shown.json["fields"][name]["value"]


async def sync(house: House, whose: Person, *sections: str) -> None:
    """These come from the directory from now on."""
    await fill(house, whose, {}, {one: {"master": "directory", "last_synced_at": SYNCED} for one in sections})


async def mailed(house: House) -> list[tuple[str, str]]:
    """What was sent, and to whom."""
    sent = [Delivery.of(row) for row in await house.rows(sa.select(delivery))]
    return sorted((one.key, one.open(house.keys)[0]) for one in sent)


# What is written


async def test_what_an_administrator_writes_is_what_the_person_sees(house: House, boss: Person, anna: Person) -> None:
    before = await show(house, anna)
    wanted = {
        "display_name": "Anna Jansen",
        "surname": "Jansen",
        "job_title": "Nurse",
        "manager": str(boss.id),
        "street": "Keizersgracht 1\nthird floor",
        "mobile_phone": "+31 612345678",
        "mail_nickname": "anna.jansen",
        "usage_location": "NL",
    }

    edited = await edit(house, anna, mark=before.headers["ETag"], **wanted)

    assert edited.status == 200
    assert {name: value(edited, name) for name in wanted} == wanted
    assert edited.headers["ETag"] != before.headers["ETag"]
    assert edited.json == (await show(house, anna)).json
    theirs = await house.ask("GET", "/profile", token="anna")
    assert {name: value(theirs, name) for name in wanted} == wanted
    assert [
        one["sign_in_name"]
        for one in (await house.ask("GET", "/accounts?begins_with=anna j", token="boss")).json["items"]
    ]
    (line,) = await house.rows(sa.select(event).where(event.c.action == "account:profile:edit"))
    assert (line.facts, line.actor_id, line.account_id) == ({"fields": sorted(wanted)}, boss.id, anna.id)
    assert await house.told(anna) == ["profile.edited"]


async def test_what_is_hidden_from_the_person_is_shown_to_who_keeps_it(
    house: House, boss: Person, anna: Person
) -> None:
    await hide(house, "job")

    edited = await edit(house, anna, job_title="Nurse")

    assert value(edited, "job_title") == "Nurse"
    assert "job_title" not in (await house.ask("GET", "/profile", token="anna")).json["fields"]


@pytest.mark.rule("A10.3")
async def test_a10_t_every_field_is_taken_to_its_limit_and_no_further(house: House, boss: Person, anna: Person) -> None:
    for name, most in MOST.items():
        assert value(await edit(house, anna, **{name: "é" * most}), name) == "é" * most
        over = await edit(house, anna, **{name: "é" * (most + 1)})
        assert (over.status, over.json["code"]) == (422, "invalid"), name
    known = {name for name, one in FIELDS.items() if one.editor is Editor.ADMINISTRATOR}
    assert known == {*MOST, "manager", "usage_location"}


@pytest.mark.rule("A10.4")
@pytest.mark.parametrize("country", ["uk", "UK", "EU", "XX", "N", "NLD", "nL\u0000"])
async def test_a10_t_uk_is_no_country(house: House, boss: Person, anna: Person, country: str) -> None:
    refused = await edit(house, anna, usage_location=country)

    assert (refused.status, refused.json["code"]) == (422, "invalid")


@pytest.mark.rule("A10.5")
@pytest.mark.parametrize("country", ["gb", "Gb", " GB "])
async def test_a10_t_a_country_in_lower_case_is_the_same(
    house: House, boss: Person, anna: Person, country: str
) -> None:
    assert value(await edit(house, anna, usage_location=country), "usage_location") == "GB"


async def test_a_manager_is_another_account_of_the_organization(house: House, boss: Person, anna: Person) -> None:
    stranger = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    gone = await house.hire("gone")
    await house.ask("DELETE", f"/accounts/{gone.id}", token="boss")

    for manager in (stranger.id, gone.id, anna.id, new_id(house.clock.now), "boss"):
        refused = await edit(house, anna, manager=str(manager))
        assert (refused.status, refused.json["errors"][0]["field"]) == (422, "manager")
    assert (await edit(house, anna, manager=str(boss.id))).status == 200
    assert value(await edit(house, anna, manager=None), "manager") is None


@pytest.mark.rule("A1.1")
@pytest.mark.parametrize(
    "field", ["roles", "blocked", "master", "is_operator", "organization_id", "password_hash", "id"]
)
async def test_a1_t_mass_assignment_changes_nothing_and_is_written_down(
    house: House, boss: Person, anna: Person, field: str
) -> None:
    refused = await edit(house, anna, surname="Jansen", **{field: ["x"]})

    assert (refused.status, refused.json["code"]) == (422, "invalid")
    assert value(await show(house, anna), "surname") is None
    (line,) = await house.rows(sa.select(event).where(event.c.action == "account:access:deny"))
    assert (line.reason, line.facts["field"]) == ("unknown_field", field)


@pytest.mark.parametrize("name", [one.name for one in FIELDS.values() if one.editor is Editor.PERSON])
async def test_what_is_the_persons_own_nobody_else_sets(house: House, boss: Person, anna: Person, name: str) -> None:
    refused = await edit(house, anna, surname="Jansen", **{name: None})

    assert (refused.status, refused.json["code"], refused.json["master"]) == (403, "field_not_editable", "user")
    assert value(await show(house, anna), "surname") is None


# What another system masters (document 002: with a directory of one's own, and without)


async def test_document_002_in_the_cloud_everything_is_edited_here(house: House, boss: Person, anna: Person) -> None:
    shown = (await show(house, anna)).json["fields"]
    assert {one["master"] for name, one in shown.items() if FIELDS[name].editor is Editor.ADMINISTRATOR} == {"local"}
    assert all(one["editable"] == (one["editable_by"] == "administrator") for one in shown.values())

    edited = await edit(house, anna, surname="Jansen", job_title="Nurse", city="Utrecht", usage_location="NL")

    assert [value(edited, name) for name in ("surname", "job_title", "city")] == ["Jansen", "Nurse", "Utrecht"]


async def test_document_002_synchronized_the_source_is_edited_and_the_next_cycle_waited_for(
    house: House, boss: Person, anna: Person
) -> None:
    await sync(house, anna, "identity", "job", "contact", "settings")

    shown = (await show(house, anna)).json["fields"]
    refused = await edit(house, anna, surname="Jansen")
    renamed = await edit(house, anna, sign_in_name="anna.jansen@example.org")
    settings = await edit(house, anna, usage_location="NL")
    blocked = await house.ask("POST", f"/accounts/{anna.id}/block", {"reason": "x"}, token="boss")

    assert shown["surname"] == {
        "value": None,
        "master": "directory",
        "editable": False,
        "editable_by": "administrator",
        "last_synced_at": "2026-03-01T11:50:00Z",
        "next_sync_at": "2026-03-01T12:20:00Z",
    }
    for one in (refused, renamed):
        assert (one.status, one.json["code"], one.json["master"]) == (409, "mastered_elsewhere", "directory")
        assert (one.json["last_synced_at"], one.json["next_sync_at"]) == (
            "2026-03-01T11:50:00Z",
            "2026-03-01T12:20:00Z",
        )
    assert refused.json["field"] == "surname"
    assert (settings.status, value(settings, "usage_location")) == (200, "NL"), "settings are ours, whoever masters"
    assert blocked.status == 200


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (timedelta(minutes=19, seconds=59), "2026-03-01T12:20:00Z"),
        (timedelta(minutes=20), "2026-03-01T12:50:00Z"),
        (timedelta(days=8), "2026-03-09T12:20:00Z"),
    ],
)
async def test_the_next_cycle_is_the_first_that_is_still_to_come(
    house: House, boss: Person, anna: Person, later: timedelta, expected: str
) -> None:
    await sync(house, anna, "job")
    house.clock.now += later
    reader = await house.hire("reader", roles=("directory_reader",))
    await house.open_session(reader, "reader")

    shown = await show(house, anna, token="reader")

    assert shown.json["fields"]["job_title"]["next_sync_at"] == expected


async def test_what_the_other_system_says_of_its_next_cycle_counts(house: House, boss: Person, anna: Person) -> None:
    told = {"master": "hr", "last_synced_at": SYNCED, "next_sync_at": "2026-03-02T03:00:00+00:00"}
    await fill(house, anna, {}, {"job": told, "contact": {"master": "hr"}})

    shown = (await show(house, anna)).json["fields"]

    assert shown["job_title"]["next_sync_at"] == "2026-03-02T03:00:00Z"
    assert shown["city"]["next_sync_at"] is None, "nothing has ever come"


@pytest.mark.rule("A10.8")
async def test_a10_t_one_field_of_ours_and_one_of_the_directorys_and_neither_is_changed(
    house: House, boss: Person, anna: Person
) -> None:
    await sync(house, anna, "job")

    refused = await edit(house, anna, surname="Jansen", job_title="Nurse")

    assert (refused.status, refused.json["code"], refused.json["field"]) == (409, "mastered_elsewhere", "job_title")
    assert value(await show(house, anna), "surname") is None
    assert await house.told(anna) == []


# Two at once


@pytest.mark.rule("A10.7")
async def test_a10_t_of_two_administrators_who_edit_at_once_one_has_not_seen_the_other(
    house: House, boss: Person, anna: Person
) -> None:
    await house.appoint("second", "user_administrator")
    mark = (await show(house, anna)).headers["ETag"]

    answers = await asyncio.gather(
        edit(house, anna, mark=mark, surname="Jansen"), edit(house, anna, "second", mark=mark, surname="De Vries")
    )

    assert sorted(one.status for one in answers) == [200, 412]
    won = next(one for one in answers if one.status == 200)
    assert value(await show(house, anna), "surname") == value(won, "surname")
    assert (await edit(house, anna, mark=None, surname="x")).status == 428


@pytest.mark.rule("A10.2")
async def test_a10_t_a_role_that_is_granted_between_the_read_and_the_write_counts_for_an_edit(
    house: House, boss: Person, anna: Person
) -> None:
    """The edit waits, seen by the database itself, for an account that is being made a global administrator's."""
    await house.appoint("user", "user_administrator")
    async with house.db.write() as tx:
        await account.lock(tx, anna.id)
        waiting = asyncio.ensure_future(edit(house, anna, "user", surname="Jansen"))
        await house.until_it_waits(waiting)
        await organization.set_roles(tx, anna.organization_id, anna.id, (GLOBAL,))

    assert (await waiting).status == 403
    assert value(await show(house, anna), "surname") is None


@pytest.mark.rule("A10.2")
async def test_a10_t_a_role_that_is_taken_between_the_read_and_the_write_counts_for_an_edit(
    house: House, boss: Person, anna: Person
) -> None:
    user = await house.appoint("user", "user_administrator")
    async with house.db.write() as tx:
        await account.lock(tx, user.id)
        waiting = asyncio.ensure_future(edit(house, anna, "user", surname="Jansen"))
        await house.until_it_waits(waiting)
        await organization.set_roles(tx, user.organization_id, user.id, ())

    assert (await waiting).status == 403
    assert value(await show(house, anna), "surname") is None


# Who may


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("user_administrator", 200),
        (GLOBAL, 200),
        ("helpdesk_administrator", 403),
        ("authentication_administrator", 403),
        ("privileged_role_administrator", 403),
        ("directory_reader", 403),
    ],
)
async def test_profiles_are_edited_by_two_roles(house: House, anna: Person, role: str, status: int) -> None:
    await house.appoint("x", role)

    assert (await edit(house, anna, "x", surname="Jansen")).status == status


async def test_above_oneself_nobody_edits_and_one_s_own_page_an_administrator_may(house: House, boss: Person) -> None:
    user = await house.appoint("user", "user_administrator")

    assert (await edit(house, boss, "user", surname="x")).status == 403
    assert (await edit(house, user, "user", surname="Bakker")).status == 200
    assert (await edit(house, boss, surname="Bos")).status == 200
    assert await house.told(boss) == [], "nobody is told what they did themselves"


async def test_an_edit_takes_two_factors_shown_within_a_quarter_of_an_hour(
    house: House, boss: Person, anna: Person
) -> None:
    await house.open_session(boss, "weak", strength=1)
    weak = await edit(house, anna, "weak", surname="x")
    house.clock.now += timedelta(minutes=15)
    in_time = await edit(house, anna, surname="x")
    house.clock.now += timedelta(microseconds=1)
    await house.ask("GET", "/sessions/current", token="boss")
    late = await edit(house, anna, surname="y")

    assert [one.status for one in (weak, in_time, late)] == [401, 200, 401]
    assert late.json["code"] == "proof_required"


async def test_tenants_apart_a_page_of_another_organization_is_not_there(house: House, boss: Person) -> None:
    zoe = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    nobody = replace(zoe, id=new_id(house.clock.now))

    for ask in (
        show,
        lambda h, w: edit(h, w, surname="x"),
        lambda h, w: h.ask("GET", f"/accounts/{w.id}/profile/photo", token="boss"),
        lambda h, w: h.ask("DELETE", f"/accounts/{w.id}/profile/photo", token="boss"),
        contacts,
        lambda h, w: set_contact(h, w, "email", "x@example.org"),
    ):
        theirs, missing = await ask(house, zoe), await ask(house, nobody)
        assert (theirs.status, missing.status) == (404, 404)
        assert {**theirs.json, "instance": ""} == {**missing.json, "instance": ""}


# The sign-in name


async def test_another_sign_in_name_counts_from_now_on_and_is_told_at_both_addresses(
    house: House, boss: Person, anna: Person
) -> None:
    edited = await edit(house, anna, sign_in_name="Anna.Jansen@Example.org")

    assert edited.json["sign_in_name"] == "anna.jansen@example.org"
    assert await mailed(house) == [
        ("account.renamed", "anna.jansen@example.org"),
        ("account.renamed", "anna@example.org"),
    ]
    assert "account.renamed" in await house.told(anna)
    assert (await house.sign_in(anna)).status == 401
    assert (await house.sign_in(replace(anna, name="anna.jansen@example.org"))).status == 201


@pytest.mark.parametrize("many", [False, True])
async def test_what_strangers_guessed_at_a_name_before_it_was_somebody_s_does_not_shut_them_out(
    house: House, boss: Person, anna: Person, many: bool
) -> None:
    name = "anna.jansen@example.org"
    for n in range(PASSWORD.free):
        body = {"account": name, "password": "wrong"}
        assert (await house.ask("POST", "/sessions", body, address=f"198.51.{n}.1")).status == 401
    assert (await house.sign_in(replace(anna, name=name))).status == 429

    if many:
        edited = await edit_many(house, [row(anna, sign_in_name=name)])
    else:
        edited = await edit(house, anna, sign_in_name=name)

    assert edited.status == 200, edited.json
    assert (await house.sign_in(replace(anna, name=name))).status == 201


async def test_a_sign_in_name_is_somebody_s_alone(house: House, boss: Person, anna: Person) -> None:
    await house.hire("zoe@example.org", organization_id=await found(house.db, house.clock.now))

    taken = await edit(house, anna, sign_in_name="ZOE@example.org", surname="Jansen")
    broken = await edit(house, anna, sign_in_name="a b")

    assert (taken.status, taken.json["code"]) == (409, "sign_in_name_taken")
    assert (broken.status, broken.json["code"]) == (422, "invalid")
    assert value(await show(house, anna), "surname") is None, "all or nothing"
    same = await edit(house, anna, sign_in_name="ANNA@example.org")
    assert (same.status, await house.told(anna)) == (200, [])


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "An administrator changed your profile: job title, sign-in name."),
        ("nl", "Een beheerder heeft uw profiel gewijzigd: functie, aanmeldnaam."),
    ],
)
async def test_an_edit_is_told_in_words_and_not_by_the_names_of_fields(
    house: House, boss: Person, anna: Person, language: str, sentence: str
) -> None:
    await edit(house, anna, job_title="Nurse", sign_in_name="anna2")

    lines = (await house.ask("GET", "/notifications", token="anna")).json["items"]
    (told,) = [one for one in lines if one["key"] == "profile.edited"]
    texts = (await house.ask("GET", f"/texts/{language}", token="anna")).json["texts"]
    words = ", ".join(texts[f"field.{name}"] for name in told["params"]["fields"])

    assert texts[told["key"]].format(fields=words).startswith(sentence)


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "A country's two letters, such as NL or GB."), ("nl", "De twee letters van een land, zoals NL of GB.")],
)
async def test_a_rule_that_is_broken_has_a_name_and_words_in_the_language_of_whoever_asks(
    house: House, boss: Person, anna: Person, language: str, text: str
) -> None:
    async with house.db.write() as tx:
        await tx.execute(sa.update(account.account).where(account.account.c.id == boss.id).values(language=language))
    headers = {"If-Match": "*"}
    path = f"/accounts/{anna.id}/profile"

    refused = await house.ask("PATCH", path, {"usage_location": "uk"}, token="boss", headers=headers)
    long = await house.ask("PATCH", path, {"surname": "x" * 65}, token="boss", headers=headers)
    shapeless = await house.ask("PATCH", path, {"surname": 1}, token="boss", headers=headers)
    unknown = await house.ask("PATCH", path, {"nonsense": 1}, token="boss", headers=headers)

    assert refused.json["errors"] == [{"field": "usage_location", "rule": "country", "text": text}]
    (told,) = long.json["errors"]
    assert (told["rule"], told["most"], "64" in told["text"]) == ("too_long", 64, True)
    names = [one.json["errors"][0]["rule"] for one in (shapeless, unknown)]
    assert names == ["kind", "unknown_field"]
    texts = (await house.ask("GET", f"/texts/{language}")).json["texts"]
    (said,) = unknown.json["errors"]
    assert said["text"] == texts["rule.unknown_field"].format(name="nonsense")


# The photo


async def give(house: House, whose: Person, content: bytes, token: str = "boss") -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png", "X-Forwarded-For": "192.0.2.1"}
    path = f"/api/v1/accounts/{whose.id}/profile/photo"
    async with house.client.put(path, data=io.BytesIO(content), headers=headers) as response:
        return response.status


async def test_a_photo_is_given_and_taken_away_by_who_may_edit(house: House, boss: Person, anna: Person) -> None:
    await house.appoint("help", "helpdesk_administrator")
    path = f"/accounts/{anna.id}/profile/photo"

    assert await give(house, anna, png(), token="help") == 403
    assert await give(house, anna, b"no picture") == 422
    assert await give(house, anna, png()) == 200
    assert (await show(house, anna)).json["photo"]["url"] == f"/api/v1{path}"
    async with house.client.get(f"/api/v1{path}", headers={"Authorization": "Bearer help"}) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "image/jpeg")
        mark = response.headers["ETag"]
    known = {"Authorization": "Bearer help", "If-None-Match": mark}
    async with house.client.get(f"/api/v1{path}", headers=known) as response:
        assert response.status == 304
    assert (await house.ask("DELETE", path, token="boss")).status == 204
    assert (await house.ask("DELETE", path, token="boss")).status == 204, "taken away twice is away"
    assert (await house.ask("GET", path, token="boss")).status == 404
    assert (await house.events(anna))["account:profile:edit", "success", None] == 2


# Authentication contact


async def contacts(house: House, whose: Person, token: str = "boss") -> Answer:
    return await house.ask("GET", f"/accounts/{whose.id}/authentication-contact", token=token)


async def set_contact(house: House, whose: Person, kind: str, given: str, token: str = "boss", **more: Any) -> Answer:
    body = {"kind": kind, "address": given, **more}
    return await house.ask("POST", f"/accounts/{whose.id}/authentication-contact", body, token=token)


async def test_authentication_contact_is_a_global_administrator_s_alone(house: House, anna: Person) -> None:
    statuses = {}
    for n, role in enumerate((GLOBAL, "user_administrator", "privileged_authentication_administrator")):
        await house.appoint(f"x{n}", role)
        given = await set_contact(house, anna, "email", f"anna{n}@example.net", f"x{n}", label=f"m{n}")
        statuses[role] = (given.status, (await contacts(house, anna, f"x{n}")).status)

    assert statuses == {
        GLOBAL: (201, 200),
        "user_administrator": (403, 403),
        "privileged_authentication_administrator": (403, 403),
    }


async def test_a_number_that_an_administrator_gives_proves_the_person_from_then_on(
    house: House, boss: Person, anna: Person
) -> None:
    given = await set_contact(house, anna, "phone", "+31 6 1234 5678")

    assert given.status == 201
    assert (given.json["hint"], given.json["default"]) == ("+31 ••••••78", True)
    assert (await contacts(house, anna)).json["items"] == [given.json]
    asked = await house.sign_in(anna)
    assert (asked.status, asked.json["state"]) == (202, "second_factor_required")
    assert "12345678" not in str([tuple(row) for row in await house.rows(sa.select(contact.contact))])


@pytest.mark.rule("A10.6")
@pytest.mark.parametrize(
    "number", ["+31612345678", "0612345678", "31 612345678", "+31", "+3161 ", "+31 x", "+0 12345678"]
)
async def test_a10_t_a_number_without_its_space_is_refused(
    house: House, boss: Person, anna: Person, number: str
) -> None:
    refused = await set_contact(house, anna, "phone", number)

    assert (refused.status, refused.json["code"]) == (422, "invalid")
    assert number not in str(refused.json["errors"])
    assert (await contacts(house, anna)).json["items"] == []


async def test_a15_the_person_hears_of_it_at_the_old_address_and_the_new(
    house: House, boss: Person, anna: Person
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, "old@example.net")
    await set_contact(house, anna, "email", "new@example.net", replaces=str(old))

    assert await mailed(house) == [
        ("security.contact_set", "anna@example.org"),
        ("security.contact_set", "new@example.net"),
        ("security.contact_set", "old@example.net"),
    ]
    assert await house.told(anna) == ["security.contact_set"]
    left = (await contacts(house, anna)).json["items"]
    assert [(one["label"], one["hint"]) for one in left] == [("email", "n•••@example.net")]
    lines = [tuple(row) for row in await house.rows(sa.select(event))]
    assert "example.net" not in str(lines)


async def test_who_is_proven_by_an_older_number_is_so_no_longer(house: House, boss: Person, anna: Person) -> None:
    old = await give_address(house, anna, VerificationKind.PHONE, "+31611111111")
    async with house.db.write() as tx:
        await tx.execute(
            sa.update(session.session).where(session.session.c.account_id == anna.id).values(method_ids=[str(old)])
        )

    await set_contact(house, anna, "phone", "+31 622222222", replaces=str(old))

    assert (await house.ask("GET", "/sessions/current", token="anna")).status == 401
    methods = await house.rows(
        sa.select(verification.verification).where(verification.verification.c.account_id == anna.id)
    )
    assert sorted(row.state for row in methods) == ["active", "revoked"]


async def test_what_cannot_be_taken_away_stays(house: House, boss: Person, anna: Person) -> None:
    phone = (await set_contact(house, anna, "phone", "+31 611111111")).json["id"]
    mail = (await set_contact(house, anna, "email", "anna@example.net")).json["id"]
    path = f"/accounts/{anna.id}/authentication-contact"

    last = await house.ask("DELETE", f"{path}/{phone}", token="boss")
    gone = await house.ask("DELETE", f"{path}/{mail}", token="boss")
    again = await house.ask("DELETE", f"{path}/{mail}", token="boss")

    assert (last.status, last.json["code"]) == (409, "last_method")
    assert (gone.status, again.status) == (204, 404)
    assert ("security.contact_taken", "anna@example.net") in await mailed(house)


async def test_a15_an_address_that_an_administrator_took_is_put_back_by_its_owner(
    house: House, boss: Person, anna: Person
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, "old@example.net")
    assert (await house.ask("DELETE", f"/accounts/{anna.id}/authentication-contact/{old}", token="boss")).status == 204
    letters = [Delivery.of(row) for row in await house.rows(sa.select(delivery))]
    opened = [one.open(house.keys) for one in letters if one.key == "security.contact_taken"]
    (token,) = {secret.text() for to, secret in opened if to == "old@example.net" and secret is not None}

    assert (await house.ask("POST", "/not-me", {"token": token})).status == 204

    (row,) = await house.rows(sa.select(verification.verification).where(verification.verification.c.id == old))
    assert row.state == "active"


async def test_an_address_is_given_once_and_not_to_oneself(house: House, boss: Person, anna: Person) -> None:
    await set_contact(house, anna, "email", "anna@example.net")

    twice = await set_contact(house, anna, "email", "ANNA@example.net".replace("ANNA", "anna"), label="Other")
    named = await set_contact(house, anna, "email", "other@example.net")
    wrong = await set_contact(house, anna, "email", "other@example.net", label="x", replaces=str(UUID(int=1)))
    oneself = await set_contact(house, boss, "email", "boss@example.net")

    assert [(one.status, one.json["code"]) for one in (twice, named, wrong, oneself)] == [
        (409, "address_in_use"),
        (409, "label_taken"),
        (404, "not_found"),
        (403, "not_allowed"),
    ]


# Sixty at once


async def edit_many(house: House, rows: list[dict[str, Any]], token: str = "boss") -> Answer:
    return await house.ask("POST", "/accounts/edit", {"rows": rows}, token=token)


def row(whose: Person, etag: str = "*", **changes: Any) -> dict[str, Any]:
    return {"account_id": str(whose.id), "etag": etag, "changes": changes}


async def test_each_of_many_has_a_result_of_its_own(house: House, boss: Person, anna: Person) -> None:
    people = [await house.hire(f"p{n}") for n in range(4)]
    second = await house.appoint("second")
    await sync(house, people[1], "job")
    stranger = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    await house.appoint("user", "user_administrator")

    done = await edit_many(
        house,
        [
            row(people[0], department="Care"),
            row(people[1], department="Care", surname="x"),
            row(people[2], etag='"older"', department="Care"),
            row(stranger, department="Care"),
            row(second, department="Care"),
            row(people[3], surname="é" * 65),
            row(anna),
        ],
        token="user",
    )

    assert done.status == 200
    assert [(one["result"], one["code"]) for one in done.json["items"]] == [
        ("changed", None),
        ("refused", "mastered_elsewhere"),
        ("refused", "precondition_failed"),
        ("refused", "not_found"),
        ("refused", "not_allowed"),
        ("refused", "invalid"),
        ("unchanged", None),
    ]
    assert done.json["items"][1]["facts"]["next_sync_at"] == "2026-03-01T12:20:00Z"
    assert done.json["items"][5]["facts"]["errors"][0]["field"] == "surname"
    assert done.json["items"][0]["etag"] == (await show(house, people[0])).headers["ETag"]
    assert value(await show(house, people[0]), "department") == "Care"
    assert value(await show(house, people[1]), "surname") is None
    assert [await house.told(one) for one in people] == [["profile.edited"], [], [], []]


@pytest.mark.parametrize(("many", "status"), [(0, 422), (1, 200), (60, 200), (61, 422)])
async def test_as_many_as_sixty_are_edited_at_once(house: House, boss: Person, many: int, status: int) -> None:
    people = [await house.hire(f"p{n}") for n in range(many)]

    done = await edit_many(house, [row(one, department="Care") for one in people])

    assert done.status == status
    changed = await house.rows(sa.select(profile))
    assert len(changed) == (many if status == 200 else 0)


async def test_who_may_edit_nobody_is_refused_as_a_whole_and_nobody_is_named_twice(
    house: House, boss: Person, anna: Person
) -> None:
    await house.appoint("help", "helpdesk_administrator")

    assert (await edit_many(house, [row(anna, surname="x")], "help")).status == 403
    assert (await edit_many(house, [row(anna, surname="x"), row(anna, surname="y")])).status == 422
    assert value(await show(house, anna), "surname") is None
