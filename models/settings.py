"""Settings that every room shares: where the database is, and the numbers the rules turn on."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from models.vocabulary import Secret

RE_SIGN_IN_WINDOW: Final = timedelta(seconds=300)
"""The five minutes, written nowhere else. Both bounds are inclusive."""

FRESH_PROOF: Final = RE_SIGN_IN_WINDOW
"""How old a proof may be that counts as fresh: the same five minutes, the same inclusive bounds."""

RECENT_PROOF: Final = timedelta(minutes=15)
"""How old a proof may be that ends another single session. Ending all of them needs none: that is a panic button."""

SESSION_IDLE: Final = timedelta(minutes=30)
SESSION_ABSOLUTE: Final = timedelta(hours=12)
PRIVILEGED_SESSION_IDLE: Final = timedelta(minutes=15)
PRIVILEGED_SESSION_ABSOLUTE: Final = timedelta(hours=8)
SECOND_FACTOR_WAIT: Final = timedelta(minutes=5)
"""How long half a sign-in waits for its second factor."""
PASSWORD_CHANGE_WAIT: Final = timedelta(minutes=15)
"""How long a sign-in waits for the new password that its account must choose."""
SESSION_TOUCH: Final = timedelta(minutes=1)
"""Use is written down this coarsely."""

READABLE_PASSCODE: Final = timedelta(minutes=30)
"""From the first reading."""
UNREAD_PASSCODE_DEFAULT: Final = timedelta(hours=24)
UNREAD_PASSCODE_LIMIT: Final = timedelta(days=7)
# An organization chooses its own within these bounds; shorter, and nobody has another device at hand in time.
READABLE_PASSCODE_LEAST: Final = timedelta(minutes=5)
UNREAD_PASSCODE_LEAST: Final = timedelta(minutes=30)

CONFIRMATION: Final = timedelta(hours=24)
"""How long a removal or a wipe may go unanswered after its last hand-over; then it is given up as unconfirmed."""

APPROVAL_WAIT: Final = timedelta(days=3)
"""How long a second person has to approve a wipe or a removal; its last moment included."""

BROWSER_REMEMBERED: Final = timedelta(days=30)
"""How long a browser may skip the second factor after it was done there."""
BROWSERS_PER_ACCOUNT: Final = 20
"""Known at a time; more than anybody has, fewer than a program makes that keeps no cookie."""

RECOVERY_WINDOW: Final = timedelta(minutes=15)
"""How long a person has to get back into an account, from the first step on; its last moment included. Nothing
extends it."""
RESET_LINK: Final = timedelta(hours=24)
"""How long the link works by which an administrator lets somebody choose a password; its last moment included."""
TEMPORARY_PASSWORD: Final = timedelta(hours=24)
"""How long a password that we made opens an account, and then for nothing but choosing another."""
ANSWER_FLOOR: Final = timedelta(milliseconds=500)
"""No sooner is a recovery answered: how long the work took tells nothing of whether there was any."""

# How long rows are kept after their end. The record (`models/event.py`) is never shortened.
EXPORT_KEPT: Final = timedelta(hours=24)
"""How long a file of one's own data can be read; its last moment not included."""
SHEET_FILE_KEPT: Final = timedelta(hours=24)
"""How long a file of accounts that was made can be fetched; its last moment not included. One that is read in goes when
it was read."""
SHEET_REPORT_KEPT: Final = timedelta(days=30)
"""Of what became of each row, from the job's end."""
NOTIFICATION_KEPT: Final = timedelta(days=30)
"""From the last telling."""
SIGN_IN_KEPT: Final = timedelta(days=30)
"""Of what a person sees of sign-ins; the record knows them longer."""
BROWSER_KEPT: Final = timedelta(days=180)
"""From the last sign-in in it."""
SESSION_KEPT: Final = timedelta(days=30)
"""From the latest moment that it could have lived to."""
RE_SIGN_IN_KEPT: Final = timedelta(days=30)
RECOVERY_KEPT: Final = timedelta(days=30)
APP_USE_KEPT: Final = timedelta(days=30)
"""Since it was last launched: an app that keeps people signed in for longer is not told of it any more."""
ACCOUNT_KEPT: Final = timedelta(days=30)
"""How long a deleted account can be restored."""
INVITATION: Final = timedelta(days=7)
"""How long somebody from elsewhere may join by the link that was mailed to them; its last moment included."""
INVITATION_KEPT: Final = timedelta(days=30)
"""From that moment."""
MEMBERSHIP_KEPT: Final = timedelta(days=30)
"""How long a membership that was ended can be taken back by an administrator; its last moment included."""
APPROVAL_KEPT: Final = timedelta(days=30)
JOB_KEPT: Final = timedelta(days=90)
"""With its timeline, its passcode's row and what was told of it. So long an idempotency key is known, too."""
DELIVERY_KEPT: Final = timedelta(days=30)
"""With its attempts. Where it went and what it carried are erased when it is over."""
ENROLLMENT_PENDING: Final = timedelta(days=7)
"""A device that began to enrol and has been silent for so long will not finish."""

