"""The other end of the talk: a phone with Windows Phone 8.1, as both phones are simulated."""

from collections.abc import Mapping
from typing import Any, Final

from platforms.windows_phone_simulator import Transport, WindowsPhone, demo_keys, wake_service
from platforms.windows_phone_wire import EnrollmentFailed

__all__ = ["EnrollmentFailed", "demo_keys", "new_device", "restore", "wake_service"]

GENERATION: Final = "8.1"


def new_device(transport: Transport) -> WindowsPhone:
    return WindowsPhone(transport, GENERATION)


def restore(state: Mapping[str, Any], transport: Transport) -> WindowsPhone:
    return WindowsPhone.restore(state, transport)
