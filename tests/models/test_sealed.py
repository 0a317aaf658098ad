"""What is sealed opens for its owner and purpose, unaltered; everything else is refused, and tells nothing."""

import base64
import contextlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sealed import Keyring, Owner, SealBroken
from models.settings import SettingsError
from models.vocabulary import Secret, new_id
from tests.clock import NOON


def key(letter: str, key_id: str | None = None) -> str:
    return f"{key_id or letter}:{base64.b64encode(letter.encode() * 32).decode()}"


KEYS = Keyring.from_settings(key("a"))
OWNER: Owner = (new_id(NOON), new_id(NOON))
VALUE = Secret(b"1234")
BLOB = KEYS.seal(VALUE, purpose="passcode", owner=OWNER)


@given(value=st.binary(max_size=300), purpose=st.text(max_size=20), owner=st.lists(st.text(max_size=20) | st.uuids()))
def test_it_comes_back_as_it_went(value: bytes, purpose: str, owner: list[object]) -> None:
    sealed = KEYS.seal(Secret(value), purpose=purpose, owner=tuple(owner))  # type: ignore[arg-type] # as drawn

    assert KEYS.open(sealed, purpose=purpose, owner=tuple(owner)).value == value  # type: ignore[arg-type] # as drawn
    assert len(value) < 4 or value not in sealed


def test_the_same_value_looks_different_each_time() -> None:
    assert KEYS.seal(VALUE, purpose="passcode", owner=OWNER) != BLOB


@pytest.mark.parametrize("place", range(len(BLOB)))
def test_every_byte_counts(place: int) -> None:
    for bit in (1, 128):
        altered = bytearray(BLOB)
        altered[place] ^= bit
        with pytest.raises(SealBroken):
            KEYS.open(bytes(altered), purpose="passcode", owner=OWNER)


@pytest.mark.parametrize("length", range(len(BLOB)))
def test_every_piece_short_of_it_is_refused(length: int) -> None:
    with pytest.raises(SealBroken):
        KEYS.open(BLOB[:length], purpose="passcode", owner=OWNER)


def test_what_is_added_is_refused() -> None:
    with pytest.raises(SealBroken):
        KEYS.open(BLOB + b"\0", purpose="passcode", owner=OWNER)


@pytest.mark.parametrize(
    ("purpose", "owner"),
    [
        ("plan", OWNER),
        ("passcode", OWNER[:1]),
        ("passcode", OWNER[::-1]),
        ("passcode", (*OWNER, "")),
        ("passcode", ()),
        ("", OWNER),
    ],
)
def test_elsewhere_it_does_not_open(purpose: str, owner: Owner) -> None:
    with pytest.raises(SealBroken):
        KEYS.open(BLOB, purpose=purpose, owner=owner)
    with pytest.raises(SealBroken):
        KEYS.rewrap(BLOB, purpose=purpose, owner=owner)


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_no_two_owners_spell_alike(one: list[str], other: list[str]) -> None:
    sealed = KEYS.seal(VALUE, purpose="", owner=tuple(one))
    if one == other:
        return
    with pytest.raises(SealBroken):
        KEYS.open(sealed, purpose="", owner=tuple(other))


@given(st.binary(max_size=200))
def test_anything_else_is_refused(blob: bytes) -> None:
    for start in (b"", BLOB[:2], BLOB[:3], BLOB[:15]):
        with pytest.raises(SealBroken):
            KEYS.open(start + blob, purpose="passcode", owner=OWNER)


def test_a_new_key_seals_and_an_old_one_still_opens() -> None:
    both = Keyring.from_settings(f"{key('b')},{key('a')}")
    only_new = Keyring.from_settings(key("b"))

    assert both.open(BLOB, purpose="passcode", owner=OWNER).value == VALUE.value
    with pytest.raises(SealBroken):
        only_new.open(BLOB, purpose="passcode", owner=OWNER)
    rewrapped = both.rewrap(BLOB, purpose="passcode", owner=OWNER)
    assert only_new.open(rewrapped, purpose="passcode", owner=OWNER).value == VALUE.value
    assert rewrapped[-16 - len(VALUE.value) :] == BLOB[-16 - len(VALUE.value) :]  # the value was left alone
    with pytest.raises(SealBroken):
        KEYS.open(rewrapped, purpose="passcode", owner=OWNER)


def test_another_key_of_the_same_name_does_not_open_it() -> None:
    with pytest.raises(SealBroken):
        Keyring.from_settings(key("b", "a")).open(BLOB, purpose="passcode", owner=OWNER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a:",
        ":" + key("a")[2:],
        "a:" + base64.b64encode(b"a" * 31).decode(),
        "a:" + base64.b64encode(b"a" * 33).decode(),
        "a:!" + key("a")[2:],
        "a:ü",
        f"{key('a')},",
        f"{key('a')},{key('b', 'a')}",
        f"{'a' * 256}:{key('a')[2:]}",
    ],
)
def test_keys_that_cannot_be_read_are_a_clear_error_without_the_key(text: str) -> None:
    with pytest.raises(SettingsError, match="SEAL_KEYS must be") as caught:
        Keyring.from_settings(text)

    assert key("a")[2:] not in str(caught.value)


@given(st.text(max_size=100))
def test_no_text_makes_a_keyring_fail_in_any_other_way(text: str) -> None:
    with contextlib.suppress(SettingsError):
        Keyring.from_settings(text)


def test_neither_keys_nor_values_show_when_printed_or_pickled() -> None:
    assert "AESGCM" not in repr(KEYS)
    assert "1234" not in f"{VALUE} {VALUE!r} {[VALUE]}"
    with pytest.raises(TypeError):
        pickle.dumps(VALUE)
