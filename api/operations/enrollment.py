"""Bringing a device in: an invitation by its owner, and the one-time link that hands out its identity."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from api.operations.act import Platforms
from api.operations.session import hold_account
from models import device, enrollment, event, organization, throttle
from models.database import Database
from models.device import DeviceState
from models.errors import DomainError, Invalid, TooManyTries
from models.event import Actor
from models.sealed import Keyring
from models.session import Who, hash_token, new_token
from models.settings import ENROLLMENT_LINK
from models.throttle import ENROLLMENTS
from models.vocabulary import Ownership, PlatformName, Reason, Secret, new_id
from platforms.base import PlatformHandler, Refusal, Welcome


@dataclass(frozen=True, slots=True)
class Invited:
    id: UUID
    device_id: UUID
    link: str = field(repr=False)
    expires_at: datetime


async def invite(
    db: Database,
    platforms: Platforms,
    who: Who,
    *,
    platform: str,
    name: str | None,
    ownership: Ownership,
    actor: Actor,
) -> Invited | DomainError:
    if PlatformName(platform) not in platforms:
        async with db.read() as tx:
            settings = await organization.settings_of(tx, who.organization_id)
        raise device.refusal(Reason.PLATFORM_UNSUPPORTED, settings)
    label = platform if name is None else device.clean_name(name)
    if label is None:
        raise Invalid(errors=[{"field": "name", "rule": "name"}])
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        settings = await organization.settings_of(tx, who.organization_id)
        await device.must_have_room(tx, who.organization_id, who.account_id, settings)
        wait = await throttle.take(tx, ENROLLMENTS, str(who.account_id), now)
        if wait is not None:
            return TooManyTries(wait)
        invited = Invited(new_id(now), new_id(now), new_token(), now + ENROLLMENT_LINK)
        await tx.execute(
            device.new_device(
                device_id=invited.device_id,
                organization_id=who.organization_id,
                account_id=who.account_id,
                name=label,
                platform=platform,
                ownership=ownership,
                state=DeviceState.PENDING,
                now=now,
            )
        )
        await enrollment.invite(
            tx,
            enrollment_id=invited.id,
            organization_id=who.organization_id,
            device_id=invited.device_id,
            platform=platform,
            link_hash=hash_token(invited.link),
            link_expires_at=invited.expires_at,
            now=now,
        )
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="device:enrollment:invite",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("device", invited.device_id),
            facts={"platform": platform, "ownership": ownership.value},
        )
        return invited


async def open_link(db: Database, keys: Keyring, platform: PlatformHandler, link: Secret) -> Welcome | Refusal:
    """Once, and only once: two who open it at the same moment are one who gets it and one who does not."""
    hashed = hash_token(link.text())
    async with db.read() as tx:
        found = await enrollment.of_link(tx, hashed, await tx.now())
        if found is None or found.platform != platform.name:
            return Refusal.LINK_GONE
        ownership = await device.ownership_of(tx, found.device_id)
    # Keys take their time: in a thread, and before anything is held.
    welcome = await asyncio.to_thread(platform.welcome, found.id, ownership, db.roughly_now())
    async with db.write() as tx:
        now = await tx.now()
        bond = await enrollment.of_link(tx, hashed, now, hold=True)
        if bond is None:
            return Refusal.LINK_GONE
        memory = None
        if welcome.memory is not None:
            memory = enrollment.seal_memory(keys, bond.organization_id, bond.id, welcome.memory)
        await enrollment.open_link(tx, bond, welcome.certificate_hash, memory)
        await event.record(
            tx,
            organization_id=bond.organization_id,
            action="device:enrollment:open_link",
            actor=event.device_actor(bond.device_id),
            now=now,
            account_id=await device.owner_of(tx, bond.device_id),
            subject=("device", bond.device_id),
        )
    return welcome
