"""`python -m api` as a process: it says when it is ready, ends in order, and says what is wrong."""

import asyncio
import base64
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from models.settings import DatabaseSettings
from tests.platforms.ios import world

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
IMPORT_BUDGET = 2500
"""Processor milliseconds from the first breath to ready, on a machine that does other things besides."""


@pytest.fixture
def environ(sqlite_settings: DatabaseSettings, redis_url: str) -> dict[str, str]:
    return world.environ(
        PATH=os.environ["PATH"],
        DATABASE_URL=sqlite_settings.url,
        REDIS_URL=redis_url,
        PORT="0",
        THROTTLE_KEY=base64.b64encode(bytes(range(32))).decode(),
        SEAL_KEYS="k1:" + base64.b64encode(bytes(range(32))).decode(),
    )


@asynccontextmanager
async def started(environ: Mapping[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "api", cwd=ROOT, env=dict(environ), stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: Process) -> dict[str, str]:
    """The fields of the line that says so."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stderr.readline()).decode():
            fields = dict(part.partition("=")[::2] for part in line.split() if "=" in part)
            if fields.get("says") == "ready":
                return fields
    raise AssertionError("it ended before it was ready")


async def test_it_serves_until_sigterm_and_lets_streams_end(environ: dict[str, str]) -> None:
    async with started(environ) as process:
        fields = await ready(process)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{fields['port']}") as client:
            async with client.get("/healthz") as response:
                assert response.status == 200
            async with client.get("/readyz") as response:
                checks = (await response.json())["checks"]
                assert checks["database"]["ok"]
                assert checks["redis"]["ok"]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer 4711-secret\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: session=4711-secret\1\r\n\r\n",
        b"GET /not-me?token=4711-secret\1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"4711-secret" * 2000 + b"\r\n\r\n",
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4711-secret\r\n\r\n",
    ],
    ids=["bearer", "cookie", "address", "long", "chunk"],
)
async def test_what_is_no_http_is_refused_and_no_log_quotes_it(environ: dict[str, str], request_text: bytes) -> None:
    async with started(environ) as process:
        fields = await ready(process)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(fields["port"]))
        writer.write(request_text)
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            _, errors = await process.communicate()

    assert b"Error handling request" in errors
    assert b"4711" not in errors


async def test_its_start_stays_within_its_budget(environ: dict[str, str]) -> None:
    async with started(environ) as process:
        assert int((await ready(process))["cpu_ms"]) < IMPORT_BUDGET


def test_it_imports_nothing_that_only_others_need() -> None:
    import subprocess

    heavy = ("alembic", "dramatiq", "httpx", "psycopg", "h2")
    script = f"import sys, api.__main__; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - ours

    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MODE": "production"}, "PUBLIC_URL"),
        ({"DATABASE_URL": "mysql://secret@host"}, "DATABASE_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"SEAL_KEYS": "secret"}, "SEAL_KEYS"),
        ({"IOS_TOPIC": ""}, "IOS_TOPIC"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
    ],
)
async def test_a_wrong_setting_is_named_before_anything_starts(
    environ: dict[str, str], change: dict[str, str], said: str
) -> None:
    async with started({**environ, **change}) as process:
        async with asyncio.timeout(PATIENCE):
            _, errors = await process.communicate()

    assert process.returncode == 2
    assert errors.decode().startswith("api: ")
    assert said in errors.decode()
    assert "secret" not in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_a_port_that_is_taken_is_said_in_one_line(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with started({**environ, "PORT": str(taken.getsockname()[1])}) as process:
            async with asyncio.timeout(PATIENCE):
                _, errors = await process.communicate()

    assert process.returncode == 1
    assert "address already in use" in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_its_clock_can_be_put_forward_for_tests(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "offset"
    file.write_text("0")

    async with started({**environ, "CLOCK_OFFSET_FILE": str(file)}) as process:
        fields = await ready(process)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{fields['port']}") as client:
            body = json.dumps({"account": "nobody", "password": "x"})
            headers = {"Content-Type": "application/json"}
            async with client.post("/api/v1/sessions", data=body, headers=headers) as response:
                assert response.status == 401
