"""Asking a device for an act: is it offered, is it proven, was it asked before; then one job, in one transaction."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import address, approval, delivery, event, job, place, re_sign_in, throttle, verification
from models.account import account
from models.address import Letterbox
from models.approval import Approval
from models.base import Id
from models.database import NOW_COLUMN, Database, Transaction
from models.delivery import Person
from models.device import ActOffer, Device, device, offer, refusal, stands_in_the_way
from models.enrollment import enrollment
from models.errors import (
    ActionInProgress,
    AwaitingApproval,
    Busy,
    DomainError,
    KeyRequired,
    KeyReused,
    NotFound,
    NotSignedIn,
    ProofRequired,
    ReSignInLapsed,
    ReSignInRequired,
    ReSignInUsed,
    SecondFactorMissing,
    TooManyTries,
)
from models.event import Actor
from models.fault import Fault
from models.hot import Hot
from models.job import Job, Words
from models.organization import OrganizationSettings, organization
from models.organization_policy import APPROVABLE
from models.re_sign_in import ReSignIn, ReSignInState
from models.sealed import Keyring
from models.session import Who, session
from models.settings import ACTS_PER_DEVICE_AND_DAY, FRESH_PROOF, RE_SIGN_IN_WINDOW
from models.throttle import REFUSALS
from models.vocabulary import DEPARTURES, Act, Ownership, PlatformName, Proof, Queue, Reason, new_id
from platforms.base import EnrollmentState, Facts, PlatformHandler, Reach

Platforms = Mapping[PlatformName, PlatformHandler]

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """`made`: a new job, to be rung. Not: the earlier answer to the same key. `told`: the accounts to nudge."""

    job: Job
    made: bool
    reach: Reach | None
    told: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Submitted:
    """A second person is asked first; or the earlier answer to the same key."""

    approval: Approval


# What deciding on an offer takes, in one row: the device, its living bond, its organization's settings.
OFFER_COLUMNS: Final = (
    device,
    enrollment.c.state.label("bond_state"),
    enrollment.c.traits,
    organization.c.settings,
)
_OFFER_FROM: Final = device.join(organization, organization.c.id == device.c.organization_id).outerjoin(
    enrollment, sa.and_(enrollment.c.device_id == device.c.id, enrollment.c.left_at.is_(None))
)


SELECT_FOR_OFFERS: Final = sa.select(*OFFER_COLUMNS).select_from(_OFFER_FROM)


def select_for_offers(who: Who) -> sa.Select[Any]:
    """The person's own devices, with what an offer is decided from."""
    return SELECT_FOR_OFFERS.where(
        device.c.organization_id == who.organization_id, device.c.account_id == who.account_id
    )


def offers_of(
    platforms: Platforms, row: Any, settings: OrganizationSettings, busy: frozenset[str] = frozenset()
) -> list[ActOffer]:
    """Every act there is, each with a reason where it is not available. `busy`: kinds with an open job."""
    held = Device.of(row)
    platform = platforms.get(PlatformName(held.platform))
    capabilities: Mapping[Act, str | None] = {} if platform is None else platform.offers(facts_of(row))
    return [
        offer(
            held,
            act,
            capabilities.get(act, Reason.PLATFORM_UNSUPPORTED),
            settings,
            in_progress=bool(stands_in_the_way(act) & busy),
        )
        for act in Act
    ]


def reach_of(platforms: Platforms, row: Any, now: datetime) -> Reach | None:
    """What whoever waits for the device may be told. None: nobody waits for it."""
    platform = platforms.get(PlatformName(row.platform))
    if platform is None or row.bond_state != EnrollmentState.ENROLLED:
        return None
    return platform.reach(facts_of(row), row.last_seen_at, now)


def facts_of(row: Any) -> Facts:
    return Facts(
        ownership=Ownership(row.ownership),
        os_version=row.os_version,
        state=EnrollmentState(row.bond_state or EnrollmentState.LEFT),
        traits=row.traits or {},
    )


def _one_offer(platforms: Platforms, row: Any, settings: OrganizationSettings, act: Act) -> ActOffer:
    return next(one for one in offers_of(platforms, row, settings) if one.act is act)


def _refusal(one: ActOffer, settings: OrganizationSettings) -> DomainError | None:
    """Why not, and whom to ask."""
    return None if one.reason is None else refusal(one.reason, settings)


async def offered(tx: Transaction, platforms: Platforms, who: Who, device_id: UUID, act: Act) -> ActOffer:
    """The act, if it may be asked of this device of theirs. Raises NotFound, NotOffered or HiddenByAdmin."""
    row = (await tx.execute(select_for_offers(who).where(device.c.id == device_id))).one_or_none()
    if row is None:
        raise NotFound
    settings = OrganizationSettings.of(row.settings)
    one = _one_offer(platforms, row, settings, act)
    refused = _refusal(one, settings)
    if refused is not None:
        raise refused
    return one


