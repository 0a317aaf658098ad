"""Fleets of simulated devices: `python -m platforms.simulation serve` for the demo, `load` for numbers.

Knows no platform: a folder whose `simulator.py` offers what `Simulator` says is driven like every other.
Whoever imports this pays for nothing that is not used: launch asks it for keys alone.
"""

import argparse
import asyncio
import json
import os
import plistlib
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast
from urllib.parse import urlsplit
from uuid import uuid4

if TYPE_CHECKING:
    import ssl

    import httpx

    from platforms.base import DeviceReply, DeviceRequest

Transport = Callable[[str, str, Mapping[str, str], bytes], Awaitable[tuple[int, Mapping[str, str], bytes]]]
"""(method, url, headers, body) → (status, headers with lower-case names, body). Raises OSError when the road is cut."""

PATIENCE: Final = 0.5
"""Seconds before a device tries again what was cut; it doubles this by itself."""
LONGEST_PAUSE: Final = 2.0
"""Seconds between two looks for an api that is not up yet."""
TRIES: Final = 5
"""Of a request that was refused for now; the api says itself how long to wait, at most `LONGEST_WAIT`."""
LONGEST_WAIT: Final = 60.0
AT_ONCE: Final = 32
"""Devices that enrol at the same time."""
MANIFEST: Final = "demo.json"


# What a platform's simulator offers


class Wake(Protocol):
    @property
    def address(self) -> str: ...


