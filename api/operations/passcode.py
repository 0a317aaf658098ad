"""Reading the temporary passcode: by the account that asked and still owns the device, with fresh proof."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from api.operations.act import Platforms
from api.operations.session import hold_account
from models import delivery, event, organization, passcode, place
from models.database import Database
from models.delivery import Person
from models.device import Device, device
from models.errors import NotFound, NothingToReveal, PasscodeGone, ProofRequired
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import Who
from models.settings import FRESH_PROOF
from models.vocabulary import PasscodeKind, PlatformName, Secret


@dataclass(frozen=True, slots=True)
class Revealed:
    passcode: Secret = field(repr=False)
    kind: PasscodeKind
    readable_until: datetime


async def reveal(
    db: Database, keys: Keyring, platforms: Platforms, who: Who, device_id: UUID, *, actor: Actor
) -> Revealed:
    """Each reading is written down. Raises NothingToReveal where there never was a code, PasscodeGone where it is."""
    async with db.write() as tx:
        _, now = await hold_account(tx, who)
        statement = sa.select(device).where(
            device.c.id == device_id,
            device.c.organization_id == who.organization_id,
            device.c.account_id == who.account_id,
        )
        row = (await tx.execute(statement)).one_or_none()
        if row is None:
            raise NotFound
        held = Device.of(row)
        platform = platforms.get(PlatformName(held.platform))
        rule = None if platform is None else platform.passcode
        if rule is None or rule.kind is PasscodeKind.REMOVED:
            raise NothingToReveal(reason="none_is_made", next=None if rule is None else rule.reveal_key)
        if not who.session.is_fresh(now):
            raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()))
        code = await passcode.newest_of_device(tx, who.organization_id, device_id)
        if code is None or code.account_id != who.account_id:
            raise NothingToReveal(reason="none_yet", next=rule.reveal_key)
        if not code.is_readable(now):
            raise PasscodeGone(next=rule.reveal_key)
        settings = await organization.settings_of(tx, who.organization_id)
        until = await passcode.note_reading(tx, code, now, settings.readable_passcode)
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="device:passcode:reveal",
            actor=actor,
            now=now,
            account_id=who.account_id,
            subject=("device", device_id),
            facts={"job_id": str(code.job_id)},
        )
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(who.account_id, who.organization_id),
            key="passcode.revealed",
            params={"device": held.name, **place.of(actor)},
            now=now,
            severity=Severity.INFO,
            device_id=device_id,
        )
        return Revealed(code.open(keys), code.kind, until)
