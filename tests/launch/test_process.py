import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.process import Lock, StartFailed, spawn


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "lock")
    assert lock is not None

    assert Lock.take(tmp_path / "lock", patience=0.05) is None

    lock.leave()
    again = Lock.take(tmp_path / "lock")
    assert again is not None
    again.leave()


def test_a_child_that_inherits_the_lock_holds_it_until_it_ends(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "lock")
    assert lock is not None
    read, write = os.pipe()
    child = spawn(
        [sys.executable, "-S", "-c", "import signal; print('up', flush=True); signal.pause()"],
        environment={},
        directory=tmp_path,
        output=write,
        keep=[lock.descriptor],
    )
    lock.leave()
    assert os.read(read, 3) == b"up\n"

    assert Lock.take(tmp_path / "lock") is None

    child.kill()
    child.wait()
    free = Lock.take(tmp_path / "lock")
    assert free is not None
    free.leave()
    os.close(read)
    os.close(write)


def test_a_lock_is_inherited_only_by_children_it_is_handed_to(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "lock")
    assert lock is not None

    assert not os.get_inheritable(lock.descriptor)
    lock.leave()


def test_a_note_replaces_the_one_before(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path / "lock")
    assert lock is not None

    lock.note("a long note")
    lock.note("short")

    assert (tmp_path / "lock").read_text() == "short"
    lock.leave()


def test_what_cannot_be_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match=r"absent: No such file"):
        spawn([str(tmp_path / "absent")], environment={}, directory=tmp_path, output=subprocess.DEVNULL)


def test_a_child_whose_parent_is_gone_already_does_not_go_on(start: Callable) -> None:
    talk = start("-c", f"from launch.process import tie_to_parent; tie_to_parent({os.getpid()}); print('tied')")
    assert talk.rest() == ["tied"]

    orphan = start("-c", "from launch.process import tie_to_parent; tie_to_parent(1)")

    assert "which started this one, is gone" in orphan.rest()[-1]
