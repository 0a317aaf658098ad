"""The record is insert-only, and what is changed behind its back shows in the chain."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import event
from models.database import Database
from models.event import Actor, Verdict
from models.sealed import Keyring
from models.vocabulary import Secret, new_id
from tests.clock import NOON, Clock
from tests.people import Person, found, hire

KEY = Secret(b"k" * 32)
OTHER = Secret(b"o" * 32)
EVENT, SEAL = event.event, event.event_seal


@dataclass(frozen=True, slots=True)
class Record:
    db: Database
    clock: Clock
    keys: Keyring
    person: Person
    organization_id: UUID

    async def write(self, count: int = 1, organization_id: UUID | None = None) -> None:
        for number in range(count):
            self.clock.forward(0.001)
            async with self.db.write() as tx:
                await event.record(
                    tx,
                    organization_id=organization_id or self.organization_id,
                    action="device:wipe:ask",
                    actor=Actor("account", self.person.id, address="192.0.2.1", client="a brüwser", keys=self.keys),
                    now=self.clock.now,
                    subject=("job", new_id(NOON)),
                    facts={"number": number, "nested": {"b": [1, 2.5, None], "a": "ü"}},
                    private={"reason": "she said so"},
                )

    async def seal(self, limit: int = 1000) -> int:
        async with self.db.write() as tx:
            return (await event.seal(tx, KEY, None, limit))[0]

    async def verify(self, key: Secret = KEY, organization_id: UUID | None = None, batch: int = 1000) -> Verdict:
        async with self.db.read() as tx:
            return await event.verify(tx, key, organization_id or self.organization_id, self.clock.now, batch)

    async def behind_its_back(self, *statements: sa.Executable) -> None:
        """By someone who owns the database: what refuses change is dropped first."""
        async with self.db.write() as tx:
            for table in ("event", "event_seal"):
                if self.db.is_sqlite:
                    for what in ("update", "delete"):
                        await tx.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_no_{what}"))
                else:
                    await tx.execute(sa.text(f"DROP TRIGGER IF EXISTS {table}_no_change ON {table}"))
            for statement in statements:
                await tx.execute(statement)

    async def sealed_ids(self) -> list[UUID]:
        async with self.db.read() as tx:
            return list((await tx.execute(sa.select(SEAL.c.event_id).order_by(SEAL.c.seq))).scalars())


@pytest.fixture
async def record(database: Database, clock: Clock, keys: Keyring) -> Record:
    organization_id = await found(database, clock.now)
    anna = await hire(database, organization_id, "anna", clock.now)
    return Record(database, clock, keys, anna, organization_id)


@pytest.mark.parametrize("table", [EVENT, SEAL], ids=["event", "seal"])
@pytest.mark.parametrize("change", ["update", "delete", "truncate"])
async def test_the_database_itself_refuses_change(record: Record, table: sa.Table, change: str) -> None:
    await record.write()
    await record.seal()
    statement: Any = {
        "update": sa.update(table).values(organization_id=record.organization_id),
        "delete": sa.delete(table),
        "truncate": sa.delete(table) if record.db.is_sqlite else sa.text(f"TRUNCATE {table.name}"),
    }[change]
    with pytest.raises(sa.exc.IntegrityError, match="insert-only"):
        async with record.db.write() as tx:
            await tx.execute(statement)

    assert (await record.verify()).sealed == 1


async def test_a_whole_chain_is_whole_however_it_is_walked(record: Record) -> None:
    await record.write(7)
    assert await record.seal(3) == 3
    assert await record.seal() == 4
    assert await record.seal() == 0

    verdicts = [await record.verify(batch=batch) for batch in (1, 2, 3, 7, 1000)]

    assert all(verdict == verdicts[0] for verdict in verdicts)
    assert (verdicts[0].whole, verdicts[0].sealed, verdicts[0].first_bad_seq, verdicts[0].unsealed) == (
        True,
        7,
        None,
        0,
    )


async def test_an_empty_chain_is_whole(record: Record) -> None:
    verdict = await record.verify()

    assert (verdict.whole, verdict.sealed, verdict.head) == (True, 0, event.GENESIS)


async def test_what_has_no_seal_is_counted_and_after_ten_seconds_overdue(record: Record) -> None:
    await record.write(2)
    await record.seal()
    await record.write(3)

    record.clock.forward(event.SETTLED)
    verdict = await record.verify()
    assert (verdict.whole, verdict.unsealed, verdict.overdue) == (False, 3, 2)
    record.clock.forward(-0.002)
    verdict = await record.verify()
    assert (verdict.whole, verdict.sealed, verdict.unsealed, verdict.overdue) == (True, 2, 3, 0)


async def test_each_organization_has_a_chain_of_its_own(record: Record) -> None:
    other = await found(record.db, NOON)
    await record.write(2)
    await record.write(3, other)
    await record.write(2)
    await record.seal()

    assert (await record.verify()).sealed == 4
    assert (await record.verify(organization_id=other)).sealed == 3


async def test_another_key_fits_nothing(record: Record) -> None:
    await record.write(2)
    await record.seal()

    assert (await record.verify(OTHER)).first_bad_seq == 1


@pytest.mark.rule("B7.1")
@pytest.mark.parametrize("column", [c.name for c in EVENT.c if c.name not in {"id", "organization_id"}])
async def test_whatever_column_is_altered_it_shows(record: Record, column: str) -> None:
    await record.write(3)
    await record.seal()
    second = (await record.sealed_ids())[1]
    changed: dict[str, Any] = {
        "at": NOON - timedelta(days=1),
        "facts": {"number": 99},
        "schema_version": 2,
        **dict.fromkeys(("origin", "private"), b"altered"),
        **dict.fromkeys(("actor_id", "account_id", "subject_id", "session_id"), new_id(NOON)),
    }
    value = changed.get(column, "altered")

    await record.behind_its_back(sa.update(EVENT).where(EVENT.c.id == second).values({column: value}))

    verdict = await record.verify()
    assert (verdict.whole, verdict.first_bad_seq, verdict.sealed) == (False, 2, 1)


@pytest.mark.rule("B7.1")
async def test_a_dropped_event_shows(record: Record) -> None:
    await record.write(3)
    await record.seal()
    await record.behind_its_back(sa.delete(EVENT).where(EVENT.c.id == (await record.sealed_ids())[1]))

    assert (await record.verify()).first_bad_seq == 2


@pytest.mark.rule("B7.1")
async def test_an_event_dropped_with_its_seal_shows(record: Record) -> None:
    await record.write(3)
    await record.seal()
    second = (await record.sealed_ids())[1]
    await record.behind_its_back(
        sa.delete(SEAL).where(SEAL.c.event_id == second), sa.delete(EVENT).where(EVENT.c.id == second)
    )

    assert (await record.verify()).first_bad_seq == 2


async def test_a_gap_that_was_closed_again_shows(record: Record) -> None:
    await record.write(3)
    await record.seal()
    _, second, third = await record.sealed_ids()
    await record.behind_its_back(
        sa.delete(SEAL).where(SEAL.c.event_id == second),
        sa.delete(EVENT).where(EVENT.c.id == second),
        sa.update(SEAL).where(SEAL.c.event_id == third).values(seq=2),
    )

    assert (await record.verify()).first_bad_seq == 2


@pytest.mark.rule("B7.1")
async def test_reordered_ones_show(record: Record) -> None:
    await record.write(3)
    await record.seal()
    first, second, _ = await record.sealed_ids()
    await record.behind_its_back(
        sa.update(SEAL).where(SEAL.c.event_id == first).values(seq=99),
        sa.update(SEAL).where(SEAL.c.event_id == second).values(seq=1),
        sa.update(SEAL).where(SEAL.c.event_id == first).values(seq=2),
    )

    assert (await record.verify()).first_bad_seq == 1


async def test_a_seal_forged_without_the_key_shows(record: Record) -> None:
    await record.write(2)
    await record.seal()
    head = (await record.verify()).head
    await record.write()
    async with record.db.write() as tx:
        forged = (await tx.execute(sa.select(EVENT).order_by(EVENT.c.at.desc()).limit(1))).one()
        mac = event.mac_of(OTHER, head, 3, event.canonical(forged))
        await tx.execute(
            sa.insert(SEAL).values(organization_id=record.organization_id, seq=3, event_id=forged.id, mac=mac)
        )

    assert (await record.verify()).first_bad_seq == 3


@pytest.mark.rule("B7.1")
async def test_a_chain_cut_short_is_whole_and_its_head_is_not_the_one_that_was_noted(record: Record) -> None:
    """What no chain can tell by itself: whoever keeps the head elsewhere sees it."""
    await record.write(3)
    await record.seal()
    anchor = await record.verify()
    last = (await record.sealed_ids())[-1]
    await record.behind_its_back(
        sa.delete(SEAL).where(SEAL.c.event_id == last), sa.delete(EVENT).where(EVENT.c.id == last)
    )

    verdict = await record.verify()
    assert verdict.whole
    assert verdict.sealed < anchor.sealed
    assert verdict.head != anchor.head


async def test_seals_cut_off_leave_their_events_overdue(record: Record) -> None:
    await record.write(3)
    await record.seal()
    await record.behind_its_back(sa.delete(SEAL).where(SEAL.c.seq > 1))
    record.clock.forward(11)

    verdict = await record.verify()
    assert (verdict.whole, verdict.overdue) == (False, 2)


@pytest.mark.rule("B7.2")
async def test_fifty_who_write_at_once_are_all_sealed_without_a_gap(record: Record) -> None:
    async def seal_meanwhile() -> None:
        for _ in range(10):
            await record.seal(7)

    await asyncio.gather(seal_meanwhile(), *(record.write() for _ in range(50)))
    await record.seal()

    async with record.db.read() as tx:
        seqs = list((await tx.execute(sa.select(SEAL.c.seq).order_by(SEAL.c.seq))).scalars())
    assert seqs == list(range(1, 51))
    assert (await record.verify()).whole


async def test_a_second_who_seals_at_once_breaks_nothing(record: Record) -> None:
    await record.write(20)

    done = await asyncio.gather(*(record.seal() for _ in range(3)), return_exceptions=True)

    assert all(isinstance(one, int | sa.exc.IntegrityError) for one in done)
    await record.seal()
    verdict = await record.verify()
    assert (verdict.whole, verdict.sealed) == (True, 20)


async def test_an_event_comes_and_goes_with_its_transaction(record: Record) -> None:
    async def fail() -> None:
        async with record.db.write() as tx:
            await event.record(tx, organization_id=record.organization_id, action="a:b:c", actor=event.WORKER, now=NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert (await record.verify()).unsealed == 0


@pytest.mark.rule("B7.3")
async def test_the_person_sees_their_own_record_newest_first(record: Record) -> None:
    me, other = new_id(NOON), new_id(NOON)
    for account_id in (me, other, me, me):
        now = record.clock.forward(1)
        async with record.db.write() as tx:
            await event.record(
                tx,
                organization_id=record.organization_id,
                action="a:b:c",
                actor=event.WORKER,
                now=now,
                account_id=account_id,
            )
    async with record.db.read() as tx:
        first = await event.of_account(tx, record.organization_id, me, None, 2)
        rest = await event.of_account(tx, record.organization_id, me, first[-1].id, 2)

    seconds = [(row.at - NOON).total_seconds() for row in (*first, *rest)]
    assert seconds == [4, 3, 1]
