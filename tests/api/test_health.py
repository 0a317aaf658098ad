import asyncio
from datetime import timedelta

import pytest

from api.keys import NEEDS
from api.operations.health import ANSWER_KEPT, Readiness
from models import duty, heartbeat, migrate
from tests.api.house import House
from tests.servers import RedisServer


async def beat(house: House) -> None:
    async with house.db.write() as tx:
        await heartbeat.beat(tx, process_id="w1", kind="worker", now=house.clock.now)
        await duty.take(tx, duty.SWEEP, "t1", timedelta(seconds=10), house.clock.now)


async def test_alive_asks_nothing_of_anybody(house: House) -> None:
    async with house.client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"ok": True, "checks": {}})


async def test_ready_when_all_is_there(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "is_current", lambda _: True)
    await beat(house)

    async with house.client.get("/readyz") as response:
        found = await response.json()

    assert response.status == 200, found
    assert found["ok"] is True
    assert found["checks"].keys() == {"database", "redis", "migration", "worker", "tick"}
    assert all(check["ok"] for check in found["checks"].values())


async def test_each_lack_is_named(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "is_current", lambda _: False)

    async with house.client.get("/readyz") as response:
        found = await response.json()

    assert response.status == 503
    assert {name for name, check in found["checks"].items() if not check["ok"]} == {"migration", "worker", "tick"}


async def test_a_silent_worker_and_a_lapsed_duty_are_noticed(house: House) -> None:
    await beat(house)
    house.clock.forward(16)

    async with house.client.get("/readyz") as response:
        checks = (await response.json())["checks"]

    assert not checks["worker"]["ok"]
    assert not checks["tick"]["ok"]


async def test_redis_that_does_not_answer_is_told_in_time(house: House, one_redis: RedisServer) -> None:
    one_redis.freeze(True)
    try:
        async with house.client.get("/readyz") as response:
            checks = (await response.json())["checks"]
    finally:
        one_redis.freeze(False)

    assert not checks["redis"]["ok"]
    assert checks["database"]["ok"]


async def test_an_answer_is_kept_for_a_second_and_asked_for_once_by_however_many(house: House) -> None:
    asked, clock = 0, 100.0

    async def is_migrated() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return True

    needs = house.client.app[NEEDS]
    readiness = Readiness(house.db, needs.door, is_migrated, lambda: clock)

    found = await asyncio.gather(*(readiness.look() for _ in range(20)))
    clock += ANSWER_KEPT - 0.001
    await beat(house)
    kept = await readiness.look()
    assert (asked, found) == (1, [kept] * 20)
    clock += 0.001
    anew = await readiness.look()

    assert asked == 2
    assert [one.ok for one in kept if one.name == "worker"] == [False]
    assert [one.ok for one in anew if one.name == "worker"] == [True]
