"""Somebody else signs anna out, she reads of it in a mail, and presses the button: from tap to new password."""

import asyncio
import re
from pathlib import Path

from tests.journeys.town import Town, until

NEW = "plain otter walks along the dyke"


def _mails(outbox: Path) -> list[str]:
    """The whole ones: a message's own entry is written after its texts."""
    return [file.with_suffix(".txt").read_text(encoding="utf-8") for file in outbox.glob("*.json")]


async def test_a_notice_is_in_the_outbox_moments_after_the_tap_and_its_button_ends_every_session(
    town: Town, outbox: Path
) -> None:
    person = await town.hire("anna@example.org")
    anna, stranger = town.browser(person), town.browser(person)
    await stranger.sign_in()

    done = await stranger.ask("POST", "/sign-out-everywhere", {"confirm": True})
    assert done.status_code == 204
    # Rung by the api, and not found by a sweep: there is none running.
    (text,) = await until(lambda: asyncio.to_thread(_mails, outbox))
    assert "sign-ins to your account were ended" in text
    link = re.search(r"(http://\S+/not-me\?language=en)#(\S+)", text)
    assert link is not None
    await stranger.sign_in()
    await anna.sign_in()
    async with town.client.stream("GET", link[1]) as page:
        assert page.status_code == 200

    pressed = await anna.elsewhere().ask("POST", "/not-me", {"token": link[2]})

    assert pressed.status_code == 204
    assert (await stranger.ask("GET", "/sessions/current")).status_code == 401
    assert (await anna.ask("GET", "/sessions/current")).status_code == 401

    async def link_in() -> str | None:
        found = [
            re.search(r"/reset-password\?language=en#(\S+)", mail) for mail in await asyncio.to_thread(_mails, outbox)
        ]
        return next((one[1] for one in found if one is not None), None)

    link_token = await until(link_in)
    again = anna.elsewhere()
    assert (
        await again.ask("POST", "/sessions", {"account": person.name, "password": person.password})
    ).status_code == 401
    chosen = await again.ask("POST", "/password-resets", {"token": link_token, "new": NEW})
    assert chosen.status_code == 204
    assert (await again.ask("POST", "/sessions", {"account": person.name, "password": NEW})).status_code in {201, 202}
