"""Phones and mail addresses as methods, over HTTP, on both databases: proven by a code that was sent (A7, A15, B6)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import account, address, contact, recovery, sent_code
from models import verification as verifications
from models.delivery import Channel, Delivery, delivery
from models.event import event
from models.re_sign_in import re_sign_in
from models.verification import VerificationKind, verification
from models.vocabulary import new_id
from tests.api.house import Answer, House, give_address
from tests.people import Person, give_device, give_totp

METHODS = "/security/methods"
NUMBER, MASKED = "+31612345678", "+31 ••••••78"
SECOND = "+31687654321"
MAIL, MASKED_MAIL = "anna.private@example.net", "a•••@example.net"
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def anna(house: House) -> Person:
    """Signed in with `token`, just now; her name is an address."""
    person = await house.hire("anna@example.org")
    await house.open_session(person, "token", strength=2)
    return person


async def sent(house: House, key: str | None = None) -> list[tuple[str, str | None]]:
    """Where each message goes that still waits, and what it carries; oldest first."""
    rows = await house.rows(
        sa.select(delivery)
        .where(delivery.c.key != "sign_in.new_browser")
        .order_by(delivery.c.created_at, delivery.c.id)
    )
    opened = [(row.key, *Delivery.of(row).open(house.keys)) for row in rows]
    return [(to, None if code is None else code.text()) for name, to, code in opened if key in {None, name}]


async def last_code(house: House, purpose: str, to: str | None = None) -> str:
    """`to`: where several went out at one moment."""
    code = [code for where, code in await sent(house, f"code.{purpose}") if to in {None, where}][-1]
    assert code is not None
    return code


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


async def begin(
    house: House,
    kind: str = "phone",
    address: str = NUMBER,
    *,
    label: str = "My phone",
    token: str = "token",
    **more: Any,
) -> Answer:
    return await house.ask("POST", f"{METHODS}/{kind}", {"label": label, "address": address, **more}, token=token)


async def confirm(house: House, begun: Answer, code: str, token: str = "token") -> Answer:
    return await house.ask("POST", f"{METHODS}/{begun.json['id']}/confirm", {"code": code}, token=token)


async def resend(house: House, begun: Answer, token: str = "token") -> Answer:
    return await house.ask("POST", f"{METHODS}/{begun.json['id']}/send", token=token)


async def add(house: House, kind: str = "phone", address: str = NUMBER, **more: Any) -> str:
    token = more.get("token", "token")
    begun = await begin(house, kind, address, **more)
    assert begun.status == 201, begun.json
    added = await confirm(house, begun, await last_code(house, "enrol", address), token)
    assert added.status == 200, added.json
    return str(added.json["id"])


async def listed(house: House, token: str = "token") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await house.ask("GET", METHODS, token=token)).json["items"]
    return items


async def second_factor(house: House, half: Answer, code: str, method_id: str | None = None) -> Answer:
    body = {"method_id": method_id or half.json["methods"][0]["id"], "code": code}
    return await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])


async def send(house: House, method_id: str, token: str, what: str = "second-factor") -> Answer:
    return await house.ask("POST", f"/sessions/current/{what}/send", {"method_id": method_id}, token=token)


# Adding


async def test_a7_a_phone_is_added_by_the_code_that_was_sent_to_it_and_asked_for_at_the_next_sign_in(
    house: House, anna: Person
) -> None:
    begun = await begin(house, address="+31 6 1234-5678")
    assert begun.status == 201
    assert begun.json == {
        "id": begun.json["id"],
        "label": "My phone",
        "hint": MASKED,
        "expires_at": "2026-03-01T12:15:00Z",
        "code_sent": {
            "method_id": begun.json["id"],
            "hint": MASKED,
            "sent_at": "2026-03-01T12:00:00Z",
            "expires_at": "2026-03-01T12:10:00Z",
            "again_at": "2026-03-01T12:01:00Z",
        },
    }
    assert await listed(house) == []
    ((to, code),) = await sent(house, "code.enrol")
    assert to == NUMBER
    assert code is not None

    confirmed = await confirm(house, begun, code)

    assert confirmed.status == 200
    assert confirmed.json == {
        "id": begun.json["id"],
        "kind": "phone",
        "label": "My phone",
        "state": "active",
        "default": True,
        "usable_for": ["mfa", "recovery"],
        "created_at": "2026-03-01T12:00:00Z",
        "used_at": None,
        "expires_at": None,
        "hint": MASKED,
    }
    assert await listed(house) == [confirmed.json]
    house.clock.now += MINUTE
    half = await house.sign_in(anna)
    assert half.status == 202
    assert half.json["methods"] == [
        {"id": begun.json["id"], "kind": "phone", "label": "My phone", "default": True, "hint": MASKED}
    ]
    whole = await second_factor(house, half, await last_code(house, "sign_in"))
    assert (whole.status, whole.json["session"]["strength"]) == (201, 2)


async def test_a_mail_address_is_added_by_its_code_and_is_never_a_second_factor(house: House, anna: Person) -> None:
    """A7, 6.3.6: an address is for the way back in alone."""
    begun = await begin(house, "email", MAIL, label="At home")
    assert begun.json["hint"] == MASKED_MAIL
    ((to, code),) = await sent(house, "code.enrol")
    assert to == MAIL
    assert code is not None
    assert len(code) == 8

    confirmed = await confirm(house, begun, code)

    assert (confirmed.json["usable_for"], confirmed.json["default"], confirmed.json["hint"]) == (
        ["recovery"],
        False,
        MASKED_MAIL,
    )
    assert (await house.sign_in(anna)).status == 201, "the password alone"
    mark = {"If-Match": confirmed.headers["ETag"]}
    path = f"{METHODS}/{begun.json['id']}"
    refused = await house.ask("PATCH", path, {"default": True}, token="token", headers=mark)
    assert refused.json["code"] == "no_default"
    assert (await send(house, begun.json["id"], "token", "proof")).status == 404


@pytest.mark.parametrize(
    ("kind", "address"),
    [("phone", "0612345678"), ("phone", "+3161"), ("phone", MAIL), ("email", NUMBER), ("email", "anna@localhost")],
)
async def test_what_cannot_be_written_to_is_refused(house: House, anna: Person, kind: str, address: str) -> None:
    refused = await begin(house, kind, address)

    assert (refused.status, refused.json["code"]) == (422, "invalid")
    assert refused.json["errors"][0]["field"] == "address"
    assert address not in str(refused.json["errors"])


@pytest.mark.parametrize("kind", ["phone", "email"])
async def test_adding_takes_a_fresh_proof_of_the_best(house: House, anna: Person, kind: str) -> None:
    address = {"phone": NUMBER, "email": MAIL}[kind]
    await give_totp(house.db, house.keys, anna, house.clock.now)
    await house.open_session(anna, "weak", strength=1)
    assert (await begin(house, kind, address, token="weak")).json["code"] == "proof_required"

    house.clock.now += timedelta(minutes=5, microseconds=1)
    assert (await begin(house, kind, address)).json["code"] == "proof_required"
    assert await sent(house) == []


async def test_it_is_confirmed_in_the_session_that_began_it(house: House, anna: Person) -> None:
    begun = await begin(house)
    code = await last_code(house, "enrol")
    await house.open_session(anna, "other", strength=2)
    otto = await house.hire("otto")
    await house.open_session(otto, "otto", strength=2)

    assert (await confirm(house, begun, code, "other")).status == 404
    assert (await confirm(house, begun, code, "otto")).status == 404
    assert (await resend(house, begun, "other")).status == 404
    assert (await confirm(house, begun, code)).status == 200


async def test_the_fifth_wrong_code_ends_what_was_begun(house: House, anna: Person) -> None:
    begun = await begin(house)
    code = await last_code(house, "enrol")

    left = [(await confirm(house, begun, wrong(code))).json["tries_left"] for _ in range(5)]

    assert left == [4, 3, 2, 1, 0]
    assert (await confirm(house, begun, code)).status == 404
    assert await house.rows(sa.select(contact.contact)) == [], "nor is the number kept"


async def test_a_resend_makes_a_new_code_and_keeps_the_wrong_tries(house: House, anna: Person) -> None:
    begun = await begin(house)
    old = await last_code(house, "enrol")
    await confirm(house, begun, wrong(old))

    early = await resend(house, begun)
    house.clock.now += MINUTE
    again = await resend(house, begun)

    assert (early.status, early.json["retry_after"]) == (429, 60)
    assert again.status == 200
    assert again.json["code_sent"]["expires_at"] == "2026-03-01T12:11:00Z"
    assert (await confirm(house, begun, old)).json["tries_left"] == 3
    assert (await confirm(house, begun, await last_code(house, "enrol"))).status == 200


async def test_the_code_of_an_address_lives_ten_minutes_and_what_was_begun_fifteen(house: House, anna: Person) -> None:
    begun = await begin(house)
    code = await last_code(house, "enrol")

    house.clock.now += 10 * MINUTE
    assert (await confirm(house, begun, code)).json["code"] == "code_refused"
    house.clock.now += 5 * MINUTE - MOMENT
    again = await resend(house, begun)
    assert again.json["code_sent"]["expires_at"] == "2026-03-01T12:15:00Z"
    house.clock.now += MOMENT
    assert (await confirm(house, begun, await last_code(house, "enrol"))).status == 404


async def test_a_newer_one_takes_the_place_of_one_that_was_not_confirmed(house: House, anna: Person) -> None:
    first = await begin(house)
    code = await last_code(house, "enrol")
    second = await begin(house, address=SECOND)

    assert (await confirm(house, first, code)).status == 404
    assert (await confirm(house, second, await last_code(house, "enrol", SECOND))).status == 200


async def test_a_refused_beginning_leaves_the_earlier_one_as_it_was(house: House, anna: Person) -> None:
    first = await begin(house)
    code = await last_code(house, "enrol")

    assert (await begin(house)).status == 429
    assert (await confirm(house, first, code)).status == 200


async def test_b6_one_person_has_codes_sent_to_five_new_addresses_an_hour(house: House, anna: Person) -> None:
    statuses = [(await begin(house, address=f"+3161234567{n}")).status for n in range(6)]

    assert statuses == [201] * 5 + [429]
    house.clock.now += timedelta(hours=1)
    await house.open_session(anna, "later", strength=2)
    assert (await begin(house, address="+31612345679", token="later")).status == 201


async def test_one_address_is_one_method_of_a_person(house: House, anna: Person) -> None:
    await add(house, "email", MAIL, label="At home")

    refused = await begin(house, "email", MAIL.upper(), label="Again")

    assert (refused.status, refused.json["code"]) == (409, "address_in_use")


async def test_a_person_has_three_of_a_kind_at_most(house: House, anna: Person) -> None:
    for n in range(3):
        await add(house, address=f"+3161234567{n}", label=f"Phone {n}")

    assert (await begin(house, address=SECOND, label="Another")).json["code"] == "method_quota"


async def _with_account(house: House, name: str) -> str:
    """Signed in under the account's own name as token."""
    await house.open_session(await house.hire(name), name, strength=2)
    return name


