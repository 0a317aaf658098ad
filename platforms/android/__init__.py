"""Android devices over the Android Management API. May import platforms.base, errors and identity, and
models.vocabulary alone.
"""

from collections.abc import Mapping

from platforms.android.handler import AndroidHandler
from platforms.android.off import SwitchedOff
from platforms.android.settings import AndroidSettings
from platforms.base import PlatformHandler

__all__ = ["build"]


def build(env: Mapping[str, str]) -> PlatformHandler:
    """Raises ValueError, naming the variable that is missing or wrong."""
    settings = AndroidSettings.from_env(env)
    return SwitchedOff() if settings is None else AndroidHandler(settings)
