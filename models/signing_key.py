"""The keys that sign what the house says to others. They belong to the installation.

A key is published before it signs, and stays published until the last token that it signed is over: whoever checks
such a token has had the time to fetch it. The private half is sealed; the public one is a JWK (RFC 7517).
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from models.base import Id, Json, Moment, metadata
from models.database import Transaction
from models.sealed import Keyring
from models.vocabulary import Secret, new_id

signing_key = sa.Table(
    "signing_key",
    metadata,
    sa.Column("id", Id, primary_key=True, comment="the kid"),
    sa.Column("serial", sa.Integer, nullable=False, unique=True, comment="two that are made at once are one"),
    sa.Column("public", Json, nullable=False, comment="a JWK"),
    sa.Column("private", sa.LargeBinary, nullable=False, comment="sealed"),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("signs_from", Moment, nullable=False),
    comment="of the installation, not of an organization",
)

PURPOSE: Final = "signing_key"
ALGORITHM: Final = "ES256"
LIFE: Final = timedelta(days=90)
"""How long a key signs before the next is made."""
AHEAD: Final = timedelta(hours=1)
"""A new key is published for so long before it signs: well above the time that its readers may keep what they read."""
READERS_KEEP: Final = timedelta(minutes=5)
AFTER: Final = timedelta(hours=1)
"""An old key is published for so long after it signed its last: above the life of a token, and a clock that is off."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    id: UUID
    serial: int
    public: Mapping[str, str]
    private: bytes = field(repr=False)
    created_at: datetime
    signs_from: datetime

    @classmethod
    def of(cls, row: Any) -> "SigningKey":
        return cls(
            id=row.id,
            serial=row.serial,
            public=row.public,
            private=row.private,
            created_at=row.created_at,
            signs_from=row.signs_from,
        )

    def open(self, keys: Keyring) -> ec.EllipticCurvePrivateKey:
        der = keys.open(self.private, purpose=PURPOSE, owner=(self.id,))
        key = load_der_private_key(der.value, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("a signing key of another kind")
        return key


async def page(tx: Transaction) -> list[SigningKey]:
    """Newest first. There are a few at most."""
    rows = await tx.execute(sa.select(signing_key).order_by(signing_key.c.serial.desc()))
    return [SigningKey.of(row) for row in rows]


def that_signs(known: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """Of all, newest first. None: there is none yet."""
    return next((one for one in known if one.signs_from <= now), None)


def published(known: Sequence[SigningKey], now: datetime) -> list[SigningKey]:
    """Of all, newest first: those to come, the one that signs, and those whose tokens may still be about."""
    over = [one for one in known if one.signs_from <= now - AFTER]
    # The newest of these has signed until less than that ago, or signs still.
    return [one for one in known if one not in over[1:]]


async def make(tx: Transaction, keys: Keyring, known: Sequence[SigningKey], now: datetime) -> bool:
    """The next key. False: somebody else has made it meanwhile."""
    serial = known[0].serial + 1 if known else 1
    private = ec.generate_private_key(ec.SECP256R1())
    key_id = new_id(now)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    numbers = private.public_key().public_numbers()
    public = {
        "kty": "EC",
        "crv": "P-256",
        "use": "sig",
        "alg": ALGORITHM,
        "kid": str(key_id),
        "x": _text(numbers.x.to_bytes(32)),
        "y": _text(numbers.y.to_bytes(32)),
    }
    values = {
        "id": key_id,
        "serial": serial,
        "public": public,
        "private": keys.seal(Secret(der), purpose=PURPOSE, owner=(key_id,)),
        "created_at": now,
        # The first of all has nobody before it: whoever reads has read nothing yet.
        "signs_from": now + AHEAD if known else now,
    }
    new = tx.insert(signing_key).values(**values).on_conflict_do_nothing(index_elements=["serial"])
    return (await tx.execute(new.returning(signing_key.c.id))).first() is not None


async def rotate(tx: Transaction, keys: Keyring, now: datetime, *, at_once: bool = False) -> bool:
    """Make the next key where it is time, or where somebody wants it; whether one was made.

    `at_once`: it is published now, and still signs no earlier than any other. While one is on its way, that is it.
    """
    known = await page(tx)
    if known and known[0].signs_from > now:
        return False
    if not at_once and known and now < known[0].signs_from + LIFE:
        return False
    return await make(tx, keys, known, now)


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Keys that are published no more."""
    known = await page(tx)
    kept = {one.id for one in published(known, now)}
    gone = [one.id for one in known if one.id not in kept][:limit]
    if not gone:
        return 0
    return (await tx.execute(sa.delete(signing_key).where(signing_key.c.id.in_(gone)))).rowcount


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
