import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = ["run", "test", "check", "prove", "bench", "fmt", "clean"]
STAND_IN = '#!/bin/sh\necho "$@" >> asked\n'

Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["make", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 - ours

    return run


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment whose Python notes what it is asked."""
    path = tmp_path / ".venv" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text(STAND_IN)
    path.chmod(0o755)
    return path


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9].*?==[^ \\]+", (ROOT / lock).read_text(), re.MULTILINE))


def test_make_alone_lists_every_verb_with_one_line(make: Make) -> None:
    lines = make().stdout.splitlines()

    assert [line.split()[1] for line in lines] == ["help", *VERBS]
    assert all(re.fullmatch(r"  make \w+ +[A-Z].*", line) for line in lines)


def test_the_environment_is_made_once(make: Make, python: Path, tmp_path: Path) -> None:
    first, second = make("run"), make("run")

    assert first.stdout.splitlines() == ["Installing what requirements.lock lists into .venv, once"]
    assert second.stdout == ""
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len([line for line in asked if "pip install" in line]) == 1
    assert asked.count("-m launch --with-parent") == 2


def test_a_lock_that_has_changed_is_installed(make: Make, python: Path, tmp_path: Path) -> None:
    make("run-environment")
    with (tmp_path / "requirements.lock").open("a") as lock:
        lock.write("another==1\n")

    assert "Installing" in make("run-environment").stdout


def test_what_development_needs_is_enough_to_run(make: Make, python: Path) -> None:
    assert "requirements-dev.lock" in make("dev-environment").stdout

    assert make("run-environment").stdout == ""
    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_only_what_the_lock_names_by_hash_is_installed(make: Make, python: Path, tmp_path: Path) -> None:
    make("run-environment")

    (asked,) = [line for line in (tmp_path / "asked").read_text().splitlines() if "install" in line]
    assert "--require-hashes" in asked
    assert "--no-deps" in asked


def test_an_installation_that_fails_is_tried_again(make: Make, python: Path, tmp_path: Path) -> None:
    python.write_text(STAND_IN + 'case "$*" in *install*) exit 1;; esac\n')
    assert make("run-environment").returncode != 0

    python.write_text(STAND_IN)

    assert "Installing" in make("run-environment").stdout


def test_without_a_python_that_is_new_enough_it_says_what_is_needed(make: Make, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    answer = make("run", f"PYTHON={old}")

    assert answer.returncode != 0
    assert "Latchkey needs Python 3.11 or newer" in answer.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_host_and_a_hash_for_everything(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert "://" not in text
    assert text.count("==") <= text.count("--hash=sha256:")


def test_every_pin_of_the_project_is_in_the_lock() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    pinned = re.findall(r'^  "([\w.-]+)(?:\[[\w,]+\])?(==[^";]+)', project, re.MULTILINE)

    assert pinned
    assert {f"{name}{version}".lower() for name, version in pinned} <= {
        re.sub(r"\[.*\]", "", pin) for pin in pins("requirements-dev.lock")
    }
