"""What was asked: one act for one subject, and its way to an ending. The row decides; messages only ring.

`available_at` says when a run may claim the job, `due_at` when the sweep must look at it again. A claim is a lease on a
row, not a state; every later write of that run carries the attempt it was given, so that a run which lost its lease
changes nothing. `move` alone writes `state`, along the one table of moves, with one line of timeline each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import address, delivery, event, notification, passcode
from models.base import Id, Json, Moment, metadata, partial_index, read_each
from models.database import STATEMENT_NOW, Soon, Transaction
from models.delivery import Person
from models.errors import IllegalMove
from models.event import Actor
from models.hot import Hot, Question
from models.notification import Severity
from models.sealed import Keyring
from models.settings import CONFIRMATION, JOB_KEPT
from models.vocabulary import DEPARTURES, Act, JobState, Outcome, Queue, Reason, Secret, Task, id_after

OPEN: Final = (JobState.QUEUED, JobState.WAITING, JobState.DELIVERED)
OPEN_LITERALS: Final = tuple(sa.literal_column(f"'{state}'", sa.Text) for state in OPEN)
"""For a statement that is to find open jobs by their index: of bound values PostgreSQL cannot know that it fits."""
_OPEN_SQL: Final = "state IN ('queued', 'waiting', 'delivered')"

job = sa.Table(
    "job",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, comment="whose it is, and who is told"),
    sa.Column("device_id", Id, sa.ForeignKey("device.id"), nullable=True, comment="none: the subject is the account"),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("moves", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("crashes", sa.Integer, nullable=False, server_default="0", comment="runs in a row whose lease ran out"),
    sa.Column("wakes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("offers", sa.Integer, nullable=False, server_default="0", comment="hand-overs to the device"),
    sa.Column("rings", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease_until", Moment, nullable=True),
    sa.Column("available_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=True),
    sa.Column("command_ref", sa.Text, nullable=True),
    sa.Column("plan", sa.LargeBinary, nullable=True, comment="sealed; what a resend must not change"),
    sa.Column("receipt", sa.Text, nullable=True, comment="a courier's name for the order"),
    sa.Column("sent_at", Moment, nullable=True, comment="a courier may hold the order since then"),
    sa.Column("looks", sa.Integer, nullable=False, server_default="0", comment="in a row, and it was not there"),
    sa.Column("idempotency_key", sa.Text, nullable=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=True, comment="when it ends by itself, as things stand"),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("superseded_by", Id, nullable=True),
    sa.Column("detail", Json, nullable=True, comment="what the device said, for the operator"),
    sa.Column("late_result", Json, nullable=True, comment="what the device said after the ending"),
    sa.Index("uq_job_idempotency", "account_id", "idempotency_key", unique=True),
    partial_index("uq_job_open", "device_id", "kind", unique=True, where=_OPEN_SQL),
    partial_index("ix_job_task", "organization_id", "kind", where=f"device_id IS NULL AND {_OPEN_SQL}"),
    partial_index("ix_job_due", "due_at", where="due_at IS NOT NULL"),
    sa.Index("ix_job_account", "organization_id", "account_id", "id"),
    sa.Index("ix_job_device", "organization_id", "device_id", "id"),
    sa.Index("ix_job_state", "state", "id"),
    partial_index("uq_job_receipt", "device_id", "receipt", unique=True, where="receipt IS NOT NULL"),
)

job_move = sa.Table(
    "job_move",
    metadata,
    sa.Column("job_id", Id, sa.ForeignKey("job.id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("from_state", sa.Text, nullable=True),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=True),
    sa.Column("attempt", sa.Integer, nullable=False),
)

ENDINGS: Final = frozenset(set(JobState) - set(OPEN))
_PERSONS_ENDINGS: Final = ENDINGS - {JobState.UNCONFIRMED}

MOVES: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: _PERSONS_ENDINGS | {JobState.WAITING},
    JobState.WAITING: ENDINGS | {JobState.DELIVERED},
    JobState.DELIVERED: frozenset(
        {
            JobState.WAITING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.UNSUPPORTED,
            JobState.EXPIRED,
            JobState.UNCONFIRMED,
        }
    ),
    **{ending: frozenset() for ending in ENDINGS},
}

CANCELLABLE: Final = (JobState.QUEUED, JobState.WAITING)
ROSTER_FILES: Final = frozenset({Task.IMPORT_ACCOUNTS, Task.EXPORT_ACCOUNTS})
"""An organization's accounts, so many at a time: whoever may ask for it may also stop it between two batches."""

LIFE: Final[Mapping[Act | Task, timedelta | None]] = {
    Task.EXPORT: timedelta(hours=24),
    Act.RESET_PASSCODE: timedelta(hours=24),
    Act.REMOTE_LOCK: timedelta(hours=24),
    Act.REFRESH: timedelta(hours=24),
    Act.RESTART: timedelta(hours=1),
    **dict.fromkeys(DEPARTURES),
    Task.SIGN_OUT: timedelta(hours=24),
    Task.LEAVE: None,
    Task.IMPORT_ACCOUNTS: timedelta(hours=24),
    Task.EXPORT_ACCOUNTS: timedelta(hours=24),
}
"""None: not before it was handed over; from then on it is given up when nothing is heard."""

