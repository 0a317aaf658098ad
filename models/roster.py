"""Accounts as administrators make and edit them: one by one, sixty at once, or by file. What each comes to is here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import account, address, delivery, event, notification, organization, profile, reset_link, throttle
from models.database import Transaction
from models.delivery import Person
from models.errors import Broken, BrokenRule, DomainError, Invalid, SignInNameTaken, TooManyTries
from models.event import Actor
from models.notification import Severity
from models.profile import FIELDS, Editor, Profile, Section, Value
from models.sealed import Keyring
from models.settings import RESET_LINK, TEMPORARY_PASSWORD
from models.throttle import NAMES_TAKEN
from models.vocabulary import new_id

SIGN_IN_NAME = "sign_in_name"
"""No field of the page, but edited with them."""
EDITED_AT_ONCE: Final = 60
"""Accounts, without a file."""
NAME_BROKEN: Final[Broken] = {"field": SIGN_IN_NAME, "rule": "sign_in_name", "most": account.SIGN_IN_NAME}


@dataclass(frozen=True, slots=True)
class Names:
    """What a new account is called, as it is kept."""

    sign_in_name: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit would change, read and found right."""

    page: Profile
    changes: Mapping[str, Value]
    sign_in_name: str | None = None
    """Where it is another than before."""

    @property
    def fields(self) -> list[str]:
        return sorted([*self.changes, *([] if self.sign_in_name is None else [SIGN_IN_NAME])])


def read_names(sign_in_name: str, display_name: str) -> Names:
    """Raises Invalid with each that breaks a rule."""
    errors = []
    name = account.clean_sign_in_name(sign_in_name)
    if name is None:
        errors.append(NAME_BROKEN)
    try:
        shown = FIELDS["display_name"].read(display_name)
    except BrokenRule as broken:
        errors.append(broken.at("display_name"))
    if errors:
        raise Invalid(errors=errors)
    return Names(str(name), str(shown))


async def why_not_named(tx: Transaction, organization_id: UUID, name: str, now: datetime) -> DomainError | None:
    """Whether somebody of the organization may be called so. Given back, since what is told of others is counted.

    When that is used up, a name that is free is refused like one that is not.
    """
    who = str(organization_id)
    wait = await throttle.take(tx, (NAMES_TAKEN,), who, now)
    if wait is not None:
        return TooManyTries(wait)
    held = await account.by_sign_in_names(tx, {name})
    if not any(one.organization_id != organization_id for one in held):
        await throttle.give_back(tx, (NAMES_TAKEN,), who)
    return SignInNameTaken() if held else None


@dataclass(frozen=True, slots=True)
class New:
    """`password_hash`: of a password that opens nothing but choosing another."""

    names: Names
    language: str
    password_hash: str | None = field(default=None, repr=False)


async def make_many(
    tx: Transaction,
    keys: Keyring,
    people: Sequence[New],
    *,
    organization_id: UUID,
    made_by: UUID,
    invite: bool,
    by: str,
    actor: Actor,
    now: datetime,
) -> dict[str, UUID]:
    """By sign-in name those that were made: somebody has the others. No role comes along.

    `invite`: a link to choose a password goes to whoever's name is an address.
    """
    rows = [
        {
            "id": new_id(now),
            "organization_id": organization_id,
            "sign_in_name": one.names.sign_in_name,
            "display_name": one.names.display_name,
            "looked_up_as": account.look_up(one.names.display_name),
            "language": one.language,
            "password_hash": one.password_hash,
            "must_change_password": one.password_hash is not None,
            "password_until": None if one.password_hash is None else now + TEMPORARY_PASSWORD,
            "created_at": now,
        }
        for one in people
    ]
    made = await account.insert(tx, rows)
    if not made:
        return {}
    await tx.execute(*organization.new_memberships(organization_id, list(made.values()), now))
    for one in people:
        account_id = made.get(one.names.sign_in_name)
        if account_id is None:
            continue
        whose, to = Person(account_id, organization_id), address.mail_address(one.names.sign_in_name)
        if invite and to is not None:
            await reset_link.mail_first(
                tx, keys, whose, to, issued_by=made_by, key="account.invited", language=one.language, now=now
            )
        await event.record(
            tx,
            organization_id=organization_id,
            action="account:life:create",
            actor=actor,
            now=now,
            account_id=account_id,
            facts={"by": by},
        )
    return made