def request_hash(device_id: UUID, act: Act) -> bytes:
    """What the same idempotency key must be sent with again."""
    return hashlib.sha256(device_id.bytes + act.encode()).digest()


class CameBetween(Exception):
    """Another job was asked of the device before its owner was held: begin anew, and hold it too."""


async def ask(
    db: Database,
    keys: Keyring,
    platforms: Platforms,
    who: Who,
    *,
    device_id: UUID,
    act: Act,
    key: str | None,
    actor: Actor,
    fault: Fault,
) -> Asked | Submitted | DomainError:
    """Confirm an act. The order of the checks is a promise (DESIGN 6). A refusal that is returned has left a mark."""
    for _ in range(TRIES):
        try:
            return await _ask(db, keys, platforms, who, device_id=device_id, act=act, key=key, actor=actor, fault=fault)
        except CameBetween:
            continue
    raise Busy


async def _ask(
    db: Database,
    keys: Keyring,
    platforms: Platforms,
    who: Who,
    *,
    device_id: UUID,
    act: Act,
    key: str | None,
    actor: Actor,
    fault: Fault,
) -> Asked | Submitted | DomainError:
    async with db.write() as tx:
        asked = {"session": who.session.id, "device": device_id, "act": act.value, "key": key}
        asked |= {"account": who.account_id, "organization": who.organization_id, **_blockers(act)}
        # Jobs before the account (lock order).
        waiting = [Job.of(row) for row in (await tx.ask(_OPEN, asked)).rows] if act in DEPARTURES else []
        target = _TARGET if tx.knows_time else _TARGET_AND_NOW
        *answers, box = await tx.together(
            (_PROOF, asked), (_WINDOW, asked), (target, asked), address.question(who.account_id)
        )
        proof, shown, row = (answer.one_or_none() for answer in answers)
        _must_be_signed_in(proof, who)
        if row is None:
            raise NotFound
        now = await tx.now() if tx.knows_time else tx.heard_now(row.now)
        settings = OrganizationSettings.of(row.settings)
        window = None if shown is None else ReSignIn.of(shown)
        one = _one_offer(platforms, row, settings, act)
        refused = _refusal(one, settings)
        if refused is not None:
            return await _refuse(tx, window, refused, one.reason, actor=actor, now=now)
        hashed = request_hash(device_id, act)
        earlier = await _earlier(tx, platforms, who, row, one, key, hashed, now)
        if earlier is not None:
            return earlier
        await must_be_able(tx, who, one)
        unproven = _unproven(one, who, window, now)
        if isinstance(unproven, ReSignInLapsed) and window is not None and window.state is ReSignInState.PROVEN:
            await re_sign_in.lapse(tx, window, actor=actor, now=now)
            return unproven
        if unproven is not None:
            raise unproven
        if key is None:
            raise KeyRequired
        if row.open_id is not None:
            raise ActionInProgress(job_id=row.open_id)
        if row.tenth_newest is not None and now - row.tenth_newest < _DAY:
            return await _too_many(tx, who, device_id, act, _DAY - (now - row.tenth_newest), actor=actor, now=now)
        if one.needs_approval:
            submitted = await _submit(tx, who, row, one, window, key, hashed, actor=actor, now=now)
            fault.mark("accept.before_commit")
            return submitted
        job_id = new_id(now)
        _spend(tx, one, window, job_id, now)
        made = await job.ask(
            tx,
            job_id=job_id,
            organization_id=who.organization_id,
            account_id=who.account_id,
            device_id=device_id,
            act=act,
            queue=Queue.INTERACTIVE,
            by="person",
            idempotency_key=key,
            request_hash=hashed,
            now=now,
            life=settings.act_life.get(act),
        )
        await event.record(
            tx,
            organization_id=who.organization_id,
            action=f"device:{act}:ask",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("job", job_id),
            facts={"device_id": str(device_id)},
        )
        told = await make_room(tx, made, waiting, row.name, actor=actor, keys=keys, now=now)
        await _mail_it(tx, keys, who, act, row.name, address.read(box, keys), actor=actor, now=now)
        fault.mark("accept.before_commit")
    fault.mark("accept.after_commit")
    return Asked(made, made=True, reach=reach_of(platforms, row, now), told=told)


def _must_be_signed_in(proof: Any, who: Who) -> None:
    """Looked at again with the account held. Raises NotSignedIn."""
    if proof is None or proof.blocked_at is not None or proof.session_ended_at is not None:
        raise NotSignedIn
    if proof.session_generation != who.session.generation:
        raise NotSignedIn


