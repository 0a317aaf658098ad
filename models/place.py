"""Where something was done, as coarsely as a notice may tell it: a network and a kind of browser.

What a client says of itself is anybody's invention, so it is recognized and never quoted.
"""

import ipaddress
from typing import Final

from models.event import Actor

_BROWSERS: Final = (
    # Each calls itself by the names of those below it as well.
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
UNKNOWN: Final = "?"


def network(address: str | None) -> str:
    """What one subscriber has: a /24, or a /64."""
    try:
        here = ipaddress.ip_address(address or "")
    except ValueError:
        return UNKNOWN
    return str(ipaddress.ip_network((here, 24 if here.version == 4 else 64), strict=False))


def browser(client: str | None) -> str:
    return next((name for mark, name in _BROWSERS if mark in (client or "")), UNKNOWN)


def of(actor: Actor) -> dict[str, str]:
    """Parameters of a notice."""
    return {"network": network(actor.address), "browser": browser(actor.client)}
