"""Limits that protect an account or a device, counted in the deciding transaction.

A throttle is one row: how often, since when, shut until when. Counting comes before verifying, so that a hundred
parallel tries are a hundred counted tries.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Moment, metadata, partial_index
from models.database import Inserting, Transaction
from models.errors import FOR_EVER
from models.hot import Answer, Hot, Question
from models.vocabulary import EPOCH

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

throttle = sa.Table(
    "throttle",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("shut_until", Moment, nullable=False),
    sa.Column("erase_at", Moment, nullable=False, index=True),
    sa.Column("shut_of", Id, nullable=True, comment="whose door this shut for good, until they are told of it"),
    partial_index("ix_throttle_shut_of", "shut_of", where="shut_of IS NOT NULL"),
)

KEEP: Final = timedelta(days=2)
SHUT_KEPT: Final = timedelta(days=365)
"""From its last try on, of a door that is shut for good: by then whoever missed it has had it opened, or is gone. A
hundred more guesses a year are none."""
TO_VERIFY: Final = timedelta(seconds=30)
"""So long a try that was counted may at most be on its way."""


@dataclass(frozen=True, slots=True)
class Budget:
    """So many in a period, counted from the first one."""

    name: str
    limit: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Lockout:
    """From the `free`-th failure in a row each shuts the door longer, from the `most`-th on until it is cleared, or
    the row is erased."""

    name: str
    free: int
    first: timedelta
    longest: timedelta
    most: int

    def pause(self, failures: int) -> timedelta:
        if failures < self.free:
            return timedelta(0)
        if failures >= self.most:
            return FOR_EVER
        return min(self.first * (1 << min(failures - self.free, 30)), self.longest)


@dataclass(frozen=True, slots=True)
class Block:
    """So many failures in a period, counted from the first one, shut the door for `pause` from the last of them on.

    What is tried while it is shut is not counted, or a stranger could keep it shut for ever.
    """

    name: str
    limit: int
    period: timedelta
    pause: timedelta


PASSWORD: Final = Lockout("password", 10, timedelta(seconds=60), timedelta(hours=1), 100)
PASSWORD_IN_SESSION: Final = Lockout("password_in_session", 5, timedelta(seconds=60), timedelta(hours=1), 100)
"""Beside it, for the present password when a new one is chosen: the fifth wrong one in a row ends the session."""
SECOND_FACTOR: Final = (
    Budget("second_factor_5m", 5, timedelta(minutes=5)),
    Budget("second_factor_1h", 20, timedelta(hours=1)),
    Budget("second_factor_1d", 50, timedelta(days=1)),
)
PASSKEY: Final = (
    Budget("passkey_5m", 5, timedelta(minutes=5)),
    Budget("passkey_1h", 20, timedelta(hours=1)),
    Budget("passkey_1d", 50, timedelta(days=1)),
)
"""Of one passkey without a password, whether it is anybody's or not."""
SECOND_FACTOR_TOLD: Final = (Budget("second_factor_told_1h", 5, timedelta(hours=1)),)
"""Sign-ins of which somebody is told that the second factor failed: whoever knows the password floods no mailbox."""
RE_SIGN_INS: Final = (Budget("re_sign_in_1h", 5, timedelta(hours=1)),)
REFUSALS: Final = (Budget("refusal_1m", 1, timedelta(minutes=1)),)
"""How often one kind of refusal is written into one person's record: a flood of them must not fill it."""
EXPORTS: Final = (Budget("export_1d", 2, timedelta(days=1)),)
"""Files of one's own data: each reads all that there is of somebody."""
CODE_SENDS: Final = (
    Budget("code_1m", 1, timedelta(seconds=60)),
    Budget("code_1h", 5, timedelta(hours=1)),
    Budget("code_1d", 10, timedelta(days=1)),
)
"""Codes to one address (`models/sent_code.py`), whoever asked for them: nobody's phone is flooded through us."""
ENROL_CODES: Final = (
    Budget("enrol_code_1h", 5, timedelta(hours=1)),
    Budget("enrol_code_1d", 10, timedelta(days=1)),
)
"""Codes that one person has sent to addresses they say are theirs: nobody makes us write to a list of numbers."""
ENROLLMENTS: Final = (Budget("enrollment_1h", 20, timedelta(hours=1)),)

