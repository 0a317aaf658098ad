"""The temporary passcode: sealed in the transaction that settles its job, read by the one who asked, then destroyed.

Unread, and from its first reading on, it lives as long as the organization says. The newest replaces older ones.
Destroyed means that the sealed value, key and all, is gone from the row.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.hot import Hot
from models.notification import Severity, telling_otherwise
from models.sealed import Keyring
from models.vocabulary import PasscodeKind, Secret, new_id

passcode = sa.Table(
    "passcode",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("device_id", Id, sa.ForeignKey("device.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, comment="who asked, and alone may read"),
    sa.Column("job_id", Id, sa.ForeignKey("job.id"), nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("first_read_at", Moment, nullable=True),
    sa.Column("readable_until", Moment, nullable=False),
    sa.Column("destroyed_at", Moment, nullable=True),
    sa.Column("why", sa.Text, nullable=True),
    sa.Index("ix_passcode_device", "organization_id", "device_id", "created_at"),
    partial_index("ix_passcode_due", "readable_until", where="destroyed_at IS NULL"),
)

PURPOSE: Final = "passcode"


@dataclass(frozen=True, slots=True)
class Passcode:
    id: UUID
    organization_id: UUID
    device_id: UUID
    account_id: UUID
    job_id: UUID
    kind: PasscodeKind
    sealed: bytes | None
    created_at: datetime
    first_read_at: datetime | None
    readable_until: datetime

    @classmethod
    def of(cls, row: Any) -> "Passcode":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            device_id=row.device_id,
            account_id=row.account_id,
            job_id=row.job_id,
            kind=PasscodeKind(row.kind),
            sealed=row.sealed,
            created_at=row.created_at,
            first_read_at=row.first_read_at,
            readable_until=row.readable_until,
        )

    def is_readable(self, now: datetime) -> bool:
        return self.sealed is not None and now <= self.readable_until

    def readable_after_reading(self, now: datetime, life: timedelta) -> datetime:
        """The first reading starts the short life, and never makes it longer than it was."""
        if self.first_read_at is not None:
            return self.readable_until
        return min(self.readable_until, now + life)

    def open(self, keys: Keyring) -> Secret:
        if self.sealed is None:
            raise ValueError("the passcode was destroyed")
        return keys.open(self.sealed, purpose=PURPOSE, owner=_owner(self.organization_id, self.device_id, self.job_id))


def _owner(organization_id: UUID, device_id: UUID, job_id: UUID) -> tuple[UUID, UUID, UUID]:
    return organization_id, device_id, job_id


_INSERT: Final = Hot(sa.insert(passcode))
_DESTROY_OF_DEVICE: Final = Hot(
    sa.update(passcode)
    .where(
        passcode.c.organization_id == sa.bindparam("organization"),
        passcode.c.device_id == sa.bindparam("device"),
        passcode.c.destroyed_at.is_(None),
    )
    .values(sealed=None, destroyed_at=sa.bindparam("now"), why=sa.bindparam("reason"))
)

# The job that told of the code that can still be read.
_TOLD_BY: Final = (
    sa.select(passcode.c.job_id)
    .where(
        passcode.c.organization_id == sa.bindparam("organization"),
        passcode.c.device_id == sa.bindparam("device"),
        passcode.c.destroyed_at.is_(None),
    )
    .order_by(passcode.c.created_at.desc())
    .limit(1)
    .scalar_subquery()
)
_TELL_REPLACED: Final = telling_otherwise(_TOLD_BY)
REPLACED_KEY: Final = "passcode.replaced"


def tell_replaced(tx: Transaction, organization_id: UUID, device_id: UUID, account_id: UUID) -> None:
    """Whoever was told of a code that can still be read is told that the device has a newer one.

    Before the newer one is told, which is to stand above it, and before the older is destroyed.
    """
    values = {
        "organization": organization_id,
        "device": device_id,
        "whose": account_id,
        "new_key": REPLACED_KEY,
        "new_severity": Severity.INFO.value,
    }
    for hot in _TELL_REPLACED:
        tx.later(hot, values)


async def keep(
    tx: Transaction,
    *,
    organization_id: UUID,
    device_id: UUID,
    account_id: UUID,
    job_id: UUID,
    kind: PasscodeKind,
    secret: Secret,
    keys: Keyring,
    readable_until: datetime,
    now: datetime,
) -> None:
    """Seal a new one; what was readable of this device before is destroyed."""
    await destroy_of_device(tx, organization_id, device_id, "replaced", now)
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "device_id": device_id,
        "account_id": account_id,
        "job_id": job_id,
        "kind": kind.value,
        "sealed": keys.seal(secret, purpose=PURPOSE, owner=_owner(organization_id, device_id, job_id)),
        "created_at": now,
        "readable_until": readable_until,
    }
    tx.later(_INSERT, values)


async def newest_of_device(tx: Transaction, organization_id: UUID, device_id: UUID) -> Passcode | None:
    statement = (
        sa.select(passcode)
        .where(passcode.c.organization_id == organization_id, passcode.c.device_id == device_id)
        # Of two made in one moment the one that was not replaced.
        .order_by(passcode.c.created_at.desc(), passcode.c.destroyed_at.is_(None).desc())
        .limit(1)
    )
    row = (await tx.execute(statement.with_for_update())).one_or_none()
    return None if row is None else Passcode.of(row)


async def note_reading(tx: Transaction, read: Passcode, now: datetime, life: timedelta) -> datetime:
    """Write down the first reading, which starts this life; until when it can be read again."""
    until = read.readable_after_reading(now, life)
    await tx.execute(
        sa.update(passcode)
        .where(passcode.c.id == read.id)
        .values(first_read_at=sa.func.coalesce(passcode.c.first_read_at, sa.literal(now, Moment)), readable_until=until)
    )
    return until


async def destroy_of_device(tx: Transaction, organization_id: UUID, device_id: UUID, why: str, now: datetime) -> None:
    values = {"organization": organization_id, "device": device_id, "now": now, "reason": why}
    tx.later(_DESTROY_OF_DEVICE, values)


async def destroy_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = (
        sa.select(passcode.c.id)
        .where(passcode.c.readable_until < now, passcode.c.destroyed_at.is_(None))
        .limit(limit)
        .scalar_subquery()
    )
    statement = sa.update(passcode).where(passcode.c.id.in_(old)).values(sealed=None, destroyed_at=now, why="lapsed")
    return (await tx.execute(statement)).rowcount
