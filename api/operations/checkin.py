"""A device speaks. One request is one transaction: what it reports is settled, and it takes its next order.

The platform reads and writes bytes; everything that is kept is decided here, alike for all of them. The bond's row is
held first, so that two requests of one device are one after the other; then its jobs, then the account (lock order).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from api.call import Needs
from api.operations import enrollment as enrollments
from models import approval, departure, enrollment, event, job, passcode, seen_message, throttle
from models.account import account
from models.base import Labelled, labelled
from models.database import Transaction
from models.device import Device, DeviceState, device
from models.enrollment import Bond
from models.event import Actor
from models.hot import Hot
from models.job import Job, Words
from models.organization import OrganizationSettings, organization
from models.throttle import REFUSALS
from models.vocabulary import DEPARTURES, JobState, Outcome, Queue, Reason, Secret
from platforms.base import (
    Caller,
    CheckIn,
    Command,
    DeviceReply,
    DeviceRequest,
    Enrollment,
    EnrollmentState,
    PlatformHandler,
    Refusal,
    Report,
    Welcome,
)
from platforms.errors import KeysNeeded, Refused, Unreachable, Unreadable

SEEN_COARSELY: Final = timedelta(minutes=1)
"""When a device was last seen is written down this coarsely: a talk of five requests is one sign of life."""

_HELD: Final = "held_"

_DEVICE_STATE: Final = {
    EnrollmentState.PENDING: DeviceState.PENDING,
    EnrollmentState.ENROLLED: DeviceState.ACTIVE,
    EnrollmentState.LEFT: DeviceState.LEFT,
}


@dataclass(slots=True)
class _Talk:
    """One request on its way through the transaction."""

    needs: Needs
    platform: PlatformHandler
    tx: Transaction
    actor: Actor
    bond: Bond
    held: Device
    owner_blocked: bool
    settings: OrganizationSettings
    memory: Secret | None
    now: datetime
    jobs: list[Job]
    goes: bool = False
    """A removal or a wipe of it succeeded, or it says farewell."""
    stays: bool = False
    """A removal or a wipe of it came to nothing."""
    mistrusted: bool = False
    """Its trust has ended in this talk."""
    changes: dict[str, Any] = field(default_factory=dict)
    nudge: set[UUID] = field(default_factory=set)
    ring: list[tuple[UUID, Queue]] = field(default_factory=list)

    @property
    def words(self) -> Words:
        rule = self.platform.passcode
        return Words("" if rule is None else rule.done_key, self.held.name)

    @property
    def view(self) -> Enrollment:
        """The bond as the platform sees it, with the newest memory."""
        state = self.changes.get("state", self.bond.state)
        return Enrollment(self.bond.id, EnrollmentState(state), self.bond.address, self.memory)

    def remember(self, memory: Secret) -> None:
        self.memory = memory
        self.changes["memory"] = enrollment.seal_memory(
            self.needs.keys, self.bond.organization_id, self.bond.id, memory
        )


async def talk(
    needs: Needs, platform: PlatformHandler, request: DeviceRequest, request_id: str, *, address: str | None = None
) -> DeviceReply:
    """`address`: from where it is asked."""
    try:
        caller = await _identify(needs, platform, request)
        if isinstance(caller, Refusal):
            return platform.refuse(caller)
        if caller.reply is not None:
            return caller.reply
        if caller.link is not None:
            opened = await enrollments.open_link(needs.database, needs.keys, platform, caller.link)
            return opened.reply if isinstance(opened, Welcome) else platform.refuse(opened)
        async with needs.database.write() as tx:
            heard = await _hear(needs, platform, tx, caller, request_id)
            reply = platform.refuse(heard) if isinstance(heard, Refusal) else await _converse(heard, caller, address)
            needs.fault.mark("checkin.before_commit")
    except Unreadable:
        return platform.refuse(Refusal.UNREADABLE)
    except _TooEarly:
        return platform.refuse(Refusal.TRY_LATER)
    needs.fault.mark("checkin.after_commit")
    if isinstance(heard, _Talk):
        for account_id in heard.nudge:
            needs.door.nudge(account_id)
        for job_id, queue in heard.ring:
            needs.door.put(job_id, queue)
    return reply


class _TooEarly(Exception):
    """A report outran the order that it answers: nothing of it is kept, and it is to come again."""


async def _identify(needs: Needs, platform: PlatformHandler, request: DeviceRequest) -> Caller | Refusal:
    """Raises Unreadable."""
    now = needs.database.roughly_now()
    try:
        return platform.identify(replace(request, signers=needs.signers.known(platform.name)), now)
    except KeysNeeded:
        pass
    try:
        signers = await needs.signers.fetch(platform)
        return platform.identify(replace(request, signers=signers), now)
    except KeysNeeded:
        # Nobody's key: not proven. Where it is a new one that we have not seen yet, it must come again.
        return Refusal.UNREADABLE
    except Unreachable:
        return Refusal.TRY_LATER


async def _converse(heard: _Talk, caller: Caller, address: str | None) -> DeviceReply:
    """Raises Unreadable."""
    check_in = heard.platform.read(caller, heard.view, heard.now)
    if not check_in.proven:
        return await _challenge(heard, check_in)
    if caller.certificate_hash is None and heard.bond.address not in {None, caller.address}:
        await _record_refusal(
            heard.tx, heard.bond, heard.held.account_id, "another_address", actor=heard.actor, now=heard.now
        )
        return heard.platform.refuse(Refusal.NOT_BOUND)
    if heard.bond.state == EnrollmentState.LEFT:
        return await _hear_out(heard, check_in)
    refusal = await _bind(heard, check_in)
    if refusal is not None:
        return heard.platform.refuse(refusal)
    await _apply(heard, check_in)
    await _settle_reports(heard, check_in)
    if heard.goes:
        await _leave(heard, said_farewell=check_in.state is EnrollmentState.LEFT)
    await _mistrust(heard)
    reply = await _answer(heard, check_in)
    await _mistrust(heard)
    await _keep(heard, check_in, None if caller.relayed else address)
    return reply


_BONDS: Final = enrollment.enrollment.c
_BOND: Final = (
    sa.select(
        enrollment.enrollment,
        *labelled(device, _HELD),
        account.c.blocked_at,
        organization.c.settings,
    )
    .select_from(
        enrollment.enrollment.join(device, device.c.id == _BONDS.device_id)
        .join(account, account.c.id == device.c.account_id)
        .join(organization, organization.c.id == device.c.organization_id)
    )
    .with_for_update(of=enrollment.enrollment)
)


def _found_by(*which: sa.ColumnElement[bool]) -> tuple[Hot, Hot]:
    """The bond, held, and then the open jobs of its device."""
    its_device = sa.select(_BONDS.device_id).where(*which).scalar_subquery()
    return Hot(_BOND.where(*which)), Hot(job.open_of(its_device).with_for_update())


_BY_CERTIFICATE: Final = _found_by(_BONDS.certificate_hash == sa.bindparam("certificate"))
_BY_ID: Final = _found_by(
    _BONDS.platform == sa.bindparam("platform"),
    _BONDS.id == sa.bindparam("bond"),
    # Not before its link was opened: until then nobody was told of it.
    _BONDS.link_hash.is_(None),
)
_BY_ADDRESS: Final = _found_by(
    _BONDS.platform == sa.bindparam("platform"), _BONDS.address == sa.bindparam("address"), _BONDS.left_at.is_(None)
)


async def _hear(
    needs: Needs, platform: PlatformHandler, tx: Transaction, caller: Caller, request_id: str
) -> _Talk | Refusal:
    """Find the bond by what the caller proved, and hold it."""
    which: dict[str, Any]
    if caller.certificate_hash is not None:
        found_by, which = _BY_CERTIFICATE, {"certificate": caller.certificate_hash}
    elif caller.enrollment_id is not None:
        found_by, which = _BY_ID, {"platform": platform.name, "bond": caller.enrollment_id}
    else:
        found_by, which = _BY_ADDRESS, {"platform": platform.name, "address": caller.address}
    found, open_jobs = await tx.together_and_now(*((hot, which) for hot in found_by))
    row = found.one_or_none()
    if row is None or row.platform != platform.name:
        return Refusal.NOT_BOUND
    bond = Bond.of(row)
    now = await tx.now()
    message_id = caller.message_id
    if message_id is not None and not await seen_message.first_time(tx, platform.name, message_id, now):
        return Refusal.SEEN
    held = Device.of(Labelled(row, _HELD))
    actor = event.device_actor(bond.device_id, request_id)
    if caller.certificate_hash is not None and bond.address not in {None, caller.address}:
        await _record_refusal(tx, bond, held.account_id, "another_address", actor=actor, now=now)
        return Refusal.NOT_BOUND
    if held.state is DeviceState.DISABLED:
        await _record_refusal(tx, bond, held.account_id, Reason.DEVICE_DISABLED, actor=actor, now=now)
        return Refusal.NOT_BOUND
    return _Talk(
        needs=needs,
        platform=platform,
        tx=tx,
        actor=actor,
        bond=bond,
        held=held,
        owner_blocked=row.blocked_at is not None,
        settings=OrganizationSettings.of(row.settings),
        memory=bond.open_memory(needs.keys),
        now=now,
        jobs=job.in_order(open_jobs.rows),
    )


async def _record_refusal(
    tx: Transaction, bond: Bond, account_id: UUID, reason: str, *, actor: Actor, now: datetime
) -> bool:
    """Once a minute of each bond: a device that asks on and on must not fill the record. Whether it was written."""
    if await throttle.take(tx, REFUSALS, f"{reason}:{bond.id}", now) is not None:
        return False
    await event.record(
        tx,
        organization_id=bond.organization_id,
        action="device:enrollment:bind",
        actor=actor,
        now=now,
        outcome="failure",
        reason=reason,
        account_id=account_id,
        subject=("device", bond.device_id),
    )
    return True


async def _tell_operator(talk: _Talk, address: str, known: Device) -> None:
    """Whose address it is, in a line that is no person's own; no organization's record names another's devices."""
    refused = {"refused_device": str(talk.bond.device_id), "refused_account": str(talk.held.account_id)}
    holding = {"held_by_device": str(known.id), "held_by_account": str(known.account_id)}
    for organization_id in {talk.bond.organization_id, known.organization_id}:
        refused_here = organization_id == talk.bond.organization_id
        facts = {"address": address, "platform": talk.platform.name, **(refused if refused_here else {})}
        if organization_id == known.organization_id:
            facts |= holding
        await event.record(
            talk.tx,
            organization_id=organization_id,
            action="device:enrollment:address_taken",
            actor=talk.actor if refused_here else replace(talk.actor, id=None),
            now=talk.now,
            outcome="failure",
            reason="address_taken",
            subject=("device", talk.bond.device_id if refused_here else known.id),
            facts=facts,
        )


