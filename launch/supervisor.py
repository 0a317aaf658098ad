"""Keeps the processes of one machine alive, shows what they say, and ends them in order.

One thread, on purpose: children are tied to the thread that starts them, and a fork wants no other threads.
"""

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from launch.process import StartFailed

_LONGEST_LINE: Final = 65_536
_LOG_FILE: Final = 8 * 1024 * 1024
"""Bytes a child's log file may reach before it is laid aside as the one older file."""


@dataclass(frozen=True, slots=True)
class Child:
    """What to keep alive. `start` is given the descriptor for all output; None: it lives already and is not ours."""

    name: str
    start: Callable[[int], subprocess.Popen[bytes] | None]
    stop: Callable[[], None] | None = None
    """How to end it, where SIGTERM to its group is not the way."""
    quiet: bool = False
    """What it says goes to its log file alone."""
    grace: float = 8.0
    """Seconds it has to end before it is killed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. The pause before a restart doubles from `first_pause` to `longest_pause`, and a child that has lived for
    `settled` starts over."""

    first_pause: float = 0.25
    longest_pause: float = 10.0
    settled: float = 30.0
    look: float = 0.1
    """Between two looks at readiness."""
    patience: float = 30.0
    """Until we say that it is still not ready, and why."""


class Output:
    """Where lines go: all of them to the screen with their process's name, and each process's own to its log file."""

    def __init__(self, folder: Path, screen: int, width: int) -> None:
        self._folder = folder
        self._screen: int | None = screen
        self._width = width
        self._files: dict[str, int] = {}

    def line(self, name: str, text: bytes, *, quiet: bool = False) -> None:
        if not quiet:
            self.show(f"{name:<{self._width}} | ".encode() + text)
        # A full disk must not end what works.
        with contextlib.suppress(OSError):
            os.write(self._file(name), text + b"\n")

    def show(self, text: bytes) -> None:
        if self._screen is None:
            return
        try:
            _write_all(self._screen, text + b"\n")
        except OSError:
            # Nobody looks any more; the files still have it all.
            self._screen = None

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _file(self, name: str) -> int:
        descriptor = self._files.get(name)
        path = self._folder / f"{name}.log"
        if descriptor is not None and os.fstat(descriptor).st_size > _LOG_FILE:
            os.close(descriptor)
            path.replace(path.with_suffix(".log.1"))
            descriptor = None
        if descriptor is None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._files[name] = descriptor
        return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@dataclass(slots=True)
