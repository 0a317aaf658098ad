"""What stops a start, and names the variable but never its value."""

import json

import pytest

from models.vocabulary import Act, Order, Ownership, Reason
from platforms.android import build
from platforms.android.off import SwitchedOff
from platforms.android.settings import API, KEYS, TOKENS, AndroidSettings
from platforms.base import DeviceRequest, Enrollment, EnrollmentState, Facts, Refusal
from platforms.errors import Refused, Unreadable
from tests.platforms.android.google import ENTERPRISE, KEY_FILE
from tests.platforms.android.world import AUDIENCE, DEVICE_ID, JOB, NOW, enrolled, environ, planned, settings
from tests.platforms.conformance import SHARED

PRODUCTION = {"MODE": "production", "PUBLIC_URL": "https://latchkey.example", "ANDROID_PUSH_URL": ""}
NOBODY = Enrollment(JOB, EnrollmentState.ENROLLED, "x", None)


def test_in_production_all_three_addresses_are_googles() -> None:
    found = settings(**PRODUCTION)

    assert (found.api_url, found.token_url, found.keys_url) == (API, TOKENS, KEYS)
    assert found.push.audience == "https://latchkey.example/devices/android/notices"
    assert found.push.issuers == {"https://accounts.google.com", "accounts.google.com"}


def test_in_the_demo_one_address_stands_for_all_three() -> None:
    found = settings(ANDROID_PUSH_URL="https://127.0.0.1:7", ANDROID_PUSH_ISSUER="http://emulator.localhost")

    assert (found.api_url, found.token_url) == ("http://127.0.0.1:7", "http://127.0.0.1:7/token")
    assert found.keys_url == "http://127.0.0.1:7/oauth2/v3/certs"
    assert (found.push.audience, found.push.issuers) == (AUDIENCE, {"http://emulator.localhost"})


def test_several_enterprises_may_be_ours() -> None:
    assert settings(ANDROID_ENTERPRISE=f"{ENTERPRISE}, enterprises/LC1").enterprises == (ENTERPRISE, "enterprises/LC1")


@pytest.mark.parametrize(
    "variable", ["ANDROID_SERVICE_ACCOUNT", "ANDROID_ENTERPRISE", "ANDROID_SUBSCRIPTION", "ANDROID_PUSH_ACCOUNT"]
)
def test_who_sets_up_android_sets_it_up_whole(variable: str) -> None:
    with pytest.raises(ValueError, match=f"{variable} is missing"):
        settings(**{variable: " "})


def key_file(**changes: object) -> str:
    return json.dumps({**json.loads(KEY_FILE), **changes})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ANDROID_SERVICE_ACCOUNT", "secret-not-json"),
        ("ANDROID_SERVICE_ACCOUNT", '["secret"]'),
        ("ANDROID_SERVICE_ACCOUNT", key_file(client_email=None)),
        ("ANDROID_SERVICE_ACCOUNT", key_file(private_key="secret")),
        ("ANDROID_ENTERPRISE", "LC0demo-secret"),
        ("ANDROID_ENTERPRISE", f"{ENTERPRISE},secret"),
        ("ANDROID_PUSH_ISSUER", "https://secret.example"),
        ("ANDROID_API_URL", "http://secret.example"),
        ("ANDROID_TOKEN_URL", "https://127.0.0.1/secret"),
        ("ANDROID_KEYS_URL", "https://emulator.localhost/secret"),
        ("ANDROID_KEYS_URL", "https://user:secret@example.com/keys"),
        ("ANDROID_KEYS_URL", "secret"),
        ("ANDROID_PUSH_CA", "secret"),
    ],
)
def test_what_is_wrong_is_named_and_not_quoted(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable) as caught:
        settings(**PRODUCTION | {variable: value})

    assert "secret" not in str(caught.value)


def test_settings_print_no_key() -> None:
    assert "PRIVATE KEY" not in repr(settings())


# Nothing is said of Android


def test_without_a_word_of_android_it_is_switched_off() -> None:
    assert AndroidSettings.from_env({"MODE": "production", "PUBLIC_URL": "https://latchkey.example"}) is None
    assert isinstance(build({}), SwitchedOff)
    assert not isinstance(build(environ()), SwitchedOff)


async def test_switched_off_it_offers_nothing_hears_nothing_and_sends_nothing() -> None:
    off = build({})

    assert off.offers(Facts(Ownership.CORPORATE, None, EnrollmentState.ENROLLED, {})) == {}
    assert off.refuse(Refusal.UNREADABLE).status == 404
    for path in ("notices", "enroll/abc"):
        with pytest.raises(Unreadable):
            off.identify(DeviceRequest("POST", path, {}, b""), NOW)
    with pytest.raises(Refused, match=Reason.PLATFORM_UNSUPPORTED):
        off.plan(Order(JOB, Act.REFRESH, DEVICE_ID), NOBODY)
    async with off.open_channel(SHARED) as channel:
        with pytest.raises(Refused, match=Reason.PLATFORM_UNSUPPORTED):
            await channel.wake(planned(enrolled()), NOBODY)
