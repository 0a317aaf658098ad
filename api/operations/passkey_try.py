"""A try with a passkey: counted before it is verified; whoever presents a challenge, right or wrong, has spent it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from api import passkeys
from api.operations import code_try, told
from api.operations.password_try import OPEN
from api.passkeys import Assertion, Party, Shown
from models import account, event, passkey, sign_in, throttle, verification
from models.database import Transaction
from models.delivery import Person
from models.errors import CodeRefused, DomainError, SignInFailed, TooManyTries
from models.event import Actor
from models.notification import Severity
from models.passkey import Passkey, Purpose
from models.sealed import Keyring
from models.session import VERIFIED_PASSKEY, Who, hash_token
from models.sign_in import Outcome
from models.throttle import PASSKEY, SECOND_FACTOR
from models.verification import Verification

COPIED: Final = "passkey_copied"


@dataclass(frozen=True, slots=True)
class Accepted:
    method: Verification
    word: str
    """What the session remembers: whether the device made sure who holds it, too."""


@dataclass(frozen=True, slots=True)
class Known:
    """Whoever signs in without having said a name."""

    row: Any
    method: Verification
    now: datetime


@dataclass(frozen=True, slots=True)
class Copied:
    """Refused like any other, and its person was told."""

    account_id: UUID


async def accept(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    purpose: Purpose,
    *,
    party: Party,
    given: Assertion,
    method_id: UUID | None,
    browser_token: str | None,
    actor: Actor,
    now: datetime,
) -> Accepted | DomainError:
    """The account is held. What was counted must stay: a refusal is given back, not raised."""
    lane = await code_try.counter(tx, who, browser_token)
    wait = await throttle.take(tx, SECOND_FACTOR, lane, now)
    if wait is not None:
        return TooManyTries(wait)
    answered = await _spend(tx, given, purpose, session_id=who.session.id, token_hash=None, now=now)
    known = await passkey.by_credential(tx, given.credential_id)
    methods = verification.asked_for(await verification.of_account(tx, who.account_id), now)
    method = next((one for one in methods if known is not None and one.id == known.verification_id), None)
    if known is None or method is None or answered is None or method_id not in {None, method.id}:
        return CodeRefused()
    shown = passkeys.read_assertion(party, given, answered, known.public_key)
    if shown is None or not await _is_theirs(tx, known, given, shown, must_say=False):
        return CodeRefused()
    whose = Person(who.account_id, who.organization_id)
    if not await _goes_on(tx, keys, whose, method, known, shown, actor=actor, now=now):
        return CodeRefused()
    await throttle.give_back(tx, SECOND_FACTOR, lane)
    await verification.touch(tx, method, now)
    sure = shown.person_verified and method.verifies_person
    return Accepted(method, VERIFIED_PASSKEY if sure else method.kind.value)


def counter_of(credential_id: bytes, throttle_key: bytes) -> str:
    """Of one key without a password, whether it is anybody's or not."""
    return throttle.key_of_name(credential_id.hex(), throttle_key)


async def accept_alone(
    tx: Transaction,
    keys: Keyring,
    *,
    party: Party,
    given: Assertion,
    token: str | None,
    throttle_key: bytes,
    actor: Actor,
) -> Known | Copied | DomainError:
    """Without a name and a password. Unknown, blocked and wrong are the same outside, and are counted alike."""
    known = await passkey.by_credential(tx, given.credential_id)
    row = None if known is None else await account.lock(tx, known.account_id)
    now = await tx.now()
    counter = counter_of(given.credential_id, throttle_key)
    wait = await throttle.take(tx, PASSKEY, counter, now)
    if wait is not None:
        await remember(tx, row, TooManyTries.code, actor=actor, now=now)
        return TooManyTries(wait)
    token_hash = None if token is None else hash_token(token)
    answered = await _spend(tx, given, Purpose.SIGN_IN, session_id=None, token_hash=token_hash, now=now)
    found = await _look(tx, keys, row, known, party, given, answered, actor=actor, now=now)
    if not isinstance(found, Verification):
        await remember(tx, row, found, actor=actor, now=now)
        return SignInFailed() if row is None or found != COPIED else Copied(row.id)
    await throttle.give_back(tx, PASSKEY, counter)
    await verification.touch(tx, found, now)
    return Known(row, found, now)


