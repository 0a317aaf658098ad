"""The fleet driver: keys that are made once, a household that is completed once, numbers that are told."""

import asyncio
import json
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from platforms import registry, simulation
from platforms.simulation import Api, ApiRefused, Fleet, Household, Person, Tally, Wanted, drive
from tests.platforms.conformance import NAMES, ROOT, House, environ

# Behind an emulator stands another company's server, and no device speaks to us.
SPEAK_TO_US = [name for name in NAMES if not (ROOT / name / "emulator").exists()]
SECRET = pyotp.random_base32()
PEOPLE = {
    "url": "http://127.0.0.1:8080",
    "people": [
        {"account": "kim", "password": "one", "totp_secret": None, "roles": [], "devices": []},
        {"account": "sam", "password": "two", "totp_secret": SECRET, "roles": [], "devices": []},
        {"account": "ada", "password": "three", "totp_secret": None, "roles": ["administrator"], "devices": []},
    ],
}


class NoService:
    """Nobody is pushed to here."""

    def listen(self, *_: object) -> None: ...
    def away(self, *_: object) -> None: ...
    def channel(self, _: str) -> str:
        return ""


class Server:
    """The api's part of enrolling, in memory."""

    def __init__(self, keys: Path, name: str) -> None:
        self.name = name
        self.house = House(registry.load(environ(keys))[name])  # type: ignore[index] - names are its keys
        self.asked: list[str] = []
        self.unavailable = 0
        self.codes: list[str] = []

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer), base_url="http://api")

    def answer(self, request: httpx.Request) -> httpx.Response:  # noqa: PLR0911 - a table of addresses
        self.asked.append(f"{request.method} {request.url.path}")
        if self.unavailable:
            self.unavailable -= 1
            return httpx.Response(503, headers={"retry-after": "0"}, json={"code": "busy"})
        body = json.loads(request.content or b"{}")
        match request.method, request.url.path:
            case "POST", "/api/v1/sessions" if body["password"] == "two":
                methods = [{"id": "m", "kind": "totp", "label": "", "default": True}]
                return httpx.Response(202, json={"token": "half", "methods": methods})
            case "POST", "/api/v1/sessions" if body["password"] in {"one", "three"}:
                return httpx.Response(201, json={"token": "whole"})
            case "POST", "/api/v1/sessions/current/second-factor":
                sound = body["method_id"] == "m" and pyotp.TOTP(SECRET).verify(body["code"], valid_window=1)
                # A code is taken once.
                sound = sound and body["code"] not in self.codes
                self.codes.append(body["code"])
                sound = sound and request.headers["authorization"] == "Bearer half"
                return httpx.Response(201 if sound else 401, json={"token": "whole"})
            case "POST", "/api/v1/enrollments" if request.headers["authorization"] == "Bearer whole":
                url = self.house.invite()
                return httpx.Response(201, json={"device_id": str(self.house.bonds[-1].id), "url": url})
            case "DELETE", "/api/v1/sessions/current":
                return httpx.Response(204)
        return httpx.Response(401, json={"code": "sign_in_failed"})


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(params=SPEAK_TO_US)
def server(keys: Path, request: pytest.FixtureRequest) -> Server:
    return Server(keys, request.param)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    file = tmp_path / "demo.json"
    file.write_text(json.dumps(PEOPLE))
    return file


def seen(people: Path, state: Path) -> tuple[Any, int, set[int]]:
    """What the people file says, and who may read it and the devices' files."""
    modes = {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()}
    return json.loads(people.read_text()), stat.S_IMODE(people.stat().st_mode), modes


def household(server: Server, people: Path, transport: simulation.Transport | None = None) -> Household:
    road = transport or simulation.in_process(server.house.talk)
    fleet = [Wanted("kim", "Kim's phone", server.name), Wanted("sam", "Sam's phone", server.name)]
    return Household(people, people.parent / "simulator", fleet, road, {server.name: NoService()})


def test_demo_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    first = simulation.make_demo_keys(tmp_path / "keys")
    contents = {path: path.read_bytes() for path in first.values()}

    second = simulation.make_demo_keys(tmp_path / "keys")

    assert second == first
    assert contents == {path: path.read_bytes() for path in second.values()}
    assert {"DEVICE_CA_CERTIFICATE_FILE", "DEVICE_CA_KEY_FILE"} <= first.keys()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_demo_keys_that_are_gone_in_part_are_not_replaced(tmp_path: Path) -> None:
    made = simulation.make_demo_keys(tmp_path)
    made["DEVICE_CA_KEY_FILE"].unlink()

    with pytest.raises(FileNotFoundError, match="is gone"):
        simulation.make_demo_keys(tmp_path)


async def test_a_household_gets_the_devices_that_it_wants_and_their_owners_are_told(
    server: Server, people: Path
) -> None:
    home = household(server, people)

    async with server.client() as client:
        await home.complete(Api(client))
    home.tell()

    told, mode, modes = seen(people, home.state)
    assert [[device["name"] for device in person["devices"]] for person in told["people"]] == [
        ["Kim's phone"],
        ["Sam's phone"],
        [],
    ]
    assert {device["id"] for person in told["people"] for device in person["devices"]} == {
        str(bond.id) for bond in server.house.bonds
    }
    assert told["people"][1]["totp_secret"] == SECRET
    assert (mode, modes) == (0o600, {0o600})


