"""The accounts of an organization, as its administrators see them, make them, shut them and give them roles."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from api.operations import access_pass, administration, reset_link
from api.operations.administration import Target
from api.passwords import Hasher
from models import (
    account,
    address,
    approval,
    delivery,
    device,
    event,
    job,
    organization,
    password,
    re_sign_in,
    recovery,
    recovery_code,
    role,
    roster,
    sign_out,
    throttle,
)
from models import reset_link as links
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import DomainError, Invalid, LastAdministrator, NotFound, PreconditionFailed, SignInNameTaken
from models.event import Actor
from models.job import Words
from models.notification import Severity
from models.role import Role
from models.sealed import Keyring
from models.session import Who
from models.vocabulary import JobState, Outcome, Reason


@dataclass(frozen=True, slots=True)
class Known:
    """An account, as administrators see it."""

    row: Any
    roles: tuple[str, ...]

    @property
    def mark(self) -> str:
        """The ETag: of all that they may change."""
        return mark_of(self.row.id, self.row, self.roles)


def mark_of(account_id: UUID, row: Any, roles: Collection[str]) -> str:
    """Of an account, or of a membership with what it says of its account."""
    said = [str(account_id), row.display_name, sorted(roles), str(row.blocked_at), str(row.deleted_at)]
    return f'"{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}"'


@dataclass(frozen=True, slots=True)
class Created:
    known: Known
    until: datetime
    """So long the link works, or the password."""
    password: str | None = field(default=None, repr=False)
    """Told once; None: a link is on its way."""


async def page(db: Database, who: Who, text: str, *, deleted: bool, after: UUID | None, limit: int) -> list[Known]:
    """Of the administrator's own organization. Raises Invalid where `after` is none of its accounts."""
    async with db.read() as tx:
        now = await tx.now()
        last = None if after is None else await account.at_home(tx, who.organization_id, after, now)
        if after is not None and last is None:
            raise Invalid(errors=[{"field": "cursor", "rule": "cursor"}])
        rows = await account.page(tx, who.organization_id, text, deleted=deleted, after=last, limit=limit, now=now)
        return await _with_roles(tx, who.organization_id, rows)


async def show(db: Database, who: Who, account_id: UUID) -> Known:
    async with db.read() as tx:
        return await _known(tx, who.organization_id, account_id, await tx.now())


async def create(
    db: Database,
    hasher: Hasher,
    keys: Keyring,
    throttle_key: bytes,
    who: Who,
    *,
    sign_in_name: str,
    display_name: str,
    language: str,
    actor: Actor,
) -> Created | DomainError:
    """Whoever has an address is sent a link to choose a password; for anybody else one is made. No role comes along."""
    names = roster.read_names(sign_in_name, display_name)
    async with db.write() as tx:
        await administration.must_be(tx, who, role.CREATORS)
    made, made_hash = None, None
    if address.mail_address(names.sign_in_name) is None:
        made = recovery_code.invent(reset_link.GROUPS)
        with hasher.place() as room:
            made_hash = await room.hash(made)
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.CREATORS)
        refused = await roster.why_not_named(tx, who.organization_id, names.sign_in_name, now)
        if refused is not None:
            return refused
        made_of = await roster.make_many(
            tx,
            keys,
            [roster.New(names, language, made_hash)],
            organization_id=who.organization_id,
            made_by=who.account_id,
            invite=made is None,
            by="link" if made is None else "temporary_password",
            actor=actor,
            now=now,
        )
        if not made_of:
            raise SignInNameTaken
        held = await account.lock(tx, made_of[names.sign_in_name])
        # Strangers may have guessed at the name before anybody had it.
        counter = throttle.key_of_name(names.sign_in_name, throttle_key)
        await password.open_road(tx, held, counter)
        await recovery.allow_again(tx, held, counter)
        return Created(Known(held, ()), roster.lasts_until(now, by_link=made is None), made)


# Shut and opened again


