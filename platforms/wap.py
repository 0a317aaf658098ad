"""The document that makes a Windows phone ours: whom it trusts, whom it calls, how both prove themselves, and when.

WAP provisioning: https://learn.microsoft.com/openspecs/windows_protocols/ms-mde/35e1aca6-1b8a-48ba-bbc0-23af5d46907a
Its parts: https://learn.microsoft.com/windows/client-management/mdm/w7-application-csp (and certificatestore, dmclient)
"""

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import quote
from uuid import UUID
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from platforms.identity import PrivateKey, pack_identity

CONTENT_TYPE: Final = "application/json"
"""Of the handout; what lies in it is `DOCUMENT_TYPE`."""
DOCUMENT_TYPE: Final = "text/vnd.wap.connectivity-xml"
SYNCML: Final = "application/vnd.syncml.dm+xml"

POLL: Final[tuple[tuple[timedelta, int], ...]] = (
    (timedelta(minutes=15), 5),
    (timedelta(minutes=60), 10),
    (timedelta(minutes=1440), 0),
)
"""How long between two calls, and how often; the last for ever. Phones of 8.1 take no shorter last one than a day."""
_SETS: Final = (
    ("NumberOfFirstRetries", "IntervalForFirstSetOfRetries"),
    ("NumberOfSecondRetries", "IntervalForSecondSetOfRetries"),
    ("NumberOfRemainingScheduledRetries", "IntervalForRemainingScheduledRetries"),
)
LONGEST_NAME: Final = 64


def handout(
    *,
    provider_id: str,
    name: str,
    address: str,
    ca: x509.Certificate,
    key: PrivateKey,
    certificate: x509.Certificate,
    enrollment_id: UUID,
    client_secret: str,
    client_nonce: bytes,
    server_secret: str,
    server_nonce: bytes,
) -> bytes:
    """What an opened link gives. Holds the phone's key and secrets: never logged, never cached.

    The document has a place for certificates alone; a phone makes its key itself and asks for a certificate. Until that
    road is built, the key lies beside the document, as PKCS#12.
    """
    password = secrets.token_urlsafe(24)
    document = provisioning_document(
        provider_id=provider_id,
        name=name,
        address=address,
        ca=ca,
        certificate=certificate,
        enrollment_id=enrollment_id,
        client_secret=client_secret,
        client_nonce=client_nonce,
        server_secret=server_secret,
        server_nonce=server_nonce,
    )
    return json.dumps(
        {
            "provisioning": document.decode(),
            "identity": base64.b64encode(pack_identity(key, certificate, password)).decode(),
            "password": password,
        }
    ).encode()


def provisioning_document(
    *,
    provider_id: str,
    name: str,
    address: str,
    ca: x509.Certificate,
    certificate: x509.Certificate,
    enrollment_id: UUID,
    client_secret: str,
    client_nonce: bytes,
    server_secret: str,
    server_nonce: bytes,
) -> bytes:
    """`client_*` prove the server to the phone, `server_*` the phone to the server, whose name there is the bond's id.

    Raises ValueError for a provider id that is more than letters and digits: it becomes a node's name.
    """
    if not (provider_id.isascii() and provider_id.isalnum()):
        raise ValueError("the provider id must be of ASCII letters and digits")
    root = ET.Element("wap-provisioningdoc", version="1.1")
    _certificates(root, ca, certificate)
    application = _below(root, "APPLICATION")
    _parms(
        application,
        {
            "APPID": "w7",
            "PROVIDER-ID": provider_id,
            "NAME": "".join(sign for sign in name if sign.isprintable())[:LONGEST_NAME],
            "ADDR": address,
            "CONNRETRYFREQ": "6",
            "INITIALBACKOFFTIME": "30000",
            "MAXBACKOFFTIME": "120000",
        },
    )
    ET.SubElement(application, "parm", name="BACKCOMPATRETRYDISABLED")
    _parms(
        application,
        {"DEFAULTENCODING": SYNCML, "SSLCLIENTCERTSEARCHCRITERIA": f"Subject={_subject(certificate)}&Stores=My%5CUser"},
    )
    _proof(application, "CLIENT", None, client_secret, client_nonce)
    _proof(application, "APPSRV", str(enrollment_id), server_secret, server_nonce)
    provider = _below(root, "DMClient", "Provider", provider_id)
    # Renewal asks for it, and it names the phone in support's logs.
    _parms(provider, {"EntDMID": str(enrollment_id)})
    poll = _below(provider, "Poll")
    for (interval, count), (number, minutes) in zip(POLL, _SETS, strict=True):
        _integer(poll, number, count)
        _integer(poll, minutes, interval // timedelta(minutes=1))
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=False)
    return document


def _certificates(root: ET.Element, ca: x509.Certificate, certificate: x509.Certificate) -> None:
    store = _below(root, "CertificateStore")
    _certificate(_below(store, "Root", "System"), ca)
    mine = _below(store, "My", "User")
    _certificate(mine, certificate)
    # Empty, and refused without it: the key is where the phone keeps it.
    _below(mine, "PrivateKeyContainer")


def _certificate(parent: ET.Element, certificate: x509.Certificate) -> None:
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a node's name, and proves nothing
    encoded = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    _parms(_below(parent, thumbprint), {"EncodedCertificate": encoded})


def _subject(certificate: x509.Certificate) -> str:
    """As it was issued: by it the phone finds the certificate to show."""
    return quote(certificate.subject.rfc4514_string(), safe="")


def _proof(application: ET.Element, level: str, name: str | None, secret: str, nonce: bytes) -> None:
    given = {"AAUTHLEVEL": level, "AAUTHTYPE": "DIGEST"}
    if name is not None:
        given["AAUTHNAME"] = name
    given |= {"AAUTHSECRET": secret, "AAUTHDATA": base64.b64encode(nonce).decode()}
    _parms(_below(application, "APPAUTH"), given)


def _below(parent: ET.Element, *types: str) -> ET.Element:
    for kind in types:
        parent = ET.SubElement(parent, "characteristic", type=kind)
    return parent


def _parms(parent: ET.Element, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        ET.SubElement(parent, "parm", name=name, value=value)


def _integer(parent: ET.Element, name: str, value: int) -> None:
    ET.SubElement(parent, "parm", name=name, value=str(value), datatype="integer")
