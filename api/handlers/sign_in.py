"""Sign-in activity, "this wasn't me", known browsers."""

from api import render, schemas
from api.call import Call, Reply
from api.handlers.session import FORGET_ALL, NO_COOKIES
from api.operations import sign_in as operations


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await operations.page(call.needs.database, call.person, before=call.query.cursor, limit=limit)
    cursor = render.next_cursor([line.id for line in found], limit)
    return Reply(200, schemas.SignInPage(items=[render.sign_in(line) for line in found], next_cursor=cursor))


async def disown(call: Call[None, None]) -> Reply:
    needs, line_id = call.needs, call.id("sign_in_id")
    line, told = await operations.disown(needs.database, needs.keys, call.person, line_id, actor=call.actor)
    if not told:
        return Reply(200, render.sign_in(line))
    for account_id in told:
        needs.door.nudge(account_id)
    return Reply(200, render.sign_in(line), headers=FORGET_ALL, cookies=NO_COOKIES)


async def browsers(call: Call[None, None]) -> Reply:
    who = call.person
    found, asking, now = await operations.browsers(call.needs.database, who, call.browser_token)
    items = [render.browser(known, who, asking, now) for known in found]
    return Reply(200, schemas.BrowserList(items=items, next_cursor=None))


async def forget_browser(call: Call[None, None]) -> Reply:
    await operations.forget_browser(call.needs.database, call.person, call.id("browser_id"), actor=call.actor)
    return Reply(204)
