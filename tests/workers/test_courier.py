"""Where a courier takes the orders: nothing is handed over twice without a look, and what it has done is found."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models import job
from models.database import Database
from models.device import device
from models.enrollment import enrollment
from models.event import WORKER
from models.job import COURIER_PAUSE, LEASE, LOOKS, Words
from models.sealed import Keyring
from models.settings import CONFIRMATION
from models.vocabulary import Act, JobState, Outcome, Reason
from platforms.base import Command, Enrollment, Receipt, Report
from platforms.errors import Refused, Uncertain, Unreachable
from tests.clock import NOON, Clock
from tests.workers.shop import PocketCourier, Shop, furnish
from workers.run_job import LAST_LOOK, UNCERTAIN_PAUSE

PENDING = Outcome(None)
DONE = Outcome(JobState.SUCCEEDED)


@pytest.fixture
def courier() -> PocketCourier:
    return PocketCourier()


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring, courier: PocketCourier) -> Shop:
    shop = await furnish(database, clock, keys)
    shop.channel = courier
    return shop


def taken(outcome: Outcome = PENDING, receipt: str = "operation-7") -> Report:
    return Report(None, outcome, receipt=receipt)


async def test_the_first_run_hands_over_without_a_look(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Receipt("operation-7"))

    held = await shop.run(await shop.ask())

    assert (held.state, held.receipt, held.sent_at) == (JobState.DELIVERED, "operation-7", NOON)
    assert courier.looked == []


async def test_a_run_that_died_after_its_plan_is_followed_by_a_look(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(RuntimeError("died"))
    courier.found.append(taken())
    job_id = await shop.ask()
    with pytest.raises(RuntimeError):
        await shop.run(job_id)

    shop.clock.forward(COURIER_PAUSE)
    held = await shop.run(job_id)

    assert (held.state, held.receipt) == (JobState.DELIVERED, "operation-7")
    assert len(courier.woken) == 1
    assert courier.looked[0][0].sent_at == NOON


async def test_an_uncertain_order_that_was_taken_is_adopted_with_its_ending(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Uncertain("no_answer"))
    courier.found.append(taken(DONE))
    job_id = await shop.ask()
    first = await shop.run(job_id)

    shop.clock.forward(UNCERTAIN_PAUSE)
    held = await shop.run(job_id)

    assert first.available_at == NOON + UNCERTAIN_PAUSE
    assert (held.state, held.receipt, held.offers) == (JobState.SUCCEEDED, "operation-7", 1)
    assert await shop.told() == [("pocket.done", None)]
    assert len(courier.woken) == 1


@pytest.mark.parametrize("act", [Act.REMOVE, Act.WIPE])
async def test_a_device_that_its_courier_removed_or_wiped_has_left(
    shop: Shop, courier: PocketCourier, act: Act
) -> None:
    lock = await shop.ask(Act.REMOTE_LOCK)
    courier.answers.append(Receipt("operation-7"))
    job_id = await shop.ask(act)
    taken_over = await shop.run(job_id)
    courier.found.append(Report(None, Outcome(JobState.SUCCEEDED), receipt="operation-7"))
    shop.clock.forward(COURIER_PAUSE * 2)

    held = await shop.run(job_id)

    assert (taken_over.state, taken_over.expires_at) == (JobState.DELIVERED, NOON + CONFIRMATION)
    assert held.state is JobState.SUCCEEDED
    (gone,) = await shop.rows(sa.select(device.c.state))
    (bond,) = await shop.rows(sa.select(enrollment.c.state, enrollment.c.left_at))
    assert (gone.state, bond.state, bond.left_at) == ("left", "left", shop.clock.now)
    assert ((await shop.see(lock)).state, (await shop.see(lock)).reason) == (JobState.CANCELLED, "device_left")
    assert set(shop.bell.nudged) == {shop.person.id}


async def test_a_success_may_be_told_in_the_platforms_own_words(shop: Shop, courier: PocketCourier) -> None:
    for act, own, told in (
        (Act.REMOTE_LOCK, "pocket.locked_half", "pocket.locked_half"),
        (Act.RESTART, None, "job.restart.succeeded"),
        (Act.RESET_PASSCODE, None, "pocket.done"),
    ):
        courier.answers.append(Receipt(f"operation-{act}"))
        job_id = await shop.ask(act)
        await shop.run(job_id)
        courier.found.append(Report(None, Outcome(JobState.SUCCEEDED, told=own), receipt=f"operation-{act}"))
        shop.clock.forward(COURIER_PAUSE * 2)
        await shop.run(job_id)

        assert (told, None) in await shop.told()


async def test_after_two_looks_in_vain_the_same_plan_is_handed_over_again(shop: Shop, courier: PocketCourier) -> None:
    courier.answers += [Uncertain("no_answer"), Receipt("operation-8")]
    job_id = await shop.ask()
    await shop.run(job_id)

    for looks in range(1, LOOKS):
        shop.clock.forward(UNCERTAIN_PAUSE)
        held = await shop.run(job_id)
        assert (held.state, held.looks, len(courier.woken)) == (JobState.WAITING, looks, 1)
    shop.clock.forward(UNCERTAIN_PAUSE)
    held = await shop.run(job_id)

    assert (held.state, held.receipt) == (JobState.DELIVERED, "operation-8")
    assert held.sent_at == shop.clock.now
    assert [command.value.value for command, _ in courier.woken] == [b"plan-1", b"plan-1"]
    assert len(courier.looked) == LOOKS


async def test_an_order_that_was_surely_not_taken_is_handed_over_without_a_look(
    shop: Shop, courier: PocketCourier
) -> None:
    courier.answers += [Unreachable("quota", pause=timedelta(seconds=60)), Receipt("operation-7")]
    job_id = await shop.ask()
    held = await shop.run(job_id)
    assert held.sent_at is None

    shop.clock.forward(timedelta(seconds=60))
    held = await shop.run(job_id)

    assert (held.state, len(courier.woken), courier.looked) == (JobState.DELIVERED, 2, [])
    assert held.sent_at == courier.woken[1][0].sent_at == shop.clock.now


async def test_a_later_run_that_died_in_its_hand_over_is_followed_by_a_look_too(
    shop: Shop, courier: PocketCourier
) -> None:
    courier.answers += [Unreachable("quota", pause=timedelta(seconds=60)), RuntimeError("died")]
    courier.found.append(taken())
    await shop.run(job_id := await shop.ask())
    shop.clock.forward(timedelta(seconds=60))
    with pytest.raises(RuntimeError):
        await shop.run(job_id)

    shop.clock.forward(LEASE)
    held = await shop.run(job_id)

    assert (held.state, held.receipt) == (JobState.DELIVERED, "operation-7")
    assert (len(courier.woken), len(courier.looked)) == (2, 1)


async def test_a_look_that_is_not_answered_counts_for_nothing(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Uncertain("no_answer"))
    courier.found += [None, Unreachable("away"), taken()]
    job_id = await shop.ask()
    await shop.run(job_id)

    shop.clock.forward(UNCERTAIN_PAUSE)
    await shop.run(job_id)
    shop.clock.forward(UNCERTAIN_PAUSE)
    held = await shop.run(job_id)
    assert (held.looks, held.sent_at) == (1, NOON)
    shop.clock.now = held.available_at
    held = await shop.run(job_id)

    assert (held.state, len(courier.woken)) == (JobState.DELIVERED, 1)


async def test_a_notice_that_got_lost_is_made_good_by_a_look(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Receipt("operation-7"))
    courier.found += [taken(), taken(Outcome(JobState.FAILED, Reason.DEVICE_REFUSED))]
    held = await shop.run(job_id := await shop.ask())

    shop.clock.now = held.available_at
    held = await shop.run(job_id)
    assert held.state is JobState.DELIVERED
    assert held.available_at > shop.clock.now
    shop.clock.now = held.available_at
    held = await shop.run(job_id)

    assert (held.state, held.reason, len(courier.woken)) == (JobState.FAILED, Reason.DEVICE_REFUSED, 1)


async def test_an_order_that_the_courier_lost_is_not_handed_over_again(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Receipt("operation-7"))
    held = await shop.run(job_id := await shop.ask())

    shop.clock.now = held.available_at
    held = await shop.run(job_id)

    assert (held.state, len(courier.woken), len(courier.looked)) == (JobState.DELIVERED, 1, 1)


async def test_a_courier_that_refuses_a_look_ends_the_job(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Uncertain("no_answer"))
    courier.found.append(Refused(Reason.DEVICE_LEFT))
    job_id = await shop.ask()
    await shop.run(job_id)

    shop.clock.forward(UNCERTAIN_PAUSE)
    held = await shop.run(job_id)

    assert (held.state, held.reason) == (JobState.FAILED, Reason.DEVICE_LEFT)


async def test_an_older_order_that_is_over_for_us_is_taken_back_first(shop: Shop, courier: PocketCourier) -> None:
    courier.answers += [Receipt("operation-1"), Receipt("operation-2")]
    await shop.run(first := await shop.ask())
    shop.clock.forward(timedelta(hours=24))
    await shop.sweep.jobs()
    assert (await shop.see(first)).state is JobState.EXPIRED

    second = await shop.run(await shop.ask())

    assert courier.withdrawn == ["operation-1"]
    assert (second.state, second.receipt) == (JobState.DELIVERED, "operation-2")


async def test_while_the_older_order_cannot_be_taken_back_the_new_one_waits(shop: Shop, courier: PocketCourier) -> None:
    courier.answers += [Receipt("operation-1"), Receipt("operation-2")]
    await shop.run(await shop.ask())
    shop.clock.forward(timedelta(hours=24))
    await shop.sweep.jobs()
    courier.away = True

    held = await shop.run(job_id := await shop.ask())

    assert (held.state, len(courier.woken)) == (JobState.WAITING, 1)
    assert held.available_at > shop.clock.now
    courier.away = False
    shop.clock.now = held.available_at
    held = await shop.run(job_id)
    assert (held.state, courier.withdrawn) == (JobState.DELIVERED, ["operation-1"])


async def test_what_a_courier_may_hold_is_cancelled_by_nobody(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Uncertain("no_answer"))
    waiting = await shop.run(await shop.ask())

    wipe = await shop.ask(Act.WIPE)
    words = Words(success_key="", device_name="phone")
    async with shop.db.write() as tx:
        told = await job.supersede(tx, [waiting], wipe, actor=WORKER, words=words, keys=shop.keys, now=shop.clock.now)

    assert (waiting.state, waiting.available_actions(), told) == (JobState.WAITING, [], [])
    assert (await shop.see(waiting.id)).state is JobState.WAITING


async def test_what_was_surely_not_taken_can_be_cancelled_until_it_is_sent(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Unreachable("quota"))

    assert (await shop.see(await shop.ask(Act.REMOTE_LOCK))).available_actions() == ["cancel"]
    assert (await shop.run(await shop.ask())).available_actions() == ["cancel"]


async def test_an_order_that_ended_while_it_was_taken_is_known_and_taken_back(
    shop: Shop, courier: PocketCourier
) -> None:
    first = await shop.ask()
    wake = courier.wake

    async def slowly(command: Command, enrollment: Enrollment) -> Receipt | None:
        shop.clock.forward(timedelta(hours=24))
        await shop.sweep.jobs()
        return await wake(command, enrollment)

    courier.wake = slowly  # type: ignore[method-assign] # its time runs out on the way
    courier.answers += [Receipt("operation-1"), Receipt("operation-2")]
    held = await shop.run(first)
    courier.wake = wake  # type: ignore[method-assign]
    second = await shop.run(await shop.ask())

    assert (held.state, held.receipt) == (JobState.EXPIRED, "operation-1")
    assert (second.state, courier.withdrawn) == (JobState.DELIVERED, ["operation-1"])


async def test_a_courier_is_asked_once_more_before_an_order_runs_out(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Receipt("operation-7"))
    held = await shop.run(job_id := await shop.ask(Act.RESTART))
    assert held.expires_at is not None
    while held.available_at < held.expires_at - LAST_LOOK:
        shop.clock.now = held.available_at
        held = await shop.run(job_id)
    assert held.available_at == held.expires_at - LAST_LOOK
    courier.found.append(taken(DONE))

    shop.clock.now = held.available_at
    held = await shop.run(job_id)

    assert held.state is JobState.SUCCEEDED


async def test_after_the_last_look_an_order_runs_out(shop: Shop, courier: PocketCourier) -> None:
    courier.answers.append(Receipt("operation-7"))
    held = await shop.run(job_id := await shop.ask(Act.RESTART))
    assert held.expires_at is not None

    shop.clock.now = held.expires_at - LAST_LOOK
    held = await shop.run(job_id)

    assert held.expires_at is not None
    assert (held.state, held.available_at >= held.expires_at) == (JobState.DELIVERED, True)


async def test_a_look_is_told_which_orders_are_others(shop: Shop, courier: PocketCourier) -> None:
    courier.answers += [Receipt("operation-1"), Uncertain("no_answer")]
    courier.found += [taken(DONE, "operation-1"), None]
    held = await shop.run(first := await shop.ask())
    shop.clock.now = held.available_at
    await shop.run(first)
    held = await shop.run(second := await shop.ask())

    shop.clock.now = held.available_at
    await shop.run(second)

    assert [others for _, others in courier.looked] == [frozenset(), frozenset({"operation-1"})]
