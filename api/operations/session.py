"""Signing in, proving it is still oneself, and ending it.

A try is counted before it is verified, and what was counted must stay: a verb that refuses for that reason gives the
refusal back as a value, for its caller to raise. Argon2 works between two transactions, never inside one.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.operations import arrival, code_send, code_try, passkey_try, password_try
from api.operations.code_send import CodeSent
from api.operations.passkey_try import Copied
from api.operations.password_try import OPEN
from api.passkeys import Assertion, Party
from api.passwords import Hasher, Place
from models import account, contact, device, event, organization, re_sign_in, session, terms, verification
from models import sign_out as sign_outs
from models.browser import Browser
from models.database import Database, Transaction
from models.device import LEAST_STRENGTH, DeviceState
from models.errors import (
    CodeRefused,
    DeviceDisabled,
    DomainError,
    NotFound,
    NotSignedIn,
    ProofRequired,
    SignInFailed,
    TooManyTries,
)
from models.event import Actor
from models.hot import Answer
from models.passkey import Purpose
from models.person_key import PersonKey
from models.re_sign_in import ReSignIn, ReSignInState
from models.sealed import Keyring
from models.session import (
    PASSWORD_METHOD,
    VERIFIED_PASSKEY,
    Session,
    SessionState,
    Who,
    hash_token,
    new_token,
    strength_of,
)
from models.settings import PASSWORD_CHANGE_WAIT, RECENT_PROOF, SECOND_FACTOR_WAIT, SessionLife, session_life
from models.verification import NAMED, Verification

PROVE: Final = "account:session:prove"


@dataclass(frozen=True, slots=True)
class SignedIn:
    who: Who
    token: str = field(repr=False)
    browser_token: str | None = field(repr=False)
    """What the browser is to keep; None: nothing new."""
    window: ReSignIn | None
    """What became of the re-sign-in it was done for; None: none, or one that is no affair of this person."""
    now: datetime
    owes_terms: UUID | None = None
    """The version that must be accepted first. All else is as in any sign-in: the window is tied, its time runs."""


@dataclass(frozen=True, slots=True)
class HalfSignedIn:
    token: str = field(repr=False)
    methods: list[Verification]
    sent: CodeSent | None = None
    """Where the default is a phone, its code is under way already."""


@dataclass(frozen=True, slots=True)
class OwesPassword:
    """Every factor was right, and nothing is open before another password is chosen."""

    token: str = field(repr=False)
    browser_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proven:
    who: Who
    token: str = field(repr=False)
    proven_at: datetime


async def sign_in(  # noqa: PLR0911 - each is another end of it
    db: Database,
    place: Place,
    keys: Keyring,
    *,
    name: str,
    password: str,
    re_sign_in_token: str | None,
    browser_token: str | None,
    throttle_key: bytes,
    actor: Actor,
    device_id: UUID | None = None,
) -> SignedIn | HalfSignedIn | OwesPassword | DomainError:
    """The first factor, and the last one for whoever has no other. Unknown, blocked and wrong are the same outside.

    `device_id`: the one on which it is done, where the client knows it; nobody else's counts.
    """
    better = None
    async with place.turn():
        tried = await password_try.count(db, name, throttle_key, OPEN, actor, browser_token=browser_token)
        if tried.wait is not None:
            return TooManyTries(tried.wait)
        right = await place.verify(tried.password_hash, password)
        if right and place.is_weak(tried.row.password_hash):
            better = await place.hash(password)
    if not right or tried.blocked:
        await password_try.refuse(db, tried, OPEN, actor)
        return SignInFailed()
    async with db.write() as tx:
        held, (methods_found, roles_found) = await password_try.unchanged(
            tx,
            tried,
            verification.question(tried.row.id),
            organization.roles_question(tried.row.organization_id, tried.row.id),
        )
        if held is None:
            return SignInFailed()
        now = await tx.now()
        here = None if device_id is None else await device.of_owner(tx, held.id, device_id)
        if here is not None and here.state == DeviceState.DISABLED.value:
            # Whoever has a lost device and the password must leave a trace, and gets no clean slate.
            await password_try.remember(tx, tried, OPEN, actor, now, DeviceDisabled.code)
            return DeviceDisabled()
        await password_try.forgive(tx, tried)
        if better is not None:
            await account.set_password_hash(tx, held.id, old=tried.row.password_hash, new=better)
        window = None
        if re_sign_in_token is not None:
            window = await re_sign_in.by_token(tx, hash_token(re_sign_in_token), hold=True)
        methods = verification.asked_for(verification.read(methods_found), now)
        roles = organization.read_roles(roles_found)
        skipped = _may_skip(tried.browser, held, window, now) if methods else None
        state = SessionState.SECOND_FACTOR if methods and skipped is None else _after_last_factor(held)
        life = _life_of(state, session_life(roles, is_operator=held.is_operator))
        token = new_token()
        opened = await session.open_session(
            tx,
            organization_id=held.organization_id,
            account_id=held.id,
            token_hash=hash_token(token),
            generation=held.session_generation,
            state=state,
            strength=1,
            methods=(PASSWORD_METHOD,),
            lifetime=life.absolute,
            idle=life.idle,
            now=now,
            re_sign_in_id=None if window is None else window.id,
            address=actor.address,
            client=actor.client,
            proven_at=skipped,
            device_id=None if here is None else here.id,
        )
        person = as_person(actor, opened, PersonKey.of(held.id, held))
        if state is SessionState.SECOND_FACTOR:
            await record(tx, opened, "begin", actor=person, now=now)
            sent = await code_send.send_first(
                tx, keys, throttle_key, opened, methods, held.language, actor=person, now=now
            )
            return HalfSignedIn(token, await contact.with_hints(tx, keys, methods), sent)
        if state is SessionState.MUST_CHANGE_PASSWORD:
            return await _owes_password(tx, keys, opened, "begin", token, browser_token, actor=person, now=now)
        return await _signed_in(
            tx, keys, opened, token, window, browser_token, actor=person, now=now, remembered=skipped is not None
        )


async def second_factor(
    db: Database,
    hasher: Hasher,
    keys: Keyring,
    who: Who,
    *,
    method_id: UUID,
    code: str,
    browser_token: str | None,
    remember: bool,
    throttle_key: bytes,
    actor: Actor,
) -> SignedIn | OwesPassword | DomainError:
    """The last factor: half a sign-in becomes a session with a new token."""
    compared = await code_try.compare(db, hasher, who, method_id=method_id, code=code, browser_token=browser_token)
    async with db.write() as tx:
        at = await _hold_half(tx, who)
        accepted = await code_try.accept(
            tx,
            keys,
            who,
            method_id=method_id,
            code=code,
            compared=compared,
            browser_token=browser_token,
            server_key=throttle_key,
            actor=actor,
            now=at.now,
        )
        if isinstance(accepted, DomainError):
            return await _refuse_second_factor(tx, keys, at, accepted, actor=actor)
        word = accepted.kind.value
        return await _finish(tx, keys, who, at, accepted, word, browser_token, actor=actor, remember=remember)


async def second_factor_by_passkey(
    db: Database,
    keys: Keyring,
    who: Who,
    *,
    party: Party,
    given: Assertion,
    method_id: UUID | None,
    browser_token: str | None,
    remember: bool,
    actor: Actor,
) -> SignedIn | OwesPassword | DomainError:
    async with db.write() as tx:
        at = await _hold_half(tx, who)
        accepted = await passkey_try.accept(
            tx,
            keys,
            who,
            Purpose.SECOND_FACTOR,
            party=party,
            given=given,
            method_id=method_id,
            browser_token=browser_token,
            actor=actor,
            now=at.now,
        )
        if isinstance(accepted, DomainError):
            return await _refuse_second_factor(tx, keys, at, accepted, actor=actor)
        method, word = accepted.method, accepted.word
        return await _finish(tx, keys, who, at, method, word, browser_token, actor=actor, remember=remember)


@dataclass(frozen=True, slots=True)
class _Half:
    """Half a sign-in; its account and its window are held."""

    row: Any
    session: Session
    window: ReSignIn | None
    now: datetime


async def _hold_half(tx: Transaction, who: Who) -> _Half:
    row = await hold_row(tx, who)
    now = await tx.now()
    half = await session.by_id(tx, who, who.session.id)
    if half is None or not half.lives(row.session_generation, now):
        raise NotSignedIn
    if half.state is not SessionState.SECOND_FACTOR:
        raise CodeRefused
    window = None if half.re_sign_in_id is None else await re_sign_in.by_id(tx, half.re_sign_in_id, hold=True)
    return _Half(row, half, window, now)


async def _refuse_second_factor(
    tx: Transaction, keys: Keyring, at: _Half, refused: DomainError, *, actor: Actor
) -> DomainError:
    await record(tx, at.session, "second_factor", actor=actor, now=at.now, reason=refused.code)
    await arrival.failed_second_factor(tx, keys, at.session, refused.code, actor=actor, now=at.now)
    return refused


async def _finish(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    at: _Half,
    accepted: Verification,
    word: str,
    browser_token: str | None,
    *,
    actor: Actor,
    remember: bool,
) -> SignedIn | OwesPassword:
    """`word`: what the session remembers of the method."""
    token, half, now = new_token(), at.session, at.now
    methods = (*half.methods, word)
    state = _after_last_factor(at.row)
    if not await session.complete(
        tx,
        half,
        token_hash=hash_token(token),
        strength=strength_of(methods),
        methods=methods,
        method_ids=(str(accepted.id),),
        life=_no_longer_than(_life_of(state, who.session_life), accepted.expires_at, now),
        now=now,
        state=state,
    ):
        raise CodeRefused
    if state is SessionState.MUST_CHANGE_PASSWORD:
        return await _owes_password(tx, keys, half, "second_factor", token, browser_token, actor=actor, now=now)
    # A stand-in is no reason to spare somebody the second factor for weeks.
    by = accepted.id if remember and accepted.kind in NAMED else None
    return await _signed_in(tx, keys, half, token, at.window, browser_token, actor=actor, now=now, remember=by)


async def sign_in_by_passkey(
    db: Database,
    keys: Keyring,
    *,
    party: Party,
    given: Assertion,
    token: str | None,
    re_sign_in_token: str | None,
    browser_token: str | None,
    throttle_key: bytes,
    actor: Actor,
    device_id: UUID | None = None,
) -> SignedIn | OwesPassword | Copied | DomainError:
    """All factors at once: the device is one, and what it asks of its holder the other. No name, no password."""
    async with db.write() as tx:
        known = await passkey_try.accept_alone(
            tx, keys, party=party, given=given, token=token, throttle_key=throttle_key, actor=actor
        )
        if isinstance(known, Copied | DomainError):
            return known
        held, now = known.row, known.now
        here = None if device_id is None else await device.of_owner(tx, held.id, device_id)
        if here is not None and here.state == DeviceState.DISABLED.value:
            await passkey_try.remember(tx, held, DeviceDisabled.code, actor=actor, now=now)
            return DeviceDisabled()
        window = None
        if re_sign_in_token is not None:
            window = await re_sign_in.by_token(tx, hash_token(re_sign_in_token), hold=True)
        roles = await organization.roles_of(tx, held.organization_id, held.id)
        state = _after_last_factor(held)
        life = _life_of(state, session_life(roles, is_operator=held.is_operator))
        session_token, methods = new_token(), (VERIFIED_PASSKEY,)
        opened = await session.open_session(
            tx,
            organization_id=held.organization_id,
            account_id=held.id,
            token_hash=hash_token(session_token),
            generation=held.session_generation,
            state=state,
            strength=strength_of(methods),
            methods=methods,
            method_ids=(str(known.method.id),),
            lifetime=life.absolute,
            idle=life.idle,
            now=now,
            re_sign_in_id=None if window is None else window.id,
            address=actor.address,
            client=actor.client,
            device_id=None if here is None else here.id,
        )
        person = as_person(actor, opened, PersonKey.of(held.id, held))
        if state is SessionState.MUST_CHANGE_PASSWORD:
            return await _owes_password(tx, keys, opened, "begin", session_token, browser_token, actor=person, now=now)
        return await _signed_in(tx, keys, opened, session_token, window, browser_token, actor=person, now=now)


async def prove_by_password(
    db: Database,
    hasher: Hasher,
    who: Who,
    *,
    password: str,
    browser_token: str | None,
    throttle_key: bytes,
    actor: Actor,
) -> Proven | DomainError:
    with hasher.place() as place:
        tried = await password_try.count(db, who.sign_in_name, throttle_key, PROVE, actor, browser_token=browser_token)
        if tried.wait is not None:
            return TooManyTries(tried.wait)
        right = await place.verify(tried.password_hash, password)
    if not right or tried.blocked:
        await password_try.refuse(db, tried, PROVE, actor)
        return CodeRefused()
    async with db.write() as tx:
        if (await password_try.unchanged(tx, tried))[0] is None:
            raise NotSignedIn
        generation, now = await hold_account(tx, who)
        await password_try.forgive(tx, tried)
        return await _proven(tx, who, generation, actor=actor, now=now, method=PASSWORD_METHOD)


async def prove_by_code(
    db: Database,
    hasher: Hasher,
    keys: Keyring,
    who: Who,
    *,
    method_id: UUID,
    code: str,
    browser_token: str | None,
    throttle_key: bytes,
    actor: Actor,
) -> Proven | DomainError:
    compared = await code_try.compare(db, hasher, who, method_id=method_id, code=code, browser_token=browser_token)
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        accepted = await code_try.accept(
            tx,
            keys,
            who,
            method_id=method_id,
            code=code,
            compared=compared,
            browser_token=browser_token,
            server_key=throttle_key,
            actor=actor,
            now=now,
        )
        if isinstance(accepted, DomainError):
            await record(tx, who.session, "prove", actor=actor, now=now, reason=accepted.code)
            return accepted
        return await _proven(
            tx,
            who,
            generation,
            actor=actor,
            now=now,
            method=accepted.kind.value,
            method_id=accepted.id,
            end=accepted.expires_at,
        )


async def prove_by_passkey(
    db: Database,
    keys: Keyring,
    who: Who,
    *,
    party: Party,
    given: Assertion,
    method_id: UUID | None,
    browser_token: str | None,
    actor: Actor,
) -> Proven | DomainError:
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        accepted = await passkey_try.accept(
            tx,
            keys,
            who,
            Purpose.PROOF,
            party=party,
            given=given,
            method_id=method_id,
            browser_token=browser_token,
            actor=actor,
            now=now,
        )
        if isinstance(accepted, DomainError):
            await record(tx, who.session, "prove", actor=actor, now=now, reason=accepted.code)
            return accepted
        return await _proven(
            tx, who, generation, actor=actor, now=now, method=accepted.word, method_id=accepted.method.id
        )


async def page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[Session]:
    async with db.read() as tx:
        return await session.living(tx, who, await tx.now(), after, limit)


async def end(db: Database, who: Who, session_id: UUID, *, actor: Actor) -> None:
    """End one of the person's sessions. Another than the one that asks takes a recent proof. Ended twice is ended."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        found = await session.by_id(tx, who, session_id)
        if found is None:
            raise NotFound
        if found.id != who.session.id and not who.session.is_fresh(now, RECENT_PROOF):
            raise ProofRequired
        if found.lives(generation, now) and await session.end(tx, found.id, now):
            await ended(tx, found, actor=actor, now=now)