NAMES_TAKEN: Final = Budget("name_taken_1d", 100, timedelta(days=1))
"""Sign-in names of which one organization is told that somebody elsewhere has them: names are the installation's, and
who else has an account is not its administrators' to find out. By itself, by a file, or by a trial of one."""
INVITATIONS: Final = Budget("invitation_1d", 5, timedelta(days=1))
"""Of one organization to one address: what another one does to that address is neither felt nor seen."""
INVITATION_MAILS: Final = Budget("invitation_mail_1d", 20, timedelta(days=1))
"""To one address, whoever invites: a mailbox is not flooded in our name. What is more goes out later, and who invites
is answered alike."""
INVITATIONS_OF_INVITER: Final = (
    Budget("invitation_inviter_1h", 50, timedelta(hours=1)),
    Budget("invitation_inviter_1d", 200, timedelta(days=1)),
)
INVITATIONS_OF_ORGANIZATION: Final = (Budget("invitation_organization_1d", 1_000, timedelta(days=1)),)
"""More than one inviter may, so that one alone shuts out no other."""
RECOVERY_STARTS: Final = (Budget("recovery_start_1h", 5, timedelta(hours=1)),)
RECOVERY_TOLD: Final = (Budget("recovery_told_1d", 3, timedelta(days=1)),)
"""How often somebody is written to because strangers ask for a reset that the account does not have."""
RECOVERY: Final = Block("recovery", 5, timedelta(hours=24), timedelta(hours=24))
RECOVERY_METHOD: Final = Block("recovery_method", 5, timedelta(hours=1), timedelta(hours=24))
"""Of one method alone, beside it. Both shut recovery and nothing else: signing in goes on."""


def key_of_name(sign_in_name: str, key: bytes) -> str:
    """A counter for what was typed, whether such an account exists or not; the name itself is not kept."""
    return hmac.new(key, sign_in_name.encode(), hashlib.sha256).hexdigest()


def _holding(insert: "type[Insert]") -> sa.Executable:
    fresh = insert(throttle)
    held = fresh.on_conflict_do_update(index_elements=[throttle.c.key], set_={"key": fresh.excluded.key})
    return held.returning(throttle)


_HOLD: Final = Inserting(_holding)
_WRITE: Final = Hot(
    sa.update(throttle)
    .where(throttle.c.key == sa.bindparam("which"))
    .values({name: sa.bindparam(f"new_{name}") for name in ("tries", "since", "shut_until", "erase_at", "shut_of")})
)
_CLEAR: Final = Hot(sa.delete(throttle).where(throttle.c.key == sa.bindparam("which")))


async def _hold(tx: Transaction, key: str, now: datetime) -> tuple[int, datetime, datetime]:
    """The row, made if it was not there, and held until commit: in one statement, since others delete it."""
    row = (await tx.ask(*_held(tx, key, now))).one()
    return row.tries, row.since, row.shut_until


def _held(tx: Transaction, key: str, since: datetime) -> Question:
    fresh = {"key": key, "tries": 0, "since": since, "shut_until": EPOCH, "erase_at": since + KEEP}
    return _HOLD.by(tx.insert), fresh


def _write(
    tx: Transaction,
    key: str,
    tries: int,
    since: datetime,
    shut_until: datetime,
    now: datetime,
    shut_of: UUID | None = None,
) -> None:
    for_good = shut_until - now >= FOR_EVER
    erase_at = now + SHUT_KEPT if for_good else max(now, shut_until) + KEEP
    new = {"new_tries": tries, "new_since": since, "new_shut_until": shut_until, "new_erase_at": erase_at}
    tx.later(_WRITE, {"which": key, **new, "new_shut_of": shut_of})


async def left(tx: Transaction, budget: Budget, who: str, now: datetime) -> int:
    """How many there are to take; held until commit, so that nobody else takes them."""
    tries, since, _ = await _hold(tx, f"{budget.name}:{who}", now)
    return max(0, budget.limit - tries) if since <= now < since + budget.period else budget.limit


async def take_many(tx: Transaction, budget: Budget, who: str, many: int, now: datetime) -> None:
    """Of those that were `left`."""
    key = f"{budget.name}:{who}"
    tries, since, shut_until = await _hold(tx, key, now)
    if not since <= now < since + budget.period:
        tries, since = 0, now
    _write(tx, key, tries + many, since, shut_until, now)


async def take(tx: Transaction, budgets: tuple[Budget, ...], who: str, now: datetime) -> timedelta | None:
    """Take one of each budget. None: there was room; else how long until there is, and nothing was taken."""
    return await take_each(tx, [(budget, who) for budget in budgets], now)


async def take_each(tx: Transaction, wanted: Sequence[tuple[Budget, str]], now: datetime) -> timedelta | None:
    """The same of budgets that are not one's; everybody names those that they share in one order."""
    rows = []
    wait = timedelta(0)
    for budget, who in wanted:
        key = f"{budget.name}:{who}"
        tries, since, shut_until = await _hold(tx, key, now)
        if not since <= now < since + budget.period:
            tries, since = 0, now
        if tries >= budget.limit:
            wait = max(wait, since + budget.period - now)
        rows.append((key, tries, since, shut_until))
    if wait > timedelta(0):
        return wait
    for key, tries, since, shut_until in rows:
        _write(tx, key, tries + 1, since, shut_until, now)
    return None


