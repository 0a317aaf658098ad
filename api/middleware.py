"""Around every request: its id, the headers that protect a browser, problems as RFC 9457 says, and one line of log.

One function, not a stack: each layer of middleware costs every request.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware
from multidict import CIMultiDict

from api.keys import ACCOUNT_ID, LANGUAGE, NEEDS, PROBLEM_CODE, REQUEST_ID
from api.settings import ApiSettings
from models.database import DatabaseDown
from models.errors import DomainError, TooManyTries
from models.log import bound, where
from models.settings import RE_SIGN_IN_WINDOW
from workers.queue import QueueDown

log = logging.getLogger("api")

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MethodNotAllowed(DomainError):
    code: ClassVar[str] = "method_not_allowed"


class TooLarge(DomainError):
    code: ClassVar[str] = "too_large"


class UnsupportedMediaType(DomainError):
    code: ClassVar[str] = "unsupported_media_type"


PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "unreadable": (400, "The request cannot be read"),
    "idempotency_key_required": (400, "An Idempotency-Key is needed"),
    "sign_in_required": (401, "Sign in first"),
    "sign_in_failed": (401, "The sign-in failed"),
    "second_factor_required": (401, "The second factor is still to come"),
    "re_sign_in_required": (401, "Sign out and in again first"),
    "proof_required": (401, "Show again that it is you"),
    "code_refused": (403, "The code was refused"),
    "password_refused": (403, "The password was refused"),
    "field_not_editable": (403, "The field is not edited here"),
    "password_change_required": (403, "Choose a new password first"),
    "terms_required": (403, "Accept the terms of use first"),
    "csrf_refused": (403, "The request does not come from our page"),
    "not_allowed": (403, "Not allowed"),
    "leaving_switched_off": (403, "Leaving is switched off here"),
    "hidden_by_admin": (403, "Switched off by the administrator"),
    "second_factor_missing": (403, "This takes a second factor"),
    "device_disabled": (403, "This device is disabled"),
    "device_quota": (403, "No room for another device"),
    "method_quota": (403, "No room for another method"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "This address has no such method"),
    "home_organization": (409, "Nobody leaves their home organization"),
    "sole_owner": (409, "Somebody else must be able to take over first"),
    "already_member": (409, "They belong here already"),
    "not_at_home": (409, "Only in your home organization"),
    "not_offered": (409, "Not offered for this device"),
    "re_sign_in_used": (409, "This re-sign-in was used"),
    "re_sign_in_not_open": (409, "This re-sign-in is not open"),
    "action_in_progress": (409, "The same is under way"),
    "awaiting_approval": (409, "It waits for a second person"),
    "approval_over": (409, "This approval is over"),
    "nothing_to_disown": (409, "Nobody came in"),
    "password_changed": (409, "The password was changed meanwhile"),
    "too_late_to_cancel": (409, "Too late to cancel"),
    "nothing_to_reveal": (409, "There is no passcode to read"),
    "mastered_elsewhere": (409, "Another system is the master of this field"),
    "address_in_use": (409, "You have this address already"),
    "address_quota": (409, "No room for another account with this address"),
    "client_id_taken": (409, "Another app is known by it"),
    "terms_changed": (409, "These terms are not the ones in force"),
    "terms_accepted": (409, "These terms were accepted"),
    "terms_quota": (409, "No room for other terms"),
    "terms_withdrawn": (409, "These terms were withdrawn"),
    "sign_in_name_taken": (409, "This sign-in name is taken"),
    "account_managed_elsewhere": (409, "Another system keeps this account"),
    "last_administrator": (409, "The last global administrator stays"),
    "label_taken": (409, "Another method is called so"),
    "last_method": (409, "The last method stays"),
    "no_passkey": (409, "There is no passkey to show"),
    "passkeys_unavailable": (409, "No passkeys at this address"),
    "no_default": (409, "This kind cannot be the default"),
    "recovery_step": (409, "Not this step, where it stands"),
    "no_longer_restorable": (410, "Too late to take it back"),
    "recovery_over": (410, "This recovery is over"),
    "re_sign_in_lapsed": (410, "The five minutes are over"),
    "export_not_ready": (409, "The file is not ready"),
    "export_gone": (410, "The file is gone"),
    "passcode_gone": (410, "The passcode is gone"),
    "precondition_failed": (412, "It was changed since"),
    "too_large": (413, "The request is too large"),
    "unsupported_media_type": (415, "Send JSON"),
    "invalid": (422, "The request breaks a rule"),
    "password_rejected": (422, "This password cannot be used"),
    "picture_refused": (422, "The picture was refused"),
    "idempotency_key_reused": (422, "This Idempotency-Key was used for something else"),
    "precondition_required": (428, "Say what the change was made from"),
    "too_many_tries": (429, "Too many tries"),
    "internal": (500, "Something went wrong on our side"),
    "busy": (503, "Try again shortly"),
}
"""The one table from code to status. A DomainError whose code is not here is a bug of ours, and answered as one."""

ACR_ONE_FACTOR: Final = 1
"""As in RFC 9470: the person did at least one factor, or as many as the problem says."""
_AGE: Final = int(RE_SIGN_IN_WINDOW.total_seconds())

CHALLENGES: Final[Mapping[str, str]] = {
    "sign_in_required": "Bearer",
    "sign_in_failed": "Bearer",
    "second_factor_required": 'Bearer error="invalid_token", error_description="the second factor is still to come"',
    **{
        code: f'Bearer error="insufficient_user_authentication", error_description="{why}", '
        f'acr_values="{{strength}}", max_age={{max_age}}'
        for code, why in (
            ("re_sign_in_required", "sign out and in again for this act"),
            ("proof_required", "a newer proof is needed"),
        )
    },
}

_OF_AIOHTTP: Final[Mapping[int, str]] = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def problem_type(code: str) -> str:
    """The same on every installation, so that a client may compare it; `/docs` describes each."""
    return f"urn:latchkey:problem:{code}"


PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Asked every few seconds by whoever watches over us: no news."""


