"""SyncML 1.2 as OMA device management speaks it: bytes ↔ frozen values, and nothing is decided here.

Representation: https://www.openmobilealliance.org/release/DM/V1_2-20070209-A/OMA-TS-DM_RepPro-V1_2-20070209-A.pdf
Elements and order: https://www.openmobilealliance.org/release/Common/V1_2_2-20090724-A/OMA-TS-SyncML_RepPro-V1_2_2-20090724-A.pdf
As Microsoft's clients use it: https://learn.microsoft.com/openspecs/windows_protocols/ms-mdm

Ids, refs and codes are text and stay text: they are compared, never counted with. Children are written in the order of
the DTD and read in any; the order of commands is kept. A missing namespace is read as if it were there.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from platforms.errors import Unreadable

MIME: Final = "application/vnd.syncml.dm+xml"
MIME_BINARY: Final = "application/vnd.syncml.dm+wbxml"
NAMESPACE: Final = "SYNCML:SYNCML1.2"
META_NAMESPACE: Final = "syncml:metinf"
MICROSOFT: Final = "http://schemas.microsoft.com/MobileDevice/MDM"

MAX_BODY: Final = 1024 * 1024
MAX_DEPTH: Final = 63
MAX_ELEMENTS: Final = 20_000
"""Real messages have some dozen; so many take the parser 40 ms."""
MAX_COMMANDS: Final = 1_000
MAX_WORD: Final = 256
MAX_URI: Final = 1024

VERBS: Final = frozenset({"Add", "Replace", "Delete", "Copy", "Get", "Exec"})
GROUPS: Final = frozenset({"Sequence", "Atomic"})

_ENCODINGS: Final = frozenset({"utf-8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "ascii", "iso-8859-1"})
_BINARY: Final = (b"\x00", b"\x01", b"\x02", b"\x03")
"""How WBXML begins: with its version. XML does so only where each of its signs is two bytes."""


class Binary(Unreadable):
    """WBXML: another spelling of the same, which is not spoken here."""

    def __init__(self) -> None:
        super().__init__("wbxml")


@dataclass(frozen=True, slots=True)
class Meta:
    """What is said of a value. In a `Status`, the same shape is a challenge."""

    format: str | None = None
    type: str | None = None
    mark: str | None = None
    size: str | None = None
    next_nonce: str | None = field(default=None, repr=False)
    max_msg_size: str | None = None
    max_obj_size: str | None = None


@dataclass(frozen=True, slots=True)
class Cred:
    data: str = field(repr=False)
    format: str | None = "b64"
    type: str | None = "syncml:auth-md5"


@dataclass(frozen=True, slots=True)
class Item:
    """`data` None: no Data at all, which is not the same as an empty one."""

    target: str | None = None
    source: str | None = None
    meta: Meta | None = None
    data: str | None = field(default=None, repr=False)
    more_data: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to one command of the other side; `cmd_ref` 0 is its SyncHdr."""

    cmd_id: str
    msg_ref: str
    cmd_ref: str
    cmd: str
    code: str
    target_refs: tuple[str, ...] = ()
    source_refs: tuple[str, ...] = ()
    cred: Cred | None = None
    chal: Meta | None = None
    items: tuple[Item, ...] = ()
    original_error: str | None = None
    """The failure as Windows knows it, an HRESULT."""


@dataclass(frozen=True, slots=True)
class Results:
    cmd_id: str
    cmd_ref: str
    items: tuple[Item, ...]
    msg_ref: str | None = None
    cmd: str | None = None
    meta: Meta | None = None
    target_ref: str | None = None
    source_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    cmd_id: str
    code: str
    items: tuple[Item, ...] = ()
    correlator: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Something to be done with nodes of the management tree."""

    verb: str
    cmd_id: str
    items: tuple[Item, ...]
    meta: Meta | None = None
    correlator: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Sequence: one after the other; Atomic: all or none."""

    verb: str
    cmd_id: str
    commands: "tuple[Command, ...]"
    meta: Meta | None = None


@dataclass(frozen=True, slots=True)
class Stray:
    """Where a command should stand: an element that is none, or a command without its id. It is answered, not run."""

    name: str
    cmd_id: str | None = None


Command = Status | Results | Alert | Operation | Group | Stray


