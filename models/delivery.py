"""What leaves the house for a person or an app: a mail, a short message, a sign-out told. Each is a row with attempts.

A delivery is claimed, sent and settled like a run of a job: the row is the outbox, messages only ring, a claim is a
lease, and what a run writes carries the attempt it was given. It is no job: nobody lists it, and its end is told to
nobody. Where it goes and what it carries (a code, a link's token) are sealed in the row, and erased when it is over.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import sqlalchemy as sa

from models import address, not_me, notification
from models.address import Letterbox
from models.base import Id, Json, Moment, metadata, partial_index, read_each
from models.database import Transaction
from models.hot import Hot
from models.notification import Severity
from models.sealed import Keyring
from models.settings import DELIVERY_KEPT
from models.vocabulary import Secret, id_after, new_id

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=True, comment="whom it is about"),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, comment="names its text"),
    sa.Column("params", Json, nullable=False, comment="for the text; never a secret"),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("link", sa.Text, nullable=True, comment="the page its link opens; the secret is that link's token"),
    sa.Column("content", sa.LargeBinary, nullable=True, comment="sealed: where to, and the secret; erased at the end"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("unsure", sa.Integer, nullable=False, server_default="0", comment="attempts that nobody saw the end of"),
    sa.Column("rings", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease_until", Moment, nullable=True),
    sa.Column("available_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Index("ix_delivery_account", "organization_id", "account_id", "id"),
    partial_index("ix_delivery_due", "due_at", where="due_at IS NOT NULL"),
)

delivery_attempt = sa.Table(
    "delivery_attempt",
    metadata,
    sa.Column("delivery_id", Id, sa.ForeignKey("delivery.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=True, comment="a word of ours; never the other side's text"),
)


class Channel(StrEnum):
    MAIL = "mail"
    SMS = "sms"


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    """The other side took it. What becomes of it there is not ours to know."""
    FAILED = "failed"
    EXPIRED = "expired"


class AttemptOutcome(StrEnum):
    BEGUN = "begun"
    """And nothing more was heard of that run: it may have been sent."""
    SENT = "sent"
    LATER = "later"
    """Surely not sent, and worth another try."""
    UNSURE = "unsure"
    REFUSED = "refused"


class Link(StrEnum):
    """The pages that a message may lead to, below the configured address and nowhere else. The token stands behind a
    `#`: no server, proxy or log ever sees that part."""

    NOT_ME = "/not-me"
    RESET_PASSWORD = "/reset-password"
    JOIN = "/join"


LIFE: Final = timedelta(hours=72)
"""How long we go on trying, where the sender does not say. What is older than this is no news."""
LEASE: Final = timedelta(seconds=90)
"""Above the longest attempt (`workers/deliver.py`): a lease that runs out means that the run is gone."""
UNSURE: Final = 3
"""So many attempts that may have been sent, and the next could be one copy too many."""
ATTEMPTS: Final = 30
_PAUSES: Final = tuple(timedelta(seconds=s) for s in (5, 20, 60, 180, 600, 1800, 3600, 7200, 14400))
_FIRST_RING: Final = timedelta(seconds=3)
_LONGEST_RING: Final = timedelta(seconds=60)
PURPOSE: Final = "delivery"


def pause(delivery_id: UUID, attempt: int) -> timedelta:
    """How long to wait after the n-th attempt: growing, then steady. What failed together is spread over a third of
    it, each delivery in its own way, so that a server which comes back is not run over."""
    jitter = int.from_bytes(delivery_id.bytes[-2:]) + 7919 * attempt
    return _PAUSES[min(attempt, len(_PAUSES)) - 1] * (1 + jitter % 1000 / 3000)


def _ring_pause(rings: int) -> timedelta:
    return min(_FIRST_RING * (1 << min(rings, 10)), _LONGEST_RING)


@dataclass(frozen=True, slots=True)
class Delivery:
    id: UUID
    organization_id: UUID
    account_id: UUID | None
    channel: Channel
    key: str
    params: Mapping[str, str]
    language: str
    link: Link | None
    content: bytes | None = field(repr=False)
    state: DeliveryState
    reason: str | None
    attempt: int
    unsure: int
    rings: int
    lease_until: datetime | None
    available_at: datetime
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Delivery":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            channel=Channel(row.channel),
            key=row.key,
            params=row.params,
            language=row.language,
            link=None if row.link is None else Link(row.link),
            content=row.content,
            state=DeliveryState(row.state),
            reason=row.reason,
            attempt=row.attempt,
            unsure=row.unsure,
            rings=row.rings,
            lease_until=row.lease_until,
            available_at=row.available_at,
            created_at=row.created_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
        )

    def is_expired(self, now: datetime) -> bool:
        return now >= self.expires_at

    def open(self, keys: Keyring) -> tuple[str, Secret | None]:
        """Where it goes, and what it carries."""
        if self.content is None:
            raise ValueError("the delivery is over")
        opened = keys.open(self.content, purpose=PURPOSE, owner=(self.organization_id, self.id))
        to, secret = json.loads(opened.value)
        return to, None if secret is None else Secret(secret.encode())


# What every delivery asks of the database: written and compiled once.
_INSERT: Final = Hot(sa.insert(delivery))
_CLAIM: Final = Hot(
    sa.update(delivery)
    .where(
        delivery.c.id == sa.bindparam("wanted"),
        delivery.c.state == DeliveryState.QUEUED.value,
        delivery.c.available_at <= sa.bindparam("now"),
        sa.or_(delivery.c.lease_until.is_(None), delivery.c.lease_until <= sa.bindparam("now")),
        # Past its end it is the sweep's: an expired code is not sent.
        delivery.c.expires_at > sa.bindparam("now"),
    )
    .values(
        attempt=delivery.c.attempt + 1,
        unsure=delivery.c.unsure + sa.case((delivery.c.lease_until.is_not(None), 1), else_=0),
        rings=0,
        lease_until=sa.bindparam("lease"),
        due_at=sa.bindparam("lease"),
    )
    .returning(delivery)
)
_INSERT_ATTEMPT: Final = Hot(sa.insert(delivery_attempt))


async def send(
    tx: Transaction,
    *,
    keys: Keyring,
    organization_id: UUID,
    account_id: UUID | None,
    channel: Channel,
    to: str,
    key: str,
    params: Mapping[str, str],
    language: str,
    now: datetime,
    secret: Secret | None = None,
    link: Link | None = None,
    expires_at: datetime | None = None,
    not_before: datetime | None = None,
    delivery_id: UUID | None = None,
) -> UUID:
    """Leave it to the workers. They are rung when the transaction is kept, and not at all when it is not; of what is to
    go out `not_before` a moment the sweep rings then.

    `to` and `secret` (a code, or the token of `link`) are sealed, and erased when it is over. `key` names the text:
    `mail.<key>.subject` and `.text`, `sms.<key>`. Past `expires_at` it is not sent any more. `delivery_id`: the id of
    what it carries, where that may end before it is sent (`withdraw`).
    """
    if link is not None and secret is None:
        raise ValueError("a link needs its token")
    delivery_id = delivery_id or new_id(now)
    content = Secret(json.dumps([to, None if secret is None else secret.text()]).encode())
    end = now + LIFE if expires_at is None else expires_at
    due_at = now + _ring_pause(0) if not_before is None else not_before
    values = {
        "id": delivery_id,
        "organization_id": organization_id,
        "account_id": account_id,
        "channel": channel.value,
        "key": key,
        "params": dict(params),
        "language": language,
        "link": None if link is None else link.value,
        "content": keys.seal(content, purpose=PURPOSE, owner=(organization_id, delivery_id)),
        "state": DeliveryState.QUEUED.value,
        "available_at": now if not_before is None else not_before,
        "due_at": min(due_at, end),
        "created_at": now,
        "expires_at": end,
    }
    tx.later(_INSERT, values)
    if not_before is None:
        tx.posted(delivery_id)
    return delivery_id


class Whom(Protocol):
    """An account's row, or anything that names one person in one organization."""

    @property
    def id(self) -> UUID: ...
    @property
    def organization_id(self) -> UUID: ...


