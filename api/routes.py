"""Every address on one page: method, path, guard, handler, and all that it may be sent and may answer.

The OpenAPI document is made from this page, and the server answers from it: one cannot be changed without the other.
A path segment whose name ends in `_id` is an id; a text that is none names nothing (404).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from api import schemas
from api.call import Call, Reply, StreamReply
from models.errors import DomainError

Handler = Callable[[Call[Any, Any]], Awaitable[Reply | StreamReply]]


class Guard(StrEnum):
    """Who may pass. Every route names one."""

    OPEN = "open"
    SIGNED_IN = "signed_in"
    HALF_SIGNED_IN = "half_signed_in"
    """A finished sign-in, or one that waits for its second factor."""
    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Route:
    """`answers`: what each status of success carries (a Struct, a media type's name, or None for no content).

    `errors` are the route's own; what the guard and the reading of a request can raise is known without being said.
    """

    method: str
    path: str
    guard: Guard
    handler: Handler
    summary: str
    answers: Mapping[int, type[msgspec.Struct] | str | None]
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    errors: tuple[type[DomainError], ...] = ()
    needs_key: bool = False
    """Whether `Idempotency-Key` must be sent."""
    flood_limits: bool = False
    """Counted per address: somebody who is not signed in can make it costly."""
    public: bool = False
    """The answer holds nothing of anybody's: it may be kept by caches."""
    example: Mapping[str, Any] = field(default_factory=dict)
    """Of the body."""


ROUTES: Final[tuple[Route, ...]] = ()

__all__ = ["ROUTES", "Guard", "Handler", "Route", "schemas"]
