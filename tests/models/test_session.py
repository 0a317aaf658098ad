"""A session lives while it is of its account's generation, unexpired and not ended; each bound on its edge."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import account, session
from models.database import Database
from models.session import Session, SessionState, Who, hash_token
from models.settings import (
    PRIVILEGED_SESSION_ABSOLUTE,
    PRIVILEGED_SESSION_IDLE,
    RECENT_PROOF,
    SECOND_FACTOR_WAIT,
    SESSION_ABSOLUTE,
    SESSION_IDLE,
    SessionLife,
)
from tests.people import Person, block, found, hire

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

HELD = Session(
    id=UUID(int=1),
    organization_id=UUID(int=2),
    account_id=UUID(int=3),
    state=SessionState.SIGNED_IN,
    generation=7,
    strength=1,
    methods=("password",),
    signed_in_at=NOON,
    proven_at=NOON,
    proven_strength=1,
    used_at=NOON,
    idle_at=NOON + SESSION_IDLE,
    expires_at=NOON + SESSION_ABSOLUTE,
    ended_at=None,
    re_sign_in_id=None,
    address=None,
    client=None,
)
MOMENT = timedelta(microseconds=1)
ORDINARY = SessionLife(SESSION_IDLE, SESSION_ABSOLUTE)
PRIVILEGED = SessionLife(PRIVILEGED_SESSION_IDLE, PRIVILEGED_SESSION_ABSOLUTE)


def test_it_lives_in_its_own_generation_alone() -> None:
    assert HELD.lives(7, NOON)
    assert not HELD.lives(8, NOON)
    assert not HELD.lives(6, NOON)


def test_it_dies_at_its_last_moment_and_after_being_idle() -> None:
    in_use = replace(HELD, idle_at=HELD.expires_at + SESSION_IDLE)

    assert in_use.lives(7, HELD.expires_at - MOMENT)
    assert not in_use.lives(7, HELD.expires_at)
    assert HELD.lives(7, NOON + SESSION_IDLE - MOMENT)
    assert not HELD.lives(7, NOON + SESSION_IDLE)


def test_an_ended_one_does_not_live() -> None:
    assert not replace(HELD, ended_at=NOON).lives(7, NOON)


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(0.0, True), (299.999, True), (300.0, True), (300.001, False), (-0.001, False)]
)
def test_a_proof_is_fresh_within_both_bounds(seconds: float, fresh: bool) -> None:
    assert HELD.is_fresh(NOON + timedelta(seconds=seconds)) is fresh


def test_a_recent_proof_has_the_same_bounds_further_apart() -> None:
    assert HELD.is_fresh(NOON + RECENT_PROOF, RECENT_PROOF)
    assert not HELD.is_fresh(NOON + RECENT_PROOF + MOMENT, RECENT_PROOF)


@pytest.fixture
async def anna(db: Database) -> Person:
    return await hire(db, await found(db, NOON), "anna", NOON)


async def sign_in(
    db: Database,
    person: Person,
    token: str,
    *,
    now: datetime = NOON,
    generation: int = 0,
    state: SessionState = SessionState.SIGNED_IN,
    lifetime: timedelta = SESSION_ABSOLUTE,
) -> Session:
    async with db.write() as tx:
        return await session.open_session(
            tx,
            organization_id=person.organization_id,
            account_id=person.id,
            token_hash=hash_token(token),
            generation=generation,
            state=state,
            strength=1,
            methods=("password",),
            lifetime=lifetime,
            now=now,
            re_sign_in_id=None,
            address="192.0.2.1",
            client="a browser",
        )


async def who_holds(db: Database, token: str, now: datetime = NOON) -> Who | None:
    async with db.read() as tx:
        tx.heard_now(now)
        resolved = await session.resolve(tx, hash_token(token))
    return None if resolved is None else resolved[0]


async def test_a_token_leads_to_its_session_and_the_person_behind_it(db: Database, anna: Person) -> None:
    opened = await sign_in(db, anna, "token")

    who = await who_holds(db, "token")

    assert who is not None
    assert who.session == opened
    assert (who.account_id, who.organization_id, who.sign_in_name) == (anna.id, anna.organization_id, "anna")
    assert await who_holds(db, "another token") is None


async def test_the_token_itself_is_in_no_row(db: Database, anna: Person) -> None:
    await sign_in(db, anna, "a-token-to-look-for")

    async with db.read() as tx:
        row = (await tx.execute(sa.select(session.session))).one()

    assert "a-token-to-look-for" not in str(tuple(row))


async def test_ended_expired_and_blocked_lead_to_nobody(db: Database, anna: Person) -> None:
    opened = await sign_in(db, anna, "token")
    assert await who_holds(db, "token", NOON + SESSION_IDLE - MOMENT) is not None
    assert await who_holds(db, "token", NOON + SESSION_IDLE) is None

    await block(db, anna, NOON)
    assert await who_holds(db, "token") is None

    other = await hire(db, anna.organization_id, "bert", NOON)
    opened = await sign_in(db, other, "other")
    async with db.write() as tx:
        assert await session.end(tx, opened.id, NOON)
        assert not await session.end(tx, opened.id, NOON), "ended twice is ended once"
    assert await who_holds(db, "other") is None


async def test_a_new_generation_ends_every_session_of_that_account_and_no_others(db: Database, anna: Person) -> None:
    bert = await hire(db, anna.organization_id, "bert", NOON)
    for n in range(3):
        await sign_in(db, anna, f"anna {n}")
    await sign_in(db, bert, "bert")

    async with db.write() as tx:
        assert await account.end_every_session(tx, anna.id) == 1

    assert [await who_holds(db, f"anna {n}") for n in range(3)] == [None] * 3
    assert await who_holds(db, "bert") is not None


@pytest.mark.rule("A9.3")
async def test_a_sign_in_that_raced_with_a_new_generation_is_dead(db: Database, anna: Person) -> None:
    async with db.write() as tx:
        await account.end_every_session(tx, anna.id)

    await sign_in(db, anna, "late", generation=0)

    assert await who_holds(db, "late") is None


async def test_half_a_sign_in_is_completed_once_with_a_new_token(db: Database, anna: Person) -> None:
    half = await sign_in(db, anna, "half", state=SessionState.SECOND_FACTOR)

    async def complete(token: str) -> bool:
        async with db.write() as tx:
            return await session.complete(
                tx,
                half,
                token_hash=hash_token(token),
                strength=2,
                methods=("password", "totp"),
                life=ORDINARY,
                now=NOON,
            )

    done = await asyncio.gather(*(complete(f"whole {n}") for n in range(10)))

    assert done.count(True) == 1
    assert await who_holds(db, "half") is None
    who = await who_holds(db, f"whole {done.index(True)}")
    assert who is not None
    assert (who.session.state, who.session.strength) == (SessionState.SIGNED_IN, 2)


async def test_a_proof_moves_the_moment_and_the_token(db: Database, anna: Person) -> None:
    opened = await sign_in(db, anna, "old")
    later = NOON + timedelta(minutes=20)

    async with db.write() as tx:
        assert await session.prove(tx, opened.proven_by("password", ORDINARY, later), token_hash=hash_token("new"))

    assert await who_holds(db, "old", later) is None
    who = await who_holds(db, "new", later)
    assert who is not None
    assert (who.session.id, who.session.proven_at, who.session.signed_in_at) == (opened.id, later, NOON)
    assert who.session == opened.proven_by("password", ORDINARY, later)
    assert who.session.strength == 1, "the same factor again"


async def test_a_proof_by_another_factor_makes_the_session_stronger(db: Database, anna: Person) -> None:
    opened = await sign_in(db, anna, "old")

    async with db.write() as tx:
        assert await session.prove(tx, opened.proven_by("totp", ORDINARY, NOON), token_hash=hash_token("new"))

    who = await who_holds(db, "new")
    assert who is not None
    assert (who.session.strength, who.session.methods) == (2, ("password", "totp"))


async def test_the_list_holds_what_lives_and_comes_in_pages(db: Database, anna: Person) -> None:
    opened = [await sign_in(db, anna, f"token {n}", now=NOON + timedelta(seconds=n)) for n in range(5)]
    await sign_in(db, anna, "half", state=SessionState.SECOND_FACTOR)
    await sign_in(db, anna, "outdated", generation=-1)
    await sign_in(db, anna, "idle", now=NOON - SESSION_IDLE)
    async with db.write() as tx:
        await session.end(tx, opened[1].id, NOON)
    who = await who_holds(db, "token 0")
    assert who is not None

    async with db.read() as tx:
        first = await session.living(tx, who, NOON, None, 3)
        rest = await session.living(tx, who, NOON, first[-1].id, 3)

    assert [one.id for one in first + rest] == [opened[n].id for n in (0, 2, 3, 4)]
    assert len(first) == 3


async def test_use_is_written_down_coarsely_and_never_backwards(db: Database, anna: Person) -> None:
    opened = await sign_in(db, anna, "token")
    assert not session.needs_touch(opened, NOON + timedelta(seconds=59))
    assert session.needs_touch(opened, NOON + timedelta(seconds=60))

    async with db.write() as tx:
        await session.touch(tx, opened, ORDINARY, NOON + timedelta(minutes=20))
        await session.touch(tx, opened, ORDINARY, NOON + timedelta(minutes=10))

    who = await who_holds(db, "token", NOON + timedelta(minutes=45))
    assert who is not None
    assert who.session.used_at == NOON + timedelta(minutes=20)
    assert who.session.expires_at == opened.expires_at


async def test_whoever_was_given_a_role_meanwhile_has_a_shorter_life_from_the_next_use_on(
    db: Database, anna: Person
) -> None:
    opened = await sign_in(db, anna, "token")
    used = NOON + timedelta(minutes=20)

    async with db.write() as tx:
        await session.touch(tx, opened, PRIVILEGED, used)

    async with db.read() as tx:
        row = (await tx.execute(sa.select(session.session))).one()
    assert (row.idle_at, row.expires_at) == (used + PRIVILEGED.idle, NOON + PRIVILEGED.absolute)


async def test_half_a_sign_in_that_is_used_does_not_live_longer(db: Database, anna: Person) -> None:
    half = await sign_in(db, anna, "half", state=SessionState.SECOND_FACTOR, lifetime=SECOND_FACTOR_WAIT)

    async with db.write() as tx:
        await session.touch(tx, half, PRIVILEGED, NOON + timedelta(minutes=2))

    assert await who_holds(db, "half", NOON + SECOND_FACTOR_WAIT - MOMENT) is not None
    assert await who_holds(db, "half", NOON + SECOND_FACTOR_WAIT) is None
