"""The road to a Windows phone: the Windows Push Notification Services. A raw notification only says "call us".

https://learn.microsoft.com/windows/uwp/launch-resume/push-notification-service-request-and-response-headers
https://learn.microsoft.com/windows/client-management/push-notification-windows-mdm
"""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from models.vocabulary import Reason, Secret
from platforms.base import Command, Enrollment
from platforms.errors import Refused, Unreachable
from platforms.settings import is_production, needed, trusted, url

log = logging.getLogger("platforms.wns")

TOKEN_URL: Final = "https://login.live.com/accesstoken.srf"
SCOPE: Final = "notify.windows.com"
_MICROSOFTS: Final = re.compile(r"([a-z0-9-]+\.)+notify\.windows\.com(:443)?")
"""Every channel lives on a host below this one. Spelled plainly: readers of addresses differ about the rest."""
LONGEST_CHANNEL: Final = 1024

DEADLINE: Final = 9.0
"""Seconds for one wake with all its tries: the job's lease lasts longer, and the sweep comes again anyway."""
TRIES: Final = 4
PAUSES: Final = wait_random_exponential(multiplier=0.2, max=2.0)
"""Jitter, so that after an outage not every worker comes back in the same instant."""
TIMEOUT: Final = httpx.Timeout(4.0, connect=3.0)
CONNECTIONS: Final = 32
LIFE: Final = timedelta(days=1)
"""How long the service keeps the call for a phone that is switched off; by then it calls by its own schedule."""
CALL: Final = b"call"
"""What is in it does not matter, only that something is."""

EARLY: Final = timedelta(minutes=10)
"""A token is renewed this long before it ends, while the old one still serves if the new one is late."""
LONGEST_TOKEN: Final = timedelta(days=1)
"""What the service grants; a longer word is not believed."""
LARGEST_ANSWER: Final = 64 * 1024

SHORT_PAUSE: Final = timedelta(minutes=1)
LONG_PAUSE: Final = timedelta(hours=1)
"""For what only an operator can mend."""
BARRED: Final = timedelta(minutes=1)
"""Without any call after the service refused our name or secret: everything else would be refused as well."""


