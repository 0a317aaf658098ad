"""What an organization may decide: the bounds themselves, and the colours."""

import pytest

from models.organization_policy import BLACK, THEMES, WHITE, contact_block, contrast, text_on


def test_black_on_white_has_the_greatest_contrast_and_a_colour_on_itself_the_least() -> None:
    assert contrast(BLACK, WHITE) == contrast(WHITE, BLACK) == pytest.approx(21)
    assert contrast("#0f6cbd", "#0f6cbd") == 1


@pytest.mark.parametrize(
    ("colour", "text"),
    [
        (WHITE, BLACK),
        (BLACK, WHITE),
        ("#757575", WHITE),  # 4.61 against 4.56
        ("#767676", BLACK),  # 4.54 against 4.62
        ("#ffff00", BLACK),
        ("#0000ff", WHITE),
    ],
)
def test_the_text_is_whichever_is_read_better(colour: str, text: str) -> None:
    assert text_on(colour) == text


def test_one_of_the_two_can_always_be_read() -> None:
    """WCAG 2.1 asks for 4.5."""
    steps = range(0, 256, 15)
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red in steps for green in steps for blue in steps]

    assert min(contrast(text_on(colour), colour) for colour in colours) >= 4.5


def test_all_named_colours_carry_white() -> None:
    assert {text_on(colour) for colour in THEMES.values()} == {WHITE}


def test_a_contact_says_only_what_is_filled_in_and_a_page_is_called_by_its_address() -> None:
    assert contact_block({}) == {}
    assert contact_block({"name": "IT", "phone": ""}) == {"name": "IT"}
    assert contact_block({"url": "https://a.example"}) == {
        "url": "https://a.example",
        "site_name": "https://a.example",
    }
    assert contact_block({"url": "https://a.example", "site_name": "Help"})["site_name"] == "Help"
