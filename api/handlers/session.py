"""Sign in, second factor, proof, the list of sign-ins, sign out."""

from typing import Any, Final

from msgspec import UNSET

from api import render, schemas
from api.call import Call, ClearCookie, CookieName, Reply, SetCookie
from api.guards import SECOND_FACTOR_FLOODS, SIGN_IN_FLOODS, Flood, Flooded, count_floods, csrf_token, forgive
from api.operations import code_send, refusal
from api.operations import session as operations
from api.operations import sign_out as sign_outs
from api.operations.session import HalfSignedIn, OwesPassword, SignedIn
from api.passkeys import Party
from models.database import DatabaseDown
from models.errors import Busy, DomainError, Invalid, TooManyTries
from models.job import Job
from models.sent_code import Purpose
from models.session import SessionState
from models.settings import BROWSER_KEPT, PASSWORD_CHANGE_WAIT, SECOND_FACTOR_WAIT

FORGET: Final = {"Clear-Site-Data": '"cache", "storage"'}
"""All but cookies: ours are named, and the browser is still known for the next sign-in."""
FORGET_ALL: Final = {"Clear-Site-Data": '"cache", "cookies", "storage"'}
NO_COOKIES: Final = (ClearCookie(CookieName.SESSION), ClearCookie(CookieName.RE_SIGN_IN))


async def sign_in(call: Call[schemas.SignIn, None]) -> Reply:
    needs, group = call.needs, call.address_group or "unknown"
    # The place first: where there is none, nothing is counted, and turning somebody away costs next to nothing.
    with needs.hasher.place() as place:
        await must_not_flood(call, SIGN_IN_FLOODS, group, name=call.body.account)
        try:
            done = await operations.sign_in(
                needs.database,
                place,
                needs.keys,
                name=call.body.account,
                password=call.body.password,
                re_sign_in_token=call.body.re_sign_in or call.re_sign_in_token,
                browser_token=call.browser_token,
                throttle_key=needs.throttle_key,
                actor=call.actor,
                device_id=call.body.device_id,
            )
        except (Busy, DatabaseDown):
            await forgive(needs.door, SIGN_IN_FLOODS, group)
            raise
    if isinstance(done, DomainError):
        raise done
    await forgive(needs.door, SIGN_IN_FLOODS, group)
    if isinstance(done, HalfSignedIn):
        return _half_signed_in(done)
    return owes_password(done) if isinstance(done, OwesPassword) else signed_in(call, done)


async def second_factor(call: Call[schemas.SecondFactor, None]) -> Reply:
    needs, given, group = call.needs, call.body, call.address_group or "unknown"
    if given.assertion is not None and given.code is None:
        party, assertion = Party.at(needs.settings.public_url), given.assertion.read()
        await must_not_flood(call, SECOND_FACTOR_FLOODS, group)
        done = await operations.second_factor_by_passkey(
            needs.database,
            needs.keys,
            call.person,
            party=party,
            given=assertion,
            method_id=given.method_id,
            browser_token=call.browser_token,
            remember=given.remember_browser,
            actor=call.actor,
        )
    elif given.assertion is None and given.method_id is not None and given.code is not None:
        await must_not_flood(call, SECOND_FACTOR_FLOODS, group)
        done = await operations.second_factor(
            needs.database,
            needs.hasher,
            needs.keys,
            call.person,
            method_id=given.method_id,
            code=given.code,
            browser_token=call.browser_token,
            remember=given.remember_browser,
            throttle_key=needs.throttle_key,
            actor=call.actor,
        )
    else:
        raise Invalid(errors=[{"field": "code", "rule": "code_or_assertion"}])
    # A wrong code is told at once, and so is a browser that was not seen before.
    needs.door.nudge(call.person.account_id)
    if isinstance(done, DomainError):
        raise done
    await forgive(needs.door, SECOND_FACTOR_FLOODS, group)
    return owes_password(done) if isinstance(done, OwesPassword) else signed_in(call, done)


