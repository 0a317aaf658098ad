"""Google's words: what we ask the Android Management API for, and what it tells us.

https://developers.google.com/android/management/reference/rest/v1/enterprises.devices
https://cloud.google.com/pubsub/docs/push

Values are taken by name, never the whole: a command that comes back to us may carry the password that we sent.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from models.vocabulary import Secret
from platforms.errors import Unreadable

MAX_BODY: Final = 16 * 1024 * 1024
"""Pub/Sub carries 10 MB, and base64 makes a third more of it."""
MAX_POLICIES: Final = 16
MAX_HINTS: Final = 200
MAX_FORMER: Final = 16
MAX_WORD: Final = 64
MAX_TEXT: Final = 200

ENTERPRISE: Final = re.compile(r"enterprises/[A-Za-z0-9_-]{1,64}")
DEVICE: Final = re.compile(rf"{ENTERPRISE.pattern}/devices/[A-Za-z0-9_-]{{1,64}}")
_OPERATION: Final = re.compile(rf"({DEVICE.pattern})/operations/[A-Za-z0-9._~-]{{1,255}}")
_CAPITALS: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """One of `appliedPasswordPolicies`: what the device really asks for."""

    scope: str | None
    quality: str | None
    length: int = 0
    letters: int = 0
    lower: int = 0
    upper: int = 0
    non_letters: int = 0
    digits: int = 0
    symbols: int = 0
    separate_lock: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    states: frozenset[str]
    """The wanted one and the real one: DELETED may stand in either."""
    mode: str | None = None
    ownership: str | None = None
    api_level: int | None = None
    reported_at: datetime | None = None
    policies: tuple[PasswordPolicy, ...] = ()
    hints: frozenset[str] = frozenset()
    """Why the device does not comply, in its own words."""
    compliant: bool | None = None
    """None: it was not given a policy yet."""
    token_data: str | None = field(default=None, repr=False)
    """What the enrolment link said: it may be a secret of ours."""
    formerly: tuple[str, ...] = ()
    os_version: str | None = None
    maker: str | None = None
    model: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An order as Google keeps it, without anything that it carried."""

    name: str
    device: str
    type: str | None
    created_at: datetime | None
    done: bool = False
    error_code: str | None = None
    """The device's own."""
    status: int | None = None
    """The service's, by gRPC's numbers."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The device is no longer known, and its orders went with it."""


@dataclass(frozen=True, slots=True)
class Push:
    """What Pub/Sub wraps around a notice."""

    message_id: str
    published_at: datetime
    subscription: str
    kind: str
    data: bytes = field(repr=False)


def load(body: bytes) -> Any:
    """Raises Unreadable, without a trace of what stood there."""
    found = _load(body)
    if found is _BROKEN:
        raise Unreadable("not_json")
    return found


_BROKEN: Final = object()


def _load(body: bytes) -> Any:
    # The decoder's error holds the whole text: it ends here.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _BROKEN


def parse_push(body: bytes) -> Push:
    """Raises Unreadable."""
    envelope = load(body)
    message = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(message, dict):
        raise Unreadable("no_message")
    message_id = message.get("messageId", message.get("message_id"))
    published_at = moment(message.get("publishTime", message.get("publish_time")))
    subscription = envelope.get("subscription")
    if not isinstance(message_id, str) or _MESSAGE_ID.fullmatch(message_id) is None:
        raise Unreadable("no_message_id")
    if published_at is None or not isinstance(subscription, str):
        raise Unreadable("no_origin")
    attributes = message.get("attributes")
    kind = attributes.get("notificationType") if isinstance(attributes, dict) else None
    data = _bytes(message.get("data", ""))
    if data is None:
        raise Unreadable("not_base64")
    return Push(message_id, published_at, subscription, kind if isinstance(kind, str) else "", data)


def _bytes(data: object) -> bytes | None:
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        return None


def parse_operation(value: object) -> Operation:
    """Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable("no_operation")
    name = value.get("name")
    named = _OPERATION.fullmatch(name) if isinstance(name, str) else None
    if named is None:
        raise Unreadable("no_operation")
    metadata = value.get("metadata")
    command: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    error = value.get("error")
    status = None
    if isinstance(error, dict):
        # A status without a number is one all the same: 2 is "unknown".
        code = error.get("code")
        status = code if type(code) is int and code else 2
    return Operation(
        name=named.group(),
        device=named[1],
        type=_word(command.get("type")),
        created_at=moment(command.get("createTime")),
        done=value.get("done") is True,
        error_code=_word(command.get("errorCode")),
        status=status,
    )


def carries_another(value: object, passcode: Secret) -> bool:
    """Whether an operation shows that its password is not this one. Often it shows nothing."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    shown = metadata.get("newPassword") if isinstance(metadata, dict) else None
    return isinstance(shown, str) and not hmac.compare_digest(shown.encode(errors="replace"), passcode.value)


