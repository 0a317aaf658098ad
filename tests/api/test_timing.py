"""What could be learned by how long an answer takes, beside signing in (`test_session.py`) and getting back in
(`test_recovery.py`): where somebody types an address that another person may have (B5).

Making an account is none of these: whoever may do that is told which names are taken (docs/threat-model.md).
"""

import random
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import sqlalchemy as sa

from models.throttle import throttle
from models.verification import VerificationKind
from tests.api.house import Answer, House, give_address
from tests.people import found

SAMPLES = 200
TRIES = 3
"""Of which the quickest is the sample: an answer of a few milliseconds is drowned in the machine's moods else."""
KINDS = {"somebody's name": "name", "somebody's address": "held", "unknown": "new"}
Ask: TypeAlias = Callable[[str, str], Awaitable[Answer]]
"""With an address, and with the token of somebody who asks for no other kind."""

pytestmark = [pytest.mark.prove, pytest.mark.timeout(600), pytest.mark.rule("B5.1")]


async def spread(house: House, series: int, ask: Ask) -> float:
    """The slowest median over the quickest; taken in turn, in an order that is drawn anew each time."""
    elsewhere = await found(house.db, house.clock.now, name=f"Elsewhere {series}")
    samples: dict[str, list[float]] = {kind: [] for kind in KINDS}
    drawn = random.Random(4711 + series)
    for n in range(SAMPLES):
        for kind in KINDS:
            asking = await house.hire(f"asks {series} {n} {kind}", roles=("guest_inviter",))
            await house.open_session(asking, f"{series} {n} {kind}", strength=2)
        for one in range(TRIES):
            here = house.organization_id if n % 2 else elsewhere
            other = await house.hire(f"name{series}x{n}x{one}@example.org", organization_id=here)
            await give_address(house, other, VerificationKind.EMAIL, f"held{series}x{n}x{one}@example.org")
    for n in range(SAMPLES):
        async with house.db.write() as tx:  # how many one organization may have sent in a day is not the question
            await tx.execute(sa.delete(throttle))
        tried: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for one in range(TRIES):
            for kind in drawn.sample(list(KINDS), len(KINDS)):
                mail = f"{KINDS[kind]}{series}x{n}x{one}@example.org"
                began = time.perf_counter()
                answer = await ask(mail, f"{series} {n} {kind}")
                tried[kind].append(time.perf_counter() - began)
                assert answer.status == 201, answer.json
        for kind, taken in tried.items():
            samples[kind].append(min(taken))
    medians = [statistics.median(taken) for taken in samples.values()]
    return max(medians) / min(medians)


async def must_be_alike(house: House, ask: Ask) -> None:
    """A mood of the machine that met one kind alone only ever widens the gap: one of three series shows it."""
    seen = [await spread(house, 0, ask)]
    for series in (1, 2):
        if min(seen) > 1.05:
            seen.append(await spread(house, series, ask))

    assert min(seen) <= 1.05, seen


async def test_b5_t_an_invitation_takes_as_long_whoever_has_the_address(house: House) -> None:
    """A person of one's own organization, of another, or nobody."""

    async def invite(mail: str, token: str) -> Answer:
        return await house.ask("POST", "/invitations", {"mail": mail, "language": "en"}, token=token)

    await must_be_alike(house, invite)


async def test_b5_t_an_address_of_ones_own_is_begun_in_the_same_time_whoever_has_it(house: House) -> None:
    async def begin(mail: str, token: str) -> Answer:
        return await house.ask("POST", "/security/methods/email", {"label": "Mine", "address": mail}, token=token)

    await must_be_alike(house, begin)
