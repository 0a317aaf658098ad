"""WebAuthn, as far as it is bytes: what a browser is asked for, and whether what it brings back is what was asked.

What is verified is the library's affair (`api/authenticators.py`). Whatever it finds wrong is one thing here: nothing.
Who may use which key, and what that opens, is said in `operations/`.

https://www.w3.org/TR/webauthn-3/
"""

import base64
import binascii
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, Self
from urllib.parse import urlsplit
from uuid import UUID

from models.errors import Invalid, PasskeysUnavailable

NAME: Final = "Latchkey"
ES256, EDDSA, RS256 = -7, -8, -257
ALGORITHMS: Final = (ES256, EDDSA, RS256)
"""The best first; every authenticator in use knows the first or the last."""
PUBLIC_KEY_LIMIT: Final = 1024
"""Bytes of COSE: an RSA key of 4096 bits takes 536."""
CREDENTIAL_ID_LIMIT: Final = 1023
"""WebAuthn, 4, "Credential ID"."""
TRANSPORTS: Final = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal"})


@dataclass(frozen=True, slots=True)
class Party:
    """Whom a passkey is made for: a name, never a number, and the one origin from which it may be used."""

    id: str
    origin: str

    @classmethod
    def at(cls, public_url: str) -> Self:
        """By the configured address: what a request says of its host decides nothing. Raises PasskeysUnavailable."""
        host = urlsplit(public_url).hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return cls(host, public_url)
        raise PasskeysUnavailable


@dataclass(frozen=True, slots=True)
class Attestation:
    """What came back from `navigator.credentials.create()`."""

    credential_id: bytes
    client_data: bytes = field(repr=False)
    attestation_object: bytes = field(repr=False)
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What came back from `navigator.credentials.get()`."""

    credential_id: bytes
    client_data: bytes = field(repr=False)
    authenticator_data: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    user_handle: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewKey:
    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    aaguid: UUID
    transports: tuple[str, ...]
    verifies_person: bool
    backup_eligible: bool
    backed_up: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """The key was there. Whether it is that of whoever says so, and whether its counter goes on, is not said here."""

    sign_count: int
    person_verified: bool
    backup_eligible: bool
    backed_up: bool


def text_of(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def bytes_of(text: str, name: str) -> bytes:
    """Raises Invalid. The schema has seen to the alphabet and the length."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise Invalid(errors=[{"field": name, "rule": "base64url"}]) from None


def load() -> ModuleType:
    """A quarter of a second, for a thread at the start: no request waits for it, and neither does the start."""
    from api import authenticators  # noqa: PLC0415 - the one place, and why is said above

    return authenticators


def challenge_of(client_data: bytes) -> bytes | None:
    """What it says it answers; None: nothing that could be read."""
    challenge: bytes | None = _nothing_wrong(lambda: load().challenge_of(client_data))
    return challenge


def read_attestation(party: Party, given: Attestation, challenge: bytes) -> NewKey | None:
    """None: it is not what was asked for. The challenge is the one that was spent for it."""
    key: NewKey | None = _nothing_wrong(lambda: load().new_key(party, given, challenge))
    return key


def read_assertion(party: Party, given: Assertion, challenge: bytes, public_key: bytes) -> Shown | None:
    """None: it was not made by this key, here, for this challenge, with somebody there."""
    shown: Shown | None = _nothing_wrong(lambda: load().shown(party, given, challenge, public_key))
    return shown


def _nothing_wrong(read: Callable[[], Any]) -> Any:
    """None wherever something is.

    The library says no in its own errors, and lets through those of CBOR, of cryptography, and of Python where a
    stranger's bytes have another shape than it thinks (tests/api/test_passkey_bytes.py finds them). A list of them
    would end where the next release begins, and one that is missed is a 500.
    """
    try:
        return read()
    except Exception:  # noqa: BLE001 - as above; the one place
        return None


# Nobody's: what is presented as a key that we do not know is compared with it, at the same cost.
NOBODYS_KEY: Final = bytes.fromhex(
    "a5010203262001215820"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "225820"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
"""The curve's own base point: its private key, 1, is everybody's, and what fits it is refused all the same."""
