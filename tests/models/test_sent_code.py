"""A code that is sent: its length and life, its one use, the tries that stay counted, and how often one goes out."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

import models
from models import delivery, sent_code, throttle
from models.database import Database
from models.delivery import Channel
from models.delivery import Person as Whose
from models.errors import TooManyTries
from models.keyed import keyed, of_address
from models.sealed import Keyring
from models.sent_code import DIGITS, Aim, Purpose, SentCode, Tried
from models.throttle import CODE_SENDS
from tests import people
from tests.clock import Clock
from tests.people import found, hire

KEY = b"k" * 32
MOMENT = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
NUMBER = "+31612345678"


class Post:
    """Codes of one person, and what went out."""

    def __init__(self, db: Database, keys: Keyring, clock: Clock, person: people.Person) -> None:
        self.db, self.keys, self.clock = db, keys, clock
        self.account = Whose(person.id, person.organization_id)
        self.aim = Aim(Purpose.SIGN_IN, uuid4(), uuid4())

    async def send(self, aim: Aim | None = None, **more: Any) -> SentCode | TooManyTries:
        asked: dict[str, Any] = {"channel": Channel.SMS, "to": NUMBER, "account": self.account, **more}
        async with self.db.write() as tx:
            return await sent_code.send(
                tx,
                keys=self.keys,
                server_key=KEY,
                aim=aim or self.aim,
                language="en",
                now=await tx.now(),
                **asked,
            )

    async def must_send(self, aim: Aim | None = None, **more: Any) -> str:
        """The code that went out."""
        sent = await self.send(aim, **more)
        assert isinstance(sent, SentCode), sent
        return (await self.codes())[-1]

    async def spend(self, code: str, aim: Aim | None = None) -> Tried:
        async with self.db.write() as tx:
            return await sent_code.spend(tx, server_key=KEY, aim=aim or self.aim, code=code, now=await tx.now())

    async def sent(self) -> list[Any]:
        async with self.db.read() as tx:
            return list(await tx.execute(sa.select(delivery.delivery).order_by(delivery.delivery.c.id)))

    async def codes(self) -> list[str]:
        opened = [delivery.Delivery.of(row).open(self.keys)[1] for row in await self.sent()]
        return [secret.text() for secret in opened if secret is not None]

    async def rows(self) -> list[Any]:
        async with self.db.read() as tx:
            return list(await tx.execute(sa.select(sent_code.sent_code)))

    def later(self, by: timedelta) -> datetime:
        self.clock.now += by
        return self.clock.now


@pytest.fixture
async def post(database: Database, keys: Keyring, clock: Clock) -> Post:
    return Post(
        database, keys, clock, await hire(database, await found(database, clock.now), "anna@example.org", clock.now)
    )


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


@pytest.mark.parametrize(("channel", "to", "digits"), [(Channel.MAIL, "a@b.example", 8), (Channel.SMS, NUMBER, 6)])
async def test_a6_a_mail_carries_eight_digits_and_a_short_message_six(
    post: Post, channel: Channel, to: str, digits: int
) -> None:
    code = await post.must_send(channel=channel, to=to)

    assert len(code) == DIGITS[channel] == digits
    assert code.isascii()
    assert code.isdigit()


async def test_a_code_works_once(post: Post) -> None:
    code = await post.must_send()

    assert (await post.spend(f" {code}\n")).fits
    assert not (await post.spend(code)).fits


@pytest.mark.parametrize(("after", "fits"), [(-MOMENT, True), (timedelta(0), False), (MOMENT, False)])
async def test_a6_a_code_lives_for_ten_minutes(post: Post, after: timedelta, fits: bool) -> None:
    code = await post.must_send()

    post.later(timedelta(minutes=10) + after)

    assert (await post.spend(code)).fits is fits


async def test_a_code_from_the_future_of_a_clock_that_was_put_back_does_not_fit(post: Post) -> None:
    code = await post.must_send()

    post.later(-MOMENT)

    assert not (await post.spend(code)).fits


async def test_a_code_ends_with_the_flow_that_it_was_sent_in_and_is_not_delivered_after_it(post: Post) -> None:
    until = post.clock.now + 3 * MINUTE
    code = await post.must_send(until=until)

    (row,) = await post.sent()
    assert row.expires_at == until
    assert row.params == {"minutes": "3"}
    post.later(3 * MINUTE)
    assert not (await post.spend(code)).fits


@pytest.mark.rule("A6.4")
async def test_a_code_from_before_a_resend_is_refused(post: Post) -> None:
    """A6 T: code from older resend refused."""
    old = await post.must_send()
    post.later(MINUTE)
    new = await post.must_send()

    assert old != new
    assert not (await post.spend(old)).fits
    assert (await post.spend(new)).fits


async def test_a_resend_keeps_the_wrong_tries(post: Post) -> None:
    """B3: a new code must not reset the failure count."""
    code = await post.must_send()
    assert [(await post.spend(wrong(code))).left for _ in range(3)] == [4, 3, 2]

    post.later(MINUTE)
    code = await post.must_send()
    assert [(await post.spend(wrong(code))).left for _ in range(2)] == [1, 0]

    assert await post.spend(code) == Tried(fits=False, left=0), "the right one after five wrong ones"
    post.later(MINUTE)
    assert isinstance(await post.send(), TooManyTries), "another code would not help"


async def test_the_fifth_try_may_be_the_right_one(post: Post) -> None:
    code = await post.must_send()
    for _ in range(4):
        await post.spend(wrong(code))

    assert (await post.spend(code)).fits


@pytest.mark.rule("A6.3")
@pytest.mark.parametrize("other", ["purpose", "flow_id", "subject_id"])
async def test_a_code_opens_nothing_but_what_it_was_sent_for(post: Post, other: str) -> None:
    code = await post.must_send()
    parts = {"purpose": post.aim.purpose, "flow_id": post.aim.flow_id, "subject_id": post.aim.subject_id}
    elsewhere = Aim(**{**parts, other: Purpose.PROVE if other == "purpose" else uuid4()})  # type: ignore[arg-type]
    await post.must_send(elsewhere, to="+31687654321")

    assert not (await post.spend(code, elsewhere)).fits
    assert (await post.spend(code)).fits


async def test_b6_codes_to_one_address_are_sixty_seconds_apart(post: Post) -> None:
    await post.must_send()

    post.later(timedelta(seconds=60) - MOMENT)
    refused = await post.send()
    assert isinstance(refused, TooManyTries)
    assert refused.facts["retry_after"] == 1
    post.later(MOMENT)
    await post.must_send()


async def test_b6_an_address_gets_five_codes_in_an_hour_whoever_asks(post: Post) -> None:
    begun = post.clock.now
    for _ in range(5):
        await post.must_send(Aim(Purpose.RECOVER, uuid4(), uuid4()), channel=Channel.MAIL, to="A.Jansen@b.example")
        post.later(MINUTE)

    fresh = Aim(Purpose.RECOVER, uuid4(), uuid4())
    post.clock.now = begun + timedelta(hours=1) - MOMENT
    assert isinstance(await post.send(fresh, channel=Channel.MAIL, to="a.jansen@b.example"), TooManyTries)
    await post.must_send(Aim(Purpose.RECOVER, uuid4(), uuid4()), channel=Channel.MAIL, to="b.jansen@b.example")
    post.clock.now = begun + timedelta(hours=1)
    await post.must_send(fresh, channel=Channel.MAIL, to="a.jansen@b.example")


async def test_b6_an_address_gets_ten_codes_in_a_day(post: Post) -> None:
    begun = post.clock.now
    for n in range(10):
        post.clock.now = begun + timedelta(minutes=61) * n
        await post.must_send(Aim(Purpose.PROVE, uuid4(), uuid4()))

    post.clock.now = begun + timedelta(days=1) - MOMENT
    assert isinstance(await post.send(), TooManyTries)
    post.clock.now = begun + timedelta(days=1)
    await post.must_send()


async def test_a6_a_flow_sends_five_codes_and_the_next_flow_begins_anew(post: Post) -> None:
    # An hour's budget of the address that ends in the middle of the flow, so that it is not what refuses.
    await post.must_send(Aim(Purpose.PROVE, uuid4(), uuid4()))
    post.later(timedelta(minutes=57))
    begun = post.clock.now
    sends = []
    for _ in range(5):
        sent = await post.send()
        assert isinstance(sent, SentCode)
        sends.append(sent.sends)
        post.later(MINUTE)

    assert sends == [1, 2, 3, 4, 5]
    refused = await post.send()
    assert isinstance(refused, TooManyTries)
    assert refused.facts["retry_after"] == 600
    post.clock.now = begun + sent_code.FLOW - MOMENT
    assert isinstance(await post.send(), TooManyTries)
    post.clock.now = begun + sent_code.FLOW
    anew = await post.send()
    assert isinstance(anew, SentCode)
    assert anew.sends == 1


async def test_after_a_use_the_next_code_begins_anew(post: Post) -> None:
    code = await post.must_send()
    await post.spend(wrong(code))
    await post.spend(code)
    post.later(MINUTE)

    again = await post.must_send()

    assert (await post.spend(wrong(again))).left == 4


async def test_what_is_refused_leaves_the_older_code_as_it_was(post: Post) -> None:
    code = await post.must_send()
    assert isinstance(await post.send(), TooManyTries)

    assert (await post.spend(code)).fits


async def test_neither_code_nor_address_is_in_a_row(post: Post) -> None:
    code = await post.must_send()

    async with post.db.read() as tx:
        tables = (sent_code.sent_code, delivery.delivery, throttle.throttle)
        seen = repr([list(await tx.execute(sa.select(table))) for table in tables])
    assert NUMBER not in seen
    assert NUMBER[1:] not in seen
    assert f"'{code}'" not in seen
    assert code.encode() not in (await post.rows())[0].digest


def test_equal_codes_and_addresses_are_hashed_apart() -> None:
    assert keyed(KEY, "a", b"1", b"23") != keyed(KEY, "a", b"12", b"3")
    assert keyed(KEY, "a", b"1") != keyed(KEY, "b", b"1")
    assert keyed(KEY, "a", b"1") != keyed(b"l" * 32, "a", b"1")
    assert of_address(KEY, "Anna@b.example") == of_address(KEY, "anna@b.example")
    assert "anna" not in of_address(KEY, "anna@b.example")


async def test_of_equal_codes_in_two_rows_nobody_sees_that_they_are(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.sent_code.secrets.randbelow", lambda _: 42)
    assert await post.must_send() == "000042"
    await post.must_send(Aim(Purpose.SIGN_IN, uuid4(), uuid4()), to="+31687654321")

    assert len({row.digest for row in await post.rows()}) == 2


async def test_a_resend_never_makes_the_same_code_again(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([7, 7, 7, 8])
    monkeypatch.setattr("models.sent_code.secrets.randbelow", lambda _: next(drawn))
    await post.must_send()
    post.later(MINUTE)

    assert await post.must_send() == "000008"


async def test_b5_a_decoy_is_counted_and_answered_alike_and_goes_to_nobody(post: Post) -> None:
    decoy = Aim(Purpose.RECOVER, uuid4(), uuid4())
    sent = await post.send(decoy, account=None)
    real = await post.send(Aim(Purpose.RECOVER, uuid4(), uuid4()), to="+31687654321")

    assert isinstance(sent, SentCode)
    assert replace(sent, leaves=True) == real
    assert len(await post.sent()) == 1
    assert isinstance(await post.send(decoy, account=None), TooManyTries)
    assert [(await post.spend("123456", decoy)).left for _ in range(6)] == [4, 3, 2, 1, 0, 0]


async def test_without_a_code_there_is_nothing_to_try(post: Post) -> None:
    assert await post.spend("123456") == Tried(fits=False, left=5)


async def test_what_was_sent_for_a_method_that_is_gone_fits_nothing(post: Post) -> None:
    code = await post.must_send()
    async with post.db.write() as tx:
        await sent_code.forget(tx, post.aim.subject_id)

    assert not (await post.spend(code)).fits


async def erase(post: Post) -> int:
    async with post.db.write() as tx:
        return await sent_code.erase_due(tx, await tx.now(), 10)


async def test_it_is_erased_when_its_flow_is_over(post: Post) -> None:
    await post.must_send()

    post.later(sent_code.FLOW - MOMENT)
    assert await erase(post) == 0
    post.later(MOMENT)
    assert await erase(post) == 1
    assert await post.rows() == []


async def test_it_is_not_erased_while_its_newest_code_lives(post: Post) -> None:
    await post.must_send()
    post.later(sent_code.FLOW - MINUTE)
    code = await post.must_send()

    post.later(timedelta(minutes=10) - MOMENT)
    assert await erase(post) == 0
    assert (await post.spend(code)).fits


async def test_a7_the_same_code_in_parallel_fits_once(post: Post) -> None:
    code = await post.must_send()

    tried = await asyncio.gather(*(post.spend(code) for _ in range(8)))

    assert sum(one.fits for one in tried) == 1


async def test_of_parallel_resends_one_goes_out(post: Post) -> None:
    await asyncio.gather(*(post.send() for _ in range(8)))
    assert len(await post.sent()) == 1

    post.later(MINUTE)
    await asyncio.gather(*(post.send() for _ in range(8)))
    assert len(await post.sent()) == 2


async def test_wrong_tries_in_parallel_are_all_counted(post: Post) -> None:
    code = await post.must_send()

    await asyncio.gather(*(post.spend(wrong(code)) for _ in range(8)))

    assert not (await post.spend(code)).fits


@pytest.mark.parametrize("_round", range(4))
async def test_code_against_resend_the_old_one_wins_before_or_is_dead_after(post: Post, _round: int) -> None:
    code = await post.must_send()
    post.later(MINUTE)

    tried, sent = await asyncio.gather(post.spend(code), post.send())

    assert isinstance(sent, SentCode)
    new = (await post.codes())[-1]
    # Before: used, and the new one stands for another flow. After: a wrong try, which the new one keeps.
    assert not (await post.spend(code)).fits
    assert sent.sends == (1 if tried.fits else 2)
    assert (await post.spend(new)).fits


@pytest.mark.parametrize("language", ["en", "nl"])
def test_every_purpose_has_its_words_with_the_code_in_them(language: str) -> None:
    folder = Path(models.__file__).parent / "texts" / "letters"
    texts = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))

    spoken = [texts[f"sms.code.{purpose}"] for purpose in Purpose]
    written = [texts[f"mail.code.{purpose}.text"] for purpose in (Purpose.ENROL, Purpose.RECOVER)]
    assert all("{code}" in text and "{minutes}" in text for text in (*spoken, *written))
    assert all(text.startswith("{code}") for text in spoken), "what is read on a locked screen"
    assert not any("{code}" in texts[f"mail.code.{purpose}.subject"] for purpose in (Purpose.ENROL, Purpose.RECOVER))


def test_the_budgets_are_those_of_the_sheet() -> None:
    assert [(budget.limit, budget.period) for budget in CODE_SENDS] == [
        (1, MINUTE),
        (5, timedelta(hours=1)),
        (10, timedelta(days=1)),
    ]
