"""Transactions are whole or nothing, on both databases; nobody waits where nobody must."""

import asyncio
import sqlite3
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from models import database as module
from models.base import Moment, metadata
from models.database import Database, DatabaseDown, Transaction
from models.organization import organization
from models.settings import DatabaseSettings, SettingsError
from tests.clock import NOON, Clock
from tests.people import found, hire
from tests.servers import PostgreSQLServer

DEADLINE = 10
duty = metadata.tables["duty"]
ROOT = Path(__file__).parents[2]


def line(name: str, holder: str = "me") -> sa.Insert:
    return sa.insert(duty).values(name=name, holder=holder, until=NOON)


async def write(database: Database, *names: str) -> None:
    async with database.write() as tx:
        for name in names:
            await tx.execute(line(name))


async def names(database: Database) -> list[str]:
    async with database.read() as tx:
        return list((await tx.execute(sa.select(duty.c.name).order_by(duty.c.name))).scalars())


@pytest.fixture
async def sqlite(sqlite_settings: DatabaseSettings) -> AsyncIterator[Database]:
    database = Database(sqlite_settings)
    await database.open()
    yield database
    await database.close()


# Whole or nothing


async def test_what_a_block_wrote_is_kept_when_it_ends(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(line("a"))
        await tx.execute(line("b"))

    assert await names(database) == ["a", "b"]


async def test_nothing_is_kept_when_it_raises(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as tx:
            await tx.execute(line("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    async with database.write() as tx:
        await tx.execute(line("b"))
    assert await names(database) == ["b"]


async def test_nobody_sees_what_is_not_committed(database: Database) -> None:
    async with database.write() as tx:
        await tx.execute(line("a"))
        assert await names(database) == []


async def test_an_ended_transaction_does_nothing_more(database: Database) -> None:
    async with database.write() as written:
        pass
    async with database.read() as read:
        pass

    for tx in (written, read):
        with pytest.raises(RuntimeError, match="has ended"):
            await tx.execute(line("a"))
    assert await names(database) == []


async def test_a_broken_rule_is_told_as_such_and_the_connection_lives_on(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        await write(database, "a", "a")

    async with database.write() as tx:
        await tx.execute(line("b"))
    assert await names(database) == ["b"]


async def test_a_block_that_goes_on_after_a_failed_statement_keeps_nothing_and_is_told_so(database: Database) -> None:
    await write(database, "a")

    async def go_on() -> None:
        async with database.write() as tx:
            await tx.execute(line("b"))
            with pytest.raises(sa.exc.IntegrityError):
                await tx.execute(line("a"))

    with pytest.raises(RuntimeError, match="nothing of it is kept"):
        await go_on()

    assert await names(database) == ["a"]
    await write(database, "c")


async def test_references_are_kept(database: Database) -> None:
    membership = metadata.tables["membership"]
    person = await hire(database, await found(database, NOON), "anna", NOON)
    with pytest.raises(sa.exc.IntegrityError):
        async with database.write() as tx:
            await tx.execute(sa.delete(metadata.tables["account"]).where(sa.column("id", sa.Uuid) == person.id))

    async with database.read() as tx:
        assert (await tx.execute(sa.select(sa.func.count()).select_from(membership))).scalar_one() == 1


async def test_a_wrong_statement_is_no_outage(database: Database) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        async with database.write() as tx:
            await tx.execute(sa.text("SELECT * FROM nowhere"))

    assert not isinstance(caught.value, DatabaseDown)


async def test_a_cancelled_writer_leaves_a_clean_connection(database: Database) -> None:
    reached = asyncio.Event()

    async def hang() -> None:
        async with database.write() as tx:
            await tx.execute(line("a"))
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    async with asyncio.timeout(DEADLINE):
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await write(database, "b")

    assert await names(database) == ["b"]


async def test_cancelled_at_any_moment_it_is_whole_or_nothing(database: Database) -> None:
    """Step by step: cancelled after each number of turns of the loop."""

    async def write(turn: int) -> None:
        async with database.write() as tx:
            await tx.execute(line(f"{turn}-1"))
            await tx.execute(line(f"{turn}-2"))

    for turn in range(40):
        task = asyncio.create_task(write(turn))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait([task])

    async with database.write() as tx:
        await tx.execute(line("after"))
    kept = set(await names(database))
    assert "after" in kept
    assert all((f"{turn}-1" in kept) is (f"{turn}-2" in kept) for turn in range(40))


# Turns


async def test_writers_take_turns_first_come_first_served(sqlite: Database) -> None:
    order: list[int] = []

    async def write(number: int) -> None:
        async with sqlite.write() as tx:
            await tx.execute(line(str(number)))
            order.append(number)

    await asyncio.gather(*(write(number) for number in range(50)))

    assert order == list(range(50))


async def test_a_cancelled_writer_in_the_queue_holds_nobody_up(sqlite: Database) -> None:
    async def write(name: str) -> None:
        async with sqlite.write() as tx:
            await tx.execute(line(name))

    async with sqlite.write() as tx:
        waiting = [asyncio.create_task(write(name)) for name in "abc"]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await tx.execute(line("first"))
    await asyncio.gather(*waiting, return_exceptions=True)

    assert await names(sqlite) == ["a", "c", "first"]


async def test_two_databases_on_one_file_lose_nothing(sqlite_settings: DatabaseSettings) -> None:
    both = Database(sqlite_settings), Database(sqlite_settings)
    for database in both:
        await database.open()

    async def count(database: Database, number: int) -> None:
        async with database.write() as tx:
            statement = sa.update(duty).values(holder=sa.cast(sa.cast(duty.c.holder, sa.Integer) + 1, sa.Text))
            await tx.execute(statement)

    async with both[0].write() as tx:
        await tx.execute(line("count", "0"))
    await asyncio.gather(*(count(database, number) for number in range(50) for database in both))

    async with both[0].read() as tx:
        assert (await tx.execute(sa.select(duty.c.holder))).scalar_one() == "100"
    for database in both:
        await database.close()


COUNT = """
import asyncio, sys
import sqlalchemy as sa
from models.database import Database
from models.duty import duty
from models.settings import DatabaseSettings

async def main():
    database = Database(DatabaseSettings(sys.argv[1]))
    await database.open()
    for _ in range(50):
        async with database.write() as tx:
            seen = (await tx.execute(sa.select(duty.c.holder).with_for_update())).scalar_one()
            await asyncio.sleep(0)
            await tx.execute(sa.update(duty).values(holder=str(int(seen) + 1)))
    await database.close()

asyncio.run(main())
"""


async def test_processes_that_race_lose_nothing(database: Database, database_settings: DatabaseSettings) -> None:
    async with database.write() as tx:
        await tx.execute(line("count", "0"))

    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", COUNT, database_settings.url, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        )
        for _ in range(2)
    ]
    assert await asyncio.gather(*(process.wait() for process in processes)) == [0, 0]

    async with database.read() as tx:
        assert (await tx.execute(sa.select(duty.c.holder))).scalar_one() == "100"


async def test_a_reader_never_waits_for_a_writer(
    sqlite: Database, sqlite_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_commit, go = threading.Event(), threading.Event()
    execute = module._File.execute

    def held(file: Any, sql: str, *parameters: Any) -> Any:
        if sql == "COMMIT":
            in_commit.set()
            assert go.wait(DEADLINE)
        return execute(file, sql, *parameters)

    monkeypatch.setattr(module._File, "execute", held, raising=False)

    async def write() -> None:
        async with sqlite.write() as tx:
            await tx.execute(line("a"))

    task = asyncio.create_task(write())
    try:
        assert await asyncio.to_thread(in_commit.wait, DEADLINE)
        async with asyncio.timeout(DEADLINE):
            assert await names(sqlite) == []
    finally:
        go.set()
    await task
    assert await names(sqlite) == ["a"]


async def test_a_reader_changes_nothing(sqlite: Database) -> None:
    with pytest.raises((sa.exc.DBAPIError, DatabaseDown)):
        async with sqlite.read() as tx:
            await tx.execute(line("a"))

    assert await names(sqlite) == []


async def test_an_unread_answer_keeps_no_old_snapshot(sqlite: Database) -> None:
    async with sqlite.write() as tx:
        for name in "abc":
            await tx.execute(line(name))
    async with sqlite.read() as tx:
        answer = await tx.execute(sa.select(duty.c.name).order_by(duty.c.name))
        first = answer.fetchone()
        async with sqlite.write() as other:
            await other.execute(sa.delete(duty))
        rest = [*answer.fetchmany(1), *answer.fetchall()]

    assert first is not None
    assert [first.name, *(row.name for row in rest)] == ["a", "b", "c"]
    assert await names(sqlite) == []


# Trouble


async def test_a_file_that_another_keeps_locked_is_down_after_our_patience(
    sqlite: Database, sqlite_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    other = sqlite3.connect(sqlite_settings.url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseDown):
        async with sqlite.write():
            pytest.fail("it had no turn")

    assert await names(sqlite) == []
    other.execute("ROLLBACK")
    other.close()
    async with sqlite.write() as tx:
        await tx.execute(line("a"))
    assert await names(sqlite) == ["a"]


async def test_a_writer_behind_a_long_one_gives_up_in_time(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def late() -> None:
        async with sqlite.write():
            pytest.fail("it had no turn")

    async with sqlite.write() as tx:
        with pytest.raises(DatabaseDown):
            await asyncio.create_task(late())
        await tx.execute(line("a"))
    assert await names(sqlite) == ["a"]


async def test_a_patience_that_ends_just_as_the_turn_comes_leaves_the_turn_to_the_next(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(name: str) -> None:
        async with sqlite.write() as tx:
            await tx.execute(line(name))

    for patience in range(20):
        monkeypatch.setattr(module, "PATIENCE", patience / 5000)
        await asyncio.gather(*(write(f"{patience}-{number}") for number in range(5)), return_exceptions=True)
    monkeypatch.undo()

    async with asyncio.timeout(DEADLINE):
        await write("last")
    assert "last" in await names(sqlite)


async def test_a_disk_that_is_full_is_an_outage_and_nothing_is_kept(sqlite: Database) -> None:
    driver: Any = sqlite._driver
    pages = driver._writer.file.execute("PRAGMA page_count").fetchone()[0]
    driver._writer.file.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DatabaseDown):
        await write(sqlite, *(f"{number}" * 2000 for number in range(200)))

    driver._writer.file.execute("PRAGMA max_page_count=1000000")
    async with sqlite.write() as tx:
        await tx.execute(line("a"))
    assert await names(sqlite) == ["a"]


async def test_a_commit_that_is_refused_keeps_nothing(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = sqlite3.OperationalError("disk I/O error")
    refused.sqlite_errorname = "SQLITE_IOERR_FSYNC"  # what SQLite itself would say

    execute = module._File.execute

    def refuse(file: Any, sql: str) -> Any:
        if sql == "COMMIT":
            raise refused
        return execute(file, sql)

    monkeypatch.setattr(module._File, "execute", refuse, raising=False)
    with pytest.raises(DatabaseDown):
        async with sqlite.write() as tx:
            await tx.execute(line("a"))
    monkeypatch.undo()

    async with sqlite.write() as tx:
        await tx.execute(line("b"))
    assert await names(sqlite) == ["b"]


async def test_a_file_that_cannot_be_opened_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_PATIENCE", 0)
    database = Database(DatabaseSettings(f"sqlite:///{tmp_path}/nowhere/latchkey.db"))

    with pytest.raises(DatabaseDown):
        await database.open()


@pytest.mark.parametrize("kind", ["write", "read"])
async def test_before_it_is_opened_and_after_it_is_closed_it_is_down(
    sqlite_settings: DatabaseSettings, kind: str
) -> None:
    database = Database(sqlite_settings)
    with pytest.raises(DatabaseDown):
        async with getattr(database, kind)():
            pytest.fail("there is nothing to ask")
    await database.open()
    await database.open()
    await database.close()
    with pytest.raises(DatabaseDown):
        async with getattr(database, kind)():
            pytest.fail("there is nothing to ask")
    await database.close()


async def test_a_server_that_stops_is_an_outage_and_its_return_needs_nothing_of_us(
    postgresql_server: PostgreSQLServer,
) -> None:
    database = Database(DatabaseSettings(postgresql_server.url(), connections=4))
    await database.open()

    async def ask() -> int:
        async with database.write() as tx:
            return int((await tx.execute(sa.select(sa.literal(1)))).scalar_one())

    async def look() -> int:
        async with database.read() as tx:
            return int((await tx.execute(sa.select(sa.literal(1)))).scalar_one())

    assert await asyncio.gather(*(ask() for _ in range(4)), *(look() for _ in range(4))) == [1] * 8  # a full pool
    try:
        postgresql_server.stop()
        for question in (ask, look, ask, look):
            with pytest.raises(DatabaseDown):
                await question()
    finally:
        postgresql_server.start()

    assert await ask() == 1
    assert await look() == 1
    await database.close()


async def test_a_server_that_stops_in_the_middle_is_an_outage(postgresql_server: PostgreSQLServer) -> None:
    database = Database(DatabaseSettings(postgresql_server.url()))
    await database.open()

    async def ask(*, again: bool) -> None:
        async with database.write() as tx:
            await tx.execute(sa.select(sa.literal(1)))
            postgresql_server.stop()
            if again:
                await tx.execute(sa.select(sa.literal(1)))

    try:
        with pytest.raises(DatabaseDown):
            await ask(again=True)
        postgresql_server.start()
        with pytest.raises(DatabaseDown):
            await ask(again=False)
    finally:
        postgresql_server.stop()
        postgresql_server.start()

    async with database.write() as tx:
        assert (await tx.execute(sa.select(sa.literal(1)))).scalar_one() == 1
    await database.close()


@pytest.mark.parametrize("kind", ["write", "read"])
async def test_a_pool_without_a_free_connection_is_an_outage(
    postgresql_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    async with getattr(database, kind)() as tx:
        await tx.execute(sa.select(sa.literal(1)))
        with pytest.raises(DatabaseDown):
            async with getattr(database, kind)():
                pytest.fail("there was none free")
    await database.close()


async def test_who_writes_can_still_look(postgresql_settings: DatabaseSettings) -> None:
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    async with database.write() as tx:
        await tx.execute(line("a"))
        assert await names(database) == []
    assert await names(database) == ["a"]
    await database.close()


async def test_a_connection_comes_back_clean_whatever_happened_on_it(postgresql_settings: DatabaseSettings) -> None:
    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    for wrong in (sa.text("SELECT * FROM nowhere"), sa.text("SELECT 1/0")):
        with pytest.raises(sa.exc.DBAPIError):
            async with database.write() as tx:
                await tx.execute(wrong)
        with pytest.raises(sa.exc.DBAPIError):
            async with database.read() as tx:
                await tx.execute(wrong)
        assert await names(database) == []
    async with database.write() as tx:
        await tx.execute(line("a"))
        idle = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        )
        async with database.read() as other:
            assert (await other.execute(idle)).scalar_one() == 1
    async with database.read() as tx:
        assert (await tx.execute(idle)).scalar_one() == 0
    await database.close()


async def test_a_connection_that_cannot_be_cleaned_is_nobody_elses(
    postgresql_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    from models.pipeline import Pipeline

    database = Database(DatabaseSettings(postgresql_settings.url, connections=1))
    pid = sa.select(sa.func.pg_backend_pid())

    async def refused(*_: object) -> None:
        raise psycopg.OperationalError("another command is already in progress")

    seen = []

    async def break_off() -> None:
        async with database.write() as tx:
            seen.append((await tx.execute(pid)).scalar_one())
            await tx.execute(line("a"))
            monkeypatch.setattr(Pipeline, "send", refused)
            raise LookupError

    with pytest.raises(LookupError):
        await break_off()
    monkeypatch.undo()

    async with database.write() as tx:
        assert (await tx.execute(pid)).scalar_one() not in seen
        await tx.execute(line("b"))
    assert await names(database) == ["b"]
    await database.close()


# Time


class Counted(Clock):
    asked = 0

    def __call__(self) -> datetime:
        self.asked += 1
        return super().__call__()


async def test_a_transaction_asks_the_time_once(database_settings: DatabaseSettings) -> None:
    clock = Counted()
    database = Database(database_settings, clock)
    await database.open()
    async with database.write() as tx:
        assert clock.asked == 0
        first = await tx.now()
        clock.forward(1)
        assert (await tx.now(), clock.asked) == (first, 1)
        row = (await tx.execute(sa.select(tx.now_column()))).one()
        assert tx.heard_now(row.now) == first
    async with database.read() as tx:
        assert await tx.now() == NOON + timedelta(seconds=1)
    await database.close()


async def test_without_a_clock_of_ours_the_databases_or_the_hosts_is_asked(database_settings: DatabaseSettings) -> None:
    database = Database(database_settings)
    await database.open()
    before = datetime.now(UTC)
    async with database.write() as tx:
        now = await tx.now()
        heard = (await tx.execute(sa.select(tx.now_column()))).one().now
    async with database.write() as tx:
        merged = tx.heard_now((await tx.execute(sa.select(tx.now_column()))).one().now)
        assert await tx.now() == merged
    after = datetime.now(UTC)
    await database.close()

    assert before <= now == heard <= merged <= after
    assert now.tzinfo is UTC


async def test_the_time_is_that_after_the_locks(postgresql_settings: DatabaseSettings) -> None:
    database = Database(postgresql_settings)
    await database.open()
    async with database.write() as tx:
        await tx.execute(line("a"))
    began = asyncio.Event()

    async def wait_for_the_lock() -> datetime:
        async with database.write() as tx:
            await tx.execute(sa.select(sa.literal(1)))
            began.set()
            await tx.execute(sa.select(duty).with_for_update())
            return await tx.now()

    async with database.write() as tx:
        await tx.execute(sa.select(duty).with_for_update())
        waiting = asyncio.create_task(wait_for_the_lock())
        await began.wait()
        held_until = (await tx.execute(sa.select(sa.func.clock_timestamp(type_=Moment)))).scalar_one()
    assert await waiting >= held_until
    await database.close()


def test_the_first_answer_about_the_time_stays() -> None:
    tx = Transaction(None, None)  # type: ignore[arg-type] # it asks nobody

    assert tx.heard_now(NOON) == NOON
    assert tx.heard_now(NOON + timedelta(seconds=1)) == NOON


def test_a_clock_must_say_its_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Transaction(None, None).heard_now(datetime(2026, 1, 1))  # type: ignore[arg-type]  # noqa: DTZ001 - the point


@given(
    st.datetimes(
        min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the strategy adds the zone
        max_value=datetime(9999, 12, 28),  # noqa: DTZ001 - as above
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12, minutes=-7))]),
    )
)
def test_a_moment_comes_back_to_the_microsecond_from_sqlite(moment: datetime) -> None:
    dialect = sa.create_engine("sqlite://").dialect
    stored = Moment().process_bind_param(moment, dialect)

    assert isinstance(stored, int)
    back = Moment().process_result_value(stored, dialect)
    assert back is not None
    assert (back, back.tzinfo) == (moment, UTC)


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2))
def test_moments_sort_as_their_numbers(moments: list[datetime]) -> None:
    dialect = sa.create_engine("sqlite://").dialect

    assert sorted(moments) == sorted(moments, key=lambda moment: Moment().process_bind_param(moment, dialect))


@pytest.mark.parametrize(
    "moment",
    [
        NOON.replace(microsecond=1),
        NOON.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=5, minutes=30))),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
async def test_a_moment_comes_back_from_the_database_itself(database: Database, moment: datetime) -> None:
    async with database.write() as tx:
        await tx.execute(line("a"))
        statement = sa.update(duty).values(until=moment).where(duty.c.until < moment + timedelta(0)).returning(duty)
        await tx.execute(sa.update(duty).values(until=moment))
        assert (await tx.execute(statement)).one_or_none() is None
        back = (await tx.execute(sa.select(duty.c.until).where(duty.c.until == moment))).scalar_one()

    assert (back, back.tzinfo) == (moment, UTC)


async def test_a_moment_without_a_time_zone_is_refused(database: Database) -> None:
    with pytest.raises(sa.exc.StatementError, match="time zone"):
        async with database.write() as tx:
            await tx.execute(sa.update(duty).values(until=datetime(2026, 1, 1)))  # noqa: DTZ001 - the point


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, "ü", None, True, 1.5]}, {"deep": {"deeper": [{"x": "\N{GRINNING FACE}"}]}}]
)
async def test_json_comes_back_as_it_went(database: Database, value: Any) -> None:
    organization_id = await found(database, NOON, value)

    async with database.read() as tx:
        settings = sa.select(organization.c.settings).where(organization.c.id == organization_id)
        assert (await tx.execute(settings)).scalar_one() == value


