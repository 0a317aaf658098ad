"""What the emulator does with commands, notices and mishaps, against the reference's sections 2 to 9."""

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from google.auth import jwt

from platforms.android.emulator import Emulator, Failure, Phone
from platforms.android.emulator.accounts import GOOGLE_TOKENS
from platforms.android.emulator.http import MAX_BODY
from tests.platforms.android import google
from tests.platforms.android.google import ENTERPRISE, POLICY, emulated, plain_client

GOOD = "k7Qm2xWp9r"
WORK: dict[str, Any] = {"mode": "PROFILE_OWNER", "ownership": "COMPANY_OWNED"}
OWN: dict[str, Any] = {"mode": "PROFILE_OWNER", "ownership": "PERSONALLY_OWNED"}


def reset(value: str = GOOD, **more: Any) -> dict[str, Any]:
    return {"type": "RESET_PASSWORD", "newPassword": value, **more}


# What a phone does


@pytest.mark.parametrize(
    ("phone", "command", "code", "effects"),
    [
        (Phone(), reset(), None, 1),
        (Phone(**WORK), reset(), None, 1),
        (Phone(**OWN), reset(), None, 1),
        (Phone(token_active=False), reset(), "UNKNOWN", 0),
        (Phone(**WORK, unified_lock=True), reset(), "UNKNOWN", 0),
        (Phone(unified_lock=True), reset(), None, 1),
        (Phone(api_level=26), reset(), None, 1),
        (Phone(api_level=25, token_active=False), reset(), None, 1),
        (Phone(api_level=25, unlocked=False), reset(), "UNKNOWN", 0),
        (Phone(api_level=23), reset(), "API_LEVEL", 0),
        (Phone(**WORK, api_level=25), reset(), "API_LEVEL", 0),
        (Phone(agent_too_old=True), reset(), "UNSUPPORTED", 0),
        (Phone(), reset("13581"), "INVALID_VALUE", 0),
        (Phone(), reset("135813"), None, 1),
        (Phone(api_level=33), reset("13581"), None, 1),
        (Phone(), {"type": "RESET_PASSWORD"}, None, 1),
        (Phone(policies=[{"passwordQuality": "SOMETHING"}]), {"type": "RESET_PASSWORD"}, "INVALID_VALUE", 0),
        (Phone(policies=[{"passwordQuality": "ALPHABETIC"}]), reset("135813"), "INVALID_VALUE", 0),
        (Phone(), {"type": "REBOOT"}, None, 1),
        (Phone(api_level=23), {"type": "REBOOT"}, "API_LEVEL", 0),
        (Phone(**OWN), {"type": "REBOOT"}, None, 0),
        (Phone(**WORK), {"type": "REBOOT"}, "MANAGEMENT_MODE", 0),
        (Phone(**OWN), {"type": "LOCK"}, None, 1),
        (Phone(**WORK), {"type": "RELINQUISH_OWNERSHIP"}, None, 1),
        (Phone(**OWN), {"type": "RELINQUISH_OWNERSHIP"}, "MANAGEMENT_MODE", 0),
        (Phone(), {"type": "RELINQUISH_OWNERSHIP"}, "MANAGEMENT_MODE", 0),
        (Phone(), {"type": "WIPE"}, None, 1),
    ],
)
def test_a_phone_does_what_its_mode_and_version_let_it(
    phone: Phone, command: Mapping[str, Any], code: str | None, effects: int
) -> None:
    assert phone.run("operation", command) == code
    assert phone.effects["operation"] == effects


def test_a_reset_changes_the_lock_that_its_mode_reaches_and_no_other() -> None:
    owned, work = Phone(lock="1358"), Phone(**WORK, lock="1358", profile_lock="2469")

    owned.run("a", reset(resetPasswordFlags=["LOCK_NOW", "DO_NOT_ASK_CREDENTIALS_ON_BOOT"]))
    work.run("b", reset(resetPasswordFlags=["DO_NOT_ASK_CREDENTIALS_ON_BOOT"]))

    assert (owned.lock, owned.profile_lock, owned.screen_off, owned.asks_on_boot) == (GOOD, None, 1, False)
    assert (work.lock, work.profile_lock, work.screen_off, work.asks_on_boot) == ("1358", GOOD, 0, True)


