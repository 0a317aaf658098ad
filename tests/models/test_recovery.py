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
from models.recovery_policy import SENT, Decoy, Purpose, Standing, decoys, mail_hint, option_id, phone_hint
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


# What is shown


def test_a_hint_shows_neither_the_address_nor_its_length() -> None:
    assert mail_hint("sanne.de.vries@mail.example.org") == "s•••@m•••.org"
    assert mail_hint("s@m.org") == "s•••@m•••.org"
    assert phone_hint("+31612345678") == "••• 78"


def test_what_is_made_up_stands_still_and_differs_by_name_and_by_key() -> None:
    allowed = frozenset(RECOVERY_KINDS)

    assert decoys(KEY, "a", allowed) == decoys(KEY, "a", allowed)
    assert decoys(KEY, "a", allowed) != decoys(KEY, "b", allowed)
    assert decoys(KEY, "a", allowed) != decoys(b"l" * 32, "a", allowed)
    assert option_id(KEY, "a", b"x") != option_id(KEY, "b", b"x")


@pytest.mark.parametrize("allowed", [{"totp"}, {"recovery_codes"}, set(RECOVERY_KINDS), set()])
def test_what_is_made_up_is_of_kinds_that_are_taken(allowed: set[str]) -> None:
    for n in range(50):
        made = decoys(KEY, str(n), allowed)
        assert made
        assert not allowed or {one.kind.value for one in made} <= allowed
        assert all(one.method is None for one in made)
