import plistlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vocabulary import Act, JobState, Join, Order, Outcome, Ownership, PasscodeKind, Reason, Secret
from platforms.base import (
    CheckIn,
    Command,
    DeviceRequest,
    Enrollment,
    EnrollmentState,
    Facts,
    Management,
    PlatformHandler,
    Refusal,
    Report,
)
from platforms.errors import Refused, Unreadable
from platforms.identity import IDENTITY_LIFE, certificate_hash, make_ca
from platforms.ios import build
from tests.platforms.ios.world import (
    AUTHENTICATE,
    CHECK_IN,
    CHECK_OUT,
    COMMAND,
    ENROLLMENT,
    IDLE,
    JOB,
    NOW,
    TOKEN_UPDATE,
    UDID,
    UNLOCK_TOKEN,
    Phone,
    bond,
    environ,
    order,
)

HANDLER: PlatformHandler = build(environ())
PHONE = Phone()
REF = str(JOB)


def hear(values: Mapping[str, Any], enrollment: Enrollment, phone: Phone = PHONE) -> CheckIn:
    return HANDLER.read(HANDLER.identify(phone.request(values), NOW), enrollment, NOW)


def enrolled() -> Enrollment:
    pending = bond(EnrollmentState.PENDING, hear(AUTHENTICATE, bond(EnrollmentState.INVITED, address=None)).memory)
    return bond(EnrollmentState.ENROLLED, hear(TOKEN_UPDATE, pending).memory)


def keep(enrollment: Enrollment, check_in: CheckIn) -> Enrollment:
    """What the house does with what a check-in means."""
    return Enrollment(
        enrollment.id,
        check_in.state or enrollment.state,
        check_in.address or enrollment.address,
        check_in.memory or enrollment.memory,
    )


def reason_of(request: DeviceRequest, handler: PlatformHandler = HANDLER) -> str:
    with pytest.raises(Unreadable) as raised:
        handler.identify(request, NOW)
    return raised.value.reason


@pytest.mark.parametrize("state", [EnrollmentState.INVITED, EnrollmentState.PENDING, EnrollmentState.ENROLLED])
@pytest.mark.parametrize("values", [TOKEN_UPDATE, CHECK_OUT, IDLE, {**TOKEN_UPDATE, "UserID": "u"}])
def test_only_authenticate_is_heard_of_a_device_that_has_not_named_itself(
    state: EnrollmentState, values: Mapping[str, Any]
) -> None:
    with pytest.raises(Unreadable, match="not_authenticated"):
        hear(values, bond(state, address=None))


# Who speaks


@pytest.mark.parametrize("path", ["checkin", "command"])
def test_a_check_in_is_heard_at_either_address(path: str) -> None:
    caller = HANDLER.identify(PHONE.request(AUTHENTICATE, path=path), NOW)

    assert (caller.address, caller.certificate_hash) == (UDID, certificate_hash(PHONE.certificate))
    assert caller.link is None


def test_an_enrollment_id_names_a_device_that_says_no_udid() -> None:
    caller = HANDLER.identify(Phone(address={"EnrollmentID": "E-1"}).request(AUTHENTICATE), NOW)

    assert caller.address == "E-1"


def test_a_link_is_handed_on_as_a_secret() -> None:
    caller = HANDLER.identify(DeviceRequest("GET", "enroll/abc_DEF-1", {}, b""), NOW)

    assert caller.link == Secret(b"abc_DEF-1")
    assert "abc_DEF" not in repr(caller)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "command"),
        ("POST", "checkin"),
        ("PUT", "enroll/abc"),
        ("GET", "enroll/"),
        ("GET", "enroll/" + "x" * 300),
        ("GET", "enroll/é"),
        ("PUT", "checkin/more"),
        ("PUT", ""),
        ("PUT", "../command"),
    ],
)
def test_other_addresses_and_methods_are_unreadable(method: str, path: str) -> None:
    sound = PHONE.request(IDLE)

    with pytest.raises(Unreadable):
        HANDLER.identify(DeviceRequest(method, path, sound.headers, sound.body), NOW)


