"""Ids, headers, problems, log lines: what surrounds every request."""

import json
import logging
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import api
import models
from api import middleware
from api.middleware import CHALLENGES, PROBLEMS, wording
from api.settings import ApiSettings
from api.texts import Texts, folders
from models.database import DatabaseDown
from models.errors import DomainError, IllegalMove
from tests.api.house import House


def every_domain_error() -> list[type[DomainError]]:
    found, todo = [], [DomainError]
    while todo:
        children = todo.pop().__subclasses__()
        found += children
        todo += children
    return [error for error in found if error.__module__.split(".")[0] in {api.__name__, models.__name__}]


def test_every_code_has_its_status_but_the_one_that_is_a_bug() -> None:
    codes = {error.code for error in every_domain_error()}

    assert codes - PROBLEMS.keys() == {IllegalMove.code}
    assert PROBLEMS.keys() - codes == {"internal"}


def test_every_401_names_its_challenge() -> None:
    assert {code for code, (status, _) in PROBLEMS.items() if status == 401} == CHALLENGES.keys()


@pytest.mark.parametrize("code", ["re_sign_in_required", "proof_required"])
def test_a_missing_proof_is_told_as_rfc_9470_says(code: str) -> None:
    header = CHALLENGES[code]

    assert header.startswith('Bearer error="insufficient_user_authentication", ')
    assert "max_age={max_age}" in header
    assert 'acr_values="{strength}"' in header


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (120, "in 120 seconds"),
        (121, "in 3 minutes"),
        (7200, "in 120 minutes"),
        (7201, "in 3 hours"),
        (86_400, "in 24 hours"),
    ],
)
def test_a_wait_is_told_as_people_tell_time(seconds: int, told: str) -> None:
    texts = Texts(folders(()))

    assert told in texts.say("en", *wording("too_many_tries", {"retry_after": seconds}))


async def test_a_problem_is_as_rfc_9457_says(house: House) -> None:
    answer = await house.ask("GET", "/notifications", headers={"Accept-Language": "nl"})

    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json == {
        "type": "urn:latchkey:problem:sign_in_required",
        "title": "Sign in first",
        "status": 401,
        "detail": "Meld u eerst aan.",
        "instance": answer.headers["X-Request-Id"],
        "code": "sign_in_required",
    }


async def test_every_answer_carries_what_protects_a_browser(house: House) -> None:
    for method, path in (("GET", "/healthz"), ("GET", "/nothing/here"), ("PUT", "/healthz"), ("GET", "/docs")):
        async with house.client.request(method, path) as response:
            headers = response.headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["Strict-Transport-Security"] == "max-age=31536000"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Server"] == "latchkey"
            assert len(headers["X-Request-Id"]) == 32


async def test_answers_about_somebody_are_kept_nowhere(house: House) -> None:
    anna = await house.hire()
    answer = await house.sign_in(anna)

    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_request_id_is_accepted_from_nobody(house: House) -> None:
    answer = await house.ask("GET", "/texts/en", headers={"X-Request-Id": "mine"})

    assert answer.headers["X-Request-Id"] != "mine"


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/v2/devices"), ("GET", "/api/v1/"), ("GET", "/HEALTHZ")])
async def test_an_unknown_address_is_a_problem_too(house: House, method: str, path: str) -> None:
    async with house.client.request(method, path) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (404, "not_found")


async def test_an_unknown_method_says_which_are_known(house: House) -> None:
    async with house.client.put("/healthz") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert (await response.json(content_type=None))["code"] == "method_not_allowed"


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/openapi.json", 200), ("/api/v1/sessions", 401)])
async def test_head_is_answered_like_get_without_a_body(house: House, path: str, status: int) -> None:
    async with house.client.get(path) as whole, house.client.head(path) as told:
        assert told.status == whole.status == status
        assert await told.read() == b""
        mine, theirs = ({n: v for n, v in one.headers.items() if n not in CHANGES} for one in (told, whole))
        assert mine == theirs


async def test_a_stream_has_no_head(house: House) -> None:
    async with house.client.head("/api/v1/notifications/stream") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET")


CHANGES = {"Date", "X-Request-ID"}
SECRET = "hunter2-hunter2"


async def test_a_bug_is_answered_and_told_without_its_values(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr("api.guards.session.resolve", broken)
    with caplog.at_level(logging.INFO):
        answer = await house.ask("GET", "/notifications", token=SECRET)

    assert (answer.status, answer.json["code"]) == (500, "internal")
    record = next(record for record in caplog.records if record.getMessage() == "internal error")
    assert vars(record)["error_type"] == "ValueError"
    assert "broken:" in vars(record)["where"]
    assert SECRET not in json.dumps(answer.json)
    assert all(SECRET not in str(vars(record)) for record in caplog.records)


async def test_a_database_that_is_away_is_busy(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DatabaseDown

    monkeypatch.setattr("api.guards.session.resolve", away)
    answer = await house.ask("GET", "/notifications", token="t")

    assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (503, "busy", "2")


async def test_a_move_that_no_table_has_is_a_bug(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def illegal(*_: object, **__: object) -> None:
        raise IllegalMove(state="succeeded")

    monkeypatch.setattr("api.guards.session.resolve", illegal)
    answer = await house.ask("GET", "/notifications", token="t")

    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert "state" not in answer.json


async def test_a_line_of_log_names_the_pattern_and_never_the_address(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    anna = await house.hire()
    with caplog.at_level(logging.INFO, "api"):
        token = (await house.sign_in(anna)).json["token"]
        await house.ask("POST", "/notifications/01930c2e-4b7a-7c1f-9a55-0d3f1c9be001/read", token=token)
        async with house.client.get(f"/devices/nobody/enroll/{SECRET}?token={SECRET}"):
            pass

    lines = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/api/v1/sessions", 201),
        ("POST", "/api/v1/notifications/{notification_id}/read", 404),
        ("GET", "/devices/{platform}/{tail}", 404),
    ]
    assert lines[1]["account"] == str(anna.id)
    for line in lines:
        assert SECRET not in str(line)
        assert token not in str(line)
        assert anna.password not in str(line)


async def test_without_production_there_is_no_hsts() -> None:
    settings = ApiSettings(mode="embedded", host="", port=0, public_url="http://localhost", throttle_key=b"")
    app = web.Application(middlewares=[middleware.build(settings)])

    async def hello(_: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/", hello)
    async with TestClient(TestServer(app)) as client, client.get("/") as response:
        assert "Strict-Transport-Security" not in response.headers


def test_the_table_is_the_only_one() -> None:
    """No other file of this room maps a problem to a status."""
    for file in Path(api.__file__).parent.rglob("*.py"):
        if file.name != "middleware.py":
            assert '"sign_in_required": (' not in file.read_text("utf-8")
