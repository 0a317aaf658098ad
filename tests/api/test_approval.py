"""A second person's yes, over HTTP, on both databases: who may give it, what ends it, and that one decision counts."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import account, departure, enrollment, organization
from models import approval as approvals
from models.approval import ApprovalState, approval
from models.device import Device, DeviceState, device
from models.event import SWEEP, event
from models.fault import Fault
from models.job import job
from models.settings import ACTS_PER_DEVICE_AND_DAY, APPROVAL_KEPT, APPROVAL_WAIT, FRESH_PROOF, RECENT_PROOF
from models.vocabulary import Act, Secret
from tests.api.house import Answer, House
from tests.people import Person, block, found, give_device, welcome
from workers.queue import QueueDoor, QueueSettings
from workers.sweep import Sweep

MOMENT = timedelta(microseconds=1)
WHY = {"reason": "ticket 4711"}
STRICT = {"second_approver": ["remove", "wipe"]}


@pytest.fixture
async def boss(house: House) -> Person:
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization.organization).values(settings=STRICT))
    return await house.appoint("boss")


@pytest.fixture
async def chief(house: House, boss: Person) -> Person:
    return await house.appoint("chief")


@pytest.fixture
async def anna(house: House, boss: Person) -> Person:
    house.platform.offered = dict.fromkeys(Act)
    person = await house.hire("anna")
    await house.open_session(person, "anna")
    return person


@pytest.fixture
async def phone(house: House, anna: Person) -> UUID:
    return await give_device(house.db, anna, house.clock.now)


async def ask(
    house: House, device_id: UUID, act: str = "remove", key: str | None = None, token: str = "anna"
) -> Answer:
    headers = {"Idempotency-Key": key or uuid4().hex}
    return await house.ask("POST", f"/devices/{device_id}/{act.replace('_', '-')}", token=token, headers=headers)


async def decide(house: House, answer: Answer, verb: str, token: str = "boss") -> Answer:
    body = None if verb == "withdraw" else WHY
    return await house.ask("POST", f"/approvals/{answer.json['id']}/{verb}", body, token=token)


async def see(house: House, answer: Answer, token: str = "anna") -> Any:
    return (await house.ask("GET", f"/approvals/{answer.json['id']}", token=token)).json


async def jobs(house: House) -> list[tuple[str, str]]:
    return sorted((row.kind, row.state) for row in await house.rows(sa.select(job)))


def sweep(house: House) -> Sweep:
    door = QueueDoor(QueueSettings("redis://127.0.0.1:1"))
    return Sweep(house.db, house.keys, Secret(b"a" * 32), door, Fault())


# Asked


async def test_a_removal_waits_for_a_second_person_and_the_device_knows_nothing_of_it(
    house: House, anna: Person, phone: UUID
) -> None:
    asked = await ask(house, phone)

    assert asked.status == 201
    assert asked.headers["Location"] == f"/api/v1/approvals/{asked.json['id']}"
    assert (asked.json["act"], asked.json["state"], asked.json["job_id"]) == ("remove", "submitted", None)
    assert asked.json["asked_by"]["sign_in_name"] == "anna"
    assert (asked.json["device"]["id"], asked.json["device"]["name"]) == (str(phone), "anna's phone")
    assert asked.json["available_actions"] == ["withdraw"]
    assert await jobs(house) == []
    assert await house.told(anna) == ["approval.remove.submitted"]
    assert (await house.events(anna))["device:approval:submit", "success", None] == 1
    assert (await ask(house, phone, "remote_lock")).status == 202, "a lost phone can be locked while it waits"


async def test_the_list_says_that_it_waits_and_a_second_wish_is_refused(
    house: House, anna: Person, phone: UUID
) -> None:
    async def shown() -> dict[str, Any]:
        acts = (await house.ask("GET", f"/devices/{phone}", token="anna")).json["acts"]
        return {one["act"]: (one["needs_approval"], one["reason"]) for one in acts}

    before = await shown()
    asked = await ask(house, phone)

    refused = await ask(house, phone)

    assert (before["remove"], before["wipe"]) == ((True, None), (True, None))
    assert (await shown())["remove"] == (True, "awaiting_approval")
    assert (await shown())["wipe"] == (True, None)
    assert (await shown())["remote_lock"] == (False, None)
    assert (refused.status, refused.json["code"]) == (409, "awaiting_approval")
    assert refused.json["approval_id"] == asked.json["id"]


async def test_the_same_wish_sent_again_is_answered_alike_whatever_became_of_it(
    house: House, boss: Person, anna: Person, phone: UUID
) -> None:
    first = await ask(house, phone, key="k")
    again = await ask(house, phone, key="k")
    other = await ask(house, phone, "wipe", key="k")
    await decide(house, first, "refuse")
    later = await ask(house, phone, key="k")

    assert (again.status, again.headers["Location"]) == (201, first.headers["Location"])
    assert (later.headers["Location"], later.json["state"]) == (first.headers["Location"], "refused")
    assert other.status in {401, 422}
    assert (await house.rows(sa.select(sa.func.count()).select_from(approval)))[0][0] == 1


async def test_it_takes_the_persons_whole_proof_and_spends_it(house: House, boss: Person, anna: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    unproven = await ask(house, phone, "wipe")
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "wipe"}, token="anna")
    token = (await house.sign_in(anna, re_sign_in=window.json["token"])).json["token"]

    asked = await ask(house, phone, "wipe", token=token)
    refused = await house.ask("POST", f"/approvals/{asked.json['id']}/withdraw", token=token)
    again = await ask(house, phone, "wipe", token=token)

    assert (unproven.status, unproven.json["code"]) == (401, "re_sign_in_required")
    assert (asked.status, asked.json["state"]) == (201, "submitted")
    assert (refused.status, refused.json["state"]) == (200, "withdrawn")
    assert (again.status, again.json["code"]) == (409, "re_sign_in_used")
    house.clock.forward(FRESH_PROOF + MOMENT)
    assert (await ask(house, phone, token=token)).json["code"] == "proof_required"


async def test_nobody_is_asked_without_end(house: House, anna: Person, phone: UUID) -> None:
    for _ in range(ACTS_PER_DEVICE_AND_DAY):
        await decide(house, await ask(house, phone), "withdraw", "anna")

    refused = await ask(house, phone)

    assert (refused.status, refused.json["code"]) == (429, "too_many_tries")


async def test_where_nobody_asks_for_it_a_job_is_made_at_once(house: House, anna: Person, phone: UUID) -> None:
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization.organization).values(settings={"second_approver": ["wipe"]}))

    assert (await ask(house, phone)).json["kind"] == "remove"


# Approved


async def test_a_yes_makes_the_job_in_the_name_of_whoever_asked(
    house: House, boss: Person, anna: Person, phone: UUID
) -> None:
    lock = await ask(house, phone, "remote_lock")
    asked = await ask(house, phone)

    approved = await decide(house, asked, "approve")

    assert approved.status == 200
    assert (approved.json["state"], approved.json["decided_by"]) == ("approved", str(boss.id))
    assert (approved.json["reason"], approved.json["available_actions"]) == ("ticket 4711", [])
    seen = (await house.ask("GET", f"/jobs/{approved.json['job_id']}", token="anna")).json
    assert (seen["kind"], seen["state"], seen["timeline"][0]["by"]) == ("remove", "queued", "approver")
    gone = (await house.ask("GET", f"/jobs/{lock.json['id']}", token="anna")).json
    assert (gone["state"], gone["superseded_by"]) == ("cancelled", seen["id"])
    assert "approval.remove.approved" in await house.told(anna)
    (line,) = await house.rows(sa.select(event).where(event.c.action == "device:approval:approve"))
    assert (line.actor_id, line.account_id, line.reason) == (boss.id, anna.id, None)
    assert line.private is not None, "somebody's words are sealed under the key of whom they are about"
    assert line.facts["job_id"] == seen["id"]


async def test_nobody_approves_what_they_asked_for_not_in_another_session_either(
    house: House, boss: Person, chief: Person
) -> None:
    house.platform.offered = dict.fromkeys(Act)
    phone = await give_device(house.db, boss, house.clock.now)
    asked = await ask(house, phone, token="boss")
    await house.open_session(boss, "elsewhere", strength=2)

    for token in ("boss", "elsewhere"):
        for verb in ("approve", "refuse"):
            refused = await decide(house, asked, verb, token)
            assert (refused.status, refused.json["code"]) == (403, "not_allowed")
    assert (await see(house, asked, "boss"))["available_actions"] == ["withdraw"]
    assert (await see(house, asked, "chief"))["available_actions"] == ["approve", "refuse"]
    assert (await decide(house, asked, "approve", "chief")).status == 200


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("global_administrator", 200),
        ("user_administrator", 200),
        ("authentication_administrator", 200),
        ("helpdesk_administrator", 403),
        ("password_administrator", 403),
        ("privileged_role_administrator", 403),
    ],
)
async def test_the_table_says_who_may(house: House, anna: Person, phone: UUID, role: str, status: int) -> None:
    await house.appoint("somebody", role)
    asked = await ask(house, phone)

    refused = await decide(house, asked, "refuse", "somebody")

    assert refused.status == status
    if status == 403:
        assert (await see(house, asked, "somebody"))["available_actions"] == []


async def test_nobody_approves_for_somebody_above_them(house: House, boss: Person, chief: Person) -> None:
    house.platform.offered = dict.fromkeys(Act)
    await house.appoint("helper", "user_administrator")
    asked = await ask(house, await give_device(house.db, boss, house.clock.now), token="boss")

    assert (await decide(house, asked, "approve", "helper")).json["code"] == "not_allowed"
    assert await jobs(house) == []


async def test_a_decision_takes_two_factors_and_a_proof_of_fifteen_minutes(
    house: House, boss: Person, anna: Person, phone: UUID
) -> None:
    asked = await ask(house, phone)
    house.clock.forward(RECENT_PROOF + MOMENT)

    late = await decide(house, asked, "approve")
    await house.open_session(boss, "weak", strength=1)
    weak = await decide(house, asked, "approve", "weak")

    assert (late.status, late.json["code"]) == (401, "proof_required")
    assert (weak.status, weak.json["code"]) == (401, "proof_required")


async def test_somebody_from_elsewhere_asks_and_is_answered_where_the_device_belongs(
    house: House, boss: Person
) -> None:
    house.platform.offered = dict.fromkeys(Act)
    other = await found(house.db, house.clock.now, name="Other")
    guest = await house.hire("guest", organization_id=other)
    await welcome(house.db, house.organization_id, guest, house.clock.now)
    here = replace(guest, organization_id=house.organization_id)
    await house.open_session(here, "guest")
    phone = await give_device(house.db, here, house.clock.now)
    asked = await ask(house, phone, token="guest")

    approved = await decide(house, asked, "approve")

    assert (asked.status, approved.status) == (201, 200), approved.json
    assert await jobs(house) == [("remove", "queued")]


async def test_strangers_find_nothing(house: House, boss: Person, anna: Person, phone: UUID) -> None:
    asked = await ask(house, phone)
    other = await found(house.db, house.clock.now, STRICT, name="Other")
    await house.appoint("foreign", organization_id=other)
    await house.open_session(await house.hire("berta"), "berta")

    for token in ("foreign", "berta"):
        answers = [
            await house.ask("GET", f"/approvals/{asked.json['id']}", token=token),
            await house.ask("POST", f"/approvals/{asked.json['id']}/withdraw", token=token),
        ]
        assert {(answer.status, answer.json["code"]) for answer in answers} == {(404, "not_found")}
        assert (await house.ask("GET", "/approvals", token=token)).json["items"] == []
    for verb in ("approve", "refuse"):
        assert (await decide(house, asked, verb, "foreign")).status == 404
        assert (await decide(house, asked, verb, "berta")).status == 403
    assert (await house.ask("GET", "/approvals?everyone=true", token="foreign")).json["items"] == []
    assert (await house.ask("GET", "/approvals?everyone=true", token="berta")).status == 403
    assert (await decide(house, asked, "withdraw", "boss")).status == 403


async def test_lists_are_paged_newest_first(house: House, boss: Person, anna: Person) -> None:
    asked = []
    for _ in range(3):
        house.clock.forward(timedelta(milliseconds=2))
        asked.append(await ask(house, await give_device(house.db, anna, house.clock.now)))
    await decide(house, asked[1], "refuse")

    first = (await house.ask("GET", "/approvals?everyone=true&limit=2", token="boss")).json
    rest = (await house.ask("GET", f"/approvals?everyone=true&cursor={first['next_cursor']}", token="boss")).json
    waiting = (await house.ask("GET", "/approvals?everyone=true&state=submitted", token="boss")).json
    mine = (await house.ask("GET", "/approvals?state=refused", token="anna")).json

    ids = [one.json["id"] for one in asked]
    assert [one["id"] for one in first["items"]] == [ids[2], ids[1]]
    assert [one["id"] for one in rest["items"]] == [ids[0]]
    assert [one["id"] for one in waiting["items"]] == [ids[2], ids[0]]
    assert [one["id"] for one in mine["items"]] == [ids[1]]
    assert (await house.ask("GET", "/approvals", token="boss")).json["items"] == []


# One decision counts


@pytest.mark.parametrize("verbs", [("approve", "refuse", "withdraw"), ("approve",) * 3, ("refuse", "withdraw")])
async def test_of_decisions_that_come_at_once_one_counts(
    house: House, boss: Person, chief: Person, anna: Person, verbs: tuple[str, ...]
) -> None:
    tokens = ["boss", "chief", "boss"]
    for _ in range(4):
        phone = await give_device(house.db, anna, house.clock.now)
        asked = await ask(house, phone)

        answers = await asyncio.gather(
            *(
                decide(house, asked, verb, "anna" if verb == "withdraw" else token)
                for verb, token in zip(verbs, tokens, strict=False)
            )
        )

        assert sorted(answer.status for answer in answers) == [200] + [409] * (len(verbs) - 1)
        assert {answer.json["code"] for answer in answers if answer.status == 409} <= {"approval_over"}
        state = (await see(house, asked))["state"]
        rows = await house.rows(sa.select(job).where(job.c.device_id == phone))
        assert len(rows) == (1 if state == "approved" else 0)


async def test_of_two_wishes_that_come_at_once_one_waits(house: House, anna: Person, phone: UUID) -> None:
    answers = await asyncio.gather(*(ask(house, phone) for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]


@pytest.mark.parametrize("first", ["approve", "refuse", "withdraw"])
async def test_what_was_decided_is_decided(house: House, boss: Person, anna: Person, phone: UUID, first: str) -> None:
    asked = await ask(house, phone)
    await decide(house, asked, first, "anna" if first == "withdraw" else "boss")
    told = await house.told(anna)

    for verb in ("approve", "refuse", "withdraw"):
        over = await decide(house, asked, verb, "anna" if verb == "withdraw" else "boss")
        assert (over.status, over.json["code"]) == (409, "approval_over")
    assert await house.told(anna) == told
    assert (
        told[-1]
        == {
            "approve": "approval.remove.approved",
            "refuse": "approval.remove.refused",
            "withdraw": "approval.remove.withdrawn",
        }[first]
    )


# What no longer holds


async def test_it_waits_for_three_days_to_the_last_moment(
    house: House, boss: Person, anna: Person, phone: UUID
) -> None:
    asked, other = await ask(house, phone), await ask(house, await give_device(house.db, anna, house.clock.now))
    house.clock.forward(APPROVAL_WAIT)
    await house.open_session(boss, "now", strength=2)
    await sweep(house).approvals()

    last = await decide(house, asked, "approve", "now")
    house.clock.forward(MOMENT)
    late = await decide(house, other, "approve", "now")

    assert last.status == 200
    assert (late.status, late.json["code"], late.json["state"]) == (409, "approval_over", "lapsed")
    assert "approval.remove.lapsed" in await house.told(anna)
    assert await jobs(house) == [("remove", "queued")]


async def test_the_sweep_tells_those_who_can_approve_once_and_ends_what_nobody_decided(
    house: House, boss: Person, chief: Person, anna: Person, phone: UUID
) -> None:
    helper = await house.appoint("helper", "helpdesk_administrator")
    gone = await house.appoint("gone")
    await block(house.db, gone, house.clock.now)
    asked = await ask(house, phone)

    for _ in range(2):
        await sweep(house).approvals()

    assert [await house.told(one) for one in (boss, chief, helper, gone)] == [
        ["approval.remove.asked"],
        ["approval.remove.asked"],
        [],
        [],
    ]
    house.clock.forward(APPROVAL_WAIT)
    await sweep(house).approvals()
    assert (await house.rows(sa.select(approval.c.state)))[0].state == "submitted"
    house.clock.forward(MOMENT)
    await house.open_session(anna, "later")
    assert (await see(house, asked, "later"))["state"] == "lapsed", "seen before it is written down"
    for _ in range(2):
        await sweep(house).approvals()
    assert (await house.rows(sa.select(approval.c.state)))[0].state == "lapsed"
    assert await house.told(anna) == ["approval.remove.lapsed"]
    assert (await house.events(anna))["device:approval:lapse", "success", None] == 1


async def test_what_ended_is_kept_for_thirty_days(house: House, anna: Person, phone: UUID) -> None:
    await decide(house, await ask(house, phone), "withdraw", "anna")

    async def erase() -> int:
        async with house.db.write() as tx:
            return await approvals.erase_due(tx, house.clock.now, 10)

    house.clock.forward(APPROVAL_KEPT - MOMENT)
    assert await erase() == 0
    house.clock.forward(timedelta(milliseconds=2))
    assert await erase() == 1


async def _disable(house: House, anna: Person, phone: UUID) -> None:
    async with house.db.write() as tx:
        await tx.execute(sa.update(device).where(device.c.id == phone).values(state=DeviceState.DISABLED.value))


async def _hand_over(house: House, anna: Person, phone: UUID) -> None:
    berta = await house.hire("berta")
    async with house.db.write() as tx:
        await tx.execute(sa.update(device).where(device.c.id == phone).values(account_id=berta.id))


async def _block(house: House, anna: Person, phone: UUID) -> None:
    await block(house.db, anna, house.clock.now)


async def _enrol_anew(house: House, anna: Person, phone: UUID) -> None:
    async with house.db.write() as tx:
        await enrollment.end_of_device(tx, phone, house.clock.now)
        await tx.execute(
            sa.insert(enrollment.enrollment).values(
                id=uuid4(),
                organization_id=house.organization_id,
                device_id=phone,
                platform="pocket",
                state="enrolled",
                address=uuid4().hex,
                traits={},
                created_at=house.clock.now,
                enrolled_at=house.clock.now,
            )
        )


async def _hide(house: House, anna: Person, phone: UUID) -> None:
    hidden = [{"platform": "pocket", "ownership": "corporate", "act": "remove"}]
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization.organization).values(settings={**STRICT, "hidden_acts": hidden}))


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (_disable, "device_disabled"),
        (_hand_over, "owner_changed"),
        (_block, "account_blocked"),
        (_enrol_anew, "device_left"),
        (_hide, "hidden_by_admin"),
    ],
)
async def test_what_it_was_asked_for_is_looked_at_again(
    house: House, boss: Person, anna: Person, phone: UUID, meanwhile: Any, why: str
) -> None:
    asked = await ask(house, phone)
    await meanwhile(house, anna, phone)

    over = await decide(house, asked, "approve")

    assert (over.status, over.json["code"]) == (409, "approval_over")
    assert (over.json["state"], over.json["why"]) == ("void", why)
    assert await jobs(house) == []
    assert await house.told(anna) == ["approval.remove.void"]
    assert (await house.events(anna))["device:approval:void", "success", why] == 1


async def _be_blocked(house: House, anna: Person, phone: UUID) -> Answer:
    return await house.ask("POST", f"/accounts/{anna.id}/block", WHY, token="boss")


async def _be_deleted(house: House, anna: Person, phone: UUID) -> Answer:
    return await house.ask("DELETE", f"/accounts/{anna.id}", token="boss")


async def _close(house: House, anna: Person, phone: UUID) -> Answer:
    return await house.ask("POST", "/account/close", {"confirm": True}, token="anna")


async def _disable_it(house: House, anna: Person, phone: UUID) -> Answer:
    return await house.ask("POST", f"/devices/{phone}/disable", {"confirm": True}, token="anna")


async def _take_it_away(house: House, anna: Person, phone: UUID) -> Answer:
    """As when it says farewell, or a wipe of it succeeded."""
    async with house.db.write() as tx:
        of = Device.of((await tx.execute(sa.select(device).where(device.c.id == phone))).one())
        await departure.leave(tx, of, actor=SWEEP, keys=house.keys, now=house.clock.now)
    return await house.ask("GET", "/sessions/current", token="anna")


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (_be_blocked, "account_blocked"),
        (_be_deleted, "account_blocked"),
        (_close, "account_blocked"),
        (_disable_it, "device_disabled"),
        (_take_it_away, "device_left"),
    ],
)
async def test_it_ends_with_what_it_was_asked_for_and_nobody_has_to_try_it_first(
    house: House, boss: Person, anna: Person, phone: UUID, meanwhile: Any, why: str
) -> None:
    await house.hire("second", roles=("global_administrator",))
    asked = [await ask(house, phone, "remove"), await ask(house, phone, "wipe")]
    elsewhere = await ask(house, await give_device(house.db, boss, house.clock.now), token="boss")
    assert asked[1].status == 401, "a wipe takes more, and is not asked for here"

    done = await meanwhile(house, anna, phone)

    assert done.status < 300, done.json
    (row,) = await house.rows(sa.select(approval).where(approval.c.account_id == anna.id))
    assert (row.state, row.why, row.due_at, row.ended_at) == ("void", why, None, house.clock.now)
    assert (await house.events(anna))["device:approval:void", "success", why] == 1
    assert "approval.remove.void" in await house.told(anna)
    listed = (await house.ask("GET", "/approvals?everyone=true&state=submitted", token="boss")).json["items"]
    assert [one["id"] for one in listed] == [elsewhere.json["id"]], "what is somebody else's waits on"


async def test_it_ends_when_whoever_asked_leaves_the_organization_and_there_alone(house: House, boss: Person) -> None:
    house.platform.offered = dict.fromkeys(Act)
    other = await found(house.db, house.clock.now, STRICT, name="Other")
    guest = await house.hire("guest", organization_id=other)
    await welcome(house.db, house.organization_id, guest, house.clock.now)
    asked = []
    for organization_id, token in ((house.organization_id, "here"), (other, "home")):
        person = replace(guest, organization_id=organization_id)
        await house.open_session(person, token)
        asked.append(await ask(house, await give_device(house.db, person, house.clock.now), token=token))
    assert [one.status for one in asked] == [201, 201]

    left = await house.ask(
        "POST",
        f"/organizations/{house.organization_id}/leave",
        {"confirm": True},
        token="here",
        headers={"Idempotency-Key": "leave"},
    )

    assert left.status == 202
    rows = await house.rows(sa.select(approval).order_by(approval.c.id))
    assert {(row.organization_id, row.state, row.why) for row in rows} == {
        (house.organization_id, "void", "owner_left"),
        (other, "submitted", None),
    }
    assert (await see(house, asked[0], "boss"))["state"] == "void"


async def test_what_is_hidden_meanwhile_can_be_refused_and_not_approved(
    house: House, boss: Person, anna: Person, phone: UUID
) -> None:
    asked = await ask(house, phone)
    await _hide(house, anna, phone)

    (listed,) = (await house.ask("GET", "/approvals?everyone=true&state=submitted", token="boss")).json["items"]

    assert listed["available_actions"] == ["refuse"]
    assert (await see(house, asked, "boss"))["available_actions"] == ["refuse"]
    assert (await decide(house, asked, "refuse")).status == 200


async def test_what_lapsed_is_not_among_what_waits_before_the_sweep_comes(
    house: House, boss: Person, anna: Person, phone: UUID
) -> None:
    await ask(house, phone)

    async def waiting() -> int:
        async with house.db.read() as tx:
            found = await approvals.page(
                tx,
                organization_id=house.organization_id,
                account_id=None,
                state=ApprovalState.SUBMITTED,
                before=None,
                limit=10,
                now=house.clock.now,
            )
        return len(found)

    house.clock.forward(APPROVAL_WAIT)
    assert await waiting() == 1, "the last moment is included"
    house.clock.forward(MOMENT)
    assert await waiting() == 0


async def test_a_block_and_a_yes_at_once_end_it_once(house: House, boss: Person, chief: Person, anna: Person) -> None:
    for n in range(3):
        bert = await house.hire(f"bert{n}")
        await house.open_session(bert, f"bert{n}")
        phone = await give_device(house.db, bert, house.clock.now)
        asked = await ask(house, phone, token=f"bert{n}")

        yes, block = await asyncio.gather(
            decide(house, asked, "approve", "chief"),
            house.ask("POST", f"/accounts/{bert.id}/block", WHY, token="boss"),
        )

        assert (block.status, yes.status) in {(200, 200), (200, 409)}, (block.json, yes.json)
        made = await house.rows(sa.select(job.c.state).where(job.c.device_id == phone))
        (row,) = await house.rows(sa.select(approval.c.state).where(approval.c.account_id == bert.id))
        if yes.status == 200:
            assert (row.state, [one.state for one in made]) == ("approved", ["cancelled"])
        else:
            assert (row.state, made) == ("void", [])


async def test_a_yes_waits_for_what_is_under_way(house: House, boss: Person, anna: Person, phone: UUID) -> None:
    asked = await ask(house, phone)
    async with house.db.write() as tx:
        await tx.execute(sa.update(organization.organization).values(settings={}))
    direct = await ask(house, phone)

    refused = await decide(house, asked, "approve")

    assert direct.status == 202
    assert (refused.status, refused.json["code"]) == (409, "action_in_progress")
    assert (await see(house, asked))["state"] == "submitted"
    assert (await decide(house, asked, "refuse")).status == 200


# Switched on


async def test_it_takes_two_who_can_approve(house: House, anna: Person) -> None:
    async def demand(act: str = "wipe", *, wanted: bool = True) -> Answer:
        body = {"acts": [{"act": act, "second_approver": wanted}]}
        return await house.ask("PATCH", "/organization/settings", body, token="boss", headers={"If-Match": "*"})

    await demand("wipe", wanted=False)
    await demand("remove", wanted=False)
    await house.appoint("helper", "helpdesk_administrator")
    alone = await demand()
    second = await house.appoint("second", "user_administrator")
    both = await demand()
    async with house.db.write() as tx:
        statement = sa.update(account.account).where(account.account.c.id == second.id)
        await tx.execute(statement.values(blocked_at=house.clock.now))
    more = await demand("remove")
    kept = await house.ask(
        "PATCH", "/organization/settings", {"contact": {"name": "IT"}}, token="boss", headers={"If-Match": "*"}
    )

    assert (alone.status, alone.json["errors"][0]["field"]) == (422, "acts[wipe].second_approver")
    assert both.status == 200
    assert {one["act"] for one in both.json["acts"] if one["second_approver"]} == {"wipe"}
    assert more.status == 422
    assert kept.status == 200, "what was demanded already stays"
    assert (await demand("remote_lock")).status == 422
    assert (await demand("wipe", wanted=False)).status == 200