LEASE: Final = timedelta(seconds=30)
"""Well above the longest wake (its own deadline is 10 s): a lease that runs out means that the run is gone."""
COURIER_PAUSE: Final = timedelta(seconds=45)
"""Above the longest hand-over to a courier: whoever looks for the order earlier might look too early."""
LOOKS: Final = 2
"""So many looks in vain, and an order that may have been sent was not."""
CRASHES: Final = 5
"""A job whose runs die this often is itself the cause: it ends as failed."""
ORDERS_REMEMBERED: Final = 20
"""Twice what may be asked of a device in a day."""
OFFERS_TOLD: Final = 10
"""A device that asks for the same order again and again fills the timeline only so far."""
_FIRST_RING: Final = timedelta(seconds=3)
_LONGEST_RING: Final = timedelta(seconds=60)
_WAKE_PAUSES: Final = tuple(timedelta(minutes=m) for m in (1, 5, 15, 60))


def wake_pause(wakes: int) -> timedelta:
    """How long to leave a device alone after the n-th wake: growing, then steady."""
    return _WAKE_PAUSES[min(wakes, len(_WAKE_PAUSES) - 1)]


def ring_pause(rings: int) -> timedelta:
    """How long a ring may go unheard before the next: a backlog must not be doubled by its own sweep."""
    return min(_FIRST_RING * (1 << min(rings, 10)), _LONGEST_RING)


@dataclass(frozen=True, slots=True)
class Job:
    id: UUID
    organization_id: UUID
    account_id: UUID
    device_id: UUID | None
    kind: Act | Task
    queue: Queue
    state: JobState
    reason: str | None
    attempt: int
    crashes: int
    wakes: int
    offers: int
    rings: int
    moves: int
    """Lines of the timeline so far."""
    lease_until: datetime | None
    available_at: datetime
    command_ref: str | None
    plan: bytes | None
    receipt: str | None
    sent_at: datetime | None
    looks: int
    request_hash: bytes | None
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    superseded_by: UUID | None
    detail: Any
    late_result: Any

    @classmethod
    def of(cls, row: Any) -> "Job":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            device_id=row.device_id,
            kind=Task(row.kind) if row.device_id is None else Act(row.kind),
            queue=Queue(row.queue),
            state=JobState(row.state),
            reason=row.reason,
            attempt=row.attempt,
            crashes=row.crashes,
            wakes=row.wakes,
            offers=row.offers,
            rings=row.rings,
            moves=row.moves,
            lease_until=row.lease_until,
            available_at=row.available_at,
            command_ref=row.command_ref,
            plan=row.plan,
            receipt=row.receipt,
            sent_at=row.sent_at,
            looks=row.looks,
            request_hash=row.request_hash,
            created_at=row.created_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
            superseded_by=row.superseded_by,
            detail=row.detail,
            late_result=row.late_result,
        )

    @property
    def act(self) -> Act:
        """What is asked of the device. Of a job that has one."""
        return Act(self.kind)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at

    @property
    def is_cancellable(self) -> bool:
        """Not handed over yet: a courier that may have it since `sent_at` counts as one that has.

        What is done for an account is not taken back: whoever signed out everywhere wants it so. A file of accounts is
        stopped where it is.
        """
        of_kind = self.device_id is not None or self.kind in ROSTER_FILES
        return self.state in CANCELLABLE and self.sent_at is None and of_kind

    def available_actions(self) -> list[str]:
        return ["cancel"] if self.is_cancellable else []

    def due_by(self, at: datetime) -> datetime:
        """When the sweep must look again: at `at`, and no later than the job's own end."""
        return at if self.expires_at is None else min(at, self.expires_at)

    def open_plan(self, keys: Keyring) -> Secret:
        if self.plan is None:
            raise ValueError("the job has no plan yet")
        return keys.open(self.plan, purpose=PLAN_PURPOSE, owner=(self.organization_id, self.id))


PLAN_PURPOSE: Final = "plan"


def seal_plan(keys: Keyring, held: Job, plan: Secret) -> bytes:
    return keys.seal(plan, purpose=PLAN_PURPOSE, owner=(held.organization_id, held.id))


@dataclass(frozen=True, slots=True)
class Words:
    """What a settled job tells its person: the key that fits success here, and the device's name."""

    success_key: str
    device_name: str


# What every job asks of the database: written and compiled once.
_INSERT: Final = Hot(sa.insert(job))
_INSERT_MOVE: Final = Hot(sa.insert(job_move))


