"""Trust in a device, taken back: it is lost, or sold, or nobody knows it. Only an administrator gives it again.

The bond stays, so that trust can come back to the same device; until then whatever it says is turned away.
"""

from uuid import UUID

from api.operations.act import select_for_offers
from api.operations.session import hold_account
from models import delivery, departure, device, enrollment, job, place, session
from models.database import Database, Transaction
from models.delivery import Person
from models.device import Device, DeviceState
from models.errors import ActionInProgress, NotFound, NotSignedIn, ProofRequired
from models.event import Actor
from models.notification import Severity
from models.organization import OrganizationSettings
from models.sealed import Keyring
from models.session import Who
from models.settings import FRESH_PROOF
from models.vocabulary import DEPARTURES, Reason


async def disable(db: Database, keys: Keyring, who: Who, device_id: UUID, *, actor: Actor) -> frozenset[UUID]:
    """Everything that rests on the device ends at once. The accounts to nudge. Disabled twice is disabled."""
    async with db.write() as tx:
        # The bond before the account (lock order): a check-in that is under way is heard first.
        await enrollment.hold_living(tx, device_id, within=who.organization_id)
        generation, now = await hold_account(tx, who)
        row = (await tx.execute(select_for_offers(who).where(device.device.c.id == device_id))).one_or_none()
        if row is None:
            raise NotFound
        held = Device.of(row)
        if held.state is DeviceState.DISABLED:
            return frozenset()
        if held.state is not DeviceState.ACTIVE:
            raise device.refusal(Reason.NOT_ENROLLED, OrganizationSettings.of(row.settings))
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(generation, now):
            raise NotSignedIn
        if not asking.is_fresh(now):
            raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()), strength=asking.strength)
        await _must_not_be_on_its_way_out(tx, held)
        told = await departure.cut_off(tx, held, Reason.DEVICE_DISABLED, actor=actor, by="person", keys=keys, now=now)
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(held.account_id, held.organization_id),
            key="device.disabled",
            params={"device": held.name, **place.of(actor)},
            severity=Severity.WARNING,
            device_id=device_id,
            now=now,
        )
    return frozenset(told | {held.account_id})


async def _must_not_be_on_its_way_out(tx: Transaction, held: Device) -> None:
    """A device that is no longer heard would never hear that it is to be wiped. Raises ActionInProgress."""
    for one in await job.open_of_device(tx, held.id):
        if one.kind in DEPARTURES:
            raise ActionInProgress(job_id=one.id)
