"""What the house knows of a person, as a file for that person: made by a job in small steps, kept for a day.

The file is one JSON document in parts, each made, sealed under the person's own key and written down with how far the
work has come, in one transaction: a run that dies leaves whole parts, and the next goes on behind them. What a section
tells is an allow-list of columns. No secret is among them, and nothing of anybody else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import sqlalchemy as sa

from models import (
    account,
    app,
    approval,
    browser,
    contact,
    delivery,
    device,
    event,
    leaving,
    notification,
    organization,
    passkey,
    person_key,
    photo,
    profile,
    re_sign_in,
    session,
    sign_in,
    terms,
    verification,
)
from models import job as jobs
from models.base import Id, Moment, metadata
from models.database import Transaction
from models.job import Job
from models.sealed import Keyring
from models.settings import EXPORT_KEPT

export = sa.Table(
    "export",
    metadata,
    sa.Column("job_id", Id, sa.ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), nullable=False, index=True),
    sa.Column("section", sa.SmallInteger, nullable=False, comment="the one that is being told"),
    sa.Column("after", Id, nullable=True, comment="the last row of it that was told"),
    sa.Column("parts", sa.Integer, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False, comment="in bytes, so far"),
    sa.Column("ready_at", Moment, nullable=True),
    sa.Column("gone_at", Moment, nullable=True, index=True, comment="from then on it cannot be read any more"),
)

export_part = sa.Table(
    "export_part",
    metadata,
    sa.Column("job_id", Id, sa.ForeignKey("export.job_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False, comment="under the key of its person"),
)

PURPOSE: Final = "export"
AT_ONCE: Final = 500
"""Rows of one part: it is made, sealed and sent as a whole, so this bounds what any process holds."""


@dataclass(frozen=True, slots=True)
class Export:
    job_id: UUID
    organization_id: UUID
    account_id: UUID
    section: int
    after: UUID | None
    parts: int
    size: int
    ready_at: datetime | None
    gone_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Export":
        return cls(*(getattr(row, name) for name in cls.__slots__))

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None

    def can_be_read(self, now: datetime) -> bool:
        return self.gone_at is not None and now < self.gone_at


# What is told


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose it is, and the organizations in which anything of theirs can be."""

    account_id: UUID
    places: Sequence[UUID]
    keys: Keyring


Told = Sequence[Mapping[str, Any]]
Page = Callable[[Transaction, Whose, UUID | None], Awaitable[tuple[Told, UUID | None]]]
"""What is told next, and the last row of it; None: there is no more."""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    page: Page


def _paged(rows: Sequence[sa.RowMapping]) -> tuple[Told, UUID | None]:
    return [dict(row) for row in rows], rows[-1]["id"] if len(rows) == AT_ONCE else None


def _rows(table: sa.Table, *columns: str) -> Page:
    """The person's rows, in the order of their ids."""

    async def page(tx: Transaction, whose: Whose, after: UUID | None) -> tuple[Told, UUID | None]:
        statement = sa.select(*(table.c[name] for name in columns)).where(table.c.account_id == whose.account_id)
        if "organization_id" in columns:  # which stands before the account in its index
            statement = statement.where(table.c.organization_id.in_(whose.places))
        if after is not None:
            statement = statement.where(table.c.id > after)
        rows = (await tx.execute(statement.order_by(table.c.id).limit(AT_ONCE))).mappings().all()
        return _paged(rows)

    return page


def _few(table: sa.Table, *columns: str, whose_column: str = "account_id") -> Page:
    """Of rows that are bounded for each person."""

    async def page(tx: Transaction, whose: Whose, _: UUID | None) -> tuple[Told, UUID | None]:
        statement = sa.select(*(table.c[name] for name in columns)).where(table.c[whose_column] == whose.account_id)
        return [dict(row) for row in (await tx.execute(statement)).mappings()], None

    return page


async def _profile(tx: Transaction, whose: Whose, _: UUID | None) -> tuple[Told, UUID | None]:
    """As their page shows it."""
    shown = (await profile.of_account(tx, whose.account_id)).fields
    return [{"field": name, "value": one.value, "master": one.master} for name, one in shown.items()], None


async def _contacts(tx: Transaction, whose: Whose, _: UUID | None) -> tuple[Told, UUID | None]:
    mine = await contact.of_account(tx, whose.account_id)
    return [
        {"id": one.id, "kind": one.kind, "address": one.open(whose.keys), "confirmed_at": one.confirmed_at}
        for one in mine.values()
    ], None


