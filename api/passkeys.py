"""WebAuthn, as far as it is bytes: what a browser is asked for, and whether what it brings back is what was asked.

What is verified is the library's affair (py_webauthn), which is loaded when it is first needed. Whatever it finds wrong
is one thing here: nothing. Who may use which key, and what that opens, is said in `operations/`.

https://www.w3.org/TR/webauthn-3/
"""

import base64
import binascii
import ipaddress
from dataclasses import dataclass, field
from typing import Final, Self
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
        raise Invalid(errors=[{"field": name, "rule": "base64url without padding"}]) from None


def challenge_of(client_data: bytes) -> bytes | None:
    """What it says it answers; None: nothing that could be read."""
    from webauthn.helpers import parse_client_data_json  # noqa: PLC0415 - loaded when it is first needed

    try:
        return bytes(parse_client_data_json(client_data).challenge)
    except Exception:  # noqa: BLE001 - a stranger's bytes: whatever is wrong with them, they answer nothing
        return None


def read_attestation(party: Party, given: Attestation, challenge: bytes) -> NewKey | None:
    """None: it is not what was asked for. The challenge is the one that was spent for it."""
    try:
        return _new_key(party, given, challenge)
    except Exception:  # noqa: BLE001 - a stranger's bytes, and the library's many ways to say no
        return None


def read_assertion(party: Party, given: Assertion, challenge: bytes, public_key: bytes) -> Shown | None:
    """None: it was not made by this key, here, for this challenge, with somebody there."""
    try:
        return _shown(party, given, challenge, public_key)
    except Exception:  # noqa: BLE001 - as above
        return None


def _new_key(party: Party, given: Attestation, challenge: bytes) -> NewKey | None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from webauthn import verify_registration_response  # noqa: PLC0415
    from webauthn.helpers import decode_credential_public_key, encode_cbor, parse_cbor  # noqa: PLC0415
    from webauthn.helpers.cose import COSEAlgorithmIdentifier  # noqa: PLC0415
    from webauthn.helpers.decoded_public_key_to_cryptography import decoded_public_key_to_cryptography  # noqa: PLC0415
    from webauthn.helpers.structs import (  # noqa: PLC0415
        AuthenticatorAttestationResponse,
        CredentialDeviceType,
        RegistrationCredential,
    )

    # None was asked for and none is looked at: no stranger's certificates are read for it.
    attestation = {"fmt": "none", "attStmt": {}, "authData": parse_cbor(given.attestation_object)["authData"]}
    credential = RegistrationCredential(
        id=text_of(given.credential_id),
        raw_id=given.credential_id,
        response=AuthenticatorAttestationResponse(
            client_data_json=given.client_data, attestation_object=encode_cbor(attestation)
        ),
    )
    verified = verify_registration_response(
        credential=credential,
        expected_challenge=challenge,
        expected_rp_id=party.id,
        expected_origin=party.origin,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(one) for one in ALGORITHMS],
    )
    same = verified.credential_id == given.credential_id
    if not same or _is_framed(given.client_data) or len(verified.credential_id) > CREDENTIAL_ID_LIMIT:
        return None
    # A key that nothing could ever be verified with is refused now, and not at the next sign-in.
    public = decoded_public_key_to_cryptography(decode_credential_public_key(verified.credential_public_key))
    weak = isinstance(public, RSAPublicKey) and not 2048 <= public.key_size <= 4096
    if weak or len(verified.credential_public_key) > PUBLIC_KEY_LIMIT:
        return None
    return NewKey(
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        aaguid=UUID(verified.aaguid),
        transports=tuple(sorted(TRANSPORTS.intersection(given.transports))),
        verifies_person=verified.user_verified,
        backup_eligible=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        backed_up=verified.credential_backed_up,
    )


def _shown(party: Party, given: Assertion, challenge: bytes, public_key: bytes) -> Shown | None:
    from webauthn import verify_authentication_response  # noqa: PLC0415
    from webauthn.helpers.structs import (  # noqa: PLC0415
        AuthenticationCredential,
        AuthenticatorAssertionResponse,
        CredentialDeviceType,
    )

    credential = AuthenticationCredential(
        id=text_of(given.credential_id),
        raw_id=given.credential_id,
        response=AuthenticatorAssertionResponse(
            client_data_json=given.client_data,
            authenticator_data=given.authenticator_data,
            signature=given.signature,
        ),
    )
    verified = verify_authentication_response(
        credential=credential,
        expected_challenge=challenge,
        expected_rp_id=party.id,
        expected_origin=party.origin,
        credential_public_key=public_key,
        # The counter is looked at by whoever can tell its owner of it.
        credential_current_sign_count=0,
    )
    if _is_framed(given.client_data):
        return None
    return Shown(
        sign_count=verified.new_sign_count,
        person_verified=verified.user_verified,
        backup_eligible=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        backed_up=verified.credential_backed_up,
    )


def _is_framed(client_data: bytes) -> bool:
    """Asked for by a page within another's: ours are never shown so."""
    from webauthn.helpers import parse_client_data_json  # noqa: PLC0415

    return bool(parse_client_data_json(client_data).cross_origin)


# Nobody's: what is presented as a key that we do not know is compared with it, at the same cost.
NOBODYS_KEY: Final = bytes.fromhex(
    "a5010203262001215820"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "225820"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
"""The curve's own base point: its private key, 1, is everybody's, and what fits it is refused all the same."""
