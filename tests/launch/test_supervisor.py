import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launch.supervisor import Output, readiness
from tests.servers import free_port

SUPERVISE = """
import json, os, sys
from functools import partial
from pathlib import Path
from launch.process import spawn
from launch.supervisor import Child, Output, Pace, Supervisor

told = json.loads(sys.argv[1])
folder = Path(told["folder"])
environment = {"PYTHONUNBUFFERED": "1", "FOLDER": str(folder)}

def start(code, output):
    return spawn([sys.executable, "-S", "-c", code], environment=environment, directory=folder, output=output)

children = [
    Child(name, partial(start, code), grace=told.get("grace", 10.0), quiet=name in told.get("quiet", ()))
    for name, code in told["children"].items()
]
missing = folder / "missing"
look = lambda: missing.read_text() if missing.exists() else None
Supervisor(children, Output(folder, 1, 6), look, "all is up", Pace(**told.get("pace", {}))).run()
print("over")
"""
WAITS = "import os, signal; print('pid', os.getpid()); signal.pause()"
# Waited for, not handled: a signal that comes just before `pause` would never be heard.
ENDS_WELL = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print('pid', os.getpid())
signal.sigwait({signal.SIGTERM})
print('bye')
"""
STUBBORN = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('pid', os.getpid())
while True: signal.pause()
"""
LEAVES_ONE_BEHIND = """
import os, signal, sys
if os.fork() == 0:
    print('left', os.getpid())
    while True: signal.pause()
open(os.environ['FOLDER'] + '/fifo').read()
sys.exit(4)
"""


@pytest.fixture
def supervise(start: Callable, tmp_path: Path) -> Callable:
    def run(children: dict[str, str], **told: object) -> object:
        return start("-c", SUPERVISE, json.dumps({"folder": str(tmp_path), "children": children, **told}))

    return run


def pid_in(line: str) -> int:
    return int(line.rsplit(maxsplit=1)[-1])


def test_each_line_carries_its_process_and_is_kept_in_a_file(supervise: Callable, tmp_path: Path) -> None:
    loud = "import sys; print('out'); print('error', file=sys.stderr); print('no end', end='')\n" + WAITS
    talk = supervise({"one": loud, "second": WAITS})
    talk.until("second | pid")
    talk.until("one    | no end")

    talk.signal(signal.SIGTERM)
    talk.rest()

    assert {"one    | out", "one    | error"} <= set(talk.lines)
    assert (tmp_path / "one.log").read_text().splitlines()[:2] == ["out", "error"]


def test_what_a_quiet_child_says_is_in_its_file_alone(supervise: Callable, tmp_path: Path) -> None:
    talk = supervise({"hushed": "print('a word')\n" + WAITS, "other": WAITS}, quiet=["hushed"])
    talk.until("other  | pid")
    talk.until("all is up")

    talk.signal(signal.SIGTERM)

    assert not [line for line in talk.rest() if "a word" in line]
    assert (tmp_path / "hushed.log").read_text().startswith("a word\n")


def test_a_line_without_end_does_not_fill_the_memory(supervise: Callable) -> None:
    talk = supervise({"one": "print('x' * 1_000_000, end='')\n" + WAITS})
    talk.until("one    | " + "x" * 65_536)

    talk.signal(signal.SIGTERM)

    assert max(len(line) for line in talk.rest()) < 3 * 65_536