DEVICES_PER_ACCOUNT: Final = 50
DEVICES_PER_ACCOUNT_MOST: Final = 100
"""An organization may set it from one to this, or set none."""
ACTS_PER_DEVICE_AND_DAY: Final = 10
ENROLLMENT_LINK: Final = timedelta(minutes=15)
NOT_ME_LINK: Final = timedelta(hours=72)
"""How long a notice can be answered with "that was not me"; its last moment included."""


@dataclass(frozen=True, slots=True)
class SessionLife:
    """How long a session lives unused, and how long at most."""

    idle: timedelta
    absolute: timedelta


_ORDINARY: Final = SessionLife(SESSION_IDLE, SESSION_ABSOLUTE)
_PRIVILEGED: Final = SessionLife(PRIVILEGED_SESSION_IDLE, PRIVILEGED_SESSION_ABSOLUTE)


def session_life(roles: Collection[str], *, is_operator: bool) -> SessionLife:
    """Shorter for whoever has any role: a left-open browser of theirs reaches further than their own things."""
    return _PRIVILEGED if roles or is_operator else _ORDINARY


NOT_OURS: Final = frozenset({"CLOCK_OFFSET_FILE", "COMPOSE_FILE", "GIT_INDEX_FILE", "SSL_CERT_FILE"})
"""Variables that name a file because the file is what they mean; its content is no setting of ours."""

FILE_LIMIT: Final = 1024 * 1024
"""Larger than any key or certificate chain: what is larger was named by mistake."""


class SettingsError(ValueError):
    """A process cannot start with these settings. Names the variable, never its value."""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    url: str = field(repr=False)
    """Not in the repr: it may hold a password."""
    connections: int = 10
    """PostgreSQL connections for transactions that one process keeps at most; half as many more only read."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        url = environ.get("DATABASE_URL", "")
        if not url.startswith(("sqlite:///", "postgresql://")) or url == "sqlite:///":
            raise SettingsError("DATABASE_URL must be sqlite:///path or postgresql://…")
        return cls(url)


def resolve_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with every `X_FILE` read into `X`, so that a secret can come as a mounted file.

    Called once, in a main. One line end at the file's end is dropped: editors add it, no secret means it.
    """
    resolved = dict(environ)
    for variable, name in environ.items():
        target = variable.removesuffix("_FILE")
        if target == variable or not target or variable in NOT_OURS or not name:
            continue
        if target in environ:
            raise SettingsError(f"{target} and {variable} are both set; keep one")
        try:
            with Path(name).open("rb") as file:
                content = file.read(FILE_LIMIT + 1)
            text = content.decode()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{variable} names a file that cannot be read as text") from error
        if len(content) > FILE_LIMIT or "\0" in text:
            raise SettingsError(f"{variable} names a file that holds no setting")
        resolved[target] = text.removesuffix("\n").removesuffix("\r")
    return resolved


def audit_key(environ: Mapping[str, str]) -> Secret:
    """AUDIT_KEY, of the record's chain. Raises SettingsError."""
    return _key(environ, "AUDIT_KEY")


def throttle_key(environ: Mapping[str, str]) -> Secret:
    """THROTTLE_KEY makes the counters of typed sign-in names unreadable. Another one starts them anew, no more.

    A secret of its own, so that sealing keys can be changed without opening every shut road.
    """
    return _key(environ, "THROTTLE_KEY")


def _key(environ: Mapping[str, str], variable: str) -> Secret:
    try:
        key = base64.b64decode(environ.get(variable, ""), validate=True)
    except ValueError:  # not base64, or not even ASCII
        key = b""
    if len(key) != 32:
        raise SettingsError(f"{variable} must be 32 bytes in base64")
    return Secret(key)
