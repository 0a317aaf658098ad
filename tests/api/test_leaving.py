"""Leaving an organization, being removed from it, and being taken back, on both databases (A4)."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import account, leaving, organization
from models.delivery import delivery
from models.device import DeviceState, device
from models.enrollment import enrollment, of_link
from models.job import job
from models.leaving import former_membership
from models.organization import membership
from models.re_sign_in import re_sign_in
from models.role import Role
from models.session import session
from models.settings import FRESH_PROOF, MEMBERSHIP_KEPT
from models.vocabulary import Act, JobState, Outcome, Reason, Task
from platforms.base import CheckIn, EnrollmentState, Refusal, Report
from tests import runs
from tests.api.house import Answer, House
from tests.api.test_belonging import switch
from tests.api.test_checkin import ADDRESS, Spoken, talk
from tests.people import Person, found, give_device, give_terms, welcome

OWNER = ("global_administrator",)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def beta(house: House) -> UUID:
    return await found(house.db, house.clock.now + timedelta(seconds=1), name="Beta")


@pytest.fixture
async def anna(house: House, beta: UUID) -> Person:
    """At home in Acme, and one of Beta's, too."""
    person = await house.hire("anna@example.org")
    await house.open_session(person, "home")
    await welcome(house.db, beta, person, house.clock.now)
    return person


@pytest.fixture
async def ben(house: House, beta: UUID) -> Person:
    """Beta's own administrator, signed in as `ben`."""
    return await house.appoint("ben", organization_id=beta)


def guest(person: Person, organization_id: UUID) -> Person:
    """The person, as that organization knows them."""
    return Person(person.id, organization_id, person.name, person.password)


async def there(house: House, person: Person, organization_id: UUID, name: str = "beta") -> str:
    """A sign-in of theirs in that organization."""
    await house.open_session(guest(person, organization_id), name)
    return name


async def leave(
    house: House, organization_id: UUID, token: str = "beta", *, key: str | None = "k", confirm: bool = True
) -> Answer:
    headers = {} if key is None else {"Idempotency-Key": key}
    path = f"/organizations/{organization_id}/leave"
    return await house.ask("POST", path, {"confirm": confirm}, token=token, headers=headers)


async def names(house: House, token: str) -> list[str]:
    return [one["name"] for one in (await house.ask("GET", "/organizations", token=token)).json["items"]]


async def test_whoever_leaves_is_gone_at_once_and_goes_on_at_home(house: House, anna: Person, beta: UUID) -> None:
    await there(house, anna, beta)

    done = await leave(house, beta)

    assert done.status == 202
    assert done.headers["Location"] == f"/api/v1/jobs/{done.json['job']['id']}"
    assert (done.json["job"]["kind"], done.json["job"]["state"], done.json["job"]["device_id"]) == (
        "leave",
        "queued",
        None,
    )
    assert (await house.ask("GET", "/sessions/current", token="beta")).status == 401
    home = done.json["signed_in"]
    assert home["state"] == "signed_in"
    assert home["session"]["account"]["organization"]["name"] == "Acme"
    assert await names(house, home["token"]) == ["Acme"]
    assert (await house.ask("GET", done.headers["Location"].removeprefix("/api/v1"), token="home")).status == 200
    assert (await switch(house, beta, "home")).status == 404


async def test_it_is_told_by_flag_and_mail_and_stands_in_the_record_of_the_organization(
    house: House, anna: Person, beta: UUID
) -> None:
    await there(house, anna, beta)

    await leave(house, beta)

    assert await house.told(anna) == ["organization.left"]
    (mail,) = await house.rows(sa.select(delivery))
    assert (mail.key, mail.params["organization"], mail.organization_id) == (
        "organization.left",
        "Beta",
        house.organization_id,
    )
    assert (await house.events(anna))["account:membership:leave", "success", None] == 1