@dataclass(frozen=True, slots=True)
class Header:
    session_id: str
    msg_id: str
    target: str
    source: str
    target_name: str | None = None
    source_name: str | None = None
    """Who the credential is of."""
    resp_uri: str | None = None
    no_resp: bool = False
    cred: Cred | None = None
    meta: Meta | None = None
    ver_dtd: str = "1.2"
    ver_proto: str = "DM/1.2"


@dataclass(frozen=True, slots=True)
class Message:
    header: Header
    commands: tuple[Command, ...] = ()
    final: bool = True
    """The package ends with this message."""


# Bytes → values


@dataclass(slots=True)
class _Node:
    name: str
    children: "list[_Node]" = field(default_factory=list)
    text: str = ""
    original_error: str | None = None

    def child(self, name: str) -> "_Node | None":
        return next((node for node in self.children if node.name == name), None)

    def all(self, name: str) -> "Iterator[_Node]":
        return (node for node in self.children if node.name == name)


def parse(body: bytes) -> Message:
    """Raises Unreadable, or Binary."""
    if len(body) > MAX_BODY:
        raise Unreadable("body_too_large")
    if body.startswith(_BINARY) and not body.startswith(b"\x00<"):
        raise Binary
    root = _tree(body)
    if root.name != "SyncML":
        raise Unreadable("not_syncml")
    head, content = root.child("SyncHdr"), root.child("SyncBody")
    if head is None or content is None:
        raise Unreadable("incomplete")
    counter = _Counter()
    commands = tuple(_commands(content, counter))
    return Message(_header(head), commands, content.child("Final") is not None)


class _Tree:
    """Builds nodes while expat reads. What it raises comes out of `Parse`."""

    def __init__(self) -> None:
        self.root: _Node | None = None
        self._open: list[_Node] = []
        self._texts: list[list[str]] = []
        self._elements = 0
        self._foreign = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._open) + self._foreign >= MAX_DEPTH:
            raise Unreadable("too_large")
        if self._foreign or (namespace and not namespace.lower().startswith("syncml:")):
            # Somebody's extension: nothing in it is meant for us.
            if self.root is None:
                raise Unreadable("not_syncml")
            self._foreign += 1
            return
        node = _Node(local)
        if attributes and local == "Data":
            error = attributes.get(f"{MICROSOFT} originalerror", attributes.get("originalerror"))
            node.original_error = _word(error)
        if self._open:
            self._open[-1].children.append(node)
        self.root = self.root or node
        self._open.append(node)
        self._texts.append([])

    def end(self, _: str) -> None:
        if self._foreign:
            self._foreign -= 1
            return
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, text: str) -> None:
        if self._texts and not self._foreign:
            self._texts[-1].append(text)

    def declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise Unreadable("encoding")

    def doctype(self, *_: object) -> None:
        raise Unreadable("doctype")


def _tree(body: bytes) -> _Node:
    builder = _Tree()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.XmlDeclHandler = builder.declaration
    # Before anything a document type could define is looked at; without one there are no entities to expand.
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, UnicodeError, LookupError, ValueError):
        raise Unreadable("not_xml") from None
    if builder.root is None:
        raise Unreadable("not_xml")
    return builder.root


class _Counter:
    """Commands of one message, nested ones among them."""

    def __init__(self) -> None:
        self._left = MAX_COMMANDS

    def take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Unreadable("too_many_commands")


def _header(node: _Node) -> Header:
    target, source = node.child("Target"), node.child("Source")
    return Header(
        session_id=_needed(node, "SessionID"),
        msg_id=_needed(node, "MsgID"),
        target=_location(target) or "",
        source=_location(source) or "",
        target_name=_optional(target, "LocName"),
        source_name=_optional(source, "LocName"),
        resp_uri=_optional(node, "RespURI", MAX_URI),
        no_resp=node.child("NoResp") is not None,
        cred=_cred(node),
        meta=_meta(node),
        ver_dtd=_needed(node, "VerDTD"),
        ver_proto=_needed(node, "VerProto"),
    )


def _commands(parent: _Node, counter: _Counter) -> Iterator[Command]:
    for node in parent.children:
        if node.name in {"Final", "CmdID", "Meta", "NoResp"}:
            continue
        counter.take()
        yield _command(node, counter)


