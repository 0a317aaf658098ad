"""An administrator acts on somebody: the one place that says whether they may.

Who may act on whom is data (models/role.py). What it is asked of is read here, in the transaction that acts, with both
accounts held: a role that was given or taken a moment ago counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from api.operations.session import hold_row
from models import account, organization, role, session, verification
from models.database import Transaction
from models.delivery import Person
from models.errors import NotAllowed, NotFound, NotSignedIn, ProofRequired, SecondFactorMissing
from models.role import Role, Table
from models.session import Who
from models.settings import RECENT_PROOF

STRENGTH = 2


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody whom an administrator may act on, held until commit."""

    held: Any
    """The account's row."""
    roles: tuple[str, ...]
    now: datetime

    @property
    def person(self) -> Person:
        return Person(self.held.id, self.held.organization_id)


async def reached(
    tx: Transaction,
    who: Who,
    account_id: UUID,
    table: Table,
    *,
    deleted: bool = False,
    oneself: bool = False,
    guests: bool = False,
) -> Target:
    """Whom it is for. Nobody does it for themselves, but what may be done to `oneself`; and no administrator reaches
    above their organization.

    `guests`: it is about the membership alone, so that it may be somebody's who is at home elsewhere.

    Raises ProofRequired, SecondFactorMissing, NotAllowed, and NotFound for whoever is none of the organization's own or
    is deleted; with `deleted` for whoever cannot be restored any more.
    """
    held = None
    for one in sorted({who.account_id, account_id}):  # in one order, so that two who do it to each other both can
        if one == account_id:
            held = await organization.lock_ours(tx, who.organization_id, one)
        else:
            await account.lock(tx, one)
    acting, mine = await _acting(tx, who)
    if held is None or not await _belongs(tx, who, held, guests=guests):
        raise NotFound
    now = await tx.now()
    if held.deleted_at is not None and not (deleted and account.is_kept(held, now)):
        raise NotFound
    theirs = await organization.roles_of(tx, who.organization_id, account_id)
    if (account_id == who.account_id and not oneself) or not role.may(table, mine, theirs):
        raise NotAllowed
    if held.is_operator and not acting.is_operator:
        raise NotAllowed
    return Target(held, theirs, now)


async def _belongs(tx: Transaction, who: Who, held: Any, *, guests: bool) -> bool:
    if held.organization_id == who.organization_id:
        return True
    return guests and await organization.is_member(tx, who.organization_id, held.id)


async def must_be(tx: Transaction, who: Who, any_of: Collection[Role]) -> datetime:
    """For what concerns nobody in particular. The time, the administrator's account held from here on.

    Raises ProofRequired, SecondFactorMissing, NotAllowed.
    """
    _, mine = await _acting(tx, who)
    if not role.holds(mine, any_of):
        raise NotAllowed
    return await tx.now()


async def _acting(tx: Transaction, who: Who) -> tuple[Any, tuple[str, ...]]:
    """The administrator's account, held, and their roles: with two factors, shown within the last fifteen minutes."""
    acting = await hold_row(tx, who)
    now = await tx.now()
    asking = await session.by_id(tx, who, who.session.id)
    if asking is None or not asking.lives(acting.session_generation, now):
        raise NotSignedIn
    if asking.proven_strength < STRENGTH or not asking.is_fresh(now, RECENT_PROOF):
        methods = await verification.of_account(tx, who.account_id)
        if verification.best_strength(methods) < STRENGTH:
            raise SecondFactorMissing(strength=STRENGTH)
        raise ProofRequired(max_age=int(RECENT_PROOF.total_seconds()), strength=STRENGTH)
    return acting, await organization.roles_of(tx, who.organization_id, who.account_id)
