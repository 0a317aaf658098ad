"""Apple MDM on the wire: bytes ↔ values, and nothing is decided here.

Check-in: https://developer.apple.com/documentation/devicemanagement/check-in
Commands: https://developer.apple.com/documentation/devicemanagement/commands-and-queries
Profiles: https://developer.apple.com/documentation/devicemanagement/configuring-multiple-devices-using-profiles
"""

import plistlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid5

from models.vocabulary import Ownership
from platforms.errors import Unreadable

CHECK_IN: Final = "application/x-apple-aspen-mdm-checkin"
COMMAND: Final = "application/x-apple-aspen-mdm"
PROFILE: Final = "application/x-apple-aspen-config"
PLIST: Final = "application/xml; charset=UTF-8"

MAX_BODY: Final = 1024 * 1024
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000
"""And as many tags. Real messages have some dozen; so many take the parser 30 ms, a body full of them half a second."""
MAX_OBJECTS: Final = 4_000
"""Of a binary plist, whose parser takes longer for each."""
MAX_LINES: Final = 10_000
"""And entities: expat hands each over by itself."""
MAX_WORD: Final = 256
MAX_TOKEN: Final = 256
"""A push token has 32 bytes; Apple says not to rely on it."""
MAX_MAGIC: Final = 1024
MAX_UNLOCK_TOKEN: Final = 64 * 1024
MAX_CHAIN: Final = 8

# Rights of the MDM payload.
ALL_RIGHTS: Final = 8191
LOCK_RIGHT: Final = 4
"""Locking, and removing the passcode."""
ERASE_RIGHT: Final = 8
INFORMATION_RIGHT: Final = 16

QUERIES: Final = ("DeviceName", "OSVersion", "ProductName", "SerialNumber", "IsSupervised")


@dataclass(frozen=True, slots=True)
class Authenticate:
    topic: str
    os_version: str | None = None
    model: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class TokenUpdate:
    topic: str
    token: bytes = field(repr=False)
    push_magic: str = field(repr=False)
    unlock_token: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CheckOut:
    topic: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Something we do not take part in; saying so with `status` leaves the enrollment as it is."""

    status: int


@dataclass(frozen=True, slots=True)
class Error:
    code: int
    domain: str


@dataclass(frozen=True, slots=True)
class Information:
    """What the device tells of itself when asked: only what it knows and may tell."""

    name: str | None = None
    os_version: str | None = None
    model: str | None = None
    serial: str | None = None
    supervised: bool | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A request on the command channel. `ref` is None when the device only asks for work."""

    status: str
    ref: str | None = None
    chain: tuple[Error, ...] = ()
    message_result: str | None = None
    """What became of a lock and its message."""
    information: Information | None = None


Message = Authenticate | TokenUpdate | CheckOut | Declined | Result


@dataclass(frozen=True, slots=True)
class Sender:
    """How the device names itself: UDID, or EnrollmentID where a person enrolled a device of their own."""

    address: str
    by_person: bool


def parse_plist(body: bytes) -> dict[str, Any]:
    """XML or binary. Raises Unreadable."""
    if len(body) > MAX_BODY:
        raise Unreadable("body_too_large")
    try:
        if body.startswith(b"bplist"):
            _check_binary(body)
        else:
            _check_xml(body)
        value = plistlib.loads(body)
    except Exception:  # noqa: BLE001 - plistlib lets the errors of four parsers through
        raise Unreadable("not_a_plist") from None
    if not isinstance(value, dict):
        raise Unreadable("not_a_dictionary")
    _measure(value)
    return value


_TAG: Final = re.compile(
    rb"""<\?xml[^<>]{0,128}\?>|<!DOCTYPE\s[^<>\[]{0,256}>|</?[a-z]{1,16}(?:\s{1,4}version="[^<>"]{0,8}")?\s{0,4}/?>"""
)
_ENTITY: Final = re.compile(rb"&#?[0-9A-Za-z]{1,8};")


def _check_xml(body: bytes) -> None:
    """Only the tags that plists are made of: a long attribute or comment is read over and over again, and costs a
    thousand times its bytes."""
    tags, entities = body.count(b"<"), body.count(b"&")
    if tags > MAX_VALUES or body.count(b"\n") + body.count(b"\r") + entities > MAX_LINES:
        raise Unreadable("not_a_plist")
    if sum(1 for _ in _TAG.finditer(body)) != tags or sum(1 for _ in _ENTITY.finditer(body)) != entities:
        raise Unreadable("not_a_plist")


