"""What administrators see of mails and messages, over HTTP, on both databases (section A15 of the fact sheet)."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from models import delivery
from models.delivery import AttemptOutcome, Channel
from models.organization import new_membership
from models.vocabulary import Secret
from tests.api.house import House
from tests.people import Person, found

ADDRESS, CODE = "+31612345678", "482913"


@pytest.fixture
async def anna(house: House) -> Person:
    return await house.hire("anna")


@pytest.fixture
async def boss(house: House) -> Person:
    """An administrator, signed in with `boss`."""
    person = await house.hire("boss", roles=("global_administrator",))
    await house.open_session(person, "boss")
    return person


async def send(house: House, about: Person, key: str = "a.code", organization_id: UUID | None = None) -> UUID:
    async with house.db.write() as tx:
        return await delivery.send(
            tx,
            keys=house.keys,
            organization_id=organization_id or about.organization_id,
            account_id=about.id,
            channel=Channel.SMS,
            to=ADDRESS,
            key=key,
            params={"device": "a phone"},
            language="nl",
            secret=Secret(CODE.encode()),
            now=house.clock.now,
        )


async def attempt(house: House, delivery_id: UUID, outcome: AttemptOutcome, error: str | None = None) -> None:
    async with house.db.write() as tx:
        held = await delivery.claim(tx, delivery_id, house.clock.now)
        assert held is not None
        await delivery.settle(tx, held, outcome, now=house.clock.now, error=error)


async def shown(house: House, whose: Person, token: str = "boss", query: str = "") -> list[dict[str, Any]]:
    answer = await house.ask("GET", f"/accounts/{whose.id}/deliveries{query}", token=token)
    assert answer.status == 200, answer.json
    items: list[dict[str, Any]] = answer.json["items"]
    return items


async def test_a15_an_administrator_sees_the_state_with_each_attempt_and_neither_address_nor_words(
    house: House, anna: Person, boss: Person
) -> None:
    delivery_id = await send(house, anna)
    await attempt(house, delivery_id, AttemptOutcome.LATER, "server_away")
    house.clock.forward(10)
    await attempt(house, delivery_id, AttemptOutcome.SENT)

    (line,) = await shown(house, anna)

    assert line == {
        "id": str(delivery_id),
        "key": "a.code",
        "channel": "sms",
        "language": "nl",
        "state": "sent",
        "reason": None,
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-03-04T12:00:00Z",
        "ended_at": "2026-03-01T12:00:10Z",
        "attempts": [
            {"at": "2026-03-01T12:00:00Z", "outcome": "later", "error": "server_away"},
            {"at": "2026-03-01T12:00:10Z", "outcome": "sent", "error": None},
        ],
    }


async def test_what_waits_shows_nothing_of_where_it_goes_or_what_it_says(
    house: House, anna: Person, boss: Person
) -> None:
    await send(house, anna)

    answer = await house.ask("GET", f"/accounts/{anna.id}/deliveries", token="boss")

    assert answer.json["items"][0]["state"] == "queued"
    assert not any(word in str(answer.json) for word in (ADDRESS[-4:], CODE, "a phone"))


async def test_what_was_refused_has_its_reason(house: House, anna: Person, boss: Person) -> None:
    await attempt(house, await send(house, anna), AttemptOutcome.REFUSED, "no_carrier")

    (line,) = await shown(house, anna)

    assert (line["state"], line["reason"]) == ("failed", "no_carrier")


async def test_pages_come_newest_first_without_gap_or_repetition(house: House, anna: Person, boss: Person) -> None:
    for number in range(5):
        house.clock.forward(1)
        await send(house, anna, f"a.code_{number}")

    first = await house.ask("GET", f"/accounts/{anna.id}/deliveries?limit=3", token="boss")
    rest = await shown(house, anna, query=f"?limit=3&cursor={first.json['next_cursor']}")

    keys = [line["key"] for line in (*first.json["items"], *rest)]
    assert keys == [f"a.code_{number}" for number in (4, 3, 2, 1, 0)]


async def test_of_another_organization_nothing_is_there(house: House, anna: Person, boss: Person) -> None:
    elsewhere = await found(house.db, house.clock.now)
    zoe = await house.hire("zoe", organization_id=elsewhere)
    await send(house, zoe)

    strangers = await house.ask("GET", f"/accounts/{zoe.id}/deliveries", token="boss")
    nobodys = await house.ask("GET", f"/accounts/{uuid4()}/deliveries", token="boss")

    assert strangers.status == nobodys.status == 404
    assert strangers.json | {"instance": ""} == nobodys.json | {"instance": ""}


async def test_of_a_guest_what_was_sent_in_this_organizations_name_alone(
    house: House, anna: Person, boss: Person
) -> None:
    elsewhere = await found(house.db, house.clock.now)
    zoe = await house.hire("zoe", organization_id=elsewhere)
    async with house.db.write() as tx:
        await tx.execute(new_membership(anna.organization_id, zoe.id, (), house.clock.now))
    await send(house, zoe, "theirs")
    await send(house, zoe, "ours", anna.organization_id)

    assert [line["key"] for line in await shown(house, zoe)] == ["ours"]


@pytest.mark.parametrize(
    ("mine", "theirs", "status"),
    [
        ("helpdesk_administrator", (), 200),
        ("helpdesk_administrator", ("helpdesk_administrator",), 200),
        ("helpdesk_administrator", ("user_administrator",), 404),
        ("password_administrator", ("reports_reader",), 404),
        ("privileged_role_administrator", (), 404),
        ("user_administrator", ("global_administrator",), 404),
        ("privileged_authentication_administrator", ("global_administrator",), 200),
    ],
)
async def test_whoever_may_not_help_a_person_is_told_that_nothing_is_there(
    house: House, mine: str, theirs: tuple[str, ...], status: int
) -> None:
    """By the table of who may reset whom: others learn not even that there is such an account."""
    await house.appoint("able", mine)
    whose = await house.hire("whose", roles=theirs)
    await send(house, whose)

    answer = await house.ask("GET", f"/accounts/{whose.id}/deliveries", token="able")

    assert answer.status == status
    if status == 404:
        nobodys = await house.ask("GET", f"/accounts/{uuid4()}/deliveries", token="able")
        assert answer.json | {"instance": ""} == nobodys.json | {"instance": ""}


async def test_an_operator_sees_what_was_sent_about_anybody_and_is_seen_by_operators_alone(
    house: House, anna: Person, boss: Person
) -> None:
    zoe = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    oscar = await house.hire("oscar", is_operator=True)
    await house.open_session(oscar, "oscar")
    for one in (anna, zoe, oscar):
        await send(house, one)

    assert [len(await shown(house, one, "oscar")) for one in (anna, zoe, oscar)] == [1, 1, 1]
    assert (await house.ask("GET", f"/accounts/{oscar.id}/deliveries", token="boss")).status == 404
    assert (await house.ask("GET", f"/accounts/{uuid4()}/deliveries", token="oscar")).status == 404


@pytest.mark.parametrize("roles", [(), ("helpdesk",), ("directory_reader",)])
async def test_nobody_else_sees_it(house: House, anna: Person, roles: tuple[str, ...]) -> None:
    await house.open_session(await house.hire("bert", roles=roles), "bert")
    await house.open_session(anna, "anna")

    for token in ("bert", "anna"):
        assert (await house.ask("GET", f"/accounts/{anna.id}/deliveries", token=token)).status == 403
