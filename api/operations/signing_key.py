"""The public halves of the keys that sign, for whoever checks a signature."""

from models import signing_key
from models.database import Database
from models.signing_key import SigningKey


async def published(db: Database) -> list[SigningKey]:
    async with db.read() as tx:
        return signing_key.published(await signing_key.page(tx), await tx.now())
