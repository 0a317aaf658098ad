"""The other end of the talk: an iPhone on the real wire. The push service between is in `push_service`.

It reads and writes property lists by itself: what the server's `wire` gets wrong must not be got wrong here too.
Not simulated: apps, profiles other than the enrollment's, user channels, supervision beyond one flag.
"""

import asyncio
import plistlib
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from models.vocabulary import Secret
from platforms import loopback
from platforms.identity import PrivateKey, load_private_key, make_ca, parse_certificate, sign_detached
from platforms.ios.push_service import Push, PushService, server_tls

Transport = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""(method, url, headers, body) → (status, headers with lower-case names, body). Raises OSError when the road is cut."""

CHECK_IN_TYPE: Final = "application/x-apple-aspen-mdm-checkin"
COMMAND_TYPE: Final = "application/x-apple-aspen-mdm; charset=UTF-8"
PROFILE_TYPE: Final = "application/x-apple-aspen-config"
UNRECOGNIZED: Final = b"com.apple.unrecognized.device"

RIGHT_PASSCODE: Final = 4
RIGHT_ERASE: Final = 8
RIGHT_INFORMATION: Final = 16

LONGEST_PAUSE: Final = 30.0
LONGEST_SESSION: Final = 1_000
"""Commands in a row. A real device would go on for ever; here it is a mistake to show."""


class EnrollmentFailed(Exception):
    """The link or its profile was no good; `status` where the server refused."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class _Lost(Exception):
    """The road is cut: what was to be said is kept, and said when there is a road again."""


class _Refused(_Lost):
    """The server will not hear this. A phone keeps it all the same."""


@dataclass
class Habits:
    """How this phone misbehaves; each can be changed at any time."""

    slow: float = 0.0
    """Seconds before a command is run."""
    refusing: bool = False
    not_now: int = 0
    """So many commands are put off."""
    repeating: bool = False
    """Says each result twice, and begins each session with something it said long ago."""
    losing_results: int = 0
    """So many messages never leave the phone."""
    losing_answers: int = 0
    """So many answers never reach it, though its message arrived."""
    farewell: tuple[str, ...] = ("report", "check_out")
    """What is still said when the profile is removed, in this order."""


@dataclass
class Bond:
    """What the enrollment profile gave."""

    topic: str
    command_url: str
    check_in_url: str
    rights: int
    signs: bool
    checks_out: bool
    profile: str
    """The identifier that RemoveProfile names."""
    certificate: bytes = field(repr=False)
    """DER."""
    key: bytes = field(repr=False)
    """PEM."""


def new_unlock_token() -> bytes:
    """Shaped as devices send it, and never text: 0xFF begins no UTF-8 character."""
    return b"DATA\x00\x00\x05\x10\xff\xfe" + secrets.token_bytes(1_294)


_KEPT: Final = (
    *("udid", "serial", "token", "push_magic", "unlock_token", "os_version", "model", "passcode", "touch_id"),
    *("disabled", "locked", "supervised", "erased", "enrolled", "unsent"),
)


