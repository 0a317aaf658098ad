"""Settings are read once, and what is wrong with them is said by name, never by value."""

import base64
from datetime import timedelta
from pathlib import Path

import pytest

from models.settings import (
    FILE_LIMIT,
    RE_SIGN_IN_WINDOW,
    DatabaseSettings,
    SettingsError,
    audit_key,
    resolve_files,
)


def test_the_five_minutes_are_five_minutes() -> None:
    assert timedelta(seconds=300) == RE_SIGN_IN_WINDOW


@pytest.mark.parametrize(
    "url", ["sqlite:///data/latchkey.db", "sqlite:////data/latchkey.db", "postgresql://me@db/name"]
)
def test_both_kinds_of_database_are_taken(url: str) -> None:
    assert DatabaseSettings.from_env({"DATABASE_URL": url}).url == url


@pytest.mark.parametrize("url", [None, "", "sqlite://", "sqlite:///", "mysql://me:hunter2@db/name", "hunter2"])
def test_any_other_address_stops_the_start_without_being_quoted(url: str | None) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL must be") as caught:
        DatabaseSettings.from_env({} if url is None else {"DATABASE_URL": url})

    assert "hunter2" not in str(caught.value)


def test_an_address_with_a_password_is_not_printed() -> None:
    assert "hunter2" not in repr(DatabaseSettings.from_env({"DATABASE_URL": "postgresql://me:hunter2@db/name"}))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 ", " hunter2 "),
        (b"-----BEGIN\nabc\n-----END\n", "-----BEGIN\nabc\n-----END"),
        ("pässword".encode(), "pässword"),
        (b"", ""),
    ],
)
def test_a_setting_may_come_as_a_file(tmp_path: Path, content: bytes, value: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    environ = {"SEAL_KEYS_FILE": str(file), "PORT": "8080"}

    assert resolve_files(environ) == {**environ, "SEAL_KEYS": value}


@pytest.mark.parametrize(
    "environ",
    [{"CLOCK_OFFSET_FILE": "/nowhere"}, {"SSL_CERT_FILE": "/nowhere"}, {"_FILE": "/nowhere"}, {"SEAL_KEYS_FILE": ""}],
)
def test_what_only_looks_like_a_file_of_ours_is_left_alone(environ: dict[str, str]) -> None:
    assert resolve_files(environ) == environ


def test_a_setting_given_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2")

    with pytest.raises(SettingsError, match="SEAL_KEYS and SEAL_KEYS_FILE are both set"):
        resolve_files({"SEAL_KEYS_FILE": str(file), "SEAL_KEYS": "hunter3"})


@pytest.mark.parametrize("content", [None, b"\xff\xfehunter2", b"hunter2\0", b"x" * (FILE_LIMIT + 1)])
def test_a_file_that_holds_no_text_is_named_by_its_variable(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match="SEAL_KEYS_FILE names a file") as caught:
        resolve_files({"SEAL_KEYS_FILE": str(file)})
    assert "hunter2" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SEAL_KEYS_FILE names a file"):
        resolve_files({"SEAL_KEYS_FILE": str(tmp_path)})


def test_the_audit_key_is_32_bytes() -> None:
    assert audit_key({"AUDIT_KEY": base64.b64encode(b"k" * 32).decode()}).value == b"k" * 32


@pytest.mark.parametrize("text", [None, "", "hunter2", "é", "\udcff", base64.b64encode(b"k" * 31).decode()])
def test_any_other_audit_key_stops_the_start_without_being_quoted(text: str | None) -> None:
    with pytest.raises(SettingsError, match="AUDIT_KEY must be 32 bytes") as caught:
        audit_key({} if text is None else {"AUDIT_KEY": text})

    assert "hunter2" not in str(caught.value)
