"""Short messages by a webhook: one signed POST a message, to whatever gateway the installation has.

    POST SMS_WEBHOOK_URL
    Latchkey-Id: the delivery's id, the same when it is sent again: whoever has seen it answers 2xx and sends nothing
    Latchkey-Timestamp: seconds since 1970
    Latchkey-Signature: v1=hex(HMAC-SHA256(key, timestamp "." id "." raw body))

    {"id": "…", "to": "+31…", "text": "…", "language": "nl"}

2xx: taken. 4xx: never, but for those that speak of a passing state or of our key. Anything else: again later.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import httpx

from platforms.errors import Refused, Unreachable
from workers.carriers import Parcel, SmsSettings
from workers.letters import Letters

PATIENCE: Final = timedelta(seconds=20)
LONGEST_WAIT: Final = timedelta(hours=1)
"""A gateway may ask to be left alone for so long at most."""
_PASSING: Final = frozenset({401, 403, 404, 408, 425, 429})


def signature(key: bytes, timestamp: str, delivery_id: str, body: bytes) -> str:
    return "v1=" + hmac.digest(key, f"{timestamp}.{delivery_id}.".encode() + body, hashlib.sha256).hex()


def _host_clock() -> datetime:
    # For the receiver, to refuse what is old: no rule of ours turns on it.
    return datetime.now(UTC)  # noqa: TID251


class SmsCarrier:
    def __init__(self, settings: SmsSettings, letters: Letters, clock: Callable[[], datetime] = _host_clock) -> None:
        self._settings = settings
        self._letters = letters
        self._clock = clock
        self._client = httpx.AsyncClient(timeout=PATIENCE.total_seconds(), follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def carry(self, parcel: Parcel) -> None:
        """A doubled one is the receiver's to recognize, so what may have arrived is simply sent again."""
        held, text = parcel.held, self._letters.sms(parcel)
        delivery_id, timestamp = str(held.id), str(int(self._clock().timestamp()))
        said = {"id": delivery_id, "to": parcel.to, "text": text, "language": held.language}
        body = json.dumps(said, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Latchkey-Id": delivery_id,
            "Latchkey-Timestamp": timestamp,
            "Latchkey-Signature": signature(self._settings.key.value, timestamp, delivery_id, body),
        }
        try:
            # Streamed, and the body left unread: the status says it all.
            async with self._client.stream("POST", self._settings.url, content=body, headers=headers) as answer:
                status, wait = answer.status_code, answer.headers.get("Retry-After", "")
        except httpx.TimeoutException:
            raise Unreachable("timeout") from None
        except httpx.HTTPError:
            raise Unreachable("connection") from None
        if 200 <= status < 300:
            return
        if 400 <= status < 500 and status not in _PASSING:
            raise Refused(f"http_{status}")
        raise Unreachable(f"http_{status}", pause=_wait(wait))


def _wait(text: str) -> timedelta | None:
    """Seconds; a date is nobody's habit here, and counts as nothing said."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
