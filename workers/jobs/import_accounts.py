"""Read accounts in from a file: so many rows in a transaction, with what became of each, and how far it is.

What a row does and that it was done are kept together or not at all. A run that dies goes on, as another, behind the
last row that was kept: no row is done twice, and none is left out.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from models import account, job, organization, profile, role, roster, sheet, throttle
from models.csv_text import Fault, Reader, Row
from models.database import Transaction
from models.errors import Broken, BrokenRule, DomainError, Invalid, NotAllowed, SignInNameTaken, TooManyTries
from models.event import WORKER
from models.job import Job
from models.profile import FIELDS, Value
from models.roster import SIGN_IN_NAME, Edit, New
from models.sealed import Keyring
from models.sheet import DUPLICATE, PART, Result, RowOutcome, Sheet
from models.throttle import NAMES_TAKEN
from models.vocabulary import LANGUAGES, JobState, Outcome, Reason
from workers import jobs
from workers.needs import Needs

AT_ONCE: Final = 50
"""Rows in a transaction: short enough that nobody who writes meanwhile waits long."""
BATCHES: Final = 100
"""In one run; then whatever else waits has its turn."""


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asked for it, as they are now; held."""

    row: Any
    roles: tuple[str, ...]

    def may_edit(self, whose: Any, roles: Sequence[str]) -> bool:
        if whose.is_operator and not self.row.is_operator:
            return False
        return role.may(role.EDIT, self.roles, roles)


@dataclass(frozen=True, slots=True)
class _Known:
    """An account that a row may be about."""

    row: Any
    roles: tuple[str, ...]
    page: profile.Profile


@dataclass(frozen=True, slots=True)
class _There:
    """Who is called as the rows say: the organization's own, None for one who is deleted, and anybody elsewhere."""

    ours: Mapping[str, _Known | None]
    elsewhere: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Read:
    """A row that could be read: its cells that hold something, by column."""

    line: int
    name: str
    given: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Make:
    line: int
    person: New
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class _Change:
    line: int
    known: _Known
    edit: Edit


async def run(needs: Needs, held: Job) -> None:
    begun = await _begin(needs, held)
    if begun is None:
        return
    rows = _rows(needs, begun)
    going = True
    for _ in range(BATCHES):
        batch = [row async for row in _some(rows)]
        going = await _work_off(needs, held, batch)
        needs.fault.mark("import.committed")
        if not going:
            return
    await jobs.give_way(needs, held)


async def _begin(needs: Needs, held: Job) -> Sheet | None:
    """None: this run had lost its lease."""
    async with needs.database.write() as tx:
        current = await jobs.still_held(tx, held)
        found = await sheet.by_job(tx, held.id)
        if current is None or found is None:
            return None
        if current.state is JobState.QUEUED and not await job.begin(tx, current, await tx.now()):
            return None
        return found


async def _rows(needs: Needs, found: Sheet) -> AsyncIterator[Row]:
    """From where it stands. A part at a time is held, and nothing of the database meanwhile."""
    reader = Reader(found.head, at=found.position, line=found.line)
    number, skip = divmod(found.position, PART)
    while True:
        async with needs.database.read() as tx:
            content = await sheet.part(tx, needs.keys, found, number)
        if content is None:
            break
        for row in reader.feed(content[skip:]):
            yield row
        number, skip = number + 1, 0
    for row in reader.end():
        yield row


async def _some(rows: AsyncIterator[Row]) -> AsyncIterator[Row]:
    for _ in range(AT_ONCE):
        try:
            yield await anext(rows)
        except StopAsyncIteration:
            return


