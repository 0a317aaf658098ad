"""The road to the device leads through Google: the Android Management API takes an order and keeps it until it is done.

https://developers.google.com/android/management/reference/rest/v1/enterprises.devices/issueCommand

The service cannot tell two equal orders from one sent twice. So an order goes out once; where no answer comes back,
nobody knows whether it was taken, and its operation is looked for before it goes out again.
"""

import asyncio
import base64
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final
from urllib.parse import quote

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from tenacity.wait import wait_base

from models.vocabulary import Act, Reason, Secret
from platforms.android import acts, wire
from platforms.android.oauth import PAUSES, Tokens
from platforms.android.settings import AndroidSettings
from platforms.base import Command, Enrollment, Keys, Receipt, Report, Shared
from platforms.errors import Refused, Uncertain, Unreachable, Unreadable

log = logging.getLogger("platforms.android")

DEADLINE: Final = 20.0
"""Seconds for one wake, its token included: the job's lease lasts longer."""
TIMEOUT: Final = httpx.Timeout(DEADLINE, connect=5.0, pool=5.0)

MINUTE: Final = timedelta(minutes=1)
PER_PROJECT: Final = 600
PER_DEVICE: Final = 60
"""Of one kind of request."""
LOOKS: Final = 50
"""Of the project's: notices tell us for nothing, and orders come first."""

LEAST_PAUSE: Final = timedelta(seconds=60)
"""After a quota was used up; and never the same for all who wait."""
MOST_PAUSE: Final = timedelta(hours=1)
SHORT_PAUSE: Final = timedelta(seconds=5)
LONG_PAUSE: Final = timedelta(hours=1)
"""For what only an operator can mend."""
BARRED: Final = 60.0
"""Seconds without a request for an enterprise that refused us: all of its devices would be refused alike."""

NEAR: Final = timedelta(minutes=10)
"""So far from our sending may the operation lie that came of it: two clocks, and a call that hung."""
PAGE: Final = 100
MAX_PAGES: Final = 20

LEAST_KEEP: Final = timedelta(minutes=1)
MOST_KEEP: Final = timedelta(hours=24)
KEEP: Final = timedelta(hours=1)
MAX_KEYS: Final = 32


class _Loss(Enum):
    """No answer came."""

    NOT_SENT = "not_sent"
    NO_ANSWER = "no_answer"


class _NotFound(Exception):
    """Whom or what we asked for is not there."""


@asynccontextmanager
async def open_channel(
    settings: AndroidSettings, shared: Shared, *, pauses: wait_base = PAUSES
) -> AsyncIterator["AndroidChannel"]:
    verify: ssl.SSLContext | bool = True
    if settings.trusted is not None:
        verify = ssl.create_default_context(cadata=settings.trusted)
    async with httpx.AsyncClient(verify=verify, timeout=TIMEOUT, trust_env=False, follow_redirects=False) as client:
        tokens = Tokens(client, settings.token_url, settings.service_account, shared.clock, pauses)
        yield AndroidChannel(client, settings, tokens, shared)


