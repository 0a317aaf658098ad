"""Reading the temporary passcode."""

from api import schemas
from api.call import Call, Reply
from api.operations import passcode


async def reveal(call: Call[None, None]) -> Reply:
    needs = call.needs
    read = await passcode.reveal(
        needs.database, needs.keys, needs.platforms, call.person, call.id("device_id"), actor=call.actor
    )
    needs.door.nudge(call.person.account_id)
    body = schemas.Revealed(passcode=read.passcode.text(), kind=read.kind, readable_until=read.readable_until)
    return Reply(200, body)
