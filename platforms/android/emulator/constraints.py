"""What a device lets its lock be: Android's own rules, from its side.

Kept apart from the folder's `passcode.py` on purpose: this is what judges the codes that are made there.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, Final

FLOOR: Final = 4
RUN: Final = 4
STEPS: Final = {"digit": 9, "lower": 1, "upper": 1, "symbol": 0}
"""The widest equal step that still makes a run, by class of character."""
COUNTED: Final[Mapping[str, Callable[[list[str]], int]]] = {
    "passwordMinimumLetters": lambda kinds: kinds.count("lower") + kinds.count("upper"),
    "passwordMinimumLowerCase": lambda kinds: kinds.count("lower"),
    "passwordMinimumUpperCase": lambda kinds: kinds.count("upper"),
    "passwordMinimumNonLetter": lambda kinds: kinds.count("digit") + kinds.count("symbol"),
    "passwordMinimumNumeric": lambda kinds: kinds.count("digit"),
    "passwordMinimumSymbols": lambda kinds: kinds.count("symbol"),
}
QUALITIES: Final = (
    *("PASSWORD_QUALITY_UNSPECIFIED", "BIOMETRIC_WEAK", "SOMETHING", "NUMERIC", "NUMERIC_COMPLEX", "ALPHABETIC"),
    *("ALPHANUMERIC", "COMPLEX", "COMPLEXITY_LOW", "COMPLEXITY_MEDIUM", "COMPLEXITY_HIGH"),
)
NO_RUN: Final = frozenset({"NUMERIC_COMPLEX", "COMPLEXITY_MEDIUM", "COMPLEXITY_HIGH"})
MEASURED: Final = frozenset({"NUMERIC", "NUMERIC_COMPLEX", "ALPHABETIC", "ALPHANUMERIC", "COMPLEX"})


def kind(character: str) -> str:
    if "0" <= character <= "9":
        return "digit"
    if "a" <= character <= "z":
        return "lower"
    return "upper" if "A" <= character <= "Z" else "symbol"


def longest_run(value: str) -> int:
    """Neighbours of one class at equal steps, the most there are in a row."""
    longest = length = min(len(value), 1)
    step: int | None = None
    for before, after in pairwise(value):
        taken = ord(after) - ord(before)
        if kind(before) != kind(after) or abs(taken) > STEPS[kind(after)]:
            length, step = 1, None
        elif taken == step:
            length += 1
        else:
            length, step = 2, taken
        longest = max(longest, length)
    return longest


def of_scope(policies: Iterable[Mapping[str, Any]], scope: str) -> list[Mapping[str, Any]]:
    """What counts for the device's lock (SCOPE_DEVICE) or the work profile's (SCOPE_PROFILE)."""
    return [
        entry for entry in policies if entry.get("passwordScope", "SCOPE_UNSPECIFIED") in {scope, "SCOPE_UNSPECIFIED"}
    ]


def may_be_empty(policies: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the lock may be taken away."""
    return all(entry.get("passwordQuality", QUALITIES[0]) == QUALITIES[0] for entry in policies)


def flaw(value: str, policies: Iterable[Mapping[str, Any]], api_level: int) -> str | None:
    """Why this value cannot be a lock under these policies, each of which counts; None: it can."""
    kinds = [kind(character) for character in value]
    if not all(" " <= character <= "~" for character in value):
        return "a character that no keyboard has"
    if len(value) < FLOOR:
        return "shorter than any lock"
    if api_level >= 34 and len(value) < 6 and set(kinds) == {"digit"}:
        return "digits alone, and fewer than six (Android 14)"
    return next(filter(None, (_flaw(value, kinds, entry) for entry in policies)), None)


def _flaw(value: str, kinds: list[str], entry: Mapping[str, Any]) -> str | None:
    quality = entry.get("passwordQuality", QUALITIES[0])
    only_digits = set(kinds) == {"digit"}
    lettered = quality in {"ALPHABETIC", "ALPHANUMERIC"}
    flaws = {
        "a quality that nobody knows": quality not in QUALITIES,
        "a run": quality in NO_RUN and longest_run(value) >= RUN,
        "shorter than the policy's minimum": quality in MEASURED and len(value) < entry.get("passwordMinimumLength", 0),
        "too short for high complexity": quality == "COMPLEXITY_HIGH" and len(value) < (8 if only_digits else 6),
        "no letter and no symbol": lettered and only_digits,
        "no digit": quality == "ALPHANUMERIC" and "digit" not in kinds,
    }
    if quality == "COMPLEX":
        flaws |= {f"too few for {name}": count(kinds) < entry.get(name, 0) for name, count in COUNTED.items()}
    return next((name for name, found in flaws.items() if found), None)
