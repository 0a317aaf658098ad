"""Pushes over real HTTP/2 and TLS, to the push service's stand-in."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tenacity import wait_none

from models.vocabulary import Reason
from platforms.base import Channel
from platforms.errors import PlatformError, Refused, Unreachable
from platforms.ios import channel as channels
from platforms.ios.channel import LONG_PAUSE, REMINDER, SHORT_PAUSE, SOON, open_channel
from platforms.ios.memory import Memory
from platforms.ios.push_service import Failure, Push, PushService, server_tls
from platforms.ios.settings import IosSettings
from platforms.ios.simulator import demo_keys
from tests.platforms.ios.world import NOW, PUSH_FILES, REAL_NOW, bond, environ, order

TOKEN = bytes(range(32))
ADDRESS = TOKEN.hex()
TOKEN_AT = 1_000_000
MAGIC = 'magic "quoted" \\ ü'
DEVICE = bond(memory=Memory(token=TOKEN, push_magic=MAGIC, token_at=TOKEN_AT).write())


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name, content in PUSH_FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
async def service(keys: Path) -> AsyncIterator[PushService]:
    async with PushService().open(server_tls(keys)) as opened:
        yield opened


def settings_for(url: str, **changes: str) -> IosSettings:
    return IosSettings.from_env(environ(IOS_PUSH_URL=url, **changes))


@asynccontextmanager
async def opened(settings: IosSettings) -> AsyncIterator[Channel]:
    async with open_channel(settings, clock=lambda: NOW, pauses=wait_none()) as channel:
        yield channel


@pytest.mark.parametrize(("left", "told"), [(SOON + timedelta(microseconds=1), 0), (SOON, 1), (timedelta(days=-1), 1)])
async def test_the_push_certificates_end_is_spoken_of_a_month_ahead(
    service: PushService, caplog: pytest.LogCaptureFixture, left: timedelta, told: int
) -> None:
    settings = settings_for(service.url)

    async with open_channel(
        settings, clock=lambda: settings.push_certificate_ends_at - left, pauses=wait_none()
    ) as channel:
        await channel.wake(order(), DEVICE)

    assert [record.levelname for record in caplog.records if "ends_at" in vars(record)] == ["WARNING"] * told


async def test_it_is_spoken_of_once_a_day(service: PushService, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_for(service.url)
    now = settings.push_certificate_ends_at - SOON
    moments = [now, now + REMINDER - timedelta(microseconds=1), now + REMINDER]
    told = []

    async with open_channel(settings, clock=lambda: now, pauses=wait_none()) as channel:
        for moment in moments:
            now = moment
            await channel.wake(order(), DEVICE)
            told.append(len([record for record in caplog.records if "ends_at" in vars(record)]))

    assert told == [1, 1, 2]


@pytest.fixture
async def channel(service: PushService) -> AsyncIterator[Channel]:
    async with opened(settings_for(service.url)) as one:
        yield one


async def failed(channel: Channel) -> PlatformError:
    with pytest.raises(PlatformError) as raised:
        await channel.wake(order(), DEVICE)
    return raised.value


async def unreachable(channel: Channel) -> Unreachable:
    error = await failed(channel)
    assert isinstance(error, Unreachable)
    return error


async def test_a_push_says_call_us_and_nothing_else(service: PushService, channel: Channel) -> None:
    heard: asyncio.Queue[Push] = asyncio.Queue()
    service.listen(ADDRESS, heard.put)

    await channel.wake(order(), DEVICE)

    push = await asyncio.wait_for(heard.get(), 5)
    assert (push.address, push.magic) == (ADDRESS, MAGIC)


async def test_many_pushes_share_one_connection(service: PushService, channel: Channel) -> None:
    await asyncio.gather(*(channel.wake(order(), DEVICE) for _ in range(50)))

    assert service.pushes[ADDRESS] == 50
    assert len(service.connections) == 1


async def test_a_device_without_push_data_can_only_call_by_itself(channel: Channel) -> None:
    with pytest.raises(Unreachable) as raised:
        await channel.wake(order(), bond(memory=Memory().write()))

    assert raised.value.until_it_calls


@pytest.mark.parametrize("status", [500, 503])
async def test_trouble_at_the_service_is_tried_again(service: PushService, channel: Channel, status: int) -> None:
    for _ in range(channels.TRIES - 1):
        service.fail_once(ADDRESS, Failure(status, "InternalServerError"))

    await channel.wake(order(), DEVICE)

    assert service.received == channels.TRIES


async def test_lasting_trouble_ends_in_unreachable(service: PushService, channel: Channel) -> None:
    for _ in range(channels.TRIES):
        service.fail_once(ADDRESS, Failure(503, "Shutdown"))

    error = await unreachable(channel)

    assert (error.reason, error.until_it_calls) == (Reason.UNREACHABLE, False)
    assert service.received == channels.TRIES


@pytest.mark.parametrize("reason", ["BadDeviceToken", "DeviceTokenNotForTopic", "BadTopic", "TopicDisallowed"])
async def test_what_our_settings_got_wrong_keeps_the_order_and_rests(
    service: PushService, channel: Channel, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.fail_once(ADDRESS, Failure(400, reason))

    error = await unreachable(channel)

    assert (error.pause, error.until_it_calls) == (LONG_PAUSE, False)
    assert service.received == 1
    assert [(record.levelname, vars(record)["reason"]) for record in caplog.records] == [("ERROR", reason)]
    assert "magic" not in caplog.text
    assert ADDRESS not in caplog.text


async def test_a_refused_certificate_stops_all_pushing(
    service: PushService, channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    service.fail_once(ADDRESS, Failure(403, "BadCertificate"))

    first = await unreachable(channel)
    second = await unreachable(channel)

    assert first.pause == second.pause == LONG_PAUSE
    assert service.received == 1
    assert len(caplog.records) == 1


async def test_a_dead_token_waits_for_the_device(service: PushService, channel: Channel) -> None:
    service.fail_once(ADDRESS, Failure(410, "Unregistered", TOKEN_AT + 1))

    error = await unreachable(channel)

    assert (error.reason, error.until_it_calls) == (Reason.PUSH_REFUSED, True)


@pytest.mark.parametrize("timestamp", [TOKEN_AT, TOKEN_AT - 1, None])
async def test_a_dead_token_of_before_our_newest_says_nothing_of_ours(
    service: PushService, channel: Channel, timestamp: int | None
) -> None:
    service.fail_once(ADDRESS, Failure(410, "Unregistered", timestamp))

    error = await unreachable(channel)

    assert (error.pause, error.until_it_calls) == (SHORT_PAUSE, False)


async def test_too_many_requests_rests(service: PushService, channel: Channel) -> None:
    service.fail_once(ADDRESS, Failure(429, "TooManyRequests"))

    assert (await unreachable(channel)).pause == SHORT_PAUSE


async def test_a_payload_that_is_too_large_never_fits(service: PushService, channel: Channel) -> None:
    service.fail_once(ADDRESS, Failure(413, "PayloadTooLarge"))

    assert isinstance(await failed(channel), Refused)


async def test_what_a_goaway_left_unanswered_is_sent_again(service: PushService, channel: Channel) -> None:
    await channel.wake(order(), DEVICE)
    service.go_away_once = True

    await channel.wake(order(), DEVICE)

    assert service.pushes[ADDRESS] == 2


async def test_a_connection_closed_between_two_pushes_is_opened_again(service: PushService, channel: Channel) -> None:
    await channel.wake(order(), DEVICE)
    service.go_away()

    await channel.wake(order(), DEVICE)

    assert service.pushes[ADDRESS] == 2


async def test_a_service_that_never_answers_is_given_up_in_time(
    service: PushService, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "DEADLINE", 0.2)
    service.silent = True

    assert (await unreachable(channel)).reason == Reason.UNREACHABLE


async def test_nobody_at_the_address_is_unreachable(unused_tcp_port: int) -> None:
    async with opened(settings_for(f"https://127.0.0.1:{unused_tcp_port}")) as channel:
        assert (await unreachable(channel)).reason == Reason.UNREACHABLE


async def test_a_service_that_we_do_not_trust_gets_no_push(service: PushService) -> None:
    strangers, _ = demo_keys(REAL_NOW)

    async with opened(settings_for(service.url, IOS_PUSH_CA=strangers["push-ca.crt"].decode())) as channel:
        await unreachable(channel)

    assert service.received == 0


async def test_a_service_that_does_not_trust_us_is_unreachable(service: PushService) -> None:
    strangers, _ = demo_keys(REAL_NOW)
    ours = settings_for(
        service.url,
        IOS_TOPIC=strangers["push-topic.txt"].decode(),
        IOS_PUSH_CERTIFICATE=strangers["push.crt"].decode(),
        IOS_PUSH_KEY=strangers["push.key"].decode(),
    )

    async with opened(ours) as channel:
        await unreachable(channel)

    assert service.received == 0


async def test_a_peer_that_speaks_http_1_alone_is_unreachable(keys: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(keys / "push-server.crt", keys / "push-server.key")
    tls.set_alpn_protocols(["http/1.1"])
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]

    async with opened(settings_for(f"https://127.0.0.1:{port}")) as channel:
        await unreachable(channel)

    server.close()


async def test_the_headers_are_those_that_the_service_asks_for() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, headers={"apns-id": "id-1"})

    settings = replace(settings_for("https://push.example"), topic="com.apple.mgmt.x")
    async with httpx.AsyncClient(base_url="https://push.example", transport=httpx.MockTransport(answer)) as client:
        channel = channels.PushChannel(client, settings, lambda: NOW, wait_none())
        await channel.wake(order(), DEVICE)

    (request,) = seen
    assert (request.method, request.url.path) == ("POST", f"/3/device/{ADDRESS}")
    assert json.loads(request.content) == {"mdm": MAGIC}
    assert {name: value for name, value in request.headers.items() if name.startswith("apns-")} == {
        "apns-topic": "com.apple.mgmt.x",
        "apns-push-type": "mdm",
        "apns-priority": "10",
        "apns-expiration": str(int((NOW + timedelta(days=7)).timestamp())),
    }


async def test_the_newest_token_is_called(service: PushService, channel: Channel) -> None:
    newest = replace(Memory.read(DEVICE.memory), token=b"n" * 32)

    await channel.wake(order(), bond(memory=newest.write()))

    assert service.pushes == {(b"n" * 32).hex(): 1}
