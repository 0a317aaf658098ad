"""Apps: registered by administrators, used by people, told when they sign out everywhere (A9)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from models import app, job, session, sign_out
from models.account import account
from models.event import event
from models.settings import RECENT_PROOF
from models.signing_key import rotate
from tests.api.house import Answer, House
from tests.people import Person, found

Act = Callable[[House, Person], Awaitable[Answer]]

ANY = {"If-Match": "*"}
URI = "https://timesheet.test/logout"


@pytest.fixture
async def boss(house: House) -> Person:
    """An administrator, signed in with `boss` by two factors."""
    person = await house.hire("boss", roles=("global_administrator",), second_factor=True)
    await house.open_session(person, "boss", strength=2)
    return person


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire("anna")
    await house.open_session(person, "anna")
    return person


async def register(house: House, token: str = "boss", **more: Any) -> Answer:
    body = {"name": "Timesheet", "client_id": "timesheet", "backchannel_logout_uri": URI, **more}
    return await house.ask("POST", "/apps", body, token=token)


async def alive(house: House, token: str) -> bool:
    return (await house.ask("GET", "/sessions/current", token=token)).status == 200


async def revoke(house: House, whose: Person | UUID, key: str | None = "key", **more: Any) -> Answer:
    account_id = whose.id if isinstance(whose, Person) else whose
    body = {"reason": more.pop("reason", "The laptop was stolen.")}
    headers = {} if key is None else {"Idempotency-Key": key}
    path = f"/accounts/{account_id}/sign-out-everywhere"
    return await house.ask("POST", path, body, token=more.pop("token", "boss"), headers=headers)


async def test_an_app_is_registered_shown_changed_and_removed(house: House, boss: Person, anna: Person) -> None:
    made = await register(house)
    assert made.status == 201
    path = f"/apps/{made.json['id']}"
    assert made.json["backchannel_logout_uri"] == URI

    for_anna = await house.ask("GET", "/apps", token="anna")
    assert for_anna.json == {"items": [{"id": made.json["id"], "name": "Timesheet"}], "next_cursor": None}
    assert (await house.ask("PATCH", path, {"name": "T"}, token="boss")).status == 428
    mark = {"If-Match": made.headers["ETag"]}
    changed = await house.ask("PATCH", path, {"name": "T", "session_required": True}, token="boss", headers=mark)
    assert (changed.status, changed.json["name"], changed.json["session_required"]) == (200, "T", True)
    assert (await house.ask("PATCH", path, {"name": "U"}, token="boss", headers=mark)).status == 412
    assert (await house.ask("GET", path, token="boss")).headers["ETag"] == changed.headers["ETag"]
    await house.ask("POST", f"{path}/uses", token="anna")
    assert (await house.ask("DELETE", path, token="boss")).status == 204
    assert (await house.ask("GET", path, token="boss")).status == 404
    actions = [row.action for row in await house.rows(sa.select(event)) if row.action.startswith("organization:")]
    assert sorted(actions) == ["organization:app:add", "organization:app:change", "organization:app:remove"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://timesheet.test/logout",
        "https://me:secret@timesheet.test/logout",
        "https://timesheet.test/logout#here",
        "https:///logout",
        "ftp://timesheet.test",
        "https://timesheet.test:0/",
        "https://timesheet.test/a b",
        "javascript:alert(1)",
    ],
)
async def test_an_app_is_told_by_https_alone(house: House, boss: Person, uri: str) -> None:
    assert (await register(house, backchannel_logout_uri=uri)).status == 422


async def test_a_client_id_is_one_app_of_an_organization(house: House, boss: Person) -> None:
    assert (await register(house)).status == 201
    again = await register(house)
    assert (again.status, again.json["code"]) == (409, "client_id_taken")
    other = await register(house, client_id="other")
    mark = {"If-Match": other.headers["ETag"]}
    path = f"/apps/{other.json['id']}"
    taken = await house.ask("PATCH", path, {"client_id": "timesheet"}, token="boss", headers=mark)
    assert (taken.status, taken.json["code"]) == (409, "client_id_taken")


async def test_registering_takes_an_administrator_two_factors_shown_lately(house: House, boss: Person) -> None:
    await house.open_session(await house.hire("anna"), "anna")
    await house.open_session(await house.hire("one", roles=("global_administrator",)), "one")

    assert (await register(house, "anna")).status == 403
    alone = await register(house, "one")
    assert (alone.status, alone.json["code"]) == (403, "second_factor_missing")
    house.clock.forward(901)
    late = await register(house)
    assert (late.status, late.json["code"]) == (401, "proof_required")


async def test_an_app_of_another_organization_is_not_there(house: House, boss: Person) -> None:
    made = await register(house)
    elsewhere = await found(house.db, house.clock.now, name="Other")
    stranger = await house.hire("eve", organization_id=elsewhere, roles=("global_administrator",), second_factor=True)
    await house.open_session(stranger, "eve", strength=2)
    path = f"/apps/{made.json['id']}"

    assert (await house.ask("GET", path, token="eve")).status == 404
    assert (await house.ask("POST", f"{path}/uses", token="eve")).status == 404
    assert (await house.ask("DELETE", path, token="eve")).status == 404
    assert (await house.ask("PATCH", path, {"name": "E"}, token="eve", headers={"If-Match": "*"})).status == 404
    assert (await house.ask("GET", "/apps", token="eve")).json["items"] == []


async def test_a_use_names_the_sign_in_as_the_app_will_hear_of_it(house: House, boss: Person, anna: Person) -> None:
    made = await register(house)
    path = f"/apps/{made.json['id']}/uses"

    first = await house.ask("POST", path, token="anna")
    again = await house.ask("POST", path, token="anna")

    assert first.status == again.status == 200
    assert first.json == again.json
    assert (first.json["sub"], first.json["client_id"]) == (str(anna.id), "timesheet")
    (row,) = await house.rows(sa.select(app.app_use))
    assert str(row.id) == first.json["sid"]


async def test_a_sign_in_leaves_one_line_in_the_record_for_each_app(house: House, boss: Person, anna: Person) -> None:
    made = await register(house)
    await house.open_session(anna, "other")

    for token in ("anna", "anna", "other", "anna"):
        assert (await house.ask("POST", f"/apps/{made.json['id']}/uses", token=token)).status == 200

    assert (await house.events(anna))["account:app:use", "success", None] == 2


# Races


async def test_an_app_that_is_removed_while_it_is_opened_is_opened_or_not_there(
    house: House, boss: Person, anna: Person
) -> None:
    for _ in range(8):
        path = f"/apps/{(await register(house)).json['id']}"

        *used, removed = await asyncio.gather(
            *(house.ask("POST", f"{path}/uses", token="anna") for _ in range(4)),
            house.ask("DELETE", path, token="boss"),
        )

        assert {one.status for one in used} <= {200, 404}
        assert removed.status == 204
        assert await house.rows(sa.select(app.app_use)) == []


async def test_of_two_that_take_a_client_id_at_once_one_has_it(house: House, boss: Person) -> None:
    others = ("one", "two", "three")
    for name in others:
        await house.appoint(name)
    for number in range(6):
        wanted = f"wanted-{number}"
        first, second = [await register(house, client_id=f"{wanted}-{one}") for one in range(2)]

        answers = await asyncio.gather(
            house.ask("PATCH", f"/apps/{first.json['id']}", {"client_id": wanted}, token="one", headers=ANY),
            house.ask("PATCH", f"/apps/{second.json['id']}", {"client_id": wanted}, token="two", headers=ANY),
            register(house, "three", client_id=wanted),
            register(house, client_id=wanted),
        )

        taken = [one for one in answers if one.status == 409]
        assert len(taken) == len(answers) - 1
        assert {one.json["code"] for one in taken} == {"client_id_taken"}


# By the person


async def test_signing_out_everywhere_makes_one_job_that_the_person_finds_again(house: House, anna: Person) -> None:
    answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token="anna")
    assert answer.status == 204
    signed_in = await house.sign_in(anna)
    token = signed_in.json["token"]

    shown = await house.ask("GET", answer.headers["Location"].removeprefix("/api/v1"), token=token)
    listed = await house.ask("GET", "/jobs", token=token)
    told = await house.ask("GET", "/notifications", token=token)

    assert (shown.json["kind"], shown.json["device_id"], shown.json["state"]) == ("sign_out", None, "queued")
    assert (shown.json["apps"], shown.json["available_actions"]) == ([], [])
    assert [one["to"] for one in shown.json["timeline"]] == ["queued"]
    assert [one["id"] for one in listed.json["items"]] == [shown.json["id"]]
    assert shown.json["id"] in {one["job_id"] for one in told.json["items"]}
    cancelled = await house.ask("POST", f"/jobs/{shown.json['id']}/cancel", token=token)
    assert (cancelled.status, cancelled.json["code"]) == (409, "too_late_to_cancel")


async def test_the_one_that_asks_may_stay_under_another_token(house: House, boss: Person, anna: Person) -> None:
    made = await register(house)
    await house.open_session(anna, "other")
    for token in ("anna", "other"):
        await house.ask("POST", f"/apps/{made.json['id']}/uses", token=token)

    body = {"confirm": True, "keep_this": True}
    answer = await house.ask("POST", "/sign-out-everywhere", body, token="anna")

    assert answer.status == 200
    assert not await alive(house, "anna")
    assert not await alive(house, "other")
    assert await alive(house, answer.json["token"])
    assert "Clear-Site-Data" not in answer.headers
    assert answer.json["job"]["kind"] == "sign_out"
    assert await house.told(anna) == ["session.signed_out_elsewhere"]
    uses = await house.rows(sa.select(app.app_use).order_by(app.app_use.c.generation))
    assert [row.generation for row in uses] == [0, 1], "what was launched from here goes on"
    assert str(uses[1].session_id) == answer.json["session"]["id"]


@pytest.mark.parametrize(
    ("after", "status"), [(RECENT_PROOF.total_seconds(), 200), (RECENT_PROOF.total_seconds() + 1, 401)]
)
async def test_to_stay_takes_a_recent_proof_and_gives_none(
    house: House, anna: Person, after: float, status: int
) -> None:
    house.clock.forward(after)

    body = {"confirm": True, "keep_this": True}
    answer = await house.ask("POST", "/sign-out-everywhere", body, token="anna")

    assert answer.status == status
    if status == 200:
        (row,) = await house.rows(sa.select(session.session).where(session.session.c.generation == 1))
        assert (house.clock.now - row.proven_at).total_seconds() == after


# By an administrator


async def test_an_administrator_ends_every_sign_in_of_somebody(house: House, boss: Person, anna: Person) -> None:
    answer = await revoke(house, anna)
    again = await revoke(house, anna)

    assert answer.status == again.status == 202
    assert answer.headers["Location"] == again.headers["Location"]
    assert not await alive(house, "anna")
    assert await alive(house, "boss")
    (row,) = await house.rows(sa.select(account.c.session_generation).where(account.c.id == anna.id))
    assert row.session_generation == 1, "the same key, once"
    assert await house.told(anna) == ["session.revoked_everywhere"]
    assert [one.reason for one in await house.lines("account:session:end_all")] == ["The laptop was stolen."]
    shown = await house.ask("GET", f"/jobs/{answer.json['id']}", token="boss")
    assert (shown.status, shown.json["timeline"][0]["by"]) == (200, "administrator")


@pytest.mark.parametrize("role", ["password_administrator", "user_administrator", "privileged_role_administrator"])
async def test_what_was_done_for_an_account_is_seen_by_whoever_may_do_it(
    house: House, boss: Person, anna: Person, role: str
) -> None:
    """The table decides (A10): one that does not reach somebody sees nothing of their sign-outs."""
    helper = await house.hire("helper", roles=("helpdesk_administrator",))
    await house.appoint("other", role)
    of_anna = (await revoke(house, anna)).json["id"]
    of_helper = (await revoke(house, helper)).json["id"]

    seen = [(await house.ask("GET", f"/jobs/{one}", token="other")).status for one in (of_anna, of_helper)]

    assert (
        seen
        == {
            "password_administrator": [200, 404],
            "user_administrator": [200, 200],
            "privileged_role_administrator": [404, 404],
        }[role]
    )
    assert [(await house.ask("POST", f"/jobs/{one}/cancel", token="other")).status for one in (of_anna, of_helper)] == [
        409 if status == 200 else 404 for status in seen
    ]


async def test_no_key_of_a_persons_own_stands_for_a_revoke(house: House, boss: Person, anna: Person) -> None:
    await revoke(house, anna, "k")

    (kept,) = await house.rows(sa.select(job.job.c.idempotency_key))
    answer = await house.ask(
        "POST", f"/devices/{boss.id}/restart", token="boss", headers={"Idempotency-Key": kept.idempotency_key}
    )
    assert (answer.status, answer.json["code"]) == (400, "unreadable")


async def test_what_a_revoke_must_have(house: House, boss: Person, anna: Person) -> None:
    await house.open_session(await house.hire("one", roles=("global_administrator",)), "one")
    elsewhere = await found(house.db, house.clock.now, name="Other")
    eve = await house.hire("eve", organization_id=elsewhere)

    assert (await revoke(house, anna, None)).json["code"] == "idempotency_key_required"
    assert (await revoke(house, anna, token="anna")).status == 403
    assert (await revoke(house, anna, token="one")).json["code"] == "second_factor_missing"
    assert (await revoke(house, eve)).status == 404
    assert (await revoke(house, boss)).json["code"] == "not_allowed"
    for reason in ("", "x" * 201):
        assert (await revoke(house, anna, reason=reason)).status == 422
    assert (await revoke(house, anna, reason="x" * 200)).status == 202
    assert (await revoke(house, anna, reason="another")).json["code"] == "idempotency_key_reused"
    house.clock.forward(901)
    assert (await revoke(house, anna, "new")).json["code"] == "proof_required"
    assert len(await house.rows(sa.select(job.job))) == 1


# By what else ends every sign-in


async def change_password(house: House, whose: Person) -> Answer:
    body = {"current": whose.password, "new": "plain otter walks along the dyke"}
    return await house.ask("POST", "/password", body, token="anna")


async def reset_password(house: House, whose: Person) -> Answer:
    body = {"reason": "ticket 4711"}
    return await house.ask("POST", f"/accounts/{whose.id}/password-reset", body, token="boss")


async def say_it_was_not_me(house: House, whose: Person) -> Answer:
    token = (await house.sign_in(whose)).json["token"]
    (seen, *_) = (await house.ask("GET", "/sign-ins", token=token)).json["items"]
    return await house.ask("POST", f"/sign-ins/{seen['id']}/not-me", token=token)


async def block(house: House, whose: Person) -> Answer:
    return await house.ask("POST", f"/accounts/{whose.id}/block", {"reason": "left"}, token="boss")


async def delete(house: House, whose: Person) -> Answer:
    return await house.ask("DELETE", f"/accounts/{whose.id}", token="boss")


ENDING = [
    (change_password, "person"),
    (reset_password, "administrator"),
    (say_it_was_not_me, "person"),
    (block, "administrator"),
    (delete, "administrator"),
]


@pytest.mark.parametrize(("act", "by"), ENDING)
async def test_whatever_ends_every_sign_in_has_the_apps_told(
    house: House, boss: Person, anna: Person, act: Act, by: str
) -> None:
    made = await register(house)
    await house.open_session(anna, "other")
    await house.ask("POST", f"/apps/{made.json['id']}/uses", token="other")

    answer = await act(house, anna)

    assert answer.status < 300, answer.json
    (made_job,) = await house.rows(sa.select(job.job))
    assert (made_job.kind, made_job.account_id, made_job.queue) == ("sign_out", anna.id, "system")
    (first,) = await house.rows(sa.select(job.job_move))
    assert first.by == by
    async with house.db.write() as tx:
        held = await job.by_id(tx, made_job.id)
        assert held is not None
        await sign_out.find_calls(tx, held, house.clock.now)
        (call,) = await sign_out.calls(tx, held.id)
    assert (call.app_name, call.sid) == ("Timesheet", None)


@pytest.mark.parametrize("act", [act for act, _ in ENDING])
async def test_where_no_app_was_used_there_is_nobody_to_tell(
    house: House, boss: Person, anna: Person, act: Act
) -> None:
    assert (await act(house, anna)).status < 300

    assert await house.rows(sa.select(job.job)) == []


async def test_a_password_change_leaves_what_its_own_session_launched(house: House, boss: Person, anna: Person) -> None:
    made = await register(house, session_required=True)
    await house.open_session(anna, "other")
    sids = [
        (await house.ask("POST", f"/apps/{made.json['id']}/uses", token=token)).json["sid"]
        for token in ("anna", "other")
    ]

    assert (await change_password(house, anna)).status == 200

    (made_job,) = await house.rows(sa.select(job.job))
    async with house.db.write() as tx:
        held = await job.by_id(tx, made_job.id)
        assert held is not None
        await sign_out.find_calls(tx, held, house.clock.now)
        assert [str(call.sid) for call in await sign_out.calls(tx, held.id)] == sids[1:]
    assert [str(row.id) for row in await house.rows(sa.select(app.app_use))] == sids[:1]


async def test_an_app_that_knows_no_sign_ins_by_name_ends_also_the_one_that_stays(
    house: House, boss: Person, anna: Person
) -> None:
    """It could not tell which of them is over: once too often rather than once too few."""
    made = await register(house)
    await house.open_session(anna, "other")
    for token in ("anna", "other"):
        await house.ask("POST", f"/apps/{made.json['id']}/uses", token=token)

    answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True, "keep_this": True}, token="anna")

    async with house.db.write() as tx:
        held = await job.by_id(tx, UUID(answer.json["job"]["id"]))
        assert held is not None
        await sign_out.find_calls(tx, held, house.clock.now)
        assert [call.sid for call in await sign_out.calls(tx, held.id)] == [None]
    assert len(await house.rows(sa.select(app.app_use))) == 1, "the one that stays is known on, and told when it ends"


async def test_only_from_a_sign_in_that_stays_nobody_is_told(house: House, boss: Person, anna: Person) -> None:
    made = await register(house)
    await house.ask("POST", f"/apps/{made.json['id']}/uses", token="anna")

    answer = await house.ask("POST", "/sign-out-everywhere", {"confirm": True, "keep_this": True}, token="anna")

    async with house.db.write() as tx:
        held = await job.by_id(tx, UUID(answer.json["job"]["id"]))
        assert held is not None
        await sign_out.find_calls(tx, held, house.clock.now)
        assert await sign_out.calls(tx, held.id) == []


# Keys


async def test_the_public_keys_are_there_for_everybody_and_hold_nothing_else(house: House) -> None:
    async def keys() -> tuple[str, list[Any]]:
        async with house.client.get("/.well-known/jwks.json") as answer:
            return answer.headers["Cache-Control"], (await answer.json())["keys"]

    assert await keys() == ("no-store", []), "whoever kept that would refuse the first token"
    async with house.db.write() as tx:
        assert await rotate(tx, house.keys, house.clock.now)
    kept, (key,) = await keys()
    assert kept == "public, max-age=300"
    assert set(key) == {"kty", "crv", "use", "alg", "kid", "x", "y"}


# One sign-in ends, and no other


async def told_of_one(house: House) -> list[str | None]:
    """The sign-ins that apps would be told of by the jobs that wait; None: of all that the person has there."""
    found: list[str | None] = []
    for row in await house.rows(sa.select(job.job).order_by(job.job.c.id)):
        async with house.db.write() as tx:
            held = await job.by_id(tx, row.id)
            assert held is not None
            await sign_out.find_calls(tx, held, house.clock.now)
            found += [None if call.sid is None else str(call.sid) for call in await sign_out.calls(tx, held.id)]
    return found


async def launch(house: House, made: Answer, token: str) -> str:
    return str((await house.ask("POST", f"/apps/{made.json['id']}/uses", token=token)).json["sid"])


@pytest.mark.parametrize("ends", ["by itself", "from another"])
async def test_a9_an_app_that_asks_for_sign_ins_by_name_hears_of_the_one_that_ended(
    house: House, boss: Person, anna: Person, ends: str
) -> None:
    made = await register(house, session_required=True)
    other = await house.open_session(anna, "other")
    kept, over = await launch(house, made, "anna"), await launch(house, made, "other")

    if ends == "by itself":
        assert (await house.ask("DELETE", "/sessions/current", token="other")).status == 204
    else:
        assert (await house.ask("DELETE", f"/sessions/{other}", token="anna")).status == 204

    assert await told_of_one(house) == [over]
    assert [str(row.id) for row in await house.rows(sa.select(app.app_use))] == [kept]


async def test_a9_an_app_that_knows_the_person_alone_hears_of_the_last_of_their_sign_ins(
    house: House, boss: Person, anna: Person
) -> None:
    """It would end them all: while another goes on there, nothing is told."""
    made = await register(house)
    await house.open_session(anna, "other")
    for token in ("anna", "other"):
        await launch(house, made, token)

    assert (await house.ask("DELETE", "/sessions/current", token="other")).status == 204
    assert await house.rows(sa.select(job.job)) == []
    assert (await house.ask("DELETE", "/sessions/current", token="anna")).status == 204

    assert await told_of_one(house) == [None]


async def test_a9_another_sign_in_that_has_run_out_is_no_reason_to_tell_nothing(
    house: House, boss: Person, anna: Person
) -> None:
    made = await register(house)
    await launch(house, made, "anna")
    house.clock.forward(31 * 60)
    await house.open_session(anna, "other")
    await launch(house, made, "other")

    assert (await house.ask("DELETE", "/sessions/current", token="other")).status == 204

    assert await told_of_one(house) == [None]


async def test_a9_an_app_that_was_opened_from_another_sign_in_is_not_told(
    house: House, boss: Person, anna: Person
) -> None:
    made = await register(house, session_required=True)
    await launch(house, made, "anna")
    await house.open_session(anna, "other")

    assert (await house.ask("DELETE", "/sessions/current", token="other")).status == 204

    assert await house.rows(sa.select(job.job)) == []
