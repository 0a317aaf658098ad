"""One attempt at one delivery: claim, send, settle. The sending is in neither transaction.

A run may die at any instruction. Before the sending nothing has happened; after it the lease runs out, and the next run
sends one copy more, which whoever gets it can recognize: the same Message-ID, the same id.
"""

import logging
from datetime import timedelta
from typing import Final
from uuid import UUID

from models import delivery
from models.delivery import UNSURE, AttemptOutcome, Delivery
from models.log import where
from models.sealed import SealBroken
from platforms.errors import Refused, Uncertain, Unreachable
from workers.carriers import Parcel
from workers.needs import Needs

_LOG = logging.getLogger(__name__)

Verdict = tuple[AttemptOutcome, str | None, timedelta | None]
"""What became of it, in a word, and how long the other side asked to be left alone."""

_MEANINGS: Final = {
    Unreachable: AttemptOutcome.LATER,
    Uncertain: AttemptOutcome.UNSURE,
    Refused: AttemptOutcome.REFUSED,
}


async def deliver(needs: Needs, delivery_id: UUID) -> None:
    async with needs.database.write() as tx:
        held = await delivery.claim(tx, delivery_id, await tx.now())
    if held is None:
        return
    needs.fault.mark("delivery.claimed")
    outcome, error, wait = await _attempt(needs, held)
    needs.fault.mark("delivery.sent")
    async with needs.database.write() as tx:
        state = await delivery.settle(tx, held, outcome, now=await tx.now(), error=error, wait=wait)
    if outcome is not AttemptOutcome.SENT:
        seen = {"channel": held.channel.value, "outcome": outcome.value, "error": error, "state": state}
        _LOG.warning("not delivered", extra=seen)


async def _attempt(needs: Needs, held: Delivery) -> Verdict:
    if held.unsure >= UNSURE:
        return AttemptOutcome.REFUSED, "unsure", None
    carrier = needs.carriers.get(held.channel)
    if carrier is None:
        return AttemptOutcome.REFUSED, "no_carrier", None
    try:
        to, secret = held.open(needs.keys)
        await carrier.carry(Parcel(held, to, secret))
    except (Unreachable, Uncertain, Refused) as trouble:
        return _MEANINGS[type(trouble)], trouble.reason, getattr(trouble, "pause", None)
    except SealBroken:
        return AttemptOutcome.REFUSED, "seal_broken", None
    except Exception as error:  # noqa: BLE001 - whatever it was may have come after the sending
        # Not the traceback: it prints messages, and messages hold values.
        _LOG.error("a carrier failed", extra={"error_type": type(error).__name__, "where": where(error)})
        return AttemptOutcome.UNSURE, "crashed", None
    return AttemptOutcome.SENT, None, None
