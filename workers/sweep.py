"""What nobody else will do: ring what was not heard, expire, lapse, erase, seal. Found in rows, so that a missed round,
or two rounds at once, do no harm. A round looks at so many rows at most."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import (
    account,
    app,
    approval,
    browser,
    contact,
    delivery,
    departure,
    enrollment,
    erasure,
    event,
    export,
    heartbeat,
    invitation,
    job,
    leaving,
    not_me,
    notification,
    organization,
    passcode,
    passkey,
    re_sign_in,
    recovery,
    reset_link,
    role,
    seen_message,
    sent_code,
    session,
    sheet,
    sign_in,
    signing_key,
    terms,
    throttle,
    verification,
)
from models.approval import Approval, ApprovalState
from models.database import Database, DatabaseDown, Transaction
from models.delivery import Person
from models.device import Device, DeviceState, device
from models.event import LONGEST_TRANSACTION, SWEEP
from models.fault import Fault
from models.job import Job, Words
from models.notification import Severity
from models.re_sign_in import ReSignIn, ReSignInState
from models.recovery import RecoveryState
from models.sealed import Keyring
from models.settings import UNREAD_PASSCODE_DEFAULT
from models.throttle import ShutDoor
from models.vocabulary import DEPARTURES, Queue, Reason, Secret, Task, new_id
from workers import jobs
from workers.queue import Errand, QueueDoor, QueueDown

_LOG = logging.getLogger(__name__)

AT_ONCE: Final = 1000
PUT_ASIDE: Final = timedelta(hours=1)
"""How long a row that cannot be read is left alone."""
PEOPLE_AT_ONCE: Final = 100
"""Erased in one go: each is some thirty statements."""
TOLD_AT_ONCE: Final = 100
"""People of one organization in one transaction: each one's row is held, and a mail is sealed for each."""


