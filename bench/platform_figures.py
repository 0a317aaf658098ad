"""A whole passcode reset on each platform, beside the same on iOS: from the confirmations to the last ending.

The devices, and whoever stands between us and them, are simulated in the measuring process: what their protocol asks of
the other end is in the figure as well. What it asks of ours alone stands beside it, as processor time.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import httpx
import psycopg

from bench import rows
from bench.figures import Figure, Spread, at_least, plain
from bench.house import House, Process, utc_now
from bench.http_figures import ask_reset
from bench.rows import Loader, Person
from bench.wire import drive
from models.job import OPEN
from models.vocabulary import new_id
from platforms.simulation import Api, Device, HttpRoad, simulated, simulator

BASE: Final = "ios"
PATIENCE: Final = 120.0
LOOK: Final = 0.02
_STILL_OPEN: Final = "SELECT count(*) FROM job WHERE state = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Street:
    """People with a phone of one platform each."""

    platform: str
    people: list[Person]
    phones: list[Device]


async def _move_in(
    platform: str, service: Any, road: HttpRoad, api: Api, database: Loader, organization_id: UUID, count: int
) -> Street:
    now = utc_now()
    people = rows.invent(count, now)
    rows.hire(database, organization_id, people, now)
    owners, phones = [], []
    for person in people:
        device_id, url = await api.enroll(person.token, platform, platform, "corporate")
        phone = simulator(platform).new_device(road)
        phone.service = service
        await phone.open_link(url)
        await phone.check_in()
        phones.append(phone)
        owners.append(replace(person, device_id=UUID(device_id)))
    return Street(platform, owners, phones)


async def _ended(url: str) -> None:
    """Until no job is open. Asked of the database, since nobody tells."""

    def still_open() -> int:
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(_STILL_OPEN, ([state.value for state in OPEN],)).fetchone()
            return 0 if found is None else int(found[0])

    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(still_open):  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(LOOK)


async def _reset_all(street: Street, database: Loader, organization_id: UUID, api: Process) -> float:
    """Whole resets a second. Everybody has just signed in anew, as who resets a passcode does."""
    now = utc_now()
    people = [replace(one, session_id=new_id(now), token=secrets.token_urlsafe(32)) for one in street.people]
    rows.sign_in(database, organization_id, ((one.session_id, one.id, one.token) for one in people), now)
    rows.open_windows(database, organization_id, people, now)
    asked = [[ask_reset(person)] for person in people]
    begun = time.perf_counter()
    await drive(api.port, asked, 202)
    await _ended(database.url)
    return len(asked) / (time.perf_counter() - begun)


async def resets(house: House) -> list[Figure]:
    count = house.size(48, 16)
    names = simulated()
    rates: Mapping[str, list[float]] = {name: [] for name in names}
    spent: Mapping[str, list[float]] = {name: [] for name in names}
    database = await house.database("postgresql")
    organization_id = rows.found(database, utc_now())
    async with AsyncExitStack() as stack:
        # Closed last: until it is, somebody's cloud may still have something to tell.
        road = await stack.enter_async_context(HttpRoad())
        services = {BASE: house.pushes}
        for name in names:
            if name != BASE:
                services[name] = await stack.enter_async_context(simulator(name).wake_service(house.keys, 0))
        addresses = {f"{name.upper()}_PUSH_URL": service.url for name, service in services.items()}
        keys = {f"{name.upper()}_KEY": "ec" for name in names}
        told = replace(house, environ={**house.environ, **addresses, **keys})
        api = await stack.enter_async_context(told.api(database))
        worker = await stack.enter_async_context(told.worker(database))
        client = Api(await stack.enter_async_context(_client(api.port)))
        streets = [
            await _move_in(name, services[name], road, client, database, organization_id, count) for name in names
        ]
        for turn in range(house.rounds + 1):
            for street in streets:
                before = api.cpu + worker.cpu
                rate = await _reset_all(street, database, organization_id, api)
                if turn:
                    rates[street.platform].append(rate)
                    spent[street.platform].append((api.cpu + worker.cpu - before) / count * 1000)
        for street in streets:
            if any(phone.complaints for phone in street.phones):
                raise RuntimeError(f"a {street.platform} phone complains")
    return [
        plain(f"Whole resets, {BASE}, PostgreSQL", rates[BASE], "/s"),
        *(
            replace(figure, beside={**figure.beside, "our processor each, ms": Spread.of(spent[name])})
            for name in names
            if name != BASE
            for figure in [at_least(f"Whole resets, {name}", rates[name], rates[BASE], 0.5, "/s", BASE)]
        ),
        plain(f"of these: our processor for each, {BASE}", spent[BASE], "ms"),
    ]


def _client(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30.0, trust_env=False)
