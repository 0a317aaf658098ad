"""The description of the api, made from the page of routes and its types, and shown as a page that needs no script."""

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from api.call import CookieName
from api.guards import SAFE, Guard
from api.middleware import CHALLENGES, PROBLEMS, problem_type
from api.settings import ApiSettings

if TYPE_CHECKING:
    # The page's handlers show what is made here: at run time it is handed in.
    from api.routes import Route

VERSION: Final = "1"

ALWAYS: Final = ("busy",)
"""What any route may answer that asks the database."""

_UNFINISHED: Final = ("sign_in_required", "second_factor_required", "password_change_required", "terms_required")

_GUARDS: Final[Mapping[Guard, tuple[str, ...]]] = {
    Guard.OPEN: (),
    Guard.MAYBE_SIGNED_IN: (),
    Guard.SIGNED_IN: _UNFINISHED,
    Guard.AT_HOME: (*_UNFINISHED, "not_at_home"),
    Guard.MAY_OWE_PASSWORD: ("sign_in_required", "second_factor_required", "terms_required", "not_at_home"),
    Guard.MAY_OWE_TERMS: ("sign_in_required", "second_factor_required", "password_change_required"),
    Guard.HALF_SIGNED_IN: ("sign_in_required",),
    Guard.ADMINISTRATOR: (*_UNFINISHED, "not_allowed"),
    Guard.DIRECTORY: (*_UNFINISHED, "not_allowed"),
    Guard.OPERATOR: (*_UNFINISHED, "not_allowed"),
    Guard.OVERSEER: (*_UNFINISHED, "not_allowed"),
}


@dataclass(frozen=True, slots=True)
class Document:
    """`etag`: its mark."""

    content: bytes
    etag: str

    @classmethod
    def of(cls, content: bytes) -> "Document":
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


class Documents:
    """Each made when first asked for: a start does not pay for it."""

    def __init__(self, routes: Sequence["Route"], settings: ApiSettings) -> None:
        self._routes = routes
        self._settings = settings

    @cached_property
    def description(self) -> dict[str, Any]:
        return describe(self._routes, self._settings)

    @cached_property
    def openapi(self) -> Document:
        return Document.of(json.dumps(self.description, separators=(",", ":")).encode())

    @cached_property
    def page(self) -> Document:
        return Document.of(_Page(self.description).html().encode())

    @cached_property
    def style(self) -> Document:
        return Document.of(STYLE.encode())


def codes_of(route: "Route") -> list[str]:
    """Every problem that a route may answer: its own, its guard's, and those of reading the request."""
    unsafe = route.method not in SAFE
    codes = {error.code for error in route.errors} | set(_GUARDS[route.guard])
    if not route.public:
        codes |= set(ALWAYS)
    if unsafe:
        codes |= {"csrf_refused", "unreadable", "too_large", "unsupported_media_type", "invalid"}
    if route.query is not None:
        codes |= {"invalid"}
    if "{" in route.path:
        codes |= {"not_found"}
    if route.needs_key:
        codes |= {"idempotency_key_required", "idempotency_key_reused", "unreadable"}
    return sorted(codes, key=lambda code: (PROBLEMS[code][0], code))


def describe(routes: Sequence["Route"], settings: ApiSettings) -> dict[str, Any]:
    types = list(dict.fromkeys(kind for route in routes for kind in _types(route)))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type, components)
    used = {route.query.__name__ for route in routes if route.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Latchkey",
            "version": VERSION,
            "description": "Device management and account self-service. Times are UTC (RFC 3339), ids are UUIDv7, "
            "lists have `items` and `next_cursor`, problems are RFC 9457 with a stable `code`. Whatever answers GET "
            "answers HEAD alike, without a body; streams do not.",
        },
        "servers": [{"url": settings.public_url}],
        "tags": [{"name": name} for name in dict.fromkeys(_tag(route) for route in routes)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in used}
            | {"Problem": _problem_schema()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of a sign-in."},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": settings.cookie_rules.prefix + CookieName.SESSION,
                    "description": "A browser's. Unsafe methods need `csrf` beside it, and the Origin of this server.",
                },
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
            },
        },
    }


def _types(route: "Route") -> list[type[msgspec.Struct]]:
    answers = [kind for kind in route.answers.values() if kind is not None and not isinstance(kind, str)]
    return [*answers, *(kind for kind in (route.body, route.query) if kind is not None)]


