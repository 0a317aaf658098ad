"""Trust in a device, taken back: it is lost, or sold, or nobody knows it. Only an administrator gives it again.

The bond stays, so that trust can come back to the same device; until then whatever it says is turned away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from api.operations import activity, administration
from api.operations.act import SELECT_FOR_OFFERS, Platforms, select_for_offers
from api.operations.activity import Recognized
from api.operations.administration import Target
from api.operations.session import ended, hold_account
from models import account, delivery, departure, device, enrollment, event, job, organization, place, role, session
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


@dataclass(frozen=True, slots=True)
class Seen:
    """A device as the administrators of its organization see it."""

    device: Device
    known: Recognized


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
        told = await _trust_no_more(tx, held, keys=keys, actor=actor, by="person", now=now)
        await _tell(tx, keys, held, place.of(actor), key="device.disabled", now=now)
    return told


async def disable_for(
    db: Database,
    keys: Keyring,
    platforms: Platforms,
    who: Who,
    account_id: UUID,
    device_id: UUID,
    *,
    reason: str,
    actor: Actor,
) -> tuple[Seen, frozenset[UUID]]:
    """By an administrator, with all that it has when its owner does it. The accounts to nudge, too.

    The notice has no "that was not me": whoever gets it knows that it was somebody else, and that link would only take
    their own sign-ins away.
    """
    async with db.write() as tx:
        target, held = await _reached(tx, who, account_id, device_id)
        told: frozenset[UUID] = frozenset()
        if held.state is not DeviceState.DISABLED:
            if held.state is not DeviceState.ACTIVE:
                raise device.refusal(Reason.NOT_ENROLLED, await organization.settings_of(tx, who.organization_id))
            told = await _trust_no_more(
                tx, held, keys=keys, actor=actor, by="administrator", now=target.now, reason=reason
            )
            await _tell(tx, keys, held, {}, key="device.disabled_by_administrator", now=target.now, not_me=False)
        return await _seen(tx, platforms, who, account_id, device_id), told


async def enable(
    db: Database, keys: Keyring, platforms: Platforms, who: Who, account_id: UUID, device_id: UUID, *, actor: Actor
) -> Seen:
    """Trust, given back: it is heard again from its next check-in on. Nothing that ended comes back.

    Enabled twice is enabled.
    """
    async with db.write() as tx:
        target, held = await _reached(tx, who, account_id, device_id)
        if held.state is not DeviceState.ACTIVE:
            settings = await organization.settings_of(tx, who.organization_id)
            if held.state is not DeviceState.DISABLED:
                raise device.refusal(Reason.NOT_ENROLLED, settings)
            await device.must_have_room(tx, who.organization_id, account_id, settings)
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
            await _tell(tx, keys, held, {}, key="device.enabled", now=target.now)
        return await _seen(tx, platforms, who, account_id, device_id)


async def page(
    db: Database,
    platforms: Platforms,
    who: Who,
    account_id: UUID,
    *,
    disabled: bool,
    after: UUID | None,
    limit: int,
) -> list[Seen]:
    """Somebody's devices in this organization, for its administrators: of whoever is at home or a member here."""
    there = [DeviceState.ACTIVE, DeviceState.PENDING, *([DeviceState.DISABLED] if disabled else [])]
    statement = (
        _of_account(who, account_id)
        .where(device.device.c.state.in_([state.value for state in there]))
        .order_by(device.device.c.id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(device.device.c.id > after)
    async with db.read() as tx:
        ours = await account.at_home(tx, who.organization_id, account_id, await tx.now())
        if ours is None and not await organization.is_guest(tx, who.organization_id, account_id):
            raise NotFound
        rows = (await tx.execute(statement)).all()
        known = await activity.of_rows(tx, platforms, rows)
    return [Seen(Device.of(row), known[row.id]) for row in rows]


def _of_account(who: Who, account_id: UUID) -> sa.Select[Any]:
    return SELECT_FOR_OFFERS.add_columns(*activity.FOR_ADMINISTRATOR).where(
        device.device.c.organization_id == who.organization_id, device.device.c.account_id == account_id
    )


async def _reached(tx: Transaction, who: Who, account_id: UUID, device_id: UUID) -> tuple[Target, Device]:
    """The device of somebody whom the administrator may act on, its bond and its owner held. Raises NotFound."""
    if await device.by_id(tx, who.organization_id, account_id, device_id) is not None:
        # None of another organization is ever waited for.
        await enrollment.hold_living(tx, device_id)
    target = await administration.reached(tx, who, account_id, role.SENSITIVE, guests=True)
    held = await device.by_id(tx, who.organization_id, account_id, device_id)
    if held is None:
        raise NotFound
    return target, held


async def _seen(tx: Transaction, platforms: Platforms, who: Who, account_id: UUID, device_id: UUID) -> Seen:
    row = (await tx.execute(_of_account(who, account_id).where(device.device.c.id == device_id))).one()
    return Seen(Device.of(row), (await activity.of_rows(tx, platforms, [row]))[row.id])


async def _trust_no_more(
    tx: Transaction,
    held: Device,
    *,
    keys: Keyring,
    actor: Actor,
    by: str,
    now: datetime,
    reason: str | None = None,
) -> frozenset[UUID]:
    """Whoever wants it: the accounts to nudge. Raises ActionInProgress."""
    await _must_not_be_on_its_way_out(tx, held)
    why = Reason.DEVICE_DISABLED
    told = await departure.cut_off(tx, held, why, actor=actor, by=by, keys=keys, now=now, words=reason)
    for opened in await session.on_device(tx, held.account_id, held.id):
        if await session.end(tx, opened.id, now):
            # No organization's record names another's administrators.
            here = opened.organization_id == held.organization_id
            by_whom = actor if here or actor.id == held.account_id else Actor(actor.kind, request_id=actor.request_id)
            await ended(tx, opened, actor=by_whom, now=now)
    return frozenset(told | {held.account_id})


async def _must_not_be_on_its_way_out(tx: Transaction, held: Device) -> None:
    """A device that is no longer heard would never hear that it is to be wiped. Raises ActionInProgress."""
    for one in await job.open_of_device(tx, held.id):
        if one.kind in DEPARTURES:
            raise ActionInProgress(job_id=one.id)


async def _tell(
    tx: Transaction,
    keys: Keyring,
    held: Device,
    where: Mapping[str, str],
    *,
    key: str,
    now: datetime,
    not_me: bool = True,
) -> None:
    """Where the device is, and by mail."""
    await delivery.notify(
        tx,
        keys=keys,
        account=Person(held.account_id, held.organization_id),
        key=key,
        params={"device": held.name, **where},
        severity=Severity.WARNING,
        device_id=held.id,
        now=now,
        not_me=not_me,
    )
