"""How long each kind of row is kept, and what becomes of it when the person whom it speaks of is erased.

A deleted account can be restored for thirty days. Then the sweep erases the person: their key first and last, without
which what the record holds of them is noise (models/person_key.py), and every row that is theirs. What must stay, so
that others' rows still stand on something, keeps an id that names nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import (
    access_pass,
    account,
    app,
    approval,
    browser,
    contact,
    delivery,
    departure,
    enrollment,
    event,
    export,
    job,
    leaving,
    notification,
    organization,
    passkey,
    password,
    photo,
    profile,
    re_sign_in,
    recovery_code,
    reset_link,
    seen_message,
    sent_code,
    session,
    settings,
    sheet,
    sign_in,
    terms,
    throttle,
    verification,
)
from models.database import Transaction
from models.device import Device, DeviceState, device
from models.event import SWEEP
from models.sealed import Keyring


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of row. Each table has its line here (tests/models/test_erasure.py)."""

    period: timedelta | None = None
    """None: as long as what it belongs to."""
    since: str = ""
    goes: bool = False
    """Whether a person's rows go with them."""
    stays: Mapping[str, str] = field(default_factory=dict)
    """Where they do not: each column, and what becomes of it. A line may speak of several."""


_WITH_ITS_OWNER: Final = Kept(goes=True)
_NOBODYS: Final = "nothing of a person"
_AN_ID: Final = "an id that names nobody any more"
_OURS: Final = "a state, a moment or a number of ours"