@pytest.mark.parametrize(
    ("values", "content_type", "path"),
    [
        (IDLE, "", "command"),
        (IDLE, "text/xml", "command"),
        (IDLE, COMMAND, "checkin"),
        (IDLE, CHECK_IN, "command"),
        (AUTHENTICATE, COMMAND, "command"),
    ],
)
def test_content_type_and_key_must_fit(values: Mapping[str, Any], content_type: str, path: str) -> None:
    request = PHONE.raw(plistlib.dumps({"UDID": UDID, **values}), content_type, path=path)

    assert reason_of(request) in {"content_type", "no_status", "no_message_type"}


def test_nobody_without_proof_and_nothing_of_the_body_matters_then() -> None:
    assert reason_of(PHONE.request(IDLE, signed=False)) == "no_proof"
    assert reason_of(PHONE.raw(b"not a plist", COMMAND, signed=False)) == "no_proof"
    # A connection's certificate is another proof than the one that is asked for.
    assert reason_of(PHONE.request(IDLE, signed=False, connected=True)) == "no_proof"


def test_a_signature_of_another_body_is_no_proof() -> None:
    signature = PHONE.request(IDLE).headers
    body = PHONE.request({"Status": "Acknowledged", "CommandUUID": REF}).body

    assert reason_of(DeviceRequest("PUT", "command", signature, body)) == "signature_of_another_body"


def test_a_foreign_or_outdated_certificate_is_refused() -> None:
    assert reason_of(Phone(make_ca("Devices", NOW)).request(IDLE)) == "certificate_not_ours"
    assert reason_of(Phone(now=NOW - IDENTITY_LIFE - timedelta(days=1)).request(IDLE)) == "certificate_expired"
    assert reason_of(Phone(now=NOW + timedelta(days=1)).request(IDLE)) == "certificate_not_yet_valid"


def test_where_the_connection_proves_no_signature_is_needed() -> None:
    handler = build(environ(IOS_IDENTITY="mtls"))

    caller = handler.identify(PHONE.request(IDLE, signed=False, connected=True), NOW)

    assert caller.certificate_hash == certificate_hash(PHONE.certificate)
    assert reason_of(PHONE.request(IDLE), handler) == "no_proof"


def test_where_both_are_asked_for_both_must_be_the_same() -> None:
    handler = build(environ(IOS_IDENTITY="both"))
    sound = PHONE.request(IDLE, connected=True)
    mixed = DeviceRequest(sound.method, sound.path, sound.headers, sound.body, Phone().der)

    assert handler.identify(sound, NOW).address == UDID
    assert reason_of(mixed, handler) == "two_identities"
    assert reason_of(PHONE.request(IDLE), handler) == "no_proof"
    assert reason_of(PHONE.request(IDLE, signed=False, connected=True), handler) == "no_proof"


@given(st.binary(), st.sampled_from([CHECK_IN, COMMAND]))
@settings(deadline=None)
def test_whatever_a_proven_device_sends_only_unreadable_comes_out(body: bytes, content_type: str) -> None:
    with pytest.raises(Unreadable):
        HANDLER.identify(PHONE.raw(body, content_type), NOW)


# Enrolling


def test_a_welcome_hands_out_an_identity_that_is_heard_afterwards() -> None:
    welcome = HANDLER.welcome(ENROLLMENT, Ownership.PERSONAL, NOW)

    profile = plistlib.loads(welcome.reply.body)
    identity, mdm = profile["PayloadContent"]
    key, certificate, _ = pkcs12.load_key_and_certificates(identity["PayloadContent"], identity["Password"].encode())
    assert key is not None
    assert certificate is not None
    assert welcome.certificate_hash == certificate_hash(certificate)
    assert welcome.reply.headers["Content-Type"] == "application/x-apple-aspen-config"
    assert welcome.reply.headers["Cache-Control"] == "no-store"
    assert (mdm["AccessRights"], mdm["SignMessage"]) == (8183, True)
    phone = Phone()
    phone.key, phone.certificate = key, certificate  # type: ignore[assignment]  # P-256, as the settings say
    assert HANDLER.identify(phone.request(AUTHENTICATE), NOW).certificate_hash == welcome.certificate_hash


