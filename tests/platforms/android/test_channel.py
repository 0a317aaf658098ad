"""The road through Google: each order goes out once, and every trouble on the way is sorted by what to do next."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tenacity import wait_none

from models.vocabulary import Act, JobState, Reason
from platforms.android import acts, oauth, oidc, wire
from platforms.android import channel as channels
from platforms.android.channel import (
    LEAST_PAUSE,
    LONG_PAUSE,
    LOOKS,
    MOST_KEEP,
    MOST_PAUSE,
    PER_DEVICE,
    PER_PROJECT,
    AndroidChannel,
    open_channel,
)
from platforms.android.emulator import Emulator, Failure, Phone
from platforms.android.oauth import Tokens
from platforms.base import Command, Courier, Enrollment, EnrollmentState, KeySource, Shared
from platforms.errors import PlatformError, Refused, Uncertain, Unreachable
from tests.platforms.android.google import ACCOUNT, ENTERPRISE, PROJECT, Clock, emulated
from tests.platforms.android.world import BOND, DEVICE, HANDLER, NOW, SEPARATE, enrolled, passcode_of, planned, settings

OTHER = "enterprises/LC0other"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
UNANSWERED = Failure(503, after=True)


@dataclass
class Limiter:
    """Counts, and says no where it is told to."""

    taken: list[tuple[str, int, timedelta]] = field(default_factory=list)
    full: str = "nothing"

    async def take(self, name: str, limit: int, window: timedelta) -> timedelta | None:
        self.taken.append((name, limit, window))
        return timedelta(seconds=7) if name.endswith(self.full) else None


@dataclass
class Stage:
    channel: AndroidChannel
    emulator: Emulator
    clock: Clock
    limiter: Limiter
    phone: Phone

    @property
    def view(self) -> Enrollment:
        return view_of(self.phone)

    def order(self, act: Act = Act.RESET_PASSCODE) -> Command:
        """As the house has it before its first run."""
        return planned(enrolled(), act, state=JobState.WAITING, sent_at=self.clock(), receipt=None)

    @property
    def sent(self) -> int:
        return self.emulator.requests["devices.issueCommand"]


def view_of(phone: Phone) -> Enrollment:
    return Enrollment(BOND, EnrollmentState.ENROLLED, phone.name, None)


@asynccontextmanager
async def staged(**changes: str) -> AsyncIterator[Stage]:
    phone = Phone()
    async with emulated(phone) as (emulator, clock):
        limiter = Limiter()
        known = settings(ANDROID_PUSH_URL=emulator.url, **changes)
        async with open_channel(known, Shared(limiter, clock), pauses=wait_none()) as channel:
            yield Stage(channel, emulator, clock, limiter, phone)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


async def outcome(stage: Stage, command: Command, *others: str) -> Any:
    report = await stage.channel.look(command, stage.view, frozenset(others))
    return None if report is None else HANDLER.judge(command, report)


# Handing over


async def test_an_order_is_handed_over_and_its_operation_is_the_receipt(stage: Stage) -> None:
    command = stage.order()

    receipt = await stage.channel.wake(command, stage.view)
    await stage.emulator.idle()

    assert receipt is not None
    assert list(stage.emulator.operations) == [receipt.reference]
    assert stage.phone.passcodes == [passcode_of(command)]
    assert isinstance(stage.channel, Courier)
    assert isinstance(stage.channel, KeySource)


@pytest.mark.parametrize(
    ("act", "mode", "kind"),
    [
        (Act.REMOTE_LOCK, {}, "LOCK"),
        (Act.RESTART, {}, "REBOOT"),
        (Act.WIPE, {}, "WIPE"),
        (Act.REMOVE, {"managementMode": "PROFILE_OWNER", "ownership": "PERSONALLY_OWNED"}, "WIPE"),
    ],
)
async def test_each_act_is_one_command(stage: Stage, act: Act, mode: dict[str, Any], kind: str) -> None:
    stage.phone.online = False

    receipt = await stage.channel.wake(planned(enrolled(**mode), act), stage.view)

    assert receipt is not None
    command = stage.emulator.operations[receipt.reference].command
    assert (command["type"], command["duration"]) == (kind, "315360000s")
    assert "newPassword" not in command


@pytest.mark.parametrize(
    ("left", "duration"),
    [
        (timedelta(hours=24), "86280s"),
        (timedelta(hours=1), "3480s"),
        (timedelta(minutes=4), "120s"),
    ],
)
async def test_google_stops_trying_before_we_stop_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, left: timedelta, duration: str
) -> None:
    now = stage.clock()
    monkeypatch.setattr(Clock, "__call__", lambda _: now)

    receipt = await stage.channel.wake(replace(stage.order(), expires_at=now + left), stage.view)

    assert receipt is not None
    assert stage.emulator.operations[receipt.reference].command["duration"] == duration


@pytest.mark.parametrize("left", [timedelta(minutes=3, seconds=59), timedelta(0), -MINUTE])
async def test_an_order_that_has_no_time_left_does_not_go_out(stage: Stage, left: timedelta) -> None:
    with pytest.raises(Unreachable):
        await stage.channel.wake(replace(stage.order(), expires_at=stage.clock() + left), stage.view)

    assert stage.sent == 0


async def test_an_answer_that_was_lost_leaves_one_operation_which_is_adopted(stage: Stage) -> None:
    command = stage.order()
    stage.emulator.fail_next("devices.issueCommand", UNANSWERED)

    with pytest.raises(Uncertain):
        await stage.channel.wake(command, stage.view)
    await stage.emulator.idle()
    report = await stage.channel.look(command, stage.view, frozenset())

    assert report is not None
    assert [report.receipt] == list(stage.emulator.operations)
    assert HANDLER.judge(command, report).state is JobState.SUCCEEDED


async def test_an_order_that_was_not_taken_is_not_found_and_goes_out_with_the_same_passcode(stage: Stage) -> None:
    command = stage.order()
    stage.emulator.fail_next("devices.issueCommand", Failure(503))

    with pytest.raises(Uncertain):
        await stage.channel.wake(command, stage.view)
    assert await outcome(stage, command) is None
    await stage.channel.wake(command, stage.view)
    await stage.emulator.idle()

    assert stage.phone.passcodes == [passcode_of(command)]


async def test_a_service_that_never_answers_leaves_it_open(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "DEADLINE", 0.4)
    stage.emulator.fail_next("devices.issueCommand", Failure(None, after=True))

    with pytest.raises(Uncertain):
        await stage.channel.wake(stage.order(), stage.view)


async def test_whom_nobody_reached_got_nothing() -> None:
    known = settings(ANDROID_API_URL="http://127.0.0.1:9")
    async with (
        emulated(Phone()) as (emulator, clock),
        open_channel(replace(known, token_url=f"{emulator.url}/token"), Shared(Limiter(), clock)) as channel,
    ):
        with pytest.raises(Unreachable):
            await channel.wake(planned(enrolled()), view_of(Phone()))


async def test_who_has_no_address_is_not_enrolled(stage: Stage) -> None:
    with pytest.raises(Refused, match=Reason.NOT_ENROLLED):
        await stage.channel.wake(stage.order(), Enrollment(BOND, EnrollmentState.ENROLLED, None, None))


@pytest.mark.parametrize("silence", [{}, {"retry-after": "3"}])
async def test_a_used_up_quota_is_waited_for_at_least_a_minute(stage: Stage, silence: dict[str, str]) -> None:
    stage.emulator.fail_next("devices.issueCommand", *[Failure(429, headers=silence)] * 8)

    pauses = []
    for _ in range(8):
        with pytest.raises(Unreachable) as caught:
            await stage.channel.wake(stage.order(), stage.view)
        assert caught.value.pause is not None
        pauses.append(caught.value.pause)

    assert all(LEAST_PAUSE <= pause <= LEAST_PAUSE * 1.25 for pause in pauses)
    assert len(set(pauses)) > 1
    assert stage.emulator.operations == {}


async def test_a_longer_pause_is_kept_where_the_service_names_one(stage: Stage) -> None:
    stage.emulator.fail_next(
        "devices.issueCommand",
        Failure(429, headers={"retry-after": "300"}),
        Failure(429, headers={"retry-after": "99999"}),
    )

    for named in (timedelta(seconds=300), MOST_PAUSE):
        with pytest.raises(Unreachable) as caught:
            await stage.channel.wake(stage.order(), stage.view)
        assert caught.value.pause is not None
        assert named <= caught.value.pause <= named + LEAST_PAUSE / 4


@pytest.mark.parametrize(
    ("status", "trouble", "reason"),
    [
        (400, Refused, Reason.SERVICE_REFUSED),
        (404, Refused, Reason.DEVICE_LEFT),
        (409, Unreachable, Reason.UNREACHABLE),
        (499, Refused, Reason.SERVICE_REFUSED),
        (500, Uncertain, Reason.NO_ANSWER),
        (501, Refused, Reason.SERVICE_REFUSED),
        (504, Uncertain, Reason.NO_ANSWER),
    ],
)
async def test_each_error_has_its_consequence(
    stage: Stage, status: int, trouble: type[PlatformError], reason: str
) -> None:
    stage.emulator.fail_next("devices.issueCommand", Failure(status))

    with pytest.raises(trouble, match=reason):
        await stage.channel.wake(stage.order(), stage.view)

    assert stage.sent == 1


async def test_a_device_that_is_gone_has_left(stage: Stage) -> None:
    stage.emulator.delete(stage.phone)

    for act in (Act.REMOTE_LOCK, Act.REFRESH):
        with pytest.raises(Refused, match=Reason.DEVICE_LEFT):
            await stage.channel.wake(stage.order(act), stage.view)


# What only another answer shows: a service of one answer


@asynccontextmanager
async def answering(*answers: httpx.Response | Exception) -> AsyncIterator[tuple[AndroidChannel, list[httpx.Request]]]:
    """The last answer comes again and again; a token is always there."""
    asked: list[httpx.Request] = []
    waiting = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            return httpx.Response(200, json={"access_token": "ya29.x", "expires_in": 3599})
        asked.append(request)
        found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(found, Exception):
            raise found
        return found

    known = settings()
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        tokens = Tokens(client, known.token_url, known.service_account, Clock(), wait_none())
        yield AndroidChannel(client, known, tokens, Shared(Limiter(), Clock())), asked


def failed(code: int, status: str, *details: dict[str, Any], **headers: str) -> httpx.Response:
    error = {"code": code, "status": status, "message": "no", "details": list(details)}
    return httpx.Response(code, json={"error": error}, headers=headers)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (failed(409, "ALREADY_EXISTS"), Refused),
        (failed(409, "ABORTED"), Unreachable),
        (httpx.Response(409), Refused),
        (httpx.Response(301, headers={"location": "http://127.0.0.1:1/"}), Uncertain),
        (httpx.Response(200, content=b"{"), Uncertain),
        (httpx.Response(200, json={"name": "strange"}), Uncertain),
        (httpx.Response(502, content=b"<html>"), Uncertain),
        (httpx.ConnectTimeout("x"), Unreachable),
        (httpx.PoolTimeout("x"), Unreachable),
        (httpx.ReadTimeout("x"), Uncertain),
        (httpx.WriteError("x"), Uncertain),
        (httpx.RemoteProtocolError("x"), Uncertain),
    ],
)
async def test_what_may_have_been_taken_is_never_called_not_taken(
    answer: httpx.Response | Exception, trouble: type[PlatformError]
) -> None:
    async with answering(answer) as (channel, asked):
        with pytest.raises(trouble):
            await channel.wake(planned(enrolled()), view_of(Phone()))

    assert len(asked) == 1


async def test_the_service_names_its_pause_in_three_ways() -> None:
    at = (Clock()() + timedelta(minutes=10)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "240.5s"}
    for answer, least in (
        (failed(429, "RESOURCE_EXHAUSTED", retry), 240),
        (failed(429, "RESOURCE_EXHAUSTED", retry, **{"retry-after": "250"}), 250),
        (failed(429, "RESOURCE_EXHAUSTED", **{"retry-after": at}), 590),
        (failed(429, "RESOURCE_EXHAUSTED", {"retryDelay": "soon"}, **{"retry-after": "soon"}), 60),
    ):
        async with answering(answer) as (channel, _):
            with pytest.raises(Unreachable) as caught:
                await channel.wake(planned(enrolled()), view_of(Phone()))
            assert caught.value.pause is not None
            assert timedelta(seconds=least) <= caught.value.pause <= timedelta(seconds=least + 30)


@pytest.mark.parametrize(
    "trouble",
    [
        *(failed(status, "X", {"reason": "k7"}) for status in (400, 403, 404, 409, 429, 500)),
        httpx.Response(200, content=b'{"metadata": {"newPassword": "'),
        httpx.ReadTimeout("x"),
        httpx.ConnectError("x"),
    ],
)
async def test_no_error_and_no_line_of_the_log_holds_the_passcode(
    trouble: httpx.Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    command = planned(enrolled())
    secret = passcode_of(command)
    if isinstance(trouble, httpx.Response):
        # A service that quotes what it was sent.
        trouble = httpx.Response(trouble.status_code, content=trouble.content.replace(b'"no"', f'"{secret}"'.encode()))

    async with answering(trouble) as (channel, asked):
        with pytest.raises(PlatformError) as caught:
            await channel.wake(command, view_of(Phone()))

    assert secret.encode() in asked[0].content
    said = [str(vars(record)) for record in caplog.records]
    error: BaseException | None = caught.value
    while error is not None:
        assert not hasattr(error, "request")
        said.append(repr(error) + repr(vars(error)))
        error = error.__cause__ or error.__context__
    assert not any(secret in line or "ya29" in line for line in said)


# Tokens


async def test_one_token_is_asked_for_by_all_who_need_one(stage: Stage) -> None:
    await asyncio.gather(*(stage.channel.wake(stage.order(Act.REMOTE_LOCK), stage.view) for _ in range(20)))

    assert stage.emulator.tokens.handed_out == 1


async def test_a_token_is_not_used_in_its_last_four_minutes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert oauth.EARLY == 240.0
    monkeypatch.setattr(oauth, "EARLY", 3599.0)

    for _ in range(2):
        await stage.channel.wake(stage.order(Act.REMOTE_LOCK), stage.view)

    assert stage.emulator.tokens.handed_out == 2


async def test_a_token_that_is_refused_is_renewed_once(stage: Stage) -> None:
    await stage.channel.wake(stage.order(Act.REMOTE_LOCK), stage.view)
    stage.emulator.tokens.revoke()

    await stage.channel.wake(stage.order(), stage.view)
    await stage.emulator.idle()

    assert stage.emulator.tokens.handed_out == 2
    assert len(stage.phone.passcodes) == 1


async def test_a_service_that_refuses_new_tokens_too_is_left_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.emulator.fail_next("devices.issueCommand", Failure(401), Failure(401))

    with pytest.raises(Unreachable) as caught:
        await stage.channel.wake(stage.order(), stage.view)

    assert (caught.value.pause, stage.sent) == (LONG_PAUSE, 2)
    assert "our access token is refused" in caplog.messages


async def test_an_account_that_is_not_known_is_an_alarm_and_not_asked_for_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.emulator.tokens.accounts.clear()

    for _ in range(3):
        with pytest.raises(Unreachable) as caught:
            await stage.channel.wake(stage.order(), stage.view)
        assert caught.value.pause == LONG_PAUSE

    alarms = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(one.getMessage(), vars(one)["reason"]) for one in alarms] == [
        ("our service account is refused", "invalid_grant")
    ]
    assert stage.sent == 0


def tokens_of(answer: Callable[[httpx.Request], httpx.Response]) -> Tokens:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    known = settings()
    return Tokens(client, known.token_url, known.service_account, Clock(), wait_none())


async def test_a_token_office_in_trouble_is_asked_four_times_and_then_left_for_a_moment() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503)

    tokens = tokens_of(answer)
    for _ in range(2):
        with pytest.raises(Unreachable):
            await tokens.get()

    assert len(asked) == oauth.TRIES


async def test_a_token_is_not_printed() -> None:
    tokens = tokens_of(lambda _: httpx.Response(200, json={"access_token": "ya29.secret", "expires_in": 3599}))

    token = await tokens.get()

    assert token.text() == "ya29.secret"
    assert "ya29" not in repr(token)


# One enterprise, and the others


async def test_an_enterprise_that_refuses_us_does_not_halt_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with staged(ANDROID_ENTERPRISE=f"{ENTERPRISE},{OTHER}") as stage:
        orphan = stage.emulator.add(Phone(enterprise=OTHER))
        stage.emulator.orphaned.add(OTHER)
        for _ in range(3):
            with pytest.raises(Unreachable) as caught:
                await stage.channel.wake(stage.order(), view_of(orphan))
            assert caught.value.pause == LONG_PAUSE
        asked = stage.sent

        await stage.channel.wake(stage.order(), stage.view)

    assert asked == 1
    assert [vars(record)["to"] for record in caplog.records if record.levelno == logging.ERROR] == [OTHER]


# Quotas


async def test_each_request_is_counted_for_its_device_and_for_the_project(stage: Stage) -> None:
    command = stage.order()
    receipt = await stage.channel.wake(command, stage.view)
    assert receipt is not None
    await stage.channel.look(replace(command, receipt=receipt.reference), stage.view, frozenset())

    of_project = (f"android.{PROJECT}", PER_PROJECT, MINUTE)
    assert stage.limiter.taken == [
        (f"android.{stage.phone.name}.RESET_PASSWORD", PER_DEVICE, MINUTE),
        of_project,
        (f"android.{PROJECT}.looks", LOOKS, MINUTE),
        (f"android.{stage.phone.name}.look", PER_DEVICE, MINUTE),
        of_project,
    ]
    assert (PER_PROJECT, PER_DEVICE, LOOKS) == (600, 60, 50)


@pytest.mark.parametrize("full", [PROJECT, "RESET_PASSWORD"])
async def test_beyond_a_quota_nothing_is_sent(stage: Stage, full: str) -> None:
    stage.limiter.full = full

    with pytest.raises(Unreachable) as caught:
        await stage.channel.wake(stage.order(), stage.view)

    assert caught.value.pause is not None
    assert timedelta(seconds=7) <= caught.value.pause < timedelta(seconds=12)
    assert stage.emulator.requests.total() == 0


async def test_looks_have_a_quota_of_their_own(stage: Stage) -> None:
    stage.limiter.full = "looks"

    with pytest.raises(Unreachable):
        await outcome(stage, stage.order())
    await stage.channel.wake(stage.order(), stage.view)


# The real thing, for each kind of phone

PROFILE: dict[str, Any] = {"mode": "PROFILE_OWNER", "policies": [SEPARATE]}
PHONES: dict[str, dict[str, Any]] = {
    "fully managed": {"policies": [{"passwordQuality": "NUMERIC_COMPLEX", "passwordMinimumLength": 8}]},
    "company's work profile": {**PROFILE, "ownership": "COMPANY_OWNED"},
    "a person's own phone": {**PROFILE, "ownership": "PERSONALLY_OWNED"},
}


async def reset(stage: Stage, phone: Phone) -> tuple[Any, Command]:
    """As its own words have it, from the report to the outcome."""
    phone.reported_at = NOW
    stage.emulator.add(phone)
    bond = enrolled()
    bond.hear(phone.resource())
    command = planned(bond, state=JobState.WAITING, sent_at=stage.clock(), receipt=None)
    receipt = await stage.channel.wake(command, view_of(phone))
    assert receipt is not None
    await stage.emulator.idle()
    report = await stage.channel.look(replace(command, receipt=receipt.reference), view_of(phone), frozenset())
    assert report is not None
    return HANDLER.judge(command, report), command


@pytest.mark.parametrize("kind", PHONES)
async def test_a_reset_opens_the_lock_that_each_mode_reaches(stage: Stage, kind: str) -> None:
    phone = Phone(device_id=DEVICE.rpartition("/")[2], **PHONES[kind])

    outcome, command = await reset(stage, phone)

    assert outcome.state is JobState.SUCCEEDED
    assert outcome.passcode.text() == passcode_of(command)
    assert (phone.lock if phone.mode == "DEVICE_OWNER" else phone.profile_lock) == passcode_of(command)
    assert (outcome.told is None) is (phone.mode == "DEVICE_OWNER")


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"token_active": False}, Reason.RESET_TOKEN_INACTIVE),
        ({"agent_too_old": True}, Reason.AGENT_TOO_OLD),
        ({**PROFILE, "ownership": "PERSONALLY_OWNED", "unified_lock": True}, Reason.RESET_TOKEN_INACTIVE),
        (
            {
                **PROFILE,
                "ownership": "PERSONALLY_OWNED",
                "token_active": False,
                "non_compliance": [{"specificNonComplianceReason": "USER_NOT_UNLOCKED"}],
            },
            Reason.PROFILE_PAUSED,
        ),
    ],
)
async def test_what_the_phone_could_not_say_beforehand_ends_the_job_once(
    stage: Stage, trouble: dict[str, Any], reason: str
) -> None:
    outcome, _ = await reset(stage, Phone(device_id=DEVICE.rpartition("/")[2], **trouble))

    assert outcome.reason == reason
    assert stage.sent == 1


async def test_an_order_that_nobody_took_in_time_expires(stage: Stage) -> None:
    stage.phone.online = False
    command = stage.order()
    receipt = await stage.channel.wake(replace(command, expires_at=stage.clock() + timedelta(hours=24)), stage.view)
    assert receipt is not None
    command = replace(command, receipt=receipt.reference)

    stage.clock.forward(timedelta(hours=24) - acts.MARGIN)
    stage.emulator.expire()

    assert (await outcome(stage, command)).state is JobState.EXPIRED


# Looking


async def handed(stage: Stage, act: Act = Act.RESET_PASSCODE) -> Command:
    command = stage.order(act)
    receipt = await stage.channel.wake(command, stage.view)
    assert receipt is not None
    return replace(command, receipt=receipt.reference, state=JobState.DELIVERED)


async def test_an_order_is_looked_up_by_its_receipt(stage: Stage) -> None:
    stage.phone.online = False
    command = await handed(stage)
    assert (await outcome(stage, command)).state is None

    stage.emulator.go_online(stage.phone)
    await stage.emulator.idle()

    assert (await outcome(stage, command)).state is JobState.SUCCEEDED


async def test_an_operation_that_was_dropped_says_nothing_while_its_device_is_there(stage: Stage) -> None:
    command = await handed(stage)
    await stage.emulator.idle()
    stage.emulator.operations.clear()

    assert await outcome(stage, command) is None


@pytest.mark.parametrize("known", [True, False])
async def test_a_wipe_whose_device_is_gone_was_carried_out(stage: Stage, known: bool) -> None:
    command = await handed(stage, Act.WIPE)
    await stage.emulator.idle()
    assert stage.emulator.phones == {}

    looked = command if known else replace(command, receipt=None)
    report = await stage.channel.look(looked, stage.view, frozenset())

    assert report is not None
    assert report.receipt is not None
    assert HANDLER.judge(command, report).state is JobState.SUCCEEDED


async def test_a_reset_whose_device_is_gone_has_failed(stage: Stage) -> None:
    command = await handed(stage)
    stage.emulator.delete(stage.phone)

    assert (await outcome(stage, command)).reason == Reason.DEVICE_LEFT


async def test_operations_of_others_are_not_adopted(stage: Stage) -> None:
    command = await handed(stage)
    await handed(stage, Act.REMOTE_LOCK)
    lost = replace(command, receipt=None)

    assert command.receipt is not None
    assert await outcome(stage, lost, command.receipt) is None
    assert (await outcome(stage, lost)) is not None


@pytest.mark.parametrize("echoes", [True, False])
async def test_an_operation_that_shows_another_password_is_not_ours(stage: Stage, echoes: bool) -> None:
    stage.emulator.echoes_passwords = echoes
    await handed(stage)

    assert (await outcome(stage, stage.order()) is None) is echoes


@pytest.mark.parametrize(
    ("apart", "found"),
    [
        (timedelta(minutes=10), True),
        (timedelta(minutes=10, milliseconds=1), False),
        (-timedelta(minutes=10), True),
        (-timedelta(minutes=10, milliseconds=1), False),
    ],
)
async def test_an_operation_is_ours_within_ten_minutes_of_our_sending(
    stage: Stage, apart: timedelta, found: bool
) -> None:
    command = await handed(stage)
    (created,) = [wire.parse_operation(one.resource()).created_at for one in stage.emulator.operations.values()]
    assert created is not None

    assert (await outcome(stage, replace(command, receipt=None, sent_at=created + apart)) is not None) is found


async def test_of_several_the_nearest_is_ours_and_every_page_is_read(stage: Stage) -> None:
    stage.emulator.quotas.on = False
    stage.phone.online = False
    for _ in range(101):
        await handed(stage, Act.REMOTE_LOCK)
    last = list(stage.emulator.operations)[-1]
    created = wire.parse_operation(stage.emulator.operations[last].resource()).created_at

    report = await stage.channel.look(replace(stage.order(Act.REMOTE_LOCK), sent_at=created), stage.view, frozenset())

    assert report is not None
    assert report.receipt == last


async def test_a_look_that_fails_ends_no_order(stage: Stage) -> None:
    command = await handed(stage)
    stage.emulator.fail_next("devices.operations.get", Failure(400), Failure(503), Failure(429), Failure(403))

    for _ in range(4):
        with pytest.raises(Unreachable):
            await outcome(stage, command)


# Taking back


async def test_an_order_is_taken_back_before_its_device_has_it(stage: Stage) -> None:
    stage.phone.online = False
    command = await handed(stage)

    await stage.channel.withdraw(command, stage.view)
    stage.emulator.go_online(stage.phone)
    await stage.emulator.idle()

    assert stage.phone.passcodes == []
    assert (await outcome(stage, command)).reason == Reason.BY_OPERATOR


async def test_two_resets_in_a_row_leave_the_last_ones_passcode(stage: Stage) -> None:
    stage.phone.online = False
    older = await handed(stage)
    await stage.channel.withdraw(older, stage.view)
    newer = await handed(stage)

    stage.emulator.go_online(stage.phone)
    await stage.emulator.idle()

    assert stage.phone.passcodes == [passcode_of(newer)]


async def test_what_is_over_or_was_never_taken_needs_no_taking_back(stage: Stage) -> None:
    command = await handed(stage)
    stage.emulator.delete(stage.phone)

    await stage.channel.withdraw(command, stage.view)
    await stage.channel.withdraw(replace(command, receipt=None), stage.view)


async def test_where_the_service_is_away_an_order_is_not_taken_back(stage: Stage) -> None:
    command = await handed(stage)
    stage.emulator.fail_next("devices.operations.cancel", Failure(503))

    with pytest.raises(Unreachable):
        await stage.channel.withdraw(command, stage.view)


# Refresh


async def test_a_refresh_waits_for_the_devices_next_report(stage: Stage) -> None:
    stage.clock.forward(SECOND)
    command = await handed(stage, Act.REFRESH)
    assert (await outcome(stage, command)).state is None

    stage.clock.forward(SECOND)
    stage.emulator.report(stage.phone)

    assert (await outcome(stage, command)).state is JobState.SUCCEEDED
    assert stage.sent == 0
    assert await outcome(stage, replace(command, receipt=None)) is None


# Who signs


@pytest.mark.parametrize("path", ["/oauth2/v3/certs", "/oauth2/v1/certs"])
async def test_the_keys_are_read_in_either_form_and_prove_a_notice(path: str) -> None:
    async with emulated() as (emulator, clock):
        known = settings(ANDROID_PUSH_URL=emulator.url, ANDROID_KEYS_URL=f"{emulator.url}{path}")
        async with open_channel(known, Shared(Limiter(), clock)) as channel:
            keys = await channel.keys()
        token = emulator.signer.token(known.push.audience, known.push.account)

        assert keys.keep == timedelta(hours=5)
        assert oidc.verify(f"Bearer {token}", keys.signers, known.push, clock())


@pytest.mark.parametrize(
    ("cache_control", "keep"),
    [
        ("public, max-age=19000, must-revalidate", timedelta(seconds=19_000)),
        ("max-age=5", MINUTE),
        ("max-age=999999", MOST_KEEP),
        ("no-store", MINUTE),
        ("", timedelta(hours=1)),
    ],
)
async def test_keys_are_kept_as_long_as_they_may_be(cache_control: str, keep: timedelta) -> None:
    async with emulated() as (emulator, _):
        listed = emulator.signer.jwks().body
    async with answering(httpx.Response(200, content=listed, headers={"cache-control": cache_control})) as (channel, _):
        assert (await channel.keys()).keep == keep


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, content=b"{"),
        httpx.Response(200, json=[]),
        httpx.Response(
            200, json={"keys": [{"kid": "a", "kty": "EC"}, {"kid": "b", "kty": "RSA", "n": "AQAB", "e": 7}]}
        ),
        httpx.Response(200, json={"keys": [{"kid": "a", "kty": "RSA", "n": "AQAB", "e": "AQAB"}]}),
        httpx.Response(200, json={"a": "-----BEGIN CERTIFICATE-----"}),
        httpx.ConnectError("x"),
    ],
)
async def test_where_no_key_can_be_had_nobody_is_taken_for_a_signer(answer: httpx.Response | Exception) -> None:
    async with answering(answer) as (channel, _):
        with pytest.raises(Unreachable):
            await channel.keys()


def test_the_accounts_of_these_tests_are_one() -> None:
    assert settings().service_account.email == ACCOUNT.email
