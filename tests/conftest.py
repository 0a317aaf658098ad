"""What every test may ask for: a fresh database of either kind, a Redis, a clock, keys. And nobody calls outside.

- `database`: opened, empty, on both kinds in turn, timed by `clock`; `database_settings`: its address.
- `one_redis`, `redis_url`: one server for all, emptied for this test. A test that stops it takes `redis_server`.
- `postgresql_server`: the wheel's own, which a test may stop if it starts it again.
"""

import ipaddress
import os
import pkgutil
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import models
from models.base import Moment, metadata
from models.database import Database
from models.sealed import Keyring
from models.settings import DatabaseSettings
from tests.clock import Clock
from tests.servers import PostgreSQLServer, RedisServer

for module in pkgutil.iter_modules(models.__path__, "models."):  # each adds its tables to the metadata
    if not module.ispkg:
        import_module(module.name)


def _is_ours(host: object) -> bool:
    """A name or number that stays on this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _nobody_calls_outside(what: str, arguments: tuple[object, ...]) -> None:
    if what in {"socket.connect", "socket.sendto"}:
        address = arguments[1]
        if isinstance(address, tuple) and not _is_ours(address[0]):
            raise RuntimeError(f"a test wanted to reach {address}")
    elif what == "socket.getaddrinfo" and not _is_ours(arguments[0]):
        raise RuntimeError(f"a test wanted to look up {arguments[0]!r}")


sys.addaudithook(_nobody_calls_outside)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> Keyring:
    return Keyring.from_settings("test:" + "A" * 43 + "=")


@pytest.fixture(scope="session")
def one_redis() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="latchkey-"))  # a socket's path has to be short
    server = RedisServer(folder)
    try:
        yield server.start()
    finally:
        server.close()
        shutil.rmtree(folder)


@pytest.fixture
def redis_url(one_redis: RedisServer) -> str:
    """Empty."""
    one_redis.client.flushall()
    return one_redis.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server of this test's own, which it may kill."""
    folder = Path(tempfile.mkdtemp(prefix="latchkey-"))
    server = RedisServer(folder)
    try:
        yield server.start()
    finally:
        server.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest) -> str:
    """Where we may create databases: a superuser's address."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return given
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    return server.url()


class Template:
    """A database with our tables, and a copy of it that is emptied for each test: creating one takes far longer."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self._name = f"latchkey_test_{os.getpid()}"
        self._template = f"{self._name}_template"
        self.url = self._of(self._name)
        self._on_server(f"CREATE DATABASE {self._template}")
        create_all(self._of(self._template))
        self._shape = self._shape_of(self._template)
        self._copy()

    def _of(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)

    def _on_server(self, *statements: str) -> None:
        with psycopg.connect(self._of(self._url.database or "postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def _copy(self) -> None:
        self._on_server(f"CREATE DATABASE {self._name} TEMPLATE {self._template}")

    def _shape_of(self, name: str) -> list[tuple[object, ...]]:
        tables = b"SELECT relname, relhastriggers, relnatts FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        triggers = b" UNION ALL SELECT tgname, tgenabled = 'O', tgtype FROM pg_trigger WHERE NOT tgisinternal"
        with psycopg.connect(self._of(name)) as connection:
            return sorted(connection.execute(tables + triggers).fetchall())

    def empty(self) -> str:
        """The address of the copy, as new."""
        everything = "".join(f"DELETE FROM {name};" for name in metadata.tables)  # noqa: S608 - our own names
        with psycopg.connect(self._of(self._name), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if self._shape_of(self._name) == self._shape:
                # As a replica's: neither our triggers nor foreign keys object.
                connection.execute(f"BEGIN; SET LOCAL session_replication_role = replica; {everything} COMMIT".encode())
                return self.url
        self._on_server(f"DROP DATABASE {self._name} WITH (FORCE)")
        self._copy()
        return self.url

    def close(self) -> None:
        self._on_server(*(f"DROP DATABASE {name} WITH (FORCE)" for name in (self._name, self._template)))


def create_all(url: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        metadata.create_all(connection)


@pytest.fixture(scope="session")
def postgresql_template(postgresql_url: str) -> Iterator[Template]:
    template = Template(postgresql_url)
    yield template
    template.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template"
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        metadata.create_all(connection)
    engine.dispose()
    return path


@pytest.fixture
def sqlite_settings(sqlite_template: Path, tmp_path: Path) -> Iterator[DatabaseSettings]:
    path = tmp_path / "latchkey.db"
    shutil.copy(sqlite_template, path)
    yield DatabaseSettings(f"sqlite:///{path}")
    assert moments_as_text(path) == []


def moments_as_text(path: Path) -> list[str]:
    """A moment that an expression bound without its type: SQLite takes it as text, and reading it fails later."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        for table in metadata.tables.values():
            for column in (column.name for column in table.c if isinstance(column.type, Moment)):
                wrong = f"SELECT 1 FROM {table.name} WHERE typeof({column}) = 'text' LIMIT 1"  # noqa: S608 - our names
                found += [f"{table.name}.{column}"] if connection.execute(wrong).fetchone() else []
    return found


@pytest.fixture
def postgresql_settings(postgresql_template: Template) -> DatabaseSettings:
    return DatabaseSettings(postgresql_template.empty())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest) -> DatabaseSettings:
    settings: DatabaseSettings = request.getfixturevalue(f"{request.param}_settings")
    return settings


@pytest.fixture
async def database(database_settings: DatabaseSettings, clock: Clock) -> AsyncIterator[Database]:
    database = Database(database_settings, clock)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def db(database: Database) -> Database:
    """The same, where a test speaks of it in every line."""
    return database
