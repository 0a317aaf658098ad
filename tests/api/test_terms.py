"""Terms of use: the gate behind a sign-in, the text and the answer, and what an administrator keeps (A8)."""

import asyncio
import hashlib
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from models import terms
from models.account import account
from models.event import event
from models.session import SessionState, session
from models.terms import terms_acceptance, terms_document, terms_signer, terms_version
from tests.api.house import Answer, House
from tests.people import Person, block, found, give_device

MOMENT = timedelta(microseconds=1)
RULES = {
    "name": "rules",
    "names": {"en": "House rules", "nl": "Huisregels"},
    "default_language": "en",
}
TEXTS = {"en": "Be kind.\nBe careful.", "nl": "Wees aardig.\nWees voorzichtig."}


@pytest.fixture
async def anna(house: House) -> Person:
    return await house.hire("anna@example.org")


@pytest.fixture
async def boss(house: House) -> Person:
    """An administrator with two factors, signed in with `boss`."""
    person = await house.hire("boss", roles=("global_administrator",), second_factor=True)
    await house.open_session(person, "boss", strength=2)
    return person


async def make(house: House, token: str = "boss", **more: Any) -> str:
    made = await house.ask("POST", "/organization/terms", {**RULES, **more}, token=token)
    assert made.status == 201, made.json
    terms_id: str = made.json["id"]
    return terms_id


async def publish(house: House, terms_id: str, *, token: str = "boss", **more: Any) -> Answer:
    body = {"documents": TEXTS, "major": True, **more}
    return await house.ask("POST", f"/organization/terms/{terms_id}/versions", body, token=token)


async def in_force(house: House, **more: Any) -> str:
    """Terms with a first version; its id."""
    made = await publish(house, await make(house, **more))
    version_id: str = made.json["id"]
    return version_id


async def answer(
    house: House, version_id: str, token: str, *, accepted: bool = True, language: str = "en", **more: Any
) -> Answer:
    body = {"hash": hash_of(TEXTS[language]), "language": language, "accepted": accepted, **more}
    return await house.ask("POST", f"/terms/{version_id}/acceptance", body, token=token)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def mine(house: House, token: str) -> list[Any]:
    items: list[Any] = (await house.ask("GET", "/terms", token=token)).json["items"]
    return items


async def gated(house: House, person: Person) -> str:
    """Signed in, and held up by terms."""
    held_up = await house.sign_in(person)
    assert (held_up.status, held_up.json["state"]) == (202, "terms_required")
    token: str = held_up.json["token"]
    return token


# Nothing to accept


async def test_without_terms_there_is_only_done(house: House, anna: Person) -> None:
    signed_in = await house.sign_in(anna)
    assert signed_in.status == 201

    shown = await house.ask("GET", "/terms", token=signed_in.json["token"])

    assert shown.status == 200
    assert (shown.json["items"], shown.json["only_done"]) == ([], True)


# The gate


async def test_the_next_sign_in_asks_and_the_session_is_whole_after_the_answer(
    house: House, anna: Person, boss: Person
) -> None:
    version_id = await in_force(house)

    held_up = await house.sign_in(anna)

    assert (held_up.status, held_up.json["state"], held_up.json["version_id"]) == (202, "terms_required", version_id)
    token = held_up.json["token"]
    refused = await house.ask("GET", "/devices", token=token)
    assert (refused.status, refused.json["code"], refused.json["version_id"]) == (403, "terms_required", version_id)
    (item,) = await mine(house, token)
    assert (item["status"], item["accept_offered"], item["version_id"]) == ("overdue", True, version_id)
    text = await house.ask("GET", f"/terms/{version_id}", token=token)
    assert text.json["text"] == TEXTS["en"]
    assert text.json["hash"] == hash_of(TEXTS["en"])

    accepted = await answer(house, version_id, token)

    assert accepted.status == 201
    assert accepted.json["next_version_id"] is None
    assert (await house.ask("GET", "/devices", token=token)).status == 200
    assert (await house.sign_in(anna)).status == 201
    shown = await house.ask("GET", "/terms", token=token)
    assert (shown.json["items"][0]["status"], shown.json["only_done"]) == ("current", True)


async def test_who_is_signed_in_is_not_asked_in_the_middle(house: House, anna: Person, boss: Person) -> None:
    await house.open_session(anna, "anna")

    version_id = await in_force(house)

    assert (await house.ask("GET", "/devices", token="anna")).status == 200
    assert [one["status"] for one in await mine(house, "anna")] == ["overdue"]
    assert (await answer(house, version_id, "anna")).status == 201


