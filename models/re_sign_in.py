"""The five-minute re-sign-in: the only place that knows its rules.

    open    the person tapped *Sign out* (t0); the old session is ended, a token is out
    proven  the same person did the last factor at t1, 0 <= t1 - t0 <= 300 s
    used    the act was confirmed within 300 s of t1; one job came of it
    lapsed  one of the two bounds passed; nothing was reset
    cancelled  something else decided (another person signed in, a security event, the device went)

Both bounds are inclusive. Nothing extends a window. A clock that ran backwards lapses it.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account, device, event, notification
from models.base import Id, Moment, metadata, partial_index
from models.database import Transaction
from models.event import Actor
from models.hot import Hot
from models.notification import Severity
from models.organization import membership
from models.settings import RE_SIGN_IN_KEPT, RE_SIGN_IN_WINDOW
from models.vocabulary import Act, id_after, new_id

re_sign_in = sa.Table(
    "re_sign_in",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("device_id", Id, sa.ForeignKey("device.id"), nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=True, comment="what ended it, where that was not the person"),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("session_id", Id, nullable=True, comment="the new session, the only one that may confirm"),
    sa.Column("job_id", Id, nullable=True),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("proven_at", Moment, nullable=True),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("due_at", Moment, nullable=True, comment="when the sweep lapses it; empty once it has ended"),
    sa.Index("ix_re_sign_in_account", "organization_id", "account_id", "opened_at"),
    # One sign-in proves one window: whoever confirms finds that one, or none.
    sa.Index("uq_re_sign_in_session", "session_id", unique=True),
    partial_index("ix_re_sign_in_due", "due_at", where="due_at IS NOT NULL"),
)


class ReSignInState(StrEnum):
    OPEN = "open"
    PROVEN = "proven"
    USED = "used"
    LAPSED = "lapsed"
    CANCELLED = "cancelled"


def token_of(session_token: str, device_id: UUID, act: Act) -> str:
    """The secret of the window that a tap in this session opens.

    Made from the session's own token, of which we keep a hash alone: nobody else can make it, and the same tap sent
    twice has the same one. So a second answer can be given, although the first one's token was never written down.
    """
    mac = hmac.digest(session_token.encode(), b"latchkey/re-sign-in" + device_id.bytes + act.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


LIVE: Final = (ReSignInState.OPEN, ReSignInState.PROVEN)


def _within(later: datetime, earlier: datetime) -> bool:
    """The one comparison behind both bounds."""
    return timedelta(0) <= later - earlier <= RE_SIGN_IN_WINDOW


@dataclass(frozen=True, slots=True)
class ReSignIn:
    id: UUID
    organization_id: UUID
    account_id: UUID
    device_id: UUID
    act: Act
    state: ReSignInState
    why: str | None
    session_id: UUID | None
    job_id: UUID | None
    opened_at: datetime
    proven_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "ReSignIn":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            device_id=row.device_id,
            act=Act(row.act),
            state=ReSignInState(row.state),
            why=row.why,
            session_id=row.session_id,
            job_id=row.job_id,
            opened_at=row.opened_at,
            proven_at=row.proven_at,
        )

    @property
    def closes_at(self) -> datetime:
        return self.opened_at + RE_SIGN_IN_WINDOW

    @property
    def usable_until(self) -> datetime | None:
        return None if self.proven_at is None else self.proven_at + RE_SIGN_IN_WINDOW

    def after_sign_in(self, account_id: UUID, organization_id: UUID, now: datetime) -> ReSignInState:
        """What a finished, full sign-in at `now` makes of an open window."""
        if self.state is not ReSignInState.OPEN:
            return self.state
        if (account_id, organization_id) != (self.account_id, self.organization_id):
            return ReSignInState.CANCELLED
        return ReSignInState.PROVEN if _within(now, self.opened_at) else ReSignInState.LAPSED

    def after_confirm(self, now: datetime) -> ReSignInState:
        """What a confirmation at `now` makes of a proven window."""
        if self.state is not ReSignInState.PROVEN or self.proven_at is None:
            return self.state
        return ReSignInState.USED if _within(now, self.proven_at) else ReSignInState.LAPSED

    def seen_at(self, now: datetime) -> ReSignInState:
        """The state a reader is told: a bound that passed counts before the sweep has written it down."""
        if self.state is ReSignInState.OPEN and not _within(now, self.opened_at):
            return ReSignInState.LAPSED
        if self.state is ReSignInState.PROVEN and self.after_confirm(now) is ReSignInState.LAPSED:
            return ReSignInState.LAPSED
        return self.state


# The smallest step the clock has: a window is swept only when its last inclusive moment is over.
_TICK: Final = timedelta(microseconds=1)


async def open_window(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    device_id: UUID,
    act: Act,
    token_hash: bytes,
    now: datetime,
) -> ReSignIn:
    window_id = new_id(now)
    await tx.execute(
        sa.insert(re_sign_in).values(
            id=window_id,
            organization_id=organization_id,
            account_id=account_id,
            device_id=device_id,
            act=act.value,
            state=ReSignInState.OPEN.value,
            token_hash=token_hash,
            opened_at=now,
            due_at=now + RE_SIGN_IN_WINDOW + _TICK,
        )
    )
    return ReSignIn(
        id=window_id,
        organization_id=organization_id,
        account_id=account_id,
        device_id=device_id,
        act=act,
        state=ReSignInState.OPEN,
        why=None,
        session_id=None,
        job_id=None,
        opened_at=now,
        proven_at=None,
    )


async def by_token(tx: Transaction, token_hash: bytes, *, hold: bool = False) -> ReSignIn | None:
    """The window whose secret this is."""
    statement = sa.select(re_sign_in).where(re_sign_in.c.token_hash == token_hash)
    row = (await tx.execute(statement.with_for_update() if hold else statement)).one_or_none()
    return None if row is None else ReSignIn.of(row)


async def by_id(tx: Transaction, window_id: UUID, *, hold: bool = False) -> ReSignIn | None:
    statement = sa.select(re_sign_in).where(re_sign_in.c.id == window_id)
    row = (await tx.execute(statement.with_for_update() if hold else statement)).one_or_none()
    return None if row is None else ReSignIn.of(row)


async def prove(tx: Transaction, window: ReSignIn, session_id: UUID, now: datetime) -> bool:
    """Tie the window to the new session. False: it was no longer open."""
    statement = (
        sa.update(re_sign_in)
        .where(re_sign_in.c.id == window.id, re_sign_in.c.state == ReSignInState.OPEN.value)
        .values(
            state=ReSignInState.PROVEN.value,
            session_id=session_id,
            proven_at=now,
            due_at=now + RE_SIGN_IN_WINDOW + _TICK,
        )
    )
    return (await tx.execute(statement)).rowcount == 1


_USE: Final = Hot(
    sa.update(re_sign_in)
    .where(re_sign_in.c.id == sa.bindparam("window"), re_sign_in.c.state == ReSignInState.PROVEN.value)
    .values(state=ReSignInState.USED.value, job_id=sa.bindparam("job"), ended_at=sa.bindparam("now"), due_at=None)
)


def use(tx: Transaction, window: ReSignIn, job_id: UUID | None, now: datetime) -> None:
    """Spend the window on one job, or on none: a second person is asked first. Its row is held, and proven: nobody can
    have spent or ended it meanwhile."""
    tx.later(_USE, {"window": window.id, "job": job_id, "now": now})


async def end_window(tx: Transaction, window: ReSignIn, state: ReSignInState, why: str | None, now: datetime) -> bool:
    """Lapse or cancel one live window. False: it had ended."""
    statement = (
        sa.update(re_sign_in)
        .where(re_sign_in.c.id == window.id, re_sign_in.c.state.in_([s.value for s in LIVE]))
        .values(state=state.value, why=why, ended_at=now, due_at=None)
    )
    return (await tx.execute(statement)).rowcount == 1


async def lapse(tx: Transaction, window: ReSignIn, *, actor: Actor, now: datetime) -> bool:
    """A bound has passed: write it down, and tell the person that nothing was reset. False: the window had ended.

    The account is held first, as by everybody who decides about a window: telling raises its count.
    """
    await account.lock(tx, window.account_id)
    if not await end_window(tx, window, ReSignInState.LAPSED, None, now):
        return False
    await record(tx, window, "lapse", actor=actor, now=now)
    name = sa.select(device.device.c.name).where(device.device.c.id == window.device_id)
    await notification.tell(
        tx,
        organization_id=window.organization_id,
        account_id=window.account_id,
        subject_id=window.id,
        key="re_sign_in.lapsed",
        params={"device": (await tx.execute(name)).scalar_one(), "act": window.act.value},
        severity=Severity.WARNING,
        device_id=window.device_id,
        now=now,
    )
    return True


async def cancel_live(
    tx: Transaction,
    account_id: UUID,
    organization_id: UUID | None,
    why: str,
    now: datetime,
    *,
    actor: Actor,
    device_id: UUID | None = None,
    session_id: UUID | None = None,
) -> list[UUID]:
    """Cancel what is live of an account, or only of one device or one session; the ids of what was cancelled.

    Without an organization: in all of the account's.
    """
    belongs = sa.select(membership.c.organization_id).where(membership.c.account_id == account_id)
    statement = (
        sa.update(re_sign_in)
        .where(
            re_sign_in.c.organization_id.in_(belongs)
            if organization_id is None
            else re_sign_in.c.organization_id == organization_id,
            re_sign_in.c.account_id == account_id,
            re_sign_in.c.state.in_([s.value for s in LIVE]),
        )
        .values(state=ReSignInState.CANCELLED.value, why=why, ended_at=now, due_at=None)
        .returning(re_sign_in)
    )
    if device_id is not None:
        statement = statement.where(re_sign_in.c.device_id == device_id)
    if session_id is not None:
        statement = statement.where(re_sign_in.c.session_id == session_id)
    cancelled = [ReSignIn.of(row) for row in (await tx.execute(statement)).all()]
    for window in cancelled:
        await record(tx, window, "cancel", actor=actor, now=now, reason=why)
    return [window.id for window in cancelled]


async def record(
    tx: Transaction,
    window: ReSignIn,
    verb: str,
    *,
    actor: Actor,
    now: datetime,
    outcome: str = "success",
    reason: str | None = None,
) -> None:
    """The line for the record of one step of a window."""
    await event.record(
        tx,
        organization_id=window.organization_id,
        action=f"account:re_sign_in:{verb}",
        actor=actor,
        now=now,
        outcome=outcome,
        reason=reason,
        account_id=window.account_id,
        subject=("re_sign_in", window.id),
        facts={"act": window.act.value, "device_id": str(window.device_id)},
    )


async def due(tx: Transaction, now: datetime, limit: int) -> list[ReSignIn]:
    """Live windows whose bound has passed, for the sweep to `lapse`; not held, since accounts are held first."""
    statement = sa.select(re_sign_in).where(re_sign_in.c.due_at <= now).order_by(re_sign_in.c.due_at).limit(limit)
    return [ReSignIn.of(row) for row in await tx.execute(statement)]


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Those that ended long ago; one ends within minutes of its opening, and its id is of that moment."""
    cutoff = now - RE_SIGN_IN_KEPT
    old = (
        sa.select(re_sign_in.c.id)
        .where(re_sign_in.c.id < id_after(cutoff), re_sign_in.c.ended_at <= cutoff)
        .order_by(re_sign_in.c.id)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(re_sign_in).where(re_sign_in.c.id.in_(old)))).rowcount