def test_a_value_of_the_history_is_not_taken_again() -> None:
    phone = Phone(policies=[{"passwordQuality": "SOMETHING", "passwordHistoryLength": 2}])
    values = ["k7Qm2xWp9a", "k7Qm2xWp9b", "k7Qm2xWp9a", "k7Qm2xWp9c", "k7Qm2xWp9a"]

    codes = [phone.run(str(place), reset(value)) for place, value in enumerate(values)]

    assert codes == [None, None, "INVALID_VALUE", None, None]


# Commands on their way


async def test_a_phone_that_is_away_takes_its_commands_when_it_is_back() -> None:
    phone = Phone(online=False)
    async with emulated(phone) as (emulator, _):
        operation = emulator.issue(phone, reset())
        await emulator.idle()
        before = operation.done
        emulator.go_online(phone)
        await emulator.idle()

    assert (before, operation.done) == (False, True)
    assert phone.effects == {operation.name: 1}


async def test_a_paused_work_profile_takes_nothing_until_it_runs() -> None:
    phone = Phone(**OWN, paused=True)
    async with emulated(phone) as (emulator, _):
        operation = emulator.issue(phone, reset())
        await emulator.idle()
        before = operation.done
        emulator.unpause(phone)
        await emulator.idle()

    assert (before, operation.done) == (False, True)


@pytest.mark.parametrize(("seconds", "runs"), [(599.0, True), (600.5, False)])
async def test_a_command_is_good_for_ten_minutes_unless_it_says_otherwise(seconds: float, runs: bool) -> None:
    phone = Phone(online=False)
    async with emulated(phone) as (emulator, clock):
        operation = emulator.issue(phone, reset())
        longer = emulator.issue(phone, reset(duration="601s"))
        clock.forward(timedelta(seconds=seconds))
        emulator.go_online(phone)
        await emulator.idle()

    assert operation.done
    assert longer.done
    assert phone.effects == ({operation.name: 1, longer.name: 1} if runs else {longer.name: 1})
    assert (operation.error or {}).get("code") == (None if runs else 4)


async def test_what_expires_may_stay_pending_for_ever() -> None:
    phone = Phone(online=False)
    async with emulated(phone) as (emulator, clock), google.Subscriber().listen(emulator) as subscriber:
        emulator.expires_silently = True
        operation = emulator.issue(phone, reset())
        clock.forward(timedelta(hours=1))
        emulator.expire()
        emulator.go_online(phone)
        await emulator.idle()

    assert "done" not in operation.resource()
    assert phone.effects == {}
    assert subscriber.told("COMMAND") == []


async def test_a_command_is_cancelled_until_the_phone_has_it() -> None:
    phone = Phone(online=False)
    async with emulated(phone) as (emulator, _):
        cancelled, kept = emulator.issue(phone, reset()), emulator.issue(phone, {"type": "LOCK"})
        emulator.cancel(cancelled)
        emulator.go_online(phone)
        await emulator.idle()
        emulator.cancel(kept)

    assert phone.effects == {kept.name: 1}
    assert (cancelled.error or {})["code"] == 1
    assert kept.error is None


async def test_a_phone_that_restarts_after_a_command_did_it_once_and_says_so_later() -> None:
    phone = Phone()
    phone.habits.rebooting = 1
    async with emulated(phone) as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        operation = emulator.issue(phone, reset())
        await emulator.idle()

    assert operation.done
    assert (phone.effects, phone.reboots) == ({operation.name: 1}, 1)
    assert [told["name"] for told in subscriber.told("COMMAND")] == [operation.name]


async def test_a_wiped_phone_is_gone_with_all_its_operations_and_only_the_notice_says_deleted() -> None:
    phone = Phone()
    async with (
        emulated(phone) as (emulator, _),
        google.Subscriber().listen(emulator) as subscriber,
        plain_client(emulator) as client,
    ):
        operation = emulator.issue(phone, {"type": "WIPE", "duration": "315360000s"})
        await emulator.idle()
        answers = [await client.get(f"/v1/{name}") for name in (phone.name, operation.name)]
        again = await client.delete(f"/v1/{phone.name}")

    assert phone.wiped
    assert [answer.status_code for answer in [*answers, again]] == [404, 404, 404]
    assert [device["state"] for device in subscriber.told("STATUS_REPORT")] == ["DELETED"]
    assert len(subscriber.told("COMMAND")) == 1


async def test_two_commands_of_one_millisecond_have_two_names() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _):
        at = emulator.clock()
        emulator.clock = lambda: at
        names = {emulator.issue(phone, {"type": "LOCK"}).name for _ in range(3)}

    assert len(names) == 3