def test_two_welcomes_share_no_key() -> None:
    first, second = (HANDLER.welcome(ENROLLMENT, Ownership.CORPORATE, NOW) for _ in range(2))

    assert first.certificate_hash != second.certificate_hash
    assert plistlib.loads(first.reply.body)["PayloadContent"][1]["AccessRights"] == 8191


def test_a_real_fleet_gets_rsa_keys_and_with_mtls_no_signatures() -> None:
    welcome = build(environ(IOS_KEY="rsa", IOS_IDENTITY="mtls")).welcome(ENROLLMENT, Ownership.PERSONAL, NOW)

    identity, mdm = plistlib.loads(welcome.reply.body)["PayloadContent"]
    key = pkcs12.load_key_and_certificates(identity["PayloadContent"], identity["Password"].encode())[0]
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert mdm["SignMessage"] is False


def test_authenticate_begins_a_new_life_that_cannot_be_called_yet() -> None:
    check_in = hear(AUTHENTICATE, enrolled())

    assert (check_in.state, check_in.anew, check_in.address) == (EnrollmentState.PENDING, True, UDID)
    assert check_in.memory == Secret(b"{}")
    assert check_in.traits is not None
    assert check_in.traits["unlock_token"] == "no"
    assert (check_in.os_version, check_in.model, check_in.serial) == ("18.6", "iPhone14,5", "C39ABC")
    assert not check_in.wants_order
    assert not check_in.reachable_anew


def test_a_token_update_finishes_it() -> None:
    pending = bond(EnrollmentState.PENDING, Secret(b"{}"))

    check_in = hear(TOKEN_UPDATE, pending)

    assert (check_in.state, check_in.reachable_anew, check_in.anew) == (EnrollmentState.ENROLLED, True, False)
    assert check_in.traits == {"unlock_token": "yes", "enrolled_by_person": "no"}
    assert HANDLER.write(check_in, None, pending).reply.body == b""
    assert HANDLER.write(check_in, None, pending).reply.status == 200


def unlock_token_of(enrollment: Enrollment) -> bytes:
    body = HANDLER.write(hear(IDLE, enrollment), order(), enrollment).reply.body
    token: bytes = plistlib.loads(body)["Command"]["UnlockToken"]
    return token


def test_a_later_token_update_without_unlock_token_keeps_it_and_with_one_replaces_it() -> None:
    first = enrolled()
    without = {name: value for name, value in TOKEN_UPDATE.items() if name != "UnlockToken"}

    kept = keep(first, hear({**without, "Token": b"n" * 32}, first))
    replaced = keep(kept, hear({**TOKEN_UPDATE, "UnlockToken": b"\0new\xff"}, kept))

    assert unlock_token_of(kept) == UNLOCK_TOKEN
    assert unlock_token_of(replaced) == b"\0new\xff"


def test_authenticate_forgets_the_old_unlock_token() -> None:
    without = {name: value for name, value in TOKEN_UPDATE.items() if name != "UnlockToken"}
    anew = keep(enrolled(), hear(AUTHENTICATE, enrolled()))

    check_in = hear(without, anew)

    assert check_in.traits is not None
    assert check_in.traits["unlock_token"] == "no"
    with pytest.raises(Refused, match="unlock_token_missing"):
        HANDLER.write(hear(IDLE, keep(anew, check_in)), order(), keep(anew, check_in))


def test_check_out_forgets_everything_and_may_come_twice() -> None:
    first = hear(CHECK_OUT, enrolled())
    left = keep(enrolled(), first)
    second = hear(CHECK_OUT, left)

    assert first.state is second.state is EnrollmentState.LEFT
    assert left.memory == Secret(b"{}")
    assert HANDLER.write(second, None, left).reply.status == 200


