"""What both Windows phones must be told: where they call, the device CA, and in whose name they are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from models.vocabulary import PlatformName
from platforms.identity import DeviceCA, KeyType
from platforms.settings import choice, device_ca, public_url
from platforms.wns import WnsSettings


@dataclass(frozen=True, slots=True)
class WindowsSettings:
    platform: PlatformName
    public_url: str
    device_ca: DeviceCA = field(repr=False)
    key_type: KeyType = KeyType.RSA
    organization: str = "Latchkey"
    wns: WnsSettings | None = None
    """None: no phone is called, each calls by its own schedule."""

    @property
    def devices_url(self) -> str:
        return f"{self.public_url}/devices/{self.platform}"

    @property
    def pfn(self) -> str | None:
        """What a phone opens its channel for."""
        return None if self.wns is None else self.wns.pfn

    def accepts_channel(self, channel: str) -> bool:
        return self.wns is not None and self.wns.accepts(channel)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], platform: PlatformName) -> Self:
        """Raises ValueError that names the variable, never its value."""
        prefix = platform.upper()
        return cls(
            platform=platform,
            public_url=public_url(environ),
            device_ca=device_ca(environ),
            key_type=choice(environ, f"{prefix}_KEY", KeyType.RSA),
            organization=environ.get("ORGANIZATION_NAME") or "Latchkey",
            wns=WnsSettings.from_env(environ, f"{prefix}_PUSH_URL"),
        )