async def sign_out(db: Database, who: Who, *, actor: Actor) -> None:
    """End the session that asks, or half of one."""
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        if await session.end(tx, who.session.id, now):
            await ended(tx, who.session, actor=actor, now=now)


async def hold_account(tx: Transaction, who: Who) -> tuple[int, datetime]:
    """The account's generation, its row held, and the time from then on."""
    held = await hold_row(tx, who)
    return held.session_generation, await tx.now()


async def hold_row(tx: Transaction, who: Who) -> Any:
    """The account's row, held."""
    held = await account.lock(tx, who.account_id)
    if held is None or held.blocked_at is not None:
        raise NotSignedIn
    return held


def _may_skip(known: Browser | None, held: Any, window: ReSignIn | None, now: datetime) -> datetime | None:
    """When the second factor was done in this browser, if it may be skipped for that; never in a re-sign-in."""
    return None if known is None or window is not None else known.second_factor_done(held.session_generation, now)


def _after_last_factor(held: Any) -> SessionState:
    return SessionState.MUST_CHANGE_PASSWORD if held.must_change_password else SessionState.SIGNED_IN


def _life_of(state: SessionState, whole: SessionLife) -> SessionLife:
    """What waits for something waits for so long."""
    if state is SessionState.SECOND_FACTOR:
        return SessionLife(whole.idle, SECOND_FACTOR_WAIT)
    if state is SessionState.MUST_CHANGE_PASSWORD:
        return SessionLife(PASSWORD_CHANGE_WAIT, PASSWORD_CHANGE_WAIT)
    return whole


