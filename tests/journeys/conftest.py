"""Founds the town, on both databases in turn."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from api.app import make_app
from api.settings import RELAXED, ApiSettings
from api.stream import StreamSettings
from models.database import Database
from models.delivery import Channel
from models.fault import Fault
from models.sealed import Keyring
from models.settings import DatabaseSettings
from models.vocabulary import PlatformName
from platforms import identity, registry, simulation
from platforms.base import PlatformHandler, Shared
from tests.clock import Clock
from tests.journeys.town import AUDIT_KEY, HASHES, Town
from tests.people import found
from tests.servers import PATIENT, free_port
from tests.workers.relying_party import LOOPBACK
from workers.actors import declare
from workers.broker import build_broker
from workers.carriers import NOBODY, Sender
from workers.database import Resources
from workers.deliver import deliver
from workers.letters import Letters
from workers.logout import Teller
from workers.main import build_worker
from workers.needs import Needs
from workers.outbox import Outbox
from workers.queue import QueueDoor, QueueSettings, worker_client
from workers.run_job import run_job
from workers.settings import WorkerSettings
from workers.sweep import Sweep


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The push services' keys: TLS looks at the real time, whatever the story's clock says."""
    return simulation.make_demo_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def town_environment(demo_files: Mapping[str, Path], port: int, clock: Clock) -> dict[str, str]:
    certificate, key = identity.make_ca("Devices of this town", clock.now).pem()
    return {
        "MODE": "embedded",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SEAL_KEYS": "town:" + base64.b64encode(b"k" * 32).decode(),
        **{name.removesuffix("_FILE"): file.read_text() for name, file in demo_files.items()},
        **{f"{name.upper()}_KEY": "ec" for name in simulation.simulated()},
        "DEVICE_CA_CERTIFICATE": certificate,
        "DEVICE_CA_KEY": key.text(),
    }


@pytest.fixture
def stream_settings() -> StreamSettings:
    return StreamSettings()


@pytest.fixture
async def services(demo_files: Mapping[str, Path]) -> AsyncIterator[Mapping[str, Any]]:
    """What wakes the phones of each platform."""
    folder = next(iter(demo_files.values())).parent
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(simulation.simulator(name).wake_service(folder, 0))
            for name in simulation.simulated()
        }


@pytest.fixture
def handlers(
    town_environment: Mapping[str, str], services: Mapping[str, Any]
) -> Mapping[PlatformName, PlatformHandler]:
    pushes = {f"{name.upper()}_PUSH_URL": service.url for name, service in services.items()}
    return registry.load({**town_environment, **pushes})


@pytest.fixture
async def worker(
    database_settings: DatabaseSettings,
    clock: Clock,
    keys: Keyring,
    redis_url: str,
    handlers: Mapping[PlatformName, PlatformHandler],
    town_environment: Mapping[str, str],
    outbox: Path,
) -> AsyncIterator[None]:
    """A whole worker, in this process for the sake of its clock."""
    settings = WorkerSettings(QueueSettings(redis_url, patience=PATIENT), threads=4)

    @asynccontextmanager
    async def needs() -> AsyncIterator[Needs]:
        data = Database(database_settings, clock)
        await data.open()
        async with QueueDoor(settings.queue) as door, AsyncExitStack() as stack:
            channels = {
                name: await stack.enter_async_context(handler.open_channel(Shared(door, clock)))
                for name, handler in handlers.items()
            }
            data.ring = door.put_delivery
            data.ring_task = door.put_task
            public_url = town_environment["PUBLIC_URL"]
            carrier = Outbox(outbox, Letters(public_url), Sender.of(NOBODY))
            ways = {Channel.MAIL: carrier, Channel.SMS: carrier}
            teller = await stack.enter_async_context(Teller(public_url, plain=True, meant=LOOPBACK))
            yield Needs(data, handlers, channels, keys, door, Fault(), ways, teller)
        await data.close()

    resources = Resources(needs)
    broker = build_broker(settings.queue, worker_client(settings.queue), [resources])
    declare(broker, resources.needs, run_job, deliver)
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
    services: Mapping[str, Any],
    handlers: Mapping[PlatformName, PlatformHandler],
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
        door=QueueDoor(QueueSettings(redis_url, patience=PATIENT)),
        platforms=handlers,
        keys=keys,
        hash_settings=HASHES,
        stream_settings=stream_settings,
        fault=Fault(),
    )
    runner = web.AppRunner(app, shutdown_timeout=2, access_log=None)  # as the api's main does
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with (
            QueueDoor(QueueSettings(redis_url, patience=PATIENT)) as door,
            httpx.AsyncClient(base_url=public_url, timeout=PATIENT) as client,
        ):
            sweep = Sweep(database, keys, AUDIT_KEY, door, Fault())
            yield Town(client, database, clock, keys, sweep, services, await found(database, clock.now))
            for service in services.values():
                await service.idle()
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)
