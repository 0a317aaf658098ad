"""The accounts of an organization, for its administrators."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import account
from api.operations.account import Known
from models.errors import DomainError


async def page(call: Call[None, schemas.AccountQuery]) -> Reply:
    query = call.query
    found = await account.page(
        call.needs.database,
        call.person,
        query.begins_with,
        deleted=query.deleted,
        after=query.cursor,
        limit=query.limit,
    )
    cursor = render.next_cursor([one.row.id for one in found], query.limit)
    return Reply(200, schemas.AccountPage(items=[render.known_account(one) for one in found], next_cursor=cursor))


async def show(call: Call[None, None]) -> Reply:
    return _shown(await account.show(call.needs.database, call.person, call.id("account_id")))


async def create(call: Call[schemas.AccountAsked, None]) -> Reply:
    needs, given = call.needs, call.body
    made = await account.create(
        needs.database,
        needs.hasher,
        needs.keys,
        needs.throttle_key,
        call.person,
        sign_in_name=given.sign_in_name,
        display_name=given.display_name,
        language=given.language,
        actor=call.actor,
    )
    if isinstance(made, DomainError):
        raise made
    body = schemas.AccountCreated(
        account=render.known_account(made.known),
        invitation=schemas.Invitation(sent=made.password is None, expires_at=made.until, password=made.password),
    )
    return Reply(201, body, headers={"Location": f"/api/v1/accounts/{made.known.row.id}"})


async def block(call: Call[schemas.Reason, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    done = await account.block(
        needs.database, needs.keys, call.person, account_id, reason=call.body.reason, actor=call.actor
    )
    needs.door.nudge(account_id)
    return _shown(done)


async def unblock(call: Call[None, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    return _shown(await account.unblock(needs.database, needs.keys, call.person, account_id, actor=call.actor))


async def unlock(call: Call[schemas.Reason, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    await account.unlock(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        account_id,
        reason=call.body.reason,
        actor=call.actor,
    )
    needs.door.nudge(account_id)
    return Reply(204)


async def delete(call: Call[None, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    await account.delete(needs.database, needs.keys, call.person, account_id, actor=call.actor)
    needs.door.nudge(account_id)
    return Reply(204)


async def restore(call: Call[None, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    return _shown(await account.restore(needs.database, needs.keys, call.person, account_id, actor=call.actor))


async def grant(call: Call[schemas.RolesGiven, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    done = await account.grant(
        needs.database,
        needs.keys,
        call.person,
        account_id,
        call.body.roles,
        reason=call.body.reason,
        matches=call.matches,
        actor=call.actor,
    )
    needs.door.nudge(account_id)
    return _shown(done)


def _shown(known: Known) -> Reply:
    return Reply(200, render.known_account(known), headers={"ETag": known.mark})
