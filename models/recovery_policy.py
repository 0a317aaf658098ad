"""Who may get back into an account without the password, by how many gates, and what is offered to whom. Pure.

What is offered to somebody who may not, or to a name that nobody has, is made here as well: it is the same each time
that name is typed, and nothing about it says that none of it can ever be right.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from models.contact import Contact
from models.keyed import keyed
from models.organization import RecoveryFor, RecoverySettings
from models.sealed import Keyring, SealBroken
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
    """In force, saved codes only while any are left."""
    contacts: Mapping[UUID, Contact] = field(repr=False)
    """By their method's id: where codes are sent."""
    roles: Collection[str]
    is_operator: bool
    in_group: bool
    now: datetime

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
        """Whether there are as many different kinds as gates."""
        return len(self.kinds) >= self.gates

    @property
    def can_add(self) -> list[str]:
        """Kinds that would count and are not there."""
        return [kind.value for kind in ORDER if kind.value in self.settings.kinds and kind.value not in self.kinds]

    def _counts(self, one: Verification) -> bool:
        known = one.kind in ORDER and one.kind.value in self.settings.kinds
        if not known or Use.RECOVERY not in one.usable_for or not one.lives(self.now):
            return False
        if one.kind not in SENT:
            return True
        where = self.contacts.get(one.id)
        # Whoever takes over an account adds an address first.
        return where is not None and (self.gates > 1 or where.may_stand_alone(self.now))

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
    """One way through a gate, as it is shown before anything is proven."""

    id: UUID
    """Of this name alone, and of no table: it says nothing of when the method was made."""
    kind: VerificationKind
    hint: str | None
    """As much of an address as its owner recognizes it by."""
    method: Verification | None = field(default=None, repr=False)
    """None: nothing is right here."""

    @property
    def is_sent(self) -> bool:
        return self.kind in SENT


def option_id(key: bytes, who: str, what: bytes) -> UUID:
    """`who`: the counter of the typed name."""
    return UUID(bytes=keyed(key, "recovery", who.encode(), what)[:16], version=4)


def mail_hint(address: str) -> str:
    """Two letters and the end; how long the rest is, is not shown."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}•••@{domain[:1]}•••.{domain.rpartition('.')[2]}"


def phone_hint(number: str) -> str:
    return f"••• {number[-2:]}"


_LOOKS: Final = (
    (VerificationKind.EMAIL, VerificationKind.PHONE),
    (VerificationKind.EMAIL,),
    (VerificationKind.TOTP, VerificationKind.EMAIL),
    (VerificationKind.TOTP, VerificationKind.RECOVERY_CODES),
    (VerificationKind.TOTP, VerificationKind.PHONE),
    (VerificationKind.TOTP, VerificationKind.EMAIL, VerificationKind.RECOVERY_CODES),
    (VerificationKind.PHONE,),
    (VerificationKind.TOTP, VerificationKind.PHONE, VerificationKind.EMAIL),
)
"""What people who are registered have."""
_DOMAINS: Final = ("g•••.com", "o•••.com", "h•••.com", "i•••.com", "z•••.nl", "k•••.nl", "y•••.com", "p•••.org")
_LETTERS: Final = "aabcdeeefghijjjkllmmmnnoprrsstvwy"


_HINTS: Final = {VerificationKind.EMAIL: mail_hint, VerificationKind.PHONE: phone_hint}


def decoys(key: bytes, who: str, allowed: Collection[str]) -> list[Option]:
    """The same for the same name, like what a person's methods look like."""
    drawn = keyed(key, "recovery", who.encode(), b"decoy")
    look = [kind for kind in _LOOKS[drawn[0] % len(_LOOKS)] if kind.value in allowed]
    look = look or [kind for kind in ORDER if kind.value in allowed][:1] or [VerificationKind.EMAIL]
    mail = f"{_LETTERS[drawn[1] % len(_LETTERS)]}•••@{_DOMAINS[drawn[2] % len(_DOMAINS)]}"
    hints = {VerificationKind.EMAIL: mail, VerificationKind.PHONE: f"••• {int.from_bytes(drawn[3:7]) % 100:02}"}
    ordered = sorted(look, key=ORDER.index)
    return [Option(option_id(key, who, kind.encode()), kind, hints.get(kind)) for kind in ordered]


def options(keys: Keyring, key: bytes, who: str, standing: Standing) -> list[Option]:
    """What a person really has."""
    found = []
    for one in standing.usable:
        hint = None
        if one.kind in SENT:
            try:
                hint = _HINTS[one.kind](standing.contacts[one.id].open(keys))
            except SealBroken:
                continue  # nothing could be sent there
        found.append(Option(option_id(key, who, one.id.bytes), one.kind, hint, one))
    return found
