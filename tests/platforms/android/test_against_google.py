"""The emulator held to Google's published discovery document, and driven by Google's own client."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.auth.exceptions import RefreshError
from googleapiclient.errors import HttpError

from platforms.android.emulator import Emulator, Failure, Phone, new_service_account, shapes
from platforms.android.emulator.constraints import QUALITIES
from tests.platforms.android import google
from tests.platforms.android.google import ENTERPRISE, POLICY, ask, discovery, emulated, flaws, methods, properties

SAMPLES = {
    "devices.issueCommand": {"type": "RESET_PASSWORD", "newPassword": "k7Qm2xWp9r", "duration": "3600s"},
    "devices.patch": {"state": "DISABLED", "disabledReason": {"defaultMessage": "Lost"}},
    "enrollmentTokens.create": {"additionalData": "ours", "oneTimeOnly": True, "duration": "600s"},
    "patch": {"enterpriseDisplayName": "Acme", "enabledNotificationTypes": ["COMMAND"]},
    "policies.patch": {"passwordPolicies": [{"passwordQuality": "NUMERIC", "passwordMinimumLength": 6}]},
}


def test_every_method_has_googles_path_verb_and_query() -> None:
    known = methods()

    for method in Emulator(google.Clock())._api.methods:
        published = known[method.name]
        path = f"/{published['flatPath']}"
        for word in ("enterprises", "devices", "operations", "enrollmentTokens", "policies"):
            path = path.replace(f"{{{word}Id}}", "x1")
        optional = {name for name, what in published["parameters"].items() if what["location"] == "query"}
        assert method.path.fullmatch(path), method.name
        assert method.http == published["httpMethod"]
        assert method.query == optional, method.name
        assert method.body == ("request" in published)


def test_the_words_of_every_body_are_googles() -> None:
    command, device = properties("Command"), properties("Device")

    assert shapes.COMMAND.keys() == command.keys()
    assert list(shapes.TYPES) == command["type"]["enum"]
    assert list(shapes.ERROR_CODES) == command["errorCode"]["enum"]
    assert list(shapes.RESET_FLAGS) == command["resetPasswordFlags"]["items"]["enum"]
    assert list(shapes.WIPE_FLAGS) == properties("WipeParams")["wipeDataFlags"]["items"]["enum"]
    assert set(shapes.STATES) == set(device["state"]["enum"])
    assert shapes.TOKEN.keys() == properties("EnrollmentToken").keys()
    assert list(shapes.PERSONAL_USAGE) == properties("EnrollmentToken")["allowPersonalUsage"]["enum"]
    assert list(shapes.NOTIFICATIONS) == properties("Enterprise")["enabledNotificationTypes"]["items"]["enum"]
    assert shapes.PASSWORD_POLICY.keys() == properties("PasswordRequirements").keys()
    assert list(QUALITIES) == properties("PasswordRequirements")["passwordQuality"]["enum"]
    assert shapes.ENTERPRISE.keys() <= properties("Enterprise").keys()
    assert shapes.POLICY.keys() <= properties("Policy").keys()
    assert shapes.DEVICE_CHANGES.keys() <= device.keys()


def test_every_parameter_that_google_takes_everywhere_is_taken() -> None:
    from platforms.android.emulator.api import EVERYWHERE

    assert discovery()["parameters"].keys() == EVERYWHERE


@pytest.mark.parametrize("phone", [Phone(), Phone(mode="PROFILE_OWNER", ownership="PERSONALLY_OWNED", paused=True)])
async def test_every_answer_is_of_its_published_schema(phone: Phone) -> None:
    phone.non_compliance = [{"specificNonComplianceReason": "USER_NOT_UNLOCKED"}]
    phone.former = [f"{ENTERPRISE}/devices/0123456789abcdef"]
    async with emulated(phone) as (emulator, _), google.plain_client(emulator) as client:
        (await client.patch(f"/v1/{POLICY}", json=SAMPLES["policies.patch"])).raise_for_status()
        operation = (await client.post(f"/v1/{phone.name}:issueCommand", json={"type": "LOCK"})).json()["name"]
        token = (await client.post(f"/v1/{ENTERPRISE}/enrollmentTokens", json={})).json()["name"]
        names = {"devices": phone.name, "devices.operations": operation, "enrollmentTokens": token}
        names |= {"policies": POLICY, "": ENTERPRISE}
        seen = []
        # What takes its own ground away comes last.
        for method in sorted(emulator._api.methods, key=lambda method: method.name.endswith("delete")):
            noun, _, verb = method.name.rpartition(".")
            name = names[noun]
            if verb in {"list", "create"}:
                name = name.rpartition("/")[0]
            url = f"/v1/{name}" + (f":{verb}" if verb in {"issueCommand", "cancel"} else "")
            answer = await client.request(method.http, url, json=SAMPLES.get(method.name) if method.body else None)
            assert answer.status_code == 200, (method.name, answer.text)
            published = methods()[method.name]
            if method.body:
                assert flaws(published["request"], SAMPLES[method.name]) == []
            assert flaws(published["response"], answer.json(), method.name) == []
            seen.append(method.name)

    assert len(seen) == 16


@pytest.mark.parametrize("told", ["both", "code", "status"])
async def test_every_notice_is_of_its_published_schema(told: Any) -> None:
    phone = Phone()
    async with emulated() as (emulator, clock), google.Subscriber().listen(emulator) as subscriber:
        emulator.told = (told,)
        emulator.enroll(phone, "ours")
        for body in (
            {"type": "RESET_PASSWORD", "newPassword": "k7Qm2xWp9r", "resetPasswordFlags": ["LOCK_NOW"]},
            {"type": "RESET_PASSWORD", "newPassword": "1"},
            {"type": "START_LOST_MODE"},
        ):
            emulator.issue(phone, body)
        emulator.go_offline(phone)
        emulator.cancel(emulator.issue(phone, {"type": "LOCK"}))
        emulator.issue(phone, {"type": "LOCK"})
        clock.forward(timedelta(minutes=10))
        emulator.expire()
        emulator.go_online(phone)
        emulator.issue(phone, {"type": "WIPE"})
        await emulator.idle()

    devices = subscriber.told("ENROLLMENT") + subscriber.told("STATUS_REPORT")
    operations = subscriber.told("COMMAND")
    assert [device["state"] for device in devices] == ["PROVISIONING", "ACTIVE", "ACTIVE", "DELETED"]
    assert len(operations) == 6
    assert [flaw for device in devices for flaw in flaws({"$ref": "Device"}, device)] == []
    assert [flaw for operation in operations for flaw in flaws({"$ref": "Operation"}, operation)] == []
    for operation in operations:
        metadata = {name: value for name, value in operation["metadata"].items() if name != "@type"}
        assert flaws({"$ref": "Command"}, metadata) == []


async def test_googles_client_takes_a_phone_through_its_whole_life() -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.google_client(emulator.url) as client:
        devices = client.enterprises().devices()  # type: ignore[attr-defined] - made from the document at run time

        issued = await ask(devices.issueCommand(name=phone.name, body=SAMPLES["devices.issueCommand"]).execute)
        await emulator.idle()
        told = await ask(devices.operations().get(name=issued["name"]).execute)
        emulator.go_offline(phone)
        locking = await ask(devices.issueCommand(name=phone.name, body={"type": "LOCK"}).execute)
        listed = await ask(devices.operations().list(name=f"{phone.name}/operations", pageSize=1).execute)
        rest = devices.operations().list_next(devices.operations().list(name=f"{phone.name}/operations"), listed)
        page = await ask(rest.execute)
        nothing = await ask(devices.operations().cancel(name=locking["name"]).execute)
        cancelled = await ask(devices.operations().get(name=locking["name"]).execute)
        patched = await ask(devices.patch(name=phone.name, updateMask="state", body={"state": "DISABLED"}).execute)
        known = await ask(devices.list(parent=ENTERPRISE).execute)
        deleted = await ask(devices.delete(name=phone.name, wipeDataFlags=["WIPE_EXTERNAL_STORAGE"]).execute)
        left = await ask(devices.list(parent=ENTERPRISE).execute)

    assert "done" not in issued
    assert issued["metadata"]["type"] == "RESET_PASSWORD"
    assert told["done"] is True
    assert "error" not in told
    assert phone.passcodes == ["k7Qm2xWp9r"]
    assert phone.effects == {issued["name"]: 1}
    assert [one["name"] for one in [*listed["operations"], *page["operations"]]] == [issued["name"], locking["name"]]
    assert nothing == {}
    assert (cancelled["done"], cancelled["error"]["code"]) == (True, 1)
    assert (patched["state"], patched["appliedState"]) == ("DISABLED", "ACTIVE")
    assert [device["name"] for device in known["devices"]] == [phone.name]
    assert deleted == left == {}
    assert emulator.tokens.handed_out == 1


async def test_googles_client_makes_an_enrolment_token_that_comes_back_with_the_phone() -> None:
    async with emulated() as (emulator, _), google.google_client(emulator.url) as client:
        emulator.enterprise(ENTERPRISE)
        tokens = client.enterprises().enrollmentTokens()  # type: ignore[attr-defined] - as above
        body = {"additionalData": "our correlation", "policyName": POLICY}

        made = await ask(tokens.create(parent=ENTERPRISE, body=body).execute)
        shown = await ask(tokens.get(name=made["name"]).execute)
        phone = emulator.enroll(Phone(), made["additionalData"], token=made["name"])
        device = await ask(client.enterprises().devices().get(name=phone.name).execute)  # type: ignore[attr-defined]
        await ask(tokens.delete(name=made["name"]).execute)
        left = await ask(tokens.list(parent=ENTERPRISE).execute)

    assert made["value"]
    assert shown.keys() == {"name", "expirationTimestamp", "allowPersonalUsage", "value", "qrCode"}
    assert (device["enrollmentTokenData"], device["enrollmentTokenName"]) == ("our correlation", made["name"])
    assert left == {}


def mishap(status: int, **headers: str) -> Callable[[Emulator, Phone], None]:
    return lambda emulator, phone: emulator.fail_next("devices.get", Failure(status, headers=headers))


def orphan(emulator: Emulator, phone: Phone) -> None:
    emulator.orphaned.add(phone.enterprise)


def use_up(emulator: Emulator, phone: Phone) -> None:
    emulator.quotas.per_resource = 0


@pytest.mark.parametrize(
    ("name", "prepare", "status", "word"),
    [
        (f"{ENTERPRISE}/devices/0123456789abcdef", None, 404, "NOT_FOUND"),
        ("enterprises/LCnobody/devices/0123456789abcdef", None, 404, "NOT_FOUND"),
        (None, orphan, 403, "PERMISSION_DENIED"),
        (None, use_up, 429, "RESOURCE_EXHAUSTED"),
        (None, mishap(503), 503, "UNAVAILABLE"),
        (None, mishap(500), 500, "INTERNAL"),
        (None, mishap(409), 409, "ABORTED"),
    ],
)
async def test_googles_client_reads_each_error_as_what_it_is(
    name: str | None, prepare: Callable[[Emulator, Phone], None] | None, status: int, word: str
) -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.google_client(emulator.url) as client:
        if prepare is not None:
            prepare(emulator, phone)
        with pytest.raises(HttpError) as refused:
            await ask(client.enterprises().devices().get(name=name or phone.name).execute)  # type: ignore[attr-defined]

    error = json.loads(refused.value.content)["error"]
    assert refused.value.resp.status == error["code"] == status
    assert error["status"] == word
    assert refused.value.reason == error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "COMMAND_TYPE_UNSPECIFIED"},
        {"type": "EXPLODE"},
        {"type": "LOCK", "duration": "soon"},
        {"type": "LOCK", "duration": "0s"},
        {"type": "LOCK", "duration": 600},
        {"type": "RESET_PASSWORD", "newPassword": 1234},
        {"type": "RESET_PASSWORD", "resetPasswordFlags": ["EVERYTHING"]},
        {"type": "WIPE", "wipeParams": {"wipeReason": {"defaultMessage": "x" * 201}}},
        {"type": "LOCK", "surprise": True},
    ],
)
async def test_googles_client_is_refused_what_google_refuses(body: dict[str, Any]) -> None:
    phone = Phone()
    async with emulated(phone) as (emulator, _), google.google_client(emulator.url) as client:
        with pytest.raises(HttpError) as refused:
            await ask(client.enterprises().devices().issueCommand(name=phone.name, body=body).execute)  # type: ignore[attr-defined]

    assert refused.value.resp.status == 400
    assert json.loads(refused.value.content)["error"]["status"] == "INVALID_ARGUMENT"
    assert emulator.operations == {}


async def test_a_key_that_is_not_the_accounts_gets_no_token() -> None:
    stranger = {**json.loads(new_service_account(google.PROJECT)), "private_key_id": google.ACCOUNT.key_id}
    async with emulated(Phone()) as (emulator, _), google.google_client(emulator.url, json.dumps(stranger)) as client:
        with pytest.raises(RefreshError, match="invalid_grant"):
            await ask(client.enterprises().devices().list(parent=ENTERPRISE).execute)  # type: ignore[attr-defined]

    assert emulator.tokens.handed_out == 0


async def test_a_token_that_was_revoked_is_refreshed_by_googles_client() -> None:
    async with emulated(Phone()) as (emulator, _), google.google_client(emulator.url) as client:
        devices = client.enterprises().devices()  # type: ignore[attr-defined] - as above
        await ask(devices.list(parent=ENTERPRISE).execute)
        emulator.tokens.revoke()
        await asyncio.sleep(0)
        again = await ask(devices.list(parent=ENTERPRISE).execute)

    assert len(again["devices"]) == 1
    assert emulator.tokens.handed_out == 2
    assert emulator.statuses[401] == 1