def _claiming(now: sa.ColumnElement[datetime], lease: sa.ColumnElement[datetime]) -> Hot:
    return Hot(
        sa.update(job)
        .where(
            job.c.id == sa.bindparam("wanted"),
            job.c.state.in_([state.value for state in OPEN]),
            job.c.available_at <= now,
            sa.or_(job.c.lease_until.is_(None), job.c.lease_until <= now),
            # Past its end it is the sweep's: nobody is woken for it.
            sa.or_(job.c.expires_at.is_(None), job.c.expires_at > now),
        )
        .values(
            attempt=job.c.attempt + 1,
            crashes=job.c.crashes + sa.case((job.c.lease_until.is_not(None), 1), else_=0),
            rings=0,
            lease_until=lease,
            due_at=lease,
        )
        .returning(job)
    )


_CLAIM: Final = _claiming(sa.bindparam("now", type_=Moment), sa.bindparam("lease", type_=Moment))
_CLAIM_NOW: Final = _claiming(STATEMENT_NOW, STATEMENT_NOW + sa.literal(LEASE, sa.Interval))


@lru_cache
def _moving(names: tuple[str, ...], raised: str | None, *, fence: bool) -> Hot:
    """The move that writes these columns and counts `raised` up; their values are bound as `new_…`."""
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
    values |= {name: job.c[name] + 1 for name in ("moves", raised) if name is not None}
    statement = sa.update(job).where(job.c.id == sa.bindparam("held"), job.c.state == sa.bindparam("held_state"))
    if fence:
        statement = statement.where(job.c.attempt == sa.bindparam("held_attempt"))
    return Hot(statement.values(**values).returning(job.c.moves))


def open_of(device_id: sa.ColumnElement[UUID]) -> sa.Select[Any]:
    """What is still to be done with a device; `in_order` puts it in order."""
    return sa.select(job).where(job.c.device_id == device_id, job.c.state.in_(OPEN_LITERALS)).order_by(job.c.id)


_OPEN_OF_DEVICE: Final = Hot(open_of(sa.bindparam("device")))
_HOLD_OPEN_OF_DEVICE: Final = Hot(open_of(sa.bindparam("device")).with_for_update())
_HOLD_FREE_OF_DEVICE: Final = Hot(open_of(sa.bindparam("device")).with_for_update(skip_locked=True))


async def ask(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    device_id: UUID | None,
    act: Act | Task,
    queue: Queue,
    by: str,
    idempotency_key: str | None,
    request_hash: bytes | None,
    now: datetime,
    job_id: UUID,
    life: timedelta | None = None,
) -> Job:
    """The row and its first line of timeline, in the asking transaction. The row is the outbox.

    `life`: how long it may wait; None: as `LIFE` says.
    """
    life = LIFE[act] if life is None else life
    expires_at = None if life is None else now + life
    due_at = now + ring_pause(0)
    values = {
        "id": job_id,
        "organization_id": organization_id,
        "account_id": account_id,
        "device_id": device_id,
        "kind": act.value,
        "queue": queue.value,
        "state": JobState.QUEUED.value,
        "moves": 1,
        "available_at": now,
        "due_at": due_at,
        "idempotency_key": idempotency_key,
        "request_hash": request_hash,
        "created_at": now,
        "expires_at": expires_at,
    }
    tx.later(_INSERT, values)
    _write_move(
        tx, job_id, organization_id, seq=1, at=now, from_state=None, to=JobState.QUEUED, by=by, why=None, attempt=0
    )
    return Job(
        id=job_id,
        organization_id=organization_id,
        account_id=account_id,
        device_id=device_id,
        kind=act,
        queue=queue,
        state=JobState.QUEUED,
        reason=None,
        attempt=0,
        crashes=0,
        wakes=0,
        offers=0,
        rings=0,
        moves=1,
        lease_until=None,
        available_at=now,
        command_ref=None,
        plan=None,
        receipt=None,
        sent_at=None,
        looks=0,
        request_hash=request_hash,
        created_at=now,
        expires_at=expires_at,
        ended_at=None,
        superseded_by=None,
        detail=None,
        late_result=None,
    )


def claim(tx: Transaction, job_id: UUID) -> Soon:
    """Take the lease, on the way to COMMIT; `claimed` reads whether it was there to take."""
    now = tx.known_now
    if now is None:
        return tx.soon(_CLAIM_NOW, {"wanted": job_id})
    return tx.soon(_CLAIM, {"wanted": job_id, "now": now, "lease": now + LEASE})


def claimed(by: Soon) -> Job | None:
    """None: somebody has it, it is not due, or the job has ended; a doubled message stops here."""
    row = by.answer.one_or_none()
    return None if row is None else Job.of(row)


_HOLD_RUN: Final = Hot(
    sa.select(job.c.id)
    .where(
        job.c.id == sa.bindparam("held"),
        job.c.attempt == sa.bindparam("held_attempt"),
        job.c.moves == sa.bindparam("held_moves"),
    )
    .with_for_update()
)


def hold_run(held: Job) -> Question:
    """Lock the job for its run, where it was left. No row: this run has lost its lease, or the job has moved."""
    return _HOLD_RUN, {"held": held.id, "held_attempt": held.attempt, "held_moves": held.moves}


