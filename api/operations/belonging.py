"""Where a person belongs: their home organization and the others; taking a session from one to another; leaving."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.operations.session import SignedIn, go, hold_row, terms_asked, terms_first
from models import job, leaving, organization, place, session, terms
from models.database import Database, Transaction
from models.errors import (
    HomeOrganization,
    KeyRequired,
    KeyReused,
    LeavingSwitchedOff,
    NotFound,
    NotSignedIn,
    ProofRequired,
    SoleOwner,
    TermsRequired,
)
from models.event import Actor
from models.job import Job
from models.organization import Belonging
from models.sealed import Keyring
from models.session import Session, SessionState, Who
from models.settings import FRESH_PROOF


async def page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[Belonging]:
    async with db.read() as tx:
        return await organization.of_account(tx, who.account_id, after=after, limit=limit)


async def switch(db: Database, who: Who, organization_id: UUID, *, browser_token: str | None, actor: Actor) -> SignedIn:
    """The same sign-in there, under another token; here it is over. What terms ask there comes first, as at a sign-in.

    Whoever owes an answer to terms elsewhere may go home without one, and nowhere else.
    """
    async with db.write() as tx:
        held = await hold_row(tx, who)
        now = await tx.now()
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        if not organization_id == who.home_id != who.organization_id:
            await _owes_nothing(tx, who, asking, browser_token, now)
        if not await organization.is_member(tx, organization_id, who.account_id):
            raise NotFound
        there, token = await go(tx, who, asking, organization_id, actor=actor, now=now)
        return SignedIn(there, token, None, None, now, await terms_first(tx, there, browser_token, now))


async def _owes_nothing(tx: Transaction, who: Who, asking: Session, browser_token: str | None, now: datetime) -> None:
    """Raises TermsRequired."""
    if asking.state is SessionState.TERMS_REQUIRED:
        owed = await terms.first_asked(tx, terms_asked(who, browser_token), now)
        if owed is not None:
            raise TermsRequired(version_id=owed)


@dataclass(frozen=True, slots=True)
class Left:
    job: Job
    made: bool
    repeated: bool
    """The same wish under the same key; else who asks had left before."""
    home: SignedIn | None
    """The sign-in goes on at home; None: nothing was changed, or it would be over by the rules there."""


async def leave(
    db: Database,
    keys: Keyring,
    who: Who,
    organization_id: UUID,
    *,
    key: str | None,
    browser_token: str | None,
    actor: Actor,
) -> Left:
    """It cannot be undone by the person. From a sign-in that is there, and was proven lately.

    Nobody has to accept the terms of an organization to leave it; of another one they come first.

    Raises TermsRequired, NotFound, HomeOrganization, LeavingSwitchedOff, ProofRequired, KeyRequired, KeyReused,
    SoleOwner.
    """
    said = hashlib.sha256(b"leave" + organization_id.bytes).digest()
    async with db.write() as tx:
        held = await hold_row(tx, who)
        now = await tx.now()
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        if organization_id != who.organization_id:
            await _owes_nothing(tx, who, asking, browser_token, now)
        belongs = await organization.of_account(tx, who.account_id, after=None, limit=1, only=organization_id)
        earlier = None if key is None else await job.by_key(tx, who.account_id, key)
        if not belongs:
            return await _left_before(tx, who, organization_id, earlier, said)
        there = belongs[0]
        if organization_id == who.home_id:
            raise HomeOrganization
        if not there.settings.leaving.allowed:
            raise LeavingSwitchedOff(contact=there.settings.whom_to_ask)
        if earlier is not None:
            return _repeated(earlier, said)
        if who.organization_id != organization_id or not asking.is_fresh(now):
            raise ProofRequired(
                max_age=int(FRESH_PROOF.total_seconds()),
                strength=asking.strength,
                organization_id=str(organization_id),
            )
        if key is None:
            raise KeyRequired
        if await leaving.owns_alone(tx, organization_id, who.account_id):
            raise SoleOwner(owns=[{"kind": "organization", "id": str(organization_id), "name": there.name}])
        home = await _go_home(tx, who, asking, browser_token, actor=actor, now=now)
        made = await leaving.leave(
            tx,
            held,
            organization_id,
            name=there.name,
            by="person",
            keys=keys,
            actor=actor,
            now=now,
            notice="organization.left",
            params=place.of(actor),
            idempotency_key=key,
            request_hash=said,
        )
        return Left(made, made=True, repeated=False, home=home)


def _repeated(earlier: Job, said: bytes) -> Left:
    if earlier.request_hash != said:
        raise KeyReused
    return Left(earlier, made=False, repeated=True, home=None)


async def _left_before(tx: Transaction, who: Who, organization_id: UUID, earlier: Job | None, said: bytes) -> Left:
    """Whoever leaves twice has left, while that is known. Raises NotFound, KeyReused."""
    gone = await leaving.newest(tx, organization_id, who.account_id)
    if gone is None:
        raise NotFound
    if earlier is not None:
        return _repeated(earlier, said)
    done = await job.by_id(tx, gone.job_id)
    if done is None:
        raise NotFound
    return Left(done, made=False, repeated=False, home=None)


async def _go_home(
    tx: Transaction, who: Who, asking: Session, browser_token: str | None, *, actor: Actor, now: datetime
) -> SignedIn | None:
    try:
        there, token = await go(tx, who, asking, who.home_id, actor=actor, now=now)
    except NotSignedIn:
        return None
    return SignedIn(there, token, None, None, now, await terms_first(tx, there, browser_token, now))
