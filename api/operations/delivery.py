"""What became of the mails and messages about a person, for administrators: never where they went, nor their words."""

from uuid import UUID

from models import delivery, organization
from models.database import Database
from models.delivery import Attempt, Delivery
from models.errors import NotFound
from models.session import Who


async def page(
    db: Database, who: Who, account_id: UUID, *, before: UUID | None, limit: int
) -> list[tuple[Delivery, list[Attempt]]]:
    """Of a member of the administrator's own organization, and sent in its name. Each with its attempts."""
    async with db.read() as tx:
        if not await organization.is_member(tx, who.organization_id, account_id):
            raise NotFound
        found = await delivery.page(tx, who.organization_id, account_id, before=before, limit=limit)
        attempts = await delivery.attempts_of(tx, [one.id for one in found])
        return [(one, attempts[one.id]) for one in found]
