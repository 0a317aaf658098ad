"""The five minutes: both bounds, on the exact edge, and every road through the states."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from models.re_sign_in import LIVE, ReSignIn, ReSignInState
from models.vocabulary import Act

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORGANIZATION, ELSEWHERE, ME, OTHER, SESSION, JOB = (UUID(int=n) for n in range(1, 7))

OPEN = ReSignIn(
    id=UUID(int=10),
    organization_id=ORGANIZATION,
    account_id=ME,
    device_id=UUID(int=11),
    act=Act.RESET_PASSCODE,
    state=ReSignInState.OPEN,
    why=None,
    session_id=None,
    job_id=None,
    opened_at=NOON,
    proven_at=None,
)
PROVEN = replace(
    OPEN,
    state=ReSignInState.PROVEN,
    session_id=SESSION,
    opened_at=NOON - timedelta(seconds=200),
    proven_at=NOON,
)

EDGES = [(0.0, True), (299.999, True), (300.0, True), (300.000001, False), (300.001, False), (-0.001, False)]


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.rule("A14.1")
@pytest.mark.parametrize(("seconds", "inside"), EDGES)
def test_a_sign_in_proves_the_window_within_both_bounds(seconds: float, inside: bool) -> None:
    became = OPEN.after_sign_in(ME, ORGANIZATION, after(seconds))

    assert became is (ReSignInState.PROVEN if inside else ReSignInState.LAPSED)


@pytest.mark.rule("A14.1")
@pytest.mark.parametrize(("seconds", "inside"), EDGES)
def test_a_confirmation_uses_the_window_within_both_bounds(seconds: float, inside: bool) -> None:
    assert PROVEN.after_confirm(after(seconds)) is (ReSignInState.USED if inside else ReSignInState.LAPSED)


@pytest.mark.parametrize(("seconds", "inside"), EDGES)
@pytest.mark.parametrize("window", [OPEN, PROVEN], ids=["open", "proven"])
def test_a_reader_is_told_what_the_next_step_would_find(window: ReSignIn, seconds: float, inside: bool) -> None:
    assert window.seen_at(after(seconds)) is (window.state if inside else ReSignInState.LAPSED)


def test_the_second_bound_counts_from_the_proof_and_not_from_the_opening() -> None:
    assert PROVEN.closes_at == NOON + timedelta(seconds=100)
    assert PROVEN.after_confirm(after(300)) is ReSignInState.USED
    assert PROVEN.usable_until == after(300)


def test_an_open_window_can_be_used_by_nobody() -> None:
    assert OPEN.after_confirm(NOON) is ReSignInState.OPEN
    assert OPEN.usable_until is None


@pytest.mark.parametrize(
    ("account_id", "organization_id"), [(OTHER, ORGANIZATION), (ME, ELSEWHERE), (OTHER, ELSEWHERE)]
)
@pytest.mark.parametrize("seconds", [-1.0, 0.0, 300.0, 301.0])
def test_another_person_or_organization_cancels_it_whatever_the_time(
    account_id: UUID, organization_id: UUID, seconds: float
) -> None:
    assert OPEN.after_sign_in(account_id, organization_id, after(seconds)) is ReSignInState.CANCELLED


@pytest.mark.parametrize("state", [state for state in ReSignInState if state is not ReSignInState.OPEN])
def test_only_an_open_window_is_changed_by_a_sign_in(state: ReSignInState) -> None:
    window = replace(PROVEN, state=state)

    assert window.after_sign_in(ME, ORGANIZATION, NOON) is state
    assert window.after_sign_in(OTHER, ORGANIZATION, NOON) is state


@pytest.mark.parametrize("state", [state for state in ReSignInState if state not in LIVE])
def test_an_ended_window_stays_as_it_is(state: ReSignInState) -> None:
    window = replace(PROVEN, state=state)

    assert window.after_confirm(NOON) is state
    assert window.seen_at(after(10_000)) is state


class OneWindow(RuleBasedStateMachine):
    """A window, a clock that is set by hand, and everything that may happen to the two in any order.

    The model beside it keeps only the moments: t0, t1 and when it was used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.window = OPEN
        self.t1: datetime | None = None
        self.used_at: datetime | None = None
        self.ended: ReSignInState | None = None

    @initialize(microseconds=st.integers(0, 10**15))
    def opens(self, microseconds: int) -> None:
        self.now = NOON + timedelta(microseconds=microseconds)
        self.window = replace(OPEN, opened_at=self.now)

    @rule(microseconds=st.integers(0, 400_000_000) | st.sampled_from([299_999_000, 300_000_000, 300_001_000, 1]))
    def time_passes(self, microseconds: int) -> None:
        self.now += timedelta(microseconds=microseconds)

    @rule(microseconds=st.integers(1, 3_600_000_000))
    def the_clock_is_put_back(self, microseconds: int) -> None:
        self.now -= timedelta(microseconds=microseconds)

    @rule(
        account_id=st.sampled_from([ME, ME, OTHER]),
        organization_id=st.sampled_from([ORGANIZATION, ORGANIZATION, ELSEWHERE]),
    )
    def somebody_signs_in(self, account_id: UUID, organization_id: UUID) -> None:
        before = self.window
        state = before.after_sign_in(account_id, organization_id, self.now)
        if before.state is ReSignInState.OPEN and state is ReSignInState.PROVEN:
            assert (account_id, organization_id) == (ME, ORGANIZATION)
            self.t1 = self.now
            self.window = replace(before, state=state, session_id=SESSION, proven_at=self.now)
        else:
            self.become(state)

    @rule()
    def it_is_confirmed(self) -> None:
        before = self.window.state
        state = self.window.after_confirm(self.now)
        if before is ReSignInState.PROVEN and state is ReSignInState.USED:
            self.used_at = self.now
        self.become(state)

    @rule()
    def it_is_swept(self) -> None:
        self.become(self.window.seen_at(self.now))

    @precondition(lambda self: self.window.state in LIVE)
    @rule()
    def something_else_cancels_it(self) -> None:
        self.become(ReSignInState.CANCELLED)

    def become(self, state: ReSignInState) -> None:
        self.window = replace(self.window, state=state)

    @invariant()
    def an_ending_is_final(self) -> None:
        if self.ended is not None:
            assert self.window.state is self.ended
        elif self.window.state not in LIVE:
            self.ended = self.window.state

    @invariant()
    def nothing_extends_it(self) -> None:
        assert self.window.closes_at == self.window.opened_at + timedelta(seconds=300)
        assert self.window.proven_at == self.t1

    @invariant()
    def it_was_used_only_in_time(self) -> None:
        if self.used_at is None:
            assert self.window.state is not ReSignInState.USED
            return
        assert self.t1 is not None
        assert timedelta(0) <= self.t1 - self.window.opened_at <= timedelta(seconds=300)
        assert timedelta(0) <= self.used_at - self.t1 <= timedelta(seconds=300)


TestOneWindow = OneWindow.TestCase
