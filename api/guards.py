"""Who may pass, and from where they come: sessions, CSRF, floods. Every route names one guard."""

import base64
import contextlib
import functools
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from api.call import CookieName, Needs
from api.settings import ApiSettings, Network
from models import role, session
from models.errors import (
    Busy,
    CsrfRefused,
    NotAllowed,
    NotAtHome,
    NotSignedIn,
    PasswordChangeRequired,
    SecondFactorRequired,
    TermsRequired,
)
from models.session import SessionState, Who
from workers.queue import Limit, QueueDoor, QueueDown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST_TOKEN: Final = 128


class Guard(StrEnum):
    OPEN = "open"
    """Everybody; whoever is signed in is not looked up."""
    MAYBE_SIGNED_IN = "maybe_signed_in"
    """Everybody; a living session counts. Of a dead one the token is handed on, and nobody is signed in."""
    SIGNED_IN = "signed_in"
    AT_HOME = "at_home"
    """A finished sign-in in the organization that owns the account, and keeps what belongs to the account itself."""
    MAY_OWE_PASSWORD = "may_owe_password"
    """At home, a finished sign-in, or one that waits for nothing but a new password."""
    MAY_OWE_TERMS = "may_owe_terms"
    """A finished sign-in, or one that waits for nothing but an answer to terms of use."""
    HALF_SIGNED_IN = "half_signed_in"
    """A finished sign-in, or one that waits for its second factor, a new password or an answer to terms."""
    ADMINISTRATOR = "administrator"
    """Whoever has a role by which they may act on anybody; on whom, and how, the operation decides."""
    DIRECTORY = "directory"
    """Whoever has a role by which they may look accounts up."""
    OPERATOR = "operator"
    OVERSEER = "overseer"
    """An operator, or whoever has a role by which they may act on anybody; on whom, the operation decides."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The token that a request carries. Bearer wins over a cookie."""

    token: str = field(repr=False)
    by_cookie: bool

    @property
    def token_hash(self) -> bytes:
        return session.hash_token(self.token)


def _is_token(text: str) -> bool:
    return 0 < len(text) <= LONGEST_TOKEN and text.isascii()


def cookie(headers: Mapping[str, str], name: CookieName, settings: ApiSettings) -> str | None:
    """One cookie's value. No general cookie grammar: ours are plain, and others' are none of our business."""
    header = headers.get("Cookie")
    if header is None:
        return None
    wanted = settings.cookie_rules.prefix + name
    for part in header.split(";"):
        found, _, value = part.strip().partition("=")
        if found == wanted and _is_token(value):
            return value
    return None


def _bearer(headers: Mapping[str, str]) -> str | None:
    authorization = headers.get("Authorization")
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and _is_token(token) else None


def credentials(headers: Mapping[str, str], settings: ApiSettings) -> Credentials | None:
    token = _bearer(headers)
    if token is not None:
        return Credentials(token, by_cookie=False)
    value = cookie(headers, CookieName.SESSION, settings)
    return None if value is None else Credentials(value, by_cookie=True)


def recovery_token(headers: Mapping[str, str], settings: ApiSettings) -> str | None:
    """Of a way back in: a browser sends it in a cookie that comes with requests of our own pages alone."""
    return _bearer(headers) or cookie(headers, CookieName.RECOVERY, settings)


