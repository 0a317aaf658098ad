"""The link by which an administrator lets somebody choose another password. Its token opens nothing else, once.

It dies with its time, with a newer one, and with another password.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import delivery
from models.base import Id, Moment, metadata
from models.database import Transaction
from models.delivery import Channel, Link, Person
from models.hot import Hot
from models.sealed import Keyring
from models.session import hash_token
from models.settings import RESET_LINK
from models.vocabulary import Secret, new_id

reset_link = sa.Table(
    "reset_link",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, index=True),
    sa.Column("issued_by", Id, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("token_hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False, index=True),
    sa.Column("ended_at", Moment, nullable=True, comment="when it was used, or a newer one took its place"),
)


@dataclass(frozen=True, slots=True)
class ResetLink:
    id: UUID
    organization_id: UUID
    account_id: UUID
    expires_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "ResetLink":
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            account_id=row.account_id,
            expires_at=row.expires_at,
            ended_at=row.ended_at,
        )

    def lives(self, now: datetime) -> bool:
        """To its last moment, that one included."""
        return self.ended_at is None and now <= self.expires_at


_INSERT: Final = Hot(sa.insert(reset_link))


async def issue(
    tx: Transaction, *, organization_id: UUID, account_id: UUID, issued_by: UUID, now: datetime
) -> tuple[UUID, Secret]:
    """A token of 256 random bits; its hash alone is kept. An earlier one ends."""
    await end_all(tx, account_id, now)
    return issue_first(tx, organization_id=organization_id, account_id=account_id, issued_by=issued_by, now=now)


def issue_first(
    tx: Transaction, *, organization_id: UUID, account_id: UUID, issued_by: UUID, now: datetime
) -> tuple[UUID, Secret]:
    """Of an account that was made just now."""
    token, link_id = secrets.token_urlsafe(32), new_id(now)
    values = {
        "id": link_id,
        "organization_id": organization_id,
        "account_id": account_id,
        "issued_by": issued_by,
        "token_hash": hash_token(token),
        "created_at": now,
        "expires_at": now + RESET_LINK,
    }
    tx.later(_INSERT, values)
    return link_id, Secret(token.encode())


async def mail(
    tx: Transaction, keys: Keyring, held: Any, to: Sequence[str], *, issued_by: UUID, key: str, now: datetime
) -> datetime:
    """An earlier one leads nowhere any more. How long it works.

    `held`: the account's row, locked. `to`: none that a thief may have added (`Letterbox.settled`).
    """
    whose = Person(held.id, held.organization_id)
    _, token = await issue(tx, organization_id=whose.organization_id, account_id=whose.id, issued_by=issued_by, now=now)
    await _send(tx, keys, whose, to, token, key=key, language=held.language, now=now)
    return now + RESET_LINK


async def mail_first(
    tx: Transaction,
    keys: Keyring,
    whose: Person,
    to: str,
    *,
    issued_by: UUID,
    key: str,
    language: str,
    now: datetime,
) -> None:
    """To somebody whose account was made just now."""
    _, token = issue_first(tx, organization_id=whose.organization_id, account_id=whose.id, issued_by=issued_by, now=now)
    await _send(tx, keys, whose, (to,), token, key=key, language=language, now=now)


async def _send(
    tx: Transaction,
    keys: Keyring,
    whose: Person,
    to: Sequence[str],
    token: Secret,
    *,
    key: str,
    language: str,
    now: datetime,
) -> None:
    for mail in to:
        await delivery.send(
            tx,
            keys=keys,
            organization_id=whose.organization_id,
            account_id=whose.id,
            channel=Channel.MAIL,
            to=mail,
            key=key,
            params={"at": now.isoformat(timespec="seconds")},
            language=language,
            secret=token,
            link=Link.RESET_PASSWORD,
            expires_at=now + RESET_LINK,
            now=now,
        )


async def by_token(tx: Transaction, token_hash: bytes) -> ResetLink | None:
    """Dead or alive."""
    row = (await tx.execute(sa.select(reset_link).where(reset_link.c.token_hash == token_hash))).one_or_none()
    return None if row is None else ResetLink.of(row)


async def end_all(tx: Transaction, account_id: UUID, now: datetime) -> None:
    """Another password was chosen, or a newer link made: none of the account's leads anywhere any more."""
    await tx.execute(
        sa.update(reset_link)
        .where(reset_link.c.account_id == account_id, reset_link.c.ended_at.is_(None))
        .values(ended_at=now)
    )


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    old = sa.select(reset_link.c.id).where(reset_link.c.expires_at < now).limit(limit).scalar_subquery()
    return (await tx.execute(sa.delete(reset_link).where(reset_link.c.id.in_(old)))).rowcount
