"""Security information."""

from datetime import timedelta

from api import render, schemas
from api.call import Call, Reply
from api.operations import access_pass, contact, passkey, security
from api.passkeys import Party
from api.qr import picture_of
from models.address import mail_address, phone_number
from models.device import clean_name
from models.errors import DomainError, Invalid
from models.verification import Verification, VerificationKind


async def page(call: Call[None, None]) -> Reply:
    found = await security.page(call.needs.database, call.needs.keys, call.person)
    return Reply(200, schemas.SecurityMethods(items=[render.method(one, left) for one, left in found]))


async def show(call: Call[None, None]) -> Reply:
    needs = call.needs
    return _shown(*await security.show(needs.database, needs.keys, call.person, call.id("method_id")))


async def begin_totp(call: Call[schemas.MethodNamed, None]) -> Reply:
    needs = call.needs
    begun = await security.begin_totp(
        needs.database, needs.keys, call.person, label=_label(call.body.label), actor=call.actor
    )
    picture = picture_of(begun.uri)
    body = schemas.TotpBegun(
        id=begun.id,
        label=begun.label,
        expires_at=begun.expires_at,
        uri=begun.uri,
        key=begun.key,
        qr_svg=picture.svg,
        qr_png=picture.png,
    )
    return Reply(201, body)


async def begin_passkey(call: Call[schemas.MethodNamed, None]) -> Reply:
    party = Party.at(call.needs.settings.public_url)
    begun = await passkey.begin(call.needs.database, call.person, label=_label(call.body.label), actor=call.actor)
    return Reply(201, render.passkey_begun(begun, party, call.person))


async def begin_phone(call: Call[schemas.ContactNamed, None]) -> Reply:
    number = phone_number(call.body.address)
    if number is None:
        raise Invalid(errors=[{"field": "address", "rule": "phone_number"}])
    return await _begin_contact(call, VerificationKind.PHONE, number)


async def begin_email(call: Call[schemas.ContactNamed, None]) -> Reply:
    address = mail_address(call.body.address)
    if address is None:
        raise Invalid(errors=[{"field": "address", "rule": "mail"}])
    return await _begin_contact(call, VerificationKind.EMAIL, address)


async def _begin_contact(call: Call[schemas.ContactNamed, None], kind: VerificationKind, address: str) -> Reply:
    needs = call.needs
    begun = await contact.begin(
        needs.database,
        needs.keys,
        needs.throttle_key,
        call.person,
        kind=kind,
        address=address,
        label=_label(call.body.label),
        replaces=call.body.replaces,
        actor=call.actor,
    )
    return Reply(201, render.contact_begun(begun))


async def send_again(call: Call[None, None]) -> Reply:
    needs = call.needs
    begun = await contact.send_again(
        needs.database, needs.keys, needs.throttle_key, call.person, call.id("method_id"), actor=call.actor
    )
    return Reply(200, render.contact_begun(begun))


async def confirm(call: Call[schemas.MethodConfirmed, None]) -> Reply:
    needs, given, method_id = call.needs, call.body, call.id("method_id")
    if given.code is not None and given.credential is None:
        done = await security.confirm(
            needs.database,
            needs.keys,
            call.person,
            method_id,
            code=given.code,
            server_key=needs.throttle_key,
            actor=call.actor,
        )
    elif given.code is None and given.credential is not None:
        done = await passkey.confirm(
            needs.database,
            needs.keys,
            call.person,
            method_id,
            party=Party.at(needs.settings.public_url),
            given=given.credential.read(),
            actor=call.actor,
        )
    else:
        raise Invalid(errors=[{"field": "code", "rule": "code_or_credential"}])
    if isinstance(done, DomainError):
        raise done
    needs.door.nudge(call.person.account_id)
    return _shown(done)


async def change(call: Call[schemas.MethodChanged, None]) -> Reply:
    given = call.body
    if given.label is None and not given.default:
        raise Invalid(errors=[{"field": "", "rule": "label_or_default"}])
    changed = await security.change(
        call.needs.database,
        call.needs.keys,
        call.person,
        call.id("method_id"),
        label=None if given.label is None else _label(given.label),
        default=bool(given.default),
        matches=call.matches,
        actor=call.actor,
    )
    call.needs.door.nudge(call.person.account_id)
    return _shown(*changed)


async def remove(call: Call[None, None]) -> Reply:
    await security.remove(call.needs.database, call.needs.keys, call.person, call.id("method_id"), actor=call.actor)
    call.needs.door.nudge(call.person.account_id)
    return Reply(204)


async def make_codes(call: Call[None, None]) -> Reply:
    needs = call.needs
    made, codes = await security.make_codes(needs.database, needs.hasher, needs.keys, call.person, actor=call.actor)
    needs.door.nudge(call.person.account_id)
    told = [schemas.RecoveryCode(number=number, code=f"{number} {code}") for number, code in codes.items()]
    return Reply(201, schemas.RecoveryCodes(id=made.id, codes=told))


async def issue_pass(call: Call[schemas.AccessPassAsked, None]) -> Reply:
    needs, account_id = call.needs, call.id("account_id")
    issued = await access_pass.issue(
        needs.database,
        needs.hasher,
        needs.keys,
        call.person,
        account_id,
        lifetime=timedelta(seconds=call.body.lifetime_seconds),
        one_use=call.body.one_use,
        actor=call.actor,
    )
    needs.door.nudge(account_id)
    body = schemas.AccessPass(id=issued.id, code=issued.code, one_use=issued.one_use, expires_at=issued.expires_at)
    return Reply(201, body)


async def withdraw_pass(call: Call[None, None]) -> Reply:
    account_id = call.id("account_id")
    await access_pass.withdraw(call.needs.database, call.needs.keys, call.person, account_id, actor=call.actor)
    call.needs.door.nudge(account_id)
    return Reply(204)


def _label(text: str) -> str:
    label = clean_name(text)
    if label is None:
        raise Invalid(errors=[{"field": "label", "rule": "name"}])
    return label


def _shown(method: Verification, codes_left: int | None = None) -> Reply:
    return Reply(200, render.method(method, codes_left), headers={"ETag": method.mark})
