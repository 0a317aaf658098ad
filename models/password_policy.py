"""What a password may be: every rule, each with a code of its own. Pure; the hashes are looked at elsewhere.

No rule about kinds of characters, and none about age. Passwords are counted in code points after NFC, and never cut.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

LEAST_ALONE: Final = 15
"""Characters of a password that is the only factor."""
LEAST_WITH_SECOND_FACTOR: Final = 8
MOST: Final = 256
LEAST_SCORE: Final = 5
"""A banned word counts one point however long it is, and so does every other character."""
SHORTEST_WORD: Final = 4
"""Shorter names and words stand in too many good passwords by chance."""
BANNED_WORDS: Final = 1000
"""So many of an organization's own count."""
WORST: Final = 3000
"""So many of the common ones count as banned words: what is most guessed is a poor building block, too."""

COMMON: Final = Path(__file__).with_name("words") / "common_passwords.txt"


class Rule(StrEnum):
    """What a password breaks. Words for each are `password.<rule>`."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CONTAINS_NAME = "contains_name"
    COMMON = "common"
    BANNED_WORD = "banned_word"
    TOO_SIMPLE = "too_simple"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class Broken:
    """One rule that a password breaks; the facts hold nothing of the password."""

    rule: Rule
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of whose password it shall be."""

    sign_in_name: str
    display_name: str
    organization_name: str
    banned_words: tuple[str, ...] = ()
    """The organization's own."""
    second_factor: bool = False
    """Whether every sign-in takes one."""

    @property
    def least(self) -> int:
        return LEAST_WITH_SECOND_FACTOR if self.second_factor else LEAST_ALONE


def nfc(password: str) -> str:
    """NFC once, and nothing else: a composed and a decomposed é are the same key on somebody's keyboard."""
    return unicodedata.normalize("NFC", password)


_LOOK_ALIKES: Final = str.maketrans({"0": "o", "1": "l", "!": "l", "|": "l", "$": "s", "5": "s", "@": "a", "3": "e"})


def undisguised(text: str) -> str:
    """Lower case, with look-alikes undone, so that P@$$w0rd is what it looks like."""
    return unicodedata.normalize("NFKC", text).casefold().translate(_LOOK_ALIKES)


def judge(password: str, about: About) -> list[Broken]:
    """Every rule that it breaks; none, and it may be used as far as the hashes of earlier ones allow."""
    password = nfc(password)
    broken = []
    if len(password) < about.least:
        broken.append(Broken(Rule.TOO_SHORT, {"least": about.least}))
    if len(password) > MOST:
        # Nothing further is asked: nobody is made to search through what is refused for its length.
        return [Broken(Rule.TOO_LONG, {"most": MOST})]
    plain = undisguised(password)
    if any(name in plain for name in _names(about)):
        broken.append(Broken(Rule.CONTAINS_NAME))
    if _is_common(plain):
        broken.append(Broken(Rule.COMMON))
    own = {undisguised(word) for word in about.banned_words[:BANNED_WORDS]}
    if any(_within_one(plain, word) for words in (own, _worst()) for word in words if len(word) >= SHORTEST_WORD):
        broken.append(Broken(Rule.BANNED_WORD))
    if _score(plain, own) < LEAST_SCORE:
        broken.append(Broken(Rule.TOO_SIMPLE))
    return broken


def _names(about: About) -> set[str]:
    """The sign-in name, whole and before its @, and each name and word of a name that is long enough."""
    given = [about.sign_in_name, about.sign_in_name.partition("@")[0], about.display_name, about.organization_name]
    names = set()
    for name in map(undisguised, given):
        names |= {name, "".join(filter(str.isalnum, name))}
    for name in given[1:]:
        words = "".join(one if one.isalnum() else " " for one in undisguised(name))
        names |= set(words.split())
    return {name for name in names if len(name) >= SHORTEST_WORD}


@cache
def _common() -> bytes:
    """With look-alikes undone in all of it, and searched as it lies: a quarter of a megabyte, where a set would hold
    many times as much."""
    return b"\n" + undisguised(COMMON.read_text(encoding="utf-8")).encode()


def load() -> None:
    """The lists, before somebody chooses a password."""
    _worst()


def _is_common(plain: str) -> bool:
    word = plain.encode()
    return b"\n" not in word and b"\n" + word + b"\n" in _common()


@cache
def _worst() -> frozenset[str]:
    words = _common().decode().split("\n", WORST + 1)[1 : WORST + 1]
    return frozenset(word for word in words if len(word) >= SHORTEST_WORD)


def _score(plain: str, own: Iterable[str]) -> int:
    """The fewest points that it can be made of."""
    words = _worst() | {word for word in own if len(word) >= SHORTEST_WORD}
    lengths = sorted({len(word) for word in words if len(word) <= len(plain)})
    fewest = [0]
    for end in range(1, len(plain) + 1):
        best = fewest[end - 1] + 1
        for length in lengths:
            if length > end:
                break
            if fewest[end - length] + 1 < best and plain[end - length : end] in words:
                best = fewest[end - length] + 1
        fewest.append(best)
    return fewest[-1]


def _within_one(one: str, other: str) -> bool:
    """Whether at most one character was changed, added or left out."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1:
        return False
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    return one[same + (len(one) == len(other)) :] == other[same + 1 :]
