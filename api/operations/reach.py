"""Whom an administrator may do something for: people of the same organization, and nobody above it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from api.operations import security
from models import account
from models.database import Transaction
from models.errors import NotAllowed, NotFound
from models.session import Who


async def reached(tx: Transaction, who: Who, account_id: UUID) -> tuple[Any, datetime]:
    """Whom it is for, held, with the administrator's fresh proof. Nobody does it for themselves.

    No administrator reaches above their organization. Raises ProofRequired, NotAllowed, NotFound.
    """
    for one in sorted((who.account_id, account_id)):  # in one order, so that two who do it to each other both can
        await account.lock(tx, one)
    await security.must_be_proven(tx, who)
    if account_id == who.account_id:
        raise NotAllowed
    held = await account.lock(tx, account_id)
    if held is None or held.organization_id != who.organization_id:
        raise NotFound
    if held.is_operator and not who.is_operator:
        raise NotAllowed
    return held, await tx.now()