KEPT: Final[Mapping[str, Kept]] = {
    # Nobody's
    "duty": Kept(stays={"name holder until": _NOBODYS}),
    "heartbeat": Kept(stays={"process_id kind at": _NOBODYS}),
    "seen_message": Kept(seen_message.KEEP, "its arrival", stays={"platform message_id at": _NOBODYS}),
    "signing_key": Kept(stays={"id serial public private created_at signs_from": _NOBODYS}),
    "organization": Kept(
        stays={"id name created_at": _NOBODYS, "settings": "whom the organization itself names as its contact"}
    ),
    "app": Kept(
        stays={
            "id organization_id name client_id backchannel_logout_uri session_required version created_at": _NOBODYS,
        }
    ),
    "terms": Kept(
        stays={
            "id organization_id name names default_language must_scroll per_device expires_from expires_every_months"
            " expires_after_days revision created_at withdrawn_at": _NOBODYS,
        }
    ),
    "terms_version": Kept(
        stays={
            "id organization_id terms_id number major effective_at published_at": _NOBODYS,
            "published_by": _AN_ID,
        }
    ),
    "organization_picture": Kept(stays={"organization_id kind content changed_at": _NOBODYS}),
    "terms_document": Kept(stays={"version_id language organization_id text sha256": _NOBODYS}),
    "terms_notice": Kept(stays={"version_id organization_id due_at done_at": _NOBODYS, "told_up_to": _AN_ID}),
    "event_seal": Kept(stays={"organization_id seq event_id mac": _NOBODYS}),
    # What stays of a person who is gone
    "account": Kept(
        settings.ACCOUNT_KEPT,
        "its deletion",
        stays={
            "id organization_id": _AN_ID,
            "sign_in_name display_name looked_up_as": "blank",
            "language password_hash must_change_password password_until is_operator": "as of one who never signed in",
            "person_key": "empty: what was sealed under it opens no more",
            "session_generation notification_seq blocked_at deleted_at secured_at erased_at created_at": _OURS,
        },
    ),
    "event": Kept(
        stays={
            "id organization_id at action outcome reason actor_kind subject_kind schema_version": _OURS,
            "actor_id account_id subject_id session_id request_id": _AN_ID,
            "origin private": "sealed under a key that is gone",
            "facts": "words and ids of ours",
        }
    ),
    "terms_acceptance": Kept(
        stays={
            "id organization_id terms_id version_id number accepted language sha256 at expires_at": _OURS,
            "account_id session_id browser_id": _AN_ID,
        }
    ),
    "terms_signer": Kept(
        stays={
            "acceptance_id organization_id account_id": _AN_ID,
            "sign_in_name display_name mail address client": "blank",
            "erased_at": _OURS,
        }
    ),
    "device": Kept(
        stays={
            "id organization_id account_id": _AN_ID,
            "name os_name os_version maker model serial last_seen_at seen_from": "blank",
            "platform ownership state created_at": _OURS,
        }
    ),
    "enrollment": Kept(
        stays={
            "id organization_id device_id": _AN_ID,
            "address certificate_hash memory traits link_hash link_expires_at": "blank",
            "platform state created_at enrolled_at left_at": _OURS,
        }
    ),
    # What cannot be found by its person, and is gone by itself before or soon after
    "throttle": Kept(
        throttle.SHUT_KEPT,
        "the last try, of a door that it shut for good",
        stays={
            "key": "of whom, keyed or by an id; goes by itself, two days after the last try or what it shut",
            "tries since shut_until erase_at": _OURS,
            "shut_of": "until they were told",
        },
    ),
    "recovery": Kept(
        settings.RECOVERY_KEPT,
        "its end",
        stays={
            "id organization_id account_id who purpose state decoy why shown token_hash generation passed started_at"
            " proven_at ended_at due_at": "keyed hashes and ids; goes by itself"
        },
    ),
    "sent_code": Kept(
        sent_code.FLOW,
        "the last code",
        stays={
            "id organization_id account_id subject_id method_id flow_id purpose digest sends failures begun_at sent_at"
            " expires_at used_at erase_at": "keyed hashes and ids; goes by itself"
        },
    ),
    "passkey_challenge": Kept(
        passkey.CHALLENGE_LIFE,
        "its making",
        stays={
            "id organization_id purpose challenge_hash session_id verification_id token_hash expires_at": "hashes and"
            " ids; goes by itself"
        },
    ),
    "invitation": Kept(
        settings.INVITATION_KEPT,
        "the last moment at which it could be answered",
        stays={
            "id organization_id token_hash created_at expires_at ended_at outcome": _OURS,
            "address_hash hint": "of an address from elsewhere, keyed and masked; goes by itself",
            "invited_by": _AN_ID,
        },
    ),
    "not_me": Kept(
        settings.NOT_ME_LINK,
        "its making",
        stays={
            "id organization_id account_id notice method_id gone_id token_hash created_at expires_at used_at"
            " answered_at": "hashes and ids; goes by itself"
        },
    ),
    # What goes with its person
    "session": Kept(settings.SESSION_KEPT, "the latest moment that it could have lived to", goes=True),
    "sign_in": Kept(settings.SIGN_IN_KEPT, "it", goes=True),
    "browser": Kept(settings.BROWSER_KEPT, "the last sign-in in it", goes=True),
    "re_sign_in": Kept(settings.RE_SIGN_IN_KEPT, "its end", goes=True),
    "approval": Kept(settings.APPROVAL_KEPT, "its end", goes=True),
    "notification": Kept(settings.NOTIFICATION_KEPT, "the last telling", goes=True),
    "delivery": Kept(settings.DELIVERY_KEPT, "its end", goes=True),
    "delivery_attempt": Kept(settings.DELIVERY_KEPT, "the delivery's end", goes=True),
    "job": Kept(settings.JOB_KEPT, "its end", goes=True),
    "job_move": Kept(settings.JOB_KEPT, "the job's end", goes=True),
    "passcode": Kept(settings.JOB_KEPT, "the job's end; the passcode itself is destroyed long before", goes=True),
    "sign_out_call": Kept(settings.JOB_KEPT, "the job's end", goes=True),
    "sheet": Kept(settings.SHEET_REPORT_KEPT, "the job's end", goes=True),
    "sheet_part": Kept(settings.SHEET_FILE_KEPT, "the job's end; what was read in goes with that", goes=True),
    "sheet_row": Kept(settings.SHEET_REPORT_KEPT, "the job's end; whom it names can be erased before", goes=True),
    "export": Kept(settings.EXPORT_KEPT, "its being ready", goes=True),
    "export_part": Kept(settings.EXPORT_KEPT, "the file's being ready", goes=True),
    "app_use": Kept(settings.APP_USE_KEPT, "the last launch", goes=True),
    "reset_link": Kept(settings.RESET_LINK, "its making", goes=True),
    "verification": _WITH_ITS_OWNER,
    "access_pass": _WITH_ITS_OWNER,
    "recovery_code": _WITH_ITS_OWNER,
    "contact": _WITH_ITS_OWNER,
    "passkey": _WITH_ITS_OWNER,
    "passkey_handle": _WITH_ITS_OWNER,
    "password_history": _WITH_ITS_OWNER,
    "photo": _WITH_ITS_OWNER,
    "profile": _WITH_ITS_OWNER,
    "membership": _WITH_ITS_OWNER,
    "former_membership": Kept(settings.MEMBERSHIP_KEPT, "its end", goes=True),
    "bygone": _WITH_ITS_OWNER,
}


# One person


_MANY: Final[tuple[tuple[sa.Table, sa.Column[Any] | None], ...]] = (
    (session.session, session.session.c.organization_id),
    (sign_in.sign_in, sign_in.sign_in.c.organization_id),
    (re_sign_in.re_sign_in, re_sign_in.re_sign_in.c.organization_id),
    (approval.approval, approval.approval.c.organization_id),
    (notification.notification, notification.notification.c.organization_id),
    (app.app_use, app.app_use.c.organization_id),
    (browser.browser, None),
)
"""Of which one person may have very many; with the column that stands before the account in their index."""

