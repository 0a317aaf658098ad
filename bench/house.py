"""A whole installation to be measured: its own PostgreSQL, Redis and push service, and our processes as they run."""

import asyncio
import base64
import os
import plistlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import floor_api
from bench.rows import Bonded, Loader, Person
from bench.wire import Road
from models import enrollment, migrate
from models.sealed import Keyring
from models.settings import DatabaseSettings, resolve_files
from models.vocabulary import Secret
from platforms.identity import DeviceCA, certificate_hash, parse_certificate
from platforms.ios import simulator
from platforms.ios.memory import Memory
from platforms.ios.push_service import PushService
from platforms.simulation import make_demo_keys, simulated
from tests.servers import PostgreSQLServer, RedisServer

ROOT: Final = Path(__file__).parents[1]
START_PATIENCE: Final = 60.0
NOBODY: Final = "https://127.0.0.1:9"
STOP_PATIENCE: Final = 15.0


def utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - rows are made by the clock that the servers will look at


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Process:
    """One of ours, running; `port` where it has one."""

    pid: int
    port: int = 0

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the process is gone")

    @property
    def cpu(self) -> float:
        """Seconds of processor that it has used."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class House:
    folder: Path
    postgresql: PostgreSQLServer
    redis_url: str
    pushes: PushService
    environ: Mapping[str, str]
    keyring: Keyring
    device_ca: DeviceCA
    quick: bool
    rounds: int
    _databases: int = field(default=0)

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def topic(self) -> str:
        return (self.keys / "push-topic.txt").read_text()

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def redis(self, number: int) -> str:
        """Another numbered database of the one Redis."""
        return f"{self.redis_url.partition('?')[0]}?db={number}"

    async def database(self, kind: str) -> Loader:
        """A new one, with our tables and the floors'."""
        self._databases += 1
        name = f"bench_{self._databases}"
        if kind == "sqlite":
            url = f"sqlite:///{self.folder}/{name}.db"
        else:
            url = self.postgresql.url(name)
            with psycopg.connect(self.postgresql.url(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}".encode())
        await asyncio.to_thread(migrate.upgrade, DatabaseSettings(url))
        engine = sa.create_engine(
            url if kind == "sqlite" else sa.make_url(url).set(drivername="postgresql+psycopg"), poolclass=sa.NullPool
        )
        with engine.begin() as made:
            floor_api.metadata.create_all(made)
        engine.dispose()
        loader = Loader(url)
        now = utc_now()
        things = ((n, 0, now) for n in range(floor_api.THINGS))
        loader.load(floor_api.thing, ("id", "count", "at"), things)
        return loader

    # Processes

    @asynccontextmanager
    async def process(
        self, *words: str, environ: Mapping[str, str] | None = None, port: int = 0
    ) -> AsyncIterator[Process]:
        """`python -m …`, from its line "ready" until the block ends."""
        log = self.folder / f"{words[0]}-{secrets.token_hex(4)}.log"
        with log.open("wb") as file:
            child = subprocess.Popen(  # noqa: S603, ASYNC220 - our own modules; it returns at once
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env={"PATH": os.defpath, **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            async with asyncio.timeout(START_PATIENCE):
                while b"ready" not in log.read_bytes():
                    if child.poll() is not None:
                        raise RuntimeError(f"{words[0]} ended at once:\n{log.read_text()}")
                    await asyncio.sleep(0.02)
            yield Process(child.pid, port)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(child.wait, STOP_PATIENCE)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()

    @asynccontextmanager
    async def api(self, database: Loader, **more: str) -> AsyncIterator[Process]:
        """`more`: settings that only this measure has."""
        port = free_port()
        environ = {
            **self.environ,
            "DATABASE_URL": database.url,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            **more,
        }
        async with self.process("api", environ=environ, port=port) as running:
            yield running

    @asynccontextmanager
    async def worker(self, database: Loader) -> AsyncIterator[Process]:
        environ = {**self.environ, "DATABASE_URL": database.url, "PUBLIC_URL": "http://127.0.0.1:1"}
        async with self.process("workers", environ=environ) as running:
            yield running

    @asynccontextmanager
    async def floor_api(self, database: Loader) -> AsyncIterator[Process]:
        port = free_port()
        async with self.process("bench.floor_api", database.url, str(port), port=port) as running:
            yield running

    @asynccontextmanager
    async def floor_worker(self, database: Loader, report: Path) -> AsyncIterator[Process]:
        words = (database.url, self.redis(1), self.pushes.url, str(self.keys), str(report))
        async with self.process("bench.floor_worker", *words) as running:
            yield running

    # Phones

    def bond(self, organization_id: Any, person: Person, phone: simulator.Iphone, now: datetime) -> Bonded:
        """What the house would remember of this phone once it had enrolled."""
        memory = Memory(phone.token, phone.push_magic, int(now.timestamp() * 1000), phone.unlock_token)
        sealed = enrollment.seal_memory(self.keyring, organization_id, person.bond_id, memory.write())
        certificate = phone.certificate
        if certificate is None:
            raise RuntimeError("the phone has no identity")
        return Bonded(phone.udid, certificate_hash(parse_certificate(certificate)), sealed)

    def phone(self, now: datetime, road: Road | None = None, port: int = 0) -> simulator.Iphone:
        """A phone that could have enrolled: with an identity of ours, P-256."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.device_ca.issue(key.public_key(), "measured", now)
        url = f"http://127.0.0.1:{port}/devices/ios"
        phone = simulator.Iphone(road or Road(port), enrolled=True)
        phone.bond = simulator.Bond(
            topic=self.topic,
            command_url=f"{url}/command",
            check_in_url=f"{url}/checkin",
            rights=8191,
            signs=True,
            checks_out=True,
            profile="measured",
            certificate=certificate.public_bytes(serialization.Encoding.DER),
            key=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return phone


def spoken(phone: simulator.Iphone, message: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """A message as the phone would send it, signed."""
    body = plistlib.dumps({"UDID": phone.udid, **message})
    return phone.signed(body, {"content-type": simulator.COMMAND_TYPE, "user-agent": "MDM/1.0"}), body


@contextmanager
def _redis() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="latchkey-"))  # a socket's path has to be short
    server = RedisServer(folder)
    try:
        yield server.start().url
    finally:
        server.close()
        shutil.rmtree(folder)


@contextmanager
def _postgresql() -> Iterator[PostgreSQLServer]:
    server = PostgreSQLServer()
    try:
        yield server.start(durable=True)
    finally:
        server.close()


@asynccontextmanager
async def open_house(*, quick: bool, rounds: int) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-bench-")))
        named = make_demo_keys(folder / "keys")
        seal = "bench:" + base64.b64encode(secrets.token_bytes(32)).decode()
        redis_url = stack.enter_context(_redis())
        pushes = await stack.enter_async_context(simulator.wake_service(folder / "keys", 0))
        environ = {
            "MODE": "embedded",
            "REDIS_URL": redis_url,
            "SEAL_KEYS": seal,
            "THROTTLE_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "AUDIT_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            # The other platforms are there and rest, where a measure does not wake them.
            **{f"{name.upper()}_PUSH_URL": NOBODY for name in simulated()},
            "IOS_PUSH_URL": pushes.url,
            "IOS_KEY": "ec",
            "LOG_LEVEL": "INFO",
            **{name: str(path) for name, path in named.items()},
        }
        files = resolve_files(environ)
        yield House(
            folder=folder,
            postgresql=stack.enter_context(_postgresql()),
            redis_url=redis_url,
            pushes=pushes,
            environ=environ,
            keyring=Keyring.from_settings(seal),
            device_ca=DeviceCA.from_pem(files["DEVICE_CA_CERTIFICATE"], Secret(files["DEVICE_CA_KEY"].encode())),
            quick=quick,
            rounds=rounds,
        )
