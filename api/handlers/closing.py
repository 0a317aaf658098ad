"""Closing one's own account."""

from api import schemas
from api.call import Call, Reply
from api.handlers.session import FORGET_ALL, NO_COOKIES
from api.operations import closing


async def close(call: Call[schemas.AccountClosing, None]) -> Reply:
    call.body.must_be_yes()
    needs = call.needs
    until = await closing.close(needs.database, needs.keys, call.person, actor=call.actor)
    needs.door.nudge(call.person.account_id)
    return Reply(200, schemas.AccountClosed(restorable_until=until), headers=FORGET_ALL, cookies=NO_COOKIES)
