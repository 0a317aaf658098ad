"""Password hashes: argon2id in a few threads off the event loop, with a bounded queue before them.

Whoever tries a name that nobody has waits as long as for a wrong password: a hash that nothing fits is verified
instead.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

from api.pool import Pool, Seat
from models.password_policy import nfc
from models.settings import SettingsError

FLOOR: Final = ((46 * 1024, 1), (19 * 1024, 2))
"""(KiB, passes), equally strong (OWASP; ASVS 5.0, appendix C): a setting below both is refused. Why the first
of them is what is set: docs/decisions/0022."""


MOST_THREADS: Final = 2
"""More cores are better used by another process."""


def threads_on(cores: int) -> int:
    """One core is left to whoever waits for an answer, where there is another (docs/decisions/0019)."""
    return max(1, min(MOST_THREADS, cores - 1))


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class HashSettings:
    memory_kib: int = 46 * 1024
    passes: int = 1
    lanes: int = 1
    threads: int = field(default_factory=lambda: threads_on(_cores()))
    """Each holds `memory_kib` while it works, and takes a whole core."""
    waiting: int = 32
    """About two seconds' work of one thread: whoever comes later is told to come again."""

    def __post_init__(self) -> None:
        if self.lanes < 1 or not any(self.memory_kib >= kib and self.passes >= passes for kib, passes in FLOOR):
            raise SettingsError("password hashes must cost at least 46 MiB in one pass, or 19 MiB in two")
        if self.threads < 1 or self.waiting < 0:
            raise SettingsError("password hashes need a thread, and a queue that is not negative")


def normalised(password: str) -> bytes:
    return nfc(password).encode()


class Hasher:
    """Closed by leaving its block; what is under way is finished."""

    def __init__(self, settings: HashSettings) -> None:
        self._settings = settings
        self._argon2 = PasswordHasher(
            time_cost=settings.passes,
            memory_cost=settings.memory_kib,
            parallelism=settings.lanes,
            hash_len=32,
            salt_len=16,
            type=Type.ID,
        )
        self._dummy = self._argon2.hash(os.urandom(32))
        self._pool = Pool("argon2", threads=settings.threads, waiting=settings.waiting)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place in the queue, taken before a try is counted: who is turned away has tried nothing. Raises Busy."""
        with self._pool.seat() as seat:
            yield Place(self, self._argon2, self._dummy, seat)

    def is_weak(self, known: str) -> bool:
        """Whether the hash is to be made anew now that the password is at hand."""
        found = extract_parameters(known)
        return (
            found.type is not Type.ID
            or found.version < ARGON2_VERSION
            or found.memory_cost * found.time_cost < self._settings.memory_kib * self._settings.passes
        )


class Place:
    """For one caller, who does one thing after the other in it."""

    def __init__(self, hasher: Hasher, argon2: PasswordHasher, dummy: str, seat: Seat) -> None:
        self.is_weak = hasher.is_weak
        self.turn = seat.turn
        self._argon2 = argon2
        self._dummy = dummy
        self._seat = seat

    async def hash(self, password: str) -> str:
        return await self._seat.run(lambda: self._argon2.hash(normalised(password)))

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether it is the password; None, where there is no hash, costs the same and is never right."""
        right = await self._seat.run(lambda: self._fits(self._dummy if known is None else known, password))
        return right and known is not None

    def _fits(self, known: str, password: str) -> bool:
        try:
            return self._argon2.verify(known, normalised(password))
        except VerifyMismatchError:
            return False
