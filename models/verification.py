"""Second proofs: what a person has beside the password, which of it is asked for, and what may be taken away.

What all kinds have in common is here, and the authenticator app's codes (TOTP, RFC 6238): 6 digits, 30 s, SHA-1, one
step of drift either way, each step once.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import pyotp
import sqlalchemy as sa

from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.errors import LabelTaken, LastMethod, MethodQuota
from models.hot import Answer, Hot, Question
from models.sealed import Keyring
from models.vocabulary import Secret

PERIOD: Final = 30
DRIFT: Final = (-1, 0, 1)
HINT: Final = 10
"""Steps within which a wrong code is told to come from a clock that is off; only while the app is being added."""
PENDING: Final = timedelta(minutes=10)
"""How long a method that was begun waits to be confirmed."""
WRONG_CODES: Final = 5
"""So many, and what was begun is over."""

verification = sa.Table(
    "verification",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=True, comment="sealed; erased with the method"),
    sa.Column("last_step", sa.BigInteger, nullable=False, comment="the newest time step that was accepted"),
    sa.Column("tries", sa.SmallInteger, nullable=False, server_default="0", comment="wrong codes while it was pending"),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column(
        "verifies_person",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="a passkey that asked its device who holds it when it was added",
    ),
    sa.Column("begun_in", Id, nullable=True, comment="the session that may confirm it"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("used_at", Moment, nullable=True),
    sa.Column("expires_at", Moment, nullable=True, comment="of what is pending, and of what is temporary"),
    sa.Index("ix_verification_account", "account_id"),
    partial_index(
        "uq_verification_label",
        "account_id",
        "label",
        where="state IN ('active', 'suspended') AND kind NOT IN ('recovery_codes', 'access_pass')",
        unique=True,
    ),
    partial_index("uq_verification_default", "account_id", where="is_default", unique=True),
    partial_index("ix_verification_pending", "expires_at", where="state = 'pending'"),
)


class VerificationKind(StrEnum):
    TOTP = "totp"
    """An authenticator app."""
    PASSKEY = "passkey"
    """Or a security key: whatever speaks WebAuthn."""
    PHONE = "phone"
    EMAIL = "email"
    RECOVERY_CODES = "recovery_codes"
    ACCESS_PASS = "access_pass"
    """From an administrator, for a time."""


class VerificationState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    REVOKED = "revoked"


class Use(StrEnum):
    MFA = "mfa"
    RECOVERY = "recovery"


USABLE_FOR: Final[Mapping[VerificationKind, tuple[Use, ...]]] = {
    VerificationKind.TOTP: (Use.MFA, Use.RECOVERY),
    VerificationKind.PASSKEY: (Use.MFA,),
    VerificationKind.PHONE: (Use.MFA, Use.RECOVERY),
    VerificationKind.EMAIL: (Use.RECOVERY,),
    VerificationKind.RECOVERY_CODES: (Use.MFA, Use.RECOVERY),
    VerificationKind.ACCESS_PASS: (Use.MFA,),
}
STAND_INS: Final = frozenset({VerificationKind.RECOVERY_CODES, VerificationKind.ACCESS_PASS})
"""Kinds for the day on which the others are lost: counted, written down and told each time."""
STANDING: Final = (VerificationKind.PASSKEY, VerificationKind.TOTP, VerificationKind.PHONE)
"""Kinds that are asked for at every sign-in once a person has one, the strongest first. One of them is the default."""
NAMED: Final = frozenset(VerificationKind) - STAND_INS
"""Kinds of which somebody has several, each with a name of its own."""
MOST: Final[Mapping[VerificationKind, int]] = {
    VerificationKind.TOTP: 5,
    VerificationKind.PASSKEY: 10,
    VerificationKind.PHONE: 3,
    VerificationKind.EMAIL: 3,
    VerificationKind.RECOVERY_CODES: 1,
    VerificationKind.ACCESS_PASS: 1,
}
"""How many of a kind one person has at most."""


@dataclass(frozen=True, slots=True)
class Verification:
    id: UUID
    organization_id: UUID
    account_id: UUID
    kind: VerificationKind
    label: str
    last_step: int
    is_default: bool
    sealed: bytes | None = field(repr=False)
    created_at: datetime
    state: VerificationState = VerificationState.ACTIVE
    tries: int = 0
    begun_in: UUID | None = None
    used_at: datetime | None = None
    expires_at: datetime | None = None
    verifies_person: bool = False
    hint: str | None = field(default=None, repr=False)
    """Where its codes go, masked; of a kind that has an address, where somebody is shown it."""

    @classmethod
    def of(cls, row: Any) -> "Verification":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            kind=VerificationKind(row.kind),
            label=row.label,
            last_step=row.last_step,
            is_default=row.is_default,
            sealed=row.secret,
            created_at=row.created_at,
            state=VerificationState(row.state),
            tries=row.tries,
            begun_in=row.begun_in,
            used_at=row.used_at,
            expires_at=row.expires_at,
            verifies_person=row.verifies_person,
        )

    @property
    def usable_for(self) -> tuple[Use, ...]:
        return USABLE_FOR[self.kind]

    @property
    def mark(self) -> str:
        """The ETag of what a person may edit."""
        edited = f"{self.label}\0{self.is_default}".encode()
        return f'"{hashlib.sha256(edited).hexdigest()[:32]}"'

    def lives(self, now: datetime) -> bool:
        return self.state is VerificationState.ACTIVE and (self.expires_at is None or now < self.expires_at)

    def is_pending(self, now: datetime) -> bool:
        return self.state is VerificationState.PENDING and self.expires_at is not None and now < self.expires_at

    def step_of(self, code: str, keys: Keyring, now: datetime) -> int | None:
        """The time step whose code this is, if it is within the drift and newer than any accepted one."""
        newer = [step for step in self._steps_of(code, keys, now, DRIFT) if step > self.last_step]
        return min(newer) if newer else None

    def clock_off(self, code: str, keys: Keyring, now: datetime) -> int | None:
        """By how many seconds the app's clock seems to be ahead (negative: behind). A hint, which never grants."""
        near = self._steps_of(code, keys, now, range(-HINT, HINT + 1))
        return (min(near, key=lambda step: abs(step - _step(now))) - _step(now)) * PERIOD if near else None

    def _steps_of(self, code: str, keys: Keyring, now: datetime, drift: Iterable[int]) -> list[int]:
        """All candidates are compared, each in constant time: how long it takes tells nothing."""
        totp = pyotp.TOTP(self._open(keys).text(), interval=PERIOD)
        steps = [step for step in (_step(now) + one for one in drift) if step >= 0]
        return [step for step in steps if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())]

    def _open(self, keys: Keyring) -> Secret:
        if self.sealed is None:
            raise ValueError("the method has no secret")
        return keys.open(self.sealed, purpose=PURPOSE, owner=(self.organization_id, self.account_id, self.id))