async def release(
    tx: Transaction,
    held: Job,
    *,
    available_at: datetime,
    woke: bool = False,
    sent_at: datetime | None = None,
    looks: int = 0,
) -> bool:
    """End a run that changed no state: when the next may claim. False: this run had lost its lease.

    `sent_at`, `looks`: what a courier may hold, and how often it was looked for in vain.
    """
    values: dict[str, Any] = {
        "lease_until": None,
        "crashes": 0,
        "available_at": available_at,
        "due_at": held.due_by(available_at),
        "wakes": job.c.wakes + (1 if woke else 0),
        "sent_at": sent_at,
        "looks": looks,
    }
    statement = (
        sa.update(job)
        .where(job.c.id == held.id, job.c.attempt == held.attempt, job.c.state == held.state.value)
        .values(**values)
    )
    return (await tx.execute(statement)).rowcount == 1


def _write_move(
    tx: Transaction,
    job_id: UUID,
    organization_id: UUID,
    *,
    seq: int,
    at: datetime,
    from_state: JobState | None,
    to: JobState,
    by: str,
    why: str | None,
    attempt: int,
) -> None:
    values = {
        "job_id": job_id,
        "organization_id": organization_id,
        "seq": seq,
        "at": at,
        "from_state": None if from_state is None else from_state.value,
        "to_state": to.value,
        "by": by,
        "why": why,
        "attempt": attempt,
    }
    tx.later(_INSERT_MOVE, values)


async def move(
    tx: Transaction,
    held: Job,
    to: JobState,
    *,
    by: str,
    why: str | None,
    now: datetime,
    fence: bool = False,
    locked: bool = False,
    values: Mapping[str, Any] | None = None,
    raised: str | None = None,
) -> bool:
    """The one function that moves. False: the job is no longer where `held` saw it, or (fence) the run is not the last.

    `locked`: `held` was read under its lock in this transaction, so that nothing can have moved it, and nobody need
    wait to hear so. `values` are written with it, and the column `raised` is counted up.

    Raises IllegalMove for a move that the table does not have.
    """
    if to not in MOVES[held.state]:
        raise IllegalMove(job_id=held.id, state=held.state, to=to)
    changes: dict[str, Any] = {"state": to.value, "lease_until": None, **(values or {})}
    if to in ENDINGS:
        changes |= {"ended_at": now, "due_at": None, "reason": why, "plan": None}
    bound = {f"new_{name}": value for name, value in changes.items()}
    bound |= {"held": held.id, "held_state": held.state.value}
    if fence:
        bound["held_attempt"] = held.attempt
    moving = _moving(tuple(changes), raised, fence=fence)
    if locked:
        tx.later(moving, bound)
        seq = held.moves + 1
    else:
        moved = (await tx.ask(moving, bound)).one_or_none()
        if moved is None:
            return False
        seq = moved.moves
    _write_move(
        tx,
        held.id,
        held.organization_id,
        seq=seq,
        at=now,
        from_state=held.state,
        to=to,
        by=by,
        why=why,
        attempt=held.attempt,
    )
    return True


async def store_plan(
    tx: Transaction, held: Job, *, ref: str, sealed: bytes, now: datetime, by_courier: bool = False
) -> None:
    """Planned, and waiting for the device. The wake that follows is presumed to work: if it does not, or the run dies
    before it, the sweep wakes again after the first pause. The job is locked (`hold_run`).

    `by_courier`: from here on the order may be with the courier, even if we die before we hear of it.
    """
    again = now + (COURIER_PAUSE if by_courier else wake_pause(0))
    await move(
        tx,
        held,
        JobState.WAITING,
        by="worker",
        why=None,
        now=now,
        locked=True,
        values={
            "command_ref": ref,
            "plan": sealed,
            "crashes": 0,
            "wakes": 1,
            "available_at": again,
            "due_at": held.due_by(again),
            "sent_at": now if by_courier else None,
        },
    )


async def begin(tx: Transaction, held: Job, now: datetime) -> bool:
    """Of a task: its run has begun, and goes on under the same lease. False: this run had lost it."""
    kept = {"lease_until": held.lease_until, "crashes": 0}
    return await move(tx, held, JobState.WAITING, by="worker", why=None, now=now, fence=True, values=kept)


async def renew(tx: Transaction, held: Job, now: datetime) -> bool:
    """Of a task that takes longer than a lease, and has just got further. False: this run had lost it."""
    until = now + LEASE
    statement = sa.update(job).where(
        job.c.id == held.id, job.c.attempt == held.attempt, job.c.state == held.state.value
    )
    return (await tx.execute(statement.values(lease_until=until, due_at=held.due_by(until), crashes=0))).rowcount == 1


def after_plan(held: Job, ref: str, *, sent_at: datetime | None = None) -> Job:
    """What `store_plan` made of the row: waiting, and no lease, since the wake that follows is presumed to work."""
    return replace(
        held,
        state=JobState.WAITING,
        moves=held.moves + 1,
        command_ref=ref,
        wakes=1,
        lease_until=None,
        sent_at=sent_at,
    )


