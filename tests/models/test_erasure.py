"""What becomes of each table when its time is over, and when the person whom it speaks of is erased."""

import pkgutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final
from uuid import UUID

import pytest
import sqlalchemy as sa

import models
from models import erasure
from models.account import account
from models.base import Id, Json, Moment, metadata
from models.database import Database
from models.erasure import KEPT
from models.sealed import Keyring
from models.settings import ACCOUNT_KEPT
from models.vocabulary import new_id
from tests.clock import Clock
from tests.people import found, hire, welcome

for _module in pkgutil.iter_modules(models.__path__, "models."):
    if not _module.ispkg:
        import_module(_module.name)  # whatever another test did not load is asked, too


def test_of_every_table_it_is_told_how_long_it_is_kept_and_what_erasing_a_person_does_to_it() -> None:
    """A new table has its line in models/erasure.py, and a new column too, wherever rows outlive their person; and no
    line speaks of what is not there."""
    assert set(KEPT) == set(metadata.tables)

    for name, table in metadata.tables.items():
        told = [column for columns in KEPT[name].stays for column in columns.split()]
        assert sorted(told) == ([] if KEPT[name].goes else sorted(column.name for column in table.columns)), name


# Each table, seeded and erased

NEEDLE: Final = "anna wiederhold"
THERE: Final = {"organization", "account", "membership", "event", "event_seal"}
"""Which the people of the test have anyway, or which are held by tests of their own."""
HOME_ALONE: Final = {
    *("photo", "profile", "contact", "passkey", "passkey_handle", "verification", "access_pass", "recovery_code"),
    *("browser", "password_history", "reset_link", "sign_in", "sheet", "sheet_part", "sheet_row"),
    *("former_membership", "bygone"),
}
"""Nobody has these where they are a guest."""
MEANT: Final[Mapping[str, Mapping[str, Any]]] = {
    "device": {"state": "left", "platform": "pocket", "ownership": "corporate"},
    "job": {"state": "succeeded", "kind": "remote_lock"},
    "session": {"state": "ended"},
    "approval": {"state": "refused", "act": "wipe"},
    "delivery": {"state": "sent"},
    "enrollment": {"state": "left", "platform": "pocket"},
    "terms_signer": {"erased_at": None},
}
"""What is read by its meaning on the way."""
NOBODYS: Final = {name for name, table in metadata.tables.items() if "account_id" not in table.c} - {"enrollment"}
BY_ITSELF: Final = {name for name, kept in KEPT.items() if "goes by itself" in " ".join(kept.stays.values())}


def seeded(table: sa.Table, given: Mapping[str, Mapping[str, Any]], now: datetime) -> dict[str, Any]:
    """A row in which every text says who it is."""
    row: dict[str, Any] = {}
    for column in table.columns:
        parent = next(iter(column.foreign_keys), None)
        if column.name in MEANT.get(table.name, {}):
            row[column.name] = MEANT[table.name][column.name]
        elif parent is not None:
            row[column.name] = given[parent.column.table.name][parent.column.name]
        elif column.name in {"account_id", "organization_id"}:
            row[column.name] = given[column.name.removesuffix("_id")]["id"]
        else:
            row[column.name] = _value(column.type, now)
    return row


def _value(kind: sa.types.TypeEngine[Any], now: datetime) -> Any:
    unlike = new_id(now)
    if isinstance(kind, Id):
        return unlike
    if isinstance(kind, Moment):
        return now
    if isinstance(kind, Json):
        return [NEEDLE]
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, sa.Integer):
        return 1
    return f"{NEEDLE} {unlike}".encode() if isinstance(kind, sa.LargeBinary) else f"{NEEDLE} {unlike}"


async def seed(db: Database, account_id: UUID, place: UUID, now: datetime, *, without: set[str]) -> dict[str, Any]:
    """One row of each table, by its name."""
    given: dict[str, Any] = {"organization": {"id": place}, "account": {"id": account_id}}
    async with db.write() as tx:
        for table in metadata.sorted_tables:
            if table.name not in without:
                given[table.name] = seeded(table, given, now)
                await tx.execute(sa.insert(table).values(**given[table.name]))
    return given


def _is(table: sa.Table, row: Mapping[str, Any]) -> sa.ColumnElement[bool]:
    return sa.and_(*(column == row[column.name] for column in table.primary_key))


@pytest.mark.parametrize("where", ["at home", "as a guest", "left", "left long ago"])
async def test_of_every_table_a_row_is_erased_wherever_it_is(
    database: Database, clock: Clock, keys: Keyring, where: str
) -> None:
    home = await found(database, clock.now)
    anna = await hire(database, home, "anna", clock.now)
    place, without = home, {*THERE, "bygone"}
    if where != "at home":
        place, without = await found(database, clock.now, name="Beta"), THERE | HOME_ALONE
        if where == "as a guest":
            await welcome(database, place, anna, clock.now)
        else:
            without = without - {"former_membership" if where == "left" else "bygone"}
    rows = await seed(database, anna.id, place, clock.now, without=without)
    gone = clock.now - ACCOUNT_KEPT - timedelta(seconds=1)
    async with database.write() as tx:
        mine = sa.update(account).where(account.c.id == anna.id)
        await tx.execute(mine.values(deleted_at=gone, blocked_at=gone))

    async with database.write() as tx:
        assert await erasure.erase(tx, anna.id, keys=keys, limit=1_000)

    async with database.read() as tx:
        for table in metadata.sorted_tables:
            if table.name in without:
                continue
            left = (await tx.execute(sa.select(table).where(_is(table, rows[table.name])))).one_or_none()
            assert (left is None) == KEPT[table.name].goes, table.name
            if left is None or table.name in NOBODYS | BY_ITSELF:
                continue
            said = [name for name, value in left._mapping.items() if NEEDLE in _spelled(value)]
            assert set(said) <= _NOT_THEIRS.get(table.name, set()), table.name


_NOT_THEIRS: Final = {"terms_acceptance": {"language", "sha256"}}
"""What is no word of theirs, whatever the test wrote there."""


def _spelled(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