@pytest.mark.rule("A4.1")
async def test_whoever_leaves_twice_has_left(house: House, anna: Person, beta: UUID) -> None:
    await there(house, anna, beta)
    first = await leave(house, beta)

    again = await leave(house, beta, "home", key="another")
    repeated = await leave(house, beta, "home")

    assert (again.status, again.json["job"]["id"]) == (200, first.json["job"]["id"])
    assert (repeated.status, repeated.json["job"]["id"]) == (202, first.json["job"]["id"])
    assert again.json["signed_in"] is repeated.json["signed_in"] is None
    assert len(await house.rows(sa.select(former_membership))) == 1
    assert len(await house.rows(sa.select(job).where(job.c.kind == Task.LEAVE))) == 1
    assert await house.told(anna) == ["organization.left"]


async def test_two_who_leave_at_once_by_two_sign_ins_leave_once(house: House, anna: Person, beta: UUID) -> None:
    await there(house, anna, beta, "one")
    await there(house, anna, beta, "two")

    answers = await asyncio.gather(leave(house, beta, "one", key="1"), leave(house, beta, "two", key="2"))

    # The other one finds its own sign-in ended, or that it has left.
    assert sorted(answer.status for answer in answers) in ([200, 202], [202, 401])
    assert len(await house.rows(sa.select(former_membership))) == 1


@pytest.mark.rule("A4.3")
async def test_sign_ins_elsewhere_go_on(house: House, anna: Person, beta: UUID) -> None:
    third = await found(house.db, house.clock.now + timedelta(seconds=2), name="Gamma")
    await welcome(house.db, third, anna, house.clock.now)
    await there(house, anna, third, "gamma")
    await there(house, anna, beta, "beta too")
    await there(house, anna, beta)

    await leave(house, beta)

    for token, status in (("home", 200), ("gamma", 200), ("beta", 401), ("beta too", 401)):
        assert (await house.ask("GET", "/sessions/current", token=token)).status == status, token
    assert await names(house, "gamma") == ["Acme", "Gamma"]


async def test_nobody_leaves_home(house: House, anna: Person) -> None:
    refused = await leave(house, house.organization_id, "home")

    assert (refused.status, refused.json["code"]) == (409, "home_organization")


async def test_it_takes_a_sign_in_there(house: House, anna: Person, beta: UUID) -> None:
    refused = await leave(house, beta, "home")

    assert (refused.status, refused.json["code"]) == (401, "proof_required")
    assert refused.json["organization_id"] == str(beta)
    assert "max_age=300" in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize(("age", "status"), [(FRESH_PROOF, 202), (FRESH_PROOF + MOMENT, 401)])
async def test_it_takes_a_proof_of_five_minutes(
    house: House, anna: Person, beta: UUID, age: timedelta, status: int
) -> None:
    await there(house, anna, beta)
    house.clock.now += age

    assert (await leave(house, beta)).status == status


async def test_a_proof_that_was_given_at_home_counts_after_the_switch(house: House, anna: Person, beta: UUID) -> None:
    token = (await switch(house, beta, "home")).json["token"]
    house.clock.now += FRESH_PROOF + MOMENT
    assert (await leave(house, beta, token)).status == 401

    proven = await house.ask("POST", "/sessions/current/proof", {"password": anna.password}, token=token)

    assert proven.status == 200, proven.json
    assert (await leave(house, beta, proven.json["token"])).status == 202


async def test_without_a_clear_yes_nothing_changes(house: House, anna: Person, beta: UUID) -> None:
    await there(house, anna, beta)

    refused = await leave(house, beta, confirm=False)

    assert (refused.status, refused.json["code"]) == (422, "invalid")
    assert await names(house, "beta") == ["Acme", "Beta"]


async def test_it_takes_a_key_of_its_own(house: House, anna: Person, beta: UUID) -> None:
    third = await found(house.db, house.clock.now + timedelta(seconds=2), name="Gamma")
    await welcome(house.db, third, anna, house.clock.now)
    await there(house, anna, beta)
    await there(house, anna, third, "gamma")

    missing = await leave(house, beta, key=None)
    await leave(house, beta)
    reused = await leave(house, third, "gamma")

    assert (missing.status, missing.json["code"]) == (400, "idempotency_key_required")
    assert (reused.status, reused.json["code"]) == (422, "idempotency_key_reused")


