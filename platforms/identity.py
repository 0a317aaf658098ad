"""Device identity: certificates of our own CA, and the CMS signatures (RFC 5652) that prove them. Pure, shared."""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Self

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from models.vocabulary import Secret
from platforms.errors import Unreadable

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

IDENTITY_LIFE: Final = timedelta(days=5 * 365)
CA_LIFE: Final = timedelta(days=20 * 365)
CLOCK_SLACK: Final = timedelta(hours=1)
"""Certificates begin this much early: the first to look at one may be a little behind."""

MAX_HEADER: Final = 16 * 1024
"""A signature with its certificate takes about 2 KB; a short chain with large keys still fits."""
MAX_CERTIFICATES: Final = 8
REMEMBERED: Final = 4096
"""Certificates whose chain was checked are not checked again; their dates are."""
LONGEST_REMEMBERED: Final = 4096
"""Bytes of a certificate that is kept parsed: strangers' cannot fill the memory. Ours have less than 1 KB."""

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    # Devices in the field still sign with SHA-1. A forger would need a second preimage of a body, not a collision.
    "sha1": hashes.SHA1(),  # noqa: S303 - as said above
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def certificate_hash(certificate: x509.Certificate) -> bytes:
    """What ties a certificate to an enrollment: SHA-256 of its DER."""
    return certificate.fingerprint(hashes.SHA256())


def parse_certificate(der: bytes) -> x509.Certificate:
    """Raises Unreadable."""
    try:
        return _parsed(der) if len(der) <= LONGEST_REMEMBERED else x509.load_der_x509_certificate(der)
    except ValueError:
        raise Unreadable("certificate_unreadable") from None


@lru_cache(maxsize=1024)
def _parsed(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


class KeyType(StrEnum):
    """Of the identities we make. RSA is what every device reads; P-256 is made in no time."""

    RSA = "rsa"
    EC = "ec"


class DeviceCA:
    """Issues device identities and knows its own again. Safe to share between threads."""

    def __init__(self, certificate: x509.Certificate, key: PrivateKey) -> None:
        """Raises ValueError when the two do not belong together."""
        if certificate.public_key() != key.public_key():
            raise ValueError("the device CA's certificate and key do not belong together")
        self.certificate = certificate
        self._key = key
        self._issued_by_us = lru_cache(maxsize=REMEMBERED)(self._check_chain)

    @classmethod
    def from_pem(cls, certificate: str, key: Secret) -> Self:
        """Raises ValueError, which never quotes the key."""
        try:
            loaded = x509.load_pem_x509_certificate(certificate.encode())
        except ValueError:
            raise ValueError("the device CA's certificate is not a PEM certificate") from None
        return cls(loaded, load_private_key(key))

    def pem(self) -> tuple[str, Secret]:
        """Certificate and key, as `from_pem` takes them."""
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode(), Secret(key)

    def issue(self, public_key: PublicKey, name: str, now: datetime) -> x509.Certificate:
        """A client certificate: what it may do and for how long is decided here, never by who asks."""
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SLACK)
            .not_valid_after(min(now + IDENTITY_LIFE, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def check(self, certificate: x509.Certificate, now: datetime) -> None:
        """Raises Unreadable unless we issued it, for a client, and it is valid at `now`."""
        self._issued_by_us(certificate)
        if now < certificate.not_valid_before_utc:
            raise Unreadable("certificate_not_yet_valid")
        if now > certificate.not_valid_after_utc:
            raise Unreadable("certificate_expired")

    def _check_chain(self, certificate: x509.Certificate) -> None:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except Exception:  # noqa: BLE001 - whatever a stranger's certificate trips over, it is not ours
            raise Unreadable("certificate_not_ours") from None
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            return
        except (ValueError, x509.DuplicateExtension):
            raise Unreadable("certificate_unreadable") from None
        if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
            raise Unreadable("certificate_not_for_clients")


def make_ca(name: str, now: datetime) -> DeviceCA:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(digital_signature=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return DeviceCA(certificate, key)


def new_key(kind: KeyType) -> PrivateKey:
    if kind is KeyType.EC:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pack_identity(key: PrivateKey, certificate: x509.Certificate, password: str) -> bytes:
    """PKCS#12 as every device's parser reads it: older ones know 3DES and SHA-1 alone.

    That wrapper protects nothing; what is handed out around it is the secret.
    """
    wrapping = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2048)
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA1())  # noqa: S303 - as the docstring says
        .build(password.encode())
    )
    return pkcs12.serialize_key_and_certificates(b"device", key, certificate, None, wrapping)


def load_private_key(pem: Secret) -> PrivateKey:
    """An RSA or EC key in PEM, unencrypted. Raises ValueError, which never quotes it."""
    try:
        key = serialization.load_pem_private_key(pem.value, password=None)
    except (ValueError, TypeError):
        raise ValueError("the private key is not an unencrypted PEM key") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("the private key is neither RSA nor EC")  # noqa: TRY004 - a setting's value, not a type
    return key


