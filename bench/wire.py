"""The client's end: requests written beforehand, sent over kept connections, with as little of our own as can be.

On two cores whatever the client spends is taken from the server.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

Answer = tuple[int, bytes, bytes]
"""Status, head, body."""


def request(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"", *, token: str | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._heard = bytearray()
        self._answer: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(cls, port: int) -> Self:
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, data: bytes) -> Answer:
        if self._transport is None:
            raise ConnectionError("the connection is closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._heard += data
        end = self._heard.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = bytes(self._heard[:end]).lower()
        _, _, length = head.partition(b"\r\ncontent-length:")
        whole = end + 4 + (int(length.partition(b"\r\n")[0]) if length else 0)
        if len(self._heard) >= whole and not self._answer.done():
            body = bytes(self._heard[end + 4 : whole])
            del self._heard[:whole]
            self._answer.set_result((int(head[9:12]), head, body))


@dataclass(slots=True)
class Run:
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds, of each request."""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


async def drive(port: int, talks: Sequence[Sequence[bytes]], status: int, connections: int = 16) -> Run:
    """Every talk from its first request to its last, `connections` of them at a time. Raises when one is refused."""
    opened = [await Connection.open(port) for _ in range(connections)]
    run = Run()
    waiting = iter(talks)
    begun = time.perf_counter()
    await asyncio.gather(*(_talk(connection, waiting, status, run) for connection in opened))
    run.seconds = time.perf_counter() - begun
    for connection in opened:
        connection.close()
    return run


async def _talk(connection: Connection, talks: Iterator[Sequence[bytes]], status: int, run: Run) -> None:
    for talk in talks:
        for data in talk:
            begun = time.perf_counter()
            answered, _, body = await connection.ask(data)
            run.latencies.append(time.perf_counter() - begun)
            if answered != status:
                raise RuntimeError(f"{data[:80]!r} was answered with {answered}: {body[:300]!r}")


class Road:
    """A simulated device's way to the server, over one kept connection. Meets the simulators' Transport."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: Connection | None = None

    async def open(self) -> None:
        self._connection = await Connection.open(self._port)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._connection is None:
            raise OSError("the road is not open")
        path = "/" + url.split("/", 3)[3]
        status, head, answer = await self._connection.ask(request(method, path, headers, body))
        lines: list[Any] = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
        return status, {name.decode(): value.strip().decode() for name, _, value in lines}, answer


class Listener:
    """An open notification stream that is read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, token: str) -> Self:
        """Returns once the stream has said its first line."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/api/v1/notifications/stream", token=token))
        listener = cls(reader, writer)
        await listener.until(b"event: unread")
        return listener

    async def until(self, words: bytes) -> None:
        while words not in (line := await self._reader.readline()):
            if not line or (line.startswith(b"HTTP/1.1") and b" 200 " not in line):
                raise RuntimeError(f"the stream ended with {line!r}")

    def close(self) -> None:
        self._writer.close()
