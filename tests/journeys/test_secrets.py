"""Nothing that must stay secret is to be found: not in logs, not in Redis, not in the database, not in an answer.

A day in town with everything in it that goes well and that goes wrong, overheard from beginning to end.
"""

import asyncio
import base64
import io
import json
import logging
import os
import plistlib
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import pyotp
import pytest
import sqlalchemy as sa

from api.call import CookieName
from api.guards import csrf_token
from api.passwords import Place
from api.settings import RELAXED
from models import log
from models.base import metadata
from models.sealed import Keyring
from models.settings import DatabaseSettings
from platforms.ios.channel import PushChannel
from platforms.ios.simulator import EnrollmentFailed, Iphone
from tests.journeys.town import AUDIT_KEY, PASSWORD, Town, until
from tests.servers import RedisServer

SEAL_KEY = os.urandom(32)
THROTTLE_KEY = b"t" * 32
SHORT = 12
"""Shorter ones (codes, passcodes) are looked for as words alone: six digits are everywhere inside of numbers."""


@pytest.fixture
def keys() -> Keyring:
    return Keyring.from_settings("test:" + base64.b64encode(SEAL_KEY).decode())


def spellings(secret: bytes) -> set[bytes]:
    """How a secret may look where it should not be."""
    if len(secret) > 96:  # of a long one any part is too much
        middle = len(secret) // 2
        return {
            spelled
            for part in (secret[12:60], secret[middle : middle + 48], secret[-48:])
            for spelled in spellings(part)
        }
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    found |= {quote(secret, safe="").encode(), json.dumps(secret.decode("latin-1"))[1:-1].encode()}
    for shift in range(3):  # inside of something longer that is encoded as a whole
        encoded = base64.b64encode(bytes(shift) + secret)
        inner = encoded[0 if shift == 0 else shift + 1 : len(encoded) - (4 if encoded.endswith(b"=") else 0)]
        if len(inner) >= 8:
            found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def occurs(secret: bytes, where: bytes) -> bool:
    for spelled in spellings(secret):
        if len(secret) < SHORT:
            if re.search(rb"(?<![0-9A-Za-z.])" + re.escape(spelled) + rb"(?![0-9A-Za-z])", where):
                return True
        elif spelled in where:
            return True
    return False


@dataclass
class Overheard:
    """Every secret of the day by a name that may be printed, and every place that must not hold one."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    answers: list[bytes] = field(default_factory=list)
    """Those that carry no secret by their purpose: all problems, of people and devices."""
    all_answers: list[bytes] = field(default_factory=list)
    log: io.StringIO = field(default_factory=io.StringIO)
    redis: bytearray = field(default_factory=bytearray)

    def know(self, name: str, *values: str | bytes) -> None:
        for value in values:
            secret = value.encode() if isinstance(value, str) else value
            assert len(secret) >= 6, name
            if secret not in self.secrets.values():
                self.secrets[f"{name} {len(self.secrets)}"] = secret

    async def answer(self, response: httpx.Response) -> None:
        """As the client's hook: learns what is handed out, keeps what is answered."""
        for cookie in response.headers.get_list("set-cookie"):
            value = cookie.partition("=")[2].partition(";")[0]
            if value:
                self.know("token", value)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return
        body = await response.aread()
        whole = repr(sorted(response.headers.multi_items())).encode() + body
        self.all_answers.append(whole)
        if response.status_code >= 400:
            self.answers.append(whole)
            return
        if response.headers.get("content-type", "").startswith("application/json"):
            self._learn(json.loads(body))
        elif response.headers.get("content-type", "").startswith("application/x-apple-aspen-config"):
            for payload in plistlib.loads(body)["PayloadContent"]:
                if "Password" in payload:
                    self.know("PKCS#12 password", payload["Password"])
                    self.know("PKCS#12", payload["PayloadContent"])

    def _learn(self, told: Any) -> None:
        if not isinstance(told, dict):
            return
        if isinstance(token := told.get("token"), str):
            self.know("token", token)
            self.know("CSRF token", csrf_token(token))
        if isinstance(token := told.get("csrf_token"), str):
            self.know("CSRF token", token)
        if "/enroll/" in str(told.get("url", "")):
            self.know("enrolment link", urlsplit(told["url"]).path.rpartition("/")[2])

    def found_in(self, where: bytes, names: str = "") -> list[str]:
        return [name for name, secret in self.secrets.items() if re.match(names, name) and occurs(secret, where)]


