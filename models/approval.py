"""A second person's yes to what cannot be undone: asked for, then approved or refused by somebody else, in three days.

    submitted  the person has shown who they are, and asked
    approved   another administrator said yes: the job was made in that transaction
    refused    another administrator said no
    withdrawn  whoever asked took it back
    lapsed     nobody said anything in time
    void       something else decided: the device went or changed hands, its owner left or was blocked, the act is not
               offered at the yes

It is no job and no state of one: before the yes nothing of it concerns the device, so that a lost phone can be locked
while it waits. One of a kind waits per device.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account, event, notification
from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.device import device
from models.enrollment import enrollment
from models.event import Actor
from models.notification import Severity
from models.settings import APPROVAL_KEPT, APPROVAL_WAIT
from models.vocabulary import Act, id_after, new_id

approval = sa.Table(
    "approval",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, comment="who asked"),
    sa.Column("device_id", Id, sa.ForeignKey("device.id"), nullable=False),
    sa.Column("enrollment_id", Id, nullable=True, comment="the device's life for which it was asked"),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=True, comment="what made it void"),
    sa.Column("decided_by", Id, nullable=True, comment="an account"),
    sa.Column("reason", sa.Text, nullable=True, comment="in that person's words"),
    sa.Column("job_id", Id, nullable=True),
    sa.Column("idempotency_key", sa.Text, nullable=False),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("lapses_at", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("told_at", Moment, nullable=True, comment="when those who can approve were told"),
    sa.Column("due_at", Moment, nullable=True, comment="when the sweep must look at it; empty once it has ended"),
    sa.Index("uq_approval_idempotency", "account_id", "idempotency_key", unique=True),
    partial_index("uq_approval_submitted", "device_id", "act", unique=True, where="state = 'submitted'"),
    sa.Index("ix_approval_organization", "organization_id", "id"),
    partial_index("ix_approval_waiting", "organization_id", "id", where="state = 'submitted'"),
    sa.Index("ix_approval_account", "organization_id", "account_id", "id"),
    sa.Index("ix_approval_device", "device_id", "created_at"),
    partial_index("ix_approval_due", "due_at", where="due_at IS NOT NULL"),
)


_WAITS: Final = approval.c.state == sa.literal_column("'submitted'", sa.Text)
"""Of a bound value PostgreSQL cannot know that the index fits."""


class ApprovalState(StrEnum):
    SUBMITTED = "submitted"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"
    VOID = "void"


_SEVERITY: Final = {
    ApprovalState.SUBMITTED: Severity.INFO,
    ApprovalState.APPROVED: Severity.SUCCESS,
    ApprovalState.REFUSED: Severity.WARNING,
    ApprovalState.WITHDRAWN: Severity.INFO,
    ApprovalState.LAPSED: Severity.WARNING,
    ApprovalState.VOID: Severity.WARNING,
}
_VERB: Final = {
    ApprovalState.SUBMITTED: "submit",
    ApprovalState.APPROVED: "approve",
    ApprovalState.REFUSED: "refuse",
    ApprovalState.WITHDRAWN: "withdraw",
    ApprovalState.LAPSED: "lapse",
    ApprovalState.VOID: "void",
}
# The smallest step the clock has: it is swept only when its last inclusive moment is over.
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Approval:
    id: UUID
    organization_id: UUID
    account_id: UUID
    device_id: UUID
    enrollment_id: UUID | None
    act: Act
    state: ApprovalState
    why: str | None
    decided_by: UUID | None
    reason: str | None
    job_id: UUID | None
    request_hash: bytes
    created_at: datetime
    lapses_at: datetime
    ended_at: datetime | None
    told_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Approval":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            device_id=row.device_id,
            enrollment_id=row.enrollment_id,
            act=Act(row.act),
            state=ApprovalState(row.state),
            why=row.why,
            decided_by=row.decided_by,
            reason=row.reason,
            job_id=row.job_id,
            request_hash=row.request_hash,
            created_at=row.created_at,
            lapses_at=row.lapses_at,
            ended_at=row.ended_at,
            told_at=row.told_at,
        )

    def seen_at(self, now: datetime) -> ApprovalState:
        """The state a reader is told: a bound that passed counts before the sweep has written it down."""
        late = self.state is ApprovalState.SUBMITTED and now > self.lapses_at
        return ApprovalState.LAPSED if late else self.state


async def living_bond(tx: Transaction, device_id: UUID) -> UUID | None:
    """The device's present life."""
    statement = sa.select(enrollment.c.id).where(enrollment.c.device_id == device_id, enrollment.c.left_at.is_(None))
    bond: UUID | None = (await tx.execute(statement)).scalar_one_or_none()
    return bond


