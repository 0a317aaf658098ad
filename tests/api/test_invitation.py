"""Inviting somebody who has an account elsewhere, and joining by it, on both databases (A4)."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import invitation, organization, throttle
from models.delivery import Delivery, DeliveryState, Link, claim, delivery
from models.invitation import invitation as invitations
from models.keyed import of_address
from models.organization import membership
from models.settings import INVITATION, INVITATION_KEPT
from models.throttle import INVITATION_MAILS, INVITATIONS_OF_INVITER, INVITATIONS_OF_ORGANIZATION, Budget
from models.verification import VerificationKind
from tests.api.house import Answer, House, give_address
from tests.api.test_leaving import leave, names, restore, there
from tests.people import Person, found

MOMENT = timedelta(microseconds=1)
MAIL = "anna@example.org"
A_WHILE = timedelta(milliseconds=1)


@pytest.fixture
async def beta(house: House) -> UUID:
    return await found(house.db, house.clock.now + timedelta(seconds=1), name="Beta")


@pytest.fixture
async def anna(house: House) -> Person:
    """At home in Acme, signed in there as `home`."""
    person = await house.hire(MAIL)
    await house.open_session(person, "home")
    return person


@pytest.fixture
async def ben(house: House, beta: UUID) -> Person:
    """Who invites for Beta, signed in as `ben`."""
    return await house.appoint("ben", "guest_inviter", organization_id=beta)


async def invite(house: House, mail: str = MAIL, token: str = "ben") -> Answer:
    house.clock.now += A_WHILE  # so that the last one is known by its id
    return await house.ask("POST", "/invitations", {"mail": mail, "language": "nl"}, token=token)


async def accept(house: House, token: str, session: str = "home") -> Answer:
    return await house.ask("POST", "/invitations/accept", {"token": token}, token=session)


async def letters(house: House) -> list[Delivery]:
    mails = sa.select(delivery).where(delivery.c.key == "organization.invited").order_by(delivery.c.id)
    return [Delivery.of(row) for row in await house.rows(mails)]


async def link(house: House) -> str:
    """The token behind the last one's `#`."""
    *_, letter = await letters(house)
    assert letter.link is Link.JOIN
    _, secret = letter.open(house.keys)
    assert secret is not None
    return secret.text()


async def states(house: House) -> list[str]:
    shown = (await house.ask("GET", "/invitations", token="ben")).json
    return [one["state"] for one in shown["items"]]


async def test_whoever_is_invited_joins_with_the_account_they_have(
    house: House, anna: Person, beta: UUID, ben: Person
) -> None:
    invited = await invite(house)
    assert (invited.status, invited.json["state"]) == (201, "open")
    (letter,) = await letters(house)
    assert (letter.organization_id, letter.account_id, letter.language) == (beta, None, "nl")
    assert letter.open(house.keys)[0] == MAIL

    joined = await accept(house, await link(house))

    assert joined.status == 201, joined.json
    assert (joined.json["id"], joined.json["home"], joined.json["current"], joined.json["roles"]) == (
        str(beta),
        False,
        False,
        [],
    )
    assert await names(house, "home") == ["Acme", "Beta"]
    assert await house.told(anna) == ["organization.joined"]
    assert (await house.events(anna))["account:membership:join", "success", None] == 1
    assert await states(house) == ["accepted"]


async def test_who_invites_is_answered_alike_whether_anybody_has_the_address(
    house: House, anna: Person, ben: Person
) -> None:
    known, nobodys = await invite(house), await invite(house, "nobody@example.org")

    assert known.status == nobodys.status == 201
    assert known.json.keys() == nobodys.json.keys()
    assert known.json["state"] == nobodys.json["state"]
    assert [one.key for one in await letters(house)] == ["organization.invited"] * 2


async def test_the_address_is_neither_shown_nor_kept(house: House, anna: Person, ben: Person) -> None:
    shown = await invite(house)

    assert MAIL not in str(shown.json)
    (row,) = await house.rows(sa.select(invitations))
    assert MAIL not in str(row)