@pytest.fixture
async def overheard(
    one_redis: RedisServer, redis_url: str, town_environment: dict[str, str]
) -> AsyncIterator[Overheard]:
    """Begins before the town does, so that nothing is missed."""
    heard = Overheard()
    reader, writer = await asyncio.open_unix_connection(urlsplit(one_redis.url).path)
    writer.write(b"MONITOR\r\n")
    assert await reader.readline() == b"+OK\r\n"

    async def listen() -> None:
        while data := await reader.read(65536):
            heard.redis += data

    listening = asyncio.create_task(listen())
    with logging_at_debug(heard.log):
        yield heard
    listening.cancel()
    writer.close()
    await writer.wait_closed()


@contextmanager
def logging_at_debug(stream: io.StringIO) -> Iterator[None]:
    """As a main sets it up, in both forms."""
    root = logging.getLogger()
    before, level, shown = root.handlers[:], root.level, warnings.showwarning
    levels = {name: logging.getLogger(name).level for name in log._TALKATIVE}
    log.configure("debug", "production", stream)
    pairs = logging.StreamHandler(stream)
    pairs.setFormatter(log.Pairs())
    root.addHandler(pairs)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        warnings.showwarning = shown
        root.handlers[:] = before
        root.setLevel(level)
        for name, its in levels.items():
            logging.getLogger(name).setLevel(its)


async def dump(town: Town, settings: DatabaseSettings) -> bytes:
    """Every value of every row; of SQLite also the files, with what was deleted."""
    parts = []
    async with town.db.read() as tx:
        for table in metadata.tables.values():
            for row in await tx.execute(sa.select(table)):
                for value in row:
                    if isinstance(value, bytes):
                        parts.append(value)
                    else:
                        parts.append((value if isinstance(value, str) else json.dumps(value, default=str)).encode())
    if settings.url.startswith("sqlite:///"):
        path = Path(settings.url.removeprefix("sqlite:///"))
        parts += [file.read_bytes() for file in path.parent.glob(f"{path.name}*")]
    return b"\n".join(parts)


def keys_of(server: RedisServer) -> bytes:
    """What is left in Redis: every key and every value."""
    client = server.client
    readers = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return b"\n".join(key + repr(readers[client.type(key)](key)).encode() for key in client.keys("*"))


