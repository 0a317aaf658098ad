"""A phone whose owner opens our link, from the link to the day it leaves."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from models.vocabulary import Act, JobState
from platforms import simulation
from platforms.android import simulator
from platforms.android.emulator import Emulator
from platforms.android.simulator import AndroidPhone, EnrollmentFailed
from platforms.base import EnrollmentState
from tests.platforms.conformance import Stage, stage

LINK = "http://127.0.0.1:8080/devices/android/enroll/link"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def staged(keys: Path) -> AsyncIterator[Stage]:
    async with stage("android", keys) as staged:
        yield staged


@asynccontextmanager
async def google(keys: Path) -> AsyncIterator[Emulator]:
    simulation.make_demo_keys(keys)
    async with simulator.wake_service(keys, 0) as emulator:
        yield emulator


def answering(status: int, body: bytes = b"", kind: str = "application/json") -> simulation.Transport:
    async def transport(
        method: str, url: str, headers: Mapping[str, str], body_: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        return status, {"content-type": kind}, body

    return transport


async def done(staged: Stage, act: Act) -> Any:
    job = staged.house.ask(staged.bond, act)
    await staged.house.wake(staged.channel, job)
    service: Any = staged.service
    await service.idle()
    return job


# The link


@pytest.mark.parametrize(
    ("transport", "error"),
    [
        (answering(503), OSError),
        (answering(429), OSError),
        (answering(410), EnrollmentFailed),
        (answering(200, b"<html>", "text/html"), EnrollmentFailed),
        (answering(200, b"{"), EnrollmentFailed),
        (answering(200, b"[]"), EnrollmentFailed),
        (answering(200, b'{"enterprise": "enterprises/E"}'), EnrollmentFailed),
    ],
)
async def test_a_link_that_is_no_good_is_told_from_one_to_try_again(
    transport: simulation.Transport, error: type[Exception]
) -> None:
    phone = AndroidPhone(transport)

    with pytest.raises(error):
        await phone.open_link(LINK)
    assert phone.certificate is None


async def test_an_opened_link_says_where_to_enrol_and_where_notices_go() -> None:
    phone = AndroidPhone(answering(200, json.dumps({"enterprise": "enterprises/E", "additional_data": "x.y"}).encode()))

    await phone.open_link(LINK)

    assert phone.address.startswith("enterprises/E/devices/")
    assert phone.phone.policy == "enterprises/E/policies/default"
    assert phone.notices_url == "http://127.0.0.1:8080/devices/android/notices"
    assert "x.y" not in repr(phone)
    assert phone.secrets == (b"x.y",)


async def test_a_phone_without_google_says_what_it_lacks() -> None:
    phone = AndroidPhone(answering(200, b'{"enterprise": "enterprises/E", "additional_data": "x"}'))

    with pytest.raises(EnrollmentFailed, match="no link"):
        await phone.check_in()
    await phone.open_link(LINK)
    with pytest.raises(EnrollmentFailed, match="without Google"):
        await phone.check_in()


async def test_a_server_that_hears_nothing_leaves_the_phone_half_enrolled(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "TO_BE_HEARD", 0.05)
    deaf = [True]

    async def transport(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if method == "POST":
            return 503 if deaf[0] else 204, {}, b""
        told = b'{"enterprise": "enterprises/LC0demo", "additional_data": "x"}'
        return 200, {"content-type": "application/json"}, told

    phone = AndroidPhone(transport)
    async with google(keys) as emulator:
        phone.service = emulator
        await phone.open_link(LINK)
        with pytest.raises(OSError, match="not heard"):
            await phone.check_in()
        half, address = phone.enrolled, phone.address
        monkeypatch.setattr(simulator, "TO_BE_HEARD", 20.0)
        deaf[0] = False
        await phone.check_in()

    assert (half, phone.enrolled) == (False, True)
    assert list(emulator.phones) == [address] == [phone.address]


# What is asked of it


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (Act.RESET_PASSCODE, JobState.SUCCEEDED),
        (Act.REMOTE_LOCK, JobState.SUCCEEDED),
        (Act.RESTART, JobState.SUCCEEDED),
    ],
)
async def test_a_phone_does_what_it_is_asked(staged: Stage, act: Act, state: JobState) -> None:
    job = await done(staged, act)

    assert job.state is state
    assert staged.device.effects == {job.name: 1}


async def test_the_passcode_that_the_owner_is_told_opens_the_phone(staged: Stage) -> None:
    jobs = [await done(staged, Act.RESET_PASSCODE) for _ in range(3)]
    phone: Any = staged.device

    codes = [job.outcomes[0].passcode.text() for job in jobs]
    assert phone.phone.passcodes == codes
    assert phone.phone.lock == codes[-1]
    assert len(set(codes)) == 3


async def test_a_wiped_phone_is_over_for_us(staged: Stage) -> None:
    job = await done(staged, Act.WIPE)

    assert staged.device.effects == {job.name: 1}
    assert staged.bond.state is EnrollmentState.LEFT


async def test_a_phone_that_leaves_is_over_for_us(staged: Stage) -> None:
    await staged.device.check_out()

    assert staged.bond.state is EnrollmentState.LEFT
    assert not staged.device.enrolled


async def test_a_phone_that_is_away_does_it_later(staged: Stage) -> None:
    phone: Any = staged.device
    phone.go_offline()
    job = await done(staged, Act.RESET_PASSCODE)
    before = job.state
    await phone.go_online()
    await phone.service.idle()

    assert (before, job.state) == (JobState.DELIVERED, JobState.SUCCEEDED)


# What is kept


async def test_a_phone_lives_on_in_another_process_with_what_was_asked_of_it(staged: Stage, keys: Path) -> None:
    phone: Any = staged.device
    saves: list[int] = []
    phone.saved = lambda: saves.append(1)
    phone.go_offline()
    job = await done(staged, Act.RESET_PASSCODE)
    state = phone.state()
    async with google(keys) as emulator:
        again: Any = simulator.restore(state, phone.transport)
        emulator.clock = phone.service.clock
        again.service = emulator
        again.phone.online = True
        await again.poll()
        await emulator.idle()

    assert saves
    assert again.address == phone.address
    assert again.enrolled
    assert job.state is JobState.SUCCEEDED
    assert again.effects == {job.name: 1}


def test_the_demo_has_a_project_of_its_own(keys: Path) -> None:
    made = simulation.make_demo_keys(keys)

    told = json.loads(made["ANDROID_SERVICE_ACCOUNT_FILE"].read_text())
    assert told["client_email"].endswith(".iam.gserviceaccount.com")
    assert made["ANDROID_ENTERPRISE_FILE"].read_text() == simulator.ENTERPRISE
    assert not made["ANDROID_PUSH_ISSUER_FILE"].read_text().startswith("https://")
