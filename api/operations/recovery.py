"""The way back into an account without the password, step by step. Whoever asks is nobody yet.

A name that nobody has, a blocked account and one that may not recover go the same way: the same offer, rows, counts,
answers and work, with codes that are never right. The true reason goes into the record, and by
mail to the account's owner. What is counted must stay, and so must what a step found out (that the time is over): a
refusal is given back, not raised. Argon2 works between two transactions.
"""

import contextlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api.operations import code_try
from api.operations.code_try import Compared
from api.operations.password_try import NOBODY
from api.passwords import Hasher, Place
from models import (
    account,
    browser,
    contact,
    delivery,
    event,
    organization,
    password,
    place,
    recovery,
    recovery_code,
    sent_code,
    throttle,
    verification,
)
from models.account import fold
from models.address import mail_address, phone_number
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import (
    CodeRefused,
    DomainError,
    Invalid,
    NotFound,
    PasswordRejected,
    RecoveryOver,
    RecoveryStep,
    TooManyTries,
)
from models.event import Actor
from models.keyed import of_address
from models.notification import Severity
from models.password_policy import Broken, Rule, judge
from models.recovery import LIVE, Recovery, RecoveryState
from models.recovery_policy import Decoy, Option, Purpose, Standing, options
from models.sealed import Keyring, SealBroken
from models.sent_code import CHANNELS, Aim, SentCode
from models.sent_code import Purpose as SentFor
from models.session import hash_token, new_token
from models.throttle import RECOVERY, RECOVERY_METHOD, RECOVERY_STARTS, RECOVERY_TOLD, REFUSALS, Counted
from models.verification import Verification, VerificationKind

_LETTER: Final = re.compile(r"[A-Za-z]")
_AT_A_GATE: Final = frozenset({RecoveryState.STARTED, RecoveryState.GATE1, RecoveryState.GATE2})


_READ: Final = {VerificationKind.PHONE: phone_number, VerificationKind.EMAIL: mail_address}
_WHY_NOT: Final[Mapping[Decoy, str]] = {
    Decoy.BLOCKED: "recovery.blocked",
    Decoy.NOT_OFFERED: "recovery.not_offered",
    Decoy.NOT_REGISTERED: "recovery.not_registered",
}
"""What its owner is told by mail of a way back in that leads nowhere."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A flow as whoever holds its token may see it."""

    flow: Recovery
    state: RecoveryState
    options: list[Option]
    now: datetime


@dataclass(frozen=True, slots=True)
class Started(Shown):
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Held:
    """A flow with its account's row, both locked."""

    flow: Recovery
    account: Any
    now: datetime

    @property
    def state(self) -> RecoveryState:
        return self.flow.seen_at(self.now)

    @property
    def person(self) -> Person:
        if self.flow.account_id is None or self.flow.organization_id is None:
            raise RuntimeError("nobody has this name, and nothing of theirs is ever proven")
        return Person(self.flow.account_id, self.flow.organization_id)


@dataclass(frozen=True, slots=True)
class Asking:
    """Whoever holds a flow's token, and takes its next step."""

    flow_id: UUID
    token: str | None = field(repr=False)
    server_key: bytes = field(repr=False)
    actor: Actor


# Beginning


