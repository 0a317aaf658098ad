"""What the api is measured by, each beside a bare route on the same database."""

import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid4

from bench import rows
from bench.figures import Figure, Spread, at_least, at_most, percentile, plain
from bench.floor_api import THINGS
from bench.house import House, Process, spoken, utc_now
from bench.rows import Loader, Person
from bench.wire import drive, request
from models.job import PLAN_PURPOSE
from models.vocabulary import Secret, new_id
from platforms.ios import simulator

ONE_CONNECTION: Final = 1


def insert() -> bytes:
    return request("POST", "/f1")


def update() -> bytes:
    return request("POST", f"/f2/{secrets.randbelow(THINGS)}")


def select() -> bytes:
    return request("GET", f"/f6/{secrets.randbelow(THINGS)}")


def _bare(data: bytes) -> bytes:
    return data.replace(b"POST /", b"POST /bare/", 1)


def ask_reset(person: Person) -> bytes:
    """Step 4 of the main road."""
    path = f"/api/v1/devices/{person.device_id}/reset-passcode"
    return request("POST", path, {"Idempotency-Key": uuid4().hex}, token=person.token)


async def accept(house: House) -> list[Figure]:
    """Accepting a passcode reset, on both databases. Bells go to Redis; nobody works on them."""
    return [
        *await _accept(house, "postgresql", "PostgreSQL", 0.3),
        *await _accept(house, "sqlite", "SQLite", 0.25),
    ]


async def _accept(house: House, kind: str, name: str, target: float) -> list[Figure]:
    count, floors = house.size(600, 200), house.size(1_500, 500)
    database = await house.database(kind)
    organization_id = rows.found(database, utc_now())
    ours, f1, f1_bare, f2, f2_bare = (list[float]() for _ in range(5))
    async with house.floor_api(database) as floor, house.api(database) as api:
        for turn in range(house.rounds + 1):
            people = _who_may_reset(house, database, organization_id, count)
            measured = (
                (f1, floor, [[insert()] for _ in range(floors)]),
                (ours, api, [[ask_reset(one)] for one in people]),
                (f2, floor, [[update()] for _ in range(floors)]),
                (f1_bare, floor, [[_bare(insert())] for _ in range(floors)]),
                (f2_bare, floor, [[_bare(update())] for _ in range(floors)]),
            )
            for rates, process, talks in measured:
                run = await drive(process.port, talks, 202)
                if turn:  # the first is for warming up
                    rates.append(run.rate)
    return [
        plain(f"F1 on {name}: one INSERT", f1, "/s"),
        plain(f"F1 with the bare driver on {name}", f1_bare, "/s"),
        plain(f"F2 on {name}: one SELECT, one UPDATE", f2, "/s"),
        plain(f"F2 with the bare driver on {name}", f2_bare, "/s"),
        at_least(f"Accept a passcode reset, {name}", ours, f1, target, "/s", "F1"),
    ]


def _who_may_reset(house: House, database: Loader, organization_id: UUID, count: int) -> list[Person]:
    now = utc_now()
    people = rows.invent(count, now)
    rows.hire(database, organization_id, people, now, keys=house.keyring)
    rows.equip(database, organization_id, people, rows.strangers(count), now)
    rows.open_windows(database, organization_id, people, now)
    return people


async def check_in(house: House) -> list[Figure]:
    """A phone asks for work, takes an order and reports it; few phones enrolled, and many."""
    count, floors = house.size(300, 80), house.size(1_500, 400)
    fleets = {name: await house.database("postgresql") for name in ("few", "many")}
    enrolled = {"few": 1_000, "many": house.size(100_000, 10_000)}
    organizations = {}
    for name, database in fleets.items():
        organizations[name] = rows.found(database, utc_now())
        _enrol(database, organizations[name], enrolled[name])
    few, many, f2 = (list[float]() for _ in range(3))
    async with (
        house.floor_api(fleets["few"]) as floor,
        house.api(fleets["few"]) as api_few,
        house.api(fleets["many"]) as api_many,
    ):
        for turn in range(house.rounds + 1):
            talks = {name: _talks(house, fleets[name], organizations[name], count) for name in fleets}
            measured: tuple[tuple[list[float], Process, Sequence[Sequence[bytes]], int], ...] = (
                (f2, floor, [[update()] for _ in range(floors)], 202),
                (few, api_few, talks["few"], 200),
                (many, api_many, talks["many"], 200),
            )
            # Turn about, so that neither always comes after the other.
            for rates, process, spoken_, status in measured if turn % 2 else measured[::-1]:
                run = await drive(process.port, spoken_, status)
                if turn:
                    rates.append(run.rate)
    compared = f"rate with {enrolled['few']:,}"
    return [
        at_least("Check-in that takes an order and reports it, PostgreSQL", few, f2, 0.35, "requests/s", "F2"),
        at_least(f"Check-in with {enrolled['many']:,} phones enrolled", many, few, 0.9, "requests/s", compared),
    ]


