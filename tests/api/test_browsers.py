"""Known and remembered browsers, over HTTP, on both databases. The letters name the section of the fact sheet."""

from typing import Any

import pytest
import sqlalchemy as sa

from models.browser import browser
from models.settings import BROWSERS_PER_ACCOUNT
from tests.api.house import Answer, House
from tests.people import Person, give_device, give_totp

COOKIE = "__Host-latchkey-browser"
DAY = 24 * 3600


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={token}"}


async def enter(house: House, person: Person, kept: str | None = None, **more: Any) -> Answer:
    return await house.sign_in(person, headers=None if kept is None else cookie(kept), **more)


async def whole(house: House, person: Person, kept: str | None = None, *, remember: bool = False) -> Answer:
    """Signed in with both factors."""
    house.clock.forward(30)
    half = await enter(house, person, kept)
    assert half.json["state"] == "second_factor_required", half.json
    body = {
        "method_id": str(person.method_id),
        "code": person.code(house.clock.now),
        "remember_browser": remember,
    }
    headers = None if kept is None else cookie(kept)
    return await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"], headers=headers)


async def wrong(house: House, name: str, number: int, kept: str | None = None) -> Answer:
    return await house.ask(
        "POST",
        "/sessions",
        {"account": name, "password": "wrong"},
        address=f"198.51.{number}.1",
        headers=None if kept is None else cookie(kept),
    )


# Known


async def test_a_sign_in_makes_the_browser_known_by_a_host_cookie_whose_hash_alone_is_kept(house: House) -> None:
    anna = await house.hire()

    answer = await enter(house, anna)

    (set_cookie,) = [one for one in answer.set_cookies if one.startswith(COOKIE)]
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure", f"Max-Age={180 * DAY}"} <= set(set_cookie.split("; "))
    (row,) = await house.rows(sa.select(browser))
    assert answer.cookies[COOKIE] not in str(tuple(row))
    assert answer.cookies[COOKIE] not in str(answer.json)