async def test_a_restart_finds_everything_and_asks_the_api_for_nothing(server: Server, people: Path) -> None:
    async with server.client() as client:
        await household(server, people).complete(Api(client))
        asked = len(server.asked)
        again = household(server, people)
        again.load()
        await again.complete(Api(client))

    assert len(server.asked) == asked
    assert len(again.entries) == 2
    job = server.house.ask(server.house.bonds[0])
    await again.go_online()
    assert job.outcomes


async def test_a_start_that_was_cut_short_is_finished_and_no_second_device_made(server: Server, people: Path) -> None:
    talk = simulation.in_process(server.house.talk)

    async def dies(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if method != "GET":
            raise asyncio.CancelledError
        return await talk(method, url, headers, body)

    async with server.client() as client:
        with pytest.raises(asyncio.CancelledError):
            await household(server, people, dies).complete(Api(client))
        again = household(server, people)
        again.load()
        await again.complete(Api(client))

    assert len(server.house.bonds) == 2
    assert all(bond.state == "enrolled" for bond in server.house.bonds)


@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_server_in_trouble_is_tried_again_and_no_device_begun_anew(
    server: Server, people: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """`before`: messages of the enrolment that go well first."""
    talk, answers, going_well = simulation.in_process(server.house.talk), [503, 500, None], [None] * before

    async def in_trouble(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if going_well:
            going_well.pop()
        elif answers:
            status = answers.pop(0)
            if status is None:
                raise OSError("cut")
            return status, {}, b""
        return await talk(method, url, headers, body)

    monkeypatch.setattr(simulation, "PATIENCE", 0.0)
    home = household(server, people, in_trouble)
    async with asyncio.timeout(20), server.client() as client:
        await home.complete(Api(client))

    assert answers == []
    assert len(server.house.bonds) == len(home.entries) == 2
    assert all(bond.state == "enrolled" for bond in server.house.bonds)


async def test_a_link_that_is_used_up_is_asked_for_anew(server: Server, people: Path) -> None:
    talk = simulation.in_process(server.house.talk)

    async def dies(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        await talk(method, url, headers, body)
        raise asyncio.CancelledError

    async with server.client() as client:
        with pytest.raises(asyncio.CancelledError):
            await household(server, people, dies).complete(Api(client))
        again = household(server, people)
        again.load()
        await again.complete(Api(client))

    assert len(server.house.bonds) == 3
    assert len(again.entries) == len(list(again.state.iterdir())) == 2


async def test_the_code_of_now_is_left_to_the_person(server: Server) -> None:
    async with server.client() as client:
        signs_in = Api(client).sign_in
        first, second = await signs_in(Person("sam", "two", SECRET)), await signs_in(Person("sam", "two", SECRET))

    assert first == second == "whole"
    totp, now = pyotp.TOTP(SECRET), datetime.now(UTC)
    # The test may run over the end of a step.
    assert server.codes[0] in {totp.at(now, counter_offset=-1), totp.at(now, counter_offset=-2)}
    assert server.codes[-1] in {totp.at(now), totp.at(now, counter_offset=-1)}


async def test_a_busy_api_is_asked_again(server: Server) -> None:
    server.unavailable = 2
    async with server.client() as client:
        token = await Api(client).sign_in(Person("kim", "one", None))

    assert token == "whole"
    assert len(server.asked) == 3


async def test_a_wrong_password_is_said_without_it(server: Server) -> None:
    async with server.client() as client:
        with pytest.raises(ApiRefused, match="401 sign_in_failed") as refused:
            await Api(client).sign_in(Person("kim", "not this one", None))

    assert "not this one" not in str(refused.value)
    assert "not this one" not in repr(Person("kim", "not this one", None))


async def test_many_devices_at_once_are_answered_and_counted(server: Server) -> None:
    simulator = simulation.simulator(server.name)
    devices: list[Any] = []
    for _ in range(20):
        device = simulator.new_device(simulation.in_process(server.house.talk))
        await device.open_link(server.house.invite())
        await device.check_in()
        devices.append(device)
    jobs = [server.house.ask(bond) for bond in server.house.bonds]

    tally = await drive(Fleet(devices), [device.a_push() for device in devices])

    assert all(len(job.outcomes) == 1 for job in jobs)
    assert len(tally.seconds) == 20
    assert tally.line("reset").startswith("reset: done=20 errors=0 min=")


async def test_what_goes_wrong_is_counted_by_its_kind() -> None:
    async def fails() -> None:
        raise OSError

    tally = Tally()
    await tally.time(fails())

    assert tally.line("x") == "x: done=0 errors=1 (OSError=1)"


def test_figures_are_those_of_the_sorted_seconds() -> None:
    tally = Tally(seconds=[0.003, 0.001, 0.002])

    assert tally.line("x") == "x: done=3 errors=0 min=1.0ms median=2.0ms p99=3.0ms max=3.0ms"
