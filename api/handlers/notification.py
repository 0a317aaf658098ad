"""The flag: the lines, what was read of them, and the stream."""

from api import render, schemas
from api.call import Call, Reply, StreamReply
from api.operations import notification


async def page(call: Call[None, schemas.NotificationQuery]) -> Reply:
    query = call.query
    found = await notification.page(
        call.needs.database, call.person, before=query.cursor, unread_only=query.unread, limit=query.limit
    )
    body = schemas.NotificationPage(
        items=[render.notification(line) for line in found.lines],
        next_cursor=found.lines[-1].seq if len(found.lines) == query.limit else None,
        unread=found.unread,
    )
    return Reply(200, body)


async def mark_read(call: Call[None, None]) -> Reply:
    return await _mark(call, read=True)


async def mark_unread(call: Call[None, None]) -> Reply:
    return await _mark(call, read=False)


async def _mark(call: Call[None, None], *, read: bool) -> Reply:
    line = await notification.mark(call.needs.database, call.person, call.id("notification_id"), read=read)
    # The flag in the person's other windows.
    call.needs.door.nudge(call.person.account_id)
    return Reply(200, render.notification(line))


async def mark_read_up_to(call: Call[schemas.ReadUpTo, None]) -> Reply:
    left = await notification.mark_read_up_to(call.needs.database, call.person, call.body.up_to)
    call.needs.door.nudge(call.person.account_id)
    return Reply(200, render.unread(left))


async def stream(call: Call[None, None]) -> StreamReply:
    who = call.person
    return StreamReply(who.session.id, who.organization_id, who.account_id, _seq(call.last_event_id))


def _seq(last_event_id: str | None) -> int | None:
    """What a browser saw last. What is no number of ours is as if it had seen nothing: it begins now."""
    text = last_event_id or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
