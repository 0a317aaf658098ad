"""A forgotten password and a locked account, without the helpdesk: from the first tap to the notice in the outbox."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from httpx import Response

from models.organization import organization
from tests.journeys.town import Browser, Town, until

NEW = "plain otter walks along the dyke"
PRIVATE = "anna@example.net"


def _texts(outbox: Path, words: str) -> list[str]:
    """The whole ones: a message's own entry is written after its texts."""
    texts = [file.with_suffix(".txt").read_text(encoding="utf-8") for file in outbox.glob("*.json")]
    return [text for text in texts if words in text]


async def _mail(outbox: Path, words: str) -> str:
    found: list[str] = await until(lambda: asyncio.to_thread(_texts, outbox, words))
    return found[0]


def _code(mail: str) -> str:
    (code,) = re.findall(r"^(\d{8})$", mail, re.MULTILINE)
    return str(code)


async def _prepared(town: Town, outbox: Path) -> tuple[Browser, str]:
    """Somebody whose organization takes two gates, with a private address and saved codes, of which the first."""
    async with town.db.write() as tx:
        await tx.execute(sa.update(organization).values(settings={"recovery": {"for": "all", "gates": 2}}))
    anna = town.browser(await town.hire("anna@example.org"))
    await anna.sign_in()
    made = await anna.ask("POST", "/security/methods/recovery-codes")
    begun = await anna.ask("POST", "/security/methods/email", {"label": "Private", "address": PRIVATE})
    assert begun.status_code == 201, begun.text
    code = _code(await _mail(outbox, "The code to confirm it"))
    added = await anna.ask("POST", f"/security/methods/{begun.json()['id']}/confirm", {"code": code})
    assert added.status_code == 200, added.text
    town.clock.forward(timedelta(hours=24))  # what is younger leads nobody back in
    await anna.sign_in()
    town.client.cookies.clear()
    return anna, made.json()["codes"][0]["code"]


async def _begin(town: Town, purpose: str) -> Callable[..., Awaitable[Response]]:
    """A step of a way back in that begins now, in a browser where nobody is signed in."""
    asked = {"account": "anna@example.org", "purpose": purpose}
    begun = (await town.client.post("/api/v1/recoveries", json=asked)).json()
    methods = {one["kind"]: one["id"] for one in begun["methods"]}

    async def step(name: str, body: dict[str, Any] | None = None, *, kind: str | None = None) -> Response:
        sent = body if kind is None else {**(body or {}), "method_id": methods[kind]}
        headers = {"Authorization": f"Bearer {begun['token']}"}
        return await town.client.post(f"/api/v1/recoveries/{begun['id']}/{name}", json=sent, headers=headers)

    return step


async def test_a_forgotten_password_gives_way_to_a_code_in_the_mail_and_one_that_was_saved(
    town: Town, outbox: Path
) -> None:
    anna, saved = await _prepared(town, outbox)
    step = await _begin(town, "reset")

    assert (await step("send", {"address": PRIVATE}, kind="email")).status_code == 202
    code = _code(await _mail(outbox, "get back into your account"))
    assert (await step("gate", {"code": code}, kind="email")).json()["state"] == "gate2"
    assert (await step("gate", {"code": saved}, kind="recovery_codes")).json()["state"] == "proven"
    assert (await step("password", {"new": NEW})).status_code == 204

    assert (await anna.ask("GET", "/sessions/current")).status_code == 401
    await _mail(outbox, "another password was chosen")
    wanted = {"account": "anna@example.org", "password": NEW}
    assert (await town.client.post("/api/v1/sessions", json=wanted)).status_code == 201


async def _passwords(anna: Browser) -> list[dict[str, Any]]:
    """How the counts of wrong passwords stand."""
    items = (await anna.ask("GET", "/throttles")).json()["items"]
    return [one for one in items if one["kind"] == "password"]


async def test_an_account_that_wrong_passwords_have_shut_is_unlocked_and_keeps_its_own(
    town: Town, outbox: Path
) -> None:
    anna, saved = await _prepared(town, outbox)
    asked = {"account": "anna@example.org", "password": "wrong"}
    for _ in range(10):
        await town.client.post("/api/v1/sessions", json=asked)
    shut = [one["shut_until"] for one in await _passwords(anna)]
    assert shut == [(town.clock.now + timedelta(seconds=60)).isoformat().replace("+00:00", "Z")]
    step = await _begin(town, "unlock")

    await step("send", {"address": PRIVATE}, kind="email")
    code = _code(await _mail(outbox, "get back into your account"))
    await step("gate", {"code": saved}, kind="recovery_codes")
    assert (await step("gate", {"code": code}, kind="email")).json()["state"] == "proven"
    assert (await step("unlock")).status_code == 204

    await _mail(outbox, "was opened again")
    assert (await anna.ask("GET", "/sessions/current")).status_code == 200, "nothing was ended"
    assert await _passwords(anna) == []
