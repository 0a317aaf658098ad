"""Builds the installation to be hurt, on both databases in turn."""

import asyncio
import base64
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from models.clock import OffsetClock
from models.database import Database
from models.sealed import Keyring
from models.settings import DatabaseSettings
from models.vocabulary import Secret
from platforms import simulation
from tests.conftest import create_all
from tests.faults.installation import Installation, Life
from tests.people import found
from tests.servers import PostgreSQLServer, RedisServer, free_port
from workers.queue import QueueDoor, QueueSettings

AUDIT_KEY = Secret(b"a" * 32)
SEAL_KEYS = "faults:" + base64.b64encode(b"k" * 32).decode()

Build = Callable[..., AbstractAsyncContextManager[Installation]]


@pytest.fixture
def seed() -> int:
    """FAULT_SEED=number repeats the choices of a run that failed."""
    return int(os.environ.get("FAULT_SEED") or secrets.randbelow(1_000_000))


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def its_database(kind: str, request: pytest.FixtureRequest) -> tuple[DatabaseSettings, PostgreSQLServer | None]:
    """PostgreSQL is the wheel's own, whatever TEST_DATABASE_URL says: it will be stopped."""
    if kind == "sqlite":
        return request.getfixturevalue("sqlite_settings"), None
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    name = f"faults_{uuid4().hex[:8]}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    create_all(server.url(name))
    return DatabaseSettings(server.url(name)), server


@pytest.fixture
def build(
    its_database: tuple[DatabaseSettings, PostgreSQLServer | None],
    redis_server: RedisServer,
    tmp_path: Path,
    seed: int,
) -> Build:
    settings, postgresql = its_database

    @asynccontextmanager
    async def built(
        *,
        api: Sequence[str] = (),
        worker: Sequence[str] = (),
        tick: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Installation]:
        """`more`: settings that only this test has."""
        files = simulation.make_demo_keys(tmp_path / "keys")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        clock = OffsetClock(tmp_path / "offset")
        async with (
            AsyncExitStack() as stack,
            QueueDoor(QueueSettings(redis_server.url)) as door,
            httpx.AsyncClient(
                base_url=url, timeout=15, limits=httpx.Limits(max_connections=None, max_keepalive_connections=64)
            ) as client,
        ):
            services = {
                name: await stack.enter_async_context(simulation.simulator(name).wake_service(tmp_path / "keys", 0))
                for name in simulation.simulated()
            }
            for service in services.values():
                # One that signs, or looks at the time, does it by the clock that is put forward.
                service.clock = clock
            # Google's clock goes with the world's, whatever hour is played.
            services["android"].clock = clock
            environment = {
                "PATH": os.defpath,
                "PYTHONUNBUFFERED": "1",
                "MODE": "embedded",
                "DATABASE_URL": settings.url,
                "REDIS_URL": redis_server.url,
                "PUBLIC_URL": url,
                "PORT": str(port),
                "LOG_LEVEL": "warning",
                "CLOCK_OFFSET_FILE": str(clock.file),
                "WORKER_THREADS": "8",
                "THROTTLE_KEY": base64.b64encode(b"t" * 32).decode(),
                "SEAL_KEYS": SEAL_KEYS,
                "AUDIT_KEY": base64.b64encode(AUDIT_KEY.value).decode(),
                **{name: str(file) for name, file in files.items()},
                **{f"{name.upper()}_KEY": "ec" for name in services},
                **{f"{name.upper()}_PUSH_URL": service.url for name, service in services.items()},
                **(more or {}),
            }
            modules: dict[str, tuple[str, Sequence[str]]] = {
                "api": ("api", api),
                "worker": ("workers", worker),
                "tick": ("workers.tick", tick),
            }
            processes = {
                name: Life(module, environment, tmp_path / f"{name}.log", faults)
                for name, (module, faults) in modules.items()
            }
            database = Database(settings, clock)
            await database.open()
            house = Installation(
                db=database,
                url=settings.url,
                clock=clock,
                redis=redis_server,
                postgresql=postgresql,
                services=services,
                door=door,
                client=client,
                organization_id=await found(database, clock()),
                audit_key=AUDIT_KEY,
                keys=Keyring.from_settings(SEAL_KEYS),
                processes=processes,
                chance=random.Random(seed),
            )
            tasks: list[asyncio.Task[Any]] = []
            try:
                for process in processes.values():
                    process.start()
                tasks += [asyncio.create_task(house.keep()), asyncio.create_task(house.watch())]
                yield house
            except BaseException as error:
                error.add_note(f"FAULT_SEED={seed}\n{house.tale()}")
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for process in processes.values():
                    process.stop()
                await database.close()

    return built
