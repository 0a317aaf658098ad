"""Short messages by a webhook: signed, named so that a doubled one is recognized, and what each answer means."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from models.delivery import Channel
from models.vocabulary import Secret
from platforms.errors import PlatformError, Refused, Unreachable
from tests.clock import NOON
from tests.workers.post import parcel
from workers.carriers import Parcel, SmsSettings
from workers.letters import Letters
from workers.sms import LONGEST_WAIT, SmsCarrier

KEY = b"k" * 32


@dataclass
class Gateway:
    url: str = ""
    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[tuple[web.BaseRequest, bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append((request, await request.read()))
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", gateway.answer)
    async with TestServer(app) as server:
        gateway.url = str(server.make_url("/send?for=us"))
        yield gateway


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    for language, text in (("en", "Your code is {code}."), ("nl", "Uw code is {code}.")):
        words = {"sms.a.code": text, "letter.months": " ".join("123456789abc")}
        (tmp_path / f"{language}.json").write_text(json.dumps(words), encoding="utf-8")
    return Letters("https://latchkey.test", tmp_path)


def message() -> Parcel:
    return parcel("+31612345678", channel=Channel.SMS, key="a.code", language="nl", link=None, secret="123456")


async def send(gateway: Gateway, letters: Letters, sent: Parcel) -> None:
    async with SmsCarrier(SmsSettings(gateway.url, Secret(KEY)), letters, lambda: NOON) as carrier:
        await carrier.carry(sent)


async def test_a_message_is_signed_over_time_id_and_body(gateway: Gateway, letters: Letters) -> None:
    sent = message()

    await send(gateway, letters, sent)
    await send(gateway, letters, sent)

    (request, body), (again, _) = gateway.heard
    assert (request.method, request.path_qs, request.content_type) == ("POST", "/send?for=us", "application/json")
    assert json.loads(body) == {
        "id": str(sent.held.id),
        "to": "+31612345678",
        "text": "Uw code is 123456.",
        "language": "nl",
    }
    timestamp = request.headers["Latchkey-Timestamp"]
    assert int(timestamp) == int(NOON.timestamp())
    signed = f"{timestamp}.{sent.held.id}.".encode() + body
    assert request.headers["Latchkey-Signature"] == f"v1={hmac.new(KEY, signed, hashlib.sha256).hexdigest()}"
    assert request.headers["Latchkey-Id"] == again.headers["Latchkey-Id"] == str(sent.held.id)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (204, None),
        (301, Unreachable),  # nobody is followed to where we did not mean to send it
        (400, Refused),
        (401, Unreachable),
        (403, Unreachable),
        (404, Unreachable),
        (408, Unreachable),
        (422, Refused),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
    ],
)
async def test_an_answer_says_what_to_do_next(
    gateway: Gateway, letters: Letters, status: int, kind: type[PlatformError] | None
) -> None:
    gateway.status, gateway.headers = status, {"Location": gateway.url}

    if kind is None:
        await send(gateway, letters, message())
    else:
        with pytest.raises(PlatformError) as caught:
            await send(gateway, letters, message())
        assert type(caught.value) is kind
        assert caught.value.reason == f"http_{status}"
    assert len(gateway.heard) == 1


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("90", timedelta(seconds=90)),
        ("999999999999", LONGEST_WAIT),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-5", None),
        ("", None),
    ],
)
async def test_a_gateway_may_ask_to_be_left_alone_for_a_while(
    gateway: Gateway, letters: Letters, said: str, wait: timedelta | None
) -> None:
    gateway.status, gateway.headers = 429, {"Retry-After": said}

    with pytest.raises(Unreachable) as caught:
        await send(gateway, letters, message())

    assert caught.value.pause == wait


async def test_nobody_there_is_worth_another_try(letters: Letters) -> None:
    with pytest.raises(Unreachable) as caught:
        await send(Gateway("http://127.0.0.1:1/send"), letters, message())

    assert caught.value.reason == "connection"
