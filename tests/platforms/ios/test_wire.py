import contextlib
import plistlib
import struct
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vocabulary import Ownership
from platforms.errors import Unreadable
from platforms.identity import pack_identity
from platforms.ios import wire
from tests.platforms.ios.world import AUTHENTICATE, CA, ENROLLMENT, IDLE, NOW, TOKEN_UPDATE, TOPIC, UDID, UNLOCK_TOKEN

ME = {"UDID": UDID}
SENDER = wire.Sender(UDID, by_person=False)

plist_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=12,
)
keys = st.sampled_from(
    ("MessageType", "Status", "UDID", "EnrollmentID", "Topic", "Token", "PushMagic", "UnlockToken", "CommandUUID")
)
words = st.sampled_from(["Authenticate", "TokenUpdate", "CheckOut", "Idle", "Error", "NotNow", UDID, TOPIC])


def dumped(values: dict[str, Any], *, binary: bool = False) -> bytes:
    return plistlib.dumps(values, fmt=plistlib.FMT_BINARY if binary else plistlib.FMT_XML)


def overlapping() -> bytes:
    """A binary plist whose 200 arrays are all the same 60 kB of file: small to send, vast to hold."""
    many, size = 200, 60_000
    body = b"bplist00" + b"\xaf\x11" + struct.pack(">H", size) + bytes([1]) * size
    table = len(body)
    return body + struct.pack(">I", 8) * many + struct.pack(">6xBBQQQ", 4, 1, many, 0, table)


def holding_itself() -> bytes:
    body = b"bplist00" + b"\xd1\x01\x00" + b"\x51a"
    return body + bytes([8, 11]) + struct.pack(">6xBBQQQ", 1, 1, 2, 0, len(body))


@pytest.mark.parametrize("binary", [False, True])
def test_both_kinds_of_plist_are_read(binary: bool) -> None:
    assert wire.parse_check_in(dumped({**ME, **TOKEN_UPDATE}, binary=binary)) == (
        SENDER,
        wire.TokenUpdate(TOPIC, bytes(range(32)), 'magic "quoted"', UNLOCK_TOKEN),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not a plist",
        b"bplist00",
        b"bplist00" + bytes(40),
        b'<?xml version="1.0"?><plist><dict>',
        dumped({})[:-10],
        plistlib.dumps(["a", "list"]),
        plistlib.dumps("a string"),
        b'<!DOCTYPE plist [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><plist><dict><key>&b;</key><true/></dict></plist>',
        b"<plist><dict><key>a</key>" + b"<array>" * 5000 + b"</array>" * 5000 + b"</dict></plist>",
        b"<plist><dict><key>a</key>" + b"<array>" * 40 + b"</array>" * 40 + b"</dict></plist>",
        b"<plist><dict><key>a</key><integer>" + b"9" * 10_000 + b"</integer></dict></plist>",
        dumped({"a": b"x" * wire.MAX_BODY}),
        overlapping(),
    ],
    ids=range(14),
)
def test_what_is_no_sound_plist_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        wire.parse_plist(body)


def test_a_plist_that_holds_itself_is_measured_and_ends() -> None:
    assert set(wire.parse_plist(holding_itself())) == {"a"}


@pytest.mark.parametrize("depth", [30, 31])
def test_ordinary_depth_is_read(depth: int) -> None:
    value: object = []
    for _ in range(depth - 2):
        value = [value]

    assert "a" in wire.parse_plist(dumped({"a": value}))


def test_authenticate_needs_no_more_than_who_and_for_what() -> None:
    body = dumped({"MessageType": "Authenticate", "Topic": TOPIC, "EnrollmentID": "E1"})

    assert wire.parse_check_in(body) == (wire.Sender("E1", by_person=True), wire.Authenticate(TOPIC))


def test_authenticate_says_what_the_device_is_and_strange_words_are_left_out() -> None:
    body = dumped({**ME, **AUTHENTICATE, "SerialNumber": "line\nbreak", "OSVersion": 18})

    assert wire.parse_check_in(body)[1] == wire.Authenticate(TOPIC, None, "iPhone14,5", None)


