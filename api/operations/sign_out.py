"""Signing out everywhere: by the person, by the person but for this one sign-in, or by an administrator.

Here it is immediate, on every process; apps are told by the job that is made in the same transaction.
"""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from api.operations import administration
from api.operations.session import hold_account, record
from models import app, job, organization, place, role, session, sign_out
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import KeyRequired, KeyReused, NotSignedIn, ProofRequired
from models.event import Actor
from models.job import Job
from models.sealed import Keyring
from models.session import Who, hash_token, new_token
from models.settings import FRESH_PROOF, RECENT_PROOF
from models.sign_out import NOTICE, Ended
from models.vocabulary import Proof


@dataclass(frozen=True, slots=True)
class OthersEnded:
    """The one that asked goes on under another token."""

    who: Who
    token: str = field(repr=False)
    job: Job
    now: datetime


@dataclass(frozen=True, slots=True)
class Revoked:
    job: Job
    made: bool


async def everywhere(db: Database, keys: Keyring, who: Who, *, actor: Actor) -> Job:
    """Every session of the account, this one too: one row, however many there are. It is a panic button, and takes no
    proof but where the organization wants one."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        if generation != who.session.generation:
            raise NotSignedIn
        demanded = (await organization.settings_of(tx, who.home_id)).sign_out_proof
        if demanded is not Proof.NONE and not who.session.is_fresh(now):
            raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()))
        return (await _end(tx, keys, who, actor=actor, now=now)).job


async def others(db: Database, keys: Keyring, who: Who, *, actor: Actor) -> OthersEnded:
    """All but the one that asks. Whoever stays takes a recent proof: else a stolen session could shut its owner out."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(generation, now):
            raise NotSignedIn
        if not asking.is_fresh(now, RECENT_PROOF):
            raise ProofRequired(max_age=int(RECENT_PROOF.total_seconds()))
        ended = await _end(tx, keys, who, actor=actor, now=now, kept=True)
        token = new_token()
        renewed = await session.renew(
            tx,
            asking,
            token_hash=hash_token(token),
            generation=ended.generation,
            life=who.session_life,
            now=now,
            proven_at=asking.proven_at,
        )
        await app.move_uses(tx, old=asking.id, new=renewed.id, generation=ended.generation)
        await record(tx, renewed, "renew", actor=actor, now=now)
        return OthersEnded(replace(who, session=renewed), token, ended.job, now)


async def _end(tx: Transaction, keys: Keyring, who: Who, *, actor: Actor, now: datetime, kept: bool = False) -> Ended:
    return await sign_out.everywhere(
        tx,
        Person(who.account_id, who.organization_id),
        keys=keys,
        actor=actor,
        by="person",
        notice="session.signed_out_elsewhere" if kept else NOTICE,
        params=place.of(actor),
        facts={"kept": str(who.session.id)} if kept else {},
        now=now,
    )


async def revoke(
    db: Database, keys: Keyring, who: Who, account_id: UUID, *, reason: str, key: str | None, actor: Actor
) -> Revoked:
    """An administrator ends every sign-in of somebody in their organization. The reason is for the record alone."""
    async with db.write() as tx:
        # A key is the administrator's own; the job it stands on is the person's, whose own keys hold no space.
        ours = None if key is None else f"revoke {who.account_id}:{key}"
        said = hashlib.sha256(f"{account_id}:{reason}".encode()).digest()
        earlier = None if ours is None else await job.by_key(tx, account_id, ours)
        if earlier is not None and earlier.organization_id == who.organization_id:
            if earlier.request_hash != said:
                raise KeyReused
            return Revoked(earlier, made=False)
        now = (await administration.reached(tx, who, account_id, role.RESET)).now
        if ours is None:
            raise KeyRequired
        # Once more, now that the account is held: the same wish may have come twice at once.
        earlier = await job.by_key(tx, account_id, ours)
        if earlier is not None:
            if earlier.request_hash != said:
                raise KeyReused
            return Revoked(earlier, made=False)
        ended = await sign_out.everywhere(
            tx,
            Person(account_id, who.organization_id),
            keys=keys,
            actor=actor,
            by="administrator",
            notice="session.revoked_everywhere",
            params={},
            private={"reason": reason},
            now=now,
            idempotency_key=ours,
            request_hash=said,
        )
        return Revoked(ended.job, made=True)
