"""The way back for whoever is shut out for good."""

from datetime import timedelta

from launch.unlock import unlock
from models import account, browser, throttle
from models.database import Database
from tests.clock import Clock
from tests.people import found, hire

KEY = b"k" * 32


async def test_a_password_road_shut_for_good_is_open_again(database: Database, clock: Clock) -> None:
    await hire(database, await found(database, clock.now), "anna", clock.now)
    counter = throttle.key_of_name(account.fold("anna"), KEY)
    for _ in range(throttle.PASSWORD.most):
        async with database.write() as tx:
            await throttle.count_failure_first(tx, throttle.PASSWORD, counter, clock.forward(timedelta(hours=2)))
    async with database.write() as tx:
        shut = await throttle.count_failure_first(tx, throttle.PASSWORD, counter, clock.forward(timedelta(days=300)))

    opened = await unlock(database, " Anna ", KEY)

    assert shut is not None
    assert opened
    async with database.write() as tx:
        assert await throttle.count_failure_first(tx, throttle.PASSWORD, counter, clock.now) is None


async def test_it_is_open_in_every_browser_that_is_known(database: Database, clock: Clock) -> None:
    anna = await hire(database, await found(database, clock.now), "anna", clock.now)
    async with database.write() as tx:
        same = {"organization_id": anna.organization_id, "account_id": anna.id}
        await browser.meet(tx, **same, token_hash=b"h", address=None, client=None, now=clock.now)
        (known,) = await browser.of_account(tx, anna.organization_id, anna.id)
        for _ in range(throttle.PASSWORD.free):
            await throttle.count_failure_first(tx, throttle.PASSWORD, known.lane, clock.now)

    await unlock(database, "anna", KEY)

    async with database.write() as tx:
        assert await throttle.shut_for(tx, throttle.PASSWORD, known.lane, clock.now) is None


async def test_a_name_that_nobody_has_is_said_so(database: Database) -> None:
    assert not await unlock(database, "nobody", KEY)
