"""What Android devices are offered, what is made of Google's words about them, and in whatever order they come."""

import json
import logging
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from models.vocabulary import Act, JobState, Join, Ownership, PasscodeKind, Reason
from platforms.android import wire
from platforms.android.handler import OUTRUN
from platforms.base import Caller, Command, EnrollmentState, Facts, Refusal, Report, Road
from platforms.errors import KeysNeeded, Refused, Unreadable
from tests.platforms.android.validator import permits
from tests.platforms.android.world import (
    BOND,
    COMPANY_PROFILE,
    DEVICE,
    FULLY_MANAGED,
    HANDLER,
    JOB,
    NOW,
    OPERATION,
    OWN_PROFILE,
    PASSWORD,
    SEPARATE,
    SIGNER,
    Bond,
    Signer,
    device,
    enrolled,
    nothing,
    operation,
    passcode_of,
    planned,
    push,
    request,
)

SECOND = timedelta(seconds=1)
CONFIRM = [{"specificNonComplianceReason": "PASSWORD_POLICIES_USER_CREDENTIALS_CONFIRMATION_REQUIRED"}]
NOT_UNLOCKED = [{"specificNonComplianceReason": "USER_NOT_UNLOCKED"}]


def offers(bond: Bond) -> dict[Act, str | None]:
    traits = bond.hear(device(NOW)).traits if bond.memory is None else json.loads(bond.memory.value)["traits"]
    return dict(HANDLER.offers(Facts(Ownership.CORPORATE, "16", bond.state, traits)))


# Who may send a notice


def refused(token: str, **changes: Any) -> object:
    """What becomes of a notice with this token."""
    try:
        caller = HANDLER.identify(request(push("COMMAND", operation()), token=token, **changes), NOW)
    except (Unreadable, KeysNeeded) as error:
        return type(error)
    return None if caller.reply is None else caller.reply.status


def test_a_notice_that_google_signed_for_us_is_heard() -> None:
    assert refused(SIGNER.token()) is None
    assert refused(SIGNER.token(iss="accounts.google.com")) is None


def unsigned(**head: Any) -> str:
    return SIGNER.token(head).rpartition(".")[0] + "."


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x.y.z",
        SIGNER.token({"alg": "none"}),
        unsigned(alg="none"),
        SIGNER.token({"alg": "HS256"}),
        SIGNER.token({"crit": ["b64"]}),
        SIGNER.token({"kid": None}),
        SIGNER.token({"kid": 7}),
        SIGNER.token(iss="https://accounts.example"),
        SIGNER.token(iss=None),
        SIGNER.token(iss=["https://accounts.google.com"]),
        SIGNER.token(aud="https://elsewhere.example/devices/android/notices"),
        SIGNER.token(aud=["http://127.0.0.1:8080/devices/android/notices"]),
        SIGNER.token(iat="now"),
        SIGNER.token(exp=None),
        SIGNER.token(exp=True),
        SIGNER.token() + "=",
        SIGNER.token()[:-4] + "AAAA",
        Signer().token(),
    ],
)
def test_a_token_that_is_not_sound_is_none(token: str) -> None:
    assert refused(token) is Unreadable
    assert HANDLER.refuse(Refusal.UNREADABLE).status == 401


@pytest.mark.parametrize(
    ("claims", "taken"),
    [
        ({"exp": -30}, True),
        ({"exp": -31}, False),
        ({"iat": 30}, True),
        ({"iat": 31}, False),
    ],
)
def test_clocks_may_differ_by_thirty_seconds(claims: dict[str, int], taken: bool) -> None:
    token = SIGNER.token(**{name: int(NOW.timestamp()) + by for name, by in claims.items()})

    assert refused(token) is (None if taken else Unreadable)


@pytest.mark.parametrize(
    "claims", [{"email": "another@latchkey-demo.iam.gserviceaccount.com"}, {"email": None}, {"email_verified": False}]
)
def test_another_account_is_turned_away(claims: dict[str, Any]) -> None:
    assert refused(SIGNER.token(**claims)) == 403


def test_keys_are_asked_for_until_the_signers_is_among_them() -> None:
    rotated = Signer("key-2")

    assert refused(SIGNER.token(), signers={}) is KeysNeeded
    assert refused(rotated.token(), signers=SIGNER.known) is KeysNeeded
    assert refused(rotated.token(), signers={**SIGNER.known, **rotated.known}) is None


