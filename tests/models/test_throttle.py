"""Counting before verifying: budgets in a period, doors that stay shut longer each time."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from models import throttle
from models.account import fold
from models.database import Database
from models.errors import FOR_EVER
from models.throttle import PASSWORD, SECOND_FACTOR, Budget, Lockout

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
THREE: tuple[Budget, ...] = (Budget("three", 3, timedelta(minutes=5)),)
SHORT = Lockout("short", free=2, first=timedelta(seconds=60), longest=timedelta(minutes=5), most=6)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (9, 0), (10, 60), (11, 120), (12, 240), (15, 1920), (16, 3600), (17, 3600), (99, 3600)],
)
def test_the_pause_doubles_from_the_tenth_failure_up_to_an_hour(failures: int, seconds: int) -> None:
    assert PASSWORD.pause(failures) == timedelta(seconds=seconds)


@pytest.mark.parametrize("failures", [100, 101, 1000])
def test_after_a_hundred_failures_in_a_row_the_password_is_shut_until_it_is_cleared(failures: int) -> None:
    assert PASSWORD.pause(failures) == FOR_EVER


def test_the_second_factor_has_the_budgets_of_the_sheet() -> None:
    assert [(budget.limit, budget.period) for budget in SECOND_FACTOR] == [
        (5, timedelta(minutes=5)),
        (20, timedelta(hours=1)),
        (50, timedelta(days=1)),
    ]


def test_a_typed_name_is_not_kept_and_each_key_counts_apart() -> None:
    key = throttle.key_of_name("anna@example.org", b"k" * 32)

    assert "anna" not in key
    assert key == throttle.key_of_name("anna@example.org", b"k" * 32)
    assert key != throttle.key_of_name("anna@example.org", b"l" * 32)
    assert fold(" ANNA@example.org ") == "anna@example.org", "one person's spellings are one counter"


async def take(db: Database, now: datetime, budgets: tuple[Budget, ...] = THREE, who: str = "me") -> timedelta | None:
    async with db.write() as tx:
        return await throttle.take(tx, budgets, who, now)


async def count(db: Database, now: datetime, who: str = "me") -> timedelta | None:
    async with db.write() as tx:
        return await throttle.count_failure_first(tx, SHORT, who, now)


async def test_a_budget_is_full_after_its_last_one_and_opens_when_its_period_is_over(db: Database) -> None:
    assert [await take(db, NOON + timedelta(seconds=n)) for n in range(3)] == [None, None, None]

    assert await take(db, NOON + timedelta(seconds=60)) == timedelta(minutes=4)
    assert await take(db, NOON + timedelta(minutes=5, microseconds=-1)) == timedelta(microseconds=1)
    assert await take(db, NOON + timedelta(minutes=5)) is None


async def test_what_is_refused_is_not_counted(db: Database) -> None:
    for _ in range(3):
        await take(db, NOON)
    for _ in range(10):
        assert await take(db, NOON) is not None

    later = NOON + timedelta(minutes=5)
    assert [await take(db, later) for _ in range(4)] == [None, None, None, timedelta(minutes=5)]


async def test_the_longest_wait_of_several_budgets_is_told_and_none_of_them_is_taken(db: Database) -> None:
    two = (Budget("few", 2, timedelta(minutes=1)), Budget("many", 3, timedelta(hours=1)))
    await take(db, NOON, two)
    await take(db, NOON, two)
    assert await take(db, NOON, two) == timedelta(minutes=1)

    minute = NOON + timedelta(minutes=1)
    assert await take(db, minute, two) is None, "the longer one still has room: the refusal took nothing"
    assert await take(db, minute, two) == timedelta(minutes=59)


async def test_a_success_gives_back_what_it_took_and_never_more(db: Database) -> None:
    async with db.write() as tx:
        await throttle.give_back(tx, THREE, "me")
    await take(db, NOON)
    async with db.write() as tx:
        await throttle.give_back(tx, THREE, "me")
        await throttle.give_back(tx, THREE, "me")

    assert [await take(db, NOON) for _ in range(4)] == [None, None, None, timedelta(minutes=5)]


async def test_one_persons_budget_is_not_anothers(db: Database) -> None:
    for _ in range(4):
        await take(db, NOON)

    assert await take(db, NOON, who="you") is None


async def test_a_clock_that_was_put_back_begins_a_new_period_instead_of_a_longer_one(db: Database) -> None:
    for _ in range(3):
        await take(db, NOON)

    assert await take(db, NOON - timedelta(hours=1)) is None


async def test_the_door_is_shut_longer_after_each_further_failure(db: Database) -> None:
    now = NOON
    pauses = []
    for _ in range(5):
        assert await count(db, now) is None
        async with db.read() as tx:
            shut = await throttle.shut_for(tx, SHORT, "me", now)
        pauses.append(None if shut is None else int(shut.total_seconds()))
        now += shut or timedelta(0)

    assert pauses == [None, 60, 120, 240, 300]


async def test_a_try_at_a_shut_door_is_not_counted_so_that_a_stranger_cannot_keep_it_shut(db: Database) -> None:
    await count(db, NOON)
    await count(db, NOON)

    assert await count(db, NOON + timedelta(seconds=59)) == timedelta(seconds=1)
    for _ in range(20):
        assert await count(db, NOON + timedelta(seconds=1)) == timedelta(seconds=59)
    assert await count(db, NOON + timedelta(seconds=60)) is None


async def test_success_begins_at_nought_again(db: Database) -> None:
    await count(db, NOON)
    await count(db, NOON)
    async with db.write() as tx:
        await throttle.clear(tx, SHORT, "me")

    assert await count(db, NOON) is None
    assert await count(db, NOON) is None
    assert await count(db, NOON) == timedelta(seconds=60)


async def test_at_most_failures_the_door_stays_shut_and_only_clearing_opens_it(db: Database) -> None:
    now = NOON
    for _ in range(6):
        assert await count(db, now) is None
        now += timedelta(minutes=5)

    assert await count(db, now + timedelta(days=400)) is not None
    async with db.write() as tx:
        await throttle.clear(tx, SHORT, "me")
    assert await count(db, now) is None


async def test_of_parallel_tries_no_more_are_let_through_than_there_are(db: Database) -> None:
    answers = await asyncio.gather(*(take(db, NOON) for _ in range(20)))

    assert answers.count(None) == 3


async def test_parallel_guesses_shut_the_door_as_if_they_came_one_by_one(db: Database) -> None:
    answers = await asyncio.gather(*(count(db, NOON) for _ in range(20)))

    assert answers.count(None) == 2


async def test_what_is_old_is_erased_and_a_door_that_is_still_shut_is_not(db: Database) -> None:
    now = NOON
    for _ in range(6):
        await count(db, now, who="shut")
        now += timedelta(minutes=5)
    await take(db, NOON)

    async with db.write() as tx:
        early = await throttle.erase_due(tx, NOON + throttle.KEEP - timedelta(seconds=1), 100)
        later = await throttle.erase_due(tx, NOON + throttle.SHUT_KEPT, 100)

    assert (early, later) == (0, 1)
    assert await count(db, NOON + timedelta(days=366), who="shut") is not None


async def test_a_door_that_is_shut_for_good_is_erased_a_year_after_its_last_try(db: Database) -> None:
    """Whose it is may be erased long before, and the row cannot be found by them."""
    last = NOON + 5 * timedelta(minutes=5)
    for n in range(6):
        assert await count(db, NOON + n * timedelta(minutes=5)) is None
    assert await count(db, last + timedelta(days=300)) is not None, "what is not counted keeps it no longer"

    async with db.write() as tx:
        early = await throttle.erase_due(tx, last + throttle.SHUT_KEPT - timedelta(seconds=1), 100)
        due = await throttle.erase_due(tx, last + throttle.SHUT_KEPT, 100)

    assert (early, due) == (0, 1)


async def test_keeping_a_row_changes_nothing_that_is_decided_by_it(db: Database) -> None:
    await count(db, NOON)
    await count(db, NOON)
    async with db.write() as tx:
        await throttle.keep(tx, SHORT, "me", NOON + timedelta(days=1))
        await throttle.keep(tx, SHORT, "nobody", NOON)

    async with db.read() as tx:
        assert await throttle.shut_for(tx, SHORT, "me", NOON) == timedelta(seconds=60)
        assert await throttle.shut_for(tx, SHORT, "nobody", NOON) is None
