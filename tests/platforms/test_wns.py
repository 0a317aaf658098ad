"""Calls over real HTTP and TLS, to the push service's stand-in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import wait_none

from models.vocabulary import Act, JobState, Reason, Secret
from platforms import loopback, wns
from platforms.base import Channel, Command, Enrollment, EnrollmentState
from platforms.errors import PlatformError, Refused, Unreachable
from platforms.identity import make_ca
from platforms.wns import EARLY, LONG_PAUSE, SHORT_PAUSE, WnsSettings, open_channel
from platforms.wns_service import Failure, Wns, WnsService, open_service

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADDRESS = "AwYAAAD/channel+of one=phone"
SID, SECRET = "ms-app://s-1-15-2-1", "a secret & more"
ID = UUID("0193b5f0-0000-7000-8000-000000000001")
ORDER = Command(ID, Act.RESET_PASSCODE, "1", JobState.WAITING, Secret(b"{}"))
FAR = {"MODE": "production", "WNS_PACKAGE_SID": SID, "WNS_SECRET": SECRET, "WNS_PFN": "Latchkey_1"}


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """The service, a channel that leads there, and the time."""

    service: WnsService
    settings: WnsSettings
    clock: Clock = field(default_factory=Clock)

    @asynccontextmanager
    async def open(self, settings: WnsSettings | None = None) -> AsyncIterator[Channel]:
        used = settings or self.settings
        async with open_channel(used, channel_of, clock=self.clock, pauses=wait_none()) as channel:
            yield channel

    @property
    def phone(self) -> Enrollment:
        return phone(self.service.channel(ADDRESS))


def phone(channel: str | None) -> Enrollment:
    return Enrollment(ID, EnrollmentState.ENROLLED, "d", None if channel is None else Secret(channel.encode()))


def channel_of(enrollment: Enrollment) -> str | None:
    return None if enrollment.memory is None else enrollment.memory.text()


@pytest.fixture(scope="session")
def wns_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wns")
    now = datetime.now(UTC)  # TLS asks the real clock
    authority = make_ca("Push service of this machine alone", now)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]
    certificate, key = loopback.issue(authority, subject, ExtendedKeyUsageOID.SERVER_AUTH, now)
    files = {"wns-server.crt": certificate, "wns-server.key": key, "wns-ca.crt": authority.pem()[0].encode()}
    files |= {"wns-package-sid.txt": SID.encode(), "wns-secret.txt": SECRET.encode()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
async def world(wns_keys: Path) -> AsyncIterator[World]:
    async with asyncio.timeout(20), open_service(wns_keys, 0) as service:
        given = {**FAR, "MODE": "embedded", "WNS_CA": (wns_keys / "wns-ca.crt").read_text(), "PUSH": service.url}
        settings = WnsSettings.from_env(given, "PUSH")
        assert settings is not None
        yield World(service, settings)


async def failed(world: World, channel: Channel, device: Enrollment | None = None) -> PlatformError:
    with pytest.raises(PlatformError) as raised:
        await channel.wake(ORDER, device or world.phone)
    return raised.value


async def unreachable(world: World, channel: Channel, device: Enrollment | None = None) -> Unreachable:
    error = await failed(world, channel, device)
    assert isinstance(error, Unreachable)
    return error


async def test_a_call_comes_to_the_phone_whose_channel_it_is(world: World) -> None:
    heard: asyncio.Queue[Wns] = asyncio.Queue()
    world.service.listen(ADDRESS, heard.put)

    async with world.open() as channel:
        await channel.wake(ORDER, world.phone)

    assert await asyncio.wait_for(heard.get(), 5) == Wns(ADDRESS)


async def test_of_many_calls_to_a_phone_that_is_away_one_is_kept(world: World) -> None:
    heard: list[Wns] = []

    async def hear(push: Wns) -> None:
        heard.append(push)

    async with world.open() as channel:
        for _ in range(3):
            await channel.wake(ORDER, world.phone)
    world.service.listen(ADDRESS, hear)
    await world.service.idle()

    assert world.service.pushes[ADDRESS] == 3
    assert heard == [Wns(ADDRESS)]


async def test_fifty_calls_at_once_ask_for_one_token(world: World) -> None:
    async with world.open() as channel:
        await asyncio.gather(*(channel.wake(ORDER, world.phone) for _ in range(50)))

    assert world.service.pushes[ADDRESS] == 50
    assert world.service.asked == 1


@pytest.mark.parametrize(("passed", "asked"), [(timedelta(seconds=-1), 1), (timedelta(), 2)])
async def test_a_token_is_renewed_before_it_ends(world: World, passed: timedelta, asked: int) -> None:
    async with world.open() as channel:
        await channel.wake(ORDER, world.phone)
        world.clock.now += timedelta(seconds=world.service.lifetime) - EARLY + passed
        await channel.wake(ORDER, world.phone)

    assert world.service.asked == asked


async def test_a_short_token_serves_for_half_its_life(world: World) -> None:
    world.service.lifetime = 60
    async with world.open() as channel:
        await channel.wake(ORDER, world.phone)
        world.clock.now += timedelta(seconds=29)
        await channel.wake(ORDER, world.phone)
        asked = world.service.asked
        world.clock.now += timedelta(seconds=1)
        await channel.wake(ORDER, world.phone)

    assert (asked, world.service.asked) == (1, 2)


async def test_a_token_that_cannot_be_renewed_yet_serves_to_its_end(world: World) -> None:
    async with world.open() as channel:
        await channel.wake(ORDER, world.phone)
        ends = world.clock.now + timedelta(seconds=world.service.lifetime)
        world.clock.now = ends - timedelta(seconds=1)
        world.service.fail_token_once(Failure(503))
        await channel.wake(ORDER, world.phone)
        world.clock.now = ends
        for _ in range(wns.TRIES):
            world.service.fail_token_once(Failure(503))
        error = await unreachable(world, channel)

    assert world.service.pushes[ADDRESS] == 2
    assert (error.reason, error.until_it_calls) == (Reason.UNREACHABLE, False)


async def test_a_token_that_is_taken_no_more_is_asked_for_once_more(world: World) -> None:
    async with world.open() as channel:
        await channel.wake(ORDER, world.phone)
        world.service.revoke()
        await asyncio.gather(*(channel.wake(ORDER, world.phone) for _ in range(10)))

    assert world.service.asked == 2
    assert world.service.pushes[ADDRESS] == 11


async def test_a_second_401_stops_all_calls_for_a_while(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.open() as channel:
        for _ in range(2):
            world.service.fail_once(ADDRESS, Failure(401))
        first = await unreachable(world, channel)
        received = world.service.received
        world.clock.now += wns.BARRED - timedelta(microseconds=1)
        second = await unreachable(world, channel)
        assert world.service.received == received == 2
        world.clock.now += timedelta(microseconds=1)
        await channel.wake(ORDER, world.phone)

    assert first.pause == second.pause == LONG_PAUSE
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_wrong_secret_rests_and_is_not_said(
    world: World, wns_keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {**FAR, "MODE": "embedded", "WNS_CA": (wns_keys / "wns-ca.crt").read_text()}
    given |= {"PUSH": world.service.url, "WNS_SECRET": "quite another"}

    async with world.open(WnsSettings.from_env(given, "PUSH")) as channel:
        errors = [await unreachable(world, channel) for _ in range(3)]

    assert {error.pause for error in errors} == {LONG_PAUSE}
    assert (world.service.asked, world.service.received) == (1, 0)
    assert "quite another" not in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("status", [404, 410])
async def test_a_channel_that_is_over_waits_for_the_phone(world: World, status: int) -> None:
    world.service.fail_once(ADDRESS, Failure(status))
    async with world.open() as channel:
        error = await unreachable(world, channel)

    assert (error.reason, error.until_it_calls) == (Reason.PUSH_REFUSED, True)
    assert world.service.received == 1


@pytest.mark.parametrize("status", [406, 429])
@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ({}, SHORT_PAUSE),
        ({"Retry-After": "7"}, timedelta(seconds=7)),
        ({"Retry-After": "99999"}, timedelta(hours=1)),
        ({"Retry-After": "soon"}, SHORT_PAUSE),
    ],
)
async def test_too_many_calls_rest_as_long_as_the_service_says(
    world: World, status: int, said: dict[str, str], pause: timedelta
) -> None:
    world.service.fail_once(ADDRESS, Failure(status, said))
    async with world.open() as channel:
        error = await unreachable(world, channel)

    assert (error.pause, error.until_it_calls) == (pause, False)
    assert world.service.received == 1


async def test_a_call_that_was_taken_and_throttled_rests(world: World) -> None:
    world.service.fail_once(ADDRESS, Failure(200, {"X-WNS-NotificationStatus": "channelThrottled"}))
    async with world.open() as channel:
        assert (await unreachable(world, channel)).pause == SHORT_PAUSE


@pytest.mark.parametrize("status", [500, 503])
async def test_trouble_at_the_service_is_tried_again(world: World, status: int) -> None:
    for _ in range(wns.TRIES - 1):
        world.service.fail_once(ADDRESS, Failure(status))
    async with world.open() as channel:
        await channel.wake(ORDER, world.phone)

    assert world.service.received == wns.TRIES


async def test_lasting_trouble_ends_in_unreachable(world: World) -> None:
    for _ in range(wns.TRIES):
        world.service.fail_once(ADDRESS, Failure(503, {"Retry-After": "30"}))
    async with world.open() as channel:
        error = await unreachable(world, channel)

    assert (error.reason, error.pause, error.until_it_calls) == (Reason.UNREACHABLE, timedelta(seconds=30), False)
    assert world.service.received == wns.TRIES


@pytest.mark.parametrize("status", [400, 403, 405])
async def test_what_the_service_does_not_like_keeps_the_order_and_is_told(
    world: World, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    world.service.fail_once(ADDRESS, Failure(status))
    async with world.open() as channel:
        error = await unreachable(world, channel)

    assert (error.pause, error.until_it_calls) == (LONG_PAUSE, False)
    assert [vars(record)["status"] for record in caplog.records] == [status]
    assert "channel" not in caplog.text


async def test_a_call_that_is_too_large_never_fits(world: World) -> None:
    world.service.fail_once(ADDRESS, Failure(413))
    async with world.open() as channel:
        assert isinstance(await failed(world, channel), Refused)


@pytest.mark.parametrize("channel_uri", [None, "", "https://127.0.0.1:1/?token=x", "http://127.0.0.1/"])
async def test_a_phone_without_a_channel_of_the_service_calls_by_itself(world: World, channel_uri: str | None) -> None:
    async with world.open() as channel:
        error = await unreachable(world, channel, phone(channel_uri))

    assert error.until_it_calls
    assert (world.service.asked, world.service.received) == (0, 0)


async def test_without_settings_nobody_is_called() -> None:
    async with open_channel(None, channel_of, clock=Clock()) as channel:
        with pytest.raises(Unreachable) as raised:
            await channel.wake(ORDER, phone("https://db5.notify.windows.com/?token=x"))

    assert raised.value.until_it_calls


async def test_a_service_that_never_answers_is_given_up_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wns, "DEADLINE", 0.2)
    world.service.silent = True
    async with world.open() as channel:
        assert (await unreachable(world, channel)).reason == Reason.UNREACHABLE


async def test_a_service_that_we_do_not_trust_gets_no_secret(world: World) -> None:
    given = {**FAR, "MODE": "embedded", "PUSH": world.service.url, "WNS_CA": make_ca("Another", NOW).pem()[0]}
    async with world.open(WnsSettings.from_env(given, "PUSH")) as channel:
        await unreachable(world, channel)

    assert (world.service.asked, world.service.received) == (0, 0)


@pytest.mark.parametrize(
    "channel",
    [
        "https://db5.notify.windows.com/?token=AwYAAAD%2b",
        "https://db5p.notify.windows.com:443/w/?token=x",
        "https://a.b.c.notify.windows.com/",
        "https://DB5.Notify.Windows.com/?token=x",
    ],
)
def test_a_channel_is_an_address_below_the_services_host(channel: str) -> None:
    settings = WnsSettings.from_env(FAR, "PUSH")

    assert settings is not None
    assert settings.accepts(channel)


@pytest.mark.parametrize(
    "channel",
    [
        "",
        "http://db5.notify.windows.com/",
        "https://notify.windows.com/",
        "https://evilnotify.windows.com/",
        "https://db5.notify.windows.com.example.org/",
        "https://example.org/db5.notify.windows.com",
        "https://example.org?.notify.windows.com",
        "https://example.org#.notify.windows.com",
        "https://example.org\\.notify.windows.com/",
        "https://example.org\\@db5.notify.windows.com/",
        "https://example.org@db5.notify.windows.com/",
        "https://db5.notify.windows.com@example.org/",
        "https://db5.notify.windows.com:8443/",
        "https://db5.notify.windows.com:/",
        "https://db5.notify.windows.com./",
        "https://.notify.windows.com/",
        "https://example.org%2f.notify.windows.com/",
        "https://exämple.notify.windows.com/",
        "https://[::1].notify.windows.com/",
        "https://[db5.notify.windows.com]/",
        "https://db5.notify.windows.com/\r\nHost: example.org",
        "https://db5.notify.windows.com/\t",
        "https://db5.notify.windows.com/ ?",
        "https://127.0.0.1/",
        "https://db5.notify.windows.com/?" + "x" * wns.LONGEST_CHANNEL,
        "//db5.notify.windows.com/",
        "db5.notify.windows.com",
    ],
)
def test_no_other_address_is_a_channel(channel: str) -> None:
    settings = WnsSettings.from_env(FAR, "PUSH")

    assert settings is not None
    assert not settings.accepts(channel)


SIGNS = ("\\", "@", ":", "#", "?", ".", "/", "[", "]", "%2f", "%00", "\t", "\n", "A", "é", "。", "\uff57")
HOSTS = ("example.org", "a.notify.windows.com", ".notify.windows.com", "notify.windows.com", ":443", "x" * 70)
PIECES = st.sampled_from(("https://", "https:", "http://", "//", *SIGNS, *HOSTS))
ADDRESSES = st.lists(PIECES, max_size=9).map("".join)


@settings(max_examples=1_000, deadline=None)
@given(ADDRESSES | ADDRESSES.map("https://".__add__))
def test_what_is_taken_for_a_channel_is_one_to_the_client_that_calls_it(channel: str) -> None:
    wns_settings = WnsSettings.from_env(FAR, "PUSH")
    assert wns_settings is not None
    if not wns_settings.accepts(channel):
        return

    url = httpx.URL(channel)

    assert (url.scheme, url.port, url.userinfo) == ("https", None, b"")
    assert url.host.endswith(".notify.windows.com")


def test_without_a_package_nobody_is_called() -> None:
    assert WnsSettings.from_env({}, "PUSH") is None


@pytest.mark.parametrize("variable", ["WNS_SECRET", "WNS_PFN"])
def test_what_is_missing_is_named(variable: str) -> None:
    with pytest.raises(ValueError, match=variable):
        WnsSettings.from_env({**FAR, variable: ""}, "PUSH")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PUSH": "https://127.0.0.1:1"}, "PUSH"),
        ({"MODE": "embedded"}, "PUSH"),
        ({"MODE": "embedded", "PUSH": "http://127.0.0.1:1"}, "PUSH"),
        ({"MODE": "embedded", "PUSH": "https://127.0.0.1:1/nonsense"}, "PUSH"),
        ({"WNS_CA": "nonsense"}, "WNS_CA"),
    ],
)
def test_what_is_wrong_is_named_and_not_quoted(changes: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named) as raised:
        WnsSettings.from_env({**FAR, **changes}, "PUSH")

    assert "nonsense" not in str(raised.value)


def test_the_real_service_is_the_default_and_secrets_do_not_show() -> None:
    settings = WnsSettings.from_env(FAR, "PUSH")

    assert settings is not None
    assert settings.token_url == "https://login.live.com/accesstoken.srf"
    assert SECRET not in repr(settings)