def _spend(tx: Transaction, one: ActOffer, window: ReSignIn | None, job_id: UUID | None, now: datetime) -> None:
    if one.proof is Proof.RE_SIGN_IN:
        if window is None:
            raise ReSignInUsed
        re_sign_in.use(tx, window, job_id, now)


async def _submit(
    tx: Transaction,
    who: Who,
    row: Any,
    one: ActOffer,
    window: ReSignIn | None,
    key: str,
    hashed: bytes,
    *,
    actor: Actor,
    now: datetime,
) -> Submitted | DomainError:
    """One of a kind waits per device, and nobody is asked without end. Raises AwaitingApproval."""
    waiting = (await approval.waiting_of(tx, [row.id])).get((row.id, one.act))
    if waiting is not None:
        raise AwaitingApproval(approval_id=waiting)
    tenth = await approval.nth_newest(tx, row.id, ACTS_PER_DEVICE_AND_DAY)
    if tenth is not None and now - tenth < _DAY:
        return await _too_many(tx, who, row.id, one.act, _DAY - (now - tenth), actor=actor, now=now)
    _spend(tx, one, window, None, now)
    submitted = await approval.submit(
        tx,
        organization_id=who.organization_id,
        account_id=who.account_id,
        device_id=row.id,
        device_name=row.name,
        act=one.act,
        idempotency_key=key,
        request_hash=hashed,
        actor=actor,
        now=now,
    )
    return Submitted(submitted)