class AndroidChannel:
    """Meets Courier and KeySource."""

    def __init__(self, client: httpx.AsyncClient, settings: AndroidSettings, tokens: Tokens, shared: Shared) -> None:
        self._client = client
        self._settings = settings
        self._tokens = tokens
        self._shared = shared
        self._barred: dict[str, float] = {}

    async def wake(self, command: Command, enrollment: Enrollment) -> Receipt | None:
        device = _address(enrollment)
        if command.act is Act.REFRESH:
            return await self._ask_after(device, command)
        planned = acts.Planned.read(command.value)
        left = None if command.expires_at is None else command.expires_at - self._shared.clock()
        if left is not None and left < 2 * acts.MARGIN:
            # What would be done now might be told too late.
            raise Unreachable(Reason.UNREACHABLE, pause=max(left, SHORT_PAUSE))
        body = acts.command(command.act, planned.passcode, left)
        await self._spend(device, str(body["type"]))
        try:
            answer = await self._ask("POST", f"{device}:issueCommand", device, wire.body(body))
            operation = wire.parse_operation(self._understand(answer, device, changes=True))
        except _NotFound:
            raise Refused(Reason.DEVICE_LEFT) from None
        except Unreadable:
            # Taken, and we do not know by what name.
            raise Uncertain(Reason.NO_ANSWER) from None
        return Receipt(operation.name)

    async def _ask_after(self, device: str, command: Command) -> Receipt:
        """No order makes a device report. That it is still there is known at once; its next report ends the job."""
        await self._spend(device, "get")
        try:
            await self._get(device, device)
        except _NotFound:
            raise Refused(Reason.DEVICE_LEFT) from None
        return Receipt(f"{device}/{acts.REPORTS}/{command.job_id}")

    async def look(self, command: Command, enrollment: Enrollment, others: frozenset[str]) -> Report | None:
        device = _address(enrollment)
        if command.act is Act.REFRESH and command.receipt is None:
            # It leaves nothing behind, and does no harm twice.
            return None
        try:
            if command.receipt is None:
                return await self._search(command, device, others)
            if command.act is Act.REFRESH:
                return Report(None, wire.parse_device(await self._peek(device, device)), receipt=command.receipt)
            return await self._operation(command.receipt, device)
        except _NotFound:
            # The device is gone, and the order's name with it.
            return Report(None, wire.Gone(), receipt=command.receipt or f"{device}/gone/{command.job_id}")
        except Unreadable:
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE) from None

    async def _operation(self, receipt: str, device: str) -> Report | None:
        """An operation that is over may be dropped: that it is not there says something only if its device is gone too.

        Raises _NotFound (the device is gone) or Unreadable.
        """
        try:
            return Report(None, wire.parse_operation(await self._peek(receipt, device)), receipt=receipt)
        except _NotFound:
            await self._peek(device, device)
        return None

    async def _search(self, command: Command, device: str, others: frozenset[str]) -> Report | None:
        """The operation that came of a call without an answer. Raises _NotFound or Unreadable."""
        sent_at = command.sent_at
        if sent_at is None:
            return None
        passcode = acts.Planned.read(command.value).passcode
        found: list[tuple[timedelta, wire.Operation]] = []
        page = ""
        for _ in range(MAX_PAGES):
            answer = await self._peek(f"{device}/operations?pageSize={PAGE}{page}", device)
            listed = answer.get("operations") if isinstance(answer, dict) else None
            for value in listed if isinstance(listed, list) else ():
                operation = wire.parse_operation(value)
                if (
                    operation.type != acts.COMMANDS[command.act]
                    or operation.name in others
                    or operation.created_at is None
                    or abs(operation.created_at - sent_at) > NEAR
                    or (passcode is not None and wire.carries_another(value, passcode))
                ):
                    continue
                found.append((abs(operation.created_at - sent_at), operation))
            following = answer.get("nextPageToken") if isinstance(answer, dict) else None
            if not isinstance(following, str) or not following:
                break
            page = f"&pageToken={quote(following, safe='')}"
        else:
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)
        if not found:
            return None
        _, nearest = min(found, key=lambda one: one[0])
        return Report(None, nearest, receipt=nearest.name)

    async def withdraw(self, command: Command, enrollment: Enrollment) -> None:
        """As far as it goes: what the device has taken already is not taken back, and nobody is told."""
        if command.receipt is None or command.act is Act.REFRESH:
            return
        device = _address(enrollment)
        await self._spend(device, "cancel")
        try:
            answer = await self._ask("POST", f"{command.receipt}:cancel", device, b"")
            self._understand(answer, device, changes=False)
        except (_NotFound, Refused, Unreadable):
            # Over, or dropped by now.
            return

    async def keys(self) -> Keys:
        """Who may sign Pub/Sub's tokens; by the one address or the other, which differ in form."""
        response = await self._fetch_keys()
        if response is None or response.status_code != 200:
            raise Unreachable(Reason.UNREACHABLE)
        signers = _signers(_json(response))
        if not signers:
            raise Unreachable(Reason.UNREACHABLE)
        return Keys(signers, _keep(response.headers.get("cache-control", "")))

    async def _fetch_keys(self) -> httpx.Response | None:
        try:
            async with asyncio.timeout(DEADLINE / 2):
                return await self._client.get(self._settings.keys_url)
        except (httpx.RequestError, OSError, TimeoutError):
            return None

    async def _spend(self, device: str, kind: str) -> None:
        """One of each quota. Raises Unreachable."""
        project = self._settings.service_account.project
        await self._take(f"android.{device}.{kind}", PER_DEVICE)
        await self._take(f"android.{project}", PER_PROJECT)

    async def _take(self, name: str, limit: int) -> None:
        wait = await self._shared.limiter.take(name, limit, MINUTE)
        if wait is not None:
            raise Unreachable(Reason.UNREACHABLE, pause=wait + _jitter(SHORT_PAUSE))

    async def _peek(self, path: str, device: str) -> Any:
        """Raises _NotFound, Unreachable."""
        await self._take(f"android.{self._settings.service_account.project}.looks", LOOKS)
        await self._spend(device, "look")
        return await self._get(path, device)

    async def _get(self, path: str, device: str) -> Any:
        """Raises _NotFound, Unreachable."""
        answer = await self._ask("GET", path, device, None)
        try:
            return self._understand(answer, device, changes=False)
        except (Refused, Unreadable):
            # No answer to a question ends an order.
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE) from None

    async def _ask(self, method: str, path: str, device: str, content: bytes | None) -> httpx.Response | _Loss:
        """With a token, and once more with a new one. Raises Unreachable: not sent, or refused both times."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._barred.get(_enterprise(device), 0.0):
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)
        until = loop.time() + DEADLINE
        for _ in range(2):
            token = await self._token(until)
            answer = await self._send(method, path, token, content, until)
            if isinstance(answer, _Loss) or answer.status_code != 401:
                return answer
            self._tokens.forget(token)
        log.error("our access token is refused", extra={"status": 401})
        raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)

    async def _token(self, until: float) -> Secret:
        try:
            async with asyncio.timeout_at(until - DEADLINE / 4):
                return await self._tokens.get()
        except TimeoutError:
            pass
        raise Unreachable(Reason.UNREACHABLE)

    async def _send(
        self, method: str, path: str, token: Secret, content: bytes | None, until: float
    ) -> httpx.Response | _Loss:
        # The client's errors hold the request, and the request holds a password: they end here.
        headers = {"Authorization": f"Bearer {token.text()}", "Accept": "application/json"}
        if content:
            headers["Content-Type"] = "application/json"
        url = f"{self._settings.api_url}/v1/{path}"
        try:
            async with asyncio.timeout_at(until):
                return await self._client.request(method, url, headers=headers, content=content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return _Loss.NOT_SENT
        except (httpx.RequestError, OSError, TimeoutError):
            return _Loss.NO_ANSWER

    def _understand(self, answer: httpx.Response | _Loss, device: str, *, changes: bool) -> Any:
        """What was answered.

        Raises Unreachable, Refused, Uncertain (where it `changes` something), Unreadable or _NotFound.
        """
        if answer is _Loss.NOT_SENT:
            raise Unreachable(Reason.UNREACHABLE)
        if isinstance(answer, _Loss):
            raise _unclear(changes)
        if answer.is_success:
            return wire.load(answer.content)
        problem = _problem(answer)
        match answer.status_code:
            case 404:
                raise _NotFound
            case 403:
                # One that is no longer ours must not halt the others.
                self._barred[_enterprise(device)] = asyncio.get_running_loop().time() + BARRED
                self._alarm("an enterprise refuses our service account", answer, problem, _enterprise(device))
                raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)
            case 409 if problem.get("status") == "ABORTED":
                raise Unreachable(Reason.UNREACHABLE, pause=SHORT_PAUSE + _jitter(SHORT_PAUSE))
            case 429:
                pause = min(max(LEAST_PAUSE, _named_pause(answer, problem, self._shared.clock())), MOST_PAUSE)
                raise Unreachable(Reason.UNREACHABLE, pause=pause + _jitter(LEAST_PAUSE / 4))
            case 408 | 500 | 502 | 503 | 504:
                raise _unclear(changes)
            case status if 400 <= status < 500 or status == 501:
                self._alarm("the service refuses what we send", answer, problem, _enterprise(device))
                raise Refused(Reason.SERVICE_REFUSED)
            case _:
                self._alarm("the service answers strangely", answer, problem, _enterprise(device))
                raise _unclear(changes)

    def _alarm(self, message: str, answer: httpx.Response, problem: Mapping[str, Any], enterprise: str) -> None:
        """What the service says in words may quote what we sent: its codes alone are told."""
        told = {name: _code(problem.get(name)) for name in ("status", "reason")}
        log.error(
            message,
            extra={"status": answer.status_code, "error": told["status"], "reason": told["reason"], "to": enterprise},
        )


def _address(enrollment: Enrollment) -> str:
    if enrollment.address is None:
        raise Refused(Reason.NOT_ENROLLED)
    return enrollment.address


def _enterprise(device: str) -> str:
    return device.partition("/devices/")[0]


def _unclear(changes: bool) -> Exception:
    return Uncertain(Reason.NO_ANSWER) if changes else Unreachable(Reason.UNREACHABLE)


def _json(response: httpx.Response) -> Any:
    try:
        return wire.load(response.content)
    except Unreadable:
        return None


def _problem(response: httpx.Response) -> dict[str, Any]:
    """`status`, `reason` and `retry` of an error, where they stand."""
    answer = _json(response)
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return {}
    found = {"status": error.get("status")}
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            found["reason"] = detail.get("reason", found.get("reason"))
            found["retry"] = detail.get("retryDelay", found.get("retry"))
    return found


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= 64 and value.replace("_", "").isalnum() else None


def _named_pause(response: httpx.Response, problem: Mapping[str, Any], now: datetime) -> timedelta:
    """The longest that is asked for; as a number of seconds, or (Retry-After alone) as a date."""
    named = [_seconds(str(problem.get("retry") or "").removesuffix("s"))]
    header = response.headers.get("retry-after", "")
    named.append(_seconds(header))
    if header and named[-1] == timedelta(0):
        named.append(_until(header, now))
    return max(named)


def _seconds(text: str) -> timedelta:
    whole = text.partition(".")[0]
    return timedelta(seconds=int(whole)) if whole.isascii() and whole.isdigit() and len(whole) < 7 else timedelta(0)


def _until(text: str, now: datetime) -> timedelta:
    try:
        at = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=now.tzinfo)
    except ValueError:
        return timedelta(0)
    return at - now


def _jitter(most: timedelta) -> timedelta:
    return timedelta(milliseconds=secrets.randbelow(int(most.total_seconds() * 1000)))


def _keep(cache_control: str) -> timedelta:
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "max-age":
            return min(max(_seconds(value), LEAST_KEEP), MOST_KEEP)
        if name in {"no-store", "no-cache"}:
            return LEAST_KEEP
    return KEEP


def _signers(value: object) -> dict[str, bytes]:
    """RSA keys alone, as PEM, by id: from a list of JWKs, or from certificates by id."""
    if not isinstance(value, dict):
        return {}
    listed = value.get("keys")
    found: dict[str, bytes] = {}
    if isinstance(listed, list):
        for key in listed[:MAX_KEYS]:
            if isinstance(key, dict) and isinstance(key.get("kid"), str):
                found[key["kid"]] = _pem_of_jwk(key)
    else:
        for signer, certificate in list(value.items())[:MAX_KEYS]:
            found[signer] = _pem_of_certificate(certificate)
    return {signer: pem for signer, pem in found.items() if pem}


def _pem_of_jwk(key: Mapping[str, Any]) -> bytes:
    if key.get("kty") != "RSA" or key.get("use", "sig") != "sig" or key.get("alg", "RS256") != "RS256":
        return b""
    try:
        numbers = RSAPublicNumbers(_number(key["e"]), _number(key["n"]))
        return _pem(numbers.public_key())
    except (KeyError, TypeError, ValueError):
        return b""


def _pem_of_certificate(certificate: object) -> bytes:
    try:
        key = x509.load_pem_x509_certificate(str(certificate).encode()).public_key()
    except ValueError:
        return b""
    return _pem(key) if isinstance(key, RSAPublicKey) else b""


def _pem(key: RSAPublicKey) -> bytes:
    if key.key_size < 2048:
        return b""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
