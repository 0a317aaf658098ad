"""What a worker process is told, once, by its main."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Self, TypeAlias

from models.settings import SettingsError
from models.vocabulary import Queue
from workers.queue import QueueSettings

Network: TypeAlias = IPv4Network | IPv6Network

SHUTDOWN_GRACE: Final = timedelta(seconds=20)
"""Below every supervisor's own patience: past it jobs are left to their leases and the sweep."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    queue: QueueSettings
    threads: int = 32
    """A running job holds a thread, asynchronous or not. Past 64 the interpreter lock eats the gain."""
    queues: frozenset[Queue] = frozenset(Queue)
    grace: timedelta = SHUTDOWN_GRACE

    def __post_init__(self) -> None:
        if not 1 <= self.threads <= 256:
            raise SettingsError("WORKER_THREADS: from 1 to 256")
        if not self.queues:
            raise SettingsError("WORKER_QUEUES: name at least one queue")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        names = environ.get("WORKER_QUEUES") or ",".join(Queue)
        try:
            queues = frozenset(Queue(name.strip()) for name in names.split(","))
        except ValueError:
            raise SettingsError(f"WORKER_QUEUES: known are {', '.join(Queue)}") from None
        threads = environ.get("WORKER_THREADS") or "32"
        if not (threads.isascii() and threads.isdigit()):
            raise SettingsError("WORKER_THREADS: from 1 to 256")
        return cls(QueueSettings.from_env(environ), int(threads), queues)


def app_networks(environ: Mapping[str, str]) -> tuple[Network, ...]:
    """APP_NETWORKS: where apps may be told beside the public internet. Raises SettingsError."""
    text = environ.get("APP_NETWORKS", "")
    try:
        return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())
    except ValueError:
        raise SettingsError("APP_NETWORKS must be networks like 10.1.0.0/16, with commas between them") from None
