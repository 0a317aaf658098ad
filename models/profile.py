"""Who somebody is to their organization: fields in sections, each with a master, and who may change it here.

A field's master is where its value comes from. What another system masters is edited there and arrives with its next
sync; what is the person's own nobody else sets.
"""

import hashlib
import json
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account
from models.base import Id, Json, metadata
from models.country import COUNTRIES
from models.database import Transaction
from models.errors import BrokenRule, FieldNotEditable, Invalid, MasteredElsewhere
from models.organization import OrganizationSettings, organization
from models.photo import photo
from models.vocabulary import EPOCH, LANGUAGES

profile = sa.Table(
    "profile",
    metadata,
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), nullable=False),
    sa.Column("values", Json, nullable=False, comment="by field; an empty one is absent"),
    sa.Column("masters", Json, nullable=False, comment="by section: master, last_synced_at"),
    comment="What the account's own row does not hold; made with the first edit.",
)

Value = str | tuple[str, ...] | None


class Section(StrEnum):
    """What an organization shows or hides as a whole, and what another system masters as a whole."""

    IDENTITY = "identity"
    JOB = "job"
    CONTACT = "contact"
    SETTINGS = "settings"
    """Ours alone, whoever masters the rest."""
    PREFERENCES = "preferences"
    PHOTO = "photo"


class Master(StrEnum):
    LOCAL = "local"
    DIRECTORY = "directory"
    HR = "hr"
    USER = "user"
    """The person's own."""


class Editor(StrEnum):
    PERSON = "person"
    ADMINISTRATOR = "administrator"


SYNC_CYCLE: Final = timedelta(minutes=30)
"""How often another system's word arrives, where it does not say itself when the next one will."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    section: Section
    editor: Editor
    read: Callable[[Any], Value]
    """A value as it is kept, alike however it was typed. Raises BrokenRule."""


# What a value may be

_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_LINES: Final = re.compile(r"\r\n|\r|\n")
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?")
_ZONE: Final = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_PREFERRED: Final = 10


def _line(given: Any, *, most: int, required: bool = False, lines: bool = False) -> str | None:
    if given is not None and not isinstance(given, str):
        raise BrokenRule("text")
    text = unicodedata.normalize("NFC", given or "").strip()
    if not text and required:
        raise BrokenRule("empty")
    if len(text) > most:
        raise BrokenRule("too_long", most=most)
    if _BREAKS.search(_LINES.sub("", text) if lines else text):
        raise BrokenRule("one_line")
    return (_LINES.sub("\n", text) if lines else text) or None


def _tag(given: Any) -> str | None:
    """A language, with its script and region where they are said: `nl`, `sr-Latn-RS`."""
    if given is None:
        return None
    if not isinstance(given, str) or not _TAG.fullmatch(given):
        raise BrokenRule("language_tag")
    return "-".join(
        part.lower() if place == 0 else part.title() if len(part) == 4 else part.upper()
        for place, part in enumerate(given.split("-"))
    )


def _tags(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) > _PREFERRED:
        raise BrokenRule("language_tags", most=_PREFERRED)
    tags = [tag for tag in map(_tag, given) if tag is not None]
    if len(set(tags)) < len(given):
        raise BrokenRule("languages_once")
    return tuple(tags) or None


def _language(given: Any) -> str:
    if given not in LANGUAGES:
        raise BrokenRule("choice", choices=", ".join(LANGUAGES))
    return str(given)


def _country(given: Any) -> str | None:
    if given is None or given == "":
        return None
    code = given.strip().upper() if isinstance(given, str) else None
    if code not in COUNTRIES:
        raise BrokenRule("country")
    return code


def _account(given: Any) -> str | None:
    """Whose it is, is asked where it is written down (models/roster.py)."""
    if given is None or given == "":
        return None
    try:
        return str(UUID(given))
    except (ValueError, AttributeError, TypeError):
        raise BrokenRule("account_id") from None


_NICKNAME: Final = re.compile(r"[^\s@()<>\[\]\\\",:;]+")


def _nickname(given: Any) -> str | None:
    text = _line(given, most=64)
    if text is not None and not _NICKNAME.fullmatch(text):
        raise BrokenRule("nickname")
    return text


def _time_zone(given: Any) -> str | None:
    if given is None:
        return None
    try:
        # Names become paths: what does not look like one of theirs never gets that far.
        if isinstance(given, str) and _ZONE.fullmatch(given):
            return zoneinfo.ZoneInfo(given).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise BrokenRule("time_zone")


def _text(name: str, section: Section, most: int, **rules: bool) -> Field:
    return Field(name, section, Editor.ADMINISTRATOR, partial(_line, most=most, **rules))


def _kept_by_administrators(name: str, section: Section, read: Callable[[Any], Value]) -> Field:
    return Field(name, section, Editor.ADMINISTRATOR, read)


def _own(name: str, read: Callable[[Any], Value]) -> Field:
    return Field(name, Section.PREFERENCES, Editor.PERSON, read)


FIELDS: Final[Mapping[str, Field]] = {
    field.name: field
    for field in (
        _text("display_name", Section.IDENTITY, 256, required=True),
        _text("given_name", Section.IDENTITY, 64),
        _text("surname", Section.IDENTITY, 64),
        _text("job_title", Section.JOB, 128),
        _text("department", Section.JOB, 64),
        _text("company_name", Section.JOB, 64),
        _kept_by_administrators("manager", Section.JOB, _account),
        _text("office", Section.CONTACT, 128),
        _text("street", Section.CONTACT, 1024, lines=True),
        _text("postal_code", Section.CONTACT, 40),
        _text("city", Section.CONTACT, 128),
        _text("state", Section.CONTACT, 128),
        _text("country", Section.CONTACT, 128),
        _text("business_phone", Section.CONTACT, 64),
        _text("mobile_phone", Section.CONTACT, 64),
        _kept_by_administrators("mail_nickname", Section.CONTACT, _nickname),
        _kept_by_administrators("usage_location", Section.SETTINGS, _country),
        _own("language", _language),
        _own("preferred_languages", _tags),
        _own("regional_format", _tag),
        _own("time_zone", _time_zone),
    )
}
_IN_ACCOUNT: Final = frozenset({"display_name", "language"})
"""Asked for with every request: the account's row holds them."""


