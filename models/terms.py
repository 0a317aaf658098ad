"""Terms of use: what an organization asks its people to accept, each version's text, and who answered what, when.

A version, its texts and the answers to it are insert-only: they are evidence. Who somebody was when they answered
stands in a row of its own, so that it can be erased and the evidence stays, of nobody in particular.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import standing
from models.account import account
from models.base import Id, Json, Moment, metadata, partial_index
from models.browser import browser
from models.database import Transaction
from models.event import keep_insert_only
from models.hot import Hot, Question
from models.organization import membership
from models.session import hash_token
from models.standing import NOTICE, Answer, Expiry, Schedule, Standing, Version
from models.vocabulary import new_id

terms = sa.Table(
    "terms",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False, comment="for administrators"),
    sa.Column("names", Json, nullable=False, comment="for people, by language"),
    sa.Column("default_language", sa.Text, nullable=False),
    sa.Column("must_scroll", sa.Boolean, nullable=False),
    sa.Column("per_device", sa.Boolean, nullable=False),
    sa.Column("expires_from", Moment, nullable=True, comment="with expires_every_months: all end together"),
    sa.Column("expires_every_months", sa.SmallInteger, nullable=True),
    sa.Column("expires_after_days", sa.Integer, nullable=True, comment="each after its own acceptance"),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("withdrawn_at", Moment, nullable=True),
    sa.Index("ix_terms_organization", "organization_id", "id"),
)

terms_version = sa.Table(
    "terms_version",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("terms_id", Id, sa.ForeignKey("terms.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("major", sa.Boolean, nullable=False),
    sa.Column("effective_at", Moment, nullable=False),
    sa.Column("published_at", Moment, nullable=False),
    sa.Column("published_by", Id, nullable=False, comment="an account"),
    sa.Index("uq_terms_version_number", "terms_id", "number", unique=True),
)

terms_document = sa.Table(
    "terms_document",
    metadata,
    sa.Column("version_id", Id, sa.ForeignKey("terms_version.id"), primary_key=True),
    sa.Column("language", sa.Text, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False, comment="of the text in UTF-8"),
)

terms_acceptance = sa.Table(
    "terms_acceptance",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("terms_id", Id, sa.ForeignKey("terms.id"), nullable=False),
    sa.Column("version_id", Id, sa.ForeignKey("terms_version.id"), nullable=False),
    sa.Column("account_id", Id, nullable=False, comment="no foreign key: it outlives the account"),
    sa.Column("number", sa.Integer, nullable=False, comment="of the account's answers to these terms"),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False, comment="of the text that was shown"),
    sa.Column("session_id", Id, nullable=False),
    sa.Column("browser_id", Id, nullable=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=True, comment="as it was told then; what holds is worked out"),
    sa.Index("uq_terms_acceptance_number", "account_id", "terms_id", "number", unique=True),
    sa.Index("ix_terms_acceptance_terms", "terms_id", "id"),
)

terms_signer = sa.Table(
    "terms_signer",
    metadata,
    sa.Column("acceptance_id", Id, sa.ForeignKey("terms_acceptance.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("account_id", Id, nullable=False, index=True),
    sa.Column("sign_in_name", sa.Text, nullable=True),
    sa.Column("display_name", sa.Text, nullable=True),
    sa.Column("mail", sa.Text, nullable=True),
    sa.Column("address", sa.Text, nullable=True),
    sa.Column("client", sa.Text, nullable=True),
    sa.Column("erased_at", Moment, nullable=True),
    comment="who somebody was when they answered",
)

terms_notice = sa.Table(
    "terms_notice",
    metadata,
    sa.Column("version_id", Id, sa.ForeignKey("terms_version.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("told_up_to", Id, nullable=True, comment="the last account that was told"),
    sa.Column("done_at", Moment, nullable=True),
    partial_index("ix_terms_notice_due", "due_at", where="done_at IS NULL"),
)

INSERT_ONLY: Final = (terms_version, terms_document, terms_acceptance)
for _table in INSERT_ONLY:
    sa.event.listen(_table, "after_create", keep_insert_only)

MOST: Final = 40
"""Terms that an organization keeps at a time."""
LONGEST_TEXT: Final = 100_000
"""Characters of one document: more than anybody reads."""
LANGUAGES_AT_MOST: Final = 50
TAG: Final = r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"
"""A language as `nl` or `nl-BE`, in its usual spelling."""
_HIDDEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What cannot be seen, or turns the text around: nobody accepts what reads otherwise than it is."""


