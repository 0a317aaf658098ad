"""What an authenticator says is a stranger's: whatever it is, there is one way to say no, and nothing is raised."""

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.passkeys import NOBODYS_KEY, Assertion, Attestation, Party, challenge_of, read_assertion, read_attestation
from models.errors import PasskeysUnavailable
from tests.authenticator import ATTESTED, PRESENT, Authenticator, decode, encode

PARTY = Party("latchkey.test", "https://latchkey.test")
CHALLENGE = b"c" * 32
OPTIONS = {"challenge": encode(CHALLENGE), "user": {"id": "aGFuZGxl"}}
CBOR = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=64) | st.text(max_size=16) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(-8, 8) | st.text(max_size=4), inner),
    max_leaves=8,
)


def attestation(credential: dict[str, Any]) -> Attestation:
    response = credential["response"]
    return Attestation(
        decode(credential["id"]), decode(response["clientDataJSON"]), decode(response["attestationObject"]), ()
    )


def assertion(credential: dict[str, Any]) -> Assertion:
    response = credential["response"]
    return Assertion(
        decode(credential["id"]),
        decode(response["clientDataJSON"]),
        decode(response["authenticatorData"]),
        decode(response["signature"]),
        None,
    )


DEVICE = Authenticator(PARTY.origin, PARTY.id)
GOOD = assertion(DEVICE.get(OPTIONS))


@settings(deadline=None)
@given(st.binary(max_size=512), st.binary(max_size=512), st.binary(max_size=64))
def test_any_bytes_are_no_key_and_no_answer(client_data: bytes, other: bytes, credential_id: bytes) -> None:
    challenge_of(client_data)
    assert read_attestation(PARTY, Attestation(credential_id, client_data, other, ()), CHALLENGE) is None
    assert read_assertion(PARTY, Assertion(credential_id, client_data, other, other, None), CHALLENGE, other) is None


@settings(deadline=None)
@given(CBOR, CBOR, st.integers(0, 255))
def test_any_key_and_any_extension_in_a_right_frame_is_a_key_or_none(key: Any, more: Any, flags: int) -> None:
    good = attestation(DEVICE.create(OPTIONS))
    data = cbor2.loads(good.attestation_object)["authData"]
    head = data[:32] + bytes([flags | PRESENT | ATTESTED]) + data[33:55] + DEVICE.credential_id
    bad = cbor2.dumps({"fmt": "none", "attStmt": more, "authData": head + cbor2.dumps(key) + cbor2.dumps(more)})

    read_attestation(PARTY, Attestation(good.credential_id, good.client_data, bad, ()), CHALLENGE)


@settings(deadline=None)
@given(st.data())
def test_an_answer_with_a_bit_changed_anywhere_is_none(data: st.DataObject) -> None:
    assert read_assertion(PARTY, GOOD, CHALLENGE, DEVICE.public_key()) is not None

    name = data.draw(st.sampled_from(["client_data", "authenticator_data", "signature"]))
    changed = bytearray(getattr(GOOD, name))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    values = {field: getattr(GOOD, field) for field in Assertion.__slots__} | {name: bytes(changed)}

    assert read_assertion(PARTY, Assertion(**values), CHALLENGE, DEVICE.public_key()) is None


def test_what_is_nested_too_deeply_is_none() -> None:
    deep = Attestation(b"x", b'{"a":' + b"[" * 3000, b"\x81" * 12_000 + b"\x00", ())

    assert read_attestation(PARTY, deep, CHALLENGE) is None
    assert challenge_of(deep.client_data) is None


def test_nobodys_key_can_be_read() -> None:
    """What fits nothing must cost what fits something."""
    from webauthn.helpers import decode_credential_public_key
    from webauthn.helpers.decoded_public_key_to_cryptography import decoded_public_key_to_cryptography

    decoded_public_key_to_cryptography(decode_credential_public_key(NOBODYS_KEY))


@pytest.mark.parametrize(
    ("public_url", "rp_id"),
    [
        ("https://latchkey.example", "latchkey.example"),
        ("https://latchkey.example:8443", "latchkey.example"),
        ("http://localhost:8080", "localhost"),
        ("http://127.0.0.1:8080", None),
        ("https://[::1]:8080", None),
        ("https://192.0.2.7", None),
    ],
)
def test_a_passkey_is_for_a_name_and_never_for_a_number(public_url: str, rp_id: str | None) -> None:
    if rp_id is None:
        with pytest.raises(PasskeysUnavailable):
            Party.at(public_url)
    else:
        assert Party.at(public_url) == Party(rp_id, public_url)
