"""The catalogs are whole: every key in both languages, with the same parameters."""

import json
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import api
import models
import platforms
import workers
from api.middleware import PROBLEMS
from api.texts import LANGUAGES, Texts, choose, folders
from models.job import ENDINGS
from models.sign_out import Untold
from models.vocabulary import Act, JobState, PlatformName, Reason
from tests.api.house import House

LETTERS = Path(models.__file__).parent / "texts" / "letters"
FOLDERS = [
    Path(models.__file__).parent / "texts",
    LETTERS,
    *sorted(folder for folder in Path(platforms.__file__).parent.glob("*/texts") if folder.is_dir()),
]


def catalog(folder: Path, language: str) -> dict[str, str]:
    loaded: dict[str, str] = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
    return loaded


def parameters(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_both_languages_say_the_same_keys_with_the_same_parameters(folder: Path) -> None:
    english, dutch = catalog(folder, "en"), catalog(folder, "nl")

    assert english.keys() == dutch.keys()
    for key in english:
        assert parameters(english[key]) == parameters(dutch[key]), key
        assert english[key].strip() == english[key] != ""
        assert dutch[key].strip() == dutch[key] != ""


def test_everything_that_can_be_told_has_words() -> None:
    english = catalog(FOLDERS[0], "en")

    wanted = {f"problem.{code}" for code in PROBLEMS}
    wanted |= {f"reason.{reason}" for reason in (*Reason, *Untold)}
    wanted |= {f"state.{state}" for state in JobState}
    wanted |= {f"act.{act}" for act in Act}
    wanted |= {f"job.{act}.{state}" for act in Act for state in ENDINGS}
    wanted |= {f"job.{Act.REMOTE_LOCK}.pending"}
    assert wanted <= english.keys()
    assert {key for key in english if key.startswith(("reason.", "state.", "act."))} <= wanted


@pytest.mark.parametrize("language", LANGUAGES)
def test_whoever_is_told_of_a_failure_is_told_what_to_do_next(language: str) -> None:
    """A second sentence, after the one that says what happened."""
    said = catalog(FOLDERS[0], language)

    for act in Act:
        for state in (JobState.FAILED, JobState.EXPIRED, JobState.UNCONFIRMED, JobState.UNSUPPORTED):
            text = said[f"job.{act}.{state}"]
            assert len(re.findall(r"[.;](?: |$)", text)) >= 2, text


def test_every_key_that_the_code_tells_has_words() -> None:
    known = {key for folder in FOLDERS for key in catalog(folder, "en")}
    # What is only ever sent is named by its letter.
    known |= {re.sub(r"^(mail|sms)\.|\.(subject|text)$", "", key) for key in catalog(LETTERS, "en")}
    told = set()
    for room in (api, models, platforms, workers):
        for file in Path(room.__path__[0]).rglob("*.py"):
            told |= set(re.findall(r'\b(?:done_|reveal_)?key="([a-z0-9_]+(?:\.[a-z0-9_]+)+)"', file.read_text("utf-8")))

    assert told
    assert told <= known


def test_every_notice_has_its_letter() -> None:
    """A key handed to `notify` or `mail_notice` names both texts of a mail; without one it could not be sent."""
    letters = catalog(LETTERS, "en")
    sent = set()
    for room in (api, models, workers):
        for file in Path(room.__path__[0]).rglob("*.py"):
            for call in re.findall(
                r"delivery\.(?:notify|mail_notice)\((.*?)\n\s*\)\n", file.read_text("utf-8"), re.DOTALL
            ):
                sent |= set(re.findall(r'\bkey="([^"]+)"', call))

    assert len(sent) >= 4
    assert {f"mail.{key}.{part}" for key in sent for part in ("subject", "text")} <= letters.keys()


def test_dutch_is_formal() -> None:
    for folder in FOLDERS:
        for key, text in catalog(folder, "nl").items():
            assert not re.search(r"\b(je|jij|jou|jouw)\b", text, re.IGNORECASE), key


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "en"),
        ("", "en"),
        ("nl", "nl"),
        ("nl-BE,nl;q=0.9,en;q=0.8", "nl"),
        ("en;q=0.5, nl;q=0.9", "nl"),
        ("de, fr;q=0.9", "en"),
        ("nl;q=0", "en"),
        ("nl;q=often", "en"),
        ("de, nl;q=0.1", "nl"),
    ],
)
def test_the_best_language_that_we_speak_is_chosen(accepted: str | None, language: str) -> None:
    assert choose(accepted) == language


def test_a_missing_text_falls_to_english_then_to_its_key(tmp_path: Path) -> None:
    (tmp_path / "en.json").write_text('{"a": "hello {name}"}')
    (tmp_path / "nl.json").write_text("{}")
    texts = Texts([tmp_path])

    assert texts.say("nl", "a", {"name": "Anna"}) == "hello Anna"
    assert texts.say("fr", "a", {}) == "hello "
    assert texts.say("nl", "b", {}) == "b"