@dataclass(frozen=True, slots=True)
class Terms:
    id: UUID
    organization_id: UUID
    name: str
    names: Mapping[str, str]
    default_language: str
    must_scroll: bool
    per_device: bool
    expiry: Expiry
    revision: int
    created_at: datetime
    withdrawn_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> "Terms":
        from_, every = row.expires_from, row.expires_every_months
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            name=row.name,
            names=row.names,
            default_language=row.default_language,
            must_scroll=row.must_scroll,
            per_device=row.per_device,
            expiry=Expiry(None if from_ is None else Schedule(from_, every), row.expires_after_days),
            revision=row.revision,
            created_at=row.created_at,
            withdrawn_at=row.withdrawn_at,
        )

    @property
    def mark(self) -> str:
        return f'"{self.revision}"'

    def called(self, language: str | None) -> str:
        return self.names[standing.choose(self.names, language, self.default_language)]


@dataclass(frozen=True, slots=True)
class Text:
    """One version in one language, as it is shown."""

    language: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Mine:
    """Terms as they are to one person."""

    terms: Terms
    standing: Standing
    accepted_at: datetime | None
    expires_at: datetime | None
    accepted_version: int | None


@dataclass(frozen=True, slots=True)
class Given:
    """An answer with who gave it, as far as that is still known."""

    row: Any

    @property
    def id(self) -> UUID:
        given_id: UUID = self.row.id
        return given_id


def clean_text(text: str) -> str | None:
    """A document as it is kept: plain text, its lines ended alike. None: there is nothing to read, or too much."""
    clean = re.sub(r"\r\n?", "\n", text)
    return clean if clean.strip() and len(clean) <= LONGEST_TEXT and not _HIDDEN.search(clean) else None


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# What the organization keeps


def _settings(held: Terms) -> dict[str, Any]:
    schedule = held.expiry.schedule
    return {
        "name": held.name,
        "names": dict(held.names),
        "default_language": held.default_language,
        "must_scroll": held.must_scroll,
        "per_device": held.per_device,
        "expires_from": None if schedule is None else schedule.starts_at,
        "expires_every_months": None if schedule is None else schedule.every_months,
        "expires_after_days": held.expiry.days,
        "revision": held.revision,
        "withdrawn_at": held.withdrawn_at,
    }


async def add(tx: Transaction, new: Terms) -> None:
    await tx.execute(
        sa.insert(terms).values(
            id=new.id, organization_id=new.organization_id, created_at=new.created_at, **_settings(new)
        )
    )


async def save(tx: Transaction, held: Terms) -> None:
    """Its row is held."""
    await tx.execute(sa.update(terms).where(terms.c.id == held.id).values(**_settings(held)))


async def kept(tx: Transaction, organization_id: UUID) -> int:
    """How many are not withdrawn."""
    statement = sa.select(sa.func.count()).where(
        terms.c.organization_id == organization_id, terms.c.withdrawn_at.is_(None)
    )
    return int((await tx.execute(statement)).scalar_one())


async def page(tx: Transaction, organization_id: UUID, after: UUID | None, limit: int) -> list[Terms]:
    """In the order in which they are asked; withdrawn ones too."""
    statement = sa.select(terms).where(terms.c.organization_id == organization_id).order_by(terms.c.id).limit(limit)
    if after is not None:
        statement = statement.where(terms.c.id > after)
    return [Terms.of(row) for row in await tx.execute(statement)]


async def by_id(tx: Transaction, organization_id: UUID, terms_id: UUID) -> Terms | None:
    return await _one(tx, organization_id, terms_id, sa.select(terms))


async def hold(tx: Transaction, organization_id: UUID, terms_id: UUID) -> Terms | None:
    """For who changes them, or publishes."""
    return await _one(tx, organization_id, terms_id, sa.select(terms).with_for_update())


async def hold_still(tx: Transaction, organization_id: UUID, terms_id: UUID) -> Terms | None:
    """For who answers: many at a time, and nobody publishes meanwhile."""
    return await _one(tx, organization_id, terms_id, sa.select(terms).with_for_update(read=True))


