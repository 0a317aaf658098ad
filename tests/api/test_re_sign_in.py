"""Out and in again within five minutes: every row of the sheet's table (A14) up to the proof, over HTTP."""

import asyncio
from collections import Counter
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import account
from models import re_sign_in as windows
from models.device import DeviceState
from models.event import SWEEP, event
from models.job import job
from models.notification import notification
from models.re_sign_in import re_sign_in
from models.vocabulary import Act
from tests.api.house import PUBLIC_URL, Answer, House
from tests.people import Person, found, give_device

SESSION_COOKIE = "__Host-latchkey-session"
WINDOW_COOKIE = "__Host-latchkey-re-sign-in"


async def tap(
    house: House,
    device_id: UUID,
    session: str | None = "token",
    *,
    act: str = "reset_passcode",
    window: str | None = None,
) -> Answer:
    """*Sign out*, tapped on the page of a device; `window`: the token of one that is open already."""
    body = {"device_id": str(device_id), "act": act} | ({} if window is None else {"token": window})
    return await house.ask("POST", "/re-sign-ins", body, token=session)


async def state(house: House, window_id: str) -> tuple[str, str | None]:
    (row,) = await house.rows(sa.select(re_sign_in.c.state, re_sign_in.c.why).where(re_sign_in.c.id == UUID(window_id)))
    return row.state, row.why


@pytest.fixture
async def anna(house: House) -> Person:
    person = await house.hire("anna")
    await house.open_session(person, "token")
    return person


@pytest.fixture
async def phone(house: House, anna: Person) -> UUID:
    return await give_device(house.db, anna, house.clock.now)


# Opening


async def test_a_tap_opens_the_window_and_ends_the_session(house: House, anna: Person, phone: UUID) -> None:
    house.clock.forward(1.5)

    opened = await tap(house, phone)

    assert opened.status == 201
    assert opened.json == {
        "id": opened.json["id"],
        "state": "open",
        "device_id": str(phone),
        "act": "reset_passcode",
        "opened_at": "2026-03-01T12:00:01.500000Z",
        "closes_at": "2026-03-01T12:05:01.500000Z",
        "usable_until": None,
        "server_time": "2026-03-01T12:00:01.500000Z",
        "token": opened.json["token"],
    }
    assert (await house.ask("GET", "/sessions/current", token="token")).status == 401
    assert await house.events(anna) == Counter(
        [("account:re_sign_in:open", "success", None), ("account:session:end", "success", None)]
    )


async def test_the_token_comes_as_a_strict_cookie_as_well_and_the_sessions_cookie_goes(
    house: House, phone: UUID
) -> None:
    opened = await tap(house, phone)

    assert opened.cookies[WINDOW_COOKIE] == opened.json["token"]
    (cookie,) = [one for one in opened.set_cookies if one.startswith(WINDOW_COOKIE)]
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"} <= set(cookie.split("; "))
    assert any(one.startswith(f"{SESSION_COOKIE}=;") for one in opened.set_cookies)
    (row,) = await house.rows(sa.select(re_sign_in))
    assert opened.json["token"] not in str(tuple(row)), "only its hash is kept"


async def test_a_tap_that_is_refused_opens_nothing_and_ends_nothing(house: House, anna: Person, phone: UUID) -> None:
    bert = await house.hire("bert")
    his = await give_device(house.db, bert, house.clock.now)
    away = await give_device(house.db, anna, house.clock.now, state=DeviceState.DISABLED)
    foreign = await give_device(house.db, anna, house.clock.now, platform="unheard-of")
    house.platform.offered[Act.WIPE] = "missing_right"

    refused = [
        (await tap(house, his), 404, "not_found"),
        (await tap(house, uuid4()), 404, "not_found"),
        (await tap(house, away), 409, "not_offered"),
        (await tap(house, foreign), 409, "not_offered"),
        (await tap(house, phone, act="wipe"), 409, "not_offered"),
        (await tap(house, phone, act="remote_lock"), 422, "invalid"),
        (await tap(house, phone, act="dance"), 422, "invalid"),
    ]

    for answer, status, code in refused:
        assert (answer.status, answer.json["code"]) == (status, code)
    assert [answer.json.get("reason") for answer, _, _ in refused[2:5]] == [
        "device_disabled",
        "platform_unsupported",
        "missing_right",
    ]
    assert await house.rows(sa.select(re_sign_in)) == []
    assert (await house.ask("GET", "/sessions/current", token="token")).status == 200


