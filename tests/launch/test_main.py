import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.process import Lock

HEAVY = {"aiohttp", "alembic", "asyncio", "cryptography", "dramatiq", "email", "http", "httpx", "redis", "sqlalchemy"}
MODULES_LOADED = "import sys, launch.__main__; print(*sorted(sys.modules))"


def test_the_launcher_loads_nothing_heavy(start: Callable) -> None:
    loaded = set(start("-c", MODULES_LOADED).rest()[-1].split())

    assert not HEAVY & loaded


def test_a_taken_port_is_named_and_a_free_one_too_before_anything_starts(start: Callable, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        talk = start("-m", "launch", PORT=str(port), HOST="127.0.0.1", DATA_DIR=str(tmp_path / "data"))

        (said,) = talk.rest()

    assert talk.process.returncode == 1
    assert said.startswith(
        f"Latchkey cannot start: port {port} on 127.0.0.1 is taken by another program. Choose another:"
    )
    offered = int(said.split("PORT=")[1].split()[0])
    socket.create_server(("127.0.0.1", offered)).close()
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"children.lock", "launch.lock", "log"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "eighty", "PORT must be a number from 1 to 65535, not 'eighty'"),
        ("HOST", "203.0.113.7", "HOST=203.0.113.7 is no address of this machine"),
        ("DATA_DIR", "/dev/null/data", "Not a directory"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(start: Callable, tmp_path: Path, name: str, value: str, said: str) -> None:
    talk = start("-m", "launch", **{"DATA_DIR": str(tmp_path / "data"), name: value})

    (line,) = talk.rest()

    assert talk.process.returncode == 1
    assert line.startswith("Latchkey cannot start: ")
    assert said in line


def test_one_data_folder_is_for_one_at_a_time(start: Callable, tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "launch.lock")
    assert lock is not None
    lock.note("4711")

    talk = start("-m", "launch", DATA_DIR=str(tmp_path))

    (line,) = talk.rest()
    assert talk.process.returncode == 1
    assert f"it is running already on {tmp_path} (process 4711)" in line
    lock.leave()


def test_children_of_an_earlier_run_are_waited_for_and_then_named(start: Callable, tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "children.lock")
    assert lock is not None

    talk = start("-m", "launch", DATA_DIR=str(tmp_path))

    assert f"lsof {tmp_path}/children.lock" in talk.rest()[-1]
    lock.leave()


def test_the_data_folder_is_made_private_even_if_it_was_not(start: Callable, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        start("-m", "launch", PORT=str(taken.getsockname()[1]), DATA_DIR=str(tmp_path)).rest()

    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_started_with_a_parent_it_ends_with_the_parent(start: Callable, watch: Callable) -> None:
    talk = start(
        "-c",
        "import signal, subprocess, sys\n"
        "code = 'import os, signal; from launch.process import tie_to_parent; tie_to_parent(os.getppid())\\n'\n"
        "code += 'print(\"pid\", os.getpid(), flush=True); signal.pause()'\n"
        "subprocess.Popen([sys.executable, '-c', code]); signal.pause()",
    )
    child = watch(int(talk.until("pid").split()[1]))

    os.kill(talk.process.pid, signal.SIGKILL)

    assert child.gone()
