"""Worker processes that may be killed, on a Redis that may be too."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest

from tests.servers import RedisServer
from workers.queue import QueueSettings, Relay

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WITHIN = 10.0


@pytest.fixture
def settings(redis_server: RedisServer) -> QueueSettings:
    return QueueSettings(redis_server.url)


@pytest.fixture
def relay(settings: QueueSettings) -> Iterator[Relay]:
    relay = Relay(settings)
    relay.start()
    yield relay
    relay.end()
    relay.join(WITHIN)


def eventually(true: Callable[[], object], within: float = WITHIN) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        pause.wait(0.005)


class WorkerProcess:
    """A worker of ours with a stand-in for the job; what it tells about its runs can be waited for."""

    def __init__(self, url: str, threads: int, **environ: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(HERE / "stand_in.py")],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "REDIS_URL": url, "WORKER_THREADS": str(threads)}
            | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.pid = self._process.pid
        self.log: list[str] = []
        self._told: queue.Queue[dict[str, Any]] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_told, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_told(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(json.loads(line))

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        self.log.extend(self._process.stderr)

    def next(self, within: float = 10.0) -> dict[str, Any]:
        """The next thing the worker tells: opened, started, done or closed."""
        try:
            return self._told.get(timeout=within)
        except queue.Empty:
            raise AssertionError("the worker tells nothing:\n" + "".join(self.log)) from None

    def started(self, within: float = 10.0) -> UUID:
        return self._wait("started", within)

    def done(self, within: float = 10.0) -> UUID:
        return self._wait("done", within)

    def _wait(self, what: str, within: float) -> UUID:
        while (told := self.next(within))["what"] != what:
            pass
        return UUID(told["job"])

    def opened(self) -> Self:
        assert self.next()["what"] == "opened"
        return self

    def end_a_thread(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("die\n")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def release(self, count: int = 1) -> None:
        """Let jobs end that hold on (WAIT=yes)."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n" * count)

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def wait(self, within: float = 30.0) -> int:
        code = self._process.wait(within)
        for reader in self._readers:
            reader.join(within)
        return code

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


class StartWorker:
    def __init__(self, url: str) -> None:
        self._url = url
        self.workers: list[WorkerProcess] = []

    def __call__(self, threads: int = 4, **environ: str) -> WorkerProcess:
        worker = WorkerProcess(self._url, threads, **environ)
        self.workers.append(worker)
        return worker


@pytest.fixture
def start_worker(redis_server: RedisServer) -> Iterator[StartWorker]:
    start = StartWorker(redis_server.url)
    try:
        yield start
    finally:
        for worker in start.workers:
            worker.close()
