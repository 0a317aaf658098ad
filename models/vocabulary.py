"""The glossary as values: the words and small things that cross rooms. Standard library only."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NewType
from uuid import UUID

PlatformName = NewType("PlatformName", str)
"""Text, never an enum: what the registry does not know is simply not offered."""


LANGUAGES: Final = ("en", "nl")
"""Those that the house has words in."""


class Act(StrEnum):
    """What can be asked of a device. In URLs with hyphens."""

    RESET_PASSCODE = "reset_passcode"
    REMOTE_LOCK = "remote_lock"
    WIPE = "wipe"
    REMOVE = "remove"
    RESTART = "restart"
    REFRESH = "refresh"


class Task(StrEnum):
    """What is done for an account, and no device has a part in. Each is worked out by `workers/jobs/<task>.py`."""

    EXPORT = "export"
    """Make a file of what the house knows of a person, for that person."""
    SIGN_OUT = "sign_out"
    """Tell the apps that a person used that they were signed out everywhere."""
    LEAVE = "leave"
    """End what somebody who left an organization still had there."""
    IMPORT_ACCOUNTS = "import_accounts"
    """Make and edit accounts as a file says."""
    EXPORT_ACCOUNTS = "export_accounts"
    """Write the organization's accounts into a file."""


DEPARTURES: Final = frozenset({Act.REMOVE, Act.WIPE})
"""After these the device is no longer ours: they come before all that waits, and never expire unseen."""


class Proof(StrEnum):
    """How a person shows that it is really them, now."""

    NONE = "none"
    FRESH = "fresh"
    RE_SIGN_IN = "re_sign_in"


class JobState(StrEnum):
    QUEUED = "queued"
    WAITING = "waiting"
    DELIVERED = "delivered"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNCONFIRMED = "unconfirmed"


class Queue(StrEnum):
    INTERACTIVE = "interactive"
    """A person waits for it."""
    BULK = "bulk"
    SYSTEM = "system"


class Ownership(StrEnum):
    PERSONAL = "personal"
    CORPORATE = "corporate"


class Join(StrEnum):
    """How a device belongs to the organization."""

    REGISTERED = "registered"
    """A person's own, brought along: part of it is managed, or it can be taken away again at any time."""
    JOINED = "joined"
    """The organization's, managed as a whole."""
    HYBRID = "hybrid"
    """Joined to a directory in the house as well."""


class PasscodeKind(StrEnum):
    """What came of a passcode reset."""

    TEMPORARY_ALPHANUMERIC = "temporary_alphanumeric"
    TEMPORARY_NUMERIC = "temporary_numeric"
    REMOVED = "removed"


class Reason(StrEnum):
    """Why an act is not offered, or how it ended. A portal turns it into words, nobody parses it."""

    PLATFORM_UNSUPPORTED = "platform_unsupported"
    OS_VERSION = "os_version"
    ENROLLMENT_TYPE = "enrollment_type"
    NOT_ENROLLED = "not_enrolled"
    HIDDEN_BY_ADMIN = "hidden_by_admin"
    UNLOCK_TOKEN_MISSING = "unlock_token_missing"
    RESET_TOKEN_INACTIVE = "reset_token_inactive"
    NO_PASSCODE_SET = "no_passcode_set"
    NO_SEPARATE_LOCK = "no_separate_lock"
    PASSCODE_POLICY = "passcode_policy"
    PROFILE_PAUSED = "profile_paused"
    WOULD_WIPE = "would_wipe"
    NOT_SUPERVISED = "not_supervised"
    AGENT_TOO_OLD = "agent_too_old"
    MANAGEMENT_MODE = "management_mode"
    MISSING_RIGHT = "missing_right"
    SHARED_DEVICE = "shared_device"
    ACTION_IN_PROGRESS = "action_in_progress"
    AWAITING_APPROVAL = "awaiting_approval"
    DEVICE_DISABLED = "device_disabled"
    DEVICE_LEFT = "device_left"
    DEVICE_REFUSED = "device_refused"
    OWNER_CHANGED = "owner_changed"
    OWNER_LEFT = "owner_left"
    ACCOUNT_BLOCKED = "account_blocked"
    BY_PERSON = "by_person"
    BY_OPERATOR = "by_operator"
    TOO_LATE = "too_late"
    UNREACHABLE = "unreachable"
    PUSH_REFUSED = "push_refused"
    SERVICE_REFUSED = "service_refused"
    SUPERSEDED = "superseded"
    HEARD_AGAIN = "heard_again"
    ANSWER_LOST = "answer_lost"
    ACCEPTED = "accepted"
    CODE_UNKNOWN = "code_unknown"
    NO_ANSWER = "no_answer"
    NOT_NOW = "not_now"
    OFFERED_AGAIN = "offered_again"
    CRASHED = "crashed"
    ROLE_WITHDRAWN = "role_withdrawn"
    APP_REFUSED = "app_refused"
    APP_UNREACHABLE = "app_unreachable"


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must not leave its room: printing, logging or pickling it shows nothing of it."""

    value: bytes = field(repr=False)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a secret is not pickled")

    def text(self) -> str:
        return self.value.decode()


@dataclass(frozen=True, slots=True)
class Order:
    """One asked-for act on one device, in our words: what a platform plans from."""

    job_id: UUID
    act: Act
    device_id: UUID


@dataclass(frozen=True, slots=True)
class Outcome:
    """A device's answer in our words. `state` None: not final, the job goes back to waiting."""

    state: JobState | None
    reason: str | None = None
    passcode: Secret | None = None
    passcode_kind: PasscodeKind | None = None
    detail: tuple[tuple[str, str], ...] = ()
    """What the device said, for the operator; by allow-list, never a secret."""
    told: str | None = None
    """Key of what the person is told of a success, where the platform's usual words do not fit."""


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _high(moment: datetime) -> int:
    milliseconds = int((moment - EPOCH).total_seconds() * 1000)
    return (milliseconds & 0xFFFF_FFFF_FFFF) << 80


def id_after(moment: datetime) -> UUID:
    """No id made up to this moment sorts behind it: what is old is found by the primary key alone."""
    return UUID(int=_high(moment) + (1 << 80))


def new_id(now: datetime) -> UUID:
    """A UUIDv7 (RFC 9562): sorts by time, so rows made together lie together. Not a secret."""
    entropy = int.from_bytes(os.urandom(10))
    high = _high(now)
    return UUID(int=high | 0x7 << 76 | (entropy >> 68 & 0xFFF) << 64 | 0b10 << 62 | entropy & 0x3FFF_FFFF_FFFF_FFFF)
