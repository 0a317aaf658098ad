"""Where people belong: the tenant, what it demands, and whom it names for help. A membership ties an account to it.

There is a membership as long as somebody belongs: who has left has none, and no question here needs to ask for it.
"""

import hashlib
import json
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from models import role
from models.account import account
from models.base import Id, Json, Moment, metadata, partial_index
from models.database import Transaction
from models.hot import Answer, Hot, Question
from models.organization_policy import Leaving, device_quota, readable_passcode, unread_passcode
from models.settings import DEVICES_PER_ACCOUNT, READABLE_PASSCODE
from models.vocabulary import Act, Ownership, Proof, new_id

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
    sa.Column("account_id", Id, sa.ForeignKey("account.id"), primary_key=True),
    sa.Column("id", Id, nullable=False, unique=True, comment="another one for whoever joins anew"),
    sa.Column("roles", Json, nullable=False),
    sa.Column("may_recover", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("guest", sa.Boolean, nullable=False, server_default=sa.false(), comment="at home elsewhere"),
    sa.Column("created_at", Moment, nullable=False),
    partial_index("ix_membership_guest", "organization_id", "account_id", where="guest"),
    sa.Index("ix_membership_account", "account_id", "organization_id"),
    partial_index("ix_membership_roles", "organization_id", where="roles <> '[]'"),
)
# The words of the index: of a million members few have a role, and those are found without a look at the others.
_HAS_ROLES: Final = sa.text("membership.roles <> '[]'")

STRENGTH = {Proof.NONE: 0, Proof.FRESH: 1, Proof.RE_SIGN_IN: 2}


class RecoveryFor(StrEnum):
    """Who may get back into an account without the helpdesk."""

    NONE = "none"
    GROUP = "group"
    """Those whose membership says so."""
    ALL = "all"


