"""Sign-in activity and "this wasn't me", over HTTP, on both databases. The letters name the section of the sheet."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from models.account import account
from models.delivery import delivery
from models.sign_in import sign_in
from tests.api.house import Answer, House
from tests.people import Person, block

BROWSER = "__Host-latchkey-browser"


async def lines(house: House, token: str, query: str = "") -> list[Any]:
    answer = await house.ask("GET", f"/sign-ins{query}", token=token)
    assert answer.status == 200, answer.json
    return list(answer.json["items"])


async def wrong_code(house: House, person: Person, half: Answer) -> Answer:
    body = {"method_id": str(person.method_id), "code": "no code"}
    return await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])


async def test_a3_each_of_the_three_outcomes_has_its_line_and_its_advice(house: House) -> None:
    anna = await house.hire(second_factor=True)
    await house.ask("POST", "/sessions", {"account": "anna", "password": "wrong"}, headers={"User-Agent": "a browser"})
    house.clock.forward(1)
    half = await house.sign_in(anna)
    assert (await wrong_code(house, anna, half)).status == 403
    house.clock.forward(1)
    body = {"method_id": str(anna.method_id), "code": anna.code(house.clock.now)}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    found = await lines(house, whole.json["token"])

    assert [(line["outcome"], line["reason"], line["can_be_disowned"]) for line in found] == [
        ("succeeded", None, True),
        ("second_factor_failed", "code_refused", True),
        ("password_failed", "wrong_password", False),
    ]
    assert found[0]["session_id"] == whole.json["session"]["id"]
    assert (found[2]["where"], found[2]["client"], found[2]["at"]) == ("192.0.2.1", "a browser", "2026-03-01T12:00:00Z")
    for language in ("en", "nl"):
        texts = (await house.ask("GET", f"/texts/{language}")).json["texts"]
        assert {line["advice"] for line in found} <= texts.keys()


async def test_a3_a_right_password_without_the_second_factor_is_told_at_once_and_once(house: House) -> None:
    anna = await house.hire("anna@example.org", second_factor=True)
    half = await house.sign_in(anna)

    for _ in range(3):
        await wrong_code(house, anna, half)

    assert await house.told(anna) == ["sign_in.second_factor_failed"]
    sent = [row.key for row in await house.rows(sa.select(delivery))]
    assert sent == ["sign_in.second_factor_failed"]


async def test_a3_of_second_factors_that_fail_so_many_are_told_in_an_hour_and_all_are_noted(house: House) -> None:
    anna = await house.hire("anna@example.org", second_factor=True)

    codes = [(await wrong_code(house, anna, await house.sign_in(anna))).json["code"] for _ in range(8)]

    async def told() -> tuple[int, int]:
        return len(await house.told(anna)), len(await house.rows(sa.select(delivery)))

    assert set(codes) == {"code_refused", "too_many_tries"}
    assert await told() == (5, 5)
    failed = sa.select(sign_in).where(sign_in.c.outcome == "second_factor_failed")
    assert len(await house.rows(failed)) == 8
    recorded = await house.events(anna)
    assert sum(recorded["account:session:second_factor", "failure", code] for code in set(codes)) == 8

    house.clock.forward(3600)
    await wrong_code(house, anna, await house.sign_in(anna))
    assert await told() == (6, 6), "an hour later it is worth a word again"


async def test_a3_t_a_name_that_nobody_has_is_in_nobodys_view(house: House) -> None:
    anna = await house.hire()
    await house.ask("POST", "/sessions", {"account": "nobody", "password": anna.password})

    token = (await house.sign_in(anna)).json["token"]

    assert [line["outcome"] for line in await lines(house, token)] == ["succeeded"]
    assert len(await house.rows(sa.select(sign_in))) == 1


async def test_a3_a_shut_or_blocked_account_has_its_reason(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    token = (await house.sign_in(anna)).json["token"]
    for n in range(11):
        house.clock.forward(1)
        body = {"account": "anna", "password": "wrong"}
        await house.ask("POST", "/sessions", body, address=f"198.51.{n}.1")
    await block(house.db, bert, house.clock.now)
    await house.sign_in(bert)

    assert (await lines(house, token))[0]["reason"] == "too_many_tries"
    rows = await house.rows(sa.select(sign_in.c.reason).where(sign_in.c.account_id == bert.id))
    assert [row.reason for row in rows] == ["account_blocked"]


async def test_a3_pages_of_twenty_five_newest_first_within_thirty_days(house: House) -> None:
    anna = await house.hire()
    for _ in range(27):
        house.clock.forward(1)
        await house.sign_in(anna)
    token = (await house.sign_in(anna)).json["token"]

    first = (await house.ask("GET", "/sign-ins", token=token)).json
    rest = (await house.ask("GET", f"/sign-ins?cursor={first['next_cursor']}", token=token)).json

    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (25, 3, None)
    moments = [line["at"] for line in first["items"] + rest["items"]]
    assert moments == sorted(moments, reverse=True)
    house.clock.forward(30 * 24 * 3600)
    late = (await house.sign_in(anna)).json["token"]
    assert len(await lines(house, late)) == 1, "what is thirty days old is seen no more"


async def test_a3_first_sign_in_from_an_unseen_browser_is_told(house: House) -> None:
    anna = await house.hire("anna@example.org")
    first = await house.sign_in(anna)
    assert await house.told(anna) == [], "the very first one surprises nobody"

    kept = {"Cookie": f"{BROWSER}={first.cookies[BROWSER]}"}
    await house.sign_in(anna)
    await house.sign_in(anna, address="203.0.113.9", headers=kept)
    assert await house.told(anna) == [], "known by its cookie, or by its name and address"

    await house.sign_in(anna, address="203.0.113.9", headers={"User-Agent": "Firefox/145.0"})
    assert await house.told(anna) == ["sign_in.new_browser"]
    assert [row.key for row in await house.rows(sa.select(delivery))] == ["sign_in.new_browser"]


@pytest.mark.rule("A3.1")
@pytest.mark.parametrize("address", ["", "somebody", "999.1.1.1", "192.0.2.1:443:x"])
async def test_a3_t_a_place_that_cannot_be_looked_up_blocks_no_sign_in(house: House, address: str) -> None:
    anna = await house.hire()

    answer = await house.sign_in(anna, address=address)

    assert answer.status == 201
    (line,) = await lines(house, answer.json["token"])
    assert line["outcome"] == "succeeded"


@pytest.mark.rule("A3.2")
async def test_a3_t_the_address_is_what_the_trusted_proxy_saw(house: House) -> None:
    anna = await house.hire()

    answer = await house.sign_in(anna, address="203.0.113.9, 198.51.100.1")

    (line,) = await lines(house, answer.json["token"])
    assert line["where"] == "198.51.100.1", "what stands before it was written by whoever asked"


# This wasn't me


async def test_a3_not_me_ends_everything_forces_another_password_and_is_recorded(house: House) -> None:
    anna = await house.hire()
    theirs = (await house.sign_in(anna)).json["token"]
    house.clock.forward(1)
    mine = (await house.sign_in(anna)).json["token"]
    line = (await lines(house, mine))[1]

    answer = await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=mine)

    assert answer.status == 200
    assert answer.json["disowned_at"] == "2026-03-01T12:00:01Z"
    assert answer.json["can_be_disowned"] is False
    assert '"cookies"' in answer.headers["Clear-Site-Data"]
    for token in (theirs, mine):
        assert (await house.ask("GET", "/sessions/current", token=token)).status == 401
    assert (await house.sign_in(anna)).json["state"] == "password_change_required"
    assert (await house.events(anna))["account:security:not_me", "success", None] == 1
    assert (await house.events(anna))["account:password:demand_change", "success", None] == 1
    assert await house.told(anna) == ["not_me.done", "sign_in.new_browser"], "and whoever comes next is told of"


async def test_a3_not_me_said_twice_is_said_once(house: House) -> None:
    anna = await house.hire()
    token = (await house.sign_in(anna)).json["token"]
    (line,) = await lines(house, token)

    both = await asyncio.gather(*(house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=token) for _ in range(2)))
    owing = (await house.sign_in(anna)).json["token"]
    body = {"current": anna.password, "new": "plain otter walks along the dyke"}
    anew = (await house.ask("POST", "/password", body, token=owing)).json["token"]
    again = await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=anew)

    assert sorted(answer.status for answer in both) == [200, 401]
    assert again.status == 200
    assert (await house.ask("GET", "/sessions/current", token=anew)).status == 200, "nothing more has happened"
    (row,) = await house.rows(sa.select(account))
    assert (row.must_change_password, row.session_generation) == (False, 2)


async def test_a3_an_older_line_that_is_disowned_later_ends_nothing_more(house: House) -> None:
    anna = await house.hire()
    await house.sign_in(anna)
    house.clock.forward(1)
    token = (await house.sign_in(anna)).json["token"]
    newer, older = await lines(house, token)
    house.clock.forward(1)
    await house.ask("POST", f"/sign-ins/{newer['id']}/not-me", token=token)
    owing = (await house.sign_in(anna)).json["token"]
    body = {"current": anna.password, "new": "plain otter walks along the dyke"}
    anew = (await house.ask("POST", "/password", body, token=owing)).json["token"]

    answer = await house.ask("POST", f"/sign-ins/{older['id']}/not-me", token=anew)

    assert (answer.status, answer.json["disowned_at"] is None) == (200, False)
    assert "Clear-Site-Data" not in answer.headers
    assert (await house.ask("GET", "/sessions/current", token=anew)).status == 200


async def test_a3_nobody_came_in_with_a_wrong_password(house: House) -> None:
    anna = await house.hire()
    await house.ask("POST", "/sessions", {"account": "anna", "password": "wrong"})
    house.clock.forward(1)
    token = (await house.sign_in(anna)).json["token"]
    line = (await lines(house, token))[1]

    answer = await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=token)

    assert (answer.status, answer.json["code"]) == (409, "nothing_to_disown")


@pytest.mark.parametrize("whose", ["anothers", "nobodys"])
async def test_what_is_not_yours_is_not_found(house: House, whose: str) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    await house.sign_in(bert)
    (row,) = await house.rows(sa.select(sign_in))
    token = (await house.sign_in(anna)).json["token"]

    line_id = row.id if whose == "anothers" else uuid4()

    assert (await house.ask("POST", f"/sign-ins/{line_id}/not-me", token=token)).status == 404
