"""Every sign-in of an account ends: at once here, and by a job everywhere else. The one place where they do. Of one
sign-in that ends by itself, the same job tells the apps that were opened from it.

Here it is one row, whatever the number of sessions: the account's generation. What others must be told is the job's
affair. It finds out whom to tell when it runs, so that asking costs the same for one sign-in as for a hundred thousand.
A call is one app to be told, of one sign-in there or of all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account, app, delivery, event, job, re_sign_in
from models.base import Id, Moment, metadata
from models.database import Transaction
from models.delivery import Person, Whom
from models.event import Actor
from models.job import Job, Told
from models.notification import Severity
from models.sealed import Keyring
from models.session import Session
from models.vocabulary import JobState, Outcome, Queue, Reason, Task, new_id

sign_out_call = sa.Table(
    "sign_out_call",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("job_id", Id, sa.ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    sa.Column("app_id", Id, nullable=False),
    sa.Column("app_name", sa.Text, nullable=False, comment="as it was called then"),
    sa.Column("sid", Id, nullable=True, comment="none: all of the person's sign-ins there"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=True, comment="a word of ours; never the other side's text"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("available_at", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Index("ix_sign_out_call_job", "job_id", "state", "available_at"),
)

NOTICE: Final = "session.signed_out_everywhere"
NAMED: Final = 5
"""So many apps are named in the line under the flag; the job's own page has them all."""


class CallState(StrEnum):
    WAITING = "waiting"
    TOLD = "told"
    REFUSED = "refused"
    """The app answered, and would not."""
    UNREACHABLE = "unreachable"
    """It was tried to the end of the job."""


class Untold(StrEnum):
    """Why an app was not told. So few, and the same for all that may stand at an address, that nobody learns by them
    what does; the log has the rest, for operators."""

    ADDRESS_REFUSED = "address_refused"
    """Nobody is told there: it cannot be read, is not https, or leads to no network that is meant."""
    APP_REFUSED = "app_refused"
    APP_UNREACHABLE = "app_unreachable"
    APP_REMOVED = "app_removed"
    NO_ADDRESS = "no_address"


@dataclass(frozen=True, slots=True)
class Call:
    id: UUID
    app_id: UUID
    app_name: str
    sid: UUID | None
    state: CallState
    reason: Untold | None
    attempts: int
    available_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Call":
        return cls(
            id=row.id,
            app_id=row.app_id,
            app_name=row.app_name,
            sid=row.sid,
            state=CallState(row.state),
            reason=None if row.reason is None else Untold(row.reason),
            attempts=row.attempts,
            available_at=row.available_at,
            ended_at=row.ended_at,
        )


@dataclass(frozen=True, slots=True)
class Ended:
    generation: int
    job: Job


async def everywhere(
    tx: Transaction,
    whose: Person,
    *,
    keys: Keyring,
    actor: Actor,
    by: str,
    notice: str,
    params: Mapping[str, str],
    facts: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
    now: datetime,
    idempotency_key: str | None = None,
    request_hash: bytes | None = None,
) -> Ended:
    """What a person or an administrator asked for: there is a job in any case, to be followed, and a notice.

    Apps of the person's other organizations are told by a job of theirs each: no tenant's job reads another's apps.
    """
    generation = await _end(tx, whose, "signed_out_everywhere", actor=actor, now=now)
    made = await leave_to_a_job(
        tx, whose.id, whose.organization_id, by=by, now=now, idempotency_key=idempotency_key, request_hash=request_hash
    )
    for elsewhere in await app.organizations_of(tx, whose.id, but=whose.organization_id):
        await leave_to_a_job(tx, whose.id, elsewhere, by=by, now=now)
    await event.record(
        tx,
        organization_id=whose.organization_id,
        action="account:session:end_all",
        actor=actor,
        now=now,
        account_id=whose.id,
        subject=("job", made.id),
        facts=facts,
        private=private,
    )
    await delivery.notify(
        tx, keys=keys, account=whose, key=notice, params=params, now=now, severity=Severity.INFO, job_id=made.id
    )
    return Ended(generation, made)


async def end_all(tx: Transaction, whose: Whom, why: str, *, actor: Actor, now: datetime) -> int:
    """Every sign-in of the account ends with something else that was done to it. Its new generation.

    Apps are told as ever, by a job in each organization where the person used any. The account's row is held.
    """
    generation = await _end(tx, whose, why, actor=actor, now=now)
    for organization_id in await app.organizations_of(tx, whose.id):
        await leave_to_a_job(tx, whose.id, organization_id, by=_by(actor, whose.id), now=now)
    return generation


async def one(tx: Transaction, over: Session, *, actor: Actor, now: datetime) -> None:
    """One sign-in has ended, and no other: the apps that were opened from it are told, where there are any."""
    for organization_id in await app.outdate_one(tx, over, now):
        await leave_to_a_job(tx, over.account_id, organization_id, by=_by(actor, over.account_id), now=now)


def _by(actor: Actor, account_id: UUID) -> str:
    return "person" if actor.kind != "account" or actor.id in {None, account_id} else "administrator"


