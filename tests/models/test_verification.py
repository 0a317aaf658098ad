"""TOTP as RFC 6238 spells it, one step of drift either way, and each step once."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
import pytest

from models import verification
from models.database import Database
from models.sealed import Keyring, SealBroken
from models.verification import Verification, VerificationKind
from models.vocabulary import EPOCH, Secret
from tests.people import found, give_totp, hire

ORGANIZATION, ME, METHOD = (UUID(int=n) for n in range(1, 4))
SECRET = base64.b32encode(b"12345678901234567890").decode()
"""The key of the RFC's own vectors (appendix B), as an authenticator app is given it."""

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STEP = int(NOON.timestamp()) // 30


@pytest.fixture
def method(keys: Keyring) -> Verification:
    owner = (ORGANIZATION, ME, METHOD)
    return Verification(
        id=METHOD,
        organization_id=ORGANIZATION,
        account_id=ME,
        kind=VerificationKind.TOTP,
        label="phone",
        last_step=-1,
        is_default=True,
        created_at=NOON,
        sealed=keys.seal(Secret(SECRET.encode()), purpose=verification.PURPOSE, owner=owner),
    )


def code_of(step: int) -> str:
    return pyotp.TOTP(SECRET).generate_otp(step)


@pytest.mark.rule("A7.1")
@pytest.mark.parametrize(
    ("seconds", "eight_digits"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_codes_of_the_rfc_are_accepted_at_their_time(
    method: Verification, keys: Keyring, seconds: int, eight_digits: str
) -> None:
    now = EPOCH + timedelta(seconds=seconds)

    assert method.step_of(eight_digits[-6:], keys, now) == seconds // 30
    assert method.step_of(eight_digits, keys, now) is None, "we give out six digits"


@pytest.mark.rule("A7.4")
@pytest.mark.parametrize(("drift", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_of_drift_is_accepted_either_way_and_two_are_not(
    method: Verification, keys: Keyring, drift: int, accepted: bool
) -> None:
    assert method.step_of(code_of(STEP + drift), keys, NOON) == (STEP + drift if accepted else None)


@pytest.mark.parametrize("seconds", [0, 29.999999])
def test_a_step_lasts_from_its_first_moment_to_its_last(method: Verification, keys: Keyring, seconds: float) -> None:
    now = NOON + timedelta(seconds=seconds)

    assert method.step_of(code_of(STEP + 1), keys, now) == STEP + 1
    assert method.step_of(code_of(STEP + 2), keys, now) is None
    assert method.step_of(code_of(STEP - 2), keys, now) is None


@pytest.mark.parametrize("last_step", [STEP, STEP + 1, STEP + 100])
def test_a_step_that_is_not_newer_than_any_accepted_one_is_refused(
    method: Verification, keys: Keyring, last_step: int
) -> None:
    assert replace(method, last_step=last_step).step_of(code_of(STEP), keys, NOON) is None


@pytest.mark.rule("A7.3")
def test_after_step_s_the_one_before_is_refused_and_the_one_after_is_not(method: Verification, keys: Keyring) -> None:
    spent = replace(method, last_step=STEP)

    assert spent.step_of(code_of(STEP - 1), keys, NOON) is None
    assert spent.step_of(code_of(STEP + 1), keys, NOON) == STEP + 1


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "é" * 6, "\0" * 6, " " * 6, "-00001", "0" * 64])
def test_what_is_no_code_is_refused_like_a_wrong_one(method: Verification, keys: Keyring, code: str) -> None:
    assert method.step_of(code, keys, NOON) is None


def test_another_accounts_method_does_not_open_with_this_ones_seal(method: Verification, keys: Keyring) -> None:
    with pytest.raises(SealBroken):
        replace(method, account_id=UUID(int=99)).step_of(code_of(STEP), keys, NOON)


@pytest.fixture
async def enrolled(db: Database, keys: Keyring) -> UUID:
    person = await give_totp(db, keys, await hire(db, await found(db, NOON), "anna", NOON), NOON)
    assert person.method_id is not None
    return person.method_id


@pytest.mark.rule("A7.3")
async def test_a_step_is_spent_once_and_an_older_one_never_again(db: Database, enrolled: UUID) -> None:
    assert await spend(db, enrolled, STEP)

    assert not await spend(db, enrolled, STEP)
    assert not await spend(db, enrolled, STEP - 1)
    assert await spend(db, enrolled, STEP + 1)


@pytest.mark.rule("A7.2")
async def test_of_parallel_requests_with_one_code_exactly_one_succeeds(db: Database, enrolled: UUID) -> None:
    answers = await asyncio.gather(*(spend(db, enrolled, STEP) for _ in range(20)))

    assert answers.count(True) == 1


async def spend(db: Database, method_id: UUID, step: int) -> bool:
    async with db.write() as tx:
        return await verification.spend(tx, method_id, step, NOON)
