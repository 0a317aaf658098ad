"""The sign of life of a process that works: a row, stamped now and then. `/readyz` and operators read it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import uuid4

from models import heartbeat
from models.database import Database
from models.log import where

BEAT_EVERY: Final = 5.0
"""Seconds: a third of what counts as silence."""
_LOG = logging.getLogger(__name__)


def _complain(what: str, error: Exception) -> None:
    """Not the traceback: it prints messages, and messages hold values."""
    _LOG.warning(what, extra={"error_type": type(error).__name__, "where": where(error)})


@asynccontextmanager
async def beating(beat: Callable[[], Awaitable[None]], every: float = BEAT_EVERY) -> AsyncIterator[None]:
    """Give a sign of life now and then; a database that is away costs a line in the log, not the worker."""

    async def keep_on() -> None:
        while True:
            try:
                await beat()
            except Exception as error:  # noqa: BLE001 - whatever the database says, the next beat may pass
                _complain("the sign of life was not written", error)
            await asyncio.sleep(every)

    task = asyncio.create_task(keep_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def alive(database: Database, *, kind: str) -> AsyncIterator[None]:
    """This process's row among the living: stamped while we are in here, gone when we leave in good order."""
    process_id = str(uuid4())

    async def beat() -> None:
        async with database.write() as tx:
            await heartbeat.beat(tx, process_id=process_id, kind=kind, now=await tx.now())

    async with beating(beat):
        yield
    try:
        async with database.write() as tx:
            await heartbeat.leave(tx, process_id)
    except Exception as error:  # noqa: BLE001 - the row grows old by itself
        _complain("the sign of life was not taken away", error)
