"""One run of one job: claim, plan and store, wake. Claim and plan are a transaction each; the wake is in neither.

A run may die at any instruction. The lease it took runs out, the sweep rings again, and the next run finds what the
row says: nothing planned yet, or a plan that must not change and a device to wake. Where a courier takes the orders, a
run that may not be the first looks before it hands anything over.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from models import departure, job
from models.account import account
from models.base import Labelled, labelled
from models.database import NOW_COLUMN, Transaction
from models.device import Device, device, offer
from models.enrollment import Bond, enrollment
from models.event import WORKER
from models.hot import Answer, Hot, Question
from models.job import CRASHES, Job, Words
from models.organization import OrganizationSettings, organization
from models.vocabulary import JobState, Order, Outcome, Ownership, PlatformName, Reason, Secret, Task
from platforms.base import Command, Courier, Enrollment, EnrollmentState, Facts, PlatformHandler, Report
from platforms.errors import Refused, Uncertain, Unreachable
from workers import jobs
from workers.needs import Needs

_LOG = logging.getLogger(__name__)

_BOND: Final = "bond_"

_STILL_OUT: Final = frozenset({JobState.EXPIRED, JobState.CANCELLED, JobState.UNCONFIRMED})
"""Endings of ours that say nothing of what a courier does yet."""

UNCERTAIN_PAUSE: Final = timedelta(seconds=30)
LAST_LOOK: Final = timedelta(minutes=1)
"""So long before its end an order that a courier has is looked at once more: its word may have got lost."""


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom an order is for, as they are now."""

    held: Device
    bond: Bond | None
    settings: OrganizationSettings
    owner_blocked: bool
    platform: PlatformHandler | None
    now: datetime

    @property
    def words(self) -> Words:
        rule = None if self.platform is None else self.platform.passcode
        return Words("" if rule is None else rule.done_key, self.held.name)

    def why_not(self, asked: Job) -> Outcome | None:
        """Checked again at each run: owner, device, account and offer. None: go on."""
        if self.held.account_id != asked.account_id:
            return Outcome(JobState.CANCELLED, Reason.OWNER_CHANGED)
        if self.owner_blocked:
            return Outcome(JobState.CANCELLED, Reason.ACCOUNT_BLOCKED)
        if self.bond is None or self.bond.state != EnrollmentState.ENROLLED:
            return Outcome(JobState.CANCELLED, Reason.DEVICE_LEFT)
        if self.platform is None:
            return Outcome(JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED)
        capability = self.platform.offers(
            Facts(
                ownership=Ownership(self.held.ownership),
                os_version=self.held.os_version,
                state=EnrollmentState(self.bond.state),
                traits=self.bond.traits,
            )
        ).get(asked.act, Reason.PLATFORM_UNSUPPORTED)
        one = offer(self.held, asked.act, capability, self.settings)
        return None if one.available else Outcome(JobState.UNSUPPORTED, one.reason)


async def run_job(needs: Needs, job_id: UUID) -> None:
    async with needs.database.write() as tx:
        claim = job.claim(tx, job_id)
    held = job.claimed(claim)
    if held is None:
        return
    needs.fault.mark("claimed")
    if isinstance(held.kind, Task):
        await _do_task(needs, held)
        return
    planned = await _plan(needs, held) if held.state is JobState.QUEUED else await _recall(needs, held)
    if planned is not None and held.state is not JobState.QUEUED:
        planned = await _look_first(needs, planned)
    if planned is None:
        return
    needs.fault.mark("planned")
    if not await _withdrew_older(needs, planned):
        return
    await _wake(needs, *planned)


async def _do_task(needs: Needs, held: Job) -> None:
    if held.crashes < CRASHES:
        await jobs.work_of(held).run(needs, held)
        return
    async with needs.database.write() as tx:
        crashed = Outcome(JobState.FAILED, Reason.CRASHED)
        await jobs.end(tx, held, crashed, actor=WORKER, now=await tx.now(), fence=True)
    needs.door.nudge(held.account_id)


Planned = tuple[Job, Command, Enrollment, PlatformName]


_WHOM: Final = (
    sa.select(device, account.c.blocked_at, organization.c.settings, *labelled(enrollment, _BOND))
    .select_from(
        device.join(account, account.c.id == device.c.account_id)
        .join(organization, organization.c.id == device.c.organization_id)
        .outerjoin(enrollment, sa.and_(enrollment.c.device_id == device.c.id, enrollment.c.left_at.is_(None)))
    )
    .where(device.c.id == sa.bindparam("device"))
)
_TARGET: Final = Hot(_WHOM)
_TARGET_AND_NOW: Final = Hot(_WHOM.add_columns(NOW_COLUMN))