async def test_a_phone_that_is_enrolled_anew_has_a_new_name_and_says_the_old_one() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        former = phone.name
        emulator.re_enroll(phone, "again", "fedcba9876543210")
        await emulator.idle()

    [enrolled] = subscriber.told("ENROLLMENT")
    assert enrolled["previousDeviceNames"] == [former]
    assert enrolled["name"] == f"{ENTERPRISE}/devices/fedcba9876543210"
    assert enrolled["enrollmentTokenData"] == "again"


# Mishaps


@pytest.mark.parametrize(("after", "made"), [(False, 0), (True, 1)])
async def test_an_outage_may_come_before_or_after_the_operation_is_made(after: bool, made: int) -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), plain_client(emulator) as client:
        emulator.fail_next(
            "devices.issueCommand", Failure(503, after=after), Failure(429, headers={"retry-after": "61"})
        )
        first, second, third = [await client.post(f"/v1/{phone.name}:issueCommand", json=reset()) for _ in range(3)]
        await emulator.idle()

    assert [first.status_code, second.status_code, third.status_code] == [503, 429, 200]
    assert second.headers["retry-after"] == "61"
    assert len(emulator.operations) == made + 1


@pytest.mark.parametrize(("after", "made"), [(False, 0), (True, 1)])
async def test_a_request_may_never_be_answered(after: bool, made: int) -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), plain_client(emulator) as client:
        emulator.fail_next("devices.issueCommand", Failure(None, after=after))
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"/v1/{phone.name}:issueCommand", json=reset(), timeout=0.1)

        assert len(emulator.operations) == made


async def test_mishaps_come_at_the_rate_they_are_asked_for() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), plain_client(emulator) as client:
        emulator.quotas.on = False
        emulator.failing = [("devices.get", 0.5, Failure(503))]
        answers = [(await client.get(f"/v1/{phone.name}")).status_code for _ in range(60)]

    assert 15 <= answers.count(503) <= 45
    assert answers.count(200) == 60 - answers.count(503)


async def test_one_orphaned_enterprise_leaves_the_others_alone() -> None:
    ours, orphan = Phone(), Phone(enterprise="enterprises/LC0gone")
    async with emulated(ours, orphan) as (emulator, _), plain_client(emulator) as client:
        emulator.orphaned.add(orphan.enterprise)
        statuses = [(await client.get(f"/v1/{phone.name}")).status_code for phone in (ours, orphan)]

    assert statuses == [200, 403]


async def test_quotas_are_a_minutes_and_of_a_resource_and_of_a_project() -> None:
    one, other = Phone(), Phone()
    async with emulated(one, other) as (emulator, clock), plain_client(emulator) as client:
        at = clock().replace(second=1)
        emulator.quotas.clock = lambda: at
        emulator.quotas.per_project = 61

        async def get(phone: Phone) -> int:
            return (await client.get(f"/v1/{phone.name}")).status_code

        of_one = [await get(one) for _ in range(61)]
        of_others = [await get(other), await get(other)]
        at = at.replace(second=59)
        late = await get(other)
        at += timedelta(seconds=1)
        anew = await get(one)
        emulator.quotas.on = False
        free = [await get(one) for _ in range(70)]

    assert of_one == [200] * 60 + [429]
    assert of_others == [200, 429]
    assert (late, anew) == (429, 200)
    assert set(free) == {200}
    assert emulator.quotas.refused == 3


async def test_what_is_not_of_the_api_is_refused_without_repeating_it() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), plain_client(emulator) as client:
        broken = await client.post(f"/v1/{phone.name}:issueCommand", content=b'{"newPassword": "k7Qm2xWp9r"')
        listed = await client.post(f"/v1/{phone.name}:issueCommand", content=b"[]")
        query = await client.get(f"/v1/{phone.name}", params={"surprise": "1"})
        partial = await client.get(f"/v1/{phone.name}/operations", params={"returnPartialSuccess": "true"})
        elsewhere = await client.get(f"/v1/{phone.name}:explode")
        stranger = await client.get(f"/v1/{phone.name}", headers={"authorization": "Bearer ya29.nobody"})
        del client.headers["authorization"]
        nobody = await client.get(f"/v1/{phone.name}")

    statuses = [answer.status_code for answer in (broken, listed, query, partial, elsewhere, stranger, nobody)]
    assert statuses == [400, 400, 400, 501, 404, 401, 401]
    assert GOOD not in broken.text
    assert "www-authenticate" in nobody.headers