async def send_anew(tx: Transaction, held: Job, now: datetime) -> bool:
    """Written before a courier is handed the order once more, for the same reason. False: the lease was lost."""
    statement = (
        sa.update(job)
        .where(job.c.id == held.id, job.c.attempt == held.attempt, job.c.state == held.state.value)
        .values(sent_at=now, looks=0)
    )
    return (await tx.execute(statement)).rowcount == 1


async def keep_receipt(tx: Transaction, held: Job, receipt: str) -> None:
    """Of an order that ended while a courier took it: by this name it is known when it is answered, or taken back."""
    ended = job.c.state.in_([ending.value for ending in ENDINGS])
    statement = sa.update(job).where(job.c.id == held.id, job.c.receipt.is_(None), ended)
    await tx.execute(statement.values(receipt=receipt))


async def deliver(
    tx: Transaction, held: Job, *, by: str, now: datetime, receipt: str | None = None, locked: bool = False
) -> bool:
    """Hand the order over. An order that was handed over before and never answered is offered again.

    `locked`: as in `move`. `receipt`: how the other side named what it took from us, where it took the order itself
    and not just a wake.
    """
    again = now + wake_pause(min(held.offers, len(_WAKE_PAUSES) - 1))
    values: dict[str, Any] = {"available_at": again}
    if held.kind in DEPARTURES:
        held = replace(held, expires_at=now + CONFIRMATION)
        values["expires_at"] = held.expires_at
    values["due_at"] = held.due_by(again)
    if receipt is not None:
        values["receipt"] = receipt
    if held.state is JobState.DELIVERED:
        if held.offers >= OFFERS_TOLD:
            statement = sa.update(job).where(job.c.id == held.id, job.c.state == held.state.value)
            return (await tx.execute(statement.values(offers=job.c.offers + 1, **values))).rowcount == 1
        if not await move(tx, held, JobState.WAITING, by=by, why=Reason.OFFERED_AGAIN, now=now, locked=locked):
            return False
        held = replace(held, state=JobState.WAITING, moves=held.moves + 1)
    return await move(
        tx, held, JobState.DELIVERED, by=by, why=None, now=now, locked=locked, values=values, raised="offers"
    )


async def put_off(tx: Transaction, held: Job, *, by: str, why: str, now: datetime) -> bool:
    """The device said "not now": back to waiting, woken again after a growing pause."""
    again = now + wake_pause(held.wakes)
    values: dict[str, Any] = {"available_at": again}
    if held.kind in DEPARTURES:
        held = replace(held, expires_at=None)  # it does not have the order after all
        values["expires_at"] = None
    values["due_at"] = held.due_by(again)
    if held.state is JobState.WAITING:
        statement = sa.update(job).where(job.c.id == held.id, job.c.state == held.state.value)
        return (await tx.execute(statement.values(wakes=job.c.wakes + 1, **values))).rowcount == 1
    return await move(tx, held, JobState.WAITING, by=by, why=why, now=now, values=values, raised="wakes")


_SEVERITY: Final[Mapping[JobState, Severity]] = {
    JobState.SUCCEEDED: Severity.SUCCESS,
    JobState.CANCELLED: Severity.INFO,
    JobState.EXPIRED: Severity.WARNING,
    JobState.UNCONFIRMED: Severity.WARNING,
    JobState.FAILED: Severity.ERROR,
    JobState.UNSUPPORTED: Severity.ERROR,
}


async def settle(
    tx: Transaction,
    held: Job,
    outcome: Outcome,
    *,
    actor: Actor,
    words: Words,
    keys: Keyring,
    unread_passcode: timedelta,
    now: datetime,
    fence: bool = False,
    by: str | None = None,
    superseded_by: UUID | None = None,
) -> bool:
    """Give a job its ending: state, sealed passcode, notification and event, together. False: it had moved on.

    `by`: the timeline's word for who did it, where the actor's kind does not say it.
    """
    if outcome.state is None:
        raise ValueError("an outcome that is not final settles nothing")
    values: dict[str, Any] = {"detail": dict(outcome.detail) or None, "superseded_by": superseded_by}
    succeeded = outcome.state is JobState.SUCCEEDED
    mailed = succeeded and held.kind is Act.RESET_PASSCODE
    box = tx.soon(*address.question(held.account_id)) if mailed else None
    if not await move(
        tx, held, outcome.state, by=by or actor.kind, why=outcome.reason, now=now, fence=fence, values=values
    ):
        return False
    code_unknown = outcome.reason == Reason.CODE_UNKNOWN
    if held.device_id is not None and (outcome.passcode is not None or code_unknown):
        passcode.tell_replaced(tx, held.organization_id, held.device_id, held.account_id)
    if held.device_id is not None and code_unknown:
        # The new one reached nobody, and the older opens nothing any more.
        await passcode.destroy_of_device(tx, held.organization_id, held.device_id, "replaced", now)
    await notification.tell(
        tx,
        organization_id=held.organization_id,
        account_id=held.account_id,
        subject_id=held.id,
        key=_told(held, outcome, words),
        params={"device": words.device_name, "reason": outcome.reason},
        severity=_SEVERITY[outcome.state],
        job_id=held.id,
        device_id=held.device_id,
        now=now,
    )
    if outcome.passcode is not None and outcome.passcode_kind is not None and held.device_id is not None:
        await passcode.keep(
            tx,
            organization_id=held.organization_id,
            device_id=held.device_id,
            account_id=held.account_id,
            job_id=held.id,
            kind=outcome.passcode_kind,
            secret=outcome.passcode,
            keys=keys,
            readable_until=now + unread_passcode,
            now=now,
        )
    if box is not None:
        await delivery.mail_notice(
            tx,
            keys=keys,
            account=Person(held.account_id, held.organization_id),
            key="passcode.reset_done",
            params={"device": words.device_name},
            letterbox=address.read(box.answer, keys),
            now=now,
        )
    await event.record(
        tx,
        organization_id=held.organization_id,
        action=f"device:{held.kind}:{outcome.state}",
        actor=actor,
        now=now,
        outcome="success" if succeeded else "failure",
        reason=outcome.reason,
        account_id=held.account_id,
        subject=("job", held.id),
        facts={"device_id": str(held.device_id), "attempt": held.attempt},
    )
    return True