def _step(now: datetime) -> int:
    return int(now.timestamp()) // PERIOD


PURPOSE: Final = "totp"


def new_totp(
    *,
    verification_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    label: str,
    secret: Secret,
    keys: Keyring,
    is_default: bool,
    now: datetime,
    begun_in: UUID | None = None,
) -> sa.Insert:
    """`secret` is the base32 text that an authenticator app is given. With a session that began it, it is pending."""
    return sa.insert(verification).values(
        id=verification_id,
        organization_id=organization_id,
        account_id=account_id,
        kind=VerificationKind.TOTP.value,
        state=(VerificationState.ACTIVE if begun_in is None else VerificationState.PENDING).value,
        label=label,
        secret=keys.seal(secret, purpose=PURPOSE, owner=(organization_id, account_id, verification_id)),
        last_step=-1,
        is_default=is_default,
        begun_in=begun_in,
        created_at=now,
        expires_at=None if begun_in is None else now + PENDING,
    )


def new_passkey(
    *, verification_id: UUID, organization_id: UUID, account_id: UUID, label: str, begun_in: UUID, now: datetime
) -> sa.Insert:
    """Pending until its device has answered the challenge."""
    return sa.insert(verification).values(
        id=verification_id,
        organization_id=organization_id,
        account_id=account_id,
        kind=VerificationKind.PASSKEY.value,
        state=VerificationState.PENDING.value,
        label=label,
        last_step=-1,
        is_default=False,
        begun_in=begun_in,
        created_at=now,
        expires_at=now + PENDING,
    )


def new_unnamed(
    *,
    verification_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    kind: VerificationKind,
    now: datetime,
    expires_at: datetime | None = None,
) -> sa.Insert:
    """Of a kind that one person has once: it needs no name of its own."""
    return sa.insert(verification).values(
        id=verification_id,
        organization_id=organization_id,
        account_id=account_id,
        kind=kind.value,
        state=VerificationState.ACTIVE.value,
        label=kind.value,
        last_step=-1,
        is_default=False,
        created_at=now,
        expires_at=expires_at,
    )


