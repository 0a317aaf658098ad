import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import redis
from dramatiq import Message

from models.settings import SettingsError
from models.vocabulary import Queue
from tests.servers import RedisServer
from tests.workers.conftest import ROOT
from workers.queue import (
    BELLS,
    BOUND,
    UNCOUNTED_PAUSE,
    Errand,
    Limit,
    QueueDoor,
    QueueDown,
    QueueSettings,
    Relay,
    Spelling,
    actor_name,
    worker_client,
)

WITHIN = 10.0


def rung(server: RedisServer, queue: Queue) -> list[UUID]:
    """The job ids that lie in a queue, oldest first."""
    ids = server.client.lrange(f"latchkey:{queue}", 0, -1)
    bodies = [server.client.hget(f"latchkey:{queue}.msgs", redis_id) for redis_id in ids]
    return [UUID(json.loads(body)["args"][0]) for body in bodies]


async def until(true: Callable[[], bool], within: float = WITHIN) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - what changes is in another process
            await asyncio.sleep(0)


async def nudge_until_heard(door: QueueDoor, account_id: UUID, heard: asyncio.Task[UUID]) -> UUID:
    """What is nudged while a listener reconnects is missed, so say it again."""
    async with asyncio.timeout(WITHIN):
        while not heard.done():
            door.nudge(account_id)
            await asyncio.wait({heard}, timeout=0.05)
    return await heard


async def test_a_message_is_spelled_as_dramatiq_spells_it(settings: QueueSettings) -> None:
    job_id = uuid4()

    *_, body = Spelling(settings).enqueue(job_id, Queue.BULK)

    message = Message.decode(body.encode())
    assert message.encode().decode() == body
    assert (message.actor_name, message.queue_name) == (actor_name(Queue.BULK), "bulk")
    assert (message.args, message.kwargs) == ((str(job_id),), {})


async def test_a_delivery_is_rung_for_an_actor_of_its_own(settings: QueueSettings, redis_server: RedisServer) -> None:
    delivery_id = uuid4()

    *_, body = Spelling(settings).enqueue(delivery_id, Queue.SYSTEM, Errand.DELIVER)
    async with QueueDoor(settings) as door:
        door.put_delivery(delivery_id)
        await door.ring([(delivery_id, Queue.SYSTEM)], Errand.DELIVER)

    assert Message.decode(body.encode()).actor_name == "deliver.system"
    assert rung(redis_server, Queue.SYSTEM) == [delivery_id, delivery_id]
    messages = redis_server.client.hvals("latchkey:system.msgs")
    assert {Message.decode(message).actor_name for message in messages} == {"deliver.system"}


async def test_put_rings_each_job_in_its_queue_and_in_order(settings: QueueSettings, redis_server: RedisServer) -> None:
    jobs = [uuid4() for _ in range(120)]

    async with QueueDoor(settings) as door:
        for job_id in jobs:
            door.put(job_id, Queue.BULK)
        door.put(other := uuid4(), Queue.INTERACTIVE)

    assert rung(redis_server, Queue.BULK) == jobs
    assert rung(redis_server, Queue.INTERACTIVE) == [other]


async def test_the_bell_list_never_grows_past_its_bound(settings: QueueSettings, redis_server: RedisServer) -> None:
    async with QueueDoor(settings) as door:
        for _ in range(3 * BELLS):
            door.put(uuid4(), Queue.BULK)
        door.put(uuid4(), Queue.SYSTEM)

    assert redis_server.client.llen(settings.bell("bulk")) == BELLS
    assert redis_server.client.llen(settings.bell("system")) == 1


async def test_ring_returns_when_redis_has_them_all(settings: QueueSettings, redis_server: RedisServer) -> None:
    jobs = [uuid4() for _ in range(120)]

    async with QueueDoor(settings) as door:
        await door.ring((job_id, Queue.SYSTEM) for job_id in jobs)

        assert rung(redis_server, Queue.SYSTEM) == jobs


async def test_a_redis_that_forgot_the_script_is_taught_it_again(
    settings: QueueSettings, redis_server: RedisServer
) -> None:
    async with QueueDoor(settings) as door:
        await door.ring([(first := uuid4(), Queue.SYSTEM)])
        redis_server.client.script_flush()
        await door.ring([(second := uuid4(), Queue.SYSTEM)])
        redis_server.client.script_flush()
        door.put(third := uuid4(), Queue.SYSTEM)

    assert rung(redis_server, Queue.SYSTEM) == [first, second, third]


async def test_the_relay_goes_on_when_redis_was_away(settings: QueueSettings, redis_server: RedisServer) -> None:
    jobs = [uuid4() for _ in range(80)]

    async with QueueDoor(settings) as door:
        redis_server.kill()
        for job_id in jobs:
            door.put(job_id, Queue.BULK)
        redis_server.start()
        await until(lambda: redis_server.client.llen("latchkey:bulk") == len(jobs))

    assert rung(redis_server, Queue.BULK) == jobs


