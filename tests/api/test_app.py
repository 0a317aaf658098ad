"""How a request becomes a call: bodies, parameters, cookies, and the devices' own road."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from api.handlers import checkin
from models.database import DatabaseDown
from platforms.base import DeviceReply, DeviceRequest, Refusal
from tests.api.house import House

JSON = {"Content-Type": "application/json"}


async def post(house: House, body: bytes, headers: Mapping[str, str] = JSON) -> tuple[int, Any]:
    async with house.client.post("/api/v1/sessions", data=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


@pytest.mark.parametrize("body", [b"", b"{", b"account=anna", b"\xff\xfe", b'"\\ud800"', b"[" * 10_000])
async def test_what_is_no_json_is_unreadable(house: House, body: bytes) -> None:
    status, problem = await post(house, body)

    assert (status, problem["code"]) in {(400, "unreadable"), (422, "invalid")}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"account": "anna"}, ""),
        ({"account": "anna", "password": 5}, "password"),
        ({"account": "anna", "password": "x", "admin": True}, ""),
        ({"account": "", "password": "x"}, "account"),
        ({"account": "a\0b", "password": "x"}, "account"),
        ({"account": "anna", "password": "x" * 1025}, "password"),
    ],
)
async def test_a_broken_rule_is_named_without_what_was_typed(house: House, body: dict[str, Any], field: str) -> None:
    status, problem = await post(house, json.dumps(body).encode())

    assert (status, problem["code"]) == (422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_a_word_that_nobody_knows_is_not_sent_back(house: House) -> None:
    anna = await house.hire()
    await house.open_session(anna, "t")

    answer = await house.ask(
        "POST", "/re-sign-ins", {"device_id": "01930c2e-4b7a-7c1f-9a55-0d3f1c9be001", "act": "hunter2"}, token="t"
    )

    assert answer.status == 422
    assert "hunter2" not in json.dumps(answer.json)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_only_json_is_taken(house: House, kind: str) -> None:
    assert (await post(house, b'{"account":"a","password":"b"}', {"Content-Type": kind}))[0] == 415


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(house: House) -> None:
    said = await post(house, b" " * 65_537)

    async def drops() -> Any:
        for _ in range(70):
            yield b" " * 1024

    async with house.client.post("/api/v1/sessions", data=drops(), headers=JSON) as response:
        unsaid = response.status, await response.json(content_type=None)

    for status, problem in (said, unsaid):
        assert (status, problem["code"], problem["limit"]) == (413, "too_large", 65_536)


async def test_where_no_body_is_expected_none_is_taken(house: House) -> None:
    await house.open_session(await house.hire(), "t")

    assert (await house.ask("DELETE", "/sessions/current", {"all": True}, token="t")).status == 422
    assert (await house.ask("DELETE", "/sessions/current", {}, token="t")).status == 204


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=many", "cursor=x", "unread=perhaps", "page=2", "limit=1&limit=2"]
)
async def test_parameters_are_checked(house: House, query: str) -> None:
    await house.open_session(await house.hire(), "t")

    answer = await house.ask("GET", f"/notifications?{query}", token="t")

    assert (answer.status, answer.json["code"]) == (422, "invalid")


@pytest.mark.parametrize("agent", ["curl/8", "caf\u00e9", "a" * 500, ""])
async def test_any_client_may_sign_in_whatever_it_calls_itself(house: House, agent: str) -> None:
    answer = await house.sign_in(await house.hire(), headers={"User-Agent": agent})

    assert answer.status == 201
    client = answer.json["session"]["client"]
    assert client is None or (client.isascii() and len(client) <= 200)


async def raw(house: House, request: bytes) -> bytes:
    server = house.client.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.readline()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /api/v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET /api/v1/sessions HTTP/1.1\r\nHost: a\r\nCookie: __Host-latchkey-session=\xff\r\n\r\n",
        b"GET /api/v1/texts/%ff%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /api/v1/re-sign-ins/%00 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nUser-Agent: \xff\r\nContent-Type: \xff\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://elsewhere/healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_no_request_however_broken_is_our_fault(house: House, request_: bytes) -> None:
    await house.open_session(await house.hire(), "t")

    status = int((await raw(house, request_)).split()[1])

    assert status < 500
    async with house.client.get("/healthz") as response:
        assert response.status == 200


# Cookies


async def test_the_session_cookie_is_host_bound_and_out_of_scripts_reach(house: House) -> None:
    answer = await house.sign_in(await house.hire())

    session = next(cookie for cookie in answer.set_cookies if cookie.startswith("__Host-latchkey-session="))
    attributes = set(session.split("; ")[1:])
    assert {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"} <= attributes
    assert not any(attribute.startswith("Domain") for attribute in attributes)


async def test_bearer_wins_when_both_are_sent(house: House) -> None:
    await house.open_session(await house.hire(), "t")

    answer = await house.ask("GET", "/sessions/current", token="t", headers={"Cookie": "__Host-latchkey-session=dead"})

    assert answer.status == 200


# The devices' own road


class Heard:
    """Stands where the operation stands, and remembers what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: Exception | None = None) -> None:
        self.requests: list[DeviceRequest] = []
        self._fails = fails
        monkeypatch.setattr(checkin, "checkin", self)

    async def talk(self, *arguments: Any, **_: Any) -> DeviceReply:
        self.requests += [one for one in arguments if isinstance(one, DeviceRequest)]
        if self._fails is not None:
            raise self._fails
        return DeviceReply(200, {"Content-Type": "application/x-pocket"}, b"here")


