"""Security information: the methods beside the password, added, named, preferred and removed by their person.

Each change takes a fresh proof of the best that the person has. What was begun is confirmed in the session that began
it; the proof that began it is the proof.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import pyotp

from api.operations import session as sign_ins
from api.operations import told
from api.passwords import Hasher
from models import (
    access_pass,
    browser,
    contact,
    passkey,
    re_sign_in,
    recovery,
    recovery_code,
    sent_code,
    session,
    verification,
)
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import (
    CodeRefused,
    DomainError,
    LastMethod,
    NoDefault,
    NotFound,
    PreconditionFailed,
    ProofRequired,
)
from models.event import Actor
from models.sealed import Keyring, SealBroken
from models.sent_code import Aim, Purpose
from models.session import Who
from models.settings import FRESH_PROOF, NOT_ME_LINK
from models.verification import NAMED, STANDING, Use, Verification, VerificationKind
from models.vocabulary import Secret, new_id

ADMINISTRATORS_STRENGTH: Final = 2
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


async def page(db: Database, keys: Keyring, who: Who) -> list[tuple[Verification, int | None]]:
    """Each with how many codes are left, where it is codes."""
    async with db.read() as tx:
        now = await tx.now()
        methods = [one for one in await verification.of_account(tx, who.account_id) if one.lives(now)]
        return [(one, await _left(tx, one)) for one in await contact.with_hints(tx, keys, methods)]


async def show(db: Database, keys: Keyring, who: Who, method_id: UUID) -> tuple[Verification, int | None]:
    async with db.read() as tx:
        found = await _mine(tx, who, method_id, await tx.now())
        return await _shown(tx, keys, found), await _left(tx, found)


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
        await told.record(tx, who, "begin", method_id, VerificationKind.TOTP, actor=actor, now=now)
    uri = pyotp.TOTP(key).provisioning_uri(name=who.sign_in_name, issuer_name=who.organization_name)
    return TotpBegun(method_id, label, now + verification.PENDING, uri, key)


async def confirm(
    db: Database, keys: Keyring, who: Who, method_id: UUID, *, code: str, server_key: bytes, actor: Actor
) -> Verification | DomainError:
    """The code shows that the app has the secret; its step is spent, so that it opens nothing again.

    Or that the person reads what goes to the address.
    """
    async with db.write() as tx:
        _, now = await sign_ins.hold_account(tx, who)
        pending = await verification.by_id(tx, who.account_id, method_id)
        if pending is None or not pending.is_pending(now) or pending.begun_in != who.session.id:
            raise NotFound
        if pending.kind in contact.KINDS:
            return await _confirm_contact(tx, keys, who, pending, code, server_key, actor=actor, now=now)
        if pending.kind is not VerificationKind.TOTP:
            raise NotFound
        step = pending.step_of(code, keys, now)
        if step is None:
            return await _refuse(tx, who, pending, pending.clock_off(code, keys, now), actor=actor, now=now)
        methods = await verification.of_account(tx, who.account_id)
        verification.must_have_room(methods, pending.kind, pending.label)
        await verification.activate(tx, pending, now, last_step=step)
        return await added(tx, keys, who, pending, actor=actor, now=now)


async def _confirm_contact(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    pending: Verification,
    code: str,
    server_key: bytes,
    *,
    actor: Actor,
    now: datetime,
) -> Verification | DomainError:
    """A code that was sent there has come back. Where it replaces another, that one goes in the same breath."""
    tried = await sent_code.spend(
        tx, server_key=server_key, aim=Aim(Purpose.ENROL, pending.id, pending.id), code=code, now=now
    )
    if not tried.fits:
        if not tried.left:
            await verification.drop_pending(tx, who.account_id, pending.kind)
        return await _code_refused(tx, who, pending, tried.left, actor=actor, now=now)
    new = await contact.of_method(tx, pending.id)
    if new is None:
        raise NotFound
    await contact.must_have_room(tx, new)
    methods = await verification.of_account(tx, who.account_id)
    replaced = next((one for one in methods if one.id == new.replaces), None)
    verification.must_have_room([one for one in methods if one is not replaced], pending.kind, pending.label)
    if replaced is not None:
        await _take_away(tx, keys, who, replaced, by=pending.id, actor=actor, now=now)
    await verification.activate(tx, pending, now)
    if replaced is not None and replaced.is_default:
        # The same default, at another address.
        await verification.make_default(tx, pending)
    active = await added(tx, keys, who, pending, actor=actor, now=now)
    # Last: the notice of it goes to all the other addresses.
    await contact.confirm(tx, new, now)
    return await _shown(tx, keys, active)


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
) -> tuple[Verification, int | None]:
    async with db.write() as tx:
        methods, now = await _begin(tx, who)
        method = await _mine(tx, who, method_id, now)
        if not matches(method.mark):
            raise PreconditionFailed
        if label is not None and label != method.label:
            verification.must_be_free([one for one in methods if one.id != method.id], label)
            await verification.relabel(tx, method, label)
            await told.record(tx, who, "rename", method.id, method.kind, actor=actor, now=now)
        if default and not method.is_default:
            if method.kind not in STANDING:
                raise NoDefault
            await verification.make_default(tx, method)
            await _default_changed(tx, keys, who, method, actor=actor, now=now)
        return await _shown(tx, keys, await _mine(tx, who, method_id, now)), await _left(tx, method)


async def remove(db: Database, keys: Keyring, who: Who, method_id: UUID, *, actor: Actor) -> None:
    """Final. Sessions that were proven with it end; the one that asks has just proven itself."""
    async with db.write() as tx:
        methods, now = await _begin(tx, who)
        method = await _mine(tx, who, method_id, now)
        verification.must_leave_enough(methods, method)
        await _must_still_lead_back(tx, who, method, now)
        await _take_away(tx, keys, who, method, actor=actor, now=now)
        heir = await verification.settle_default(tx, who.account_id)
        if heir is not None:
            await _default_changed(tx, keys, who, heir, actor=actor, now=now)


async def _must_still_lead_back(tx: Transaction, who: Who, removed: Verification, now: datetime) -> None:
    """Whoever could get back in without the password still can: another kind is added first. Raises LastMethod."""
    before = await recovery.standing(tx, await sign_ins.hold_row(tx, who), now)
    after = replace(before, methods=[one for one in before.methods if one.id != removed.id])
    if before.offered and before.registered and not after.registered:
        raise LastMethod(needed_for="recovery")


async def _take_away(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    method: Verification,
    *,
    actor: Actor,
    now: datetime,
    by: UUID | None = None,
) -> None:
    """`by`: what takes its place."""
    whose = Person(who.account_id, who.organization_id)
    generation, but = who.session.generation, who.session.id
    also = await take_off(tx, keys, whose, method, generation=generation, but=but, by=by, actor=actor, now=now)
    if method.kind in NAMED:
        await changed(tx, keys, whose, method, key="security.method_removed", also=also, by=by, actor=actor, now=now)
    elif method.kind is VerificationKind.RECOVERY_CODES:
        await changed(tx, keys, whose, method, key="security.recovery_codes_removed", actor=actor, now=now)
    else:
        await changed(tx, keys, whose, method, key="security.access_pass_ended", actor=actor, now=now)


async def take_off(
    tx: Transaction,
    keys: Keyring,
    whose: Person,
    method: Verification,
    *,
    generation: int,
    but: UUID | None,
    actor: Actor,
    now: datetime,
    by: UUID | None = None,
) -> tuple[str, ...]:
    """With all that rests on it. An address that goes must hear of it, too: it is given back, to be told.

    `by`: what takes its place. An address can be put back while its notice can be answered: that was not me.
    """
    gone = await contact.of_method(tx, method.id)
    also: tuple[str, ...] = ()
    if gone is not None and gone.kind is VerificationKind.EMAIL:
        with contextlib.suppress(SealBroken):  # what no key opens any more can still be removed
            also = (gone.open(keys),)
    if gone is None:
        await erase(tx, method, now)
    else:
        await verification.revoke(tx, method, now)
        await contact.set_aside(tx, method.id, by, now + NOT_ME_LINK)
        await sent_code.forget(tx, method.id)
    await end_what_stood_on(tx, whose, method, generation=generation, but=but, actor=actor, now=now)
    await told.record(tx, whose, "remove", method.id, method.kind, actor=actor, now=now)
    return also


async def erase(tx: Transaction, method: Verification, now: datetime) -> None:
    """The method, and all that was kept for it."""
    await verification.revoke(tx, method, now)
    await recovery_code.forget(tx, method.id)
    await access_pass.forget(tx, method.id)
    await passkey.forget(tx, method.id)
    await contact.forget(tx, method.id)
    await sent_code.forget(tx, method.id)


async def _begin(tx: Transaction, who: Who) -> tuple[list[Verification], datetime]:
    """The person's methods, held still, and the time; with the proof that every change takes."""
    methods = await must_be_proven(tx, who)
    return methods, await tx.now()


