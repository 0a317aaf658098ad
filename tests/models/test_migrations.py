"""The migrations make the schema that the code speaks of, on both databases; there is no way down but a backup."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from models import event, migrate
from models.base import metadata
from models.settings import DatabaseSettings


@pytest.fixture
def empty_postgresql(postgresql_url: str) -> Iterator[DatabaseSettings]:
    name = f"latchkey_test_{uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        url = sa.make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
        yield DatabaseSettings(url)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseSettings:
    if request.param == "sqlite":
        return DatabaseSettings(f"sqlite:///{tmp_path / 'latchkey.db'}")
    settings: DatabaseSettings = request.getfixturevalue("empty_postgresql")
    return settings


@pytest.fixture
def look(empty: DatabaseSettings) -> Callable[[], sa.Engine]:
    url = sa.make_url(empty.url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return lambda: sa.create_engine(url, poolclass=sa.NullPool)


def test_an_empty_database_becomes_current(empty: DatabaseSettings) -> None:
    assert not migrate.is_current(empty)

    migrate.upgrade(empty)

    assert migrate.is_current(empty)


def test_a_second_upgrade_finds_nothing_to_do(empty: DatabaseSettings) -> None:
    migrate.upgrade(empty)
    migrate.upgrade(empty)

    assert migrate.is_current(empty)


def test_they_end_in_the_schema_of_the_code(empty: DatabaseSettings, look: Callable[[], sa.Engine]) -> None:
    migrate.upgrade(empty)

    with look().connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def names(connection: sa.Connection) -> set[tuple[str, ...]]:
    """Everything that has a name, and for what; comparing metadata overlooks constraints, partial indexes, triggers."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        # A table's own text says the same in another layout; its indexes and triggers do not.
        told = {(kind, name, table, "" if kind == "table" else str(sql)) for kind, name, table, sql in rows}
    else:
        statements = (
            "SELECT 'index', indexname, tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT 'trigger', tgname, tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE NOT tgisinternal",
            "SELECT 'constraint', conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace",
            "SELECT 'column', attname, attrelid::regclass::text, concat(format_type(atttypid, atttypmod), attnotnull,"
            " col_description(attrelid, attnum), pg_get_expr(adbin, adrelid)) FROM pg_attribute"
            " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum JOIN pg_class c ON c.oid = attrelid"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0",
            "SELECT 'comment', relname, '', obj_description(oid) FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace",
        )
        told = {
            tuple(map(str, row)) for statement in statements for row in connection.exec_driver_sql(statement).fetchall()
        }
    return {entry for entry in told if "alembic_version" not in " ".join(entry)}


def test_they_make_what_the_tables_make_by_themselves(
    empty: DatabaseSettings, look: Callable[[], sa.Engine], request: pytest.FixtureRequest
) -> None:
    migrate.upgrade(empty)
    with look().connect() as connection:
        migrated = names(connection)
        kind = connection.dialect.name
    fresh: DatabaseSettings = request.getfixturevalue(f"{kind}_settings")
    url = sa.make_url(fresh.url)
    url = url if kind == "sqlite" else url.set(drivername="postgresql+psycopg")
    other = sa.create_engine(url, poolclass=sa.NullPool)
    with other.connect() as connection:
        assert migrated == names(connection)


def test_several_who_start_at_once_upgrade_once(empty: DatabaseSettings) -> None:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as another:
        # Alembic's own context is the process's: the second upgrade is a process of its own.
        first = one.submit(migrate.upgrade, empty)
        second = another.submit(upgrade_elsewhere, empty)
        first.result()
        assert second.result() == (0, "")

    assert migrate.is_current(empty)


def upgrade_elsewhere(settings: DatabaseSettings) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "models.migrations"],
        env={"DATABASE_URL": settings.url},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_an_upgrade_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DatabaseSettings(f"sqlite:///{tmp_path / 'latchkey.db'}")
    monkeypatch.setattr(event, "insert_only", lambda *_: ("CREATE NONSENSE",))

    with pytest.raises(sa.exc.OperationalError):
        migrate.upgrade(settings)

    connection = sqlite3.connect(tmp_path / "latchkey.db")
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []
    connection.close()


def test_references_to_nothing_stop_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "latchkey.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mother (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE child (mother_id INTEGER REFERENCES mother)")
    connection.execute("INSERT INTO child VALUES (1)")
    connection.commit()
    connection.close()

    with pytest.raises(RuntimeError, match="references to nothing in \\['child'\\]"):
        migrate.upgrade(DatabaseSettings(f"sqlite:///{path}"))