@dataclass(slots=True)
class Sweep:
    """The needs of the sweep, and what it remembers between two rounds."""

    database: Database
    keys: Keyring
    audit_key: Secret
    door: QueueDoor
    fault: Fault
    at_once: int = AT_ONCE
    epoch: str | None = None
    sealed_since: datetime | None = field(default=None)
    """None: look at every event; after a start nobody knows where the last holder stopped."""

    async def round(self) -> None:
        """What must be quick."""
        await each(
            self.seal,
            self.notice_lost_bells,
            self.jobs,
            self.deliveries,
            self.windows,
            self.approvals,
            self.recoveries,
            self.shut_doors,
            self.notices,
        )

    async def notice_lost_bells(self) -> None:
        """Redis was emptied or restarted: what it was to ring for is rung for again, at once."""
        try:
            epoch = await self.door.epoch()
        except QueueDown:
            return
        if epoch == self.epoch:
            return
        async with self.database.write() as tx:
            now = await tx.now()
            again = await job.ring_all_again(tx, now) + await delivery.ring_all_again(tx, now)
        self.epoch = epoch
        if again:
            _LOG.warning("the queue was emptied; what waits is rung again", extra={"rows": again})

    async def jobs(self) -> None:
        async with self.database.write() as tx:
            now = await tx.now()
            due, strange = await job.due(tx, now, self.at_once)
            await _put_aside(tx, job.job, strange, now)
            expired = [held for held in due if held.is_expired(now)]
            waiting = [held for held in due if not held.is_expired(now)]
            await job.rung(tx, waiting, now)
        ring = [(held.id, held.queue) for held in waiting if held.lease_until is None or held.lease_until <= now]
        if ring:
            self.fault.mark("sweep.rung")
            try:
                await self.door.ring(ring)
            except QueueDown:
                _LOG.warning("the queue is away; jobs are rung later", extra={"jobs": len(ring)})
        await each(*(partial(self._expire, held) for held in expired))

    async def _expire(self, due: Job) -> None:
        async with self.database.write() as tx:
            if due.kind in DEPARTURES and due.device_id is not None:
                await enrollment.hold_living(tx, due.device_id)
            held = await job.by_id(tx, due.id, hold=True)
            now = await tx.now()
            if held is None or not held.is_open or not held.is_expired(now):
                return
            if isinstance(held.kind, Task):
                await jobs.end(tx, held, job.out_of_time(held), actor=SWEEP, now=now)
                told = {held.account_id}
            else:
                of = Device.of((await tx.execute(sa.select(device).where(device.c.id == held.device_id))).one())
                told = await departure.settle(
                    tx,
                    held,
                    job.out_of_time(held),
                    of=of,
                    actor=SWEEP,
                    words=Words(success_key="", device_name=of.name),
                    keys=self.keys,
                    unread_passcode=UNREAD_PASSCODE_DEFAULT,
                    now=now,
                )
            self.fault.mark("sweep.before_commit")
        for account_id in told:
            self.door.nudge(account_id)

    async def deliveries(self) -> None:
        """Like jobs, but that nobody is told of an end."""
        async with self.database.write() as tx:
            now = await tx.now()
            due, strange = await delivery.due(tx, now, self.at_once)
            await _put_aside(tx, delivery.delivery, strange, now)
            waiting = [held for held in due if not held.is_expired(now)]
            await delivery.rung(tx, waiting, now)
            for held in due:
                if held.is_expired(now):
                    await delivery.expire(tx, held, now)
        if not waiting:
            return
        try:
            await self.door.ring([(held.id, Queue.SYSTEM) for held in waiting], Errand.DELIVER)
        except QueueDown:
            _LOG.warning("the queue is away; deliveries are rung later", extra={"deliveries": len(waiting)})

    async def windows(self) -> None:
        async with self.database.read() as tx:
            due = await re_sign_in.due(tx, await tx.now(), self.at_once)
        await each(*(partial(self._lapse, found) for found in due))

    async def _lapse(self, due: ReSignIn) -> None:
        async with self.database.write() as tx:
            await account.lock(tx, due.account_id)
            window = await re_sign_in.by_id(tx, due.id, hold=True)
            now = await tx.now()
            if window is None or window.seen_at(now) is not ReSignInState.LAPSED:
                return
            lapsed = await re_sign_in.lapse(tx, window, actor=SWEEP, now=now)
        if lapsed:
            self.door.nudge(due.account_id)

    async def approvals(self) -> None:
        """Those who can approve are told of what waits; what nobody decided in time lapses."""
        async with self.database.read() as tx:
            due = await approval.due(tx, await tx.now(), self.at_once)
        await each(*(partial(self._see_to, found) for found in due))

    async def _see_to(self, due: Approval) -> None:
        async with self.database.write() as tx:
            theirs = await organization.roles_of(tx, due.organization_id, due.account_id)
            may = await organization.who_may(tx, due.organization_id, role.APPROVE, theirs)
            approvers = [one for one in may if one != due.account_id][:TOLD_AT_ONCE] if due.told_at is None else []
            for one in sorted({due.account_id, *approvers}):  # in one order, like everybody who holds several
                await account.lock(tx, one)
            held = await approval.by_id(tx, due.id, hold=True)
            now = await tx.now()
            if held is None or held.state is not ApprovalState.SUBMITTED:
                return
            if held.seen_at(now) is ApprovalState.LAPSED:
                await approval.lapse(tx, held, actor=SWEEP, now=now)
                approvers = [held.account_id]
            elif held.told_at is None:
                name = await approval.called(tx, held)
                for one in approvers:
                    await delivery.notify(
                        tx,
                        keys=self.keys,
                        account=Person(one, held.organization_id),
                        key=f"approval.{held.act}.asked",
                        params={"device": name},
                        now=now,
                        severity=Severity.WARNING,
                        not_me=False,
                    )
                await approval.told(tx, held, now)
            self.fault.mark("sweep.before_commit")
        for one in approvers:
            self.door.nudge(one)

    async def recoveries(self) -> None:
        async with self.database.write() as tx:
            now = await tx.now()
            for flow in await recovery.due(tx, now, self.at_once):
                await recovery.move(tx, flow, RecoveryState.EXPIRED, actor=SWEEP, now=now)

    async def shut_doors(self) -> None:
        """Wrong passwords have shut somebody out: their owner is told, and whoever can open it again.

        Here, and not where it happens: there it would take longer for a name that somebody has.
        """
        async with self.database.read() as tx:
            found = await throttle.shut_doors(tx, await tx.now(), self.at_once)
        await each(*(partial(self._tell_of_door, door) for door in found))

    async def _tell_of_door(self, door: ShutDoor) -> None:
        async with self.database.write() as tx:
            home = await account.home_of(tx, door.account_id)
            theirs = await organization.roles_of(tx, home, door.account_id)
            able = await organization.who_may(tx, home, role.RESET, theirs)
            helpers = [one for one in able if one != door.account_id][:TOLD_AT_ONCE]
            rows = {one: await account.lock(tx, one) for one in sorted({door.account_id, *helpers})}
            now = await tx.now()
            owner = rows[door.account_id]
            if not await throttle.told_of(tx, door, now) or owner is None or owner.deleted_at is not None:
                return
            await event.record(
                tx, organization_id=home, action="account:password:shut", actor=SWEEP, now=now, account_id=owner.id
            )
            key, severity = "password.shut", Severity.WARNING
            await delivery.notify(
                tx, keys=self.keys, account=Person(owner.id, home), key=key, params={}, now=now, severity=severity
            )
            for one in [] if owner.is_operator else helpers:
                await notification.tell(
                    tx,
                    organization_id=home,
                    account_id=one,
                    subject_id=new_id(now),
                    key="password.shut_of_somebody",
                    params={"account": owner.sign_in_name},
                    severity=severity,
                    now=now,
                )
            self.fault.mark("sweep.before_commit")
        for one in rows:
            self.door.nudge(one)

    async def notices(self) -> None:
        """Terms of use that will ask people anew are announced to them, once to each."""
        async with self.database.read() as tx:
            due = await terms.due_notices(tx, await tx.now(), self.at_once)
        await each(*(partial(self._announce, version_id) for version_id in due))

    async def _announce(self, version_id: UUID) -> None:
        async with self.database.write() as tx:
            notice = await terms.hold_notice(tx, version_id)
            now = await tx.now()
            if notice is None:
                return
            over = notice.terms.withdrawn_at is not None or notice.version.in_force(now)
            people = [] if over else await terms.whom_to_tell(tx, notice, TOLD_AT_ONCE)
            told = [one for one in people if one.blocked_at is None]
            for one in told:
                await delivery.notify(
                    tx,
                    keys=self.keys,
                    account=Person(one.account_id, notice.terms.organization_id),
                    key="terms.announced",
                    params={
                        "terms": notice.terms.called(one.language),
                        "until": notice.version.effective_at.isoformat(timespec="seconds"),
                    },
                    now=now,
                    severity=Severity.INFO,
                    not_me=False,
                )
            last = people[-1].account_id if people else notice.told_up_to
            await terms.told(tx, notice, last, now if len(people) < TOLD_AT_ONCE else None)
            self.fault.mark("sweep.before_commit")
        for one in told:
            self.door.nudge(one.account_id)

    async def seal(self) -> None:
        """Give every event its place in the chain."""
        while True:
            async with self.database.write() as tx:
                now = await tx.now()
                sealed, _ = await event.seal(tx, self.audit_key, self.sealed_since, self.at_once)
                if sealed:
                    self.fault.mark("seal.before_commit")
            if sealed < self.at_once:
                break
        self.sealed_since = now - LONGEST_TRANSACTION

    async def rotate_keys(self) -> None:
        """What signs has a successor in time; the first of all is made here, too."""
        async with self.database.write() as tx:
            if await signing_key.rotate(tx, self.keys, await tx.now()):
                _LOG.info("a new signing key is published")

    async def erase(self) -> bool:
        """What may be slow: what has outlived its time, so many of a kind at most. Whether there may be more."""
        erased: list[int] = []

        async def erase(erase_due: Erase) -> None:
            async with self.database.write() as tx:
                erased.append(await erase_due(tx, await tx.now(), self.at_once))

        await each(self.rotate_keys, *(partial(erase, erase_due) for erase_due in _ERASED))
        more = await self.people()
        return more or any(count >= self.at_once for count in erased)

    async def people(self) -> bool:
        """Whoever was deleted thirty days ago is erased, each in a transaction. Whether there may be more to do."""
        async with self.database.read() as tx:
            due = await erasure.due(tx, await tx.now(), PEOPLE_AT_ONCE)
        left: list[UUID] = []
        await each(*(partial(self._erase_person, account_id, left) for account_id in due))
        return bool(left) or len(due) == PEOPLE_AT_ONCE

    async def _erase_person(self, account_id: UUID, left: list[UUID]) -> None:
        async with self.database.write() as tx:
            if not await erasure.erase(tx, account_id, keys=self.keys, limit=self.at_once):
                left.append(account_id)
            self.fault.mark("sweep.before_commit")