def test_a_key_that_is_none_proves_nothing() -> None:
    assert refused(SIGNER.token(), signers={"key-1": b"-----BEGIN PUBLIC KEY-----"}) is Unreadable


def test_an_unproven_body_is_not_even_parsed() -> None:
    with pytest.raises(Unreadable, match="no_token"):
        HANDLER.identify(request(b"{", token=""), NOW)


def test_another_subscription_is_turned_away_and_another_enterprise_is_none_of_ours() -> None:
    other = json.dumps({**json.loads(push("COMMAND", operation())), "subscription": "projects/p/subscriptions/s"})
    foreign = operation() | {"name": OPERATION.replace("LC0demo", "LC0other")}

    assert reply_to(other.encode()) == 403
    assert reply_to(push("COMMAND", foreign)) == 204


def reply_to(body: bytes) -> int | None:
    reply = HANDLER.identify(request(body), NOW).reply
    return None if reply is None else reply.status


# What a notice may be


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        push("test", {}),
        push("USAGE_LOGS", {"name": DEVICE}),
        push(None, operation()),
        push("COMMAND", b""),
        push("COMMAND", b"{"),
        push("COMMAND", b"\xff"),
        push("COMMAND", []),
        push("COMMAND", {"name": DEVICE}),
        push("COMMAND", {"name": f"{OPERATION}:cancel"}),
        push("STATUS_REPORT", {"name": OPERATION}),
        push("STATUS_REPORT", None),
        push("COMMAND", operation(), data="%%%"),
        push("COMMAND", operation(), data=7),
        push("COMMAND", operation(), messageId=""),
        push("COMMAND", operation(), publishTime="yesterday"),
    ],
)
def test_what_cannot_be_read_or_is_unknown_is_heard_and_forgotten(body: bytes) -> None:
    assert reply_to(body) == 204


def test_a_large_report_is_read() -> None:
    caller = HANDLER.identify(request(push("STATUS_REPORT", device(applicationReports=["x" * 5_000_000]))), NOW)

    assert caller.address == DEVICE
    assert len(repr(caller)) < 5_000


def test_a_message_is_known_by_its_id_under_either_name() -> None:
    body = json.loads(push("COMMAND", operation()))
    body["message"]["message_id"] = body["message"].pop("messageId")
    body["message"]["publish_time"] = body["message"].pop("publishTime")

    assert HANDLER.identify(request(json.dumps(body).encode()), NOW).message_id == "2070443601311540"


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    value = json.dumps(draw(st.sampled_from([operation(), device()]))).encode()
    at = draw(st.integers(0, len(value)))
    until = draw(st.integers(at, len(value)))
    return value[:at] + draw(st.binary(max_size=20)) + value[until:]


