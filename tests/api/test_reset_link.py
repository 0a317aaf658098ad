"""An administrator starts a reset and the person ends it, by a link that nobody else is shown (A6, A10, 6.4.6)."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
import sqlalchemy as sa

from models import account
from models.delivery import Delivery, delivery
from models.event import event
from models.reset_link import reset_link
from models.session import session
from models.verification import VerificationKind
from tests.api.house import PASSWORD, Answer, House, give_address
from tests.people import Person, block, found

NEW = "plain otter walks along the dyke"
REASON = "identified by telephone, ticket 4711"


@pytest.fixture
async def anna(house: House) -> Person:
    """Has forgotten her password, and has a second factor."""
    return await house.hire("anna@example.org", second_factor=True)


@pytest.fixture
async def boss(house: House) -> Person:
    """An administrator with two factors, signed in with `boss`."""
    person = await house.hire("boss@example.org", roles=("global_administrator",), second_factor=True)
    await house.open_session(person, "boss", strength=2)
    return person


async def start(house: House, whose: Person, token: str = "boss", **more: Any) -> Answer:
    return await house.ask("POST", f"/accounts/{whose.id}/password-reset", {"reason": REASON, **more}, token=token)


async def link_of(house: House, person: Person) -> str:
    """From the newest mail with one."""
    rows = await house.rows(
        sa.select(delivery)
        .where(delivery.c.key == "password.reset_link", delivery.c.account_id == person.id)
        .order_by(delivery.c.id.desc())
    )
    letter = Delivery.of(rows[0])
    assert letter.link == "/reset-password"
    to, secret = letter.open(house.keys)
    assert to == person.name
    assert secret is not None
    return secret.text()


async def choose(house: House, token: str, new: str = NEW) -> Answer:
    return await house.ask("POST", "/password-resets", {"token": token, "new": new})


async def is_alive(house: House, token: str) -> bool:
    return (await house.ask("GET", "/sessions/current", token=token)).status == 200


async def test_the_person_chooses_by_a_link_that_the_administrator_never_sees(
    house: House, anna: Person, boss: Person
) -> None:
    started = await start(house, anna)
    token = await link_of(house, anna)

    assert started.status == 201
    assert started.json == {"sent": True, "expires_at": "2026-03-02T12:00:00Z", "password": None}
    done = await choose(house, token)

    assert done.status == 204
    assert (await house.sign_in(anna)).status == 401
    half = await house.sign_in(replace(anna, password=NEW))
    assert (half.status, half.json["state"]) == (202, "second_factor_required"), "the second factor stays"
    body = {"method_id": str(anna.method_id), "code": anna.code(house.clock.now)}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
    assert whole.status == 201, "chosen by its owner, it need not be changed"
    assert await house.told(anna) == ["password.reset_started", "password.reset"]
    record = {row.action: row for row in await house.rows(sa.select(event).where(event.c.account_id == anna.id))}
    (line,) = await house.lines("account:password:start_reset")
    assert line.reason == REASON
    assert record["account:password:start_reset"].actor_id == boss.id
    assert record["account:password:change"].facts == {"why": "administrator_reset"}


@pytest.mark.parametrize(("age", "written_to"), [(timedelta(hours=24), 2), (timedelta(hours=23, minutes=59), 1)])
async def test_the_link_goes_to_no_address_that_was_added_today(
    house: House, anna: Person, boss: Person, age: timedelta, written_to: int
) -> None:
    await give_address(house, anna, VerificationKind.EMAIL, "thief@example.org", age=age)

    assert (await start(house, anna)).status == 201

    letters = await house.rows(sa.select(delivery).where(delivery.c.key == "password.reset_link"))
    assert len(letters) == written_to


async def test_it_works_once_and_another_password_or_a_newer_link_ends_it(
    house: House, anna: Person, boss: Person
) -> None:
    await start(house, anna)
    older = await link_of(house, anna)
    house.clock.forward(1)
    await start(house, anna)
    newer = await link_of(house, anna)

    assert (await choose(house, older)).status == 404
    assert (await choose(house, newer)).status == 204
    assert (await choose(house, newer, f"{NEW} twice")).status == 404


@pytest.mark.parametrize(("after", "status"), [(86400, 204), (86400.000001, 404)])
async def test_it_works_for_a_day(house: House, anna: Person, boss: Person, after: float, status: int) -> None:
    await start(house, anna)
    token = await link_of(house, anna)

    house.clock.forward(timedelta(seconds=after))

    assert (await choose(house, token)).status == status


async def test_a_password_that_breaks_rules_does_not_use_it_up(house: House, anna: Person, boss: Person) -> None:
    await start(house, anna)
    token = await link_of(house, anna)

    poor, reused = await choose(house, token, "short"), await choose(house, token, PASSWORD)

    assert (poor.status, poor.json["reasons"][0]["rule"]) == (422, "too_short")
    assert reused.json["reasons"] == [{"rule": "reused"}]
    assert (await choose(house, token)).status == 204


async def test_until_it_is_used_the_old_password_opens_nothing_but_choosing_another(house: House, boss: Person) -> None:
    bert = await house.hire("bert@example.org")
    await house.open_session(bert, "bert")

    await start(house, bert)

    owing = await house.sign_in(bert)
    assert (owing.status, owing.json["state"]) == (202, "password_change_required")
    assert await is_alive(house, "bert"), "nobody asked to end what is open"


async def test_with_the_sessions_ended_what_was_known_opens_nothing_any_more(
    house: House, anna: Person, boss: Person
) -> None:
    await house.open_session(anna, "anna")

    await start(house, anna, end_sessions=True)

    assert not await is_alive(house, "anna")
    assert (await house.sign_in(anna)).status == 401
    token = await link_of(house, anna)
    assert (await choose(house, token, PASSWORD)).json["reasons"] == [{"rule": "reused"}]
    assert (await choose(house, token)).status == 204


async def test_whoever_has_no_address_gets_a_password_that_must_be_changed(house: House, boss: Person) -> None:
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")

    started = await start(house, bert)

    made = started.json["password"]
    assert started.json == {"sent": False, "expires_at": "2026-03-02T12:00:00Z", "password": made}
    assert len(made.replace("-", "")) == 16
    assert started.headers["Cache-Control"] == "no-store"
    assert not await is_alive(house, "bert")
    assert (await house.sign_in(bert)).status == 401
    owing = await house.sign_in(replace(bert, password=made))
    assert (owing.status, owing.json["state"]) == (202, "password_change_required")
    body = {"current": made, "new": NEW}
    changed = await house.ask("POST", "/password", body, token=owing.json["token"])
    assert changed.status == 200
    house.clock.forward(timedelta(days=3))
    assert (await house.sign_in(replace(bert, password=NEW))).status == 201, "its own has no end"
    tables = (account.account, event, delivery)
    kept = [str(tuple(row)) for table in tables for row in await house.rows(sa.select(table))]
    assert not any(made in row for row in kept)


@pytest.mark.parametrize(("after", "status"), [(86400, 202), (86400.000001, 401)])
async def test_6_4_1_a_password_that_we_made_opens_for_a_day(
    house: House, boss: Person, after: float, status: int
) -> None:
    bert = await house.hire("bert")
    made = (await start(house, bert)).json["password"]

    house.clock.forward(timedelta(seconds=after))

    assert (await house.sign_in(replace(bert, password=made))).status == status


# Who may


async def test_it_takes_two_factors_shown_lately_and_a_reason(house: House, anna: Person, boss: Person) -> None:
    weak = await house.hire("weak@example.org", roles=("global_administrator",))
    await house.open_session(weak, "weak")
    await house.open_session(boss, "half", strength=1)

    missing = await start(house, anna, token="weak")
    unproven = await start(house, anna, token="half")
    assert (missing.status, missing.json["code"]) == (403, "second_factor_missing")
    assert (unproven.status, unproven.json["code"], unproven.json["strength"]) == (401, "proof_required", 2)
    assert (await start(house, anna, reason="")).status == 422
    async with house.db.write() as tx:  # not idle meanwhile
        await tx.execute(sa.update(session).values(idle_at=house.clock.now + timedelta(hours=1)))
    house.clock.forward(timedelta(minutes=15))
    assert (await start(house, anna)).status == 201
    house.clock.forward(timedelta(microseconds=1))
    assert (await start(house, anna)).status == 401


async def test_nobody_does_it_for_themselves_or_above_or_beside_their_organization(
    house: House, anna: Person, boss: Person
) -> None:
    operator = await house.hire("olga@example.org", is_operator=True)
    elsewhere = await house.hire("zoe@example.org", organization_id=await found(house.db, house.clock.now))
    shut = await house.hire("shut@example.org")
    await block(house.db, shut, house.clock.now)
    await house.open_session(anna, "anna", strength=2)

    assert (await start(house, boss)).status == 403
    assert (await start(house, operator)).status == 403
    assert (await start(house, elsewhere)).status == 404
    assert (await start(house, shut)).status == 403
    assert (await start(house, anna, token="anna")).status == 403
    assert await house.rows(sa.select(reset_link)) == []


async def test_another_administrator_only_where_a_role_reaches_them_and_the_others_hear_of_it(
    house: House, boss: Person
) -> None:
    other = await house.hire("other@example.org", roles=("global_administrator",))
    await house.appoint("desk", "helpdesk_administrator")
    assert (await start(house, other, token="desk")).status == 403

    assert (await start(house, other)).status == 201
    assert (await choose(house, await link_of(house, other))).status == 204

    assert await house.told(boss) == ["password.administrator_reset"]


async def test_a_blocked_person_chooses_nothing(house: House, anna: Person, boss: Person) -> None:
    await start(house, anna)
    token = await link_of(house, anna)
    await block(house.db, anna, house.clock.now)

    assert (await choose(house, token)).status == 404


async def test_of_two_parallel_choices_one_counts(house: House, anna: Person, boss: Person) -> None:
    await start(house, anna)
    token = await link_of(house, anna)

    answers = await asyncio.gather(choose(house, token), choose(house, token, f"{NEW} twice"))

    assert sorted(answer.status for answer in answers) == [204, 404]


# The page


class Page(HTMLParser):
    """What a reader's machine makes of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: dict[str, str] = {}
        self.labels: set[str] = set()
        self.roles: dict[str, str] = {}
        self.sources: list[str] = []
        self.inline: list[str] = []
        self.described: set[str] = set()
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given["id"]: tag} if "id" in given else {}
        self.labels |= {given["for"]} if "for" in given else set()
        self.roles |= {given["role"]: tag} if "role" in given else {}
        self.sources += [given[name] for name in ("src", "href") if name in given]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.described |= set(given.get("aria-describedby", "").split())
        self.language = given.get("lang", self.language)


