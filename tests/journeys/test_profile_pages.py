"""The profile page from its top to its end: a person on their own (documents 000 and 001, the same in Dutch and in
English), and an administrator on somebody else's (document 002). Document 003 has its own file: test_organizations.py.
"""

import asyncio
import io
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pyotp
import pytest
import sqlalchemy as sa
from PIL import Image

from models.profile import profile
from models.verification import PERIOD
from tests.journeys.town import PASSWORD, Browser, Town, until
from tests.people import Person, found, welcome
from tests.workers.relying_party import RelyingParty, serving

GLOBAL = ("global_administrator",)
NAME, PRIVATE = "anna@example.org", "anna@example.net"
HELPDESK = {"name": "Helpdesk", "phone": "+31 30 1234567"}
DETAILS = {"display_name": "Anna Jansen", "job_title": "Nurse", "office": "Utrecht 2.14"}
PHOTO = "/profile/photo"
METHODS = "/security/methods"
CHOSEN, FORGOTTEN = "plain otter walks along the dyke", "seven herons stand in the rain"
RULES = {"en": "Be kind.", "nl": "Wees aardig."}
SUBJECTS = {
    "en": ("A device was disabled", "You have left an organization", "Your password was changed"),
    "nl": ("Een apparaat is uitgeschakeld", "U hebt een organisatie verlaten", "Uw wachtwoord is gewijzigd"),
}
SIGNED_OUT = {"en": "You were signed out everywhere", "nl": "U bent overal afgemeld"}


