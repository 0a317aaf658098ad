"""What has outlived its time goes, on its exact moment, so much at a time; the record stays whole."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import browser, event, job, notification, passcode, re_sign_in, seen_message, session, sign_in
from models import enrollment as enrollments
from models.database import Database
from models.device import DeviceState, device
from models.enrollment import enrollment
from models.event import Actor
from models.job import Words
from models.re_sign_in import ReSignInState
from models.sealed import Keyring
from models.session import SessionState, hash_token
from models.settings import (
    BROWSER_KEPT,
    ENROLLMENT_PENDING,
    JOB_KEPT,
    NOTIFICATION_KEPT,
    RE_SIGN_IN_KEPT,
    SESSION_ABSOLUTE,
    SESSION_KEPT,
    SIGN_IN_KEPT,
)
from models.vocabulary import Act, JobState, Outcome, PasscodeKind, Secret, id_after, new_id
from tests.clock import NOON, Clock
from tests.people import give_device
from tests.workers.shop import AUDIT_KEY, Shop, furnish

MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    return await furnish(database, clock, keys)


async def _sign_in(shop: Shop, token: str, **more: Any) -> UUID:
    async with shop.db.write() as tx:
        opened = await session.open_session(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            token_hash=hash_token(token),
            generation=0,
            state=more.get("state", SessionState.SIGNED_IN),
            strength=1,
            methods=("password",),
            lifetime=more.get("lifetime", SESSION_ABSOLUTE),
            now=shop.clock.now,
            re_sign_in_id=None,
            address=None,
            client=None,
        )
    return opened.id


async def _window(shop: Shop) -> re_sign_in.ReSignIn:
    async with shop.db.write() as tx:
        return await re_sign_in.open_window(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            device_id=shop.device_id,
            act=Act.RESET_PASSCODE,
            token_hash=new_id(shop.clock.now).bytes,
            now=shop.clock.now,
        )


async def _settle(shop: Shop, job_id: UUID, state: JobState = JobState.FAILED, code: bytes | None = None) -> None:
    """`code`: with a passcode, as a device may report it."""
    async with shop.db.write() as tx:
        held = await job.by_id(tx, job_id, hold=True)
        assert held is not None
        kind = None if code is None else PasscodeKind.TEMPORARY_NUMERIC
        assert await job.settle(
            tx,
            held,
            Outcome(state, passcode=None if code is None else Secret(code), passcode_kind=kind),
            actor=Actor("device"),
            words=Words("pocket.done", "phone"),
            keys=shop.keys,
            unread_passcode=DAY,
            now=shop.clock.now,
        )


async def _count(shop: Shop, table: sa.Table) -> int:
    return len(await shop.rows(sa.select(*table.primary_key.columns)))


def test_no_id_up_to_a_moment_sorts_behind_it_and_the_next_ones_do() -> None:
    for _ in range(100):
        assert new_id(NOON) < id_after(NOON)
        assert new_id(NOON + timedelta(milliseconds=1)) >= id_after(NOON)


@pytest.mark.parametrize("how", ["expired", "ended", "half"])
async def test_a_session_goes_thirty_days_after_the_latest_moment_it_could_have_lived_to(shop: Shop, how: str) -> None:
    life = timedelta(minutes=5) if how == "half" else SESSION_ABSOLUTE
    state = SessionState.SECOND_FACTOR if how == "half" else SessionState.SIGNED_IN
    session_id = await _sign_in(shop, "token", lifetime=life, state=state)
    if how == "ended":
        async with shop.db.write() as tx:
            await session.end(tx, session_id, NOON)
    shop.clock.now = NOON + life + SESSION_KEPT - MOMENT
    await shop.sweep.erase()
    still = await _count(shop, session.session)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert (still, await _count(shop, session.session)) == (1, 0)


async def test_a_session_that_lives_stays_however_many_old_ones_go(shop: Shop) -> None:
    for n in range(3):
        await _sign_in(shop, f"old {n}")
    shop.clock.forward(SESSION_KEPT + SESSION_ABSOLUTE)
    living = await _sign_in(shop, "living")

    await shop.sweep.erase()

    assert [row.id for row in await shop.rows(sa.select(session.session.c.id))] == [living]


@pytest.mark.parametrize("after", [timedelta(0), timedelta(seconds=300)])
async def test_a_window_goes_thirty_days_after_its_end(shop: Shop, after: timedelta) -> None:
    window = await _window(shop)
    ended_at = shop.clock.forward(after)
    async with shop.db.write() as tx:
        assert await re_sign_in.end_window(tx, window, ReSignInState.CANCELLED, "test", ended_at)
    shop.clock.now = ended_at + RE_SIGN_IN_KEPT - MOMENT
    await shop.sweep.erase()
    still = await _count(shop, re_sign_in.re_sign_in)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert (still, await _count(shop, re_sign_in.re_sign_in)) == (1, 0)


async def test_a_window_that_nobody_closed_stays(shop: Shop) -> None:
    await _window(shop)
    shop.clock.forward(timedelta(days=365))

    await shop.sweep.erase()

    assert await _count(shop, re_sign_in.re_sign_in) == 1, "the sweep lapses it first, and so tells the person"


async def test_what_a_person_sees_of_a_sign_in_goes_after_thirty_days(shop: Shop) -> None:
    async with shop.db.write() as tx:
        await sign_in.note(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            outcome=sign_in.Outcome.SUCCEEDED,
            actor=Actor("account"),
            now=shop.clock.now,
        )
    shop.clock.forward(SIGN_IN_KEPT - MOMENT)
    await shop.sweep.erase()
    still = await _count(shop, sign_in.sign_in)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert (still, await _count(shop, sign_in.sign_in)) == (1, 0)


async def test_a_browser_goes_after_half_a_year_without_a_sign_in(shop: Shop) -> None:
    async with shop.db.write() as tx:
        await browser.meet(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            token_hash=hash_token("token"),
            address=None,
            client=None,
            now=shop.clock.now,
        )
    shop.clock.forward(BROWSER_KEPT - MOMENT)
    await shop.sweep.erase()
    still = await _count(shop, browser.browser)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert (still, await _count(shop, browser.browser)) == (1, 0)


async def test_a_job_goes_ninety_days_after_its_end_with_all_that_hangs_on_it(shop: Shop) -> None:
    job_id = await shop.ask()
    shop.clock.forward(DAY / 2)
    await shop.run(job_id)
    await shop.deliver(job_id)
    await _settle(shop, job_id, JobState.SUCCEEDED, b"493817")
    ended_at = shop.clock.now
    tables = (job.job, job.job_move, passcode.passcode)
    # As if the person had been told of it again lately: without its job the line would lead nowhere.
    lines = notification.notification
    await shop.change(sa.update(lines).values(expires_at=ended_at + timedelta(days=365)))
    shop.clock.now = ended_at + JOB_KEPT - MOMENT
    await shop.sweep.erase()
    still = [await _count(shop, table) for table in (*tables, lines)]
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert still == [1, 4, 1, 1]
    assert [await _count(shop, table) for table in (*tables, lines)] == [0, 0, 0, 0]


async def test_an_open_job_stays_whatever_its_age_and_one_that_ended_late_is_kept_from_then_on(shop: Shop) -> None:
    open_id, late_id = await shop.ask(Act.WIPE), await shop.ask(Act.REMOVE)
    shop.clock.forward(timedelta(days=365))
    await _settle(shop, late_id, JobState.FAILED)
    shop.clock.forward(JOB_KEPT - MOMENT)

    await shop.sweep.erase()
    assert {row.id for row in await shop.rows(sa.select(job.job.c.id))} == {open_id, late_id}
    shop.clock.forward(MOMENT)
    await shop.sweep.erase()

    assert {row.id for row in await shop.rows(sa.select(job.job.c.id))} == {open_id}


async def test_lines_go_thirty_days_after_they_were_told(shop: Shop) -> None:
    await _settle(shop, await shop.ask())
    shop.clock.forward(NOTIFICATION_KEPT - MOMENT)
    await shop.sweep.erase()
    still = await _count(shop, notification.notification)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert (still, await _count(shop, notification.notification), await _count(shop, job.job)) == (1, 0, 1)


async def test_what_others_sent_is_remembered_as_long_as_they_may_send_it_again(shop: Shop) -> None:
    async with shop.db.write() as tx:
        assert await seen_message.first_time(tx, "pocket", "m1", NOON)
    shop.clock.now = NOON + seen_message.KEEP - MOMENT
    await shop.sweep.erase()
    still = await _count(shop, seen_message.seen_message)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert (still, await _count(shop, seen_message.seen_message)) == (1, 0)


async def test_so_much_at_a_time_and_it_says_that_there_is_more(shop: Shop) -> None:
    for n in range(5):
        await _sign_in(shop, f"token {n}")
        await _settle(shop, await shop.ask())
    shop.clock.forward(timedelta(days=365))
    sweep = shop.new_sweep(at_once=2)

    said, left = [], []
    for _ in range(4):
        said.append(await sweep.erase())
        left.append((await _count(shop, session.session), await _count(shop, job.job)))

    assert left == [(3, 3), (1, 1), (0, 0), (0, 0)]
    assert said == [True, True, False, False]


async def test_the_record_stays_whole_and_of_full_length(shop: Shop) -> None:
    for _ in range(3):
        await _settle(shop, await shop.ask())
    await shop.sweep.seal()
    events, seals = await _count(shop, event.event), await _count(shop, event.event_seal)
    shop.clock.forward(timedelta(days=3650))

    await shop.sweep.erase()
    await shop.sweep.seal()

    assert await _count(shop, job.job) == 0
    async with shop.db.read() as tx:
        verdict = await event.verify(tx, AUDIT_KEY, shop.person.organization_id, shop.clock.now)
    assert verdict.whole
    assert (await _count(shop, event.event), verdict.sealed) == (events, seals)


# Devices that began to enrol and never finished


async def _begin(shop: Shop, seen_at: datetime | None) -> UUID:
    device_id = await give_device(shop.db, shop.person, NOON, state=DeviceState.PENDING)
    await shop.change(sa.update(enrollment).where(enrollment.c.device_id == device_id).values(state="pending"))
    await shop.change(sa.update(device).where(device.c.id == device_id).values(last_seen_at=seen_at))
    return device_id


@pytest.mark.parametrize("seen", [None, timedelta(0), timedelta(hours=5)])
async def test_a_device_that_never_finished_enrolling_goes_after_a_week_of_silence(
    shop: Shop, seen: timedelta | None
) -> None:
    begun = await _begin(shop, None if seen is None else NOON + seen)
    shop.clock.now = NOON + (seen or timedelta(0)) + ENROLLMENT_PENDING - MOMENT
    await shop.sweep.erase()
    still = await _count(shop, device)
    shop.clock.forward(MOMENT)

    await shop.sweep.erase()

    assert still == 2
    assert [row.id for row in await shop.rows(sa.select(device.c.id))] == [shop.device_id]
    assert [row.device_id for row in await shop.rows(sa.select(enrollment))] == [shop.device_id]
    (told,) = await shop.rows(sa.select(event.event).where(event.event.c.action == "device:enrollment:give_up"))
    assert (told.account_id, told.subject_id, told.actor_kind) == (shop.person.id, begun, "sweep")


async def test_a_known_device_that_began_anew_and_fell_silent_has_left(shop: Shop) -> None:
    """It has a past: its row stays for the record, what would open it goes."""
    begun = await _begin(shop, NOON)
    await _settle(shop, await shop.ask(device_id=begun))
    await shop.change(sa.update(enrollment).where(enrollment.c.device_id == begun).values(memory=b"sealed"))
    shop.clock.forward(ENROLLMENT_PENDING)

    await shop.sweep.erase()

    (row,) = await shop.rows(sa.select(device).where(device.c.id == begun))
    (bond,) = await shop.rows(sa.select(enrollment).where(enrollment.c.device_id == begun))
    assert row.state == DeviceState.LEFT
    assert (bond.state, bond.memory, bond.left_at) == ("left", None, shop.clock.now)


async def test_a_device_of_long_standing_that_enrols_anew_right_now_is_left_alone(shop: Shop) -> None:
    shop.clock.forward(timedelta(days=365))
    begun = await _begin(shop, shop.clock.now)

    await shop.sweep.erase()

    assert {row.id for row in await shop.rows(sa.select(device.c.id))} == {shop.device_id, begun}
    async with shop.db.read() as tx:
        assert await enrollments.given_up(tx, shop.clock.now, 10) == []