def _no_longer_than(life: SessionLife, end: datetime | None, now: datetime) -> SessionLife:
    """A sign-in with something temporary ends with it."""
    return life if end is None else SessionLife(life.idle, min(life.absolute, end - now))


async def _signed_in(
    tx: Transaction,
    keys: Keyring,
    opened: Session,
    token: str,
    window: ReSignIn | None,
    browser_token: str | None,
    *,
    actor: Actor,
    now: datetime,
    remember: UUID | None = None,
    remembered: bool = False,
) -> SignedIn:
    """The last factor was done, `now`: this is the moment that decides about the window.

    Everybody arrives at home. Whoever does it for a window of another organization of theirs goes on to there.
    """
    kept = await arrival.token_of(tx, browser_token)
    # All in the one breath in which the browser is asked for.
    holder = tx.soon(*session.holder(hash_token(token)))
    asked = tx.soon(*terms.asking(terms.Asked(opened.organization_id, opened.account_id, opened.id, kept)))
    await record(tx, opened, "open", actor=actor, now=now, facts={"remembered": True} if remembered else None)
    await arrival.arrive(tx, keys, opened, kept, actor=actor, now=now, remember=remember)
    who, theirs = _who_of(holder.answer, now), asked.answer
    if window is not None and await _goes_on(tx, who, window):
        who, token = await go(tx, who, who.session, window.organization_id, actor=actor, now=now)
        theirs = await tx.ask(*terms.asking(terms_asked(who, kept)))
    tied = None if window is None else await _tie(tx, window, who.session, actor=actor, now=now)
    return SignedIn(who, token, kept, tied, now, await _wait_for(tx, who, await terms.first_of(tx, theirs.rows, now)))


