"""All wiring of this process: what it holds open, and how a request becomes a call and a reply an answer."""

import asyncio
import base64
import binascii
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from api import guards, middleware, passkeys
from api.call import Call, CookieName, Needs, Reply, SetCookie, StreamReply
from api.handlers import checkin
from api.keys import ACCOUNT_ID, LANGUAGE, NEEDS, REQUEST_ID
from api.middleware import TooLarge, UnsupportedMediaType
from api.openapi import Documents
from api.operations import refusal, terms
from api.operations.health import Readiness
from api.passwords import Hasher, HashSettings
from api.pictures import Pictures
from api.routes import ROUTES, Route
from api.settings import ApiSettings
from api.signers import Signers
from api.stream import Streams, StreamSettings
from api.texts import Texts, choose, folders
from models import migrate, password_policy
from models.database import Database
from models.errors import BrokenRule, Invalid, NotFound, TermsRequired, UnknownField, Unreadable
from models.event import Actor
from models.fault import Fault
from models.sealed import Keyring
from models.session import Who
from models.settings import DatabaseSettings
from models.vocabulary import PlatformName
from platforms.base import DeviceRequest, PlatformHandler, Refusal, Shared
from workers.queue import QueueDoor

BODY_PATIENCE: Final = 20.0
"""Seconds a client has to send its body."""

_ENCODER: Final = msgspec.json.Encoder()


def make_app(
    settings: ApiSettings,
    database_settings: DatabaseSettings,
    *,
    database: Database,
    door: QueueDoor,
    platforms: Mapping[PlatformName, PlatformHandler],
    keys: Keyring,
    hash_settings: HashSettings,
    stream_settings: StreamSettings,
    fault: Fault,
) -> web.Application:
    database.ring = door.put_delivery
    database.ring_task = door.put_task
    needs = Needs(
        settings=settings,
        database=database,
        keys=keys,
        platforms=platforms,
        door=door,
        hasher=Hasher(hash_settings),
        pictures=Pictures(),
        streams=Streams(database, door, middleware.security_headers(settings), stream_settings),
        texts=Texts(folders(platforms)),
        throttle_key=settings.throttle_key,
        documents=Documents(ROUTES, settings),
        readiness=Readiness(database, door, _migrated(database_settings)),
        signers=Signers(Shared(door, database.roughly_now)),
        fault=fault,
    )
    app = web.Application(middlewares=[middleware.build(settings)])
    app[NEEDS] = needs
    for route in ROUTES:
        answer = endpoint(route, needs)
        app.router.add_route(route.method, route.path, answer)
        if route.method == "GET" and not route.streams:
            app.router.add_route("HEAD", route.path, answer)
    devices = device_endpoint(needs)
    app.router.add_route("*", "/devices/{platform}/{tail:.*}", devices)
    for name, handler in platforms.items():
        for alias in handler.aliases:
            app.router.add_route("*", alias, device_endpoint(needs, name))
    app.on_shutdown.append(_close_streams)
    app.cleanup_ctx.append(_hold_open)
    return app


async def _hold_open(app: web.Application) -> AsyncIterator[None]:
    """Opened in this order, closed in the opposite one; what did not open is not closed."""
    needs = app[NEEDS]
    async with contextlib.AsyncExitStack() as stack:
        await needs.database.open()
        stack.push_async_callback(needs.database.close)
        await stack.enter_async_context(needs.door)
        await stack.enter_async_context(needs.hasher)
        await stack.enter_async_context(needs.pictures)
        await stack.enter_async_context(needs.signers)
        await stack.enter_async_context(needs.streams.running())
        # Threads of their own: what takes long to load holds up neither the start nor whoever asks first.
        loading = [asyncio.create_task(asyncio.to_thread(load)) for load in (passkeys.load, password_policy.load)]
        stack.push_async_callback(asyncio.wait, loading)
        yield


async def _close_streams(app: web.Application) -> None:
    app[NEEDS].streams.close()


def _migrated(settings: DatabaseSettings) -> Callable[[], Awaitable[bool]]:
    """Asked until it is so, once: a newer release migrates while we still serve, and that is no reason to stop."""
    known = False

    async def is_migrated() -> bool:
        nonlocal known
        known = known or await asyncio.to_thread(migrate.is_current, settings)
        return known

    return is_migrated


# A request becomes a call


