"""The other end is held to what real phones do."""

import asyncio
import json
import plistlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from models.vocabulary import JobState
from platforms import simulation
from platforms.ios.push_service import Push, PushService
from platforms.ios.simulator import EnrollmentFailed, Iphone
from tests.platforms.conformance import Stage, stage


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    simulation.make_demo_keys(folder)
    return folder


@pytest.fixture
async def staged(keys: Path) -> AsyncIterator[Stage]:
    async with asyncio.timeout(20), stage("ios", keys) as staged:
        yield staged


def phone_of(staged: Stage) -> Iphone:
    assert isinstance(staged.device, Iphone)
    return staged.device


def service_of(staged: Stage) -> PushService:
    assert isinstance(staged.service, PushService)
    return staged.service


async def woken(staged: Stage) -> Any:
    job = staged.house.ask(staged.bond)
    await staged.house.wake(staged.channel, job)
    await service_of(staged).idle()
    return job


async def test_the_passcode_and_touch_id_go_with_the_right_unlock_token(staged: Stage) -> None:
    phone = phone_of(staged)
    assert phone.passcode is not None
    assert phone.touch_id

    await woken(staged)

    assert (phone.passcode, phone.touch_id) == (None, False)


async def test_a_wrong_unlock_token_clears_nothing(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.unlock_token = b"DATA of another life"

    job = await woken(staged)

    assert job.state is JobState.FAILED
    assert phone.passcode is not None
    assert phone.effects == Counter()


async def test_an_unlock_token_is_no_text_and_as_long_as_a_keybag() -> None:
    token = Iphone(_nowhere).unlock_token

    assert token.startswith(b"DATA")
    assert 1_200 <= len(token) <= 1_400
    with pytest.raises(UnicodeDecodeError):
        token.decode()


async def test_a_phone_that_was_away_gets_the_kept_push_when_it_returns(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.go_offline()
    job = await woken(staged)
    assert job.state is JobState.WAITING

    await phone.go_online()
    await service_of(staged).idle()

    assert job.state is JobState.SUCCEEDED


async def test_not_now_leaves_the_job_waiting_until_the_phone_asks_again(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.habits.not_now = 2

    job = await woken(staged)
    states = [job.state]
    for _ in range(2):
        await phone.poll()
        states.append(job.state)

    assert states == [JobState.WAITING, JobState.WAITING, JobState.SUCCEEDED]
    assert phone.offers == Counter({job.command.ref: 3})


async def test_a_result_that_was_lost_goes_first_when_there_is_a_road_again(staged: Stage) -> None:
    phone = phone_of(staged)
    job = staged.house.ask(staged.bond)
    phone.habits.losing_results = 1
    await phone.poll()
    assert job.state is JobState.WAITING

    await phone.poll()
    phone.habits.losing_answers = 1
    other = staged.house.ask(staged.bond)
    await phone.poll()
    await phone.poll()

    assert [job.state, other.state] == [JobState.SUCCEEDED, JobState.SUCCEEDED]
    assert phone.unsent is None
    assert set(phone.effects.values()) == {1}


async def test_a_patient_phone_tries_again_by_itself(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.patience, phone.habits.losing_results = 0.0, 3

    job = await woken(staged)

    assert job.state is JobState.SUCCEEDED


async def test_a_reboot_ends_the_session_and_the_command_is_offered_again(staged: Stage) -> None:
    phone = phone_of(staged)
    job = staged.house.ask(staged.bond)
    talk = phone.transport

    async def reboots(*request: Any) -> tuple[int, Mapping[str, str], bytes]:
        answer = await talk(*request)
        phone.reboot()
        return answer

    phone.transport = reboots
    await phone.poll()
    assert (job.state, phone.effects) == (JobState.DELIVERED, Counter())
    phone.transport = talk
    await phone.poll()

    assert job.state is JobState.SUCCEEDED
    assert phone.effects == Counter({job.command.ref: 1})


async def test_what_was_saved_is_the_same_phone(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.habits.losing_answers = 2
    job = staged.house.ask(staged.bond)
    await phone.poll()
    phone.habits.losing_answers = 1
    await phone.poll()

    saved = plistlib.dumps(phone.state(), fmt=plistlib.FMT_BINARY)
    again = Iphone.restore(plistlib.loads(saved), phone.transport)
    assert again.state() == phone.state()
    await again.poll()
    await again.poll()

    assert job.state is JobState.SUCCEEDED
    assert again.effects == Counter({job.command.ref: 1})


async def test_a_new_push_address_is_told_and_works(staged: Stage) -> None:
    phone = phone_of(staged)
    old = phone.address
    await phone.update_token(rotate=True)

    job = await woken(staged)

    assert phone.address != old
    assert job.state is JobState.SUCCEEDED


async def test_a_push_without_its_magic_wakes_nobody(staged: Stage) -> None:
    phone = phone_of(staged)
    before = len(staged.house.requests)

    await phone.wake(Push(phone.address, "guessed"))

    assert len(staged.house.requests) == before
    assert phone.complaints == ["a push without our magic"]


async def test_checking_out_ends_the_bond(staged: Stage) -> None:
    phone = phone_of(staged)
    await phone.check_out()

    assert staged.bond.state == "left"
    assert (phone.enrolled, phone.bond) == (False, None)


def told(*said: bytes, status: int = 200) -> Any:
    """A server that says these things and then nothing more; what it was told lies in `bodies`."""
    answers = [(status, answer) for answer in said]

    async def transport(
        _method: str, _url: str, _headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        transport.bodies.append(plistlib.loads(body))  # type: ignore[attr-defined] - set below
        now, answer = answers.pop(0) if answers else (200, b"")
        return now, {"content-type": "application/xml; charset=UTF-8"}, answer

    transport.bodies = []  # type: ignore[attr-defined] - a function's own list
    return transport


async def test_a_command_that_is_offered_again_after_its_result_was_taken_is_a_second_effect(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.transport = told(command(RequestType="DeviceLock"), command(RequestType="DeviceLock"))

    await phone.poll()

    assert phone.offers == Counter({"C": 2})
    assert phone.effects == Counter({"C": 2})
    assert phone.unsent is None


async def test_a_result_whose_answer_was_lost_is_said_again_and_the_command_not_run_again(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.transport = told(command(RequestType="DeviceLock"))
    talk = phone.transport

    async def loses_an_answer(*request: Any) -> tuple[int, Mapping[str, str], bytes]:
        answer = await talk(*request)
        if phone.unsent is not None and phone.transport is loses_an_answer:
            phone.transport = talk
            raise OSError
        return answer

    phone.transport = loses_an_answer
    await phone.poll()
    assert phone.unsent is not None
    await phone.poll()

    said = [body["Status"] for body in talk.bodies]  # type: ignore[attr-defined] - `told` has it
    assert said == ["Idle", "Acknowledged", "Acknowledged"]
    assert phone.effects == Counter({"C": 1})


def command(uuid: str = "C", **parameters: Any) -> bytes:
    return plistlib.dumps({"CommandUUID": uuid, "Command": parameters})


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"RequestType": "DeviceLock"}, "Acknowledged"),
        ({"RequestType": "SecurityInfo"}, "Acknowledged"),
        ({"RequestType": "DeviceInformation", "Queries": ["UDID", "Colour"]}, "Acknowledged"),
        ({"RequestType": "ClearPasscode"}, "CommandFormatError"),
        ({"RequestType": "RestartDevice"}, "Error"),
        ({"RequestType": "MakeCoffee"}, "Error"),
        ({"RequestType": "RemoveProfile", "Identifier": "of another"}, "Error"),
    ],
)
async def test_each_command_is_answered_as_an_unsupervised_phone_does(
    staged: Stage, asked: Mapping[str, Any], status: str
) -> None:
    phone = phone_of(staged)
    phone.transport = told(command(**asked))

    await phone.poll()

    idle, answer = phone.transport.bodies  # type: ignore[attr-defined] - `told` has it
    assert idle == {"Status": "Idle", "UDID": phone.udid}
    assert (answer["Status"], answer["CommandUUID"]) == (status, "C")
    assert status != "Error" or len(answer["ErrorChain"]) == 2


@pytest.mark.parametrize(
    ("farewell", "said"),
    [
        (("report", "check_out"), ["Acknowledged", "CheckOut"]),
        (("check_out", "report"), ["CheckOut", "Acknowledged"]),
        (("report",), ["Acknowledged"]),
        ((), []),
    ],
)
async def test_a_removed_profile_says_goodbye_in_any_of_the_ways_that_phones_do(
    staged: Stage, farewell: tuple[str, ...], said: list[str]
) -> None:
    phone = phone_of(staged)
    assert phone.bond is not None
    phone.habits.farewell = farewell
    phone.transport = told(command(RequestType="RemoveProfile", Identifier=phone.bond.profile))

    await phone.poll()

    bodies = phone.transport.bodies[1:]  # type: ignore[attr-defined] - `told` has it
    assert [body.get("Status") or body["MessageType"] for body in bodies] == said
    assert not phone.enrolled


@pytest.mark.parametrize(
    ("status", "answer", "stays"),
    [
        (401, b"", False),
        (403, b'{"code": "com.apple.unrecognized.device"}', False),
        (403, b"", True),
        (400, b"", True),
        (503, b"", True),
    ],
)
async def test_only_a_401_and_the_word_for_it_remove_the_profile(
    staged: Stage, status: int, answer: bytes, stays: bool
) -> None:
    phone = phone_of(staged)
    phone.transport = told(answer, status=status)

    await phone.poll()

    assert phone.enrolled is stays


@pytest.mark.parametrize("answer", [b"<plist/>", b"nonsense", plistlib.dumps({}), command()])
async def test_an_answer_that_is_no_command_is_complained_about(staged: Stage, answer: bytes) -> None:
    phone = phone_of(staged)
    phone.transport = told(answer)

    await phone.poll()

    assert phone.complaints == ["an answer that is no command"]


@pytest.mark.parametrize("profile", [b"", b"\x30\x80nothing", b"<plist/>", plistlib.dumps({"PayloadContent": []})])
def test_a_profile_that_is_none_is_not_installed(profile: bytes) -> None:
    with pytest.raises(EnrollmentFailed):
        Iphone(_nowhere).install(profile)


async def _nowhere(*_: object) -> tuple[int, Mapping[str, str], bytes]:
    raise OSError("nobody is there")


async def test_an_unreachable_server_is_no_mistake_of_the_phone(staged: Stage) -> None:
    phone = phone_of(staged)
    phone.transport = _nowhere

    await phone.poll()

    assert (phone.enrolled, phone.complaints) == (True, [])


def test_demo_keys_fit_together(keys: Path) -> None:
    settings = json.loads((keys / "demo.json").read_text())

    assert {"IOS_TOPIC_FILE", "IOS_PUSH_CERTIFICATE_FILE", "IOS_PUSH_KEY_FILE", "IOS_PUSH_CA_FILE"} <= settings.keys()
    assert (keys / "push-topic.txt").read_text().startswith("com.apple.mgmt.External.")
