"""An organization's settings: what its people are shown, and what its administrators decide."""

from collections.abc import Callable, Collection
from uuid import UUID

import sqlalchemy as sa

from api.operations import administration
from models import event, organization, organization_change, role
from models.database import Database, Transaction
from models.errors import PreconditionFailed
from models.event import Actor
from models.organization_change import Change, Decided
from models.session import Who


async def show(db: Database, who: Who) -> Decided:
    async with db.read() as tx:
        return await _decided(tx, who.organization_id)


async def change(
    db: Database,
    platforms: Collection[str],
    who: Who,
    wanted: Change,
    *,
    matches: Callable[[str], bool],
    actor: Actor,
) -> Decided:
    """It holds for what is asked from now on; what is under way was asked under the old ones."""
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.RULERS)
        settings = await organization.hold_settings(tx, who.organization_id)
        held = await _decided(tx, who.organization_id)
        if not matches(held.mark):
            raise PreconditionFailed
        after = wanted.apply(settings, platforms)
        facts = organization_change.facts(settings, after)
        if not facts:
            return held
        await organization.write_settings(tx, who.organization_id, after)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="organization:settings:change",
            actor=actor,
            now=now,
            facts=facts,
        )
        return Decided(held.organization_id, held.name, after)


async def _decided(tx: Transaction, organization_id: UUID) -> Decided:
    statement = sa.select(organization.organization).where(organization.organization.c.id == organization_id)
    row = (await tx.execute(statement)).one()
    return Decided(row.id, row.name, row.settings)
