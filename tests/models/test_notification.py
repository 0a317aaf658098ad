"""One line for each subject, numbered for its account without a gap."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models import notification
from models.database import Database
from models.notification import UNREAD_SHOWN, Notification, Severity
from models.settings import NOTIFICATION_KEPT
from models.vocabulary import new_id
from tests.clock import NOON, Clock
from tests.people import Person, found, hire

MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Flag:
    db: Database
    clock: Clock
    person: Person

    async def tell(self, subject_id: UUID | None = None, key: str = "job.ready", **params: Any) -> UUID:
        subject_id = subject_id or new_id(self.clock.now)
        async with self.db.write() as tx:
            await notification.tell(
                tx,
                organization_id=self.person.organization_id,
                account_id=self.person.id,
                subject_id=subject_id,
                key=key,
                params=params,
                severity=Severity.SUCCESS,
                now=self.clock.now,
            )
        return subject_id

    async def page(
        self, *, before: int | None = None, unread_only: bool = False, limit: int = 200
    ) -> list[Notification]:
        async with self.db.read() as tx:
            return await notification.page(
                tx,
                self.person.organization_id,
                self.person.id,
                now=self.clock.now,
                before=before,
                unread_only=unread_only,
                limit=limit,
            )

    async def after(self, seq: int, limit: int = 200) -> list[int]:
        async with self.db.read() as tx:
            whose = self.person.organization_id, self.person.id
            after = notification.after_question(*whose, seq, self.clock.now, limit)
            return [line.seq for line in (await tx.ask(*after)).rows]

    async def unread(self) -> int:
        async with self.db.read() as tx:
            return await notification.unread(tx, self.person.organization_id, self.person.id, self.clock.now)

    async def mark(self, line: Notification, *, read: bool = True, organization_id: UUID | None = None) -> Any:
        async with self.db.write() as tx:
            organization_id = organization_id or self.person.organization_id
            read_at = self.clock.now if read else None
            return await notification.mark(tx, organization_id, self.person.id, line.id, read_at=read_at)


@pytest.fixture
async def flag(database: Database, clock: Clock) -> Flag:
    return Flag(database, clock, await hire(database, await found(database, NOON), "anna", NOON))


async def test_lines_are_numbered_and_come_newest_first(flag: Flag) -> None:
    for _ in range(5):
        await flag.tell()

    assert [line.seq for line in await flag.page()] == [5, 4, 3, 2, 1]
    assert [line.seq for line in await flag.page(limit=2)] == [5, 4]
    assert [line.seq for line in await flag.page(before=4, limit=2)] == [3, 2]
    assert await flag.after(3) == [4, 5]
    assert await flag.after(0, limit=2) == [1, 2]


async def test_fifty_told_at_once_leave_no_gap(flag: Flag) -> None:
    await asyncio.gather(*(flag.tell() for _ in range(50)))

    assert await flag.after(0) == list(range(1, 51))


async def test_whoever_reads_a_number_has_missed_nothing_below_it(flag: Flag) -> None:
    """A later line cannot be seen before an earlier one that is still being written."""
    seen: list[int] = []
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            seen.extend(await flag.after(seen[-1] if seen else 0))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await asyncio.gather(*(flag.tell() for _ in range(30)))
    done.set()
    await looking
    seen.extend(await flag.after(seen[-1] if seen else 0))

    assert seen == list(range(1, 31))


async def test_what_is_told_anew_replaces_what_was_told(flag: Flag) -> None:
    subject_id = await flag.tell(device="old")
    await flag.tell()
    [first] = [line for line in await flag.page() if line.seq == 1]
    await flag.mark(first)
    flag.clock.forward(60)

    await flag.tell(subject_id, "job.failed", device="new")

    newest, other = await flag.page()
    assert (newest.id, newest.seq, newest.version, newest.key) == (first.id, 3, 2, "job.failed")
    assert (newest.params, newest.read_at) == ({"device": "new"}, None)
    assert (newest.created_at, newest.expires_at) == (NOON, flag.clock.now + NOTIFICATION_KEPT)
    assert other.seq == 2


async def test_the_count_of_unread_ones_stops_where_nobody_counts(flag: Flag) -> None:
    async with flag.db.write() as tx:
        for number in range(UNREAD_SHOWN + 5):
            await notification.tell(
                tx,
                organization_id=flag.person.organization_id,
                account_id=flag.person.id,
                subject_id=UUID(int=number),
                key="job.ready",
                params={},
                severity=Severity.INFO,
                now=NOON,
            )

    assert await flag.unread() == UNREAD_SHOWN + 1
    for line in (await flag.page())[:10]:
        await flag.mark(line)
    assert await flag.unread() == UNREAD_SHOWN + 5 - 10
    assert len(await flag.page(unread_only=True, limit=200)) == UNREAD_SHOWN + 5 - 10


async def test_read_and_unread_again(flag: Flag) -> None:
    await flag.tell()
    [line] = await flag.page()

    assert (await flag.mark(line)).read_at == NOON
    assert await flag.unread() == 0
    assert (await flag.mark(line, read=False)).read_at is None
    assert await flag.unread() == 1


async def test_nobody_marks_what_is_not_theirs(flag: Flag) -> None:
    await flag.tell()
    [line] = await flag.page()

    assert await flag.mark(line, organization_id=new_id(NOON)) is None
    async with flag.db.write() as tx:
        assert (await notification.mark(tx, flag.person.organization_id, new_id(NOON), line.id, read_at=NOON)) is None
    assert await flag.unread() == 1


async def test_reading_all_spares_what_came_after_the_look(flag: Flag) -> None:
    for _ in range(4):
        await flag.tell()

    async with flag.db.write() as tx:
        marked = await notification.mark_all_read(tx, flag.person.organization_id, flag.person.id, 3, NOON)
    assert marked == 3
    assert [line.seq for line in await flag.page(unread_only=True)] == [4]


async def test_a_line_is_gone_at_its_last_moment_and_erased_then(flag: Flag) -> None:
    await flag.tell()
    flag.clock.forward(NOTIFICATION_KEPT - MOMENT)
    await flag.tell()
    assert (await flag.unread(), len(await flag.page())) == (2, 2)
    async with flag.db.write() as tx:
        assert await notification.erase_due(tx, flag.clock.now, 10) == 0

    flag.clock.forward(MOMENT)
    assert (await flag.unread(), await flag.after(0), len(await flag.page())) == (1, [2], 1)
    async with flag.db.write() as tx:
        assert await notification.erase_due(tx, flag.clock.now, 10) == 1
    await flag.tell()
    assert await flag.after(0) == [2, 3]
