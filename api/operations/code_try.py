"""A try at a second factor: counted before it is verified, and what fits is spent at once.

Saved codes and passes are kept as argon2 hashes: those are compared between two transactions, never inside one.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from api.operations import code_send, told
from api.passwords import Hasher
from models import access_pass, browser, recovery_code, sent_code, throttle, verification
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import CodeRefused, DomainError, TooManyTries
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import Who, hash_token
from models.throttle import SECOND_FACTOR
from models.verification import Verification, VerificationKind

_LETTER: Final = re.compile(r"[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Compared:
    """A counted try at a code that is kept as a hash."""

    wait: timedelta | None
    fits: str | None = field(default=None, repr=False)
    """The hash that the code fits; None: it fits none."""


async def counter(tx: Transaction, who: Who, browser_token: str | None) -> str:
    """Whose count of second factors it is: whoever knows the password alone shuts out no browser that is known."""
    return await browser.lane(tx, who.account_id, None if browser_token is None else hash_token(browser_token))


async def compare(
    db: Database, hasher: Hasher, who: Who, *, method_id: UUID, code: str, browser_token: str | None
) -> Compared | None:
    """None: codes without letters are never kept as hashes. Raises Busy before anything is counted."""
    if _LETTER.search(code) is None:
        return None
    with hasher.place() as place:
        async with db.write() as tx:
            now = await tx.now()
            wait = await throttle.take(tx, SECOND_FACTOR, await counter(tx, who, browser_token), now)
            if wait is not None:
                return Compared(wait)
            known, typed = await _known(tx, who, method_id, code, now)
        fits = await place.verify(known, typed)
    return Compared(None, known if fits else None)


async def _known(tx: Transaction, who: Who, method_id: UUID, code: str, now: datetime) -> tuple[str | None, str]:
    """The one hash that the code is compared with, and the code as it was hashed."""
    method = await _method(tx, who, method_id, now)
    if method is None:
        return None, code
    if method.kind is VerificationKind.RECOVERY_CODES:
        typed = recovery_code.read(code)
        return (
            (None, code)
            if typed is None
            else (
                await recovery_code.hash_of(tx, method.id, typed.number),
                typed.secret,
            )
        )
    held = await access_pass.of_method(tx, method.id)
    return (None if held is None else held.hash), recovery_code.plain(code)


async def _method(tx: Transaction, who: Who, method_id: UUID, now: datetime) -> Verification | None:
    methods = verification.asked_for(await verification.of_account(tx, who.account_id), now)
    return next((one for one in methods if one.id == method_id), None)


async def accept(
    tx: Transaction,
    keys: Keyring,
    who: Who,
    *,
    method_id: UUID,
    code: str,
    compared: Compared | None,
    browser_token: str | None,
    server_key: bytes,
    actor: Actor,
    now: datetime,
) -> Verification | DomainError:
    """The account is held. What was counted must stay: a refusal is given back, not raised."""
    lane = await counter(tx, who, browser_token)
    wait = await throttle.take(tx, SECOND_FACTOR, lane, now) if compared is None else compared.wait
    if wait is not None:
        return TooManyTries(wait)
    method = await _method(tx, who, method_id, now)
    if method is not None and method.kind is VerificationKind.PHONE:
        method = await _spend_sent(tx, server_key, who, method, code, now)
    elif method is not None:
        method = await spend(tx, keys, method, code, compared, now)
    if method is None:
        return CodeRefused()
    await throttle.give_back(tx, SECOND_FACTOR, lane)
    await tell_of_stand_in(tx, keys, who, method, actor=actor, now=now)
    return method


async def tell_of_stand_in(
    tx: Transaction, keys: Keyring, whose: Who | Person, method: Verification, *, actor: Actor, now: datetime
) -> None:
    """What stands in for an authenticator was used."""
    if method.kind is VerificationKind.RECOVERY_CODES:
        left = await recovery_code.left(tx, method.id)
        facts = {"left": left}
        if left <= recovery_code.FEW:
            await _flag(tx, keys, whose, method, facts, key="security.recovery_codes_low", actor=actor, now=now)
        else:
            await _flag(tx, keys, whose, method, facts, key="security.recovery_code_used", actor=actor, now=now)
    elif method.kind is VerificationKind.ACCESS_PASS:
        await _flag(tx, keys, whose, method, {}, key="security.access_pass_used", actor=actor, now=now)


async def _spend_sent(
    tx: Transaction, server_key: bytes, who: Who, method: Verification, code: str, now: datetime
) -> Verification | None:
    """A code that was sent for this sign-in or this proof, and for no other. None: as below."""
    aim = code_send.aim_of(who.session, method.id)
    if not (await sent_code.spend(tx, server_key=server_key, aim=aim, code=code, now=now)).fits:
        return None
    await verification.touch(tx, method, now)
    return method


async def spend(
    tx: Transaction, keys: Keyring, method: Verification, code: str, compared: Compared | None, now: datetime
) -> Verification | None:
    """The method as it is afterwards; None: the code is wrong, or was spent before."""
    if method.kind is VerificationKind.TOTP:
        step = None if compared is not None else method.step_of(code, keys, now)
        return method if step is not None and await verification.spend(tx, method.id, step, now) else None
    if compared is None or compared.fits is None:
        return None
    if method.kind is VerificationKind.RECOVERY_CODES:
        if not await recovery_code.use(tx, method.id, compared.fits, now):
            return None
    else:
        held = await access_pass.of_method(tx, method.id)
        if held is None or held.hash != compared.fits:
            return None
        if held.one_use:
            method = await verification.use_up(tx, method, _end_of_one_use(method, now))
            await access_pass.forget(tx, method.id)
    await verification.touch(tx, method, now)
    return method


def _end_of_one_use(method: Verification, now: datetime) -> datetime:
    end = now + access_pass.ONE_USE
    return end if method.expires_at is None else min(end, method.expires_at)


async def _flag(
    tx: Transaction,
    keys: Keyring,
    whose: Who | Person,
    method: Verification,
    facts: dict[str, Any],
    *,
    key: str,
    actor: Actor,
    now: datetime,
) -> None:
    """What stands in for an authenticator stands out in the record, and its person hears of it."""
    await told.record(tx, whose, "use", method.id, method.kind, actor=actor, now=now, facts=facts)
    params = {name: str(value) for name, value in facts.items()}
    await told.notify(
        tx, keys, whose, key=key, params=params, severity=Severity.WARNING, method_id=method.id, actor=actor, now=now
    )
