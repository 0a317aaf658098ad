"""A person's organizations: the list, and going from one to another."""

from api import render, schemas
from api.call import Call, Reply
from api.handlers import session
from api.operations import belonging


async def page(call: Call[None, schemas.Paging]) -> Reply:
    limit, who = call.query.limit, call.person
    found = await belonging.page(call.needs.database, who, after=call.query.cursor, limit=limit)
    items = [render.belonging(one, who) for one in found]
    return Reply(
        200,
        schemas.BelongingPage(
            items=items, next_cursor=render.next_cursor([one.organization_id for one in found], limit)
        ),
    )


async def switch(call: Call[schemas.OrganizationChosen, None]) -> Reply:
    done = await belonging.switch(
        call.needs.database,
        call.person,
        call.body.organization_id,
        browser_token=call.browser_token,
        actor=call.actor,
    )
    reply = session.signed_in(call, done)
    return Reply(200 if done.owes_terms is None else 202, reply.body, cookies=reply.cookies)