async def test_b5_one_address_serves_three_accounts_and_only_who_reads_it_learns_that(house: House) -> None:
    for n in range(3):
        await add(house, token=await _with_account(house, f"person{n}"))
        house.clock.now += MINUTE
    token = await _with_account(house, "fourth")

    begun = await begin(house, token=token)
    nobodys = await begin(house, address=SECOND, token=await _with_account(house, "fifth"))
    assert (begun.status, begun.json.keys()) == (nobodys.status, nobodys.json.keys()), (
        "nothing is told before the proof"
    )
    refused = await confirm(house, begun, await last_code(house, "enrol", NUMBER), token)

    assert (refused.status, refused.json["code"]) == (409, "address_quota")
    assert await listed(house, token) == []


async def test_of_two_parallel_confirmations_of_the_last_place_one_succeeds(house: House) -> None:
    for n in range(2):
        await add(house, token=await _with_account(house, f"person{n}"))
        house.clock.now += MINUTE
    tokens, begun, codes = [], [], []
    for n in range(2, 4):
        tokens.append(await _with_account(house, f"person{n}"))
        begun.append(await begin(house, token=tokens[-1]))
        codes.append(await last_code(house, "enrol"))
        house.clock.now += MINUTE

    answers = await asyncio.gather(*(confirm(house, *one) for one in zip(begun, codes, tokens, strict=True)))

    assert sorted(answer.status for answer in answers) == [200, 409]


