"""Every rule of a password at its exact boundary. The letters name the section of the fact sheet: A5, B3."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import password_policy
from models.password_policy import COMMON, About, Rule, judge

ANNA = About("anna.jansen@example.org", "Anna Jansen", "Blue Harbour")
STRONG = About("anna.jansen@example.org", "Anna Jansen", "Blue Harbour", second_factor=True)
PLAIN = "zqxjvkwpmtyrhngd"  # sixteen letters that make no word


def rules(password: str, about: About = ANNA) -> list[Rule]:
    return [broken.rule for broken in judge(password, about)]


@pytest.mark.parametrize(
    ("length", "about", "broken"),
    [
        (14, ANNA, [Rule.TOO_SHORT]),
        (15, ANNA, []),
        (7, STRONG, [Rule.TOO_SHORT]),
        (8, STRONG, []),
        (256, ANNA, []),
        (257, ANNA, [Rule.TOO_LONG]),
    ],
)
def test_a5_b3_the_bounds_are_fifteen_alone_eight_with_a_second_factor_and_256(
    length: int, about: About, broken: list[Rule]
) -> None:
    assert rules((PLAIN * 20)[:length], about) == broken


def test_a_bound_is_told_with_its_number_and_nothing_of_the_password() -> None:
    assert judge("zqxjv", ANNA)[0].facts == {"least": 15}
    assert judge("zqxjvkw", STRONG)[0].facts == {"least": 8}
    assert judge(PLAIN * 20, ANNA)[0].facts == {"most": 256}


def test_b3_code_points_are_counted_after_nfc() -> None:
    decomposed = "e\u0301" * 15

    assert len(decomposed) == 30
    assert rules(decomposed) == []
    assert rules("e\u0301" * 14) == [Rule.TOO_SHORT]
    assert rules("\U0001f511" * 15) == [], "one code point each, whatever UTF-16 makes of them"


@pytest.mark.parametrize(
    "password", ["abwgkdmpqrxzvtn", "zq xj vk wp mt yr", "\u0437\u0434\u0440\u0430\u0432\u0441" * 3]
)
def test_b3_no_kind_of_character_is_demanded_and_none_refused(password: str) -> None:
    assert rules(password) == []


@pytest.mark.parametrize(
    "part",
    ["anna.jansen@example.org", "anna.jansen", "ANNA", "4nna@nna", "j@n$en", "AnnaJansen", "harbour", "BlueHarb0ur"],
)
def test_a5_a_name_in_it_is_refused_however_it_is_disguised(part: str) -> None:
    assert Rule.CONTAINS_NAME in rules(f"zqxjvk{part}wpmtyrhng")


def test_a5_a_name_of_three_characters_may_stand_in_it() -> None:
    about = About("bob@example.org", "Bob Lee", "Tri")

    assert rules("zqbobxjleevktriwp", about) == []
    assert rules("zqboblxjleevktriwp", About("bobl@example.org", "", "")) == [Rule.CONTAINS_NAME]


@pytest.mark.parametrize("password", ["123456", "123456789qwerty", "MomsAnAladventure", "monkey"])
def test_a5_a_common_one_is_refused_whatever_its_case(password: str) -> None:
    assert Rule.COMMON in rules(password)


def test_the_list_is_whole() -> None:
    listed = password_policy.COMMON.read_text("utf-8").splitlines()

    assert len(listed) == len(set(listed)) == 30_000
    assert listed[:3] == ["123456", "password", "12345678"]
    assert all(Rule.COMMON in rules(listed[at]) for at in (0, 2_999, 3_000, 29_999))
    assert Rule.COMMON not in rules("123456\npassword"), "two lines of the list are no password of it"


@pytest.mark.parametrize("password", ["P@$$w0rd", "passwrd", "passsword", "pazsword", "qwertyui0p"])
def test_a5_a_banned_word_is_refused_within_one_edit_and_with_look_alikes_undone(password: str) -> None:
    assert Rule.BANNED_WORD in rules(password)


def test_a5_two_edits_are_another_word() -> None:
    about = About("x", "y", "z", banned_words=("thundercloud",))

    assert Rule.BANNED_WORD in rules("thunderclouds", about)
    assert Rule.BANNED_WORD in rules("thunderclod", about)
    assert Rule.BANNED_WORD in rules("thunderclout", about)
    assert Rule.BANNED_WORD not in rules("thundercloudss", about)
    assert Rule.BANNED_WORD not in rules("thunderclo", about)
    assert Rule.BANNED_WORD not in rules("thundercloxx", about)


def test_a5_a_score_of_four_is_refused_and_one_of_five_is_not() -> None:
    about = About("x", "y", "z", banned_words=("thundercloud", "raspberrycane"))

    assert rules("ThunderCl0udRaspberryCanezq", about) == [Rule.TOO_SIMPLE], "two words and two characters"
    assert rules("ThunderCl0udRaspberryCanezqx", about) == []
    assert rules("thundercloud" * 4, about) == [Rule.TOO_SIMPLE]
    assert rules("thundercloud" * 5, about) == []


def test_a5_an_organization_has_a_thousand_words_of_its_own() -> None:
    words = tuple(f"zqxjvkwpmtyr{n:04}" for n in range(1001))

    assert Rule.BANNED_WORD in rules("zqxjvkwpmtyr0999", About("x", "y", "z", banned_words=words))
    # Its neighbours are banned by one edit: look far from them.
    far = (*words[:1000], "hngdbcflsouaiehgd")
    assert rules("hngdbcflsouaiehgd", About("x", "y", "z", banned_words=far)) == []
    assert Rule.BANNED_WORD in rules("hngdbcflsouaiehgd", About("x", "y", "z", banned_words=far[1:]))


@given(st.text(max_size=400))
def test_whatever_is_typed_is_judged(password: str) -> None:
    for broken in judge(password, ANNA):
        assert broken.rule in Rule


def test_the_longest_is_judged_quickly_and_the_list_takes_little_room() -> None:
    judge(PLAIN, ANNA)
    words = tuple(f"{PLAIN[n % 16 :]}{n}" for n in range(1000))
    about = About("x", "y", "z", banned_words=words)
    password_policy._common.cache_clear()
    password_policy._worst.cache_clear()
    tracemalloc.start()
    judge(PLAIN, ANNA)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    began = time.perf_counter()
    judge((PLAIN * 16)[:256], about)
    took = time.perf_counter() - began

    assert held < 2 * 1024 * 1024
    assert took < 0.5, "a busy machine is allowed for: it takes a few thousandths"


@pytest.mark.parametrize("password", ["P@$$w0rd", "$unf1ower", "ILOVEY0U"])
def test_look_alikes_are_undone_in_the_common_ones(password: str) -> None:
    about = About("bert@example.org", "Bert", "Acme", second_factor=True)

    assert Rule.COMMON in {one.rule for one in judge(password, about)}


def test_a_rare_one_of_the_list_is_found_under_its_look_alikes() -> None:
    words = COMMON.read_text(encoding="utf-8").split()
    rare = next(word for word in reversed(words) if len(word) >= 9 and word.isalpha() and {"o", "e", "a"} <= set(word))
    disguised = rare.translate(str.maketrans("oea", "03@"))

    broken = {one.rule for one in judge(disguised, About("b", "Bert", "Acme", second_factor=True))}

    assert Rule.COMMON in broken
