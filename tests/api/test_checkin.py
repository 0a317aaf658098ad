"""What the house makes of a device's words, in whatever protocol: who is found, what is heard."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
import sqlalchemy as sa

from api.signers import LEAST_PAUSE
from models import job, passcode, seen_message
from models.device import device
from models.enrollment import enrollment
from models.event import event
from models.fault import Fault
from models.settings import CONFIRMATION
from models.vocabulary import Act, JobState, Outcome, PasscodeKind, Reason, Secret, new_id
from platforms.base import (
    Answer,
    Caller,
    CheckIn,
    Command,
    DeviceReply,
    DeviceRequest,
    Enrollment,
    EnrollmentState,
    Keys,
    Refusal,
    Report,
    Shared,
)
from platforms.errors import KeysNeeded, Unreachable
from tests import runs
from tests.api.house import House
from tests.clock import NOON
from tests.people import Person, found, give_device
from workers.sweep import Sweep

ADDRESS = "phone-7"


class Spoken:
    """What the next request shall mean, said by the test; `heard` is what the platform was asked with."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self.caller = Caller(message="hello", address=ADDRESS)
        self.check_in = CheckIn()
        self.requests: list[DeviceRequest] = []
        self.views: list[Enrollment] = []
        self.signed_by: str | None = None
        self.channel = SimpleNamespace(fetches=0, trouble=None, signers={"k1": b"pem"})
        for name in ("identify", "read", "judge", "write", "refuse", "open_channel"):
            monkeypatch.setattr(house.platform, name, getattr(self, name), raising=False)

    def identify(self, request: DeviceRequest, now: datetime) -> Caller:
        self.requests.append(request)
        if self.signed_by is not None and self.signed_by not in request.signers:
            raise KeysNeeded
        return self.caller

    def read(self, caller: Caller, view: Enrollment, now: datetime) -> CheckIn:
        self.views.append(view)
        return self.check_in

    def judge(self, command: Command, report: Report) -> Outcome:
        assert isinstance(report.answer, Outcome)
        return report.answer

    def write(self, check_in: CheckIn, command: Command | None, view: Enrollment) -> Answer:
        return Answer(DeviceReply(200, {}, b"nothing" if command is None else command.ref.encode()))

    def refuse(self, refusal: Refusal) -> DeviceReply:
        return DeviceReply(418, {}, refusal.encode())

    @asynccontextmanager
    async def open_channel(self, shared: Shared) -> AsyncIterator[object]:
        yield _Source(self.channel)


class _Source:
    def __init__(self, told: SimpleNamespace) -> None:
        self._told = told

    async def wake(self, command: Command, view: Enrollment) -> None:
        raise AssertionError("nobody is woken here")

    async def keys(self) -> Keys:
        self._told.fetches += 1
        if self._told.trouble is not None:
            raise self._told.trouble
        return Keys(self._told.signers, timedelta(hours=1))


@pytest.fixture
def spoken(house: House, monkeypatch: pytest.MonkeyPatch) -> Spoken:
    return Spoken(house, monkeypatch)


@pytest.fixture
async def anna(house: House) -> Person:
    return await house.hire()


@pytest.fixture
async def phone(house: House, anna: Person) -> UUID:
    device_id = await give_device(house.db, anna, house.clock.now)
    await change(house, sa.update(enrollment).values(address=ADDRESS))
    return device_id


async def change(house: House, statement: sa.Update) -> None:
    async with house.db.write() as tx:
        await tx.execute(statement)


async def talk(house: House) -> str:
    async with house.client.post("/devices/pocket/talk?a=1&b=%20") as response:
        return await response.text()


async def bond_of(house: House, device_id: UUID) -> sa.Row[tuple[object, ...]]:
    (row,) = await house.rows(sa.select(enrollment).where(enrollment.c.device_id == device_id))
    return row