async def must_be_proven(tx: Transaction, who: Who) -> list[Verification]:
    """A fresh proof of the best that the person has; their account is held from here on. Raises ProofRequired."""
    generation, now = await sign_ins.hold_account(tx, who)
    methods = await verification.of_account(tx, who.account_id)
    held = await session.by_id(tx, who, who.session.id)
    strength = verification.strength_to_change(methods, () if held is None else held.methods)
    if held is None or not held.lives(generation, now) or not held.is_fresh(now) or held.proven_strength < strength:
        raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()), strength=strength)
    return methods


async def _shown(tx: Transaction, keys: Keyring, method: Verification) -> Verification:
    (shown,) = await contact.with_hints(tx, keys, [method])
    return shown


async def _left(tx: Transaction, method: Verification) -> int | None:
    return await recovery_code.left(tx, method.id) if method.kind is VerificationKind.RECOVERY_CODES else None


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
    facts = {} if clock_off is None else {"clock_off_seconds": clock_off}
    return await _code_refused(tx, who, pending, left, actor=actor, now=now, **facts)


async def _code_refused(
    tx: Transaction, who: Who, pending: Verification, left: int, *, actor: Actor, now: datetime, **facts: int
) -> DomainError:
    await told.record(tx, who, "confirm", pending.id, pending.kind, actor=actor, now=now, reason=CodeRefused.code)
    return CodeRefused(tries_left=left, **facts)


