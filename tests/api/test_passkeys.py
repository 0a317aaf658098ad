"""Passkeys and security keys over HTTP, on both databases: added, shown after a password or alone, and never twice."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from models import passkey as challenges
from models.account import account
from models.device import device
from models.event import event
from models.passkey import passkey, passkey_challenge, passkey_handle
from models.throttle import throttle
from models.verification import verification
from models.vocabulary import Act
from tests.api.house import PASSWORD, PUBLIC_URL, Answer, House
from tests.authenticator import BACKED_UP, ELIGIBLE, PRESENT, VERIFIED, Authenticator, decode, encode
from tests.people import Person, block, found, give_device, give_totp

METHODS = "/security/methods"
HOST = "latchkey.test"


@pytest.fixture
async def anna(house: House) -> Person:
    """Signed in with `token`, just now, by the password alone."""
    person = await house.hire("anna")
    await house.open_session(person, "token")
    return person


def a_key(**more: Any) -> Authenticator:
    return Authenticator(**{"origin": PUBLIC_URL, "rp_id": HOST, **more})


async def begin(house: House, label: str = "My laptop", token: str = "token") -> Answer:
    return await house.ask("POST", f"{METHODS}/passkey", {"label": label}, token=token)


async def confirm(house: House, begun: Answer, credential: Any, token: str = "token") -> Answer:
    return await house.ask("POST", f"{METHODS}/{begun.json['id']}/confirm", {"credential": credential}, token=token)


async def add(house: House, key: Authenticator, label: str = "My laptop", token: str = "token") -> str:
    begun = await begin(house, label, token)
    assert begun.status == 201, begun.json
    added = await confirm(house, begun, key.create(begun.json["public_key"]), token)
    assert added.status == 200, added.json
    method_id: str = added.json["id"]
    return method_id


async def options(house: House, token: str) -> Answer:
    return await house.ask("POST", "/sessions/current/passkey/options", token=token)


async def finish(house: House, token: str, assertion: Any, **more: Any) -> Answer:
    return await house.ask("POST", "/sessions/current/second-factor", {"assertion": assertion, **more}, token=token)


async def half(house: House, person: Person, **more: Any) -> str:
    answer = await house.sign_in(person, **more)
    assert answer.status == 202, answer.json
    token: str = answer.json["token"]
    return token


async def shown(house: House, key: Authenticator, token: str) -> dict[str, Any]:
    asked = await options(house, token)
    assert asked.status == 201, asked.json
    return key.get(asked.json["public_key"])


async def alone(house: House, key: Authenticator, **more: Any) -> Answer:
    asked = await house.ask("POST", "/sessions/passkey/options")
    assert asked.status == 201, asked.json
    body = {"assertion": key.get(asked.json["public_key"]), "token": asked.json["token"], **more}
    return await house.ask("POST", "/sessions/passkey", body)


async def listed(house: House, token: str = "token") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await house.ask("GET", METHODS, token=token)).json["items"]
    return items


# Adding one


async def test_a_browser_is_told_all_that_it_needs_and_the_key_counts_when_it_has_answered(
    house: House, anna: Person
) -> None:
    begun = await begin(house)

    assert begun.status == 201
    assert begun.json["expires_at"] == "2026-03-01T12:05:00Z"
    told = begun.json["public_key"]
    assert told["rp"] == {"id": HOST, "name": "Latchkey"}
    assert (told["user"]["name"], told["user"]["displayName"]) == ("anna", "Anna")
    assert len(decode(told["challenge"])) == 32
    assert [one["alg"] for one in told["pubKeyCredParams"]] == [-7, -8, -257]
    assert told["authenticatorSelection"] == {
        "residentKey": "preferred",
        "requireResidentKey": False,
        "userVerification": "preferred",
    }
    assert (told["attestation"], told["timeout"], told["excludeCredentials"]) == ("none", 300_000, [])
    assert await listed(house) == []

    added = await confirm(house, begun, a_key().create(told))

    assert added.status == 200
    assert added.json == {
        "id": begun.json["id"],
        "kind": "passkey",
        "label": "My laptop",
        "state": "active",
        "default": True,
        "usable_for": ["mfa"],
        "created_at": "2026-03-01T12:00:00Z",
        "used_at": None,
        "expires_at": None,
        "signs_in_alone": True,
    }
    assert await listed(house) == [added.json]
    assert ("account:verification:add", "success", None) in await house.events(anna)
    assert await house.told(anna) == ["security.method_added"]


async def test_what_is_kept_is_public_and_the_name_it_is_kept_under_names_nobody(house: House, anna: Person) -> None:
    key = a_key(flags=PRESENT | VERIFIED | ELIGIBLE | BACKED_UP, transports=["internal", "hybrid", "carrier pigeon"])
    await add(house, key)

    (row,) = await house.rows(sa.select(passkey))
    assert (row.credential_id, row.public_key, row.sign_count) == (key.credential_id, key.public_key(), 1)
    assert (row.transports, row.backup_eligible, row.backed_up) == (["hybrid", "internal"], True, True)
    (handle,) = await house.rows(sa.select(passkey_handle))
    assert handle.handle == key.handle
    assert len(handle.handle) == 32
    assert anna.id.bytes not in handle.handle
    assert await house.rows(sa.select(passkey_challenge)) == []


async def test_the_handle_stays_and_a_key_that_is_there_is_not_made_again(house: House, anna: Person) -> None:
    first, second = a_key(flags=PRESENT), a_key()
    await add(house, first)
    await house.open_session(anna, "strong", strength=2)
    begun = await begin(house, "Another", "strong")

    excluded = begun.json["public_key"]["excludeCredentials"]
    assert excluded == [{"type": "public-key", "id": encode(first.credential_id), "transports": ["internal"]}]
    await confirm(house, begun, second.create(begun.json["public_key"]), "strong")
    assert first.handle == second.handle


@pytest.mark.parametrize(
    "make",
    [
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["eddsa", "rsa"],
)
async def test_other_keys_than_the_usual_ones_sign_in_too(house: House, anna: Person, make: Callable[[], Any]) -> None:
    key = a_key(key=make())
    await add(house, key)

    assert (await alone(house, key)).status == 201


async def test_a_key_that_is_too_weak_is_refused(house: House, anna: Person) -> None:
    begun = await begin(house)
    key = a_key(key=rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505 - that is the point

    assert (await confirm(house, begun, key.create(begun.json["public_key"]))).status == 403


async def test_what_a_device_attests_is_laid_aside_unread(house: House, anna: Person) -> None:
    """A browser may pass on a key's statement about itself although none was asked for."""
    key = a_key(fmt="packed", statement={"alg": -7, "sig": b"not one", "x5c": [b"not a certificate"]})

    await add(house, key)

    assert (await alone(house, key)).status == 201


