"""The way out and in again: a window is opened in the moment that ends the old sign-in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from api.operations import act as acts
from api.operations.session import ended, hold_account
from models import event, re_sign_in, session, throttle
from models.database import Database, Transaction
from models.errors import (
    DomainError,
    Invalid,
    NotFound,
    NotSignedIn,
    ReSignInLapsed,
    ReSignInNotOpen,
    TooManyTries,
)
from models.event import Actor
from models.re_sign_in import ReSignIn, ReSignInState
from models.session import SessionState, Who, hash_token
from models.throttle import RE_SIGN_INS
from models.vocabulary import Act, PlatformName, Proof
from platforms.base import PlatformHandler


@dataclass(frozen=True, slots=True)
class Window:
    window: ReSignIn
    token: str = field(repr=False)
    now: datetime
    made: bool
    """Opened by this tap. Not: it is the answer to an earlier one, again."""


async def open_window(
    db: Database,
    platforms: Mapping[PlatformName, PlatformHandler],
    who: Who,
    *,
    device_id: UUID,
    act: Act,
    session_token: str,
    actor: Actor,
) -> Window | DomainError:
    """t0: the window opens and the session ends, both or neither.

    Of two taps at once the first does so; the second finds the session ended by it, and is shown the same window.
    """
    token = re_sign_in.token_of(session_token, device_id, act)
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        held = await session.by_id(tx, who, who.session.id)
        if held is None or held.state is not SessionState.SIGNED_IN or not held.lives(generation, now):
            return await _again(tx, [token], device_id, act, now)
        offer = await acts.offered(tx, platforms, who, device_id, act)
        if offer.proof is not Proof.RE_SIGN_IN:
            raise Invalid(errors=[{"field": "act", "rule": "no_re_sign_in"}])
        await acts.must_be_able(tx, who, offer)
        wait = await throttle.take(tx, RE_SIGN_INS, str(who.account_id), now)
        if wait is not None:
            await event.record(
                tx,
                organization_id=who.organization_id,
                action="account:re_sign_in:open",
                actor=actor,
                now=now,
                outcome="failure",
                reason=TooManyTries.code,
                account_id=who.account_id,
                subject=("device", device_id),
            )
            return TooManyTries(wait)
        await re_sign_in.cancel_live(
            tx, who.account_id, who.organization_id, "opened_anew", now, actor=actor, device_id=device_id
        )
        window = await re_sign_in.open_window(
            tx,
            organization_id=who.organization_id,
            account_id=who.account_id,
            device_id=device_id,
            act=act,
            token_hash=hash_token(token),
            now=now,
        )
        await re_sign_in.record(tx, window, "open", actor=actor, now=now)
        await session.end(tx, held.id, now)
        await ended(tx, held, actor=actor, now=now)
        return Window(window, token, now, made=True)


async def show_again(db: Database, tokens: list[str], *, device_id: UUID, act: Act) -> Window:
    """A double tap, the back button: whoever holds the window's own token is told of it again. Nothing moves."""
    async with db.read() as tx:
        return await _again(tx, tokens, device_id, act, await tx.now())


async def _again(tx: Transaction, tokens: list[str], device_id: UUID, act: Act, now: datetime) -> Window:
    for token in tokens:
        window = await re_sign_in.by_token(tx, hash_token(token))
        if window is not None and (window.device_id, window.act) == (device_id, act):
            return _still_open(window, token, now)
    raise NotSignedIn


def _still_open(window: ReSignIn, token: str, now: datetime) -> Window:
    state = window.seen_at(now)
    if state is ReSignInState.LAPSED:
        raise ReSignInLapsed
    if state is not ReSignInState.OPEN:
        raise ReSignInNotOpen(state=state.value)
    return Window(window, token, now, made=False)


async def show(db: Database, who: Who, window_id: UUID) -> tuple[ReSignIn, datetime]:
    async with db.read() as tx:
        window = await re_sign_in.by_id(tx, window_id)
        now = await tx.now()
    if window is None or (window.organization_id, window.account_id) != (who.organization_id, who.account_id):
        raise NotFound
    return window, now
