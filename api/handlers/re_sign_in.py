"""Open the five-minute window, and look at it."""

from typing import Final

from api import render, schemas
from api.call import Call, ClearCookie, CookieName, Reply, SetCookie
from api.operations import re_sign_in as operations
from models.errors import DomainError, NotSignedIn, SecondFactorRequired
from models.session import SessionState

COOKIE_SECONDS: Final = 3600
"""Longer than the window: whoever comes back too late is told that it lapsed."""


async def open_window(call: Call[schemas.ReSignInAsked, None]) -> Reply:
    asked, who = call.body, call.who
    if who is None:
        token = asked.token or call.re_sign_in_token
        if token is None:
            raise NotSignedIn
        again = await operations.show_again(call.needs.database, token, device_id=asked.device_id, act=asked.act)
        return Reply(200, render.re_sign_in_opened(again.window, again.now, again.token))
    if who.session.state is not SessionState.SIGNED_IN:
        raise SecondFactorRequired
    opened = await operations.open_window(
        call.needs.database,
        call.needs.platforms,
        who,
        device_id=asked.device_id,
        act=asked.act,
        actor=call.actor,
    )
    if isinstance(opened, DomainError):
        raise opened
    call.needs.door.nudge(who.account_id)
    return Reply(
        201,
        render.re_sign_in_opened(opened.window, opened.now, opened.token),
        cookies=(
            ClearCookie(CookieName.SESSION),
            SetCookie(CookieName.RE_SIGN_IN, opened.token, max_age=COOKIE_SECONDS),
        ),
    )


async def show(call: Call[None, None]) -> Reply:
    window, now = await operations.show(call.needs.database, call.person, call.id("re_sign_in_id"))
    return Reply(200, render.re_sign_in(window, now))