async def test_a_body_without_end_and_a_head_that_is_none_are_cut_off() -> None:
    async with emulated() as (emulator, _):

        async def send(data: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", emulator.port)
            writer.write(data)
            try:
                return await reader.read()
            finally:
                writer.close()

        answers = [
            await send(b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n" + b"x" * (MAX_BODY + 1)),
            await send(b"\0\r\n\r\n"),
            await send(b"GET /" + b"x" * 20_000),
        ]

    assert all(answer.startswith(b"HTTP/1.1 400 ") for answer in answers)


# Tokens


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, None),
        ({"aud": GOOGLE_TOKENS}, None),
        ({"aud": "https://example.org/token"}, "invalid_grant"),
        ({"iss": "nobody@example.org"}, "invalid_grant"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"),
        ({"iat": 0, "exp": 3600}, "invalid_grant"),
        ({"exp": 2**40}, "invalid_grant"),
        ({"iat": None}, "invalid_grant"),
    ],
)
async def test_a_token_is_given_for_a_good_assertion_alone(changes: Mapping[str, Any], error: str | None) -> None:
    async with emulated() as (emulator, clock), httpx.AsyncClient(base_url=emulator.url) as client:
        said = {**google.claims(emulator.url, clock()), **changes}
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": google.assertion(said)}
        answer = await client.post("/token", data=form)

    assert answer.json().get("error") == error
    assert answer.status_code == (200 if error is None else 400)


@pytest.mark.parametrize("assertion", ["", "a.b", "a.b.c", "e30.e30.e30", "W10.W10.W10"])
async def test_what_is_no_assertion_is_refused(assertion: str) -> None:
    async with emulated() as (emulator, _), httpx.AsyncClient(base_url=emulator.url) as client:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        answer = await client.post("/token", data=form)
        other = await client.post("/token", data={"grant_type": "password"})

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert other.json()["error"] == "unsupported_grant_type"


async def test_a_token_lives_an_hour() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, clock), plain_client(emulator) as client:
        clock.forward(timedelta(seconds=3590))
        good = await client.get(f"/v1/{phone.name}")
        clock.forward(timedelta(seconds=10))
        late = await client.get(f"/v1/{phone.name}")

    assert (good.status_code, late.status_code) == (200, 401)


# Notices


async def test_a_notice_is_signed_with_a_key_that_is_published() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        emulator.report(phone)
        await emulator.idle()
        async with httpx.AsyncClient(base_url=emulator.url) as client:
            pems = await client.get("/oauth2/v1/certs")
            jwks = (await client.get("/oauth2/v3/certs")).json()
        [(headers, body)] = subscriber.heard
        token = headers["authorization"].removeprefix("Bearer ")
        certificates = {kid: x509.load_pem_x509_certificate(pem.encode()) for kid, pem in pems.json().items()}
        claims = jwt.decode(token, certs=pems.json(), audience=emulator.road.url if emulator.road else None)

    [key] = jwks["keys"]
    [certificate] = certificates.values()
    numbers = certificate.public_key().public_numbers()  # type: ignore[union-attr] - RSA
    assert int.from_bytes(base64.urlsafe_b64decode(key["n"] + "==")) == numbers.n  # type: ignore[union-attr] - RSA
    assert "max-age=" in pems.headers["cache-control"]
    assert claims["iss"] == "https://accounts.google.com"
    assert (claims["email"], claims["email_verified"]) == (emulator.notices.email, True)
    assert body["subscription"] == emulator.notices.subscription
    assert body["message"]["messageId"] == body["message"]["message_id"]


async def test_a_notice_comes_again_until_it_is_acknowledged() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        emulator.notices.pause = 0.001
        subscriber.answers = [503, 401, 500]
        emulator.report(phone)
        await emulator.idle()

    assert len(subscriber.heard) == 4
    assert len({body["message"]["messageId"] for _, body in subscriber.heard}) == 1


async def test_notices_are_doubled_dropped_and_overtaken_as_often_as_asked() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        notices = emulator.notices
        notices.duplicate, notices.drop, notices.reorder, notices.held = 0.3, 0.2, 0.3, 0.05
        for _ in range(200):
            emulator.issue(phone, {"type": "LOCK"})
        await emulator.idle()
        names = [told["name"] for told in subscriber.told("COMMAND")]

    counts = emulator.notices.counts
    assert 20 <= counts["dropped"] <= 60
    assert 30 <= counts["duplicated"] <= 70
    assert len(set(names)) == 200 - counts["dropped"]
    assert len(names) == len(set(names)) + counts["duplicated"]
    assert names != sorted(names)


