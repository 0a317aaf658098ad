"""Seats and turns before work that takes a whole core."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from api.pool import READY, Pool
from models.errors import Busy

WITHIN = 10.0


async def test_of_all_who_have_a_seat_so_many_are_at_it_at_a_time_in_the_order_in_which_they_came() -> None:
    pool, begun = Pool("test", threads=1, waiting=9), list[int]()
    go_on = [asyncio.Event() for _ in range(10)]

    async def come(number: int) -> None:
        with pool.seat() as seat:
            async with seat.turn():
                begun.append(number)
                await go_on[number].wait()

    async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as crowd:
        came = [crowd.create_task(come(number)) for number in range(10)]
        await asyncio.sleep(0)
        first = list(begun)
        for number in range(10):
            go_on[number].set()
            await came[number]
    await pool.close()

    assert first == list(range(1 + READY))
    assert begun == list(range(10))


async def test_whoever_does_not_get_a_turn_in_time_is_told_to_come_again_and_takes_nothing_along() -> None:
    pool = Pool("test", threads=1, waiting=9, patience=0.01)
    async with AsyncExitStack() as at_it:
        for _ in range(1 + READY):
            seat = at_it.enter_context(pool.seat())
            await at_it.enter_async_context(seat.turn())
        for _ in range(3):
            with pool.seat() as late, pytest.raises(Busy):
                async with late.turn():
                    pass
    async with asyncio.timeout(WITHIN), AsyncExitStack() as again:
        for _ in range(1 + READY):
            await again.enter_async_context(again.enter_context(pool.seat()).turn())
    await pool.close()
