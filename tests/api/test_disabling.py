"""A device is disabled by its owner, on both databases: what rests on it ends, and it leaves the page (A2)."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

import models
from models.delivery import Delivery, delivery
from models.device import DeviceState
from models.job import job
from models.notification import notification
from models.passcode import keep, passcode
from models.re_sign_in import re_sign_in
from models.settings import DEVICES_PER_ACCOUNT, FRESH_PROOF, RECENT_PROOF
from models.throttle import throttle
from models.vocabulary import Act, PasscodeKind, Secret, new_id
from tests import runs
from tests.api.house import Answer, House
from tests.people import Person, found, give_device, welcome

LETTERS = Path(models.__file__).parent / "texts" / "letters"


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire("anna")
    await house.open_session(person, "t")
    return person


async def disable(house: House, device_id: UUID, token: str = "t", *, confirm: bool = True) -> Answer:
    return await house.ask("POST", f"/devices/{device_id}/disable", {"confirm": confirm}, token=token)


async def ask(house: House, device_id: UUID, act: str, key: str = "k") -> Answer:
    return await house.ask("POST", f"/devices/{device_id}/{act}", token="t", headers={"Idempotency-Key": key})


async def put(house: House, person: Person, device_id: UUID, act: Act) -> UUID:
    """A job that was asked for already."""
    async with house.db.write() as tx:
        return (await runs.ask(tx, person, device_id, act, house.clock.now)).id


async def listed(house: House, token: str = "t") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await house.ask("GET", "/devices", token=token)).json["items"]
    return items


async def test_a_disabled_device_leaves_the_page_and_nothing_is_offered_for_it(house: House, anna: Person) -> None:
    lost = await give_device(house.db, anna, house.clock.now)
    kept = await give_device(house.db, anna, house.clock.now)

    disabled = await disable(house, lost)

    assert (disabled.status, disabled.json["state"]) == (200, "disabled")
    assert {one["reason"] for one in disabled.json["acts"]} == {"device_disabled"}
    assert [one["id"] for one in await listed(house)] == [str(kept)]
    assert (await house.ask("GET", f"/devices/{lost}", token="t")).json == disabled.json
    refused = await ask(house, lost, "remote-lock")
    assert (refused.status, refused.json["code"], refused.json["reason"]) == (409, "not_offered", "device_disabled")
    assert (await house.ask("GET", "/sessions/current", token="t")).status == 200, "the person stays signed in"


async def test_what_was_asked_of_it_ends_and_is_told(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)
    asked = await ask(house, device_id, "remote-lock")

    await disable(house, device_id)

    shown = (await house.ask("GET", f"/jobs/{asked.json['id']}", token="t")).json
    assert (shown["state"], shown["reason"]) == ("cancelled", "device_disabled")
    assert (shown["timeline"][-1]["from"], shown["timeline"][-1]["by"]) == ("queued", "person")
    lines = (await house.ask("GET", "/notifications", token="t")).json["items"]
    assert {one["key"] for one in lines} == {"device.disabled", "job.remote_lock.cancelled"}


async def test_what_the_device_has_already_is_over_for_us(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)
    asked = await ask(house, device_id, "remote-lock")
    async with house.db.write() as tx:
        await tx.execute(sa.update(job).values(state="delivered"))

    await disable(house, device_id)

    shown = (await house.ask("GET", f"/jobs/{asked.json['id']}", token="t")).json
    assert (shown["state"], shown["reason"]) == ("failed", "device_disabled")


async def test_windows_that_were_opened_for_it_close(house: House, anna: Person) -> None:
    device_id, other = [await give_device(house.db, anna, house.clock.now) for _ in range(2)]
    for one, token in ((device_id, "a"), (other, "b")):
        await house.open_session(anna, token)
        body = {"device_id": str(one), "act": "reset_passcode"}
        assert (await house.ask("POST", "/re-sign-ins", body, token=token)).status == 201

    await disable(house, device_id)

    windows = {row.device_id: (row.state, row.why) for row in await house.rows(sa.select(re_sign_in))}
    assert windows == {device_id: ("cancelled", "device_disabled"), other: ("open", None)}


@pytest.mark.parametrize("act", [Act.WIPE, Act.REMOVE])
async def test_a_device_that_is_to_be_wiped_must_stay_within_hearing(house: House, anna: Person, act: Act) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)
    job_id = await put(house, anna, device_id, act)

    refused = await disable(house, device_id)

    assert (refused.status, refused.json["code"]) == (409, "action_in_progress")
    assert refused.json["job_id"] == str(job_id)
    assert (await house.ask("POST", f"/jobs/{job_id}/cancel", token="t")).status == 200
    assert (await disable(house, device_id)).status == 200, "taken back, it is in nobody's way"


async def test_disabled_twice_is_disabled_and_written_down_once(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)

    first = await disable(house, device_id)
    second = await disable(house, device_id)

    assert (first.status, second.status) == (200, 200)
    assert first.json == second.json
    assert (await house.events(anna))["device:trust:disable", "success", None] == 1
    assert (await house.told(anna)).count("device.disabled") == 1


async def test_two_at_once_are_one(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)

    answers = await asyncio.gather(*(disable(house, device_id) for _ in range(8)))

    assert {one.status for one in answers} == {200}
    assert (await house.events(anna))["device:trust:disable", "success", None] == 1


async def test_the_person_hears_of_it_by_mail_with_a_way_to_disown_it(house: House) -> None:
    anna = await house.hire("anna@example.org")
    await house.open_session(anna, "t")
    device_id = await give_device(house.db, anna, house.clock.now)

    await disable(house, device_id)

    (mail,) = await house.rows(sa.select(delivery))
    assert (mail.key, mail.link, mail.params["device"]) == ("device.disabled", "/not-me", "anna@example.org's phone")


async def test_a_clear_yes_and_a_fresh_proof_are_asked_for(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)

    unclear = await disable(house, device_id, confirm=False)
    house.clock.forward((FRESH_PROOF + timedelta(milliseconds=1)).total_seconds())
    stale = await disable(house, device_id)
    house.clock.forward(-0.001)
    on_the_edge = await disable(house, device_id)

    assert (unclear.status, unclear.json["code"]) == (422, "invalid")
    assert (stale.status, stale.json["code"], stale.json["max_age"]) == (401, "proof_required", 300)
    assert on_the_edge.status == 200


@pytest.mark.parametrize("state", [DeviceState.PENDING, DeviceState.LEFT])
async def test_what_is_not_enrolled_has_no_trust_to_lose(house: House, anna: Person, state: DeviceState) -> None:
    device_id = await give_device(house.db, anna, house.clock.now, state=state)

    refused = await disable(house, device_id)

    assert (refused.status, refused.json["code"], refused.json["reason"]) == (409, "not_offered", "not_enrolled")


async def test_a_waiting_passcode_is_destroyed(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)
    job_id = await put(house, anna, device_id, Act.RESET_PASSCODE)
    async with house.db.write() as tx:
        await tx.execute(sa.update(job).values(state="succeeded"))
        await keep(
            tx,
            organization_id=anna.organization_id,
            device_id=device_id,
            account_id=anna.id,
            job_id=job_id,
            kind=PasscodeKind.TEMPORARY_ALPHANUMERIC,
            secret=Secret(b"tk7hw3nd"),
            keys=house.keys,
            readable_until=house.clock.now + timedelta(hours=24),
            now=house.clock.now,
        )

    await disable(house, device_id)

    (left,) = await house.rows(sa.select(passcode))
    assert (left.sealed, left.why) == (None, "device_disabled")


@pytest.mark.rule("A2.2")
async def test_another_persons_device_is_none(house: House, anna: Person) -> None:
    theirs = await give_device(house.db, await house.hire("berta"), house.clock.now)

    refused = await disable(house, theirs)
    missing = await disable(house, UUID(int=7))

    assert (refused.status, refused.json["code"]) == (404, "not_found")
    assert refused.json == {**missing.json, "instance": refused.json["instance"]}


# A session that was opened on it


async def sign_in_on(house: House, person: Person, device_id: UUID | None) -> Answer:
    body = {"account": person.name, "password": person.password, "device_id": str(device_id)}
    return await house.ask("POST", "/sessions", body)


@pytest.mark.rule("A2.1")
async def test_a2_t_what_was_signed_in_on_the_device_is_401_at_its_next_call(house: House, anna: Person) -> None:
    lost, kept = [await give_device(house.db, anna, house.clock.now) for _ in range(2)]
    there, here = await sign_in_on(house, anna, lost), await sign_in_on(house, anna, kept)
    assert there.json["session"]["device_id"] == str(lost)
    assert (await house.ask("GET", "/sessions/current", token=there.json["token"])).status == 200

    await disable(house, lost)

    answers = [(await house.ask("GET", "/sessions/current", token=one.json["token"])).status for one in (there, here)]
    assert answers == [401, 200], "other devices stay signed in"
    assert (await house.ask("GET", "/sessions/current", token="t")).status == 200
    again = await sign_in_on(house, anna, lost)
    assert (again.status, again.json["code"]) == (403, "device_disabled")


async def test_whoever_knows_the_password_on_a_disabled_device_leaves_a_trace_and_is_forgiven_nothing(
    house: House, anna: Person
) -> None:
    lost = await give_device(house.db, anna, house.clock.now)
    await disable(house, lost)
    await house.ask("POST", "/sessions", {"account": anna.name, "password": "wrong"})
    house.clock.forward(1)

    assert (await sign_in_on(house, anna, lost)).status == 403

    (line, wrong) = (await house.ask("GET", "/sign-ins", token="t")).json["items"]
    assert (line["outcome"], line["reason"]) == ("password_failed", "device_disabled")
    assert (line["advice"], wrong["advice"]) == ("sign_in.device_disabled", "sign_in.password_failed")
    for language in ("en", "nl"):
        assert line["advice"] in (await house.ask("GET", f"/texts/{language}")).json["texts"]
    assert (await house.events(anna))["account:session:open", "failure", "device_disabled"] == 1
    counted = await house.rows(sa.select(throttle.c.tries).where(throttle.c.key.startswith("password:")))
    assert [row.tries for row in counted] == [2], "both count, or a lost device would wipe the slate clean"


async def test_a_device_may_be_disabled_by_a_session_on_it_which_ends_too(house: House, anna: Person) -> None:
    device_id = await give_device(house.db, anna, house.clock.now)
    token = (await sign_in_on(house, anna, device_id)).json["token"]

    assert (await disable(house, device_id, token)).status == 200
    assert (await house.ask("GET", "/sessions/current", token=token)).status == 401


async def test_a_device_of_nobodys_or_of_another_is_no_place_to_sign_in_on(house: House, anna: Person) -> None:
    bert = await house.hire("bert")
    theirs = await give_device(house.db, bert, house.clock.now)

    for other in (theirs, new_id(house.clock.now)):
        opened = await sign_in_on(house, anna, other)
        assert (opened.status, opened.json["session"]["device_id"]) == (201, None)


async def test_a_sign_in_in_two_steps_and_a_new_password_stay_on_the_device(house: House) -> None:
    eva = await house.hire("eva", second_factor=True)
    device_id = await give_device(house.db, eva, house.clock.now)
    half = await sign_in_on(house, eva, device_id)
    body = {"method_id": str(eva.method_id), "code": eva.code(house.clock.now)}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
    given = {"current": eva.password, "new": "plain otter walks along the dyke"}
    changed = await house.ask("POST", "/password", given, token=whole.json["token"])

    assert whole.json["session"]["device_id"] == changed.json["session"]["device_id"] == str(device_id)
    await disable(house, device_id, changed.json["token"])
    assert (await house.ask("GET", "/sessions/current", token=changed.json["token"])).status == 401


# What administrators see of it, and give back


async def known(house: House, person: Person, query: str = "", token: str = "boss") -> Answer:
    return await house.ask("GET", f"/accounts/{person.id}/devices{query}", token=token)


async def enable(house: House, person: Person, device_id: UUID, token: str = "boss") -> Answer:
    return await house.ask("POST", f"/accounts/{person.id}/devices/{device_id}/enable", token=token)


async def test_a2_t_only_an_administrator_sees_what_is_disabled_and_trusts_it_again(house: House, anna: Person) -> None:
    await house.appoint()
    lost, kept = [await give_device(house.db, anna, house.clock.now) for _ in range(2)]
    await disable(house, lost)

    assert {one["id"] for one in (await known(house, anna)).json["items"]} == {str(kept)}
    shown = (await known(house, anna, "?include=disabled")).json["items"]
    assert {one["id"]: one["state"] for one in shown} == {str(lost): "disabled", str(kept): "active"}
    assert (await house.ask("GET", "/devices?include=disabled", token="t")).status == 422
    assert (await enable(house, anna, lost, "t")).status == 403

    enabled = await enable(house, anna, lost)
    again = await enable(house, anna, lost)

    assert (enabled.status, enabled.json["state"], again.status) == (200, "active", 200)
    assert {one["id"] for one in await listed(house)} == {str(lost), str(kept)}
    assert (await house.events(anna))["device:trust:enable", "success", None] == 1
    assert (await house.told(anna)).count("device.enabled") == 1
    assert (await ask(house, lost, "remote-lock")).status == 202


async def test_a_device_is_enabled_within_the_quota_and_while_it_is_bound(house: House, anna: Person) -> None:
    await house.appoint()
    lost = await give_device(house.db, anna, house.clock.now, state=DeviceState.DISABLED)
    gone = await give_device(house.db, anna, house.clock.now, state=DeviceState.LEFT)
    for _ in range(DEVICES_PER_ACCOUNT):
        await give_device(house.db, anna, house.clock.now)

    full, left = await enable(house, anna, lost), await enable(house, anna, gone)

    assert (full.status, full.json["code"]) == (403, "device_quota")
    assert (left.status, left.json["reason"]) == (409, "not_enrolled")


async def test_tenants_apart_devices_of_another_organization_are_not_there(house: House, anna: Person) -> None:
    lost = await give_device(house.db, anna, house.clock.now, state=DeviceState.DISABLED)
    await house.appoint("stranger", organization_id=await found(house.db, house.clock.now))
    await house.appoint()
    bert = await house.hire("bert")

    assert (await known(house, anna, token="stranger")).status == 404
    assert (await enable(house, anna, lost, "stranger")).status == 404
    assert (await enable(house, bert, lost)).status == 404, "somebody else's"
    await house.appoint("help", "helpdesk_administrator")
    assert (await known(house, anna, token="help")).status == 200
    assert (await enable(house, anna, lost, "help")).status == 403


# An administrator disables somebody's device


async def disable_for(
    house: House, person: Person, device_id: UUID, token: str = "boss", reason: str = "found on a train"
) -> Answer:
    path = f"/accounts/{person.id}/devices/{device_id}/disable"
    return await house.ask("POST", path, {"reason": reason}, token=token)


async def test_an_administrator_disables_with_all_that_it_has_when_its_owner_does(house: House) -> None:
    anna = await house.hire("anna@example.org")
    await house.open_session(anna, "t")
    await house.appoint()
    lost, kept = [await give_device(house.db, anna, house.clock.now) for _ in range(2)]
    there, here = await sign_in_on(house, anna, lost), await sign_in_on(house, anna, kept)
    asked = await ask(house, lost, "remote-lock")
    body = {"device_id": str(lost), "act": "reset_passcode"}
    await house.open_session(anna, "window")
    assert (await house.ask("POST", "/re-sign-ins", body, token="window")).status == 201

    disabled = await disable_for(house, anna, lost)
    again = await disable_for(house, anna, lost)

    assert (disabled.status, disabled.json["state"], disabled.json["enabled"]) == (200, "disabled", False)
    assert again.json == disabled.json
    assert [one["id"] for one in await listed(house)] == [str(kept)]
    answers = [(await house.ask("GET", "/sessions/current", token=one.json["token"])).status for one in (there, here)]
    assert answers == [401, 200], "other devices stay signed in"
    shown = (await house.ask("GET", f"/jobs/{asked.json['id']}", token="t")).json
    assert (shown["state"], shown["reason"], shown["timeline"][-1]["by"]) == (
        "cancelled",
        "device_disabled",
        "administrator",
    )
    (window,) = await house.rows(sa.select(re_sign_in))
    assert (window.state, window.why) == ("cancelled", "device_disabled")
    told = await house.told(anna)
    assert told.count("device.disabled_by_administrator") == 1
    assert "device.disabled" not in told
    (mail,) = await house.rows(sa.select(delivery).where(delivery.c.key.startswith("device.")))
    assert (mail.key, mail.link) == ("device.disabled_by_administrator", None), "there is nothing to disown"
    assert (await house.events(anna))["device:trust:disable", "success", "found on a train"] == 1
    assert (await disable(house, lost)).status == 200, "its owner finds it disabled"
    assert (await house.events(anna))["device:trust:disable", "success", "found on a train"] == 1


async def test_what_disables_somebodys_device_is_two_factors_lately_a_reason_and_a_role_that_reaches_them(
    house: House, anna: Person
) -> None:
    boss = await house.appoint()
    await house.appoint("help", "helpdesk_administrator")
    await house.open_session(boss, "one factor")
    device_id = await give_device(house.db, anna, house.clock.now)
    mine = await give_device(house.db, boss, house.clock.now)

    weak = await disable_for(house, anna, device_id, "one factor")
    helpdesk = await disable_for(house, anna, device_id, "help")
    person = await disable_for(house, anna, device_id, "t")
    silent = [await disable_for(house, anna, device_id, reason=reason) for reason in ("", " \t")]
    oneself = await disable_for(house, boss, mine)
    house.clock.forward(RECENT_PROOF.total_seconds() + 0.001)
    late = await disable_for(house, anna, device_id)
    house.clock.forward(-0.001)
    on_the_edge = await disable_for(house, anna, device_id)

    assert (weak.status, weak.json["code"], weak.json["strength"]) == (401, "proof_required", 2)
    assert (helpdesk.status, person.status, oneself.status) == (403, 403, 403)
    assert [one.status for one in silent] == [422, 422], "blanks are no reason"
    assert (late.status, late.json["code"], late.json["max_age"]) == (401, "proof_required", 900)
    assert on_the_edge.status == 200


async def test_what_an_administrator_cannot_disable(house: House, anna: Person) -> None:
    await house.appoint()
    bert = await house.hire("bert")
    await house.appoint("stranger", organization_id=await found(house.db, house.clock.now))
    device_id = await give_device(house.db, anna, house.clock.now)
    leaving = await give_device(house.db, anna, house.clock.now)
    job_id = await put(house, anna, leaving, Act.WIPE)
    gone = await give_device(house.db, anna, house.clock.now, state=DeviceState.LEFT)

    refused = await disable_for(house, anna, leaving)
    left = await disable_for(house, anna, gone)

    assert (refused.status, refused.json["code"], refused.json["job_id"]) == (409, "action_in_progress", str(job_id))
    assert (left.status, left.json["reason"]) == (409, "not_enrolled")
    assert (await disable_for(house, bert, device_id)).status == 404, "somebody else's"
    assert (await disable_for(house, anna, device_id, "stranger")).status == 404, "another organization's"
    assert len(await listed(house)) == 2


async def test_the_owner_and_an_administrator_at_once_disable_once(house: House, anna: Person) -> None:
    await house.appoint()
    device_id = await give_device(house.db, anna, house.clock.now)

    answers = await asyncio.gather(*(disable(house, device_id) for _ in range(3)), disable_for(house, anna, device_id))

    assert {one.status for one in answers} == {200}
    done = [line for line in await house.lines("device:trust:disable") if line.row.subject_id == device_id]
    assert len(done) == 1


# Of a guest


async def test_administrators_see_disable_and_enable_a_guests_device_of_their_organization_and_no_other(
    house: House,
) -> None:
    beta = await found(house.db, house.clock.now, name="Beta")
    gina = await house.hire("gina", organization_id=beta)
    await welcome(house.db, house.organization_id, gina, house.clock.now)
    await house.appoint()
    at_home = await give_device(house.db, gina, house.clock.now)
    here = await give_device(house.db, replace(gina, organization_id=house.organization_id), house.clock.now)
    there = await sign_in_on(house, gina, here)

    assert [one["id"] for one in (await known(house, gina)).json["items"]] == [str(here)]
    (shown,) = (await known(house, gina)).json["items"]
    assert shown["last_sign_in_at"] is None, "a sign-in at home is none of ours"
    assert (await disable_for(house, gina, at_home)).status == 404
    disabled = await disable_for(house, gina, here)

    assert (disabled.status, disabled.json["state"]) == (200, "disabled")
    assert (await house.ask("GET", "/sessions/current", token=there.json["token"])).status == 401
    ends = [line.row for line in await house.lines("account:session:end")]
    assert [(row.organization_id, row.actor_id) for row in ends] == [(beta, None)], "who it was is not Beta's affair"
    assert (await known(house, gina)).json["items"] == []
    enabled = await enable(house, gina, here)
    assert (enabled.status, enabled.json["state"]) == (200, "active")
    (line,) = await house.rows(sa.select(notification).where(notification.c.key == "device.enabled"))
    assert line.organization_id == house.organization_id
    await house.appoint("stranger", organization_id=await found(house.db, house.clock.now))
    assert (await known(house, gina, token="stranger")).status == 404


# "That was not me"


async def test_who_disowns_that_a_device_was_disabled_ends_the_sign_ins_and_it_stays_disabled(house: House) -> None:
    anna = await house.hire("anna@example.org")
    await house.open_session(anna, "t")
    await house.open_session(anna, "intruder")
    await house.appoint()
    device_id = await give_device(house.db, anna, house.clock.now)
    await disable(house, device_id, "intruder")
    (mail,) = await house.rows(sa.select(delivery).where(delivery.c.key == "device.disabled"))
    _, token = Delivery.of(mail).open(house.keys)
    assert token is not None

    said = await house.ask("POST", "/not-me", {"token": token.text()})

    assert said.status == 204
    answers = [(await house.ask("GET", "/sessions/current", token=one)).status for one in ("t", "intruder")]
    assert answers == [401, 401]
    assert (await house.sign_in(anna)).status == 401, "the password is known to somebody else"
    (shown,) = (await known(house, anna, "?include=disabled")).json["items"]
    assert shown["state"] == "disabled"
    assert (await enable(house, anna, device_id)).status == 200
    for language, words in (("en", "stays disabled until your administrator"), ("nl", "tot uw beheerder het")):
        letter = (LETTERS / f"{language}.json").read_text("utf-8")
        assert words in json.loads(letter)["mail.device.disabled.text"]


async def test_a_right_sign_in_on_a_disabled_device_can_be_disowned(house: House, anna: Person) -> None:
    """Whoever it was knows the password."""
    lost = await give_device(house.db, anna, house.clock.now)
    await disable(house, lost)
    assert (await sign_in_on(house, anna, lost)).status == 403
    (line,) = (await house.ask("GET", "/sign-ins", token="t")).json["items"]
    assert line["can_be_disowned"] is True

    said = await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token="t")

    assert (said.status, said.json["can_be_disowned"]) == (200, False)
    assert (await house.ask("GET", "/sessions/current", token="t")).status == 401