@trying(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["COMMAND", "STATUS_REPORT", "ENROLLMENT"]), data=broken())
def test_broken_data_is_heard_and_its_password_stays_unseen(
    kind: str, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    caller = HANDLER.identify(request(push(kind, data)), NOW)

    assert caller.reply is None or caller.reply.status == 204
    assert PASSWORD not in repr(caller) + caplog.text
    if caller.reply is None:
        HANDLER.read(caller, enrolled().view, NOW)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["ACTIVE", DEVICE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@trying(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(device(appliedPasswordPolicies=[], nonComplianceDetails=[], hardwareInfo={}))), anything)
def test_a_device_with_any_field_of_any_kind_is_read(name: str, value: Any) -> None:
    caller = HANDLER.identify(request(push("STATUS_REPORT", device() | {name: value})), NOW)

    if caller.reply is None:
        HANDLER.read(caller, enrolled().view, NOW)
        HANDLER.read(caller, Bond().view, NOW)


def test_a_token_of_half_a_letter_binds_nothing() -> None:
    caller = HANDLER.identify(request(push("ENROLLMENT", device(enrollmentTokenData=f"{BOND}.\ud800"))), NOW)

    assert not HANDLER.read(caller, Bond().view, NOW).proven


@trying(max_examples=200, deadline=None)
@given(anything, anything, st.dictionaries(st.text(max_size=8), anything, max_size=3))
def test_an_envelope_of_any_kind_is_read(message: Any, subscription: Any, more: dict[str, Any]) -> None:
    body = json.dumps({"message": message, "subscription": subscription, **more}).encode()

    assert reply_to(body) in {204, 403}


def test_a_password_that_comes_back_is_nowhere_in_what_we_keep() -> None:
    caller = HANDLER.identify(request(push("COMMAND", operation(metadata={"errorCode": "INVALID_VALUE"}))), NOW)
    check_in = HANDLER.read(caller, enrolled().view, NOW)
    outcome = HANDLER.judge(planned(enrolled()), check_in.reports[0])

    assert PASSWORD not in repr((caller, check_in, check_in.reports[0].answer, outcome.detail))


def test_broken_json_with_a_password_leaves_no_trace_in_the_error() -> None:
    with pytest.raises(Unreadable) as caught:
        wire.load(b'{"newPassword": "' + PASSWORD.encode() + b'"')

    error: BaseException | None = caught.value
    while error is not None:
        assert PASSWORD not in repr(vars(error)) + str(error)
        error = error.__cause__ or error.__context__


# Enrolment


def test_a_link_hands_out_what_an_enrolment_token_must_carry_and_no_two_are_alike() -> None:
    first, second = Bond(), Bond()

    assert first.handed_out["enterprise"] == "enterprises/LC0demo"
    assert first.handed_out["additional_data"].startswith(f"{BOND}.")
    assert first.handed_out != second.handed_out
    assert len(first.handed_out["additional_data"]) <= 1024


def test_a_device_is_bound_by_the_words_of_its_link() -> None:
    bond = Bond()
    data = bond.handed_out["additional_data"]

    check_in = bond.hear(device(enrollmentTokenData=data, previousDeviceNames=[f"{DEVICE}00"]), "ENROLLMENT")

    assert (check_in.address, check_in.state, check_in.anew) == (DEVICE, EnrollmentState.ENROLLED, True)
    assert check_in.formerly == (f"{DEVICE}00",)


def test_the_bond_is_found_by_its_id_in_every_word_of_its_device() -> None:
    data = Bond().handed_out["additional_data"]

    for kind in ("ENROLLMENT", "STATUS_REPORT"):
        caller = HANDLER.identify(request(push(kind, device(enrollmentTokenData=data))), NOW)
        assert (caller.enrollment_id, caller.address) == (BOND, DEVICE)
    assert HANDLER.identify(request(push("STATUS_REPORT", device())), NOW).enrollment_id is None


@pytest.mark.parametrize("data", [None, str(BOND), f"{BOND}.guessed", "x" * 2000])
def test_whoever_knows_no_more_than_the_id_is_not_bound(data: str | None) -> None:
    check_in = Bond().hear(device(enrollmentTokenData=data), "ENROLLMENT")

    assert (check_in.proven, check_in.address, check_in.state) == (False, None, None)


def test_a_report_may_come_before_the_enrolment_and_is_not_undone_by_it() -> None:
    bond = Bond()
    data = bond.handed_out["additional_data"]
    bond.hear(device(NOW, enrollmentTokenData=data, appliedPasswordPolicies=[SEPARATE]))
    traits = bond.memory

    late = bond.hear(device(NOW, state="PROVISIONING", appliedState=None, enrollmentTokenData=data), "ENROLLMENT")

    assert (late.state, late.memory, bond.state) == (None, None, EnrollmentState.ENROLLED)
    assert bond.memory == traits


def test_a_device_without_its_policy_is_not_ready() -> None:
    bond = Bond()
    first = bond.enroll(state="PROVISIONING", appliedState="PROVISIONING")
    assert first.state is EnrollmentState.PENDING

    assert bond.hear(device()).state is EnrollmentState.ENROLLED


# What counts, of two words


def test_a_stale_report_is_ignored_and_one_of_the_same_moment_is_not() -> None:
    bond = enrolled()
    bond.hear(device(NOW))

    assert bond.hear(device(NOW - timedelta(milliseconds=1))).memory is None
    assert bond.hear(device(NOW)).memory is not None


def test_without_a_reports_time_the_moment_of_publishing_counts() -> None:
    bond = enrolled()
    bond.hear(device(None), at=NOW)

    assert bond.hear(device(None), at=NOW - timedelta(milliseconds=1)).memory is None
    assert bond.hear(device(None), at=NOW).memory is not None
    # Their clocks are not compared with each other.
    assert bond.hear(device(NOW - timedelta(minutes=30)), at=NOW).memory is not None


def test_a_notice_from_the_future_does_not_silence_the_device() -> None:
    bond = enrolled()
    bond.hear(device(None), at=NOW + timedelta(days=9000))
    bond.hear(device(NOW + timedelta(days=9000)))

    assert bond.hear(device(None), at=NOW, now=NOW).memory is not None
    assert bond.hear(device(NOW), at=NOW, now=NOW).memory is not None


@pytest.mark.parametrize("name", ["state", "appliedState"])
def test_a_deleted_device_has_left_and_a_late_report_does_not_revive_it(name: str) -> None:
    bond = enrolled()
    bond.hear(device(NOW))

    assert bond.hear(device(NOW, **{name: "DELETED"})).state is EnrollmentState.LEFT

    late = bond.hear(device(NOW + SECOND))
    assert (late.state, late.memory, late.reports) == (None, None, ())
    assert bond.state is EnrollmentState.LEFT


def test_a_late_farewell_of_an_earlier_life_does_not_kill_the_new_one() -> None:
    bond = enrolled()
    bond.hear(device(NOW))

    assert bond.hear(device(NOW - SECOND, state="DELETED")).state is None
    assert bond.state is EnrollmentState.ENROLLED


def test_facts_of_the_device_are_kept() -> None:
    hardware = {"brand": "google", "model": "Pixel 9", "serialNumber": "35A1"}

    check_in = enrolled().hear(device(hardwareInfo=hardware, softwareInfo={"androidVersion": "16"}))

    assert (check_in.model, check_in.serial, check_in.os_version) == ("google Pixel 9", "35A1", "16")


@pytest.mark.parametrize(
    ("said", "maker"),
    [
        ({"brand": "google", "manufacturer": "Google"}, "Google"),
        ({"brand": "samsung"}, "samsung"),
        ({"manufacturer": "a\nb"}, None),
        ({}, None),
    ],
)
def test_who_made_it_and_what_runs_on_it(said: dict[str, str], maker: str | None) -> None:
    check_in = enrolled().hear(device(hardwareInfo=said))

    assert (check_in.os_name, check_in.maker) == ("Android", maker)


@pytest.mark.parametrize(
    ("said", "compliant"),
    [
        ({"policyCompliant": True}, True),
        ({"lastPolicySyncTime": "2026-11-21T12:00:00Z"}, False),  # what is false is left out
        ({"policyCompliant": False, "lastPolicySyncTime": "2026-11-21T12:00:00Z"}, False),
        ({"policyCompliant": "yes"}, None),
        ({}, None),
    ],
)
def test_whether_it_keeps_to_its_policy(said: dict[str, Any], compliant: bool | None) -> None:
    traits = enrolled().hear(device(**said)).traits

    facts = Facts(Ownership.CORPORATE, "16", EnrollmentState.ENROLLED, traits or {})
    assert HANDLER.management(facts).compliant is compliant


@pytest.mark.parametrize(
    ("said", "ownership", "join"),
    [
        (FULLY_MANAGED, Ownership.CORPORATE, Join.JOINED),
        (COMPANY_PROFILE, Ownership.PERSONAL, Join.JOINED),  # what Google knows counts
        (OWN_PROFILE, Ownership.CORPORATE, Join.REGISTERED),
        ({**FULLY_MANAGED, "ownership": "PERSONALLY_OWNED"}, Ownership.PERSONAL, Join.JOINED),
        ({**OWN_PROFILE, "ownership": "OWNERSHIP_UNSPECIFIED"}, Ownership.PERSONAL, Join.REGISTERED),
        ({**OWN_PROFILE, "ownership": "OWNERSHIP_UNSPECIFIED"}, Ownership.CORPORATE, Join.JOINED),
    ],
)
def test_how_it_came_in(said: dict[str, Any], ownership: Ownership, join: Join) -> None:
    traits = enrolled().hear(device(**said)).traits

    assert HANDLER.management(Facts(ownership, "16", EnrollmentState.ENROLLED, traits or {})).join is join


# What is offered


MODES: dict[str, dict[str, Any]] = {
    "fully": {**FULLY_MANAGED},
    "company": {**COMPANY_PROFILE, "appliedPasswordPolicies": [SEPARATE]},
    "own": {**OWN_PROFILE, "appliedPasswordPolicies": [SEPARATE]},
}
MANAGED = Reason.MANAGEMENT_MODE


@pytest.mark.parametrize(
    ("mode", "wipe", "remove", "restart"),
    [("fully", None, MANAGED, None), ("company", None, MANAGED, MANAGED), ("own", MANAGED, None, MANAGED)],
)
def test_each_mode_has_its_acts(mode: str, wipe: str | None, remove: str | None, restart: str | None) -> None:
    assert offers(enrolled(**MODES[mode])) == {
        Act.RESET_PASSCODE: None,
        Act.REMOTE_LOCK: None,
        Act.REFRESH: None,
        Act.WIPE: wipe,
        Act.REMOVE: remove,
        Act.RESTART: restart,
    }


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"apiLevel": 23}, Reason.OS_VERSION),
        ({"apiLevel": 24}, None),
        ({"apiLevel": 24, "nonComplianceDetails": NOT_UNLOCKED}, Reason.RESET_TOKEN_INACTIVE),
        ({"apiLevel": 26, "nonComplianceDetails": NOT_UNLOCKED}, None),
        ({"apiLevel": 0}, None),
        ({"nonComplianceDetails": CONFIRM}, Reason.RESET_TOKEN_INACTIVE),
        ({**OWN_PROFILE, "apiLevel": 25, "appliedPasswordPolicies": [SEPARATE]}, Reason.OS_VERSION),
        ({**OWN_PROFILE, "apiLevel": 26, "appliedPasswordPolicies": [SEPARATE]}, None),
        ({**OWN_PROFILE}, Reason.NO_SEPARATE_LOCK),
        ({**COMPANY_PROFILE, "appliedPasswordPolicies": [{"passwordScope": "SCOPE_DEVICE"}]}, Reason.NO_SEPARATE_LOCK),
        ({**OWN_PROFILE, "appliedPasswordPolicies": [SEPARATE], "nonComplianceDetails": NOT_UNLOCKED}, None),
        (
            {"appliedPasswordPolicies": [{"passwordQuality": "NUMERIC", "passwordMinimumLength": 17}]},
            Reason.PASSCODE_POLICY,
        ),
        ({"managementMode": "SOMETHING_NEW"}, Reason.MANAGEMENT_MODE),
        ({"managementMode": None}, Reason.MANAGEMENT_MODE),
    ],
)
def test_a_reset_that_is_doomed_is_not_offered_and_not_planned(more: dict[str, Any], reason: str | None) -> None:
    bond = enrolled(**more)

    assert offers(bond)[Act.RESET_PASSCODE] == reason
    if reason is None:
        planned(bond)
    else:
        with pytest.raises(Refused, match=reason):
            planned(bond)


