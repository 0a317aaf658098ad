"""Where a method's codes go: a phone's number, a mail address. Sealed, and told masked; found by a keyed hash alone.

It counts when a code that was sent there has come back. A confirmed mail address gets the notices, too.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.errors import AddressInUse, AddressQuota
from models.sealed import Keyring, SealBroken
from models.verification import Verification, VerificationKind
from models.vocabulary import Secret

PURPOSE: Final = "contact"
ACCOUNTS: Final = 3
"""So many may share one address at most: a family's mailbox, a team's phone."""
SETTLED: Final = timedelta(hours=24)
"""How long an address must have been confirmed before it alone leads back into an account."""

contact = sa.Table(
    "contact",
    metadata,
    sa.Column("id", Id, sa.ForeignKey("verification.id", ondelete="CASCADE"), primary_key=True, comment="its method's"),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("address", sa.LargeBinary, nullable=False, comment="sealed"),
    sa.Column("address_hash", sa.Text, nullable=False, index=True, comment="keyed"),
    sa.Column("replaces", Id, nullable=True, comment="the method whose place it takes when it is confirmed"),
    sa.Column("confirmed_at", Moment, nullable=True),
    sa.Column("replaced_by", Id, nullable=True, comment="the method that took its place"),
    sa.Column("kept_until", Moment, nullable=True, comment="it went, and so long it can be put back"),
    partial_index("ix_contact_kept", "kept_until", where="kept_until IS NOT NULL"),
)

IN_FORCE: Final = sa.and_(contact.c.confirmed_at.is_not(None), contact.c.kept_until.is_(None))
"""What was confirmed, and has not gone since."""
KINDS: Final = frozenset({VerificationKind.PHONE, VerificationKind.EMAIL})
"""That have an address."""


@dataclass(frozen=True, slots=True)
class Contact:
    id: UUID
    organization_id: UUID
    account_id: UUID
    kind: VerificationKind
    sealed: bytes = field(repr=False)
    address_hash: str
    replaces: UUID | None
    confirmed_at: datetime | None
    replaced_by: UUID | None = None

    @classmethod
    def of(cls, row: Any) -> "Contact":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            kind=VerificationKind(row.kind),
            sealed=row.address,
            address_hash=row.address_hash,
            replaces=row.replaces,
            confirmed_at=row.confirmed_at,
            replaced_by=row.replaced_by,
        )

    def open(self, keys: Keyring) -> str:
        return keys.open(self.sealed, purpose=PURPOSE, owner=(self.organization_id, self.id)).text()

    def hint(self, keys: Keyring) -> str:
        return masked(self.open(keys))

    def was_settled(self, at: datetime) -> bool:
        """Whether it was the person's the day before."""
        return self.confirmed_at is not None and at >= self.confirmed_at + SETTLED


def masked(address: str) -> str:
    """Enough for whoever knows it. As many dots whatever its length."""
    local, at, domain = address.rpartition("@")
    if at:
        return f"{local[0]}•••@{domain}"
    return f"{address[: 1 + _country_digits(address[1:])]} ••••••{address[-2:]}"


_TWO_DIGITS: Final = frozenset({20, 27, 36, 39, 40, 41, 81, 82, 84, 86, 98} | {*range(30, 35)}) | frozenset(
    {*range(43, 50)} | {*range(51, 59)} | {*range(60, 67)} | {*range(90, 96)}
)


def _country_digits(number: str) -> int:
    """Country codes (ITU-T E.164) are prefix-free: 1 and 7, those of two digits, and all others have three."""
    if number[0] in "17":
        return 1
    return 2 if int(number[:2]) in _TWO_DIGITS else 3


async def keep(
    tx: Transaction,
    *,
    verification_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    kind: VerificationKind,
    address: str,
    address_hash: str,
    replaces: UUID | None,
    keys: Keyring,
) -> None:
    """Of a method that was begun. `address` as `models.address` writes it."""
    sealed = keys.seal(Secret(address.encode()), purpose=PURPOSE, owner=(organization_id, verification_id))
    await tx.execute(
        sa.insert(contact).values(
            id=verification_id,
            organization_id=organization_id,
            account_id=account_id,
            kind=kind.value,
            address=sealed,
            address_hash=address_hash,
            replaces=replaces,
        )
    )


async def of_method(tx: Transaction, verification_id: UUID) -> Contact | None:
    row = (await tx.execute(sa.select(contact).where(contact.c.id == verification_id))).one_or_none()
    return None if row is None else Contact.of(row)


async def of_account(tx: Transaction, account_id: UUID) -> dict[UUID, Contact]:
    """The confirmed ones, by their method's id."""
    statement = sa.select(contact).where(contact.c.account_id == account_id, IN_FORCE)
    return {row.id: Contact.of(row) for row in await tx.execute(statement)}


@dataclass(frozen=True, slots=True)
class Linked:
    """An address that is shown to whoever it belongs to: masked, as everywhere."""

    method_id: UUID
    hint: str
    confirmed_at: datetime