RECOVERY_KINDS: Final = ("totp", "phone", "email", "recovery_codes")
"""The kinds of `models/verification.py` that can prove who somebody is without the password."""


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """What an organization lets people do who forgot their password, or are shut out by too many failures."""

    whom: RecoveryFor = RecoveryFor.NONE
    gates: int = 1
    """1 or 2. Whoever has a role or a second factor needs two, whatever stands here."""
    kinds: frozenset[str] = frozenset(RECOVERY_KINDS)
    unlock: bool = True
    """Whether a shut road may be opened with the password kept."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "RecoverySettings":
        return cls(
            whom=RecoveryFor(settings.get("for", RecoveryFor.NONE)),
            gates=2 if settings.get("gates") == 2 else 1,
            kinds=frozenset(settings.get("kinds", RECOVERY_KINDS)) & frozenset(RECOVERY_KINDS),
            unlock=bool(settings.get("unlock", True)),
        )

    @property
    def mark(self) -> str:
        """The ETag of what an administrator may edit."""
        return f'"{hashlib.sha256(repr(sorted(self.as_json().items())).encode()).hexdigest()[:32]}"'

    def as_json(self) -> dict[str, Any]:
        kinds = [kind for kind in RECOVERY_KINDS if kind in self.kinds]
        return {"for": self.whom.value, "gates": self.gates, "kinds": kinds, "unlock": self.unlock}


@dataclass(frozen=True, slots=True)
class BannedWords:
    """An organization's own, that no password of its people may be made of."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, words: Iterable[str]) -> "BannedWords":
        """In one order, each once."""
        return cls(tuple(sorted({unicodedata.normalize("NFC", word.strip()) for word in words})))

    @property
    def mark(self) -> str:
        """The ETag of what an administrator may edit."""
        return f'"{hashlib.sha256(json.dumps(self.words).encode()).hexdigest()[:32]}"'


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
    recovery: RecoverySettings = field(default_factory=RecoverySettings)
    readable_passcode: timedelta = READABLE_PASSCODE
    """From the first reading on."""
    act_life: Mapping[Act, timedelta] = field(default_factory=dict)
    """How long an act waits for its device, where that is not as long as everywhere (models/job.py)."""
    sign_out_proof: Proof = Proof.NONE
    """What signing out everywhere takes."""
    second_approver: frozenset[Act] = frozenset()
    """What a second person must approve (models/approval.py)."""
    leaving: Leaving = field(default_factory=lambda: Leaving(True, {}))
    device_quota: int | None = DEVICES_PER_ACCOUNT
    """How many devices one person may have; None: any number."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "OrganizationSettings":
        return cls(
            contact=settings.get("contact", {}),
            hidden_acts=frozenset((h["platform"], h["ownership"], h["act"]) for h in settings.get("hidden_acts", ())),
            act_proof={Act(act): Proof(proof) for act, proof in settings.get("act_proof", {}).items()},
            act_strength={Act(act): int(strength) for act, strength in settings.get("act_strength", {}).items()},
            unread_passcode=unread_passcode(settings),
            banned_words=tuple(settings.get("banned_words", ())),
            hidden_sections=frozenset(settings.get("hidden_sections", ())),
            recovery=RecoverySettings.of(settings.get("recovery", {})),
            readable_passcode=readable_passcode(settings),
            act_life={Act(act): timedelta(seconds=life) for act, life in settings.get("act_life_seconds", {}).items()},
            sign_out_proof=Proof(settings.get("sign_out_proof", Proof.NONE)),
            second_approver=frozenset(Act(act) for act in settings.get("second_approver", ())),
            leaving=Leaving.of(settings),
            device_quota=device_quota(settings),
        )

    @property
    def whom_to_ask(self) -> dict[str, str]:
        """About leaving, and about what is known of somebody here."""
        return {name: text for name, text in (self.leaving.contact or self.contact).items() if text}

    def hides(self, platform: str, ownership: Ownership, act: str) -> bool:
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


async def name_of(tx: Transaction, organization_id: UUID) -> str:
    statement = sa.select(organization.c.name).where(organization.c.id == organization_id)
    return str((await tx.execute(statement)).scalar_one())


@dataclass(frozen=True, slots=True)
class Belonging:
    """One organization of a person's, as they see it."""

    organization_id: UUID
    name: str
    settings: OrganizationSettings
    roles: tuple[str, ...]
    since: datetime