async def test_a_browser_keeps_its_token_whoever_signs_in_with_it(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    kept = (await enter(house, anna)).cookies[COOKIE]

    again, other = await enter(house, anna, kept), await enter(house, bert, kept)

    assert {again.cookies[COOKIE], other.cookies[COOKIE]} == {kept}
    assert len(await house.rows(sa.select(browser))) == 2


async def test_a_token_that_we_never_gave_is_not_taken_up(house: House) -> None:
    answer = await enter(house, await house.hire(), "planted")

    assert answer.cookies[COOKIE] != "planted"


async def test_b6_a_stranger_shuts_nobody_out_of_a_browser_that_is_known(house: House) -> None:
    anna = await house.hire()
    kept = (await enter(house, anna)).cookies[COOKIE]

    for n in range(11):
        stranger = await wrong(house, "anna", n)

    assert stranger.status == 429
    assert (await enter(house, anna, address="198.51.100.1")).status == 429, "the right one, from elsewhere"
    assert (await enter(house, anna, kept, address="198.51.101.1")).status == 201
    assert (await wrong(house, "anna", 30)).status == 429, "which opens nothing to the stranger"


async def test_b6_the_known_lane_has_the_same_limit_of_its_own(house: House) -> None:
    anna = await house.hire()
    kept = (await enter(house, anna)).cookies[COOKIE]

    answers = [await wrong(house, "anna", n, kept) for n in range(11)]

    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert (await enter(house, anna, kept, address="198.51.100.1")).status == 429
    assert (await enter(house, anna, address="198.51.101.1")).status == 201, "the other lane was not used"
    house.clock.forward(60)
    assert (await enter(house, anna, kept)).status == 201


async def test_b6_a_browser_is_known_to_its_own_accounts_alone(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    kept = (await enter(house, bert)).cookies[COOKIE]

    for n in range(10):
        await wrong(house, "anna", n, kept)

    assert (await enter(house, anna)).status == 429, "counted with all strangers"


async def test_b6_the_lane_holds_for_a_proof_and_a_change_as_well(house: House) -> None:
    anna = await house.hire()
    first = await enter(house, anna)
    kept = cookie(first.cookies[COOKIE])
    for n in range(10):
        await wrong(house, "anna", n)

    proof = {"password": anna.password}
    proven = await house.ask("POST", "/sessions/current/proof", proof, token=first.json["token"], headers=kept)
    change = {"current": anna.password, "new": "plain otter walks along the dyke"}
    changed = await house.ask("POST", "/password", change, token=proven.json["token"], headers=kept)

    assert (proven.status, changed.status) == (200, 200)
    anew = {"account": "anna", "password": change["new"]}
    assert (await house.ask("POST", "/sessions", anew, headers=kept)).status == 201, "and is known after it"


async def test_of_too_many_browsers_the_one_that_was_longest_away_is_forgotten(house: House) -> None:
    anna = await house.hire()
    tokens = []
    for _ in range(BROWSERS_PER_ACCOUNT + 1):
        house.clock.forward(1)
        tokens.append((await enter(house, anna)).cookies[COOKIE])

    assert len(await house.rows(sa.select(browser))) == BROWSERS_PER_ACCOUNT
    assert (await enter(house, anna, tokens[1])).cookies[COOKIE] == tokens[1]
    assert (await enter(house, anna, tokens[0])).cookies[COOKIE] != tokens[0]


# Remembered


async def test_b3_a_remembered_browser_skips_the_second_factor_for_thirty_days(house: House) -> None:
    anna = await house.hire(second_factor=True)
    kept = (await whole(house, anna, remember=True)).cookies[COOKIE]
    end = 30 * DAY

    house.clock.forward(end - 0.001)
    answer = await enter(house, anna, kept)
    assert (answer.status, answer.json["state"]) == (201, "signed_in")
    assert answer.json["session"]["strength"] == 1
    house.clock.forward(0.001)
    assert (await enter(house, anna, kept)).json["state"] == "second_factor_required", "use prolongs nothing"


async def test_what_was_not_asked_for_is_not_remembered(house: House) -> None:
    anna = await house.hire(second_factor=True)
    kept = (await whole(house, anna)).cookies[COOKIE]

    assert (await enter(house, anna, kept)).json["state"] == "second_factor_required"


async def test_it_skips_nothing_without_the_cookie_or_for_another_account_or_with_a_wrong_password(
    house: House,
) -> None:
    anna, bert = await house.hire("anna", second_factor=True), await house.hire("bert", second_factor=True)
    kept = (await whole(house, anna, remember=True)).cookies[COOKIE]

    assert (await enter(house, anna)).json["state"] == "second_factor_required"
    assert (await enter(house, bert, kept)).json["state"] == "second_factor_required"
    assert (await wrong(house, "anna", 1, kept)).status == 401


async def test_b3_it_is_no_proof(house: House) -> None:
    anna = await house.hire(second_factor=True)
    kept = (await whole(house, anna, remember=True)).cookies[COOKIE]
    house.clock.forward(300.001)

    answer = await enter(house, anna, kept)

    assert answer.json["session"]["proven_at"] < answer.json["session"]["signed_in_at"]
    change = {"current": anna.password, "new": "plain otter walks along the dyke"}
    refused = await house.ask("POST", "/password", change, token=answer.json["token"])
    assert (refused.status, refused.json["code"]) == (401, "proof_required")


async def test_a14_5_it_is_no_re_sign_in(house: House) -> None:
    anna = await house.hire(second_factor=True)
    signed_in = await whole(house, anna, remember=True)
    device_id = await give_device(house.db, anna, house.clock.now)
    asked = {"device_id": str(device_id), "act": "reset_passcode"}
    window = await house.ask("POST", "/re-sign-ins", asked, token=signed_in.json["token"])

    answer = await enter(house, anna, signed_in.cookies[COOKIE], re_sign_in=window.json["token"])

    assert answer.json["state"] == "second_factor_required"


@pytest.mark.parametrize("how", ["sign_out_everywhere", "change", "not_me", "forget"])
async def test_a5_a9_it_dies_with_all_that_ends_everything_and_when_it_is_forgotten(house: House, how: str) -> None:
    anna = await house.hire(second_factor=True)
    signed_in = await whole(house, anna, remember=True)
    kept, token = signed_in.cookies[COOKIE], signed_in.json["token"]
    password = anna.password
    if how == "sign_out_everywhere":
        done = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token=token)
    elif how == "change":
        password = "plain otter walks along the dyke"
        done = await house.ask("POST", "/password", {"current": anna.password, "new": password}, token=token)
    elif how == "not_me":
        (line,) = (await house.ask("GET", "/sign-ins", token=token)).json["items"]
        done = await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=token)
    else:
        (known,) = (await house.ask("GET", "/browsers", token=token)).json["items"]
        done = await house.ask("DELETE", f"/browsers/{known['id']}", token=token)
    assert done.status in {200, 204}, done.json

    body = {"account": "anna", "password": password}
    answer = await house.ask("POST", "/sessions", body, headers=cookie(kept))

    assert answer.json["state"] == "second_factor_required"
    still = len(await house.rows(sa.select(browser).where(browser.c.forgotten_at.is_(None))))
    assert still == (0 if how in {"not_me", "forget"} else 1), "known it stays, where nobody else was in it"


