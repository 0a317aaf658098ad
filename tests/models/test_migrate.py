import sqlite3
from pathlib import Path

import pytest

from models.migrate import head, is_current
from models.settings import DatabaseSettings

FIRST = 'revision = "0001"\ndown_revision = None\n'
SECOND = 'revision: str = "0002"\ndown_revision: str | None = "0001"\n'


def folder(tmp_path: Path, *texts: str) -> Path:
    (tmp_path / "versions").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "versions" / f"{number}.py").write_text(text)
    return tmp_path


def database(path: Path, *revisions: str) -> DatabaseSettings:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.executemany("INSERT INTO alembic_version VALUES (?)", [(revision,) for revision in revisions])
    connection.commit()
    connection.close()
    return DatabaseSettings(f"sqlite:///{path}")


def test_the_head_is_the_revision_that_none_continues(tmp_path: Path) -> None:
    assert head(folder(tmp_path, SECOND, FIRST)) == "0002"


@pytest.mark.parametrize("texts", [(), (FIRST, 'revision = "0002"\ndown_revision = None\n')])
def test_no_end_or_two_ends_are_a_clear_error(tmp_path: Path, texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must end in one revision"):
        head(folder(tmp_path, *texts))


def test_a_database_at_the_newest_revision_is_current(tmp_path: Path) -> None:
    assert is_current(database(tmp_path / "database", "0002"), folder(tmp_path, FIRST, SECOND))


def test_a_database_that_is_not_there_yet_is_not_current_and_is_not_made(tmp_path: Path) -> None:
    assert not is_current(DatabaseSettings(f"sqlite:///{tmp_path / 'database'}"), folder(tmp_path, FIRST))
    assert not (tmp_path / "database").exists()


@pytest.mark.parametrize("revisions", [(), ("0001",), ("0001", "0002"), ("unknown",)])
def test_a_database_at_any_other_revision_is_not_current(tmp_path: Path, revisions: tuple[str, ...]) -> None:
    assert not is_current(database(tmp_path / "database", *revisions), folder(tmp_path, FIRST, SECOND))


def test_an_empty_file_is_not_current(tmp_path: Path) -> None:
    (tmp_path / "database").touch()

    assert not is_current(DatabaseSettings(f"sqlite:///{tmp_path / 'database'}"), folder(tmp_path, FIRST))
