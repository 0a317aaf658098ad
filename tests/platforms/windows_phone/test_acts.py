"""What a Windows phone is asked to do, and every way in which that can end. Numbers as in test_dm_session."""

from datetime import timedelta
from pathlib import Path

import pytest

from models.vocabulary import EPOCH, Act, JobState, Join, Ownership, PasscodeKind, Reason
from platforms import windows_phone
from platforms.base import EnrollmentState, Facts, Management, Road
from platforms.syncml import Alert, Item, Meta, Operation, Results, Status
from platforms.windows_phone import System
from tests.platforms.conformance import NOW
from tests.platforms.windows_phone.phone import (
    NAMES,
    bound,
    codes,
    ended,
    orders,
    sequence,
    told,
)

EVERY = pytest.mark.parametrize("name", NAMES)
UNENROLL = {
    "8.10.14219.341": "./Vendor/MSFT/DMClient/Unenroll",
    "10.0.15254.603": "./Vendor/MSFT/DMClient/Provider/Latchkey/Unenroll",
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@EVERY
@pytest.mark.parametrize("pin", ["58203471", "a&<Z 9", " 12 ", "1"])
@pytest.mark.parametrize("parent_last", [False, True])
def test_04_the_pin_is_kept_as_it_came(name: str, keys: Path, pin: str, parent_last: bool) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    assert [(one.verb, one.items[0].target) for one in order.commands if isinstance(one, Operation)] == [
        ("Exec", windows_phone.RESET),
        ("Get", windows_phone.NEW_PIN),
    ]
    said = told(phone, order, "200", pin)
    phone.say(*([said[0], *said[2:], said[1]] if parent_last else said))

    outcome = job.outcomes[0]
    assert outcome.state is JobState.SUCCEEDED
    assert outcome.passcode is not None
    assert outcome.passcode.text() == pin
    numeric = PasscodeKind.TEMPORARY_NUMERIC
    came = numeric if pin.isdecimal() else PasscodeKind.TEMPORARY_ALPHANUMERIC
    expected = numeric if name == "wp81" else PasscodeKind.TEMPORARY_ALPHANUMERIC
    assert outcome.passcode_kind is came
    assert outcome.detail == (() if came is expected else (("expected_kind", expected.value),))


@EVERY
@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("404", JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED),
        ("405", JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED),
        ("406", JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED),
        ("500", JobState.FAILED, Reason.DEVICE_REFUSED),
        ("425", JobState.FAILED, Reason.DEVICE_REFUSED),
        ("nonsense", JobState.FAILED, Reason.DEVICE_REFUSED),
    ],
)
def test_05_a_failed_reset_says_why(name: str, keys: Path, code: str, state: JobState, reason: Reason) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond)
    phone.say(*told(phone, sequence(phone.call()), code, None, error="0x80004005", get="215"))

    assert ended(job) == (state, reason)
    assert job.outcomes[0].detail == (("status", code), ("original_error", "0x80004005"))


@EVERY
@pytest.mark.parametrize("code", ["200", "202"])
@pytest.mark.parametrize("pin", [None, ""])
def test_05_a_pin_that_nobody_knows_is_made_anew_three_times_in_all(
    name: str, keys: Path, code: str, pin: str | None
) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond)
    answer = phone.call()
    for _ in range(3):
        assert job.outcomes == []
        answer = phone.say(*told(phone, sequence(answer), code, pin))

    assert orders(answer) == []

    assert ended(job) == (JobState.FAILED, Reason.CODE_UNKNOWN)
    assert job.command.offers == 3


@EVERY
def test_05_three_sessions_that_died_are_three_attempts(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond)
    for attempt in (1, 2, 3):
        sequence(phone.call(str(attempt)))
        assert job.outcomes == []
    phone.begin(session="4")

    assert ended(job) == (JobState.FAILED, Reason.CODE_UNKNOWN)


@EVERY
def test_05_a_reset_that_was_not_run_waits_for_another_session(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond)

    answer = phone.say(*told(phone, sequence(phone.call("1")), "215", None, get="215"))

    assert orders(answer) == []
    assert job.outcomes == []
    assert sequence(phone.call("2"))