async def _owes_password(
    tx: Transaction,
    keys: Keyring,
    opened: Session,
    verb: str,
    token: str,
    browser_token: str | None,
    *,
    actor: Actor,
    now: datetime,
) -> OwesPassword:
    """The last factor was done, and there it ends until the password is another. `verb`: what was done."""
    kept = await arrival.token_of(tx, browser_token)
    await record(tx, opened, verb, actor=actor, now=now, facts={"owes": "password"})
    await arrival.arrive(tx, keys, opened, kept, actor=actor, now=now)
    return OwesPassword(token, kept)


def _who_of(answer: Answer, now: datetime) -> Who:
    row = answer.one_or_none()
    who = None if row is None else session.who_of(row, now)
    if who is None:
        raise NotSignedIn
    return who


async def _goes_on(tx: Transaction, who: Who, window: ReSignIn) -> bool:
    if window.account_id != who.account_id or window.organization_id == who.organization_id:
        return False
    return await organization.is_member(tx, window.organization_id, who.account_id)


async def go(
    tx: Transaction, who: Who, held: Session, organization_id: UUID, *, actor: Actor, now: datetime
) -> tuple[Who, str]:
    """Take a sign-in to another organization of the person's: who it is there, and the new token.

    Neither organization's record names the other. Raises NotSignedIn where it would be over by the rules there.
    """
    roles = await organization.roles_of(tx, organization_id, who.account_id)
    life = session_life(roles, is_operator=who.is_operator)
    if now >= held.signed_in_at + life.absolute:
        raise NotSignedIn
    token = new_token()
    await _ended_here(tx, held, actor=actor, now=now)
    moved = await session.move(tx, held, organization_id, token_hash=hash_token(token), life=life, now=now)
    actor = as_person(actor, moved, who.person_key)
    await record(tx, moved, "open", actor=actor, now=now, facts={"moved": True})
    return _who_of(await tx.ask(*session.holder(hash_token(token))), now), token