def _enrol(database: Loader, organization_id: UUID, count: int) -> None:
    """Those that stay silent; the ones that speak come on top of them, in either fleet as many."""
    now = utc_now()
    for begun in range(0, count, 10_000):
        some = min(10_000, count - begun)
        people = rows.invent(some, now)
        rows.hire(database, organization_id, people, now)
        rows.equip(database, organization_id, people, rows.strangers(some), now)
    database.rest()


def _talks(house: House, database: Loader, organization_id: UUID, count: int) -> list[list[bytes]]:
    """Of phones that have not spoken yet: nothing of them is remembered. Each has one order waiting."""
    now = utc_now()
    people = rows.invent(count, now)
    phones = [house.phone(now) for _ in people]
    rows.hire(database, organization_id, people, now)
    bonded = [house.bond(organization_id, one, phone, now) for one, phone in zip(people, phones, strict=True)]
    rows.equip(database, organization_id, people, bonded, now)
    order = Secret(b'{"request_type": "ClearPasscode"}')
    ids = [uuid4() for _ in people]
    plans = [(id_, house.keyring.seal(order, purpose=PLAN_PURPOSE, owner=(organization_id, id_))) for id_ in ids]
    rows.plan(database, organization_id, people, plans, now)
    return [
        [
            _put(phone, {"Status": "Idle"}),
            _put(phone, {"Status": "Acknowledged", "CommandUUID": str(id_)}),
        ]
        for phone, id_ in zip(phones, ids, strict=True)
    ]


def _put(phone: simulator.Iphone, message: dict[str, str]) -> bytes:
    headers, body = spoken(phone, message)
    return request("PUT", "/devices/ios/command", headers, body)


async def sign_out(house: House) -> list[Figure]:
    """Sign out everywhere: an account with one session beside one with very many."""
    count, each = house.size(100_000, 10_000), house.size(60, 20)
    found = []
    for kind, name in (("postgresql", "PostgreSQL"), ("sqlite", "SQLite")):
        database = await house.database(kind)
        now = utc_now()
        organization_id = rows.found(database, now)
        one, many = rows.invent(2, now)
        rows.hire(database, organization_id, [one, many], now)
        more = ((new_id(now), many.id, secrets.token_urlsafe(32)) for _ in range(count - 1))
        rows.sign_in(database, organization_id, more, now)
        database.run("ANALYZE")
        times: dict[UUID, list[float]] = {one.id: [], many.id: []}
        async with house.api(database) as api:
            for turn in range(house.rounds + 1):
                spent: dict[UUID, list[float]] = {one.id: [], many.id: []}
                for n in range(each):
                    for person in (one, many) if n % 2 else (many, one):
                        # Every session lives again: what was raised is set back.
                        database.run("UPDATE account SET session_generation = 0")
                        data = request(
                            "POST",
                            "/api/v1/sign-out-everywhere",
                            {"Content-Type": "application/json"},
                            b'{"confirm": true}',
                            token=person.token,
                        )
                        run = await drive(api.port, [[data]], 204, ONE_CONNECTION)
                        spent[person.id] += run.latencies
                if turn:
                    for id_, latencies in spent.items():
                        times[id_].append(percentile(latencies, 0.5) * 1000)
        found.append(
            at_most(
                f"Sign out everywhere with {count:,} sessions, {name}",
                times[many.id],
                times[one.id],
                1.2,
                "ms",
                "with one",
            )
        )
    return found


LISTS: Final = {
    "devices": "/api/v1/devices",
    "jobs": "/api/v1/jobs",
    "notifications": "/api/v1/notifications",
}
EACH: Final = 50
"""Devices, jobs and notifications of everybody: as many devices as one account may have."""