@dataclass(frozen=True, slots=True)
class Person:
    """Where there is no row at hand."""

    id: UUID
    organization_id: UUID


async def notify(
    tx: Transaction,
    *,
    keys: Keyring,
    account: Whom,
    key: str,
    params: Mapping[str, str],
    now: datetime,
    severity: Severity,
    also: Sequence[str] = (),
    not_me: bool = True,
    method_id: UUID | None = None,
    gone_id: UUID | None = None,
    device_id: UUID | None = None,
    job_id: UUID | None = None,
) -> None:
    """What touches an account's safety is told under the flag and by mail; nobody can switch that off.

    `also`: addresses that were the person's until now, and must hear of it, too. `job_id`: the job that goes on from
    here, and whose ending takes the place of the line under the flag. `method_id`: what goes if it was somebody else.
    `gone_id`: the address that went, and comes back then.
    """
    await notification.tell(
        tx,
        organization_id=account.organization_id,
        account_id=account.id,
        subject_id=job_id or new_id(now),
        key=key,
        params=params,
        severity=severity,
        job_id=job_id,
        device_id=device_id,
        now=now,
    )
    await mail_notice(
        tx,
        keys=keys,
        account=account,
        key=key,
        params=params,
        now=now,
        also=also,
        not_me=not_me,
        method_id=method_id,
        gone_id=gone_id,
    )


