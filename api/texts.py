"""The persons' words: the house's own and each platform's, by key, in every language we speak."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

import models
import platforms
from models.vocabulary import LANGUAGES, PlatformName

FALLBACK: Final = "en"


@dataclass(frozen=True, slots=True)
class Catalog:
    """One language. `document` is what is served, `etag` its mark."""

    texts: Mapping[str, str] = field(repr=False)
    document: bytes = field(repr=False)
    etag: str


class _Blanks(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return ""


class Texts:
    """All catalogs of this process. A key that a language lacks falls to English, one that nobody has to itself."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Raises ValueError when two folders claim one key."""
        folders = tuple(folders)
        self._catalogs = {language: _catalog(language, folders) for language in LANGUAGES}

    def catalog(self, language: str) -> Catalog | None:
        return self._catalogs.get(language)

    def has(self, key: str) -> bool:
        """Whether anybody says it."""
        return key in self._catalogs[FALLBACK].texts

    def say(self, language: str, key: str, facts: Mapping[str, Any]) -> str:
        for known in (language, FALLBACK):
            catalog = self._catalogs.get(known)
            if catalog is not None and key in catalog.texts:
                return catalog.texts[key].format_map(_Blanks(facts))
        return key

    def broken(self, language: str, errors: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rules that are broken, each with its words."""
        told = [dict(one) for one in errors]
        for one in told:
            if "rule" in one:
                one["text"] = self.say(language, f"rule.{one['rule']}", one)
        return told


def _catalog(language: str, folders: Iterable[Path]) -> Catalog:
    texts: dict[str, str] = {}
    for folder in folders:
        file = folder / f"{language}.json"
        if not file.exists():
            continue
        for key, text in json.loads(file.read_text(encoding="utf-8")).items():
            if key in texts:
                raise ValueError(f"{file} says {key} a second time")
            texts[key] = text
    document = msgspec.json.encode({"language": language, "texts": texts}, order="sorted")
    return Catalog(texts, document, f'"{hashlib.sha256(document).hexdigest()[:32]}"')


def folders(names: Iterable[PlatformName]) -> tuple[Path, ...]:
    """Where the texts of the house and of these platforms lie."""
    ours = Path(models.__file__).parent / "texts"
    rooms = [Path(room) for room in platforms.__path__]
    return ours, *(room / name / "texts" for name in sorted(names) for room in rooms)


def choose(accepted: str | None) -> str:
    """The best language that we speak of an Accept-Language header; English where there is none."""
    best, best_weight = FALLBACK, 0.0
    for part in (accepted or "").split(","):
        tag, _, weight = part.strip().partition(";q=")
        language = tag.partition("-")[0].lower()
        if language in LANGUAGES:
            found = _weight(weight)
            if found > best_weight:
                best, best_weight = language, found
    return best


def _weight(text: str) -> float:
    if not text:
        return 1.0
    try:
        return float(text)
    except ValueError:
        return 0.0
