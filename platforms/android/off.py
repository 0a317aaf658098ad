"""Android where nobody has set it up: it offers nothing, knows no address, and asks nothing of Google."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from uuid import UUID

from models.vocabulary import Act, Order, Outcome, Ownership, PlatformName, Reason
from platforms.android import acts
from platforms.android.handler import NAME, REFUSALS
from platforms.base import (
    Answer,
    Caller,
    Channel,
    CheckIn,
    Command,
    DeviceReply,
    DeviceRequest,
    Enrollment,
    Facts,
    Management,
    Plan,
    Reach,
    Receipt,
    Refusal,
    Report,
    Road,
    Shared,
    Welcome,
)
from platforms.errors import Refused, Unreadable


class SwitchedOff:
    """Meets PlatformHandler."""

    @property
    def name(self) -> PlatformName:
        return NAME

    @property
    def aliases(self) -> tuple[str, ...]:
        return ()

    @property
    def max_body(self) -> int:
        return 0

    @property
    def passcode(self) -> None:
        return None

    def offers(self, facts: Facts) -> Mapping[Act, str | None]:
        return {}

    def reach(self, facts: Facts, last_seen_at: datetime | None, now: datetime) -> Reach:
        return Reach(Road.COURIER)

    def management(self, facts: Facts) -> Management:
        return acts.management(facts)

    def plan(self, order: Order, enrollment: Enrollment) -> Plan:
        raise Refused(Reason.PLATFORM_UNSUPPORTED)

    def welcome(self, enrollment_id: UUID, ownership: Ownership, now: datetime) -> Welcome:
        raise Unreadable("switched_off")

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        raise Unreadable("switched_off")

    def read(self, caller: Caller, enrollment: Enrollment, now: datetime) -> CheckIn:
        raise Unreadable("switched_off")

    def judge(self, command: Command, report: Report) -> Outcome:
        return Outcome(None)

    def write(self, check_in: CheckIn, command: Command | None, enrollment: Enrollment) -> Answer:
        return Answer(REFUSALS[Refusal.UNSUPPORTED])

    def refuse(self, refusal: Refusal) -> DeviceReply:
        return DeviceReply(404)

    def open_channel(self, shared: Shared) -> AbstractAsyncContextManager[Channel]:
        return _open()


class _Nowhere:
    """Meets Channel."""

    async def wake(self, command: Command, enrollment: Enrollment) -> Receipt | None:
        raise Refused(Reason.PLATFORM_UNSUPPORTED)


@asynccontextmanager
async def _open() -> AsyncIterator[Channel]:
    yield _Nowhere()
