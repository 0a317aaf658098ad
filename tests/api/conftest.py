"""The real app behind real HTTP, on both databases, with a real Redis and a clock that is set by hand."""

import ipaddress
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer

from api.app import make_app
from api.settings import ApiSettings
from api.stream import StreamSettings
from models.database import Database
from models.fault import Fault
from models.sealed import Keyring
from models.settings import DatabaseSettings
from tests.api.house import HASHES, PUBLIC_URL, House, Pocket
from tests.clock import Clock
from tests.people import found
from tests.servers import PATIENT
from workers.queue import QueueDoor, QueueSettings


@pytest.fixture
def stream_settings() -> StreamSettings:
    return StreamSettings()


@pytest.fixture
def answer_floor() -> timedelta:
    """None: no test waits for time to pass, but the one that measures it."""
    return timedelta(0)


@pytest.fixture
async def house(
    database_settings: DatabaseSettings,
    clock: Clock,
    keys: Keyring,
    redis_url: str,
    stream_settings: StreamSettings,
    answer_floor: timedelta,
) -> AsyncIterator[House]:
    platform = Pocket()
    database = Database(database_settings, clock)
    app = make_app(
        ApiSettings(
            mode="production",
            host="127.0.0.1",
            port=0,
            public_url=PUBLIC_URL,
            throttle_key=b"t" * 32,
            trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),),
            answer_floor=answer_floor,
        ),
        database_settings,
        database=database,
        door=QueueDoor(QueueSettings(redis_url, patience=PATIENT)),
        platforms={platform.name: platform},  # type: ignore[dict-item] # a pocket of a platform
        keys=keys,
        hash_settings=HASHES,
        stream_settings=stream_settings,
        fault=Fault(),
    )
    async with TestClient(TestServer(app), cookie_jar=DummyCookieJar()) as client:
        yield House(client, database, clock, keys, platform, await found(database, clock.now))
