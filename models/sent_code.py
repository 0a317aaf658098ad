"""A code that is sent, by mail or as a short message: whoever tells it reads what goes to that address.

A row is one aim: this purpose, in this flow, for this subject. A code that is sent again takes the older one's place
in the same row, so one lives at most, and the wrong tries stay counted. What is kept is a hash under the server's key;
the code itself is in the delivery alone, sealed, and gone from there when it was sent.

Nobody has to be signed in: a session's own code and a stranger's who is on the way back in are the same here. Who
calls holds what the flow hangs on, records the event, and counts tries over all flows.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import delivery, throttle
from models.base import Id, Moment, metadata
from models.database import Transaction
from models.delivery import Channel, Whom
from models.errors import TooManyTries
from models.keyed import keyed, of_address
from models.sealed import Keyring
from models.throttle import CODE_SENDS
from models.verification import VerificationKind
from models.vocabulary import Secret, new_id

LIFE: Final = timedelta(minutes=10)
"""Of a code; its last moment not included."""
FLOW: Final = timedelta(minutes=15)
"""No flow is longer, so what began so long ago is over: the next code begins anew."""
SENDS: Final = 5
"""In one flow."""
WRONG_CODES: Final = 5
"""So many in one flow, and no code of it fits any more; sending another changes nothing of that."""
CHANNELS: Final = {VerificationKind.PHONE: Channel.SMS, VerificationKind.EMAIL: Channel.MAIL}
"""How a code of a method gets there."""
DIGITS: Final = {Channel.MAIL: 8, Channel.SMS: 6}

sent_code = sa.Table(
    "sent_code",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=True, comment="none of a decoy"),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=True, comment="none of a decoy"),
    sa.Column("subject_id", Id, nullable=False, comment="a method, or what else the code speaks for"),
    sa.Column("method_id", Id, nullable=True, comment="whose address it went to, where the subject is no method"),
    sa.Column("flow_id", Id, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=True, comment="keyed, of the newest code; none fits a decoy"),
    sa.Column("sends", sa.SmallInteger, nullable=False),
    sa.Column("failures", sa.SmallInteger, nullable=False),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("sent_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("used_at", Moment, nullable=True),
    sa.Column("erase_at", Moment, nullable=False, index=True),
    sa.UniqueConstraint("subject_id", "flow_id", "purpose"),
)


class Purpose(StrEnum):
    """What it is good for, and with it the text that carries it: `mail.code.<purpose>` and `sms.code.<purpose>`."""

    ENROL = "enrol"
    """To show that a new address is one's own."""
    SIGN_IN = "sign_in"
    PROVE = "prove"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class Aim:
    """What a code is for. It opens nothing else: not another flow, and not by another method."""

    purpose: Purpose
    flow_id: UUID
    subject_id: UUID


@dataclass(frozen=True, slots=True)
class SentCode:
    """What may be told of it."""

    sent_at: datetime
    expires_at: datetime
    sends: int
    """In this flow, this one included."""
    leaves: bool = True
    """False: nothing is on its way. Not to be told to a stranger."""

    @property
    def again_at(self) -> datetime:
        """The next one is sent no earlier."""
        return self.sent_at + CODE_SENDS[0].period


@dataclass(frozen=True, slots=True)
class Tried:
    fits: bool
    left: int
    """Tries in this flow."""
    method_id: UUID | None = None
    """Of a code that fits, as it was sent."""


