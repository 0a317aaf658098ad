"""Where people belong: the tenant, what it demands, and whom it names for help. A membership ties an account to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from models.base import Id, Json, Moment, metadata
from models.database import Transaction
from models.settings import UNREAD_PASSCODE_DEFAULT, UNREAD_PASSCODE_LIMIT
from models.vocabulary import Act, Ownership, Proof

organization = sa.Table(
    "organization",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("settings", Json, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

membership = sa.Table(
    "membership",
    metadata,
    sa.Column("organization_id", Id, sa.ForeignKey("organization.id"), primary_key=True),
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True, index=True),
    sa.Column("roles", Json, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)

STRENGTH = {Proof.NONE: 0, Proof.FRESH: 1, Proof.RE_SIGN_IN: 2}


@dataclass(frozen=True, slots=True)
class OrganizationSettings:
    """What one organization decided, read from its row; what it left open has the house's default."""

    contact: Mapping[str, str]
    hidden_acts: frozenset[tuple[str, str, str]]
    act_proof: Mapping[Act, Proof]
    act_strength: Mapping[Act, int]
    unread_passcode: timedelta
    banned_words: tuple[str, ...] = ()
    """That no password may lean on, beside those that the house bans for all (models/password_policy.py)."""
    hidden_sections: frozenset[str] = frozenset()
    """Of a profile (models/profile.py), that its person is not shown."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "OrganizationSettings":
        unread = timedelta(seconds=settings.get("unread_passcode_seconds", UNREAD_PASSCODE_DEFAULT.total_seconds()))
        return cls(
            contact=settings.get("contact", {}),
            hidden_acts=frozenset((h["platform"], h["ownership"], h["act"]) for h in settings.get("hidden_acts", ())),
            act_proof={Act(act): Proof(proof) for act, proof in settings.get("act_proof", {}).items()},
            act_strength={Act(act): int(strength) for act, strength in settings.get("act_strength", {}).items()},
            unread_passcode=min(unread, UNREAD_PASSCODE_LIMIT),
            banned_words=tuple(settings.get("banned_words", ())),
            hidden_sections=frozenset(settings.get("hidden_sections", ())),
        )

    def hides(self, platform: str, ownership: Ownership, act: Act) -> bool:
        return (platform, ownership, act) in self.hidden_acts

    def proof_for(self, act: Act, least: Proof) -> Proof:
        """An organization may demand more per act, never less."""
        return max(least, self.act_proof.get(act, least), key=STRENGTH.__getitem__)

    def strength_for(self, act: Act, least: int) -> int:
        """How many different factors the session must stand on: more than the least, never less."""
        return max(least, self.act_strength.get(act, least))


async def settings_of(tx: Transaction, organization_id: UUID) -> OrganizationSettings:
    statement = sa.select(organization.c.settings).where(organization.c.id == organization_id)
    return OrganizationSettings.of((await tx.execute(statement)).scalar_one())


async def roles_of(tx: Transaction, organization_id: UUID, account_id: UUID) -> tuple[str, ...]:
    """The account's roles in this organization."""
    statement = sa.select(membership.c.roles).where(
        membership.c.organization_id == organization_id, membership.c.account_id == account_id
    )
    return tuple((await tx.execute(statement)).scalar_one_or_none() or ())


async def is_member(tx: Transaction, organization_id: UUID, account_id: UUID) -> bool:
    statement = sa.select(membership.c.account_id).where(
        membership.c.organization_id == organization_id, membership.c.account_id == account_id
    )
    return (await tx.execute(statement)).one_or_none() is not None


def new_organization(organization_id: UUID, name: str, settings: Mapping[str, Any], now: datetime) -> sa.Insert:
    return sa.insert(organization).values(id=organization_id, name=name, settings=dict(settings), created_at=now)


def new_membership(organization_id: UUID, account_id: UUID, roles: tuple[str, ...], now: datetime) -> sa.Insert:
    return sa.insert(membership).values(
        organization_id=organization_id, account_id=account_id, roles=list(roles), created_at=now
    )
