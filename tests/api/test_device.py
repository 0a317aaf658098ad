"""One device over HTTP: its label, and the mark that an edit must bring back."""

import unicodedata
from typing import Any
from uuid import UUID

import pytest

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
