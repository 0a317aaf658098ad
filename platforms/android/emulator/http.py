"""A small HTTP/1.1 server with bounds, by hand on h11: the web framework is the api's alone."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import h11

log = logging.getLogger("platforms.android.emulator")

MAX_HEAD: Final = 16 * 1024
MAX_BODY: Final = 1024 * 1024
CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are lower case; the path is decoded and without its query."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """`value` as Google writes JSON."""
        content = {"content-type": "application/json; charset=UTF-8", **(headers or {})}
        return cls(status, json.dumps(value, ensure_ascii=False, indent=2).encode(), content)


Answer = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def listening(answer: Answer, port: int) -> AsyncIterator[int]:
    """Serve on the loopback; yields the port. Who is still being answered at the end is cut off."""
    talks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.ensure_future(_talk(answer, reader, writer))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for talk in tuple(talks):
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


async def _talk(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection to its end."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        while True:
            request = await _request(connection, reader, writer)
            if request is None:
                return
            response = await answer(request)
            log.debug("answered", extra={"method": request.method, "path": request.path, "status": response.status})
            _say(connection, writer, response)
            await writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()
    except (h11.RemoteProtocolError, OSError, EOFError):
        if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            _say(connection, writer, Response(400, b"", {"connection": "close"}))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _request(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """None: the other side has nothing more to ask."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                connection.receive_data(await reader.read(CHUNK))
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
                if len(body) > MAX_BODY:
                    raise h11.RemoteProtocolError("a body without end")
            case h11.EndOfMessage() if head is not None:
                target = urlsplit(head.target.decode("ascii"))
                return Request(
                    head.method.decode("ascii"),
                    unquote(target.path),
                    parse_qs(target.query, keep_blank_values=True),
                    {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
                    bytes(body),
                )
            case _:
                return None


def _say(connection: h11.Connection, writer: asyncio.StreamWriter, response: Response) -> None:
    headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
    parts = (
        h11.Response(status_code=response.status, headers=headers),
        h11.Data(data=response.body),
        h11.EndOfMessage(),
    )
    if response.status == 304:
        parts = (h11.Response(status_code=304, headers=[]), h11.Data(data=b""), h11.EndOfMessage())
    for part in parts:
        writer.write(connection.send(part) or b"")
