"""One image file to uint8.

Every format ends as 8-bit gray (channels=1) or RGB (channels=3), upright as its EXIF tag says: 16-bit images are
scaled (not clipped), transparent ones are laid on white, of animations the first frame is taken.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
# Pillow reads more, but some (EPS) run other programs on a file that may be named anything.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
CHUNK = 16
SMALL_BYTES = 2**15
# Of small images Python's own work, which one thread does at a time, is most: on 16 cores 16 threads read the 60,000
# files of CIFAR-10 in 26 s, and 4 in 14 s.
THREADS_OF_SMALL = 4


class Image8(NamedTuple):
    """One image, read: 8 bits a channel.

    Attributes:
        pixels: uint8 [H, W, channels].
        plain: whether its file is one that every decoder reads alike: JPEG or PNG, gray or RGB, nothing transparent.
    """

    pixels: np.ndarray
    plain: bool


def read_image(path: str, *, channels: int, size: int | None = None) -> Image8:
    """Reads one image.

    Args:
        path: the file; its content decides the format, not its name.
        channels: 1 (gray) or 3 (RGB).
        size: height and width in pixels: the middle square is resized (bilinear, antialiased); None: as it is.

    Raises:
        HarnessError: the file is not an image, is damaged, or has more pixels than Pillow takes for harmless
            (179 million).
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            plain = image.format in ("JPEG", "PNG") and image.mode in ("L", "RGB") and not image.has_transparency_data
            if channels == 1 and image.format == "JPEG":
                image.draft("L", image.size)  # the luma that is in the file, as DALI has it; colours would be clipped
            ImageOps.exif_transpose(image, in_place=True)
            even = _to_gray_or_rgb(image, channels)
            if size is not None and even.size != (size, size):
                even = _crop_and_resize(even, size)
            return Image8(np.asarray(even, np.uint8).reshape(even.height, even.width, channels), plain)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost anything on a damaged file
        reason = "no known format" if isinstance(error, UnidentifiedImageError) else error
        reason = getattr(error, "strerror", None) or str(reason).strip()
        raise HarnessError(
            f"{path} is not a readable image: {reason}",
            "replace or remove it (image_folder can leave such files out: data.unreadable=skip)",
        ) from None


_progress: ContextVar[Callable[[int], object]] = ContextVar("progress", default=lambda done: None)


@contextlib.contextmanager
def telling_progress(tell: Callable[[int], object]) -> Iterator[None]:
    """Inside, `for_each` tells from time to time how many of its calls are done, in the thread that called it."""
    before = _progress.set(tell)
    try:
        yield
    finally:
        _progress.reset(before)


def for_each(count: int, work: Callable[[int], None], each_bytes: float = math.inf) -> None:
    """Calls `work` with each number below `count`, on every core; the first exception ends it.

    Args:
        count: of the calls.
        work: is called in several threads.
        each_bytes: about what a call reads or makes; small ones have few threads.
    """
    workers = min(_workers(), THREADS_OF_SMALL) if each_bytes < SMALL_BYTES else _workers()

    def chunk(start: int) -> None:
        for index in range(start, min(start + CHUNK, count)):
            work(index)

    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        # Large images and odd metadata are Pillow's to warn of; what cannot be read is dealt with here.
        warnings.filterwarnings("ignore", module=r"PIL\b")
        for done, _ in enumerate(pool.map(chunk, range(0, count, CHUNK)), 1):
            _progress.get()(done * CHUNK)


def _to_gray_or_rgb(image: Image.Image, channels: int) -> Image.Image:
    import numpy as np
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("32-bit pixels have no fixed range, convert it to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def _crop_and_resize(image: Image.Image, size: int) -> Image.Image:
    import numpy as np
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    middle = np.asarray(image)[top : top + side, left : left + side]
    # At the border the filter repeats the last pixel, as DALI's does, where Pillow's would count fewer.
    edge = side // size + 1 if side > size else 0
    middle = np.pad(middle, ((edge, edge), (edge, edge), (0, 0))[: middle.ndim], "edge") if edge else middle
    box = (edge, edge, edge + side, edge + side)
    return Image.fromarray(np.ascontiguousarray(middle)).resize((size, size), Image.Resampling.BILINEAR, box=box)


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
