"""Choosing another password, over HTTP, on both databases. The letters name the section of the fact sheet."""

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from api.texts import LANGUAGES
from models import account, password
from models.event import Actor, event
from models.organization import organization
from models.password_policy import Rule
from models.re_sign_in import re_sign_in
from models.session import session
from models.throttle import throttle
from tests.api.house import PASSWORD, Answer, House
from tests.people import Person, block, give_device

NEW = "plain otter walks along the dyke"
COOKIE = "__Host-latchkey-session"


async def change(
    house: House, token: str, new: str = NEW, *, current: str = PASSWORD, headers: dict[str, str] | None = None
) -> Answer:
    return await house.ask("POST", "/password", {"current": current, "new": new}, token=token, headers=headers)


async def sign_in(house: House, person: Person, password: str = PASSWORD, **more: Any) -> Answer:
    return await house.ask("POST", "/sessions", {"account": person.name, "password": password}, **more)


async def token_of(house: House, person: Person, password: str = PASSWORD) -> str:
    answer = await sign_in(house, person, password)
    assert answer.status == 201, answer.json
    return str(answer.json["token"])


async def is_alive(house: House, token: str) -> bool:
    return (await house.ask("GET", "/sessions/current", token=token)).status == 200


async def demand(house: House, person: Person) -> None:
    """What "this wasn't me" and an administrator's reset do to the account."""
    async with house.db.write() as tx:
        held = await account.lock(tx, person.id)
        await password.demand_change(tx, held, why="by_test", actor=Actor("worker"), now=house.clock.now)


# What it does


@pytest.mark.rule("A5.1")
async def test_a5_t_old_cookie_is_401_after_a_change(house: House) -> None:
    anna = await house.hire()
    elsewhere, here = await token_of(house, anna), await token_of(house, anna)

    changed = await change(house, here)

    assert changed.status == 200
    for old in (elsewhere, here):
        refused = await house.ask("GET", "/sessions/current", headers={"Cookie": f"{COOKIE}={old}"})
        assert (refused.status, refused.json["code"]) == (401, "sign_in_required")
    assert changed.cookies[COOKIE] == changed.json["token"]
    assert await is_alive(house, changed.json["token"])


async def test_a5_the_calling_session_goes_on_with_a_new_id_and_token(house: House) -> None:
    anna = await house.hire()
    before = (await sign_in(house, anna)).json
    house.clock.forward(200)

    answer = await change(house, before["token"])

    after = answer.json["session"]
    assert answer.json["token"] != before["token"]
    assert after["id"] != before["session"]["id"]
    assert after["signed_in_at"] == before["session"]["signed_in_at"], "its end does not move"
    assert after["proven_at"] == "2026-03-01T12:03:20Z"
    (cookie,) = [one for one in answer.set_cookies if one.startswith(COOKIE)]
    assert f"Max-Age={12 * 3600 - 200}" in cookie
    current = await house.ask("GET", "/sessions/current", token=answer.json["token"])
    assert current.json["id"] == after["id"]
    assert current.json["csrf_token"] == answer.json["csrf_token"]
    assert len((await house.ask("GET", "/sessions", token=answer.json["token"])).json["items"]) == 1


async def test_a5_the_new_one_signs_in_and_the_old_one_does_not(house: House) -> None:
    anna = await house.hire()
    await change(house, await token_of(house, anna))

    assert (await sign_in(house, anna, PASSWORD)).status == 401
    assert (await sign_in(house, anna, NEW)).status == 201


@pytest.mark.rule("A5.2")
async def test_a5_t_stale_password_only_half_sign_in_is_refused(house: House) -> None:
    anna = await house.hire(second_factor=True)
    half = (await house.sign_in(anna)).json["token"]
    await house.open_session(anna, "whole")

    assert (await change(house, "whole")).status == 200

    body = {"method_id": str(anna.method_id), "code": anna.code(house.clock.now)}
    stale = await house.ask("POST", "/sessions/current/second-factor", body, token=half)
    assert (stale.status, stale.json["code"]) == (401, "sign_in_required")


