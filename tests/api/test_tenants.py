"""Tenants apart: whatever id of one organization's somebody of another sends, it is an id that never was.

The walk is made from the page of routes. A route with an id that nobody here can make fails until it is told how to.
"""

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args
from uuid import UUID

import msgspec
import sqlalchemy as sa
from PIL import Image

from api.guards import Guard
from api.routes import ROUTES, Route
from models.app import App
from models.app import add as add_app
from models.approval import submit
from models.base import metadata
from models.database import Database
from models.event import Actor
from models.hot import Answer as Found
from models.hot import Question
from models.notification import Severity, tell
from models.vocabulary import Act, new_id
from tests.api.house import Answer, House
from tests.people import Person, found, give_device, give_terms, welcome

PREFIX: Final = "/api/v1"


@dataclass(frozen=True)
class Acme:
    """The organization that somebody else wants to look into: its administrator, who has one of everything."""

    house: House
    anna: Person

    async def ask(self, method: str, path: str, body: Any = None, *, token: str = "anna", **more: Any) -> Answer:
        answer = await self.house.ask(method, path, body, token=token, **more)
        assert answer.status < 300, answer.json
        return answer

    async def account(self) -> UUID:
        return (await self.house.hire("dora")).id

    async def organization(self) -> UUID:
        return self.anna.organization_id

    async def method(self) -> UUID:
        assert self.anna.method_id is not None
        return self.anna.method_id

    async def session(self) -> UUID:
        return await self.house.open_session(self.anna, "another")

    async def sign_in(self) -> UUID:
        (_, line, *_) = (await self._signed_in("/sign-ins"))["items"]
        return UUID(line["id"])

    async def browser(self) -> UUID:
        (one, *_) = (await self._signed_in("/browsers"))["items"]
        return UUID(one["id"])

    async def _signed_in(self, path: str) -> Any:
        half = await self.house.sign_in(self.anna)
        body = {"method_id": str(self.anna.method_id), "code": self.anna.code(self.house.clock.now)}
        await self.house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
        return (await self.ask("GET", path)).json

    async def device(self) -> UUID:
        return await give_device(self.house.db, self.anna, self.house.clock.now)

    async def re_sign_in(self) -> UUID:
        await self.house.open_session(self.anna, "leaving", strength=2)
        body = {"device_id": str(await self.device()), "act": Act.RESET_PASSCODE}
        return UUID((await self.ask("POST", "/re-sign-ins", body, token="leaving")).json["id"])

    async def recovery(self) -> UUID:
        return UUID((await self.ask("POST", "/recoveries", {"account": self.anna.name})).json["id"])

    async def invitation(self) -> UUID:
        made = await self.ask("POST", "/invitations", {"mail": "bert@example.org", "language": "en"})
        return UUID(made.json["id"])

    async def former_member(self) -> UUID:
        """Somebody from elsewhere who was a member here, and left."""
        now, here = self.house.clock.now, self.anna.organization_id
        zed = await self.house.hire("zed", organization_id=await found(self.house.db, now, name="Elsewhere"))
        await welcome(self.house.db, here, zed, now)
        await self.house.open_session(replace(zed, organization_id=here), "zed")
        key = {"Idempotency-Key": "k"}
        await self.ask("POST", f"/organizations/{here}/leave", {"confirm": True}, token="zed", headers=key)
        (gone,) = (await self.ask("GET", "/former-members")).json["items"]
        return UUID(gone["id"])

    async def export(self) -> UUID:
        asked = await self.ask("POST", "/exports", headers={"Idempotency-Key": "export"})
        return UUID(asked.json["id"])

    async def approval(self) -> UUID:
        device_id, now = await self.device(), self.house.clock.now
        async with self.house.db.write() as tx:
            made = await submit(
                tx,
                organization_id=self.anna.organization_id,
                account_id=self.anna.id,
                device_id=device_id,
                device_name="a phone",
                act=Act.REMOVE,
                idempotency_key="approval",
                request_hash=b"",
                actor=Actor("account", self.anna.id),
                now=now,
            )
        return made.id

    async def app(self) -> UUID:
        made = App(
            id=new_id(self.house.clock.now),
            organization_id=self.anna.organization_id,
            name="Timesheet",
            client_id="timesheet",
            backchannel_logout_uri="https://timesheet.test/logout",
            session_required=False,
            version=1,
            created_at=self.house.clock.now,
        )
        async with self.house.db.write() as tx:
            await add_app(tx, made)
        return made.id

    async def terms(self) -> UUID:
        return (await give_terms(self.house.db, self.anna.organization_id, self.house.clock.now)).terms_id

    async def version(self) -> UUID:
        return (await give_terms(self.house.db, self.anna.organization_id, self.house.clock.now)).id

    async def job(self) -> UUID:
        """What was done for somebody's account: administrators of its own organization see it."""
        carl = await self.house.hire("carl")
        path = f"/accounts/{carl.id}/sign-out-everywhere"
        done = await self.ask("POST", path, {"reason": "ticket 4711"}, headers={"Idempotency-Key": "k"})
        return UUID(done.json["id"])

    async def notification(self) -> UUID:
        async with self.house.db.write() as tx:
            await tell(
                tx,
                organization_id=self.anna.organization_id,
                account_id=self.anna.id,
                subject_id=new_id(self.house.clock.now),
                key="device.disabled",
                params={},
                severity=Severity.INFO,
                now=self.house.clock.now,
            )
        (line, *_) = (await self.ask("GET", "/notifications")).json["items"]
        return UUID(line["id"])

    async def account_export(self) -> UUID:
        headers = {"Idempotency-Key": "all-of-them"}
        asked = await self.house.ask("POST", "/account-exports", token="anna", headers=headers)
        return UUID(asked.json["id"])

    async def account_import(self) -> UUID:
        headers = {"Authorization": "Bearer anna", "Content-Type": "text/csv", "Idempotency-Key": "new-ones"}
        content = b"sign_in_name,display_name\nnew,New\n"
        async with self.house.client.post(f"{PREFIX}/account-imports", data=content, headers=headers) as answer:
            return UUID((await answer.json())["id"])


