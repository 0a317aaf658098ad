"""Every platform that has a folder, held to the contract by a talk with its own simulator."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.vocabulary import Act, JobState, Join, Ownership, Reason
from platforms import registry, simulation
from platforms.base import Courier, DeviceRequest, EnrollmentState, Facts
from platforms.errors import KeysNeeded, Unreadable
from tests.platforms.conformance import NAMES, NOW, House, Stage, environ, parameters, spellings, stage, texts

EVERY = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def staged(name: str, keys: Path) -> AsyncIterator[Stage]:
    async with asyncio.timeout(20), stage(name, keys) as staged:
        yield staged


async def reset(staged: Stage) -> Any:
    job = staged.house.ask(staged.bond)
    await staged.house.wake(staged.channel, job)
    await staged.service.idle()  # type: ignore[attr-defined] - every stand-in has it
    return job


def test_every_platform_has_a_simulator_and_its_folders_name(keys: Path) -> None:
    handlers = registry.load(environ(keys))

    assert sorted(handlers) == NAMES
    assert all(handler.name == name for name, handler in handlers.items())


@EVERY
async def test_a_device_is_woken_takes_its_order_and_reports_it(name: str, staged: Stage) -> None:
    job = await reset(staged)

    assert job.state is JobState.SUCCEEDED
    rule = staged.house.handler.passcode
    assert rule is not None
    assert job.outcomes[0].passcode_kind is rule.kind
    assert staged.device.effects == Counter({job.name: 1})
    assert staged.device.complaints == []


@EVERY
async def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_happens_twice(name: str, staged: Stage) -> None:
    staged.device.habits.losing_answers = 2

    job = await reset(staged)
    while not job.outcomes:
        await staged.device.poll()

    assert job.state is JobState.SUCCEEDED
    assert len(job.outcomes) == 1
    assert staged.device.effects == Counter({job.name: 1})


@EVERY
async def test_a_device_that_repeats_itself_changes_nothing(name: str, staged: Stage) -> None:
    staged.device.habits.repeating = True

    jobs = [await reset(staged) for _ in range(3)]

    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3
    assert staged.device.effects == Counter({job.name: 1 for job in jobs})


@EVERY
async def test_a_refusal_of_the_device_ends_the_job_with_a_known_reason(name: str, staged: Stage) -> None:
    staged.device.habits.refusing = True

    job = await reset(staged)

    assert job.state is JobState.FAILED
    assert job.outcomes[0].reason in set(Reason)
    assert staged.device.effects == Counter()


@EVERY
async def test_a_resend_is_the_same_command(name: str, staged: Stage) -> None:
    if isinstance(staged.channel, Courier):
        # Nothing is sent again before a look: what a courier took is found by the name that it gave.
        job = await reset(staged)
        found = await staged.channel.look(job.command, staged.bond.view, frozenset())
        assert found is not None
        assert found.receipt == job.command.receipt
        return
    staged.device.habits.losing_answers = 1
    job = await reset(staged)
    first = [value for value in staged.house.seen if getattr(value, "body", b"")][-1]
    staged.device.habits.losing_answers = 1

    await staged.device.poll()

    again = [value for value in staged.house.seen if getattr(value, "body", b"")][-1]
    assert job.state is JobState.DELIVERED
    assert isinstance(first, type(again))
    assert again.body == first.body  # type: ignore[attr-defined] - chosen for having one


@EVERY
async def test_what_a_device_says_is_read_alike_each_time(name: str, staged: Stage) -> None:
    await reset(staged)
    handler = staged.house.handler

    for request in staged.house.requests:
        assert handler.identify(request, NOW) == handler.identify(request, NOW)


@EVERY
async def test_nothing_secret_is_printed(name: str, staged: Stage) -> None:
    before = staged.device.secrets
    await reset(staged)
    house = staged.house
    link = house.bonds[0].link.encode()

    printed = "\n".join(repr(value) for value in [*house.seen, house.handler, staged.bond.view, staged.device])

    for secret in {*before, *staged.device.secrets, link}:
        assert not any(spelling in printed for spelling in spellings(secret))


@EVERY
async def test_only_known_acts_are_offered_and_only_known_reasons_given(name: str, staged: Stage) -> None:
    handler = staged.house.handler
    traits = [{}, staged.bond.traits, dict.fromkeys(staged.bond.traits, "nonsense")]

    for ownership, version, state, seen in product(Ownership, (None, "", "18.6", "x"), EnrollmentState, traits):
        offers = handler.offers(Facts(ownership, version, state, seen))

        assert set(offers) <= set(Act)
        assert all(reason is None or reason in set(Reason) for reason in offers.values())
        assert state is EnrollmentState.ENROLLED or None not in offers.values()
    assert handler.offers(staged.bond.facts)[Act.RESET_PASSCODE] is None


@EVERY
async def test_a_device_can_be_recognized_once_it_is_enrolled(name: str, staged: Stage) -> None:
    """A2: what it is, who made it, and how it came in."""
    bond, handler = staged.bond, staged.house.handler

    assert all((bond.os_name, bond.os_version, bond.maker, bond.model)), bond
    assert handler.management(bond.facts).join in Join
    nothing_known = Facts(Ownership.PERSONAL, None, EnrollmentState.PENDING, {})
    assert (handler.management(nothing_known).join, handler.management(nothing_known).compliant) == (
        Join.REGISTERED,
        None,
    )


@EVERY
def test_texts_are_complete_in_both_languages(name: str, keys: Path) -> None:
    english, dutch = texts(name).values()
    rule = registry.load(environ(keys))[name].passcode  # type: ignore[index] - names are its keys

    assert english.keys() == dutch.keys()
    assert all(parameters(english[key]) == parameters(dutch[key]) for key in english)
    assert all(key.startswith(f"{name}.") for key in english)
    assert rule is None or {rule.done_key, rule.reveal_key} <= english.keys()
    assert {f"{name}.privacy.{ownership}" for ownership in Ownership} <= english.keys()


@EVERY
async def test_a_link_is_opened_once(name: str, staged: Stage) -> None:
    simulator = simulation.simulator(name)
    house = staged.house
    second = simulator.new_device(simulation.in_process(house.talk))

    with pytest.raises(simulator.EnrollmentFailed):
        await second.open_link(f"http://127.0.0.1:8080/devices/{name}/enroll/{house.bonds[0].link}")


REQUESTS: dict[str, tuple[House, Any, list[DeviceRequest]]] = {}


def recorded(name: str, keys: Path) -> tuple[House, Any, list[DeviceRequest]]:
    """One whole talk, kept: what the fuzz below breaks."""

    async def record() -> tuple[House, Any, list[DeviceRequest]]:
        async with stage(name, keys) as staged:
            await reset(staged)
            return staged.house, staged.device, list(staged.house.requests)

    if name not in REQUESTS:
        REQUESTS[name] = asyncio.run(record())
    return REQUESTS[name]


def read(house: House, request: DeviceRequest) -> None:
    """Unreadable is the one error there is, beside the wish for keys."""
    try:
        caller = house.handler.identify(request, NOW)
        if caller.link is None and caller.reply is None:
            house.handler.read(caller, house.bonds[0].view, NOW)
    except (Unreadable, KeysNeeded):
        return


@st.composite
def broken(draw: st.DrawFn, body: bytes) -> bytes:
    """A body with a hole, a bit turned, something in between, or another altogether."""
    at = draw(st.integers(0, len(body)))
    until = draw(st.integers(at, len(body)))
    strange = draw(st.binary(max_size=40) | st.sampled_from([b"<dict>", b"<array>", b"bplist00", b"]]>", b"&x;"]))
    return draw(st.sampled_from([body[:at], body[:at] + strange + body[until:], strange, body[at:]]))


@EVERY
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_bytes_are_unreadable_and_nothing_worse(name: str, keys: Path, data: st.DataObject) -> None:
    house, device, requests = recorded(name, keys)
    request = data.draw(st.sampled_from(requests))
    body = data.draw(broken(request.body))

    read(house, replace(request, body=body))
    # What the device itself signed gets past its identity, to the parser.
    read(house, replace(request, body=body, headers=device.signed(body, request.headers)))


@EVERY
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_heads_are_unreadable_and_nothing_worse(name: str, keys: Path, data: st.DataObject) -> None:
    house, _, requests = recorded(name, keys)
    request = data.draw(st.sampled_from(requests))
    headers = dict(request.headers)
    for header in data.draw(st.sets(st.sampled_from(sorted(headers)))):
        headers[header] = data.draw(st.text(max_size=40) | st.just(headers[header][1:]) | st.just(""))
    path = data.draw(st.just(request.path) | st.text(max_size=40))
    method = data.draw(st.sampled_from([request.method, "GET", "POST", "PUT", "DELETE"]))
    certificate = data.draw(st.none() | st.binary(max_size=60))

    read(house, DeviceRequest(method, path, headers, request.body, certificate))