async def terms_first(tx: Transaction, who: Who, browser_token: str | None, now: datetime) -> UUID | None:
    """What a sign-in that is otherwise finished still waits for. Asked here, and never in the middle of a session."""
    return await _wait_for(tx, who, await terms.first_asked(tx, terms_asked(who, browser_token), now))


async def _wait_for(tx: Transaction, who: Who, version_id: UUID | None) -> UUID | None:
    if version_id is not None:
        await session.wait_for_terms(tx, who.session.id)
    return version_id


def terms_asked(who: Who, browser_token: str | None) -> terms.Asked:
    return terms.Asked(who.organization_id, who.account_id, who.session.id, browser_token)


async def _tie(tx: Transaction, window: ReSignIn, opened: Session, *, actor: Actor, now: datetime) -> ReSignIn | None:
    """What a finished sign-in makes of the window it was done for, as far as it concerns who signed in."""
    after = window.after_sign_in(opened.account_id, opened.organization_id, now)
    if window.state is ReSignInState.OPEN:
        if after is ReSignInState.PROVEN:
            await _prove(tx, window, opened, actor=actor, now=now)
        elif after is ReSignInState.LAPSED:
            await re_sign_in.lapse(tx, window, actor=actor, now=now)
        elif after is ReSignInState.CANCELLED:
            await _cancel_for_another(tx, window, opened, actor=actor, now=now)
    if (window.account_id, window.organization_id) != (opened.account_id, opened.organization_id):
        return None
    tied = await re_sign_in.by_id(tx, window.id)
    # Proven by an earlier sign-in: the right is that session's, and this one has none.
    elsewhere = tied is not None and tied.state is ReSignInState.PROVEN and tied.session_id != opened.id
    return None if elsewhere else tied