class Device(Protocol):
    service: Any
    patience: float | None
    saved: Callable[[], None] | None
    enrolled: bool
    effects: Counter[str]
    """How often each command really did something, by its name on the wire."""
    passcode: str | None
    """What opens it now; on a work profile, what opens that."""
    complaints: list[str]
    """What the server did that a real device would not understand."""
    habits: Any
    """`losing_answers`, `losing_results`, `repeating`, `refusing` and what else the platform has."""

    @property
    def address(self) -> str: ...
    @property
    def certificate(self) -> bytes | None: ...
    @property
    def secrets(self) -> tuple[bytes, ...]: ...
    def signed(self, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with which this device would say `body`, whatever it is."""

    async def open_link(self, url: str) -> None: ...
    async def check_in(self) -> None: ...
    async def check_out(self) -> None: ...
    def a_push(self) -> Wake:
        """For a driver that has no push service."""

    async def wake(self, push: Any, /) -> None: ...
    async def poll(self) -> None: ...
    async def go_online(self) -> None: ...
    def state(self) -> dict[str, Any]: ...


class Simulator(Protocol):
    """The module `platforms.<name>.simulator`."""

    EnrollmentFailed: type[Exception]

    def new_device(self, transport: Transport) -> Device: ...
    def restore(self, state: Mapping[str, Any], transport: Transport) -> Device: ...
    def wake_service(self, keys: Path, port: int) -> AbstractAsyncContextManager[Any]: ...
    def demo_keys(self, now: datetime) -> tuple[Mapping[str, bytes], Mapping[str, str]]: ...


def simulator(platform: str) -> Simulator:
    return cast("Simulator", import_module(f"platforms.{platform}.simulator"))


def simulated() -> list[str]:
    """The platforms that have a simulator, by name."""
    return sorted(file.parent.name for file in Path(__file__).parent.glob("*/simulator.py"))


class Fleet:
    """Devices by address, for a driver that has the wakes in its own hands."""

    def __init__(self, devices: Iterable[Device]) -> None:
        self.devices = tuple(devices)
        self._by_address = {device.address: device for device in self.devices}

    async def answer(self, push: Wake) -> None:
        """From wake to the empty answer. Raises KeyError for a stranger's address."""
        if push.address not in self._by_address:
            # A device may have taken a new address meanwhile.
            self._by_address = {device.address: device for device in self.devices}
        await self._by_address[push.address].wake(push)


# Roads to the server


class HttpRoad:
    """Real HTTP/1.1, connections kept. `tls` carries a client certificate where devices prove themselves by it."""

    def __init__(self, tls: "ssl.SSLContext | None" = None, *, connections: int = 100) -> None:
        self._tls = tls
        self._connections = connections
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        import httpx  # noqa: PLC0415 - as the module says

        limits = httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        verify = True if self._tls is None else self._tls
        self._client = httpx.AsyncClient(verify=verify, limits=limits, timeout=30.0, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        import httpx  # noqa: PLC0415 - loaded by now

        if self._client is None:
            raise RuntimeError("the road is not open")
        try:
            answer = await self._client.request(method, url, headers=dict(headers), content=body)
        except httpx.TransportError as error:
            raise OSError(f"the server cannot be reached: {type(error).__name__}") from error
        return answer.status_code, answer.headers, answer.content


def in_process(
    talk: "Callable[[DeviceRequest], Awaitable[DeviceReply]]", certificate: Callable[[], bytes | None] | None = None
) -> Transport:
    """The same talk without a network; `certificate` is what TLS would have proven."""
    from platforms.base import DeviceRequest  # noqa: PLC0415 - as the module says

    async def transport(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        path = urlsplit(url).path.partition("/devices/")[2].partition("/")[2]
        proven = None if certificate is None else certificate()
        reply = await talk(DeviceRequest(method, path, dict(headers), body, proven))
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body

    return transport


# Keys of the demo


def make_demo_keys(folder: Path) -> dict[str, Path]:
    """What embedded mode needs to know devices and push services that exist on this machine alone.

    Answers settings' names (`X_FILE`) and their files. What is whole already is not touched and costs nothing.
    """
    manifest = folder / MANIFEST
    if manifest.exists():
        known = {name: folder / file for name, file in json.loads(manifest.read_text()).items()}
        missing = [path for path in known.values() if not path.exists()]
        if not missing:
            return known
        raise FileNotFoundError(f"{missing[0]} is gone: restore it, or remove {folder} and what was enrolled with it")
    from platforms.identity import make_ca  # noqa: PLC0415 - made once in the life of a data folder

    now = datetime.now(UTC)  # noqa: TID251 - certificates of a machine's own, made by its own clock
    certificate, key = make_ca("Devices of this machine alone", now).pem()
    files: dict[str, bytes] = {"device-ca.crt": certificate.encode(), "device-ca.key": key.value}
    settings = {"DEVICE_CA_CERTIFICATE_FILE": "device-ca.crt", "DEVICE_CA_KEY_FILE": "device-ca.key"}
    for name in simulated():
        more, named = simulator(name).demo_keys(now)
        files |= more
        settings |= named
    for name, content in files.items():
        write_private(folder / name, content)
    # Last: a start that was cut short begins again, with keys that fit together.
    write_private(manifest, json.dumps(settings).encode())
    return {name: folder / file for name, file in settings.items()}


def write_private(path: Path, content: bytes) -> None:
    """For the owner alone, and never half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


# The api, as the devices' owners use it


class ApiRefused(Exception):
    """The api said no, or something that it does not promise."""


@dataclass(frozen=True, slots=True)
class Person:
    account: str
    password: str = field(repr=False)
    totp_secret: str | None = field(repr=False)


class Api:
    """A polite client: it waits for an api that is not up yet, and as long as it is told to."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self._client = client

    async def sign_in(self, person: Person) -> str:
        """A session's token."""
        given = {"account": person.account, "password": person.password}
        status, answer = await self.ask("POST", "/api/v1/sessions", given)
        if status != 202:
            return str(answer["token"])
        import pyotp  # noqa: PLC0415 - only who has a second factor pays for it

        if person.totp_secret is None:
            raise ApiRefused(f"{person.account} has a second factor that we were not told of")
        method = next((method for method in answer["methods"] if method["kind"] == "totp"), answer["methods"][0])
        authenticator, tried = pyotp.TOTP(person.totp_secret), set[str]()
        while len(tried) < TRIES:
            now = datetime.now(UTC)  # noqa: TID251 - an authenticator goes by its own clock
            # A code is taken once: the one of the last step leaves the one of now to the person.
            codes = (authenticator.at(now, counter_offset=-1), authenticator.at(now))
            code = next((code for code in codes if code not in tried), None)
            if code is None:
                await asyncio.sleep(0.5)
                continue
            tried.add(code)
            given = {"method_id": method["id"], "code": code}
            path = "/api/v1/sessions/current/second-factor"
            try:
                _, signed_in = await self.ask("POST", path, given, answer["token"])
            except ApiRefused:
                continue
            return str(signed_in["token"])
        raise ApiRefused(f"no code of {person.account} was taken")

    async def enroll(self, token: str, platform: str, name: str, ownership: str) -> tuple[str, str]:
        """The device's id, and the link to open on it."""
        given = {"platform": platform, "name": name, "ownership": ownership}
        _, answer = await self.ask("POST", "/api/v1/enrollments", given, token)
        return str(answer["device_id"]), str(answer["url"])

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        token: str | None = None,
        key: str | None = None,
    ) -> tuple[int, Any]:
        """Raises ApiRefused."""
        import httpx  # noqa: PLC0415 - loaded by now

        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        if key is not None:
            headers["idempotency-key"] = key
        pause, refused = 0.05, 0
        while True:
            try:
                answer = await self._client.request(method, path, json=body, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if answer.status_code not in {429, 502, 503}:
                break
            refused += 1
            if refused == TRIES:
                break
            wait = answer.headers.get("retry-after", "")
            await asyncio.sleep(min(float(wait) if wait.isdigit() else LONGEST_PAUSE, LONGEST_WAIT))
        if answer.status_code >= 300:
            raise ApiRefused(f"{method} {path} was answered with {answer.status_code} {_code(answer)}")
        return answer.status_code, answer.json() if answer.content else None


def _code(answer: "httpx.Response") -> str:
    try:
        return str(answer.json()["code"])
    except (ValueError, KeyError, TypeError):
        return ""


# The demo's fleet


@dataclass(frozen=True, slots=True)
class Wanted:
    account: str
    name: str
    platform: str
    ownership: str = "corporate"


@dataclass(slots=True)
class Entry:
    """One device of the fleet, as its file keeps it. `url`: a link that was asked for and perhaps not opened."""

    file: Path
    wanted: Wanted
    device_id: str
    url: str
    device: Device

    def save(self) -> None:
        wanted = {"account": self.wanted.account, "name": self.wanted.name, "platform": self.wanted.platform}
        content = {**wanted, "device_id": self.device_id, "url": self.url, "device": self.device.state()}
        write_private(self.file, plistlib.dumps(content, fmt=plistlib.FMT_BINARY))

    @classmethod
    def load(cls, file: Path, transport: Transport) -> Self:
        content = plistlib.loads(file.read_bytes())
        wanted = Wanted(content["account"], content["name"], content["platform"])
        device = simulator(wanted.platform).restore(content["device"], transport)
        entry = cls(file, wanted, content["device_id"], content["url"], device)
        device.saved = entry.save
        return entry


@dataclass(slots=True)
class Household:
    """The people of the demo, the devices they should have, and the ones they have."""

    people_file: Path
    state: Path
    fleet: Sequence[Wanted]
    transport: Transport
    services: Mapping[str, Any]
    entries: list[Entry] = field(default_factory=list)

    def load(self) -> None:
        for file in sorted(self.state.glob("*.plist")):
            entry = Entry.load(file, self.transport)
            self._reach(entry)
            self.entries.append(entry)

    async def go_online(self) -> None:
        """The push service here kept nothing while it was down, so each device looks for itself."""

        async def wake_up(device: Device) -> None:
            await device.go_online()
            await device.poll()

        await asyncio.gather(*(wake_up(entry.device) for entry in self.entries))

    async def complete(self, api: Api) -> None:
        """Enrol what is missing until nothing is: a server in trouble is no reason to begin a device anew."""
        pause = PATIENCE
        while not await self._complete(api):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _complete(self, api: Api) -> bool:
        """Half-done ones first, then the ones that nobody began. False: some are still to be tried again."""
        for entry in self._half_done():
            try:
                await self._finish(entry)
            except simulator(entry.wanted.platform).EnrollmentFailed:
                # Its link is used up or too old: it is begun anew below.
                entry.file.unlink()
                self.entries.remove(entry)
            except OSError as error:
                self._later(entry, error)
        there = {(entry.wanted.account, entry.wanted.name, entry.wanted.platform) for entry in self.entries}
        missing = [want for want in self.fleet if (want.account, want.name, want.platform) not in there]
        people = {person["account"]: person for person in _people(self.people_file)["people"]}
        tokens: dict[str, str] = {}
        for want in missing:
            if want.account not in people:
                raise ApiRefused(f"{want.account} is none of the people in {self.people_file}")
            if want.account not in tokens:
                tokens[want.account] = await api.sign_in(_person(people[want.account]))
            await self._enroll(api, tokens[want.account], want)
        for token in tokens.values():
            await api.ask("DELETE", "/api/v1/sessions/current", token=token)
        return not self._half_done()

    def _half_done(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.device.enrolled and entry.url]

    def _later(self, entry: Entry, error: OSError) -> None:
        sys.stderr.write(f"{entry.wanted.name} is not enrolled yet: {error}\n")

    def tell(self) -> None:
        """Write the devices' ids beside their owners' names, when something changed."""
        content = _people(self.people_file)
        before = json.dumps(content)
        for person in content["people"]:
            mine = [
                {"id": entry.device_id, "name": entry.wanted.name, "platform": entry.wanted.platform}
                for entry in self.entries
                if entry.wanted.account == person["account"]
            ]
            # What nobody simulates is not ours to strike out.
            person["devices"] = mine + [each for each in person["devices"] if each["platform"] not in simulated()]
        if json.dumps(content) != before:
            write_private(self.people_file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())

    async def _enroll(self, api: Api, token: str, want: Wanted) -> None:
        device_id, url = await api.enroll(token, want.platform, want.name, want.ownership)
        device = simulator(want.platform).new_device(self.transport)
        entry = Entry(self.state / f"{device_id}.plist", want, device_id, url, device)
        # Written before the link is opened: a start that is cut short finishes this device and makes no second one.
        entry.save()
        device.saved = entry.save
        self._reach(entry)
        self.entries.append(entry)
        try:
            await self._finish(entry)
        except simulator(want.platform).EnrollmentFailed as error:
            raise ApiRefused(f"{want.name} could not be enrolled: {error}") from error
        except OSError as error:
            self._later(entry, error)

    async def _finish(self, entry: Entry) -> None:
        """A link is opened once; what follows is said again, as a phone's owner tries again."""
        failed = simulator(entry.wanted.platform).EnrollmentFailed
        if entry.device.certificate is None:
            await entry.device.open_link(entry.url)
        for left in reversed(range(TRIES)):
            try:
                await entry.device.check_in()
                break
            except failed:
                if not left:
                    raise
                await asyncio.sleep(PATIENCE)
        entry.url = ""
        entry.save()

    def _reach(self, entry: Entry) -> None:
        entry.device.service = self.services[entry.wanted.platform]
        entry.device.patience = PATIENCE


def _people(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _person(entry: Mapping[str, Any]) -> Person:
    return Person(entry["account"], entry["password"], entry.get("totp_secret"))


def _wanted(file: Path) -> list[Wanted]:
    return [Wanted(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]


async def _services(stack: AsyncExitStack, keys: Path, port: int) -> dict[str, Any]:
    """One push service per platform that needs one, on ports that follow each other. Raises OSError."""
    names = simulated()
    return {
        name: await stack.enter_async_context(simulator(name).wake_service(keys, port + place))
        for place, name in enumerate(names)
    }


async def serve(arguments: argparse.Namespace, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        road = await stack.enter_async_context(HttpRoad())
        services = await _services(stack, arguments.keys, arguments.push_port)
        household = Household(arguments.people, arguments.state, _wanted(arguments.fleet), road, services)
        household.load()
        online = asyncio.ensure_future(household.go_online())
        stack.callback(online.cancel)
        api = Api(await stack.enter_async_context(_client(arguments.api)))
        ready = asyncio.ensure_future(_until(stop, household.complete(api)))
        await ready
        if not stop.is_set():
            household.tell()
            _say(f"ready devices={len(household.entries)}")
        await stop.wait()


async def _until(stop: asyncio.Event, work: Any) -> None:
    """Do it, unless we are told to stop first."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not doing.done():
            doing.cancel()
    if doing.done():
        doing.result()


def _client(api: str) -> "httpx.AsyncClient":
    import httpx  # noqa: PLC0415 - as the module says

    return httpx.AsyncClient(base_url=api, timeout=30.0, trust_env=False)


# Load


@dataclass(slots=True)
class Tally:
    """Seconds of each talk, and what went wrong by kind."""

    seconds: list[float] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    async def time(self, work: Awaitable[None], gate: AbstractAsyncContextManager[Any] | None = None) -> None:
        """Waiting at the gate is not counted."""
        async with gate or nullcontext():
            begun = time.perf_counter()
            try:
                await work
            except Exception as error:  # noqa: BLE001 - a load run counts what goes wrong, whatever it is
                self.count(error)
            else:
                self.seconds.append(time.perf_counter() - begun)

    def count(self, error: Exception) -> None:
        self.errors[type(error).__name__] = self.errors.get(type(error).__name__, 0) + 1

    def line(self, name: str) -> str:
        wrong = " ".join(f"{kind}={count}" for kind, count in sorted(self.errors.items()))
        failed = f"errors={sum(self.errors.values())}{f' ({wrong})' if wrong else ''}"
        if not self.seconds:
            return f"{name}: done=0 {failed}"
        ordered = sorted(self.seconds)
        points = {"min": 0.0, "median": 0.5, "p99": 0.99, "max": 1.0}
        told = " ".join(f"{word}={ordered[round(p * (len(ordered) - 1))] * 1000:.1f}ms" for word, p in points.items())
        return f"{name}: done={len(ordered)} {failed} {told}"


async def drive(fleet: Fleet, pushes: Iterable[Wake]) -> Tally:
    """All at once, each from its wake to the empty answer."""
    tally = Tally()
    await asyncio.gather(*(tally.time(fleet.answer(push)) for push in pushes))
    return tally


async def load(arguments: argparse.Namespace) -> None:
    """Enrol many devices and let each be reset on the main road, by its owner, while all the others are too.

    They are this run's own and leave at its end. The push service that the server knows may be another process's: its
    wakes do not come here, so each device asks for itself, unless a port is given on which to stand in for it. Where
    the service carries the orders themselves there is no other way than to stand in for it.
    """
    platform, count = arguments.platform, arguments.devices
    people = [_person(entry) for entry in _people(arguments.people)["people"]]
    # A code is taken once in 30 seconds, so whoever has a second factor is no driver of load.
    owners = [person for person in people if person.totp_secret is None]
    if not owners:
        raise ApiRefused("everybody in the people file has a second factor: nobody can sign in often enough")
    enrolling, resetting = Tally(), Tally()
    async with AsyncExitStack() as stack:
        road = await stack.enter_async_context(HttpRoad(connections=count))
        service = None
        if arguments.push_port is not None:
            service = (await _services(stack, arguments.keys, arguments.push_port))[platform]
        api = Api(await stack.enter_async_context(_client(arguments.api)))
        gate = asyncio.Semaphore(AT_ONCE)
        owned: list[tuple[Person, str, Device]] = []

        async def leave(device: Device) -> None:
            if device.enrolled:
                await device.check_out()

        async def enroll(owner: Person, token: str, number: int) -> None:
            device_id, url = await api.enroll(token, platform, f"Load {number}", "corporate")
            device = simulator(platform).new_device(road)
            device.service, device.patience = service, PATIENCE
            await device.open_link(url)
            await device.check_in()
            stack.push_async_callback(leave, device)
            owned.append((owner, device_id, device))

        for place, owner in enumerate(owners):
            token = await api.sign_in(owner)
            numbers = range(place, count, len(owners))
            await asyncio.gather(*(enrolling.time(enroll(owner, token, number), gate) for number in numbers))
            await api.ask("DELETE", "/api/v1/sessions/current", token=token)
        _say(enrolling.line("enroll"))
        waits: list[Awaitable[None]] = []
        for owner, device_id, device in owned:
            try:
                job, token = await _reset(api, owner, device_id)
            except ApiRefused as error:
                resetting.count(error)
                continue
            asking = device if service is None else None
            waits.append(asyncio.ensure_future(resetting.time(_settled(api, token, job, asking))))
            if len(waits) >= AT_ONCE:
                await waits.pop(0)
        await asyncio.gather(*waits)
        _say(resetting.line("reset"))


async def _reset(api: Api, owner: Person, device_id: str) -> tuple[str, str]:
    """The main road: the job's path and the token that may ask for it."""
    token = await api.sign_in(owner)
    opened = {"device_id": device_id, "act": "reset_passcode"}
    _, window = await api.ask("POST", "/api/v1/re-sign-ins", opened, token)
    given = {"account": owner.account, "password": owner.password, "re_sign_in": window["token"]}
    _, signed_in = await api.ask("POST", "/api/v1/sessions", given)
    path = f"/api/v1/devices/{device_id}/reset-passcode"
    _, job = await api.ask("POST", path, token=signed_in["token"], key=str(uuid4()))
    return f"/api/v1/jobs/{job['id']}", str(signed_in["token"])


async def _settled(api: Api, token: str, path: str, asking: Device | None) -> None:
    """Raises ApiRefused when it did not end well. `asking`: a device that nobody wakes."""
    while True:
        _, job = await api.ask("GET", path, token=token)
        if job["state"] not in {"queued", "waiting", "delivered"}:
            break
        if asking is not None and job["state"] != "queued":
            await asking.poll()
        await asyncio.sleep(0.02)
    if job["state"] != "succeeded":
        raise ApiRefused(f"the job ended {job['state']}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m platforms.simulation", description="Simulated devices.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, summary in (("serve", "the demo's fleet, until it is told to stop"), ("load", "many devices at once")):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("--api", required=True, metavar="URL")
        command.add_argument("--people", required=True, type=Path, metavar="FILE", help="as `make run` writes it")
        stands_in, where = name == "serve", "where IOS_PUSH_URL leads"
        if not stands_in:
            where += ", to stand in for the push service; without it the devices ask for themselves"
        command.add_argument("--keys", required=stands_in, type=Path, metavar="DIR")
        command.add_argument("--push-port", required=stands_in, type=int, metavar="N", help=where)
        if stands_in:
            command.add_argument("--state", required=True, type=Path, metavar="DIR")
            command.add_argument(
                "--fleet", required=True, type=Path, metavar="FILE", help="the devices there should be"
            )
        else:
            command.add_argument("--devices", type=int, default=100, metavar="N")
            command.add_argument("--platform", choices=simulated(), required=True)
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "load":
        if (arguments.push_port is None) != (arguments.keys is None):
            raise ValueError("--push-port and --keys are given together")
        await load(arguments)
        return
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(arguments, stop)


def main(words: Sequence[str]) -> int:
    os.umask(0o077)
    arguments = _parser().parse_args(words)
    try:
        asyncio.run(_run(arguments))
    except (ApiRefused, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"the simulator cannot go on: {type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
