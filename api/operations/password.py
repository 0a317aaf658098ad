"""Choosing another password."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from api.operations import password_try
from api.operations.password_try import Tried
from api.operations.session import ended, hold_row, record, terms_first
from api.passwords import Hasher, Place
from models import app, event, password, session, verification
from models.database import Database
from models.errors import (
    DomainError,
    NotSignedIn,
    PasswordChanged,
    PasswordRefused,
    PasswordRejected,
    ProofRequired,
    TooManyTries,
)
from models.event import Actor
from models.password_policy import About, Broken, Rule, judge, nfc
from models.sealed import Keyring
from models.session import SessionState, Who, hash_token, new_token

CHANGE: Final = "account:password:change"


@dataclass(frozen=True, slots=True)
class Changed:
    """The session that asked goes on, under another id and token; every other one is over."""

    who: Who
    token: str = field(repr=False)
    now: datetime
    owes_terms: UUID | None = None
    """The version that a sign-in which waited for the password now waits for."""


async def change(
    db: Database,
    hasher: Hasher,
    keys: Keyring,
    who: Who,
    *,
    current: str,
    new: str,
    browser_token: str | None,
    throttle_key: bytes,
    actor: Actor,
) -> Changed | DomainError:
    """The present password and a fresh proof for another one. What is wrong with that one is told to its owner alone.

    Whoever signed in because a new password is due has proven enough by that.
    """
    if who.session.state is not SessionState.MUST_CHANGE_PASSWORD:
        async with db.read() as tx:
            if not who.session.is_fresh(await tx.now()):
                raise ProofRequired
    with hasher.place() as place:
        tried = await password_try.count(
            db, who.sign_in_name, throttle_key, CHANGE, actor, browser_token=browser_token, session_id=who.session.id
        )
        if tried.wait is not None:
            return TooManyTries(tried.wait)
        right = await place.verify(tried.password_hash, current)
        if not right or tried.blocked:
            return await _refuse(db, who, tried, actor)
        broken = await _judge(db, place, tried, current, new)
        if broken:
            return await _reject(db, who, tried, broken, actor)
        new_hash = await place.hash(new)
    async with db.write() as tx:
        held, _ = await password_try.unchanged(tx, tried)
        if held is None:
            await hold_row(tx, who)
            raise PasswordChanged
        now = await tx.now()
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        await password_try.forgive(tx, tried)
        generation = await password.replace(tx, held, new_hash, keys=keys, why="changed", actor=actor, now=now)
        token = new_token()
        renewed = await session.renew(
            tx,
            asking,
            token_hash=hash_token(token),
            generation=generation,
            life=who.session_life,
            now=now,
            until=await verification.end_of(tx, asking.method_ids),
        )
        await app.move_uses(tx, old=asking.id, new=renewed.id, generation=generation)
        await record(tx, renewed, "renew", actor=actor, now=now)
        goes_on = replace(who, session=renewed)
        waited = asking.state is not SessionState.SIGNED_IN
        return Changed(goes_on, token, now, await terms_first(tx, goes_on, browser_token, now) if waited else None)


async def _refuse(db: Database, who: Who, tried: Tried, actor: Actor) -> PasswordRefused:
    one_too_many = await password_try.refuse(db, tried, CHANGE, actor)
    if one_too_many:
        async with db.write() as tx:
            await hold_row(tx, who)
            now = await tx.now()
            if await session.end(tx, who.session.id, now):
                await ended(tx, who.session, actor=actor, now=now)
    return PasswordRefused(session_ended=one_too_many)


async def _judge(db: Database, place: Place, tried: Tried, current: str, new: str) -> list[Broken]:
    """What is cheap first: hashes are compared only with what could be used."""
    async with db.read() as tx:
        about: About = await password.about(tx, tried.row, await tx.now())
        _, *before = await password.earlier(tx, tried.row)
    broken = judge(new, about)
    if broken:
        return broken
    reused = nfc(new) == nfc(current)
    for known in before:
        reused = reused or await place.verify(known, new)
    return [Broken(Rule.REUSED)] if reused else []


async def _reject(db: Database, who: Who, tried: Tried, broken: list[Broken], actor: Actor) -> PasswordRejected:
    """The present one was right: that is no failure to count."""
    async with db.write() as tx:
        now = await tx.now()
        await password_try.forgive(tx, tried)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action=CHANGE,
            actor=actor,
            now=now,
            outcome="failure",
            reason=PasswordRejected.code,
            account_id=who.account_id,
            facts={"rules": [one.rule.value for one in broken]},
        )
    return PasswordRejected(reasons=[{"rule": one.rule.value, **one.facts} for one in broken])
