"""Accounts as administrators see, make, shut, delete and empower them, over HTTP, on both databases (A10, A15)."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import account, organization
from models.delivery import Delivery, delivery
from models.event import event
from models.job import job
from models.re_sign_in import re_sign_in
from models.session import session
from models.vocabulary import Act, new_id
from tests import runs
from tests.api.house import Answer, House
from tests.people import Person, found, give_device, welcome

NEW = "plain otter walks along the dyke"
GLOBAL = "global_administrator"


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


async def do(house: House, verb: str, whose: Person, token: str = "boss") -> Answer:
    body = {"reason": "ticket 4711"} if verb == "block" else None
    return await house.ask("POST", f"/accounts/{whose.id}/{verb}", body, token=token)


async def delete(house: House, whose: Person, token: str = "boss") -> Answer:
    return await house.ask("DELETE", f"/accounts/{whose.id}", token=token)


async def grant(house: House, whose: Person, *roles: str, token: str = "boss", mark: str = "*") -> Answer:
    body = {"roles": list(roles), "reason": "ticket 4711"}
    return await house.ask("PUT", f"/accounts/{whose.id}/roles", body, token=token, headers={"If-Match": mark})


async def show(house: House, whose: Person, token: str = "boss") -> Answer:
    return await house.ask("GET", f"/accounts/{whose.id}", token=token)


async def alive(house: House, token: str) -> bool:
    return (await house.ask("GET", "/sessions/current", token=token)).status == 200


# Looking them up


async def names(house: House, text: str, *, limit: int = 25, token: str = "boss") -> list[str]:
    """Every page of what begins so."""
    told: list[str] = []
    cursor = ""
    while True:
        more = f"&cursor={cursor}" if cursor else ""
        page = await house.ask("GET", f"/accounts?begins_with={text}&limit={limit}{more}", token=token)
        assert page.status == 200
        told += [one["sign_in_name"] for one in page.json["items"]]
        cursor = page.json["next_cursor"]
        if not cursor:
            return told


@pytest.mark.parametrize("limit", [1, 2, 3, 25])
async def test_they_are_found_by_how_either_name_begins_each_once(house: House, boss: Person, limit: int) -> None:
    for name, shown in (("adam", "Zed"), ("ada", "Ada"), ("zoe", "Adriana"), ("bob", "ÁDA"), ("abe", "Mabel")):
        made = await house.hire(name)
        async with house.db.write() as tx:
            values = {"display_name": shown, "looked_up_as": account.look_up(shown)}
            await tx.execute(sa.update(account.account).where(account.account.c.id == made.id).values(**values))

    assert await names(house, "AD", limit=limit) == ["ada", "adam", "zoe"]
    assert await names(house, "ád", limit=limit) == ["bob"]
    assert await names(house, "", limit=limit) == ["abe", "ada", "adam", "bob", "boss", "zoe"]
    assert await names(house, "%", limit=limit) == []


async def test_tenants_apart_nobody_of_another_organization_is_seen_or_touched(house: House, boss: Person) -> None:
    elsewhere = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    nobody = replace(boss, id=new_id(house.clock.now))

    assert await names(house, "zoe") == []
    page = await house.ask("GET", f"/accounts?cursor={elsewhere.id}", token="boss")
    assert page.status == 422
    for theirs, missing in [
        (await ask(house, elsewhere), await ask(house, nobody))
        for ask in (show, delete, lambda h, w: do(h, "block", w), lambda h, w: grant(h, w, GLOBAL))
    ]:
        assert (theirs.status, missing.status) == (404, 404)
        assert {**theirs.json, "instance": ""} == {**missing.json, "instance": ""}


@pytest.mark.parametrize(("role", "status"), [("directory_reader", 200), ("reports_reader", 403), (None, 403)])
async def test_whoever_may_look_up_may_not_act(house: House, anna: Person, role: str | None, status: int) -> None:
    person = await house.hire("bert", roles=() if role is None else (role,), second_factor=True)
    await house.open_session(person, "bert", strength=2)

    assert (await house.ask("GET", "/accounts", token="bert")).status == status
    assert (await show(house, anna, token="bert")).status == status
    assert (await do(house, "block", anna, token="bert")).status == 403


# Making them


async def create(house: House, name: str = "bert@example.org", token: str = "boss", **more: Any) -> Answer:
    body = {"sign_in_name": name, "display_name": "Bert", **more}
    return await house.ask("POST", "/accounts", body, token=token)


async def test_a_new_person_is_invited_by_mail_and_chooses_the_first_password(house: House, boss: Person) -> None:
    made = await create(house, "Bert@Example.org", language="nl")

    assert (made.status, made.json["invitation"]["sent"], made.json["invitation"]["password"]) == (201, True, None)
    told = made.json["account"]
    assert (told["sign_in_name"], told["roles"], told["state"]) == ("bert@example.org", [], "active")
    (row,) = await house.rows(sa.select(delivery))
    to, token = Delivery.of(row).open(house.keys)
    assert (row.key, row.language, row.link, to) == ("account.invited", "nl", "/reset-password", "bert@example.org")
    assert token is not None
    chosen = await house.ask("POST", "/password-resets", {"token": token.text(), "new": NEW})
    assert chosen.status == 204
    bert = Person(boss.id, boss.organization_id, "bert@example.org", NEW)
    assert (await house.sign_in(bert)).status == 201


async def test_who_has_no_address_gets_a_password_that_opens_nothing_but_choosing_another(
    house: House, boss: Person
) -> None:
    made = await create(house, "bert")

    password = made.json["invitation"]["password"]
    opened = await house.sign_in(Person(boss.id, boss.organization_id, "bert", password))
    assert (opened.status, opened.json["state"]) == (202, "password_change_required")
    kept = [str(tuple(row)) for table in (account.account, event) for row in await house.rows(sa.select(table))]
    assert not any(password in row for row in kept)


@pytest.mark.rule("A10.3")
@pytest.mark.parametrize(("length", "status"), [(256, 201), (257, 422)])
async def test_a10_t_a_display_name_has_256_characters_at_most(
    house: House, boss: Person, length: int, status: int
) -> None:
    assert (await create(house, display_name="x" * length)).status == status


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("x" * 113, 201),
        ("x" * 114, 422),
        ("a b", 422),
        ("a\u202eb", 422),
        (f"{'x' * 65}@example.org", 422),
        (f"x@{'y' * 49}", 422),
        ("@example.org", 422),
    ],
)
async def test_what_an_account_may_be_called(house: House, boss: Person, name: str, status: int) -> None:
    assert (await create(house, name)).status == status


@pytest.mark.parametrize("field", ["roles", "blocked_at", "is_operator", "organization_id", "password_hash"])
async def test_mass_assignment_makes_nothing(house: House, boss: Person, field: str) -> None:
    assert (await create(house, **{field: ["x"]})).status == 422
    assert await names(house, "bert") == []


async def test_a_name_is_given_once_in_the_installation_also_while_its_account_is_deleted(
    house: House, boss: Person, anna: Person
) -> None:
    await house.hire("zoe@example.org", organization_id=await found(house.db, house.clock.now))
    await delete(house, anna)

    for name in ("zoe@example.org", "ANNA@example.org"):
        refused = await create(house, name)
        assert (refused.status, refused.json["code"]) == (409, "sign_in_name_taken")
    answers = await asyncio.gather(*(create(house) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409]


async def test_only_user_administrators_and_global_ones_make_accounts(house: House) -> None:
    for n, (role, status) in enumerate(
        {"user_administrator": 201, "helpdesk_administrator": 403, "privileged_role_administrator": 403}.items()
    ):
        await house.appoint(role, role)
        assert (await create(house, f"new{n}", token=role)).status == status


# Shut and opened again


async def test_a_block_ends_everything_at_once_and_opening_it_again_brings_nothing_back(
    house: House, boss: Person, anna: Person
) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    async with house.db.write() as tx:
        await runs.ask(tx, anna, phone, Act.REMOTE_LOCK, house.clock.now)
    await house.open_session(anna, "other")
    await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="other")

    blocked = [await do(house, "block", anna) for _ in range(2)]

    assert [one.json["state"] for one in blocked] == ["blocked", "blocked"]
    assert not await alive(house, "anna")
    assert (await house.sign_in(anna)).status == 401
    assert [row.state for row in await house.rows(sa.select(re_sign_in))] == ["cancelled"]
    (ended,) = await house.rows(sa.select(job))
    assert (ended.state, ended.reason) == ("cancelled", "account_blocked")
    assert (await house.events(anna))["account:access:block", "success", "ticket 4711"] == 1
    keys = Counter(row.key for row in await house.rows(sa.select(delivery)))
    assert keys["account.blocked"] == 1

    assert (await do(house, "unblock", anna)).json["state"] == "active"

    assert not await alive(house, "anna")
    (ended,) = await house.rows(sa.select(job))
    assert ended.state == "cancelled"
    assert (await house.sign_in(anna)).status == 201


async def test_a_reason_is_needed_and_bounded(house: House, boss: Person, anna: Person) -> None:
    for reason, status in (("", 422), ("x" * 201, 422), ("x" * 200, 200)):
        answer = await house.ask("POST", f"/accounts/{anna.id}/block", {"reason": reason}, token="boss")
        assert answer.status == status


@pytest.mark.parametrize(("after", "status"), [(30, 200), (30.0000001, 404)])
async def test_a_deleted_account_can_be_restored_for_thirty_days(
    house: House, boss: Person, anna: Person, after: float, status: int
) -> None:
    assert [(await delete(house, anna)).status for _ in range(2)] == [204, 204]
    assert not await alive(house, "anna")
    assert await names(house, "anna") == []
    deleted = await house.ask("GET", "/accounts?deleted=true", token="boss")
    assert [(one["state"], one["restorable_until"]) for one in deleted.json["items"]] == [
        ("deleted", "2026-03-31T12:00:00Z")
    ]
    assert (await do(house, "unblock", anna)).status == 404, "there is no such account but for restoring it"
    house.clock.forward(timedelta(days=after))
    await house.open_session(boss, "later", strength=2)

    restored = await do(house, "restore", anna, token="later")

    assert restored.status == status
    assert (await house.sign_in(anna)).status == (201 if status == 200 else 401)


async def test_whoever_was_blocked_before_stays_so_when_restored(house: House, boss: Person, anna: Person) -> None:
    await do(house, "block", anna)
    house.clock.forward(1)
    await delete(house, anna)

    assert (await do(house, "restore", anna)).json["state"] == "blocked"


async def test_nobody_does_it_to_themselves(house: House, boss: Person) -> None:
    await house.appoint("second")

    assert (await do(house, "block", boss)).status == 403
    assert (await delete(house, boss)).status == 403
    assert (await grant(house, boss)).status == 403


async def test_no_administrator_reaches_above_their_roles_or_the_organization(house: House, boss: Person) -> None:
    operator = await house.hire("olga", is_operator=True)
    await house.appoint("user", "user_administrator")

    assert (await do(house, "block", operator)).status == 403
    assert (await do(house, "block", boss, token="user")).status == 403
    assert (await grant(house, operator, token="user")).status == 403


async def test_it_takes_two_factors_shown_within_fifteen_minutes(house: House, anna: Person, boss: Person) -> None:
    weak = await house.hire("weak", roles=(GLOBAL,))
    await house.open_session(weak, "weak")
    missing = await do(house, "block", anna, token="weak")
    assert (missing.status, missing.json["code"]) == (403, "second_factor_missing")
    async with house.db.write() as tx:  # not idle meanwhile
        await tx.execute(sa.update(session).values(idle_at=house.clock.now + timedelta(hours=1)))
    house.clock.forward(timedelta(minutes=15, microseconds=1))

    stale = await do(house, "block", anna)

    assert (stale.status, stale.json["code"], stale.json["max_age"]) == (401, "proof_required", 900)
    assert 'acr_values="2", max_age=900' in stale.headers["WWW-Authenticate"]


# Roles


async def test_roles_count_from_the_next_request_on_and_are_told(house: House, boss: Person, anna: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    await house.open_session(anna, "other")
    await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="other")

    given = await grant(
        house, anna, "reports_reader", "directory_reader", mark=(await show(house, anna)).headers["ETag"]
    )

    assert (given.status, given.json["roles"]) == (200, ["directory_reader", "reports_reader"])
    assert (await house.ask("GET", "/accounts", token="anna")).status == 200
    assert [row.state for row in await house.rows(sa.select(re_sign_in))] == ["cancelled"]
    (noted,) = await house.lines("account:roles:change")
    assert noted.facts == {"before": [], "after": ["directory_reader", "reports_reader"]}
    assert (noted.reason, noted.row.actor_id, noted.row.account_id) == ("ticket 4711", boss.id, anna.id)
    assert "account.roles_changed" in await house.told(anna)
    assert (await grant(house, anna)).json["roles"] == []
    assert (await house.ask("GET", "/accounts", token="anna")).status == 403


@pytest.mark.rule("A10.7")
async def test_a10_t_of_two_who_edit_at_once_the_second_is_told_so(house: House, boss: Person, anna: Person) -> None:
    await house.appoint("second")
    seen = (await show(house, anna)).headers["ETag"]
    body = {"roles": [], "reason": "x"}
    without = await house.ask("PUT", f"/accounts/{anna.id}/roles", body, token="boss")
    assert without.status == 428

    answers = await asyncio.gather(
        grant(house, anna, "reports_reader", mark=seen),
        grant(house, anna, "usage_reader", token="second", mark=seen),
    )

    assert sorted(answer.status for answer in answers) == [200, 412]


@pytest.mark.rule("A10.2")
async def test_a10_t_a_role_that_is_granted_between_the_read_and_the_write_counts(
    house: House, boss: Person, anna: Person
) -> None:
    """The helpdesk's block waits for the account, which is being made a global administrator's."""
    await house.appoint("user", "user_administrator")
    async with house.db.write() as tx:
        await account.lock(tx, anna.id)
        waiting = asyncio.ensure_future(do(house, "block", anna, token="user"))
        await house.until_it_waits(waiting)
        await organization.set_roles(tx, anna.organization_id, anna.id, (GLOBAL,))

    assert (await waiting).status == 403
    assert (await show(house, anna)).json["state"] == "active"


async def test_two_last_globals_who_demote_each_other_at_once(house: House, boss: Person) -> None:
    other = await house.appoint("other")

    answers = await asyncio.gather(grant(house, other), grant(house, boss, token="other"))

    assert sorted(answer.status for answer in answers) in ([200, 403], [200, 409])
    left = [(await show(house, one, token=token)).status for one, token in ((boss, "boss"), (other, "other"))]
    assert sorted(left) == [200, 403]


async def test_two_others_who_take_the_last_globals_at_once_leave_one(house: House, boss: Person) -> None:
    """Four different accounts: only what they all belong to can be held."""
    other = await house.appoint("other")
    for name in ("one", "two"):
        await house.appoint(name, "privileged_role_administrator")

    answers = await asyncio.gather(grant(house, boss, token="one"), grant(house, other, token="two"))

    assert sorted(answer.status for answer in answers) == [200, 409]


# A guest who rules elsewhere


async def guest_who_rules(house: House, name: str = "gina") -> tuple[UUID, Person]:
    """Another organization, and somebody of ours who is its global administrator."""
    beta = await found(house.db, house.clock.now, name="Beta")
    gina = await house.hire(f"{name}@example.org")
    await welcome(house.db, beta, gina, house.clock.now, roles=(GLOBAL,))
    return beta, gina


async def orphaned(house: House) -> list[Any]:
    return [line.row for line in await house.lines("organization:administration:orphan")]


@pytest.mark.parametrize("act", ["block", "delete"])
async def test_home_shuts_out_its_own_and_whom_they_ruled_hears_of_it(house: House, boss: Person, act: str) -> None:
    """No other tenant keeps a home from it (decision 0017), or whoever is given a role there could not be stopped."""
    beta, gina = await guest_who_rules(house)
    await house.open_session(gina, "gina")
    keeper = await house.appoint("keeper@beta.example", "privileged_role_administrator", organization_id=beta)
    await house.hire("nobody@beta.example", organization_id=beta)
    blocked, deleted = [
        await house.appoint(f"{gone}@beta.example", "user_administrator", organization_id=beta)
        for gone in ("blocked", "deleted")
    ]
    async with house.db.write() as tx:
        await account.block(tx, blocked.id, house.clock.now)
        await account.delete(tx, await account.lock(tx, deleted.id), house.clock.now)

    done = await (do(house, "block", gina) if act == "block" else delete(house, gina))

    assert done.status in {200, 204}
    assert not await alive(house, "gina")
    (line,) = await orphaned(house)
    assert (line.organization_id, line.account_id, line.actor_id) == (beta, gina.id, None)
    mails = await house.rows(sa.select(delivery).where(delivery.c.key == "organization.ownerless"))
    assert [(mail.account_id, mail.params["organization"], mail.link) for mail in mails] == [(keeper.id, "Beta", None)]
    again = await (do(house, "block", gina) if act == "block" else delete(house, gina))
    assert again.status in {200, 204}
    assert len(await orphaned(house)) == 1


async def test_where_another_global_is_left_nobody_is_told(house: House, boss: Person) -> None:
    beta, gina = await guest_who_rules(house)
    await house.appoint("other", organization_id=beta)

    assert (await do(house, "block", gina)).status == 200

    assert await orphaned(house) == []


async def test_the_last_at_home_is_not_shut_out_whatever_they_rule_elsewhere(house: House) -> None:
    beta = await found(house.db, house.clock.now, name="Beta")
    last = await house.appoint("last")
    await welcome(house.db, beta, last, house.clock.now, roles=(GLOBAL,))
    await house.appoint("keeper", "privileged_authentication_administrator")

    refused = await do(house, "block", last, token="keeper")

    assert (refused.status, refused.json["code"]) == (409, "last_administrator")
    assert await orphaned(house) == []


async def test_a_guest_who_is_shut_out_at_home_while_the_other_last_one_is_demoted_leaves_one(
    house: House, boss: Person
) -> None:
    """Counted at once, each would be the other's reason to go: both hold the organization that they count in."""
    beta, gina = await guest_who_rules(house)
    other = await house.appoint("other", organization_id=beta)
    await house.appoint("keeper", "privileged_role_administrator", organization_id=beta)

    demoted, blocked = await asyncio.gather(grant(house, other, token="keeper"), do(house, "block", gina))

    assert blocked.status == 200
    lost = await orphaned(house)
    assert (demoted.status, len(lost)) in {(409, 0), (200, 1)}, "refused, or known to have left nobody"


