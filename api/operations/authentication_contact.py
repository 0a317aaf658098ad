"""By which telephones and mail addresses somebody proves who they are, as a global administrator keeps them.

They are the person's own methods. No code is sent: whoever says so has made sure of it elsewhere. The person hears of
it at every address, the new and the old one too, and an address of today leads back into no account before tomorrow.
"""

from uuid import UUID

from api.operations import administration, security, told
from api.operations.administration import Target
from models import address, contact, role, verification
from models.database import Database, Transaction
from models.errors import Invalid, NotFound
from models.event import Actor
from models.keyed import of_address
from models.sealed import Keyring
from models.session import Who
from models.verification import Verification, VerificationKind
from models.vocabulary import new_id


async def page(db: Database, keys: Keyring, who: Who, account_id: UUID) -> list[Verification]:
    """Each with its mask."""
    async with db.write() as tx:
        await _target(tx, who, account_id)
        return await _of(tx, keys, account_id)


async def _of(tx: Transaction, keys: Keyring, account_id: UUID) -> list[Verification]:
    methods = [one for one in await verification.of_account(tx, account_id) if one.kind in contact.KINDS]
    return await contact.with_hints(tx, keys, methods)


async def _target(tx: Transaction, who: Who, account_id: UUID) -> Target:
    return await administration.reached(tx, who, account_id, role.AUTHENTICATION_CONTACT)


async def add(
    db: Database,
    keys: Keyring,
    server_key: bytes,
    who: Who,
    account_id: UUID,
    *,
    kind: VerificationKind,
    given: str,
    label: str | None,
    replaces: UUID | None,
    actor: Actor,
) -> Verification:
    """It counts at once; one that it replaces goes in the same breath, with the sessions that were proven by it."""
    written = _read(kind, given)
    async with db.write() as tx:
        target = await _target(tx, who, account_id)
        whose, now = target.person, target.now
        methods = await verification.of_account(tx, account_id)
        replaced = next((one for one in methods if one.id == replaces and one.kind is kind), None)
        if replaces is not None and replaced is None:
            raise NotFound
        called = label or (kind.value if replaced is None else replaced.label)
        verification.must_have_room([one for one in methods if one is not replaced], kind, called)
        hashed = of_address(server_key, written)
        contact.must_be_new(list((await contact.of_account(tx, account_id)).values()), kind, hashed)
        also: tuple[str, ...] = ()
        method_id = new_id(now)
        if replaced is not None:
            generation = target.held.session_generation
            also = await security.take_off(
                tx, keys, whose, replaced, generation=generation, but=None, by=method_id, actor=actor, now=now
            )
        await tx.execute(
            verification.new_contact(
                verification_id=method_id,
                organization_id=whose.organization_id,
                account_id=account_id,
                kind=kind,
                label=called,
                begun_in=who.session.id,
                expires_at=now,
                now=now,
            )
        )
        await contact.keep(
            tx,
            verification_id=method_id,
            organization_id=whose.organization_id,
            account_id=account_id,
            kind=kind,
            address=written,
            address_hash=hashed,
            replaces=None,
            keys=keys,
        )
        pending, new = await verification.by_id(tx, account_id, method_id), await contact.of_method(tx, method_id)
        if pending is None or new is None:
            raise NotFound
        await contact.must_have_room(tx, new)
        await verification.activate(tx, pending, now)
        await contact.confirm(tx, new, now)
        if replaced is not None and replaced.is_default:
            # The same default, at another address.
            await verification.make_default(tx, pending)
        await verification.settle_default(tx, account_id)
        await told.record(tx, whose, "add", method_id, kind, actor=actor, now=now, facts={"by": "administrator"})
        key = "security.contact_set"
        await security.changed(tx, keys, whose, pending, key=key, also=also, came=True, actor=actor, now=now)
        return next(one for one in await _of(tx, keys, account_id) if one.id == method_id)


async def remove(db: Database, keys: Keyring, who: Who, account_id: UUID, method_id: UUID, *, actor: Actor) -> None:
    """Whoever has a second factor keeps one: another takes its place, or is added first. Raises LastMethod."""
    async with db.write() as tx:
        target = await _target(tx, who, account_id)
        whose, now = target.person, target.now
        methods = await verification.of_account(tx, account_id)
        method = next((one for one in methods if one.id == method_id and one.kind in contact.KINDS), None)
        if method is None:
            raise NotFound
        verification.must_leave_enough(methods, method)
        generation = target.held.session_generation
        also = await security.take_off(tx, keys, whose, method, generation=generation, but=None, actor=actor, now=now)
        await verification.settle_default(tx, account_id)
        key = "security.contact_taken"
        await security.changed(tx, keys, whose, method, key=key, also=also, actor=actor, now=now)


def _read(kind: VerificationKind, given: str) -> str:
    """As `models.address` writes it. Raises Invalid."""
    if kind is VerificationKind.PHONE:
        written, rule = address.authentication_number(given), "phone_with_country"
    else:
        written, rule = address.mail_address(given), "mail"
    if written is None:
        raise Invalid(errors=[{"field": "address", "rule": rule}])
    return written