async def done(browser: Browser, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    """What was asked for, and got; JSON where there is any."""
    answer = await browser.ask(method, path, body, **headers)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


async def refused(browser: Browser, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    answer = await browser.ask(method, path, body, **headers)
    return answer.status_code, answer.json()["code"]


async def alive(browser: Browser) -> bool:
    return (await browser.ask("GET", "/sessions/current")).status_code == 200


async def sent(outbox: Path, subject: str, to: str = NAME) -> str:
    """The text of a message that has arrived: its own entry is written after its texts."""

    def look() -> list[str]:
        entries = {file: json.loads(file.read_text(encoding="utf-8")) for file in outbox.glob("*.json")}
        hits = [file for file, entry in entries.items() if (subject in entry["subject"], entry["to"]) == (True, to)]
        return [file.with_suffix(".txt").read_text(encoding="utf-8") for file in sorted(hits)]

    texts: list[str] = await until(lambda: asyncio.to_thread(look))
    return texts[-1]


def code_in(text: str, digits: int) -> str:
    (code,) = re.findall(rf"(?<!\d)\d{{{digits}}}(?!\d)", text)
    return str(code)


def app_shows(secret: str, now: datetime) -> str:
    return pyotp.TOTP(secret).generate_otp(int(now.timestamp()) // PERIOD)


def png() -> bytes:
    into = io.BytesIO()
    Image.new("RGB", (60, 40), "red").save(into, "PNG")
    return into.getvalue()


async def give_photo(browser: Browser, path: str) -> None:
    headers = {"Authorization": f"Bearer {browser.token}", "Content-Type": "image/png"}
    given = await browser.town.client.put(f"/api/v1{path}", content=png(), headers=headers)
    assert given.status_code == 200, given.text


async def served(town: Town, boss: Browser, timesheet: RelyingParty) -> str:
    """The app's id, once it is registered and knows our keys."""
    await town.sweep.rotate_keys()
    timesheet.issuer = str(town.client.base_url)
    added = {"name": "Timesheet", "client_id": timesheet.client_id, "backchannel_logout_uri": timesheet.uri}
    return str((await done(boss, "POST", "/apps", added, 201))["id"])


async def hears_of_it(town: Town, timesheet: RelyingParty, anna: Browser) -> None:
    """The app is told, once, that she has signed out."""

    async def told() -> list[str]:
        return timesheet.heard

    (token,) = await until(told)
    timesheet.keys = (await town.client.get("/.well-known/jwks.json")).json()["keys"]
    assert timesheet.claims(token, town.clock.now)["sub"] == str(anna.person.id)
    timesheet.heard.clear()


async def administrator(town: Town) -> Browser:
    boss = town.browser(await town.hire("boss@example.org", second_factor=True, roles=GLOBAL))
    await boss.sign_in()
    return boss


# Documents 000 and 001: one's own page


async def sees_who_they_are(anna: Browser, language: str) -> None:
    """*Review your organization-related details*: managed by the organization; whoever sees an error asks it."""
    shown = await anna.ask("GET", "/profile")
    page = shown.json()
    fields = page["fields"]
    assert page["sign_in_name"] == NAME
    for name, value in DETAILS.items():
        told = {key: fields[name][key] for key in ("value", "editable", "editable_by")}
        assert told == {"value": value, "editable": False, "editable_by": "administrator"}
    assert [one["value"] for one in page["linked_addresses"]] == ["a•••@example.net"]
    picture = await anna.ask("GET", PHOTO)
    assert (picture.status_code, picture.headers["Content-Type"]) == (200, "image/jpeg")

    headers = {"If-Match": shown.headers["ETag"], "Accept-Language": language}
    wrong = await anna.ask("PATCH", "/profile", {"job_title": "Director"}, **headers)
    assert (wrong.status_code, wrong.json()["code"]) == (403, "field_not_editable")
    assert "helpdesk" in wrong.json()["detail"]
    assert (await done(anna, "GET", "/organization"))["contact"] == HELPDESK


async def disables_a_device_that_is_not_theirs(town: Town, anna: Browser) -> None:
    """*Review your Devices & activity*: each is familiar, or goes off the page."""
    known, _ = await town.iphone(anna)
    strange, _ = await town.iphone(anna, "Somebody's iPhone")
    listed = (await done(anna, "GET", "/devices"))["items"]
    assert {(one["id"], one["enabled"], one["managed"]) for one in listed} == {
        (str(known), True, True),
        (str(strange), True, True),
    }

    assert (await refused(anna, "POST", f"/devices/{strange}/disable", {"confirm": False})) == (422, "invalid")
    await done(anna, "POST", f"/devices/{strange}/disable", {"confirm": True})

    assert [one["id"] for one in (await done(anna, "GET", "/devices"))["items"]] == [str(known)]
    newest, *_ = (await done(anna, "GET", "/sign-ins"))["items"]
    assert (newest["outcome"], newest["can_be_disowned"]) == ("succeeded", True)


async def leaves_an_organization(anna: Browser) -> None:
    """*Review your Organizations*: *Sign in to leave organization*, and it is off the page."""
    home, other = (await done(anna, "GET", "/organizations"))["items"]
    assert [(one["name"], one["leaving"]["available"]) for one in (home, other)] == [("Acme", False), ("Beta", True)]
    there = await done(anna, "POST", "/sessions/current/organization", {"organization_id": other["id"]})
    anna.token = there["token"]

    path = f"/organizations/{other['id']}/leave"
    left = await anna.ask("POST", path, {"confirm": True}, key=str(uuid4()))

    assert left.status_code == 202, left.text
    anna.token = left.json()["signed_in"]["token"]
    assert [one["name"] for one in (await done(anna, "GET", "/organizations"))["items"]] == ["Acme"]


async def changes_the_password(town: Town, anna: Browser, app: str, timesheet: RelyingParty) -> None:
    """*Change password*: the old one, the new one; whatever was signed in before signs in anew, apps as well."""
    other = anna.elsewhere()
    await other.sign_in()
    await done(other, "POST", f"/apps/{app}/uses")
    assert (await done(anna, "GET", "/profile"))["sign_in_name"] == NAME, "the page shows whose it is"
    wrong = {"current": "not the old one", "new": CHOSEN}
    assert (await refused(anna, "POST", "/password", wrong))[0] == 403

    changed = await done(anna, "POST", "/password", {"current": PASSWORD, "new": CHOSEN})

    anna.token = changed["token"]
    assert await alive(anna)
    assert not await alive(other)
    await hears_of_it(town, timesheet, anna)
    assert (await refused(other, "POST", "/sessions", {"account": NAME, "password": PASSWORD}))[0] == 401
    anna.person = replace(anna.person, password=CHOSEN)
    await town.browser(anna.person).sign_in()


async def registers_for_the_reset_and_forgets_the_password(town: Town, anna: Browser, boss: Browser) -> None:
    """*Set up and use password reset*: an administrator turns it on, the person registers; then they can."""
    assert (await done(anna, "GET", "/security/recovery"))["offered"] is False
    rules = await boss.ask("GET", "/organization/recovery")
    wanted = {"whom": "all", "gates": 1, "kinds": ["recovery_codes"], "unlock": True}
    await done(boss, "PUT", "/organization/recovery", wanted, **{"If-Match": rules.headers["ETag"]})
    shown = await done(anna, "GET", "/security/recovery")
    assert (shown["offered"], shown["registered"], shown["can_add"]) == (True, False, ["recovery_codes"])
    made = await done(anna, "POST", f"{METHODS}/recovery-codes", status=201)
    town.clock.forward(timedelta(hours=24))  # what is younger leads nobody back in
    await anna.sign_in()
    shown = await done(anna, "GET", "/security/recovery")
    assert (shown["registered"], shown["kinds"]) == (True, ["recovery_codes"])

    lost = anna.elsewhere()
    begun = await done(lost, "POST", "/recoveries", {"account": NAME, "purpose": "reset"}, 201)
    lost.token, path = begun["token"], f"/recoveries/{begun['id']}"
    (method_id,) = [one["id"] for one in begun["methods"] if one["kind"] == "recovery_codes"]
    code = {"method_id": method_id, "code": made["codes"][0]["code"]}
    assert (await done(lost, "POST", f"{path}/gate", code))["state"] == "proven"
    await done(lost, "POST", f"{path}/password", {"new": FORGOTTEN}, 204)

    assert not await alive(anna)
    anna.person = replace(anna.person, password=FORGOTTEN)
    await anna.sign_in()


async def changes_the_security_information(town: Town, anna: Browser) -> None:
    """*Additional security verification*: an app is set up, methods are added, renamed and removed, one is the
    default."""
    secrets = {}
    for label in ("Old phone", "New phone"):
        begun = await done(anna, "POST", f"{METHODS}/totp", {"label": label}, 201)
        secrets[begun["id"]] = begun["key"]
        code = app_shows(begun["key"], town.clock.now)
        added = await done(anna, "POST", f"{METHODS}/{begun['id']}/confirm", {"code": code})
        assert added["default"] is (label == "Old phone")
        town.clock.forward(PERIOD)
        if label == "Old phone":  # from here on the password alone changes nothing
            assert (await refused(anna, "POST", f"{METHODS}/totp", {"label": "New phone"})) == (401, "proof_required")
            proof = {"method_id": begun["id"], "code": app_shows(begun["key"], town.clock.now)}
            anna.token = (await done(anna, "POST", "/sessions/current/proof", proof))["token"]
    old, new = secrets

    await done(anna, "PATCH", f"{METHODS}/{new}", {"default": True}, **{"If-Match": "*"})
    renamed = await done(anna, "PATCH", f"{METHODS}/{new}", {"label": "My phone"}, **{"If-Match": "*"})
    half = await done(
        anna.elsewhere(), "POST", "/sessions", {"account": NAME, "password": anna.person.password}, status=202
    )
    await done(anna, "DELETE", f"{METHODS}/{old}", status=204)

    assert (renamed["label"], renamed["default"]) == ("My phone", True)
    assert [one["label"] for one in half["methods"] if one["default"]] == ["My phone"], "asked for of itself"
    apps = [one for one in (await done(anna, "GET", METHODS))["items"] if one["kind"] == "totp"]
    assert [(one["id"], one["default"]) for one in apps] == [(new, True)]
    town.clock.forward(PERIOD)
    anna.person = replace(anna.person, totp_secret=secrets[new])
    assert (await anna.sign_in())["session"]["strength"] == 2


async def accepts_the_terms_of_use(anna: Browser, boss: Browser, language: str) -> None:
    """*Review terms of use*: *Done* where there are none, else *Accept*."""
    shown = await done(anna, "GET", "/terms")
    assert (shown["items"], shown["only_done"]) == ([], True)
    await boss.sign_in()
    named = {"name": "rules", "names": {"en": "House rules", "nl": "Huisregels"}, "default_language": "en"}
    made = await done(boss, "POST", "/organization/terms", named, 201)
    text = {"documents": RULES, "major": True}
    await done(boss, "POST", f"/organization/terms/{made['id']}/versions", text, 201)

    (item,) = (await done(anna, "GET", "/terms"))["items"]
    assert (item["name"], item["accept_offered"]) == ({"en": "House rules", "nl": "Huisregels"}[language], True)
    read = await done(anna, "GET", f"/terms/{item['version_id']}")
    assert (read["text"], read["language"]) == (RULES[language], language)
    yes = {"hash": read["hash"], "language": read["language"], "accepted": True}
    await done(anna, "POST", f"/terms/{item['version_id']}/acceptance", yes, 201)

    shown = await done(anna, "GET", "/terms")
    assert [one["status"] for one in shown["items"]] == ["current"]
    assert shown["only_done"] is True


async def signs_out_of_everywhere(town: Town, anna: Browser, app: str, timesheet: RelyingParty) -> None:
    """*Sign out everywhere*: *No* changes nothing; *Yes* is all sessions, devices and apps."""
    town.clock.forward(PERIOD)
    other = anna.elsewhere()
    await other.sign_in()
    await done(other, "POST", f"/apps/{app}/uses")

    assert (await refused(anna, "POST", "/sign-out-everywhere", {"confirm": False})) == (422, "invalid")
    assert await alive(anna)
    assert await alive(other)

    gone: httpx.Response = await anna.ask("POST", "/sign-out-everywhere", {"confirm": True})

    assert gone.status_code == 204, gone.text
    assert not await alive(anna)
    assert not await alive(other)
    town.clock.forward(PERIOD)
    await anna.sign_in()
    told = await town.job_is(anna, gone.headers["Location"], "succeeded", "failed")
    assert told["state"] == "succeeded"
    await hears_of_it(town, timesheet, anna)


@pytest.mark.parametrize("language", ["nl", "en"], ids=["000", "001"])
async def test_documents_000_and_001_a_person_goes_through_their_own_page_from_top_to_bottom(
    town: Town, outbox: Path, language: str
) -> None:
    boss, anna = await administrator(town), town.browser(await town.hire(NAME))
    beta = await found(town.db, town.clock.forward(1), name="Beta")
    await welcome(town.db, beta, anna.person, town.clock.now)
    settings = await boss.ask("GET", "/organization/settings")
    marked = {"If-Match": settings.headers["ETag"]}
    await done(boss, "PATCH", "/organization/settings", {"contact": HELPDESK}, **marked)
    await done(boss, "PATCH", f"/accounts/{anna.person.id}/profile", DETAILS, **{"If-Match": "*"})
    await anna.sign_in()
    await done(anna, "PATCH", "/profile", {"language": language}, **{"If-Match": "*"})
    await give_photo(anna, PHOTO)
    begun = await done(anna, "POST", f"{METHODS}/email", {"label": "Private", "address": PRIVATE}, 201)
    code = code_in(await sent(outbox, "", PRIVATE), 8)
    await done(anna, "POST", f"{METHODS}/{begun['id']}/confirm", {"code": code})

    timesheet = RelyingParty("timesheet")
    async with serving(timesheet):
        app = await served(town, boss, timesheet)
        await sees_who_they_are(anna, language)
        await disables_a_device_that_is_not_theirs(town, anna)
        await leaves_an_organization(anna)
        await changes_the_password(town, anna, app, timesheet)
        await registers_for_the_reset_and_forgets_the_password(town, anna, boss)
        await changes_the_security_information(town, anna)
        await accepts_the_terms_of_use(anna, boss, language)
        await signs_out_of_everywhere(town, anna, app, timesheet)

    for subject in (*SUBJECTS[language], SIGNED_OUT[language]):
        await sent(outbox, subject)
    assert await town.record_is_whole()


# Document 002: somebody else's page


async def synchronize(town: Town, person: Person) -> None:
    """Who they are comes from a directory."""
    theirs = {"master": "directory", "last_synced_at": "2026-03-01T11:50:00+00:00"}
    masters = {"identity": theirs, "job": theirs}
    held = {"account_id": person.id, "organization_id": person.organization_id, "values": {}, "masters": masters}
    async with town.db.write() as tx:
        await tx.execute(sa.insert(profile).values(held))


async def test_document_002_an_administrator_edits_each_section_of_somebodys_profile(town: Town, outbox: Path) -> None:
    boss, anna = await administrator(town), town.browser(await town.hire(NAME))
    helper = town.browser(await town.hire("helper", second_factor=True, roles=("user_administrator",)))
    await helper.sign_in()
    await anna.sign_in()

    # *Users*, and then one of them: *Anna - Profile*.
    (found_there,) = (await done(helper, "GET", "/accounts?begins_with=anna"))["items"]
    account = f"/accounts/{found_there['id']}"
    page = f"{account}/profile"
    shown = await helper.ask("GET", page)
    assert shown.json()["fields"]["surname"]["editable"] is True

    # *Edit*: the picture, which the person sees on their own page.
    await give_photo(helper, f"{page}/photo")
    assert (await anna.ask("GET", PHOTO)).status_code == 200

    # Identity, job information, settings and contact information; *Save* is all of them at once.
    wanted = {
        "surname": "Jansen",
        "display_name": "Anna Jansen",
        "job_title": "Nurse",
        "department": "Ward 3",
        "manager": str(boss.person.id),
        "usage_location": "NL",
        "street": "Keizersgracht 1",
        "mobile_phone": "+31 612345678",
    }
    mark = {"If-Match": (await helper.ask("GET", page)).headers["ETag"]}
    saved = (await done(helper, "PATCH", page, wanted, **mark))["fields"]
    assert {name: saved[name]["value"] for name in wanted} == wanted
    assert (await refused(helper, "PATCH", page, {"surname": "De Vries"}, **mark))[0] == 412, "of an older page"
    theirs = (await done(anna, "GET", "/profile"))["fields"]
    assert {name: theirs[name]["value"] for name in wanted} == wanted
    assert "profile.edited" in {one["key"] for one in (await anna.notifications())["items"]}

    # Settings: whether the person may sign in.
    await done(helper, "POST", f"{account}/block", {"reason": "on leave, ticket 4711"})
    assert not await alive(anna)
    body = {"account": NAME, "password": PASSWORD}
    assert (await anna.elsewhere().ask("POST", "/sessions", body)).status_code == 401
    await done(helper, "POST", f"{account}/unblock")

    # Authentication contact information: a global administrator's alone; it proves the person from then on.
    number = {"kind": "phone", "address": "+31 612345678"}
    assert await refused(helper, "POST", f"{account}/authentication-contact", number) == (403, "not_allowed")
    given = await done(boss, "POST", f"{account}/authentication-contact", number, 201)
    (listed,) = (await done(boss, "GET", f"{account}/authentication-contact"))["items"]
    assert listed == given
    half = await done(anna.elsewhere(), "POST", "/sessions", body, 202)
    anna.token = half["token"]
    code = code_in(await sent(outbox, "", "+31612345678"), 6)
    second = {"method_id": given["id"], "code": code}
    whole = await done(anna, "POST", "/sessions/current/second-factor", second, 201)
    assert whole["session"]["strength"] == 2

    # The note: what a directory is the source of is edited there, and waited for.
    bert = await town.hire("bert@example.org")
    await synchronize(town, bert)
    page = f"/accounts/{bert.id}/profile"
    elsewhere = await helper.ask("PATCH", page, {"surname": "Bakker"}, **{"If-Match": "*"})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "mastered_elsewhere")
    assert (elsewhere.json()["master"], elsewhere.json()["next_sync_at"]) == ("directory", "2026-03-01T12:20:00Z")
    located = await done(helper, "PATCH", page, {"usage_location": "NL", "city": "Utrecht"}, **{"If-Match": "*"})
    assert located["fields"]["usage_location"]["value"] == "NL"
    assert await town.record_is_whole()
