"""The person's own view of the record."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import event


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    rows = await event.page(call.needs.database, call.person, before=call.query.cursor, limit=limit)
    body = schemas.EventPage(
        items=[render.event(row) for row in rows], next_cursor=render.next_cursor([row.id for row in rows], limit)
    )
    return Reply(200, body)
