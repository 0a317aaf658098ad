"""The simulated Windows phone is held to what a real one does: whoever trusts it in other tests must be able to."""

import asyncio
import base64
import json
import plistlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from platforms.windows_phone_simulator import REPEATS, WindowsPhone, demo_keys, wake_service
from platforms.windows_phone_wire import EnrollmentFailed, digest
from platforms.wns_service import Wns, WnsService
from tests.platforms.desk import HANDOUT, ID, PROVIDER, REMOTE, Desk, enrolled, get, put, reset, run

GENERATION = pytest.mark.parametrize("generation", ["8.1", "10"])


@pytest.fixture(scope="session")
def push_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    for name, content in demo_keys(datetime.now(UTC))[0].items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
async def service(push_keys: Path) -> AsyncIterator[WnsService]:
    async with wake_service(push_keys, 0) as opened:
        yield opened


# Whose vectors these are: OMA DM protocol 1.2, and one with a nonce that is no text


@pytest.mark.parametrize(
    ("name", "secret", "nonce", "proof"),
    [
        ("Bruce2", "OhBehave", b"Nonce", "Zz6EivR3yeaaENcRN6lpAQ=="),
        ("dev-17", "s3cret", base64.b64decode("8PHy8/T19vf4+fr7/P3+/w=="), "iHj974KaY7p39vJN1KX/5g=="),
    ],
)
def test_the_proof_is_that_of_the_specification(name: str, secret: str, nonce: bytes, proof: str) -> None:
    assert digest(name, secret, nonce) == proof


# Enrolling


@GENERATION
async def test_the_first_message_says_who_calls_why_and_how_it_is_made(generation: str) -> None:
    desk = Desk()
    phone = await enrolled(desk, generation)
    await phone.poll()

    (first,) = desk.heard
    assert first.alerts == (["1201", "1224"] if generation == "10" else ["1201"])
    told = {one.findtext("Source/LocURI"): one.findtext("Data") for one in first.root.findall("SyncBody/Replace/Item")}
    assert told["./DevInfo/DevId"] == phone.dev_id == first.head("Source/LocURI")
    assert told.keys() == {f"./DevInfo/{name}" for name in ("DevId", "Man", "Mod", "DmV", "Lang")}
    assert first.head("Source/LocName") == str(ID)
    assert first.root.findtext("SyncBody/Alert/CmdID") == "2"
    assert first.root.findall("SyncBody/*")[-1].tag == "Final"
    assert phone.complaints == []


async def test_sessions_are_named_in_hex_and_each_counts_its_messages_from_one() -> None:
    desk = Desk(orders=[get("1", "./DevDetail/SwV")])
    phone = await enrolled(desk)
    for _ in range(2):
        desk.orders = [get("1", "./DevDetail/SwV")]
        await phone.poll()

    names = [one.head("SessionID") for one in desk.heard]
    assert names[0] == names[1] != names[2] == names[3]
    assert [one.head("MsgID") for one in desk.heard] == ["1", "2", "1", "2"]
    assert int(str(names[2]), 16) == int(str(names[0]), 16) + 1


@pytest.mark.parametrize(
    "broken",
    [
        {"identity": ""},
        {"password": "another"},
        {"provisioning": "<wap-provisioningdoc/>"},
        {"provisioning": json.loads(HANDOUT)["provisioning"].replace('"PrivateKeyContainer"', '"Nothing"')},
        {"provisioning": json.loads(HANDOUT)["provisioning"].replace('name="APPID"', 'name="ROLE"')},
        {"provisioning": json.loads(HANDOUT)["provisioning"].replace('value="w7"', 'value="w2"')},
        {"provisioning": json.loads(HANDOUT)["provisioning"].replace('"APPSRV"', '"OBEX"')},
        {"provisioning": json.loads(HANDOUT)["provisioning"].replace("Interval", "Pause")},
    ],
)
def test_a_document_that_no_phone_takes_is_not_installed(broken: dict[str, str]) -> None:
    phone = WindowsPhone(Desk())

    with pytest.raises(EnrollmentFailed, match="cannot be installed") as raised:
        phone.install(json.dumps({**json.loads(HANDOUT), **broken}).encode())

    assert "theirs" not in str(raised.value)
    assert phone.bond is None


async def test_a_link_that_is_gone_says_so_and_one_in_trouble_is_tried_again() -> None:
    with pytest.raises(EnrollmentFailed) as gone:
        await WindowsPhone(Desk(status=410)).open_link("https://latchkey.example/enroll/x")
    with pytest.raises(OSError, match="503"):
        await WindowsPhone(Desk(status=503)).open_link("https://latchkey.example/enroll/x")

    assert gone.value.status == 410


