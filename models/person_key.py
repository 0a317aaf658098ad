"""The key of a person. What lasts longer than they do, the record above all, holds them sealed under it.

It stands in their account's row, itself sealed under the installation's keys. Erasing it there makes all of that
unreadable at once, and changes none of those rows: the chain of the record still fits (docs/decisions/0018).
An opened key lives as long as its transaction, so that none outlives its erasure in some process.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Self
from uuid import UUID

import sqlalchemy as sa

from models.account import account
from models.database import Transaction
from models.hot import Hot
from models.sealed import Key, Keyring

PURPOSE: Final = "person_key"

_WHOSE: Final = account.c.id == sa.bindparam("account")
_FIND: Final = Hot(sa.select(account.c.person_key, account.c.erased_at).where(_WHOSE))
# Once erased there is never another: what comes too late is not written down.
_GIVE: Final = Hot(
    sa.update(account)
    .where(_WHOSE, account.c.person_key.is_(None), account.c.erased_at.is_(None))
    .values(person_key=sa.bindparam("sealed", type_=sa.LargeBinary))
    .returning(account.c.person_key)
)


@dataclass(frozen=True, slots=True)
class PersonKey:
    """As it was read with something else of the person."""

    account_id: UUID
    sealed: bytes = field(repr=False)

    @classmethod
    def of(cls, account_id: UUID, row: Any) -> Self | None:
        """None: they have none yet, or none any more."""
        return None if row.person_key is None else cls(account_id, row.person_key)


def new(keys: Keyring, account_id: UUID) -> bytes:
    """As it stands in their account's row."""
    return keys.seal(Key.new(), purpose=PURPOSE, owner=(account_id,))


async def take(tx: Transaction, keys: Keyring, account_id: UUID, known: PersonKey | None = None) -> Key | None:
    """To seal something. The first time that anything of somebody is sealed, their key is made.

    None: nobody is there any more, or never was.
    """
    remembered = tx.remembered.get((PURPOSE, account_id))
    if remembered is not None:
        return _opened(remembered)
    if known is not None and known.account_id == account_id:
        return _remember(tx, keys, account_id, known.sealed)
    row = (await tx.ask(_FIND, {"account": account_id})).one_or_none()
    if row is None or row.erased_at is not None:
        return None
    if row.person_key is None:
        row = (await tx.ask(_GIVE, {"account": account_id, "sealed": new(keys, account_id)})).one_or_none()
        if row is None:  # another transaction was the first, or they were erased meanwhile
            row = (await tx.ask(_FIND, {"account": account_id})).one_or_none()
        if row is None or row.person_key is None:
            return None
    return _remember(tx, keys, account_id, row.person_key)


async def find(tx: Transaction, keys: Keyring, account_ids: Iterable[UUID]) -> dict[UUID, Key]:
    """To read what was sealed. Whoever was erased is not among them."""
    statement = sa.select(account.c.id, account.c.person_key).where(
        account.c.id.in_(sorted(set(account_ids))), account.c.person_key.is_not(None)
    )
    return {row.id: _remember(tx, keys, row.id, row.person_key) for row in await tx.execute(statement)}


def _remember(tx: Transaction, keys: Keyring, account_id: UUID, sealed: bytes) -> Key:
    key = Key.of(keys.open(sealed, purpose=PURPOSE, owner=(account_id,)))
    tx.remembered[PURPOSE, account_id] = key
    return key


def _opened(remembered: Any) -> Key:
    key: Key = remembered
    return key
