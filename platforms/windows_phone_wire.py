"""What a simulated Windows phone reads and writes: SyncML, and the document that makes it somebody's.

By hand: nothing of it is the server's.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

MIME: Final = "application/vnd.syncml.dm+xml"


class EnrollmentFailed(Exception):
    """The link or what it gave was no good; `status` where the server refused."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class Mistake(Exception):
    """What the server did, as a complaint."""


@dataclass
class Bond:
    """What the provisioning document gave."""

    provider: str
    address: str
    name: str
    """Of this phone, at the server."""
    secret: str = field(repr=False)
    nonce: bytes = field(repr=False)
    """For our next proof."""
    server_secret: str = field(repr=False)
    server_nonce: bytes = field(repr=False)
    poll: list[list[int]]
    """Minutes between two calls, and how many calls; 0 for ever."""
    certificate: bytes = field(repr=False)
    """DER."""
    key: bytes = field(repr=False)
    """PEM."""


def digest(name: str, secret: str, nonce: bytes) -> str:
    """MD5 as OMA DM has it (DM Security 1.2, section 5.3): the nonce goes in as octets."""
    inner = base64.b64encode(_md5(f"{name}:{secret}".encode()))
    return base64.b64encode(_md5(inner + b":" + nonce)).decode()


def _md5(value: bytes) -> bytes:
    return hashlib.md5(value, usedforsecurity=False).digest()


def numbers(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


def text(name: str, text: str) -> ET.Element:
    element = ET.Element(name)
    element.text = text
    return element


def named(name: str, *children: ET.Element) -> ET.Element:
    element = ET.Element(name)
    element.extend(children)
    return element


def metadata(values: Mapping[str, str]) -> ET.Element:
    meta = ET.Element("Meta")
    for name, value in values.items():
        child = ET.SubElement(meta, name, {"xmlns": "syncml:metinf"})
        child.text = value
    return meta


def item(source: str | None = None, meta: Mapping[str, str] | None = None, data: str | None = None) -> ET.Element:
    item = ET.Element("Item")
    if source is not None:
        item.append(named("Source", text("LocURI", source)))
    if meta is not None:
        item.append(metadata(meta))
    if data is not None:
        item.append(text("Data", data))
    return item


def command(name: str, number: int, *children: ET.Element) -> ET.Element:
    return named(name, text("CmdID", str(number)), *children)


def status(number: int, message: str, ref: str, name: str, code: str) -> ET.Element:
    refs = (text("MsgRef", message), text("CmdRef", ref), text("Cmd", name))
    return command("Status", number, *refs, text("Data", code))


def read(answer: bytes) -> tuple[ET.Element, list[ET.Element]]:
    """Head and body, names without their namespaces. Raises Mistake."""
    try:
        root = ET.fromstring(answer)  # noqa: S314 - a simulator hears its own server alone
    except ET.ParseError:
        raise Mistake("an answer that is no XML") from None
    if root.tag != "{SYNCML:SYNCML1.2}SyncML":
        raise Mistake("an answer that is no SyncML")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    header, body = root.find("SyncHdr"), root.find("SyncBody")
    if header is None or body is None or not len(body) or body[-1].tag != "Final":
        raise Mistake("an answer without head, body or Final")
    return header, list(body)


def flat(commands: Sequence[ET.Element]) -> Iterator[ET.Element]:
    for command in commands:
        yield command
        if command.tag in {"Sequence", "Atomic"}:
            yield from flat([part for part in command if part.tag != "CmdID"])


def bond_of(handout: bytes) -> Bond:
    """Raises EnrollmentFailed for what a phone would not install."""
    try:
        given = json.loads(handout)
        root = ET.fromstring(given["provisioning"])  # noqa: S314 - as above
        application = _below(root, "APPLICATION")
        told = _parms(application)
        proofs = {_parms(one)["AAUTHLEVEL"]: _parms(one) for one in application if one.get("type") == "APPAUTH"}
        client, server = proofs["CLIENT"], proofs["APPSRV"]
        provider = _below(root, "DMClient", "Provider", told["PROVIDER-ID"])
        key, der = _identity(base64.b64decode(given["identity"]), given["password"])
        mine = _below(root, "CertificateStore", "My", "User")
        _below(mine, "PrivateKeyContainer")
        stored = [_parms(one).get("EncodedCertificate") for one in mine]
        _must(root.tag == "wap-provisioningdoc" and told["APPID"] == "w7", "it is not of device management")
        _must(not {"ROLE", "INIT"} & told.keys(), "a phone takes no ROLE and no INIT")
        _must(base64.b64encode(der).decode() in stored, "the identity is not the certificate that it names")
        _must(bool(server["AAUTHNAME"]) and told["DEFAULTENCODING"] == MIME, "a name or an encoding is missing")
        return Bond(
            provider=told["PROVIDER-ID"],
            address=told["ADDR"],
            name=server["AAUTHNAME"],
            secret=server["AAUTHSECRET"],
            nonce=base64.b64decode(server["AAUTHDATA"], validate=True),
            server_secret=client["AAUTHSECRET"],
            server_nonce=base64.b64decode(client["AAUTHDATA"], validate=True),
            poll=_schedule(_parms(_below(provider, "Poll"))),
            certificate=der,
            key=key,
        )
    except EnrollmentFailed:
        raise
    except Exception as error:  # noqa: BLE001 - XML, JSON and PKCS#12 raise many kinds; the phone says one thing to all
        raise EnrollmentFailed(f"the document cannot be installed: {type(error).__name__}") from None


def _identity(bag: bytes, password: str) -> tuple[bytes, bytes]:
    """Key (PEM) and certificate (DER) of a PKCS#12."""
    key, certificate, _ = pkcs12.load_key_and_certificates(bag, password.encode())
    if key is None or certificate is None:
        raise EnrollmentFailed("the document cannot be installed: an identity without key or certificate")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, certificate.public_bytes(Encoding.DER)


def _must(sound: bool, why: str) -> None:
    if not sound:
        raise EnrollmentFailed(f"the document cannot be installed: {why}")


def _schedule(poll: Mapping[str, str]) -> list[list[int]]:
    """Three sets of minutes and calls; one of them, and only one, for ever."""
    names = (("First", "FirstSetOf"), ("Second", "SecondSetOf"), ("RemainingScheduled", "RemainingScheduled"))
    sets = [
        [int(poll.get(f"IntervalFor{interval}Retries", "0")), int(poll.get(f"NumberOf{number}Retries", "0"))]
        for number, interval in names
    ]
    _must(any(minutes for minutes, _ in sets), "no call would ever be made")
    return sets


def _below(element: ET.Element, *types: str) -> ET.Element:
    for kind in types:
        [element] = [one for one in element if one.tag == "characteristic" and one.get("type") == kind]
    return element


def _parms(element: ET.Element) -> dict[str, str]:
    return {parm.attrib["name"]: parm.get("value", "") for parm in element if parm.tag == "parm"}