async def test_where_it_is_switched_off_the_privacy_contact_is_named(house: House, anna: Person, beta: UUID) -> None:
    await there(house, anna, beta)
    async with house.db.write() as tx:
        off = {"leaving_allowed": False, "privacy_contact": {"email": "privacy@beta.example"}}
        await organization.write_settings(tx, beta, off)

    refused = await leave(house, beta)

    assert (refused.status, refused.json["code"]) == (403, "leaving_switched_off")
    assert refused.json["contact"] == {"email": "privacy@beta.example"}
    assert await names(house, "beta") == ["Acme", "Beta"]


async def test_where_somebody_does_not_belong_is_nowhere_to_leave(house: House, anna: Person) -> None:
    strangers = await found(house.db, house.clock.now, name="Gamma")

    theirs, nobodys = await leave(house, strangers, "home"), await leave(house, uuid4(), "home")

    assert theirs.status == nobodys.status == 404
    assert theirs.json | {"instance": ""} == nobodys.json | {"instance": ""}


async def test_whoever_owes_an_answer_to_terms_there_may_leave_without_one(
    house: House, anna: Person, beta: UUID
) -> None:
    await give_terms(house.db, beta, house.clock.now)
    waits = await switch(house, beta, "home")
    assert waits.json["state"] == "terms_required"

    assert (await leave(house, beta, waits.json["token"])).status == 202


async def test_whoever_owes_an_answer_leaves_nothing_else(house: House, anna: Person, beta: UUID) -> None:
    version = await give_terms(house.db, house.organization_id, house.clock.now)
    waits = await house.sign_in(anna)

    refused = await leave(house, beta, waits.json["token"])

    assert (refused.status, refused.json["code"]) == (403, "terms_required")
    assert refused.json["version_id"] == str(version.id)


async def test_the_terms_at_home_come_first_there(house: House, anna: Person, beta: UUID) -> None:
    version = await give_terms(house.db, house.organization_id, house.clock.now)
    await there(house, anna, beta)

    done = await leave(house, beta)

    assert done.json["signed_in"]["state"] == "terms_required"
    assert done.json["signed_in"]["version_id"] == str(version.id)


async def test_windows_there_are_cancelled(house: House, anna: Person, beta: UUID) -> None:
    phone = await give_device(house.db, guest(anna, beta), house.clock.now)
    await there(house, anna, beta, "asks")
    asked = {"device_id": str(phone), "act": "reset_passcode"}
    assert (await house.ask("POST", "/re-sign-ins", asked, token="asks")).status == 201
    await there(house, anna, beta)

    await leave(house, beta)

    assert [(row.state, row.why) for row in await house.rows(sa.select(re_sign_in))] == [("cancelled", "left")]


async def launch(house: House, anna: Person, beta: UUID) -> None:
    """An app of Beta's, from a sign-in there."""
    await house.appoint("registrar", organization_id=beta)
    made = {"name": "Wiki", "client_id": "wiki", "backchannel_logout_uri": "https://wiki.example/out"}
    app = await house.ask("POST", "/apps", made, token="registrar")
    assert app.status == 201, app.json
    await there(house, anna, beta)
    used = await house.ask("POST", f"/apps/{app.json['id']}/uses", token="beta")
    assert used.status in {200, 201}, used.json


async def test_apps_that_were_launched_there_are_to_be_told(house: House, anna: Person, beta: UUID) -> None:
    await launch(house, anna, beta)

    await leave(house, beta)

    (sign_out,) = await house.rows(sa.select(job).where(job.c.kind == Task.SIGN_OUT))
    assert (sign_out.organization_id, sign_out.account_id) == (beta, anna.id)


async def test_signing_out_everywhere_is_told_to_the_apps_of_each_organization(
    house: House, anna: Person, beta: UUID
) -> None:
    await launch(house, anna, beta)

    done = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="home")

    assert done.status == 204
    jobs = await house.rows(sa.select(job.c.organization_id).where(job.c.kind == Task.SIGN_OUT))
    assert {row.organization_id for row in jobs} == {house.organization_id, beta}
    assert (await house.ask("GET", "/sessions/current", token="beta")).status == 401


