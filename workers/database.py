"""The needs of a worker live exactly as long as its threads: opened before the first works, closed after the last."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from dramatiq import Broker, Middleware, Worker
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.middleware import MiddlewareError

CLOSE_WITHIN: Final = timedelta(seconds=5)
N = TypeVar("N")
_LOG = logging.getLogger(__name__)


class NotOpened(MiddlewareError):
    """Dramatiq starts working in spite of any other exception of a middleware."""


class Resources(Middleware, Generic[N]):
    """Opens the needs on the loop of the actors before any thread works, and closes them when the last has stopped.

    Stands after AsyncIO: hooks before an event run in the order of the list, hooks after it in reverse. One task holds
    the needs, because what a context manager enters in one task it must leave in the same.
    """

    def __init__(self, open_needs: Callable[[], AbstractAsyncContextManager[N]]) -> None:
        self._open_needs = open_needs
        self._opened: Future[N] = Future()
        self._held: Future[None] | None = None
        self._close: Callable[[], Any] = lambda: None

    def needs(self) -> N:
        return self._opened.result(timeout=0)

    @property
    def alive(self) -> bool:
        return self._held is not None and not self._held.done()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        thread = get_event_loop_thread()
        if thread is None:
            raise NotOpened("the AsyncIO middleware must come before this one")
        self._held = asyncio.run_coroutine_threadsafe(self._hold(), thread.loop)
        try:
            self._opened.result()
        except Exception as error:
            raise NotOpened("a need could not be opened") from error

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        left = sum(thread.is_alive() for thread in worker.workers)
        if left:
            _LOG.warning("jobs are left to their leases", extra={"running": left})
            return
        self._close()
        if self._held is not None:
            self._held.result(timeout=CLOSE_WITHIN.total_seconds())

    async def _hold(self) -> None:
        closed = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            async with self._open_needs() as needs:
                self._close = lambda: loop.call_soon_threadsafe(closed.set)
                self._opened.set_result(needs)
                await closed.wait()
        except BaseException as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)
