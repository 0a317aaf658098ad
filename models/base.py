"""What every table stands on: one metadata, and the column types that both databases read alike."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import DDLCompiler
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator, TypeEngine

from models.vocabulary import EPOCH

# Names are spelled out so that a migration can drop by name what another database named by itself.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = sa.Uuid
"""uuid on PostgreSQL, CHAR(32) on SQLite."""

T = TypeVar("T")

_MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A UTC moment: timestamptz on PostgreSQL, whole microseconds since 1970 on SQLite.

    SQLite has no type for time, and text of varying precision neither sorts nor compares exactly: integers do both.
    Sums of times are made in Python, since an interval means nothing to an integer column.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.BigInteger() if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone could be any of 24 hours")
        return (value - EPOCH) // _MICROSECOND if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return EPOCH + timedelta(microseconds=value)
        moment: datetime = value
        return moment.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """JSONB on PostgreSQL, JSON text on SQLite; None is NULL, not JSON's null."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415 - SQLite's start does not pay for it

            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.JSON(none_as_null=True))

    def coerce_compared_value(self, op: OperatorType | None, value: Any) -> TypeEngine[Any]:
        # Without this a path such as column["a"] would itself be bound as JSON (SQLAlchemy, TypeDecorator and JSON).
        return self.impl_instance.coerce_compared_value(op, value)


class Folded(TypeDecorator[str]):
    """Text that is compared sign by sign, alike on both databases, so that an index of it finds what begins alike.

    A language's order, which PostgreSQL may have by default, puts what begins alike in several places.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(sa.Text(collation="C") if dialect.name == "postgresql" else sa.Text())


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of the rows that `where` names, alike on both databases.

    SQLAlchemy would have it said once per dialect, and loads PostgreSQL's to check the word: a tenth of a second at
    each start of a process that speaks to SQLite.
    """
    return sa.Index(name, *columns, unique=unique, info={WHERE: where})


WHERE = "where"


@compiles(sa.schema.CreateIndex)
def _with_where(element: sa.schema.CreateIndex, compiler: DDLCompiler, **options: Any) -> str:
    where = element.element.info.get(WHERE)
    text = str(compiler.visit_create_index(element, **options))  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
    return text if where is None else f"{text} WHERE {where}"


def labelled(table: sa.Table, prefix: str) -> list[sa.Label[Any]]:
    """A table's columns under a prefix, for a joined row in which names would meet; read them through `Labelled`."""
    return [column.label(f"{prefix}{column.name}") for column in table.c]


def read_each(rows: Iterable[Any], of: Callable[[Any], T]) -> tuple[list[T], list[Any]]:
    """What can be understood, and the rows that cannot: they were written by a newer version, or by hand."""
    found: list[T] = []
    strange = []
    for row in rows:
        try:
            found.append(of(row))
        except ValueError:
            strange.append(row)
    return found, strange


class Labelled:
    """The columns of a joined row that have a prefix, under their own names."""

    __slots__ = ("_prefix", "_row")

    def __init__(self, row: Any, prefix: str) -> None:
        self._row = row
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, self._prefix + name)