# Changing and removing


async def test_a_change_of_number_is_a_new_proof_and_the_old_one_holds_until_then(house: House, anna: Person) -> None:
    old = await add(house)
    begun = await begin(house, address=SECOND, replaces=old)
    assert begun.status == 201, "under the same name"
    assert [one["hint"] for one in await listed(house)] == [MASKED]

    changed = await confirm(house, begun, await last_code(house, "enrol", SECOND))

    assert changed.json["default"] is True
    assert [(one["id"], one["hint"]) for one in await listed(house)] == [(begun.json["id"], "+31 ••••••21")]
    assert {"security.method_added", "security.method_removed"} <= {*await house.told(anna)}


async def test_what_is_replaced_is_of_the_same_kind_and_ones_own(house: House, anna: Person) -> None:
    phone = await add(house)
    otto = await house.hire("otto")
    await house.open_session(otto, "otto", strength=2)

    assert (await begin(house, "email", MAIL, label="Mail", replaces=phone)).status == 404
    assert (await begin(house, address=SECOND, token="otto", replaces=phone)).status == 404


async def test_a_removed_phone_takes_its_codes_along_and_its_number_after_three_days(
    house: House, anna: Person
) -> None:
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    phone = await add(house)
    await send(house, phone, "token", "proof")

    assert (await house.ask("DELETE", f"{METHODS}/{phone}", token="token")).status == 204

    (kept,) = await house.rows(sa.select(contact.contact))
    assert kept.kept_until == house.clock.now + timedelta(hours=72), "as long as its notice can be answered"
    assert [row.purpose for row in await house.rows(sa.select(sent_code.sent_code))] == []
    (row,) = await house.rows(sa.select(verification).where(verification.c.kind == "phone"))
    assert (row.state, row.secret) == ("revoked", None)


async def test_the_last_phone_stays_where_it_is_the_only_second_factor(house: House, anna: Person) -> None:
    phone = await add(house)
    await add(house, "email", MAIL, label="Mail")

    refused = await house.ask("DELETE", f"{METHODS}/{phone}", token="token")

    assert (refused.status, refused.json["code"]) == (409, "last_method")


async def test_a_renamed_one_keeps_its_mask(house: House, anna: Person) -> None:
    phone = await add(house)
    mark = {"If-Match": (await house.ask("GET", f"{METHODS}/{phone}", token="token")).headers["ETag"]}

    renamed = await house.ask("PATCH", f"{METHODS}/{phone}", {"label": "Old one"}, token="token", headers=mark)

    assert (renamed.json["label"], renamed.json["hint"]) == ("Old one", MASKED)


async def test_adding_one_closes_windows(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)
    opened = await house.ask("POST", "/re-sign-ins", {"device_id": str(device_id), "act": "wipe"}, token="token")
    assert opened.status == 201, opened.json
    await house.open_session(anna, "again", strength=2)

    await add(house, token="again")

    (window,) = await house.rows(sa.select(re_sign_in))
    assert window.state == "cancelled"


async def test_an_address_that_was_confirmed_less_than_a_day_ago_does_not_stand_alone(
    house: House, anna: Person
) -> None:
    """A7: number changed less than 24 h ago may not be the only recovery gate."""
    await add(house)
    day = timedelta(hours=24)

    async with house.db.read() as tx:
        held = await account.by_sign_in_name(tx, anna.name)
        late, settled = [await recovery.standing(tx, held, house.clock.now + after) for after in (day - MOMENT, day)]

    assert not late.registered
    assert [late.is_settled(one) for one in late.methods] == [False]
    assert [settled.is_settled(one) for one in settled.methods] == [True]


# Notices


async def test_a15_notices_go_to_the_name_and_to_every_confirmed_address(house: House, anna: Person) -> None:
    await add(house, "email", MAIL, label="At home")
    assert [to for to, _ in await sent(house, "security.email_added")] == ["anna@example.org"], "to all others"
    await begin(house, "email", "pending@example.net", label="Pending")

    await add(house)

    assert sorted(to for to, _ in await sent(house, "security.method_added")) == [MAIL, "anna@example.org"]


async def test_a15_an_address_that_goes_hears_of_it_itself(house: House, anna: Person) -> None:
    mail = await add(house, "email", MAIL, label="At home")

    await house.ask("DELETE", f"{METHODS}/{mail}", token="token")

    assert sorted(to for to, _ in await sent(house, "security.method_removed")) == [MAIL, "anna@example.org"]
    assert await house.told(anna) == ["security.email_added", "security.method_removed"]


