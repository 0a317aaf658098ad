"""Security information over HTTP, on both databases: adding, naming, preferring and removing second factors (A7)."""

import asyncio
import base64
import struct
import zlib
from collections import Counter
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pyotp
import pytest
import sqlalchemy as sa

from models.delivery import delivery
from models.event import event
from models.re_sign_in import re_sign_in
from models.verification import PERIOD, verification
from tests.api.house import PASSWORD, Answer, House
from tests.people import Person, found, give_device, give_totp

METHODS = "/security/methods"


@pytest.fixture
async def anna(house: House) -> Person:
    """Signed in with `token`, just now."""
    person = await house.hire("anna")
    await house.open_session(person, "token")
    return person


def code_of(begun: Answer, house: House, steps: int = 0) -> str:
    return pyotp.TOTP(begun.json["key"]).generate_otp(int(house.clock.now.timestamp()) // PERIOD + steps)


async def begin(house: House, label: str = "My phone", token: str = "token") -> Answer:
    return await house.ask("POST", f"{METHODS}/totp", {"label": label}, token=token)


async def confirm(house: House, begun: Answer, code: str, token: str = "token") -> Answer:
    return await house.ask("POST", f"{METHODS}/{begun.json['id']}/confirm", {"code": code}, token=token)


async def add(house: House, label: str = "My phone", token: str = "token") -> Answer:
    begun = await begin(house, label, token)
    assert begun.status == 201, begun.json
    added = await confirm(house, begun, code_of(begun, house), token)
    assert added.status == 200, added.json
    return begun


async def edit(house: House, method_id: str, body: dict[str, Any], token: str = "token") -> Answer:
    mark = (await house.ask("GET", f"{METHODS}/{method_id}", token=token)).headers["ETag"]
    return await house.ask("PATCH", f"{METHODS}/{method_id}", body, token=token, headers={"If-Match": mark})


async def remove(house: House, method_id: str, token: str = "token") -> Answer:
    return await house.ask("DELETE", f"{METHODS}/{method_id}", token=token)


async def listed(house: House, token: str = "token") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await house.ask("GET", METHODS, token=token)).json["items"]
    return items


# An authenticator app


async def test_an_app_is_added_and_asked_for_at_the_next_sign_in(house: House, anna: Person) -> None:
    begun = await begin(house)
    assert begun.status == 201
    assert begun.headers["Cache-Control"] == "no-store"
    assert await listed(house) == [], "it counts when a code of it has come back"
    assert (await house.sign_in(anna)).status == 201

    confirmed = await confirm(house, begun, code_of(begun, house))

    assert confirmed.status == 200
    assert confirmed.json == {
        "id": begun.json["id"],
        "kind": "totp",
        "label": "My phone",
        "state": "active",
        "default": True,
        "usable_for": ["mfa", "recovery"],
        "created_at": "2026-03-01T12:00:00Z",
        "used_at": None,
        "expires_at": None,
    }
    assert await listed(house) == [confirmed.json]
    half = await house.sign_in(anna)
    assert half.status == 202
    assert half.json["methods"] == [{"id": begun.json["id"], "kind": "totp", "label": "My phone", "default": True}]
    house.clock.forward(PERIOD)
    body = {"method_id": begun.json["id"], "code": code_of(begun, house)}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
    assert (whole.status, whole.json["session"]["strength"]) == (201, 2)
    assert (await listed(house))[0]["used_at"] == "2026-03-01T12:00:30Z"


async def test_the_address_carries_all_that_an_app_needs(house: House, anna: Person) -> None:
    begun = await begin(house)

    uri = urlsplit(begun.json["uri"])
    asked = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, unquote(uri.path)) == ("otpauth", "totp", "/Acme:anna")
    assert asked == {"secret": [begun.json["key"]], "issuer": ["Acme"]}, "six digits, 30 s and SHA-1 are the defaults"
    assert len(base64.b32decode(begun.json["key"])) == 20


