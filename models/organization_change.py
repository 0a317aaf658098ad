"""What administrators change of their organization's settings: all of it or nothing, never below the floor."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from models import organization_policy
from models.device import LEAST_PROOF, LEAST_STRENGTH
from models.errors import Broken, BrokenRule, Invalid
from models.job import LIFE
from models.organization import STRENGTH, OrganizationSettings
from models.organization_picture import PictureKind
from models.organization_policy import (
    APPROVABLE,
    BRANDING,
    CONTACT,
    DEVICES,
    PASSCODE,
    PRIVACY,
    PRIVACY_CONTACT,
    STRENGTH_MOST,
    UNLIMITED,
    Branding,
    BrokenRules,
    Hidden,
    Leaving,
    Read,
)
from models.vocabulary import Act, Proof

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActChange:
    """What is to hold for one act. Absent: as it is; None: as in every organization."""

    act: Act
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What was sent, by group; a group that was not sent is left as it is."""

    contact: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)
    branding: Mapping[str, Any] = field(default_factory=dict)
    passcode: Mapping[str, Any] = field(default_factory=dict)
    devices: Mapping[str, Any] = field(default_factory=dict)
    sign_out_proof: Proof | None = None
    leaving_allowed: bool | None = None
    privacy_contact: Mapping[str, Any] = field(default_factory=dict)
    hidden_acts: Collection[Hidden] | None = None
    hidden_sections: Collection[str] | None = None
    acts: Collection[ActChange] = ()

    def apply(self, held: Settings, platforms: Collection[str]) -> dict[str, Any]:
        """The settings as they are then. Raises Invalid with every broken rule."""
        after, errors = dict(held), []
        for read in (self._texts, self._passcode, self._devices, self._leaving, self._hidden, self._acts):
            try:
                after = read(after, platforms)
            except BrokenRules as broken:
                errors += broken.errors
        if errors:
            raise Invalid(errors=errors)
        return {name: value for name, value in after.items() if value not in ({}, [])}

    def _texts(self, held: Settings, _: Collection[str]) -> dict[str, Any]:
        after, errors = dict(held), []
        for name, given, how in (
            ("contact", self.contact, CONTACT),
            ("privacy", self.privacy, PRIVACY),
            ("branding", self.branding, BRANDING),
        ):
            try:
                after[name] = organization_policy.merged(held.get(name, {}), given, how, f"{name}.")
            except BrokenRules as broken:
                errors += broken.errors
        if errors:
            raise BrokenRules(errors)
        return after

    def _passcode(self, held: Settings, _: Collection[str]) -> dict[str, Any]:
        return _merged_flat(held, self.passcode, PASSCODE)

    def _devices(self, held: Settings, _: Collection[str]) -> dict[str, Any]:
        """Whoever has more by then keeps them, and gets no other."""
        return _merged_flat(held, self.devices, DEVICES)

    def _leaving(self, held: Settings, _: Collection[str]) -> dict[str, Any]:
        """Nobody is kept without being told whom to turn to."""
        contact = organization_policy.merged(
            held.get("privacy_contact", {}), self.privacy_contact, PRIVACY_CONTACT, "privacy_contact."
        )
        after = {**held, "privacy_contact": contact}
        if self.sign_out_proof is not None:
            after["sign_out_proof"] = self.sign_out_proof.value
        if self.leaving_allowed is not None:
            after["leaving_allowed"] = self.leaving_allowed
        if not after.get("leaving_allowed", True) and not contact.keys() & {"email", "phone"}:
            raise BrokenRules([BrokenRule("privacy_contact_needed").at("privacy_contact")])
        return after

    def _hidden(self, held: Settings, platforms: Collection[str]) -> dict[str, Any]:
        after = dict(held)
        if self.hidden_sections is not None:
            after["hidden_sections"] = sorted(set(self.hidden_sections))
        if self.hidden_acts is not None:
            known = {*platforms, *(one["platform"] for one in held.get("hidden_acts", ()))}
            after["hidden_acts"] = organization_policy.hidden_acts(self.hidden_acts, known)
        return after

    def _acts(self, held: Settings, _: Collection[str]) -> dict[str, Any]:
        kept = {name: dict(held.get(name, {})) for name in _OF_ACTS.values()}
        errors: list[Broken] = []
        for change in self.acts:
            for name, value in change.given.items():
                if name == "second_approver":
                    continue
                try:
                    read = _READ[name](change.act, value)
                except BrokenRule as rule:
                    errors.append(rule.at(f"acts[{change.act}].{name}"))
                    continue
                if read is None:
                    kept[_OF_ACTS[name]].pop(change.act.value, None)
                else:
                    kept[_OF_ACTS[name]][change.act.value] = read
        return {**held, **kept, "second_approver": self._second_approver(held, errors)}

    def _second_approver(self, held: Settings, errors: list[Broken]) -> list[str]:
        """Raises BrokenRules, with those that were found before."""
        wanted = set(held.get("second_approver", ()))
        for change in self.acts:
            match change.given.get("second_approver"):
                case True if change.act not in APPROVABLE:
                    errors.append(BrokenRule("departures_alone").at(f"acts[{change.act}].second_approver"))
                case True:
                    wanted.add(change.act.value)
                case False:
                    wanted.discard(change.act.value)
        if errors:
            raise BrokenRules(errors)
        return sorted(wanted)


