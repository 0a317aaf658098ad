"""One device over HTTP: its label and the mark that an edit must bring back, what it is recognized by, the quota."""

import asyncio
import unicodedata
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg

from api.operations import activity
from api.operations.act import SELECT_FOR_OFFERS
from models.database import Transaction
from models.device import DeviceState, device
from models.settings import DEVICES_PER_ACCOUNT
from tests.api.house import Answer, House
from tests.people import give_device


async def a_device(house: House, token: str = "t", name: str = "anna") -> UUID:
    person = await house.hire(name)
    await house.open_session(person, token)
    return await give_device(house.db, person, house.clock.now, platform="pocket")


async def rename(house: House, device_id: UUID, name: Any, match: str | None = "*", token: str = "t") -> Answer:
    headers = {} if match is None else {"If-Match": match}
    return await house.ask("POST", f"/devices/{device_id}/rename", {"name": name}, token=token, headers=headers)


async def test_a_device_has_the_label_that_its_owner_gave_it(house: House) -> None:
    device_id = await a_device(house)
    shown = await house.ask("GET", f"/devices/{device_id}", token="t")

    renamed = await rename(house, device_id, "  Phone for work ", shown.headers["ETag"])
    again = await house.ask("GET", f"/devices/{device_id}", token="t")

    assert renamed.status == 200
    assert renamed.json == {**shown.json, "name": "Phone for work"} == again.json
    assert renamed.headers["ETag"] == again.headers["ETag"] != shown.headers["ETag"]
    (said,) = (await house.ask("GET", "/events", token="t")).json["items"]
    assert (said["action"], said["subject"]) == ("device:name:change", {"kind": "device", "id": str(device_id)})
    assert said["facts"] == {"from": "anna's phone", "to": "Phone for work"}
    assert (await house.ask("GET", "/jobs", token="t")).json["items"] == []


async def test_the_same_label_again_is_no_change(house: House) -> None:
    device_id = await a_device(house)

    assert (await rename(house, device_id, "anna's phone")).status == 200

    assert (await house.ask("GET", "/events", token="t")).json["items"] == []


async def test_an_edit_says_what_it_was_made_from(house: House) -> None:
    device_id = await a_device(house)
    mark = (await house.ask("GET", f"/devices/{device_id}", token="t")).headers["ETag"]

    without = await rename(house, device_id, "one", None)
    first = await rename(house, device_id, "one", f'"other", {mark}')
    late = await rename(house, device_id, "two", mark)
    weak = await rename(house, device_id, "two", f"W/{first.headers['ETag']}")
    whatever = await rename(house, device_id, "two", "*")

    assert [(one.status, one.json.get("code")) for one in (without, first, late, weak, whatever)] == [
        (428, "precondition_required"),
        (200, None),
        (412, "precondition_failed"),
        (412, "precondition_failed"),
        (200, None),
    ]
    assert whatever.json["name"] == "two"


async def test_a_device_that_is_merely_seen_again_has_the_same_mark(house: House) -> None:
    device_id = await a_device(house)
    before = await house.ask("GET", f"/devices/{device_id}", token="t")
    await house.ask("POST", f"/devices/{device_id}/remote-lock", token="t", headers={"Idempotency-Key": "k"})

    after = await house.ask("GET", f"/devices/{device_id}", token="t")

    assert before.json != after.json
    assert before.headers["ETag"] == after.headers["ETag"]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("x" * 64, 200),
        ("x" * 65, 422),
        ("", 422),
        (" \t", 422),
        ("a\nb", 422),
        ("a\x00b", 422),
        ("a\x85b", 422),
        ("a\u202eb", 422),
        ("a\u2028b", 422),
        ("\U0001f469\u200d\U0001f4bb", 200),
        ("\u0958" * 64, 422),  # twice as long once it is written as everybody writes it
        (7, 422),
        (None, 422),
    ],
)
async def test_a_label_can_be_read_and_does_not_break_a_sentence(house: House, name: Any, status: int) -> None:
    assert (await rename(house, await a_device(house), name)).status == status


async def test_a_label_is_the_same_however_it_was_typed(house: House) -> None:
    device_id = await a_device(house)
    name = "Zo\u00eb's phone"

    renamed = await rename(house, device_id, unicodedata.normalize("NFD", name))

    assert renamed.json["name"] == name


async def test_nobody_names_anothers_device(house: House) -> None:
    device_id = await a_device(house)
    await a_device(house, "s", "bert")

    assert (await rename(house, device_id, "mine", token="s")).status == 404
    assert (await rename(house, device_id, "mine", None, token="s")).status == 404


# What it is recognized by (A2)


async def change(house: House, statement: sa.Update) -> None:
    async with house.db.write() as tx:
        await tx.execute(statement)


