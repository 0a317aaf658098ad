"""A folder instead of the world, for embedded mode alone: each message as files, and a page that lists them.

A developer opens `index.html`; nothing serves it, so nobody else can ask for it. A message sent twice is one entry.
"""

import asyncio
import html
import json
import os
from pathlib import Path
from typing import Final

from models.delivery import Channel
from workers.carriers import Parcel, Sender
from workers.envelope import compose
from workers.letters import Letters

SHOWN: Final = 200
"""Older ones are removed: it is a place to look, not an archive."""
_PARTS: Final = (".json", ".txt", ".html", ".eml")


class Outbox:
    def __init__(self, folder: Path, letters: Letters, sender: Sender) -> None:
        self._folder = folder
        self._letters = letters
        self._sender = sender
        self._turn = asyncio.Lock()

    async def carry(self, parcel: Parcel) -> None:
        files, entry = self._files(parcel)
        async with self._turn:
            await asyncio.to_thread(self._keep, str(parcel.held.id), files, entry)

    def _files(self, parcel: Parcel) -> tuple[dict[str, bytes], dict[str, str]]:
        held = parcel.held
        entry = {
            "at": held.created_at.isoformat(timespec="seconds"),
            "channel": held.channel.value,
            "to": parcel.to,
            "key": held.key,
        }
        if held.channel is Channel.SMS:
            text = self._letters.sms(parcel)
            return {".txt": text.encode()}, {**entry, "subject": text}
        letter = self._letters.mail(parcel)
        files = {
            ".txt": letter.plain.encode(),
            ".html": letter.html.encode(),
            ".eml": compose(parcel, self._letters, self._sender),
        }
        return files, {**entry, "subject": letter.subject}

    def _keep(self, name: str, files: dict[str, bytes], entry: dict[str, str]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for suffix, content in files.items():
            self._write(name + suffix, content)
        # Last of the message's own: what the page lists is whole.
        self._write(name + ".json", json.dumps(entry, ensure_ascii=False).encode())
        # The names are UUIDv7: they sort by time.
        names = sorted((file.stem for file in self._folder.glob("*.json")), reverse=True)
        for old in names[SHOWN:]:
            for suffix in _PARTS:
                (self._folder / f"{old}{suffix}").unlink(missing_ok=True)
        self._write("index.html", self._page(names[:SHOWN]).encode())

    def _write(self, name: str, content: bytes) -> None:
        """Whole at any moment, and for the owner alone."""
        draft = self._folder / f"{name}.new"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(content)
        draft.rename(self._folder / name)

    def _page(self, names: list[str]) -> str:
        rows = "".join(self._row(name) for name in names)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
            "<title>Outbox</title></head><body><h1>Outbox</h1>"
            "<p>What this installation would have sent. Newest first.</p>"
            '<table border="1" cellpadding="6"><thead><tr><th scope="col">When</th><th scope="col">Channel</th>'
            '<th scope="col">To</th><th scope="col">What</th><th scope="col">Read it</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></body></html>\n"
        )

    def _row(self, name: str) -> str:
        entry = json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8"))
        links = " ".join(
            f'<a href="{name}{suffix}">{word}</a>'
            for suffix, word in ((".html", "HTML"), (".txt", "plain"), (".eml", "source"))
            if (self._folder / f"{name}{suffix}").exists()
        )
        cells = "".join(f"<td>{html.escape(entry[part])}</td>" for part in ("at", "channel", "to", "subject"))
        return f"<tr>{cells}<td>{links}</td></tr>"
