"""Terms of use, as their people meet them: what stands between a sign-in and the house, what it says, the answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.operations.session import hold_row, record, terms_asked
from models import address, event, session, standing, terms
from models.database import Database, Transaction
from models.errors import NotFound, NotSignedIn, TermsAccepted, TermsChanged, TermsRequired
from models.event import Actor
from models.session import SessionState, Who
from models.standing import Status, Version
from models.terms import Mine, Terms, Text

ALL_IS_WELL: Final = frozenset({Status.CURRENT, Status.DUE})


@dataclass(frozen=True, slots=True)
class Reading:
    """One version, in the language that fits best."""

    terms: Terms
    version: Version
    text: Text
    languages: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answered:
    row: Any
    made: bool
    """Not: it is what was answered before."""
    next_version_id: UUID | None


async def settle(db: Database, who: Who, browser_token: str | None, *, actor: Actor) -> Who:
    """A sign-in that waits for terms asks for something else. Raises TermsRequired, which names the first version.

    Where nothing is asked any more (accepted elsewhere, withdrawn meanwhile) it is whole from here on.
    """
    asked = terms_asked(who, browser_token)
    async with db.read() as tx:
        await _nothing_asked(tx, asked, await tx.now())
    async with db.write() as tx:
        held = await hold_row(tx, who)
        now = await tx.now()
        await _nothing_asked(tx, asked, now)
        waiting = await session.by_id(tx, who, who.session.id)
        if waiting is None or not waiting.lives(held.session_generation, now):
            raise NotSignedIn
        if await session.terms_answered(tx, waiting):
            await record(tx, waiting, "whole", actor=actor, now=now)
    return replace(who, session=replace(waiting, state=SessionState.SIGNED_IN))


async def _nothing_asked(tx: Transaction, asked: terms.Asked, now: datetime) -> None:
    version_id = await terms.first_asked(tx, asked, now)
    if version_id is not None:
        raise TermsRequired(version_id=version_id)


async def mine(db: Database, who: Who, browser_token: str | None) -> list[Mine]:
    async with db.read() as tx:
        return await terms.of_person(tx, terms_asked(who, browser_token), await tx.now())


async def show(db: Database, who: Who, version_id: UUID, language: str | None) -> Reading:
    """Any version of the organization's, also of terms that were withdrawn: what was accepted can be read again."""
    async with db.read() as tx:
        version = await terms.version_by_id(tx, who.organization_id, version_id)
        if version is None:
            raise NotFound
        held = await terms.by_id(tx, who.organization_id, version.terms_id)
        if held is None:
            raise NotFound
        languages = sorted((await terms.hashes(tx, [version.id]))[version.id])
        chosen = standing.choose(languages, language or who.language, held.default_language)
        if chosen not in languages:  # the default is another one by now
            chosen = languages[0]
        return Reading(held, version, await terms.text_of(tx, version.id, chosen), languages)


async def answer(
    db: Database,
    who: Who,
    version_id: UUID,
    *,
    language: str,
    sha256: str,
    accepted: bool,
    browser_token: str | None,
    actor: Actor,
) -> Answered:
    """Yes or no to the very text that was shown. Nobody publishes while it is written down."""
    asked = terms_asked(who, browser_token)
    async with db.write() as tx:
        held = await hold_row(tx, who)
        version = await terms.version_by_id(tx, who.organization_id, version_id)
        if version is None:
            raise NotFound
        await terms.hold_still(tx, who.organization_id, version.terms_id)
        now = await tx.now()
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        stands = await _must_be_present(tx, asked, version, language, sha256, now)
        known = await _same_answer(tx, asked, version, stands, accepted=accepted)
        row = known
        if known is None:
            row = await terms.accept(
                tx,
                asked,
                version,
                language,
                sha256,
                accepted=accepted,
                expires_at=stands.terms.expiry.end_of(now) if accepted else None,
                who=_signer(held, actor),
                now=now,
            )
            await _record(tx, who, version, row, actor=actor, now=now)
        if not accepted:
            await session.all_wait_for_terms(tx, who)
        left = await terms.first_asked(tx, asked, now)
        if left is None and await session.terms_answered(tx, asking):
            await record(tx, asking, "whole", actor=actor, now=now)
        return Answered(row, known is None, left)


async def _must_be_present(
    tx: Transaction, asked: terms.Asked, version: Version, language: str, sha256: str, now: datetime
) -> Mine:
    """Raises TermsChanged unless it is the version in force, and its text in this language."""
    found = await terms.of_person(tx, asked, now, version.terms_id)
    stands = found[0] if found else None
    present = None if stands is None else stands.standing.version
    texts = (await terms.hashes(tx, [version.id]))[version.id]
    if stands is None or present is None or not present.in_force(now):
        raise TermsChanged(version_id=None)
    if present.id != version.id or texts.get(language) != sha256:
        raise TermsChanged(version_id=present.id)
    return stands


async def _same_answer(tx: Transaction, asked: terms.Asked, version: Version, stands: Mine, *, accepted: bool) -> Any:
    """What was answered before, where this says the same; None where it is news. Raises TermsAccepted."""
    status = stands.standing.status
    if status in ALL_IS_WELL and not accepted:
        raise TermsAccepted(version_id=version.id)
    said = await terms.newest_answer(tx, asked, version.terms_id)
    if said is None or said.version_id != version.id or said.accepted != accepted:
        return None
    # An acceptance that has ended is given anew.
    return said if status in ALL_IS_WELL or not accepted else None


def _signer(held: Any, actor: Actor) -> dict[str, str | None]:
    """Who it is, as they are called at this moment."""
    return {
        "sign_in_name": held.sign_in_name,
        "display_name": held.display_name,
        # Others that were confirmed are sealed where they are kept, and stay there.
        "mail": address.mail_address(held.sign_in_name),
        "address": actor.address,
        "client": actor.client,
    }


async def _record(tx: Transaction, who: Who, version: Version, row: Any, *, actor: Actor, now: datetime) -> None:
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"account:terms:{'accept' if row.accepted else 'decline'}",
        actor=actor,
        now=now,
        account_id=who.account_id,
        subject=("terms_acceptance", row.id),
        facts={
            "terms_id": str(version.terms_id),
            "version": version.number,
            "language": row.language,
            "sha256": row.sha256,
        },
    )
