"""A second person approves or refuses what somebody else asked for; or nobody does, or whoever asked takes it back.

Jobs are held before accounts, both accounts in one order, and the approval last: of a yes, a no and a withdrawal that
come at once, one counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from api.operations import administration
from api.operations.act import SELECT_FOR_OFFERS, TRIES, CameBetween, Platforms, make_room, offers_of
from api.operations.administration import Target
from api.operations.session import hold_account
from models import account, approval, event, job, organization, role
from models.approval import Approval, ApprovalState
from models.database import Database, Transaction
from models.device import ActOffer, device, stands_in_the_way
from models.errors import ActionInProgress, ApprovalOver, Busy, NotAllowed, NotFound
from models.event import Actor
from models.fault import Fault
from models.job import Job
from models.organization import OrganizationSettings
from models.sealed import Keyring
from models.session import Who
from models.vocabulary import Queue, Reason, new_id


@dataclass(frozen=True, slots=True)
class Shown:
    """With whoever asked and the device, as they are called now."""

    approval: Approval
    state: ApprovalState
    asker: Any
    device: Any
    may_approve: bool
    may_refuse: bool
    may_withdraw: bool


@dataclass(frozen=True, slots=True)
class Approved:
    job: Job
    told: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Over:
    """It cannot be decided any more. What that took is written down: given back, not raised."""

    problem: ApprovalOver
    told: UUID
    """Whoever asked."""


async def page(
    db: Database,
    platforms: Platforms,
    who: Who,
    *,
    state: ApprovalState | None,
    everyone: bool,
    before: UUID | None,
    limit: int,
) -> list[Shown]:
    """Newest first. `everyone`: the administrators' view of their organization."""
    if everyone and not role.holds(who.roles, role.ACTORS):
        raise NotAllowed
    async with db.read() as tx:
        found = await approval.page(
            tx,
            organization_id=who.organization_id,
            account_id=None if everyone else who.account_id,
            state=state,
            before=before,
            limit=limit,
            now=await tx.now(),
        )
        return await _shown(tx, platforms, who, found)


async def show(db: Database, platforms: Platforms, who: Who, approval_id: UUID) -> Shown:
    async with db.read() as tx:
        held = await _seen(tx, who, approval_id)
        return (await _shown(tx, platforms, who, [held]))[0]


async def _seen(tx: Transaction, who: Who, approval_id: UUID) -> Approval:
    """One's own, and an administrator's organization's. Raises NotFound."""
    held = await approval.by_id(tx, approval_id)
    mine = held is not None and held.account_id == who.account_id
    if held is None or held.organization_id != who.organization_id:
        raise NotFound
    if not mine and not role.holds(who.roles, role.ACTORS):
        raise NotFound
    return held


async def _shown(tx: Transaction, platforms: Platforms, who: Who, found: Sequence[Approval]) -> list[Shown]:
    if not found:
        return []
    people, things = account.account, device
    askers = sa.select(people.c.id, people.c.sign_in_name, people.c.display_name).where(
        people.c.id.in_({one.account_id for one in found})
    )
    devices = SELECT_FOR_OFFERS.where(things.c.id.in_({one.device_id for one in found}))
    who_asked = {row.id: row for row in await tx.execute(askers)}
    what = {row.id: row for row in await tx.execute(devices)}
    roles = await organization.roles_of_all(tx, who.organization_id, list(who_asked))
    now = await tx.now()
    shown = []
    for one in found:
        state, mine = one.seen_at(now), one.account_id == who.account_id
        open_to = state is ApprovalState.SUBMITTED
        reaches = role.may(role.APPROVE, who.roles, roles.get(one.account_id, ()))
        row = what[one.device_id]
        shown.append(
            Shown(
                one,
                state,
                who_asked[one.account_id],
                row,
                # What the organization hides meanwhile can only be refused: it may be shown again in time.
                may_approve=open_to and not mine and reaches and _offer(platforms, one, row).available,
                may_refuse=open_to and not mine and reaches,
                may_withdraw=open_to and mine,
            )
        )
    return shown


async def approve(
    db: Database,
    keys: Keyring,
    platforms: Platforms,
    who: Who,
    approval_id: UUID,
    *,
    reason: str,
    actor: Actor,
    fault: Fault,
) -> Approved | Over:
    """The job, in the name of whoever asked. What no longer holds ends the request."""
    for _ in range(TRIES):
        try:
            return await _approve(db, keys, platforms, who, approval_id, reason=reason, actor=actor, fault=fault)
        except CameBetween:
            continue
    raise Busy


