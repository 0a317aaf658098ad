"""CSV read row by row, on each exact boundary, and written so that no program runs it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.csv_text import (
    BOM,
    LINES_LIMIT,
    ROW_LIMIT,
    Fault,
    Head,
    HeadFault,
    Reader,
    Row,
    guard,
    read_head,
    unguard,
    write,
)

KNOWN = ("name", "city", "note")


def head(content: bytes) -> Head:
    return read_head(content, known=KNOWN, required=("name",))


def read(content: bytes, chunk: int = 1 << 20) -> list[Row]:
    found = head(content)
    reader = Reader(found, at=found.end, line=2)
    rest = content[found.end :]
    rows = [row for at in range(0, len(rest), chunk) for row in reader.feed(rest[at : at + chunk])]
    return [*rows, *reader.end()]


def told(content: bytes, chunk: int = 1 << 20) -> list[tuple[int, tuple[str, ...] | str]]:
    return [(row.line, row.cells if row.fault is None else row.fault.value) for row in read(content, chunk)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", [b"", BOM])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_whatever_a_program_writes_between_and_behind(delimiter: str, before: bytes, end: str) -> None:
    lines = ["Name,CITY ", '"Jansen, Anna",Utrecht', "Bos,", ""]
    content = before + end.join(lines).replace(",", delimiter).encode()

    assert [cells for _, cells in told(content)] == [(f"Jansen{delimiter} Anna", "Utrecht"), ("Bos", "")]


def told_of(fault: HeadFault) -> list[str]:
    """Each rule with what stands in its words."""
    return [" ".join([one.rule, *map(str, one.facts.values())]) for one in fault.rules]


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        ("name\na".encode("utf-16"), ["csv_utf8"]),
        (b"name,\xff\n", ["csv_utf8"]),
        (b"name\ra\r", ["line_ends"]),
        (b"", ["column_missing name"]),
        (b"city\n", ["column_missing name"]),
        (b"name,roles,name\n", ["column_unknown 2", "column_twice 3"]),
        (
            b"a,,a\n",
            [*(f"column_unknown {n}" for n in (1, 2, 3)), "column_twice 3", "column_missing name"],
        ),
        (b"name,city,note,\n", ["columns_most 3"]),
        (b"," * (ROW_LIMIT - 1) + b"\n", ["columns_most 3"]),
        (b'"name\n', ["column_missing name"]),
        (b"name," + b" " * ROW_LIMIT, ["first_line_too_long"]),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, rules: list[str]) -> None:
    with pytest.raises(HeadFault) as refused:
        head(content)

    assert told_of(refused.value) == rules


@pytest.mark.parametrize("line", [b"\n", b"a\n", b"a\r\n", b'"\n', b"\xff\n"])
@pytest.mark.parametrize("first", [b"name\n", BOM + b"name\r\n"])
def test_a_file_may_have_just_so_many_lines(first: bytes, line: bytes) -> None:
    most = first + line * LINES_LIMIT
    whole = [most, most.removesuffix(b"\n")]
    over = [most + b"a", most + line]

    assert {head(content).columns for content in whole} == {("name",)}
    for content in over:
        with pytest.raises(HeadFault) as refused:
            head(content)
        assert told_of(refused.value) == ["lines_most 200000"]


def test_too_many_lines_are_told_of_with_whatever_else_is_wrong() -> None:
    with pytest.raises(HeadFault) as refused:
        head(b"city\n" * (LINES_LIMIT + 2))

    assert told_of(refused.value) == ["column_missing name", "lines_most 200000"]


def test_a_row_that_cannot_be_read_holds_up_no_other() -> None:
    content = b'name,city\na,b\n\xff,b\na,"b"c\na\na,b,c\n"x\ny",z\n\n ,\nlast,row'

    assert told(content) == [
        (2, ("a", "b")),
        (3, "encoding"),
        (4, "quotes"),
        (5, "columns"),
        (6, "columns"),
        (7, ("x\ny", "z")),
        (11, ("last", "row")),
    ]


def test_a_quote_that_is_never_closed_takes_nothing_for_a_row_that_stands_behind_it() -> None:
    assert told(b'name,city\na,b\n"c,d\ne,f\n') == [(2, ("a", "b")), (3, "quotes")]


@pytest.mark.parametrize("chunk", [1000, 1 << 20])
def test_a_huge_field_is_passed_over_whole_with_the_lines_within_it(chunk: int) -> None:
    huge = b'"' + b"admin,evil\n" * ROW_LIMIT + b'"'
    content = b"name,city\na,b\n" + huge + b",x\nc,d\n"

    assert told(content, chunk) == [(2, ("a", "b")), (3, "too_long"), (3 + ROW_LIMIT + 1, ("c", "d"))]


@pytest.mark.parametrize(("length", "fault"), [(ROW_LIMIT, None), (ROW_LIMIT + 1, Fault.TOO_LONG)])
def test_a_row_may_be_just_so_long(length: int, fault: Fault | None) -> None:
    (row,) = read(b"name\n" + b"x" * (length - 1) + b"\n", 4096)

    assert row.fault is fault


def test_what_is_held_meanwhile_is_bounded() -> None:
    reader = Reader(Head(",", ("name",), 0), at=0, line=1)

    for _ in range(100):
        assert list(reader.feed(b'"' + b"x" * 10_001)) == []
        assert len(reader._held) <= ROW_LIMIT + 10_002


CELL = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12)
TABLE = st.lists(st.tuples(CELL, CELL, CELL), max_size=8)


@given(TABLE, st.integers(1, 40))
def test_what_is_written_is_read_the_same_in_whatever_chunks(table: list[tuple[str, str, str]], chunk: int) -> None:
    content = b"name,city,note\r\n" + write(table)

    rows = read(content, chunk)

    assert [row.cells for row in rows] == [one for one in table if any(cell.strip() for cell in one)]
    assert all(row.fault is None for row in rows)


@given(st.binary(max_size=200), st.integers(1, 40))
def test_whatever_is_sent_is_read_alike_in_chunks_and_from_behind_any_row(noise: bytes, chunk: int) -> None:
    content = b"name,city\n" + noise
    whole = read(content)

    assert read(content, chunk) == whole
    for at, row in enumerate(whole):
        again = Reader(head(content), at=row.end, line=row.next_line)
        assert [*again.feed(content[row.end :]), *again.end()] == whole[at + 1 :]
    assert len({row.end for row in whole}) == len(whole)


@given(CELL)
def test_no_cell_begins_as_a_formula_and_each_comes_back(cell: str) -> None:
    assert not guard(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert unguard(guard(cell)) == cell


@pytest.mark.parametrize(
    ("cell", "guarded"),
    [
        ('=HYPERLINK("https://example.org")', '\'=HYPERLINK("https://example.org")'),
        ("+31 6 12345678", "'+31 6 12345678"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-1", "'-1"),
        ("\t=1", "'\t=1"),
        ("'=1", "''=1"),
        ("'t Hooft", "'t Hooft"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_what_a_spreadsheet_would_run_is_text_to_it(cell: str, guarded: str) -> None:
    assert guard(cell) == guarded
    (row,) = csv.reader(io.StringIO(write([[cell, "x"]]).decode(), newline=""))
    assert row == [guarded, "x"]
