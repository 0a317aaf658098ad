import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest

from api.passwords import Hasher, HashSettings
from launch import demo, fleet
from launch.fleet import Fleet
from models import account, app, organization, recovery_code, terms, verification
from models.contact import SETTLED
from models.database import Database
from models.organization_change import Change
from models.role import Role
from models.sealed import Keyring
from models.settings import SettingsError
from models.standing import Status
from models.terms import Asked, Mine
from models.verification import VerificationKind
from models.vocabulary import new_id
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


ELSEWHERE = CAST["elsewhere"]


async def belongs(db: Database, name: str) -> list[organization.Belonging]:
    """Where somebody belongs, their home first."""
    async with db.read() as tx:
        row = await account.by_sign_in_name(tx, name)
        assert row is not None
        found = await organization.of_account(tx, row.id, after=None, limit=10)
    return sorted(found, key=lambda one: one.organization_id != row.organization_id)


async def asked(db: Database, name: str, place: organization.Belonging) -> list[Mine]:
    async with db.read() as tx:
        row, now = await account.by_sign_in_name(tx, name), await tx.now()
        assert row is not None
        return await terms.of_person(tx, Asked(place.organization_id, row.id, new_id(now), None), now)


async def test_some_are_guests_of_another_organization(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)

    for person in told(data)["people"]:
        home, *others = await belongs(db, person["account"])
        assert home.name == CAST["organization"]
        expected = [ELSEWHERE["organization"]] if person["account"] in ELSEWHERE["guests"] else []
        assert [one.name for one in others] == expected
        assert all(one.roles == tuple(ELSEWHERE["guests"][person["account"]]) for one in others)
        async with db.read() as tx:
            row = await account.by_sign_in_name(tx, person["account"])
            assert row is not None
            assert not await organization.is_guest(tx, home.organization_id, row.id)
            assert all([await organization.is_guest(tx, one.organization_id, row.id) for one in others])
    assert CAST["people"][0]["account"] in ELSEWHERE["guests"], "whom the README signs in"
    assert [Role.GLOBAL_ADMINISTRATOR] in ELSEWHERE["guests"].values(), "somebody keeps it"


async def test_terms_are_asked_elsewhere_and_never_at_home(data: Path, db: Database) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)

    for person in told(data)["people"]:
        home, *others = await belongs(db, person["account"])
        assert await asked(db, person["account"], home) == []
        for place in others:
            (rules,) = await asked(db, person["account"], place)
            assert rules.standing.status is Status.OVERDUE
            assert rules.standing.version is not None
            assert rules.terms.names.keys() == {"en", "nl"}
            for language in ("en", "nl"):
                async with db.read() as tx:
                    shown = await terms.text_of(tx, rules.standing.version.id, language)
                assert shown.text == terms.clean_text(shown.text), "as an administrator could have published it"
                assert shown.text.startswith(rules.terms.called(language))


async def test_the_other_organization_says_whom_to_ask_what_it_sees_and_which_apps_it_has(
    data: Path, db: Database
) -> None:
    await demo.seed(data, URL, db, KEYS, CAST)

    _, elsewhere = await belongs(db, CAST["people"][0]["account"])
    async with db.read() as tx:
        held = await organization.hold_settings(tx, elsewhere.organization_id)
        apps = await app.page(tx, elsewhere.organization_id, after=None, limit=10)
    assert Change(**ELSEWHERE["settings"]).apply({}, simulated()) == held, "as an administrator could have decided it"
    assert held["contact"].keys() >= {"name", "email", "phone", "url"}
    assert held["privacy"].keys() == {"url", "can_see", "cannot_see"}
    assert {one.name for one in apps} == {each["name"] for each in ELSEWHERE["apps"]}
    assert all(one.backchannel_logout_uri is None for one in apps), "a demo calls nobody"


async def test_a_folder_of_before_the_other_organization_is_left_as_it_is(data: Path, db: Database) -> None:
    before = {name: value for name, value in CAST.items() if name != "elsewhere"}
    fleet.write_people(data / fleet.PEOPLE, {"url": URL, "people": []})

    await demo.seed(data, URL, db, KEYS, before)
    await demo.seed(data, URL, db, KEYS, CAST)
    demo.equip(data, CAST)

    assert told(data) == {"url": URL, "people": []}
    assert Fleet.load(data) is not None


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