# Whoever is the last to give roles


async def owners(house: House, beta: UUID, *people: str) -> list[Person]:
    made = []
    for name in people:
        person = await house.hire(name)
        await welcome(house.db, beta, person, house.clock.now, roles=OWNER)
        await there(house, person, beta, name)
        made.append(person)
    return made


async def test_the_only_owner_stays_and_is_told_of_what(house: House, beta: UUID) -> None:
    await owners(house, beta, "anna")

    refused = await leave(house, beta, "anna")

    assert (refused.status, refused.json["code"]) == (409, "sole_owner")
    assert refused.json["owns"] == [{"kind": "organization", "id": str(beta), "name": "Beta"}]
    assert (await house.ask("GET", "/sessions/current", token="anna")).status == 200


async def test_one_who_is_blocked_is_no_other_owner(house: House, beta: UUID) -> None:
    _, bert = await owners(house, beta, "anna", "bert")
    async with house.db.write() as tx:
        await account.block(tx, bert.id, house.clock.now)

    assert (await leave(house, beta, "anna")).json["code"] == "sole_owner"


@pytest.mark.rule("A4.4")
async def test_of_the_last_two_owners_who_leave_at_once_one_stays(house: House, beta: UUID) -> None:
    people = await owners(house, beta, "anna", "bert")

    answers = await asyncio.gather(*(leave(house, beta, person.name, key=person.name) for person in people))

    assert sorted(answer.status for answer in answers) == [202, 409]
    left = await house.rows(sa.select(membership.c.account_id).where(membership.c.organization_id == beta))
    assert len(left) == 1


async def test_an_owner_who_leaves_while_the_other_is_demoted_leaves_one(house: House, beta: UUID) -> None:
    ben = await house.appoint("ben", organization_id=beta)
    (anna,) = await owners(house, beta, "anna")
    demoted = {"roles": [], "reason": "left the team"}
    roles = f"/accounts/{ben.id}/roles"
    async with house.db.write() as tx:
        await tx.execute(sa.update(session).where(session.c.account_id == anna.id).values(strength=2))

    answers = await asyncio.gather(
        leave(house, beta, "anna"), house.ask("PUT", roles, demoted, token="anna", headers={"If-Match": "*"})
    )

    assert 202 in {answer.status for answer in answers} or 200 in {answer.status for answer in answers}
    async with house.db.read() as tx:
        assert await organization.count_active(tx, beta, Role.GLOBAL_ADMINISTRATOR) == 1


# Administrators there


