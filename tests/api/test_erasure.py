"""A person who is erased: thirty days after they were deleted nothing is left that says who they were."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from models import account, event, leaving, sheet, sign_in
from models.base import metadata
from models.csv_text import Head
from models.device import device
from models.event import Actor
from models.fault import Fault
from models.job import job
from models.settings import ACCOUNT_KEPT, MEMBERSHIP_KEPT
from models.terms import hash_of
from models.verification import VerificationKind
from models.vocabulary import Queue, Secret, Task
from tests import runs
from tests.api.house import House, give_address
from tests.people import Person, found, give_device, give_terms, welcome
from tests.workers.shop import Bell
from workers.sweep import Sweep

AUDIT_KEY = Secret(b"a" * 32)
MOMENT = timedelta(microseconds=1)
FROM = {"address": "203.0.113.77", "headers": {"User-Agent": "Annabrowser/7"}}
NEEDLES = ("anna", "wiederhold", "203.0.113", "annabrowser", "ticket 4711", "31 20 555")


def sweep_of(house: House, **more: Any) -> Sweep:
    return Sweep(house.db, house.keys, AUDIT_KEY, Bell(), Fault(), **more)  # type: ignore[arg-type] # a bell is all it needs


async def live(house: House) -> Person:
    """All that one can leave behind here."""
    anna = await house.hire("anna", second_factor=True)
    await house.open_session(anna, "first", strength=2)
    version = await give_terms(house.db, anna.organization_id, house.clock.now)
    agreed = {"hash": hash_of("Be kind."), "language": "en", "accepted": True}
    phone = await give_device(house.db, anna, house.clock.now)
    await give_address(house, anna, VerificationKind.EMAIL, "anna.wiederhold@example.org")
    await give_address(house, anna, VerificationKind.PHONE, "+31 20 555 0100")
    tag = (await house.ask("GET", f"/devices/{phone}", token="first")).headers["ETag"]
    window = {"device_id": str(phone), "act": "reset_passcode"}
    done = [
        await house.ask("POST", f"/terms/{version.id}/acceptance", agreed, token="first", **FROM),
        await house.ask(
            "POST",
            f"/devices/{phone}/rename",
            {"name": "Wiederhold's phone"},
            token="first",
            **_and(FROM, {"If-Match": tag}),
        ),
        await house.ask(
            "POST", f"/devices/{phone}/remote-lock", token="first", **_and(FROM, {"Idempotency-Key": "anna-lock-0001"})
        ),
        await house.ask("POST", "/sessions", {"account": "anna", "password": "wrong"}, **FROM),
        await house.sign_in(anna, **FROM),
        await house.ask("POST", "/re-sign-ins", window, token="first", **FROM),
    ]
    assert [one.status for one in done] == [201, 200, 202, 401, 202, 201], [one.json for one in done]
    await house.open_session(anna, "t", strength=2)
    return anna


def _and(sent: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    return {**sent, "headers": {**sent["headers"], **headers}}


async def found_in(house: House) -> set[str]:
    """Each column in which something of the person can be read, in any spelling."""
    found = set()
    async with house.db.read() as tx:
        for table in metadata.sorted_tables:
            for row in await tx.execute(sa.select(table)):
                for column, value in zip(table.c, row, strict=True):
                    said = value if isinstance(value, bytes) else str(value).encode()
                    if any(needle.encode() in said.lower() for needle in NEEDLES):
                        found.add(f"{table.name}.{column.name}")
    return found


async def delete(house: House, person: Person) -> None:
    await house.appoint()
    await house.hire("second", roles=("global_administrator",))
    answer = await house.ask("DELETE", f"/accounts/{person.id}", token="boss")
    assert answer.status == 204


@pytest.mark.rule("A8.4")
async def test_thirty_days_after_the_deletion_nothing_is_left_that_says_who_it_was(house: House) -> None:
    anna = await live(house)
    await house.appoint("blocker")
    await house.ask(
        "POST", f"/accounts/{anna.id}/block", {"reason": "ticket 4711"}, token="blocker", address="198.51.100.9"
    )
    await delete(house, anna)
    sweep = sweep_of(house)
    await sweep.seal()
    assert {"account.display_name", "device.name"} <= await found_in(house)
    house.clock.forward(ACCOUNT_KEPT)
    await sweep.erase()
    assert "account.display_name" in await found_in(house), "the last moment of the thirty days is still theirs"
    house.clock.forward(MOMENT)

    assert await sweep.erase() is False

    assert await found_in(house) == set()
    (row,) = await house.rows(sa.select(account.account).where(account.account.c.id == anna.id))
    assert (row.erased_at, row.person_key, row.password_hash) == (house.clock.now, None, None)
    lines = await house.lines("account:life:erase")
    assert [(one.row.account_id, one.row.actor_kind, one.facts) for one in lines] == [(anna.id, "sweep", {})]


async def test_the_chain_of_the_record_is_whole_and_what_it_held_of_them_opens_no_more(house: House) -> None:
    anna = await live(house)
    await delete(house, anna)
    sweep = sweep_of(house)
    await sweep.seal()
    before = await house.rows(sa.select(event.event).where(event.event.c.account_id == anna.id))
    async with house.db.read() as tx:
        readable = await event.opened(tx, house.keys, before)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)

    await sweep.erase()
    await sweep.seal()

    async with house.db.read() as tx:
        verdict = await event.verify(tx, AUDIT_KEY, anna.organization_id, house.clock.now)
        same = (await tx.execute(sa.select(event.event).where(event.event.c.id.in_([row.id for row in before])))).all()
        noise = await event.opened(tx, house.keys, same)
    assert (verdict.whole, verdict.unsealed) == (True, 0)
    assert {one.address for one in readable} >= {"203.0.113.77"}
    assert any(one.private for one in readable)
    assert {(one.address, one.client) for one in noise if one.row.actor_id in {anna.id, None}} == {(None, None)}
    assert not any(one.private for one in noise)


async def test_the_name_of_whoever_is_erased_is_free_and_their_id_is_nobodys(house: House) -> None:
    anna = await live(house)
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    await sweep_of(house).erase()
    await house.open_session(
        await house.hire("chief", second_factor=True, roles=("global_administrator",)), "c", strength=2
    )

    listed = (await house.ask("GET", "/accounts?deleted=true", token="c")).json
    restored = await house.ask("POST", f"/accounts/{anna.id}/restore", token="c")
    shown = await house.ask("GET", f"/accounts/{anna.id}", token="c")
    another = await house.hire("anna")

    assert listed["items"] == []
    assert (restored.status, shown.status) == (404, 404)
    assert (await house.sign_in(another)).status == 202, "and owes an answer to the terms, as anybody new does"
    assert (await house.sign_in(anna.__class__(anna.id, anna.organization_id, f"erased {anna.id}", "x"))).status == 401


async def test_somebody_who_lives_and_somebody_deleted_later_are_left_alone(house: House) -> None:
    anna = await live(house)
    await delete(house, anna)
    house.clock.forward(timedelta(days=1))
    bert = await house.hire("bert")
    await house.open_session(bert, "b")
    house.clock.forward(ACCOUNT_KEPT)

    await sweep_of(house).erase()

    rows = await house.rows(sa.select(account.account.c.sign_in_name).order_by(account.account.c.sign_in_name))
    assert {"bert", "boss", "second"} <= {row.sign_in_name for row in rows}
    assert f"erased {anna.id}" in {row.sign_in_name for row in rows}


async def be_elsewhere(house: House, person: Person) -> Person:
    """A guest of another organization who has had a device there, and has left. As that organization knew them."""
    beta = await found(house.db, house.clock.now, name="Beta")
    await welcome(house.db, beta, person, house.clock.now)
    guest = replace(person, organization_id=beta)
    phone = await give_device(house.db, guest, house.clock.now)
    await house.open_session(guest, "beta", strength=2)
    lock = await house.ask("POST", f"/devices/{phone}/remote-lock", token="beta", headers={"Idempotency-Key": "beta-1"})
    left = await house.ask(
        "POST", f"/organizations/{beta}/leave", {"confirm": True}, token="beta", headers={"Idempotency-Key": "beta-2"}
    )
    assert (lock.status, left.status) == (202, 202), (lock.json, left.json)
    return guest


@pytest.mark.parametrize("age", [timedelta(0), 2 * MEMBERSHIP_KEPT + timedelta(days=1)], ids=["just", "long ago"])
async def test_nothing_stays_in_an_organization_that_was_left_however_long_ago(house: House, age: timedelta) -> None:
    anna = await house.hire("anna")
    guest = await be_elsewhere(house, anna)
    house.clock.forward(age)
    while await sweep_of(house).erase():
        pass
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)

    await sweep_of(house).people()

    assert await found_in(house) == set()
    theirs = await house.rows(sa.select(device).where(device.c.organization_id == guest.organization_id))
    assert [(one.name, one.state) for one in theirs] == [("", "left")]
    assert await house.rows(sa.select(job.c.id).where(job.c.account_id == anna.id)) == []
    for table in (leaving.former_membership, leaving.bygone):
        assert await house.rows(sa.select(table).where(table.c.account_id == anna.id)) == []


async def test_one_who_left_much_is_erased_in_bounded_steps(house: House) -> None:
    anna = await live(house)
    for _ in range(5):
        await house.ask("POST", "/sessions", {"account": "anna", "password": "wrong"}, **FROM)
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    async with house.db.write() as tx:
        # As if all of it were of after the deletion, where the sign-ins' own period does not reach.
        await tx.execute(sa.update(sign_in.sign_in).values(at=house.clock.now))
    rounds = 0

    while await sweep_of(house, at_once=2).people():
        rounds += 1

    assert rounds > 1
    assert await found_in(house) == set()


async def have_files(house: House, person: Person, *, rows: int, parts: int, names: str) -> None:
    """A report and a file of accounts that this administrator asked for."""
    now = house.clock.now
    async with house.db.write() as tx:
        asked = await runs.ask(tx, person, None, Task.IMPORT_ACCOUNTS, now, queue=Queue.BULK, by="administrator")
        await sheet.begin(
            tx,
            job_id=asked.id,
            organization_id=person.organization_id,
            account_id=person.id,
            head=Head(",", sheet.COLUMNS, 0),
            size=0,
            actor=Actor("account", person.id),
            now=now,
        )
        await sheet.keep_file(tx, house.keys, asked.id, person.id, b"x" * (sheet.PART * parts))
        begun = await sheet.by_job(tx, asked.id)
        assert begun is not None
        results = [sheet.Result(line, names, sheet.RowOutcome.REFUSED, sheet.DUPLICATE) for line in range(rows)]
        await sheet.note(tx, begun, results, position=0, line=2)


async def test_one_who_had_long_files_made_is_erased_in_bounded_steps(house: House) -> None:
    anna = await house.hire("anna")
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    await have_files(house, anna, rows=5, parts=3, names="bert")
    files = (sheet.sheet_row, sheet.sheet_part)

    async def left() -> int:
        return sum([len(await house.rows(sa.select(table.c.number))) for table in files])

    seen = [await left()]
    while await sweep_of(house, at_once=2).people():
        seen.append(await left())

    assert seen == [8, 6, 4, 2, 0]
    assert await house.rows(sa.select(sheet.sheet.c.job_id)) == []
    (row,) = await house.rows(sa.select(account.account.c.erased_at).where(account.account.c.id == anna.id))
    assert row.erased_at == house.clock.now


async def test_a_report_of_somebody_else_forgets_whom_a_row_was_about(house: House) -> None:
    anna = await house.hire("anna.wiederhold@example.org")
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    beta = await found(house.db, house.clock.now, name="Beta")
    await have_files(
        house, await house.hire("chief", organization_id=beta), rows=5, parts=0, names="anna.wiederhold@example.org"
    )

    while await sweep_of(house, at_once=2).people():
        pass

    assert await found_in(house) == set()
    rows = await house.rows(sa.select(sheet.sheet_row.c.outcome, sheet.sheet_row.c.name))
    assert rows == [("refused", None)] * 5


async def test_two_sweeps_at_once_erase_somebody_once(house: House) -> None:
    anna = await live(house)
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)

    await asyncio.gather(*(sweep_of(house).people() for _ in range(4)))

    assert len(await house.lines("account:life:erase")) == 1
    assert await found_in(house) == set()


async def test_a_key_is_made_once_however_many_need_it_first(house: House) -> None:
    anna = await house.hire("anna")

    async def happen() -> None:
        async with house.db.write() as tx:
            actor = Actor("account", anna.id, address="203.0.113.77", keys=house.keys)
            await event.record(
                tx,
                organization_id=anna.organization_id,
                action="account:test:happen",
                actor=actor,
                now=house.clock.now,
                account_id=anna.id,
            )

    await asyncio.gather(*(happen() for _ in range(8)))

    assert [one.address for one in await house.lines("account:test:happen")] == ["203.0.113.77"] * 8


async def test_what_comes_after_the_erasure_is_not_written_down(house: House) -> None:
    anna = await live(house)
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    await sweep_of(house).erase()
    async with house.db.write() as tx:
        await event.record(
            tx,
            organization_id=anna.organization_id,
            action="account:test:happen",
            actor=Actor("account", anna.id, address="203.0.113.77", keys=house.keys),
            now=house.clock.now,
            account_id=anna.id,
            private={"reason": "anna"},
        )

    assert await found_in(house) == set()
    (row,) = await house.rows(sa.select(event.event).where(event.event.c.action == "account:test:happen"))
    assert (row.origin, row.private) == (None, None)


async def test_a_reason_in_somebodys_own_words_is_never_in_the_clear(house: House) -> None:
    anna = await house.hire("anna")
    for reason in ("device_left", "She called, ticket 4711"):
        async with house.db.write() as tx:
            await event.record(
                tx,
                organization_id=anna.organization_id,
                action="account:test:happen",
                actor=Actor("account", anna.id, keys=house.keys),
                now=house.clock.now,
                account_id=anna.id,
                reason=reason,
            )

    rows = await house.rows(sa.select(event.event.c.reason))
    assert {row.reason for row in rows} == {"device_left", None}
    assert {one.reason for one in await house.lines("account:test:happen")} == {
        "device_left",
        "She called, ticket 4711",
    }


async def test_a_blob_moved_to_another_event_opens_nothing_there(house: House) -> None:
    anna = await live(house)
    async with house.db.read() as tx:
        sealed = event.event.c.origin.is_not(None)
        first, second = (
            await tx.execute(sa.select(event.event).where(sealed, event.event.c.actor_id == anna.id).limit(2))
        ).all()
        moved = SimpleNamespace(**{**second._mapping, "origin": first.origin})
        (line,) = await event.opened(tx, house.keys, [moved])

    assert line.address is None
