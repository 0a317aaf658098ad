"""Devices, acts and jobs over HTTP: addresses, shapes and who may see what."""

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import device, event
from models.job import job
from models.vocabulary import Act, Reason
from tests.api.house import Answer, House
from tests.people import Person, give_device


async def with_a_device(house: House, token: str = "t", name: str = "anna", **more: Any) -> tuple[Person, UUID]:
    person = await house.hire(name, **more)
    await house.open_session(person, token)
    device_id = await give_device(house.db, person, house.clock.now, platform="pocket")
    return person, device_id


async def lock(house: House, device_id: UUID, key: str = "k1", token: str = "t") -> Answer:
    headers = {"Idempotency-Key": key}
    return await house.ask("POST", f"/devices/{device_id}/remote-lock", token=token, headers=headers)


async def test_a_device_shows_every_act_and_why_one_is_not_available(house: House) -> None:
    _, device_id = await with_a_device(house)
    house.platform.offered = {Act.REMOTE_LOCK: None, Act.RESTART: Reason.OS_VERSION}

    listed = await house.ask("GET", "/devices", token="t")
    shown = await house.ask("GET", f"/devices/{device_id}", token="t")

    assert listed.status == shown.status == 200
    assert listed.json == {"items": [shown.json], "next_cursor": None}
    assert shown.json | {"acts": None} == {
        "id": str(device_id),
        "name": "anna's phone",
        "platform": "pocket",
        "ownership": "corporate",
        "state": "active",
        "last_seen_at": None,
        "acts": None,
        "passcode": None,
        "os_version": None,
        "model": None,
        "serial": None,
        "created_at": "2026-03-01T12:00:00Z",
        "reach": {"road": "poll", "expected_by": "2026-03-01T20:00:00Z"},
        "lock": None,
        "rename": {"available": True, "reason": None},
        "os_name": None,
        "maker": None,
        "join": "joined",
        "managed": True,
        "compliant": None,
        "enabled": True,
        "registered_at": "2026-03-01T12:00:00Z",
        "activity": {"check_in": None, "sign_in": None, "command": None},
    }
    acts = {one["act"]: (one["available"], one["reason"], one["proof"]) for one in shown.json["acts"]}
    assert acts["remote_lock"] == (True, None, "none")
    assert acts["restart"] == (False, "os_version", "none")
    assert acts["reset_passcode"] == (False, "platform_unsupported", "re_sign_in")
    assert acts.keys() == set(Act)


async def test_devices_come_in_pages(house: House) -> None:
    anna, first = await with_a_device(house)
    more = [await give_device(house.db, anna, house.clock.now, platform="pocket") for _ in range(2)]

    page = (await house.ask("GET", "/devices?limit=2", token="t")).json
    rest = (await house.ask("GET", f"/devices?limit=2&cursor={page['next_cursor']}", token="t")).json

    seen = [one["id"] for one in page["items"] + rest["items"]]
    assert seen == sorted(str(one) for one in [first, *more])
    assert rest["next_cursor"] is None


async def test_an_act_that_is_accepted_is_a_job_with_an_address(house: House) -> None:
    _, device_id = await with_a_device(house)

    accepted = await lock(house, device_id)
    again = await lock(house, device_id)
    shown = await house.ask("GET", accepted.headers["Location"].removeprefix("/api/v1"), token="t")

    assert (accepted.status, again.status) == (202, 202)
    assert again.headers["Location"] == accepted.headers["Location"]
    assert shown.json | {"timeline": None} == {**accepted.json, "timeline": None}
    assert shown.json | {"id": "", "timeline": None, "device_id": ""} == {
        "id": "",
        "kind": "remote_lock",
        "state": "queued",
        "reason": None,
        "device_id": "",
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-03-02T12:00:00Z",
        "ended_at": None,
        "superseded_by": None,
        "reach": {"road": "poll", "expected_by": "2026-03-01T20:00:00Z"},
        "available_actions": ["cancel"],
        "timeline": None,
    }
    assert shown.json["timeline"] == [
        {"at": "2026-03-01T12:00:00Z", "from": None, "to": "queued", "by": "person", "why": None, "attempt": 0}
    ]


async def test_an_accepted_act_is_rung(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    rung = []
    monkeypatch.setattr("workers.queue.QueueDoor.put", lambda _, job_id, queue: rung.append((str(job_id), queue)))
    _, device_id = await with_a_device(house)

    accepted = await lock(house, device_id)
    await lock(house, device_id)

    assert rung == [(accepted.json["id"], "interactive")]


async def test_the_order_of_refusals_is_kept(house: House) -> None:
    _, device_id = await with_a_device(house)
    await with_a_device(house, "s", "bert")

    unsigned = await house.ask("POST", f"/devices/{device_id}/reset-passcode")
    strange = await house.ask("POST", f"/devices/{device_id}/reset-passcode", token="s")
    unoffered = await house.ask("POST", f"/devices/{device_id}/restart", token="t")
    unproven = await house.ask("POST", f"/devices/{device_id}/reset-passcode", token="t")
    keyless = await house.ask("POST", f"/devices/{device_id}/remote-lock", token="t")
    await lock(house, device_id, "k1")
    twice = await lock(house, device_id, "k2")

    assert [(one.status, one.json["code"]) for one in (unsigned, strange, unoffered, unproven, keyless, twice)] == [
        (401, "sign_in_required"),
        (404, "not_found"),
        (409, "not_offered"),
        (401, "re_sign_in_required"),
        (400, "idempotency_key_required"),
        (409, "action_in_progress"),
    ]
    assert "max_age=300" in unproven.headers["WWW-Authenticate"]
    assert unoffered.json["reason"] == "platform_unsupported"


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "caf\u00e9"])
async def test_a_key_that_cannot_be_one_is_unreadable(house: House, key: str) -> None:
    _, device_id = await with_a_device(house)

    answer = await lock(house, device_id, key)

    assert (answer.status, answer.json["code"]) == (400, "unreadable")