async def test_a_first_session_is_refused_or_tried_again() -> None:
    desk = Desk()
    phone = WindowsPhone(desk)
    await phone.open_link("https://latchkey.example/enroll/x")

    desk.status = 403
    with pytest.raises(EnrollmentFailed):
        await phone.check_in()
    desk.status = 503
    with pytest.raises(OSError, match="503"):
        await phone.check_in()
    desk.status = 200
    await phone.check_in()

    assert phone.enrolled


# Proof in both directions


async def test_the_nonce_of_the_welcome_serves_in_the_next_session() -> None:
    desk = Desk(nonce=b"\xf0\xff first", next_nonce=b"second \x80")
    phone = await enrolled(desk)
    desk.nonce, desk.next_nonce = b"second \x80", None

    await phone.poll()

    assert len(desk.heard) == 1
    assert phone.complaints == []


@pytest.mark.parametrize("without_proof", [True, False])
async def test_who_is_challenged_says_it_all_again_with_a_proof(without_proof: bool) -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.without_proof = without_proof
    desk.nonce, desk.challenge = b"another", b"new \xff"

    await phone.poll()

    first, second = desk.heard
    assert (first.head("MsgID"), second.head("MsgID")) == ("1", "2")
    assert (first.head("Cred/Data") is None) is without_proof
    assert second.head("Cred/Data") == digest(str(ID), "theirs", b"new \xff")
    assert second.codes == {"0": "200"}
    assert second.alerts == first.alerts
    assert phone.complaints == []


async def test_who_is_never_let_in_stops_asking() -> None:
    desk = Desk()
    phone = await enrolled(desk)

    class Wall(Desk):
        def answer(self, root: Any) -> str:
            self.nonce, self.challenge = b"never", b"again"
            return super().answer(root)

    wall = Wall()
    phone.transport = wall
    await phone.poll()

    assert len(wall.heard) == 3


async def test_a_phone_in_doubt_runs_nothing_before_the_server_proved_itself() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.doubts_the_server = True
    desk.orders = [reset(), reset()]

    await phone.poll()

    refused = desk.heard[1]
    assert refused.codes == {"0": "407", "401": "407", "501": "407", "601": "407"}
    assert phone.pins_made == 0
    nonce = base64.b64decode(refused.root.findtext("SyncBody/Status/Chal/Meta/NextNonce", ""))
    desk.cred = f"<Cred><Data>{digest('Latchkey', 'ours', nonce)}</Data></Cred>"
    phone.habits.doubts_the_server = False
    desk.orders = []
    await phone.poll()
    phone.habits.doubts_the_server = True
    assert phone.bond is not None
    desk.cred = f"<Cred><Data>{digest('Latchkey', 'ours', phone.bond.server_nonce)}</Data></Cred>"
    desk.orders = [reset()]
    desk.heard.clear()
    await phone.poll()

    assert desk.heard[1].codes["0"] == "212"
    assert phone.pins_made == 1


# Acts


@GENERATION
async def test_a_reset_makes_a_pin_that_is_told_once(generation: str) -> None:
    desk = Desk()
    phone = await enrolled(desk, generation)
    before, phone.locked = phone.passcode, False
    desk.orders = [reset(), get("701", f"{REMOTE}/NewPINValue")]

    await phone.poll()

    _, told, again = desk.heard
    assert told.codes == {"0": "200", "401": "200", "501": "200", "601": "200"}
    assert told.found == [("601", phone.passcode)]
    assert again.found == [("701", None)]
    assert phone.passcode is not None
    assert phone.passcode != before
    assert phone.passcode.isdigit() is (generation == "8.1")
    assert phone.passcode.isalnum()
    assert len(phone.passcode) == 8
    assert phone.locked
    assert (phone.pins_made, phone.effects) == (1, Counter({"501": 1}))
    assert phone.complaints == []


async def test_a_pin_asked_for_in_the_next_message_is_gone() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    desk.orders = [run("501", f"{REMOTE}/LockAndResetPIN"), get("601", f"{REMOTE}/NewPINValue")]

    await phone.poll()

    assert desk.heard[2].found == [("601", None)]


@pytest.mark.parametrize("pin", ["a&<Z 9", "007", " 12 ", "ÄÖ]]>"])
async def test_a_pin_comes_through_as_it_is(pin: str) -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.next_pins.append(pin)
    desk.orders = [reset()]

    await phone.poll()

    assert desk.heard[1].found == [("601", pin)]


