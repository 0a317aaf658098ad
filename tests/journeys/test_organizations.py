"""Somebody works with a second organization for a while, and then no longer does: as the profile page tells it, in its
order. Own details, devices, organizations; sign in there to leave; after leaving it is off the page."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy as sa

from models.device import device
from models.notification import notification
from tests.api.house import PASSWORD_HASH
from tests.journeys.town import PASSWORD, Browser, Town, until
from tests.people import Person, found, give_totp, hire


async def mailed(outbox: Path, words: str) -> re.Match[str] | None:
    """The whole ones: a message's own entry is written after its texts."""

    def look() -> list[str]:
        return [file.with_suffix(".txt").read_text(encoding="utf-8") for file in outbox.glob("*.json")]

    hits = (re.search(words, mail) for mail in await asyncio.to_thread(look))
    return next((hit for hit in hits if hit is not None), None)


async def names(browser: Browser) -> list[str]:
    return [one["name"] for one in (await browser.ask("GET", "/organizations")).json()["items"]]


async def switch(browser: Browser, organization_id: str) -> None:
    done = await browser.ask("POST", "/sessions/current/organization", {"organization_id": organization_id})
    assert done.status_code == 200, done.text
    browser.token = done.json()["token"]


async def neighbours(town: Town) -> Browser:
    """Another organization, and its administrator."""
    now = town.clock.now + timedelta(seconds=1)
    beta = await found(town.db, now, name="Beta")
    roles = ("global_administrator",)
    ben = await hire(town.db, beta, "ben", now, password=PASSWORD, password_hash=PASSWORD_HASH, roles=roles)
    return town.browser(await give_totp(town.db, town.keys, ben, now))


async def invited(town: Town, ben: Browser, anna: Browser, outbox: Path) -> None:
    """She joins with the account that she has."""
    assert (await ben.ask("POST", "/invitations", {"mail": anna.person.name})).status_code == 201
    link = await until(lambda: mailed(outbox, r"(http://\S+/join\?language=en)#(\S+)"))
    async with town.client.stream("GET", link[1]) as page:
        assert page.status_code == 200
    await anna.sign_in()
    assert (await anna.ask("POST", "/invitations/accept", {"token": link[2]})).status_code == 201


async def has_a_phone_there(town: Town, anna: Browser) -> UUID:
    """And gets back into it."""
    phone_id, phone = await town.iphone(anna)
    town.clock.forward(60)
    shown = await town.job_is(anna, await anna.all_the_way(phone_id), "succeeded")
    assert shown["device_id"] == str(phone_id)
    assert phone.passcode is None
    return phone_id


async def test_a_person_works_with_another_organization_for_a_while_and_leaves_it(town: Town, outbox: Path) -> None:
    ben = await neighbours(town)
    person: Person = await town.hire("anna@example.org")
    anna = town.browser(person)
    await ben.sign_in()
    beta = str(ben.person.organization_id)

    await invited(town, ben, anna, outbox)
    await switch(anna, beta)
    phone_id = await has_a_phone_there(town, anna)

    # The profile page, from the top.
    anna = anna.elsewhere()
    await anna.sign_in()
    assert (await anna.ask("GET", "/profile")).status_code == 200
    assert (await anna.ask("GET", "/devices")).json()["items"] == []
    listed = (await anna.ask("GET", "/organizations")).json()["items"]
    assert [(one["name"], one["home"], one["leaving"]["available"]) for one in listed] == [
        ("Acme", True, False),
        ("Beta", False, True),
    ]

    # *Sign in to leave organization*
    yes, key = {"confirm": True}, str(uuid4())
    refused = await anna.ask("POST", f"/organizations/{beta}/leave", yes, key=key)
    assert (refused.status_code, refused.json()["organization_id"]) == (401, beta)
    assert "max_age=300" in refused.headers["WWW-Authenticate"]
    await switch(anna, beta)
    town.clock.forward(301)
    assert (await anna.ask("POST", f"/organizations/{beta}/leave", yes, key=key)).status_code == 401
    proven = await anna.ask("POST", "/sessions/current/proof", {"password": PASSWORD})
    anna.token = proven.json()["token"]
    no = await anna.ask("POST", f"/organizations/{beta}/leave", {"confirm": False}, key=key)
    assert no.status_code == 422
    left = await anna.ask("POST", f"/organizations/{beta}/leave", yes, key=key)
    assert left.status_code == 202, left.text

    # It goes off the page, at once; what she had there, soon after.
    anna.token = left.json()["signed_in"]["token"]
    assert await names(anna) == ["Acme"]
    await town.job_is(anna, left.headers["Location"], "succeeded")
    async with town.db.read() as tx:
        (state,) = (await tx.execute(sa.select(device.c.state).where(device.c.id == phone_id))).scalars()
        keys = list((await tx.execute(sa.select(notification.c.key).order_by(notification.c.seq))).scalars())
    assert state == "disabled"
    assert keys[-1] == "organization.left"
    assert await until(lambda: mailed(outbox, "your membership of Beta was ended"))
    again = await anna.ask("POST", f"/organizations/{beta}/leave", yes, key=str(uuid4()))
    assert (again.status_code, again.json()["job"]["id"]) == (200, left.json()["job"]["id"])

    # She cannot undo it; an administrator there can.
    await ben.sign_in()
    (gone,) = (await ben.ask("GET", "/former-members")).json()["items"]
    assert (gone["account_id"], gone["by"]) == (str(person.id), "person")
    assert (await ben.ask("POST", f"/former-members/{gone['id']}/restore")).status_code == 204
    assert await names(anna) == ["Acme", "Beta"]
    assert await town.record_is_whole()