@dataclass(frozen=True, slots=True)
class WnsSettings:
    """One app of the store, in whose name phones are called; both generations of phones may share it."""

    package_sid: str
    secret: Secret
    pfn: str
    """The package family name: a phone opens its channel for it."""
    token_url: str = TOKEN_URL
    stand_in: str | None = None
    """Embedded mode alone: where the simulated service is, instead of Microsoft's."""
    ca: str | None = field(default=None, repr=False)
    """Whom to trust there; None: whom this machine trusts."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], stand_in: str) -> Self | None:
        """`stand_in` is the variable that names the simulated service. None: phones are never called, they call.

        Raises ValueError that names the variable, never its value.
        """
        if not environ.get("WNS_PACKAGE_SID"):
            return None
        address = environ.get(stand_in) or None
        if address is not None and is_production(environ):
            raise ValueError(f"{stand_in} is for MODE=embedded alone: channels lead to Microsoft's service")
        if address is not None and url(stand_in, address).scheme != "https":
            raise ValueError(f"{stand_in} must begin with https://")
        if address is None and not is_production(environ):
            raise ValueError(f"{stand_in} is missing")
        address = None if address is None else address.rstrip("/")
        return cls(
            package_sid=needed(environ, "WNS_PACKAGE_SID").strip(),
            secret=Secret(needed(environ, "WNS_SECRET").strip().encode()),
            pfn=needed(environ, "WNS_PFN").strip(),
            token_url=TOKEN_URL if address is None else f"{address}/accesstoken.srf",
            stand_in=address,
            ca=trusted(environ, "WNS_CA"),
        )

    def accepts(self, channel: str) -> bool:
        """Our token goes only where a channel can be: the address comes from a device, and a device may lie."""
        if len(channel) > LONGEST_CHANNEL or not channel.isascii() or not channel.isprintable() or " " in channel:
            return False
        try:
            parts = urlsplit(channel)
        except ValueError:
            return False
        if parts.scheme != "https":
            return False
        if self.stand_in is not None:
            return f"https://{parts.netloc}" == self.stand_in
        return _MICROSOFTS.fullmatch(parts.netloc.lower()) is not None


class _Again(Exception):
    """This try failed in a way that the next may not. `pause` as the service named it."""

    def __init__(self, pause: timedelta | None = None) -> None:
        super().__init__()
        self.pause = pause


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: datetime
    ends_at: datetime


ChannelOf = Callable[[Enrollment], str | None]
"""Where a phone is called, if it told us."""


@asynccontextmanager
async def open_channel(
    settings: WnsSettings | None, channel_of: ChannelOf, *, clock: Callable[[], datetime], pauses: wait_base = PAUSES
) -> AsyncIterator["WnsChannel"]:
    """One pool of connections, shared by all wakes of this loop. `settings` None: nobody is ever called."""
    async with httpx.AsyncClient(
        verify=ssl.create_default_context(cadata=None if settings is None else settings.ca),
        timeout=TIMEOUT,
        limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=60.0),
        # An answer that sends us elsewhere would send our token there.
        follow_redirects=False,
        trust_env=False,
    ) as client:
        tokens = None if settings is None else Tokens(client, settings, clock)
        yield WnsChannel(client, settings, tokens, channel_of, clock, pauses)


class Tokens:
    """The right to call, by client credentials (RFC 6749 section 4.4): asked for once, however many wait for it."""

    def __init__(self, client: httpx.AsyncClient, settings: WnsSettings, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._token: _Token | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Raises _Again or Unreachable."""
        token = self._token
        if token is not None and self._clock() < token.renew_at:
            return token.value
        async with self._lock:
            token, now = self._token, self._clock()
            if token is not None and now < token.renew_at:
                return token.value  # somebody before us in the line has asked
            try:
                self._token = await self._ask(now)
            except (_Again, Unreachable):
                if token is None or now >= token.ends_at:
                    raise
                self._token = _Token(token.value, min(now + SHORT_PAUSE, token.ends_at), token.ends_at)
            return self._token.value

    def drop(self, value: str) -> None:
        """The service takes it no more. Not if a newer one is here by now."""
        if self._token is not None and self._token.value == value:
            self._token = None

    async def _ask(self, now: datetime) -> _Token:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.package_sid,
            "client_secret": self._settings.secret.text(),
            "scope": SCOPE,
        }
        try:
            response = await self._client.post(self._settings.token_url, data=form)
        except (httpx.TransportError, OSError, ssl.SSLError):
            raise _Again from None
        if response.status_code >= 500 or response.status_code == 429:
            raise _Again(_retry_after(response))
        granted = _json(response) if response.status_code == 200 else {}
        value, seconds = granted.get("access_token"), granted.get("expires_in", LONGEST_TOKEN.total_seconds())
        seconds = int(seconds) if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() else seconds
        if not isinstance(value, str) or not _sendable(value) or not isinstance(seconds, int | float) or seconds <= 0:
            log.error("the push service's sign-in refuses us", extra={"status": response.status_code})
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)
        life = min(timedelta(seconds=min(seconds, LONGEST_TOKEN.total_seconds())), LONGEST_TOKEN)
        # Of a short life, half: a token that is renewed at once would be asked for again and again.
        return _Token(value, now + max(life - EARLY, life / 2), now + life)