async def _terms(tx: Transaction, whose: Whose, after: UUID | None) -> tuple[Told, UUID | None]:
    """What they answered, and as whom."""
    given, signer = terms.terms_acceptance.c, terms.terms_signer.c
    answers = (given.id, given.organization_id, given.terms_id, given.version_id, given.accepted, given.language)
    told = (*answers, given.sha256, given.at, given.expires_at, signer.sign_in_name, signer.mail, signer.address)
    statement = (
        sa.select(*told)
        .join_from(terms.terms_signer, terms.terms_acceptance, given.id == signer.acceptance_id)
        .where(signer.account_id == whose.account_id)
        .order_by(given.id)
        .limit(AT_ONCE)
    )
    if after is not None:
        statement = statement.where(given.id > after)
    return _paged((await tx.execute(statement)).mappings().all())


async def _record(tx: Transaction, whose: Whose, after: UUID | None) -> tuple[Told, UUID | None]:
    """As they see it: from where others acted is not theirs to know."""
    lines = event.event.c
    statement = (
        sa.select(event.event)
        .where(lines.organization_id.in_(whose.places), lines.account_id == whose.account_id)
        .order_by(lines.id)
        .limit(AT_ONCE)
    )
    if after is not None:
        statement = statement.where(lines.id > after)
    rows = (await tx.execute(statement)).all()
    told = []
    for line in await event.opened(tx, whose.keys, rows):
        row = line.row
        others = row.actor_id is not None and row.actor_id != whose.account_id
        told.append(
            {
                "id": row.id,
                "organization_id": row.organization_id,
                "at": row.at,
                "action": row.action,
                "outcome": row.outcome,
                "reason": line.reason,
                "by": row.actor_kind,
                "by_yourself": row.actor_id == whose.account_id,
                "subject": row.subject_kind,
                "subject_id": row.subject_id,
                "address": None if others else line.address,
                "client": None if others else line.client,
                "facts": line.facts,
            }
        )
    return told, rows[-1].id if len(rows) == AT_ONCE else None


_PLACE: Final = ("id", "organization_id")

SECTIONS: Final[tuple[Section, ...]] = (
    Section(
        "account",
        _few(
            account.account,
            "id",
            "organization_id",
            "sign_in_name",
            "display_name",
            "language",
            "is_operator",
            "created_at",
            whose_column="id",
        ),
    ),
    Section("profile", _profile),
    Section("photo", _few(photo.photo, "content", "changed_at")),
    Section("memberships", _few(organization.membership, "organization_id", "roles", "may_recover", "created_at")),
    Section(
        "former_memberships",
        _few(leaving.former_membership, "organization_id", "roles", "joined_at", "left_at", "by"),
    ),
    Section("bygone_memberships", _few(leaving.bygone, "organization_id")),
    Section(
        "methods",
        _few(verification.verification, "id", "kind", "state", "label", "is_default", "created_at", "used_at"),
    ),
    Section("passkeys", _few(passkey.passkey, "verification_id", "transports", "backup_eligible", "backed_up")),
    Section("contacts", _contacts),
    Section("browsers", _rows(browser.browser, "id", "address", "client", "created_at", "used_at", "remembered_until")),
    Section(
        "sessions",
        _rows(
            session.session,
            *_PLACE,
            "state",
            "strength",
            "methods",
            "signed_in_at",
            "proven_at",
            "used_at",
            "expires_at",
            "ended_at",
            "address",
            "client",
        ),
    ),
    Section(
        "sign_ins",
        _rows(sign_in.sign_in, *_PLACE, "at", "outcome", "reason", "address", "client", "disowned_at"),
    ),
    Section(
        "devices",
        _rows(
            device.device,
            *_PLACE,
            "name",
            "platform",
            "ownership",
            "state",
            "os_name",
            "os_version",
            "maker",
            "model",
            "serial",
            "last_seen_at",
            "seen_from",
            "created_at",
        ),
    ),
    Section(
        "jobs",
        _rows(jobs.job, *_PLACE, "device_id", "kind", "state", "reason", "created_at", "expires_at", "ended_at"),
    ),
    Section(
        "approvals",
        _rows(
            approval.approval,
            *_PLACE,
            "device_id",
            "act",
            "state",
            "why",
            "reason",
            "created_at",
            "lapses_at",
            "ended_at",
        ),
    ),
    Section(
        "re_sign_ins",
        _rows(re_sign_in.re_sign_in, *_PLACE, "device_id", "act", "state", "opened_at", "proven_at", "ended_at"),
    ),
    Section("apps", _rows(app.app_use, *_PLACE, "app_id", "first_used_at", "last_used_at")),
    # By their keys: the words of a notice to an administrator may name somebody else.
    Section(
        "notifications",
        _rows(
            notification.notification,
            *_PLACE,
            "device_id",
            "key",
            "severity",
            "created_at",
            "read_at",
            "expires_at",
        ),
    ),
    Section("deliveries", _rows(delivery.delivery, *_PLACE, "channel", "key", "state", "created_at", "ended_at")),
    Section("terms", _terms),
    Section("record", _record),
)


