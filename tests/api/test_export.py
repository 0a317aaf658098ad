"""A file of one's own data: a job makes it, its person alone reads it, and after a day it is gone."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import export
from models.account import account
from models.base import metadata
from models.delivery import delivery
from models.export import SECTIONS, export_part
from models.fault import Fault
from models.job import LEASE, job
from models.notification import notification
from models.sealed import SealBroken
from models.session import SessionState
from models.session import session as sessions
from models.settings import ACCOUNT_KEPT, EXPORT_KEPT, FRESH_PROOF, MEMBERSHIP_KEPT
from models.verification import VerificationKind
from models.vocabulary import new_id
from tests.api.house import Answer, House, give_address
from tests.api.test_erasure import FROM, be_elsewhere, delete, live, sweep_of
from tests.clock import NOON
from tests.people import give_device, give_terms
from tests.workers.shop import Bell
from workers.needs import Needs
from workers.run_job import run_job

MOMENT = timedelta(microseconds=1)


class Killed(BaseException):
    """As a process that ends here."""


class Killer(Fault):
    """Ends the run at the n-th mark of the export."""

    def __init__(self, at: int) -> None:
        object.__setattr__(self, "left", iter(range(at - 1)))

    def mark(self, step: str) -> None:
        if step.startswith("export.") and next(self.left, None) is None:  # type: ignore[attr-defined] # set above
            raise Killed


def needs(house: House, fault: Fault | None = None) -> Needs:
    return Needs(house.db, {}, {}, house.keys, Bell(), fault or Fault())  # type: ignore[arg-type] # a bell is all it needs


async def ask(house: House, token: str = "t", key: str = "export-0001") -> Answer:
    return await house.ask("POST", "/exports", token=token, headers={"Idempotency-Key": key})


async def read(
    house: House, export_id: str, token: str = "t", method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.1"}
    path = f"/api/v1/exports/{export_id}/file"
    async with house.client.request(method, path, headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


async def make(house: House, token: str = "t", key: str = "export-0001") -> str:
    """Asked for, and made."""
    asked = await ask(house, token, key)
    assert asked.status == 202, asked.json
    await finish(house, asked.json["id"])
    return str(asked.json["id"])


async def finish(house: House, export_id: str) -> None:
    for _ in range(50):
        await run_job(needs(house), UUID(export_id))
        (row,) = await house.rows(sa.select(job.c.state).where(job.c.id == UUID(export_id)))
        if row.state not in {"queued", "waiting"}:
            return
    raise AssertionError("it never ends")


async def tell_me(house: House, token: str = "t") -> Any:
    status, _, body = await read(house, await make(house, token), token)
    assert status == 200
    return json.loads(body)


async def test_a_person_has_a_file_made_hears_of_it_and_reads_all_that_is_known_of_them(house: House) -> None:
    anna = await live(house)

    asked = await ask(house)
    before = (await house.ask("GET", "/exports", token="t")).json["items"]
    await finish(house, asked.json["id"])
    after = (await house.ask("GET", "/exports", token="t")).json["items"]
    status, headers, body = await read(house, asked.json["id"])

    assert (asked.status, asked.headers["Location"]) == (202, f"/api/v1/jobs/{asked.json['id']}")
    assert before == []
    assert [(one["id"], one["state"], one["readable_until"]) for one in after] == [
        (asked.json["id"], "ready", "2026-03-02T12:00:00Z")
    ]
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "application/json", "no-store")
    assert headers["Content-Disposition"] == 'attachment; filename="latchkey-2026-03-01.json"'
    assert int(headers["Content-Length"]) == len(body) == after[0]["size"]
    said = json.loads(body)
    assert list(said) == ["made_at", *(section.name for section in SECTIONS)]
    assert (said["account"][0]["sign_in_name"], said["account"][0]["display_name"]) == ("anna", "Anna")
    assert {one["address"] for one in said["contacts"]} == {"anna.wiederhold@example.org", "+31 20 555 0100"}
    assert [one["name"] for one in said["devices"]] == ["Wiederhold's phone"]
    assert "203.0.113.77" in {one["address"] for one in said["sign_ins"]}
    assert {"from": "anna's phone", "to": "Wiederhold's phone"} in [one["facts"] for one in said["record"]]
    assert [one["accepted"] for one in said["terms"]] == [True]
    assert {one["kind"] for one in said["jobs"]} == {"remote_lock", "export"}
    assert "job.export.succeeded" in await house.told(anna)
    letters = await house.rows(sa.select(delivery.c.key).where(delivery.c.account_id == anna.id))
    assert Counter(row.key for row in letters)["export.ready"] == 1
    lines = [one.row.action for verb in ("ask", "read") for one in await house.lines(f"account:export:{verb}")]
    assert lines == ["account:export:ask", "account:export:read"]


@pytest.mark.parametrize("age", [timedelta(0), 2 * MEMBERSHIP_KEPT + timedelta(days=1)], ids=["just", "long ago"])
async def test_what_is_kept_in_an_organization_that_was_left_is_told(house: House, age: timedelta) -> None:
    anna = await house.hire("anna")
    guest = await be_elsewhere(house, anna)
    house.clock.forward(age)
    while await sweep_of(house).erase():
        pass
    await house.open_session(anna, "t", strength=2)

    said = await tell_me(house)

    beta = str(guest.organization_id)
    assert [one["organization_id"] for one in said["devices"]] == [beta]
    assert "remote_lock" in {one["kind"] for one in said["jobs"] if one["organization_id"] == beta}
    assert "device:remote_lock:ask" in {one["action"] for one in said["record"] if one["organization_id"] == beta}
    left = "former_memberships" if age == timedelta(0) else "bygone_memberships"
    assert [one["organization_id"] for one in said[left]] == [beta]


async def test_no_secret_is_in_it_and_nothing_of_others(house: House) -> None:
    anna = await live(house)
    await house.appoint("boss")
    await house.ask(
        "POST",
        f"/accounts/{anna.id}/sign-out-everywhere",
        {"reason": "ticket 4711"},
        token="boss",
        address="198.51.100.9",
        headers={"Idempotency-Key": "boss-revoke-01", "User-Agent": "Bossbrowser/1"},
    )
    await house.open_session(anna, "again", strength=2)
    async with house.db.write() as tx:
        await tx.execute(sa.update(sessions).values(generation=1))
    bert = await house.hire("bertram")
    await house.open_session(bert, "b")
    await give_device(house.db, bert, house.clock.now)

    said = json.dumps(await tell_me(house, "again")).lower()

    assert "ticket 4711" in said, "what was said of them is theirs to read"
    assert not [one for one in ("198.51.100", "bossbrowser", "boss", "bertram", str(bert.id)) if one in said]
    async with house.db.read() as tx:
        for table in metadata.sorted_tables:
            secret = [c for c in table.c if isinstance(c.type, sa.LargeBinary) or c.name.endswith("hash")]
            for row in await tx.execute(sa.select(*secret)) if secret else ():
                for value in row:
                    spelled = {value.hex(), repr(value)} if isinstance(value, bytes) else {str(value).lower()}
                    assert table.name == "photo" or value is None or not [one for one in spelled if one in said]
    assert anna.totp_secret is not None
    assert anna.totp_secret.lower() not in said


def test_of_every_table_that_names_an_account_it_is_said_whether_it_is_told() -> None:
    told = {
        "account",
        "profile",
        "photo",
        "membership",
        "former_membership",
        "bygone",
        "verification",
        "passkey",
        "contact",
        "browser",
        "session",
        "approval",
    }
    told |= {"sign_in", "device", "job", "re_sign_in", "app_use", "notification", "delivery", "terms_acceptance"}
    told |= {"terms_signer", "event"}
    secrets = {"passcode", "password_history", "passkey_handle", "recovery", "reset_link", "sent_code", "not_me"}
    itself = {"export"}
    of_others = {"sheet"}  # an administrator's file of accounts; the job that reads it is told

    naming = {table.name for table in metadata.tables.values() if "account_id" in table.c} | {"account"}

    assert naming == told | secrets | itself | of_others


@pytest.mark.parametrize(("age", "status"), [(FRESH_PROOF, 200), (FRESH_PROOF + MOMENT, 401)])
async def test_it_is_read_with_a_proof_of_five_minutes_at_most(house: House, age: timedelta, status: int) -> None:
    await house.open_session(await house.hire("anna"), "t")
    export_id = await make(house)
    house.clock.forward(age)

    found, headers, body = await read(house, export_id)

    assert found == status
    if status == 401:
        assert json.loads(body)["code"] == "proof_required"
        assert "max_age=300" in headers["WWW-Authenticate"]


async def test_another_persons_file_does_not_exist(house: House) -> None:
    await house.open_session(await house.hire("anna"), "t")
    await house.open_session(await house.hire("bert"), "b")
    await house.appoint("boss")
    export_id = await make(house)

    strange = [await read(house, export_id, token) for token in ("b", "boss")]
    nothing = await read(house, str(new_id(NOON)), "b")

    assert [(status, json.loads(body)["code"]) for status, _, body in strange] == [(404, "not_found")] * 2
    assert json.loads(nothing[2])["code"] == "not_found"
    assert (await house.ask("GET", "/exports", token="b")).json["items"] == []


async def test_a_device_job_is_no_file_and_one_that_is_being_made_is_none_yet(house: House) -> None:
    anna = await house.hire("anna")
    await house.open_session(anna, "t")
    phone = await give_device(house.db, anna, house.clock.now)
    lock = await house.ask(
        "POST", f"/devices/{phone}/remote-lock", token="t", headers={"Idempotency-Key": "anna-lock-0001"}
    )
    asked = await ask(house)

    answers = [await read(house, lock.json["id"]), await read(house, asked.json["id"])]

    assert [(status, json.loads(body)["code"]) for status, _, body in answers] == [
        (404, "not_found"),
        (409, "export_not_ready"),
    ]


async def test_it_can_be_read_up_to_a_day_after_it_was_ready_and_is_erased_then(house: House) -> None:
    anna = await house.hire("anna")
    await house.open_session(anna, "t")
    export_id = await make(house)
    house.clock.forward(EXPORT_KEPT - MOMENT)
    await house.open_session(anna, "later")
    await sweep_of(house).erase()
    last = await read(house, export_id, "later")
    house.clock.forward(MOMENT)
    late = await read(house, export_id, "later")

    await sweep_of(house).erase()

    assert (last[0], late[0], json.loads(late[2])["code"]) == (200, 410, "export_gone")
    assert await house.rows(sa.select(export_part.c.number)) == []
    assert (await read(house, export_id, "later"))[0] == 410
    assert (await house.ask("GET", "/exports", token="later")).json["items"] == []
    assert (await house.ask("GET", f"/jobs/{export_id}", token="later")).json["state"] == "succeeded"


async def test_one_at_a_time_and_two_a_day(house: House) -> None:
    await house.open_session(await house.hire("anna"), "t")
    first = await ask(house, key="export-0001")

    again, other = await ask(house, key="export-0001"), await ask(house, key="export-0002")
    without = await house.ask("POST", "/exports", token="t")
    await finish(house, first.json["id"])
    await make(house, key="export-0003")
    third = await ask(house, key="export-0004")
    house.clock.forward(timedelta(days=1))
    await house.open_session(await house.hire("bert"), "b")

    assert (again.status, again.json["id"]) == (202, first.json["id"])
    assert (other.status, other.json["code"], other.json["job_id"]) == (409, "action_in_progress", first.json["id"])
    assert (without.status, without.json["code"]) == (400, "idempotency_key_required")
    assert (third.status, third.json["code"], third.headers["Retry-After"]) == (429, "too_many_tries", "86400")


async def test_a_day_later_there_is_room_again(house: House) -> None:
    anna = await house.hire("anna")
    await house.open_session(anna, "t")
    for n in range(2):
        await make(house, key=f"export-000{n}")
    house.clock.forward(timedelta(days=1))
    await house.open_session(anna, "later")

    assert (await ask(house, "later", "export-0009")).status == 202


async def test_two_who_ask_at_once_make_one(house: House) -> None:
    await house.open_session(await house.hire("anna"), "t")

    answers = await asyncio.gather(*(ask(house, key=f"export-000{n}") for n in range(4)))

    assert sorted(one.status for one in answers) == [202, 409, 409, 409]
    assert len(await house.rows(sa.select(job.c.id))) == 1


async def test_whoever_owes_an_answer_to_the_terms_has_their_data_all_the_same(house: House) -> None:
    anna = await house.hire("anna")
    await house.open_session(anna, "t")
    await give_terms(house.db, anna.organization_id, house.clock.now)
    async with house.db.write() as tx:
        await tx.execute(sa.update(sessions).values(state=SessionState.TERMS_REQUIRED.value))

    said = await tell_me(house)

    assert said["account"][0]["id"] == str(anna.id)
    assert (await house.ask("GET", "/profile", token="t")).json["code"] == "terms_required"


@pytest.mark.parametrize("at", [1, 2, 7, len(SECTIONS), len(SECTIONS) + 1])
async def test_a_worker_that_dies_anywhere_leaves_one_file_and_one_notice(house: House, at: int) -> None:
    anna = await live(house)
    asked = await ask(house)
    with pytest.raises(Killed):
        await run_job(needs(house, Killer(at)), UUID(asked.json["id"]))
    house.clock.forward(LEASE)

    await finish(house, asked.json["id"])

    await house.open_session(anna, "later", strength=2)
    status, _, body = await read(house, asked.json["id"], "later")
    assert status == 200
    assert list(json.loads(body)) == ["made_at", *(section.name for section in SECTIONS)]
    notices = await house.rows(sa.select(notification.c.key).where(notification.c.job_id == UUID(asked.json["id"])))
    assert [row.key for row in notices] == ["job.export.succeeded"]
    letters = await house.rows(sa.select(delivery.c.key).where(delivery.c.account_id == anna.id))
    assert Counter(row.key for row in letters)["export.ready"] == 1


async def test_a_run_that_lost_its_lease_writes_nothing_more(house: House) -> None:
    await live(house)
    asked = await ask(house)
    export_id = UUID(asked.json["id"])

    with pytest.raises(Killed):
        await run_job(needs(house, Killer(4)), export_id)
    house.clock.forward(LEASE)

    await asyncio.gather(*(run_job(needs(house), export_id) for _ in range(3)))
    await finish(house, asked.json["id"])

    numbers = [row.number for row in await house.rows(sa.select(export_part.c.number).order_by(export_part.c.number))]
    assert numbers == list(range(len(SECTIONS)))


@pytest.mark.parametrize("at_once", [1, 3])
async def test_however_small_the_parts_they_are_one_document(
    house: House, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    await live(house)
    for _ in range(5):
        await house.ask("POST", "/sessions", {"account": "anna", "password": "wrong"}, **FROM)
    whole = await tell_me(house)
    monkeypatch.setattr(export, "AT_ONCE", at_once)

    export_id = await make(house, key="export-0002")

    said = json.loads((await read(house, export_id))[2])
    for name in ("devices", "sign_ins", "sessions", "contacts", "terms"):
        assert said[name] == whole[name], name
    assert {one["id"] for one in whole["record"]} <= {one["id"] for one in said["record"]}
    assert len({one["id"] for one in said["record"]}) == len(said["record"])
    assert len(await house.rows(sa.select(export_part.c.number))) > 2 * len(SECTIONS)


async def test_what_lies_there_is_sealed_and_opens_in_its_place_alone(house: House) -> None:
    await live(house)
    export_id = UUID(await make(house))

    rows = await house.rows(sa.select(export_part.c.content).order_by(export_part.c.number))
    async with house.db.write() as tx:
        made = await export.of_job(tx, export_id)
        assert made is not None
        await tx.execute(sa.update(export_part).where(export_part.c.number == 1).values(content=rows[0].content))
        with pytest.raises(SealBroken):
            await export.part(tx, house.keys, made, 1)

    assert not [row for row in rows if b"anna" in row.content.lower() or b"sign_in" in row.content]


async def test_an_export_that_never_began_leaves_nothing_and_says_so(house: House) -> None:
    anna = await house.hire("anna")
    await house.open_session(anna, "t")
    asked = await ask(house)
    with pytest.raises(Killed):
        await run_job(needs(house, Killer(3)), UUID(asked.json["id"]))
    house.clock.forward(timedelta(hours=24))

    await sweep_of(house).jobs()

    assert await house.told(anna) == ["job.export.expired"]
    assert await house.rows(sa.select(export_part.c.number)) == []
    await house.open_session(anna, "later")
    assert (await read(house, asked.json["id"], "later"))[0] == 410


async def test_a_person_who_is_erased_takes_their_files_along(house: House) -> None:
    anna = await live(house)
    await make(house)
    await delete(house, anna)
    house.clock.forward(ACCOUNT_KEPT + MOMENT)
    async with house.db.write() as tx:
        await tx.execute(sa.update(export.export).values(gone_at=house.clock.now + EXPORT_KEPT))

    await sweep_of(house).people()

    assert await house.rows(sa.select(export_part.c.number)) == []
    (row,) = await house.rows(sa.select(account.c.erased_at).where(account.c.id == anna.id))
    assert row.erased_at == house.clock.now


async def test_a_head_is_answered_alike_without_the_file(house: House) -> None:
    await house.open_session(await house.hire("anna"), "t")
    export_id = await make(house)

    status, headers, body = await read(house, export_id, method="HEAD")
    whole = await read(house, export_id)

    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == whole[1]["Content-Length"]


async def test_addresses_are_told_whole_to_whom_they_belong(house: House) -> None:
    anna = await house.hire("anna")
    await house.open_session(anna, "t")
    await give_address(house, anna, VerificationKind.EMAIL, "anna@example.org")

    assert [one["address"] for one in (await tell_me(house))["contacts"]] == ["anna@example.org"]
