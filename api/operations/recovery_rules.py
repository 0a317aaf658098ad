"""Who may get back in by themselves, as its person, their administrator and the organization's settings say."""

from collections.abc import Callable
from uuid import UUID

from api.operations import administration
from models import account, event, organization, recovery, role, throttle
from models.database import Database, Transaction
from models.errors import NotSignedIn, PreconditionFailed
from models.event import Actor
from models.organization import RecoverySettings
from models.recovery import Registrations
from models.recovery_policy import Standing
from models.session import Who


async def mine(db: Database, who: Who) -> Standing:
    async with db.read() as tx:
        held = await account.by_sign_in_name(tx, who.sign_in_name)
        if held is None:
            raise NotSignedIn
        return await recovery.standing(tx, held, await tx.now())


async def show(db: Database, who: Who) -> tuple[RecoverySettings, Registrations]:
    async with db.read() as tx:
        return await _counted(tx, who, (await organization.settings_of(tx, who.organization_id)).recovery)


async def change(
    db: Database, who: Who, rules: RecoverySettings, *, matches: Callable[[str], bool], actor: Actor
) -> tuple[RecoverySettings, Registrations]:
    """The answer counts whom it shuts out. What is under way is judged by the new ones. Raises PreconditionFailed."""
    async with db.write() as tx:
        now = await administration.must_be(tx, who, role.RULERS)
        settings = await organization.hold_settings(tx, who.organization_id)
        before = RecoverySettings.of(settings.get("recovery", {}))
        if not matches(before.mark):
            raise PreconditionFailed
        if rules != before:
            await organization.write_settings(tx, who.organization_id, {**settings, "recovery": rules.as_json()})
            await event.record(
                tx,
                organization_id=who.organization_id,
                action="organization:recovery:change",
                actor=actor,
                now=now,
                facts=rules.as_json(),
            )
        return await _counted(tx, who, rules)


async def _counted(tx: Transaction, who: Who, rules: RecoverySettings) -> tuple[RecoverySettings, Registrations]:
    return rules, await recovery.registrations(tx, who.organization_id, rules, await tx.now())


async def let(db: Database, who: Who, account_id: UUID, *, may: bool, actor: Actor) -> None:
    """Into the group whose members may recover, or out of it. What is so already is left as it is."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.RESET)
        if await organization.let_recover(tx, who.organization_id, account_id, may=may):
            await event.record(
                tx,
                organization_id=who.organization_id,
                action="account:recovery:let",
                actor=actor,
                now=target.now,
                account_id=account_id,
                facts={"may": may},
            )


async def allow_again(
    db: Database, throttle_key: bytes, who: Who, account_id: UUID, *, reason: str, actor: Actor
) -> None:
    """Wrong codes that shut the way back in count no more; a new one can be begun at once."""
    async with db.write() as tx:
        target = await administration.reached(tx, who, account_id, role.RESET)
        await recovery.allow_again(tx, target.held, throttle.key_of_name(target.held.sign_in_name, throttle_key))
        await event.record(
            tx,
            organization_id=who.organization_id,
            action="account:recovery:allow_again",
            actor=actor,
            now=target.now,
            account_id=account_id,
            private={"reason": reason},
        )
