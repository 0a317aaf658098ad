"""The floors of HTTP: bare routes that do the least that could be asked, on our own engine and on the bare driver.

`python -m bench.floor_api DATABASE_URL PORT`. F1 is one INSERT, F2 one SELECT and one UPDATE, each in one transaction;
F5 is F1 after one argon2 verification at our cost, in as many bare threads.
"""

import asyncio
import gc
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from aiohttp import web
from argon2 import PasswordHasher
from psycopg_pool import AsyncConnectionPool

from api.passwords import HashSettings
from models.base import Id, Moment
from models.database import Database
from models.settings import DatabaseSettings
from models.vocabulary import EPOCH

metadata = sa.MetaData()
note = sa.Table(
    "bench_note",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
)
thing = sa.Table(
    "bench_thing",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

THINGS: Final = 1_000
PASSWORD: Final = "correct horse battery staple"
SAID: Final = "a line as long as a short one of ours"

_INSERT: Final = sa.insert(note)
_SELECT: Final = sa.select(thing).where(thing.c.id == sa.bindparam("wanted"))
UPDATE: Final = sa.update(thing).where(thing.c.id == sa.bindparam("wanted")).values(count=thing.c.count + 1)

Route = Callable[[web.Request], Awaitable[web.Response]]


def _done() -> web.Response:
    return web.Response(status=202, body=b'{"done":true}', content_type="application/json")


def ours(database: Database) -> tuple[Route, Route]:
    async def f1(request: web.Request) -> web.Response:
        async with database.write() as tx:
            await tx.execute(_INSERT, {"id": uuid4(), "at": database.roughly_now(), "said": SAID})
        return _done()

    async def f2(request: web.Request) -> web.Response:
        wanted = {"wanted": int(request.match_info["id"])}
        async with database.write() as tx:
            (await tx.execute(_SELECT, wanted)).one()
            await tx.execute(UPDATE, wanted)
        return _done()

    return f1, f2


_BARE_INSERT: Final = "INSERT INTO bench_note (id, at, said) VALUES ({0}, {0}, {0})"
_BARE_SELECT: Final = "SELECT * FROM bench_thing WHERE id = {0}"
_BARE_UPDATE: Final = "UPDATE bench_thing SET count = count + 1 WHERE id = {0}"


def bare_postgresql(pool: AsyncConnectionPool[Any], database: Database) -> tuple[Route, Route]:
    insert, select, update = (text.format("%s").encode() for text in (_BARE_INSERT, _BARE_SELECT, _BARE_UPDATE))

    async def f1(request: web.Request) -> web.Response:
        async with pool.connection() as connection:
            await connection.execute(insert, (uuid4(), database.roughly_now(), SAID))
        return _done()

    async def f2(request: web.Request) -> web.Response:
        wanted = (int(request.match_info["id"]),)
        async with pool.connection() as connection:
            await (await connection.execute(select, wanted)).fetchone()
            await connection.execute(update, wanted)
        return _done()

    return f1, f2


def bare_sqlite(file: sqlite3.Connection, database: Database) -> tuple[Route, Route]:
    """As `models.database` does it: statements in place, COMMIT in a thread, one writer."""
    insert, select, update = (text.format("?") for text in (_BARE_INSERT, _BARE_SELECT, _BARE_UPDATE))
    turn = asyncio.Lock()

    async def f1(request: web.Request) -> web.Response:
        async with turn:
            file.execute("BEGIN IMMEDIATE")
            at = (database.roughly_now() - EPOCH) // timedelta(microseconds=1)
            file.execute(insert, (uuid4().hex, at, SAID))
            await asyncio.to_thread(file.execute, "COMMIT")
        return _done()

    async def f2(request: web.Request) -> web.Response:
        wanted = (int(request.match_info["id"]),)
        async with turn:
            file.execute("BEGIN IMMEDIATE")
            file.execute(select, wanted).fetchone()
            file.execute(update, wanted)
            await asyncio.to_thread(file.execute, "COMMIT")
        return _done()

    return f1, f2


def hashing(f1: Route) -> Route:
    """What a sign-in cannot do without."""
    settings = HashSettings()
    argon2 = PasswordHasher(
        time_cost=settings.passes, memory_cost=settings.memory_kib, parallelism=settings.lanes, hash_len=32, salt_len=16
    )
    known = argon2.hash(PASSWORD)
    threads = ThreadPoolExecutor(settings.threads)

    async def f5(request: web.Request) -> web.Response:
        await asyncio.get_running_loop().run_in_executor(threads, argon2.verify, known, PASSWORD)
        return await f1(request)

    return f5


def build(url: str) -> web.Application:
    database = Database(DatabaseSettings(url))
    app = web.Application()

    async def f6(request: web.Request) -> web.Response:
        async with database.read() as tx:
            (await tx.execute(_SELECT, {"wanted": int(request.match_info["id"])})).one()
        return web.json_response({})

    def add(prefix: str, routes: tuple[Route, Route]) -> None:
        app.router.add_post(f"/{prefix}f1", routes[0])
        app.router.add_post(f"/{prefix}f2/{{id}}", routes[1])

    routes = ours(database)
    add("", routes)
    app.router.add_post("/f5", hashing(routes[0]))
    app.router.add_get("/f6/{id}", f6)
    pool: AsyncConnectionPool[Any] | None = None
    file: sqlite3.Connection | None = None
    if database.is_sqlite:
        file = sqlite3.connect(
            url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False, timeout=10
        )
        file.execute("PRAGMA synchronous=FULL")
        add("bare/", bare_sqlite(file, database))
    else:
        pool = AsyncConnectionPool(url, min_size=10, max_size=10, open=False)
        add("bare/", bare_postgresql(pool, database))

    async def hold_open(_: web.Application) -> AsyncIterator[None]:
        await database.open()
        if pool is not None:
            await pool.open(wait=True)
        yield
        if pool is not None:
            await pool.close()
        if file is not None:
            file.close()
        await database.close()

    app.cleanup_ctx.append(hold_open)
    return app


async def serve(url: str, port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(build(url), access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        gc.collect()
        gc.freeze()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
