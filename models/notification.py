"""The line for the person: a key and parameters, never rendered text and never a secret.

One per subject, updated in place.

`seq` is the account's own count, raised under its row lock in the telling transaction: what a stream missed is
`seq > last`, and nothing can slip in behind a number that was read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.account import account
from models.base import Id, Json, Moment, metadata, partial_index
from models.database import Inserting, Timed, Transaction
from models.hot import Hot, Question
from models.settings import NOTIFICATION_KEPT
from models.vocabulary import new_id

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

notification = sa.Table(
    "notification",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("subject_id", Id, nullable=False, unique=True, comment="the job, or the window, that it tells of"),
    sa.Column("job_id", Id, nullable=True),
    sa.Column("device_id", Id, nullable=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("params", Json, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("read_at", Moment, nullable=True),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Index("uq_notification_account_seq", "organization_id", "account_id", "seq", unique=True),
    partial_index("ix_notification_unread", "organization_id", "account_id", "expires_at", where="read_at IS NULL"),
)

UNREAD_SHOWN: Final = 99
"""A count above this is told as "99+": nobody needs it exact, and counting stays cheap."""


class Severity(StrEnum):
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Notification:
    id: UUID
    seq: int
    account_id: UUID
    job_id: UUID | None
    device_id: UUID | None
    key: str
    params: Mapping[str, Any]
    severity: Severity
    version: int
    created_at: datetime
    read_at: datetime | None
    expires_at: datetime

    @classmethod
    def of(cls, row: Any) -> "Notification":
        return cls(
            id=row.id,
            seq=row.seq,
            account_id=row.account_id,
            job_id=row.job_id,
            device_id=row.device_id,
            key=row.key,
            params=row.params,
            severity=Severity(row.severity),
            version=row.version,
            created_at=row.created_at,
            read_at=row.read_at,
            expires_at=row.expires_at,
        )


# Told with every ending. Nobody waits for either: the second reads for itself what the first has counted up.
_WHOSE: Final = account.c.id == sa.bindparam("whose", type_=Id)
_RAISE: Final = Hot(sa.update(account).where(_WHOSE).values(notification_seq=account.c.notification_seq + 1))
_RAISED: Final = sa.select(account.c.notification_seq).where(_WHOSE).scalar_subquery()
_TOLD_ANEW: Final = ("seq", "key", "params", "severity", "read_at", "expires_at")


def _telling(insert: "type[Insert]") -> sa.Executable:
    new = insert(notification).values(seq=_RAISED)
    anew = {name: new.excluded[name] for name in _TOLD_ANEW}
    return new.on_conflict_do_update(
        index_elements=[notification.c.subject_id], set_={**anew, "version": notification.c.version + 1}
    )


_TELL: Final = Inserting(_telling)


async def tell(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    subject_id: UUID,
    key: str,
    params: Mapping[str, Any],
    severity: Severity,
    now: datetime,
    job_id: UUID | None = None,
    device_id: UUID | None = None,
) -> None:
    """Tell the person, or tell it anew: what was told of the same subject is replaced and unread again."""
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "account_id": account_id,
        "subject_id": subject_id,
        "job_id": job_id,
        "device_id": device_id,
        "version": 1,
        "created_at": now,
        "whose": account_id,
        "key": key,
        "params": dict(params),
        "severity": severity.value,
        "read_at": None,
        "expires_at": now + NOTIFICATION_KEPT,
    }
    tx.later(_RAISE, {"whose": account_id})
    tx.later(_TELL.by(tx.insert), values)


def telling_otherwise(subject: sa.ScalarSelect[Any]) -> tuple[Hot, Hot]:
    """What was told of a subject no longer holds: its line, where there is one, says `new_key` from now on.

    It stays as read or unread as it was, since something newer is told beside it. Both are sent, in this order, with
    `whose` line it is, `new_key`, `new_severity`, and whatever names the subject.
    """
    line = sa.and_(notification.c.account_id == sa.bindparam("whose", type_=Id), notification.c.subject_id == subject)
    counted = sa.update(account).where(_WHOSE, sa.exists().where(line))
    said = sa.update(notification).where(line)
    return Hot(counted.values(notification_seq=account.c.notification_seq + 1)), Hot(
        said.values(
            seq=_RAISED,
            version=notification.c.version + 1,
            key=sa.bindparam("new_key"),
            severity=sa.bindparam("new_severity"),
        )
    )


async def page(
    tx: Transaction,
    organization_id: UUID,
    account_id: UUID,
    *,
    now: datetime,
    before: int | None,
    unread_only: bool,
    limit: int,
) -> list[Notification]:
    """Newest first."""
    statement = (
        sa.select(notification)
        .where(
            notification.c.organization_id == organization_id,
            notification.c.account_id == account_id,
            notification.c.expires_at > now,
        )
        .order_by(notification.c.seq.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(notification.c.seq < before)
    if unread_only:
        statement = statement.where(notification.c.read_at.is_(None))
    return [Notification.of(row) for row in await tx.execute(statement)]


# Asked at every nudge of every stream.
def _mine(now: sa.ColumnElement[datetime]) -> sa.ColumnElement[bool]:
    return sa.and_(
        notification.c.organization_id == sa.bindparam("organization"),
        notification.c.account_id == sa.bindparam("account"),
        notification.c.expires_at > now,
    )


_AFTER: Final = Timed(
    lambda now: (
        sa.select(notification)
        .where(_mine(now), notification.c.seq > sa.bindparam("seq"))
        .order_by(notification.c.seq)
        .limit(sa.bindparam("most"))
    )
)
_UNREAD: Final = Timed(
    lambda now: sa.select(sa.func.count().label("unread")).select_from(
        sa.select(sa.literal(1)).where(_mine(now), notification.c.read_at.is_(None)).limit(UNREAD_SHOWN + 1).subquery()
    )
)


def after_question(organization_id: UUID, account_id: UUID, seq: int, now: datetime | None, limit: int) -> Question:
    """What a stream has not shown yet, oldest first."""
    whose = {"organization": organization_id, "account": account_id}
    return _AFTER.question(now, {**whose, "seq": seq, "most": limit})


def unread_question(organization_id: UUID, account_id: UUID, now: datetime | None) -> Question:
    """`unread`: at most one more than is shown."""
    return _UNREAD.question(now, {"organization": organization_id, "account": account_id})


async def unread(tx: Transaction, organization_id: UUID, account_id: UUID, now: datetime) -> int:
    answer = await tx.ask(*unread_question(organization_id, account_id, now))
    return int(answer.one().unread)


async def mark(
    tx: Transaction, organization_id: UUID, account_id: UUID, notification_id: UUID, *, read_at: datetime | None
) -> Notification | None:
    """Read, or unread again. None: it is not theirs."""
    statement = (
        sa.update(notification)
        .where(
            notification.c.id == notification_id,
            notification.c.organization_id == organization_id,
            notification.c.account_id == account_id,
        )
        .values(read_at=read_at)
        .returning(notification)
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Notification.of(row)


async def mark_all_read(tx: Transaction, organization_id: UUID, account_id: UUID, up_to: int, now: datetime) -> int:
    """Everything up to the line that the person has seen; what came after stays unread."""
    statement = (
        sa.update(notification)
        .where(
            notification.c.organization_id == organization_id,
            notification.c.account_id == account_id,
            notification.c.read_at.is_(None),
            notification.c.seq <= up_to,
        )
        .values(read_at=now)
    )
    return (await tx.execute(statement)).rowcount


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = sa.select(notification.c.id).where(notification.c.expires_at <= now).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(notification).where(notification.c.id.in_(old)))).rowcount
