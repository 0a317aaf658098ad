"""One phone behind the API: its locks, what it lets a command do, and what was really done to it."""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from platforms.android.emulator import constraints

OWNER: Final = "DEVICE_OWNER"
PROFILE: Final = "PROFILE_OWNER"
COMPANY: Final = "COMPANY_OWNED"
PERSON: Final = "PERSONALLY_OWNED"

RUNS: Final = frozenset({"LOCK", "RESET_PASSWORD", "REBOOT", "RELINQUISH_OWNERSHIP", "WIPE"})
"""What these phones can do. Their agent is too old for the rest."""


@dataclass
class Habits:
    """How this phone, and the road to it, misbehave; each can be changed at any time."""

    slow: float = 0.0
    """Seconds before a command is run, beside the emulator's own."""
    refusing: bool = False
    """Takes no value."""
    repeating: bool = False
    """Each notice about it is pushed twice."""
    losing_results: int = 0
    """So many notices about it are never pushed."""
    losing_answers: int = 0
    """So many acknowledgements of its notices are not heard, so that they come again."""
    rebooting: int = 0
    """So many commands are run, and answered only after a restart."""


_KEPT: Final = (
    *("device_id", "enterprise", "mode", "ownership", "api_level", "policy", "online", "token_active", "paused"),
    *("unified_lock", "unlocked", "lock", "profile_lock", "model", "serial", "state", "applied_state", "wiped"),
    *("correlation", "former", "policies", "history"),
)