async def a_day(town: Town, heard: Overheard, outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna_person = await town.hire(second_factor=True)
    anna, bram = town.browser(anna_person), town.browser(await town.hire("bram"))
    assert anna_person.totp_secret is not None
    heard.know("password", PASSWORD)
    heard.know("TOTP secret", anna_person.totp_secret, base64.b32decode(anna_person.totp_secret))

    await people_at_the_door(town, heard, anna, bram)
    await bad_requests(town, heard, anna)
    await addresses(town, heard, town.browser(await town.hire("carla")), outbox)
    await phones(town, heard, anna, bram)
    await a_bug(town, heard, anna, bram, monkeypatch)
    await anna.ask("POST", "/sign-out-everywhere", {"confirm": True})
    await town.sweep.round()
    await town.sweep.erase()


async def people_at_the_door(town: Town, heard: Overheard, anna: Any, bram: Any) -> None:
    wrong = "a wrong password " + uuid4().hex
    heard.know("password", wrong)
    for account in ("anna", "nobody", wrong):  # the last one typed into the wrong field
        answer = await anna.ask("POST", "/sessions", {"account": account, "password": wrong})
        assert answer.status_code == 401
    half = await anna.ask("POST", "/sessions", {"account": "anna", "password": PASSWORD})
    assert half.status_code == 202
    anna.token = half.json()["token"]
    method = half.json()["methods"][0]["id"]
    code = anna.person.code(town.clock.now)
    other = f"{(int(code) + 1) % 1_000_000:06}"
    heard.know("TOTP code", code, other)
    for tried, status in ((other, 403), (f"{other}{other}", 422), (code, 201)):
        answer = await anna.ask("POST", "/sessions/current/second-factor", {"method_id": method, "code": tried})
        assert answer.status_code in {status, 403}, answer.text
    anna.token = answer.json()["token"]
    assert (await anna.ask("POST", "/sessions/current/proof", {"password": wrong})).status_code == 403
    town.clock.forward(60)
    proven = await anna.ask("POST", "/sessions/current/proof", {"password": PASSWORD})
    assert proven.status_code == 200, proven.text
    anna.token = proven.json()["token"]
    await anna.ask("GET", "/sessions/current")
    await bram.sign_in()


async def bad_requests(town: Town, heard: Overheard, anna: Any) -> None:
    """Of many kinds, each with something secret in it."""
    wrong, token = "another wrong one " + uuid4().hex, anna.token
    heard.know("password", wrong)
    json_type = {"Content-Type": "application/json"}
    bodies = (
        f'{{"account": "anna", "password": "{wrong}"'.encode(),
        f'{{"account": "anna", "password": {wrong}}}'.encode(),
        f'"{wrong}"'.encode(),
        f'[{{"password": "{wrong}"}}]'.encode(),
        f'{{"account": "anna", "password": ["{wrong}"]}}'.encode(),
        f'{{"account": "anna", "pass": "{wrong}"}}'.encode(),
        f'{{"account": "anna", "password": "{PASSWORD}", "{wrong}": 1}}'.encode(),
        f'{{"account": "anna", "password": "{wrong * 40}"}}'.encode(),
        f'{{"account": "anna", "password": "{wrong}", "re_sign_in": {{"{token}": 1}}}}'.encode(),
        b'{"account": "anna", "password": "' + wrong.encode() + b'\xff"}',
    )
    client = town.client
    for body in bodies:
        answer = await client.post("/api/v1/sessions", content=body, headers=json_type)
        assert 400 <= answer.status_code < 500, answer.text
    sent = {"Authorization": f"Bearer {token}"}
    wild = {"account": "anna", "password": wrong}
    answers = [
        await client.post("/api/v1/sessions", content=json.dumps(wild), headers={"Content-Type": "text/plain"}),
        await client.put("/api/v1/sessions", json=wild),
        await client.post(f"/api/v1/sessions?password={quote(wrong)}", json=wild),
        await client.get(f"/api/v1/{token}"),
        await client.get(f"/{wrong}"),
        await client.delete(f"/api/v1/sessions/{token}", headers=sent),
        await client.get(f"/api/v1/jobs?cursor={token}&{token}=1", headers=sent),
        await client.get(f"/api/v1/jobs?state={token}", headers=sent),
        await client.get(f"/api/v1/devices?{token}=1", headers=sent),
        await client.get(f"/api/v1/devices?{token}=1&{token}=2", headers=sent),
        await client.get("/api/v1/devices", headers={"Authorization": f"Basic {token}"}),
        await client.get("/api/v1/devices", headers={"Authorization": f"Bearer {token}{token}{token}"}),
        await client.get("/api/v1/devices", headers={"Authorization": f"Bearer {token[:-1]}"}),
        await client.post("/api/v1/sign-out-everywhere", json={"confirm": token}, headers=sent),
        await client.post("/api/v1/sessions/current/proof", json={"password": {"is": wrong}}, headers=sent),
        await client.post("/api/v1/sessions/current/proof", json={"method_id": wrong, "code": wrong}, headers=sent),
        await client.post("/api/v1/re-sign-ins", json={"device_id": token, "act": wrong}, headers=sent),
        await client.post("/api/v1/re-sign-ins", json={"token": token}),
        await client.post("/api/v1/enrollments", json={"platform": wrong}, headers=sent),
        await client.post(f"/api/v1/devices/{uuid4()}/wipe", headers={**sent, "Idempotency-Key": token}),
    ]
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
    resumed = {**sent, "Last-Event-ID": token}
    async with client.stream("GET", "/api/v1/notifications/stream", headers=resumed) as stream:
        assert stream.status_code in {200, 400, 422}
    client.cookies.clear()
    cookie = {"Cookie": f"{RELAXED.prefix}{CookieName.SESSION}={token}", "Origin": str(client.base_url).rstrip("/")}
    for more in ({}, {"X-CSRF-Token": token}, {"X-CSRF-Token": csrf_token(token), "Origin": "https://elsewhere.test"}):
        answer = await client.post("/api/v1/sign-out-everywhere", json={"confirm": False}, headers={**cookie, **more})
        assert answer.status_code == 403, answer.text
    answer = await client.get("/api/v1/sessions/current", headers=cookie)
    assert answer.status_code == 200, answer.text


async def addresses(town: Town, heard: Overheard, carla: Any, outbox: Path) -> None:
    """A number and a mail address are added, and the number finishes a sign-in: right codes, wrong ones, too many."""
    number, mail = "+31687650943", f"carla.{uuid4().hex}@example.net"
    heard.know("number", number, number[1:], number[3:])
    heard.know("mail address", mail, mail.partition("@")[0])
    await carla.sign_in()
    for kind, address, digits in (("phone", number, 6), ("email", mail, 8)):
        wish = {"label": f"My {kind}", "address": address}
        begun = await carla.ask("POST", f"/security/methods/{kind}", wish)
        assert begun.status_code == 201, begun.text
        assert (await carla.ask("POST", f"/security/methods/{kind}", wish)).status_code == 429
        assert (
            await carla.ask("POST", f"/security/methods/{kind}", {**wish, "address": f"{address}{address}"})
        ).is_error
        code = await sent_code(heard, outbox, address, digits)
        confirming = f"/security/methods/{begun.json()['id']}/confirm"
        for tried, status in ((code[::-1] + "x", 403), (code, 200), (code, 404)):
            answer = await carla.ask("POST", confirming, {"code": tried})
            assert answer.status_code == status, answer.text
        if kind == "phone":
            phone_id = begun.json()["id"]
            proving = {"method_id": phone_id, "code": code}
            assert (await carla.ask("POST", "/sessions/current/proof", proving)).status_code == 403
            town.clock.forward(60)
            sent = await carla.ask("POST", "/sessions/current/proof/send", {"method_id": phone_id})
            assert sent.status_code == 200, sent.text
            proving["code"] = await sent_code(heard, outbox, number, 6)
            proven = await carla.ask("POST", "/sessions/current/proof", proving)
            assert proven.status_code == 200, proven.text
            carla.token = proven.json()["token"]
    town.clock.forward(60)
    half = await carla.ask("POST", "/sessions", {"account": "carla", "password": PASSWORD})
    assert half.status_code == 202, half.text
    carla.token = half.json()["token"]
    finishing = {"method_id": phone_id, "code": await sent_code(heard, outbox, number, 6)}
    whole = await carla.ask("POST", "/sessions/current/second-factor", finishing)
    assert whole.status_code == 201, whole.text


async def sent_code(heard: Overheard, outbox: Path, to: str, digits: int) -> str:
    """The newest that nobody knew yet."""

    async def arrived() -> str | None:
        return newest_code(heard, outbox, to, digits)

    code: str = await until(arrived)
    heard.know("sent code", code)
    return code


def newest_code(heard: Overheard, outbox: Path, to: str, digits: int) -> str | None:
    for entry in outbox.glob("*.json"):
        if json.loads(entry.read_text(encoding="utf-8"))["to"] == to:
            code = re.search(rf"(?<!\d)\d{{{digits}}}(?!\d)", entry.with_suffix(".txt").read_text(encoding="utf-8"))
            if code is not None and code[0].encode() not in heard.secrets.values():
                return code[0]
    return None


async def phones(town: Town, heard: Overheard, anna: Any, bram: Any) -> None:
    device_id, phone = await town.iphone(anna)
    learn(heard, phone)
    base = str(town.client.base_url).rstrip("/")
    link = next(secret.decode() for name, secret in heard.secrets.items() if name.startswith("enrolment link"))
    for wrong in (link, link[:-1] + ("A" if link[-1] != "A" else "B"), f"{link}/{link}"):
        with pytest.raises(EnrollmentFailed):
            await Iphone(town.transport).open_link(f"{base}/devices/ios/enroll/{wrong}")
    await bad_messages(town, phone)
    await phone.update_token(rotate=True)
    learn(heard, phone)

    location = await reset(town, anna, device_id)
    await town.job_is(anna, location, "succeeded")

    other_id, other = await town.iphone(bram, "Bram's iPhone")
    learn(heard, other)
    other.habits.refusing = True
    other.unlock_token, kept = b"another token entirely" * 3, other.unlock_token
    location = await reset(town, bram, other_id)
    await town.job_is(bram, location, "failed")
    other.habits.refusing, other.unlock_token = False, kept
    other.habits.repeating, other.habits.not_now, other.habits.losing_answers, other.patience = True, 1, 1, 0.01
    location = await reset(town, bram, other_id)

    async def put_off() -> bool:
        return sum(other.offers.values()) >= 2

    await until(put_off)
    await town.pushes.idle()
    town.clock.forward(timedelta(minutes=6))
    await town.sweep.jobs()
    await town.job_is(bram, location, "succeeded", "waiting", "delivered")
    await town.pushes.idle()

    await bram.open_window(other_id)
    town.clock.forward(timedelta(minutes=5, seconds=1))
    await town.sweep.windows()
    await bram.sign_in()
    await bram.ask("GET", "/events")
    await other.check_out()
    await bram.ask("GET", "/notifications")


async def reset(town: Town, browser: Any, device_id: Any) -> str:
    """With the stream open while it happens."""
    town.clock.forward(60)
    opened = await browser.open_window(device_id)
    again = await browser.ask("POST", "/re-sign-ins", {"token": opened["token"], "device_id": str(device_id)})
    assert again.status_code < 500
    await browser.sign_in()
    headers = {"Authorization": f"Bearer {browser.token}"}
    async with town.client.stream("GET", "/api/v1/notifications/stream", headers=headers) as stream:
        assert await anext(stream.aiter_lines()) is not None
        answer = await browser.reset_passcode(device_id)
        assert answer.status_code == 202, answer.text
    await browser.ask("POST", f"/devices/{device_id}/passcode/reveal")
    location: str = answer.headers["Location"]
    return location


def learn(heard: Overheard, phone: Iphone) -> None:
    assert phone.bond is not None
    heard.know("phone's own", *phone.secrets, phone.token)
    heard.know("identity key", phone.bond.key)
    if phone.passcode is not None:
        heard.know("passcode", phone.passcode)


async def bad_messages(town: Town, phone: Iphone) -> None:
    """What a broken or a false phone says, with its secrets in it."""
    assert phone.bond is not None
    whole = {
        "MessageType": "TokenUpdate",
        "Topic": phone.bond.topic,
        "UDID": phone.udid,
        "Token": phone.token,
        "PushMagic": phone.push_magic,
        "UnlockToken": phone.unlock_token,
    }
    body = plistlib.dumps(whole)
    kind = {"content-type": "application/x-apple-aspen-mdm-checkin"}
    for said in (
        body[: len(body) // 2],
        plistlib.dumps({**whole, "Token": phone.push_magic, "PushMagic": phone.token}),
        plistlib.dumps({**whole, "MessageType": phone.push_magic}),
        plistlib.dumps({**whole, "Topic": phone.push_magic}),
        plistlib.dumps({**whole, "UDID": phone.push_magic}),
        plistlib.dumps([whole]),
        phone.unlock_token,
        body.replace(b"<string>", b"<" + phone.push_magic.encode() + b">"),
        body + bytes(2_000_000),
    ):
        for headers in (phone.signed(said, kind), kind, {**phone.signed(b"else", kind)}):
            try:
                answer = await town.client.put(phone.bond.check_in_url, content=said, headers=headers)
            except httpx.TransportError:
                continue  # too large, and hung up on
            assert answer.status_code < 500, answer.text
    status = {"Status": phone.push_magic, "UDID": phone.udid, "CommandUUID": phone.push_magic, "UnlockToken": b"x" * 20}
    said = plistlib.dumps(status)
    kind = {"content-type": "application/x-apple-aspen-mdm; charset=UTF-8"}
    answer = await town.client.put(phone.bond.command_url, content=said, headers=phone.signed(said, kind))
    assert answer.status_code < 500, answer.text


async def a_bug(town: Town, heard: Overheard, anna: Any, bram: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of ours that fails with a secret in its words, in the front and in the worker."""

    async def verify(place: Place, known: str | None, password: str) -> bool:
        raise RuntimeError(f"{password} does not fit {known}")

    with monkeypatch.context() as broken:
        broken.setattr(Place, "verify", verify)
        answer = await anna.ask("POST", "/sessions", {"account": "anna", "password": PASSWORD})
        assert answer.status_code == 500, answer.text
    anna.window = None
    town.clock.forward(60)
    heard.know("TOTP code", anna.person.code(town.clock.now))
    await anna.sign_in()
    device_id, phone = await town.iphone(anna, "Anna's other iPhone")
    learn(heard, phone)
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wake(channel: Any, command: Any, enrollment: Any) -> None:
        loop.call_soon_threadsafe(failed.set)
        raise RuntimeError(f"{phone.push_magic} and {phone.unlock_token!r} {enrollment} {command}")

    with monkeypatch.context() as broken:
        broken.setattr(PushChannel, "wake", wake)
        town.clock.forward(60)
        heard.know("TOTP code", anna.person.code(town.clock.now))
        await reset(town, anna, device_id)
        await asyncio.wait_for(failed.wait(), 10)

        async def said() -> bool:
            return "a run failed" in heard.log.getvalue()

        await until(said)


async def test_a_whole_day_leaves_no_secret_anywhere(
    overheard: Overheard,
    town: Town,
    one_redis: RedisServer,
    database_settings: DatabaseSettings,
    town_environment: dict[str, str],
    outbox: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town.client.event_hooks["response"].append(overheard.answer)
    overheard.know("seal key", SEAL_KEY)
    overheard.know("audit key", AUDIT_KEY.value)
    overheard.know("throttle key", THROTTLE_KEY)
    for name in ("DEVICE_CA_KEY", "IOS_PUSH_KEY"):
        overheard.know(f"private key {name}", *town_environment[name].splitlines()[1:-1])

    await a_day(town, overheard, outbox, monkeypatch)

    data = await dump(town, database_settings)
    logged = overheard.log.getvalue().encode()
    redis = bytes(overheard.redis) + keys_of(one_redis)
    kinds = {name.rpartition(" ")[0] for name in overheard.secrets}
    assert kinds >= {
        *("password", "TOTP secret", "TOTP code", "token", "CSRF token", "enrolment link", "phone's own"),
        *("passcode", "PKCS#12 password", "PKCS#12", "identity key", "seal key", "audit key", "throttle key"),
        *("number", "mail address", "sent code"),
    }
    assert b"internal error" in logged
    assert b"run_job" in redis
    assert PASSWORD.encode() not in data
    assert len(overheard.answers) > 60
    assert overheard.found_in(logged) == []
    assert overheard.found_in(redis) == []
    assert overheard.found_in(data) == []
    assert [(found, one) for one in overheard.answers for found in overheard.found_in(one)] == []
    never = "password|TOTP|seal|audit|throttle|private|number|mail|sent"
    assert [found for one in overheard.all_answers for found in overheard.found_in(one, never)] == []


# That the search can find


SAMPLES = [b"a password with spaces", os.urandom(32), b"DATA\xff\xfe" + os.urandom(600), b"x" * 5 + os.urandom(20)]


@pytest.mark.parametrize("secret", SAMPLES, ids=["words", "key", "long", "odd"])
@pytest.mark.parametrize(
    "spell",
    [
        lambda secret: secret,
        lambda secret: secret.hex().encode(),
        lambda secret: secret.hex().upper().encode(),
        base64.b64encode,
        base64.urlsafe_b64encode,
        lambda secret: base64.b64encode(b"{" + secret + b"}"),
        lambda secret: base64.b64encode(b'{"' + secret + b'"}'),
        lambda secret: repr(secret).encode(),
        lambda secret: quote(secret, safe="").encode(),
    ],
    ids=["plain", "hex", "HEX", "base64", "url", "inside 1", "inside 2", "repr", "quoted"],
)
def test_a_secret_is_found_however_it_is_spelled(secret: bytes, spell: Any) -> None:
    heard = Overheard()
    heard.know("planted", secret)

    assert heard.found_in(b"before " + spell(secret) + b" after") == ["planted 0"]
    assert heard.found_in(b"before " + spell(os.urandom(len(secret))) + b" after") == []


def test_a_code_is_found_as_a_word_and_not_inside_of_a_number() -> None:
    heard = Overheard()
    heard.know("code", pyotp.TOTP(pyotp.random_base32()).at(0))
    (code,) = heard.secrets.values()

    assert heard.found_in(b'{"code": "' + code + b'"}') == ["code 0"]
    assert heard.found_in(b"at=17" + code + b"000") == []


async def test_a_secret_is_found_in_each_place(
    overheard: Overheard, town: Town, one_redis: RedisServer, database_settings: DatabaseSettings
) -> None:
    planted = "planted-" + uuid4().hex
    overheard.know("planted", planted)
    town.client.event_hooks["response"].append(overheard.answer)
    before = await dump(town, database_settings), overheard.log.getvalue().encode(), bytes(overheard.redis)

    await town.hire(planted)
    logging.getLogger("town").debug("here it is", extra={"field": planted})
    one_redis.client.set("planted", planted)
    kept = keys_of(one_redis)
    one_redis.client.delete("planted")

    async def heard() -> bool:
        return bool(overheard.found_in(bytes(overheard.redis)))

    await until(heard)
    after = await dump(town, database_settings), overheard.log.getvalue().encode(), kept

    assert [overheard.found_in(place) for place in before] == [[], [], []]
    assert [overheard.found_in(place) for place in after] == [["planted 0"]] * 3
