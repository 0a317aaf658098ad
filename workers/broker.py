"""Dramatiq on Redis as we use it: it carries job ids and rings a bell. What must not be lost stands in the job row.

Left out on purpose: Retries, Callbacks, Pipelines, Results and delayed messages. Each keeps state in Redis or in a
worker's memory that an outage takes along; the row's `available_at`, `attempt` and outcome do their work.
"""

import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import redis
from dramatiq import Consumer, Message, MessageProxy, Middleware
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AgeLimit, AsyncIO, ShutdownNotifications, TimeLimit

from workers.queue import BELLS, DEAD_MESSAGE_TTL, HEARTBEAT_TIMEOUT, QueueSettings

MAINTENANCE_CHANCE: Final = 50_000
"""In a million commands: an idle process looks for dead ones every twenty seconds or so."""
BELL_WAIT_MS: Final = 1_000
"""How long an idle consumer waits for the bell; well below the client's socket timeout."""
CROWDED_PAUSE: Final = 0.010
"""Seconds until a consumer whose threads are all busy looks again, at the latest."""
SIGN_OF_LIFE: Final = 3.0
"""Seconds between the heartbeats of a consumer that has no room to fetch: Dramatiq itself gives none then."""
MAX_AGE_MS: Final = 24 * 60 * 60 * 1000
"""Older messages are stale rings: their rows were rung again long ago."""

_LOG = logging.getLogger(__name__)


def build_broker(settings: QueueSettings, client: redis.Redis, ours: Iterable[Middleware] = ()) -> "DoorbellBroker":
    """`ours` comes after AsyncIO, so that it finds the event loop running and is closed before the loop stops."""
    middleware = [AgeLimit(max_age=MAX_AGE_MS), TimeLimit(), ShutdownNotifications(), AsyncIO(), *ours]
    return DoorbellBroker(settings, client, middleware)


class QuietMessage(Message[Any]):
    """Prints its actor's name and nothing of what it carries."""

    def __str__(self) -> str:
        return f"{self.actor_name}(…)"

    __repr__ = __str__