async def submit(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    device_id: UUID,
    device_name: str,
    act: Act,
    idempotency_key: str,
    request_hash: bytes,
    actor: Actor,
    now: datetime,
) -> Approval:
    """Written down, and told to whoever asked; the sweep tells those who can approve. The account's row is held."""
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "account_id": account_id,
        "device_id": device_id,
        "enrollment_id": await living_bond(tx, device_id),
        "act": act.value,
        "state": ApprovalState.SUBMITTED.value,
        "idempotency_key": idempotency_key,
        "request_hash": request_hash,
        "created_at": now,
        "lapses_at": now + APPROVAL_WAIT,
        "due_at": now,
    }
    row = (await tx.execute(sa.insert(approval).values(**values).returning(approval))).one()
    held = Approval.of(row)
    await _tell(tx, held, ApprovalState.SUBMITTED, device_name, now=now)
    await _record(tx, held, ApprovalState.SUBMITTED, actor=actor, now=now)
    return held


async def end(
    tx: Transaction,
    held: Approval,
    state: ApprovalState,
    *,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    decided_by: UUID | None = None,
    reason: str | None = None,
    job_id: UUID | None = None,
) -> bool:
    """Give it its ending, with what is told of it. False: it had one. The account of whoever asked is held."""
    statement = (
        sa.update(approval)
        .where(approval.c.id == held.id, approval.c.state == ApprovalState.SUBMITTED.value)
        .values(
            state=state.value,
            why=why,
            decided_by=decided_by,
            reason=reason,
            job_id=job_id,
            ended_at=now,
            due_at=None,
        )
    )
    if (await tx.execute(statement)).rowcount != 1:
        return False
    await _tell(tx, held, state, await called(tx, held), now=now, job_id=job_id)
    await _record(tx, held, state, actor=actor, now=now, why=why, said=reason, job_id=job_id)
    return True


async def lapse(tx: Transaction, held: Approval, *, actor: Actor, now: datetime) -> bool:
    """Its time is over. False: it had ended."""
    return await end(tx, held, ApprovalState.LAPSED, actor=actor, now=now)


async def end_of_device(tx: Transaction, device_id: UUID, why: str, *, actor: Actor, now: datetime) -> set[UUID]:
    """The device is no longer what it was asked of. The accounts to nudge; the bond is held."""
    return await end_of_devices(tx, [device_id], why, actor=actor, now=now)


async def end_of_devices(
    tx: Transaction, device_ids: Collection[UUID], why: str, *, actor: Actor, now: datetime
) -> set[UUID]:
    """The same of several, whose bonds are held: at once, so that accounts are taken in the one order."""
    return await _void_all(tx, approval.c.device_id.in_(device_ids), why, actor=actor, now=now)


async def end_of_account(
    tx: Transaction, account_id: UUID, places: Sequence[UUID], why: str, *, actor: Actor, now: datetime
) -> set[UUID]:
    """Whoever asked can ask for nothing there any more. The accounts to nudge; theirs is held."""
    mine = sa.and_(approval.c.organization_id.in_(places), approval.c.account_id == account_id)
    return await _void_all(tx, mine, why, actor=actor, now=now)


async def _void_all(
    tx: Transaction, which: sa.ColumnElement[bool], why: str, *, actor: Actor, now: datetime
) -> set[UUID]:
    """As few as a person's devices have acts."""
    waiting = sa.select(approval).where(which, _WAITS).order_by(approval.c.account_id, approval.c.id)
    told = set()
    for held in [Approval.of(row) for row in await tx.execute(waiting)]:
        await account.lock(tx, held.account_id)
        late = held.seen_at(now) is ApprovalState.LAPSED
        if (
            await lapse(tx, held, actor=actor, now=now)
            if late
            else await end(tx, held, ApprovalState.VOID, actor=actor, now=now, why=why)
        ):
            told.add(held.account_id)
    return told


async def called(tx: Transaction, held: Approval) -> str:
    """The device's name."""
    name: str = (await tx.execute(sa.select(device.c.name).where(device.c.id == held.device_id))).scalar_one()
    return name


