"""`python -m bench`: measure, print the table, and keep the last whole run beside this file."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from bench import http_figures, platform_figures, sign_in_figures, stream_figures, worker_figures
from bench.figures import Figure, as_json, revision, table
from bench.house import House, open_house, utc_now

MEASURES: Final[Mapping[str, Callable[[House], Awaitable[list[Figure]]]]] = {
    "accept": http_figures.accept,
    "check-in": http_figures.check_in,
    "jobs": worker_figures.jobs,
    "bell": worker_figures.bell,
    "flag": worker_figures.flag,
    "platforms": platform_figures.resets,
    "sign-in": sign_in_figures.sign_ins,
    "sign-out": http_figures.sign_out,
    "lists": http_figures.lists,
    "directory": http_figures.directory,
    "streams": stream_figures.streams,
}
RESULTS: Final = Path(__file__).parent / "results"


async def measure(names: list[str], *, quick: bool, rounds: int) -> list[Figure]:
    figures: list[Figure] = []
    for name in names:
        begun = time.monotonic()
        async with open_house(quick=quick, rounds=rounds) as house:
            found = await MEASURES[name](house)
        figures += found
        for one in found:
            sys.stderr.write(f"  {one.name}: {one.value} {one.unit} {one.verdict}\n")
        sys.stderr.write(f"{name}: {time.monotonic() - begun:.0f} s\n")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, each figure beside its floor.")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="this one alone; may be given again")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count, after one that does not (5)")
    parser.add_argument("--quick", action="store_true", help="smaller numbers: shows that it works, proves nothing")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped on the way out
    stream_figures.allow_many_files(20_000)
    names = given.only or list(MEASURES)
    now = utc_now()
    how = f"commit {revision()}, {given.rounds} rounds in turn after one to warm up"
    if given.quick:
        how += ", quick: smaller numbers"
    figures = asyncio.run(measure(names, quick=given.quick, rounds=given.rounds))
    text = table(figures, now, how)
    sys.stdout.write(text)
    if not given.only and not given.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "last.md").write_text(text, encoding="utf-8")
        (RESULTS / "last.json").write_text(as_json(figures, now, how), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