# One person's


@dataclass(frozen=True, slots=True)
class Shown:
    """A field as it stands, with what whoever asks may do about it."""

    value: Value
    master: Master
    editable_by: Editor
    last_synced_at: datetime | None
    next_sync_at: datetime | None = None
    """When a change that is made over there should have arrived."""

    def editable(self, editor: Editor) -> bool:
        return editor is self.editable_by and not self.is_mastered_elsewhere

    @property
    def is_mastered_elsewhere(self) -> bool:
        return self.master not in {Master.LOCAL, Master.USER}


@dataclass(frozen=True, slots=True)
class Profile:
    """`fields`: those that the organization shows."""

    account_id: UUID
    organization_id: UUID
    sign_in_name: str
    fields: Mapping[str, Shown]
    shows_photo: bool
    photo_changed_at: datetime | None

    @property
    def shows_addresses(self) -> bool:
        """They are part of how somebody is reached."""
        return any(FIELDS[name].section is Section.CONTACT for name in self.fields)

    @property
    def mark(self) -> str:
        """The ETag: of the values, whoever looks at them."""
        values = {name: one.value for name, one in self.fields.items()}
        text = json.dumps([str(self.account_id), self.sign_in_name, values], sort_keys=True)
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


_MINE: Final = account.account
_READ: Final = (
    sa.select(
        _MINE.c.id,
        _MINE.c.organization_id,
        _MINE.c.sign_in_name,
        _MINE.c.display_name,
        _MINE.c.language,
        profile.c["values"].label("kept"),
        profile.c.masters,
        organization.c.settings,
        photo.c.changed_at.label("photo_changed_at"),
    )
    .join_from(_MINE, organization, organization.c.id == _MINE.c.organization_id)
    .outerjoin(profile, profile.c.account_id == _MINE.c.id)
    .outerjoin(photo, photo.c.account_id == _MINE.c.id)
)


async def of_account(tx: Transaction, account_id: UUID, *, whole: bool = False) -> Profile:
    """What the organization that owns the account shows of it; to its administrators, the whole."""
    row = (await tx.execute(_READ.where(_MINE.c.id == account_id))).one()
    hidden = frozenset() if whole else OrganizationSettings.of(row.settings).hidden_sections
    return _of(row, hidden, await tx.now() if row.masters else EPOCH)


async def of_accounts(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, Profile]:
    """The whole of each."""
    rows = (await tx.execute(_READ.where(_MINE.c.id.in_(ids)))).all()
    now = await tx.now()
    return {row.id: _of(row, frozenset(), now) for row in rows}


def _of(row: Any, hidden: frozenset[str], now: datetime) -> Profile:
    kept = {**(row.kept or {}), "display_name": row.display_name, "language": row.language}
    masters = row.masters or {}
    fields = {
        field.name: _shown(field, kept.get(field.name), masters.get(field.section.value, {}), now)
        for field in FIELDS.values()
        if field.section.value not in hidden
    }
    return Profile(
        account_id=row.id,
        organization_id=row.organization_id,
        sign_in_name=row.sign_in_name,
        fields=fields,
        shows_photo=Section.PHOTO.value not in hidden,
        photo_changed_at=row.photo_changed_at,
    )


