import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest

from api.passwords import Hasher, HashSettings
from launch import demo, fleet
from launch.fleet import Fleet
from models import account, recovery_code, verification
from models.contact import SETTLED
from models.database import Database
from models.sealed import Keyring
from models.settings import SettingsError
from models.verification import VerificationKind
from platforms.simulation import simulated

CAST = tomllib.loads(demo.CAST.read_text(encoding="utf-8"))
KEYS = Keyring.from_settings("test:" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
URL = "http://127.0.0.1:8080"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def told(data: Path) -> dict:
    return json.loads((data / fleet.PEOPLE).read_text(encoding="utf-8"))


async def test_everybody_can_sign_in_with_what_the_file_says(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)

    assert told(data)["url"] == URL
    async with Hasher(HashSettings()) as hasher, db.read() as tx:
        for person in told(data)["people"]:
            row = await account.by_sign_in_name(tx, person["account"])
            assert row is not None
            with hasher.place() as place:
                assert await place.verify(row.password_hash, person["password"])
            assert not hasher.is_weak(row.password_hash)
            assert row.is_operator == ("operator" in person["roles"])
            methods, now = await verification.of_account(tx, row.id), datetime.now(UTC)
            assert all(method.created_at <= now - SETTLED for method in methods), "they lead back in at once"
            assert bool(person["saved_codes"]) == (not person["roles"] and not person["totp_secret"])
            saved = [one for one in methods if one.kind is VerificationKind.RECOVERY_CODES]
            assert bool(saved) == bool(person["saved_codes"])
            for text in person["saved_codes"]:
                code = recovery_code.read(text)
                assert code is not None
                with hasher.place() as place:
                    known = await recovery_code.hash_of(tx, saved[0].id, code.number)
                    assert await place.verify(known, code.secret)
            factors = [one for one in methods if one not in saved]
            assert bool(factors) == bool(person["totp_secret"])
            for factor in factors:
                assert factor.step_of(pyotp.TOTP(person["totp_secret"]).at(now), KEYS, now) is not None


async def test_there_are_all_the_people_a_demo_needs(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)
    demo.equip(data, CAST)

    people = {person["account"]: person for person in told(data)["people"]}
    owners = {device["account"] for device in json.loads((data / fleet.WANTED).read_text())}
    assert {bool(people[owner]["totp_secret"]) for owner in owners} == {False, True}
    assert {device["platform"] for device in json.loads((data / fleet.WANTED).read_text())} == {*simulated()}
    unmanaged = [device["platform"] for person in people.values() for device in person["devices"]]
    assert unmanaged == ["windows81"]
    assert sorted(role for person in people.values() for role in person["roles"]) == [
        "global_administrator",
        "operator",
    ]
    assert all(
        person.keys() == {"account", "password", "totp_secret", "roles", "devices", "saved_codes"}
        for person in people.values()
    )


async def test_the_file_is_for_its_owner_alone(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)

    assert (data / fleet.PEOPLE).stat().st_mode & 0o777 == 0o600


async def test_a_second_call_changes_nothing(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)
    before = told(data)

    await demo.seed(data, "http://127.0.0.1:1", db, KEYS, CAST)

    assert told(data) == before


async def test_killed_before_the_file_had_its_name_the_next_call_keeps_the_passwords(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)
    before = told(data)
    (data / fleet.PEOPLE).rename(data / "demo.json.new")

    await demo.seed(data, URL, db, KEYS, CAST)

    assert told(data) == before


async def test_accounts_whose_passwords_are_lost_are_a_clear_error(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)
    (data / fleet.PEOPLE).unlink()

    for _ in range(2):
        with pytest.raises(demo.DemoLost, match=r"demo\.json is gone, but its accounts exist"):
            await demo.seed(data, URL, db, KEYS, CAST)


def test_the_processes_are_told_of_keys_that_exist(data: Path) -> None:
    demo.equip(data, CAST)
    fleet.write_people(data / fleet.PEOPLE, {"url": URL, "people": []})

    made = Fleet.load(data)

    assert made is not None
    assert made.files
    assert all((data / file).read_text() for file in made.files.values())
    assert all(name.endswith("_FILE") for name in made.files)
    assert len(made.push) == len(set(made.push)) > 0


async def test_production_gets_no_demo(data: Path) -> None:
    with pytest.raises(SettingsError, match="MODE=embedded alone"):
        await demo.make({"MODE": "production", "DATA_DIR": str(data)})

    assert not (data / fleet.PEOPLE).exists()
