"""Open notification streams (SSE): one Redis listener and one beat for all of them.

A stream is the handler's own task and nothing beside it: it sleeps until the listener or the beat rings it, then looks
at the rows and writes. So only one task ever writes to a connection, and an open stream costs no timer and no queue:
what is to be told stands in the database, and `seen` says from where on.

Whoever reads too slowly is dropped, not buffered for: the browser comes back and names the last line it saw.
"""

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec
from aiohttp import web

from api import render
from api.call import StreamReply
from api.keys import REQUEST_ID
from api.operations import notification
from api.operations.notification import Watch
from models.database import Database, DatabaseDown
from models.errors import Busy, TooManyTries
from workers.queue import QueueDoor

log = logging.getLogger(__name__)

_COMMENT: Final = b": \n\n"
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class StreamSettings:
    beat: float = 10.0
    """Seconds between two signs of life, and between two looks at what no nudge told of."""
    slice: int = 200
    """Streams that are rung and asked about at once; the beat's length is spread over the slices."""
    lines: int = 100
    """Read at once; a stream that missed more reads again."""
    per_account: int = 10
    per_process: int = 20_000
    kernel_buffer: int = 32 * 1024
    buffer: int = 64 * 1024
    """Bytes that may wait for a reader in our own memory."""


class _Stream:
    """Slots, because thousands are open at once."""

    __slots__ = ("beat", "bell", "ended", "look", "request", "seen", "unread", "watch")

    def __init__(self, watch: Watch, request: web.Request, seen: int | None) -> None:
        self.watch = watch
        self.request = request
        self.seen = seen
        self.unread: int | None = None
        self.look = True
        self.beat = False
        self.ended = False
        self.bell: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self.bell is not None and not self.bell.done():
            self.bell.set_result(None)

    async def sleep(self) -> None:
        if not (self.look or self.beat or self.ended):
            self.bell = asyncio.get_running_loop().create_future()
            await self.bell
            self.bell = None

    def drop(self) -> None:
        """Cut the connection; a write that waits for its reader ends with it."""
        self.ended = True
        if self.request.transport is not None:
            self.request.transport.abort()
        self.ring()