async def lists(house: House) -> list[Figure]:
    """A page of each list, asked by people among few rows and among very many."""
    many_rows, asked = house.size(1_000_000, 50_000), house.size(200, 100)
    apis: dict[str, tuple[Loader, list[Person]]] = {}
    for name, count in (("few", 1_000), ("many", many_rows)):
        database, now = await house.database("postgresql"), utc_now()
        organization_id = rows.found(database, now)
        people = rows.invent(count // EACH, now)
        rows.hire(database, organization_id, people, now)
        rows.history(database, organization_id, people, EACH, now)
        apis[name] = database, people
    for database, _ in apis.values():
        # Everybody has just been here. A first request in a minute writes that down, and of the many people more would
        # come for the first time.
        database.run("UPDATE session SET used_at = clock_timestamp()")
        database.rest()
    times: dict[tuple[str, str], list[float]] = {(what, name): [] for what in LISTS for name in apis}
    async with house.api(apis["few"][0]) as few, house.api(apis["many"][0]) as many:
        ports = {"few": few.port, "many": many.port}
        for turn in range(house.rounds + 1):
            for what, path in LISTS.items():
                for name in apis if turn % 2 else reversed(apis):
                    people = apis[name][1]
                    chosen = [people[secrets.randbelow(min(len(people), 1_000))] for _ in range(asked)]
                    talks = [[request("GET", path, token=one.token)] for one in chosen]
                    run = await drive(ports[name], talks, 200, 4)
                    if turn:
                        times[what, name].append(percentile(run.latencies, 0.95) * 1000)
    # The median of the rounds' p95, as one number each: a round is too short for a ratio of tails.
    return [
        _flat(f"List of {what}, p95 with {many_rows:,} rows", times[what, "many"], times[what, "few"]) for what in LISTS
    ]


async def directory(house: House) -> list[Figure]:
    """Somebody's own page and a full list of devices, beside one SELECT; and looking accounts up among very many."""
    many_rows, asked = house.size(1_000_000, 20_000), house.size(400, 100)
    apis: dict[str, tuple[Loader, list[Person]]] = {}
    for name, count in (("few", 1_000), ("many", many_rows)):
        database, now = await house.database("postgresql"), utc_now()
        organization_id = rows.found(database, now)
        people: list[Person] = []
        for _ in range(0, count, 10_000):
            some = rows.invent(min(10_000, count), now)
            rows.hire(database, organization_id, some, now)
            people = [*people, *some][:1_000]
        rows.history(database, organization_id, people[:200], EACH, now)
        database.run(
            f"UPDATE membership SET roles = '[\"directory_reader\"]' WHERE account_id = '{people[0].id.hex}'"  # noqa: S608 - an id of ours
        )
        apis[name] = database, people
    for database, _ in apis.values():
        database.run("UPDATE session SET used_at = clock_timestamp()")  # as in `lists`
        database.rest()
    wanted = ("name", "shown")
    profile, devices, f6 = (list[float]() for _ in range(3))
    times: dict[tuple[str, str], list[float]] = {(what, name): [] for what in wanted for name in apis}
    async with (
        house.floor_api(apis["few"][0]) as floor,
        house.api(apis["few"][0]) as few,
        house.api(apis["many"][0]) as many,
    ):
        ports = {"few": few.port, "many": many.port}
        for turn in range(house.rounds + 1):
            people = apis["few"][1]
            measured = (
                (f6, floor.port, [[select()] for _ in range(asked)]),
                (
                    profile,
                    few.port,
                    [[request("GET", "/api/v1/profile", token=_one_of(people).token)] for _ in range(asked)],
                ),
                (devices, few.port, [[_fifty_devices(_one_of(people))] for _ in range(asked)]),
            )
            for rates, port, talks in measured if turn % 2 else measured[::-1]:
                run = await drive(port, talks, 200)
                if turn:
                    rates.append(run.rate)
            for what in wanted:
                for name in apis if turn % 2 else reversed(apis):
                    _, there = apis[name]
                    talks = [[_looked_up(what, there[0], _one_of(there))] for _ in range(asked)]
                    run = await drive(ports[name], talks, 200, 4)
                    if turn:
                        times[what, name].append(percentile(run.latencies, 0.95) * 1000)
    return [
        at_least("Profile read, PostgreSQL", profile, f6, 0.3, "/s", "F6"),
        at_least(f"List of {EACH} devices, PostgreSQL", devices, f6, 0.05, "/s", "F6"),
        _flat(f"Account by its sign-in name, p95 among {many_rows:,}", times["name", "many"], times["name", "few"]),
        _flat(
            f"Accounts by a name that all have, p95 among {many_rows:,}", times["shown", "many"], times["shown", "few"]
        ),
    ]


def _one_of(people: Sequence[Person]) -> Person:
    return people[secrets.randbelow(min(len(people), 200))]


def _fifty_devices(person: Person) -> bytes:
    return request("GET", f"/api/v1/devices?limit={EACH}", token=person.token)


def _looked_up(what: str, by: Person, wanted: Person) -> bytes:
    """By all but the last signs of a name that one has, or the first of one that everybody has."""
    begins = wanted.id.hex[:28] if what == "name" else "someb"
    return request("GET", f"/api/v1/accounts?begins_with={begins}", token=by.token)


def _flat(name: str, many: Sequence[float], few: Sequence[float]) -> Figure:
    ratio = Spread.of(many).median / Spread.of(few).median
    beside = {"ours, ms": Spread.of(many), "with 1,000, ms": Spread.of(few)}
    return Figure(name, Spread(ratio, ratio, ratio), "x with 1,000", "at most 1.5", ratio <= 1.5, beside)