async def test_an_enrolment_is_never_dropped() -> None:
    async with emulated() as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        emulator.notices.drop = 1.0
        emulator.enroll(Phone(), "ours")
        await emulator.idle()

    assert len(subscriber.told("ENROLLMENT")) == 1
    assert subscriber.told("STATUS_REPORT") == []


async def test_habits_of_one_phone_are_its_own() -> None:
    one, other = Phone(), Phone()
    one.habits.repeating = True
    other.habits.losing_results = 1
    async with emulated(one, other) as (emulator, _), google.Subscriber().listen(emulator) as subscriber:
        emulator.notices.pause = 0.001
        emulator.report(one)
        emulator.report(other)
        await emulator.idle()
        other.habits.losing_answers = 2
        emulator.report(other)
        await emulator.idle()

    told = [device["name"] for device in subscriber.told("STATUS_REPORT")]
    assert (told.count(one.name), told.count(other.name)) == (2, 3)


async def test_what_an_enterprise_did_not_ask_for_is_not_told() -> None:
    phone = Phone()
    async with (
        emulated(phone) as (emulator, _),
        google.Subscriber().listen(emulator) as subscriber,
        plain_client(emulator) as client,
    ):
        mask = {"updateMask": "enabledNotificationTypes"}
        body = {"enabledNotificationTypes": ["STATUS_REPORT"]}
        await client.patch(f"/v1/{ENTERPRISE}", params=mask, json=body)
        emulator.issue(phone, {"type": "LOCK"})
        await client.patch(f"/v1/{POLICY}", json={"passwordPolicies": [{"passwordQuality": "NUMERIC"}]})
        await emulator.idle()

    [report] = subscriber.told("STATUS_REPORT")
    assert report["appliedPasswordPolicies"] == [{"passwordQuality": "NUMERIC"}]
    assert len(subscriber.heard) == 1


async def test_an_old_key_is_good_until_it_is_forgotten() -> None:
    async with emulated() as (emulator, _):
        old = emulator.signer.token("a", "e")
        emulator.signer.rotate()
        new = emulator.signer.token("a", "e")
        both = json.loads(emulator.signer.jwks().body)["keys"]
        emulator.signer.rotate(forget=True)
        one = json.loads(emulator.signer.jwks().body)["keys"]

    assert old != new
    assert (len(both), len(one)) == (2, 1)


async def test_no_password_is_printed_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    phone = Phone(lock="the old lock")
    async with emulated(phone) as (emulator, _), plain_client(emulator) as client:
        emulator.fail_next("devices.issueCommand", Failure(503, after=True))
        for body in (reset(), reset(), reset("13")):
            await client.post(f"/v1/{phone.name}:issueCommand", json=body)
        await emulator.idle()
        printed = [repr(phone), repr(list(emulator.operations.values())), repr(emulator.tokens), caplog.text]

    assert phone.passcodes == [GOOD, GOOD]
    assert not [text for text in printed if GOOD in text or "the old lock" in text or "ya29." in text]


async def test_what_an_emulator_forgets_its_phones_bring_along() -> None:
    phone = Phone(online=False)
    async with emulated(phone) as (emulator, _):
        done = emulator.issue(phone, {"type": "LOCK"})
        emulator.cancel(done)
        waiting = emulator.issue(phone, reset())
        kept, operations = phone.kept(), emulator.kept_operations(phone)
    again = Phone.restore(kept)
    async with emulated() as (emulator, _), plain_client(emulator) as client:
        emulator.warming = 60.0
        early = await client.get(f"/v1/{again.name}")
        emulator.restore(again, operations)
        emulator.go_online(again)
        await emulator.idle()
        told = [(await client.get(f"/v1/{operation.name}")).json() for operation in (done, waiting)]
        emulator.warming = 0.0
        late = await client.get(f"/v1/{ENTERPRISE}/devices/0123456789abcdef")

    assert (early.status_code, late.status_code) == (503, 404)
    assert again.passcodes == [GOOD]
    assert [operation["done"] for operation in told] == [True, True]
    assert told[0]["error"]["code"] == 1


def test_an_emulator_is_the_same_for_the_same_seed() -> None:
    first, second = (Emulator(google.Clock(), seed=7) for _ in range(2))

    assert [first.chance.random() for _ in range(5)] == [second.chance.random() for _ in range(5)]
