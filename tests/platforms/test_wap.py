"""The provisioning document is what a phone would take, and holds secrets that nobody else has."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from platforms import wap
from platforms.identity import make_ca

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ID = UUID("0193b5f0-0000-7000-8000-000000000001")
CA = make_ca("Devices", NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = CA.issue(KEY.public_key(), str(ID), NOW)
GIVEN: dict[str, Any] = {
    "provider_id": "Latchkey",
    "name": "Acme",
    "address": f"https://latchkey.example/devices/wp81/dm/{ID}",
    "ca": CA.certificate,
    "certificate": CERTIFICATE,
    "enrollment_id": ID,
    "client_secret": "to the phone",
    "client_nonce": b"\xf0\xf1\xf2",
    "server_secret": "to the server",
    "server_nonce": b"\x00\xff\x80",
}


def document(**changes: Any) -> ET.Element:
    return ET.fromstring(wap.provisioning_document(**{**GIVEN, **changes}))  # noqa: S314 - our own bytes


def below(element: ET.Element, *types: str) -> ET.Element:
    for kind in types:
        (element,) = [one for one in element.findall("characteristic") if one.get("type") == kind]
    return element


def parms(element: ET.Element) -> dict[str, str | None]:
    return {parm.attrib["name"]: parm.get("value") for parm in element.findall("parm")}


def thumbprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name


def test_the_root_and_the_phones_own_certificate_lie_under_their_thumbprints() -> None:
    store = below(document(), "CertificateStore")

    for place, certificate in ((("Root", "System"), CA.certificate), (("My", "User"), CERTIFICATE)):
        encoded = parms(below(store, *place, thumbprint(certificate)))["EncodedCertificate"]
        assert encoded is not None
        assert "\n" not in encoded
        assert base64.b64decode(encoded) == certificate.public_bytes(Encoding.DER)
    assert list(below(store, "My", "User", "PrivateKeyContainer")) == []


def test_the_phone_is_told_whom_to_call_and_in_which_spelling() -> None:
    application = below(document(), "APPLICATION")
    told = parms(application)

    assert (told["APPID"], told["PROVIDER-ID"], told["NAME"]) == ("w7", "Latchkey", "Acme")
    assert told["ADDR"] == GIVEN["address"]
    assert told["DEFAULTENCODING"] == "application/vnd.syncml.dm+xml"
    assert told["SSLCLIENTCERTSEARCHCRITERIA"] == f"Subject=CN%3D{ID}&Stores=My%5CUser"
    assert "BACKCOMPATRETRYDISABLED" in told
    assert told["BACKCOMPATRETRYDISABLED"] is None
    assert not {"ROLE", "INIT"} & told.keys()


def test_both_sides_prove_themselves_with_secrets_of_their_own() -> None:
    application = below(document(), "APPLICATION")
    client, server = (parms(one) for one in application.findall("characteristic") if one.get("type") == "APPAUTH")

    assert client == {
        "AAUTHLEVEL": "CLIENT",
        "AAUTHTYPE": "DIGEST",
        "AAUTHSECRET": "to the phone",
        "AAUTHDATA": "8PHy",
    }
    assert server == {
        "AAUTHLEVEL": "APPSRV",
        "AAUTHTYPE": "DIGEST",
        "AAUTHNAME": str(ID),
        "AAUTHSECRET": "to the server",
        "AAUTHDATA": "AP+A",
    }


def test_the_phone_calls_five_times_each_quarter_then_ten_times_each_hour_then_daily_for_ever() -> None:
    poll = below(document(), "DMClient", "Provider", "Latchkey", "Poll")

    assert parms(poll) == {
        "NumberOfFirstRetries": "5",
        "IntervalForFirstSetOfRetries": "15",
        "NumberOfSecondRetries": "10",
        "IntervalForSecondSetOfRetries": "60",
        "NumberOfRemainingScheduledRetries": "0",
        "IntervalForRemainingScheduledRetries": "1440",
    }
    assert {parm.get("datatype") for parm in poll} == {"integer"}


def test_only_the_last_set_of_calls_is_for_ever_and_a_phone_of_8_1_takes_it() -> None:
    # Two infinite sets are one: the later is dropped. None is undefined.
    assert [count == 0 for _, count in wap.POLL] == [False, False, True]
    assert wap.POLL[-1][0] >= timedelta(days=1)


@pytest.mark.parametrize("words", ["<&>\"' Ünïcode ]]>", "tab\tand\x00null\x1b", "", "x" * 500])
def test_whatever_the_organization_is_called_the_document_is_whole(words: str) -> None:
    name = parms(below(document(name=words), "APPLICATION"))["NAME"]

    assert name == "".join(sign for sign in words if sign.isprintable())[: wap.LONGEST_NAME]


@pytest.mark.parametrize("secret", ["a&<Z>\"9'", "]]>", "&amp;"])
def test_secrets_come_through_as_they_are(secret: str) -> None:
    application = below(document(client_secret=secret, server_secret=secret), "APPLICATION")

    assert [parms(one)["AAUTHSECRET"] for one in application.findall("characteristic")] == [secret, secret]


@pytest.mark.parametrize("provider_id", ["", "Latch key", "Latch/key", "Lätchkey", "<x>"])
def test_a_provider_that_cannot_be_a_nodes_name_is_refused(provider_id: str) -> None:
    with pytest.raises(ValueError, match="provider id"):
        wap.provisioning_document(**{**GIVEN, "provider_id": provider_id})


def test_the_handout_brings_the_key_beside_the_document_and_its_password_is_new_each_time() -> None:
    first, second = (json.loads(wap.handout(key=KEY, **GIVEN)) for _ in range(2))

    assert first["provisioning"].encode() == wap.provisioning_document(**GIVEN)
    assert first["password"] != second["password"]
    key, certificate, _ = pkcs12.load_key_and_certificates(
        base64.b64decode(first["identity"]), first["password"].encode()
    )
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.private_numbers() == KEY.private_numbers()
    assert certificate == CERTIFICATE


def test_the_document_itself_holds_no_private_key() -> None:
    private = KEY.private_numbers().private_value.to_bytes(32, "big")
    raw = base64.b64encode(private)[:40]

    assert raw not in wap.provisioning_document(**GIVEN)