async def test_a_redis_that_refuses_writes_gets_the_rings_later(
    settings: QueueSettings, redis_server: RedisServer
) -> None:
    redis_server.client.config_set("maxmemory", "1")
    job_id = uuid4()

    async with QueueDoor(settings) as door:
        with pytest.raises(QueueDown):
            await door.ring([(job_id, Queue.BULK)])
        door.put(job_id, Queue.BULK)
        redis_server.client.config_set("maxmemory", "0")
        await until(lambda: redis_server.client.llen("latchkey:bulk") == 1)

    assert rung(redis_server, Queue.BULK) == [job_id]


async def test_the_oldest_rings_are_dropped_when_redis_stays_away(settings: QueueSettings) -> None:
    relay = Relay(settings, bound=5)

    for _ in range(9):
        relay.ring(uuid4(), Queue.BULK)

    assert relay.waiting == 5
    relay.end()
    relay.run()


async def test_put_does_not_wait_for_a_frozen_redis(settings: QueueSettings, redis_server: RedisServer) -> None:
    patience = 60.0  # whoever waited even once would take all of it, on however busy a machine
    async with QueueDoor(replace(settings, patience=patience)) as door:
        redis_server.freeze(still=True)
        started = asyncio.get_running_loop().time()
        for _ in range(BOUND + 100):
            door.put(uuid4(), Queue.BULK)
            door.nudge(uuid4())
        elapsed = asyncio.get_running_loop().time() - started
        redis_server.freeze(still=False)

    assert elapsed < patience / 2


async def test_a_door_closes_soon_although_redis_is_away(settings: QueueSettings, redis_server: RedisServer) -> None:
    async with asyncio.timeout(5), QueueDoor(settings) as door:
        redis_server.kill()
        door.put(uuid4(), Queue.BULK)

    assert not [thread for thread in threading.enumerate() if thread.name == "relay"]


async def test_a_nudge_reaches_every_listener(settings: QueueSettings, redis_server: RedisServer) -> None:
    account_id = uuid4()

    async with QueueDoor(settings) as here, QueueDoor(settings) as there, asyncio.timeout(WITHIN):
        heard = [asyncio.create_task(anext(door.listen())) for door in (here, there)]
        await until(lambda: dict(redis_server.client.pubsub_numsub(settings.nudges)) == {settings.nudges.encode(): 2})
        here.nudge(account_id)

        assert await asyncio.gather(*heard) == [account_id, account_id]


async def test_who_is_near_hears_at_once_and_not_again_by_redis(
    settings: QueueSettings, redis_server: RedisServer
) -> None:
    ours, theirs = uuid4(), uuid4()
    near: list[UUID] = []

    async with QueueDoor(settings) as here, QueueDoor(settings) as there, asyncio.timeout(WITHIN):
        here.near = near.append
        heard = asyncio.create_task(anext(here.listen()))
        await until(lambda: bool(redis_server.client.pubsub_numsub(settings.nudges)[0][1]))
        here.nudge(ours)
        assert near == [ours]
        with redis_server.client.pubsub() as overheard:
            overheard.subscribe(settings.nudges)
            here.nudge(ours)
            await until(lambda: (overheard.get_message() or {}).get("type") == "message")
        there.nudge(theirs)

        assert await heard == theirs
    assert near == [ours, ours]


async def test_a_listener_comes_back_when_redis_does(settings: QueueSettings, redis_server: RedisServer) -> None:
    before, after = uuid4(), uuid4()

    async with QueueDoor(settings) as door, asyncio.timeout(WITHIN):
        heard = door.listen()
        first = asyncio.create_task(anext(heard))
        await until(lambda: bool(redis_server.client.pubsub_numsub(settings.nudges)[0][1]))
        door.nudge(before)
        assert await first == before

        second = asyncio.create_task(anext(heard))
        redis_server.kill()
        redis_server.start()

        assert await nudge_until_heard(door, after, second) == after
        await heard.aclose()


async def test_a_listener_that_is_cancelled_at_any_step_of_its_way_in_ends(settings: QueueSettings) -> None:
    async with QueueDoor(settings) as door:

        async def listen() -> None:
            async for _ in door.listen():
                pass

        for steps in range(60):
            listener = asyncio.create_task(listen())
            for _ in range(steps):
                await asyncio.sleep(0)
            listener.cancel()
            done, _ = await asyncio.wait({listener}, timeout=WITHIN)
            assert done, f"cancelled at step {steps}, it goes on"


