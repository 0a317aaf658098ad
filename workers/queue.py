"""The one door to Redis: rings jobs and deliveries, nudges streams, counts floods. The api enters here and speaks no
Dramatiq.

Redis rings, the row decides: everything put here may be lost, doubled or late, and the sweep makes it good. So nothing
here raises into a request because Redis is ill, except `count`, `ring` and `epoch`, whose callers must know: QueueDown.

Messages are written as Dramatiq writes them, with Dramatiq's own script, but without importing it: the api would pay
its import for one JSON object. `tests/workers/test_queue.py` holds both spellings together.
"""

import asyncio
import importlib.util
import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import redis
import redis.asyncio
import redis.asyncio.client
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from models.settings import SettingsError
from models.vocabulary import Queue


class Errand(StrEnum):
    """What a message asks a worker to do with the row it names."""

    RUN_JOB = "run_job"
    DELIVER = "deliver"


Ring: TypeAlias = tuple[UUID, Queue]
_Told: TypeAlias = tuple[UUID, Queue, Errand]
Item = TypeVar("Item")

BATCH: Final = 50
"""Messages in one pipeline: six times the rate of one by one, and still below a millisecond on the server."""
BOUND: Final = 10_000
"""Rings kept while Redis is down; the oldest go first, and the sweep rings them again."""
BELLS: Final = 32
"""A worker's usual thread count: a longer bell list would only be empty looks."""
LISTEN_IDLE: Final = 5.0
"""Seconds of silence after which a subscription asks whether anybody is still there."""

UNCOUNTED_PAUSE: Final = timedelta(seconds=5)
"""How long a shared quota is left alone while nobody can count it."""

HEARTBEAT_TIMEOUT: Final = timedelta(seconds=15)
DEAD_MESSAGE_TTL: Final = timedelta(days=1)
"""A dead letter is a note for the operator; the row behind it lives on."""

_LOG = logging.getLogger(__name__)
_DOWN = (redis.RedisError, OSError, TimeoutError)
_COUNT: Final = """
for n, key in ipairs(KEYS) do
  local count = redis.call("INCR", key)
  if count == 1 then redis.call("PEXPIRE", key, ARGV[2 * n - 1]) end
  if count > tonumber(ARGV[2 * n]) then return {n, count} end
end
return {0, 0}
"""
_TAKE: Final = """
if tonumber(redis.call("GET", KEYS[1]) or "0") >= tonumber(ARGV[2]) then return redis.call("PTTL", KEYS[1]) end
if redis.call("INCR", KEYS[1]) == 1 then redis.call("PEXPIRE", KEYS[1], ARGV[1]) end
return 0
"""
_UNCOUNT: Final = """
for _, key in ipairs(KEYS) do
  if tonumber(redis.call("GET", key) or "0") > 0 then redis.call("DECR", key) end
end
return 0
"""


class QueueDown(Exception):
    """Redis does not answer, or answers with a refusal; never the reason's own text, which may quote a command."""


@dataclass(frozen=True, slots=True)
class QueueSettings:
    url: str = field(repr=False)
    namespace: str = "latchkey"
    """Before every key: the database number is ours alone, because Dramatiq's maintenance walks all its keys."""
    patience: float = 1.0
    """Seconds a caller waits at most for a Redis that does not answer."""

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in {"redis", "rediss", "unix"}:
            raise SettingsError("REDIS_URL must begin with redis://, rediss:// or unix://")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        url = environ.get("REDIS_URL")
        if not url:
            raise SettingsError("REDIS_URL is not set")
        return cls(url)

    def bell(self, queue: str) -> str:
        """A list that holds one item for each message rung, up to BELLS; idle consumers wait on it."""
        return f"{self.namespace}:bell:{queue}"

    @property
    def nudges(self) -> str:
        return f"{self.namespace}:nudges"

    @property
    def epoch(self) -> str:
        return f"{self.namespace}:epoch"


def actor_name(queue: Queue, errand: Errand = Errand.RUN_JOB) -> str:
    """One actor a queue and errand: in Dramatiq priority and time limit belong to the actor."""
    return f"{errand}.{queue}"


def worker_client(settings: QueueSettings) -> redis.Redis:
    """A client for threads that may wait: a few retries, and a socket timeout well above the longest blocking read."""
    return _client(settings, timeout=4.0, retry=Retry(ExponentialWithJitterBackoff(cap=0.3, base=0.03), 2))


