"""What py_webauthn makes of an authenticator's answer. Loaded by `api/passkeys.py` alone, which takes what it raises.

https://www.w3.org/TR/webauthn-3/
"""

from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import decode_credential_public_key, encode_cbor, parse_cbor, parse_client_data_json
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.decoded_public_key_to_cryptography import decoded_public_key_to_cryptography
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    CredentialDeviceType,
    RegistrationCredential,
)

from api.passkeys import (
    ALGORITHMS,
    CREDENTIAL_ID_LIMIT,
    PUBLIC_KEY_LIMIT,
    TRANSPORTS,
    Assertion,
    Attestation,
    NewKey,
    Party,
    Shown,
    text_of,
)


def challenge_of(client_data: bytes) -> bytes:
    """What it says it answers."""
    return bytes(parse_client_data_json(client_data).challenge)


def new_key(party: Party, given: Attestation, challenge: bytes) -> NewKey | None:
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


def shown(party: Party, given: Assertion, challenge: bytes, public_key: bytes) -> Shown | None:
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

    return bool(parse_client_data_json(client_data).cross_origin)
