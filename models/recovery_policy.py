"""Who may get back into an account without the password, by how many gates, and what is offered to whom. Pure.

Before a gate is passed everybody is offered the same: somebody who may, somebody who may not, a name that nobody has.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from models.contact import SETTLED, Contact
from models.keyed import keyed
from models.organization import RECOVERY_KINDS, RecoveryFor, RecoverySettings
from models.verification import Use, Verification, VerificationKind, asked_for


class Purpose(StrEnum):
    RESET = "reset"
    """Choose another password."""
    UNLOCK = "unlock"
    """Open a road that too many failures shut; the password stays."""


class Decoy(StrEnum):
    """Why nothing that is tried will ever be right. Never told to whoever tries."""

    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    NOT_OFFERED = "not_offered"
    NOT_REGISTERED = "not_registered"


ORDER: Final = (
    VerificationKind.TOTP,
    VerificationKind.PHONE,
    VerificationKind.EMAIL,
    VerificationKind.RECOVERY_CODES,
)
"""In which methods are offered."""
SENT: Final = frozenset({VerificationKind.PHONE, VerificationKind.EMAIL})
"""Kinds whose code must be sent first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How somebody stands who may want to get back in: what the rules need to know, and what they make of it."""

    settings: RecoverySettings
    methods: Sequence[Verification] = field(repr=False)
    """In force."""
    contacts: Mapping[UUID, Contact] = field(repr=False)
    """By their method's id: where codes are sent."""
    roles: Collection[str]
    is_operator: bool
    in_group: bool
    now: datetime
    used_up: Collection[UUID] = ()
    """Of the methods, what has nothing left to show: saved codes after the last of them. What was shown counts."""

    @property
    def offered(self) -> bool:
        return self.settings.whom is RecoveryFor.ALL or (self.settings.whom is RecoveryFor.GROUP and self.in_group)

    @property
    def gates(self) -> int:
        """An account that reaches far, or that asks for a second factor, is never opened by one thing alone."""
        privileged = bool(self.roles) or self.is_operator
        return 2 if privileged or asked_for(self.methods, self.now) else self.settings.gates

    @property
    def usable(self) -> list[Verification]:
        """In the order of offering, of one kind the oldest first."""
        found = [one for one in self.methods if self._counts(one)]
        return sorted(found, key=lambda one: (ORDER.index(one.kind), one.created_at, one.id))

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(one.kind.value for one in self.usable))

    @property
    def registered(self) -> bool:
        """Whether there are as many different kinds as gates, and one of them is no thief's."""
        return len(self.kinds) >= self.gates and any(self.is_settled(one) for one in self.usable)

    def is_settled(self, one: Verification) -> bool:
        """Whether it was there yesterday: whoever takes over an account adds a method first."""
        return self.now >= one.created_at + SETTLED

    def fitting(self, passed: Collection[tuple[str, str]]) -> list[Verification]:
        """What passes the next gate: another kind; and of yesterday, if that is the last gate and none was so far.

        `passed`: kind and method of each gate before.
        """
        kinds, methods = {kind for kind, _ in passed}, {method for _, method in passed}
        late = len(passed) + 1 >= self.gates and not any(
            self.is_settled(one) for one in self.methods if str(one.id) in methods
        )
        return [one for one in self.usable if one.kind.value not in kinds and (self.is_settled(one) or not late)]

    @property
    def can_add(self) -> list[str]:
        """Kinds that would count and are not there."""
        return [kind.value for kind in ORDER if kind.value in self.settings.kinds and kind.value not in self.kinds]

    def _counts(self, one: Verification) -> bool:
        known = one.kind in ORDER and one.kind.value in self.settings.kinds
        if not known or Use.RECOVERY not in one.usable_for or not one.lives(self.now) or one.id in self.used_up:
            return False
        return (one.kind not in SENT or one.id in self.contacts) and (self.gates > 1 or self.is_settled(one))

    def decoy(self, purpose: Purpose, *, blocked: bool) -> Decoy | None:
        """None: they may."""
        if blocked:
            return Decoy.BLOCKED
        if not self.offered or (purpose is Purpose.UNLOCK and not self.settings.unlock):
            return Decoy.NOT_OFFERED
        return None if self.registered else Decoy.NOT_REGISTERED


# What whoever tries is shown


@dataclass(frozen=True, slots=True)
class Option:
    """One way through a gate."""

    id: UUID
    """Of this name alone, and of no table: it says nothing of any method."""
    kind: VerificationKind

    @property
    def is_sent(self) -> bool:
        return self.kind in SENT


def options(key: bytes, who: str, kinds: Collection[str] = RECOVERY_KINDS) -> list[Option]:
    """One of each kind. `who`: the counter of the typed name.

    To whoever has proven nothing each kind there is, whatever the organization takes and the person has: a name that
    nobody has belongs to no organization.
    """
    return [
        Option(UUID(bytes=keyed(key, "recovery", who.encode(), kind.encode())[:16], version=4), kind)
        for kind in ORDER
        if kind.value in kinds
    ]
