"""Fresh secrets: one set per data folder for `make run`, one per installation for production.

`python -m launch.secrets DIRECTORY` writes what docker-compose.yml mounts. Nothing that exists is ever replaced.
"""

import base64
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Secrets:
    """Files that belong together, and how to make their contents, in the same order."""

    names: tuple[str, ...]
    make: Callable[[], tuple[str, ...]]


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _seal_keys() -> tuple[str]:
    return (f"{secrets.token_hex(4)}:{_key()}",)


def _postgres() -> tuple[str, str]:
    password = secrets.token_urlsafe(32)
    return password, f"postgresql://latchkey:{password}@postgres:5432/latchkey"


def _redis() -> tuple[str, str]:
    password = secrets.token_urlsafe(32)
    return password, f"redis://:{password}@redis:6379/0"


def _device_ca() -> tuple[str, str]:
    from platforms.identity import make_ca  # noqa: PLC0415 - `make run` imports this module at every start

    now = datetime.now(UTC)  # noqa: TID251 - an installation's own authority begins by the clock of its host
    certificate, key = make_ca("Latchkey devices", now).pem()
    return certificate, key.text()


OURS: Final = (
    Secrets(("seal_keys",), _seal_keys),
    Secrets(("audit_key",), lambda: (_key(),)),
    Secrets(("throttle_key",), lambda: (_key(),)),
)
"""What every installation needs for itself."""

PRODUCTION: Final = (
    *OURS,
    Secrets(("postgres_password", "database_url"), _postgres),
    Secrets(("redis_password", "redis_url"), _redis),
    Secrets(("device_ca_certificate", "device_ca_key"), _device_ca),
    # Empty, until there is a store app in whose name Windows phones are called.
    Secrets(("wns_secret",), lambda: ("",)),
    # Empty, until there is a service account that gives orders to Android phones.
    Secrets(("android_service_account",), lambda: ("",)),
    # Empty, until there is a server that takes our mail.
    Secrets(("mail_url",), lambda: ("",)),
    Secrets(("sms_webhook_key",), lambda: (_key(),)),
)

ISSUED: Final = ("ios_push_certificate", "ios_push_key")
"""What production mounts beside these and only others can issue."""


def write(folder: Path, wanted: Sequence[Secrets], *, suffix: str = "", mode: int = 0o600) -> list[Path]:
    """Make what is missing in `folder`, which only its owner may enter. Returns the files that were made.

    Raises FileExistsError when of files that belong together some exist: the others could only be guessed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    written = []
    for group in wanted:
        files = [folder / f"{name}{suffix}" for name in group.names]
        missing = [file for file in files if not file.exists()]
        # All are written before the first gets its name, so that a start that was cut short can be finished.
        if len(missing) == len(files):
            for file, text in zip(files, group.make(), strict=True):
                _write(_unnamed(file), text, mode)
        for file in missing:
            if not _unnamed(file).exists():
                raise FileExistsError(f"{file} is gone, but what belongs to it exists: restore it, or remove the rest")
            _unnamed(file).rename(file)
            written.append(file)
    return written


def replace(file: Path, text: str) -> None:
    """What stands there is, at any moment, the old text or the new one, whole and for the owner alone."""
    _write(_unnamed(file), text, 0o600)
    _unnamed(file).rename(file)


def _unnamed(file: Path) -> Path:
    return file.with_name(file.name + ".new")


def _write(file: Path, text: str, mode: int) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(descriptor)
    file.chmod(mode)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m launch.secrets DIRECTORY\n")
        return 2
    # Containers see a single mounted file with the modes it has here, and run as others than its owner: what keeps
    # these files private is the folder.
    try:
        written = write(Path(arguments[0]), PRODUCTION, suffix=".txt", mode=0o444)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"wrote {path}\n" for path in written) or "every secret exists already\n")
    for name in ISSUED:
        path = Path(arguments[0]) / f"{name}.txt"
        if not path.exists():
            sys.stdout.write(f"still to come from you: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