def test_an_address_with_a_password_is_not_printed() -> None:
    assert "hunter2" not in repr(DatabaseSettings("postgresql://me:hunter2@host/name"))


# What errors tell


@pytest.mark.parametrize("missing", [True, False])
async def test_an_error_quotes_no_value_of_the_row_at_fault(database: Database, missing: bool) -> None:
    code = "7hK2" + "mPq9"
    values = {"name": code, "holder": None if missing else code, "until": NOON}

    async def fail() -> None:
        async with database.write() as tx:
            await tx.execute(line(code))
            await tx.execute(sa.insert(duty).values(values))

    with pytest.raises(sa.exc.IntegrityError) as caught:
        await fail()

    told = "".join(traceback.format_exception(caught.value))
    assert code not in told
    assert "duty" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "postgresql://me:hunter2@host:hunter2/name",
        "mysql://me:hunter2@host/name",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        Database(DatabaseSettings(url))

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


# Cancelled where it hurts


async def test_a_cancellation_is_not_replaced_by_an_error() -> None:
    """Who tries again after DatabaseDown must not miss that it was told to end."""
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(module._to_the_end(work))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    work.set_exception(DatabaseDown("lost"))

    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, DatabaseDown)


async def test_everybody_cancelled_during_a_commit_the_next_turn_comes_after_it(sqlite: Database) -> None:
    """As when a loop ends: also the task that only we know of is cancelled."""
    driver: Any = sqlite._driver
    go = threading.Event()

    async def write(name: str) -> None:
        async with sqlite.write() as tx:
            await tx.execute(line(name))

    others = asyncio.all_tasks()
    driver._thread.submit(go.wait, DEADLINE)  # the COMMIT waits behind it
    first = asyncio.create_task(write("a"))
    await asyncio.sleep(0)
    second = asyncio.create_task(write("b"))
    for _ in range(3):
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - others - {second}:
            task.cancel()
    assert not first.done()
    go.set()

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
    assert await names(sqlite) == ["a", "b"]