@dataclass
class Iphone:
    """One simulated phone. `wake` is what a push does; everything else follows from what the server answers.

    It holds on to a result until an answer of 200 has come to it, and says it before anything else. After that it
    knows the command no more: one that is offered again then is run again, and counted again in `effects`.
    """

    transport: Transport = field(repr=False)
    udid: str = field(default_factory=lambda: f"00008030-{secrets.token_hex(8).upper()}")
    serial: str = field(default_factory=lambda: "F" + secrets.token_hex(5).upper())
    token: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    push_magic: str = field(default_factory=lambda: str(uuid4()).upper(), repr=False)
    unlock_token: bytes = field(default_factory=new_unlock_token, repr=False)
    os_version: str = "18.6"
    model: str = "iPhone14,5"
    passcode: str | None = field(default_factory=lambda: f"{secrets.randbelow(1_000_000):06}", repr=False)
    touch_id: bool = True
    disabled: bool = False
    """After too many wrong passcodes."""
    locked: bool = True
    supervised: bool = False
    erased: bool = False
    enrolled: bool = False
    online: bool = True
    bond: Bond | None = None
    effects: Counter[str] = field(default_factory=Counter)
    """How often each CommandUUID really did something."""
    unsent: dict[str, Any] | None = field(default=None, repr=False)
    """A result that no answer has come to yet."""
    offers: Counter[str] = field(default_factory=Counter)
    """How often each CommandUUID was handed to it, run or not."""
    complaints: list[str] = field(default_factory=list)
    """What the server did that a real phone would not understand."""
    habits: Habits = field(default_factory=Habits)
    service: PushService | None = field(default=None, repr=False)
    patience: float | None = None
    """Seconds until it tries again by itself when the road was cut, twice as many each time; None: only when told."""
    saved: Callable[[], None] | None = field(default=None, repr=False)
    """Called whenever `state()` has changed."""

    def __post_init__(self) -> None:
        self._pushed = False
        self._lock = asyncio.Lock()
        self._boot = 0
        self._identity: tuple[PrivateKey, x509.Certificate] | None = None
        self._idle: tuple[bytes, dict[str, str]] | None = None
        self._said: deque[tuple[bytes, dict[str, str]]] = deque(maxlen=8)

    @property
    def address(self) -> str:
        return self.token.hex()

    def a_push(self) -> Push:
        """As the push service would hand it over, for a driver that has none."""
        return Push(self.address, self.push_magic)

    @property
    def certificate(self) -> bytes | None:
        """What TLS would prove of it."""
        return None if self.bond is None else self.bond.certificate

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What nobody may find in a log."""
        key = () if self.bond is None else self.bond.key.splitlines()[1:-1]
        return self.push_magic.encode(), self.unlock_token, *key

    def signed(self, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with which this phone would say `body`, whatever it is."""
        spoken = {name: value for name, value in headers.items() if name != "mdm-signature"}
        if self._bond.signs:
            if self._identity is None:
                self._identity = (load_private_key(Secret(self._bond.key)), parse_certificate(self._bond.certificate))
            spoken["mdm-signature"] = sign_detached(*self._identity, body)
        return spoken

    # Enrolling, and what a phone says unasked

    async def open_link(self, url: str) -> None:
        """Fetch the profile, once, and install it. Raises EnrollmentFailed; OSError where a later try may go well."""
        status, headers, body = await self.transport("GET", url, {"accept": "*/*"}, b"")
        if _is_trouble(status):
            raise OSError(f"the link was answered with {status}")
        if status != 200:
            raise EnrollmentFailed(f"the link was answered with {status}", status)
        if headers.get("content-type", "").partition(";")[0] != PROFILE_TYPE:
            raise EnrollmentFailed("the link did not hand out a profile")
        self.install(body)

    def install(self, profile: bytes) -> None:
        """Raises EnrollmentFailed."""
        self.bond = _bond(profile)
        self._identity = self._idle = None
        self._said.clear()
        self._changed()

    async def check_in(self) -> None:
        """Authenticate, then TokenUpdate. Raises EnrollmentFailed when one is refused; OSError where a later try may
        go well: the road was cut, or the server is in trouble."""
        bond = self._bond
        message: dict[str, Any] = {"MessageType": "Authenticate", "Topic": bond.topic, "UDID": self.udid}
        if bond.rights & RIGHT_INFORMATION:
            message |= {"OSVersion": self.os_version, "BuildVersion": "22G86", "ProductName": self.model}
            message["SerialNumber"] = self.serial
        await self._check_in(message)
        await self.update_token()
        self.enrolled = True
        self._changed()
        self._listen()

    async def update_token(self, *, rotate: bool = False, with_unlock_token: bool = True) -> None:
        """A phone may say this at any time; `rotate` gives it a new address and new words first."""
        bond = self._bond
        if rotate:
            if self.service is not None:
                self.service.away(self.address)
            self.token, self.push_magic = secrets.token_bytes(32), str(uuid4()).upper()
            if with_unlock_token:
                self.unlock_token = new_unlock_token()
            self._changed()
        message: dict[str, Any] = {"MessageType": "TokenUpdate", "Topic": bond.topic, "UDID": self.udid}
        message |= {"Token": self.token, "PushMagic": self.push_magic, "AwaitingConfiguration": False}
        if bond.rights & RIGHT_PASSCODE and with_unlock_token:
            message["UnlockToken"] = self.unlock_token
        await self._check_in(message)
        if self.enrolled:
            self._listen()

    async def check_out(self) -> None:
        """The profile is removed by hand: one try to say so."""
        await self._leave(said=("check_out",))

    # Being reached

    async def wake(self, push: Push) -> None:
        """A push came. Several coalesce: one that comes during a session is one more session after it."""
        if push.magic != self.push_magic:
            self.complaints.append("a push without our magic")
            return
        await self.poll()

    async def poll(self) -> None:
        """Ask for work until there is none, or the road is cut; a result that is owed goes first."""
        self._pushed = True
        if self._lock.locked():
            return
        async with self._lock:
            pause = self.patience
            while self._pushed and self.online and self.enrolled:
                self._pushed = False
                try:
                    await self._session()
                except _Lost:
                    if pause is None or not self.online:
                        return
                    await asyncio.sleep(pause)
                    self._pushed, pause = True, min(pause * 2, LONGEST_PAUSE)

    def go_offline(self) -> None:
        self.online = False
        if self.service is not None:
            self.service.away(self.address)

    async def go_online(self) -> None:
        """The push service hands over what it kept, and a result that is owed is sent."""
        self.online = True
        self._listen()
        if self.unsent is not None:
            await self.poll()

    def reboot(self) -> None:
        """What was not written down is forgotten: the session ends, a result that is owed is not."""
        self._boot += 1

    # What is kept

    def state(self) -> dict[str, Any]:
        """As a property list has it: without None."""
        state = {name: value for name in _KEPT if (value := getattr(self, name)) is not None}
        state["effects"] = dict(self.effects)
        if self.bond is not None:
            state["bond"] = vars(self.bond)
        return state

    @classmethod
    def restore(cls, state: Mapping[str, Any], transport: Transport) -> Self:
        values: dict[str, Any] = {"passcode": None, **state}
        values["effects"] = Counter(values.get("effects", {}))
        if "bond" in values:
            values["bond"] = Bond(**values["bond"])
        return cls(transport, **values)

    # The session

    async def _session(self) -> None:
        boot = self._boot
        if self.habits.repeating and self._said:
            await self._put(self._bond.command_url, *self._said[0])
        message = self.unsent
        for _ in range(LONGEST_SESSION):
            answer = await self._tell(message)
            if message is not None and message is self.unsent:
                self.unsent = None
                self._changed()
            if not answer or not self.enrolled:
                return
            command = self._command(answer)
            if command is None:
                return
            if self.habits.slow:
                await asyncio.sleep(self.habits.slow)
            if boot != self._boot or not self.online:
                raise _Lost
            message = await self._answer_to(*command)
            if message is None:
                return
        self.complaints.append("a session without end")

    async def _tell(self, message: dict[str, Any] | None) -> bytes:
        """Send a result, or ask for work; the answer's body."""
        sealed = self._idle_message() if message is None else self._sealed(message, COMMAND_TYPE)
        answer = await self._put(self._bond.command_url, *sealed)
        self._said.append(sealed)
        if self.habits.repeating and message is not None:
            answer = await self._put(self._bond.command_url, *sealed) or answer
        return answer

    def _command(self, answer: bytes) -> tuple[str, Mapping[str, Any]] | None:
        try:
            document = plistlib.loads(answer)
        except Exception:  # noqa: BLE001 - plistlib raises half a dozen kinds, and each is the server's mistake
            document = None
        match document:
            case {"CommandUUID": str() as uuid, "Command": {"RequestType": str(), **_parameters}}:
                self.offers[uuid] += 1
                return uuid, document["Command"]
        self.complaints.append("an answer that is no command")
        return None

    async def _answer_to(self, uuid: str, command: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run a command. What it gave is written down before it is told."""
        if self.habits.not_now:
            self.habits.not_now -= 1
            return {"Status": "NotNow", "UDID": self.udid, "CommandUUID": uuid}
        if self.habits.refusing:
            result = _error(12_020, "MCMDMErrorDomain", "The request is not authorized.", cause=(5_013, "Cannot clear"))
        else:
            result = self._run(command)
            if result["Status"] == "Acknowledged" and result.get("MessageResult") != "NoPasscodeSet":
                self.effects[uuid] += 1
        result |= {"UDID": self.udid, "CommandUUID": uuid}
        self.unsent = result
        self._changed()
        if result["Status"] == "Acknowledged" and command["RequestType"] in {"RemoveProfile", "EraseDevice"}:
            # An erased phone knows nobody to check out from.
            said = [word for word in self.habits.farewell if word == "report" or not self.erased]
            await self._leave(result, said)
            return None
        return result

    def _run(self, command: Mapping[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 - a table of commands
        match command:
            case {"RequestType": "ClearPasscode", "UnlockToken": bytes() as token}:
                return self._clear_passcode(token)
            case {"RequestType": "RemoveProfile", "Identifier": str() as identifier}:
                if identifier != self._bond.profile:
                    return _error(12_075, "MCMDMErrorDomain", "The profile is not installed.")
                return {"Status": "Acknowledged"}
            case {"RequestType": "DeviceLock"} if not self._bond.rights & RIGHT_PASSCODE:
                return _error(12_020, "MCMDMErrorDomain", "The request is not authorized.")
            case {"RequestType": "DeviceLock"}:
                self.locked = self.passcode is not None
                # Only a message that was to be shown has a result.
                result = {"MessageResult": "Success" if self.passcode else "NoPasscodeSet"}
                return {"Status": "Acknowledged"} | (result if command.keys() & {"Message", "PhoneNumber"} else {})
            case {"RequestType": "EraseDevice"} if self._bond.rights & RIGHT_ERASE:
                self.erased, self.passcode, self.touch_id, self.disabled = True, None, False, False
                return {"Status": "Acknowledged"}
            case {"RequestType": "RestartDevice"} if self.supervised:
                self.locked = self.passcode is not None
                return {"Status": "Acknowledged"}
            case {"RequestType": "DeviceInformation", "Queries": list() as queries}:
                return {"Status": "Acknowledged", "QueryResponses": self._information(queries)}
            case {"RequestType": "SecurityInfo"}:
                info: dict[str, Any] = {"PasscodePresent": self.passcode is not None, "PasscodeCompliant": True}
                info |= {"PasscodeCompliantWithProfiles": True, "HardwareEncryptionCaps": 3}
                return {"Status": "Acknowledged", "SecurityInfo": info}
            case {"RequestType": "ClearPasscode" | "RemoveProfile" | "DeviceInformation"}:
                return {"Status": "CommandFormatError"}
            case {"RequestType": "EraseDevice"}:
                return _error(12_020, "MCMDMErrorDomain", "The request is not authorized.")
        return _error(12_021, "MCMDMErrorDomain", "The request type is not valid.")

    def _clear_passcode(self, token: bytes) -> dict[str, Any]:
        if not self._bond.rights & RIGHT_PASSCODE:
            return _error(12_020, "MCMDMErrorDomain", "The request is not authorized.")
        if token != self.unlock_token:
            return _error(5_013, "MCPasscodeErrorDomain", "The passcode cannot be cleared.", cause=(12_017, "Keybag"))
        self.passcode, self.touch_id, self.disabled, self.locked = None, False, False, False
        return {"Status": "Acknowledged"}

    def _information(self, queries: list[Any]) -> dict[str, Any]:
        """Only what is known and permitted."""
        known: dict[str, Any] = {"UDID": self.udid}
        if self._bond.rights & RIGHT_INFORMATION:
            known |= {"DeviceName": "iPhone", "OSVersion": self.os_version, "BuildVersion": "22G86"}
            known |= {"ProductName": self.model, "SerialNumber": self.serial, "IsSupervised": self.supervised}
        return {name: known[name] for name in queries if name in known}

    async def _leave(self, result: dict[str, Any] | None = None, said: Sequence[str] = ()) -> None:
        bond = self._bond
        for word in said:
            try:
                if word == "report" and result is not None:
                    await self._tell(result)
                elif word == "check_out" and bond.checks_out:
                    message = {"MessageType": "CheckOut", "Topic": bond.topic, "UDID": self.udid}
                    await self._put(bond.check_in_url, *self._sealed(message, CHECK_IN_TYPE))
            except _Lost:
                # A single attempt: no network then means never.
                continue
        self._forget()

    def _forget(self) -> None:
        """The profile is gone, and with it the identity and all that was owed."""
        if self.service is not None:
            self.service.away(self.address)
        self.enrolled, self.unsent, self.bond = False, None, None
        self._identity = self._idle = None
        self._changed()

    # The wire

    async def _check_in(self, message: dict[str, Any]) -> None:
        try:
            await self._put(self._bond.check_in_url, *self._sealed(message, CHECK_IN_TYPE))
        except _Refused as refused:
            raise EnrollmentFailed(f"{message['MessageType']} was refused: {refused}") from None
        except _Lost as lost:
            raise OSError(f"{message['MessageType']} failed: {lost}") from lost.__cause__
        if self.bond is None:
            raise EnrollmentFailed(f"{message['MessageType']} was answered by removing the profile")

    async def _put(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """One message. Raises _Lost where a phone keeps what it wanted to say."""
        if not self.online:
            raise _Lost("offline")
        if self.habits.losing_results:
            self.habits.losing_results -= 1
            raise _Lost("lost on the way")
        try:
            status, answered, answer = await self.transport("PUT", url, headers, body)
        except OSError as error:
            raise _Lost("unreachable") from error
        if self.habits.losing_answers:
            self.habits.losing_answers -= 1
            raise _Lost("lost on the way back")
        if status == 401 or (status == 403 and UNRECOGNIZED in answer):
            self._forget()
            return b""
        if _is_trouble(status):
            raise _Lost(f"status {status}")
        if status != 200:
            self.complaints.append(f"status {status}")
            raise _Refused(f"status {status}")
        if answer and answered.get("content-type", "").partition(";")[0] not in {"application/xml", "text/xml"}:
            self.complaints.append("an answer that is not called XML")
        return answer

    def _sealed(self, message: Mapping[str, Any], kind: str) -> tuple[bytes, dict[str, str]]:
        body = plistlib.dumps(message)
        return body, self.signed(body, {"content-type": kind, "user-agent": "MDM/1.0"})

    def _idle_message(self) -> tuple[bytes, dict[str, str]]:
        # Its bytes never change and its signature holds no time: one serves for ever.
        if self._idle is None:
            self._idle = self._sealed({"Status": "Idle", "UDID": self.udid}, COMMAND_TYPE)
        return self._idle

    @property
    def _bond(self) -> Bond:
        if self.bond is None:
            raise EnrollmentFailed("no profile is installed")
        return self.bond

    def _listen(self) -> None:
        if self.service is not None and self.online and self.enrolled:
            self.service.listen(self.address, self.wake)

    def _changed(self) -> None:
        if self.saved is not None:
            self.saved()


def _is_trouble(status: int) -> bool:
    """The server's own: the same request may go well later."""
    return status >= 500 or status == 429


def _error(code: int, domain: str, text: str, *, cause: tuple[int, str] = (4_001, "Failure")) -> dict[str, Any]:
    """An Error with its chain: the top error, then what caused it."""
    top = {"ErrorCode": code, "ErrorDomain": domain, "LocalizedDescription": text, "USEnglishDescription": text}
    below = {"ErrorCode": cause[0], "ErrorDomain": "MCPasscodeErrorDomain", "LocalizedDescription": cause[1]}
    return {"Status": "Error", "ErrorChain": [top, below]}


def _bond(profile: bytes) -> Bond:
    """Raises EnrollmentFailed for what a phone would not install."""
    if profile.startswith(b"\x30"):
        # Signed: the profile lies whole inside. A phone would also show who signed it.
        profile = profile[profile.find(b"<?xml") : profile.find(b"</plist>") + len(b"</plist>")]
    try:
        document = plistlib.loads(profile)
        payloads = document["PayloadContent"]
        _required(document, "PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID")
        for payload in payloads:
            _required(payload, "PayloadType", "PayloadVersion", "PayloadIdentifier", "PayloadUUID")
        [mdm] = [payload for payload in payloads if payload["PayloadType"] == "com.apple.mdm"]
        _required(mdm, "IdentityCertificateUUID", "Topic", "ServerURL", "AccessRights")
        [identity] = [payload for payload in payloads if payload["PayloadUUID"] == mdm["IdentityCertificateUUID"]]
        key, certificate = _identity(identity)
    except EnrollmentFailed:
        raise
    except Exception as error:  # noqa: BLE001 - plistlib and PKCS#12 raise many kinds; the phone says one thing to all
        raise EnrollmentFailed(f"the profile cannot be installed: {type(error).__name__}") from None
    if document["PayloadType"] != "Configuration" or not mdm["Topic"].startswith("com.apple.mgmt."):
        raise EnrollmentFailed("the profile cannot be installed: not of MDM")
    return Bond(
        topic=mdm["Topic"],
        command_url=mdm["ServerURL"],
        check_in_url=mdm.get("CheckInURL", mdm["ServerURL"]),
        rights=mdm["AccessRights"],
        signs=mdm.get("SignMessage", False),
        checks_out=mdm.get("CheckOutWhenRemoved", False),
        profile=document["PayloadIdentifier"],
        certificate=certificate,
        key=key,
    )


def _required(payload: Mapping[str, Any], *names: str) -> None:
    missing = [name for name in names if not payload.get(name)]
    if missing:
        raise EnrollmentFailed(f"the profile cannot be installed: {', '.join(missing)} missing")


def _identity(payload: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Key (PEM) and certificate (DER) of a PKCS#12 payload."""
    if payload["PayloadType"] != "com.apple.security.pkcs12":
        raise EnrollmentFailed("the profile cannot be installed: no PKCS#12 identity")
    key, certificate, _ = pkcs12.load_key_and_certificates(payload["PayloadContent"], payload["Password"].encode())
    if key is None or certificate is None:
        raise EnrollmentFailed("the profile cannot be installed: an identity without key or certificate")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, certificate.public_bytes(Encoding.DER)


# What every simulator offers to the fleet driver


def wake_service(keys: Path, port: int) -> AbstractAsyncContextManager[PushService]:
    return PushService().open(server_tls(keys), port)


def new_device(transport: Transport) -> Iphone:
    return Iphone(transport)


def restore(state: Mapping[str, Any], transport: Transport) -> Iphone:
    return Iphone.restore(state, transport)


def demo_keys(now: datetime) -> tuple[Mapping[str, bytes], Mapping[str, str]]:
    """Files of a push service nobody trusts but this installation, and which setting each of them is."""
    topic = f"com.apple.mgmt.External.{uuid4()}"
    authority = make_ca("Push service of this machine alone", now)
    certificate, _ = authority.pem()
    files = {"push-ca.crt": certificate.encode(), "push-topic.txt": topic.encode()}

    def issue(name: str, subject: list[x509.NameAttribute[str]], usage: x509.ObjectIdentifier) -> None:
        files[f"{name}.crt"], files[f"{name}.key"] = loopback.issue(authority, subject, usage, now)

    issue("push-server", [x509.NameAttribute(NameOID.COMMON_NAME, "localhost")], ExtendedKeyUsageOID.SERVER_AUTH)
    uid = x509.NameAttribute(NameOID.USER_ID, topic)
    common = x509.NameAttribute(NameOID.COMMON_NAME, "Push certificate of this machine alone")
    issue("push", [uid, common], ExtendedKeyUsageOID.CLIENT_AUTH)
    settings = {
        "IOS_PUSH_CERTIFICATE_FILE": "push.crt",
        "IOS_PUSH_KEY_FILE": "push.key",
        "IOS_PUSH_CA_FILE": "push-ca.crt",
        "IOS_TOPIC_FILE": "push-topic.txt",
    }
    return files, settings
