"""Pictures made anew: only pixels come through, within bounds, whatever is sent (A1)."""

import io
import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from api.pictures import BRAND_IMAGE, LOGO, PIXELS_LIMIT, SIDE, SIDE_LIMIT, Frame, remake
from models.errors import PictureRefused

SECRET = b"52.3702,4.8952 taken at home"


def picture(size: tuple[int, int] = (60, 40), kind: str = "PNG", mode: str = "RGB", **how: object) -> bytes:
    into = io.BytesIO()
    Image.new(mode, size, "red").save(into, kind, **how)
    return into.getvalue()


def seen(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_people_have_becomes_a_jpeg(kind: str) -> None:
    made = seen(remake(picture(kind=kind)))

    assert (made.format, made.mode, made.size) == ("JPEG", "RGB", (60, 40))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "I;16"])
def test_every_way_of_keeping_pixels_is_read(mode: str) -> None:
    into = io.BytesIO()
    Image.new("L" if mode == "PA" else mode, (8, 8)).save(into, "PNG")

    assert seen(remake(into.getvalue())).mode == "RGB"


def test_what_is_see_through_lies_on_white() -> None:
    into = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(into, "PNG")

    assert seen(remake(into.getvalue())).getpixel((4, 4)) == (255, 255, 255)


def test_a_large_one_becomes_small_and_keeps_its_shape() -> None:
    assert seen(remake(picture((3000, 1500), "JPEG"))).size == (SIDE, SIDE // 2)


def test_it_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side

    assert seen(remake(picture((60, 40), "JPEG", exif=exif))).size == (40, 60)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_nothing_but_pixels_comes_through(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    how: dict[str, object] = {"exif": exif, "icc_profile": SECRET}
    if kind == "PNG":
        how["pnginfo"] = text = PngImagePlugin.PngInfo()
        text.add_text("Comment", SECRET.decode())
    if kind == "JPEG":
        how["comment"] = SECRET
    given_by_them = picture(kind=kind, **how)
    assert SECRET in given_by_them

    made = remake(given_by_them)

    assert SECRET not in made
    assert not seen(made).getexif()
    assert not {"icc_profile", "comment", "exif"} & set(seen(made).info)


def test_a_file_behind_the_picture_is_left_behind() -> None:
    page = b"<script>alert(1)</script>PK\x03\x04"

    assert page not in remake(picture(kind="JPEG") + page)


def _claims(width: int, height: int) -> bytes:
    """A PNG of few bytes that says how large it is."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(b"\0" * (height * (1 + (width + 7) // 8)), 9) if width * height <= PIXELS_LIMIT else b""
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_how_large_it_says_it_is_is_looked_at_before_it_is_decoded() -> None:
    assert seen(remake(_claims(6000, 4000))).size == (512, 341), "24 million pixels are taken"
    for width, height in ((6000, 4001), (SIDE_LIMIT + 1, 1), (1, SIDE_LIMIT + 1), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(PictureRefused) as refused:
            remake(_claims(width, height))
        assert refused.value.facts["reason"] in {"too_many_pixels", "unreadable"}, "and those were never decoded"


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_not_opened(kind: str) -> None:
    with pytest.raises(PictureRefused) as refused:
        remake(picture(kind=kind))
    assert refused.value.facts == {"reason": "unreadable"}


@pytest.mark.parametrize("junk", [b"", b"x", b"<svg width='1'/>", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(junk: bytes) -> None:
    with pytest.raises(PictureRefused):
        remake(junk)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), seed=st.integers(0, 2**32), cut=st.floats(0, 1))
def test_a_damaged_one_is_read_or_refused(kind: str, seed: int, cut: float) -> None:
    chance = random.Random(seed)
    damaged = bytearray(picture(kind=kind))
    for _ in range(chance.randint(1, 12)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    try:
        made = remake(bytes(damaged[: 1 + int(cut * len(damaged))]))
    except PictureRefused:
        return
    assert seen(made).format == "JPEG"


# How an organization looks


def test_a_logo_stays_transparent_and_becomes_small() -> None:
    into = io.BytesIO()
    Image.new("RGBA", (1280, 320), (255, 0, 0, 0)).save(into, "PNG")

    made = seen(remake(into.getvalue(), LOGO))

    assert (made.format, made.size) == ("WEBP", (640, 160))
    assert made.convert("RGBA").getpixel((4, 4))[3] == 0  # type: ignore[index] # a pixel has its parts


def test_a_logo_is_a_jpeg_or_a_png_and_brings_nothing_else_along() -> None:
    with pytest.raises(PictureRefused) as refused:
        remake(picture(kind="WEBP"), LOGO)
    assert refused.value.facts == {"reason": "unreadable"}

    made = remake(picture(kind="JPEG", exif=b"Exif\0\0" + SECRET) + SECRET, LOGO)

    assert SECRET not in made


@pytest.mark.parametrize(("width", "taken"), [(650, True), (649, False)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_is_wide_enough_for_its_place(width: int, taken: bool, kind: str) -> None:
    if taken:
        assert seen(remake(picture((width, 200), kind), BRAND_IMAGE)).size == (650, 200)
        return
    with pytest.raises(PictureRefused) as refused:
        remake(picture((width, 200), kind), BRAND_IMAGE)
    assert refused.value.facts == {"reason": "too_narrow", "least": 650}


def test_a_large_image_is_not_mistaken_for_a_narrow_one() -> None:
    assert seen(remake(picture((5000, 3000), "JPEG"), BRAND_IMAGE)).size == (2250, 1350)


@pytest.mark.parametrize("frame", [LOGO, BRAND_IMAGE])
def test_no_byte_more_is_looked_at_than_may_be_given(frame: Frame) -> None:
    full = picture((700, 300)).ljust(frame.bytes_limit, b"\0")

    assert remake(full, frame)
    with pytest.raises(PictureRefused) as refused:
        remake(full + b"\0", frame)
    assert refused.value.facts == {"reason": "too_many_bytes", "most": frame.bytes_limit}
