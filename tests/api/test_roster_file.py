"""Accounts read in from a file and written into one, over HTTP and by the worker's own runs, on both databases."""

import asyncio
import csv
import gc
import io
import time
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.operations import roster_file
from models import account, job, organization, sheet, throttle
from models.csv_text import BOM, LINES_LIMIT, ROW_LIMIT
from models.delivery import Delivery, delivery
from models.event import event, opened
from models.fault import Fault
from models.job import LEASE, Job
from models.notification import notification
from models.profile import profile
from models.sealed import SealBroken
from models.throttle import NAMES_TAKEN
from models.vocabulary import JobState
from tests import runs
from tests.api.house import Answer, House
from tests.api.test_edit import fill, show, sync, value
from tests.people import Person, found
from tests.workers.shop import Bell
from workers.jobs import import_accounts
from workers.needs import Needs
from workers.run_job import run_job
from workers.sweep import Sweep

HEADINGS = "sign_in_name,display_name,department\n"
HEAD = "sign_in_name,display_name,department"
SYNCED_SECTIONS = {
    name: {"master": "directory", "last_synced_at": "2026-03-01T11:00:00+00:00"}
    for name in ("identity", "job", "contact")
}


@pytest.fixture
async def boss(house: House) -> Person:
    """A global administrator, signed in with `boss`."""
    return await house.appoint()


async def send(
    house: House, content: str | bytes, query: str = "?invite=false", token: str = "boss", key: str = "k"
) -> Answer:
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "text/csv",
        "Idempotency-Key": key,
        "X-Forwarded-For": "192.0.2.1",
    }
    data = content.encode() if isinstance(content, str) else content
    async with house.client.post(f"/api/v1/account-imports{query}", data=io.BytesIO(data), headers=headers) as response:
        text = await response.read()
        return Answer(response.status, response.headers, await response.json() if text else None, {}, [])


def needs(house: House, fault: Fault | None = None) -> Needs:
    return Needs(house.db, {}, {}, house.keys, cast("Any", Bell()), fault or Fault())


async def see(house: House, job_id: str | UUID) -> Job:
    async with house.db.read() as tx:
        held = await job.by_id(tx, UUID(str(job_id)))
    assert held is not None
    return held


async def work_off(house: House, job_id: str | UUID) -> Job:
    """Run after run, as the workers do it."""
    for _ in range(100):
        await run_job(needs(house), UUID(str(job_id)))
        held = await see(house, job_id)
        if not held.is_open:
            return held
    raise AssertionError("it does not end")


async def read_in(house: House, content: str | bytes, query: str = "?invite=false", key: str = "k") -> dict[str, Any]:
    """To its end; how it stands then."""
    asked = await send(house, content, query, key=key)
    assert asked.status == 202, asked.json
    await work_off(house, asked.json["id"])
    shown = await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")
    assert shown.status == 200
    told: dict[str, Any] = shown.json
    return told


async def rows_of(house: House, shown: dict[str, Any]) -> list[tuple[int, str | None, str, str | None]]:
    page = await house.ask("GET", f"/account-imports/{shown['job_id']}/rows?limit=100", token="boss")
    return [(one["line"], one["sign_in_name"], one["outcome"], one["reason"]) for one in page.json["items"]]


async def fetch(house: House, path: str, token: str = "boss") -> tuple[int, bytes]:
    async with house.client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status, await response.read()


async def counts(house: House) -> int:
    return len(await house.rows(sa.select(account.account.c.id)))


# What rows do


async def test_accounts_are_made_and_edited_as_the_file_says(house: House, boss: Person) -> None:
    anna = await house.hire("anna@example.org")
    same = await house.hire("same")
    content = f"{HEAD}\r\nnew@example.org,New Person,Care\r\nanna@example.org,,Care\r\nsame,Same,\r\n"

    shown = await read_in(house, content)

    assert (shown["state"], shown["rows"], shown["done"], shown["size"]) == (
        "succeeded",
        3,
        len(content),
        len(content),
    )
    assert [shown[one] for one in ("created", "changed", "unchanged", "refused")] == [1, 1, 1, 0]
    assert await rows_of(house, shown) == [
        (2, "new@example.org", "created", None),
        (3, "anna@example.org", "changed", None),
        (4, "same", "unchanged", None),
    ]
    page = await show(house, anna)
    assert (value(page, "department"), value(page, "display_name")) == ("Care", "Anna@Example.Org")
    (new,) = (await house.ask("GET", "/accounts?begins_with=new@", token="boss")).json["items"]
    assert (new["display_name"], new["roles"], new["state"]) == ("New Person", [], "active")
    lines = await house.rows(
        sa.select(event).where(event.c.action.in_(["account:life:create", "account:profile:edit"]))
    )
    assert {(line.action, line.actor_id) for line in lines} == {
        ("account:life:create", boss.id),
        ("account:profile:edit", boss.id),
    }
    async with house.db.read() as tx:
        assert {line.address for line in await opened(tx, house.keys, lines)} == {"192.0.2.1"}
    assert await house.told(anna) == ["profile.edited"]
    assert await house.told(same) == []
    assert await house.told(boss) == ["job.import_accounts.succeeded"]
    (told,) = await house.rows(sa.select(notification.c.params).where(notification.c.account_id == boss.id))
    assert told.params == {"rows": 3, "created": 1, "changed": 1, "unchanged": 1, "refused": 0}


