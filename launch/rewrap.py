"""`python -m launch.rewrap`: what is sealed under an older key is put under the first of SEAL_KEYS. Values stay closed.

To change the key: put a new one in front of SEAL_KEYS everywhere and start everything anew; run this; when it says that
nothing is left, drop the older key. It may be stopped and run again at any time: what is done is skipped.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from models import account, contact, delivery, enrollment, job, passcode, person_key, signing_key, verification
from models.database import Database
from models.sealed import Keyring, SealBroken
from models.settings import DatabaseSettings, SettingsError, resolve_files

DONE, BROKEN, MISCONFIGURED = 0, 1, 2
AT_ONCE: Final = 500
"""Rows of one transaction: whoever signs in meanwhile does not wait long."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed column, and what its values are bound to."""

    column: sa.Column[Any]
    purpose: str
    owner: tuple[sa.Column[Any], ...]


def _columns() -> tuple[Sealed, ...]:
    bonds, codes, jobs, proofs = enrollment.enrollment.c, passcode.passcode.c, job.job.c, verification.verification.c
    letters, contacts = delivery.delivery.c, contact.contact.c
    people = account.account.c
    return (
        Sealed(letters.content, delivery.PURPOSE, (letters.organization_id, letters.id)),
        Sealed(bonds.memory, enrollment.PURPOSE, (bonds.organization_id, bonds.id)),
        Sealed(proofs.secret, verification.PURPOSE, (proofs.organization_id, proofs.account_id, proofs.id)),
        Sealed(contacts.address, contact.PURPOSE, (contacts.organization_id, contacts.id)),
        Sealed(jobs.plan, job.PLAN_PURPOSE, (jobs.organization_id, jobs.id)),
        Sealed(signing_key.signing_key.c.private, signing_key.PURPOSE, (signing_key.signing_key.c.id,)),
        Sealed(codes.sealed, passcode.PURPOSE, (codes.organization_id, codes.device_id, codes.job_id)),
        Sealed(people.person_key, person_key.PURPOSE, (people.id,)),
    )


SEALED: Final = _columns()


@dataclass(slots=True)
class Count:
    rewrapped: int = 0
    current: int = 0
    """Under the first key already."""
    broken: int = 0
    """Under no key that we have, or altered."""


async def rewrap(database: Database, keys: Keyring, at_once: int = AT_ONCE) -> Count:
    count = Count()
    for sealed in SEALED:
        after = None
        while True:
            rows = await _batch(database, keys, sealed, after, at_once, count)
            if len(rows) < at_once:
                break
            after = rows[-1].row_id
    return count


async def _batch(
    database: Database, keys: Keyring, sealed: Sealed, after: Any, at_once: int, count: Count
) -> list[sa.Row[Any]]:
    column, row_id = sealed.column, sealed.column.table.c.id
    owner = [one.label(f"owner_{n}") for n, one in enumerate(sealed.owner)]
    statement = (
        sa.select(row_id.label("row_id"), column.label("blob"), *owner)
        .where(column.is_not(None))
        .order_by(row_id)
        .limit(at_once)
    )
    if after is not None:
        statement = statement.where(row_id > after)
    async with database.write() as tx:
        rows = list((await tx.execute(statement)).all())
        for row in rows:
            if keys.is_current(row.blob):
                count.current += 1
                continue
            try:
                blob = keys.rewrap(row.blob, purpose=sealed.purpose, owner=tuple(row[2:]))
            except SealBroken:
                count.broken += 1
                continue
            # Whatever was sealed anew meanwhile is newer than what was read.
            newer = sa.update(column.table).where(row_id == row.row_id, column == row.blob)
            count.rewrapped += (await tx.execute(newer.values({column.name: blob}))).rowcount
    return rows


async def run(environ: Mapping[str, str]) -> int:
    keys = Keyring.from_settings(environ.get("SEAL_KEYS", ""))
    database = Database(DatabaseSettings.from_env(environ))
    await database.open()
    try:
        count = await rewrap(database, keys)
    finally:
        await database.close()
    sys.stdout.write(f"rewrapped={count.rewrapped} current={count.current} broken={count.broken}\n")
    if count.rewrapped == count.broken == 0:
        sys.stdout.write(f"nothing is left under another key than {keys.current}\n")
    return BROKEN if count.broken else DONE


def main(variables: Mapping[str, str]) -> int:
    try:
        return asyncio.run(run(resolve_files(variables)))
    except SettingsError as error:
        sys.stderr.write(f"cannot rewrap: {error}\n")
        return MISCONFIGURED


if __name__ == "__main__":
    raise SystemExit(main(os.environ))  # noqa: TID251 - this is a main
