"""The way back in: its table of moves, its fifteen minutes, and every road through the states."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from models.contact import Contact
from models.errors import IllegalMove
from models.event import Actor
from models.organization import RECOVERY_KINDS, RecoveryFor, RecoverySettings
from models.recovery import LIVE, MOVES, Recovery, RecoveryState, move
from models.recovery_policy import SENT, Decoy, Purpose, Standing, options
from models.verification import Verification, VerificationKind

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STARTED = Recovery(
    id=UUID(int=1),
    organization_id=None,
    account_id=None,
    who="who",
    purpose=Purpose.RESET,
    state=RecoveryState.STARTED,
    decoy=None,
    why=None,
    generation=None,
    passed=(),
    started_at=NOON,
)
KEY = b"k" * 32


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "inside"), [(0, True), (899.999, True), (900, True), (900.000001, False), (-0.001, False)]
)
@pytest.mark.parametrize("state", sorted(LIVE))
def test_the_fifteen_minutes_are_inclusive_in_every_state(state: RecoveryState, seconds: float, inside: bool) -> None:
    flow = replace(STARTED, state=state)

    assert flow.seen_at(after(seconds)) is (state if inside else RecoveryState.EXPIRED)


@pytest.mark.parametrize("state", sorted(set(RecoveryState) - LIVE))
def test_an_ending_stays_what_it_was(state: RecoveryState) -> None:
    assert replace(STARTED, state=state).seen_at(after(10_000)) is state
    assert MOVES[state] == frozenset()


def test_what_is_proven_was_at_a_gate_and_what_is_done_was_proven() -> None:
    assert {state for state, to in MOVES.items() if RecoveryState.PROVEN in to} == {
        RecoveryState.GATE1,
        RecoveryState.GATE2,
    }
    assert [state for state, to in MOVES.items() if RecoveryState.DONE in to] == [RecoveryState.PROVEN]
    assert set(MOVES) == set(RecoveryState)


class _Sink:
    """Takes what a move writes."""

    async def execute(self, statement: object) -> None:
        return None


class OneFlow(RuleBasedStateMachine):
    """Whatever is tried in whatever order, nothing is done that was not proven by as many kinds as there are gates."""

    @initialize(gates=st.integers(1, 2))
    def begin(self, gates: int) -> None:
        self.gates = gates
        self.flow = STARTED
        self.road = [RecoveryState.STARTED]

    def _try(self, to: RecoveryState, *, flow: Recovery | None = None, why: str | None = None) -> None:
        before = self.flow
        coroutine = move(_Sink(), flow or before, to, actor=Actor("anonymous"), now=NOON, why=why)  # type: ignore[arg-type] # no database is needed for it
        try:
            coroutine.send(None)
        except StopIteration as done:
            self.flow = done.value
            self.road.append(self.flow.state)
        except IllegalMove:
            assert to not in MOVES[before.state]

    @rule(to=st.sampled_from(RecoveryState))
    def any_move_without_a_code(self, to: RecoveryState) -> None:
        if to not in {RecoveryState.GATE2, RecoveryState.PROVEN}:
            self._try(to)

    @precondition(lambda self: self.flow.state in {RecoveryState.GATE1, RecoveryState.GATE2})
    @rule(kind=st.sampled_from(RECOVERY_KINDS))
    def a_right_code(self, kind: str) -> None:
        if kind not in self.flow.passed_kinds:
            passed = replace(self.flow, passed=(*self.flow.passed, (kind, "method")))
            self._try(passed.after_gate(self.gates), flow=passed)

    @rule()
    def something_else_decides(self) -> None:
        self._try(RecoveryState.CANCELLED, why="blocked")

    @invariant()
    def nothing_is_done_unproven(self) -> None:
        if self.flow.state in {RecoveryState.PROVEN, RecoveryState.DONE}:
            assert len(self.flow.passed_kinds) == self.gates
            assert RecoveryState.PROVEN in self.road

    @invariant()
    def what_has_ended_stays_ended(self) -> None:
        ends = [state for state in self.road if state not in LIVE]
        assert len(set(ends)) <= 1
        assert (self.flow.ended_at is not None) == bool(ends)


TestOneFlow = OneFlow.TestCase


# Who may


def method(kind: VerificationKind, age: timedelta = timedelta(days=30), n: int = 1) -> Verification:
    return Verification(
        id=UUID(int=n),
        organization_id=UUID(int=1),
        account_id=UUID(int=2),
        kind=kind,
        label=kind.value,
        last_step=-1,
        is_default=False,
        sealed=None,
        created_at=NOON - age,
    )


def standing(
    *methods: Verification,
    whom: RecoveryFor = RecoveryFor.ALL,
    gates: int = 1,
    kinds: frozenset[str] = frozenset({"totp", "phone", "email", "recovery_codes"}),
    roles: tuple[str, ...] = (),
    is_operator: bool = False,
    in_group: bool = False,
) -> Standing:
    settings = RecoverySettings(whom, gates, kinds)
    contacts = {one.id: _contact(one, one.created_at) for one in methods if one.kind in SENT}
    return Standing(settings, methods, contacts, roles, is_operator, in_group, NOON)


def _contact(method: Verification, confirmed_at: datetime) -> Contact:
    return Contact(method.id, method.organization_id, method.account_id, method.kind, b"", "", None, confirmed_at)


TOTP, EMAIL, CODES = (
    method(kind, n=n)
    for n, kind in enumerate((VerificationKind.TOTP, VerificationKind.EMAIL, VerificationKind.RECOVERY_CODES), 10)
)


def test_a_role_or_a_second_factor_takes_two_gates_whatever_the_organization_says() -> None:
    assert standing(EMAIL).gates == 1
    assert standing(EMAIL, gates=2).gates == 2
    assert standing(EMAIL, roles=("helpdesk",)).gates == 2
    assert standing(EMAIL, is_operator=True).gates == 2
    assert standing(TOTP, EMAIL).gates == 2


def test_two_of_one_kind_are_one() -> None:
    assert not standing(TOTP, method(VerificationKind.TOTP, n=20)).registered
    assert standing(TOTP, EMAIL).registered
    assert standing(TOTP, EMAIL).kinds == ["totp", "email"]


def test_a_kind_that_the_organization_does_not_take_does_not_count() -> None:
    assert not standing(TOTP, EMAIL, kinds=frozenset({"totp"})).registered
    assert standing(TOTP, EMAIL, kinds=frozenset({"totp", "phone"})).can_add == ["phone"]


def test_a_passkey_and_a_pass_open_no_gate() -> None:
    assert standing(method(VerificationKind.PASSKEY), method(VerificationKind.ACCESS_PASS)).kinds == []


def test_a_number_makes_two_gates_and_so_is_never_the_only_one() -> None:
    phone = method(VerificationKind.PHONE, timedelta(minutes=1))

    assert standing(phone).gates == 2
    assert not standing(phone).registered
    assert standing(phone, CODES).registered


@pytest.mark.parametrize(
    ("age", "counts"), [(timedelta(hours=24), True), (timedelta(hours=24) - timedelta(microseconds=1), False)]
)
def test_an_address_is_not_the_only_gate_on_its_first_day(age: timedelta, counts: bool) -> None:
    young = method(VerificationKind.EMAIL, age)

    assert standing(young).registered is counts
    assert standing(young, CODES, gates=2).registered


@pytest.mark.parametrize(
    ("whom", "in_group", "blocked", "decoy"),
    [
        (RecoveryFor.ALL, False, False, None),
        (RecoveryFor.ALL, False, True, Decoy.BLOCKED),
        (RecoveryFor.NONE, True, False, Decoy.NOT_OFFERED),
        (RecoveryFor.GROUP, False, False, Decoy.NOT_OFFERED),
        (RecoveryFor.GROUP, True, False, None),
    ],
)
def test_who_may_is_who_is_offered_it(whom: RecoveryFor, in_group: bool, blocked: bool, decoy: Decoy | None) -> None:
    assert standing(EMAIL, whom=whom, in_group=in_group).decoy(Purpose.RESET, blocked=blocked) is decoy


@pytest.mark.parametrize(
    ("age", "may"), [(timedelta(hours=24), True), (timedelta(hours=24) - timedelta(microseconds=1), False)]
)
def test_two_kinds_lead_back_in_once_one_of_them_was_there_the_day_before(age: timedelta, may: bool) -> None:
    now, aged = (method(kind, timedelta(0), n=n) for n, kind in enumerate(KINDS)), method(*AGED, n=20)

    young = standing(*now, replace(aged, created_at=NOON - age))

    assert young.registered is may


KINDS = (VerificationKind.EMAIL, VerificationKind.RECOVERY_CODES)
AGED = (VerificationKind.PHONE, timedelta(hours=24))


def test_after_a_method_of_today_only_one_of_yesterday_passes_the_last_gate() -> None:
    phone = method(VerificationKind.PHONE, timedelta(hours=23), n=30)
    had = standing(phone, EMAIL, method(VerificationKind.TOTP, timedelta(hours=1), n=31))

    assert {one.kind for one in had.fitting(())} == {phone.kind, EMAIL.kind, TOTP.kind}
    assert had.fitting((("phone", str(phone.id)),)) == [EMAIL]
    assert {one.kind for one in had.fitting((("email", str(EMAIL.id)),))} == {phone.kind, TOTP.kind}


# What is shown


def test_every_name_is_offered_each_kind_under_ids_of_its_own() -> None:
    first, second = options(KEY, "a"), options(KEY, "b")

    assert first == options(KEY, "a")
    assert [one.kind.value for one in first] == [one.kind.value for one in second] == list(RECOVERY_KINDS)
    assert not {one.id for one in first} & {one.id for one in second + options(b"l" * 32, "a")}
    assert options(KEY, "a", {"email"}) == [one for one in first if one.kind is VerificationKind.EMAIL]
