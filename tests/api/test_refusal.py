"""What was refused is in the record, once a minute of each kind and person, however many knock."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.event import event
from models.settings import ACTS_PER_DEVICE_AND_DAY
from tests.api.house import PUBLIC_URL, House
from tests.people import Person, found, give_device

COOKIE = "__Host-latchkey-session"
DENIED = "account:access:deny"


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire("anna")
    await house.open_session(person, "token")
    return person


async def denied(house: House) -> list[Any]:
    return await house.rows(sa.select(event).where(event.c.action == DENIED).order_by(event.c.at, event.c.id))


async def test_what_is_anothers_and_what_does_not_exist_are_written_down_alike(house: House, anna: Person) -> None:
    zoe = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    hers = await give_device(house.db, zoe, house.clock.now)
    none = uuid4()

    for device_id in (hers, none):
        assert (await house.ask("GET", f"/devices/{device_id}", token="token")).status == 404
        house.clock.forward(60)

    rows = await denied(house)
    assert [(row.organization_id, row.account_id, row.actor_id) for row in rows] == [
        (anna.organization_id, anna.id, anna.id)
    ] * 2
    assert [(row.outcome, row.reason) for row in rows] == [("failure", "not_found")] * 2
    assert [row.facts for row in rows] == [
        {"route": "/api/v1/devices/{device_id}", "device_id": str(device_id)} for device_id in (hers, none)
    ]
    assert await house.events(zoe) == Counter(), "nothing in the record of whose it is"


async def test_what_is_no_id_is_not_written_down_as_one(house: House, anna: Person) -> None:
    await house.ask("GET", "/devices/a-text-of-any-kind", token="token")

    (row,) = await denied(house)
    assert row.facts == {"route": "/api/v1/devices/{device_id}"}


async def test_a_flood_of_refusals_is_one_line_a_minute(house: House, anna: Person) -> None:
    await asyncio.gather(*(house.ask("GET", f"/devices/{uuid4()}", token="token") for _ in range(20)))
    house.clock.forward(59.999)
    await house.ask("GET", f"/devices/{uuid4()}", token="token")
    assert len(await denied(house)) == 1
    house.clock.forward(0.001)

    await house.ask("GET", f"/devices/{uuid4()}", token="token")

    assert len(await denied(house)) == 2


async def test_kinds_and_people_are_counted_apart(house: House, anna: Person) -> None:
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")

    for token in ("token", "bert"):
        await house.ask("GET", f"/jobs/{uuid4()}", token=token)
        assert (await house.ask("GET", "/jobs?everyone=true", token=token)).status == 403

    for person in (anna, bert):
        assert await house.events(person) == Counter(
            [(DENIED, "failure", "not_found"), (DENIED, "failure", "not_allowed")]
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": PUBLIC_URL},
        {"Origin": PUBLIC_URL, "X-CSRF-Token": "another"},
        {"Origin": PUBLIC_URL, "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_request_from_elsewhere_is_in_the_record_of_whose_cookie_it_came_with(
    house: House, anna: Person, wrong: dict[str, str]
) -> None:
    headers = {"Cookie": f"{COOKIE}=token", **wrong}

    answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, headers=headers, address="203.0.113.9")

    assert (answer.status, answer.json["code"]) == (403, "csrf_refused")
    (row,) = await denied(house)
    (line,) = await house.lines(row.action)
    assert (row.account_id, row.reason, line.address) == (anna.id, "csrf_refused", "203.0.113.9")


async def test_nobody_signed_in_is_in_nobodys_record(house: House, anna: Person) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Cookie": f"{COOKIE}=guessed", "Origin": "null"}):
        answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, headers=headers)
        assert (answer.status, answer.json["code"]) == (403, "csrf_refused")

    assert await house.events() == Counter()


async def test_a_flood_from_one_neighbourhood_is_told_once_to_whoever_it_was_for(house: House, anna: Person) -> None:
    for n in range(30):
        guess = {"account": "anna" if n >= 9 else "nobody", "password": "wrong"}
        await house.ask("POST", "/sessions", guess, address=f"198.51.100.{n}")

    (line,) = await house.lines("account:session:flood")
    assert (line.row.account_id, line.row.outcome, line.reason) == (anna.id, "failure", "too_many_tries")
    assert line.facts == {"flood": "sign_in_5m", "group": "198.51.100.0/24"}


async def test_a_flood_for_a_name_that_nobody_has_is_in_nobodys_record(house: House, anna: Person) -> None:
    for n in range(12):
        answer = await house.ask("POST", "/sessions", {"account": f"nobody {n}", "password": "wrong"})

    assert answer.status == 429
    assert await house.events() == Counter()


async def test_a_flood_of_codes_is_in_the_record_of_whose_sign_in_it_was(house: House) -> None:
    anna = await house.hire("anna", second_factor=True)
    half = await house.sign_in(anna)

    for _ in range(12):
        body = {"method_id": str(anna.method_id), "code": "000000"}
        await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    assert (await house.events(anna))["account:session:flood", "failure", "too_many_tries"] == 1


async def test_too_many_acts_a_day_are_told_once_a_minute(house: House, anna: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)

    async def lock(key: str) -> int:
        path, headers = f"/devices/{phone}/remote-lock", {"Idempotency-Key": key}
        asked = await house.ask("POST", path, token="token", headers=headers)
        if asked.status == 202:
            await house.ask("POST", f"/jobs/{asked.json['id']}/cancel", token="token")
        return asked.status

    assert [await lock(f"k{n}") for n in range(ACTS_PER_DEVICE_AND_DAY)] == [202] * ACTS_PER_DEVICE_AND_DAY
    assert [await lock(f"more{n}") for n in range(3)] == [429] * 3

    assert (await house.events(anna))["device:remote_lock:ask", "failure", "too_many_tries"] == 1
    house.clock.forward(60)
    assert await lock("again") == 429
    assert (await house.events(anna))["device:remote_lock:ask", "failure", "too_many_tries"] == 2
