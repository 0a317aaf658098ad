"""What an installation may be told about mail and short messages, and what stops it at the start."""

from pathlib import Path

import pytest

from models.delivery import Channel
from models.settings import SettingsError
from workers.carriers import MailSettings, Security, Sender, SmsSettings, opener
from workers.mail import MailCarrier
from workers.outbox import Outbox
from workers.sms import SmsCarrier

FROM = {"MAIL_FROM": "Latchkey <no-reply@latchkey.test>"}
KEY = {"SMS_WEBHOOK_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}


def mail(url: str, **more: str) -> MailSettings:
    settings = MailSettings.from_env({"MODE": "production", "MAIL_URL": url, **FROM, **more})
    assert settings is not None
    return settings


@pytest.mark.parametrize(
    ("url", "security", "port"),
    [
        ("smtps://mail.example.org", Security.TLS, 465),
        ("smtp+starttls://mail.example.org", Security.STARTTLS, 587),
        ("smtp+starttls://u:p@mail.example.org:2525/", Security.STARTTLS, 2525),
        ("smtp://127.0.0.1", Security.NONE, 25),
        ("smtp://[::1]:1025", Security.NONE, 1025),
        ("smtp://localhost:1025", Security.NONE, 1025),
    ],
)
def test_a_server_is_named_with_how_it_is_spoken_to(url: str, security: Security, port: int) -> None:
    settings = mail(url)

    assert (settings.security, settings.port) == (security, port)


def test_user_and_password_are_as_an_address_spells_them_and_are_not_printed() -> None:
    settings = mail("smtps://a%40b:p%2Fw%3A@mail.example.org")

    assert settings.user == "a@b"
    assert settings.password is not None
    assert settings.password.text() == "p/w:"
    assert "a@b" not in repr(settings)
    assert "p/w" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "smtp://mail.example.org",
        "smtp://192.0.2.1:25",
        "smtp://u:hush-hush@mail.example.org",
        "http://mail.example.org",
        "mail.example.org",
        "smtps://",
        "smtps://hush-hush@mail.example.org",
        "smtps://mail.example.org:99999",
        "smtps://mail.example.org/path",
        "smtps://mail.example.org?x=hush-hush",
        "smtps://[::1",
    ],
)
def test_what_would_send_in_clear_or_is_unreadable_stops_the_start_without_being_printed(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        mail(url)

    assert "MAIL_URL" in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_embedded_may_speak_plainly_but_says_no_password_in_clear() -> None:
    assert mail("smtp://mail.example.org", MODE="embedded").security is Security.NONE
    with pytest.raises(SettingsError, match="in clear"):
        mail("smtp://u:p@mail.example.org", MODE="embedded")


@pytest.mark.parametrize("text", ["", "Latchkey", "a@b", "a@example.org\nBcc: x@example.org", "анна@example.org"])
def test_a_sender_is_an_address(text: str) -> None:
    with pytest.raises(SettingsError, match="MAIL_FROM"):
        mail("smtps://mail.example.org", MAIL_FROM=text)


def test_a_ca_is_certificates() -> None:
    with pytest.raises(SettingsError, match="MAIL_CA"):
        mail("smtps://mail.example.org", MAIL_CA="no certificate").tls()


@pytest.mark.parametrize(
    ("mode", "url", "fine"),
    [
        ("production", "https://sms.example.org/send", True),
        ("production", "http://sms.example.org/send", False),
        ("production", "http://127.0.0.1:8000/send", False),
        ("embedded", "http://127.0.0.1:8000/send", True),
        ("embedded", "http://sms.example.org/send", False),
        ("production", "ftp://sms.example.org", False),
        ("production", "https://u:p@sms.example.org/send", False),
        ("production", "https://", False),
    ],
)
def test_a_webhook_is_https(mode: str, url: str, fine: bool) -> None:
    environ = {"MODE": mode, "SMS_WEBHOOK_URL": url, **KEY}

    if fine:
        settings = SmsSettings.from_env(environ)
        assert settings is not None
        assert settings.key.value == b"k" * 32
        assert "sms.example" not in repr(settings)
    else:
        with pytest.raises(SettingsError, match="SMS_WEBHOOK_URL"):
            SmsSettings.from_env(environ)


@pytest.mark.parametrize("key", ["", "short", "a2tr", "é"])
def test_a_webhooks_key_has_thirty_two_bytes(key: str) -> None:
    with pytest.raises(SettingsError, match="SMS_WEBHOOK_KEY"):
        SmsSettings.from_env({"SMS_WEBHOOK_URL": "https://sms.example.org/send", "SMS_WEBHOOK_KEY": key})


async def test_a_channel_has_the_carrier_that_is_configured(tmp_path: Path) -> None:
    production = {"MODE": "production", "PUBLIC_URL": "https://latchkey.test", "DATA_DIR": str(tmp_path)}
    servers = {"MAIL_URL": "smtps://mail.example.org", "SMS_WEBHOOK_URL": "https://sms.example.org", **FROM, **KEY}
    embedded = production | {"MODE": "embedded"}

    async def kinds(environ: dict[str, str]) -> dict[Channel, type]:
        async with opener(environ)() as carriers:
            return {channel: type(carrier) for channel, carrier in carriers.items()}

    assert await kinds(production) == {}
    assert await kinds(production | servers) == {Channel.MAIL: MailCarrier, Channel.SMS: SmsCarrier}
    assert await kinds(embedded) == {Channel.MAIL: Outbox, Channel.SMS: Outbox}
    assert await kinds(embedded | servers) == {Channel.MAIL: MailCarrier, Channel.SMS: SmsCarrier}
    assert await kinds({"MODE": "embedded"}) == {}


def test_links_need_somewhere_to_lead() -> None:
    with pytest.raises(SettingsError, match="PUBLIC_URL"):
        opener({"MAIL_URL": "smtps://mail.example.org", **FROM})


def test_a_sender_is_shown_as_it_was_given() -> None:
    assert Sender.of("Latchkey bij Acmé <no-reply@bücher.example>") == Sender(
        "Latchkey bij Acmé", "no-reply@xn--bcher-kva.example"
    )
