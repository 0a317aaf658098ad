"""Every act on a real wire: what the phone really does, and what its person is told and does next."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.settings import CONFIRMATION
from platforms.ios.simulator import Iphone
from tests.journeys.town import Browser, Town


async def at_home(town: Town, ownership: str = "corporate") -> tuple[Browser, UUID, Iphone]:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna, ownership=ownership)
    return anna, device_id, phone


async def ask(anna: Browser, device_id: UUID, act: str) -> httpx.Response:
    return await anna.ask("POST", f"/devices/{device_id}/{act}", key=str(uuid4()))


async def asked(anna: Browser, device_id: UUID, act: str) -> str:
    answer = await ask(anna, device_id, act)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


async def wiped(anna: Browser, device_id: UUID) -> str:
    """Out, in again, confirmed."""
    await anna.open_window(device_id, "wipe")
    assert (await anna.sign_in())["re_sign_in"]["state"] == "proven"
    return await asked(anna, device_id, "wipe")


async def shown(anna: Browser, device_id: UUID) -> dict[str, Any]:
    device: dict[str, Any] = (await anna.ask("GET", f"/devices/{device_id}")).json()
    return device


async def listed(anna: Browser) -> list[str]:
    return [one["id"] for one in (await anna.ask("GET", "/devices")).json()["items"]]


async def keys(anna: Browser) -> list[str]:
    return sorted(line["key"] for line in (await anna.notifications())["items"])


async def test_a_lost_phone_is_locked_and_its_own_passcode_opens_it(town: Town) -> None:
    anna, device_id, phone = await at_home(town)
    phone.locked = False

    location = await asked(anna, device_id, "remote-lock")
    await town.job_is(anna, location, "succeeded")

    assert phone.locked
    assert phone.passcode is not None
    assert list(phone.effects.values()) == [1]
    assert (await shown(anna, device_id))["lock"]["state"] == "done"
    assert await keys(anna) == ["job.remote_lock.succeeded"]
    assert phone.complaints == []


async def test_a_phone_without_a_passcode_cannot_be_locked_and_says_so(town: Town) -> None:
    anna, device_id, phone = await at_home(town)
    phone.passcode, phone.locked = None, False

    ended = await town.job_is(anna, await asked(anna, device_id, "remote-lock"), "failed")

    assert ended["reason"] == "no_passcode_set"
    assert phone.effects.total() == 0
    lock = (await shown(anna, device_id))["lock"]
    assert (lock["state"], lock["reason"]) == ("failed", "no_passcode_set")
    (line,) = (await anna.notifications())["items"]
    assert (line["key"], line["params"]["reason"]) == ("job.remote_lock.failed", "no_passcode_set")

    town.clock.forward(60)
    phone.passcode = "1234"
    await town.job_is(anna, await asked(anna, device_id, "remote-lock"), "succeeded")
    assert (await shown(anna, device_id))["lock"]["state"] == "done"


async def test_a_sync_learns_what_the_phone_is_and_opens_the_way_to_a_restart(town: Town) -> None:
    anna, device_id, phone = await at_home(town)
    phone.supervised, phone.os_version = True, "18.7"
    refused = await ask(anna, device_id, "restart")

    await town.job_is(anna, await asked(anna, device_id, "refresh"), "succeeded")
    device = await shown(anna, device_id)
    await town.job_is(anna, await asked(anna, device_id, "restart"), "succeeded")

    assert (refused.status_code, refused.json()["reason"]) == (409, "not_supervised")
    assert (device["os_version"], device["model"], device["serial"]) == ("18.7", phone.model, phone.serial)
    assert list(phone.effects.values()) == [1, 1]
    assert await keys(anna) == ["job.refresh.succeeded", "job.restart.succeeded"]


@pytest.mark.parametrize("farewell", [("report", "check_out"), ("check_out", "report"), ("report",), ("check_out",)])
async def test_a_phone_that_is_removed_says_so_in_its_own_way_and_is_gone(
    town: Town, farewell: tuple[str, ...]
) -> None:
    anna, device_id, phone = await at_home(town, "personal")
    phone.habits.farewell = farewell

    await town.job_is(anna, await asked(anna, device_id, "remove"), "succeeded")
    await town.pushes.idle()

    assert not phone.enrolled
    assert phone.passcode is not None
    assert await listed(anna) == []
    assert (await shown(anna, device_id))["state"] == "left"
    assert await keys(anna) == ["job.remove.succeeded"]
    assert phone.complaints == []
    assert (await ask(anna, device_id, "remote-lock")).json()["reason"] == "not_enrolled"


async def test_a_removed_phone_comes_back_as_the_same_device_or_a_new_one_by_a_new_link(town: Town) -> None:
    anna, device_id, _ = await at_home(town)
    await town.job_is(anna, await asked(anna, device_id, "remove"), "succeeded")

    again, phone = await town.iphone(anna)

    assert await listed(anna) == [str(again)]
    await town.job_is(anna, await asked(anna, again, "remote-lock"), "succeeded")
    assert phone.locked


async def test_a_wiped_phone_is_empty_and_gone(town: Town) -> None:
    anna, device_id, phone = await at_home(town)

    await town.job_is(anna, await wiped(anna, device_id), "succeeded")

    assert phone.erased
    assert await listed(anna) == []
    assert await keys(anna) == ["job.wipe.succeeded"]


async def test_what_the_profile_does_not_grant_is_not_offered(town: Town) -> None:
    anna, device_id, phone = await at_home(town, "personal")

    opened = await anna.ask("POST", "/re-sign-ins", {"device_id": str(device_id), "act": "wipe"})
    refused = await ask(anna, device_id, "wipe")

    for answer in (opened, refused):
        assert (answer.status_code, answer.json()["reason"]) == (409, "missing_right")
    acts = {one["act"]: one["reason"] for one in (await shown(anna, device_id))["acts"]}
    assert acts["wipe"] == "missing_right"
    assert not phone.erased


@pytest.mark.parametrize("act", ["wipe", "remove"])
async def test_a_phone_that_goes_without_a_word_is_given_up_after_its_time(town: Town, act: str) -> None:
    anna, device_id, phone = await at_home(town)
    phone.habits.farewell = ()
    location = await (wiped(anna, device_id) if act == "wipe" else asked(anna, device_id, act))
    await town.job_is(anna, location, "delivered")
    await town.pushes.idle()

    town.clock.forward(CONFIRMATION.total_seconds() - 1)
    await town.sweep.jobs()
    await anna.sign_in()
    still = await town.job_is(anna, location, "delivered", "unconfirmed")
    before = await listed(anna)
    town.clock.forward(1)
    await town.sweep.jobs()
    ended = await town.job_is(anna, location, "unconfirmed")

    assert (still["state"], before) == ("delivered", [str(device_id)])
    assert ended["reason"] == "no_answer"
    assert await listed(anna) == []
    (line,) = (await anna.notifications())["items"]
    assert (line["key"], line["severity"]) == (f"job.{act}.unconfirmed", "warning")
    assert phone.effects.total() == 1


async def test_a_phone_that_was_given_up_and_did_not_obey_is_told_to_the_operator(town: Town) -> None:
    anna, device_id, phone = await at_home(town)
    phone.habits.refusing = True
    town.lose(phone, b"ErrorChain")
    location = await wiped(anna, device_id)
    await town.job_is(anna, location, "delivered")
    await town.pushes.idle()
    town.clock.forward(CONFIRMATION.total_seconds())
    await town.sweep.jobs()

    await phone.poll()

    otto = town.browser(await town.hire("otto", is_operator=True))
    await otto.sign_in()
    ended = await town.job_is(otto, location, "unconfirmed")
    assert (ended["late_result"]["state"], ended["late_result"]["reason"]) == ("failed", "device_refused")
    assert not phone.erased


async def test_a_wipe_overtakes_what_waits_for_a_phone_that_is_away(town: Town) -> None:
    anna, device_id, phone = await at_home(town)
    phone.locked = False
    phone.go_offline()
    lock = await asked(anna, device_id, "remote-lock")
    await town.job_is(anna, lock, "waiting")

    wipe = await wiped(anna, device_id)
    cancelled = await town.job_is(anna, lock, "cancelled")
    await town.job_is(anna, wipe, "waiting")
    await phone.go_online()
    await town.job_is(anna, wipe, "succeeded")

    assert (cancelled["reason"], cancelled["superseded_by"]) == ("superseded", wipe.rpartition("/")[2])
    assert phone.erased
    assert phone.offers.total() == 1
    assert await keys(anna) == ["job.remote_lock.cancelled", "job.wipe.succeeded"]
