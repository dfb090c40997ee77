"""Text on pictures, as SVG: vl-convert's fonts have the letters of most alphabets, and a browser those of all.

Pillow's own font has ASCII alone. A PNG has the glyphs of vl-convert's fonts and of this machine's; an SVG is drawn by
the browser, so that its reader's fonts are enough.
"""

from __future__ import annotations

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from PIL import Image

FAMILY = "Arial, Helvetica, Liberation Sans, sans-serif"
_NARROW = set(" !'(),./:;I[]fijlrt|")


@dataclass(frozen=True)
class Text:
    """A line of text.

    Attributes:
        x, y: of its `anchor`, on the baseline, in pixels.
        size: of the font, in pixels.
    """

    text: str
    x: float
    y: float
    size: int
    colour: str
    anchor: Literal["start", "middle", "end"] = "start"

    def svg(self) -> str:
        """Returns the element."""
        where = f'x="{self.x:.1f}" y="{self.y:.1f}" font-size="{self.size}" text-anchor="{self.anchor}"'
        return f'<text {where} fill="{self.colour}">{escape(self.text)}</text>'


def text_width(text: str, size: int) -> float:
    """Returns about how wide a text is, in pixels; rather too wide."""
    wide = (1.0 if unicodedata.east_asian_width(char) in "WF" else 0.32 if char in _NARROW else 0.6 for char in text)
    return size * sum(wide)


def fitting(text: str, size: int, width: float) -> str:
    """Returns the text, cut where it is wider."""
    shown = text
    while len(shown) > 1 and text_width(shown, size) > width:
        shown = shown.rstrip("…")[:-1] + "…"
    return shown


def lettered(page: Image.Image, texts: Sequence[Text]) -> Image.Image:
    """Returns the page with its texts; its `info["svg"]` is the same as SVG, whose text is text."""
    import vl_convert

    def svg(inside: str) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{page.width}" height="{page.height}"'
        return f'{head} viewBox="0 0 {page.width} {page.height}" font-family="{FAMILY}">{inside}</svg>'

    lines = "".join(text.svg() for text in texts)
    with Image.open(io.BytesIO(vl_convert.svg_to_png(svg(lines), scale=1))) as drawn:
        made = Image.alpha_composite(page.convert("RGBA"), drawn.convert("RGBA")).convert("RGB")
    file = io.BytesIO()
    page.save(file, format="PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    made.info["svg"] = svg(f'<image href="data:image/png;base64,{data}" width="100%" height="100%"/>{lines}')
    return made
