"""What an organization may decide for its people, and within which bounds. Pure.

What it decided lies in its row as it was taken over here: in one spelling, without what is empty. What it left open is
the house's default, which is worked out each time and never written down.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from models.address import mail_address
from models.errors import Broken, BrokenRule
from models.settings import (
    DEVICES_PER_ACCOUNT,
    DEVICES_PER_ACCOUNT_MOST,
    READABLE_PASSCODE,
    READABLE_PASSCODE_LEAST,
    UNREAD_PASSCODE_DEFAULT,
    UNREAD_PASSCODE_LEAST,
    UNREAD_PASSCODE_LIMIT,
)
from models.vocabulary import Act, Ownership

NAME_MOST: Final = 40
PHONE_MOST: Final = 20
SITE_MOST: Final = 150
NOTES_MOST: Final = 120
PRIVACY_SITE_MOST: Final = 79
SIGHT_MOST: Final = 520

RENAME: Final = "rename"
HIDEABLE: Final = frozenset({*(act.value for act in Act), RENAME})
"""What an organization may keep from its people. Disabling a device is not among it: whoever lost one cuts it off."""
HIDDEN_MOST: Final = 200
"""Lines: more than there are platforms, ownerships and acts to hide."""

LIFE_LEAST: Final = timedelta(minutes=15)
LIFE_MOST: Final[Mapping[Act, timedelta]] = {
    Act.RESET_PASSCODE: timedelta(days=7),
    Act.REMOTE_LOCK: timedelta(days=7),
    Act.REFRESH: timedelta(days=7),
    Act.RESTART: timedelta(days=1),
}
"""How long an act may wait for its device at most; a restart surprises whoever holds it a week later. A removal and a
wipe are not here: they wait until they are taken back."""
STRENGTH_MOST: Final = 3
APPROVABLE: Final = frozenset({Act.WIPE, Act.REMOVE})
"""What a second person may have to approve."""


# What a value may be

_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_LINES: Final = re.compile(r"\r\n|\r|\n")
_PHONE: Final = re.compile(r"(?=(?:[^0-9]*[0-9]){3})\+?[0-9 ()./-]+")
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


def _text(given: str | None, *, most: int, lines: bool = False) -> str | None:
    text = unicodedata.normalize("NFC", given or "").strip()
    if lines:
        text = _LINES.sub("\n", text)
    if len(text) > most:
        raise BrokenRule("too_long", most=most)
    if _BREAKS.search(text.replace("\n", "") if lines else text):
        raise BrokenRule("visible" if lines else "one_line")
    return text or None


def _phone(given: str | None) -> str | None:
    """As people write it: some helpdesks have a short number, that no other country could call."""
    text = _text(given, most=PHONE_MOST)
    if text is not None and not _PHONE.fullmatch(text):
        raise BrokenRule("phone")
    return text


def _mail(given: str | None) -> str | None:
    text = _text(given, most=NAME_MOST)
    if text is not None and mail_address(text) is None:
        raise BrokenRule("mail")
    return text


def _site(given: str | None, *, most: int) -> str | None:
    """A page that people are sent to: https alone, and nobody's name or password in it."""
    text = _text(given, most=most)
    if text is None:
        return None
    try:
        url = urlsplit(text)
        sound = url.scheme == "https" and bool(url.hostname) and url.port != 0 and "@" not in url.netloc
    except ValueError:
        sound = False
    if not sound or not text.isascii() or " " in text or any(sign in text for sign in '"<>\\^`{|}'):
        raise BrokenRule("https")
    return text


def _colour(given: str | None) -> str | None:
    if given is None:
        return None
    colour = THEMES.get(given, given.lower())
    if not _COLOUR.fullmatch(colour):
        raise BrokenRule("colour", choices=", ".join(THEMES))
    return colour


def _seconds(given: int | None, *, least: timedelta, most: timedelta) -> int | None:
    if given is not None and not least.total_seconds() <= given <= most.total_seconds():
        raise BrokenRule("range", least=int(least.total_seconds()), most=int(most.total_seconds()))
    return given


UNLIMITED: Final = "unlimited"


def _quota(given: int | str | None) -> int | str | None:
    if given in {None, UNLIMITED}:
        return given
    if not isinstance(given, int) or not 1 <= given <= DEVICES_PER_ACCOUNT_MOST:
        raise BrokenRule("range_or_unlimited", least=1, most=DEVICES_PER_ACCOUNT_MOST)
    return given


class Header(StrEnum):
    """What stands at the top of the portal."""

    LOGO_AND_NAME = "logo_and_name"
    LOGO = "logo"
    NAME = "name"


THEMES: Final[Mapping[str, str]] = {
    "blue": "#0f6cbd",
    "green": "#107c10",
    "purple": "#5c2e91",
    "red": "#c50f1f",
    "grey": "#424242",
}
"""Colours that have a name; any other is given by its digits."""

_line = partial(_text, most=NAME_MOST)
Read = Callable[[Any], Any]

# How each value of a group is read.
CONTACT: Final[Mapping[str, Read]] = {
    "name": _line,
    "phone": _phone,
    "email": _mail,
    "site_name": _line,
    "url": partial(_site, most=SITE_MOST),
    "notes": partial(_text, most=NOTES_MOST),
}
PRIVACY: Final[Mapping[str, Read]] = {
    "url": partial(_site, most=PRIVACY_SITE_MOST),
    "can_see": partial(_text, most=SIGHT_MOST, lines=True),
    "cannot_see": partial(_text, most=SIGHT_MOST, lines=True),
}
BRANDING: Final[Mapping[str, Read]] = {
    "name": _line,
    "colour": _colour,
    "header": lambda given: given,
}
PRIVACY_CONTACT: Final[Mapping[str, Read]] = {"name": _line, "phone": _phone, "email": _mail}
PASSCODE: Final[Mapping[str, Read]] = {
    "unread_passcode_seconds": partial(_seconds, least=UNREAD_PASSCODE_LEAST, most=UNREAD_PASSCODE_LIMIT),
    "readable_passcode_seconds": partial(_seconds, least=READABLE_PASSCODE_LEAST, most=READABLE_PASSCODE),
}