async def test_a_job_is_taken_back_once(house: House) -> None:
    anna, device_id = await with_a_device(house)
    job_id = (await lock(house, device_id)).json["id"]

    cancelled = await house.ask("POST", f"/jobs/{job_id}/cancel", token="t")
    again = await house.ask("POST", f"/jobs/{job_id}/cancel", token="t")

    assert (cancelled.status, cancelled.json["state"], cancelled.json["reason"]) == (200, "cancelled", "by_person")
    assert cancelled.json["available_actions"] == []
    assert [move["to"] for move in cancelled.json["timeline"]] == ["queued", "cancelled"]
    assert (again.status, again.json["code"]) == (409, "too_late_to_cancel")
    assert await house.told(anna) == ["job.remote_lock.cancelled"]


async def test_jobs_are_listed_newest_first_and_by_their_marks(house: House) -> None:
    anna, device_id = await with_a_device(house)
    other_id = await give_device(house.db, anna, house.clock.now, platform="pocket")
    first = (await lock(house, device_id, "k1")).json["id"]
    house.clock.forward(1)
    second = (await lock(house, other_id, "k2")).json["id"]
    await house.ask("POST", f"/jobs/{first}/cancel", token="t")

    async def ids(query: str) -> list[str]:
        answer = await house.ask("GET", f"/jobs{query}", token="t")
        assert answer.status == 200
        assert all("timeline" not in one for one in answer.json["items"])
        return [one["id"] for one in answer.json["items"]]

    assert await ids("") == [second, first]
    assert await ids("?limit=1") == [second]
    assert await ids(f"?cursor={second}") == [first]
    assert await ids(f"?device_id={device_id}") == [first]
    assert await ids("?state=queued") == [second]


async def test_only_operators_see_everyones_jobs_and_what_devices_said(house: House) -> None:
    _, device_id = await with_a_device(house)
    job_id = (await lock(house, device_id)).json["id"]
    await house.open_session(await house.hire("otto", is_operator=True), "o")
    await with_a_device(house, "s", "bert")

    refused = await house.ask("GET", "/jobs?everyone=true", token="t")
    everyones = await house.ask("GET", "/jobs?everyone=true", token="o")
    shown = await house.ask("GET", f"/jobs/{job_id}", token="o")
    strange = await house.ask("GET", f"/jobs/{job_id}", token="s")
    mine = await house.ask("GET", f"/jobs/{job_id}", token="t")

    assert (refused.status, refused.json["code"]) == (403, "not_allowed")
    assert [one["id"] for one in everyones.json["items"]] == [job_id]
    assert {"detail", "late_result"} <= shown.json.keys()
    assert not {"detail", "late_result"} & mine.json.keys()
    assert strange.status == 404


async def test_a_link_is_made_for_a_platform_that_we_have(house: House) -> None:
    anna, _ = await with_a_device(house)

    made = await house.ask("POST", "/enrollments", {"platform": "pocket", "name": "My phone"}, token="t")
    unknown = await house.ask("POST", "/enrollments", {"platform": "nokia3310"}, token="t")
    named = await house.ask("POST", "/enrollments", {"platform": "pocket", "name": "a\nb"}, token="t")

    assert made.status == 201
    assert made.json["url"].startswith("https://latchkey.test/devices/pocket/enroll/")
    assert made.json["expires_at"] == "2026-03-01T12:15:00Z"
    assert (unknown.status, unknown.json["code"]) == (409, "not_offered")
    assert named.status == 422
    names = await house.rows(sa.select(device.device.c.name).where(device.device.c.id == UUID(made.json["device_id"])))
    assert [row.name for row in names] == ["My phone"]
    link = made.json["url"].rpartition("/")[2]
    assert link not in str(await house.rows(sa.select(event.event).where(event.event.c.account_id == anna.id)))


async def test_where_no_code_is_made_there_is_none_to_read(house: House) -> None:
    _, device_id = await with_a_device(house)
    _, strangers = await with_a_device(house, "s", "bert")

    none = await house.ask("POST", f"/devices/{device_id}/passcode/reveal", token="t")
    strange = await house.ask("POST", f"/devices/{strangers}/passcode/reveal", token="t")

    assert (none.status, none.json["code"]) == (409, "nothing_to_reveal")
    assert strange.status == 404


async def test_no_job_is_made_by_a_refusal(house: House) -> None:
    _, device_id = await with_a_device(house)
    for act in Act:
        await house.ask("POST", f"/devices/{device_id}/{act.replace('_', '-')}", token="t")

    assert await house.rows(sa.select(job)) == []