async def test_a2_a_device_is_told_with_all_that_it_can_be_recognized_by(house: House) -> None:
    person = await house.hire("anna")
    await house.open_session(person, "t")
    device_id = await give_device(house.db, person, house.clock.now)
    house.platform.compliant = False
    told = {"os_name": "Pocket OS", "os_version": "7.1", "maker": "Acme", "model": "P-7", "serial": "X1"}
    await change(house, sa.update(device).values(**told, last_seen_at=house.clock.now, seen_from="192.0.2.77"))

    (listed,) = (await house.ask("GET", "/devices", token="t")).json["items"]
    shown = (await house.ask("GET", f"/devices/{device_id}", token="t")).json

    assert shown == listed
    assert {name: shown[name] for name in told} == told
    facts = ("id", "name", "ownership", "join", "managed", "compliant", "enabled")
    assert [shown[name] for name in facts] == [
        str(device_id),
        "anna's phone",
        "corporate",
        "joined",
        True,
        False,
        True,
    ]
    assert shown["registered_at"] == shown["created_at"] == shown["last_seen_at"]
    assert shown["activity"] == {
        "check_in": {"at": shown["last_seen_at"], "address": "192.0.2.77", "network": "192.0.2.0/24"},
        "sign_in": None,
        "command": None,
    }


async def test_what_has_not_finished_enrolling_or_is_disabled_is_not_managed(house: House) -> None:
    person = await house.hire("anna")
    await house.open_session(person, "t")
    invited = await house.ask("POST", "/enrollments", {"platform": "pocket", "ownership": "personal"}, token="t")
    disabled = await give_device(house.db, person, house.clock.now, state=DeviceState.DISABLED)
    strange = await give_device(house.db, person, house.clock.now, platform="abacus")

    shown = [
        (await house.ask("GET", f"/devices/{one}", token="t")).json
        for one in (invited.json["device_id"], disabled, strange)
    ]

    assert [(one["join"], one["managed"], one["compliant"], one["enabled"]) for one in shown] == [
        ("registered", False, None, True),
        ("joined", False, None, False),
        (None, True, None, True),
    ]
    assert shown[0]["registered_at"] is None
    assert shown[0]["activity"] == {"check_in": None, "sign_in": None, "command": None}


async def test_the_newest_sign_in_on_it_and_the_newest_order_stand_beside_it(house: House) -> None:
    person = await house.hire("anna", second_factor=True)
    await house.open_session(person, "t", strength=2)
    mine, other = [await give_device(house.db, person, house.clock.now) for _ in range(2)]
    body = {"account": person.name, "password": person.password, "device_id": str(mine)}
    firefox = {"User-Agent": "Mozilla/5.0 (X11; rv:145.0) Gecko/20100101 Firefox/145.0"}
    half = await house.ask("POST", "/sessions", body, address="203.0.113.9", headers=firefox)
    code = {"method_id": str(person.method_id), "code": person.code(house.clock.now)}
    whole = await house.ask("POST", "/sessions/current/second-factor", code, token=half.json["token"])
    house.clock.forward(60)
    await house.ask("POST", "/sessions", body, address="198.51.100.1")  # half a sign-in is none
    for act, key in (("remote-lock", "first"), ("wipe", "proof is missing")):
        await house.ask("POST", f"/devices/{mine}/{act}", token="t", headers={"Idempotency-Key": key})

    shown = {one["id"]: one for one in (await house.ask("GET", "/devices", token="t")).json["items"]}

    activity = shown[str(mine)]["activity"]
    assert activity["sign_in"] == {
        "at": whole.json["session"]["signed_in_at"],
        "address": "203.0.113.9",
        "network": "203.0.113.0/24",
        "browser": "Firefox",
    }
    command = activity["command"]
    assert (command["act"], command["state"], command["reason"]) == ("remote_lock", "queued", None)
    assert shown[str(other)]["activity"]["sign_in"] is shown[str(other)]["activity"]["command"] is None
    house.clock.forward(5)
    await house.ask("POST", f"/jobs/{command['job_id']}/cancel", token="t")
    again = (await house.ask("GET", f"/devices/{mine}", token="t")).json
    assert (again["activity"]["command"]["state"], again["lock"]) == ("cancelled", None)
    assert again["activity"]["command"]["at"] > command["at"]


@pytest.mark.parametrize("columns", [activity.FOR_OWNER, activity.FOR_ADMINISTRATOR])
async def test_what_is_newest_of_each_device_is_found_by_its_index(house: House, columns: tuple[Any, ...]) -> None:
    """A scan would go unseen here, and not among a million rows."""
    nobody = sa.literal_column("'019ca945-0a00-7be2-bb92-f6cfb4d9e1e4'")
    theirs = (device.c.organization_id == nobody, device.c.account_id == nobody)
    dialect = sqlite.dialect() if house.db.is_sqlite else psycopg.dialect()
    statement = SELECT_FOR_OFFERS.add_columns(*columns).where(*theirs)
    spelled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    async with house.db.write() as tx:
        if not house.db.is_sqlite:
            # These tables are so small that to read them whole is right.
            await tx.execute(sa.text("SET LOCAL enable_seqscan = off"))
        verb = "EXPLAIN QUERY PLAN" if house.db.is_sqlite else "EXPLAIN"
        plan = "\n".join(str(row) for row in await tx.execute(sa.text(f"{verb} {spelled}")))

    assert not any(waste in plan for waste in ("Seq Scan", "TEMP B-TREE", "Sort")), plan
    assert all(index in plan for index in ("ix_device_account", "ix_session_device", "ix_job_device")), plan