@pytest.mark.parametrize(
    ("values", "state", "reason"),
    [
        ({**AUTHENTICATE, "Topic": "com.apple.mgmt.External.other"}, EnrollmentState.INVITED, "foreign_topic"),
        ({**TOKEN_UPDATE, "Topic": "com.apple.mgmt.External.other"}, EnrollmentState.PENDING, "foreign_topic"),
        (TOKEN_UPDATE, EnrollmentState.INVITED, "not_authenticated"),
        (CHECK_OUT, EnrollmentState.INVITED, "not_authenticated"),
        (AUTHENTICATE, EnrollmentState.LEFT, "enrollment_over"),
        (TOKEN_UPDATE, EnrollmentState.LEFT, "enrollment_over"),
    ],
)
def test_what_does_not_fit_the_enrollment_is_unreadable(
    values: Mapping[str, Any], state: EnrollmentState, reason: str
) -> None:
    address = None if state is EnrollmentState.INVITED else UDID

    with pytest.raises(Unreadable, match=reason):
        hear(values, bond(state, address=address))


def test_a_certificate_does_not_speak_for_another_address() -> None:
    with pytest.raises(Unreadable, match="address_of_another"):
        hear(IDLE, bond(address="00008110-FFFFFFFFFFFFFFFF"))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"MessageType": "UserAuthenticate"}, 410),
        ({"MessageType": "GetToken"}, 400),
        ({**TOKEN_UPDATE, "UserID": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, 410),
        ({**IDLE, "UserID": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"}, 410),
    ],
)
def test_what_is_declined_changes_nothing(values: Mapping[str, Any], status: int) -> None:
    check_in = hear(values, enrolled())

    assert (check_in.state, check_in.memory, check_in.traits, check_in.wants_order) == (None, None, None, False)
    assert HANDLER.write(check_in, None, enrolled()).reply.status == status


# Orders and reports


def test_idle_takes_an_order_with_the_newest_unlock_token() -> None:
    enrollment = enrolled()

    check_in = hear(IDLE, enrollment)
    answer = HANDLER.write(check_in, order(), enrollment)

    assert (check_in.wants_order, check_in.reports, check_in.memory) == (True, (), None)
    assert answer.reply.status == 200
    assert answer.reply.headers["Content-Type"] == "application/xml; charset=UTF-8"
    assert plistlib.loads(answer.reply.body) == {
        "CommandUUID": REF,
        "Command": {"RequestType": "ClearPasscode", "UnlockToken": UNLOCK_TOKEN},
    }
    again = HANDLER.write(hear(IDLE, enrollment), order(JobState.DELIVERED), enrollment)
    assert again.reply.body == answer.reply.body


def test_nothing_more_is_zero_bytes() -> None:
    reply = HANDLER.write(hear(IDLE, enrolled()), None, enrolled()).reply

    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("state", [EnrollmentState.INVITED, EnrollmentState.PENDING, EnrollmentState.LEFT])
def test_who_is_not_enrolled_gets_no_orders_and_is_heard_all_the_same(state: EnrollmentState) -> None:
    check_in = hear({"Status": "Acknowledged", "CommandUUID": REF}, bond(state))

    assert not check_in.wants_order
    assert [report.ref for report in check_in.reports] == [REF]


def judged(values: Mapping[str, Any]) -> Any:
    (report,) = hear({"CommandUUID": REF, **values}, enrolled()).reports
    return HANDLER.judge(order(JobState.DELIVERED), report)


def test_acknowledged_means_the_passcode_is_gone_and_none_was_made() -> None:
    outcome = judged({"Status": "Acknowledged"})

    assert (outcome.state, outcome.passcode_kind, outcome.passcode) == (
        JobState.SUCCEEDED,
        PasscodeKind.REMOVED,
        None,
    )


def test_an_error_is_final_and_shows_its_codes_to_the_operator() -> None:
    chain = [
        {"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "LocalizedDescription": "secret text of the device"},
        {"ErrorCode": 5013, "ErrorDomain": "MCPasscodeErrorDomain", "USEnglishDescription": "secret text as well"},
    ]

    outcome = judged({"Status": "Error", "ErrorChain": chain})

    assert (outcome.state, outcome.reason) == (JobState.FAILED, Reason.DEVICE_REFUSED)
    assert outcome.detail == (("error", "MCMDMErrorDomain 12021"), ("cause_1", "MCPasscodeErrorDomain 5013"))


def test_an_error_without_a_chain_is_an_error() -> None:
    assert judged({"Status": "Error"}).state is JobState.FAILED


def test_a_command_that_was_not_understood_failed() -> None:
    assert judged({"Status": "CommandFormatError"}).state is JobState.FAILED


@pytest.mark.parametrize("status", ["NotNow", "SomethingNew"])
def test_not_now_and_what_we_do_not_know_are_not_final(status: str) -> None:
    outcome = judged({"Status": status})

    assert (outcome.state, outcome.reason) == (None, Reason.NOT_NOW)


def test_what_was_put_off_is_withheld_until_the_device_asks_for_work_anew() -> None:
    enrollment = enrolled()

    put_off = hear({"Status": "NotNow", "CommandUUID": "a"}, enrollment)
    enrollment = keep(enrollment, put_off)
    other = hear({"Status": "Acknowledged", "CommandUUID": "b"}, enrollment)
    enrollment = keep(enrollment, other)
    both = hear({"Status": "NotNow", "CommandUUID": "c"}, enrollment)
    enrollment = keep(enrollment, both)
    idle = hear(IDLE, enrollment)

    assert put_off.withheld == {"a"}
    assert (other.withheld, other.memory) == ({"a"}, None)
    assert both.withheld == {"a", "c"}
    assert idle.withheld == frozenset()
    assert unlock_token_of(keep(enrollment, idle)) == UNLOCK_TOKEN
    assert hear(IDLE, keep(enrollment, idle)).memory is None


def test_a_device_that_puts_everything_off_does_not_fill_the_memory() -> None:
    enrollment = enrolled()
    for number in range(100):
        enrollment = keep(enrollment, hear({"Status": "NotNow", "CommandUUID": f"{number}"}, enrollment))

    assert hear({"Status": "NotNow", "CommandUUID": "99"}, enrollment).withheld == {f"{n}" for n in range(84, 100)}


def test_a_result_without_a_command_is_heard_and_work_goes_on() -> None:
    check_in = hear({"Status": "Acknowledged"}, enrolled())

    assert (check_in.reports, check_in.wants_order) == ((), True)


def test_a_report_of_another_platform_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError):
        HANDLER.judge(order(), Report(REF, "something"))


# Plans and offers


def test_a_plan_is_the_same_when_made_again_and_holds_no_secret() -> None:
    wish = Order(JOB, Act.RESET_PASSCODE, uuid4())

    plan = HANDLER.plan(wish, enrolled())

    assert plan == HANDLER.plan(wish, enrolled())
    assert (plan.ref, plan.value) == (REF, Secret(b'{"request_type": "ClearPasscode"}'))


@pytest.mark.parametrize(
    ("act", "enrollment", "reason"),
    [
        (Act.WIPE, bond(EnrollmentState.LEFT), Reason.NOT_ENROLLED),
        (Act.RESET_PASSCODE, bond(EnrollmentState.LEFT), Reason.NOT_ENROLLED),
        (Act.RESET_PASSCODE, bond(EnrollmentState.ENROLLED, Secret(b"{}")), Reason.UNLOCK_TOKEN_MISSING),
        (Act.RESET_PASSCODE, bond(EnrollmentState.ENROLLED), Reason.UNLOCK_TOKEN_MISSING),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_queued(act: Act, enrollment: Enrollment, reason: Reason) -> None:
    with pytest.raises(Refused) as raised:
        HANDLER.plan(Order(JOB, act, uuid4()), enrollment)

    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("state", "traits", "reason"),
    [
        (EnrollmentState.ENROLLED, {"unlock_token": "yes", "enrolled_by_person": "no"}, None),
        (EnrollmentState.ENROLLED, {"unlock_token": "no"}, Reason.UNLOCK_TOKEN_MISSING),
        (EnrollmentState.ENROLLED, {}, Reason.UNLOCK_TOKEN_MISSING),
        (EnrollmentState.ENROLLED, {"unlock_token": "yes", "enrolled_by_person": "yes"}, Reason.ENROLLMENT_TYPE),
        (EnrollmentState.PENDING, {"unlock_token": "yes"}, Reason.NOT_ENROLLED),
        (EnrollmentState.LEFT, {"unlock_token": "yes"}, Reason.NOT_ENROLLED),
    ],
)
def test_the_button_says_why_not(state: EnrollmentState, traits: dict[str, str], reason: Reason | None) -> None:
    offers = HANDLER.offers(Facts(Ownership.PERSONAL, "18.6", state, traits))

    assert offers.keys() == set(Act)
    assert offers[Act.RESET_PASSCODE] == reason
    assert state is EnrollmentState.ENROLLED or set(offers.values()) == {Reason.NOT_ENROLLED}


ALL_BUT_ERASING = str(8191 & ~8)


@pytest.mark.parametrize(
    ("act", "ownership", "traits", "reason"),
    [
        (Act.REMOTE_LOCK, Ownership.PERSONAL, {}, None),
        (Act.REMOTE_LOCK, Ownership.PERSONAL, {"enrolled_by_person": "yes"}, None),
        (Act.REMOTE_LOCK, Ownership.CORPORATE, {"rights": str(8191 & ~4)}, Reason.MISSING_RIGHT),
        (Act.RESET_PASSCODE, Ownership.CORPORATE, {"rights": "3", "unlock_token": "yes"}, Reason.MISSING_RIGHT),
        (Act.WIPE, Ownership.CORPORATE, {}, None),
        (Act.WIPE, Ownership.CORPORATE, {"rights": "8191"}, None),
        (Act.WIPE, Ownership.CORPORATE, {"rights": ALL_BUT_ERASING}, Reason.MISSING_RIGHT),
        (Act.WIPE, Ownership.PERSONAL, {}, Reason.MISSING_RIGHT),
        (Act.WIPE, Ownership.PERSONAL, {"rights": "8191"}, None),
        (Act.WIPE, Ownership.CORPORATE, {"enrolled_by_person": "yes"}, Reason.ENROLLMENT_TYPE),
        (Act.REMOVE, Ownership.PERSONAL, {"rights": "0"}, None),
        (Act.RESTART, Ownership.CORPORATE, {}, Reason.NOT_SUPERVISED),
        (Act.RESTART, Ownership.CORPORATE, {"supervised": "no"}, Reason.NOT_SUPERVISED),
        (Act.RESTART, Ownership.CORPORATE, {"supervised": "yes"}, None),
        (Act.RESTART, Ownership.CORPORATE, {"supervised": "yes", "rights": "1"}, Reason.MISSING_RIGHT),
        (Act.REFRESH, Ownership.PERSONAL, {}, None),
        (Act.REFRESH, Ownership.PERSONAL, {"rights": str(8191 & ~16)}, Reason.MISSING_RIGHT),
    ],
)
def test_each_act_takes_its_right_and_a_device_that_has_it(
    act: Act, ownership: Ownership, traits: dict[str, str], reason: Reason | None
) -> None:
    facts = Facts(ownership, "18.6", EnrollmentState.ENROLLED, traits)

    assert HANDLER.offers(facts)[act] == reason


# Each act on the wire


def spoken(act: Act, enrollment: Enrollment) -> dict[str, Any]:
    plan = HANDLER.plan(Order(JOB, act, uuid4()), enrollment)
    command = Command(JOB, act, plan.ref, JobState.WAITING, plan.value)
    answer = HANDLER.write(hear(IDLE, enrollment), command, enrollment)
    assert answer.reply.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = plistlib.loads(answer.reply.body)
    assert document["CommandUUID"] == REF
    return dict(document["Command"])


@pytest.mark.parametrize(
    ("act", "command"),
    [
        (Act.REMOTE_LOCK, {"RequestType": "DeviceLock", "Message": "Latchkey"}),
        (Act.WIPE, {"RequestType": "EraseDevice"}),
        (Act.RESTART, {"RequestType": "RestartDevice"}),
        (
            Act.REFRESH,
            {
                "RequestType": "DeviceInformation",
                "Queries": ["DeviceName", "OSVersion", "ProductName", "SerialNumber", "IsSupervised"],
            },
        ),
    ],
)
def test_each_act_is_one_command_of_apples(act: Act, command: dict[str, Any]) -> None:
    assert spoken(act, enrolled()) == command


def test_a_removal_names_the_profile_that_the_enrollment_handed_out() -> None:
    profile = plistlib.loads(HANDLER.welcome(ENROLLMENT, Ownership.PERSONAL, NOW).reply.body)

    assert spoken(Act.REMOVE, enrolled()) == {
        "RequestType": "RemoveProfile",
        "Identifier": profile["PayloadIdentifier"],
    }


def ended(act: Act, **answer: Any) -> Outcome:
    (report,) = hear({"CommandUUID": REF, **answer}, enrolled()).reports
    return HANDLER.judge(Command(JOB, act, REF, JobState.DELIVERED, Secret(b"{}")), report)


@pytest.mark.parametrize("act", [act for act in Act if act is not Act.RESET_PASSCODE])
def test_an_acknowledged_act_is_done_and_makes_no_passcode(act: Act) -> None:
    assert ended(act, Status="Acknowledged") == Outcome(JobState.SUCCEEDED)
    assert ended(act, Status="Error").state is JobState.FAILED
    assert ended(act, Status="NotNow").state is None


@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        ("Success", JobState.SUCCEEDED, None),
        ("NoPasscodeSet", JobState.FAILED, Reason.NO_PASSCODE_SET),
        ("DeviceInLostMode", JobState.FAILED, Reason.DEVICE_REFUSED),
        ("Unknown", JobState.FAILED, Reason.DEVICE_REFUSED),
        ("<b>\n", JobState.SUCCEEDED, None),  # no word of the protocol, so none was said
    ],
)
def test_a_lock_that_locks_nothing_has_failed(said: str, state: JobState, reason: Reason | None) -> None:
    outcome = ended(Act.REMOTE_LOCK, Status="Acknowledged", MessageResult=said)

    assert (outcome.state, outcome.reason) == (state, reason)
    assert dict(outcome.detail) == ({} if reason is None else {"message_result": said})


