"""Mail to a real server on this machine: how it travels, what it looks like, and what every kind of trouble means."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.errors import PlatformError, Refused, Uncertain, Unreachable
from tests.servers import free_port
from tests.workers.post import PASSWORD, USER, Certificate, MailServer, parcel, serving
from workers.carriers import MailSettings, Sender
from workers.envelope import compose
from workers.letters import LONGEST_VALUE, Letters
from workers.mail import MailCarrier

PUBLIC_URL = "https://latchkey.test"
LETTERS = Letters(PUBLIC_URL)
SENDER = Sender("Latchkey", "no-reply@latchkey.test")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("mail"))


def carrier(scheme: str, port: int, certificate: Certificate, *, user: bool = False) -> MailCarrier:
    login = f"{USER}:{quote(PASSWORD, safe='')}@" if user else ""
    settings = MailSettings.from_env(
        {
            "MODE": "production",
            "MAIL_URL": f"{scheme}://{login}127.0.0.1:{port}",
            "MAIL_FROM": "Latchkey <no-reply@latchkey.test>",
            "MAIL_CA": certificate.pem,
        }
    )
    assert settings is not None
    return MailCarrier(settings, LETTERS, settings.tls())


async def trouble(server: MailServer, certificate: Certificate, **more: str) -> PlatformError:
    async with serving(server):
        with pytest.raises(PlatformError) as caught:
            await carrier("smtp", server.port, certificate).carry(parcel(**more))
    return caught.value


@pytest.mark.parametrize("user", [False, True], ids=["nobody", "signed in"])
@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_a_mail_travels_under_tls(scheme: str, user: bool, certificate: Certificate) -> None:
    server = MailServer()
    contexts = {"tls" if scheme == "smtps" else "starttls": certificate.server()}

    async with serving(server, **contexts):
        await carrier(scheme, server.port, certificate, user=user).carry(parcel())

    assert [(sender, to) for sender, to, _ in server.taken] == [("no-reply@latchkey.test", ["anna@example.org"])]
    assert scheme == "smtps" or server.tls == [True]
    assert server.users == ([USER] if user else [])


async def test_without_starttls_nothing_is_said(certificate: Certificate) -> None:
    server = MailServer()
    async with serving(server):
        with pytest.raises(Unreachable) as caught:
            await carrier("smtp+starttls", server.port, certificate, user=True).carry(parcel())

    assert caught.value.reason == "not_supported"
    assert (server.taken, server.users) == ([], [])


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_a_server_that_nobody_vouches_for_gets_nothing(
    scheme: str, certificate: Certificate, tmp_path: Path
) -> None:
    server, other = MailServer(), Certificate.make(tmp_path)
    contexts = {"tls" if scheme == "smtps" else "starttls": other.server()}

    async with serving(server, **contexts):
        with pytest.raises(Unreachable) as caught:
            await carrier(scheme, server.port, certificate, user=True).carry(parcel())

    assert caught.value.reason in {"tls", "connection"}
    assert (server.taken, server.users) == ([], [])


async def test_a_refused_sign_in_is_the_operators_and_worth_another_try(certificate: Certificate) -> None:
    server = MailServer()
    server.refuses = True

    async with serving(server, starttls=certificate.server()):
        with pytest.raises(Unreachable) as caught:
            await carrier("smtp+starttls", server.port, certificate, user=True).carry(parcel())

    assert caught.value.reason == "smtp_535"
    assert server.taken == []


@pytest.mark.parametrize(
    ("step", "says", "kind"),
    [
        ("MAIL", "451 later", Unreachable),
        ("MAIL", "553 not you", Unreachable),
        ("RCPT", "450 later", Unreachable),
        ("RCPT", "550 nobody of that name", Refused),
        ("DATA", "451 later", Unreachable),
        ("DATA", "552 too large", Refused),
    ],
)
async def test_an_answer_says_what_to_do_next(
    step: str, says: str, kind: type[PlatformError], certificate: Certificate
) -> None:
    caught = await trouble(MailServer(says={step: says}), certificate)

    assert type(caught) is kind
    # The number alone: the words may quote an address.
    assert caught.reason == f"smtp_{says[:3]}"


@pytest.mark.parametrize(("step", "kind"), [("MAIL", Unreachable), ("RCPT", Unreachable), ("DATA", Uncertain)])
async def test_a_line_that_is_cut_is_surely_unsent_only_before_the_mail_was_handed_over(
    step: str, kind: type[PlatformError], certificate: Certificate
) -> None:
    server = MailServer(cut=step)

    caught = await trouble(server, certificate)

    assert type(caught) is kind
    assert len(server.taken) == (1 if step == "DATA" else 0)


async def test_nobody_there_is_worth_another_try(certificate: Certificate) -> None:
    with pytest.raises(Unreachable) as caught:
        await carrier("smtp", free_port(), certificate).carry(parcel())

    assert caught.value.reason == "connection"


async def test_a_server_that_says_nothing_is_not_waited_for(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    import workers.mail

    monkeypatch.setattr(workers.mail, "COMMAND_PATIENCE", timedelta(milliseconds=50))
    heard: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: heard.append(writer), "127.0.0.1", 0)
    async with silent:
        with pytest.raises(Unreachable) as caught:
            await carrier("smtp", silent.sockets[0].getsockname()[1], certificate).carry(parcel())

    for writer in heard:
        writer.close()
        await writer.wait_closed()
    assert caught.value.reason == "timeout"


async def test_a_name_in_another_script_goes_where_the_server_can_take_it(certificate: Certificate) -> None:
    can, cannot = MailServer(), MailServer()

    async with serving(can):
        await carrier("smtp", can.port, certificate).carry(parcel("анна@example.org"))
    async with serving(cannot, utf8=False):
        with pytest.raises(Refused) as caught:
            await carrier("smtp", cannot.port, certificate).carry(parcel("анна@example.org"))

    assert can.taken[0][1] == ["анна@example.org"]
    assert can.mail()["To"] == "анна@example.org"
    assert caught.value.reason == "smtputf8_missing"


async def test_what_arrives_is_one_text_twice_and_a_program_can_tell_who_sent_it(certificate: Certificate) -> None:
    server, sent = MailServer(), parcel(language="nl")
    async with serving(server):
        await carrier("smtp", server.port, certificate).carry(sent)

    mail = server.mail()
    plain, page = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert page is not None
    link = f"{PUBLIC_URL}/not-me?language=nl#the-token"
    assert mail["From"] == "Latchkey <no-reply@latchkey.test>"
    assert mail["To"] == "anna@example.org"
    assert mail["Subject"] == "U bent overal afgemeld"
    assert mail["Message-ID"] == f"<{sent.held.id}@latchkey.test>"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:00:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Content-Language"] == "nl"
    for part in (plain.get_content(), page.get_content()):
        assert "1 maart 2026, 12:00 UTC" in part
        assert "4 maart 2026, 12:00 UTC" in part
        assert "192.0.2.0/24" in part
        assert link in part
    assert '<html lang="nl">' in page.get_content()
    # Nothing is fetched, and the only address is ours.
    assert page.get_content().count("http") == 2


def test_the_same_delivery_is_the_same_mail() -> None:
    sent = parcel()

    assert compose(sent, LETTERS, SENDER) == compose(sent, LETTERS, SENDER)


def test_what_a_device_is_called_stays_one_line_and_is_no_html() -> None:
    sent = parcel(key="passcode.revealed", device='<img src=x>\r\nBcc: otto@example.org\r\n\r\n"hi"\u202e' + "x" * 500)

    letter = LETTERS.mail(sent)

    assert "<img" not in letter.html
    assert "&lt;img src=x&gt; Bcc: otto@example.org &quot;hi&quot;" in letter.html
    assert "\nBcc" not in letter.plain
    assert "\u202e" not in letter.plain
    assert "x" * LONGEST_VALUE not in letter.plain


@given(st.text(max_size=200), st.text(max_size=50))
def test_no_value_makes_a_header_or_a_placeholder(device: str, network: str) -> None:
    from email import message_from_bytes, policy

    sent = parcel(key="passcode.reset_asked", device=device, network=network)
    mail = message_from_bytes(compose(sent, LETTERS, SENDER), policy=policy.default)

    assert sorted(mail.keys()) == [
        "Auto-Submitted",
        "Content-Language",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ]
    assert mail["To"] == "anna@example.org"


def test_a_key_without_words_is_refused_for_good() -> None:
    with pytest.raises(Refused) as caught:
        LETTERS.mail(parcel(key="no.such"))

    assert caught.value.reason == "no_text"
