"""What was measured, as a table for people and as JSON beside it."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> "Spread":
        return cls(statistics.median(rounds), min(rounds), max(rounds))

    def __str__(self) -> str:
        return f"{_short(self.median)} [{_short(self.low)} to {_short(self.high)}]"


@dataclass(frozen=True, slots=True)
class Figure:
    """`met` is None where there is no target. `beside`: what it was made of, or is compared with."""

    name: str
    value: Spread
    unit: str
    target: str = ""
    met: bool | None = None
    beside: Mapping[str, Spread] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "MISSED"


def at_least(name: str, ours: Sequence[float], floor: Sequence[float], target: float, unit: str, of: str) -> Figure:
    """A rate as a share of its floor's, round by round."""
    ratio = Spread.of([one / other for one, other in zip(ours, floor, strict=True)])
    beside = {f"ours, {unit}": Spread.of(ours), f"{of}, {unit}": Spread.of(floor)}
    return Figure(name, ratio, f"x {of}", f"at least {target:g}", ratio.median >= target, beside)


def at_most(name: str, ours: Sequence[float], floor: Sequence[float], target: float, unit: str, of: str) -> Figure:
    """A time as a multiple of its floor's, round by round."""
    ratio = Spread.of([one / other for one, other in zip(ours, floor, strict=True)])
    beside = {f"ours, {unit}": Spread.of(ours), f"{of}, {unit}": Spread.of(floor)}
    return Figure(name, ratio, f"x {of}", f"at most {target:g}", ratio.median <= target, beside)


def below(name: str, rounds: Sequence[float], target: float, unit: str) -> Figure:
    value = Spread.of(rounds)
    return Figure(name, value, unit, f"at most {target:g}", value.median <= target)


def plain(name: str, rounds: Sequence[float], unit: str) -> Figure:
    return Figure(name, Spread.of(rounds), unit)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def machine() -> str:
    """What the figures are of: processor, cores, memory, Python."""
    model = "unknown processor"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        model = next((value.strip() for name, _, value in lines if name.strip() == "model name"), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    version = ".".join(str(part) for part in sys.version_info[:3])
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, {sys.platform}, Python {version}"


def revision() -> str:
    """Which commit was measured; `-dirty` where the tree was not quite that."""
    asked = ("git", "describe", "--always", "--dirty")
    try:
        found = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, check=True, text=True)  # noqa: S603 - as it stands here
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def table(figures: Sequence[Figure], now: datetime, how: str) -> str:
    lines = [
        f"{machine()}",
        f"{now:%Y-%m-%d %H:%M} UTC, {how}",
        "",
        "| Figure | Median [range] | Target | Verdict | Made of |",
        "|---|---|---|---|---|",
    ]
    for one in figures:
        made = "; ".join(f"{name}: {spread}" for name, spread in one.beside.items())
        lines.append(f"| {one.name} | {one.value} {one.unit} | {one.target} | {one.verdict} | {made} |")
    return "\n".join(lines) + "\n"


def as_json(figures: Sequence[Figure], now: datetime, how: str) -> str:
    content: dict[str, Any] = {
        "machine": machine(),
        "at": now.isoformat(timespec="seconds"),
        "how": how,
        "figures": [asdict(one) | {"verdict": one.verdict} for one in figures],
    }
    return json.dumps(content, indent=1) + "\n"


def _short(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"
