"""The one door to the database: transactions, their clock, and every difference between the two databases.

**PostgreSQL** goes through psycopg and SQLAlchemy's asyncio engine.

**SQLite** goes through the plain synchronous engine, on the event loop itself. What makes SQLite slow under asyncio is
not SQL, it is handing each statement to a thread and back, several times the statement's own cost. So statements run
in place, and only what truly waits is sent to this database's one thread: COMMIT, which syncs the disk. This is safe
because
- a statement is executed and read to its end in one step of the loop (`_Cursor`), so one read connection serves
  everybody and never keeps an old snapshot open;
- the one write connection belongs to one transaction at a time, handed on first come, first served;
- asking for the file's write lock never blocks: where another process holds it, we ask again a little later;
- readers never wait for writers, nor writers for readers (WAL);
- while a COMMIT is under way in the thread nobody else can reach its connection, cancelled or not.
"""

import asyncio
import logging
import random
import select
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa
import tenacity

from models.base import Moment
from models.hot import Answer, Hot, Message, Question, Values
from models.settings import DatabaseSettings, SettingsError

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.dialects.postgresql import Insert
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from models.pipeline import Pipeline

log = logging.getLogger(__name__)

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Done = TypeVar("Done")

PATIENCE: Final = 10.0
"""Seconds a transaction waits for its turn (a writer, a pooled connection) before it says that the database is away."""

START_PATIENCE: Final = 60.0
"""Seconds `open` waits: a database container that recovers after a crash needs tens of seconds; more is a fault."""


NOW_COLUMN: Final = sa.func.clock_timestamp(type_=Moment).label("now")
"""What `Transaction.now_column` is where only the database knows the time: PostgreSQL's clock."""

STATEMENT_NOW: Final = sa.func.statement_timestamp(type_=Moment)
"""For a WHERE, where only the database knows the time: one value for the whole statement, which an index can use."""


class Timed:
    """A hot statement that depends on the time, in two spellings: it is told, or looks at PostgreSQL's clock itself."""

    __slots__ = ("_looks", "_told")

    def __init__(self, write: Callable[[sa.ColumnElement[datetime]], sa.Executable]) -> None:
        self._told = Hot(write(sa.bindparam("now", type_=Moment)))
        self._looks = Hot(write(STATEMENT_NOW))

    def question(self, now: datetime | None, values: Values) -> Question:
        """`now`: None where `Transaction.known_now` is."""
        return (self._looks, values) if now is None else (self._told, {**values, "now": now})


class Inserting:
    """A hot statement that begins with `Transaction.insert`, of which each database brings its own."""

    __slots__ = ("_spelled", "_write")

    def __init__(self, write: Callable[["type[Insert]"], sa.Executable]) -> None:
        self._write = write
        self._spelled: dict[type[Insert], Hot] = {}

    def by(self, insert: "type[Insert]") -> Hot:
        if insert not in self._spelled:
            self._spelled[insert] = Hot(self._write(insert))
        return self._spelled[insert]


_CLOCK: Final = Hot(sa.select(NOW_COLUMN))


class DatabaseDown(Exception):
    """The database could not do it now: lost, unreachable, out of time or of space. Trying again later may work.

    Nothing of the transaction was kept, with one exception that no client can close: when the connection is lost
    during COMMIT itself, it may have been kept.
    """


