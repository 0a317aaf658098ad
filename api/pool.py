"""Work that takes a whole core, in a few threads off the event loop, with a bounded queue before them."""

import asyncio
import contextlib
import os
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from models.errors import Busy

T = TypeVar("T")

NICE: Final = 5
"""How far these threads stand back: a little. On a busy host, further back, they get nothing done (decision 0019)."""

READY: Final = 2
"""So many callers make themselves ready while the threads work, so that no thread waits for the next one."""

PATIENCE: Final = 5.0
"""Seconds for one's turn: a few times what all who may wait take together."""

COME_AGAIN: Final = 4
"""Seconds, at the most, until whoever found no seat comes again: each is told another time, or all who were refused at
once would be back at once, and everybody else would wait behind their refusals."""


def _stand_back() -> None:
    """On Linux a thread has a priority of its own: who waits for an answer goes before work that takes a whole core."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # where that is forbidden everything works, and others wait longer
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class Seat:
    """For one caller, who does one thing after the other in it."""

    def __init__(self, threads: ThreadPoolExecutor, turns: asyncio.Semaphore, patience: float) -> None:
        self._threads = threads
        self._turns = turns
        self._patience = patience
        self.work: Future[Any] | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """To be waited for, by whoever has more to do than the work itself: of all who have a seat only a few are at it
        at a time, or a crowd that came at once would go from step to step at once, and be in everybody's way.

        Raises Busy, where those before are held up by something else: nobody waits for ever.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            yield
        finally:
            self._turns.release()

    async def run(self, work: Callable[[], T]) -> T:
        self.work = future = self._threads.submit(work)
        return await asyncio.wrap_future(future)


class Pool:
    """`waiting`: so many may wait for a thread; whoever comes later is told to come again."""

    def __init__(self, name: str, *, threads: int, waiting: int, patience: float = PATIENCE) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=_stand_back)
        self._seats = threading.BoundedSemaphore(threads + waiting)
        self._turns = asyncio.Semaphore(threads + READY)
        self._patience = patience

    async def close(self) -> None:
        """What is under way is finished."""
        await asyncio.to_thread(self._threads.shutdown)

    @contextmanager
    def seat(self) -> Iterator[Seat]:
        """Raises Busy."""
        if not self._seats.acquire(blocking=False):
            raise Busy(timedelta(seconds=random.randint(1, COME_AGAIN)))  # noqa: S311 - no secret
        seat = Seat(self._threads, self._turns, self._patience)
        try:
            yield seat
        finally:
            # Free when the work is done, not when its caller has gone away.
            if seat.work is None:
                self._seats.release()
            else:
                seat.work.add_done_callback(lambda _: self._seats.release())