@pytest.mark.parametrize(("level", "reason"), [(23, Reason.OS_VERSION), (24, None)])
def test_a_restart_takes_android_seven(level: int, reason: str | None) -> None:
    assert offers(enrolled(apiLevel=level))[Act.RESTART] == reason


def test_nothing_is_offered_or_planned_before_enrolment_and_after() -> None:
    for state, act in product(set(EnrollmentState) - {EnrollmentState.ENROLLED}, Act):
        bond = enrolled()
        bond.state = state
        assert offers(bond)[act] == Reason.NOT_ENROLLED
        with pytest.raises(Refused, match=Reason.NOT_ENROLLED):
            planned(bond, act)


# What is planned


def test_a_reset_is_planned_within_the_devices_own_rules() -> None:
    listed = [{"passwordQuality": "COMPLEX", "passwordMinimumLength": 14, "passwordMinimumUpperCase": 4}]
    for_profile = [{**entry, "passwordScope": "SCOPE_PROFILE"} for entry in listed]

    fully = planned(enrolled(appliedPasswordPolicies=listed))
    work = planned(enrolled(**OWN_PROFILE, appliedPasswordPolicies=[SEPARATE, *for_profile]))

    assert permits(passcode_of(fully), listed, profile=False, api_level=36)
    assert permits(passcode_of(work), for_profile, profile=True, api_level=36)