@dataclass
class Phone:
    """`effects` counts what each operation really did here, by the operation's name."""

    device_id: str = field(default_factory=lambda: secrets.token_hex(8))
    enterprise: str = "enterprises/LC0demo"
    mode: str = OWNER
    ownership: str = COMPANY
    api_level: int = 36
    policy: str = ""
    """Its policy's name; empty: the enterprise's default."""
    policies: list[dict[str, Any]] = field(default_factory=list)
    """Password policies as they are in force here."""
    online: bool = True
    token_active: bool = True
    """Whether the agent's reset token works: it does once the user has entered the lock."""
    paused: bool = False
    """The work profile is switched off: nothing is run in it."""
    unified_lock: bool = False
    """The work profile shares the phone's lock and has none of its own."""
    unlocked: bool = True
    agent_too_old: bool = False
    lock: str | None = field(default_factory=lambda: f"{secrets.randbelow(10**6):06}", repr=False)
    profile_lock: str | None = field(default=None, repr=False)
    history: list[str] = field(default_factory=list, repr=False)
    model: str = "Pixel 9"
    serial: str = field(default_factory=lambda: secrets.token_hex(5).upper())
    state: str = "ACTIVE"
    applied_state: str = "ACTIVE"
    enrolled_at: datetime | None = None
    reported_at: datetime | None = None
    synced_at: datetime | None = None
    correlation: str = field(default="", repr=False)
    token_name: str = ""
    former: list[str] = field(default_factory=list)
    non_compliance: list[dict[str, Any]] = field(default_factory=list)
    wiped: bool = False
    """Factory reset, or the work profile is gone."""
    screen_off: int = 0
    reboots: int = 0
    asks_on_boot: bool = True
    """Irrevocable, once a command took it away."""
    effects: Counter[str] = field(default_factory=Counter)
    passcodes: list[str] = field(default_factory=list, repr=False)
    """Every value that a command gave it, in order."""
    habits: Habits = field(default_factory=Habits)
    saved: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    """Called whenever `kept()` has changed."""

    def __post_init__(self) -> None:
        self.policy = self.policy or f"{self.enterprise}/policies/default"

    @property
    def name(self) -> str:
        return f"{self.enterprise}/devices/{self.device_id}"

    @property
    def scope(self) -> str:
        return "SCOPE_DEVICE" if self.mode == OWNER else "SCOPE_PROFILE"

    @property
    def running(self) -> bool:
        """Whether the agent can work: a paused profile's cannot."""
        return self.online and not (self.paused and self.mode == PROFILE)

    # What a command does

    def run(self, name: str, command: Mapping[str, Any]) -> str | None:
        """Do it, once. The error code that the agent would tell; None: "done", whether or not it was."""
        kind = command["type"]
        if self.agent_too_old or kind not in RUNS:
            return "UNSUPPORTED"
        if kind == "RESET_PASSWORD":
            return self._reset(name, command)
        if kind in {"REBOOT", "RELINQUISH_OWNERSHIP"}:
            refused, does = self._permits(kind)
            if not does:
                return refused
        if kind == "LOCK":
            self.screen_off += 1
        elif kind == "REBOOT":
            self.reboot()
        else:
            self.wipe()
        self.effects[name] += 1
        return None

    def _permits(self, kind: str) -> tuple[str | None, bool]:
        """The error code, and whether anything happens: not always the same thing."""
        if kind == "RELINQUISH_OWNERSHIP":
            permitted = self.mode == PROFILE and self.ownership == COMPANY
            return (None, True) if permitted else ("MANAGEMENT_MODE", False)
        if self.mode == PROFILE:
            # On a person's own phone it is answered like a success, and nothing happens.
            return (None if self.ownership == PERSON else "MANAGEMENT_MODE"), False
        return (None, True) if self.api_level >= 24 else ("API_LEVEL", False)

    def _reset(self, name: str, command: Mapping[str, Any]) -> str | None:
        value = command.get("newPassword", "")
        trouble = self._cannot_reset()
        if trouble is not None:
            return trouble
        if self.habits.refusing or not self._may_be_lock(value):
            return "INVALID_VALUE"
        if self.mode == OWNER:
            self.lock = value or None
        else:
            self.profile_lock = value or None
        flags = command.get("resetPasswordFlags", [])
        if "LOCK_NOW" in flags:
            self.screen_off += 1
        if "DO_NOT_ASK_CREDENTIALS_ON_BOOT" in flags and self.mode == OWNER:
            self.asks_on_boot = False
        self.history.append(value)
        self.passcodes.append(value)
        self.effects[name] += 1
        return None

    def _cannot_reset(self) -> str | None:
        if self.api_level < 26:
            if self.mode == PROFILE or self.api_level < 24:
                return "API_LEVEL"
            return None if self.unlocked else "UNKNOWN"
        if not self.token_active or (self.mode == PROFILE and self.unified_lock):
            return "UNKNOWN"
        return None

    def _may_be_lock(self, value: str) -> bool:
        policies = constraints.of_scope(self.policies, self.scope)
        if not value:
            return constraints.may_be_empty(policies)
        kept = max((entry.get("passwordHistoryLength", 0) for entry in policies), default=0)
        used = self.history[-kept:] if kept else []
        return value not in used and constraints.flaw(value, policies, self.api_level) is None

    def reboot(self) -> None:
        """A reset token that the user never confirmed is forgotten."""
        self.reboots += 1
        self.unlocked = False

    def wipe(self) -> None:
        self.wiped = True
        if self.ownership == COMPANY and self.mode == OWNER:
            self.lock = None
        self.profile_lock = None

    def enter_lock(self) -> None:
        """The user unlocks: what waited for that works from now on."""
        self.unlocked = self.token_active = True
        self.non_compliance.clear()

    # What the API shows of it

    def resource(self, *, deleted: bool = False) -> dict[str, Any]:
        """As proto3 has it in JSON: what is zero, empty or unspecified is left out."""
        shown: dict[str, Any] = {
            "name": self.name,
            "userName": f"{self.enterprise}/users/{int(self.device_id[:6], 16)}",
            "managementMode": self.mode,
            "ownership": self.ownership,
            "state": "DELETED" if deleted else self.state,
            "appliedState": "DELETED" if deleted else self.applied_state,
            "apiLevel": self.api_level,
            "policyName": self.policy,
            "enrollmentTokenName": self.token_name,
            "enrollmentTokenData": self.correlation,
            "previousDeviceNames": self.former,
            "hardwareInfo": self._hardware(),
            "softwareInfo": {"androidVersion": str(max(self.api_level - 20, 7))},
            "deviceSettings": {"isDeviceSecure": True} if self.lock is not None else {},
            "enrollmentTime": _moment(self.enrolled_at),
            "lastStatusReportTime": _moment(self.reported_at),
            "lastPolicySyncTime": _moment(self.synced_at),
        }
        if self.synced_at is not None:
            shown |= {"appliedPolicyName": self.policy, "appliedPolicyVersion": "1"}
            shown |= {"policyCompliant": not self.non_compliance, "nonComplianceDetails": self.non_compliance}
            shown["appliedPasswordPolicies"] = self.policies
        return {name: value for name, value in shown.items() if value not in (None, "", [], {}, False)}

    def _hardware(self) -> dict[str, Any]:
        own = f"ESID{self.serial}"
        # Of a personal phone nobody learns the serial number since Android 12.
        serial = own if self.ownership == PERSON and self.api_level >= 31 else self.serial
        return {
            "brand": "google",
            "manufacturer": "Google",
            "model": self.model,
            "serialNumber": serial,
            "enterpriseSpecificId": own,
        }

    # What is kept

    def kept(self) -> dict[str, Any]:
        """As a property list has it: without None."""
        kept = {name: value for name in _KEPT if (value := getattr(self, name)) is not None}
        for name in ("enrolled_at", "reported_at", "synced_at"):
            if (at := getattr(self, name)) is not None:
                kept[name] = _moment(at)
        return {**kept, "effects": dict(self.effects)}

    @classmethod
    def restore(cls, kept: Mapping[str, Any]) -> Self:
        values: dict[str, Any] = {"lock": None, **kept}
        for name in ("enrolled_at", "reported_at", "synced_at"):
            if name in values:
                values[name] = datetime.fromisoformat(values[name])
        values["effects"] = Counter(values.get("effects", {}))
        return cls(**values)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else timestamp(at)


def timestamp(at: datetime) -> str:
    """RFC 3339 as Google writes it, in milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def password_policies(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries: Sequence[Mapping[str, Any]] = policy.get("passwordPolicies", ())
    return [dict(entry) for entry in entries]
