"""The numbers in the names are those of the list of cases that the protocol was gone through with."""

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.vocabulary import Act, JobState
from platforms import dm_session, syncml, windows_phone
from platforms.identity import make_ca
from platforms.syncml import Alert, Command, Item, Meta, Operation, Results, Status, Stray
from tests.platforms.conformance import NOW, environ
from tests.platforms.windows_phone.phone import (
    NONCE,
    PACKAGE_1,
    Phone,
    bound,
    codes,
    ended,
    orders,
    sequence,
    told,
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def phone(keys: Path) -> Phone:
    return bound("wp81", keys)


def alert(code: str, kind: str | None = None, data: str | None = None, ref: str = "9") -> Alert:
    return Alert(ref, code, () if kind is None else (Item(meta=Meta(type=kind), data=data),))


@pytest.mark.parametrize(
    ("name", "secret", "nonce", "digest"),
    [
        ("Bruce2", "OhBehave", b"Nonce", "Zz6EivR3yeaaENcRN6lpAQ=="),
        ("dev-17", "s3cret", base64.b64decode("8PHy8/T19vf4+fr7/P3+/w=="), "iHj974KaY7p39vJN1KX/5g=="),
    ],
)
def test_01_digests_are_those_of_the_protocol(name: str, secret: str, nonce: bytes, digest: str) -> None:
    assert dm_session.digest(dm_session.key_of(name, secret), nonce) == digest


def test_01_a_stale_nonce_is_challenged_once_more_and_then_good(phone: Phone) -> None:
    first = phone.say(*PACKAGE_1, proof=b"stale")
    assert codes(first) == [("0", "401"), ("2", "401"), ("3", "401")]
    phone.keep_nonce()
    before = phone.said

    second = phone.say(Status("1", before, "0", "SyncHdr", "200"), *PACKAGE_1, proof=phone.nonce)

    assert codes(second) == [("0", "212"), ("2", "200"), ("3", "200")]
    assert phone.said == "2"


def test_01_after_two_failures_there_is_no_challenge(phone: Phone) -> None:
    first = phone.say(*PACKAGE_1, proof=b"wrong")
    second = phone.say(*PACKAGE_1, proof=b"wrong")

    heads = [next(one for one in answer if isinstance(one, Status)) for answer in (first, second)]
    assert [(head.code, head.chal is not None) for head in heads] == [("401", True), ("401", False)]


def test_01_each_session_has_a_nonce_of_its_own(phone: Phone) -> None:
    phone.begin(session="1")
    used = phone.nonce
    assert used != NONCE

    phone.begin(session="2")

    assert phone.nonce != used
    phone.session, phone.message = "3", 0
    assert codes(phone.say(*PACKAGE_1, proof=used))[0] == ("0", "401")


def test_02_a_package_without_proof_is_asked_for_it_and_given_no_orders(phone: Phone) -> None:
    phone.house.ask(phone.bond)

    answer = phone.say(*PACKAGE_1)

    assert codes(answer) == [("0", "407"), ("2", "407"), ("3", "407")]
    assert orders(answer) == []
    head = answer[0]
    assert isinstance(head, Status)
    assert head.chal is not None
    assert (head.chal.type, head.chal.format) == ("syncml:auth-md5", "b64")
    assert phone.heard is not None
    assert phone.heard.final


def test_02_a_challenge_leaves_an_open_session_as_it_is(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call("1"))
    session, message, heard = phone.session, phone.message, phone.heard

    phone.session, phone.message = "2", 0
    phone.say(*PACKAGE_1, proof=b"somebody else")
    phone.session, phone.message, phone.heard = session, message, heard
    phone.say(*told(phone, order, "200", "1234"))

    assert ended(job) == (JobState.SUCCEEDED, None)


def test_03_a_device_that_has_more_to_say_is_asked_for_it(phone: Phone) -> None:
    phone.house.ask(phone.bond)
    answer = phone.say(*PACKAGE_1, final=False, proof=NONCE)

    assert [one.code for one in answer if isinstance(one, Alert)] == ["1222"]
    assert orders(answer) == []
    assert phone.heard is not None
    assert not phone.heard.final
    assert orders(phone.say(Status("1", phone.said, "0", "SyncHdr", "200")))
    assert phone.heard.final


def test_03_answers_may_come_in_several_messages(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    *early, last = told(phone, order, "200", "1234")

    answer = phone.say(*early, final=False)
    assert [one.code for one in answer if isinstance(one, Alert)] == ["1222"]
    assert job.outcomes == []
    phone.say(last)

    assert ended(job) == (JobState.SUCCEEDED, None)


def test_03_an_abort_is_answered_and_what_was_told_before_it_counts(phone: Phone) -> None:
    job, next_one = phone.house.ask(phone.bond), phone.house.ask(phone.bond, Act.REMOTE_LOCK)
    order = sequence(phone.call())

    answer = phone.say(*told(phone, order, "200", "1234"), alert("1223"))

    assert codes(answer) == [("0", "200"), ("9", "200")]
    assert orders(answer) == []
    assert ended(job) == (JobState.SUCCEEDED, None)
    assert next_one.command.state is JobState.WAITING
    phone.say()
    assert phone.reply is not None
    assert phone.reply.status == 400


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("com.microsoft/MDM/LoginStatus", "user", "200"),
        (" Reversed-Domain-Name:com.microsoft/MDM/LoginStatus ", "none", "200"),
        ("com.elsewhere", "1", "406"),
    ],
)
def test_03_an_event_is_answered_by_its_kind(phone: Phone, kind: str, data: str, code: str) -> None:
    assert ("9", code) in codes(phone.begin(alert("1224", kind, data)))


