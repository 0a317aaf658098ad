"""An organization's settings: what its people are shown, and what its administrators decide."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from api.operations import administration
from api.operations.session import terms_asked
from api.pictures import BRAND_IMAGE, LOGO, Pictures
from models import app, event, organization, organization_change, organization_picture, role, terms
from models.app import Connected
from models.database import Database, Transaction
from models.errors import Invalid, NotFound, PreconditionFailed
from models.event import Actor
from models.organization import BannedWords
from models.organization_change import Change, Decided, Settings
from models.organization_picture import Picture, PictureKind
from models.session import Who
from models.terms import Mine


async def show(db: Database, who: Who) -> Decided:
    async with db.read() as tx:
        return await _decided(tx, who.organization_id)


@dataclass(frozen=True, slots=True)
class PrivacyOfMine:
    """What the organization says of everybody, and what of this one person is elsewhere, or was agreed to."""

    decided: Decided
    services: Sequence[Connected]
    terms: Sequence[Mine]


async def privacy(db: Database, who: Who, browser_token: str | None) -> PrivacyOfMine:
    async with db.read() as tx:
        decided, now = await _decided(tx, who.organization_id), await tx.now()
        services = await app.connected(tx, who.organization_id, who.account_id, who.session.generation)
        found = await terms.of_person(tx, terms_asked(who, browser_token), now)
    in_force = [one for one in found if one.standing.version is not None and one.standing.version.effective_at <= now]
    return PrivacyOfMine(decided, services, in_force)


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
        await _must_have_two(tx, who.organization_id, settings, after)
        await organization.write_settings(tx, who.organization_id, after)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="organization:settings:change",
            actor=actor,
            now=now,
            facts=facts,
        )
        return replace(held, settings=after)


async def _must_have_two(tx: Transaction, organization_id: UUID, before: Settings, after: Settings) -> None:
    """Whoever can approve may ask, too: with one alone nothing of theirs would ever be approved. Raises Invalid."""
    demanded = {*after.get("second_approver", ())} - {*before.get("second_approver", ())}
    if demanded and len(await organization.who_may(tx, organization_id, role.APPROVE)) < 2:
        rule = "two_approvers"
        raise Invalid(errors=[{"field": f"acts[{act}].second_approver", "rule": rule} for act in sorted(demanded)])


async def picture_of(db: Database, who: Who, kind: PictureKind) -> Picture:
    """Raises NotFound: there is none."""
    async with db.read() as tx:
        found = await organization_picture.of_organization(tx, who.organization_id, kind)
    if found is None:
        raise NotFound
    return found


async def keep_picture(
    db: Database, pictures: Pictures, who: Who, kind: PictureKind, given: bytes, *, actor: Actor
) -> Decided:
    """Made anew before anything is held, and for nobody who may not give it: it may take a second."""
    async with db.write() as tx:
        await administration.must_be(tx, who, role.RULERS)
    content = await pictures.remake(given, BRAND_IMAGE if kind is PictureKind.IMAGE else LOGO)
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.RULERS)
        await organization.hold_settings(tx, who.organization_id)
        await organization_picture.keep(tx, who.organization_id, kind, content, now)
        await _record_picture(tx, who, kind, "keep", actor=actor, now=now)
        return await _decided(tx, who.organization_id)


async def remove_picture(db: Database, who: Who, kind: PictureKind, *, actor: Actor) -> None:
    """Taken away twice is away."""
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.RULERS)
        if await organization_picture.remove(tx, who.organization_id, kind):
            await _record_picture(tx, who, kind, "remove", actor=actor, now=now)


async def _record_picture(
    tx: Transaction, who: Who, kind: PictureKind, verb: str, *, actor: Actor, now: datetime
) -> None:
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"organization:picture:{verb}",
        actor=actor,
        now=now,
        facts={"picture": kind.value},
    )


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
    return Decided(row.id, row.name, row.settings, await organization_picture.changes(tx, organization_id))
