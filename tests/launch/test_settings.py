from pathlib import Path

import pytest

from launch.settings import LaunchSettings, local_url, reachable
from models.settings import SettingsError

HERE = Path("/srv/latchkey")


def test_without_being_told_anything_it_keeps_to_this_machine_and_this_folder() -> None:
    settings = LaunchSettings.from_env({}, HERE)

    assert (settings.host, settings.port, settings.data) == ("127.0.0.1", 8080, HERE / ".data")
    assert settings.public_url == "http://127.0.0.1:8080"
    assert settings.redis_url is None


def test_port_host_and_data_dir_are_taken_from_the_environment() -> None:
    settings = LaunchSettings.from_env({"PORT": "9000", "HOST": "::1", "DATA_DIR": "elsewhere/../other"}, HERE)

    assert (settings.host, settings.port, settings.data) == ("::1", 9000, HERE / "other")
    assert settings.public_url == "http://[::1]:9000"
    assert settings.database_url == "sqlite:////srv/latchkey/other/latchkey.db"


@pytest.mark.parametrize("text", ["0", "65536", "-1", "80a", "\N{FULLWIDTH DIGIT EIGHT}0", " 80", "9" * 5000, "0x50"])
def test_a_port_that_is_none_is_a_clear_error(text: str) -> None:
    with pytest.raises(SettingsError, match="PORT must be a number from 1 to 65535"):
        LaunchSettings.from_env({"PORT": text}, HERE)


@pytest.mark.parametrize("sign", "?#%")
def test_a_folder_that_would_break_a_database_address_is_a_clear_error(sign: str) -> None:
    with pytest.raises(SettingsError, match="DATA_DIR must not hold"):
        LaunchSettings.from_env({"DATA_DIR": f"a{sign}b"}, HERE)


def test_children_see_nothing_of_other_projects() -> None:
    environ = {"PATH": "/bin", "DATABASE_URL": "postgresql://other", "SEAL_KEYS": "secret", "IOS_TOPIC": "other"}

    told = LaunchSettings.from_env(environ, HERE).environment("unix:///redis")

    assert told["PATH"] == "/bin"
    assert told["DATABASE_URL"] == "sqlite:////srv/latchkey/.data/latchkey.db"
    assert told["REDIS_URL"] == "unix:///redis"
    assert not {"SEAL_KEYS", "IOS_TOPIC"} & set(told)


def test_what_listens_everywhere_is_reached_on_this_machine() -> None:
    everywhere = "0.0.0.0"  # noqa: S104 - nothing is bound here

    assert reachable(everywhere) == reachable("::") == "127.0.0.1"
    assert local_url(everywhere, 80) == "http://127.0.0.1:80"
