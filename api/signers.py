"""The public keys by which platforms' companies sign what they send: fetched when needed, kept as they allow."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from models.vocabulary import PlatformName
from platforms.base import Channel, KeySource, PlatformHandler, Shared
from platforms.errors import Unreachable

LEAST_PAUSE: Final = 10.0
"""Seconds between two fetches: a stranger who names keys that nobody has must not make us ask without end."""


@dataclass(slots=True)
class _Shelf:
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    channel: Channel | None = None
    signers: Mapping[str, bytes] = field(default_factory=dict)
    fetched_at: float | None = None
    good_until: float = 0.0
    failed: bool = False


class Signers:
    """Of one process. Opened on the loop that uses it."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._open = AsyncExitStack()
        self._shelves: dict[PlatformName, _Shelf] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def known(self, platform: PlatformName) -> Mapping[str, bytes]:
        shelf = self._shelves.get(platform)
        if shelf is None or asyncio.get_running_loop().time() >= shelf.good_until:
            return {}
        return shelf.signers

    async def fetch(self, platform: PlatformHandler) -> Mapping[str, bytes]:
        """As they are now; many who ask at once are one fetch. Raises Unreachable."""
        shelf = self._shelves.setdefault(platform.name, _Shelf())
        asked_at = asyncio.get_running_loop().time()
        async with shelf.fetching:
            now = asyncio.get_running_loop().time()
            if shelf.fetched_at is not None and (shelf.fetched_at >= asked_at or now - shelf.fetched_at < LEAST_PAUSE):
                if shelf.failed:
                    raise Unreachable("no_signers")
                return self.known(platform.name)
            if shelf.channel is None:
                shelf.channel = await self._open.enter_async_context(platform.open_channel(self._shared))
            if not isinstance(shelf.channel, KeySource):
                raise Unreachable("no_signers")
            shelf.fetched_at, shelf.failed = now, True
            keys = await shelf.channel.keys()
            shelf.failed = False
            shelf.signers = keys.signers
            shelf.good_until = now + keys.keep.total_seconds()
            return shelf.signers
