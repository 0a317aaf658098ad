"""Settings, notices and devices that the tests of this folder share. Signed by a key of ours, as Google's sign."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from models.vocabulary import Act, JobState, Order, Secret
from platforms.android.handler import AndroidHandler
from platforms.android.settings import AndroidSettings
from platforms.base import CheckIn, Command, DeviceRequest, Enrollment, EnrollmentState
from tests.platforms.android.google import ENTERPRISE, KEY_FILE

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOND = UUID("0193b5f0-0000-7000-8000-000000000001")
JOB = UUID("0193b5f0-0000-7000-8000-00000000000a")
DEVICE_ID = UUID("0193b5f0-0000-7000-8000-00000000000d")
DEVICE = f"{ENTERPRISE}/devices/3a5f00000000beef"
OPERATION = f"{DEVICE}/operations/1786048723669"
SUBSCRIPTION = "projects/latchkey-demo/subscriptions/devices"
ACCOUNT = "notices@latchkey-demo.iam.gserviceaccount.com"
AUDIENCE = "http://127.0.0.1:8080/devices/android/notices"
PASSWORD = "k7qm2xwp9r"

FULLY_MANAGED = {"managementMode": "DEVICE_OWNER", "ownership": "COMPANY_OWNED", "apiLevel": 36}
COMPANY_PROFILE = {"managementMode": "PROFILE_OWNER", "ownership": "COMPANY_OWNED", "apiLevel": 36}
OWN_PROFILE = {"managementMode": "PROFILE_OWNER", "ownership": "PERSONALLY_OWNED", "apiLevel": 36}
SEPARATE = {"passwordScope": "SCOPE_PROFILE", "unifiedLockSettings": "REQUIRE_SEPARATE_WORK_LOCK"}


def environ(**changes: str) -> dict[str, str]:
    return {
        "MODE": "embedded",
        "PUBLIC_URL": "http://127.0.0.1:8080",
        "ANDROID_SERVICE_ACCOUNT": KEY_FILE,
        "ANDROID_ENTERPRISE": ENTERPRISE,
        "ANDROID_SUBSCRIPTION": SUBSCRIPTION,
        "ANDROID_PUSH_ACCOUNT": ACCOUNT,
        "ANDROID_PUSH_URL": "http://127.0.0.1:9",
        **changes,
    }


def settings(**changes: str) -> AndroidSettings:
    found = AndroidSettings.from_env(environ(**changes))
    assert found is not None
    return found


HANDLER = AndroidHandler(settings())


def part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass
class Signer:
    """Who signs Pub/Sub's tokens."""

    kid: str = "key-1"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048), repr=False)

    @property
    def pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def known(self) -> dict[str, bytes]:
        return {self.kid: self.pem}

    def token(self, head: Mapping[str, Any] | None = None, **claims: Any) -> str:
        issued = int(NOW.timestamp()) - 600
        said = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": issued,
            "exp": issued + 3600,
            **claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        header = {"alg": "RS256", "typ": "JWT", "kid": self.kid, **(head or {})}
        signed = f"{part(json.dumps(header).encode())}.{part(json.dumps(said).encode())}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{part(signature)}"


SIGNER = Signer()


def push(kind: str | None, value: object, *, at: datetime = NOW, **message: Any) -> bytes:
    """`value`: what the notice is about, or its bytes as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    said = {
        "attributes": {} if kind is None else {"notificationType": kind},
        "data": base64.b64encode(data).decode(),
        "messageId": "2070443601311540",
        "publishTime": at.isoformat().replace("+00:00", "Z"),
        **message,
    }
    return json.dumps({"message": said, "subscription": SUBSCRIPTION}).encode()


def request(body: bytes, *, token: str | None = None, signer: Signer = SIGNER, **changes: Any) -> DeviceRequest:
    headers = {"authorization": f"Bearer {signer.token() if token is None else token}"}
    given = {"method": "POST", "path": "notices", "headers": headers, "body": body, "signers": signer.known, **changes}
    return DeviceRequest(**given)


def device(at: datetime | None = NOW, **more: Any) -> dict[str, Any]:
    said = {"name": DEVICE, "state": "ACTIVE", "appliedState": "ACTIVE", **FULLY_MANAGED}
    if at is not None:
        said["lastStatusReportTime"] = at.isoformat().replace("+00:00", "Z")
    return {**said, **more}


def operation(**more: Any) -> dict[str, Any]:
    metadata = {
        "@type": "type.googleapis.com/google.android.devicemanagement.v1.Command",
        "type": "RESET_PASSWORD",
        "createTime": "2026-11-21T12:00:00.669Z",
        "newPassword": PASSWORD,
        **more.pop("metadata", {}),
    }
    return {"name": OPERATION, "done": True, "metadata": metadata, **more}


class Bond:
    """What the house keeps of one device."""

    def __init__(self) -> None:
        welcome = HANDLER.welcome(BOND, "corporate", NOW)  # type: ignore[arg-type] - it says so itself
        self.handed_out: dict[str, str] = json.loads(welcome.reply.body)
        self.state, self.address, self.memory = EnrollmentState.INVITED, None, welcome.memory

    @property
    def view(self) -> Enrollment:
        return Enrollment(BOND, self.state, self.address, self.memory)

    def hear(self, value: object, kind: str = "STATUS_REPORT", *, at: datetime = NOW, now: datetime = NOW) -> CheckIn:
        caller = HANDLER.identify(request(push(kind, value, at=at)), now)
        check_in = HANDLER.read(caller, self.view, now)
        if check_in.proven:
            self.state = check_in.state or self.state
            self.address = check_in.address or self.address
        self.memory = check_in.memory or self.memory
        return check_in

    def enroll(self, **more: Any) -> CheckIn:
        data = self.handed_out["additional_data"]
        return self.hear(device(NOW - timedelta(hours=1), enrollmentTokenData=data, **more), "ENROLLMENT")


def enrolled(**more: Any) -> Bond:
    bond = Bond()
    bond.enroll(**more)
    return bond


def planned(bond: Bond, act: Act = Act.RESET_PASSCODE, **more: Any) -> Command:
    """Raises Refused."""
    plan = HANDLER.plan(Order(JOB, act, DEVICE_ID), bond.view)
    given = {"state": JobState.DELIVERED, "sent_at": NOW, "receipt": OPERATION, **more}
    return Command(job_id=JOB, act=act, ref=plan.ref, value=plan.value, **given)


def passcode_of(command: Command) -> str:
    return str(json.loads(command.value.value)["passcode"])


def nothing(command: Command) -> Command:
    """As a job that ended is remembered: without its plan."""
    return Command(command.job_id, command.act, command.ref, JobState.EXPIRED, Secret(b""), receipt=command.receipt)