WRONG: dict[str, Callable[[Authenticator], Any]] = {
    "origin": lambda key: setattr(key, "origin", "https://latchkey.test.evil.example"),
    "plain origin": lambda key: setattr(key, "origin", "http://latchkey.test"),
    "port": lambda key: setattr(key, "origin", f"{PUBLIC_URL}:8443"),
    "relying party": lambda key: setattr(key, "rp_id", "evil.example"),
    "frame": lambda key: setattr(key, "cross_origin", True),
    "nobody there": lambda key: setattr(key, "flags", VERIFIED),
    "backed up but not eligible": lambda key: setattr(key, "flags", PRESENT | VERIFIED | BACKED_UP),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_was_not_made_here_is_no_key(house: House, anna: Person, wrong: str) -> None:
    begun, key = await begin(house), a_key()
    WRONG[wrong](key)

    refused = await confirm(house, begun, key.create(begun.json["public_key"]))

    assert (refused.status, refused.json["code"], refused.json["tries_left"]) == (403, "code_refused", 0)
    assert "origin" not in str(refused.json).lower(), "what the library says stays here"
    assert await house.rows(sa.select(verification)) == [], "its challenge is spent, and so it is over"
    assert ("account:verification:confirm", "failure", "code_refused") in await house.events(anna)


async def test_a_challenge_is_answered_once_and_by_the_method_it_was_made_for(house: House, anna: Person) -> None:
    older = await begin(house, "Older")
    newer = await begin(house, "Newer")

    assert (await confirm(house, older, a_key().create(older.json["public_key"]))).status == 404
    assert (await confirm(house, newer, a_key().create(older.json["public_key"]))).status == 403


async def test_another_session_cannot_confirm_what_this_one_began(house: House, anna: Person) -> None:
    await house.open_session(anna, "elsewhere")
    begun = await begin(house)
    credential = a_key().create(begun.json["public_key"])

    assert (await confirm(house, begun, credential, "elsewhere")).status == 404
    assert (await confirm(house, begun, credential)).status == 200


@pytest.mark.parametrize(("after", "status"), [(299.999999, 200), (300, 403)])
async def test_a_challenge_lives_five_minutes(house: House, anna: Person, after: float, status: int) -> None:
    begun = await begin(house)
    house.clock.forward(timedelta(seconds=after))

    assert (await confirm(house, begun, a_key().create(begun.json["public_key"]))).status == status


async def test_a_key_that_somebody_has_is_nobody_elses(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")
    begun = await begin(house, token="bert")

    refused = await confirm(house, begun, key.create(begun.json["public_key"]), "bert")

    assert (refused.status, refused.json["code"]) == (403, "code_refused"), "told as any other mistake"
    assert [row.account_id for row in await house.rows(sa.select(passkey))] == [anna.id]


async def test_ten_at_most_and_each_with_a_name_of_its_own(house: House, anna: Person) -> None:
    await add(house, a_key(flags=PRESENT), "0")
    await house.open_session(anna, "strong", strength=2)
    for number in range(1, 10):
        await add(house, a_key(flags=PRESENT), str(number), "strong")

    eleventh, twin = await begin(house, "Eleventh", "strong"), await begin(house, "0", "strong")

    assert (eleventh.status, eleventh.json["code"], eleventh.json["most"]) == (403, "method_quota", 10)
    assert twin.status in {403, 409}


async def test_a_code_confirms_no_passkey_and_a_passkey_no_app(house: House, anna: Person) -> None:
    begun = await begin(house)
    app = await house.ask("POST", f"{METHODS}/totp", {"label": "App"}, token="token")

    for path, body, status in (
        (begun.json["id"], {"code": "123456"}, 404),
        (app.json["id"], {"credential": a_key().create(begun.json["public_key"])}, 404),
        (begun.json["id"], {}, 422),
        (begun.json["id"], {"code": "1", "credential": a_key().create(begun.json["public_key"])}, 422),
    ):
        assert (await house.ask("POST", f"{METHODS}/{path}/confirm", body, token="token")).status == status


# As a second factor


async def test_after_the_password_it_finishes_the_sign_in(house: House, anna: Person) -> None:
    key = a_key()
    method_id = await add(house, key)
    answer = await house.sign_in(anna)
    assert answer.status == 202
    assert answer.json["methods"] == [{"id": method_id, "kind": "passkey", "label": "My laptop", "default": True}]
    asked = await options(house, answer.json["token"])
    assert asked.status == 201
    assert asked.json["expires_at"] == "2026-03-01T12:05:00Z"
    told = asked.json["public_key"]
    assert (told["rpId"], told["userVerification"], told["timeout"]) == (HOST, "preferred", 300_000)
    assert [one["id"] for one in told["allowCredentials"]] == [encode(key.credential_id)]

    whole = await finish(house, answer.json["token"], key.get(told), method_id=method_id)

    assert (whole.status, whole.json["session"]["strength"]) == (201, 3)
    assert (await house.ask("GET", "/sessions/current", token=whole.json["token"])).status == 200
    assert (await listed(house, whole.json["token"]))[0]["used_at"] == "2026-03-01T12:00:00Z"


async def test_without_knowing_who_holds_it_it_is_one_factor_of_two(house: House, anna: Person) -> None:
    key = a_key(flags=PRESENT)
    await add(house, key)
    token = await half(house, anna)

    whole = await finish(house, token, await shown(house, key, token))

    assert (whole.status, whole.json["session"]["strength"]) == (201, 2)
    assert (await listed(house, whole.json["token"]))[0]["signs_in_alone"] is False


async def test_a_key_that_learns_a_pin_later_is_as_strong_as_when_it_was_added(house: House, anna: Person) -> None:
    """Whoever finds a key without a PIN can give it one."""
    key = a_key(flags=PRESENT)
    await add(house, key)
    key.flags = PRESENT | VERIFIED
    token = await half(house, anna)

    whole = await finish(house, token, await shown(house, key, token))

    assert whole.json["session"]["strength"] == 2
    assert (await alone(house, key)).status == 401


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_was_not_made_here_finishes_nothing(house: House, anna: Person, wrong: str) -> None:
    key = a_key()
    await add(house, key)
    token = await half(house, anna)
    WRONG[wrong](key)

    refused = await finish(house, token, await shown(house, key, token))

    assert (refused.status, refused.json["code"]) == (403, "code_refused")
    assert "sign_in.second_factor_failed" in await house.told(anna)


@pytest.mark.rule("A7.2")
async def test_the_same_answer_in_parallel_requests_succeeds_once(house: House, anna: Person) -> None:
    key = a_key(counts=False)
    await add(house, key)
    token = await half(house, anna)
    assertion = await shown(house, key, token)

    answers = await asyncio.gather(*(finish(house, token, assertion) for _ in range(4)))

    assert min(answer.status for answer in answers) == 201
    assert sum(answer.status == 201 for answer in answers) == 1


async def test_an_answer_is_not_taken_twice(house: House, anna: Person) -> None:
    key = a_key(counts=False)
    await add(house, key)
    token = await half(house, anna)
    key.origin = "https://evil.example"
    wrong = await shown(house, key, token)
    key.origin = PUBLIC_URL

    await finish(house, token, wrong)
    again = replace(key).get({"challenge": _challenge_of(wrong)})

    assert (await finish(house, token, again)).status == 403, "a wrong answer spends the challenge, too"


def _challenge_of(credential: dict[str, Any]) -> str:
    challenge: str = json.loads(decode(credential["response"]["clientDataJSON"]))["challenge"]
    return challenge


@pytest.mark.parametrize(("after", "status"), [(299.999999, 201), (300, 401)])
async def test_the_half_sign_in_and_its_challenge_live_five_minutes(
    house: House, anna: Person, after: float, status: int
) -> None:
    key = a_key()
    await add(house, key)
    token = await half(house, anna)
    assertion = await shown(house, key, token)
    house.clock.forward(timedelta(seconds=after))

    assert (await finish(house, token, assertion)).status == status


async def test_anothers_key_and_anothers_challenge_open_nothing(house: House, anna: Person) -> None:
    key, other = a_key(), a_key()
    await add(house, key)
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")
    await add(house, other, token="bert")
    mine, theirs = await half(house, anna), await half(house, bert)

    with_their_key = other.get((await options(house, mine)).json["public_key"])
    for_their_challenge = key.get((await options(house, theirs)).json["public_key"])

    assert (await finish(house, mine, with_their_key)).status == 403
    assert (await finish(house, mine, for_their_challenge)).status == 403


async def test_a_challenge_of_one_kind_serves_no_other(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    proof = await shown(house, key, "token")
    open_to_all = (await house.ask("POST", "/sessions/passkey/options")).json["public_key"]
    token = await half(house, anna)

    assert (await finish(house, token, proof)).status == 403
    assert (await finish(house, token, key.get(open_to_all))).status == 403
    asked = (await options(house, token)).json["public_key"]
    assert (await house.ask("POST", "/sessions/passkey", {"assertion": key.get(asked)})).status == 401


async def test_the_method_beside_an_answer_must_be_that_passkey(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    app = await give_totp(house.db, house.keys, anna, house.clock.now, is_default=False)
    token = await half(house, anna)

    refused = await finish(house, token, await shown(house, key, token), method_id=str(app.method_id))

    assert refused.status == 403


async def test_either_a_code_or_an_answer(house: House, anna: Person) -> None:
    key = a_key()
    method_id = await add(house, key)
    token = await half(house, anna)
    assertion = await shown(house, key, token)

    for body in (
        {},
        {"method_id": method_id},
        {"code": "123456"},
        {"method_id": method_id, "code": "123456", "assertion": assertion},
    ):
        answer = await house.ask("POST", "/sessions/current/second-factor", body, token=token)
        assert answer.status == 422, body
    code = {"method_id": method_id, "code": "123456"}
    assert (await house.ask("POST", "/sessions/current/second-factor", code, token=token)).status == 403
    assert (await finish(house, token, assertion)).status == 201


async def test_whoever_has_no_passkey_is_asked_for_none(house: House) -> None:
    cara = await house.hire("cara", second_factor=True)

    asked = await options(house, await half(house, cara))

    assert (asked.status, asked.json["code"]) == (409, "no_passkey")


async def test_five_wrong_ones_shut_the_second_factor_for_five_minutes(house: House, anna: Person) -> None:
    key, stranger = a_key(), a_key()
    await add(house, key)
    token = await half(house, anna)
    stranger.credential_id = key.credential_id

    refused = [await finish(house, token, await shown(house, stranger, token)) for _ in range(5)]
    sixth = await finish(house, token, await shown(house, key, token))

    assert [answer.status for answer in refused] == [403] * 5
    assert (sixth.status, sixth.json["code"]) == (429, "too_many_tries")


async def test_a_browser_may_be_remembered_for_it(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    token = await half(house, anna)

    whole = await finish(house, token, await shown(house, key, token), remember_browser=True)

    cookie = {"Cookie": f"__Host-latchkey-browser={whole.cookies['__Host-latchkey-browser']}"}
    assert (await house.sign_in(anna, headers=cookie)).status == 201


# As a proof, and how strong it makes


async def test_a_proof_by_passkey_makes_the_session_as_strong_as_it_can_be(house: House, anna: Person) -> None:
    """A7: a change takes the best that the person has."""
    key = a_key()
    method_id = await add(house, key)
    await house.open_session(anna, "two", strength=2)
    refused = await begin(house, "Another", "two")
    assert (refused.status, refused.json["code"], refused.json["strength"]) == (401, "proof_required", 3)
    assert 'acr_values="3"' in refused.headers["WWW-Authenticate"]

    body = {"assertion": await shown(house, key, "two"), "method_id": method_id}
    proven = await house.ask("POST", "/sessions/current/proof", body, token="two")

    assert proven.status == 200
    current = await house.ask("GET", "/sessions/current", token=proven.json["token"])
    assert current.json["strength"] == 3
    assert (await begin(house, "Another", proven.json["token"])).status == 201
    assert (await house.ask("GET", "/sessions/current", token="two")).status == 401, "the token was changed"


@pytest.mark.parametrize("stand_in", ["recovery_codes", "access_pass", "totp"])
async def test_whoever_lost_it_gets_on_with_a_stand_in_and_with_nothing_less(
    house: House, anna: Person, stand_in: str
) -> None:
    await add(house, a_key())
    await house.open_session(anna, "other", strength=2, methods=("password", stand_in))

    answer = await begin(house, "My new laptop", "other")

    assert answer.status == (401 if stand_in == "totp" else 201)


@pytest.mark.parametrize(
    "body",
    [
        {"password": PASSWORD, "assertion": "it"},
        {"method_id": "it", "code": "123456", "assertion": "it"},
    ],
)
async def test_a_proof_is_one_thing(house: House, anna: Person, body: dict[str, Any]) -> None:
    key = a_key()
    method_id = await add(house, key)
    given = {"assertion": await shown(house, key, "token"), "method_id": method_id}
    sent = {name: given[name] if value == "it" else value for name, value in body.items()}

    assert (await house.ask("POST", "/sessions/current/proof", sent, token="token")).status == 422


async def test_an_act_may_take_a_passkey(house: House) -> None:
    strict = await found(house.db, house.clock.now, {"act_strength": {"remote_lock": 3}})
    anna = await house.hire("anna", organization_id=strict, second_factor=True)
    await house.open_session(anna, "token", strength=2)
    phone = await give_device(house.db, anna, house.clock.now)
    key = a_key()

    async def lock(token: str) -> Answer:
        headers = {"Idempotency-Key": "k"}
        return await house.ask(
            "POST", f"/devices/{phone}/{Act.REMOTE_LOCK.replace('_', '-')}", token=token, headers=headers
        )

    missing = await lock("token")
    await add(house, key)
    challenged = await lock("token")
    proven = await house.ask(
        "POST", "/sessions/current/proof", {"assertion": await shown(house, key, "token")}, token="token"
    )

    assert (missing.status, missing.json["code"], missing.json["strength"]) == (403, "second_factor_missing", 3)
    assert (challenged.status, challenged.json["code"], challenged.json["strength"]) == (401, "proof_required", 3)
    assert (await lock(proven.json["token"])).status == 202


# Alone


async def test_a_passkey_alone_signs_in(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    asked = await house.ask("POST", "/sessions/passkey/options")
    assert asked.json["public_key"] | {"challenge": ""} == {
        "challenge": "",
        "rpId": HOST,
        "timeout": 300_000,
        "allowCredentials": [],
        "userVerification": "required",
    }, "the same for everybody"

    answer = await house.ask(
        "POST",
        "/sessions/passkey",
        {"assertion": key.get(asked.json["public_key"])},
        headers={"Cookie": f"__Host-latchkey-passkey={asked.cookies['__Host-latchkey-passkey']}"},
    )

    assert (answer.status, answer.json["state"], answer.json["session"]["strength"]) == (201, "signed_in", 3)
    assert answer.json["session"]["account"]["id"] == str(anna.id)
    assert answer.cookies["__Host-latchkey-passkey"] == "", "it has done its part"
    lines = (await house.ask("GET", "/sign-ins", token=answer.json["token"])).json["items"]
    assert lines[0]["outcome"] == "succeeded"
    assert ("account:session:open", "success", None) in await house.events(anna)


async def test_a_second_factor_beside_it_is_not_asked_for(house: House) -> None:
    """The device is one factor, and what it asks of its holder is the other."""
    anna = await house.hire("anna", second_factor=True)
    await house.open_session(anna, "token", strength=2)
    key = a_key()
    await add(house, key)

    assert (await alone(house, key)).status == 201


async def test_not_knowing_who_holds_it_it_opens_nothing_alone(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    key.flags = PRESENT

    refused = await alone(house, key)

    assert (refused.status, refused.json["code"]) == (401, "sign_in_failed")
    assert ("account:session:open", "failure", "person_not_verified") in await house.events(anna)
    lines = (await house.ask("GET", "/sign-ins", token="token")).json["items"]
    assert [(line["outcome"], line["can_be_disowned"]) for line in lines] == [("passkey_failed", False)]


async def test_on_a_disabled_device_it_opens_nothing_and_leaves_a_trace(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    device_id = await give_device(house.db, anna, house.clock.now)
    async with house.db.write() as tx:
        await tx.execute(sa.update(device).where(device.c.id == device_id).values(state="disabled"))

    refused = await alone(house, key, device_id=str(device_id))

    assert (refused.status, refused.json["code"]) == (403, "device_disabled")
    assert (await house.events(anna))["account:session:open", "failure", "device_disabled"] == 1
    (line,) = (await house.ask("GET", "/sign-ins", token="token")).json["items"]
    assert (line["outcome"], line["reason"]) == ("passkey_failed", "device_disabled")
    assert line["advice"] == "sign_in.device_disabled"


async def test_unknown_wrong_and_blocked_are_the_same_outside(house: House, anna: Person) -> None:
    key, unknown = a_key(), a_key(handle=b"h" * 32)
    await add(house, key)
    wrong = a_key(credential_id=key.credential_id, handle=key.handle)

    answers = [await alone(house, unknown), await alone(house, wrong)]
    await block(house.db, anna, house.clock.now)
    answers.append(await alone(house, key))

    assert [answer.status for answer in answers] == [401] * 3
    assert len({str({**answer.json, "instance": ""}) for answer in answers}) == 1
    assert len({tuple(sorted(set(answer.headers) - {"X-Request-Id"})) for answer in answers}) == 1
    assert ("account:session:open", "failure", "account_blocked") in await house.events(anna)


@pytest.mark.parametrize("handle", [None, b"h" * 32])
async def test_its_device_must_say_whose_it_is(house: House, anna: Person, handle: bytes | None) -> None:
    key = a_key()
    await add(house, key)
    key.handle = handle

    assert (await alone(house, key)).status == 401


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_was_not_made_here_signs_nobody_in(house: House, anna: Person, wrong: str) -> None:
    key = a_key()
    await add(house, key)
    WRONG[wrong](key)

    assert (await alone(house, key)).status == 401


async def test_a_challenge_is_its_browsers_own(house: House, anna: Person) -> None:
    """Somebody who lures a person into answering his challenge has nothing of it."""
    key = a_key(counts=False)
    await add(house, key)
    mine, his = [await house.ask("POST", "/sessions/passkey/options") for _ in range(2)]
    assertion = key.get(mine.json["public_key"])

    for token in (his.json["token"], "x", None):
        body = {"assertion": assertion} if token is None else {"assertion": assertion, "token": token}
        assert (await house.ask("POST", "/sessions/passkey", body)).status == 401
    assert (await alone(house, key)).status == 201


@pytest.mark.parametrize(("after", "status"), [(299.999999, 201), (300, 401)])
async def test_a_challenge_for_anybody_lives_five_minutes(
    house: House, anna: Person, after: float, status: int
) -> None:
    key = a_key()
    await add(house, key)
    asked = await house.ask("POST", "/sessions/passkey/options")
    house.clock.forward(timedelta(seconds=after))

    body = {"assertion": key.get(asked.json["public_key"]), "token": asked.json["token"]}
    assert (await house.ask("POST", "/sessions/passkey", body)).status == status


async def test_one_answer_in_parallel_requests_signs_in_once(house: House, anna: Person) -> None:
    key = a_key(counts=False)
    await add(house, key)
    asked = await house.ask("POST", "/sessions/passkey/options")
    body = {"assertion": key.get(asked.json["public_key"]), "token": asked.json["token"]}

    answers = await asyncio.gather(*(house.ask("POST", "/sessions/passkey", body) for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [201, 401, 401, 401]


async def test_whoever_owes_a_password_still_owes_it(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    async with house.db.write() as tx:
        await tx.execute(sa.update(account).where(account.c.id == anna.id).values(must_change_password=True))

    answer = await alone(house, key)

    assert (answer.status, answer.json["state"]) == (202, "password_change_required")
    assert (await house.ask("GET", "/devices", token=answer.json["token"])).status == 403


@pytest.mark.parametrize(("after", "state"), [(300, "proven"), (300.001, "lapsed")])
async def test_it_is_a_whole_sign_in_for_the_five_minutes(house: House, anna: Person, after: float, state: str) -> None:
    """A14."""
    key = a_key()
    await add(house, key)
    phone = await give_device(house.db, anna, house.clock.now)
    body = {"device_id": str(phone), "act": "reset_passcode"}
    opened = await house.ask("POST", "/re-sign-ins", body, token="token")
    house.clock.forward(timedelta(seconds=after))

    answer = await alone(house, key, re_sign_in=opened.json["token"])

    assert answer.json["re_sign_in"]["state"] == state


async def test_as_a_second_factor_it_proves_the_window_too(house: House, anna: Person) -> None:
    """A14, rule 7: the authenticator may sit on the locked device, and a key need not."""
    key = a_key()
    await add(house, key)
    phone = await give_device(house.db, anna, house.clock.now)
    body = {"device_id": str(phone), "act": "reset_passcode"}
    opened = await house.ask("POST", "/re-sign-ins", body, token="token")
    token = await half(house, anna, re_sign_in=opened.json["token"])

    whole = await finish(house, token, await shown(house, key, token))

    assert whole.json["re_sign_in"]["state"] == "proven"


async def test_a_browser_that_was_not_seen_before_is_told(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    await alone(house, key)
    asked = await house.ask("POST", "/sessions/passkey/options")
    body = {"assertion": key.get(asked.json["public_key"]), "token": asked.json["token"]}

    await house.ask("POST", "/sessions/passkey", body, address="198.51.100.7", headers={"User-Agent": "another"})

    assert "sign_in.new_browser" in await house.told(anna)


@pytest.mark.parametrize("known", [True, False])
async def test_five_wrong_tries_shut_one_key_for_five_minutes_known_or_not(
    house: House, anna: Person, known: bool
) -> None:
    key = a_key()
    await add(house, key)
    wrong = a_key(handle=key.handle, **({"credential_id": key.credential_id} if known else {}))

    tries = [await alone(house, wrong) for _ in range(6)]

    assert [answer.status for answer in tries] == [401] * 5 + [429]
    assert wrong.credential_id.hex() not in str(await house.rows(sa.select(throttle)))
    house.clock.forward(300)
    assert (await alone(house, key)).status == 201


async def test_a_neighbourhood_asks_for_three_hundred_challenges_at_most(house: House) -> None:
    statuses = [(await house.ask("POST", "/sessions/passkey/options")).status for _ in range(301)]

    assert statuses == [201] * 300 + [429]


async def test_challenges_that_are_over_are_erased(house: House) -> None:
    await house.ask("POST", "/sessions/passkey/options")
    async with house.db.write() as tx:
        assert await challenges.erase_due(tx, house.clock.forward(299.999999), 100) == 0
        assert await challenges.erase_due(tx, house.clock.forward(0.000001), 100) == 1


# Its counter


@pytest.mark.parametrize(("count", "fine"), [(1, False), (0, False), (2, True)])
async def test_a_counter_that_does_not_go_on_is_refused_and_told(
    house: House, anna: Person, count: int, fine: bool
) -> None:
    key = a_key()
    await add(house, key)
    key.counts, key.count = False, count

    answer = await alone(house, key)

    if fine:
        assert answer.status == 201
        return
    assert answer.status == 401
    assert "security.passkey_copied" in await house.told(anna)
    events = await house.events(anna)
    assert ("account:verification:use", "failure", "passkey_copied") in events
    assert ("account:session:open", "failure", "passkey_copied") in events
    key.count = 2
    assert (await alone(house, key)).status == 201, "nothing is suspended: a copy must not lock its owner out"


async def test_whoever_is_signed_in_hears_at_once_of_a_copy_that_signs_in_alone(
    house: House, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_key()
    await add(house, key)
    key.counts, nudged = False, list[UUID]()
    monkeypatch.setattr("workers.queue.QueueDoor.nudge", lambda _, account_id: nudged.append(account_id))

    assert (await alone(house, key)).status == 401

    assert nudged == [anna.id]


async def test_a_copy_is_refused_after_the_password_too(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    key.counts = False
    token = await half(house, anna)

    refused = await finish(house, token, await shown(house, key, token))

    assert (refused.status, refused.json["code"]) == (403, "code_refused")
    assert "security.passkey_copied" in await house.told(anna)


async def test_of_keys_that_count_nothing_nothing_is_expected(house: House, anna: Person) -> None:
    key = a_key(counts=False)
    await add(house, key)

    assert [(await alone(house, key)).status for _ in range(3)] == [201] * 3


async def test_a_key_that_says_it_is_of_another_kind_than_it_was_is_refused(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    key.flags |= ELIGIBLE

    assert (await alone(house, key)).status == 401


# Naming, preferring, removing


@pytest.mark.rule("A7.5")
async def test_the_strongest_takes_the_place_of_a_default_that_is_removed(house: House, anna: Person) -> None:
    key = a_key(flags=PRESENT)
    app = await give_totp(house.db, house.keys, anna, house.clock.now, is_default=True, label="App")
    another = await give_totp(house.db, house.keys, anna, house.clock.now, is_default=False, label="Another")
    await house.open_session(anna, "strong", strength=2)
    house.clock.forward(1)
    method_id = await add(house, key, token="strong")

    assert (await house.ask("DELETE", f"{METHODS}/{app.method_id}", token="strong")).status == 204

    assert [(one["id"], one["default"]) for one in await listed(house)] == [
        (method_id, True),
        (str(another.method_id), False),
    ]


@pytest.mark.rule("A7.6")
async def test_the_last_one_stays(house: House, anna: Person) -> None:
    method_id = await add(house, a_key())
    await house.open_session(anna, "strong", strength=3)

    refused = await house.ask("DELETE", f"{METHODS}/{method_id}", token="strong")

    assert (refused.status, refused.json["code"]) == (409, "last_method")


async def test_removed_it_opens_nothing_and_what_stood_on_it_ends(house: House, anna: Person) -> None:
    key, other = a_key(), a_key()
    method_id = await add(house, key)
    token = (await alone(house, key)).json["token"]
    await add(house, other, "Other", token)
    elsewhere = (await alone(house, other)).json["token"]

    removed = await house.ask("DELETE", f"{METHODS}/{method_id}", token=elsewhere)

    assert removed.status == 204
    assert (await house.ask("GET", "/sessions/current", token=token)).status == 401
    assert (await house.ask("GET", "/sessions/current", token=elsewhere)).status == 200
    assert (await alone(house, key)).status == 401
    assert [row.credential_id for row in await house.rows(sa.select(passkey))] == [other.credential_id]
    await add(house, key, "Again", elsewhere)
    assert (await alone(house, key)).status == 201


async def test_it_is_named_anew_and_made_the_default_like_any_other(house: House, anna: Person) -> None:
    method_id = await add(house, a_key())
    await house.open_session(anna, "strong", strength=3)
    any_mark = {"If-Match": "*"}
    path = f"{METHODS}/{method_id}"

    changed = await house.ask("PATCH", path, {"label": "Desk"}, token="strong", headers=any_mark)

    assert (changed.status, changed.json["label"], changed.json["default"]) == (200, "Desk", True)


# What strangers send


BROKEN: dict[str, Any] = {
    "nothing": "",
    "no padding of this length": "A",
    "not in the alphabet": "!!!!",
    "too long": "A" * 70000,
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", ["clientDataJSON", "authenticatorData", "signature", "userHandle"])
async def test_bytes_that_are_none_are_told_apart_from_wrong_ones(
    house: House, anna: Person, name: str, broken: str
) -> None:
    key = a_key(handle=b"h")
    asked = await house.ask("POST", "/sessions/passkey/options")
    assertion = key.get(asked.json["public_key"])
    assertion["response"][name] = BROKEN[broken]

    answer = await house.ask("POST", "/sessions/passkey", {"assertion": assertion, "token": asked.json["token"]})

    empty_handle = name == "userHandle" and broken == "nothing"
    assert answer.status in ({401} if empty_handle else {413, 422})


async def test_the_record_holds_neither_challenges_nor_keys(house: House, anna: Person) -> None:
    key = a_key()
    await add(house, key)
    await alone(house, key)

    said = str([tuple(row) for row in await house.rows(sa.select(event))])
    assert encode(key.credential_id) not in said
    assert key.credential_id.hex() not in said
