"""What the api process is told, once, by its main."""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from models.settings import ANSWER_FLOOR, SettingsError, throttle_key

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a JSON body; the device route has each platform's own limit."""
HEADER_LIMIT: Final = 16 * 1024
"""Bytes of one header field; a client certificate that a proxy hands on fits."""
SHUTDOWN_GRACE: Final = 5.0
"""Seconds that requests under way have to end."""


@dataclass(frozen=True, slots=True)
class CookieRules:
    """The one place where the cookie rule is relaxed: a browser keeps no `__Host-` cookie for plain-http loopback."""

    prefix: str
    secure: bool


STRICT: Final = CookieRules(prefix="__Host-", secure=True)
RELAXED: Final = CookieRules(prefix="", secure=False)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    mode: Literal["embedded", "production"]
    host: str
    port: int
    public_url: str
    """Scheme, host and port, without a slash at the end: where links lead and what Origin must be."""
    throttle_key: bytes = field(repr=False)
    trusted_proxies: tuple[Network, ...] = ()
    reuse_port: bool = False
    """Several api processes on one machine and one port."""
    cookie_rules: CookieRules = STRICT
    answer_floor: timedelta = ANSWER_FLOOR
    """No sooner is answered what must not tell by its time whether an account is there."""

    @property
    def production(self) -> bool:
        return self.mode == "production"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Raises SettingsError, which names the variable and never its value."""
        mode = environ.get("MODE", "production")
        if mode not in {"embedded", "production"}:
            raise SettingsError("MODE must be embedded or production")
        host = environ.get("HOST") or "127.0.0.1"
        port = _port(environ.get("PORT") or "8080")
        public_url = _public_url(environ.get("PUBLIC_URL") or ("" if mode == "production" else f"http://{host}:{port}"))
        plain = public_url.startswith("http:")
        if mode == "production":
            _refuse_in_production(environ, plain=plain)
        elif plain and not _is_loopback(public_url):
            raise SettingsError("PUBLIC_URL may be plain http on loopback alone")
        return cls(
            mode="production" if mode == "production" else "embedded",
            host=host,
            port=port,
            public_url=public_url,
            throttle_key=_throttle_key(environ, production=mode == "production"),
            trusted_proxies=_networks(environ.get("TRUSTED_PROXIES", "")),
            reuse_port=environ.get("REUSE_PORT") == "1",
            cookie_rules=RELAXED if plain else STRICT,
        )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 65_535):
        raise SettingsError("PORT must be a number up to 65535")
    return int(text)


def _public_url(text: str) -> str:
    url = urlsplit(text)
    if (
        url.scheme not in {"http", "https"}
        or not url.hostname
        or url.query
        or url.fragment
        or url.path not in {"", "/"}
    ):
        raise SettingsError("PUBLIC_URL must be https://host[:port] and nothing behind it")
    if url.username is not None:
        raise SettingsError("PUBLIC_URL must not hold a name or a password")
    return f"{url.scheme}://{url.netloc.lower()}"


def _is_loopback(public_url: str) -> bool:
    host = urlsplit(public_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse_in_production(environ: Mapping[str, str], *, plain: bool) -> None:
    if plain:
        raise SettingsError("PUBLIC_URL must be https in production")
    for part in environ.get("SEAL_KEYS", "").split(","):
        _refuse_poor_key(part)
    for variable in ("CLOCK_OFFSET_FILE", "FAULT_AT"):
        if environ.get(variable):
            raise SettingsError(f"{variable} is for MODE=embedded alone")


def _refuse_poor_key(part: str) -> None:
    try:
        key = base64.b64decode(part.partition(":")[2], validate=True)
    except ValueError:  # not base64, or not even ASCII
        key = b""
    if len(key) != 32:
        raise SettingsError("SEAL_KEYS must be id:base64-of-32-bytes, with commas between them")
    if len(set(key)) < 8:
        raise SettingsError("SEAL_KEYS holds a key that is not random")


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError("TRUSTED_PROXIES must be addresses or networks, with commas between them") from None


def _throttle_key(environ: Mapping[str, str], *, production: bool) -> bytes:
    key = throttle_key(environ).value
    if production and len(set(key)) < 8:
        raise SettingsError("THROTTLE_KEY is not random")
    return key