async def of_account(
    tx: Transaction, account_id: UUID, *, after: UUID | None, limit: int, only: UUID | None = None
) -> list[Belonging]:
    """Where somebody belongs, the home organization among them, in the order of the organizations' ids."""
    statement = (
        sa.select(organization.c.id, organization.c.name, organization.c.settings, membership.c.roles)
        .add_columns(membership.c.created_at)
        .join_from(membership, organization, organization.c.id == membership.c.organization_id)
        .where(membership.c.account_id == account_id)
        .order_by(membership.c.organization_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(membership.c.organization_id > after)
    if only is not None:
        statement = statement.where(membership.c.organization_id == only)
    return [
        Belonging(row.id, row.name, OrganizationSettings.of(row.settings), tuple(row.roles), row.created_at)
        for row in await tx.execute(statement)
    ]


_ROLES: Final = Hot(
    sa.select(membership.c.roles).where(
        membership.c.organization_id == sa.bindparam("organization"), membership.c.account_id == sa.bindparam("account")
    )
)


async def roles_of(tx: Transaction, organization_id: UUID, account_id: UUID) -> tuple[str, ...]:
    """The account's roles in this organization."""
    return read_roles(await tx.ask(*roles_question(organization_id, account_id)))


def roles_question(organization_id: UUID, account_id: UUID) -> Question:
    """The same for who asks other things in the same breath; `read_roles` reads the answer."""
    return _ROLES, {"organization": organization_id, "account": account_id}


def read_roles(answer: Answer) -> tuple[str, ...]:
    row = answer.one_or_none()
    return () if row is None else tuple(row.roles)


async def places_of(tx: Transaction, account_id: UUID) -> list[UUID]:
    """Where they are somebody now: their home, and wherever they are a member."""
    joined = sa.select(membership.c.organization_id).where(membership.c.account_id == account_id)
    home = sa.select(account.c.organization_id).where(account.c.id == account_id)
    return sorted((await tx.execute(sa.union(joined, home))).scalars())


async def is_member(tx: Transaction, organization_id: UUID, account_id: UUID) -> bool:
    statement = sa.select(membership.c.account_id).where(
        membership.c.organization_id == organization_id, membership.c.account_id == account_id
    )
    return (await tx.execute(statement)).one_or_none() is not None


async def is_guest(tx: Transaction, organization_id: UUID, account_id: UUID) -> bool:
    """A member who is at home elsewhere."""
    statement = sa.select(membership.c.account_id).where(
        membership.c.organization_id == organization_id, membership.c.account_id == account_id, membership.c.guest
    )
    return (await tx.execute(statement)).one_or_none() is not None


_LOCK_OURS: Final = Hot(
    sa.select(account)
    .where(
        account.c.id == sa.bindparam("account"),
        sa.or_(
            account.c.organization_id == sa.bindparam("organization"),
            sa.exists().where(
                membership.c.organization_id == sa.bindparam("organization"), membership.c.account_id == account.c.id
            ),
        ),
    )
    .with_for_update(of=account, key_share=True)
)


async def lock_ours(tx: Transaction, organization_id: UUID, account_id: UUID) -> Any:
    """The account's row, held until commit, of whoever is at home or a member here. Nobody else's is shown or held:
    None."""
    return (await tx.ask(_LOCK_OURS, {"account": account_id, "organization": organization_id})).one_or_none()


async def hold_settings(tx: Transaction, organization_id: UUID) -> Mapping[str, Any]:
    """As they are written, held until commit."""
    statement = (
        sa.select(organization.c.settings).where(organization.c.id == organization_id).with_for_update(key_share=True)
    )
    found: Mapping[str, Any] = (await tx.execute(statement)).scalar_one()
    return found


async def write_settings(tx: Transaction, organization_id: UUID, settings: Mapping[str, Any]) -> None:
    await tx.execute(
        sa.update(organization).where(organization.c.id == organization_id).values(settings=dict(settings))
    )


async def guests(tx: Transaction, organization_id: UUID, *, after: UUID | None, limit: int) -> list[Any]:
    """Who belongs here and is at home elsewhere, in the order of the accounts' ids."""
    statement = (
        sa.select(
            membership, account.c.sign_in_name, account.c.display_name, account.c.blocked_at, account.c.deleted_at
        )
        .join_from(membership, account, account.c.id == membership.c.account_id)
        .where(membership.c.organization_id == organization_id, sa.text("membership.guest"))
        .order_by(membership.c.account_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(membership.c.account_id > after)
    return list((await tx.execute(statement)).all())


async def let_recover(tx: Transaction, organization_id: UUID, account_id: UUID, *, may: bool) -> bool:
    """Into the group whose members may recover, or out of it. False: nothing was changed by it."""
    statement = sa.update(membership).where(
        membership.c.organization_id == organization_id,
        membership.c.account_id == account_id,
        membership.c.may_recover.is_not(may),
    )
    return (await tx.execute(statement.values(may_recover=may))).rowcount == 1


async def administrators_of(tx: Transaction, organization_id: UUID) -> list[UUID]:
    """Who is not blocked and may act on others' accounts; they must hear when one of theirs is opened anew."""
    statement = (
        sa.select(membership.c.account_id, membership.c.roles)
        .join_from(membership, account, account.c.id == membership.c.account_id)
        .where(membership.c.organization_id == organization_id, _HAS_ROLES, account.c.blocked_at.is_(None))
    )
    rows = (await tx.execute(statement)).all()
    return sorted(row.account_id for row in rows if role.holds(row.roles, role.ACTORS))


async def who_may(
    tx: Transaction, organization_id: UUID, table: role.Table, theirs: Collection[str] = ()
) -> list[UUID]:
    """Who is not blocked and, by this table, may act on somebody who has these roles."""
    statement = (
        sa.select(membership.c.account_id, membership.c.roles)
        .join_from(membership, account, account.c.id == membership.c.account_id)
        .where(membership.c.organization_id == organization_id, _HAS_ROLES, account.c.blocked_at.is_(None))
    )
    rows = (await tx.execute(statement)).all()
    return sorted(row.account_id for row in rows if role.may(table, row.roles, theirs))


async def roles_of_all(
    tx: Transaction, organization_id: UUID, account_ids: Sequence[UUID]
) -> dict[UUID, tuple[str, ...]]:
    statement = sa.select(membership.c.account_id, membership.c.roles).where(
        membership.c.organization_id == organization_id, membership.c.account_id.in_(account_ids)
    )
    return {row.account_id: tuple(row.roles) for row in await tx.execute(statement)}


async def set_roles(tx: Transaction, organization_id: UUID, account_id: UUID, roles: Sequence[str]) -> None:
    """The account's row is held: whoever acts on it reads its roles with it."""
    await tx.execute(
        sa.update(membership)
        .where(membership.c.organization_id == organization_id, membership.c.account_id == account_id)
        .values(roles=list(roles))
    )


async def hold_roles(tx: Transaction, organization_id: UUID) -> None:
    """Until commit nobody else takes a role away here; what only names the organization goes on."""
    statement = sa.select(organization.c.id).where(organization.c.id == organization_id)
    await tx.execute(statement.with_for_update(key_share=True))


async def count_active(tx: Transaction, organization_id: UUID, wanted: role.Role) -> int:
    """Who has this role and is not blocked."""
    statement = (
        sa.select(membership.c.roles)
        .join_from(membership, account, account.c.id == membership.c.account_id)
        .where(membership.c.organization_id == organization_id, _HAS_ROLES, account.c.blocked_at.is_(None))
    )
    return sum(wanted.value in row.roles for row in await tx.execute(statement))


async def ruled_by(tx: Transaction, account_id: UUID) -> list[UUID]:
    """The organizations in which somebody is a global administrator, in one order for all who hold them."""
    statement = sa.select(membership.c.organization_id, membership.c.roles).where(
        membership.c.account_id == account_id, _HAS_ROLES
    )
    rows = await tx.execute(statement)
    return sorted(row.organization_id for row in rows if role.Role.GLOBAL_ADMINISTRATOR.value in row.roles)


async def may_recover(tx: Transaction, organization_id: UUID, account_id: UUID) -> bool:
    """Whether the membership says so; it counts where only a group may."""
    statement = sa.select(membership.c.may_recover).where(
        membership.c.organization_id == organization_id, membership.c.account_id == account_id
    )
    return bool((await tx.execute(statement)).scalar_one_or_none())


def new_organization(organization_id: UUID, name: str, settings: Mapping[str, Any], now: datetime) -> sa.Insert:
    return sa.insert(organization).values(id=organization_id, name=name, settings=dict(settings), created_at=now)


def new_memberships(
    organization_id: UUID, account_ids: Sequence[UUID], now: datetime
) -> tuple[sa.Insert, list[dict[str, Any]]]:
    """At home there, and without a role."""
    same = {"organization_id": organization_id, "roles": [], "guest": False, "created_at": now}
    return sa.insert(membership), [{**same, "id": new_id(now), "account_id": one} for one in account_ids]


def new_membership(
    organization_id: UUID, account_id: UUID, roles: tuple[str, ...], now: datetime, *, guest: bool = False
) -> sa.Insert:
    """`guest`: the account's home is another organization."""
    return sa.insert(membership).values(
        organization_id=organization_id,
        account_id=account_id,
        id=new_id(now),
        roles=list(roles),
        guest=guest,
        created_at=now,
    )
