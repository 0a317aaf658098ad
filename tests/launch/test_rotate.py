"""The next signing key, made before its time: known before it signs, the old one until its last token is over."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jwt
import pytest

from launch import rotate as command
from models import signing_key
from models.database import Database
from models.sealed import Keyring
from models.settings import DatabaseSettings
from models.signing_key import AFTER, AHEAD
from models.vocabulary import new_id
from tests.clock import Clock
from tests.launch.test_rewrap import OLD
from workers import logout
from workers.logout import LogoutToken, sign

ISSUER = "https://latchkey.test"


async def rotate(db: Database, keys: Keyring, clock: Clock) -> bool:
    async with db.write() as tx:
        return await signing_key.rotate(tx, keys, clock.now, at_once=True)


async def published(db: Database, now: datetime) -> list[Mapping[str, str]]:
    async with db.read() as tx:
        return [one.public for one in signing_key.published(await signing_key.page(tx), now)]


async def signed(db: Database, keys: Keyring, now: datetime) -> str:
    async with db.read() as tx:
        key = signing_key.that_signs(await signing_key.page(tx), now)
    assert key is not None
    return sign(LogoutToken("timesheet", new_id(now), None, now).claims(ISSUER), key.id, key.open(keys))


def verifies(token: str, keys: list[Mapping[str, str]]) -> bool:
    kid = jwt.get_unverified_header(token)["kid"]
    found = [jwt.PyJWK(dict(key)) for key in keys if key["kid"] == kid]
    if not found:
        return False
    jwt.decode(token, found[0], algorithms=["ES256"], audience="timesheet", issuer=ISSUER, options=NO_CLOCK)
    return True


NO_CLOCK: Any = {"verify_exp": False, "verify_iat": False}
"""The tests' clock is set by hand."""


async def test_the_old_key_verifies_while_its_tokens_live_and_then_it_is_gone(
    database: Database, clock: Clock, keys: Keyring
) -> None:
    await rotate(database, keys, clock)
    (old,) = await published(database, clock.now)
    await rotate(database, keys, clock)
    new, same = await published(database, clock.now)
    assert (same, new["kid"] == old["kid"]) == (old, False), "both are there, and the old one signs"
    assert verifies(await signed(database, keys, clock.now), [old])

    clock.forward(AHEAD.total_seconds() - 0.001)
    last_of_old = await signed(database, keys, clock.now)
    assert verifies(last_of_old, [old])
    clock.forward(0.001)
    first_of_new = await signed(database, keys, clock.now)
    assert verifies(first_of_new, [new])

    clock.forward(logout.LIFE)
    assert await published(database, clock.now) == [new, old]
    assert verifies(last_of_old, await published(database, clock.now)), "to the end of its life"
    clock.forward(AFTER - logout.LIFE)
    assert await published(database, clock.now) == [new]
    async with database.write() as tx:
        assert await signing_key.erase_due(tx, clock.now, 10) == 1
    assert [one.serial for one in await known(database)] == [2]


async def known(db: Database) -> list[signing_key.SigningKey]:
    async with db.read() as tx:
        return await signing_key.page(tx)


def test_the_command_makes_one_and_no_second_while_that_is_on_its_way(
    database_settings: DatabaseSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of all signs at once; the next after an hour, and until then no other is made."""
    environ = {"DATABASE_URL": database_settings.url, "SEAL_KEYS": OLD}

    said = []
    for _ in range(3):
        assert command.main(environ) == command.DONE
        said.append(capsys.readouterr().out.splitlines())

    assert [lines[0].partition(":")[0] for lines in said] == ["made", "made", "none made"]
    assert [len(lines) for lines in said] == [2, 3, 3]
    assert said[2][1:] == said[1][1:]
    assert "BEGIN" not in str(said)


@pytest.mark.parametrize("missing", ["DATABASE_URL", "SEAL_KEYS"])
def test_settings_that_are_missing_are_named(
    sqlite_settings: DatabaseSettings, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"DATABASE_URL": sqlite_settings.url, "SEAL_KEYS": OLD}
    del environ[missing]

    assert command.main(environ) == command.MISCONFIGURED
    assert missing in capsys.readouterr().err
