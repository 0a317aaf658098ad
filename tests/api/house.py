"""What a test of the HTTP surface holds in its hands: the app's client, its database, its clock, and its people."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from argon2 import PasswordHasher

from api.passwords import HashSettings
from models import contact, notification, session, verification
from models.database import Database
from models.event import Line, event, opened
from models.keyed import of_address
from models.sealed import Keyring
from models.session import SessionState, hash_token
from models.settings import SESSION_ABSOLUTE
from models.verification import VerificationKind
from models.vocabulary import Act, Join, Ownership, PlatformName, new_id
from platforms.base import Facts, Management, Reach, Road
from tests.clock import Clock
from tests.people import Person, give_totp, hire

PUBLIC_URL = "https://latchkey.test"
PASSWORD = "correct horse battery staple"
HASHES = HashSettings(memory_kib=19 * 1024, passes=2)
PASSWORD_HASH = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)


class Pocket:
    """A platform that can do what the test says; nothing here is ever woken."""

    name = PlatformName("pocket")
    aliases = ()
    max_body = 1024
    passcode = None

    def __init__(self) -> None:
        self.offered: dict[Act, str | None] = {Act.RESET_PASSCODE: None, Act.WIPE: None, Act.REMOTE_LOCK: None}
        self.compliant: bool | None = None

    def offers(self, facts: Facts) -> Mapping[Act, str | None]:
        return self.offered

    def management(self, facts: Facts) -> Management:
        return Management(Join.JOINED if facts.ownership is Ownership.CORPORATE else Join.REGISTERED, self.compliant)

    def reach(self, facts: Facts, last_seen_at: datetime | None, now: datetime) -> Reach:
        return Reach(Road.POLL, now + timedelta(hours=8))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    json: Any
    cookies: Mapping[str, str]
    set_cookies: list[str]


@dataclass(frozen=True, slots=True)
class House:
    client: TestClient[Any, Any]
    db: Database
    clock: Clock
    keys: Keyring
    platform: Pocket
    organization_id: UUID

    async def hire(self, name: str = "anna", *, second_factor: bool = False, **more: Any) -> Person:
        more.setdefault("password_hash", PASSWORD_HASH)
        person = await hire(self.db, more.pop("organization_id", self.organization_id), name, self.clock.now, **more)
        person = replace(person, password=PASSWORD)
        return await give_totp(self.db, self.keys, person, self.clock.now) if second_factor else person

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        address: str = "192.0.2.1",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"X-Forwarded-For": address, **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        async with self.client.request(method, f"/api/v1{path}", json=body, headers=sent) as response:
            return await _read(response)

    async def sign_in(self, person: Person, *, re_sign_in: str | None = None, **more: Any) -> Answer:
        body = {"account": person.name, "password": person.password}
        if re_sign_in is not None:
            body["re_sign_in"] = re_sign_in
        return await self.ask("POST", "/sessions", body, **more)

    async def open_session(
        self, person: Person, token: str, *, strength: int = 1, methods: tuple[str, ...] = ("password",)
    ) -> UUID:
        """Signed in without the way there."""
        async with self.db.write() as tx:
            opened = await session.open_session(
                tx,
                organization_id=person.organization_id,
                account_id=person.id,
                token_hash=hash_token(token),
                generation=0,
                state=SessionState.SIGNED_IN,
                strength=strength,
                methods=methods,
                lifetime=SESSION_ABSOLUTE,
                now=self.clock.now,
                re_sign_in_id=None,
                address="192.0.2.1",
                client="a browser",
            )
        return opened.id

    async def appoint(self, name: str = "boss", *roles: str, **more: Any) -> Person:
        """An administrator with two factors, signed in under their name."""
        person = await self.hire(name, second_factor=True, roles=roles or ("global_administrator",), **more)
        await self.open_session(person, name, strength=2)
        return person

    async def events(self, person: Person | None = None) -> Counter[tuple[str, str, str | None]]:
        """Action, outcome and reason of what the record says; the clock stands still, so there is no order."""
        statement = sa.select(event)
        if person is not None:
            statement = statement.where(event.c.account_id == person.id)
        async with self.db.read() as tx:
            lines = await opened(tx, self.keys, (await tx.execute(statement)).all())
        return Counter((line.row.action, line.row.outcome, line.reason) for line in lines)

    async def told(self, person: Person) -> list[str]:
        """The keys of what the person was told, oldest first."""
        async with self.db.read() as tx:
            after = notification.after_question(person.organization_id, person.id, 0, self.clock.now, 100)
            return [line.key for line in (await tx.ask(*after)).rows]

    async def until_it_waits(self, asked: "asyncio.Future[Answer]") -> None:
        await until_it_waits(self.db, asked)

    async def lines(self, action: str) -> list[Line]:
        """Of the record, with what is sealed in them."""
        async with self.db.read() as tx:
            rows = (await tx.execute(sa.select(event).where(event.c.action == action))).all()
            return await opened(tx, self.keys, rows)

    async def rows(self, statement: sa.Select[Any]) -> list[Any]:
        async with self.db.read() as tx:
            return list((await tx.execute(statement)).all())


async def until_it_waits(db: Database, asked: "asyncio.Future[Any]") -> None:
    """For a lock that the test holds; PostgreSQL says so. SQLite has one writer: whatever the test holds it for,
    it has not begun to decide anything."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10):
        waits = db.is_sqlite
        while not waits:
            await asyncio.sleep(0.002)
            async with db.read() as tx:
                waits = bool((await tx.execute(waiting)).scalar_one())
    await asyncio.sleep(0)
    assert not asked.done()


async def give_address(
    house: House,
    person: Person,
    kind: VerificationKind,
    address: str,
    *,
    age: timedelta = timedelta(hours=24),
) -> UUID:
    """Confirmed so long ago."""
    method_id, then = new_id(house.clock.now), house.clock.now - age
    same = {"verification_id": method_id, "organization_id": person.organization_id, "account_id": person.id}
    async with house.db.write() as tx:
        await tx.execute(
            verification.new_contact(
                **same, kind=kind, label=kind.value, begun_in=method_id, expires_at=house.clock.now, now=then
            )
        )
        hashed = of_address(b"t" * 32, address)
        await contact.keep(tx, **same, kind=kind, address=address, address_hash=hashed, replaces=None, keys=house.keys)
        pending, held = await verification.by_id(tx, person.id, method_id), await contact.of_method(tx, method_id)
        assert pending is not None
        assert held is not None
        await verification.activate(tx, pending, then)
        await contact.confirm(tx, held, then)
    return method_id


async def _read(response: ClientResponse) -> Answer:
    text = await response.text()
    cookies = {name: morsel.value for name, morsel in response.cookies.items()}
    json = await response.json(content_type=None) if text else None
    return Answer(response.status, response.headers, json, cookies, response.headers.getall("Set-Cookie", []))