async def test_a_longer_list_asks_no_more_questions(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    person = await house.hire("anna")
    await house.open_session(person, "t")
    asked = []
    execute = Transaction.execute

    async def count(tx: Transaction, statement: Any, *given: Any) -> Any:
        asked.append(statement)
        return await execute(tx, statement, *given)

    monkeypatch.setattr(Transaction, "execute", count)
    counts = []
    for _ in range(2):
        for _ in range(3):
            device_id = await give_device(house.db, person, house.clock.now)
            body = {"account": person.name, "password": person.password, "device_id": str(device_id)}
            await house.ask("POST", "/sessions", body)
            lock = f"/devices/{device_id}/remote-lock"
            await house.ask("POST", lock, token="t", headers={"Idempotency-Key": device_id.hex})
        asked.clear()
        assert (await house.ask("GET", "/devices", token="t")).status == 200
        counts.append(len(asked))

    assert counts[0] == counts[1] <= 6, "however many devices there are"


# How many somebody may have


async def enrol(house: House) -> Answer:
    return await house.ask("POST", "/enrollments", {"platform": "pocket"}, token="t")


async def set_quota(house: House, quota: Any) -> Answer:
    body = {"device_quota": quota}
    return await house.ask("PATCH", "/organization/settings", body, token="boss", headers={"If-Match": "*"})


@pytest.mark.rule("A2.3")
async def test_a2_t_one_enrolment_above_the_quota_is_refused(house: House) -> None:
    person = await house.hire()
    await house.open_session(person, "t")
    for _ in range(DEVICES_PER_ACCOUNT - 1):
        await give_device(house.db, person, house.clock.now)

    last = await house.ask("POST", "/enrollments", {"platform": "pocket"}, token="t")
    above = await house.ask("POST", "/enrollments", {"platform": "pocket"}, token="t")

    assert last.status == 201
    assert (above.status, above.json["code"], above.json["limit"]) == (403, "device_quota", DEVICES_PER_ACCOUNT)
    assert above.json["contact"] == {}


@pytest.mark.rule("A2.3")
@pytest.mark.parametrize("quota", [1, 3])
async def test_a2_t_an_organization_says_how_many_devices_one_person_may_have(house: House, quota: int) -> None:
    person = await house.hire()
    await house.open_session(person, "t")
    await house.appoint()
    contact = {"device_quota": quota, "contact": {"email": "help@example.org"}}
    await house.ask("PATCH", "/organization/settings", contact, token="boss", headers={"If-Match": "*"})
    for _ in range(quota - 1):
        await give_device(house.db, person, house.clock.now)

    last, above = await enrol(house), await enrol(house)

    assert last.status == 201
    assert (above.status, above.json["code"], above.json["limit"]) == (403, "device_quota", quota)
    assert above.json["contact"] == {"email": "help@example.org"}
    assert (await set_quota(house, quota + 1)).json["device_quota"] == quota + 1
    assert (await enrol(house)).status == 201
    assert (await enrol(house)).status == 403


async def test_whoever_has_more_than_a_new_quota_keeps_them_and_gets_no_other(house: House) -> None:
    person = await house.hire()
    await house.open_session(person, "t")
    await house.appoint()
    lost, *_ = [await give_device(house.db, person, house.clock.now) for _ in range(3)]
    await set_quota(house, 2)

    assert len((await house.ask("GET", "/devices", token="t")).json["items"]) == 3
    assert (await enrol(house)).status == 403
    path = f"/accounts/{person.id}/devices/{lost}"
    assert (await house.ask("POST", f"{path}/disable", {"reason": "lost"}, token="boss")).status == 200
    back = await house.ask("POST", f"{path}/enable", token="boss")
    assert (back.status, back.json["code"], back.json["limit"]) == (403, "device_quota", 2)


async def test_without_a_quota_there_is_none(house: House) -> None:
    person = await house.hire()
    await house.open_session(person, "t")
    await house.appoint()
    assert (await set_quota(house, "unlimited")).json["device_quota"] == "unlimited"
    for _ in range(DEVICES_PER_ACCOUNT):
        await give_device(house.db, person, house.clock.now)

    assert (await enrol(house)).status == 201
    assert (await set_quota(house, None)).json["device_quota"] == DEVICES_PER_ACCOUNT
    assert (await enrol(house)).status == 403


async def test_two_who_enrol_the_last_at_once_are_one(house: House) -> None:
    person = await house.hire()
    await house.open_session(person, "t")
    await house.appoint()
    await set_quota(house, 2)
    await give_device(house.db, person, house.clock.now)

    answers = await asyncio.gather(*(enrol(house) for _ in range(4)))

    assert sorted(one.status for one in answers) == [201, 403, 403, 403]
    assert len((await house.ask("GET", "/devices", token="t")).json["items"]) == 2