async def test_who_is_new_and_has_an_address_is_invited(house: House, boss: Person) -> None:
    await read_in(house, f"{HEAD},language\nnew@example.org,New,Care,nl\nnobody,No Body,Care,\n", "")

    (sent,) = [Delivery.of(row) for row in await house.rows(sa.select(delivery))]
    to, token = sent.open(house.keys)
    assert (sent.key, sent.language, to) == ("account.invited", "nl", "new@example.org")
    assert token is not None
    body = {"token": token.text(), "new": "plain otter walks along the dyke"}
    assert (await house.ask("POST", "/password-resets", body)).status == 204
    kept = await house.rows(
        sa.select(account.account.c.password_hash).where(account.account.c.sign_in_name == "nobody")
    )
    assert kept[0].password_hash is None, "who has no address gets a password from an administrator, later"


async def test_a_dry_run_says_the_same_and_changes_nothing(house: House, boss: Person) -> None:
    anna = await house.hire("anna")
    content = f"{HEAD}\nnew,New,Care\nanna,,Care\nnew,Again,Care\nboss,é{'é' * 256},\n"

    tried = await read_in(house, content, "?dry_run=true", key="a")
    before = (await counts(house), value(await show(house, anna), "department"), await house.told(anna))
    done = await read_in(house, content, "?invite=false", key="b")

    assert before == (2, None, [])
    assert await rows_of(house, tried) == await rows_of(house, done)
    assert {name: tried[name] for name in ("created", "changed", "refused")} == {
        "created": 1,
        "changed": 1,
        "refused": 2,
    }
    assert await house.told(boss) == ["job.import_accounts.tried", "job.import_accounts.succeeded"]


async def test_each_row_that_is_refused_says_why(house: House, boss: Person) -> None:
    synced = await house.hire("synced")
    await sync(house, synced, "job")
    await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    gone = await house.hire("gone")
    await house.ask("DELETE", f"/accounts/{gone.id}", token="boss")
    await house.appoint("chief")
    await house.appoint("user", "user_administrator")
    lines = [
        f"{HEAD},language,usage_location,manager".encode(),
        b"ok,Ok,,,,",
        b"too,few",
        b"bad\xff,Bad,,,,",
        b'quote,"a"b,,,,',
        b"x" * (ROW_LIMIT + 1) + b",Long,,,,",
        b"a b,Space,,,,",
        b"noname,,,,,",
        b"OK ,Again,,,,",
        b"zoe,Zoe,,,,",
        b"gone,Gone,,,,",
        b"chief,Chef,,,,",
        b"synced,,Care,,,",
        b"user,,,nl,,",
        b"place,Place,,,uk,",
        b"lang,Lang,,de,,",
        b"boss2,Boss,,,,%s" % str(UUID(int=1)).encode(),
        b"last,Last,,,gb,",
    ]

    asked = await send(house, b"\n".join(lines), token="user")
    await work_off(house, asked.json["id"])
    shown = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json

    assert await rows_of(house, shown) == [
        (2, "ok", "created", None),
        (3, None, "refused", "columns"),
        (4, None, "refused", "encoding"),
        (5, None, "refused", "quotes"),
        (6, None, "refused", "too_long"),
        (7, None, "refused", "invalid"),
        (8, "noname", "refused", "invalid"),
        (9, "ok", "refused", "duplicate_row"),
        (10, "zoe", "refused", "sign_in_name_taken"),
        (11, "gone", "refused", "sign_in_name_taken"),
        (12, "chief", "refused", "not_allowed"),
        (13, "synced", "refused", "mastered_elsewhere"),
        (14, "user", "refused", "field_not_editable"),
        (15, "place", "refused", "invalid"),
        (16, "lang", "refused", "invalid"),
        (17, "boss2", "refused", "invalid"),
        (18, "last", "created", None),
    ]
    refused = await house.ask("GET", f"/account-imports/{shown['job_id']}/rows?outcome=refused&limit=100", token="boss")
    errors = {one["line"]: one["errors"] for one in refused.json["items"]}
    assert [one["field"] for one in errors[15]] == ["usage_location"]
    assert [one["field"] for one in errors[17]] == ["manager"]
    assert errors[13][0]["master"] == "directory"
    assert "uk" not in str(errors), "what was typed is not sent back"
    status, report = await fetch(house, f"/account-imports/{shown['job_id']}/report")
    table = list(csv.reader(io.StringIO(report.removeprefix(BOM).decode())))
    assert (status, table[0]) == (200, ["line", "sign_in_name", "outcome", "reason", "field", "rule"])
    assert [int(row[0]) for row in table[1:]] == list(range(2, 19))
    assert table[14][2:5] == ["refused", "invalid", "usage_location"]


async def test_a_name_that_an_earlier_batch_had_is_one_that_is_there_twice(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_accounts, "AT_ONCE", 2)

    shown = await read_in(house, "sign_in_name,display_name\na,A\nb,B\nA,C\nc,C\na,D\n")

    assert [(name, reason) for _, name, _, reason in await rows_of(house, shown)] == [
        ("a", None),
        ("b", None),
        ("a", "duplicate_row"),
        ("c", None),
        ("a", "duplicate_row"),
    ]


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        (b"", 1),
        (b"display_name\nx\n", 1),
        (b"sign_in_name,roles,sign_in_name\nx,global_administrator,y\n", 2),
        ("sign_in_name\nx\n".encode("utf-16"), 1),
        (b"sign_in_name\rx\r", 1),
        (b"PK\x03\x04\x14\x00\x06\x00", 1),
    ],
)
async def test_a_file_that_is_no_such_file_is_refused_at_once(
    house: House, boss: Person, content: bytes, rules: int
) -> None:
    refused = await send(house, content)

    assert (refused.status, refused.json["code"]) == (422, "invalid")
    assert len(refused.json["errors"]) >= rules
    assert {one["field"] for one in refused.json["errors"]} == {"file"}
    assert await house.rows(sa.select(job.job)) == []