def _tag(route: "Route") -> str:
    parts = [part for part in route.path.split("/") if part not in {"", "api", "v1"}]
    return parts[0]


def _operation(route: "Route", by_type: Mapping[type, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}.{route.name}",
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": _parameters(route, components),
        "responses": _responses(route, by_type),
        "security": _security(route),
    }
    if route.body is not None:
        content: dict[str, Any] = {"schema": by_type[route.body]}
        if route.example:
            content["example"] = dict(route.example)
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    if route.upload is not None:
        # As OpenAPI 3.1 says it of a body that is no JSON: a media type, and no schema.
        operation["requestBody"] = {"required": True, "content": {kind: {} for kind in route.upload.media_types}}
    return operation


def _security(route: "Route") -> list[dict[str, list[str]]]:
    if route.guard is Guard.OPEN:
        return []
    browser: dict[str, list[str]] = {"cookie": []} if route.method in SAFE else {"cookie": [], "csrf": []}
    required: list[dict[str, list[str]]] = [{"bearer": []}, browser]
    return [*required, {}] if route.guard is Guard.MAYBE_SIGNED_IN else required


def _parameters(route: "Route", components: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in route.path.split("/"):
        if part.startswith("{"):
            name = part[1:-1]
            schema = {"type": "string", "format": "uuid"} if name.endswith("_id") else {"type": "string"}
            found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        for name, schema in components[route.query.__name__]["properties"].items():
            found.append({"name": name, "in": "query", "required": False, "schema": schema})
    if route.needs_key:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "A new one for each wish, the same one when the same wish is sent again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                "example": "5f0c2e0e-6f5e-4a53-9d52-4c1b8c2f7f10",
            }
        )
    if route.marked and route.method not in SAFE:
        found.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": True,
                "description": "The ETag of what the change was made from; `*` for whatever it is now.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                "example": "*",
            }
        )
    return found