def csrf_token(token: str) -> str:
    """Bound to the session by being made from its token, which a page cannot read from its cookie."""
    mac = hmac.digest(token.encode(), b"latchkey/csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def check_origin(headers: Mapping[str, str], settings: ApiSettings) -> None:
    """A browser says where an unsafe request comes from: it must be here. Raises CsrfRefused."""
    origin = headers.get("Origin")
    if origin is not None and origin != settings.public_url:
        raise CsrfRefused
    if headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise CsrfRefused


def check_csrf(headers: Mapping[str, str], token: str, settings: ApiSettings) -> None:
    """Of an unsafe request whose session is in a cookie: it must say its origin, and know the session's own token."""
    if headers.get("Origin") != settings.public_url:
        raise CsrfRefused
    shown = headers.get("X-CSRF-Token", "")
    if not shown.isascii() or not hmac.compare_digest(shown, csrf_token(token)):
        raise CsrfRefused


async def identify(guard: Guard, headers: Mapping[str, str], needs: Needs) -> tuple[Who | None, Credentials | None]:
    """Who asks (None: nobody is signed in), and with what. Whether they may pass is `pass_guard`'s to say."""
    given = None if guard is Guard.OPEN else credentials(headers, needs.settings)
    return (None if given is None else await _resolve(given, needs)), given


def pass_guard(
    guard: Guard,
    method: str,
    headers: Mapping[str, str],
    who: Who | None,
    given: Credentials | None,
    settings: ApiSettings,
) -> None:
    """Raises what the guard refuses with."""
    unsafe = method not in SAFE
    bearer = given is not None and not given.by_cookie
    if unsafe and not bearer:
        check_origin(headers, settings)
    if who is None or given is None:
        if guard in {Guard.OPEN, Guard.MAYBE_SIGNED_IN}:
            return
        raise NotSignedIn
    if unsafe and given.by_cookie:
        check_csrf(headers, given.token, settings)
    _admit(guard, who)


async def _resolve(given: Credentials, needs: Needs) -> Who | None:
    async with needs.database.read() as tx:
        found = await session.resolve(tx, given.token_hash)
    if found is None:
        return None
    who, now = found
    if session.needs_touch(who.session, now):
        async with needs.database.write() as tx:
            await session.touch(tx, who.session, who.session_life, now)
    return who


def _admit(guard: Guard, who: Who) -> None:
    unfinished = {Guard.HALF_SIGNED_IN, Guard.MAYBE_SIGNED_IN}
    if who.session.state is SessionState.SECOND_FACTOR and guard not in unfinished:
        raise SecondFactorRequired
    if who.session.state is SessionState.MUST_CHANGE_PASSWORD and guard not in {*unfinished, Guard.MAY_OWE_PASSWORD}:
        raise PasswordChangeRequired
    if who.session.state is SessionState.TERMS_REQUIRED and guard not in {*unfinished, Guard.MAY_OWE_TERMS}:
        raise TermsRequired
    if guard in {Guard.AT_HOME, Guard.MAY_OWE_PASSWORD} and not who.is_at_home:
        raise NotAtHome(home_id=who.home_id)
    if guard is Guard.ADMINISTRATOR and not role.holds(who.roles, role.ACTORS):
        raise NotAllowed
    if guard is Guard.DIRECTORY and not role.holds(who.roles, role.READERS):
        raise NotAllowed
    if guard is Guard.OPERATOR and not who.is_operator:
        raise NotAllowed
    if guard is Guard.OVERSEER and not (who.is_operator or role.holds(who.roles, role.ACTORS)):
        raise NotAllowed


# Where a request comes from


def address(peer: str | None, forwarded: str | None, proxies: tuple[Network, ...]) -> Address | None:
    """The nearest hop that is no proxy of ours. What stands left of it could be anybody's invention."""
    here = _parsed(peer or "")
    if here is None or not _trusted(here, proxies):
        return here
    for hop in reversed((forwarded or "").split(",")):
        said = _parsed(hop.strip())
        if said is None:
            break
        here = said
        if not _trusted(said, proxies):
            break
    return here


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if found.version == 6 else None
    return found if mapped is None else mapped


def _trusted(here: Address, proxies: tuple[Network, ...]) -> bool:
    return any(here in network for network in proxies)


def is_trusted(peer: str | None, proxies: tuple[Network, ...]) -> bool:
    here = _parsed(peer or "")
    return here is not None and _trusted(here, proxies)


def group_of(here: Address | None) -> str:
    """What floods are counted by: one subscriber has a whole /64, and often shares a /24."""
    if here is None:
        return "unknown"
    return str(ipaddress.ip_network((here, 24 if here.version == 4 else 64), strict=False))


# Floods


@dataclass(frozen=True, slots=True)
class Flood:
    """So many failures from one group of addresses in a window."""

    name: str
    limit: int
    window: timedelta


SIGN_IN_FLOODS: Final = (
    Flood("sign_in_5m", 10, timedelta(minutes=5)),
    Flood("sign_in_1h", 50, timedelta(hours=1)),
)
SECOND_FACTOR_FLOODS: Final = (
    Flood("second_factor_5m", 10, timedelta(minutes=5)),
    Flood("second_factor_1h", 50, timedelta(hours=1)),
)
RECOVERY_FLOODS: Final = (Flood("recovery_1h", 20, timedelta(hours=1)),)


PASSKEY_FLOODS: Final = (Flood("passkey_5m", 300, timedelta(minutes=5)),)
"""Challenges for whoever is not signed in: a page asks for one each time it is opened, so this is no count of failures.
It bounds the rows that one neighbourhood can make."""


class Flooded(Exception):
    """`began`: this one is the first that the window refuses. Whoever counts makes it TooManyTries."""

    def __init__(self, flood: Flood, *, began: bool) -> None:
        super().__init__(flood.name)
        self.flood = flood
        self.began = began


async def count_floods(door: QueueDoor, floods: tuple[Flood, ...], group: str, *, signed_in: bool) -> None:
    """Count before anything is verified. Raises Flooded; without Redis, Busy for whoever is not signed in."""
    try:
        over = await door.count([Limit(f"{one.name}:{group}", one.window, one.limit) for one in floods])
    except QueueDown:
        if not signed_in:
            raise Busy from None
        return
    if over is not None:
        place, count = over
        raise Flooded(floods[place], began=count == floods[place].limit + 1)


async def forgive(door: QueueDoor, floods: tuple[Flood, ...], group: str) -> None:
    """It was no failure: what was counted for it is taken back."""
    with contextlib.suppress(QueueDown):
        await door.uncount([f"{flood.name}:{group}" for flood in floods])
