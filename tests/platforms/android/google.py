"""Google's discovery document and client, and an emulator for them to meet."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import googleapiclient
import httpx
from google.oauth2 import service_account
from googleapiclient.discovery import Resource, build_from_document

from platforms.android.emulator import Emulator, Phone, Road, ServiceAccount, new_service_account
from platforms.android.emulator.accounts import SCOPE
from platforms.android.emulator.http import Request, Response, listening

PROJECT = "latchkey-demo"
KEY_FILE = new_service_account(PROJECT)
ACCOUNT = ServiceAccount.from_file(KEY_FILE)
ENTERPRISE = "enterprises/LC0demo"
POLICY = f"{ENTERPRISE}/policies/default"

T = TypeVar("T")


class Clock:
    """The real one, put forward by hand: tokens are looked at by who asks the real clock."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, by: timedelta) -> None:
        self.ahead += by


@asynccontextmanager
async def emulated(*phones: Phone, seed: int = 1) -> AsyncIterator[tuple[Emulator, Clock]]:
    clock = Clock()
    emulator = Emulator(clock, [ACCOUNT], seed=seed)
    for phone in phones:
        emulator.add(phone)
    async with asyncio.timeout(30), emulator.open():
        yield emulator, clock


# What Google has written down


@cache
def discovery() -> dict[str, Any]:
    folder = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
    document: dict[str, Any] = json.loads((folder / "androidmanagement.v1.json").read_text(encoding="utf-8"))
    return document


@cache
def methods() -> dict[str, dict[str, Any]]:
    """By id, without the API's name and `enterprises.`."""
    found: dict[str, dict[str, Any]] = {}

    def walk(resource: Mapping[str, Any]) -> None:
        for method in resource.get("methods", {}).values():
            found[method["id"].removeprefix("androidmanagement.").removeprefix("enterprises.")] = method
        for below in resource.get("resources", {}).values():
            walk(below)

    walk(discovery())
    return found


def properties(schema: str) -> dict[str, Any]:
    found: dict[str, Any] = discovery()["schemas"][schema]["properties"]
    return found


def flaws(schema: Mapping[str, Any], value: Any, where: str = "") -> list[str]:
    """Where a value is not what the document says; what it does not know is a flaw too."""
    if "$ref" in schema:
        return flaws(discovery()["schemas"][schema["$ref"]], value, where)
    kind = schema.get("type")
    if kind == "any":
        return []
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": float}
    if not isinstance(value, kinds[str(kind)]) or (kind == "integer" and isinstance(value, bool)):
        return [f"{where} is no {kind}"]
    if kind == "array":
        return [flaw for place, one in enumerate(value) for flaw in flaws(schema["items"], one, f"{where}[{place}]")]
    if kind == "object":
        return _object_flaws(schema, value, where)
    return _string_flaws(schema, value, where) if kind == "string" else []


def _object_flaws(schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> list[str]:
    found = []
    for name, entry in value.items():
        known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        found += [f"{where}.{name} is unknown"] if known is None else flaws(known, entry, f"{where}.{name}")
        if entry in (None, "", [], {}, False, 0):
            found.append(f"{where}.{name} is empty, and proto3 leaves that out")
    return found


_FORMATS = {
    "google-datetime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z",
    "google-duration": r"\d+(\.\d{1,9})?s",
    "int64": r"-?\d+",
}


def _string_flaws(schema: Mapping[str, Any], value: str, where: str) -> list[str]:
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is {value}")
    if re.fullmatch(_FORMATS.get(schema.get("format", ""), r"[\s\S]*"), value) is None:
        found.append(f"{where} is not of {schema['format']}")
    return found


# Google's client


@asynccontextmanager
async def google_client(url: str, key_file: str = KEY_FILE) -> AsyncIterator[Resource]:
    info = {**json.loads(key_file), "token_uri": f"{url}/token"}
    credentials = service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])
    client = build_from_document(discovery(), credentials=credentials, client_options={"api_endpoint": url})
    try:
        yield client
    finally:
        client.close()


async def ask(call: Callable[[], T]) -> T:
    """The client blocks: in a thread of its own."""
    return await asyncio.to_thread(call)


# A client of our own making, where Google's would not say what we want to say


def assertion(claims: Mapping[str, Any], *, header: Mapping[str, Any] | None = None, key_file: str = KEY_FILE) -> str:
    from google.auth import crypt, jwt

    info = json.loads(key_file)
    signer = crypt.RSASigner.from_service_account_info(info)
    return jwt.encode(signer, dict(claims), header=dict(header or {})).decode()


def claims(url: str, now: datetime) -> dict[str, Any]:
    issued = int(now.timestamp())
    return {"iss": ACCOUNT.email, "scope": SCOPE, "aud": f"{url}/token", "iat": issued, "exp": issued + 3600}


@asynccontextmanager
async def plain_client(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    """With a token."""
    async with httpx.AsyncClient(base_url=emulator.url, trust_env=False) as client:
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
        form["assertion"] = assertion(claims(emulator.url, emulator.clock()))
        answer = await client.post("/token", data=form)
        client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


# A subscriber


class Subscriber:
    """Hears the notices. `answers` is what it says to the next ones; then 204."""

    def __init__(self) -> None:
        self.heard: list[tuple[Mapping[str, str], dict[str, Any]]] = []
        self.answers: list[int] = []

    async def _hear(self, request: Request) -> Response:
        self.heard.append((request.headers, json.loads(request.body)))
        return Response(self.answers.pop(0) if self.answers else 204)

    @asynccontextmanager
    async def listen(self, emulator: Emulator) -> AsyncIterator["Subscriber"]:
        async def transport(
            method: str, url: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, Mapping[str, str], bytes]:
            answer = await client.request(method, url, headers=dict(headers), content=body)
            return answer.status_code, answer.headers, answer.content

        async with (
            httpx.AsyncClient(trust_env=False) as client,
            listening(self._hear, 0) as port,
        ):
            emulator.road = Road(transport, f"http://127.0.0.1:{port}/notices")
            yield self
            await emulator.notices.close()

    def told(self, kind: str) -> list[dict[str, Any]]:
        """What notices of this kind were about, in the order they came."""
        import base64

        return [
            json.loads(base64.b64decode(body["message"]["data"]))
            for _, body in self.heard
            if body["message"]["attributes"]["notificationType"] == kind
        ]