def _command(node: _Node, counter: _Counter) -> Command:  # noqa: PLR0911 - one return for each kind of command
    cmd_id = _optional(node, "CmdID")
    if cmd_id is None:
        return Stray(node.name[:MAX_WORD])
    items = tuple(_item(item) for item in node.all("Item"))
    match node.name:
        case "Status":
            return _status(node, cmd_id, items)
        case "Results":
            return Results(
                cmd_id=cmd_id,
                cmd_ref=_optional(node, "CmdRef") or "",
                items=items,
                msg_ref=_optional(node, "MsgRef"),
                cmd=_optional(node, "Cmd"),
                meta=_meta(node),
                target_ref=_optional(node, "TargetRef", MAX_URI),
                source_ref=_optional(node, "SourceRef", MAX_URI),
            )
        case "Alert":
            return Alert(cmd_id, _optional(node, "Data") or "", items, _optional(node, "Correlator"))
        case verb if verb in VERBS:
            return Operation(verb, cmd_id, items, _meta(node), _optional(node, "Correlator"))
        case verb if verb in GROUPS:
            return Group(verb, cmd_id, tuple(_commands(node, counter)), _meta(node))
        case name:
            return Stray(name[:MAX_WORD], cmd_id)


def _status(node: _Node, cmd_id: str, items: tuple[Item, ...]) -> Status:
    data, chal = node.child("Data"), node.child("Chal")
    return Status(
        cmd_id=cmd_id,
        msg_ref=_optional(node, "MsgRef") or "",
        cmd_ref=_optional(node, "CmdRef") or "",
        cmd=_optional(node, "Cmd") or "",
        code=_optional(node, "Data") or "",
        target_refs=tuple(_words(node, "TargetRef")),
        source_refs=tuple(_words(node, "SourceRef")),
        cred=_cred(node),
        chal=None if chal is None else _meta(chal) or Meta(),
        items=items,
        original_error=None if data is None else data.original_error,
    )


def _item(node: _Node) -> Item:
    data = node.child("Data")
    return Item(
        target=_location(node.child("Target")),
        source=_location(node.child("Source")),
        meta=_meta(node),
        # As it came: a passcode may begin with a blank.
        data=None if data is None else data.text,
        more_data=node.child("MoreData") is not None,
    )


def _location(node: _Node | None) -> str | None:
    """Published samples have blanks at its end, which are slips."""
    return _optional(node, "LocURI", MAX_URI)


def _cred(node: _Node) -> Cred | None:
    cred = node.child("Cred")
    if cred is None:
        return None
    meta = _meta(cred) or Meta()
    return Cred(_optional(cred, "Data", MAX_URI) or "", meta.format, meta.type)


def _meta(node: _Node) -> Meta | None:
    meta = node.child("Meta")
    if meta is None:
        return None
    return Meta(
        format=_optional(meta, "Format"),
        type=_optional(meta, "Type"),
        mark=_optional(meta, "Mark"),
        size=_optional(meta, "Size"),
        next_nonce=_optional(meta, "NextNonce", MAX_URI),
        max_msg_size=_optional(meta, "MaxMsgSize"),
        max_obj_size=_optional(meta, "MaxObjSize"),
    )


def _words(node: _Node, name: str) -> Iterator[str]:
    for child in node.all(name):
        word = _word(child.text, MAX_URI)
        if word is not None:
            yield word


def _word(text: str | None, limit: int = MAX_WORD) -> str | None:
    """Without the blanks around it; None where nothing is left. Raises Unreadable where it is too long."""
    stripped = "" if text is None else text.strip(" \t\r\n")
    if len(stripped) > limit:
        raise Unreadable("too_long")
    return stripped or None


def _optional(node: _Node | None, name: str, limit: int = MAX_WORD) -> str | None:
    child = None if node is None else node.child(name)
    return None if child is None else _word(child.text, limit)


def _needed(node: _Node, name: str) -> str:
    word = _optional(node, name)
    if word is None:
        raise Unreadable("incomplete")
    return word


# Values → bytes


def write(message: Message) -> bytes:
    """Raises ValueError for a character that XML has no place for."""
    body = [*map(_written, message.commands)]
    if message.final:
        body.append("<Final/>")
    written = (
        f'<?xml version="1.0" encoding="UTF-8"?><SyncML xmlns="{NAMESPACE}">'
        f"<SyncHdr>{_head(message.header)}</SyncHdr><SyncBody>{''.join(body)}</SyncBody></SyncML>"
    )
    return written.encode()


