"""An account that its own person closes. For thirty days an administrator can restore it; then it is erased."""

from datetime import datetime
from uuid import UUID

from api.operations import account as accounts
from api.operations.session import hold_row
from models import account, delivery, device, event, job, organization, profile, session
from models.database import Database, Transaction
from models.delivery import Person
from models.errors import (
    AccountManagedElsewhere,
    ActionInProgress,
    LastAdministrator,
    NotAllowed,
    NotSignedIn,
    ProofRequired,
)
from models.event import Actor
from models.notification import Severity
from models.profile import Master
from models.role import Role
from models.sealed import Keyring
from models.session import Who
from models.settings import ACCOUNT_KEPT, FRESH_PROOF
from models.vocabulary import DEPARTURES

_ELSEWHERE = frozenset({Master.DIRECTORY, Master.HR})


async def close(db: Database, keys: Keyring, who: Who, *, actor: Actor) -> datetime:
    """Until when it can be restored. Everything ends at once, as when an administrator deletes it.

    Raises ProofRequired, NotAllowed, AccountManagedElsewhere, LastAdministrator, ActionInProgress.
    """
    async with db.write() as tx:
        held = await hold_row(tx, who)
        now = await tx.now()
        asking = await session.by_id(tx, who, who.session.id)
        if asking is None or not asking.lives(held.session_generation, now):
            raise NotSignedIn
        if not asking.is_fresh(now):
            raise ProofRequired(max_age=int(FRESH_PROOF.total_seconds()), strength=asking.strength)
        if held.is_operator:
            raise NotAllowed  # who runs the installation is let go by somebody else who does
        await _must_be_ours(tx, who.account_id)
        places = await organization.places_of(tx, who.account_id)
        await _must_have_nothing_on_its_way_out(tx, who.account_id, places)
        await _must_not_be_the_last(tx, who.account_id, places)
        await account.delete(tx, held, now)
        await accounts.shut(tx, keys, held, "closed", actor=actor, now=now)
        until = now + ACCOUNT_KEPT
        await event.record(
            tx,
            organization_id=held.organization_id,
            action="account:life:close",
            actor=actor,
            now=now,
            account_id=held.id,
        )
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(held.id, held.organization_id),
            key="account.closed",
            params={"until": until.isoformat(timespec="seconds")},
            severity=Severity.WARNING,
            now=now,
        )
        return until


async def _must_be_ours(tx: Transaction, account_id: UUID) -> None:
    """What a directory keeps would come back with its next sync. Raises AccountManagedElsewhere."""
    elsewhere = sorted(one.value for one in await profile.masters_of(tx, account_id) & _ELSEWHERE)
    if elsewhere:
        raise AccountManagedElsewhere(master=elsewhere[0])


async def _must_have_nothing_on_its_way_out(tx: Transaction, account_id: UUID, places: list[UUID]) -> None:
    """A wipe that was asked for would be taken back: it is waited for, or cancelled first. Raises ActionInProgress."""
    for place in places:
        for theirs in await device.names_of_account(tx, place, account_id):
            for one in await job.open_of_device(tx, theirs.id):
                if one.kind in DEPARTURES:
                    raise ActionInProgress(job_id=one.id)


async def _must_not_be_the_last(tx: Transaction, account_id: UUID, places: list[UUID]) -> None:
    """Wherever they give roles somebody else must be left who can. Raises LastAdministrator."""
    for place in places:
        if Role.GLOBAL_ADMINISTRATOR in await organization.roles_of(tx, place, account_id):
            await organization.hold_roles(tx, place)
            if await organization.count_active(tx, place, Role.GLOBAL_ADMINISTRATOR) < 2:
                raise LastAdministrator