async def test_administrators_see_who_came_from_elsewhere(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    shown = (await house.ask("GET", "/members", token="ben")).json

    assert [(one["sign_in_name"], one["account_id"], one["roles"]) for one in shown["items"]] == [
        ("anna@example.org", str(anna.id), [])
    ]
    assert (await house.ask("GET", "/members", token="home")).status == 403
    assert (await house.ask("GET", f"/accounts/{anna.id}", token="ben")).status == 404


async def test_what_belongs_to_a_guests_account_is_none_of_their_business(
    house: House, anna: Person, beta: UUID, ben: Person
) -> None:
    why = {"reason": "because"}
    for method, path, body in (
        ("POST", f"/accounts/{anna.id}/block", why),
        ("DELETE", f"/accounts/{anna.id}", None),
        ("POST", f"/accounts/{anna.id}/access-pass", {"lifetime_seconds": 3600, "one_use": True}),
        ("POST", f"/accounts/{anna.id}/sign-out-everywhere", why),
    ):
        refused = await house.ask(method, path, body, token="ben", headers={"Idempotency-Key": path})
        assert refused.status == 404, (path, refused.json)


async def test_roles_there_are_theirs_to_give(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    given = {"roles": ["directory_reader"], "reason": "helps us"}

    done = await house.ask("PUT", f"/accounts/{anna.id}/roles", given, token="ben", headers={"If-Match": "*"})

    assert (done.status, done.json["roles"]) == (200, ["directory_reader"])
    assert await house.told(anna) == ["organization.roles_changed"]
    await there(house, anna, beta)
    assert (await house.ask("GET", "/members", token="beta")).status == 200
    assert (await house.ask("GET", "/accounts", token="home")).status == 403


async def test_a_guests_roles_are_edited_from_the_list_and_not_from_an_older_one(
    house: House, anna: Person, beta: UUID, ben: Person
) -> None:
    async def listed() -> str:
        (one,) = (await house.ask("GET", "/members", token="ben")).json["items"]
        return str(one["etag"])

    async def give(role: str, etag: str) -> Answer:
        body = {"roles": [role], "reason": "helps us"}
        return await house.ask("PUT", f"/accounts/{anna.id}/roles", body, token="ben", headers={"If-Match": etag})

    seen = await listed()
    given = await give("directory_reader", seen)

    assert (given.status, given.headers["ETag"]) == (200, await listed())
    assert (await give("helpdesk_administrator", seen)).status == 412
    assert (await give("helpdesk_administrator", await listed())).status == 200


async def remove(house: House, person: Person, token: str = "ben") -> Answer:
    return await house.ask("DELETE", f"/members/{person.id}", {"reason": "the project is over"}, token=token)


async def test_an_administrator_ends_a_membership(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    await there(house, anna, beta)

    done = await remove(house, anna)

    assert done.status == 204
    assert (await house.ask("GET", "/sessions/current", token="beta")).status == 401
    assert (await house.ask("GET", "/sessions/current", token="home")).status == 200
    assert await names(house, "home") == ["Acme"]
    assert await house.told(anna) == ["organization.removed"]
    assert (await house.events(anna))["account:membership:remove", "success", "the project is over"] == 1
    assert (await remove(house, anna)).status == 404


async def test_nobody_is_removed_from_home(house: House, beta: UUID, ben: Person) -> None:
    ours = await house.hire("ours", organization_id=beta)

    assert (await remove(house, ours)).status == 404


async def test_the_last_owner_is_not_removed(house: House, beta: UUID) -> None:
    await house.appoint("clerk", "privileged_authentication_administrator", organization_id=beta)
    (anna,) = await owners(house, beta, "anna")

    refused = await remove(house, anna, "clerk")

    assert (refused.status, refused.json["code"]) == (409, "last_administrator")


# Taking it back


async def gone(house: House) -> dict[str, Any]:
    (one,) = (await house.ask("GET", "/former-members", token="ben")).json["items"]
    found: dict[str, Any] = one
    return found


async def restore(house: House, membership_id: str, token: str = "ben") -> Answer:
    return await house.ask("POST", f"/former-members/{membership_id}/restore", token=token)


@pytest.fixture
async def left(house: House, anna: Person, beta: UUID, ben: Person) -> str:
    """anna has left Beta, where she was a directory reader: the membership's id."""
    async with house.db.write() as tx:
        await organization.set_roles(tx, beta, anna.id, ["directory_reader"])
    await there(house, anna, beta)
    assert (await leave(house, beta)).status == 202
    membership_id: str = (await gone(house))["id"]
    return membership_id


async def after(house: House, age: timedelta, beta: UUID) -> None:
    """So much later; ben has signed in anew."""
    house.clock.now += age
    async with house.db.write() as tx:
        await tx.execute(
            sa.update(session)
            .where(session.c.organization_id == beta, session.c.ended_at.is_(None))
            .values(
                signed_in_at=house.clock.now,
                proven_at=house.clock.now,
                used_at=house.clock.now,
                idle_at=house.clock.now + timedelta(minutes=10),
                expires_at=house.clock.now + timedelta(hours=1),
            )
        )


@pytest.mark.rule("A4.2")
@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(days=29, hours=23), 204),
        (MEMBERSHIP_KEPT, 204),
        (MEMBERSHIP_KEPT + MOMENT, 410),
        (2 * MEMBERSHIP_KEPT, 410),
    ],
)
async def test_it_can_be_taken_back_for_thirty_days(
    house: House, anna: Person, beta: UUID, left: str, age: timedelta, status: int
) -> None:
    await after(house, age, beta)

    assert (await restore(house, left)).status == status