MAKERS: Final[Mapping[str, Callable[[Acme], Awaitable[UUID]]]] = {
    "account_export_id": Acme.account_export,
    "account_id": Acme.account,
    "account_import_id": Acme.account_import,
    "app_id": Acme.app,
    "approval_id": Acme.approval,
    "browser_id": Acme.browser,
    "device_id": Acme.device,
    "export_id": Acme.export,
    "invitation_id": Acme.invitation,
    "job_id": Acme.job,
    "membership_id": Acme.former_member,
    "method_id": Acme.method,
    "notification_id": Acme.notification,
    "organization_id": Acme.organization,
    "re_sign_in_id": Acme.re_sign_in,
    "recovery_id": Acme.recovery,
    "replaces": Acme.method,
    "session_id": Acme.session,
    "sign_in_id": Acme.sign_in,
    "terms_id": Acme.terms,
    "version_id": Acme.version,
}
"""How each kind of id is made, of an organization that is not the asker's."""
POSITIONS: Final = frozenset({"cursor"})
"""Ids that say where a page begins: what follows is the asker's own all the same."""
NO_IDS: Final = frozenset({"language", "picture"})
"""Parts of a path that name nothing of anybody's."""


@dataclass(frozen=True)
class Step:
    """One id, in one place of one route."""

    route: Route
    place: str
    """path, query, body, or the list in the body"""
    name: str

    def __str__(self) -> str:
        return f"{self.route.method} {self.route.path} ({self.place}: {self.name})"


def steps(routes: tuple[Route, ...] = ROUTES) -> Iterator[Step]:
    for route in routes:
        yield from (Step(route, "path", name) for name in re.findall(r"{(\w+)}", route.path) if name not in NO_IDS)
        for place, struct in (("body", route.body), ("query", route.query)):
            yield from (Step(route, inside, name) for inside, name in named(place, struct))


