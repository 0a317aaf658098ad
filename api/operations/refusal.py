"""What was refused and belongs in the record: once a minute of each kind and person, so that no flood can fill it."""

import logging
from collections.abc import Mapping
from typing import Final

from models import account, event, throttle
from models.database import Database, DatabaseDown
from models.errors import (
    CsrfRefused,
    DomainError,
    FieldNotEditable,
    NotAllowed,
    NotFound,
    TooManyTries,
    UnknownField,
)
from models.event import Actor
from models.session import Who
from models.throttle import REFUSALS

log = logging.getLogger("api")

DENIED: Final = (CsrfRefused, FieldNotEditable, NotAllowed, NotFound, UnknownField)
"""What is another's and what does not exist are one to whoever asks, and so they are here."""


async def remember(
    db: Database, who: Who, denied: DomainError, *, route: str, ids: Mapping[str, str], actor: Actor
) -> None:
    """Access denied to somebody who is signed in. The refusal stands, whether it can be written down or not."""
    code, facts = denied.code, {"route": route, **ids}
    if isinstance(denied, FieldNotEditable):
        facts["field"] = str(denied.facts["field"])
    elif isinstance(denied, UnknownField):
        code, facts["field"] = "unknown_field", denied.name
    key = f"{code}:{who.account_id}"
    try:
        async with db.read() as tx:  # a flood of them only looks
            if not await throttle.has_room(tx, REFUSALS, key, await tx.now()):
                return
        async with db.write() as tx:
            now = await tx.now()
            if await throttle.take(tx, REFUSALS, key, now) is not None:
                return
            await event.record(
                tx,
                organization_id=who.organization_id,
                action="account:access:deny",
                actor=actor,
                now=now,
                outcome="failure",
                reason=code,
                account_id=who.account_id,
                facts=facts,
            )
    except DatabaseDown:
        log.warning("a refusal was not written down", extra={"code": code})


async def remember_flood(
    db: Database, flood: str, group: str, *, name: str | None, who: Who | None, actor: Actor
) -> None:
    """Too many from one neighbourhood. It is in the record of whoever the last of them was for.

    A name that nobody has is in nobody's record, at the same cost.
    """
    try:
        async with db.write() as tx:
            row = None if name is None else await account.by_sign_in_name(tx, name)
            now = await tx.now()
            if await throttle.take(tx, REFUSALS, f"{flood}:{group}", now) is not None:
                return
            whose = row if who is None else who
            if whose is None:
                await throttle.give_back(tx, REFUSALS, f"{flood}:{group}:nobody")
                return
            await event.record(
                tx,
                organization_id=whose.organization_id,
                action="account:session:flood",
                actor=actor,
                now=now,
                outcome="failure",
                reason=TooManyTries.code,
                account_id=whose.account_id if isinstance(whose, Who) else whose.id,
                facts={"flood": flood},
                private={"group": group},
            )
    except DatabaseDown:
        log.warning("a flood was not written down", extra={"flood": flood})
