"""An administrator edits somebody's profile: one page at a time, or up to sixty with a result each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from api.operations import account, administration, refusal
from api.operations.administration import Target
from api.pictures import Pictures
from models import event, notification, password, photo, profile, recovery, role, roster, throttle
from models.database import Database, Transaction
from models.errors import DomainError, Invalid, NotFound, PreconditionFailed
from models.event import Actor
from models.notification import Severity
from models.photo import Photo
from models.profile import Profile
from models.sealed import Keyring
from models.session import Who
from models.vocabulary import new_id


@dataclass(frozen=True, slots=True)
class Row:
    account_id: UUID
    matches: Callable[[str], bool]
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one row: the page as it is now, or why nothing was changed."""

    account_id: UUID
    page: Profile | None = None
    changed: bool = False
    refused: DomainError | None = None


async def show(db: Database, who: Who, account_id: UUID) -> Profile:
    """The whole of it, what the person is not shown as well."""
    known = await account.show(db, who, account_id)
    async with db.read() as tx:
        return await profile.of_account(tx, known.row.id, whole=True)


async def change(
    db: Database,
    keys: Keyring,
    throttle_key: bytes,
    who: Who,
    account_id: UUID,
    given: Mapping[str, Any],
    *,
    matches: Callable[[str], bool],
    actor: Actor,
) -> Profile | DomainError:
    """All of it or nothing. `matches`: whether a mark is the one it was made from."""
    done = await _change(db, keys, throttle_key, who, Row(account_id, matches, given), actor=actor)
    return done if isinstance(done, DomainError) else done[0]


async def _change(
    db: Database, keys: Keyring, throttle_key: bytes, who: Who, row: Row, *, actor: Actor
) -> tuple[Profile, bool] | DomainError:
    """The page, and whether it was changed by this."""
    async with db.write() as tx:
        target = await _target(tx, who, row.account_id)
        page = await profile.of_account(tx, row.account_id, whole=True)
        if not row.matches(page.mark):
            raise PreconditionFailed
        wanted = await roster.read_edit(tx, target.held, page, row.given, target.now)
        if wanted.sign_in_name is not None:
            refused = await roster.why_not_named(tx, who.organization_id, wanted.sign_in_name, target.now)
            if refused is not None:
                return refused
        await roster.apply(tx, keys, target.held, wanted, actor=actor, now=target.now)
        if wanted.sign_in_name is not None:
            # Strangers may have guessed at the name before it was theirs.
            counter = throttle.key_of_name(wanted.sign_in_name, throttle_key)
            await password.open_road(tx, target.held, counter)
            await recovery.allow_again(tx, target.held, counter)
        return await profile.of_account(tx, row.account_id, whole=True), bool(wanted.fields)


async def change_many(
    db: Database, keys: Keyring, throttle_key: bytes, who: Who, rows: Sequence[Row], *, route: str, actor: Actor
) -> list[Result]:
    """One after the other, each for itself: what is refused of one keeps nothing from the others.

    Whoever may edit nobody at all is refused as a whole.
    """
    if len({row.account_id for row in rows}) < len(rows):
        raise Invalid(errors=[{"field": "rows", "rule": "accounts_once"}])
    async with db.write() as tx:
        await administration.must_be(tx, who, role.EDIT)
    results = []
    for row in rows:
        try:
            done = await _change(db, keys, throttle_key, who, row, actor=actor)
        except DomainError as error:
            if isinstance(error, refusal.DENIED):
                ids = {"account_id": str(row.account_id)}
                await refusal.remember(db, who, error, route=route, ids=ids, actor=actor)
            results.append(Result(row.account_id, refused=error))
        else:
            if isinstance(done, DomainError):
                results.append(Result(row.account_id, refused=done))
            else:
                results.append(Result(row.account_id, *done))
    return results


async def _target(tx: Transaction, who: Who, account_id: UUID) -> Target:
    """Their own page as well: what is written there gives nobody a right."""
    return await administration.reached(tx, who, account_id, role.EDIT, oneself=True)


# The photo


async def photo_of(db: Database, who: Who, account_id: UUID) -> Photo:
    known = await account.show(db, who, account_id)
    async with db.read() as tx:
        found = await photo.of_account(tx, known.row.id)
    if found is None:
        raise NotFound
    return found


async def keep_photo(
    db: Database, pictures: Pictures, who: Who, account_id: UUID, given: bytes, *, actor: Actor
) -> Profile:
    """Made anew before anything is held, and for nobody who may not give it: it may take a second."""
    async with db.write() as tx:
        await _target(tx, who, account_id)
    content = await pictures.remake(given)
    async with db.write() as tx:
        target = await _target(tx, who, account_id)
        whose = target.person
        await photo.keep(
            tx, organization_id=whose.organization_id, account_id=whose.id, content=content, now=target.now
        )
        await _tell_of_photo(tx, target, actor=actor)
        return await profile.of_account(tx, account_id, whole=True)


async def remove_photo(db: Database, who: Who, account_id: UUID, *, actor: Actor) -> None:
    """Taken away twice is away."""
    async with db.write() as tx:
        target = await _target(tx, who, account_id)
        if await photo.remove(tx, account_id):
            await _tell_of_photo(tx, target, actor=actor)


async def _tell_of_photo(tx: Transaction, target: Target, *, actor: Actor) -> None:
    whose, now = target.person, target.now
    await event.record(
        tx,
        organization_id=whose.organization_id,
        action="account:profile:edit",
        actor=actor,
        now=now,
        account_id=whose.id,
        facts={"fields": ["photo"]},
    )
    if actor.id != whose.id:
        await notification.tell(
            tx,
            organization_id=whose.organization_id,
            account_id=whose.id,
            subject_id=new_id(now),
            key="profile.edited",
            params={"fields": ["photo"]},
            severity=Severity.INFO,
            now=now,
        )