@pytest.mark.parametrize(
    "change",
    [
        {"Token": b""},
        {"Token": "text"},
        {"Token": b"x" * 300},
        {"PushMagic": ""},
        {"PushMagic": b"data"},
        {"UnlockToken": b""},
        {"UnlockToken": "text"},
        {"UnlockToken": b"x" * (wire.MAX_UNLOCK_TOKEN + 1)},
        {"Topic": 7},
        {"UDID": ""},
        {"UDID": "a\nb"},
        {"UDID": "x" * 300},
        {"MessageType": 7},
        {"Status": "Idle"},
    ],
)
def test_a_token_update_with_a_broken_part_is_unreadable(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        wire.parse_check_in(dumped({**ME, **TOKEN_UPDATE, **change}))


def test_a_control_character_that_only_a_binary_plist_can_hold_names_nobody() -> None:
    with pytest.raises(Unreadable, match="no_device_id"):
        wire.parse_result(dumped({**IDLE, "UDID": "a\0b"}, binary=True))


def test_broken_base64_is_no_token() -> None:
    body = dumped({**ME, **TOKEN_UPDATE, "Token": b"TOKENTOKEN"}).replace(b"VE9LRU5UT0tFTg==", b"!")

    with pytest.raises(Unreadable):
        wire.parse_check_in(body)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"MessageType": "UserAuthenticate"}, 410),
        ({"MessageType": "GetToken"}, 400),
        ({"MessageType": "DeclarativeManagement"}, 400),
        ({"MessageType": "SetBootstrapToken"}, 400),
        ({"MessageType": "Whatever"}, 400),
        ({**TOKEN_UPDATE, "UserID": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, 410),
        ({**TOKEN_UPDATE, "EnrollmentUserID": "someone"}, 410),
    ],
)
def test_what_we_take_no_part_in_is_declined(values: dict[str, Any], status: int) -> None:
    assert wire.parse_check_in(dumped({**ME, **values})) == (SENDER, wire.Declined(status))


def test_a_users_channel_is_declined_for_commands_too() -> None:
    assert wire.parse_result(dumped({**ME, **IDLE, "UserID": "someone"})) == (SENDER, wire.Declined(410))


def test_idle_names_no_command() -> None:
    assert wire.parse_result(dumped({**ME, **IDLE, "CommandUUID": "left over"})) == (SENDER, wire.Result("Idle"))