def _check_binary(body: bytes) -> None:
    """Objects of a binary plist may overlap: a few bytes, read thousands of times, would fill the memory.

    Apple's writers never overlap them, so that all of them together are no longer than the file.
    """
    offset_size, ref_size, count, _, table = struct.unpack(">6xBBQQQ", body[-32:])
    units = {0x4: 1, 0x5: 1, 0x6: 2, 0xA: ref_size, 0xC: ref_size, 0xD: 2 * ref_size}
    room, values = len(body), 0
    if count > MAX_OBJECTS:
        raise Unreadable("not_a_plist")
    for place in range(table, table + count * offset_size, offset_size):
        offset = int.from_bytes(body[place : place + offset_size])
        kind, length = body[offset] >> 4, body[offset] & 0xF
        if kind in units:
            if length == 0xF:
                length = int.from_bytes(body[offset + 2 : offset + 2 + (1 << (body[offset + 1] & 3))])
            room -= length * units[kind]
            values += length if kind >= 0xA else 0
        else:
            room -= 1 << length if kind == 0x1 else 0
        room -= 1
        if room < 0 or values > MAX_VALUES:
            raise Unreadable("not_a_plist")


def _measure(value: object) -> None:
    """Deep or vast values are refused before anybody walks them. A binary plist may even hold itself."""
    level: list[object] = [value]
    seen: set[int] = set()
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if id(item) in seen or not isinstance(item, dict | list):
                continue
            seen.add(id(item))
            below.extend(item.values() if isinstance(item, dict) else item)
        if len(below) > MAX_VALUES:
            break
        if not below:
            return
        level = below
    raise Unreadable("too_deep")


def parse_check_in(body: bytes) -> tuple[Sender, Message]:
    """Raises Unreadable."""
    values = parse_plist(body)
    kind = values.get("MessageType")
    if not isinstance(kind, str) or "Status" in values:
        raise Unreadable("no_message_type")
    sender = _sender(values)
    if kind == "UserAuthenticate" or _of_a_user(values):
        # 410 declines this one user and leaves the device enrolled.
        return sender, Declined(410)
    match kind:
        case "Authenticate":
            return sender, Authenticate(
                topic=_needed(values, "Topic"),
                os_version=_word(values.get("OSVersion")),
                model=_word(values.get("ProductName")) or _word(values.get("Model")),
                serial=_word(values.get("SerialNumber")),
            )
        case "TokenUpdate":
            return sender, TokenUpdate(
                topic=_needed(values, "Topic"),
                token=_data(values.get("Token"), MAX_TOKEN),
                push_magic=_needed(values, "PushMagic", MAX_MAGIC),
                unlock_token=_data(values["UnlockToken"], MAX_UNLOCK_TOKEN) if "UnlockToken" in values else None,
            )
        case "CheckOut":
            return sender, CheckOut(topic=_needed(values, "Topic"))
        case _:
            return sender, Declined(400)


def parse_result(body: bytes) -> tuple[Sender, Message]:
    """Raises Unreadable. A strange result is still a result: refused, the device would send it again for ever."""
    values = parse_plist(body)
    status = _word(values.get("Status"))
    if status is None or "MessageType" in values:
        raise Unreadable("no_status")
    sender = _sender(values)
    if _of_a_user(values):
        return sender, Declined(410)
    ref = None if status == "Idle" else _word(values.get("CommandUUID"))
    return sender, Result(
        status,
        ref,
        tuple(_chain(values.get("ErrorChain"))),
        message_result=_plain(values.get("MessageResult")),
        information=_information(values.get("QueryResponses")),
    )


def _plain(value: object) -> str | None:
    """One of the protocol's own words, fit to be shown."""
    return value if isinstance(value, str) and 0 < len(value) <= 64 and value.isascii() and value.isalnum() else None


def _information(value: object) -> Information | None:
    if not isinstance(value, dict):
        return None
    supervised = value.get("IsSupervised")
    return Information(
        name=_word(value.get("DeviceName")),
        os_version=_word(value.get("OSVersion")),
        model=_word(value.get("ProductName")),
        serial=_word(value.get("SerialNumber")),
        supervised=supervised if isinstance(supervised, bool) else None,
    )


def _sender(values: Mapping[str, Any]) -> Sender:
    by_device, by_person = _word(values.get("UDID")), _word(values.get("EnrollmentID"))
    address = by_device or by_person
    if address is None:
        raise Unreadable("no_device_id")
    return Sender(address, by_person=by_device is None)