def endpoint(route: Route, needs: Needs) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    body_of = None if route.body is None else msgspec.json.Decoder(route.body)
    unsafe = route.method not in guards.SAFE

    async def reply_to(request: web.Request) -> Reply | StreamReply:
        headers = request.headers
        request[LANGUAGE] = choose(headers.get("Accept-Language"))
        who, given = await guards.identify(route.guard, headers, needs)
        if who is not None:
            request[ACCOUNT_ID] = who.account_id
            request[LANGUAGE] = who.language
        here = _from_where(request, needs.settings)
        actor = Actor(
            "anonymous" if who is None else "account",
            None if who is None else who.account_id,
            session_id=None if who is None else who.session.id,
            request_id=request[REQUEST_ID],
            address=None if here is None else str(here),
            client=_client(headers.get("User-Agent")),
            keys=needs.keys,
            person_key=None if who is None else who.person_key,
        )
        try:
            try:
                guards.pass_guard(route.guard, route.method, headers, who, given, needs.settings)
            except TermsRequired:
                # All that an unanswered version costs, it costs whoever did not answer it.
                who = await settled(who, headers, actor)
                guards.pass_guard(route.guard, route.method, headers, who, given, needs.settings)
            return await route.handler(await read(request, who, given, actor, here))
        except refusal.DENIED as denied:
            if who is not None:
                ids = _ids(request.match_info)
                await refusal.remember(needs.database, who, denied, route=route.path, ids=ids, actor=actor)
            raise

    async def settled(who: Who | None, headers: Mapping[str, str], actor: Actor) -> Who | None:
        token = guards.cookie(headers, CookieName.BROWSER, needs.settings)
        return None if who is None else await terms.settle(needs.database, who, token, actor=actor)

    async def read(
        request: web.Request,
        who: Who | None,
        given: guards.Credentials | None,
        actor: Actor,
        here: guards.Address | None,
    ) -> Call[Any, Any]:
        headers = request.headers
        return Call(
            needs=needs,
            actor=actor,
            body=await _given(request) if unsafe else None,
            query=None if route.query is None else _query(request, route.query),
            path=request.match_info,
            who=who,
            token=None if given is None else given.token,
            idempotency_key=_idempotency_key(headers.get("Idempotency-Key")),
            if_match=headers.get("If-Match"),
            if_none_match=headers.get("If-None-Match"),
            last_event_id=headers.get("Last-Event-ID"),
            re_sign_in_token=guards.cookie(headers, CookieName.RE_SIGN_IN, needs.settings),
            recovery_token=guards.recovery_token(headers, needs.settings),
            browser_token=guards.cookie(headers, CookieName.BROWSER, needs.settings),
            passkey_token=guards.cookie(headers, CookieName.PASSKEY, needs.settings),
            address_group=guards.group_of(here),
        )

    async def _given(request: web.Request) -> Any:
        if route.upload is None:
            return _decode(body_of, await _body(request, route.body_limit), request.headers)
        if _media_type(request.headers) not in route.upload.media_types:
            raise UnsupportedMediaType
        return await _body(request, route.upload.limit)

    async def answer(request: web.Request) -> web.StreamResponse:
        # No name for the call, nor for who asks: a stream is answered for hours, and would hold them.
        reply = await reply_to(request)
        if isinstance(reply, StreamReply):
            return await needs.streams.serve(request, reply)
        return _response(reply, needs.settings)

    return answer


def _ids(path: Mapping[str, str]) -> dict[str, str]:
    """What was asked for, where it can be an id at all."""
    found = {}
    for name, text in path.items():
        with contextlib.suppress(ValueError):
            found[name] = str(UUID(text))
    return found


async def _body(request: web.Request, limit: int) -> bytes:
    """The whole body, or TooLarge as soon as that is certain."""
    if (request.content_length or 0) > limit:
        raise TooLarge(limit=limit)
    if not request.body_exists:
        return b""
    chunks = []
    size = 0
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > limit:
                    raise TooLarge(limit=limit)
                chunks.append(chunk)
    except (TimeoutError, HttpProcessingError, web.RequestPayloadError):
        raise Unreadable from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _decode(decoder: msgspec.json.Decoder[Any] | None, body: bytes, headers: Mapping[str, str]) -> Any:
    if body and _media_type(headers) != "application/json":
        raise UnsupportedMediaType
    if decoder is None:
        if body.strip() not in {b"", b"{}"}:
            raise Invalid(errors=[{"field": "", "rule": "no_body"}])
        return None
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable from None


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _query(request: web.Request, kind: type[msgspec.Struct]) -> Any:
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise Invalid(errors=[{"field": name if _PLAIN.fullmatch(name) else "", "rule": "given_twice"}])
        given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


# The library's words, in English alone, and what ours are called.
_RULES: Final = tuple(
    (re.compile(said), name)
    for said, name in (
        (r"Object missing required field `(?P<name>\w+)`", "required"),
        (r"Expected `(?P<wanted>[^`]+)`, got `(?P<got>[^`]+)`", "kind"),
        (r"Expected `\w+` of length <= (?P<most>\d+)", "length_most"),
        (r"Expected `\w+` of length >= (?P<least>\d+)", "length_least"),
        (r"Expected `\w+` of length (?P<most>\d+)", "length"),
        (r"Expected `\w+` <= (?P<most>-?[\d.]+)", "most"),
        (r"Expected `\w+` >= (?P<least>-?[\d.]+)", "least"),
        (r"Expected `str` matching regex", "pattern"),
        (r"Invalid enum value", "unknown_value"),
        (r"Invalid UUID", "id"),
        (r"Invalid RFC3339|Expected `datetime`", "moment"),
    )
)
_UNKNOWN: Final = "Object contains unknown field `"
_PLAIN: Final = re.compile(r"(?=.{1,64}\Z)[a-z]+(_[a-z]+){0,4}")
"""A name as ours are: worth telling whoever mistyped it, and no token or key looks like one."""


