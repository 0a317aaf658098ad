"""An administrator lends a person a second factor for a while: the telephone is lost, and the person is known."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from api.operations import administration, security, told
from api.passwords import Hasher
from models import access_pass, re_sign_in, recovery_code, role, verification
from models.database import Database, Transaction
from models.delivery import Person
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import Who
from models.verification import VerificationKind
from models.vocabulary import new_id


@dataclass(frozen=True, slots=True)
class Issued:
    """Told once."""

    id: UUID
    code: str = field(repr=False)
    one_use: bool
    expires_at: datetime


async def issue(
    db: Database,
    hasher: Hasher,
    keys: Keyring,
    who: Who,
    account_id: UUID,
    *,
    lifetime: timedelta,
    one_use: bool,
    actor: Actor,
) -> Issued:
    """One of a person's at a time: an earlier one ends, and what was opened with it."""
    async with db.write() as tx:
        await administration.reached(tx, who, account_id, role.LEND_PASS)
    code = recovery_code.invent(access_pass.GROUPS)
    with hasher.place() as room:
        hashed = await room.hash(recovery_code.plain(code))
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.LEND_PASS)
        whose, now = target.person, target.now
        await end_all(tx, whose, target.held.session_generation, actor=actor, now=now)
        issued = Issued(new_id(now), code, one_use, now + lifetime)
        await tx.execute(
            verification.new_unnamed(
                verification_id=issued.id,
                organization_id=who.organization_id,
                account_id=account_id,
                kind=VerificationKind.ACCESS_PASS,
                now=now,
                expires_at=issued.expires_at,
            )
        )
        await tx.execute(
            access_pass.new_pass(
                verification_id=issued.id,
                organization_id=who.organization_id,
                password_hash=hashed,
                one_use=one_use,
                issued_by=who.account_id,
            )
        )
        facts = {"expires_at": issued.expires_at.isoformat(), "one_use": one_use}
        await told.record(tx, whose, "add", issued.id, VerificationKind.ACCESS_PASS, actor=actor, now=now, facts=facts)
        await _tell(tx, keys, whose, key="security.access_pass_issued", actor=actor, now=now)
        return issued


async def withdraw(db: Database, keys: Keyring, who: Who, account_id: UUID, *, actor: Actor) -> None:
    """Withdrawn twice is withdrawn."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.LEND_PASS)
        generation, now = target.held.session_generation, target.now
        if await end_all(tx, target.person, generation, actor=actor, now=now):
            await _tell(tx, keys, target.person, key="security.access_pass_ended", actor=actor, now=now)


async def end_all(tx: Transaction, whose: Person, generation: int, *, actor: Actor, now: datetime) -> bool:
    """Whether there was one: in force, or one for once that was used and whose sign-in still lives."""
    ended = await verification.passes_of(tx, whose.id, now)
    for one in ended:
        await verification.revoke(tx, one, now)
        await access_pass.forget(tx, one.id)
        await security.end_what_stood_on(tx, whose, one, generation=generation, but=None, actor=actor, now=now)
        await told.record(tx, whose, "remove", one.id, one.kind, actor=actor, now=now)
    return bool(ended)


async def _tell(tx: Transaction, keys: Keyring, whose: Person, *, key: str, actor: Actor, now: datetime) -> None:
    await re_sign_in.cancel_live(tx, whose.id, None, "methods_changed", now, actor=actor)
    await told.notify(tx, keys, whose, key=key, params={}, severity=Severity.WARNING, actor=actor, now=now)
