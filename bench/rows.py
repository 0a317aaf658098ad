"""Rows put straight into the tables, as many as a figure needs: COPY on PostgreSQL, one executemany on SQLite."""

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final
from uuid import UUID

import psycopg
import sqlalchemy as sa

from models import person_key
from models.account import account
from models.base import Json, Moment
from models.device import device
from models.enrollment import enrollment
from models.job import job
from models.notification import notification
from models.organization import membership, organization
from models.re_sign_in import re_sign_in
from models.sealed import Keyring
from models.session import hash_token, session
from models.vocabulary import EPOCH, new_id

Encode = Callable[[Any], Any]
Row = Sequence[Any]

BATCH: Final = 5_000
NONE: Final[list[str]] = []


def _escaped(text: Any) -> str:
    return str(text).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _copied(column: sa.Column[Any]) -> Encode:
    match column.type:
        case sa.Uuid():
            return lambda value: value.hex
        case Moment():
            return datetime.isoformat
        case Json():
            return lambda value: _escaped(json.dumps(value))
        case sa.LargeBinary():
            return lambda value: "\\\\x" + value.hex()
        case _:
            return _escaped


def _bound(column: sa.Column[Any]) -> Encode:
    match column.type:
        case sa.Uuid():
            return lambda value: value.hex
        case Moment():
            return lambda value: (value - EPOCH) // timedelta(microseconds=1)
        case Json():
            return json.dumps
        case _:
            return lambda value: value


