"""Reading a temporary passcode: by whom, when, how often, and what is left of it afterwards."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import passcode
from models.passcode import passcode as passcodes
from models.vocabulary import Act, PasscodeKind, Secret
from platforms.base import PasscodeRule
from tests import runs
from tests.api.house import Answer, House
from tests.people import Person, give_device

CODE = "Kx7pQ2mv"


async def with_a_code(house: House, **more: Any) -> tuple[Person, UUID]:
    """Anna, signed in just now, and her phone with a code that nobody has read."""
    house.platform.passcode = PasscodeRule(PasscodeKind.TEMPORARY_ALPHANUMERIC, "pocket.done", "pocket.reveal")
    anna = await house.hire("anna", **more)
    await house.open_session(anna, "t")
    device_id = await give_device(house.db, anna, house.clock.now, platform="pocket")
    await make_code(house, anna, device_id, CODE)
    return anna, device_id


async def make_code(house: House, person: Person, device_id: UUID, code: str) -> None:
    now = house.clock.now
    async with house.db.write() as tx:
        asked = await runs.ask(tx, person, device_id, Act.RESET_PASSCODE, now)
        await tx.execute(sa.text("UPDATE job SET state = 'succeeded'"))
        await passcode.keep(
            tx,
            organization_id=person.organization_id,
            device_id=device_id,
            account_id=person.id,
            job_id=asked.id,
            kind=PasscodeKind.TEMPORARY_ALPHANUMERIC,
            secret=Secret(code.encode()),
            keys=house.keys,
            readable_until=now + timedelta(hours=24),
            now=now,
        )


async def reveal(house: House, device_id: UUID, token: str = "t") -> Answer:
    return await house.ask("POST", f"/devices/{device_id}/passcode/reveal", token=token)


async def test_the_one_who_asked_reads_it_and_each_reading_is_written_down(house: House) -> None:
    anna, device_id = await with_a_code(house)

    shown = await house.ask("GET", f"/devices/{device_id}", token="t")
    first = await reveal(house, device_id)
    house.clock.forward(60)
    second = await reveal(house, device_id)

    assert shown.json["passcode"] == {"available_until": "2026-03-02T12:00:00Z"}
    assert CODE not in str(shown.json)
    expected = {"passcode": CODE, "kind": "temporary_alphanumeric", "readable_until": "2026-03-01T12:30:00Z"}
    assert (first.status, first.json) == (second.status, second.json) == (200, expected)
    assert first.headers["Cache-Control"] == "no-store"
    assert (await house.events(anna))["device:passcode:reveal", "success", None] == 2


@pytest.mark.rule("B7.3")
async def test_b7_t_its_owner_sees_who_looked_at_it(house: House) -> None:
    anna, device_id = await with_a_code(house)
    await house.open_session(await house.hire("bert"), "bert")
    await reveal(house, device_id)

    hers, his = [(await house.ask("GET", "/events", token=token)).json["items"] for token in ("t", "bert")]

    (line,) = [line for line in hers if line["action"] == "device:passcode:reveal"]
    assert line["actor"] == {"kind": "account", "id": str(anna.id)}
    assert his == []


async def test_it_is_readable_for_thirty_minutes_from_the_first_reading_to_the_last_moment(house: House) -> None:
    anna, device_id = await with_a_code(house)
    await reveal(house, device_id)

    house.clock.forward(timedelta(minutes=30))
    await house.open_session(anna, "later")
    at_the_end = await reveal(house, device_id, "later")
    house.clock.forward(0.001)
    gone = await reveal(house, device_id, "later")
    shown = await house.ask("GET", f"/devices/{device_id}", token="later")

    assert at_the_end.json["passcode"] == CODE
    assert (gone.status, gone.json["code"]) == (410, "passcode_gone")
    assert gone.json["next"] == "pocket.reveal"
    assert shown.json["passcode"] is None


async def test_reading_takes_proof_not_older_than_five_minutes(house: House) -> None:
    _, device_id = await with_a_code(house)

    house.clock.forward(300)
    at_the_edge = await reveal(house, device_id)
    house.clock.forward(0.001)
    stale = await reveal(house, device_id)

    assert at_the_edge.status == 200
    assert (stale.status, stale.json["code"]) == (401, "proof_required")
    assert "max_age=300" in stale.headers["WWW-Authenticate"]


async def test_nobody_else_can_read_it_and_is_told_nothing(house: House) -> None:
    _, device_id = await with_a_code(house)
    for name, more in (("admin", {"roles": ("global_administrator",)}), ("otto", {"is_operator": True})):
        await house.open_session(await house.hire(name, **more), name)

    answers = [await reveal(house, device_id, name) for name in ("admin", "otto")]

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(404, "not_found")] * 2


async def test_the_newest_replaces_the_older_and_what_was_sealed_is_gone(house: House) -> None:
    anna, device_id = await with_a_code(house)
    house.clock.forward(1)

    await make_code(house, anna, device_id, "N3wcode9")

    assert (await reveal(house, device_id)).json["passcode"] == "N3wcode9"
    rows = await house.rows(sa.select(passcodes).order_by(passcodes.c.created_at))
    assert [(row.sealed is None, row.why) for row in rows] == [(True, "replaced"), (False, None)]


async def test_where_no_code_was_made_yet_the_answer_says_so(house: House) -> None:
    _, device_id = await with_a_code(house)
    async with house.db.write() as tx:
        await tx.execute(sa.delete(passcodes))

    answer = await reveal(house, device_id)

    assert (answer.status, answer.json["code"], answer.json["reason"]) == (409, "nothing_to_reveal", "none_yet")
