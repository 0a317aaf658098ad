"""A locked Windows phone is opened: the story as the person lives it on both phones, and how else it can go."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.journeys.town import Browser, Town

KINDS = {"windows10mobile": "temporary_alphanumeric", "wp81": "temporary_numeric"}
pytestmark = pytest.mark.parametrize("platform", KINDS)


async def reveal(browser: Browser, device_id: Any) -> dict[str, Any]:
    answer = await browser.ask("POST", f"/devices/{device_id}/passcode/reveal")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


async def test_a_person_with_a_locked_phone_reads_its_new_passcode(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    before = phone.passcode

    location = await anna.all_the_way(device_id)
    shown = await town.job_is(anna, location, "succeeded")
    told = await reveal(anna, device_id)

    assert [move["to"] for move in shown["timeline"]] == ["queued", "waiting", "delivered", "succeeded"]
    assert (told["passcode"], told["kind"]) == (phone.passcode, KINDS[platform])
    assert phone.passcode != before
    assert (phone.pins_made, sum(phone.effects.values()), phone.complaints) == (1, 1, [])
    lines = [(line["key"], line["severity"]) for line in (await anna.notifications())["items"]]
    assert lines == [("passcode.revealed", "info"), (f"{platform}.reset_passcode.succeeded", "success")]
    assert await town.record_is_whole()


async def test_a_phone_that_is_offline_is_opened_when_it_is_back(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.go_offline()

    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "waiting")
    await town.services[platform].until_received(1)
    town.clock.forward(timedelta(hours=3))
    await phone.go_online()
    await anna.sign_in()

    await town.job_is(anna, location, "succeeded")
    assert (await reveal(anna, device_id))["passcode"] == phone.passcode
    assert phone.pins_made == 1


async def test_a_phone_that_cannot_be_called_is_opened_when_it_calls_by_its_schedule(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.service.away(phone.channel)
    phone.lose_channel()
    phone.service = None
    await phone.poll()

    location = await anna.all_the_way(device_id)
    waiting = await town.job_is(anna, location, "waiting")
    assert phone.pins_made == 0
    assert waiting["reach"]["road"] == (await shown(anna, device_id))["reach"]["road"] == "poll"
    assert datetime.fromisoformat(waiting["reach"]["expected_by"]) == town.clock.now + phone.pause_before(0)
    town.clock.forward(phone.pause_before(0))
    await anna.sign_in()
    await phone.poll()

    await town.job_is(anna, location, "succeeded")
    assert (await reveal(anna, device_id))["passcode"] == phone.passcode


@pytest.mark.parametrize("lost", ["answers", "results"])
async def test_what_is_lost_on_the_way_is_said_again_and_one_passcode_is_made(
    town: Town, platform: str, lost: str
) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    setattr(phone.habits, f"losing_{lost}", 1)

    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "delivered")
    await town.services[platform].idle()
    await phone.poll()

    await town.job_is(anna, location, "succeeded")
    assert (await reveal(anna, device_id))["passcode"] == phone.passcode
    assert (phone.pins_made, phone.complaints) == (1, [])


async def test_a_phone_that_restarts_between_the_new_passcode_and_its_telling_makes_another_and_that_one_is_told(
    town: Town, platform: str
) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.habits.reboots_in_reset = 1

    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "delivered")
    await town.services[platform].idle()
    unknown = phone.passcode
    await phone.poll()

    await town.job_is(anna, location, "succeeded")
    told = await reveal(anna, device_id)
    assert told["passcode"] == phone.passcode != unknown
    assert (phone.pins_made, len(await town.jobs())) == (2, 1)
    assert len([one for one in (await anna.notifications())["items"] if one["job_id"] is not None]) == 1


async def test_after_three_passcodes_that_nobody_heard_the_person_is_told_so(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.habits.silent_pin = "missing"

    location = await anna.all_the_way(device_id)
    for _ in range(4):
        await town.services[platform].idle()
        await phone.poll()

    shown = await town.job_is(anna, location, "failed")
    assert shown["reason"] == "code_unknown"
    assert phone.pins_made == 3
    gone = await anna.ask("POST", f"/devices/{device_id}/passcode/reveal")
    assert (gone.status_code, gone.json()["code"]) == (409, "nothing_to_reveal")


async def test_of_two_resets_the_newest_passcode_is_told_and_the_older_is_gone(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)

    codes = []
    for _ in range(2):
        location = await anna.all_the_way(device_id)
        await town.job_is(anna, location, "succeeded")
        codes.append((await reveal(anna, device_id))["passcode"])
        town.clock.forward(60)

    assert codes[0] != codes[1] == phone.passcode
    assert (await reveal(anna, device_id))["passcode"] == codes[1]
    told = [one["key"] for one in (await anna.notifications())["items"] if one["job_id"] is not None]
    assert told == [f"{platform}.reset_passcode.succeeded", "passcode.replaced"]
    assert phone.pins_made == 2


@pytest.mark.parametrize("pin", ["a&<Z 9", "0042"])
async def test_a_passcode_is_told_exactly_as_the_phone_made_it(town: Town, platform: str, pin: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.next_pins.append(pin)

    await town.job_is(anna, await anna.all_the_way(device_id), "succeeded")

    assert (await reveal(anna, device_id))["passcode"] == pin


async def test_a_phone_that_refuses_keeps_its_passcode(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    before, phone.habits.refusing = phone.passcode, True

    shown = await town.job_is(anna, await anna.all_the_way(device_id), "failed")

    assert shown["reason"] == "device_refused"
    assert phone.passcode == before


async def test_a_phone_that_says_everything_twice_is_reset_once(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.habits.repeating = phone.habits.pin_twice = phone.habits.parent_last = True

    await town.job_is(anna, await anna.all_the_way(device_id), "succeeded")

    assert (await reveal(anna, device_id))["passcode"] == phone.passcode
    assert (phone.pins_made, phone.complaints) == (1, [])


async def test_the_passcode_is_in_no_event_and_no_timeline(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)

    location = await anna.all_the_way(device_id)
    shown = await town.job_is(anna, location, "succeeded")

    written = repr([shown, await anna.notifications(), await town.actions(), await town.jobs()])
    assert phone.passcode not in written


async def shown(browser: Browser, device_id: Any) -> dict[str, Any]:
    device: dict[str, Any] = (await browser.ask("GET", f"/devices/{device_id}")).json()
    return device


async def asked(browser: Browser, device_id: Any, act: str) -> str:
    answer = await browser.ask("POST", f"/devices/{device_id}/{act}", key=str(uuid4()))
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


async def test_a_lost_phone_is_locked_and_one_without_a_passcode_says_so(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.locked = False

    await town.job_is(anna, await asked(anna, device_id, "remote-lock"), "succeeded")
    assert phone.locked
    kept, phone.passcode, phone.locked = phone.passcode, None, False
    town.clock.forward(60)
    ended = await town.job_is(anna, await asked(anna, device_id, "remote-lock"), "failed")

    assert kept is not None
    assert ended["reason"] == "no_passcode_set"
    assert not phone.locked
    assert phone.complaints == []


async def test_a_phone_that_is_removed_is_gone_and_keeps_its_passcode(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)

    await town.job_is(anna, await asked(anna, device_id, "remove"), "succeeded")
    await town.services[platform].idle()

    assert not phone.enrolled
    assert phone.passcode is not None
    assert (await anna.ask("GET", "/devices")).json()["items"] == []


async def test_a_phone_that_is_wiped_is_empty_and_gone(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform, ownership="corporate")

    await anna.open_window(device_id, "wipe")
    await anna.sign_in()
    await town.job_is(anna, await asked(anna, device_id, "wipe"), "succeeded", "unconfirmed")

    assert phone.erased
    assert (await anna.ask("GET", "/devices")).json()["items"] == []


async def test_a_sync_learns_what_runs_on_the_phone(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.os_version = {"wp81": "8.10.15148.160", "windows10mobile": "10.0.15254.600"}[platform]

    await town.job_is(anna, await asked(anna, device_id, "refresh"), "succeeded")

    assert (await shown(anna, device_id))["os_version"] == phone.os_version


async def test_a_phone_of_8_1_that_became_a_10_makes_the_codes_of_10_and_is_told_so(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.upgrade()
    for _ in range(2):  # the first tells that its channel is gone, the second has a new one
        await phone.poll()

    await town.job_is(anna, await anna.all_the_way(device_id), "succeeded")
    told = await reveal(anna, device_id)

    assert (told["passcode"], told["kind"]) == (phone.passcode, "temporary_alphanumeric")
    ending = "succeeded_on_10" if platform == "wp81" else "succeeded"
    assert [line["key"] for line in (await anna.notifications())["items"]] == [
        "passcode.revealed",
        f"{platform}.reset_passcode.{ending}",
    ]


async def test_a_phone_that_joined_a_directory_is_offered_no_reset_since_that_would_wipe_it(
    town: Town, platform: str
) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.upgrade()
    phone.aad_device_id = "0b1c2d3e"
    await phone.poll()

    acts = {one["act"]: one["reason"] for one in (await shown(anna, device_id))["acts"]}
    refused = await anna.ask("POST", f"/devices/{device_id}/reset-passcode", key=str(uuid4()))

    assert acts["reset_passcode"] == "would_wipe"
    assert (refused.status_code, refused.json()["reason"]) == (409, "would_wipe")
    assert not phone.erased


async def test_a_phone_that_joins_a_directory_while_a_reset_waits_is_not_wiped(town: Town, platform: str) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.phone(anna, platform)
    phone.upgrade()
    await phone.poll()
    phone.go_offline()
    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "waiting")

    phone.aad_device_id = "0b1c2d3e"
    await phone.go_online()
    await phone.poll()

    ended = await town.job_is(anna, location, "failed", "unsupported")
    assert ended["reason"] == "would_wipe"
    assert not phone.erased
