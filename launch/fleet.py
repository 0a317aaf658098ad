"""What the processes of one data folder are told of its simulated devices. Standard library alone: every start
reads it.

`python -m launch.demo` writes it, once.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from launch.process import StartFailed
from launch.secrets import replace

PEOPLE: Final = "demo.json"
STATE: Final = "simulator"
"""The devices' own memory, a file each."""
WANTED: Final = "simulator/fleet.json"
_TOLD: Final = "simulator/settings.json"
_PORT: Final = "simulator/push-port"

_LOOPBACK: Final = "127.0.0.1"
_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Fleet:
    """`files`: settings' names and files below the data folder. `settings`: names and values. `push`: the settings that
    name the platforms' push services, in the order of their ports."""

    files: Mapping[str, str]
    settings: Mapping[str, str]
    push: tuple[str, ...]

    @classmethod
    def load(cls, data: Path) -> Self | None:
        """None: this folder has no demo yet, or not a whole one."""
        if not (data / PEOPLE).exists():
            return None
        told = _read(data / _TOLD)
        return None if told is None else cls(told["files"], told["settings"], tuple(told["push"]))

    def save(self, data: Path) -> None:
        replace(data / _TOLD, json.dumps(asdict(self), indent=2) + "\n")

    def environment(self, data: Path, port: int) -> dict[str, str]:
        return {
            **self.settings,
            **{name: str(data / file) for name, file in self.files.items()},
            **{name: f"https://{_LOOPBACK}:{port + place}" for place, name in enumerate(self.push)},
        }

    def push_port(self, data: Path) -> int:
        """The first of as many ports in a row as there are push services: the one of the last start, if it is free."""
        known = _read(data / _PORT)
        candidates = ([known] if isinstance(known, int) else []) + [0] * _TRIES
        port = next(filter(None, (_free(candidate, len(self.push)) for candidate in candidates)), None)
        if port is None:
            raise StartFailed(f"no {len(self.push)} free ports in a row on {_LOOPBACK} for the simulated push services")
        if port != known:
            replace(data / _PORT, str(port))
        return port


def tell_address(data: Path, url: str) -> None:
    """PORT may be another one this time: whoever reads the people's file finds us where we are."""
    told = _read(data / PEOPLE)
    if told is not None and told["url"] != url:
        write_people(data / PEOPLE, {**told, "url": url})


def write_people(file: Path, told: Mapping[str, Any]) -> None:
    replace(file, json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def missing(data: Path) -> str | None:
    """Which of the demo's devices is not enrolled yet, in words; None when all are."""
    told, wanted = _read(data / PEOPLE), _read(data / WANTED)
    there = set(_devices(told)) if told else set()
    absent = [want["name"] for want in wanted or () if (want["account"], want["name"]) not in there]
    return f"{', '.join(absent)}: not enrolled yet" if absent else None


def _devices(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for person in told["people"]:
        for device in person["devices"]:
            yield person["account"], device["name"]


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise StartFailed(f"{file} is not what was written there: restore it, or remove {file.parent}") from error


def _free(port: int, count: int) -> int | None:
    """`port`, or any when it is 0, if it and those behind it can be had."""
    with ExitStack() as stack:
        for place in range(max(count, 1)):
            probe = stack.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, port + place))
            except (OSError, OverflowError):
                return None
            port = port or probe.getsockname()[1]
    return port