def test_each_plan_has_a_passcode_of_its_own_and_prints_none() -> None:
    bond = enrolled()
    plans = [planned(bond) for _ in range(20)]

    assert len({passcode_of(plan) for plan in plans}) == 20
    assert not any(passcode_of(plan) in repr(plan) for plan in plans)
    assert plans[0].ref == str(JOB)


# What comes of it


def judged(command: Command, **more: Any) -> Any:
    return HANDLER.judge(command, Report(None, wire.parse_operation(operation(**more)), receipt=OPERATION))


FULLY, PROFILE = planned(enrolled()), planned(enrolled(**MODES["own"]))
PAUSED = planned(enrolled(**MODES["own"], nonComplianceDetails=NOT_UNLOCKED))
ERROR = {"code": 3, "message": f"refused {PASSWORD}"}


@pytest.mark.parametrize(
    ("more", "state", "reason"),
    [
        ({"done": False}, None, None),
        ({}, JobState.SUCCEEDED, None),
        ({"response": {"@type": "type.googleapis.com/x"}}, JobState.SUCCEEDED, None),
        ({"metadata": {"errorCode": "INVALID_VALUE"}}, JobState.FAILED, Reason.DEVICE_REFUSED),
        ({"error": ERROR}, JobState.FAILED, Reason.DEVICE_REFUSED),
        ({"error": ERROR, "metadata": {"errorCode": "API_LEVEL"}}, JobState.UNSUPPORTED, Reason.OS_VERSION),
        ({"metadata": {"errorCode": "MANAGEMENT_MODE"}}, JobState.UNSUPPORTED, Reason.MANAGEMENT_MODE),
        ({"metadata": {"errorCode": "UNSUPPORTED"}}, JobState.UNSUPPORTED, Reason.AGENT_TOO_OLD),
        ({"metadata": {"errorCode": "UNKNOWN"}}, JobState.FAILED, Reason.RESET_TOKEN_INACTIVE),
        ({"metadata": {"errorCode": "SOMETHING_NEW"}}, JobState.FAILED, Reason.RESET_TOKEN_INACTIVE),
        ({"metadata": {"errorCode": "COMMAND_ERROR_CODE_UNSPECIFIED"}}, JobState.SUCCEEDED, None),
        ({"error": {"code": 1}}, JobState.FAILED, Reason.BY_OPERATOR),
        ({"error": {"code": 1}, "metadata": {"errorCode": "UNKNOWN"}}, JobState.FAILED, Reason.BY_OPERATOR),
        ({"error": {"code": 4}}, JobState.EXPIRED, Reason.NO_ANSWER),
        ({"error": {"code": 4}, "metadata": {"errorCode": "API_LEVEL"}}, JobState.UNSUPPORTED, Reason.OS_VERSION),
        ({"error": {}}, JobState.FAILED, Reason.DEVICE_REFUSED),
    ],
)
def test_the_verdict_keeps_its_order(more: dict[str, Any], state: JobState | None, reason: str | None) -> None:
    outcome = judged(FULLY, **more)

    assert (outcome.state, outcome.reason) == (state, reason)
    assert (outcome.passcode is not None) is (state is JobState.SUCCEEDED)
    assert PASSWORD not in repr(outcome)


