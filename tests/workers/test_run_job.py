"""One run of one job: what it checks again, what it never decides twice, and what every answer of a channel means."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from models import job
from models.account import account
from models.database import Database
from models.device import DeviceState, device
from models.enrollment import enrollment
from models.job import CRASHES, LEASE
from models.organization import organization
from models.sealed import Keyring
from models.vocabulary import Act, JobState, PlatformName, Reason
from platforms.base import Receipt
from platforms.errors import Refused, Uncertain, Unreachable
from tests import runs
from tests.clock import NOON, Clock
from tests.people import block, hire
from tests.workers.shop import Shop, furnish
from workers.run_job import UNCERTAIN_PAUSE, run_job

MINUTE = timedelta(minutes=1)
MOMENT = timedelta(microseconds=1)
DAY = timedelta(hours=24)


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    return await furnish(database, clock, keys)


async def test_a_run_plans_stores_and_wakes(shop: Shop) -> None:
    job_id = await shop.ask()

    held = await shop.run(job_id)

    assert (held.state, held.attempt, held.lease_until, held.command_ref) == (JobState.WAITING, 1, None, "ref-1")
    assert held.open_plan(shop.keys).value == b"plan-1"
    assert b"plan-1" not in (held.plan or b"")
    assert held.available_at == await shop.due_at(job_id) == NOON + MINUTE
    ((command, view),) = shop.channel.woken
    assert (command.job_id, command.act, command.ref, command.value.value) == (
        job_id,
        Act.RESET_PASSCODE,
        "ref-1",
        b"plan-1",
    )
    assert view.address == shop.device_id.hex
    assert await shop.timeline(job_id) == [("queued", "person", None), ("waiting", "worker", None)]
    assert await shop.told() == []


@pytest.mark.rule("A14.3")
async def test_a_message_that_comes_twice_runs_once(shop: Shop) -> None:
    job_id = await shop.ask()

    await asyncio.gather(*(shop.run(job_id) for _ in range(10)))

    assert len(shop.platform.orders) == len(shop.channel.woken) == 1
    assert (await shop.see(job_id)).attempt == 1


async def test_a_message_without_a_job_is_nothing(shop: Shop) -> None:
    await run_job(shop.needs, shop.device_id)

    assert shop.channel.woken == []


# Checked again


async def _another_owner(shop: Shop) -> None:
    other = await hire(shop.db, shop.person.organization_id, "bram", NOON)
    await shop.change(sa.update(device).values(account_id=other.id))


async def _blocked(shop: Shop) -> None:
    await block(shop.db, shop.person, NOON)


async def _left(shop: Shop) -> None:
    await shop.change(sa.update(enrollment).values(state="left", left_at=NOON))


async def _only_invited(shop: Shop) -> None:
    await shop.change(sa.update(enrollment).values(state="invited"))


async def _platform_gone(shop: Shop) -> None:
    shop.platform.name = PlatformName("another")


async def _no_such_act(shop: Shop) -> None:
    del shop.platform.offered[Act.RESET_PASSCODE]


async def _not_possible(shop: Shop) -> None:
    shop.platform.offered[Act.RESET_PASSCODE] = Reason.UNLOCK_TOKEN_MISSING


async def _hidden(shop: Shop) -> None:
    hidden = [{"platform": "pocket", "ownership": "corporate", "act": "reset_passcode"}]
    await shop.change(sa.update(organization).values(settings={"hidden_acts": hidden}))


async def _disabled(shop: Shop) -> None:
    await shop.change(sa.update(device).values(state=DeviceState.DISABLED.value))


async def _cannot_be_planned(shop: Shop) -> None:
    shop.platform.trouble = Refused(Reason.UNLOCK_TOKEN_MISSING)


@pytest.mark.parametrize(
    ("meanwhile", "state", "reason"),
    [
        (_another_owner, JobState.CANCELLED, Reason.OWNER_CHANGED),
        (_blocked, JobState.CANCELLED, Reason.ACCOUNT_BLOCKED),
        (_left, JobState.CANCELLED, Reason.DEVICE_LEFT),
        (_only_invited, JobState.CANCELLED, Reason.DEVICE_LEFT),
        (_platform_gone, JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED),
        (_no_such_act, JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED),
        (_not_possible, JobState.UNSUPPORTED, Reason.UNLOCK_TOKEN_MISSING),
        (_hidden, JobState.UNSUPPORTED, Reason.HIDDEN_BY_ADMIN),
        (_disabled, JobState.UNSUPPORTED, Reason.DEVICE_DISABLED),
        (_cannot_be_planned, JobState.FAILED, Reason.UNLOCK_TOKEN_MISSING),
    ],
)
async def test_what_no_longer_holds_ends_the_job_unheard(
    shop: Shop, meanwhile: Any, state: JobState, reason: Reason
) -> None:
    job_id = await shop.ask()
    await meanwhile(shop)

    await shop.run(job_id)

    await shop.ended(job_id, state, reason, f"job.reset_passcode.{state}")
    assert shop.channel.woken == []


async def test_an_owner_unblocked_in_time_gets_what_was_asked(shop: Shop) -> None:
    job_id = await shop.ask()
    await block(shop.db, shop.person, NOON)
    await shop.change(sa.update(account).values(blocked_at=None))

    assert (await shop.run(job_id)).state is JobState.WAITING


# Runs that die


async def test_a_job_whose_runs_die_five_times_has_failed(shop: Shop) -> None:
    job_id = await shop.ask()
    for _ in range(CRASHES):
        await shop.claim(job_id)
        shop.clock.forward(LEASE)

    await shop.run(job_id)

    await shop.ended(job_id, JobState.FAILED, Reason.CRASHED, "job.reset_passcode.failed")
    assert shop.platform.orders == []


async def test_a_job_whose_runs_died_four_times_still_goes_on(shop: Shop) -> None:
    job_id = await shop.ask()
    for _ in range(CRASHES - 1):
        await shop.claim(job_id)
        shop.clock.forward(LEASE)

    assert (await shop.run(job_id)).state is JobState.WAITING


async def test_a_lease_holds_until_its_last_moment(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.claim(job_id)

    shop.clock.forward(LEASE - MOMENT)
    early = await shop.run(job_id)
    shop.clock.forward(MOMENT)
    late = await shop.run(job_id)

    assert (early.state, early.attempt) == (JobState.QUEUED, 1)
    assert (late.state, late.attempt, late.crashes) == (JobState.WAITING, 2, 0)


async def test_a_run_that_lost_its_lease_decides_nothing(shop: Shop) -> None:
    job_id = await shop.ask()
    held = await shop.claim(job_id)
    shop.clock.forward(LEASE)
    await shop.run(job_id)
    async with shop.db.write() as tx:
        stored = await runs.store_plan(tx, held, ref="old", sealed=b"old", now=shop.clock.now)

    assert stored is False
    assert (await shop.see(job_id)).command_ref == "ref-1"


# What a channel answers


async def test_unreachable_waits_as_long_as_the_other_side_said(shop: Shop) -> None:
    shop.channel.answers.append(Unreachable("throttled", pause=timedelta(minutes=42)))

    held = await shop.run(job_id := await shop.ask())

    assert (held.state, held.lease_until, held.available_at) == (JobState.WAITING, None, NOON + 42 * MINUTE)
    assert await shop.due_at(job_id) == NOON + 42 * MINUTE


async def test_unreachable_without_a_word_waits_a_growing_pause(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.channel.answers += [Unreachable("away"), Unreachable("away")]

    first = await shop.run(job_id)
    shop.clock.now = first.available_at
    again = await shop.run(job_id)

    assert first.available_at == NOON + 5 * MINUTE
    assert again.attempt == 2
    assert again.available_at == first.available_at + 5 * MINUTE
    assert again.state is JobState.WAITING


async def test_who_must_call_first_is_not_woken_until_the_end(shop: Shop) -> None:
    shop.channel.answers.append(Unreachable("gone", until_it_calls=True))

    held = await shop.run(job_id := await shop.ask())

    assert held.available_at == held.expires_at == await shop.due_at(job_id) == NOON + DAY


async def test_what_never_ends_is_still_tried_where_the_device_must_call_first(shop: Shop) -> None:
    shop.channel.answers.append(Unreachable("gone", until_it_calls=True))

    held = await shop.run(job_id := await shop.ask(Act.WIPE))

    assert held.expires_at is None
    assert held.available_at == await shop.due_at(job_id) == NOON + 5 * MINUTE


async def test_a_pause_never_outlives_the_job(shop: Shop) -> None:
    shop.channel.answers.append(Unreachable("away", pause=timedelta(days=9)))

    await shop.run(job_id := await shop.ask(Act.RESTART))

    assert await shop.due_at(job_id) == NOON + timedelta(hours=1)


async def test_uncertain_is_looked_at_soon(shop: Shop) -> None:
    shop.channel.answers.append(Uncertain("no_answer"))

    held = await shop.run(await shop.ask())

    assert (held.state, held.available_at) == (JobState.WAITING, NOON + UNCERTAIN_PAUSE)


async def test_refused_is_final(shop: Shop) -> None:
    shop.channel.answers.append(Refused(Reason.PUSH_REFUSED))

    await shop.run(job_id := await shop.ask())

    await shop.ended(job_id, JobState.FAILED, Reason.PUSH_REFUSED, "job.reset_passcode.failed")


async def test_an_order_that_the_other_side_took_is_delivered_with_its_receipt(shop: Shop) -> None:
    shop.channel.answers.append(Receipt("operation-7"))

    held = await shop.run(job_id := await shop.ask())

    assert (held.state, held.offers) == (JobState.DELIVERED, 1)
    assert (await shop.row(job_id)).receipt == "operation-7"


async def test_an_error_nobody_expected_leaves_a_plan_that_is_woken_again(shop: Shop) -> None:
    shop.channel.answers.append(RuntimeError("a bug"))
    job_id = await shop.ask()

    with pytest.raises(RuntimeError):
        await shop.run(job_id)
    shop.clock.forward(MINUTE)
    held = await shop.run(job_id)

    assert (held.state, held.attempt, held.crashes) == (JobState.WAITING, 2, 0)
    assert len(shop.platform.orders) == 1
    assert len(shop.channel.woken) == 2


# Waking again


async def test_a_waiting_job_is_woken_again_with_the_plan_it_had(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    early = await shop.run(job_id)
    shop.clock.forward(MINUTE)

    held = await shop.run(job_id)

    assert early.attempt == 1
    assert [(command.ref, command.value.value, command.state) for command, _ in shop.channel.woken] == [
        ("ref-1", b"plan-1", JobState.WAITING)
    ] * 2
    assert (held.wakes, held.lease_until, held.available_at) == (2, None, NOON + 6 * MINUTE)
    assert len(await shop.timeline(job_id)) == 2


async def test_pauses_between_wakes_grow_and_then_stay(shop: Shop) -> None:
    job_id = await shop.ask()
    pauses = []
    for _ in range(6):
        held = await shop.run(job_id)
        pauses.append((held.available_at - shop.clock.now) // MINUTE)
        shop.clock.now = held.available_at

    assert pauses == [1, 5, 15, 60, 60, 60]


async def test_a_delivered_job_without_an_answer_is_woken_again_and_stays_delivered(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    delivered = await shop.deliver(job_id)
    shop.clock.now = delivered.available_at

    held = await shop.run(job_id)

    assert (held.state, held.attempt, held.lease_until) == (JobState.DELIVERED, 2, None)
    assert shop.channel.woken[-1][0].state is JobState.DELIVERED
    assert held.available_at > shop.clock.now


async def test_a_device_that_answers_during_its_wake_has_the_last_word(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    shop.clock.forward(MINUTE)
    wake = shop.channel.wake

    async def answered_meanwhile(*words: Any) -> Any:
        await shop.deliver(job_id)
        return await wake(*words)

    shop.channel.wake = answered_meanwhile  # type: ignore[method-assign] # the device is quick
    held = await shop.run(job_id)

    assert (held.state, held.offers, held.lease_until) == (JobState.DELIVERED, 1, None)
    assert held.available_at == shop.clock.now + MINUTE


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (_another_owner, Reason.OWNER_CHANGED),
        (_blocked, Reason.ACCOUNT_BLOCKED),
        (_left, Reason.DEVICE_LEFT),
    ],
)
async def test_a_waiting_job_that_no_longer_holds_ends_and_wakes_nobody(
    shop: Shop, meanwhile: Any, reason: Reason
) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    await meanwhile(shop)
    shop.clock.forward(MINUTE)

    await shop.run(job_id)

    await shop.ended(job_id, JobState.CANCELLED, reason, "job.reset_passcode.cancelled")
    assert len(shop.channel.woken) == 1


async def test_a_delivered_job_whose_device_lost_its_bond_waits_for_its_answer_or_its_end(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    await shop.change(sa.update(job.job).values(state=JobState.DELIVERED.value))
    await _left(shop)
    shop.clock.forward(MINUTE)

    held = await shop.run(job_id)

    assert (held.state, held.lease_until, held.available_at) == (JobState.DELIVERED, None, NOON + DAY)
    assert len(shop.channel.woken) == 1


async def test_a_job_whose_wakes_kill_five_runs_in_a_row_has_failed(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    shop.clock.forward(MINUTE)
    for _ in range(CRASHES):
        await shop.claim(job_id)
        shop.clock.forward(LEASE)

    await shop.run(job_id)

    await shop.ended(job_id, JobState.FAILED, Reason.CRASHED, "job.reset_passcode.failed")


async def test_what_has_ended_is_not_run(shop: Shop) -> None:
    job_id = await shop.ask()
    await _blocked(shop)
    await shop.run(job_id)

    held = await shop.run(job_id)

    assert held.attempt == 1
    assert len(await shop.told()) == 1


@pytest.mark.parametrize(
    "trouble", [Unreachable("away"), Uncertain("perhaps"), Refused(Reason.PUSH_REFUSED), Receipt("taken"), None]
)
async def test_a_job_cancelled_during_its_wake_stays_cancelled(shop: Shop, trouble: Any) -> None:
    job_id = await shop.ask()
    shop.channel.answers.append(trouble)
    wake = shop.channel.wake

    async def cancelled_meanwhile(*words: Any) -> Any:
        async with shop.db.write() as tx:
            held = await job.by_id(tx, job_id)
            assert held is not None
            assert await job.move(tx, held, JobState.CANCELLED, by="person", why=Reason.BY_PERSON, now=NOON)
        return await wake(*words)

    shop.channel.wake = cancelled_meanwhile  # type: ignore[method-assign] # the person is quick
    held = await shop.run(job_id)

    assert (held.state, held.reason) == (JobState.CANCELLED, Reason.BY_PERSON)
    assert await shop.due_at(job_id) is None
    assert await shop.told() == []
