"""Statements of the busy roads: compiled once for each database, and sent without what SQLAlchemy does anew each time.

SQLAlchemy still writes the SQL and converts the values, here and for every other statement; what is left out is its
work of each execution (looking the compiled form up, a context, a cursor's description, a result), which costs several
times the statement itself. `Transaction.ask` sends one, or several in one round trip; `Transaction.later` keeps one
that nobody waits for until the next is sent.
"""

import re
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

Values = Mapping[str, Any]
Process = Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave back. `count`: rows that it found or changed."""

    rows: Sequence[Any]
    count: int

    def one_or_none(self) -> Any:
        if len(self.rows) > 1:
            raise sa.exc.MultipleResultsFound("more than one row where one was meant")
        return self.rows[0] if self.rows else None

    def one(self) -> Any:
        row = self.one_or_none()
        if row is None:
            raise sa.exc.NoResultFound("no row where one was meant")
        return row


class Hot:
    """A statement that is written once, as a module's constant, with bindparams for all that varies.

    An INSERT without columns writes those that its values name, as always.
    """

    __slots__ = ("_compiled", "statement")

    def __init__(self, statement: sa.Executable) -> None:
        self.statement = statement
        # By the dialect's name, since all engines of one name are set up alike, and by the values' names.
        self._compiled: dict[tuple[str, ...], Compiled] = {}

    def compiled(self, dialect: Dialect, values: Values) -> "Compiled":
        key = (dialect.name, *values)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = Compiled(self.statement, dialect, values)
        return found


Question = tuple[Hot, Values]


class Message(NamedTuple):
    """A statement as PostgreSQL reads it, its values in the order of `$1` on; `name` where it is to be prepared."""

    text: str
    values: Sequence[Any] = ()
    name: str = ""


class Compiled:
    """One spelling of a statement. `name`: what a connection may remember it by."""

    def __init__(self, statement: Any, dialect: Dialect, values: Values) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(values))
        if any(name in compiled.binds and compiled.binds[name].expanding for name in values):
            raise TypeError("a list is spelled out once and for all: it stands in the statement, or is no hot one's")
        spelled = compiled.construct_expanded_state(dict(values), escape_names=False)
        by_place = spelled.positiontup
        text, order = _numbered(spelled.statement) if by_place is None else (spelled.statement, by_place)
        self.text: Final = text
        self._order: Final[Sequence[str]] = order
        self.name: Final = f"hot_{next(_NUMBERS)}"
        self._fixed: Final = {}
        self._given: Final[list[tuple[str, Process]]] = []
        for name, value in spelled.parameters.items():
            bind = compiled.binds.get(name)  # none: a member of a list, which was spelled out
            process = (
                spelled.processors.get(name)
                if bind is None
                else bind.type.dialect_impl(dialect).bind_processor(dialect)
            )
            if name in values:
                self._given.append((name, process))
            else:
                self._fixed[name] = value if process is None else process(value)
        columns = _columns(statement)
        row: Any = namedtuple("Row", [str(column.key) for column in columns])  # type: ignore[misc] # noqa: PYI024 - its names are the statement's
        self._row: Final = row._make
        processes = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._processes: Final = [(n, process) for n, process in enumerate(processes) if process is not None]

    def message(self, values: Values) -> Message:
        return Message(self.text, self.bind(values), self.name)

    def bind(self, values: Values) -> list[Any]:
        """The values as the driver takes them, place by place."""
        bound = dict(self._fixed)
        for name, process in self._given:
            value = values[name]
            bound[name] = value if process is None else process(value)
        return [bound[name] for name in self._order]

    def answer(self, found: Sequence[Sequence[Any]], count: int) -> Answer:
        if not self._processes:
            return Answer([self._row(one) for one in found], count)
        return Answer([self._row(self._read(one)) for one in found], count)

    def _read(self, raw: Sequence[Any]) -> list[Any]:
        values = list(raw)
        for n, process in self._processes:
            values[n] = process(values[n])
        return values


_NUMBERS: Final = count()
_PLACE: Final = re.compile(r"%%|%\((\w+)\)s")


def _numbered(text: str) -> tuple[str, list[str]]:
    """`%(name)s` as psycopg reads it, spelled as PostgreSQL itself does: `$1`, and the names in this order."""
    names: dict[str, str] = {}

    def place(found: re.Match[str]) -> str:
        name = found[1]
        return "%" if name is None else names.setdefault(name, f"${len(names) + 1}")

    return _PLACE.sub(place, text), list(names)


def _columns(statement: Any) -> list[sa.ColumnElement[Any]]:
    return list(statement.selected_columns if isinstance(statement, sa.Select) else statement.exported_columns)
