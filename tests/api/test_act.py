"""Every act over HTTP: what may be asked while what is under way, what takes whose place, and how a lock is told."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import job, organization
from models.account import account
from models.device import stands_in_the_way
from models.event import Actor
from models.job import Words
from models.settings import FRESH_PROOF
from models.vocabulary import DEPARTURES, Act, JobState, Outcome, Reason
from tests import runs
from tests.api.house import PASSWORD, Answer, House
from tests.people import Person, give_device

MOMENT = timedelta(microseconds=1)
CONTACT = {"name": "Helpdesk", "phone": "+31 20 555 0100"}


@pytest.fixture
async def anna(house: House) -> Person:
    house.platform.offered = dict.fromkeys(Act)
    person = await house.hire("anna")
    await house.open_session(person, "t")
    return person


@pytest.fixture
async def phone(house: House, anna: Person) -> UUID:
    return await give_device(house.db, anna, house.clock.now)


async def ask(house: House, device_id: UUID, act: Act, key: str | None = None) -> Answer:
    """With whatever proof it takes; for a wipe another session signs out and in again."""
    token = "t"
    if act is Act.WIPE:
        (row,) = await house.rows(sa.select(account).where(account.c.sign_in_name == "anna"))
        person, elsewhere = Person(row.id, house.organization_id, "anna", PASSWORD), uuid4().hex
        await house.open_session(person, elsewhere)
        opened = await house.ask("POST", "/re-sign-ins", {"device_id": str(device_id), "act": act}, token=elsewhere)
        assert opened.status == 201, opened.json
        token = (await house.sign_in(person, re_sign_in=opened.json["token"])).json["token"]
    headers = {"Idempotency-Key": key or uuid4().hex}
    return await house.ask("POST", f"/devices/{device_id}/{act.replace('_', '-')}", token=token, headers=headers)


async def see(house: House, job_id: str) -> Any:
    return (await house.ask("GET", f"/jobs/{job_id}", token="t")).json


async def plan(house: House, job_id: str, *, hand_over: bool = False) -> None:
    """As a worker and a check-in would."""
    now = house.clock.now
    async with house.db.write() as tx:
        held = await runs.planned(tx, house.keys, UUID(job_id), now)
        if hand_over:
            await job.deliver(tx, held, by="device", now=now)


async def settle(house: House, job_id: str, outcome: Outcome) -> None:
    async with house.db.write() as tx:
        held = await job.by_id(tx, UUID(job_id))
        assert held is not None
        await job.settle(
            tx,
            held,
            outcome,
            actor=Actor("device"),
            words=Words("pocket.done", "anna's phone"),
            keys=house.keys,
            unread_passcode=timedelta(0),
            now=house.clock.now,
        )


async def acts(house: House, device_id: UUID) -> dict[str, str | None]:
    shown = (await house.ask("GET", f"/devices/{device_id}", token="t")).json
    return {one["act"]: one["reason"] for one in shown["acts"]}


# What is not possible


async def test_what_the_list_says_is_what_the_api_answers(house: House, anna: Person, phone: UUID) -> None:
    async with house.db.write() as tx:
        hidden = [{"platform": "pocket", "ownership": "corporate", "act": "restart"}]
        settings = {"contact": CONTACT, "hidden_acts": hidden}
        await tx.execute(sa.update(organization.organization).values(settings=settings))
    house.platform.offered = {Act.REMOTE_LOCK: None, Act.WIPE: Reason.MISSING_RIGHT, Act.RESTART: None}

    for act, reason in (await acts(house, phone)).items():
        answer = await house.ask("POST", f"/devices/{phone}/{act.replace('_', '-')}", token="t")

        if reason is None:
            assert (answer.status, answer.json["code"]) == (400, "idempotency_key_required"), act
            continue
        status, code = (403, "hidden_by_admin") if act == "restart" else (409, "not_offered")
        assert (answer.status, answer.json["code"]) == (status, code), act
        assert (answer.json["reason"], answer.json["contact"]) == (reason, CONTACT)
    assert await house.rows(sa.select(job.job)) == []


async def test_a_computer_that_we_cannot_manage_is_shown_with_the_reason(house: House, anna: Person) -> None:
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization.organization).values(settings={"contact": CONTACT}))
    computer = await give_device(house.db, anna, house.clock.now, platform="windows81")

    (listed,) = (await house.ask("GET", "/devices", token="t")).json["items"]
    refused = [await house.ask("POST", f"/devices/{computer}/{a.replace('_', '-')}", token="t") for a in Act]
    invited = await house.ask("POST", "/enrollments", {"platform": "windows81"}, token="t")

    assert (listed["platform"], listed["reach"]) == ("windows81", None)
    assert {one["act"] for one in listed["acts"]} == set(Act)
    assert {(one["available"], one["reason"]) for one in listed["acts"]} == {(False, "platform_unsupported")}
    for answer in (*refused, invited):
        assert (answer.status, answer.json["code"]) == (409, "not_offered")
        assert (answer.json["reason"], answer.json["contact"]) == ("platform_unsupported", CONTACT)
    assert await house.rows(sa.select(job.job)) == []
    renamed = await house.ask(
        "POST", f"/devices/{computer}/rename", {"name": "Desk"}, token="t", headers={"If-Match": "*"}
    )
    assert renamed.json["name"] == "Desk"


# What is under way


def test_only_a_wipe_goes_further_than_a_removal() -> None:
    assert stands_in_the_way(Act.WIPE) == {Act.WIPE}
    for act in set(Act) - {Act.WIPE}:
        assert stands_in_the_way(act) == {act, Act.REMOVE, Act.WIPE}


@pytest.mark.parametrize("first", [Act.REMOTE_LOCK, Act.REMOVE, Act.WIPE])
async def test_what_is_under_way_is_shown_and_refused_alike(
    house: House, anna: Person, phone: UUID, first: Act
) -> None:
    asked = await ask(house, phone, first)
    assert asked.status == 202, asked.json

    busy = {act for act, reason in (await acts(house, phone)).items() if reason == "action_in_progress"}

    assert busy == {act for act in Act if first in stands_in_the_way(act)}
    for act in (Act.REMOTE_LOCK, Act.REFRESH, Act.RESTART, Act.REMOVE):
        if act in busy:
            refused = await ask(house, phone, act)
            assert (refused.status, refused.json["code"]) == (409, "action_in_progress")
            assert refused.json["job_id"] == asked.json["id"]


# What takes whose place


@pytest.mark.parametrize("act", sorted(DEPARTURES))
async def test_what_waits_gives_way_to_a_removal_or_a_wipe(
    house: House, anna: Person, phone: UUID, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    nudged: list[UUID] = []
    monkeypatch.setattr("workers.queue.QueueDoor.nudge", lambda _, account_id: nudged.append(account_id))
    queued = (await ask(house, phone, Act.REFRESH)).json["id"]
    waiting = (await ask(house, phone, Act.REMOTE_LOCK)).json["id"]
    await plan(house, waiting)
    delivered = (await ask(house, phone, Act.RESTART)).json["id"]
    await plan(house, delivered, hand_over=True)
    nudged.clear()

    asked = await ask(house, phone, act)

    assert asked.status == 202, asked.json
    for job_id in (queued, waiting):
        gone = await see(house, job_id)
        assert (gone["state"], gone["reason"], gone["superseded_by"]) == ("cancelled", "superseded", asked.json["id"])
        assert gone["timeline"][-1]["by"] == "person"
    assert (await see(house, delivered))["state"] == "delivered"
    assert sorted(await house.told(anna)) == ["job.refresh.cancelled", "job.remote_lock.cancelled"]
    assert set(nudged) == {anna.id}


async def test_a_wipe_takes_a_removals_place_and_never_the_other_way(house: House, anna: Person, phone: UUID) -> None:
    removal = (await ask(house, phone, Act.REMOVE)).json["id"]

    wipe = await ask(house, phone, Act.WIPE)
    again = await ask(house, phone, Act.REMOVE)

    assert wipe.status == 202
    gone = await see(house, removal)
    assert (gone["state"], gone["superseded_by"]) == ("cancelled", wipe.json["id"])
    assert (again.status, again.json["job_id"]) == (409, wipe.json["id"])


async def test_a_refused_removal_leaves_everything_as_it_is(house: House, anna: Person, phone: UUID) -> None:
    lock = (await ask(house, phone, Act.REMOTE_LOCK)).json["id"]
    house.clock.forward(FRESH_PROOF + MOMENT)

    refused = await ask(house, phone, Act.REMOVE)

    assert (refused.status, refused.json["code"]) == (401, "proof_required")
    assert (await see(house, lock))["state"] == "queued"


async def test_a_removal_takes_a_fresh_proof_to_the_last_moment(house: House, anna: Person, phone: UUID) -> None:
    house.clock.forward(FRESH_PROOF)

    assert (await ask(house, phone, Act.REMOVE)).status == 202


async def test_a_wipe_takes_a_window_of_its_own(house: House, anna: Person, phone: UUID) -> None:
    unproven = await house.ask("POST", f"/devices/{phone}/wipe", token="t", headers={"Idempotency-Key": "k"})

    assert (unproven.status, unproven.json["code"]) == (401, "re_sign_in_required")
    assert (await ask(house, phone, Act.WIPE)).status == 202


async def test_locks_that_come_while_a_removal_is_asked_are_before_it_or_refused(
    house: House, anna: Person, phone: UUID
) -> None:
    other = [await give_device(house.db, anna, house.clock.now) for _ in range(3)]
    for device_id in (phone, *other):
        answers = await asyncio.gather(*(ask(house, device_id, act) for act in (Act.REFRESH, Act.REMOVE, Act.RESTART)))

        assert answers[1].status == 202
        rows = await house.rows(sa.select(job.job.c.kind, job.job.c.state).where(job.job.c.device_id == device_id))
        assert {(row.kind, row.state) for row in rows} >= {("remove", "queued")}
        assert {row.state for row in rows if row.kind != "remove"} <= {"cancelled"}


async def test_the_same_wish_sent_again_is_answered_alike(house: House, anna: Person, phone: UUID) -> None:
    first = await ask(house, phone, Act.REMOVE, "k")
    again = await ask(house, phone, Act.REMOVE, "k")

    assert (again.status, again.headers["Location"]) == (202, first.headers["Location"])


# A lock in its three states


@pytest.mark.parametrize(
    ("outcome", "state", "key"),
    [
        (Outcome(JobState.SUCCEEDED), "done", "job.remote_lock.succeeded"),
        (Outcome(JobState.FAILED, Reason.NO_PASSCODE_SET), "failed", "job.remote_lock.failed"),
        (Outcome(JobState.EXPIRED, Reason.UNREACHABLE), "failed", "job.remote_lock.expired"),
        (Outcome(JobState.UNSUPPORTED, Reason.MISSING_RIGHT), "failed", "job.remote_lock.unsupported"),
        (Outcome(JobState.CANCELLED, Reason.BY_PERSON), None, "job.remote_lock.cancelled"),
    ],
)
async def test_a_lock_is_told_alike_in_the_job_the_list_and_the_device(
    house: House, anna: Person, phone: UUID, outcome: Outcome, state: str | None, key: str
) -> None:
    asked = await ask(house, phone, Act.REMOTE_LOCK)
    pending = (await house.ask("GET", f"/devices/{phone}", token="t")).json["lock"]
    told_first = await house.told(anna)
    house.clock.forward(7)

    await settle(house, asked.json["id"], outcome)

    (listed,) = (await house.ask("GET", "/devices", token="t")).json["items"]
    assert pending == {"state": "pending", "reason": None, "at": "2026-03-01T12:00:00Z", "job_id": asked.json["id"]}
    assert told_first == ["job.remote_lock.pending"]
    assert await house.told(anna) == [key]
    assert (listed["lock"] or {}).get("state") == state
    if state is not None:
        assert (listed["lock"]["reason"], listed["lock"]["at"]) == (outcome.reason, "2026-03-01T12:00:07Z")


async def test_a_lock_that_failed_and_is_asked_again_is_pending_again(house: House, anna: Person, phone: UUID) -> None:
    first = await ask(house, phone, Act.REMOTE_LOCK)
    await settle(house, first.json["id"], Outcome(JobState.FAILED, Reason.NO_PASSCODE_SET))
    house.clock.forward(1)

    again = await ask(house, phone, Act.REMOTE_LOCK)

    shown = (await house.ask("GET", f"/devices/{phone}", token="t")).json
    assert (shown["lock"]["state"], shown["lock"]["job_id"]) == ("pending", again.json["id"])


async def test_how_a_device_is_reached_is_told_while_somebody_waits(house: House, anna: Person, phone: UUID) -> None:
    asked = await ask(house, phone, Act.REFRESH)
    waiting = await see(house, asked.json["id"])
    (listed,) = (await house.ask("GET", "/jobs", token="t")).json["items"]

    await settle(house, asked.json["id"], Outcome(JobState.SUCCEEDED))

    reach = {"road": "poll", "expected_by": "2026-03-01T20:00:00Z"}
    assert asked.json["reach"] == waiting["reach"] == listed["reach"] == reach
    assert (await see(house, asked.json["id"]))["reach"] is None
    (listed,) = (await house.ask("GET", "/jobs", token="t")).json["items"]
    assert listed["reach"] is None
