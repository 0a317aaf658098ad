"""CSV as people's programs write it (RFC 4180), read row by row; and written so that no program runs it.

Pure. A row that cannot be read says why and where it stands, and holds up no other. What is kept in mind is one row and
one chunk, however large the file or a field of it is.
"""

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.errors import BrokenRule

ROW_LIMIT: Final = 64 * 1024
"""Bytes of one row."""
LINES_LIMIT: Final = 200_000
"""Lines behind the first: bytes alone bound no rows, and of each row, however short, something is kept."""
DELIMITERS: Final = (",", ";", "\t")
"""A comma, what programs write in its place where a comma stands in numbers, and a tab."""
BOM: Final = b"\xef\xbb\xbf"
_OTHER_BOMS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")

# What a spreadsheet takes for a formula when a cell begins so; wide forms too, which some of them make narrow.
_SIGNS: Final = "=+\\-@\t\r\uff1d\uff0b\uff0d\uff20"
_RUN: Final = re.compile(f"'*[{_SIGNS}]")
_GUARDED: Final = re.compile(f"'+[{_SIGNS}]")


class Fault(StrEnum):
    """Why a row cannot be read."""

    ENCODING = "encoding"
    QUOTES = "quotes"
    COLUMNS = "columns"
    TOO_LONG = "too_long"


class HeadFault(ValueError):
    """What is wrong with the whole of a file: each rule that it breaks."""

    def __init__(self, *rules: BrokenRule) -> None:
        super().__init__(str(rules[0]))
        self.rules = rules


@dataclass(frozen=True, slots=True)
class Head:
    """`end`: the first byte behind it."""

    delimiter: str
    columns: tuple[str, ...]
    end: int


@dataclass(frozen=True, slots=True)
class Row:
    """`line`: where it begins, counted from 1. `end` and `next_line`: where the next one does."""

    line: int
    cells: tuple[str, ...]
    fault: Fault | None
    end: int
    next_line: int


def guard(cell: str) -> str:
    """As no program takes it for a formula. What it adds, `unguard` takes away."""
    return f"'{cell}" if _RUN.match(cell) else cell


def unguard(cell: str) -> str:
    return cell[1:] if _GUARDED.match(cell) else cell


def write(rows: Sequence[Sequence[str]]) -> bytes:
    into = io.StringIO()
    csv.writer(into, lineterminator="\r\n").writerows([[guard(cell) for cell in row] for row in rows])
    return into.getvalue().encode()


def read_head(content: bytes, *, known: Sequence[str], required: Sequence[str]) -> Head:
    """Of the whole of a file, which is read no further than its first line.

    Raises HeadFault with every rule that it breaks.
    """
    if content.startswith(_OTHER_BOMS):
        raise HeadFault(BrokenRule("csv_utf8"))
    start = len(BOM) if content.startswith(BOM) else 0
    newline = content.find(b"\n", start, start + ROW_LIMIT)
    end = len(content) if newline < 0 else newline + 1
    if end - start > ROW_LIMIT:
        raise HeadFault(BrokenRule("first_line_too_long"))
    try:
        line = content[start:end].decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise HeadFault(BrokenRule("csv_utf8")) from None
    if "\r" in line or "\x00" in line:
        raise HeadFault(BrokenRule("line_ends"))
    delimiter, columns = _columns(line, frozenset(known))
    if len(columns) > len(known):
        # Of each of them there would be something to say, and a line has room for tens of thousands.
        raise HeadFault(BrokenRule("columns_most", most=len(known)))
    rules = [BrokenRule("column_unknown", column=at) for at, name in enumerate(columns, 1) if name not in known]
    first = {name: at for at, name in reversed([*enumerate(columns, 1)])}
    rules += [BrokenRule("column_twice", column=at) for at, name in enumerate(columns, 1) if first[name] != at]
    rules += [BrokenRule("column_missing", name=name) for name in required if name not in columns]
    # Lines, not rows, which may have several: they are counted without reading any of it.
    if content.count(b"\n", end) + (end < len(content) and not content.endswith(b"\n")) > LINES_LIMIT:
        rules.append(BrokenRule("lines_most", most=LINES_LIMIT))
    if rules:
        raise HeadFault(*rules)
    return Head(delimiter, columns, end)


def _columns(line: str, known: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """By the delimiter that makes most sense of them."""
    tried = {one: tuple(cell.strip().lower() for cell in _cells(line, one) or ()) for one in DELIMITERS}
    best = max(DELIMITERS, key=lambda one: sum(name in known for name in tried[one]))
    return best, tried[best]


def _cells(text: str, delimiter: str) -> tuple[str, ...] | None:
    """None: its quotes are not as they must be."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return tuple(rows[0]) if len(rows) == 1 else None


class Reader:
    """Fed a file's chunks, behind its head or behind any row; tells its rows. `end` when there is no more."""

    def __init__(self, head: Head, *, at: int, line: int) -> None:
        """`at`: the byte where the first chunk begins; `line`: its line."""
        self._head = head
        self._held = bytearray()
        self._from = 0  # in what is held: where the row begins
        self._seen = 0  # in what is held: how far it was looked at
        self._quotes = 0
        self._dropped = False
        self._at = at  # in the file: where the row begins
        self._length = 0  # of the row, as far as it was looked at
        self._line = line
        self._lines = 0

    def feed(self, chunk: bytes) -> Iterator[Row]:
        self._held += chunk
        while self._look():
            row = self._take()
            if row is not None:
                yield row
        del self._held[: self._from]
        self._seen -= self._from
        self._from = 0

    def end(self) -> Iterator[Row]:
        """What has no line end behind it is a row all the same."""
        if self._length:
            row = self._take(unfinished=bool(self._quotes % 2))
            if row is not None:
                yield row

    def _look(self) -> bool:
        """Whether a whole row was found: a line end with every quote before it closed."""
        while self._seen < len(self._held):
            newline = self._held.find(b"\n", self._seen)
            end = len(self._held) if newline < 0 else newline + 1
            self._quotes += self._held.count(b'"', self._seen, end)
            self._length += end - self._seen
            self._seen = end
            self._lines += newline >= 0
            if self._length > ROW_LIMIT:
                # Its end is still looked for: what stands within a field is never taken for a row.
                self._dropped = True
                self._from = self._seen
            if newline >= 0 and self._quotes % 2 == 0:
                return True
        return False

    def _take(self, *, unfinished: bool = False) -> Row | None:
        """None: an empty line, as programs leave them at the end."""
        raw = bytes(self._held[self._from : self._seen])
        cells, fault = ((), Fault.TOO_LONG) if self._dropped else self._read(raw, unfinished=unfinished)
        row = Row(self._line, cells, fault, self._at + self._length, self._line + self._lines)
        self._from, self._at, self._line = self._seen, row.end, row.next_line
        self._quotes = self._length = self._lines = 0
        self._dropped = False
        return row if fault is not None or any(cell.strip() for cell in cells) else None

    def _read(self, raw: bytes, *, unfinished: bool) -> tuple[tuple[str, ...], Fault | None]:
        if unfinished:
            return (), Fault.QUOTES
        try:
            text = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            return (), Fault.ENCODING
        if not text.strip():
            return (), None
        cells = _cells(text, self._head.delimiter)
        if cells is None:
            return (), Fault.QUOTES
        if len(cells) != len(self._head.columns) and any(cell.strip() for cell in cells):
            return cells, Fault.COLUMNS
        return tuple(unguard(cell) for cell in cells), None
