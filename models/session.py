"""Where somebody is signed in. A session lives while it is of its account's generation, unexpired and not ended."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models.account import account
from models.base import Id, Json, Moment, metadata, partial_index
from models.database import NOW_COLUMN, Timed, Transaction
from models.hot import Hot, Question
from models.organization import membership, organization
from models.person_key import PersonKey
from models.profile import Section
from models.settings import FRESH_PROOF, SESSION_IDLE, SESSION_KEPT, SESSION_TOUCH, SessionLife, session_life
from models.vocabulary import id_after, new_id

session = sa.Table(
    "session",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("strength", sa.SmallInteger, nullable=False),
    sa.Column("methods", Json, nullable=False, comment="the kinds of proof that opened it"),
    sa.Column("method_ids", Json, nullable=False, comment="the very methods, beside the password"),
    sa.Column("signed_in_at", Moment, nullable=False),
    sa.Column("proven_at", Moment, nullable=False, comment="when the last required factor was really done"),
    sa.Column("proven_strength", sa.SmallInteger, nullable=False, comment="what was shown then"),
    sa.Column("used_at", Moment, nullable=False),
    sa.Column("idle_at", Moment, nullable=False, comment="when it dies, unless it is used before"),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("re_sign_in_id", Id, nullable=True, comment="the window that this sign-in was asked for"),
    sa.Column("address", sa.Text, nullable=True),
    sa.Column("client", sa.Text, nullable=True),
    sa.Column("device_id", Id, nullable=True, comment="the device of the account on which it was opened"),
    sa.Index("ix_session_account", "organization_id", "account_id", "generation", "id"),
    partial_index("ix_session_device", "device_id", "signed_in_at", where="device_id IS NOT NULL"),
)


class SessionState(StrEnum):
    SECOND_FACTOR = "second_factor"
    """The password was right; nothing is open yet."""
    MUST_CHANGE_PASSWORD = "must_change_password"
    """Every factor was right; but for a new password nothing is open yet."""
    TERMS_REQUIRED = "terms_required"
    """The sign-in is done; but for answering terms of use nothing is open yet. It lives as long as any other."""
    SIGNED_IN = "signed_in"


def hash_token(token: str) -> bytes:
    """Tokens have 256 random bits, so a plain hash is enough to store."""
    return hashlib.sha256(token.encode()).digest()


PASSWORD_METHOD: Final = "password"
VERIFIED_PASSKEY: Final = "verified_passkey"
"""A passkey whose device has made sure who holds it, by a finger, a face or a code that stays there."""


def strength_of(methods: Collection[str]) -> int:
    """1: one factor; 2: two different ones; 3: what cannot be handed to a false page, and two factors in one.

    Two things that one has are one factor, like two that one knows.
    """
    if VERIFIED_PASSKEY in methods:
        return 3
    return min(2, (PASSWORD_METHOD in methods) + bool(set(methods) - {PASSWORD_METHOD}))


def new_token() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Session:
    id: UUID
    organization_id: UUID
    account_id: UUID
    state: SessionState
    generation: int
    strength: int
    methods: tuple[str, ...]
    signed_in_at: datetime
    proven_at: datetime
    proven_strength: int
    """Of what was shown then: a password alone, given again, shows no second factor."""
    used_at: datetime
    idle_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    re_sign_in_id: UUID | None
    address: str | None
    client: str | None
    method_ids: tuple[str, ...] = ()
    device_id: UUID | None = None

    @classmethod
    def of(cls, row: Any) -> "Session":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            state=SessionState(row.state),
            generation=row.generation,
            strength=row.strength,
            methods=tuple(row.methods),
            signed_in_at=row.signed_in_at,
            proven_at=row.proven_at,
            proven_strength=row.proven_strength,
            used_at=row.used_at,
            idle_at=row.idle_at,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
            re_sign_in_id=row.re_sign_in_id,
            address=row.address,
            client=row.client,
            method_ids=tuple(row.method_ids),
            device_id=row.device_id,
        )

    def lives(self, generation: int, now: datetime) -> bool:
        return self.ended_at is None and self.generation == generation and now < self.expires_at and now < self.idle_at

    def proven_by(
        self,
        method: str,
        life: SessionLife,
        now: datetime,
        method_id: UUID | None = None,
        end: datetime | None = None,
    ) -> "Session":
        """This session after a fresh proof. A method that it was not opened with may make it stronger."""
        methods = self.methods if method in self.methods else (*self.methods, method)
        known = self.method_ids if method_id is None or str(method_id) in self.method_ids else None
        return replace(
            self,
            methods=methods,
            method_ids=(*self.method_ids, str(method_id)) if known is None else known,
            strength=max(self.strength, strength_of(methods)),
            proven_at=now,
            # Whatever else it is, it was opened with a password, or with what stands for one.
            proven_strength=strength_of((PASSWORD_METHOD, method)),
            used_at=now,
            idle_at=now + life.idle,
            expires_at=self.expires_at if end is None else min(self.expires_at, end),
        )

    def is_fresh(self, now: datetime, limit: timedelta = FRESH_PROOF) -> bool:
        """Proof given lately enough; both bounds inclusive, a clock that ran backwards proves nothing."""
        return timedelta(0) <= now - self.proven_at <= limit


@dataclass(frozen=True, slots=True)
class Who:
    """The person behind a request: one session of one account in one organization."""

    session: Session
    sign_in_name: str
    display_name: str
    language: str
    organization_name: str
    home_id: UUID
    """The organization that owns the account; the session may be in another one."""
    roles: tuple[str, ...]
    is_operator: bool
    person_key: PersonKey | None = field(default=None, repr=False)
    hides_identity: bool = False
    """Whether the organization shows people nothing of who they are to it."""

    @property
    def account_id(self) -> UUID:
        return self.session.account_id

    @property
    def organization_id(self) -> UUID:
        return self.session.organization_id

    @property
    def is_at_home(self) -> bool:
        return self.organization_id == self.home_id

    @property
    def session_life(self) -> SessionLife:
        return session_life(self.roles, is_operator=self.is_operator)


# Every request asks it.
_HOLDER: Final = (
    sa.select(
        session,
        account.c.session_generation,
        account.c.sign_in_name,
        account.c.display_name,
        account.c.language,
        account.c.organization_id.label("home_id"),
        account.c.is_operator,
        account.c.blocked_at,
        account.c.person_key,
        organization.c.name.label("organization_name"),
        organization.c.settings,
        membership.c.roles,
    )
    .join_from(session, account, account.c.id == session.c.account_id)
    .join(organization, organization.c.id == session.c.organization_id)
    .join(
        membership,
        sa.and_(
            membership.c.organization_id == session.c.organization_id,
            membership.c.account_id == session.c.account_id,
        ),
    )
    .where(session.c.token_hash == sa.bindparam("token"))
)
_RESOLVE: Final = Hot(_HOLDER)
_RESOLVE_AND_NOW: Final = Hot(_HOLDER.add_columns(NOW_COLUMN))


async def resolve(tx: Transaction, token_hash: bytes) -> tuple[Who, datetime] | None:
    """Who holds this token, and the moment it was asked; None unless the session lives. Half a sign-in counts."""
    statement = _RESOLVE if tx.knows_time else _RESOLVE_AND_NOW
    row = (await tx.ask(statement, {"token": token_hash})).one_or_none()
    if row is None:
        return None
    now = await tx.now() if tx.knows_time else tx.heard_now(row.now)
    who = who_of(row, now)
    return None if who is None else (who, now)


def holder(token_hash: bytes) -> Question:
    """As `resolve`, for who knows the time and asks other things in the same breath: a row for `who_of`."""
    return _RESOLVE, {"token": token_hash}


def who_of(row: Any, now: datetime) -> Who | None:
    found = Session.of(row)
    if row.blocked_at is not None or not found.lives(row.session_generation, now):
        return None
    return Who(
        session=found,
        sign_in_name=row.sign_in_name,
        display_name=row.display_name,
        language=row.language,
        organization_name=row.organization_name,
        home_id=row.home_id,
        roles=tuple(row.roles),
        is_operator=row.is_operator,
        person_key=PersonKey.of(found.account_id, row),
        hides_identity=Section.IDENTITY.value in row.settings.get("hidden_sections", ()),
    )


_INSERT: Final = Hot(sa.insert(session))


async def open_session(
    tx: Transaction,
    *,
    organization_id: UUID,
    account_id: UUID,
    token_hash: bytes,
    generation: int,
    state: SessionState,
    strength: int,
    methods: tuple[str, ...],
    lifetime: timedelta,
    idle: timedelta = SESSION_IDLE,
    now: datetime,
    re_sign_in_id: UUID | None,
    address: str | None,
    client: str | None,
    method_ids: tuple[str, ...] = (),
    proven_at: datetime | None = None,
    device_id: UUID | None = None,
) -> Session:
    """`proven_at`: when the last required factor was really done, where that was not now."""
    values = {
        "id": new_id(now),
        "organization_id": organization_id,
        "account_id": account_id,
        "state": state.value,
        "token_hash": token_hash,
        "generation": generation,
        "strength": strength,
        "methods": list(methods),
        "method_ids": list(method_ids),
        "signed_in_at": now,
        "proven_at": proven_at or now,
        "proven_strength": strength,
        "used_at": now,
        "idle_at": now + idle,
        "expires_at": now + lifetime,
        "re_sign_in_id": re_sign_in_id,
        "address": address,
        "client": client,
        "device_id": device_id,
    }
    tx.later(_INSERT, values)
    return Session(
        **{k: v for k, v in values.items() if k not in {"token_hash", "state", "methods", "method_ids"}},  # type: ignore[arg-type] # one dict of mixed values
        state=state,
        methods=methods,
        method_ids=method_ids,
        ended_at=None,
    )


async def by_id(tx: Transaction, who: Who, session_id: UUID) -> Session | None:
    """One of the person's own sessions, dead or alive."""
    statement = sa.select(session).where(
        session.c.id == session_id,
        session.c.organization_id == who.organization_id,
        session.c.account_id == who.account_id,
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Session.of(row)


async def living(tx: Transaction, who: Who, now: datetime, after: UUID | None, limit: int) -> list[Session]:
    """The person's living sessions, oldest first; those that wait for terms are as much theirs, and somebody's."""
    statement = (
        sa.select(session)
        .where(
            session.c.organization_id == who.organization_id,
            session.c.account_id == who.account_id,
            session.c.state.in_([SessionState.SIGNED_IN.value, SessionState.TERMS_REQUIRED.value]),
            session.c.generation == who.session.generation,
            session.c.ended_at.is_(None),
            session.c.expires_at > now,
            session.c.idle_at > now,
        )
        .order_by(session.c.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(session.c.id > after)
    return [Session.of(row) for row in await tx.execute(statement)]


async def end(tx: Transaction, session_id: UUID, now: datetime) -> bool:
    """End one session; False when it had ended before."""
    statement = sa.update(session).where(session.c.id == session_id, session.c.ended_at.is_(None)).values(ended_at=now)
    return (await tx.execute(statement)).rowcount == 1


async def end_in(tx: Transaction, organization_id: UUID, account_id: UUID, now: datetime) -> None:
    """End every session of somebody's in one organization; those elsewhere go on."""
    await tx.execute(
        sa.update(session)
        .where(
            session.c.organization_id == organization_id,
            session.c.account_id == account_id,
            session.c.ended_at.is_(None),
        )
        .values(ended_at=now)
    )


async def on_device(tx: Transaction, account_id: UUID, device_id: UUID) -> list[Session]:
    """Those that were opened on it and have not ended, wherever they are by now."""
    statement = sa.select(session).where(
        session.c.account_id == account_id, session.c.device_id == device_id, session.c.ended_at.is_(None)
    )
    return [Session.of(row) for row in await tx.execute(statement)]


async def proven_with(tx: Transaction, account_id: UUID, method_id: UUID, generation: int) -> list[Session]:
    """The sessions that stand on this very method, wherever they are."""
    statement = sa.select(session).where(
        session.c.account_id == account_id,
        session.c.generation == generation,
        session.c.ended_at.is_(None),
    )
    found = [Session.of(row) for row in await tx.execute(statement)]
    return [one for one in found if str(method_id) in one.method_ids]


async def complete(
    tx: Transaction,
    half: Session,
    *,
    token_hash: bytes,
    strength: int,
    methods: tuple[str, ...],
    life: SessionLife,
    now: datetime,
    state: SessionState = SessionState.SIGNED_IN,
    method_ids: tuple[str, ...] = (),
) -> bool:
    """The last factor was done: the half sign-in becomes a session with a new token. False: it was no longer half."""
    statement = (
        sa.update(session)
        .where(
            session.c.id == half.id,
            session.c.state == SessionState.SECOND_FACTOR.value,
            session.c.ended_at.is_(None),
        )
        .values(
            state=state.value,
            token_hash=token_hash,
            strength=strength,
            methods=list(methods),
            method_ids=list(method_ids),
            signed_in_at=now,
            proven_at=now,
            proven_strength=strength,
            used_at=now,
            idle_at=now + life.idle,
            expires_at=now + life.absolute,
        )
    )
    return (await tx.execute(statement)).rowcount == 1


async def prove(tx: Transaction, proven: Session, *, token_hash: bytes) -> bool:
    """Fresh proof was given: a new moment, perhaps a further method, and a new token. False: it ended meanwhile."""
    statement = (
        sa.update(session)
        .where(session.c.id == proven.id, session.c.ended_at.is_(None))
        .values(
            token_hash=token_hash,
            strength=proven.strength,
            methods=list(proven.methods),
            method_ids=list(proven.method_ids),
            proven_at=proven.proven_at,
            proven_strength=proven.proven_strength,
            used_at=proven.used_at,
            idle_at=proven.idle_at,
            expires_at=proven.expires_at,
        )
    )
    return (await tx.execute(statement)).rowcount == 1


async def renew(
    tx: Transaction,
    held: Session,
    *,
    token_hash: bytes,
    generation: int,
    life: SessionLife,
    now: datetime,
    until: datetime | None = None,
    proven_at: datetime | None = None,
) -> Session:
    """The same sign-in under a new id, a new token and its account's new generation; the old row is over.

    Its end stays where it was, unless it waited for a new password: only now it is a whole session. `until`: when
    something temporary is over that it was opened with. `proven_at`: when it was proven, where that was not now, by its
    password.
    """
    await end(tx, held.id, now)
    waited = held.state is SessionState.MUST_CHANGE_PASSWORD
    whole = held.signed_in_at + life.absolute
    renewed = replace(
        held,
        id=new_id(now),
        # What waits for terms goes on waiting.
        state=held.state if held.state is SessionState.TERMS_REQUIRED else SessionState.SIGNED_IN,
        generation=generation,
        proven_at=proven_at or now,
        proven_strength=held.proven_strength if waited or proven_at is not None else strength_of((PASSWORD_METHOD,)),
        used_at=now,
        idle_at=now + life.idle,
        expires_at=(whole if until is None else min(whole, until)) if waited else held.expires_at,
        re_sign_in_id=None,
    )
    await _add(tx, renewed, token_hash)
    return renewed


async def move(
    tx: Transaction, held: Session, organization_id: UUID, *, token_hash: bytes, life: SessionLife, now: datetime
) -> Session:
    """The same sign-in in another organization, under a new id and a new token; the old row is over.

    Nothing is proven by it, and it lives no longer for it. `life`: of those with the person's roles there.
    """
    await end(tx, held.id, now)
    moved = replace(
        held,
        id=new_id(now),
        organization_id=organization_id,
        state=SessionState.SIGNED_IN,
        used_at=now,
        idle_at=now + life.idle,
        expires_at=min(held.expires_at, held.signed_in_at + life.absolute),
        re_sign_in_id=None,
    )
    await _add(tx, moved, token_hash)
    return moved


async def _add(tx: Transaction, made: Session, token_hash: bytes) -> None:
    values = {name: getattr(made, name) for name in Session.__slots__} | {"state": made.state.value}
    await tx.execute(
        sa.insert(session).values(
            **{name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
            token_hash=token_hash,
        )
    )


async def wait_for_terms(tx: Transaction, session_id: UUID) -> None:
    """The sign-in is done, and terms come before anything else."""
    await tx.execute(
        sa.update(session).where(session.c.id == session_id).values(state=SessionState.TERMS_REQUIRED.value)
    )


async def all_wait_for_terms(tx: Transaction, who: Who) -> None:
    """Whoever declines has no access: none of the person's sessions in this organization is whole any more."""
    await tx.execute(
        sa.update(session)
        .where(
            session.c.organization_id == who.organization_id,
            session.c.account_id == who.account_id,
            session.c.generation == who.session.generation,
            session.c.state == SessionState.SIGNED_IN.value,
            session.c.ended_at.is_(None),
        )
        .values(state=SessionState.TERMS_REQUIRED.value)
    )


async def terms_answered(tx: Transaction, held: Session) -> bool:
    """The session is whole: the same sign-in under the same token, which was made with its last factor. False: it was
    not waiting, or has ended."""
    statement = (
        sa.update(session)
        .where(
            session.c.id == held.id,
            session.c.state == SessionState.TERMS_REQUIRED.value,
            session.c.ended_at.is_(None),
        )
        .values(state=SessionState.SIGNED_IN.value)
    )
    return (await tx.execute(statement)).rowcount == 1


def needs_touch(held: Session, now: datetime) -> bool:
    """Being idle is measured coarsely, so that reading a page does not write a row each time."""
    return now - held.used_at >= SESSION_TOUCH


async def touch(tx: Transaction, held: Session, life: SessionLife, now: datetime) -> None:
    """Used. Whoever was given a role meanwhile has a shorter life from now on."""
    values = {"used_at": now, "idle_at": now + life.idle}
    end = held.signed_in_at + life.absolute
    if end < held.expires_at:
        values["expires_at"] = end
    await tx.execute(sa.update(session).where(session.c.id == held.id, session.c.used_at < now).values(**values))


def _living(which: sa.ColumnElement[bool], now: sa.ColumnElement[datetime]) -> sa.Select[Any]:
    return (
        sa.select(session.c.id, account.c.notification_seq)
        .join_from(session, account, account.c.id == session.c.account_id)
        .where(
            which,
            session.c.state == SessionState.SIGNED_IN.value,
            session.c.generation == account.c.session_generation,
            session.c.ended_at.is_(None),
            session.c.expires_at > now,
            session.c.idle_at > now,
            account.c.blocked_at.is_(None),
        )
    )


# Not Hot: how many ids there are changes its text.
_LIVING_AMONG: Final = _living(session.c.id.in_(sa.bindparam("ids", expanding=True)), sa.bindparam("now"))
_LIVING: Final = Timed(lambda now: _living(session.c.id == sa.bindparam("session"), now))


async def living_among(tx: Transaction, session_ids: list[UUID], now: datetime) -> dict[UUID, int]:
    """Of these sessions those that live, each with its account's `notification_seq`: what open streams compare
    themselves with, many in one question."""
    rows = await tx.execute(_LIVING_AMONG, {"ids": session_ids, "now": now})
    return {row.id: row.notification_seq for row in rows}


def living_question(session_id: UUID, now: datetime | None) -> Question:
    """The same of one, for who asks other things in the same breath: no row, or `notification_seq`."""
    return _LIVING.question(now, {"session": session_id})


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Those that no request could have used for long, however they ended. Their ids are older still."""
    cutoff = now - SESSION_KEPT
    old = (
        sa.select(session.c.id)
        .where(session.c.id < id_after(cutoff), session.c.expires_at <= cutoff)
        .order_by(session.c.id)
        .limit(limit)
        .scalar_subquery()
    )
    return (await tx.execute(sa.delete(session).where(session.c.id.in_(old)))).rowcount
