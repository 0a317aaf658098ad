"""`python -m launch.demo`: fill a new data folder with a demo organization, once. What exists is left as it is.

A second organization has some of its people as guests: that is where terms of use are asked.

Passwords, TOTP secrets and saved codes are random per folder and stand in its demo.json, for its owner alone. The
devices are enrolled later, by their simulator, through the api as their owners; one of a kind that nobody can manage is
there from the beginning.
"""

import asyncio
import json
import os
import secrets
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import pyotp

from api.passwords import Hasher, HashSettings
from launch import fleet
from launch.fleet import Fleet
from launch.secrets import replace
from models import account, app, device, organization, recovery_code, terms, verification
from models.app import App
from models.database import Database, DatabaseDown, Transaction
from models.device import DeviceState
from models.role import Role
from models.sealed import Keyring
from models.settings import DatabaseSettings, SettingsError, resolve_files
from models.standing import Expiry
from models.terms import Terms
from models.verification import VerificationKind
from models.vocabulary import Ownership, Secret, new_id
from platforms.simulation import make_demo_keys, simulated

CAST: Final = Path(__file__).with_name("demo.toml")
OPERATOR: Final = "operator"
"""Of the installation, not of the organization: no role in a membership."""
_DRAFT: Final = f"{fleet.PEOPLE}.new"
_SAVED: Final = 2
_A_DAY: Final = timedelta(days=1)


class DemoLost(Exception):
    """The accounts are there and nobody knows their passwords any more."""


@dataclass(frozen=True, slots=True)
class Person:
    account: str
    password: str = field(repr=False)
    totp_secret: str | None = field(repr=False)
    roles: tuple[str, ...]
    devices: tuple[Mapping[str, str], ...] = ()
    """Those that nobody can manage."""
    saved_codes: tuple[str, ...] = field(default=(), repr=False)
    """With their numbers, as they are typed."""

    @classmethod
    def invent(cls, entry: Mapping[str, Any], now: datetime) -> Self:
        totp_secret = pyotp.random_base32() if entry.get("second_factor") else None
        devices = tuple({"id": str(new_id(now)), **each} for each in entry.get("devices", ()) if not _managed(each))
        roles = tuple(entry.get("roles", ()))
        codes = (
            ()
            if roles or totp_secret
            else tuple(f"{number} {recovery_code.invent()}" for number in range(1, _SAVED + 1))
        )
        return cls(entry["account"], secrets.token_urlsafe(12), totp_secret, roles, devices, codes)

    @classmethod
    def told(cls, entry: Mapping[str, Any]) -> Self:
        devices = tuple(each for each in entry["devices"] if not _managed(each))
        roles, codes = tuple(entry["roles"]), tuple(entry["saved_codes"])
        return cls(entry["account"], entry["password"], entry["totp_secret"], roles, devices, codes)

    def tell(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "password": self.password,
            "totp_secret": self.totp_secret,
            "roles": list(self.roles),
            "devices": [dict(each) for each in self.devices],
            "saved_codes": list(self.saved_codes),
        }


def _managed(device: Mapping[str, str]) -> bool:
    return device["platform"] in simulated()


async def seed(data: Path, url: str, database: Database, keys: Keyring, cast: Mapping[str, Any]) -> None:
    """Killed at any moment, the next call finishes the work: passwords are written down before anybody has them.

    Raises DemoLost.
    """
    file, draft = data / fleet.PEOPLE, data / _DRAFT
    if file.exists():
        return
    begun = draft.exists()
    if not begun:
        now = database.roughly_now()
        invented = [Person.invent(entry, now).tell() for entry in cast["people"]]
        fleet.write_people(draft, {"url": url, "people": invented})
    people = [Person.told(entry) for entry in json.loads(draft.read_text(encoding="utf-8"))["people"]]
    async with Hasher(HashSettings()) as hasher:
        with hasher.place() as place:
            hashes = [await place.hash(person.password) for person in people]
            codes = [
                {
                    typed.number: await place.hash(typed.secret)
                    for typed in map(recovery_code.read, person.saved_codes)
                    if typed
                }
                for person in people
            ]
    names = {entry["account"]: entry["name"] for entry in cast["people"]}
    async with database.write() as tx:
        now = await tx.now()
        there = await account.by_sign_in_name(tx, people[0].account) is not None
        if not there:
            organization_id = new_id(now)
            await tx.execute(
                organization.new_organization(
                    organization_id,
                    cast["organization"],
                    {"contact": cast["contact"], "recovery": cast["recovery"]},
                    now,
                )
            )
            accounts = {
                person.account: await _hire(
                    tx, person, names[person.account], organization_id, password_hash, saved, keys, now
                )
                for person, password_hash, saved in zip(people, hashes, codes, strict=True)
            }
            await _open_elsewhere(tx, cast["elsewhere"], accounts, now)
    if there and not begun:
        draft.unlink()
        raise DemoLost(f"{file} is gone, but its accounts exist: restore it, or start in another DATA_DIR")
    draft.rename(file)


