"""The person's own view of the record."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import event


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    lines = await event.page(call.needs.database, call.needs.keys, call.person, before=call.query.cursor, limit=limit)
    body = schemas.EventPage(
        items=[render.event(one) for one in lines], next_cursor=render.next_cursor([one.row.id for one in lines], limit)
    )
    return Reply(200, body)