@dataclass(frozen=True, slots=True)
class Told:
    """What the person reads of how their task ended, in the line that told them of its beginning."""

    key: str
    params: Mapping[str, Any]


async def tell_ending(
    tx: Transaction, held: Job, outcome: Outcome, *, told: Told | None, actor: Actor, now: datetime
) -> None:
    """Of a task that has just ended: notification and event, in the same transaction. None: there is nothing to add to
    what was told of it."""
    if outcome.state is None:
        raise ValueError("an outcome that is not final is nothing to tell")
    if told is not None:
        await notification.tell(
            tx,
            organization_id=held.organization_id,
            account_id=held.account_id,
            subject_id=held.id,
            key=told.key,
            params=told.params,
            severity=_SEVERITY[outcome.state],
            job_id=held.id,
            now=now,
        )
    await event.record(
        tx,
        organization_id=held.organization_id,
        action=f"account:{held.kind}:{outcome.state}",
        actor=actor,
        now=now,
        outcome="success" if outcome.state is JobState.SUCCEEDED else "failure",
        reason=outcome.reason,
        account_id=held.account_id,
        subject=("job", held.id),
        facts={"attempt": held.attempt},
    )


def _told(held: Job, outcome: Outcome, words: Words) -> str:
    """What a reset means is each platform's own word; the other acts mean the same nearly everywhere."""
    if outcome.state is JobState.SUCCEEDED:
        if outcome.told is not None:
            return outcome.told
        if held.kind is Act.RESET_PASSCODE:
            return words.success_key
    return f"job.{held.kind}.{outcome.state}"


async def tell_pending(tx: Transaction, asked: Job, *, device_name: str, now: datetime) -> None:
    """The line that its ending will replace."""
    await notification.tell(
        tx,
        organization_id=asked.organization_id,
        account_id=asked.account_id,
        subject_id=asked.id,
        key=f"job.{asked.kind}.pending",
        params={"device": device_name, "reason": None},
        severity=Severity.INFO,
        job_id=asked.id,
        device_id=asked.device_id,
        now=now,
    )


def _is_done_by_going(held: Job) -> bool:
    """A farewell is what a removal asked for. From a courier, who saw the order out, it is what a wipe asked for, too;
    a device that tells us itself has not been wiped."""
    by_courier = held.receipt is not None or held.sent_at is not None
    if held.kind is Act.REMOVE:
        return by_courier or held.state is JobState.DELIVERED
    return held.kind is Act.WIPE and by_courier


async def end_for_device(
    tx: Transaction,
    open_jobs: Sequence[Job],
    *,
    actor: Actor,
    words: Words,
    keys: Keyring,
    now: datetime,
    reason: Reason = Reason.DEVICE_LEFT,
    said_farewell: bool = False,
    by: str | None = None,
) -> list[UUID]:
    """The device left, begins a new life, or is trusted no more: what was asked of it ends. The accounts to nudge.

    `said_farewell`: it told us so itself, and that is what a removal asked of it.
    """
    told = []
    for held in open_jobs:
        ending = JobState.FAILED if held.state is JobState.DELIVERED else JobState.CANCELLED
        outcome = Outcome(ending, reason)
        if said_farewell and _is_done_by_going(held):
            outcome = Outcome(JobState.SUCCEEDED)
        settled = await settle(
            tx, held, outcome, actor=actor, words=words, keys=keys, unread_passcode=timedelta(0), now=now, by=by
        )
        if settled:
            told.append(held.account_id)
    return told


