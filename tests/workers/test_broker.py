"""The broker and its consumers by themselves, on a real Redis."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from dramatiq import Message, Worker
from dramatiq.middleware import AgeLimit, AsyncIO, ShutdownNotifications, TimeLimit

from models.settings import SettingsError
from models.vocabulary import Queue
from tests.servers import RedisServer
from tests.workers.conftest import WITHIN, eventually
from workers.actors import TABLE, declare
from workers.broker import DoorbellBroker, DoorbellConsumer, QuietMessage, build_broker
from workers.database import NotOpened, Resources
from workers.main import build_worker, dead_threads
from workers.queue import QueueSettings, Relay, actor_name, worker_client
from workers.settings import WorkerSettings


@dataclass
class Needs:
    """What the stand-in for the job writes down, and a gate that holds it."""

    loop: asyncio.AbstractEventLoop
    ran: list[UUID] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, true: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(true, WITHIN)

    def open_gate(self) -> None:
        self.loop.call_soon_threadsafe(self.gate.set)


async def run_job(needs: Needs, job_id: UUID) -> None:
    with needs.changed:
        needs.ran.append(job_id)
        needs.changed.notify_all()
    await needs.gate.wait()


@asynccontextmanager
async def open_needs() -> AsyncIterator[Needs]:
    yield Needs(asyncio.get_running_loop())


@dataclass
class Running:
    broker: DoorbellBroker
    worker: Worker
    needs: Needs


@pytest.fixture
def client(settings: QueueSettings) -> Iterator[redis.Redis]:
    with worker_client(settings) as client:
        yield client


@pytest.fixture
def broker(settings: QueueSettings, client: redis.Redis) -> DoorbellBroker:
    return build_broker(settings, client)


@pytest.fixture
def running(settings: QueueSettings, client: redis.Redis) -> Iterator[Running]:
    resources = Resources(open_needs)
    broker = build_broker(settings, client, [resources])
    declare(broker, resources.needs, run_job)
    worker = build_worker(broker, WorkerSettings(settings, threads=2))
    worker.worker_timeout = 100  # how long each test waits for its end
    worker.start()
    yield Running(broker, worker, resources.needs())
    resources.needs().open_gate()
    worker.stop(timeout=5_000)


def push(server: RedisServer, queue: str, body: bytes) -> str:
    """A message as anybody with access to Redis could write it."""
    redis_id = str(uuid4())
    server.client.hset(f"latchkey:{queue}.msgs", redis_id, body)
    server.client.rpush(f"latchkey:{queue}", redis_id)
    server.client.lpush(f"latchkey:bell:{queue}", 1)
    return redis_id


def body(**changed: Any) -> bytes:
    fields = {
        "queue_name": "interactive",
        "actor_name": actor_name(Queue.INTERACTIVE),
        "args": [str(uuid4())],
        "kwargs": {},
        "options": {"redis_message_id": str(uuid4())},
        "message_id": str(uuid4()),
        "message_timestamp": time.time_ns() // 1_000_000,
    }
    return json.dumps(fields | changed).encode()


def test_only_the_middleware_that_keeps_no_state_is_used(broker: DoorbellBroker) -> None:
    assert [type(middleware) for middleware in broker.middleware] == [
        AgeLimit,
        TimeLimit,
        ShutdownNotifications,
        AsyncIO,
    ]


def test_each_queue_has_an_actor_of_its_own_with_its_own_terms(running: Running) -> None:
    actors = running.broker.actors

    assert {actor.queue_name: name for name, actor in actors.items()} == {queue: actor_name(queue) for queue in Queue}
    for queue, terms in TABLE.items():
        actor = actors[actor_name(queue)]
        assert actor.priority == terms.priority
        assert actor.options == {"time_limit": terms.limit.total_seconds() * 1000}


def test_each_queue_has_one_consumer_and_none_for_delays(running: Running) -> None:
    assert set(running.worker.consumers) == set(Queue)
    assert dead_threads(running.worker) == []


def test_a_delayed_message_is_refused(running: Running) -> None:
    message = running.broker.actors[actor_name(Queue.BULK)].message(str(uuid4()))

    with pytest.raises(ValueError, match="available"):
        running.broker.enqueue(message, delay=1)


def test_what_the_broker_enqueues_itself_rings_the_bell_too(running: Running) -> None:
    running.broker.actors[actor_name(Queue.BULK)].send(str(job_id := uuid4()))

    running.needs.wait(lambda: running.needs.ran == [job_id])


def test_a_job_runs_on_the_loop_that_holds_its_needs(running: Running, relay: Relay) -> None:
    jobs = {uuid4(), uuid4()}

    for job_id in jobs:
        relay.ring(job_id, Queue.SYSTEM)

    running.needs.wait(lambda: set(running.needs.ran) == jobs)


def test_a_message_for_an_unknown_actor_becomes_a_dead_letter(
    running: Running, relay: Relay, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_id = str(uuid4())
    message = Message.decode(body(actor_name="nobody", options={"redis_message_id": redis_id}))
    running.broker.do_enqueue("interactive", redis_id, message.encode())
    running.broker.ring("interactive", 1)

    relay.ring(job_id := uuid4(), Queue.INTERACTIVE)

    running.needs.wait(lambda: running.needs.ran == [job_id])
    eventually(lambda: redis_server.client.zrange("latchkey:interactive.XQ", 0, -1) == [redis_id.encode()])
    assert "'nobody'" in caplog.text
    assert message.args[0] not in caplog.text


@pytest.mark.parametrize(
    "stray",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"queue_name": "interactive"}',
        body(queue_name="elsewhere"),
        body(options={}),
        body(options=None),
        body(options={"redis_message_id": 7}),
        body(args=7),
        body(options={"redis_message_id": "7", "eta": 1}),
        body(more=1),
    ],
)
def test_what_cannot_be_read_is_left_aside_and_ends_no_thread(
    running: Running,
    relay: Relay,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    stray: bytes,
) -> None:
    push(redis_server, "interactive", stray)
    relay.ring(job_id := uuid4(), Queue.INTERACTIVE)

    running.needs.wait(lambda: running.needs.ran == [job_id])

    assert dead_threads(running.worker) == []
    assert "an unreadable message is left aside" in caplog.messages


def test_an_argument_that_is_no_job_id_costs_a_line_in_the_log(
    running: Running, relay: Relay, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    push(redis_server, "interactive", body(args=["a-job-of-no-kind"]))
    push(redis_server, "interactive", body(args=[], kwargs={"what": "a-job-of-no-kind"}))
    relay.ring(job_id := uuid4(), Queue.INTERACTIVE)

    running.needs.wait(lambda: running.needs.ran == [job_id])

    eventually(lambda: sum("unhandled exception" in message for message in caplog.messages) == 2)
    assert not any("a-job-of-no-kind" in message for message in caplog.messages)


def test_a_message_whose_body_is_gone_is_passed_over(running: Running, relay: Relay, redis_server: RedisServer) -> None:
    redis_server.client.rpush("latchkey:interactive", "bodyless")
    relay.ring(job_id := uuid4(), Queue.INTERACTIVE)

    running.needs.wait(lambda: running.needs.ran == [job_id])


def test_a_message_prints_nothing_it_carries() -> None:
    message = QuietMessage(**json.loads(body(args=["what it carries"], kwargs={"and": "this"})))

    assert "carries" not in f"{message} {message!r} {[message]}"
    assert "this" not in f"{message} {message!r} {[message]}"


def test_a_worker_with_all_threads_busy_still_shows_that_it_lives(
    running: Running, relay: Relay, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.broker.SIGN_OF_LIFE", 0.05)
    for queue in Queue:
        for _ in range(3):
            relay.ring(uuid4(), queue)
    eventually(lambda: [redis_server.client.llen(f"latchkey:{queue}") for queue in Queue] == [1, 1, 1])

    def stamp() -> float:
        return float(redis_server.client.zscore("latchkey:__heartbeats__", running.broker.broker_id) or 0)

    before = stamp()
    eventually(lambda: stamp() > before)


def test_a_crowded_consumer_takes_the_next_job_soon_after_one_ended(running: Running, relay: Relay) -> None:
    for _ in range(40):
        relay.ring(uuid4(), Queue.INTERACTIVE)
    running.needs.wait(lambda: len(running.needs.ran) == 2)

    began = time.monotonic()
    running.needs.open_gate()
    running.needs.wait(lambda: len(running.needs.ran) == 40)

    assert time.monotonic() - began < 1.0


def test_jobs_of_a_dead_process_come_back(running: Running, redis_server: RedisServer) -> None:
    running.broker.maintenance_chance = 1_000_000
    job_id = uuid4()
    redis_server.client.hset("latchkey:bulk.msgs", "its-message", body(queue_name="bulk", args=[str(job_id)]))
    redis_server.client.sadd("latchkey:__acks__.dead.bulk", "its-message")
    redis_server.client.zadd("latchkey:__heartbeats__", {"dead": 0})

    running.needs.wait(lambda: running.needs.ran == [job_id])

    eventually(lambda: b"dead" not in redis_server.client.zrange("latchkey:__heartbeats__", 0, -1))


def test_a_consumer_lives_through_an_outage_and_says_so_once(
    running: Running, relay: Relay, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    consumers = {name: thread.consumer for name, thread in running.worker.consumers.items()}
    lost = "redis does not answer, trying on"

    redis_server.kill()
    eventually(lambda: sum(record.message == lost for record in caplog.records) == len(consumers))
    redis_server.start()
    relay.ring(job_id := uuid4(), Queue.INTERACTIVE)

    running.needs.wait(lambda: running.needs.ran == [job_id])
    assert {name: thread.consumer for name, thread in running.worker.consumers.items()} == consumers
    assert sum(record.message == lost for record in caplog.records) == len(consumers)


def test_a_thread_whose_job_ends_while_redis_is_away_is_free_at_once_and_acknowledges_later(
    running: Running, relay: Relay, redis_server: RedisServer
) -> None:
    for _ in range(2):
        relay.ring(uuid4(), Queue.INTERACTIVE)
    running.needs.wait(lambda: len(running.needs.ran) == 2)
    consumer = running.worker.consumers["interactive"].consumer
    assert isinstance(consumer, DoorbellConsumer)

    redis_server.kill()
    running.needs.open_gate()
    eventually(lambda: not consumer._held)
    redis_server.start()

    eventually(lambda: not redis_server.client.exists("latchkey:interactive.msgs"))
    assert dead_threads(running.worker) == []


def test_a_consumer_that_is_closed_gives_back_what_it_has_not_handed_out(
    broker: DoorbellBroker, redis_server: RedisServer
) -> None:
    ids = []
    for _ in range(3):
        redis_id = str(uuid4())
        broker.do_enqueue("bulk", redis_id, body(queue_name="bulk", options={"redis_message_id": redis_id}))
        ids.append(redis_id.encode())
    consumer = broker.consume("bulk", prefetch=3, timeout=10)

    handed_out = next(consumer)
    consumer.close()

    assert handed_out is not None
    assert redis_server.client.lrange("latchkey:bulk", 0, -1) == ids[1:]
    assert redis_server.client.llen("latchkey:bell:bulk") == 2


def test_needs_without_a_loop_are_refused(settings: QueueSettings, client: redis.Redis) -> None:
    broker = build_broker(settings, client)
    worker = build_worker(broker, WorkerSettings(settings, threads=1))

    with pytest.raises(NotOpened, match="AsyncIO"):
        Resources(open_needs).before_worker_boot(broker, worker)


@pytest.mark.parametrize(
    "wrong",
    [
        {"WORKER_THREADS": "0"},
        {"WORKER_THREADS": "many"},
        {"WORKER_THREADS": "٣"},
        {"WORKER_THREADS": "257"},
        {"WORKER_QUEUES": "elsewhere"},
        {"WORKER_QUEUES": "bulk,"},
    ],
)
def test_settings_of_a_worker_that_make_no_sense_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        WorkerSettings.from_env({"REDIS_URL": "redis://localhost", **wrong})


def test_settings_of_a_worker_are_read_from_the_environment() -> None:
    environ = {"REDIS_URL": "redis://localhost", "WORKER_THREADS": "7", "WORKER_QUEUES": "bulk, system"}

    settings = WorkerSettings.from_env(environ)

    assert (settings.threads, settings.queues) == (7, {Queue.BULK, Queue.SYSTEM})