async def test_a15_a_changed_address_tells_the_old_one_and_not_the_new_one(house: House, anna: Person) -> None:
    mail = await add(house, "email", MAIL, label="At home")
    await add(house, "email", "new@example.net", label="At home", replaces=mail)

    removed = sorted(to for to, _ in await sent(house, "security.method_removed"))
    assert removed == [MAIL, "anna@example.org"]
    assert "new@example.net" not in {to for to, _ in await sent(house, "security.email_added")}


async def test_no_notice_goes_to_a_phone(house: House, anna: Person) -> None:
    await add(house)

    rows = await house.rows(sa.select(delivery).where(delivery.c.channel == Channel.SMS.value))
    assert {row.key for row in rows} == {"code.enrol"}


# A phone as the second factor


@pytest.fixture
async def phone(house: House, anna: Person) -> str:
    """Anna's only second factor; a minute ago."""
    method_id = await add(house)
    house.clock.now += MINUTE
    return method_id


async def test_a7_the_default_phone_has_its_code_under_way_with_the_answer(
    house: House, anna: Person, phone: str
) -> None:
    half = await house.sign_in(anna)

    assert half.json["code_sent"] == {
        "method_id": phone,
        "hint": MASKED,
        "sent_at": "2026-03-01T12:01:00Z",
        "expires_at": "2026-03-01T12:06:00Z",
        "again_at": "2026-03-01T12:02:00Z",
    }
    assert [to for to, _ in await sent(house, "code.sign_in")] == [NUMBER]


async def test_a_stranger_with_the_password_cannot_flood_the_phone(house: House, anna: Person, phone: str) -> None:
    first = await house.sign_in(anna)
    second = await house.sign_in(anna)

    assert (first.status, second.status) == (202, 202)
    assert "code_sent" not in second.json
    refused = await send(house, phone, second.json["token"])
    assert (refused.status, refused.json["code"]) == (429, "too_many_tries")
    assert len(await sent(house, "code.sign_in")) == 1


async def test_where_the_default_is_an_app_the_phone_is_asked_for_by_hand(
    house: House, anna: Person, phone: str
) -> None:
    app = (await give_totp(house.db, house.keys, anna, house.clock.now, label="App", is_default=False)).method_id
    mark = {"If-Match": (await house.ask("GET", f"{METHODS}/{app}", token="token")).headers["ETag"]}
    await house.ask("PATCH", f"{METHODS}/{app}", {"default": True}, token="token", headers=mark)

    half = await house.sign_in(anna)
    assert "code_sent" not in half.json
    assert await sent(house, "code.sign_in") == []
    asked = await send(house, phone, half.json["token"])

    assert asked.status == 200
    assert asked.json["method_id"] == phone
    assert (await send(house, str(app), half.json["token"])).status == 404, "an app is sent nothing"
    assert (await second_factor(house, half, await last_code(house, "sign_in"), phone)).status == 201


async def test_6_6_2_a_code_is_bound_to_the_sign_in_that_it_was_sent_for(
    house: House, anna: Person, phone: str
) -> None:
    first = await house.sign_in(anna)
    code = await last_code(house, "sign_in")
    second = await house.sign_in(anna)

    refused = await second_factor(house, second, code)
    assert (refused.status, refused.json["code"]) == (403, "code_refused")
    whole = await second_factor(house, first, code)
    assert whole.status == 201
    body = {"method_id": phone, "code": code}
    proof = await house.ask("POST", "/sessions/current/proof", body, token=whole.json["token"])
    assert proof.json["code"] == "code_refused"


async def test_a_phone_proves_a_session_anew(house: House, anna: Person, phone: str) -> None:
    asked = await send(house, phone, "token", "proof")
    assert asked.json["expires_at"] == "2026-03-01T12:11:00Z"
    body = {"method_id": phone, "code": await last_code(house, "prove")}

    proven = await house.ask("POST", "/sessions/current/proof", body, token="token")

    assert proven.status == 200
    again = await house.ask("POST", "/sessions/current/proof", body, token=proven.json["token"])
    assert again.json["code"] == "code_refused"


async def test_somebody_elses_phone_is_no_phone(house: House, anna: Person, phone: str) -> None:
    otto = await house.hire("otto", second_factor=True)
    half = await house.sign_in(otto)

    assert (await send(house, phone, half.json["token"])).status == 404


async def test_a_half_sign_in_asks_for_its_own_and_a_whole_one_for_a_proof(
    house: House, anna: Person, phone: str
) -> None:
    half = (await house.sign_in(anna)).json["token"]

    assert (await send(house, phone, half, "proof")).json["code"] == "second_factor_required"
    assert (await send(house, phone, "token")).status == 404
    assert (await send(house, phone, "nobody", "proof")).status == 401


async def test_after_five_wrong_codes_in_one_sign_in_the_right_one_is_refused(
    house: House, anna: Person, phone: str
) -> None:
    half = await house.sign_in(anna)
    code = await last_code(house, "sign_in")
    for _ in range(5):
        assert (await second_factor(house, half, wrong(code))).status == 403

    assert (await second_factor(house, half, code)).status == 429


async def test_a7_the_same_code_in_two_parallel_requests_succeeds_once(house: House, anna: Person, phone: str) -> None:
    half = await house.sign_in(anna)
    code = await last_code(house, "sign_in")

    answers = await asyncio.gather(*(second_factor(house, half, code) for _ in range(2)))

    assert min(answer.status for answer in answers) == 201
    assert sum(answer.status == 201 for answer in answers) == 1


