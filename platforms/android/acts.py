"""What can be asked of an Android device, where, and by which command.

https://developers.google.com/android/management/reference/rest/v1/enterprises.devices/issueCommand

A command that the device cannot carry out comes back late, or as a success that did nothing: whatever is known
beforehand is said beforehand, to the button and to the planner alike.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from models.vocabulary import Act, Join, Ownership, Reason, Secret
from platforms.android import passcode
from platforms.android.passcode import Scope
from platforms.android.wire import Device, seconds
from platforms.base import Facts, Management

# What a person's button may look at without a secret.
MODE: Final = "mode"
OWNERSHIP: Final = "ownership"
API_LEVEL: Final = "api_level"
SEPARATE_LOCK: Final = "separate_lock"
TOKEN: Final = "reset_token"
UNLOCKED: Final = "unlocked"
PASSCODE: Final = "passcode"
COMPLIANT: Final = "compliant"

FULLY_MANAGED: Final = "DEVICE_OWNER"
WORK_PROFILE: Final = "PROFILE_OWNER"
COMPANY: Final = "COMPANY_OWNED"
PERSONAL: Final = "PERSONALLY_OWNED"

ANDROID_7: Final = 24
ANDROID_8: Final = 26
"""From here on there are reset tokens."""
ANDROID_11: Final = 30

_CONFIRM: Final = "PASSWORD_POLICIES_USER_CREDENTIALS_CONFIRMATION_REQUIRED"
_NOT_UNLOCKED: Final = "USER_NOT_UNLOCKED"

REPORTS: Final = "reports"
"""An order of ours that Google does not know: the device's next report."""

_YEARS: Final = timedelta(days=3650)
"""A wipe is not given up: it waits for its device. Google's own ten minutes are too short for a phone in a pocket."""
MARGIN: Final = timedelta(minutes=2)
"""Google stops trying this long before we stop waiting: what was done at the last moment has time to be told."""

COMMANDS: Final[Mapping[Act, str]] = {
    Act.RESET_PASSCODE: "RESET_PASSWORD",
    Act.REMOTE_LOCK: "LOCK",
    Act.RESTART: "REBOOT",
    Act.WIPE: "WIPE",
    # `devices.delete` forgets the device at once, and its data only if it happens to be near. And a company's phone is
    # not given away (RELINQUISH_OWNERSHIP) by a tap of whoever carries it.
    Act.REMOVE: "WIPE",
}
"""Refresh has no command: a device reports by itself, and we look whether it has."""


def traits(device: Device) -> dict[str, str]:
    """What is remembered of a device for the rules below."""
    found = {
        SEPARATE_LOCK: "yes"
        if any(one.scope == "SCOPE_PROFILE" and one.separate_lock for one in device.policies)
        else "no",
        TOKEN: "inactive" if _CONFIRM in device.hints else "unknown",
        UNLOCKED: "no" if _NOT_UNLOCKED in device.hints else "unknown",
        PASSCODE: "possible" if passcode.rules(device.policies, scope_of(device.mode)).is_possible else "impossible",
    }
    if device.mode is not None:
        found[MODE] = device.mode
    if device.ownership is not None:
        found[OWNERSHIP] = device.ownership
    if device.api_level is not None:
        found[API_LEVEL] = str(device.api_level)
    if device.compliant is not None:
        found[COMPLIANT] = "yes" if device.compliant else "no"
    return found


def management(facts: Facts) -> Management:
    """A work profile on a person's own phone leaves the phone theirs."""
    known = facts.traits
    own = known.get(OWNERSHIP) == PERSONAL if OWNERSHIP in known else facts.ownership is Ownership.PERSONAL
    compliant = {"yes": True, "no": False}.get(known.get(COMPLIANT, ""))
    return Management(Join.REGISTERED if own and known.get(MODE) != FULLY_MANAGED else Join.JOINED, compliant)


def scope_of(mode: str | None) -> Scope:
    """The lock that we can reach: the phone's, or its work profile's alone."""
    return Scope.PROFILE if mode == WORK_PROFILE else Scope.DEVICE


