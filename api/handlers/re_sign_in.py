"""Open the five-minute window, and look at it."""

from typing import Final

from api import render, schemas
from api.call import Call, ClearCookie, CookieName, Reply, SetCookie
from api.operations import re_sign_in as operations
from api.operations import terms
from api.operations.re_sign_in import Window
from models.errors import DomainError, PasswordChangeRequired, SecondFactorRequired
from models.re_sign_in import token_of
from models.session import SessionState

COOKIE_SECONDS: Final = 3600
"""Longer than the window: whoever comes back too late is told that it lapsed."""


async def open_window(call: Call[schemas.ReSignInAsked, None]) -> Reply:
    asked, who = call.body, call.who
    if who is None or call.token is None:
        again = await operations.show_again(
            call.needs.database, _tokens(call), device_id=asked.device_id, act=asked.act
        )
        return _opened(again)
    if who.session.state is SessionState.SECOND_FACTOR:
        raise SecondFactorRequired
    if who.session.state is SessionState.MUST_CHANGE_PASSWORD:
        raise PasswordChangeRequired
    if who.session.state is SessionState.TERMS_REQUIRED:
        who = await terms.settle(call.needs.database, who, call.browser_token, actor=call.actor)
    opened = await operations.open_window(
        call.needs.database,
        call.needs.platforms,
        who,
        device_id=asked.device_id,
        act=asked.act,
        session_token=call.token,
        actor=call.actor,
    )
    if isinstance(opened, DomainError):
        raise opened
    if opened.made:
        call.needs.door.nudge(who.account_id)
    return _opened(opened)


def _tokens(call: Call[schemas.ReSignInAsked, None]) -> list[str]:
    """What may be a window's own: said to be one, made from the session that a tap ended, or a browser's cookie."""
    asked = call.body
    made = None if call.token is None else token_of(call.token, asked.device_id, asked.act)
    return [token for token in (asked.token, made, call.re_sign_in_token) if token is not None]


def _opened(opened: Window) -> Reply:
    return Reply(
        201 if opened.made else 200,
        render.re_sign_in_opened(opened.window, opened.now, opened.token),
        cookies=(
            ClearCookie(CookieName.SESSION),
            SetCookie(CookieName.RE_SIGN_IN, opened.token, max_age=COOKIE_SECONDS),
        ),
    )


async def show(call: Call[None, None]) -> Reply:
    window, now = await operations.show(call.needs.database, call.person, call.id("re_sign_in_id"))
    return Reply(200, render.re_sign_in(window, now))
