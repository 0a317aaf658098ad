"""What became of the mails and messages about a person."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import delivery as operations


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await operations.page(
        call.needs.database, call.person, call.id("account_id"), before=call.query.cursor, limit=limit
    )
    cursor = render.next_cursor([one.id for one, _ in found], limit)
    items = [render.delivery(one, attempts) for one, attempts in found]
    return Reply(200, schemas.DeliveryPage(items=items, next_cursor=cursor))
