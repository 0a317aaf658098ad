"""The management tree of a simulated Windows phone: what its nodes hold, and what running a command on one does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from platforms import windows_phone_wire as wire

if TYPE_CHECKING:
    from platforms.windows_phone_simulator import WindowsPhone

MICROSOFT: Final = "http://schemas.microsoft.com/MobileDevice/MDM"
LOCK: Final = "./Vendor/MSFT/RemoteLock/Lock"
RESET: Final = "./Vendor/MSFT/RemoteLock/LockAndResetPIN"
NEW_PIN: Final = "./Vendor/MSFT/RemoteLock/NewPINValue"
WIPE: Final = "./Vendor/MSFT/RemoteWipe/doWipe"
PROVIDER: Final = "./Vendor/MSFT/DMClient/Provider"


@dataclass(frozen=True, slots=True)
class Generation:
    """What differs between the phones that were sold."""

    os_version: str
    manufacturer: str
    model: str
    unenroll: tuple[str, ...]
    """Nodes that remove the bond."""
    tells_who_is_there: bool
    """Alert 1224 in each first message."""
    has_status: bool
    """DeviceStatus, the provider's own nodes and what else came with 10."""
    letters: bool
    """In the PINs that it makes."""


PHONE_8_1: Final = Generation(
    os_version="8.10.14219.341",
    manufacturer="NOKIA",
    model="RM-974_1080",
    unenroll=("./Vendor/MSFT/DMClient/Unenroll",),
    tells_who_is_there=False,
    has_status=False,
    letters=False,
)
PHONE_10: Final = Generation(
    os_version="10.0.15254.603",
    manufacturer="Microsoft",
    model="RM-1104_15203",
    unenroll=(f"{PROVIDER}/{{provider}}/Unenroll", "./Vendor/MSFT/DMClient/Unenroll"),
    tells_who_is_there=True,
    has_status=True,
    letters=True,
)
GENERATIONS: Final = {"8.1": PHONE_8_1, "10": PHONE_10}


class Run:
    """The commands of one message, run one after the other."""

    def __init__(self, phone: "WindowsPhone", bond: wire.Bond, message: str) -> None:
        self._phone = phone
        self._bond = bond
        self._message = message
        self._numbers = wire.numbers(1)
        self.made_pin = False
        self.leaving = False

    def number(self) -> int:
        return next(self._numbers)

    def one(self, command: ET.Element) -> list[ET.Element]:
        """Status and Results. What a Sequence holds is run in order, until something fails."""
        if command.tag not in {"Sequence", "Atomic"}:
            return self._leaf(command, self._do(command))
        parts = [part for part in command if part.tag != "CmdID"]
        parent, said, failed = self._status(command, "200"), [], False
        for part in parts:
            if failed:
                said.append(self._status(part, "215"))
                continue
            code, data = ("500", None) if command.tag == "Atomic" and part.tag == "Get" else self._do(part)
            failed = code[0] != "2"
            said += self._leaf(part, (code, data))
        return [*said, parent] if self._phone.habits.parent_last else [parent, *said]

    def _leaf(self, command: ET.Element, answer: tuple[str, str | None]) -> list[ET.Element]:
        code, data = answer
        path, said = command.findtext("Item/Target/LocURI", ""), [self._status(command, code)]
        if command.tag != "Get" or code != "200":
            return said
        habits = self._phone.habits
        if path != NEW_PIN:
            return [*said, self._results(command, path, data)]
        if habits.silent_pin:
            silent = {"missing": [], "empty": [self._results(command, path, "")]}
            return said + silent.get(habits.silent_pin, [self._results(command, path, None)])
        said.append(self._results(command, path, data))
        if habits.pin_twice:
            said.append(self._results(command, path, "another"))
        return said

    def _do(self, command: ET.Element) -> tuple[str, str | None]:
        path, phone = command.findtext("Item/Target/LocURI", ""), self._phone
        match command.tag:
            case "Exec":
                code = self._exec(command.findtext("CmdID", ""), path)
                return code, None
            case "Get" if path == NEW_PIN:
                return "200", phone.take_pin()
            case "Get":
                found = node(phone, self._bond.provider, path)
                return ("404", None) if found is None else ("200", found)
            case "Add" | "Replace" if path == f"{PROVIDER}/{self._bond.provider}/Push/PFN":
                phone.open_channel(command.findtext("Item/Data", ""))
                return "200", None
            case "Add" | "Replace" | "Delete":
                return "404", None
        return "406", None

    def _exec(self, ref: str, path: str) -> str:
        phone = self._phone
        phone.offers[ref] += 1
        if phone.habits.refusing:
            return "500"
        ways_out = [one.format(provider=self._bond.provider) for one in GENERATIONS[phone.generation].unenroll]
        if path == LOCK:
            if phone.passcode is None:
                return "405"
            phone.locked = True
        elif path == RESET and phone.aad_device_id is not None:
            phone.complaints.append("wiped by a reset, as every phone of a directory is")
            phone.erase()
            self.leaving = True
        elif path == RESET:
            phone.reset_pin()
            self.made_pin = True
        elif path == WIPE:
            phone.erase()
            self.leaving = True
        elif path in ways_out:
            self.leaving = True
        else:
            return "404"
        phone.effects[ref] += 1
        return "200"

    def _status(self, command: ET.Element, code: str) -> ET.Element:
        status = wire.status(self.number(), self._message, command.findtext("CmdID", ""), command.tag, code)
        if code == "500":
            data = status.find("Data")
            if data is not None:
                data.attrib |= {"xmlns:msft": MICROSOFT, "msft:originalerror": "0x80004005"}
        return status

    def _results(self, command: ET.Element, path: str, data: str | None) -> ET.Element:
        refs = (wire.text("MsgRef", self._message), wire.text("CmdRef", command.findtext("CmdID", "")))
        return wire.command("Results", self.number(), *refs, wire.item(source=path, data=data))