class Soon:
    """An answer that comes with the next statement of its transaction, or with its COMMIT."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        self._answer: Answer | None = None

    def come(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def answer(self) -> Answer:
        if self._answer is None:
            raise RuntimeError("nothing was sent since it was asked")
        return self._answer


class Transaction:
    """One transaction. It remembers what time it is."""

    def __init__(self, connection: "_Connection", clock: Callable[[], datetime] | None) -> None:
        self._connection = connection
        self._clock = clock
        self._now: datetime | None = None
        self._later: list[Question] = []
        self._soon: dict[int, Soon] = {}
        self._posted: list[UUID] = []
        self._tasked: list[UUID] = []
        self._failed: BaseException | None = None
        self._ended = False
        self.remembered: dict[Any, Any] = {}
        """What a noun found out and may need again before this transaction ends. It goes with it."""

    async def execute(self, statement: sa.Executable, parameters: Parameters = None) -> sa.CursorResult[Any]:
        self._must_live()
        if self._later:
            await self.together()
        try:
            return await self._connection.execute(statement, parameters)
        except BaseException as error:
            self._failed = error
            raise

    async def ask(self, hot: Hot, values: Values) -> Answer:
        return (await self.together((hot, values)))[0]

    async def together(self, *questions: Question) -> list[Answer]:
        """Several statements, one after the other, in one round trip. Each sees what those before it did."""
        self._must_live()
        kept = len(self._later)
        sent, self._later = [*self._later, *questions], []
        try:
            answers = await self._connection.ask(sent)
        except BaseException as error:
            self._failed = error
            raise
        self.came(answers)
        return answers[kept:]

    def came(self, answers: Sequence[Answer]) -> None:
        """Of all that was to be sent."""
        awaited, self._soon = self._soon, {}
        for place, soon in awaited.items():
            soon.come(answers[place])

    async def together_and_now(self, *questions: Question) -> list[Answer]:
        """And what time it is after all of them, which waits for their locks; `now` then asks nothing more."""
        if self.knows_time:
            return await self.together(*questions)
        *answers, clock = await self.together(*questions, (_CLOCK, {}))
        self.heard_now(clock.one().now)
        return answers

    def later(self, hot: Hot, values: Values) -> None:
        """A change whose answer nobody reads: sent with the next statement, or with COMMIT, always in this order.

        What is wrong with it is told there.
        """
        self._must_live()
        self._later.append((hot, values))

    def soon(self, hot: Hot, values: Values) -> Soon:
        """A question that can wait for the next statement, and travels with it; the last ones with COMMIT."""
        soon = self._soon[len(self._later)] = Soon()
        self.later(hot, values)
        return soon

    def posted(self, delivery_id: UUID) -> None:
        """A delivery was left to the workers: they are rung once this transaction is kept."""
        self._must_live()
        self._posted.append(delivery_id)

    def tasked(self, job_id: UUID) -> None:
        """The same for a job that nobody else rings for: what is done for an account."""
        self._must_live()
        self._tasked.append(job_id)

    @property
    def to_ring(self) -> Sequence[UUID]:
        return self._posted

    @property
    def to_run(self) -> Sequence[UUID]:
        return self._tasked

    def _must_live(self) -> None:
        if self._ended:
            raise RuntimeError("this transaction has ended")

    def must_be_whole(self) -> None:
        """PostgreSQL would answer COMMIT with a silent ROLLBACK after a failed statement, SQLite keep the others."""
        if self._failed is not None:
            kind = DatabaseDown if isinstance(self._failed, DatabaseDown) else RuntimeError
            raise kind("a statement of this transaction failed: nothing of it is kept") from self._failed

    def end(self) -> Sequence[Question]:
        """Nothing more is taken; what is still to be sent."""
        self._ended = True
        return self._later

    async def now(self) -> datetime:
        """The transaction's time, asked once. Ask after the locks are held: what waited for them is older."""
        known = self.known_now
        return known if known is not None else self.heard_now((await self.ask(_CLOCK, {})).one().now)

    @property
    def known_now(self) -> datetime | None:
        """None: only the database knows, and a statement that needs the time can look at its clock itself (`Timed`)."""
        if self._now is None and self._clock is not None:
            return self.heard_now(self._clock())
        return self._now

    def now_column(self) -> sa.ColumnElement[datetime]:
        """The question as a column `now`, to merge into a statement that is sent anyway; give `heard_now` the answer.

        In a SELECT that itself waits for locks PostgreSQL may look at its clock before the wait: merge it into a
        statement after that one, or into the RETURNING of an UPDATE, which is worked out when the row is locked.
        """
        known = self._now if self._now is not None else self._clock() if self._clock is not None else None
        if known is not None:
            return sa.literal(known, Moment).label("now")
        return NOW_COLUMN

    @property
    def knows_time(self) -> bool:
        """Whether `now()` asks nothing of the database: a statement written once need not carry the question."""
        return self._now is not None or self._clock is not None

    def heard_now(self, value: datetime) -> datetime:
        """Remember the answer; the first one heard stays."""
        if value.tzinfo is None:
            raise ValueError("a clock must say its time zone")
        if self._now is None:
            self._now = value.astimezone(UTC)
        return self._now

    @property
    def insert(self) -> "type[Insert]":
        """The INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`, spelled alike on both."""
        return self._connection.insert


