"""The pictures that `harness visualize` left in the folders of runs, and as the page shows them: scaled down."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.records.read import names_in
from harness.records.result import RunResult
from harness.records.store import RunFolder

if TYPE_CHECKING:
    from PIL import Image

WIDTHS, QUALITY = (640, 480, 340, 240), 72
MOST_BYTES = 1_000_000  # of all pictures of a page, as they stand in it
MOST_PICTURES = 60
_PNG = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")


@dataclass(frozen=True)
class PictureFile:
    """A picture of a run.

    Attributes:
        path: from the folder of the report.
        run: label and seed.
        caption: what is seen.
    """

    path: Path
    run: str
    caption: str


def pictures_of(result: RunResult, folder: RunFolder, report: Path) -> Iterator[PictureFile]:
    """Yields the pictures of a run, by name.

    Args:
        report: the folder of the report; a run may lie under another suite of the results root.
    """
    pictures, names = f"{folder.path}/pictures", []  # a text: most of 10,000 runs have none
    with contextlib.suppress(PermissionError):
        names = names_in(pictures)
    for path in (Path(pictures, name) for name in names if name.endswith(".png")):
        caption = path.with_suffix(".txt")
        text = caption.read_text(encoding="utf-8").strip() if caption.is_file() else path.stem
        yield PictureFile(Path(os.path.relpath(path, report)), f"{result.label}, seed {result.seed}", text)


@dataclass(frozen=True)
class Thumbnail:
    """A picture, scaled down.

    Attributes:
        source: a data URI.
        width, height: in pixels of the page.
    """

    file: PictureFile
    source: str
    width: int
    height: int


def gallery(pictures: Sequence[PictureFile], folder: Path, most_bytes: int = MOST_BYTES) -> tuple[list[Thumbnail], str]:
    """Returns the pictures that the page shows, and what it does not show.

    Args:
        folder: of the suite's results, that the pictures' paths start from.
        most_bytes: of them all together.
    """
    wanted = pictures[:MOST_PICTURES]
    shown, spent, broken = [], 0, 0
    for picture in wanted:
        made = _thumbnail(picture, folder, most_bytes // len(wanted))
        if made is None:
            broken += 1
        elif spent + len(made.source) <= most_bytes:
            shown.append(made)
            spent += len(made.source)
    left, said = len(pictures) - len(shown) - broken, []
    if left:
        said.append(f"{left} more pictures would make the page too large; table.md shows them all.")
    if broken:
        said.append(f"{broken} of the pictures could not be read.")
    return shown, " ".join(said)


def _thumbnail(picture: PictureFile, folder: Path, share: int) -> Thumbnail | None:
    """Returns a picture; of one that lies there as SVG too, that: the browser draws its text, in any alphabet."""
    from PIL import Image

    path = folder / picture.path
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        vector = path.with_suffix(".svg").read_text(encoding="utf-8") if path.with_suffix(".svg").is_file() else ""
        inside = _PNG.search(vector)
        if inside:
            with Image.open(io.BytesIO(base64.b64decode(inside[1]))) as opened:
                raster = opened.convert("RGB")
        else:
            raster = image
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    source = "" if inside or not vector else _uri("svg+xml", vector.encode())
    for width in WIDTHS if inside or not 0 < len(source) <= share else ():
        source = _uri("webp", _smaller(raster, width))
        if inside:
            source = _uri("svg+xml", vector.replace(inside[0], source).encode())
        if len(source) <= share:
            break
    height = max(1, round(WIDTHS[0] * image.height / image.width))
    return Thumbnail(picture, source, WIDTHS[0], height)


def _smaller(image: Image.Image, width: int) -> bytes:
    """Returns the image as WebP, no wider than that."""
    from PIL import Image

    if image.width > width:
        size = width, max(1, round(image.height * width / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=4)
    return file.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
