"""What only one may do at a time is done by one, and passes on when that one is gone."""

import asyncio
from datetime import timedelta

from models import duty
from models.database import Database
from models.duty import Held
from tests.clock import NOON, Clock

LENGTH = timedelta(seconds=5)
MOMENT = timedelta(microseconds=1)


async def take(db: Database, clock: Clock, holder: str) -> Held | None:
    async with db.write() as tx:
        return await duty.take(tx, "sweep", holder, LENGTH, clock.now)


async def is_held(db: Database, clock: Clock) -> bool:
    async with db.read() as tx:
        return await duty.is_held(tx, "sweep", clock.now)


async def test_whoever_has_it_keeps_it_and_others_wait(database: Database, clock: Clock) -> None:
    assert not await is_held(database, clock)
    assert await take(database, clock, "one") == Held(NOON + LENGTH, {})
    assert await take(database, clock, "two") is None
    clock.forward(1)
    held = await take(database, clock, "one")

    assert held is not None
    assert held.until == clock.now + LENGTH
    assert await is_held(database, clock)


async def test_of_twenty_who_want_it_at_once_one_has_it(database: Database, clock: Clock) -> None:
    held = await asyncio.gather(*(take(database, clock, str(number)) for number in range(20)))

    assert sum(one is not None for one in held) == 1


async def test_it_passes_on_at_the_moment_it_lapses_with_its_notes(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    async with database.write() as tx:
        assert await duty.note(tx, "sweep", "one", {"epoch": "x"})
    clock.forward(LENGTH - MOMENT)
    assert await is_held(database, clock)
    assert await take(database, clock, "two") is None
    clock.forward(MOMENT)
    assert not await is_held(database, clock)

    held = await take(database, clock, "two")

    assert held is not None
    assert held.notes == {"epoch": "x"}
    assert await take(database, clock, "one") is None


async def test_whoever_lost_it_notes_and_releases_nothing(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    clock.forward(LENGTH)
    await take(database, clock, "two")

    async with database.write() as tx:
        assert not await duty.note(tx, "sweep", "one", {"epoch": "stale"})
        await duty.release(tx, "sweep", "one")
    assert await is_held(database, clock)
    held = await take(database, clock, "two")
    assert held is not None
    assert held.notes == {}


async def test_a_released_one_is_free_at_once(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    async with database.write() as tx:
        await duty.release(tx, "sweep", "one")

    assert not await is_held(database, clock)
    assert await take(database, clock, "two") is not None


async def test_duties_are_apart(database: Database, clock: Clock) -> None:
    await take(database, clock, "one")
    async with database.write() as tx:
        assert await duty.take(tx, "seal", "two", LENGTH, clock.now) is not None
