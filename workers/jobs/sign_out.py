"""Tell every app that a person used that they were signed out everywhere (OpenID Connect Back-Channel Logout 1.0).

Each app is told by itself, again and again with growing pauses until the job's own end, and what came of it is kept by
app. A run that dies between telling and writing it down tells once more: whoever is signed out already stays so.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from models import app, delivery, job, sign_out, signing_key
from models.app import App
from models.database import Transaction
from models.event import WORKER
from models.job import Job, Told
from models.sign_out import Call, CallState, Untold
from models.signing_key import SigningKey
from models.vocabulary import JobState, Outcome
from platforms.errors import Refused, Unreachable
from workers import jobs
from workers.logout import ADDRESS, LogoutToken, Teller
from workers.needs import Needs

_LOG = logging.getLogger(__name__)

AT_ONCE: Final = 20
"""Told side by side; together they take no longer than one, which is well below a lease."""
NO_KEY_YET: Final = timedelta(seconds=5)
"""The tick makes the first key at its first round."""


@dataclass(frozen=True, slots=True)
class _Answer:
    state: CallState
    reason: Untold | None = None
    pause: timedelta | None = None


_REMOVED: Final = _Answer(CallState.REFUSED, Untold.APP_REMOVED)
_NO_ADDRESS: Final = _Answer(CallState.REFUSED, Untold.NO_ADDRESS)


async def run(needs: Needs, held: Job) -> None:
    if held.state is JobState.QUEUED and not await _begin(needs, held):
        return
    async with needs.database.read() as tx:
        now = await tx.now()
        due = await sign_out.due(tx, held.id, now, AT_ONCE)
        apps = {one: await app.by_id(tx, held.organization_id, one) for one in {call.app_id for call in due}}
        key = signing_key.that_signs(await signing_key.page(tx), now)
    answers: list[_Answer] = []
    if due and key is not None and needs.teller is not None:
        tell = (_tell(needs, needs.teller, key, held, call, apps[call.app_id], now) for call in due)
        answers = list(await asyncio.gather(*tell))
        needs.fault.mark("sign_out.told")
    await _note(needs, held, due, answers)


async def _begin(needs: Needs, held: Job) -> bool:
    """Find out whom to tell, and write it down. False: this run had lost its lease."""
    async with needs.database.write() as tx:
        if await jobs.still_held(tx, held) is None:
            return False
        now = await tx.now()
        await sign_out.find_calls(tx, held, now)
        begun = await job.begin(tx, held, now)
        needs.fault.mark("sign_out.begun.before_commit")
    return begun


async def _tell(
    needs: Needs, teller: Teller, key: SigningKey, held: Job, call: Call, to: App | None, now: datetime
) -> _Answer:
    if to is None:
        return _REMOVED
    if to.backchannel_logout_uri is None:
        return _NO_ADDRESS
    token = LogoutToken(to.client_id, held.account_id, call.sid, now)
    try:
        await teller.tell(to.backchannel_logout_uri, token, key.id, key.open(needs.keys), whose=to.organization_id)
    except Unreachable as trouble:
        _log(call, trouble.reason)
        return _Answer(CallState.WAITING, Untold.APP_UNREACHABLE, trouble.pause)
    except Refused as trouble:
        _log(call, trouble.reason)
        return _Answer(CallState.REFUSED, refusal(trouble))
    return _Answer(CallState.TOLD)


def refusal(trouble: Refused) -> Untold:
    return Untold.ADDRESS_REFUSED if trouble.reason in ADDRESS else Untold.APP_REFUSED


def _log(call: Call, reason: str) -> None:
    _LOG.info("an app was not told", extra={"app": str(call.app_id), "reason": reason})


async def _note(needs: Needs, held: Job, due: list[Call], answers: list[_Answer]) -> None:
    """Write down what came of it; the job ends with the last app, or rests until the next is to be told."""
    async with needs.database.write() as tx:
        current = await jobs.still_held(tx, held)
        if current is None:
            return
        now = await tx.now()
        for call, answer in zip(due, answers, strict=False):
            again = now + max(delivery.pause(call.id, call.attempts + 1), answer.pause or timedelta(0))
            await sign_out.answered(tx, call, answer.state, reason=answer.reason, again=again, now=now)
        left = await sign_out.next_due(tx, held.id)
        ended = left is None
        if left is None:
            outcome = sign_out.outcome(await sign_out.calls(tx, held.id))
            await jobs.end(tx, current, outcome, actor=WORKER, now=now, fence=True)
        else:
            untold = bool(due) and not answers
            await job.release(tx, current, available_at=now + NO_KEY_YET if untold else max(left, now))
        needs.fault.mark("sign_out.noted.before_commit")
    if ended:
        needs.door.nudge(held.account_id)


async def close(tx: Transaction, held: Job, outcome: Outcome, now: datetime) -> Told | None:
    await sign_out.give_up(tx, held.id, now)
    return sign_out.told(await sign_out.calls(tx, held.id), outcome)