def test_an_error_brings_its_chain_in_codes_and_domains_alone() -> None:
    chain = [
        {"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "Ungültig"},
        {"ErrorCode": 5013, "ErrorDomain": "MCPasscodeErrorDomain"},
        {"ErrorCode": True, "ErrorDomain": "MCMDMErrorDomain"},
        {"ErrorCode": 1, "ErrorDomain": "<script>"},
        "nothing",
    ]
    body = dumped({**ME, "Status": "Error", "CommandUUID": "c1", "ErrorChain": chain})

    assert wire.parse_result(body)[1] == wire.Result(
        "Error", "c1", (wire.Error(12021, "MCMDMErrorDomain"), wire.Error(5013, "MCPasscodeErrorDomain"))
    )


@pytest.mark.parametrize("values", [{}, {"Status": 7}, {"Status": "Idle", "MessageType": "CheckOut"}])
def test_a_result_without_a_sound_status_is_unreadable(values: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        wire.parse_result(dumped({**ME, **values}))


def test_the_unlock_token_comes_back_byte_for_byte() -> None:
    assert plistlib.loads(wire.clear_passcode("c1", UNLOCK_TOKEN)) == {
        "CommandUUID": "c1",
        "Command": {"RequestType": "ClearPasscode", "UnlockToken": UNLOCK_TOKEN},
    }


def test_a_persons_own_device_keeps_passcode_removal_and_not_erasing() -> None:
    assert wire.rights(Ownership.CORPORATE) == 8191
    assert wire.rights(Ownership.PERSONAL) & 4
    assert wire.rights(Ownership.PERSONAL) == 8191 - 8


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_the_profile_names_its_identity_and_the_identity_opens(kind: str) -> None:
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    certificate = CA.issue(key.public_key(), "phone", NOW)

    profile = plistlib.loads(
        wire.enrollment_profile(
            enrollment_id=ENROLLMENT,
            identifier="org.example.latchkey",
            organization="Example & Co <x>",
            topic=TOPIC,
            base_url="https://latchkey.example.org/devices/ios",
            access_rights=8183,
            sign_message=True,
            identity=pack_identity(key, certificate, "p"),
            password="p",
        )
    )

    identity, mdm = profile["PayloadContent"]
    assert pkcs12.load_key_and_certificates(identity["PayloadContent"], b"p")[1] == certificate
    assert mdm["IdentityCertificateUUID"] == identity["PayloadUUID"]
    assert (mdm["ServerURL"], mdm["CheckInURL"]) == (
        "https://latchkey.example.org/devices/ios/command",
        "https://latchkey.example.org/devices/ios/checkin",
    )
    assert (mdm["Topic"], mdm["AccessRights"], mdm["SignMessage"]) == (TOPIC, 8183, True)
    assert mdm["CheckOutWhenRemoved"] is True
    assert "UseDevelopmentAPNS" not in mdm
    assert len({part["PayloadUUID"] for part in (profile, identity, mdm)}) == 3
    # PBESv1 with SHA-1 and 3DES: pkcs-12PbeWithSHAAnd3-KeyTripleDES-CBC.
    assert bytes.fromhex("060a2a864886f70d010c0103") in identity["PayloadContent"]


def _only_unreadable(body: bytes) -> None:
    for parse in (wire.parse_check_in, wire.parse_result):
        try:
            parse(body)
        except Unreadable:
            continue


@given(st.binary())
def test_whatever_bytes_are_sent_only_unreadable_comes_out(body: bytes) -> None:
    _only_unreadable(body)
    _only_unreadable(b"bplist00" + body)


@given(st.dictionaries(keys, st.one_of(words, plist_values)), st.booleans())
@settings(deadline=None)
def test_whatever_values_are_sent_only_unreadable_comes_out(values: dict[str, Any], binary: bool) -> None:
    try:
        body = dumped({**ME, **values}, binary=binary)
    except (ValueError, OverflowError):
        return  # plistlib writes no control characters
    _only_unreadable(body)


@given(st.integers(0, 400), st.integers(0, 255), st.booleans())
@settings(deadline=None)
def test_a_changed_byte_brings_out_nothing_but_unreadable(place: int, byte: int, binary: bool) -> None:
    body = bytearray(dumped({**ME, **TOKEN_UPDATE, "UnlockToken": b"u"}, binary=binary))
    body[place % len(body)] = byte

    _only_unreadable(bytes(body))


ROOM = wire.MAX_BODY - 400


def xml(inner: bytes) -> bytes:
    return b'<?xml version="1.0"?><plist version="1.0"><dict>' + inner + b"</dict></plist>"


@pytest.mark.parametrize(
    "body",
    [
        xml(b"<key>a</key><array>" + b"<true/>" * (ROOM // 7) + b"</array>"),
        xml(b"<key/><a/>" * (ROOM // 10)),
        xml(b"<key>a</key><array>" + b"<true/>" * (wire.MAX_VALUES - 10) + b"</array>"),
        xml(b"<key>" + b"\n" * ROOM + b"</key><true/>"),
        xml(b"<key>a</key><data>" + b"A" * ROOM + b"</data>"),
        xml(b"<key>" + b"&#65;" * (ROOM // 5) + b"</key><true/>"),
        xml(b"<key>&" + b"a" * ROOM + b";</key><true/>"),
        xml(b"<!--" + b"-> " * (ROOM // 3) + b"-->"),
        b'<plist a="' + b"x" * ROOM + b'"><dict/></plist>',
        b'<plist version="' + b">" * ROOM + b'"><dict/></plist>',
        b"<?xml " + b" " * ROOM,
        dumped({str(number): [] for number in range(1_900)}, binary=True),
        dumped({str(number): [] for number in range(30_000)}, binary=True),
    ],
    ids=range(13),
)
def test_no_body_holds_the_loop_for_long(body: bytes) -> None:
    assert len(body) <= wire.MAX_BODY
    began = time.process_time()
    with contextlib.suppress(Unreadable):
        wire.parse_plist(body)

    # 35 ms on an idle machine; unbounded, each took up to a second.
    assert time.process_time() - began < 0.2


def test_the_longest_unlock_token_is_read() -> None:
    token = b"\xff" * wire.MAX_UNLOCK_TOKEN
    _, message = wire.parse_check_in(dumped({**ME, **TOKEN_UPDATE, "UnlockToken": token}))

    assert isinstance(message, wire.TokenUpdate)
    assert message.unlock_token == token