async def test_the_picture_is_the_address_as_svg_and_as_png(house: House, anna: Person) -> None:
    begun = await begin(house)

    svg = ET.fromstring(begun.json["qr_svg"])  # noqa: S314 - our own picture
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(svg.iter("{http://www.w3.org/2000/svg}script"))
    png = base64.b64decode(begun.json["qr_png"], validate=True)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == height > 100
    assert zlib.crc32(png[12:29]) == int.from_bytes(png[29:33])


async def test_the_secret_is_told_once_and_sealed(house: House, anna: Person) -> None:
    begun = await begin(house)

    (row,) = await house.rows(sa.select(verification))
    assert begun.json["key"].encode() not in row.secret
    shown = await house.ask("GET", f"{METHODS}/{begun.json['id']}", token="token")
    assert shown.status == 404, "what is pending is nobody's method yet"
    kept = [str(tuple(line)) for line in await house.rows(sa.select(event))]
    assert begun.json["key"] not in "".join(kept)


async def test_the_code_that_confirmed_it_opens_nothing_again(house: House, anna: Person) -> None:
    begun = await begin(house)
    code = code_of(begun, house)
    await confirm(house, begun, code)
    half = await house.sign_in(anna)

    again = await house.ask(
        "POST",
        "/sessions/current/second-factor",
        {"method_id": begun.json["id"], "code": code},
        token=half.json["token"],
    )

    assert (again.status, again.json["code"]) == (403, "code_refused")


@pytest.mark.parametrize(("after", "status"), [(599.999999, 200), (600, 404)])
async def test_what_was_begun_waits_ten_minutes(house: House, anna: Person, after: float, status: int) -> None:
    begun = await begin(house)
    house.clock.forward(timedelta(seconds=after))

    assert (await confirm(house, begun, code_of(begun, house))).status == status


async def test_a_newer_one_takes_the_place_of_an_older_one(house: House, anna: Person) -> None:
    older, newer = await begin(house), await begin(house)

    assert (await confirm(house, older, code_of(older, house))).status == 404
    assert (await confirm(house, newer, code_of(newer, house))).status == 200


@pytest.mark.parametrize(("wrong", "status"), [(4, 200), (5, 404)])
async def test_four_wrong_codes_are_forgiven_and_the_fifth_ends_it(
    house: House, anna: Person, wrong: int, status: int
) -> None:
    begun = await begin(house)

    refused = [await confirm(house, begun, "nonsense") for _ in range(wrong)]

    assert [(one.status, one.json["tries_left"]) for one in refused] == [(403, 4 - n) for n in range(wrong)]
    assert (await confirm(house, begun, code_of(begun, house))).status == status


@pytest.mark.parametrize(("steps", "hint"), [(-11, None), (-10, -300), (-2, -60), (2, 60), (10, 300), (11, None)])
async def test_a_clock_that_is_off_is_told_and_grants_nothing(
    house: House, anna: Person, steps: int, hint: int | None
) -> None:
    begun = await begin(house)

    refused = await confirm(house, begun, code_of(begun, house, steps))

    assert (refused.status, refused.json["code"]) == (403, "code_refused")
    assert refused.json.get("clock_off_seconds") == hint
    assert await listed(house) == []


async def test_at_a_sign_in_no_clock_is_told(house: House, anna: Person) -> None:
    begun = await add(house)
    half = await house.sign_in(anna)
    body = {"method_id": begun.json["id"], "code": code_of(begun, house, 5)}

    refused = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])

    assert refused.status == 403
    assert "clock_off_seconds" not in refused.json


@pytest.mark.rule("A7.4")
@pytest.mark.parametrize(("steps", "status"), [(-2, 403), (-1, 200), (0, 200), (1, 200), (2, 403)])
async def test_a7_t_drift_of_one_step_is_fine_and_of_two_is_not(
    house: House, anna: Person, steps: int, status: int
) -> None:
    begun = await begin(house)

    assert (await confirm(house, begun, code_of(begun, house, steps))).status == status


async def test_another_session_cannot_confirm_what_this_one_began(house: House, anna: Person) -> None:
    await house.open_session(anna, "elsewhere")
    begun = await begin(house)

    assert (await confirm(house, begun, code_of(begun, house), token="elsewhere")).status == 404