async def send_code(call: Call[schemas.CodeAsked, None]) -> Reply:
    await must_not_flood(call, SECOND_FACTOR_FLOODS, call.address_group or "unknown")
    return await _send_code(call, Purpose.SIGN_IN)


async def send_proof_code(call: Call[schemas.CodeAsked, None]) -> Reply:
    return await _send_code(call, Purpose.PROVE)


async def _send_code(call: Call[schemas.CodeAsked, None], purpose: Purpose) -> Reply:
    needs = call.needs
    done = await code_send.send(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        purpose,
        method_id=call.body.method_id,
        actor=call.actor,
    )
    if isinstance(done, DomainError):
        raise done
    return Reply(200, render.code_sent(done))


async def must_not_flood(
    call: Call[Any, None], floods: tuple[Flood, ...], group: str, *, name: str | None = None
) -> None:
    needs = call.needs
    try:
        await count_floods(needs.door, floods, group, signed_in=False)
    except Flooded as flooded:
        if flooded.began:
            flood = flooded.flood.name
            await refusal.remember_flood(needs.database, flood, group, name=name, who=call.who, actor=call.actor)
        raise TooManyTries(flooded.flood.window) from None


async def prove(call: Call[schemas.ProofGiven, None]) -> Reply:
    needs, given = call.needs, call.body
    if given.assertion is not None and given.password is None and given.code is None:
        done = await operations.prove_by_passkey(
            needs.database,
            needs.keys,
            call.person,
            party=Party.at(needs.settings.public_url),
            given=given.assertion.read(),
            method_id=given.method_id,
            browser_token=call.browser_token,
            actor=call.actor,
        )
    elif given.assertion is not None:
        raise Invalid(errors=[{"field": "assertion", "rule": "assertion_alone"}])
    elif given.password is not None and given.method_id is None and given.code is None:
        done = await operations.prove_by_password(
            needs.database,
            needs.hasher,
            call.person,
            password=given.password,
            browser_token=call.browser_token,
            throttle_key=needs.throttle_key,
            actor=call.actor,
        )
    elif given.password is None and given.method_id is not None and given.code is not None:
        done = await operations.prove_by_code(
            needs.database,
            needs.hasher,
            needs.keys,
            call.person,
            method_id=given.method_id,
            code=given.code,
            browser_token=call.browser_token,
            throttle_key=needs.throttle_key,
            actor=call.actor,
        )
    else:
        raise Invalid(errors=[{"field": "password", "rule": "one_proof"}])
    if isinstance(done, DomainError):
        # A passkey that may have been copied is told at once.
        needs.door.nudge(call.person.account_id)
        raise done
    body = schemas.Proven(token=done.token, csrf_token=csrf_token(done.token), proven_at=done.proven_at)
    left = done.who.session.expires_at - done.proven_at
    return Reply(200, body, cookies=(session_cookie(done.token, int(left.total_seconds())),))


async def page(call: Call[None, schemas.Paging]) -> Reply:
    who, limit = call.person, call.query.limit
    found = await operations.page(call.needs.database, who, after=call.query.cursor, limit=limit)
    cursor = render.next_cursor([held.id for held in found], limit)
    return Reply(200, schemas.SessionPage(items=[render.session(held, who) for held in found], next_cursor=cursor))


async def current(call: Call[None, None]) -> Reply:
    return Reply(200, render.current_session(call.person, csrf_token(call.token or "")))


async def end(call: Call[None, None]) -> Reply:
    session_id = call.id("session_id")
    await operations.end(call.needs.database, call.person, session_id, actor=call.actor)
    call.needs.door.nudge(call.person.account_id)
    return _signed_out() if session_id == call.person.session.id else Reply(204)


async def sign_out(call: Call[None, None]) -> Reply:
    await operations.sign_out(call.needs.database, call.person, actor=call.actor)
    if call.person.session.state is SessionState.SIGNED_IN:
        call.needs.door.nudge(call.person.account_id)
    return _signed_out()


