import subprocess
import sys
from pathlib import Path

import pytest

from models.fault import Fault
from models.settings import SettingsError

PROGRAM = """
import sys
from models.fault import Fault
fault = Fault.from_env({"MODE": "embedded", "FAULT_AT": sys.argv[1]})
for step in ("claimed", "planned", "claimed", "claimed"):
    print(step, flush=True)
    fault.mark(step)
"""


def steps_lived(fault_at: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", PROGRAM, fault_at]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    return ended.returncode, ended.stdout.split()


def test_a_process_dies_at_the_marked_step() -> None:
    assert steps_lived("planned") == (-9, ["claimed", "planned"])


def test_a_process_dies_at_the_passing_that_is_named() -> None:
    assert steps_lived("claimed:3") == (-9, ["claimed", "planned", "claimed", "claimed"])


def test_a_step_that_is_never_passed_kills_nobody() -> None:
    assert steps_lived("claimed:4") == (0, ["claimed", "planned", "claimed", "claimed"])


@pytest.mark.parametrize("environ", [{}, {"MODE": "embedded"}, {"MODE": "production", "FAULT_AT": ""}])
def test_without_fault_at_a_mark_does_nothing(environ: dict[str, str]) -> None:
    Fault.from_env(environ).mark("claimed")


@pytest.mark.parametrize("mode", [{}, {"MODE": "production"}])
def test_only_the_embedded_mode_takes_a_fault(mode: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="FAULT_AT"):
        Fault.from_env({"FAULT_AT": "claimed", **mode})


@pytest.mark.parametrize("spelled", ["Claimed", "claimed:", "claimed:0", "claimed:-1", "claimed:two", ":1", "a b"])
def test_a_fault_that_cannot_be_read_is_refused(spelled: str) -> None:
    with pytest.raises(SettingsError, match="FAULT_AT"):
        Fault.from_env({"MODE": "embedded", "FAULT_AT": spelled})