@pytest.fixture
def refuses(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(refusal: Refusal) -> DeviceReply:
        return DeviceReply(418, {}, refusal.encode())

    monkeypatch.setattr(house.platform, "refuse", refuse, raising=False)


async def device(client: TestClient[Any, Any], path: str, **more: Any) -> tuple[int, bytes]:
    async with client.put(path, **more) as response:
        assert "WWW-Authenticate" not in response.headers
        return response.status, await response.read()


async def test_a_devices_request_comes_frozen_to_its_platform(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)

    answer = await device(
        house.client,
        "/devices/pocket/a/b",
        data=b"\x00body",
        headers={"X-Pocket": "1", "X-Forwarded-For": "192.0.2.1", "Content-Type": "application/x-pocket"},
    )

    assert answer == (200, b"here")
    [request] = heard.requests
    assert (request.method, request.path, request.body, request.certificate) == ("PUT", "a/b", b"\x00body", None)
    assert request.headers["x-pocket"] == "1"
    assert "x-forwarded-for" not in request.headers


async def test_a_certificate_comes_from_a_trusted_proxy(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    der = bytes(range(200))
    encoded = base64.b64encode(der).decode()

    await device(house.client, "/devices/pocket/a", headers={"Client-Cert": f":{encoded}:"})
    for broken in (encoded, ":", "::", ":###:", f":{encoded}:, :{encoded}:"):
        await device(house.client, "/devices/pocket/a", headers={"Client-Cert": broken})
    monkeypatch.setattr("api.guards.is_trusted", lambda *_: False)
    await device(house.client, "/devices/pocket/a", headers={"Client-Cert": f":{encoded}:"})

    assert [request.certificate for request in heard.requests] == [der] + [None] * 6
    assert all("client-cert" not in request.headers for request in heard.requests)


@pytest.mark.usefixtures("refuses")
async def test_a_request_above_the_platforms_limit_is_refused_unread(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard(monkeypatch)

    assert await device(house.client, "/devices/pocket/a", data=b"a" * 1025) == (418, b"unreadable")
    assert heard.requests == []


@pytest.mark.usefixtures("refuses")
@pytest.mark.parametrize("fault", [DatabaseDown(), ValueError("hunter2")])
async def test_a_fault_of_ours_is_told_as_later(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    Heard(monkeypatch, fault)

    assert await device(house.client, "/devices/pocket/a") == (418, b"try_later")
    assert all("hunter2" not in str(vars(record)) for record in caplog.records)


async def test_an_unknown_platform_is_not_found(house: House) -> None:
    status, body = await device(house.client, "/devices/nokia3310/a")

    assert (status, json.loads(body)["code"]) == (404, "not_found")