async def start(
    db: Database,
    keys: Keyring,
    throttle_key: bytes,
    *,
    name: str,
    purpose: Purpose,
    browser_token: str | None,
    actor: Actor,
) -> Started | DomainError:
    """What strangers begin uses up nothing of a browser that is known to the account."""
    who = throttle.key_of_name(fold(name), throttle_key)
    async with db.write() as tx:
        found = await account.by_sign_in_name(tx, name)
        held = None if found is None else await account.lock(tx, found.id)
        now = await tx.now()
        lane = who
        if browser_token is not None:
            # Asked for a name that nobody has, too, at the same cost.
            known = await browser.known(tx, NOBODY if held is None else held.id, hash_token(browser_token))
            lane = who if known is None else known.lane
        wait = await throttle.shut_for(tx, RECOVERY, who, now) or await throttle.take(tx, RECOVERY_STARTS, lane, now)
        if wait is not None:
            if held is not None:
                await _note_flood(tx, Person(held.id, held.organization_id), "start", actor=actor, now=now)
            return TooManyTries(wait)
        decoy: Decoy | None = Decoy.UNKNOWN
        standing = None
        if held is not None:
            standing = await recovery.standing(tx, held, now)
            decoy = standing.decoy(purpose, blocked=held.blocked_at is not None)
        token = new_token()
        flow = await recovery.start(
            tx,
            held=held,
            who=who,
            purpose=purpose,
            decoy=decoy,
            token_hash=hash_token(token),
            actor=actor,
            now=now,
        )
        if held is not None and decoy is not None:
            await _tell_why_not(tx, keys, flow, held, decoy, actor=actor, now=now)
        return Started(flow, flow.state, options(throttle_key, who), now, token)


async def _tell_why_not(
    tx: Transaction, keys: Keyring, flow: Recovery, held: Any, decoy: Decoy, *, actor: Actor, now: datetime
) -> None:
    """By mail to its owner, and nowhere else: whoever typed the name is told nothing."""
    if await throttle.take(tx, RECOVERY_TOLD, flow.who, now) is not None:
        return
    await delivery.mail_notice(
        tx, keys=keys, account=held, key=_WHY_NOT[decoy], params=place.of(actor), now=now, not_me=False
    )


# Where it stands


async def show(db: Database, asking: Asking) -> Shown:
    async with db.write() as tx:
        return await _shown(tx, asking, await _hold(tx, asking))


async def cancel(db: Database, asking: Asking) -> None:
    """Taken back twice is taken back."""
    async with db.write() as tx:
        held = await _hold(tx, asking)
        if held.state in LIVE:
            await recovery.move(tx, held.flow, RecoveryState.CANCELLED, actor=asking.actor, now=held.now)


async def _hold(tx: Transaction, asking: Asking) -> _Held:
    """The flow whose token this is, with what time and its account have made of it meanwhile. Raises NotFound."""
    found = None if asking.token is None else await recovery.by_token(tx, hash_token(asking.token))
    if found is None or found.id != asking.flow_id:
        raise NotFound
    row = None if found.account_id is None else await account.lock(tx, found.account_id)
    flow = await recovery.hold(tx, found.id)
    now = await tx.now()
    if flow.is_live and not flow.in_time(now):
        flow = await recovery.move(tx, flow, RecoveryState.EXPIRED, actor=asking.actor, now=now)
    elif flow.is_live and flow.decoy is None:
        why = await recovery.why_dead(tx, flow, row, now)
        if why is not None:
            flow = await recovery.move(tx, flow, RecoveryState.CANCELLED, actor=asking.actor, now=now, why=why)
    return _Held(flow, row, now)


async def _shown(tx: Transaction, asking: Asking, held: _Held) -> Shown:
    offered = await _offered(tx, asking, held) if held.state in _AT_A_GATE else []
    return Shown(held.flow, held.state, offered, held.now)


async def _offered(tx: Transaction, asking: Asking, held: _Held) -> list[Option]:
    """To whoever has passed a gate no more than what can pass the next; to anybody before that, the same."""
    if not held.flow.passed:
        return options(asking.server_key, held.flow.who)
    fitting = await _fitting(tx, held)
    return options(asking.server_key, held.flow.who, {one.kind.value for one in fitting})


async def _fitting(tx: Transaction, held: _Held) -> list[Verification]:
    """What can pass the gate where it stands; nothing where nothing ever will."""
    if held.flow.decoy is not None or not held.flow.is_live:
        return []
    return (await recovery.standing(tx, held.account, held.now)).fitting(held.flow.passed)


