"""The road to the device: Apple's push service, HTTP/2 with the push certificate. A push only says "call us".

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
"""

import asyncio
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from models.vocabulary import Reason
from platforms.base import Command, Enrollment
from platforms.errors import Refused, Unreachable
from platforms.ios.memory import Memory, milliseconds
from platforms.ios.settings import IosSettings

log = logging.getLogger("platforms.ios")

DEADLINE: Final = 9.0
"""Seconds for one wake with all its tries: the job's lease lasts longer, and the sweep comes again anyway."""
TRIES: Final = 4
PAUSES: Final = wait_random_exponential(multiplier=0.2, max=2.0)
"""Jitter, so that after an outage not every worker comes back in the same instant."""
TIMEOUT: Final = httpx.Timeout(4.0, connect=3.0)
LIFE: Final = timedelta(days=7)
"""How long the push service keeps a push for a device that is switched off; a later wake replaces it."""

SOON: Final = timedelta(days=30)
"""So long before its end the push certificate is spoken of: renewing it takes people, and a day too late ends every
bond."""
REMINDER: Final = timedelta(days=1)

SHORT_PAUSE: Final = timedelta(minutes=1)
LONG_PAUSE: Final = timedelta(hours=1)
"""For what only an operator can mend."""
BARRED: Final = 60.0
"""Seconds without any push after the service refused our certificate: everything else would be refused as well."""


class _Again(Exception):
    """This try failed in a way that the next may not. `pause` as the service named it."""

    def __init__(self, pause: timedelta | None = None) -> None:
        super().__init__()
        self.pause = pause


@asynccontextmanager
async def open_channel(
    settings: IosSettings, *, clock: Callable[[], datetime], pauses: wait_base = PAUSES
) -> AsyncIterator["PushChannel"]:
    """One connection, kept and shared by all wakes of this loop."""
    async with httpx.AsyncClient(
        base_url=settings.push_url,
        verify=_tls(settings),
        http1=False,
        http2=True,
        timeout=TIMEOUT,
        # A second one, for the moment in which the first is told to go away.
        limits=httpx.Limits(max_connections=2, keepalive_expiry=600.0),
        trust_env=False,
    ) as client:
        yield PushChannel(client, settings, clock, pauses)


class PushChannel:
    """Meets Channel."""

    def __init__(
        self, client: httpx.AsyncClient, settings: IosSettings, clock: Callable[[], datetime], pauses: wait_base
    ) -> None:
        self._client = client
        self._topic = settings.topic
        self._ends_at = settings.push_certificate_ends_at
        self._reminded_at: datetime | None = None
        self._clock = clock
        self._pauses = pauses
        self._barred_until = 0.0

    async def wake(self, command: Command, enrollment: Enrollment) -> None:
        """Accepted is not delivered: the order stays waiting until the device calls, so there is no receipt for it."""
        memory = Memory.read(enrollment.memory)
        if memory.token is None or memory.push_magic is None:
            raise Unreachable(Reason.UNREACHABLE, until_it_calls=True)
        self._remind()
        if asyncio.get_running_loop().time() < self._barred_until:
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)
        try:
            async with asyncio.timeout(DEADLINE):
                await self._push(memory.token, memory.push_magic, memory.token_at)
        except TimeoutError:
            raise Unreachable(Reason.UNREACHABLE) from None

    def _remind(self) -> None:
        now = self._clock()
        if self._ends_at - now > SOON or (self._reminded_at is not None and now - self._reminded_at < REMINDER):
            return
        self._reminded_at = now
        # A new topic would mean enrolling every device anew.
        log.warning(
            "the push certificate ends soon: renew it, under the same account",
            extra={"ends_at": self._ends_at.isoformat(timespec="seconds")},
        )

    async def _push(self, token: bytes, push_magic: str, token_at: int) -> None:
        """Tries again at once where that may help: pushes to one device fall together, so one too many does no harm."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again),
                stop=stop_after_attempt(TRIES),
                wait=self._pauses,
                reraise=True,
            ):
                with attempt:
                    self._understand(await self._post(token, push_magic), token_at)
        except _Again as last:
            raise Unreachable(Reason.UNREACHABLE, pause=last.pause) from None

    async def _post(self, token: bytes, push_magic: str) -> httpx.Response:
        headers = {
            "apns-topic": self._topic,
            "apns-push-type": "mdm",
            "apns-priority": "10",
            "apns-expiration": str(milliseconds(self._clock() + LIFE) // 1000),
        }
        try:
            return await self._client.post(
                f"/3/device/{token.hex()}", content=json.dumps({"mdm": push_magic}).encode(), headers=headers
            )
        except (httpx.TransportError, OSError, ssl.SSLError):
            # Also what a GOAWAY leaves behind: what was not answered is sent again on a new connection.
            raise _Again from None

    def _understand(self, response: httpx.Response, token_at: int) -> None:
        problem = {} if response.status_code == 200 else _problem(response)
        match response.status_code:
            case 200:
                return
            case 410 if _later(problem.get("timestamp"), token_at):
                raise Unreachable(Reason.PUSH_REFUSED, until_it_calls=True)
            case 410:
                # The answer is older than the token we have by now.
                raise Unreachable(Reason.UNREACHABLE, pause=SHORT_PAUSE)
            case 413:
                raise Refused(Reason.PUSH_REFUSED)
            case 429:
                raise Unreachable(Reason.UNREACHABLE, pause=_retry_after(response) or SHORT_PAUSE)
            case 403:
                self._barred_until = asyncio.get_running_loop().time() + BARRED
                self._alarm("the push service refuses our certificate", response, problem)
            case status if status >= 500:
                raise _Again(_retry_after(response))
            case _:
                # Our settings or a mix of environments: a wrong switch must not cost every device its token.
                self._alarm("the push service refuses what we send", response, problem)
        raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)

    def _alarm(self, message: str, response: httpx.Response, problem: dict[str, Any]) -> None:
        reason = problem.get("reason")
        known = reason if isinstance(reason, str) and reason.isalnum() and len(reason) <= 64 else None
        log.error(message, extra={"status": response.status_code, "reason": known})


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _later(timestamp: object, token_at: int) -> bool:
    return type(timestamp) is int and timestamp > token_at


def _retry_after(response: httpx.Response) -> timedelta | None:
    value = response.headers.get("retry-after", "")
    return timedelta(seconds=min(int(value), 3600)) if value.isascii() and value.isdigit() and len(value) < 6 else None


def _tls(settings: IosSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=settings.push_ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads a certificate and its key from files alone; this one is ours only, and gone at once.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(settings.push_key.value + b"\n" + settings.push_certificate.encode())
        file.flush()
        context.load_cert_chain(file.name)
    return context