class WnsChannel:
    """Meets Channel."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        settings: WnsSettings | None,
        tokens: Tokens | None,
        channel_of: ChannelOf,
        clock: Callable[[], datetime],
        pauses: wait_base,
    ) -> None:
        self._client = client
        self._settings = settings
        self._tokens = tokens
        self._channel_of = channel_of
        self._clock = clock
        self._pauses = pauses
        self._barred_until: datetime | None = None

    async def wake(self, command: Command, enrollment: Enrollment) -> None:
        """Taken is not delivered: the order stays waiting until the phone calls, so there is no receipt for it."""
        address = self._channel_of(enrollment)
        if self._settings is None or self._tokens is None or address is None or not self._settings.accepts(address):
            # Its own schedule brings it here.
            raise Unreachable(Reason.UNREACHABLE, until_it_calls=True)
        if self._barred_until is not None and self._clock() < self._barred_until:
            raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)
        try:
            async with asyncio.timeout(DEADLINE):
                await self._call(address, self._tokens)
        except TimeoutError:
            raise Unreachable(Reason.UNREACHABLE) from None

    async def _call(self, address: str, tokens: Tokens) -> None:
        """Tries again at once where that may help: calls to one phone fall together, so one too many does no harm."""
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again),
                stop=stop_after_attempt(TRIES),
                wait=self._pauses,
                reraise=True,
            ):
                with attempt:
                    token = await self._right(tokens)
                    response = await self._post(address, token)
                    if response.status_code == 401:
                        tokens.drop(token)
                        response = await self._post(address, await self._right(tokens))
                    self._understand(response)
        except _Again as last:
            raise Unreachable(Reason.UNREACHABLE, pause=last.pause) from None

    async def _right(self, tokens: Tokens) -> str:
        try:
            return await tokens.get()
        except Unreachable:
            self._bar()
            raise

    async def _post(self, address: str, token: str) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/octet-stream",
            "X-WNS-Type": "wns/raw",
            "X-WNS-Cache-Policy": "cache",
            "X-WNS-TTL": str(int(LIFE.total_seconds())),
            "X-WNS-RequestForStatus": "true",
        }
        try:
            return await self._client.post(address, content=CALL, headers=headers)
        except (httpx.TransportError, httpx.InvalidURL, OSError, ssl.SSLError):
            raise _Again from None

    def _understand(self, response: httpx.Response) -> None:
        match response.status_code:
            case 200 if response.headers.get("x-wns-notificationstatus", "").lower() == "channelthrottled":
                raise Unreachable(Reason.UNREACHABLE, pause=_retry_after(response) or SHORT_PAUSE)
            case 200:
                # "dropped" too: the phone will not be called now, and calls by its own schedule.
                return
            case 404 | 410:
                # The channel is over. The phone tells its new one when it calls.
                raise Unreachable(Reason.PUSH_REFUSED, until_it_calls=True)
            case 406 | 429:
                raise Unreachable(Reason.UNREACHABLE, pause=_retry_after(response) or SHORT_PAUSE)
            case 413:
                raise Refused(Reason.PUSH_REFUSED)
            case 401:
                # Twice, the second time with a token of this minute.
                self._bar()
                self._alarm("the push service refuses our right to call", response)
            case status if status >= 500:
                raise _Again(_retry_after(response))
            case _:
                # Another app's channel (403), or something that we send: this phone's matter, or an operator's.
                self._alarm("the push service refuses what we send", response)
        raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)

    def _bar(self) -> None:
        self._barred_until = self._clock() + BARRED

    def _alarm(self, message: str, response: httpx.Response) -> None:
        """Never the service's own text: it may quote the channel."""
        log.error(message, extra={"status": response.status_code})


def _json(response: httpx.Response) -> dict[str, Any]:
    if len(response.content) > LARGEST_ANSWER:
        return {}
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _sendable(token: str) -> bool:
    """As a header may carry it."""
    return 0 < len(token) <= 8192 and token.isascii() and token.isprintable() and " " not in token


def _retry_after(response: httpx.Response) -> timedelta | None:
    value = response.headers.get("retry-after", "")
    return timedelta(seconds=min(int(value), 3600)) if value.isascii() and value.isdigit() and len(value) < 6 else None
