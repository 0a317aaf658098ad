"""A real browser, spoken to over its own debugging protocol: Chromium, without a window and with a folder of its own.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
LISTENING: Final = re.compile(r"DevTools listening on ws://([^/]+)/")
PATIENCE: Final = 60.0
"""Seconds for a start, and for one answer, on a machine that is busy."""


def find_browser() -> str:
    """Skips where there is none, unless nothing may be missing."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        assert not os.environ.get("NOTHING_MISSING"), (
            "what a browser does with passkeys is to be shown: install chromium"
        )
        pytest.skip("no chromium is installed: what a browser does with passkeys is shown by our authenticator alone")
    return found


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = count(1)

    async def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result; events in between are passed over."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        said = await self._hear("id", number)
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> None:
        await self.tell("Page.navigate", url=url)
        await self._hear("method", "Page.loadEventFired")

    async def _hear(self, name: str, value: object) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                said: dict[str, Any] = await self._socket.receive_json()
                if said.get(name) == value:
                    return said

    async def run(self, script: str) -> Any:
        """What a script on the page comes to, promises kept."""
        answer = await self.tell(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")


@contextlib.asynccontextmanager
async def browse(program: str, folder: Path) -> AsyncIterator[Page]:
    command = [
        program,
        "--headless=new",
        "--no-sandbox",  # as root, and in containers, there is none; nobody else's pages are opened
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE, start_new_session=True)
    try:
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://{await _address(process)}/json/list") as answer:
                tab = next(one for one in await answer.json() if one["type"] == "page")
            async with client.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    """It says where it listens."""
    assert process.stderr is not None
    said = []
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stderr.readline()).decode(errors="replace"):
            if found := LISTENING.search(line):
                return found[1]
            said.append(line)
    raise AssertionError("".join(said))