class Database:
    """The database of one process, opened on the event loop that uses it."""

    def __init__(self, settings: DatabaseSettings, clock: Callable[[], datetime] | None = None) -> None:
        """`clock` overrules the database's (PostgreSQL) and the host's (SQLite)."""
        url = _read_url(settings.url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.dialect = "sqlite" if self.is_sqlite else "postgresql"
        self._driver: _Driver = _Sqlite(url) if self.is_sqlite else _PostgreSQL(url, settings.connections)
        self._clock = clock if clock is not None else _host_clock if self.is_sqlite else None
        self.ring: Callable[[UUID], None] = _nobody_hears
        """Called with each delivery of a transaction that was kept; must neither wait nor raise. Set by whoever wires
        a process: what nobody rings, the sweep does."""
        self.ring_task: Callable[[UUID], None] = _nobody_hears
        """The same, with each job of a transaction that was left to the workers by `Transaction.tasked`."""

    async def open(self) -> None:
        """Wait until the database is there. It may come up later than we do."""
        # Random pauses, so that all processes of a deployment do not knock together at a database that just came up.
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(DatabaseDown),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2),
            stop=tenacity.stop_after_delay(START_PATIENCE),
            before_sleep=lambda state: log.warning("the database is not up yet: %s", _why(state)),
            reraise=True,
        )
        await attempts(self._driver.open)

    async def close(self) -> None:
        await self._driver.close()

    def roughly_now(self) -> datetime:
        """Without asking the database: good enough for what lasts months, a certificate say; decides nothing else."""
        return self._clock() if self._clock is not None else _host_clock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Kept as a whole when the block ends, not at all when it raises.

        A task cancelled meanwhile ends with one of the two: a COMMIT once begun is waited for, then it is cancelled.
        """
        connection = await self._driver.begin()
        transaction = Transaction(connection, self._clock)
        try:
            yield transaction
            transaction.must_be_whole()
        except BaseException:
            transaction.end()
            await connection.rollback()
            raise
        transaction.came(await connection.commit(transaction.end()))
        for delivery_id in transaction.to_ring:
            self.ring(delivery_id)
        for job_id in transaction.to_run:
            self.ring_task(job_id)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """Statements that change nothing, each with its own snapshot; no BEGIN and no COMMIT are sent."""
        connection = await self._driver.look()
        transaction = Transaction(connection, self._clock)
        try:
            yield transaction
        finally:
            unsent = transaction.end()
            await connection.release()
        if unsent:
            raise RuntimeError("a change where nothing is written")


async def _to_the_end(work: Awaitable[Done]) -> Done:
    """Wait for it however often we are cancelled meanwhile; then be cancelled, whatever became of it.

    An error must not take the cancellation's place: who tries again after errors would never end.
    """
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError as cancelled:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise cancelled from (None if future.cancelled() else future.exception())


def _read_url(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL cannot be read") from None  # what failed may quote the password
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise SettingsError("DATABASE_URL must name sqlite or postgresql")
    return url


def _why(state: tenacity.RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome is not None else None
    return "no reason given" if error is None else str(error)


def _nobody_hears(_: UUID) -> None:
    pass


def _host_clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one place that reads it: SQLite has no clock better than its host's


class _Connection(Protocol):
    async def execute(self, statement: sa.Executable, parameters: Parameters) -> sa.CursorResult[Any]: ...
    async def ask(self, questions: Sequence[Question]) -> list[Answer]: ...
    @property
    def insert(self) -> "type[Insert]": ...

    # Either one ends the transaction and frees the connection, even when cancelled or failing.
    async def commit(self, later: Sequence[Question]) -> list[Answer]: ...
    async def rollback(self) -> None: ...

    async def release(self) -> None: ...


class _Driver(Protocol):
    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def begin(self) -> _Connection: ...
    async def look(self) -> _Connection: ...


class _Cursor(sqlite3.Cursor):
    """Reads its answer to the end at once, so that no statement stays under way between two steps of the loop."""

    def __init__(self, file: sqlite3.Connection) -> None:
        super().__init__(file)
        self._rows: deque[Any] = deque()

    def execute(self, sql: str, parameters: Any = (), /) -> "_Cursor":
        super().execute(sql, parameters)
        self._rows = deque(super().fetchall()) if self.description is not None else deque()
        return self

    def fetchone(self) -> Any:
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        return [self._rows.popleft() for _ in range(min(size or 1, len(self._rows)))]

    def fetchall(self) -> list[Any]:
        rows = list(self._rows)
        self._rows.clear()
        return rows


class _File(sqlite3.Connection):
    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _Cursor)


_TROUBLE: Final = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_NOMEM")


def _sqlite_trouble(error: BaseException | None) -> bool:
    """The file cannot be had now, as against a statement that is wrong."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorname", "").startswith(_TROUBLE)


