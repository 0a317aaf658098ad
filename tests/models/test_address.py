"""Which texts we write to, and how they are spelled on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.address import LONGEST, mail_address, phone_number


@pytest.mark.parametrize(
    ("given_as", "written"),
    [
        ("anna@example.org", "anna@example.org"),
        ("  anna@example.org ", "anna@example.org"),
        ("anna.o'neil+phone@mail.example.org", "anna.o'neil+phone@mail.example.org"),
        ("anna@EXAMPLE.org", "anna@example.org"),
        ("anna@straße.example", "anna@xn--strae-oqa.example"),  # IDNA 2008: another name than strasse
        ("анна@example.org", "анна@example.org"),
        (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
    ],
)
def test_an_address_is_spelled_as_a_server_takes_it(given_as: str, written: str) -> None:
    assert mail_address(given_as) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anna",
        "@example.org",
        "anna@",
        "anna@example",
        "anna@localhost",
        "anna@192.0.2.1",
        "anna@[192.0.2.1]",
        "anna@exa mple.org",
        "anna @example.org",
        "anna..b@example.org",
        ".anna@example.org",
        "anna.@example.org",
        '"anna b"@example.org',
        "anna,otto@example.org",
        "anna@otto@example.org",
        "<anna@example.org>",
        "anna@example.org\r\nBcc: otto@example.org",
        "anna\r\n@example.org",
        "anna\u2028@example.org",
        "anna@example..org",
        "anna@-example.org",
        f"{'a' * 65}@example.org",
        f"a@{'.'.join(['b' * 60] * 5)}.org",
    ],
)
def test_what_is_no_address_is_not_written_to(text: str) -> None:
    assert mail_address(text) is None


@given(st.text(max_size=300))
def test_no_text_becomes_more_than_one_line_of_bounded_length(text: str) -> None:
    written = mail_address(text)

    assert written is None or (written.isprintable() and " " not in written and len(written.encode()) <= LONGEST)


@pytest.mark.parametrize(
    ("given_as", "written"),
    [
        ("+31 6 1234 5678", "+31612345678"),
        ("+1 (202) 555-0100", "+12025550100"),
        ("0612345678", None),
        ("+0612345678", None),
        ("+31", None),
        ("+1234567", "+1234567"),
        ("+123456789012345", "+123456789012345"),
        ("+1234567890123456", None),
        ("+31612345678\n", None),
        ("+٣١٦١٢٣٤٥٦٧٨", None),
    ],
)
def test_a_number_is_spelled_as_e_164_says(given_as: str, written: str | None) -> None:
    assert phone_number(given_as) == written