async def test_what_the_administrator_hid_is_refused_with_whom_to_ask(house: House) -> None:
    hidden = [{"platform": "pocket", "ownership": "corporate", "act": "reset_passcode"}]
    contact = {"name": "Helpdesk", "phone": "+31 20 555 0100"}
    strict = await found(house.db, house.clock.now, {"hidden_acts": hidden, "contact": contact})
    anna = await house.hire("anna", organization_id=strict)
    await house.open_session(anna, "token")

    answer = await tap(house, await give_device(house.db, anna, house.clock.now))

    assert (answer.status, answer.json["code"]) == (403, "hidden_by_admin")
    assert answer.json["contact"] == contact


async def test_an_organization_may_demand_it_for_other_acts_too(house: House) -> None:
    strict = await found(house.db, house.clock.now, {"act_proof": {"remote_lock": "re_sign_in"}})
    anna = await house.hire("anna", organization_id=strict)
    await house.open_session(anna, "token")

    assert (await tap(house, await give_device(house.db, anna, house.clock.now), act="remote_lock")).status == 201


async def test_tapped_again_without_a_session_the_same_window_is_shown_and_no_clock_is_moved(
    house: House, phone: UUID
) -> None:
    opened = await tap(house, phone)
    house.clock.forward(100)

    by_body = await tap(house, phone, None, window=opened.json["token"])
    by_cookie = await house.ask(
        "POST",
        "/re-sign-ins",
        {"device_id": str(phone), "act": "reset_passcode"},
        headers={"Cookie": f"{WINDOW_COOKIE}={opened.json['token']}", "Origin": PUBLIC_URL},
    )
    with_the_dead_session = await tap(house, phone, "token", window=opened.json["token"])

    for again in (by_body, by_cookie, with_the_dead_session):
        assert again.status == 200
        assert again.json == {**opened.json, "server_time": "2026-03-01T12:01:40Z"}
    assert len(await house.rows(sa.select(re_sign_in))) == 1


async def test_tapped_again_without_session_and_token_one_has_to_sign_in(house: House, phone: UUID) -> None:
    opened = await tap(house, phone)
    token = opened.json["token"]

    for answer in (
        await tap(house, phone, None),
        await tap(house, phone, None, window="guessed"),
        await tap(house, uuid4(), None, window=token),
        await tap(house, phone, None, act="wipe", window=token),
    ):
        assert (answer.status, answer.json["code"]) == (401, "sign_in_required")


@pytest.mark.parametrize(("seconds", "status", "code"), [(300.0, 200, None), (300.001, 410, "re_sign_in_lapsed")])
async def test_a_window_that_is_over_is_not_shown_as_open(
    house: House, phone: UUID, seconds: float, status: int, code: str | None
) -> None:
    opened = await tap(house, phone)
    house.clock.forward(seconds)

    again = await tap(house, phone, None, window=opened.json["token"])

    assert (again.status, again.json.get("code")) == (status, code)


async def test_a_window_that_was_proven_is_not_open_to_whoever_repeats_its_token(
    house: House, anna: Person, phone: UUID
) -> None:
    opened = await tap(house, phone)
    await house.sign_in(anna, re_sign_in=opened.json["token"])

    again = await tap(house, phone, None, window=opened.json["token"])

    assert (again.status, again.json["code"], again.json["state"]) == (409, "re_sign_in_not_open", "proven")


