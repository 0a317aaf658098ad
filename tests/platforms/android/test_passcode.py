"""The passcodes that we make, judged by what a device lets its lock be."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platforms.android import passcode, wire
from platforms.android.passcode import DIGITS, LENGTH, LONGEST, LOWER, Rules, Scope, has_run, make, rules
from tests.platforms.android.validator import permits

QUALITIES = (
    *("PASSWORD_QUALITY_UNSPECIFIED", "BIOMETRIC_WEAK", "SOMETHING", "NUMERIC", "NUMERIC_COMPLEX"),
    *("ALPHABETIC", "ALPHANUMERIC", "COMPLEX"),
)
COMPLEXITIES = (None, "COMPLEXITY_LOW", "COMPLEXITY_MEDIUM", "COMPLEXITY_HIGH")
SCOPES = {Scope.DEVICE: "SCOPE_DEVICE", Scope.PROFILE: "SCOPE_PROFILE"}
COUNTS = {
    "passwordMinimumLength": 12,
    "passwordMinimumLetters": 6,
    "passwordMinimumLowerCase": 2,
    "passwordMinimumUpperCase": 2,
    "passwordMinimumNonLetter": 4,
    "passwordMinimumNumeric": 2,
    "passwordMinimumSymbols": 1,
}
OTHERS = {
    "passwordScope": None,
    "passwordQuality": "COMPLEX",
    "passwordMinimumLength": 16,
    "passwordMinimumSymbols": 14,
}


def policies(quality: str, complexity: str | None, scope: Scope) -> list[dict[str, Any]]:
    """As a device tells them; the other lock's are stricter than any code can be."""
    other = SCOPES[Scope.PROFILE if scope is Scope.DEVICE else Scope.DEVICE]
    found: list[dict[str, Any]] = [
        {"passwordScope": SCOPES[scope], "passwordQuality": quality, **COUNTS},
        {**OTHERS, "passwordScope": other},
    ]
    if complexity is not None:
        found.append({"passwordQuality": complexity})
    return found


def read(listed: list[dict[str, Any]]) -> tuple[wire.PasswordPolicy, ...]:
    return wire.parse_device({"name": "enterprises/A/devices/b", "appliedPasswordPolicies": listed}).policies


EVERY = pytest.mark.parametrize(("quality", "complexity", "scope"), list(product(QUALITIES, COMPLEXITIES, Scope)))


def try_out(quality: str, complexity: str | None, scope: Scope, times: int) -> None:
    listed = policies(quality, complexity, scope)
    wanted = rules(read(listed), scope)

    made = [make(wanted) for _ in range(times)]

    assert all(permits(one, listed, profile=scope is Scope.PROFILE, api_level=36) for one in made)
    assert all(LENGTH <= len(one) <= LONGEST for one in made)
    assert all(not has_run(one) and not set(one) & set("0O1lIio") for one in made)
    assert all(any(sign.isalpha() for sign in one) and any(sign.isdigit() for sign in one) for one in made)
    assert len(set(made)) == len(made)


@EVERY
def test_two_hundred_passcodes_are_all_taken(quality: str, complexity: str | None, scope: Scope) -> None:
    try_out(quality, complexity, scope, 200)


@pytest.mark.prove
@pytest.mark.together
@EVERY
def test_ten_thousand_passcodes_are_all_taken(quality: str, complexity: str | None, scope: Scope) -> None:
    try_out(quality, complexity, scope, 10_000)


@pytest.mark.parametrize("minimum", range(17))
@pytest.mark.parametrize("quality", QUALITIES)
def test_every_minimum_up_to_sixteen_is_met_and_none_of_eight_is_undercut(quality: str, minimum: int) -> None:
    listed: list[dict[str, Any]] = [{"passwordQuality": quality, "passwordMinimumLength": minimum}]

    for one in (make(rules(read(listed), Scope.DEVICE)) for _ in range(50)):
        assert permits(one, listed, profile=False, api_level=36)
        assert 8 <= len(one) <= LONGEST


