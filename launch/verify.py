"""`python -m launch.verify`: is the record whole? One line per organization; exit 1 when one of them is not.

The line ends in the chain's head. Kept elsewhere and given back with `--anchor`, it shows whether the end was cut off.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import sqlalchemy as sa

from models import event
from models.database import Database, Transaction
from models.event import Verdict, event_seal
from models.organization import organization
from models.settings import DatabaseSettings, SettingsError, audit_key, resolve_files
from models.vocabulary import Secret

WHOLE, BROKEN, MISCONFIGURED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head as an earlier run printed it: ORGANIZATION:SEQ:MAC."""

    organization_id: UUID
    seq: int
    mac: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        organization_id, seq, mac = text.split(":")
        return cls(UUID(organization_id), int(seq), bytes.fromhex(mac))

    async def holds(self, tx: Transaction) -> bool:
        statement = sa.select(event_seal.c.mac).where(
            event_seal.c.organization_id == self.organization_id, event_seal.c.seq == self.seq
        )
        return (await tx.execute(statement)).scalar_one_or_none() == self.mac


def line(verdict: Verdict) -> str:
    state = "whole" if verdict.whole else "BROKEN"
    found = f"{state} sealed={verdict.sealed} unsealed={verdict.unsealed} overdue={verdict.overdue}"
    if verdict.first_bad_seq is not None:
        found += f" first_bad_seq={verdict.first_bad_seq}"
    return f"{found} head={verdict.organization_id}:{verdict.sealed}:{verdict.head.hex()}"


async def verify(database: Database, key: Secret, anchors: list[Anchor]) -> tuple[bool, list[str]]:
    """Walks every organization's chain; whether all is whole, and what to print."""
    lines: list[str] = []
    whole = True
    async with database.read() as tx:
        now = await tx.now()
        ids = list((await tx.execute(sa.select(organization.c.id).order_by(organization.c.id))).scalars())
        for organization_id in ids:
            verdict = await event.verify(tx, key, organization_id, now)
            whole &= verdict.whole
            lines.append(line(verdict))
        for anchor in anchors:
            if not await anchor.holds(tx):
                whole = False
                lines.append(f"BROKEN the chain of {anchor.organization_id} no longer has the head of seq {anchor.seq}")
    return whole, lines


async def run(environ: Mapping[str, str], anchors: list[Anchor]) -> int:
    database, key = Database(DatabaseSettings.from_env(environ)), audit_key(environ)
    await database.open()
    try:
        whole, lines = await verify(database, key, anchors)
    finally:
        await database.close()
    sys.stdout.write("".join(f"{one}\n" for one in lines))
    return WHOLE if whole else BROKEN


def main(arguments: list[str], variables: Mapping[str, str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m launch.verify", description="Check the audit chain.")
    parser.add_argument("--anchor", action="append", default=[], type=Anchor.parse, metavar="ORGANIZATION:SEQ:MAC")
    anchors = parser.parse_args(arguments).anchor
    try:
        return asyncio.run(run(resolve_files(variables), anchors))
    except SettingsError as error:
        sys.stderr.write(f"cannot verify: {error}\n")
        return MISCONFIGURED


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))  # noqa: TID251 - this is a main
