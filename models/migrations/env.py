"""What Alembic runs. The address comes from `models.migrate.upgrade`, under `attributes["url"]`."""

import pkgutil
from importlib import import_module

import sqlalchemy as sa
from alembic import context

import models
from models.base import metadata

LOCK = 0x4C61746368  # "Latch": our number among PostgreSQL's advisory locks

for module in pkgutil.iter_modules(models.__path__, "models."):  # each adds its tables to the metadata
    if not module.ispkg:
        import_module(module.name)


def run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite alters little in place: Alembic copies the table instead.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def check_references(connection: sa.Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise RuntimeError(f"the migration left references to nothing in {sorted({row[0] for row in broken})}")


def on_sqlite(url: sa.URL) -> None:
    # Our own BEGIN: the driver would not begin before DDL, and an upgrade that fails halfway must leave nothing.
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"isolation_level": None, "timeout": 60})
    with engine.connect() as connection:
        # The write-ahead log is a property of the file, and no transaction can change it.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        # A table that is copied is dropped meanwhile: its references are checked when all is done.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            run(connection)
            check_references(connection)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            if connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr] # sqlite3's own
                connection.exec_driver_sql("ROLLBACK")
            raise


def on_postgresql(url: sa.URL) -> None:
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        # Several processes may start at once: the second waits, and finds the work done.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        run(connection)


if context.is_offline_mode():
    raise RuntimeError("a migration looks at the database it changes: there is no offline mode")
address = sa.make_url(context.config.attributes["url"])
if address.get_backend_name() == "sqlite":
    on_sqlite(address)
else:
    on_postgresql(address)