async def test_a_new_window_of_the_same_device_cancels_the_old_one_and_no_others(
    house: House, anna: Person, phone: UUID
) -> None:
    tablet = await give_device(house.db, anna, house.clock.now)
    first = await tap(house, phone)
    await house.open_session(anna, "again")
    other = await tap(house, tablet, "again")
    await house.open_session(anna, "once more")
    second = await tap(house, phone, "once more")

    assert await state(house, first.json["id"]) == ("cancelled", "opened_anew")
    assert await state(house, other.json["id"]) == ("open", None)
    assert await state(house, second.json["id"]) == ("open", None)
    late = await house.sign_in(anna, re_sign_in=first.json["token"])
    assert late.json["re_sign_in"]["state"] == "cancelled"


async def test_five_windows_an_hour_are_enough(house: House, anna: Person, phone: UUID) -> None:
    for n in range(5):
        await house.open_session(anna, f"token {n}")
        assert (await tap(house, phone, f"token {n}")).status == 201
        house.clock.forward(60)

    sixth = await tap(house, phone, "token")

    assert (sixth.status, sixth.json["code"]) == (429, "too_many_tries")
    assert sixth.headers["Retry-After"] == str(3600 - 300)
    assert (await house.ask("GET", "/sessions/current", token="token")).status == 200, "the session is kept"
    assert ("account:re_sign_in:open", "failure", "too_many_tries") in await house.events(anna)


async def test_of_parallel_taps_of_one_session_one_opens_a_window_and_all_lead_on(
    house: House, anna: Person, phone: UUID
) -> None:
    answers = await asyncio.gather(*(tap(house, phone) for _ in range(5)))

    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 201]
    assert [answer.json for answer in answers] == [answers[0].json] * 5
    assert [answer.cookies[WINDOW_COOKIE] for answer in answers] == [answers[0].json["token"]] * 5
    assert len(await house.rows(sa.select(re_sign_in))) == 1
    assert await house.events(anna) == Counter(
        [("account:re_sign_in:open", "success", None), ("account:session:end", "success", None)]
    )
    signed_in = await house.sign_in(anna, re_sign_in=answers[-1].json["token"])
    assert signed_in.json["re_sign_in"]["state"] == "proven"


async def test_whoever_never_heard_the_answer_taps_again_with_the_session_that_it_ended(
    house: House, phone: UUID
) -> None:
    opened = await tap(house, phone)
    house.clock.forward(300)

    again = await tap(house, phone)

    assert again.status == 200
    assert again.json == {**opened.json, "server_time": "2026-03-01T12:05:00Z"}
    house.clock.forward(0.001)
    late = await tap(house, phone)
    assert (late.status, late.json["code"]) == (410, "re_sign_in_lapsed")


async def test_of_parallel_taps_for_two_devices_one_opens_a_window_and_the_other_has_to_sign_in(
    house: House, anna: Person, phone: UUID
) -> None:
    tablet = await give_device(house.db, anna, house.clock.now)

    answers = await asyncio.gather(tap(house, phone), tap(house, tablet))

    assert sorted(answer.status for answer in answers) == [201, 401]
    assert len(await house.rows(sa.select(re_sign_in))) == 1


async def test_an_ended_session_that_opened_no_window_is_shown_none(house: House, anna: Person, phone: UUID) -> None:
    await house.open_session(anna, "other")
    await tap(house, phone)
    await house.ask("DELETE", "/sessions/current", token="other")

    for answer in (await tap(house, phone, "other"), await tap(house, phone, act="wipe")):
        assert (answer.status, answer.json["code"]) == (401, "sign_in_required")


# Proving


EDGES = [(0.0, "proven"), (299.999, "proven"), (300.0, "proven"), (300.001, "lapsed"), (-0.001, "lapsed")]


@pytest.mark.rule("A14.1")
@pytest.mark.parametrize(("seconds", "became"), EDGES)
async def test_a_sign_in_within_both_bounds_proves_it_and_any_sign_in_stands(
    house: House, anna: Person, phone: UUID, seconds: float, became: str
) -> None:
    opened = await tap(house, phone)
    house.clock.forward(seconds)

    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])

    assert answer.status == 201
    assert answer.json["re_sign_in"]["id"] == opened.json["id"]
    assert answer.json["re_sign_in"]["state"] == became
    assert (answer.json["re_sign_in"]["usable_until"] is not None) is (became == "proven")
    assert await house.told(anna) == (["re_sign_in.lapsed"] if became == "lapsed" else [])
    assert (f"account:re_sign_in:{'prove' if became == 'proven' else 'lapse'}", "success", None) in await house.events(
        anna
    )
    (row,) = await house.rows(sa.select(re_sign_in))
    assert row.session_id == (UUID(answer.json["session"]["id"]) if became == "proven" else None)
    assert (await house.ask("GET", "/sessions/current", token=answer.json["token"])).status == 200