def test_a_success_tells_the_planned_passcode_and_whose_it_is() -> None:
    fully, work = judged(FULLY), judged(PROFILE)

    assert fully.passcode.text() == passcode_of(FULLY)
    assert fully.passcode_kind is PasscodeKind.TEMPORARY_ALPHANUMERIC
    assert (fully.told, work.told) == (None, "android.reset_passcode.succeeded_profile")


def test_a_work_profile_that_may_be_paused_is_told_so() -> None:
    assert judged(PAUSED, metadata={"errorCode": "UNKNOWN"}).reason == Reason.PROFILE_PAUSED
    assert judged(PROFILE, metadata={"errorCode": "UNKNOWN"}).reason == Reason.RESET_TOKEN_INACTIVE


def test_an_unknown_error_of_another_act_says_nothing_of_tokens() -> None:
    locked = planned(enrolled(), Act.REMOTE_LOCK)

    assert judged(locked, metadata={"errorCode": "UNKNOWN"}).reason == Reason.DEVICE_REFUSED


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (FULLY_MANAGED, None),
        (MODES["own"], "android.remote_lock.succeeded_profile"),
        (MODES["company"], "android.remote_lock.succeeded_profile"),
        ({**MODES["company"], "apiLevel": 30}, "android.remote_lock.succeeded_profile"),
        ({**MODES["company"], "apiLevel": 29}, None),
        ({**MODES["own"], "apiLevel": 29}, "android.remote_lock.succeeded_profile"),
        (OWN_PROFILE, None),
    ],
)
def test_a_lock_tells_what_was_locked(more: dict[str, Any], told: str | None) -> None:
    assert judged(planned(enrolled(**more), Act.REMOTE_LOCK)).told == told