async def stand_in_line(tx: Transaction, budget: Budget, who: str, now: datetime) -> timedelta | None:
    """Take one, if need be of a later period. None: of this one; else how long until its turn."""
    key = f"{budget.name}:{who}"
    tries, since, _ = await _hold(tx, key, now)
    over = (now - since) // budget.period
    if over < 0 or tries <= over * budget.limit:
        tries, since = 0, now
    else:
        tries, since = tries - over * budget.limit, since + over * budget.period
    turn = since + tries // budget.limit * budget.period
    _write(tx, key, tries + 1, since, turn, now)  # the row is kept as long as anybody's turn is to come
    return turn - now if tries >= budget.limit else None


async def has_room(tx: Transaction, budgets: tuple[Budget, ...], who: str, now: datetime) -> bool:
    """Whether there would be one to take; nothing is taken or held."""
    periods = {f"{budget.name}:{who}": budget for budget in budgets}
    rows = await tx.execute(sa.select(throttle).where(throttle.c.key.in_(periods)))
    return all(
        row.tries < periods[row.key].limit or not row.since <= now < row.since + periods[row.key].period for row in rows
    )


async def give_back(tx: Transaction, budgets: tuple[Budget, ...], who: str) -> None:
    """A success does not use up the budget for failures."""
    keys = [f"{budget.name}:{who}" for budget in budgets]
    await tx.execute(
        sa.update(throttle).where(throttle.c.key.in_(keys), throttle.c.tries > 0).values(tries=throttle.c.tries - 1)
    )


def holding(tx: Transaction, lockout: Lockout, who: str) -> Question:
    """How counting begins, for who asks other things in the same breath and does not know the time before."""
    return _held(tx, f"{lockout.name}:{who}", EPOCH)


async def count_failure_first(
    tx: Transaction, lockout: Lockout, who: str, now: datetime, *, owner: UUID | None = None, held: Answer | None = None
) -> timedelta | None:
    """Count a try as failed before it is verified. None: it may be verified; else how long the door stays shut.

    `owner`: whom the sweep is to tell if this one shuts it for good. None: nobody has that name, at the same cost.
    `held`: what `holding` was answered.
    """
    row = (await tx.ask(*holding(tx, lockout, who)) if held is None else held).one()
    until: datetime = row.shut_until
    if now < until:
        return until - now
    tries, since = row.tries + 1, row.since if row.tries else now
    _write(tx, row.key, tries, since, now + lockout.pause(tries), now, owner if tries == lockout.most else None)
    return None


@dataclass(frozen=True, slots=True)
class ShutDoor:
    """That nobody was told of yet."""

    key: str
    account_id: UUID


async def shut_doors(tx: Transaction, now: datetime, limit: int) -> list[ShutDoor]:
    """But for those of a moment ago: the try that shut one may prove right, and opens it again."""
    statement = sa.select(throttle.c.key, throttle.c.shut_of).where(
        throttle.c.shut_of.is_not(None), throttle.c.shut_until <= now + FOR_EVER - TO_VERIFY
    )
    statement = statement.limit(limit)
    return [ShutDoor(row.key, row.shut_of) for row in await tx.execute(statement)]


async def told_of(tx: Transaction, door: ShutDoor, now: datetime) -> bool:
    """Once. False: it was told, or opened meanwhile."""
    statement = sa.update(throttle).where(throttle.c.key == door.key, throttle.c.shut_of == door.account_id)
    until = (await tx.execute(statement.values(shut_of=None).returning(throttle.c.shut_until))).scalar_one_or_none()
    return until is not None and now < until


async def shut_for(tx: Transaction, lockout: Lockout | Block, who: str, now: datetime) -> timedelta | None:
    """How long the door stays shut, without counting anything. None: it is open."""
    statement = sa.select(throttle.c.shut_until).where(throttle.c.key == f"{lockout.name}:{who}")
    until = (await tx.execute(statement)).scalar_one_or_none()
    return None if until is None or until <= now else until - now


Counted = tuple[tuple[Block, str], ...]
"""Blocks, each with whose it is."""


