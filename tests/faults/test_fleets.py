"""Five hundred phones of every kind in one town: some say everything twice, some are not heard, some restart."""

import asyncio
import time
from typing import Any, Final

import pytest

from models.vocabulary import JobState
from platforms.simulation import simulated
from tests.faults.conftest import Build
from tests.faults.installation import Installation, Resident

TWICE: Final = 0.2
LOST: Final = 0.1
RESTARTS: Final = 0.1
RESTARTING: Final = {"android": "rebooting", "windows10mobile": "reboots_in_reset", "wp81": "reboots_in_reset"}
"""How a phone is told to restart between doing it and telling of it. An iPhone tells before it forgets."""


def share(residents: list[Resident], part: float, first: int) -> list[Resident]:
    """Every n-th of them, so that each part is met alone and together with the others."""
    return residents[first :: round(1 / part)]


async def a_mixed_town(house: Installation, each: int) -> dict[str, int]:
    """Everybody moves in; how many of them are of which habit."""
    google: Any = house.services["android"]
    # Its quotas are one project's, and have their own proof: two thousand phones of one town would only wait.
    google.quotas.on = False
    google.reporting = None
    told = dict.fromkeys(("twice", "lost answers", "lost results", "restarts"), 0)
    for platform in simulated():
        await house.settle_in(each, platform)
    for platform in simulated():
        mine = [resident for resident in house.residents if resident.platform == platform]
        for resident in share(mine, TWICE, 0):
            habits(resident).repeating = True
            told["twice"] += 1
        for resident in share(mine, LOST, 1):
            habits(resident).losing_answers = 1
            told["lost answers"] += 1
        for resident in share(mine, LOST, 5):
            habits(resident).losing_results = 1
            told["lost results"] += 1
        if platform in RESTARTING:
            for resident in share(mine, RESTARTS, 3):
                setattr(habits(resident), RESTARTING[platform], 1)
                told["restarts"] += 1
    return told


def habits(resident: Resident) -> Any:
    return resident.phone.habits


async def everybody_at_once(house: Installation) -> float:
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for resident in house.residents:
            group.create_task(house.reset(resident))
    return time.monotonic() - began


async def test_a_mixed_town_is_reset_without_a_doubled_effect(build: Build) -> None:
    async with build() as house:
        await a_mixed_town(house, 10)

        await everybody_at_once(house)
        await house.inspect()

        assert await house.states() == {JobState.SUCCEEDED: 40}


@pytest.mark.prove
async def test_five_hundred_phones_of_every_kind(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    each = 500
    async with build() as house:
        told = await a_mixed_town(house, each)

        seconds = await everybody_at_once(house)
        await house.inspect()

        count = each * len(simulated())
        assert await house.states() == {JobState.SUCCEEDED: count}
        with capsys.disabled():
            print(  # noqa: T201 - what the long form is asked for
                f"\n{count} phones reset in {seconds:.0f} s: {told}; {house.jumps} jumps of the clock"
            )
