"""What Windows Phone 8.1 must be told: its own keys begin with WP81_, the push service's with WNS_."""

from collections.abc import Mapping
from typing import Final

from models.vocabulary import PlatformName
from platforms.windows_settings import WindowsSettings

NAME: Final = PlatformName("wp81")


def from_env(environ: Mapping[str, str]) -> WindowsSettings:
    """Raises ValueError that names the variable, never its value."""
    return WindowsSettings.from_env(environ, NAME)
