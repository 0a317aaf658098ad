"""`python -m launch`: everything on one machine, from nothing, below one data folder."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from launch import secrets
from launch.fleet import PEOPLE, STATE, WANTED, Fleet, missing, tell_address
from launch.process import Lock, StartFailed, spawn, tie_to_parent
from launch.redis import PrivateRedis, find_binaries
from launch.settings import LaunchSettings, local_url, reachable
from launch.supervisor import Child, Output, Supervisor, readiness
from models.migrate import is_current
from models.settings import DatabaseSettings, SettingsError

ROOT: Final = Path(__file__).resolve().parent.parent

_RUNNING: Final = 1.0
"""Seconds: one that was killed this instant has let go by then."""
_LEFT_OVER: Final = 3.0
"""Seconds: the children of one that was killed are gone by then, where the system ends them with it."""
_PYTHON_CHILDREN: Final = (
    # The worker finishes its jobs first; workers/settings.py says how long it may take.
    ("worker", "workers", 32.0),
    ("tick", "workers.tick", 8.0),
    ("api", "api", 8.0),
)
"""Name, module, seconds to end. Stopped in the opposite order: no new work comes in while old is done."""
_DEVICES_NEW: Final = 30.0
_DEVICES_KNOWN: Final = 2.0
"""Seconds we wait for the simulated devices before we say that we are up without them: in a new data folder, where they
are enrolled first, and in one that had them already."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    os.umask(0o077)
    try:
        if "--with-parent" in arguments:
            tie_to_parent(os.getppid())
        settings = LaunchSettings.from_env(environ, Path.cwd())
        with _alone(settings) as family:
            _claim(settings.host, settings.port)
            secrets.write(settings.keys, secrets.OURS)
            _migrate(settings, family)
            patience = _DEVICES_KNOWN
            devices = Fleet.load(settings.data)
            if devices is None:
                patience = _DEVICES_NEW
                devices = _demo(settings, family)
            tell_address(settings.data, settings.public_url)
            _supervisor(settings, devices, patience, family, environ.get("PATH", "")).run()
    except (SettingsError, StartFailed, OSError) as error:
        sys.stderr.write(f"Latchkey cannot start: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


@contextmanager
def _alone(settings: LaunchSettings) -> Iterator[Lock]:
    """Be the only one in this data folder. Yields the lock that every child inherits."""
    for folder in (settings.data, settings.log):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    path = settings.data / "launch.lock"
    ours = Lock.take(path, patience=_RUNNING)
    if ours is None:
        raise StartFailed(
            f"it is running already on {settings.data} (process {path.read_text()}). Stop that one, or choose another "
            f"folder: DATA_DIR={settings.data.name}2 make run"
        )
    ours.note(str(os.getpid()))
    path = settings.data / "children.lock"
    family = Lock.take(path, patience=_LEFT_OVER)
    if family is None:
        raise StartFailed(f"processes of an earlier run still work on {settings.data}: end them (lsof {path})")
    yield family


def _claim(host: str, port: int) -> None:
    """Raise StartFailed when the address cannot be had, with what to do about it."""
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} on {host} is taken by another program."
        elif error.errno == errno.EACCES:
            why = f"port {port} is for the system's own programs."
        else:
            raise StartFailed(f"HOST={host} is no address of this machine ({error.strerror})") from error
        free = next((other for other in range(max(port, 8080) + 1, 65_536) if _is_free(host, other)), None)
        raise StartFailed(f"{why} Choose another: PORT={free} make run") from error


def _is_free(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError:
        return False
    return True


def _bind(host: str, port: int) -> None:
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: a port that only remembers closed connections is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)


def _migrate(settings: LaunchSettings, family: Lock) -> None:
    """In a process of its own, and only when there is something to do: what it imports would outlast its use."""
    if is_current(DatabaseSettings(settings.database_url)):
        return
    environment = {**settings.machine, "DATABASE_URL": settings.database_url}
    _once("models.migrations", environment, family)


def _demo(settings: LaunchSettings, family: Lock) -> Fleet:
    """In a process of its own for the same reason."""
    # It asks Redis nothing.
    _once("launch.demo", settings.environment(""), family)
    made = Fleet.load(settings.data)
    if made is None:
        raise StartFailed(f"the demo in {settings.data} is not whole")
    return made


def _once(module: str, environment: Mapping[str, str], family: Lock) -> None:
    process = _python([module], environment, family, sys.stderr.fileno())
    if process.wait() != 0:
        raise StartFailed(f"{module} ended with status {process.returncode}")


def _python(words: Sequence[str], environment: Mapping[str, str], family: Lock, output: int) -> subprocess.Popen[bytes]:
    return spawn(
        [sys.executable, "-m", *words],
        environment=environment,
        directory=ROOT,
        output=output,
        keep=[family.descriptor],
    )


def _supervisor(
    settings: LaunchSettings, devices: Fleet, patience: float, family: Lock, search_path: str
) -> Supervisor:
    children = []
    redis_url = settings.redis_url
    if redis_url is None:
        private = PrivateRedis(settings.data / "redis", find_binaries(search_path))
        redis_url = private.url
        children.append(Child("redis", private.start, stop=private.stop, quiet=True))
    push_port = devices.push_port(settings.data)
    environment = {**settings.environment(redis_url), **devices.environment(settings.data, push_port)}
    for name, module, grace in _PYTHON_CHILDREN:
        children.append(Child(name, partial(_python, (module,), environment, family), grace=grace))
    # The devices' side knows none of our secrets.
    start = partial(_python, _simulation(settings, push_port), {**settings.machine, "PYTHONUNBUFFERED": "1"}, family)
    children.append(Child("simulator", start))
    return Supervisor(
        children,
        Output(settings.log, sys.stdout.fileno(), max(len(child.name) for child in children)),
        partial(_missing, settings, time.monotonic() + patience),
        f"Latchkey is up: {settings.public_url} (accounts: {settings.data / PEOPLE}; Ctrl-C stops it)",
    )


def _simulation(settings: LaunchSettings, push_port: int) -> list[str]:
    told = {
        "api": local_url(settings.host, settings.port),
        "people": settings.data / PEOPLE,
        "state": settings.data / STATE,
        "fleet": settings.data / WANTED,
        "keys": settings.keys,
        "push-port": push_port,
    }
    return ["platforms.simulation", "serve", *(f"--{name}={value}" for name, value in told.items())]


def _missing(settings: LaunchSettings, devices_until: float) -> str | None:
    """What is not ready yet. Devices are waited for a while: without them everything works but their answers."""
    absent = readiness(reachable(settings.host), settings.port)
    if absent is None and time.monotonic() < devices_until:
        return missing(settings.data)
    return absent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
