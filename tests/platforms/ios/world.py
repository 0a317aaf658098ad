"""Settings, keys and requests that the tests of this folder share."""

import plistlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from models.vocabulary import Act, JobState, Secret
from platforms.base import Command, DeviceRequest, Enrollment, EnrollmentState
from platforms.identity import DeviceCA, make_ca, sign_detached
from platforms.ios.simulator import demo_keys

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REAL_NOW = datetime.now(UTC)
CHECK_IN = "application/x-apple-aspen-mdm-checkin"
COMMAND = "application/x-apple-aspen-mdm; charset=UTF-8"
UDID = "00008110-000A1B2C3D4E5F60"
UNLOCK_TOKEN = b"DATA\0\xff\xfe keybag \x80" * 60
ENROLLMENT = UUID("0193b5f0-0000-7000-8000-000000000001")
JOB = UUID("0193b5f0-0000-7000-8000-00000000000a")

CA = make_ca("Devices", NOW)
# The push service's certificates are looked at by real TLS, which asks the real clock.
PUSH_FILES, PUSH_SETTINGS = demo_keys(REAL_NOW)
TOPIC = PUSH_FILES["push-topic.txt"].decode()


def environ(ca: DeviceCA = CA, **changes: str) -> dict[str, str]:
    certificate, key = ca.pem()
    given = {
        "MODE": "embedded",
        "PUBLIC_URL": "http://127.0.0.1:8080",
        "IOS_PUSH_URL": "https://127.0.0.1:2197",
        "DEVICE_CA_CERTIFICATE": certificate,
        "DEVICE_CA_KEY": key.text(),
        "IOS_KEY": "ec",
        **{name.removesuffix("_FILE"): PUSH_FILES[file].decode() for name, file in PUSH_SETTINGS.items()},
    }
    return {**given, **changes}


class Phone:
    """An identity of our CA, and requests signed by it."""

    def __init__(self, ca: DeviceCA = CA, address: Mapping[str, str] | None = None, now: datetime = NOW) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = ca.issue(self.key.public_key(), "phone", now)
        self.address = {"UDID": UDID} if address is None else address

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def request(
        self,
        values: Mapping[str, Any],
        *,
        path: str = "command",
        content_type: str | None = None,
        signed: bool = True,
        connected: bool = False,
    ) -> DeviceRequest:
        kind = content_type or (CHECK_IN if "MessageType" in values else COMMAND)
        return self.raw(plistlib.dumps({**self.address, **values}), kind, path=path, signed=signed, connected=connected)

    def raw(
        self, body: bytes, content_type: str, *, path: str = "command", signed: bool = True, connected: bool = False
    ) -> DeviceRequest:
        headers = {"content-type": content_type}
        if signed:
            headers["mdm-signature"] = sign_detached(self.key, self.certificate, body)
        return DeviceRequest("PUT", path, headers, body, self.der if connected else None)


AUTHENTICATE = {
    "MessageType": "Authenticate",
    "Topic": TOPIC,
    "OSVersion": "18.6",
    "ProductName": "iPhone14,5",
    "SerialNumber": "C39ABC",
}
TOKEN_UPDATE = {
    "MessageType": "TokenUpdate",
    "Topic": TOPIC,
    "Token": bytes(range(32)),
    "PushMagic": 'magic "quoted"',
    "UnlockToken": UNLOCK_TOKEN,
}
CHECK_OUT = {"MessageType": "CheckOut", "Topic": TOPIC}
IDLE = {"Status": "Idle"}


def bond(
    state: EnrollmentState = EnrollmentState.ENROLLED, memory: Secret | None = None, address: str | None = UDID
) -> Enrollment:
    return Enrollment(ENROLLMENT, state, address, memory)


def order(state: JobState = JobState.WAITING, ref: str = str(JOB)) -> Command:
    return Command(JOB, Act.RESET_PASSCODE, ref, state, Secret(b'{"request_type":"ClearPasscode"}'))