async def send(
    tx: Transaction,
    *,
    keys: Keyring,
    server_key: bytes,
    aim: Aim,
    channel: Channel,
    to: str,
    account: Whom | None,
    language: str,
    now: datetime,
    until: datetime | None = None,
    method_id: UUID | None = None,
    counted_as: str | None = None,
) -> SentCode | TooManyTries:
    """Another code for this aim; an older one is dead from here on. Nothing was counted or changed by a refusal.

    `to` is written as `models.address` reads it. `until`: the end of the flow, if the code must not outlive it.
    `account` None: a decoy. It is counted and answered like any other, sent to nobody, and no code fits it. For a
    stranger, who must not learn whose address it is, `counted_as` is what the answer hangs on: where the address itself
    can bear no more, nothing is sent, and that is not told.
    """
    held = await _hold(tx, aim, account, now)
    over = held.used_at is not None or not held.begun_at <= now < held.begun_at + FLOW
    sends, failures, begun_at = (0, 0, now) if over else (held.sends, held.failures, held.begun_at)
    if sends >= SENDS or failures >= WRONG_CODES:
        return TooManyTries(begun_at + FLOW - now)
    wait = await throttle.take(tx, CODE_SENDS, _counter(server_key, aim.purpose, counted_as or to), now)
    if wait is not None:
        return TooManyTries(wait)
    if account is not None and counted_as is not None:
        full = await throttle.take(tx, CODE_SENDS, _counter(server_key, aim.purpose, to), now)
        account = account if full is None else None
    expires_at = now + LIFE if until is None else min(now + LIFE, until)
    code, digest = _invent(server_key, held, channel)
    values = {
        "method_id": method_id,
        "digest": None if account is None else digest,
        "sends": sends + 1,
        "failures": failures,
        "begun_at": begun_at,
        "sent_at": now,
        "expires_at": expires_at,
        "used_at": None,
        "erase_at": max(begun_at + FLOW, expires_at),
    }
    await tx.execute(sa.update(sent_code).where(sent_code.c.id == held.id).values(**values))
    if account is not None:
        await delivery.send(
            tx,
            keys=keys,
            organization_id=account.organization_id,
            account_id=account.id,
            channel=channel,
            to=to,
            key=f"code.{aim.purpose.value}",
            params={"minutes": str(max(1, int((expires_at - now).total_seconds()) // 60))},
            language=language,
            secret=Secret(code.encode()),
            expires_at=expires_at,
            now=now,
        )
    return SentCode(now, expires_at, sends + 1, account is not None)


async def spend(tx: Transaction, *, server_key: bytes, aim: Aim, code: str, now: datetime) -> Tried:
    """Try a code: the right one is used up by it, a wrong one is counted. The caller keeps the transaction either way.

    Where none lives there is nothing to guess, and nothing is counted.
    """
    held = (await tx.execute(_of(aim).with_for_update())).one_or_none()
    if held is None:
        return Tried(fits=False, left=WRONG_CODES)
    left = max(0, WRONG_CODES - held.failures)
    if held.used_at is not None or not held.sent_at <= now < held.expires_at or not left or not held.sends:
        return Tried(fits=False, left=left)
    typed = _digest(server_key, held.id, code.strip())
    this = sa.update(sent_code).where(sent_code.c.id == held.id, sent_code.c.used_at.is_(None))
    # A decoy's is compared all the same, so that it takes as long.
    if not hmac.compare_digest(typed, held.digest or bytes(len(typed))):
        await tx.execute(this.values(failures=sent_code.c.failures + 1))
        return Tried(fits=False, left=left - 1)
    used = await tx.execute(this.where(sent_code.c.digest == typed).values(used_at=now, digest=None))
    return Tried(fits=used.rowcount == 1, left=left, method_id=held.method_id)


async def forget(tx: Transaction, subject_id: UUID) -> None:
    """Whatever was sent for it is good for nothing any more: the method went, or has another address."""
    await tx.execute(sa.delete(sent_code).where(sent_code.c.subject_id == subject_id))


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = sa.select(sent_code.c.id).where(sent_code.c.erase_at <= now).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(sent_code).where(sent_code.c.id.in_(old)))).rowcount


def _counter(server_key: bytes, purpose: Purpose, to: str) -> str:
    """Who knows the password has a count of their own: strangers who ask for codes shut nobody's second factor."""
    known = purpose in {Purpose.SIGN_IN, Purpose.PROVE}
    return (_SIGNED_IN if known else "") + of_address(server_key, to)


_SIGNED_IN: Final = "signed_in:"


def counters_of(address_hash: str) -> tuple[str, str]:
    """Of the codes that anybody may ask for, and of those that take the password."""
    return address_hash, _SIGNED_IN + address_hash


def _of(aim: Aim) -> sa.Select[Any]:
    return sa.select(sent_code).where(
        sent_code.c.subject_id == aim.subject_id,
        sent_code.c.flow_id == aim.flow_id,
        sent_code.c.purpose == aim.purpose.value,
    )


async def _hold(tx: Transaction, aim: Aim, account: Whom | None, now: datetime) -> Any:
    """The row, made if it was not there, and held until commit."""
    fresh = tx.insert(sent_code).values(
        id=new_id(now),
        organization_id=None if account is None else account.organization_id,
        account_id=None if account is None else account.id,
        subject_id=aim.subject_id,
        flow_id=aim.flow_id,
        purpose=aim.purpose.value,
        sends=0,
        failures=0,
        begun_at=now,
        sent_at=now,
        expires_at=now,
        erase_at=now + FLOW,
    )
    await tx.execute(fresh.on_conflict_do_nothing())
    return (await tx.execute(_of(aim).with_for_update())).one()


def _invent(server_key: bytes, held: Any, channel: Channel) -> tuple[str, bytes]:
    """A code, and what is kept of it. Never the one before again: that one is dead."""
    digits = DIGITS[channel]
    while True:
        code = f"{secrets.randbelow(10**digits):0{digits}}"
        digest = _digest(server_key, held.id, code)
        if digest != held.digest:
            return code, digest


def _digest(server_key: bytes, row_id: UUID, code: str) -> bytes:
    """Equal codes of two rows look different."""
    return keyed(server_key, "sent_code", row_id.bytes, code.encode())
