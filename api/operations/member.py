"""People from elsewhere who belong to an organization, as its administrators see them: the list, ending a membership,
and taking back that one ended."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from api.operations import administration
from api.operations.account import mark_of
from models import account, delivery, event, leaving, organization, role
from models.database import Database
from models.delivery import Person
from models.errors import AlreadyMember, LastAdministrator, NoLongerRestorable, NotAllowed, NotFound
from models.event import Actor
from models.job import Job
from models.leaving import Former
from models.notification import Severity
from models.sealed import Keyring
from models.session import Who


@dataclass(frozen=True, slots=True)
class Guest:
    """`mark`: the ETag for an edit of their roles."""

    row: Any
    mark: str


@dataclass(frozen=True, slots=True)
class Restored:
    row: Any
    account_id: UUID


async def page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[Guest]:
    async with db.read() as tx:
        found = await organization.guests(tx, who.organization_id, after=after, limit=limit)
    return [Guest(row, mark_of(row.account_id, row, row.roles)) for row in found]


async def former_page(db: Database, who: Who, *, after: UUID | None, limit: int) -> list[Any]:
    """Those that can be taken back, and those that could lately."""
    async with db.read() as tx:
        return await leaving.page(tx, who.organization_id, after=after, limit=limit)


async def remove(db: Database, keys: Keyring, who: Who, account_id: UUID, *, reason: str, actor: Actor) -> Job:
    """As if they had left, whether people may leave by themselves or not. Whoever is at home here has no other place.

    Raises what `administration.reached` does, and LastAdministrator.
    """
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.SENSITIVE, guests=True)
        if target.held.organization_id == who.organization_id:
            raise NotFound
        if await leaving.owns_alone(tx, who.organization_id, account_id):
            raise LastAdministrator
        return await leaving.leave(
            tx,
            target.held,
            who.organization_id,
            name=who.organization_name,
            by="administrator",
            keys=keys,
            actor=actor,
            now=target.now,
            notice="organization.removed",
            params={},
            reason=reason,
        )


async def restore(db: Database, keys: Keyring, who: Who, membership_id: UUID, *, actor: Actor) -> Former:
    """Take back that somebody left, or was removed: the same membership with the roles it had.

    Devices, sessions and what was asked of devices stay ended. Raises NoLongerRestorable, AlreadyMember.
    """
    async with db.write() as tx:
        found = await leaving.by_id(tx, who.organization_id, membership_id)
        if found is None:
            raise NotFound
        for one in sorted((who.account_id, found.account_id)):  # in one order, as everybody who acts on somebody
            await account.lock(tx, one)
        await administration.must_be(tx, who, role.ACTORS)
        mine = await organization.roles_of(tx, who.organization_id, who.account_id)
        gone = await leaving.by_id(tx, who.organization_id, membership_id)
        held = await account.lock(tx, found.account_id)
        if gone is None or held is None or held.deleted_at is not None:
            raise NotFound
        if not role.may(role.SENSITIVE, mine, gone.roles):
            raise NotAllowed
        now = await tx.now()
        if not gone.is_restorable(now):
            raise NoLongerRestorable
        if await organization.is_member(tx, who.organization_id, gone.account_id):
            raise AlreadyMember
        await leaving.take_back(tx, gone)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="account:membership:restore",
            actor=actor,
            now=now,
            account_id=gone.account_id,
            subject=("membership", gone.id),
            facts={"roles": sorted(gone.roles)},
        )
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(held.id, held.organization_id),
            key="organization.restored",
            params={"organization": who.organization_name},
            now=now,
            severity=Severity.INFO,
            not_me=False,
        )
        return gone
