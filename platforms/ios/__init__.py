"""iPhones and iPads over Apple MDM. May import platforms.base, errors and identity, and models.vocabulary alone."""

from collections.abc import Mapping

from platforms.base import PlatformHandler
from platforms.ios.handler import IosHandler
from platforms.ios.settings import IosSettings

__all__ = ["build"]


def build(env: Mapping[str, str]) -> PlatformHandler:
    """Raises ValueError, naming the variable that is missing or wrong."""
    return IosHandler(IosSettings.from_env(env))
