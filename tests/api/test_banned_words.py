"""An organization's own banned words: its administrators say which, and the next password meets them (A5)."""

from typing import Any

from tests.api.house import Answer, House


async def say(house: House, words: list[str], mark: str = "*", token: str = "boss") -> Answer:
    body: dict[str, Any] = {"words": words}
    return await house.ask("PUT", "/organization/banned-words", body, token=token, headers={"If-Match": mark})


async def test_a5_a_word_that_was_banned_is_refused_in_the_next_password_under_any_disguise(house: House) -> None:
    await house.appoint()
    anna = await house.hire("anna")
    await house.open_session(anna, "anna")
    shown = await house.ask("GET", "/organization/banned-words", token="boss")

    changed = await say(house, ["Lighthouse", " lighthousekeeper", "Lighthouse"], shown.headers["ETag"])

    assert shown.json == {"words": []}
    assert (changed.status, changed.json) == (200, {"words": ["Lighthouse", "lighthousekeeper"]})
    assert (await house.events())["organization:banned_words:change", "success", None] == 1
    body = {"current": anna.password, "new": "Lighth0u$ekeepr"}
    refused = await house.ask("POST", "/password", body, token="anna")
    assert (refused.status, [one["rule"] for one in refused.json["reasons"]]) == (422, ["banned_word"])


async def test_the_list_is_edited_by_who_saw_it_and_has_bounds(house: House) -> None:
    await house.appoint()
    await house.appoint("helper", "helpdesk_administrator")

    assert (await say(house, ["lighthouse"], '"stale"')).status == 412
    assert (await say(house, ["lighthouse"], token="helper")).status == 403
    assert [(await say(house, words)).status for words in (["abc"], ["a" * 65], [f"word{n}" for n in range(1001)])] == [
        422
    ] * 3
    assert (await say(house, [f"word{n}" for n in range(1000)])).status == 200
    assert (await house.ask("PUT", "/organization/banned-words", {"words": []}, token="boss")).status == 428
