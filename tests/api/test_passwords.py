"""Hashing off the loop, in a bounded queue, at one cost for everybody."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, extract_parameters

from api.passwords import Hasher, HashSettings, threads_on
from api.pool import NICE
from models.errors import Busy
from models.settings import SettingsError

FLOOR = HashSettings(memory_kib=19 * 1024, passes=2)


@pytest.fixture
async def hasher() -> AsyncIterator[Hasher]:
    async with Hasher(FLOOR) as hasher:
        yield hasher


async def hash_of(hasher: Hasher, password: str) -> str:
    with hasher.place() as place:
        return await place.hash(password)


async def fits(hasher: Hasher, known: str | None, password: str) -> bool:
    with hasher.place() as place:
        return await place.verify(known, password)


async def test_a_password_fits_its_own_hash_and_no_other(hasher: Hasher) -> None:
    known = await hash_of(hasher, "correct horse battery staple")

    assert await fits(hasher, known, "correct horse battery staple")
    assert not await fits(hasher, known, "correct horse battery stable")
    assert known != await hash_of(hasher, "correct horse battery staple"), "each hash has its own salt"


async def test_hashes_are_argon2id_of_the_set_cost() -> None:
    async with Hasher(HashSettings()) as hasher:
        found = extract_parameters(await hash_of(hasher, "a password"))

    assert (found.type.name, found.memory_cost, found.time_cost, found.parallelism) == ("ID", 46 * 1024, 1, 1)


async def test_composed_and_decomposed_letters_are_one_password(hasher: Hasher) -> None:
    known = await hash_of(hasher, "caf\u00e9")

    assert await fits(hasher, known, "cafe\u0301")


async def test_nothing_but_the_normal_form_is_changed(hasher: Hasher) -> None:
    known = await hash_of(hasher, " Space and Case \u00bd ")

    assert await fits(hasher, known, " Space and Case \u00bd ")
    for other in ("Space and Case \u00bd", " space and case \u00bd ", " Space and Case 1\u20442 "):
        assert not await fits(hasher, known, other)


async def test_a_long_password_is_never_cut_short(hasher: Hasher) -> None:
    known = await hash_of(hasher, "x" * 1024)

    assert not await fits(hasher, known, "x" * 1023)


async def test_where_there_is_no_hash_nothing_is_right_and_one_of_the_same_cost_is_verified(hasher: Hasher) -> None:
    real = await hash_of(hasher, "a password")
    verified: list[str] = []

    with hasher.place() as place:
        fits_really = place._fits

        def watch(known: str, password: str) -> bool:
            verified.append(known)
            return fits_really(known, password)

        place._fits = watch  # type: ignore[method-assign] # looked at, not replaced
        assert not await place.verify(None, "a password")
        assert await place.verify(real, "a password")

    of_nobody, of_somebody = map(extract_parameters, verified)
    assert of_nobody == of_somebody


async def test_a_weaker_hash_is_told_and_one_as_strong_is_not(hasher: Hasher) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("a password")
    strong = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4).hash("a password")
    other = "$argon2i$" + weak.removeprefix("$argon2id$")

    assert hasher.is_weak(weak)
    assert hasher.is_weak(other)
    assert not hasher.is_weak(strong)
    assert not hasher.is_weak(await hash_of(hasher, "a password"))


@pytest.mark.parametrize(
    ("memory_kib", "passes", "lanes"),
    [(46 * 1024 - 1, 1, 1), (19 * 1024 - 1, 2, 1), (19 * 1024, 1, 1), (46 * 1024, 0, 1), (46 * 1024, 1, 0)],
)
def test_a_cost_below_the_floor_stops_the_start(memory_kib: int, passes: int, lanes: int) -> None:
    with pytest.raises(SettingsError):
        HashSettings(memory_kib=memory_kib, passes=passes, lanes=lanes)


@pytest.mark.parametrize(("memory_kib", "passes"), [(46 * 1024, 1), (19 * 1024, 2), (64 * 1024, 3)])
def test_a_cost_on_the_floor_is_taken(memory_kib: int, passes: int) -> None:
    assert HashSettings(memory_kib=memory_kib, passes=passes).passes == passes


@pytest.mark.parametrize(("threads", "waiting"), [(0, 1), (1, -1)])
def test_a_pool_without_threads_is_refused(threads: int, waiting: int) -> None:
    with pytest.raises(SettingsError):
        HashSettings(threads=threads, waiting=waiting)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (4, 2), (64, 2)])
def test_a_core_is_left_to_whoever_waits_for_an_answer(cores: int, threads: int) -> None:
    assert threads_on(cores) == threads


async def test_hashes_stand_back_behind_whoever_waits_for_an_answer(hasher: Hasher) -> None:
    with hasher.place() as place:
        theirs = await place._seat.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    # Elsewhere threads have no priority of their own.
    assert theirs == (max(ours, NICE) if sys.platform == "linux" else ours)


class Held:
    """Work that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self) -> bool:
        self.begun.release()
        assert self.go.wait(10)
        return True


async def hold(hasher: Hasher, held: Held) -> bool:
    with hasher.place() as place:
        return await place._seat.run(held)


async def test_a_full_queue_says_busy_and_takes_work_again_when_there_is_room() -> None:
    held = Held()
    async with Hasher(HashSettings(threads=1, waiting=1)) as hasher:
        running = asyncio.create_task(hold(hasher, held))
        assert await asyncio.to_thread(held.begun.acquire, timeout=10)
        waiting = asyncio.create_task(hold(hasher, held))
        await asyncio.sleep(0)

        with pytest.raises(Busy) as refused:
            await fits(hasher, None, "a password")
        held.go.set()
        await asyncio.gather(running, waiting)

        assert refused.value.facts["retry_after"] >= 1  # type: ignore[operator] # facts are objects
        assert not await fits(hasher, None, "a password")


async def test_a_caller_who_goes_away_frees_no_place_that_is_still_worked_in() -> None:
    held = Held()
    async with Hasher(HashSettings(threads=1, waiting=0)) as hasher:
        running = asyncio.create_task(hold(hasher, held))
        assert await asyncio.to_thread(held.begun.acquire, timeout=10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        with pytest.raises(Busy):
            await fits(hasher, None, "a password")
        held.go.set()


async def test_a_place_that_was_not_used_is_free_again_and_one_used_twice_is_one() -> None:
    async with Hasher(HashSettings(threads=1, waiting=0)) as hasher:
        with hasher.place(), pytest.raises(Busy), hasher.place():
            pass
        with hasher.place() as place:
            known = await place.hash("a password")
            assert await place.verify(known, "a password")

        assert await fits(hasher, known, "a password")


async def test_the_loop_goes_on_while_hashes_are_made(hasher: Hasher) -> None:
    turns = 0
    work = asyncio.create_task(hash_of(hasher, "a password"))
    while not work.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 10
