"""A clock that process tests can put forward and back: the host's, plus what a file says.

Only embedded processes take one, where a test plays the time and every process of the installation must agree on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.settings import SettingsError


def _host() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - this is a clock; whoever is handed it asks no other


@dataclass(frozen=True, slots=True)
class OffsetClock:
    """The file holds seconds, with a fraction if need be, and is read each time; no file is no offset."""

    file: Path
    host: Callable[[], datetime] = _host

    def __call__(self) -> datetime:
        try:
            text = self.file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            text = ""
        return self.host() + timedelta(seconds=float(text or 0))


def from_env(environ: Mapping[str, str]) -> OffsetClock | None:
    """None: the database's clock, or the host's (see `models.database`). Raises SettingsError outside embedded mode."""
    name = environ.get("CLOCK_OFFSET_FILE")
    if not name:
        return None
    if environ.get("MODE") != "embedded":
        raise SettingsError("CLOCK_OFFSET_FILE is for MODE=embedded alone")
    return OffsetClock(Path(name))
