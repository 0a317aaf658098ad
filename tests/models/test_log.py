import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.log import Fields, Pairs, bound, configure
from models.settings import SettingsError
from models.vocabulary import Secret

LOG = logging.getLogger("tests.log")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def test_a_line_names_its_time_level_origin_and_what_the_caller_adds() -> None:
    stream = io.StringIO()
    configure("info", "production", stream)

    LOG.info("taken by %s", "nobody", extra={"count": 3})

    line = json.loads(stream.getvalue())
    assert line.pop("at").endswith("+00:00")
    assert line == {"level": "info", "from": "tests.log", "says": "taken by nobody", "count": 3}


def test_people_read_pairs_on_one_line() -> None:
    stream = io.StringIO()
    configure("INFO", "embedded", stream)

    LOG.warning("two words", extra={"address": "192.0.2.1", "empty": "", "sly": 'x" level=info\nsecond'})

    assert stream.getvalue().split(" ", 1)[1] == (
        'level=warning from=tests.log says="two words" address=192.0.2.1 empty="" sly="x\\" level=info\\nsecond"\n'
    )


async def test_bound_fields_are_on_every_line_of_a_task_and_on_no_other() -> None:
    stream = io.StringIO()
    configure("info", "production", stream)

    async def work(job: int) -> None:
        with bound(job=job), bound(attempt=1):
            await asyncio.sleep(0)
            LOG.info("inside")
        LOG.info("outside")

    await asyncio.gather(work(1), work(2))

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("job") for line in lines if line["says"] == "inside"] == ["1", "2"]
    assert not any("job" in line or "attempt" in line for line in lines if line["says"] == "outside")


@pytest.mark.parametrize("mode", ["embedded", "production"])
def test_a_traceback_stays_on_its_line(mode: str) -> None:
    stream = io.StringIO()
    configure("info", mode, stream)

    LOG.error("failed", exc_info=RuntimeError("first\nsecond"))

    assert stream.getvalue().count("\n") == 1
    assert "RuntimeError: first" in stream.getvalue()


@pytest.mark.parametrize("mode", ["embedded", "production"])
def test_an_error_that_quotes_a_request_is_told_without_its_words(mode: str) -> None:
    stream = io.StringIO()
    configure("info", mode, stream)

    try:
        int("4711-secret")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request")

    assert "4711" not in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert "test_an_error_that_quotes_a_request" in stream.getvalue()


@pytest.mark.parametrize("mode", ["embedded", "production"])
def test_a_secret_shows_nothing_of_itself(mode: str) -> None:
    stream = io.StringIO()
    configure("debug", mode, stream)

    LOG.info("read %s", Secret(b"4711-secret"), extra={"value": Secret(b"4711-secret")})

    assert "4711" not in stream.getvalue()


@pytest.mark.parametrize("name", ["httpx", "httpcore", "aiosqlite", "sqlalchemy.engine", "hpack", "redis", "psycopg"])
def test_libraries_that_print_values_are_kept_quiet_at_every_level(name: str) -> None:
    stream = io.StringIO()
    configure("debug", "embedded", stream)

    logging.getLogger(name).info("a value")
    logging.getLogger(name).warning("a warning")

    assert "a value" not in stream.getvalue()
    assert "a warning" in stream.getvalue()


def test_warnings_of_python_are_log_lines() -> None:
    stream = io.StringIO()
    configure("info", "embedded", stream)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("beware", stacklevel=1)

    assert "beware" in stream.getvalue()


def test_a_level_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingsError, match="LOG_LEVEL"):
        configure("loud", "embedded")


@given(st.text(), st.text())
def test_whatever_is_said_a_record_is_one_line(says: str, value: str) -> None:
    record = LOG.makeRecord("tests", logging.INFO, "file", 1, "%s", (says,), None, extra={"value": value})

    assert len(Pairs().format(record).splitlines()) == 1
    assert len(Fields().format(record).splitlines()) == 1
    assert json.loads(Fields().format(record))["value"] == value
