"""Security information: the methods beside the password, added, named, preferred and removed by their person.

Each change takes a fresh proof of the best that the person has. What was begun is confirmed in the session that began
it; the proof that began it is the proof.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import pyotp

from api.operations import session as sign_ins
from models import delivery, event, place, re_sign_in, session, verification
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import CodeRefused, DomainError, NoDefault, NotFound, PreconditionFailed, ProofRequired
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import Who
from models.settings import FRESH_PROOF
from models.verification import STANDING, Verification, VerificationKind
from models.vocabulary import Secret, new_id

SECRET_BYTES: Final = 20
"""160 bits (RFC 4226, section 4)."""


@dataclass(frozen=True, slots=True)
class TotpBegun:
    """Shown once: what an authenticator app is given."""

    id: UUID
    label: str
    expires_at: datetime
    uri: str = field(repr=False)
    key: str = field(repr=False)


async def page(db: Database, who: Who) -> list[Verification]:
    async with db.read() as tx:
        now = await tx.now()
        return [one for one in await verification.of_account(tx, who.account_id) if one.lives(now)]


async def show(db: Database, who: Who, method_id: UUID) -> Verification:
    async with db.read() as tx:
        return await _mine(tx, who, method_id, await tx.now())


async def begin_totp(db: Database, keys: Keyring, who: Who, *, label: str, actor: Actor) -> TotpBegun:
    """A newer one takes the place of an older one that was not confirmed."""
    async with db.write() as tx:
        methods, now = await _begin(tx, who)
        verification.must_have_room(methods, VerificationKind.TOTP, label)
        await verification.drop_pending(tx, who.account_id, VerificationKind.TOTP)
        method_id, key = new_id(now), pyotp.random_base32(SECRET_BYTES * 8 // 5)
        await tx.execute(
            verification.new_totp(
                verification_id=method_id,
                organization_id=who.organization_id,
                account_id=who.account_id,
                label=label,
                secret=Secret(key.encode()),
                keys=keys,
                is_default=False,
                begun_in=who.session.id,
                now=now,
            )
        )
        await _record(tx, who, "begin", method_id, VerificationKind.TOTP, actor=actor, now=now)
    uri = pyotp.TOTP(key).provisioning_uri(name=who.sign_in_name, issuer_name=who.organization_name)
    return TotpBegun(method_id, label, now + verification.PENDING, uri, key)


async def confirm(
    db: Database, keys: Keyring, who: Who, method_id: UUID, *, code: str, actor: Actor
) -> Verification | DomainError:
    """The code shows that the app has the secret; its step is spent, so that it opens nothing again."""
    async with db.write() as tx:
        _, now = await sign_ins.hold_account(tx, who)
        pending = await verification.by_id(tx, who.account_id, method_id)
        if pending is None or not pending.is_pending(now) or pending.begun_in != who.session.id:
            raise NotFound
        step = pending.step_of(code, keys, now)
        if step is None:
            return await _refuse(tx, who, pending, pending.clock_off(code, keys, now), actor=actor, now=now)
        methods = await verification.of_account(tx, who.account_id)
        verification.must_have_room(methods, pending.kind, pending.label)
        await verification.activate(tx, pending, now, last_step=step)
        return await _added(tx, keys, who, pending, actor=actor, now=now)


async def change(
    db: Database,
    keys: Keyring,
    who: Who,
    method_id: UUID,
    *,
    label: str | None,
    default: bool,
    matches: Callable[[str], bool],
    actor: Actor,
) -> Verification:
    async with db.write() as tx:
        methods, now = await _begin(tx, who)
        method = await _mine(tx, who, method_id, now)
        if not matches(method.mark):
            raise PreconditionFailed
        if label is not None and label != method.label:
            verification.must_be_free([one for one in methods if one.id != method.id], label)
            await verification.relabel(tx, method, label)
            await _record(tx, who, "rename", method.id, method.kind, actor=actor, now=now)
        if default and not method.is_default:
            if method.kind not in STANDING:
                raise NoDefault
            await verification.make_default(tx, method)
            await _default_changed(tx, keys, who, method, actor=actor, now=now)
        return await _mine(tx, who, method_id, now)


async def remove(db: Database, keys: Keyring, who: Who, method_id: UUID, *, actor: Actor) -> None:
    """Final. Sessions that were proven with it end; the one that asks has just proven itself."""
    async with db.write() as tx:
        methods, now = await _begin(tx, who)
        method = await _mine(tx, who, method_id, now)
        verification.must_leave_enough(methods, method)
        await verification.revoke(tx, method)
        for held in await session.proven_with(tx, who.account_id, method.id, who.session.generation):
            if held.id != who.session.id and await session.end(tx, held.id, now):
                await sign_ins.ended(tx, held, actor=actor, now=now)
        await _record(tx, who, "remove", method.id, method.kind, actor=actor, now=now)
        await _changed(tx, keys, who, method, key="security.method_removed", actor=actor, now=now)
        heir = await verification.settle_default(tx, who.account_id)
        if heir is not None:
            await _default_changed(tx, keys, who, heir, actor=actor, now=now)


async def _begin(tx: Transaction, who: Who) -> tuple[list[Verification], datetime]:
    """The person's methods, held still, and the time; with the proof that every change takes."""
    generation, now = await sign_ins.hold_account(tx, who)
    methods = await verification.of_account(tx, who.account_id)
    held = await session.by_id(tx, who, who.session.id)
    strength = verification.best_strength(methods)
    if held is None or not held.lives(generation, now) or not held.is_fresh(now) or held.strength < strength:
        raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()), strength=strength)
    return methods, now


