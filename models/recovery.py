"""The way back into an account without the password: one row a flow, one table of moves, one function that moves.

    started    somebody typed a name; nothing is proven
    gate1      at the first gate: a method was chosen
    gate2      the first is passed, another kind must pass the second
    proven     every gate is passed; the password may be chosen, or the shut road opened
    done       it was
    expired    the fifteen minutes from the first step on are over
    blocked    too many wrong codes
    cancelled  the person took it back, or something else decided (a sign-in, another password, a blocked account)

A flow for a name that nobody has, or whose owner may not recover, is a row like any other: it never gets past gate1.
The fifteen minutes are inclusive, and nothing extends them. A clock that ran backwards ends them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account, browser, contact, event, organization, recovery_code, throttle, verification
from models.base import Id, Json, Moment, metadata, partial_index
from models.contact import SETTLED
from models.database import Transaction
from models.errors import IllegalMove
from models.event import Actor
from models.organization import OrganizationSettings, RecoveryFor, RecoverySettings
from models.recovery_policy import ORDER, Decoy, Purpose, Standing
from models.session import SessionState, session
from models.settings import RECOVERY_KEPT, RECOVERY_WINDOW
from models.throttle import RECOVERY, RECOVERY_METHOD, RECOVERY_STARTS
from models.verification import STANDING, VerificationKind, VerificationState
from models.vocabulary import id_after, new_id

recovery = sa.Table(
    "recovery",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=True),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=True, comment="empty: nobody has that name"),
    sa.Column("who", sa.Text, nullable=False, comment="the counter of the typed name"),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("decoy", sa.Text, nullable=True, comment="why nothing will be right; empty: something can be"),
    sa.Column("why", sa.Text, nullable=True, comment="what ended it, where that was not the person"),
    sa.Column(
        "shown", sa.Text, nullable=True, comment="the state that is told where the true one would tell of the account"
    ),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("generation", sa.BigInteger, nullable=True, comment="of the account when it began"),
    sa.Column("passed", Json, nullable=False, comment="kind and method of each gate that was passed"),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("proven_at", Moment, nullable=True),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("due_at", Moment, nullable=True, comment="when the sweep expires it; empty once it has ended"),
    partial_index("ix_recovery_due", "due_at", where="due_at IS NOT NULL"),
    comment="organization_id is empty where nobody has the typed name",
)


class RecoveryState(StrEnum):
    STARTED = "started"
    GATE1 = "gate1"
    GATE2 = "gate2"
    PROVEN = "proven"
    DONE = "done"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


_ENDS: Final = frozenset({RecoveryState.EXPIRED, RecoveryState.BLOCKED, RecoveryState.CANCELLED})
MOVES: Final[Mapping[RecoveryState, frozenset[RecoveryState]]] = {
    RecoveryState.STARTED: frozenset({RecoveryState.GATE1}) | _ENDS,
    RecoveryState.GATE1: frozenset({RecoveryState.GATE2, RecoveryState.PROVEN}) | _ENDS,
    RecoveryState.GATE2: frozenset({RecoveryState.PROVEN}) | _ENDS,
    RecoveryState.PROVEN: frozenset({RecoveryState.DONE, RecoveryState.EXPIRED, RecoveryState.CANCELLED}),
    RecoveryState.DONE: frozenset(),
    RecoveryState.EXPIRED: frozenset(),
    RecoveryState.BLOCKED: frozenset(),
    RecoveryState.CANCELLED: frozenset(),
}
LIVE: Final = frozenset(state for state, after in MOVES.items() if after)
_VERBS: Final[Mapping[RecoveryState, str]] = {
    RecoveryState.GATE1: "choose",
    RecoveryState.GATE2: "pass",
    RecoveryState.PROVEN: "prove",
    RecoveryState.DONE: "finish",
    RecoveryState.EXPIRED: "expire",
    RecoveryState.BLOCKED: "block",
    RecoveryState.CANCELLED: "cancel",
}
# The smallest step the clock has: a flow is swept only when its last inclusive moment is over.
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Recovery:
    id: UUID
    organization_id: UUID | None
    account_id: UUID | None
    who: str
    purpose: Purpose
    state: RecoveryState
    decoy: Decoy | None
    why: str | None
    generation: int | None
    passed: tuple[tuple[str, str], ...]
    started_at: datetime
    shown: RecoveryState | None = None
    proven_at: datetime | None = None
    ended_at: datetime | None = None

    @classmethod
    def of(cls, row: Any) -> "Recovery":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            who=row.who,
            purpose=Purpose(row.purpose),
            state=RecoveryState(row.state),
            decoy=None if row.decoy is None else Decoy(row.decoy),
            why=row.why,
            generation=row.generation,
            passed=tuple((kind, method) for kind, method in row.passed),
            started_at=row.started_at,
            shown=None if row.shown is None else RecoveryState(row.shown),
            proven_at=row.proven_at,
            ended_at=row.ended_at,
        )

    @property
    def closes_at(self) -> datetime:
        return self.started_at + RECOVERY_WINDOW

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def passed_kinds(self) -> frozenset[str]:
        return frozenset(kind for kind, _ in self.passed)

    def in_time(self, now: datetime) -> bool:
        return timedelta(0) <= now - self.started_at <= RECOVERY_WINDOW

    def seen_at(self, now: datetime) -> RecoveryState:
        """The state a reader is told: the bound counts before the sweep has written it down.

        Whoever has proven nothing is not told what happened to the account: to them the flow goes on, to its end.
        """
        told = self.state if self.shown is None else self.shown
        return RecoveryState.EXPIRED if told in LIVE and not self.in_time(now) else told

    def after_gate(self, gates: int) -> RecoveryState:
        """What a right code makes of it, with that gate among those passed."""
        return RecoveryState.PROVEN if len(self.passed) >= gates else RecoveryState.GATE2


async def start(
    tx: Transaction,
    *,
    held: Any,
    who: str,
    purpose: Purpose,
    decoy: Decoy | None,
    token_hash: bytes,
    actor: Actor,
    now: datetime,
) -> Recovery:
    """`held`: the account's row, locked; None: nobody has that name."""
    begun = Recovery(
        id=new_id(now),
        organization_id=None if held is None else held.organization_id,
        account_id=None if held is None else held.id,
        who=who,
        purpose=purpose,
        state=RecoveryState.STARTED,
        decoy=decoy,
        why=None,
        generation=None if held is None else held.session_generation,
        passed=(),
        started_at=now,
    )
    values = {name: getattr(begun, name) for name in Recovery.__slots__}
    values |= {"purpose": purpose.value, "state": begun.state.value, "decoy": None if decoy is None else decoy.value}
    values |= {"passed": [], "token_hash": token_hash, "due_at": begun.closes_at + _TICK}
    await tx.execute(sa.insert(recovery).values(**values))
    # The true reason is here and nowhere else.
    await record(tx, begun, "start", actor=actor, now=now, reason=None if decoy is None else decoy.value)
    return begun