async def test_closing_waits_for_a_transaction_that_ends(sqlite: Database) -> None:
    async with sqlite.write() as tx:
        closing = asyncio.create_task(sqlite.close())
        await asyncio.sleep(0)
        late = asyncio.create_task(write(sqlite, "late"))
        await asyncio.sleep(0)
        await tx.execute(line("a"))
        assert not closing.done()
    await closing
    with pytest.raises(DatabaseDown):
        await late

    await sqlite.open()
    assert await names(sqlite) == ["a"]


async def test_closing_takes_back_a_transaction_that_does_not_end(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)

    async def hang() -> None:
        async with sqlite.write() as tx:
            await tx.execute(line("a"))
            await sqlite.close()

    with pytest.raises(sa.exc.ProgrammingError):
        await hang()

    await sqlite.open()
    assert await names(sqlite) == []


async def test_where_nothing_changed_no_disk_is_waited_for(sqlite: Database) -> None:
    driver: Any = sqlite._driver
    go = threading.Event()
    driver._thread.submit(go.wait, DEADLINE)
    try:
        async with asyncio.timeout(DEADLINE / 2), sqlite.write() as tx:
            await tx.execute(sa.update(duty).values(holder="nobody"))
    finally:
        go.set()


@pytest.mark.parametrize(
    ("after", "told", "words"),
    [((), RuntimeError, "nothing of it is kept"), (("b",), DatabaseDown, "taken this transaction back")],
)
async def test_a_transaction_that_sqlite_took_back_is_not_kept_piecemeal(
    sqlite: Database, after: tuple[str, ...], told: type[Exception], words: str
) -> None:
    async def go_on() -> None:
        async with sqlite.write() as tx:
            await tx.execute(line("a"))
            with pytest.raises(sa.exc.IntegrityError):
                await tx.execute(line("a").prefix_with("OR ROLLBACK"))
            for name in after:
                await tx.execute(line(name))

    with pytest.raises(told, match=words):
        await go_on()

    await write(sqlite, "c")
    assert await names(sqlite) == ["c"]