async def _put_aside(tx: Transaction, table: sa.Table, strange: Sequence[Any], now: datetime) -> None:
    """Rows that nobody here understands hold up no other, and are looked at again: a newer version may be there."""
    for row in strange:
        _LOG.error("a row cannot be read, and is put aside", extra={"table": table.name, "row": str(row.id)})
        await tx.execute(sa.update(table).where(table.c.id == row.id).values(due_at=now + PUT_ASIDE))
        await event.record(
            tx,
            organization_id=row.organization_id,
            action=f"system:{table.name}:put_aside",
            actor=SWEEP,
            now=now,
            outcome="failure",
            reason="unreadable",
            subject=(table.name, row.id),
        )


async def each(*steps: Callable[[], Awaitable[None]]) -> None:
    """One after the other. One that fails holds up no other: what is wrong with a row would be so in every round.

    The first failure is told at the end; without a database nothing goes on.
    """
    failed: Exception | None = None
    for step in steps:
        try:
            await step()
        except DatabaseDown:
            raise
        except Exception as error:  # noqa: BLE001 - told at the end
            failed = failed or error
    if failed is not None:
        raise failed


async def _erase_invitations(tx: Transaction, now: datetime, limit: int) -> int:
    unfinished = await enrollment.erase_unfinished(tx, now, limit)
    if unfinished:
        await tx.execute(sa.delete(device).where(device.c.id.in_(unfinished)))
    return len(unfinished)


