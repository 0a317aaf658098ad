"""Pictures that people give us, made anew: decoded within bounds, turned upright, made small, and written by us.

Only pixels come through: no metadata, no profile, no second file behind the first. How large a picture says it is, is
looked at before a pixel of it is decoded. Pillow is loaded with the first picture: no start waits for it.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from api.pool import Pool
from models.errors import PictureRefused

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/webp")
MEDIA_TYPE: Final = "image/jpeg"
LOGO_MEDIA_TYPES: Final = ("image/jpeg", "image/png")
BRAND_MEDIA_TYPE: Final = "image/webp"
"""Small, and a logo stays transparent where it was."""
BYTES_LIMIT: Final = 4 * 1024 * 1024
LOGO_BYTES_LIMIT: Final = 750 * 1024
BRAND_BYTES_LIMIT: Final = 1_363_148
"""1.3 MB."""
BRAND_LEAST_WIDTH: Final = 650
PIXELS_LIMIT: Final = 24_000_000
"""A telephone's camera has half of it; decoded, they take about 100 MB."""
SIDE_LIMIT: Final = 12_000
SIDE: Final = 512
_QUALITY: Final = 85


@dataclass(frozen=True, slots=True)
class Frame:
    """What is taken, and what it is made into."""

    bytes_limit: int
    width: int
    height: int
    formats: tuple[str, ...]
    as_webp: bool = True
    """With its transparency; else as JPEG, on white paper."""
    least_width: int = 0


PHOTO: Final = Frame(BYTES_LIMIT, SIDE, SIDE, ("JPEG", "PNG", "WEBP"), as_webp=False)
LOGO: Final = Frame(LOGO_BYTES_LIMIT, 640, 320, ("JPEG", "PNG"))
BRAND_IMAGE: Final = Frame(BRAND_BYTES_LIMIT, 2250, 2250, ("JPEG", "PNG"), least_width=BRAND_LEAST_WIDTH)


class Pictures:
    """One at a time, a few waiting: a picture may take as much memory as the rest of the process. Closed by leaving
    its block."""

    def __init__(self) -> None:
        self._pool = Pool("pictures", threads=1, waiting=4)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def remake(self, given: bytes, frame: Frame = PHOTO) -> bytes:
        """Raises Busy, PictureRefused."""
        with self._pool.seat() as seat:
            return await seat.run(lambda: remake(given, frame))


class _TooNarrow(Exception):
    """It would be blown up to fill its place."""


def remake(given: bytes, frame: Frame = PHOTO) -> bytes:
    """Raises PictureRefused."""
    from PIL import Image  # noqa: PLC0415 - see above

    if len(given) > frame.bytes_limit:
        raise PictureRefused(reason="too_many_bytes", most=frame.bytes_limit)
    try:
        with Image.open(io.BytesIO(given), formats=frame.formats) as picture:
            made = _written(picture, frame) if _is_bearable(*picture.size) else None
    except _TooNarrow:
        raise PictureRefused(reason="too_narrow", least=frame.least_width) from None
    except Exception:  # noqa: BLE001 - decoders fail in every way there is, and each means the same here
        raise PictureRefused(reason="unreadable") from None
    if made is None:
        raise PictureRefused(reason="too_many_pixels", most=PIXELS_LIMIT)
    return made


def _is_bearable(width: int, height: int) -> bool:
    return width * height <= PIXELS_LIMIT and max(width, height) <= SIDE_LIMIT


def _written(picture: "Image.Image", frame: Frame) -> bytes:
    from PIL import Image, ImageOps  # noqa: PLC0415 - see above

    # JPEG can be decoded at an eighth of its size, never below what is wanted: most of the work is never done.
    picture.draft("RGB", (frame.width, frame.height))
    upright = ImageOps.exif_transpose(picture)
    if upright.width < frame.least_width:
        raise _TooNarrow
    upright.thumbnail((frame.width, frame.height))
    seen = upright.convert("RGBA")
    paper = Image.new("RGBA" if frame.as_webp else "RGB", seen.size, (255, 255, 255, 0) if frame.as_webp else "white")
    paper.paste(seen, mask=None if frame.as_webp else seen)
    into = io.BytesIO()
    if frame.as_webp:
        paper.save(into, "WEBP", quality=_QUALITY, method=4)
    else:
        paper.save(into, "JPEG", quality=_QUALITY, optimize=True)
    return into.getvalue()
