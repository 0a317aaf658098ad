"""The tick: one of many holds the duty, and no bad round ends all sweeping."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from models import duty
from models.database import Database, DatabaseDown
from models.fault import Fault
from models.sealed import Keyring
from tests.clock import NOON, Clock
from tests.workers.shop import AUDIT_KEY, Shop, furnish
from workers import tick
from workers.sweep import Sweep

PATIENCE = 20


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    return await furnish(database, clock, keys)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds follow each other at once; a lease is worth eight of them, and every tenth erases."""
    monkeypatch.setattr(tick, "EVERY", timedelta(milliseconds=1))
    monkeypatch.setattr(tick, "LEASE", timedelta(milliseconds=8))
    monkeypatch.setattr(tick, "ERASE_EVERY", timedelta(milliseconds=10))


class Counted(Sweep):
    """The real sweep, whose rounds can be waited for and troubled."""

    def __init__(self, shop: Shop) -> None:
        super().__init__(shop.db, shop.keys, AUDIT_KEY, shop.bell, Fault())  # type: ignore[arg-type] # a bell alone
        self.rounds = self.erased = 0
        self.troubles: list[Exception] = []
        self.progress = asyncio.Condition()

    async def round(self) -> None:
        self.rounds += 1
        if self.troubles:
            raise self.troubles.pop()
        await super().round()
        async with self.progress:
            self.progress.notify_all()

    async def erase(self) -> bool:
        more = await super().erase()
        self.erased += 1
        return more

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.progress:
            await self.progress.wait_for(true)

    async def make(self, rounds: int) -> None:
        """So many more."""
        wanted = self.rounds + rounds
        await self.until(lambda: self.rounds >= wanted)


@asynccontextmanager
async def ticking(shop: Shop, sweep: Sweep, holder: str, *, dies: bool = False) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    running = asyncio.create_task(tick.tick(shop.db, sweep, holder, stop))
    try:
        yield stop
    finally:
        if dies:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        else:
            stop.set()
            await asyncio.wait_for(running, PATIENCE)


async def _is_held(shop: Shop) -> bool:
    async with shop.db.read() as tx:
        return await duty.is_held(tx, duty.SWEEP, shop.clock.now)


async def test_the_tick_sweeps_in_its_rounds_and_erases_in_the_first_and_then_seldom(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Counted(shop)
    job_id = await shop.ask()
    shop.clock.forward(3)

    async with ticking(shop, sweep, "one"):
        await sweep.until(lambda: sweep.erased >= 2)
    heard = shop.bell.heard()
    monkeypatch.setattr(tick, "ERASE_EVERY", timedelta(hours=1))
    later = Counted(shop)
    async with ticking(shop, later, "two"):
        await later.until(lambda: later.rounds >= 20)

    assert heard == [job_id]
    assert later.erased == 1


async def test_of_two_ticks_one_has_the_duty_and_the_other_takes_over_after_its_orderly_stop(shop: Shop) -> None:
    first, second = Counted(shop), Counted(shop)

    async with ticking(shop, second, "two") as stop_second:
        await second.make(1)
        async with ticking(shop, first, "one"):
            await second.make(30)
            waited = first.rounds
            stop_second.set()
            await first.make(1)

    assert waited == 0
    assert not await _is_held(shop)


async def test_the_duty_of_a_tick_that_died_passes_on_when_its_lease_is_over(shop: Shop) -> None:
    dead, heir = Counted(shop), Counted(shop)
    async with ticking(shop, dead, "one", dies=True):
        await dead.make(1)
    assert await _is_held(shop)
    asked = asyncio.Event()
    now = shop.clock

    def looked() -> object:
        asked.set()
        return NOON

    async with ticking(shop, heir, "two"):
        shop.db._clock = looked
        await asyncio.wait_for(asked.wait(), PATIENCE)
        early = heir.rounds
        shop.db._clock = now
        now.forward(tick.LEASE)
        await heir.make(1)

    assert early == 0


async def test_a_tick_without_the_duty_forgets_how_far_was_sealed(shop: Shop) -> None:
    sweep = Counted(shop)
    sweep.sealed_since = NOON
    async with shop.db.write() as tx:
        await duty.take(tx, duty.SWEEP, "other", timedelta(hours=1), NOON)

    held = await tick._hold(shop.db, sweep, "one")

    assert not held
    assert sweep.sealed_since is None


async def test_a_round_that_fails_is_told_and_the_next_one_comes(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    sweep = Counted(shop)
    sweep.troubles = [RuntimeError("a bug"), RuntimeError("another")]

    async with ticking(shop, sweep, "one"):
        await sweep.make(3)

    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "a round of the sweep failed"
    ] * 2
    assert sweep.epoch == "first"


async def test_while_the_database_is_away_the_sweep_waits_and_asks_for_its_duty_anew(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = Counted(shop)
    sweep.troubles = [DatabaseDown()]

    async with ticking(shop, sweep, "one"):
        await sweep.make(2)

    assert "the database is away; the sweep waits" in caplog.messages
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


async def test_a_tick_that_is_told_to_stop_gives_the_duty_back(shop: Shop) -> None:
    sweep = Counted(shop)
    async with ticking(shop, sweep, "one"):
        await sweep.make(1)
        assert await _is_held(shop)

    assert not await _is_held(shop)


@pytest.mark.parametrize("missing", ["AUDIT_KEY", "SEAL_KEYS", "DATABASE_URL", "REDIS_URL"])
def test_a_tick_that_lacks_a_setting_says_which_before_it_waits_for_anything(
    missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tick, "configure", lambda level, mode: None)  # the test's own logging stays
    environ = {
        "MODE": "embedded",
        "AUDIT_KEY": "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=",
        "SEAL_KEYS": "test:" + "A" * 43 + "=",
        "DATABASE_URL": "sqlite:////nowhere/latchkey.db",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    del environ[missing]

    code = tick.main(environ)

    assert code == tick.MISCONFIGURED
    assert missing in capsys.readouterr().err