def test_two_folders_do_not_claim_one_key(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "en.json").write_text('{"a": "hello"}')

    with pytest.raises(ValueError, match="second time"):
        Texts([tmp_path / "one", tmp_path / "two"])


def test_all_folders_together_are_one_catalog() -> None:
    texts = Texts(folders(PlatformName(folder.parent.name) for folder in FOLDERS[2:]))

    for language in LANGUAGES:
        assert texts.catalog(language) is not None


async def test_texts_are_served_with_a_mark_that_saves_the_second_fetch(house: House) -> None:
    first = await house.ask("GET", "/texts/nl")
    again = await house.ask("GET", "/texts/nl", headers={"If-None-Match": first.headers["ETag"]})

    assert first.status == 200
    assert first.json["language"] == "nl"
    assert first.json["texts"]["act.reset_passcode"] == "Wachtwoordcode opnieuw instellen"
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert (again.status, again.json) == (304, None)


async def test_a_language_that_we_do_not_speak_is_not_found(house: House) -> None:
    assert (await house.ask("GET", "/texts/fr")).status == 404


A15: Mapping[str, Sequence[str]] = {
    "password change": ["password.changed"],
    "password reset": ["password.reset", "password.reset_started", "password.temporary"],
    "method change": [
        "security.method_added",
        "security.email_added",
        "security.method_removed",
        "security.recovery_codes_removed",
        "security.access_pass_issued",
        "security.access_pass_ended",
        "security.access_pass_used",
        "security.passkey_copied",
    ],
    "default change": ["security.default_changed"],
    "address change": ["security.email_added", "security.method_removed", "account.renamed"],
    "recovery codes made or used": [
        "security.recovery_codes_made",
        "security.recovery_code_used",
        "security.recovery_codes_low",
    ],
    "new-device sign-in": ["sign_in.new_browser"],
    "second factor failed after right password": ["sign_in.second_factor_failed"],
    "device disabled": ["device.disabled", "device.disabled_by_administrator", "device.enabled"],
    "password shut": ["password.shut", "account.unlocked", "account.unlocked_by_administrator"],
    "passcode reset done": ["job.reset_passcode.succeeded"],
    "passcode revealed": ["passcode.revealed"],
    "sign-out everywhere": [
        "session.signed_out_everywhere",
        "session.signed_out_elsewhere",
        "session.revoked_everywhere",
    ],
    "role change": ["account.roles_changed", "organization.roles_changed"],
    "admin edit of authentication contact": ["security.contact_set", "security.contact_taken"],
    "org left": ["organization.left", "organization.removed"],
}
"""What a person must hear of, and the lines under the flag that tell it. A reset of a passcode that is asked for has
its line when it has ended."""
MAILED_OTHERWISE = {
    "job.reset_passcode.succeeded": "passcode.reset_done",
    "password.reset_started": "password.reset_link",
}
NOT_MINE = {
    "en": r"(it|this) was not you|did not (ask|expect)|do not know why|if they|If nobody expected",
    "nl": r"(dit|deze) niet|verwacht|niet om gevraagd|weet u niet",
}
NEXT = {
    "en": r"change (your password|the passcode)|contact your helpdesk|ask their helpdesk|say so|look at your"
    r"|choose Sign out|change it|make new ones|see that you",
    "nl": r"(?i)wijzig|helpdesk|meld|zeg|controleer|bekijk|kies Overal|maak nieuwe",
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", A15)
def test_a15_each_line_says_what_to_do_if_it_was_not_ones_own_doing(kind: str, language: str) -> None:
    lines = catalog(FOLDERS[0], language)

    for key in A15[kind]:
        assert re.search(NOT_MINE[language], lines[key]), key
        assert re.search(NEXT[language], lines[key]), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_a15_a_platforms_line_of_a_passcode_that_was_reset_says_so_too(language: str) -> None:
    lines = {
        key: text
        for folder in FOLDERS[2:]
        for key, text in catalog(folder, language).items()
        if ".reset_passcode.succeeded" in key
    }

    assert len(lines) >= 4
    for key, text in lines.items():
        assert re.search(NOT_MINE[language], text), key
        assert re.search(NEXT[language], text), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_a15_each_of_them_has_a_mail_and_its_link_tells_all_that_it_does(language: str) -> None:
    letters = catalog(LETTERS, language)
    flags = {MAILED_OTHERWISE.get(key, key) for keys in A15.values() for key in keys}

    assert {f"mail.{key}.{part}" for key in flags for part in ("subject", "text")} <= letters.keys()
    for verb in {"en": ("signed out everywhere", "password stops"), "nl": ("overal afgemeld", "wachtwoord werkt")}[
        language
    ]:
        assert verb in letters["letter.link.not_me"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_for_another_password_is_alike_whoever_had_its_link_sent(language: str) -> None:
    """An administrator, or "that was not me"."""
    lines = catalog(FOLDERS[0], language)

    for key in (key for key in lines if key.startswith("reset_password.")):
        assert not re.search("administrator|beheerder", lines[key]), key
    assert re.search({"en": "newest mail", "nl": "nieuwste"}[language], lines["reset_password.gone"])
