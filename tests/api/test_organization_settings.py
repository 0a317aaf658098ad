"""An organization's settings over HTTP, on both databases: each bound at its edge, and what holds because of them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import passcode
from models.device import LEAST_PROOF
from models.event import event
from models.job import job
from models.organization import STRENGTH, organization
from models.settings import FRESH_PROOF, READABLE_PASSCODE, RECENT_PROOF, UNREAD_PASSCODE_DEFAULT
from models.vocabulary import Act, Ownership, PasscodeKind, Proof, Secret
from platforms.base import PasscodeRule
from tests.api.house import Answer, House
from tests.people import Person, found, give_device

MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def boss(house: House) -> Person:
    return await house.appoint("boss")


async def show(house: House, token: str = "boss") -> Answer:
    return await house.ask("GET", "/organization/settings", token=token)


async def decide(house: House, body: Any, match: str | None = "*", token: str = "boss") -> Answer:
    headers = {} if match is None else {"If-Match": match}
    return await house.ask("PATCH", "/organization/settings", body, token=token, headers=headers)


async def ask(house: House, device_id: UUID, act: str, token: str = "anna") -> Answer:
    headers = {"Idempotency-Key": uuid4().hex}
    return await house.ask("POST", f"/devices/{device_id}/{act.replace('_', '-')}", token=token, headers=headers)


@pytest.fixture
async def anna(house: House) -> Person:
    house.platform.offered = dict.fromkeys(Act)
    person = await house.hire("anna")
    await house.open_session(person, "anna")
    return person


# Reading and writing


async def test_an_organization_that_decided_nothing_has_the_houses_rules(house: House, boss: Person) -> None:
    shown = await show(house)

    assert shown.status == 200
    assert {one["act"]: one["proof"] for one in shown.json["acts"]} == LEAST_PROOF
    lives = {one["act"]: one["expires_after_seconds"] for one in shown.json["acts"]}
    day = 24 * 3600
    assert lives == {
        "reset_passcode": day,
        "remote_lock": day,
        "refresh": day,
        "restart": 3600,
        "wipe": None,
        "remove": None,
    }
    assert shown.json["unread_passcode_seconds"] == UNREAD_PASSCODE_DEFAULT.total_seconds()
    assert shown.json["readable_passcode_seconds"] == READABLE_PASSCODE.total_seconds()
    assert (shown.json["hidden_acts"], shown.json["hidden_sections"], shown.json["contact"]) == ([], [], {})
    assert (shown.json["leaving_allowed"], shown.json["privacy_contact"]) == (True, {})
    assert shown.json["branding"] == {
        "name": "Acme",
        "colour": "#0f6cbd",
        "text_colour": "#ffffff",
        "header": "logo_and_name",
        "logo_on_theme": None,
        "logo_on_light": None,
        "image": None,
    }


async def test_everybody_is_shown_what_concerns_them_and_nothing_else(house: House, boss: Person, anna: Person) -> None:
    await decide(
        house,
        {
            "contact": {"name": "Helpdesk", "url": "https://help.example.org", "notes": ""},
            "privacy": {"url": "https://example.org/privacy"},
            "branding": {"name": "Acme Care", "colour": "green"},
        },
    )

    front = await house.ask("GET", "/organization", token="anna")
    refused = await show(house, "anna")

    assert front.json == {
        "id": str(house.organization_id),
        "name": "Acme",
        "contact": {
            "name": "Helpdesk",
            "site_name": "https://help.example.org",
            "url": "https://help.example.org",
        },
        "branding": {
            "name": "Acme Care",
            "colour": "#107c10",
            "text_colour": "#ffffff",
            "header": "logo_and_name",
            "logo_on_theme": None,
            "logo_on_light": None,
            "image": None,
        },
        "privacy_url": "https://example.org/privacy",
        "leaving_allowed": True,
        "privacy_contact": {},
    }
    assert (refused.status, refused.json["code"]) == (403, "not_allowed")


async def test_what_is_absent_stays_and_null_empties(house: House, boss: Person) -> None:
    await decide(house, {"contact": {"name": "Helpdesk", "phone": "112"}, "unread_passcode_seconds": 3600})

    changed = await decide(house, {"contact": {"phone": None}, "unread_passcode_seconds": None})

    assert changed.json["contact"] == {"name": "Helpdesk"}
    assert changed.json["unread_passcode_seconds"] == UNREAD_PASSCODE_DEFAULT.total_seconds()
    (row,) = await house.rows(sa.select(organization.c.settings))
    assert row.settings == {"contact": {"name": "Helpdesk"}}


async def test_what_others_keep_in_the_same_row_stays(house: House, boss: Person) -> None:
    kept = {"banned_words": ["acme"], "recovery": {"for": "all"}}
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization).values(settings=kept))

    await decide(house, {"contact": {"name": "Helpdesk"}})

    (row,) = await house.rows(sa.select(organization.c.settings))
    assert row.settings == {**kept, "contact": {"name": "Helpdesk"}}


async def test_the_record_says_which_settings_changed_and_of_rules_how(house: House, boss: Person) -> None:
    wanted = {"contact": {"phone": "112"}, "acts": [{"act": "remove", "proof": "re_sign_in"}]}

    await decide(house, wanted)
    again = await decide(house, wanted)

    assert again.status == 200
    (line,) = await house.rows(sa.select(event).where(event.c.action == "organization:settings:change"))
    assert (line.actor_id, line.outcome) == (boss.id, "success")
    assert line.facts == {
        "changed": ["acts.remove.proof", "contact.phone"],
        "from": {"acts.remove.proof": "fresh"},
        "to": {"acts.remove.proof": "re_sign_in"},
    }


async def test_of_two_administrators_the_one_who_saw_the_older_state_is_told_so(house: House, boss: Person) -> None:
    seen = (await show(house)).headers["ETag"]

    answers = await asyncio.gather(
        *(decide(house, {"contact": {"name": name}}, seen) for name in ("Helpdesk", "IT", "Front desk"))
    )

    assert sorted(answer.status for answer in answers) == [200, 412, 412]
    assert (await decide(house, {"contact": {"name": "IT"}}, None)).status == 428


async def test_only_a_global_administrator_decides(house: House, boss: Person) -> None:
    await house.appoint("helper", "user_administrator", "privileged_role_administrator")

    assert (await decide(house, {"contact": {"name": "Mine"}}, token="helper")).status == 403
    assert (await show(house, "helper")).status == 200


async def test_it_takes_a_proof_of_fifteen_minutes(house: House, boss: Person) -> None:
    house.clock.forward(RECENT_PROOF)
    assert (await decide(house, {"contact": {"name": "IT"}})).status == 200
    house.clock.forward(MOMENT)

    late = await decide(house, {"contact": {"name": "IT"}})

    assert (late.status, late.json["code"]) == (401, "proof_required")


async def test_another_organizations_settings_are_its_own(house: House, boss: Person) -> None:
    other = await found(house.db, house.clock.now, name="Other")
    await house.appoint("chief", organization_id=other)

    await decide(house, {"contact": {"name": "Theirs"}}, token="chief")

    assert (await show(house)).json["contact"] == {}
    assert (await house.ask("GET", "/organization", token="boss")).json["name"] == "Acme"


# Bounds


GOOD = [
    ("contact", "name", "x" * 40),
    ("contact", "site_name", "x" * 40),
    ("contact", "email", "h" * 28 + "@example.org"),
    ("contact", "phone", "+31 20 555 0100 12345"[:20]),
    ("contact", "phone", "112"),
    ("contact", "url", "https://" + "x" * 138 + ".org"),
    ("contact", "notes", "x" * 120),
    ("privacy", "url", "https://" + "x" * 63 + "." + "y" * 3 + ".org"),
    ("privacy", "can_see", "x" * 520),
    ("privacy", "cannot_see", "**not** this\n- nor that"),
    ("branding", "name", "x" * 40),
    ("branding", "colour", "#AbCdEf"),
    ("branding", "header", "logo"),
    ("privacy_contact", "email", "privacy@example.org"),
]
BAD = [
    ("contact", "name", "x" * 41),
    ("contact", "name", "a\nb"),
    ("contact", "name", "a\u202eb"),
    ("contact", "site_name", "x" * 41),
    ("contact", "email", "h" * 29 + "@example.org"),
    ("contact", "email", "helpdesk"),
    ("contact", "phone", "+31 20 555 0100 123456"[:21]),
    ("contact", "phone", "12"),
    ("contact", "phone", "call us"),
    ("contact", "url", "https://" + "x" * 139 + ".org"),
    ("contact", "url", "http://help.example.org"),
    ("contact", "url", "https://me:secret@help.example.org"),
    ("contact", "url", "javascript:alert(1)"),
    ("contact", "url", "https://help.example.org/a b"),
    ("contact", "url", 'https://help.example.org/"><script>'),
    ("contact", "notes", "x" * 121),
    ("contact", "notes", "two\nlines"),
    ("privacy", "url", "https://" + "x" * 63 + "." + "y" * 4 + ".org"),
    ("privacy", "can_see", "x" * 521),
    ("privacy", "cannot_see", "a\u202eb"),
    ("branding", "name", "x" * 41),
    ("branding", "colour", "#12345"),
    ("branding", "colour", "pink"),
    ("branding", "header", "banner"),
    ("privacy_contact", "phone", "none"),
    ("contact", "colour", "blue"),
]


NUMBERS: list[tuple[dict[str, Any], int]] = [
    ({"unread_passcode_seconds": 1800}, 200),
    ({"unread_passcode_seconds": 1799}, 422),
    ({"unread_passcode_seconds": 7 * 86400}, 200),
    ({"unread_passcode_seconds": 7 * 86400 + 1}, 422),
    ({"readable_passcode_seconds": 300}, 200),
    ({"readable_passcode_seconds": 299}, 422),
    ({"readable_passcode_seconds": 1800}, 200),
    ({"readable_passcode_seconds": 1801}, 422),
    *(
        ({"acts": [{"act": act, "expires_after_seconds": seconds}]}, status)
        for act, most in (("reset_passcode", 604800), ("remote_lock", 604800), ("restart", 86400))
        for seconds, status in ((900, 200), (899, 422), (most, 200), (most + 1, 422))
    ),
    ({"acts": [{"act": "wipe", "expires_after_seconds": 3600}]}, 422),
    ({"acts": [{"act": "remove", "expires_after_seconds": 3600}]}, 422),
    ({"acts": [{"act": "refresh", "strength": 3}]}, 200),
    ({"acts": [{"act": "refresh", "strength": 4}]}, 422),
    ({"acts": [{"act": "refresh", "strength": 0}]}, 422),
    ({"acts": [{"act": "explode"}]}, 422),
    ({"hidden_sections": ["everything"]}, 422),
    ({"leaving_allowed": False}, 422),
    ({"leaving_allowed": False, "privacy_contact": {"name": "Somebody"}}, 422),
    ({"leaving_allowed": False, "privacy_contact": {"phone": "112"}}, 200),
    ({"sign_out_proof": "re_sign_in"}, 422),
    *(({"device_quota": quota}, 200) for quota in (1, 100, "unlimited", None)),
    *(({"device_quota": quota}, 422) for quota in (0, 101, -1, 1.5, True, "50", "none", "")),
    ({"nothing": 1}, 422),
    ({}, 200),
]


async def test_the_last_that_fits_is_taken(house: House, boss: Person) -> None:
    for group, name, value in GOOD:
        taken = await decide(house, {group: {name: value}})

        assert taken.status == 200, (group, name, taken.json)
        assert taken.json[group][name] == (value.lower() if name == "colour" else value)


async def test_the_first_that_does_not_is_refused_and_changes_nothing(house: House, boss: Person) -> None:
    before = await show(house)

    for group, name, value in BAD:
        refused = await decide(house, {group: {name: value}, "hidden_sections": ["photo"]})

        assert (refused.status, refused.json["code"]) == (422, "invalid"), (group, name, value)
        assert value not in str(refused.json["errors"])
    assert (await show(house)).json == before.json


async def test_numbers_stay_within_their_bounds(house: House, boss: Person) -> None:
    for body, status in NUMBERS:
        assert (await decide(house, body)).status == status, body


async def test_every_broken_rule_is_told_at_once(house: House, boss: Person) -> None:
    refused = await decide(
        house,
        {
            "contact": {"phone": "call us", "url": "http://example.org"},
            "unread_passcode_seconds": 5,
            "acts": [{"act": "wipe", "proof": "none"}],
            "hidden_acts": [{"platform": "pocketses", "ownership": "personal", "act": "wipe"}],
            "leaving_allowed": False,
        },
    )

    assert {one["field"] for one in refused.json["errors"]} == {
        "contact.phone",
        "contact.url",
        "unread_passcode_seconds",
        "privacy_contact",
        "hidden_acts[0].platform",
        "acts[wipe].proof",
    }


async def test_the_contact_stays_while_people_may_not_leave(house: House, boss: Person) -> None:
    await decide(house, {"leaving_allowed": False, "privacy_contact": {"email": "privacy@example.org"}})

    refused = await decide(house, {"privacy_contact": {"email": None}})

    assert refused.status == 422
    assert (await house.ask("GET", "/organization", token="boss")).json["leaving_allowed"] is False
    assert (await decide(house, {"leaving_allowed": True, "privacy_contact": {"email": None}})).status == 200


# Proof: more than the house asks for, never less


async def test_no_act_is_made_easier_than_the_house_has_it(house: House, boss: Person) -> None:
    for act in Act:
        for proof in Proof:
            decided = await decide(house, {"acts": [{"act": act, "proof": proof}]})

            if STRENGTH[proof] < STRENGTH[LEAST_PROOF[act]]:
                assert (decided.status, decided.json["code"]) == (422, "invalid")
            else:
                assert decided.status == 200
                assert {one["act"]: one["proof"] for one in decided.json["acts"]}[act] == proof


async def test_signing_out_everywhere_takes_a_proof_where_the_organization_says_so(
    house: House, boss: Person, anna: Person
) -> None:
    async def everywhere() -> Answer:
        return await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="anna")

    decided = await decide(house, {"sign_out_proof": "fresh"})
    house.clock.forward(FRESH_PROOF + MOMENT)

    refused = await everywhere()
    house.clock.now -= MOMENT
    last = await everywhere()

    assert (decided.status, decided.json["sign_out_proof"]) == (200, "fresh")
    assert (refused.status, refused.json["code"]) == (401, "proof_required")
    assert last.status == 204


async def test_a_lock_takes_a_new_sign_in_as_soon_as_the_organization_says_so(
    house: House, boss: Person, anna: Person
) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    await decide(house, {"acts": [{"act": "remote_lock", "proof": "re_sign_in", "strength": 1}]})

    refused = await ask(house, phone, "remote_lock")
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "remote_lock"}, token="anna")
    token = (await house.sign_in(anna, re_sign_in=window.json["token"])).json["token"]
    asked = await ask(house, phone, "remote_lock", token)

    assert (refused.status, refused.json["code"]) == (401, "re_sign_in_required")
    assert asked.status == 202


# How long things live


async def test_an_act_waits_as_long_as_the_organization_says(house: House, boss: Person, anna: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    lives = {"remote_lock": 900, "refresh": 604800, "restart": 86400}
    await decide(house, {"acts": [{"act": act, "expires_after_seconds": life} for act, life in lives.items()]})

    for act in lives:
        assert (await ask(house, phone, act)).status == 202

    rows = await house.rows(sa.select(job))
    assert {row.kind: (row.expires_at - row.created_at).total_seconds() for row in rows} == lives


async def test_what_was_asked_under_the_old_rules_keeps_its_time(house: House, boss: Person, anna: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    asked = await ask(house, phone, "refresh")

    await decide(house, {"acts": [{"act": "refresh", "expires_after_seconds": 900}]})

    seen = await house.ask("GET", f"/jobs/{asked.json['id']}", token="anna")
    assert seen.json["expires_at"] == asked.json["expires_at"]


async def test_a_code_can_be_read_as_long_as_the_organization_says(house: House, boss: Person, anna: Person) -> None:
    house.platform.passcode = PasscodeRule(PasscodeKind.TEMPORARY_NUMERIC, "pocket.done", "pocket.reveal")  # type: ignore[assignment] # a pocket of a platform
    phone = await give_device(house.db, anna, house.clock.now)
    await decide(house, {"readable_passcode_seconds": 300})
    asked = UUID((await ask(house, phone, "refresh")).json["id"])
    async with house.db.write() as tx:
        await passcode.keep(
            tx,
            organization_id=house.organization_id,
            device_id=phone,
            account_id=anna.id,
            job_id=asked,
            kind=PasscodeKind.TEMPORARY_NUMERIC,
            secret=Secret(b"4711"),
            keys=house.keys,
            readable_until=house.clock.now + timedelta(hours=24),
            now=house.clock.now,
        )

    async def reveal() -> Answer:
        return await house.ask("POST", f"/devices/{phone}/passcode/reveal", token="anna")

    first = await reveal()
    house.clock.forward(timedelta(seconds=300))
    last = await reveal()
    house.clock.forward(MOMENT)
    await house.open_session(anna, "later")
    gone = await house.ask("POST", f"/devices/{phone}/passcode/reveal", token="later")

    assert (first.status, last.status) == (200, 200), last.json
    assert (gone.status, gone.json["code"]) == (410, "passcode_gone")


# What is hidden, and whom to ask


CONTACT = {"name": "Helpdesk", "phone": "+31 20 555 0100", "email": "it@example.org"}


async def test_what_is_hidden_is_refused_with_the_contact_on_that_kind_of_device_alone(
    house: House, boss: Person, anna: Person
) -> None:
    corporate = await give_device(house.db, anna, house.clock.now, ownership=Ownership.CORPORATE)
    personal = await give_device(house.db, anna, house.clock.now, ownership=Ownership.PERSONAL)
    hidden = [{"platform": "pocket", "ownership": "corporate", "act": act} for act in ("remote_lock", "wipe", "rename")]

    decided = await decide(house, {"contact": CONTACT, "hidden_acts": hidden})

    assert decided.json["hidden_acts"] == sorted(hidden, key=lambda one: one["act"])
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(corporate), "act": "wipe"}, token="anna")
    renamed = await rename(house, corporate)
    for refused in (await ask(house, corporate, "remote_lock"), await ask(house, corporate, "wipe"), window, renamed):
        assert (refused.status, refused.json["code"]) == (403, "hidden_by_admin")
        assert (refused.json["reason"], refused.json["contact"]) == ("hidden_by_admin", CONTACT)
    assert await house.rows(sa.select(job)) == []
    shown = (await house.ask("GET", f"/devices/{corporate}", token="anna")).json
    assert {one["act"] for one in shown["acts"] if one["reason"] == "hidden_by_admin"} == {"remote_lock", "wipe"}
    assert shown["rename"] == {"available": False, "reason": "hidden_by_admin"}
    assert (await ask(house, personal, "remote_lock")).status == 202
    assert (await rename(house, personal)).json["rename"] == {"available": True, "reason": None}


async def rename(house: House, device_id: UUID) -> Answer:
    return await house.ask(
        "POST", f"/devices/{device_id}/rename", {"name": "Desk"}, token="anna", headers={"If-Match": "*"}
    )


async def test_what_is_hidden_while_it_waits_is_not_carried_out(house: House, boss: Person, anna: Person) -> None:
    """Asked again at each run (workers/run_job.py); here the offer that it asks."""
    phone = await give_device(house.db, anna, house.clock.now)
    asked = await ask(house, phone, "remote_lock")
    await decide(house, {"hidden_acts": [{"platform": "pocket", "ownership": "corporate", "act": "remote_lock"}]})

    acts = (await house.ask("GET", f"/devices/{phone}", token="anna")).json["acts"]

    assert asked.status == 202
    assert next(one["reason"] for one in acts if one["act"] == "remote_lock") == "hidden_by_admin"


async def test_a_platform_that_is_gone_stays_in_the_list_until_it_is_taken_out(house: House, boss: Person) -> None:
    gone = {"platform": "formerly", "ownership": "personal", "act": "wipe"}
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization).values(settings={"hidden_acts": [gone]}))
    more = {"platform": "pocket", "ownership": "personal", "act": "wipe"}

    assert (await decide(house, {"hidden_acts": [gone, more, more]})).json["hidden_acts"] == [gone, more]
    assert (await decide(house, {"hidden_acts": []})).json["hidden_acts"] == []
    assert (await decide(house, {"hidden_acts": [gone]})).status == 422
