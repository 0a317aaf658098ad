import base64

import pytest

from api.settings import RELAXED, STRICT, ApiSettings
from models.settings import SettingsError

KEY = "k1:" + base64.b64encode(bytes(range(32))).decode()
THROTTLE = base64.b64encode(bytes(range(32))).decode()
EMBEDDED = {"MODE": "embedded", "SEAL_KEYS": KEY, "THROTTLE_KEY": THROTTLE}
PRODUCTION = {**EMBEDDED, "MODE": "production", "PUBLIC_URL": "https://latchkey.example.org"}


def test_embedded_needs_a_mode_and_a_key_alone() -> None:
    settings = ApiSettings.from_env(EMBEDDED)

    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8080, "http://127.0.0.1:8080")
    assert settings.cookie_rules == RELAXED


def test_without_a_mode_it_is_production_and_strict() -> None:
    with pytest.raises(SettingsError, match="PUBLIC_URL"):
        ApiSettings.from_env({"SEAL_KEYS": KEY})


def test_production_keeps_the_strict_cookie_rule() -> None:
    assert ApiSettings.from_env(PRODUCTION).cookie_rules == STRICT


def test_embedded_behind_tls_keeps_the_strict_cookie_rule() -> None:
    assert ApiSettings.from_env({**EMBEDDED, "PUBLIC_URL": "https://demo.example.org"}).cookie_rules == STRICT


@pytest.mark.parametrize(
    "change",
    [
        {"PUBLIC_URL": "http://latchkey.example.org"},
        {"PUBLIC_URL": "http://127.0.0.1:8080"},
        {"PUBLIC_URL": "https://latchkey.example.org/portal"},
        {"PUBLIC_URL": "https://name:secret@latchkey.example.org"},
        {"PUBLIC_URL": "ftp://latchkey.example.org"},
        {"CLOCK_OFFSET_FILE": "/somewhere"},
        {"FAULT_AT": "claimed"},
        {"MODE": "testing"},
        {"PORT": "http"},
        {"PORT": "70000"},
        {"TRUSTED_PROXIES": "10.0.0.0/8, everybody"},
        {"SEAL_KEYS": ""},
        {"SEAL_KEYS": "k1:short"},
        {"SEAL_KEYS": "k1:" + base64.b64encode(bytes(32)).decode()},
        {"SEAL_KEYS": f"{KEY},k0:" + base64.b64encode(bytes(32)).decode()},
        {"THROTTLE_KEY": ""},
        {"THROTTLE_KEY": "short"},
        {"THROTTLE_KEY": base64.b64encode(bytes(32)).decode()},
    ],
)
def test_production_refuses(change: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        ApiSettings.from_env({**PRODUCTION, **change})

    for variable, value in change.items():
        assert variable in str(refused.value)
        assert len(value) < 12 or value not in str(refused.value)


def test_plain_http_is_for_loopback_alone() -> None:
    with pytest.raises(SettingsError, match="loopback"):
        ApiSettings.from_env({**EMBEDDED, "PUBLIC_URL": "http://192.0.2.7:8080"})


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1:9000", "[::1]:9000"])
def test_loopback_has_several_names(host: str) -> None:
    assert ApiSettings.from_env({**EMBEDDED, "PUBLIC_URL": f"http://{host}"}).public_url == f"http://{host}"


def test_a_key_is_in_no_printed_form() -> None:
    settings = ApiSettings.from_env(EMBEDDED)

    assert settings.throttle_key == bytes(range(32))
    assert repr(settings.throttle_key) not in repr(settings)


def test_sealing_keys_are_changed_without_starting_the_counters_anew() -> None:
    another = "k2:" + base64.b64encode(bytes(range(32, 64))).decode()

    changed = ApiSettings.from_env({**PRODUCTION, "SEAL_KEYS": f"{another},{KEY}"})

    assert changed.throttle_key == ApiSettings.from_env(PRODUCTION).throttle_key
