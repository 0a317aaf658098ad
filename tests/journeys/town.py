"""A small town for stories: the front over real HTTP, a worker on a real queue, phones and a push service on the wire.

Only the time is ours: everybody in town looks at the clock that the story sets.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import sqlalchemy as sa
from argon2 import PasswordHasher

from api.passwords import HashSettings
from models import event
from models.database import Database
from models.event import event as events
from models.job import job
from models.sealed import Keyring
from models.vocabulary import Secret
from platforms.ios.push_service import PushService
from platforms.ios.simulator import Iphone
from platforms.simulation import simulator
from tests.clock import Clock
from tests.people import Person, give_totp, hire
from workers.sweep import Sweep

PASSWORD = "correct horse battery staple"
HASHES = HashSettings(memory_kib=19 * 1024, passes=2)
PASSWORD_HASH = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
AUDIT_KEY = Secret(b"a" * 32)
PATIENCE = 15.0


async def until(true: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> Any:
    """What `true` gives as soon as it gives something; a story that waits longer than this has gone wrong."""
    async with asyncio.timeout(patience):
        while not (found := await true()):  # noqa: ASYNC110 - it happens elsewhere, in threads and behind HTTP
            await asyncio.sleep(0.005)
    return found


@dataclass
class Town:
    client: httpx.AsyncClient
    db: Database
    clock: Clock
    keys: Keyring
    sweep: Sweep
    services: Mapping[str, Any]
    """What wakes the phones of each platform."""
    organization_id: UUID
    phones: list[Any] = field(default_factory=list)

    @property
    def pushes(self) -> PushService:
        service: PushService = self.services["ios"]
        return service

    async def hire(self, name: str = "anna", *, second_factor: bool = False, **more: Any) -> Person:
        person = await hire(
            self.db, self.organization_id, name, self.clock.now, password=PASSWORD, password_hash=PASSWORD_HASH, **more
        )
        return await give_totp(self.db, self.keys, person, self.clock.now) if second_factor else person

    def browser(self, person: Person) -> "Browser":
        return Browser(self, person)

    async def iphone(
        self, browser: "Browser", name: str = "Anna's iPhone", *, ownership: str = "personal"
    ) -> tuple[UUID, Iphone]:
        return await self.phone(browser, "ios", name, ownership=ownership)

    async def phone(
        self, browser: "Browser", platform: str, name: str = "Anna's phone", *, ownership: str = "personal"
    ) -> tuple[UUID, Any]:
        """Enrolled by its owner, as every device is."""
        wish = {"platform": platform, "name": name, "ownership": ownership}
        answer = await browser.ask("POST", "/enrollments", wish)
        assert answer.status_code == 201, answer.text
        phone = simulator(platform).new_device(self.transport)
        phone.service = self.services[platform]
        await phone.open_link(answer.json()["url"])
        await phone.check_in()
        self.phones.append(phone)
        return UUID(answer.json()["device_id"]), phone

    async def transport(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            answer = await self.client.request(method, url, headers=dict(headers), content=body)
        except httpx.TransportError as error:
            raise OSError(str(error)) from error
        return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content

    def lose(self, phone: Any, words: bytes) -> None:
        """The phone's next message with these words goes astray."""

        async def once(
            method: str, url: str, headers: Mapping[str, str], body: bytes
        ) -> tuple[int, Mapping[str, str], bytes]:
            if words in body:
                phone.transport = self.transport
                raise OSError("lost")
            return await self.transport(method, url, headers, body)

        phone.transport = once

    async def job_is(self, browser: "Browser", location: str, *states: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await browser.ask("GET", location.removeprefix("/api/v1"))).json()
            return shown if shown["state"] in states else None

        found: dict[str, Any] = await until(look)
        return found

    async def jobs(self) -> list[Any]:
        async with self.db.read() as tx:
            return list((await tx.execute(sa.select(job).order_by(job.c.id))).all())

    async def actions(self) -> list[tuple[str, str]]:
        """What the record says, in the order it was made."""
        async with self.db.read() as tx:
            rows = (await tx.execute(sa.select(events).order_by(events.c.at, events.c.id))).all()
        return [(row.action, row.outcome) for row in rows]

    async def record_is_whole(self) -> bool:
        await self.sweep.seal()
        async with self.db.read() as tx:
            verdict = await event.verify(tx, AUDIT_KEY, self.organization_id, self.clock.now)
        return verdict.whole and verdict.unsealed == 0


@dataclass
class Browser:
    """Somebody at a keyboard; holds the session's token, and the window's."""

    town: Town
    person: Person
    token: str | None = None
    window: str | None = None

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        sent = dict(headers)
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if key is not None:
            sent["Idempotency-Key"] = key
        self.town.client.cookies.clear()  # every browser here holds its tokens itself
        return await self.town.client.request(method, f"/api/v1{path}", json=body, headers=sent)

    async def sign_in(self) -> dict[str, Any]:
        """Both factors, where there are two. The window's token goes along where there is one."""
        body = {"account": self.person.name, "password": self.person.password}
        if self.window is not None:
            body["re_sign_in"] = self.window
        self.token = None
        answer = await self.ask("POST", "/sessions", body)
        assert answer.status_code in {201, 202}, answer.text
        self.token = answer.json()["token"]
        if answer.status_code == 202:
            (method,) = [one for one in answer.json()["methods"] if one["default"]]
            code = self.person.code(self.town.clock.now)
            answer = await self.ask(
                "POST", "/sessions/current/second-factor", {"method_id": method["id"], "code": code}
            )
            assert answer.status_code == 201, answer.text
            self.token = answer.json()["token"]
        told: dict[str, Any] = answer.json()
        return told

    async def open_window(self, device_id: UUID, act: str = "reset_passcode") -> dict[str, Any]:
        """Taps *Sign out*."""
        answer = await self.ask("POST", "/re-sign-ins", {"device_id": str(device_id), "act": act})
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        self.window, self.token = told["token"], None
        return told

    async def reset_passcode(self, device_id: UUID, key: str | None = None) -> httpx.Response:
        return await self.ask("POST", f"/devices/{device_id}/reset-passcode", key=key or str(uuid4()))

    async def all_the_way(self, device_id: UUID) -> str:
        """Signs out and in again, confirms; where the job is to be seen."""
        await self.open_window(device_id)
        told = await self.sign_in()
        assert told["re_sign_in"]["state"] == "proven"
        answer = await self.reset_passcode(device_id)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    async def notifications(self) -> dict[str, Any]:
        told: dict[str, Any] = (await self.ask("GET", "/notifications")).json()
        return told

    def elsewhere(self) -> "Browser":
        """The same person at another keyboard: no window's token there."""
        return replace(self, token=None, window=None)


@asynccontextmanager
async def all_open(*managers: Any) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(manager) for manager in managers]
