"""Where an address that an administrator wrote down may lead: not into the house."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from models.settings import SettingsError
from models.sign_out import Untold
from models.vocabulary import new_id
from platforms.errors import Refused, Unreachable
from tests.workers.post import Certificate
from tests.workers.relying_party import ISSUER, LOOPBACK, RelyingParty, serving
from workers.jobs.sign_out import refusal
from workers.logout import PATIENCE, LogoutToken, Teller
from workers.reach import CONNECT, LOOK_UPS, LOOK_UPS_EACH, ONCE, PATIENT, TRIED, LookUps, Outside, Resolve, may_lead_to
from workers.settings import app_networks

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())

INSIDE = (
    "0.0.0.0",  # noqa: S104 - to be refused
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:a00:1::",
    "2001:0:1::1",
    "2001:db8::1",
    "4000::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)
OUTSIDE = (
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "223.255.255.255",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
    "2002:101:101::",
    "2606:4700::1111",
)


def standing_for(*addresses: str) -> Resolve:
    """A name that answers so."""

    def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def tell(teller: Teller, uri: str) -> None:
    token = LogoutToken("timesheet", new_id(NOW), None, NOW)
    await teller.tell(uri, token, new_id(NOW), KEY, whose=new_id(NOW))


@pytest.mark.parametrize("address", INSIDE)
def test_inside_nobody_is_told(address: str) -> None:
    assert not may_lead_to(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside_is_where_apps_are(address: str) -> None:
    assert may_lead_to(ip_address(address))


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("10.1.0.0", True),
        ("10.1.255.255", True),
        ("::ffff:10.1.2.3", True),
        ("10.2.0.0", False),
        ("10.0.255.255", False),
    ],
)
def test_a_network_that_is_named_is_meant_and_no_other(address: str, there: bool) -> None:
    assert may_lead_to(ip_address(address), (ip_network("10.1.0.0/16"), ip_network("fd12::/16"))) is there


def test_the_setting_names_networks() -> None:
    assert app_networks({}) == ()
    assert app_networks({"APP_NETWORKS": "10.1.0.0/16, fd12::/16,"}) == (
        ip_network("10.1.0.0/16"),
        ip_network("fd12::/16"),
    )
    for text in ("10.1.0.1/16", "inside", "10.1.0.0/33"):
        with pytest.raises(SettingsError, match="APP_NETWORKS") as refused:
            app_networks({"APP_NETWORKS": text})
        assert text not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost"])
async def test_what_leads_to_this_machine_is_never_asked_however_it_is_spelled(host: str) -> None:
    party = RelyingParty("timesheet")
    async with serving(party), Teller(ISSUER, plain=True) as teller:
        port = httpx.URL(party.uri).port
        with pytest.raises((Refused, Unreachable)) as refused:
            await tell(teller, f"http://{host}:{port}/timesheet/logout")

    assert party.heard == []
    assert refused.value.reason in {"address_inside", "name", "address_unreadable"}


async def test_of_a_name_the_inner_addresses_are_left_out() -> None:
    asked: list[str] = []

    class Out(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.host)
            assert request.headers["Host"] == "app.test"
            assert request.extensions["sni_hostname"] == "app.test"
            raise httpx.ConnectError("nobody there")

    names = standing_for("10.0.0.1", "1.1.1.1", "::1", "1.1.1.2", "1.1.1.1", "1.1.1.3", "1.1.1.4", "1.1.1.5")
    outside = Outside((), names, Out())
    async with httpx.AsyncClient(transport=outside) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post("https://app.test/")

    assert asked == ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]
    assert len(asked) == TRIED


async def test_the_last_address_of_a_name_gets_its_turn_and_time_to_answer() -> None:
    asked: list[str] = []
    waited = 0.0

    class Out(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal waited
            asked.append(request.url.host)
            if len(asked) == TRIED:
                return httpx.Response(200)
            waited += request.extensions["timeout"]["connect"]
            raise httpx.ConnectTimeout("silent")

    names = standing_for("1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4")
    patience = PATIENCE.total_seconds()
    async with httpx.AsyncClient(transport=Outside((), names, Out()), timeout=patience) as client:
        assert (await client.post("https://app.test/")).status_code == 200

    assert len(asked) == TRIED
    assert PATIENT + waited + CONNECT < patience, "its own connection, too, and what is said over it"


async def test_the_connection_goes_to_the_very_address_that_was_looked_at() -> None:
    """A name that answers otherwise the second time: it is asked once."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    party = RelyingParty("timesheet")
    async with serving(party), Teller(ISSUER, plain=True, meant=LOOPBACK, resolve=resolve) as teller:
        uri = str(httpx.URL(party.uri).copy_with(host="app.test"))
        await tell(teller, uri)
        with pytest.raises(Refused, match="address_inside"):
            await tell(teller, uri)

    assert len(party.heard) == 1


