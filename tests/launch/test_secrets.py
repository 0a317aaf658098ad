import base64
import stat
from pathlib import Path

import pytest

from launch import secrets

PAIR = secrets.Secrets(("first", "second"), lambda: ("one", "two"))


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_folder_gets_secrets_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        secrets.write(tmp_path / name, secrets.OURS)

    first, second = files(tmp_path / "a"), files(tmp_path / "b")

    assert first.keys() == second.keys() == {"audit_key", "seal_keys", "throttle_key"}
    assert not set(first.values()) & set(second.values())
    name, _, key = first["seal_keys"].partition(":")
    assert name
    assert len(base64.b64decode(key, validate=True)) == len(base64.b64decode(first["audit_key"], validate=True)) == 32


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    secrets.write(tmp_path / "keys", secrets.OURS)

    assert mode(tmp_path / "keys") == 0o700
    assert {mode(path) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_what_exists_is_never_replaced(tmp_path: Path) -> None:
    secrets.write(tmp_path, secrets.OURS)
    before = files(tmp_path)

    assert secrets.write(tmp_path, secrets.OURS) == []

    assert files(tmp_path) == before


def test_a_start_that_was_cut_short_between_two_names_is_finished(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("ONE")
    (tmp_path / "second.new").write_text("TWO")

    secrets.write(tmp_path, [PAIR])

    assert files(tmp_path) == {"first": "ONE", "second": "TWO"}


def test_a_start_that_was_cut_short_before_the_first_name_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "first.new").write_text("ON")

    secrets.write(tmp_path, [PAIR])

    assert files(tmp_path) == {"first": "one", "second": "two"}


def test_half_of_what_belongs_together_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("ONE")

    with pytest.raises(FileExistsError, match="second is gone, but what belongs to it exists"):
        secrets.write(tmp_path, [PAIR])


def test_the_command_writes_what_containers_can_read_in_a_folder_that_others_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert secrets.main([str(tmp_path / "secrets")]) == 0

    written = files(tmp_path / "secrets")
    assert mode(tmp_path / "secrets") == 0o700
    assert {mode(path) for path in (tmp_path / "secrets").iterdir()} == {0o444}
    assert written["postgres_password.txt"] in written["database_url.txt"]
    assert written["redis_password.txt"] in written["redis_url.txt"]
    said = capsys.readouterr().out
    assert not [secret for secret in written.values() if secret and secret in said]


def test_the_command_can_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secrets.main([str(tmp_path)])
    before = files(tmp_path)
    capsys.readouterr()

    assert secrets.main([str(tmp_path)]) == 0

    assert files(tmp_path) == before
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "every secret exists already"
    assert said[1:] == [f"still to come from you: {tmp_path}/{name}.txt" for name in secrets.ISSUED]


def test_what_others_issued_is_not_asked_for_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in secrets.ISSUED:
        (tmp_path / f"{name}.txt").touch()

    secrets.main([str(tmp_path)])

    assert "still to come" not in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_the_command_says_how_it_is_used(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert secrets.main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()

    assert secrets.main([str(tmp_path / "file")]) == 1
    assert "file" in capsys.readouterr().err
