"""A job moves along its table alone, one run at a time, and ends once: with one line for its person."""

import asyncio
import itertools
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models import job, notification, passcode
from models.database import Database
from models.errors import IllegalMove
from models.event import WORKER, device_actor, event
from models.job import CRASHES, ENDINGS, LEASE, LIFE, MOVES, OFFERS_TOLD, OPEN, Job, Words
from models.sealed import Keyring, SealBroken
from models.settings import DatabaseSettings
from models.vocabulary import Act, JobState, Outcome, PasscodeKind, Reason, Secret, new_id
from tests import runs
from tests.clock import NOON, Clock
from tests.people import Person, found, give_device, hire

WORDS = Words("job.reset_passcode.ready", "anna's phone")
MOMENT = timedelta(microseconds=1)
DAY = timedelta(hours=24)
SUCCESS = Outcome(
    JobState.SUCCEEDED,
    passcode=Secret(b"1234"),
    passcode_kind=PasscodeKind.TEMPORARY_NUMERIC,
    detail=(("Status", "Acknowledged"),),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """One person, their phone, and what is asked of it."""

    db: Database
    clock: Clock
    keys: Keyring
    person: Person
    device_id: UUID

    async def ask(self, act: Act = Act.RESET_PASSCODE, *, key: str | None = None, device_id: UUID | None = None) -> Job:
        async with self.db.write() as tx:
            return await runs.ask(tx, self.person, device_id or self.device_id, act, self.clock.now, key=key)

    async def see(self, job_id: UUID) -> Job:
        async with self.db.read() as tx:
            seen = await job.by_id(tx, job_id)
        assert seen is not None
        return seen

    async def claim(self, job_id: UUID) -> Job | None:
        async with self.db.write() as tx:
            return await runs.claim(tx, job_id)

    async def claimed(self, job_id: UUID) -> Job:
        held = await self.claim(job_id)
        assert held is not None
        return held

    async def plan(self, held: Job) -> bool:
        sealed = job.seal_plan(self.keys, held, Secret(b"a plan"))
        async with self.db.write() as tx:
            return await runs.store_plan(tx, held, ref="ref", sealed=sealed, now=self.clock.now)

    async def deliver(self, held: Job) -> bool:
        async with self.db.write() as tx:
            return await job.deliver(tx, held, by="device", now=self.clock.now)

    async def put_off(self, held: Job) -> bool:
        async with self.db.write() as tx:
            return await job.put_off(tx, held, by="device", why=Reason.NOT_NOW, now=self.clock.now)

    async def settle(self, held: Job, outcome: Outcome = SUCCESS, *, fence: bool = False) -> bool:
        async with self.db.write() as tx:
            return await job.settle(
                tx,
                held,
                outcome,
                actor=WORKER,
                words=WORDS,
                keys=self.keys,
                unread_passcode=DAY,
                now=self.clock.now,
                fence=fence,
            )

    async def late(self, held: Job, outcome: Outcome) -> None:
        async with self.db.write() as tx:
            actor = device_actor(self.device_id)
            await job.keep_late_result(tx, held, outcome, actor=actor, now=self.clock.now)

    async def asked_in(self, state: JobState, **more: Any) -> Job:
        """A job that stands there, put there by hand."""
        asked = await self.ask(**more)
        async with self.db.write() as tx:
            await tx.execute(sa.update(job.job).where(job.job.c.id == asked.id).values(state=state.value))
        return await self.see(asked.id)

    async def timeline(self, job_id: UUID) -> list[tuple[int, str | None, str, str, str | None, int]]:
        async with self.db.read() as tx:
            lines = await job.timeline(tx, job_id)
        return [(line.seq, line.from_state, line.to_state, line.by, line.why, line.attempt) for line in lines]

    async def rows(self, table: sa.Table) -> list[Any]:
        async with self.db.read() as tx:
            return list((await tx.execute(sa.select(table))).all())

    async def row(self, job_id: UUID) -> Any:
        async with self.db.read() as tx:
            return (await tx.execute(sa.select(job.job).where(job.job.c.id == job_id))).one()


async def furnish(db: Database, clock: Clock, keys: Keyring) -> Desk:
    person = await hire(db, await found(db, clock.now), "anna", clock.now)
    return Desk(db, clock, keys, person, await give_device(db, person, clock.now))


@pytest.fixture
async def desk(database: Database, clock: Clock, keys: Keyring) -> Desk:
    return await furnish(database, clock, keys)


# Asking


@pytest.mark.parametrize("act", Act)
async def test_what_is_asked_is_queued_and_due_soon(desk: Desk, act: Act) -> None:
    asked = await desk.ask(act)

    assert asked == await desk.see(asked.id)
    assert (asked.state, asked.attempt, asked.available_at) == (JobState.QUEUED, 0, NOON)
    assert asked.expires_at == (None if LIFE[act] is None else NOON + LIFE[act])
    assert await desk.timeline(asked.id) == [(1, None, "queued", "person", None, 0)]
    assert (await desk.row(asked.id)).due_at == NOON + timedelta(seconds=3)


async def test_one_open_job_of_a_kind_for_a_device(desk: Desk) -> None:
    asked = await desk.ask()
    with pytest.raises(sa.exc.IntegrityError):
        await desk.ask()
    await desk.ask(Act.REMOTE_LOCK)
    await desk.settle(asked)

    await desk.ask()


async def lines_of(desk: Desk) -> list[notification.Notification]:
    """As a stream would show them."""
    async with desk.db.read() as tx:
        after = notification.after_question(desk.person.organization_id, desk.person.id, 0, desk.clock.now, 10)
        return [notification.Notification.of(row) for row in (await tx.ask(*after)).rows]


async def test_of_two_passcodes_the_older_is_told_as_replaced_and_the_newest_stands_last(desk: Desk) -> None:
    other = await give_device(desk.db, desk.person, NOON)
    elsewhere = await desk.ask(device_id=other)
    await desk.settle(elsewhere)
    first = await desk.ask()
    await desk.settle(first)
    (_, read) = await lines_of(desk)
    async with desk.db.write() as tx:
        await notification.mark(tx, desk.person.organization_id, desk.person.id, read.id, read_at=NOON)
    desk.clock.forward(1)

    second = await desk.ask()
    await desk.settle(second)
    lines = await lines_of(desk)

    assert [(line.job_id, line.key, line.severity, line.version) for line in lines] == [
        (elsewhere.id, WORDS.success_key, "success", 1),
        (first.id, "passcode.replaced", "info", 2),
        (second.id, WORDS.success_key, "success", 1),
    ]
    assert [line.read_at for line in lines] == [None, NOON, None]
    assert lines[1].params["device"] == WORDS.device_name
    # A passcode that is gone already was replaced by none.
    desk.clock.forward(1)
    async with desk.db.write() as tx:
        await passcode.destroy_of_device(tx, desk.person.organization_id, desk.device_id, "lapsed", desk.clock.now)
    await desk.settle(await desk.ask())
    assert [line.key for line in (await lines_of(desk))[1:]] == ["passcode.replaced", *[WORDS.success_key] * 2]


async def test_where_the_new_passcode_reached_nobody_the_older_is_gone_all_the_same(desk: Desk) -> None:
    await desk.settle(await desk.ask())

    await desk.settle(await desk.ask(), Outcome(JobState.FAILED, Reason.CODE_UNKNOWN))

    assert [line.key for line in await lines_of(desk)] == ["passcode.replaced", "job.reset_passcode.failed"]
    async with desk.db.write() as tx:
        older = await passcode.newest_of_device(tx, desk.person.organization_id, desk.device_id)
    assert older is not None
    assert older.sealed is None


async def test_a_reset_that_failed_replaces_no_passcode(desk: Desk) -> None:
    await desk.settle(await desk.ask())

    await desk.settle(await desk.ask(), Outcome(JobState.FAILED, Reason.DEVICE_REFUSED))

    assert [line.key for line in await lines_of(desk)] == [WORDS.success_key, "job.reset_passcode.failed"]


async def test_one_job_for_one_idempotency_key(desk: Desk) -> None:
    await desk.settle(await desk.ask(key="one"))

    with pytest.raises(sa.exc.IntegrityError):
        await desk.ask(key="one")


# The table of moves


EXPECTED = {
    JobState.QUEUED: "waiting succeeded failed unsupported expired cancelled",
    JobState.WAITING: "delivered succeeded failed unsupported expired cancelled unconfirmed",
    JobState.DELIVERED: "waiting succeeded failed unsupported expired unconfirmed",
}


@pytest.mark.parametrize("start", JobState)
async def test_every_move_of_the_table_and_no_other(desk: Desk, start: JobState) -> None:
    for to in JobState:
        held = await desk.asked_in(start)
        allowed = to.value in EXPECTED.get(start, "").split()
        if allowed:
            async with desk.db.write() as tx:
                assert await job.move(tx, held, to, by="worker", why="because", now=NOON)
            assert (await desk.timeline(held.id))[1:] == [(2, start.value, to.value, "worker", "because", 0)]
        else:
            with pytest.raises(IllegalMove):
                async with desk.db.write() as tx:
                    await job.move(tx, held, to, by="worker", why=None, now=NOON)
            assert len(await desk.timeline(held.id)) == 1
        seen = await desk.see(held.id)
        assert seen.state is (to if allowed else start)
        if allowed:
            assert (seen.ended_at, seen.reason) == ((NOON, "because") if to in ENDINGS else (None, None))
        async with desk.db.write() as tx:  # out of the next one's way
            await tx.execute(sa.update(job.job).values(state="failed").where(job.job.c.id == held.id))


def test_endings_lead_nowhere() -> None:
    assert all(MOVES[ending] == frozenset() for ending in ENDINGS)
    assert set(MOVES) == set(JobState)


async def test_a_move_from_where_the_job_no_longer_is_changes_nothing(desk: Desk) -> None:
    held = await desk.ask()
    await desk.settle(held, Outcome(JobState.CANCELLED, Reason.BY_PERSON))
    before = await desk.row(held.id)

    async with desk.db.write() as tx:
        assert not await job.move(tx, held, JobState.WAITING, by="worker", why=None, now=NOON)
    assert await desk.row(held.id) == before
    assert len(await desk.timeline(held.id)) == 2


async def test_an_ending_asks_for_no_look_and_forgets_its_plan(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    await desk.settle(await desk.see(held.id))

    row = await desk.row(held.id)
    assert (row.due_at, row.plan, row.lease_until) == (None, None, None)


# Claims


async def test_a_claim_is_a_lease_and_a_second_one_finds_nothing(desk: Desk) -> None:
    asked = await desk.ask()

    held = await desk.claimed(asked.id)

    assert (held.attempt, held.crashes, held.lease_until) == (1, 0, NOON + LEASE)
    assert await desk.claim(asked.id) is None
    assert (await desk.row(asked.id)).due_at == NOON + LEASE


async def test_of_twenty_who_claim_at_once_one_has_it(desk: Desk) -> None:
    asked = await desk.ask()

    held = await asyncio.gather(*(desk.claim(asked.id) for _ in range(20)))

    assert sum(one is not None for one in held) == 1
    assert (await desk.see(asked.id)).attempt == 1


async def test_a_lease_that_ran_out_is_claimed_again_and_counted(desk: Desk) -> None:
    asked = await desk.ask()
    for crash in range(CRASHES + 1):
        held = await desk.claimed(asked.id)
        assert (held.attempt, held.crashes) == (crash + 1, crash)
        desk.clock.forward(LEASE - MOMENT)
        assert await desk.claim(asked.id) is None
        desk.clock.forward(MOMENT)


async def test_what_is_not_available_yet_is_not_claimed(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    async with desk.db.write() as tx:
        assert await job.release(tx, held, available_at=NOON + timedelta(minutes=1), woke=True)

    desk.clock.forward(59.999999)
    assert await desk.claim(held.id) is None
    desk.clock.forward(MOMENT)
    again = await desk.claimed(held.id)
    assert (again.attempt, again.crashes, again.wakes) == (2, 0, 1)


@pytest.mark.parametrize("state", JobState)
async def test_only_what_is_open_is_claimed(desk: Desk, state: JobState) -> None:
    asked = await desk.asked_in(state)

    assert (await desk.claim(asked.id) is not None) is (state in OPEN)


async def test_what_does_not_exist_is_not_claimed(desk: Desk) -> None:
    assert await desk.claim(new_id(NOON)) is None


async def test_a_run_that_lost_its_lease_changes_nothing(desk: Desk) -> None:
    lost = await desk.claimed((await desk.ask()).id)
    desk.clock.forward(LEASE)
    await desk.claimed(lost.id)
    before = await desk.row(lost.id)

    assert not await desk.plan(lost)
    assert not await desk.settle(lost, fence=True)
    async with desk.db.write() as tx:
        assert not await job.release(tx, lost, available_at=NOON)

    assert await desk.row(lost.id) == before
    assert len(await desk.timeline(lost.id)) == 1
    assert await desk.rows(notification.notification) == []
    assert await desk.rows(passcode.passcode) == []
    assert await desk.rows(event) == []


async def test_a_run_releases_nothing_that_moved_meanwhile(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.settle(held, Outcome(JobState.CANCELLED, Reason.BY_PERSON))

    async with desk.db.write() as tx:
        assert not await job.release(tx, held, available_at=NOON)
    assert (await desk.row(held.id)).due_at is None


# Rings


async def due(desk: Desk) -> list[UUID]:
    async with desk.db.write() as tx:
        held, _ = await job.due(tx, desk.clock.now, 100)
        await job.rung(tx, held, desk.clock.now)
    return [one.id for one in held]


async def test_a_ring_that_nobody_hears_is_repeated_later_each_time(desk: Desk) -> None:
    asked = await desk.ask()
    pauses = []
    last = NOON
    for _ in range(8):
        at = (await desk.row(asked.id)).due_at
        pauses.append((at - last).total_seconds())
        desk.clock.now = at - MOMENT
        assert await due(desk) == []
        last = desk.clock.now = at
        assert await due(desk) == [asked.id]

    assert pauses == [3, 3, 6, 12, 24, 48, 60, 60]


async def test_a_job_under_lease_is_not_rung_before_the_lease_is_over(desk: Desk) -> None:
    asked = await desk.ask()
    await desk.claimed(asked.id)

    desk.clock.forward(LEASE - MOMENT)
    assert await due(desk) == []
    desk.clock.forward(MOMENT)
    assert await due(desk) == [asked.id]


async def test_a_look_comes_no_later_than_the_end(desk: Desk) -> None:
    asked = await desk.ask(Act.RESTART)
    assert asked.expires_at is not None
    held = await desk.claimed(asked.id)
    async with desk.db.write() as tx:
        await job.release(tx, held, available_at=NOON + DAY)

    assert (await desk.row(asked.id)).due_at == asked.expires_at
    assert not asked.is_expired(asked.expires_at - MOMENT)
    assert asked.is_expired(asked.expires_at)


async def test_when_the_bells_are_gone_what_waits_for_a_run_is_due_at_once(desk: Desk) -> None:
    asked = await desk.ask()
    await desk.ask(Act.REFRESH)
    for _ in range(5):
        desk.clock.now = (await desk.row(asked.id)).due_at
        await due(desk)

    async with desk.db.write() as tx:
        assert await job.ring_all_again(tx, desk.clock.now) >= 1
    assert asked.id in await due(desk)


async def test_a_device_that_can_be_reached_again_is_woken_at_once(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    assert await desk.claim(held.id) is None

    async with desk.db.write() as tx:
        ringing = await job.make_available(tx, desk.device_id, desk.clock.now)
    assert [one.id for one in ringing] == [held.id]
    await desk.claimed(held.id)


@pytest.mark.parametrize(("count", "seconds"), [(0, 3), (1, 6), (4, 48), (5, 60), (9, 60), (100_000, 60)])
def test_ring_pauses_grow_and_then_are_steady(count: int, seconds: int) -> None:
    assert job.ring_pause(count) == timedelta(seconds=seconds)


@pytest.mark.parametrize(("count", "minutes"), [(0, 1), (1, 5), (2, 15), (3, 60), (4, 60), (100_000, 60)])
def test_wake_pauses_grow_and_then_are_steady(count: int, minutes: int) -> None:
    assert job.wake_pause(count) == timedelta(minutes=minutes)


# The device


async def test_a_plan_is_sealed_for_its_job_alone(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    assert await desk.plan(held)

    seen = await desk.see(held.id)
    assert seen == replace(job.after_plan(held, "ref"), plan=seen.plan, available_at=NOON + timedelta(minutes=1))
    assert seen.plan is not None
    assert b"a plan" not in seen.plan
    assert seen.open_plan(desk.keys).value == b"a plan"
    with pytest.raises(SealBroken):
        replace(seen, id=new_id(NOON)).open_plan(desk.keys)


async def test_a_device_that_says_not_now_is_woken_after_growing_pauses(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask(Act.WIPE)).id)
    await desk.plan(held)
    pauses = []
    for _ in range(4):
        assert await desk.deliver(await desk.see(held.id))
        assert await desk.put_off(await desk.see(held.id))
        pauses.append(((await desk.see(held.id)).available_at - desk.clock.now) // timedelta(minutes=1))

    assert pauses == [5, 15, 60, 60]
    assert (await desk.see(held.id)).state is JobState.WAITING
    assert [line[2:5] for line in (await desk.timeline(held.id))[2:4]] == [
        ("delivered", "device", None),
        ("waiting", "device", "not_now"),
    ]


async def test_not_now_before_the_hand_over_is_a_pause_and_no_move(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)

    assert await desk.put_off(await desk.see(held.id))

    assert len(await desk.timeline(held.id)) == 2
    assert (await desk.see(held.id)).wakes == 2


async def test_an_order_that_was_never_answered_is_offered_again_and_the_timeline_says_so_a_few_times(
    desk: Desk,
) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    for _ in range(OFFERS_TOLD + 5):
        assert await desk.deliver(await desk.see(held.id))

    seen = await desk.see(held.id)
    assert (seen.state, seen.offers) == (JobState.DELIVERED, OFFERS_TOLD + 5)
    lines = await desk.timeline(held.id)
    assert [line[0] for line in lines] == list(range(1, len(lines) + 1))
    assert sum(line[2] == "delivered" for line in lines) == OFFERS_TOLD
    assert sum(line[4] == "offered_again" for line in lines) == OFFERS_TOLD - 1


async def test_what_was_cancelled_is_not_handed_over(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    waiting = await desk.see(held.id)
    await desk.settle(waiting, Outcome(JobState.CANCELLED, Reason.BY_PERSON))

    assert not await desk.deliver(waiting)
    assert not await desk.put_off(waiting)
    assert (await desk.see(held.id)).state is JobState.CANCELLED


async def test_a_cancel_and_a_hand_over_at_once_have_one_winner(desk: Desk) -> None:
    for _ in range(5):
        held = await desk.claimed((await desk.ask()).id)
        await desk.plan(held)
        waiting = await desk.see(held.id)
        cancelled = Outcome(JobState.CANCELLED, Reason.BY_PERSON)

        won = await asyncio.gather(desk.settle(waiting, cancelled), desk.deliver(waiting))

        assert sorted(won) == [False, True]
        seen = await desk.see(held.id)
        assert seen.state is (JobState.CANCELLED if won[0] else JobState.DELIVERED)
        if seen.is_open:
            await desk.settle(seen)


# Endings


async def test_an_ending_comes_with_everything_that_belongs_to_it(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    await desk.deliver(await desk.see(held.id))

    assert await desk.settle(await desk.see(held.id))

    seen = await desk.see(held.id)
    assert (seen.state, seen.ended_at, seen.detail) == (JobState.SUCCEEDED, NOON, {"Status": "Acknowledged"})
    assert [line[2] for line in await desk.timeline(held.id)] == ["queued", "waiting", "delivered", "succeeded"]
    [told] = await desk.rows(notification.notification)
    assert (told.subject_id, told.key, told.severity) == (held.id, WORDS.success_key, "success")
    assert told.params == {"device": WORDS.device_name, "reason": None}
    [recorded] = await desk.rows(event)
    assert (recorded.action, recorded.outcome, recorded.subject_id) == (
        "device:reset_passcode:succeeded",
        "success",
        held.id,
    )
    [sealed] = await desk.rows(passcode.passcode)
    assert (sealed.job_id, sealed.readable_until) == (held.id, NOON + DAY)
    assert passcode.Passcode.of(sealed).open(desk.keys).value == b"1234"
    assert b"1234" not in repr((seen, told, recorded)).encode() + sealed.sealed


async def test_the_second_of_two_answers_changes_nothing(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    waiting = await desk.see(held.id)

    settled = await asyncio.gather(*(desk.settle(waiting) for _ in range(5)))

    assert sorted(settled) == [False] * 4 + [True]
    for table in (notification.notification, event, passcode.passcode):
        assert len(await desk.rows(table)) == 1


async def test_a_settling_that_breaks_off_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await desk.ask()

    async def break_off(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(job.event, "record", break_off)  # the last thing that settling does
    with pytest.raises(ZeroDivisionError):
        await desk.settle(asked)

    assert (await desk.see(asked.id)).state is JobState.QUEUED
    assert len(await desk.timeline(asked.id)) == 1
    for table in (notification.notification, event, passcode.passcode):
        assert await desk.rows(table) == []


@pytest.mark.parametrize("ending", sorted(ENDINGS))
async def test_every_ending_is_told_in_words_of_its_own(desk: Desk, ending: JobState) -> None:
    held = await desk.asked_in(JobState.WAITING)
    assert await desk.settle(held, Outcome(ending, "a_reason"))

    [told] = await desk.rows(notification.notification)
    succeeded = ending is JobState.SUCCEEDED
    assert told.key == (WORDS.success_key if succeeded else f"job.reset_passcode.{ending}")
    assert told.params["reason"] == "a_reason"
    [recorded] = await desk.rows(event)
    assert (recorded.outcome, recorded.reason) == ("success" if succeeded else "failure", "a_reason")


async def test_what_is_not_final_settles_nothing(desk: Desk) -> None:
    asked = await desk.ask()

    with pytest.raises(ValueError, match="not final"):
        await desk.settle(asked, Outcome(None))


async def test_a_late_answer_is_kept_beside_the_ending_once(desk: Desk) -> None:
    asked = await desk.ask()
    await desk.settle(asked, Outcome(JobState.EXPIRED))
    ended = await desk.see(asked.id)

    await desk.late(ended, Outcome(JobState.EXPIRED))
    assert (await desk.see(asked.id)).late_result is None
    await desk.late(ended, SUCCESS)
    await desk.late(ended, Outcome(JobState.FAILED, "later"))

    seen = await desk.see(asked.id)
    assert seen.state is JobState.EXPIRED
    assert (seen.late_result["state"], seen.late_result["reason"]) == ("succeeded", None)
    assert "1234" not in repr(seen.late_result)
    assert [row.action for row in await desk.rows(event)].count("device:reset_passcode:late_result") == 1
    assert len(await desk.rows(notification.notification)) == 1


async def test_a_device_that_leaves_ends_what_was_asked_of_it(desk: Desk) -> None:
    queued = await desk.ask()
    delivered = await desk.asked_in(JobState.DELIVERED, act=Act.REMOTE_LOCK)
    async with desk.db.write() as tx:
        open_jobs = await job.open_of_device(tx, desk.device_id, hold=True)
        assert [one.id for one in open_jobs] == [delivered.id, queued.id]
        told = await job.end_for_device(
            tx, open_jobs, actor=device_actor(desk.device_id), words=WORDS, keys=desk.keys, now=NOON
        )

    assert told == [desk.person.id] * 2
    for asked, ending in ((queued, JobState.CANCELLED), (delivered, JobState.FAILED)):
        seen = await desk.see(asked.id)
        assert (seen.state, seen.reason) == (ending, "device_left")


# Looking


async def test_a_job_is_found_by_what_the_device_calls_it(desk: Desk) -> None:
    held = await desk.claimed((await desk.ask()).id)
    await desk.plan(held)
    async with desk.db.read() as tx:
        seen = await job.by_ref(tx, held.organization_id, desk.device_id, "ref")
        assert seen is not None
        assert seen.id == held.id
        assert await job.by_ref(tx, held.organization_id, new_id(NOON), "ref") is None
        assert await job.by_ref(tx, new_id(NOON), desk.device_id, "ref") is None


async def test_the_list_comes_in_pages_newest_first(desk: Desk) -> None:
    asked = []
    for act in (Act.RESTART, Act.REFRESH, Act.WIPE):
        desk.clock.forward(1)
        asked.append((await desk.ask(act)).id)

    async def page(**more: Any) -> list[UUID]:
        options: dict[str, Any] = {
            "organization_id": desk.person.organization_id,
            "account_id": desk.person.id,
            "device_id": None,
            "state": None,
            "before": None,
            "limit": 2,
        }
        async with desk.db.read() as tx:
            return [one.id for one in await job.page(tx, **(options | more))]

    assert await page() == [asked[2], asked[1]]
    assert await page(before=asked[1]) == [asked[0]]
    assert await page(organization_id=None, account_id=None, limit=10) == asked[::-1]
    assert await page(state=JobState.WAITING) == []
    assert await page(account_id=new_id(NOON)) == []
    assert await page(device_id=new_id(NOON)) == []


# Any order of anything


class OneJob(RuleBasedStateMachine):
    """Runs, a device, a person and a clock do what they like with one job, each with what it saw last or long ago."""

    database_settings: DatabaseSettings

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        clock = Clock()
        database = Database(self.database_settings, clock)
        self.runner.run(database.open())
        self.desk = self.runner.run(furnish(database, clock, Keyring.from_settings("test:" + "A" * 43 + "=")))
        self.job = self.runner.run(self.desk.ask(Act.WIPE))
        self.seen = [self.job]
        self.ending: JobState | None = None
        self.moved = 1

    def look(self) -> Job:
        now = self.runner.run(self.desk.see(self.job.id))
        self.seen.append(now)
        return now

    views = st.integers(min_value=0)

    @rule()
    def claim(self) -> None:
        before = self.look()
        held = self.runner.run(self.desk.claim(self.job.id))
        now = self.desk.clock.now
        free = before.lease_until is None or before.lease_until <= now
        assert (held is not None) is (before.is_open and before.available_at <= now and free)
        if held is not None:
            assert held.attempt == before.attempt + 1
            assert held.crashes == before.crashes + (before.lease_until is not None)
            self.seen.append(held)

    @rule(view=views)
    def plan(self, view: int) -> None:
        held, before = self.seen[view % len(self.seen)], self.look()
        if JobState.WAITING not in MOVES[held.state]:
            return
        done = self.runner.run(self.desk.plan(held))
        assert done is (held.moves == before.moves and held.attempt == before.attempt)
        self.moved += done

    @rule(view=views)
    def deliver(self, view: int) -> None:
        held, before = self.seen[view % len(self.seen)], self.look()
        if held.state not in {JobState.WAITING, JobState.DELIVERED}:
            return
        done = self.runner.run(self.desk.deliver(held))
        assert done is (held.state is before.state)
        if done:
            self.moved += 1 if held.state is JobState.WAITING else 0 if held.offers >= OFFERS_TOLD else 2

    @rule(view=views)
    def put_off(self, view: int) -> None:
        held, before = self.seen[view % len(self.seen)], self.look()
        if held.state not in {JobState.WAITING, JobState.DELIVERED}:
            return
        done = self.runner.run(self.desk.put_off(held))
        assert done is (held.state is before.state)
        self.moved += done and held.state is JobState.DELIVERED

    @rule(view=views, ending=st.sampled_from(sorted(ENDINGS)), fence=st.booleans(), secret=st.booleans())
    def settle(self, view: int, ending: JobState, fence: bool, secret: bool) -> None:
        held, before = self.seen[view % len(self.seen)], self.look()
        if ending not in MOVES[held.state]:
            return
        outcome = replace(SUCCESS, state=ending) if secret else Outcome(ending, "a_reason")
        done = self.runner.run(self.desk.settle(held, outcome, fence=fence))
        assert done is (held.state is before.state and (not fence or held.attempt == before.attempt))
        if done:
            assert self.ending is None
            self.ending = ending
            self.moved += 1

    @rule(view=views, state=st.sampled_from(JobState))
    def break_the_rules(self, view: int, state: JobState) -> None:
        held = self.seen[view % len(self.seen)]
        if state in MOVES[held.state]:
            return
        with pytest.raises(IllegalMove):
            self.runner.run(self.move(held, state))

    async def move(self, held: Job, state: JobState) -> None:
        async with self.desk.db.write() as tx:
            await job.move(tx, held, state, by="worker", why=None, now=self.desk.clock.now)

    @precondition(lambda self: self.ending is not None)
    @rule(state=st.sampled_from(sorted(ENDINGS)))
    def answer_late(self, state: JobState) -> None:
        self.runner.run(self.desk.late(self.look(), Outcome(state, "late")))

    @rule()
    def sweep(self) -> None:
        now = self.desk.clock.now
        row = self.runner.run(self.desk.row(self.job.id))
        assert self.runner.run(due(self.desk)) == ([self.job.id] if row.due_at and row.due_at <= now else [])

    @rule(by=st.sampled_from([MOMENT, timedelta(seconds=3), LEASE, timedelta(minutes=5), timedelta(hours=2)]))
    def wait(self, by: timedelta) -> None:
        self.desk.clock.forward(by)

    @invariant()
    def holds(self) -> None:
        self.runner.run(self.check())

    async def check(self) -> None:
        row = await self.desk.row(self.job.id)
        lines = await self.desk.timeline(self.job.id)
        assert [line[0] for line in lines] == list(range(1, row.moves + 1))
        assert row.moves == self.moved
        assert lines[0][1] is None
        for one, following in itertools.pairwise(lines):
            assert following[1] == one[2]
            assert JobState(following[2]) in MOVES[JobState(one[2])]
        assert lines[-1][2] == row.state
        told = await self.desk.rows(notification.notification)
        recorded = [one for one in await self.desk.rows(event) if not one.action.endswith("late_result")]
        assert len(told) == len(recorded) == (self.ending is not None)
        assert len(await self.desk.rows(passcode.passcode)) <= (self.ending is not None)
        if self.ending is None:
            assert JobState(row.state) in OPEN
            assert row.due_at is not None
            assert row.ended_at is None
        else:
            assert JobState(row.state) is self.ending
            assert (row.due_at, row.plan, row.lease_until) == (None, None, None)
            assert row.ended_at is not None

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.runner.run(self.desk.db.close())
            self.runner.close()


def test_whatever_happens_to_a_job_it_ends_once(sqlite_template: Path, tmp_path: Path) -> None:
    class OnAFile(OneJob):
        @property
        def database_settings(self) -> DatabaseSettings:  # type: ignore[override] # a fresh file for each run
            path = tmp_path / "job.db"
            for old in tmp_path.glob("job.db*"):
                old.unlink()
            shutil.copy(sqlite_template, path)
            return DatabaseSettings(f"sqlite:///{path}")

    run_state_machine_as_test(
        OnAFile,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
