"""What `make run` can be told, and what its children are told."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from models.settings import SettingsError

# What a process of ours may see of the machine around it. Anything else of the caller's environment, a DATABASE_URL of
# another project above all, stays outside.
_OF_THE_MACHINE: Final = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "SSL_CERT_FILE", "TMPDIR", "TZ")
_PASSED_ON: Final = ("CLOCK_OFFSET_FILE", "FAULT_AT", "ORGANIZATION_NAME", "TRUSTED_PROXIES")
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - recognized, not bound


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    host: str
    port: int
    data: Path
    redis_url: str | None
    """A server that somebody else runs; None: our own."""
    log_level: str
    public_url: str
    machine: Mapping[str, str]
    """What every child inherits of the caller's environment."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], directory: Path) -> Self:
        """Relative paths start at `directory`. Raises SettingsError."""
        host = environ.get("HOST") or "127.0.0.1"
        port = _port(environ.get("PORT") or "8080")
        return cls(
            host=host,
            port=port,
            data=_data(environ.get("DATA_DIR") or ".data", directory),
            redis_url=environ.get("REDIS_URL") or None,
            log_level=environ.get("LOG_LEVEL") or "INFO",
            public_url=environ.get("PUBLIC_URL") or local_url(host, port),
            machine={name: environ[name] for name in (*_OF_THE_MACHINE, *_PASSED_ON) if environ.get(name)},
        )

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def log(self) -> Path:
        return self.data / "log"

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.data / 'latchkey.db'}"

    def environment(self, redis_url: str) -> dict[str, str]:
        """What every child is told; secrets go as names of files, so that no process list or dump shows them."""
        return {
            **self.machine,
            "PYTHONUNBUFFERED": "1",
            "MODE": "embedded",
            "DATA_DIR": str(self.data),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": redis_url,
            "PUBLIC_URL": self.public_url,
            "HOST": self.host,
            "PORT": str(self.port),
            "LOG_LEVEL": self.log_level,
            "APP_NETWORKS": "127.0.0.0/8,::1/128",  # an app that a developer tries it with
            "SEAL_KEYS_FILE": str(self.keys / "seal_keys"),
            "AUDIT_KEY_FILE": str(self.keys / "audit_key"),
            "THROTTLE_KEY_FILE": str(self.keys / "throttle_key"),
        }


def reachable(host: str) -> str:
    """The address under which this machine itself reaches what listens on `host`."""
    return "127.0.0.1" if host in _EVERYWHERE else host


def local_url(host: str, port: int) -> str:
    name = reachable(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535):
        raise SettingsError(f"PORT must be a number from 1 to 65535, not {text!r}")
    return int(text)


def _data(text: str, directory: Path) -> Path:
    # Part of a database address, in which these begin something else.
    if set(text) & set("?#%"):
        raise SettingsError("DATA_DIR must not hold any of ? # %")
    return Path(os.path.abspath(directory / Path(text).expanduser()))  # noqa: PTH100 - resolve() would follow links