async def supersede(
    tx: Transaction,
    open_jobs: Sequence[Job],
    by_job: UUID,
    *,
    actor: Actor,
    words: Words,
    keys: Keyring,
    now: datetime,
) -> list[UUID]:
    """A removal or a wipe takes the place of what waits; what the device has already is left to its answer.

    The accounts to nudge.
    """
    told = []
    outcome = Outcome(JobState.CANCELLED, Reason.SUPERSEDED)
    for held in (one for one in open_jobs if one.is_cancellable):
        settled = await settle(
            tx,
            held,
            outcome,
            actor=actor,
            words=words,
            keys=keys,
            unread_passcode=timedelta(0),
            now=now,
            by="person",
            superseded_by=by_job,
        )
        if settled:
            told.append(held.account_id)
    return told


def out_of_time(held: Job) -> Outcome:
    """How a job ends by itself: it was never reached, or it had the order and said nothing."""
    if held.kind is Task.SIGN_OUT:
        return Outcome(JobState.EXPIRED, Reason.APP_UNREACHABLE)
    if held.kind in ROSTER_FILES:
        return Outcome(JobState.EXPIRED, Reason.TOO_LATE)
    if held.kind in DEPARTURES:
        return Outcome(JobState.UNCONFIRMED, Reason.NO_ANSWER)
    return Outcome(JobState.EXPIRED, Reason.NO_ANSWER if held.state is JobState.DELIVERED else Reason.UNREACHABLE)


async def keep_sign_of_life(tx: Transaction, device_id: UUID, *, actor: Actor, now: datetime) -> None:
    """A device whose removal or wipe was given up is heard of: it did not obey, and the operator is told."""
    statement = (
        sa.select(job)
        .where(
            job.c.device_id == device_id,
            job.c.state == JobState.UNCONFIRMED.value,
            job.c.late_result.is_(None),
        )
        .order_by(job.c.id.desc())
        .limit(1)
    )
    row = (await tx.execute(statement)).one_or_none()
    if row is not None:
        await keep_late_result(tx, Job.of(row), Outcome(JobState.FAILED, Reason.HEARD_AGAIN), actor=actor, now=now)


async def keep_late_result(tx: Transaction, held: Job, outcome: Outcome, *, actor: Actor, now: datetime) -> None:
    """An answer after the ending: the ending stays, the answer is kept beside it for the operator. The first counts."""
    if held.state is outcome.state:
        return
    late = {"at": now.isoformat(), "state": outcome.state, "reason": outcome.reason, "detail": dict(outcome.detail)}
    statement = sa.update(job).where(job.c.id == held.id, job.c.late_result.is_(None)).values(late_result=late)
    if (await tx.execute(statement)).rowcount == 1:
        await event.record(
            tx,
            organization_id=held.organization_id,
            action=f"device:{held.kind}:late_result",
            actor=actor,
            now=now,
            account_id=held.account_id,
            subject=("job", held.id),
            facts={"state": outcome.state, "ended_as": held.state},
        )


async def by_id(
    tx: Transaction, job_id: UUID, *, hold: bool = False, organization_id: UUID | None = None
) -> Job | None:
    """`organization_id`: of this one alone; another's is neither shown nor held."""
    statement = sa.select(job).where(job.c.id == job_id)
    if organization_id is not None:
        statement = statement.where(job.c.organization_id == organization_id)
    row = (await tx.execute(statement.with_for_update() if hold else statement)).one_or_none()
    return None if row is None else Job.of(row)


async def open_of_device(tx: Transaction, device_id: UUID, *, hold: bool = False, waiting: bool = True) -> list[Job]:
    """Not `waiting`: without those that somebody else holds."""
    holding = _HOLD_OPEN_OF_DEVICE if waiting else _HOLD_FREE_OF_DEVICE
    answer = await tx.ask(holding if hold else _OPEN_OF_DEVICE, {"device": device_id})
    return in_order(answer.rows)


def in_order(rows: Iterable[Any]) -> list[Job]:
    """Handed-over ones first (one in flight), then by age."""
    return sorted((Job.of(row) for row in rows), key=lambda held: held.state is not JobState.DELIVERED)


async def open_task(tx: Transaction, organization_id: UUID, account_id: UUID, task: Task) -> UUID | None:
    """One of this kind that has not ended, of this account."""
    statement = sa.select(job.c.id).where(
        job.c.organization_id == organization_id,
        job.c.account_id == account_id,
        job.c.kind == task.value,
        job.c.state.in_(OPEN_LITERALS),
    )
    found: UUID | None = (await tx.execute(statement.limit(1))).scalar_one_or_none()
    return found


async def by_key(tx: Transaction, account_id: UUID, key: str) -> Job | None:
    statement = sa.select(job).where(job.c.account_id == account_id, job.c.idempotency_key == key)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Job.of(row)


async def open_task_in(tx: Transaction, organization_id: UUID, task: Task) -> Job | None:
    """One of this kind that is still to be done in an organization."""
    statement = sa.select(job).where(
        job.c.organization_id == organization_id,
        job.c.kind == task.value,
        job.c.device_id.is_(None),
        job.c.state.in_(OPEN_LITERALS),
    )
    row = (await tx.execute(statement.limit(1))).one_or_none()
    return None if row is None else Job.of(row)


