"""Access tokens for our service account: asked for with an assertion that it signs, and shared by a whole process.

https://developers.google.com/identity/protocols/oauth2/service-account
"""

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from models.vocabulary import EPOCH, Reason, Secret
from platforms.android.settings import TOKENS, ServiceAccount
from platforms.errors import Unreachable

log = logging.getLogger("platforms.android")

SCOPE: Final = "https://www.googleapis.com/auth/androidmanagement"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

LIFE: Final = timedelta(hours=1)
"""The longest that an assertion may live."""
EARLY: Final = 240.0
"""Seconds before its end in which a token is no longer used: an order must not come with one that just ended."""
TRIES: Final = 4
PAUSES: Final = wait_random_exponential(multiplier=1.0, max=8.0)
TIMEOUT: Final = httpx.Timeout(4.0)

LONG_PAUSE: Final = timedelta(hours=1)
"""For what only an operator can mend: the account is gone, its key is another, or our clock is wrong."""
BARRED: Final = 60.0
"""Seconds for which nobody asks again after such a refusal."""
SHORT_BAR: Final = 5.0
"""After any other failure: those who waited for the same token are not sent to fail one after the other."""


class _Again(Exception):
    """This try failed in a way that the next may not."""


class Tokens:
    """The newest token of one process. Many who ask at once are one request."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        account: ServiceAccount,
        clock: Callable[[], datetime],
        pauses: wait_base = PAUSES,
    ) -> None:
        self._client = client
        self._url = url
        self._account = account
        self._key = account.load_key()
        self._clock = clock
        self._pauses = pauses
        self._asking = asyncio.Lock()
        self._token: Secret | None = None
        self._good_until = 0.0
        self._barred_until = 0.0
        self._bar_pause: timedelta | None = None

    async def get(self) -> Secret:
        """Raises Unreachable."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if self._token is not None and now < self._good_until:
                return self._token
            if now < self._barred_until:
                raise Unreachable(Reason.UNREACHABLE, pause=self._bar_pause)
            self._bar(SHORT_BAR, None)
            self._token, life = await self._ask_patiently()
            self._good_until = now + life - EARLY
            self._barred_until = 0.0
            return self._token

    def forget(self, refused: Secret) -> None:
        """It was refused. Whoever says so of an older one is too late."""
        if self._token is refused:
            self._token = None

    def _bar(self, seconds: float, pause: timedelta | None) -> None:
        self._barred_until = asyncio.get_running_loop().time() + seconds
        self._bar_pause = pause

    async def _ask_patiently(self) -> tuple[Secret, float]:
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(_Again),
                stop=stop_after_attempt(TRIES),
                wait=self._pauses,
                reraise=True,
            ):
                with attempt:
                    return self._understand(await self._post())
        except _Again:
            pass
        raise Unreachable(Reason.UNREACHABLE)

    async def _post(self) -> httpx.Response:
        form = urlencode({"grant_type": _GRANT, "assertion": self._assertion()})
        try:
            return await self._client.post(
                self._url,
                content=form.encode(),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                timeout=TIMEOUT,
            )
        except (httpx.RequestError, OSError):
            pass
        raise _Again

    def _assertion(self) -> str:
        now = int((self._clock() - EPOCH).total_seconds())
        head = {"alg": "RS256", "typ": "JWT", "kid": self._account.key_id}
        claims = {
            "iss": self._account.email,
            "scope": SCOPE,
            # Google's own address, also where a stand-in answers.
            "aud": TOKENS,
            "iat": now,
            "exp": now + int(LIFE.total_seconds()),
        }
        signed = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(claims).encode())}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_part(signature)}"

    def _understand(self, response: httpx.Response) -> tuple[Secret, float]:
        answer = _object(response)
        if response.status_code == 200:
            token, life = answer.get("access_token"), answer.get("expires_in")
            if isinstance(token, str) and token.isascii() and token.isprintable() and type(life) is int:
                return Secret(token.encode()), float(life)
            raise _Again
        if response.status_code == 429 or response.status_code >= 500:
            raise _Again
        error = answer.get("error")
        known = error if error in {"invalid_grant", "invalid_scope", "invalid_client", "unauthorized_client"} else None
        log.error("our service account is refused", extra={"status": response.status_code, "reason": known})
        self._bar(BARRED, LONG_PAUSE)
        raise Unreachable(Reason.UNREACHABLE, pause=LONG_PAUSE)


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
