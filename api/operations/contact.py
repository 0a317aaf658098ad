"""A phone or a mail address as a method: begun with a code to the new address, which must come back.

Whose else the address may be is not looked at before that: who does not read it learns nothing of it.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api.operations import security, told
from api.operations import session as sign_ins
from models import account, contact, sent_code, throttle, verification
from models.contact import Contact
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import DomainError, NotFound, TooManyTries
from models.event import Actor
from models.keyed import of_address
from models.sealed import Keyring
from models.sent_code import CHANNELS, FLOW, Aim, Purpose, SentCode
from models.session import Who
from models.throttle import ENROL_CODES
from models.verification import VerificationKind
from models.vocabulary import new_id


@dataclass(frozen=True, slots=True)
class ContactBegun:
    id: UUID
    label: str
    hint: str
    expires_at: datetime
    code: SentCode


async def begin(
    db: Database,
    keys: Keyring,
    server_key: bytes,
    who: Who,
    *,
    kind: VerificationKind,
    address: str,
    label: str,
    replaces: UUID | None,
    actor: Actor,
) -> ContactBegun:
    """A newer one takes the place of an older one that was not confirmed. `address` as `models.address` writes it."""
    async with db.write() as tx:
        methods = await security.must_be_proven(tx, who)
        now = await tx.now()
        replaced = next((one for one in methods if one.id == replaces and one.kind is kind), None)
        if replaces is not None and replaced is None:
            raise NotFound
        verification.must_have_room([one for one in methods if one is not replaced], kind, label)
        address_hash = of_address(server_key, address)
        mine = await contact.of_account(tx, who.account_id)
        contact.must_be_new(list(mine.values()), kind, address_hash)
        await verification.drop_pending(tx, who.account_id, kind)
        method_id, expires_at = new_id(now), now + FLOW
        await tx.execute(
            verification.new_contact(
                verification_id=method_id,
                organization_id=who.organization_id,
                account_id=who.account_id,
                kind=kind,
                label=label,
                begun_in=who.session.id,
                expires_at=expires_at,
                now=now,
            )
        )
        await contact.keep(
            tx,
            verification_id=method_id,
            organization_id=who.organization_id,
            account_id=who.account_id,
            kind=kind,
            address=address,
            address_hash=address_hash,
            replaces=replaces,
            keys=keys,
        )
        await told.record(tx, who, "begin", method_id, kind, actor=actor, now=now)
        pending = await contact.of_method(tx, method_id)
        if pending is None:
            raise NotFound
        sent = await _send(tx, keys, server_key, who, pending, expires_at, actor=actor, now=now)
        if isinstance(sent, DomainError):
            # Nothing was begun: what was begun before still waits.
            raise sent
        return ContactBegun(method_id, label, contact.masked(address), expires_at, sent)


async def send_again(
    db: Database, keys: Keyring, server_key: bytes, who: Who, method_id: UUID, *, actor: Actor
) -> ContactBegun:
    """Another code for what was begun in this session; the older one is dead."""
    async with db.write() as tx:
        _, now = await sign_ins.hold_account(tx, who)
        method = await verification.by_id(tx, who.account_id, method_id)
        if method is None or not method.is_pending(now) or method.begun_in != who.session.id:
            raise NotFound
        pending = await contact.of_method(tx, method_id)
        if pending is None or method.expires_at is None:
            raise NotFound
        sent = await _send(tx, keys, server_key, who, pending, method.expires_at, actor=actor, now=now)
        if isinstance(sent, DomainError):
            raise sent
        return ContactBegun(method_id, method.label, pending.hint(keys), method.expires_at, sent)


async def _send(
    tx: Transaction,
    keys: Keyring,
    server_key: bytes,
    who: Who,
    pending: Contact,
    until: datetime,
    *,
    actor: Actor,
    now: datetime,
) -> SentCode | DomainError:
    wait = await throttle.take(tx, ENROL_CODES, str(who.account_id), now)
    if wait is not None:
        return TooManyTries(wait)
    row = await account.lock(tx, who.account_id)
    if row is None:
        raise NotFound
    sent = await sent_code.send(
        tx,
        keys=keys,
        server_key=server_key,
        aim=Aim(Purpose.ENROL, pending.id, pending.id),
        channel=CHANNELS[pending.kind],
        to=pending.open(keys),
        account=Person(who.account_id, who.organization_id),
        language=row.language,
        until=until,
        now=now,
    )
    if isinstance(sent, SentCode):
        await told.record(tx, who, "send", pending.id, pending.kind, actor=actor, now=now)
    return sent
