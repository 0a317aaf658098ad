"""Leaving an organization: what ends with it, and for how long it can be taken back.

In the transaction that leaves, the membership moves to a table of its own, under its id: whatever asks for a membership
finds none from then on. Sessions and windows there end in the same breath. What is left (devices, and what was asked of
them) is ended by a job, one thing at a time. For thirty days an administrator of that organization may take it back;
whoever joins anew gets another membership, and nothing of the old one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import app, approval, delivery, event, job, organization, re_sign_in, session, sign_out
from models.account import account
from models.base import Id, Json, Moment, metadata
from models.database import Transaction
from models.delivery import Person
from models.device import DeviceState, device
from models.event import Actor
from models.job import OPEN_LITERALS, Job
from models.notification import Severity
from models.organization import membership
from models.role import Role
from models.sealed import Keyring
from models.settings import MEMBERSHIP_KEPT
from models.vocabulary import DEPARTURES, Queue, Reason, Task, new_id

former_membership = sa.Table(
    "former_membership",
    metadata,
    sa.Column("id", Id, primary_key=True, comment="the membership's own"),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("roles", Json, nullable=False, comment="as they were, while it can be taken back"),
    sa.Column("may_recover", sa.Boolean, nullable=False),
    sa.Column("joined_at", Moment, nullable=False),
    sa.Column("left_at", Moment, nullable=False, index=True),
    sa.Column("by", sa.Text, nullable=False, comment="who ended it: the person, or an administrator there"),
    sa.Column("job_id", Id, nullable=False, unique=True, comment="what ends the rest"),
    sa.Index("ix_former_membership_account", "account_id", "organization_id", "left_at"),
    sa.Index("ix_former_membership_organization", "organization_id", "id"),
)

bygone = sa.Table(
    "bygone",
    metadata,
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), primary_key=True),
    comment="where somebody was a member long ago: by it what is theirs there is found when they ask or are erased",
)


@dataclass(frozen=True, slots=True)
class Former:
    """A membership that was ended."""

    id: UUID
    organization_id: UUID
    account_id: UUID
    roles: tuple[str, ...]
    may_recover: bool
    joined_at: datetime
    left_at: datetime
    by: str
    job_id: UUID

    @classmethod
    def of(cls, row: Any) -> "Former":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            roles=tuple(row.roles),
            may_recover=row.may_recover,
            joined_at=row.joined_at,
            left_at=row.left_at,
            by=row.by,
            job_id=row.job_id,
        )

    @property
    def until(self) -> datetime:
        """The last moment at which it can be taken back."""
        return self.left_at + MEMBERSHIP_KEPT

    def is_restorable(self, now: datetime) -> bool:
        return timedelta(0) <= now - self.left_at <= MEMBERSHIP_KEPT


async def owns_alone(tx: Transaction, organization_id: UUID, account_id: UUID) -> bool:
    """Whether nobody else who is not blocked could give roles there. Until commit no other such role goes."""
    await organization.hold_roles(tx, organization_id)
    if Role.GLOBAL_ADMINISTRATOR not in await organization.roles_of(tx, organization_id, account_id):
        return False
    return await organization.count_active(tx, organization_id, Role.GLOBAL_ADMINISTRATOR) < 2


async def leave(
    tx: Transaction,
    held: Any,
    organization_id: UUID,
    *,
    name: str,
    by: str,
    keys: Keyring,
    actor: Actor,
    now: datetime,
    notice: str,
    params: dict[str, str],
    idempotency_key: str | None = None,
    request_hash: bytes | None = None,
    reason: str | None = None,
) -> Job:
    """End the membership of an account whose home is elsewhere; `held`: its row, held. The job that ends the rest.

    The job and what is told of it are at the person's home: there they are when they are told.
    """
    gone = sa.delete(membership).where(
        membership.c.organization_id == organization_id, membership.c.account_id == held.id
    )
    row = (await tx.execute(gone.returning(membership))).one()
    made = await job.ask(
        tx,
        job_id=new_id(now),
        organization_id=held.organization_id,
        account_id=held.id,
        device_id=None,
        act=Task.LEAVE,
        queue=Queue.SYSTEM,
        by=by,
        idempotency_key=idempotency_key,
        request_hash=request_hash,
        now=now,
    )
    await tx.execute(
        sa.insert(former_membership).values(
            id=row.id,
            organization_id=organization_id,
            account_id=held.id,
            roles=list(row.roles),
            may_recover=row.may_recover,
            joined_at=row.created_at,
            left_at=now,
            by=by,
            job_id=made.id,
        )
    )
    await session.end_in(tx, organization_id, held.id, now)
    await re_sign_in.cancel_live(tx, held.id, organization_id, "left", now, actor=actor)
    await approval.end_of_account(tx, held.id, [organization_id], Reason.OWNER_LEFT, actor=actor, now=now)
    await _sign_out_of_apps(tx, organization_id, held.id, by=by, now=now)
    await event.record(
        tx,
        organization_id=organization_id,
        action="account:membership:leave" if by == "person" else "account:membership:remove",
        actor=actor,
        now=now,
        private=None if reason is None else {"reason": reason},
        account_id=held.id,
        subject=("membership", row.id),
        facts={"roles": sorted(row.roles)},
    )
    await delivery.notify(
        tx,
        keys=keys,
        account=Person(held.id, held.organization_id),
        key=notice,
        params={"organization": name, **params},
        now=now,
        severity=Severity.INFO,
        job_id=made.id,
    )
    return made


async def _sign_out_of_apps(
    tx: Transaction, organization_id: UUID, account_id: UUID, *, by: str, now: datetime
) -> None:
    """Apps that were launched from sign-ins there are told that these are over, by a job of that organization."""
    if not await app.outdate(tx, organization_id, account_id):
        return
    await sign_out.leave_to_a_job(tx, account_id, organization_id, by=by, now=now)


async def next_device(tx: Transaction, gone: Former, after: UUID | None) -> UUID | None:
    """The next of the person's devices there that is still trusted, or about to be.

    One that is being wiped or removed is left alone: it must be heard until it has obeyed.
    """
    on_its_way = sa.exists().where(
        job.job.c.device_id == device.c.id,
        job.job.c.state.in_(OPEN_LITERALS),
        job.job.c.kind.in_([one.value for one in DEPARTURES]),
    )
    statement = (
        sa.select(device.c.id)
        .where(
            device.c.organization_id == gone.organization_id,
            device.c.account_id == gone.account_id,
            device.c.state.in_([DeviceState.ACTIVE.value, DeviceState.PENDING.value]),
            sa.not_(on_its_way),
        )
        .order_by(device.c.id)
        .limit(1)
    )
    if after is not None:
        statement = statement.where(device.c.id > after)
    found: UUID | None = (await tx.execute(statement)).scalar_one_or_none()
    return found


async def of_job(tx: Transaction, job_id: UUID) -> Former | None:
    """None: it was taken back."""
    return await _one(tx, former_membership.c.job_id == job_id)


async def by_id(tx: Transaction, organization_id: UUID, membership_id: UUID) -> Former | None:
    return await _one(
        tx, former_membership.c.id == membership_id, former_membership.c.organization_id == organization_id
    )


async def newest(tx: Transaction, organization_id: UUID, account_id: UUID) -> Former | None:
    """The last that somebody had there."""
    return await _one(
        tx,
        former_membership.c.account_id == account_id,
        former_membership.c.organization_id == organization_id,
    )


async def page(tx: Transaction, organization_id: UUID, *, after: UUID | None, limit: int) -> list[Any]:
    """Each with its account's names, in the order of their ids."""
    statement = (
        sa.select(former_membership, account.c.sign_in_name, account.c.display_name)
        .join_from(former_membership, account, account.c.id == former_membership.c.account_id)
        .where(former_membership.c.organization_id == organization_id)
        .order_by(former_membership.c.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(former_membership.c.id > after)
    return list((await tx.execute(statement)).all())


async def _one(tx: Transaction, *which: sa.ColumnElement[bool]) -> Former | None:
    statement = sa.select(former_membership).where(*which).order_by(former_membership.c.left_at.desc()).limit(1)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Former.of(row)


async def every_place(tx: Transaction, account_id: UUID) -> list[UUID]:
    """The organizations in which anything of theirs can be kept, those among them that they left ever so long ago.

    One statement, since what is forgotten meanwhile only moves from one of these tables to the next.
    """
    home = sa.select(account.c.organization_id).where(account.c.id == account_id)
    others = [
        sa.select(table.c.organization_id).where(table.c.account_id == account_id)
        for table in (membership, former_membership, bygone)
    ]
    return sorted((await tx.execute(sa.union(home, *others))).scalars())


async def take_back(tx: Transaction, gone: Former) -> None:
    """The same membership, with the roles that it had. Nothing else that ended comes back."""
    await tx.execute(
        sa.insert(membership).values(
            organization_id=gone.organization_id,
            account_id=gone.account_id,
            id=gone.id,
            roles=list(gone.roles),
            may_recover=gone.may_recover,
            guest=True,
            created_at=gone.joined_at,
        )
    )
    await tx.execute(sa.delete(former_membership).where(former_membership.c.id == gone.id))


_FORGOTTEN: Final = 2 * MEMBERSHIP_KEPT


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """What cannot be taken back any more holds no rights; a month later the organization forgets who was here.

    The house knows the place on: devices and jobs can outlast the departure, and belong to who they were made for.
    """
    former = former_membership.c
    old = sa.select(former.id).where(former.left_at < now - MEMBERSHIP_KEPT, sa.cast(former.roles, sa.Text) != "[]")
    await tx.execute(
        sa.update(former_membership).where(former.id.in_(old.limit(limit).scalar_subquery())).values(roles=[])
    )
    older = sa.select(former.id).where(former.left_at < now - _FORGOTTEN).order_by(former.left_at).limit(limit)
    gone = sa.delete(former_membership).where(former.id.in_(older.scalar_subquery()))
    forgotten = (await tx.execute(gone.returning(former.account_id, former.organization_id))).all()
    if forgotten:
        places = sorted({(row.account_id, row.organization_id) for row in forgotten})
        values = [{"account_id": account_id, "organization_id": place} for account_id, place in places]
        await tx.execute(tx.insert(bygone).values(values).on_conflict_do_nothing())
    return len(forgotten)
