import contextlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platforms import syncml
from platforms.errors import Unreadable
from platforms.syncml import Alert, Cred, Group, Header, Item, Message, Meta, Operation, Results, Status, Stray

PACKAGE_1 = b"""<?xml version="1.0"?>
<SyncML xmlns="SYNCML:SYNCML1.2">
 <SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>A3F1</SessionID><MsgID>1</MsgID>
  <Target><LocURI>https://mdm.example/devices/wp81/dm </LocURI></Target>
  <Source><LocURI>urn:uuid:5b5b</LocURI><LocName>dev-17</LocName></Source>
  <Cred><Meta><Format xmlns="syncml:metinf">b64</Format><Type xmlns="syncml:metinf">syncml:auth-md5</Type></Meta>
   <Data>iHj974KaY7p39vJN1KX/5g==</Data></Cred>
 </SyncHdr>
 <SyncBody>
  <Alert><CmdID>2</CmdID><Data>1201</Data></Alert>
  <Alert><CmdID>3</CmdID><Data>1224</Data><Item><Meta><Type xmlns="syncml:metinf">com.microsoft/MDM/LoginStatus</Type>
   </Meta><Data>user</Data></Item></Alert>
  <Replace><CmdID>4</CmdID><Item><Source><LocURI>./DevInfo/DevId</LocURI></Source><Data>urn:uuid:5b5b</Data></Item>
   <Item><Source><LocURI>./DevInfo/DmV</LocURI></Source><Data>1.3</Data></Item></Replace>
  <Final/>
 </SyncBody>
</SyncML>"""

READ = Message(
    Header(
        "A3F1",
        "1",
        "https://mdm.example/devices/wp81/dm",
        "urn:uuid:5b5b",
        source_name="dev-17",
        cred=Cred("iHj974KaY7p39vJN1KX/5g=="),
    ),
    (
        Alert("2", "1201"),
        Alert("3", "1224", (Item(meta=Meta(type="com.microsoft/MDM/LoginStatus"), data="user"),)),
        Operation(
            "Replace",
            "4",
            (Item(source="./DevInfo/DevId", data="urn:uuid:5b5b"), Item(source="./DevInfo/DmV", data="1.3")),
        ),
    ),
)
HEAD = (
    "<SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID><MsgID>1</MsgID>"
    "<Target><LocURI>t</LocURI></Target><Source><LocURI>s</LocURI></Source></SyncHdr>"
)


def spoken(body: str, *, root: str = '<SyncML xmlns="SYNCML:SYNCML1.2">', before: str = "") -> bytes:
    return f"{before}{root}{HEAD}<SyncBody>{body}</SyncBody></SyncML>".encode()


def heard(body: str) -> tuple[syncml.Command, ...]:
    return syncml.parse(spoken(body)).commands


def test_a_first_package_is_read() -> None:
    assert syncml.parse(PACKAGE_1) == READ


def test_a_reset_is_written_in_the_order_of_the_dtd() -> None:
    path = "./Vendor/MSFT/RemoteLock/"
    message = Message(
        Header("A3F1", "2", "urn:uuid:5b5b", "https://mdm.example/devices/wp81/dm"),
        (
            Status("1", "2", "0", "SyncHdr", "212", chal=Meta(format="b64", type="syncml:auth-md5", next_nonce="8PHy")),
            Group(
                "Sequence",
                "4",
                (
                    Operation("Exec", "5", (Item(target=f"{path}LockAndResetPIN"),)),
                    Operation("Get", "6", (Item(target=f"{path}NewPINValue"),)),
                ),
            ),
        ),
    )

    assert syncml.write(message).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?><SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD>'
        "<VerProto>DM/1.2</VerProto><SessionID>A3F1</SessionID><MsgID>2</MsgID>"
        "<Target><LocURI>urn:uuid:5b5b</LocURI></Target>"
        "<Source><LocURI>https://mdm.example/devices/wp81/dm</LocURI></Source></SyncHdr><SyncBody>"
        "<Status><CmdID>1</CmdID><MsgRef>2</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Chal><Meta>"
        '<Format xmlns="syncml:metinf">b64</Format><Type xmlns="syncml:metinf">syncml:auth-md5</Type>'
        '<NextNonce xmlns="syncml:metinf">8PHy</NextNonce></Meta></Chal><Data>212</Data></Status>'
        "<Sequence><CmdID>4</CmdID>"
        "<Exec><CmdID>5</CmdID><Item><Target><LocURI>./Vendor/MSFT/RemoteLock/LockAndResetPIN</LocURI></Target></Item></Exec>"
        "<Get><CmdID>6</CmdID><Item><Target><LocURI>./Vendor/MSFT/RemoteLock/NewPINValue</LocURI></Target></Item></Get>"
        "</Sequence><Final/></SyncBody></SyncML>"
    )