async def test_a_listener_leaves_a_redis_that_fell_silent(
    settings: QueueSettings,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("workers.queue.LISTEN_IDLE", 0.1)

    async with QueueDoor(replace(settings, patience=0.2)) as door:
        heard = asyncio.create_task(anext(door.listen()))
        await until(lambda: bool(redis_server.client.pubsub_numsub(settings.nudges)[0][1]))
        redis_server.freeze(still=True)
        await until(lambda: "redis subscription lost, trying on" in caplog.messages)
        redis_server.freeze(still=False)

        assert await nudge_until_heard(door, account_id := uuid4(), heard) == account_id


async def test_a_nudge_that_names_no_account_is_passed_over(settings: QueueSettings, redis_server: RedisServer) -> None:
    async with QueueDoor(settings) as door, asyncio.timeout(WITHIN):
        heard = asyncio.create_task(anext(door.listen()))
        await until(lambda: bool(redis_server.client.pubsub_numsub(settings.nudges)[0][1]))
        for nonsense in (b"", b"nobody", b"\xff\xfe"):
            redis_server.client.publish(settings.nudges, nonsense)
        door.nudge(account_id := uuid4())

        assert await heard == account_id


async def test_counts_are_kept_for_each_key_until_their_window_ends(
    settings: QueueSettings, redis_server: RedisServer
) -> None:
    here, there = Limit("192.0.2.1", timedelta(minutes=1), 0), Limit("192.0.2.2", timedelta(milliseconds=50), 0)
    async with QueueDoor(settings) as door:
        counts = await asyncio.gather(*(door.count([here]) for _ in range(40)))

        assert sorted(over for over in counts if over is not None) == [(0, n) for n in range(1, 41)]
        assert await door.count([there]) == (0, 1)
        assert 0 < redis_server.client.pttl("latchkey:count:192.0.2.1") <= 60_000
        await until(lambda: not redis_server.client.exists("latchkey:count:192.0.2.2"))
        assert await door.count([there]) == (0, 1)


async def test_what_one_limit_refuses_is_not_counted_by_the_next(settings: QueueSettings) -> None:
    few, many = Limit("few", timedelta(minutes=1), 2), Limit("many", timedelta(hours=1), 3)
    async with QueueDoor(settings) as door:
        assert [await door.count([few, many]) for _ in range(4)] == [None, None, (0, 3), (0, 4)]
        assert await door.count([many]) is None, "the third that it counted"
        assert await door.count([many]) == (0, 4)

        await door.uncount(["few", "many", "never counted"])

        assert await door.count([few, many]) == (0, 4)
        assert await door.count([many]) == (0, 4)


@pytest.mark.parametrize("ill", ["gone", "frozen"])
async def test_an_ill_redis_is_told_within_a_second_or_so(
    settings: QueueSettings, redis_server: RedisServer, ill: str
) -> None:
    async with QueueDoor(replace(settings, patience=0.3)) as door:
        assert await door.ping()
        redis_server.freeze(still=True) if ill == "frozen" else redis_server.kill()

        async with asyncio.timeout(1.5):
            with pytest.raises(QueueDown):
                await door.count([Limit("192.0.2.1", timedelta(minutes=1), 1)])
        async with asyncio.timeout(1.5):
            assert not await door.ping()
        async with asyncio.timeout(1.5):
            with pytest.raises(QueueDown):
                await door.ring([(uuid4(), Queue.BULK)])
        async with asyncio.timeout(1.5):
            with pytest.raises(QueueDown):
                await door.epoch()

        redis_server.freeze(still=False) if ill == "frozen" else redis_server.start()
        assert await door.ping()


async def test_the_epoch_stays_until_redis_is_emptied_or_restarted(
    settings: QueueSettings, redis_server: RedisServer
) -> None:
    async with QueueDoor(settings) as door, QueueDoor(settings) as other:
        first = await door.epoch()
        assert await other.epoch() == first

        redis_server.client.flushall()
        second = await door.epoch()
        redis_server.kill()
        redis_server.start()
        third = await door.epoch()

        assert len({first, second, third}) == 3
        assert await other.epoch() == third


def test_a_client_for_threads_gives_up_after_a_few_tries(settings: QueueSettings, redis_server: RedisServer) -> None:
    with worker_client(settings) as client:
        assert client.ping()
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()

        redis_server.start()
        assert client.ping()


@pytest.mark.parametrize("environ", [{}, {"REDIS_URL": ""}, {"REDIS_URL": "http://:secret@host"}, {"REDIS_URL": "x"}])
def test_settings_that_name_no_redis_are_refused_without_repeating_them(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="REDIS_URL") as refused:
        QueueSettings.from_env(environ)

    assert "secret" not in str(refused.value)


def test_the_address_of_redis_is_not_printed() -> None:
    assert "secret" not in repr(QueueSettings("redis://:secret@host:6379/0"))


def test_the_door_does_not_import_dramatiq() -> None:
    program = "import sys, workers.queue; sys.exit('dramatiq' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0  # noqa: S603 - our own


async def test_a_quota_is_shared_and_says_how_long_to_wait(settings: QueueSettings) -> None:
    window = timedelta(seconds=30)
    async with QueueDoor(settings) as one, QueueDoor(settings) as other:
        taken = [await door.take("calls", 2, window) for door in (one, other, one)]
        apart = await one.take("others", 2, window)

    assert (taken[:2], apart) == ([None, None], None)
    assert taken[2] is not None
    assert timedelta(0) < taken[2] <= window


async def test_a_quota_that_nobody_can_count_is_left_alone() -> None:
    async with QueueDoor(QueueSettings("redis://127.0.0.1:1/0")) as door:
        assert await door.take("calls", 2, timedelta(seconds=30)) == UNCOUNTED_PAUSE
