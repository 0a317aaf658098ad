"""What a person and an operator see of the limits, over HTTP, on both databases (section B6 of the fact sheet)."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from api.operations import passkey_try, password_try
from models import passkey, throttle, verification
from models.delivery import Delivery, Link, delivery
from models.event import Actor
from models.fault import Fault
from models.verification import VerificationKind
from models.vocabulary import Secret, new_id
from tests.api.house import Answer, House, give_address
from tests.people import Person
from workers.sweep import Sweep

COOKIE = "__Host-latchkey-browser"


async def fail(house: House, number: int, headers: dict[str, str] | None = None) -> int:
    body = {"account": "anna", "password": "wrong"}
    return (await house.ask("POST", "/sessions", body, address=f"198.51.{number}.1", headers=headers)).status


async def test_b6_a_person_sees_what_strangers_have_counted_up_and_what_this_browser_has(house: House) -> None:
    anna = await house.hire()
    signed_in = await house.sign_in(anna)
    token, kept = signed_in.json["token"], {"Cookie": f"{COOKIE}={signed_in.cookies[COOKIE]}"}
    assert (await house.ask("GET", "/throttles", token=token)).json["items"] == []

    for n in range(10):
        await fail(house, n)
    await fail(house, 20, kept)

    seen = (await house.ask("GET", "/throttles", token=token, headers=kept)).json["items"]
    strangers = {
        "kind": "password",
        "lane": "strangers",
        "tries": 10,
        "limit": 10,
        "shut_until": "2026-03-01T12:01:00Z",
    }
    assert sorted(seen, key=lambda one: str(one["lane"])) == [
        strangers,
        {"kind": "password", "lane": "this_browser", "tries": 1, "limit": 10, "shut_until": None},
    ]
    assert (await house.ask("GET", "/throttles", token=token)).json["items"] == [strangers]
    house.clock.forward(60)
    assert (await house.ask("GET", "/throttles", token=token)).json["items"][0]["shut_until"] is None


async def test_b6_an_operator_sees_every_lane_and_the_second_factor(house: House) -> None:
    anna = await house.hire(second_factor=True)
    oscar = await house.hire("oscar", is_operator=True)
    half = await house.sign_in(anna)
    body = {"method_id": str(anna.method_id), "code": "no code"}
    for _ in range(5):
        await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
    await fail(house, 1)
    token = (await house.sign_in(oscar)).json["token"]

    seen = (await house.ask("GET", f"/accounts/{anna.id}/throttles", token=token)).json["items"]

    counts = {(one["kind"], one["lane"]): (one["tries"], one["limit"], one["shut_until"]) for one in seen}
    assert counts == {
        ("password", "strangers"): (1, 10, None),
        ("second_factor_5m", "strangers"): (5, 5, "2026-03-01T12:05:00Z"),
        ("second_factor_1h", "strangers"): (5, 20, None),
        ("second_factor_1d", "strangers"): (5, 50, None),
    }


async def test_b6_who_knows_the_password_alone_shuts_the_second_factor_of_no_known_browser(house: House) -> None:
    anna = await house.hire(second_factor=True)
    kept = {"Cookie": f"{COOKIE}={(await whole(house, anna)).cookies[COOKIE]}"}
    half = await house.sign_in(anna)
    body = {"method_id": str(anna.method_id), "code": "no code"}
    tries = [
        await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"]) for _ in range(6)
    ]
    assert [one.status for one in tries] == [403] * 5 + [429]

    house.clock.forward(30)
    theirs = await whole(house, anna)
    mine = await whole(house, anna, headers=kept)

    assert (theirs.status, mine.status) == (429, 201)
    for _ in range(6):
        await house.ask("POST", "/sessions/current/proof", body, token=mine.json["token"], headers=kept)
    seen = (await house.ask("GET", "/throttles", token=mine.json["token"], headers=kept)).json["items"]
    shut = {one["lane"] for one in seen if one["kind"] == "second_factor_5m" and one["shut_until"] is not None}
    assert shut == {"strangers", "this_browser"}, "and has a limit of its own"


async def whole(house: House, person: Person, headers: dict[str, str] | None = None) -> Answer:
    half = await house.sign_in(person, headers=headers)
    body = {"method_id": str(person.method_id), "code": person.code(house.clock.now)}
    token = half.json["token"]
    return await house.ask("POST", "/sessions/current/second-factor", body, token=token, headers=headers)


async def test_b6_strangers_use_up_no_start_of_a_way_back_in_of_a_known_browser(house: House) -> None:
    anna = await house.hire()
    kept = {"Cookie": f"{COOKIE}={(await house.sign_in(anna)).cookies[COOKIE]}"}

    async def begin(**more: Any) -> int:
        return (await house.ask("POST", "/recoveries", {"account": anna.name}, **more)).status

    assert [await begin(address=f"198.51.{n}.1") for n in range(6)] == [201] * 5 + [429]
    assert [await begin(headers=kept) for _ in range(6)] == [201] * 5 + [429]
    assert await begin(headers={"Cookie": f"{COOKIE}=made-up"}, address="198.52.1.1") == 429


async def test_b6_what_no_time_opens_names_no_time_and_says_what_to_do(house: House) -> None:
    await house.hire("anna")
    for n in range(throttle.PASSWORD.most):
        assert await fail(house, n) == 401
        house.clock.forward(3600)

    shut = await house.ask("POST", "/sessions", {"account": "anna", "password": "wrong"}, address="198.52.1.1")

    assert (shut.status, shut.json["code"]) == (429, "too_many_tries")
    assert "retry_after" not in shut.json
    assert "Retry-After" not in shut.headers
    assert "contact your helpdesk" in shut.json["detail"]


async def shut(house: House, name: str) -> None:
    """A hundred wrong passwords in a row, as slowly as they are let in; and some more that are not."""
    for n in range(throttle.PASSWORD.most):
        body = {"account": name, "password": "wrong"}
        assert (await house.ask("POST", "/sessions", body, address=f"198.51.{n}.1")).status == 401
        house.clock.forward(3600)
    for n in range(3):
        refused = await house.ask("POST", "/sessions", {"account": name, "password": "wrong"}, address=f"198.52.{n}.1")
        assert refused.status == 429


class Bell:
    def __init__(self) -> None:
        self.nudged: list[UUID] = []

    def nudge(self, account_id: UUID) -> None:
        self.nudged.append(account_id)


def sweep(house: House, bell: Bell) -> Sweep:
    return Sweep(house.db, house.keys, Secret(b"a" * 32), bell, Fault())  # a bell is all it needs


async def test_b6_whoever_was_shut_out_by_a_hundred_wrong_passwords_is_told_once_and_so_are_those_who_can_open_it(
    house: House,
) -> None:
    anna, otto = await house.hire("anna@example.org"), await house.hire("otto@example.org")
    able = await house.appoint("helpdesk@example.org", "helpdesk_administrator")
    boss, reader = (
        await house.appoint("boss@example.org"),
        await house.appoint("reader@example.org", "directory_reader"),
    )
    bell = Bell()
    for name in ("nobody@example.org", anna.name):
        await shut(house, name)
        for _ in range(2):
            await sweep(house, bell).shut_doors()

    assert await house.told(anna) == ["password.shut"]
    assert (await house.told(able), await house.told(boss)) == (["password.shut_of_somebody"],) * 2
    assert (await house.told(otto), await house.told(reader)) == ([], [])
    assert sorted(bell.nudged) == sorted([anna.id, able.id, boss.id])
    letters = [Delivery.of(row) for row in await house.rows(sa.select(delivery))]
    assert [(one.key, one.link, one.open(house.keys)[0]) for one in letters] == [
        ("password.shut", Link.NOT_ME, "anna@example.org")
    ]
    assert (await house.events(anna))["account:password:shut", "success", None] == 1


async def test_b6_a_door_that_was_opened_before_anybody_was_told_is_no_news(house: House) -> None:
    anna, boss = await house.hire("anna@example.org"), await house.appoint()
    await shut(house, anna.name)
    path = f"/accounts/{anna.id}/password-unlock"
    await house.open_session(boss, "again", strength=2)
    assert (await house.ask("POST", path, {"reason": "ticket 4711"}, token="again")).status == 204

    await sweep(house, Bell()).shut_doors()

    assert await house.told(anna) == ["account.unlocked_by_administrator"]
    assert await house.told(boss) == []


async def test_b6_whoever_was_shut_out_is_told_even_if_nobody_came_back_to_say_that_it_was_wrong(house: House) -> None:
    """The process may end between the count and what came of it; but a right try is given its time."""
    anna = await house.hire("anna@example.org")
    last = house.clock.now
    for _ in range(throttle.PASSWORD.most):
        last = house.clock.forward(3600)
        for name in ("nobody@example.org", anna.name):
            await password_try.count(house.db, name, b"t" * 32, password_try.OPEN, Actor("person"), browser_token=None)

    house.clock.now = last + throttle.TO_VERIFY - timedelta(microseconds=1)
    await sweep(house, Bell()).shut_doors()
    assert await house.told(anna) == []
    house.clock.forward(timedelta(microseconds=1))
    for _ in range(2):
        await sweep(house, Bell()).shut_doors()

    assert await house.told(anna) == ["password.shut"]
    assert await house.rows(sa.select(throttle.throttle).where(throttle.throttle.c.shut_of.is_not(None))) == []


async def test_b6_the_ninety_ninth_wrong_password_tells_nobody_and_the_hundredth_that_is_right_neither(
    house: House,
) -> None:
    anna = await house.hire("anna@example.org")
    for n in range(throttle.PASSWORD.most - 1):
        await house.ask("POST", "/sessions", {"account": anna.name, "password": "x"}, address=f"198.51.{n}.1")
        house.clock.forward(3600)

    assert (await house.sign_in(anna)).status == 201
    await sweep(house, Bell()).shut_doors()

    assert await house.told(anna) == []


async def test_b5_the_try_that_shuts_the_door_answers_alike_whoever_has_the_name(house: House) -> None:
    """Whoever is to be told is told later, by the sweep: nothing is sealed or looked up while somebody waits."""
    await house.hire("anna@example.org")
    seen = {}
    for name in ("anna@example.org", "nobody@example.org"):
        for n in range(throttle.PASSWORD.most - 1):
            await house.ask("POST", "/sessions", {"account": name, "password": "x"}, address=f"198.51.{n}.1")
            house.clock.forward(3600)
        before = await house.rows(sa.select(delivery))
        body = {"account": name, "password": "wrong"}
        answer = await house.ask("POST", "/sessions", body, address="198.52.1.1")
        seen[name] = (answer.status, answer.json["code"], answer.json["detail"])
        assert await house.rows(sa.select(delivery)) == before

    assert len(set(seen.values())) == 1


async def test_b6_an_administrator_opens_an_account_that_wrong_passwords_shut_in_every_browser(house: House) -> None:
    anna, boss = await house.hire("anna"), await house.appoint()
    kept = {"Cookie": f"{COOKIE}={(await house.sign_in(anna)).cookies[COOKIE]}"}
    for n in range(10):
        await fail(house, n)
        await fail(house, n + 100, kept)
    assert [(await house.sign_in(anna, headers=headers)).status for headers in (None, kept)] == [429, 429]
    path, reason = f"/accounts/{anna.id}/password-unlock", {"reason": "ticket 4711"}

    assert (await house.ask("POST", path, {}, token="boss")).status == 422, "a reason is needed"
    assert (await house.ask("POST", path, reason, token="boss")).status == 204

    assert [(await house.sign_in(anna, headers=headers)).status for headers in (None, kept)] == [201, 201]
    assert (await house.events(anna))["account:password:unlock", "success", "ticket 4711"] == 1
    assert "account.unlocked_by_administrator" in await house.told(anna)
    assert (await house.ask("POST", f"/accounts/{boss.id}/password-unlock", reason, token="boss")).status == 403
    await house.appoint("reader", "directory_reader")
    assert (await house.ask("POST", path, reason, token="reader")).status == 403


async def test_b6_a_name_that_strangers_guessed_at_before_is_open_to_its_new_owner(house: House) -> None:
    await house.appoint()
    for n in range(11):
        await house.ask("POST", "/sessions", {"account": "new", "password": "wrong"}, address=f"198.51.{n}.1")
        await house.ask("POST", "/recoveries", {"account": "new"}, address=f"198.52.{n}.1")

    made = await house.ask("POST", "/accounts", {"sign_in_name": "new", "display_name": "New"}, token="boss")

    body = {"account": "new", "password": made.json["invitation"]["password"]}
    assert (await house.ask("POST", "/sessions", body)).status == 202
    assert (await house.ask("POST", "/recoveries", {"account": "new"})).status == 201


async def test_b6_an_operator_sees_what_a_passkey_without_a_password_has_failed(house: House) -> None:
    anna, oscar = await house.hire(), await house.hire("oscar", is_operator=True)
    key, method_id = b"k" * 16, new_id(house.clock.now)
    async with house.db.write() as tx:
        begun = {"organization_id": anna.organization_id, "account_id": anna.id, "verification_id": method_id}
        await tx.execute(verification.new_passkey(**begun, label="Key", begun_in=method_id, now=house.clock.now))
        bare = {"public_key": b"", "sign_count": 0, "aaguid": UUID(int=0), "transports": ()}
        await passkey.keep(tx, **begun, credential_id=key, **bare, backup_eligible=False, backed_up=False)
        await tx.execute(sa.update(verification.verification).values(state="active"))
        await throttle.take(tx, throttle.PASSKEY, passkey_try.counter_of(key, b"t" * 32), house.clock.now)
    await house.open_session(oscar, "oscar")

    seen = (await house.ask("GET", f"/accounts/{anna.id}/throttles", token="oscar")).json["items"]

    assert {(one["kind"], one["lane"], one["tries"]) for one in seen} == {
        (budget.name, f"passkey:{method_id}", 1) for budget in throttle.PASSKEY
    }


async def test_nobody_but_an_operator_sees_anothers(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert", roles=("global_administrator",))
    oscar = await house.hire("oscar", is_operator=True)
    refused = await house.ask("GET", f"/accounts/{anna.id}/throttles", token=(await house.sign_in(bert)).json["token"])
    missing = await house.ask("GET", f"/accounts/{uuid4()}/throttles", token=(await house.sign_in(oscar)).json["token"])

    assert (refused.status, missing.status) == (403, 404)


async def test_b6_codes_that_were_sent_are_counted_by_address_for_its_person_and_for_an_operator(house: House) -> None:
    anna, oscar = await house.hire(), await house.hire("oscar", is_operator=True)
    phone = await give_address(house, anna, VerificationKind.PHONE, "+31612345678")
    mail = await give_address(house, anna, VerificationKind.EMAIL, "anna@example.net")
    await house.open_session(anna, "anna", strength=2)
    await house.open_session(oscar, "oscar")
    asked = await house.ask("POST", "/sessions/current/proof/send", {"method_id": str(phone)}, token="anna")
    assert asked.status == 200
    otto = await house.hire("otto")
    await house.open_session(otto, "otto", strength=2)
    begun = {"label": "Ours", "address": "anna@example.net"}
    assert (await house.ask("POST", "/security/methods/email", begun, token="otto")).status == 201

    mine = (await house.ask("GET", "/throttles", token="anna")).json["items"]
    theirs = (await house.ask("GET", f"/accounts/{anna.id}/throttles", token="oscar")).json["items"]

    counts = {(one["lane"], one["kind"]): (one["tries"], one["limit"]) for one in mine}
    limits = {"code_1m": 1, "code_1h": 5, "code_1d": 10}
    assert counts == {
        (lane, kind): (1, limit)
        for lane in (f"address:{phone}:signed_in", f"address:{mail}")
        for kind, limit in limits.items()
    }
    assert theirs == mine
    shut = {one["lane"]: one["shut_until"] for one in mine if one["kind"] == "code_1m"}
    assert set(shut.values()) == {"2026-03-01T12:01:00Z"}
    assert "example.net" not in str(theirs)
    assert "5678" not in str(theirs)