@pytest.mark.parametrize(("silent", "found"), [("missing", []), ("empty", [("601", "")]), ("bare", [("601", None)])])
async def test_a_pin_that_is_not_told_can_look_in_three_ways(silent: str, found: list[Any]) -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.silent_pin = silent
    desk.orders = [reset()]

    await phone.poll()

    assert desk.heard[1].found == found
    assert desk.heard[1].codes["501"] == "200"


async def test_a_pin_can_be_told_twice_and_the_parent_last() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.pin_twice = phone.habits.parent_last = True
    desk.orders = [reset()]

    await phone.poll()

    assert [value for _, value in desk.heard[1].found] == [phone.passcode, "another"]
    assert list(desk.heard[1].codes) == ["0", "501", "601", "401"]


async def test_a_refusal_ends_the_sequence_and_names_windows_own_error() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.refusing = True
    desk.orders = [reset()]

    await phone.poll()

    assert desk.heard[1].codes == {"0": "200", "401": "200", "501": "500", "601": "215"}
    assert b'originalerror="0x80004005"' in desk.heard[1].raw
    assert (phone.pins_made, phone.effects) == (0, Counter())


async def test_a_lock_needs_a_pin() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.locked = False
    desk.orders = [run("501", f"{REMOTE}/Lock")]
    await phone.poll()
    assert phone.locked

    phone.passcode, phone.locked = None, False
    desk.orders = [run("502", f"{REMOTE}/Lock")]
    await phone.poll()

    assert [one.codes.get("501") or one.codes.get("502") for one in desk.heard if len(one.codes) == 2] == [
        "200",
        "405",
    ]
    assert (phone.locked, phone.effects) == (False, Counter({"501": 1}))


async def test_a_phone_of_a_directory_is_wiped_by_a_reset_and_complains() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.aad_device_id = "8f4f"
    desk.orders = [get("1", f"{PROVIDER}/AADDeviceID"), reset()]

    await phone.poll()

    assert desk.heard[1].found == [("1", "8f4f")]
    assert phone.erased
    assert phone.complaints


@pytest.mark.parametrize("farewell", [("report",), ()])
async def test_a_wiped_phone_may_say_so_and_is_gone(farewell: tuple[str, ...]) -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.farewell = farewell
    desk.orders = [run("501", "./Vendor/MSFT/RemoteWipe/doWipe")]

    await phone.poll()
    await phone.poll()

    assert [one.codes.get("501") for one in desk.heard] == [None, "200"][: 1 + len(farewell)]
    assert (phone.erased, phone.enrolled, phone.passcode, phone.bond) == (True, False, None, None)


@pytest.mark.parametrize(
    ("generation", "path", "leaves"),
    [
        ("8.1", "./Vendor/MSFT/DMClient/Unenroll", True),
        ("8.1", f"{PROVIDER}/Unenroll", False),
        ("10", f"{PROVIDER}/Unenroll", True),
        ("10", "./Vendor/MSFT/DMClient/Unenroll", True),
    ],
)
async def test_a_phone_that_is_let_go_answers_in_a_new_session(generation: str, path: str, leaves: bool) -> None:
    desk = Desk()
    phone = await enrolled(desk, generation)
    desk.orders = [run("501", path)]

    await phone.poll()

    assert phone.enrolled is not leaves
    last = desk.heard[-1]
    assert last.codes == ({} if leaves else {"0": "200", "501": "404"})
    assert ("1226" in last.alerts) is leaves
    if leaves:
        assert last.head("MsgID") == "1"
        assert b"com.microsoft:mdm.unenrollment.userrequest" in last.raw


async def test_an_account_that_is_removed_by_hand_is_said_once() -> None:
    desk = Desk()
    phone = await enrolled(desk)

    await phone.check_out()

    assert [one.alerts[-1] for one in desk.heard] == ["1226"]
    assert not phone.enrolled


# Nodes


@pytest.mark.parametrize(
    ("path", "on_8_1", "on_10"),
    [
        ("./DevDetail/SwV", "8.10.14219.341", "10.0.15254.603"),
        ("./Vendor/MSFT/DeviceStatus/OS/Edition", None, "104"),
        (f"{PROVIDER}/AADDeviceID", None, None),
        (f"{PROVIDER}/Push/ChannelURI", None, None),
        ("./Vendor/MSFT/Nothing", None, None),
    ],
)
async def test_each_generation_has_its_own_nodes(path: str, on_8_1: str | None, on_10: str | None) -> None:
    for generation, value in (("8.1", on_8_1), ("10", on_10)):
        desk = Desk()
        phone = await enrolled(desk, generation)
        desk.orders = [get("501", path)]

        await phone.poll()

        assert desk.heard[1].codes["501"] == ("404" if value is None else "200")
        assert desk.heard[1].found == ([] if value is None else [("501", value)])