@pytest.mark.rule("A5.3")
async def test_a5_t_two_parallel_changes_are_one_200_and_one_409(house: House) -> None:
    anna = await house.hire()
    tokens = [await token_of(house, anna) for _ in range(2)]

    answers = await asyncio.gather(change(house, tokens[0]), change(house, tokens[1], f"{NEW}, twice"))

    assert sorted(answer.status for answer in answers) == [200, 409]
    (late,) = [answer for answer in answers if answer.status == 409]
    assert late.json["code"] == "password_changed"
    (first,) = [answer for answer in answers if answer.status == 200]
    assert await is_alive(house, first.json["token"])
    assert [await is_alive(house, token) for token in tokens] == [False, False]


@pytest.mark.rule("A5.4")
async def test_a5_t_same_new_as_old_is_422(house: House) -> None:
    anna = await house.hire()

    answer = await change(house, await token_of(house, anna), PASSWORD)

    assert (answer.status, answer.json["code"]) == (422, "password_rejected")
    assert answer.json["reasons"] == [{"rule": "reused"}]


@pytest.mark.rule("A5.5")
@pytest.mark.parametrize(("length", "status"), [(256, 200), (257, 422)])
async def test_a5_t_256_ok_257_422(house: House, length: int, status: int) -> None:
    anna = await house.hire()
    new = (NEW * 9)[:length]

    answer = await change(house, await token_of(house, anna), new)

    assert answer.status == status
    if status == 200:
        assert (await sign_in(house, anna, new)).status == 201
        assert (await sign_in(house, anna, new[:-1])).status == 401, "nothing of it is cut"
    else:
        assert answer.json["reasons"] == [{"rule": "too_long", "most": 256}]


@pytest.mark.rule("A5.6")
async def test_a5_t_composed_and_decomposed_sign_in_alike(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)

    assert (await change(house, token, "caf\u00e9 on the quiet corner")).status == 200

    for spelled in ("caf\u00e9", "cafe\u0301"):
        assert (await sign_in(house, anna, f"{spelled} on the quiet corner")).status == 201


async def test_a14_8_every_window_of_the_account_is_cancelled(house: House) -> None:
    anna = await house.hire()
    device_id = await give_device(house.db, anna, house.clock.now)
    body = {"device_id": str(device_id), "act": "reset_passcode"}
    assert (await house.ask("POST", "/re-sign-ins", body, token=await token_of(house, anna))).status == 201

    await change(house, await token_of(house, anna))

    assert [(row.state, row.why) for row in await house.rows(sa.select(re_sign_in))] == [("cancelled", "changed")]


async def test_a15_the_person_is_told_and_the_record_knows(house: House) -> None:
    anna = await house.hire()

    await change(house, await token_of(house, anna))

    assert await house.told(anna) == ["password.changed"]
    assert await house.events(anna) == Counter(
        [
            ("account:session:open", "success", None),
            ("account:password:change", "success", None),
            ("account:session:renew", "success", None),
        ]
    )


# Who may


async def test_a_change_takes_a_proof_not_older_than_five_minutes(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)
    house.clock.forward(300)
    assert (await change(house, token, "short")).status == 422, "fresh to its last moment"

    house.clock.forward(0.001)
    late = await change(house, token)
    proven = await house.ask("POST", "/sessions/current/proof", {"password": PASSWORD}, token=token)

    assert (late.status, late.json["code"]) == (401, "proof_required")
    assert "insufficient_user_authentication" in late.headers["WWW-Authenticate"]
    assert (await change(house, proven.json["token"])).status == 200


async def test_a5_a_wrong_current_one_is_403_and_counted_with_the_sign_ins(house: House) -> None:
    anna = await house.hire()
    tokens = [await token_of(house, anna) for _ in range(3)]

    answers = [await change(house, token, current="wrong") for token in tokens for _ in range(4)]

    assert [answer.status for answer in answers] == [403] * 10 + [429] * 2
    assert answers[0].json["code"] == "password_refused"
    assert answers[0].json["session_ended"] is False
    assert answers[-1].headers["Retry-After"] == "60"
    assert (await sign_in(house, anna, address="198.51.100.1")).status == 429


