"""Pictures that people give us, made anew: decoded within bounds, turned upright, made small, and written as JPEG.

Only pixels come through: no metadata, no profile, no second file behind the first. How large a picture says it is, is
looked at before a pixel of it is decoded. Pillow is loaded with the first picture: no start waits for it.
"""

import io
from typing import TYPE_CHECKING, Final, Self

from api.pool import Pool
from models.errors import PictureRefused

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/webp")
MEDIA_TYPE: Final = "image/jpeg"
BYTES_LIMIT: Final = 4 * 1024 * 1024
PIXELS_LIMIT: Final = 24_000_000
"""A telephone's camera has half of it; decoded, they take about 100 MB."""
SIDE_LIMIT: Final = 12_000
SIDE: Final = 512
_QUALITY: Final = 85
_FORMATS: Final = ("JPEG", "PNG", "WEBP")


class Pictures:
    """One at a time, a few waiting: a picture may take as much memory as the rest of the process. Closed by leaving
    its block."""

    def __init__(self) -> None:
        self._pool = Pool("pictures", threads=1, waiting=4)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def remake(self, given: bytes) -> bytes:
        """Raises Busy, PictureRefused."""
        with self._pool.seat() as seat:
            return await seat.run(lambda: remake(given))


def remake(given: bytes) -> bytes:
    """Raises PictureRefused."""
    from PIL import Image  # noqa: PLC0415 - see above

    try:
        with Image.open(io.BytesIO(given), formats=_FORMATS) as picture:
            made = _written(picture) if _is_bearable(*picture.size) else None
    except Exception:  # noqa: BLE001 - decoders fail in every way there is, and each means the same here
        raise PictureRefused(reason="unreadable") from None
    if made is None:
        raise PictureRefused(reason="too_many_pixels", most=PIXELS_LIMIT)
    return made


def _is_bearable(width: int, height: int) -> bool:
    return width * height <= PIXELS_LIMIT and max(width, height) <= SIDE_LIMIT


def _written(picture: "Image.Image") -> bytes:
    from PIL import Image, ImageOps  # noqa: PLC0415 - see above

    # JPEG can be decoded at an eighth of its size: most of the work is never done.
    picture.draft("RGB", (SIDE, SIDE))
    upright = ImageOps.exif_transpose(picture)
    upright.thumbnail((SIDE, SIDE))
    seen = upright.convert("RGBA")
    paper = Image.new("RGB", seen.size, "white")
    paper.paste(seen, mask=seen)
    into = io.BytesIO()
    paper.save(into, "JPEG", quality=_QUALITY, optimize=True)
    return into.getvalue()