_FEW: Final[tuple[sa.Column[Any], ...]] = (
    reset_link.reset_link.c.account_id,
    contact.contact.c.account_id,
    passkey.passkey.c.account_id,
    passkey.passkey_handle.c.account_id,
    verification.verification.c.account_id,
    password.password_history.c.account_id,
    photo.photo.c.account_id,
    profile.profile.c.account_id,
    organization.membership.c.account_id,
    leaving.former_membership.c.account_id,
    leaving.bygone.c.account_id,
)
"""Which are bounded for each person; in an order that leaves nothing without what it stands on. A departure that is
forgotten at this moment goes from the last but one to the last."""


async def due(tx: Transaction, now: datetime, limit: int) -> list[UUID]:
    """Whoever can be restored no more. The last moment of the thirty days is still theirs."""
    people = account.account.c
    statement = (
        sa.select(people.id)
        .where(
            people.deleted_at.is_not(None),
            people.erased_at.is_(None),
            people.deleted_at < now - settings.ACCOUNT_KEPT,
        )
        .order_by(people.deleted_at, people.id)
        .limit(limit)
    )
    return list((await tx.execute(statement)).scalars())


async def erase(tx: Transaction, account_id: UUID, *, keys: Keyring, limit: int) -> bool:
    """So many rows of each kind at most. Whether the person is erased; else what is left is for the next time.

    Their devices' bonds are held first, then the account (lock order).
    """
    places = await leaving.every_place(tx, account_id)
    theirs = await _devices(tx, account_id, places)
    for one in theirs:
        await enrollment.hold_living(tx, one.id)
    held = await account.lock(tx, account_id)
    now = await tx.now()
    if held is None or held.deleted_at is None or held.erased_at is not None or account.is_kept(held, now):
        return True
    for one in theirs:
        if one.state is not DeviceState.LEFT:
            await departure.leave(tx, one, actor=SWEEP, keys=keys, now=now)
    await _blank_devices(tx, [one.id for one in theirs])
    if (
        not await _erase_many(tx, account_id, places, limit)
        or await sheet.forget(tx, held.sign_in_name, limit) >= limit
    ):
        return False
    own = sa.select(verification.verification.c.id).where(verification.verification.c.account_id == account_id)
    for parted in (access_pass.access_pass.c.verification_id, recovery_code.recovery_code.c.verification_id):
        await tx.execute(sa.delete(parted.table).where(parted.in_(own)))
    for column in _FEW:
        await tx.execute(sa.delete(column.table).where(column == account_id))
    await terms.forget_person(tx, account_id, now)
    await account.erase(tx, account_id, now)
    await event.record(
        tx,
        organization_id=held.organization_id,
        action="account:life:erase",
        actor=SWEEP,
        now=now,
        account_id=account_id,
    )
    return True


async def _devices(tx: Transaction, account_id: UUID, places: Sequence[UUID]) -> list[Device]:
    statement = sa.select(device).where(device.c.organization_id.in_(places), device.c.account_id == account_id)
    return [Device.of(row) for row in await tx.execute(statement.order_by(device.c.id))]


async def _blank_devices(tx: Transaction, device_ids: Sequence[UUID]) -> None:
    blank = sa.update(device).where(device.c.id.in_(device_ids))
    told = ("os_name", "os_version", "maker", "model", "serial", "last_seen_at", "seen_from")
    await tx.execute(blank.values(name="", **dict.fromkeys(told)))
    bonds = enrollment.enrollment
    unbound = sa.update(bonds).where(bonds.c.device_id.in_(device_ids))
    await tx.execute(
        unbound.values(
            address=None, certificate_hash=None, memory=None, traits={}, link_hash=None, link_expires_at=None
        )
    )


async def _erase_many(tx: Transaction, account_id: UUID, places: Sequence[UUID], limit: int) -> bool:
    """Whether nothing is left of them."""
    jobs, letters = job.job.c, delivery.delivery.c
    asked = sa.select(jobs.id).where(jobs.organization_id.in_(places), jobs.account_id == account_id).limit(limit)
    job_ids = list((await tx.execute(asked)).scalars())
    files = await sheet.empty(tx, job_ids, limit)
    if files < limit:
        files += await export.empty(tx, job_ids, limit - files)
    if files >= limit:
        return False
    await job.erase(tx, job_ids)
    sent = (
        sa.select(letters.id).where(letters.organization_id.in_(places), letters.account_id == account_id).limit(limit)
    )
    letter_ids = list((await tx.execute(sent)).scalars())
    await delivery.erase(tx, letter_ids)
    counts = [len(job_ids), len(letter_ids)]
    for table, place in _MANY:
        mine = sa.select(table.c.id).where(table.c.account_id == account_id).limit(limit)
        if place is not None:
            mine = mine.where(place.in_(places))
        counts.append((await tx.execute(sa.delete(table).where(table.c.id.in_(mine.scalar_subquery())))).rowcount)
    return all(count < limit for count in counts)
