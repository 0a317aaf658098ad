"""`python -m launch.rotate`: make the next signing key now, before its time.

It is published at once and signs after an hour, so that whoever checks signatures has fetched it by then; the key
before it goes on until then, and is published for an hour more. While one is on its way, no other is made.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Final

from models import signing_key
from models.database import Database
from models.sealed import Keyring
from models.settings import DatabaseSettings, SettingsError, resolve_files

DONE, MISCONFIGURED = 0, 2
_SAID: Final = {
    True: "made: a new key is published, and signs when its time comes",
    False: "none made: one is on its way",
}


async def run(environ: Mapping[str, str]) -> int:
    keys = Keyring.from_settings(environ.get("SEAL_KEYS", ""))
    database = Database(DatabaseSettings.from_env(environ))
    await database.open()
    try:
        async with database.write() as tx:
            made = await signing_key.rotate(tx, keys, await tx.now(), at_once=True)
        async with database.read() as tx:
            known = await signing_key.page(tx)
    finally:
        await database.close()
    sys.stdout.write(_SAID[made] + "\n")
    for one in known:
        sys.stdout.write(f"kid={one.id} signs_from={one.signs_from.isoformat()}\n")
    return DONE


def main(variables: Mapping[str, str]) -> int:
    try:
        return asyncio.run(run(resolve_files(variables)))
    except SettingsError as error:
        sys.stderr.write(f"cannot rotate: {error}\n")
        return MISCONFIGURED


if __name__ == "__main__":
    raise SystemExit(main(os.environ))  # noqa: TID251 - this is a main
