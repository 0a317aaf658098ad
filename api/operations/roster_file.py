"""Accounts read in from a file and written into one: asked for here, worked off by a job (workers/jobs/)."""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.operations import administration
from models import event, job, organization, role, sheet
from models.csv_text import BOM, Head, HeadFault, read_head, write
from models.database import Database, Transaction
from models.errors import ActionInProgress, Invalid, KeyRequired, KeyReused, NotFound
from models.event import Actor
from models.job import Job
from models.sealed import Keyring
from models.session import Who
from models.sheet import COLUMNS, REQUIRED, RowOutcome, Sheet
from models.vocabulary import JobState, Queue, Task, new_id

PAGE: Final = 500
"""Rows of the report that are read at once."""
REPORT: Final = ("line", "sign_in_name", "outcome", "reason", "field", "rule")


@dataclass(frozen=True, slots=True)
class Asked:
    job: Job
    made: bool
    """False: the same wish, sent again."""


@dataclass(frozen=True, slots=True)
class Shown:
    job: Job
    sheet: Sheet


async def read_in(
    db: Database, keys: Keyring, who: Who, content: bytes, *, dry_run: bool, invite: bool, key: str | None, actor: Actor
) -> Asked:
    """Raises Invalid for what is wrong with the file as a whole; each row has its own say later."""
    # Nobody has a file read who may not send one; and no account is held while it is.
    async with db.write() as tx:
        await administration.must_be(tx, who, role.CREATORS)
    try:
        head = read_head(content, known=COLUMNS, required=REQUIRED)
    except HeadFault as fault:
        raise Invalid(errors=[rule.at("file") for rule in fault.rules]) from None
    said = hashlib.sha256(f"{Task.IMPORT_ACCOUNTS}:{dry_run}:{invite}:".encode())
    said.update(content)  # joined to what stands before it, there would be two of it in memory
    async with db.write() as tx:
        asked = await _ask(tx, who, Task.IMPORT_ACCOUNTS, key, said.digest(), actor=actor)
        if asked.made:
            await sheet.begin(
                tx,
                job_id=asked.job.id,
                organization_id=who.organization_id,
                account_id=who.account_id,
                head=head,
                size=len(content),
                actor=actor,
                now=asked.job.created_at,
                dry_run=dry_run,
                invite=invite,
            )
            await sheet.keep_file(tx, keys, asked.job.id, who.account_id, content)
            await _record(tx, who, asked.job, "begin", actor=actor, facts={"dry_run": dry_run, "invite": invite})
        return asked


async def write_out(db: Database, who: Who, *, key: str | None, actor: Actor) -> Asked:
    said = hashlib.sha256(Task.EXPORT_ACCOUNTS.encode()).digest()
    async with db.write() as tx:
        asked = await _ask(tx, who, Task.EXPORT_ACCOUNTS, key, said, actor=actor)
        if asked.made:
            await sheet.begin(
                tx,
                job_id=asked.job.id,
                organization_id=who.organization_id,
                account_id=who.account_id,
                head=Head(",", COLUMNS, 0),
                size=0,
                actor=actor,
                now=asked.job.created_at,
            )
            await _record(tx, who, asked.job, "begin", actor=actor)
        return asked


async def _ask(tx: Transaction, who: Who, task: Task, key: str | None, said: bytes, *, actor: Actor) -> Asked:
    """One of a kind at a time in an organization. Raises KeyRequired, KeyReused, ActionInProgress."""
    now = await administration.must_be(tx, who, role.CREATORS)
    if key is None:
        raise KeyRequired
    earlier = await job.by_key(tx, who.account_id, key)
    if earlier is not None:
        if earlier.request_hash != said or earlier.organization_id != who.organization_id:
            raise KeyReused
        return Asked(earlier, made=False)
    await organization.hold_roles(tx, who.organization_id)
    under_way = await job.open_task_in(tx, who.organization_id, task)
    if under_way is not None:
        raise ActionInProgress(job_id=under_way.id)
    made = await job.ask(
        tx,
        job_id=new_id(now),
        organization_id=who.organization_id,
        account_id=who.account_id,
        device_id=None,
        act=task,
        queue=Queue.BULK,
        by="administrator",
        idempotency_key=key,
        request_hash=said,
        now=now,
    )
    return Asked(made, made=True)


async def show(db: Database, who: Who, job_id: UUID, task: Task) -> Shown:
    """Of the organization's own, to everybody who could have asked for it."""
    async with db.read() as tx:
        return await _ours(tx, who, job_id, task)


async def rows(
    db: Database, who: Who, job_id: UUID, *, outcome: RowOutcome | None, after: int | None, limit: int
) -> list[Any]:
    async with db.read() as tx:
        await _ours(tx, who, job_id, Task.IMPORT_ACCOUNTS)
        return await sheet.page(tx, job_id, outcome=outcome, after=after, limit=limit)


Words = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]
"""Broken rules with their words, in the language of whoever reads the report."""


async def report(db: Database, who: Who, job_id: UUID, *, words: Words) -> AsyncIterator[bytes]:
    """What became of each row, as a file; a page of it at a time is held."""
    async with db.read() as tx:
        await _ours(tx, who, job_id, Task.IMPORT_ACCOUNTS)
    return _report(db, job_id, words)


async def _report(db: Database, job_id: UUID, words: Words) -> AsyncIterator[bytes]:
    yield BOM + write([REPORT])
    after = 0
    while True:
        async with db.read() as tx:
            found = await sheet.page(tx, job_id, outcome=None, after=after, limit=PAGE)
        lines = [_line(row, error) for row in found for error in words(row.errors) or [{}]]
        if lines:
            yield write(lines)
        if len(found) < PAGE:
            return
        after = found[-1].number


def _line(row: Any, error: Mapping[str, Any]) -> tuple[str, ...]:
    said = error.get("text") or error.get("master") or ""
    return (str(row.line), row.name or "", row.outcome, row.reason or "", error.get("field", ""), said)


async def file(db: Database, keys: Keyring, who: Who, job_id: UUID, *, actor: Actor) -> AsyncIterator[bytes]:
    """Everybody the organization knows: it takes the proof that every act on them takes, and is written down."""
    async with db.write() as tx:
        await administration.must_be(tx, who, role.CREATORS)
        shown = await _ours(tx, who, job_id, Task.EXPORT_ACCOUNTS)
        if shown.job.state is not JobState.SUCCEEDED:
            raise NotFound
        await _record(tx, who, shown.job, "fetch", actor=actor)
    return sheet.file(db, keys, shown.sheet)


async def _ours(tx: Transaction, who: Who, job_id: UUID, task: Task) -> Shown:
    """Raises NotFound: another organization's, of another kind, or erased."""
    held, found = await job.by_id(tx, job_id), await sheet.by_job(tx, job_id)
    if held is None or found is None or held.organization_id != who.organization_id or held.kind is not task:
        raise NotFound
    if not role.holds(who.roles, role.CREATORS) or _is_over(found, await tx.now()):
        raise NotFound
    return Shown(held, found)


def _is_over(found: Sheet, now: datetime) -> bool:
    return found.erase_at is not None and now >= found.erase_at


async def _record(
    tx: Transaction, who: Who, asked: Job, verb: str, *, actor: Actor, facts: dict[str, Any] | None = None
) -> None:
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"account:{asked.kind}:{verb}",
        actor=actor,
        now=await tx.now(),
        account_id=who.account_id,
        subject=("job", asked.id),
        facts=facts,
    )
