"""The measures run to their end on small numbers: what they find then proves nothing, and is not judged here."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "figures"), [("sign-in", 12)])
def test_a_measure_runs_to_its_end(name: str, figures: int) -> None:
    ran = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "bench", "--only", name, "--quick", "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    _, _, _, head, _, *lines = ran.stdout.splitlines()
    assert head.startswith("| Figure |")
    assert len(lines) == figures