async def test_the_cookie_does_as_well_as_the_body_and_is_cleared_by_the_sign_in(
    house: House, anna: Person, phone: UUID
) -> None:
    opened = await tap(house, phone)
    cookie = {"Cookie": f"{WINDOW_COOKIE}={opened.json['token']}", "Origin": PUBLIC_URL}

    answer = await house.sign_in(anna, headers=cookie)

    assert answer.json["re_sign_in"]["state"] == "proven"
    assert any(one.startswith(f"{WINDOW_COOKIE}=;") and "Max-Age=0" in one for one in answer.set_cookies)


@pytest.mark.parametrize(("seconds", "became"), [(299.999, "proven"), (300.0, "proven"), (300.001, "lapsed")])
async def test_the_last_factor_decides_and_not_the_password(house: House, seconds: float, became: str) -> None:
    anna = await house.hire("anna", second_factor=True)
    await house.open_session(anna, "token", strength=2)
    opened = await tap(house, await give_device(house.db, anna, house.clock.now))
    house.clock.forward(100)
    half = await house.sign_in(anna, re_sign_in=opened.json["token"])
    assert half.status == 202
    assert await state(house, opened.json["id"]) == ("open", None), "half a sign-in proves nothing"
    house.clock.forward(seconds - 100)

    body = {"method_id": str(anna.method_id), "code": anna.code(house.clock.now)}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    assert whole.status == 201
    assert whole.json["re_sign_in"]["state"] == became
    assert (await state(house, opened.json["id"]))[0] == became


async def test_a_failed_sign_in_changes_nothing_and_extends_nothing(house: House) -> None:
    anna = await house.hire("anna", second_factor=True)
    await house.open_session(anna, "token", strength=2)
    opened = await tap(house, await give_device(house.db, anna, house.clock.now))
    house.clock.forward(200)

    wrong = {"account": "anna", "password": "wrong", "re_sign_in": opened.json["token"]}
    await house.ask("POST", "/sessions", wrong)
    half = await house.sign_in(anna, re_sign_in=opened.json["token"])
    body = {"method_id": str(anna.method_id), "code": "000000"}
    await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    (row,) = await house.rows(sa.select(re_sign_in))
    assert (row.state, row.session_id) == ("open", None)
    again = await tap(house, UUID(opened.json["device_id"]), None, window=opened.json["token"])
    assert again.json["closes_at"] == opened.json["closes_at"]


@pytest.mark.rule("A14.5")
async def test_another_person_cancels_it_and_gets_a_plain_session(house: House, anna: Person, phone: UUID) -> None:
    bert = await house.hire("bert")
    opened = await tap(house, phone)

    answer = await house.sign_in(bert, re_sign_in=opened.json["token"])

    assert answer.status == 201
    assert answer.json["re_sign_in"] is None
    assert str(anna.id) not in str(answer.json)
    assert await state(house, opened.json["id"]) == ("cancelled", "other_account")
    (row,) = await house.rows(sa.select(event).where(event.c.action == "account:re_sign_in:cancel"))
    assert (row.account_id, row.actor_id, row.reason) == (anna.id, bert.id, "other_account")
    late = await house.sign_in(anna, re_sign_in=opened.json["token"])
    assert late.json["re_sign_in"]["state"] == "cancelled"
    assert await house.told(anna) == []


