import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vocabulary import Secret
from platforms.errors import Unreadable
from platforms.identity import (
    CLOCK_SLACK,
    IDENTITY_LIFE,
    MAX_HEADER,
    DeviceCA,
    PrivateKey,
    certificate_hash,
    make_ca,
    parse_certificate,
    sign_detached,
    verify_detached,
)
from tests.platforms import cms

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BODY = b"<plist><dict><key>Status</key><string>Idle</string></dict></plist>"
CA = make_ca("Devices", NOW)
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_CERTIFICATE = CA.issue(RSA_KEY.public_key(), "rsa", NOW)
EC_CERTIFICATE = CA.issue(EC_KEY.public_key(), "ec", NOW)
SIGNED = base64.b64decode(sign_detached(EC_KEY, EC_CERTIFICATE, BODY))

both_kinds = pytest.mark.parametrize(
    ("key", "certificate"), [(RSA_KEY, RSA_CERTIFICATE), (EC_KEY, EC_CERTIFICATE)], ids=["rsa", "ec"]
)


def issued(*, by: PrivateKey, issuer: x509.Name, usage: x509.ObjectIdentifier | None = None) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer)
        .public_key(EC_KEY.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(by, hashes.SHA256())


def ca_key() -> PrivateKey:
    return CA._key


@both_kinds
def test_what_a_device_signs_is_proven(key: PrivateKey, certificate: x509.Certificate) -> None:
    assert verify_detached(sign_detached(key, certificate, BODY), BODY) == certificate


@both_kinds
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("attributes", [False, True])
@pytest.mark.parametrize("loose", [False, True])
def test_each_hash_is_read_with_and_without_attributes_in_ber_and_der(
    key: PrivateKey, certificate: x509.Certificate, digest: str, attributes: bool, loose: bool
) -> None:
    header = cms.message(key, certificate, BODY, digest=digest, attributes=attributes, loose=loose)

    assert verify_detached(header, BODY) == certificate
    assert header.startswith("MIAG") is loose


def test_the_signer_may_be_named_by_key_id_and_lie_behind_another_certificate() -> None:
    header = cms.message(EC_KEY, EC_CERTIFICATE, BODY, by_key_id=True, others=[RSA_CERTIFICATE])

    assert verify_detached(header, BODY) == EC_CERTIFICATE


def test_an_algorithm_that_names_its_hash_is_read() -> None:
    assert verify_detached(cms.message(RSA_KEY, RSA_CERTIFICATE, BODY, algorithm="sha256_rsa"), BODY) == RSA_CERTIFICATE


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY, signers=2), "signature_not_of_one"),
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY, signers=0), "signature_not_of_one"),
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY, embedded=True), "signature_not_detached"),
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY + b" "), "signature_of_another_body"),
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY + b" ", attributes=True), "signature_of_another_body"),
        (
            lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY, attributes=True, digested=b"x"),
            "signature_of_another_body",
        ),
        (lambda: cms.message(EC_KEY, RSA_CERTIFICATE, BODY), "signature_of_another_body"),
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY, leave_out=True), "signature_without_certificate"),
        (lambda: cms.message(RSA_KEY, RSA_CERTIFICATE, BODY, digest="md5"), "signature_algorithm"),
        (lambda: cms.message(RSA_KEY, RSA_CERTIFICATE, BODY, algorithm="sha512_rsa"), "signature_algorithm"),
        (lambda: cms.message(RSA_KEY, RSA_CERTIFICATE, BODY, algorithm="rsassa_pss"), "signature_algorithm"),
        (lambda: cms.message(EC_KEY, EC_CERTIFICATE, BODY, others=[RSA_CERTIFICATE] * 8), "signature_unreadable"),
        (lambda: "A" * (MAX_HEADER + 1), "signature_too_long"),
        (lambda: "", "signature_unreadable"),
        (lambda: "é", "signature_unreadable"),
        (lambda: sign_detached(EC_KEY, EC_CERTIFICATE, BODY) + "\n", "signature_unreadable"),
        (lambda: " " + sign_detached(EC_KEY, EC_CERTIFICATE, BODY), "signature_unreadable"),
        (lambda: base64.b64encode(b"\x30\x80" * 4000).decode(), "signature_unreadable"),
    ],
)
def test_what_proves_nothing_is_unreadable(made: Callable[[], str], reason: str) -> None:
    with pytest.raises(Unreadable) as raised:
        verify_detached(made(), BODY)

    assert raised.value.reason == reason


