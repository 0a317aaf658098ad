"""What must be remembered of a device between two notices. The house keeps it sealed; this folder alone reads it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final, Self

from models.vocabulary import Secret
from platforms.android.passcode import Rules

_EMPTY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Memory:
    correlation: str | None = field(default=None, repr=False)
    """What our link said, and the device's first words must repeat."""
    reported_at: datetime | None = None
    """The newest report of the device itself."""
    published_at: datetime | None = None
    """The newest notice that named no report."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """The same that a button looks at, for who plans."""
    rules: Rules = field(default_factory=Rules)
    """What its lock asks of a passcode."""

    @classmethod
    def read(cls, sealed: Secret | None) -> Self:
        if sealed is None:
            return cls()
        values = json.loads(sealed.value)
        return cls(
            correlation=values.get("correlation"),
            reported_at=_moment(values.get("reported_at")),
            published_at=_moment(values.get("published_at")),
            traits=values.get("traits", _EMPTY),
            rules=Rules(**values.get("rules", {})),
        )

    def write(self) -> Secret:
        values = {
            "correlation": self.correlation,
            "reported_at": None if self.reported_at is None else self.reported_at.isoformat(),
            "published_at": None if self.published_at is None else self.published_at.isoformat(),
            "traits": dict(self.traits),
            "rules": asdict(self.rules),
        }
        return Secret(json.dumps(values, separators=(",", ":")).encode())


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
