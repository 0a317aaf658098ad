"""What a request's body may hold, checked as the API does it: nothing unknown, nothing of another kind."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from platforms.android.emulator.constraints import QUALITIES
from platforms.android.emulator.errors import ApiError, bad_request

Check = Callable[[str, Any], None]
"""(path, value). Raises ApiError."""

_DURATION: Final = re.compile(r"(\d{1,12})(\.\d{1,9})?s", re.ASCII)
MAX_REASON: Final = 200
MAX_DATA: Final = 1024

TYPES: Final = (
    *("COMMAND_TYPE_UNSPECIFIED", "LOCK", "RESET_PASSWORD", "REBOOT", "RELINQUISH_OWNERSHIP", "CLEAR_APP_DATA"),
    *("START_LOST_MODE", "STOP_LOST_MODE", "ADD_ESIM", "REMOVE_ESIM", "REQUEST_DEVICE_INFO", "WIPE"),
)
RESET_FLAGS: Final = (
    *("RESET_PASSWORD_FLAG_UNSPECIFIED", "REQUIRE_ENTRY", "DO_NOT_ASK_CREDENTIALS_ON_BOOT"),
    "LOCK_NOW",
)
WIPE_FLAGS: Final = (
    *("WIPE_DATA_FLAG_UNSPECIFIED", "PRESERVE_RESET_PROTECTION_DATA", "WIPE_EXTERNAL_STORAGE"),
    "WIPE_ESIMS",
)
ERROR_CODES: Final = (
    *("COMMAND_ERROR_CODE_UNSPECIFIED", "UNKNOWN", "API_LEVEL", "MANAGEMENT_MODE", "INVALID_VALUE"),
    "UNSUPPORTED",
)
PERSONAL_USAGE: Final = (
    *("ALLOW_PERSONAL_USAGE_UNSPECIFIED", "PERSONAL_USAGE_ALLOWED", "PERSONAL_USAGE_DISALLOWED"),
    "PERSONAL_USAGE_DISALLOWED_USERLESS",
)
STATES: Final = (
    *("DEVICE_STATE_UNSPECIFIED", "ACTIVE", "DISABLED", "DELETED", "PROVISIONING", "LOST"),
    *("PREPARING_FOR_MIGRATION", "DEACTIVATED_BY_DEVICE_FINANCE"),
)
NOTIFICATIONS: Final = (
    *("NOTIFICATION_TYPE_UNSPECIFIED", "ENROLLMENT", "COMPLIANCE_REPORT", "STATUS_REPORT", "COMMAND", "USAGE_LOGS"),
    "ENTERPRISE_UPGRADE",
)


def text(path: str, value: Any) -> None:
    if not isinstance(value, str):
        raise bad_request(f"Invalid value at '{path}' (TYPE_STRING)")


def truth(path: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise bad_request(f"Invalid value at '{path}' (TYPE_BOOL)")


def number(path: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_request(f"Invalid value at '{path}' (TYPE_INT32)")


def anything(path: str, value: Any) -> None:
    pass


def duration(path: str, value: Any) -> None:
    text(path, value)
    if _DURATION.fullmatch(value) is None:
        raise bad_request(f"Invalid value at '{path}' (type.googleapis.com/google.protobuf.Duration)")


def seconds(value: str) -> timedelta:
    """A duration that was checked; what is longer than a calendar is as long as one."""
    return timedelta(seconds=min(float(value[:-1]), 30 * 365 * 86_400.0))


def one_of(words: Sequence[str]) -> Check:
    def check(path: str, value: Any) -> None:
        # Its number is another spelling that Google takes; nobody should send it, so it is not taken here.
        if not isinstance(value, str) or value not in words:
            raise bad_request(f"Invalid value at '{path}' (TYPE_ENUM)")

    return check


def many(check: Check) -> Check:
    def each(path: str, value: Any) -> None:
        if not isinstance(value, list):
            raise bad_request(f"Invalid value at '{path}' (repeated field)")
        for place, entry in enumerate(value):
            check(f"{path}[{place}]", entry)

    return each


def shape(fields: Mapping[str, Check]) -> Check:
    def check(path: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise bad_request(f"Invalid value at '{path}' (a message)")
        for name, entry in value.items():
            if name not in fields:
                where = f" at '{path}'" if path else ""
                raise bad_request(f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')
            if entry is not None:
                fields[name](f"{path}.{name}" if path else name, entry)

    return check


def message(path: str, value: Any) -> None:
    """What a person would read."""
    shape({"defaultMessage": text, "localizedMessages": anything})(path, value)
    if len(value.get("defaultMessage", "")) > MAX_REASON:
        raise bad_request(f"'{path}' is longer than {MAX_REASON} characters.")


COMMAND: Final[Mapping[str, Check]] = {
    "type": one_of(TYPES),
    "createTime": text,
    "duration": duration,
    "userName": text,
    "errorCode": one_of(ERROR_CODES),
    "newPassword": text,
    "resetPasswordFlags": many(one_of(RESET_FLAGS)),
    "wipeParams": shape({"wipeDataFlags": many(one_of(WIPE_FLAGS)), "wipeReason": message}),
    "addEsimParams": anything,
    "clearAppsDataParams": anything,
    "clearAppsDataStatus": anything,
    "esimStatus": anything,
    "removeEsimParams": anything,
    "requestDeviceInfoParams": anything,
    "requestDeviceInfoStatus": anything,
    "startLostModeParams": anything,
    "startLostModeStatus": anything,
    "stopLostModeParams": anything,
    "stopLostModeStatus": anything,
}
INFERRED: Final = {
    "wipeParams": "WIPE",
    "clearAppsDataParams": "CLEAR_APP_DATA",
    "startLostModeParams": "START_LOST_MODE",
    "stopLostModeParams": "STOP_LOST_MODE",
    "addEsimParams": "ADD_ESIM",
    "removeEsimParams": "REMOVE_ESIM",
    "requestDeviceInfoParams": "REQUEST_DEVICE_INFO",
}
TOKEN: Final[Mapping[str, Check]] = {
    "name": text,
    "value": text,
    "duration": duration,
    "expirationTimestamp": text,
    "policyName": text,
    "additionalData": text,
    "qrCode": text,
    "oneTimeOnly": truth,
    "user": anything,
    "allowPersonalUsage": one_of(PERSONAL_USAGE),
    "googleAuthenticationOptions": anything,
}
PASSWORD_POLICY: Final[Mapping[str, Check]] = {
    "passwordQuality": one_of(QUALITIES),
    "passwordScope": one_of(("SCOPE_UNSPECIFIED", "SCOPE_DEVICE", "SCOPE_PROFILE")),
    "passwordMinimumLength": number,
    "passwordMinimumLetters": number,
    "passwordMinimumLowerCase": number,
    "passwordMinimumUpperCase": number,
    "passwordMinimumNonLetter": number,
    "passwordMinimumNumeric": number,
    "passwordMinimumSymbols": number,
    "passwordHistoryLength": number,
    "maximumFailedPasswordsForWipe": number,
    "passwordExpirationTimeout": duration,
    "requirePasswordUnlock": text,
    "unifiedLockSettings": one_of(
        (
            *("UNIFIED_LOCK_SETTINGS_UNSPECIFIED", "ALLOW_UNIFIED_WORK_AND_PERSONAL_LOCK"),
            "REQUIRE_SEPARATE_WORK_LOCK",
        )
    ),
}
POLICY: Final[Mapping[str, Check]] = {
    "name": text,
    "version": text,
    "passwordPolicies": many(shape(PASSWORD_POLICY)),
    "statusReportingSettings": anything,
    "applications": anything,
}
ENTERPRISE: Final[Mapping[str, Check]] = {
    "name": text,
    "enterpriseDisplayName": text,
    "pubsubTopic": text,
    "enabledNotificationTypes": many(one_of(NOTIFICATIONS)),
}
DEVICE_CHANGES: Final[Mapping[str, Check]] = {
    "state": one_of(STATES),
    "disabledReason": message,
    "policyName": text,
}


def command(body: Mapping[str, Any]) -> dict[str, Any]:
    """The command that was meant. Raises ApiError."""
    shape(COMMAND)("", body)
    meant = {name: value for name, value in body.items() if value is not None}
    kind = meant.get("type", "COMMAND_TYPE_UNSPECIFIED")
    if kind == "COMMAND_TYPE_UNSPECIFIED":
        kind = next((INFERRED[name] for name in meant if name in INFERRED), kind)
    if kind == "COMMAND_TYPE_UNSPECIFIED":
        raise bad_request("Command type must be specified.")
    if "duration" in meant and not seconds(meant["duration"]):
        raise bad_request("The duration must be positive.")
    inputs = {"newPassword", "resetPasswordFlags", *INFERRED}
    return {"type": kind, **{name: meant[name] for name in meant if name in inputs and meant[name] not in ("", [])}}


def unimplemented(what: str) -> ApiError:
    return ApiError(501, f"{what} is not implemented.")
