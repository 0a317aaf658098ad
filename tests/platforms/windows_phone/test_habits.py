"""The phones' simulator in every mood, against both handlers: one valid code, or a reason."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from models.vocabulary import Act, JobState, Reason
from platforms import dm_session
from platforms.base import EnrollmentState
from platforms.syncml import Item, Operation
from tests.platforms.conformance import Job, Stage, stage
from tests.platforms.windows_phone.phone import NAMES, bound

EVERY = pytest.mark.parametrize("name", NAMES)
GOOD: list[dict[str, Any]] = [
    {"without_proof": True},
    {"doubts_the_server": True},
    {"parent_last": True},
    {"pin_twice": True},
    {"losing_results": 2},
    {"losing_answers": 2},
    {"reboots_in_reset": 1},
    {"reboots_in_reset": 2},
    {"repeating": True, "without_proof": True, "doubts_the_server": True},
]
NOT_TOLD: list[dict[str, Any]] = [
    {"silent_pin": "missing"},
    {"silent_pin": "empty"},
    {"silent_pin": "bare"},
    {"reboots_in_reset": 3},
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


async def ask(staged: Stage, act: Act, habits: dict[str, Any]) -> Job:
    for name, value in habits.items():
        setattr(staged.device.habits, name, value)
    job = staged.house.ask(staged.bond, act)
    await staged.house.wake(staged.channel, job)
    await staged.service.idle()  # type: ignore[attr-defined] - the stand-in has it
    for _ in range(4):
        if not job.outcomes:
            await staged.device.poll()
    return job


@EVERY
@pytest.mark.parametrize("habits", GOOD, ids=str)
async def test_06_one_valid_code_is_told(name: str, keys: Path, habits: dict[str, Any]) -> None:
    async with asyncio.timeout(20), stage(name, keys) as staged:
        job = await ask(staged, Act.RESET_PASSCODE, habits)

        (outcome,) = job.outcomes
        assert outcome.state is JobState.SUCCEEDED
        assert outcome.passcode is not None
        assert outcome.passcode.text() == staged.device.passcode  # type: ignore[attr-defined] - what opens it now
        assert staged.device.effects[job.command.ref] == 1 + habits.get("reboots_in_reset", 0)
        assert staged.device.complaints == []


@EVERY
@pytest.mark.parametrize("habits", NOT_TOLD, ids=str)
async def test_05_a_code_that_is_never_told_ends_after_three(name: str, keys: Path, habits: dict[str, Any]) -> None:
    async with asyncio.timeout(20), stage(name, keys) as staged:
        job = await ask(staged, Act.RESET_PASSCODE, habits)

        assert [(one.state, one.reason) for one in job.outcomes] == [(JobState.FAILED, Reason.CODE_UNKNOWN)]
        assert staged.device.effects[job.command.ref] == 3
        assert staged.device.complaints == []


@EVERY
@pytest.mark.parametrize(
    ("act", "ending", "bond"),
    [
        (Act.REMOTE_LOCK, JobState.SUCCEEDED, EnrollmentState.ENROLLED),
        (Act.REFRESH, JobState.SUCCEEDED, EnrollmentState.ENROLLED),
        (Act.WIPE, JobState.UNCONFIRMED, EnrollmentState.ENROLLED),
        (Act.REMOVE, JobState.SUCCEEDED, EnrollmentState.LEFT),
    ],
)
async def test_10_every_act_ends(name: str, keys: Path, act: Act, ending: JobState, bond: EnrollmentState) -> None:
    async with asyncio.timeout(20), stage(name, keys) as staged:
        job = await ask(staged, act, {})

        assert [one.state for one in job.outcomes] == [ending]
        assert staged.bond.state is bond
        assert staged.device.complaints == []


def test_a_phone_cannot_name_its_own_facts(keys: Path) -> None:
    phone = bound("wp81", keys)
    names = ("system", "version", "joined", "./DevInfo/system", "./DevInfo/Mod")

    phone.begin(Operation("Replace", "9", tuple(Item(source=name, data="windows_10_mobile") for name in names)))

    assert phone.memory.session is not None
    assert set(phone.memory.session.facts) <= dm_session.INFORMATION