async def order(house: House, anna: Person, device_id: UUID) -> UUID:
    """A job as it is when a courier has taken it."""
    now = house.clock.now
    async with house.db.write() as tx:
        asked = await runs.ask(tx, anna, device_id, Act.REMOTE_LOCK, now)
        held = await runs.planned(tx, house.keys, asked.id, now, by_courier=True)
        await job.deliver(tx, held, by="worker", now=now, receipt="operation-7")
    return held.id


async def state(house: House, job_id: UUID) -> JobState:
    (row,) = await house.rows(sa.select(job.job.c.state).where(job.job.c.id == job_id))
    return JobState(row.state)


@pytest.mark.usefixtures("phone")
async def test_the_query_comes_undecoded(house: House, spoken: Spoken) -> None:
    assert await talk(house) == "nothing"

    assert spoken.requests[0].query == "a=1&b=%20"


async def test_what_is_nobodys_is_answered_as_the_platform_says(house: House, spoken: Spoken) -> None:
    spoken.caller = Caller(message=None, reply=DeviceReply(202, {}, b"not for us"))

    assert await talk(house) == "not for us"


@pytest.mark.parametrize("known", [True, False])
async def test_a_device_that_names_its_bond_is_found_by_it(
    house: House, spoken: Spoken, phone: UUID, known: bool
) -> None:
    bond = await bond_of(house, phone)
    spoken.caller = Caller(message=None, address=ADDRESS, enrollment_id=bond.id if known else new_id(house.clock.now))

    assert await talk(house) == ("nothing" if known else Refusal.NOT_BOUND)


async def test_a_bond_whose_link_nobody_opened_cannot_be_named(house: House, spoken: Spoken, phone: UUID) -> None:
    bond = await bond_of(house, phone)
    await change(house, sa.update(enrollment).values(link_hash=b"h" * 32, state="invited"))
    spoken.caller = Caller(message=None, address=ADDRESS, enrollment_id=bond.id)

    assert await talk(house) == Refusal.NOT_BOUND


async def test_a_bond_cannot_be_named_from_another_address(house: House, spoken: Spoken, phone: UUID) -> None:
    bond = await bond_of(house, phone)
    spoken.caller = Caller(message=None, address="phone-8", enrollment_id=bond.id)
    spoken.check_in = CheckIn(memory=Secret(b"mine now"))

    assert await talk(house) == Refusal.NOT_BOUND

    assert (await bond_of(house, phone)).memory is None
    assert [*(await house.events())] == [("device:enrollment:bind", "failure", "another_address")]


async def test_a_disabled_device_is_turned_away_and_that_is_written_down(
    house: House, spoken: Spoken, phone: UUID
) -> None:
    bond = await bond_of(house, phone)
    await change(house, sa.update(device).values(state="disabled"))
    spoken.caller = Caller(message=None, address=ADDRESS, enrollment_id=bond.id)
    spoken.check_in = CheckIn(memory=Secret(b"heard"))

    assert [await talk(house) for _ in range(2)] == [Refusal.NOT_BOUND] * 2

    assert (await bond_of(house, phone)).memory is None
    assert await house.events() == Counter([("device:enrollment:bind", "failure", "device_disabled")])
    assert (await house.rows(sa.select(device.c.last_seen_at))) == [(None,)]