def test_03_a_phone_that_is_still_at_it_keeps_its_session(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    said = phone.said

    answer = phone.say(alert("1224", "com.microsoft/MDM/com.microsoft.mdm.requestpending", "1"))
    assert [one.code for one in answer if isinstance(one, Alert)] == ["1222"]
    assert job.outcomes == []
    late = [
        Status(one.cmd_id, said, one.cmd_ref, one.cmd, one.code)
        if isinstance(one, Status) and one.cmd_ref != "0"
        else one
        for one in told(phone, order, "200", None)
    ]
    phone.say(*late, Results("5", order.commands[1].cmd_id or "", (Item(data="1234"),), msg_ref=said))

    assert ended(job) == (JobState.SUCCEEDED, None)


@pytest.mark.parametrize(("session"), ["0", "A3F1", "65535"])
def test_06_a_session_s_name_is_said_back_as_it_came(phone: Phone, session: str) -> None:
    phone.begin(session=session)

    assert phone.heard is not None
    assert phone.heard.header.session_id == session


def test_06_a_message_that_comes_again_is_answered_alike_and_does_nothing(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    octets, reply = phone.last, phone.reply

    phone.send(octets)
    assert phone.reply == reply
    assert job.command.offers == 1
    phone.say(*told(phone, order, "200", "1234"))
    octets, reply = phone.last, phone.reply
    phone.send(octets)

    assert phone.reply == reply
    assert ended(job) == (JobState.SUCCEEDED, None)


def test_06_one_number_with_another_body_ends_the_session(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    heard = phone.heard
    phone.message -= 1
    phone.say(alert("1201"), alert("1222", ref="10"))
    assert phone.reply is not None
    assert phone.reply.status == 400

    phone.heard = heard
    phone.say(*told(phone, order, "200", "1234"))

    assert phone.reply.status == 400
    assert job.outcomes == []


def test_06_a_name_that_was_used_before_begins_a_new_session(phone: Phone) -> None:
    phone.begin(session="7")

    assert orders(phone.begin(session="7"))
    assert phone.said == "1"


def test_06_an_order_that_was_never_answered_is_offered_again(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    first = sequence(phone.call("1"))

    again = sequence(phone.call("2"))

    assert again.commands[0].cmd_id == first.commands[0].cmd_id == job.command.ref
    assert job.command.offers == 2
    phone.say(*told(phone, again, "200", "1234"))
    assert ended(job) == (JobState.SUCCEEDED, None)


def test_07_a_second_session_takes_the_first_one_s_place(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call("1"))
    message, heard = phone.message, phone.heard
    phone.begin(session="2")

    phone.session, phone.message, phone.heard = "1", message, heard
    phone.say(*told(phone, order, "200", "1234"))

    assert phone.reply is not None
    assert phone.reply.status == 400
    assert job.outcomes == []


def test_05_what_was_not_asked_here_is_not_heard(phone: Phone) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    ref = order.commands[1].cmd_id or ""
    foreign = [
        Results("6", "77", (Item(data="foreign"),), msg_ref=phone.said),
        Results("7", ref, (Item(data="foreign"),), msg_ref="1"),
        Results("8", ref, (Item(source="./DevDetail/SwV", data="foreign"),), msg_ref=phone.said),
    ]

    phone.say(*foreign, *told(phone, order, "200", "1234"))

    assert job.outcomes[0].passcode is not None
    assert job.outcomes[0].passcode.text() == "1234"


def test_a_command_that_is_none_is_answered(phone: Phone) -> None:
    answer = phone.begin(Stray("Dance", "8"), Stray("Get"), Operation("Get", "10", (Item(target="./a"),)))

    assert codes(answer)[-3:] == [("8", "400"), ("", "400"), ("10", "406")]


def test_a_phone_that_doubts_us_is_shown_our_proof(phone: Phone) -> None:
    asked = phone.begin()
    nonce = base64.b64encode(b"\xff from the phone").decode()
    head = Status(
        "1", phone.said, "0", "SyncHdr", "407", chal=Meta(format="b64", type=dm_session.MD5, next_nonce=nonce)
    )
    refused: list[Command] = [
        head,
        *(Status(str(place), phone.said, one.cmd_id or "", "Get", "407") for place, one in enumerate(orders(asked), 2)),
    ]

    again = phone.say(*refused)

    assert phone.heard is not None
    cred = phone.heard.header.cred
    assert cred is not None
    assert phone.heard.header.source_name == "Latchkey"
    assert cred.data == dm_session.digest(dm_session.key_of("Latchkey", "ours"), b"\xff from the phone")
    assert len(orders(again)) == len(orders(asked))


def test_14_a_certificate_proves_the_phone_and_must_come_with_every_message(phone: Phone, keys: Path) -> None:
    give_certificate(phone, keys)
    answer = phone.begin()
    assert codes(answer)[0] == ("0", "212")
    phone.certificate = None

    phone.introduce(answer)

    assert phone.reply is not None
    assert phone.reply.status == 400


def test_14_a_certificate_of_another_is_turned_away(phone: Phone, keys: Path) -> None:
    give_certificate(phone, keys)
    phone.dev_id = "urn:uuid:another"
    phone.begin()
    assert phone.reply is not None
    assert phone.reply.status in {400, 403}
    phone.dev_id = "urn:uuid:5b5b"

    phone.certificate = issue(make_ca("Strangers", NOW))
    phone.begin()

    assert phone.reply.status == 400


def issue(authority: object) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return authority.issue(public, "x", NOW).public_bytes(Encoding.DER)  # type: ignore[attr-defined]


def give_certificate(phone: Phone, keys: Path) -> None:
    from platforms.identity import DeviceCA, certificate_hash, parse_certificate

    told_env = environ(keys)
    from models.vocabulary import Secret

    authority = DeviceCA.from_pem(told_env["DEVICE_CA_CERTIFICATE"], Secret(told_env["DEVICE_CA_KEY"].encode()))
    phone.certificate = issue(authority)
    phone.bond.certificate_hash = certificate_hash(parse_certificate(phone.certificate))


@pytest.mark.parametrize(
    ("kind", "body"), [(syncml.MIME_BINARY, b"\x02\xa4\x01j\x00"), (syncml.MIME, b"\x03\x01j\x00")]
)
def test_15_wbxml_is_refused_with_what_is_spoken_here(phone: Phone, kind: str, body: bytes) -> None:
    phone.send(body, kind)

    assert phone.reply is not None
    assert phone.reply.status == 415
    assert phone.reply.headers["Accept"] == syncml.MIME


@pytest.mark.parametrize(("size", "code", "pin"), [("8", "200", "12345678"), ("9", "424", None)])
def test_17_a_value_in_pieces_is_put_together(phone: Phone, size: str, code: str, pin: str | None) -> None:
    job = phone.house.ask(phone.bond)
    order = sequence(phone.call())
    said, ref = phone.said, order.commands[1].cmd_id or ""
    head = told(phone, order, "200", None)
    piece = Item(source=windows_phone.NEW_PIN, meta=Meta(size=size), data="1234", more_data=True)

    answer = phone.say(*head, Results("6", ref, (piece,), msg_ref=said), final=False)
    assert ("6", "213") in codes(answer)
    assert [one.code for one in answer if isinstance(one, Alert)] == ["1222"]
    rest = Item(source=windows_phone.NEW_PIN, data="5678")
    answer = phone.say(Results("2", ref, (rest,), msg_ref=said))

    assert ("2", code) in codes(answer)
    if pin is None:
        assert job.outcomes == []
    else:
        assert job.outcomes[0].passcode is not None
        assert job.outcomes[0].passcode.text() == pin


def test_17_a_piece_too_many_is_refused_and_an_interruption_drops_what_came(phone: Phone) -> None:
    phone.house.ask(phone.bond)
    order = sequence(phone.call())
    said, ref = phone.said, order.commands[1].cmd_id or ""
    vast = Item(meta=Meta(size=str(dm_session.MAX_OBJECT + 1)), data="1", more_data=True)
    assert ("6", "413") in codes(phone.say(Results("6", ref, (vast,), msg_ref=said), final=False))
    piece = Item(meta=Meta(size="4"), data="12", more_data=True)
    phone.say(Results("6", ref, (piece,), msg_ref=said), final=False)
    assert phone.memory.session is not None
    assert phone.memory.session.partial is not None

    phone.say(alert("1225"), final=False)

    assert phone.memory.session is not None
    assert phone.memory.session.partial is None


def test_20_nothing_of_a_passcode_is_printed_or_remembered(phone: Phone) -> None:
    phone.house.ask(phone.bond)
    order = sequence(phone.call())
    phone.say(*told(phone, order, "200", "8462913507"))

    assert "8462913507" not in "\n".join(map(repr, phone.house.seen))
    assert phone.bond.memory is not None
    assert b"8462913507" not in phone.bond.memory.value


def test_memory_is_read_as_it_was_written(phone: Phone) -> None:
    phone.house.ask(phone.bond)
    phone.call()
    memory = phone.memory

    assert dm_session.Memory.read(memory.write()) == memory


words = st.sampled_from(
    ["0", "1", "2", "5", "A3F1", "200", "212", "401", "407", "1201", "1222", "1223", "1224", "1226", "x"]
)
items = st.lists(
    st.builds(
        Item,
        st.none(),
        st.sampled_from([None, windows_phone.NEW_PIN, windows_phone.VERSION]),
        st.none() | st.builds(Meta, type=st.sampled_from([dm_session.UNENROLLED, "x"]), size=words),
        st.none() | st.text("ab<&1", max_size=6),
        st.booleans(),
    ),
    max_size=2,
).map(tuple)
said = st.one_of(
    st.builds(Status, words, words, words, words, words, chal=st.none() | st.builds(Meta, next_nonce=words)),
    st.builds(Results, words, words, items, st.none() | words),
    st.builds(Alert, words, words, items),
    st.builds(Operation, st.sampled_from(["Get", "Replace", "Exec"]), words, items),
    st.builds(Stray, st.just("Dance"), st.none() | words),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talk=st.lists(st.tuples(st.lists(said, max_size=5), st.booleans(), st.booleans()), max_size=4))
def test_any_talk_is_answered_or_refused(keys: Path, talk: list[tuple[list[Command], bool, bool]]) -> None:
    phone = bound("windows10mobile", keys)
    phone.house.ask(phone.bond)
    phone.call()
    for commands, final, skip in talk:
        phone.message += skip
        phone.say(*commands, final=final)
        assert phone.reply is not None
        assert phone.reply.status in {200, 400, 403}