async def test_taken_back_is_the_same_membership_with_its_roles(
    house: House, anna: Person, beta: UUID, left: str
) -> None:
    assert (await restore(house, left)).status == 204

    (row,) = await house.rows(sa.select(membership).where(membership.c.account_id == anna.id, membership.c.guest))
    assert (str(row.id), row.roles) == (left, ["directory_reader"])
    assert await names(house, "home") == ["Acme", "Beta"]
    assert (await house.ask("GET", "/sessions/current", token="beta")).status == 401
    assert await house.told(anna) == ["organization.left", "organization.restored"]
    assert (await house.events(anna))["account:membership:restore", "success", None] == 1
    assert (await restore(house, left)).status == 404


async def test_who_may_not_act_on_such_roles_takes_nobody_back(
    house: House, anna: Person, beta: UUID, ben: Person
) -> None:
    await house.appoint("clerk", "user_administrator", organization_id=beta)
    async with house.db.write() as tx:
        await organization.set_roles(tx, beta, anna.id, list(OWNER))
    await there(house, anna, beta)
    await leave(house, beta)
    membership_id = (await gone(house))["id"]

    assert (await restore(house, membership_id, "clerk")).status == 403
    assert (await restore(house, membership_id)).status == 204


async def accepted(house: House, anna: Person, beta: UUID) -> None:
    """anna has accepted Beta's terms, and then left."""
    version = await give_terms(house.db, beta, house.clock.now)
    token = (await switch(house, beta, "home")).json["token"]
    shown = (await house.ask("GET", f"/terms/{version.id}", token=token)).json
    yes = {"accepted": True, "language": shown["language"], "hash": shown["hash"]}
    assert (await house.ask("POST", f"/terms/{version.id}/acceptance", yes, token=token)).status == 201
    assert (await leave(house, beta, token)).status == 202
    await house.open_session(anna, "later")
    house.clock.now += timedelta(seconds=1)


async def test_whoever_joins_anew_is_asked_for_the_terms_anew(house: House, anna: Person, beta: UUID) -> None:
    await accepted(house, anna, beta)
    await welcome(house.db, beta, anna, house.clock.now)

    assert (await switch(house, beta, "later")).json["state"] == "terms_required"


async def test_what_was_accepted_counts_again_with_what_is_taken_back(
    house: House, anna: Person, beta: UUID, ben: Person
) -> None:
    await accepted(house, anna, beta)
    assert (await restore(house, (await gone(house))["id"])).status == 204

    assert (await switch(house, beta, "later")).json["state"] == "signed_in"


async def test_another_organizations_administrator_takes_nobody_back(house: House, left: str) -> None:
    await house.appoint("boss")

    theirs, nobodys = await restore(house, left, "boss"), await restore(house, str(uuid4()), "boss")

    assert theirs.status == nobodys.status == 404
    assert theirs.json | {"instance": ""} == nobodys.json | {"instance": ""}


async def test_whoever_joined_anew_has_a_membership_of_their_own(
    house: House, anna: Person, beta: UUID, left: str
) -> None:
    await welcome(house.db, beta, anna, house.clock.now)

    refused = await restore(house, left)

    assert (refused.status, refused.json["code"]) == (409, "already_member")
    (row,) = await house.rows(sa.select(membership).where(membership.c.account_id == anna.id, membership.c.guest))
    assert str(row.id) != left
    assert row.roles == []


async def test_rights_are_forgotten_after_thirty_days_and_all_of_it_a_month_later(
    house: House, anna: Person, beta: UUID, left: str
) -> None:
    async def sweep(age: timedelta) -> list[Any]:
        async with house.db.write() as tx:
            await leaving.erase_due(tx, began + age, 100)
        return [row.roles for row in await house.rows(sa.select(former_membership))]

    began = house.clock.now
    assert await sweep(MEMBERSHIP_KEPT) == [["directory_reader"]]
    assert await sweep(MEMBERSHIP_KEPT + MOMENT) == [[]]
    assert await sweep(2 * MEMBERSHIP_KEPT) == [[]]
    assert await sweep(2 * MEMBERSHIP_KEPT + MOMENT) == []


