"""How somebody stands to terms of use: month arithmetic, expiry, what voids what; each on its exact bound (A8)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.standing import NOTICE, Answer, Expiry, Schedule, Standing, Status, Version, choose, months_later, standing

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
NEVER = Expiry()


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def version(number: int, effective_at: datetime = NOON, *, major: bool = True) -> Version:
    return Version(UUID(int=number), UUID(int=99), number, major, effective_at, effective_at)


def answer(number: int, at: datetime = NOON, *, accepted: bool = True) -> Answer:
    return Answer(UUID(int=1000), UUID(int=number), number, accepted, at)


# A8 T: month arithmetic


@pytest.mark.rule("A8.1")
@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-01-31", 2, "2026-03-31"),
        ("2026-12-31", 2, "2027-02-28"),
        ("2026-10-31", 1, "2026-11-30"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2026-01-15", 0, "2026-01-15"),
        ("2026-12-01", 1, "2027-01-01"),
    ],
)
def test_a_month_later_is_the_same_day_or_that_months_last(start: str, months: int, end: str) -> None:
    assert months_later(day(start), months) == day(end)


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2190, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of naive ones
EVERY = st.sampled_from([1, 3, 6, 12])


@pytest.mark.rule("A8.1")
@given(MOMENTS, st.integers(0, 100))
def test_a_month_later_is_never_in_another_month_and_keeps_the_hour(start: datetime, months: int) -> None:
    later = months_later(start, months)

    assert (later.year * 12 + later.month) - (start.year * 12 + start.month) == months
    assert later.timetz() == start.timetz()
    assert later.day <= start.day
    assert later.day == start.day or (later + timedelta(days=1)).month != later.month


@given(MOMENTS, EVERY, MOMENTS)
def test_the_next_point_of_a_schedule_is_the_first_after_a_moment(
    start: datetime, every: int, moment: datetime
) -> None:
    point = Schedule(start, every).first_after(moment)

    assert point > moment
    apart = (point.year - start.year) * 12 + point.month - start.month
    assert apart >= 0
    assert apart % every == 0
    assert point == months_later(start, apart)
    assert apart == 0 or months_later(start, apart - every) <= moment


# When an acceptance ends


def test_after_thirty_days_it_is_asked_again_and_again() -> None:
    thirty = Expiry(days=30)

    ends = [day("2026-01-01")]
    for _ in range(3):
        ends.append(thirty.end_of(ends[-1]) or NOON)

    assert ends[1:] == [day("2026-01-31"), day("2026-03-02"), day("2026-04-01")]


@pytest.mark.parametrize(
    ("accepted", "end"),
    [
        ("2025-11-11", "2026-01-01"),
        ("2026-01-01", "2026-02-01"),
        ("2026-01-15", "2026-02-01"),
        ("2026-02-01", "2026-03-01"),
    ],
)
def test_by_a_schedule_all_end_together(accepted: str, end: str) -> None:
    monthly = Expiry(Schedule(day("2026-01-01"), 1))

    assert monthly.end_of(day(accepted)) == day(end)


def test_of_both_the_first_counts() -> None:
    both = Expiry(Schedule(day("2026-01-01"), 1), days=10)

    assert both.end_of(day("2026-01-15")) == day("2026-01-25")
    assert both.end_of(day("2026-01-28")) == day("2026-02-01")
    assert NEVER.end_of(NOON) is None


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (NOON, Status.CURRENT),
        (NOON + timedelta(days=60) - MOMENT, Status.CURRENT),
        (NOON + timedelta(days=60), Status.DUE),
        (NOON + timedelta(days=90) - MOMENT, Status.DUE),
        (NOON + timedelta(days=90), Status.OVERDUE),
    ],
)
def test_it_ends_at_its_last_moment_and_is_told_as_near_thirty_days_before(now: datetime, status: Status) -> None:
    end = NOON + timedelta(days=90)

    stands = standing([version(1)], Expiry(days=90), answer(1), now)

    assert stands == Standing(status, version(1), end)


# Versions


def test_without_a_version_there_is_nothing() -> None:
    assert standing([], NEVER, None, NOON) == Standing(Status.NONE, None)


@pytest.mark.parametrize(
    ("before", "status"),
    [(NOTICE + MOMENT, Status.NONE), (NOTICE, Status.DUE), (MOMENT, Status.DUE), (timedelta(0), Status.OVERDUE)],
)
def test_a_first_version_is_announced_and_then_asked(before: timedelta, status: Status) -> None:
    first = version(1, NOON + before)

    stands = standing([first], NEVER, None, NOON)

    assert stands.status is status
    assert stands.version == (None if status is Status.NONE else first)
    assert stands.is_asked is (status is Status.OVERDUE)


def test_a_minor_version_voids_nothing_and_a_major_one_all_before_it() -> None:
    first, minor, major = version(1), version(2, major=False), version(3)

    assert standing([first, minor], NEVER, answer(1), NOON) == Standing(Status.CURRENT, minor)
    assert standing([first, minor, major], NEVER, answer(1), NOON) == Standing(Status.OVERDUE, major, NOON)
    assert standing([first, minor, major], NEVER, answer(2), NOON) == Standing(Status.OVERDUE, major, NOON)
    assert standing([first, minor, major], NEVER, answer(3), NOON) == Standing(Status.CURRENT, major)


def test_a_major_version_voids_from_its_first_moment_also_behind_a_minor_one() -> None:
    at = NOON + timedelta(days=1)
    published = [version(1), version(2, at), version(3, at, major=False)]

    assert standing(published, NEVER, answer(1), at - MOMENT) == Standing(Status.DUE, published[0], at)
    assert standing(published, NEVER, answer(1), at) == Standing(Status.OVERDUE, published[2], at)


def test_a_no_is_said_of_one_version() -> None:
    refused = answer(1, accepted=False)

    assert standing([version(1)], NEVER, refused, NOON).status is Status.DECLINED
    assert standing([version(1), version(2, major=False)], NEVER, refused, NOON).status is Status.OVERDUE
    assert standing([version(1)], NEVER, refused, NOON).is_asked


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-90, 90)), max_size=5),
    st.one_of(st.none(), st.tuples(st.integers(1, 5), st.integers(0, 90), st.booleans())),
    st.one_of(st.none(), st.integers(1, 120)),
)
def test_whoever_accepted_the_version_in_force_lately_is_let_in_and_nobody_else(
    published: list[tuple[bool, int]], given_: tuple[int, int, bool] | None, days: int | None
) -> None:
    moments = sorted(day for _, day in published)
    versions = [
        version(number + 1, NOON + timedelta(days=moment), major=published[number][0])
        for number, moment in enumerate(moments)
    ]
    said = None
    if given_ is not None and given_[0] <= len(versions):
        said = answer(given_[0], NOON - timedelta(days=given_[1]), accepted=given_[2])

    stands = standing(versions, Expiry(days=days), said, NOON)

    in_force = [one for one in versions if one.effective_at <= NOON]
    fine = (
        said is not None
        and said.accepted
        and (days is None or said.at + timedelta(days=days) > NOON)
        and not any(one.major and one.number > said.version_number for one in in_force)
    )
    assert stands.is_asked is (bool(in_force) and not fine)
    if in_force:
        assert stands.version == in_force[-1]


# Languages


@pytest.mark.rule("A8.3")
@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("nl-BE", "nl-BE"),
        ("NL-be", "nl-BE"),
        ("nl-NL", "nl"),
        ("nl", "nl"),
        ("fr", "en"),
        ("fr-CA", "en"),
        (None, "en"),
        ("", "en"),
    ],
)
def test_the_exact_tag_is_taken_then_its_base_then_the_default(wanted: str | None, chosen: str) -> None:
    assert choose(["en", "nl", "nl-BE"], wanted, "en") == chosen
