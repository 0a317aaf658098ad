"""Google's notices over real HTTP, into the real database: who is heard, what comes of it, and what is never kept."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import job, seen_message
from models.base import metadata
from models.enrollment import enrollment
from models.vocabulary import Act, JobState
from platforms.android.acts import Planned
from platforms.base import Keys, Shared
from tests import runs
from tests.api.house import House
from tests.people import Person, give_device
from tests.platforms.android.world import DEVICE, HANDLER, NOW, OPERATION, PASSWORD, SIGNER, Signer, operation, push

SPELLED = PASSWORD.encode()


class Source:
    async def keys(self) -> Keys:
        return Keys(SIGNER.known, timedelta(hours=1))


@asynccontextmanager
async def source(shared: Shared) -> AsyncIterator[Source]:
    yield Source()


@pytest.fixture(autouse=True)
def speaking_android(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("max_body", "identify", "read", "judge", "write", "refuse"):
        monkeypatch.setattr(house.platform, name, getattr(HANDLER, name), raising=False)
    monkeypatch.setattr(house.platform, "open_channel", source, raising=False)
    house.clock.now = NOW


@pytest.fixture
async def anna(house: House) -> Person:
    return await house.hire()


@pytest.fixture
async def phone(house: House, anna: Person) -> UUID:
    device_id = await give_device(house.db, anna, NOW)
    async with house.db.write() as tx:
        await tx.execute(sa.update(enrollment).values(address=DEVICE))
    return device_id


async def hear(house: House, body: bytes, signer: Signer = SIGNER, **claims: Any) -> int:
    headers = {"Authorization": f"Bearer {signer.token(**claims)}"}
    async with house.client.post("/devices/pocket/notices", data=BytesIO(body), headers=headers) as response:
        return response.status


async def order(house: House, anna: Person, phone: UUID) -> UUID:
    """A lock that Google holds."""
    async with house.db.write() as tx:
        asked = await runs.ask(tx, anna, phone, Act.REMOTE_LOCK, NOW)
        held = await runs.planned(tx, house.keys, asked.id, NOW, plan=Planned().write(), by_courier=True)
        await job.deliver(tx, held, by="worker", now=NOW, receipt=OPERATION)
    return held.id


async def state(house: House, job_id: UUID) -> str:
    (row,) = await house.rows(sa.select(job.job.c.state).where(job.job.c.id == job_id))
    return str(row.state)


async def test_only_google_speaking_for_our_account_is_heard(house: House) -> None:
    body = push("COMMAND", operation())

    assert await hear(house, body, Signer("key-1")) == 401
    assert await hear(house, body, Signer("nobody's")) == 401
    assert await hear(house, body, aud="https://elsewhere.example") == 401
    assert await hear(house, body, email="another@latchkey-demo.iam.gserviceaccount.com") == 403
    assert await house.rows(sa.select(seen_message.seen_message)) == []


async def test_of_a_phone_that_we_do_not_know_nothing_is_asked_again(house: House) -> None:
    assert await hear(house, push("COMMAND", operation())) == 204


@pytest.mark.usefixtures("phone")
async def test_a_notice_that_outran_our_commit_is_asked_for_again_and_then_let_go(
    house: House, anna: Person, phone: UUID
) -> None:
    body = push("COMMAND", operation(metadata={"type": "LOCK"}))
    assert await hear(house, body) == 503

    job_id = await order(house, anna, phone)
    assert [await hear(house, body), await hear(house, body)] == [204, 204]

    assert await state(house, job_id) == JobState.SUCCEEDED
    stranger = push("COMMAND", operation() | {"name": f"{DEVICE}/operations/7"}, messageId="2", at=NOW)
    assert await hear(house, stranger) == 503
    house.clock.forward(timedelta(minutes=5, seconds=1))
    assert await hear(house, stranger) == 204


@pytest.mark.usefixtures("phone")
async def test_a_report_of_five_megabytes_is_taken(house: House) -> None:
    large = {"name": DEVICE, "state": "ACTIVE", "applicationReports": ["x" * 5_000_000]}

    assert await hear(house, push("STATUS_REPORT", large)) == 204


async def test_a_password_in_a_notice_is_kept_nowhere(
    house: House, anna: Person, phone: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await order(house, anna, phone)
    whole = operation(error={"code": 3, "message": f"not {PASSWORD}"})

    for number, value in enumerate((whole, b'{"metadata": {"newPassword": "' + SPELLED, {**whole, "name": PASSWORD})):
        assert await hear(house, push("COMMAND", value, messageId=str(number))) == 204

    kept = [str(tuple(row)) for table in metadata.sorted_tables for row in await house.rows(sa.select(table))]
    assert any(OPERATION in row for row in kept)
    assert not any(PASSWORD in text for text in [*kept, caplog.text, *map(str, map(vars, caplog.records))])
