"""What somebody recognizes a device by: how it came in, what it is, and what it did last.

Nothing of it is written down for this: it is in the bond, in the sessions that were opened on the device and in the
jobs that were asked of it. What is newest of each device is found by an index each, within the statement that reads
the devices; of sign-ins that is what sessions are kept for (`SESSION_KEPT`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from api.operations.act import Platforms, facts_of
from models.database import Transaction
from models.device import DeviceState, device
from models.enrollment import enrollment
from models.job import Job, job
from models.session import Session, SessionState, session
from models.vocabulary import Act, PlatformName
from platforms.base import EnrollmentState, Management


@dataclass(frozen=True, slots=True)
class Recognized:
    """Of one device."""

    registered_at: datetime | None
    """When the bond that it has was finished."""
    managed: bool
    """Whether it hears of what is asked of it."""
    management: Management | None
    """None: of its platform nobody here knows anything."""
    sign_in: Session | None
    """The newest that was opened on it, as its client said."""
    command: Job | None
    lock: Job | None
    """Of its jobs the newest, and the newest remote lock."""


def _newest_job(*which: sa.ColumnElement[bool]) -> sa.ScalarSelect[UUID]:
    return (
        sa.select(job.c.id)
        .where(job.c.organization_id == device.c.organization_id, job.c.device_id == device.c.id, *which)
        .order_by(job.c.id.desc())
        .limit(1)
        .correlate(device)
        .scalar_subquery()
    )


def _newest_sign_in(*which: sa.ColumnElement[bool]) -> sa.ScalarSelect[UUID]:
    """Half a sign-in is none."""
    return (
        sa.select(session.c.id)
        .where(
            session.c.device_id == device.c.id,
            session.c.account_id == device.c.account_id,
            session.c.state != SessionState.SECOND_FACTOR.value,
            *which,
        )
        .order_by(session.c.signed_in_at.desc())
        .limit(1)
        .correlate(device)
        .scalar_subquery()
    )


_JOBS = (
    enrollment.c.enrolled_at,
    _newest_job().label("newest_job_id"),
    _newest_job(job.c.kind == Act.REMOTE_LOCK.value).label("newest_lock_id"),
)
FOR_OWNER = (*_JOBS, _newest_sign_in().label("newest_sign_in_id"))
"""Beside `OFFER_COLUMNS`: what `of_rows` needs of each device."""
FOR_ADMINISTRATOR = (
    *_JOBS,
    _newest_sign_in(session.c.organization_id == device.c.organization_id).label("newest_sign_in_id"),
)
"""What somebody does at home, or elsewhere, no other organization sees."""


async def of_rows(tx: Transaction, platforms: Platforms, rows: Sequence[Any]) -> Mapping[UUID, Recognized]:
    """Two questions, however many devices there are."""
    job_ids = {one for row in rows for one in (row.newest_job_id, row.newest_lock_id) if one is not None}
    session_ids = {row.newest_sign_in_id for row in rows if row.newest_sign_in_id is not None}
    jobs, sessions = dict[UUID, Job](), dict[UUID, Session]()
    if job_ids:
        found = await tx.execute(sa.select(job).where(job.c.id.in_(job_ids)))
        jobs = {row.id: Job.of(row) for row in found}
    if session_ids:
        found = await tx.execute(sa.select(session).where(session.c.id.in_(session_ids)))
        sessions = {row.id: Session.of(row) for row in found}
    return {
        row.id: Recognized(
            registered_at=row.enrolled_at,
            managed=_is_managed(row),
            management=_management(platforms, row),
            sign_in=sessions.get(row.newest_sign_in_id),
            command=jobs.get(row.newest_job_id),
            lock=jobs.get(row.newest_lock_id),
        )
        for row in rows
    }


def _is_managed(row: Any) -> bool:
    return bool(row.state == DeviceState.ACTIVE.value and row.bond_state == EnrollmentState.ENROLLED.value)


def _management(platforms: Platforms, row: Any) -> Management | None:
    platform = platforms.get(PlatformName(row.platform))
    return None if platform is None else platform.management(facts_of(row))