@EVERY
def test_05_of_two_pins_the_first_stands(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    again = Results("9", order.commands[1].cmd_id or "", (Item(data="another"),), msg_ref=phone.said)
    phone.say(*told(phone, order, "200", "58203471"), again)

    assert job.outcomes[0].passcode is not None
    assert job.outcomes[0].passcode.text() == "58203471"


def test_05_a_pin_beside_a_failure_counts_where_an_earlier_attempt_may_have_made_it(keys: Path) -> None:
    for attempts, state in ((1, JobState.FAILED), (2, JobState.SUCCEEDED)):
        phone = bound("wp81", keys)
        job = phone.house.ask(phone.bond)
        for attempt in range(attempts):
            order = sequence(phone.call(str(attempt)))
        phone.say(*told(phone, order, "500", "58203471"))

        assert job.outcomes[0].state is state


@pytest.mark.parametrize(
    ("version", "joined", "allowed"),
    [
        ("10.0.15254.603", ("404", None), True),
        ("10.0.15254.603", ("200", ""), True),
        ("10.0.15254.603", ("200", "5e4b"), False),
        ("10.0.15254.603", ("500", None), False),
        ("10.0.14393.0", ("500", None), False),
        ("10.0.14392.0", ("500", None), True),
        ("10.0.10586.0", ("200", "5e4b"), False),
        ("8.10.14219.341", ("500", None), True),
        ("8.10.14219.341", ("200", "5e4b"), False),
    ],
)
@EVERY
def test_08_a_phone_that_a_reset_would_wipe_is_not_reset(
    name: str, keys: Path, version: str, joined: tuple[str, str | None], allowed: bool
) -> None:
    phone = bound(name, keys, version=version)
    phone.facts = {windows_phone.JOINED: joined}
    job = phone.house.ask(phone.bond)

    given = orders(phone.call())

    offered = phone.house.handler.offers(phone.bond.facts)[Act.RESET_PASSCODE]
    if allowed:
        assert given
        assert offered is None
    else:
        assert given == []
        assert ended(job) == (JobState.FAILED, Reason.WOULD_WIPE)
        assert offered == Reason.WOULD_WIPE


@EVERY
@pytest.mark.parametrize(
    ("version", "edition"), [("6.3.9600.17031", None), ("8.0.10501.0", None), ("10.0.19045.1", "48"), ("", None)]
)
def test_08_a_computer_that_knocks_is_bound_to_nothing(
    name: str, keys: Path, version: str, edition: str | None
) -> None:
    phone = bound(name, keys, version=version, state=EnrollmentState.INVITED)
    if edition is not None:
        phone.facts = {windows_phone.EDITION: ("200", edition)}

    answer = phone.call()

    assert orders(answer) == []
    assert (phone.bond.state, phone.bond.address) == (EnrollmentState.INVITED, None)
    facts = Facts(Ownership.CORPORATE, version, EnrollmentState.ENROLLED, {windows_phone.SYSTEM: System.OTHER})
    assert set(phone.house.handler.offers(facts).values()) == {Reason.OS_VERSION}


@EVERY
def test_08_a_phone_is_bound_when_it_has_said_what_it_runs(name: str, keys: Path) -> None:
    phone = bound(name, keys, state=EnrollmentState.INVITED)
    asked = phone.begin()
    assert phone.bond.address is None

    phone.introduce(asked)

    assert (phone.bond.state, phone.bond.address) == (EnrollmentState.ENROLLED, phone.dev_id)


@EVERY
@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("200", JobState.SUCCEEDED, None),
        ("405", JobState.FAILED, Reason.NO_PASSCODE_SET),
        ("404", JobState.UNSUPPORTED, Reason.PLATFORM_UNSUPPORTED),
        ("500", JobState.FAILED, Reason.DEVICE_REFUSED),
    ],
)
def test_09_a_lock_without_a_pin_is_told_apart(
    name: str, keys: Path, code: str, state: JobState, reason: Reason | None
) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond, Act.REMOTE_LOCK)
    (order,) = orders(phone.call())
    phone.say(Status("1", phone.said, "0", "SyncHdr", "200"), Status("2", phone.said, order.cmd_id or "", "Exec", code))

    assert ended(job) == (state, reason)


@EVERY
@pytest.mark.parametrize("act", [Act.WIPE, Act.REMOVE])
def test_10_what_cannot_be_undone_is_handed_over_once(name: str, keys: Path, act: Act) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond, act)
    assert orders(phone.call("1"))

    assert orders(phone.call("2")) == []

    assert ended(job) == (JobState.UNCONFIRMED, Reason.NO_ANSWER)
    assert job.command.offers == 1


@EVERY
def test_10_a_wipe_that_was_taken_is_not_known_to_be_done(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond, Act.WIPE)
    (order,) = orders(phone.call())
    answer = phone.say(Status("2", phone.said, order.cmd_id or "", "Exec", "202"))

    assert orders(answer) == []
    assert ended(job) == (JobState.UNCONFIRMED, Reason.ACCEPTED)


@EVERY
@pytest.mark.parametrize("prefix", ["", "Reversed-Domain-Name:", " reversed-domain-name: "])
@pytest.mark.parametrize("answered", [False, True])
def test_10_a_farewell_in_a_later_session_is_the_removal(name: str, keys: Path, prefix: str, answered: bool) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond, Act.REMOVE)
    (order,) = orders(phone.call("1"))
    assert isinstance(order, Operation)
    assert order.items[0].target == UNENROLL[phone.version]
    assert order.items[0].data == "Latchkey"
    if answered:
        phone.say(Status("2", phone.said, order.cmd_id, "Exec", "200"))
        assert job.outcomes == []

    gone = Item(meta=Meta(type=f"{prefix}com.microsoft:mdm.unenrollment.userrequest"), data="1")
    answer = phone.begin(Alert("9", "1226", (gone,)), session="2")

    assert codes(answer)[-1] == ("9", "200")
    assert orders(answer) == []
    assert phone.bond.state is EnrollmentState.LEFT
    assert ended(job) == (JobState.SUCCEEDED, None)