# The gates


async def send(db: Database, keys: Keyring, asking: Asking, *, option_id: UUID, address: str) -> SentCode | DomainError:
    """A code to the address that was typed in full, if it is one of theirs. The answer is the same if it is not."""
    async with db.write() as tx:
        held = await _hold(tx, asking)
        if held.state not in _AT_A_GATE:
            return await _too_late(tx, held)
        option = next((one for one in await _offered(tx, asking, held) if one.id == option_id), None)
        if option is None:
            return NotFound()
        written = _READ[option.kind](address) if option.is_sent else None
        if written is None:
            return Invalid(errors=[{"field": "address", "rule": "address_in_full"}])
        flow, now = held.flow, held.now
        for block, who in _counted(flow, option):
            wait = await throttle.shut_for(tx, block, who, now)
            if wait is not None:
                return TooManyTries(wait)
        right, to = await _with_address(tx, keys, asking, held, option, written)
        sent = await sent_code.send(
            tx,
            keys=keys,
            server_key=asking.server_key,
            aim=_aim(flow, option),
            channel=CHANNELS[option.kind],
            to=to,
            account=None if right is None else held.person,
            language="en" if held.account is None else held.account.language,
            until=flow.closes_at,
            method_id=None if right is None else right.id,
            # Known or unknown, a name and what was typed beside it bear as much. What a stranger types here uses up
            # nothing of somebody else's.
            counted_as=f"{flow.who} {written}",
            now=now,
        )
        if isinstance(sent, SentCode) and held.state is RecoveryState.STARTED:
            await recovery.move(tx, flow, RecoveryState.GATE1, actor=asking.actor, now=now)
        facts = {"kind": option.kind.value}
        await recovery.record(tx, flow, "send", actor=asking.actor, now=now, reason=_unsent(sent, right), facts=facts)
        return sent


async def _with_address(
    tx: Transaction, keys: Keyring, asking: Asking, held: _Held, option: Option, written: str
) -> tuple[Verification | None, str]:
    """The method whose address was typed, and that address as its owner confirmed it; else what was typed."""
    typed = of_address(asking.server_key, written)
    for one in await _fitting(tx, held):
        where = await contact.of_method(tx, one.id) if one.kind is option.kind else None
        if where is not None and hmac.compare_digest(where.address_hash, typed):
            with contextlib.suppress(SealBroken):  # what no key opens any more is as good as another
                return one, where.open(keys)
    return None, written


def _unsent(sent: SentCode | TooManyTries, right: Verification | None) -> str | None:
    if isinstance(sent, TooManyTries):
        return TooManyTries.code
    if right is None:
        return "other_address"
    return None if sent.leaves else "address_flooded"


def _aim(flow: Recovery, option: Option) -> Aim:
    return Aim(SentFor.RECOVER, flow.id, option.id)


def _counted(flow: Recovery, option: Option) -> Counted:
    return (RECOVERY, flow.who), (RECOVERY_METHOD, recovery.lane(flow.who, option.kind))


@dataclass(frozen=True, slots=True)
class _Tried:
    """A counted try at a gate."""

    option: Option
    counted: Counted
    known: str | None = field(repr=False)
    """The hash that the code is compared with, where such are kept."""
    typed: str = field(repr=False)


