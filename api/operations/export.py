"""A file of what the house knows of a person: asked for by them, made by a job, read by them alone."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from api.operations.session import hold_account
from models import event, export, job, session, throttle
from models.database import Database
from models.errors import (
    ActionInProgress,
    DomainError,
    ExportGone,
    ExportNotReady,
    KeyRequired,
    KeyReused,
    NotFound,
    NotSignedIn,
    ProofRequired,
    TooManyTries,
)
from models.event import Actor
from models.export import Export
from models.job import Job
from models.sealed import Keyring
from models.session import Who
from models.settings import FRESH_PROOF
from models.vocabulary import Queue, Task, new_id

_WISH: Final = hashlib.sha256(Task.EXPORT.encode()).digest()


@dataclass(frozen=True, slots=True)
class Asked:
    job: Job
    made: bool
    """Not: the earlier answer to the same key."""


async def ask(db: Database, who: Who, *, key: str | None, actor: Actor) -> Asked | DomainError:
    """One at a time, and two a day. Raises KeyRequired, KeyReused, ActionInProgress."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        if generation != who.session.generation:
            raise NotSignedIn
        if key is None:
            raise KeyRequired
        earlier = await job.by_key(tx, who.account_id, key)
        if earlier is not None:
            if earlier.request_hash != _WISH or earlier.organization_id != who.organization_id:
                raise KeyReused
            return Asked(earlier, made=False)
        under_way = await job.open_task(tx, who.organization_id, who.account_id, Task.EXPORT)
        if under_way is not None:
            raise ActionInProgress(job_id=under_way)
        wait = await throttle.take(tx, throttle.EXPORTS, str(who.account_id), now)
        if wait is not None:
            return TooManyTries(wait)
        made = await job.ask(
            tx,
            job_id=new_id(now),
            organization_id=who.organization_id,
            account_id=who.account_id,
            device_id=None,
            act=Task.EXPORT,
            queue=Queue.BULK,
            by="person",
            idempotency_key=key,
            request_hash=_WISH,
            now=now,
        )
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="account:export:ask",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("job", made.id),
        )
        return Asked(made, made=True)


async def page(db: Database, who: Who) -> list[Export]:
    async with db.read() as tx:
        now = await tx.now()
        mine = await export.of_account(tx, who.organization_id, who.account_id)
        return [one for one in mine if not one.is_ready or one.can_be_read(now)]


async def read(db: Database, who: Who, job_id: UUID, *, actor: Actor) -> Export:
    """Its parts follow. Each reading is in the record. Raises NotFound, ProofRequired, ExportNotReady, ExportGone."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        held = await job.by_id(tx, job_id)
        mine = held is not None and (held.organization_id, held.account_id) == (who.organization_id, who.account_id)
        if held is None or not mine or held.kind is not Task.EXPORT:
            raise NotFound
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(generation, now):
            raise NotSignedIn
        if not asking.is_fresh(now):
            raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()), strength=asking.strength)
        if held.is_open:
            raise ExportNotReady(state=held.state)
        made = await export.of_job(tx, job_id)
        if made is None or not made.can_be_read(now):
            raise ExportGone
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="account:export:read",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("job", job_id),
        )
        return made


async def parts(db: Database, keys: Keyring, made: Export) -> AsyncIterator[bytes]:
    """One at a time. Where one has gone meanwhile the answer ends short of its length, and whoever reads sees that."""
    for number in range(made.parts):
        async with db.read() as tx:
            content = await export.part(tx, keys, made, number)
        if content is None:
            return
        yield content