def _merged_flat(held: Settings, given: Settings, how: Mapping[str, Read]) -> dict[str, Any]:
    """Of what lies in no group of its own."""
    mine = {name: held[name] for name in how if name in held}
    others = {name: value for name, value in held.items() if name not in how}
    return others | organization_policy.merged(mine, given, how, "")


def _proof(act: Act, value: Proof | None) -> str | None:
    if value is None:
        return None
    if STRENGTH[value] < STRENGTH[LEAST_PROOF[act]]:
        raise BrokenRule("least_proof", least=LEAST_PROOF[act].value)
    return value.value


def _strength(_: Act, value: int | None) -> int | None:
    if value is not None and not LEAST_STRENGTH <= value <= STRENGTH_MOST:
        raise BrokenRule("range", least=LEAST_STRENGTH, most=STRENGTH_MOST)
    return value


_OF_ACTS: Final = {"proof": "act_proof", "strength": "act_strength", "expires_after_seconds": "act_life_seconds"}
_READ: Final[Mapping[str, Callable[[Act, Any], Any]]] = {
    "proof": _proof,
    "strength": _strength,
    "expires_after_seconds": organization_policy.life_of,
}


@dataclass(frozen=True, slots=True)
class Decided:
    """An organization's settings as they hold, with what is the house's default among them."""

    organization_id: UUID
    name: str
    settings: Settings
    pictures: Mapping[PictureKind, datetime] = field(default_factory=dict)
    """Those there are, and when each was changed. They are edited by themselves: no part of the mark."""

    @property
    def rules(self) -> OrganizationSettings:
        return OrganizationSettings.of(self.settings)

    @property
    def mark(self) -> str:
        """The ETag of what may be edited here."""
        spelled = json.dumps(dict(leaves(self.settings)), sort_keys=True)
        return f'"{hashlib.sha256(spelled.encode()).hexdigest()[:32]}"'

    def expires_after(self, act: Act) -> int | None:
        life = self.rules.act_life.get(act, LIFE[act])
        return None if life is None else int(life.total_seconds())


_NOBODYS_SECRET: Final = (
    "acts.",
    "hidden_acts",
    "hidden_sections",
    "leaving_allowed",
    "sign_out_proof",
    *PASSCODE,
    *DEVICES,
)
"""Of these the record keeps what they were and are; of the others, which may name a person, that they changed."""


def leaves(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Every single thing that can be set here, by name, as it holds."""
    rules, branding, leaving = OrganizationSettings.of(settings), Branding.of(settings), Leaving.of(settings)
    for group, names in (("contact", CONTACT), ("privacy", PRIVACY), ("privacy_contact", PRIVACY_CONTACT)):
        for name in names:
            yield f"{group}.{name}", settings.get(group, {}).get(name)
    yield "branding.name", branding.name
    yield "branding.colour", branding.colour
    yield "branding.header", branding.header.value
    yield "leaving_allowed", leaving.allowed
    yield "sign_out_proof", rules.sign_out_proof.value
    yield "unread_passcode_seconds", int(rules.unread_passcode.total_seconds())
    yield "readable_passcode_seconds", int(rules.readable_passcode.total_seconds())
    yield "device_quota", UNLIMITED if rules.device_quota is None else rules.device_quota
    yield "hidden_sections", sorted(rules.hidden_sections)
    yield "hidden_acts", sorted("/".join(one) for one in rules.hidden_acts)
    for act in Act:
        life = rules.act_life.get(act, LIFE[act])
        yield f"acts.{act}.proof", rules.proof_for(act, LEAST_PROOF[act]).value
        yield f"acts.{act}.strength", rules.strength_for(act, LEAST_STRENGTH)
        yield f"acts.{act}.second_approver", act in rules.second_approver
        yield f"acts.{act}.expires_after_seconds", None if life is None else int(life.total_seconds())


def facts(before: Settings, after: Settings) -> dict[str, Any]:
    """For the record: what changed, and of a rule how. Empty: nothing did."""
    old = dict(leaves(before))
    changed = {name: (old[name], new) for name, new in leaves(after) if new != old[name]}
    if not changed:
        return {}
    told = {name: pair for name, pair in changed.items() if name.startswith(_NOBODYS_SECRET)}
    return {
        "changed": sorted(changed),
        "from": {name: before for name, (before, _) in sorted(told.items())},
        "to": {name: after for name, (_, after) in sorted(told.items())},
    }