async def test_a_method_of_somebody_else_is_not_there(house: House, anna: Person) -> None:
    begun = await add(house)
    bert = await house.hire("bert")
    await house.open_session(bert, "bert")

    path = f"{METHODS}/{begun.json['id']}"
    assert (await house.ask("GET", path, token="bert")).status == 404
    assert (await house.ask("DELETE", path, token="bert")).status == 404
    assert (await house.ask("PATCH", path, {"label": "x"}, token="bert", headers={"If-Match": "*"})).status == 404


@pytest.mark.rule("A7.7")
async def test_a7_t_of_apps_there_are_five_at_most(house: House, anna: Person) -> None:
    person = anna
    for number in range(5):
        await give(house, person, f"App {number}")
    await house.open_session(anna, "strong", strength=2)

    sixth = await begin(house, token="strong")

    assert (sixth.status, sixth.json["code"], sixth.json["most"]) == (403, "method_quota", 5)


async def give(house: House, person: Person, label: str, *, default: bool = False) -> Person:
    """Put straight into the table."""
    house.clock.forward(0.001)
    given = await give_totp(house.db, house.keys, person, house.clock.now, label=label, is_default=default)
    assert given.method_id is not None
    return given


async def test_two_methods_of_one_person_do_not_share_a_name(house: House, anna: Person) -> None:
    first = await give(house, anna, "My phone", default=True)
    second = await give(house, anna, "Tablet")
    await house.open_session(anna, "strong", strength=2)

    for answer in (
        await begin(house, "My phone", "strong"),
        await begin(house, " My phone ", "strong"),
        await edit(house, str(second.method_id), {"label": "My phone"}, "strong"),
    ):
        assert (answer.status, answer.json["code"]) == (409, "label_taken")
    assert (await edit(house, str(first.method_id), {"label": "My phone"}, "strong")).status == 200


@pytest.mark.parametrize("label", ["", " ", "x" * 65, "a\nb"])
async def test_a_name_is_something_to_be_seen(house: House, anna: Person, label: str) -> None:
    assert (await begin(house, label)).status == 422


# Proof


async def ways_to_change(house: House, method_id: str, token: str) -> list[Answer]:
    path = f"{METHODS}/{method_id}"
    return [
        await begin(house, "Another", token),
        await house.ask("PATCH", path, {"label": "Other"}, token=token, headers={"If-Match": "*"}),
        await house.ask("DELETE", path, token=token),
    ]


@pytest.mark.parametrize(("age", "enough"), [(300, True), (300.000001, False)])
async def test_a_change_takes_a_proof_of_at_most_five_minutes(
    house: House, anna: Person, age: float, enough: bool
) -> None:
    first = await give(house, anna, "One", default=True)
    await give(house, anna, "Two")
    await house.open_session(anna, "strong", strength=2)
    house.clock.forward(timedelta(seconds=age))

    answers = await ways_to_change(house, str(first.method_id), "strong")

    if enough:
        assert [answer.status for answer in answers] == [201, 200, 204]
        return
    assert [(answer.status, answer.json["code"]) for answer in answers] == [(401, "proof_required")] * 3
    for answer in answers:
        assert answer.json["strength"] == 2
        assert 'acr_values="2"' in answer.headers["WWW-Authenticate"]
        assert "max_age=300" in answer.headers["WWW-Authenticate"]


async def test_whoever_has_a_second_factor_changes_nothing_on_the_password_alone(house: House, anna: Person) -> None:
    """Somebody who knows the password and found an open browser must not add a method of their own."""
    first = await give(house, anna, "One", default=True)

    for answer in await ways_to_change(house, str(first.method_id), "token"):
        assert (answer.status, answer.json["code"], answer.json["strength"]) == (401, "proof_required", 2)


# The default


