"""Terms of use, as an administrator keeps them: made, changed, published, withdrawn; and who answered what.

A change takes two factors and a fresh proof. What was published stays as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from api.operations import administration
from models import event, role, standing, terms
from models.database import Database, Transaction
from models.errors import (
    BrokenRule,
    Invalid,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    TermsQuota,
    TermsWithdrawn,
)
from models.event import Actor
from models.session import Who
from models.standing import Expiry, Version
from models.terms import Given, Terms
from models.vocabulary import new_id

STRENGTH: Final = 2
FURTHEST: Final = timedelta(days=5 * 365)
"""How far ahead a version may take effect."""
YEARS: Final = range(2000, 2200)
"""Of a schedule's start: a mistyped one neither overflows nor is counted through."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`version`: the one in force; `versions`: how many there are."""

    terms: Terms
    version: Version | None
    versions: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """How terms shall be."""

    name: str
    names: Mapping[str, str]
    default_language: str
    must_scroll: bool
    per_device: bool
    expiry: Expiry


async def page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[Kept]:
    async with db.read() as tx:
        found = await terms.page(tx, who.organization_id, after, limit)
        return await _kept(tx, found, await tx.now())


async def show(db: Database, who: Who, terms_id: UUID) -> Kept:
    async with db.read() as tx:
        return await _shown(tx, await _ours(tx, who, terms_id), await tx.now())


async def add(db: Database, who: Who, wanted: Wanted, *, actor: Actor) -> Kept:
    _must_be_whole(wanted)
    async with db.write() as tx:
        now = await _begin(tx, who)
        if await terms.kept(tx, who.organization_id) >= terms.MOST:
            raise TermsQuota(limit=terms.MOST)
        new = Terms(
            id=new_id(now),
            organization_id=who.organization_id,
            revision=1,
            created_at=now,
            withdrawn_at=None,
            name=wanted.name,
            names=wanted.names,
            default_language=wanted.default_language,
            must_scroll=wanted.must_scroll,
            per_device=wanted.per_device,
            expiry=wanted.expiry,
        )
        await terms.add(tx, new)
        await _record(tx, who, "add", new.id, actor=actor, now=now, facts={"name": new.name})
        return Kept(new, None, 0)


async def change(
    db: Database, who: Who, terms_id: UUID, wanted: Wanted, *, matches: Callable[[str], bool], actor: Actor
) -> Kept:
    """What an acceptance ends by is worked out anew from what is set here, for those that were given, too."""
    _must_be_whole(wanted)
    async with db.write() as tx:
        held, now = await _hold(tx, who, terms_id)
        if not matches(held.mark):
            raise PreconditionFailed
        changed = [name for name in Wanted.__slots__ if getattr(wanted, name) != getattr(held, name)]
        if changed:
            held = replace(held, revision=held.revision + 1, **{name: getattr(wanted, name) for name in changed})
            await _must_keep_default(tx, held)
            await terms.save(tx, held)
            await _record(tx, who, "edit", held.id, actor=actor, now=now, facts={"fields": sorted(changed)})
        return await _shown(tx, held, now)


async def withdraw(db: Database, who: Who, terms_id: UUID, *, actor: Actor) -> None:
    """Nobody is asked any more; what was answered stays. Withdrawn twice is withdrawn."""
    async with db.write() as tx:
        await _begin(tx, who)
        held = await terms.hold(tx, who.organization_id, terms_id)
        if held is None:
            raise NotFound
        now = await tx.now()
        if held.withdrawn_at is None:
            await terms.save(tx, replace(held, revision=held.revision + 1, withdrawn_at=now))
            await _record(tx, who, "withdraw", held.id, actor=actor, now=now)