def _sqlite_down_or_again(statement: str, error: sqlite3.Error) -> NoReturn:
    if _sqlite_trouble(error):
        raise DatabaseDown(str(error)) from error
    raise sa.exc.DBAPIError.instance(statement, None, error, sqlite3.Error) from error


class _SqliteConnection:
    """One end of the file. SQLAlchemy compiles and reads; BEGIN, COMMIT and ROLLBACK are ours."""

    def __init__(self, driver: "_Sqlite", connection: sa.Connection, *, writes: bool) -> None:
        self._driver = driver
        self._connection = connection
        self._writes = writes
        file = connection.connection.driver_connection
        if not isinstance(file, _File):
            raise TypeError("the engine was built with another connection class")
        self.file = file
        self.turn = asyncio.Lock()  # wakes those who wait in the order they came
        self._changes = 0

    def begin(self) -> bool:
        """Take the file's write lock, if nobody has it. Never waits."""
        try:
            self.file.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                return False
            _sqlite_down_or_again("BEGIN IMMEDIATE", error)
        self._changes = self.file.total_changes
        return True

    async def execute(self, statement: sa.Executable, parameters: Parameters) -> sa.CursorResult[Any]:
        if self._writes:
            self._must_be_under_way()
        try:
            return self._connection.execute(statement, parameters)
        except sa.exc.DBAPIError as error:
            if _sqlite_trouble(error.orig):
                raise DatabaseDown(str(error.orig)) from error
            raise

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        return self._ask(questions)

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        answers = []
        for hot, values in questions:
            if self._writes:
                self._must_be_under_way()
            compiled = hot.compiled(self._connection.dialect, values)
            try:
                cursor = self.file.execute(compiled.text, compiled.bind(values))
            except sqlite3.Error as error:
                _sqlite_down_or_again(compiled.text, error)
            rows = cursor.fetchall()
            answers.append(compiled.answer(rows, len(rows) if cursor.description else cursor.rowcount))
        return answers

    def _must_be_under_way(self) -> None:
        """SQLite takes a transaction back by itself, on a full disk for one. What followed would be kept piecemeal."""
        if not self.file.in_transaction:
            raise DatabaseDown("SQLite has taken this transaction back")

    @property
    def insert(self) -> "type[Insert]":
        from sqlalchemy.dialects.sqlite import Insert as SqliteInsert  # noqa: PLC0415 - only where SQLite is used

        return SqliteInsert  # type: ignore[return-value] # what we use of it is spelled alike

    async def commit(self, later: Sequence[Question]) -> list[Answer]:
        try:
            answers = self._ask(later)
        except BaseException:
            self._free()
            raise
        try:
            if self.file.in_transaction and self.file.total_changes != self._changes:
                work = self._driver.in_thread(self.file, "COMMIT")
                # When the thread is done, not when we go on: whatever is cancelled, the next turn comes after this one.
                work.add_done_callback(self._free)
                await _to_the_end(work)
            else:
                self._commit_nothing()
        except sqlite3.Error as error:
            _sqlite_down_or_again("COMMIT", error)
        return answers

    def _commit_nothing(self) -> None:
        """In place: there is nothing to sync, so nothing to wait for."""
        try:
            self._must_be_under_way()
            self.file.execute("COMMIT")
        finally:
            self._free()

    async def rollback(self) -> None:
        """In place: nothing of it is on the disk yet."""
        self._free()

    def _free(self, _: object = None) -> None:
        """Also after a COMMIT that was refused and left the transaction open."""
        try:
            if self.file.in_transaction:
                self.file.execute("ROLLBACK")
        finally:
            self.turn.release()

    async def release(self) -> None:
        """The read connection is everybody's and stays."""

    def end(self) -> None:
        self._connection.close()
        self.file.close()