class _Running:
    """A child and how it goes. `process` None and `again_at` None: not ours, or ended for good."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    pipe: int | None = None
    rest: bytes = b""
    began: float = 0.0
    pause: float = 0.0
    again_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """`run` starts the children in order, keeps them, and ends them in the opposite order when a signal comes."""

    children: Sequence[Child]
    output: Output
    look: Callable[[], str | None]
    """What is not ready yet, in words; None when all is."""
    welcome: str
    """The one line for when it is."""
    pace: Pace = field(default_factory=Pace)
    _running: list[_Running] = field(default_factory=list, init=False)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector, init=False)
    _signals: int = field(default=0, init=False)
    """How often we were asked to stop."""
    _look_at: float | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)
    _complained: bool = field(default=False, init=False)

    def run(self) -> None:
        with self._listening():
            try:
                self._began = time.monotonic()
                for child in self.children:
                    running = _Running(child)
                    self._running.append(running)
                    self._start(running)
                    if self._signals:
                        break
                self._look_at = time.monotonic()
                while not self._signals:
                    self._wait(self._due())
                    self._restart()
                    self._look()
            finally:
                self._stop_all()
                self._selector.close()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Signals wake the selector through a socket, so that none falls between looking and sleeping."""
        hear, tell = socket.socketpair()
        hear.setblocking(False)
        tell.setblocking(False)
        self._selector.register(hear, selectors.EVENT_READ, None)
        # A hang-up that was to be ignored (nohup) stays ignored; Ctrl-C is heard even where a shell turned it off.
        asked = [
            number for number in _STOPPING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        ]
        before = {number: signal.signal(number, self._asked) for number in asked}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _heard)
        old_wake = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            hear.close()
            tell.close()

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _say(self, text: str) -> None:
        self.output.line("launch", text.encode())

    def _start(self, running: _Running) -> None:
        running.again_at = None
        running.began = time.monotonic()
        # Not inheritable: each child is handed its own end, by number.
        read, write = os.pipe()
        try:
            running.process = running.child.start(write)
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        os.set_blocking(read, False)
        running.pipe = read
        self._selector.register(read, selectors.EVENT_READ, running)

    def _later(self, running: _Running, why: str) -> None:
        now = time.monotonic()
        if now - running.began >= self.pace.settled:
            running.pause = 0.0
        running.pause = min(max(running.pause * 2, self.pace.first_pause), self.pace.longest_pause)
        running.again_at = now + running.pause
        self._say(f"{running.child.name} {why}; starting again in {running.pause:g} s")

    def _due(self) -> float | None:
        """When something is to be done, even if nobody says anything until then."""
        moments = (self._look_at, *(running.again_at for running in self._running))
        return min((moment for moment in moments if moment is not None), default=None)

    def _wait(self, due: float | None) -> None:
        """Until a signal, an output, an end, or `due`; pass on what was said, and see who ended."""
        patience = None if due is None else max(0.0, due - time.monotonic())
        for key, _ in self._selector.select(patience):
            if key.data is not None:
                self._forward(key.data)
                continue
            with contextlib.suppress(BlockingIOError):
                while os.read(key.fd, 512):
                    pass
        for running in self._running:
            self._reap(running)

    def _restart(self) -> None:
        for running in self._running:
            if running.again_at is None or running.again_at > time.monotonic():
                continue
            try:
                self._start(running)
            except StartFailed as error:
                self._later(running, str(error))

    def _forward(self, running: _Running) -> bool:
        """Pass on what a child said. False when there is no more now."""
        if running.pipe is None:
            return False
        try:
            data = os.read(running.pipe, _LONGEST_LINE)
        except BlockingIOError:
            return False
        if not data:
            self._close(running)
            return False
        *lines, running.rest = (running.rest + data).split(b"\n")
        if len(running.rest) > _LONGEST_LINE:
            lines.append(running.rest)
            running.rest = b""
        for line in lines:
            self.output.line(running.child.name, line, quiet=running.child.quiet)
        return True

    def _close(self, running: _Running) -> None:
        if running.pipe is None:
            return
        self._selector.unregister(running.pipe)
        os.close(running.pipe)
        running.pipe = None
        if running.rest:
            self.output.line(running.child.name, running.rest, quiet=running.child.quiet)
            running.rest = b""

    def _reap(self, running: _Running) -> None:
        if running.process is None:
            return
        status = running.process.poll()
        if status is None:
            return
        # What it started and left behind is in its group.
        _signal_group(running.process.pid, signal.SIGKILL)
        running.process = None
        while self._forward(running):
            pass
        self._close(running)
        if not self._signals:
            self._later(running, _ending(status))

    def _look(self) -> None:
        if self._look_at is None or self._look_at > time.monotonic() or self._signals:
            return
        missing = self.look()
        now = time.monotonic()
        if missing is None:
            self._look_at = None
            self.output.show(self.welcome.encode())
            return
        self._look_at = now + self.pace.look
        if not self._complained and now - self._began > self.pace.patience:
            self._complained = True
            self._say(f"still not ready after {self.pace.patience:g} s: {missing}")

    def _stop_all(self) -> None:
        """One after the other, the last started first: nobody loses what it still needs while it finishes."""
        self._signals = max(self._signals, 1)
        for running in reversed(self._running):
            running.again_at = None
            if running.child.stop is not None:
                running.child.stop()
            elif running.process is not None:
                self._stop(running, running.process)
            while self._forward(running):
                pass
            self._close(running)
            running.process = None

    def _stop(self, running: _Running, process: subprocess.Popen[bytes]) -> None:
        _signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + running.child.grace
        # A second signal means: now.
        while running.process is not None and time.monotonic() < deadline and self._signals < 2:
            self._wait(deadline)
        if running.process is not None:
            self._say(f"{running.child.name} did not end and is killed")
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()


_STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _heard(_number: int, _frame: FrameType | None) -> None:
    """A handler must stand, else the signal would not reach the wake-up socket."""


def _signal_group(group: int, number: signal.Signals) -> None:
    # macOS answers EPERM for a group whose last member is a zombie.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _ending(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def readiness(host: str, port: int, path: str = "/readyz", patience: float = 1.0) -> str | None:
    """None when `path` answers 200, else what it says instead. By hand: an HTTP client would double our start."""
    try:
        with socket.create_connection((host, port), timeout=patience) as line:
            line.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            answer = b""
            while len(answer) < _LONGEST_LINE and (more := line.recv(8192)):
                answer += more
    except OSError as error:
        return f"http://{host}:{port} does not answer ({error.strerror or error})"
    head, _, body = answer.partition(b"\r\n\r\n")
    if re.match(rb"HTTP/1\.[01] 200\b", head):
        return None
    return f"{path} says {body.decode(errors='replace').strip() or head.decode(errors='replace')}"
