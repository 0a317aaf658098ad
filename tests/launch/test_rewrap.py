"""Another key for what is sealed: all of it, in small steps, as often as one likes, and nothing is opened for it."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from launch import rewrap as command
from launch.rewrap import SEALED, Count, rewrap
from models import delivery, enrollment, job, passcode, person_key, signing_key
from models.base import metadata
from models.database import Database
from models.sealed import Keyring, SealBroken
from models.settings import DatabaseSettings
from models.signing_key import SigningKey
from models.vocabulary import PasscodeKind, Secret, new_id
from tests.clock import Clock
from tests.people import Person, found, give_device, give_totp, hire

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()


@pytest.fixture
def old() -> Keyring:
    return Keyring.from_settings(OLD)


@pytest.fixture
def both() -> Keyring:
    return Keyring.from_settings(f"{NEW},{OLD}")


async def furnish(db: Database, keys: Keyring, clock: Clock) -> Person:
    """One value of every sealed kind."""
    now = clock.now
    anna = await hire(db, await found(db, now), "anna", now)
    anna = await give_totp(db, keys, anna, now)
    device_id, job_id = await give_device(db, anna, now), new_id(now)
    bonds = enrollment.enrollment
    async with db.write() as tx:
        bond = (await tx.execute(sa.select(bonds).where(bonds.c.device_id == device_id))).one()
        memory = enrollment.seal_memory(keys, anna.organization_id, bond.id, Secret(b"memory"))
        await tx.execute(sa.update(bonds).where(bonds.c.id == bond.id).values(memory=memory))
        values = {"organization_id": anna.organization_id, "account_id": anna.id, "device_id": device_id}
        plan = keys.seal(Secret(b"plan"), purpose=job.PLAN_PURPOSE, owner=(anna.organization_id, job_id))
        await tx.execute(
            sa.insert(job.job).values(
                id=job_id,
                kind="reset_passcode",
                queue="interactive",
                state="waiting",
                available_at=now,
                created_at=now,
                plan=plan,
                **values,
            )
        )
        await passcode.keep(
            tx,
            job_id=job_id,
            kind=PasscodeKind.TEMPORARY_NUMERIC,
            secret=Secret(b"493817"),
            keys=keys,
            readable_until=now + timedelta(hours=24),
            now=now,
            **values,
        )
        await delivery.send(
            tx,
            keys=keys,
            organization_id=anna.organization_id,
            account_id=anna.id,
            channel=delivery.Channel.MAIL,
            to="anna@example.org",
            key="not_me.done",
            params={},
            language="en",
            now=now,
        )
        await signing_key.rotate(tx, keys, now)
        assert await person_key.take(tx, keys, anna.id) is not None
    return anna


async def opened(db: Database, keys: Keyring) -> list[bytes]:
    values = []
    async with db.read() as tx:
        for sealed in SEALED:
            statement = sa.select(sealed.column, *sealed.owner).where(sealed.column.is_not(None))
            rows = (await tx.execute(statement)).all()
            values += [keys.open(row[0], purpose=sealed.purpose, owner=tuple(row[1:])).value for row in rows]
    return values


def test_every_sealed_column_is_known_here() -> None:
    named = {
        (table.name, column.name)
        for table in metadata.tables.values()
        for column in table.c
        if column.name == "sealed" or (column.comment or "").startswith("sealed")
    }

    assert {(sealed.column.table.name, sealed.column.name) for sealed in SEALED} == named


async def test_all_is_under_the_new_key_afterwards_and_the_old_one_opens_nothing(
    database: Database, clock: Clock, old: Keyring, both: Keyring
) -> None:
    await furnish(database, old, clock)
    before = await opened(database, both)

    count = await rewrap(database, both)

    assert count == Count(rewrapped=7)
    assert await opened(database, Keyring.from_settings(NEW)) == before
    with pytest.raises(SealBroken):
        await opened(database, old)


async def test_run_again_it_finds_everything_done(
    database: Database, clock: Clock, old: Keyring, both: Keyring
) -> None:
    await furnish(database, old, clock)
    await rewrap(database, both)

    assert await rewrap(database, both) == Count(current=7)


async def test_what_was_signed_with_before_signs_on_under_the_new_key(
    database: Database, clock: Clock, old: Keyring, both: Keyring
) -> None:
    await furnish(database, old, clock)
    (before,) = await signing_keys(database)
    private = before.open(old).private_numbers()

    await rewrap(database, both)

    (after,) = await signing_keys(database)
    assert (after.id, after.public, after.signs_from) == (before.id, before.public, before.signs_from)
    assert after.open(Keyring.from_settings(NEW)).private_numbers() == private
    with pytest.raises(SealBroken):
        after.open(old)


async def signing_keys(db: Database) -> list[SigningKey]:
    async with db.read() as tx:
        return await signing_key.page(tx)


@pytest.mark.parametrize("at_once", [1, 2, 3, 500])
async def test_it_goes_in_small_steps_and_misses_nothing(
    database: Database, clock: Clock, old: Keyring, both: Keyring, at_once: int
) -> None:
    person = await furnish(database, old, clock)
    for number in range(4):
        await give_totp(database, old, person, clock.now, label=f"App {number}", is_default=False)

    assert await rewrap(database, both, at_once) == Count(rewrapped=11)
    assert len(await opened(database, Keyring.from_settings(NEW))) == 11


async def test_stopped_in_the_middle_it_goes_on_where_it_was(
    database: Database, clock: Clock, old: Keyring, both: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(database, old, clock)
    monkeypatch.setattr(command, "SEALED", SEALED[:2])
    await rewrap(database, both)
    monkeypatch.setattr(command, "SEALED", SEALED)

    assert await rewrap(database, both) == Count(rewrapped=5, current=2)


async def test_what_opens_under_no_key_is_counted_and_left(
    database: Database, clock: Clock, old: Keyring, both: Keyring
) -> None:
    await furnish(database, old, clock)
    lost = Keyring.from_settings("lost:" + base64.b64encode(b"l" * 32).decode())
    await furnish_another(database, lost, clock)

    assert await rewrap(database, both) == Count(rewrapped=7, broken=1)


async def furnish_another(db: Database, keys: Keyring, clock: Clock) -> None:
    bert = await hire(db, await found(db, clock.now), "bert", clock.now)
    await give_totp(db, keys, bert, clock.now)


def test_the_command_says_what_it_did_and_when_nothing_is_left(
    sqlite_settings: DatabaseSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main({"DATABASE_URL": sqlite_settings.url, "SEAL_KEYS": f"{NEW},{OLD}"}) == command.DONE

    said = capsys.readouterr().out
    assert said == "rewrapped=0 current=0 broken=0\nnothing is left under another key than new\n"


@pytest.mark.parametrize("missing", ["DATABASE_URL", "SEAL_KEYS"])
def test_settings_that_are_missing_are_named(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ: dict[str, Any] = {"DATABASE_URL": f"sqlite:///{tmp_path}/none.db", "SEAL_KEYS": NEW}
    del environ[missing]

    assert command.main(environ) == command.MISCONFIGURED
    assert missing in capsys.readouterr().err
