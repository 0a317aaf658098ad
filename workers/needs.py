"""What a run and the sweep are handed: read from the environment by a main, opened on the loop that uses it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models import clock
from models.database import Database
from models.delivery import Channel as Way
from models.fault import Fault
from models.sealed import Keyring
from models.settings import DatabaseSettings
from models.vocabulary import PlatformName
from platforms.base import Channel, PlatformHandler, Shared
from platforms.registry import load
from workers import carriers
from workers.carriers import Carrier
from workers.queue import QueueDoor, QueueSettings
from workers.settings import app_networks

if TYPE_CHECKING:
    from workers.logout import Teller


@dataclass(frozen=True, slots=True)
class Needs:
    database: Database
    platforms: Mapping[PlatformName, PlatformHandler]
    channels: Mapping[PlatformName, Channel]
    keys: Keyring
    door: QueueDoor
    fault: Fault
    carriers: Mapping[Way, Carrier] = field(default_factory=dict)
    """Of those channels that something can leave by."""
    teller: "Teller | None" = None
    """Who tells apps; None: nobody knows yet by which address we are known to them, and they are told later."""


def opener(environ: Mapping[str, str]) -> Callable[[], AbstractAsyncContextManager[Needs]]:
    """Raises SettingsError here, and nothing that only an open connection could tell."""
    queue, database = QueueSettings.from_env(environ), DatabaseSettings.from_env(environ)
    now, fault = clock.from_env(environ), Fault.from_env(environ)
    keys = Keyring.from_settings(environ.get("SEAL_KEYS", ""))
    platforms, open_carriers = load(environ), carriers.opener(environ)
    issuer, plain = environ.get("PUBLIC_URL", "").rstrip("/"), environ.get("MODE") == "embedded"
    meant = app_networks(environ)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Needs]:
        async with AsyncExitStack() as stack:
            data = Database(database, now)
            await data.open()
            stack.push_async_callback(data.close)
            door = await stack.enter_async_context(QueueDoor(queue))
            data.ring = door.put_delivery
            data.ring_task = door.put_task
            shared = Shared(door, data.roughly_now)
            channels = {
                name: await stack.enter_async_context(handler.open_channel(shared))
                for name, handler in platforms.items()
            }
            ways = await stack.enter_async_context(open_carriers())
            from workers.logout import Teller  # noqa: PLC0415 - a main imports no client

            teller = await stack.enter_async_context(Teller(issuer, plain=plain, meant=meant)) if issuer else None
            yield Needs(data, platforms, channels, keys, door, fault, ways, teller)

    return opened