async def _tell(
    tx: Transaction,
    held: Approval,
    state: ApprovalState,
    device_name: str,
    *,
    now: datetime,
    job_id: UUID | None = None,
) -> None:
    """One line, that follows it. How the act itself ends is told by its job."""
    await notification.tell(
        tx,
        organization_id=held.organization_id,
        account_id=held.account_id,
        subject_id=held.id,
        key=f"approval.{held.act}.{state}",
        params={"device": device_name},
        severity=_SEVERITY[state],
        job_id=job_id,
        device_id=held.device_id,
        now=now,
    )


async def _record(
    tx: Transaction,
    held: Approval,
    state: ApprovalState,
    *,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    said: str | None = None,
    job_id: UUID | None = None,
) -> None:
    facts = {"act": held.act.value, "device_id": str(held.device_id)}
    await event.record(
        tx,
        organization_id=held.organization_id,
        action=f"device:approval:{_VERB[state]}",
        actor=actor,
        now=now,
        reason=why,
        private=None if said is None else {"reason": said},
        account_id=held.account_id,
        subject=("approval", held.id),
        facts=facts if job_id is None else {**facts, "job_id": str(job_id)},
    )


async def by_id(tx: Transaction, approval_id: UUID, *, hold: bool = False) -> Approval | None:
    statement = sa.select(approval).where(approval.c.id == approval_id)
    row = (await tx.execute(statement.with_for_update() if hold else statement)).one_or_none()
    return None if row is None else Approval.of(row)


async def by_key(tx: Transaction, account_id: UUID, key: str) -> Approval | None:
    statement = sa.select(approval).where(approval.c.account_id == account_id, approval.c.idempotency_key == key)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Approval.of(row)


async def waiting_of(tx: Transaction, device_ids: Sequence[UUID]) -> dict[tuple[UUID, Act], UUID]:
    """What waits for a yes, by device and act."""
    columns = approval.c
    statement = sa.select(columns.id, columns.device_id, columns.act).where(columns.device_id.in_(device_ids), _WAITS)
    return {(row.device_id, Act(row.act)): row.id for row in await tx.execute(statement)}


async def nth_newest(tx: Transaction, device_id: UUID, n: int) -> datetime | None:
    """When it was asked for, of this device. None: there are not so many."""
    moments = sa.select(approval.c.created_at).where(approval.c.device_id == device_id)
    statement = moments.order_by(approval.c.created_at.desc()).offset(n - 1).limit(1)
    found: datetime | None = (await tx.execute(statement)).scalar_one_or_none()
    return found


async def page(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID | None,
    state: ApprovalState | None,
    before: UUID | None,
    limit: int,
    now: datetime,
) -> list[Approval]:
    """Newest first. Without an account: all of the organization's. What waits is what can still be decided."""
    statement = (
        sa.select(approval)
        .where(approval.c.organization_id == organization_id)
        .order_by(approval.c.id.desc())
        .limit(limit)
    )
    if account_id is not None:
        statement = statement.where(approval.c.account_id == account_id)
    if state is ApprovalState.SUBMITTED:
        statement = statement.where(_WAITS, approval.c.lapses_at >= now)
    elif state is not None:
        statement = statement.where(approval.c.state == state.value)
    if before is not None:
        statement = statement.where(approval.c.id < before)
    return [Approval.of(row) for row in await tx.execute(statement)]


async def told(tx: Transaction, held: Approval, now: datetime) -> None:
    """Those who can approve know of it; from now on only its end is due."""
    statement = sa.update(approval).where(approval.c.id == held.id, approval.c.due_at.is_not(None))
    await tx.execute(statement.values(told_at=now, due_at=held.lapses_at + _TICK))


async def due(tx: Transaction, now: datetime, limit: int) -> list[Approval]:
    """Those that are to be told, or whose time is over; not held, since accounts are held first."""
    statement = sa.select(approval).where(approval.c.due_at <= now).order_by(approval.c.due_at).limit(limit)
    return [Approval.of(row) for row in await tx.execute(statement)]


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Those that ended long ago; one ends within days of its beginning, and its id is of that moment."""
    cutoff = now - APPROVAL_KEPT
    old = (
        sa.select(approval.c.id)
        .where(approval.c.id < id_after(cutoff), approval.c.ended_at <= cutoff)
        .order_by(approval.c.id)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(approval).where(approval.c.id.in_(old)))).rowcount
