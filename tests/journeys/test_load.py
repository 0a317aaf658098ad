"""The fleet driver's load, as a process of its own, against a real installation."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.town import PASSWORD, Town

ROOT = Path(__file__).resolve().parents[2]
FIGURES = r"min=\d+\.\dms median=\d+\.\dms p99=\d+\.\dms max=\d+\.\dms"


async def load(town: Town, people: Path, *words: str) -> tuple[int, str, str]:
    where = (f"--api={town.client.base_url}", f"--people={people}", "--platform=ios")
    command = ["-m", "platforms.simulation", "load", *where, *words]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            said, complained = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return await process.wait(), said.decode(), complained.decode()


@pytest.fixture
async def people(town: Town, tmp_path: Path) -> Path:
    hired = [await town.hire("anna"), await town.hire("ben")]
    entries: list[dict[str, Any]] = [
        {"account": person.name, "password": PASSWORD, "totp_secret": None, "devices": []} for person in hired
    ]
    file = tmp_path / "people.json"
    file.write_text(json.dumps({"url": str(town.client.base_url), "people": entries}))
    return file


async def test_devices_of_its_own_are_reset_though_the_push_service_is_anothers(town: Town, people: Path) -> None:
    status, said, complained = await load(town, people, "--devices=6")

    assert (status, complained) == (0, "")
    assert re.fullmatch(rf"enroll: done=6 errors=0 {FIGURES}\nreset: done=6 errors=0 {FIGURES}\n", said), said
    assert [row.state for row in await town.jobs()] == ["succeeded"] * 6
    actions = [action for action, _ in await town.actions()]
    assert len([action for action in actions if action == "device:enrollment:left"]) == 6, set(actions)


async def test_a_port_to_stand_in_on_takes_the_keys_as_well(town: Town, people: Path) -> None:
    status, _, complained = await load(town, people, "--push-port=1")

    assert status == 1
    assert "--keys" in complained
