from datetime import UTC, datetime
from pathlib import Path

import pytest

from models import clock
from models.clock import OffsetClock
from models.settings import SettingsError

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_the_file_puts_the_clock_forward_and_back(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    asked = OffsetClock(file, lambda: NOON)

    assert asked() == NOON
    file.write_text("300.001\n")
    assert asked() == datetime(2026, 3, 1, 12, 5, 0, 1000, tzinfo=UTC)
    file.write_text("-60")
    assert asked() == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)


def test_only_the_embedded_mode_takes_it(tmp_path: Path) -> None:
    environ = {"MODE": "embedded", "CLOCK_OFFSET_FILE": str(tmp_path / "offset")}

    assert clock.from_env({"MODE": "production"}) is None
    assert clock.from_env(environ) == OffsetClock(tmp_path / "offset")
    with pytest.raises(SettingsError, match="CLOCK_OFFSET_FILE"):
        clock.from_env({**environ, "MODE": "production"})