def test_a_strangers_certificate_is_turned_away_before_its_key_is_used() -> None:
    stranger = make_ca("Strangers", NOW).issue(EC_KEY.public_key(), "stranger", NOW)
    # Over another body: whoever looks at the signature first says so.
    header = sign_detached(EC_KEY, stranger, BODY + b" ")

    with pytest.raises(Unreadable, match="certificate_not_ours"):
        verify_detached(header, BODY, lambda certificate: CA.check(certificate, NOW))


def test_a_certificate_that_comes_again_is_not_parsed_again() -> None:
    der = EC_CERTIFICATE.public_bytes(cms.Encoding.DER)

    assert parse_certificate(der) is parse_certificate(bytes(bytearray(der)))


def test_a_key_that_is_neither_rsa_nor_ec_proves_nothing() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = CA.issue(key.public_key(), "ed", NOW)  # type: ignore[arg-type]  # what a stranger might bring

    with pytest.raises(Unreadable):
        verify_detached(cms.message(EC_KEY, certificate, BODY), BODY)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_one_changed_byte_is_never_proof_of_another(place: int, change: int) -> None:
    header = bytearray(SIGNED)
    header[place] ^= change

    try:
        found = verify_detached(base64.b64encode(header).decode(), BODY)
        CA.check(found, NOW)
    except Unreadable:
        return
    # A byte that nothing is signed by (a version, a parameter beside the certificate's own signature) may differ; who
    # signed may not.
    assert found.tbs_certificate_bytes == EC_CERTIFICATE.tbs_certificate_bytes


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.b64encode(raw).decode())))
@settings(deadline=None)
def test_whatever_is_sent_as_signature_only_unreadable_comes_out(header: str) -> None:
    with pytest.raises(Unreadable):
        verify_detached(header, BODY)


@given(st.binary())
def test_whatever_is_sent_as_certificate_only_unreadable_comes_out(der: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_certificate(der)


def test_our_own_certificate_counts_exactly_as_long_as_it_says() -> None:
    first, last = NOW - CLOCK_SLACK, NOW + IDENTITY_LIFE
    a_second = timedelta(seconds=1)

    for inside in (first, NOW, last):
        CA.check(EC_CERTIFICATE, inside)
    with pytest.raises(Unreadable, match="not_yet"):
        CA.check(EC_CERTIFICATE, first - a_second)
    with pytest.raises(Unreadable, match="expired"):
        CA.check(EC_CERTIFICATE, last + a_second)


def test_a_certificate_that_was_good_once_is_still_checked_for_its_dates() -> None:
    CA.check(RSA_CERTIFICATE, NOW)

    with pytest.raises(Unreadable, match="expired"):
        CA.check(RSA_CERTIFICATE, NOW + 2 * IDENTITY_LIFE)


def test_another_ca_of_the_same_name_is_another_ca() -> None:
    other = make_ca("Devices", NOW).issue(EC_KEY.public_key(), "ec", NOW)

    with pytest.raises(Unreadable, match="not_ours"):
        CA.check(other, NOW)


def test_our_key_under_another_name_is_not_our_ca() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody")])

    with pytest.raises(Unreadable, match="not_ours"):
        CA.check(issued(by=ca_key(), issuer=name), NOW)


def test_an_empty_subject_without_usage_is_good_and_a_server_certificate_is_not() -> None:
    name = CA.certificate.subject
    CA.check(issued(by=ca_key(), issuer=name), NOW)

    with pytest.raises(Unreadable, match="not_for_clients"):
        CA.check(issued(by=ca_key(), issuer=name, usage=ExtendedKeyUsageOID.SERVER_AUTH), NOW)


def test_a_ca_comes_back_from_its_pem_and_its_key_is_never_shown() -> None:
    certificate, key = CA.pem()

    again = DeviceCA.from_pem(certificate, key)

    again.check(EC_CERTIFICATE, NOW)
    assert b"PRIVATE" in key.value
    assert "PRIVATE" not in repr(again) + repr(key)


def test_a_ca_whose_parts_do_not_fit_is_refused_without_quoting_them() -> None:
    certificate, key = CA.pem()
    _, other = make_ca("Devices", NOW).pem()

    for wrong in ((certificate, other), (certificate, Secret(b"what is this")), ("what is this", key)):
        with pytest.raises(ValueError, match=r"device CA|private key") as raised:
            DeviceCA.from_pem(*wrong)
        assert "what is this" not in str(raised.value)


def test_an_identity_never_outlives_its_ca() -> None:
    late = CA.issue(EC_KEY.public_key(), "late", CA.certificate.not_valid_after_utc - timedelta(days=1))

    assert late.not_valid_after_utc == CA.certificate.not_valid_after_utc


def test_the_hash_is_that_of_the_der() -> None:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(EC_CERTIFICATE.public_bytes(cms.Encoding.DER))

    assert certificate_hash(EC_CERTIFICATE) == digest.finalize()