def test_letters_and_digits_are_enough_where_no_rule_asks_for_symbols() -> None:
    assert {sign for _ in range(2_000) for sign in make(Rules())} == set(LOWER + DIGITS)


def test_minimum_counts_bind_a_complex_lock_alone() -> None:
    listed = [{"passwordQuality": "ALPHANUMERIC", **COUNTS}, {"passwordQuality": "COMPLEXITY_HIGH", **COUNTS}]

    assert rules(read(listed), Scope.DEVICE) == Rules(length=12)
    assert rules(read([{"passwordQuality": "COMPLEXITY_HIGH", **COUNTS}]), Scope.DEVICE) == Rules()


def test_of_two_rules_for_one_lock_the_stricter_counts_in_each_point() -> None:
    listed = [
        {"passwordScope": "SCOPE_PROFILE", "passwordQuality": "COMPLEX", "passwordMinimumUpperCase": 3},
        {"passwordQuality": "COMPLEX", "passwordMinimumUpperCase": 1, "passwordMinimumLength": 14},
        {"passwordScope": "SCOPE_DEVICE", "passwordQuality": "COMPLEX", "passwordMinimumSymbols": 5},
    ]

    assert rules(read(listed), Scope.PROFILE) == Rules(length=14, upper=3)
    assert rules(read(listed), Scope.DEVICE) == Rules(length=14, upper=1, symbols=5)


@pytest.mark.parametrize(
    ("wanted", "possible"),
    [
        (Rules(length=16), True),
        (Rules(length=17), False),
        (Rules(symbols=14), True),
        (Rules(symbols=15), False),
        (Rules(upper=15), True),
        (Rules(upper=16), False),
        (Rules(letters=8, non_letters=8), True),
        (Rules(letters=9, non_letters=8), False),
    ],
)
def test_what_sixteen_characters_cannot_keep_is_known_beforehand(wanted: Rules, possible: bool) -> None:
    assert wanted.is_possible is possible
    if possible:
        assert len(make(wanted)) <= LONGEST
    else:
        with pytest.raises(ValueError, match="sixteen"):
            make(wanted)


counts = st.integers(0, 8)


@given(st.builds(Rules, *([st.integers(0, 20)] + [counts] * 6)))
def test_any_rules_are_kept_or_impossible(wanted: Rules) -> None:
    if not wanted.is_possible:
        return
    listed = [
        {
            "passwordQuality": "COMPLEX",
            "passwordMinimumLength": wanted.length,
            "passwordMinimumLetters": wanted.letters,
            "passwordMinimumLowerCase": wanted.lower,
            "passwordMinimumUpperCase": wanted.upper,
            "passwordMinimumNonLetter": wanted.non_letters,
            "passwordMinimumNumeric": wanted.digits,
            "passwordMinimumSymbols": wanted.symbols,
        },
        {"passwordQuality": "COMPLEXITY_HIGH"},
    ]

    assert permits(make(wanted), listed, profile=False, api_level=36)


@pytest.mark.parametrize(
    ("value", "run"),
    [
        *((value, True) for value in ("aaa", "abc", "cba", "468", "963", "ABC", "***", "x2468")),
        *((value, False) for value in ("ace", "ab3", "a2b3", "225", "xyabz", "aBc", "")),
    ],
)
def test_three_that_follow_each_other_are_a_run(value: str, run: bool) -> None:
    assert has_run(value) is run


def test_the_judge_refuses_what_a_device_would() -> None:
    """So that the tests above can fail."""
    complex_ = policies("COMPLEX", "COMPLEXITY_HIGH", Scope.DEVICE)

    assert not permits("ab1234x", [{"passwordQuality": "COMPLEXITY_HIGH"}], profile=False, api_level=36)
    assert not permits(make(Rules()), complex_, profile=False, api_level=36)
    assert not permits("13572", [], profile=False, api_level=34)
    assert passcode.RULE.kind == "temporary_alphanumeric"