async def _give_up_pending(tx: Transaction, now: datetime, limit: int) -> int:
    """A device that never finished enrolling goes; one that something was ever asked of has left, for the record."""
    bonds = await enrollment.given_up(tx, now, limit)
    asked = sa.exists().where(job.job.c.device_id == device.c.id)
    others = sa.exists().where(re_sign_in.re_sign_in.c.device_id == device.c.id)
    approved = sa.exists().where(approval.approval.c.device_id == device.c.id)
    await approval.end_of_devices(tx, [bond.device_id for bond in bonds], Reason.DEVICE_LEFT, actor=SWEEP, now=now)
    for bond in bonds:
        await enrollment.end(tx, bond.id, now)
        bound = sa.select(sa.func.count()).where(enrollment.enrollment.c.device_id == bond.device_id)
        known = sa.select(sa.or_(asked, others, approved)).where(device.c.id == bond.device_id)
        if (await tx.execute(known)).scalar_one() or (await tx.execute(bound)).scalar_one() > 1:
            statement = sa.update(device).where(
                device.c.id == bond.device_id, device.c.state == DeviceState.PENDING.value
            )
            await tx.execute(statement.values(state=DeviceState.LEFT.value))
        else:
            await tx.execute(sa.delete(enrollment.enrollment).where(enrollment.enrollment.c.id == bond.id))
            await tx.execute(sa.delete(device).where(device.c.id == bond.device_id))
        await event.record(
            tx,
            organization_id=bond.organization_id,
            action="device:enrollment:give_up",
            actor=SWEEP,
            now=now,
            account_id=bond.account_id,
            subject=("device", bond.device_id),
        )
    return len(bonds)


async def _bury(tx: Transaction, now: datetime, limit: int) -> int:
    await heartbeat.bury(tx, now)
    return 0


Erase = Callable[[Transaction, datetime, int], Awaitable[int]]

_ERASED: Final[tuple[Erase, ...]] = (
    passcode.destroy_due,
    notification.erase_due,
    throttle.erase_due,
    seen_message.erase_due,
    sent_code.erase_due,
    session.erase_due,
    sign_in.erase_due,
    browser.erase_due,
    re_sign_in.erase_due,
    approval.erase_due,
    recovery.erase_due,
    reset_link.erase_due,
    sheet.erase_due,
    verification.erase_due,
    contact.erase_due,
    passkey.erase_due,
    app.erase_due,
    signing_key.erase_due,
    export.erase_due,
    job.erase_due,
    delivery.erase_due,
    leaving.erase_due,
    invitation.erase_due,
    not_me.erase_due,
    _erase_invitations,
    _give_up_pending,
    _bury,
)
"""Each in a transaction of its own."""
