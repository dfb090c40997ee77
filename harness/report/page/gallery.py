"""Pictures of `harness visualize`, scaled down so that the page stays small."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from harness.report.page.parts import Gallery, Thumbnail
from harness.report.pictures import PictureFile
from harness.report.texts import one_line

WIDTHS, QUALITY = (640, 480, 340, 240), 72
MOST_BYTES = 1_000_000  # of all pictures of a page, as they stand in it
MOST_PICTURES = 60


def gallery(pictures: Sequence[PictureFile], folder: Path, href: str, most_bytes: int = MOST_BYTES) -> Gallery | None:
    """Returns the pictures, or None where there are none.

    Args:
        folder: of the suite's results, that the pictures' paths start from.
        href: the same, from the page.
        most_bytes: of them all together.
    """
    if not pictures:
        return None
    wanted = pictures[:MOST_PICTURES]
    share, shown, spent, broken = most_bytes // len(wanted), [], 0, 0
    for picture in wanted:
        made = _thumbnail(picture, folder, href, share)
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
    return Gallery(tuple(shown), " ".join(said))


def _thumbnail(picture: PictureFile, folder: Path, href: str, share: int) -> Thumbnail | None:
    from PIL import Image

    try:
        with Image.open(folder / picture.path) as opened:
            image = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    data, small = b"", image
    for width in WIDTHS:
        small = image
        if image.width > width:
            small = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        small.save(file, "WEBP", quality=QUALITY, method=4)
        data = base64.b64encode(file.getvalue())
        if len(data) <= share:
            break
    return Thumbnail(
        f"data:image/webp;base64,{data.decode()}",
        small.width,
        small.height,
        one_line(picture.caption),
        one_line(picture.run),
        f"{href}{quote(picture.path.as_posix())}",
    )
