"""The open stream over real HTTP: what it says, what it catches up with, and what ends it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import ClientResponse

from api.keys import NEEDS
from api.stream import Streams, StreamSettings
from models import account, session
from tests.api.house import House
from tests.api.test_notification import tell
from tests.people import Person
from tests.servers import RedisServer

PATIENCE = 10.0


@pytest.fixture
def stream_settings() -> StreamSettings:
    """A short beat, so that what only the beat finds is found within a test."""
    return StreamSettings(beat=0.2, per_account=3, lines=2)


@dataclass(slots=True)
class Event:
    name: str
    id: int
    data: Any


class Reader:
    """Reads events as a browser does."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.retry: int | None = None
        self.beats = 0

    async def line(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await self.response.content.readline()).decode()

    async def event(self) -> Event:
        fields: dict[str, str] = {}
        while True:
            line = await self.line()
            if not line:
                raise EOFError
            if line == "\n":
                if "data" in fields:
                    return Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
                continue
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "retry":
                self.retry = int(value)
            elif not name:
                self.beats += 1
            else:
                fields[name] = value

    async def ended(self) -> None:
        while await self.line():
            pass


@asynccontextmanager
async def listening(house: House, token: str, last: int | None = None) -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {token}"}
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    async with house.client.get("/api/v1/notifications/stream", headers=headers) as response:
        assert response.status == 200
        yield Reader(response)


async def hired(house: House, token: str = "t", name: str = "anna") -> Person:
    person = await house.hire(name)
    await house.open_session(person, token)
    return person


def streams(house: House) -> Streams:
    app = house.client.app
    assert app is not None
    return app[NEEDS].streams


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not there():  # noqa: ASYNC110 - what the app holds open is asked, it rings nobody
            await asyncio.sleep(0.01)


async def nudge(house: House, person: Person) -> None:
    app = house.client.app
    assert app is not None
    app[NEEDS].door.nudge(person.id)


async def test_it_begins_with_the_count_and_then_tells_what_is_new(house: House) -> None:
    anna = await hired(house)
    await tell(house, anna, 2)

    async with listening(house, "t") as reader:
        first = await reader.event()
        await tell(house, anna)
        await nudge(house, anna)
        second, third = await reader.event(), await reader.event()

        assert reader.response.headers["Content-Type"] == "text/event-stream"
        assert reader.response.headers["Cache-Control"] == "no-store"
        assert reader.response.headers["X-Accel-Buffering"] == "no"
        assert reader.response.headers["X-Content-Type-Options"] == "nosniff"
        assert reader.response.headers["X-Request-Id"]
        assert reader.retry is not None
    assert first == Event("unread", 2, {"unread": 2})
    assert (second.name, second.id, second.data["key"]) == ("notification", 3, "re_sign_in.lapsed")
    assert third == Event("unread", 3, {"unread": 3})


async def test_whoever_comes_back_is_told_what_was_missed_in_order(house: House) -> None:
    anna = await hired(house)
    await tell(house, anna, 5)

    async with listening(house, "t", last=1) as reader:
        seen = [await reader.event() for _ in range(5)]

    assert [event.id for event in seen] == [2, 3, 4, 5, 5]
    assert [event.name for event in seen] == ["notification"] * 4 + ["unread"]


@pytest.mark.parametrize("last", [7, 2**61])
async def test_a_number_from_a_database_that_was_set_back_begins_anew(house: House, last: int) -> None:
    anna = await hired(house)
    await tell(house, anna, 2)

    async with listening(house, "t", last=last) as reader:
        assert await reader.event() == Event("unread", 2, {"unread": 2})
        await tell(house, anna)
        await nudge(house, anna)
        assert (await reader.event()).id == 3


async def test_a_last_event_id_that_is_no_number_is_as_none(house: House) -> None:
    anna = await hired(house)
    await tell(house, anna, 1)

    headers = {"Authorization": "Bearer t", "Last-Event-ID": "\u0663; drop"}
    async with house.client.get("/api/v1/notifications/stream", headers=headers) as response:
        assert await Reader(response).event() == Event("unread", 1, {"unread": 1})


async def test_reading_in_one_window_changes_the_count_in_the_other(house: House) -> None:
    anna = await hired(house)
    await tell(house, anna, 2)

    async with listening(house, "t") as reader:
        await reader.event()
        await house.ask("POST", "/notifications/read", {"up_to": 2}, token="t")

        assert await reader.event() == Event("unread", 2, {"unread": 0})


async def test_a_lost_nudge_is_made_good_by_the_beat(house: House) -> None:
    anna = await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        await tell(house, anna)

        assert (await reader.event()).name == "notification"


