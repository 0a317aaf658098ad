"""Wipes and removals that wait for a second person."""

from typing import Any

from api import render, schemas
from api.call import Call, Reply
from api.operations import approval
from api.operations.approval import Over
from models.approval import ApprovalState
from models.errors import ApprovalOver


async def page(call: Call[None, schemas.ApprovalQuery]) -> Reply:
    query = call.query
    found = await approval.page(
        call.needs.database,
        call.needs.platforms,
        call.person,
        state=None if query.state is None else ApprovalState(query.state),
        everyone=query.everyone,
        before=query.cursor,
        limit=query.limit,
    )
    body = schemas.ApprovalPage(
        items=[render.approval(one) for one in found],
        next_cursor=render.next_cursor([one.approval.id for one in found], query.limit),
    )
    return Reply(200, body)


async def show(call: Call[None, None]) -> Reply:
    return await _shown(call)


async def _shown(call: Call[Any, None]) -> Reply:
    shown = await approval.show(call.needs.database, call.needs.platforms, call.person, call.id("approval_id"))
    return Reply(200, render.approval(shown))


async def approve(call: Call[schemas.Reason, None]) -> Reply:
    needs = call.needs
    approved = await approval.approve(
        needs.database,
        needs.keys,
        needs.platforms,
        call.person,
        call.id("approval_id"),
        reason=call.body.reason,
        actor=call.actor,
        fault=needs.fault,
    )
    if isinstance(approved, Over):
        raise _over(call, approved)
    needs.door.put(approved.job.id, approved.job.queue)
    for account_id in approved.told:
        needs.door.nudge(account_id)
    return await _shown(call)


async def refuse(call: Call[schemas.Reason, None]) -> Reply:
    refused = await approval.refuse(
        call.needs.database, call.person, call.id("approval_id"), reason=call.body.reason, actor=call.actor
    )
    if isinstance(refused, Over):
        raise _over(call, refused)
    call.needs.door.nudge(refused)
    return await _shown(call)


async def withdraw(call: Call[None, None]) -> Reply:
    over = await approval.withdraw(call.needs.database, call.person, call.id("approval_id"), actor=call.actor)
    if over is not None:
        raise _over(call, over)
    call.needs.door.nudge(call.person.account_id)
    return await _shown(call)


def _over(call: Call[Any, None], over: Over) -> ApprovalOver:
    call.needs.door.nudge(over.told)
    return over.problem