class _Sqlite:
    def __init__(self, url: sa.URL) -> None:
        if not url.database or url.database == ":memory:":
            raise SettingsError("DATABASE_URL must name a file: several connections and processes share it")
        self._url = url
        self._thread: ThreadPoolExecutor | None = None
        self._reader: _SqliteConnection | None = None
        self._writer: _SqliteConnection | None = None

    async def open(self) -> None:
        if self._writer is not None:
            return
        engine = sa.create_engine(
            self._url,
            poolclass=sa.NullPool,
            hide_parameters=True,
            # Busy answers come at once: the loop must not sleep inside SQLite.
            connect_args={"factory": _File, "isolation_level": None, "check_same_thread": False, "timeout": 0},
        )
        with ExitStack() as opened:
            try:
                writer = self._connect(opened, engine, "journal_mode=WAL", "synchronous=FULL")
                # A reader meets a lock only while another process recovers the WAL after a crash: milliseconds.
                reader = self._connect(opened, engine, "query_only=ON", "busy_timeout=250")
            except sa.exc.OperationalError as error:
                raise DatabaseDown(str(error.orig)) from error
            opened.pop_all()
        self._writer = _SqliteConnection(self, writer, writes=True)
        self._reader = _SqliteConnection(self, reader, writes=False)
        self._thread = ThreadPoolExecutor(1, "sqlite")

    @staticmethod
    def _connect(opened: ExitStack, engine: sa.Engine, *pragmas: str) -> sa.Connection:
        connection = opened.enter_context(engine.connect())
        for pragma in ("foreign_keys=ON", *pragmas):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        return connection

    async def close(self) -> None:
        """After the transactions that run or wait; one that does not end is taken back."""
        if self._writer is None:
            return
        try:
            async with asyncio.timeout(PATIENCE), self._writer.turn:
                self._end()
        except TimeoutError:
            self._end()

    def _end(self) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        for end in (self._reader, self._writer):
            if end is not None:
                end.end()
        self._thread = self._reader = self._writer = None

    def in_thread(self, file: _File, sql: str) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._thread, file.execute, sql)

    async def begin(self) -> _Connection:
        writer = self._opened(self._writer)
        try:
            async with asyncio.timeout(PATIENCE):
                await writer.turn.acquire()
                try:
                    self._opened(self._writer if self._writer is writer else None)  # closed, or opened anew, meanwhile
                    while not writer.begin():  # noqa: ASYNC110 - the holder is another process
                        # It commits within milliseconds. We look often, since SQLite's own growing pauses would let a
                        # busy process starve us, and at random, so that two who wait part.
                        await asyncio.sleep(random.uniform(0.0005, 0.004))  # noqa: S311 - no secret
                except BaseException:
                    writer.turn.release()
                    raise
        except TimeoutError as error:
            raise DatabaseDown("no turn to write: another transaction or process does not end its own") from error
        return writer

    async def look(self) -> _Connection:
        return self._opened(self._reader)

    @staticmethod
    def _opened(connection: _SqliteConnection | None) -> _SqliteConnection:
        if connection is None:
            raise DatabaseDown("the database is not open")
        return connection


