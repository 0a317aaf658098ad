"""What this process needs to be of use, each looked at for itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from models import duty, heartbeat
from models.database import Database, DatabaseDown
from workers.queue import QueueDoor

PATIENCE: Final = 2.0
"""Seconds: whoever asks whether we are ready wants to know it now."""


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    ok: bool
    says: str


ANSWER_KEPT: Final = 1.0
"""Seconds. The address is open to everybody: however many ask, the house is looked at this often."""


class Readiness:
    """What was found last, and whoever asks while it is being looked for waits for the same."""

    def __init__(
        self,
        db: Database,
        door: QueueDoor,
        is_migrated: Callable[[], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = (db, door, is_migrated)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._found: list[Finding] | None = None
        self._until = 0.0

    async def look(self) -> list[Finding]:
        async with self._turn:
            if self._found is None or self._clock() >= self._until:
                self._found = await look(*self._ask)
                self._until = self._clock() + ANSWER_KEPT
            return self._found


async def look(db: Database, door: QueueDoor, is_migrated: Callable[[], Awaitable[bool]]) -> list[Finding]:
    parts = await asyncio.gather(_database(db), _redis(door), _migration(is_migrated))
    return [finding for part in parts for finding in part]


async def _database(db: Database) -> list[Finding]:
    try:
        async with asyncio.timeout(PATIENCE), db.read() as tx:
            now = await tx.now()
            workers = await heartbeat.alive(tx, "worker", now)
            ticking = await duty.is_held(tx, duty.SWEEP, now)
    except (DatabaseDown, TimeoutError):
        unknown = [Finding(name, ok=False, says="not known") for name in ("worker", "tick")]
        return [Finding("database", ok=False, says="does not answer"), *unknown]
    return [
        Finding("database", ok=True, says="answers"),
        Finding("worker", ok=workers > 0, says=f"{workers} alive"),
        Finding("tick", ok=ticking, says="on duty" if ticking else "nobody is on duty"),
    ]


async def _redis(door: QueueDoor) -> list[Finding]:
    answers = await door.ping()
    return [Finding("redis", ok=answers, says="answers" if answers else "does not answer")]


async def _migration(is_migrated: Callable[[], Awaitable[bool]]) -> list[Finding]:
    try:
        async with asyncio.timeout(PATIENCE):
            current = await is_migrated()
    except Exception:  # noqa: BLE001 - asked past SQLAlchemy, so each driver's own errors; all mean the same here
        return [Finding("migration", ok=False, says="not known")]
    return [Finding("migration", ok=current, says="current" if current else "the schema is not ours yet")]
