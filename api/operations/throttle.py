"""How the limits of an account stand, as its person and an operator see them."""

from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from api.operations import passkey_try
from models import account, browser, contact, passkey, recovery, role, sent_code, throttle
from models.database import Database, Transaction
from models.errors import NotFound
from models.recovery_policy import ORDER
from models.session import Who, hash_token
from models.throttle import (
    CODE_SENDS,
    ENROL_CODES,
    INVITATIONS_OF_INVITER,
    INVITATIONS_OF_ORGANIZATION,
    NAMES_TAKEN,
    PASSKEY,
    PASSWORD,
    RECOVERY,
    RECOVERY_METHOD,
    RECOVERY_STARTS,
    SECOND_FACTOR,
    Count,
)

STRANGERS: Final = "strangers"
"""All browsers in which nobody has signed in to the account."""


ORGANIZATION: Final = "organization"
"""All who act for it together."""


async def mine(db: Database, throttle_key: bytes, who: Who, browser_token: str | None) -> list[Count]:
    """What strangers have counted up, and what this browser has."""
    strangers = throttle.key_of_name(account.fold(who.sign_in_name), throttle_key)
    lanes = {strangers: STRANGERS}
    async with db.read() as tx:
        known = None
        if browser_token is not None:
            known = await browser.known(tx, who.account_id, hash_token(browser_token))
        if known is not None:
            lanes[known.lane] = "this_browser"
        counts = await _counts(tx, throttle_key, who.account_id, strangers, lanes)
        if role.holds(who.roles, role.INVITERS):
            counts += await _of_organization(tx, who.organization_id)
        return counts


async def of_account(db: Database, throttle_key: bytes, account_id: UUID) -> list[Count]:
    """All of it: strangers, and each known browser."""
    async with db.read() as tx:
        held = (await tx.execute(sa.select(account.account).where(account.account.c.id == account_id))).one_or_none()
        if held is None:
            raise NotFound
        strangers = throttle.key_of_name(held.sign_in_name, throttle_key)
        lanes = {strangers: STRANGERS}
        for known in await browser.of_account(tx, held.organization_id, held.id):
            lanes[known.lane] = known.lane
        counts = await _counts(tx, throttle_key, account_id, strangers, lanes)
        return counts + await _of_organization(tx, held.organization_id)


async def _counts(
    tx: Transaction, throttle_key: bytes, account_id: UUID, who: str, lanes: dict[str, str]
) -> list[Count]:
    now = await tx.now()
    counts = await throttle.of_lockout(tx, PASSWORD, lanes, now)
    # Second factors are tried by who is known by the password, and not by a name.
    for counter, lane in {**lanes, str(account_id): STRANGERS}.items():
        counts += await throttle.of_budgets(tx, SECOND_FACTOR, counter, now, lane)
        counts += await throttle.of_budgets(tx, RECOVERY_STARTS, counter, now, lane)
    for key in await passkey.of_account(tx, account_id):
        counter = passkey_try.counter_of(key.credential_id, throttle_key)
        counts += await throttle.of_budgets(tx, PASSKEY, counter, now, f"passkey:{key.verification_id}")
    for held in (await contact.of_account(tx, account_id)).values():
        anybody, signed_in = sent_code.counters_of(held.address_hash)
        counts += await throttle.of_budgets(tx, CODE_SENDS, anybody, now, f"address:{held.id}")
        counts += await throttle.of_budgets(tx, CODE_SENDS, signed_in, now, f"address:{held.id}:signed_in")
    counts += await throttle.of_budgets(tx, (*ENROL_CODES, *INVITATIONS_OF_INVITER), str(account_id), now)
    return [*counts, *await _of_recovery(tx, who, now)]


async def _of_organization(tx: Transaction, organization_id: UUID) -> list[Count]:
    """For those who may use it up."""
    budgets = (*INVITATIONS_OF_ORGANIZATION, NAMES_TAKEN)
    return await throttle.of_budgets(tx, budgets, str(organization_id), await tx.now(), ORGANIZATION)


async def _of_recovery(tx: Transaction, who: str, now: datetime) -> list[Count]:
    """Of the way back in: all methods together, and those of each kind."""
    blocks = {"": (RECOVERY, who)}
    for kind in ORDER:
        blocks[f"method:{kind.value}"] = (RECOVERY_METHOD, recovery.lane(who, kind))
    return await throttle.of_blocks(tx, blocks, now)