async def _one(tx: Transaction, organization_id: UUID, terms_id: UUID, statement: sa.Select[Any]) -> Terms | None:
    wanted = statement.where(terms.c.id == terms_id, terms.c.organization_id == organization_id)
    row = (await tx.execute(wanted)).one_or_none()
    return None if row is None else Terms.of(row)


async def publish(
    tx: Transaction,
    held: Terms,
    *,
    number: int,
    major: bool,
    effective_at: datetime,
    texts: Mapping[str, str],
    by: UUID,
    now: datetime,
) -> Version:
    """The next version. People hear of one that will ask them anew, before it does."""
    published = Version(new_id(now), held.id, number, major, effective_at, now)
    await tx.execute(
        sa.insert(terms_version).values(
            id=published.id,
            organization_id=held.organization_id,
            terms_id=held.id,
            number=number,
            major=major,
            effective_at=effective_at,
            published_at=now,
            published_by=by,
        )
    )
    for language, text in texts.items():
        await tx.execute(
            sa.insert(terms_document).values(
                version_id=published.id,
                organization_id=held.organization_id,
                language=language,
                text=text,
                sha256=hash_of(text),
            )
        )
    if effective_at > now and (major or number == 1):
        await tx.execute(
            sa.insert(terms_notice).values(
                version_id=published.id,
                organization_id=held.organization_id,
                due_at=max(now, effective_at - NOTICE),
            )
        )
    return published


def _version(row: Any) -> Version:
    return Version(row.id, row.terms_id, row.number, row.major, row.effective_at, row.published_at)


async def versions(tx: Transaction, terms_ids: Sequence[UUID]) -> dict[UUID, list[Version]]:
    """Of each, oldest first."""
    found: dict[UUID, list[Version]] = {one: [] for one in terms_ids}
    if terms_ids:
        statement = (
            sa.select(terms_version).where(terms_version.c.terms_id.in_(terms_ids)).order_by(terms_version.c.number)
        )
        for row in await tx.execute(statement):
            found[row.terms_id].append(_version(row))
    return found


