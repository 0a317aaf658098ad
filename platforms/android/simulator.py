"""The other end of the talk: a phone whose owner opens our link, behind Google's API. The API is in `emulator`.

Not simulated: Google's own set-up screens, and the phone's way to Google. What the two say to each other nobody else
ever sees.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from platforms.android.emulator import Emulator, Phone, Road, ServiceAccount, new_service_account
from platforms.android.emulator.accounts import from_pem, new_key, to_pem
from platforms.android.emulator.notices import Transport
from platforms.android.emulator.phone import OWNER

PROJECT: Final = "latchkey-demo"
ENTERPRISE: Final = "enterprises/LC0demo"
POLICY: Final = f"{ENTERPRISE}/policies/default"
SUBSCRIPTION: Final = f"projects/{PROJECT}/subscriptions/devices"
PUSH_ACCOUNT: Final = f"notices@{PROJECT}.iam.gserviceaccount.com"
ISSUER: Final = "http://emulator.localhost"
"""Production believes Google alone; nobody shall believe that this is Google."""
KEY_FILE: Final = "android-service-account.json"
SIGNING_KEY: Final = "android-notices.key"

PASSWORD_POLICIES: Final[list[dict[str, Any]]] = [
    {"passwordScope": "SCOPE_DEVICE", "passwordQuality": "NUMERIC_COMPLEX", "passwordMinimumLength": 6},
    {
        "passwordScope": "SCOPE_PROFILE",
        "passwordQuality": "ALPHANUMERIC",
        "passwordMinimumLength": 6,
        "unifiedLockSettings": "REQUIRE_SEPARATE_WORK_LOCK",
    },
]

WARMING: Final = 3.0
REPORTING: Final = 10.0
"""A real phone lets hours go by; somebody who tries the demo would not."""
TO_BE_HEARD: Final = 30.0
"""Seconds."""


class EnrollmentFailed(Exception):
    """The link was no good; `status` where the server refused."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Look:
    """Nobody wakes an Android phone but Google: for a driver that wants to, it is a look for what is waiting."""

    address: str