def lasts_until(now: datetime, *, by_link: bool) -> datetime:
    """So long the link works that a new person gets, or the password."""
    return now + (RESET_LINK if by_link else TEMPORARY_PASSWORD)


def real_changes(page: Profile, cells: Mapping[str, str]) -> dict[str, str]:
    """Of a row of a file those cells that say anything else than what is there. `page`: the whole of it.

    A row carries every column, so what it repeats was not asked for: no master, limit or editor has a say in it. A
    request to the page is another thing, and names what it wants changed.
    """
    return {name: cell for name, cell in cells.items() if not _repeats(name, page.fields[name].value, cell)}


def _repeats(name: str, value: Value, cell: str) -> bool:
    if value is None:
        return False
    try:
        return cell == value or FIELDS[name].read(cell) == value
    except BrokenRule:
        # What another system sent need not keep our rules, and then comes back letter by letter or not at all.
        return False


async def read_edit(tx: Transaction, held: Any, page: Profile, given: Mapping[str, Any], now: datetime) -> Edit:
    """`held`: the account's row, locked; `page`: the whole of it.

    Raises FieldNotEditable, MasteredElsewhere, Invalid.
    """
    fields = {name: value for name, value in given.items() if name != SIGN_IN_NAME}
    renamed = None
    if SIGN_IN_NAME in given:
        # It is part of who somebody is: whoever masters the names masters this one.
        must_be_ours = next(name for name, one in FIELDS.items() if one.section is Section.IDENTITY)
        profile.must_be_editable(page, must_be_ours, Editor.ADMINISTRATOR)
        renamed = account.clean_sign_in_name(str(given[SIGN_IN_NAME]))
        if renamed is None:
            raise Invalid(errors=[NAME_BROKEN])
    changes = profile.read_changes(page, fields, Editor.ADMINISTRATOR)
    if changes.get("manager") is not None:
        await must_be_there(tx, held.organization_id, UUID(str(changes["manager"])), now, other_than=held.id)
    return Edit(page, changes, None if renamed == held.sign_in_name else renamed)


async def must_be_there(
    tx: Transaction, organization_id: UUID, manager_id: UUID, now: datetime, *, other_than: UUID | None = None
) -> None:
    """Raises Invalid."""
    there = None if manager_id == other_than else await account.at_home(tx, organization_id, manager_id, now)
    if there is None or there.deleted_at is not None:
        raise Invalid(errors=[{"field": "manager", "rule": "another_account"}])


async def apply(tx: Transaction, keys: Keyring, held: Any, wanted: Edit, *, actor: Actor, now: datetime) -> None:
    """Write it down, in the record as well, and tell the person. Raises SignInNameTaken."""
    if not wanted.fields:
        return
    await profile.write(tx, wanted.page, wanted.changes)
    if wanted.sign_in_name is not None:
        await _rename(tx, keys, held, wanted.sign_in_name, now=now)
    # Names alone: what somebody is called is not the record's to keep.
    await event.record(
        tx,
        organization_id=held.organization_id,
        action="account:profile:edit",
        actor=actor,
        now=now,
        account_id=held.id,
        facts={"fields": wanted.fields},
    )
    if actor.id != held.id:
        await notification.tell(
            tx,
            organization_id=held.organization_id,
            account_id=held.id,
            subject_id=new_id(now),
            key="profile.edited",
            params={"fields": wanted.fields},
            severity=Severity.INFO,
            now=now,
        )


async def _rename(tx: Transaction, keys: Keyring, held: Any, name: str, *, now: datetime) -> None:
    """Told to where the old name and where the new one leads."""
    before = address.mail_address(held.sign_in_name)
    try:
        await account.rename(tx, held.id, name)
    except sa.exc.IntegrityError:
        raise SignInNameTaken from None
    await delivery.notify(
        tx,
        keys=keys,
        account=Person(held.id, held.organization_id),
        key="account.renamed",
        params={"name": name},
        severity=Severity.WARNING,
        also=() if before is None else (before,),
        now=now,
    )