@pytest.mark.rule("A7.5")
async def test_a7_t_the_default_is_one_and_its_removal_promotes_the_oldest(house: House, anna: Person) -> None:
    first = await give(house, anna, "One", default=True)
    second = await give(house, anna, "Two")
    third = await give(house, anna, "Three")
    await house.open_session(anna, "strong", strength=2)
    assert [one["label"] for one in await listed(house) if one["default"]] == ["One"]

    assert (await edit(house, str(third.method_id), {"default": True}, "strong")).status == 200
    assert [(one["label"], one["default"]) for one in await listed(house)] == [
        ("Three", True),
        ("One", False),
        ("Two", False),
    ], "changing the default removes none"
    assert (await house.sign_in(anna)).json["methods"][0]["label"] == "Three"

    assert (await remove(house, str(third.method_id), "strong")).status == 204
    assert [(one["label"], one["default"]) for one in await listed(house)] == [("One", True), ("Two", False)]
    assert (await remove(house, str(first.method_id), "strong")).status == 204
    assert [(one["label"], one["default"]) for one in await listed(house)] == [("Two", True)]
    assert second.method_id is not None
    assert (await house.told(anna)).count("security.default_changed") == 3


async def test_parallel_wishes_for_the_default_leave_exactly_one(house: House, anna: Person) -> None:
    methods = [await give(house, anna, "One", default=True)] + [await give(house, anna, f"M{n}") for n in range(3)]
    await house.open_session(anna, "strong", strength=2)

    await asyncio.gather(
        *(
            house.ask(
                "PATCH",
                f"{METHODS}/{one.method_id}",
                {"default": True},
                token="strong",
                headers={"If-Match": "*"},
            )
            for one in methods
        )
    )

    assert [one["default"] for one in await listed(house)].count(True) == 1


async def test_an_edit_says_what_it_was_made_from(house: House, anna: Person) -> None:
    method = await give(house, anna, "One", default=True)
    await house.open_session(anna, "strong", strength=2)
    path = f"{METHODS}/{method.method_id}"

    unmarked = await house.ask("PATCH", path, {"label": "Two"}, token="strong")
    stale = await house.ask("PATCH", path, {"label": "Two"}, token="strong", headers={"If-Match": '"old"'})
    empty = await house.ask("PATCH", path, {}, token="strong", headers={"If-Match": "*"})
    fresh = await edit(house, str(method.method_id), {"label": "Two"}, "strong")

    assert (unmarked.status, stale.status, empty.status, fresh.status) == (428, 412, 422, 200)
    assert fresh.json["label"] == "Two"
    shown = await house.ask("GET", path, token="strong")
    assert shown.headers["ETag"] == fresh.headers["ETag"]


# Removing


@pytest.mark.rule("A7.6")
async def test_a7_t_the_last_second_factor_stays(house: House, anna: Person) -> None:
    only = await give(house, anna, "One", default=True)
    await house.open_session(anna, "strong", strength=2)

    refused = await remove(house, str(only.method_id), "strong")
    assert (refused.status, refused.json["code"]) == (409, "last_method")

    await add(house, "Two", "strong")
    assert (await remove(house, str(only.method_id), "strong")).status == 204, "a swap adds first"
    assert [(one["label"], one["default"]) for one in await listed(house)] == [("Two", True)]


async def test_two_removals_at_once_do_not_leave_nothing(house: House, anna: Person) -> None:
    methods = [await give(house, anna, "One", default=True), await give(house, anna, "Two")]
    await house.open_session(anna, "strong", strength=2)

    answers = await asyncio.gather(*(remove(house, str(one.method_id), "strong") for one in methods))

    assert sorted(answer.status for answer in answers) == [204, 409]


async def test_sessions_that_were_proven_with_it_end_with_it_but_not_the_one_that_asks(house: House) -> None:
    anna = await give(house, await house.hire("anna"), "One", default=True)
    other = await give(house, anna, "Two")
    by_one, by_two = [await signed_in(house, one) for one in (anna, other)]
    house.clock.forward(PERIOD)
    asking = await signed_in(house, anna)

    assert (await remove(house, str(anna.method_id), asking)).status == 204

    alive = [(await house.ask("GET", "/sessions/current", token=one)).status == 200 for one in (by_one, by_two, asking)]
    assert alive == [False, True, True]
    assert (await remove(house, str(anna.method_id), asking)).status == 404
    (row,) = await house.rows(sa.select(verification).where(verification.c.id == anna.method_id))
    assert (row.state, row.secret, row.is_default) == ("revoked", None, False)