async def gate(
    db: Database, hasher: Hasher, keys: Keyring, asking: Asking, *, option_id: UUID, code: str
) -> Shown | DomainError:
    """Counted as wrong before it is looked at, and committed, so that parallel guesses cannot all be the first.

    Who has passed this gate meanwhile, by a second tap on the same button, has not failed at it.
    """
    compared = None
    if _LETTER.search(code) is None:
        tried = await _count(db, asking, option_id=option_id, code=code)
    else:
        await _must_know(db, asking)
        with hasher.place() as room:
            tried = await _count(db, asking, option_id=option_id, code=code)
            if isinstance(tried, _Tried):
                # Where there is nothing to compare with it costs the same.
                fits = await room.verify(tried.known, tried.typed)
                compared = Compared(None, tried.known if fits else None)
    if not isinstance(tried, _Tried):
        return tried
    async with db.write() as tx:
        held = await _hold(tx, asking)
        if tried.option.kind.value in held.flow.passed_kinds:
            await throttle.take_back(tx, tried.counted, held.now)
            return await _shown(tx, asking, held)
        if held.state not in _AT_A_GATE:
            return RecoveryOver(state=held.state.value)
        right = await _right(tx, keys, asking, held, tried.option, code, compared)
        if right is None:
            return await _refuse(tx, held, tried, actor=asking.actor)
        return await _pass(tx, keys, asking, held, tried, right)


async def _must_know(db: Database, asking: Asking) -> None:
    """Whoever has no token of it takes nobody's place in the queue for hashes. Raises NotFound."""
    async with db.read() as tx:
        found = None if asking.token is None else await recovery.by_token(tx, hash_token(asking.token))
    if found is None or found.id != asking.flow_id:
        raise NotFound


async def _count(db: Database, asking: Asking, *, option_id: UUID, code: str) -> _Tried | Shown | DomainError:
    async with db.write() as tx:
        held = await _hold(tx, asking)
        flow, now = held.flow, held.now
        if held.state not in _AT_A_GATE:
            return await _too_late(tx, held)
        option = next((one for one in options(asking.server_key, flow.who) if one.id == option_id), None)
        if option is not None and option.kind.value in flow.passed_kinds:
            return await _shown(tx, asking, held)
        if option is None or option not in await _offered(tx, asking, held):
            return NotFound()
        counted = _counted(flow, option)
        wait = await throttle.count_towards(tx, counted, now)
        if wait is not None:
            if held.account is not None:
                await _note_flood(tx, held.person, "try", actor=asking.actor, now=now)
            return TooManyTries(wait)
        if held.state is RecoveryState.STARTED:
            await recovery.move(tx, flow, RecoveryState.GATE1, actor=asking.actor, now=now)
        read = recovery_code.read(code) if option.kind is VerificationKind.RECOVERY_CODES else None
        if read is None:
            return _Tried(option, counted, None, code)
        saved = next((one for one in await _fitting(tx, held) if one.kind is option.kind), None)
        known = None if saved is None else await recovery_code.hash_of(tx, saved.id, read.number)
        return _Tried(option, counted, known, read.secret)


async def _too_late(tx: Transaction, held: _Held) -> DomainError:
    """It does not stand at a gate."""
    if held.state is RecoveryState.PROVEN:
        return RecoveryStep(state=held.state.value)
    wait = await throttle.shut_for(tx, RECOVERY, held.flow.who, held.now)
    if held.state is RecoveryState.BLOCKED and wait is not None:
        return TooManyTries(wait)
    return RecoveryOver(state=held.state.value)


async def _right(
    tx: Transaction,
    keys: Keyring,
    asking: Asking,
    held: _Held,
    option: Option,
    code: str,
    compared: Compared | None,
) -> Verification | None:
    """The method that the code shows, spent at once. None: it shows none."""
    fitting = [one for one in await _fitting(tx, held) if one.kind is option.kind]
    if option.is_sent:
        aim = _aim(held.flow, option)
        tried = await sent_code.spend(tx, server_key=asking.server_key, aim=aim, code=code, now=held.now)
        shown = next((one for one in fitting if tried.fits and one.id == tried.method_id), None)
        if shown is not None:
            await verification.touch(tx, shown, held.now)
        return shown
    for one in fitting:
        spent = await code_try.spend(tx, keys, one, code, compared, held.now)
        if spent is not None:
            return spent
    return None


