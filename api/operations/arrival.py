"""What every finished sign-in leaves behind: its line, the browser it was done in, and word of one that is new."""

from datetime import datetime
from uuid import UUID

from models import browser, delivery, notification, place, sign_in, throttle
from models.database import Transaction
from models.delivery import Person
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import Session, hash_token, new_token
from models.sign_in import Outcome
from models.throttle import SECOND_FACTOR_TOLD


async def token_of(tx: Transaction, browser_token: str | None) -> str:
    """The token that a browser is to keep: its own, if we once gave it out, or a new one."""
    if browser_token is None or not await browser.is_ours(tx, hash_token(browser_token)):
        return new_token()
    return browser_token


async def arrive(
    tx: Transaction,
    keys: Keyring,
    opened: Session,
    kept: str,
    *,
    actor: Actor,
    now: datetime,
    remember: UUID | None = None,
) -> None:
    """`kept`: the token that the browser keeps. `remember`: the method that was used in it, and that is not to be asked
    for there for a while.
    """
    await sign_in.note(
        tx,
        organization_id=opened.organization_id,
        account_id=opened.account_id,
        outcome=Outcome.SUCCEEDED,
        actor=actor,
        now=now,
        session_id=opened.id,
    )
    browser_id, unseen = await browser.meet(
        tx,
        organization_id=opened.organization_id,
        account_id=opened.account_id,
        token_hash=hash_token(kept),
        address=actor.address,
        client=actor.client,
        now=now,
    )
    if remember is not None:
        await browser.remember(tx, browser_id, remember, opened.generation, now)
    if unseen:
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(opened.account_id, opened.organization_id),
            key="sign_in.new_browser",
            params=place.of(actor),
            now=now,
            severity=Severity.WARNING,
        )


async def failed_second_factor(
    tx: Transaction, keys: Keyring, half: Session, reason: str, *, actor: Actor, now: datetime
) -> None:
    """The password was right. Told at once: in one line, and in one mail, however often it is tried in one sign-in.

    Each sign-in begun anew would be told anew, without end: so many are told in an hour, and all are in the activity.
    """
    first = not await sign_in.has_line(tx, half.account_id, half.id)
    await sign_in.note(
        tx,
        organization_id=half.organization_id,
        account_id=half.account_id,
        outcome=Outcome.SECOND_FACTOR_FAILED,
        actor=actor,
        now=now,
        reason=reason,
        session_id=half.id,
    )
    if not first or await throttle.take(tx, SECOND_FACTOR_TOLD, str(half.account_id), now) is not None:
        return
    await notification.tell(
        tx,
        organization_id=half.organization_id,
        account_id=half.account_id,
        subject_id=half.id,
        key="sign_in.second_factor_failed",
        params={},
        severity=Severity.WARNING,
        now=now,
    )
    await delivery.mail_notice(
        tx,
        keys=keys,
        account=Person(half.account_id, half.organization_id),
        key="sign_in.second_factor_failed",
        params=place.of(actor),
        now=now,
    )
