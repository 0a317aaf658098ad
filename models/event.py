"""The line for the record: who did what to whom, how it ended. Insert-only, in the transaction of its change.

The chain is a second insert-only table: the tick seals events that have no seal, an organization's one after the
other, each `mac = HMAC-SHA256(key, previous mac | the event in canonical form)`. No request waits for another's
chain. What is altered, dropped, reordered or inserted behind the chain's back no longer fits its mac.

What says something of a person beyond their id is sealed under that person's own key (models/person_key.py), and the
chain is made over it as it is sealed: once the key is erased nobody reads it, and every mac still fits.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa

from models import person_key
from models.base import Id, Json, Moment, metadata
from models.database import Transaction
from models.hot import Hot
from models.person_key import PersonKey
from models.sealed import Key, Keyring, SealBroken
from models.vocabulary import EPOCH, Secret, new_id

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("action", sa.Text, nullable=False, comment="source:subject:verb"),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("actor_kind", sa.Text, nullable=False),
    sa.Column("actor_id", Id, nullable=True),
    sa.Column("account_id", Id, nullable=True, comment="whose record this is"),
    sa.Column("subject_kind", sa.Text, nullable=True),
    sa.Column("subject_id", Id, nullable=True),
    sa.Column("session_id", Id, nullable=True),
    sa.Column("request_id", sa.Text, nullable=True),
    sa.Column("origin", sa.LargeBinary, nullable=True, comment="from where; sealed under the key of whoever acted"),
    sa.Column("private", sa.LargeBinary, nullable=True, comment="facts sealed under the key of whose record this is"),
    sa.Column("facts", Json, nullable=False, comment="by allow-list; never a secret, and nothing of a person but ids"),
    sa.Column("schema_version", sa.SmallInteger, nullable=False),
    sa.Index("ix_event_account", "organization_id", "account_id", "id"),
)

event_seal = sa.Table(
    "event_seal",
    metadata,
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("event_id", Id, nullable=False, unique=True),
    sa.Column("mac", sa.LargeBinary, nullable=False),
)


def insert_only(table: str, dialect: str) -> tuple[str, ...]:
    """What makes the database itself refuse to change or drop a row, as it refuses a broken foreign key."""
    if dialect == "sqlite":
        return tuple(
            f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} is insert-only'); END"
            for what in ("UPDATE", "DELETE")
        )
    return (
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE restrict_violation USING MESSAGE = TG_TABLE_NAME || ' is insert-only'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    )


def keep_insert_only(table: sa.Table, connection: sa.Connection, **_: Any) -> None:
    """For a table's `after_create`."""
    for statement in insert_only(table.name, connection.dialect.name):
        connection.exec_driver_sql(statement)


for _table in (event, event_seal):
    sa.event.listen(_table, "after_create", keep_insert_only)

SCHEMA_VERSION: Final = 1
_WORD: Final = re.compile(r"[a-z0-9_.]+")
SETTLED: Final = timedelta(seconds=10)
"""An event older than this without a seal means the sealing stands still."""
LONGEST_TRANSACTION: Final = timedelta(seconds=60)
"""No transaction of ours lives longer, so nothing with an older `at` can still appear."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, from where: handed to every operation that leaves a record."""

    kind: str
    id: UUID | None = None
    session_id: UUID | None = None
    request_id: str | None = None
    address: str | None = None
    client: str | None = None
    keys: Keyring | None = field(default=None, repr=False, compare=False)
    """What their address and client are sealed with: whoever has one of them has this."""
    person_key: PersonKey | None = field(default=None, repr=False, compare=False)
    """Theirs, where it came with what was read of them anyway."""


WORKER: Final = Actor("worker")
SWEEP: Final = Actor("sweep")


def device_actor(device_id: UUID, request_id: str | None = None) -> Actor:
    return Actor("device", device_id, request_id=request_id)


_INSERT: Final = Hot(sa.insert(event))


