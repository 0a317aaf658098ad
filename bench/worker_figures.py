"""What the worker is measured by: whole jobs, how soon an idle one starts, and the road from tap to flag."""

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import redis.asyncio

from bench import rows
from bench.figures import Figure, at_least, at_most, below, percentile, plain
from bench.floor_worker import SMALL, STARTED, push, push_client
from bench.house import House, Process, spoken, utc_now
from bench.http_figures import ask_reset, update
from bench.rows import Loader
from bench.wire import Connection, Listener, Road
from models.vocabulary import Queue
from workers.queue import QueueDoor, QueueSettings

MEGABYTE = 1024 * 1024
PATIENCE = 120.0
PAUSE = 0.02
"""Seconds before what is measured alone: every process has gone to sleep."""


@asynccontextmanager
async def _reports(path: Path) -> AsyncIterator[Callable[[], "asyncio.Future[bytes]"]]:
    """What the floor's worker tells, datagram by datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as heard:
        heard.bind(str(path))
        loop = asyncio.get_running_loop()
        yield lambda: asyncio.ensure_future(loop.sock_recv(heard, STARTED.size))


async def _drained(redis_url: str) -> None:
    """Until every message is acknowledged."""
    async with redis.asyncio.Redis.from_url(redis_url, protocol=2) as client:
        async with asyncio.timeout(PATIENCE):
            while await client.hlen(f"latchkey:{Queue.INTERACTIVE}.msgs"):  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.003)


async def _work(door: QueueDoor, redis_url: str, ids: list[UUID]) -> float:
    """Jobs a second, from the first ring to the last acknowledgement."""
    begun = time.perf_counter()
    await door.ring([(id_, Queue.INTERACTIVE) for id_ in ids])
    await _drained(redis_url)
    return len(ids) / (time.perf_counter() - begun)


async def jobs(house: House) -> list[Figure]:
    """Claim, check, plan, seal, store, wake, beside F3: two commits and one bare push."""
    count = house.size(400, 120)
    database = await house.database("postgresql")
    organization_id = rows.found(database, utc_now())
    report = house.folder / "jobs.sock"
    ours, f3 = [], []
    async with (
        _reports(report),
        house.floor_worker(database, report),
        house.worker(database),
        QueueDoor(QueueSettings(house.redis(0))) as door,
        QueueDoor(QueueSettings(house.redis(1))) as floor_door,
    ):
        for turn in range(house.rounds + 1):
            now = utc_now()
            people = rows.invent(count, now)
            rows.hire(database, organization_id, people, now)
            phones = [house.phone(now) for _ in people]
            bonded = [house.bond(organization_id, one, phone, now) for one, phone in zip(people, phones, strict=True)]
            rows.equip(database, organization_id, people, bonded, now)
            ids = rows.ask(database, organization_id, people, now)
            others = [UUID(int=SMALL + turn * count + n) for n in range(count)]
            before = house.pushes.received
            floor = await _work(floor_door, house.redis(1), others)
            whole = await _work(door, house.redis(0), ids)
            if house.pushes.received - before < 2 * count:
                raise RuntimeError("not every job pushed")
            if turn:
                f3.append(floor)
                ours.append(whole)
    return [
        plain("F3: an actor with two commits and a bare push", f3, "/s"),
        at_least("Whole job in the worker, PostgreSQL", ours, f3, 0.5, "/s", "F3"),
    ]


async def _starts(
    house: House, door: QueueDoor, report: Callable[[], "asyncio.Future[bytes]"], count: int
) -> list[float]:
    """Seconds from enqueue to start, each time on an idle worker."""
    found = []
    for n in range(count):
        await asyncio.sleep(0.02 + secrets.randbelow(20) / 1000)
        heard = report()
        begun = time.perf_counter()
        door.put(UUID(int=n), Queue.INTERACTIVE)
        number, started = STARTED.unpack(await asyncio.wait_for(heard, PATIENCE))
        if number == n:
            found.append(started - begun)
    return found


async def bell(house: House) -> list[Figure]:
    """F4: how soon an idle worker starts; what it costs to be idle; how large our processes are."""
    database = await house.database("postgresql")
    report = house.folder / "bell.sock"
    medians, tails, idle, sizes_worker, sizes_api = (list[float]() for _ in range(5))
    async with (
        _reports(report) as reports,
        house.floor_worker(database, report),
        house.worker(database) as worker,
        house.api(database) as api,
        QueueDoor(QueueSettings(house.redis(1))) as door,
    ):
        await _starts(house, door, reports, 30)
        for _ in range(house.rounds):
            times = await _starts(house, door, reports, house.size(150, 60))
            medians.append(percentile(times, 0.5) * 1000)
            tails.append(percentile(times, 0.99) * 1000)
            idle.append(await _idle(worker, house.size(4, 2)))
            sizes_worker.append(worker.resident / MEGABYTE)
            sizes_api.append(api.resident / MEGABYTE)
    return [
        below("F4: from enqueue to start on an idle worker, median", medians, 5, "ms"),
        below("F4, p99", tails, 25, "ms"),
        below("An idle worker's processor", idle, 1, "% of a core"),
        below("Resident memory of an idle api", sizes_api, 150, "MB"),
        below("Resident memory of an idle worker", sizes_worker, 150, "MB"),
    ]


async def _idle(process: Process, seconds: float) -> float:
    before = process.cpu
    await asyncio.sleep(seconds)
    return (process.cpu - before) / seconds * 100


async def flag(house: House) -> list[Figure]:
    """From the answer to step 4 to the line on the open stream, nothing else going on, the phone answering at once."""
    each = house.size(30, 12)
    database = await house.database("postgresql")
    organization_id = rows.found(database, utc_now())
    report = house.folder / "flag.sock"
    ours, floors, starts, updates, pushes, signatures = (list[float]() for _ in range(6))
    async with (
        _reports(report) as reports,
        house.floor_worker(database, report),
        house.floor_api(database) as floor,
        house.worker(database),
        house.api(database) as api,
        QueueDoor(QueueSettings(house.redis(1))) as door,
        push_client(house.pushes.url, house.keys) as bare,
        _connected(floor.port) as connection,
    ):
        for turn in range(house.rounds + 1):
            # A tap comes alone, to processes that sleep, and finds them awake from then on. So its floors are taken in
            # a row after a pause as well, by turns with it.
            taken: list[list[float]] = [[], [], [], [], []]
            for _ in range(each):
                taken[0] += await _starts(house, door, reports, 1)
                taken[1].append(await _updated(connection, 5))
                taken[2].append(await _pushed(bare, house.topic))
                taken[3].append(_signed(house))
                taken[4].append(await _tap(house, database, organization_id, api))
            *floor_parts, tap = (percentile(one, 0.5) * 1000 for one in taken)
            if turn:
                ours.append(tap)
                floors.append(sum(floor_parts))
                for found, one in zip((starts, updates, pushes, signatures), floor_parts, strict=True):
                    found.append(one)
    return [
        at_most("From tap to flag, PostgreSQL", ours, floors, 1.5, "ms", "its floors"),
        plain("of these floors: F4", starts, "ms"),
        plain("of these floors: five times F2", updates, "ms"),
        plain("of these floors: one push", pushes, "ms"),
        plain("of these floors: one signature", signatures, "ms"),
        plain("From tap to flag as a multiple of F4", [a / b for a, b in zip(ours, starts, strict=True)], "x F4"),
    ]


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[Connection]:
    connection = await Connection.open(port)
    try:
        yield connection
    finally:
        connection.close()


async def _updated(connection: Connection, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        status, _, body = await connection.ask(update())
        if status != 202:
            raise RuntimeError(f"F2 was answered with {status}: {body!r}")
    return time.perf_counter() - begun


async def _pushed(client: httpx.AsyncClient, topic: str) -> float:
    begun = time.perf_counter()
    await push(client, topic, secrets.token_hex(32))
    return time.perf_counter() - begun


def _signed(house: House) -> float:
    phone = house.phone(utc_now())
    spoken(phone, {"Status": "Idle"})
    begun = time.perf_counter()
    spoken(phone, {"Status": "Acknowledged"})
    return time.perf_counter() - begun


async def _tap(house: House, database: Loader, organization_id: UUID, api: Process) -> float:
    now = utc_now()
    [person] = people = rows.invent(1, now)
    road = Road(api.port)
    phone = house.phone(now, road, api.port)
    rows.hire(database, organization_id, people, now)
    rows.equip(database, organization_id, people, [house.bond(organization_id, person, phone, now)], now)
    rows.open_windows(database, organization_id, people, now)
    await road.open()
    house.pushes.listen(phone.address, phone.wake)
    spoken(phone, {"Status": "Idle"})  # a phone has read its own key before
    stream = await Listener.open(api.port, person.token)
    try:
        async with _connected(api.port) as connection:
            await asyncio.sleep(PAUSE)
            status, _, body = await connection.ask(ask_reset(person))
            answered = time.perf_counter()
            if status != 202:
                raise RuntimeError(f"the reset was answered with {status}: {body!r}")
            async with asyncio.timeout(PATIENCE):
                await stream.until(b"event: notification")
            return time.perf_counter() - answered
    finally:
        house.pushes.away(phone.address)
        stream.close()
        road.close()
