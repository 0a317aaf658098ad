"""The folder that a developer reads instead of a mail server."""

import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest

import workers.outbox
from models.delivery import Channel
from platforms.errors import Refused
from tests.workers.post import parcel
from workers.carriers import NOBODY, Sender
from workers.letters import Letters
from workers.outbox import Outbox


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name == "href"]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox", Letters("http://127.0.0.1:8080"), Sender.of(NOBODY))


async def test_each_message_is_files_and_a_line_on_the_page(outbox: Outbox, tmp_path: Path) -> None:
    folder, sent = tmp_path / "outbox", parcel()

    await outbox.carry(sent)
    await outbox.carry(sent)
    await outbox.carry(parcel("<b>@example.org", key="passcode.revealed"))

    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == 3
    assert "You were signed out everywhere" in page
    assert "<b>" not in page
    links = Links(page).found
    assert len(links) == 6
    assert all((folder / link).is_file() for link in links)
    plain = (folder / f"{sent.held.id}.txt").read_text(encoding="utf-8")
    assert "http://127.0.0.1:8080/not-me?language=en#the-token" in plain
    assert b"Message-ID: <" in (folder / f"{sent.held.id}.eml").read_bytes()


async def test_it_is_its_owners_alone(outbox: Outbox, tmp_path: Path) -> None:
    await outbox.carry(parcel())

    assert stat.S_IMODE((tmp_path / "outbox").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "outbox").iterdir()} == {0o600}


async def test_the_oldest_make_room(outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.outbox, "SHOWN", 2)
    sent = sorted((parcel() for _ in range(3)), key=lambda one: one.held.id)

    for one in sent:
        await outbox.carry(one)

    assert {file.stem for file in (tmp_path / "outbox").glob("*.eml")} == {str(one.held.id) for one in sent[1:]}
    assert len(list((tmp_path / "outbox").iterdir())) == 2 * 4 + 1


async def test_a_short_message_without_words_is_refused(outbox: Outbox) -> None:
    with pytest.raises(Refused):
        await outbox.carry(parcel("+31612345678", channel=Channel.SMS, key="no.such"))
