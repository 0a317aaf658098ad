"""Whom an administrator may do something for: people of the same organization, and nobody above it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from api.operations import security
from models import account, verification
from models.database import Transaction
from models.errors import NotAllowed, NotFound, SecondFactorMissing
from models.session import Who


async def reached(tx: Transaction, who: Who, account_id: UUID, *, strength: int = 1) -> tuple[Any, datetime]:
    """Whom it is for, held, with the administrator's fresh proof. Nobody does it for themselves.

    No administrator reaches above their organization. `strength`: how many factors they must have at least. Raises
    ProofRequired, SecondFactorMissing, NotAllowed, NotFound.
    """
    for one in sorted((who.account_id, account_id)):  # in one order, so that two who do it to each other both can
        await account.lock(tx, one)
    methods = await security.must_be_proven(tx, who)
    if verification.best_strength(methods) < strength:
        raise SecondFactorMissing(strength=strength)
    if account_id == who.account_id:
        raise NotAllowed
    held = await account.lock(tx, account_id)
    if held is None or held.organization_id != who.organization_id:
        raise NotFound
    if held.is_operator and not who.is_operator:
        raise NotAllowed
    return held, await tx.now()