def _client(settings: QueueSettings, *, timeout: float, retry: Retry) -> redis.Redis:
    # RESP2: nothing here needs RESP3, whose handshake asks for maintenance notices that Valkey does not know.
    pool = redis.ConnectionPool.from_url(
        settings.url, protocol=2, socket_timeout=timeout, socket_connect_timeout=settings.patience, retry=retry
    )
    return redis.Redis.from_pool(pool)


def _async_client(settings: QueueSettings) -> redis.asyncio.Redis:
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.url,
        protocol=2,
        socket_timeout=settings.patience,
        socket_connect_timeout=settings.patience,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 1),  # once more: a pooled connection may be older than the server
        max_connections=16,  # a flood waits here instead of opening a socket each
        timeout=settings.patience,
    )
    return redis.asyncio.Redis.from_pool(pool)


def _dispatch_script() -> str:
    spec = importlib.util.find_spec("dramatiq")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("dramatiq is not installed")
    return Path(spec.submodule_search_locations[0], "brokers", "redis", "dispatch.lua").read_text(encoding="utf-8")


class Spelling:
    """How rings are written for Redis: pure, shared by the relay's thread and the loop."""

    def __init__(self, settings: QueueSettings) -> None:
        self.script = _dispatch_script()
        self._settings = settings
        self._sha = sha1(self.script.encode(), usedforsecurity=False).hexdigest()

    def enqueue(self, row_id: UUID, queue: Queue, errand: Errand = Errand.RUN_JOB) -> tuple[str, ...]:
        # Dramatiq compares these stamps across processes, so they are the host's clock, not a rule's `now`.
        stamp = time.time_ns() // 1_000_000
        message_id = str(uuid4())
        body = {
            "queue_name": queue.value,
            "actor_name": actor_name(queue, errand),
            "args": [str(row_id)],
            "kwargs": {},
            "options": {"redis_message_id": message_id},
            "message_id": message_id,
            "message_timestamp": stamp,
        }
        return (
            "EVALSHA",
            self._sha,
            "1",
            self._settings.namespace,
            "enqueue",
            str(stamp),
            queue.value,
            "door",  # all doors are one producer: a name each would leave a heartbeat behind for every start
            str(_milliseconds(HEARTBEAT_TIMEOUT)),
            str(_milliseconds(DEAD_MESSAGE_TTL)),
            "0",  # maintenance is the workers' affair
            "1000",  # a size that only fetch and maintenance read
            message_id,
            json.dumps(body, separators=(",", ":")),
        )

    def bells(self, rings: Iterable[_Told]) -> list[tuple[str, ...]]:
        """After the messages, so that whoever hears the bell finds them."""
        commands: list[tuple[str, ...]] = []
        counted: dict[Queue, int] = {}
        for _, queue, _ in rings:
            counted[queue] = min(counted.get(queue, 0) + 1, BELLS)
        for queue, count in counted.items():
            bell = self._settings.bell(queue)
            commands += [("LPUSH", bell, *("1",) * count), ("LTRIM", bell, "0", str(BELLS - 1))]
        return commands


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