async def test_behind_the_gate_only_terms_and_signing_out_are_open(house: House, anna: Person, boss: Person) -> None:
    from api.guards import Guard
    from api.routes import ROUTES

    await in_force(house)
    token = await gated(house, anna)
    open_to_all = {Guard.OPEN, Guard.MAYBE_SIGNED_IN}

    opened = set()
    ending = {("DELETE", "/sessions/current"), ("POST", "/sign-out-everywhere")}
    for route in ROUTES:
        if route.guard in open_to_all or not route.path.startswith("/api/v1"):
            continue
        path = re.sub(r"\{[a-z_]+_id\}", lambda _: str(uuid4()), route.path.removeprefix("/api/v1"))
        path = path.replace("{picture}", "image")
        if (route.method, path) in ending:
            continue
        said = await house.ask(route.method, path, dict(route.example) or None, token=token)
        if (said.status, said.json.get("code")) != (403, "terms_required"):
            opened.add((route.method, route.path.removeprefix("/api/v1")))

    assert opened == {
        # Whom to ask, what it looks like, and what of privacy: also a file of one's own data.
        ("GET", "/organization"),
        ("GET", "/organization/pictures/{picture}"),
        ("GET", "/organization/privacy"),
        ("GET", "/exports"),
        ("POST", "/exports"),
        ("GET", "/exports/{export_id}/file"),
        ("GET", "/terms"),
        ("GET", "/terms/{version_id}"),
        ("POST", "/terms/{version_id}/acceptance"),
        # Which have nothing to finish here.
        ("POST", "/sessions/current/second-factor"),
        ("POST", "/sessions/current/second-factor/send"),
    }
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(uuid4()), "act": "wipe"}, token=token)
    assert (window.status, window.json["code"]) == (403, "terms_required")
    assert (await house.ask("DELETE", "/sessions/current", token=token)).status == 204
    assert (await house.ask("GET", "/terms", token=token)).status == 401
    again = await gated(house, anna)
    assert (await house.ask("POST", "/sign-out-everywhere", {"confirm": True}, token=again)).status == 204
    assert (await house.ask("GET", "/terms", token=again)).status == 401


@pytest.mark.rule("A8.2")
async def test_two_that_are_due_are_asked_in_order_one_at_a_time(house: House, anna: Person, boss: Person) -> None:
    first = await in_force(house)
    house.clock.forward(1)
    second = await in_force(house, names={"en": "Privacy"})

    held_up = await house.sign_in(anna)
    token = held_up.json["token"]

    assert held_up.json["version_id"] == first
    assert (await answer(house, first, token)).json["next_version_id"] == second
    refused = await house.ask("GET", "/devices", token=token)
    assert (refused.status, refused.json["version_id"]) == (403, second)
    assert (await answer(house, second, token)).json["next_version_id"] is None
    assert (await house.ask("GET", "/devices", token=token)).status == 200