@pytest.mark.parametrize(("more", "status"), [(0, 202), (1, 422)])
async def test_a_file_of_too_many_lines_is_refused_before_anything_is_kept_of_it(
    house: House, boss: Person, more: int, status: int
) -> None:
    asked = await send(house, "sign_in_name\n" + "a\n" * (LINES_LIMIT + more))

    assert asked.status == status
    assert len(await house.rows(sa.select(sheet.sheet.c.job_id))) == 1 - more
    if more:
        assert asked.json["errors"] == [
            {"field": "file", "rule": "lines_most", "most": 200000, "text": "At most 200000 lines behind the first."}
        ]


@pytest.mark.parametrize("column", ["roles", "is_operator", "password", "blocked_at", "organization_id"])
async def test_mass_assignment_is_no_column(house: House, boss: Person, column: str) -> None:
    assert (await send(house, f"sign_in_name,display_name,{column}\na,A,x\n")).status == 422


async def test_a_formula_is_taken_literally_and_leaves_harmless_and_comes_back_as_it_was(
    house: House, boss: Person
) -> None:
    evil = '=HYPERLINK("https://example.org")'
    cell = '"' + evil.replace('"', '""') + '"'
    await read_in(house, f"sign_in_name,display_name,mobile_phone\na,{cell},+31 612345678\n")
    stored = await house.rows(sa.select(account.account.c.display_name).where(account.account.c.sign_in_name == "a"))

    content = await write_out(house, "e")
    again = await read_in(house, content, key="again")

    assert stored[0].display_name == evil
    assert f"'{evil}".replace('"', '""').encode() in content
    assert b"'+31 612345678" in content
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in parsed(content) for cell in row)
    assert (again["unchanged"], again["refused"], again["changed"]) == (2, 0, 0)


@pytest.mark.parametrize("role", ["global_administrator", "user_administrator"])
async def test_a_file_that_was_written_is_read_in_again_and_changes_nothing_whoever_masters_what(
    house: House, boss: Person, role: str
) -> None:
    """Nor does a row's master, limit or reach have a say in a cell that repeats what is there."""
    anna, chief = await house.hire("anna"), await house.appoint("chief")
    values = {"job_title": "x" * 200, "street": "Keizersgracht 1\nthird floor", "country": " Nederland", "city": "'=x"}
    await fill(house, anna, {**values, "manager": str(chief.id)}, SYNCED_SECTIONS)
    await sync(house, chief, "identity", "job", "contact")
    await house.ask("DELETE", f"/accounts/{chief.id}", token="boss")
    await house.appoint("who", role)
    content = await write_out(house, "e")

    asked = await send(house, content, token="who")
    await work_off(house, asked.json["id"])

    shown = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json
    assert {row[2:] for row in await rows_of(house, shown)} == {("unchanged", None)}
    assert await house.told(anna) == []


async def test_a_real_change_beside_cells_that_repeat_is_made_or_refused_by_itself(house: House, boss: Person) -> None:
    anna = await house.hire("anna")
    await fill(house, anna, {"department": "Care"}, {"job": SYNCED_SECTIONS["job"]})
    head = "sign_in_name,display_name,department,city,language"

    shown = await read_in(house, f"{head}\nanna,Anna,Care,Utrecht,en\n", key="a")
    again = await read_in(house, f"{head}\nanna,Anna,care,Breda,en\n", key="b")
    third = await read_in(house, f"{head}\nanna,Anna,Care,Utrecht,nl\n", key="c")

    assert await rows_of(house, shown) == [(2, "anna", "changed", None)]
    assert await rows_of(house, again) == [(2, "anna", "refused", "mastered_elsewhere")]
    assert await rows_of(house, third) == [(2, "anna", "refused", "field_not_editable")]
    page = await show(house, anna)
    assert (value(page, "city"), value(page, "department")) == ("Utrecht", "Care")


def parsed(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.removeprefix(BOM).decode(), newline="")))


# The other way


async def write_out(house: House, key: str = "k") -> bytes:
    headers = {"Idempotency-Key": key}
    asked = await house.ask("POST", "/account-exports", token="boss", headers=headers)
    assert asked.status == 202, asked.json
    assert (await work_off(house, asked.json["id"])).state is JobState.SUCCEEDED
    status, content = await fetch(house, f"/account-exports/{asked.json['id']}/file")
    assert status == 200
    return content


