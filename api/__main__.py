"""`python -m api`: reads the environment once, builds, serves until SIGTERM or SIGINT."""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping

from aiohttp import web

from api.app import make_app
from api.passwords import HashSettings
from api.settings import HEADER_LIMIT, SHUTDOWN_GRACE, ApiSettings
from api.stream import StreamSettings
from models import clock
from models import log as logs
from models.database import Database, DatabaseDown
from models.fault import Fault
from models.sealed import Keyring
from models.settings import DatabaseSettings, resolve_files
from platforms import registry
from workers.queue import QueueDoor, QueueSettings

log = logging.getLogger("api")


def build(environ: Mapping[str, str]) -> tuple[ApiSettings, web.Application]:
    """Raises ValueError (SettingsError is one) that names what is wrong with the environment."""
    settings = ApiSettings.from_env(environ)
    database_settings = DatabaseSettings.from_env(environ)
    app = make_app(
        settings,
        database_settings,
        database=Database(database_settings, clock.from_env(environ)),
        door=QueueDoor(QueueSettings.from_env(environ)),
        platforms=registry.load(environ),
        keys=Keyring.from_settings(environ.get("SEAL_KEYS", "")),
        hash_settings=HashSettings(),
        stream_settings=StreamSettings(),
        fault=Fault.from_env(environ),
    )
    return settings, app


async def serve(settings: ApiSettings, app: web.Application) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # what is small on the wire must not become large here
        max_field_size=HEADER_LIMIT,
        shutdown_timeout=SHUTDOWN_GRACE,
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, reuse_port=settings.reuse_port or None).start()
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        _, port = runner.addresses[0][:2]
        log.info("ready", extra={"host": settings.host, "port": port, "cpu_ms": round(time.process_time() * 1000)})
        await stop.wait()
    finally:
        await runner.cleanup()


def main() -> int:
    try:
        environ = resolve_files(os.environ)
        logs.configure(environ.get("LOG_LEVEL") or "INFO", environ.get("MODE", "production"))
        settings, app = build(environ)
    except ValueError as error:
        sys.stderr.write(f"api: {error}\n")
        return 2
    try:
        asyncio.run(serve(settings, app))
    except (OSError, DatabaseDown) as error:
        sys.stderr.write(f"api: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
