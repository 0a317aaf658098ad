"""Pub/Sub as a push subscriber sees it: at least once, in any order, until each is acknowledged.

https://cloud.google.com/pubsub/docs/push
"""

import asyncio
import base64
import json
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from platforms.android.emulator.accounts import Signer
from platforms.android.emulator.phone import Phone, timestamp

ACKNOWLEDGED: Final = frozenset({102, 200, 201, 202, 204})
AT_ONCE: Final = 50
RETENTION: Final = timedelta(days=7)

Transport = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""(method, url, headers, body) → (status, headers with lower-case names, body). Raises OSError when the road is cut."""


@dataclass(frozen=True, slots=True)
class Road:
    """Where notices are pushed to, and over what."""

    transport: Transport = field(repr=False)
    url: str


@dataclass
class Notices:
    """One topic with one push subscription. Rates are between 0 and 1."""

    clock: Callable[[], datetime]
    signer: Signer
    chance: random.Random
    audience: str = ""
    """Of its tokens; empty: the address they are pushed to."""
    email: str = "notices@latchkey-demo.iam.gserviceaccount.com"
    subscription: str = "projects/latchkey-demo/subscriptions/devices"
    duplicate: float = 0.0
    reorder: float = 0.0
    """Of these the first push waits up to `held` seconds, so that younger ones overtake it."""
    drop: float = 0.0
    """Of these nothing is ever pushed."""
    dropping: frozenset[str] = frozenset({"COMMAND", "STATUS_REPORT"})
    """Where one that is lost would leave a phone unknown for ever, nothing is dropped."""
    held: float = 0.3
    pause: float = 0.05
    """Seconds before what was not acknowledged is pushed again; twice as many each time."""
    longest_pause: float = 2.0
    patience: float = 10.0
    """Seconds for an acknowledgement."""
    echo: list[tuple[str, Any]] = field(default_factory=list, repr=False)
    """Everything that was published, for tests that look."""
    keeps_echo: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    """published, dropped, duplicated, held, pushed, acknowledged, refused, given_up."""
    _tasks: dict[asyncio.Task[None], Phone | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(AT_ONCE)

    def publish(self, kind: str, value: Mapping[str, Any] | bytes, road: Road | None, phone: Phone | None) -> None:
        """`value`: what the event is about, or bytes as they are (a test's)."""
        self.counts["published"] += 1
        if self.keeps_echo:
            self.echo.append((kind, value))
        if road is None or self._lost(kind, phone):
            self.counts["dropped"] += 1
            return
        content = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        now = timestamp(self.clock())
        number = str(10**15 + secrets.randbelow(9 * 10**15))
        message = {"attributes": {"notificationType": kind}, "data": base64.b64encode(content).decode()}
        message |= {"messageId": number, "message_id": number, "publishTime": now, "publish_time": now}
        self._start(self._deliver(road, message, phone), phone)
        if self.chance.random() < self.duplicate or (phone is not None and phone.habits.repeating):
            self.counts["duplicated"] += 1
            self._start(self._deliver(road, message, phone), phone)

    def _lost(self, kind: str, phone: Phone | None) -> bool:
        if phone is not None and phone.habits.losing_results and kind in self.dropping:
            phone.habits.losing_results -= 1
            return True
        return kind in self.dropping and self.chance.random() < self.drop

    def _start(self, work: Any, phone: Phone | None) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks[task] = phone
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)

    async def _deliver(self, road: Road, message: Mapping[str, Any], phone: Phone | None) -> None:
        """Push it until somebody says that it came."""
        if self.chance.random() < self.reorder:
            self.counts["held"] += 1
            await asyncio.sleep(self.chance.uniform(0.0, self.held))
        body = json.dumps({"message": message, "subscription": self.subscription}).encode()
        until = self.clock() + RETENTION
        pause = self.pause
        while not await self._push(road, body, phone):
            if self.clock() >= until:
                self.counts["given_up"] += 1
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, self.longest_pause)

    async def _push(self, road: Road, body: bytes, phone: Phone | None) -> bool:
        headers = {
            "authorization": f"Bearer {self.signer.token(self.audience or road.url, self.email)}",
            "content-type": "application/json",
            "user-agent": "CloudPubSub-Google",
        }
        self.counts["pushed"] += 1
        try:
            async with self._gate, asyncio.timeout(self.patience):
                status, _, _ = await road.transport("POST", road.url, headers, body)
        except (OSError, TimeoutError):
            self.counts["refused"] += 1
            return False
        if phone is not None and phone.habits.losing_answers:
            phone.habits.losing_answers -= 1
            return False
        taken = status in ACKNOWLEDGED
        self.counts["acknowledged" if taken else "refused"] += 1
        return taken

    async def heard(self, phone: Phone) -> None:
        """Until every notice about this phone that was published by now is acknowledged."""
        own = [task for task, about in self._tasks.items() if about is phone]
        if own:
            await asyncio.wait(own)

    async def idle(self) -> None:
        """Until everything published is acknowledged."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