async def test_a_person_of_another_organization_is_not_named_in_this_ones_record(
    house: House, anna: Person, phone: UUID
) -> None:
    zoe = await house.hire("zoe", organization_id=await found(house.db, house.clock.now))
    opened = await tap(house, phone)

    answer = await house.sign_in(zoe, re_sign_in=opened.json["token"])

    assert answer.json["re_sign_in"] is None
    assert (await state(house, opened.json["id"]))[0] == "cancelled"
    (row,) = await house.rows(sa.select(event).where(event.c.action == "account:re_sign_in:cancel"))
    assert (row.organization_id, row.actor_id) == (anna.organization_id, None)


async def test_another_browser_has_no_token_and_the_window_stays_open(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)

    plain = await house.sign_in(anna)
    guessed = await house.sign_in(anna, re_sign_in="guessed")

    assert [answer.status for answer in (plain, guessed)] == [201, 201]
    assert [answer.json["re_sign_in"] for answer in (plain, guessed)] == [None, None]
    assert await state(house, opened.json["id"]) == ("open", None)


async def test_of_parallel_sign_ins_with_one_token_one_gets_the_right(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)

    answers = await asyncio.gather(*(house.sign_in(anna, re_sign_in=opened.json["token"]) for _ in range(5)))

    assert [answer.status for answer in answers] == [201] * 5
    proven = [answer for answer in answers if answer.json["re_sign_in"] is not None]
    assert len(proven) == 1
    (row,) = await house.rows(sa.select(re_sign_in))
    assert row.session_id == UUID(proven[0].json["session"]["id"])


async def test_a_lapsed_window_says_which_device_and_that_nothing_was_reset(
    house: House, anna: Person, phone: UUID
) -> None:
    opened = await tap(house, phone)
    house.clock.forward(301)

    await house.sign_in(anna, re_sign_in=opened.json["token"])
    await house.sign_in(anna, re_sign_in=opened.json["token"])

    (line,) = await house.rows(sa.select(notification))
    assert (line.key, line.params, line.version) == (
        "re_sign_in.lapsed",
        {"device": "anna's phone", "act": "reset_passcode"},
        1,
    )
    assert (line.subject_id, line.device_id) == (UUID(opened.json["id"]), phone)


async def test_the_sweep_and_a_late_sign_in_tell_it_once_between_them(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    house.clock.forward(300)
    async with house.db.read() as tx:
        assert await windows.due(tx, house.clock.now, 10) == [], "the last inclusive moment is not over"
    house.clock.forward(0.000001)
    async with house.db.write() as tx:
        (due,) = await windows.due(tx, house.clock.now, 10)
        assert await windows.lapse(tx, due, actor=SWEEP, now=house.clock.now)
        assert not await windows.lapse(tx, due, actor=SWEEP, now=house.clock.now)

    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])

    assert answer.json["re_sign_in"]["state"] == "lapsed"
    assert await house.told(anna) == ["re_sign_in.lapsed"]
    assert (await house.events(anna))["account:re_sign_in:lapse", "success", None] == 1


async def test_a_proven_window_that_nobody_uses_lapses_too(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    house.clock.forward(200)
    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])
    house.clock.forward(300)
    async with house.db.read() as tx:
        assert await windows.due(tx, house.clock.now, 10) == []
    house.clock.forward(0.001)

    async with house.db.write() as tx:
        (due,) = await windows.due(tx, house.clock.now, 10)
        await windows.lapse(tx, due, actor=SWEEP, now=house.clock.now)

    shown = await house.ask("GET", f"/re-sign-ins/{opened.json['id']}", token=answer.json["token"])
    assert shown.json["state"] == "lapsed"
    assert await house.told(anna) == ["re_sign_in.lapsed"]


async def test_a_sign_in_while_the_sweep_lapses_the_window_waits_for_it(
    house: House, anna: Person, phone: UUID
) -> None:
    """Both hold the account first: neither waits for the other while the other waits for it."""
    opened = await tap(house, phone)
    house.clock.forward(301)

    async def sweep() -> None:
        async with house.db.write() as tx:
            for due in await windows.due(tx, house.clock.now, 10):
                await windows.lapse(tx, due, actor=SWEEP, now=house.clock.now)

    answers = await asyncio.gather(
        *(house.sign_in(anna, re_sign_in=opened.json["token"]) for _ in range(3)), *(sweep() for _ in range(3))
    )

    assert [answer.status for answer in answers if answer is not None] == [201] * 3
    assert await house.told(anna) == ["re_sign_in.lapsed"]