@pytest.fixture
async def postgresql(postgresql_settings: DatabaseSettings) -> AsyncIterator[Database]:
    database = Database(postgresql_settings)
    await database.open()
    yield database
    await database.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again: what we wait for happens in another process, which tells nobody."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)


def counted(database: Database, event: str, number: int) -> Callable[[], Awaitable[bool]]:
    """So many sessions of PostgreSQL wait for this event."""
    question = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = :event"
    ).bindparams(event=event)

    async def ask() -> bool:
        async with database.read() as tx:
            return bool((await tx.execute(question)).scalar_one() == number)

    return ask


async def test_a_commit_under_way_in_postgresql_is_waited_for_and_then_the_cancellation_follows(
    postgresql: Database,
) -> None:
    async with postgresql.write() as tx:
        for statement in (
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON duty DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION slow()",
        ):
            await tx.execute(sa.text(statement))

    async def write() -> None:
        async with postgresql.write() as tx:
            await tx.execute(line("a"))

    async with postgresql.write() as tx:
        await tx.execute(sa.text("SELECT pg_advisory_xact_lock(1)"))
        task = asyncio.create_task(write())
        await until(counted(postgresql, "advisory", 1))
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        assert await names(postgresql) == []
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await names(postgresql) == ["a"]
    async with postgresql.write() as tx:
        await tx.execute(sa.text("DROP FUNCTION slow CASCADE"))