async def test_a5_five_wrong_in_a_row_end_the_session(house: House) -> None:
    anna = await house.hire()
    token, other = await token_of(house, anna), await token_of(house, anna)

    answers = [await change(house, token, current="wrong") for _ in range(5)]

    assert [(answer.status, answer.json["session_ended"]) for answer in answers] == [(403, False)] * 4 + [(403, True)]
    assert (await change(house, token)).status == 401
    assert await is_alive(house, other), "the account's other ones live on"
    assert (await house.events(anna))["account:session:end", "success", None] == 1


async def test_a5_a_right_one_begins_the_row_anew_even_if_the_new_one_is_refused(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)

    for _ in range(3):
        answers = [await change(house, token, current="wrong") for _ in range(4)]
        answers.append(await change(house, token, "short"))
        assert [answer.status for answer in answers] == [403] * 4 + [422]

    assert await is_alive(house, token)


async def test_parallel_wrong_ones_are_counted_before_any_is_verified(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)

    answers = await asyncio.gather(*(change(house, token, current="wrong") for _ in range(9)))

    assert Counter(answer.status for answer in answers)[403] == 5
    assert not await is_alive(house, token)


async def test_whoever_is_not_signed_in_changes_nothing(house: House) -> None:
    anna = await house.hire(second_factor=True)
    half = (await house.sign_in(anna)).json["token"]

    assert (await change(house, "nobody's")).status == 401
    assert (await change(house, half)).json["code"] == "second_factor_required"


async def test_a_blocked_account_changes_nothing(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)
    await block(house.db, anna, house.clock.now)

    assert (await change(house, token)).status == 401


async def test_b4_a_cookie_alone_changes_nothing(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)
    body = {"current": PASSWORD, "new": NEW}

    answer = await house.ask("POST", "/password", body, headers={"Cookie": f"{COOKIE}={token}"})

    assert (answer.status, answer.json["code"]) == (403, "csrf_refused")


# What it may be


async def test_every_rule_that_is_broken_is_told_with_words_for_each(house: House) -> None:
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization).values(settings={"banned_words": ["Marshmallow"]}))
    anna = await house.hire()
    token = await token_of(house, anna)

    named = await change(house, token, "Anna")
    banned = await change(house, token, "m@rshmall0w")

    short = {"rule": "too_short", "least": 15}
    assert [named.json["reasons"][n] for n in (0, 1)] == [short, {"rule": "contains_name"}]
    assert banned.json["reasons"] == [short, {"rule": "banned_word"}, {"rule": "too_simple"}]
    for language in LANGUAGES:
        texts = (await house.ask("GET", f"/texts/{language}")).json["texts"]
        assert {f"password.{rule}" for rule in Rule} <= texts.keys()


async def test_a5_b3_eight_characters_are_enough_beside_a_second_factor_and_fifteen_without(house: House) -> None:
    anna, bert = await house.hire("anna", second_factor=True), await house.hire("bert")
    await house.open_session(anna, "anna")
    await house.open_session(bert, "bert")

    assert (await change(house, "anna", "zqxjvkw")).json["reasons"] == [{"rule": "too_short", "least": 8}]
    assert (await change(house, "anna", "zqxjvkwp")).status == 200
    assert (await change(house, "bert", "zqxjvkwpmtyrhn")).json["reasons"] == [{"rule": "too_short", "least": 15}]
    assert (await change(house, "bert", "zqxjvkwpmtyrhng")).status == 200


async def test_a5_none_of_the_last_five_may_come_back_and_the_sixth_may(house: House) -> None:
    anna = await house.hire()
    token = await token_of(house, anna)
    used = [PASSWORD, *(f"{NEW} the {nth} time" for nth in ("first", "second", "third", "fourth"))]
    for before, new in pairwise(used):
        house.clock.forward(1)
        token = (await change(house, token, new, current=before)).json["token"]

    house.clock.forward(1)
    refused = [await change(house, token, one, current=used[-1]) for one in used]
    token = (await change(house, token, f"{NEW} the fifth time", current=used[-1])).json["token"]
    house.clock.forward(1)
    sixth = await change(house, token, PASSWORD, current=f"{NEW} the fifth time")

    assert [answer.json["reasons"] for answer in refused] == [[{"rule": "reused"}]] * 5
    assert sixth.status == 200
    assert len(await house.rows(sa.select(password.password_history))) == password.REMEMBERED - 1


