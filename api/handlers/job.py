"""Acts asked for, and how far they are."""

from collections.abc import Awaitable, Callable

from api import render, schemas
from api.call import Call, Reply
from api.operations import act as acts
from api.operations import approval, job
from models.errors import DomainError
from models.vocabulary import Act


def ask(act: Act) -> Callable[[Call[None, None]], Awaitable[Reply]]:
    """The handler of one act: each has an address of its own."""

    async def ask_for_it(call: Call[None, None]) -> Reply:
        needs, who = call.needs, call.person
        asked = await acts.ask(
            needs.database,
            needs.keys,
            needs.platforms,
            who,
            device_id=call.id("device_id"),
            act=act,
            key=call.idempotency_key,
            actor=call.actor,
            fault=needs.fault,
        )
        if isinstance(asked, DomainError):
            # It has left a mark that the person is told of.
            needs.door.nudge(who.account_id)
            raise asked
        if isinstance(asked, acts.Submitted):
            # The sweep tells those who can approve.
            needs.door.nudge(who.account_id)
            shown = await approval.show(needs.database, needs.platforms, who, asked.approval.id)
            location = f"/api/v1/approvals/{shown.approval.id}"
            return Reply(201, render.approval(shown), headers={"Location": location})
        if asked.made:
            needs.door.put(asked.job.id, asked.job.queue)
        for account_id in asked.told:
            needs.door.nudge(account_id)
        return Reply(
            202, render.job(asked.job, reach=asked.reach), headers={"Location": f"/api/v1/jobs/{asked.job.id}"}
        )

    ask_for_it.__name__ = act.value
    return ask_for_it


async def page(call: Call[None, schemas.JobQuery]) -> Reply:
    query = call.query
    found = await job.page(
        call.needs.database,
        call.needs.platforms,
        call.person,
        device_id=query.device_id,
        state=query.state,
        everyone=query.everyone,
        before=query.cursor,
        limit=query.limit,
    )
    body = schemas.JobPage(
        items=[render.job(one.job, reach=one.reach, for_operator=query.everyone) for one in found],
        next_cursor=render.next_cursor([one.job.id for one in found], query.limit),
    )
    return Reply(200, body)


async def show(call: Call[None, None]) -> Reply:
    shown = await job.show(call.needs.database, call.needs.platforms, call.person, call.id("job_id"))
    body = render.job(
        shown.job, shown.timeline, reach=shown.reach, calls=shown.calls, for_operator=call.person.is_operator
    )
    return Reply(200, body)


async def cancel(call: Call[None, None]) -> Reply:
    needs = call.needs
    shown = await job.cancel(needs.database, needs.keys, call.person, call.id("job_id"), actor=call.actor)
    # Whose job it was: an operator may take back another's.
    needs.door.nudge(shown.job.account_id)
    return Reply(200, render.job(shown.job, shown.timeline, for_operator=call.person.is_operator))
