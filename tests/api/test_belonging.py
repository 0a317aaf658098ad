"""A person's organizations: the list, and going from one to another."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import organization
from models.session import session
from models.settings import PRIVILEGED_SESSION_ABSOLUTE
from tests.api.house import Answer, House
from tests.api.test_notification import tell
from tests.people import Person, found, give_device, give_terms, welcome


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire()
    await house.open_session(person, "anna")
    return person


@pytest.fixture
async def beta(house: House, anna: Person) -> UUID:
    """Another organization that anna belongs to."""
    organization_id = await found(house.db, house.clock.now + timedelta(seconds=1), name="Beta")
    await welcome(house.db, organization_id, anna, house.clock.now)
    return organization_id


async def switch(house: House, to: UUID, token: str = "anna", **more: str) -> Answer:
    return await house.ask("POST", "/sessions/current/organization", {"organization_id": str(to)}, token=token, **more)


async def settings(house: House, organization_id: UUID, **values: object) -> None:
    async with house.db.write() as tx:
        await organization.write_settings(tx, organization_id, values)


async def test_the_home_organization_and_the_others_are_listed(house: House, anna: Person, beta: UUID) -> None:
    shown = await house.ask("GET", "/organizations", token="anna")

    assert shown.json["next_cursor"] is None
    assert [(one["name"], one["home"], one["current"], one["leaving"]["reason"]) for one in shown.json["items"]] == [
        ("Acme", True, True, "home_organization"),
        ("Beta", False, False, None),
    ]
    assert shown.json["items"][1]["leaving"] == {"available": True, "reason": None, "contact": {}}


async def test_they_are_listed_page_by_page(house: House, anna: Person, beta: UUID) -> None:
    first = await house.ask("GET", "/organizations?limit=1", token="anna")
    second = await house.ask("GET", f"/organizations?limit=1&cursor={first.json['next_cursor']}", token="anna")
    last = await house.ask("GET", f"/organizations?limit=1&cursor={second.json['next_cursor']}", token="anna")

    assert [one["name"] for one in first.json["items"] + second.json["items"]] == ["Acme", "Beta"]
    assert last.json == {"items": [], "next_cursor": None}


async def test_where_nobody_may_leave_the_list_says_whom_to_ask(house: House, anna: Person, beta: UUID) -> None:
    await settings(house, beta, leaving_allowed=False, privacy_contact={"email": "privacy@beta.example"})

    shown = await house.ask("GET", "/organizations", token="anna")

    assert shown.json["items"][1]["leaving"] == {
        "available": False,
        "reason": "switched_off",
        "contact": {"email": "privacy@beta.example"},
    }


async def test_a_session_goes_to_another_organization_under_another_token(
    house: House, anna: Person, beta: UUID
) -> None:
    before = (await house.ask("GET", "/sessions/current", token="anna")).json
    house.clock.now += timedelta(minutes=1)

    there = await switch(house, beta)

    assert there.status == 200
    token, now = there.json["token"], there.json["session"]
    assert now["account"]["organization"] == {"id": str(beta), "name": "Beta"}
    assert now["id"] != before["id"]
    # Nothing is proven by it, and it lives no longer for it.
    assert (now["proven_at"], now["signed_in_at"]) == (before["proven_at"], before["signed_in_at"])
    assert (await house.ask("GET", "/sessions/current", token="anna")).status == 401
    listed = (await house.ask("GET", "/organizations", token=token)).json["items"]
    assert [one["current"] for one in listed] == [False, True]


async def test_its_cookie_goes_along_and_the_browsers_own_stays(house: House, anna: Person, beta: UUID) -> None:
    there = await switch(house, beta)

    names = [cookie.partition("=")[0] for cookie in there.set_cookies]
    assert [name.rpartition("latchkey-")[2] for name in names] == ["session", "re-sign-in"]


async def test_back_home_is_the_same_way(house: House, anna: Person, beta: UUID) -> None:
    there = await switch(house, beta)

    home = await switch(house, house.organization_id, there.json["token"])

    assert home.json["session"]["account"]["organization"]["name"] == "Acme"
    assert (await house.ask("GET", "/profile", token=home.json["token"])).status == 200
    assert (await house.events(anna))["account:session:open", "success", None] == 2
    assert (await house.events(anna))["account:session:end", "success", None] == 2


async def test_where_somebody_does_not_belong_is_nowhere(house: House, anna: Person, beta: UUID) -> None:
    strangers = await found(house.db, house.clock.now, name="Gamma")

    there, nowhere = await switch(house, strangers), await switch(house, uuid4())

    assert there.status == nowhere.status == 404
    assert there.json | {"instance": ""} == nowhere.json | {"instance": ""}
    assert (await house.ask("GET", "/sessions/current", token="anna")).status == 200


async def test_nothing_of_one_organization_is_seen_in_another(house: House, anna: Person, beta: UUID) -> None:
    ours = await give_device(house.db, anna, house.clock.now)
    await tell(house, anna, 2)
    token = (await switch(house, beta)).json["token"]

    assert (await house.ask("GET", "/devices", token=token)).json["items"] == []
    assert (await house.ask("GET", f"/devices/{ours}", token=token)).status == 404
    lines = (await house.ask("GET", "/notifications", token=token)).json
    assert (lines["items"], lines["unread"]) == ([], 0)
    assert len((await house.ask("GET", "/sessions", token=token)).json["items"]) == 1
    assert (await house.ask("GET", "/jobs", token=token)).json["items"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/profile"),
        ("GET", "/profile/photo"),
        ("GET", "/security/methods"),
        ("GET", "/sign-ins"),
        ("GET", "/browsers"),
        ("GET", "/throttles"),
        ("POST", "/password"),
        ("POST", "/security/methods/recovery-codes"),
    ],
)
async def test_what_belongs_to_the_account_is_for_its_home(
    house: House, anna: Person, beta: UUID, method: str, path: str
) -> None:
    token = (await switch(house, beta)).json["token"]

    refused = await house.ask(method, path, {"current": "a", "new": "b"} if path == "/password" else None, token=token)

    assert (refused.status, refused.json["code"]) == (409, "not_at_home")
    assert refused.json["home_id"] == str(house.organization_id)


async def test_roles_are_those_that_the_organization_gave(house: House, anna: Person, beta: UUID) -> None:
    boss = await house.appoint()
    await welcome(house.db, beta, boss, house.clock.now)

    there = (await switch(house, beta, "boss")).json

    assert there["session"]["account"]["roles"] == []
    assert (await house.ask("GET", "/accounts", token=there["token"])).status == 403


async def test_whoever_has_a_role_there_stays_no_longer_than_such_sessions_live(
    house: House, anna: Person, beta: UUID
) -> None:
    async with house.db.write() as tx:
        await organization.set_roles(tx, beta, anna.id, ["directory_reader"])
        kept = {"idle_at": house.clock.now + timedelta(days=1)}
        await tx.execute(sa.update(session).values(**kept))
    signed_in = house.clock.now
    house.clock.now += PRIVILEGED_SESSION_ABSOLUTE - timedelta(microseconds=1)

    there = (await switch(house, beta)).json

    assert [row.expires_at for row in await house.rows(sa.select(session).where(session.c.ended_at.is_(None)))] == [
        signed_in + PRIVILEGED_SESSION_ABSOLUTE
    ]
    house.clock.now += timedelta(microseconds=1)
    assert (await house.ask("GET", "/sessions/current", token=there["token"])).status == 401


async def test_whose_session_would_be_over_there_signs_in_anew(house: House, anna: Person, beta: UUID) -> None:
    async with house.db.write() as tx:
        await organization.set_roles(tx, beta, anna.id, ["directory_reader"])
        await tx.execute(sa.update(session).values(idle_at=house.clock.now + timedelta(days=1)))
    house.clock.now += PRIVILEGED_SESSION_ABSOLUTE

    assert (await switch(house, beta)).status == 401
    assert (await house.ask("GET", "/sessions/current", token="anna")).status == 200


async def test_the_terms_of_the_other_organization_come_first(house: House, anna: Person, beta: UUID) -> None:
    version = await give_terms(house.db, beta, house.clock.now)

    there = await switch(house, beta)

    assert (there.status, there.json["state"]) == (202, "terms_required")
    assert there.json["version_id"] == str(version.id)
    token = there.json["token"]
    assert (await house.ask("GET", "/devices", token=token)).json["code"] == "terms_required"
    shown = (await house.ask("GET", f"/terms/{version.id}", token=token)).json
    yes = {"accepted": True, "language": shown["language"], "hash": shown["hash"]}
    answered = await house.ask("POST", f"/terms/{version.id}/acceptance", yes, token=token)
    assert answered.status == 201, answered.json
    assert (await house.ask("GET", "/devices", token=token)).status == 200


async def test_whoever_owes_an_answer_elsewhere_may_go_home_without_one(house: House, anna: Person, beta: UUID) -> None:
    await give_terms(house.db, beta, house.clock.now)
    token = (await switch(house, beta)).json["token"]

    home = await switch(house, house.organization_id, token)

    assert home.status == 200
    assert (await house.ask("GET", "/devices", token=home.json["token"])).status == 200


async def test_whoever_owes_an_answer_goes_nowhere_else(house: House, anna: Person, beta: UUID) -> None:
    third = await found(house.db, house.clock.now, name="Gamma")
    await welcome(house.db, third, anna, house.clock.now)
    owed = await give_terms(house.db, beta, house.clock.now)
    token = (await switch(house, beta)).json["token"]

    refused = await switch(house, third, token)

    assert (refused.status, refused.json["code"]) == (403, "terms_required")
    assert refused.json["version_id"] == str(owed.id)


async def test_the_terms_at_home_are_not_walked_around(house: House, anna: Person, beta: UUID) -> None:
    await give_terms(house.db, house.organization_id, house.clock.now)
    token = (await house.sign_in(anna)).json["token"]

    refused = await switch(house, beta, token)

    assert (refused.status, refused.json["code"]) == (403, "terms_required")


async def test_a_window_that_was_opened_in_another_organization_is_proven_there(
    house: House, anna: Person, beta: UUID
) -> None:
    guest = Person(anna.id, beta, anna.name, anna.password)
    phone = await give_device(house.db, guest, house.clock.now)
    token = (await switch(house, beta)).json["token"]
    asked = {"device_id": str(phone), "act": "reset_passcode"}
    window = (await house.ask("POST", "/re-sign-ins", asked, token=token)).json

    done = await house.sign_in(anna, re_sign_in=window["token"])

    assert done.status == 201
    assert done.json["session"]["account"]["organization"]["id"] == str(beta)
    assert done.json["re_sign_in"]["state"] == "proven"
    path, key = f"/devices/{phone}/reset-passcode", {"Idempotency-Key": "once"}
    accepted = await house.ask("POST", path, {}, token=done.json["token"], headers=key)
    assert accepted.status == 202, accepted.json


async def test_a_sign_in_is_at_home(house: House, anna: Person, beta: UUID) -> None:
    done = await house.sign_in(anna)

    assert done.json["session"]["account"]["organization"]["name"] == "Acme"