async def test_nothing_that_was_typed_comes_back_or_is_kept(house: House, caplog: pytest.LogCaptureFixture) -> None:
    anna = await house.hire()
    with caplog.at_level("DEBUG"):
        token = await token_of(house, anna)
        wrong = await change(house, token, NEW, current="a-secret-typo")
        poor = await change(house, token, "a-poor-secret")
        right = await change(house, token)

    tables = (event, session, throttle, account.account, password.password_history)
    rows = [str(tuple(row)) for table in tables for row in await house.rows(sa.select(table))]
    kept = "\n".join([str(wrong.json), str(poor.json), caplog.text, *map(str, caplog.records), *rows])
    for secret in ("a-secret-typo", "a-poor-secret", NEW, PASSWORD, right.json["token"]):
        assert secret not in kept


# A change that is due


async def test_whoever_must_choose_another_one_is_let_to_nothing_else(house: House) -> None:
    anna = await house.hire()
    before = await token_of(house, anna)
    await demand(house, anna)
    assert not await is_alive(house, before), "all that lived is over"

    owing = await sign_in(house, anna)

    assert owing.status == 202
    assert owing.json.keys() == {"state", "token", "csrf_token"}
    assert owing.json["state"] == "password_change_required"
    token = owing.json["token"]
    for method, path, body in [
        ("GET", "/sessions", None),
        ("GET", "/sessions/current", None),
        ("GET", "/devices", None),
        ("POST", "/sessions/current/proof", {"password": PASSWORD}),
        ("POST", "/sign-out-everywhere", {"confirm": True}),
        ("POST", "/re-sign-ins", {"device_id": str(uuid4()), "act": "wipe"}),
    ]:
        refused = await house.ask(method, path, body, token=token)
        assert (refused.status, refused.json["code"]) == (403, "password_change_required"), path

    house.clock.forward(600)
    changed = await change(house, token)
    assert changed.status == 200, "the present password is all the proof that is asked for"
    assert await is_alive(house, changed.json["token"])
    assert not await is_alive(house, token)
    assert (await sign_in(house, anna, NEW)).status == 201, "once is enough"


async def test_a_change_that_is_due_waits_for_fifteen_minutes(house: House) -> None:
    anna = await house.hire()
    await demand(house, anna)
    tokens = [(await sign_in(house, anna)).json["token"] for _ in range(2)]

    house.clock.forward(15 * 60 - 0.001)
    assert (await change(house, tokens[0], "short")).status == 422
    house.clock.forward(0.001)
    assert (await change(house, tokens[1])).status == 401


async def test_a_change_that_is_due_comes_after_the_second_factor(house: House) -> None:
    anna = await house.hire(second_factor=True)
    await demand(house, anna)
    half = await house.sign_in(anna)
    assert half.json["state"] == "second_factor_required"
    assert (await change(house, half.json["token"])).json["code"] == "second_factor_required"

    body = {"method_id": str(anna.method_id), "code": anna.code(house.clock.now)}
    owing = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    assert (owing.status, owing.json["state"]) == (202, "password_change_required")
    changed = await change(house, owing.json["token"])
    assert changed.json["session"]["strength"] == 2
    assert await is_alive(house, changed.json["token"])


async def test_a_sign_in_that_owes_a_password_proves_no_window(house: House) -> None:
    anna = await house.hire()
    device_id = await give_device(house.db, anna, house.clock.now)
    body = {"device_id": str(device_id), "act": "reset_passcode"}
    window = await house.ask("POST", "/re-sign-ins", body, token=await token_of(house, anna))
    async with house.db.write() as tx:
        await tx.execute(sa.update(account.account).values(must_change_password=True))

    owing = await house.sign_in(anna, re_sign_in=window.json["token"])
    (row,) = await house.rows(sa.select(re_sign_in))
    assert (owing.status, row.state) == (202, "open")

    await change(house, owing.json["token"])
    (row,) = await house.rows(sa.select(re_sign_in))
    assert row.state == "cancelled"


async def test_signing_out_is_open_to_whoever_owes_a_password(house: House) -> None:
    anna = await house.hire()
    await demand(house, anna)
    token = (await sign_in(house, anna)).json["token"]

    assert (await house.ask("DELETE", "/sessions/current", token=token)).status == 204
    assert (await change(house, token)).status == 401