def security_headers(settings: ApiSettings) -> dict[str, str]:
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Server": "latchkey",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    if settings.production:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def build(settings: ApiSettings) -> Middleware:
    always = security_headers(settings)

    @web.middleware
    async def front(request: web.Request, handler: Next) -> web.StreamResponse:
        began = time.perf_counter()
        request_id = os.urandom(16).hex()
        request[REQUEST_ID] = request_id
        status = 500
        with bound(request=request_id):
            try:
                response = await _answer(request, handler)
                status = response.status
                if not response.prepared:
                    headers = response.headers
                    for name, value in always.items():
                        headers.setdefault(name, value)
                    headers.setdefault("Cache-Control", "no-store")
                    headers["X-Request-Id"] = request_id
                return response
            finally:
                level = logging.DEBUG if request.path in PROBES else logging.INFO
                if log.isEnabledFor(level):
                    log.log(level, "request", extra=_line(request, status, time.perf_counter() - began))

    return front


def _line(request: web.Request, status: int, seconds: float) -> dict[str, Any]:
    """What a line may hold: the pattern, for an address itself may carry a token; never a body or a header."""
    resource = request.match_info.route.resource
    line = {
        "method": request.method if request.method.isascii() else "?",
        "route": "none" if resource is None else resource.canonical,
        "status": status,
        "ms": round(seconds * 1000, 1),
    }
    code = request.get(PROBLEM_CODE)
    if code is not None:
        line["code"] = code
    account_id = request.get(ACCOUNT_ID)
    if account_id is not None:
        line["account"] = str(account_id)
    return line


async def _answer(request: web.Request, handler: Next) -> web.StreamResponse:
    try:
        return await handler(request)
    except DomainError as error:
        return problem(request, error.code, error.facts)
    except (DatabaseDown, QueueDown) as error:
        log.warning("busy", extra={"reason": type(error).__name__})
        return problem(request, "busy", {"retry_after": 2})
    except web.HTTPException as error:
        # aiohttp's own: no such address, no such method.
        code = _OF_AIOHTTP.get(error.status, "unreadable" if error.status < 500 else "internal")
        response = problem(request, code, {})
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionError:
        raise  # the client went away: nobody reads an answer
    except Exception as error:  # noqa: BLE001 - the last line: a bug is answered and told, without its values
        log.error("internal error", extra={"error_type": type(error).__name__, "where": where(error)})  # noqa: TRY400 - a traceback prints messages, and messages hold values
        return problem(request, "internal", {})


def wording(code: str, facts: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Its key and what stands in it; a wait in the unit that people would use."""
    key = f"problem.{code}"
    if code != TooManyTries.code:
        return key, facts
    match facts.get("retry_after"):
        case None:
            return f"{key}.for_ever", facts
        case seconds if seconds > 2 * 3600:
            return f"{key}.hours", {"hours": -(-seconds // 3600)}
        case seconds if seconds > 2 * 60:
            return f"{key}.minutes", {"minutes": -(-seconds // 60)}
    return key, facts


def problem(request: web.Request, code: str, facts: Mapping[str, Any]) -> web.Response:
    if code not in PROBLEMS:
        log.error("a problem without a status", extra={"code": code})
        code, facts = "internal", {}
    status, title = PROBLEMS[code]
    request[PROBLEM_CODE] = code
    needs = request.app[NEEDS]
    language = request.get(LANGUAGE, "en")
    if "errors" in facts:
        facts = {**facts, "errors": needs.texts.broken(language, facts["errors"])}
    body = {
        "type": problem_type(code),
        "title": title,
        "status": status,
        "detail": needs.texts.say(language, *wording(code, facts)),
        "instance": request[REQUEST_ID],
        "code": code,
        **facts,
    }
    headers = CIMultiDict({"Content-Type": "application/problem+json"})
    if code in CHALLENGES:
        strength, age = facts.get("strength", ACR_ONE_FACTOR), facts.get("max_age", _AGE)
        headers["WWW-Authenticate"] = (
            CHALLENGES[code].replace("{strength}", str(strength)).replace("{max_age}", str(age))
        )
    if "retry_after" in facts:
        headers["Retry-After"] = str(facts["retry_after"])
    return web.Response(status=status, body=msgspec.json.encode(body), headers=headers)
