""" "That was not me": the answer to a notice, by whoever got it, signed in or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from api.operations import access_pass, security, told
from models import (
    account,
    address,
    browser,
    contact,
    delivery,
    event,
    not_me,
    organization,
    password,
    place,
    role,
    verification,
)
from models import reset_link as links
from models.contact import Contact
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import NotFound
from models.event import Actor
from models.notification import Severity
from models.sealed import Keyring
from models.session import hash_token
from models.verification import NAMED, VerificationKind


@dataclass(frozen=True, slots=True)
class About:
    """What somebody says was not their doing."""

    notice: str
    subject: tuple[str, UUID]
    at: datetime
    """When it happened: what the account had the day before was its owner's."""
    answered_at: datetime | None
    """When its owner first said, after it, that it was somebody else; none yet."""
    method_id: UUID | None = None
    """The method that came then, or was used."""
    gone_id: UUID | None = None
    """The address that was taken away then."""


async def report(db: Database, keys: Keyring, token: str, *, actor: Actor) -> list[UUID]:
    """Who is told of it, its owner first. The same token again changes nothing more, and is answered alike.

    Raises NotFound.
    """
    async with db.write() as tx:
        found = await not_me.by_token(tx, hash_token(token))
        if found is None:
            raise NotFound
        # Whichever organization the notice was of: it is the account that is secured, and home owns that.
        home = await account.home_of(tx, found.account_id)
        held, watchers = await hold(tx, Person(found.account_id, home))
        now = await tx.now()
        if held is None or not found.lives(now):
            raise NotFound
        used = await not_me.use(tx, found, now)
        if used is None:
            return [found.account_id]
        subject = ("not_me", used.id)
        about = About(used.notice, subject, used.created_at, used.answered_at, used.method_id, used.gone_id)
        return await secure(tx, keys, held, watchers, about, actor=actor, now=now) or [found.account_id]


async def hold(tx: Transaction, whose: Person) -> tuple[Any, list[UUID]]:
    """The account's row, and the other administrators who can help its owner; all of them held.

    In one order, so that two who report at once both can.
    """
    watching = await organization.administrators_of(tx, whose.organization_id)
    rows = {one: await account.lock(tx, one) for one in sorted({whose.id, *watching})}
    return rows[whose.id], [one for one in watching if one != whose.id]


async def secure(
    tx: Transaction,
    keys: Keyring,
    held: Any,
    watchers: Sequence[UUID],
    about: About,
    *,
    actor: Actor,
    now: datetime,
) -> list[UUID]:
    """Everything that is done for an account which somebody else may be using; its row is held. Who is told of it:
    nobody, where nothing ended.

    The one place for it: what else an intruder could come back by is taken away here. What happened before the owner
    said so was answered by that word: of it, what came until then still goes, and what was taken away comes back.
    """
    whose = Person(held.id, held.organization_id)
    await event.record(
        tx,
        organization_id=whose.organization_id,
        action="account:security:not_me",
        actor=actor,
        now=now,
        account_id=whose.id,
        subject=about.subject,
        facts={"notice": about.notice},
    )
    for one in await _came(tx, whose, about, now):
        await _take_away(tx, keys, held, one, actor=actor, now=now)
    await _put_back(tx, keys, whose, about, actor=actor, now=now)
    if about.answered_at is not None:
        return []
    await account.secured(tx, whose.id, now)
    await not_me.answer(tx, whose.id, now)
    await access_pass.end_all(tx, whose, held.session_generation, actor=actor, now=now)
    await browser.forget_all(tx, whose.id, now)
    await links.end_all(tx, whose.id, now)
    mails = (await address.of_account(tx, whose.id, keys)).settled(about.at)
    helpers = await _helpers(tx, held, watchers)
    if mails or helpers:
        await password.drop(tx, held, why="not_me", actor=actor, now=now)
    else:
        # Nobody could ever give the account another one.
        await password.demand_change(tx, held, why="not_me", actor=actor, now=now)
    if mails:
        await links.mail(tx, keys, held, mails, issued_by=whose.id, key="not_me.reset_link", now=now)
    key = "not_me.link_sent" if mails else "not_me.ask_helpdesk" if helpers else "not_me.done"
    await _tell(tx, keys, whose, key, place.of(actor), now=now)
    key = "not_me.of_somebody" if mails else "not_me.of_somebody_without_mail"
    for one in watchers:
        watcher = Person(one, whose.organization_id)
        await _tell(tx, keys, watcher, key, {"account": held.sign_in_name}, now=now)
    return [whose.id, *watchers]


