"""The way back into an account without the password.

No answer to a step before a gate is passed comes sooner than half a second after it was asked for: how much work there
was tells nothing of whether there is such an account.
"""

from typing import Any, Final

from api import render, schemas
from api.call import Call, ClearCookie, CookieName, Reply, SetCookie
from api.guards import RECOVERY_FLOODS, Flooded, count_floods
from api.operations import recovery as operations
from api.operations import refusal
from api.operations.recovery import Asking
from api.pace import no_sooner
from models.errors import DomainError, TooManyTries

COOKIE_SECONDS: Final = 3600
"""Longer than the fifteen minutes: whoever comes back too late is told that they are over."""
OVER: Final = (ClearCookie(CookieName.RECOVERY), ClearCookie(CookieName.SESSION))


async def start(call: Call[schemas.RecoveryAsked, None]) -> Reply:
    return await no_sooner(call.needs.settings.answer_floor, _start(call))


async def _start(call: Call[schemas.RecoveryAsked, None]) -> Reply:
    needs, group = call.needs, call.address_group or "unknown"
    try:
        await count_floods(needs.door, RECOVERY_FLOODS, group, signed_in=False)
    except Flooded as flooded:
        if flooded.began:
            flood, name = flooded.flood.name, call.body.account
            await refusal.remember_flood(needs.database, flood, group, name=name, who=None, actor=call.actor)
        raise TooManyTries(flooded.flood.window) from None
    started = await operations.start(
        needs.database,
        needs.keys,
        needs.throttle_key,
        name=call.body.account,
        purpose=call.body.purpose,
        browser_token=call.browser_token,
        actor=call.actor,
    )
    if isinstance(started, DomainError):
        raise started
    cookie = SetCookie(CookieName.RECOVERY, started.token, max_age=COOKIE_SECONDS)
    return Reply(201, render.recovery_started(started), cookies=(cookie,))


def _asking(call: Call[Any, Any]) -> Asking:
    return Asking(call.id("recovery_id"), call.recovery_token, call.needs.throttle_key, call.actor)


async def show(call: Call[None, None]) -> Reply:
    needs = call.needs
    shown = await no_sooner(needs.settings.answer_floor, operations.show(needs.database, _asking(call)))
    return Reply(200, render.recovery(shown))


async def cancel(call: Call[None, None]) -> Reply:
    needs = call.needs
    await no_sooner(needs.settings.answer_floor, operations.cancel(needs.database, _asking(call)))
    return Reply(204, cookies=(ClearCookie(CookieName.RECOVERY),))


async def send(call: Call[schemas.RecoveryCodeAsked, None]) -> Reply:
    needs, body = call.needs, call.body
    asked = operations.send(needs.database, needs.keys, _asking(call), option_id=body.method_id, address=body.address)
    sent = await no_sooner(needs.settings.answer_floor, asked)
    if isinstance(sent, DomainError):
        raise sent
    told = schemas.RecoveryCodeSent(sent_at=sent.sent_at, expires_at=sent.expires_at, again_at=sent.again_at)
    return Reply(202, told)


async def gate(call: Call[schemas.GateTried, None]) -> Reply:
    needs, body = call.needs, call.body
    tried = operations.gate(
        needs.database, needs.hasher, needs.keys, _asking(call), option_id=body.method_id, code=body.code
    )
    done = await no_sooner(needs.settings.answer_floor, tried)
    if isinstance(done, DomainError):
        raise done
    if done.flow.account_id is not None:
        # A saved code that was used is told at once, wherever somebody is signed in.
        needs.door.nudge(done.flow.account_id)
    return Reply(200, render.recovery(done))


async def choose_password(call: Call[schemas.PasswordChosen, None]) -> Reply:
    needs = call.needs
    done = await operations.choose_password(needs.database, needs.hasher, needs.keys, _asking(call), new=call.body.new)
    if isinstance(done, DomainError):
        raise done
    for account_id in done:
        # Open streams close at once.
        needs.door.nudge(account_id)
    return Reply(204, cookies=OVER)


async def unlock(call: Call[None, None]) -> Reply:
    needs = call.needs
    done = await operations.unlock(needs.database, needs.keys, _asking(call))
    if isinstance(done, DomainError):
        raise done
    needs.door.nudge(done)
    return Reply(204, cookies=(ClearCookie(CookieName.RECOVERY),))