async def test_a_no_is_written_down_and_opens_nothing(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    token = await gated(house, anna)

    declined = await answer(house, version_id, token, accepted=False)
    again = await answer(house, version_id, token, accepted=False)

    assert (declined.status, again.status) == (201, 200)
    assert declined.json["id"] == again.json["id"]
    assert (await house.ask("GET", "/devices", token=token)).status == 403
    assert [one["status"] for one in await mine(house, token)] == ["declined"]
    await gated(house, anna)
    assert (await answer(house, version_id, token)).status == 201
    assert (await house.ask("GET", "/devices", token=token)).status == 200
    assert [
        row.accepted for row in await house.rows(sa.select(terms_acceptance).order_by(terms_acceptance.c.number))
    ] == [
        False,
        True,
    ]


async def test_who_declines_in_the_middle_of_a_session_has_no_access_anywhere(
    house: House, anna: Person, boss: Person
) -> None:
    for token in ("one", "two"):
        await house.open_session(anna, token)
    version_id = await in_force(house)

    await answer(house, version_id, "one", accepted=False)

    assert [(await house.ask("GET", "/devices", token=token)).status for token in ("one", "two")] == [403, 403]
    await answer(house, version_id, "one")
    assert [(await house.ask("GET", "/devices", token=token)).status for token in ("one", "two")] == [200, 200]
    events = await house.events(anna)
    assert events["account:terms:decline", "success", None] == 1
    assert events["account:terms:accept", "success", None] == 1
    assert events["account:session:whole", "success", None] == 2


async def test_what_was_accepted_is_not_taken_back_and_twice_is_once(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    token = await gated(house, anna)
    first = await answer(house, version_id, token)

    again = await answer(house, version_id, token, language="nl")
    no = await answer(house, version_id, token, accepted=False)

    assert (again.status, again.json["id"]) == (200, first.json["id"])
    assert (no.status, no.json["code"]) == (409, "terms_accepted")
    assert (await house.ask("GET", "/devices", token=token)).status == 200
    assert len(await house.rows(sa.select(terms_acceptance))) == 1


async def test_twenty_times_yes_at_once_is_one_row(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    token = await gated(house, anna)

    answers = await asyncio.gather(*(answer(house, version_id, token) for _ in range(20)))

    assert sorted(one.status for one in answers) == [200] * 19 + [201]
    assert len(await house.rows(sa.select(terms_acceptance))) == 1
    assert len(await house.rows(sa.select(terms_signer))) == 1


async def test_a_session_that_waits_is_whole_when_the_terms_are_withdrawn(
    house: House, anna: Person, boss: Person
) -> None:
    terms_id = await make(house)
    await publish(house, terms_id)
    token = await gated(house, anna)

    assert (await house.ask("DELETE", f"/organization/terms/{terms_id}", token="boss")).status == 204

    assert (await house.ask("GET", "/devices", token=token)).status == 200
    (row,) = await house.rows(sa.select(session).where(session.c.account_id == anna.id))
    assert row.state == SessionState.SIGNED_IN.value
    assert await mine(house, token) == []


async def test_the_password_comes_first_and_terms_after_it(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    async with house.db.write() as tx:
        await tx.execute(sa.update(account).where(account.c.id == anna.id).values(must_change_password=True))
    held_up = await house.sign_in(anna)
    assert (held_up.status, held_up.json["state"]) == (202, "password_change_required")
    first = held_up.json["token"]
    assert (await house.ask("GET", "/terms", token=first)).json["code"] == "password_change_required"

    body = {"current": anna.password, "new": "plain otter walks along the dyke"}
    changed = await house.ask("POST", "/password", body, token=first)

    assert (changed.status, changed.json["terms"]) == (200, version_id)
    token = changed.json["token"]
    assert (await house.ask("GET", "/devices", token=token)).json["code"] == "terms_required"
    assert (await answer(house, version_id, token)).status == 201
    assert (await house.ask("GET", "/devices", token=token)).status == 200


async def test_a_password_that_is_changed_in_the_middle_asks_for_no_terms(
    house: House, anna: Person, boss: Person
) -> None:
    token = (await house.sign_in(anna)).json["token"]
    await in_force(house)

    body = {"current": anna.password, "new": "plain otter walks along the dyke"}
    changed = await house.ask("POST", "/password", body, token=token)

    assert (changed.status, changed.json["terms"]) == (200, None)
    assert (await house.ask("GET", "/devices", token=changed.json["token"])).status == 200


async def test_after_a_second_factor_terms_are_asked_as_well(house: House, boss: Person) -> None:
    version_id = await in_force(house)
    bert = await house.hire("bert", second_factor=True)
    half = await house.sign_in(bert)

    body = {"method_id": str(bert.method_id), "code": bert.code(house.clock.now)}
    done = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    assert (done.status, done.json["state"], done.json["version_id"]) == (202, "terms_required", version_id)
    (browser,) = [one for name, one in done.cookies.items() if name.endswith("browser")]
    assert browser
    (row,) = await house.rows(sa.select(session).where(session.c.account_id == bert.id))
    assert (row.state, row.strength) == ("terms_required", 2)
    await answer(house, version_id, done.json["token"])
    current = await house.ask("GET", "/sessions/current", token=done.json["token"])
    assert (current.status, current.json["strength"]) == (200, 2)


async def test_a_cookie_learns_its_csrf_token_with_the_list(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    token = (await house.sign_in(anna)).json["token"]
    cookie = {"Cookie": f"__Host-latchkey-session={token}"}
    shown = await house.ask("GET", "/terms", headers=cookie)

    body = {"hash": hash_of(TEXTS["en"]), "language": "en", "accepted": True}
    path = f"/terms/{version_id}/acceptance"
    origin = {**cookie, "Origin": "https://latchkey.test"}
    without = await house.ask("POST", path, body, headers=origin)
    with_it = await house.ask("POST", path, body, headers={**origin, "X-CSRF-Token": shown.json["csrf_token"]})

    assert (without.status, without.json["code"]) == (403, "csrf_refused")
    assert with_it.status == 201


# The five minutes of a re-sign-in, with terms in between (A14 rule 6)


async def opened_window(house: House, person: Person) -> tuple[UUID, str]:
    phone = await give_device(house.db, person, house.clock.now)
    await house.open_session(person, "before")
    window = await house.ask("POST", "/re-sign-ins", {"device_id": str(phone), "act": "reset_passcode"}, token="before")
    assert window.status == 201
    return phone, window.json["token"]


@pytest.mark.parametrize(("after", "status"), [(300, 202), (300.000001, 410)])
async def test_terms_in_between_run_on_the_five_minutes_of_the_proven_window(
    house: House, anna: Person, boss: Person, after: float, status: int
) -> None:
    version_id = await in_force(house)
    phone, window = await opened_window(house, anna)
    house.clock.forward(300)

    held_up = await house.sign_in(anna, re_sign_in=window)

    assert held_up.json["state"] == "terms_required"
    assert held_up.json["re_sign_in"]["state"] == "proven"
    token = held_up.json["token"]
    act = f"/devices/{phone}/reset-passcode"
    early = await house.ask("POST", act, token=token, headers={"Idempotency-Key": "early"})
    assert (early.status, early.json["code"]) == (403, "terms_required")
    house.clock.forward(timedelta(seconds=after))
    await answer(house, version_id, token)
    asked = await house.ask("POST", act, token=token, headers={"Idempotency-Key": "late"})
    assert asked.status == status


async def test_a_fresh_proof_is_as_old_as_the_last_factor_and_not_as_the_answer(
    house: House, anna: Person, boss: Person
) -> None:
    version_id = await in_force(house)
    token = await gated(house, anna)
    house.clock.forward(timedelta(seconds=300.000001))
    await answer(house, version_id, token)

    begun = await house.ask("POST", "/security/methods/totp", {"label": "Phone"}, token=token)

    assert (begun.status, begun.json["code"]) == (401, "proof_required")


# The text


@pytest.mark.rule("A8.3")
@pytest.mark.parametrize(
    ("asked", "shown"), [("nl-BE", "nl"), ("nl", "nl"), ("fr", "en"), (None, "en"), ("NL", "nl"), ("x" * 35, "en")]
)
async def test_a_language_that_is_missing_falls_to_the_default(
    house: House, anna: Person, boss: Person, asked: str | None, shown: str
) -> None:
    version_id = await in_force(house)
    await house.open_session(anna, "anna")

    text = await house.ask(
        "GET", f"/terms/{version_id}" + ("" if asked is None else f"?language={asked}"), token="anna"
    )

    assert (text.status, text.json["language"], text.json["text"]) == (200, shown, TEXTS[shown])
    assert text.json["languages"] == ["en", "nl"]
    assert text.headers["ETag"] == f'"{hash_of(TEXTS[shown])}"'
    assert text.headers["Content-Language"] == shown


async def test_left_out_it_is_the_persons_own(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    async with house.db.write() as tx:
        await tx.execute(sa.update(account).where(account.c.id == anna.id).values(language="nl"))
    await house.open_session(anna, "anna")

    text = await house.ask("GET", f"/terms/{version_id}", token="anna")

    assert (text.json["language"], text.json["name"]) == ("nl", "Huisregels")
    assert [one["name"] for one in await mine(house, "anna")] == ["Huisregels"]


async def test_a_text_that_is_known_is_not_sent_again(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    await house.open_session(anna, "anna")
    first = await house.ask("GET", f"/terms/{version_id}", token="anna")

    again = await house.ask(
        "GET", f"/terms/{version_id}", token="anna", headers={"If-None-Match": first.headers["ETag"]}
    )

    assert (again.status, again.json) == (304, None)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("<script>alert(1)</script> is text like any other", 201),
        ("a\r\nb\rc\n\td", 201),
        ("é" * 100_000, 201),
        ("x" * 100_001, 422),
        (" \n ", 422),
        ("a\x00b", 422),
        ("pay \u202e100 euro", 422),
        ("", 422),
    ],
)
async def test_a_document_is_plain_text_that_can_be_seen(
    house: House, anna: Person, boss: Person, text: str, status: int
) -> None:
    made = await publish(house, await make(house), documents={"en": text})

    assert made.status == status
    if status == 201:
        await house.open_session(anna, "anna")
        shown = await house.ask("GET", f"/terms/{made.json['id']}", token="anna")
        kept = text.replace("\r\n", "\n").replace("\r", "\n")
        assert (shown.json["text"], shown.json["hash"]) == (kept, hash_of(kept))
        assert shown.headers["Content-Type"] == "application/json"


# Expiry and versions


@pytest.mark.parametrize(("after", "status"), [(-MOMENT, 201), (timedelta(0), 202)])
async def test_an_acceptance_ends_at_its_last_moment(
    house: House, anna: Person, boss: Person, after: timedelta, status: int
) -> None:
    version_id = await in_force(house, expires_after_days=30)
    accepted = await answer(house, version_id, await gated(house, anna))
    end = house.clock.now + timedelta(days=30)
    assert datetime.fromisoformat(accepted.json["expires_at"]) == end

    house.clock.now = end + after

    signed_in = await house.sign_in(anna)
    assert signed_in.status == status
    if status == 202:
        again = await answer(house, version_id, signed_in.json["token"])
        assert (again.status, again.json["id"] == accepted.json["id"]) == (201, False)
        assert (await house.ask("GET", "/devices", token=signed_in.json["token"])).status == 200


async def test_a_schedule_that_is_set_later_ends_what_was_given_before(
    house: House, anna: Person, boss: Person
) -> None:
    terms_id = await make(house)
    version_id = (await publish(house, terms_id)).json["id"]
    await answer(house, version_id, await gated(house, anna))

    edited = {**RULES, "schedule": {"starts_at": "2026-03-31T00:00:00Z", "every_months": 1}}
    await house.ask("PUT", f"/organization/terms/{terms_id}", edited, token="boss", headers={"If-Match": "*"})

    house.clock.now = datetime.fromisoformat("2026-03-30T23:59:59.999999+00:00")
    assert (await house.sign_in(anna)).status == 201
    house.clock.forward(MOMENT)
    assert (await house.sign_in(anna)).status == 202


@pytest.mark.parametrize(("major", "status"), [(True, 202), (False, 201)])
async def test_a_major_version_asks_everybody_anew_and_a_minor_one_nobody(
    house: House, anna: Person, boss: Person, *, major: bool, status: int
) -> None:
    terms_id = await make(house)
    first = (await publish(house, terms_id)).json["id"]
    await answer(house, first, await gated(house, anna))

    second = (await publish(house, terms_id, major=major)).json["id"]

    signed_in = await house.sign_in(anna)
    assert signed_in.status == status
    (item,) = await mine(house, signed_in.json["token"])
    assert item["version_id"] == second
    # What was accepted can be read again.
    assert (await house.ask("GET", f"/terms/{first}", token=signed_in.json["token"])).status == 200


async def test_a_version_to_come_is_announced_and_asked_from_its_moment_on(
    house: House, anna: Person, boss: Person
) -> None:
    terms_id = await make(house)
    first = (await publish(house, terms_id)).json["id"]
    await answer(house, first, await gated(house, anna))
    at = house.clock.now + timedelta(days=10)
    second = (await publish(house, terms_id, effective_at=at.isoformat())).json["id"]

    token = (await house.sign_in(anna)).json["token"]
    (item,) = await mine(house, token)
    assert (item["status"], item["version_id"]) == ("due", first)
    assert datetime.fromisoformat(item["due_at"]) == at
    early = await answer(house, second, token)
    assert (early.status, early.json["code"], early.json["version_id"]) == (409, "terms_changed", first)

    house.clock.now = at - MOMENT
    assert (await house.sign_in(anna)).status == 201
    house.clock.now = at
    assert (await house.sign_in(anna)).json["version_id"] == second


@pytest.mark.parametrize(
    ("number", "language", "shown"), [(1, "en", "en"), (2, "en", "other"), (2, "en", "nl"), (2, "fr", "en")]
)
async def test_another_text_than_the_one_in_force_is_not_accepted(
    house: House, anna: Person, boss: Person, number: int, language: str, shown: str
) -> None:
    terms_id = await make(house)
    versions = [(await publish(house, terms_id, major=major)).json["id"] for major in (True, False)]
    token = await gated(house, anna)

    body = {"hash": hash_of(TEXTS.get(shown, shown)), "language": language, "accepted": True}
    refused = await house.ask("POST", f"/terms/{versions[number - 1]}/acceptance", body, token=token)

    assert (refused.status, refused.json["code"], refused.json["version_id"]) == (409, "terms_changed", versions[1])
    assert await house.rows(sa.select(terms_acceptance)) == []


async def test_of_a_publication_and_an_answer_at_once_no_answer_names_what_is_over(
    house: House, anna: Person, boss: Person
) -> None:
    for _ in range(5):
        terms_id = await make(house)
        first = (await publish(house, terms_id)).json["id"]
        await house.open_session(anna, token := uuid4().hex)

        published, answered = await asyncio.gather(publish(house, terms_id), answer(house, first, token))

        second = published.json["id"]
        (row,) = [one for one in await mine(house, token) if one["id"] == terms_id]
        assert (row["status"], row["version_id"]) == ("overdue", second)
        if answered.status == 409:
            assert answered.json["version_id"] == second
        else:
            # It came first: then it is an answer to what was in force.
            assert answered.status == 201
        late = await answer(house, first, token)
        assert (late.status, late.json["version_id"]) == (409, second)


async def test_on_each_device_it_is_asked_once(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house, per_device=True)
    first = await house.sign_in(anna)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in first.cookies.items() if "browser" in name)}
    body = {"hash": hash_of(TEXTS["en"]), "language": "en", "accepted": True}
    accepted = await house.ask(
        "POST", f"/terms/{version_id}/acceptance", body, token=first.json["token"], headers=cookie
    )
    assert accepted.json["next_version_id"] is None

    here = await house.sign_in(anna, headers=cookie)
    elsewhere = await house.sign_in(anna)

    assert (here.status, elsewhere.status) == (201, 202)
    # What keeps no cookie answers for its session.
    assert (await answer(house, version_id, elsewhere.json["token"])).json["next_version_id"] is None
    assert (await house.ask("GET", "/devices", token=elsewhere.json["token"])).status == 200


# Kept by an administrator


async def test_an_administrator_makes_lists_edits_and_withdraws(house: House, boss: Person) -> None:
    terms_id = await make(house, must_scroll=True, expires_after_days=365)
    shown = await house.ask("GET", f"/organization/terms/{terms_id}", token="boss")
    assert (shown.json["must_scroll"], shown.json["expires_after_days"], shown.json["version_id"]) == (True, 365, None)
    edited = {**RULES, "name": "other"}
    path = f"/organization/terms/{terms_id}"

    without = await house.ask("PUT", path, edited, token="boss")
    stale = await house.ask("PUT", path, edited, token="boss", headers={"If-Match": '"7"'})
    done = await house.ask("PUT", path, edited, token="boss", headers={"If-Match": shown.headers["ETag"]})
    again = await house.ask("PUT", path, edited, token="boss", headers={"If-Match": done.headers["ETag"]})

    assert [one.status for one in (without, stale, done, again)] == [428, 412, 200, 200]
    assert done.headers["ETag"] == again.headers["ETag"] != shown.headers["ETag"]
    assert (done.json["name"], done.json["expires_after_days"]) == ("other", None)
    page = await house.ask("GET", "/organization/terms", token="boss")
    assert [one["id"] for one in page.json["items"]] == [terms_id]
    for _ in range(2):
        assert (await house.ask("DELETE", path, token="boss")).status == 204
    assert (await publish(house, terms_id)).json["code"] == "terms_withdrawn"
    events = await house.events()
    assert {name: events[f"organization:terms:{name}", "success", None] for name in ("add", "edit", "withdraw")} == {
        "add": 1,
        "edit": 1,
        "withdraw": 1,
    }


async def test_who_is_no_administrator_keeps_none(house: House, anna: Person, boss: Person) -> None:
    terms_id = await make(house)
    await house.open_session(anna, "anna")

    for method, path in [
        ("GET", ""),
        ("POST", ""),
        ("GET", f"/{terms_id}"),
        ("GET", f"/{terms_id}/acceptances"),
        ("POST", f"/{terms_id}/versions"),
        ("DELETE", f"/{terms_id}"),
    ]:
        body = {"documents": TEXTS, "major": True} if path.endswith("versions") else RULES
        said = await house.ask(method, f"/organization/terms{path}", body if method == "POST" else None, token="anna")
        assert (said.status, said.json["code"]) == (403, "not_allowed")


@pytest.mark.parametrize(("age", "status"), [(900, 201), (900.000001, 401)])
async def test_a_change_takes_a_proof_of_the_last_fifteen_minutes(
    house: House, boss: Person, age: float, status: int
) -> None:
    house.clock.forward(timedelta(seconds=age))

    made = await house.ask("POST", "/organization/terms", RULES, token="boss")

    assert made.status == status


async def test_a_change_takes_two_factors(house: House, boss: Person) -> None:
    weak = await house.hire("weak", roles=("global_administrator",))
    await house.open_session(weak, "weak")
    await house.open_session(boss, "once")

    none = await house.ask("POST", "/organization/terms", RULES, token="weak")
    one = await house.ask("POST", "/organization/terms", RULES, token="once")

    assert (none.status, none.json["code"], none.json["strength"]) == (403, "second_factor_missing", 2)
    assert (one.status, one.json["code"], one.json["strength"]) == (401, "proof_required", 2)


async def test_forty_are_kept_at_a_time(house: House, boss: Person) -> None:
    ids = [await make(house) for _ in range(40)]

    refused = await house.ask("POST", "/organization/terms", RULES, token="boss")
    assert (refused.status, refused.json["code"], refused.json["limit"]) == (409, "terms_quota", 40)

    await house.ask("DELETE", f"/organization/terms/{ids[0]}", token="boss")
    assert (await house.ask("POST", "/organization/terms", RULES, token="boss")).status == 201


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"names": {"nl": "Huisregels"}}, "names"),
        ({"schedule": {"starts_at": "1999-12-31T00:00:00Z", "every_months": 1}}, "schedule"),
        ({"schedule": {"starts_at": "2200-01-01T00:00:00Z", "every_months": 1}}, "schedule"),
        ({"name": "a\nb"}, "name"),
        ({"expires_after_days": 0}, "expires_after_days"),
    ],
)
async def test_what_breaks_a_rule_is_refused_by_name(
    house: House, boss: Person, body: dict[str, Any], field: str
) -> None:
    refused = await house.ask("POST", "/organization/terms", {**RULES, **body}, token="boss")

    assert refused.status == 422
    assert field in refused.json["errors"][0]["field"]