async def _work_off(needs: Needs, held: Job, batch: Sequence[Row]) -> bool:
    """Whether there may be more to do for this run."""
    async with needs.database.write() as tx:
        current = await jobs.still_held(tx, held)
        found = await sheet.by_job(tx, held.id)
        if current is None or found is None:
            return False
        # From where somebody asked is sealed under their key, as ever.
        found = replace(found, actor=replace(found.actor, keys=needs.keys))
        read = [_read(row, found.head.columns) for row in batch]
        there, asker = await _hold(tx, found, {one.name for one in read if isinstance(one, _Read)})
        now = await tx.now()
        ended = asker is None or len(batch) < AT_ONCE
        if asker is None:
            # What was right when it was asked for is not any more: what is done stays, and nothing is added to it.
            outcome = Outcome(JobState.FAILED, Reason.ROLE_WITHDRAWN)
            await jobs.end(tx, current, outcome, actor=WORKER, now=now, fence=True)
        else:
            results = await _do(tx, needs.keys, found, asker, read, there, now)
            position, line = (batch[-1].end, batch[-1].next_line) if batch else (found.size, found.line)
            await sheet.note(tx, found, results, position=found.size if ended else position, line=line)
            if ended:
                await jobs.end(tx, current, Outcome(JobState.SUCCEEDED), actor=WORKER, now=now, fence=True)
            else:
                await job.renew(tx, current, now)
        needs.fault.mark("import.before_commit")
    if ended:
        needs.door.nudge(held.account_id)
    return not ended


async def _hold(tx: Transaction, found: Sheet, names: set[str]) -> tuple[_There, _Asker | None]:
    """Whom the rows are about and who asked, held together in the one order.

    No asker: they may not do this any more.
    """
    there = await account.by_sign_in_names(tx, names)
    ours = [one.id for one in there if one.organization_id == found.organization_id]
    held = {one.id: one for one in await account.lock_all(tx, {*ours, found.account_id})}
    roles = await organization.roles_of_all(tx, found.organization_id, [*ours, found.account_id])
    pages = await profile.of_accounts(tx, ours)
    known = {
        one.sign_in_name: _Known(held[one.id], roles.get(one.id, ()), pages[one.id])
        if one.id in held and held[one.id].deleted_at is None and one.id in pages
        else None
        for one in there
        if one.organization_id == found.organization_id
    }
    named = _There(known, frozenset(one.sign_in_name for one in there) - known.keys())
    asking, mine = held.get(found.account_id), roles.get(found.account_id, ())
    if asking is None or asking.blocked_at is not None or not role.holds(mine, role.CREATORS):
        return named, None
    return named, _Asker(asking, mine)


async def _do(
    tx: Transaction,
    keys: Keyring,
    found: Sheet,
    asker: _Asker,
    read: Sequence[_Read | Result],
    there: _There,
    now: datetime,
) -> list[Result]:
    names = {one.name for one in read if isinstance(one, _Read)}
    # How many of others' names may still be told of: when none, every name that is not ours is refused alike.
    counter, strange = str(found.organization_id), names - there.ours.keys()
    room = await throttle.left(tx, NAMES_TAKEN, counter, now) if strange else 0
    told = 0
    before = set(await sheet.names_before(tx, found.job_id, names))
    decided: list[Result | _Make | _Change] = []
    for one in read:
        if isinstance(one, Result):
            decided.append(one)
        elif one.name in before:
            decided.append(Result(one.line, one.name, RowOutcome.REFUSED, DUPLICATE))
        elif one.name in strange and told >= room:
            before.add(one.name)
            decided.append(Result(one.line, one.name, RowOutcome.REFUSED, TooManyTries.code))
        else:
            before.add(one.name)
            told += one.name in there.elsewhere
            try:
                decided.append(await _decide(tx, found, asker, one, there, now))
            except DomainError as error:
                decided.append(Result(one.line, one.name, RowOutcome.REFUSED, error.code, _errors(error)))
    made = await _make(tx, keys, found, [one for one in decided if isinstance(one, _Make)], now)
    results = []
    for wanted in decided:
        if isinstance(wanted, Result):
            results.append(wanted)
        elif isinstance(wanted, _Make):
            name = wanted.person.names.sign_in_name
            # Since it was looked for, somebody else was faster.
            taken = name not in made
            told += taken
            results.append(
                Result(wanted.line, name, RowOutcome.REFUSED, SignInNameTaken.code)
                if taken
                else Result(wanted.line, name, RowOutcome.CREATED)
            )
        else:
            if not found.dry_run:
                await roster.apply(tx, keys, wanted.known.row, wanted.edit, actor=found.actor, now=now)
            results.append(Result(wanted.line, wanted.known.row.sign_in_name, RowOutcome.CHANGED))
    if told:
        await throttle.take_many(tx, NAMES_TAKEN, counter, told, now)
    return results