class Streams:
    """The streams of this process."""

    def __init__(
        self, database: Database, door: QueueDoor, headers: Mapping[str, str], settings: StreamSettings
    ) -> None:
        """`headers`: those that every answer of ours carries; a stream's head is written here."""
        self._database = database
        self._door = door
        self._settings = settings
        self._headers = {
            **headers,
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
        }
        self._by_account: dict[UUID, list[_Stream]] = {}
        self._open = 0
        self._closing = False

    @property
    def open(self) -> int:
        return self._open

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listens and beats while the block lasts."""
        self._door.near = self._ring
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_beating())]
        for task in tasks:
            task.add_done_callback(self._fell)
        try:
            yield
        finally:
            self._door.near = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _fell(self, task: asyncio.Task[None]) -> None:
        """A bug. Without the beat a dead session's stream would stay open: better none than that."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("streams are closed for good", extra={"error_type": type(error).__name__})
            self.close()

    def close(self) -> None:
        """Let every stream end, and none begin: the process stops, and browsers find another."""
        self._closing = True
        for stream in self._all():
            stream.ended = True
            stream.ring()

    async def serve(self, request: web.Request, asked: StreamReply) -> web.StreamResponse:
        """Tell until the session, the browser or the process ends. Raises TooManyTries, Busy."""
        with self._admitted(request, asked) as stream:
            response = web.StreamResponse(headers={**self._headers, "X-Request-Id": request[REQUEST_ID]})
            await response.prepare(request)
            self._bound_buffers(request)
            with contextlib.suppress(ConnectionError):
                # Each its own pause, so that after a restart not all come back in one second.
                await response.write(b"retry: %d\n\n" % random.randint(1000, 4000))  # noqa: S311 - jitter
                await self._speak(stream, response)
        return response

    @contextlib.contextmanager
    def _admitted(self, request: web.Request, asked: StreamReply) -> Iterator[_Stream]:
        account_id = asked.account_id
        if self._closing or self._open >= self._settings.per_process:
            raise Busy
        if len(self._by_account.get(account_id, ())) >= self._settings.per_account:
            raise TooManyTries(timedelta(seconds=self._settings.beat))
        watch = Watch(asked.session_id, asked.organization_id, account_id)
        stream = _Stream(watch, request, asked.last_seq)
        # Before the first look at the rows: what is told in between rings already.
        self._by_account.setdefault(account_id, []).append(stream)
        self._open += 1
        try:
            yield stream
        finally:
            self._open -= 1
            siblings = self._by_account[account_id]
            siblings.remove(stream)
            if not siblings:
                del self._by_account[account_id]

    def _bound_buffers(self, request: web.Request) -> None:
        transport = request.transport
        if transport is None:
            return
        transport.set_write_buffer_limits(high=self._settings.buffer)
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._settings.kernel_buffer)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # A browser that vanished without a word answers no beat: three of them, and the kernel says so.
                milliseconds = int(3000 * self._settings.beat)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    async def _speak(self, stream: _Stream, response: web.StreamResponse) -> None:
        while not stream.ended:
            if stream.look:
                stream.look = stream.beat = False
                await self._tell(stream, response)
            elif stream.beat:
                stream.beat = False
                await self._write(stream, response, _COMMENT)
            await stream.sleep()

    async def _tell(self, stream: _Stream, response: web.StreamResponse) -> None:
        """Look at the rows and write what is new."""
        try:
            news = await notification.news(self._database, stream.watch, stream.seen, self._settings.lines)
        except DatabaseDown:
            return  # the next beat looks again
        if news is None:
            stream.ended = True
            return
        for line in news.lines:
            await self._write(stream, response, _event(b"notification", line.seq, render.notification(line)))
            stream.seen = line.seq
        if len(news.lines) == self._settings.lines:
            stream.look = True
            return
        # After what was told there may be less than `seq`: it counts all of the account's organizations. A number
        # above it comes of a database that was set back.
        told = news.lines[-1].seq if news.lines else 0
        stream.seen = max(told, news.seq)
        if news.unread != stream.unread:
            stream.unread = news.unread
            body = render.unread(news.unread)
            await self._write(stream, response, _event(b"unread", stream.seen, body))

    async def _write(self, stream: _Stream, response: web.StreamResponse, data: bytes) -> None:
        transport = stream.request.transport
        if transport is None:
            raise ConnectionResetError
        if transport.get_write_buffer_size() > self._settings.buffer:
            stream.drop()
            raise ConnectionResetError
        await response.write(data)

    async def _listen(self) -> None:
        async for account_id in self._door.listen():
            self._ring(account_id)

    def _ring(self, account_id: UUID) -> None:
        for stream in self._by_account.get(account_id, ()):
            stream.look = True
            stream.ring()

    async def _keep_beating(self) -> None:
        while True:
            streams = self._all()
            slices = [streams[at : at + self._settings.slice] for at in range(0, len(streams), self._settings.slice)]
            pause = self._settings.beat / max(1, len(slices))
            for some in slices or [[]]:
                await asyncio.sleep(pause)
                await self._beat(some)

    async def _beat(self, streams: list[_Stream]) -> None:
        """Ring each, end those whose session is dead, and let those look for whom there is news that no nudge told."""
        counts = await self._counts(streams)
        for stream in streams:
            if stream.beat or stream.ended:
                stream.drop()  # the last beat is still not written: it waits for a reader that does not read
                continue
            stream.beat = True
            if counts is not None:
                count = counts.get(stream.watch.session_id)
                stream.ended = count is None
                stream.look = stream.look or (count is not None and count != stream.seen)
            stream.ring()

    async def _counts(self, streams: list[_Stream]) -> dict[UUID, int] | None:
        """None: the database does not say, so nobody is ended on a guess."""
        if not streams:
            return {}
        try:
            return await notification.counts(self._database, list({stream.watch.session_id for stream in streams}))
        except DatabaseDown:
            return None

    def _all(self) -> list[_Stream]:
        return [stream for siblings in self._by_account.values() for stream in siblings]


def _event(name: bytes, seq: int, body: msgspec.Struct) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, name, _ENCODER.encode(body))
