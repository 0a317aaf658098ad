"""Organizations, people and devices for tests, put straight into the tables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pyotp
import sqlalchemy as sa

from models import account, device, organization, terms, verification
from models.database import Database
from models.device import DeviceState
from models.enrollment import enrollment
from models.sealed import Keyring
from models.standing import Expiry, Version
from models.terms import Terms
from models.vocabulary import Ownership, Secret, new_id


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    organization_id: UUID
    name: str
    password: str
    totp_secret: str | None = None
    method_id: UUID | None = None

    def code(self, now: datetime, drift: int = 0) -> str:
        """What their authenticator app shows."""
        assert self.totp_secret is not None
        return pyotp.TOTP(self.totp_secret).generate_otp(int(now.timestamp()) // 30 + drift)


async def found(db: Database, now: datetime, settings: Mapping[str, Any] | None = None, *, name: str = "Acme") -> UUID:
    """A new organization."""
    organization_id = new_id(now)
    async with db.write() as tx:
        await tx.execute(organization.new_organization(organization_id, name, settings or {}, now))
    return organization_id


async def hire(
    db: Database,
    organization_id: UUID,
    name: str,
    now: datetime,
    *,
    password: str = "correct horse battery staple",
    password_hash: str | None = None,
    roles: tuple[str, ...] = (),
    is_operator: bool = False,
) -> Person:
    """An account at home in this organization."""
    person = Person(new_id(now), organization_id, name, password)
    async with db.write() as tx:
        await tx.execute(
            account.new_account(
                account_id=person.id,
                organization_id=organization_id,
                sign_in_name=name,
                display_name=name.title(),
                password_hash=password_hash,
                now=now,
                is_operator=is_operator,
            )
        )
        await tx.execute(organization.new_membership(organization_id, person.id, roles, now))
    return person


async def welcome(
    db: Database, organization_id: UUID, person: Person, now: datetime, *, roles: tuple[str, ...] = ()
) -> None:
    """Into another organization than their own."""
    async with db.write() as tx:
        await tx.execute(organization.new_membership(organization_id, person.id, roles, now, guest=True))


async def give_totp(
    db: Database, keys: Keyring, person: Person, now: datetime, *, label: str = "Phone", is_default: bool = True
) -> Person:
    """A second factor, their default unless the test has another."""
    secret, method_id = pyotp.random_base32(), new_id(now)
    async with db.write() as tx:
        await tx.execute(
            verification.new_totp(
                verification_id=method_id,
                organization_id=person.organization_id,
                account_id=person.id,
                label=label,
                secret=Secret(secret.encode()),
                keys=keys,
                is_default=is_default,
                now=now,
            )
        )
    return replace(person, totp_secret=secret, method_id=method_id)


async def give_terms(
    db: Database, organization_id: UUID, now: datetime, *, effective_at: datetime | None = None, text: str = "Be kind."
) -> Version:
    """Terms of use with a first version."""
    held = Terms(
        id=new_id(now),
        organization_id=organization_id,
        name="rules",
        names={"en": "House rules", "nl": "Huisregels"},
        default_language="en",
        must_scroll=False,
        per_device=False,
        expiry=Expiry(),
        revision=1,
        created_at=now,
        withdrawn_at=None,
    )
    async with db.write() as tx:
        await terms.add(tx, held)
        return await terms.publish(
            tx,
            held,
            number=1,
            major=True,
            effective_at=now if effective_at is None else effective_at,
            texts={"en": text, "nl": f"{text} (nl)"},
            by=new_id(now),
            now=now,
        )


async def block(db: Database, person: Person, now: datetime) -> None:
    async with db.write() as tx:
        await tx.execute(sa.update(account.account).where(account.account.c.id == person.id).values(blocked_at=now))


async def give_device(
    db: Database,
    person: Person,
    now: datetime,
    *,
    platform: str = "pocket",
    ownership: Ownership = Ownership.CORPORATE,
    state: DeviceState = DeviceState.ACTIVE,
) -> UUID:
    """Enrolled, as far as the house can tell."""
    device_id = new_id(now)
    async with db.write() as tx:
        await tx.execute(
            device.new_device(
                device_id=device_id,
                organization_id=person.organization_id,
                account_id=person.id,
                name=f"{person.name}'s phone",
                platform=platform,
                ownership=ownership,
                state=state,
                now=now,
            )
        )
        await tx.execute(
            sa.insert(enrollment).values(
                id=new_id(now),
                organization_id=person.organization_id,
                device_id=device_id,
                platform=platform,
                state="enrolled",
                address=device_id.hex,
                traits={},
                created_at=now,
                enrolled_at=now,
            )
        )
    return device_id