@pytest.mark.parametrize(
    ("effective_at", "status"),
    [(-MOMENT, 422), (timedelta(0), 201), (timedelta(days=1825), 201), (timedelta(days=1825) + MOMENT, 422)],
)
async def test_a_version_takes_effect_now_or_within_five_years(
    house: House, boss: Person, effective_at: timedelta, status: int
) -> None:
    at = (house.clock.now + effective_at).isoformat()

    assert (await publish(house, await make(house), effective_at=at)).status == status


async def test_a_version_does_not_overtake_one_that_was_published_before(house: House, boss: Person) -> None:
    terms_id = await make(house)
    at = house.clock.now + timedelta(days=10)
    await publish(house, terms_id, effective_at=at.isoformat())

    sooner = await publish(house, terms_id, effective_at=(at - MOMENT).isoformat())
    instead = await publish(house, terms_id, effective_at=at.isoformat())

    assert (sooner.status, instead.status, instead.json["number"]) == (422, 201, 2)


async def test_a_version_has_a_text_in_the_default_language(house: House, boss: Person) -> None:
    terms_id = await make(house)

    assert (await publish(house, terms_id, documents={"nl": "Wees aardig."})).status == 422
    await publish(house, terms_id, documents={"en": "Be kind."})
    edited = {**RULES, "default_language": "nl"}
    moved = await house.ask("PUT", f"/organization/terms/{terms_id}", edited, token="boss", headers={"If-Match": "*"})
    assert (moved.status, moved.json["errors"][0]["field"]) == (422, "default_language")