async def record(
    tx: Transaction,
    *,
    organization_id: UUID,
    action: str,
    actor: Actor,
    now: datetime,
    outcome: str = "success",
    reason: str | None = None,
    account_id: UUID | None = None,
    subject: tuple[str, UUID] | None = None,
    facts: Mapping[str, Any] | None = None,
    private: Mapping[str, Any] | None = None,
) -> None:
    """`private`: facts that are a person's own, somebody's words for instance; `reason` among them is why.

    A `reason` that is no word of ours is taken for somebody's, where it comes from a person.
    """
    event_id = new_id(now)
    if reason is not None and actor.keys is not None and not _WORD.fullmatch(reason):
        private, reason = {**(private or {}), "reason": reason}, None
    seen = {name: said for name, said in (("address", actor.address), ("client", actor.client)) if said is not None}
    values = {
        "id": event_id,
        "organization_id": organization_id,
        "at": now,
        "action": action,
        "outcome": outcome,
        "reason": reason,
        "actor_kind": actor.kind,
        "actor_id": actor.id,
        "account_id": account_id,
        "subject_kind": None if subject is None else subject[0],
        "subject_id": None if subject is None else subject[1],
        "session_id": actor.session_id,
        "request_id": actor.request_id,
        "origin": await _sealed(tx, actor, _who_acted(actor.kind, actor.id, account_id), "origin", event_id, seen),
        "private": await _sealed(tx, actor, _whose(actor.kind, actor.id, account_id), "private", event_id, private),
        "facts": dict(facts or {}),
        "schema_version": SCHEMA_VERSION,
    }
    tx.later(_INSERT, values)


def _who_acted(kind: str, actor_id: UUID | None, account_id: UUID | None) -> UUID | None:
    """Whose key hides from where it was. What a stranger did to somebody goes with that somebody."""
    return (actor_id if kind == "account" else None) or account_id


def _whose(kind: str, actor_id: UUID | None, account_id: UUID | None) -> UUID | None:
    """Whose key hides what was said: theirs whom it is about, else of whoever said it."""
    return account_id or (actor_id if kind == "account" else None)


async def _sealed(
    tx: Transaction, actor: Actor, whose: UUID | None, purpose: str, event_id: UUID, said: Mapping[str, Any] | None
) -> bytes | None:
    """None: there is nothing to say, or nobody who could be erased from it later, so that it is not kept at all."""
    if not said or whose is None:
        return None
    if actor.keys is None:
        raise RuntimeError("what a person is known by is not written down in the clear")
    key = await person_key.take(tx, actor.keys, whose, actor.person_key)
    return None if key is None else key.seal(msgspec.json.encode(said), purpose=f"event.{purpose}", owner=(event_id,))


def canonical(row: Any) -> bytes:
    """The bytes that are sealed: every column, in one order, in one spelling on every database."""
    values = [
        row.id.hex,
        row.organization_id.hex,
        (row.at - EPOCH) // timedelta(microseconds=1),
        row.action,
        row.outcome,
        row.reason,
        row.actor_kind,
        None if row.actor_id is None else row.actor_id.hex,
        None if row.account_id is None else row.account_id.hex,
        row.subject_kind,
        None if row.subject_id is None else row.subject_id.hex,
        None if row.session_id is None else row.session_id.hex,
        row.request_id,
        None if row.origin is None else row.origin.hex(),
        None if row.private is None else row.private.hex(),
        row.facts,
        row.schema_version,
    ]
    return msgspec.json.encode(values, order="sorted")


def mac_of(key: Secret, previous: bytes, seq: int, canonical_event: bytes) -> bytes:
    return hmac.new(key.value, previous + seq.to_bytes(8) + canonical_event, hashlib.sha256).digest()


GENESIS: Final = bytes(32)


async def _head(tx: Transaction, organization_id: UUID) -> tuple[int, bytes]:
    statement = (
        sa.select(event_seal.c.seq, event_seal.c.mac)
        .where(event_seal.c.organization_id == organization_id)
        .order_by(event_seal.c.seq.desc())
        .limit(1)
    )
    row = (await tx.execute(statement)).one_or_none()
    return (0, GENESIS) if row is None else (row.seq, row.mac)


def _unsealed(since: datetime | None) -> sa.Select[Any]:
    statement = (
        sa.select(event)
        .outerjoin(event_seal, event_seal.c.event_id == event.c.id)
        .where(event_seal.c.event_id.is_(None))
        .order_by(event.c.at, event.c.id)
    )
    return statement if since is None else statement.where(event.c.at >= since)


