"""The person's devices, each with every act there is and why one is not available."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from api.operations import activity
from api.operations.act import Platforms, offers_of, reach_of, select_for_offers
from api.operations.activity import Recognized
from api.operations.session import hold_account
from models import approval, event
from models.database import Database, Transaction
from models.device import ActOffer, Device, DeviceState, clean_name, device, may_rename, refusal, relabel
from models.errors import Invalid, NotFound, PreconditionFailed
from models.event import Actor
from models.job import OPEN, Job, job
from models.organization import OrganizationSettings
from models.passcode import passcode
from models.session import Who
from models.vocabulary import JobState, Reason
from platforms.base import Reach


@dataclass(frozen=True, slots=True)
class Shown:
    device: Device
    acts: list[ActOffer]
    passcode_until: datetime | None
    reach: Reach | None
    lock: Job | None
    """The newest, unless it was taken back."""
    may_rename: bool
    known: Recognized


async def page(db: Database, platforms: Platforms, who: Who, *, after: UUID | None, limit: int) -> list[Shown]:
    statement = (
        _of_owner(who)
        .where(device.c.state.in_([DeviceState.ACTIVE.value, DeviceState.PENDING.value]))
        .order_by(device.c.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(device.c.id > after)
    async with db.read() as tx:
        return await _shown(tx, platforms, who, (await tx.execute(statement)).all())


async def show(db: Database, platforms: Platforms, who: Who, device_id: UUID) -> Shown:
    async with db.read() as tx:
        rows = (await tx.execute(_of_owner(who).where(device.c.id == device_id))).all()
        if not rows:
            raise NotFound
        return (await _shown(tx, platforms, who, rows))[0]


async def rename(
    db: Database,
    platforms: Platforms,
    who: Who,
    device_id: UUID,
    *,
    name: str,
    matches: Callable[[str], bool],
    actor: Actor,
) -> Shown:
    """A label of ours: nothing is asked of the device. `matches`: whether a mark is the one it was made from."""
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        rows = (await tx.execute(_of_owner(who).where(device.c.id == device_id))).all()
        if not rows:
            raise NotFound
        held = Device.of(rows[0])
        settings = OrganizationSettings.of(rows[0].settings)
        if not may_rename(held, settings):
            raise refusal(Reason.HIDDEN_BY_ADMIN, settings)
        if not matches(held.mark):
            raise PreconditionFailed
        label = clean_name(name)
        if label is None:
            raise Invalid(errors=[{"field": "name", "rule": "name"}])
        shown = (await _shown(tx, platforms, who, rows))[0]
        if label == held.name:
            return shown
        await relabel(tx, device_id, label)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="device:name:change",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("device", device_id),
            private={"from": held.name, "to": label},
        )
        return replace(shown, device=replace(held, name=label))


async def _shown(tx: Transaction, platforms: Platforms, who: Who, rows: Any) -> list[Shown]:
    ids = [row.id for row in rows]
    if not ids:
        return []
    open_jobs = sa.select(job.c.device_id, job.c.kind).where(
        job.c.device_id.in_(ids), job.c.state.in_([state.value for state in OPEN])
    )
    codes = sa.select(passcode.c.device_id, passcode.c.readable_until, tx.now_column()).where(
        passcode.c.organization_id == who.organization_id,
        passcode.c.device_id.in_(ids),
        passcode.c.account_id == who.account_id,
        passcode.c.destroyed_at.is_(None),
    )
    busy: dict[UUID, set[str]] = {}
    for row in await tx.execute(open_jobs):
        busy.setdefault(row.device_id, set()).add(row.kind)
    until = {row.device_id: row.readable_until for row in await tx.execute(codes) if row.now <= row.readable_until}
    known = await activity.of_rows(tx, platforms, rows)
    waiting = await approval.waiting_of(tx, ids)
    now = await tx.now()
    # All of one organization: that in which the person is.
    settings = OrganizationSettings.of(rows[0].settings)
    shown = []
    for row in rows:
        held = Device.of(row)
        offers = offers_of(platforms, row, settings, frozenset(busy.get(row.id, ())))
        shown.append(
            Shown(
                held,
                [_awaiting(one) if (row.id, one.act) in waiting else one for one in offers],
                until.get(row.id),
                reach_of(platforms, row, now),
                _unless_taken_back(known[row.id].lock),
                may_rename(held, settings),
                known[row.id],
            )
        )
    return shown


def _awaiting(one: ActOffer) -> ActOffer:
    return replace(one, reason=Reason.AWAITING_APPROVAL) if one.available and one.needs_approval else one


def _of_owner(who: Who) -> sa.Select[Any]:
    return select_for_offers(who).add_columns(*activity.FOR_OWNER)


def _unless_taken_back(lock: Job | None) -> Job | None:
    return None if lock is None or lock.state is JobState.CANCELLED else lock