_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME: Final = re.compile(r"[^\W\d][\w.-]*")
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


def _escape(text: str) -> str:
    """The one way for a value into the bytes."""
    if _NOT_XML.search(text):
        raise ValueError("a character that XML does not have")
    return text.translate(_ESCAPED)


def _leaf(name: str, value: str | None, attributes: str = "") -> str:
    return "" if value is None else f"<{name}{attributes}>{_escape(value)}</{name}>"


def _leaves(name: str, values: Sequence[str]) -> str:
    return "".join(_leaf(name, value) for value in values)


def _head(header: Header) -> str:
    return (
        _leaf("VerDTD", header.ver_dtd)
        + _leaf("VerProto", header.ver_proto)
        + _leaf("SessionID", header.session_id)
        + _leaf("MsgID", header.msg_id)
        + _place("Target", header.target, header.target_name)
        + _place("Source", header.source, header.source_name)
        + _leaf("RespURI", header.resp_uri)
        + ("<NoResp/>" if header.no_resp else "")
        + _cred_written(header.cred)
        + _meta_written(header.meta)
    )


def _written(command: Command) -> str:
    match command:
        case Status():
            inside = _status_written(command)
        case Results():
            inside = (
                _leaf("MsgRef", command.msg_ref)
                + _leaf("CmdRef", command.cmd_ref)
                + _leaf("Cmd", command.cmd)
                + _meta_written(command.meta)
                + _leaf("TargetRef", command.target_ref)
                + _leaf("SourceRef", command.source_ref)
                + _items_written(command.items)
            )
        case Alert():
            correlator = _leaf("Correlator", command.correlator)
            inside = _leaf("Data", command.code) + correlator + _items_written(command.items)
        case Operation():
            correlator = _leaf("Correlator", command.correlator)
            inside = _meta_written(command.meta) + correlator + _items_written(command.items)
        case Group():
            inside = _meta_written(command.meta) + "".join(map(_written, command.commands))
        case Stray():
            inside = ""
    name = _name(command)
    return f"<{name}>{_leaf('CmdID', command.cmd_id)}{inside}</{name}>"


def _name(command: Command) -> str:
    match command:
        case Operation() | Group():
            return command.verb
        case Stray():
            if not _NAME.fullmatch(command.name):
                raise ValueError("not the name of an element")
            return command.name
        case _:
            return type(command).__name__


def _status_written(status: Status) -> str:
    error = status.original_error
    marked = "" if error is None else f' xmlns:msft="{MICROSOFT}" msft:originalerror="{_escape(error)}"'
    return (
        _leaf("MsgRef", status.msg_ref)
        + _leaf("CmdRef", status.cmd_ref)
        + _leaf("Cmd", status.cmd)
        + _leaves("TargetRef", status.target_refs)
        + _leaves("SourceRef", status.source_refs)
        + _cred_written(status.cred)
        + ("" if status.chal is None else f"<Chal>{_meta_written(status.chal)}</Chal>")
        + _leaf("Data", status.code, marked)
        + _items_written(status.items)
    )


def _items_written(items: Sequence[Item]) -> str:
    return "".join(
        "<Item>"
        + ("" if item.target is None else _place("Target", item.target))
        + ("" if item.source is None else _place("Source", item.source))
        + _meta_written(item.meta)
        + _leaf("Data", item.data)
        + ("<MoreData/>" if item.more_data else "")
        + "</Item>"
        for item in items
    )


def _place(kind: str, uri: str, name: str | None = None) -> str:
    return f"<{kind}>{_leaf('LocURI', uri)}{_leaf('LocName', name)}</{kind}>"


def _cred_written(cred: Cred | None) -> str:
    if cred is None:
        return ""
    return f"<Cred>{_meta_written(Meta(format=cred.format, type=cred.type))}{_leaf('Data', cred.data)}</Cred>"


def _meta_written(meta: Meta | None) -> str:
    if meta is None:
        return ""
    told = (
        ("Format", meta.format),
        ("Type", meta.type),
        ("Mark", meta.mark),
        ("Size", meta.size),
        ("NextNonce", meta.next_nonce),
        ("MaxMsgSize", meta.max_msg_size),
        ("MaxObjSize", meta.max_obj_size),
    )
    space = f' xmlns="{META_NAMESPACE}"'
    return "<Meta>" + "".join(_leaf(name, value, space) for name, value in told) + "</Meta>"
