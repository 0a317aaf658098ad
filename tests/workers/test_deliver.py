"""A delivery from its row to a real mail server and back, on both databases, with runs that die where it hurts."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import delivery
from models.database import Database
from models.delivery import LEASE, UNSURE, Channel, DeliveryState, Link, Person
from models.fault import Fault
from models.log import configure
from models.sealed import Keyring
from models.vocabulary import Queue, Secret
from tests.clock import Clock
from tests.workers.post import PASSWORD, USER, Certificate, MailServer, serving
from tests.workers.shop import Shop, furnish
from workers.carriers import Carrier, MailSettings, Parcel
from workers.deliver import deliver
from workers.letters import Letters
from workers.mail import MailCarrier
from workers.needs import Needs
from workers.queue import Errand


class Death(BaseException):
    """As SIGKILL is to this run: nothing of it goes on."""


class Dying(Fault):
    def mark(self, step: str) -> None:
        if step == self.step:
            raise Death


@pytest.fixture
async def shop(database: Database, clock: Clock, keys: Keyring) -> Shop:
    return await furnish(database, clock, keys)


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with serving(MailServer()) as server:
        yield server


def carrier(server: MailServer) -> MailCarrier:
    environ = {"MODE": "embedded", "MAIL_URL": f"smtp://127.0.0.1:{server.port}", "MAIL_FROM": "us@latchkey.test"}
    settings = MailSettings.from_env(environ)
    assert settings is not None
    return MailCarrier(settings, Letters("https://latchkey.test"), None)


def needs(shop: Shop, carrier: Carrier | None, fault: Fault | None = None) -> Needs:
    carriers = {} if carrier is None else {Channel.MAIL: carrier}
    return replace(shop.needs, carriers=carriers, fault=fault or Fault())


async def send(shop: Shop, **more: Any) -> UUID:
    asked: dict[str, Any] = {"key": "not_me.done", "to": "anna@example.org", "secret": None, **more}
    params = {"network": "192.0.2.0/24", "browser": "Firefox", "at": shop.clock.now.isoformat()}
    async with shop.db.write() as tx:
        return await delivery.send(
            tx,
            keys=shop.keys,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            channel=Channel.MAIL,
            params=params,
            language="en",
            now=shop.clock.now,
            **asked,
        )


async def state(shop: Shop) -> tuple[str, str | None, int]:
    (row,) = await shop.rows(sa.select(delivery.delivery))
    return row.state, row.reason, row.attempt


async def attempts(shop: Shop) -> list[tuple[str, str | None]]:
    table = delivery.delivery_attempt
    return [(row.outcome, row.error) for row in await shop.rows(sa.select(table).order_by(table.c.attempt))]


async def test_it_is_sent_once_however_often_it_is_rung(shop: Shop, server: MailServer) -> None:
    delivery_id = await send(shop)

    await asyncio.gather(*(deliver(needs(shop, carrier(server)), delivery_id) for _ in range(3)))
    await deliver(needs(shop, carrier(server)), delivery_id)

    assert len(server.taken) == 1
    assert await state(shop) == ("sent", None, 1)
    assert await attempts(shop) == [("sent", None)]
    assert await shop.told() == []


async def test_a_run_that_dies_before_the_sending_sends_nothing_and_the_next_one_does(
    shop: Shop, server: MailServer
) -> None:
    delivery_id = await send(shop)

    with pytest.raises(Death):
        await deliver(needs(shop, carrier(server), Dying("delivery.claimed")), delivery_id)
    assert server.taken == []
    shop.clock.forward(LEASE)
    await shop.sweep.deliveries()
    assert shop.bell.heard() == [delivery_id]
    await deliver(needs(shop, carrier(server)), delivery_id)

    assert len(server.taken) == 1
    assert await attempts(shop) == [("begun", None), ("sent", None)]


async def test_a_run_that_dies_after_the_sending_costs_one_copy_that_can_be_recognized(
    shop: Shop, server: MailServer
) -> None:
    delivery_id = await send(shop)

    with pytest.raises(Death):
        await deliver(needs(shop, carrier(server), Dying("delivery.sent")), delivery_id)
    shop.clock.forward(LEASE)
    await shop.sweep.deliveries()
    assert shop.bell.heard() == [delivery_id]
    await deliver(needs(shop, carrier(server)), delivery_id)
    shop.clock.forward(timedelta(days=1))
    await shop.sweep.deliveries()

    assert shop.bell.heard() == []
    assert [server.mail(n)["Message-ID"] for n in range(2)] == [f"<{delivery_id}@latchkey.test>"] * 2
    assert server.taken[0][2] == server.taken[1][2]
    assert await state(shop) == ("sent", None, 2)


async def test_runs_that_keep_dying_after_the_sending_are_ended(shop: Shop, server: MailServer) -> None:
    delivery_id = await send(shop)

    for _ in range(UNSURE):
        with pytest.raises(Death):
            await deliver(needs(shop, carrier(server), Dying("delivery.sent")), delivery_id)
        shop.clock.forward(LEASE)
    await deliver(needs(shop, carrier(server)), delivery_id)

    assert len(server.taken) == UNSURE
    assert await state(shop) == ("failed", "unsure", UNSURE + 1)


async def test_a_mail_cut_off_at_its_end_is_sent_again_and_only_so_often(shop: Shop, server: MailServer) -> None:
    server.cut = "DATA"
    delivery_id = await send(shop)

    for attempt in range(1, UNSURE + 1):
        await deliver(needs(shop, carrier(server)), delivery_id)
        shop.clock.forward(delivery.pause(delivery_id, attempt))

    assert {server.mail(n)["Message-ID"] for n in range(UNSURE)} == {f"<{delivery_id}@latchkey.test>"}
    assert len(server.taken) == UNSURE
    assert await state(shop) == ("failed", "cut_off", UNSURE)
    assert await attempts(shop) == [("unsure", "cut_off")] * UNSURE


async def test_what_cannot_be_taken_now_waits_and_is_rung_when_it_is_due(shop: Shop, server: MailServer) -> None:
    server.says = {"RCPT": "451 later"}
    delivery_id = await send(shop)

    await deliver(needs(shop, carrier(server)), delivery_id)
    wait = delivery.pause(delivery_id, 1)
    shop.clock.forward(wait - timedelta(microseconds=1))
    await shop.sweep.deliveries()
    assert shop.bell.heard() == []
    shop.clock.forward(timedelta(microseconds=1))
    await shop.sweep.deliveries()
    assert shop.bell.rung == [(delivery_id, Queue.SYSTEM)]
    assert shop.bell.errands == {Errand.DELIVER}
    server.says = {}
    await deliver(needs(shop, carrier(server)), delivery_id)

    assert await attempts(shop) == [("later", "smtp_451"), ("sent", None)]
    assert await state(shop) == ("sent", None, 2)


async def test_a_refused_address_is_the_end(shop: Shop, server: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    server.says = {"RCPT": "550 no anna@example.org here"}
    caplog.set_level(logging.DEBUG)

    await deliver(needs(shop, carrier(server)), await send(shop, secret=Secret(b"987654")))

    assert await state(shop) == ("failed", "smtp_550", 1)
    told = " ".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name != "mail.log")
    ours = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith(("workers", "models")))
    assert "not delivered" in told
    assert "anna@example.org" not in ours
    assert "987654" not in ours


async def test_nothing_of_a_mail_is_in_our_log_however_it_ends(shop: Shop, tmp_path: Path) -> None:
    certificate, told = Certificate.make(tmp_path), io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("debug", "embedded", told)
    try:
        for says in ({}, {"RCPT": "450 anna@example.org is full"}, {"DATA": "554 anna@example.org"}):
            async with serving(MailServer(says=says), starttls=certificate.server()) as server:
                logging.getLogger("mail").setLevel(logging.CRITICAL)  # the other end, which is not ours
                url = f"smtp+starttls://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}"
                environ = {"MAIL_URL": url, "MAIL_FROM": "us@latchkey.test", "MAIL_CA": certificate.pem}
                settings = MailSettings.from_env(environ)
                assert settings is not None
                carrier = MailCarrier(settings, Letters("https://latchkey.test"), settings.tls())
                delivery_id = await send(shop, secret=Secret(b"a-token-of-a-link"), link=Link.NOT_ME)
                await deliver(needs(shop, carrier), delivery_id)
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(level)

    assert sorted(row.state for row in await shop.rows(sa.select(delivery.delivery))) == ["failed", "queued", "sent"]
    assert "not delivered" in told.getvalue()
    for secret in ("anna@example.org", "a-token-of-a-link", PASSWORD, quote(PASSWORD, safe=""), "is full"):
        assert secret not in told.getvalue()


async def test_without_a_carrier_it_fails_at_once(shop: Shop) -> None:
    await deliver(needs(shop, None), await send(shop))

    assert await state(shop) == ("failed", "no_carrier", 1)


async def test_a_carrier_that_breaks_may_have_sent_it(shop: Shop) -> None:
    class Broken:
        async def carry(self, parcel: Parcel) -> None:
            raise RuntimeError(parcel.to)

    await deliver(needs(shop, Broken()), await send(shop))

    assert await state(shop) == ("queued", None, 1)
    assert await attempts(shop) == [("unsure", "crashed")]


async def test_the_sweep_ends_what_is_too_late_and_tells_nobody(shop: Shop, server: MailServer) -> None:
    delivery_id = await send(shop, expires_at=shop.clock.now + timedelta(minutes=10))
    shop.clock.forward(timedelta(minutes=10))

    await shop.sweep.deliveries()
    await deliver(needs(shop, carrier(server)), delivery_id)

    assert (server.taken, shop.bell.heard(), await shop.told()) == ([], [], [])
    assert (await state(shop))[0] == DeliveryState.EXPIRED


async def test_an_emptied_queue_and_one_that_is_away_lose_nothing(shop: Shop) -> None:
    delivery_id = await send(shop)
    await shop.sweep.notice_lost_bells()
    assert shop.bell.heard() == []
    await shop.sweep.deliveries()
    assert shop.bell.heard() == [delivery_id]

    shop.bell.down = True
    shop.clock.forward(10)
    await shop.sweep.deliveries()
    shop.bell.down = False
    shop.clock.forward(20)
    await shop.sweep.deliveries()
    assert shop.bell.heard() == [delivery_id]


async def test_two_sweeps_at_once_ring_it_once(shop: Shop) -> None:
    delivery_id = await send(shop)
    shop.clock.forward(3)

    await asyncio.gather(shop.sweep.deliveries(), shop.new_sweep().deliveries())

    assert shop.bell.heard() == [delivery_id]


async def test_a_finished_reset_is_mailed_to_whoever_has_an_address(shop: Shop, tmp_path: Path) -> None:
    from models.account import account

    await shop.change(sa.update(account).values(sign_in_name="anna@example.org"))
    async with shop.db.write() as tx:
        whose = Person(shop.person.id, shop.person.organization_id)
        await delivery.mail_notice(
            tx, keys=shop.keys, account=whose, key="passcode.reset_done", params={"device": "Phone"}, now=shop.clock.now
        )

    (row,) = await shop.rows(sa.select(delivery.delivery))
    assert (row.key, row.link, row.account_id) == ("passcode.reset_done", "/not-me", shop.person.id)
