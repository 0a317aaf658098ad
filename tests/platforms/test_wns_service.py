"""The push service between is held to what the real one does."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from platforms.windows_phone_simulator import demo_keys
from platforms.wns_service import LARGEST, Failure, Wns, WnsService, open_service

ADDRESS = "AwYAAAD/channel+of one=phone"
RAW = {"X-WNS-Type": "wns/raw", "Content-Type": "application/octet-stream", "X-WNS-Cache-Policy": "cache"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("wns")
    for name, content in demo_keys(datetime.now(UTC))[0].items():
        (made / name).write_bytes(content)
    return made


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[WnsService]:
    async with asyncio.timeout(20), open_service(folder, 0) as opened:
        yield opened


@pytest.fixture
async def client(service: WnsService, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    tls = ssl.create_default_context(cafile=str(folder / "wns-ca.crt"))
    async with httpx.AsyncClient(base_url=service.url, verify=tls) as opened:
        yield opened


@pytest.fixture
def form(folder: Path) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": (folder / "wns-package-sid.txt").read_text(),
        "client_secret": (folder / "wns-secret.txt").read_text(),
        "scope": "notify.windows.com",
    }


@pytest.fixture
async def right(client: httpx.AsyncClient, form: Mapping[str, str]) -> dict[str, str]:
    granted = (await client.post("/accesstoken.srf", data=dict(form))).json()
    assert (granted["token_type"], granted["expires_in"]) == ("bearer", 86_400)
    return {**RAW, "Authorization": f"Bearer {granted['access_token']}"}


async def test_a_notification_is_taken_and_comes_to_the_phone(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str]
) -> None:
    heard: list[Wns] = []

    async def hear(push: Wns) -> None:
        heard.append(push)

    service.listen(ADDRESS, hear)
    answer = await client.post(service.channel(ADDRESS), content=b"x", headers=right)
    await service.idle()

    assert answer.status_code == 200
    assert answer.headers["X-WNS-NotificationStatus"] == "received"
    assert answer.headers["X-WNS-DeviceConnectionStatus"] == "connected"
    assert heard == [Wns(ADDRESS)]
    assert service.pushes == Counter({ADDRESS: 1})


@pytest.mark.parametrize(("policy", "status", "kept"), [("cache", "received", 1), ("no-cache", "dropped", 0)])
async def test_for_a_phone_that_is_away_it_is_kept_if_the_caller_wants_that(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str], policy: str, status: str, kept: int
) -> None:
    headers = {**right, "X-WNS-Cache-Policy": policy}

    answers = [await client.post(service.channel(ADDRESS), content=b"x", headers=headers) for _ in range(3)]

    assert {answer.headers["X-WNS-NotificationStatus"] for answer in answers} == {status}
    assert len(service.kept) == kept


@pytest.mark.parametrize("name", ["grant_type", "client_id", "client_secret", "scope"])
async def test_a_token_is_granted_for_the_whole_of_it_alone(
    client: httpx.AsyncClient, form: Mapping[str, str], name: str
) -> None:
    wrong = await client.post("/accesstoken.srf", data={**form, name: "another"})
    missing = await client.post("/accesstoken.srf", data={one: form[one] for one in form if one != name})

    assert (wrong.status_code, missing.status_code) == (400, 400)
    assert wrong.json() == {"error": "invalid_client"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Authorization": "Bearer another"}, 401),
        ({"Authorization": "Basic eA=="}, 401),
        ({"X-WNS-Type": "wns/toast"}, 400),
        ({"Content-Type": "text/xml"}, 400),
        ({"X-WNS-Cache-Policy": "sometimes"}, 400),
        ({"X-WNS-TTL": "soon"}, 400),
    ],
)
async def test_wrong_heads_are_refused(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str], changes: Mapping[str, str], status: int
) -> None:
    answer = await client.post(service.channel(ADDRESS), content=b"x", headers={**right, **changes})

    assert answer.status_code == status
    assert service.pushes == Counter()


@pytest.mark.parametrize(("size", "status"), [(0, 400), (1, 200), (LARGEST, 200), (LARGEST + 1, 413)])
async def test_a_notification_has_a_size(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str], size: int, status: int
) -> None:
    answer = await client.post(service.channel(ADDRESS), content=b"x" * size, headers=right)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/?token=x", 405), ("POST", "/", 404), ("POST", "/elsewhere", 404)]
)
async def test_other_doors_are_closed(
    client: httpx.AsyncClient, right: Mapping[str, str], method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, content=b"x", headers=right)

    assert answer.status_code == status


async def test_failures_are_answered_once_and_in_order(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str]
) -> None:
    service.fail_once(ADDRESS, Failure(410))
    service.fail_once(ADDRESS, Failure(406, {"Retry-After": "5"}))

    answers = [await client.post(service.channel(ADDRESS), content=b"x", headers=right) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [410, 406, 200]
    assert answers[1].headers["Retry-After"] == "5"


async def test_a_token_that_was_revoked_serves_no_more(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str]
) -> None:
    service.revoke()

    answer = await client.post(service.channel(ADDRESS), content=b"x", headers=right)

    assert answer.status_code == 401


async def test_one_connection_serves_many_requests(
    service: WnsService, client: httpx.AsyncClient, right: Mapping[str, str]
) -> None:
    for _ in range(20):
        await client.post(service.channel(ADDRESS), content=b"x", headers=right)

    assert service.connections == 1
    assert service.pushes[ADDRESS] == 20


async def test_whoever_speaks_something_else_is_hung_up_on(service: WnsService, folder: Path) -> None:
    tls = ssl.create_default_context(cafile=str(folder / "wns-ca.crt"))
    parts = urlsplit(service.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port, ssl=tls, server_hostname="127.0.0.1")
    writer.write(b"\x00\x01 nonsense\r\n\r\n")

    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
