"""Second proofs. Today TOTP alone (RFC 6238): 6 digits, 30 s, SHA-1, one step of drift either way, each step once."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import pyotp
import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction
from models.sealed import Keyring
from models.vocabulary import Secret

PERIOD: Final = 30
DRIFT: Final = (-1, 0, 1)

verification = sa.Table(
    "verification",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False, comment="sealed"),
    sa.Column("last_step", sa.BigInteger, nullable=False, comment="the newest time step that was accepted"),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Index("ix_verification_account", "account_id"),
)


class VerificationKind(StrEnum):
    TOTP = "totp"


@dataclass(frozen=True, slots=True)
class Verification:
    id: UUID
    organization_id: UUID
    account_id: UUID
    kind: VerificationKind
    label: str
    last_step: int
    is_default: bool
    sealed: bytes

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
        )

    def step_of(self, code: str, keys: Keyring, now: datetime) -> int | None:
        """The time step whose code this is, if it is within the drift and newer than any accepted one.

        All candidates are compared, each in constant time: how long it takes tells nothing.
        """
        totp = pyotp.TOTP(self._open(keys).text(), interval=PERIOD)
        current = int(now.timestamp()) // PERIOD
        steps = [
            current + drift
            for drift in DRIFT
            if hmac.compare_digest(totp.generate_otp(current + drift).encode(), code.encode())
        ]
        newer = [step for step in steps if step > self.last_step]
        return min(newer) if newer else None

    def _open(self, keys: Keyring) -> Secret:
        return keys.open(self.sealed, purpose=PURPOSE, owner=(self.organization_id, self.account_id, self.id))


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
) -> sa.Insert:
    """`secret` is the base32 text that an authenticator app is given."""
    return sa.insert(verification).values(
        id=verification_id,
        organization_id=organization_id,
        account_id=account_id,
        kind=VerificationKind.TOTP.value,
        label=label,
        secret=keys.seal(secret, purpose=PURPOSE, owner=(organization_id, account_id, verification_id)),
        last_step=-1,
        is_default=is_default,
        created_at=now,
    )


async def of_account(tx: Transaction, account_id: UUID) -> list[Verification]:
    """The default first, then the oldest."""
    statement = (
        sa.select(verification)
        .where(verification.c.account_id == account_id)
        .order_by(verification.c.is_default.desc(), verification.c.created_at)
    )
    return [Verification.of(row) for row in await tx.execute(statement)]


async def spend(tx: Transaction, verification_id: UUID, step: int) -> bool:
    """Accept this time step once and for all. False: it, or a later one, was spent already (a replay)."""
    statement = (
        sa.update(verification)
        .where(verification.c.id == verification_id, verification.c.last_step < step)
        .values(last_step=step)
    )
    return (await tx.execute(statement)).rowcount == 1
