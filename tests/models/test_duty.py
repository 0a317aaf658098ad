"""What only one may do at a time is done by one, and passes on when that one is gone."""

import asyncio
from datetime import timedelta

from models import duty
from models.database import Database
from tests.clock import Clock

LENGTH = timedelta(seconds=5)
MOMENT = timedelta(microseconds=1)


async def take(db: Database, clock: Clock, holder: str) -> bool:
    async with db.write() as tx:
        return await duty.take(tx, "sweep", holder, LENGTH, clock.now)


async def is_held(db: Database, clock: Clock) -> bool:
    async with db.read() as tx:
        return await duty.is_held(tx, "sweep", clock.now)


async def test_whoever_has_it_keeps_it_and_others_wait(database: Database, clock: Clock) -> None:
    assert not await is_held(database, clock)
    assert await take(database, clock, "one")
    assert not await take(database, clock, "two")
    clock.forward(1)
    assert await take(database, clock, "one")
    clock.forward(LENGTH - MOMENT)
    assert await is_held(database, clock), "kept from the second time on"


async def test_of_twenty_who_want_it_at_once_one_has_it(database: Database, clock: Clock) -> None:
    held = await asyncio.gather(*(take(database, clock, str(number)) for number in range(20)))

    assert held.count(True) == 1


async def test_it_passes_on_at_the_moment_it_lapses(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    clock.forward(LENGTH - MOMENT)
    assert await is_held(database, clock)
    assert not await take(database, clock, "two")
    clock.forward(MOMENT)
    assert not await is_held(database, clock)

    assert await take(database, clock, "two")
    assert not await take(database, clock, "one")


async def test_whoever_lost_it_releases_nothing(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    clock.forward(LENGTH)
    await take(database, clock, "two")

    async with database.write() as tx:
        await duty.release(tx, "sweep", "one")
    assert await is_held(database, clock)
    assert await take(database, clock, "two")


async def test_a_released_one_is_free_at_once(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    async with database.write() as tx:
        await duty.release(tx, "sweep", "one")

    assert not await is_held(database, clock)
    assert await take(database, clock, "two")


async def test_duties_are_apart(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    async with database.write() as tx:
        assert await duty.take(tx, "seal", "two", LENGTH, clock.now)