def _whom(tx: Transaction, held: Job) -> Question:
    return _TARGET if tx.knows_time else _TARGET_AND_NOW, {"device": held.device_id}


async def _target(needs: Needs, tx: Transaction, held: Job) -> _Target:
    return await _read(needs, tx, await tx.ask(*_whom(tx, held)))


async def _read(needs: Needs, tx: Transaction, answer: Answer) -> _Target:
    row = answer.one()
    found = Device.of(row)
    return _Target(
        held=found,
        bond=None if row.bond_id is None else Bond.of(Labelled(row, _BOND)),
        settings=OrganizationSettings.of(row.settings),
        owner_blocked=row.blocked_at is not None,
        platform=needs.platforms.get(PlatformName(found.platform)),
        now=await tx.now() if tx.knows_time else tx.heard_now(row.now),
    )


def _must_end(held: Job, target: _Target) -> Outcome | None:
    """Checked at each run, whatever the job's state. None: go on."""
    if held.crashes >= CRASHES:
        return Outcome(JobState.FAILED, Reason.CRASHED)
    return target.why_not(held)


async def _plan(needs: Needs, held: Job) -> Planned | None:
    """Decide what a resend must not change, and store it. None: it ended here, or another run has it."""
    async with needs.database.write() as tx:
        run, whom = await tx.together(job.hold_run(held), _whom(tx, held))
        if not run.rows:
            return None
        target = await _read(needs, tx, whom)
        outcome = _must_end(held, target)
        if outcome is None and target.bond is not None and target.platform is not None:
            view = _view(needs, target.bond)
            try:
                plan = target.platform.plan(Order(held.id, held.act, target.held.id), view)
            except Refused as refused:
                outcome = Outcome(JobState.FAILED, refused.reason)
            else:
                sealed = job.seal_plan(needs.keys, held, plan.value)
                courier = _courier(needs, target.platform.name)
                await job.store_plan(
                    tx, held, ref=plan.ref, sealed=sealed, now=target.now, by_courier=courier is not None
                )
        needs.fault.mark("plan.before_commit")
    if outcome is not None:
        # In a transaction of its own: an ending may need the bond, which is held before any job.
        await _end(needs, held, outcome)
        return None
    planned = job.after_plan(held, plan.ref, sent_at=None if courier is None else target.now)
    return planned, _command(planned, plan.value), view, PlatformName(target.held.platform)


async def _recall(needs: Needs, held: Job) -> Planned | None:
    """The job was planned before: what its device must be woken for again. None: there is no one to wake."""
    async with needs.database.read() as tx:
        target = await _target(needs, tx, held)
    outcome = _must_end(held, target)
    if outcome is not None and (held.state is JobState.WAITING or outcome.reason == Reason.CRASHED):
        await _end(needs, held, outcome)
        return None
    if target.bond is None or target.platform is None:
        # It has the order, and can no longer be reached: its answer, or the job's own end.
        await _rest(needs, held, until=held.expires_at or target.now + job.wake_pause(held.wakes))
        return None
    return (
        held,
        _command(held, held.open_plan(needs.keys)),
        _view(needs, target.bond),
        PlatformName(target.held.platform),
    )


def _view(needs: Needs, bond: Bond) -> Enrollment:
    return Enrollment(bond.id, EnrollmentState(bond.state), bond.address, bond.open_memory(needs.keys))


def _command(held: Job, value: Secret) -> Command:
    return Command(
        held.id,
        held.act,
        held.command_ref or "",
        held.state,
        value,
        offers=held.offers,
        sent_at=held.sent_at,
        expires_at=held.expires_at,
        receipt=held.receipt,
    )


def _courier(needs: Needs, platform: PlatformName) -> Courier | None:
    channel = needs.channels[platform]
    return channel if isinstance(channel, Courier) else None


async def _withdrew_older(needs: Needs, planned: Planned) -> bool:
    """An older order that is over for us may still be on its way, and would undo what is asked for now.

    False: the courier was not there, and this run is over.
    """
    held, _, view, platform = planned
    courier = _courier(needs, platform)
    if courier is None or held.state is not JobState.WAITING:
        return True
    async with needs.database.read() as tx:
        older = await job.couriered(tx, held)
    for one in older:
        if one.late_result is None and one.state in _STILL_OUT:
            try:
                await courier.withdraw(_command(one, Secret(b"")), view)
            except Unreachable as trouble:
                _LOG.info("not withdrawn", extra={"reason": trouble.reason})
                await _rest(needs, held, pause=trouble.pause, sent=False)
                return False
    return True