async def signed_in(house: House, person: Person) -> str:
    half = await house.sign_in(person)
    body = {"method_id": str(person.method_id), "code": person.code(house.clock.now)}
    whole = await house.ask("POST", "/sessions/current/second-factor", body, token=half.json["token"])
    assert whole.status == 201, whole.json
    return str(whole.json["token"])


async def test_a_session_that_was_proven_again_with_it_ends_too(house: House, anna: Person) -> None:
    one = await give(house, anna, "One", default=True)
    await give(house, anna, "Two")
    body = {"method_id": str(one.method_id), "code": one.code(house.clock.now)}
    proven = await house.ask("POST", "/sessions/current/proof", body, token="token")
    await house.open_session(anna, "strong", strength=2)

    await remove(house, str(one.method_id), "strong")

    assert (await house.ask("GET", "/sessions/current", token=proven.json["token"])).status == 401


# What comes with a change


async def test_a14_a_change_of_methods_closes_open_windows(house: House, anna: Person) -> None:
    phone = await give_device(house.db, anna, house.clock.now)
    tap = {"device_id": str(phone), "act": "reset_passcode"}
    await house.open_session(anna, "other")
    await house.ask("POST", "/re-sign-ins", tap, token="other")

    await add(house)

    (row,) = await house.rows(sa.select(re_sign_in))
    assert row.state == "cancelled"


async def test_each_change_is_told_and_recorded(house: House, anna: Person) -> None:
    begun = await begin(house)
    await confirm(house, begun, "wrong")
    await confirm(house, begun, code_of(begun, house))
    await house.open_session(anna, "strong", strength=2)
    second = await add(house, "Two", "strong")
    await edit(house, second.json["id"], {"label": "Other"}, "strong")
    await edit(house, second.json["id"], {"default": True}, "strong")
    await remove(house, second.json["id"], "strong")

    events = {key: n for key, n in (await house.events(anna)).items() if key[0].startswith("account:verification")}
    assert Counter(events) == Counter(
        {
            ("account:verification:begin", "success", None): 2,
            ("account:verification:confirm", "failure", "code_refused"): 1,
            ("account:verification:add", "success", None): 2,
            ("account:verification:rename", "success", None): 1,
            ("account:verification:default", "success", None): 2,
            ("account:verification:remove", "success", None): 1,
        }
    )
    told = await house.told(anna)
    assert Counter(told) == Counter(
        {"security.method_added": 2, "security.default_changed": 2, "security.method_removed": 1}
    )


async def test_a15_a_change_of_methods_is_mailed_with_the_place_and_without_a_secret(house: House) -> None:
    person = await house.hire("anna@example.org")
    await house.open_session(person, "token")

    begun = await add(house, "My phone")

    (row,) = await house.rows(sa.select(delivery))
    assert (row.channel, row.key, row.account_id, row.link) == ("mail", "security.method_added", person.id, "/not-me")
    assert row.params["method"] == "My phone"
    assert row.params["network"] == "192.0.2.0/24"
    assert begun.json["key"] not in str(tuple(row))


async def test_nobody_without_a_session_gets_near(house: House) -> None:
    anna = await give(house, await house.hire("anna"), "One", default=True)
    half = (await house.sign_in(anna)).json["token"]

    for token, code in ((None, "sign_in_required"), (half, "second_factor_required")):
        for method, path in (("GET", METHODS), ("POST", f"{METHODS}/totp"), ("DELETE", f"{METHODS}/{anna.method_id}")):
            answer = await house.ask(method, path, {"label": "x"} if method == "POST" else None, token=token)
            assert (answer.status, answer.json["code"]) == (401, code)


async def test_an_issuer_with_odd_letters_is_spelled_so_that_an_app_reads_it(house: House) -> None:
    odd = await found(house.db, house.clock.now, name="Ann & Bé: 100%/Söhne?")
    person = await house.hire("ann#é", organization_id=odd)
    await house.open_session(person, "odd")

    begun = await begin(house, token="odd")

    parsed = pyotp.parse_uri(begun.json["uri"])
    assert isinstance(parsed, pyotp.TOTP)
    assert (parsed.issuer, parsed.name, parsed.secret) == ("Ann & Bé: 100%/Söhne?", person.name, begun.json["key"])
    assert PASSWORD not in begun.json["uri"]
