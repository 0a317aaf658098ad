"""An organization's settings: what its people are shown, and what its administrators decide."""

from collections.abc import Callable, Collection
from uuid import UUID

import sqlalchemy as sa

from api.operations import administration
from models import event, organization, organization_change, role
from models.database import Database, Transaction
from models.errors import PreconditionFailed
from models.event import Actor
from models.organization import BannedWords
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


async def show_words(db: Database, who: Who) -> BannedWords:
    async with db.read() as tx:
        return BannedWords.of((await organization.settings_of(tx, who.organization_id)).banned_words)


async def change_words(
    db: Database, who: Who, words: BannedWords, *, matches: Callable[[str], bool], actor: Actor
) -> BannedWords:
    """For passwords that are chosen from now on. The record says how many there are, and none of them."""
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.RULERS)
        settings = await organization.hold_settings(tx, who.organization_id)
        before = BannedWords.of(settings.get("banned_words", ()))
        if not matches(before.mark):
            raise PreconditionFailed
        if words != before:
            after = {**settings, "banned_words": list(words.words)}
            await organization.write_settings(tx, who.organization_id, after)
            await event.record(
                tx,
                organization_id=who.organization_id,
                action="organization:banned_words:change",
                actor=actor,
                now=now,
                facts={"before": len(before.words), "after": len(words.words)},
            )
        return words


async def _decided(tx: Transaction, organization_id: UUID) -> Decided:
    statement = sa.select(organization.organization).where(organization.organization.c.id == organization_id)
    row = (await tx.execute(statement)).one()
    return Decided(row.id, row.name, row.settings)
