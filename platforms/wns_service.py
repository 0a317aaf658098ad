"""The push service between the server and Windows phones: WNS as an app's server sees it, on the real wire."""

import asyncio
import json
import secrets
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import h11

LARGEST: Final = 5000
"""Bytes of one notification."""


@dataclass(frozen=True, slots=True)
class Wns:
    """A notification as it comes to a phone: it says that there is one, and for which channel."""

    address: str
    """The channel's token."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What the service answers instead of taking a notification or granting a token."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


Heard = Callable[[Wns], Awaitable[None]]
_Answer = tuple[int, dict[str, str], bytes]


class WnsService:
    """WNS and the sign-in before it: whoever shows the app's name and secret is given a token, and may call with it.

    As there, 200 says that a notification was taken, not that it came: for a phone that is away one is kept.
    """

    def __init__(self, package_sid: str, secret: str) -> None:
        self._package_sid = package_sid
        self._secret = secret
        self.pushes: Counter[str] = Counter()
        """Taken, by channel."""
        self.received = 0
        """Notifications that came, whatever the answer."""
        self.asked = 0
        """Requests for a token."""
        self.lifetime = 86_400
        """Seconds that it says a token serves; only `revoke` ends one."""
        self.kept: dict[str, Wns] = {}
        self.silent = False
        """Takes requests and answers none."""
        self.connections = 0
        """That were opened."""
        self.port = 0
        self._granted: set[str] = set()
        self._failures: dict[str, deque[Failure]] = {}
        self._token_failures: deque[Failure] = deque()
        self._listeners: dict[str, Heard] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._more = asyncio.Event()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def channel(self, address: str) -> str:
        """The ChannelURI that a phone tells its servers."""
        return f"{self.url}/?token={quote(address, safe='')}"

    @asynccontextmanager
    async def open(self, tls: ssl.SSLContext, port: int = 0) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            ending = {*self._serving, *self._tasks}
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    def listen(self, address: str, heard: Heard) -> None:
        """A phone is reachable; what was kept for it comes at once."""
        self._listeners[address] = heard
        wns = self.kept.pop(address, None)
        if wns is not None:
            self._hand_over(wns, heard)

    def away(self, address: str) -> None:
        self._listeners.pop(address, None)

    def fail_once(self, address: str, failure: Failure) -> None:
        """Failures of one channel are answered in the order given, each once."""
        self._failures.setdefault(address, deque()).append(failure)

    def fail_token_once(self, failure: Failure) -> None:
        self._token_failures.append(failure)

    def revoke(self) -> None:
        """Every token is over, whatever was said of its life."""
        self._granted.clear()

    async def until_received(self, count: int) -> None:
        while self.received < count:
            self._more.clear()
            await self._more.wait()

    async def idle(self) -> None:
        """Until no phone works on a notification that was handed over."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # What requests mean

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        parts = urlsplit(target)
        if parts.path == "/accesstoken.srf":
            return self._grant(method, headers, body)
        if parts.path != "/":
            return 404, {}, b""
        self.received += 1
        self._more.set()
        if method != "POST":
            return 405, {}, b""
        address = parse_qs(parts.query).get("token", [""])[0]
        failure = self._mistake(address, headers, body)
        if failure is None and (failures := self._failures.get(address)):
            failure = failures.popleft()
        if failure is not None:
            return failure.status, {"X-WNS-Msg-ID": uuid4().hex, **failure.headers}, b""
        return 200, self._take(address, headers), b""

    def _grant(self, method: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        self.asked += 1
        if self._token_failures:
            failure = self._token_failures.popleft()
            return failure.status, dict(failure.headers), b""
        given = {name: values[0] for name, values in parse_qs(body.decode("ascii", "replace")).items()}
        wanted = {
            "grant_type": "client_credentials",
            "client_id": self._package_sid,
            "client_secret": self._secret,
            "scope": "notify.windows.com",
        }
        kind = headers.get("content-type", "").partition(";")[0]
        if method != "POST" or kind != "application/x-www-form-urlencoded" or given != wanted:
            return 400, {"Content-Type": "application/json"}, b'{"error":"invalid_client"}'
        token = secrets.token_urlsafe(48)
        self._granted.add(token)
        said = {"access_token": token, "token_type": "bearer", "expires_in": self.lifetime}
        return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()

    def _mistake(self, address: str, headers: Mapping[str, str], body: bytes) -> Failure | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        checks = (
            (scheme.lower() == "bearer" and token in self._granted, 401),
            (bool(address), 404),
            (headers.get("x-wns-type") == "wns/raw", 400),
            (headers.get("content-type") == "application/octet-stream", 400),
            (headers.get("x-wns-cache-policy", "no-cache") in {"cache", "no-cache"}, 400),
            (headers.get("x-wns-ttl", "0").isdigit(), 400),
            (bool(body), 400),
            (len(body) <= LARGEST, 413),
        )
        status = next((status for sound, status in checks if not sound), None)
        return None if status is None else Failure(status)

    def _take(self, address: str, headers: Mapping[str, str]) -> dict[str, str]:
        self.pushes[address] += 1
        heard, status = self._listeners.get(address), "received"
        if heard is not None:
            self._hand_over(Wns(address), heard)
        elif headers.get("x-wns-cache-policy") == "cache":
            self.kept[address] = Wns(address)
        else:
            status = "dropped"
        connected = "disconnected" if heard is None else "connected"
        return {
            "X-WNS-NotificationStatus": status,
            "X-WNS-DeviceConnectionStatus": connected,
            "X-WNS-Msg-ID": uuid4().hex,
        }

    def _hand_over(self, wns: Wns, heard: Heard) -> None:
        task = asyncio.ensure_future(heard(wns))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The wire

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (h11.ProtocolError, OSError):
            pass  # a client that breaks off or speaks something else
        finally:
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer. False: the last on this connection."""
        request = await _event(connection, reader)
        if not isinstance(request, h11.Request):
            return False
        body = b""
        while isinstance(event := await _event(connection, reader), h11.Data):
            body += event.data
        if self.silent:
            await asyncio.Event().wait()
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        status, more, content = self.answer(request.method.decode(), request.target.decode(), headers, body)
        head = h11.Response(status_code=status, headers=[*more.items(), ("Content-Length", str(len(content)))])
        for event in (head, h11.Data(data=content), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(65_536))
    return event


# From the folder that `demo_keys` filled


def open_service(keys: Path, port: int) -> AbstractAsyncContextManager[WnsService]:
    """Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(keys / "wns-server.crt", keys / "wns-server.key")
    service = WnsService((keys / "wns-package-sid.txt").read_text(), (keys / "wns-secret.txt").read_text())
    return service.open(context, port)
