"""`python -m workers.tick`: calls the sweep on time, as long as it holds the duty. Two ticks are safe: one waits."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final
from uuid import uuid4

from models import clock, duty
from models.database import Database, DatabaseDown
from models.fault import Fault
from models.log import configure, where
from models.sealed import Keyring
from models.settings import DatabaseSettings, SettingsError, audit_key, resolve_files
from workers.alive import alive
from workers.queue import QueueDoor, QueueSettings
from workers.sweep import Sweep

_LOG = logging.getLogger(__name__)

EVERY: Final = timedelta(seconds=0.5)
ERASE_EVERY: Final = timedelta(seconds=60)
LEASE: Final = timedelta(seconds=10)
MISCONFIGURED: Final = 2


async def tick(database: Database, sweep: Sweep, holder: str, stop: asyncio.Event) -> None:
    """Round after round until told to stop. A round that fails is logged, and the next one finds the same rows."""
    time = asyncio.get_running_loop().time
    renew_at = erase_at = time()
    held = False
    while not stop.is_set():
        try:
            if time() >= renew_at:
                held = await _hold(database, sweep, holder)
                # A round may take longer than it should: time that has really passed counts, not rounds.
                renew_at = time() + (LEASE / 2 if held else EVERY).total_seconds()
            if held:
                await sweep.round()
                if time() >= erase_at:
                    more = await sweep.erase()
                    erase_at = time() + (EVERY if more else ERASE_EVERY).total_seconds()
        except DatabaseDown:
            _LOG.warning("the database is away; the sweep waits")
            renew_at = time()
        except Exception as error:  # noqa: BLE001 - one bad round must not end all sweeping
            # Not the traceback: it prints messages, and messages hold values.
            _LOG.error("a round of the sweep failed", extra={"error_type": type(error).__name__, "where": where(error)})
        try:
            async with asyncio.timeout(EVERY.total_seconds()):
                await stop.wait()
        except TimeoutError:
            continue
    async with database.write() as tx:
        await duty.release(tx, duty.SWEEP, holder)


async def _hold(database: Database, sweep: Sweep, holder: str) -> bool:
    """Take or keep the duty; whether it is ours."""
    async with database.write() as tx:
        held = await duty.take(tx, duty.SWEEP, holder, LEASE, await tx.now())
    if not held:
        # Whoever has it may stop anywhere: should it come to us, we look at everything.
        sweep.sealed_since = None
    return held


async def run(environ: Mapping[str, str]) -> None:
    # What is wrong with the settings is said before anything is waited for.
    settings, queue = DatabaseSettings.from_env(environ), QueueSettings.from_env(environ)
    keys, audit = Keyring.from_settings(environ.get("SEAL_KEYS", "")), audit_key(environ)
    now, fault = clock.from_env(environ), Fault.from_env(environ)
    async with AsyncExitStack() as stack:
        database = Database(settings, now)
        await database.open()
        stack.push_async_callback(database.close)
        door = await stack.enter_async_context(QueueDoor(queue))
        database.ring = door.put_delivery
        database.ring_task = door.put_task
        await stack.enter_async_context(alive(database, kind="tick"))
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await tick(database, Sweep(database, keys, audit, door, fault), str(uuid4()), stop)


def main(variables: Mapping[str, str]) -> int:
    try:
        environ = resolve_files(variables)
        configure(environ.get("LOG_LEVEL") or "info", environ.get("MODE") or "production")
        asyncio.run(run(environ))
    except SettingsError as error:
        sys.stderr.write(f"the tick cannot start: {error}\n")
        return MISCONFIGURED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(os.environ))  # noqa: TID251 - this is a main