@dataclass(frozen=True, slots=True)
class Loader:
    """Foreign keys and triggers do not look: what is loaded fits."""

    url: str

    def load(self, table: sa.Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
        chosen = [table.c[name] for name in columns]
        if self.url.startswith("sqlite"):
            self._into_sqlite(table, chosen, rows)
        else:
            self._into_postgresql(table, chosen, rows)

    def _into_sqlite(self, table: sa.Table, columns: Sequence[sa.Column[Any]], rows: Iterable[Row]) -> None:
        encode = [_bound(column) for column in columns]
        names, marks = ", ".join(column.name for column in columns), ", ".join("?" * len(columns))
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30)) as file, file:
            file.executemany(
                f"INSERT INTO {table.name} ({names}) VALUES ({marks})",  # noqa: S608 - our own names
                (_encoded(row, encode, None) for row in rows),
            )

    def _into_postgresql(self, table: sa.Table, columns: Sequence[sa.Column[Any]], rows: Iterable[Row]) -> None:
        encode = [_copied(column) for column in columns]
        names = ", ".join(f'"{column.name}"' for column in columns)
        with psycopg.connect(self.url) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            with connection.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN".encode()) as copy:
                for some in _batches(rows):
                    copy.write("".join("\t".join(_encoded(row, encode, "\\N")) + "\n" for row in some))

    def rest(self) -> None:
        """What PostgreSQL does by itself within minutes of so many rows is done now, and not amid a measure."""
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            self.run(statement)

    def run(self, statement: str) -> None:
        """One statement of SQL that both databases read."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30)) as file, file:
                file.execute(statement)
        else:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute(statement.encode())


def _encoded(row: Row, encode: Sequence[Encode], nothing: Any) -> list[Any]:
    return [nothing if value is None else put(value) for put, value in zip(encode, row, strict=True)]


def _batches(rows: Iterable[Row]) -> Iterable[Sequence[Row]]:
    waiting = iter(rows)
    while some := list(islice(waiting, BATCH)):
        yield some


@dataclass(frozen=True, slots=True)
class Person:
    """Signed in, with one phone."""

    id: UUID
    session_id: UUID
    token: str
    device_id: UUID
    bond_id: UUID


@dataclass(frozen=True, slots=True)
class Bonded:
    """What a phone that really speaks is known by; `memory` is sealed already."""

    address: str
    certificate_hash: bytes
    memory: bytes


def found(loader: Loader, now: datetime) -> UUID:
    organization_id = new_id(now)
    loader.load(organization, ("id", "name", "settings", "created_at"), [(organization_id, "Measured Ltd", {}, now)])
    return organization_id


def invent(count: int, now: datetime) -> list[Person]:
    return [Person(new_id(now), new_id(now), secrets.token_urlsafe(32), new_id(now), new_id(now)) for _ in range(count)]


def hire(
    loader: Loader,
    organization_id: UUID,
    people: Sequence[Person],
    now: datetime,
    password_hash: str | None = None,
    keys: Keyring | None = None,
) -> None:
    """Accounts that belong here, each signed in once; with `keys`, so that the record knows them as by a sign-in."""
    loader.load(
        account,
        (
            *("id", "organization_id", "sign_in_name", "display_name", "looked_up_as"),
            *("language", "created_at", "password_hash", "person_key"),
        ),
        (
            (*(one.id, organization_id, one.id.hex, "Somebody", "somebody", "en", now, password_hash), key)
            for one in people
            for key in [None if keys is None else person_key.new(keys, one.id)]
        ),
    )
    loader.load(
        membership,
        ("organization_id", "account_id", "id", "roles", "created_at"),
        # An id of its own for each: the account's will do.
        ((organization_id, one.id, one.id, NONE, now) for one in people),
    )
    sign_in(loader, organization_id, ((one.session_id, one.id, one.token) for one in people), now)


def sign_in(loader: Loader, organization_id: UUID, who: Iterable[tuple[UUID, UUID, str]], now: datetime) -> None:
    """`who`: session, account and token."""
    columns = ("id", "organization_id", "account_id", "state", "token_hash", "generation", "strength", "methods")
    shown = ("method_ids", "signed_in_at", "proven_at", "proven_strength")
    loader.load(
        session,
        (*columns, *shown, "used_at", "idle_at", "expires_at", "address", "client"),
        (
            (
                id_,
                organization_id,
                account_id,
                "signed_in",
                hash_token(token),
                0,
                1,
                ["password"],
                NONE,
                now,
                now,
                1,
                now,
                now + timedelta(minutes=30),
                now + timedelta(hours=12),
                "127.0.0.1",
                "bench",
            )
            for id_, account_id, token in who
        ),
    )


DEVICE_COLUMNS: Final = ("id", "organization_id", "account_id", "name", "platform", "ownership", "state")


def equip(
    loader: Loader,
    organization_id: UUID,
    people: Sequence[Person],
    bonded: Sequence[Bonded],
    now: datetime,
    first: timedelta = timedelta(0),
) -> None:
    """A phone each, enrolled; last seen just now."""
    loader.load(
        device,
        (*DEVICE_COLUMNS, "os_version", "model", "last_seen_at", "created_at"),
        (
            (
                one.device_id,
                organization_id,
                one.id,
                "iPhone",
                "ios",
                "corporate",
                "active",
                "18.6",
                "iPhone14,5",
                now,
                now - first,
            )
            for one in people
        ),
    )
    columns = ("id", "organization_id", "device_id", "platform", "state", "address", "certificate_hash", "memory")
    traits = {"unlock_token": "yes", "enrolled_by_person": "no"}
    loader.load(
        enrollment,
        (*columns, "traits", "created_at", "enrolled_at"),
        (
            (
                one.bond_id,
                organization_id,
                one.device_id,
                "ios",
                "enrolled",
                bond.address,
                bond.certificate_hash,
                bond.memory,
                traits,
                now,
                now,
            )
            for one, bond in zip(people, bonded, strict=True)
        ),
    )


def strangers(count: int) -> list[Bonded]:
    """Bonds of phones that never speak: as large as real ones, and nothing opens them."""
    return [Bonded(f"0000-{secrets.token_hex(8)}", os.urandom(32), os.urandom(2_000)) for _ in range(count)]


def open_windows(loader: Loader, organization_id: UUID, people: Sequence[Person], now: datetime) -> None:
    """Each has just proven, in their session, that it is them who resets that phone."""
    columns = ("id", "organization_id", "account_id", "device_id", "act", "state", "token_hash")
    loader.load(
        re_sign_in,
        (*columns, "session_id", "opened_at", "proven_at", "due_at"),
        (
            (
                new_id(now),
                organization_id,
                one.id,
                one.device_id,
                "reset_passcode",
                "proven",
                os.urandom(32),
                one.session_id,
                now,
                now,
                now + timedelta(seconds=300),
            )
            for one in people
        ),
    )


JOB_COLUMNS: Final = ("id", "organization_id", "account_id", "device_id", "kind", "queue", "state", "moves")


def ask(loader: Loader, organization_id: UUID, people: Sequence[Person], now: datetime) -> list[UUID]:
    """A passcode reset each, queued; nobody has rung."""
    ids = [new_id(now) for _ in people]
    later = now + timedelta(hours=24)
    loader.load(
        job,
        (*JOB_COLUMNS, "available_at", "due_at", "idempotency_key", "request_hash", "created_at", "expires_at"),
        (
            (
                id_,
                organization_id,
                one.id,
                one.device_id,
                "reset_passcode",
                "interactive",
                "queued",
                1,
                now,
                later,
                id_.hex,
                hashlib.sha256(id_.bytes).digest(),
                now,
                later,
            )
            for id_, one in zip(ids, people, strict=True)
        ),
    )
    return ids


def plan(
    loader: Loader, organization_id: UUID, people: Sequence[Person], plans: Sequence[tuple[UUID, bytes]], now: datetime
) -> None:
    """A passcode reset each that waits for its phone; `plans`: the job's id and its sealed plan."""
    later = now + timedelta(hours=24)
    columns = (*JOB_COLUMNS, "attempt", "wakes", "available_at", "due_at", "command_ref", "plan", "created_at")
    loader.load(
        job,
        (*columns, "expires_at"),
        (
            (
                id_,
                organization_id,
                one.id,
                one.device_id,
                "reset_passcode",
                "interactive",
                "waiting",
                2,
                1,
                1,
                later,
                later,
                str(id_),
                sealed,
                now,
                later,
            )
            for (id_, sealed), one in zip(plans, people, strict=True)
        ),
    )


