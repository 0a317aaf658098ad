"""What a worker ends after somebody left an organization, on both databases: all of it, once, wherever a run dies."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import account, departure, job, leaving
from models.database import Database
from models.device import Device, DeviceState, device
from models.enrollment import enrollment
from models.event import Actor, event
from models.fault import Fault
from models.job import CRASHES, LEASE
from models.notification import notification
from models.organization import membership
from models.passcode import keep, passcode
from models.sealed import Keyring
from models.session import SessionState, open_session, session
from models.vocabulary import Act, JobState, Outcome, PasscodeKind, Reason, Secret
from platforms.errors import Refused
from tests.api.house import until_it_waits
from tests.clock import Clock
from tests.people import Person, found, give_device, welcome
from tests.workers.shop import Shop, furnish
from workers.jobs import leave as work
from workers.run_job import run_job

STEPS = ("claimed", "leave.device.before_commit", "leave.cut_off", "leave.before_commit")


class Death(BaseException):
    """As SIGKILL is to this run: nothing of it goes on."""


class Dying(Fault):
    def mark(self, step: str) -> None:
        if step == self.step:
            raise Death


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    """anna is at home elsewhere, and a guest of this shop's Beta with a phone there."""
    shop = await furnish(database, clock, keys)
    beta = await found(shop.db, clock.now, name="Beta")
    await welcome(shop.db, beta, shop.person, clock.now)
    return shop


@pytest.fixture
async def anna(shop: Shop) -> Person:
    """As Beta knows her."""
    (row,) = await shop.rows(sa.select(membership.c.organization_id).where(membership.c.guest))
    return replace(shop.person, organization_id=row.organization_id)


async def leave(shop: Shop, anna: Person) -> UUID:
    async with shop.db.write() as tx:
        held = await account.lock(tx, anna.id)
        made = await leaving.leave(
            tx,
            held,
            anna.organization_id,
            name="Beta",
            by="person",
            keys=shop.keys,
            actor=Actor("account", anna.id),
            now=shop.clock.now,
            notice="organization.left",
            params={},
        )
    return made.id


async def ask(shop: Shop, anna: Person, device_id: UUID, act: Act) -> UUID:
    return await replace(shop, person=anna).ask(act, device_id)


async def states(shop: Shop, *devices: UUID) -> list[str]:
    rows = {row.id: row.state for row in await shop.rows(sa.select(device))}
    return [rows[one] for one in devices]


async def test_devices_there_are_trusted_no_more_and_those_at_home_are(shop: Shop, anna: Person) -> None:
    phone, tablet = [await give_device(shop.db, anna, shop.clock.now) for _ in range(2)]
    begun = await give_device(shop.db, anna, shop.clock.now, state=DeviceState.PENDING)
    asked = await ask(shop, anna, phone, Act.REMOTE_LOCK)

    held = await shop.run(await leave(shop, anna))

    assert held.state is JobState.SUCCEEDED
    assert await states(shop, phone, tablet, begun, shop.device_id) == ["disabled", "disabled", "left", "active"]
    ended = await shop.see(asked)
    assert (ended.state, ended.reason) == (JobState.CANCELLED, "owner_left")
    disabled = await shop.rows(sa.select(event).where(event.c.action == "device:trust:disable"))
    assert {(row.organization_id, row.actor_kind, row.facts["why"]) for row in disabled} == {
        (anna.organization_id, "worker", "owner_left")
    }


async def test_a_passcode_of_a_device_there_is_destroyed(shop: Shop, anna: Person) -> None:
    phone = await give_device(shop.db, anna, shop.clock.now)
    asked = await ask(shop, anna, phone, Act.RESET_PASSCODE)
    async with shop.db.write() as tx:
        await keep(
            tx,
            organization_id=anna.organization_id,
            device_id=phone,
            account_id=anna.id,
            job_id=asked,
            kind=PasscodeKind.TEMPORARY_NUMERIC,
            secret=Secret(b"123456"),
            keys=shop.keys,
            readable_until=shop.clock.now + timedelta(hours=1),
            now=shop.clock.now,
        )

    await shop.run(await leave(shop, anna))

    assert [(row.sealed, row.why) for row in await shop.rows(sa.select(passcode))] == [(None, "owner_left")]