async def by_token(tx: Transaction, token_hash: bytes) -> Recovery | None:
    row = (await tx.execute(sa.select(recovery).where(recovery.c.token_hash == token_hash))).one_or_none()
    return None if row is None else Recovery.of(row)


async def hold(tx: Transaction, recovery_id: UUID) -> Recovery:
    """Its row, held; its account's is held before it."""
    row = (await tx.execute(sa.select(recovery).where(recovery.c.id == recovery_id).with_for_update())).one()
    return Recovery.of(row)


async def move(
    tx: Transaction, flow: Recovery, to: RecoveryState, *, actor: Actor, now: datetime, why: str | None = None
) -> Recovery:
    """The only thing that writes a state. The flow's row is held; what was passed with it is written along."""
    if flow.shown is not None:
        # It is over, and not known to be.
        await tx.execute(sa.update(recovery).where(recovery.c.id == flow.id).values(shown=to.value))
        return replace(flow, shown=to)
    if to not in MOVES[flow.state]:
        raise IllegalMove(from_state=flow.state.value, to_state=to.value)
    hidden = to is RecoveryState.CANCELLED and why is not None and not flow.passed
    over = to not in LIVE
    moved = replace(
        flow,
        state=to,
        why=why,
        proven_at=now if to is RecoveryState.PROVEN else flow.proven_at,
        ended_at=now if over else None,
        shown=flow.state if hidden else None,
    )
    values: dict[str, Any] = {
        "state": to.value,
        "why": why,
        "passed": [list(one) for one in flow.passed],
        "proven_at": moved.proven_at,
        "ended_at": moved.ended_at,
        "shown": None if moved.shown is None else moved.shown.value,
    }
    if over:
        values["due_at"] = None
    await tx.execute(
        sa.update(recovery).where(recovery.c.id == flow.id, recovery.c.state == flow.state.value).values(**values)
    )
    facts = {"kinds": sorted(flow.passed_kinds)} if flow.passed else {}
    await record(tx, moved, _VERBS[to], actor=actor, now=now, facts=facts, why=why)
    return moved