async def _hear_out(talk: _Talk, check_in: CheckIn) -> DeviceReply:
    """A bond that is over: a second farewell and a late answer are heard, and nothing else."""
    if check_in.state is not EnrollmentState.LEFT and not check_in.reports:
        await job.keep_sign_of_life(talk.tx, talk.bond.device_id, actor=talk.actor, now=talk.now)
        return talk.platform.refuse(Refusal.NOT_BOUND)
    talk.jobs = []
    await _settle_reports(talk, check_in)
    return talk.platform.write(check_in, None, talk.view).reply


async def _challenge(talk: _Talk, check_in: CheckIn) -> DeviceReply:
    """Whoever it is has not proven it: what it must be asked is remembered, and nothing that it says."""
    if check_in.memory is not None:
        talk.remember(check_in.memory)
    answer = talk.platform.write(check_in, None, talk.view)
    if answer.memory is not None:
        talk.remember(answer.memory)
    _keep_bond(talk)
    return answer.reply


async def _bind(talk: _Talk, check_in: CheckIn) -> Refusal | None:
    """The first contact names the device. Where the same person's device is known already, it is that one again."""
    if check_in.address is None or talk.bond.address is not None:
        return None
    talk.changes["address"] = check_in.address
    earlier = None
    for address in (check_in.address, *check_in.formerly):
        earlier = earlier or await enrollment.living_at(talk.tx, talk.platform.name, address)
    if earlier is None:
        return None
    row = (await talk.tx.execute(sa.select(device).where(device.c.id == earlier.device_id))).one()
    known = Device.of(row)
    mine = (known.organization_id, known.account_id) == (talk.held.organization_id, talk.held.account_id)
    if not mine or known.state is DeviceState.DISABLED:
        if await _record_refusal(
            talk.tx, talk.bond, talk.held.account_id, "address_taken", actor=talk.actor, now=talk.now
        ):
            await _tell_operator(talk, check_in.address, known)
        return Refusal.NOT_BOUND
    await enrollment.end(talk.tx, earlier.id, talk.now)
    talk.changes["device_id"] = known.id
    invited, talk.held = talk.held, replace(known, state=talk.held.state)
    talk.jobs = await job.open_of_device(talk.tx, known.id, hold=True)
    await _void_approvals(talk, known.id)
    await talk.tx.execute(
        sa.update(enrollment.enrollment).where(enrollment.enrollment.c.id == talk.bond.id).values(device_id=known.id)
    )
    await talk.tx.execute(sa.delete(device).where(device.c.id == invited.id))
    talk.bond = replace(talk.bond, device_id=known.id)
    return None