async def _hire(
    tx: Transaction,
    person: Person,
    name: str,
    organization_id: UUID,
    password_hash: str,
    saved: Mapping[int, str],
    keys: Keyring,
    now: datetime,
) -> UUID:
    """Their methods are of the day before: what came today leads nobody back in by itself. Returns the account's id."""
    account_id = new_id(now)
    await tx.execute(
        account.new_account(
            account_id=account_id,
            organization_id=organization_id,
            sign_in_name=person.account,
            display_name=name,
            password_hash=password_hash,
            now=now,
            is_operator=OPERATOR in person.roles,
        )
    )
    roles = tuple(role for role in person.roles if role != OPERATOR)
    await tx.execute(organization.new_membership(organization_id, account_id, roles, now))
    for each in person.devices:
        await tx.execute(
            device.new_device(
                device_id=UUID(each["id"]),
                organization_id=organization_id,
                account_id=account_id,
                name=each["name"],
                platform=each["platform"],
                ownership=Ownership.CORPORATE,
                state=DeviceState.ACTIVE,
                now=now,
            )
        )
    if person.totp_secret is not None:
        await tx.execute(
            verification.new_totp(
                verification_id=new_id(now),
                organization_id=organization_id,
                account_id=account_id,
                label="Authenticator app",
                secret=Secret(person.totp_secret.encode()),
                keys=keys,
                is_default=True,
                now=now - _A_DAY,
            )
        )
    if saved:
        codes_id = new_id(now)
        await tx.execute(
            verification.new_unnamed(
                verification_id=codes_id,
                organization_id=organization_id,
                account_id=account_id,
                kind=VerificationKind.RECOVERY_CODES,
                now=now - _A_DAY,
            )
        )
        await recovery_code.keep(tx, verification_id=codes_id, organization_id=organization_id, hashes=saved)
    return account_id


async def _open_elsewhere(
    tx: Transaction, cast: Mapping[str, Any], accounts: Mapping[str, UUID], now: datetime
) -> None:
    """The other organization. Whoever keeps it has published its terms, and accepted them no more than anybody."""
    organization_id = new_id(now)
    await tx.execute(organization.new_organization(organization_id, cast["organization"], cast["settings"], now))
    for name, roles in cast["guests"].items():
        await tx.execute(organization.new_membership(organization_id, accounts[name], tuple(roles), now, guest=True))
    for each in cast["apps"]:
        made = App(
            id=new_id(now),
            organization_id=organization_id,
            name=each["name"],
            client_id=each["client_id"],
            backchannel_logout_uri=None,
            session_required=False,
            version=1,
            created_at=now,
        )
        await app.add(tx, made)
    rules = Terms(
        id=new_id(now),
        organization_id=organization_id,
        name=cast["terms"]["name"],
        names=cast["terms"]["names"],
        default_language="en",
        must_scroll=False,
        per_device=False,
        expiry=Expiry(),
        revision=1,
        created_at=now,
        withdrawn_at=None,
    )
    await terms.add(tx, rules)
    keeper = next(name for name, roles in cast["guests"].items() if Role.GLOBAL_ADMINISTRATOR in roles)
    await terms.publish(
        tx,
        rules,
        number=1,
        major=True,
        effective_at=now,
        texts={language: text.strip() for language, text in cast["terms"]["texts"].items()},
        by=accounts[keeper],
        now=now,
    )


def equip(data: Path, cast: Mapping[str, Any]) -> None:
    """The devices there shall be, and what the processes are told about their platforms."""
    (data / fleet.STATE).mkdir(mode=0o700, exist_ok=True)
    files = {name: str(path.relative_to(data)) for name, path in make_demo_keys(data / "keys").items()}
    devices = [
        {"account": entry["account"], **each}
        for entry in cast["people"]
        for each in entry.get("devices", ())
        if _managed(each)
    ]
    replace(data / fleet.WANTED, json.dumps(devices, indent=2, ensure_ascii=False) + "\n")
    Fleet(files, cast["settings"], tuple(f"{name.upper()}_PUSH_URL" for name in simulated())).save(data)


async def make(environ: Mapping[str, str]) -> None:
    if environ.get("MODE") != "embedded":
        raise SettingsError("the demo is for MODE=embedded alone")
    data = Path(environ["DATA_DIR"])
    cast = tomllib.loads(CAST.read_text(encoding="utf-8"))
    cast["organization"] = environ.get("ORGANIZATION_NAME") or cast["organization"]
    keys = Keyring.from_settings(environ.get("SEAL_KEYS", ""))
    database = Database(DatabaseSettings.from_env(environ))
    await database.open()
    try:
        await seed(data, environ["PUBLIC_URL"], database, keys, cast)
    finally:
        await database.close()
    equip(data, cast)


def main() -> int:
    os.umask(0o077)
    try:
        asyncio.run(make(resolve_files(os.environ)))  # noqa: TID251 - a main under its own name
    except KeyError as error:
        sys.stderr.write(f"{error.args[0]} is missing\n")
        return 1
    except (SettingsError, DatabaseDown, DemoLost, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