def test_a_job_that_ended_is_still_judged_and_tells_no_passcode() -> None:
    late = judged(nothing(FULLY))

    assert (late.state, late.passcode, late.told) == (JobState.SUCCEEDED, None, None)


def test_a_device_that_is_gone_has_been_wiped_where_that_was_asked() -> None:
    gone = Report(None, wire.Gone(), receipt=OPERATION)

    assert HANDLER.judge(planned(enrolled(), Act.WIPE), gone).state is JobState.SUCCEEDED
    assert HANDLER.judge(planned(enrolled(**MODES["own"]), Act.REMOVE), gone).state is JobState.SUCCEEDED
    failed = HANDLER.judge(FULLY, gone)
    assert (failed.state, failed.reason) == (JobState.FAILED, Reason.DEVICE_LEFT)


def test_a_command_notice_may_outrun_our_commit_for_five_minutes() -> None:
    for age, young in ((OUTRUN, True), (OUTRUN + timedelta(milliseconds=1), False), (-SECOND, True)):
        check_in = enrolled().hear(operation(), "COMMAND", at=NOW - age)
        (report,) = check_in.reports
        assert (report.receipt, report.ref, report.may_outrun) == (OPERATION, None, young)


def test_a_command_that_is_not_done_says_nothing() -> None:
    assert enrolled().hear(operation(done=False), "COMMAND").reports == ()


# Refresh


def refreshed(reported: Any, **more: Any) -> JobState | None:
    (report,) = enrolled().hear(device(reported)).reports
    command = planned(enrolled(), Act.REFRESH, **more)
    assert report.ref == command.ref
    return HANDLER.judge(command, report).state


def test_a_refresh_ends_with_the_first_report_after_it_was_asked() -> None:
    assert refreshed(NOW) is JobState.SUCCEEDED
    assert refreshed(NOW - timedelta(milliseconds=1)) is None
    assert refreshed(NOW + SECOND, state=JobState.EXPIRED) is None


def test_a_report_ends_nothing_but_a_refresh() -> None:
    (report,) = enrolled().hear(device()).reports

    assert HANDLER.judge(replace(FULLY, ref=report.ref or ""), report).state is None


# The rest of the contract


def test_devices_are_reached_through_a_courier() -> None:
    assert HANDLER.reach(Facts(Ownership.CORPORATE, None, EnrollmentState.ENROLLED, {}), None, NOW).road is Road.COURIER


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal.UNREADABLE, 401),
        (Refusal.NOT_BOUND, 204),
        (Refusal.SEEN, 204),
        (Refusal.TRY_LATER, 503),
        (Refusal.LINK_GONE, 410),
        (Refusal.UNSUPPORTED, 404),
    ],
)
def test_what_will_not_get_better_is_not_asked_for_again(refusal: Refusal, status: int) -> None:
    assert HANDLER.refuse(refusal).status == status


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "notices"), ("POST", "notices/x"), ("POST", ""), ("POST", "enroll/x"), ("GET", "enroll/"), ("GET", "x")],
)
def test_other_addresses_lead_nowhere(method: str, path: str) -> None:
    with pytest.raises(Unreadable):
        HANDLER.identify(request(push("COMMAND", operation()), method=method, path=path), NOW)


def test_an_answer_to_google_carries_nothing() -> None:
    check_in = enrolled().hear(device())

    assert HANDLER.write(check_in, None, enrolled().view).reply.status == 204


def test_words_of_another_platform_are_no_words_of_ours() -> None:
    with pytest.raises(Unreadable):
        HANDLER.read(Caller(message="hello"), enrolled().view, NOW)
    with pytest.raises(TypeError):
        HANDLER.judge(FULLY, Report(None, "done"))
