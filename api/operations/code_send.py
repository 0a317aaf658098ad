"""A code that goes to a phone: for half a sign-in, or for a proof in a whole one, and good for nothing else."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.operations import told
from models import account, contact, sent_code, session, verification
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import DomainError, NotFound, NotSignedIn, TooManyTries
from models.event import Actor
from models.sealed import Keyring
from models.sent_code import CHANNELS, Aim, Purpose, SentCode
from models.session import Session, SessionState, Who
from models.verification import Verification, VerificationKind


@dataclass(frozen=True, slots=True)
class CodeSent:
    method_id: UUID
    hint: str | None
    code: SentCode


def aim_of(held: Session, method_id: UUID) -> Aim:
    purpose = Purpose.SIGN_IN if held.state is SessionState.SECOND_FACTOR else Purpose.PROVE
    return Aim(purpose, held.id, method_id)


async def send(
    db: Database, keys: Keyring, server_key: bytes, who: Who, purpose: Purpose, *, method_id: UUID, actor: Actor
) -> CodeSent | DomainError:
    """To one of the person's phones, for the session that asks."""
    async with db.write() as tx:
        row = await account.lock(tx, who.account_id)
        now = await tx.now()
        held = await session.by_id(tx, who, who.session.id)
        if row is None or row.blocked_at is not None or held is None or not held.lives(row.session_generation, now):
            raise NotSignedIn
        methods = verification.asked_for(await verification.of_account(tx, who.account_id), now)
        method = next((one for one in methods if one.id == method_id), None)
        if (
            method is None
            or method.kind is not VerificationKind.PHONE
            or purpose is not aim_of(held, method.id).purpose
        ):
            raise NotFound
        return await _send(tx, keys, server_key, held, method, row.language, actor=actor, now=now)


async def send_first(
    tx: Transaction,
    keys: Keyring,
    server_key: bytes,
    half: Session,
    methods: list[Verification],
    language: str,
    *,
    actor: Actor,
    now: datetime,
) -> CodeSent | None:
    """To the phone that is the default, unasked. None: another kind is, or the number had as many as it may."""
    method = next((one for one in methods if one.is_default), None)
    if method is None or method.kind is not VerificationKind.PHONE:
        return None
    sent = await _send(tx, keys, server_key, half, method, language, actor=actor, now=now)
    return None if isinstance(sent, DomainError) else sent


async def _send(
    tx: Transaction,
    keys: Keyring,
    server_key: bytes,
    held: Session,
    method: Verification,
    language: str,
    *,
    actor: Actor,
    now: datetime,
) -> CodeSent | DomainError:
    where = await contact.of_method(tx, method.id)
    if where is None:
        raise NotFound
    whose = Person(held.account_id, held.organization_id)
    sent = await sent_code.send(
        tx,
        keys=keys,
        server_key=server_key,
        aim=aim_of(held, method.id),
        channel=CHANNELS[method.kind],
        to=where.open(keys),
        account=whose,
        language=language,
        until=held.expires_at,
        now=now,
    )
    reason = sent.code if isinstance(sent, TooManyTries) else None
    await told.record(tx, whose, "send", method.id, method.kind, actor=actor, now=now, reason=reason)
    return sent if isinstance(sent, TooManyTries) else CodeSent(method.id, where.hint(keys), sent)
