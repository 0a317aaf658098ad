"""The person's own view of the record."""

from uuid import UUID

from models import event
from models.database import Database
from models.event import Line
from models.sealed import Keyring
from models.session import Who


async def page(db: Database, keys: Keyring, who: Who, *, before: UUID | None, limit: int) -> list[Line]:
    async with db.read() as tx:
        rows = await event.of_account(tx, who.organization_id, who.account_id, before, limit)
        return await event.opened(tx, keys, rows)