def history(loader: Loader, organization_id: UUID, people: Sequence[Person], each: int, now: datetime) -> None:
    """Devices, ended jobs and notifications: `each` of all three for everybody, told long ago to just now."""
    columns = (*DEVICE_COLUMNS, "last_seen_at", "created_at")
    devices = [[new_id(now) for _ in range(each)] for _ in people]
    loader.load(
        device,
        columns,
        (
            (id_, organization_id, one.id, "iPhone", "ios", "corporate", "active", now, now)
            for one, theirs in zip(people, devices, strict=True)
            for id_ in theirs
        ),
    )
    # Ids sort by time: everybody's first job is older than anybody's second, so that no one's rows lie together.
    jobs = [[new_id(now - timedelta(hours=each - n)) for _ in people] for n in range(each)]
    loader.load(
        job,
        (*JOB_COLUMNS, "available_at", "created_at", "ended_at"),
        (
            (
                jobs[n][p],
                organization_id,
                one.id,
                devices[p][n],
                "reset_passcode",
                "interactive",
                "succeeded",
                4,
                now,
                now - timedelta(hours=each - n),
                now,
            )
            for n in range(each)
            for p, one in enumerate(people)
        ),
    )
    lines = ("id", "organization_id", "account_id", "seq", "subject_id", "job_id", "device_id", "key", "params")
    loader.load(
        notification,
        (*lines, "severity", "version", "created_at", "expires_at"),
        (
            (
                new_id(now),
                organization_id,
                one.id,
                n + 1,
                jobs[n][p],
                jobs[n][p],
                devices[p][n],
                "ios.passcode.removed",
                {"device": "iPhone"},
                "success",
                1,
                now,
                now + timedelta(days=30),
            )
            for n in range(each)
            for p, one in enumerate(people)
        ),
    )
    loader.run(f"UPDATE account SET notification_seq = {each}")  # noqa: S608 - a number of ours
