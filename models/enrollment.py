"""What ties a device to its platform: its address there, the certificate it proves itself by, and sealed memory.

The memory is the platform's alone (push data, unlock token, nonces); the house seals it and hands it back.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account, device
from models.base import Id, Json, Moment, metadata, partial_index
from models.database import Transaction
from models.organization import membership
from models.sealed import Keyring
from models.settings import ENROLLMENT_LINK, ENROLLMENT_PENDING
from models.vocabulary import Secret

enrollment = sa.Table(
    "enrollment",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("device_id", Id, sa.ForeignKey("device.id"), nullable=False, index=True),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=True, comment="how the device is named on its platform"),
    sa.Column("certificate_hash", sa.LargeBinary, nullable=True, unique=True),
    sa.Column("memory", sa.LargeBinary, nullable=True, comment="sealed; the platform's alone"),
    sa.Column("traits", Json, nullable=False),
    sa.Column("link_hash", sa.LargeBinary, nullable=True, unique=True),
    sa.Column("link_expires_at", Moment, nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("enrolled_at", Moment, nullable=True),
    sa.Column("left_at", Moment, nullable=True),
    partial_index("ix_enrollment_unfinished", "created_at", where="state IN ('invited', 'pending')"),
    # A device that left keeps its row for the record; its address may enrol anew.
    partial_index("uq_enrollment_address", "platform", "address", unique=True, where="left_at IS NULL"),
)

PURPOSE: Final = "enrollment"
UNFINISHED: Final = timedelta(days=1)
"""A device that fetched its profile has this long to come back."""


@dataclass(frozen=True, slots=True)
class Bond:
    """A row of this table. (The platforms' own view of it is `platforms.base.Enrollment`.)"""

    id: UUID
    organization_id: UUID
    device_id: UUID
    platform: str
    state: str
    address: str | None
    certificate_hash: bytes | None
    memory: bytes | None
    traits: dict[str, str]

    @classmethod
    def of(cls, row: Any) -> "Bond":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            device_id=row.device_id,
            platform=row.platform,
            state=row.state,
            address=row.address,
            certificate_hash=row.certificate_hash,
            memory=row.memory,
            traits=dict(row.traits),
        )

    def open_memory(self, keys: Keyring) -> Secret | None:
        if self.memory is None:
            return None
        return keys.open(self.memory, purpose=PURPOSE, owner=(self.organization_id, self.id))


def seal_memory(keys: Keyring, organization_id: UUID, enrollment_id: UUID, memory: Secret) -> bytes:
    return keys.seal(memory, purpose=PURPOSE, owner=(organization_id, enrollment_id))


async def invite(
    tx: Transaction,
    *,
    enrollment_id: UUID,
    organization_id: UUID,
    device_id: UUID,
    platform: str,
    link_hash: bytes,
    link_expires_at: datetime,
    now: datetime,
) -> None:
    await tx.execute(
        sa.insert(enrollment).values(
            id=enrollment_id,
            organization_id=organization_id,
            device_id=device_id,
            platform=platform,
            state="invited",
            traits={},
            link_hash=link_hash,
            link_expires_at=link_expires_at,
            created_at=now,
        )
    )


async def of_link(tx: Transaction, link_hash: bytes, now: datetime, *, hold: bool = False) -> Bond | None:
    """The invitation behind a link that is still good; hold it, and it opens once.

    That of somebody who is blocked, or does not belong here any more, opens nothing.
    """
    theirs = sa.exists().where(
        device.device.c.id == enrollment.c.device_id,
        account.account.c.id == device.device.c.account_id,
        account.account.c.blocked_at.is_(None),
        membership.c.organization_id == enrollment.c.organization_id,
        membership.c.account_id == device.device.c.account_id,
    )
    statement = sa.select(enrollment).where(
        enrollment.c.link_hash == link_hash,
        enrollment.c.state == "invited",
        enrollment.c.link_expires_at >= now,
        theirs,
    )
    row = (await tx.execute(statement.with_for_update() if hold else statement)).one_or_none()
    return None if row is None else Bond.of(row)


async def open_link(tx: Transaction, bond: Bond, certificate_hash: bytes | None, memory: bytes | None) -> None:
    """The link is spent; only the certificate that it handed out may come back."""
    await tx.execute(
        sa.update(enrollment)
        .where(enrollment.c.id == bond.id)
        .values(certificate_hash=certificate_hash, memory=memory, link_hash=None, link_expires_at=None)
    )


async def erase_unfinished(tx: Transaction, now: datetime, limit: int) -> list[UUID]:
    """Invitations that nobody opened in time, or that no device followed up; the devices that they were for."""
    old = (
        sa.select(enrollment.c.id)
        .where(
            enrollment.c.state == "invited",
            enrollment.c.created_at < now - ENROLLMENT_LINK,
            sa.or_(enrollment.c.link_hash.is_not(None), enrollment.c.created_at < now - UNFINISHED),
        )
        .order_by(enrollment.c.created_at)
        .limit(limit)
        .scalar_subquery()
    )
    statement = sa.delete(enrollment).where(enrollment.c.id.in_(old)).returning(enrollment.c.device_id)
    return list((await tx.execute(statement)).scalars())


async def given_up(tx: Transaction, now: datetime, limit: int) -> list[sa.Row[Any]]:
    """Bonds of devices that began to enrol and fell silent, held; with the organization, device and account of each."""
    since = now - ENROLLMENT_PENDING
    devices = device.device.c
    statement = (
        sa.select(enrollment.c.id, enrollment.c.organization_id, enrollment.c.device_id, devices.account_id)
        .join_from(enrollment, device.device, devices.id == enrollment.c.device_id)
        .where(
            enrollment.c.state == "pending",
            enrollment.c.created_at <= since,
            # A device of long standing that enrols anew is silent from now on, not from its beginning.
            sa.or_(devices.last_seen_at.is_(None), devices.last_seen_at <= since),
        )
        .order_by(enrollment.c.created_at)
        .limit(limit)
        .with_for_update(of=enrollment, skip_locked=True)
    )
    return list((await tx.execute(statement)).all())


async def living_at(tx: Transaction, platform: str, address: str) -> Bond | None:
    """Who has this address on this platform now."""
    statement = (
        sa.select(enrollment)
        .where(enrollment.c.platform == platform, enrollment.c.address == address, enrollment.c.left_at.is_(None))
        .with_for_update()
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Bond.of(row)


async def hold_living(tx: Transaction, device_id: UUID, *, within: UUID | None = None) -> None:
    """What a check-in of this device holds first: who holds it is alone with the device. `within`: the organization,
    where the id is anybody's word; another's is not held."""
    statement = sa.select(enrollment.c.id).where(enrollment.c.device_id == device_id, enrollment.c.left_at.is_(None))
    if within is not None:
        statement = statement.where(enrollment.c.organization_id == within)
    await tx.execute(statement.with_for_update())


async def end_of_device(tx: Transaction, device_id: UUID, now: datetime) -> None:
    await tx.execute(
        sa.update(enrollment)
        .where(enrollment.c.device_id == device_id, enrollment.c.left_at.is_(None))
        .values(state="left", memory=None, left_at=now)
    )


async def end(tx: Transaction, bond_id: UUID, now: datetime) -> None:
    """The bond is over: its memory goes, its address is free, its row stays for the record."""
    await tx.execute(
        sa.update(enrollment).where(enrollment.c.id == bond_id).values(state="left", memory=None, left_at=now)
    )