class DoorbellBroker(RedisBroker):
    """Wakes idle consumers by a list they block on, instead of letting them poll."""

    def __init__(self, settings: QueueSettings, client: redis.Redis, middleware: list[Middleware]) -> None:
        super().__init__(  # type: ignore[no-untyped-call] # dramatiq leaves its brokers untyped
            client=client,
            namespace=settings.namespace,
            middleware=middleware,
            maintenance_chance=MAINTENANCE_CHANCE,
            heartbeat_timeout=int(HEARTBEAT_TIMEOUT.total_seconds() * 1000),
            dead_message_ttl=int(DEAD_MESSAGE_TTL.total_seconds() * 1000),
        )
        self._settings = settings

    @property
    def consumer_class(self) -> type["DoorbellConsumer"]:
        return DoorbellConsumer

    def declare_queue(self, queue_name: str) -> None:
        """Without its delay queue: nothing is delayed here, and its consumer would be a thread that polls."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        if delay is not None:
            raise ValueError("nothing is delayed in Redis: a job's row says when it is available")
        message = super().enqueue(message)
        self.ring(message.queue_name, 1)
        return message

    def ring(self, queue_name: str, times: int) -> None:
        bell = self._settings.bell(queue_name)
        with self.client.pipeline(transaction=False) as pipe:
            pipe.lpush(bell, *["1"] * min(times, BELLS))
            pipe.ltrim(bell, 0, BELLS - 1)
            pipe.execute()

    def await_bell(self, queue_name: str, seconds: float) -> None:
        self.client.blpop([self._settings.bell(queue_name)], timeout=seconds)


class DoorbellConsumer(Consumer):
    """Fetches for one queue in one thread; worker threads acknowledge through it.

    Never waits for the bell unless a fetch has just run and found nothing: otherwise a bell rung earlier, and heard by
    somebody without room, would leave a full queue lying for a second.
    """

    def __init__(self, broker: DoorbellBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        self._broker = broker
        self._queue_name = queue_name
        self._prefetch = prefetch
        self._patience = timeout / 1000
        self._fetched: list[bytes | None] = []
        self._held: set[str] = set()
        """Redis ids handed to worker threads and not yet acknowledged. Single set operations are atomic."""
        self._emptied = threading.Event()
        """Half of what was held is done: worth a fetch at once, or threads with short jobs would idle the pause out."""
        self._owed: deque[tuple[Callable[[str, str], object], str]] = deque()
        """Acknowledgements that Redis did not take. Dramatiq would let the worker thread sleep until it does."""
        self._failures = 0
        self._last_sign = time.monotonic()

    def __next__(self) -> MessageProxy | None:
        try:
            if not self._fetched and not self._fetch():
                return None
        except redis.RedisError as error:
            self._wait_out(error)
            return None
        self._failures = 0
        return self._hand_out()

    def _fetch(self) -> bool:
        self._pay()
        room = self._prefetch - len(self._held)
        if room <= 0:
            self._show_life()
            self._emptied.clear()
            self._emptied.wait(CROWDED_PAUSE)
            return False
        self._fetched = self._broker.do_fetch(self._queue_name, room)
        self._last_sign = time.monotonic()
        if not self._fetched:
            self._broker.await_bell(self._queue_name, self._patience)
        return bool(self._fetched)

    def _pay(self) -> None:
        while self._owed:
            command, redis_id = self._owed[0]
            command(self._queue_name, redis_id)
            self._owed.popleft()

    def _show_life(self) -> None:
        """Any command stamps this process's heartbeat; without one, others would take its running jobs for lost."""
        if time.monotonic() - self._last_sign >= SIGN_OF_LIFE:
            self._broker.do_fetch(self._queue_name, 0)
            self._last_sign = time.monotonic()

    def _hand_out(self) -> MessageProxy | None:
        message = self._read(self._fetched.pop(0))
        if message is None:
            return None
        self._held.add(message.options["redis_message_id"])
        return MessageProxy(message)

    def _read(self, body: bytes | None) -> QuietMessage | None:
        """None for what Redis lost or somebody else wrote: handed on, a stray queue name would end a worker thread."""
        if body is None:
            return None
        try:
            message = QuietMessage(**json.loads(body))
            ours = message.queue_name == self._queue_name and isinstance(message.options["redis_message_id"], str)
        except (ValueError, LookupError, TypeError):
            ours = False
        if not ours or "eta" in message.options:
            _LOG.error("an unreadable message is left aside", extra={"queue": self._queue_name})
            return None
        return message

    def _wait_out(self, error: redis.RedisError) -> None:
        """Stay this consumer through an outage: a new one would forget what its threads still hold."""
        if not self._failures:
            _LOG.warning(
                "redis does not answer, trying on", extra={"queue": self._queue_name, "reason": type(error).__name__}
            )
        self._failures += 1
        time.sleep(min(1.0, 0.05 * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def ack(self, message: MessageProxy) -> None:
        self._finish(self._broker.do_ack, message)

    def nack(self, message: MessageProxy) -> None:
        self._finish(self._broker.do_nack, message)

    def _finish(self, command: Callable[[str, str], object], message: MessageProxy) -> None:
        redis_id = message.options["redis_message_id"]
        try:
            command(self._queue_name, redis_id)
        except redis.RedisError:
            self._owed.append((command, redis_id))
        self._held.discard(redis_id)
        if len(self._held) <= self._prefetch // 2:
            self._emptied.set()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what was fetched and not begun, and ring, so that another process takes it at once."""
        ids = [message.options["redis_message_id"] for message in messages]
        if not ids:
            return
        try:
            self._broker.do_requeue(self._queue_name, *ids)
            self._broker.ring(self._queue_name, len(ids))
        except redis.RedisError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call] # dramatiq's errors are untyped

    def close(self) -> None:
        cached = [message for message in map(self._read, self._fetched) if message is not None]
        self._fetched = []
        self.requeue(MessageProxy(message) for message in cached)
