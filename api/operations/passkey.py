"""Passkeys and security keys: adding one, and the challenges that one answers at a sign-in or as a proof."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from api import passkeys
from api.operations import security, told
from api.operations.session import hold_account
from api.passkeys import Attestation, Party
from models import passkey, session, verification
from models.database import Database
from models.errors import CodeRefused, DomainError, NoPasskey, NotFound, NotSignedIn, PasswordChangeRequired
from models.event import Actor
from models.passkey import Passkey, Purpose
from models.sealed import Keyring
from models.session import SessionState, Who, hash_token, new_token
from models.verification import Verification, VerificationKind
from models.vocabulary import new_id


@dataclass(frozen=True, slots=True)
class Asked:
    """Which keys may answer; none: any that a device keeps for us."""

    challenge: bytes
    expires_at: datetime
    among: list[Passkey]


@dataclass(frozen=True, slots=True)
class Begun:
    id: UUID
    label: str
    handle: bytes
    asked: Asked
    """Among its keys are those that are known: no device is asked to make a second one."""


@dataclass(frozen=True, slots=True)
class AskedAlone:
    token: str = field(repr=False)
    asked: Asked


async def begin(db: Database, who: Who, *, label: str, actor: Actor) -> Begun:
    """A newer one takes the place of an older one that was not confirmed."""
    async with db.write() as tx:
        methods = await security.must_be_proven(tx, who)
        now = await tx.now()
        verification.must_have_room(methods, VerificationKind.PASSKEY, label)
        await verification.drop_pending(tx, who.account_id, VerificationKind.PASSKEY)
        method_id = new_id(now)
        await tx.execute(
            verification.new_passkey(
                verification_id=method_id,
                organization_id=who.organization_id,
                account_id=who.account_id,
                label=label,
                begun_in=who.session.id,
                now=now,
            )
        )
        handle = await passkey.give_handle(tx, who.organization_id, who.account_id)
        challenge, expires_at = await passkey.challenge(
            tx,
            Purpose.REGISTER,
            now=now,
            organization_id=who.organization_id,
            session_id=who.session.id,
            verification_id=method_id,
        )
        known = await passkey.of_account(tx, who.account_id)
        await told.record(tx, who, "begin", method_id, VerificationKind.PASSKEY, actor=actor, now=now)
    return Begun(method_id, label, handle, Asked(challenge, expires_at, known))


async def confirm(
    db: Database, keys: Keyring, who: Who, method_id: UUID, *, party: Party, given: Attestation, actor: Actor
) -> Verification | DomainError:
    """Its device has answered. Wrongly is the end of it: the challenge is spent."""
    answered = passkeys.challenge_of(given.client_data)
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        pending = await verification.by_id(tx, who.account_id, method_id)
        if pending is None or not pending.is_pending(now) or pending.begun_in != who.session.id:
            raise NotFound
        if pending.kind is not VerificationKind.PASSKEY:
            raise NotFound
        spent = None if answered is None else await passkey.spend(tx, answered)
        fits = (
            spent is not None
            and spent.purpose is Purpose.REGISTER
            and (spent.session_id, spent.verification_id) == (who.session.id, method_id)
            and spent.lives(now)
        )
        made = passkeys.read_attestation(party, given, answered) if fits and answered is not None else None
        if made is not None:
            verification.must_have_room(await verification.of_account(tx, who.account_id), pending.kind, pending.label)
        if made is None or not await passkey.keep(
            tx,
            verification_id=method_id,
            organization_id=who.organization_id,
            account_id=who.account_id,
            credential_id=made.credential_id,
            public_key=made.public_key,
            sign_count=made.sign_count,
            aaguid=made.aaguid,
            transports=made.transports,
            backup_eligible=made.backup_eligible,
            backed_up=made.backed_up,
        ):
            await verification.drop(tx, pending)
            reason = CodeRefused.code
            await told.record(tx, who, "confirm", method_id, pending.kind, actor=actor, now=now, reason=reason)
            return CodeRefused(tries_left=0)
        await verification.activate(tx, pending, now, verifies_person=made.verifies_person)
        return await security.added(tx, keys, who, pending, actor=actor, now=now)


async def ask(db: Database, who: Who) -> Asked:
    """For the second factor of half a sign-in, or the proof of a whole one."""
    async with db.write() as tx:
        generation, now = await hold_account(tx, who)
        held = await session.by_id(tx, who, who.session.id)
        if held is None or not held.lives(generation, now):
            raise NotSignedIn
        if held.state is SessionState.MUST_CHANGE_PASSWORD:
            raise PasswordChangeRequired
        known = await passkey.of_account(tx, who.account_id)
        if not known:
            raise NoPasskey
        half = held.state is SessionState.SECOND_FACTOR
        challenge, expires_at = await passkey.challenge(
            tx,
            Purpose.SECOND_FACTOR if half else Purpose.PROOF,
            now=now,
            organization_id=who.organization_id,
            session_id=who.session.id,
        )
        return Asked(challenge, expires_at, known)


async def ask_alone(db: Database) -> AskedAlone:
    """For a sign-in without a name: the same for everybody. Whoever has the token may answer it."""
    token = new_token()
    async with db.write() as tx:
        now = await tx.now()
        challenge, expires_at = await passkey.challenge(tx, Purpose.SIGN_IN, now=now, token_hash=hash_token(token))
    return AskedAlone(token, Asked(challenge, expires_at, []))
