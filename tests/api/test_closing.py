"""An account that its own person closes: after a fresh proof and a clear yes, and for thirty days it can come back."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models import account, organization, profile
from models.delivery import delivery
from models.event import event
from models.job import job
from models.organization import membership
from models.re_sign_in import re_sign_in
from models.settings import ACCOUNT_KEPT, FRESH_PROOF
from models.vocabulary import Act
from tests import runs
from tests.api.house import Answer, House
from tests.clock import NOON
from tests.people import Person, found, give_device

MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def anna(house: House) -> Person:
    anna = await house.hire("anna")
    await house.open_session(anna, "anna")
    return anna


async def close(house: House, token: str = "anna", *, confirm: bool = True) -> Answer:
    return await house.ask("POST", "/account/close", {"confirm": confirm}, token=token)


async def row_of(house: House, person: Person) -> Any:
    (row,) = await house.rows(sa.select(account.account).where(account.account.c.id == person.id))
    return row


async def test_who_closes_their_account_is_out_at_once_and_hears_until_when_it_can_come_back(
    house: House, anna: Person
) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    await house.open_session(anna, "elsewhere")
    headers = {"Idempotency-Key": "anna-lock-0001"}
    assert (await house.ask("POST", f"/devices/{phone}/remote-lock", token="anna", headers=headers)).status == 202
    await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="elsewhere")

    answer = await close(house)

    assert (answer.status, answer.json) == (200, {"restorable_until": "2026-03-31T12:00:00Z"})
    assert any(line.startswith("__Host-latchkey-session=;") for line in answer.set_cookies)
    assert (await close(house)).status == 401
    assert (await house.ask("GET", "/profile", token="elsewhere")).status == 401
    assert (await house.sign_in(anna)).status == 401
    assert [row.state for row in await house.rows(sa.select(job))] == ["cancelled"]
    assert [row.state for row in await house.rows(sa.select(re_sign_in))] == ["cancelled"]
    lines = await house.lines("account:life:close")
    assert [(one.row.actor_id, one.row.account_id, one.address) for one in lines] == [(anna.id, anna.id, "192.0.2.1")]
    assert "account.closed" in await house.told(anna)


async def test_an_administrator_restores_it_up_to_the_last_moment(house: House, anna: Person) -> None:
    assert (await close(house)).status == 200
    house.clock.forward(ACCOUNT_KEPT)
    await house.appoint()

    restored = await house.ask("POST", f"/accounts/{anna.id}/restore", token="boss")

    assert restored.status == 200
    assert (await house.sign_in(anna)).status == 201


async def test_a_moment_later_it_is_gone(house: House, anna: Person) -> None:
    assert (await close(house)).status == 200
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    await house.appoint()

    assert (await house.ask("POST", f"/accounts/{anna.id}/restore", token="boss")).status == 404


async def test_without_a_clear_yes_nothing_happens(house: House, anna: Person) -> None:
    answers = [
        await close(house, confirm=False),
        await house.ask("POST", "/account/close", {}, token="anna"),
        await house.ask("POST", "/account/close", {"confirm": True, "account_id": str(anna.id)}, token="anna"),
    ]

    assert [one.status for one in answers] == [422, 422, 422]
    assert (await row_of(house, anna)).deleted_at is None


@pytest.mark.parametrize(("age", "status"), [(FRESH_PROOF, 200), (FRESH_PROOF + MOMENT, 401), (-MOMENT, 401)])
async def test_the_proof_is_five_minutes_old_at_most(house: House, anna: Person, age: timedelta, status: int) -> None:
    house.clock.forward(age)

    answer = await close(house)

    assert answer.status == status
    if status == 401:
        assert answer.json["code"] == "proof_required"
        assert "max_age=300" in answer.headers["WWW-Authenticate"]
        assert (await row_of(house, anna)).deleted_at is None


@pytest.mark.parametrize("master", ["directory", "hr"])
async def test_an_account_that_another_system_keeps_is_closed_there(house: House, anna: Person, master: str) -> None:
    async with house.db.write() as tx:
        await tx.execute(
            sa.insert(profile.profile).values(
                account_id=anna.id,
                organization_id=anna.organization_id,
                values={},
                masters={"job": {"master": master, "last_synced_at": None}},
            )
        )

    answer = await close(house)

    assert (answer.status, answer.json["code"], answer.json["master"]) == (409, "account_managed_elsewhere", master)


@pytest.mark.parametrize("act", [Act.WIPE, Act.REMOVE])
async def test_what_was_asked_for_a_lost_device_is_not_taken_back_by_it(house: House, anna: Person, act: Act) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    async with house.db.write() as tx:
        asked = await runs.ask(tx, anna, phone, act, house.clock.now)

    answer = await close(house)

    assert (answer.status, answer.json["code"], answer.json["job_id"]) == (409, "action_in_progress", str(asked.id))


async def test_the_last_global_administrator_stays_and_one_of_two_may_go(house: House) -> None:
    boss = await house.appoint()

    alone = await close(house, "boss")
    second = await house.hire("second", roles=("global_administrator",))
    both = await close(house, "boss")

    assert (alone.status, alone.json["code"]) == (409, "last_administrator")
    assert both.status == 200
    assert (await row_of(house, boss)).deleted_at == NOON
    await house.open_session(second, "second", strength=2)
    assert (await close(house, "second")).json["code"] == "last_administrator"


async def test_nor_the_last_one_of_another_organization_that_they_belong_to(house: House, anna: Person) -> None:
    elsewhere = await found(house.db, house.clock.now)
    async with house.db.write() as tx:
        await tx.execute(organization.new_membership(elsewhere, anna.id, ("global_administrator",), house.clock.now))

    assert (await close(house)).json["code"] == "last_administrator"


async def test_an_operators_account_is_closed_by_somebody_else(house: House) -> None:
    otto = await house.hire("otto", is_operator=True)
    await house.open_session(otto, "otto")

    assert (await close(house, "otto")).status == 403


async def test_of_two_last_administrators_who_close_at_once_one_stays(house: House) -> None:
    people = [await house.appoint(name) for name in ("boss", "second")]

    answers = await asyncio.gather(*(close(house, one.name) for one in people))

    assert sorted(one.status for one in answers) == [200, 409]
    rows = [await row_of(house, one) for one in people]
    assert [row.deleted_at is None for row in rows].count(True) == 1


async def test_a_role_that_is_given_meanwhile_counts_or_comes_too_late(house: House, anna: Person) -> None:
    """Anna closes while she is made the second administrator, and the first one closes as well."""
    await house.appoint()
    mark = (await house.ask("GET", f"/accounts/{anna.id}", token="boss")).headers["ETag"]
    body = {"roles": ["global_administrator"], "reason": "she takes over"}

    closed, granted = await asyncio.gather(
        close(house), house.ask("PUT", f"/accounts/{anna.id}/roles", body, token="boss", headers={"If-Match": mark})
    )

    assert closed.status == 200, "there is the other one, either way"
    assert granted.status in {200, 404}
    assert (await close(house, "boss")).json["code"] == "last_administrator"
    (active,) = await house.rows(
        sa.select(membership.c.account_id)
        .join(account.account, account.account.c.id == membership.c.account_id)
        .where(account.account.c.blocked_at.is_(None))
    )
    assert active.account_id != anna.id


async def test_it_is_mailed_since_whoever_is_out_sees_no_flag(house: House, anna: Person) -> None:
    mailed = await house.hire("bert@example.org")
    await house.open_session(mailed, "bert")

    await close(house, "bert")

    letters = await house.rows(sa.select(delivery.c.key).where(delivery.c.account_id == mailed.id))
    assert [row.key for row in letters] == ["account.closed"]
    assert await house.rows(sa.select(event).where(event.c.action == "account:life:close"))
