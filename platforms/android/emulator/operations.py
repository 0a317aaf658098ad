"""Commands on their way to a phone: long-running operations, as the API tells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from platforms.android.emulator.errors import CODES
from platforms.android.emulator.phone import Phone, timestamp
from platforms.android.emulator.shapes import seconds

COMMAND_TYPE: Final = "type.googleapis.com/google.android.devicemanagement.v1.Command"
RESPONSE_TYPE: Final = "type.googleapis.com/google.android.devicemanagement.v1.IssueCommandResponse"
VALIDITY: Final = "600s"
"""Of a command that names none."""


class Told(StrEnum):
    """How a failure is told: all three are seen in the field."""

    BOTH = "both"
    CODE = "code"
    STATUS = "status"


@dataclass
class Operation:
    """One command to one phone. `ran` and not `done`: the phone did it and has not said so yet."""

    name: str
    phone: Phone = field(repr=False)
    command: dict[str, Any] = field(repr=False)
    created: datetime
    until: datetime
    user: str
    ran: bool = False
    code: str | None = None
    """The agent's error code."""
    done: bool = False
    lapsed: bool = False
    """Its time ran out; it will not be run any more."""
    error: dict[str, Any] | None = None
    told: Told = Told.BOTH
    with_response: bool = True

    @classmethod
    def of(cls, phone: Phone, command: Mapping[str, Any], duration: str, created: datetime, number: int) -> Self:
        whole = {**command, "duration": duration}
        user = f"{phone.enterprise}/users/1001"
        return cls(f"{phone.name}/operations/{number}", phone, whole, created, created + seconds(duration), user)

    @property
    def pending(self) -> bool:
        return not (self.done or self.lapsed)

    def finish(self) -> None:
        """The phone has said how it went."""
        self.done = True
        if self.code is not None and self.told is not Told.CODE:
            self.error = {"code": CODES["INVALID_ARGUMENT"], "message": f"The device answered {self.code}."}

    def cancel(self) -> None:
        self.done, self.error = True, {"code": CODES["CANCELLED"], "message": "Operation was cancelled."}

    def expire(self) -> None:
        self.done, self.error = True, {"code": CODES["DEADLINE_EXCEEDED"], "message": "The command expired."}

    def resource(self, *, echoes: bool = True) -> dict[str, Any]:
        """`echoes`: the password stands in the metadata, as it may at Google."""
        said = {name: value for name, value in self.command.items() if echoes or name != "newPassword"}
        metadata = {"@type": COMMAND_TYPE, **said, "createTime": timestamp(self.created), "userName": self.user}
        if self.done and self.code is not None and self.told is not Told.STATUS:
            metadata["errorCode"] = self.code
        shown: dict[str, Any] = {"name": self.name, "metadata": metadata}
        if not self.done:
            return shown
        shown["done"] = True
        if self.error is not None:
            shown["error"] = self.error
        elif self.code is None and self.with_response:
            shown["response"] = {"@type": RESPONSE_TYPE}
        return shown

    def kept(self) -> dict[str, Any]:
        """As a property list has it."""
        kept: dict[str, Any] = {"name": self.name, "command": self.command, "user": self.user}
        kept |= {"created": self.created.isoformat(), "until": self.until.isoformat()}
        kept |= {"ran": self.ran, "done": self.done, "lapsed": self.lapsed, "told": self.told.value}
        kept["with_response"] = self.with_response
        if self.code is not None:
            kept["code"] = self.code
        if self.error is not None:
            kept["error"] = self.error
        return kept

    @classmethod
    def restore(cls, phone: Phone, kept: Mapping[str, Any]) -> Self:
        moments = {name: datetime.fromisoformat(kept[name]) for name in ("created", "until")}
        return cls(**{**kept, **moments, "told": Told(kept["told"]), "phone": phone})
