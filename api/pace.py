"""An answer that tells nothing by how long it took: it is given no sooner than after a fixed while."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")


async def no_sooner(floor: timedelta, work: Awaitable[T]) -> T:
    """What the work gives or raises, when `floor` is over. Whoever went away is not waited for."""
    loop = asyncio.get_running_loop()
    due = loop.time() + floor.total_seconds()
    try:
        given = await work
    except Exception:
        await asyncio.sleep(due - loop.time())
        raise
    await asyncio.sleep(due - loop.time())
    return given