async def _end(tx: Transaction, whose: Whom, why: str, *, actor: Actor, now: datetime) -> int:
    """All that lives of earlier proofs: sessions and half sign-ins by their generation, and windows."""
    generation = await account.end_every_session(tx, whose.id)
    await re_sign_in.cancel_live(tx, whose.id, None, why, now, actor=actor)
    return generation


async def leave_to_a_job(
    tx: Transaction,
    account_id: UUID,
    organization_id: UUID,
    *,
    by: str,
    now: datetime,
    idempotency_key: str | None = None,
    request_hash: bytes | None = None,
) -> Job:
    """The one job that tells apps, those of one organization."""
    made = await job.ask(
        tx,
        job_id=new_id(now),
        organization_id=organization_id,
        account_id=account_id,
        device_id=None,
        act=Task.SIGN_OUT,
        queue=Queue.SYSTEM,
        by=by,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        now=now,
    )
    tx.tasked(made.id)
    return made


async def find_calls(tx: Transaction, held: Job, now: datetime) -> None:
    """Whom to tell: whatever was launched from a sign-in that is over by now. The account's row is held."""
    whose = await account.lock(tx, held.account_id)
    over = await app.take_over(
        tx,
        organization_id=held.organization_id,
        account_id=held.account_id,
        generation=whose.session_generation,
    )
    if over:
        rows = [
            {
                "id": new_id(now),
                "organization_id": held.organization_id,
                "job_id": held.id,
                "app_id": one.app_id,
                "app_name": one.name,
                "sid": one.sid,
                "state": CallState.WAITING.value,
                "available_at": now,
            }
            for one in over
        ]
        await tx.execute(sa.insert(sign_out_call), rows)


async def calls(tx: Transaction, job_id: UUID) -> list[Call]:
    statement = sa.select(sign_out_call).where(sign_out_call.c.job_id == job_id)
    return [Call.of(row) for row in await tx.execute(statement.order_by(sign_out_call.c.id))]


async def due(tx: Transaction, job_id: UUID, now: datetime, limit: int) -> list[Call]:
    """Those to be told now, the longest waiting first."""
    statement = (
        sa.select(sign_out_call)
        .where(
            sign_out_call.c.job_id == job_id,
            sign_out_call.c.state == CallState.WAITING.value,
            sign_out_call.c.available_at <= now,
        )
        .order_by(sign_out_call.c.available_at, sign_out_call.c.id)
        .limit(limit)
    )
    return [Call.of(row) for row in await tx.execute(statement)]


async def next_due(tx: Transaction, job_id: UUID) -> datetime | None:
    """When somebody is to be told next; None: nobody is left."""
    waiting = sa.and_(sign_out_call.c.job_id == job_id, sign_out_call.c.state == CallState.WAITING.value)
    statement = sa.select(sa.func.min(sign_out_call.c.available_at, type_=Moment)).where(waiting)
    found: datetime | None = (await tx.execute(statement)).scalar_one()
    return found


async def answered(
    tx: Transaction, call: Call, state: CallState, *, reason: Untold | None, again: datetime, now: datetime
) -> None:
    """What came of telling one. Still waiting: it is told again, not before `again`."""
    ended = state is not CallState.WAITING
    statement = sa.update(sign_out_call).where(
        sign_out_call.c.id == call.id, sign_out_call.c.state == CallState.WAITING.value
    )
    await tx.execute(
        statement.values(
            state=state.value,
            reason=None if reason is None else reason.value,
            attempts=sign_out_call.c.attempts + 1,
            available_at=again,
            ended_at=now if ended else None,
        )
    )


async def give_up(tx: Transaction, job_id: UUID, now: datetime) -> None:
    waiting = sa.and_(sign_out_call.c.job_id == job_id, sign_out_call.c.state == CallState.WAITING.value)
    await tx.execute(sa.update(sign_out_call).where(waiting).values(state=CallState.UNREACHABLE.value, ended_at=now))


def outcome(made: Sequence[Call]) -> Outcome:
    """Of a job whose calls have all ended by themselves."""
    if all(one.state is CallState.TOLD for one in made):
        return Outcome(JobState.SUCCEEDED)
    return Outcome(JobState.FAILED, Reason.APP_REFUSED)


def told(made: Sequence[Call], outcome: Outcome) -> Told | None:
    """The line under the flag, by apps: one that was to be told of several sign-ins is told when it knows of all."""
    missed = dict.fromkeys(one.app_name for one in made if one.state is not CallState.TOLD)
    apps = {one.app_id for one in made}
    short = {one.app_id for one in made if one.state is not CallState.TOLD}
    if not made and outcome.state is JobState.SUCCEEDED:
        # Nobody had to be told: what was said of the end here is all.
        return None
    if not made:
        return Told(f"job.{Task.SIGN_OUT}.never_begun", {})
    names = list(missed)
    more = f" (+{len(names) - NAMED})" if len(names) > NAMED else ""
    params = {"told": len(apps) - len(short), "apps": len(apps), "missed": ", ".join(names[:NAMED]) + more}
    return Told(f"job.{Task.SIGN_OUT}.{outcome.state}", params)
