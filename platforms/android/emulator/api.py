"""The API's methods: paths, queries, bodies and errors as Google's discovery document and reference have them.

https://developers.google.com/android/management/reference/rest
"""

import asyncio
import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from platforms.android.emulator import shapes
from platforms.android.emulator.accounts import ServiceAccount
from platforms.android.emulator.errors import BY_STATUS, ApiError, bad_request, not_found
from platforms.android.emulator.http import Request, Response
from platforms.android.emulator.operations import Operation
from platforms.android.emulator.phone import Phone, timestamp

if TYPE_CHECKING:
    from platforms.android.emulator.emulator import Emulator, Enterprise, Failure

# A verb after a colon belongs to the last part of a path, so no id has one.
_ID: Final = r"[^/:]+"
_ENTERPRISE: Final = rf"(?P<enterprise>enterprises/{_ID})"
_DEVICE: Final = rf"(?P<device>{_ENTERPRISE}/devices/{_ID})"
_OPERATION: Final = rf"(?P<operation>{_DEVICE}/operations/{_ID})"

EVERYWHERE: Final = frozenset(
    {
        *("$.xgafv", "access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser"),
        *("uploadType", "upload_protocol"),
    }
)
"""Query parameters that every method takes."""
PAGES: Final = frozenset({"pageSize", "pageToken"})
MOST_DEVICES: Final = 100
MOST_OPERATIONS: Final = 500
TOKEN_LIFE: Final = "3600s"
SHORTEST_TOKEN: Final = timedelta(minutes=1)
LONGEST_TOKEN: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that was understood. `part` holds the names in its path."""

    part: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Mapping[str, Any] = field(repr=False)

    def mask(self) -> list[str] | None:
        given = self.query.get("updateMask")
        return None if given is None else [name for word in given for name in word.split(",")]


@dataclass(frozen=True, slots=True)
class Method:
    """`name` as in the discovery document, without `enterprises.` for what lies below an enterprise."""

    name: str
    http: str
    path: re.Pattern[str]
    run: Callable[[Ask], Mapping[str, Any]]
    query: frozenset[str] = frozenset()
    body: bool = False


class Api:
    def __init__(self, emulator: "Emulator") -> None:
        self._emulator = emulator
        self.methods = tuple(self._methods())

    async def answer(self, request: Request) -> Response:
        if request.path == "/token" and request.method == "POST":
            return self._emulator.tokens.answer(request)
        if request.path == "/oauth2/v3/certs" and request.method == "GET":
            return self._emulator.signer.jwks()
        if request.path == "/oauth2/v1/certs" and request.method == "GET":
            return self._emulator.signer.certificates()
        try:
            return await self._call(request)
        except ApiError as error:
            return error.response()

    async def _call(self, request: Request) -> Response:
        """Raises ApiError."""
        method, part = self._find(request)
        emulator = self._emulator
        emulator.requests[method.name] += 1
        account = emulator.tokens.account_of(request)
        emulator.quotas.take(account.project, method.name, part.get("device", part["enterprise"]))
        failure = emulator.mishap(method.name)
        if failure is not None and not failure.after:
            return await _failed(failure)
        self._check_owner(account, part["enterprise"])
        unknown = request.query.keys() - method.query - EVERYWHERE
        if unknown:
            name = min(unknown)
            raise bad_request(f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.')
        said = method.run(Ask(part, request.query, _body(request, wanted=method.body)))
        if failure is not None:
            return await _failed(failure)
        return Response.of(said)

    def _find(self, request: Request) -> tuple[Method, Mapping[str, str]]:
        for method in self.methods:
            found = method.path.fullmatch(request.path)
            if found is not None and method.http == request.method:
                return method, found.groupdict()
        raise not_found("The requested URL")

    def _check_owner(self, account: ServiceAccount, name: str) -> None:
        enterprise = self._emulator.enterprises.get(name)
        if enterprise is None:
            raise self._unknown(f"Enterprise {name}")
        if name in self._emulator.orphaned or enterprise.project != account.project:
            raise ApiError(403, "Caller is not authorized to manage enterprise.")

    # What the methods do

    def _methods(self) -> Sequence[Method]:
        def method(
            name: str,
            http: str,
            path: str,
            run: Callable[[Ask], Mapping[str, Any]],
            query: frozenset[str] = frozenset(),
            *,
            body: bool = False,
        ) -> Method:
            return Method(name, http, re.compile(f"/v1/{path}"), run, query, body)

        mask = frozenset({"updateMask"})
        tokens, policies = rf"{_ENTERPRISE}/enrollmentTokens", rf"{_ENTERPRISE}/policies"
        token, policy = rf"(?P<token>{tokens}/{_ID})", rf"(?P<policy>{policies}/{_ID})"
        wipe = frozenset({"wipeDataFlags", "wipeReasonMessage"})
        found = frozenset({"filter", "returnPartialSuccess"})
        return (
            method("devices.issueCommand", "POST", f"{_DEVICE}:issueCommand", self._issue_command, body=True),
            method("devices.operations.get", "GET", _OPERATION, self._get_operation),
            method("devices.operations.list", "GET", f"{_DEVICE}/operations", self._list_operations, PAGES | found),
            method("devices.operations.cancel", "POST", f"{_OPERATION}:cancel", self._cancel_operation),
            method("devices.get", "GET", _DEVICE, self._get_device),
            method("devices.list", "GET", f"{_ENTERPRISE}/devices", self._list_devices, PAGES),
            method("devices.patch", "PATCH", _DEVICE, self._patch_device, mask, body=True),
            method("devices.delete", "DELETE", _DEVICE, self._delete_device, wipe),
            method("enrollmentTokens.create", "POST", tokens, self._create_token, body=True),
            method("enrollmentTokens.list", "GET", tokens, self._list_tokens, PAGES),
            method("enrollmentTokens.get", "GET", token, self._get_token),
            method("enrollmentTokens.delete", "DELETE", token, self._delete_token),
            method("get", "GET", _ENTERPRISE, self._get_enterprise),
            method("patch", "PATCH", _ENTERPRISE, self._patch_enterprise, mask, body=True),
            method("policies.get", "GET", policy, self._get_policy),
            method("policies.patch", "PATCH", policy, self._patch_policy, mask, body=True),
        )

    def _phone(self, ask: Ask) -> Phone:
        name = ask.part["device"]
        phone = self._emulator.phones.get(name)
        if phone is None:
            raise self._unknown(f"Device {name}")
        return phone

    def _unknown(self, what: str) -> ApiError:
        return not_found(what) if self._emulator.warm else ApiError(503, "The service is currently unavailable.")

    def _operation(self, ask: Ask) -> Operation:
        self._phone(ask)
        self._emulator.expire()
        operation = self._emulator.operations.get(ask.part["operation"])
        if operation is None:
            raise not_found("Operation")
        return operation

    def _shown(self, operation: Operation) -> dict[str, Any]:
        return operation.resource(echoes=self._emulator.echoes_passwords)

    def _issue_command(self, ask: Ask) -> Mapping[str, Any]:
        return self._shown(self._emulator.issue(self._phone(ask), ask.body))

    def _get_operation(self, ask: Ask) -> Mapping[str, Any]:
        return self._shown(self._operation(ask))

    def _list_operations(self, ask: Ask) -> Mapping[str, Any]:
        if ask.query.get("returnPartialSuccess", ["false"]) != ["false"]:
            raise shapes.unimplemented("returnPartialSuccess")
        if ask.query.get("filter", [""]) != [""]:
            raise bad_request("The filter is not supported.")
        phone = self._phone(ask)
        self._emulator.expire()
        own = [self._shown(one) for one in self._emulator.operations.values() if one.phone is phone]
        return _page("operations", own, ask, usual=100, most=MOST_OPERATIONS)

    def _cancel_operation(self, ask: Ask) -> Mapping[str, Any]:
        self._emulator.cancel(self._operation(ask))
        return {}

    def _get_device(self, ask: Ask) -> Mapping[str, Any]:
        return self._phone(ask).resource()

    def _list_devices(self, ask: Ask) -> Mapping[str, Any]:
        prefix = f"{ask.part['enterprise']}/devices/"
        own = [phone.resource() for name, phone in self._emulator.phones.items() if name.startswith(prefix)]
        return _page("devices", own, ask, usual=10, most=MOST_DEVICES)

    def _patch_device(self, ask: Ask) -> Mapping[str, Any]:
        phone = self._phone(ask)
        mask = ask.mask()
        fields = list(shapes.DEVICE_CHANGES) if mask is None else mask
        if not set(fields) <= shapes.DEVICE_CHANGES.keys():
            raise bad_request("updateMask names a field that cannot be changed.")
        changes = {name: ask.body[name] for name in fields if name in ask.body}
        shapes.shape(shapes.DEVICE_CHANGES)("", changes)
        if changes.get("state", "ACTIVE") not in {"ACTIVE", "DISABLED"}:
            raise bad_request("The state of a device can be ACTIVE or DISABLED.")
        phone.state = changes.get("state", phone.state)
        phone.policy = changes.get("policyName", phone.policy)
        if phone.online:
            self._emulator.sync(phone)
        return phone.resource()

    def _delete_device(self, ask: Ask) -> Mapping[str, Any]:
        phone = self._phone(ask)
        for flag in ask.query.get("wipeDataFlags", []):
            shapes.one_of(shapes.WIPE_FLAGS)("wipeDataFlags", flag)
        if len(ask.query.get("wipeReasonMessage", [""])[0]) > shapes.MAX_REASON:
            raise bad_request(f"wipeReasonMessage is longer than {shapes.MAX_REASON} characters.")
        self._emulator.delete(phone)
        return {}

    def _create_token(self, ask: Ask) -> Mapping[str, Any]:
        shapes.shape(shapes.TOKEN)("", ask.body)
        if len(ask.body.get("additionalData", "")) > shapes.MAX_DATA:
            raise bad_request(f"additionalData is longer than {shapes.MAX_DATA} characters.")
        duration = ask.body.get("duration", TOKEN_LIFE)
        if not SHORTEST_TOKEN <= shapes.seconds(duration) <= LONGEST_TOKEN:
            raise bad_request("The duration must be between 1 minute and 90 days.")
        enterprise = self._emulator.enterprises[ask.part["enterprise"]]
        value = secrets.token_hex(10).upper()
        name = f"{enterprise.name}/enrollmentTokens/{secrets.token_urlsafe(16)}"
        until = self._emulator.clock() + shapes.seconds(duration)
        said = {key: given for key, given in ask.body.items() if key in {"additionalData", "oneTimeOnly", "user"}}
        made = {
            "name": name,
            "value": value,
            "duration": duration,
            "expirationTimestamp": timestamp(until),
            "policyName": ask.body.get("policyName", f"{enterprise.name}/policies/default"),
            "allowPersonalUsage": ask.body.get("allowPersonalUsage", "PERSONAL_USAGE_ALLOWED"),
            "qrCode": json.dumps({"android.app.extra.PROVISIONING_ADMIN_EXTRAS_BUNDLE": {"token": value}}),
            **said,
        }
        enterprise.tokens[name] = made
        return made

    def _get_token(self, ask: Ask) -> Mapping[str, Any]:
        known = self._active_tokens(ask).get(ask.part["token"])
        if known is None:
            raise not_found("Enrollment token")
        return known

    def _list_tokens(self, ask: Ask) -> Mapping[str, Any]:
        return _page("enrollmentTokens", list(self._active_tokens(ask).values()), ask, usual=10, most=MOST_DEVICES)

    def _active_tokens(self, ask: Ask) -> dict[str, dict[str, Any]]:
        """Only part of each is shown again."""
        shown = ("name", "expirationTimestamp", "allowPersonalUsage", "value", "qrCode")
        now = timestamp(self._emulator.clock())
        enterprise = self._emulator.enterprises[ask.part["enterprise"]]
        return {
            name: {key: made[key] for key in shown}
            for name, made in enterprise.tokens.items()
            if made["expirationTimestamp"] > now
        }

    def _delete_token(self, ask: Ask) -> Mapping[str, Any]:
        self._get_token(ask)
        del self._emulator.enterprises[ask.part["enterprise"]].tokens[ask.part["token"]]
        return {}

    def _get_enterprise(self, ask: Ask) -> Mapping[str, Any]:
        return _enterprise(self._emulator.enterprises[ask.part["enterprise"]])

    def _patch_enterprise(self, ask: Ask) -> Mapping[str, Any]:
        shapes.shape(shapes.ENTERPRISE)("", ask.body)
        enterprise = self._emulator.enterprises[ask.part["enterprise"]]
        mask = ask.mask() or [name for name in shapes.ENTERPRISE if name != "name"]
        if not set(mask) <= shapes.ENTERPRISE.keys() - {"name"}:
            raise bad_request("updateMask names a field that cannot be changed.")
        if "enterpriseDisplayName" in mask:
            enterprise.display_name = ask.body.get("enterpriseDisplayName", "")
        if "pubsubTopic" in mask:
            enterprise.topic = ask.body.get("pubsubTopic", "")
        if "enabledNotificationTypes" in mask:
            enterprise.notifications = ask.body.get("enabledNotificationTypes", [])
        return _enterprise(enterprise)

    def _get_policy(self, ask: Ask) -> Mapping[str, Any]:
        known = self._emulator.enterprises[ask.part["enterprise"]].policies.get(ask.part["policy"])
        if known is None:
            raise not_found("Policy")
        return known

    def _patch_policy(self, ask: Ask) -> Mapping[str, Any]:
        shapes.shape(shapes.POLICY)("", ask.body)
        name = ask.part["policy"]
        policies = self._emulator.enterprises[ask.part["enterprise"]].policies
        before = policies.get(name, {})
        mask = ask.mask()
        changed = ask.body if mask is None else {key: ask.body[key] for key in mask if key in ask.body}
        kept = {} if mask is None else {key: value for key, value in before.items() if key not in mask}
        version = str(int(before.get("version", "0")) + 1)
        policies[name] = {**kept, **changed, "name": name, "version": version}
        for phone in list(self._emulator.phones.values()):
            if phone.policy == name and phone.online:
                self._emulator.sync(phone)
        return policies[name]


def _enterprise(enterprise: "Enterprise") -> dict[str, Any]:
    shown = {
        "name": enterprise.name,
        "enterpriseDisplayName": enterprise.display_name,
        "pubsubTopic": enterprise.topic,
        "enabledNotificationTypes": enterprise.notifications,
    }
    return {name: value for name, value in shown.items() if value}


def _page(word: str, everything: Sequence[Mapping[str, Any]], ask: Ask, *, usual: int, most: int) -> dict[str, Any]:
    """One page of a list, oldest first; an empty list is left out."""
    try:
        size = int(ask.query.get("pageSize", ["0"])[0])
        begin = int(base64.urlsafe_b64decode(ask.query.get("pageToken", [""])[0]) or b"0")
    except ValueError:
        raise bad_request("pageSize or pageToken is invalid.") from None
    if size < 0 or begin < 0:
        raise bad_request("pageSize or pageToken is invalid.")
    end = begin + min(size or usual, most)
    page: dict[str, Any] = {word: list(everything[begin:end])} if everything[begin:end] else {}
    if end < len(everything):
        page["nextPageToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return page


def _body(request: Request, *, wanted: bool) -> Mapping[str, Any]:
    if not wanted:
        if request.body.strip() not in {b"", b"{}"} and request.method == "POST":
            raise bad_request("Invalid JSON payload received. This method takes no body.")
        return {}
    try:
        value = json.loads(request.body or b"{}")
    except ValueError:
        # What stands in it is never repeated: it may hold a password.
        raise bad_request("Invalid JSON payload received.") from None
    if not isinstance(value, dict):
        raise bad_request("Invalid JSON payload received. Root element must be a message.")
    return value


async def _failed(failure: "Failure") -> Response:
    if failure.status is None:
        await asyncio.Event().wait()
    status = failure.status or 503
    if status == 304:
        return Response(304)
    messages = {429: "Quota exceeded for quota metric 'Requests'.", 503: "The service is currently unavailable."}
    message = messages.get(status, f"{BY_STATUS[status]}, as it was asked for.")
    return ApiError(status, message, headers=failure.headers).response()
