import json
import socket
from pathlib import Path

import pytest

from launch import fleet
from launch.fleet import Fleet
from launch.process import StartFailed

TOLD = Fleet({"CA_FILE": "keys/ca.crt"}, {"KIND": "ec"}, ("FIRST_PUSH_URL", "SECOND_PUSH_URL"))
PEOPLE = {"url": "http://127.0.0.1:8080", "people": [{"account": "a@example.org", "devices": []}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / fleet.STATE).mkdir()
    return tmp_path


def test_a_folder_without_people_has_no_demo_whatever_else_is_there(data: Path) -> None:
    TOLD.save(data)

    assert Fleet.load(data) is None


def test_what_was_saved_is_loaded(data: Path) -> None:
    TOLD.save(data)
    fleet.write_people(data / fleet.PEOPLE, PEOPLE)

    assert Fleet.load(data) == TOLD


def test_files_are_named_where_the_folder_is_now_and_push_services_follow_each_other(data: Path) -> None:
    assert TOLD.environment(data, 9000) == {
        "KIND": "ec",
        "CA_FILE": f"{data}/keys/ca.crt",
        "FIRST_PUSH_URL": "https://127.0.0.1:9000",
        "SECOND_PUSH_URL": "https://127.0.0.1:9001",
    }


def test_the_push_port_stays_the_same_while_it_is_free(data: Path) -> None:
    port = TOLD.push_port(data)

    assert TOLD.push_port(data) == port
    with socket.create_server(("127.0.0.1", port + 1)):
        other = TOLD.push_port(data)
    assert other != port
    assert TOLD.push_port(data) == other


@pytest.mark.parametrize("text", ["", "{", "\N{SNOWMAN}"])
def test_a_file_that_was_damaged_is_named(data: Path, text: str) -> None:
    (data / fleet.PEOPLE).write_text(text, encoding="utf-8")

    with pytest.raises(StartFailed, match=r"demo\.json is not what was written there"):
        fleet.tell_address(data, "http://127.0.0.1:9000")


def test_people_are_told_where_we_are_this_time(data: Path) -> None:
    file = data / fleet.PEOPLE
    fleet.write_people(file, PEOPLE)

    fleet.tell_address(data, "http://127.0.0.1:9000")

    assert json.loads(file.read_text()) == {**PEOPLE, "url": "http://127.0.0.1:9000"}
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_not_enrolled_yet_is_said_by_name(data: Path) -> None:
    fleet.write_people(data / fleet.PEOPLE, PEOPLE)
    (data / fleet.WANTED).write_text('[{"account": "a@example.org", "name": "A\'s phone", "platform": "pocket"}]')

    assert fleet.missing(data) == "A's phone: not enrolled yet"

    device = {"id": "1", "name": "A's phone", "platform": "pocket"}
    fleet.write_people(data / fleet.PEOPLE, {**PEOPLE, "people": [{"account": "a@example.org", "devices": [device]}]})
    assert fleet.missing(data) is None
