import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0


@dataclass
class Talk:
    """A process of ours and what it says, read line by line and never waited for longer than `patience`."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)
    patience: float = DEADLINE
    _rest: bytes = b""
    _asked: set[int] = field(default_factory=set)

    def until(self, wanted: str) -> str:
        """The first line that holds `wanted` and was not asked for before; processes speak in no fixed order."""
        deadline = time.monotonic() + self.patience
        while True:
            for index, line in enumerate(self.lines):
                if wanted in line and index not in self._asked:
                    self._asked.add(index)
                    return line
            assert self.process.stdout is not None
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 65_536) if ready else b""
            assert more, f"{wanted!r} was never said, only: {self.lines}"
            *lines, self._rest = (self._rest + more).split(b"\n")
            self.lines += [line.decode() for line in lines]

    def rest(self) -> list[str]:
        """All that is said up to the end of the process."""
        said, _ = self.process.communicate(timeout=self.patience)
        self.lines += (self._rest + said).decode().splitlines()
        self._rest = b""
        return self.lines

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@pytest.fixture
def start() -> Iterator[Callable[..., Talk]]:
    """Run Python code, or a module with `-m`, from the root of the project."""
    talks: list[Talk] = []

    def run(*words: str, **environment: str) -> Talk:
        process = subprocess.Popen(  # noqa: S603 - our own Python and code
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        talks.append(Talk(process))
        return talks[-1]

    yield run
    for talk in talks:
        if talk.process.poll() is None:
            talk.process.kill()
        talk.process.communicate(timeout=DEADLINE)


class Watched:
    """Another's process, watched from before its end: its number alone might come to mean a different one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def gone(self, within: float = DEADLINE) -> bool:
        readable, _, _ = select.select([self._descriptor], [], [], within)
        return bool(readable)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def watch() -> Iterator[Callable[[int], Watched]]:
    watched: list[Watched] = []

    def begin(pid: int) -> Watched:
        watched.append(Watched(pid))
        return watched[-1]

    yield begin
    for one in watched:
        if not one.gone(0):
            os.kill(one.pid, signal.SIGKILL)
        one.close()
