"""Whether a device would take a passcode: asked by the tests of what makes passcodes, and knowing nothing of that."""

from collections.abc import Iterable, Mapping
from typing import Any

from platforms.android.emulator import constraints


def permits(password: str, policies: Iterable[Mapping[str, Any]], *, profile: bool, api_level: int) -> bool:
    """`policies`: a device's `appliedPasswordPolicies`, as they are on the wire."""
    scope = "SCOPE_PROFILE" if profile else "SCOPE_DEVICE"
    return constraints.flaw(password, constraints.of_scope(policies, scope), api_level) is None
