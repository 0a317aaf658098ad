"""A temporary access pass: from an administrator, for somebody else, told once; what it opened ends with it (A7)."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models.access_pass import access_pass
from models.account import account
from models.delivery import delivery
from models.event import event
from models.re_sign_in import re_sign_in
from models.session import session
from tests.api.house import Answer, House
from tests.people import Person, found, give_device


@pytest.fixture
async def anna(house: House) -> Person:
    """Has lost her app."""
    return await house.hire("anna@example.org", second_factor=True)


@pytest.fixture
async def boss(house: House) -> Person:
    """An administrator, signed in with `boss`."""
    return await house.appoint()


async def issue(house: House, whose: Person, body: dict[str, Any] | None = None, token: str = "boss") -> Answer:
    return await house.ask("POST", f"/accounts/{whose.id}/access-pass", body or {}, token=token)


async def finish(house: House, person: Person, issued: Answer, **more: Any) -> Answer:
    half = await house.sign_in(person, **more)
    body = {"method_id": issued.json["id"], "code": issued.json["code"]}
    return await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])


async def alive(house: House, token: str) -> bool:
    return (await house.ask("GET", "/sessions/current", token=token)).status == 200


async def test_a_pass_stands_in_for_the_lost_app_and_a_new_one_can_be_added(
    house: House, anna: Person, boss: Person
) -> None:
    issued = await issue(house, anna)
    assert issued.status == 201
    assert issued.headers["Cache-Control"] == "no-store"
    assert issued.json["expires_at"] == "2026-03-01T13:00:00Z"

    whole = await finish(house, anna, issued)

    assert (whole.status, whole.json["session"]["strength"]) == (201, 2)
    begun = await house.ask("POST", "/security/methods/totp", {"label": "New phone"}, token=whole.json["token"])
    assert begun.status == 201
    assert await house.told(anna) == ["security.access_pass_issued", "security.access_pass_used"]


async def test_it_is_kept_as_a_hash_and_flagged_in_the_record(house: House, anna: Person, boss: Person) -> None:
    issued = await issue(house, anna)
    await finish(house, anna, issued)

    (row,) = await house.rows(sa.select(access_pass))
    assert row.hash.startswith("$argon2id$")
    assert row.issued_by == boss.id
    events = await house.rows(sa.select(event).where(event.c.account_id == anna.id))
    assert {"account:verification:add", "account:verification:use"} <= {one.action for one in events}
    kept = [str(tuple(one)) for one in [row, *events, *await house.rows(sa.select(delivery))]]
    assert not any(issued.json["code"] in one for one in kept)


async def test_from_where_the_administrator_acted_is_not_told(house: House, anna: Person, boss: Person) -> None:
    await issue(house, anna)

    (mail,) = await house.rows(sa.select(delivery))
    assert mail.key == "security.access_pass_issued"
    assert set(mail.params) == {"at"}


@pytest.mark.parametrize(("seconds", "status"), [(599, 422), (600, 201), (2_592_000, 201), (2_592_001, 422)])
async def test_it_lives_ten_minutes_to_thirty_days(
    house: House, anna: Person, boss: Person, seconds: int, status: int
) -> None:
    assert (await issue(house, anna, {"lifetime_seconds": seconds})).status == status


@pytest.mark.parametrize(("after", "status"), [(3599.999999, 201), (3600, 403)])
async def test_it_opens_until_its_end_and_no_longer(
    house: House, anna: Person, boss: Person, after: float, status: int
) -> None:
    issued = await issue(house, anna)
    house.clock.forward(timedelta(seconds=after))

    assert (await finish(house, anna, issued)).status == status


async def test_one_for_once_that_was_used_is_withdrawn_with_what_it_opened(
    house: House, anna: Person, boss: Person
) -> None:
    issued = await issue(house, anna, {"one_use": True})
    token = (await finish(house, anna, issued)).json["token"]

    withdrawn = [(await house.ask("DELETE", f"/accounts/{anna.id}/access-pass", token="boss")).status for _ in range(2)]

    assert withdrawn == [204, 204]
    assert not await alive(house, token)
    assert (await house.told(anna)).count("security.access_pass_ended") == 1


async def test_what_it_opened_ends_with_it(house: House, anna: Person, boss: Person) -> None:
    issued = await issue(house, anna, {"lifetime_seconds": 600})
    house.clock.forward(300)
    token = (await finish(house, anna, issued)).json["token"]

    house.clock.forward(timedelta(seconds=299.999999))
    assert await alive(house, token)
    house.clock.forward(timedelta(microseconds=1))
    assert not await alive(house, token)


async def test_a_browser_is_not_remembered_for_a_pass(house: House, anna: Person, boss: Person) -> None:
    issued = await issue(house, anna)
    half = await house.sign_in(anna)
    body = {"method_id": issued.json["id"], "code": issued.json["code"], "remember_browser": True}

    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    assert whole.status == 201
    browsers = (await house.ask("GET", "/browsers", token=whole.json["token"])).json["items"]
    assert [one["remembered_until"] for one in browsers] == [None]


async def test_it_may_be_used_again_unless_it_is_for_once(house: House, anna: Person, boss: Person) -> None:
    lasting = await issue(house, anna)
    assert [(await finish(house, anna, lasting)).status for _ in range(2)] == [201, 201]

    once = await issue(house, anna, {"one_use": True})
    halves = [(await house.sign_in(anna)).json["token"] for _ in range(3)]
    body = {"method_id": once.json["id"], "code": once.json["code"]}
    answers = await asyncio.gather(
        *(house.ask("POST", "/sessions/current/second-factor", body, token=half) for half in halves)
    )

    assert sorted(answer.status for answer in answers) == [201, 403, 403]
    (token,) = [answer.json["token"] for answer in answers if answer.status == 201]
    assert await alive(house, token)


@pytest.mark.parametrize(("lifetime", "minutes"), [(600, 9), (3600, 10)])
async def test_a7_what_one_for_once_opened_lives_ten_minutes_and_no_longer_than_the_pass(
    house: House, anna: Person, boss: Person, lifetime: int, minutes: int
) -> None:
    """Time to add the method that takes its place; to go on, the person signs in with that."""
    once = await issue(house, anna, {"one_use": True, "lifetime_seconds": lifetime})
    house.clock.forward(60)
    token = (await finish(house, anna, once)).json["token"]

    house.clock.forward(timedelta(minutes=minutes, microseconds=-1))
    assert await alive(house, token)
    house.clock.forward(timedelta(microseconds=1))
    assert not await alive(house, token)


async def test_what_was_proven_again_with_a_pass_ends_with_it(house: House, anna: Person, boss: Person) -> None:
    await house.open_session(anna, "anna", strength=2)
    issued = await issue(house, anna, {"lifetime_seconds": 600})
    body = {"method_id": issued.json["id"], "code": issued.json["code"]}

    proven = await house.ask("POST", "/sessions/current/proof", body, token="anna")

    house.clock.forward(timedelta(seconds=599.999999))
    assert await alive(house, proven.json["token"])
    house.clock.forward(timedelta(microseconds=1))
    assert not await alive(house, proven.json["token"])


async def test_a_new_password_does_not_make_what_a_pass_opened_last(house: House, anna: Person, boss: Person) -> None:
    issued = await issue(house, anna, {"lifetime_seconds": 600})
    async with house.db.write() as tx:
        await tx.execute(sa.update(account).where(account.c.id == anna.id).values(must_change_password=True))
    owing = await finish(house, anna, issued)
    body = {"current": anna.password, "new": "plain otter walks along the dyke"}
    changed = await house.ask("POST", "/password", body, token=owing.json["token"])
    assert changed.status == 200

    house.clock.forward(timedelta(seconds=599.999999))
    assert await alive(house, changed.json["token"])
    house.clock.forward(timedelta(microseconds=1))
    assert not await alive(house, changed.json["token"])


async def test_a_newer_pass_ends_the_older_one_and_what_it_opened(house: House, anna: Person, boss: Person) -> None:
    older = await issue(house, anna)
    token = (await finish(house, anna, older)).json["token"]

    newer = await issue(house, anna)

    assert not await alive(house, token)
    assert (await finish(house, anna, older)).status == 403
    assert (await finish(house, anna, newer)).status == 201


async def test_a_pass_is_withdrawn_at_once_with_what_it_opened(house: House, anna: Person, boss: Person) -> None:
    issued = await issue(house, anna)
    token = (await finish(house, anna, issued)).json["token"]

    for _ in range(2):
        assert (await house.ask("DELETE", f"/accounts/{anna.id}/access-pass", token="boss")).status == 204

    assert not await alive(house, token)
    assert (await house.told(anna)).count("security.access_pass_ended") == 1


async def test_nobody_makes_one_for_themselves(house: House, boss: Person) -> None:
    refused = await issue(house, boss)

    assert (refused.status, refused.json["code"]) == (403, "not_allowed")


async def test_only_an_administrator_of_the_same_organization_makes_one(
    house: House, anna: Person, boss: Person
) -> None:
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")
    elsewhere = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))

    assert (await issue(house, anna, token="bert")).status == 403
    assert (await issue(house, elsewhere)).status == 404


async def test_an_administrator_opens_no_operators_account(house: House, boss: Person) -> None:
    operator = await house.hire("olga", is_operator=True, second_factor=True)

    assert (await issue(house, operator)).status == 403
    assert (await house.ask("DELETE", f"/accounts/{operator.id}/access-pass", token="boss")).status == 403


@pytest.mark.parametrize(("age", "status"), [(900, 201), (900.000001, 401)])
async def test_it_takes_the_administrators_proof_of_the_last_fifteen_minutes(
    house: House, anna: Person, boss: Person, age: float, status: int
) -> None:
    async with house.db.write() as tx:  # not idle meanwhile
        await tx.execute(sa.update(session).values(idle_at=house.clock.now + timedelta(hours=1)))
    house.clock.forward(timedelta(seconds=age))

    assert (await issue(house, anna)).status == status


async def test_two_administrators_may_do_it_to_each_other_at_once(house: House, boss: Person) -> None:
    other = await house.appoint("other")

    answers = await asyncio.gather(*(issue(house, *pair) for pair in [(other, None, "boss"), (boss, None, "other")]))

    assert [answer.status for answer in answers] == [201, 201]


async def test_a14_an_open_window_is_cancelled_when_a_pass_is_made(house: House, anna: Person, boss: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    await house.open_session(anna, "anna", strength=2)
    await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="anna")

    await issue(house, anna)

    (row,) = await house.rows(sa.select(re_sign_in))
    assert row.state == "cancelled"


async def test_a14_a_pass_proves_a_window(house: House, anna: Person, boss: Person) -> None:
    issued = await issue(house, anna)
    phone = await give_device(house.db, anna, house.clock.now)
    await house.open_session(anna, "anna", strength=2)
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="anna")

    whole = await finish(house, anna, issued, re_sign_in=window.json["token"])

    assert whole.json["re_sign_in"]["state"] == "proven"
