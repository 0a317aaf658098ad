"""What Windows 10 Mobile must be told: its own keys begin with WINDOWS10MOBILE_, the push service's with WNS_."""

from collections.abc import Mapping
from typing import Final

from models.vocabulary import PlatformName
from platforms.windows_settings import WindowsSettings

NAME: Final = PlatformName("windows10mobile")


def from_env(environ: Mapping[str, str]) -> WindowsSettings:
    """Raises ValueError that names the variable, never its value."""
    return WindowsSettings.from_env(environ, NAME)