def _responses(route: "Route", by_type: Mapping[type, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in route.answers.items():
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if isinstance(kind, str):
            response["content"] = {kind: {"schema": {} if kind == "application/json" else {"type": "string"}}}
        elif kind is not None:
            response["content"] = {"application/json": {"schema": by_type[kind]}}
        if route.marked:
            response["headers"] = {"ETag": {"schema": {"type": "string"}}}
        responses[str(status)] = response
    by_status: dict[int, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    for status, codes in by_status.items():
        # A status may carry an answer of its own beside the problem: readiness says 503 with its checks.
        response = responses.setdefault(str(status), {"description": HTTPStatus(status).phrase})
        content = response.setdefault("content", {})
        content["application/problem+json"] = {
            "schema": {
                "allOf": [
                    {"$ref": "#/components/schemas/Problem"},
                    {"properties": {"code": {"enum": codes}, "status": {"const": status}}},
                ]
            },
            "examples": {code: {"value": _example(code)} for code in codes},
        }
        headers = _headers(codes)
        if headers:
            response["headers"] = headers
    return dict(sorted(responses.items()))


def _headers(codes: list[str]) -> dict[str, Any]:
    headers = {}
    if any(code in CHALLENGES for code in codes):
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    if "busy" in codes or "too_many_tries" in codes:
        headers["Retry-After"] = {"schema": {"type": "string", "pattern": "^[0-9]+$"}}
    return headers


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "title": "Problem",
        "description": "RFC 9457. Facts stand beside the named fields; nothing in the prose is to be parsed.",
        "type": "object",
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "instance": {"type": "string", "description": "The request's id."},
            "code": {"type": "string", "enum": list(PROBLEMS)},
            "retry_after": {"type": "integer", "description": "Seconds."},
        },
        "required": ["type", "title", "status", "detail", "instance", "code"],
    }


def _example(code: str) -> dict[str, Any]:
    status, title = PROBLEMS[code]
    example = {
        "type": problem_type(code),
        "title": title,
        "status": status,
        "detail": title,
        "instance": "0b9f2c51d7e84c6c8f2f3a6de1b4a790",
        "code": code,
    }
    return example | ({"retry_after": 2} if code in {"busy", "too_many_tries"} else {})


STYLE: Final = """\
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font: 0.9rem/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; border: 1px solid; padding: 0.5rem; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1rem; }
th, td { border: 1px solid; padding: 0.3rem 0.5rem; text-align: left; vertical-align: top; }
section { border-top: 2px solid; margin-top: 2rem; }
a:focus, summary:focus { outline: 3px solid; outline-offset: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { position: static; }
"""


class _Page:
    """The description as one page of plain HTML."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._description = description

    def html(self) -> str:
        info = self._description["info"]
        operations = [
            (path, method, operation)
            for path, methods in self._description["paths"].items()
            for method, operation in methods.items()
        ]
        contents = "".join(
            f'<li><a href="#{_anchor(operation)}"><code>{method.upper()} {_text(path)}</code></a>'
            f" {_text(operation['summary'])}</li>"
            for path, method, operation in operations
        )
        body = "".join(self._section(*one) for one in operations)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{_text(info['title'])}: the HTTP interface</title>"
            '<link rel="stylesheet" href="/docs/style.css"></head><body>'
            '<a class="skip" href="#operations">To the operations</a>'
            f"<header><h1>{_text(info['title'])}: the HTTP interface</h1><p>{_text(info['description'])}</p>"
            '<p>The same for machines: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1).</p></header>'
            f'<nav aria-label="Operations"><h2>Operations</h2><ul>{contents}</ul></nav>'
            f'<main id="operations">{body}{self._problems()}{self._schemas()}</main></body></html>'
        )

    def _section(self, path: str, method: str, operation: Mapping[str, Any]) -> str:
        parameters = "".join(
            f"<tr><td><code>{_text(one['name'])}</code></td><td>{one['in']}</td>"
            f"<td>{'yes' if one['required'] else 'no'}</td><td>{_schema(one['schema'])}</td></tr>"
            for one in operation["parameters"]
        )
        answers = "".join(
            f"<tr><td>{status}</td><td>{_text(answer['description'])}</td><td>{self._answer(answer)}</td></tr>"
            for status, answer in operation["responses"].items()
        )
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        sent = f"<p>Body: {_schema(body['schema'])}</p>" if body else ""
        if "example" in body:
            sent += f"<pre>{_text(json.dumps(body['example'], indent=2))}</pre>"
        signed_in = " or ".join(" and ".join(one) or "nothing" for one in operation["security"]) or "nothing"
        return (
            f'<section id="{_anchor(operation)}"><h2><code>{method.upper()} {_text(path)}</code></h2>'
            f"<p>{_text(operation['summary'])}. Needs: {signed_in}.</p>"
            + _table("Parameters", ("Name", "In", "Required", "Type"), parameters)
            + sent
            + _table("Answers", ("Status", "Meaning", "Content"), answers)
            + "</section>"
        )

    def _answer(self, answer: Mapping[str, Any]) -> str:
        parts = []
        for kind, content in answer.get("content", {}).items():
            if kind == "application/problem+json":
                codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
                parts.append(", ".join(f'<a href="#problem-{code}"><code>{code}</code></a>' for code in codes))
            else:
                parts.append(f"{_text(kind)}: {_schema(content['schema'])}")
        return "<br>".join(parts) or "none"

    def _problems(self) -> str:
        rows = "".join(
            f'<tr id="problem-{code}"><td><code>{code}</code></td><td>{status}</td><td>{_text(title)}</td></tr>'
            for code, (status, title) in PROBLEMS.items()
        )
        return "<section><h2>Problems</h2>" + _table("Codes", ("Code", "Status", "Meaning"), rows) + "</section>"

    def _schemas(self) -> str:
        parts = [
            f'<h3 id="schema-{_text(name)}">{_text(name)}</h3><pre>{_text(json.dumps(schema, indent=2))}</pre>'
            for name, schema in self._description["components"]["schemas"].items()
        ]
        return "<section><h2>Shapes</h2>" + "".join(parts) + "</section>"


def _table(caption: str, heads: Sequence[str], rows: str) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _schema(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{_text(name)}">{_text(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_schema(one) for one in schema["anyOf"])
    return _text(str(schema.get("format", schema.get("type", "any"))))


def _anchor(operation: Mapping[str, Any]) -> str:
    return _text(operation["operationId"])


def _text(text: str) -> str:
    return html.escape(text)