def named(place: str, struct: Any) -> Iterator[tuple[str, str]]:
    """Each id, and where it is: in the struct itself, or in a list of others that it holds."""
    for field in () if struct is None else msgspec.structs.fields(struct):
        if field.name in POSITIONS:
            continue
        if "UUID" in str(field.type):
            yield place, field.encode_name
        for part in parts(field.type):
            yield from named(field.encode_name, part)


def parts(kind: Any) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in get_args(kind):
        yield from parts(inner)


async def test_every_kind_of_id_can_be_made() -> None:
    assert {step.name for step in steps()} == MAKERS.keys()


READS: Final = [
    step
    for step in steps()
    if step.place == "path" and step.route.method == "GET" and step.route.guard not in {Guard.OPEN, Guard.OPERATOR}
    # A file is there where one was left.
    if not isinstance(step.route.answers[200], str)
]
BODIES: Final[Mapping[str, Mapping[str, Any]]] = {"prove": {"code": "123456"}}
"""Where the example does without the id."""


async def seen(house: House, step: Step, ids: Mapping[str, UUID], token: str) -> int:
    return (await send(house, step, ids[step.name], ids, token)).status


async def send(house: House, step: Step, sent: UUID, ids: Mapping[str, UUID], token: str = "eve") -> Answer:
    """As it would be sent in earnest. `ids`: for the other places."""
    route = step.route
    path = route.path.removeprefix(PREFIX)
    for name in re.findall(r"{(\w+)}", path):
        path = path.replace(f"{{{name}}}", str(sent if step.place == "path" and name == step.name else ids[name]))
    body = None if route.body is None else dict(BODIES.get(route.name, route.example))
    if step.place == "body" and body is not None:
        body[step.name] = str(sent)
    if step.place not in {"path", "query", "body"} and body is not None:
        body[step.place] = [{**one, step.name: str(sent)} for one in body[step.place]]
    if step.place == "query":
        path += f"?{step.name}={sent}"
    headers = {"Idempotency-Key": str(step)[:200].replace(" ", "_")}
    if route.marked and route.method != "GET":
        headers["If-Match"] = "*"
    if route.upload is not None:
        return await upload(house, route, path, token)
    return await house.ask(route.method, path, body, token=token, headers=headers)


async def upload(house: House, route: Route, path: str, token: str) -> Answer:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}
    async with house.client.request(route.method, f"{PREFIX}{path}", data=file.getvalue(), headers=headers) as answer:
        return Answer(answer.status, answer.headers, await answer.json(), {}, [])


