"""Passkeys and security keys: what is kept of each, and the challenges that one of them may answer once.

The private key never leaves its device, so nothing here opens anything. A challenge is bound to what it is for; whoever
presents it, rightly or wrongly, has spent it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Json, Moment, metadata
from models.database import Transaction
from models.vocabulary import new_id

CHALLENGE_LIFE: Final = timedelta(minutes=5)
CHALLENGE_BYTES: Final = 32
HANDLE_BYTES: Final = 32
"""Random, so that the name under which a device keeps it names nobody (WebAuthn, 14.6.1)."""

passkey = sa.Table(
    "passkey",
    metadata,
    sa.Column("verification_id", Id, sa.ForeignKey("verification.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("credential_id", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("public_key", sa.LargeBinary, nullable=False, comment="COSE"),
    sa.Column("sign_count", sa.BigInteger, nullable=False, comment="the newest that it told; 0: it keeps none"),
    sa.Column("aaguid", Id, nullable=False, comment="what it says its model is; nobody has vouched for that"),
    sa.Column("transports", Json, nullable=False),
    sa.Column("backup_eligible", sa.Boolean, nullable=False),
    sa.Column("backed_up", sa.Boolean, nullable=False),
    sa.Index("ix_passkey_account", "account_id"),
)

passkey_handle = sa.Table(
    "passkey_handle",
    metadata,
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("handle", sa.LargeBinary, nullable=False, unique=True),
)

passkey_challenge = sa.Table(
    "passkey_challenge",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=True, comment="null: nobody's yet"),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("challenge_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("session_id", Id, nullable=True, comment="whose it is, unless it is a browser's"),
    sa.Column("verification_id", Id, nullable=True, comment="what it may confirm"),
    sa.Column("token_hash", sa.LargeBinary, nullable=True, comment="of the browser that was given it"),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Index("ix_passkey_challenge_session", "session_id", "purpose"),
)


class Purpose(StrEnum):
    REGISTER = "register"
    """Of one method that was begun in one session."""
    SECOND_FACTOR = "second_factor"
    """Of one half sign-in."""
    PROOF = "proof"
    """Of one session."""
    SIGN_IN = "sign_in"
    """Of one browser, which has said nothing of who it is."""


@dataclass(frozen=True, slots=True)
class Passkey:
    verification_id: UUID
    organization_id: UUID
    account_id: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]
    backup_eligible: bool

    @classmethod
    def of(cls, row: Any) -> "Passkey":
        return cls(
            verification_id=row.verification_id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            credential_id=row.credential_id,
            public_key=row.public_key,
            sign_count=row.sign_count,
            transports=tuple(row.transports),
            backup_eligible=row.backup_eligible,
        )

    def is_copy(self, sign_count: int) -> bool:
        """A counter that does not go on was counted by two (WebAuthn, 6.1.1). Of many that keep none it stays at 0."""
        return (sign_count > 0 or self.sign_count > 0) and sign_count <= self.sign_count


@dataclass(frozen=True, slots=True)
class Challenge:
    purpose: Purpose
    session_id: UUID | None
    verification_id: UUID | None
    token_hash: bytes | None
    expires_at: datetime

    def lives(self, now: datetime) -> bool:
        return now < self.expires_at


def new_challenge() -> bytes:
    return secrets.token_bytes(CHALLENGE_BYTES)


async def keep(
    tx: Transaction,
    *,
    verification_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    credential_id: bytes,
    public_key: bytes,
    sign_count: int,
    aaguid: UUID,
    transports: tuple[str, ...],
    backup_eligible: bool,
    backed_up: bool,
) -> bool:
    """False: this one is known already, whoever has it."""
    statement = tx.insert(passkey).values(
        verification_id=verification_id,
        organization_id=organization_id,
        account_id=account_id,
        credential_id=credential_id,
        public_key=public_key,
        sign_count=sign_count,
        aaguid=aaguid,
        transports=list(transports),
        backup_eligible=backup_eligible,
        backed_up=backed_up,
    )
    kept = await tx.execute(statement.on_conflict_do_nothing().returning(passkey.c.verification_id))
    return kept.one_or_none() is not None


async def of_account(tx: Transaction, account_id: UUID) -> list[Passkey]:
    """There are never many."""
    statement = sa.select(passkey).where(passkey.c.account_id == account_id).order_by(passkey.c.verification_id)
    return [Passkey.of(row) for row in await tx.execute(statement)]


async def by_credential(tx: Transaction, credential_id: bytes) -> Passkey | None:
    """Whosoever it is: nobody has said a name."""
    statement = sa.select(passkey).where(passkey.c.credential_id == credential_id)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Passkey.of(row)


async def use(tx: Transaction, used: Passkey, *, sign_count: int, backed_up: bool) -> bool:
    """Its counter goes on from where it was seen. False: it was used, or removed, at the same time."""
    statement = (
        sa.update(passkey)
        .where(passkey.c.verification_id == used.verification_id, passkey.c.sign_count == used.sign_count)
        .values(sign_count=sign_count, backed_up=backed_up)
    )
    return (await tx.execute(statement)).rowcount == 1


async def forget(tx: Transaction, verification_id: UUID) -> None:
    await tx.execute(sa.delete(passkey).where(passkey.c.verification_id == verification_id))


async def handle_of(tx: Transaction, account_id: UUID) -> bytes | None:
    statement = sa.select(passkey_handle.c.handle).where(passkey_handle.c.account_id == account_id)
    found: bytes | None = (await tx.execute(statement)).scalar_one_or_none()
    return found


async def give_handle(tx: Transaction, organization_id: UUID, account_id: UUID) -> bytes:
    """The account's own, made when it is first asked for. The account's row is held."""
    known = await handle_of(tx, account_id)
    if known is not None:
        return known
    handle = secrets.token_bytes(HANDLE_BYTES)
    row = {"account_id": account_id, "organization_id": organization_id, "handle": handle}
    await tx.execute(sa.insert(passkey_handle).values(**row))
    return handle


# Challenges


async def challenge(
    tx: Transaction,
    purpose: Purpose,
    *,
    now: datetime,
    organization_id: UUID | None = None,
    session_id: UUID | None = None,
    verification_id: UUID | None = None,
    token_hash: bytes | None = None,
) -> tuple[bytes, datetime]:
    """A new one, and its end. One of a session takes the place of an older one for the same."""
    if session_id is not None:
        older = sa.delete(passkey_challenge).where(passkey_challenge.c.session_id == session_id)
        await tx.execute(older.where(passkey_challenge.c.purpose == purpose.value))
    made, expires_at = new_challenge(), now + CHALLENGE_LIFE
    await tx.execute(
        sa.insert(passkey_challenge).values(
            id=new_id(now),
            organization_id=organization_id,
            purpose=purpose.value,
            challenge_hash=_hash(made),
            session_id=session_id,
            verification_id=verification_id,
            token_hash=token_hash,
            expires_at=expires_at,
        )
    )
    return made, expires_at


async def spend(tx: Transaction, answered: bytes) -> Challenge | None:
    """The challenge that was answered, gone for good. None: there is none such, or it was spent, perhaps just now."""
    statement = sa.select(passkey_challenge).where(passkey_challenge.c.challenge_hash == _hash(answered))
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        return None
    gone = await tx.execute(sa.delete(passkey_challenge).where(passkey_challenge.c.id == row.id))
    if gone.rowcount != 1:
        return None
    return Challenge(
        purpose=Purpose(row.purpose),
        session_id=row.session_id,
        verification_id=row.verification_id,
        token_hash=row.token_hash,
        expires_at=row.expires_at,
    )


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = (
        sa.select(passkey_challenge.c.id)
        .where(passkey_challenge.c.expires_at <= now)
        .order_by(passkey_challenge.c.expires_at)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(passkey_challenge).where(passkey_challenge.c.id.in_(old)))).rowcount


def _hash(answered: bytes) -> bytes:
    return hashlib.sha256(answered).digest()
