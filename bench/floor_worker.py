"""The floors of the worker: our own worker process with an actor that does the least.

`python -m bench.floor_worker DATABASE_URL REDIS_URL PUSH_URL KEYS REPORT`. A ring with a small number is F4: its start
is told to the socket REPORT, and nothing else is done. Any other is F3: two commits and one bare push.
"""

import json
import logging
import socket
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import httpx

from bench.floor_api import THINGS, UPDATE
from models.database import Database
from models.settings import DatabaseSettings
from workers.main import serve
from workers.queue import QueueSettings
from workers.settings import WorkerSettings

SMALL: Final = 1 << 32
STARTED: Final = struct.Struct("!Qd")
"""Which ring, and when it started by the monotonic clock, which all processes of a machine share."""


@dataclass(frozen=True, slots=True)
class Needs:
    database: Database
    push: httpx.AsyncClient
    topic: str
    report: socket.socket


def push_client(url: str, keys: Path) -> httpx.AsyncClient:
    """The same service, proven to by the same certificate, and none of our code between."""
    tls = ssl.create_default_context(cafile=keys / "push-ca.crt")
    tls.load_cert_chain(keys / "push.crt", keys / "push.key")
    return httpx.AsyncClient(base_url=url, verify=tls, http1=False, http2=True, trust_env=False)


async def push(client: httpx.AsyncClient, topic: str, token: str) -> None:
    headers = {"apns-topic": topic, "apns-push-type": "mdm", "apns-priority": "10", "apns-expiration": "0"}
    body = json.dumps({"mdm": "0E57B1A7-0000-4000-8000-000000000000"}).encode()
    answer = await client.post(f"/3/device/{token}", content=body, headers=headers)
    answer.raise_for_status()


async def run(needs: Needs, job_id: UUID) -> None:
    if job_id.int < SMALL:
        needs.report.send(STARTED.pack(job_id.int, time.perf_counter()))
        return
    wanted = {"wanted": job_id.int % THINGS}
    for _ in range(2):
        async with needs.database.write() as tx:
            await tx.execute(UPDATE, wanted)
    await push(needs.push, needs.topic, f"{job_id.int:064x}")


def main(database_url: str, redis_url: str, push_url: str, keys: Path, report: str) -> int:
    logging.basicConfig(level=logging.INFO)
    # httpx tells of every request.
    logging.getLogger("httpx").setLevel(logging.WARNING)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Needs]:
        database = Database(DatabaseSettings(database_url))
        await database.open()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.connect(report)
            async with push_client(push_url, keys) as client:
                yield Needs(database, client, (keys / "push-topic.txt").read_text(), told)
        await database.close()

    return serve(WorkerSettings(QueueSettings(redis_url)), opened, run)


if __name__ == "__main__":
    _, database_, redis_, push_, keys_, report_ = sys.argv
    raise SystemExit(main(database_, redis_, push_, Path(keys_), report_))