async def _look(
    tx: Transaction,
    keys: Keyring,
    row: Any,
    known: Passkey | None,
    party: Party,
    given: Assertion,
    answered: bytes | None,
    *,
    actor: Actor,
    now: datetime,
) -> Verification | str:
    """The method that opens the account, or why nothing does."""
    # A key that nobody has is compared, too, with one that opens nothing.
    public_key = passkeys.NOBODYS_KEY if known is None else known.public_key
    shown = passkeys.read_assertion(party, given, answered or b"", public_key)
    if row is None or known is None or answered is None or shown is None:
        return "wrong_passkey"
    if not await _is_theirs(tx, known, given, shown, must_say=True):
        return "wrong_passkey"
    if row.blocked_at is not None:
        return "account_blocked"
    methods = await verification.of_account(tx, known.account_id)
    method = next((one for one in methods if one.id == known.verification_id and one.lives(now)), None)
    if method is None:
        return "wrong_passkey"
    # A key that did not ask who holds it when it was added may be taught to by whoever finds it.
    if not (shown.person_verified and method.verifies_person):
        return "person_not_verified"
    whose = Person(row.id, row.organization_id)
    return method if await _goes_on(tx, keys, whose, method, known, shown, actor=actor, now=now) else COPIED


async def _spend(
    tx: Transaction,
    given: Assertion,
    purpose: Purpose,
    *,
    session_id: UUID | None,
    token_hash: bytes | None,
    now: datetime,
) -> bytes | None:
    """The challenge that it answers, if that was asked for this, here, and lately enough; it is gone either way."""
    answered = passkeys.challenge_of(given.client_data)
    spent = None if answered is None else await passkey.spend(tx, answered)
    fits = (
        spent is not None
        and spent.purpose is purpose
        and (spent.session_id, spent.token_hash) == (session_id, token_hash)
        and spent.lives(now)
    )
    return answered if fits else None


async def _is_theirs(tx: Transaction, known: Passkey, given: Assertion, shown: Shown, *, must_say: bool) -> bool:
    """What its device says of whose it is, where it says so, and what it said of itself when it was added."""
    if given.user_handle is None:
        same = not must_say
    else:
        same = given.user_handle == await passkey.handle_of(tx, known.account_id)
    return same and shown.backup_eligible == known.backup_eligible


async def _goes_on(
    tx: Transaction,
    keys: Keyring,
    whose: Person,
    method: Verification,
    known: Passkey,
    shown: Shown,
    *,
    actor: Actor,
    now: datetime,
) -> bool:
    """False: its counter does not go on. It is refused and told; what else is to be done is its person's to say."""
    if known.is_copy(shown.sign_count):
        await told.record(tx, whose, "use", method.id, method.kind, actor=actor, now=now, reason=COPIED)
        params = {"method": method.label, "kind": method.kind.value}
        await told.notify(
            tx,
            keys,
            whose,
            key="security.passkey_copied",
            params=params,
            severity=Severity.WARNING,
            method_id=method.id,
            actor=actor,
            now=now,
        )
        return False
    return await passkey.use(tx, known, sign_count=shown.sign_count, backed_up=shown.backed_up)


async def remember(tx: Transaction, row: Any, reason: str, *, actor: Actor, now: datetime) -> None:
    """In the record of whose key it is, and where they see it themselves. Nobody's key is in nobody's record."""
    if row is None:
        return
    await sign_in.note(
        tx,
        organization_id=row.organization_id,
        account_id=row.id,
        outcome=Outcome.PASSKEY_FAILED,
        actor=actor,
        now=now,
        reason=reason,
    )
    await event.record(
        tx,
        organization_id=row.organization_id,
        action=OPEN,
        actor=actor,
        now=now,
        outcome="failure",
        reason=reason,
        account_id=row.id,
    )