@pytest.mark.parametrize("act", [Act.WIPE, Act.REMOVE])
async def test_a_device_that_is_on_its_way_out_is_heard_until_it_has_obeyed(shop: Shop, anna: Person, act: Act) -> None:
    phone = await give_device(shop.db, anna, shop.clock.now)
    asked = await ask(shop, anna, phone, act)

    held = await shop.run(await leave(shop, anna))

    assert held.state is JobState.SUCCEEDED
    assert await states(shop, phone) == ["active"]
    assert (await shop.run(asked)).state is JobState.WAITING
    await shop.deliver(asked)
    async with shop.db.write() as tx:
        of = Device.of((await tx.execute(sa.select(device).where(device.c.id == phone))).one())
        wiped = await job.by_id(tx, asked, hold=True)
        assert wiped is not None
        await departure.settle(
            tx,
            wiped,
            Outcome(JobState.SUCCEEDED),
            of=of,
            actor=Actor("device"),
            words=job.Words("", of.name),
            keys=shop.keys,
            unread_passcode=timedelta(0),
            now=shop.clock.now,
        )
    assert await states(shop, phone) == ["left"]


async def crash(shop: Shop, job_id: UUID) -> None:
    for _ in range(CRASHES):
        await shop.claim(job_id)
        shop.clock.now += LEASE
    await shop.run(job_id)


async def refuse(shop: Shop, job_id: UUID) -> None:
    shop.channel.answers.append(Refused(Reason.PLATFORM_UNSUPPORTED))
    await shop.run(job_id)


async def be_hidden(shop: Shop, job_id: UUID) -> None:
    """The organization offers it no more: the job ends where it would be planned."""
    shop.platform.offered = {}
    await shop.run(job_id)


@pytest.mark.parametrize("begin", [DeviceState.ACTIVE, DeviceState.PENDING])
@pytest.mark.parametrize("end", [crash, refuse, be_hidden])
async def test_a_device_whose_removal_comes_to_nothing_is_trusted_no_more(
    shop: Shop, anna: Person, end: Callable[[Shop, UUID], Awaitable[None]], begin: DeviceState
) -> None:
    phone = await give_device(shop.db, anna, shop.clock.now)
    asked = await ask(shop, anna, phone, Act.REMOVE)
    await shop.run(await leave(shop, anna))
    assert await states(shop, phone) == ["active"]
    await shop.change(sa.update(device).where(device.c.id == phone).values(state=begin.value))
    locked = await ask(shop, anna, phone, Act.REMOTE_LOCK)

    await end(shop, asked)

    assert not (await shop.see(asked)).is_open
    assert await states(shop, phone) == ["disabled" if begin is DeviceState.ACTIVE else "left"]
    assert (await shop.see(locked)).state is JobState.CANCELLED


async def test_whoever_stays_keeps_a_device_whose_removal_came_to_nothing(shop: Shop, anna: Person) -> None:
    phone = await give_device(shop.db, anna, shop.clock.now)

    await refuse(shop, await ask(shop, anna, phone, Act.REMOVE))

    assert await states(shop, phone) == ["active"]


async def test_it_is_told_once_at_home(shop: Shop, anna: Person) -> None:
    await give_device(shop.db, anna, shop.clock.now)
    job_id = await leave(shop, anna)

    await shop.run(job_id)
    await shop.run(job_id)

    (line,) = await shop.rows(
        sa.select(notification).where(notification.c.organization_id == shop.person.organization_id)
    )
    assert (line.key, line.job_id, line.params) == ("organization.left", job_id, {"organization": "Beta"})
    assert await shop.timeline(job_id) == [
        ("queued", "person", None),
        ("waiting", "worker", None),
        ("succeeded", "worker", None),
    ]


