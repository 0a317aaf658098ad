"""How the limits of an account stand, as its person and an operator see them."""

from typing import Final
from uuid import UUID

import sqlalchemy as sa

from models import account, browser, throttle
from models.database import Database, Transaction
from models.errors import NotFound
from models.session import Who, hash_token
from models.throttle import PASSWORD, SECOND_FACTOR, Count

STRANGERS: Final = "strangers"
"""All browsers in which nobody has signed in to the account."""


async def mine(db: Database, throttle_key: bytes, who: Who, browser_token: str | None) -> list[Count]:
    """What strangers have counted up, and what this browser has."""
    lanes = {throttle.key_of_name(account.fold(who.sign_in_name), throttle_key): STRANGERS}
    async with db.read() as tx:
        known = None
        if browser_token is not None:
            known = await browser.known(tx, who.account_id, hash_token(browser_token))
        if known is not None:
            lanes[known.lane] = "this_browser"
        return await _counts(tx, who.account_id, lanes)


async def of_account(db: Database, throttle_key: bytes, account_id: UUID) -> list[Count]:
    """All of it: strangers, and each known browser."""
    async with db.read() as tx:
        held = (await tx.execute(sa.select(account.account).where(account.account.c.id == account_id))).one_or_none()
        if held is None:
            raise NotFound
        lanes = {throttle.key_of_name(held.sign_in_name, throttle_key): STRANGERS}
        for known in await browser.of_account(tx, held.organization_id, held.id):
            lanes[known.lane] = known.lane
        return await _counts(tx, account_id, lanes)


async def _counts(tx: Transaction, account_id: UUID, lanes: dict[str, str]) -> list[Count]:
    now = await tx.now()
    passwords = await throttle.of_lockout(tx, PASSWORD, lanes, now)
    return [*passwords, *await throttle.of_budgets(tx, SECOND_FACTOR, str(account_id), now)]