async def test_what_was_published_is_listed_and_never_edited(house: House, boss: Person) -> None:
    terms_id = await make(house)
    for number in range(3):
        await publish(house, terms_id, documents={"en": f"Version {number}"}, major=number == 0)

    first = await house.ask("GET", f"/organization/terms/{terms_id}/versions?limit=2", token="boss")
    rest = await house.ask(
        "GET", f"/organization/terms/{terms_id}/versions?limit=2&cursor={first.json['next_cursor']}", token="boss"
    )

    listed = [*first.json["items"], *rest.json["items"]]
    assert [(one["number"], one["major"]) for one in listed] == [(3, False), (2, False), (1, True)]
    assert rest.json["next_cursor"] is None
    assert listed[0]["hashes"] == {"en": hash_of("Version 2")}
    for table in (terms_version, terms_document, terms_acceptance):
        if await house.rows(sa.select(table)):
            with pytest.raises(sa.exc.IntegrityError, match="insert-only"):
                async with house.db.write() as tx:
                    await tx.execute(sa.delete(table))


async def test_who_answered_what_is_listed_with_who_they_were_then(house: House, anna: Person, boss: Person) -> None:
    terms_id = await make(house)
    version_id = (await publish(house, terms_id)).json["id"]
    await answer(house, version_id, await gated(house, anna), language="nl")
    async with house.db.write() as tx:
        await tx.execute(sa.update(account).where(account.c.id == anna.id).values(display_name="Another Name"))
    house.clock.forward(1)
    bert = await house.hire("bert")
    await answer(house, version_id, await gated(house, bert), accepted=False)

    first = await house.ask("GET", f"/organization/terms/{terms_id}/acceptances?limit=1", token="boss")
    second = await house.ask(
        "GET", f"/organization/terms/{terms_id}/acceptances?limit=1&cursor={first.json['next_cursor']}", token="boss"
    )

    (no,), (yes,) = first.json["items"], second.json["items"]
    assert (no["account_id"], no["accepted"], no["mail"]) == (str(bert.id), False, None)
    assert (yes["account_id"], yes["accepted"], yes["language"]) == (str(anna.id), True, "nl")
    assert (yes["display_name"], yes["mail"], yes["sign_in_name"]) == (
        "Anna@Example.Org",
        "anna@example.org",
        "anna@example.org",
    )
    assert (yes["hash"], yes["where"], yes["version"]) == (hash_of(TEXTS["nl"]), "192.0.2.1", 1)


