"""One image file to uint8.

Every format ends as 8-bit gray (channels=1) or RGB (channels=3), upright as its EXIF tag says: 16-bit images are
scaled (not clipped), transparent ones are laid on white, of animations the first frame is taken.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
# Pillow reads more, but some (EPS) run other programs on a file that may be named anything.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
END_OF_JPEG = b"\xff\xd9"
TAIL_BYTES = 4096  # some cameras and editors write beyond the end
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # of EXIF: height and width change places
CHUNK, MOST_CHUNKS = 16, 4096  # calls that a thread takes at once; a million futures would take 100 MB
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


class Looked(NamedTuple):
    """What the header of an image tells: height and width, upright, and `plain` (see `Image8`)."""

    size: tuple[int, int]
    plain: bool


def read_image(path: str, *, channels: int, size: int | None = None, squash: bool = False) -> Image8:
    """Reads one image.

    Args:
        path: the file; its content decides the format, not its name.
        channels: 1 (gray) or 3 (RGB).
        size: height and width in pixels: the middle square is resized (bilinear, antialiased); None: as it is.
        squash: resize the whole image to `size`, whatever its shape, and not the middle square.

    Raises:
        HarnessError: the file is not an image, is damaged, or has more pixels than Pillow takes for harmless
            (179 million).
    """
    import numpy as np
    from PIL import Image

    with _explaining(path), Image.open(path, formats=FORMATS) as image:
        plain = _is_plain(image)
        even = _upright(image, channels)
        if size is not None and even.size != (size, size):
            even = even.resize((size, size), Image.Resampling.BILINEAR) if squash else _crop_and_resize(even, size)
        return Image8(np.asarray(even, np.uint8).reshape(even.height, even.width, channels), plain)


def look_at(path: str, *, channels: int) -> Looked:
    """Reads the size of an image: of a JPEG file by its header and end, of others by decoding them.

    Raises:
        HarnessError: as of `read_image`.
    """
    from PIL import Image

    with _explaining(path), Image.open(path, formats=FORMATS) as image:
        if image.format != "JPEG" or not _has_an_end(path):
            height, width = read_image(path, channels=channels).pixels.shape[:2]
            return Looked((height, width), _is_plain(image))
        width, height = image.size
        turned = image.getexif().get(ORIENTATION, 1) in TURNED
        return Looked((width, height) if turned else (height, width), _is_plain(image))


def read_box(path: str, box: Sequence[int], *, channels: int) -> np.ndarray:
    """Reads a box of an image.

    Args:
        path: the file.
        box: top, left, height and width, in pixels of the upright image.
        channels: 1 (gray) or 3 (RGB).

    Returns:
        uint8 [height, width, channels].

    Raises:
        HarnessError: the file is not readable any more, or has become smaller.
    """
    import numpy as np
    from PIL import Image

    top, left, height, width = (int(side) for side in box)
    with _explaining(path), Image.open(path, formats=FORMATS) as opened:
        image = _upright(opened, channels)
        if top + height > image.height or left + width > image.width:
            raise HarnessError(f"{path} is smaller than when it was first read", "wait until all files are there")
        part = image.crop((left, top, left + width, top + height))
        return np.array(part, np.uint8).reshape(height, width, channels)


_progress: ContextVar[Callable[[int], object]] = ContextVar("progress", default=lambda done: None)


@contextlib.contextmanager
def telling_progress(tell: Callable[[int], object]) -> Iterator[None]:
    """Inside, `for_each` tells from time to time how many of its calls are done, in the thread that called it."""
    before = _progress.set(tell)
    try:
        yield
    finally:
        _progress.reset(before)


def tell_progress(done: int) -> None:
    """Tells how many files are done, where `telling_progress` asked for it."""
    _progress.get()(done)


def for_each(
    count: int, work: Callable[[int], None], each_bytes: float = math.inf, *, small_threads: int = THREADS_OF_SMALL
) -> None:
    """Calls `work` with each number below `count`, on every core; the first exception ends it.

    Args:
        count: of the calls.
        work: is called in several threads.
        each_bytes: about what a call reads or makes; small ones have few threads.
        small_threads: how many at most.
    """
    workers = min(_workers(), small_threads) if each_bytes < SMALL_BYTES else _workers()

    size = max(CHUNK, count // MOST_CHUNKS)

    def chunk(start: int) -> None:
        for index in range(start, min(start + size, count)):
            work(index)

    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        # Large images and odd metadata are Pillow's to warn of; what cannot be read is dealt with here.
        warnings.filterwarnings("ignore", module=r"PIL\b")
        for done, _ in enumerate(pool.map(chunk, range(0, count, size)), 1):
            tell_progress(done * size)


@contextlib.contextmanager
def _explaining(path: str) -> Iterator[None]:
    from PIL import UnidentifiedImageError

    try:
        yield
    except (MemoryError, HarnessError):
        raise
    except Exception as error:  # Pillow raises almost anything on a damaged file
        reason = "no known format" if isinstance(error, UnidentifiedImageError) else error
        reason = getattr(error, "strerror", None) or str(reason).strip()
        raise HarnessError(
            f"{path} is not a readable image: {reason}",
            "replace or remove it (image_folder can leave such files out: data.unreadable=skip)",
        ) from None


def _is_plain(image: Image.Image) -> bool:
    return image.format in ("JPEG", "PNG") and image.mode in ("L", "RGB") and not image.has_transparency_data


def _has_an_end(path: str) -> bool:
    """Tells whether the end of a JPEG file is near the end of the file."""
    with Path(path).open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
        return END_OF_JPEG in file.read()


def _upright(image: Image.Image, channels: int) -> Image.Image:
    from PIL import ImageOps

    if channels == 1 and image.format == "JPEG":
        image.draft("L", image.size)  # the luma that is in the file, as DALI has it; colours would be clipped
    ImageOps.exif_transpose(image, in_place=True)
    return _to_gray_or_rgb(image, channels)


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
