"""A platform that nobody has heard of: one new folder, and no edit elsewhere."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import platforms
from models.vocabulary import PlatformName
from platforms import registry
from platforms.base import PlatformHandler
from tests.journeys.town import Town

TOASTER = """
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from models.vocabulary import Act, Join, JobState, Outcome, PasscodeKind, PlatformName, Reason, Secret
from platforms.base import (
    Answer, Caller, CheckIn, DeviceReply, EnrollmentState, Management, PasscodeRule, Plan, Reach, Refusal, Report,
    Road, Welcome,
)
from platforms.errors import Unreadable


class Toaster:
    name = PlatformName("toaster")
    aliases = ("/toasters/talk",)
    max_body = 4096
    passcode = PasscodeRule(PasscodeKind.TEMPORARY_NUMERIC, "toaster.reset", "toaster.reveal")

    def offers(self, facts):
        reason = None if facts.state is EnrollmentState.ENROLLED else Reason.NOT_ENROLLED
        return {Act.RESET_PASSCODE: reason, Act.RESTART: reason, Act.REMOVE: reason}

    def reach(self, facts, last_seen_at, now):
        return Reach(Road.POLL, now + timedelta(hours=1))

    def management(self, facts):
        return Management(Join.REGISTERED)

    def plan(self, order, enrollment):
        return Plan(str(order.job_id), Secret(b"bread"))

    def welcome(self, enrollment_id, ownership, now):
        return Welcome(DeviceReply(200, {}, enrollment_id.bytes), None, None)

    def identify(self, request, now):
        door, _, link = request.path.partition("/")
        if door == "enroll":
            return Caller(message=None, link=Secret(link.encode()))
        try:
            said = json.loads(request.body)
            return Caller(message=said, address=said["address"], enrollment_id=UUID(said["bond"]))
        except (ValueError, KeyError):
            raise Unreadable("crumbs") from None

    def read(self, caller, enrollment, now):
        said = caller.message
        return CheckIn(
            message=said,
            address=caller.address if enrollment.address is None else None,
            state=EnrollmentState.ENROLLED,
            traits={"slots": "2"},
            reports=tuple(Report(ref, code) for ref, code in said.get("done", {}).items()),
            wants_order=True,
        )

    def judge(self, command, report):
        if command.act is not Act.RESET_PASSCODE:
            return Outcome(JobState.SUCCEEDED)
        code = Secret(report.answer.encode())
        return Outcome(JobState.SUCCEEDED, passcode=code, passcode_kind=PasscodeKind.TEMPORARY_NUMERIC)

    def write(self, check_in, command, enrollment):
        order = {} if command is None else {"ref": command.ref, "act": command.act}
        return Answer(DeviceReply(200, {"Content-Type": "application/json"}, json.dumps(order).encode()))

    def refuse(self, refusal):
        return DeviceReply(400, {}, refusal.encode())

    @asynccontextmanager
    async def open_channel(self, shared):
        yield self

    async def wake(self, command, enrollment):
        return None


def build(env):
    return Toaster()
"""
TEXTS = {
    "en": '{"toaster.reset": "{device} has a new code.", "toaster.reveal": "Read it."}',
    "nl": '{"toaster.reset": "{device} heeft een nieuwe code.", "toaster.reveal": "Lees de code."}',
}


@pytest.fixture
def handlers(
    town_environment: Mapping[str, str],
    services: Mapping[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Mapping[PlatformName, PlatformHandler]]:
    """All platforms, with one folder more."""
    folder = tmp_path / "more" / "toaster"
    (folder / "texts").mkdir(parents=True)
    (folder / "__init__.py").write_text(TOASTER)
    for language, texts in TEXTS.items():
        (folder / "texts" / f"{language}.json").write_text(texts)
    monkeypatch.setattr(platforms, "__path__", [*platforms.__path__, str(folder.parent)])
    pushes = {f"{name.upper()}_PUSH_URL": service.url for name, service in services.items()}
    yield registry.load({**town_environment, **pushes})
    sys.modules.pop("platforms.toaster", None)


class Device:
    """What stands in the kitchen."""

    def __init__(self, town: Town, bond: bytes) -> None:
        self.town = town
        self.bond = bond.hex()
        self.effects: list[str] = []

    async def talk(self, path: str = "/toasters/talk", **done: str) -> dict[str, str]:
        said = {"bond": self.bond, "address": "toaster-1", "done": done}
        answer = await self.town.client.post(path, json=said)
        assert answer.status_code == 200, answer.text
        order: dict[str, str] = answer.json()
        return order

    async def obey(self) -> None:
        order = await self.talk()
        while order:
            self.effects.append(order["act"])
            order = await self.talk("/devices/toaster/talk", **{order["ref"]: "4711"})


async def test_a_new_folder_is_a_platform_like_every_other(town: Town) -> None:
    anna = town.browser(await town.hire())
    await anna.sign_in()
    invited = (await anna.ask("POST", "/enrollments", {"platform": "toaster", "name": "Toaster"})).json()
    path = f"/devices/{invited['device_id']}"

    toaster = Device(town, (await town.client.get(invited["url"])).content)
    assert await toaster.talk() == {}
    shown = (await anna.ask("GET", path)).json()
    texts = (await anna.ask("GET", "/texts/nl")).json()["texts"]

    reasons = {one["act"]: one["reason"] for one in shown["acts"]}
    assert (shown["platform"], shown["state"], shown["reach"]["road"]) == ("toaster", "active", "poll")
    assert [act for act, reason in reasons.items() if reason is None] == ["reset_passcode", "remove", "restart"]
    assert reasons["wipe"] == "platform_unsupported"
    assert texts["toaster.reset"] == "{device} heeft een nieuwe code."

    restart = await anna.ask("POST", f"{path}/restart", key=str(uuid4()))
    await town.job_is(anna, restart.headers["Location"], "waiting")
    await toaster.obey()
    await town.job_is(anna, restart.headers["Location"], "succeeded")

    reset = await anna.all_the_way(invited["device_id"])
    await town.job_is(anna, reset, "waiting")
    await toaster.obey()
    await town.job_is(anna, reset, "succeeded")
    code = (await anna.ask("POST", f"{path}/passcode/reveal")).json()
    assert (code["passcode"], code["kind"]) == ("4711", "temporary_numeric")

    remove = await anna.ask("POST", f"{path}/remove", key=str(uuid4()))
    await town.job_is(anna, remove.headers["Location"], "waiting")
    await toaster.obey()
    await town.job_is(anna, remove.headers["Location"], "succeeded")
    assert (await anna.ask("GET", "/devices")).json()["items"] == []

    assert toaster.effects == ["restart", "reset_passcode", "remove"]
    told = {line["key"] for line in (await anna.notifications())["items"]}
    assert told == {"job.restart.succeeded", "toaster.reset", "passcode.revealed", "job.remove.succeeded"}
