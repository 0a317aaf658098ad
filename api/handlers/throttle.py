"""How the limits of an account stand."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import throttle as operations


async def mine(call: Call[None, None]) -> Reply:
    needs = call.needs
    found = await operations.mine(needs.database, needs.throttle_key, call.person, call.browser_token)
    return Reply(200, schemas.ThrottleList(items=[render.throttle(one) for one in found], next_cursor=None))


async def of_account(call: Call[None, None]) -> Reply:
    needs = call.needs
    found = await operations.of_account(needs.database, needs.throttle_key, call.id("account_id"))
    return Reply(200, schemas.ThrottleList(items=[render.throttle(one) for one in found], next_cursor=None))
