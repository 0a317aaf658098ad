"""CMS messages as devices make them and as nobody should, by hand: the reader is not tested by itself."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding

from platforms.identity import PrivateKey

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - what devices send
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "md5": hashes.MD5(),  # noqa: S303 - what must be refused
}


def message(
    key: PrivateKey,
    certificate: x509.Certificate,
    body: bytes,
    *,
    digest: str = "sha256",
    attributes: bool = False,
    digested: bytes | None = None,
    signers: int = 1,
    embedded: bool = False,
    by_key_id: bool = False,
    algorithm: str | None = None,
    others: Sequence[x509.Certificate] = (),
    leave_out: bool = False,
    loose: bool = False,
) -> str:
    certificates = [*others, *([] if leave_out else [certificate])]
    one = _signer(key, certificate, body, digest, attributes, digested, by_key_id, algorithm)
    content = cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": cms.SignedData(
                {
                    "version": "v1",
                    "digest_algorithms": [{"algorithm": digest}],
                    "encap_content_info": {"content_type": "data", **({"content": body} if embedded else {})},
                    "certificates": [_asn1(each) for each in certificates],
                    "signer_infos": [one] * signers,
                }
            ),
        }
    ).dump()
    return base64.b64encode(_loosened(content) if loose else content).decode()


def _signer(
    key: PrivateKey,
    certificate: x509.Certificate,
    body: bytes,
    digest: str,
    attributes: bool,
    digested: bytes | None,
    by_key_id: bool,
    algorithm: str | None,
) -> dict[str, Any]:
    asn1 = _asn1(certificate)
    signer: dict[str, Any] = {
        "version": "v1",
        "sid": cms.SignerIdentifier("subject_key_identifier", asn1.key_identifier)
        if by_key_id
        else cms.SignerIdentifier(
            "issuer_and_serial_number", {"issuer": asn1.issuer, "serial_number": asn1.serial_number}
        ),
        "digest_algorithm": {"algorithm": digest},
    }
    signed = body
    if attributes:
        value = digested or hashlib.new(digest, body, usedforsecurity=False).digest()
        signed_attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["data"]},
                {"type": "message_digest", "values": [value]},
            ]
        )
        signer["signed_attrs"] = signed_attributes
        signed = signed_attributes.dump()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signer["signature"] = key.sign(signed, ec.ECDSA(HASHES[digest]))
        signer["signature_algorithm"] = {"algorithm": algorithm or f"{digest}_ecdsa"}
    else:
        signer["signature"] = key.sign(signed, padding.PKCS1v15(), HASHES[digest])
        signer["signature_algorithm"] = {"algorithm": algorithm or "rsassa_pkcs1v15"}
    return signer


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _loosened(der: bytes, depth: int = 0) -> bytes:
    """The same in BER with indefinite lengths, as devices send it: outside in, certificates and signers untouched."""
    loose = bytearray()
    place = 0
    while place < len(der):
        tag, start, end = _next(der, place)
        if tag & 0x20 and depth <= 3:
            loose += bytes([tag, 0x80]) + _loosened(der[start:end], depth + 1) + b"\0\0"
        else:
            loose += der[place:end]
        place = end
    return bytes(loose)


def _next(der: bytes, place: int) -> tuple[int, int, int]:
    length, start = der[place + 1], place + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size]), start + size
    return der[place], start, start + length
