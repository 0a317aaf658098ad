"""What must be remembered of a device between two requests. The house keeps it sealed; this folder alone reads it."""

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from models.vocabulary import EPOCH, Secret

MAX_POSTPONED: Final = 16


@dataclass(frozen=True, slots=True)
class Memory:
    token: bytes | None = field(default=None, repr=False)
    push_magic: str | None = field(default=None, repr=False)
    token_at: int = 0
    """When the token came, in milliseconds since 1970, as the push service counts."""
    unlock_token: bytes | None = field(default=None, repr=False)
    rights: int | None = None
    """What the enrollment profile was granted, and the device keeps to."""
    supervised: bool | None = None
    name: str | None = None
    """The device's own."""
    postponed: tuple[str, ...] = ()
    """Refs that were answered "not now" since the device last asked for work."""

    @classmethod
    def read(cls, sealed: Secret | None) -> Self:
        if sealed is None:
            return cls()
        values = json.loads(sealed.value)
        return cls(
            token=_bytes(values.get("token")),
            push_magic=values.get("magic"),
            token_at=values.get("at", 0),
            unlock_token=_bytes(values.get("unlock")),
            rights=values.get("rights"),
            supervised=values.get("supervised"),
            name=values.get("name"),
            postponed=tuple(values.get("postponed", ())),
        )

    def write(self) -> Secret:
        values: dict[str, object] = {}
        if self.token is not None:
            values |= {"token": _text(self.token), "magic": self.push_magic, "at": self.token_at}
        if self.unlock_token is not None:
            values["unlock"] = _text(self.unlock_token)
        for name in ("rights", "supervised", "name", "postponed"):
            value = getattr(self, name)
            if value not in {None, ()}:
                values[name] = value
        return Secret(json.dumps(values, separators=(",", ":")).encode())


def milliseconds(moment: datetime) -> int:
    return int((moment - EPOCH).total_seconds() * 1000)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