async def on_its_way_out(house: House, anna: Person, beta: UUID) -> tuple[UUID, UUID]:
    """A device of Beta that was to be wiped when its person left, and the wipe."""
    phone = await give_device(house.db, guest(anna, beta), house.clock.now)
    async with house.db.write() as tx:
        await tx.execute(sa.update(enrollment).where(enrollment.c.device_id == phone).values(address=ADDRESS))
        wipe = await runs.ask(tx, guest(anna, beta), phone, Act.WIPE, house.clock.now)
    await there(house, anna, beta)
    assert (await leave(house, beta)).status == 202
    return phone, wipe.id


async def trust(house: House, device_id: UUID) -> str:
    (row,) = await house.rows(sa.select(device.c.state).where(device.c.id == device_id))
    return str(row.state)


async def test_a_wipe_that_an_operator_takes_back_leaves_no_trust_behind(
    house: House, anna: Person, beta: UUID
) -> None:
    phone, wipe = await on_its_way_out(house, anna, beta)
    await house.open_session(await house.hire("otto", is_operator=True), "o", strength=2)

    cancelled = await house.ask("POST", f"/jobs/{wipe}/cancel", token="o")

    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert await trust(house, phone) == "disabled"


@pytest.mark.parametrize("gone", [True, False])
async def test_a_device_that_cannot_be_wiped_is_trusted_as_long_as_it_has_an_owner(
    house: House, anna: Person, beta: UUID, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    phone, wipe = await on_its_way_out(house, anna, beta)
    if not gone:
        await welcome(house.db, beta, anna, house.clock.now)
    async with house.db.write() as tx:
        await runs.planned(tx, house.keys, wipe, house.clock.now, ref="wipe-1")
    house.clock.forward(timedelta(seconds=1))
    async with house.db.write() as tx:
        lock = await runs.ask(tx, guest(anna, beta), phone, Act.REMOTE_LOCK, house.clock.now)
        await runs.planned(tx, house.keys, lock.id, house.clock.now, ref="lock-1")
    spoken = Spoken(house, monkeypatch)
    failed = Outcome(JobState.FAILED, Reason.PLATFORM_UNSUPPORTED)
    spoken.check_in = CheckIn(wants_order=True)
    first = await talk(house)
    spoken.check_in = CheckIn(
        wants_order=True, state=EnrollmentState.ENROLLED, reports=(Report(answer=failed, ref="wipe-1"),)
    )

    second = await talk(house)

    assert first == "wipe-1"
    assert second == ("nothing" if gone else "lock-1"), "what else was asked of it is not handed out"
    assert await trust(house, phone) == ("disabled" if gone else "active")
    assert await talk(house) == (Refusal.NOT_BOUND if gone else "lock-1")


async def test_a_device_that_begins_anew_while_it_was_to_be_wiped_is_not_trusted_anew(
    house: House, anna: Person, beta: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone, wipe = await on_its_way_out(house, anna, beta)
    spoken = Spoken(house, monkeypatch)
    spoken.check_in = CheckIn(state=EnrollmentState.ENROLLED, anew=True)

    await talk(house)

    (row,) = await house.rows(sa.select(job.c.state).where(job.c.id == wipe))
    assert row.state == "cancelled"
    assert await trust(house, phone) == "disabled"


async def test_an_invitation_of_a_device_leads_nowhere_once_its_person_left(
    house: House, anna: Person, beta: UUID
) -> None:
    phone = await give_device(house.db, guest(anna, beta), house.clock.now, state=DeviceState.PENDING)
    async with house.db.write() as tx:
        await tx.execute(
            sa.update(enrollment)
            .where(enrollment.c.device_id == phone)
            .values(state="invited", link_hash=b"link", link_expires_at=house.clock.now)
        )
        assert await of_link(tx, b"link", house.clock.now) is not None
    await there(house, anna, beta)

    await leave(house, beta)

    async with house.db.read() as tx:
        assert await of_link(tx, b"link", house.clock.now) is None