async def _prove(tx: Transaction, window: ReSignIn, opened: Session, *, actor: Actor, now: datetime) -> None:
    """A sign-in on fewer factors than the act takes stands, and leaves the window as it is, like one that failed."""
    settings = await organization.settings_of(tx, window.organization_id)
    if opened.strength < settings.strength_for(window.act, LEAST_STRENGTH):
        await re_sign_in.record(tx, window, "prove", actor=actor, now=now, outcome="failure", reason="too_weak")
    elif await re_sign_in.prove(tx, window, opened.id, now):
        await re_sign_in.record(tx, window, "prove", actor=actor, now=now)


async def _cancel_for_another(
    tx: Transaction, window: ReSignIn, opened: Session, *, actor: Actor, now: datetime
) -> None:
    if not await re_sign_in.end_window(tx, window, ReSignInState.CANCELLED, "other_account", now):
        return
    # One organization's record does not name another's people.
    seen = actor if opened.organization_id == window.organization_id else replace(actor, id=None, session_id=None)
    await re_sign_in.record(tx, window, "cancel", actor=seen, now=now, reason="other_account")


async def _proven(
    tx: Transaction,
    who: Who,
    generation: int,
    *,
    actor: Actor,
    now: datetime,
    method: str,
    method_id: UUID | None = None,
    end: datetime | None = None,
) -> Proven:
    """`end`: of a method that is temporary; what it proves ends with it."""
    held = await session.by_id(tx, who, who.session.id)
    if held is None or held.state is not SessionState.SIGNED_IN or not held.lives(generation, now):
        raise NotSignedIn
    token, proven = new_token(), held.proven_by(method, who.session_life, now, method_id, end)
    if not await session.prove(tx, proven, token_hash=hash_token(token)):
        raise NotSignedIn
    await record(tx, held, "prove", actor=actor, now=now, facts={"method": method})
    return Proven(replace(who, session=proven), token, now)


async def ended(tx: Transaction, held: Session, *, actor: Actor, now: datetime) -> None:
    """What ends with a session, here and in the apps that were opened from it."""
    await sign_outs.one(tx, held, actor=actor, now=now)
    await _ended_here(tx, held, actor=actor, now=now)


async def _ended_here(tx: Transaction, held: Session, *, actor: Actor, now: datetime) -> None:
    await re_sign_in.cancel_live(
        tx, held.account_id, held.organization_id, "signed_out", now, actor=actor, session_id=held.id
    )
    await record(tx, held, "end", actor=actor, now=now)


async def record(
    tx: Transaction,
    held: Session,
    verb: str,
    *,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    await event.record(
        tx,
        organization_id=held.organization_id,
        action=f"account:session:{verb}",
        actor=actor,
        now=now,
        outcome="success" if reason is None else "failure",
        reason=reason,
        account_id=held.account_id,
        subject=("session", held.id),
        facts=facts,
    )


def as_person(actor: Actor, opened: Session, key: PersonKey | None) -> Actor:
    """From here on it is known who acts. `key`: theirs, where it came with what was read of them anyway."""
    return replace(actor, kind="account", id=opened.account_id, session_id=opened.id, person_key=key)
