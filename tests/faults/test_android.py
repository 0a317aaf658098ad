"""Android phones behind a Google that has a bad day: each order is carried out once, and told once."""

import asyncio
import time
from typing import Any

import pytest

from models.vocabulary import JobState
from platforms.android.emulator import Emulator, Failure
from tests.faults.conftest import Build
from tests.faults.installation import Installation
from tests.faults.test_faults import everybody_resets, hurt_at_random


async def bad_day(house: Installation, people: int) -> Emulator:
    """20 % of the notices come twice, 10 % never, 20 % late; one order in ten goes wrong, half of them unknown how;
    every fourth phone restarts between doing it and telling of it."""
    google = house.services["android"]
    assert isinstance(google, Emulator)
    # A first report that is lost comes again within hours: longer than anybody here waits.
    google.reporting = None
    await house.settle_in(people, "android")
    google.chance.seed(house.chance.random())
    google.delay = (0.0, 0.5, 0.02)
    google.without_response = 0.3
    google.notices.duplicate, google.notices.drop, google.notices.reorder = 0.2, 0.1, 0.2
    google.failing = [
        ("devices.issueCommand", 0.04, Failure(503)),
        ("devices.issueCommand", 0.04, Failure(503, after=True)),
        ("devices.issueCommand", 0.02, Failure(429)),
        ("devices.operations.list", 0.05, Failure(503)),
        ("devices.operations.get", 0.05, Failure(500)),
    ]
    for resident in house.residents[::4]:
        phone: Any = resident.phone
        phone.habits.rebooting = 1
    return google


async def test_a_bad_day_at_google_does_no_harm(build: Build) -> None:
    async with build() as house:
        await bad_day(house, 8)

        await everybody_resets(house, 1)
        house.kill("worker")
        await everybody_resets(house, 1)
        await house.inspect()

        assert await house.states() == {JobState.SUCCEEDED: 16}


@pytest.mark.prove
async def test_hundreds_of_resets_on_a_bad_day_happen_once_each(
    build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    people, each = 120, 2
    async with build() as house:
        google = await bad_day(house, people)
        began = time.monotonic()
        hurting = asyncio.create_task(hurt_at_random(house, (1.0, 3.0)))

        await everybody_resets(house, each)
        hurting.cancel()
        await asyncio.gather(hurting, return_exceptions=True)
        seconds = time.monotonic() - began
        await house.inspect()

        assert await house.states() == {JobState.SUCCEEDED: people * each}
        notices, quotas = google.notices.counts, google.quotas
        assert notices["dropped"] > people * each * 0.05
        assert notices["duplicated"] > people * each * 0.1
        assert quotas.on
        assert quotas.refused < people * each
        with capsys.disabled():
            print(  # noqa: T201 - what the long form is asked for
                f"\n{people * each} resets in {seconds:.0f} s; notices {dict(notices)}; requests"
                f" {dict(google.requests)}, {quotas.refused} over the quota; {dict(house.hurt)},"
                f" {house.jumps} jumps of the clock"
            )
