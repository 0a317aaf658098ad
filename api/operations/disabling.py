"""Trust in a device, taken back: it is lost, or sold, or nobody knows it. Only an administrator gives it again.

The bond stays, so that trust can come back to the same device; until then whatever it says is turned away.
"""

from dataclasses import replace
from uuid import UUID

from api.operations import administration
from api.operations.act import select_for_offers
from api.operations.session import ended, hold_account
from models import account, delivery, departure, device, enrollment, event, job, organization, place, role, session
from models.database import Database, Transaction
from models.delivery import Person
from models.device import Device, DeviceState
from models.errors import ActionInProgress, DeviceQuota, NotFound, NotSignedIn, ProofRequired
from models.event import Actor
from models.notification import Severity
from models.organization import OrganizationSettings
from models.sealed import Keyring
from models.session import Who
from models.settings import DEVICES_PER_ACCOUNT, FRESH_PROOF
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
        for opened in await session.on_device(tx, held.account_id, held.id):
            if await session.end(tx, opened.id, now):
                await ended(tx, opened, actor=actor, now=now)
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


async def page(
    db: Database, who: Who, account_id: UUID, *, disabled: bool, after: UUID | None, limit: int
) -> list[Device]:
    """Somebody's devices, for the administrators of their organization."""
    async with db.read() as tx:
        if await account.at_home(tx, who.organization_id, account_id, await tx.now()) is None:
            raise NotFound
        return await device.page(tx, who.organization_id, account_id, disabled=disabled, after=after, limit=limit)


async def enable(db: Database, keys: Keyring, who: Who, account_id: UUID, device_id: UUID, *, actor: Actor) -> Device:
    """Trust, given back: it is heard again from its next check-in on. Nothing that ended comes back.

    Enabled twice is enabled.
    """
    async with db.write() as tx:
        if await device.by_id(tx, who.organization_id, account_id, device_id) is not None:
            # None of another organization is ever waited for.
            await enrollment.hold_living(tx, device_id)
        target = await administration.reached(tx, who, account_id, role.SENSITIVE)
        held = await device.by_id(tx, who.organization_id, account_id, device_id)
        if held is None:
            raise NotFound
        if held.state is DeviceState.ACTIVE:
            return held
        if held.state is not DeviceState.DISABLED:
            raise device.refusal(Reason.NOT_ENROLLED, await organization.settings_of(tx, who.organization_id))
        if await device.count_of_account(tx, who.organization_id, account_id) >= DEVICES_PER_ACCOUNT:
            raise DeviceQuota(limit=DEVICES_PER_ACCOUNT)
        await device.set_state(tx, device_id, DeviceState.ACTIVE)
        await event.record(
            tx,
            organization_id=held.organization_id,
            action="device:trust:enable",
            actor=actor,
            now=target.now,
            account_id=account_id,
            subject=("device", device_id),
        )
        await delivery.notify(
            tx,
            keys=keys,
            account=target.person,
            key="device.enabled",
            params={"device": held.name},
            severity=Severity.WARNING,
            device_id=device_id,
            now=target.now,
        )
        return replace(held, state=DeviceState.ACTIVE)
