"""What became of the mails and messages about a person, for whoever helps: never where they went, nor their words."""

from uuid import UUID

import sqlalchemy as sa

from models import account, delivery, organization, role
from models.database import Database, Transaction
from models.delivery import Attempt, Delivery
from models.errors import NotFound
from models.session import Who


async def page(
    db: Database, who: Who, account_id: UUID, *, before: UUID | None, limit: int
) -> list[tuple[Delivery, list[Attempt]]]:
    """Of a member of the administrator's own organization whom they may help, and sent in its name; to an operator, of
    anybody. Each with its attempts. Raises NotFound.
    """
    async with db.read() as tx:
        sent_by = await _sent_by(tx, who, account_id)
        found = await delivery.page(tx, sent_by, account_id, before=before, limit=limit)
        attempts = await delivery.attempts_of(tx, [one.id for one in found])
        return [(one, attempts[one.id]) for one in found]


async def _sent_by(tx: Transaction, who: Who, account_id: UUID) -> UUID:
    """In whose name what may be read was sent. Raises NotFound, alike for whom nobody has and whom one may not help."""
    held = sa.select(account.account).where(account.account.c.id == account_id)
    whose = (await tx.execute(held)).one_or_none()
    # All of it is asked before anything is answered: an account elsewhere costs what none does.
    member = await organization.is_member(tx, who.organization_id, account_id)
    theirs = await organization.roles_of(tx, who.organization_id, account_id)
    if whose is None:
        raise NotFound
    if who.is_operator:
        return who.organization_id if member else whose.organization_id
    if not member or whose.is_operator or not role.may(role.RESET, who.roles, theirs):
        raise NotFound
    return who.organization_id
