"""A device that goes: its bond ends, and with it whatever was asked of it and every passcode of it.

That is so when it says farewell, when a removal or a wipe succeeded, and when one is given up: handed over, and never
answered. The bond is held first, then its jobs, then the account (lock order).
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from models import account, approval, enrollment, event, job, organization, passcode, re_sign_in
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
    by: str | None = None,
) -> set[UUID]:
    """Settle a job outside a check-in, and let its device go where that is what it means. The accounts to nudge.

    Nobody: it had moved on.
    """
    goes = takes_away(held.act, outcome.state)
    if held.act in DEPARTURES:
        await enrollment.hold_living(tx, of.id)
    if not await job.settle(
        tx,
        held,
        outcome,
        actor=actor,
        words=words,
        keys=keys,
        unread_passcode=unread_passcode,
        now=now,
        fence=fence,
        by=by,
    ):
        return set()
    told = {held.account_id}
    if goes:
        told |= await leave(tx, of, actor=actor, keys=keys, now=now)
    elif held.act in DEPARTURES:
        told |= (await came_to_nothing(tx, of, actor=actor, keys=keys, now=now))[1]
    return told


async def came_to_nothing(
    tx: Transaction, of: Device, *, actor: Actor, keys: Keyring, now: datetime
) -> tuple[bool, set[UUID]]:
    """A removal or a wipe of the device has just ended otherwise. Where its owner left meanwhile, its trust was left
    to that alone (models/leaving.py), and ends here. Whether it did, and the accounts to nudge. The bond is held.
    """
    # Whoever leaves holds their account: either that is seen here, or what cleans up behind them sees this job ended.
    await account.lock(tx, of.account_id)
    if await organization.is_member(tx, of.organization_id, of.account_id):
        return False, set()
    if any(one.kind in DEPARTURES for one in await job.open_of_device(tx, of.id)):
        return False, set()
    return True, await end_trust(tx, of, actor=actor, keys=keys, now=now)


async def end_trust(tx: Transaction, of: Device, *, actor: Actor, keys: Keyring, now: datetime) -> set[UUID]:
    """Its owner left. One that was about to be trusted goes. The accounts to nudge; the bond and theirs are held."""
    if of.state is DeviceState.ACTIVE:
        return await cut_off(tx, of, Reason.OWNER_LEFT, actor=actor, by=actor.kind, keys=keys, now=now)
    if of.state is DeviceState.PENDING:
        return await leave(tx, of, actor=actor, keys=keys, now=now)
    return set()


async def cut_off(
    tx: Transaction,
    held: Device,
    why: Reason,
    *,
    actor: Actor,
    by: str,
    keys: Keyring,
    now: datetime,
    words: str | None = None,
) -> set[UUID]:
    """The device is trusted no more: its jobs, windows and passcodes end. The accounts to nudge.

    Its bond stays, so that trust can come back to the same device. A job that a worker holds at this moment ends with
    its next run. The bond and the account are held. `words`: an administrator's own, why.
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
    told += await approval.end_of_device(tx, held.id, why, actor=actor, now=now)
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
        private=None if words is None else {"reason": words},
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
    told += await approval.end_of_device(tx, gone.id, Reason.DEVICE_LEFT, actor=actor, now=now)
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
