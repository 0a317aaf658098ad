"""Who somebody is to their organization: fields in sections, each with a master, and who may change it here.

A field's master is where its value comes from. What another system masters is edited there and arrives with its next
sync; what is the person's own nobody else sets.
"""

import hashlib
import json
import re
import unicodedata
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account
from models.base import Id, Json, metadata
from models.database import Transaction
from models.organization import OrganizationSettings, organization
from models.photo import photo
from models.vocabulary import LANGUAGES

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


class BrokenRule(ValueError):
    """What a value breaks, in a few words that do not quote it."""


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
        raise BrokenRule("must be text")
    text = unicodedata.normalize("NFC", given or "").strip()
    if not text and required:
        raise BrokenRule("must not be empty")
    if len(text) > most:
        raise BrokenRule(f"at most {most} characters")
    if _BREAKS.search(_LINES.sub("", text) if lines else text):
        raise BrokenRule("one line of characters that can be seen")
    return (_LINES.sub("\n", text) if lines else text) or None


def _tag(given: Any) -> str | None:
    """A language, with its script and region where they are said: `nl`, `sr-Latn-RS`."""
    if given is None:
        return None
    if not isinstance(given, str) or not _TAG.fullmatch(given):
        raise BrokenRule("a language tag such as nl or nl-NL")
    return "-".join(
        part.lower() if place == 0 else part.title() if len(part) == 4 else part.upper()
        for place, part in enumerate(given.split("-"))
    )


def _tags(given: Any) -> tuple[str, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) > _PREFERRED:
        raise BrokenRule(f"a list of at most {_PREFERRED} language tags, the most wanted first")
    tags = [tag for tag in map(_tag, given) if tag is not None]
    if len(set(tags)) < len(given):
        raise BrokenRule("each language once")
    return tuple(tags) or None


def _language(given: Any) -> str:
    if given not in LANGUAGES:
        raise BrokenRule("one of " + ", ".join(LANGUAGES))
    return str(given)


def _time_zone(given: Any) -> str | None:
    if given is None:
        return None
    try:
        # Names become paths: what does not look like one of theirs never gets that far.
        if isinstance(given, str) and _ZONE.fullmatch(given):
            return zoneinfo.ZoneInfo(given).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise BrokenRule("a time zone such as Europe/Amsterdam")


def _text(name: str, section: Section, most: int, **rules: bool) -> Field:
    return Field(name, section, Editor.ADMINISTRATOR, partial(_line, most=most, **rules))


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
        _text("office", Section.CONTACT, 128),
        _text("street", Section.CONTACT, 1024, lines=True),
        _text("postal_code", Section.CONTACT, 40),
        _text("city", Section.CONTACT, 128),
        _text("state", Section.CONTACT, 128),
        _text("country", Section.CONTACT, 128),
        _text("business_phone", Section.CONTACT, 64),
        _text("mobile_phone", Section.CONTACT, 64),
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

    def editable(self, editor: Editor) -> bool:
        return editor is self.editable_by and self.master in {Master.LOCAL, Master.USER}


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
    def mark(self) -> str:
        """The ETag: of the values, whoever looks at them."""
        values = {name: one.value for name, one in self.fields.items()}
        text = json.dumps([str(self.account_id), values], sort_keys=True)
        return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


async def of_account(tx: Transaction, account_id: UUID) -> Profile:
    """What the organization that owns the account shows of it."""
    mine = account.account
    statement = (
        sa.select(
            mine.c.organization_id,
            mine.c.sign_in_name,
            mine.c.display_name,
            mine.c.language,
            profile.c["values"].label("kept"),
            profile.c.masters,
            organization.c.settings,
            photo.c.changed_at.label("photo_changed_at"),
        )
        .join_from(mine, organization, organization.c.id == mine.c.organization_id)
        .outerjoin(profile, profile.c.account_id == mine.c.id)
        .outerjoin(photo, photo.c.account_id == mine.c.id)
        .where(mine.c.id == account_id)
    )
    row = (await tx.execute(statement)).one()
    hidden = OrganizationSettings.of(row.settings).hidden_sections
    kept = {**(row.kept or {}), "display_name": row.display_name, "language": row.language}
    masters = row.masters or {}
    fields = {
        field.name: _shown(field, kept.get(field.name), masters.get(field.section.value, {}))
        for field in FIELDS.values()
        if field.section.value not in hidden
    }
    return Profile(
        account_id=account_id,
        organization_id=row.organization_id,
        sign_in_name=row.sign_in_name,
        fields=fields,
        shows_photo=Section.PHOTO.value not in hidden,
        photo_changed_at=row.photo_changed_at,
    )


def _shown(field: Field, value: Any, mastered: Mapping[str, Any]) -> Shown:
    kept: Value = tuple(value) if isinstance(value, list) else value
    if field.editor is Editor.PERSON:
        return Shown(kept, Master.USER, Editor.PERSON, None)
    synced = mastered.get("last_synced_at")
    return Shown(
        kept,
        Master(mastered.get("master", Master.LOCAL)),
        field.editor,
        None if synced is None else datetime.fromisoformat(synced),
    )


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
