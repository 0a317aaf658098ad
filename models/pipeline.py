"""Several statements to PostgreSQL in one message, and their answers when all have come.

This is libpq's pipeline (PostgreSQL's manual, 32.5) as `psycopg.pq` hands it out, with psycopg's own conversion of
values. psycopg's `Connection.pipeline` sends and looks for answers after each statement, and makes a cursor for each,
which costs a short transaction more than all else that it does. Here is what we need of it and no more: statements that
are prepared once for each connection, one result each, all of them read before anybody goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection, OperationalError, errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from models.hot import Message

_OUTDATED: Final = frozenset({"26000", "0A000"})
"""The prepared statement is gone, or its table has changed its shape: this connection's are worth nothing any more."""


@dataclass(frozen=True, slots=True)
class Given:
    """`count`: rows that were found or changed."""

    rows: Sequence[Sequence[Any]]
    count: int


class Pipeline:
    """Of one connection, as long as it lives. Its holder sends one batch at a time.

    Who is cancelled amid a batch leaves the connection in pipeline mode: it can only be closed.
    """

    def __init__(self, driver: AsyncConnection[Any]) -> None:
        self._driver = driver
        self._line = driver.pgconn
        self._values = Transformer(driver)
        self._prepared: set[str] = set()

    async def send(self, messages: Sequence[Message]) -> list[Given]:
        """Raises psycopg's errors; those after the first that failed were not carried out."""
        line = self._line
        line.enter_pipeline_mode()
        preparing = self._queue(messages)
        line.pipeline_sync()
        while line.flush():
            await self._stir(to_send=True)
            line.consume_input()
        given, failed = [], None
        async for result in self._results():
            prepares = preparing.pop(0)
            if result.status == ExecStatus.FATAL_ERROR:
                failed = result
            elif prepares is not None and result.status == ExecStatus.COMMAND_OK:
                self._prepared.add(prepares)
            elif prepares is None and failed is None:
                given.append(self._read(result))
        line.exit_pipeline_mode()
        if failed is not None:
            await self._fail(failed)
        return given

    def _queue(self, messages: Sequence[Message]) -> list[str | None]:
        """What each result will be of: a statement's name where it is prepared, None where it is carried out."""
        line, preparing = self._line, list[str | None]()
        for message in messages:
            if not message.name:
                line.send_query_params(message.text.encode(), None)
            else:
                if message.name not in self._prepared and message.name not in preparing:
                    line.send_prepare(message.name.encode(), message.text.encode())
                    preparing.append(message.name)
                # No types are sent: PostgreSQL takes them from the casts that SQLAlchemy writes. A number in binary
                # would have to be of just that size.
                formats = [PyFormat.TEXT if isinstance(one, int | float) else PyFormat.AUTO for one in message.values]
                values = self._values.dump_sequence(message.values, formats)
                line.send_query_prepared(message.name.encode(), values, self._values.formats)
            preparing.append(None)
        return preparing

    async def _results(self) -> AsyncIterator[PGresult]:
        """One of each that was queued, until the line is at rest."""
        line = self._line
        while True:
            while line.is_busy():
                await self._stir()
                line.consume_input()
            result = line.get_result()
            if result is None:
                if line.status == ConnStatus.BAD:
                    raise OperationalError("the connection was lost")
            elif result.status == ExecStatus.PIPELINE_SYNC:
                return
            else:
                yield result

    def _read(self, result: PGresult) -> Given:
        rows: Sequence[Sequence[Any]] = ()
        if result.status == ExecStatus.TUPLES_OK and result.ntuples:
            self._values.set_pgresult(result)
            rows = self._values.load_rows(0, result.ntuples, tuple)
        return Given(rows, result.command_tuples or 0)

    async def _fail(self, failed: PGresult) -> None:
        error = errors.error_from_result(failed, encoding=self._driver.info.encoding)
        if error.sqlstate in _OUTDATED:
            await self._driver.close()
            raise OperationalError("its prepared statements are of no use any more") from error
        raise error

    async def _stir(self, *, to_send: bool = False) -> None:
        """Until something has come, or there is room to send."""
        loop = asyncio.get_running_loop()
        stirred = loop.create_future()
        socket = self._line.socket

        def wake() -> None:
            if not stirred.done():
                stirred.set_result(None)

        loop.add_reader(socket, wake)
        if to_send:
            loop.add_writer(socket, wake)
        try:
            await stirred
        finally:
            loop.remove_reader(socket)
            if to_send:
                loop.remove_writer(socket)