async def test_a_cancelled_statement_ends_on_the_server_too(postgresql: Database) -> None:
    async def write() -> None:
        async with postgresql.write() as tx:
            await tx.execute(line("a"))
            await tx.execute(sa.text("SELECT pg_sleep(29)"))

    task = asyncio.create_task(write())
    await until(counted(postgresql, "PgSleep", 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await until(counted(postgresql, "PgSleep", 0))
    assert await names(postgresql) == []


# PostgreSQL's own


async def test_a_server_that_was_away_unnoticed_is_found_again_at_the_first_question(
    postgresql_server: PostgreSQLServer,
) -> None:
    database = Database(DatabaseSettings(postgresql_server.url(), connections=4))
    await database.open()

    async def ask() -> int:
        async with database.write() as tx:
            return int((await tx.execute(sa.select(sa.literal(1)))).scalar_one())

    assert await asyncio.gather(*(ask() for _ in range(4))) == [1] * 4
    postgresql_server.stop()
    postgresql_server.start()

    assert await asyncio.gather(*(ask() for _ in range(4))) == [1] * 4
    await database.close()


async def test_who_is_opened_before_the_server_waits_for_it(
    postgresql_server: PostgreSQLServer, caplog: pytest.LogCaptureFixture
) -> None:
    postgresql_server.stop()
    try:
        database = Database(DatabaseSettings(postgresql_server.url()))
        opening = asyncio.create_task(database.open())

        async def told() -> bool:
            return "not up yet" in caplog.text

        await until(told)
        assert not opening.done()
    finally:
        postgresql_server.start()

    async with asyncio.timeout(DEADLINE):
        await opening
    await database.close()


async def test_a_connection_lost_unnoticed_hides_neither_an_answer_nor_an_error(postgresql: Database) -> None:
    pid = sa.select(sa.func.pg_backend_pid())

    async def cut(victim: int) -> None:
        async with postgresql.write() as tx:
            await tx.execute(sa.select(sa.func.pg_terminate_backend(victim, 5000)))

    async def lose(error: Exception | None) -> None:
        async with postgresql.write() as tx:
            await tx.execute(line("a"))
            await cut((await tx.execute(pid)).scalar_one())
            if error is not None:
                raise error

    async with postgresql.read() as tx:
        await cut((await tx.execute(pid)).scalar_one())
    with pytest.raises(ZeroDivisionError):
        await lose(ZeroDivisionError())
    with pytest.raises(DatabaseDown):
        await lose(None)

    assert await names(postgresql) == []


async def test_each_session_is_told_its_zone_and_its_limits(postgresql: Database) -> None:
    settings = {
        "timezone": "UTC",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "30s",
        "application_name": "latchkey",
    }
    async with postgresql.read() as tx:
        for name, value in settings.items():
            assert (await tx.execute(sa.text(f"SHOW {name}"))).scalar_one() == value


async def test_reading_opens_no_transaction_and_writing_opens_one(postgresql: Database) -> None:
    number = sa.select(sa.func.pg_current_xact_id().cast(sa.Text))
    async with postgresql.read() as tx:
        read = {(await tx.execute(number)).scalar_one() for _ in range(3)}
    async with postgresql.write() as tx:
        written = {(await tx.execute(number)).scalar_one() for _ in range(3)}

    assert (len(read), len(written)) == (3, 1)


# Many at once


async def test_an_insert_that_counts_up_loses_no_count(database: Database) -> None:
    async def count() -> None:
        async with database.write() as tx:
            statement = tx.insert(duty).values(name="count", holder="1", until=NOON)
            more = sa.cast(sa.cast(duty.c.holder, sa.Integer) + 1, sa.Text)
            await tx.execute(statement.on_conflict_do_update(index_elements=[duty.c.name], set_={"holder": more}))

    await asyncio.gather(*(count() for _ in range(30)))

    async with database.read() as tx:
        assert (await tx.execute(sa.select(duty.c.holder))).scalar_one() == "30"


BUSY = """
import asyncio, sys
import sqlalchemy as sa
from models.database import Database
from models.duty import duty
from models.settings import DatabaseSettings

async def main():
    database = Database(DatabaseSettings(sys.argv[1]))
    await database.open()
    async def write():
        while True:
            async with database.write() as tx:
                await tx.execute(sa.update(duty).values(holder="busy"))
    await asyncio.gather(*(write() for _ in range(4)))

asyncio.run(main())
"""


async def test_a_process_that_writes_without_end_does_not_starve_another(
    sqlite: Database, sqlite_settings: DatabaseSettings
) -> None:
    async def busy() -> bool:
        async with sqlite.read() as tx:
            return bool((await tx.execute(sa.select(duty.c.holder))).scalar_one() == "busy")

    await write(sqlite, "a")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BUSY, sqlite_settings.url, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    try:
        await until(busy)
        async with asyncio.timeout(DEADLINE):
            for _ in range(20):
                async with sqlite.write() as tx:
                    await tx.execute(sa.update(duty).values(holder="ours"))
                await until(busy)
    finally:
        process.kill()
        await process.wait()
