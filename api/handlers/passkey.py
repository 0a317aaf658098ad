"""The challenges that passkeys answer, and the sign-in that takes nothing else."""

from api import render, schemas
from api.call import Call, ClearCookie, CookieName, Reply, SetCookie
from api.guards import PASSKEY_FLOODS, SIGN_IN_FLOODS, forgive
from api.handlers.session import must_not_flood, owes_password, signed_in
from api.operations import passkey, terms
from api.operations import session as sign_ins
from api.operations.passkey_try import Copied
from api.operations.session import OwesPassword
from api.passkeys import Party
from models.database import DatabaseDown
from models.errors import DomainError, SignInFailed
from models.passkey import CHALLENGE_LIFE
from models.session import SessionState


async def ask(call: Call[None, None]) -> Reply:
    party, who = Party.at(call.needs.settings.public_url), call.person
    if who.session.state is SessionState.TERMS_REQUIRED:
        who = await terms.settle(call.needs.database, who, call.browser_token, actor=call.actor)
    return Reply(201, render.passkey_asked(await passkey.ask(call.needs.database, who), party))


async def ask_alone(call: Call[None, None]) -> Reply:
    party = Party.at(call.needs.settings.public_url)
    await must_not_flood(call, PASSKEY_FLOODS, call.address_group or "unknown")
    made = await passkey.ask_alone(call.needs.database)
    cookie = SetCookie(CookieName.PASSKEY, made.token, max_age=int(CHALLENGE_LIFE.total_seconds()))
    return Reply(201, render.passkey_asked_alone(made, party), cookies=(cookie,))


async def sign_in(call: Call[schemas.PasskeySignIn, None]) -> Reply:
    needs, given, group = call.needs, call.body, call.address_group or "unknown"
    party, assertion = Party.at(needs.settings.public_url), given.assertion.read()
    await must_not_flood(call, SIGN_IN_FLOODS, group)
    try:
        done = await sign_ins.sign_in_by_passkey(
            needs.database,
            needs.keys,
            party=party,
            given=assertion,
            token=given.token or call.passkey_token,
            re_sign_in_token=given.re_sign_in or call.re_sign_in_token,
            browser_token=call.browser_token,
            throttle_key=needs.throttle_key,
            actor=call.actor,
            device_id=given.device_id,
        )
    except DatabaseDown:
        await forgive(needs.door, SIGN_IN_FLOODS, group)
        raise
    if isinstance(done, Copied):
        # Whoever is signed in hears of it at once.
        needs.door.nudge(done.account_id)
        raise SignInFailed
    if isinstance(done, DomainError):
        raise done
    await forgive(needs.door, SIGN_IN_FLOODS, group)
    reply = owes_password(done) if isinstance(done, OwesPassword) else signed_in(call, done)
    # Its challenge is spent: the cookie has done its part.
    return Reply(reply.status, reply.body, cookies=(*reply.cookies, ClearCookie(CookieName.PASSKEY)))