async def test_a_link_is_good_once(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    await invite(house)
    token = await link(house)
    assert (await accept(house, token)).status == 201
    await there(house, anna, beta)
    await leave(house, beta)

    again = await accept(house, token)

    assert (again.status, again.json["code"]) == (404, "not_found")


async def test_two_who_press_at_once_join_once(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    await invite(house)
    token = await link(house)

    answers = await asyncio.gather(accept(house, token), accept(house, token))

    assert sorted(answer.status for answer in answers) == [201, 404]
    assert len(await house.rows(sa.select(membership).where(membership.c.organization_id == beta))) == 2


async def test_a_link_that_was_handed_on_leads_nobody_else_in(house: House, anna: Person, ben: Person) -> None:
    bert = await house.hire("bert@example.org")
    await house.open_session(bert, "bert")
    await invite(house)

    theirs = await accept(house, await link(house), "bert")
    nobodys = await accept(house, "x" * 43, "bert")

    assert theirs.status == nobodys.status == 404
    assert theirs.json | {"instance": ""} == nobodys.json | {"instance": ""}
    assert (await accept(house, await link(house))).status == 201


async def test_another_address_of_the_account_does_once_it_is_a_day_old(house: House, ben: Person) -> None:
    cleo = await house.hire("cleo")
    await house.open_session(cleo, "cleo")
    await give_address(house, cleo, VerificationKind.EMAIL, MAIL, age=timedelta(hours=24) - A_WHILE - MOMENT)
    await invite(house)
    token = await link(house)

    assert (await accept(house, token, "cleo")).status == 404
    house.clock.now += MOMENT
    assert (await accept(house, token, "cleo")).status == 201


@pytest.mark.parametrize(("age", "status"), [(INVITATION, 201), (INVITATION + MOMENT, 404)])
async def test_a_link_works_for_seven_days(
    house: House, anna: Person, ben: Person, age: timedelta, status: int
) -> None:
    await invite(house)
    house.clock.now += age
    await house.open_session(anna, "later")

    assert (await accept(house, await link(house), "later")).status == status


async def test_a_newer_one_takes_its_place(house: House, anna: Person, ben: Person) -> None:
    await invite(house)
    older = await link(house)
    house.clock.now += timedelta(seconds=1)
    await invite(house, MAIL.upper())

    assert await states(house) == ["open", "replaced"]
    assert (await accept(house, older)).status == 404
    assert (await accept(house, await link(house))).status == 201


async def test_one_that_is_withdrawn_leads_nowhere(house: House, anna: Person, ben: Person) -> None:
    made = (await invite(house)).json
    token = await link(house)

    for _ in range(2):
        done = await house.ask("DELETE", f"/invitations/{made['id']}", token="ben")
        assert done.status == 204

    assert await states(house) == ["withdrawn"]
    assert (await accept(house, token)).status == 404


@pytest.mark.parametrize("how", ["withdrawn", "replaced"])
async def test_the_letter_of_one_that_ended_is_not_sent_any_more(
    house: House, anna: Person, ben: Person, how: str
) -> None:
    made = (await invite(house)).json
    if how == "withdrawn":
        await house.ask("DELETE", f"/invitations/{made['id']}", token="ben")
    else:
        await invite(house)

    first, *others = await letters(house)

    assert (str(first.id), first.state, first.content) == (made["id"], DeliveryState.EXPIRED, None)
    assert [one.state for one in others] == [DeliveryState.QUEUED] * (how == "replaced")
    async with house.db.write() as tx:
        assert await claim(tx, first.id, house.clock.now) is None


async def test_another_organizations_invitation_is_nobodys(house: House, anna: Person, ben: Person) -> None:
    made = (await invite(house)).json
    await house.appoint("boss")

    theirs = await house.ask("DELETE", f"/invitations/{made['id']}", token="boss")
    nobodys = await house.ask("DELETE", f"/invitations/{uuid4()}", token="boss")

    assert theirs.status == nobodys.status == 404
    assert theirs.json | {"instance": ""} == nobodys.json | {"instance": ""}
    assert (await house.ask("GET", "/invitations", token="boss")).json["items"] == []


async def test_whoever_belongs_there_needs_none(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    await invite(house)
    assert (await accept(house, await link(house))).status == 201
    await invite(house)

    again = await accept(house, await link(house))

    assert (again.status, again.json["code"]) == (409, "already_member")


@pytest.mark.parametrize(
    ("roles", "status"),
    [
        (("guest_inviter",), 201),
        (("user_administrator",), 201),
        (("global_administrator",), 201),
        (("helpdesk_administrator",), 403),
        (("directory_reader",), 403),
    ],
)
async def test_who_may_invite(house: House, beta: UUID, roles: tuple[str, ...], status: int) -> None:
    await house.appoint("cleo", *roles, organization_id=beta)

    assert (await invite(house, token="cleo")).status == status


async def test_it_takes_two_factors_shown_lately(house: House, beta: UUID) -> None:
    weak = await house.hire("weak", organization_id=beta, roles=("guest_inviter",))
    await house.open_session(weak, "weak")

    refused = await invite(house, token="weak")

    assert (refused.status, refused.json["code"]) == (403, "second_factor_missing")


async def test_nobody_without_a_role_sees_the_list(house: House, anna: Person) -> None:
    assert (await house.ask("GET", "/invitations", token="home")).status == 403


@pytest.mark.parametrize("mail", ["anna", "anna@nowhere", "anna@@example.org"])
async def test_what_is_no_address_is_refused(house: House, ben: Person, mail: str) -> None:
    refused = await invite(house, mail)

    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "mail")


async def test_one_address_is_written_to_five_times_a_day_at_most(house: House, anna: Person, ben: Person) -> None:
    answers = [await invite(house) for _ in range(6)]

    assert [answer.status for answer in answers] == [201] * 5 + [429]
    assert (await invite(house, "bert@example.org")).status == 201


async def hostile(house: House, many: int, mail: str = MAIL) -> None:
    """Other organizations write to the address as often as each of them may."""
    for n in range(many):
        other = await found(house.db, house.clock.now, name=f"Hostile {n}")
        await house.appoint(f"hostile{n}", "guest_inviter", organization_id=other)
        assert [(await invite(house, mail, f"hostile{n}")).status for _ in range(5)] == [201] * 5


async def test_no_other_organization_uses_up_what_one_may_send_to_an_address(
    house: House, anna: Person, ben: Person
) -> None:
    await hostile(house, 1)

    answers = [await invite(house) for _ in range(6)]

    assert [one.status for one in answers] == [201] * 5 + [429]
    assert all(one.available_at <= house.clock.now for one in await letters(house)), "and its letters go out at once"


@pytest.mark.parametrize("before", [19, 20])
async def test_past_twenty_letters_a_day_to_an_address_the_next_one_waits_and_is_answered_alike(
    house: House, anna: Person, ben: Person, before: int
) -> None:
    first = await invite(house, "cleo@example.org")
    await hostile(house, 3)
    began = house.clock.now - A_WHILE * 14
    for n in range(before - 15):
        async with house.db.write() as tx:
            assert await throttle.take(tx, (INVITATION_MAILS,), hash_of(MAIL), await tx.now()) is None, n

    answer = await invite(house)

    assert (answer.status, answer.json.keys(), answer.json["state"]) == (201, first.json.keys(), "open")
    *_, letter = await letters(house)
    waits = before == 20
    assert letter.available_at == (began + timedelta(days=1) if waits else house.clock.now)
    assert letter.available_at < letter.expires_at
    async with house.db.write() as tx:
        assert (await claim(tx, letter.id, letter.available_at - MOMENT)) is None
        assert (await claim(tx, letter.id, letter.available_at)) is not None


async def test_what_is_held_back_is_counted_on_the_day_on_which_it_goes_out(house: House) -> None:
    began = house.clock.now
    async with house.db.write() as tx:
        turns = [await throttle.stand_in_line(tx, INVITATION_MAILS, "one", began) for _ in range(45)]
    day = INVITATION_MAILS.period
    assert turns == [None] * 20 + [day] * 20 + [2 * day] * 5

    async with house.db.write() as tx:
        later = [await throttle.stand_in_line(tx, INVITATION_MAILS, "one", began + 2 * day - MOMENT) for _ in range(2)]
        free = [await throttle.stand_in_line(tx, INVITATION_MAILS, "one", began + 2 * day) for _ in range(14)]
        anew = await throttle.stand_in_line(tx, INVITATION_MAILS, "one", began + 9 * day)
    assert later == [MOMENT] * 2, "the second day's were all taken"
    assert free == [None] * 13 + [day], "and of the third day's seven"
    assert anew is None


def hash_of(mail: str) -> str:
    return of_address(b"t" * 32, mail)


@pytest.mark.parametrize(
    ("budget", "shared"),
    [(one, False) for one in INVITATIONS_OF_INVITER] + [(one, True) for one in INVITATIONS_OF_ORGANIZATION],
    ids=lambda one: getattr(one, "name", ""),
)
async def test_an_inviter_and_an_organization_send_so_many_and_no_more(
    house: House, beta: UUID, ben: Person, budget: Budget, shared: bool
) -> None:
    await house.appoint("cleo", "guest_inviter", organization_id=beta)
    async with house.db.write() as tx:
        now = await tx.now()
        await throttle.take_many(tx, budget, str(beta if shared else ben.id), budget.limit - 1, now)

    answers = [await invite(house, f"{n}@example.org") for n in range(2)]

    assert [one.status for one in answers] == [201, 429]
    assert (await invite(house, "2@example.org", "cleo")).status == (429 if shared else 201)
    counts = (await house.ask("GET", "/throttles", token="ben")).json["items"]
    full = [(one["kind"], one["lane"], one["tries"]) for one in counts if one["tries"] == one["limit"]]
    assert full == [(budget.name, "organization" if shared else None, budget.limit)]
    house.clock.now = now + budget.period - MOMENT
    await house.open_session(ben, "late", strength=2)
    assert (await house.ask("POST", "/invitations", {"mail": MAIL, "language": "nl"}, token="late")).status == 429
    house.clock.now += MOMENT
    assert (await house.ask("POST", "/invitations", {"mail": MAIL, "language": "nl"}, token="late")).status == 201


async def test_whoever_joins_anew_has_nothing_of_before(house: House, anna: Person, beta: UUID, ben: Person) -> None:
    await house.appoint("owner", organization_id=beta)
    await invite(house)
    await accept(house, await link(house))
    async with house.db.write() as tx:
        await organization.set_roles(tx, beta, anna.id, ["directory_reader"])
    (first,) = await house.rows(sa.select(membership).where(membership.c.guest))
    await there(house, anna, beta)
    await leave(house, beta)
    house.clock.now += timedelta(seconds=1)
    await invite(house)

    joined = await accept(house, await link(house))

    assert (joined.status, joined.json["roles"]) == (201, [])
    (second,) = await house.rows(sa.select(membership).where(membership.c.guest))
    assert second.id != first.id
    # Leaving again is another leaving.
    await there(house, anna, beta, "again")
    assert (await leave(house, beta, "again", key="another")).status == 202
    assert (await restore(house, str(first.id), "owner")).status == 204


async def test_what_is_over_is_forgotten(house: House, anna: Person, ben: Person) -> None:
    async def left(age: timedelta) -> int:
        async with house.db.write() as tx:
            await invitation.erase_due(tx, began + INVITATION + age, 100)
        return len(await house.rows(sa.select(invitations)))

    await invite(house)
    began = house.clock.now

    assert await left(INVITATION_KEPT) == 1
    assert await left(INVITATION_KEPT + MOMENT) == 0


# The page


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.sources: list[str] = []
        self.inline: list[str] = []
        self.language = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = {name: value or "" for name, value in attributes}
        self.ids |= {given["id"]} if "id" in given else set()
        self.sources += [given[name] for name in ("src", "href") if name in given]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.language = given.get("lang", self.language)


def named(script: str) -> Iterator[str]:
    for part in script.split('at("')[1:]:
        yield part.partition('"')[0]


@pytest.mark.parametrize("language", ["en", "nl"])
async def test_the_page_holds_nothing_inline_and_its_script_finds_all_it_names(house: House, language: str) -> None:
    async with house.client.get(f"/join?language={language}") as response:
        assert response.status == 200
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        page = Page(await response.text())
    async with house.client.get("/join/script.js") as response:
        script, mark = await response.text(), response.headers["ETag"]
    async with house.client.get("/join/script.js", headers={"If-None-Match": mark}) as response:
        assert response.status == 304

    assert (page.language, page.inline) == (language, [])
    assert sorted(page.sources) == ["/docs/style.css", "/join/script.js"]
    assert set(named(script)) <= page.ids
    assert {"done", "gone", "member", "signed_out", "trouble"} <= page.ids