async def sign_out_everywhere(call: Call[schemas.SignOutEverywhere, None]) -> Reply:
    call.body.must_be_yes()
    if call.body.keep_this:
        return await _sign_out_elsewhere(call)
    made = await sign_outs.everywhere(call.needs.database, call.needs.keys, call.person, actor=call.actor)
    call.needs.door.nudge(made.account_id)
    return Reply(204, headers={**FORGET_ALL, **_at(made)}, cookies=NO_COOKIES)


async def _sign_out_elsewhere(call: Call[schemas.SignOutEverywhere, None]) -> Reply:
    done = await sign_outs.others(call.needs.database, call.needs.keys, call.person, actor=call.actor)
    call.needs.door.nudge(done.job.account_id)
    held = done.who.session
    body = schemas.SignedOutElsewhere(
        token=done.token,
        csrf_token=csrf_token(done.token),
        session=render.session(held, done.who),
        job=render.job(done.job),
    )
    left = int((held.expires_at - done.now).total_seconds())
    return Reply(200, body, headers=_at(done.job), cookies=(session_cookie(done.token, left),))


async def revoke_everywhere(call: Call[schemas.SignInsRevoked, None]) -> Reply:
    done = await sign_outs.revoke(
        call.needs.database,
        call.needs.keys,
        call.person,
        call.id("account_id"),
        reason=call.body.reason,
        key=call.idempotency_key,
        actor=call.actor,
    )
    if done.made:
        call.needs.door.nudge(done.job.account_id)
    return Reply(202, render.job(done.job), headers=_at(done.job))


def _at(made: Job) -> dict[str, str]:
    return {"Location": f"/api/v1/jobs/{made.id}"}


def signed_in(call: Call[Any, None], done: SignedIn) -> Reply:
    call.needs.door.nudge(done.who.account_id)
    window = None if done.window is None else render.re_sign_in(done.window, done.now)
    body: schemas.SignedIn | schemas.TermsRequired
    if done.owes_terms is None:
        body = schemas.SignedIn(
            token=done.token,
            csrf_token=csrf_token(done.token),
            session=render.session(done.who.session, done.who),
            re_sign_in=window,
        )
    else:
        body = schemas.TermsRequired(
            token=done.token, csrf_token=csrf_token(done.token), version_id=done.owes_terms, re_sign_in=window
        )
    cookies = (
        session_cookie(done.token, int((done.who.session.expires_at - done.now).total_seconds())),
        # The window is tied to this session from here on, or it is over: its token has done its part.
        ClearCookie(CookieName.RE_SIGN_IN),
        *(() if done.browser_token is None else (browser_cookie(done.browser_token),)),
    )
    return Reply(201 if done.owes_terms is None else 202, body, cookies=cookies)


def _half_signed_in(done: HalfSignedIn) -> Reply:
    body = schemas.SecondFactorRequired(
        token=done.token,
        csrf_token=csrf_token(done.token),
        methods=[
            schemas.Method(
                id=one.id, kind=one.kind.value, label=one.label, default=one.is_default, hint=render.hint(one)
            )
            for one in done.methods
        ],
        code_sent=UNSET if done.sent is None else render.code_sent(done.sent),
    )
    return Reply(202, body, cookies=(session_cookie(done.token, int(SECOND_FACTOR_WAIT.total_seconds())),))


def owes_password(done: OwesPassword) -> Reply:
    body = schemas.PasswordChangeRequired(token=done.token, csrf_token=csrf_token(done.token))
    cookies = (
        session_cookie(done.token, int(PASSWORD_CHANGE_WAIT.total_seconds())),
        browser_cookie(done.browser_token),
    )
    return Reply(202, body, cookies=cookies)


def browser_cookie(token: str) -> SetCookie:
    return SetCookie(CookieName.BROWSER, token, max_age=int(BROWSER_KEPT.total_seconds()))


def session_cookie(token: str, seconds: int) -> SetCookie:
    return SetCookie(CookieName.SESSION, token, max_age=seconds)


def _signed_out() -> Reply:
    return Reply(204, headers=FORGET, cookies=NO_COOKIES)