async def begin(tx: Transaction, organization_id: UUID, values: Mapping[UUID, Mapping[str, Value]]) -> None:
    """Of accounts that were made just now; every value has been read by its field."""
    rows = [
        {"account_id": account_id, "organization_id": organization_id, "values": dict(given), "masters": {}}
        for account_id, given in values.items()
        if given
    ]
    if rows:
        await tx.execute(sa.insert(profile), rows)


async def page_of_organization(
    tx: Transaction, organization_id: UUID, after: str | None, limit: int
) -> list[tuple[Any, Mapping[str, Any]]]:
    """Its accounts by their sign-in names, each with its values."""
    statement = (
        sa.select(_MINE.c.sign_in_name, _MINE.c.display_name, _MINE.c.language, profile.c["values"].label("kept"))
        .outerjoin_from(_MINE, profile, profile.c.account_id == _MINE.c.id)
        .where(_MINE.c.organization_id == organization_id, _MINE.c.deleted_at.is_(None))
        .order_by(_MINE.c.sign_in_name)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(_MINE.c.sign_in_name > after)
    return [(row, row.kept or {}) for row in await tx.execute(statement)]


def _shown(field: Field, value: Any, mastered: Mapping[str, Any], now: datetime) -> Shown:
    kept: Value = tuple(value) if isinstance(value, list) else value
    if field.editor is Editor.PERSON:
        return Shown(kept, Master.USER, Editor.PERSON, None)
    if field.section is Section.SETTINGS:
        return Shown(kept, Master.LOCAL, field.editor, None)
    master = Master(mastered.get("master", Master.LOCAL))
    last, following = _moment(mastered.get("last_synced_at")), _moment(mastered.get("next_sync_at"))
    return Shown(kept, master, field.editor, last, None if master is Master.LOCAL else next_sync(last, following, now))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def next_sync(last: datetime | None, told: datetime | None, now: datetime) -> datetime | None:
    """As the other system has told; where it has not, it is reckoned. None: nothing has ever come from there."""
    if told is not None and told > now:
        return told
    if last is None:
        return None
    missed = max(timedelta(0), now - last) // SYNC_CYCLE
    return last + (missed + 1) * SYNC_CYCLE


def read_changes(held: Profile, given: Mapping[str, Any], editor: Editor) -> dict[str, Value]:
    """What really changes, all of it or nothing.

    Raises FieldNotEditable, MasteredElsewhere to whoever could edit it if it were ours, then Invalid with every broken
    rule.
    """
    for name in given:
        must_be_editable(held, name, editor)
    read: dict[str, Value] = {}
    errors = []
    for name, value in given.items():
        try:
            read[name] = FIELDS[name].read(value)
        except BrokenRule as broken:
            errors.append(broken.at(name))
    if errors:
        raise Invalid(errors=errors)
    return {name: value for name, value in read.items() if value != held.fields[name].value}


def must_be_editable(held: Profile, name: str, editor: Editor) -> None:
    """Raises FieldNotEditable, MasteredElsewhere."""
    shown = held.fields.get(name)
    if shown is None:
        raise FieldNotEditable(field=name)
    if editor is Editor.ADMINISTRATOR and shown.editable_by is editor and shown.is_mastered_elsewhere:
        raise MasteredElsewhere(
            field=name,
            master=shown.master.value,
            last_synced_at=shown.last_synced_at,
            next_sync_at=shown.next_sync_at,
        )
    if not shown.editable(editor):
        raise FieldNotEditable(field=name, master=shown.master.value)


async def write(tx: Transaction, held: Profile, changes: Mapping[str, Value]) -> None:
    """The account's row is held; every value has been read by its field."""
    of_account = {name: value for name, value in changes.items() if name in _IN_ACCOUNT}
    if of_account:
        if "display_name" in of_account:
            of_account["looked_up_as"] = account.look_up(str(of_account["display_name"]))
        mine = account.account
        await tx.execute(sa.update(mine).where(mine.c.id == held.account_id).values(**of_account))
    others = {name: value for name, value in changes.items() if name not in _IN_ACCOUNT}
    if not others:
        return
    theirs = profile.c.account_id == held.account_id
    row = (await tx.execute(sa.select(profile.c["values"].label("kept")).where(theirs))).one_or_none()
    merged = {**({} if row is None else row.kept), **others}
    values = {name: value for name, value in merged.items() if value is not None}
    if row is None:
        first = sa.insert(profile).values(
            account_id=held.account_id, organization_id=held.organization_id, values=values, masters={}
        )
        await tx.execute(first)
    else:
        await tx.execute(sa.update(profile).where(theirs).values(values=values))


async def masters_of(tx: Transaction, account_id: UUID) -> frozenset[Master]:
    """Every system that keeps any part of it, whether that part is shown or not."""
    row = (await tx.execute(sa.select(profile.c.masters).where(profile.c.account_id == account_id))).one_or_none()
    masters = {} if row is None else row.masters or {}
    return frozenset(Master(one["master"]) for one in masters.values() if "master" in one)