async def block(db: Database, keys: Keyring, who: Who, account_id: UUID, *, reason: str, actor: Actor) -> Known:
    """At once: sessions, windows and links end, and what no device has been handed yet. Blocked twice is blocked."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.SENSITIVE)
        if target.held.blocked_at is None:
            orphaned = await _leaves_without_a_global(tx, who, target)
            await account.block(tx, account_id, target.now)
            await shut(tx, keys, target.held, "blocked", actor=actor, now=target.now)
            await _record(tx, who, account_id, "access:block", actor=actor, now=target.now, reason=reason)
            await _tell(tx, keys, target, "account.blocked")
            await _tell_orphaned(tx, keys, orphaned, target, actor=actor)
        return await _known(tx, who.organization_id, account_id, target.now)


async def unblock(db: Database, keys: Keyring, who: Who, account_id: UUID, *, actor: Actor) -> Known:
    """Nothing that ended comes back."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.SENSITIVE)
        if target.held.blocked_at is not None:
            await account.unblock(tx, account_id)
            await _record(tx, who, account_id, "access:unblock", actor=actor, now=target.now)
            await _tell(tx, keys, target, "account.unblocked")
        return await _known(tx, who.organization_id, account_id, target.now)


async def unlock(
    db: Database, keys: Keyring, throttle_key: bytes, who: Who, account_id: UUID, *, reason: str, actor: Actor
) -> None:
    """Wrong passwords that shut the road count no more, in any browser. The password and every session stay."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.RESET)
        await password.open_road(tx, target.held, throttle.key_of_name(target.held.sign_in_name, throttle_key))
        await _record(tx, who, account_id, "password:unlock", actor=actor, now=target.now, reason=reason)
        await _tell(tx, keys, target, "account.unlocked_by_administrator")


async def delete(db: Database, keys: Keyring, who: Who, account_id: UUID, *, actor: Actor) -> None:
    """It can be restored for thirty days; its sign-in name stays taken. Deleted twice is deleted."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.SENSITIVE, deleted=True)
        if target.held.deleted_at is not None:
            return
        orphaned = await _leaves_without_a_global(tx, who, target)
        await account.delete(tx, target.held, target.now)
        await shut(tx, keys, target.held, "deleted", actor=actor, now=target.now)
        await _record(tx, who, account_id, "life:delete", actor=actor, now=target.now)
        await _tell(tx, keys, target, "account.deleted")
        await _tell_orphaned(tx, keys, orphaned, target, actor=actor)


async def restore(db: Database, keys: Keyring, who: Who, account_id: UUID, *, actor: Actor) -> Known:
    """With its roles, its devices and its password; whoever was blocked before stays so."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.SENSITIVE, deleted=True)
        if target.held.deleted_at is not None:
            await account.restore(tx, target.held)
            await _record(tx, who, account_id, "life:restore", actor=actor, now=target.now)
            await _tell(tx, keys, target, "account.restored")
        return await _known(tx, who.organization_id, account_id, target.now)


async def shut(tx: Transaction, keys: Keyring, held: Any, why: str, *, actor: Actor, now: datetime) -> None:
    """Whatever lives or waits of an account that was blocked. `held`: its row, locked."""
    account_id = held.id
    generation = await sign_out.end_all(tx, held, why, actor=actor, now=now)
    await links.end_all(tx, account_id, now)
    whose = Person(account_id, held.organization_id)
    await access_pass.end_all(tx, whose, generation, actor=actor, now=now)
    outcome = Outcome(JobState.CANCELLED, Reason.ACCOUNT_BLOCKED)
    places = await organization.places_of(tx, account_id)
    await approval.end_of_account(tx, account_id, places, Reason.ACCOUNT_BLOCKED, actor=actor, now=now)
    for theirs in [one for place in places for one in await device.names_of_account(tx, place, account_id)]:
        # What a worker holds at this moment ends with its next run; what a device has is left to its answer.
        for asked in await job.open_of_device(tx, theirs.id, hold=True, waiting=False):
            if asked.is_cancellable:
                words = Words("", theirs.name)
                await job.settle(
                    tx, asked, outcome, actor=actor, words=words, keys=keys, unread_passcode=timedelta(0), now=now
                )


# Roles


async def grant(
    db: Database,
    keys: Keyring,
    who: Who,
    account_id: UUID,
    roles: Collection[Role],
    *,
    reason: str,
    matches: Callable[[str], bool],
    actor: Actor,
) -> Known:
    """These roles and no others, from the next request on. Nobody changes their own. Raises PreconditionFailed."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.GRANT, guests=True)
        if not matches(Known(target.held, target.roles).mark):
            raise PreconditionFailed
        wanted = tuple(one.value for one in Role if one in roles)
        if set(wanted) != set(target.roles):
            if Role.GLOBAL_ADMINISTRATOR not in wanted:
                await _must_leave_a_global(tx, who, target)
            await organization.set_roles(tx, who.organization_id, account_id, wanted)
            await re_sign_in.cancel_live(tx, account_id, who.organization_id, "role_changed", target.now, actor=actor)
            facts = {"before": sorted(target.roles), "after": sorted(wanted)}
            await _record(tx, who, account_id, "roles:change", actor=actor, now=target.now, reason=reason, facts=facts)
            ours = target.held.organization_id == who.organization_id
            key, params = "account.roles_changed", {}
            if not ours:
                key, params = "organization.roles_changed", {"organization": who.organization_name}
            await _tell(tx, keys, target, key, params, not_me=True)
        return Known(target.held, wanted)


