"""The push service between the server and its devices: APNs as a provider sees it, on the real wire."""

import asyncio
import json
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self
from uuid import uuid4

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError


@dataclass(frozen=True, slots=True)
class Push:
    address: str
    """The device token, lower-case hex."""
    magic: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """What the service answers instead of taking a push. `timestamp` (ms) belongs to 410."""

    status: int
    reason: str
    timestamp: int | None = None


Heard = Callable[[Push], Awaitable[None]]


class PushService:
    """APNs as a provider sees it: HTTP/2 over TLS, each client known by its certificate, whose UID is its topic.

    As there, 200 says that a push was taken, not that it came: for a device that is away the last one is kept.
    """

    def __init__(self) -> None:
        self.pushes: Counter[str] = Counter()
        """Taken, by token."""
        self.received = 0
        """Requests that came to an end, whatever the answer."""
        self.kept: dict[str, Push] = {}
        self.silent = False
        """Takes requests and answers none."""
        self.go_away_once = False
        """The next request is answered by GOAWAY, which says that it was not looked at."""
        self.port = 0
        self._failures: dict[str, deque[Failure]] = {}
        self._listeners: dict[str, Heard] = {}
        self.connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._more: asyncio.Future[None] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self, tls: ssl.SSLContext, port: int = 0) -> AsyncIterator[Self]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(_Connection, self), "127.0.0.1", port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in tuple(self.connections):
                connection.close()
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def listen(self, address: str, heard: Heard) -> None:
        """A device is reachable; what was kept for it comes at once."""
        self._listeners[address] = heard
        push = self.kept.pop(address, None)
        if push is not None:
            self._hand_over(push, heard)

    def away(self, address: str) -> None:
        self._listeners.pop(address, None)

    def fail_once(self, address: str, failure: Failure) -> None:
        """Failures of one token are answered in the order given, each once."""
        self._failures.setdefault(address, deque()).append(failure)

    def go_away(self) -> None:
        """End every connection as the service does for its own maintenance."""
        for connection in tuple(self.connections):
            connection.go_away()

    async def until_received(self, count: int) -> None:
        while self.received < count:
            if self._more is None:
                self._more = asyncio.get_running_loop().create_future()
            await self._more

    async def idle(self) -> None:
        """Until no device works on a push that was handed over."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def take(self, headers: Mapping[str, str], body: bytes, topic: str | None) -> Failure | None:
        """One request's meaning. None: taken."""
        self.received += 1
        if self._more is not None:
            self._more.set_result(None)
            self._more = None
        push = _push(headers, body, topic)
        if isinstance(push, Failure):
            return push
        if failures := self._failures.get(push.address):
            return failures.popleft()
        self.pushes[push.address] += 1
        heard = self._listeners.get(push.address)
        if heard is not None:
            self._hand_over(push, heard)
        elif headers["apns-expiration"] != "0":
            self.kept[push.address] = push
        return None

    def _hand_over(self, push: Push, heard: Heard) -> None:
        task = asyncio.ensure_future(heard(push))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _push(headers: Mapping[str, str], body: bytes, topic: str | None) -> Push | Failure:
    """The service's checks, with the service's own words for what fails them."""
    address = headers.get(":path", "").removeprefix("/3/device/")
    if headers.get(":method") != "POST":
        return Failure(405, "MethodNotAllowed")
    if not headers.get(":path", "").startswith("/3/device/"):
        return Failure(404, "BadPath")
    if topic is None:
        return Failure(403, "BadCertificate")
    if len(body) > 4096:
        return Failure(413, "PayloadTooLarge")
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    magic = content.get("mdm") if isinstance(content, dict) and len(content) == 1 else None
    mistakes = (
        (len(address) != 64 or not set(address) <= set("0123456789abcdef"), "BadDeviceToken"),
        ("apns-topic" not in headers, "MissingTopic"),
        (headers.get("apns-topic") != topic, "TopicDisallowed"),
        (headers.get("apns-push-type") != "mdm", "InvalidPushType"),
        (headers.get("apns-priority", "10") not in {"5", "10"}, "BadPriority"),
        (not headers.get("apns-expiration", "").isdigit(), "BadExpirationDate"),
        (not isinstance(magic, str) or not magic, "PayloadEmpty"),
    )
    reason = next((reason for wrong, reason in mistakes if wrong), None)
    return Push(address, str(magic)) if reason is None else Failure(400, reason)


class _Connection(asyncio.Protocol):
    """One provider's connection. By hand on h2, since the service is part of what benchmarks call the floor."""

    def __init__(self, service: PushService) -> None:
        self._service = service
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding="utf-8",
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._streams: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._transport: asyncio.Transport | None = None
        self._topic: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if not isinstance(transport, asyncio.Transport) or tls.selected_alpn_protocol() != "h2":
            transport.close()
            return
        subject = (tls.getpeercert() or {}).get("subject", ())
        self._topic = next((value for names in subject for name, value in names if name == "userId"), None)
        self._transport = transport
        self._service.connections.add(self)
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        self._service.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            for event in self._h2.receive_data(data):
                match event:
                    case events.RequestReceived():
                        self._streams[event.stream_id] = (_decoded(event.headers), bytearray())
                    case events.DataReceived():
                        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        if event.stream_id in self._streams:
                            self._streams[event.stream_id][1].extend(event.data)
                    case events.StreamEnded():
                        self._answer(event.stream_id)
                    case events.StreamReset():
                        self._streams.pop(event.stream_id, None)
                    case events.ConnectionTerminated():
                        self.close()
        except ProtocolError:
            self.close()
        self._flush()

    def _answer(self, stream: int) -> None:
        headers, body = self._streams.pop(stream, ({}, bytearray()))
        if self._service.silent or not headers:
            return
        if self._service.go_away_once:
            self._service.go_away_once = False
            self._end(max(stream - 2, 0))
            return
        failure = self._service.take(headers, bytes(body), self._topic)
        status = 200 if failure is None else failure.status
        answer = [(":status", str(status)), ("apns-id", headers.get("apns-id") or str(uuid4()).upper())]
        if failure is None:
            self._h2.send_headers(stream, answer, end_stream=True)
            return
        said: dict[str, object] = {"reason": failure.reason}
        if failure.timestamp is not None:
            said["timestamp"] = failure.timestamp
        self._h2.send_headers(stream, [*answer, ("content-type", "application/json")])
        self._h2.send_data(stream, json.dumps(said).encode(), end_stream=True)

    def go_away(self) -> None:
        self._end(None)

    def _end(self, last_stream: int | None) -> None:
        self._h2.close_connection(last_stream_id=last_stream)
        self._flush()
        self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)


def _decoded(headers: Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    """They are text already, as `header_encoding` asked; the types cannot know."""
    return {str(name): str(value) for name, value in headers}


def server_tls(folder: Path) -> ssl.SSLContext:
    """The push service's side of TLS, from the folder that `demo_keys` filled."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "push-server.crt", folder / "push-server.key")
    context.load_verify_locations(folder / "push-ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context
