"""The flag: what was told, what was read."""

from uuid import uuid4

import pytest

from models import event, notification
from models.event import Actor
from models.notification import Severity
from tests.api.house import House
from tests.people import Person


async def tell(house: House, person: Person, count: int = 1, key: str = "re_sign_in.lapsed") -> None:
    async with house.db.write() as tx:
        for _ in range(count):
            await notification.tell(
                tx,
                organization_id=person.organization_id,
                account_id=person.id,
                subject_id=uuid4(),
                key=key,
                params={"device": "Anna's phone"},
                severity=Severity.WARNING,
                now=house.clock.now,
            )


async def test_the_newest_line_comes_first_with_all_its_fields(house: House) -> None:
    anna = await house.hire()
    await house.open_session(anna, "t")
    await tell(house, anna, 2)

    answer = await house.ask("GET", "/notifications", token="t")

    assert answer.status == 200
    assert [line["seq"] for line in answer.json["items"]] == [2, 1]
    assert answer.json["unread"] == 2
    assert answer.json["next_cursor"] is None
    line = answer.json["items"][0]
    assert line | {"id": None} == {
        "id": None,
        "seq": 2,
        "key": "re_sign_in.lapsed",
        "params": {"device": "Anna's phone"},
        "severity": "warning",
        "job_id": None,
        "device_id": None,
        "created_at": "2026-03-01T12:00:00Z",
        "read_at": None,
        "expires_at": "2026-03-31T12:00:00Z",
        "version": 1,
    }


async def test_pages_follow_each_other_without_gap_or_repetition(house: House) -> None:
    anna = await house.hire()
    await house.open_session(anna, "t")
    await tell(house, anna, 5)

    seen: list[int] = []
    cursor = ""
    while True:
        answer = await house.ask("GET", f"/notifications?limit=2{cursor}", token="t")
        seen += [line["seq"] for line in answer.json["items"]]
        if answer.json["next_cursor"] is None:
            break
        cursor = f"&cursor={answer.json['next_cursor']}"

    assert seen == [5, 4, 3, 2, 1]


async def test_one_line_is_read_and_unread_again(house: House) -> None:
    anna = await house.hire()
    await house.open_session(anna, "t")
    await tell(house, anna, 2)
    first = (await house.ask("GET", "/notifications", token="t")).json["items"][1]

    read = await house.ask("POST", f"/notifications/{first['id']}/read", token="t")
    unread_only = await house.ask("GET", "/notifications?unread=true", token="t")
    unread = await house.ask("POST", f"/notifications/{first['id']}/unread", token="t")

    assert (read.status, read.json["read_at"]) == (200, "2026-03-01T12:00:00Z")
    assert [line["seq"] for line in unread_only.json["items"]] == [2]
    assert unread_only.json["unread"] == 1
    assert (unread.status, unread.json["read_at"]) == (200, None)


async def test_what_came_after_the_seen_line_stays_unread(house: House) -> None:
    anna = await house.hire()
    await house.open_session(anna, "t")
    await tell(house, anna, 3)

    answer = await house.ask("POST", "/notifications/read", {"up_to": 2}, token="t")

    assert (answer.status, answer.json) == (200, {"unread": 1})


async def test_a_strangers_line_is_not_found_like_one_that_does_not_exist(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    await house.open_session(anna, "a")
    await house.open_session(bert, "b")
    await tell(house, anna)
    line = (await house.ask("GET", "/notifications", token="a")).json["items"][0]

    theirs = await house.ask("POST", f"/notifications/{line['id']}/read", token="b")
    nobodys = await house.ask("POST", f"/notifications/{uuid4()}/read", token="b")
    no_id = await house.ask("POST", "/notifications/first/read", token="b")

    for answer in (theirs, nobodys, no_id):
        assert answer.status == 404
        assert answer.json | {"instance": ""} == nobodys.json | {"instance": ""}
    assert (await house.ask("GET", "/notifications", token="b")).json["items"] == []


@pytest.mark.rule("B7.3")
async def test_the_record_shows_what_concerns_oneself(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert")
    token = (await house.sign_in(anna)).json["token"]
    await house.sign_in(bert)

    answer = await house.ask("GET", "/events", token=token)

    assert answer.status == 200
    assert {line["action"] for line in answer.json["items"]}
    assert {line["actor"]["id"] for line in answer.json["items"]} <= {str(anna.id), None}
    assert token not in str(answer.json)


async def test_from_where_others_acted_is_not_shown(house: House) -> None:
    anna, otto = await house.hire("anna"), await house.hire("otto", is_operator=True)
    await house.open_session(anna, "a")
    for who, address in ((anna, "192.0.2.1"), (otto, "198.51.100.1")):
        async with house.db.write() as tx:
            await event.record(
                tx,
                organization_id=anna.organization_id,
                action="device:remote_lock:ask",
                actor=Actor("account", who.id, address=address, client="a browser", keys=house.keys),
                account_id=anna.id,
                now=house.clock.now,
            )

    lines = (await house.ask("GET", "/events", token="a")).json["items"]

    assert {line["actor"]["id"]: (line["where"], line["client"]) for line in lines} == {
        str(anna.id): ("192.0.2.1", "a browser"),
        str(otto.id): (None, None),
    }