async def _look_first(needs: Needs, planned: Planned) -> Planned | None:
    """Before a courier is handed an order that it may hold already: look. None: this run is over.

    Not found in two looks, it was never taken, and is handed over with the same plan.
    """
    held, command, view, platform = planned
    courier = _courier(needs, platform)
    if courier is None:
        return planned
    if held.sent_at is None and held.receipt is None:
        return await _send_anew(needs, planned)
    async with needs.database.read() as tx:
        others = frozenset(one.receipt for one in await job.couriered(tx, held) if one.receipt is not None)
    try:
        report = await courier.look(command, view, others)
    except Unreachable as trouble:
        _LOG.info("not looked", extra={"reason": trouble.reason})
        await _rest(needs, held, pause=trouble.pause, looks=held.looks)
        return None
    except Refused as refused:
        await _end(needs, held, Outcome(JobState.FAILED, refused.reason))
        return None
    if report is not None:
        await _adopt(needs, planned, report)
    elif held.receipt is not None:
        await _rest(needs, held, woke=True)
    elif held.looks + 1 < job.LOOKS:
        await _rest(needs, held, pause=UNCERTAIN_PAUSE, looks=held.looks + 1)
    else:
        return await _send_anew(needs, planned)
    return None


async def _send_anew(needs: Needs, planned: Planned) -> Planned | None:
    """Written before the courier is asked: a run that dies in between leaves a trace. None: the lease was lost."""
    held, command, view, platform = planned
    async with needs.database.write() as tx:
        now = await tx.now()
        if not await job.send_anew(tx, held, now):
            return None
    return replace(held, sent_at=now, looks=0), replace(command, sent_at=now), view, platform


async def _adopt(needs: Needs, planned: Planned, report: Report) -> None:
    """The courier has it: its receipt is noted, and its end where it has come to one."""
    held, command, _, platform = planned
    outcome = needs.platforms[platform].judge(command, report)
    if held.receipt is None:
        async with needs.database.write() as tx:
            if not await job.deliver(tx, held, by="worker", now=await tx.now(), receipt=report.receipt):
                return
        held = replace(held, state=JobState.DELIVERED, lease_until=None)
    if outcome.state is not None:
        await _end(needs, held, outcome)
    elif held.lease_until is not None:
        await _rest(needs, held, woke=True)


async def _wake(needs: Needs, held: Job, command: Command, view: Enrollment, platform: PlatformName) -> None:
    """Ask the device to call us. That it did not work is no failure of the job: it waits, and is woken again."""
    try:
        receipt = await needs.channels[platform].wake(command, view)
    except Unreachable as trouble:
        _LOG.info("not woken", extra={"reason": trouble.reason})
        until = held.expires_at if trouble.until_it_calls else None
        await _rest(needs, held, pause=trouble.pause, until=until, sent=False)
        return
    except Uncertain as trouble:
        _LOG.info("perhaps woken", extra={"reason": trouble.reason})
        await _rest(needs, held, pause=UNCERTAIN_PAUSE)
        return
    except Refused as refused:
        await _end(needs, held, Outcome(JobState.FAILED, refused.reason))
        return
    needs.fault.mark("woken")
    if receipt is not None:
        async with needs.database.write() as tx:
            if not await job.deliver(tx, held, by="worker", now=await tx.now(), receipt=receipt.reference):
                # It ended meanwhile, and the courier has it all the same: the next of its kind takes it back.
                await job.keep_receipt(tx, held, receipt.reference)
    elif held.lease_until is not None:
        await _rest(needs, held, woke=True)


async def _rest(
    needs: Needs,
    held: Job,
    *,
    pause: timedelta | None = None,
    until: datetime | None = None,
    woke: bool = False,
    sent: bool = True,
    looks: int = 0,
) -> None:
    """End this run; say when the next one may claim. Not `sent`: no courier holds it."""
    async with needs.database.write() as tx:
        now = await tx.now()
        again = until or now + (pause if pause is not None else job.wake_pause(held.wakes))
        if woke and held.receipt is not None and held.expires_at is not None and now < held.expires_at - LAST_LOOK:
            again = min(again, held.expires_at - LAST_LOOK)
        await job.release(tx, held, available_at=again, woke=woke, sent_at=held.sent_at if sent else None, looks=looks)


async def _end(needs: Needs, held: Job, outcome: Outcome) -> None:
    async with needs.database.write() as tx:
        target = await _target(needs, tx, held)
        told = await departure.settle(
            tx,
            held,
            outcome,
            of=target.held,
            actor=WORKER,
            words=target.words,
            keys=needs.keys,
            unread_passcode=target.settings.unread_passcode,
            now=target.now,
            fence=True,
        )
    for account_id in told:
        needs.door.nudge(account_id)
