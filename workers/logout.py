"""Logout tokens (OpenID Connect Back-Channel Logout 1.0): a signed word to an app that somebody's sign-in is over.

We only ever sign, by one algorithm, so the few lines of JWS (RFC 7515) that this takes are written here, over
`cryptography`. A token is made anew for each attempt: it lives for two minutes and has an id of its own.
"""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID, uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from models.signing_key import ALGORITHM
from platforms.errors import Refused, Unreachable
from workers.reach import WHOSE, Outside, Resolve, resolve
from workers.settings import Network

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LIFE: Final = timedelta(minutes=2)
PATIENCE: Final = timedelta(seconds=8)
"""For one app, from the first packet to the status: together with what comes after it, well below a job's lease."""
LONGEST_WAIT: Final = timedelta(hours=1)
"""An app may ask to be left alone for so long at most."""
ADDRESS: Final = frozenset({"not_https", "address_unreadable", "address_inside"})
"""Why nobody was asked at all."""
_PASSING: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """`sid` None: all of the person's sign-ins there."""

    client_id: str
    account_id: UUID
    sid: UUID | None
    now: datetime

    def claims(self, issuer: str) -> Mapping[str, Any]:
        issued = int(self.now.timestamp())
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": self.client_id,
            "sub": str(self.account_id),
            "iat": issued,
            "exp": issued + int(LIFE.total_seconds()),
            "jti": str(uuid4()),
            "events": {EVENT: {}},
        }
        return claims if self.sid is None else {**claims, "sid": str(self.sid)}


def sign(claims: Mapping[str, Any], kid: UUID, key: ec.EllipticCurvePrivateKey) -> str:
    header = {"alg": ALGORITHM, "typ": "logout+jwt", "kid": str(kid)}
    said = f"{_part(header)}.{_part(claims)}"
    r, s = decode_dss_signature(key.sign(said.encode(), ec.ECDSA(SHA256())))
    return f"{said}.{_text(r.to_bytes(32) + s.to_bytes(32))}"  # RFC 7518, section 3.4


def _part(value: Mapping[str, Any]) -> str:
    return _text(json.dumps(value, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class Teller:
    """Tells apps. `plain`: by http, too, where nothing is real. `meant`: networks of the house with apps in them."""

    def __init__(
        self, issuer: str, *, plain: bool = False, meant: Sequence[Network] = (), resolve: Resolve = resolve
    ) -> None:
        self._issuer = issuer
        self._plain = plain
        # An administrator says where an app is, nobody else: no redirect, no proxy of the environment leads elsewhere.
        self._client = httpx.AsyncClient(
            transport=Outside(meant, resolve),
            timeout=PATIENCE.total_seconds(),
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    async def tell(
        self, uri: str, token: LogoutToken, kid: UUID, key: ec.EllipticCurvePrivateKey, *, whose: UUID
    ) -> None:
        """Returns when the app knows. Raises Unreachable (again later) or Refused (final).

        `whose`: the organization that the app is of.
        """
        if not (self._plain or uri.startswith("https:")):
            raise Refused("not_https")
        said = {"logout_token": sign(token.claims(self._issuer), kid, key)}
        try:
            # Streamed, and the body left unread: the status says it all, and a body may be of any length.
            async with (
                asyncio.timeout(PATIENCE.total_seconds()),
                self._client.stream(
                    "POST", uri, data=said, headers={"Accept": "application/json"}, extensions={WHOSE: whose}
                ) as answer,
            ):
                status, wait = answer.status_code, answer.headers.get("Retry-After", "")
        except (httpx.TimeoutException, TimeoutError):
            raise Unreachable("timeout") from None
        except httpx.HTTPError:
            raise Unreachable("connection") from None
        except (httpx.InvalidURL, ValueError):
            # A host that no resolver could be asked for: one app's misspelling holds up no other.
            raise Refused("address_unreadable") from None
        if 200 <= status < 300:
            # The specification knows 200 and 204 alone, but whoever took it in other words would be told for a day.
            return
        if 300 <= status < 500 and status not in _PASSING:
            raise Refused(f"http_{status}")
        raise Unreachable(f"http_{status}", pause=_wait(wait))


def _wait(text: str) -> timedelta | None:
    """Seconds; a date is nobody's habit here, and counts as nothing said."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