async def _pass(
    tx: Transaction, keys: Keyring, asking: Asking, held: _Held, tried: _Tried, right: Verification
) -> Shown:
    now = held.now
    await throttle.take_back(tx, tried.counted, now)
    await code_try.tell_of_stand_in(tx, keys, held.person, right, actor=asking.actor, now=now)
    flow = replace(held.flow, passed=(*held.flow.passed, (right.kind.value, str(right.id))))
    gates = (await recovery.standing(tx, held.account, now)).gates
    flow = await recovery.move(tx, flow, flow.after_gate(gates), actor=asking.actor, now=now)
    return await _shown(tx, asking, replace(held, flow=flow))


async def _refuse(tx: Transaction, held: _Held, tried: _Tried, *, actor: Actor) -> DomainError:
    await _note_try(tx, held, tried.option, CodeRefused.code, actor=actor)
    left = await throttle.tries_left(tx, tried.counted, held.now)
    if await throttle.shut_for(tx, RECOVERY, held.flow.who, held.now) is not None:
        await recovery.move(tx, held.flow, RecoveryState.BLOCKED, actor=actor, now=held.now)
    return CodeRefused(tries_left=left)


async def _note_flood(tx: Transaction, whose: Person, verb: str, *, actor: Actor, now: datetime) -> None:
    """Once a minute: a flood of them must not fill somebody's record."""
    if await throttle.take(tx, REFUSALS, f"recovery_{verb}:{whose.id}", now) is None:
        await event.record(
            tx,
            organization_id=whose.organization_id,
            action=f"account:recovery:{verb}",
            actor=actor,
            now=now,
            outcome="failure",
            reason=TooManyTries.code,
            account_id=whose.id,
        )


async def _note_try(tx: Transaction, held: _Held, option: Option, reason: str, *, actor: Actor) -> None:
    facts = {"kind": option.kind.value}
    await recovery.record(tx, held.flow, "try", actor=actor, now=held.now, reason=reason, facts=facts)


# What it is for


async def choose_password(
    db: Database, hasher: Hasher, keys: Keyring, asking: Asking, *, new: str
) -> list[UUID] | DomainError:
    """Who is told of it, its owner first. Every session ends and nobody is signed in; a second factor stays.

    A password that breaks rules changes nothing: what was proven stays so, within its fifteen minutes.
    """
    async with db.write() as tx:
        held = await _hold(tx, asking)
        wrong = await _not_proven(tx, held, Purpose.RESET, actor=asking.actor)
        if wrong is not None:
            return wrong
        about = await password.about(tx, held.account, held.now)
        before = await password.earlier(tx, held.account)
        roles = await organization.roles_of(tx, held.person.organization_id, held.person.id)
        privileged = bool(roles) or held.account.is_operator
        watchers = await organization.administrators_of(tx, held.person.organization_id) if privileged else []
    # Only now: whoever has proven nothing takes nobody's place.
    with hasher.place() as room:
        broken = await broken_rules(room, new, judge(new, about), before)
        if broken:
            return await _reject(db, held.flow, broken, actor=asking.actor)
        new_hash = await room.hash(new)
    async with db.write() as tx:
        for one in sorted({held.person.id, *watchers}):  # in one order, so that two who reset at once both can
            await account.lock(tx, one)
        held = await _hold(tx, asking)
        wrong = await _not_proven(tx, held, Purpose.RESET, actor=asking.actor)
        if wrong is not None:
            return wrong
        now, acting = held.now, replace(asking.actor, kind="account", id=held.person.id)
        await recovery.move(tx, held.flow, RecoveryState.DONE, actor=acting, now=now)
        await password.replace(
            tx, held.account, new_hash, keys=keys, why="reset", actor=acting, now=now, told="password.reset"
        )
        await password.open_road(tx, held.account, held.flow.who)
        await recovery.allow_again(tx, held.account, held.flow.who)
        await tell_administrators(tx, keys, held.account, watchers, now=now)
        return [held.person.id, *watchers]