async def test_an_upgrade_keeps_the_bond_changes_the_behaviour_and_loses_the_channel() -> None:
    desk = Desk()
    phone = await enrolled(desk, "8.1")
    phone.open_channel("Latchkey_1")
    bond, channel = phone.bond, phone.channel

    phone.upgrade()
    desk.orders = [get("1", "./DevDetail/SwV"), reset()]
    await phone.poll()

    assert phone.bond is bond
    assert (phone.pfn, phone.channel == channel) == (None, False)
    assert desk.heard[1].found == [("1", "10.0.15254.603")]
    assert phone.passcode is not None
    assert not phone.passcode.isdigit()


# Roads that are cut


async def test_a_message_without_an_answer_is_said_again_byte_for_byte_and_nothing_run_twice() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    desk.orders = [reset()]
    phone.habits.losing_answers = 1
    await phone.poll()
    phone.habits.losing_results = 1
    await phone.poll()
    pin = phone.passcode

    await phone.poll()

    first, again, told = desk.heard
    assert first.raw == again.raw
    assert told.found == [("601", pin)]
    assert (phone.pins_made, phone.effects) == (1, Counter({"501": 1}))


async def test_a_message_that_never_arrives_is_given_up_and_a_new_session_begun() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    desk.cut = REPEATS + 1

    for _ in range(REPEATS + 2):
        await phone.poll()

    (heard,) = desk.heard
    assert heard.head("MsgID") == "1"
    assert heard.head("SessionID") == f"{0xA0 + 3:X}"


async def test_a_restart_in_the_middle_of_a_reset_loses_the_pin_for_ever() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    before = phone.passcode
    phone.habits.reboots_in_reset = 1
    desk.orders = [reset()]

    await phone.poll()
    desk.orders = [get("1", f"{REMOTE}/NewPINValue")]
    await phone.poll()

    assert phone.passcode != before
    assert desk.heard[-1].found == [("1", None)]
    assert desk.heard[-2].head("MsgID") == "1"
    assert phone.pins_made == 1


async def test_who_is_offline_says_nothing_and_goes_on_when_it_is_back() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.go_offline()
    await phone.poll()
    assert desk.heard == []

    await phone.go_online()
    await phone.poll()

    assert len(desk.heard) == 1


async def test_a_slow_phone_that_goes_away_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.slow = 1.0

    async def meanwhile(seconds: float) -> None:
        if seconds:
            phone.go_offline()

    monkeypatch.setattr(asyncio, "sleep", meanwhile)
    desk.orders = [reset()]
    await phone.poll()

    assert (phone.pins_made, len(desk.heard)) == (0, 1)


async def test_with_patience_a_cut_road_is_tried_again_by_itself() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.patience = 0.001
    desk.cut = 3

    await phone.poll()

    assert len(desk.heard) == 1


async def test_a_phone_that_repeats_itself_says_everything_twice_and_something_old_first() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.habits.repeating = True
    desk.orders = [reset()]

    await phone.poll()

    raws = [one.raw for one in desk.heard]
    assert raws[1] == raws[2]
    assert raws[3] == raws[4]
    assert desk.heard[0].head("SessionID") != desk.heard[1].head("SessionID")
    assert (phone.pins_made, phone.complaints) == (1, [])


# What a real phone would not understand


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (("<VerProto>DM/1.2</VerProto>", ""), "VerProto"),
        (("<SessionID>", "<SessionID>9"), "SessionID"),
        (("<Final/>", ""), "Final"),
        (("SYNCML:SYNCML1.2", "SYNCML:SYNCML1.1"), "no SyncML"),
        (("</SyncML>", ""), "no XML"),
        (("<MsgRef>1</MsgRef>", "<MsgRef>2</MsgRef>"), "another message"),
        (("<CmdRef>2</CmdRef>", "<CmdRef>77</CmdRef>"), "no status for our 2"),
        (("<CmdRef>0</CmdRef>", "<CmdRef>1</CmdRef>"), "begin with the status"),
        (("<CmdID>501</CmdID>", "<CmdID>601</CmdID>"), "numbers of their own"),
        (("<CmdID>501</CmdID>", "<CmdID>0</CmdID>"), "numbers of their own"),
        (("<CmdID>501</CmdID>", ""), "numbers of their own"),
        (("<Data>212</Data>", "<Data>407</Data>"), "orders for somebody"),
    ],
)
async def test_a_servers_mistake_is_a_complaint_and_nothing_is_run(broken: tuple[str, str], complaint: str) -> None:
    class Clumsy(Desk):
        def answer(self, root: Any) -> str:
            return super().answer(root).replace(*broken)

    phone = await enrolled(Desk())
    phone.transport = Clumsy(orders=[reset()])

    await phone.poll()

    assert any(complaint in one for one in phone.complaints)
    assert phone.pins_made == 0


