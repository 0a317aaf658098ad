"""What an open notification stream costs in memory, with thousands of them on one process."""

import asyncio
import resource

from bench import rows
from bench.figures import Figure, below, plain
from bench.house import House, utc_now
from bench.wire import Listener

AT_ONCE = 50
PER_ACCOUNT = 10


def allow_many_files(wanted: int) -> None:
    """For us and for whom we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


async def streams(house: House) -> list[Figure]:
    count = house.size(5_000, 1_000)
    database = await house.database("postgresql")
    now = utc_now()
    organization_id = rows.found(database, now)
    people = rows.invent((count + AT_ONCE) // PER_ACCOUNT, now)
    rows.hire(database, organization_id, people, now)
    tokens = [one.token for one in people for _ in range(PER_ACCOUNT)]
    listeners: list[Listener] = []
    async with house.api(database) as api:  # once: what a process gave back it may keep
        for token in tokens[count:]:
            (await Listener.open(api.port, token)).close()
        before = api.resident
        for begun in range(0, count, AT_ONCE):
            some = tokens[begun : begun + AT_ONCE]
            listeners += await asyncio.gather(*(Listener.open(api.port, token) for token in some))
        after = api.resident
        for listener in listeners:
            listener.close()
    each, whole = [(after - before) / count / 1000], [after / 1024 / 1024]
    return [
        below(f"Memory of an open stream, {count:,} on one process", each, 25, "kB"),
        plain(f"Resident memory of an api with {count:,} streams", whole, "MB"),
    ]