DEVICES: Final[Mapping[str, Read]] = {"device_quota": _quota}


def merged(held: Mapping[str, Any], given: Mapping[str, Any], how: Mapping[str, Read], place: str) -> dict[str, Any]:
    """What is held with what is given in its place; None empties. Raises BrokenRules."""
    result, broken = dict(held), []
    for name, value in given.items():
        try:
            read = how[name](value)
        except BrokenRule as rule:
            broken.append(rule.at(f"{place}{name}"))
            continue
        if read is None:
            result.pop(name, None)
        else:
            result[name] = read
    if broken:
        raise BrokenRules(broken)
    return result


class BrokenRules(ValueError):
    """Each with its field."""

    def __init__(self, errors: list[Broken]) -> None:
        super().__init__()
        self.errors = errors


def life_of(act: Act, seconds: int | None) -> int | None:
    """How long an act may wait for its device. Raises BrokenRule."""
    if seconds is None:
        return None
    if act not in LIFE_MOST:
        raise BrokenRule("never_expires")
    return _seconds(seconds, least=LIFE_LEAST, most=LIFE_MOST[act])


@dataclass(frozen=True, slots=True, order=True)
class Hidden:
    """An act that people are not offered on devices of one kind."""

    platform: str
    ownership: Ownership
    act: str


def hidden_acts(given: Collection[Hidden], known: Collection[str]) -> list[dict[str, str]]:
    """As they are kept. `known`: the platforms there are, and those named already. Raises BrokenRules.

    Whoever mistypes a platform would believe that something is hidden there.
    """
    strange: list[Broken] = [
        {"field": f"hidden_acts[{place}].platform", "rule": "platform"}
        for place, one in enumerate(given)
        if one.platform not in known
    ]
    if strange:
        raise BrokenRules(strange)
    return [
        {"platform": one.platform, "ownership": one.ownership.value, "act": one.act} for one in sorted(frozenset(given))
    ]


# What people are shown


def contact_block(contact: Mapping[str, str]) -> dict[str, str]:
    """What of it is filled in. A page without a name is called by its address."""
    block = {name: contact[name] for name in CONTACT if contact.get(name)}
    if "url" in block:
        block.setdefault("site_name", block["url"])
    return block


@dataclass(frozen=True, slots=True)
class Leaving:
    """Whether people may leave by themselves, and whom they ask where they may not."""

    allowed: bool
    contact: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Leaving":
        return cls(bool(settings.get("leaving_allowed", True)), settings.get("privacy_contact", {}))


@dataclass(frozen=True, slots=True)
class Branding:
    name: str | None
    colour: str
    header: Header

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Branding":
        held = settings.get("branding", {})
        return cls(
            name=held.get("name"),
            colour=held.get("colour", THEMES["blue"]),
            header=Header(held.get("header", Header.LOGO_AND_NAME)),
        )

    @property
    def text_colour(self) -> str:
        return text_on(self.colour)


@dataclass(frozen=True, slots=True)
class Privacy:
    """Where the organization's own statement stands, and what it adds to ours."""

    url: str | None
    can_see: str | None
    cannot_see: str | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Privacy":
        held = settings.get("privacy", {})
        return cls(held.get("url"), held.get("can_see"), held.get("cannot_see"))


UNSEEN: Final = tuple(
    f"privacy.unseen.{what}"
    for what in (
        "calls_and_browsing",
        "mail_and_messages",
        "contacts",
        "calendar",
        "passwords",
        "pictures",
        "files",
    )
)
"""What no organization sees of anybody's device, whatever it decides."""
_SEEN: Final = tuple(
    f"privacy.seen.{what}" for what in ("owner", "device_name", "serial", "model", "maker", "os_version", "imei")
)
SEEN: Final[Mapping[Ownership, tuple[str, ...]]] = {
    Ownership.PERSONAL: (*_SEEN, "privacy.seen.last_four_digits", "privacy.seen.work_apps"),
    Ownership.CORPORATE: (*_SEEN, "privacy.seen.phone_number", "privacy.seen.all_apps"),
}
"""What it can see, at most: a device may tell less."""

BLACK: Final = "#000000"
WHITE: Final = "#ffffff"


def text_on(colour: str) -> str:
    """Black or white, whichever is read better on it: of the two one always has a contrast of 4.5 and more."""
    return max((WHITE, BLACK), key=lambda text: contrast(text, colour))


def contrast(one: str, other: str) -> float:
    """As WCAG 2.1 reckons it: from 1, alike, to 21. https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio"""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def unread_passcode(settings: Mapping[str, Any]) -> timedelta:
    """How long a code that nobody has read can be."""
    seconds = settings.get("unread_passcode_seconds", UNREAD_PASSCODE_DEFAULT.total_seconds())
    return min(timedelta(seconds=seconds), UNREAD_PASSCODE_LIMIT)


def readable_passcode(settings: Mapping[str, Any]) -> timedelta:
    """How long from its first reading on."""
    seconds = settings.get("readable_passcode_seconds", READABLE_PASSCODE.total_seconds())
    return min(timedelta(seconds=seconds), READABLE_PASSCODE)


def device_quota(settings: Mapping[str, Any]) -> int | None:
    """How many devices one person may have; None: any number."""
    quota = settings.get("device_quota", DEVICES_PER_ACCOUNT)
    return None if quota == UNLIMITED else int(quota)
