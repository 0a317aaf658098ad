"""Log lines: one line a record, fields bound to a request or a job, nothing that a message or a request carried.

`embedded` prints key=value for people, `production` JSON for machines. What a line may hold is what the caller names:
an id, a count, a state. Secrets have no printable form (`vocabulary.Secret`), message arguments are never handed over.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

from models.settings import SettingsError

_BOUND: ContextVar[Mapping[str, str]] = ContextVar("bound", default={})  # noqa: B039 - replaced whole, never changed
_OWN_TO_RECORDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TALKATIVE: Final = (
    "aiosqlite",  # every statement with its values
    "asyncio",
    "h2",
    "hpack",  # header tables, credentials among them
    "httpcore",
    "httpx",  # whole addresses at INFO: a push address names the device
    "psycopg",
    "redis",
    "sqlalchemy",  # statements with their values
)
"""Loggers whose INFO or DEBUG prints what we must not: WARNING and above, whatever LOG_LEVEL says."""

_QUOTING: Final = frozenset({"aiohttp.server"})
"""Loggers whose errors quote a request that could not be read, credentials among it: of those, only what and where."""


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add fields to every line written inside, in this task or thread and in the coroutines it starts."""
    token = _BOUND.set({**_BOUND.get(), **{name: str(value) for name, value in fields.items()}})
    try:
        yield
    finally:
        _BOUND.reset(token)


def configure(level: str, mode: str, stream: TextIO | None = None) -> None:
    """Set up the root logger of this process; called once, by a main. Raises SettingsError for a level nobody knows."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise SettingsError("LOG_LEVEL must be debug, info, warning, error or critical")
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(Fields() if mode == "production" else Pairs())
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


class Fields(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(self, record), default=str)


class Pairs(logging.Formatter):
    """A record as one line of key=value; a value that could be misread is quoted as JSON does it."""

    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={_plain(value)}" for key, value in _fields(self, record).items())


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "from": record.name,
        "says": record.getMessage(),
        **_BOUND.get(),
        **{name: value for name, value in vars(record).items() if name not in _OWN_TO_RECORDS},
    }
    if record.exc_info and record.exc_info[1] is not None and record.name in _QUOTING:
        fields |= {"error_type": type(record.exc_info[1]).__name__, "where": where(record.exc_info[1])}
    elif record.exc_info:
        fields["error"] = formatter.formatException(record.exc_info)
    return fields


def _plain(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(character in ' "=\\' for character in text):
        return text
    return json.dumps(text)


def where(error: BaseException) -> str:
    """The way an error came, newest first, by functions and lines: its own words may hold what somebody typed."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
