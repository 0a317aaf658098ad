"""The sweep: what it rings, ends, lapses, seals and erases, each on its exact moment; and what it leaves alone."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import delivery, event, heartbeat, job, notification, passcode, re_sign_in, recovery
from models.database import Database, DatabaseDown
from models.device import DeviceState, device
from models.enrollment import UNFINISHED, enrollment, invite, open_link
from models.event import LONGEST_TRANSACTION, Actor, event_seal
from models.job import LEASE, ring_pause
from models.notification import Severity
from models.re_sign_in import ReSignInState
from models.recovery_policy import Decoy, Purpose
from models.sealed import Keyring
from models.settings import (
    CONFIRMATION,
    ENROLLMENT_LINK,
    NOTIFICATION_KEPT,
    RE_SIGN_IN_WINDOW,
    RECOVERY_KEPT,
    RECOVERY_WINDOW,
)
from models.vocabulary import Act, JobState, PasscodeKind, Queue, Reason, Secret, new_id
from tests import runs
from tests.clock import NOON, Clock
from tests.people import give_device
from tests.workers.shop import AUDIT_KEY, Shop, furnish
from workers import sweep
from workers.queue import QueueDoor, QueueSettings

MOMENT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(hours=24)


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    return await furnish(database, clock, keys)


# Ringing


async def test_a_job_nobody_heard_of_is_rung_from_its_exact_moment_on(shop: Shop) -> None:
    job_id = await shop.ask()

    shop.clock.forward(ring_pause(0) - MOMENT)
    await shop.sweep.jobs()
    early = shop.bell.heard()
    shop.clock.forward(MOMENT)
    await shop.sweep.jobs()

    assert early == []
    assert shop.bell.rung == [(job_id, Queue.INTERACTIVE)]
    assert (await shop.see(job_id)).state is JobState.QUEUED


async def test_rings_that_go_unheard_come_at_growing_pauses(shop: Shop) -> None:
    job_id = await shop.ask()
    pauses = []
    for _ in range(8):
        due_at = await shop.due_at(job_id)
        assert due_at is not None
        shop.clock.now = due_at
        await shop.sweep.jobs()
        assert shop.bell.heard() == [job_id]
        await shop.sweep.jobs()
        assert shop.bell.heard() == []
        again = await shop.due_at(job_id)
        assert again is not None
        pauses.append((again - due_at) // SECOND)

    assert pauses == [3, 6, 12, 24, 48, 60, 60, 60]


async def test_a_ring_that_is_heard_is_forgotten(shop: Shop) -> None:
    job_id = await shop.ask()
    for _ in range(3):
        shop.clock.forward(MINUTE)
        await shop.sweep.jobs()

    held = await shop.claim(job_id)

    assert held.rings == 0


async def test_a_job_under_a_living_lease_is_not_rung(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.claim(job_id)

    shop.clock.forward(LEASE - MOMENT)
    await shop.sweep.jobs()
    early = shop.bell.heard()
    shop.clock.forward(MOMENT)
    await shop.sweep.jobs()

    assert (early, shop.bell.heard()) == ([], [job_id])


async def test_waiting_and_delivered_jobs_are_rung_when_their_device_is_to_be_woken_again(shop: Shop) -> None:
    waiting = await shop.ask()
    await shop.run(waiting)
    delivered = await shop.ask(Act.REMOTE_LOCK)
    await shop.run(delivered)
    await shop.deliver(delivered)

    shop.clock.forward(MINUTE - MOMENT)
    await shop.sweep.jobs()
    early = shop.bell.heard()
    shop.clock.forward(MOMENT)
    await shop.sweep.jobs()
    for job_id in (waiting, delivered):
        await shop.run(job_id)

    assert early == []
    assert set(shop.bell.heard()) == {waiting, delivered}
    assert [command.ref for command, _ in shop.channel.woken] == ["ref-1", "ref-2"] * 2


async def test_a_round_rings_so_many_at_most_the_longest_due_first(shop: Shop) -> None:
    asked = []
    for act in (Act.RESET_PASSCODE, Act.REMOTE_LOCK, Act.RESTART):
        asked.append(await shop.ask(act))
        shop.clock.forward(SECOND)
    shop.sweep = shop.new_sweep(at_once=2)
    shop.clock.forward(ring_pause(0))

    await shop.sweep.jobs()
    first = shop.bell.heard()
    await shop.sweep.jobs()

    assert first == asked[:2]
    assert shop.bell.heard() == asked[2:]


async def test_two_sweeps_at_once_ring_a_job_once(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.clock.forward(ring_pause(0))

    await asyncio.gather(shop.sweep.jobs(), shop.new_sweep().jobs())

    assert shop.bell.heard() == [job_id]


async def test_without_redis_what_is_due_is_rung_later(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.clock.forward(ring_pause(0))
    shop.bell.down = True
    await shop.sweep.round()
    shop.bell.down = False
    shop.clock.forward(ring_pause(0))

    await shop.sweep.jobs()

    assert shop.bell.heard() == [job_id]


# Redis emptied


async def test_a_new_life_of_redis_makes_queued_jobs_due_at_once(shop: Shop) -> None:
    await shop.sweep.round()
    job_id = await shop.ask()
    waiting = await shop.ask(Act.REMOTE_LOCK)
    await shop.run(waiting)

    await shop.sweep.round()
    same_life = shop.bell.heard()
    shop.bell.life = "second"
    await shop.sweep.round()

    assert same_life == []
    assert shop.bell.heard() == [job_id]


async def test_a_life_of_redis_is_noticed_once_and_only_by_one_that_answers(shop: Shop) -> None:
    await shop.sweep.notice_lost_bells()
    shop.bell.life, shop.bell.down = "second", True
    await shop.sweep.notice_lost_bells()
    unheard = shop.sweep.epoch
    shop.bell.down = False

    job_id = await shop.ask()
    await shop.sweep.round()
    first = shop.bell.heard()
    await shop.sweep.round()

    assert unheard == "first"
    assert (first, shop.bell.heard()) == ([job_id], [])


async def test_an_emptied_redis_is_a_new_life_and_a_living_one_is_not(
    shop: Shop, redis_url: str, one_redis: Any
) -> None:
    async with QueueDoor(QueueSettings(redis_url)) as door:
        first = await door.epoch()
        again = await door.epoch()
        one_redis.client.flushall()
        after = await door.epoch()

    assert first == again != after


# Expiry


@pytest.mark.parametrize(
    ("act", "life"), [(Act.RESET_PASSCODE, DAY), (Act.REMOTE_LOCK, DAY), (Act.RESTART, timedelta(hours=1))]
)
async def test_a_job_expires_on_its_exact_moment_with_one_line_for_its_person(
    shop: Shop, act: Act, life: timedelta
) -> None:
    job_id = await shop.ask(act)

    shop.clock.now = NOON + life - MOMENT
    await shop.sweep.jobs()
    still = await shop.see(job_id)
    shop.clock.now = NOON + life
    await shop.sweep.jobs()
    await shop.sweep.jobs()

    assert still.state is JobState.QUEUED
    await shop.ended(job_id, JobState.EXPIRED, Reason.UNREACHABLE, f"job.{act}.expired")
    assert await shop.timeline(job_id) == [("queued", "person", None), ("expired", "sweep", Reason.UNREACHABLE)]


async def test_a_device_that_has_the_order_and_says_nothing_gave_no_answer(shop: Shop) -> None:
    job_id = await shop.ask()
    await shop.run(job_id)
    await shop.deliver(job_id)
    shop.clock.now = NOON + DAY

    await shop.sweep.jobs()

    await shop.ended(job_id, JobState.EXPIRED, Reason.NO_ANSWER, "job.reset_passcode.expired")


@pytest.mark.parametrize("act", [Act.WIPE, Act.REMOVE])
async def test_wipe_and_removal_never_expire(shop: Shop, act: Act) -> None:
    job_id = await shop.ask(act)
    shop.clock.forward(timedelta(days=3650))

    await shop.sweep.jobs()

    assert (await shop.see(job_id)).state is JobState.QUEUED
    assert shop.bell.heard() == [job_id]


@pytest.mark.parametrize("act", [Act.WIPE, Act.REMOVE])
async def test_what_was_handed_over_and_never_answered_is_given_up_at_its_exact_moment(shop: Shop, act: Act) -> None:
    job_id = await shop.ask(act)
    await shop.run(job_id)
    await shop.deliver(job_id)
    shop.clock.forward(timedelta(hours=5))
    await shop.deliver(job_id)  # offered again: the time begins anew
    shop.clock.forward(CONFIRMATION - MOMENT)
    await shop.sweep.jobs()
    still = await shop.see(job_id)
    shop.clock.forward(MOMENT)
    shop.bell.nudged.clear()

    await shop.sweep.jobs()
    await shop.sweep.jobs()

    assert (still.state, still.expires_at) == (JobState.DELIVERED, shop.clock.now)
    held = await shop.see(job_id)
    assert (held.state, held.reason, held.plan) == (JobState.UNCONFIRMED, Reason.NO_ANSWER, None)
    assert await shop.told() == [(f"job.{act}.unconfirmed", Reason.NO_ANSWER)]
    assert shop.bell.nudged == [shop.person.id]
    (gone,) = await shop.rows(sa.select(device))
    (bond,) = await shop.rows(sa.select(enrollment))
    assert (gone.state, bond.state, bond.left_at) == ("left", "left", shop.clock.now)
    assert set(await shop.actions()) == {f"device:{act}:unconfirmed", "device:enrollment:left"}


async def test_a_device_that_said_not_now_does_not_have_the_order_and_is_waited_for(shop: Shop) -> None:
    job_id = await shop.ask(Act.REMOVE)
    await shop.run(job_id)
    held = await shop.deliver(job_id)
    async with shop.db.write() as tx:
        assert await job.put_off(tx, held, by="device", why=Reason.NOT_NOW, now=shop.clock.now)
    shop.clock.forward(timedelta(days=400))

    await shop.sweep.jobs()

    held = await shop.see(job_id)
    assert (held.state, held.expires_at) == (JobState.WAITING, None)


async def test_two_sweeps_at_once_give_a_job_up_once(shop: Shop) -> None:
    job_id = await shop.ask(Act.WIPE)
    await shop.run(job_id)
    await shop.deliver(job_id)
    shop.clock.forward(CONFIRMATION)

    await asyncio.gather(shop.sweep.jobs(), shop.new_sweep().jobs())

    assert (await shop.see(job_id)).state is JobState.UNCONFIRMED
    assert sorted(await shop.actions()) == ["device:enrollment:left", "device:wipe:unconfirmed"]


async def test_what_expires_is_not_rung(shop: Shop) -> None:
    await shop.ask()
    shop.clock.forward(DAY)

    await shop.sweep.jobs()

    assert shop.bell.heard() == []


async def test_two_sweeps_at_once_expire_a_job_once(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.clock.forward(DAY)

    await asyncio.gather(shop.sweep.jobs(), shop.new_sweep().jobs())

    await shop.ended(job_id, JobState.EXPIRED, Reason.UNREACHABLE, "job.reset_passcode.expired")


async def test_a_lease_over_the_end_is_waited_for_and_what_it_stores_still_ends(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.clock.now = NOON + DAY - SECOND
    held = await shop.claim(job_id)
    shop.clock.now = NOON + DAY
    await shop.sweep.jobs()
    async with shop.db.write() as tx:
        assert await runs.store_plan(tx, held, ref="late", sealed=b"late", now=shop.clock.now)

    await shop.sweep.jobs()

    await shop.ended(job_id, JobState.EXPIRED, Reason.UNREACHABLE, "job.reset_passcode.expired")


async def test_a_run_that_died_over_the_end_ends_with_its_lease(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.clock.now = NOON + DAY - SECOND
    held = await shop.claim(job_id)
    shop.clock.forward(LEASE)

    await shop.sweep.jobs()
    async with shop.db.write() as tx:
        stored = await runs.store_plan(tx, held, ref="late", sealed=b"late", now=shop.clock.now)

    assert stored is False
    await shop.ended(job_id, JobState.EXPIRED, Reason.UNREACHABLE, "job.reset_passcode.expired")


# Re-sign-in windows


async def _window(shop: Shop, **more: Any) -> UUID:
    async with shop.db.write() as tx:
        window = await re_sign_in.open_window(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            device_id=shop.device_id,
            act=Act.RESET_PASSCODE,
            token_hash=new_id(shop.clock.now).bytes,
            now=shop.clock.now,
        )
        if more.get("proven"):
            assert await re_sign_in.prove(tx, window, new_id(shop.clock.now), shop.clock.now)
    return window.id


async def _window_state(shop: Shop, window_id: UUID) -> ReSignInState:
    async with shop.db.read() as tx:
        window = await re_sign_in.by_id(tx, window_id)
    assert window is not None
    return window.state


@pytest.mark.parametrize("proven", [False, True])
async def test_a_window_lapses_after_its_last_moment_and_says_that_nothing_was_reset(shop: Shop, proven: bool) -> None:
    window_id = await _window(shop, proven=proven)

    shop.clock.now = NOON + RE_SIGN_IN_WINDOW
    await shop.sweep.windows()
    still = await _window_state(shop, window_id)
    shop.clock.forward(MOMENT)
    await shop.sweep.windows()
    await shop.sweep.windows()

    assert still is (ReSignInState.PROVEN if proven else ReSignInState.OPEN)
    assert await _window_state(shop, window_id) is ReSignInState.LAPSED
    assert [key for key, _ in await shop.told()] == ["re_sign_in.lapsed"]
    assert await shop.actions() == ["account:re_sign_in:lapse"]
    assert shop.bell.nudged == [shop.person.id]


async def test_a_window_proven_late_has_its_own_five_minutes(shop: Shop) -> None:
    window_id = await _window(shop)
    shop.clock.now = NOON + RE_SIGN_IN_WINDOW
    async with shop.db.write() as tx:
        window = await re_sign_in.by_id(tx, window_id)
        assert window is not None
        assert await re_sign_in.prove(tx, window, new_id(NOON), shop.clock.now)
    shop.clock.forward(RE_SIGN_IN_WINDOW)

    await shop.sweep.windows()

    assert await _window_state(shop, window_id) is ReSignInState.PROVEN


async def test_two_sweeps_at_once_tell_of_a_window_once(shop: Shop) -> None:
    await _window(shop)
    shop.clock.forward(RE_SIGN_IN_WINDOW + MOMENT)

    await asyncio.gather(shop.sweep.windows(), shop.new_sweep().windows())

    assert len(await shop.told()) == 1
    assert len(await shop.actions()) == 1


# Sealing


async def _happen(shop: Shop, ago: timedelta = timedelta(0)) -> None:
    async with shop.db.write() as tx:
        await event.record(
            tx,
            organization_id=shop.person.organization_id,
            action="account:test:happen",
            actor=Actor("person"),
            now=shop.clock.now - ago,
        )


async def _sealed(shop: Shop) -> int:
    return len(await shop.rows(sa.select(event_seal)))


async def _whole(shop: Shop) -> bool:
    async with shop.db.read() as tx:
        verdict = await event.verify(tx, AUDIT_KEY, shop.person.organization_id, shop.clock.now)
    return verdict.whole and verdict.unsealed == 0


async def test_every_event_is_sealed_in_as_many_turns_as_it_takes(shop: Shop) -> None:
    for _ in range(7):
        await _happen(shop)
    shop.sweep = shop.new_sweep(at_once=3)

    await shop.sweep.seal()

    assert await _sealed(shop) == 7
    assert await _whole(shop)
    assert shop.sweep.sealed_since == NOON - LONGEST_TRANSACTION


async def test_what_commits_late_is_found_as_far_back_as_a_transaction_may_live(shop: Shop) -> None:
    await shop.sweep.seal()
    await _happen(shop, ago=LONGEST_TRANSACTION)

    await shop.sweep.seal()

    assert await _sealed(shop) == 1


async def test_after_a_start_all_events_are_looked_at_and_later_only_what_can_be_new(shop: Shop) -> None:
    await shop.sweep.seal()
    await _happen(shop, ago=LONGEST_TRANSACTION + MOMENT)

    await shop.sweep.seal()
    later = await _sealed(shop)
    await shop.new_sweep().seal()

    assert later == 0
    assert await _sealed(shop) == 1
    assert await _whole(shop)


# Erasing


async def _invite(shop: Shop, *, opened: bool = False) -> UUID:
    """A device that was invited and is not here yet."""
    device_id = await give_device(shop.db, shop.person, shop.clock.now, state=DeviceState.PENDING)
    enrollment_id = new_id(shop.clock.now)
    async with shop.db.write() as tx:
        await tx.execute(sa.delete(enrollment).where(enrollment.c.device_id == device_id))
        await invite(
            tx,
            enrollment_id=enrollment_id,
            organization_id=shop.person.organization_id,
            device_id=device_id,
            platform="pocket",
            link_hash=enrollment_id.bytes,
            link_expires_at=shop.clock.now + ENROLLMENT_LINK,
            now=shop.clock.now,
        )
        if opened:
            row = (await tx.execute(sa.select(enrollment).where(enrollment.c.id == enrollment_id))).one()
            await open_link(tx, row, certificate_hash=enrollment_id.bytes, memory=None)
    return device_id


async def _devices(shop: Shop) -> set[UUID]:
    return {row.id for row in await shop.rows(sa.select(device))}


@pytest.mark.parametrize(("opened", "life"), [(False, ENROLLMENT_LINK), (True, UNFINISHED)])
async def test_an_invitation_nobody_followed_up_goes_with_the_device_it_was_for(
    shop: Shop, opened: bool, life: timedelta
) -> None:
    invited = await _invite(shop, opened=opened)

    shop.clock.now = NOON + life
    await shop.sweep.erase()
    still = await _devices(shop)
    shop.clock.forward(MOMENT)
    await shop.sweep.erase()

    assert still == {shop.device_id, invited}
    assert await _devices(shop) == {shop.device_id}
    assert [row.device_id for row in await shop.rows(sa.select(enrollment))] == [shop.device_id]


async def test_a_device_that_came_back_in_time_stays(shop: Shop) -> None:
    invited = await _invite(shop, opened=True)
    await shop.change(sa.update(enrollment).where(enrollment.c.device_id == invited).values(state="enrolled"))
    shop.clock.forward(timedelta(days=365))

    await shop.sweep.erase()

    assert await _devices(shop) == {shop.device_id, invited}


async def test_a_passcode_nobody_read_in_time_is_destroyed(shop: Shop) -> None:
    job_id = await shop.ask()
    until = NOON + DAY
    async with shop.db.write() as tx:
        await passcode.keep(
            tx,
            organization_id=shop.person.organization_id,
            device_id=shop.device_id,
            account_id=shop.person.id,
            job_id=job_id,
            kind=PasscodeKind.TEMPORARY_NUMERIC,
            secret=Secret(b"493817"),
            keys=shop.keys,
            readable_until=until,
            now=NOON,
        )

    shop.clock.now = until
    await shop.sweep.erase()
    (still,) = await shop.rows(sa.select(passcode.passcode))
    shop.clock.forward(MOMENT)
    await shop.sweep.erase()
    (gone,) = await shop.rows(sa.select(passcode.passcode))

    assert still.sealed is not None
    assert (gone.sealed, gone.destroyed_at) == (None, shop.clock.now)


async def test_old_lines_old_counts_and_silent_processes_are_forgotten(shop: Shop) -> None:
    async with shop.db.write() as tx:
        await notification.tell(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            subject_id=new_id(NOON),
            key="session.signed_out_everywhere",
            params={},
            severity=Severity.INFO,
            now=NOON,
        )
        await heartbeat.beat(tx, process_id="one", kind="worker", now=NOON)
    shop.clock.now = NOON + timedelta(hours=1)
    await shop.sweep.erase()
    kept = len(await shop.rows(sa.select(heartbeat.heartbeat))), len(await shop.told())
    shop.clock.now = NOON + NOTIFICATION_KEPT

    await shop.sweep.erase()

    assert kept == (1, 1)
    assert await shop.rows(sa.select(heartbeat.heartbeat)) == []
    assert await shop.told() == []


async def test_a_round_does_all_that_must_be_quick(shop: Shop) -> None:
    job_id = await shop.ask()
    await _window(shop)
    await _happen(shop)
    shop.clock.forward(RE_SIGN_IN_WINDOW + MOMENT)

    await shop.sweep.round()
    await shop.sweep.round()  # seals come first in a round: what this one recorded is sealed in the next

    assert shop.bell.heard() == [job_id]
    assert [key for key, _ in await shop.told()] == ["re_sign_in.lapsed"]
    assert await _whole(shop)


async def test_a_row_that_cannot_be_understood_is_put_aside_and_holds_up_nothing_else(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """Written by a newer version, say. The operator is told each hour, in the log and in the record."""
    other = await give_device(shop.db, shop.person, shop.clock.now)
    broken, sound = await shop.ask(), await shop.ask(device_id=other)
    strange = sa.update(job.job).where(job.job.c.id == broken)
    await shop.change(strange.values(kind="of tomorrow"))
    await _window(shop)
    await _happen(shop)
    shop.clock.forward(RE_SIGN_IN_WINDOW + MOMENT)

    for _ in range(2):
        await shop.sweep.round()

    assert shop.bell.heard() == [sound]
    assert [key for key, _ in await shop.told()] == ["re_sign_in.lapsed"]
    assert await _whole(shop)
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [(record.table, record.row) for record in said] == [("job", str(broken))]
    assert await _put_aside(shop) == [broken]

    shop.clock.forward(sweep.PUT_ASIDE)
    await shop.change(strange.values(kind="refresh"))
    await shop.sweep.jobs()
    assert broken in shop.bell.heard(), "whoever understands it goes on with it"


async def test_a_delivery_that_cannot_be_understood_is_put_aside(shop: Shop) -> None:
    ids = []
    for _ in range(2):
        async with shop.db.write() as tx:
            sent = await delivery.send(
                tx,
                keys=shop.keys,
                organization_id=shop.person.organization_id,
                account_id=shop.person.id,
                channel=delivery.Channel.MAIL,
                to="anna@example.org",
                key="a.notice",
                params={},
                language="en",
                now=shop.clock.now,
            )
            ids.append(sent)
    broken, sound = ids
    table = delivery.delivery
    await shop.change(sa.update(table).where(table.c.id == broken).values(channel="of tomorrow"))
    shop.clock.forward(60)

    await shop.sweep.deliveries()

    assert shop.bell.heard() == [sound]
    assert await _put_aside(shop) == [broken]


async def _put_aside(shop: Shop) -> list[UUID]:
    """As the record has it."""
    async with shop.db.read() as tx:
        statement = sa.select(event.event.c.subject_id).where(event.event.c.reason == "unreadable")
        return list((await tx.execute(statement)).scalars())


async def test_what_cannot_be_erased_holds_up_nothing_else(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(_: object, __: object, ___: int) -> int:
        raise LookupError

    erased = [refused, *sweep._ERASED]
    monkeypatch.setattr(sweep, "_ERASED", erased)
    invited = await _invite(shop)
    shop.clock.forward(timedelta(days=365))

    with pytest.raises(LookupError):
        await shop.sweep.erase()

    assert invited not in await _devices(shop)


async def test_without_a_database_no_step_is_tried_after_the_first() -> None:
    done = []

    async def down() -> None:
        done.append("down")
        raise DatabaseDown("away")

    async def never() -> None:
        done.append("never")

    with pytest.raises(DatabaseDown):
        await sweep.each(down, never)

    assert done == ["down"]


# The way back in


async def test_a_way_back_in_expires_after_its_last_inclusive_moment(shop: Shop) -> None:
    async with shop.db.write() as tx:
        flow = await recovery.start(
            tx,
            held=None,
            who="nobody",
            purpose=Purpose.RESET,
            decoy=Decoy.UNKNOWN,
            token_hash=b"t",
            actor=Actor("anonymous"),
            now=shop.clock.now,
        )

    async def state() -> str:
        async with shop.db.read() as tx:
            return str((await tx.execute(sa.select(recovery.recovery.c.state))).scalar_one())

    shop.clock.forward(RECOVERY_WINDOW)
    await shop.sweep.recoveries()
    assert await state() == "started"
    shop.clock.forward(MOMENT)
    await shop.sweep.recoveries()
    assert await state() == "expired"
    shop.clock.now = flow.closes_at + RECOVERY_KEPT + SECOND
    await shop.sweep.erase()
    async with shop.db.read() as tx:
        assert (await tx.execute(sa.select(recovery.recovery))).one_or_none() is None