async def test_the_certificate_is_of_the_name_and_not_of_the_address(tmp_path: Path) -> None:
    """And no connection that was made for one name is used for another at the same address."""
    shown = Certificate.make(tmp_path, x509.DNSName("app.test"))
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.host)
        return web.Response()

    app = web.Application()
    app.router.add_post("/", answer)
    trust = ssl.create_default_context(cadata=shown.pem)
    out = httpx.AsyncHTTPTransport(verify=trust, limits=ONCE)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=shown.server())
    port = server.port
    async with server:
        outside = Outside(LOOPBACK, standing_for("127.0.0.1"), out)
        async with httpx.AsyncClient(transport=outside) as client:
            assert (await client.post(f"https://app.test:{port}/")).status_code == 200
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await client.post(f"https://other.test:{port}/")

    assert heard == [f"app.test:{port}"]


async def test_a_name_that_nobody_knows_is_tried_again_later() -> None:
    def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    async with Teller(ISSUER, resolve=resolve) as teller:
        with pytest.raises(Unreachable, match="name"):
            await tell(teller, "https://app.test/")


async def test_the_proxy_of_the_environment_is_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    party = RelyingParty("timesheet")
    async with serving(party), Teller(ISSUER, plain=True, meant=LOOPBACK) as teller:
        await tell(teller, party.uri)

    assert len(party.heard) == 1


# A resolver that never answers


class Silent:
    """Names below hang.test are never answered, until it is let go; all others at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.entered = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        self.entered.release()
        if host.endswith("hang.test"):
            self.let_go.wait(30)
        return ["1.1.1.1"]


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    silent = Silent()
    yield silent
    silent.let_go.set()


async def test_names_of_one_organization_that_nobody_answers_for_hold_up_no_other(silent: Silent) -> None:
    one, other = new_id(NOW), new_id(NOW)
    look_up = LookUps(silent, patient=30)
    stuck = [asyncio.ensure_future(look_up(one, f"{n}.hang.test", 443)) for n in range(3 * LOOK_UPS)]
    for _ in range(LOOK_UPS_EACH):
        assert await asyncio.to_thread(silent.entered.acquire, timeout=10)

    async with asyncio.timeout(10):
        assert list(await look_up(other, "app.test", 443)) == ["1.1.1.1"]
        await asyncio.to_thread(lambda: None)

    assert len(silent.asked) == LOOK_UPS_EACH + 1 < LOOK_UPS, "it waits in its own line"
    silent.let_go.set()
    assert [list(found) for found in await asyncio.gather(*stuck)] == [["1.1.1.1"]] * len(stuck), "places come back"
    look_up.close()


async def test_a_name_that_hangs_holds_one_thread_however_often_it_is_asked_for(silent: Silent) -> None:
    one = new_id(NOW)
    look_up = LookUps(silent, patient=0.02)

    for _ in range(3 * LOOK_UPS_EACH):
        with pytest.raises(TimeoutError):
            await look_up(one, "hang.test", 443)

    assert silent.asked == ["hang.test"]
    assert list(await look_up(one, "app.test", 443)) == ["1.1.1.1"], "nor does it hold up the others of its house"
    silent.let_go.set()
    async with asyncio.timeout(10):
        found: Sequence[str] = ()
        while not found:
            with contextlib.suppress(TimeoutError):
                found = await look_up(one, "hang.test", 443)
    look_up.close()


async def test_a_name_that_is_not_answered_in_time_is_tried_again_later(silent: Silent) -> None:
    outside = Outside((), silent, patient=0.02)
    async with httpx.AsyncClient(transport=outside) as client:
        with pytest.raises(Unreachable, match="name"):
            await client.post("https://hang.test/")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("http_403", Untold.APP_REFUSED),
        ("http_404", Untold.APP_REFUSED),
        ("http_307", Untold.APP_REFUSED),
        ("not_https", Untold.ADDRESS_REFUSED),
        ("address_inside", Untold.ADDRESS_REFUSED),
        ("address_unreadable", Untold.ADDRESS_REFUSED),
    ],
)
def test_what_is_shown_does_not_tell_what_stands_there(word: str, shown: Untold) -> None:
    assert refusal(Refused(word)) is shown
