"""Saved codes: ten, each once, hashed; good for a sign-in, a proof and a re-sign-in, and never used in silence (A7)."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import recovery_code
from models.event import event
from models.verification import verification
from tests.api.house import Answer, House
from tests.people import Person, give_device

PATH = "/security/methods/recovery-codes"


@pytest.fixture
async def anna(house: House) -> Person:
    """With an app that she will miss, and signed in on it with `token`."""
    person = await house.hire("anna@example.org", second_factor=True)
    await house.open_session(person, "token", strength=2)
    return person


async def make(house: House, token: str = "token") -> tuple[str, list[str]]:
    made = await house.ask("POST", PATH, token=token)
    assert made.status == 201, made.json
    return made.json["id"], [one["code"] for one in made.json["codes"]]


async def finish(house: House, person: Person, method_id: str, code: str, **more: Any) -> Answer:
    half = await house.sign_in(person, **more)
    body = {"method_id": method_id, "code": code}
    return await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])


def test_what_is_typed_is_read_however_it_was_grouped() -> None:
    code = recovery_code.invent()

    assert len(recovery_code.plain(code)) * 5 == 80
    for typed in (
        f"7 {code}",
        f"07-{code.lower()}",
        f" 7:  {code.replace('-', ' ')} ",
        f"7.{recovery_code.plain(code)}",
    ):
        found = recovery_code.read(typed)
        assert found == recovery_code.Typed(7, recovery_code.plain(code))
    for nonsense in ("", "7", code, f"123 {code}", "\u0667 " + code, "7 " + "A" * 61):
        assert recovery_code.read(nonsense) is None
    assert code not in repr(recovery_code.Typed(7, code))


def test_ten_thousand_codes_are_ten_thousand() -> None:
    assert len({recovery_code.invent() for _ in range(10_000)}) == 10_000


async def test_ten_codes_are_told_once_and_kept_as_hashes(house: House, anna: Person) -> None:
    _, codes = await make(house)

    assert [code.split()[0] for code in codes] == [str(number) for number in range(1, 11)]
    rows = await house.rows(sa.select(recovery_code.recovery_code))
    assert all(row.hash.startswith("$argon2id$") for row in rows)
    assert len({row.hash for row in rows}) == 10
    kept = [str(tuple(row)) for row in [*rows, *await house.rows(sa.select(event))]]
    assert not any(code.split()[1] in line for code in codes for line in kept)
    shown = (await house.ask("GET", "/security/methods", token="token")).json["items"]
    assert [(one["kind"], one.get("codes_left"), one["default"]) for one in shown] == [
        ("totp", None, True),
        ("recovery_codes", 10, False),
    ]


async def test_how_many_are_left_is_shown_wherever_they_are(house: House, anna: Person) -> None:
    method_id, codes = await make(house)
    await finish(house, anna, method_id, codes[0])
    path = f"/security/methods/{method_id}"

    shown = await house.ask("GET", path, token="token")
    edited = await house.ask("PATCH", path, {"label": "Safe"}, token="token", headers={"If-Match": "*"})

    assert (shown.json["codes_left"], edited.json["codes_left"], edited.json["label"]) == (9, 9, "Safe")


async def test_a_code_finishes_a_sign_in_once_and_its_person_hears_of_it(house: House, anna: Person) -> None:
    method_id, codes = await make(house)
    half = await house.sign_in(anna)
    assert [one["kind"] for one in half.json["methods"]] == ["totp", "recovery_codes"], "the default comes first"

    whole = await finish(house, anna, method_id, codes[4].lower())
    again = await finish(house, anna, method_id, codes[4])

    assert (whole.status, whole.json["session"]["strength"]) == (201, 2)
    assert (again.status, again.json["code"]) == (403, "code_refused")
    assert "security.recovery_code_used" in await house.told(anna)
    (row,) = await house.rows(sa.select(event).where(event.c.action == "account:verification:use"))
    assert row.facts == {"kind": "recovery_codes", "left": 9}
    assert row.subject_id == UUID(method_id)


async def test_another_number_is_another_code(house: House, anna: Person) -> None:
    method_id, codes = await make(house)
    secret = codes[0].split()[1]

    for typed in (f"2 {secret}", secret, f"11 {secret}", f"0 {secret}"):
        assert (await finish(house, anna, method_id, typed)).status == 403
    assert (await finish(house, anna, method_id, codes[0])).status == 201


async def test_making_new_ones_voids_all_older_ones(house: House, anna: Person) -> None:
    method_id, old = await make(house)
    same_id, new = await make(house)

    assert same_id == method_id
    assert (await finish(house, anna, method_id, old[0])).status == 403
    assert (await finish(house, anna, method_id, new[0])).status == 201
    assert (await house.told(anna)).count("security.recovery_codes_made") == 2


@pytest.mark.rule("A7.2")
async def test_a7_t_one_code_in_parallel_requests_is_one_success(house: House, anna: Person) -> None:
    method_id, codes = await make(house)
    halves = [(await house.sign_in(anna)).json["token"] for _ in range(5)]
    body = {"method_id": method_id, "code": codes[0]}

    answers = await asyncio.gather(
        *(house.ask("POST", "/sessions/current/second-factor", body, token=half) for half in halves)
    )

    assert sorted(answer.status for answer in answers) == [201, 403, 403, 403, 403]


@pytest.mark.parametrize(("left", "key"), [(4, "security.recovery_code_used"), (3, "security.recovery_codes_low")])
async def test_three_left_are_a_warning_and_four_are_not(house: House, anna: Person, left: int, key: str) -> None:
    method_id, codes = await make(house)
    async with house.db.write() as tx:
        used = recovery_code.recovery_code.c.number > left + 1
        await tx.execute(sa.update(recovery_code.recovery_code).where(used).values(used_at=house.clock.now))

    await finish(house, anna, method_id, codes[0])

    assert (await house.told(anna))[-1] == key


async def test_tries_are_counted_with_all_other_second_factors(house: House, anna: Person) -> None:
    method_id, codes = await make(house)
    half = (await house.sign_in(anna)).json["token"]

    for number in range(5):
        code = "1 WRON-GWRO-NGWR-ONGW" if number % 2 else "000000"
        method = method_id if number % 2 else str(anna.method_id)
        body = {"method_id": method, "code": code}
        assert (await house.ask("POST", "/sessions/current/second-factor", body, token=half)).status == 403
    body = {"method_id": method_id, "code": codes[0]}
    sixth = await house.ask("POST", "/sessions/current/second-factor", body, token=half)

    assert (sixth.status, sixth.json["code"]) == (429, "too_many_tries")


async def test_a14_a_window_is_proven_with_a_code_when_the_app_is_on_the_locked_phone(
    house: House, anna: Person
) -> None:
    method_id, codes = await make(house)
    phone = await give_device(house.db, anna, house.clock.now)
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="token")

    whole = await finish(house, anna, method_id, codes[0], re_sign_in=window.json["token"])

    assert whole.json["re_sign_in"]["state"] == "proven"
    headers = {"Idempotency-Key": "k"}
    reset = await house.ask("POST", f"/devices/{phone}/reset-passcode", token=whole.json["token"], headers=headers)
    assert reset.status == 202


async def test_a_code_is_a_fresh_proof_too(house: House, anna: Person) -> None:
    method_id, codes = await make(house)
    await house.open_session(anna, "weak")

    body = {"method_id": method_id, "code": codes[0]}
    proven = await house.ask("POST", "/sessions/current/proof", body, token="weak")

    assert proven.status == 200
    assert (await house.ask("POST", PATH, token=proven.json["token"])).status == 201


async def test_codes_alone_ask_nobody_for_a_second_factor(house: House) -> None:
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")
    await make(house, "bert")

    assert (await house.sign_in(bert)).status == 201


async def test_removed_codes_open_nothing(house: House, anna: Person) -> None:
    method_id, codes = await make(house)

    removed = await house.ask("DELETE", f"/security/methods/{method_id}", token="token")

    assert removed.status == 204
    assert await house.rows(sa.select(recovery_code.recovery_code)) == []
    assert (await finish(house, anna, method_id, codes[0])).status == 403
    assert "security.recovery_codes_removed" in await house.told(anna)


async def test_they_are_no_default_and_making_them_takes_a_proof(house: House, anna: Person) -> None:
    method_id, _ = await make(house)
    headers = {"If-Match": "*"}
    refused = await house.ask(
        "PATCH", f"/security/methods/{method_id}", {"default": True}, token="token", headers=headers
    )
    assert (refused.status, refused.json["code"]) == (409, "no_default")

    await house.open_session(anna, "weak")
    unproven = await house.ask("POST", PATH, token="weak")
    assert (unproven.status, unproven.json["code"], unproven.json["strength"]) == (401, "proof_required", 2)
    (row,) = await house.rows(sa.select(verification).where(verification.c.id == UUID(method_id)))
    assert row.is_default is False
