"""Settings come from the environment or from files it names; what is wrong is named, its value never."""

import base64
import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.settings import FILE_LIMIT, DatabaseSettings, SettingsError, audit_key, resolve_files, session_life


@pytest.mark.parametrize("url", ["sqlite:///latchkey.db", "postgresql://me:hunter2@host/name"])
def test_an_address_of_either_kind_is_taken_and_not_printed(url: str) -> None:
    settings = DatabaseSettings.from_env({"DATABASE_URL": url})

    assert settings.url == url
    assert url not in repr(settings)


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": ""}, {"DATABASE_URL": "mysql://me:hunter2@host/name"}])
def test_any_other_address_is_a_clear_error(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        DatabaseSettings.from_env(environ)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "value"), [(b"s3", "s3"), (b"s3\n", "s3"), (b"s3\r\n", "s3"), (b"s3\n\n", "s3\n"), (b" s3 ", " s3 ")]
)
def test_a_secret_may_come_as_a_file(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "key").write_bytes(content)

    resolved = resolve_files({"AUDIT_KEY_FILE": str(tmp_path / "key"), "PORT": "1"})

    assert resolved["AUDIT_KEY"] == value
    assert resolved["PORT"] == "1"


def test_a_setting_given_twice_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")

    with pytest.raises(SettingsError, match="AUDIT_KEY and AUDIT_KEY_FILE are both set"):
        resolve_files({"AUDIT_KEY_FILE": str(tmp_path / "key"), "AUDIT_KEY": "other"})


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a\0b", b"x" * (FILE_LIMIT + 1)])
def test_a_file_that_holds_no_setting_is_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)

    with pytest.raises(SettingsError, match="AUDIT_KEY_FILE names a file"):
        resolve_files({"AUDIT_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize("variable", ["CLOCK_OFFSET_FILE", "SSL_CERT_FILE", "_FILE", "FILE"])
def test_a_variable_that_means_the_file_itself_is_left_alone(variable: str) -> None:
    assert resolve_files({variable: "/nowhere"}) == {variable: "/nowhere"}


def test_a_file_that_is_not_named_is_no_file() -> None:
    assert resolve_files({"AUDIT_KEY_FILE": ""}) == {"AUDIT_KEY_FILE": ""}


def test_the_key_of_the_record_is_32_bytes() -> None:
    assert audit_key({"AUDIT_KEY": base64.b64encode(b"a" * 32).decode()}).value == b"a" * 32


@pytest.mark.parametrize("text", ["", "a", "!", "ü", base64.b64encode(b"a" * 31).decode()])
def test_any_other_key_of_the_record_is_a_clear_error(text: str) -> None:
    with pytest.raises(SettingsError, match="AUDIT_KEY must be 32 bytes"):
        audit_key({"AUDIT_KEY": text})


@given(st.text(max_size=60))
def test_no_text_makes_the_key_of_the_record_fail_in_any_other_way(text: str) -> None:
    with contextlib.suppress(SettingsError):
        audit_key({"AUDIT_KEY": text})


@pytest.mark.parametrize(
    ("roles", "is_operator", "idle", "absolute"),
    [
        ((), False, 30, 12),
        (("global_administrator",), False, 15, 8),
        ((), True, 15, 8),
        (("global_administrator",), True, 15, 8),
    ],
)
def test_sessions_of_whoever_has_a_role_are_shorter(
    roles: tuple[str, ...], is_operator: bool, idle: int, absolute: int
) -> None:
    life = session_life(roles, is_operator=is_operator)

    assert (life.idle, life.absolute) == (timedelta(minutes=idle), timedelta(hours=absolute))
