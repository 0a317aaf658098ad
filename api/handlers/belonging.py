"""A person's organizations: the list, going from one to another, leaving; and who came from elsewhere."""

from typing import Any, cast

from api import render, schemas
from api.call import Call, Reply
from api.handlers import session
from api.operations import belonging, member
from models.job import Job


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


async def leave(call: Call[schemas.Confirmation, None]) -> Reply:
    call.body.must_be_yes()
    needs = call.needs
    done = await belonging.leave(
        needs.database,
        needs.keys,
        call.person,
        call.id("organization_id"),
        key=call.idempotency_key,
        browser_token=call.browser_token,
        actor=call.actor,
    )
    home = None if done.home is None else session.signed_in(call, done.home)
    if done.made:
        _begin(call, done.job)
    body = schemas.OrganizationLeft(
        job=render.job(done.job),
        signed_in=None if home is None else cast("schemas.SignedIn | schemas.TermsRequired", home.body),
    )
    cookies = home.cookies if home is not None else session.NO_COOKIES if done.made else ()
    return Reply(202 if done.made or done.repeated else 200, body, headers=_at(done.job), cookies=cookies)


async def members(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await member.page(call.needs.database, call.person, after=call.query.cursor, limit=limit)
    cursor = render.next_cursor([one.row.account_id for one in found], limit)
    return Reply(200, schemas.MemberPage(items=[render.member(one) for one in found], next_cursor=cursor))


async def former_members(call: Call[None, schemas.Paging]) -> Reply:
    limit = call.query.limit
    found = await member.former_page(call.needs.database, call.person, after=call.query.cursor, limit=limit)
    cursor = render.next_cursor([one.id for one in found], limit)
    return Reply(200, schemas.FormerMemberPage(items=[render.former_member(one) for one in found], next_cursor=cursor))


async def remove_member(call: Call[schemas.Reason, None]) -> Reply:
    needs = call.needs
    made = await member.remove(
        needs.database,
        needs.keys,
        call.person,
        call.id("account_id"),
        reason=call.body.reason,
        actor=call.actor,
    )
    _begin(call, made)
    return Reply(204)


async def restore_member(call: Call[None, None]) -> Reply:
    needs = call.needs
    gone = await member.restore(needs.database, needs.keys, call.person, call.id("membership_id"), actor=call.actor)
    needs.door.nudge(gone.account_id)
    return Reply(204)


def _begin(call: Call[Any, None], made: Job) -> None:
    """The transaction is kept: streams of what ended close, and a worker hears of the rest."""
    call.needs.door.put(made.id, made.queue)
    call.needs.door.nudge(made.account_id)


def _at(made: Job) -> dict[str, str]:
    return {"Location": f"/api/v1/jobs/{made.id}"}