INFORMATION = {
    "DeviceName": "Anna's iPhone",
    "OSVersion": "18.7",
    "ProductName": "iPhone15,4",
    "SerialNumber": "C39XYZ",
    "IsSupervised": True,
}


def informed(enrollment: Enrollment, **answers: Any) -> CheckIn:
    return hear({"Status": "Acknowledged", "CommandUUID": REF, "QueryResponses": answers}, enrollment)


def test_what_a_device_tells_of_itself_is_kept() -> None:
    enrollment = enrolled()

    check_in = informed(enrollment, **INFORMATION)

    assert (check_in.os_version, check_in.model, check_in.serial) == ("18.7", "iPhone15,4", "C39XYZ")
    assert check_in.traits == {
        "unlock_token": "yes",
        "enrolled_by_person": "no",
        "supervised": "yes",
        "device_name": "Anna's iPhone",
    }
    later = hear(TOKEN_UPDATE, keep(enrollment, check_in))
    assert later.traits == check_in.traits


@pytest.mark.parametrize(
    ("model", "name"), [("iPhone15,4", "iOS"), ("iPad14,1", "iPadOS"), ("iPod9,1", "iOS"), (None, None)]
)
def test_what_runs_on_it_and_who_made_it(model: str | None, name: str | None) -> None:
    said = {**AUTHENTICATE, "ProductName": model} if model else {k: v for k, v in AUTHENTICATE.items() if k != "Model"}
    said = {key: value for key, value in said.items() if value is not None and (model or key != "ProductName")}

    check_in = hear(said, enrolled())

    assert (check_in.os_name, check_in.maker) == (name, "Apple")