@pytest.mark.parametrize(
    "root",
    ["<SyncML>", '<SyncML xmlns="syncml:SYNCML1.1">', '<x:SyncML xmlns:x="SYNCML:SYNCML1.2" xmlns="SYNCML:SYNCML1.2">'],
)
def test_19_a_namespace_that_is_missing_is_read_as_if_it_were_there(root: str) -> None:
    body = "<Alert><CmdID>1</CmdID><Data>1224</Data><Item><Meta><Type>t</Type></Meta></Item></Alert>"
    closing = "</x:SyncML>" if root.startswith("<x:") else "</SyncML>"

    message = syncml.parse(spoken(body, root=root).replace(b"</SyncML>", closing.encode()))

    assert message.commands == (Alert("1", "1224", (Item(meta=Meta(type="t")),)),)


def test_children_come_in_any_order_and_commands_keep_theirs() -> None:
    body = (
        "<Final/><Status><Data>200</Data><Cmd>Get</Cmd><CmdRef>6</CmdRef><MsgRef>2</MsgRef><CmdID>4</CmdID></Status>"
        "<Results><Item><Data>1234</Data><Source><LocURI>./a</LocURI></Source></Item><CmdRef>6</CmdRef><CmdID>5</CmdID></Results>"
        "<Get><Item/><CmdID>7</CmdID></Get>"
    )

    assert heard(body) == (
        Status("4", "2", "6", "Get", "200"),
        Results("5", "6", (Item(source="./a", data="1234"),)),
        Operation("Get", "7", (Item(),)),
    )


def test_a_value_is_read_exactly_and_empty_is_not_absent() -> None:
    body = (
        "<Results><CmdID>1</CmdID><CmdRef>2</CmdRef><Item><Data> a&amp;&lt;Z\t9 </Data></Item>"
        "<Item><Data/></Item><Item/></Results>"
        "<Results><CmdID>2</CmdID><CmdRef>2</CmdRef><Item><Data><![CDATA[<&]]>;</Data><MoreData/></Item></Results>"
    )

    assert heard(body) == (
        Results("1", "2", (Item(data=" a&<Z\t9 "), Item(data=""), Item())),
        Results("2", "2", (Item(data="<&;", more_data=True),)),
    )


def test_the_error_of_windows_stands_beside_the_code() -> None:
    body = (
        f'<Status xmlns:msft="{syncml.MICROSOFT}"><CmdID>3</CmdID><MsgRef>2</MsgRef><CmdRef>5</CmdRef><Cmd>Exec</Cmd>'
        '<Data msft:originalerror="0x80070032">500</Data></Status>'
    )

    assert heard(body) == (Status("3", "2", "5", "Exec", "500", original_error="0x80070032"),)


