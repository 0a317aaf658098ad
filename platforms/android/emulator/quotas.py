"""Google's patience: so many requests a minute for a project, and for one action on one resource."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from platforms.android.emulator.errors import ApiError


@dataclass
class Quotas:
    """A minute is a window: used up early, it is silent until its end. What is refused does not count."""

    clock: Callable[[], datetime]
    on: bool = True
    per_project: int = 600
    per_resource: int = 60
    refused: int = 0
    busiest: int = 0
    """Requests of a project in its fullest minute."""
    _minute: int = 0
    _taken: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def take(self, project: str, action: str, resource: str) -> None:
        """Raises ApiError (429)."""
        if not self.on:
            return
        minute = int(self.clock().timestamp() // 60)
        if minute != self._minute:
            self._minute = minute
            self._taken.clear()
        of_project, of_resource = (project,), (project, action, resource)
        if self._taken[of_project] >= self.per_project:
            self.refused += 1
            raise _exhausted("Requests per minute", project)
        if self._taken[of_resource] >= self.per_resource:
            self.refused += 1
            raise _exhausted("Requests per minute per resource", project)
        self._taken[of_project] += 1
        self._taken[of_resource] += 1
        self.busiest = max(self.busiest, self._taken[of_project])


def _exhausted(limit: str, project: str) -> ApiError:
    message = (
        f"Quota exceeded for quota metric 'Requests' and limit '{limit}' of service"
        f" 'androidmanagement.googleapis.com' for consumer 'project_number:{project}'."
    )
    told = {"service": "androidmanagement.googleapis.com", "quota_limit": limit.replace(" ", "")}
    return ApiError(429, message, reason="RATE_LIMIT_EXCEEDED", metadata=told)