async def test_a7_it_asks_again_when_the_method_is_removed_that_was_used_in_it(house: House) -> None:
    anna = await house.hire(second_factor=True)
    other = await give_totp(house.db, house.keys, anna, house.clock.now, label="Other", is_default=False)
    by_one, by_other = [(await whole(house, one, remember=True)).cookies[COOKIE] for one in (anna, other)]
    token = (await whole(house, other)).json["token"]

    assert (await house.ask("DELETE", f"/security/methods/{anna.method_id}", token=token)).status == 204

    assert (await enter(house, anna, by_one)).json["state"] == "second_factor_required"
    assert (await enter(house, anna, by_other)).json["state"] == "signed_in", "it was another one there"
    assert len(await house.rows(sa.select(browser))) == 3, "known they stay"


async def test_a7_another_default_leaves_it_remembered(house: House) -> None:
    anna = await house.hire(second_factor=True)
    other = await give_totp(house.db, house.keys, anna, house.clock.now, label="Other", is_default=False)
    signed_in = await whole(house, anna, remember=True)
    path, token = f"/security/methods/{other.method_id}", signed_in.json["token"]

    changed = await house.ask("PATCH", path, {"default": True}, token=token, headers={"If-Match": "*"})

    assert changed.status == 200
    assert (await enter(house, anna, signed_in.cookies[COOKIE])).json["state"] == "signed_in"


async def test_plain_signing_out_leaves_it_remembered(house: House) -> None:
    anna = await house.hire(second_factor=True)
    signed_in = await whole(house, anna, remember=True)

    left = await house.ask("DELETE", "/sessions/current", token=signed_in.json["token"])

    assert not any(one.startswith(COOKIE) for one in left.set_cookies)
    assert (await enter(house, anna, signed_in.cookies[COOKIE])).json["state"] == "signed_in"


# The list


async def test_the_list_says_which_one_asks_and_which_are_remembered_until_when(house: House) -> None:
    anna = await house.hire(second_factor=True)
    first = await whole(house, anna, remember=True)
    second = await whole(house, anna)

    answer = await house.ask("GET", "/browsers", token=second.json["token"], headers=cookie(second.cookies[COOKIE]))

    here, there = answer.json["items"]
    assert (here["current"], here["remembered_until"]) == (True, None)
    assert (there["current"], there["remembered_until"]) == (False, "2026-03-31T12:00:30Z")
    assert there["where"] == "192.0.2.1"
    assert first.cookies[COOKIE] not in str(answer.json)


async def test_anothers_browser_is_not_found(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    await enter(house, anna)
    (row,) = await house.rows(sa.select(browser))
    token = (await enter(house, bert)).json["token"]

    assert (await house.ask("DELETE", f"/browsers/{row.id}", token=token)).status == 404
    assert (await house.ask("GET", "/browsers", token=token)).json["items"][0]["id"] != str(row.id)
