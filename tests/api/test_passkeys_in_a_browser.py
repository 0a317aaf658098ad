"""Passkeys in a real browser, with its own virtual authenticator: each takes what the other sends.

The page is ours, so origin, cookies and tokens are those of a portal. Its policy lets no script call anybody; the
browser is told to pass over that for the test.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from api.app import make_app
from api.settings import RELAXED, ApiSettings
from api.stream import StreamSettings
from models.database import Database
from models.fault import Fault
from models.sealed import Keyring
from models.settings import DatabaseSettings
from tests.api.house import HASHES, PASSWORD, PASSWORD_HASH
from tests.browser import Page, browse, find_browser
from tests.clock import Clock
from tests.people import found, hire
from tests.servers import PATIENT, free_port
from workers.queue import QueueDoor, QueueSettings

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

PORTAL = """
globalThis.ask = async (method, path, body) => {
  const headers = {"Content-Type": "application/json"};
  if (globalThis.csrf) headers["X-CSRF-Token"] = globalThis.csrf;
  const answer = await fetch("/api/v1" + path, {method, headers, body: body && JSON.stringify(body)});
  const text = await answer.text();
  const told = {status: answer.status, ...(text ? JSON.parse(text) : {})};
  if (told.csrf_token) globalThis.csrf = told.csrf_token;
  return told;
};
globalThis.create = async (options) => (await navigator.credentials.create(
  {publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options)})).toJSON();
globalThis.get = async (options) => (await navigator.credentials.get(
  {publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options)})).toJSON();
null
"""


@pytest.fixture
async def address(sqlite_settings: DatabaseSettings, clock: Clock, keys: Keyring, redis_url: str) -> AsyncIterator[str]:
    """A running server, at a name, with anna in it."""
    port = free_port()
    public_url = f"http://localhost:{port}"
    database = Database(sqlite_settings, clock)
    app = make_app(
        ApiSettings(
            mode="embedded",
            host="localhost",
            port=port,
            public_url=public_url,
            throttle_key=b"t" * 32,
            cookie_rules=RELAXED,
        ),
        sqlite_settings,
        database=database,
        door=QueueDoor(QueueSettings(redis_url, patience=PATIENT)),
        platforms={},
        keys=keys,
        hash_settings=HASHES,
        stream_settings=StreamSettings(),
        fault=Fault(),
    )
    async with TestServer(app, host="127.0.0.1", port=port):
        await hire(database, await found(database, clock.now), "anna", clock.now, password_hash=PASSWORD_HASH)
        yield public_url


@pytest.fixture
async def page(address: str, tmp_path: Path) -> AsyncIterator[Page]:
    async with browse(find_browser(), tmp_path / "browser") as opened:
        await opened.tell("Page.enable")
        await opened.tell("Page.setBypassCSP", enabled=True)
        await opened.tell("Emulation.setFocusEmulationEnabled", enabled=True)
        await opened.tell("WebAuthn.enable")
        await opened.open(f"{address}/docs")
        await opened.run(PORTAL)
        yield opened


async def plug_in(page: Page, *, verifies: bool) -> str:
    """An authenticator in the machine itself, or a key on its bus that knows nobody."""
    options = {
        "protocol": "ctap2",
        "transport": "internal" if verifies else "usb",
        "hasResidentKey": verifies,
        "hasUserVerification": verifies,
        "isUserVerified": verifies,
        "automaticPresenceSimulation": True,
    }
    authenticator_id: str = (await page.tell("WebAuthn.addVirtualAuthenticator", options=options))["authenticatorId"]
    return authenticator_id


async def ask(page: Page, method: str, path: str, body: Any = None) -> dict[str, Any]:
    told: dict[str, Any] = await page.run(f"ask({json.dumps(method)}, {json.dumps(path)}, {json.dumps(body)})")
    return told


async def device(page: Page, verb: str, options: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = await page.run(f"{verb}({json.dumps(options)})")
    return given


async def sign_in(page: Page) -> dict[str, Any]:
    return await ask(page, "POST", "/sessions", {"account": "anna", "password": PASSWORD})


async def add(page: Page, label: str) -> dict[str, Any]:
    begun = await ask(page, "POST", "/security/methods/passkey", {"label": label})
    assert begun["status"] == 201, begun
    credential = await device(page, "create", begun["public_key"])
    added = await ask(page, "POST", f"/security/methods/{begun['id']}/confirm", {"credential": credential})
    assert added["status"] == 200, added
    return added


async def test_a_passkey_is_added_finishes_a_sign_in_proves_and_signs_in_alone(page: Page) -> None:
    await plug_in(page, verifies=True)
    assert (await sign_in(page))["status"] == 201

    added = await add(page, "This laptop")
    assert (added["kind"], added["signs_in_alone"]) == ("passkey", True)
    assert (await ask(page, "DELETE", "/sessions/current"))["status"] == 204

    half = await sign_in(page)
    assert (half["status"], half["methods"][0]["label"]) == (202, "This laptop")
    asked = await ask(page, "POST", "/sessions/current/passkey/options")
    assertion = await device(page, "get", asked["public_key"])
    whole = await ask(page, "POST", "/sessions/current/second-factor", {"assertion": assertion})
    assert (whole["status"], whole["session"]["strength"]) == (201, 3)

    asked = await ask(page, "POST", "/sessions/current/passkey/options")
    assertion = await device(page, "get", asked["public_key"])
    assert (await ask(page, "POST", "/sessions/current/proof", {"assertion": assertion}))["status"] == 200
    assert (await ask(page, "DELETE", "/sessions/current"))["status"] == 204

    await page.run("globalThis.csrf = null")
    asked = await ask(page, "POST", "/sessions/passkey/options")
    assertion = await device(page, "get", asked["public_key"])
    alone = await ask(page, "POST", "/sessions/passkey", {"assertion": assertion})
    assert (alone["status"], alone["session"]["strength"]) == (201, 3)
    assert alone["session"]["account"]["sign_in_name"] == "anna"
    again = await ask(page, "POST", "/sessions/passkey", {"assertion": assertion})
    assert (again["status"], again["code"]) == (401, "sign_in_failed")


async def test_a_device_is_not_asked_to_make_a_second_one(page: Page) -> None:
    await plug_in(page, verifies=True)
    await sign_in(page)
    await add(page, "This laptop")
    asked = await ask(page, "POST", "/sessions/current/passkey/options")
    assertion = await device(page, "get", asked["public_key"])
    await ask(page, "POST", "/sessions/current/proof", {"assertion": assertion})

    begun = await ask(page, "POST", "/security/methods/passkey", {"label": "Twice"})
    refused = await page.run(f"create({json.dumps(begun['public_key'])}).catch((error) => error.name)")

    assert refused == "InvalidStateError"


async def test_a_key_that_knows_nobody_is_a_second_factor_alone(page: Page) -> None:
    await plug_in(page, verifies=False)
    await sign_in(page)
    added = await add(page, "Key")
    assert added["signs_in_alone"] is False
    await ask(page, "DELETE", "/sessions/current")

    await sign_in(page)
    asked = await ask(page, "POST", "/sessions/current/passkey/options")
    assertion = await device(page, "get", asked["public_key"])
    whole = await ask(page, "POST", "/sessions/current/second-factor", {"assertion": assertion})

    assert (whole["status"], whole["session"]["strength"]) == (201, 2)
