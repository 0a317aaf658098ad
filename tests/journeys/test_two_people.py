"""An organization decides, its people live by it: the helpdesk that a refusal names, and the second yes to a wipe."""

from uuid import UUID, uuid4

from platforms.ios.simulator import Iphone
from tests.journeys.town import Browser, Town


async def at_home(town: Town) -> tuple[Browser, Browser, Browser, UUID, Iphone]:
    """Two administrators, and anna with her organization's phone."""
    roles = ("global_administrator",)
    boss, chief = [town.browser(await town.hire(name, second_factor=True, roles=roles)) for name in ("boss", "chief")]
    anna = town.browser(await town.hire())
    for one in (boss, chief, anna):
        await one.sign_in()
    device_id, phone = await town.iphone(anna, ownership="corporate")
    return boss, chief, anna, device_id, phone


async def test_what_it_may_not_do_says_whom_to_ask_and_what_it_may_wipe_takes_two_people(town: Town) -> None:
    boss, chief, anna, device_id, phone = await at_home(town)

    seen = await boss.ask("GET", "/organization/settings")
    decided = await boss.ask(
        "PATCH",
        "/organization/settings",
        {
            "contact": {"name": "Front desk", "phone": "+31 20 555 0100"},
            "branding": {"name": "Acme Care", "colour": "purple"},
            "hidden_acts": [{"platform": "ios", "ownership": "corporate", "act": "restart"}],
            "acts": [{"act": "wipe", "second_approver": True}],
        },
        **{"If-Match": seen.headers["ETag"]},
    )
    assert decided.status_code == 200, decided.text

    front = (await anna.ask("GET", "/organization")).json()
    assert (front["branding"]["name"], front["branding"]["colour"]) == ("Acme Care", "#5c2e91")
    told = (await anna.ask("GET", "/organization/privacy?platform=ios&ownership=corporate")).json()
    assert told["about_platform"]["key"] == "ios.privacy.corporate"
    hidden = await anna.ask("POST", f"/devices/{device_id}/restart", key=str(uuid4()))
    assert (hidden.status_code, hidden.json()["code"]) == (403, "hidden_by_admin")
    assert hidden.json()["contact"] == {"name": "Front desk", "phone": "+31 20 555 0100"}

    await anna.open_window(device_id, "wipe")
    assert (await anna.sign_in())["re_sign_in"]["state"] == "proven"
    asked = await anna.ask("POST", f"/devices/{device_id}/wipe", key="wish")
    assert (asked.status_code, asked.json()["state"]) == (201, "submitted")
    assert await town.jobs() == []

    # The sweep tells the administrators; anna locks the phone while she waits.
    await town.sweep.approvals()
    assert {line["key"] for line in (await chief.notifications())["items"]} == {"approval.wipe.asked"}
    lock = await anna.ask("POST", f"/devices/{device_id}/remote-lock", key=str(uuid4()))
    await town.job_is(anna, lock.headers["Location"], "succeeded")
    assert phone.locked

    (waiting,) = (await chief.ask("GET", "/approvals?everyone=true&state=submitted")).json()["items"]
    assert (waiting["asked_by"]["sign_in_name"], waiting["device"]["name"]) == ("anna", "Anna's iPhone")
    approved = await chief.ask("POST", f"/approvals/{waiting['id']}/approve", {"reason": "lost on the train"})
    assert approved.status_code == 200, approved.text
    late = await boss.ask("POST", f"/approvals/{waiting['id']}/refuse", {"reason": "it was found"})
    assert (late.status_code, late.json()["code"]) == (409, "approval_over")

    await town.job_is(anna, f"/api/v1/jobs/{approved.json()['job_id']}", "succeeded")
    assert phone.erased
    lines = {line["key"] for line in (await anna.notifications())["items"]}
    assert lines == {"job.remote_lock.succeeded", "approval.wipe.approved", "job.wipe.succeeded"}
    assert {action for action, _ in await town.actions()} >= {
        "organization:settings:change",
        "device:approval:submit",
        "device:approval:approve",
        "device:wipe:ask",
    }
    assert phone.complaints == []
    assert await town.record_is_whole()
