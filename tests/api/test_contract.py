"""The description against the running server: whatever is sent, nothing answers what it does not say."""

import asyncio
import ipaddress
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from uuid import UUID

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error, response_headers_conformance
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.openapi import describe
from api.routes import ROUTES, Route
from api.settings import ApiSettings
from models import approval
from models.event import Actor
from models.vocabulary import Act
from tests.api.house import House
from tests.api.test_notification import tell
from tests.people import Person, give_device, give_terms

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS = ApiSettings(mode="embedded", host="", port=0, public_url="http://127.0.0.1", throttle_key=b"")
ENDLESS = {"stream", "ready"}
"""A stream has tests of its own; readiness answers 503 here, as it should without a worker."""
ASKED = [route for route in ROUTES if route.name not in ENDLESS]


@cache
def schema() -> Any:
    return schemathesis.openapi.from_dict(describe(ROUTES, SETTINGS))


def send(route: Route, mode: GenerationMode, examples: int, ask: Callable[[Any, int], None]) -> None:
    """Runs in a thread: both the requests and hypothesis wait in place, and the server has the loop."""
    cases = schema()[route.path][route.method].as_strategy(generation_mode=mode)

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases, st.integers(0, 2**32 - 1))
    def all_of_them(case: Any, address: int) -> None:
        ask(case, address)

    all_of_them()


async def contract(house: House, route: Route, mode: GenerationMode, examples: int) -> None:
    person = await house.hire(roles=("global_administrator",), is_operator=True)
    await house.open_session(person, "t", strength=2)
    version = await give_terms(house.db, house.organization_id, house.clock.now)
    await tell(house, person, 3)
    line = (await house.ask("GET", "/notifications", token="t")).json["items"][0]
    known: Mapping[str, str] = {
        "device_id": str(await give_device(house.db, person, house.clock.now, platform="pocket")),
        "notification_id": line["id"],
        "language": "nl",
        "picture": "logo-on-light",
        "version_id": str(version.id),
        "terms_id": str(version.terms_id),
        "approval_id": str(await submit(house, person)),
    }
    url = str(house.client.make_url("/"))

    def ask(case: Any, address: int) -> None:
        if address % 2:
            # What exists is found by no chance: every second request is about something that is there.
            for name in known.keys() & (case.path_parameters or {}).keys():
                case.path_parameters[name] = known[name]
        # Each from elsewhere, so that the flood limits do not answer for everybody.
        headers = {"Authorization": "Bearer t", "X-Forwarded-For": str(ipaddress.IPv4Address(address))}
        case.call_and_validate(base_url=url, headers=headers, checks=CHECKS, timeout=20)

    await asyncio.to_thread(send, route, mode, examples, ask)


async def submit(house: House, person: Person) -> UUID:
    """A removal that waits for a second person."""
    device_id = await give_device(house.db, person, house.clock.now)
    async with house.db.write() as tx:
        submitted = await approval.submit(
            tx,
            organization_id=person.organization_id,
            account_id=person.id,
            device_id=device_id,
            device_name="A phone",
            act=Act.REMOVE,
            idempotency_key="wish",
            request_hash=b"hash",
            actor=Actor("account", person.id),
            now=house.clock.now,
        )
    return submitted.id


CONTRACTS = [(route, GenerationMode.POSITIVE) for route in ASKED] + [
    (route, GenerationMode.NEGATIVE)
    for route in ASKED
    if route.body is not None or route.query is not None or route.needs_key or "_id}" in route.path
]


def name_of(value: Any) -> str:
    return f"{value.method} {value.path}" if isinstance(value, Route) else str(value.value)


@pytest.mark.parametrize(("route", "mode"), CONTRACTS, ids=name_of)
async def test_nothing_answers_what_the_description_does_not_say(
    house: House, route: Route, mode: GenerationMode
) -> None:
    await contract(house, route, mode, examples=10)


@pytest.mark.prove
@pytest.mark.together
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("route", "mode"), CONTRACTS, ids=name_of)
async def test_nor_does_it_in_the_long_run(house: House, route: Route, mode: GenerationMode) -> None:
    await contract(house, route, mode, examples=100)
