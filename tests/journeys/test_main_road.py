"""A locked iPhone is opened: the story as the person lives it, and the ways in which it goes otherwise."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import uuid4

import pytest

from platforms.ios.simulator import EnrollmentFailed
from tests.journeys.town import Town, until
from tests.people import block
from tests.servers import RedisServer

ENDINGS = ("succeeded", "failed", "expired", "cancelled", "unsupported")


@pytest.mark.parametrize("second_factor", [False, True], ids=["password", "password and app"])
async def test_a_person_with_a_locked_iphone_gets_back_into_it(town: Town, second_factor: bool) -> None:
    anna = town.browser(await town.hire(second_factor=second_factor))
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    town.clock.forward(60)

    refused = await anna.reset_passcode(device_id)

    assert (refused.status_code, refused.json()["code"]) == (401, "re_sign_in_required")
    assert "insufficient_user_authentication" in refused.headers["WWW-Authenticate"]
    assert "max_age" in refused.headers["WWW-Authenticate"]

    old_token = anna.token
    window = await anna.open_window(device_id)

    assert window["state"] == "open"
    assert (
        await anna.elsewhere().ask("GET", "/sessions/current", Authorization=f"Bearer {old_token}")
    ).status_code == 401

    town.clock.forward(60)
    told = await anna.sign_in()

    assert told["re_sign_in"]["state"] == "proven"
    assert told["session"]["strength"] == (2 if second_factor else 1)

    key = str(uuid4())
    accepted = await anna.reset_passcode(device_id, key)

    assert accepted.status_code == 202, accepted.text
    location = accepted.headers["Location"]
    assert location == f"/api/v1/jobs/{accepted.json()['id']}"

    shown = await town.job_is(anna, location, "succeeded")

    assert [move["to"] for move in shown["timeline"]] == ["queued", "waiting", "delivered", "succeeded"]
    assert [move["by"] for move in shown["timeline"]] == ["person", "worker", "device", "device"]
    assert phone.passcode is None
    assert phone.touch_id is False
    assert list(phone.effects.values()) == [1]
    assert phone.complaints == []

    flag = await anna.notifications()

    assert flag["unread"] == 1
    (line,) = flag["items"]
    assert (line["key"], line["severity"], line["params"]["device"]) == (
        "ios.reset_passcode.succeeded",
        "success",
        "Anna's iPhone",
    )

    again = await anna.reset_passcode(device_id, key)
    other = await anna.reset_passcode(device_id)

    assert (again.status_code, again.headers["Location"]) == (202, location)
    assert (other.status_code, other.json()["code"]) == (409, "re_sign_in_used")
    assert len(await town.jobs()) == 1

    nothing = await anna.ask("POST", f"/devices/{device_id}/passcode/reveal")

    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_reveal")
    assert nothing.json()["next"]
    assert await town.record_is_whole()


@pytest.mark.rule("A14.2")
async def test_twenty_confirmations_at_once_are_one_job(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    await anna.open_window(device_id)
    await anna.sign_in()

    answers = await asyncio.gather(*(anna.reset_passcode(device_id) for _ in range(20)))

    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [202] + [409] * 19
    (accepted,) = [answer for answer in answers if answer.status_code == 202]
    await town.job_is(anna, accepted.headers["Location"], "succeeded")
    assert len(await town.jobs()) == 1
    assert sum(phone.effects.values()) == 1


@pytest.mark.rule("A14.1")
@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "proven"), (299.999, "proven"), (300, "proven"), (300.001, "lapsed"), (-0.001, "lapsed")]
)
async def test_signing_in_again_counts_until_the_last_moment_of_the_fifth_minute(
    town: Town, seconds: float, state: str
) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, _ = await town.iphone(anna)
    await anna.open_window(device_id)

    town.clock.forward(seconds)
    told = await anna.sign_in()

    assert told["state"] == "signed_in"
    assert told["re_sign_in"]["state"] == state
    confirmed = await anna.reset_passcode(device_id)
    assert confirmed.status_code == (202 if state == "proven" else 401)
    if state == "lapsed":
        assert [line["key"] for line in (await anna.notifications())["items"]] == ["re_sign_in.lapsed"]
        assert await town.jobs() == []


@pytest.mark.rule("A14.1")
@pytest.mark.parametrize(("seconds", "status"), [(0, 202), (299.999, 202), (300, 202), (300.001, 410), (-0.001, 410)])
async def test_confirming_counts_until_the_last_moment_of_the_fifth_minute(
    town: Town, seconds: float, status: int
) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, _ = await town.iphone(anna)
    await anna.open_window(device_id)
    await anna.sign_in()

    town.clock.forward(seconds)
    answer = await anna.reset_passcode(device_id)

    assert answer.status_code == status, answer.text
    if status == 410:
        assert answer.json()["code"] == "re_sign_in_lapsed"
        assert [line["key"] for line in (await anna.notifications())["items"]] == ["re_sign_in.lapsed"]


async def test_a_window_that_nobody_used_lapses_and_says_so(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, _ = await town.iphone(anna)
    await anna.open_window(device_id)

    town.clock.forward(300)
    await town.sweep.windows()
    anna_elsewhere = anna.elsewhere()
    await anna_elsewhere.sign_in()
    nothing_yet = await anna_elsewhere.notifications()
    town.clock.forward(0.001)
    await town.sweep.windows()
    await town.sweep.windows()

    assert nothing_yet["items"] == []
    assert [line["key"] for line in (await anna_elsewhere.notifications())["items"]] == ["re_sign_in.lapsed"]


@pytest.mark.rule("A14.5")
async def test_another_person_who_signs_in_gets_a_plain_session_and_the_window_is_gone(town: Town) -> None:
    anna, bram = town.browser(await town.hire("anna")), town.browser(await town.hire("bram"))
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    await anna.open_window(device_id)

    bram.window = anna.window
    told = await bram.sign_in()

    assert told["state"] == "signed_in"
    assert (told.get("re_sign_in") or {}).get("state") != "proven"
    assert (await bram.reset_passcode(device_id)).status_code == 404
    told = await anna.sign_in()
    assert told["re_sign_in"]["state"] == "cancelled"
    assert (await anna.reset_passcode(device_id)).status_code == 401
    assert phone.passcode is not None
    assert ("account:re_sign_in:cancel", "success") in await town.actions()


async def test_a_phone_that_is_offline_is_opened_when_it_is_back(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.go_offline()

    location = await anna.all_the_way(device_id)
    waiting = await town.job_is(anna, location, "waiting")
    await town.pushes.until_received(1)

    assert waiting["available_actions"] == ["cancel"]
    assert phone.passcode is not None

    town.clock.forward(timedelta(hours=3))
    await phone.go_online()
    await anna.sign_in()

    await town.job_is(anna, location, "succeeded")
    assert phone.passcode is None
    assert sum(phone.effects.values()) == 1


async def test_a_phone_that_missed_every_push_is_woken_again_by_the_sweep(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.push_magic, magic = "another", phone.push_magic

    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "waiting")
    await town.pushes.until_received(1)
    await town.pushes.idle()
    phone.push_magic = magic
    phone.complaints.clear()
    town.clock.forward(timedelta(minutes=1))
    await town.sweep.jobs()

    shown = await town.job_is(anna, location, "succeeded")
    assert shown["timeline"][-1]["attempt"] == 2


@pytest.mark.rule("A14.7")
async def test_a14_t_a_redis_that_is_emptied_at_every_step_changes_nothing(town: Town, one_redis: RedisServer) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)

    one_redis.client.flushall()
    window = await anna.open_window(device_id)
    one_redis.client.flushall()
    told = await anna.sign_in()
    one_redis.client.flushall()
    accepted = await anna.reset_passcode(device_id)
    one_redis.client.flushall()
    await town.sweep.round()

    assert (window["state"], told["re_sign_in"]["state"], accepted.status_code) == ("open", "proven", 202)
    await town.job_is(anna, accepted.headers["Location"], "succeeded")
    assert phone.passcode is None
    assert list(phone.effects.values()) == [1]
    assert [line["key"] for line in (await anna.notifications())["items"]] == ["ios.reset_passcode.succeeded"]


async def test_what_the_person_takes_back_in_time_never_reaches_the_phone(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.go_offline()
    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "waiting")

    cancelled = await anna.ask("POST", f"{location.removeprefix('/api/v1')}/cancel")
    await phone.go_online()
    await town.pushes.idle()
    again = await anna.ask("POST", f"{location.removeprefix('/api/v1')}/cancel")

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert (again.status_code, again.json()["code"]) == (409, "too_late_to_cancel")
    assert phone.passcode is not None
    assert [line["key"] for line in (await anna.notifications())["items"]] == ["job.reset_passcode.cancelled"]


async def test_a_phone_that_stays_away_for_a_day_lets_the_job_expire_and_its_late_answer_is_kept(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    town.lose(phone, b"Acknowledged")
    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "delivered")
    await town.pushes.idle()

    town.clock.forward(timedelta(hours=24))
    await town.sweep.jobs()
    await anna.sign_in()
    expired = await town.job_is(anna, location, "expired")
    await phone.poll()

    assert expired["reason"] == "no_answer"
    assert [line["key"] for line in (await anna.notifications())["items"]] == ["job.reset_passcode.expired"]

    async def late() -> bool:
        (row,) = await town.jobs()
        return bool(row.late_result) and row.late_result["state"] == "succeeded"

    assert await until(late)
    still = await town.job_is(anna, location, *ENDINGS)
    assert still["state"] == "expired"
    assert "late_result" not in still
    operator = town.browser(await town.hire("otto", is_operator=True))
    await operator.sign_in()
    shown = await town.job_is(operator, location, "expired")
    assert shown["late_result"]["state"] == "succeeded"


async def test_a_phone_that_refuses_ends_the_job_and_the_reason_is_told(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.habits.refusing = True

    location = await anna.all_the_way(device_id)

    shown = await town.job_is(anna, location, "failed")
    assert shown["reason"] == "device_refused"
    (line,) = (await anna.notifications())["items"]
    assert (line["key"], line["severity"]) == ("job.reset_passcode.failed", "error")


async def test_a_phone_that_says_not_now_is_asked_again_later(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.habits.not_now = 1
    location = await anna.all_the_way(device_id)

    async def put_off() -> bool:
        shown = (await anna.ask("GET", location.removeprefix("/api/v1"))).json()
        return [move["to"] for move in shown["timeline"]][-2:] == ["delivered", "waiting"]

    await until(put_off)
    await town.pushes.idle()
    town.clock.forward(timedelta(minutes=5))
    await town.sweep.jobs()

    await town.job_is(anna, location, "succeeded")
    assert sum(phone.effects.values()) == 1


async def test_a_phone_that_repeats_itself_and_loses_answers_is_opened_once(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.habits.repeating = True
    phone.habits.losing_answers = 1
    phone.patience = 0.01

    location = await anna.all_the_way(device_id)

    await town.job_is(anna, location, "succeeded")
    await town.pushes.idle()
    assert sum(phone.effects.values()) == 1
    assert (await anna.notifications())["unread"] == 1
    assert await town.record_is_whole()


async def test_a_phone_that_leaves_takes_its_open_order_with_it(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.go_offline()
    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "waiting")

    phone.online = True
    await phone.check_out()

    shown = await town.job_is(anna, location, "cancelled")
    assert shown["reason"] == "device_left"
    device = (await anna.ask("GET", f"/devices/{device_id}")).json()
    assert device["state"] == "left"
    assert {act["act"]: act["available"] for act in device["acts"]}["reset_passcode"] is False


async def test_a_phone_that_enrols_anew_is_the_same_device_with_a_new_life(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    phone.go_offline()
    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "waiting")
    await town.pushes.idle()

    invited = (await anna.ask("POST", "/enrollments", {"platform": "ios"})).json()
    phone.online = True
    await phone.open_link(invited["url"])
    await phone.check_in()

    assert (await town.job_is(anna, location, "cancelled"))["reason"] == "device_left"
    devices = (await anna.ask("GET", "/devices")).json()["items"]
    assert [(one["id"], one["state"], one["name"]) for one in devices] == [(str(device_id), "active", "Anna's iPhone")]
    location = await anna.all_the_way(device_id)
    await town.job_is(anna, location, "succeeded")
    assert phone.passcode is None


async def test_an_invitation_of_somebody_who_was_blocked_meanwhile_opens_nothing(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    await phone.check_out()
    invited = (await anna.ask("POST", "/enrollments", {"platform": "ios"})).json()
    await block(town.db, anna.person, town.clock.now)

    with pytest.raises(EnrollmentFailed):
        await phone.open_link(invited["url"])

    assert str(device_id) != invited["device_id"]
    assert not phone.enrolled


async def test_a_sign_out_everywhere_ends_the_window_with_all_else(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, _ = await town.iphone(anna)
    await anna.open_window(device_id)
    await anna.sign_in()

    answer = await anna.ask("POST", "/sign-out-everywhere", {"confirm": True})
    dead = await anna.reset_passcode(device_id)

    assert answer.status_code == 204
    assert dead.status_code == 401
    told = await anna.sign_in()
    assert told["re_sign_in"]["state"] == "cancelled"
    assert (await anna.reset_passcode(device_id)).status_code == 401


async def test_the_flag_lights_up_on_an_open_stream(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, _ = await town.iphone(anna)
    await anna.open_window(device_id)
    await anna.sign_in()
    headers = {"Authorization": f"Bearer {anna.token}"}

    async with town.client.stream("GET", "/api/v1/notifications/stream", headers=headers) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines) is not None
        answer = await anna.reset_passcode(device_id)
        assert answer.status_code == 202
        async with asyncio.timeout(10):
            async for text in lines:
                if "ios.reset_passcode.succeeded" in text:
                    break


async def test_a_phone_that_left_may_say_so_twice_and_begins_no_new_life_by_itself(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    device_id, phone = await town.iphone(anna)
    statuses: list[int] = []

    async def overheard(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if b"CheckOut" in body:
            statuses.append((await town.transport(method, url, headers, body))[0])
        answer = await town.transport(method, url, headers, body)
        statuses.append(answer[0])
        return answer

    phone.transport = overheard
    bond = phone.bond
    await phone.check_out()
    phone.bond = bond

    with pytest.raises(EnrollmentFailed):
        await phone.check_in()

    assert statuses == [200, 200, 400]
    assert (await anna.ask("GET", f"/devices/{device_id}")).json()["state"] == "left"
