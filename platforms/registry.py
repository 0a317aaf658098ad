"""Finds the platform folders beside this file and builds a handler from each. A new platform is a new folder."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

import platforms
from models.vocabulary import PlatformName
from platforms.base import PlatformHandler


def load(env: Mapping[str, str]) -> Mapping[PlatformName, PlatformHandler]:
    """Every folder's `build(env)`, by name. Raises ValueError when a folder does not keep the contract."""
    found: dict[PlatformName, PlatformHandler] = {}
    for folder in pkgutil.iter_modules(platforms.__path__):
        if not folder.ispkg:
            continue
        handler: PlatformHandler = import_module(f"platforms.{folder.name}").build(env)
        if handler.name != folder.name:
            raise ValueError(f"the folder {folder.name} builds a platform that calls itself {handler.name}")
        found[handler.name] = handler
    return MappingProxyType(found)