@pytest.mark.parametrize("language", ["en", "nl"])
async def test_the_page_can_be_used_with_a_keyboard_and_a_reader_and_holds_nothing_inline(
    house: House, language: str
) -> None:
    async with house.client.get(f"/reset-password?language={language}") as response:
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
        text = await response.text()
    page = Page(text)

    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (page.language, page.inline) == (language, [])
    assert sorted(page.sources) == ["/docs/style.css", "/reset-password/script.js"]
    assert page.labels == {"new", "again"}, "every box has a label; the third stands inside its own"
    assert page.roles.keys() == {"alert", "status"}, "what happens is read aloud"
    assert page.described <= page.ids.keys()
    assert page.ids["choose"] == "button"
    async with house.client.get("/reset-password/script.js") as response:
        script = await response.text()
    assert set(_named(script)) <= page.ids.keys()


def _named(script: str) -> Iterator[str]:
    for part in script.split('at("')[1:]:
        yield part.partition('"')[0]


async def test_reading_the_page_uses_nothing_up(house: House, anna: Person, boss: Person) -> None:
    await start(house, anna)
    token = await link_of(house, anna)
    for path in ("/reset-password", "/reset-password/script.js"):
        async with house.client.get(path) as response:
            assert response.status == 200

    assert (await choose(house, token)).status == 204