async def _helpers(tx: Transaction, held: Any, watchers: Sequence[UUID]) -> list[UUID]:
    """Those who can give its owner another password, and not only hear of it."""
    if held.is_operator:
        return []
    theirs = (await organization.roles_of_all(tx, held.organization_id, [held.id])).get(held.id, ())
    able = await organization.who_may(tx, held.organization_id, role.RESET, theirs)
    return [one for one in watchers if one in able]


async def _take_away(
    tx: Transaction, keys: Keyring, held: Any, method_id: UUID, *, actor: Actor, now: datetime
) -> None:
    """Even if it is the last: an intruder's own second factor keeps nobody but its owner out."""
    whose = Person(held.id, held.organization_id)
    method = await verification.by_id(tx, whose.id, method_id)
    if method is None:
        await contact.forget(tx, method_id)  # that gave its place, and is not to come back to it
        return
    if method.kind is VerificationKind.ACCESS_PASS:
        return  # every pass ends with the rest
    await security.erase(tx, method, now)
    await security.end_what_stood_on(
        tx, whose, method, generation=held.session_generation, but=None, actor=actor, now=now
    )
    await told.record(tx, whose, "remove", method.id, method.kind, actor=actor, now=now, facts={"why": "not_me"})
    await verification.settle_default(tx, whose.id)
    if method.kind in NAMED:
        await _tell(tx, keys, whose, "not_me.method_removed", {"method": method.label}, now=now)
    else:
        await _tell(tx, keys, whose, "not_me.stand_in_removed", {}, now=now)


async def _put_back(
    tx: Transaction, keys: Keyring, whose: Person, about: About, *, actor: Actor, now: datetime
) -> None:
    """The address that was taken away then, or whose place was taken, is its owner's again, as it was.

    What was taken away must have been theirs the day before, and so must all once the owner has spoken: an intruder who
    adds an address and removes it must come back by no link of its notices, whoever follows it.
    """
    answered = about.answered_at is not None
    mine = await contact.of_account(tx, whose.id)
    for gone in await _gone(tx, whose, about, now):
        again = any((one.kind, one.address_hash) == (gone.kind, gone.address_hash) for one in mine.values())
        method = await verification.revoked(tx, whose.id, gone.id)
        young = (answered or gone.replaced_by is None) and not gone.was_settled(about.at)
        if again or young or method is None:
            continue
        await contact.put_back(tx, gone)
        names = {one.label for one in await verification.of_account(tx, whose.id) if one.kind in NAMED}
        label = method.label if method.label not in names else f"{method.label[:56]} ({gone.id.hex[-4:]})"
        await verification.reinstate(tx, whose.id, method.id, label)
        await told.record(tx, whose, "restore", method.id, method.kind, actor=actor, now=now, facts={"why": "not_me"})
        await verification.settle_default(tx, whose.id)
        await _tell(tx, keys, whose, "not_me.address_restored", {"method": label}, now=now)


async def _gone(tx: Transaction, whose: Person, about: About, now: datetime) -> list[Contact]:
    """The addresses that went by what is told of, and can be put back."""
    return [
        one
        for one in await contact.set_aside_of(tx, whose.id, now)
        if (one.replaced_by is None and one.id == about.gone_id)
        or (one.replaced_by is not None and one.replaced_by == about.method_id)
    ]


async def _came(tx: Transaction, whose: Person, about: About, now: datetime) -> list[UUID]:
    """The methods that came by it: a chain of addresses hides none of them.

    What took the place of one since is of the same hand; so is what came in the kind of an address that went, removed
    or replaced, and after a mail address whatever came, since no notice of it went there any more. But only of one that
    was theirs the day before: else an intruder who adds an address and removes it takes away by its link what the owner
    adds. And nothing that came after the owner first spoke: that word put the intruder out, whichever link said it.
    """
    until, came = about.answered_at, list[UUID]()
    if about.method_id is not None:
        came += [about.method_id, *await contact.successors(tx, whose.id, about.method_id, until)]
    lost = [gone for gone in await _gone(tx, whose, about, now) if gone.was_settled(about.at)]
    for gone in lost:
        came += await contact.since(tx, gone, about.at, until)
    if any(gone.kind is VerificationKind.EMAIL for gone in lost):
        came += await verification.since(tx, whose.id, about.at, until)
    return list(dict.fromkeys(came))


async def _tell(
    tx: Transaction, keys: Keyring, whose: Person, key: str, params: Mapping[str, str], *, now: datetime
) -> None:
    """No answer is wanted to what answers one."""
    await delivery.notify(
        tx, keys=keys, account=whose, key=key, params=params, now=now, severity=Severity.WARNING, not_me=False
    )
