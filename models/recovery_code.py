"""Saved codes for the day on which the phone is gone: ten, each once, kept as hashes that cost what a password's cost.

A code is told with its number, so that one try is one hash to compare.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata
from models.database import Transaction

recovery_code = sa.Table(
    "recovery_code",
    metadata,
    sa.Column("verification_id", Id, sa.ForeignKey("verification.id"), primary_key=True),
    sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("used_at", Moment, nullable=True),
)

HOW_MANY: Final = 10
FEW: Final = 3
"""So many left, and the person is warned."""
ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 signs, none like another: 5 bits each."""
_GROUPS, _GROUP = 4, 4
"""80 bits; 64 is the least (NIST SP 800-63B-4, 3.1.2.1)."""
_TYPED: Final = re.compile(r"\s*(\d{1,2})[\s.:-]+(.{1,60})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed, as far as it can be a code at all."""

    number: int
    secret: str = field(repr=False)


def invent(groups: int = _GROUPS) -> str:
    """A code that is read aloud and typed without a mistake."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(_GROUP)) for _ in range(groups))


def plain(code: str) -> str:
    """What is hashed: however it was grouped and in whatever case it was typed."""
    return re.sub(r"[\s-]", "", code).upper()


def read(text: str) -> Typed | None:
    found = _TYPED.fullmatch(text)
    return None if found is None or not found[1].isascii() else Typed(int(found[1]), plain(found[2]))


async def keep(tx: Transaction, *, verification_id: UUID, organization_id: UUID, hashes: Mapping[int, str]) -> None:
    """These, and no others any more."""
    await forget(tx, verification_id)
    same = {"verification_id": verification_id, "organization_id": organization_id}
    await tx.execute(sa.insert(recovery_code), [{**same, "number": n, "hash": h} for n, h in hashes.items()])


async def forget(tx: Transaction, verification_id: UUID) -> None:
    await tx.execute(sa.delete(recovery_code).where(recovery_code.c.verification_id == verification_id))


async def hash_of(tx: Transaction, verification_id: UUID, number: int) -> str | None:
    """None: there is none of that number, or it was used."""
    statement = sa.select(recovery_code.c.hash).where(
        recovery_code.c.verification_id == verification_id,
        recovery_code.c.number == number,
        recovery_code.c.used_at.is_(None),
    )
    found: str | None = (await tx.execute(statement)).scalar_one_or_none()
    return found


async def use(tx: Transaction, verification_id: UUID, compared: str, now: datetime) -> bool:
    """Once. False: it was used meanwhile, or all were made anew."""
    statement = (
        sa.update(recovery_code)
        .where(
            recovery_code.c.verification_id == verification_id,
            recovery_code.c.hash == compared,
            recovery_code.c.used_at.is_(None),
        )
        .values(used_at=now)
    )
    return (await tx.execute(statement)).rowcount == 1


async def left(tx: Transaction, verification_id: UUID) -> int:
    statement = sa.select(sa.func.count()).where(
        recovery_code.c.verification_id == verification_id, recovery_code.c.used_at.is_(None)
    )
    return int((await tx.execute(statement)).scalar_one())