# Spending it


async def confirm(house: House, device_id: UUID, token: str) -> Answer:
    headers = {"Idempotency-Key": uuid4().hex}
    return await house.ask("POST", f"/devices/{device_id}/reset-passcode", token=token, headers=headers)


@pytest.mark.rule("A14.2")
async def test_of_parallel_confirmations_one_spends_it(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    token = (await house.sign_in(anna, re_sign_in=opened.json["token"])).json["token"]

    answers = await asyncio.gather(*(confirm(house, phone, token) for _ in range(5)))

    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409, 409]
    assert {answer.json["code"] for answer in answers if answer.status == 409} == {"re_sign_in_used"}
    (made,) = await house.rows(sa.select(job.c.id))
    (spent,) = await house.rows(sa.select(re_sign_in.c.state, re_sign_in.c.job_id))
    assert tuple(spent) == ("used", made.id)


async def test_a_session_proves_one_window_and_never_a_second(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    token = (await house.sign_in(anna, re_sign_in=opened.json["token"])).json["token"]
    (proven,) = await house.rows(sa.select(re_sign_in))

    async def prove_another() -> None:
        async with house.db.write() as tx:
            another = await windows.open_window(
                tx,
                organization_id=anna.organization_id,
                account_id=anna.id,
                device_id=phone,
                act=Act.RESET_PASSCODE,
                token_hash=b"another",
                now=house.clock.now,
            )
            await windows.prove(tx, another, proven.session_id, house.clock.now)

    with pytest.raises(sa.exc.IntegrityError):
        await prove_another()

    assert (await confirm(house, phone, token)).status == 202


@pytest.mark.rule("A14.4")
async def test_a_confirmation_that_waited_for_whoever_ended_it_spends_nothing(
    house: House, anna: Person, phone: UUID
) -> None:
    """It looks at the window when it holds it, and not before."""
    opened = await tap(house, phone)
    token = (await house.sign_in(anna, re_sign_in=opened.json["token"])).json["token"]

    async with house.db.write() as tx:
        await account.lock(tx, anna.id)
        waiting = asyncio.create_task(confirm(house, phone, token))
        # Until it waits for the account, on PostgreSQL; on SQLite it waits for its turn to write.
        for _ in range(50):
            await tx.execute(sa.select(1))
            await asyncio.sleep(0)
        await windows.cancel_live(tx, anna.id, None, "password_changed", house.clock.now, actor=SWEEP)
        assert not waiting.done()
    answer = await waiting

    assert (answer.status, answer.json["code"]) == (401, "re_sign_in_required")
    assert await house.rows(sa.select(job.c.id)) == []
    assert await state(house, opened.json["id"]) == ("cancelled", "password_changed")


@pytest.mark.rule("A14.4")
async def test_a14_t_a_confirmation_after_it_was_cancelled_makes_no_job(
    house: House, anna: Person, phone: UUID
) -> None:
    """The session lives on, so that it is the window that decides."""
    opened = await tap(house, phone)
    token = (await house.sign_in(anna, re_sign_in=opened.json["token"])).json["token"]
    async with house.db.write() as tx:
        await windows.cancel_live(tx, anna.id, None, "methods_changed", house.clock.now, actor=SWEEP)

    answer = await confirm(house, phone, token)

    assert (answer.status, answer.json["code"]) == (401, "re_sign_in_required")
    assert await house.rows(sa.select(job.c.id)) == []


@pytest.mark.rule("A14.6")
async def test_a14_t_a_clock_put_back_an_hour_before_the_sign_in_lapses_the_window(
    house: House, anna: Person, phone: UUID
) -> None:
    opened = await tap(house, phone)
    house.clock.forward(-3600)

    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])

    assert (answer.status, answer.json["re_sign_in"]["state"]) == (201, "lapsed")
    house.clock.forward(3600)
    assert (await confirm(house, phone, answer.json["token"])).status == 401, "and it stays so"


