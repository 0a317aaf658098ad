"""A try at somebody's password: counted before it is verified, and written down when it fails."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from models import account, browser, event, sign_in, throttle
from models.browser import Browser
from models.database import Database, Transaction
from models.errors import TooManyTries
from models.event import Actor
from models.hot import Answer, Question
from models.session import hash_token
from models.sign_in import Outcome
from models.throttle import PASSWORD, PASSWORD_IN_SESSION

OPEN: Final = "account:session:open"
"""Of tries, the one that is a sign-in."""
NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Tried:
    """A counted try at somebody's password. `row` is None where nobody has that name: there nothing is right."""

    counter: str
    row: Any
    wait: timedelta | None
    browser: Browser | None = None
    """In which it is tried, if that is known to the account: then it is counted there."""
    lapsed: bool = False
    session_id: UUID | None = None
    """The session in which it is tried, where that one's own count is kept as well."""

    @property
    def password_hash(self) -> str | None:
        """None, too, where a password that we made has outlived its time: then nothing is right any more."""
        return None if self.row is None or self.lapsed else self.row.password_hash

    @property
    def blocked(self) -> bool:
        return self.row is not None and self.row.blocked_at is not None


async def count(
    db: Database,
    name: str,
    throttle_key: bytes,
    action: str,
    actor: Actor,
    *,
    browser_token: str | None,
    session_id: UUID | None = None,
) -> Tried:
    """Counted as failed beforehand, and committed, so that parallel guesses cannot all be the first.

    A known browser has a count of its own: what strangers guess does not shut it out. With a session: in that one's
    own count, too.
    """
    async with db.write() as tx:
        counter, known = throttle.key_of_name(account.fold(name), throttle_key), None
        # A browser may have a count of its own: that is found out first.
        begun = [throttle.holding(tx, PASSWORD, counter)] if browser_token is None else []
        found, *held = await tx.together_and_now(account.named(name), *begun)
        row = found.one_or_none()
        if browser_token is not None:
            # Asked for a name that nobody has, too, at the same cost.
            known = await browser.known(tx, NOBODY if row is None else row.id, hash_token(browser_token))
            counter = counter if known is None else known.lane
        now = await tx.now()
        # Written with the count: whoever is shut out is told, even if nobody comes back to say that it was wrong.
        owner = None if row is None else row.id
        wait = await throttle.count_failure_first(
            tx, PASSWORD, counter, now, owner=owner, held=held[0] if held else None
        )
        if wait is None and session_id is not None:
            wait = await throttle.count_failure_first(tx, PASSWORD_IN_SESSION, str(session_id), now)
        lapsed = row is not None and row.password_until is not None and row.password_until < now
        tried = Tried(counter, row, wait, known, lapsed, session_id)
        if tried.wait is not None:
            await remember(tx, tried, action, actor, now, TooManyTries.code)
        return tried


async def refuse(db: Database, tried: Tried, action: str, actor: Actor) -> bool:
    """It was wrong. Whether that was one too many for the session in which it was tried."""
    async with db.write() as tx:
        now = await tx.now()
        await remember(tx, tried, action, actor, now, "account_blocked" if tried.blocked else "wrong_password")
        if tried.session_id is None:
            return False
        return await throttle.shut_for(tx, PASSWORD_IN_SESSION, str(tried.session_id), now) is not None


async def forgive(tx: Transaction, tried: Tried) -> None:
    """It was right: failures in a row begin at nought again."""
    await throttle.clear(tx, PASSWORD, tried.counter)
    if tried.session_id is not None:
        await throttle.clear(tx, PASSWORD_IN_SESSION, str(tried.session_id))


async def remember(tx: Transaction, tried: Tried, action: str, actor: Actor, now: datetime, reason: str) -> None:
    """One line in the record of whose name it is. A name that nobody has is in nobody's record, at the same cost."""
    shut = await throttle.shut_for(tx, PASSWORD, tried.counter, now)
    if tried.row is None:
        await throttle.keep(tx, PASSWORD, tried.counter, now)
        return
    if action == OPEN:
        await sign_in.note(
            tx,
            organization_id=tried.row.organization_id,
            account_id=tried.row.id,
            outcome=Outcome.PASSWORD_FAILED,
            actor=actor,
            now=now,
            reason=reason,
        )
    await event.record(
        tx,
        organization_id=tried.row.organization_id,
        action=action,
        actor=actor,
        now=now,
        outcome="failure",
        reason=reason,
        account_id=tried.row.id,
        facts={} if shut is None else {"shut_for_seconds": int(shut.total_seconds())},
    )


async def unchanged(tx: Transaction, tried: Tried, *also: Question) -> tuple[Any, list[Answer]]:
    """The account's row, held, if what was verified is still what opens it; else None. What is `also` asked is answered
    as it is once the row is held.

    Another password always comes with another generation; another hash alone is the same password, hashed anew.
    """
    locked, *answers = await tx.together_and_now(account.locking(tried.row.id), *also)
    held = locked.one_or_none()
    if held is None or held.blocked_at is not None:
        return None, answers
    same_hash = held.password_hash == tried.row.password_hash
    same_generation = held.session_generation == tried.row.session_generation
    return held if same_hash or same_generation else None, answers
