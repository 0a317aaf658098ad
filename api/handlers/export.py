"""A file of one's own data."""

from api import render, schemas
from api.call import Call, Reply
from api.operations import export
from models.errors import DomainError


async def ask(call: Call[None, None]) -> Reply:
    needs = call.needs
    asked = await export.ask(needs.database, call.person, key=call.idempotency_key, actor=call.actor)
    if isinstance(asked, DomainError):
        raise asked
    if asked.made:
        needs.door.put(asked.job.id, asked.job.queue)
    return Reply(202, render.job(asked.job), headers={"Location": f"/api/v1/jobs/{asked.job.id}"})


async def page(call: Call[None, None]) -> Reply:
    found = await export.page(call.needs.database, call.person)
    return Reply(200, schemas.ExportList(items=[render.export(one) for one in found]))


async def read(call: Call[None, None]) -> Reply:
    needs = call.needs
    made = await export.read(needs.database, call.person, call.id("export_id"), actor=call.actor)
    headers = {
        "Content-Type": "application/json",
        "Content-Disposition": f'attachment; filename="latchkey-{made.ready_at:%Y-%m-%d}.json"',
        "Content-Length": str(made.size),
    }
    return Reply(200, export.parts(needs.database, needs.keys, made), headers=headers)
