"""Inviting somebody who has an account elsewhere, and joining by it.

Whoever invites is answered alike whether anybody has that address or not. Whoever accepts holds the link that went
there, and is signed in to an account whose address it is: a link that was handed on leads nobody else in.
"""

from dataclasses import dataclass
from uuid import UUID

from api.operations import administration
from api.operations.session import hold_row
from models import address, delivery, event, invitation, notification, organization, role, throttle
from models.contact import masked
from models.database import Database
from models.delivery import Channel, Link
from models.errors import AlreadyMember, DomainError, Invalid, NotAllowed, NotFound, NotSignedIn, TooManyTries
from models.event import Actor
from models.invitation import Ending, Invitation
from models.keyed import of_address
from models.notification import Severity
from models.organization import Belonging
from models.sealed import Keyring
from models.session import Who, by_id, hash_token
from models.throttle import INVITATION_MAILS, INVITATIONS, INVITATIONS_OF_INVITER, INVITATIONS_OF_ORGANIZATION, Budget


@dataclass(frozen=True, slots=True)
class Joined:
    belonging: Belonging
    account_id: UUID


async def invite(
    db: Database, keys: Keyring, server_key: bytes, who: Who, *, mail: str, language: str, actor: Actor
) -> Invitation | DomainError:
    """A link goes to the address, and another one takes its place. It gives no role."""
    to = address.mail_address(mail)
    if to is None:
        raise Invalid(errors=[{"field": "mail", "rule": "mail"}])
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.INVITERS)
        hashed = of_address(server_key, to)
        wait = await throttle.take_each(tx, _budgets(who, hashed), now)
        if wait is not None:
            return TooManyTries(wait)
        # What others have sent there is not this organization's to know: it is answered alike, and the mail waits.
        held_back = await throttle.stand_in_line(tx, INVITATION_MAILS, hashed, now)
        made, token = await invitation.issue(
            tx,
            organization_id=who.organization_id,
            address_hash=hashed,
            hint=masked(to),
            invited_by=who.account_id,
            now=now,
        )
        await delivery.send(
            tx,
            keys=keys,
            organization_id=who.organization_id,
            account_id=None,
            channel=Channel.MAIL,
            to=to,
            key="organization.invited",
            params={"at": now.isoformat(timespec="seconds"), "organization": who.organization_name},
            language=language,
            secret=token,
            link=Link.JOIN,
            expires_at=made.expires_at,
            not_before=None if held_back is None else now + held_back,
            now=now,
            delivery_id=made.id,
        )
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="organization:invitation:send",
            actor=actor,
            now=now,
            subject=("invitation", made.id),
        )
        return made


def _budgets(who: Who, address_hash: str) -> list[tuple[Budget, str]]:
    """The shared ones in one order."""
    inviter, organization_id = str(who.account_id), str(who.organization_id)
    return [
        *((budget, inviter) for budget in INVITATIONS_OF_INVITER),
        *((budget, organization_id) for budget in INVITATIONS_OF_ORGANIZATION),
        (INVITATIONS, f"{organization_id}:{address_hash}"),
    ]


async def page(db: Database, who: Who, *, before: UUID | None, limit: int) -> tuple[list[Invitation], list[str]]:
    """Newest first, and how each stands. Raises NotAllowed."""
    if not role.holds(who.roles, role.INVITERS | role.READERS):
        raise NotAllowed
    async with db.read() as tx:
        found = await invitation.page(tx, who.organization_id, before=before, limit=limit)
        now = await tx.now()
    return found, [one.seen_at(now) for one in found]


async def withdraw(db: Database, who: Who, invitation_id: UUID, *, actor: Actor) -> None:
    """Its link leads nowhere any more. One that is over stays as it was."""
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.INVITERS)
        held = await invitation.by_id(tx, who.organization_id, invitation_id)
        if held is None:
            raise NotFound
        if not held.lives(now):
            return
        await invitation.end(tx, held, Ending.WITHDRAWN, now)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="organization:invitation:withdraw",
            actor=actor,
            now=now,
            subject=("invitation", held.id),
        )


async def accept(db: Database, keys: Keyring, server_key: bytes, who: Who, token: str, *, actor: Actor) -> Joined:
    """A new membership, with no role and nothing of one that was before. Raises NotFound, AlreadyMember.

    Unknown, used, withdrawn, too late and for somebody else are the same outside.
    """
    async with db.write() as tx:
        held = await hold_row(tx, who)
        found = await invitation.by_token(tx, hash_token(token))
        now = await tx.now()
        asking = await by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        letterbox = await address.of_account(tx, held.id, keys)
        mine = {of_address(server_key, mail) for mail in letterbox.settled(now)}
        if found is None or not found.lives(now) or found.address_hash not in mine:
            raise NotFound
        if await organization.is_member(tx, found.organization_id, held.id):
            raise AlreadyMember
        await tx.execute(organization.new_membership(found.organization_id, held.id, (), now, guest=True))
        await invitation.end(tx, found, Ending.ACCEPTED, now)
        (belonging,) = await organization.of_account(tx, held.id, after=None, limit=1, only=found.organization_id)
        await event.record(
            tx,
            organization_id=found.organization_id,
            action="account:membership:join",
            actor=actor,
            now=now,
            account_id=held.id,
            subject=("invitation", found.id),
        )
        await notification.tell(
            tx,
            organization_id=held.organization_id,
            account_id=held.id,
            subject_id=found.id,
            key="organization.joined",
            params={"organization": belonging.name},
            severity=Severity.INFO,
            now=now,
        )
        return Joined(belonging, held.id)
