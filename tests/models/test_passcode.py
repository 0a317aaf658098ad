"""A passcode can be read until its last moment, by its seal alone, and is then gone from the row."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import job, passcode
from models.database import Database
from models.passcode import Passcode
from models.sealed import Keyring, SealBroken
from models.settings import READABLE_PASSCODE
from models.vocabulary import Act, PasscodeKind, Secret
from tests import runs
from tests.clock import NOON, Clock
from tests.people import Person, found, give_device, hire

MOMENT = timedelta(microseconds=1)
DAY = timedelta(hours=24)
HELD = Passcode(
    id=UUID(int=1),
    organization_id=UUID(int=2),
    device_id=UUID(int=3),
    account_id=UUID(int=4),
    job_id=UUID(int=5),
    kind=PasscodeKind.TEMPORARY_NUMERIC,
    sealed=b"sealed",
    created_at=NOON,
    first_read_at=None,
    readable_until=NOON + DAY,
)


def test_it_can_be_read_until_its_last_moment() -> None:
    assert HELD.is_readable(NOON + DAY)
    assert not HELD.is_readable(NOON + DAY + MOMENT)
    assert not replace(HELD, sealed=None).is_readable(NOON)


@pytest.mark.parametrize(
    ("read_at", "until"),
    [
        (NOON, NOON + READABLE_PASSCODE),
        (NOON + DAY - READABLE_PASSCODE, NOON + DAY),
        (NOON + DAY - MOMENT, NOON + DAY),
    ],
)
def test_the_first_reading_starts_the_short_life_and_never_lengthens_it(read_at: datetime, until: datetime) -> None:
    assert HELD.readable_after_reading(read_at, READABLE_PASSCODE) == until


def test_a_later_reading_changes_nothing() -> None:
    read = replace(HELD, first_read_at=NOON, readable_until=NOON + READABLE_PASSCODE)

    assert read.readable_after_reading(NOON + READABLE_PASSCODE, READABLE_PASSCODE) == NOON + READABLE_PASSCODE


@dataclass(frozen=True, slots=True)
class Drawer:
    db: Database
    clock: Clock
    keys: Keyring
    person: Person
    device_id: UUID

    async def keep(self, value: bytes = b"1234", *, device_id: UUID | None = None) -> UUID:
        device_id, now = device_id or self.device_id, self.clock.now
        async with self.db.write() as tx:
            asked = await runs.ask(tx, self.person, device_id, Act.RESET_PASSCODE, now)
            await job.move(tx, asked, job.JobState.SUCCEEDED, by="worker", why=None, now=now)
            await passcode.keep(
                tx,
                organization_id=self.person.organization_id,
                device_id=device_id,
                account_id=self.person.id,
                job_id=asked.id,
                kind=PasscodeKind.TEMPORARY_NUMERIC,
                secret=Secret(value),
                keys=self.keys,
                readable_until=now + DAY,
                now=now,
            )
        return asked.id

    async def newest(self) -> Passcode:
        async with self.db.write() as tx:
            held = await passcode.newest_of_device(tx, self.person.organization_id, self.device_id)
        assert held is not None
        return held

    async def rows(self) -> list[Any]:
        async with self.db.read() as tx:
            statement = sa.select(passcode.passcode).order_by(passcode.passcode.c.created_at)
            return list((await tx.execute(statement)).all())


@pytest.fixture
async def drawer(database: Database, clock: Clock, keys: Keyring) -> Drawer:
    person = await hire(database, await found(database, NOON), "anna", NOON)
    return Drawer(database, clock, keys, person, await give_device(database, person, NOON))


async def test_it_is_sealed_for_its_device_and_its_job(drawer: Drawer) -> None:
    await drawer.keep()
    held = await drawer.newest()

    assert held.open(drawer.keys).value == b"1234"
    assert held.sealed is not None
    assert b"1234" not in held.sealed
    assert "1234" not in repr(held.open(drawer.keys))
    for other in (replace(held, job_id=UUID(int=1)), replace(held, device_id=UUID(int=1))):
        with pytest.raises(SealBroken):
            other.open(drawer.keys)


async def test_a_new_one_destroys_the_one_before_and_no_other_devices(drawer: Drawer) -> None:
    other = await give_device(drawer.db, drawer.person, NOON)
    await drawer.keep()
    drawer.clock.forward(1)
    await drawer.keep(b"other", device_id=other)
    drawer.clock.forward(1)
    await drawer.keep(b"5678")

    first, others, second = await drawer.rows()
    assert (first.sealed, first.destroyed_at, first.why) == (None, drawer.clock.now, "replaced")
    assert others.sealed is not None
    assert second.sealed is not None
    assert (await drawer.newest()).open(drawer.keys).value == b"5678"


async def test_a_destroyed_one_cannot_be_opened(drawer: Drawer) -> None:
    await drawer.keep()
    async with drawer.db.write() as tx:
        await passcode.destroy_of_device(tx, drawer.person.organization_id, drawer.device_id, "device_left", NOON)
    held = await drawer.newest()

    assert not held.is_readable(NOON)
    with pytest.raises(ValueError, match="destroyed"):
        held.open(drawer.keys)
    async with drawer.db.write() as tx:
        await passcode.destroy_of_device(tx, drawer.person.organization_id, drawer.device_id, "again", NOON)
    [row] = await drawer.rows()
    assert row.why == "device_left"


async def test_a_reading_is_written_down_once(drawer: Drawer) -> None:
    await drawer.keep()
    drawer.clock.forward(60)
    for _ in range(3):
        held = await drawer.newest()
        async with drawer.db.write() as tx:
            until = await passcode.note_reading(tx, held, drawer.clock.now, READABLE_PASSCODE)
        assert until == NOON + timedelta(seconds=60) + READABLE_PASSCODE
        drawer.clock.forward(60)

    [row] = await drawer.rows()
    assert (row.first_read_at, row.readable_until) == (NOON + timedelta(seconds=60), until)


async def test_it_is_destroyed_after_its_last_moment_and_not_at_it(drawer: Drawer) -> None:
    await drawer.keep()

    async def destroy() -> int:
        async with drawer.db.write() as tx:
            return await passcode.destroy_due(tx, drawer.clock.now, 10)

    drawer.clock.forward(DAY)
    assert (await drawer.newest()).is_readable(drawer.clock.now)
    assert await destroy() == 0
    drawer.clock.forward(MOMENT)
    assert await destroy() == 1
    assert await destroy() == 0
    [row] = await drawer.rows()
    assert (row.sealed, row.why) == (None, "lapsed")


async def test_one_replaced_at_the_very_same_moment_is_not_taken_for_the_newest(drawer: Drawer) -> None:
    for number in range(8):
        await drawer.keep(f"{number}".encode())
        assert (await drawer.newest()).open(drawer.keys).value == f"{number}".encode()
