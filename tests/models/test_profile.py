"""What a field of a profile may hold, on each exact boundary (A1, A10)."""

from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.country import COUNTRIES
from models.errors import BrokenRule
from models.profile import FIELDS, Editor, next_sync

MOST = {
    "display_name": 256,
    "given_name": 64,
    "surname": 64,
    "job_title": 128,
    "department": 64,
    "company_name": 64,
    "office": 128,
    "street": 1024,
    "postal_code": 40,
    "city": 128,
    "state": 128,
    "country": 128,
    "business_phone": 64,
    "mobile_phone": 64,
    "mail_nickname": 64,
}


@pytest.mark.parametrize(("name", "most"), MOST.items())
def test_a_text_may_be_just_so_long(name: str, most: int) -> None:
    assert FIELDS[name].read("é" * most) == "é" * most
    with pytest.raises(BrokenRule, match="too_long"):
        FIELDS[name].read("é" * (most + 1))


def test_every_text_has_its_limit_here() -> None:
    assert {name for name, field in FIELDS.items() if field.editor is Editor.ADMINISTRATOR} == {
        *MOST,
        "manager",
        "usage_location",
    }


@pytest.mark.parametrize("empty", [None, "", "   "])
def test_what_is_emptied_is_absent_but_for_the_name(empty: str | None) -> None:
    assert FIELDS["surname"].read(empty) is None
    with pytest.raises(BrokenRule, match="empty"):
        FIELDS["display_name"].read(empty)


def test_a_text_is_kept_alike_however_it_was_typed() -> None:
    assert FIELDS["surname"].read("  Jose\u0301 ") == "José"


@pytest.mark.parametrize("turning", ["a\nb", "a\x00b", "a\u202eb", "a\u2066b", "a\x85b"])
def test_a_line_is_one_line_that_reads_as_it_is_written(turning: str) -> None:
    with pytest.raises(BrokenRule, match="one_line"):
        FIELDS["job_title"].read(turning)


def test_a_street_may_have_several_lines() -> None:
    assert FIELDS["street"].read("Keizersgracht 1\r\n3rd floor\rBell: Jansen") == (
        "Keizersgracht 1\n3rd floor\nBell: Jansen"
    )
    with pytest.raises(BrokenRule):
        FIELDS["street"].read("a\x00b")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("nl", "nl"),
        ("NL-nl", "nl-NL"),
        ("sr-latn-rs", "sr-Latn-RS"),
        ("es-419", "es-419"),
        ("fil", "fil"),
        (None, None),
    ],
)
def test_a_regional_format_is_a_language_tag(typed: str | None, kept: str | None) -> None:
    assert FIELDS["regional_format"].read(typed) == kept


@pytest.mark.parametrize("wrong", ["", "n", "dutch", "nl_NL", "nl-NLD", "nl-NL-x-a", "nl-", "nl-NL\n", 3])
def test_what_is_no_language_tag_is_told(wrong: Any) -> None:
    with pytest.raises(BrokenRule, match="language_tag"):
        FIELDS["regional_format"].read(wrong)


def test_preferred_languages_are_ten_at_most_and_each_once() -> None:
    read = FIELDS["preferred_languages"].read
    ten = ["nl", "en", "de", "fr", "es", "it", "pt", "pl", "sv", "fi"]

    assert read(ten) == tuple(ten)
    assert read(["nl-nl", "EN"]) == ("nl-NL", "en")
    assert read([]) is None
    with pytest.raises(BrokenRule, match="language_tags"):
        read([*ten, "da"])
    with pytest.raises(BrokenRule, match="languages_once"):
        read(["nl", "NL"])


@pytest.mark.parametrize("zone", ["Europe/Amsterdam", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+3"])
def test_a_time_zone_has_a_known_name(zone: str) -> None:
    assert FIELDS["time_zone"].read(zone) == zone


@pytest.mark.parametrize(
    "wrong",
    ["", "Europe", "Europe/Atlantis", "../../etc/passwd", "/etc/passwd", "Europe/Amsterdam/..", "x" * 65, 1, []],
)
def test_what_is_no_time_zone_is_told(wrong: Any) -> None:
    with pytest.raises(BrokenRule, match="time_zone"):
        FIELDS["time_zone"].read(wrong)


def test_the_house_speaks_the_languages_it_has_words_in() -> None:
    assert [FIELDS["language"].read(one) for one in ("en", "nl")] == ["en", "nl"]
    for wrong in ("de", None, "EN", 1):
        with pytest.raises(BrokenRule, match="choice"):
            FIELDS["language"].read(wrong)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=12), max_leaves=12
)


@given(name=st.sampled_from(sorted(FIELDS)), value=_ANYTHING)
def test_anything_is_read_or_told_and_what_was_read_is_read_again_alike(name: str, value: Any) -> None:
    try:
        kept = FIELDS[name].read(value)
    except BrokenRule:
        return
    assert FIELDS[name].read(kept) == kept


def test_the_countries_are_those_of_the_standard() -> None:
    """As the time zones' own table has them."""
    table = resources.files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text("utf-8")

    assert {line.split("\t")[0] for line in table.splitlines() if not line.startswith("#")} == COUNTRIES


@pytest.mark.parametrize("wrong", ["a b", "a@b", "a,b", "(a)", '"a"', "a;b", "a:b", "a\\b"])
def test_a_mail_nickname_stands_before_an_at_sign(wrong: str) -> None:
    assert FIELDS["mail_nickname"].read(" anna.jansen ") == "anna.jansen"
    with pytest.raises(BrokenRule, match="nickname"):
        FIELDS["mail_nickname"].read(wrong)


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "told", "expected"),
    [
        (None, None, None),
        (NOON, None, NOON + timedelta(minutes=30)),
        (NOON - timedelta(minutes=30), None, NOON + timedelta(minutes=30)),
        (NOON - timedelta(minutes=29), None, NOON + timedelta(minutes=1)),
        (NOON + timedelta(minutes=5), None, NOON + timedelta(minutes=35)),
        (NOON, NOON, NOON + timedelta(minutes=30)),
        (NOON, NOON + timedelta(hours=9), NOON + timedelta(hours=9)),
        (None, NOON + timedelta(hours=9), NOON + timedelta(hours=9)),
    ],
)
def test_the_next_sync_is_still_to_come(
    last: datetime | None, told: datetime | None, expected: datetime | None
) -> None:
    assert next_sync(last, told, NOON) == expected