# The work


async def begin(tx: Transaction, held: Job) -> None:
    await tx.execute(
        sa.insert(export).values(
            job_id=held.id,
            organization_id=held.organization_id,
            account_id=held.account_id,
            section=0,
            after=None,
            parts=0,
            size=0,
        )
    )


async def of_job(tx: Transaction, job_id: UUID) -> Export | None:
    row = (await tx.execute(sa.select(export).where(export.c.job_id == job_id))).one_or_none()
    return None if row is None else Export.of(row)


async def tell(tx: Transaction, keys: Keyring, made: Export, now: datetime) -> bool:
    """One part more. Whether that was the last one. The job's row is held.

    Its person's key is needed for the parts: without one there is nobody left to tell.
    """
    key = await person_key.take(tx, keys, made.account_id)
    if key is None:
        raise LookupError("there is nobody to make it for")
    section = SECTIONS[made.section]
    whose = Whose(made.account_id, await leaving.every_place(tx, made.account_id), keys)
    rows, after = await section.page(tx, whose, made.after)
    content = _spelled(made, section, rows, closed=after is None, now=now)
    sealed = key.seal(content, purpose=PURPOSE, owner=(made.job_id, str(made.parts)))
    await tx.execute(
        sa.insert(export_part).values(
            job_id=made.job_id, number=made.parts, organization_id=made.organization_id, content=sealed
        )
    )
    done = after is None and made.section == len(SECTIONS) - 1
    values: dict[str, Any] = {
        "section": made.section + (after is None and not done),
        "after": after,
        "parts": made.parts + 1,
        "size": made.size + len(content),
    }
    if done:
        values |= {"ready_at": now, "gone_at": now + EXPORT_KEPT}
    await tx.execute(sa.update(export).where(export.c.job_id == made.job_id).values(**values))
    return done


def _spelled(made: Export, section: Section, rows: Told, *, closed: bool, now: datetime) -> bytes:
    """Its piece of the document: parts one behind the other are one JSON object."""
    opening = b""
    if made.after is None:
        head = b'{"made_at":%s' % msgspec.json.encode(now) if made.section == 0 else b""
        opening = head + b',"%s":[' % section.name.encode()
    told = b",".join(msgspec.json.encode(row) for row in rows)
    if made.after is not None and told:
        told = b"," + told
    ending = b"" if not closed else b"]}" if made.section == len(SECTIONS) - 1 else b"]"
    return opening + told + ending


async def give_up(tx: Transaction, job_id: UUID) -> None:
    """With all its parts."""
    await tx.execute(sa.delete(export).where(export.c.job_id == job_id))


async def part(tx: Transaction, keys: Keyring, made: Export, number: int) -> bytes | None:
    """None: it has gone meanwhile."""
    statement = sa.select(export_part.c.content).where(
        export_part.c.job_id == made.job_id, export_part.c.number == number
    )
    sealed = (await tx.execute(statement)).scalar_one_or_none()
    key = (await person_key.find(tx, keys, [made.account_id])).get(made.account_id)
    return (
        None if sealed is None or key is None else key.open(sealed, purpose=PURPOSE, owner=(made.job_id, str(number)))
    )


async def of_account(tx: Transaction, organization_id: UUID, account_id: UUID) -> list[Export]:
    """Those that are kept or under way; newest first. So many a day that there are never many."""
    statement = sa.select(export).where(export.c.account_id == account_id, export.c.organization_id == organization_id)
    return [Export.of(row) for row in await tx.execute(statement.order_by(export.c.job_id.desc()))]


async def empty(tx: Transaction, job_ids: Sequence[UUID], limit: int) -> int:
    """Of what these jobs made, so many parts at most: then the jobs can go, without taking all of it along at once."""
    some = sa.select(export_part.c.job_id, export_part.c.number).where(export_part.c.job_id.in_(job_ids)).limit(limit)
    named = sa.tuple_(export_part.c.job_id, export_part.c.number).in_(some)
    return (await tx.execute(sa.delete(export_part).where(named))).rowcount


async def erase_due(tx: Transaction, now: datetime, limit: int) -> int:
    """Parts first, so many at a time; then what had them."""
    over = export.c.gone_at <= now
    parts = (
        sa.select(export_part.c.job_id, export_part.c.number)
        .join(export, export.c.job_id == export_part.c.job_id)
        .where(over)
        .limit(limit)
    )
    named = sa.tuple_(export_part.c.job_id, export_part.c.number).in_(parts)
    erased = (await tx.execute(sa.delete(export_part).where(named))).rowcount
    if erased >= limit:
        return erased
    empty = sa.select(export.c.job_id).where(over).limit(limit).scalar_subquery()
    return erased + (await tx.execute(sa.delete(export).where(export.c.job_id.in_(empty)))).rowcount