@dataclass
class AndroidPhone:
    """A phone and what its owner was told. Everything else is done to it at the emulator, which is its `service`."""

    transport: Transport = field(repr=False)
    phone: Phone = field(default_factory=Phone)
    correlation: str = field(default="", repr=False)
    """What ties it to us; the owner's link handed it out."""
    notices_url: str = ""
    enrolled: bool = False
    patience: float | None = None
    complaints: list[str] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """Of an earlier life of the emulator, to be brought back."""

    def __post_init__(self) -> None:
        self._service: Emulator | None = None
        self._saved: Callable[[], None] | None = None

    # What a fleet's driver asks of every device

    @property
    def address(self) -> str:
        return self.phone.name

    @property
    def certificate(self) -> bytes | None:
        """It has none; not None: its link was opened."""
        return b"" if self.correlation else None

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What nobody may find in a log."""
        return tuple(value.encode() for value in (self.correlation, *self.phone.passcodes) if value)

    @property
    def passcode(self) -> str | None:
        """Of the lock that a reset reaches."""
        return self.phone.lock if self.phone.mode == OWNER else self.phone.profile_lock

    @property
    def online(self) -> bool:
        return self.phone.online

    @property
    def effects(self) -> Counter[str]:
        """By operation: the courier's name for what it took."""
        return self.phone.effects

    @property
    def habits(self) -> Any:
        return self.phone.habits

    @property
    def service(self) -> Emulator | None:
        return self._service

    @service.setter
    def service(self, service: Emulator | None) -> None:
        self._service = service
        if service is not None and self.enrolled:
            service.restore(self.phone, self.operations, self._road)

    @property
    def saved(self) -> Callable[[], None] | None:
        return self._saved

    @saved.setter
    def saved(self, saved: Callable[[], None] | None) -> None:
        self._saved = self.phone.saved = saved

    @property
    def _road(self) -> Road:
        return Road(self.transport, self.notices_url)

    def signed(self, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """As Google would push `body`, whatever it is: its token says who, not what."""
        notices = self._google.notices
        token = self._google.signer.token(notices.audience or self.notices_url, notices.email)
        return {**headers, "authorization": f"Bearer {token}"}

    async def open_link(self, url: str) -> None:
        """Raises EnrollmentFailed; OSError where a later try may go well."""
        status, headers, body = await self.transport("GET", url, {"accept": "application/json"}, b"")
        if status >= 500 or status == 429:
            raise OSError(f"the link was answered with {status}")
        if status != 200:
            raise EnrollmentFailed(f"the link was answered with {status}", status)
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise EnrollmentFailed("the link did not say where to enrol")
        try:
            told = json.loads(body)
            self.phone.enterprise, self.correlation = str(told["enterprise"]), str(told["additional_data"])
        except (ValueError, KeyError, TypeError):
            raise EnrollmentFailed("the link did not say where to enrol") from None
        self.phone.policy = f"{self.phone.enterprise}/policies/default"
        self.notices_url = f"{url.partition('/enroll/')[0]}/notices"
        self._changed()

    async def check_in(self) -> None:
        """Enrol at Google, and wait until the server has heard of it. Raises OSError: it has not, yet."""
        if not self.correlation:
            raise EnrollmentFailed("no link was opened")
        if self._google.phones.get(self.phone.name) is self.phone:
            self._google.report(self.phone)
        else:
            self._google.enroll(self.phone, self.correlation, self._road)
        await self._be_heard()
        self.enrolled = True
        self._changed()

    async def check_out(self) -> None:
        """Its record is deleted where Google's administrator works; the phone loses what was managed."""
        self._google.delete(self.phone)
        self.enrolled = False
        self._changed()
        await self._be_heard()

    def a_push(self) -> Look:
        return Look(self.address)

    async def wake(self, look: Look, /) -> None:
        await self.poll()

    async def poll(self) -> None:
        """Report, and take what is waiting."""
        if self.phone.online and self.enrolled:
            self._google.go_online(self.phone)
            await self._be_heard()

    def go_offline(self) -> None:
        self._google.go_offline(self.phone)

    async def go_online(self) -> None:
        if self.enrolled:
            self._google.go_online(self.phone)

    def reboot(self) -> None:
        self.phone.reboot()

    # What is kept

    def state(self) -> dict[str, Any]:
        operations = self.operations if self._service is None else self._service.kept_operations(self.phone)
        known = {"correlation": self.correlation, "notices_url": self.notices_url, "enrolled": self.enrolled}
        return {**known, "phone": self.phone.kept(), "operations": operations}

    @classmethod
    def restore(cls, state: Mapping[str, Any], transport: Transport) -> Self:
        values = {name: value for name, value in state.items() if name != "phone"}
        return cls(transport, Phone.restore(state["phone"]), **values)

    @property
    def _google(self) -> Emulator:
        if self._service is None:
            raise EnrollmentFailed("an Android phone is nothing without Google: name the port to stand in for it")
        return self._service

    async def _be_heard(self) -> None:
        try:
            async with asyncio.timeout(TO_BE_HEARD):
                await self._google.heard(self.phone)
        except TimeoutError:
            raise OSError("the server has not heard of this phone") from None

    def _changed(self) -> None:
        if self.saved is not None:
            self.saved()


# What every simulator offers to the fleet driver


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - Google has a clock of its own


@asynccontextmanager
async def wake_service(keys: Path, port: int) -> AsyncIterator[Emulator]:
    """The emulator, from the files that `demo_keys` made."""
    account = ServiceAccount.from_file((keys / KEY_FILE).read_text(encoding="utf-8"))
    key = from_pem((keys / SIGNING_KEY).read_text(encoding="ascii"))
    emulator = Emulator(_utc_now, [account], issuer=ISSUER, key=key)
    emulator.notices.subscription, emulator.notices.email = SUBSCRIPTION, PUSH_ACCOUNT
    emulator.enterprise(ENTERPRISE).policies[POLICY] = {
        "name": POLICY,
        "version": "1",
        "passwordPolicies": PASSWORD_POLICIES,
    }
    emulator.warming, emulator.reporting = WARMING, REPORTING
    async with emulator.open(port):
        yield emulator


def new_device(transport: Transport) -> AndroidPhone:
    return AndroidPhone(transport)


def restore(state: Mapping[str, Any], transport: Transport) -> AndroidPhone:
    return AndroidPhone.restore(state, transport)


def demo_keys(now: datetime) -> tuple[Mapping[str, bytes], Mapping[str, str]]:
    """Files of a project at a Google of this machine's own, and which setting each of them is."""
    files = {
        KEY_FILE: new_service_account(PROJECT),
        SIGNING_KEY: to_pem(new_key()),
        "android-enterprise.txt": ENTERPRISE,
        "android-subscription.txt": SUBSCRIPTION,
        "android-push-account.txt": PUSH_ACCOUNT,
        "android-push-issuer.txt": ISSUER,
    }
    settings = {
        "ANDROID_SERVICE_ACCOUNT_FILE": KEY_FILE,
        "ANDROID_ENTERPRISE_FILE": "android-enterprise.txt",
        "ANDROID_SUBSCRIPTION_FILE": "android-subscription.txt",
        "ANDROID_PUSH_ACCOUNT_FILE": "android-push-account.txt",
        "ANDROID_PUSH_ISSUER_FILE": "android-push-issuer.txt",
    }
    return {name: content.encode() for name, content in files.items()}, settings