async def record(
    tx: Transaction,
    flow: Recovery,
    verb: str,
    *,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
    why: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """The line for the record of one step. A name that nobody has is in nobody's record."""
    if flow.organization_id is None:
        return
    await event.record(
        tx,
        organization_id=flow.organization_id,
        action=f"account:recovery:{verb}",
        actor=actor,
        now=now,
        outcome="success" if reason is None else "failure",
        reason=reason or why,
        account_id=flow.account_id,
        subject=("recovery", flow.id),
        facts={"purpose": flow.purpose.value, **(facts or {})},
    )


# What it depends on


async def standing(tx: Transaction, held: Any, now: datetime) -> Standing:
    """How the account's owner stands, by what holds now. `held`: their row."""
    home = sa.select(organization.organization.c.settings).where(organization.organization.c.id == held.organization_id)
    settings = OrganizationSettings.of((await tx.execute(home)).scalar_one())
    methods = await verification.of_account(tx, held.id)
    codes = [one.id for one in methods if one.kind is VerificationKind.RECOVERY_CODES]
    return Standing(
        settings=settings.recovery,
        methods=methods,
        used_up=[one for one in codes if await recovery_code.left(tx, one) == 0],
        contacts=await contact.of_account(tx, held.id),
        roles=await organization.roles_of(tx, held.organization_id, held.id),
        is_operator=held.is_operator,
        in_group=await organization.may_recover(tx, held.organization_id, held.id),
        now=now,
    )


@dataclass(frozen=True, slots=True)
class Registrations:
    """How an organization's people stand, by its settings as they are."""

    people: int
    """Who may recover, blocked ones not counted; everybody, while nobody may."""
    registered: int
    """Of those, who have as many kinds as they need."""
    shut_out_by_two: int
    """Who have one kind and could recover with one gate alone: so many are shut out where two are demanded."""


async def registrations(
    tx: Transaction, organization_id: UUID, settings: RecoverySettings, now: datetime
) -> Registrations:
    """Counted in one walk along the organization's accounts."""
    methods, codes = verification.verification, recovery_code.recovery_code
    code_left = sa.exists().where(codes.c.verification_id == methods.c.id, codes.c.used_at.is_(None))
    usable = sa.and_(
        methods.c.kind.in_(sorted(settings.kinds)),
        sa.or_(methods.c.kind != VerificationKind.RECOVERY_CODES.value, code_left),
    )
    kinds = sa.func.count(sa.distinct(sa.case((usable, methods.c.kind))))
    settled = sa.func.max(sa.case((sa.and_(usable, methods.c.created_at <= now - SETTLED), 1), else_=0))
    asked = sa.func.max(sa.case((methods.c.kind.in_([kind.value for kind in STANDING]), 1), else_=0))
    people, belongs = account.account, organization.membership
    privileged = sa.or_(people.c.is_operator, sa.cast(belongs.c.roles, sa.Text) != "[]")
    whose = (
        sa.select(
            sa.case((privileged, 1), else_=0).label("privileged"),
            kinds.label("kinds"),
            sa.func.coalesce(settled, 0).label("settled"),
            sa.func.coalesce(asked, 0).label("asked"),
        )
        .select_from(people)
        .join(
            belongs,
            sa.and_(belongs.c.organization_id == people.c.organization_id, belongs.c.account_id == people.c.id),
        )
        .outerjoin(
            methods,
            sa.and_(
                methods.c.account_id == people.c.id,
                methods.c.state == VerificationState.ACTIVE.value,
                sa.or_(methods.c.expires_at.is_(None), methods.c.expires_at > now),
            ),
        )
        .where(people.c.organization_id == organization_id, people.c.blocked_at.is_(None))
        .group_by(people.c.id, people.c.is_operator, sa.cast(belongs.c.roles, sa.Text))
    )
    if settings.whom is RecoveryFor.GROUP:
        whose = whose.where(belongs.c.may_recover)
    each = whose.subquery()
    two = sa.or_(each.c.privileged == 1, each.c.asked == 1)
    needed = sa.case((two, 2), else_=settings.gates)
    counted = sa.select(
        sa.func.count().label("people"),
        sa.func.count(sa.case((sa.and_(each.c.kinds >= needed, each.c.settled == 1), 1))).label("registered"),
        sa.func.count(sa.case((sa.and_(sa.not_(two), each.c.kinds == 1), 1))).label("shut_out"),
    ).select_from(each)
    row = (await tx.execute(counted)).one()
    return Registrations(row.people, row.registered, row.shut_out)


def lane(who: str, kind: VerificationKind) -> str:
    """Whose count of wrong codes it is: of one name and one kind, whether somebody has them or not."""
    return f"{who}:{kind.value}"


async def allow_again(tx: Transaction, held: Any, who: str) -> None:
    """Nothing that was tried counts against the way back in any more. `held`: the account's row."""
    await throttle.clear(tx, RECOVERY, who)
    lanes = [who, *(known.lane for known in await browser.of_account(tx, held.organization_id, held.id))]
    for budget in RECOVERY_STARTS:
        for lane_of in lanes:
            await throttle.clear(tx, budget, lane_of)
    for kind in ORDER:
        await throttle.clear(tx, RECOVERY_METHOD, lane(who, kind))


async def why_dead(tx: Transaction, flow: Recovery, held: Any, now: datetime) -> str | None:
    """What happened to the account since the flow began that leaves no room for it. None: nothing did.

    `held`: its row, held. Whatever ends its sessions (another password, sign out everywhere) has made its generation
    another one; a sign-in has not, and says that its owner needs no help.
    """
    if held.blocked_at is not None:
        return "blocked"
    if held.session_generation != flow.generation:
        return "signed_out"
    since = sa.select(session.c.id).where(
        session.c.organization_id == held.organization_id,
        session.c.account_id == held.id,
        session.c.generation == held.session_generation,
        session.c.state != SessionState.SECOND_FACTOR.value,
        session.c.signed_in_at > flow.started_at,
    )
    return None if (await tx.execute(since.limit(1))).one_or_none() is None else "signed_in"


async def due(tx: Transaction, now: datetime, limit: int) -> list[Recovery]:
    """Live flows whose time is over, for the sweep, held for it."""
    statement = (
        sa.select(recovery)
        .where(recovery.c.due_at <= now)
        .order_by(recovery.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [Recovery.of(row) for row in await tx.execute(statement)]


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Those that ended long ago; one ends within minutes of its start, and its id is of that moment."""
    cutoff = now - RECOVERY_KEPT
    old = (
        sa.select(recovery.c.id)
        .where(recovery.c.id < id_after(cutoff), recovery.c.ended_at <= cutoff)
        .order_by(recovery.c.id)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(recovery).where(recovery.c.id.in_(old)))).rowcount
