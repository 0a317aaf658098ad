"""What a handler is given and what it gives back: plain values, so that no handler knows the web framework."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar
from uuid import UUID

import msgspec

from api.settings import ApiSettings
from models.database import Database
from models.errors import NotFound, PreconditionRequired
from models.event import Actor
from models.fault import Fault
from models.session import Who
from models.vocabulary import PlatformName
from platforms.base import PlatformHandler
from workers.queue import QueueDoor

if TYPE_CHECKING:
    from api.openapi import Documents
    from api.operations.health import Readiness
    from api.passwords import Hasher
    from api.pictures import Pictures
    from api.signers import Signers
    from api.stream import Streams
    from api.texts import Texts
    from models.sealed import Keyring

Body = TypeVar("Body")
Query = TypeVar("Query")


@dataclass(frozen=True, slots=True)
class Needs:
    """What this process holds open; made once, in app.py."""

    settings: ApiSettings
    database: Database
    keys: "Keyring"
    platforms: Mapping[PlatformName, PlatformHandler]
    door: QueueDoor
    hasher: "Hasher"
    pictures: "Pictures"
    streams: "Streams"
    texts: "Texts"
    throttle_key: bytes = field(repr=False)
    """Makes the counters of typed sign-in names unreadable (models/throttle.py)."""
    documents: "Documents"
    signers: "Signers"
    """Who may sign what is sent in a device's name."""
    readiness: "Readiness"
    fault: Fault = field(default_factory=Fault)


@dataclass(frozen=True, slots=True)
class Call(Generic[Body, Query]):
    """One request that passed its guard. `Call[None, None]`: neither body nor query parameters."""

    needs: Needs
    actor: Actor
    """Who acts, from where; goes into every record."""
    body: Body
    query: Query
    path: Mapping[str, str] = field(default_factory=dict)
    who: Who | None = None
    token: str | None = field(default=None, repr=False)
    """As the client sent it: what is its session's own is derived from it. It may be a dead session's."""
    idempotency_key: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    last_event_id: str | None = None
    re_sign_in_token: str | None = field(default=None, repr=False)
    """From the window's own cookie."""
    recovery_token: str | None = field(default=None, repr=False)
    """Of a way back in: as Bearer, or from its own cookie."""
    browser_token: str | None = field(default=None, repr=False)
    """From the cookie that outlives sessions."""
    passkey_token: str | None = field(default=None, repr=False)
    """From the cookie of a challenge for a sign-in without a password."""
    address_group: str | None = None
    """The caller's /24 or /64: what floods are counted by."""

    def matches(self, mark: str) -> bool:
        """Whether `If-Match` names this ETag, or any. Raises PreconditionRequired."""
        if self.if_match is None:
            raise PreconditionRequired
        return {mark, "*"} & {one.strip() for one in self.if_match.split(",")} != set()

    @property
    def person(self) -> Who:
        """Whoever passed the guard; every guard but `open` and `device` has made sure that there is one."""
        if self.who is None:
            raise RuntimeError("this route's guard lets everybody in")
        return self.who

    def id(self, name: str) -> UUID:
        """An id from the path. What is no id names nothing: NotFound."""
        try:
            return UUID(self.path[name])
        except ValueError:
            raise NotFound from None


class CookieName(StrEnum):
    """The names without what `ApiSettings.cookie_rules` puts before them."""

    SESSION = "latchkey-session"
    RE_SIGN_IN = "latchkey-re-sign-in"
    RECOVERY = "latchkey-recovery"
    BROWSER = "latchkey-browser"
    PASSKEY = "latchkey-passkey"


@dataclass(frozen=True, slots=True)
class SetCookie:
    """Secure, HttpOnly, Path=/ and SameSite come from `ApiSettings.cookie_rules`."""

    name: CookieName
    value: str = field(repr=False)
    max_age: int
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ClearCookie:
    name: CookieName


@dataclass(frozen=True, slots=True)
class Reply:
    """`body` is sent as JSON, bytes as they are, at once or one after the other.

    Every answer is `no-store` unless `headers` say otherwise.
    """

    status: int
    body: msgspec.Struct | bytes | AsyncIterator[bytes] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[SetCookie | ClearCookie, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamReply:
    """Keep the connection and tell the account's notifications on it, after `last_seq` (None: from now on).

    Ids alone: thousands of these are held.
    """

    session_id: UUID
    organization_id: UUID
    account_id: UUID
    last_seq: int | None
