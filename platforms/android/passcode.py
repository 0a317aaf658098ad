"""What a passcode reset means on Android: we make a temporary one, of letters and digits, within what the device asks.

https://developers.google.com/android/management/reference/rest/v1/PasswordRequirements

Letters and digits satisfy every weaker rule, so there is one kind of passcode for all; symbols come in only where a
rule demands them. A work profile's rules are not the phone's: each is read by its own scope.
"""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from models.vocabulary import PasscodeKind
from platforms.android.wire import PasswordPolicy
from platforms.base import PasscodeRule

RULE: Final = PasscodeRule(
    kind=PasscodeKind.TEMPORARY_ALPHANUMERIC,
    done_key="android.reset_passcode.succeeded",
    reveal_key="android.reveal.nothing",
)

LENGTH: Final = 10
"""Ten of thirty-one characters are 49 bits; no rule of Android asks for less than fits in it."""
LONGEST: Final = 16
"""What every device takes: older ones know no longer lock."""
RUN: Final = 3
"""Neighbours that follow each other. Devices refuse four; we make not even three."""

# Nothing that is taken for something else when it is read from one screen and typed on another: 0 O o, 1 l I i.
LOWER: Final = "abcdefghjkmnpqrstuvwxyz"
UPPER: Final = "ABCDEFGHJKMNPQRSTUVWXYZ"
DIGITS: Final = "23456789"
SYMBOLS: Final = "#%+=?@!*-"
_KIND: Final = {sign: alphabet for alphabet in (LOWER, UPPER, DIGITS, SYMBOLS) for sign in alphabet}

_HAS_LENGTH: Final = frozenset({"NUMERIC", "NUMERIC_COMPLEX", "ALPHABETIC", "ALPHANUMERIC", "COMPLEX"})
"""The qualities for which the minimum length counts at all."""

_RANDOM: Final = secrets.SystemRandom()


class Scope(StrEnum):
    """Whose lock it is."""

    DEVICE = "device"
    PROFILE = "profile"


@dataclass(frozen=True, slots=True)
class Rules:
    """The strictest of what fits, as counts."""

    length: int = 0
    letters: int = 0
    lower: int = 0
    upper: int = 0
    non_letters: int = 0
    digits: int = 0
    symbols: int = 0

    @property
    def is_possible(self) -> bool:
        return max(self.length, sum(count for _, count in _demands(self))) <= LONGEST


def rules(policies: Iterable[PasswordPolicy], scope: Scope) -> Rules:
    """The strictest of every entry for this lock."""
    # An entry that names no scope is for either lock.
    named = {None, "SCOPE_PROFILE" if scope is Scope.PROFILE else "SCOPE_DEVICE"}
    fitting = [_counts(policy) for policy in policies if policy.scope in named]
    return Rules(
        length=max((one.length for one in fitting), default=0),
        letters=max((one.letters for one in fitting), default=0),
        lower=max((one.lower for one in fitting), default=0),
        upper=max((one.upper for one in fitting), default=0),
        non_letters=max((one.non_letters for one in fitting), default=0),
        digits=max((one.digits for one in fitting), default=0),
        symbols=max((one.symbols for one in fitting), default=0),
    )


def _counts(policy: PasswordPolicy) -> Rules:
    if policy.quality != "COMPLEX":
        return Rules(length=policy.length if policy.quality in _HAS_LENGTH else 0)
    return Rules(
        length=policy.length,
        letters=policy.letters,
        lower=policy.lower,
        upper=policy.upper,
        non_letters=policy.non_letters,
        digits=policy.digits,
        symbols=policy.symbols,
    )


def make(wanted: Rules) -> str:
    """A passcode that these rules permit. Raises ValueError where none of a length that every device takes does."""
    if not wanted.is_possible:
        raise ValueError("no passcode of sixteen characters keeps these rules")
    demands = [(alphabet, count) for alphabet, count in _demands(wanted) if count]
    demanded = sum(count for _, count in demands)
    demands.append((LOWER + DIGITS, max(LENGTH, wanted.length) - demanded))
    while True:
        signs = [sign for alphabet, count in demands for sign in _draw(alphabet, count)]
        _RANDOM.shuffle(signs)
        passcode = "".join(signs)
        if not has_run(passcode):
            return passcode


def _draw(alphabet: str, count: int) -> list[str]:
    """Each as likely as the other: a byte that would favour the first ones is thrown away."""
    fair = 256 - 256 % len(alphabet)
    found: list[str] = []
    while len(found) < count:
        found += [alphabet[byte % len(alphabet)] for byte in secrets.token_bytes(2 * count) if byte < fair]
    return found[: max(count, 0)]


def _demands(wanted: Rules) -> Iterator[tuple[str, int]]:
    """How many of which; always a letter and a digit."""
    letters = max(wanted.letters, wanted.lower + wanted.upper, 1)
    digits = max(wanted.digits, 1, wanted.non_letters - wanted.symbols)
    yield UPPER, wanted.upper
    yield LOWER, letters - wanted.upper
    yield DIGITS, digits
    yield SYMBOLS, wanted.symbols


def has_run(passcode: str) -> bool:
    """The same again, or one after the other: digits by any step, letters by one."""
    length, step = 1, 0
    for before, after in pairwise(passcode):
        taken = ord(after) - ord(before)
        if _KIND.get(before) != _KIND.get(after) or (after not in DIGITS and not -1 <= taken <= 1):
            length = 1
        else:
            length = length + 1 if length > 1 and taken == step else 2
            step = taken
        if length >= RUN:
            return True
    return False