def test_what_is_no_command_is_kept_as_a_stray_and_an_extension_is_passed_over() -> None:
    extension = '<e:More xmlns:e="urn:elsewhere"><Get><CmdID>1</CmdID></Get></e:More>'
    body = f"<Get><Item/></Get><Dance><CmdID>9</CmdID></Dance>{extension}"

    assert heard(body) == (Stray("Get"), Stray("Dance", "9"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_15_the_bytes_say_their_encoding(encoding: str) -> None:
    declared = "" if encoding == "utf-8-sig" else f' encoding="{encoding}"'
    text = spoken("<Alert><CmdID>1</CmdID><Data>é</Data></Alert>", before=f'<?xml version="1.0"{declared}?>').decode()

    assert syncml.parse(text.encode(encoding)).commands == (Alert("1", "é"),)


def test_15_utf_16_without_a_mark_is_told_from_wbxml() -> None:
    text = spoken("", before='<?xml version="1.0" encoding="utf-16"?>').decode()

    assert syncml.parse(text.encode("utf-16-be")).commands == ()


@pytest.mark.parametrize("start", [b"\x00", b"\x01", b"\x02\xa4\x01j\x00", b"\x03\x01j\x00"])
def test_15_wbxml_is_recognised(start: bytes) -> None:
    with pytest.raises(syncml.Binary):
        syncml.parse(start + b"anything")


BOMB = '<!DOCTYPE s [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text",
        PACKAGE_1[:-1],
        PACKAGE_1 + b"<more/>",
        b"<SyncML/>",
        b'<SyncML xmlns="urn:elsewhere"/>',
        spoken("").replace(b"<MsgID>1</MsgID>", b""),
        spoken("").replace(b"<MsgID>1</MsgID>", b"<MsgID> </MsgID>"),
        spoken("").replace(b"<LocURI>t", b"<LocURI>" + b"t" * (syncml.MAX_URI + 1)),
        spoken("").replace(b"<SessionID>1", b"<SessionID>" + b"1" * (syncml.MAX_WORD + 1)),
        spoken("&b;", before=BOMB),
        spoken("", before=BOMB),
        spoken("", before="<!DOCTYPE SyncML>"),
        spoken("&x;", before='<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        spoken("", before='<!DOCTYPE s SYSTEM "http://127.0.0.1:9/x.dtd">'),
        spoken("&nbsp;"),
        spoken("<Alert><CmdID>1</CmdID><Data>\x01</Data></Alert>"),
        spoken("", before='<?xml version="1.0" encoding="cp037"?>'),
        spoken("", before='<?xml version="1.0" encoding="idna"?>'),
        b"\xff\xfe<",
    ],
    ids=range(20),
)
def test_15_what_is_no_sound_message_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        syncml.parse(body)


def deep(levels: int) -> bytes:
    """SyncML and SyncBody are two levels, the CmdID is the last."""
    groups = levels - 3
    return spoken("<Sequence><CmdID>1</CmdID>" * groups + "</Sequence>" * groups)


def test_15_depth_is_bounded() -> None:
    assert syncml.parse(deep(syncml.MAX_DEPTH)).final is False
    with pytest.raises(Unreadable):
        syncml.parse(deep(syncml.MAX_DEPTH + 1))


def test_15_a_stranger_s_elements_count_for_depth_too() -> None:
    with pytest.raises(Unreadable):
        syncml.parse(spoken('<e:a xmlns:e="urn:e">' * 62 + "</e:a>" * 62))


def test_15_commands_are_counted_nested_ones_among_them() -> None:
    gets = "<Get><CmdID>1</CmdID></Get>"
    full = "<Sequence><CmdID>1</CmdID>" + gets * (syncml.MAX_COMMANDS - 1) + "</Sequence>"

    assert len(heard(full)) == 1
    with pytest.raises(Unreadable):
        heard(full + gets)


def test_15_elements_are_counted() -> None:
    with pytest.raises(Unreadable):
        heard("<Alert><CmdID>1</CmdID>" + "<x/>" * syncml.MAX_ELEMENTS + "</Alert>")


def test_15_a_body_has_an_end() -> None:
    fill = syncml.MAX_BODY - len(spoken("<Alert><CmdID>1</CmdID><Item><Data></Data></Item></Alert>"))

    def filled(size: int) -> str:
        return f"<Alert><CmdID>1</CmdID><Item><Data>{'x' * size}</Data></Item></Alert>"

    assert isinstance(heard(filled(fill))[0], Alert)
    with pytest.raises(Unreadable):
        heard(filled(fill + 1))


@pytest.mark.parametrize(
    "body",
    [
        spoken("<a/>" * 200_000),
        spoken("<Alert><CmdID>1</CmdID><Item><Data>" + "&#65;" * 200_000 + "</Data></Item></Alert>"),
        spoken("<Alert><CmdID>1</CmdID><Item><Data>" + "\r\n" * 500_000 + "</Data></Item></Alert>"),
        spoken("<Alert " + " ".join(f'a{place}="1"' for place in range(90_000)) + "/>"),
        spoken("<!--" + "-x" * 500_000 + "-->"),
        spoken("<![CDATA[x]]>" * 75_000),
        spoken("<Alert><CmdID>" + " " * 900_000 + "</CmdID></Alert>"),
    ],
    ids=["elements", "references", "lines", "attributes", "comment", "cdata", "blanks"],
)
def test_15_no_body_takes_long(body: bytes) -> None:
    assert len(body) <= syncml.MAX_BODY
    started = time.process_time()
    with contextlib.suppress(Unreadable):
        syncml.parse(body)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("value", ["\x00", "\x0b", "\ud800", "￾"])
def test_what_xml_has_no_place_for_is_not_written(value: str) -> None:
    with pytest.raises(ValueError, match="character"):
        syncml.write(Message(READ.header, (Operation("Get", "1", (Item(data=value),)),)))


def test_a_passcode_is_not_printed() -> None:
    message = Message(
        Header("1", "1", "t", "s", cred=Cred("hidden-digest")),
        (
            Results("1", "2", (Item(source="./a", data="hidden-pin"),)),
            Status("2", "1", "0", "SyncHdr", "401", chal=Meta(next_nonce="hidden-nonce")),
        ),
    )

    assert "hidden" not in repr(message)


# Any value, any bytes

characters = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")).filter(
    lambda sign: sign not in "\ufffe\uffff"
)
blank = " \t\r\n"
words = st.text(characters, min_size=1, max_size=12).filter(lambda text: text == text.strip(blank))
maybe = st.none() | words
data = st.none() | st.text(characters | st.sampled_from("\t\n\r"), max_size=20)
metas = st.builds(Meta, maybe, maybe, maybe, maybe, maybe, maybe, maybe)
creds = st.builds(Cred, st.just("") | words, maybe, maybe)
items = st.lists(st.builds(Item, maybe, maybe, st.none() | metas, data, st.booleans()), max_size=3).map(tuple)
uris = st.lists(words, max_size=2).map(tuple)
name_signs = st.sampled_from("abcXYZé_")
strays = st.builds(Stray, st.text(name_signs, min_size=1, max_size=8).map(lambda name: "x" + name), maybe) | st.builds(
    Stray, st.sampled_from(["Status", "Results", "Alert", "Get", "Sequence"])
)
texts = st.just("") | words
leaves: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        Status, words, texts, texts, texts, texts, uris, uris, st.none() | creds, st.none() | metas, items, maybe
    ),
    st.builds(Results, words, texts, items, maybe, maybe, st.none() | metas, maybe, maybe),
    st.builds(Alert, words, texts, items, maybe),
    st.builds(Operation, st.sampled_from(sorted(syncml.VERBS)), words, items, st.none() | metas, maybe),
    strays,
)
commands = st.recursive(
    leaves,
    lambda inner: st.builds(
        Group,
        st.sampled_from(sorted(syncml.GROUPS)),
        words,
        st.lists(inner, max_size=3).map(tuple),
        st.none() | metas,
    ),
    max_leaves=6,
)
headers = st.builds(
    Header,
    words,
    words,
    texts,
    texts,
    maybe,
    maybe,
    maybe,
    st.booleans(),
    st.none() | creds,
    st.none() | metas,
    words,
    words,
)
messages = st.builds(Message, headers, st.lists(commands, max_size=4).map(tuple), st.booleans())


@given(message=messages)
def test_what_was_written_is_read_as_it_was(message: Message) -> None:
    assert syncml.parse(syncml.write(message)) == message


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_unreadable(body: bytes) -> None:
    with contextlib.suppress(Unreadable):
        syncml.parse(body)


@settings(max_examples=300)
@given(message=messages, rest=st.data())
def test_broken_messages_are_read_or_unreadable(message: Message, rest: st.DataObject) -> None:
    body = bytearray(syncml.write(message))
    for _ in range(rest.draw(st.integers(1, 4))):
        place = rest.draw(st.integers(0, len(body) - 1))
        body[place : place + rest.draw(st.integers(0, 6))] = rest.draw(st.binary(max_size=6))
        if not body:
            break
    try:
        read = syncml.parse(bytes(body))
    except Unreadable:
        return
    assert syncml.parse(syncml.write(read)) == read
