"""`python -m workers`: one worker process, until a signal ends it."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from models.log import configure
from models.settings import resolve_files
from workers.alive import alive
from workers.deliver import deliver
from workers.main import serve
from workers.needs import Needs, opener
from workers.run_job import run_job
from workers.settings import WorkerSettings

MISCONFIGURED = 2


def main(variables: Mapping[str, str]) -> int:
    try:
        environ = resolve_files(variables)
        configure(environ.get("LOG_LEVEL") or "info", environ.get("MODE") or "production")
        settings = WorkerSettings.from_env(environ)
        open_needs = opener(environ)
    except ValueError as error:
        sys.stderr.write(f"the worker cannot start: {error}\n")
        return MISCONFIGURED

    @asynccontextmanager
    async def living() -> AsyncIterator[Needs]:
        async with (
            open_needs() as needs,
            alive(needs.database, kind="worker"),
        ):
            yield needs

    return serve(settings, living, run_job, deliver)


if __name__ == "__main__":
    raise SystemExit(main(os.environ))