@pytest.mark.parametrize(
    ("ownership", "by_person", "join"),
    [
        (Ownership.PERSONAL, "no", Join.REGISTERED),
        (Ownership.CORPORATE, "no", Join.JOINED),
        (Ownership.CORPORATE, "yes", Join.REGISTERED),
    ],
)
def test_how_it_came_in_and_that_nothing_tells_whether_it_complies(
    ownership: Ownership, by_person: str, join: Join
) -> None:
    facts = Facts(ownership, "18.6", EnrollmentState.ENROLLED, {"enrolled_by_person": by_person})

    assert HANDLER.management(facts) == Management(join, None)


def test_what_a_device_leaves_out_has_not_changed() -> None:
    enrollment = enrolled()
    enrollment = keep(enrollment, informed(enrollment, **INFORMATION))

    check_in = informed(enrollment, OSVersion="", DeviceName=7, IsSupervised="yes")

    assert (check_in.os_version, check_in.model, check_in.serial, check_in.memory) == (None, None, None, None)
    assert check_in.traits is not None
    assert (check_in.traits["supervised"], check_in.traits["device_name"]) == ("yes", "Anna's iPhone")


def test_a_new_life_knows_of_the_old_one_only_what_the_profile_granted() -> None:
    welcome = HANDLER.welcome(ENROLLMENT, Ownership.PERSONAL, NOW)
    invited = bond(EnrollmentState.INVITED, welcome.memory, address=None)
    enrollment = keep(invited, hear(AUTHENTICATE, invited))
    enrollment = keep(enrollment, hear(TOKEN_UPDATE, enrollment))
    enrollment = keep(enrollment, informed(enrollment, **INFORMATION))

    anew = hear(AUTHENTICATE, enrollment)

    assert anew.traits == {"unlock_token": "no", "enrolled_by_person": "no", "rights": ALL_BUT_ERASING}


