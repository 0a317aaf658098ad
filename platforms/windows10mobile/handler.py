"""Windows 10 Mobile: what both phones do, in this platform's words."""

from collections.abc import Mapping

from platforms.base import PlatformHandler
from platforms.windows10mobile import passcode, settings
from platforms.windows_phone import System, WindowsPhone


def build(env: Mapping[str, str]) -> PlatformHandler:
    """Raises ValueError, naming the variable that is missing or wrong."""
    told = {System.MOBILE_10: passcode.RULE.done_key}
    return WindowsPhone(settings.from_env(env), passcode.RULE, told)