async def publish(
    db: Database,
    who: Who,
    terms_id: UUID,
    *,
    major: bool,
    effective_at: datetime | None,
    documents: Mapping[str, str],
    actor: Actor,
) -> tuple[Version, Mapping[str, str]]:
    """The next version, and the hash of each of its texts. It takes effect now, or at a moment to come."""
    texts = _texts(documents)
    async with db.write() as tx:
        held, now = await _hold(tx, who, terms_id)
        if held.default_language not in texts:
            raise _invalid("documents", "default_language", language=held.default_language)
        before = (await terms.versions(tx, [held.id]))[held.id]
        from_ = now if effective_at is None else effective_at
        if from_ < now:
            raise _invalid("effective_at", "not_past")
        if from_ - now > FURTHEST:
            raise _invalid("effective_at", "within_five_years")
        if before and from_ < before[-1].effective_at:
            raise _invalid("effective_at", "not_before_last")
        published = await terms.publish(
            tx,
            held,
            number=len(before) + 1,
            major=major,
            effective_at=from_,
            texts=texts,
            by=who.account_id,
            now=now,
        )
        hashes = (await terms.hashes(tx, [published.id]))[published.id]
        facts = {
            "version": published.number,
            "version_id": str(published.id),
            "major": major,
            "effective_at": from_.isoformat(),
            "sha256": hashes,
        }
        await _record(tx, who, "publish", held.id, actor=actor, now=now, facts=facts)
        return published, hashes


async def versions(
    db: Database, who: Who, terms_id: UUID, *, before: int | None, limit: int
) -> list[tuple[Version, Mapping[str, str]]]:
    async with db.read() as tx:
        held = await _ours(tx, who, terms_id)
        found = await terms.version_page(tx, held.id, before, limit)
        hashes = await terms.hashes(tx, [one.id for one in found])
        return [(one, hashes[one.id]) for one in found]


async def answers(db: Database, who: Who, terms_id: UUID, *, before: UUID | None, limit: int) -> list[Given]:
    if not role.holds(who.roles, role.RULERS):  # it names everybody
        raise NotAllowed
    async with db.read() as tx:
        held = await _ours(tx, who, terms_id)
        return await terms.answers(tx, held.id, before, limit)


async def _begin(tx: Transaction, who: Who) -> datetime:
    """The time, with the proof that every change takes. Raises ProofRequired, SecondFactorMissing, NotAllowed."""
    return await administration.must_be(tx, who, role.RULERS)


async def _hold(tx: Transaction, who: Who, terms_id: UUID) -> tuple[Terms, datetime]:
    await _begin(tx, who)
    held = await terms.hold(tx, who.organization_id, terms_id)
    if held is None:
        raise NotFound
    if held.withdrawn_at is not None:
        raise TermsWithdrawn
    return held, await tx.now()


async def _ours(tx: Transaction, who: Who, terms_id: UUID) -> Terms:
    held = await terms.by_id(tx, who.organization_id, terms_id)
    if held is None:
        raise NotFound
    return held


async def _kept(tx: Transaction, found: Sequence[Terms], now: datetime) -> list[Kept]:
    published = await terms.versions(tx, [one.id for one in found])
    return [Kept(one, standing.in_force(published[one.id], now), len(published[one.id])) for one in found]


async def _shown(tx: Transaction, held: Terms, now: datetime) -> Kept:
    return (await _kept(tx, [held], now))[0]


async def _must_keep_default(tx: Transaction, held: Terms) -> None:
    """Every version that may still be asked has a text in it."""
    published = (await terms.versions(tx, [held.id]))[held.id]
    for texts in (await terms.hashes(tx, [one.id for one in published[-1:]])).values():
        if held.default_language not in texts:
            raise _invalid("default_language", "language_of_newest")


def _must_be_whole(wanted: Wanted) -> None:
    if wanted.default_language not in wanted.names:
        raise _invalid("names", "default_language", language=wanted.default_language)
    schedule = wanted.expiry.schedule
    if schedule is not None and schedule.starts_at.year not in YEARS:
        raise _invalid("schedule", "schedule_start")


def _texts(documents: Mapping[str, str]) -> dict[str, str]:
    texts = {language: terms.clean_text(text) for language, text in documents.items()}
    broken = [
        BrokenRule("plain_text", most=terms.LONGEST_TEXT).at(f"documents.{language}")
        for language, text in texts.items()
        if text is None
    ]
    if broken:
        raise Invalid(errors=broken)
    return {language: text for language, text in texts.items() if text is not None}


def _invalid(field: str, rule: str, **facts: str | int) -> Invalid:
    return Invalid(errors=[BrokenRule(rule, **facts).at(field)])


async def _record(
    tx: Transaction,
    who: Who,
    verb: str,
    terms_id: UUID,
    *,
    actor: Actor,
    now: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"organization:terms:{verb}",
        actor=actor,
        now=now,
        account_id=who.account_id,
        subject=("terms", terms_id),
        facts=facts,
    )
