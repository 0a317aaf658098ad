"""A device that goes: its bond ends, and with it whatever was asked of it and every passcode of it.

That is so when it says farewell, when a removal or a wipe succeeded, and when one is given up: handed over, and never
answered. The bond is held first, then its jobs, then the account (lock order).
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from models import enrollment, event, job, passcode, re_sign_in
from models.database import Transaction
from models.device import Device, DeviceState, set_state
from models.event import Actor
from models.job import Job, Words
from models.sealed import Keyring
from models.vocabulary import DEPARTURES, Act, JobState, Outcome, Reason

_ENDINGS: Final = frozenset({JobState.SUCCEEDED, JobState.UNCONFIRMED})


def takes_away(act: Act, ending: JobState | None) -> bool:
    """Whether the device is no longer ours once this act ended so."""
    return act in DEPARTURES and ending in _ENDINGS


async def settle(
    tx: Transaction,
    held: Job,
    outcome: Outcome,
    *,
    of: Device,
    actor: Actor,
    words: Words,
    keys: Keyring,
    unread_passcode: timedelta,
    now: datetime,
    fence: bool = False,
) -> set[UUID]:
    """Settle a job outside a check-in, and let its device go where that is what it means. The accounts to nudge."""
    goes = takes_away(held.act, outcome.state)
    if goes:
        await enrollment.hold_living(tx, of.id)
    if not await job.settle(
        tx, held, outcome, actor=actor, words=words, keys=keys, unread_passcode=unread_passcode, now=now, fence=fence
    ):
        return set()
    told = {held.account_id}
    if goes:
        told |= await leave(tx, of, actor=actor, keys=keys, now=now)
    return told


async def cut_off(
    tx: Transaction,
    held: Device,
    why: Reason,
    *,
    actor: Actor,
    by: str,
    keys: Keyring,
    now: datetime,
) -> set[UUID]:
    """The device is trusted no more: its jobs, windows and passcodes end. The accounts to nudge.

    Its bond stays, so that trust can come back to the same device. A job that a worker holds at this moment ends with
    its next run. The bond and the account are held.
    """
    told = await job.end_for_device(
        tx,
        await job.open_of_device(tx, held.id, hold=True, waiting=False),
        actor=actor,
        words=Words(success_key="", device_name=held.name),
        keys=keys,
        now=now,
        reason=why,
        by=by,
    )
    await re_sign_in.cancel_live(tx, held.account_id, held.organization_id, why, now, actor=actor, device_id=held.id)
    await passcode.destroy_of_device(tx, held.organization_id, held.id, why, now)
    await set_state(tx, held.id, DeviceState.DISABLED)
    await event.record(
        tx,
        organization_id=held.organization_id,
        action="device:trust:disable",
        actor=actor,
        now=now,
        account_id=held.account_id,
        subject=("device", held.id),
        facts=None if why is Reason.DEVICE_DISABLED else {"why": why},
    )
    return set(told)


async def leave(
    tx: Transaction, gone: Device, *, actor: Actor, keys: Keyring, now: datetime, said_farewell: bool = False
) -> set[UUID]:
    """The device is no longer ours. The accounts to nudge.

    A job that somebody else holds at this moment is not waited for: its next run finds that the device has left.
    """
    told = await job.end_for_device(
        tx,
        await job.open_of_device(tx, gone.id, hold=True, waiting=False),
        actor=actor,
        words=Words(success_key="", device_name=gone.name),
        keys=keys,
        now=now,
        said_farewell=said_farewell,
    )
    await passcode.destroy_of_device(tx, gone.organization_id, gone.id, Reason.DEVICE_LEFT, now)
    await enrollment.end_of_device(tx, gone.id, now)
    await set_state(tx, gone.id, DeviceState.LEFT)
    await event.record(
        tx,
        organization_id=gone.organization_id,
        action="device:enrollment:left",
        actor=actor,
        now=now,
        account_id=gone.account_id,
        subject=("device", gone.id),
    )
    return set(told)