async def _mail_it(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    act: Act,
    device_name: str,
    letterbox: Letterbox,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """By mail alone: the flag has its line when it has ended, one for each job."""
    if act is Act.RESET_PASSCODE:
        await delivery.mail_notice(
            tx,
            keys=keys,
            account=Person(who.account_id, who.organization_id),
            key="passcode.reset_asked",
            params={"device": device_name, **place.of(actor)},
            letterbox=letterbox,
            now=now,
        )


async def make_room(
    tx: Transaction,
    made: Job,
    waiting: list[Job],
    device_name: str,
    *,
    actor: Actor,
    keys: Keyring,
    now: datetime,
) -> frozenset[UUID]:
    """A removal or a wipe takes the place of what waits, and a lock is told at once. The accounts to nudge.

    Raises CameBetween.
    """
    if made.kind is Act.REMOTE_LOCK:
        await job.tell_pending(tx, made, device_name=device_name, now=now)
        return frozenset({made.account_id})
    if made.kind not in DEPARTURES or made.device_id is None:
        return frozenset()
    still_open = {held.id for held in await job.open_of_device(tx, made.device_id)}
    if still_open != {made.id, *(held.id for held in waiting)}:
        raise CameBetween
    words = Words(success_key="", device_name=device_name)
    return frozenset(await job.supersede(tx, waiting, made.id, actor=actor, words=words, keys=keys, now=now))


TRIES: Final = 3
_BLOCKERS: Final = ("blocker_0", "blocker_1", "blocker_2")


def _blockers(act: Act) -> dict[str, str]:
    """The kinds that stand in the way, always as many values."""
    kinds = sorted(stands_in_the_way(act))
    return {name: kinds[place % len(kinds)] for place, name in enumerate(_BLOCKERS)}


_WANTED: Final = sa.bindparam("device", type_=Id)
_THE_ACT: Final = sa.bindparam("act", type_=sa.Text)

# The account, held, and the session as it is now.
_PROOF: Final = Hot(
    sa.select(
        account.c.session_generation,
        account.c.blocked_at,
        session.c.ended_at.label("session_ended_at"),
    )
    .select_from(account.join(session, session.c.account_id == account.c.id))
    .where(account.c.id == sa.bindparam("account"), session.c.id == sa.bindparam("session"))
    .with_for_update(of=account, key_share=True)
)
# The window that this session proved for this act on this device, held.
_WINDOW: Final = Hot(
    sa.select(re_sign_in.re_sign_in)
    .where(
        re_sign_in.re_sign_in.c.session_id == sa.bindparam("session"),
        re_sign_in.re_sign_in.c.device_id == _WANTED,
        re_sign_in.re_sign_in.c.act == _THE_ACT,
    )
    .with_for_update()
)


def _target() -> sa.Select[Any]:
    """The device and all else that is asked of the database."""
    ours = job.job.alias()
    of_device = sa.and_(ours.c.device_id == _WANTED, ours.c.kind == _THE_ACT)
    keyed = sa.select(ours.c.id).where(
        ours.c.account_id == sa.bindparam("account"), ours.c.idempotency_key == sa.bindparam("key")
    )
    open_job = (
        sa.select(ours.c.id)
        .where(
            ours.c.device_id == _WANTED,
            ours.c.kind.in_([sa.bindparam(name, type_=sa.Text) for name in _BLOCKERS]),
            ours.c.state.in_(job.OPEN_LITERALS),
        )
        .order_by(ours.c.id)
        .limit(1)
    )
    tenth = (
        sa.select(ours.c.created_at)
        .where(of_device, ours.c.organization_id == sa.bindparam("organization"))
        .order_by(ours.c.id.desc())
        .offset(ACTS_PER_DEVICE_AND_DAY - 1)
        .limit(1)
    )
    return (
        sa.select(
            *OFFER_COLUMNS,
            keyed.scalar_subquery().label("keyed_id"),
            open_job.scalar_subquery().label("open_id"),
            tenth.scalar_subquery().label("tenth_newest"),
        )
        .select_from(_OFFER_FROM)
        .where(
            device.c.organization_id == sa.bindparam("organization"),
            device.c.account_id == sa.bindparam("account"),
            device.c.id == _WANTED,
        )
    )


# What is still to be done with a device of theirs, held.
_OPEN: Final = Hot(
    sa.select(job.job)
    .where(
        job.job.c.device_id == _WANTED,
        job.job.c.state.in_(job.OPEN_LITERALS),
        sa.exists().where(
            device.c.id == _WANTED,
            device.c.organization_id == sa.bindparam("organization"),
            device.c.account_id == sa.bindparam("account"),
        ),
    )
    .order_by(job.job.c.id)
    .with_for_update()
)
_TARGET: Final = Hot(_target())
_TARGET_AND_NOW: Final = Hot(_target().add_columns(NOW_COLUMN))
"""And what time it is now that the account is held."""


async def _refuse(
    tx: Transaction, window: ReSignIn | None, refused: DomainError, reason: str | None, *, actor: Actor, now: datetime
) -> DomainError:
    """A device that is no longer eligible ends the window; another refusal would leave it as it is."""
    if window is not None and await re_sign_in.end_window(tx, window, ReSignInState.CANCELLED, "not_offered", now):
        await re_sign_in.record(tx, window, "cancel", actor=actor, now=now, reason=reason)
    return refused


async def _earlier(
    tx: Transaction,
    platforms: Platforms,
    who: Who,
    row: Any,
    one: ActOffer,
    key: str | None,
    hashed: bytes,
    now: datetime,
) -> Asked | Submitted | None:
    """What this key was answered before. Raises KeyReused."""
    if row.keyed_id is not None:
        made = await job.by_id(tx, row.keyed_id)
        if made is None or made.request_hash != hashed:
            raise KeyReused
        return Asked(made, made=False, reach=reach_of(platforms, row, now))
    if one.act not in APPROVABLE or key is None:
        return None
    submitted = await approval.by_key(tx, who.account_id, key)
    if submitted is not None and submitted.request_hash != hashed:
        raise KeyReused
    return None if submitted is None else Submitted(submitted)


async def _too_many(
    tx: Transaction, who: Who, device_id: UUID, act: Act, wait: timedelta, *, actor: Actor, now: datetime
) -> DomainError:
    if await throttle.take(tx, REFUSALS, f"{act}:{device_id}", now) is None:
        await event.record(
            tx,
            organization_id=who.organization_id,
            action=f"device:{act}:ask",
            actor=actor,
            now=now,
            outcome="failure",
            reason=TooManyTries.code,
            account_id=who.account_id,
            subject=("device", device_id),
        )
    return TooManyTries(wait)


async def must_be_able(tx: Transaction, who: Who, one: ActOffer) -> None:
    """Nobody is sent out, or asked for a code, who cannot come back stronger. Raises SecondFactorMissing."""
    if who.session.strength < one.strength:
        methods = await verification.of_account(tx, who.account_id)
        if verification.best_strength(methods) < one.strength:
            raise SecondFactorMissing(strength=one.strength)


def _unproven(one: ActOffer, who: Who, window: ReSignIn | None, now: datetime) -> DomainError | None:
    """What is missing of the proof; None: nothing."""
    strong = who.session.strength >= one.strength
    if one.proof is not Proof.RE_SIGN_IN:
        if one.proof is Proof.NONE:
            enough = strong
        else:
            enough = who.session.proven_strength >= one.strength and who.session.is_fresh(now)
        if enough:
            return None
        return ProofRequired(max_age=int(FRESH_PROOF.total_seconds()), strength=one.strength)
    state = None if window is None else window.after_confirm(now)
    if window is None or not strong or state in {ReSignInState.OPEN, ReSignInState.CANCELLED}:
        return ReSignInRequired(max_age=int(RE_SIGN_IN_WINDOW.total_seconds()), strength=one.strength)
    if state is ReSignInState.LAPSED:
        return ReSignInLapsed()
    if window.state is ReSignInState.USED:
        return ReSignInUsed(job_id=window.job_id)
    return None