async def _void_approvals(talk: _Talk, device_id: UUID) -> None:
    """They were asked for the life that ends here."""
    talk.nudge |= await approval.end_of_device(talk.tx, device_id, Reason.DEVICE_LEFT, actor=talk.actor, now=talk.now)


async def _apply(talk: _Talk, check_in: CheckIn) -> None:
    """What the device says of itself."""
    talk.goes = check_in.state is EnrollmentState.LEFT
    if check_in.anew:
        words, keys = talk.words, talk.needs.keys
        talk.stays = any(one.kind in DEPARTURES for one in talk.jobs)
        talk.nudge.update(
            await job.end_for_device(talk.tx, talk.jobs, actor=talk.actor, words=words, keys=keys, now=talk.now)
        )
        await passcode.destroy_of_device(
            talk.tx, talk.bond.organization_id, talk.bond.device_id, Reason.DEVICE_LEFT, talk.now
        )
        talk.jobs = []
        await _void_approvals(talk, talk.bond.device_id)
    if check_in.state is not None and check_in.state.value != talk.bond.state and not talk.goes:
        talk.changes["state"] = check_in.state.value
        if check_in.state is EnrollmentState.ENROLLED:
            talk.changes["enrolled_at"] = talk.now
        await event.record(
            talk.tx,
            organization_id=talk.bond.organization_id,
            action=f"device:enrollment:{check_in.state}",
            actor=talk.actor,
            now=talk.now,
            account_id=talk.held.account_id,
            subject=("device", talk.bond.device_id),
        )
    if check_in.traits is not None:
        talk.changes["traits"] = dict(check_in.traits)
    if check_in.memory is not None:
        talk.remember(check_in.memory)
    if check_in.reachable_anew:
        woken = await job.make_available(talk.tx, talk.bond.device_id, talk.now)
        talk.ring.extend((one.id, one.queue) for one in woken)


