"""Accounts as a file: one that is read in, row by row, or one that is made. A job works it off (workers/jobs/).

How far it is, what became of each row, and what the rows did are written in one transaction: a run that dies in between
has done nothing, and the next one goes on behind the last row that was kept.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import person_key
from models.base import Id, Json, Moment, metadata, partial_index
from models.csv_text import Head
from models.database import Database, Transaction
from models.event import Actor
from models.job import Job, Told
from models.profile import FIELDS, Editor
from models.roster import SIGN_IN_NAME
from models.sealed import Keyring, SealBroken
from models.settings import SHEET_FILE_KEPT, SHEET_REPORT_KEPT
from models.vocabulary import JobState, Outcome, Task

COLUMNS: Final = (
    SIGN_IN_NAME,
    "language",
    *(field.name for field in FIELDS.values() if field.editor is Editor.ADMINISTRATOR),
)
"""Of both kinds of file: what is made can be read in again."""
REQUIRED: Final = (SIGN_IN_NAME,)

LONGEST: Final = 16 * 1024 * 1024
"""Bytes of a file that is read in."""
PART: Final = 64 * 1024
"""Bytes of it that are read at once."""
PURPOSE: Final = "sheet"

sheet = sa.Table(
    "sheet",
    metadata,
    sa.Column("job_id", Id, sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, comment="who asked"),
    sa.Column("asked_from", Json, nullable=False, comment="session, request, address and client, for the record"),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("invite", sa.Boolean, nullable=False),
    sa.Column("delimiter", sa.Text, nullable=False),
    sa.Column("columns", Json, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False, comment="bytes, or accounts of a file that is made"),
    sa.Column("position", sa.BigInteger, nullable=False, comment="bytes, or accounts"),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("last_name", sa.Text, nullable=True, comment="of the last account that was written"),
    sa.Column("parts", sa.Integer, nullable=False, comment="of a file that is made"),
    sa.Column("counts", Json, nullable=False, comment="rows by what became of them"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("erase_at", Moment, nullable=True),
    partial_index("ix_sheet_erase", "erase_at", where="erase_at IS NOT NULL"),
)

sheet_part = sa.Table(
    "sheet_part",
    metadata,
    sa.Column("job_id", Id, sa.ForeignKey("sheet.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="under the key of whoever asked"),
    comment="the file itself; erased when it was read, or can be fetched no more",
)

sheet_row = sa.Table(
    "sheet_row",
    metadata,
    sa.Column("job_id", Id, sa.ForeignKey("sheet.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("line", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=True, comment="the sign-in name, where the row has one"),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("errors", Json, nullable=False, comment="fields and rules; never what was typed"),
    sa.Index("ix_sheet_row_name", "name", "job_id"),
    sa.Index("ix_sheet_row_outcome", "job_id", "outcome", "number"),
)


class RowOutcome(StrEnum):
    """What became of a row; of a dry run, what would have."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Sheet:
    job_id: UUID
    organization_id: UUID
    account_id: UUID
    actor: Actor
    dry_run: bool
    invite: bool
    head: Head
    size: int
    position: int
    line: int
    last_name: str | None
    parts: int
    counts: Mapping[str, int]
    created_at: datetime
    erase_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Sheet":
        return cls(
            job_id=row.job_id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            actor=_actor(row.account_id, row.asked_from),
            dry_run=row.dry_run,
            invite=row.invite,
            head=Head(row.delimiter, tuple(row.columns), 0),
            size=row.size,
            position=row.position,
            line=row.line,
            last_name=row.last_name,
            parts=row.parts,
            counts=row.counts,
            created_at=row.created_at,
            erase_at=row.erase_at,
        )

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Result:
    """Of one row."""

    line: int
    name: str | None
    outcome: RowOutcome
    reason: str | None = None
    errors: tuple[Mapping[str, str | int], ...] = ()


def _actor(account_id: UUID, asked: Mapping[str, Any]) -> Actor:
    """What a row does is the doing of who asked for it, from where they asked."""
    session_id = asked.get("session_id")
    return Actor(
        kind="account",
        id=account_id,
        session_id=None if session_id is None else UUID(session_id),
        request_id=asked.get("request_id"),
        address=asked.get("address"),
        client=asked.get("client"),
    )


