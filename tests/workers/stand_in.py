"""A worker process whose job only tells that it ran: everything around the job is the real thing."""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from dramatiq.threading import raise_thread_exception
from dramatiq.worker import WorkerThread

import workers.actors
import workers.broker
from models.fault import Fault
from models.log import configure
from models.vocabulary import Queue
from workers.actors import Terms
from workers.main import serve
from workers.settings import WorkerSettings


def tell(what: str, job_id: UUID | None = None) -> None:
    line = {"what": what, "job": str(job_id), "at": time.monotonic_ns()}
    os.write(1, (json.dumps(line) + "\n").encode())  # one write a line: threads and the loop share the pipe


@dataclass(frozen=True)
class Needs:
    gate: asyncio.Semaphore
    fault: Fault


@asynccontextmanager
async def open_needs() -> AsyncIterator[Needs]:
    gate = asyncio.Semaphore(0 if os.environ.get("WAIT") else 1_000_000)
    loop = asyncio.get_running_loop()

    def obey() -> None:
        for line in sys.stdin:
            if line == "go\n":
                loop.call_soon_threadsafe(gate.release)
            else:
                end_a_thread()

    threading.Thread(target=obey, daemon=True).start()
    if os.environ.get("CANNOT_OPEN"):
        raise RuntimeError("no database")
    tell("opened")
    yield Needs(gate, Fault.from_env(os.environ))
    tell("closed")


async def run_job(needs: Needs, job_id: UUID) -> None:
    tell("started", job_id)
    if os.environ.get("FAIL"):
        raise RuntimeError("the job fails")
    needs.fault.mark("claimed")
    await needs.gate.acquire()
    tell("done", job_id)


def end_a_thread() -> None:
    """As a time limit does that strikes between two jobs."""
    thread = next(thread for thread in threading.enumerate() if isinstance(thread, WorkerThread))
    assert thread.ident is not None
    raise_thread_exception(thread.ident, SystemExit)


def main() -> int:
    configure(os.environ.get("LOG_LEVEL", "info"), "embedded")
    settings = WorkerSettings.from_env(os.environ)
    if grace := os.environ.get("GRACE"):
        settings = replace(settings, grace=timedelta(seconds=float(grace)))
    if limit := os.environ.get("LIMIT"):
        terms = Terms(priority=0, limit=timedelta(seconds=float(limit)))
        workers.actors.TABLE = dict.fromkeys(Queue, terms)
    if os.environ.get("ALWAYS_MAINTAIN"):
        workers.broker.MAINTENANCE_CHANCE = 1_000_000
    return serve(settings, open_needs, run_job)


if __name__ == "__main__":
    raise SystemExit(main())
