"""Killed at any instruction, emptied, doubled, cut off: every job ends once, with one effect and one notification."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import pytest

from models.vocabulary import JobState
from platforms.simulation import simulated
from tests.faults.conftest import Build
from tests.faults.installation import Installation, Resident, until

AT_API = ("accept.before_commit", "accept.after_commit", "checkin.before_commit", "checkin.after_commit")
AT_WORKER = ("claimed", "plan.before_commit", "planned", "woken")
AT_TICK = ("sweep.rung", "seal.before_commit", "sweep.before_commit")


async def resets(house: Installation, resident: Resident, count: int) -> None:
    for _ in range(count):
        await house.reset(resident)


async def everybody_resets(house: Installation, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for resident in house.residents:
            group.create_task(resets(house, resident, count))


PLATFORMS = simulated()


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_death_at_each_marked_step_does_no_harm(build: Build, platform: str) -> None:
    async with build(
        api=[f"{step}:2" for step in AT_API], worker=[f"{step}:2" for step in AT_WORKER], tick=list(AT_TICK)
    ) as house:
        api, worker, tick = (house.processes[name] for name in ("api", "worker", "tick"))
        await house.settle_in(6, platform)

        await everybody_resets(house, 3)
        for _ in range(5):
            if len(api.died_at) == len(AT_API) and len(worker.died_at) == len(AT_WORKER) and len(tick.died_at) == 2:
                break
            await everybody_resets(house, 1)

        async def tick_is_in_its_last_life() -> bool:
            if len(tick.died_at) < 2:
                # The duty of one that was killed is free again after its lease: nobody waits that long.
                await house.put_forward()
            return len(tick.died_at) >= 2

        await house.quiet()
        await until(tick_is_in_its_last_life)
        for late in house.residents[:3]:
            late.phone.go_offline()
            expired = await house.ask(late)
            await house.quiet()
            house.jump(timedelta(hours=25))

            async def ended(job_id: UUID = expired) -> bool:
                return not (await house.only(job_id)).is_open

            await until(ended)
            assert (await house.only(expired)).state is JobState.EXPIRED
            if len(tick.died_at) == len(AT_TICK):
                break  # else a courier was quicker than the sweep to say that it is over
        await house.inspect()

        states = await house.states()
        assert set(states) == {JobState.SUCCEEDED, JobState.EXPIRED}
        assert states[JobState.SUCCEEDED] >= 18
        assert api.died_at == [f"{step}:2" for step in AT_API]
        assert worker.died_at == [f"{step}:2" for step in AT_WORKER]
        assert tick.died_at == list(AT_TICK)
        assert [process.odd_ends for process in house.processes.values()] == [[], [], []]


async def hurt_at_random(house: Installation, pause: tuple[float, float]) -> None:
    """One thing after the other, until cancelled."""
    kinds = ["kill"] * 6 + ["flush", "restart", "double", "double"]
    at_last_kill = -1
    while True:
        await asyncio.sleep(house.chance.uniform(*pause))
        match house.chance.choice(kinds):
            # Whoever is killed faster than it starts gets nothing done, which proves nothing.
            case "kill" if house.endings != at_last_kill:
                house.kill(house.chance.choice(["api", "worker", "worker", "tick"]))
                at_last_kill = house.endings
            case "flush":
                await house.empty_redis()
            case "restart":
                await house.restart_redis()
            case "double":
                await house.ring_twice()


async def test_death_at_random_moments_does_no_harm(build: Build) -> None:
    async with build() as house:
        for platform in PLATFORMS:
            await house.settle_in(8 // len(PLATFORMS), platform)
        hurting = asyncio.create_task(hurt_at_random(house, (0.2, 0.8)))

        await house.ring_twice()
        await everybody_resets(house, 1)
        await house.empty_redis()
        await everybody_resets(house, 1)
        house.kill("worker")
        await everybody_resets(house, 1)
        hurting.cancel()
        await asyncio.gather(hurting, return_exceptions=True)
        await house.inspect()

        assert await house.states() == {JobState.SUCCEEDED: 24}


@pytest.mark.prove
async def test_thousands_of_jobs_survive_everything_at_once(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    people, each = 170, 9
    async with build() as house:
        for place, platform in enumerate(PLATFORMS):
            await house.settle_in(len(range(place, people, len(PLATFORMS))), platform)
        began = time.monotonic()
        hurting = asyncio.create_task(hurt_at_random(house, (0.5, 2.0)))
        outage = asyncio.create_task(house.database_away(10))

        await everybody_resets(house, each)
        hurting.cancel()
        await asyncio.gather(hurting, return_exceptions=True)
        await outage
        seconds = time.monotonic() - began
        await house.inspect()

        assert await house.states() == {JobState.SUCCEEDED: people * each}
        kills = sum(process.kills for process in house.processes.values())
        restarts = sum(process.starts - 1 for process in house.processes.values())
        assert kills >= 10
        with capsys.disabled():
            print(  # noqa: T201 - what the long form is asked for
                f"\n{people * each} jobs, {kills} kills, {restarts} restarts, {house.jumps} jumps of the clock,"
                f" {seconds:.0f} s; {dict(house.hurt)}"
            )
