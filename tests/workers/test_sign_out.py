"""Signed out everywhere, and every app is told: what each answer means, and who is told of it in the end."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import jwt
import pytest
import sqlalchemy as sa

from models import account, app, job, sign_out, signing_key
from models.app import App
from models.database import Database
from models.delivery import Person
from models.event import Actor, event
from models.job import CRASHES, LEASE, Job
from models.notification import notification
from models.sealed import Keyring
from models.settings import APP_USE_KEPT
from models.signing_key import AFTER, AHEAD
from models.signing_key import signing_key as signing_keys
from models.vocabulary import JobState, new_id
from tests.clock import Clock
from tests.workers.relying_party import ISSUER, LOOPBACK, RelyingParty, serving
from tests.workers.shop import Shop, furnish
from workers import logout
from workers.logout import Teller
from workers.run_job import run_job


@pytest.fixture
async def shop(db: Database, clock: Clock, keys: Keyring) -> Shop:
    shop = await furnish(db, clock, keys)
    await shop.sweep.rotate_keys()
    return shop


@pytest.fixture
async def teller() -> AsyncIterator[Teller]:
    async with Teller(ISSUER, plain=True, meant=LOOPBACK) as teller:
        yield teller


@pytest.fixture
async def timesheet(shop: Shop) -> RelyingParty:
    return RelyingParty("timesheet", await published(shop))


@pytest.fixture
async def wiki(shop: Shop) -> RelyingParty:
    return RelyingParty("wiki", await published(shop))


async def published(shop: Shop) -> list[dict[str, str]]:
    async with shop.db.read() as tx:
        known = signing_key.published(await signing_key.page(tx), shop.clock.now)
    return [dict(one.public) for one in known]


async def register(shop: Shop, party: RelyingParty, *, by_name: bool = False) -> UUID:
    made = App(
        id=new_id(shop.clock.now),
        organization_id=shop.person.organization_id,
        name=party.client_id.title(),
        client_id=party.client_id,
        backchannel_logout_uri=party.uri or None,
        session_required=by_name,
        version=1,
        created_at=shop.clock.now,
    )
    async with shop.db.write() as tx:
        await app.add(tx, made)
    return made.id


async def use(shop: Shop, app_id: UUID, session_id: UUID | None = None) -> UUID:
    async with shop.db.write() as tx:
        held = await account.lock(tx, shop.person.id)
        sid, _ = await app.use(
            tx,
            organization_id=shop.person.organization_id,
            account_id=shop.person.id,
            app_id=app_id,
            session_id=session_id or new_id(shop.clock.now),
            generation=held.session_generation,
            now=shop.clock.now,
        )
    return sid


async def sign_out_everywhere(shop: Shop) -> UUID:
    async with shop.db.write() as tx:
        ended = await sign_out.everywhere(
            tx,
            Person(shop.person.id, shop.person.organization_id),
            keys=shop.keys,
            actor=Actor("account", shop.person.id),
            by="person",
            notice=sign_out.NOTICE,
            params={},
            facts={},
            now=shop.clock.now,
        )
    return ended.job.id


async def run(shop: Shop, teller: Teller, job_id: UUID) -> Job:
    await run_job(replace(shop.needs, teller=teller), job_id)
    return await shop.see(job_id)


async def run_on(shop: Shop, teller: Teller, job_id: UUID, most: int = 60) -> Job:
    """Run after run, each when it is due, as sweep and workers do it."""
    for _ in range(most):
        held = await run(shop, teller, job_id)
        if not held.is_open:
            return held
        if held.expires_at is not None and held.available_at >= held.expires_at:
            shop.clock.now = held.expires_at
            await shop.sweep.jobs()
            return await shop.see(job_id)
        shop.clock.now = max(held.available_at, shop.clock.now)
    raise AssertionError("it does not end")


async def states(shop: Shop, job_id: UUID) -> dict[str, tuple[str, str | None]]:
    async with shop.db.read() as tx:
        return {one.app_name: (one.state.value, one.reason) for one in await sign_out.calls(tx, job_id)}


async def line(shop: Shop) -> tuple[str, dict[str, object], int]:
    """The one line under the flag."""
    (row,) = await shop.rows(sa.select(notification))
    return row.key, row.params, row.version


async def test_each_app_is_told_once_and_the_line_under_the_flag_says_so(
    shop: Shop, teller: Teller, timesheet: RelyingParty, wiki: RelyingParty
) -> None:
    async with serving(timesheet, wiki):
        for party in (timesheet, wiki):
            await use(shop, await register(shop, party))
        job_id = await sign_out_everywhere(shop)
        assert (await line(shop))[0] == "session.signed_out_everywhere"

        held = await run(shop, teller, job_id)
        again = await run(shop, teller, job_id)

    assert (held.state, held.device_id, again.attempt) == (JobState.SUCCEEDED, None, held.attempt)
    for party in (timesheet, wiki):
        (token,) = party.heard
        claims = party.claims(token, shop.clock.now)
        assert (claims["sub"], "sid" in claims) == (str(shop.person.id), False)
    assert await line(shop) == ("job.sign_out.succeeded", {"told": 2, "apps": 2, "missed": ""}, 2)
    assert await shop.timeline(job_id) == [
        ("queued", "person", None),
        ("waiting", "worker", None),
        ("succeeded", "worker", None),
    ]
    assert sorted(await shop.actions()) == ["account:session:end_all", "account:sign_out:succeeded"]
    assert shop.bell.nudged == [shop.person.id]


async def test_who_used_no_app_is_told_nothing_more(shop: Shop, teller: Teller) -> None:
    job_id = await sign_out_everywhere(shop)

    assert (await run(shop, teller, job_id)).state is JobState.SUCCEEDED
    assert await line(shop) == ("session.signed_out_everywhere", {}, 1)


async def test_an_app_that_asks_for_sign_ins_by_name_hears_each_of_those_that_are_over(
    shop: Shop, teller: Teller, timesheet: RelyingParty
) -> None:
    async with serving(timesheet):
        app_id, one = await register(shop, timesheet, by_name=True), new_id(shop.clock.now)
        sids = {str(await use(shop, app_id, one)), str(await use(shop, app_id))}
        assert str(await use(shop, app_id, one)) in sids, "the same sign-in is known by the same name"
        job_id = await sign_out_everywhere(shop)
        newer = await use(shop, app_id)

        held = await run(shop, teller, job_id)

    assert held.state is JobState.SUCCEEDED
    assert {timesheet.claims(token, shop.clock.now)["sid"] for token in timesheet.heard} == sids
    assert await line(shop) == ("job.sign_out.succeeded", {"told": 1, "apps": 1, "missed": ""}, 2)
    assert [row.id for row in await shop.rows(sa.select(app.app_use))] == [newer], "what is new lives on"


async def test_an_app_that_will_not_is_named_and_the_others_are_told_all_the_same(
    shop: Shop, teller: Teller, timesheet: RelyingParty, wiki: RelyingParty
) -> None:
    timesheet.answers = [400]
    async with serving(timesheet, wiki):
        for party in (timesheet, wiki):
            await use(shop, await register(shop, party))
        job_id = await sign_out_everywhere(shop)

        held = await run(shop, teller, job_id)

    assert (held.state, held.reason) == (JobState.FAILED, "app_refused")
    assert await states(shop, job_id) == {"Timesheet": ("refused", "app_refused"), "Wiki": ("told", None)}
    assert await line(shop) == ("job.sign_out.failed", {"told": 1, "apps": 2, "missed": "Timesheet"}, 2)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_an_app_that_took_it_in_whatever_words_is_told(
    shop: Shop, teller: Teller, timesheet: RelyingParty, status: int
) -> None:
    timesheet.answers = [status]
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)

        held = await run(shop, teller, job_id)

    assert held.state is JobState.SUCCEEDED
    assert await states(shop, job_id) == {"Timesheet": ("told", None)}


async def test_an_app_that_is_down_is_told_when_it_is_back_with_a_new_token(
    shop: Shop, teller: Teller, timesheet: RelyingParty, wiki: RelyingParty
) -> None:
    timesheet.answers = [503, 500]
    async with serving(timesheet, wiki):
        for party in (timesheet, wiki):
            await use(shop, await register(shop, party))
        job_id = await sign_out_everywhere(shop)

        first = await run(shop, teller, job_id)
        assert (first.state, await line(shop)) == (JobState.WAITING, ("session.signed_out_everywhere", {}, 1))
        early = await run(shop, teller, job_id)
        assert early.attempt == first.attempt, "not before its time"
        shop.clock.now = first.available_at
        second = await run(shop, teller, job_id)
        shop.clock.now = second.available_at
        held = await run(shop, teller, job_id)

    assert held.state is JobState.SUCCEEDED
    assert second.available_at - first.available_at > first.available_at - first.created_at, "the pauses grow"
    assert len(wiki.heard) == 1, "whoever knows is not told again"
    assert len(timesheet.heard) == 3
    jtis = {jwt.decode(token, options={"verify_signature": False})["jti"] for token in timesheet.heard}
    assert len(jtis) == 3
    assert timesheet.claims(timesheet.heard[-1], shop.clock.now)["sub"] == str(shop.person.id)


async def test_an_app_that_stays_down_is_given_up_after_a_day(
    shop: Shop, teller: Teller, timesheet: RelyingParty, wiki: RelyingParty
) -> None:
    timesheet.answers = [503] * 60
    async with serving(timesheet, wiki):
        for party in (timesheet, wiki):
            await use(shop, await register(shop, party))
        job_id = await sign_out_everywhere(shop)

        held = await run_on(shop, teller, job_id)

    assert (held.state, held.reason) == (JobState.EXPIRED, "app_unreachable")
    assert held.ended_at == held.created_at + timedelta(hours=24)
    assert await states(shop, job_id) == {"Timesheet": ("unreachable", "app_unreachable"), "Wiki": ("told", None)}
    assert await line(shop) == ("job.sign_out.expired", {"told": 1, "apps": 2, "missed": "Timesheet"}, 2)
    assert 8 <= len(timesheet.heard) <= 30


async def test_nobody_there_is_tried_again(shop: Shop, teller: Teller, timesheet: RelyingParty) -> None:
    async with serving(timesheet):
        pass
    await use(shop, await register(shop, timesheet))
    job_id = await sign_out_everywhere(shop)

    assert (await run(shop, teller, job_id)).state is JobState.WAITING
    assert await states(shop, job_id) == {"Timesheet": ("waiting", "app_unreachable")}


@pytest.mark.parametrize("uri", ["https://xn--a/", "https://xn--/", "https://XN--A/"])
async def test_an_address_that_no_resolver_reads_holds_up_no_other_app(
    shop: Shop, teller: Teller, timesheet: RelyingParty, wiki: RelyingParty, uri: str
) -> None:
    async with serving(timesheet, wiki):
        for party in (timesheet, wiki):
            await use(shop, await register(shop, party))
        await shop.change(sa.update(app.app).where(app.app.c.name == "Timesheet").values(backchannel_logout_uri=uri))
        job_id = await sign_out_everywhere(shop)

        held = await run(shop, teller, job_id)

    assert (held.state, held.reason) == (JobState.FAILED, "app_refused")
    assert await states(shop, job_id) == {"Timesheet": ("refused", "address_refused"), "Wiki": ("told", None)}


async def test_a_job_that_never_began_says_that_nobody_was_told(shop: Shop, timesheet: RelyingParty) -> None:
    await use(shop, await register(shop, timesheet))
    job_id = await sign_out_everywhere(shop)

    shop.clock.forward(timedelta(hours=24, seconds=1))
    await shop.sweep.jobs()

    assert (await shop.see(job_id)).state is JobState.EXPIRED
    assert (await line(shop))[:2] == ("job.sign_out.never_begun", {})


async def test_a_redirect_is_not_followed(shop: Shop, teller: Teller, timesheet: RelyingParty) -> None:
    async with serving(timesheet):
        timesheet.answers, timesheet.headers = [307], {"Location": timesheet.uri.replace("logout", "elsewhere")}
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)

        await run(shop, teller, job_id)

    assert timesheet.elsewhere == 0
    assert await states(shop, job_id) == {"Timesheet": ("refused", "app_refused")}


async def test_an_answer_of_any_length_is_left_unread(
    shop: Shop, teller: Teller, timesheet: RelyingParty, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(*_: object) -> bytes:
        raise AssertionError("the body was read")

    monkeypatch.setattr("httpx.Response.aread", read)
    timesheet.body = b"x" * 8_000_000
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))

        assert (await run(shop, teller, await sign_out_everywhere(shop))).state is JobState.SUCCEEDED


async def test_an_app_that_is_removed_or_has_no_address_cannot_be_told(
    shop: Shop, teller: Teller, timesheet: RelyingParty, wiki: RelyingParty
) -> None:
    timesheet.answers = [503]
    async with serving(timesheet):
        gone = await register(shop, timesheet)
        await use(shop, gone)
        await use(shop, await register(shop, wiki))
        job_id = await sign_out_everywhere(shop)
        held = await run(shop, teller, job_id)
        async with shop.db.write() as tx:
            await app.remove(tx, gone)
        shop.clock.now = held.available_at

        held = await run(shop, teller, job_id)

    assert held.state is JobState.FAILED
    assert await states(shop, job_id) == {"Timesheet": ("refused", "app_removed"), "Wiki": ("refused", "no_address")}


async def test_outside_embedded_mode_no_token_goes_out_in_clear(shop: Shop, timesheet: RelyingParty) -> None:
    async with serving(timesheet), Teller(ISSUER, meant=LOOPBACK) as strict:
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)

        await run(shop, strict, job_id)

    assert timesheet.heard == []
    assert await states(shop, job_id) == {"Timesheet": ("refused", "address_refused")}


async def test_two_runs_at_once_are_one(shop: Shop, teller: Teller, timesheet: RelyingParty) -> None:
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)

        await asyncio.gather(*(run(shop, teller, job_id) for _ in range(3)))

    assert len(timesheet.heard) == 1
    assert (await line(shop))[2] == 2


async def test_a_run_that_lost_its_lease_writes_nothing(shop: Shop, teller: Teller, timesheet: RelyingParty) -> None:
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)
        lost = await shop.claim(job_id)
        shop.clock.forward(LEASE.total_seconds())
        held = await run(shop, teller, job_id)
        assert held.state is JobState.SUCCEEDED

        async with shop.db.write() as tx:
            assert not await job.begin(tx, lost, shop.clock.now)

    assert (await line(shop))[2] == 2


async def test_a_job_whose_runs_always_die_ends_and_says_so(
    shop: Shop, teller: Teller, timesheet: RelyingParty
) -> None:
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)
        for _ in range(CRASHES):
            await shop.claim(job_id)
            shop.clock.forward(LEASE.total_seconds())

        held = await run(shop, teller, job_id)

    assert (held.state, held.reason) == (JobState.FAILED, "crashed")


async def test_a_key_that_is_changed_in_between_is_known_before_it_signs(
    shop: Shop, teller: Teller, timesheet: RelyingParty
) -> None:
    timesheet.answers = [503] * 7
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))
        job_id = await sign_out_everywhere(shop)
        await run(shop, teller, job_id)
        async with shop.db.write() as tx:
            assert await signing_key.rotate(tx, shop.keys, shop.clock.now, at_once=True)
        timesheet.keys = await published(shop)  # type: ignore[assignment] # as JSON has it

        assert (await run_on(shop, teller, job_id)).state is JobState.SUCCEEDED

    used = [jwt.get_unverified_header(token)["kid"] for token in timesheet.heard]
    assert len(timesheet.keys) == len(set(used)) == 2
    assert used == sorted(used, key=used.index), "the old one first, then the new one, and never back"
    assert timesheet.claims(timesheet.heard[-1], shop.clock.now)


async def test_no_key_and_no_token_is_in_a_log_a_row_or_an_event(
    shop: Shop, teller: Teller, timesheet: RelyingParty, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    timesheet.answers = [503, 400]
    async with serving(timesheet):
        await use(shop, await register(shop, timesheet))
        held = await run_on(shop, teller, await sign_out_everywhere(shop))
        assert held.state is JobState.FAILED
    (key,) = await shop.rows(sa.select(signing_keys))
    private = signing_key.SigningKey.of(key).open(shop.keys).private_numbers().private_value.to_bytes(32)

    rows = [
        repr(tuple(row))
        for table in (event, job.job, sign_out.sign_out_call)
        for row in await shop.rows(sa.select(table))
    ]
    said = caplog.text + "".join(rows)
    assert private not in bytes(key.private)
    assert "d" not in key.public
    for token in timesheet.heard:
        assert token not in said
        assert token.rpartition(".")[2] not in said
    assert private.hex() not in said


async def test_what_an_app_was_used_for_long_ago_is_forgotten(shop: Shop, timesheet: RelyingParty) -> None:
    await use(shop, await register(shop, timesheet))
    for seconds, left in ((APP_USE_KEPT.total_seconds() - 1, 1), (1, 0)):
        shop.clock.forward(seconds)
        await shop.sweep.erase()
        assert len(await shop.rows(sa.select(app.app_use))) == left


# Keys


async def test_two_ticks_that_race_make_one_key(db: Database, clock: Clock, keys: Keyring) -> None:
    sweeps = [(await furnish(db, clock, keys)).sweep]
    await asyncio.gather(*(sweeps[0].rotate_keys() for _ in range(5)))

    async with db.read() as tx:
        (first,) = await signing_key.page(tx)
    assert first.signs_from == clock.now, "nobody has read anything yet"


async def test_a_key_lives_ninety_days_and_is_published_before_and_after(shop: Shop) -> None:
    async def known() -> tuple[int, int | None, list[int]]:
        async with shop.db.read() as tx:
            page = await signing_key.page(tx)
        signs = signing_key.that_signs(page, shop.clock.now)
        shown = [one.serial for one in signing_key.published(page, shop.clock.now)]
        return len(page), None if signs is None else signs.serial, shown

    assert await known() == (1, 1, [1])
    shop.clock.forward(signing_key.LIFE.total_seconds() - 1)
    await shop.sweep.erase()
    assert await known() == (1, 1, [1])
    shop.clock.forward(1)
    await shop.sweep.erase()
    assert await known() == (2, 1, [2, 1]), "published, and not signing yet"
    shop.clock.forward(AHEAD.total_seconds() - 1)
    assert await known() == (2, 1, [2, 1])
    shop.clock.forward(1)
    assert await known() == (2, 2, [2, 1])
    shop.clock.forward(AFTER.total_seconds() - 1)
    assert await known() == (2, 2, [2, 1])
    shop.clock.forward(1)
    assert await known() == (2, 2, [2])
    await shop.sweep.erase()
    assert await known() == (1, 2, [2])
    assert logout.LIFE < AFTER
    assert signing_key.READERS_KEEP < AHEAD


async def test_while_a_key_is_on_its_way_no_other_is_made(shop: Shop) -> None:
    async with shop.db.write() as tx:
        assert await signing_key.rotate(tx, shop.keys, shop.clock.now, at_once=True)
        assert not await signing_key.rotate(tx, shop.keys, shop.clock.now, at_once=True)
