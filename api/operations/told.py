"""How a change of somebody's methods is written down, and how they hear of it: the record, the flag, the mail."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models import delivery, event, place
from models.database import Transaction
from models.delivery import Person
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import Who
from models.verification import VerificationKind


async def notify(
    tx: Transaction,
    keys: Keyring,
    whose: Who | Person,
    *,
    key: str,
    params: Mapping[str, str],
    actor: Actor,
    now: datetime,
    severity: Severity = Severity.INFO,
    also: Sequence[str] = (),
    method_id: UUID | None = None,
    gone_id: UUID | None = None,
) -> None:
    """`also`: addresses that were the person's until now. `method_id`: what goes if it was somebody else, and `gone_id`
    what comes back."""
    account = whose if isinstance(whose, Person) else Person(whose.account_id, whose.organization_id)
    # From where others acted is not theirs to know.
    where = place.of(actor) if actor.id == account.id else {}
    await delivery.notify(
        tx,
        keys=keys,
        account=account,
        key=key,
        params={**params, **where},
        severity=severity,
        also=also,
        method_id=method_id,
        gone_id=gone_id,
        now=now,
    )


async def record(
    tx: Transaction,
    whose: Who | Person,
    verb: str,
    method_id: UUID,
    kind: VerificationKind,
    *,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    await event.record(
        tx,
        organization_id=whose.organization_id,
        action=f"account:verification:{verb}",
        actor=actor,
        now=now,
        outcome="success" if reason is None else "failure",
        reason=reason,
        account_id=whose.id if isinstance(whose, Person) else whose.account_id,
        subject=("verification", method_id),
        facts={"kind": kind.value, **(facts or {})},
    )
