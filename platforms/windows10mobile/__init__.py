"""Phones with Windows 10 Mobile over OMA device management, as platforms.windows_phone speaks it."""

from platforms.windows10mobile.handler import build

__all__ = ["build"]
