"""A picture that a phone's camera reads: as SVG and as PNG."""

import base64
import io
from dataclasses import dataclass, field
from typing import Final

QUIET_ZONE: Final = 4
"""Modules of empty border (ISO/IEC 18004)."""
PIXELS: Final = 6
"""Of a module's side in the PNG."""


@dataclass(frozen=True, slots=True)
class Picture:
    svg: str = field(repr=False)
    png: str = field(repr=False)
    """Base64."""


def picture_of(text: str) -> Picture:
    import segno  # noqa: PLC0415 - no start pays for what few requests need

    code = segno.make(text, error="m", micro=False)
    svg, png = io.BytesIO(), io.BytesIO()
    code.save(svg, kind="svg", border=QUIET_ZONE, xmldecl=False, light="white")
    code.save(png, kind="png", border=QUIET_ZONE, scale=PIXELS)
    return Picture(svg.getvalue().decode().strip(), base64.b64encode(png.getvalue()).decode())
