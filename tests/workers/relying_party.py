"""An app of somebody else's, as an app should be: it believes a logout token only for its signature and every claim."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer

ISSUER = "https://latchkey.test"
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""Where it stands: a network that is meant."""
EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass
class RelyingParty:
    """`answers`: statuses of the next answers, 200 when none is left; `keys`: what the JWKS address gave it."""

    client_id: str
    keys: list[Mapping[str, Any]] = field(default_factory=list)
    uri: str = ""
    issuer: str = ISSUER
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    heard: list[str] = field(default_factory=list)
    """Tokens, as they came."""
    elsewhere: int = 0
    """Requests to another address than the one that was registered."""

    async def backchannel_logout(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-www-form-urlencoded"
        form = await request.post()
        assert list(form) == ["logout_token"]
        self.heard.append(str(form["logout_token"]))
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers=self.headers, body=self.body)

    async def other(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response()

    def claims(self, token: str, now: datetime) -> dict[str, Any]:
        """Checked as section 2.6 of the specification says. Raises jwt.InvalidTokenError."""
        header = jwt.get_unverified_header(token)
        assert header["typ"] == "logout+jwt"
        (key,) = [one for one in self.keys if one["kid"] == header["kid"]]
        claims: dict[str, Any] = jwt.decode(
            token,
            jwt.PyJWK(dict(key)),
            algorithms=["ES256"],
            audience=self.client_id,
            issuer=self.issuer,
            options={
                "require": ["iss", "aud", "iat", "exp", "jti", "events"],
                # The tests' clock is set by hand.
                "verify_exp": False,
                "verify_iat": False,
            },
        )
        assert claims["iat"] <= now.timestamp() < claims["exp"] <= claims["iat"] + 120
        assert claims["events"] == {EVENT: {}}
        assert "sub" in claims or "sid" in claims
        assert "nonce" not in claims
        return claims


@asynccontextmanager
async def serving(*parties: RelyingParty) -> AsyncIterator[None]:
    app = web.Application()
    for party in parties:
        app.router.add_post(f"/{party.client_id}/logout", party.backchannel_logout)
        app.router.add_route("*", f"/{party.client_id}/elsewhere", party.other)
    async with TestServer(app) as server:
        for party in parties:
            party.uri = str(server.make_url(f"/{party.client_id}/logout"))
        yield