def _of_a_user(values: Mapping[str, Any]) -> bool:
    return "UserID" in values or "EnrollmentUserID" in values


def _word(value: object, limit: int = MAX_WORD) -> str | None:
    """Text that can be stored and shown as it is; anything else is as good as absent."""
    return value if isinstance(value, str) and 0 < len(value) <= limit and value.isprintable() else None


def _needed(values: Mapping[str, Any], key: str, limit: int = MAX_WORD) -> str:
    word = _word(values.get(key), limit)
    if word is None:
        raise Unreadable("incomplete")
    return word


def _data(value: object, limit: int) -> bytes:
    """Broken base64 arrives as empty bytes: never a token."""
    if not isinstance(value, bytes) or not 0 < len(value) <= limit:
        raise Unreadable("incomplete")
    return value


def _chain(value: object) -> Iterable[Error]:
    """Codes and domains alone: the descriptions are the device's own text, and nothing turns on them."""
    for item in value[:MAX_CHAIN] if isinstance(value, list) else ():
        if not isinstance(item, dict):
            continue
        code, domain = item.get("ErrorCode"), item.get("ErrorDomain")
        if type(code) is int and abs(code) < 2**31 and isinstance(domain, str) and _is_domain(domain):
            yield Error(code, domain)


def _is_domain(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isascii() and text.replace(".", "").isalnum()


def clear_passcode(ref: str, unlock_token: bytes) -> bytes:
    return _command(ref, {"RequestType": "ClearPasscode", "UnlockToken": unlock_token})


def device_lock(ref: str, message: str) -> bytes:
    """`message` is shown on the locked screen; a device without a passcode says so only where there is one."""
    return _command(ref, {"RequestType": "DeviceLock", "Message": message})


def erase_device(ref: str) -> bytes:
    return _command(ref, {"RequestType": "EraseDevice"})


def remove_profile(ref: str, identifier: str) -> bytes:
    return _command(ref, {"RequestType": "RemoveProfile", "Identifier": identifier})


def restart_device(ref: str) -> bytes:
    return _command(ref, {"RequestType": "RestartDevice"})


def device_information(ref: str) -> bytes:
    return _command(ref, {"RequestType": "DeviceInformation", "Queries": list(QUERIES)})


def _command(ref: str, command: Mapping[str, Any]) -> bytes:
    return plistlib.dumps({"CommandUUID": ref, "Command": command})


def rights(ownership: Ownership) -> int:
    """A device of a person's own cannot be erased by us; its passcode can be removed, for that is what they ask."""
    return ALL_RIGHTS if ownership is Ownership.CORPORATE else ALL_RIGHTS & ~ERASE_RIGHT


def enrollment_profile(
    *,
    enrollment_id: UUID,
    identifier: str,
    organization: str,
    topic: str,
    base_url: str,
    access_rights: int,
    sign_message: bool,
    identity: bytes,
    password: str,
) -> bytes:
    """The profile that makes a device ours. Holds the device's key: never logged, never cached."""
    identity_uuid = str(uuid5(enrollment_id, "identity")).upper()
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": identifier,
            "PayloadUUID": str(uuid5(enrollment_id, "profile")).upper(),
            "PayloadDisplayName": f"{organization}: device management",
            "PayloadDescription": "Lets this device be managed, so that a forgotten passcode can be removed.",
            "PayloadOrganization": organization,
            "PayloadContent": [
                {
                    "PayloadType": "com.apple.security.pkcs12",
                    "PayloadVersion": 1,
                    "PayloadIdentifier": f"{identifier}.identity",
                    "PayloadUUID": identity_uuid,
                    "PayloadDisplayName": "Device identity",
                    "PayloadContent": identity,
                    "Password": password,
                },
                {
                    "PayloadType": "com.apple.mdm",
                    "PayloadVersion": 1,
                    "PayloadIdentifier": f"{identifier}.mdm",
                    "PayloadUUID": str(uuid5(enrollment_id, "mdm")).upper(),
                    "IdentityCertificateUUID": identity_uuid,
                    "Topic": topic,
                    "ServerURL": f"{base_url}/command",
                    "CheckInURL": f"{base_url}/checkin",
                    "AccessRights": access_rights,
                    "SignMessage": sign_message,
                    "CheckOutWhenRemoved": True,
                },
            ],
        }
    )