async def everything_of(house: House, organization_id: UUID) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the organization; floods and the like are nobody's."""
    held = {}
    for table in metadata.sorted_tables:
        if "organization_id" in table.c:
            rows = await house.rows(sa.select(table).where(table.c.organization_id == organization_id))
            held[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return held


async def furnish(house: House) -> dict[str, UUID]:
    """Two organizations: one of everything in the first, and `eve`, an administrator of the second."""
    house.platform.offered = dict.fromkeys(Act)
    anna = await house.appoint("anna")
    ids = {name: await make(Acme(house, anna)) for name, make in MAKERS.items()}
    assert [await seen(house, step, ids, "anna") for step in READS] == [200] * len(READS), "all of it is there"
    elsewhere = await found(house.db, house.clock.now, name="Other")
    await house.appoint("eve", organization_id=elsewhere)
    return ids


async def test_no_id_of_another_organization_is_any_different_from_one_that_never_was(house: House) -> None:
    ids = await furnish(house)
    before = await everything_of(house, house.organization_id)

    wrong = [f"{step}: {flaw}" for step in steps() for flaw in await walk(house, step, ids)]

    assert wrong == [], "\n".join(wrong)
    assert await everything_of(house, house.organization_id) == before


async def test_nobody_waits_for_what_another_organization_is_doing(house: House) -> None:
    """All its rows are held, and none of them is asked for: each is told at once what it is told of nothing."""
    if house.db.is_sqlite:
        return  # whoever writes there holds all of it
    ids = await furnish(house)

    async with house.db.write() as tx:
        for table in metadata.sorted_tables:
            if "organization_id" in table.c:
                mine = sa.select(*table.primary_key).where(table.c.organization_id == house.organization_id)
                await tx.execute(mine.with_for_update())
        for step in steps():
            async with asyncio.timeout(10):
                await send(house, step, ids[step.name], ids)


class Asked:
    """Every statement that a database is sent, in its order. BEGIN and COMMIT go without saying."""

    def __init__(self, db: Database) -> None:
        self.statements: list[str] = []
        driver: Any = db._driver
        for name in ("begin", "look"):
            setattr(driver, name, self._heard(getattr(driver, name)))

    def _heard(self, connect: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def connected() -> Any:
            return _Heard(await connect(), self.statements)

        return connected


class _Heard:
    def __init__(self, connection: Any, statements: list[str]) -> None:
        self._connection = connection
        self._statements = statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, statement: sa.Executable, parameters: Any) -> Any:
        self._statements.append(str(statement))
        return await self._connection.execute(statement, parameters)

    async def ask(self, questions: Sequence[Question]) -> list[Found]:
        self._statements += [str(hot.statement) for hot, _ in questions]
        found: list[Found] = await self._connection.ask(questions)
        return found

    async def commit(self, later: Sequence[Question]) -> list[Found]:
        self._statements += [str(hot.statement) for hot, _ in later]
        found: list[Found] = await self._connection.commit(later)
        return found


async def test_the_database_is_asked_no_more_of_another_organizations_id_than_of_one_that_never_was(
    house: House,
) -> None:
    """The same cost, told without a watch: the same statements, in whichever order their locks are taken."""
    ids = await furnish(house)
    asked = Asked(house.db)

    wrong = []
    for step in steps():
        before, nobodys = new_id(house.clock.now), new_id(house.clock.now)
        # Once before: what is done the first time alone, as recording that access was denied, is of no id.
        _, one, other = [await cost(house, step, sent, ids, asked) for sent in (before, ids[step.name], nobodys)]
        if one != other:
            wrong.append(
                f"{step}: {len(one)} statements, and {len(other)} of one that never was: {set(one) ^ set(other)}"
            )

    assert wrong == [], "\n".join(wrong)
    assert asked.statements


async def cost(house: House, step: Step, sent: UUID, ids: Mapping[str, UUID], asked: Asked) -> list[str]:
    before = len(asked.statements)
    await send(house, step, sent, ids)
    return sorted(asked.statements[before:])


BODY_ANSWERS: Final = frozenset({400, 401, 403, 404, 409, 422})
"""Wrong, or not to be found: what a body names is judged among other things."""


async def walk(house: House, step: Step, ids: Mapping[str, UUID]) -> list[str]:
    theirs, nobodys = ids[step.name], new_id(house.clock.now)
    one = await send(house, step, theirs, ids)
    other = await send(house, step, nobodys, ids)
    flaws = []
    if _bare(one, theirs) != _bare(other, nobodys):
        flaws.append(f"{_bare(one, theirs)}, and of one that never was {_bare(other, nobodys)}")
    expected = {404}
    if step.route.guard is Guard.OPERATOR:
        expected = {403}  # operators belong to the installation; whoever is none sees nothing at all
    if step.place == "query":
        expected = {200}
        flaws += [f"shows {one.json}"] if one.json["items"] else []
    if step.place == "body":
        expected = BODY_ANSWERS
    if step.place not in {"path", "query", "body"}:
        expected = {200}  # each of them is answered for itself
        flaws += [f"does {one.json}"] if any(each["result"] != "refused" for each in one.json["items"]) else []
    if one.status not in expected:
        flaws.append(f"answered with {one.status}, {one.json}")
    return flaws


def _bare(answer: Answer, sent: UUID) -> tuple[int, str]:
    """Without the id that was sent, and the request's own."""
    body = {name: value for name, value in (answer.json or {}).items() if name != "instance"}
    return answer.status, json.dumps(body, sort_keys=True).replace(str(sent), "…")
