"""`python -m launch.unlock NAME`: open a password road that too many failures shut. An operator's act, on the record.

All of it: for strangers, and for each browser that the account knows. The password stays as it is, and the way back in
without one, whose own block an administrator opens (`POST /accounts/{id}/recovery/allow-again`).
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping

from models import account, event, password, throttle
from models.database import Database
from models.event import Actor
from models.settings import DatabaseSettings, SettingsError, resolve_files, throttle_key

MISCONFIGURED = 2


async def unlock(database: Database, name: str, key: bytes) -> bool:
    """Whether somebody has that name. The counter of a name that nobody has is cleared alike."""
    async with database.write() as tx:
        counter = throttle.key_of_name(account.fold(name), key)
        row = await account.by_sign_in_name(tx, name)
        if row is None:
            await throttle.clear(tx, throttle.PASSWORD, counter)
            return False
        await password.open_road(tx, row, counter)
        await event.record(
            tx,
            organization_id=row.organization_id,
            action="account:password:unlock",
            actor=Actor("operator"),
            now=await tx.now(),
            account_id=row.id,
            subject=("account", row.id),
        )
    return True


async def run(environ: Mapping[str, str], name: str) -> int:
    key = throttle_key(environ).value
    database = Database(DatabaseSettings.from_env(environ))
    await database.open()
    try:
        found = await unlock(database, name, key)
    finally:
        await database.close()
    sys.stdout.write(f"{'open again, in every browser' if found else 'nobody has that name'}\n")
    return 0 if found else 1


def main(arguments: list[str], variables: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m launch.unlock", description="Open a shut password road.")
    parser.add_argument("name", help="the sign-in name")
    name = parser.parse_args(arguments).name
    try:
        return asyncio.run(run(resolve_files(variables), name))
    except SettingsError as error:
        sys.stderr.write(f"cannot unlock: {error}\n")
        return MISCONFIGURED


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))  # noqa: TID251 - this is a main