async def begin(
    tx: Transaction,
    *,
    job_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    head: Head,
    size: int,
    actor: Actor,
    now: datetime,
    dry_run: bool = False,
    invite: bool = False,
) -> None:
    asked = {
        "session_id": None if actor.session_id is None else str(actor.session_id),
        "request_id": actor.request_id,
        "address": actor.address,
        "client": actor.client,
    }
    await tx.execute(
        sa.insert(sheet).values(
            job_id=job_id,
            organization_id=organization_id,
            account_id=account_id,
            asked_from=asked,
            dry_run=dry_run,
            invite=invite,
            delimiter=head.delimiter,
            columns=list(head.columns),
            size=size,
            position=head.end,
            line=2,
            parts=0,
            counts={},
            created_at=now,
        )
    )


async def keep_file(tx: Transaction, keys: Keyring, job_id: UUID, account_id: UUID, content: bytes) -> None:
    """One that is to be read in."""
    for number, at in enumerate(range(0, len(content), PART)):
        await _keep_part(tx, keys, job_id, account_id, number, content[at : at + PART])


async def _keep_part(
    tx: Transaction, keys: Keyring, job_id: UUID, account_id: UUID, number: int, content: bytes
) -> None:
    """Sealed under the key of whoever asked, with whom it goes. Raises LookupError: they are there no more."""
    key = await person_key.take(tx, keys, account_id)
    if key is None:
        raise LookupError("there is nobody to keep it for")
    sealed = key.seal(content, purpose=PURPOSE, owner=(job_id, str(number)))
    await tx.execute(sa.insert(sheet_part).values(job_id=job_id, number=number, content=sealed))


async def by_job(tx: Transaction, job_id: UUID) -> Sheet | None:
    row = (await tx.execute(sa.select(sheet).where(sheet.c.job_id == job_id))).one_or_none()
    return None if row is None else Sheet.of(row)


async def part(tx: Transaction, keys: Keyring, held: Sheet, number: int) -> bytes | None:
    """None: there is no such part, or none any more. Raises SealBroken."""
    statement = sa.select(sheet_part.c.content).where(sheet_part.c.job_id == held.job_id, sheet_part.c.number == number)
    sealed = (await tx.execute(statement)).scalar_one_or_none()
    if sealed is None:
        return None
    key = (await person_key.find(tx, keys, [held.account_id])).get(held.account_id)
    if key is None:
        raise SealBroken
    return key.open(sealed, purpose=PURPOSE, owner=(held.job_id, str(number)))


async def file(db: Database, keys: Keyring, held: Sheet) -> AsyncIterator[bytes]:
    """Part by part: nobody holds the whole."""
    number = 0
    while True:
        async with db.read() as tx:
            content = await part(tx, keys, held, number)
        if content is None:
            return
        if content:
            yield content
        number += 1


async def names_before(tx: Transaction, job_id: UUID, names: Collection[str]) -> frozenset[str]:
    """Which of these an earlier row of the file had already."""
    statement = sa.select(sheet_row.c.name).where(
        sheet_row.c.job_id == job_id, sheet_row.c.name.in_(names), sheet_row.c.reason.is_distinct_from(DUPLICATE)
    )
    return frozenset((await tx.execute(statement)).scalars())


DUPLICATE: Final = "duplicate_row"


async def note(
    tx: Transaction, held: Sheet, results: Sequence[Result], *, position: int, line: int
) -> Mapping[str, int]:
    """So far it is. The rows by what became of them, from the first on."""
    counts = dict(held.counts)
    for one in results:
        counts[one.outcome.value] = counts.get(one.outcome.value, 0) + 1
    if results:
        rows = [
            {
                "job_id": held.job_id,
                "number": held.rows + at,
                "line": one.line,
                "name": one.name,
                "outcome": one.outcome.value,
                "reason": one.reason,
                "errors": [dict(error) for error in one.errors],
            }
            for at, one in enumerate(results, 1)
        ]
        await tx.execute(sa.insert(sheet_row), rows)
    await _set(tx, held.job_id, position=position, line=line, counts=counts)
    return counts