async def mail_notice(
    tx: Transaction,
    *,
    keys: Keyring,
    account: Whom,
    key: str,
    params: Mapping[str, str],
    now: datetime,
    also: Sequence[str] = (),
    not_me: bool = True,
    method_id: UUID | None = None,
    gone_id: UUID | None = None,
    letterbox: Letterbox | None = None,
) -> None:
    """The mail alone, to every address: where the flag tells of it in a line of its own.

    `letterbox`: where it was asked for already.
    """
    letterbox = letterbox or await address.of_account(tx, account.id, keys)
    mails = dict.fromkeys([*letterbox.mails, *also])
    if not mails:
        return
    token = _not_me_token(tx, account, key, method_id, gone_id, now) if not_me else None
    for mail in mails:
        await send(
            tx,
            keys=keys,
            organization_id=account.organization_id,
            account_id=account.id,
            channel=Channel.MAIL,
            to=mail,
            key=key,
            params={**params, "at": now.isoformat(timespec="seconds")},
            language=letterbox.language,
            now=now,
            secret=token,
            link=None if token is None else Link.NOT_ME,
        )


def _not_me_token(
    tx: Transaction, account: Whom, key: str, method_id: UUID | None, gone_id: UUID | None, now: datetime
) -> Secret:
    return not_me.issue(
        tx,
        organization_id=account.organization_id,
        account_id=account.id,
        notice=key,
        method_id=method_id,
        gone_id=gone_id,
        now=now,
    )


async def claim(tx: Transaction, delivery_id: UUID, now: datetime) -> Delivery | None:
    """Take the lease, and write down that an attempt begins. None: somebody has it, it is not due, or it is over."""
    row = (await tx.ask(_CLAIM, {"wanted": delivery_id, "now": now, "lease": now + LEASE})).one_or_none()
    if row is None:
        return None
    held = Delivery.of(row)
    values = {
        "delivery_id": held.id,
        "attempt": held.attempt,
        "organization_id": held.organization_id,
        "at": now,
        "outcome": AttemptOutcome.BEGUN.value,
    }
    tx.later(_INSERT_ATTEMPT, values)
    return held


async def settle(
    tx: Transaction,
    held: Delivery,
    outcome: AttemptOutcome,
    *,
    now: datetime,
    error: str | None = None,
    wait: timedelta | None = None,
) -> DeliveryState | None:
    """What became of an attempt, and with it of the delivery. None: this run had lost its lease, and changes nothing.

    `wait`: how long the other side asked to be left alone.
    """
    unsure = held.unsure + (outcome is AttemptOutcome.UNSURE)
    later = now + max(pause(held.id, held.attempt), wait or timedelta(0))
    ending = _ending(outcome, held, unsure=unsure, later=later)
    if ending is None:
        values: dict[str, Any] = {"lease_until": None, "unsure": unsure, "available_at": later, "due_at": later}
    else:
        reason = None if ending is DeliveryState.SENT else error
        values = {**_over(ending, reason, now), "unsure": unsure}
    statement = sa.update(delivery).where(
        delivery.c.id == held.id,
        delivery.c.attempt == held.attempt,
        delivery.c.state == DeliveryState.QUEUED.value,
    )
    if (await tx.execute(statement.values(**values))).rowcount != 1:
        return None
    await tx.execute(
        sa.update(delivery_attempt)
        .where(delivery_attempt.c.delivery_id == held.id, delivery_attempt.c.attempt == held.attempt)
        .values(outcome=outcome.value, error=error)
    )
    return ending or DeliveryState.QUEUED