async def version_page(tx: Transaction, terms_id: UUID, before: int | None, limit: int) -> list[Version]:
    """Newest first."""
    statement = (
        sa.select(terms_version)
        .where(terms_version.c.terms_id == terms_id)
        .order_by(terms_version.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(terms_version.c.number < before)
    return [_version(row) for row in await tx.execute(statement)]


async def version_by_id(tx: Transaction, organization_id: UUID, version_id: UUID) -> Version | None:
    statement = sa.select(terms_version).where(
        terms_version.c.id == version_id, terms_version.c.organization_id == organization_id
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else _version(row)


async def hashes(tx: Transaction, version_ids: Sequence[UUID]) -> dict[UUID, dict[str, str]]:
    """Of each version, by language."""
    found: dict[UUID, dict[str, str]] = {one: {} for one in version_ids}
    if version_ids:
        document = terms_document.c
        statement = sa.select(document.version_id, document.language, document.sha256).where(
            document.version_id.in_(version_ids)
        )
        for row in await tx.execute(statement):
            found[row.version_id][row.language] = row.sha256
    return found


async def text_of(tx: Transaction, version_id: UUID, language: str) -> Text:
    statement = sa.select(terms_document).where(
        terms_document.c.version_id == version_id, terms_document.c.language == language
    )
    row = (await tx.execute(statement)).one()
    return Text(row.language, row.text, row.sha256)


# What people answer


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose answers count. Terms that are asked on each device count those of this session and this browser alone."""

    organization_id: UUID
    account_id: UUID
    session_id: UUID
    browser_token: str | None


def _whose(asked: Asked) -> dict[str, Any]:
    # A browser without a token is nobody's: no token is empty.
    browser_hash = b"" if asked.browser_token is None else hash_token(asked.browser_token)
    return {
        "organization": asked.organization_id,
        "account": asked.account_id,
        "session": asked.session_id,
        "browser": browser_hash,
    }


def _newest_answer() -> sa.ScalarSelect[Any]:
    """The account's newest answer to the terms of the row it is asked for.

    What somebody answered who then left the organization is kept, and counts no more once they join anew.
    """
    organization_id, account_id = sa.bindparam("organization", type_=Id), sa.bindparam("account", type_=Id)
    belongs_since = (
        sa.select(membership.c.created_at)
        .where(membership.c.organization_id == organization_id, membership.c.account_id == account_id)
        .scalar_subquery()
    )
    here = (
        sa.select(browser.c.id)
        .where(browser.c.token_hash == sa.bindparam("browser"), browser.c.account_id == account_id)
        .scalar_subquery()
    )
    one = terms_acceptance.alias("one")
    return (
        sa.select(one.c.id)
        .where(
            one.c.account_id == account_id,
            one.c.terms_id == terms.c.id,
            one.c.at >= belongs_since,
            sa.or_(
                terms.c.per_device.is_(sa.false()),
                one.c.session_id == sa.bindparam("session"),
                one.c.browser_id == here,
            ),
        )
        .order_by(one.c.number.desc())
        .limit(1)
        .correlate(terms)
        .scalar_subquery()
    )


_NEWEST: Final = _newest_answer()
_OF_PERSON: Final = Hot(
    sa.select(
        terms,
        terms_acceptance.c.id.label("answer_id"),
        terms_acceptance.c.version_id.label("answer_version_id"),
        terms_acceptance.c.accepted.label("answer_accepted"),
        terms_acceptance.c.at.label("answer_at"),
    )
    .outerjoin_from(terms, terms_acceptance, terms_acceptance.c.id == _NEWEST)
    .where(terms.c.organization_id == sa.bindparam("organization", type_=Id), terms.c.withdrawn_at.is_(None))
    .order_by(terms.c.id)
)


def asking(asked: Asked) -> Question:
    """What is known of this person and the organization's terms, for who asks other things in the same breath."""
    return _OF_PERSON, _whose(asked)


async def of_person(tx: Transaction, asked: Asked, now: datetime, terms_id: UUID | None = None) -> list[Mine]:
    """The organization's terms as they are to this person, in the order in which they are asked; one of them alone,
    where that is wanted. An organization without any costs one question."""
    rows = (await tx.ask(*asking(asked))).rows
    return await _all_mine(tx, [row for row in rows if terms_id in {None, row.id}], now)


async def _all_mine(tx: Transaction, rows: Sequence[Any], now: datetime) -> list[Mine]:
    by_terms = await versions(tx, [row.id for row in rows])
    return [_mine(row, by_terms[row.id], now) for row in rows]


def _mine(row: Any, published: Sequence[Version], now: datetime) -> Mine:
    held = Terms.of(row)
    answer = None
    if row.answer_id is not None:
        number = next(one.number for one in published if one.id == row.answer_version_id)
        answer = Answer(row.answer_id, row.answer_version_id, number, row.answer_accepted, row.answer_at)
    accepted_at = answer.at if answer is not None and answer.accepted else None
    return Mine(
        held,
        standing.standing(published, held.expiry, answer, now),
        accepted_at,
        None if accepted_at is None else held.expiry.end_of(accepted_at),
        None if answer is None or not answer.accepted else answer.version_number,
    )


async def first_asked(tx: Transaction, asked: Asked, now: datetime) -> UUID | None:
    """The version that must be accepted next; one at a time. None: there is none."""
    return await first_of(tx, (await tx.ask(*asking(asked))).rows, now)


async def first_of(tx: Transaction, rows: Sequence[Any], now: datetime) -> UUID | None:
    """As `first_asked`, of what `asking` was answered."""
    for mine in await _all_mine(tx, rows, now):
        if mine.standing.is_asked and mine.standing.version is not None:
            return mine.standing.version.id
    return None


async def newest_answer(tx: Transaction, asked: Asked, terms_id: UUID) -> Any:
    """The row, or None."""
    newest = sa.select(_NEWEST).select_from(terms).where(terms.c.id == terms_id).scalar_subquery()
    statement = sa.select(terms_acceptance).where(terms_acceptance.c.id == newest)
    return (await tx.execute(statement, _whose(asked))).one_or_none()


async def accept(
    tx: Transaction,
    asked: Asked,
    version: Version,
    text_language: str,
    text_hash: str,
    *,
    accepted: bool,
    expires_at: datetime | None,
    who: Mapping[str, str | None],
    now: datetime,
) -> Any:
    """Write an answer down, once and for all; the account's row is held. `who`: as the columns of `terms_signer`."""
    mine = terms_acceptance.c
    counted = sa.select(sa.func.coalesce(sa.func.max(mine.number), 0) + 1).where(
        mine.account_id == asked.account_id, mine.terms_id == version.terms_id
    )
    known = None
    if asked.browser_token is not None:
        of_browser = sa.select(browser.c.id).where(
            browser.c.token_hash == hash_token(asked.browser_token), browser.c.account_id == asked.account_id
        )
        known = (await tx.execute(of_browser)).scalar_one_or_none()
    acceptance_id = new_id(now)
    statement = (
        sa.insert(terms_acceptance)
        .values(
            id=acceptance_id,
            organization_id=asked.organization_id,
            terms_id=version.terms_id,
            version_id=version.id,
            account_id=asked.account_id,
            number=counted.scalar_subquery(),
            accepted=accepted,
            language=text_language,
            sha256=text_hash,
            session_id=asked.session_id,
            browser_id=known,
            at=now,
            expires_at=expires_at,
        )
        .returning(terms_acceptance)
    )
    row = (await tx.execute(statement)).one()
    await tx.execute(
        sa.insert(terms_signer).values(
            acceptance_id=acceptance_id,
            organization_id=asked.organization_id,
            account_id=asked.account_id,
            **who,
        )
    )
    return row


async def answers(tx: Transaction, terms_id: UUID, before: UUID | None, limit: int) -> list[Given]:
    """Who answered what, newest first."""
    signer = terms_signer.c
    statement = (
        sa.select(
            terms_acceptance,
            terms_version.c.number.label("version_number"),
            *(signer[name] for name in ("sign_in_name", "display_name", "mail", "address", "client", "erased_at")),
        )
        .join_from(terms_acceptance, terms_version, terms_version.c.id == terms_acceptance.c.version_id)
        .join(terms_signer, signer.acceptance_id == terms_acceptance.c.id)
        .where(terms_acceptance.c.terms_id == terms_id)
        .order_by(terms_acceptance.c.id.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(terms_acceptance.c.id < before)
    return [Given(row) for row in await tx.execute(statement)]


async def forget_person(tx: Transaction, account_id: UUID, now: datetime) -> int:
    """Who it was is erased; what was answered, when, and to which text stays, under an id that names nobody."""
    statement = (
        sa.update(terms_signer)
        .where(terms_signer.c.account_id == account_id, terms_signer.c.erased_at.is_(None))
        .values(sign_in_name=None, display_name=None, mail=None, address=None, client=None, erased_at=now)
    )
    return (await tx.execute(statement)).rowcount


# What people are told beforehand


@dataclass(frozen=True, slots=True)
class Notice:
    version: Version
    terms: Terms
    told_up_to: UUID | None


async def due_notices(tx: Transaction, now: datetime, limit: int) -> list[UUID]:
    """Versions that are to be announced."""
    statement = (
        sa.select(terms_notice.c.version_id)
        .where(terms_notice.c.done_at.is_(None), terms_notice.c.due_at <= now)
        .order_by(terms_notice.c.due_at)
        .limit(limit)
    )
    return list((await tx.execute(statement)).scalars())


async def hold_notice(tx: Transaction, version_id: UUID) -> Notice | None:
    """None: everybody was told."""
    statement = sa.select(terms_notice).where(terms_notice.c.version_id == version_id, terms_notice.c.done_at.is_(None))
    row = (await tx.execute(statement.with_for_update())).one_or_none()
    if row is None:
        return None
    version = await version_by_id(tx, row.organization_id, version_id)
    held = None if version is None else await by_id(tx, row.organization_id, version.terms_id)
    return None if version is None or held is None else Notice(version, held, row.told_up_to)


async def whom_to_tell(tx: Transaction, notice: Notice, limit: int) -> Sequence[Any]:
    """The next of the organization's people: `account_id`, `language`, `blocked_at`."""
    statement = (
        sa.select(membership.c.account_id, account.c.language, account.c.blocked_at)
        .join(account, account.c.id == membership.c.account_id)
        .where(membership.c.organization_id == notice.terms.organization_id)
        .order_by(membership.c.account_id)
        .limit(limit)
    )
    if notice.told_up_to is not None:
        statement = statement.where(membership.c.account_id > notice.told_up_to)
    return (await tx.execute(statement)).all()


async def told(tx: Transaction, notice: Notice, up_to: UUID | None, done_at: datetime | None) -> None:
    await tx.execute(
        sa.update(terms_notice)
        .where(terms_notice.c.version_id == notice.version.id)
        .values(told_up_to=up_to, done_at=done_at)
    )
