"""Accounts read in from a file, and written into one."""

from functools import partial

from api import render, schemas
from api.call import Call, Reply
from api.operations import roster_file
from api.operations.roster_file import Asked
from models.sheet import RowOutcome
from models.vocabulary import Task

CSV = "text/csv"
_AS_FILE = {"Content-Type": f"{CSV}; charset=utf-8"}


async def read_in(call: Call[bytes, schemas.ImportQuery]) -> Reply:
    asked = await roster_file.read_in(
        call.needs.database,
        call.needs.keys,
        call.person,
        call.body,
        dry_run=call.query.dry_run,
        invite=call.query.invite,
        key=call.idempotency_key,
        actor=call.actor,
    )
    return _asked(call, asked, "account-imports")


async def write_out(call: Call[None, None]) -> Reply:
    asked = await roster_file.write_out(call.needs.database, call.person, key=call.idempotency_key, actor=call.actor)
    return _asked(call, asked, "account-exports")


def _asked(call: Call[bytes, schemas.ImportQuery] | Call[None, None], asked: Asked, where: str) -> Reply:
    if asked.made:
        call.needs.door.put(asked.job.id, asked.job.queue)
    return Reply(202, render.job(asked.job), headers={"Location": f"/api/v1/{where}/{asked.job.id}"})


async def show_import(call: Call[None, None]) -> Reply:
    shown = await roster_file.show(call.needs.database, call.person, call.id("account_import_id"), Task.IMPORT_ACCOUNTS)
    return Reply(200, render.account_import(shown))


async def rows(call: Call[None, schemas.ImportRowQuery]) -> Reply:
    query = call.query
    found = await roster_file.rows(
        call.needs.database,
        call.person,
        call.id("account_import_id"),
        outcome=None if query.outcome is None else RowOutcome(query.outcome),
        after=query.cursor,
        limit=query.limit,
    )
    items = [render.import_row(row, call.person.language, call.needs.texts) for row in found]
    cursor = found[-1].number if len(found) == query.limit else None
    return Reply(200, schemas.ImportRowPage(items=items, next_cursor=cursor))


async def report(call: Call[None, None]) -> Reply:
    needs, who = call.needs, call.person
    content = await roster_file.report(
        needs.database, who, call.id("account_import_id"), words=partial(needs.texts.broken, who.language)
    )
    return Reply(200, content, headers={**_AS_FILE, "Content-Disposition": 'attachment; filename="report.csv"'})


async def show_export(call: Call[None, None]) -> Reply:
    shown = await roster_file.show(call.needs.database, call.person, call.id("account_export_id"), Task.EXPORT_ACCOUNTS)
    return Reply(200, render.account_export(shown))


async def file(call: Call[None, None]) -> Reply:
    content = await roster_file.file(
        call.needs.database, call.needs.keys, call.person, call.id("account_export_id"), actor=call.actor
    )
    return Reply(200, content, headers={**_AS_FILE, "Content-Disposition": 'attachment; filename="accounts.csv"'})