def parse_device(value: object) -> Device:
    """Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable("no_device")
    name = value.get("name")
    if not isinstance(name, str) or DEVICE.fullmatch(name) is None:
        raise Unreadable("no_device")
    hardware, software = _object(value, "hardwareInfo"), _object(value, "softwareInfo")
    api_level = value.get("apiLevel")
    token_data = value.get("enrollmentTokenData")
    return Device(
        name=name,
        states=frozenset(filter(None, (_word(value.get("state")), _word(value.get("appliedState"))))),
        mode=_word(value.get("managementMode")),
        ownership=_word(value.get("ownership")),
        api_level=api_level if type(api_level) is int and 0 < api_level < 1000 else None,
        reported_at=moment(value.get("lastStatusReportTime")),
        policies=tuple(_policies(value.get("appliedPasswordPolicies"))),
        hints=frozenset(_hints(value.get("nonComplianceDetails"))),
        compliant=_compliant(value),
        # Ours are plain letters; what is none could not even be compared.
        token_data=token_data
        if isinstance(token_data, str) and len(token_data) <= 1024 and token_data.isascii()
        else None,
        formerly=tuple(_former(value.get("previousDeviceNames"))),
        os_version=_text(software.get("androidVersion")),
        maker=_text(hardware.get("manufacturer")) or _text(hardware.get("brand")),
        model=_model(_text(hardware.get("brand")), _text(hardware.get("model"))),
        serial=_text(hardware.get("serialNumber")),
    )


def _compliant(value: Mapping[str, Any]) -> bool | None:
    """What is false is left out: without a moment at which it got its policy, that says nothing."""
    if value.get("policyCompliant") is True:
        return True
    return None if moment(value.get("lastPolicySyncTime")) is None else False


def _policies(value: object) -> Iterator[PasswordPolicy]:
    for entry in _objects(value, MAX_POLICIES):
        yield PasswordPolicy(
            scope=_word(entry.get("passwordScope")),
            quality=_word(entry.get("passwordQuality")),
            length=_count(entry.get("passwordMinimumLength")),
            letters=_count(entry.get("passwordMinimumLetters")),
            lower=_count(entry.get("passwordMinimumLowerCase")),
            upper=_count(entry.get("passwordMinimumUpperCase")),
            non_letters=_count(entry.get("passwordMinimumNonLetter")),
            digits=_count(entry.get("passwordMinimumNumeric")),
            symbols=_count(entry.get("passwordMinimumSymbols")),
            separate_lock=entry.get("unifiedLockSettings") == "REQUIRE_SEPARATE_WORK_LOCK",
        )


def _hints(value: object) -> Iterator[str]:
    for entry in _objects(value, MAX_HINTS):
        reason = _word(entry.get("specificNonComplianceReason"))
        if reason is not None:
            yield reason


def _former(value: object) -> Iterator[str]:
    for name in value[-MAX_FORMER:] if isinstance(value, list) else ():
        if isinstance(name, str) and DEVICE.fullmatch(name) is not None:
            yield name


def _objects(value: object, limit: int) -> Iterator[dict[str, Any]]:
    for entry in value[:limit] if isinstance(value, list) else ():
        if isinstance(entry, dict):
            yield entry


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _word(value: object) -> str | None:
    """An enum's value. What is unknown to us stays itself; "unspecified" is the same as nothing."""
    if not isinstance(value, str) or len(value) > MAX_WORD or _CAPITALS.fullmatch(value) is None:
        return None
    return None if value.endswith("_UNSPECIFIED") and value != "PASSWORD_QUALITY_UNSPECIFIED" else value


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1000 else 0


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        return None
    return value


def _model(brand: str | None, model: str | None) -> str | None:
    if brand is None or model is None or model.lower().startswith(brand.lower()):
        return model
    return f"{brand} {model}"


def moment(value: object) -> datetime | None:
    """RFC 3339; what is finer than a microsecond is cut off."""
    if not isinstance(value, str) or not 20 <= len(value) <= 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        return None if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def seconds(duration: timedelta) -> str:
    """A duration as protocol buffers spell it in JSON."""
    return f"{int(duration.total_seconds())}s"


def body(command: Mapping[str, Any]) -> bytes:
    return json.dumps(command, separators=(",", ":")).encode()
