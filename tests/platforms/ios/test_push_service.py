"""The push service between is held to what the real one does."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from platforms import simulation
from platforms.ios.push_service import Failure, Push, PushService, server_tls

TOKEN = "ab" * 32


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    simulation.make_demo_keys(folder)
    return folder


def provider_tls(keys: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(keys / "push-ca.crt"))
    context.load_cert_chain(keys / "push.crt", keys / "push.key")
    return context


@asynccontextmanager
async def connected(keys: Path) -> AsyncIterator[tuple[PushService, httpx.AsyncClient]]:
    async with (
        asyncio.timeout(20),
        PushService().open(server_tls(keys)) as service,
        httpx.AsyncClient(base_url=service.url, verify=provider_tls(keys), http1=False, http2=True) as client,
    ):
        yield service, client


async def push(client: httpx.AsyncClient, keys: Path, magic: str = "m", **changes: str) -> httpx.Response:
    topic = (keys / "push-topic.txt").read_text()
    headers = {"apns-topic": topic, "apns-push-type": "mdm", "apns-expiration": "2000000000", **changes}
    return await client.post(f"/3/device/{TOKEN}", json={"mdm": magic}, headers=headers)


async def test_a_push_is_taken_over_http_2_and_comes_to_the_device(keys: Path) -> None:
    heard: list[Push] = []

    async def hear(push: Push) -> None:
        heard.append(push)

    async with connected(keys) as (service, client):
        service.listen(TOKEN, hear)
        answer = await push(client, keys, magic='say "cheese"')
        await service.idle()

    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert answer.headers["apns-id"]
    assert heard == [Push(TOKEN, 'say "cheese"')]
    assert service.pushes == Counter({TOKEN: 1})


async def test_of_many_pushes_to_a_device_that_is_away_the_last_one_is_kept(keys: Path) -> None:
    heard: list[str] = []

    async def hear(push: Push) -> None:
        heard.append(push.magic)

    async with connected(keys) as (service, client):
        service.listen(TOKEN, hear)
        service.away(TOKEN)
        for magic in ("first", "second", "third"):
            await push(client, keys, magic)
        service.listen(TOKEN, hear)
        await service.idle()

    assert heard == ["third"]
    assert service.kept == {}


async def test_a_push_for_one_attempt_only_is_not_kept(keys: Path) -> None:
    async with connected(keys) as (service, client):
        await push(client, keys, **{"apns-expiration": "0"})

        assert service.kept == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"apns-topic": "com.apple.mgmt.External.other"}, "TopicDisallowed"),
        ({"apns-push-type": "alert"}, "InvalidPushType"),
        ({"apns-expiration": "soon"}, "BadExpirationDate"),
        ({"apns-priority": "7"}, "BadPriority"),
    ],
)
async def test_wrong_heads_are_refused_in_the_services_own_words(
    keys: Path, changes: Mapping[str, str], reason: str
) -> None:
    async with connected(keys) as (service, client):
        answer = await push(client, keys, **changes)

    assert (answer.status_code, answer.json()) == (400, {"reason": reason})
    assert service.pushes == Counter()


@pytest.mark.parametrize("body", [{}, {"mdm": ""}, {"mdm": 1}, {"mdm": "m", "aps": {}}, []])
async def test_a_body_that_is_not_the_magic_alone_is_refused(keys: Path, body: object) -> None:
    headers = {"apns-topic": (keys / "push-topic.txt").read_text(), "apns-push-type": "mdm", "apns-expiration": "9"}
    async with connected(keys) as (_, client):
        answer = await client.post(f"/3/device/{TOKEN}", json=body, headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (400, "PayloadEmpty")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", f"/3/device/{TOKEN}", 405), ("POST", "/4", 404), ("POST", "/3/device/AB", 400)],
)
async def test_other_doors_are_closed(keys: Path, method: str, path: str, status: int) -> None:
    async with connected(keys) as (_, client):
        answer = await client.request(method, path)

    assert answer.status_code == status


async def test_a_failure_is_answered_once(keys: Path) -> None:
    async with connected(keys) as (service, client):
        service.fail_once(TOKEN, Failure(410, "Unregistered", timestamp=7))
        service.fail_once(TOKEN, Failure(503, "ServiceUnavailable"))

        answers = [await push(client, keys) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [410, 503, 200]
    assert answers[0].json() == {"reason": "Unregistered", "timestamp": 7}
    assert service.received == 3


async def test_a_request_met_by_go_away_was_not_looked_at(keys: Path) -> None:
    async with connected(keys) as (service, client):
        await push(client, keys)
        service.go_away_once = True
        again = await push(client, keys)

    # The client may therefore send it anew by itself, and does.
    assert again.status_code == 200
    assert (service.received, service.pushes[TOKEN], service.go_away_once) == (2, 2, False)


async def test_silence_is_a_time_out_for_the_provider(keys: Path) -> None:
    async with connected(keys) as (service, client):
        service.silent = True
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"/3/device/{TOKEN}", json={"mdm": "m"}, timeout=0.05)

    assert service.received == 0


async def test_nobody_speaks_without_a_certificate_of_its_authority(keys: Path) -> None:
    stranger = ssl.create_default_context(cafile=str(keys / "push-ca.crt"))
    async with (
        asyncio.timeout(20),
        PushService().open(server_tls(keys)) as service,
        httpx.AsyncClient(base_url=service.url, verify=stranger, http1=False, http2=True) as client,
    ):
        with pytest.raises(httpx.TransportError):
            await push(client, keys)

    assert service.received == 0


async def test_many_pushes_on_one_connection_are_all_counted(keys: Path) -> None:
    async with connected(keys) as (service, client):
        await push(client, keys)
        await asyncio.gather(*(push(client, keys) for _ in range(99)))
        await service.until_received(100)

        assert len(service.connections) == 1
    assert service.pushes[TOKEN] == 100