def _ending(outcome: AttemptOutcome, held: Delivery, *, unsure: int, later: datetime) -> DeliveryState | None:
    """The rule of giving up. None: it is tried again."""
    if outcome is AttemptOutcome.SENT:
        return DeliveryState.SENT
    if outcome is AttemptOutcome.REFUSED or unsure >= UNSURE or held.attempt >= ATTEMPTS:
        return DeliveryState.FAILED
    return DeliveryState.EXPIRED if later >= held.expires_at else None


def _over(ending: DeliveryState, reason: str | None, now: datetime) -> dict[str, Any]:
    """What is sealed goes with the ending, in the same statement."""
    return {
        "state": ending.value,
        "reason": reason,
        "content": None,
        "lease_until": None,
        "due_at": None,
        "ended_at": now,
    }


async def due(tx: Transaction, now: datetime, limit: int) -> tuple[list[Delivery], list[Any]]:
    """Those that the sweep must look at, held for it; and the rows that cannot be read."""
    statement = (
        sa.select(delivery)
        .where(delivery.c.due_at <= now)
        .order_by(delivery.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return read_each(await tx.execute(statement), Delivery.of)


async def rung(tx: Transaction, held: Sequence[Delivery], now: datetime) -> None:
    """Written before the bell is rung: a ring that is lost is rung again, later each time."""
    for one in held:
        later = min(now + _ring_pause(one.rings), one.expires_at)
        await tx.execute(
            sa.update(delivery).where(delivery.c.id == one.id).values(rings=delivery.c.rings + 1, due_at=later)
        )


async def ring_all_again(tx: Transaction, now: datetime) -> int:
    """The bells are gone (Redis was emptied): whatever waits for a run is due at once."""
    statement = (
        sa.update(delivery)
        .where(delivery.c.due_at > now, delivery.c.available_at <= now, delivery.c.lease_until.is_(None))
        .values(due_at=now, rings=0)
    )
    return (await tx.execute(statement)).rowcount


async def expire(tx: Transaction, held: Delivery, now: datetime) -> None:
    """Its time is over, and nobody has it under way; the sweep holds its row."""
    await tx.execute(
        sa.update(delivery)
        .where(delivery.c.id == held.id, delivery.c.state == DeliveryState.QUEUED.value)
        .values(**_over(DeliveryState.EXPIRED, None, now))
    )


async def withdraw(tx: Transaction, ids: Sequence[UUID], now: datetime) -> None:
    """What these were to carry is over: those that still wait are not sent any more, and one that is under way is not
    tried again."""
    waiting = sa.update(delivery).where(delivery.c.id.in_(ids), delivery.c.state == DeliveryState.QUEUED.value)
    await tx.execute(waiting.values(**_over(DeliveryState.EXPIRED, None, now)))


@dataclass(frozen=True, slots=True)
class Attempt:
    at: datetime
    outcome: AttemptOutcome
    error: str | None


async def page(
    tx: Transaction, organization_id: UUID, account_id: UUID, *, before: UUID | None, limit: int
) -> list[Delivery]:
    """All that was sent about a person, newest first."""
    statement = (
        sa.select(delivery)
        .where(delivery.c.organization_id == organization_id, delivery.c.account_id == account_id)
        .order_by(delivery.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(delivery.c.id < before)
    return [Delivery.of(row) for row in await tx.execute(statement)]


async def attempts_of(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, list[Attempt]]:
    """The attempts of these deliveries, oldest first."""
    found: dict[UUID, list[Attempt]] = {one: [] for one in ids}
    statement = (
        sa.select(delivery_attempt)
        .where(delivery_attempt.c.delivery_id.in_(ids))
        .order_by(delivery_attempt.c.delivery_id, delivery_attempt.c.attempt)
    )
    for row in await tx.execute(statement):
        found[row.delivery_id].append(Attempt(row.at, AttemptOutcome(row.outcome), row.error))
    return found


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Those that were over long ago, with their attempts."""
    cutoff = now - DELIVERY_KEPT
    old = (
        sa.select(delivery.c.id)
        .where(delivery.c.id < id_after(cutoff), delivery.c.ended_at <= cutoff)
        .order_by(delivery.c.id)
        .limit(limit)
    )
    return await erase(tx, list((await tx.execute(old)).scalars()))


async def erase(tx: Transaction, ids: Sequence[UUID]) -> int:
    """With their attempts."""
    if not ids:
        return 0
    await tx.execute(sa.delete(delivery_attempt).where(delivery_attempt.c.delivery_id.in_(ids)))
    return (await tx.execute(sa.delete(delivery).where(delivery.c.id.in_(ids)))).rowcount