def new_contact(
    *,
    verification_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    kind: VerificationKind,
    label: str,
    begun_in: UUID,
    expires_at: datetime,
    now: datetime,
) -> sa.Insert:
    """Of a kind that has an address (models/contact.py): pending until a code that was sent there has come back."""
    return sa.insert(verification).values(
        id=verification_id,
        organization_id=organization_id,
        account_id=account_id,
        kind=kind.value,
        state=VerificationState.PENDING.value,
        label=label,
        last_step=-1,
        is_default=False,
        begun_in=begun_in,
        created_at=now,
        expires_at=expires_at,
    )


# What a person has


_OF_ACCOUNT: Final = Hot(
    sa.select(verification)
    .where(verification.c.account_id == sa.bindparam("account"), verification.c.state == VerificationState.ACTIVE.value)
    .order_by(verification.c.is_default.desc(), verification.c.created_at, verification.c.id)
)


async def of_account(tx: Transaction, account_id: UUID) -> list[Verification]:
    """Everything in force: the default first, then the oldest. What is temporary may be over."""
    return read(await tx.ask(*question(account_id)))


def question(account_id: UUID) -> Question:
    """The same for who asks other things in the same breath; `read` reads the answer."""
    return _OF_ACCOUNT, {"account": account_id}


def read(answer: Answer) -> list[Verification]:
    return [Verification.of(row) for row in answer.rows]


