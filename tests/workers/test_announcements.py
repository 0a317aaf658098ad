"""Terms of use that will ask people anew are announced 30 days before: under the flag and by mail, once to each."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models import terms
from models.database import Database
from models.delivery import delivery
from models.notification import notification
from models.sealed import Keyring
from models.standing import NOTICE
from models.terms import terms_notice
from tests.clock import Clock
from tests.people import block, give_terms, hire
from tests.workers.shop import Shop, furnish
from workers import sweep

MOMENT = timedelta(microseconds=1)


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    return await furnish(database, clock, keys)


async def told(shop: Shop) -> dict[str, int]:
    """How often each account was told."""
    counted: dict[str, int] = {}
    async with shop.db.read() as tx:
        for row in await tx.execute(sa.select(notification).where(notification.c.key == "terms.announced")):
            counted[str(row.account_id)] = counted.get(str(row.account_id), 0) + 1
    return counted


async def test_people_hear_of_a_version_thirty_days_before_and_once(shop: Shop) -> None:
    mia = await hire(shop.db, shop.person.organization_id, "mia@example.org", shop.clock.now)
    at = shop.clock.now + NOTICE + timedelta(days=1)
    await give_terms(shop.db, shop.person.organization_id, shop.clock.now, effective_at=at)

    shop.clock.now = at - NOTICE - MOMENT
    await shop.sweep.round()
    assert await told(shop) == {}
    shop.clock.forward(MOMENT)
    for _ in range(3):
        await shop.sweep.round()

    assert await told(shop) == {str(mia.id): 1, str(shop.person.id): 1}
    assert mia.id in shop.bell.nudged
    async with shop.db.read() as tx:
        mails = (await tx.execute(sa.select(delivery).where(delivery.c.account_id == mia.id))).all()
    assert [(mail.key, mail.params["terms"], mail.link) for mail in mails] == [("terms.announced", "House rules", None)]


async def test_many_people_are_told_a_part_at_a_time(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "TOLD_AT_ONCE", 2)
    others = [await hire(shop.db, shop.person.organization_id, f"p{n}", shop.clock.now) for n in range(5)]
    at = shop.clock.now + timedelta(days=1)
    await give_terms(shop.db, shop.person.organization_id, shop.clock.now, effective_at=at)

    counts = []
    for _ in range(5):
        await shop.sweep.notices()
        counts.append(sum((await told(shop)).values()))

    assert counts == [2, 4, 6, 6, 6]
    assert set((await told(shop)).values()) == {1}
    assert len(others) == 5
    async with shop.db.read() as tx:
        assert await terms.due_notices(tx, shop.clock.now, 10) == []


async def test_a_round_that_fails_tells_nobody_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await give_terms(
        shop.db, shop.person.organization_id, shop.clock.now, effective_at=shop.clock.now + timedelta(days=1)
    )

    async def fails(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(terms, "told", fails)
        with pytest.raises(RuntimeError, match="killed"):
            await shop.sweep.notices()
    assert await told(shop) == {}
    await shop.sweep.notices()

    assert await told(shop) == {str(shop.person.id): 1}


async def test_who_is_blocked_hears_nothing(shop: Shop) -> None:
    await block(shop.db, shop.person, shop.clock.now)
    await give_terms(
        shop.db, shop.person.organization_id, shop.clock.now, effective_at=shop.clock.now + timedelta(days=1)
    )

    await shop.sweep.notices()

    assert await told(shop) == {}


@pytest.mark.parametrize("why", ["withdrawn", "in force"])
async def test_what_is_withdrawn_or_asked_already_is_not_announced(shop: Shop, why: str) -> None:
    at = shop.clock.now + timedelta(days=1)
    version = await give_terms(shop.db, shop.person.organization_id, shop.clock.now, effective_at=at)
    if why == "withdrawn":
        async with shop.db.write() as tx:
            await tx.execute(
                sa.update(terms.terms).where(terms.terms.c.id == version.terms_id).values(withdrawn_at=shop.clock.now)
            )
    else:
        shop.clock.now = at

    await shop.sweep.notices()

    assert await told(shop) == {}
    async with shop.db.read() as tx:
        (row,) = (await tx.execute(sa.select(terms_notice))).all()
    assert row.done_at == shop.clock.now


async def test_a_version_that_is_in_force_at_once_announces_nothing(shop: Shop) -> None:
    await give_terms(shop.db, shop.person.organization_id, shop.clock.now)

    async with shop.db.read() as tx:
        assert (await tx.execute(sa.select(terms_notice))).all() == []
