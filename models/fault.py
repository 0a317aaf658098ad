"""Death at a marked step: how the fault tests stop a process where it hurts most.

An argument, like every need: `fault.mark("claimed")` stands where a kill must do no harm, and does nothing without
FAULT_AT.
"""

import os
import re
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.settings import SettingsError

_SPELLED = re.compile(r"(?P<step>[a-z][a-z0-9_.-]*)(:(?P<passing>[1-9][0-9]{0,6}))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Kills this process (SIGKILL: no handler runs, nothing is flushed) at the given passing of a step."""

    step: str | None = None
    passing: int = 1
    _passed: Counter[str] = field(default_factory=Counter, repr=False, compare=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Fault":
        """FAULT_AT=step[:passing]. Raises SettingsError where it is unreadable, or asked for outside embedded."""
        spelled = environ.get("FAULT_AT", "")
        if not spelled:
            return cls()
        if environ.get("MODE") != "embedded":
            raise SettingsError("FAULT_AT is for MODE=embedded alone")
        match = _SPELLED.fullmatch(spelled)
        if match is None:
            raise SettingsError("FAULT_AT is a step's name, or name:number")
        return cls(match["step"], int(match["passing"] or 1))

    def mark(self, step: str) -> None:
        if step != self.step:
            return
        self._passed[step] += 1
        if self._passed[step] == self.passing:
            os.kill(os.getpid(), signal.SIGKILL)