async def added(
    tx: Transaction, keys: Keyring, who: Who, added: Verification, *, actor: Actor, now: datetime
) -> Verification:
    await told.record(tx, who, "add", added.id, added.kind, actor=actor, now=now)
    if Use.MFA in added.usable_for:
        await changed(tx, keys, who, added, key="security.method_added", came=True, actor=actor, now=now)
    else:
        await changed(tx, keys, who, added, key="security.email_added", came=True, actor=actor, now=now)
    # Being the first, it is the default of itself: that is no change of a default.
    await verification.settle_default(tx, who.account_id)
    return await _mine(tx, who, added.id, now)


async def _default_changed(
    tx: Transaction, keys: Keyring, who: Who, method: Verification, *, actor: Actor, now: datetime
) -> None:
    await told.record(tx, who, "default", method.id, method.kind, actor=actor, now=now)
    await changed(tx, keys, who, method, key="security.default_changed", actor=actor, now=now)


async def changed(
    tx: Transaction,
    keys: Keyring,
    whose: Who | Person,
    method: Verification,
    *,
    key: str,
    actor: Actor,
    now: datetime,
    also: Sequence[str] = (),
    came: bool = False,
    by: UUID | None = None,
) -> None:
    """What every change of methods brings with it: windows close, and the person is told.

    `came`: it was not there before, and goes if that was somebody else. `by`: what took its place, and goes then.
    With neither it went, or is as it was: an address that went comes back.
    """
    account_id = whose.id if isinstance(whose, Person) else whose.account_id
    await re_sign_in.cancel_live(tx, account_id, None, "methods_changed", now, actor=actor)
    params = {"method": method.label, "kind": method.kind.value}
    method_id = method.id if came else by
    gone_id = method.id if method_id is None and method.kind in contact.KINDS else None
    await told.notify(
        tx,
        keys,
        whose,
        key=key,
        params=params,
        also=also,
        method_id=method_id,
        gone_id=gone_id,
        actor=actor,
        now=now,
    )


async def end_what_stood_on(
    tx: Transaction,
    whose: Person,
    method: Verification,
    *,
    generation: int,
    but: UUID | None,
    actor: Actor,
    now: datetime,
) -> None:
    """Sessions that were proven with a method end with it; the one that asks has just proven itself.

    Browsers that were remembered for it ask for a second factor again.
    """
    await browser.ask_again(tx, whose.id, method.id)
    for held in await session.proven_with(tx, whose.id, method.id, generation):
        if held.id != but and await session.end(tx, held.id, now):
            await sign_ins.ended(tx, held, actor=actor, now=now)


# Saved codes


async def make_codes(
    db: Database, hasher: Hasher, keys: Keyring, who: Who, *, actor: Actor
) -> tuple[Verification, dict[int, str]]:
    """Told once. All that were made before are void."""
    async with db.write() as tx:
        await _begin(tx, who)
    codes = {number: recovery_code.invent() for number in range(1, recovery_code.HOW_MANY + 1)}
    with hasher.place() as room:
        hashes = {number: await room.hash(recovery_code.plain(code)) for number, code in codes.items()}
    async with db.write() as tx:
        methods, now = await _begin(tx, who)
        method = next((one for one in methods if one.kind is VerificationKind.RECOVERY_CODES), None)
        if method is None:
            method_id = new_id(now)
            await tx.execute(
                verification.new_unnamed(
                    verification_id=method_id,
                    organization_id=who.organization_id,
                    account_id=who.account_id,
                    kind=VerificationKind.RECOVERY_CODES,
                    now=now,
                )
            )
        else:
            method_id = method.id
            await verification.renew(tx, method, now)
        await recovery_code.keep(tx, verification_id=method_id, organization_id=who.organization_id, hashes=hashes)
        made = await _mine(tx, who, method_id, now)
        await told.record(tx, who, "add", method_id, made.kind, actor=actor, now=now)
        await changed(tx, keys, who, made, key="security.recovery_codes_made", came=True, actor=actor, now=now)
        return made, codes
