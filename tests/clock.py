"""The clock that tests set by hand."""

from datetime import UTC, datetime, timedelta
from typing import Final

NOON: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: float | timedelta) -> datetime:
        """By so many seconds, or so long."""
        self.now += by if isinstance(by, timedelta) else timedelta(seconds=by)
        return self.now
