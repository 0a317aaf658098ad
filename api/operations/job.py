"""What was asked, how far it is, and taking it back while that can still be done."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from api.operations import administration
from api.operations.act import SELECT_FOR_OFFERS, Platforms, reach_of
from models import account, departure, enrollment, job, organization, role, sheet, sign_out
from models.database import Database, Transaction
from models.device import Device, device
from models.errors import NotAllowed, NotFound, TooLateToCancel
from models.event import Actor
from models.job import ROSTER_FILES, Job, Words
from models.sealed import Keyring
from models.session import Who
from models.settings import UNREAD_PASSCODE_DEFAULT
from models.sign_out import Call
from models.vocabulary import DEPARTURES, JobState, Outcome, Reason, Task
from platforms.base import Reach


@dataclass(frozen=True, slots=True)
class Shown:
    job: Job
    timeline: list[Any] | None = None
    reach: Reach | None = None
    """Of its device, while it is open."""
    calls: list[Call] | None = None
    """Of a task that tells apps."""


async def _seen(tx: Transaction, who: Who, job_id: UUID, *, hold: bool = False) -> Job:
    """One that they may see: whoever it is of, and operators; what was done for an account is also the business of
    whoever may end its sessions, and a file of accounts that of whoever may ask for one. Raises NotFound."""
    within = None if who.is_operator else who.organization_id
    held = await job.by_id(tx, job_id, hold=hold, organization_id=within)
    if held is None:
        raise NotFound
    if held.account_id == who.account_id or who.is_operator:
        return held
    if held.kind in ROSTER_FILES and role.holds(who.roles, role.CREATORS):
        return held
    if held.device_id is None and role.holds(who.roles, [*role.RESET]):
        theirs = await organization.roles_of(tx, who.organization_id, held.account_id)
        if role.may(role.RESET, who.roles, theirs):
            return held
    raise NotFound


async def page(
    db: Database,
    platforms: Platforms,
    who: Who,
    *,
    device_id: UUID | None,
    state: JobState | None,
    everyone: bool,
    before: UUID | None,
    limit: int,
) -> list[Shown]:
    """Newest first. `everyone` is the operator's view of the installation."""
    if everyone and not who.is_operator:
        raise NotAllowed
    async with db.read() as tx:
        found = await job.page(
            tx,
            organization_id=None if everyone else who.organization_id,
            account_id=None if everyone else who.account_id,
            device_id=device_id,
            state=state,
            before=before,
            limit=limit,
        )
        reach = await _reach(tx, platforms, found)
    return [Shown(one, reach=reach.get(one.id)) for one in found]


async def show(db: Database, platforms: Platforms, who: Who, job_id: UUID) -> Shown:
    async with db.read() as tx:
        held = await _seen(tx, who, job_id)
        reach = await _reach(tx, platforms, [held])
        calls = await sign_out.calls(tx, held.id) if held.kind is Task.SIGN_OUT else None
        return Shown(held, list(await job.timeline(tx, job_id)), reach.get(held.id), calls)


async def _reach(tx: Transaction, platforms: Platforms, jobs: list[Job]) -> dict[UUID, Reach | None]:
    """How the devices of those that are still open are reached, by job."""
    waiting = {held.id: held.device_id for held in jobs if held.is_open and held.device_id is not None}
    if not waiting:
        return {}
    rows = await tx.execute(SELECT_FOR_OFFERS.where(device.c.id.in_(set(waiting.values()))))
    now = await tx.now()
    of_device = {row.id: reach_of(platforms, row, now) for row in rows}
    return {job_id: of_device.get(device_id) for job_id, device_id in waiting.items()}


async def cancel(db: Database, keys: Keyring, who: Who, job_id: UUID, *, actor: Actor) -> Shown:
    """Wins only if it commits before the device has the order; of a file of accounts, before its last batch."""
    async with db.write() as tx:
        asked = await _seen(tx, who, job_id)
        if asked.kind in DEPARTURES and asked.device_id is not None:
            # Of a device whose owner left nothing else ends the trust: its bond is held first (lock order).
            await enrollment.hold_living(tx, asked.device_id)
        held = await _seen(tx, who, job_id, hold=True)
        if not held.is_cancellable:
            raise TooLateToCancel(state=held.state)
        if held.kind in ROSTER_FILES:
            if not await _stop(tx, who, held, actor=actor):
                raise TooLateToCancel(state=held.state)
            return await _ended(tx, held)
        now = await tx.now()
        of = Device.of((await tx.execute(sa.select(device).where(device.c.id == held.device_id))).one())
        mine = held.account_id == who.account_id
        told = await departure.settle(
            tx,
            held,
            Outcome(JobState.CANCELLED, Reason.BY_PERSON if mine else Reason.BY_OPERATOR),
            of=of,
            actor=actor,
            words=Words(success_key="", device_name=of.name),
            keys=keys,
            unread_passcode=UNREAD_PASSCODE_DEFAULT,
            now=now,
            by="person" if mine else "operator",
        )
        if not told:
            raise TooLateToCancel(state=held.state)
        return await _ended(tx, held)


async def _stop(tx: Transaction, who: Who, held: Job, *, actor: Actor) -> bool:
    """What is done stays, and nothing is added to it. False: it had moved on.

    One's own is stopped as it is; somebody else's takes what asking for one takes.
    """
    by, reason = "person", Reason.BY_PERSON
    if held.account_id != who.account_id:
        by, reason = "operator", Reason.BY_OPERATOR
        if not who.is_operator:
            # Whoever asked is told of it: both are held in one order, as everybody who acts on somebody does.
            await account.lock_all(tx, {who.account_id, held.account_id})
            await administration.must_be(tx, who, role.CREATORS)
            by = "administrator"
    outcome, now = Outcome(JobState.CANCELLED, reason), await tx.now()
    if not await job.move(tx, held, JobState.CANCELLED, by=by, why=reason, now=now):
        return False
    told = await sheet.close(tx, held, outcome, now)
    await job.tell_ending(tx, held, outcome, told=told, actor=actor, now=now)
    return True


async def _ended(tx: Transaction, held: Job) -> Shown:
    ended = await job.by_id(tx, held.id)
    if ended is None:
        raise NotFound
    return Shown(ended, list(await job.timeline(tx, held.id)))
