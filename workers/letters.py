"""What a message says: the text its key names, in the person's language, plain and as HTML from the same words.

Values come from people (the name of a device): each is one line, bounded, and escaped where it becomes HTML. A link
leads to the configured address and nowhere else.
"""

import html
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import models
from models.delivery import Delivery, Link
from models.settings import NOT_ME_LINK
from models.vocabulary import LANGUAGES
from platforms.errors import Refused
from workers.carriers import Parcel

FALLBACK: Final = "en"
FOLDER: Final = Path(models.__file__).parent / "texts" / "letters"
LONGEST_VALUE: Final = 120
MOMENTS: Final = frozenset({"at", "until"})
"""Parameters that are moments, in ISO 8601."""


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    plain: str = field(repr=False)
    html: str = field(repr=False)
    language: str


class Letters:
    def __init__(self, public_url: str, folder: Path = FOLDER) -> None:
        self._public_url = public_url
        self._catalogs: dict[str, dict[str, str]] = {
            language: json.loads((folder / f"{language}.json").read_text(encoding="utf-8")) for language in LANGUAGES
        }

    def mail(self, parcel: Parcel) -> Letter:
        """Raises Refused where no text has this key: a bug of ours, and no reason to try again."""
        held = parcel.held
        language, facts = self._facts(parcel)
        subject = self._say(language, f"mail.{held.key}.subject", facts)
        paragraphs = self._say(language, f"mail.{held.key}.text", facts).split("\n")
        link = None
        if held.link is not None and parcel.secret is not None:
            link = f"{self._public_url}{held.link}?language={language}#{parcel.secret.text()}"
            paragraphs.append(self._say(language, f"letter.link.{held.link.name.lower()}", facts))
        footer = self._say(language, "letter.footer", facts)
        return Letter(
            subject=subject,
            plain=_plain(paragraphs, link, footer),
            html=_html(language, subject, paragraphs, link, footer),
            language=language,
        )

    def sms(self, parcel: Parcel) -> str:
        """Raises Refused, as above."""
        language, facts = self._facts(parcel)
        return self._say(language, f"sms.{parcel.held.key}", facts)

    def _facts(self, parcel: Parcel) -> tuple[str, dict[str, str]]:
        held = parcel.held
        language = held.language if held.language in LANGUAGES else FALLBACK
        facts = {name: self._value(language, name, value) for name, value in held.params.items()}
        facts["link_until"] = self._moment(language, _link_until(held))
        if held.link is None and parcel.secret is not None:
            facts["code"] = parcel.secret.text()
        return language, facts

    def _value(self, language: str, name: str, value: object) -> str:
        text = str(value)
        if name in MOMENTS:
            try:
                return self._moment(language, datetime.fromisoformat(text))
            except ValueError:
                pass
        return one_line(text)

    def _moment(self, language: str, moment: datetime) -> str:
        month = self._catalogs[language]["letter.months"].split()[moment.month - 1]
        return f"{moment.day} {month} {moment.year}, {moment:%H:%M} UTC"

    def _say(self, language: str, key: str, facts: Mapping[str, str]) -> str:
        try:
            return self._catalogs[language][key].format_map(facts)
        except KeyError:
            raise Refused("no_text") from None


def one_line(text: str) -> str:
    """Somebody's words as part of ours: no line ends, no marks that turn or hide text, and not without end."""
    shown = "".join(" " if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else one for one in text)
    return " ".join(shown.split())[:LONGEST_VALUE]


def _link_until(held: Delivery) -> datetime:
    return held.created_at + NOT_ME_LINK if held.link is Link.NOT_ME else held.expires_at


def _plain(paragraphs: list[str], link: str | None, footer: str) -> str:
    parts = [*paragraphs, *([] if link is None else [link]), f"-- \n{footer}"]
    return "\n\n".join(parts) + "\n"


def _html(language: str, subject: str, paragraphs: list[str], link: str | None, footer: str) -> str:
    """Nothing is fetched from anywhere, and the address a link leads to is what the person reads."""
    body = "".join(f"<p>{html.escape(one)}</p>" for one in paragraphs)
    if link is not None:
        body += f'<p><a href="{html.escape(link)}">{html.escape(link)}</a></p>'
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>{html.escape(subject)}</title></head><body>{body}<hr><p><small>{html.escape(footer)}</small></p></body></html>\n"
    )