_PIPELINE: Final = "pipeline"


def _pipeline_of(driver: "psycopg.AsyncConnection[Any]", known: dict[Any, Any]) -> "Pipeline":
    """The connection's own: `known` is what the pool keeps beside it."""
    if _PIPELINE not in known:
        from models.pipeline import Pipeline  # noqa: PLC0415 - SQLite needs none of it

        known[_PIPELINE] = Pipeline(driver)
    kept: Pipeline = known[_PIPELINE]
    return kept


class _PostgreSQLConnection:
    """A connection that does nothing unasked: BEGIN, COMMIT and ROLLBACK are ours, so that they travel with others."""

    def __init__(self, connection: "AsyncConnection", *, writes: bool) -> None:
        self._connection = connection
        pooled = connection.sync_connection
        if pooled is None:
            raise TypeError("the connection was not begun")
        self._dialect = pooled.dialect
        self._driver: psycopg.AsyncConnection[Any] = pooled.connection.driver_connection  # type: ignore[assignment] # psycopg's own
        self._pipeline = _pipeline_of(self._driver, pooled.info)
        self._begins = writes

    async def execute(self, statement: sa.Executable, parameters: Parameters) -> sa.CursorResult[Any]:
        try:
            if self._begins:
                await self._send([])
            return await self._connection.execute(statement, parameters)
        except sa.exc.DBAPIError as error:
            _down_or_again(error)

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        try:
            return await self._send(questions)
        except sa.exc.DBAPIError as error:
            _down_or_again(error)

    async def _send(self, questions: Sequence[Question], *, commit: bool = False) -> list[Answer]:
        """In one round trip: BEGIN where it is due, the statements, and COMMIT where it is wanted."""
        sent: list[Message] = []
        if self._begins and (questions or not commit):
            self._begins = False
            sent.append(Message("BEGIN"))
        begun = len(sent)
        spelled = [(hot.compiled(self._dialect, values), values) for hot, values in questions]
        sent += [compiled.message(values) for compiled, values in spelled]
        if commit and not self._begins:
            sent.append(Message("COMMIT"))
        if not sent:
            return []
        try:
            given = await self._pipeline.send(sent)
        except Exception as error:
            _tell_as_sqlalchemy(error, spelled[0][0].text if spelled else "COMMIT", lost=self._driver.closed)
            raise
        asked = given[begun : begun + len(spelled)]
        return [compiled.answer(one.rows, one.count) for (compiled, _), one in zip(spelled, asked, strict=True)]

    @property
    def insert(self) -> "type[Insert]":
        from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert  # noqa: PLC0415 - as for SQLite

        return PostgreSQLInsert

    async def commit(self, later: Sequence[Question]) -> list[Answer]:
        return await _to_the_end(self._commit(later))

    async def _commit(self, later: Sequence[Question]) -> list[Answer]:
        try:
            return await self._send(later, commit=True)
        except sa.exc.DBAPIError as error:
            _down_or_again(error)
        finally:
            await self.release()

    async def rollback(self) -> None:
        await _to_the_end(self.release())

    async def release(self) -> None:
        """Back to the pool, after taking back what is open; a broken connection is thrown away there."""
        from psycopg import Error  # noqa: PLC0415 - SQLite needs none of it

        driver = self._driver
        try:
            if driver.pgconn.pipeline_status:
                await driver.close()  # cut off amid a pipeline, with answers still under way
            elif not driver.closed and driver.pgconn.transaction_status:
                # Not psycopg's rollback(), after which it would have every prepared statement forgotten.
                await self._pipeline.send([Message("ROLLBACK")])
        except Error as error:
            log.warning("a connection was lost: %s", _first_line(error))
            await driver.close()  # nobody knows what is open on it
        finally:
            if driver.closed:
                await self._connection.invalidate()
            await self._connection.close()