async def test_without_redis_the_beat_still_tells(house: House, one_redis: RedisServer) -> None:
    anna = await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        one_redis.freeze(True)
        try:
            await tell(house, anna)
            assert (await reader.event()).name == "notification"
        finally:
            one_redis.freeze(False)


@pytest.mark.parametrize("stream_settings", [StreamSettings(beat=100 * PATIENCE)])
async def test_what_this_process_did_itself_is_told_without_redis_and_before_the_beat(
    house: House, one_redis: RedisServer
) -> None:
    anna = await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        one_redis.freeze(True)
        try:
            await tell(house, anna)
            await nudge(house, anna)
            assert (await reader.event()).name == "notification"
        finally:
            one_redis.freeze(False)


async def test_silence_is_filled_with_beats(house: House) -> None:
    await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        lines = [await reader.line() for _ in range(4)]

    assert lines == [": \n", "\n", ": \n", "\n"]


async def test_one_persons_news_is_no_elses(house: House) -> None:
    anna, _ = await hired(house, "a", "anna"), await hired(house, "b", "bert")

    async with listening(house, "a") as hers, listening(house, "b") as his:
        await hers.event()
        await his.event()
        await tell(house, anna)
        await nudge(house, anna)
        assert (await hers.event()).name == "notification"

        assert [await his.line() for _ in range(4)] == [": \n", "\n"] * 2


async def test_signing_out_everywhere_ends_the_stream_at_once(house: House) -> None:
    await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="t")
        assert answer.status == 204
        await reader.ended()

    assert (await house.ask("GET", "/notifications", token="t")).status == 401


@pytest.mark.parametrize("how", ["generation", "ended", "blocked", "idle"])
async def test_a_dead_sessions_stream_is_ended_by_the_beat(house: House, how: str) -> None:
    anna = await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        async with house.db.write() as tx:
            if how == "generation":
                await account.end_every_session(tx, anna.id)
            elif how == "ended":
                await tx.execute(sa.update(session.session).values(ended_at=house.clock.now))
            elif how == "blocked":
                await tx.execute(sa.update(account.account).values(blocked_at=house.clock.now))
        if how == "idle":
            house.clock.forward(1800)
        await reader.ended()

    await until(lambda: streams(house).open == 0)


async def test_another_session_of_the_account_keeps_its_stream(house: House) -> None:
    anna = await hired(house)
    await house.open_session(anna, "other")

    async with listening(house, "t") as reader, listening(house, "other") as other:
        await reader.event()
        await other.event()
        assert (await house.ask("DELETE", "/sessions/current", token="t")).status == 204
        await reader.ended()

        assert (await other.line(), await other.line()) == (": \n", "\n")


async def test_an_account_has_so_many_streams_and_no_more(house: House) -> None:
    await hired(house)

    async with listening(house, "t"), listening(house, "t"), listening(house, "t"):
        answer = await house.ask("GET", "/notifications/stream", token="t")
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) >= 1

    await until(lambda: streams(house).open < 3)
    async with listening(house, "t") as reader:
        await reader.event()


async def test_a_browser_that_leaves_is_noticed(house: House) -> None:
    await hired(house)

    async with listening(house, "t") as reader:
        await reader.event()
        assert streams(house).open == 1

    await until(lambda: streams(house).open == 0)


async def test_whoever_does_not_read_is_dropped_and_catches_up(house: House) -> None:
    anna = await hired(house)
    address = house.client.server
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1024)
    try:
        writer.write(b"GET /api/v1/notifications/stream HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n")
        await reader.readuntil(b"unread")
        # More than both kernels' buffers and ours hold together.
        await tell(house, anna, 300, key="k" * 30_000)
        await nudge(house, anna)
        await until(lambda: streams(house).open == 0)
    finally:
        writer.close()

    async with listening(house, "t", last=299) as again:
        assert (await again.event()).id == 300


async def test_streams_end_when_the_process_stops(house: House) -> None:
    await hired(house)
    app = house.client.app
    assert app is not None

    async with listening(house, "t") as reader:
        await reader.event()
        await app.shutdown()
        await reader.ended()

        answer = await house.ask("GET", "/notifications/stream", token="t")
        assert (answer.status, answer.json["code"]) == (503, "busy")


async def test_half_a_sign_in_opens_no_stream(house: House) -> None:
    anna = await house.hire(second_factor=True)
    half = (await house.sign_in(anna)).json

    answer = await house.ask("GET", "/notifications/stream", token=half["token"])

    assert (answer.status, answer.json["code"]) == (401, "second_factor_required")