@pytest.mark.rule("A14.6")
async def test_a14_t_a_clock_put_back_an_hour_before_the_confirmation_lapses_the_window(
    house: House, anna: Person, phone: UUID
) -> None:
    opened = await tap(house, phone)
    token = (await house.sign_in(anna, re_sign_in=opened.json["token"])).json["token"]
    house.clock.forward(-3600)

    answer = await confirm(house, phone, token)

    assert (answer.status, answer.json["code"]) == (410, "re_sign_in_lapsed")
    house.clock.forward(3600)
    assert (await confirm(house, phone, token)).status in {401, 410}
    assert await house.rows(sa.select(job.c.id)) == []


# What cancels it


async def test_signing_out_cancels_the_right_of_that_session(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])

    await house.ask("DELETE", "/sessions/current", token=answer.json["token"])

    assert await state(house, opened.json["id"]) == ("cancelled", "signed_out")
    assert ("account:re_sign_in:cancel", "success", "signed_out") in await house.events(anna)


async def test_signing_out_of_another_session_leaves_it(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    await house.sign_in(anna, re_sign_in=opened.json["token"])
    await house.open_session(anna, "another")

    await house.ask("DELETE", "/sessions/current", token="another")

    assert (await state(house, opened.json["id"]))[0] == "proven"


async def test_signing_out_everywhere_cancels_open_and_proven_windows_alike(
    house: House, anna: Person, phone: UUID
) -> None:
    tablet = await give_device(house.db, anna, house.clock.now)
    still_open = await tap(house, tablet)
    await house.open_session(anna, "again")
    proven = await tap(house, phone, "again")
    answer = await house.sign_in(anna, re_sign_in=proven.json["token"])

    await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token=answer.json["token"])

    for window in (still_open, proven):
        assert await state(house, window.json["id"]) == ("cancelled", "signed_out_everywhere")
    assert await house.told(anna) == ["session.signed_out_everywhere"]


async def test_going_out_for_one_device_gives_up_the_right_for_another(house: House, anna: Person, phone: UUID) -> None:
    tablet = await give_device(house.db, anna, house.clock.now)
    first = await tap(house, phone)
    answer = await house.sign_in(anna, re_sign_in=first.json["token"])

    second = await tap(house, tablet, answer.json["token"])

    assert await state(house, first.json["id"]) == ("cancelled", "signed_out")
    assert (await state(house, second.json["id"]))[0] == "open"


# Looking at it


async def test_its_owner_sees_it_with_the_servers_time(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    house.clock.forward(10)
    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])
    house.clock.forward(20)

    shown = await house.ask("GET", f"/re-sign-ins/{opened.json['id']}", token=answer.json["token"])

    assert shown.status == 200
    assert shown.json == {
        **{name: value for name, value in opened.json.items() if name != "token"},
        "state": "proven",
        "usable_until": "2026-03-01T12:05:10Z",
        "server_time": "2026-03-01T12:00:30Z",
    }


@pytest.mark.parametrize(("seconds", "seen"), [(300.0, "proven"), (300.001, "lapsed")])
async def test_a_bound_that_passed_counts_before_it_is_written_down(
    house: House, anna: Person, phone: UUID, seconds: float, seen: str
) -> None:
    opened = await tap(house, phone)
    answer = await house.sign_in(anna, re_sign_in=opened.json["token"])
    house.clock.forward(seconds)

    shown = await house.ask("GET", f"/re-sign-ins/{opened.json['id']}", token=answer.json["token"])

    assert shown.json["state"] == seen
    assert (await state(house, opened.json["id"]))[0] == "proven"


async def test_nobody_else_sees_it(house: House, anna: Person, phone: UUID) -> None:
    opened = await tap(house, phone)
    await house.open_session(await house.hire("bert"), "bert")

    for window_id in (opened.json["id"], uuid4(), "no-id"):
        answer = await house.ask("GET", f"/re-sign-ins/{window_id}", token="bert")
        assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert (await house.ask("GET", f"/re-sign-ins/{opened.json['id']}")).status == 401
