"""Android's rules for a lock, each at its exact edge."""

from typing import Any

import pytest

from platforms.android.emulator.constraints import flaw, longest_run, may_be_empty, of_scope
from tests.platforms.android.validator import permits


def policy(quality: str, **more: Any) -> dict[str, Any]:
    return {"passwordQuality": quality, **more}


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("", 0),
        ("a", 1),
        ("abc", 3),
        ("abcd", 4),
        ("aaaa", 4),
        ("aceg", 1),
        ("4444", 4),
        ("1234", 4),
        ("2468", 4),
        ("9630", 4),
        ("1235", 3),
        ("ab1234x", 4),
        ("dcba", 4),
        ("abCD", 2),
        ("XYZ[", 3),
        ("!!!!", 4),
        ('!"#$', 1),
        ("0909", 2),
        ("7410", 3),
    ],
)
def test_a_run_is_counted_as_a_device_does(value: str, length: int) -> None:
    assert longest_run(value) == length


@pytest.mark.parametrize(
    ("value", "entry", "permitted"),
    [
        ("abc", policy("SOMETHING"), False),
        ("abcd", policy("SOMETHING"), True),
        ("abcd", policy("SOMETHING", passwordMinimumLength=9), True),
        ("1111", policy("NUMERIC", passwordMinimumLength=4), True),
        ("1111", policy("NUMERIC", passwordMinimumLength=5), False),
        ("abcde", policy("NUMERIC", passwordMinimumLength=5), True),
        ("1234", policy("NUMERIC_COMPLEX"), False),
        ("1235", policy("NUMERIC_COMPLEX"), True),
        ("91357", policy("NUMERIC_COMPLEX"), False),
        ("12345", policy("ALPHABETIC"), False),
        ("1234!", policy("ALPHABETIC"), True),
        ("abcd", policy("ALPHABETIC", passwordMinimumLength=4), True),
        ("abcd", policy("ALPHANUMERIC"), False),
        ("abc1", policy("ALPHANUMERIC"), True),
        ("###1", policy("ALPHANUMERIC"), True),
        ("1111", policy("COMPLEXITY_LOW"), True),
        ("1357", policy("COMPLEXITY_MEDIUM"), False),
        ("1358", policy("COMPLEXITY_MEDIUM"), True),
        ("ab1234x", policy("COMPLEXITY_MEDIUM"), False),
        ("1358135", policy("COMPLEXITY_HIGH"), False),
        ("13581358", policy("COMPLEXITY_HIGH"), True),
        ("a1b2c", policy("COMPLEXITY_HIGH"), False),
        ("a1b2c3", policy("COMPLEXITY_HIGH"), True),
        ("a1b2c3", policy("COMPLEXITY_HIGH", passwordMinimumLength=20), True),
        ("ab1!", policy("COMPLEX", passwordMinimumLetters=2, passwordMinimumNonLetter=2), True),
        ("ab1!", policy("COMPLEX", passwordMinimumLetters=3), False),
        ("ab1!", policy("COMPLEX", passwordMinimumNonLetter=3), False),
        ("aB1!", policy("COMPLEX", passwordMinimumUpperCase=1, passwordMinimumLowerCase=1), True),
        ("ab1!", policy("COMPLEX", passwordMinimumUpperCase=1), False),
        ("AB1!", policy("COMPLEX", passwordMinimumLowerCase=1), False),
        ("abc!", policy("COMPLEX", passwordMinimumNumeric=1), False),
        ("abc1", policy("COMPLEX", passwordMinimumSymbols=1), False),
        ("abc1", policy("ALPHANUMERIC", passwordMinimumSymbols=1), True),
        ("abcdé", policy("SOMETHING"), False),
        ("abcd", policy("NOBODY_KNOWS"), False),
    ],
)
def test_each_quality_at_its_edge(value: str, entry: dict[str, Any], permitted: bool) -> None:
    assert (flaw(value, [entry], api_level=33) is None) == permitted


@pytest.mark.parametrize(
    ("value", "api_level", "permitted"),
    [("13581", 33, True), ("13581", 34, False), ("135813", 34, True), ("1358a", 34, True)],
)
def test_android_14_takes_no_five_digits(value: str, api_level: int, permitted: bool) -> None:
    assert permits(value, [], profile=False, api_level=api_level) == permitted


@pytest.mark.parametrize(
    ("scope", "counts_for_device", "counts_for_profile"),
    [
        ({}, True, True),
        ({"passwordScope": "SCOPE_UNSPECIFIED"}, True, True),
        ({"passwordScope": "SCOPE_DEVICE"}, True, False),
        ({"passwordScope": "SCOPE_PROFILE"}, False, True),
    ],
)
def test_a_policy_counts_in_its_scope(scope: dict[str, str], counts_for_device: bool, counts_for_profile: bool) -> None:
    entries = [policy("ALPHABETIC", **scope)]

    assert bool(of_scope(entries, "SCOPE_DEVICE")) == counts_for_device
    assert permits("135813", entries, profile=False, api_level=36) == (not counts_for_device)
    assert permits("135813", entries, profile=True, api_level=36) == (not counts_for_profile)


def test_of_two_policies_both_count() -> None:
    entries = [policy("NUMERIC_COMPLEX", passwordMinimumLength=8), policy("ALPHABETIC", passwordMinimumLength=4)]

    assert flaw("13581358", entries, 36) is not None
    assert flaw("abcd1358", entries, 36) is not None
    assert flaw("abc1358x", entries, 36) is None


def test_a_lock_may_be_taken_away_only_where_none_is_asked_for() -> None:
    assert may_be_empty([])
    assert may_be_empty([{"passwordMinimumLength": 4}, policy("PASSWORD_QUALITY_UNSPECIFIED")])
    assert not may_be_empty([policy("SOMETHING")])
