"""Signing in beside the one hash it cannot do without, and what happens when far more come than there are places."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from argon2 import PasswordHasher

from api.passwords import HashSettings
from bench import rows
from bench.figures import Figure, at_least, at_most, below, percentile, plain
from bench.floor_api import PASSWORD
from bench.house import House, utc_now
from bench.rows import Loader, Person
from bench.wire import Connection, drive, request

HASHES: Final = HashSettings()
PLACES: Final = HASHES.threads + HASHES.waiting
TIMES: Final = 3
LOOPBACK: Final = "127.0.0.0/8"


def somewhere(number: int) -> str:
    """Everybody comes from a network of their own: what is counted by neighbourhood is not what is measured."""
    return f"10.{number >> 8 & 255}.{number & 255}.1"


def signing_in(person: Person, number: int) -> bytes:
    body = json.dumps({"account": person.id.hex, "password": PASSWORD}).encode()
    headers = {"Content-Type": "application/json", "X-Forwarded-For": somewhere(number)}
    return request("POST", "/api/v1/sessions", headers, body)


@dataclass(slots=True)
class Crowd:
    """What became of those who came at once."""

    seconds: float = 0.0
    answered: list[float] = field(default_factory=list)
    """Seconds that each one waited who was let in."""
    refused: int = 0
    rude: int = 0
    """Refused without a word of when to come again, or in another way than 503."""

    @property
    def rate(self) -> float:
        return len(self.answered) / self.seconds


async def sign_ins(house: House) -> list[Figure]:
    password_hash = PasswordHasher(
        time_cost=HASHES.passes, memory_cost=HASHES.memory_kib, parallelism=HASHES.lanes, hash_len=32, salt_len=16
    ).hash(PASSWORD)
    found: list[Figure] = []
    for kind, name in (("postgresql", "PostgreSQL"), ("sqlite", "SQLite")):
        found += await _sign_ins(house, await house.database(kind), name, password_hash)
    return found


async def _sign_ins(house: House, database: Loader, name: str, password_hash: str) -> list[Figure]:
    count, seconds = house.size(300, 60), house.size(10, 3)
    now = utc_now()
    organization_id = rows.found(database, now)
    (reader,) = rows.invent(1, now)
    rows.hire(database, organization_id, [reader], now)
    ours, f5, crowded, waits, bounds, idle, busy, rude = (list[float]() for _ in range(8))
    numbers = itertools.count()
    async with house.floor_api(database) as floor, house.api(database, TRUSTED_PROXIES=LOOPBACK) as api:
        for turn in range(house.rounds + 1):
            people = _people(house, database, organization_id, count, password_hash)
            plainly = await drive(floor.port, [[request("POST", "/f5")] for _ in range(count)], 202)
            alone = await drive(api.port, [[signing_in(one, next(numbers))] for one in people], 201)
            at_rest = await _reading(api.port, reader, seconds / 2)
            # Each comes until they are let in: nobody twice, and always somebody.
            many = int(alone.rate * seconds * 2) + TIMES * PLACES
            people = _people(house, database, organization_id, many, password_hash)
            coming = iter([signing_in(one, next(numbers)) for one in people])
            crowd, meanwhile = await asyncio.gather(
                _crowd(api.port, coming, seconds), _reading(api.port, reader, seconds)
            )
            if turn:  # the first is for warming up
                f5.append(plainly.rate)
                ours.append(alone.rate)
                crowded.append(crowd.rate)
                waits.append(max(crowd.answered))
                bounds.append(PLACES / alone.rate)
                idle.append(percentile(at_rest, 0.99) * 1000)
                busy.append(percentile(meanwhile, 0.99) * 1000)
                rude.append(crowd.rude)
    at_once = f"with {TIMES} x {PLACES} at once, {name}"
    return [
        plain(f"F5 on {name}: F1 after one argon2 verification", f5, "/s"),
        at_least(f"Sign in, {name}", ours, f5, 0.7, "/s", "F5"),
        at_least(f"Sign-ins answered {at_once}", crowded, ours, 0.7, "/s", "without a crowd"),
        at_most(f"Longest wait of who was let in {at_once}", waits, bounds, 1.5, "s", "its places at the plain rate"),
        below(f"Refused otherwise than by 503 with Retry-After {at_once}", rude, 0, "answers"),
        at_most(f"A signed-in GET, p99, {at_once}", busy, idle, 2.0, "ms", "idle"),
    ]


def _people(house: House, database: Loader, organization_id: UUID, count: int, password_hash: str) -> list[Person]:
    """Who has signed in before."""
    now = utc_now()
    people = rows.invent(count, now)
    rows.hire(database, organization_id, people, now, password_hash, house.keyring)
    return people


async def _crowd(port: int, coming: Iterator[bytes], seconds: float) -> Crowd:
    """So many at once that each place is wanted three times; who is told to come later does."""
    crowd, begun = Crowd(), time.perf_counter()
    opened = [await Connection.open(port) for _ in range(TIMES * PLACES)]
    await asyncio.gather(*(_come(connection, coming, begun + seconds, crowd) for connection in opened))
    crowd.seconds = time.perf_counter() - begun
    for connection in opened:
        connection.close()
    return crowd


async def _come(connection: Connection, coming: Iterator[bytes], until: float, crowd: Crowd) -> None:
    for data in coming:
        while (begun := time.perf_counter()) < until:
            status, head, _ = await connection.ask(data)
            if status == 201:
                crowd.answered.append(time.perf_counter() - begun)
                break
            crowd.refused += 1
            _, _, told = head.partition(b"\r\nretry-after:")
            crowd.rude += status != 503 or not told
            await asyncio.sleep(float(told.partition(b"\r\n")[0] or 1))
        else:
            return


async def _reading(port: int, reader: Person, seconds: float) -> Sequence[float]:
    """Somebody who is signed in looks at something, again and again, with a short breath between. In a process of their
    own, so that the crowd does not stand in their way before they have left the house."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.reader", str(port), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await child.communicate(reader.token.encode())
    if child.returncode:
        raise RuntimeError("the reader gave up")
    latencies: list[float] = json.loads(told)
    return latencies