async def test_who_is_not_proven_is_challenged_and_nothing_else_comes_of_it(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    bond = await bond_of(house, phone)
    job_id = await order(house, anna, phone)
    spoken.caller = Caller(message=None, address="whoever", enrollment_id=bond.id)
    spoken.check_in = CheckIn(
        proven=False,
        memory=Secret(b"a nonce"),
        state=EnrollmentState.LEFT,
        os_version="6.6.6",
        reports=(Report(str(job_id), Outcome(JobState.SUCCEEDED)),),
        wants_order=True,
    )

    assert await talk(house) == "nothing"

    after = await bond_of(house, phone)
    assert (after.state, after.address, after.left_at) == ("enrolled", ADDRESS, None)
    assert after.memory is not None
    (held,) = await house.rows(sa.select(device).where(device.c.id == phone))
    assert (held.os_version, held.last_seen_at) == (None, None)
    assert await state(house, job_id) is JobState.DELIVERED
    assert await house.events() == {}


@pytest.mark.usefixtures("phone")
async def test_a_message_is_heard_once(house: House, spoken: Spoken) -> None:
    spoken.caller = Caller(message=None, address=ADDRESS, message_id="m-1")

    assert [await talk(house), await talk(house)] == ["nothing", Refusal.SEEN]
    assert len(spoken.views) == 1


async def test_heard_messages_are_forgotten_after_their_time(house: House) -> None:
    async def erase(at: datetime) -> int:
        async with house.db.write() as tx:
            return await seen_message.erase_due(tx, at, 10)

    async with house.db.write() as tx:
        assert await seen_message.first_time(tx, "pocket", "m-1", house.clock.now)
        assert await seen_message.first_time(tx, "other", "m-1", house.clock.now)
        assert not await seen_message.first_time(tx, "pocket", "m-1", house.clock.now)

    end = house.clock.now + seen_message.KEEP
    assert [await erase(end - timedelta(microseconds=1)), await erase(end), await erase(end)] == [0, 2, 0]


async def test_a_notice_settles_the_order_that_a_courier_took(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    job_id = await order(house, anna, phone)
    done = Outcome(JobState.SUCCEEDED)
    spoken.check_in = CheckIn(reports=(Report(None, done, receipt="operation-7", may_outrun=True),))

    assert [await talk(house), await talk(house)] == ["nothing", "nothing"]

    assert await state(house, job_id) is JobState.SUCCEEDED
    assert await house.told(anna) == ["job.remote_lock.succeeded"]


async def test_a_courier_that_still_has_an_order_keeps_it(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    job_id = await order(house, anna, phone)
    spoken.check_in = CheckIn(reports=(Report(None, Outcome(None), receipt="operation-7"),))

    assert await talk(house) == "nothing"

    assert await state(house, job_id) is JobState.DELIVERED


async def test_a_notice_that_outran_its_order_leaves_no_trace_and_comes_again(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    spoken.caller = Caller(message=None, address=ADDRESS, message_id="m-1")
    report = Report(None, Outcome(JobState.SUCCEEDED), receipt="operation-7", may_outrun=True)
    spoken.check_in = CheckIn(reports=(report,), os_version="14")

    assert await talk(house) == Refusal.TRY_LATER
    (held,) = await house.rows(sa.select(device).where(device.c.id == phone))
    assert held.os_version is None
    job_id = await order(house, anna, phone)
    assert await talk(house) == "nothing"

    assert await state(house, job_id) is JobState.SUCCEEDED


@pytest.mark.parametrize(("relayed", "address"), [(False, "192.0.2.7"), (True, None)])
async def test_from_where_a_device_calls_is_kept_with_when_unless_others_call_for_it(
    house: House, spoken: Spoken, phone: UUID, relayed: bool, address: str | None
) -> None:
    spoken.caller = Caller(message=None, address=ADDRESS, relayed=relayed)
    spoken.check_in = CheckIn(os_name="Pocket OS", maker="Acme")
    headers = {"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}
    async with house.client.post("/devices/pocket/talk", headers=headers) as response:
        assert response.status == 200

    (held,) = await house.rows(sa.select(device))
    assert (held.os_name, held.maker) == ("Pocket OS", "Acme")
    assert (held.last_seen_at, held.seen_from) == (house.clock.now, address)


@pytest.mark.usefixtures("phone")
async def test_an_old_notice_of_an_order_that_is_not_ours_is_heard_and_left(house: House, spoken: Spoken) -> None:
    spoken.check_in = CheckIn(reports=(Report(None, Outcome(JobState.SUCCEEDED), receipt="operation-9"),))

    assert await talk(house) == "nothing"


async def test_a_device_that_comes_back_under_a_new_address_is_the_same_one(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    invited = await give_device(house.db, anna, house.clock.forward(1))
    await change(house, sa.update(enrollment).where(enrollment.c.device_id == invited).values(address=None))
    bond = await bond_of(house, invited)
    spoken.caller = Caller(message=None, address="phone-8", enrollment_id=bond.id)
    spoken.check_in = CheckIn(address="phone-8", formerly=("phone-6", ADDRESS))

    assert await talk(house) == "nothing"

    rows = await house.rows(sa.select(enrollment).where(enrollment.c.left_at.is_(None)))
    assert [(row.device_id, row.address) for row in rows] == [(phone, "phone-8")]
    assert [row.id for row in await house.rows(sa.select(device.c.id))] == [phone]


@pytest.mark.parametrize("same_organization", [True, False])
async def test_an_address_of_another_account_is_refused_and_the_operator_is_told_whose_it_is(
    house: House, spoken: Spoken, anna: Person, phone: UUID, same_organization: bool
) -> None:
    elsewhere = anna.organization_id if same_organization else await found(house.db, house.clock.now)
    bert = await house.hire("bert", organization_id=elsewhere)
    his = await give_device(house.db, bert, house.clock.forward(1))
    await change(house, sa.update(enrollment).where(enrollment.c.device_id == his).values(address=None))
    spoken.caller = Caller(message=None, address=ADDRESS, enrollment_id=(await bond_of(house, his)).id)
    spoken.check_in = CheckIn(address=ADDRESS)

    assert [await talk(house) for _ in range(3)] == [Refusal.NOT_BOUND] * 3

    assert await house.events(bert) == Counter([("device:enrollment:bind", "failure", "address_taken")])
    assert await house.events(anna) == Counter(), "nobody's own record names another"
    rows = await house.rows(sa.select(event).where(event.c.action == "device:enrollment:address_taken"))
    told = {row.organization_id: row for row in rows}
    said = {"address": ADDRESS, "platform": "pocket"}
    refused = {"refused_device": str(his), "refused_account": str(bert.id)}
    holding = {"held_by_device": str(phone), "held_by_account": str(anna.id)}
    if same_organization:
        (row,) = rows
        assert row.facts == {**said, **refused, **holding}
        return
    assert told[elsewhere].facts == {**said, **refused}
    assert told[anna.organization_id].facts == {**said, **holding}
    assert (told[anna.organization_id].subject_id, told[anna.organization_id].actor_id) == (phone, None)


async def test_a_device_that_is_refused_on_and_on_is_one_line_a_minute(
    house: House, spoken: Spoken, phone: UUID
) -> None:
    bond = await bond_of(house, phone)
    spoken.caller = Caller(message=None, address="phone-8", enrollment_id=bond.id)
    refused = ("device:enrollment:bind", "failure", "another_address")

    for _ in range(3):
        await talk(house)
    house.clock.forward(timedelta(seconds=59.999))
    await talk(house)
    assert (await house.events())[refused] == 1
    house.clock.forward(timedelta(seconds=0.001))
    await talk(house)

    assert (await house.events())[refused] == 2


# Who signed it


@pytest.mark.usefixtures("phone")
async def test_signers_are_fetched_when_first_needed_and_kept(house: House, spoken: Spoken) -> None:
    spoken.signed_by = "k1"

    assert [await talk(house), await talk(house)] == ["nothing", "nothing"]

    assert spoken.channel.fetches == 1


@pytest.mark.usefixtures("phone")
async def test_a_signer_that_nobody_knows_is_refused_without_asking_again_and_again(
    house: House, spoken: Spoken
) -> None:
    spoken.signed_by = "k2"

    assert [await talk(house) for _ in range(3)] == [Refusal.UNREADABLE] * 3

    assert spoken.channel.fetches == 1


@pytest.mark.usefixtures("phone")
async def test_while_signers_cannot_be_fetched_everybody_is_told_later(house: House, spoken: Spoken) -> None:
    spoken.signed_by, spoken.channel.trouble = "k1", Unreachable("away")

    assert [await talk(house) for _ in range(2)] == [Refusal.TRY_LATER] * 2

    assert spoken.channel.fetches == 1


@pytest.mark.usefixtures("phone")
async def test_new_signers_are_fetched_once_the_pause_is_over(
    house: House, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken.signed_by = "k1"
    await talk(house)
    spoken.signed_by, spoken.channel.signers = "k2", {"k2": b"pem"}
    assert await talk(house) == Refusal.UNREADABLE

    monkeypatch.setattr("api.signers.LEAST_PAUSE", 0.0)

    assert await talk(house) == "nothing"
    assert LEAST_PAUSE > 0


# A device that goes


async def handed_over(house: House, anna: Person, device_id: UUID, act: Act) -> UUID:
    now = house.clock.now
    async with house.db.write() as tx:
        asked = await runs.ask(tx, anna, device_id, act, now)
        held = await runs.planned(tx, house.keys, asked.id, now)
        await job.deliver(tx, held, by="device", now=now)
    return held.id


async def keep_passcode(house: House, anna: Person, device_id: UUID, job_id: UUID) -> None:
    async with house.db.write() as tx:
        await passcode.keep(
            tx,
            organization_id=anna.organization_id,
            device_id=device_id,
            account_id=anna.id,
            job_id=job_id,
            kind=PasscodeKind.TEMPORARY_NUMERIC,
            secret=Secret(b"123456"),
            keys=house.keys,
            readable_until=house.clock.now + timedelta(days=1),
            now=house.clock.now,
        )


async def has_left(house: House, device_id: UUID) -> bool:
    (held,) = await house.rows(sa.select(device).where(device.c.id == device_id))
    bond = await bond_of(house, device_id)
    codes = await house.rows(sa.select(passcode.passcode.c.sealed).where(passcode.passcode.c.sealed.is_not(None)))
    gone = (held.state, bond.state, bond.memory, codes) == ("left", "left", None, [])
    assert gone == (bond.left_at is not None) == (held.state == "left")
    return gone


@pytest.mark.parametrize("act", [Act.REMOVE, Act.WIPE])
async def test_a_removal_or_a_wipe_that_succeeded_ends_the_bond_and_all_that_was_asked(
    house: House, spoken: Spoken, anna: Person, phone: UUID, act: Act
) -> None:
    lock = await order(house, anna, phone)
    await keep_passcode(house, anna, phone, lock)
    job_id = await handed_over(house, anna, phone, act)
    spoken.check_in = CheckIn(
        reports=(Report(str(job_id), Outcome(JobState.SUCCEEDED)),), wants_order=True, memory=Secret(b"mine")
    )

    assert await talk(house) == "nothing"

    assert await has_left(house, phone)
    assert (await state(house, job_id), await state(house, lock)) == (JobState.SUCCEEDED, JobState.FAILED)
    assert set(await house.told(anna)) == {f"job.{act}.succeeded", "job.remote_lock.failed"}
    assert (await house.events())["device:enrollment:left", "success", None] == 1
    assert await talk(house) == Refusal.NOT_BOUND


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        (Act.WIPE, Outcome(JobState.FAILED, Reason.DEVICE_REFUSED)),
        (Act.REMOVE, Outcome(None)),
        (Act.REMOTE_LOCK, Outcome(JobState.SUCCEEDED)),
    ],
)
async def test_nothing_else_ends_a_bond(
    house: House, spoken: Spoken, anna: Person, phone: UUID, act: Act, outcome: Outcome
) -> None:
    job_id = await handed_over(house, anna, phone, act)
    spoken.check_in = CheckIn(reports=(Report(str(job_id), outcome),))

    assert await talk(house) == "nothing"

    assert not await has_left(house, phone)


@pytest.mark.parametrize(
    ("act", "ending"),
    [(Act.REMOVE, JobState.SUCCEEDED), (Act.WIPE, JobState.FAILED), (Act.REMOTE_LOCK, JobState.FAILED)],
)
async def test_a_farewell_is_what_a_removal_asked_for(
    house: House, spoken: Spoken, anna: Person, phone: UUID, act: Act, ending: JobState
) -> None:
    job_id = await handed_over(house, anna, phone, act)
    spoken.check_in = CheckIn(state=EnrollmentState.LEFT)

    assert await talk(house) == "nothing"

    assert await has_left(house, phone)
    assert await state(house, job_id) is ending
    assert await house.told(anna) == [f"job.{act}.{ending}"]


@pytest.mark.parametrize("act", [Act.REMOVE, Act.WIPE])
@pytest.mark.parametrize("values", [{"receipt": "operation-7"}, {"state": "waiting", "sent_at": NOON}])
async def test_where_a_courier_may_have_the_order_a_farewell_is_its_answer(
    house: House, spoken: Spoken, anna: Person, phone: UUID, act: Act, values: dict[str, object]
) -> None:
    job_id = await handed_over(house, anna, phone, act)
    await change(house, sa.update(job.job).values(**values))
    spoken.check_in = CheckIn(state=EnrollmentState.LEFT)

    assert await talk(house) == "nothing"

    assert await state(house, job_id) is JobState.SUCCEEDED
    assert await has_left(house, phone)


async def test_what_a_device_reports_with_its_farewell_still_counts(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    job_id = await handed_over(house, anna, phone, Act.WIPE)
    spoken.check_in = CheckIn(state=EnrollmentState.LEFT, reports=(Report(str(job_id), Outcome(JobState.SUCCEEDED)),))

    assert await talk(house) == "nothing"

    assert await state(house, job_id) is JobState.SUCCEEDED
    assert await has_left(house, phone)


async def test_a_new_life_does_not_prove_that_the_old_one_obeyed(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    job_id = await handed_over(house, anna, phone, Act.REMOVE)
    spoken.check_in = CheckIn(state=EnrollmentState.PENDING, anew=True)

    assert await talk(house) == "nothing"

    assert await state(house, job_id) is JobState.FAILED
    assert not await has_left(house, phone)


@pytest.mark.parametrize("act", [Act.REMOVE, Act.WIPE])
async def test_a_device_that_was_given_up_and_speaks_again_is_told_to_the_operator(
    house: House, spoken: Spoken, anna: Person, phone: UUID, act: Act
) -> None:
    job_id = await handed_over(house, anna, phone, act)
    house.clock.forward(CONFIRMATION)
    sweep = Sweep(house.db, house.keys, Secret(b"a" * 32), SilentDoor(), Fault())  # type: ignore[arg-type] # no bell
    await sweep.jobs()
    assert await state(house, job_id) is JobState.UNCONFIRMED
    assert await has_left(house, phone)
    spoken.caller = Caller(message=None, address=ADDRESS, enrollment_id=(await bond_of(house, phone)).id)

    assert [await talk(house), await talk(house)] == [Refusal.NOT_BOUND] * 2

    (row,) = await house.rows(sa.select(job.job).where(job.job.c.id == job_id))
    assert row.state == "unconfirmed"
    assert (row.late_result["state"], row.late_result["reason"]) == ("failed", "heard_again")
    assert (await house.events())[f"device:{act}:late_result", "success", None] == 1
    assert await house.told(anna) == [f"job.{act}.unconfirmed"]


async def test_a_late_answer_to_what_was_given_up_is_kept(
    house: House, spoken: Spoken, anna: Person, phone: UUID
) -> None:
    job_id = await handed_over(house, anna, phone, Act.WIPE)
    house.clock.forward(CONFIRMATION)
    sweep = Sweep(house.db, house.keys, Secret(b"a" * 32), SilentDoor(), Fault())  # type: ignore[arg-type] # no bell
    await sweep.jobs()
    spoken.caller = Caller(message=None, address=ADDRESS, enrollment_id=(await bond_of(house, phone)).id)
    spoken.check_in = CheckIn(reports=(Report(str(job_id), Outcome(JobState.SUCCEEDED)),))

    assert await talk(house) == "nothing"

    (row,) = await house.rows(sa.select(job.job).where(job.job.c.id == job_id))
    assert (row.state, row.late_result["state"]) == ("unconfirmed", "succeeded")


class SilentDoor:
    """A door of which the sweep needs no more than this."""

    def nudge(self, account_id: UUID) -> None: ...

    async def ring(self, rings: object) -> None: ...