async def _approve(
    db: Database,
    keys: Keyring,
    platforms: Platforms,
    who: Who,
    approval_id: UUID,
    *,
    reason: str,
    actor: Actor,
    fault: Fault,
) -> Approved | Over:
    async with db.write() as tx:
        seen = await _seen(tx, who, approval_id)
        waiting = await job.open_of_device(tx, seen.device_id, hold=True)
        target = await administration.reached(tx, who, seen.account_id, role.APPROVE, guests=True)
        held = await _open(tx, approval_id, target.now, actor=actor)
        if isinstance(held, Over):
            return held
        statement = SELECT_FOR_OFFERS.where(
            device.c.organization_id == held.organization_id,
            device.c.account_id == held.account_id,
            device.c.id == held.device_id,
        )
        row = (await tx.execute(statement)).one_or_none()
        void = await _why_void(tx, platforms, held, target, row)
        if row is None or void is not None:
            return await _void(tx, held, void, actor=actor, now=target.now)
        in_the_way = [one for one in waiting if one.kind in stands_in_the_way(held.act)]
        if in_the_way:
            raise ActionInProgress(job_id=in_the_way[0].id)
        made = await job.ask(
            tx,
            job_id=new_id(target.now),
            organization_id=held.organization_id,
            account_id=held.account_id,
            device_id=held.device_id,
            act=held.act,
            queue=Queue.INTERACTIVE,
            by="approver",
            idempotency_key=None,
            request_hash=None,
            now=target.now,
            life=OrganizationSettings.of(row.settings).act_life.get(held.act),
        )
        await event.record(
            tx,
            organization_id=held.organization_id,
            action=f"device:{held.act}:ask",
            actor=actor,
            now=target.now,
            account_id=held.account_id,
            subject=("job", made.id),
            facts={"device_id": str(held.device_id), "approval_id": str(held.id)},
        )
        told = await make_room(tx, made, waiting, row.name, actor=actor, keys=keys, now=target.now)
        await approval.end(
            tx,
            held,
            ApprovalState.APPROVED,
            actor=actor,
            now=target.now,
            decided_by=who.account_id,
            reason=reason,
            job_id=made.id,
        )
        fault.mark("accept.before_commit")
    fault.mark("accept.after_commit")
    return Approved(made, told | {made.account_id})


async def _open(tx: Transaction, approval_id: UUID, now: datetime, *, actor: Actor) -> Approval | Over:
    """Held, while it waits; else what became of it, written down where nobody has."""
    held = await approval.by_id(tx, approval_id, hold=True)
    if held is None:
        raise NotFound
    if held.state is not ApprovalState.SUBMITTED:
        return Over(ApprovalOver(state=held.state.value, why=held.why), held.account_id)
    if held.seen_at(now) is ApprovalState.LAPSED:
        await approval.lapse(tx, held, actor=actor, now=now)
        return Over(ApprovalOver(state=ApprovalState.LAPSED.value, why=None), held.account_id)
    return held


async def _why_void(tx: Transaction, platforms: Platforms, held: Approval, target: Target, row: Any) -> str | None:
    """What stands against it by now. None: nothing."""
    if target.held.blocked_at is not None:
        return Reason.ACCOUNT_BLOCKED
    if row is None:
        return Reason.OWNER_CHANGED
    if await approval.living_bond(tx, held.device_id) != held.enrollment_id:
        return Reason.DEVICE_LEFT
    return _offer(platforms, held, row).reason


def _offer(platforms: Platforms, held: Approval, row: Any) -> ActOffer:
    offers = offers_of(platforms, row, OrganizationSettings.of(row.settings))
    return next(one for one in offers if one.act is held.act)


async def _void(tx: Transaction, held: Approval, why: str | None, *, actor: Actor, now: datetime) -> Over:
    await approval.end(tx, held, ApprovalState.VOID, actor=actor, now=now, why=why)
    return Over(ApprovalOver(state=ApprovalState.VOID.value, why=why), held.account_id)


async def refuse(db: Database, who: Who, approval_id: UUID, *, reason: str, actor: Actor) -> UUID | Over:
    """Whom to nudge: whoever asked."""
    async with db.write() as tx:
        seen = await _seen(tx, who, approval_id)
        target = await administration.reached(tx, who, seen.account_id, role.APPROVE, guests=True)
        held = await _open(tx, approval_id, target.now, actor=actor)
        if isinstance(held, Over):
            return held
        await approval.end(
            tx,
            held,
            ApprovalState.REFUSED,
            actor=actor,
            now=target.now,
            decided_by=who.account_id,
            reason=reason,
        )
        return held.account_id


async def withdraw(db: Database, who: Who, approval_id: UUID, *, actor: Actor) -> Over | None:
    """By whoever asked, and nobody else."""
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        seen = await _seen(tx, who, approval_id)
        if seen.account_id != who.account_id:
            raise NotAllowed
        held = await _open(tx, approval_id, now, actor=actor)
        if isinstance(held, Over):
            return held
        await approval.end(tx, held, ApprovalState.WITHDRAWN, actor=actor, now=now)
        return None
