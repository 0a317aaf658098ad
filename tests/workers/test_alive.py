import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from models import heartbeat
from models.database import Database
from models.settings import DatabaseSettings
from workers.alive import alive, beating

WITHIN = 10.0


async def test_a_sign_of_life_is_given_again_and_again_whatever_the_database_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    beats: asyncio.Queue[None] = asyncio.Queue()

    async def beat() -> None:
        beats.put_nowait(None)
        raise ConnectionError("the database is away")

    async with asyncio.timeout(WITHIN), beating(beat, every=0.0):
        for _ in range(3):
            await beats.get()

    assert "the sign of life was not written" in caplog.messages


async def test_a_process_has_a_row_while_it_lives_and_none_after(tmp_path: Path) -> None:
    database = Database(DatabaseSettings(f"sqlite:///{tmp_path}/alive.db"))
    await database.open()
    async with database.write() as tx:
        await tx.execute(sa.schema.CreateTable(heartbeat.heartbeat))

    async def living() -> int:
        async with database.read() as tx:
            return await heartbeat.alive(tx, "worker", await tx.now())

    async with asyncio.timeout(WITHIN), alive(database, kind="worker"):
        while not await living():  # noqa: ASYNC110 - the first beat is written by another task
            await asyncio.sleep(0.01)

    assert await living() == 0
    await database.close()