async def unlock(db: Database, keys: Keyring, asking: Asking) -> UUID | DomainError:
    """Whose it is. The shut road is open again, and nothing else changes: the password and every session stay."""
    async with db.write() as tx:
        held = await _hold(tx, asking)
        wrong = await _not_proven(tx, held, Purpose.UNLOCK, actor=asking.actor)
        if wrong is not None:
            return wrong
        now, acting = held.now, replace(asking.actor, kind="account", id=held.person.id)
        await recovery.move(tx, held.flow, RecoveryState.DONE, actor=acting, now=now)
        await password.open_road(tx, held.account, held.flow.who)
        await recovery.allow_again(tx, held.account, held.flow.who)
        await delivery.notify(
            tx,
            keys=keys,
            account=held.account,
            key="account.unlocked",
            params=place.of(asking.actor),
            now=now,
            severity=Severity.WARNING,
        )
        return held.person.id


async def _not_proven(tx: Transaction, held: _Held, purpose: Purpose, *, actor: Actor) -> DomainError | None:
    """Why it may not be done now; None: every gate is passed, by what the rules and the methods are by now."""
    if held.state is not RecoveryState.PROVEN:
        over = held.state not in LIVE
        return RecoveryOver(state=held.state.value) if over else RecoveryStep(state=held.state.value)
    if held.flow.purpose is not purpose:
        return RecoveryStep(state=held.state.value)
    standing = await recovery.standing(tx, held.account, held.now)
    enough = standing.offered and len(held.flow.passed_kinds) >= standing.gates
    shown = await _in_force(tx, held.flow, held.account.id, standing) if enough else []
    if any(standing.is_settled(one) for one in shown):
        return None
    flow = await recovery.move(tx, held.flow, RecoveryState.CANCELLED, actor=actor, now=held.now, why="policy_changed")
    return RecoveryOver(state=flow.state.value)


async def _in_force(tx: Transaction, flow: Recovery, whose: UUID, standing: Standing) -> list[Verification]:
    """All that was shown, if all of it is still the person's."""
    have = {str(one.id): one for one in standing.methods}
    shown = []
    for kind, method in flow.passed:
        one = have.get(method)
        if kind == VerificationKind.RECOVERY_CODES:
            # The last of them is gone once it was used; those that were made anew meanwhile are others.
            codes = await verification.by_id(tx, whose, UUID(method))
            one = None if codes is None or codes.created_at > flow.started_at else codes
        if one is None:
            return []
        shown.append(one)
    return shown


async def broken_rules(room: Place, new: str, broken: list[Broken], before: Sequence[str]) -> list[Broken]:
    """What is cheap first: hashes are compared only with what could be used.

    One that was used lately is refused here as at a change: whoever forgot it may not be the only one who knows it.
    """
    if broken:
        return broken
    reused = False
    for known in before:
        reused = reused or await room.verify(known, new)
    return [Broken(Rule.REUSED)] if reused else []


async def _reject(db: Database, flow: Recovery, broken: list[Broken], *, actor: Actor) -> PasswordRejected:
    async with db.write() as tx:
        now = await tx.now()
        facts = {"rules": [one.rule.value for one in broken]}
        await recovery.record(
            tx, flow, "choose_password", actor=actor, now=now, reason=PasswordRejected.code, facts=facts
        )
    return PasswordRejected(reasons=[{"rule": one.rule.value, **one.facts} for one in broken])


async def tell_administrators(
    tx: Transaction, keys: Keyring, held: Any, watchers: Sequence[UUID], *, now: datetime
) -> None:
    """An account that reaches far got another password without the old one: whoever else can, looks at it."""
    for one in watchers:
        if one != held.id:
            await delivery.notify(
                tx,
                keys=keys,
                account=Person(one, held.organization_id),
                key="password.administrator_reset",
                params={"account": held.sign_in_name},
                now=now,
                severity=Severity.WARNING,
                not_me=False,
            )