def test_a_log_file_that_has_grown_is_laid_aside_once(tmp_path: Path) -> None:
    output = Output(tmp_path, os.open(os.devnull, os.O_WRONLY), 3)
    megabyte = b"x" * 1024 * 1024

    for _ in range(20):
        output.line("one", megabyte)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.log", "one.log.1"]
    assert all(path.stat().st_size < 10 * len(megabyte) for path in tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    output.close()


def test_a_child_that_ends_is_started_again_after_a_pause_that_grows(supervise: Callable) -> None:
    pace = {"first_pause": 0.01, "longest_pause": 0.05}
    talk = supervise({"one": "print('here'); raise SystemExit(3)"}, pace=pace)

    said = [talk.until("ended with") for _ in range(5)]

    assert [line.split()[-2] for line in said] == ["0.01", "0.02", "0.04", "0.05", "0.05"]
    assert said[0] == "launch | one ended with status 3; starting again in 0.01 s"
    assert len([line for line in talk.lines if line == "one    | here"]) == 5


def test_a_child_that_has_settled_begins_again_with_the_first_pause(supervise: Callable) -> None:
    talk = supervise({"one": "raise SystemExit(3)"}, pace={"first_pause": 0.01, "settled": 0.0})

    said = [talk.until("ended with") for _ in range(3)]

    assert [line.split()[-2] for line in said] == ["0.01", "0.01", "0.01"]


def test_a_killed_child_is_replaced_and_the_others_are_left_alone(supervise: Callable, watch: Callable) -> None:
    talk = supervise({"one": WAITS, "other": WAITS}, pace={"first_pause": 0.01})
    pids = sorted([talk.until("| pid"), talk.until("| pid")])
    killed, other = watch(pid_in(pids[0])), watch(pid_in(pids[1]))

    os.kill(killed.pid, signal.SIGKILL)

    assert "one was ended by SIGKILL" in talk.until("starting again")
    assert pid_in(talk.until("one    | pid")) != killed.pid
    assert not other.gone(0)


def test_what_an_ended_child_left_behind_ends_too(supervise: Callable, watch: Callable, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    talk = supervise({"one": LEAVES_ONE_BEHIND})
    left = watch(pid_in(talk.until("left")))

    (tmp_path / "fifo").write_text("end now")

    talk.until("one ended with status 4")
    assert left.gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_children_the_last_first(
    supervise: Callable, watch: Callable, number: signal.Signals
) -> None:
    talk = supervise({"one": ENDS_WELL, "two": ENDS_WELL, "three": ENDS_WELL})
    children = [watch(pid_in(talk.until("| pid"))) for _ in range(3)]

    talk.signal(number)
    said = talk.rest()

    assert [line for line in said if "bye" in line] == ["three  | bye", "two    | bye", "one    | bye"]
    assert said[-1] == "over"
    assert talk.process.returncode == 0
    assert all(child.gone(0) for child in children)


def test_a_child_that_will_not_end_is_killed_after_its_grace(supervise: Callable) -> None:
    talk = supervise({"one": STUBBORN}, grace=0.05)
    talk.until("| pid")

    talk.signal(signal.SIGTERM)

    assert talk.rest()[-2:] == ["launch | one did not end and is killed", "over"]


def test_a_second_signal_kills_without_waiting(supervise: Callable) -> None:
    talk = supervise({"one": STUBBORN, "two": STUBBORN}, grace=3600.0)
    talk.until("| pid")
    talk.until("| pid")

    talk.signal(signal.SIGINT)
    talk.signal(signal.SIGTERM)

    assert talk.rest()[-1] == "over"


def test_kill_9_of_the_supervisor_leaves_nothing_alive(supervise: Callable, watch: Callable) -> None:
    talk = supervise({"one": WAITS, "two": STUBBORN})
    children = [watch(pid_in(talk.until("| pid"))) for _ in range(2)]

    talk.signal(signal.SIGKILL)

    assert all(child.gone() for child in children)


def test_it_says_once_that_all_is_up(supervise: Callable, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    missing.write_text("the worker")
    talk = supervise({"one": WAITS}, pace={"patience": 0.0, "look": 0.001})
    assert talk.until("not ready") == "launch | still not ready after 0 s: the worker"

    missing.unlink()
    talk.until("all is up")
    talk.signal(signal.SIGTERM)

    said = talk.rest()
    assert said.count("all is up") == 1
    assert len([line for line in said if "not ready" in line]) == 1


def test_it_goes_on_when_nobody_reads_its_screen(supervise: Callable, tmp_path: Path, watch: Callable) -> None:
    talk = supervise({"one": ENDS_WELL})
    child = watch(pid_in(talk.until("| pid")))
    assert talk.process.stdout is not None
    talk.process.stdout.close()
    talk.process.stdout = None

    talk.signal(signal.SIGTERM)

    assert child.gone()
    talk.process.wait(20)
    assert "bye" in (tmp_path / "one.log").read_text()


@pytest.fixture
def answers() -> Iterator[Callable[[bytes], int]]:
    """A server for one request, which answers what it is given."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threads = []

        def serve(answer: bytes) -> int:
            def once() -> None:
                line, _ = server.accept()
                with line:
                    line.recv(4096)
                    line.sendall(answer)

            threads.append(threading.Thread(target=once))
            threads[-1].start()
            port: int = server.getsockname()[1]
            return port

        yield serve
        for thread in threads:
            thread.join()


def test_ready_is_what_answers_200(answers: Callable[[bytes], int]) -> None:
    assert readiness("127.0.0.1", answers(b"HTTP/1.1 200 OK\r\n\r\n{}")) is None


def test_what_is_not_ready_is_said_in_its_own_words(answers: Callable[[bytes], int]) -> None:
    port = answers(b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"redis": "away"}')

    assert readiness("127.0.0.1", port) == '/readyz says {"redis": "away"}'


@pytest.mark.parametrize("answer", [b"", b"nonsense", b"HTTP/1.1", b"SSH 200 \r\n\r\n", b"HTTP/1.1 2000 \r\n\r\n"])
def test_what_does_not_speak_http_is_not_ready(answers: Callable[[bytes], int], answer: bytes) -> None:
    assert readiness("127.0.0.1", answers(answer)) is not None


def test_a_server_that_is_not_there_is_not_ready() -> None:
    assert "does not answer" in (readiness("127.0.0.1", free_port()) or "")