@EVERY
def test_10_an_alert_of_another_kind_is_no_farewell(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    strange = Item(meta=Meta(type="com.elsewhere:something"), data="1")

    answer = phone.begin(Alert("9", "1226", (strange,)))

    assert codes(answer)[-1] == ("9", "415")
    assert phone.bond.state is EnrollmentState.ENROLLED


def test_16_a_phone_that_was_upgraded_speaks_as_what_it_is_now(keys: Path) -> None:
    phone = bound("wp81", keys)
    phone.call("1")
    phone.version = "10.0.14393.0"
    job = phone.house.ask(phone.bond)

    phone.say(*told(phone, sequence(phone.call("2")), "200", "aB3xK9mQ"))

    outcome = job.outcomes[0]
    assert (outcome.passcode_kind, outcome.detail) == (PasscodeKind.TEMPORARY_ALPHANUMERIC, ())
    assert outcome.told == "wp81.reset_passcode.succeeded_on_10"
    assert phone.bond.os_version == "10.0.14393.0"
    phone.house.ask(phone.bond, Act.REMOVE)
    (order,) = orders(phone.call("3"))
    assert isinstance(order, Operation)
    assert order.items[0].target == "./Vendor/MSFT/DMClient/Provider/Latchkey/Unenroll"


@EVERY
def test_a_phone_says_what_it_is_in_each_session(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    phone.call()

    names = {"windows10mobile": "Windows 10 Mobile", "wp81": "Windows Phone"}
    assert (phone.bond.os_name, phone.bond.model) == (names[name], "RM-974")


@pytest.mark.parametrize(
    ("ownership", "joined", "join"),
    [
        (Ownership.PERSONAL, "no", Join.REGISTERED),
        (Ownership.PERSONAL, "yes", Join.JOINED),
        (Ownership.CORPORATE, "no", Join.JOINED),
        (Ownership.PERSONAL, "unknown", Join.REGISTERED),
    ],
)
def test_a_phone_of_a_directory_is_joined(ownership: Ownership, joined: str, join: Join, keys: Path) -> None:
    facts = Facts(ownership, None, EnrollmentState.ENROLLED, {windows_phone.JOIN: joined})

    assert bound("windows10mobile", keys).house.handler.management(facts) == Management(join, None)


@EVERY
def test_18_a_node_that_is_not_there_does_no_harm(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    job = phone.house.ask(phone.bond, Act.REFRESH)
    asked = orders(phone.call())
    assert len(asked) == len(windows_phone.INFORMATION)
    assert len({one.cmd_id for one in asked}) == len(asked)

    phone.say(*phone.answers(asked, {"./DevDetail/FwV": ("200", "02040"), "./DevDetail/HwV": ("500", None)}))

    assert ended(job) == (JobState.SUCCEEDED, None)
    assert phone.bond.traits["firmware"] == "02040"
    assert "hardware" not in phone.bond.traits
    assert phone.house.handler.offers(phone.bond.facts)[Act.RESET_PASSCODE] is None


@EVERY
def test_a_restart_is_none_of_its_acts(name: str, keys: Path) -> None:
    phone = bound(name, keys)
    phone.call()

    assert Act.RESTART not in phone.house.handler.offers(phone.bond.facts)


@EVERY
@pytest.mark.parametrize(
    ("age", "pause"),
    [(0, 15), (74, 15), (75, 60), (674, 60), (675, 1440), (100_000, 1440)],
)
def test_without_a_channel_it_is_expected_by_its_schedule(name: str, keys: Path, age: int, pause: int) -> None:
    since = str(int((NOW - EPOCH).total_seconds()))
    start = EPOCH + timedelta(seconds=int(since))
    traits = {windows_phone.SINCE: since, windows_phone.PUSH: "no"}
    seen = start + timedelta(minutes=age)

    reach = bound(name, keys).house.handler.reach(
        Facts(Ownership.CORPORATE, None, EnrollmentState.ENROLLED, traits), seen, NOW
    )

    assert (reach.road, reach.expected_by) == (Road.POLL, seen + timedelta(minutes=pause))


@EVERY
def test_a_channel_is_believed_only_where_channels_are(name: str, keys: Path) -> None:
    for uri, known in (
        ("https://127.0.0.1:9/channel", True),
        ("https://evil.example/?x", False),
        ("http://127.0.0.1:9/", False),
    ):
        phone = bound(name, keys)
        phone.facts = {windows_phone.CHANNEL: ("200", uri), windows_phone.CHANNEL_STATUS: ("200", "0")}
        phone.call()

        assert phone.memory.channel_uri == (uri if known else None)
        reach = phone.house.handler.reach(phone.bond.facts, NOW, NOW)
        assert reach.road is (Road.PUSH if known else Road.POLL)