@pytest.mark.rule("A8.4")
async def test_a_person_who_is_erased_leaves_the_record_of_nobody_in_particular(
    house: House, anna: Person, boss: Person
) -> None:
    terms_id = await make(house)
    version_id = (await publish(house, terms_id)).json["id"]
    accepted = await answer(house, version_id, await gated(house, anna))

    async with house.db.write() as tx:
        assert await terms.forget_person(tx, anna.id, house.clock.now) == 1
        assert await terms.forget_person(tx, anna.id, house.clock.now) == 0

    page = await house.ask("GET", f"/organization/terms/{terms_id}/acceptances", token="boss")
    (kept,) = page.json["items"]
    assert (kept["id"], kept["accepted"], kept["hash"]) == (accepted.json["id"], True, hash_of(TEXTS["en"]))
    assert [kept[name] for name in ("sign_in_name", "display_name", "mail", "where", "client")] == [None] * 5
    assert "anna" not in str(kept).lower()
    (row,) = await house.rows(sa.select(terms_signer))
    assert row.erased_at == house.clock.now


async def test_each_answer_is_in_the_record_by_its_hash(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    accepted = await answer(house, version_id, await gated(house, anna))

    (row,) = await house.rows(sa.select(event).where(event.c.action == "account:terms:accept"))

    assert (row.account_id, row.subject_kind, str(row.subject_id)) == (anna.id, "terms_acceptance", accepted.json["id"])
    assert (row.facts["sha256"], row.facts["version"]) == (hash_of(TEXTS["en"]), 1)
    assert "Be kind" not in str(row.facts)


@pytest.mark.parametrize(
    ("role", "status"), [("global_administrator", 200), ("user_administrator", 403), ("helpdesk_administrator", 403)]
)
async def test_who_answered_what_is_for_those_who_keep_the_terms(
    house: House, boss: Person, role: str, status: int
) -> None:
    terms_id = await make(house)
    await house.appoint("other", role)

    assert (await house.ask("GET", f"/organization/terms/{terms_id}/acceptances", token="other")).status == status


async def test_another_organizations_terms_are_not_found(house: House, anna: Person, boss: Person) -> None:
    terms_id = await make(house)
    version_id = (await publish(house, terms_id)).json["id"]
    elsewhere = await found(house.db, house.clock.now, name="Elsewhere")
    zoe = await house.hire("zoe", organization_id=elsewhere, roles=("global_administrator",), second_factor=True)
    await house.open_session(zoe, "zoe", strength=2)

    assert await mine(house, "zoe") == []
    assert (await house.ask("GET", "/organization/terms", token="zoe")).json["items"] == []
    assert (await house.ask("GET", f"/terms/{version_id}", token="zoe")).status == 404
    assert (await answer(house, version_id, "zoe")).status == 404
    assert (await publish(house, terms_id, token="zoe")).status == 404
    for path in ("", "/versions", "/acceptances"):
        assert (await house.ask("GET", f"/organization/terms/{terms_id}{path}", token="zoe")).status == 404
    assert (await house.ask("DELETE", f"/organization/terms/{terms_id}", token="zoe")).status == 404
    edited = await house.ask("PUT", f"/organization/terms/{terms_id}", RULES, token="zoe", headers={"If-Match": "*"})
    assert edited.status == 404
    assert (await house.sign_in(anna)).status == 202


async def test_who_is_blocked_meanwhile_answers_nothing(house: House, anna: Person, boss: Person) -> None:
    version_id = await in_force(house)
    token = await gated(house, anna)
    await block(house.db, anna, house.clock.now)

    assert (await answer(house, version_id, token)).status == 401