def _first_line(error: BaseException | None) -> str:
    return str(error).partition("\n")[0]


def _tell_as_sqlalchemy(error: Exception, statement: str, *, lost: bool) -> None:
    """What the driver said, under the name that SQLAlchemy has for it; nothing where it was not the driver."""
    from psycopg import Error  # noqa: PLC0415 - SQLite needs none of it

    if isinstance(error, Error):
        told = sa.exc.DBAPIError.instance(
            statement, None, error, Error, hide_parameters=True, connection_invalidated=lost
        )
        raise told from error


def _down_or_again(error: sa.exc.DBAPIError) -> NoReturn:
    # PostgreSQL's further lines quote the row at fault, with all its values: no log is to have them.
    if error.orig is not None:
        error.orig.args = (_first_line(error.orig),)
    error.args = tuple(part.partition("\n")[0] for part in error.args)
    if error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        raise DatabaseDown(_first_line(error.orig)) from error
    raise error


def _refuse_hung_up(connection: Any, record: object, proxy: object) -> None:
    """Replace an idle connection on which something has arrived: unasked, a server says little but farewell.

    So what a restarted server left in the pool is found out without a question to it before each use.
    """
    poll = select.poll()
    poll.register(connection.driver_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise sa.exc.DisconnectionError("the server has hung up")


class _PostgreSQL:
    """Two pools: who writes may look something up elsewhere meanwhile, and must not wait for its own like to end."""

    def __init__(self, url: sa.URL, connections: int) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._writing = self._engine(connections)
        # Held for one question each, so half as many do.
        self._looking = self._engine((connections + 1) // 2)
        # Its warnings quote errors with all their lines (`_down_or_again`).
        logging.getLogger("psycopg").setLevel(logging.ERROR)

    def _engine(self, connections: int) -> "AsyncEngine":
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - SQLite needs none of it

        engine = create_async_engine(
            self._url,
            pool_size=connections,
            max_overflow=0,  # one beyond the pool would be made for a single transaction: dearer than a short wait
            pool_timeout=PATIENCE,
            pool_use_lifo=True,  # the one used last has its statements prepared
            pool_reset_on_return=None,  # each transaction is ended by us
            hide_parameters=True,
            connect_args={
                "application_name": "latchkey",
                "connect_timeout": 5,
                # No transaction of ours is long; one that hangs must not hold its locks for ever.
                "options": "-c timezone=UTC -c statement_timeout=30000 -c idle_in_transaction_session_timeout=30000",
                # A server that vanished without a word: no statement waits for it longer than a slow one may take.
                "tcp_user_timeout": 30_000,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 4,
            },
            isolation_level="AUTOCOMMIT",  # BEGIN is ours
            skip_autocommit_rollback=True,
        )
        sa.event.listen(engine.sync_engine, "checkout", _refuse_hung_up)
        return engine

    async def open(self) -> None:
        connection = await self.look()
        try:
            await connection.execute(sa.select(1), None)
        finally:
            await connection.release()

    async def close(self) -> None:
        await self._writing.dispose()
        await self._looking.dispose()

    async def begin(self) -> _Connection:
        return _PostgreSQLConnection(await self._take(self._writing.connect()), writes=True)

    async def look(self) -> _Connection:
        return _PostgreSQLConnection(await self._take(self._looking.connect()), writes=False)

    @staticmethod
    async def _take(connection: "AsyncConnection") -> "AsyncConnection":
        try:
            return await connection.start()
        except sa.exc.TimeoutError as error:
            raise DatabaseDown("no free connection") from error
        except sa.exc.DBAPIError as error:
            _down_or_again(error)