def sign_detached(key: PrivateKey, certificate: x509.Certificate, body: bytes) -> str:
    """The device's side: base64 of a detached CMS signature over `body`, without signed attributes."""
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(body)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(
            serialization.Encoding.DER,
            [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoAttributes],
        )
    )
    return base64.b64encode(signature).decode()


def verify_detached(
    header: str, body: bytes, ours: Callable[[x509.Certificate], object] = lambda _: None
) -> x509.Certificate:
    """Who signed these exact bytes. Raises Unreadable.

    `ours` raises it for a certificate that is not (`DeviceCA.check`), and is asked before the body is looked at and
    before the certificate's key is used.
    """
    if len(header) > MAX_HEADER:
        raise Unreadable("signature_too_long")
    try:
        certificate, public_key, signature, signed, algorithm = _signed(
            base64.b64decode(header, validate=True), body, ours
        )
        _verify(public_key, signature, signed, algorithm)
    except Unreadable:
        raise
    except InvalidSignature:
        raise Unreadable("signature_of_another_body") from None
    except Exception:  # noqa: BLE001 - a parser of strangers' bytes: whatever it trips over, nothing was proven
        raise Unreadable("signature_unreadable") from None
    return certificate


def _signed(
    message: bytes, body: bytes, ours: Callable[[x509.Certificate], object]
) -> tuple[x509.Certificate, Any, bytes, bytes, hashes.HashAlgorithm]:
    """Certificate, its key, the signature, what it must be over, and the hash (RFC 5652 section 5)."""
    content = cms.ContentInfo.load(message, strict=True)
    if content["content_type"].native != "signed_data":
        raise Unreadable("signature_unreadable")
    data = content["content"]
    if data["encap_content_info"]["content"].native is not None:
        raise Unreadable("signature_not_detached")
    if len(data["signer_infos"]) != 1:
        raise Unreadable("signature_not_of_one")
    signer = data["signer_infos"][0]
    name = signer["digest_algorithm"]["algorithm"].native
    if name not in _HASHES:
        raise Unreadable("signature_algorithm")
    _same_hash(signer["signature_algorithm"], name)
    certificate = parse_certificate(_certificate_of(signer["sid"], data["certificates"]))
    ours(certificate)
    attributes = signer["signed_attrs"]
    signed = body if attributes.native is None else _attributes(attributes, body, name)
    return certificate, certificate.public_key(), signer["signature"].native, signed, _HASHES[name]


def _same_hash(algorithm: Any, digest: str) -> None:
    """The signature's algorithm may leave its hash out (plain rsaEncryption); it may not name another, nor RSA-PSS."""
    name: str = algorithm["algorithm"].native
    named = name.removesuffix("_rsa").removesuffix("_ecdsa")
    if name not in {"rsassa_pkcs1v15", "rsa", "ec", "ecdsa"} and named != digest:
        raise Unreadable("signature_algorithm")


def _certificate_of(signer: Any, certificates: Any) -> bytes:
    """The certificate that the signer names, wherever it lies among the others."""
    if len(certificates) > MAX_CERTIFICATES:
        raise Unreadable("signature_unreadable")
    for choice in certificates:
        if choice.name != "certificate":
            continue
        certificate = choice.chosen
        if signer.name == "issuer_and_serial_number":
            inner, wanted = certificate["tbs_certificate"], signer.chosen
            if inner["serial_number"].native != wanted["serial_number"].native:
                continue
            found = inner["issuer"].dump() == wanted["issuer"].dump()
        else:
            found = certificate.key_identifier is not None and certificate.key_identifier == signer.chosen.native
        if found:
            der: bytes = certificate.dump()
            return der
    raise Unreadable("signature_without_certificate")


def _attributes(attributes: Any, body: bytes, digest_name: str) -> bytes:
    """Signed attributes stand for the body: they hold its digest, and are signed as the SET they are in DER (5.4)."""
    values = {attribute["type"].native: attribute["values"] for attribute in attributes}
    if len(values) != len(attributes) or "content_type" not in values or "message_digest" not in values:
        raise Unreadable("signature_attributes")
    kind, digest = values["content_type"], values["message_digest"]
    hasher = hashes.Hash(_HASHES[digest_name])
    hasher.update(body)
    if [value.native for value in kind] != ["data"] or [value.native for value in digest] != [hasher.finalize()]:
        raise Unreadable("signature_of_another_body")
    raw: bytes = attributes.dump()
    if raw[1] == 0x80:
        raise Unreadable("signature_attributes")
    return b"\x31" + raw[1:]


def _verify(key: Any, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm) -> None:
    match key:
        case rsa.RSAPublicKey():
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePublicKey():
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case _:
            raise Unreadable("signature_algorithm")


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _key_usage(*, digital_signature: bool) -> x509.KeyUsage:
    """A device signs; the CA signs certificates, and nothing else."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=not digital_signature,
        crl_sign=not digital_signature,
        content_commitment=False,
        key_encipherment=digital_signature,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
