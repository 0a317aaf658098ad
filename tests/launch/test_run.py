"""`make run` as a person meets it: real processes, a new data folder, the README's own words."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from launch.supervisor import readiness
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
UP = "Latchkey is up"
READY = ("from=workers.main says=ready", "from=api says=ready", "ready devices=5")
GENEROUS = 10.0
"""Seconds for a start that takes three on an idle machine with two cores: this one may be busy."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def run(start: Callable, tmp_path: Path, port: int) -> Callable:
    """Start it in this test's data folder."""

    def begin() -> Any:
        talk = start("-m", "launch", DATA_DIR=str(tmp_path / ".data"), PORT=str(port), HOST="127.0.0.1")
        # All of it takes longer than a single part does.
        talk.patience = 60.0
        return talk

    return begin


def children(data: Path) -> dict[str, int]:
    """The module that each of our processes runs, and its number."""
    parent = (data / "launch.lock").read_text()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            of = re.search(r"^PPid:\s+(\d+)$", (folder / "status").read_text(), re.MULTILINE)
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if of and of[1] == parent:
            found[words[2] if words[1:2] == ["-m"] else "redis"] = int(folder.name)
    return found


MAIN_ROAD = ("The main road",)
ALL_ROADS = ("The main road", "A forgotten password", "Codes, passkeys, terms")
ELSEWHERE = ("The main road", "Another organization")


def walk(folder: Path, platform: str = "ios", sections: Sequence[str] = MAIN_ROAD) -> str:
    """The README's sections, word by word, in one shell."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = "\n".join(readme.split(f"\n## {section}", 1)[1].split("\n## ", 1)[0] for section in sections)
    script = "set -e -o pipefail\n" + "\n".join(re.findall(r"```bash\n(.*?)```", told, re.DOTALL))
    command = ["bash", "-c", script]
    environment = {**os.environ, "PLATFORM": platform}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_nothing_to_an_opened_iphone_and_again(run: Callable, tmp_path: Path, port: int, watch: Callable) -> None:
    data = tmp_path / ".data"
    first = run()
    assert first.until(UP).startswith(f"Latchkey is up: http://127.0.0.1:{port} ")

    assert readiness("127.0.0.1", port) is None
    demo = json.loads((data / "demo.json").read_text())
    assert (data / "demo.json").stat().st_mode & 0o777 == 0o600
    assert demo["url"] == f"http://127.0.0.1:{port}"
    platforms = [[device["platform"] for device in person["devices"]] for person in demo["people"]]
    assert platforms == [["ios", "windows81"], ["ios"], ["android"], ["windows10mobile"], ["wp81"], [], []]

    for platform in ("ios", "android", "windows10mobile", "wp81"):
        said = walk(tmp_path, platform)
        assert "401 Unauthorized" in said
        assert "re_sign_in_required" in said
        assert '"state":"succeeded"' in said
        assert f'"key":"{platform}.reset_passcode.succeeded"' in said
        assert ("nothing_to_reveal" if platform == "ios" else '"passcode":') in said
    told = walk(tmp_path, "android", ALL_ROADS)
    assert '"registered":true' in told
    assert "204 No Content" in told, "another password was chosen"
    assert '"kind":"phone","label":"My phone","state":"active"' in told
    for status in ("overdue", "current"):
        told = walk(tmp_path, "ios", ELSEWHERE)
        assert '"state":"succeeded"' in told, "no terms are in the way at home"
        assert '"name":"Lighthouse Museum","home":false' in told
        assert "https://museum.example.org/privacy" in told
        assert f'"status":"{status}"' in told
        assert "Huisregels voor gasten" in told
        assert '"name":"Picture archive"' in told

    watched = {name: watch(pid) for name, pid in children(data).items()}
    assert watched.keys() == {"redis", "workers", "workers.tick", "api", "platforms.simulation"}
    first.signal(signal.SIGINT)
    first.rest()
    assert first.process.returncode == 0
    assert all(one.gone() for one in watched.values())

    began = time.monotonic()
    second = run()
    second.until(UP)
    took = time.monotonic() - began
    assert took < GENEROUS
    assert json.loads((data / "demo.json").read_text()) == demo
    second.signal(signal.SIGINT)
    second.rest()
    assert second.process.returncode == 0


def test_killed_in_parts_and_as_a_whole_it_comes_up_again(run: Callable, tmp_path: Path, watch: Callable) -> None:
    data = tmp_path / ".data"
    first = run()
    first.until(UP)
    for line in READY:
        first.until(line)
    before = children(data)

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    for name in ("redis", "worker", "tick", "api", "simulator"):
        first.until(f"{name} was ended by SIGKILL; starting again")
    for line in READY:
        first.until(line)
    assert '"state":"succeeded"' in walk(tmp_path)

    watched = [watch(pid) for pid in children(data).values()]
    first.signal(signal.SIGKILL)
    first.rest()
    second = run()
    second.until(UP)

    assert all(one.gone() for one in watched)
    assert '"state":"succeeded"' in walk(tmp_path)
    second.signal(signal.SIGINT)
    second.rest()
    assert second.process.returncode == 0
