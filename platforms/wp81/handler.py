"""Windows Phone 8.1: what both phones do, in this platform's words. An upgraded phone is told of as 10 is."""

from collections.abc import Mapping

from platforms.base import PlatformHandler
from platforms.windows_phone import System, WindowsPhone
from platforms.wp81 import passcode, settings


def build(env: Mapping[str, str]) -> PlatformHandler:
    """Raises ValueError, naming the variable that is missing or wrong."""
    told = {
        System.PHONE_8_1: passcode.RULE.done_key,
        System.MOBILE_10: "wp81.reset_passcode.succeeded_on_10",
    }
    return WindowsPhone(settings.from_env(env), passcode.RULE, told)
