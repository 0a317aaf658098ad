"""What becomes of each table when its time is over, and when the person whom it speaks of is erased."""

from models.base import metadata
from models.erasure import KEPT


def test_of_every_table_it_is_told_how_long_it_is_kept_and_what_erasing_a_person_does_to_it() -> None:
    """A new table has its line in models/erasure.py, and a new column too, wherever rows outlive their person."""
    assert set(metadata.tables) <= set(KEPT)

    for name, table in metadata.tables.items():
        told = [column for columns in KEPT[name].stays for column in columns.split()]
        assert KEPT[name].goes != bool(told), name
        if told:
            assert {column.name for column in table.columns} <= set(told), name
        assert len(told) == len(set(told)), name
