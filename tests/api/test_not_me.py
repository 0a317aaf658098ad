""" "That was not me": from the notice in the outbox to the end of every session, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa

from models import delivery, not_me
from models.access_pass import access_pass
from models.delivery import Channel, Delivery, Link
from models.reset_link import reset_link
from models.settings import NOT_ME_LINK
from models.verification import PERIOD, VerificationKind, verification
from tests.api.house import House, give_address
from tests.people import Person, found

BROWSER = "__Host-latchkey-browser"
NEW = "plain otter walks along the dyke"


async def notices(house: House) -> list[Delivery]:
    return [Delivery.of(row) for row in await house.rows(sa.select(delivery.delivery).order_by(delivery.delivery.c.id))]


def token_of(house: House, letter: Delivery) -> str:
    secret = letter.open(house.keys)[1]
    assert secret is not None
    return secret.text()


async def report(house: House, token: str, **more: Any) -> int:
    return (await house.ask("POST", "/not-me", {"token": token}, **more)).status


async def choose(house: House, person: Person) -> None:
    """Another password, by the newest link that was mailed."""
    letter = [one for one in await notices(house) if one.key == "not_me.reset_link"][-1]
    body = {"token": token_of(house, letter), "new": NEW}
    assert (await house.ask("POST", "/password-resets", body)).status == 204


async def come_back(house: House, person: Person) -> str:
    """With it, signed in."""
    await choose(house, person)
    answer = await house.sign_in(replace(person, password=NEW))
    assert answer.status == 201, answer.json
    return str(answer.json["token"])


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
    assert await house.told(anna) == ["session.signed_out_everywhere", "not_me.link_sent"]
    assert {(one.key, one.link) for one in await notices(house)} == {
        ("session.signed_out_everywhere", Link.NOT_ME),
        ("not_me.reset_link", Link.RESET_PASSWORD),
        ("not_me.link_sent", None),
    }


async def test_a15_t_the_same_link_again_changes_nothing_more(house: House, anna: Person, letter: Delivery) -> None:
    token = token_of(house, letter)
    assert await report(house, token) == 204
    anew = await come_back(house, anna)

    assert await report(house, token, address="198.51.100.7") == 204

    assert await alive(house, anew)
    assert [one.key for one in await notices(house)].count("not_me.link_sent") == 1


async def test_a15_the_password_opens_nothing_any_more_and_the_mailed_link_leads_back_in(
    house: House, anna: Person, letter: Delivery
) -> None:
    assert await report(house, token_of(house, letter)) == 204

    assert (await house.sign_in(anna)).status == 401, "the thief may know it"
    assert await alive(house, await come_back(house, anna))
    (row,) = await house.rows(sa.select(reset_link))
    assert row.expires_at - row.created_at == timedelta(hours=24)


async def test_a15_the_link_goes_to_no_address_that_came_within_the_day_before_the_notice(
    house: House, anna: Person
) -> None:
    for age, to in ((24, "anna@home.example.org"), (23.9, "thief@example.org")):
        await give_address(house, anna, VerificationKind.EMAIL, to, age=timedelta(hours=age))
        async with house.db.write() as tx:
            await tx.execute(sa.update(verification).where(verification.c.label == "email").values(label=to))
    await house.open_session(anna, "theirs")
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="theirs")
    told = (await notices(house))[0]
    house.clock.forward(timedelta(hours=48))

    assert await report(house, token_of(house, told)) == 204

    links = [one for one in await notices(house) if one.key == "not_me.reset_link"]
    assert {one.open(house.keys)[0] for one in links} == {"anna@example.org", "anna@home.example.org"}


async def test_a15_the_very_method_that_was_told_of_goes_even_if_it_is_the_last(house: House, anna: Person) -> None:
    await house.open_session(anna, "thief")
    begun = await house.ask("POST", "/security/methods/totp", {"label": "Their phone"}, token="thief")
    code = pyotp.TOTP(begun.json["key"]).generate_otp(int(house.clock.now.timestamp()) // PERIOD)
    await house.ask("POST", f"/security/methods/{begun.json['id']}/confirm", {"code": code}, token="thief")
    (letter,) = await notices(house)
    assert letter.key == "security.method_added"

    assert await report(house, token_of(house, letter)) == 204

    anew = await come_back(house, anna)
    assert (await house.ask("GET", "/security/methods", token=anew)).json["items"] == []
    assert (await house.events(anna))["account:verification:remove", "success", None] == 1
    assert "not_me.method_removed" in await house.told(anna)


async def test_a15_other_methods_stay_as_they_are(house: House) -> None:
    anna = await house.hire("anna@example.org", second_factor=True)
    await house.open_session(anna, "thief", strength=2)
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="thief")
    (letter,) = await notices(house)

    assert await report(house, token_of(house, letter)) == 204

    await choose(house, anna)
    half = await house.sign_in(replace(anna, password=NEW))
    assert half.json["state"] == "second_factor_required"


async def test_a15_passes_and_earlier_links_end_with_it(house: House, anna: Person, letter: Delivery) -> None:
    boss = await house.appoint("boss@example.org")
    await house.ask("POST", f"/accounts/{anna.id}/access-pass", {}, token=boss.name)
    body = {"reason": "somebody telephoned"}
    await house.ask("POST", f"/accounts/{anna.id}/password-reset", body, token=boss.name)
    (earlier,) = [one for one in await notices(house) if one.key == "password.reset_link"]

    assert await report(house, token_of(house, letter)) == 204

    assert await house.rows(sa.select(access_pass)) == []
    body = {"token": token_of(house, earlier), "new": NEW}
    assert (await house.ask("POST", "/password-resets", body)).status == 404
    assert await alive(house, await come_back(house, anna))


async def test_a15_the_next_sign_in_is_told_from_whichever_browser(house: House, anna: Person) -> None:
    first = await house.sign_in(anna)
    kept = {"Cookie": f"{BROWSER}={first.cookies[BROWSER]}"}
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token=first.json["token"])
    (letter,) = await notices(house)
    await report(house, token_of(house, letter))

    await choose(house, anna)
    again = await house.sign_in(replace(anna, password=NEW), headers=kept)

    assert again.cookies[BROWSER] == first.cookies[BROWSER]
    assert (await house.told(anna))[-1] == "sign_in.new_browser"
    (known,) = (await house.ask("GET", "/browsers", token=again.json["token"])).json["items"]
    assert known["remembered_until"] is None


async def test_a15_a_second_notice_of_the_same_deeds_shuts_out_nobody_who_came_back(house: House, anna: Person) -> None:
    await house.open_session(anna, "thief")
    made = await house.ask("POST", "/security/methods/recovery-codes", token="thief")
    assert made.status == 201, made.json
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="thief")
    second, first = (token_of(house, one) for one in await notices(house))
    house.clock.forward(60)
    assert await report(house, first) == 204
    anew = await come_back(house, anna)

    assert await report(house, second) == 204

    assert await alive(house, anew), "what happened before the first word was answered by it"
    assert (await house.ask("GET", "/security/methods", token=anew)).json["items"] == [], "but for what came then"
    assert (await house.events(anna))["account:security:not_me", "success", None] == 2


async def test_a7_a_later_word_about_a_method_ends_what_was_proven_with_it(house: House, anna: Person) -> None:
    await house.open_session(anna, "thief")
    begun = await house.ask("POST", "/security/methods/totp", {"label": "Their phone"}, token="thief")

    def code() -> str:
        return pyotp.TOTP(begun.json["key"]).generate_otp(int(house.clock.now.timestamp()) // PERIOD)

    await house.ask("POST", f"/security/methods/{begun.json['id']}/confirm", {"code": code()}, token="thief")
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="thief")
    tokens = {one.key: token_of(house, one) for one in await notices(house)}
    house.clock.forward(60)
    assert await report(house, tokens["session.signed_out_everywhere"]) == 204
    await choose(house, anna)
    half = await house.sign_in(replace(anna, password=NEW))
    body = {"method_id": begun.json["id"], "code": code()}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
    assert whole.status == 201, whole.json

    assert await report(house, tokens["security.method_added"]) == 204

    assert not await alive(house, whole.json["token"])


@pytest.mark.parametrize(("able", "sign_in"), [("global_administrator", 401), ("helpdesk_administrator", 202)])
async def test_a3_the_password_goes_only_where_somebody_can_give_another(house: House, able: str, sign_in: int) -> None:
    chief, colleague = await house.appoint("chief"), await house.appoint("colleague", able)
    half = await house.sign_in(chief)
    (method,) = half.json["methods"]
    assert chief.totp_secret is not None
    code = pyotp.TOTP(chief.totp_secret).generate_otp(int(house.clock.now.timestamp()) // PERIOD)
    body = {"method_id": method["id"], "code": code}
    assert (await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])).status == 201
    line = (await house.ask("GET", "/sign-ins", token="chief")).json["items"][0]

    assert (await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token="chief")).status == 200

    assert (await house.sign_in(chief)).status == sign_in
    assert await house.told(colleague) == ["not_me.of_somebody_without_mail"]


async def test_a3_administrators_are_told_once_and_no_others(house: House, anna: Person, letter: Delivery) -> None:
    boss = await house.appoint("boss@example.org")
    elsewhere = await found(house.db, house.clock.now, name="Elsewhere")
    other = await house.appoint("other@example.org", organization_id=elsewhere)

    for _ in range(2):
        assert await report(house, token_of(house, letter)) == 204

    assert await house.told(boss) == ["not_me.of_somebody"]
    assert await house.told(other) == []
    (mail,) = [one for one in await notices(house) if one.account_id == boss.id]
    assert (mail.key, mail.params["account"], mail.link) == ("not_me.of_somebody", "anna@example.org", None)


async def test_a3_whoever_has_no_address_gets_a_password_from_an_administrator(house: House) -> None:
    anna, boss = await house.hire("anna"), await house.appoint("boss")
    token = (await house.sign_in(anna)).json["token"]
    (line,) = (await house.ask("GET", "/sign-ins", token=token)).json["items"]

    assert (await house.ask("POST", f"/sign-ins/{line['id']}/not-me", token=token)).status == 200

    assert (await house.told(anna), await house.told(boss)) == (
        ["not_me.ask_helpdesk"],
        ["not_me.of_somebody_without_mail"],
    )
    assert (await house.sign_in(anna)).status == 401
    body = {"reason": "looked at her passport"}
    given = (await house.ask("POST", f"/accounts/{anna.id}/password-reset", body, token="boss")).json["password"]
    assert (await house.sign_in(replace(anna, password=given))).json["state"] == "password_change_required"


async def test_a3_two_who_report_at_once_for_each_other_both_can(house: House) -> None:
    """Each is told of the other's: their rows are held in one order."""
    both = [await house.appoint(name) for name in ("boss@example.org", "chief@example.org")]
    for one in both:
        await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token=one.name)
    tokens = [token_of(house, one) for one in await notices(house)]

    assert await asyncio.gather(*(report(house, token) for token in tokens)) == [204, 204]


async def test_a15_of_two_links_that_are_followed_at_once_only_one_is_the_first_word(
    house: House, anna: Person
) -> None:
    await house.open_session(anna, "thief")
    await house.ask("POST", "/security/methods/recovery-codes", token="thief")
    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="thief")
    tokens = [token_of(house, one) for one in await notices(house)]
    house.clock.forward(60)

    assert await asyncio.gather(*(report(house, token) for token in tokens)) == [204, 204]

    assert (await house.told(anna)).count("not_me.link_sent") == 1
    assert {row.answered_at for row in await house.rows(sa.select(not_me.not_me))} == {house.clock.now}


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