def test_a_device_enrolled_by_its_person_says_so_in_its_traits() -> None:
    phone = Phone(address={"EnrollmentID": "E-1"})
    without = {name: value for name, value in TOKEN_UPDATE.items() if name != "UnlockToken"}

    check_in = hear(without, bond(EnrollmentState.PENDING, address="E-1"), phone)

    assert check_in.traits == {"unlock_token": "no", "enrolled_by_person": "yes"}


# Refusals and secrets


def test_no_refusal_makes_a_device_take_its_profile_away() -> None:
    replies = {refusal: HANDLER.refuse(refusal) for refusal in Refusal}

    assert {refusal: reply.status for refusal, reply in replies.items()} == {
        Refusal.UNREADABLE: 400,
        Refusal.NOT_BOUND: 400,
        Refusal.LINK_GONE: 410,
        Refusal.SEEN: 200,
        Refusal.UNSUPPORTED: 400,
        Refusal.TRY_LATER: 503,
    }
    assert {reply.body for reply in replies.values()} == {b""}


def test_nothing_secret_is_printed() -> None:
    enrollment = enrolled()
    request = PHONE.request(TOKEN_UPDATE)
    caller = HANDLER.identify(request, NOW)
    check_in = HANDLER.read(caller, enrollment, NOW)
    answer = HANDLER.write(hear(IDLE, enrollment), order(), enrollment)
    welcome = HANDLER.welcome(ENROLLMENT, Ownership.PERSONAL, NOW)

    printed = repr((enrollment, caller, check_in, check_in.message, caller.message, answer, welcome))

    for secret in ("keybag", "DATA", "magic", "quoted", "PRIVATE", "Password"):
        assert secret not in printed
