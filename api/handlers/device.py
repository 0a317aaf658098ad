"""The person's devices."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import device, disabling


async def page(call: Call[None, schemas.Paging]) -> Reply:
    needs, query = call.needs, call.query
    found = await device.page(needs.database, needs.platforms, call.person, after=query.cursor, limit=query.limit)
    body = schemas.DevicePage(
        items=[_device(one) for one in found],
        next_cursor=render.next_cursor([one.device.id for one in found], query.limit),
    )
    return Reply(200, body)


async def show(call: Call[None, None]) -> Reply:
    needs = call.needs
    return _shown(await device.show(needs.database, needs.platforms, call.person, call.id("device_id")))


async def rename(call: Call[schemas.Renamed, None]) -> Reply:
    needs = call.needs
    return _shown(
        await device.rename(
            needs.database,
            needs.platforms,
            call.person,
            call.id("device_id"),
            name=call.body.name,
            matches=call.matches,
            actor=call.actor,
        )
    )


async def disable(call: Call[schemas.Confirmation, None]) -> Reply:
    call.body.must_be_yes()
    needs, device_id = call.needs, call.id("device_id")
    for account_id in await disabling.disable(needs.database, needs.keys, call.person, device_id, actor=call.actor):
        needs.door.nudge(account_id)
    shown = await device.show(needs.database, needs.platforms, call.person, device_id)
    return Reply(200, _device(shown))


async def page_of(call: Call[None, schemas.KnownDevicesQuery]) -> Reply:
    query = call.query
    found = await disabling.page(
        call.needs.database,
        call.needs.platforms,
        call.person,
        call.id("account_id"),
        disabled=query.include == "disabled",
        after=query.cursor,
        limit=query.limit,
    )
    cursor = render.next_cursor([one.device.id for one in found], query.limit)
    return Reply(200, schemas.KnownDevicePage(items=[render.known_device(one) for one in found], next_cursor=cursor))


async def disable_for(call: Call[schemas.Reason, None]) -> Reply:
    needs = call.needs
    disabled, told = await disabling.disable_for(
        needs.database,
        needs.keys,
        needs.platforms,
        call.person,
        call.id("account_id"),
        call.id("device_id"),
        reason=call.body.reason,
        actor=call.actor,
    )
    for one in told:
        needs.door.nudge(one)
    return Reply(200, render.known_device(disabled))


async def enable(call: Call[None, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    enabled = await disabling.enable(
        needs.database, needs.keys, needs.platforms, call.person, account_id, call.id("device_id"), actor=call.actor
    )
    needs.door.nudge(account_id)
    return Reply(200, render.known_device(enabled))


def _shown(one: device.Shown) -> Reply:
    return Reply(200, _device(one), headers={"ETag": one.device.mark})


def _device(one: device.Shown) -> schemas.Device:
    return render.device(one)