async def test_a_guest_who_is_being_shut_out_is_waited_for_before_another_goes(house: House, boss: Person) -> None:
    """The other organization's own administrator waits for what home is doing, and stays."""
    beta, gina = await guest_who_rules(house)
    other = await house.appoint("other", organization_id=beta)
    await house.appoint("keeper", "privileged_role_administrator", organization_id=beta)
    async with house.db.write() as tx:
        await account.lock(tx, gina.id)
        await organization.hold_roles(tx, beta)
        waiting = asyncio.ensure_future(grant(house, other, token="keeper"))
        await house.until_it_waits(waiting)
        await account.block(tx, gina.id, house.clock.now)

    refused = await waiting
    assert (refused.status, refused.json["code"]) == (409, "last_administrator")


@pytest.mark.parametrize("act", ["block", "delete", "demote"])
async def test_the_last_active_global_administrator_stays(house: House, act: str) -> None:
    last = await house.appoint("last")
    blocked = await house.appoint("blocked")
    async with house.db.write() as tx:
        await account.block(tx, blocked.id, house.clock.now)
    await house.appoint("keeper", "privileged_authentication_administrator", "privileged_role_administrator")
    ways = {"block": lambda: do(house, "block", last, token="keeper"), "delete": lambda: delete(house, last, "keeper")}

    refused = await ways.get(act, lambda: grant(house, last, token="keeper"))()

    assert (refused.status, refused.json["code"]) == (409, "last_administrator")
    assert await alive(house, "last")