async def _must_leave_a_global(tx: Transaction, who: Who, target: Target) -> None:
    """Somebody must be left who can give roles. Raises LastAdministrator."""
    if Role.GLOBAL_ADMINISTRATOR not in target.roles or target.held.blocked_at is not None:
        return
    if not await _another_global(tx, who.organization_id):
        raise LastAdministrator


async def _another_global(tx: Transaction, organization_id: UUID) -> bool:
    """Whether one of its global administrators can go. One at a time in an organization: it is held until commit."""
    await organization.hold_roles(tx, organization_id)
    return await organization.count_active(tx, organization_id, Role.GLOBAL_ADMINISTRATOR) > 1


async def _leaves_without_a_global(tx: Transaction, who: Who, target: Target) -> list[UUID]:
    """Whoever is shut out at home is so everywhere: the other organizations that lose their last global administrator.

    None of them may keep a home from shutting out its own (decision 0017), but each is counted like home, and held: of
    two who go at once, one at home there and one a guest, the other organization's own administrator stays. Raises
    LastAdministrator where it is home that would lose its last.
    """
    if target.held.blocked_at is not None:
        return []
    orphaned = []
    for place in await organization.ruled_by(tx, target.held.id):
        if await _another_global(tx, place):
            continue
        if place == who.organization_id:
            raise LastAdministrator
        orphaned.append(place)
    return orphaned


async def _tell_orphaned(
    tx: Transaction, keys: Keyring, places: Sequence[UUID], target: Target, *, actor: Actor
) -> None:
    """Each organization's own record, and whoever has a say there. By mail alone: their accounts are not held, and
    could not be any more without a wait that nobody might end. Who did it is another organization's affair."""
    for place in places:
        await event.record(
            tx,
            organization_id=place,
            action="organization:administration:orphan",
            actor=Actor(actor.kind, request_id=actor.request_id),
            now=target.now,
            account_id=target.held.id,
        )
        name = await organization.name_of(tx, place)
        for one in await organization.administrators_of(tx, place):
            if one != target.held.id:
                await delivery.mail_notice(
                    tx,
                    keys=keys,
                    account=Person(one, place),
                    key="organization.ownerless",
                    params={"organization": name},
                    now=target.now,
                    not_me=False,
                )


# What each has in common


async def _known(tx: Transaction, organization_id: UUID, account_id: UUID, now: datetime) -> Known:
    row = await account.at_home(tx, organization_id, account_id, now)
    if row is None:
        raise NotFound
    return Known(row, await organization.roles_of(tx, organization_id, account_id))


async def _with_roles(tx: Transaction, organization_id: UUID, rows: Sequence[Any]) -> list[Known]:
    roles = await organization.roles_of_all(tx, organization_id, [row.id for row in rows])
    return [Known(row, roles.get(row.id, ())) for row in rows]


async def _record(
    tx: Transaction,
    who: Who,
    account_id: UUID,
    what: str,
    *,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"account:{what}",
        actor=actor,
        now=now,
        account_id=account_id,
        facts=facts,
        private=None if reason is None else {"reason": reason},
    )


async def _tell(
    tx: Transaction,
    keys: Keyring,
    target: Target,
    key: str,
    params: Mapping[str, str] | None = None,
    *,
    not_me: bool = False,
) -> None:
    """By mail as well: whoever is shut out sees no flag."""
    await delivery.notify(
        tx,
        keys=keys,
        account=target.person,
        key=key,
        params=params or {},
        severity=Severity.WARNING,
        now=target.now,
        not_me=not_me,
    )
