"""An administrator starts a reset, and the person ends it: nobody else ever knows the password.

The person gets a link by mail, good for one choice. Who has no address that we could write to is given a password that
we made, which the administrator is shown once and hands over; it opens nothing but choosing another.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.operations import administration
from api.operations.recovery import broken_rules, tell_administrators
from api.passwords import Hasher
from models import (
    account,
    address,
    event,
    notification,
    organization,
    password,
    recovery,
    recovery_code,
    reset_link,
    role,
    throttle,
)
from models.address import Letterbox
from models.database import Database, Transaction
from models.errors import DomainError, NotAllowed, NotFound, PasswordRejected
from models.event import Actor
from models.notification import Severity
from models.password_policy import judge
from models.sealed import Keyring
from models.session import Who, hash_token
from models.settings import TEMPORARY_PASSWORD
from models.vocabulary import new_id

START: Final = "account:password:start_reset"
GROUPS: Final = 4
"""Of four signs: 80 bits."""


@dataclass(frozen=True, slots=True)
class Started:
    expires_at: datetime
    password: str | None = field(default=None, repr=False)
    """Told once; None: a link is on its way."""


async def start(
    db: Database,
    hasher: Hasher,
    keys: Keyring,
    throttle_key: bytes,
    who: Who,
    account_id: UUID,
    *,
    reason: str,
    end_sessions: bool,
    actor: Actor,
) -> Started:
    async with db.write() as tx:
        held, now = await _whose(tx, who, account_id)
        letterbox = await address.of_account(tx, held.id, keys)
        if letterbox.settled(now):
            return await _send(
                tx, keys, who, held, letterbox, reason=reason, end_sessions=end_sessions, actor=actor, now=now
            )
    made = recovery_code.invent(GROUPS)
    with hasher.place() as room:
        made_hash = await room.hash(made)
    async with db.write() as tx:
        held, now = await _whose(tx, who, account_id)
        until = now + TEMPORARY_PASSWORD
        await password.replace(
            tx,
            held,
            made_hash,
            keys=keys,
            why="administrator_reset",
            actor=actor,
            now=now,
            told="password.temporary",
            until=until,
        )
        # It would open nothing where strangers have shut the road.
        counter = throttle.key_of_name(held.sign_in_name, throttle_key)
        await password.open_road(tx, held, counter)
        await recovery.allow_again(tx, held, counter)
        await _record(tx, held, reason, {"by": "temporary_password", "end_sessions": True}, actor=actor, now=now)
        return Started(until, made)


async def _whose(tx: Transaction, who: Who, account_id: UUID) -> tuple[Any, datetime]:
    target = await administration.reached(tx, who, account_id, role.RESET)
    if target.held.blocked_at is not None:
        raise NotAllowed
    return target.held, target.now


async def _send(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    held: Any,
    letterbox: Letterbox,
    *,
    reason: str,
    end_sessions: bool,
    actor: Actor,
    now: datetime,
) -> Started:
    to = letterbox.settled(now)
    until = await reset_link.mail(tx, keys, held, to, issued_by=who.account_id, key="password.reset_link", now=now)
    await password.start_reset(tx, held, end_sessions=end_sessions, actor=actor, now=now)
    await notification.tell(
        tx,
        organization_id=held.organization_id,
        account_id=held.id,
        subject_id=new_id(now),
        key="password.reset_started",
        params={},
        severity=Severity.WARNING,
        now=now,
    )
    await _record(tx, held, reason, {"by": "link", "end_sessions": end_sessions}, actor=actor, now=now)
    return Started(until)


async def _record(
    tx: Transaction, held: Any, reason: str, facts: dict[str, Any], *, actor: Actor, now: datetime
) -> None:
    await event.record(
        tx,
        organization_id=held.organization_id,
        action=START,
        actor=actor,
        now=now,
        account_id=held.id,
        facts=facts,
        private={"reason": reason},
    )


async def choose(
    db: Database, hasher: Hasher, keys: Keyring, throttle_key: bytes, token: str, *, new: str, actor: Actor
) -> list[UUID] | DomainError:
    """Who is told of it, its owner first. The link is used up by a password that is taken, and by no other.

    Every session ends and nobody is signed in; a second factor is asked for as before. Raises NotFound.
    """
    async with db.write() as tx:
        held, now = await _linked(tx, token)
        about = await password.about(tx, held, now)
        before = await password.earlier(tx, held)
        roles = await organization.roles_of(tx, held.organization_id, held.id)
        privileged = bool(roles) or held.is_operator
        watchers = await organization.administrators_of(tx, held.organization_id) if privileged else []
    # Only now: whoever has no link takes nobody's place.
    with hasher.place() as room:
        broken = await broken_rules(room, new, judge(new, about), before)
        if broken:
            return PasswordRejected(reasons=[{"rule": one.rule.value, **one.facts} for one in broken])
        new_hash = await room.hash(new)
    async with db.write() as tx:
        for one in sorted({held.id, *watchers}):  # in one order, so that two who reset at once both can
            await account.lock(tx, one)
        held, now = await _linked(tx, token)
        acting = replace(actor, kind="account", id=held.id)
        await password.replace(
            tx, held, new_hash, keys=keys, why="administrator_reset", actor=acting, now=now, told="password.reset"
        )
        counter = throttle.key_of_name(held.sign_in_name, throttle_key)
        await password.open_road(tx, held, counter)
        await recovery.allow_again(tx, held, counter)
        await tell_administrators(tx, keys, held, watchers, now=now)
        return [held.id, *watchers]


async def _linked(tx: Transaction, token: str) -> tuple[Any, datetime]:
    """Whose link it is, and now, while it leads anywhere. Raises NotFound."""
    found = await reset_link.by_token(tx, hash_token(token))
    held = None if found is None else await account.lock(tx, found.account_id)
    now = await tx.now()
    # Looked at again: whoever held the account may have used it.
    found = await reset_link.by_token(tx, hash_token(token))
    if held is None or found is None or not found.lives(now) or held.blocked_at is not None:
        raise NotFound
    return held, now
