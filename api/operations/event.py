"""The person's own view of the record."""

from typing import Any
from uuid import UUID

from models import event
from models.database import Database
from models.session import Who


async def page(db: Database, who: Who, *, before: UUID | None, limit: int) -> list[Any]:
    async with db.read() as tx:
        return await event.of_account(tx, who.organization_id, who.account_id, before, limit)