async def note_part(
    tx: Transaction, keys: Keyring, held: Sheet, content: bytes, *, accounts: int, last_name: str | None
) -> None:
    """Of a file that is made: the next part of it."""
    await _keep_part(tx, keys, held.job_id, held.account_id, held.parts, content)
    await _set(
        tx, held.job_id, parts=held.parts + 1, position=held.position + accounts, last_name=last_name or held.last_name
    )


async def close(tx: Transaction, held: Job, outcome: Outcome, now: datetime) -> Told | None:
    """The job is over, so or otherwise. What was read in is erased at once; what became of it stays for a while.

    What its person is told.
    """
    found = await by_job(tx, held.id)
    if found is None:
        return None
    succeeded = outcome.state is JobState.SUCCEEDED
    if held.kind is Task.EXPORT_ACCOUNTS:
        until = now + SHEET_FILE_KEPT
        await _close(tx, held.id, keep_parts=succeeded, erase_at=until)
        params = {"accounts": found.position, "until": until.isoformat(timespec="seconds")}
        return Told(f"job.{held.kind}.{outcome.state}", params)
    await _close(tx, held.id, keep_parts=False, erase_at=now + SHEET_REPORT_KEPT)
    counts = {one.value: found.counts.get(one.value, 0) for one in RowOutcome}
    tried = "tried" if succeeded else "trial_stopped"
    return Told(f"job.{held.kind}.{tried if found.dry_run else outcome.state}", {"rows": found.rows, **counts})


async def _close(tx: Transaction, job_id: UUID, *, keep_parts: bool, erase_at: datetime) -> None:
    if not keep_parts:
        await tx.execute(sa.delete(sheet_part).where(sheet_part.c.job_id == job_id))
    await _set(tx, job_id, erase_at=erase_at)


async def page(
    tx: Transaction, job_id: UUID, *, outcome: RowOutcome | None, after: int | None, limit: int
) -> list[Any]:
    """What became of each row, in the order of the file."""
    statement = sa.select(sheet_row).where(sheet_row.c.job_id == job_id).order_by(sheet_row.c.number).limit(limit)
    if outcome is not None:
        statement = statement.where(sheet_row.c.outcome == outcome.value)
    if after is not None:
        statement = statement.where(sheet_row.c.number > after)
    return list((await tx.execute(statement)).all())


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """The report and what is left of the file first, so many rows at a time; then what had them."""
    over = sheet.c.erase_at <= now
    erased = await _empty(tx, over, limit)
    if erased >= limit:
        return erased
    # Only those that nothing hangs on any more are reached: what a sheet takes along has no limit.
    empty = sa.select(sheet.c.job_id).where(over).limit(limit - erased).scalar_subquery()
    return erased + (await tx.execute(sa.delete(sheet).where(sheet.c.job_id.in_(empty)))).rowcount


async def empty(tx: Transaction, job_ids: Sequence[UUID], limit: int) -> int:
    """Of what these jobs had, so many rows at most: then the jobs can go, without taking thousands along at once."""
    return await _empty(tx, sheet.c.job_id.in_(job_ids), limit)


async def _empty(tx: Transaction, which: sa.ColumnElement[bool], limit: int) -> int:
    erased = 0
    for table in (sheet_row, sheet_part):
        some = (
            sa.select(table.c.job_id, table.c.number)
            .join(sheet, sheet.c.job_id == table.c.job_id)
            .where(which)
            .limit(limit - erased)
        )
        named = sa.tuple_(table.c.job_id, table.c.number).in_(some)
        erased += (await tx.execute(sa.delete(table).where(named))).rowcount
        if erased >= limit:
            break
    return erased


async def forget(tx: Transaction, name: str, limit: int) -> int:
    """Whoever was called so is erased: reports of any organization say what became of a row, and no longer of whose."""
    some = sa.select(sheet_row.c.job_id, sheet_row.c.number).where(sheet_row.c.name == name).limit(limit)
    named = sa.tuple_(sheet_row.c.job_id, sheet_row.c.number).in_(some)
    return (await tx.execute(sa.update(sheet_row).where(named).values(name=None))).rowcount


async def _set(tx: Transaction, job_id: UUID, **values: Any) -> None:
    await tx.execute(sa.update(sheet).where(sheet.c.job_id == job_id).values(**values))