def _read(row: Row, columns: Sequence[str]) -> _Read | Result:
    if row.fault is not None:
        return Result(
            row.line, None, RowOutcome.REFUSED, row.fault.value, _COLUMNS if row.fault is Fault.COLUMNS else ()
        )
    given = {name: cell for name, cell in zip(columns, row.cells, strict=True) if cell.strip()}
    name = account.clean_sign_in_name(given.pop(SIGN_IN_NAME, ""))
    if name is None:
        return Result(row.line, None, RowOutcome.REFUSED, Invalid.code, (roster.NAME_BROKEN,))
    return _Read(row.line, name, given)


_COLUMNS: Final[tuple[Broken, ...]] = ({"field": "", "rule": "cells"},)


async def _decide(
    tx: Transaction,
    found: Sheet,
    asker: _Asker,
    row: _Read,
    there: _There,
    now: datetime,
) -> Result | _Make | _Change:
    """Raises DomainError, which is why the row is refused."""
    whose = there.ours.get(row.name)
    if row.name in there.elsewhere or (whose is None and row.name in there.ours):
        raise SignInNameTaken
    if whose is None:
        return await _new(tx, found, row, now)
    given = roster.real_changes(whose.page, row.given)
    if not given:
        return Result(row.line, row.name, RowOutcome.UNCHANGED)
    if not asker.may_edit(whose.row, whose.roles):
        raise NotAllowed
    edit = await roster.read_edit(tx, whose.row, whose.page, given, now)
    return _Change(row.line, whose, edit)


async def _new(tx: Transaction, found: Sheet, row: _Read, now: datetime) -> _Make:
    given = dict(row.given)
    names = roster.read_names(row.name, given.pop("display_name", ""))
    language = given.pop("language", LANGUAGES[0])
    errors: list[Broken] = []
    if language not in LANGUAGES:
        errors.append(BrokenRule("choice", choices=", ".join(LANGUAGES)).at("language"))
    values: dict[str, Value] = {}
    for name, text in given.items():
        try:
            values[name] = FIELDS[name].read(text)
        except BrokenRule as broken:
            errors.append(broken.at(name))
    if errors:
        raise Invalid(errors=errors)
    if values.get("manager") is not None:
        await roster.must_be_there(tx, found.organization_id, UUID(str(values["manager"])), now)
    return _Make(row.line, New(names, language), {name: one for name, one in values.items() if one is not None})


async def _make(
    tx: Transaction, keys: Keyring, found: Sheet, wanted: Sequence[_Make], now: datetime
) -> Mapping[str, UUID | None]:
    """The names that are somebody's from now on; of a dry run, that could be."""
    if found.dry_run:
        return {one.person.names.sign_in_name: None for one in wanted}
    made = await roster.make_many(
        tx,
        keys,
        [one.person for one in wanted],
        organization_id=found.organization_id,
        made_by=found.account_id,
        invite=found.invite,
        by="import",
        actor=found.actor,
        now=now,
    )
    values = {
        made[one.person.names.sign_in_name]: one.values for one in wanted if one.person.names.sign_in_name in made
    }
    await profile.begin(tx, found.organization_id, values)
    return made


def _errors(error: DomainError) -> tuple[Mapping[str, str | int], ...]:
    """For the report: fields and rules, and of what is mastered elsewhere where and until when."""
    if isinstance(error, Invalid):
        return tuple(error.facts["errors"])  # type: ignore[arg-type] # a list of such
    return ({name: str(value) for name, value in error.facts.items()},) if error.facts else ()


close: Final = sheet.close
