"""A server in a few lines, for tests of the simulated phone: it says what it is told to, and notes what it hears."""

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.asymmetric import ec

from platforms import wap
from platforms.identity import make_ca
from platforms.windows_phone_simulator import WindowsPhone
from platforms.windows_phone_wire import MIME, digest

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ID = UUID("0193b5f0-0000-7000-8000-000000000001")
URL = "https://latchkey.example/dm"
CA = make_ca("Devices", NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
HANDOUT = wap.handout(
    provider_id="Latchkey",
    name="Acme",
    address=URL,
    ca=CA.certificate,
    key=KEY,
    certificate=CA.issue(KEY.public_key(), str(ID), NOW),
    enrollment_id=ID,
    client_secret="ours",
    client_nonce=b"our nonce",
    server_secret="theirs",
    server_nonce=b"\xf0\xff first",
)
REMOTE = "./Vendor/MSFT/RemoteLock"
PROVIDER = "./Vendor/MSFT/DMClient/Provider/Latchkey"


def run(ref: str, path: str) -> str:
    return f"<Exec><CmdID>{ref}</CmdID><Item><Target><LocURI>{path}</LocURI></Target></Item></Exec>"


def get(ref: str, path: str) -> str:
    return f"<Get><CmdID>{ref}</CmdID><Item><Target><LocURI>{path}</LocURI></Target></Item></Get>"


def put(verb: str, ref: str, path: str, value: str) -> str:
    item = f"<Item><Target><LocURI>{path}</LocURI></Target><Data>{value}</Data></Item>"
    return f"<{verb}><CmdID>{ref}</CmdID>{item}</{verb}>"


def reset(ref: str = "501") -> str:
    inside = run(ref, f"{REMOTE}/LockAndResetPIN") + get("601", f"{REMOTE}/NewPINValue")
    return f"<Sequence><CmdID>401</CmdID>{inside}</Sequence>"


@dataclass
class Heard:
    """One message of the phone, without namespaces."""

    raw: bytes = field(repr=False)
    root: ET.Element = field(repr=False)

    def head(self, path: str) -> str | None:
        return self.root.findtext(f"SyncHdr/{path}")

    @property
    def codes(self) -> dict[str, str]:
        """What became of each command, by its CmdID."""
        told = self.root.findall("SyncBody/Status")
        return {one.findtext("CmdRef", ""): one.findtext("Data", "") for one in told}

    @property
    def found(self) -> list[tuple[str, str | None]]:
        """CmdRef and value of each Results, in order; None: no Data at all."""
        told = self.root.findall("SyncBody/Results")
        return [(one.findtext("CmdRef", ""), one.findtext("Item/Data")) for one in told]

    @property
    def alerts(self) -> list[str]:
        return [one.findtext("Data", "") for one in self.root.findall("SyncBody/Alert")]


@dataclass
class Desk:
    """Meets Transport. `orders` are said one per answer; then the session ends."""

    orders: list[str] = field(default_factory=list)
    nonce: bytes | None = None
    """Of the proof that it wants; None: it wants none."""
    next_nonce: bytes | None = None
    """Given along with the welcome."""
    challenge: bytes | None = None
    """Given to who proved nothing."""
    cred: str = ""
    """In our head."""
    cut: int = 0
    """So many messages meet no road."""
    status: int = 200
    heard: list[Heard] = field(default_factory=list)
    answers: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if method == "GET":
            return self.status, {"content-type": "application/json"}, HANDOUT
        assert (method, url, headers["content-type"]) == ("POST", URL, MIME)
        await asyncio.sleep(0)  # a road takes its time
        if self.cut:
            self.cut -= 1
            raise OSError("cut")
        if self.status != 200:
            return self.status, {}, b""
        root = ET.fromstring(body)  # noqa: S314 - our own phone's
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        self.heard.append(Heard(body, root))
        if body not in self.answers:
            self.answers[body] = self.answer(root).encode()
        return 200, {"content-type": f"{MIME}; charset=utf-8"}, self.answers[body]

    def answer(self, root: ET.Element) -> str:
        message, session = root.findtext("SyncHdr/MsgID", ""), root.findtext("SyncHdr/SessionID", "")
        device = root.findtext("SyncHdr/Source/LocURI", "")
        code, chal = "212", self.next_nonce
        if (self.nonce is not None and message == "1") or self.challenge is not None:
            shown = root.findtext("SyncHdr/Cred/Data")
            if self.nonce is None or shown != digest(str(ID), "theirs", self.nonce):
                code, chal = "407" if shown is None else "401", self.challenge
                self.nonce, self.challenge = self.challenge, None
        theirs = [one for one in root.find("SyncBody") or () if one.tag not in {"Status", "Results", "Final"}]
        said = _status(1, message, "0", "SyncHdr", code, chal)
        for place, one in enumerate(theirs, start=2):
            said += _status(place, message, one.findtext("CmdID", ""), one.tag, "200" if code == "212" else code)
        orders = self.orders.pop(0) if code == "212" and self.orders else ""
        head = (
            f"<VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>{session}</SessionID><MsgID>{message}</MsgID>"
            f"<Target><LocURI>{device}</LocURI></Target><Source><LocURI>{URL}</LocURI></Source>{self.cred}"
        )
        body = f"<SyncBody>{said}{orders}<Final/></SyncBody>"
        return f'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr>{head}</SyncHdr>{body}</SyncML>'


def _status(place: int, message: str, ref: str, name: str, code: str, chal: bytes | None = None) -> str:
    asked = ""
    if chal is not None:
        kind = '<Format xmlns="syncml:metinf">b64</Format><Type xmlns="syncml:metinf">syncml:auth-md5</Type>'
        nonce = f'<NextNonce xmlns="syncml:metinf">{base64.b64encode(chal).decode()}</NextNonce>'
        asked = f"<Chal><Meta>{kind}{nonce}</Meta></Chal>"
    refs = f"<CmdID>{place}</CmdID><MsgRef>{message}</MsgRef><CmdRef>{ref}</CmdRef><Cmd>{name}</Cmd>"
    return f"<Status>{refs}{asked}<Data>{code}</Data></Status>"


async def enrolled(desk: Desk, generation: str = "10") -> WindowsPhone:
    phone = WindowsPhone(desk, generation)
    await phone.open_link("https://latchkey.example/enroll/x")
    await phone.check_in()
    desk.heard.clear()
    return phone
