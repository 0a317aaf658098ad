"""What a person and an operator see of the limits, over HTTP, on both databases (section B6 of the fact sheet)."""

from uuid import uuid4

from tests.api.house import House

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
        ("second_factor_5m", None): (5, 5, "2026-03-01T12:05:00Z"),
        ("second_factor_1h", None): (5, 20, None),
        ("second_factor_1d", None): (5, 50, None),
    }


async def test_nobody_but_an_operator_sees_anothers(house: House) -> None:
    anna, bert = await house.hire("anna"), await house.hire("bert", roles=("global_administrator",))
    oscar = await house.hire("oscar", is_operator=True)
    refused = await house.ask("GET", f"/accounts/{anna.id}/throttles", token=(await house.sign_in(bert)).json["token"])
    missing = await house.ask("GET", f"/accounts/{uuid4()}/throttles", token=(await house.sign_in(oscar)).json["token"])

    assert (refused.status, missing.status) == (403, 404)