class Relay(threading.Thread):
    """Takes rings and nudges from any thread without making it wait, and carries them to Redis in batches."""

    def __init__(self, settings: QueueSettings, bound: int = BOUND) -> None:
        super().__init__(name="relay", daemon=True)
        self.mark = uuid4().hex
        """On every nudge of ours, so that we know it again."""
        self._settings = settings
        self._spelling = Spelling(settings)
        self._client = _client(settings, timeout=settings.patience, retry=Retry(NoBackoff(), 0))
        self._rings: deque[_Told] = deque(maxlen=bound)
        self._nudges: deque[UUID] = deque(maxlen=bound)
        self._given = threading.Event()
        self._ended = threading.Event()
        self._failures = 0
        self._dropped = 0

    @property
    def waiting(self) -> int:
        return len(self._rings)

    def ring(self, row_id: UUID, queue: Queue, errand: Errand = Errand.RUN_JOB) -> None:
        if len(self._rings) == self._rings.maxlen:
            self._dropped += 1
        self._rings.append((row_id, queue, errand))
        self._given.set()

    def nudge(self, account_id: UUID) -> None:
        self._nudges.append(account_id)
        self._given.set()

    def end(self) -> None:
        """What was given is still carried, once; a Redis that is down is not waited for."""
        self._ended.set()
        self._given.set()

    def run(self) -> None:
        try:
            while not (self._ended.is_set() and not self._rings and not self._nudges):
                self._given.wait()
                self._given.clear()
                while self._rings or self._nudges:
                    if not self._carry(_take(self._rings), dict.fromkeys(_take(self._nudges))):
                        return
        finally:
            self._client.close()

    def _carry(self, rings: list[_Told], nudges: Iterable[UUID]) -> bool:
        """False: given up, because the process ends."""
        while True:
            try:
                rings = self._send(rings, nudges)
            except _DOWN as error:
                self._fail(type(error).__name__)
            else:
                if not rings:
                    self._recover()
                    return True
            nudges = ()  # late, a nudge is worth nothing: streams look for themselves when Redis is back
            pause = min(2.0, 0.05 * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            if self._ended.wait(pause):
                return False

    def _send(self, rings: list[_Told], nudges: Iterable[UUID]) -> list[_Told]:
        """Those that Redis refused, to be sent again."""
        pipe: Any  # execute_command has no types
        with self._client.pipeline(transaction=False) as pipe:
            for ring in rings:
                pipe.execute_command(*self._spelling.enqueue(*ring))
            for command in self._spelling.bells(rings):
                pipe.execute_command(*command)
            for account_id in nudges:
                pipe.execute_command("PUBLISH", self._settings.nudges, f"{account_id} {self.mark}")
            answers: Sequence[Any] = pipe.execute(raise_on_error=False)
        refused = [ring for ring, answer in zip(rings, answers, strict=False) if isinstance(answer, Exception)]
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            self._client.script_load(self._spelling.script)
            return self._send(refused, ())
        if refused:
            self._fail(next(type(answer).__name__ for answer in answers if isinstance(answer, Exception)))
        return refused

    def _fail(self, reason: str) -> None:
        if not self._failures:
            _LOG.warning("redis does not take rings, trying on", extra={"reason": reason})
        self._failures += 1

    def _recover(self) -> None:
        if self._failures:
            _LOG.info("redis takes rings again", extra={"failures": self._failures, "dropped": self._dropped})
        self._failures = self._dropped = 0


def _take(items: deque[Item]) -> list[Item]:
    return [items.popleft() for _ in range(min(BATCH, len(items)))]


@dataclass(frozen=True, slots=True)
class Limit:
    """`most` times in a window that the first count opens."""

    key: str
    window: timedelta
    most: int


class QueueDoor:
    """Opened on the loop that uses it; `put` and `nudge` may be called from any thread."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._spelling = Spelling(settings)
        self._relay = Relay(settings)
        self._client = _async_client(settings)
        self.near: Callable[[UUID], None] | None = None
        """Told of our own nudges at once, and not again by Redis: whoever listens in this process, on this loop."""

    async def __aenter__(self) -> Self:
        self._relay.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._relay.end()
        await asyncio.to_thread(self._relay.join, 2 * self._settings.patience)
        await self._client.aclose()

    @property
    def waiting(self) -> int:
        """Rings not yet carried: a few when all is well."""
        return self._relay.waiting

    def put(self, job_id: UUID, queue: Queue) -> None:
        """Ring a committed job. Never waits, never raises because Redis is ill."""
        self._relay.ring(job_id, queue)

    def put_task(self, job_id: UUID) -> None:
        """The same for what is done for an account."""
        self.put(job_id, Queue.SYSTEM)

    def put_delivery(self, delivery_id: UUID) -> None:
        """The same for a delivery."""
        self._relay.ring(delivery_id, Queue.SYSTEM, Errand.DELIVER)

    def nudge(self, account_id: UUID) -> None:
        """Say "look", never "what", to every process that listens. Fire and forget; only after the commit."""
        self._relay.nudge(account_id)
        if self.near is not None:
            self.near(account_id)

    async def ring(self, rings: Iterable[Ring], errand: Errand = Errand.RUN_JOB) -> None:
        """Ring many and know that they arrived: for the sweep. Raises QueueDown; those before may have been rung."""
        rest: list[_Told] = [(row_id, queue, errand) for row_id, queue in rings]
        while batch := rest[:BATCH]:
            async with _or_down(self._settings):
                refused = await self._send(batch)
                if refused:
                    await self._client.script_load(self._spelling.script)
                    refused = await self._send(refused)
                if refused:
                    raise QueueDown("rings were refused")
            rest = rest[BATCH:]

    async def epoch(self) -> str:
        """Changes when Redis was emptied, restored or restarted: then what was rung before may be gone.

        The run id of the server is part of it, because a restart may lose the last second. Raises QueueDown.
        """
        async with _or_down(self._settings), self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._settings.epoch, str(uuid4()), nx=True)
            pipe.get(self._settings.epoch)
            pipe.info("server")
            _, mark, server = await pipe.execute()
        return f"{mark.decode()}.{server['run_id']}"

    async def count(self, limits: Sequence[Limit]) -> tuple[int, int] | None:
        """Count in each, as far as the first that is over its limit: its place, and how often it was counted in the
        window that its first count opened, now included. None: none of them is. Raises QueueDown.
        """
        keys = [self._counted(limit.key) for limit in limits]
        values = [str(one) for limit in limits for one in (_milliseconds(limit.window), limit.most)]
        async with _or_down(self._settings):
            place, count = await self._client.eval(_COUNT, len(keys), *keys, *values)
        return (int(place) - 1, int(count)) if place else None

    async def uncount(self, keys: Sequence[str]) -> None:
        """Take one back of each, because it turned out not to be one. Raises QueueDown."""
        async with _or_down(self._settings):
            await self._client.eval(_UNCOUNT, len(keys), *(self._counted(key) for key in keys))

    def _counted(self, key: str) -> str:
        return f"{self._settings.namespace}:count:{key}"

    async def take(self, name: str, limit: int, window: timedelta) -> timedelta | None:
        """One of `limit` in a window that its first taker opened. None: taken; else how long to wait.

        Whoever cannot count waits: a quota is not ours to guess.
        """
        try:
            async with _or_down(self._settings):
                left = await self._client.eval(
                    _TAKE, 1, f"{self._settings.namespace}:take:{name}", str(_milliseconds(window)), str(limit)
                )
        except QueueDown:
            return UNCOUNTED_PAUSE
        return timedelta(milliseconds=max(int(left), 1)) if int(left) else None

    async def ping(self) -> bool:
        try:
            async with _or_down(self._settings):
                await self._client.ping()
        except QueueDown:
            return False
        return True

    async def listen(self) -> AsyncIterator[UUID]:
        """Account ids as they are nudged, by others where `near` hears our own. Reconnects for ever; what is nudged
        meanwhile is missed.
        """
        failures = 0
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self._settings.nudges)
                    _heed_cancellation()
                    while True:
                        nudge = await _hear(subscription, self._settings.patience)
                        _heed_cancellation()
                        failures = 0
                        if nudge is not None and not (self.near is not None and nudge.mark == self._relay.mark):
                            yield nudge.account_id
            except _DOWN as error:
                if not failures:
                    _LOG.warning("redis subscription lost, trying on", extra={"reason": type(error).__name__})
                failures += 1
            await asyncio.sleep(min(2.0, 0.05 * 2 ** min(failures, 10)) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _send(self, rings: list[_Told]) -> list[_Told]:
        async with self._client.pipeline(transaction=False) as pipe:
            for ring in rings:
                pipe.execute_command(*self._spelling.enqueue(*ring))
            for command in self._spelling.bells(rings):
                pipe.execute_command(*command)
            answers = await pipe.execute(raise_on_error=False)
        return [ring for ring, answer in zip(rings, answers, strict=False) if isinstance(answer, Exception)]


@asynccontextmanager
async def _or_down(settings: QueueSettings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.patience):
            yield
    except _DOWN as error:
        raise QueueDown(type(error).__name__) from None


def _heed_cancellation() -> None:
    """redis-py sends through `wait_for`, and Python 3.11's loses a cancellation that comes in the moment it is done."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _hear(subscription: redis.asyncio.client.PubSub, patience: float) -> "_Nudge | None":
    """None: something else than a nudge came. Raises redis.ConnectionError when nobody is there."""
    message = await subscription.get_message(timeout=LISTEN_IDLE)
    if message is None:
        await subscription.ping()
        message = await subscription.get_message(timeout=patience)
    if message is None:
        raise redis.ConnectionError("silent")
    return _nudge(message) if message["type"] == "message" else None


class _Nudge(NamedTuple):
    account_id: UUID
    mark: str


def _nudge(message: Mapping[str, Any]) -> _Nudge | None:
    account_id, _, mark = message["data"].partition(b" ")
    try:
        return _Nudge(UUID(account_id.decode()), mark.decode())
    except ValueError:
        _LOG.warning("a nudge that names no account")
        return None