def _command(talk: _Talk, held: Job) -> Command:
    return _told_platform(held, held.open_plan(talk.needs.keys))


def _told_platform(held: Job, value: Secret) -> Command:
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


def _answers(report: Report, held: Job) -> bool:
    return held.command_ref == report.ref if report.receipt is None else held.receipt == report.receipt


async def _settle_late(talk: _Talk, report: Report) -> None:
    """Raises _TooEarly."""
    bond = talk.bond
    if report.receipt is not None:
        late = await job.by_receipt(talk.tx, bond.organization_id, bond.device_id, report.receipt)
    else:
        late = await job.by_ref(talk.tx, bond.organization_id, bond.device_id, report.ref or "")
    if late is None and report.may_outrun:
        raise _TooEarly
    if late is not None and not late.is_open:
        outcome = talk.platform.judge(_told_platform(late, Secret(b"")), report)
        if outcome.state is not None:
            await job.keep_late_result(talk.tx, late, outcome, actor=talk.actor, now=talk.now)


async def _settle_reports(talk: _Talk, check_in: CheckIn) -> None:
    """Raises _TooEarly."""
    for report in check_in.reports:
        found = next((one for one in talk.jobs if _answers(report, one)), None)
        if found is None:
            await _settle_late(talk, report)
            continue
        outcome = talk.platform.judge(_command(talk, found), report)
        talk.jobs.remove(found)
        if outcome.state is None and report.receipt is not None:
            # A courier that still has it keeps it: there is nothing to offer again.
            talk.jobs.append(found)
            continue
        if outcome.state is None:
            if await job.put_off(
                talk.tx, found, by=talk.actor.kind, why=outcome.reason or Reason.NOT_NOW, now=talk.now
            ):
                moves = found.moves + (found.state is not JobState.WAITING)
                talk.jobs.append(replace(found, state=JobState.WAITING, wakes=found.wakes + 1, moves=moves))
            continue
        await _settle(talk, found, outcome)


