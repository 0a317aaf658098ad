"""`python -m launch.health KIND`: 0 while a process of that kind (worker, tick) gives signs of life. For containers,
whose worker and tick listen on no port that could be asked."""

import asyncio
import os
import sys
from collections.abc import Sequence

from models import heartbeat
from models.database import Database, DatabaseDown
from models.settings import DatabaseSettings, SettingsError, resolve_files


async def living(settings: DatabaseSettings, kind: str) -> int:
    database = Database(settings)
    await database.open()
    try:
        async with database.read() as tx:
            return await heartbeat.alive(tx, kind, await tx.now())
    finally:
        await database.close()


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m launch.health worker|tick\n")
        return 2
    try:
        settings = DatabaseSettings.from_env(resolve_files(os.environ))  # noqa: TID251 - a main under its own name
        found = asyncio.run(living(settings, arguments[0]))
    except (SettingsError, DatabaseDown) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{found} alive\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