def _invalid(error: msgspec.ValidationError) -> Invalid:
    """Field and rule, without the value: what was typed is not sent back, nor what stands where a name should."""
    rule, _, place = str(error).partition(" - at `")
    field = place.rstrip("`").removeprefix("$").removeprefix(".")
    if rule.startswith(_UNKNOWN):
        name = rule.removeprefix(_UNKNOWN).rstrip("`")
        return UnknownField(field, name if _PLAIN.fullmatch(name) else "")
    for said, name in _RULES:
        found = said.match(rule)
        if found is not None:
            return Invalid(errors=[BrokenRule(name, **found.groupdict()).at(field)])
    return Invalid(errors=[BrokenRule("shape").at(field)])


def _from_where(request: web.Request, settings: ApiSettings) -> guards.Address | None:
    # A proxy may add a line of its own to a line that the client sent: they are one list.
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", [])) or None
    return guards.address(request.remote, forwarded, settings.trusted_proxies)


def _client(user_agent: str | None) -> str | None:
    """What is stored and shown: printable, and not without end."""
    if not user_agent:
        return None
    cut = user_agent[:200]
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(one if " " <= one <= "~" else "?" for one in cut)


def _idempotency_key(key: str | None) -> str | None:
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key):
        raise Unreadable(field="Idempotency-Key")
    return key


# A device's request, frozen

_OF_THE_PROXY: Final = frozenset({"client-cert", "client-cert-chain", "forwarded", "x-forwarded-for"})
"""What a proxy of ours says of the connection. No device says it, and no platform reads it as a device's word."""


def device_endpoint(
    needs: Needs, alias_of: PlatformName | None = None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """`/devices/{platform}/{tail}`, or an absolute path that others fixed and that leads to one platform."""

    async def answer(request: web.Request) -> web.StreamResponse:
        name = PlatformName(request.match_info["platform"]) if alias_of is None else alias_of
        platform = needs.platforms.get(name)
        if platform is None:
            raise NotFound
        try:
            body = await _body(request, platform.max_body)
        except (TooLarge, Unreadable):
            reply = platform.refuse(Refusal.UNREADABLE)
        else:
            frozen = DeviceRequest(
                method=request.method,
                path=request.match_info["tail"] if alias_of is None else request.path,
                headers=_joined(request.headers),
                body=body,
                certificate=_certificate(request, needs.settings),
                query=request.rel_url.raw_query_string,
            )
            here = _from_where(request, needs.settings)
            reply = await checkin.talk(
                needs, platform, frozen, request[REQUEST_ID], address=None if here is None else str(here)
            )
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)

    return answer


def _joined(headers: Mapping[str, str]) -> dict[str, str]:
    """Lower-case names; a field that came twice is one with a comma, as HTTP says."""
    joined: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        if key not in _OF_THE_PROXY:
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _certificate(request: web.Request, settings: ApiSettings) -> bytes | None:
    """What TLS proved: to us, or to a proxy that we trust and that hands it on (RFC 9440)."""
    tls = request.get_extra_info("ssl_object")
    if tls is not None and (proven := tls.getpeercert(binary_form=True)):
        return bytes(proven)
    handed_on = request.headers.getall("Client-Cert", [])
    if len(handed_on) != 1 or not guards.is_trusted(request.remote, settings.trusted_proxies):
        return None
    text = handed_on[0].strip()
    if len(text) < 3 or not (text.startswith(":") and text.endswith(":")):
        return None
    try:
        return base64.b64decode(text[1:-1], validate=True)
    except binascii.Error:
        return None


# A reply becomes an answer


def _response(reply: Reply, settings: ApiSettings) -> web.Response:
    headers = CIMultiDict(reply.headers)
    body = reply.body
    if isinstance(body, msgspec.Struct):
        headers["Content-Type"] = "application/json"
        body = _ENCODER.encode(body)
    for cookie in reply.cookies:
        headers.add("Set-Cookie", _spell(cookie.name, cookie, settings))
    return web.Response(status=reply.status, body=body, headers=headers)


_SAME_SITE: Final[Mapping[CookieName, str]] = {
    CookieName.SESSION: "Lax",
    CookieName.RE_SIGN_IN: "Strict",
    CookieName.RECOVERY: "Strict",
    CookieName.BROWSER: "Strict",
    CookieName.PASSKEY: "Strict",
}


def _spell(name: CookieName, cookie: Any, settings: ApiSettings) -> str:
    value, age = (cookie.value, cookie.max_age) if isinstance(cookie, SetCookie) else ("", 0)
    rules = settings.cookie_rules
    secure = "; Secure" if rules.secure else ""
    return f"{rules.prefix}{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite={_SAME_SITE[name]}{secure}"
