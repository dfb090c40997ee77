"""A picture, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from harness.records.files import write_atomically

if TYPE_CHECKING:
    import altair
    from PIL import Image

CHART_SCALE = 2  # pixels of the file for each of the chart, for print


@dataclass(frozen=True)
class Picture:
    """One file of `pictures/`.

    Attributes:
        name: of the file, without its suffix; what is drawn and of which layer, e.g. `filters stem.0`.
        caption: one sentence: what is seen, with units and scale; it stands under the picture in reports.
        drawn: an image grid or a chart, with its title.
    """

    name: str
    caption: str
    drawn: Image.Image | altair.TopLevelMixin

    def write(self, folder: Path) -> Path:
        """Writes the picture as PNG and SVG, and its caption beside it as text; returns the PNG's path.

        The text of an SVG is drawn by the browser, which has letters that no font of this machine may have.
        """
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", self.name)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{stem}.txt", lambda file: file.write(f"{self.caption}\n".encode()))
        write_atomically(folder / f"{stem}.png", self._png())
        if svg := self._svg():
            write_atomically(folder / f"{stem}.svg", lambda file: file.write(svg.encode()))
        return folder / f"{stem}.png"

    def _png(self) -> Callable[[IO[bytes]], object]:
        from PIL import Image

        drawn = self.drawn
        if isinstance(drawn, Image.Image):
            return lambda file: drawn.save(file, format="PNG", optimize=True)
        return lambda file: drawn.save(file, format="png", scale_factor=CHART_SCALE)  # type: ignore[call-overload]

    def _svg(self) -> str | None:
        from PIL import Image

        if isinstance(self.drawn, Image.Image):
            return self.drawn.info.get("svg")
        import vl_convert

        return vl_convert.vegalite_to_svg(self.drawn.to_dict(validate=False))
