import pytest

from models.vocabulary import Secret
from platforms.identity import KeyType, make_ca
from platforms.ios import build
from platforms.ios.settings import APNS, IdentityProof, IosSettings
from tests.platforms.ios.world import NOW, TOPIC, environ

PRODUCTION = {"MODE": "production", "PUBLIC_URL": "https://latchkey.example.org", "IOS_PUSH_URL": APNS}
OTHER_CERTIFICATE, OTHER_KEY = make_ca("Other", NOW).pem()


def test_the_defaults_are_what_every_device_reads() -> None:
    given = environ(**PRODUCTION, IOS_KEY="", IOS_PUSH_CA="")
    del given["IOS_PUSH_URL"]

    settings = IosSettings.from_env(given)

    assert (settings.identity, settings.key_type) == (IdentityProof.MDM_SIGNATURE, KeyType.RSA)
    assert (settings.push_url, settings.push_ca, settings.topic) == (APNS, None, TOPIC)
    assert settings.profile_identifier == "org.example.latchkey.latchkey"


def test_a_folder_is_built_from_its_settings() -> None:
    assert build(environ()).name == "ios"


@pytest.mark.parametrize(
    "variable",
    [
        "IOS_TOPIC",
        "IOS_PUSH_CERTIFICATE",
        "IOS_PUSH_KEY",
        "IOS_PUSH_URL",
        "PUBLIC_URL",
        "DEVICE_CA_CERTIFICATE",
        "DEVICE_CA_KEY",
    ],
)
def test_what_is_missing_is_named(variable: str) -> None:
    given = environ()
    del given[variable]

    with pytest.raises(ValueError, match=variable):
        IosSettings.from_env(given)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IOS_TOPIC", "org.example.topic"),
        ("IOS_TOPIC", "com.apple.mgmt.External.another"),
        ("IOS_PUSH_CERTIFICATE", "nonsense"),
        ("IOS_PUSH_KEY", "nonsense"),
        ("IOS_PUSH_KEY", OTHER_KEY.text()),
        ("IOS_PUSH_URL", "http://127.0.0.1:2197"),
        ("IOS_PUSH_URL", "https://127.0.0.1:2197/3/device"),
        ("IOS_PUSH_URL", "https://[nonsense"),
        ("IOS_PUSH_CA", "nonsense"),
        ("IOS_IDENTITY", "nonsense"),
        ("IOS_KEY", "dsa"),
        ("DEVICE_CA_KEY", OTHER_KEY.text()),
        ("DEVICE_CA_CERTIFICATE", "nonsense"),
        ("PUBLIC_URL", "nonsense"),
        ("PUBLIC_URL", "https://name:nonsense@example.org"),
        ("PUBLIC_URL", "https://example.org/portal"),
    ],
)
def test_what_is_wrong_is_named_and_not_quoted(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable) as raised:
        IosSettings.from_env(environ(**{variable: value}))

    assert "nonsense" not in str(raised.value)
    assert "PRIVATE" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PUBLIC_URL", "http://latchkey.example.org"),
        ("IOS_PUSH_URL", "https://127.0.0.1:2197"),
        ("IOS_PUSH_URL", "https://localhost"),
        ("IOS_PUSH_URL", "https://push.localhost."),
        ("IOS_PUSH_URL", "https://[::1]"),
        ("IOS_PUSH_URL", "https://10.0.0.7"),
        ("IOS_PUSH_URL", "https://[fe80::1%25eth0]"),
        ("IOS_PUSH_URL", "https://push"),
        ("IOS_PUSH_URL", "https://push."),
        ("IOS_PUSH_URL", "https://127.1"),
        ("IOS_PUSH_URL", "https://2130706433"),
        ("IOS_PUSH_URL", "https://0x7f000001"),
        ("IOS_PUSH_URL", "https://127.0.0.0x1"),
    ],
)
def test_production_refuses_what_only_a_demo_needs(variable: str, value: str) -> None:
    IosSettings.from_env(environ(**PRODUCTION))

    with pytest.raises(ValueError, match=variable):
        IosSettings.from_env(environ(**{**PRODUCTION, variable: value}))


def test_without_a_mode_it_is_production() -> None:
    given = environ()
    del given["MODE"]

    with pytest.raises(ValueError, match="https"):
        IosSettings.from_env(given)


def test_no_key_is_printed() -> None:
    settings = IosSettings.from_env(environ())

    assert "PRIVATE" not in repr(settings)
    assert isinstance(settings.push_key, Secret)