# Being reached


async def test_a_phone_with_an_app_to_listen_for_is_woken_through_the_service(service: WnsService) -> None:
    desk = Desk()
    phone = await enrolled(desk)
    phone.service = service
    desk.orders = [put("Add", "1", f"{PROVIDER}/Push/PFN", "Latchkey_1"), get("2", f"{PROVIDER}/Push/ChannelURI")]
    await phone.poll()
    assert desk.heard[2].found == [("2", service.channel(phone.channel))]
    desk.heard.clear()

    service._take(phone.channel, {})
    await service.idle()

    assert desk.heard[0].alerts[0] == "1200"


async def test_without_a_service_there_is_no_channel() -> None:
    desk = Desk()
    phone = await enrolled(desk)
    desk.orders = [
        put("Add", "1", f"{PROVIDER}/Push/PFN", "Latchkey_1"),
        get("2", f"{PROVIDER}/Push/Status") + get("3", f"{PROVIDER}/Push/ChannelURI"),
    ]

    await phone.poll()

    assert dict(desk.heard[2].found)["2"] == "4"
    assert not dict(desk.heard[2].found)["3"]


async def test_a_push_for_another_channel_is_a_complaint() -> None:
    desk = Desk()
    phone = await enrolled(desk)

    await phone.wake(Wns("another"))

    assert phone.complaints
    assert desk.heard == []


async def test_pushes_that_come_in_a_session_are_one_more_session() -> None:
    desk = Desk()
    phone = await enrolled(desk)

    await asyncio.gather(*(phone.wake(phone.a_push()) for _ in range(10)))

    assert len(desk.heard) == 2


@pytest.mark.parametrize(("call", "minutes"), [(0, 15), (4, 15), (5, 60), (14, 60), (15, 1440), (10_000, 1440)])
async def test_it_calls_by_its_schedule(call: int, minutes: int) -> None:
    phone = await enrolled(Desk())

    assert phone.pause_before(call) == timedelta(minutes=minutes)


async def test_a_schedule_that_ends_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    phone = await enrolled(Desk())
    assert phone.bond is not None
    monkeypatch.setattr(phone.bond, "poll", [[15, 1], [0, 0], [0, 0]])

    assert [phone.pause_before(call) for call in range(3)] == [timedelta(minutes=15), None, None]


async def test_with_patience_the_schedule_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, loop = Desk(), asyncio.get_running_loop()
    phone = WindowsPhone(desk, patience=0.0)
    await phone.open_link("https://latchkey.example/enroll/x")
    due: list[tuple[float, Any]] = []
    monkeypatch.setattr(loop, "call_later", lambda pause, call: due.append((pause, call)))

    await phone.check_in()
    desk.heard.clear()
    for _ in range(6):
        due[-1][1]()
        assert phone._polling is not None
        await phone._polling

    assert [pause / 60 for pause, _ in due] == [15, 15, 15, 15, 15, 60, 60]
    assert len(desk.heard) == 6


# What is kept


@GENERATION
async def test_what_is_kept_is_a_property_list_and_brings_the_phone_back(generation: str) -> None:
    desk = Desk()
    phone = await enrolled(desk, generation)
    phone.open_channel("Latchkey_1")
    desk.orders = [reset()]
    await phone.poll()

    state = plistlib.loads(plistlib.dumps(phone.state()))
    again = WindowsPhone.restore(state, desk)

    assert again.state() == phone.state()
    assert (again.passcode, again.pins_made, again.effects) == (phone.passcode, 1, Counter({"501": 1}))
    desk.heard.clear()
    await again.poll()
    assert len(desk.heard) == 1


async def test_a_phone_without_a_pin_stays_without() -> None:
    phone = await enrolled(Desk())
    phone.passcode = None

    assert WindowsPhone.restore(phone.state(), Desk()).passcode is None


async def test_nothing_secret_is_printed() -> None:
    phone = await enrolled(Desk())

    printed = repr(phone)

    assert all(secret.decode() not in printed for secret in phone.secrets)
    assert phone.channel not in printed
