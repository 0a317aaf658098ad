"""Is this database's schema ours? Asked at every start, so answered without Alembic, whose import costs more than the
answer; that is loaded only when there is something to change."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from models.settings import DatabaseSettings

FOLDER: Final = Path(__file__).parent / "migrations"

_ASSIGNED: Final = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)
_QUOTED: Final = re.compile(r"""["']([^"']+)["']""")


def head(folder: Path = FOLDER) -> str:
    """The newest revision in the folder. Raises ValueError when there is none, or more than one."""
    made, continued = set[str](), set[str]()
    for path in (folder / "versions").glob("*.py"):
        for name, value in _ASSIGNED.findall(path.read_text(encoding="utf-8")):
            (made if name == "revision" else continued).update(_QUOTED.findall(value))
    heads = made - continued
    if len(heads) != 1:
        raise ValueError(f"the migrations must end in one revision, not in {sorted(heads) or 'none'}")
    return heads.pop()


def is_current(settings: DatabaseSettings, folder: Path = FOLDER) -> bool:
    """Whether the database stands at the newest revision. False as well when it is not there yet."""
    return set(_revisions(settings.url)) == {head(folder)}


def upgrade(settings: DatabaseSettings) -> None:
    """Bring the database to the newest revision. `migrations/env.py` finds the address under `attributes["url"]`."""
    from alembic import command  # noqa: PLC0415 - see the module's first sentence
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["url"] = settings.url
    command.upgrade(config, "head")


def _revisions(url: str) -> Iterator[str]:
    path = url.removeprefix("sqlite:///")
    return _on_sqlite(Path(path)) if path != url else _on_postgresql(url)


def _on_sqlite(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    connection = sqlite3.connect(path)
    try:
        # A file that another made, or we made halfway: not ours yet.
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchone():
            yield from (str(revision) for (revision,) in connection.execute("SELECT version_num FROM alembic_version"))
    finally:
        connection.close()


def _on_postgresql(url: str) -> Iterator[str]:
    import psycopg  # noqa: PLC0415 - only where it is used: SQLite needs none of it

    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone() == (True,):
            yield from (str(revision) for (revision,) in connection.execute("SELECT version_num FROM alembic_version"))
