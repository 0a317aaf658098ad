"""A delivery from its row to its end: claimed like a job, tried with growing pauses, erased when it is over."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import address, delivery, not_me, notification
from models.database import Database
from models.delivery import (
    ATTEMPTS,
    LEASE,
    LIFE,
    UNSURE,
    AttemptOutcome,
    Channel,
    Delivery,
    DeliveryState,
    Link,
    Person,
)
from models.notification import Severity
from models.sealed import Keyring
from models.session import hash_token
from models.settings import DELIVERY_KEPT, NOT_ME_LINK
from models.vocabulary import Secret
from tests import people
from tests.clock import Clock
from tests.people import found, hire


@pytest.fixture
async def anna(database: Database, clock: Clock) -> people.Person:
    return await hire(database, await found(database, clock.now), "anna@example.org", clock.now)


async def send(database: Database, keys: Keyring, anna: people.Person, clock: Clock, **more: Any) -> UUID:
    asked: dict[str, Any] = {
        "channel": Channel.SMS,
        "to": "+31612345678",
        "key": "a.code",
        "params": {},
        "language": "nl",
        "secret": Secret(b"123456"),
        "account_id": anna.id,
        **more,
    }
    async with database.write() as tx:
        return await delivery.send(tx, keys=keys, organization_id=anna.organization_id, now=clock.now, **asked)


async def claim(database: Database, delivery_id: UUID, clock: Clock) -> Delivery | None:
    async with database.write() as tx:
        return await delivery.claim(tx, delivery_id, clock.now)


async def settle(
    database: Database, held: Delivery, clock: Clock, outcome: AttemptOutcome, **more: Any
) -> DeliveryState | None:
    async with database.write() as tx:
        return await delivery.settle(tx, held, outcome, now=clock.now, **more)


async def rows(database: Database, table: sa.Table) -> list[Any]:
    async with database.read() as tx:
        return list((await tx.execute(sa.select(table).order_by(*table.primary_key))).all())


async def one(database: Database) -> Any:
    (row,) = await rows(database, delivery.delivery)
    return row


async def test_where_it_goes_and_what_it_carries_are_sealed(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    delivery_id = await send(database, keys, anna, clock)

    row = await one(database)
    held = Delivery.of(row)
    assert held.id == delivery_id
    assert b"612345678" not in row.content
    assert b"123456" not in row.content
    assert held.open(keys) == ("+31612345678", Secret(b"123456"))
    assert "123456" not in repr(held)


async def test_workers_are_rung_when_it_is_kept_and_not_when_it_is_not(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    rung: list[UUID] = []
    database.ring = rung.append

    async def send_and_fail() -> None:
        async with database.write() as tx:
            person = Person(anna.id, anna.organization_id)
            await delivery.mail_notice(tx, keys=keys, account=person, key="a.notice", params={}, now=clock.now)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await send_and_fail()
    assert rung == []
    delivery_id = await send(database, keys, anna, clock)
    assert rung == [delivery_id]


async def test_a_claim_is_a_lease_that_one_run_has(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    delivery_id = await send(database, keys, anna, clock)

    first = await claim(database, delivery_id, clock)
    again = await claim(database, delivery_id, clock)
    clock.forward(LEASE - timedelta(microseconds=1))
    just_before = await claim(database, delivery_id, clock)
    clock.forward(timedelta(microseconds=1))
    after = await claim(database, delivery_id, clock)

    assert first is not None
    assert (first.attempt, first.unsure, again, just_before) == (1, 0, None, None)
    assert after is not None
    # Nobody saw the end of the first: it may have been sent.
    assert (after.attempt, after.unsure) == (2, 1)
    assert [(row.attempt, row.outcome) for row in await rows(database, delivery.delivery_attempt)] == [
        (1, "begun"),
        (2, "begun"),
    ]


async def test_a_run_that_lost_its_lease_changes_nothing(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    delivery_id = await send(database, keys, anna, clock)
    first = await claim(database, delivery_id, clock)
    clock.forward(LEASE)
    second = await claim(database, delivery_id, clock)
    assert first is not None
    assert second is not None

    assert await settle(database, first, clock, AttemptOutcome.SENT) is None
    assert (await one(database)).state == "queued"
    assert await settle(database, second, clock, AttemptOutcome.SENT) is DeliveryState.SENT
    assert await claim(database, delivery_id, clock) is None


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (AttemptOutcome.SENT, DeliveryState.SENT, None),
        (AttemptOutcome.REFUSED, DeliveryState.FAILED, "smtp_550"),
    ],
)
async def test_with_its_end_goes_what_it_carried(
    database: Database,
    keys: Keyring,
    anna: people.Person,
    clock: Clock,
    outcome: AttemptOutcome,
    state: DeliveryState,
    reason: str | None,
) -> None:
    held = await claim(database, await send(database, keys, anna, clock), clock)
    assert held is not None

    assert await settle(database, held, clock, outcome, error=reason) is state

    row = await one(database)
    assert (row.state, row.reason, row.content, row.due_at, row.lease_until) == (state, reason, None, None, None)
    assert row.ended_at == clock.now
    with pytest.raises(ValueError, match="over"):
        Delivery.of(row).open(keys)


async def test_pauses_grow_and_are_spread(database: Database, keys: Keyring, anna: people.Person, clock: Clock) -> None:
    delivery_id = await send(database, keys, anna, clock)
    held = await claim(database, delivery_id, clock)
    assert held is not None
    assert await settle(database, held, clock, AttemptOutcome.LATER, error="timeout") is DeliveryState.QUEUED

    wait = delivery.pause(delivery_id, 1)
    assert (await one(database)).available_at == clock.now + wait
    clock.forward(wait - timedelta(microseconds=1))
    assert await claim(database, delivery_id, clock) is None
    clock.forward(timedelta(microseconds=1))
    assert await claim(database, delivery_id, clock) is not None
    lowest = [5, 20, 60, 180, 600, 1800, 3600, 7200, 14400, 14400]
    for attempt, seconds in enumerate(lowest, start=1):
        paused = [delivery.pause(uuid4(), attempt).total_seconds() for _ in range(50)]
        assert all(seconds <= one < seconds * 4 / 3 for one in paused)
        assert len(set(paused)) > 10


async def test_a_longer_pause_that_the_other_side_asks_for_is_kept(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    held = await claim(database, await send(database, keys, anna, clock), clock)
    assert held is not None

    await settle(database, held, clock, AttemptOutcome.LATER, error="http_429", wait=timedelta(minutes=9))

    assert (await one(database)).available_at == clock.now + timedelta(minutes=9)


async def test_so_many_that_may_have_been_sent_and_it_is_given_up(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    delivery_id = await send(database, keys, anna, clock)
    ended = []
    for _ in range(UNSURE):
        held = await claim(database, delivery_id, clock)
        assert held is not None
        ended.append(await settle(database, held, clock, AttemptOutcome.UNSURE, error="cut_off"))
        clock.forward(delivery.pause(delivery_id, held.attempt))

    assert ended == [DeliveryState.QUEUED, DeliveryState.QUEUED, DeliveryState.FAILED]
    assert (await one(database)).reason == "cut_off"


async def test_the_last_attempt_is_the_last(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    held = await claim(database, await send(database, keys, anna, clock), clock)
    assert held is not None
    async with database.write() as tx:
        await tx.execute(sa.update(delivery.delivery).values(attempt=ATTEMPTS))
        await tx.execute(sa.update(delivery.delivery_attempt).values(attempt=ATTEMPTS))

    last = replace(held, attempt=ATTEMPTS)

    assert await settle(database, last, clock, AttemptOutcome.LATER, error="timeout") is DeliveryState.FAILED


async def test_an_expired_code_is_not_sent(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    end = clock.now + timedelta(minutes=10)
    delivery_id = await send(database, keys, anna, clock, expires_at=end)
    clock.now = end

    assert await claim(database, delivery_id, clock) is None
    async with database.write() as tx:
        (held,), _ = await delivery.due(tx, clock.now, 10)
        assert held.is_expired(clock.now)
        await delivery.expire(tx, held, clock.now)
    row = await one(database)
    assert (row.state, row.content, row.due_at) == ("expired", None, None)


async def test_a_moment_before_its_end_it_is_sent(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    delivery_id = await send(database, keys, anna, clock, expires_at=clock.now + timedelta(minutes=10))
    clock.forward(timedelta(minutes=10) - timedelta(microseconds=1))

    held = await claim(database, delivery_id, clock)

    assert held is not None
    # There is no time for another try: what it carries goes now.
    assert await settle(database, held, clock, AttemptOutcome.LATER, error="timeout") is DeliveryState.EXPIRED
    assert (await one(database)).content is None


async def test_it_lives_three_days_where_nobody_says_otherwise(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    await send(database, keys, anna, clock)

    assert (await one(database)).expires_at == clock.now + LIFE == clock.now + timedelta(hours=72)


async def test_it_is_forgotten_thirty_days_after_its_end_with_its_attempts(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    held = await claim(database, await send(database, keys, anna, clock), clock)
    assert held is not None
    clock.forward(1)
    await settle(database, held, clock, AttemptOutcome.SENT)

    async def erase() -> int:
        async with database.write() as tx:
            return await delivery.erase_due(tx, clock.now, 10)

    clock.forward(DELIVERY_KEPT - timedelta(microseconds=1))
    assert await erase() == 0
    clock.forward(timedelta(microseconds=1))
    assert await erase() == 1
    assert await rows(database, delivery.delivery_attempt) == []


async def test_a_notice_lights_the_flag_and_goes_to_every_address_old_and_new(
    database: Database, keys: Keyring, anna: people.Person, clock: Clock
) -> None:
    async with database.write() as tx:
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(anna.id, anna.organization_id),
            key="session.signed_out_everywhere",
            params={"network": "192.0.2.0/24"},
            now=clock.now,
            severity=Severity.INFO,
            also=("old@example.org", "anna@example.org"),
        )

    (line,) = await rows(database, notification.notification)
    letters = [Delivery.of(row) for row in await rows(database, delivery.delivery)]
    (token,) = await rows(database, not_me.not_me)
    assert line.key == "session.signed_out_everywhere"
    assert sorted(letter.open(keys)[0] for letter in letters) == ["anna@example.org", "old@example.org"]
    for letter in letters:
        secret = letter.open(keys)[1]
        assert secret is not None
        assert hash_token(secret.text()) == token.token_hash
        assert (letter.channel, letter.link, letter.language) == (Channel.MAIL, Link.NOT_ME, "en")
        assert letter.params == {"network": "192.0.2.0/24", "at": "2026-03-01T12:00:00+00:00"}
    assert token.expires_at == clock.now + NOT_ME_LINK == clock.now + timedelta(hours=72)


async def test_whoever_has_no_address_is_told_under_the_flag_alone(
    database: Database, keys: Keyring, clock: Clock
) -> None:
    otto = await hire(database, await found(database, clock.now), "otto", clock.now)

    async with database.write() as tx:
        assert await address.of_account(tx, otto.id, keys) == address.Letterbox((), "en")
        await delivery.notify(
            tx,
            keys=keys,
            account=Person(otto.id, otto.organization_id),
            key="session.signed_out_everywhere",
            params={},
            now=clock.now,
            severity=Severity.INFO,
        )

    assert len(await rows(database, notification.notification)) == 1
    assert await rows(database, delivery.delivery) == []
    assert await rows(database, not_me.not_me) == []


async def test_a_link_needs_its_token(database: Database, keys: Keyring, anna: people.Person, clock: Clock) -> None:
    with pytest.raises(ValueError, match="token"):
        await send(database, keys, anna, clock, secret=None, link=Link.NOT_ME)