def node(phone: "WindowsPhone", provider: str, path: str) -> str | None:
    """What a Get finds; None: there is no such node."""
    kind = GENERATIONS[phone.generation]
    nodes = {
        "./DevInfo/DevId": phone.dev_id,
        "./DevInfo/Man": phone.manufacturer,
        "./DevInfo/Mod": phone.model,
        "./DevDetail/SwV": phone.os_version,
        "./DevDetail/FwV": "02040.00021.15235.50001",
        "./DevDetail/HwV": "1.0.0.0",
        "./DevDetail/DevTyp": "WindowsPhone",
        "./DevDetail/OEM": phone.manufacturer,
        "./DevDetail/LrgObj": "false",
        "./DevDetail/Ext/Microsoft/DeviceName": "Windows Phone",
        "./DevDetail/Ext/Microsoft/OSPlatform": "Windows Mobile" if kind.has_status else "Windows Phone 8.1",
        "./DevDetail/Ext/Microsoft/ProcessorArchitecture": "5",
        "./DevDetail/Ext/Microsoft/Resolution": "720x1280",
        "./DevDetail/Ext/WLANMACAddress": "0050F2A1B2C3",
    }
    if kind.has_status:
        nodes |= {
            "./Vendor/MSFT/DeviceStatus/OS/Edition": "104",
            "./Vendor/MSFT/DeviceStatus/Compliance/EncryptionCompliance": "0",
            "./DevDetail/Ext/Microsoft/TotalRAM": "2048",
            "./DevDetail/Ext/Microsoft/TotalStorage": "16384",
        }
    own = f"{PROVIDER}/{provider}"
    if kind.has_status and phone.aad_device_id is not None:
        nodes[f"{own}/AADDeviceID"] = phone.aad_device_id
    if phone.pfn is not None:
        nodes[f"{own}/Push/PFN"] = phone.pfn
        reachable = phone.service is not None
        nodes[f"{own}/Push/Status"] = "0" if reachable else "4"
        nodes[f"{own}/Push/ChannelURI"] = phone.service.channel(phone.channel) if phone.service else ""
    return nodes.get(path)
