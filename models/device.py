"""What people hold. Whether an act is offered is decided here, when a button is shown and again when it is run."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction
from models.errors import DeviceQuota, HiddenByAdmin, NotOffered
from models.organization import OrganizationSettings
from models.organization_policy import RENAME, contact_block
from models.vocabulary import DEPARTURES, Act, Ownership, Proof, Reason

device = sa.Table(
    "device",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("platform", sa.Text, nullable=False),
    sa.Column("ownership", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("os_version", sa.Text, nullable=True),
    sa.Column("os_name", sa.Text, nullable=True),
    sa.Column("maker", sa.Text, nullable=True),
    sa.Column("model", sa.Text, nullable=True),
    sa.Column("serial", sa.Text, nullable=True),
    sa.Column("last_seen_at", Moment, nullable=True),
    sa.Column("seen_from", sa.Text, nullable=True, comment="the address it called from then, where it calls itself"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Index("ix_device_account", "organization_id", "account_id", "id"),
)

LEAST_PROOF: Final[Mapping[Act, Proof]] = {
    Act.RESET_PASSCODE: Proof.RE_SIGN_IN,
    Act.WIPE: Proof.RE_SIGN_IN,
    Act.REMOVE: Proof.FRESH,
    Act.REMOTE_LOCK: Proof.NONE,
    Act.RESTART: Proof.NONE,
    Act.REFRESH: Proof.NONE,
}


LEAST_STRENGTH: Final = 1
"""Factors behind the session. Whoever has a second one was asked for it at the sign-in, whatever they came for."""

NAME_LIMIT: Final = 64
NAME: Final = r"^(?=[\s\S]*\S)(?![\s\S]*[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069])"
"""Something to be seen, and nothing that breaks or turns a line: a name stands within sentences."""


def clean_name(text: str) -> str | None:
    """A label of ours as it is kept, alike however it was typed. None: it is none."""
    name = unicodedata.normalize("NFC", text).strip()
    return name if len(name) <= NAME_LIMIT and re.match(NAME, name) else None


class DeviceState(StrEnum):
    PENDING = "pending"
    """Enrolment was begun; the device has not finished it."""
    ACTIVE = "active"
    DISABLED = "disabled"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Device:
    id: UUID
    organization_id: UUID
    account_id: UUID
    name: str
    platform: str
    ownership: Ownership
    state: DeviceState
    os_name: str | None
    os_version: str | None
    maker: str | None
    model: str | None
    serial: str | None
    last_seen_at: datetime | None
    seen_from: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> "Device":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            name=row.name,
            platform=row.platform,
            ownership=Ownership(row.ownership),
            state=DeviceState(row.state),
            os_name=row.os_name,
            os_version=row.os_version,
            maker=row.maker,
            model=row.model,
            serial=row.serial,
            last_seen_at=row.last_seen_at,
            seen_from=row.seen_from,
            created_at=row.created_at,
        )

    @property
    def is_enabled(self) -> bool:
        return self.state not in {DeviceState.DISABLED, DeviceState.LEFT}

    @property
    def mark(self) -> str:
        """Of what can be edited: a device that is merely seen again is still the one that was looked at."""
        return f'"{hashlib.sha256(self.id.bytes + self.name.encode()).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True)
class ActOffer:
    """One button: may it be pressed, and if not, why not; what proof pressing it takes."""

    act: Act
    reason: str | None
    proof: Proof
    strength: int
    """How many different factors the session must stand on."""
    needs_approval: bool = False
    """Whether a second person must say yes."""

    @property
    def available(self) -> bool:
        return self.reason is None


def stands_in_the_way(act: Act) -> frozenset[Act]:
    """Kinds of open job that an act waits for: its own, and nothing more is asked of a device that is about to go.

    Only a wipe goes further than a removal, and takes its place.
    """
    return frozenset({act}) if act is Act.WIPE else DEPARTURES | {act}


def may_rename(held: Device, settings: OrganizationSettings) -> bool:
    return not settings.hides(held.platform, held.ownership, RENAME)


def refusal(reason: str, settings: OrganizationSettings) -> NotOffered | HiddenByAdmin:
    """Why something is not offered, and whom to ask: the one place that puts the contact beside a reason."""
    kind = HiddenByAdmin if reason == Reason.HIDDEN_BY_ADMIN else NotOffered
    return kind(reason=reason, contact=contact_block(settings.contact))


def offer(
    held: Device, act: Act, capability: str | None, settings: OrganizationSettings, *, in_progress: bool = False
) -> ActOffer:
    """The platform's capability, the organization's setting, and the device itself: all three must say yes.

    `capability` is the platform's own reason why not, None where it can.
    """
    reason: str | None = capability
    if held.state is DeviceState.DISABLED:
        reason = Reason.DEVICE_DISABLED
    elif held.state is not DeviceState.ACTIVE:
        reason = Reason.NOT_ENROLLED
    elif settings.hides(held.platform, held.ownership, act):
        reason = Reason.HIDDEN_BY_ADMIN
    elif reason is None and in_progress:
        reason = Reason.ACTION_IN_PROGRESS
    proof, strength = settings.proof_for(act, LEAST_PROOF[act]), settings.strength_for(act, LEAST_STRENGTH)
    return ActOffer(act, reason, proof, strength, needs_approval=act in settings.second_approver)


def new_device(
    *,
    device_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    name: str,
    platform: str,
    ownership: Ownership,
    state: DeviceState,
    now: datetime,
) -> sa.Insert:
    return sa.insert(device).values(
        id=device_id,
        organization_id=organization_id,
        account_id=account_id,
        name=name,
        platform=platform,
        ownership=ownership.value,
        state=state.value,
        created_at=now,
    )


async def set_state(tx: Transaction, device_id: UUID, state: DeviceState) -> None:
    await tx.execute(sa.update(device).where(device.c.id == device_id).values(state=state.value))


async def relabel(tx: Transaction, device_id: UUID, name: str) -> None:
    await tx.execute(sa.update(device).where(device.c.id == device_id).values(name=name))


async def count_of_account(tx: Transaction, organization_id: UUID, account_id: UUID) -> int:
    """Devices that count towards the quota."""
    statement = sa.select(sa.func.count()).where(
        device.c.organization_id == organization_id,
        device.c.account_id == account_id,
        device.c.state.in_([DeviceState.ACTIVE.value, DeviceState.PENDING.value]),
    )
    return int((await tx.execute(statement)).scalar_one())


async def must_have_room(
    tx: Transaction, organization_id: UUID, account_id: UUID, settings: OrganizationSettings
) -> None:
    """For one more. The account is held, so that two who come at once are one after the other. Raises DeviceQuota."""
    quota = settings.device_quota
    if quota is not None and await count_of_account(tx, organization_id, account_id) >= quota:
        raise DeviceQuota(limit=quota, contact=contact_block(settings.contact))


async def names_of_account(tx: Transaction, organization_id: UUID, account_id: UUID) -> list[Any]:
    """Id and name of each."""
    statement = (
        sa.select(device.c.id, device.c.name)
        .where(device.c.organization_id == organization_id, device.c.account_id == account_id)
        .order_by(device.c.id)
    )
    return list((await tx.execute(statement)).all())


async def by_id(tx: Transaction, organization_id: UUID, account_id: UUID, device_id: UUID) -> Device | None:
    statement = sa.select(device).where(
        device.c.id == device_id, device.c.organization_id == organization_id, device.c.account_id == account_id
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Device.of(row)


async def page(
    tx: Transaction, organization_id: UUID, account_id: UUID, *, disabled: bool, after: UUID | None, limit: int
) -> list[Device]:
    """Those that are there, oldest first; with those that are `disabled`, or without."""
    there = [DeviceState.ACTIVE, DeviceState.PENDING, *([DeviceState.DISABLED] if disabled else [])]
    statement = (
        sa.select(device)
        .where(
            device.c.organization_id == organization_id,
            device.c.account_id == account_id,
            device.c.state.in_([state.value for state in there]),
        )
        .order_by(device.c.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(device.c.id > after)
    return [Device.of(row) for row in await tx.execute(statement)]


async def of_owner(tx: Transaction, account_id: UUID, device_id: UUID) -> Any:
    """Its id and state, if it is that account's and can be one to sign in on; None for any other."""
    statement = sa.select(device.c.id, device.c.state).where(
        device.c.id == device_id,
        device.c.account_id == account_id,
        device.c.state.in_([DeviceState.ACTIVE.value, DeviceState.DISABLED.value]),
    )
    return (await tx.execute(statement)).one_or_none()


async def ownership_of(tx: Transaction, device_id: UUID) -> Ownership:
    statement = sa.select(device.c.ownership).where(device.c.id == device_id)
    return Ownership((await tx.execute(statement)).scalar_one())


async def owner_of(tx: Transaction, device_id: UUID) -> UUID:
    statement = sa.select(device.c.account_id).where(device.c.id == device_id)
    owner: UUID = (await tx.execute(statement)).scalar_one()
    return owner