async def test_of_parallel_resends_one_is_sent(house: House, anna: Person, phone: str) -> None:
    half = await house.sign_in(anna)
    house.clock.now += MINUTE

    answers = await asyncio.gather(*(send(house, phone, half.json["token"]) for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [200, 429, 429, 429]
    assert len(await sent(house, "code.sign_in")) == 2


async def test_a_code_is_not_delivered_once_its_sign_in_is_over(house: House, anna: Person, phone: str) -> None:
    await house.sign_in(anna)

    (row,) = await house.rows(sa.select(delivery).where(delivery.c.key == "code.sign_in"))
    assert row.expires_at == house.clock.now + 5 * MINUTE


# The record, and what is never in it


async def test_b7_each_step_is_in_the_record_and_no_address_is(house: House, anna: Person) -> None:
    phone = await add(house)
    mail = await add(house, "email", MAIL, label="At home")
    house.clock.now += MINUTE
    await house.sign_in(anna)
    await send(house, phone, "token", "proof")
    await house.ask("DELETE", f"{METHODS}/{mail}", token="token")

    seen = await house.events(anna)
    for verb, times in (("begin", 2), ("send", 3), ("add", 2), ("remove", 1)):
        assert seen[f"account:verification:{verb}", "success", None] == times
    assert seen["account:verification:send", "failure", "too_many_tries"] == 1
    rows = repr(await house.rows(sa.select(event))) + repr(await house.rows(sa.select(contact.contact)))
    rows += repr(await house.rows(sa.select(verification)))
    for secret in (NUMBER, NUMBER[3:], MAIL, "anna.private", *[code for _, code in await sent(house) if code]):
        assert secret not in rows


@pytest.mark.parametrize(
    ("address", "mask"),
    [
        ("+31612345678", "+31 ••••••78"),
        ("+12025550123", "+1 ••••••23"),
        ("+79161234567", "+7 ••••••67"),
        ("+353851234567", "+353 ••••••67"),
        ("+599712345", "+599 ••••••45"),
        ("sanne@example.org", "s•••@example.org"),
        ("x@example.org", "x•••@example.org"),
    ],
)
def test_a_mask_is_enough_for_whoever_knows_it(address: str, mask: str) -> None:
    assert contact.masked(address) == mask


def test_only_these_kinds_have_an_address() -> None:
    assert {VerificationKind.PHONE, VerificationKind.EMAIL} == contact.KINDS == sent_code.CHANNELS.keys()


async def test_without_the_password_nothing_is_sent(house: House, anna: Person, phone: str) -> None:
    refused = await house.ask("POST", "/sessions", {"account": anna.name, "password": "wrong"})

    assert refused.status == 401
    assert await sent(house, "code.sign_in") == []


# An address that was changed by somebody else


async def link_to(house: House, address: str, key: str) -> str:
    """The token of the newest notice of this kind to this address."""
    rows = await house.rows(sa.select(delivery).where(delivery.c.key == key).order_by(delivery.c.id.desc()))
    for one in (Delivery.of(row) for row in rows):
        to, token = one.open(house.keys)
        if to == address and token is not None:
            return token.text()
    raise AssertionError("nothing was sent there")


@pytest.mark.parametrize("late", [False, True])
async def test_a1_r_the_old_address_is_told_with_a_link_that_puts_it_back(
    house: House, anna: Person, late: bool
) -> None:
    old = await add(house, "email", MAIL, label="Home")
    house.clock.now += MINUTE
    begun = await begin(house, "email", "thief@example.net", label="Mine", replaces=old)
    assert (await confirm(house, begun, await last_code(house, "enrol", "thief@example.net"))).status == 200
    assert [one["label"] for one in await listed(house) if one["kind"] == "email"] == ["Mine"]
    token = await link_to(house, MAIL, "security.method_removed")

    house.clock.now += timedelta(hours=72) + (MOMENT if late else timedelta(0))
    reported = await house.ask("POST", "/not-me", {"token": token})

    methods = await house.rows(sa.select(verification).where(verification.c.kind == "email"))
    active = [(row.id, row.label) for row in methods if row.state == "active"]
    if late:
        assert reported.status == 404
        assert [label for _, label in active] == ["Mine"]
        return
    assert reported.status == 204
    assert active == [(UUID(old), "Home")]
    assert "not_me.address_restored" in await house.told(anna)
    kept = await house.rows(sa.select(contact.contact))
    assert [(row.id, row.replaced_by) for row in kept if row.kind == "email"] == [(UUID(old), None)]
    assert (await house.ask("POST", "/not-me", {"token": token})).status == 204, "once; then it changes nothing more"


async def test_a15_a_chain_of_addresses_hides_none_of_them_from_the_one_link_that_the_owner_has(
    house: House, anna: Person
) -> None:
    home = await add(house, "email", MAIL, label="Home")
    house.clock.now += MINUTE
    held = home
    for number in range(3):
        mail = f"thief{number}@example.net"
        begun = await begin(house, "email", mail, label=f"Mine {number}", replaces=held)
        assert (await confirm(house, begun, await last_code(house, "enrol", mail))).status == 200
        held = begun.json["id"]
    token = await link_to(house, MAIL, "security.method_removed")

    assert (await house.ask("POST", "/not-me", {"token": token})).status == 204

    methods = await house.rows(sa.select(verification).where(verification.c.kind == "email"))
    assert [(row.id, row.label) for row in methods if row.state == "active"] == [(UUID(home), "Home")]
    kept = await house.rows(sa.select(contact.contact).where(contact.contact.c.kind == "email"))
    assert [(row.id, row.replaced_by) for row in kept] == [(UUID(home), None)]


async def test_an_address_that_gave_its_place_is_used_for_nothing_and_goes_when_it_cannot_come_back(
    house: House, anna: Person
) -> None:
    old = await add(house, "email", MAIL, label="Home")
    house.clock.now += MINUTE
    begun = await begin(house, "email", "new@example.net", label="Office", replaces=old)
    await confirm(house, begun, await last_code(house, "enrol", "new@example.net"))
    before = len(await sent(house))
    async with house.db.write() as tx:
        letterbox = await address.of_account(tx, anna.id, house.keys)
        assert MAIL not in letterbox.mails
        assert await contact.erase_due(tx, house.clock.now + timedelta(hours=72), 10) == 0
        assert await contact.erase_due(tx, house.clock.now + timedelta(hours=72) + MOMENT, 10) == 1

    assert len(await sent(house)) == before
    again = await begin(house, "email", MAIL, label="Home again")
    assert again.status == 201, "and may be added anew"


async def remove(house: House, method_id: str | UUID) -> None:
    gone = await house.ask("DELETE", f"{METHODS}/{method_id}", token="token")
    assert gone.status == 204, gone.json


async def lose(house: House, mail: UUID, how: str) -> None:
    """By somebody else's hand."""
    if how == "removed":
        await remove(house, mail)
    else:
        await add(house, "email", "in.its.place@example.net", label="Theirs", replaces=str(mail))


async def say_not_me(house: House, token: str) -> int:
    return (await house.ask("POST", "/not-me", {"token": token})).status


async def speak(house: House, token: str = "token") -> None:
    """That was not me: by the link of another notice, a minute after it."""
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token=token)
    house.clock.now += MINUTE
    assert await say_not_me(house, await link_to(house, "anna@example.org", "session.signed_out_everywhere")) == 204


async def come_back(house: House, person: Person) -> str:
    """With another password, by the newest link that was mailed; signed in."""
    token, new = (await sent(house, "not_me.reset_link"))[-1][1], "plain otter walks along the dyke"
    assert (await house.ask("POST", "/password-resets", {"token": token, "new": new})).status == 204
    back = await house.sign_in(replace(person, password=new))
    assert back.status == 201, back.json
    return str(back.json["token"])


async def in_force(house: House, kind: str = "email") -> list[tuple[UUID, str]]:
    of_kind = sa.select(verification).where(verification.c.kind == kind).order_by(verification.c.created_at)
    methods = await house.rows(of_kind)
    return [(row.id, row.label) for row in methods if row.state == "active"]


@pytest.mark.parametrize("late", [False, True])
async def test_a15_an_address_that_somebody_else_removed_is_put_back_from_there_and_gets_the_link(
    house: House, anna: Person, late: bool
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await remove(house, old)
    assert await in_force(house) == []
    token = await link_to(house, MAIL, "security.method_removed")

    house.clock.now += timedelta(hours=72) + (MOMENT if late else timedelta(0))
    reported = await say_not_me(house, token)

    if late:
        assert (reported, await in_force(house)) == (404, [])
        return
    assert reported == 204
    assert await in_force(house) == [(old, "email")]
    assert (await house.ask("GET", "/sessions/current", token="token")).status == 401, "whoever removed it is out"
    assert "not_me.address_restored" in await house.told(anna)
    assert {to for to, _ in await sent(house, "not_me.reset_link")} == {"anna@example.org", MAIL}
    assert (await house.events(anna))["account:verification:restore", "success", None] == 1
    (kept,) = await house.rows(sa.select(contact.contact))
    assert (kept.replaced_by, kept.kept_until) == (None, None)


async def test_a15_a_phone_that_somebody_else_removed_is_put_back_too(house: House, anna: Person) -> None:
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    phone = await give_address(house, anna, VerificationKind.PHONE, NUMBER)
    await remove(house, phone)
    assert await in_force(house, "phone") == []

    assert await say_not_me(house, await link_to(house, "anna@example.org", "security.method_removed")) == 204

    assert await in_force(house, "phone") == [(phone, "phone")]


async def test_a15_what_came_in_its_kind_after_it_went_goes_as_if_it_had_taken_its_place(
    house: House, anna: Person
) -> None:
    """Of what was added before, the address was told, with a link of its own."""
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    before = await add(house, "email", "before@example.net", label="Before")
    house.clock.now += MINUTE
    await remove(house, old)
    house.clock.now += MINUTE
    await add(house, "email", "thief@example.net", label="Mine")
    gone = await add(house, "email", "thief2@example.net", label="Mine, too")
    await remove(house, gone)

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert {one for one, _ in await in_force(house)} == {old, UUID(before)}
    assert await say_not_me(house, await link_to(house, "thief2@example.net", "security.method_removed")) == 204
    assert {one for one, _ in await in_force(house)} == {old, UUID(before)}, "and does not come back by its own link"


async def give(house: House, person: Person, kind: str) -> None:
    """A method that came just now."""
    now, method_id = house.clock.now, new_id(house.clock.now)
    if kind == "totp":
        await give_totp(house.db, house.keys, person, now, label="Their app", is_default=False)
    elif kind == "phone":
        await give_address(house, person, VerificationKind.PHONE, SECOND, age=timedelta(0))
    elif kind == "email":
        await give_address(house, person, VerificationKind.EMAIL, "thief@example.net", age=timedelta(0))
    else:
        whose = {"organization_id": person.organization_id, "account_id": person.id}
        begun = {"verification_id": method_id, **whose, "label": "Their key", "begun_in": method_id}
        async with house.db.write() as tx:
            await tx.execute(verifications.new_passkey(**begun, now=now))
            pending = await verifications.by_id(tx, person.id, method_id)
            assert pending is not None
            await verifications.activate(tx, pending, now)


@pytest.mark.parametrize("how", ["removed", "replaced"])
@pytest.mark.parametrize("kind", ["totp", "passkey", "phone"])
async def test_a15_whatever_came_after_a_mail_address_went_goes_of_whichever_kind(
    house: House, anna: Person, kind: str, how: str
) -> None:
    """No notice of it went there. What was there already stays: of that the address was told."""
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    await lose(house, old, how)
    house.clock.now += MOMENT
    await give(house, anna, kind)

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert await in_force(house) == [(old, "email")]
    methods = await house.rows(sa.select(verification).where(verification.c.kind != "email"))
    assert [row.label for row in methods if row.state == "active"] == ["App"]


async def test_a15_a_phone_that_was_added_and_removed_after_a_mail_address_went_does_not_come_back(
    house: House, anna: Person
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    await remove(house, old)
    house.clock.now += MINUTE
    await remove(house, await give_address(house, anna, VerificationKind.PHONE, SECOND, age=timedelta(0)))

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert [row.id for row in await house.rows(sa.select(contact.contact))] == [old]


async def test_a15_after_a_phone_went_only_phones_go(house: House, anna: Person) -> None:
    """Of the others its owner was told by mail."""
    old = await give_address(house, anna, VerificationKind.PHONE, NUMBER)
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    await remove(house, old)
    house.clock.now += MINUTE
    for kind in ("totp", "phone"):
        await give(house, anna, kind)

    assert await say_not_me(house, await link_to(house, "anna@example.org", "security.method_removed")) == 204

    assert await in_force(house, "phone") == [(old, "phone")]
    assert [label for _, label in await in_force(house, "totp")] == ["App", "Their app"]


async def test_a15_a_stranger_who_added_an_address_and_removed_it_takes_nothing_by_its_link_of_what_the_owner_adds(
    house: House, anna: Person
) -> None:
    """Its mailbox holds a link of the removal for three days."""
    theirs = await add(house, "email", "thief@example.net", label="Mine")
    house.clock.now += MINUTE
    await remove(house, theirs)
    link = await link_to(house, "thief@example.net", "security.method_removed")
    await speak(house)
    house.clock.now += MINUTE
    mine = await add(house, "email", MAIL, label="Home", token=await come_back(house, anna))

    assert await say_not_me(house, link) == 204

    assert await in_force(house) == [(UUID(mine), "Home")]


@pytest.mark.parametrize("ago", [timedelta(hours=24), timedelta(hours=24) - MOMENT])
async def test_a15_what_came_after_an_address_went_goes_only_if_that_was_there_the_day_before(
    house: House, anna: Person, ago: timedelta
) -> None:
    """Whoever has had an address for less than a day says nothing of what came after it."""
    old = await give_address(house, anna, VerificationKind.EMAIL, "thief@example.net", age=ago)
    await remove(house, old)
    house.clock.now += MINUTE
    later = await add(house, "email", MAIL, label="Home")

    assert await say_not_me(house, await link_to(house, "thief@example.net", "security.method_removed")) == 204

    settled = ago == timedelta(hours=24)
    assert [one for one, _ in await in_force(house)] == [old if settled else UUID(later)]


async def test_a15_an_address_that_went_takes_nothing_along_that_came_after_the_owner_has_spoken(
    house: House, anna: Person
) -> None:
    """Even one that was there the day before."""
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await remove(house, old)
    await speak(house)
    house.clock.now += MINUTE
    mine = await add(house, "email", "new@example.net", label="Office", token=await come_back(house, anna))

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert {one for one, _ in await in_force(house)} == {old, UUID(mine)}


async def all_in_force(house: House) -> set[str]:
    return {label for kind in VerificationKind for _, label in await in_force(house, kind.value)}


@pytest.mark.parametrize("how", ["removed", "replaced"])
@pytest.mark.parametrize("kind", ["email", "phone", "totp", "passkey"])
async def test_a15_what_came_between_the_loss_and_the_first_word_goes_by_a_later_one_and_what_came_after_stays(
    house: House, anna: Person, kind: str, how: str
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    await lose(house, old, how)
    house.clock.now += MINUTE
    await give(house, anna, kind)
    house.clock.now += MINUTE
    await speak(house)
    house.clock.now += MOMENT
    await give_totp(house.db, house.keys, anna, house.clock.now, label="Mine", is_default=False)
    house.clock.now += timedelta(hours=71)

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert await in_force(house) == [(old, "email")]
    assert await all_in_force(house) == {"email", "App", "Mine"}


@pytest.mark.parametrize("later", [timedelta(0), MOMENT])
@pytest.mark.parametrize(("gone", "came"), [("email", "totp"), ("phone", "phone")])
async def test_a15_what_came_at_the_moment_of_the_first_word_goes_and_what_came_after_it_stays(
    house: House, anna: Person, gone: str, came: str, later: timedelta
) -> None:
    await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    address = MAIL if gone == "email" else NUMBER
    old = await give_address(house, anna, VerificationKind(gone), address)
    await remove(house, old)
    link = await link_to(house, MAIL if gone == "email" else "anna@example.org", "security.method_removed")
    await speak(house)
    house.clock.now += later
    await give(house, anna, came)
    before = {one for one, _ in await in_force(house, came)}
    house.clock.now += MINUTE

    assert await say_not_me(house, link) == 204

    assert old in {one for one, _ in await in_force(house, gone)}
    after = {one for one, _ in await in_force(house, came)}
    assert len(before - after) == (0 if later else 1)


async def test_a15_of_two_words_the_first_says_what_goes(house: House, anna: Person) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await remove(house, old)
    house.clock.now += MINUTE
    await add(house, "email", "thief@example.net", label="Theirs")
    await speak(house)
    token = await come_back(house, anna)
    house.clock.now += MINUTE
    mine = await add(house, "email", "new@example.net", label="Office", token=token)
    await speak(house, token)

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert {one for one, _ in await in_force(house)} == {old, UUID(mine)}


async def test_a15_a_word_about_a_sign_in_is_a_first_word_too(house: House, anna: Person) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await remove(house, old)
    house.clock.now += MINUTE
    await add(house, "email", "thief@example.net", label="Theirs")
    token = (await house.sign_in(anna)).json["token"]
    (line,) = (await house.ask("GET", "/sign-ins", token=token)).json["items"]
    house.clock.now += MINUTE
    assert (await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=token)).status == 200
    house.clock.now += MINUTE
    mine = await add(house, "email", "new@example.net", label="Office", token=await come_back(house, anna))

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert {one for one, _ in await in_force(house)} == {old, UUID(mine)}


async def replaced_twice(house: House, anna: Person) -> tuple[UUID, str, str]:
    """Home, by somebody else; the last that took its place, and the link that the one between has of that."""
    home = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    first = await add(house, "email", "thief@example.net", label="Theirs", replaces=str(home))
    last = await add(house, "email", "thief2@example.net", label="Theirs, too", replaces=first)
    return home, last, await link_to(house, "thief@example.net", "security.method_removed")


@pytest.mark.parametrize("later", [timedelta(0), MOMENT])
async def test_a15_a_chain_of_addresses_ends_at_the_first_that_came_after_the_owner_has_spoken(
    house: House, anna: Person, later: timedelta
) -> None:
    """What came at that very moment still goes."""
    home, theirs, link = await replaced_twice(house, anna)
    house.clock.now += MINUTE
    await speak(house)
    house.clock.now += later
    token = await come_back(house, anna)
    mine = await add(house, "email", "new@example.net", label="Office", replaces=theirs, token=token)
    newest = await add(house, "email", "newer@example.net", label="Desk", replaces=mine, token=token)
    own = {UUID(newest)} if later else set()
    house.clock.now += timedelta(hours=48)

    assert await say_not_me(house, link) == 204

    assert {one for one, _ in await in_force(house)} == own
    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204
    assert {one for one, _ in await in_force(house)} == {home, *own}


async def test_a15_what_a_chain_that_was_cut_leaves_is_used_for_nothing_and_goes_with_the_rest(
    house: House, anna: Person
) -> None:
    home, theirs, link = await replaced_twice(house, anna)
    gone = house.clock.now
    await speak(house)
    token = await come_back(house, anna)
    house.clock.now += MINUTE
    mine = UUID(await add(house, "email", "new@example.net", label="Office", replaces=theirs, token=token))

    assert await say_not_me(house, link) == 204

    kept = {row.id: row for row in await house.rows(sa.select(contact.contact))}
    assert UUID(theirs) not in kept
    assert (kept[mine].replaces, kept[mine].replaced_by, kept[mine].kept_until) == (None, None, None)
    async with house.db.write() as tx:
        assert set(await contact.of_account(tx, anna.id)) == {mine}
        assert (await address.of_account(tx, anna.id, house.keys)).mails == ("anna@example.org", "new@example.net")
        assert await contact.erase_due(tx, gone + timedelta(hours=72), 10) == 0
        assert await contact.erase_due(tx, gone + timedelta(hours=72) + MOMENT, 10) == 2
        assert await contact.of_method(tx, home) is None


async def test_a15_a_thiefs_address_comes_back_by_no_link_once_the_owner_has_spoken(house: House, anna: Person) -> None:
    """What the owner had the day before comes back by a later word, too."""
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    theirs = await add(house, "email", "thief@example.net", label="Mine")
    house.clock.now += MINUTE
    await remove(house, theirs)
    house.clock.now += MINUTE
    await remove(house, old)
    await speak(house)

    assert await say_not_me(house, await link_to(house, "thief@example.net", "security.method_removed")) == 204
    assert await in_force(house) == []
    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert await in_force(house) == [(old, "email")]


@pytest.mark.parametrize("ago", [timedelta(hours=24), timedelta(hours=24) - MOMENT])
async def test_a15_beside_what_took_its_place_more_goes_only_if_it_was_there_the_day_before(
    house: House, anna: Person, ago: timedelta
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL, age=ago)
    await lose(house, old, "replaced")
    house.clock.now += MINUTE
    later = await add(house, "email", "later@example.net", label="Later")

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    settled = ago == timedelta(hours=24)
    assert {one for one, _ in await in_force(house)} == ({old} if settled else {old, UUID(later)})


@pytest.mark.parametrize("ago", [timedelta(hours=24), timedelta(hours=24) - MOMENT])
async def test_a15_what_was_added_and_removed_within_a_day_is_put_back_by_nobody(
    house: House, anna: Person, ago: timedelta
) -> None:
    """An owner who follows the link of the removal must not give an intruder's address back to it."""
    theirs = await give_address(house, anna, VerificationKind.EMAIL, "thief@example.net", age=ago)
    await remove(house, theirs)

    assert await say_not_me(house, await link_to(house, "anna@example.org", "security.method_removed")) == 204

    assert [one for one, _ in await in_force(house)] == ([theirs] if ago == timedelta(hours=24) else [])


async def test_an_address_that_was_replaced_and_added_anew_is_not_put_back_beside_itself(
    house: House, anna: Person
) -> None:
    old = await give_address(house, anna, VerificationKind.EMAIL, MAIL)
    await add(house, "email", "new@example.net", label="Office", replaces=str(old))
    again = await add(house, "email", MAIL, label="Home")

    assert await say_not_me(house, await link_to(house, MAIL, "security.method_removed")) == 204

    assert await in_force(house) == [(UUID(again), "Home")]


async def test_a7_an_authenticator_that_was_removed_stays_so_and_its_secret_is_gone(house: House, anna: Person) -> None:
    """A7: delete is final; see the threat model."""
    await give_address(house, anna, VerificationKind.PHONE, NUMBER)
    app = await give_totp(house.db, house.keys, anna, house.clock.now, label="App")
    assert app.totp_secret is not None
    (row,) = [one for one in await listed(house) if one["kind"] == "totp"]
    await remove(house, row["id"])

    assert await say_not_me(house, await link_to(house, "anna@example.org", "security.method_removed")) == 204

    (kept,) = await house.rows(sa.select(verification).where(verification.c.kind == "totp"))
    assert (kept.state, kept.secret) == ("revoked", None)