@dataclass(frozen=True, slots=True)
class Planned:
    """What a resend must not change, and what was known when it was planned."""

    passcode: Secret | None = None
    scope: Scope = Scope.DEVICE
    """Whose lock it is that is reset, or closed."""
    unlocked: bool = True
    """Not: the device said that its person has not unlocked it, which for a profile also means paused."""

    @classmethod
    def read(cls, sealed: Secret) -> Self:
        """Of an order that ended, nothing is left to read."""
        if not sealed.value:
            return cls()
        values = json.loads(sealed.value)
        passcode = values.get("passcode")
        return cls(
            passcode=None if passcode is None else Secret(passcode.encode()),
            scope=Scope(values["scope"]),
            unlocked=values["unlocked"],
        )

    def write(self) -> Secret:
        passcode = None if self.passcode is None else self.passcode.text()
        values = {"passcode": passcode, "scope": self.scope, "unlocked": self.unlocked}
        return Secret(json.dumps(values, separators=(",", ":")).encode())


def lock_scope(act: Act, known: Mapping[str, str]) -> Scope:
    """Whose lock an act closes or opens."""
    mode = known.get(MODE)
    if act is Act.REMOTE_LOCK and mode == WORK_PROFILE:
        # With one lock for both, and on a company's phone before Android 11, the whole phone is locked.
        whole = known.get(SEPARATE_LOCK) != "yes" or (known.get(OWNERSHIP) == COMPANY and _is_before(ANDROID_11, known))
        return Scope.DEVICE if whole else Scope.PROFILE
    return scope_of(mode)


def why_not(act: Act, known: Mapping[str, str]) -> Reason | None:
    """None: it can be asked for."""
    mode, ownership = known.get(MODE), known.get(OWNERSHIP)
    reason: Reason | None = None
    if act is Act.REFRESH:
        return None
    if mode not in {FULLY_MANAGED, WORK_PROFILE}:
        # The device has not yet said how it is managed.
        return Reason.MANAGEMENT_MODE
    match act:
        case Act.RESET_PASSCODE:
            reason = _why_no_reset(mode == WORK_PROFILE, known)
        case Act.RESTART if mode != FULLY_MANAGED:
            reason = Reason.MANAGEMENT_MODE
        case Act.RESTART if _is_before(ANDROID_7, known):
            reason = Reason.OS_VERSION
        case Act.WIPE if ownership != COMPANY:
            reason = Reason.MANAGEMENT_MODE
        case Act.REMOVE if (mode, ownership) != (WORK_PROFILE, PERSONAL):
            reason = Reason.MANAGEMENT_MODE
    return reason


def _why_no_reset(of_profile: bool, known: Mapping[str, str]) -> Reason | None:
    reason: Reason | None = None
    if _is_before(ANDROID_8 if of_profile else ANDROID_7, known):
        reason = Reason.OS_VERSION
    elif of_profile and known.get(SEPARATE_LOCK) != "yes":
        # With one lock for both, the order may come back as done, and the passcode that we told opens nothing.
        reason = Reason.NO_SEPARATE_LOCK
    elif known.get(TOKEN) == "inactive" or (_is_before(ANDROID_8, known) and known.get(UNLOCKED) == "no"):
        # Android 7 knows no token: it resets only while its person has it open.
        reason = Reason.RESET_TOKEN_INACTIVE
    elif known.get(PASSCODE) == "impossible":
        reason = Reason.PASSCODE_POLICY
    return reason


def _is_before(version: int, known: Mapping[str, str]) -> bool:
    """A version that was not told is left to the device to judge."""
    level = known.get(API_LEVEL, "")
    return level.isascii() and level.isdigit() and int(level) < version


def command(act: Act, new_passcode: Secret | None, left: timedelta | None) -> dict[str, Any]:
    """The body. `left`: for how long somebody waits for it; None: for ever."""
    spelled: dict[str, Any] = {"type": COMMANDS[act], "duration": seconds(_YEARS if left is None else left - MARGIN)}
    if new_passcode is not None:
        # Not DO_NOT_ASK_CREDENTIALS_ON_BOOT, which only a factory reset undoes.
        spelled |= {"newPassword": new_passcode.text(), "resetPasswordFlags": ["LOCK_NOW"]}
    return spelled