async def count_towards(tx: Transaction, blocks: Counted, now: datetime) -> timedelta | None:
    """Count a try as failed in all of these before it is verified. None: it may be verified.

    Else how long until it may be, and nothing was counted. The last that is let in is verified, too.
    """
    rows = []
    wait = timedelta(0)
    for block, who in blocks:
        key = f"{block.name}:{who}"
        tries, since, shut_until = await _hold(tx, key, now)
        if now < shut_until:
            wait = max(wait, shut_until - now)
        elif tries >= block.limit or not since <= now < since + block.period:
            tries, since = 0, now
        rows.append((block, key, tries + 1, since))
    if wait > timedelta(0):
        return wait
    for block, key, tries, since in rows:
        shut_until = now + block.pause if tries >= block.limit else EPOCH
        _write(tx, key, tries, since, shut_until, now)
    return None


async def take_back(tx: Transaction, blocks: Counted, now: datetime) -> None:
    """It was no failure: what was counted beforehand is as it was, and shuts nothing."""
    for block, who in blocks:
        key = f"{block.name}:{who}"
        tries, since, shut_until = await _hold(tx, key, now)
        tries = max(0, tries - 1)
        _write(tx, key, tries, since, EPOCH if tries < block.limit else shut_until, now)


async def tries_left(tx: Transaction, blocks: Counted, now: datetime) -> int:
    """How many more the nearest of these lets in."""
    return min([block.limit - await _tries(tx, block, who, now) for block, who in blocks])


async def _tries(tx: Transaction, block: Block, who: str, now: datetime) -> int:
    statement = sa.select(throttle).where(throttle.c.key == f"{block.name}:{who}")
    row = (await tx.execute(statement)).one_or_none()
    counts = row is not None and (now < row.shut_until or row.since <= now < row.since + block.period)
    return min(row.tries, block.limit) if row is not None and counts else 0


@dataclass(frozen=True, slots=True)
class Count:
    """How one limit stands, for whoever may see it."""

    kind: str
    lane: str | None
    tries: int
    limit: int
    shut_until: datetime | None
    """None: the next try is let in."""


async def of_lockout(tx: Transaction, lockout: Lockout, lanes: Mapping[str, str], now: datetime) -> list[Count]:
    """How it stands in each of these lanes (counter → name) in which anything was counted."""
    keys = {f"{lockout.name}:{who}": lane for who, lane in lanes.items()}
    rows = await tx.execute(sa.select(throttle).where(throttle.c.key.in_(keys)).order_by(throttle.c.key))
    return [
        Count(
            kind=lockout.name,
            lane=keys[row.key],
            tries=row.tries,
            limit=lockout.free,
            shut_until=row.shut_until if now < row.shut_until else None,
        )
        for row in rows
    ]


async def of_budgets(
    tx: Transaction, budgets: tuple[Budget, ...], who: str, now: datetime, lane: str | None = None
) -> list[Count]:
    """How each stands whose period is not over."""
    known = {f"{budget.name}:{who}": budget for budget in budgets}
    rows = await tx.execute(sa.select(throttle).where(throttle.c.key.in_(known)).order_by(throttle.c.since))
    found = []
    for row in rows:
        budget = known[row.key]
        end = row.since + budget.period
        if row.since <= now < end and row.tries:
            shut = end if row.tries >= budget.limit else None
            found.append(Count(budget.name, lane, row.tries, budget.limit, shut))
    return found


async def of_blocks(tx: Transaction, blocks: Mapping[str, tuple[Block, str]], now: datetime) -> list[Count]:
    """How each stands in which anything is counted. `blocks`: by the name of its lane, with whose it is."""
    lanes = {f"{block.name}:{who}": (block, lane) for lane, (block, who) in blocks.items()}
    rows = await tx.execute(sa.select(throttle).where(throttle.c.key.in_(lanes)).order_by(throttle.c.key))
    found = []
    for row in rows:
        block, lane = lanes[row.key]
        shut = now < row.shut_until
        if row.tries and (shut or row.since <= now < row.since + block.period):
            found.append(Count(block.name, lane or None, row.tries, block.limit, row.shut_until if shut else None))
    return found


async def keep(tx: Transaction, lockout: Lockout, who: str, now: datetime) -> None:
    """Nothing but the row's age: what is done for a name that nobody has, where others get a line in the record."""
    statement = sa.update(throttle).where(throttle.c.key == f"{lockout.name}:{who}")
    await tx.execute(
        statement.values(
            # Typed by hand: an expression does not take its column's type, and SQLite would keep a bare moment as text.
            erase_at=sa.case(
                (throttle.c.erase_at < now + KEEP, sa.literal(now + KEEP, Moment)), else_=throttle.c.erase_at
            )
        )
    )


async def clear(tx: Transaction, lockout: Lockout | Block | Budget, who: str) -> None:
    """It was the right one after all: failures in a row begin at nought again."""
    tx.later(_CLEAR, {"which": f"{lockout.name}:{who}"})


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = sa.select(throttle.c.key).where(throttle.c.erase_at <= now).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(throttle).where(throttle.c.key.in_(old)))).rowcount
