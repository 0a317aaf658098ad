""" "That was not me": from the notice in the outbox to the end of every session, on both databases."""

from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
import sqlalchemy as sa

from models import delivery, not_me
from models.delivery import Channel, Delivery, Link
from models.settings import NOT_ME_LINK
from tests.api.house import House
from tests.people import Person


async def notices(house: House) -> list[Delivery]:
    return [Delivery.of(row) for row in await house.rows(sa.select(delivery.delivery).order_by(delivery.delivery.c.id))]


def token_of(house: House, letter: Delivery) -> str:
    secret = letter.open(house.keys)[1]
    assert secret is not None
    return secret.text()


async def report(house: House, token: str, **more: Any) -> int:
    return (await house.ask("POST", "/not-me", {"token": token}, **more)).status


@pytest.fixture
async def anna(house: House) -> Person:
    return await house.hire("anna@example.org")


@pytest.fixture
async def letter(house: House, anna: Person) -> Delivery:
    """What anna is sent when somebody signs her out everywhere."""
    await house.open_session(anna, "theirs")
    headers = {"User-Agent": "Mozilla/5.0 (call +31900) Firefox/145.0"}
    answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="theirs", headers=headers)
    assert answer.status == 204
    (letter,) = await notices(house)
    return letter


async def alive(house: House, token: str) -> bool:
    return (await house.ask("GET", "/sessions/current", token=token)).status == 200


async def test_a15_t_a_notice_names_what_when_and_coarsely_where(house: House, letter: Delivery) -> None:
    assert letter.open(house.keys)[0] == "anna@example.org"
    assert (letter.channel, letter.key) == (Channel.MAIL, "session.signed_out_everywhere")
    # What the client says of itself is recognized, never quoted.
    assert letter.params == {
        "at": "2026-03-01T12:00:00+00:00",
        "network": "192.0.2.0/24",
        "browser": "Firefox",
    }


async def test_a15_t_the_button_ends_every_session_and_leaves_a_record(
    house: House, anna: Person, letter: Delivery
) -> None:
    signed_in = await house.sign_in(anna)
    assert await alive(house, signed_in.json["token"])

    assert await report(house, token_of(house, letter)) == 204

    assert not await alive(house, signed_in.json["token"])
    assert (await house.events(anna))[("account:security:not_me", "success", None)] == 1
    assert await house.told(anna) == ["session.signed_out_everywhere", "not_me.done"]
    assert {(one.key, one.link) for one in await notices(house)} == {
        ("session.signed_out_everywhere", Link.NOT_ME),
        ("not_me.done", None),
    }


async def test_a15_t_the_same_link_again_changes_nothing_more(house: House, anna: Person, letter: Delivery) -> None:
    token = token_of(house, letter)
    assert await report(house, token) == 204
    owing = await house.sign_in(anna)
    assert owing.json["state"] == "password_change_required"
    body = {"current": anna.password, "new": "plain otter walks along the dyke"}
    anew = await house.ask("POST", "/password", body, token=owing.json["token"])

    assert await report(house, token, address="198.51.100.7") == 204

    assert await alive(house, anew.json["token"])
    assert [one.key for one in await notices(house)].count("not_me.done") == 1


async def test_a15_t_the_link_lives_seventy_two_hours_its_last_moment_included(
    house: House, anna: Person, letter: Delivery
) -> None:
    house.clock.forward(timedelta(hours=72))
    assert await report(house, token_of(house, letter)) == 204

    house.clock.forward(timedelta(microseconds=1))
    assert await report(house, token_of(house, letter)) == 404


async def test_a15_t_a_link_that_is_too_old_ends_nothing(house: House, anna: Person, letter: Delivery) -> None:
    house.clock.forward(NOT_ME_LINK + timedelta(microseconds=1))
    signed_in = await house.sign_in(anna)

    assert await report(house, token_of(house, letter)) == 404
    assert await alive(house, signed_in.json["token"])


@pytest.mark.parametrize("token", ["x", "A" * 43, "é" * 20])
async def test_what_is_no_token_of_ours_is_not_found(house: House, letter: Delivery, token: str) -> None:
    assert await report(house, token) == 404


async def test_only_the_hash_of_a_token_is_kept(house: House, letter: Delivery) -> None:
    token = token_of(house, letter)

    (row,) = await house.rows(sa.select(not_me.not_me))
    assert token.encode() not in row.token_hash
    (sealed,) = await house.rows(sa.select(delivery.delivery))
    assert token.encode() not in sealed.content
    assert "anna@example.org" not in repr([value for value in sealed if value != sealed.content])


async def test_another_page_cannot_press_the_button(house: House, letter: Delivery) -> None:
    status = await report(house, token_of(house, letter), headers={"Origin": "https://elsewhere.test"})

    assert status == 403


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.sources: list[str] = []
        self.language: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        assert not any(name == "style" or name.startswith("on") for name in found)
        if found.get("id"):
            self.ids.add(found["id"] or "")
        if tag == "html":
            self.language = found["lang"]
        self.sources += [found[name] or "" for name in ("src", "href") if name in found]


@pytest.mark.parametrize(("language", "button"), [("en", "This was not me"), ("nl", "Dit was ik niet")])
async def test_a15_t_reading_the_page_changes_nothing_and_tells_nobody(
    house: House, letter: Delivery, language: str, button: str
) -> None:
    async with house.client.get(f"/not-me?language={language}") as response:
        text = await response.text()
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    page = Page(text)
    assert page.language == language
    assert button in text
    assert sorted(page.sources) == ["/docs/style.css", "/not-me/script.js"]
    async with house.client.get("/not-me/script.js") as response:
        script = await response.text()
        assert response.headers["Content-Type"].startswith("text/javascript")
    assert page.ids == {"report", "done", "gone", "trouble"}
    assert all(f'"{name}"' in script for name in page.ids)
    assert len(await notices(house)) == 1
    (row,) = await house.rows(sa.select(not_me.not_me))
    assert row.used_at is None


async def test_a_language_that_we_do_not_speak_is_refused(house: House) -> None:
    async with house.client.get("/not-me?language=fr") as response:
        assert response.status == 422