async def _settle(talk: _Talk, held: Job, outcome: Outcome) -> None:
    settled = await job.settle(
        talk.tx,
        held,
        outcome,
        actor=talk.actor,
        words=talk.words,
        keys=talk.needs.keys,
        unread_passcode=talk.settings.unread_passcode,
        now=talk.now,
    )
    if settled:
        talk.nudge.add(held.account_id)
        talk.goes = talk.goes or departure.takes_away(held.act, outcome.state)
        talk.stays = talk.stays or held.kind in DEPARTURES


async def _mistrust(talk: _Talk) -> None:
    """A device whose owner left was heard for its removal alone."""
    if talk.goes or not talk.stays:
        return
    talk.stays = False
    talk.mistrusted, told = await departure.came_to_nothing(
        talk.tx, talk.held, actor=talk.actor, keys=talk.needs.keys, now=talk.now
    )
    talk.nudge |= told
    if talk.mistrusted:
        talk.jobs = []
        talk.goes = talk.held.state is DeviceState.PENDING


async def _leave(talk: _Talk, *, said_farewell: bool) -> None:
    talk.nudge |= await departure.leave(
        talk.tx, talk.held, actor=talk.actor, keys=talk.needs.keys, now=talk.now, said_farewell=said_farewell
    )
    talk.jobs = []
    talk.changes["state"] = EnrollmentState.LEFT.value


def _next(talk: _Talk, check_in: CheckIn) -> Job | None:
    """One in flight first, then the oldest. The target is looked at once more, here, just before the hand-over."""
    if talk.owner_blocked or talk.changes.get("state", talk.bond.state) != EnrollmentState.ENROLLED:
        return None
    for held in _in_order(talk.jobs):
        if (
            held.command_ref is not None
            and held.command_ref not in check_in.withheld
            and held.account_id == talk.held.account_id
            and not held.is_expired(talk.now)
        ):
            return held
    return None


def _in_order(jobs: Sequence[Job]) -> list[Job]:
    return sorted(jobs, key=lambda held: (held.state is not JobState.DELIVERED, held.id))


async def _answer(talk: _Talk, check_in: CheckIn) -> DeviceReply:
    """The reply, with at most one order. An order that can no longer be spelled ends, and the next one is tried."""
    while check_in.wants_order and (held := _next(talk, check_in)) is not None:
        talk.jobs.remove(held)
        try:
            answer = talk.platform.write(check_in, _command(talk, held), talk.view)
        except Refused as refused:
            await _settle(talk, held, Outcome(JobState.FAILED, refused.reason))
            continue
        await job.deliver(talk.tx, held, by=talk.actor.kind, now=talk.now, locked=True)
        break
    else:
        answer = talk.platform.write(check_in, None, talk.view)
    if answer.memory is not None:
        talk.remember(answer.memory)
    return answer.reply


@lru_cache
def _writing_down(table: sa.Table, names: tuple[str, ...]) -> Hot:
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
    return Hot(sa.update(table).where(table.c.id == sa.bindparam("which")).values(**new))


def _write_down(tx: Transaction, table: sa.Table, row_id: UUID, values: Mapping[str, Any]) -> None:
    new = {f"new_{name}": value for name, value in values.items()}
    tx.later(_writing_down(table, tuple(values)), {"which": row_id, **new})


def _keep_bond(talk: _Talk) -> None:
    if talk.changes:
        _write_down(talk.tx, enrollment.enrollment, talk.bond.id, talk.changes)


async def _keep(talk: _Talk, check_in: CheckIn, address: str | None) -> None:
    """Write down what changed of the bond and of the device, and nothing where nothing did."""
    if not talk.goes:
        _keep_bond(talk)
    said = {
        "os_name": check_in.os_name,
        "os_version": check_in.os_version,
        "maker": check_in.maker,
        "model": check_in.model,
        "serial": check_in.serial,
    }
    if check_in.state is not None and not talk.goes and not talk.mistrusted:
        said["state"] = _DEVICE_STATE[check_in.state].value
    values: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    seen = talk.held.last_seen_at
    if seen is None or talk.now - seen >= SEEN_COARSELY:
        values |= {"last_seen_at": talk.now, "seen_from": address}
    if values:
        _write_down(talk.tx, device, talk.bond.device_id, values)