async def by_ref(tx: Transaction, organization_id: UUID, device_id: UUID, ref: str) -> Job | None:
    statement = sa.select(job).where(
        job.c.organization_id == organization_id, job.c.device_id == device_id, job.c.command_ref == ref
    )
    row = (await tx.execute(statement.limit(1))).one_or_none()
    return None if row is None else Job.of(row)


async def by_receipt(tx: Transaction, organization_id: UUID, device_id: UUID, receipt: str) -> Job | None:
    statement = sa.select(job).where(
        job.c.organization_id == organization_id, job.c.device_id == device_id, job.c.receipt == receipt
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Job.of(row)


async def couriered(tx: Transaction, held: Job) -> list[Job]:
    """The newest other orders of this kind that a courier took for this device."""
    statement = (
        sa.select(job)
        .where(
            job.c.organization_id == held.organization_id,
            job.c.device_id == held.device_id,
            job.c.kind == held.kind.value,
            job.c.receipt.is_not(None),
            job.c.id != held.id,
        )
        .order_by(job.c.id.desc())
        .limit(ORDERS_REMEMBERED)
    )
    return [Job.of(row) for row in await tx.execute(statement)]


async def timeline(tx: Transaction, job_id: UUID) -> Sequence[sa.Row[Any]]:
    statement = sa.select(job_move).where(job_move.c.job_id == job_id).order_by(job_move.c.seq)
    return (await tx.execute(statement)).all()


async def page(
    tx: Transaction,
    *,
    organization_id: UUID | None,
    account_id: UUID | None,
    device_id: UUID | None,
    state: JobState | None,
    before: UUID | None,
    limit: int,
) -> list[Job]:
    """Newest first. Without an organization: the operator's view of all."""
    statement = sa.select(job).order_by(job.c.id.desc()).limit(limit)
    for column, value in (
        (job.c.organization_id, organization_id),
        (job.c.account_id, account_id),
        (job.c.device_id, device_id),
        (job.c.state, state),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if before is not None:
        statement = statement.where(job.c.id < before)
    return [Job.of(row) for row in await tx.execute(statement)]


async def due(tx: Transaction, now: datetime, limit: int) -> tuple[list[Job], list[Any]]:
    """Open jobs that the sweep must look at, held for it; and the rows that cannot be read."""
    statement = (
        sa.select(job).where(job.c.due_at <= now).order_by(job.c.due_at).limit(limit).with_for_update(skip_locked=True)
    )
    return read_each(await tx.execute(statement), Job.of)


async def rung(tx: Transaction, held: Sequence[Job], now: datetime) -> None:
    """Written before the bell is rung: a ring that is lost is rung again, later each time."""
    for one in held:
        later = (
            one.lease_until if one.lease_until is not None and one.lease_until > now else now + ring_pause(one.rings)
        )
        await tx.execute(
            sa.update(job).where(job.c.id == one.id).values(rings=job.c.rings + 1, due_at=one.due_by(later))
        )


async def ring_all_again(tx: Transaction, now: datetime) -> int:
    """The bells are gone (Redis was emptied): whatever waits for a run is due at once."""
    statement = (
        sa.update(job)
        .where(job.c.state == JobState.QUEUED.value, job.c.due_at > now, job.c.available_at <= now)
        .values(due_at=now, rings=0)
    )
    return (await tx.execute(statement)).rowcount


async def make_available(tx: Transaction, device_id: UUID, now: datetime) -> list[Job]:
    """The road to a device changed: what waits for it may be woken at once. Returns what to ring."""
    statement = (
        sa.update(job)
        .where(
            job.c.device_id == device_id,
            job.c.state.in_([JobState.WAITING.value, JobState.DELIVERED.value]),
            job.c.available_at > now,
        )
        .values(available_at=now, due_at=now + ring_pause(0), rings=0)
        .returning(job)
    )
    return [Job.of(row) for row in await tx.execute(statement)]


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Those that ended long ago, with all that hangs on them. The record of what was done stays."""
    cutoff = now - JOB_KEPT
    old = (
        sa.select(job.c.id).where(job.c.id < id_after(cutoff), job.c.ended_at <= cutoff).order_by(job.c.id).limit(limit)
    )
    return await erase(tx, list((await tx.execute(old)).scalars()))


async def erase(tx: Transaction, ids: Sequence[UUID]) -> int:
    """With all that hangs on them."""
    if not ids:
        return 0
    for table, column in (
        (job_move, job_move.c.job_id),
        (passcode.passcode, passcode.passcode.c.job_id),
        (notification.notification, notification.notification.c.subject_id),
    ):
        await tx.execute(sa.delete(table).where(column.in_(ids)))
    return (await tx.execute(sa.delete(job).where(job.c.id.in_(ids)))).rowcount
