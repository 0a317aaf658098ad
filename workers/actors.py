"""Which messages a worker understands: one table of queue, priority and time limit, bound to a plain function.

An actor a queue, since Dramatiq keeps priority and time limit with the actor: what a person waits for overtakes what
was fetched beside it. The names are `queue.actor_name`'s.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from dramatiq import Actor, Broker

from models.log import bound, where
from models.vocabulary import Queue
from workers.queue import Errand, actor_name

N = TypeVar("N")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """`priority`: lower is earlier. `limit`: past it the run is cancelled and its lease left to expire."""

    priority: int
    limit: timedelta


TABLE: Final[Mapping[Queue, Terms]] = {
    Queue.INTERACTIVE: Terms(priority=0, limit=timedelta(seconds=60)),
    Queue.SYSTEM: Terms(priority=1, limit=timedelta(minutes=5)),
    Queue.BULK: Terms(priority=2, limit=timedelta(minutes=5)),
}


class QuietActor(Actor[Any, Any]):
    """Dramatiq's own prints the arguments at DEBUG."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)


Run = Callable[[N, UUID], Awaitable[None]]


def declare(broker: Broker, needs: Callable[[], N], run_job: Run[N], deliver: Run[N] | None = None) -> None:
    """`needs` is asked at each run: they are opened on the event loop, after this and before the first message."""
    for queue in TABLE:
        _declare(broker, needs, queue, Errand.RUN_JOB, run_job, "job")
    if deliver is not None:
        _declare(broker, needs, Queue.SYSTEM, Errand.DELIVER, deliver, "delivery")


def _declare(broker: Broker, needs: Callable[[], N], queue: Queue, errand: Errand, do: Run[N], what: str) -> None:
    async def run(row_id: str) -> None:
        with bound(**{what: UUID(row_id)}):
            try:
                await do(needs(), UUID(row_id))
            except Exception as error:  # noqa: BLE001 - whatever it was, the row's lease decides what comes next
                # Not the traceback: it prints messages, and messages hold values.
                _LOG.error("a run failed", extra={"error_type": type(error).__name__, "where": where(error)})

    terms = TABLE[queue]
    QuietActor(
        run,
        broker=broker,
        actor_name=actor_name(queue, errand),
        queue_name=queue.value,
        priority=terms.priority,
        options={"time_limit": terms.limit // timedelta(milliseconds=1)},
    )