async def by_id(tx: Transaction, account_id: UUID, verification_id: UUID) -> Verification | None:
    """One of the person's own, pending or in force."""
    statement = sa.select(verification).where(
        verification.c.id == verification_id,
        verification.c.account_id == account_id,
        verification.c.state != VerificationState.REVOKED.value,
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Verification.of(row)


async def since(tx: Transaction, account_id: UUID, at: datetime, until: datetime | None) -> list[UUID]:
    """What came or was made anew after that and no later than `until`, of any kind, and is in force."""
    came = [one for one in await of_account(tx, account_id) if one.created_at > at]
    return [one.id for one in came if until is None or one.created_at <= until]


def asked_for(methods: Sequence[Verification], now: datetime) -> list[Verification]:
    """What finishes a sign-in after the password; nothing for whoever has nothing that stands."""
    living = [one for one in methods if one.lives(now) and Use.MFA in one.usable_for]
    return living if any(one.kind in STANDING for one in living) else []


def best_strength(methods: Sequence[Verification]) -> int:
    """The strongest session that these can make, with the password."""
    if any(one.verifies_person for one in methods):
        return 3
    return 2 if any(one.kind in STANDING for one in methods) else 1


def strength_to_change(methods: Sequence[Verification], shown: Collection[str]) -> int:
    """What a change of methods takes: the best that the person has.

    Or a stand-in, which was made for whoever has lost it: else a lost passkey could never be replaced.
    """
    best = best_strength(methods)
    return min(best, 2) if STAND_INS & set(shown) else best


# What may be added, and taken away


def must_have_room(methods: Sequence[Verification], kind: VerificationKind, label: str) -> None:
    """Raises MethodQuota, LabelTaken."""
    if sum(one.kind is kind for one in methods) >= MOST[kind]:
        raise MethodQuota(kind=kind.value, most=MOST[kind])
    must_be_free(methods, label)


def must_be_free(methods: Sequence[Verification], label: str) -> None:
    """One person's methods have different names. Raises LabelTaken."""
    if any(one.label == label and one.kind in NAMED for one in methods):
        raise LabelTaken


def must_leave_enough(methods: Sequence[Verification], removed: Verification) -> None:
    """Whoever has a second factor keeps one: another is added first. Raises LastMethod."""
    standing = [one for one in methods if one.kind in STANDING]
    if standing == [removed]:
        raise LastMethod(needed_for="second_factor")


def successor(methods: Sequence[Verification]) -> Verification | None:
    """Which becomes the default where none is: the strongest, and of those the oldest."""
    standing = [one for one in methods if one.kind in STANDING]
    return min(standing, key=lambda one: (STANDING.index(one.kind), one.created_at, one.id), default=None)


async def settle_default(tx: Transaction, account_id: UUID) -> Verification | None:
    """Exactly one is the default, where there is one that can be. Answers the one that has just become it."""
    methods = await of_account(tx, account_id)
    if any(one.is_default for one in methods):
        return None
    heir = successor(methods)
    if heir is not None:
        await _set(tx, heir.id, is_default=True)
    return heir


async def make_default(tx: Transaction, chosen: Verification) -> None:
    """The former one stays as it is otherwise."""
    former = sa.update(verification).where(verification.c.account_id == chosen.account_id, verification.c.is_default)
    await tx.execute(former.values(is_default=False))
    await _set(tx, chosen.id, is_default=True)


async def relabel(tx: Transaction, chosen: Verification, label: str) -> None:
    await _set(tx, chosen.id, label=label)


async def touch(tx: Transaction, used: Verification, now: datetime) -> None:
    await _set(tx, used.id, used_at=now)


async def renew(tx: Transaction, renewed: Verification, now: datetime) -> None:
    """What it stood for was made anew."""
    await _set(tx, renewed.id, created_at=now, used_at=None)


async def activate(
    tx: Transaction, pending: Verification, now: datetime, *, last_step: int = -1, verifies_person: bool = False
) -> None:
    await _set(
        tx,
        pending.id,
        state=VerificationState.ACTIVE.value,
        last_step=last_step,
        begun_in=None,
        created_at=now,
        expires_at=None,
        verifies_person=verifies_person,
    )


async def count_wrong(tx: Transaction, pending: Verification) -> bool:
    """One more wrong code. Whether that was the end of it."""
    over = pending.tries + 1 >= WRONG_CODES
    if over:
        await tx.execute(sa.delete(verification).where(verification.c.id == pending.id))
    else:
        await _set(tx, pending.id, tries=pending.tries + 1)
    return over


async def drop(tx: Transaction, pending: Verification) -> None:
    """It cannot be confirmed any more: nothing was ever proven with it."""
    await tx.execute(sa.delete(verification).where(verification.c.id == pending.id))


async def drop_pending(tx: Transaction, account_id: UUID, kind: VerificationKind) -> None:
    """A newer one takes its place: nothing was ever proven with it."""
    await tx.execute(
        sa.delete(verification).where(
            verification.c.account_id == account_id,
            verification.c.kind == kind.value,
            verification.c.state == VerificationState.PENDING.value,
        )
    )


async def revoke(tx: Transaction, removed: Verification, now: datetime) -> None:
    """It stays as a line of what was there; its secret goes. What is temporary is over with it."""
    await _set(tx, removed.id, **_GONE, expires_at=None if removed.expires_at is None else now)


async def reinstate(tx: Transaction, account_id: UUID, verification_id: UUID, label: str) -> None:
    """What was revoked counts again, as what it was; of a kind that has no secret."""
    statement = sa.update(verification).where(
        verification.c.id == verification_id, verification.c.account_id == account_id
    )
    await tx.execute(statement.values(state=VerificationState.ACTIVE.value, label=label))


async def revoked(tx: Transaction, account_id: UUID, verification_id: UUID) -> Verification | None:
    statement = sa.select(verification).where(
        verification.c.id == verification_id,
        verification.c.account_id == account_id,
        verification.c.state == VerificationState.REVOKED.value,
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Verification.of(row)


_GONE: Final = {
    "state": VerificationState.REVOKED.value,
    "secret": None,
    "is_default": False,
    "verifies_person": False,
}


async def use_up(tx: Transaction, once: Verification, end: datetime) -> Verification:
    """It opens nothing more; what it has opened lives until `end`."""
    await _set(tx, once.id, **_GONE, expires_at=end)
    return replace(once, state=VerificationState.REVOKED, expires_at=end)


async def passes_of(tx: Transaction, account_id: UUID, now: datetime) -> list[Verification]:
    """Passes in force, and those for once that were used and whose sign-in lives on."""
    statement = sa.select(verification).where(
        verification.c.account_id == account_id,
        verification.c.kind == VerificationKind.ACCESS_PASS.value,
        sa.or_(verification.c.state == VerificationState.ACTIVE.value, verification.c.expires_at > now),
    )
    return [Verification.of(row) for row in await tx.execute(statement)]


async def end_of(tx: Transaction, ids: Sequence[str]) -> datetime | None:
    """When the first of these is over, for whatever was proven with them. None: they last."""
    if not ids:
        return None
    statement = sa.select(verification.c.expires_at).where(verification.c.id.in_([UUID(one) for one in ids]))
    ends = (await tx.execute(statement)).scalars()
    return min((end for end in ends if end is not None), default=None)


async def spend(tx: Transaction, verification_id: UUID, step: int, now: datetime) -> bool:
    """Accept this time step once and for all. False: it, or a later one, was spent already (a replay)."""
    statement = (
        sa.update(verification)
        .where(verification.c.id == verification_id, verification.c.last_step < step)
        .values(last_step=step, used_at=now)
    )
    return (await tx.execute(statement)).rowcount == 1


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """What was begun and never confirmed."""
    old = (
        sa.select(verification.c.id)
        .where(verification.c.state == VerificationState.PENDING.value, verification.c.expires_at <= now)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(verification).where(verification.c.id.in_(old)))).rowcount


async def _set(tx: Transaction, verification_id: UUID, **values: Any) -> None:
    await tx.execute(sa.update(verification).where(verification.c.id == verification_id).values(**values))
