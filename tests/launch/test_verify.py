"""The verifying command: what it says of a whole record, an altered one, and one whose end was cut off."""

import asyncio
import base64
import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from launch.verify import BROKEN, MISCONFIGURED, WHOLE, Anchor, line, main, verify
from models import event
from models.database import Database
from models.event import SETTLED, Actor, Verdict, event_seal
from models.settings import DatabaseSettings
from models.vocabulary import Secret, new_id
from tests.clock import NOON, Clock
from tests.people import found

KEY = Secret(b"a" * 32)


@pytest.fixture
async def acme(database: Database, clock: Clock) -> UUID:
    return await found(database, clock.now)


async def happen(db: Database, organization_id: UUID, times: int, *, sealed: bool = True) -> None:
    async with db.write() as tx:
        for number in range(times):
            await event.record(
                tx,
                organization_id=organization_id,
                action="account:test:happen",
                actor=Actor("person"),
                now=NOON,
                facts={"number": number},
            )
    if sealed:
        async with db.write() as tx:
            await event.seal(tx, KEY, None, 1000)


async def behind_its_back(db: Database, *statements: Any) -> None:
    """As somebody who may do everything in the database, who knows no key."""
    tables = ("event", "event_seal")
    async with db.write() as tx:
        for table in tables:
            if db.is_sqlite:
                for what in ("update", "delete"):
                    await tx.execute(sa.text(f"DROP TRIGGER {table}_no_{what}"))
            else:
                await tx.execute(sa.text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        for statement in statements:
            await tx.execute(statement)
        if not db.is_sqlite:
            for table in tables:
                await tx.execute(sa.text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


async def look(db: Database, *anchors: Anchor) -> tuple[bool, list[str]]:
    return await verify(db, KEY, list(anchors))


def head(told: str) -> Anchor:
    return Anchor.parse(told.rpartition("head=")[2])


async def test_a_whole_record_is_told_in_one_line_for_each_organization(database: Database, acme: UUID) -> None:
    other = await found(database, NOON + timedelta(seconds=1))
    await happen(database, acme, 3)

    whole, lines = await look(database)

    assert whole is True
    assert re.fullmatch(f"whole sealed=3 unsealed=0 overdue=0 head={acme}:3:[0-9a-f]{{64}}", lines[0])
    assert lines[1:] == [f"whole sealed=0 unsealed=0 overdue=0 head={other}:0:{'0' * 64}"]


async def test_what_was_just_written_may_be_unsealed_for_a_while(database: Database, clock: Clock, acme: UUID) -> None:
    await happen(database, acme, 2, sealed=False)

    clock.now = NOON + SETTLED
    young, young_lines = await look(database)
    clock.forward(timedelta(microseconds=1))
    old, old_lines = await look(database)

    assert (young, old) == (True, False)
    assert young_lines[0].startswith("whole sealed=0 unsealed=2 overdue=0 ")
    assert old_lines[0].startswith("BROKEN sealed=0 unsealed=2 overdue=2 ")


ALTERED = {
    "action": {"action": "account:test:nothing"},
    "outcome": {"outcome": "failure"},
    "reason": {"reason": "because"},
    "actor": {"actor_kind": "device"},
    "moment": {"at": NOON + timedelta(microseconds=1)},
    "facts": {"facts": {"number": 99}},
    "origin": {"origin": b"192.0.2.1"},
    "private": {"private": b"anna"},
}


@pytest.mark.parametrize("changes", ALTERED.values(), ids=ALTERED)
async def test_an_altered_event_breaks_the_chain_at_its_place(
    database: Database, acme: UUID, changes: dict[str, Any]
) -> None:
    await happen(database, acme, 4)
    second = sa.select(event_seal.c.event_id).where(event_seal.c.seq == 2).scalar_subquery()

    await behind_its_back(database, sa.update(event.event).where(event.event.c.id == second).values(**changes))
    whole, lines = await look(database)

    assert whole is False
    assert lines[0].startswith("BROKEN sealed=1 unsealed=0 overdue=0 first_bad_seq=2 ")


async def test_a_dropped_event_breaks_the_chain(database: Database, acme: UUID) -> None:
    await happen(database, acme, 3)
    first = sa.select(event_seal.c.event_id).where(event_seal.c.seq == 1).scalar_subquery()

    await behind_its_back(database, sa.delete(event.event).where(event.event.c.id == first))
    whole, lines = await look(database)

    assert (whole, "first_bad_seq=1" in lines[0]) == (False, True)


async def test_an_inserted_event_is_overdue_and_a_forged_seal_does_not_fit(
    database: Database, clock: Clock, acme: UUID
) -> None:
    await happen(database, acme, 2)
    await happen(database, acme, 1, sealed=False)
    clock.forward(SETTLED + timedelta(seconds=1))
    unsealed, _ = await look(database)
    async with database.write() as tx:
        await event.seal(tx, Secret(b"b" * 32), None, 1000)
    forged, lines = await look(database)

    assert (unsealed, forged) == (False, False)
    assert "first_bad_seq=3" in lines[0]


@pytest.mark.rule("B7.1")
async def test_an_end_that_was_cut_off_shows_against_a_head_that_was_kept(database: Database, acme: UUID) -> None:
    await happen(database, acme, 2)
    _, (early,) = await look(database)
    await happen(database, acme, 2)
    _, (late,) = await look(database)
    seals = sa.select(event_seal.c.event_id).where(event_seal.c.seq > 2).scalar_subquery()

    with_both, _ = await look(database, head(early), head(late))
    await behind_its_back(
        database,
        sa.delete(event.event).where(event.event.c.id.in_(seals)),
        sa.delete(event_seal).where(event_seal.c.seq > 2),
    )
    without, (cut,) = await look(database)
    with_early, _ = await look(database, head(early))
    with_late, lines = await look(database, head(late))

    assert with_both is True
    assert (without, cut) == (True, early)  # it fits in itself: that is what anchors are for
    assert with_early is True
    assert with_late is False
    assert lines[1:] == [f"BROKEN the chain of {acme} no longer has the head of seq 4"]


async def test_an_organization_that_is_gone_with_all_it_had_shows_against_its_head(
    database: Database, acme: UUID
) -> None:
    whole, _ = await look(database, Anchor(new_id(NOON), 1, bytes(32)))

    assert whole is False


async def test_another_key_finds_nothing_whole(database: Database, acme: UUID) -> None:
    await happen(database, acme, 1)

    whole, lines = await verify(database, Secret(b"b" * 32), [])

    assert (whole, "first_bad_seq=1" in lines[0]) == (False, True)


@pytest.mark.parametrize("text", ["", "a:b:c", "1:2", f"{UUID(int=1)}:one:00", f"{UUID(int=1)}:1:zz"])
def test_an_anchor_that_no_run_printed_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--anchor", text], {})

    assert refused.value.code == 2
    assert "--anchor" in capsys.readouterr().err


def test_a_line_tells_all_that_was_found() -> None:
    verdict = Verdict(UUID(int=1), sealed=4, first_bad_seq=5, unsealed=3, overdue=2, head=b"\x01\x02")

    assert line(verdict) == f"BROKEN sealed=4 unsealed=3 overdue=2 first_bad_seq=5 head={UUID(int=1)}:4:0102"


# The command


async def write(settings: DatabaseSettings, *, altered: bool) -> str:
    """A record of two events; its head."""
    database = Database(settings, Clock())
    await database.open()
    organization_id = await found(database, NOON)
    await happen(database, organization_id, 2)
    _, (told,) = await look(database)
    if altered:
        await behind_its_back(database, sa.update(event.event).values(outcome="failure"))
    await database.close()
    return told.rpartition("head=")[2]


def environment(settings: DatabaseSettings) -> dict[str, str]:
    return {"DATABASE_URL": settings.url, "AUDIT_KEY": base64.b64encode(KEY.value).decode()}


@pytest.mark.parametrize(("altered", "code", "word"), [(False, WHOLE, "whole"), (True, BROKEN, "BROKEN")])
def test_the_command_says_what_it_found_and_ends_accordingly(
    database_settings: DatabaseSettings, altered: bool, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(write(database_settings, altered=altered))

    assert main([], environment(database_settings)) == code
    assert capsys.readouterr().out.startswith(f"{word} sealed=")


def test_the_command_takes_the_heads_that_were_kept(
    database_settings: DatabaseSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = asyncio.run(write(database_settings, altered=False))
    other = kept.replace(":2:", ":3:")

    assert main(["--anchor", kept], environment(database_settings)) == WHOLE
    assert main(["--anchor", kept, "--anchor", other], environment(database_settings)) == BROKEN
    assert "no longer has the head of seq 3" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["DATABASE_URL", "AUDIT_KEY"])
def test_the_command_says_which_setting_it_lacks(
    sqlite_settings: DatabaseSettings, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = environment(sqlite_settings)
    del environ[missing]

    assert main([], environ) == MISCONFIGURED
    assert missing in capsys.readouterr().err
