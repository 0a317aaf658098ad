"""What stands behind the API: enterprises, phones, commands on their way, and all that can go wrong with them."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric import rsa

from platforms.android.emulator import shapes
from platforms.android.emulator.accounts import ServiceAccount, Signer, TokenOffice
from platforms.android.emulator.api import Api
from platforms.android.emulator.http import Request, Response, listening
from platforms.android.emulator.notices import Notices, Road
from platforms.android.emulator.operations import VALIDITY, Operation, Told
from platforms.android.emulator.phone import Phone, password_policies
from platforms.android.emulator.quotas import Quotas

LOOK: Final = 0.1
"""Seconds between two looks for commands whose time ran out."""
RESTART: Final = 0.05
"""Seconds that a phone is away while it restarts."""
KEPT_OPERATIONS: Final = 20
"""Of one phone, for its next life."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the API does instead of answering. `status` None: it takes the request and never says a word.

    `after`: the work is done first. With a 503 or a silence that is the outcome nobody can know.
    """

    status: int | None
    after: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Enterprise:
    name: str
    project: str
    display_name: str = "Acme"
    topic: str = "projects/latchkey-demo/topics/devices"
    notifications: list[str] = field(default_factory=lambda: ["ENROLLMENT", "STATUS_REPORT", "COMMAND"])
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)


class Emulator:
    """Everything of it may be changed while it runs."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        accounts: Iterable[ServiceAccount] = (),
        *,
        seed: int | None = None,
        issuer: str = "https://accounts.google.com",
        key: rsa.RSAPrivateKey | None = None,
    ) -> None:
        self.clock = clock

        def now() -> datetime:
            return self.clock()

        self.chance = random.Random(seed)  # noqa: S311 - mishaps, not secrets
        self.tokens = TokenOffice(now, list(accounts))
        self.signer = Signer(now, issuer, key)
        self.quotas = Quotas(now)
        self.notices = Notices(now, self.signer, self.chance)
        self.enterprises: dict[str, Enterprise] = {}
        self.phones: dict[str, Phone] = {}
        self.operations: dict[str, Operation] = {}
        self.road: Road | None = None
        """Where notices go about phones that brought no road of their own."""
        self.roads: dict[str, Road] = {}
        self.delay: tuple[float, float, float] = (0.0, 0.0, 0.0)
        """Seconds until a phone that is there runs a command: least, most, usual."""
        self.orphaned: set[str] = set()
        """Enterprises that no project manages any more."""
        self.expires_silently = False
        """What expires is never told: it stays pending for ever."""
        self.echoes_passwords = True
        self.told: Sequence[Told] = (Told.BOTH,)
        self.without_response = 0.0
        """Of these successes no response is told."""
        self.reporting: float | None = None
        """Seconds after which a phone that is there reports by itself; None: only when something happens to it."""
        self.warming = 0.0
        """Seconds after its start in which a phone that is not known may still come back."""
        self.requests: Counter[str] = Counter()
        """Answered or not, by action."""
        self.statuses: Counter[int] = Counter()
        self.failing: list[tuple[str, float, Failure]] = []
        """Action, rate, failure."""
        self.port = 0
        self._next: dict[str, deque[Failure]] = {}
        self._pending: dict[str, Operation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 0.0
        self._api = Api(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator[Self]:
        async with listening(self.answer, port) as self.port:
            self.tokens.url = f"{self.url}/token"
            self._begun = asyncio.get_running_loop().time()
            watching = asyncio.ensure_future(self._watch())
            try:
                yield self
            finally:
                tasks = [watching, *self._tasks]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self.notices.close()

    async def answer(self, request: Request) -> Response:
        response = await self._api.answer(request)
        self.statuses[response.status] += 1
        return response

    # Phones

    def enterprise(self, name: str) -> Enterprise:
        """As it is, or made: of the first account's project."""
        if name not in self.enterprises:
            accounts = self.tokens.accounts
            self.enterprises[name] = Enterprise(name, accounts[0].project if accounts else "")
        return self.enterprises[name]

    def add(self, phone: Phone, road: Road | None = None) -> Phone:
        """A phone that was enrolled before; nobody is told."""
        self.enterprise(phone.enterprise)
        now = self.clock()
        phone.enrolled_at, phone.reported_at = phone.enrolled_at or now, phone.reported_at or now
        phone.synced_at = phone.synced_at or now
        self.phones[phone.name] = phone
        if road is not None:
            self.roads[phone.name] = road
        return phone

    def enroll(self, phone: Phone, correlation: str, road: Road | None = None, token: str = "") -> Phone:
        """The owner follows an enrolment token's link: the record is made, then the phone takes its policy.

        Where its owner wants to know that the notices of it came: `await emulator.heard(phone)`.
        """
        phone.correlation, phone.token_name = correlation, token
        phone.state = phone.applied_state = "PROVISIONING"
        phone.enrolled_at = phone.reported_at = self.clock()
        phone.synced_at = None
        self.enterprise(phone.enterprise)
        self.phones[phone.name] = phone
        if road is not None:
            self.roads[phone.name] = road
        self.publish("ENROLLMENT", phone.resource(), phone)
        phone.state = "ACTIVE"
        if phone.online:
            self.sync(phone)
        return phone

    def re_enroll(self, phone: Phone, correlation: str, device_id: str, road: Road | None = None) -> Phone:
        """The same phone after a reset: another name, and the old record is left behind as it was."""
        phone.former = [*phone.former, phone.name]
        phone.device_id = device_id
        phone.wiped = False
        return self.enroll(phone, correlation, road)

    def sync(self, phone: Phone) -> None:
        """The phone takes its policy and reports."""
        policy = self.enterprise(phone.enterprise).policies.get(phone.policy)
        if policy is not None:
            phone.policies = password_policies(policy)
        phone.applied_state = phone.state
        phone.synced_at = self.clock()
        self.report(phone)

    def report(self, phone: Phone) -> None:
        phone.reported_at = self.clock()
        self.publish("STATUS_REPORT", phone.resource(), phone)
        self._changed(phone)

    def delete(self, phone: Phone) -> None:
        """Its record goes, and all that was asked of it; a phone that is there is wiped."""
        for name in [name for name, operation in self.operations.items() if operation.phone is phone]:
            self._pending.pop(name, None)
            del self.operations[name]
        self.phones.pop(phone.name, None)
        if phone.online:
            phone.wipe()
        self.publish("STATUS_REPORT", phone.resource(deleted=True), phone)
        self._changed(phone)

    def go_offline(self, phone: Phone) -> None:
        phone.online = False

    def go_online(self, phone: Phone) -> None:
        """It reports, and takes what was waiting for it."""
        phone.online = True
        if phone.name in self.phones:
            self.sync(phone)
            self._carry_all(phone)

    def unpause(self, phone: Phone) -> None:
        phone.paused = False
        self._carry_all(phone)

    # Commands

    def issue(self, phone: Phone, body: Mapping[str, Any]) -> Operation:
        """Raises ApiError."""
        command = shapes.command(body)
        now = self.clock()
        number = int(now.timestamp() * 1000)
        while f"{phone.name}/operations/{number}" in self.operations:
            number += 1
        operation = Operation.of(phone, command, body.get("duration") or VALIDITY, now, number)
        operation.told = self.chance.choice(self.told)
        operation.with_response = self.chance.random() >= self.without_response
        self.operations[operation.name] = self._pending[operation.name] = operation
        self._changed(phone)
        self._start(self._carry(operation))
        return operation

    def cancel(self, operation: Operation) -> None:
        """As far as it goes: what the phone did already is done."""
        if operation.pending and not operation.ran:
            operation.cancel()
            self._settled(operation)

    def expire(self) -> None:
        """Commands whose time ran out before a phone took them."""
        now = self.clock()
        for operation in [one for one in self._pending.values() if now >= one.until and not one.ran]:
            operation.lapsed = True
            if self.expires_silently:
                del self._pending[operation.name]
            else:
                operation.expire()
                self._settled(operation)

    async def _carry(self, operation: Operation) -> None:
        """To the phone, if it is there."""
        phone = operation.phone
        least, most, usual = self.delay
        wait = self.chance.triangular(least, most, usual) + phone.habits.slow
        await asyncio.sleep(wait)
        self.expire()
        if not operation.pending or not phone.running or phone.wiped:
            return
        if not operation.ran:
            operation.ran = True
            operation.code = phone.run(operation.name, operation.command)
            if phone.habits.rebooting:
                phone.habits.rebooting -= 1
                phone.reboot()
                phone.online = False
                self._changed(phone)
                await asyncio.sleep(RESTART)
                self.go_online(phone)
                return
        operation.finish()
        self._settled(operation)

    def _carry_all(self, phone: Phone) -> None:
        for operation in [one for one in self._pending.values() if one.phone is phone]:
            self._start(self._carry(operation))

    def _settled(self, operation: Operation) -> None:
        self._pending.pop(operation.name, None)
        phone = operation.phone
        self.publish("COMMAND", operation.resource(echoes=self.echoes_passwords), phone)
        if phone.wiped and phone.name in self.phones:
            self.delete(phone)
        self._changed(phone)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        reported = loop.time()
        while True:
            await asyncio.sleep(LOOK)
            self.expire()
            if self.reporting is not None and loop.time() >= reported + self.reporting:
                reported = loop.time()
                for phone in [phone for phone in self.phones.values() if phone.running]:
                    self.report(phone)

    # Notices

    def publish(self, kind: str, value: Mapping[str, Any], phone: Phone) -> None:
        enterprise = self.enterprise(phone.enterprise)
        if kind in enterprise.notifications and enterprise.topic:
            self.notices.publish(kind, value, self.roads.get(phone.name, self.road), phone)

    async def heard(self, phone: Phone) -> None:
        """Until every notice about this phone that was published by now is acknowledged."""
        await self.notices.heard(phone)

    async def idle(self) -> None:
        """Until no command is on its way and every notice is acknowledged."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            await asyncio.sleep(0)
        await self.notices.idle()
        if self._tasks:
            await self.idle()

    # Mishaps

    def fail_next(self, action: str, *failures: Failure) -> None:
        """Each once, in the order given. `action` as the discovery document names it, without `enterprises.`."""
        self._next.setdefault(action, deque()).extend(failures)

    def mishap(self, action: str) -> Failure | None:
        """What goes wrong with this request."""
        if waiting := self._next.get(action):
            return waiting.popleft()
        for of, rate, failure in self.failing:
            if of == action and self.chance.random() < rate:
                return failure
        return None

    @property
    def warm(self) -> bool:
        return asyncio.get_running_loop().time() >= self._begun + self.warming

    # What is kept of a phone

    def kept_operations(self, phone: Phone) -> list[dict[str, Any]]:
        own = [operation for operation in self.operations.values() if operation.phone is phone]
        return [operation.kept() for operation in own[-KEPT_OPERATIONS:]]

    def restore(self, phone: Phone, operations: Iterable[Mapping[str, Any]], road: Road | None = None) -> None:
        """A phone of an earlier life of this emulator, with what was asked of it."""
        self.add(phone, road)
        for kept in operations:
            operation = Operation.restore(phone, kept)
            self.operations[operation.name] = operation
            if operation.pending:
                self._pending[operation.name] = operation

    def _changed(self, phone: Phone) -> None:
        if phone.saved is not None:
            phone.saved()

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