async def mails_of(tx: Transaction, account_id: UUID, keys: Keyring) -> tuple[Linked, ...]:
    """The confirmed ones, the oldest first. One that no key opens any more hides none of the others."""
    found = []
    for held in (await of_account(tx, account_id)).values():
        if held.kind is VerificationKind.EMAIL and held.confirmed_at is not None:
            with contextlib.suppress(SealBroken):
                found.append(Linked(held.id, held.hint(keys), held.confirmed_at))
    return tuple(sorted(found, key=lambda one: (one.confirmed_at, one.method_id)))


async def with_hints(tx: Transaction, keys: Keyring, methods: Sequence[Verification]) -> list[Verification]:
    """The same, those that have an address with its mask. Without a key that opens it there is none to show."""
    wanted = [one.id for one in methods if one.kind in KINDS]
    if not wanted:
        return list(methods)
    statement = sa.select(contact).where(contact.c.id.in_(wanted))
    hints = {}
    for row in await tx.execute(statement):
        with contextlib.suppress(SealBroken):
            hints[row.id] = Contact.of(row).hint(keys)
    return [replace(one, hint=hints.get(one.id)) for one in methods]


def must_be_new(mine: Sequence[Contact], kind: VerificationKind, address_hash: str) -> None:
    """One address is one method of a person. Raises AddressInUse."""
    if any(one.kind is kind and one.address_hash == address_hash for one in mine):
        raise AddressInUse


async def must_have_room(tx: Transaction, pending: Contact) -> None:
    """Asked when the code has come back, never before: only who reads an address learns that others use it.

    Raises AddressQuota.
    """
    same = contact.c.address_hash == pending.address_hash
    # Those that are being confirmed hold their rows, too: two at once are counted one after the other.
    await tx.execute(sa.select(contact.c.id).where(same).order_by(contact.c.id).with_for_update())
    others = sa.select(sa.func.count(sa.distinct(contact.c.account_id))).where(
        same, IN_FORCE, contact.c.account_id != pending.account_id
    )
    if int((await tx.execute(others)).scalar_one()) >= ACCOUNTS:
        raise AddressQuota(most=ACCOUNTS)


async def confirm(tx: Transaction, pending: Contact, now: datetime) -> None:
    await tx.execute(sa.update(contact).where(contact.c.id == pending.id).values(confirmed_at=now, replaces=None))


async def set_aside(tx: Transaction, verification_id: UUID, by: UUID | None, until: datetime) -> None:
    """It was taken away, or gave its place to another, which may have been somebody else's doing: so long it can be
    put back."""
    statement = sa.update(contact).where(contact.c.id == verification_id)
    await tx.execute(statement.values(replaced_by=by, kept_until=until))


async def successors(tx: Transaction, account_id: UUID, first: UUID, until: datetime | None) -> list[UUID]:
    """Whatever took its place, and then that one's place, and so on, to the first that came later than `until`."""
    rows = await tx.execute(
        sa.select(contact.c.id, contact.c.replaced_by).where(contact.c.account_id == account_id, _came_by(until))
    )
    by = {row.id: row.replaced_by for row in rows}
    found: list[UUID] = []
    heir = by.pop(first, None)
    while heir in by:
        found.append(heir)
        heir = by.pop(heir)
    return found


async def since(tx: Transaction, gone: Contact, at: datetime, until: datetime | None) -> list[UUID]:
    """What was confirmed after that one went, of its kind, in force or gone in its turn; after a mail address, which
    gets the notices, of every kind.
    """
    kinds = KINDS if gone.kind is VerificationKind.EMAIL else {gone.kind}
    statement = sa.select(contact.c.id).where(
        contact.c.account_id == gone.account_id, contact.c.kind.in_(kinds), contact.c.confirmed_at > at, _came_by(until)
    )
    return list((await tx.execute(statement.order_by(contact.c.id))).scalars())


def _came_by(until: datetime | None) -> sa.ColumnElement[bool]:
    """Confirmed then or before; without a moment, at any."""
    return contact.c.confirmed_at.is_not(None) if until is None else contact.c.confirmed_at <= until


async def set_aside_of(tx: Transaction, account_id: UUID, now: datetime) -> list[Contact]:
    """Those that went and can be put back."""
    statement = sa.select(contact).where(contact.c.account_id == account_id, contact.c.kept_until >= now)
    return [Contact.of(row) for row in await tx.execute(statement.order_by(contact.c.id))]


async def put_back(tx: Transaction, gone: Contact) -> None:
    """As it was."""
    await tx.execute(sa.update(contact).where(contact.c.id == gone.id).values(replaced_by=None, kept_until=None))


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """What nobody wanted back."""
    old = sa.select(contact.c.id).where(contact.c.kept_until < now).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(contact).where(contact.c.id.in_(old)))).rowcount


async def forget(tx: Transaction, verification_id: UUID) -> None:
    await tx.execute(sa.delete(contact).where(contact.c.id == verification_id))