async def seal(tx: Transaction, key: Secret, since: datetime | None, limit: int) -> tuple[int, datetime | None]:
    """Seal what has none; how many, and the `at` of the last. Only one caller at a time: whoever holds the tick lease.

    `since` bounds the look back to what can still have appeared; None looks at everything (after a start).
    """
    rows = (await tx.execute(_unsealed(since).limit(limit))).all()
    heads: dict[UUID, tuple[int, bytes]] = {}
    seals = []
    for row in rows:
        if row.organization_id not in heads:
            heads[row.organization_id] = await _head(tx, row.organization_id)
        seq, previous = heads[row.organization_id]
        mac = mac_of(key, previous, seq + 1, canonical(row))
        heads[row.organization_id] = seq + 1, mac
        seals.append({"organization_id": row.organization_id, "seq": seq + 1, "event_id": row.id, "mac": mac})
    if seals:
        await tx.execute(sa.insert(event_seal), seals)
    return len(seals), rows[-1].at if rows else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk along one organization's chain found."""

    organization_id: UUID
    sealed: int
    first_bad_seq: int | None
    unsealed: int
    overdue: int
    head: bytes

    @property
    def whole(self) -> bool:
        return self.first_bad_seq is None and self.overdue == 0


async def verify(tx: Transaction, key: Secret, organization_id: UUID, now: datetime, batch: int = 1000) -> Verdict:
    """Walk the chain from its beginning, in batches. The first seal that does not fit is named."""
    seq, previous = 0, GENESIS
    bad: int | None = None
    while bad is None:
        statement = (
            sa.select(event_seal.c.seq, event_seal.c.mac, event_seal.c.event_id.label("sealed_id"), event)
            .outerjoin(event, event.c.id == event_seal.c.event_id)
            .where(event_seal.c.organization_id == organization_id, event_seal.c.seq > seq)
            .order_by(event_seal.c.seq)
            .limit(batch)
        )
        rows = (await tx.execute(statement)).all()
        for row in rows:
            fits = (
                row.seq == seq + 1
                and row.id is not None
                and hmac.compare_digest(mac_of(key, previous, row.seq, canonical(row)), row.mac)
            )
            if not fits:
                bad = seq + 1
                break
            seq, previous = row.seq, row.mac
        if len(rows) < batch:
            break
    missing = _unsealed(None).where(event.c.organization_id == organization_id).order_by(None).subquery()
    counted = sa.select(
        sa.func.count().label("unsealed"),
        sa.func.count(sa.case((missing.c.at < now - SETTLED, 1))).label("overdue"),
    ).select_from(missing)
    row = (await tx.execute(counted)).one()
    return Verdict(organization_id, seq, bad, row.unsealed, row.overdue, previous)


@dataclass(frozen=True, slots=True)
class Line:
    """An event with what of it can still be read."""

    row: Any
    address: str | None = None
    client: str | None = None
    private: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        reason: str | None = self.private.get("reason", self.row.reason)
        return reason

    @property
    def facts(self) -> dict[str, Any]:
        return {**self.row.facts, **{name: said for name, said in self.private.items() if name != "reason"}}


async def opened(tx: Transaction, keys: Keyring, rows: Sequence[Any]) -> list[Line]:
    """What was erased is left out."""
    whose = {
        row.id: (
            _who_acted(row.actor_kind, row.actor_id, row.account_id),
            _whose(row.actor_kind, row.actor_id, row.account_id),
        )
        for row in rows
    }
    known = await person_key.find(tx, keys, (one for both in whose.values() for one in both if one is not None))
    lines = []
    for row in rows:
        acted, concerned = whose[row.id]
        origin = _open(known.get(acted) if acted else None, row.origin, "origin", row.id)
        private = _open(known.get(concerned) if concerned else None, row.private, "private", row.id)
        lines.append(Line(row, origin.get("address"), origin.get("client"), private))
    return lines


def _open(key: Key | None, blob: bytes | None, purpose: str, event_id: UUID) -> dict[str, Any]:
    if key is None or blob is None:
        return {}
    try:
        said: dict[str, Any] = msgspec.json.decode(key.open(blob, purpose=f"event.{purpose}", owner=(event_id,)))
    except SealBroken:  # altered behind our back: the chain tells where
        return {}
    return said


async def of_account(
    tx: Transaction, organization_id: UUID, account_id: UUID, before: UUID | None, limit: int
) -> list[sa.Row[Any]]:
    """The person's own view of the record, newest first."""
    statement = (
        sa.select(event)
        .where(event.c.organization_id == organization_id, event.c.account_id == account_id)
        .order_by(event.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(event.c.id < before)
    return list((await tx.execute(statement)).all())
