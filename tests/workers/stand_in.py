"""A worker process whose job only tells that it ran: everything around the job is the real thing."""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from models.fault import Fault
from models.log import configure
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

    def read_releases() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(gate.release)

    threading.Thread(target=read_releases, daemon=True).start()
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


if __name__ == "__main__":
    configure(os.environ.get("LOG_LEVEL", "info"), "embedded")
    raise SystemExit(serve(WorkerSettings.from_env(os.environ), open_needs, run_job))
