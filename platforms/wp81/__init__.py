"""Phones with Windows Phone 8.1 over OMA device management, as platforms.windows_phone speaks it."""

from platforms.wp81.handler import build

__all__ = ["build"]
