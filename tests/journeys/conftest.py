"""Founds the town, on both databases in turn."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from api.app import make_app
from api.settings import RELAXED, ApiSettings
from api.stream import StreamSettings
from models.database import Database
from models.fault import Fault
from models.sealed import Keyring
from models.settings import DatabaseSettings
from platforms import identity, ios
from platforms.base import PlatformHandler, Shared
from platforms.ios import simulator
from platforms.ios.push_service import PushService
from tests.clock import Clock
from tests.journeys.town import AUDIT_KEY, HASHES, Town
from tests.people import found
from workers.actors import declare
from workers.broker import build_broker
from workers.database import Resources
from workers.main import build_worker
from workers.needs import Needs
from workers.queue import QueueDoor, QueueSettings, worker_client
from workers.run_job import run_job
from workers.settings import WorkerSettings
from workers.sweep import Sweep


@pytest.fixture(scope="session")
def push_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The push service's certificates: TLS looks at the real time, whatever the story's clock says."""
    folder = tmp_path_factory.mktemp("push")
    files, _ = simulator.demo_keys(datetime.now(UTC))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number: int = listener.getsockname()[1]
        return number


@pytest.fixture
def town_environment(push_files: Path, port: int, clock: Clock) -> dict[str, str]:
    certificate, key = identity.make_ca("Devices of this town", clock.now).pem()
    return {
        "MODE": "embedded",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SEAL_KEYS": "town:" + base64.b64encode(b"k" * 32).decode(),
        "DEVICE_CA_CERTIFICATE": certificate,
        "DEVICE_CA_KEY": key.text(),
        "IOS_KEY": "ec",
        "IOS_PUSH_CERTIFICATE": (push_files / "push.crt").read_text(),
        "IOS_PUSH_KEY": (push_files / "push.key").read_text(),
        "IOS_PUSH_CA": (push_files / "push-ca.crt").read_text(),
        "IOS_TOPIC": (push_files / "push-topic.txt").read_text(),
    }


@pytest.fixture
def stream_settings() -> StreamSettings:
    return StreamSettings()


@pytest.fixture
async def pushes(push_files: Path) -> AsyncIterator[PushService]:
    async with simulator.wake_service(push_files, 0) as service:
        yield service


@pytest.fixture
def ios_handler(town_environment: Mapping[str, str], pushes: PushService) -> PlatformHandler:
    return ios.build({**town_environment, "IOS_PUSH_URL": pushes.url})


@pytest.fixture
async def worker(
    database_settings: DatabaseSettings, clock: Clock, keys: Keyring, redis_url: str, ios_handler: PlatformHandler
) -> AsyncIterator[None]:
    """A whole worker, in this process for the sake of its clock."""
    settings = WorkerSettings(QueueSettings(redis_url), threads=4)

    @asynccontextmanager
    async def needs() -> AsyncIterator[Needs]:
        data = Database(database_settings, clock)
        await data.open()
        async with QueueDoor(settings.queue) as door, ios_handler.open_channel(Shared(door, clock)) as channel:
            platforms = {ios_handler.name: ios_handler}
            yield Needs(data, platforms, {ios_handler.name: channel}, keys, door, Fault())
        await data.close()

    resources = Resources(needs)
    broker = build_broker(settings.queue, worker_client(settings.queue), [resources])
    declare(broker, resources.needs, run_job)
    working = build_worker(broker, settings)
    working.start()
    yield
    await asyncio.to_thread(working.stop, 5_000)  # what it wakes is answered on this loop
    broker.close()


@pytest.fixture
async def town(
    database_settings: DatabaseSettings,
    clock: Clock,
    keys: Keyring,
    redis_url: str,
    town_environment: Mapping[str, str],
    port: int,
    pushes: PushService,
    ios_handler: PlatformHandler,
    stream_settings: StreamSettings,
    worker: None,
) -> AsyncIterator[Town]:
    public_url = town_environment["PUBLIC_URL"]
    database = Database(database_settings, clock)
    app = make_app(
        ApiSettings(
            mode="embedded",
            host="127.0.0.1",
            port=port,
            public_url=public_url,
            throttle_key=b"t" * 32,
            cookie_rules=RELAXED,
        ),
        database_settings,
        database=database,
        door=QueueDoor(QueueSettings(redis_url)),
        platforms={ios_handler.name: ios_handler},
        keys=keys,
        hash_settings=HASHES,
        stream_settings=stream_settings,
        fault=Fault(),
    )
    runner = web.AppRunner(app, shutdown_timeout=2, access_log=None)  # as the api's main does
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with QueueDoor(QueueSettings(redis_url)) as door, httpx.AsyncClient(base_url=public_url) as client:
            sweep = Sweep(database, keys, AUDIT_KEY, door, Fault())
            yield Town(client, database, clock, keys, sweep, pushes, await found(database, clock.now))
            await pushes.idle()
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)
