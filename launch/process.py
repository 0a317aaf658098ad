"""Children that do not outlive us, and locks that are free when their holders are gone."""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

TIED: Final = sys.platform == "linux"
"""Whether this system ends a child together with its parent, however the parent ended."""

_PR_SET_PDEATHSIG: Final = 1
_LOOK_AGAIN: Final = 0.01


class StartFailed(Exception):
    """A child cannot be had; the message says why, and what to do where we know it."""


def tie_to_parent(parent: int) -> None:
    """From now on this process ends when `parent`, who started it, does. Raises OSError when it is gone already."""
    if not TIED:
        return
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise ProcessLookupError(f"process {parent}, which started this one, is gone")


# Looked up before any fork: between fork and exec nothing may be loaded.
_PRCTL: Final[Callable[..., int]] = ctypes.CDLL(None, use_errno=True).prctl if TIED else lambda *_: 0


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    output: int,
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `command` in its own process group, tied to our life. It inherits the descriptors in `keep`.

    Raises StartFailed when there is nothing to run.
    """
    if threading.current_thread() is not threading.main_thread():
        # The tie is to the thread that forks: a child of a passing thread would end with it.
        raise RuntimeError("children are started from the main thread")
    parent = os.getpid()
    try:
        return subprocess.Popen(  # noqa: S603 - the commands are ours
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(keep),
            process_group=0,
            umask=0o077,
            preexec_fn=lambda: tie_to_parent(parent),  # noqa: PLW1509 - one call into libc, looked up beforehand
        )
    except OSError as error:
        raise StartFailed(f"{command[0]}: {error.strerror}") from error


class Lock:
    """A locked file. A process that inherits `descriptor` holds it too: it is free when the last of them is gone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, patience: float = 0.0) -> "Lock | None":
        """None when somebody else holds it for longer than `patience` seconds."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(_LOOK_AGAIN)
            else:
                return cls(descriptor)

    def note(self, text: str) -> None:
        """Leave word in the file for those who find it locked."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def leave(self) -> None:
        """Let go of our own hold; whoever inherited it still has it."""
        os.close(self.descriptor)