async def inspect(shop: Shop, anna: Person, job_id: UUID, devices: list[UUID]) -> None:
    """Nobody is half gone."""
    assert (await shop.see(job_id)).state is JobState.SUCCEEDED
    assert await states(shop, *devices) == ["disabled"] * len(devices)
    disabled = await shop.rows(sa.select(event).where(event.c.action == "device:trust:disable"))
    assert sorted(row.subject_id for row in disabled) == sorted(devices)
    lines = await shop.rows(sa.select(notification.c.key).where(notification.c.job_id == job_id))
    assert [line.key for line in lines] == ["organization.left"]
    assert await shop.rows(sa.select(session.c.id).where(session.c.ended_at.is_(None))) == []
    bonds = await shop.rows(sa.select(enrollment.c.state).where(enrollment.c.device_id.in_(devices)))
    assert [bond.state for bond in bonds] == ["enrolled"] * len(devices)


async def sign_in(shop: Shop, anna: Person) -> None:
    async with shop.db.write() as tx:
        await open_session(
            tx,
            organization_id=anna.organization_id,
            account_id=anna.id,
            token_hash=b"there",
            generation=0,
            state=SessionState.SIGNED_IN,
            strength=1,
            methods=("password",),
            lifetime=timedelta(hours=1),
            now=shop.clock.now,
            re_sign_in_id=None,
            address=None,
            client=None,
        )


@pytest.mark.parametrize("step", STEPS)
async def test_wherever_a_run_dies_the_next_one_ends_all_of_it(shop: Shop, anna: Person, step: str) -> None:
    devices = [await give_device(shop.db, anna, shop.clock.now) for _ in range(3)]
    await sign_in(shop, anna)
    job_id = await leave(shop, anna)
    with pytest.raises(Death):
        await run_job(replace(shop.needs, fault=Dying(step)), job_id)
    shop.clock.now += LEASE

    await shop.run(job_id)

    await inspect(shop, anna, job_id, devices)


async def test_a_run_that_lost_its_lease_ends_nothing_more(shop: Shop, anna: Person) -> None:
    await give_device(shop.db, anna, shop.clock.now)
    job_id = await leave(shop, anna)
    with pytest.raises(Death):
        await run_job(replace(shop.needs, fault=Dying("leave.cut_off")), job_id)
    stale = await shop.see(job_id)
    shop.clock.now += LEASE
    assert (await shop.run(job_id)).state is JobState.SUCCEEDED

    await work.run(shop.needs, stale)

    assert len(await shop.timeline(job_id)) == 3


async def test_it_waits_as_long_as_it_takes(shop: Shop, anna: Person) -> None:
    job_id = await leave(shop, anna)
    shop.clock.now += timedelta(days=29)

    await shop.sweep.jobs()

    assert shop.bell.heard() == [job_id]
    assert (await shop.run(job_id)).state is JobState.SUCCEEDED


async def test_one_whose_runs_all_die_is_told_as_failed(shop: Shop, anna: Person) -> None:
    job_id = await leave(shop, anna)
    for _ in range(CRASHES):
        with pytest.raises(Death):
            await run_job(replace(shop.needs, fault=Dying("claimed")), job_id)
        shop.clock.now += LEASE

    held = await shop.run(job_id)

    assert (held.state, held.reason) == (JobState.FAILED, "crashed")
    assert ("job.leave.failed", None) in await shop.told()


async def test_whoever_is_taken_back_meanwhile_keeps_what_is_left(shop: Shop, anna: Person) -> None:
    phone = await give_device(shop.db, anna, shop.clock.now)
    job_id = await leave(shop, anna)
    async with shop.db.write() as tx:
        gone = await leaving.of_job(tx, job_id)
        assert gone is not None
        await leaving.take_back(tx, gone)

    held = await shop.run(job_id)

    assert held.state is JobState.SUCCEEDED
    assert await states(shop, phone) == ["active"]


async def test_whoever_is_taken_back_at_the_same_moment_keeps_their_device(shop: Shop, anna: Person) -> None:
    phone = await give_device(shop.db, anna, shop.clock.now)
    job_id = await leave(shop, anna)
    async with shop.db.write() as tx:
        await account.lock(tx, anna.id)
        gone = await leaving.of_job(tx, job_id)
        assert gone is not None
        run = asyncio.ensure_future(shop.run(job_id))
        await until_it_waits(shop.db, run)
        await leaving.take_back(tx, gone)

    assert (await run).state is JobState.SUCCEEDED
    assert await states(shop, phone) == ["active"]
