"""What is sealed opens for its owner and purpose alone, under a key that we hold; everything else is SealBroken."""

import base64
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.sealed import Keyring, SealBroken
from models.settings import SettingsError
from models.vocabulary import Secret

OLD = base64.b64encode(bytes(range(32))).decode()
NEW = base64.b64encode(bytes(range(32, 64))).decode()
KEYS = Keyring.from_settings(f"old:{OLD}")
ROTATED = Keyring.from_settings(f"new:{NEW},old:{OLD}")
CODE = Secret(b"7hK2mPq9")
OWNER = (UUID(int=1), UUID(int=2))
BLOB = KEYS.seal(CODE, purpose="passcode", owner=OWNER)

owners = st.lists(st.text(max_size=20) | st.uuids(), max_size=4).map(tuple)


@given(st.binary(max_size=5000), st.text(max_size=20), owners)
def test_a_secret_comes_back_as_it_was(value: bytes, purpose: str, owner: tuple[str | UUID, ...]) -> None:
    blob = KEYS.seal(Secret(value), purpose=purpose, owner=owner)

    assert KEYS.open(blob, purpose=purpose, owner=owner) == Secret(value)


@given(owners, owners)
@example(("ab", "c"), ("a", "bc"))
@example(("a",), ("a", ""))
@example((UUID(bytes=b"sixteen letters!"),), ("sixteen letters!",))
def test_it_opens_for_no_other_owner(one: tuple[str | UUID, ...], other: tuple[str | UUID, ...]) -> None:
    blob = KEYS.seal(CODE, purpose="passcode", owner=one)
    if one == other:
        return

    with pytest.raises(SealBroken):
        KEYS.open(blob, purpose="passcode", owner=other)


def test_it_opens_for_no_other_purpose() -> None:
    with pytest.raises(SealBroken):
        KEYS.open(BLOB, purpose="totp", owner=OWNER)


@given(st.binary(max_size=300))
@example(b"")
@example(b"\x01")
@example(b"\x01\xff")
@example(BLOB[:5])
@example(BLOB[:-1])
@example(BLOB + b"\0")
def test_bytes_of_any_other_make_are_broken_and_nothing_worse(blob: bytes) -> None:
    with pytest.raises(SealBroken):
        KEYS.open(blob, purpose="passcode", owner=OWNER)


@given(st.binary(max_size=300))
@example(BLOB[:64])
def test_the_key_of_bytes_of_any_other_make_is_not_wrapped_anew(blob: bytes) -> None:
    with pytest.raises(SealBroken):
        KEYS.rewrap(blob, purpose="passcode", owner=OWNER)


@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_one_changed_byte_breaks_it(at: int, by: int) -> None:
    changed = bytearray(BLOB)
    changed[at] ^= by

    with pytest.raises(SealBroken):
        KEYS.open(bytes(changed), purpose="passcode", owner=OWNER)


def test_a_part_of_one_seal_does_not_fit_another() -> None:
    other = KEYS.seal(Secret(b"another!"), purpose="passcode", owner=OWNER)
    cut = len(BLOB) - 12 - len(CODE.value) - 16

    with pytest.raises(SealBroken):
        KEYS.open(BLOB[:cut] + other[cut:], purpose="passcode", owner=OWNER)


def test_the_same_secret_never_seals_to_the_same_bytes() -> None:
    blobs = [KEYS.seal(CODE, purpose="passcode", owner=OWNER) for _ in range(100)]

    for part in (slice(5, 17), slice(17, 65), slice(65, 77), slice(77, None)):  # nonce, key, nonce, value
        assert len({blob[part] for blob in blobs}) == 100


def test_a_new_first_key_seals_and_the_old_one_still_opens() -> None:
    blob = ROTATED.seal(CODE, purpose="passcode", owner=OWNER)

    assert ROTATED.open(BLOB, purpose="passcode", owner=OWNER) == CODE
    assert ROTATED.open(blob, purpose="passcode", owner=OWNER) == CODE
    with pytest.raises(SealBroken):
        KEYS.open(blob, purpose="passcode", owner=OWNER)


def test_rewrapped_it_opens_without_the_old_key_and_the_value_was_not_touched() -> None:
    blob = ROTATED.rewrap(BLOB, purpose="passcode", owner=OWNER)

    assert Keyring.from_settings(f"new:{NEW}").open(blob, purpose="passcode", owner=OWNER) == CODE
    assert blob.endswith(BLOB[-(12 + len(CODE.value) + 16) :])
    with pytest.raises(SealBroken):
        KEYS.open(blob, purpose="passcode", owner=OWNER)


def test_another_key_of_the_same_name_does_not_open_it() -> None:
    with pytest.raises(SealBroken):
        Keyring.from_settings(f"old:{NEW}").open(BLOB, purpose="passcode", owner=OWNER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "old",
        f":{OLD}",
        f"old:{OLD},",
        f"old:{OLD},old:{NEW}",
        "old:" + base64.b64encode(bytes(31)).decode(),
        "old:" + base64.b64encode(bytes(33)).decode(),
        f"old:{OLD[:-1]}",
        f"old:{OLD[:-2]}é=",
        f"o d:{OLD}",
        f"{'o' * 65}:{OLD}",
        f"\udcff:{OLD}",
    ],
)
def test_keys_that_are_not_keys_are_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SettingsError, match="SEAL_KEYS must be") as caught:
        Keyring.from_settings(text)

    assert OLD[:20] not in str(caught.value)


@given(st.text(max_size=200))
def test_any_other_text_for_keys_is_refused_as_such(text: str) -> None:
    with pytest.raises(SettingsError):
        Keyring.from_settings(text)


def test_spaces_and_line_ends_around_keys_do_no_harm() -> None:
    assert Keyring.from_settings(f" new:{NEW} ,\n old:{OLD}\n").open(BLOB, purpose="passcode", owner=OWNER) == CODE


def test_nothing_secret_is_printed() -> None:
    with pytest.raises(SealBroken) as caught:
        KEYS.open(BLOB, purpose="totp", owner=OWNER)
    shown = f"{KEYS!r} {KEYS} {CODE!r} {KEYS.open(BLOB, purpose='passcode', owner=OWNER)} {caught.value!r}"

    for secret in (OLD, bytes(range(32)).hex(), CODE.text(), "7hK2"):
        assert secret not in shown
    assert caught.value.__cause__ is None
