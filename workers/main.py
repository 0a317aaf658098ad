"""A worker process from its first breath to its last: one Dramatiq worker, no master process above it.

A supervisor starts it and starts it anew whenever it exits with anything but 0.
"""

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import redis
from dramatiq import Worker
from dramatiq.asyncio import get_event_loop_thread
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from workers.actors import Run, declare
from workers.broker import BELL_WAIT_MS, DoorbellBroker, build_broker
from workers.database import Resources
from workers.queue import worker_client
from workers.settings import WorkerSettings

WATCH_EVERY: Final = timedelta(seconds=1)
REDIS_AT_START: Final = timedelta(seconds=60)
"""Redis may come up later than we; after a minute the supervisor's own pauses take over."""
LAST_WORD: Final = timedelta(seconds=10)
"""Beyond the grace for closing what is open; a process that hangs then ends all the same."""
ENDED, BROKEN = 0, 1

N = TypeVar("N")
_LOG = logging.getLogger(__name__)


def serve(
    settings: WorkerSettings,
    open_needs: Callable[[], AbstractAsyncContextManager[N]],
    run_job: Run[N],
    deliver: Run[N] | None = None,
) -> int:
    """Work until SIGTERM or SIGINT (0), or until a thread of ours is gone (1). Must run in the main thread."""
    client = worker_client(settings.queue)
    resources = Resources(open_needs)
    with _signals() as heard:
        try:
            _await_redis(client)
            broker = build_broker(settings.queue, client, [resources])
            declare(broker, resources.needs, run_job, deliver)
            worker = build_worker(broker, settings)
            broker.emit_after(
                "process_boot"
            )  # starts the time limits' thread, which only the command line does otherwise
            _start(broker, worker)
            _LOG.info(
                "ready",
                extra={
                    "threads": settings.threads,
                    "queues": ",".join(sorted(settings.queues)),
                    "cpu_ms": round(time.process_time() * 1000),
                },
            )
            broken = _watch(worker, resources, heard)
            _stop(worker, settings.grace)
        finally:
            client.close()
    return BROKEN if broken else ENDED


def build_worker(broker: DoorbellBroker, settings: WorkerSettings) -> Worker:
    worker = Worker(
        broker,
        queues={queue.value for queue in settings.queues},
        worker_timeout=BELL_WAIT_MS,
        worker_threads=settings.threads,
    )
    worker.queue_prefetch = settings.threads  # more would be hoarded here while another process idles
    return worker


def dead_threads(worker: Worker) -> list[str]:
    """Names of threads that should run and do not: a time limit that strikes outside a job ends its thread silently."""
    threads: list[threading.Thread] = [*worker.workers, *worker.consumers.values()]
    loop_thread = get_event_loop_thread()
    if loop_thread is not None:
        threads.append(loop_thread)
    return [thread.name for thread in threads if not thread.is_alive()]


def _await_redis(client: redis.Redis) -> None:
    attempts = Retrying(
        stop=stop_after_delay(REDIS_AT_START),
        wait=wait_random_exponential(multiplier=0.1, max=2),  # jitter: all workers of a host start together
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    attempts(client.ping)


def _may_pass(error: BaseException) -> bool:
    refused = isinstance(error, redis.AuthenticationError | redis.exceptions.AuthorizationError)
    return isinstance(error, redis.ConnectionError | redis.TimeoutError) and not refused


def _start(broker: DoorbellBroker, worker: Worker) -> None:
    try:
        worker.start()
    except BaseException:
        broker.emit_after("worker_shutdown", worker)  # else the loop's thread, which is no daemon, would keep us
        raise


def _watch(worker: Worker, resources: Resources[Any], heard: socket.socket) -> bool:
    """True: something of ours died; False: a signal asked us to end."""
    while True:
        readable, _, _ = select.select([heard], [], [], WATCH_EVERY.total_seconds())
        if readable:
            _LOG.info("ending", extra={"signal": signal.Signals(heard.recv(1)[0]).name})
            return False
        if dead := dead_threads(worker):
            _LOG.critical("threads have died, starting anew", extra={"threads": ",".join(dead)})
            return True
        if not resources.alive:
            _LOG.critical("the needs were lost, starting anew")
            return True


def _stop(worker: Worker, grace: timedelta) -> None:
    """Finish what runs, give back what was fetched, within the grace; a job still running then is left to its lease."""
    limit = grace + LAST_WORD
    last_word = threading.Timer(limit.total_seconds(), os._exit, [BROKEN])
    last_word.daemon = True
    last_word.start()
    worker.stop(timeout=grace // timedelta(milliseconds=1))
    if any(thread.is_alive() for thread in worker.workers):
        logging.shutdown()
        os._exit(BROKEN)  # a thread cannot be ended otherwise, and its loop is gone
    last_word.cancel()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Each signal as a byte to read: a handler that did more could meet a lock it interrupts. The same twice kills."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    heard: set[int] = set()

    def note(number: int, _: object) -> None:
        if number in heard:
            os._exit(128 + number)
        heard.add(number)

    wakeup = signal.set_wakeup_fd(writer.fileno())
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()
