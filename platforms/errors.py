"""What can go wrong between us and a device, sorted by what to do next."""

from datetime import timedelta


class PlatformError(Exception):
    """`reason` is a stable snake_case word for the timeline; never a secret, never the device's own text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreadable(PlatformError):
    """What arrived is not of the protocol, or does not prove who sent it. Nothing was changed."""


class KeysNeeded(PlatformError):
    """Whoever signed this is not among the keys at hand: fetch them, and ask once more."""

    def __init__(self) -> None:
        super().__init__("unknown_signer")


class Unreachable(PlatformError):
    """Not now: try again, after `pause` where the other side named one. The order is kept.

    `until_it_calls`: waking is of no use until the device itself has spoken again.
    """

    def __init__(self, reason: str, *, pause: timedelta | None = None, until_it_calls: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.until_it_calls = until_it_calls


class Refused(PlatformError):
    """Final: this order can never work on this device."""


class Uncertain(PlatformError):
    """It may or may not have arrived: look before the next wake."""