async def _mine(tx: Transaction, who: Who, method_id: UUID, now: datetime) -> Verification:
    found = await verification.by_id(tx, who.account_id, method_id)
    if found is None or not found.lives(now):
        raise NotFound
    return found


async def _refuse(
    tx: Transaction, who: Who, pending: Verification, clock_off: int | None, *, actor: Actor, now: datetime
) -> DomainError:
    """Counted, so what was counted must stay: the refusal is given back, not raised."""
    over = await verification.count_wrong(tx, pending)
    left = 0 if over else verification.WRONG_CODES - pending.tries - 1
    await _record(tx, who, "confirm", pending.id, pending.kind, actor=actor, now=now, reason=CodeRefused.code)
    facts = {} if clock_off is None else {"clock_off_seconds": clock_off}
    return CodeRefused(tries_left=left, **facts)


async def _added(
    tx: Transaction, keys: Keyring, who: Who, added: Verification, *, actor: Actor, now: datetime
) -> Verification:
    await _record(tx, who, "add", added.id, added.kind, actor=actor, now=now)
    await _changed(tx, keys, who, added, key="security.method_added", actor=actor, now=now)
    # Being the first, it is the default of itself: that is no change of a default.
    await verification.settle_default(tx, who.account_id)
    return await _mine(tx, who, added.id, now)


async def _default_changed(
    tx: Transaction, keys: Keyring, who: Who, method: Verification, *, actor: Actor, now: datetime
) -> None:
    await _record(tx, who, "default", method.id, method.kind, actor=actor, now=now)
    await _changed(tx, keys, who, method, key="security.default_changed", actor=actor, now=now)


async def _changed(
    tx: Transaction, keys: Keyring, who: Who, method: Verification, *, key: str, actor: Actor, now: datetime
) -> None:
    """What every change of methods brings with it: windows close, and the person is told."""
    await re_sign_in.cancel_live(tx, who.account_id, None, "methods_changed", now, actor=actor)
    await delivery.notify(
        tx,
        keys=keys,
        account=Person(who.account_id, who.organization_id),
        key=key,
        params={"method": method.label, "kind": method.kind.value, **place.of(actor)},
        severity=Severity.INFO,
        now=now,
    )


async def _record(
    tx: Transaction,
    who: Who,
    verb: str,
    method_id: UUID,
    kind: VerificationKind,
    *,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
) -> None:
    await event.record(
        tx,
        organization_id=who.organization_id,
        action=f"account:verification:{verb}",
        actor=actor,
        now=now,
        outcome="success" if reason is None else "failure",
        reason=reason,
        account_id=who.account_id,
        subject=("verification", method_id),
        facts={"kind": kind.value},
    )