async def test_every_account_of_the_organization_is_written_and_no_other(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.jobs import export_accounts

    monkeypatch.setattr(export_accounts, "AT_ONCE", 3)
    for n in range(6):
        await house.hire(f"p{n}")
    gone = await house.hire("gone")
    await house.ask("DELETE", f"/accounts/{gone.id}", token="boss")
    await house.hire("zoe", organization_id=await found(house.db, house.clock.now))

    content = await write_out(house)

    head, *rows = parsed(content)
    assert content.startswith(BOM)
    assert tuple(head) == sheet.COLUMNS
    assert [row[0] for row in rows] == ["boss", "p0", "p1", "p2", "p3", "p4", "p5"]
    assert b"hash" not in content
    (told,) = await house.rows(sa.select(notification).where(notification.c.account_id == boss.id))
    assert (told.key, told.params["accounts"]) == ("job.export_accounts.succeeded", 7)
    assert (await house.events())["account:export_accounts:fetch", "success", None] == 1


async def test_what_lies_there_of_a_file_is_sealed_and_opens_in_its_place_alone(house: House, boss: Person) -> None:
    lines = "".join(f"p{n},Person {n},Care\n" for n in range(3_000))
    asked = await send(house, HEADINGS + lines)
    made = await house.ask("POST", "/account-exports", token="boss", headers={"Idempotency-Key": "e"})
    await work_off(house, made.json["id"])
    parts = await house.rows(sa.select(sheet.sheet_part).order_by(sheet.sheet_part.c.number))

    async def opened(job_id: str, number: int) -> bytes | None:
        async with house.db.read() as tx:
            held = await sheet.by_job(tx, UUID(job_id))
            assert held is not None
            return await sheet.part(tx, house.keys, held, number)

    assert not [one for one in parts if b"boss" in one.content or b"Person" in one.content or b"sign_in" in one.content]
    assert await opened(asked.json["id"], 0) == (HEADINGS + lines).encode()[: sheet.PART]
    assert b"boss" in (await opened(made.json["id"], 0) or b"")
    (mine,) = [one for one in parts if one.job_id == UUID(asked.json["id"]) and one.number == 0]
    async with house.db.write() as tx:
        await tx.execute(sa.update(sheet.sheet_part).values(content=mine.content))
    assert await opened(asked.json["id"], 0) is not None
    for job_id, number in ((asked.json["id"], 1), (made.json["id"], 0)):
        with pytest.raises(SealBroken):
            await opened(job_id, number)


async def test_what_was_made_is_fetched_with_a_proof_for_a_day(house: House, boss: Person) -> None:
    asked = await house.ask("POST", "/account-exports", token="boss", headers={"Idempotency-Key": "k"})
    path = f"/account-exports/{asked.json['id']}"
    assert (await fetch(house, f"{path}/file"))[0] == 404, "it is not there yet"
    await work_off(house, asked.json["id"])
    shown = await house.ask("GET", path, token="boss")
    assert (shown.json["accounts"], shown.json["file_until"]) == (1, "2026-03-02T12:00:00Z")
    await house.appoint("help", "helpdesk_administrator")
    await house.open_session(boss, "weak", strength=1)

    assert (await fetch(house, f"{path}/file", "help"))[0] == 403
    assert (await fetch(house, f"{path}/file", "weak"))[0] == 401
    house.clock.now += timedelta(hours=24) - timedelta(microseconds=1)
    await house.open_session(boss, "later", strength=2)
    assert (await fetch(house, f"{path}/file", "later"))[0] == 200
    house.clock.now += timedelta(microseconds=1)
    assert (await fetch(house, f"{path}/file", "later"))[0] == 404
    await sweep(house).erase()
    assert await house.rows(sa.select(sheet.sheet_part)) == []
    assert await house.rows(sa.select(sheet.sheet)) == []


def sweep(house: House) -> Sweep:
    return Sweep(house.db, house.keys, house.keys, Bell(), Fault())  # type: ignore[arg-type] # nothing is sealed here


async def test_what_was_read_in_is_erased_at_once_and_its_report_after_thirty_days(house: House, boss: Person) -> None:
    shown = await read_in(house, "sign_in_name,display_name\na,A\n")

    assert await house.rows(sa.select(sheet.sheet_part)) == []
    assert shown["report_until"] == "2026-03-31T12:00:00Z"
    house.clock.now += timedelta(days=30) - timedelta(microseconds=1)
    await house.open_session(boss, "later", strength=2)
    assert (await house.ask("GET", f"/account-imports/{shown['job_id']}", token="later")).status == 200
    house.clock.now += timedelta(microseconds=1)
    assert (await house.ask("GET", f"/account-imports/{shown['job_id']}", token="later")).status == 404
    await sweep(house).erase()
    assert await house.rows(sa.select(sheet.sheet_row)) == []


async def test_however_long_a_report_is_it_is_erased_so_many_rows_at_a_time(house: House, boss: Person) -> None:
    for name in ("first", "second"):
        await read_in(house, "sign_in_name,display_name\n" + f"{name},A\n" * 3, key=name)
    asked = await house.ask("POST", "/account-exports", token="boss", headers={"Idempotency-Key": "e"})
    await work_off(house, asked.json["id"])
    parts = len(await house.rows(sa.select(sheet.sheet_part.c.number)))
    house.clock.now += timedelta(days=1)
    await house.open_session(boss, "later", strength=2)
    kept = await send(house, "sign_in_name,display_name\nthird,A\n", token="later", key="third")
    await work_off(house, kept.json["id"])
    house.clock.now += timedelta(days=29)
    tables = (sheet.sheet_row, sheet.sheet_part, sheet.sheet)

    async def left() -> list[int]:
        return [len(await house.rows(sa.select(table.c.job_id))) for table in tables]

    async def round_of(limit: int) -> int:
        async with house.db.write() as tx:
            return await sheet.erase_due(tx, house.clock.now, limit)

    before = await left()
    one = [await round_of(4), await left()]
    # The last of what hangs on them fills a round just so: there may be more, and what had it waits.
    two = [await round_of(2 + parts), await left()]
    # Two files read in and one that was made; only that there is nothing more says that it is over.
    three = [await round_of(3), await left()]
    four = [await round_of(3), await left()]

    assert before == [7, parts, 4]
    assert one == [4, [3, parts, 4]]
    assert two == [2 + parts, [1, 0, 4]]
    assert three == [3, [1, 0, 1]]
    assert four == [0, [1, 0, 1]]
    (row,) = await house.rows(sa.select(sheet.sheet_row.c.job_id))
    assert row.job_id == UUID(kept.json["id"]), "what is not due stays"


async def test_the_sweep_goes_on_until_nothing_of_a_report_is_left(house: House, boss: Person) -> None:
    await read_in(house, "sign_in_name,display_name\n" + "a,A\n" * 5)
    house.clock.now += timedelta(days=30)
    short = sweep(house)
    short.at_once = 2

    rounds = []
    for _ in range(20):
        rounds.append(await short.erase())
        if not rounds[-1]:
            break

    assert rounds[:2] == [True, True]
    assert rounds[-1] is False
    assert await house.rows(sa.select(sheet.sheet_row)) == await house.rows(sa.select(sheet.sheet)) == []


# Who may, and when


@pytest.mark.parametrize(
    ("role", "status"),
    [("user_administrator", 202), ("helpdesk_administrator", 403), ("privileged_role_administrator", 403)],
)
async def test_files_are_for_who_may_make_accounts(house: House, role: str, status: int) -> None:
    await house.appoint("x", role)

    assert (await send(house, "sign_in_name,display_name\na,A\n", token="x")).status == status
    asked = await house.ask("POST", "/account-exports", token="x", headers={"Idempotency-Key": "e"})
    assert asked.status == status


async def test_it_takes_two_factors(house: House, boss: Person) -> None:
    await house.open_session(boss, "weak", strength=1)

    assert (await send(house, "sign_in_name,display_name\na,A\n", token="weak")).json["code"] == "proof_required"


async def test_a_file_is_looked_into_for_nobody_who_may_not_send_one(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.open_session(boss, "weak", strength=1)
    await house.appoint("help", "helpdesk_administrator")
    read = []

    def never(content: bytes, **_: object) -> None:
        read.append(content)
        raise AssertionError

    monkeypatch.setattr(roster_file, "read_head", never)

    for token, code in (("weak", "proof_required"), ("help", "not_allowed")):
        assert (await send(house, "no such file", token=token)).json["code"] == code
    assert read == []


async def test_the_same_wish_twice_is_one_and_another_waits_for_it(house: House, boss: Person) -> None:
    content = "sign_in_name,display_name\na,A\n"
    first = await send(house, content)

    again, other, busy, bare = (
        await send(house, content),
        await send(house, content + "b,B\n"),
        await send(house, content, key="another"),
        await house.ask("POST", "/account-exports", token="boss"),
    )

    assert (again.status, again.json["id"]) == (202, first.json["id"])
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert (busy.status, busy.json["code"], busy.json["job_id"]) == (409, "action_in_progress", first.json["id"])
    assert (bare.status, bare.json["code"]) == (400, "idempotency_key_required")
    await work_off(house, first.json["id"])
    assert (await send(house, content, key="another")).status == 202


async def test_two_who_ask_at_once_are_one_and_one_who_waits(house: House, boss: Person) -> None:
    await house.appoint("second")
    content = "sign_in_name,display_name\na,A\n"

    answers = await asyncio.gather(send(house, content), send(house, content, token="second"))

    assert sorted(one.status for one in answers) == [202, 409]


async def test_tenants_apart_another_organizations_file_is_not_there(house: House, boss: Person) -> None:
    shown = await read_in(house, "sign_in_name,display_name\na,A\n")
    asked = await house.ask("POST", "/account-exports", token="boss", headers={"Idempotency-Key": "e"})
    await work_off(house, asked.json["id"])
    elsewhere = await found(house.db, house.clock.now)
    await house.appoint("stranger", organization_id=elsewhere)

    for path in (
        f"/account-imports/{shown['job_id']}",
        f"/account-imports/{shown['job_id']}/rows",
        f"/account-imports/{shown['job_id']}/report",
        f"/account-exports/{asked.json['id']}",
        f"/account-exports/{asked.json['id']}/file",
    ):
        assert (await fetch(house, path, "stranger"))[0] == 404
    assert (await fetch(house, f"/account-exports/{shown['job_id']}"))[0] == 404, "a job of another kind"


@pytest.mark.parametrize("how", ["blocked", "role"])
async def test_who_may_no_longer_has_nothing_more_done(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(import_accounts, "AT_ONCE", 2)
    monkeypatch.setattr(import_accounts, "BATCHES", 1)
    user = await house.appoint("user", "user_administrator")
    asked = await send(house, "sign_in_name,display_name\n" + "".join(f"p{n},P\n" for n in range(6)), token="user")
    await run_job(needs(house), UUID(asked.json["id"]))
    async with house.db.write() as tx:
        if how == "blocked":
            await account.block(tx, user.id, house.clock.now)
        else:
            await organization.set_roles(tx, user.organization_id, user.id, ("directory_reader",))

    held = await work_off(house, asked.json["id"])

    assert (held.state, held.reason) == (JobState.FAILED, "role_withdrawn")
    shown = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json
    assert (shown["rows"], shown["created"]) == (2, 2), "what is done stays"
    assert await counts(house) == 4


# What is told of others' names


async def use_up(house: House, organization_id: UUID, but: int) -> None:
    """All but so many of the names that an organization may be told of."""
    async with house.db.write() as tx:
        await throttle.take_many(tx, NAMES_TAKEN, str(organization_id), NAMES_TAKEN.limit - but, await tx.now())


async def name(house: House, sign_in_name: str, token: str = "boss") -> Answer:
    body = {"sign_in_name": sign_in_name, "display_name": "X"}
    return await house.ask("POST", "/accounts", body, token=token)


@pytest.mark.parametrize("query", ["?dry_run=true", "?invite=false"])
async def test_a_file_tells_of_as_many_names_of_others_as_a_single_account_and_a_trial_of_no_more(
    house: House, boss: Person, query: str
) -> None:
    elsewhere = await found(house.db, house.clock.now)
    for other in ("zoe", "yan", "xia"):
        await house.hire(other, organization_id=elsewhere)
    gone = await house.hire("gone")
    await house.ask("DELETE", f"/accounts/{gone.id}", token="boss")
    await house.hire("ours")
    await use_up(house, boss.organization_id, but=2)

    rows = "gone,X\nzoe,X\nfree,X\nyan,X\nxia,X\nother,X\nours,X\n"
    shown = await read_in(house, f"sign_in_name,display_name\n{rows}", query)

    assert [(row[1], row[2], row[3]) for row in await rows_of(house, shown)] == [
        ("gone", "refused", "sign_in_name_taken"),
        ("zoe", "refused", "sign_in_name_taken"),
        ("free", "created", None),
        ("yan", "refused", "sign_in_name_taken"),
        ("xia", "refused", "too_many_tries"),
        ("other", "refused", "too_many_tries"),
        ("ours", "changed", None),
    ]
    after = await read_in(house, "sign_in_name,display_name\nxia,X\nother,X\n", query, key="after")
    assert {row[3] for row in await rows_of(house, after)} == {"too_many_tries"}


async def test_a_single_account_and_a_renaming_are_counted_with_the_files(house: House, boss: Person) -> None:
    elsewhere = await found(house.db, house.clock.now)
    await house.hire("zoe", organization_id=elsewhere)
    anna = await house.hire("anna")
    await use_up(house, boss.organization_id, but=2)
    shown = await house.ask("GET", f"/accounts/{anna.id}/profile", token="boss")
    as_seen = {"If-Match": shown.headers["ETag"]}

    async def rename(to: str) -> Answer:
        body = {"sign_in_name": to}
        return await house.ask("PATCH", f"/accounts/{anna.id}/profile", body, token="boss", headers=as_seen)

    assert [(await name(house, one)).status for one in ("new", "anna")] == [201, 409], "one's own count for nothing"
    assert (await name(house, "zoe")).json["code"] == "sign_in_name_taken"
    assert (await rename("zoe")).json["code"] == "sign_in_name_taken"
    refused = [await name(house, "zoe"), await name(house, "free"), await rename("zoe"), await rename("free")]
    assert {(one.status, one.json["code"]) for one in refused} == {(429, "too_many_tries")}
    counts = (await house.ask("GET", "/throttles", token="boss")).json["items"]
    assert [(one["kind"], one["lane"], one["tries"]) for one in counts] == [("name_taken_1d", "organization", 100)]
    await house.appoint("chief", organization_id=elsewhere)
    assert (await name(house, "free", "chief")).status == 201, "each organization for itself"
    house.clock.now += timedelta(days=1) - timedelta(microseconds=1)
    await house.open_session(boss, "later", strength=2)
    assert (await name(house, "anew", "later")).status == 429
    house.clock.now += timedelta(microseconds=1)
    assert (await name(house, "anew", "later")).status == 201


# Stopped in the middle


async def cancel(house: House, job_id: str, token: str = "boss") -> Answer:
    return await house.ask("POST", f"/jobs/{job_id}/cancel", token=token)


async def test_an_import_is_stopped_between_two_batches_and_what_is_done_stays(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_accounts, "AT_ONCE", 2)
    monkeypatch.setattr(import_accounts, "BATCHES", 2)
    content = "sign_in_name,display_name\n" + "".join(f"p{n},P\n" for n in range(7))
    asked = await send(house, content)
    await run_job(needs(house), UUID(asked.json["id"]))
    assert (await house.ask("GET", f"/jobs/{asked.json['id']}", token="boss")).json["available_actions"] == ["cancel"]

    stopped = await cancel(house, asked.json["id"])
    await run_job(needs(house), UUID(asked.json["id"]))

    assert (stopped.status, stopped.json["state"], stopped.json["reason"]) == (200, "cancelled", "by_person")
    assert stopped.json["available_actions"] == []
    shown = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json
    assert (shown["state"], shown["rows"], shown["created"]) == ("cancelled", 4, 4)
    assert shown["report_until"] == "2026-03-31T12:00:00Z"
    assert await counts(house) == 5
    assert await house.rows(sa.select(sheet.sheet_part)) == [], "what was sent is not kept any longer"
    assert await house.told(boss) == ["job.import_accounts.cancelled"]
    assert (await house.events())["account:import_accounts:cancelled", "failure", "by_person"] == 1
    assert (await cancel(house, asked.json["id"])).json["code"] == "too_late_to_cancel"
    rest = await read_in(house, content, key="rest")
    assert (rest["unchanged"], rest["created"]) == (4, 3)


async def test_one_that_no_run_has_begun_is_stopped_before_its_first_row(house: House, boss: Person) -> None:
    asked = await send(house, "sign_in_name,display_name\na,A\n", "?dry_run=true")

    assert (await cancel(house, asked.json["id"])).status == 200
    await run_job(needs(house), UUID(asked.json["id"]))

    assert await counts(house) == 1
    assert await house.told(boss) == ["job.import_accounts.trial_stopped"]
    assert (await send(house, "sign_in_name,display_name\na,A\n", key="next")).status == 202, "nobody waits for it"


async def test_a_file_that_is_being_made_is_stopped_and_nothing_is_kept_of_it(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.jobs import export_accounts

    monkeypatch.setattr(export_accounts, "AT_ONCE", 1)
    monkeypatch.setattr(export_accounts, "BATCHES", 2)
    await house.hire("anna")
    asked = await house.ask("POST", "/account-exports", token="boss", headers={"Idempotency-Key": "k"})
    await run_job(needs(house), UUID(asked.json["id"]))
    assert len(await house.rows(sa.select(sheet.sheet_part))) == 1

    stopped = await cancel(house, asked.json["id"])

    assert (stopped.status, stopped.json["state"]) == (200, "cancelled")
    assert await house.rows(sa.select(sheet.sheet_part)) == []
    assert (await fetch(house, f"/account-exports/{asked.json['id']}/file"))[0] == 404
    assert await house.told(boss) == ["job.export_accounts.cancelled"]


@pytest.mark.parametrize(
    ("role", "status"),
    [("global_administrator", 200), ("user_administrator", 200), ("groups_administrator", 404)],
)
async def test_whoever_may_start_one_may_stop_anothers_and_nobody_else(
    house: House, boss: Person, role: str, status: int
) -> None:
    asked = await send(house, "sign_in_name,display_name\na,A\n")
    other = await house.appoint("other", role)
    await house.open_session(other, "weak", strength=1)
    elsewhere = await found(house.db, house.clock.now)
    await house.appoint("stranger", organization_id=elsewhere)

    assert (await cancel(house, asked.json["id"], "stranger")).status == 404
    assert (await cancel(house, asked.json["id"], "weak")).status == (401 if status == 200 else 404)
    assert (await see(house, asked.json["id"])).is_open
    stopped = await cancel(house, asked.json["id"], "other")

    assert stopped.status == status
    if status == 200:
        assert stopped.json["timeline"][-1]["by"] == "administrator"
        assert await house.told(boss) == ["job.import_accounts.cancelled"], "it is told to whoever asked"


async def test_two_who_stop_each_others_file_at_once_both_can(house: House, boss: Person) -> None:
    """Each is told of theirs: their accounts are held in one order."""
    await house.appoint("other")
    read = await send(house, "sign_in_name,display_name\na,A\n")
    made = await house.ask("POST", "/account-exports", token="other", headers={"Idempotency-Key": "k"})

    stopped = await asyncio.gather(cancel(house, read.json["id"], "other"), cancel(house, made.json["id"], "boss"))

    assert [one.status for one in stopped] == [200, 200]


@pytest.mark.parametrize("step", ["import.before_commit", "import.committed"])
@pytest.mark.parametrize("passing", [1, 2, 3])
async def test_of_a_stop_and_the_end_one_wins_and_no_row_is_done_twice_or_untold(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch, step: str, passing: int
) -> None:
    monkeypatch.setattr(import_accounts, "AT_ONCE", 3)
    content = "sign_in_name,display_name\n" + "".join(f"p{n},P\n" for n in range(8))
    asked = await send(house, content)
    stops: list[asyncio.Task[Answer]] = []

    class Racer(Fault):
        """Somebody wants it stopped while a batch is written, or between two."""

        def mark(self, step: str) -> None:
            self._passed[step] += 1
            if step == self.step and self._passed[step] == self.passing:
                stops.append(asyncio.ensure_future(cancel(house, asked.json["id"])))

    await run_job(needs(house, Racer(step, passing)), UUID(asked.json["id"]))

    (answer,) = await asyncio.gather(*stops)
    shown = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json
    assert (answer.status, shown["state"]) in {(200, "cancelled"), (409, "succeeded")}
    assert passing < 3 or answer.status == 409, "the last batch was its end"
    lines = await house.rows(sa.select(sheet.sheet_row.c.line))
    assert shown["rows"] == shown["created"] == len(lines) == await counts(house) - 1
    assert shown["rows"] == 8 if answer.status == 409 else 3 * passing <= shown["rows"] < 8
    told = "cancelled" if answer.status == 200 else "succeeded"
    assert await house.told(boss) == [f"job.import_accounts.{told}"]
    rest = await read_in(house, content, key="rest")
    assert (rest["unchanged"], rest["created"]) == (shown["rows"], 8 - shown["rows"])


# Progress, and death in the middle


async def test_it_is_worked_off_in_turns_and_says_how_far_it_is(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_accounts, "AT_ONCE", 2)
    monkeypatch.setattr(import_accounts, "BATCHES", 2)
    asked = await send(house, "sign_in_name,display_name\n" + "".join(f"p{n},P\n" for n in range(7)))
    bell = Bell()
    turn = Needs(house.db, {}, {}, house.keys, cast("Any", bell), Fault())

    seen = []
    for _ in range(3):
        await run_job(turn, UUID(asked.json["id"]))
        shown = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json
        seen.append((shown["state"], shown["rows"], shown["done"] < shown["size"]))

    assert seen == [("waiting", 4, True), ("succeeded", 7, False), ("succeeded", 7, False)]
    assert bell.heard() == [UUID(asked.json["id"])], "it rings for its next turn itself"


class Died(BaseException):
    """As good as killed: no handler of ours catches it."""


class Killer(Fault):
    def mark(self, step: str) -> None:
        self._passed[step] += 1
        if step == self.step and self._passed[step] == self.passing:
            raise Died


@pytest.mark.parametrize("step", ["import.before_commit", "import.committed"])
@pytest.mark.parametrize("passing", [1, 2, 3])
async def test_a_run_that_dies_leaves_no_row_out_and_does_none_twice(
    house: House, boss: Person, monkeypatch: pytest.MonkeyPatch, step: str, passing: int
) -> None:
    monkeypatch.setattr(import_accounts, "AT_ONCE", 3)
    asked = await send(house, "sign_in_name,display_name\n" + "".join(f"p{n},P\n" for n in range(8)), "")
    with pytest.raises(Died):
        await run_job(needs(house, Killer(step, passing)), UUID(asked.json["id"]))
    if (await see(house, asked.json["id"])).is_open:
        house.clock.now += LEASE
        await house.open_session(boss, "boss2", strength=2)

    held = await work_off(house, asked.json["id"])

    assert held.state is JobState.SUCCEEDED
    made = await house.rows(sa.select(event.c.account_id).where(event.c.action == "account:life:create"))
    assert len({row.account_id for row in made}) == len(made) == 8
    assert await counts(house) == 9
    lines = await house.rows(sa.select(sheet.sheet_row).order_by(sheet.sheet_row.c.number))
    assert [(row.number, row.line, row.outcome) for row in lines] == [(n, n + 1, "created") for n in range(1, 9)]


async def test_a_run_that_lost_its_lease_does_nothing(house: House, boss: Person) -> None:
    asked = await send(house, "sign_in_name,display_name\na,A\n")
    async with house.db.write() as tx:
        stale = await runs.claim(tx, UUID(asked.json["id"]))
    house.clock.now += LEASE
    assert stale is not None
    await work_off(house, asked.json["id"])

    await import_accounts.run(needs(house), stale)

    assert await counts(house) == 2


# Whatever is sent


NAMES = st.sampled_from(["anna", "ANNA", "bert@example.org", "a b", "", "=1+1", "boss", "zoe", "x" * 114, "'+x", "é"])
TEXTS = st.one_of(
    st.sampled_from(["", "Care", "=cmd", "+31", "@x", "-1", "'=x", "a\u202eb", "é" * 257, "gb", "uk"]),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
)
ROWS = st.lists(st.tuples(NAMES, TEXTS, TEXTS, TEXTS), max_size=12)


def spelled(rows: Iterable[Iterable[str]]) -> bytes:
    into = io.StringIO()
    csv.writer(into).writerows(rows)
    return into.getvalue().encode("utf-8", "surrogatepass")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(rows=ROWS, noise=st.binary(max_size=60))
async def test_whatever_is_sent_every_row_has_one_result_and_nobody_else_is_touched(
    house: House, rows: list[tuple[str, str, str, str]], noise: bytes
) -> None:
    for name in ("boss", "zoe"):
        if not await house.rows(sa.select(account.account).where(account.account.c.sign_in_name == name)):
            await house.appoint() if name == "boss" else await house.hire(
                name, organization_id=await found(house.db, house.clock.now)
            )
    content = b"sign_in_name,display_name,department,usage_location\r\n" + spelled(rows) + noise
    key = str(time.monotonic_ns())

    shown = await read_in(house, content, key=key)
    lines = await house.rows(sa.select(sheet.sheet_row).where(sheet.sheet_row.c.job_id == UUID(shown["job_id"])))

    assert shown["state"] == "succeeded"
    assert shown["done"] == shown["size"] == len(content)
    assert Counter(line.outcome for line in lines) == {
        name: shown[name] for name in ("created", "changed", "unchanged", "refused") if shown[name]
    }
    assert sorted(line.number for line in lines) == list(range(1, len(lines) + 1))
    names = [line.name for line in lines if line.outcome != "refused"]
    assert len(set(names)) == len(names)
    (zoe,) = await house.rows(sa.select(account.account).where(account.account.c.sign_in_name == "zoe"))
    assert zoe.display_name == "Zoe"
    assert await house.rows(sa.select(profile).where(profile.c.account_id == zoe.id)) == []


# A hundred thousand


def peak(*, anew: bool = False) -> int:
    """Bytes: the most that this process has held, since it was last measured anew."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_as_many_as_a_hundred_thousand_rows_in_bounded_memory(
    house: House, boss: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    # The memory is that of the worker, whatever the database: one of them is asked for all of it.
    many, most = 100_000 if house.db.dialect == "sqlite" else 20_000, 48 * 1024 * 1024
    content = "sign_in_name,display_name,department,mobile_phone\n" + "".join(
        f"p{n}@example.org,Person {n},Department {n % 100},+31 6{n:08}\n" for n in range(many)
    )
    asked = await send(house, content)
    assert asked.status == 202
    size = len(content)
    del content
    await run_job(needs(house), UUID(asked.json["id"]))  # a first turn, so that everything is loaded
    gc.collect()
    before, began = peak(anew=True), time.monotonic()
    already = (await house.ask("GET", f"/account-imports/{asked.json['id']}", token="boss")).json["rows"]

    held = await work_off(house, asked.json["id"])

    seconds, grown = time.monotonic() - began, peak() - before
    with capsys.disabled():
        rate = (many - already) / seconds
        print(  # noqa: T201 - the figure
            f"\n{many} rows ({size / 1e6:.1f} MB) on {house.db.dialect}: {rate:.0f} rows/s,"
            f" {grown / 1e6:.1f} MB more at the peak"
        )
    assert held.state is JobState.SUCCEEDED
    made = await house.rows(sa.select(sa.func.count()).select_from(account.account))
    assert made[0][0] == many + 1
    assert grown < most
