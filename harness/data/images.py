"""Image files to uint8 arrays.

Every format ends as 8-bit gray (channels=1) or RGB (channels=3), upright as its EXIF tag says: 16-bit images are
scaled (not clipped), transparent ones are laid on white, of animations the first frame is taken.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from harness.data.source import require_memory
from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
# Pillow reads more, but some (EPS) run other programs on a file that may be named anything.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
CHUNK = 16


def decode(path: str, *, channels: int, size: int | None = None) -> np.ndarray:
    """Reads one image.

    Args:
        path: the file; its content decides the format, not its name.
        channels: 1 (gray) or 3 (RGB).
        size: height and width in pixels: the shorter side is resized, the centre is cut out; None: as it is.

    Returns:
        uint8 [H, W, channels].

    Raises:
        HarnessError: the file is not an image, is damaged, or has more pixels than Pillow takes for harmless
            (179 million).
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            if size is not None:
                image.draft(None, (2 * size, 2 * size))  # decodes a JPEG smaller, as thumbnail() does
            ImageOps.exif_transpose(image, in_place=True)
            plain = _to_gray_or_rgb(image, channels)
            if size is not None and plain.size != (size, size):
                plain = _resize_and_crop(plain, size)
            return np.asarray(plain, np.uint8).reshape(plain.height, plain.width, channels)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises almost anything on a damaged file
        reason = "no known format" if isinstance(error, UnidentifiedImageError) else error
        reason = getattr(error, "strerror", None) or str(reason).strip()
        raise HarnessError(
            f"{path} is not a readable image: {reason}",
            "replace or remove it (image_folder can leave such files out: data.unreadable=skip)",
        ) from None


def decode_all(
    paths: Sequence[str],
    *,
    channels: int,
    size: int | None = None,
    unreadable: Literal["fail", "skip"] = "fail",
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images into one array, on every core.

    Args:
        paths: the files.
        channels: 1 (gray) or 3 (RGB).
        size: as in `decode`; None: all must have one size.
        unreadable: "fail" stops at the first file that cannot be read, "skip" leaves those out.

    Returns:
        The images, uint8 [N, H, W, channels], and which of `paths` they are, bool [len(paths)].

    Raises:
        HarnessError: an image cannot be read or has an odd size, or all together do not fit in memory.
    """
    import numpy as np

    with warnings.catch_warnings():
        # Large images and odd metadata are Pillow's to warn of; what cannot be read is dealt with here.
        warnings.filterwarnings("ignore", module=r"PIL\b")
        shape = (size, size, channels) if size else _first_shape(paths, channels, unreadable)
        require_memory(len(paths) * shape[0] * shape[1] * channels)
        images = np.empty((len(paths), *shape), np.uint8)
        readable = np.ones(len(paths), bool)

        def decode_chunk(start: int) -> None:
            for index in range(start, min(start + CHUNK, len(paths))):
                try:
                    image = decode(paths[index], channels=channels, size=size)
                except HarnessError:
                    if unreadable == "fail":
                        raise
                    readable[index] = False
                    continue
                if image.shape != shape:
                    raise HarnessError(
                        f"{paths[index]} is {_width_by_height(image.shape)}, others are {_width_by_height(shape)}",
                        "set data.size to bring all images to one size",
                    )
                images[index] = image

        with ThreadPoolExecutor(_workers()) as pool:
            for _ in pool.map(decode_chunk, range(0, len(paths), CHUNK)):
                pass
    kept = np.flatnonzero(readable)
    if len(kept) < len(paths):
        for target, source in enumerate(kept):  # in place: a copy might not fit
            images[target] = images[source]
    return images[: len(kept)], readable


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


def _resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _first_shape(paths: Sequence[str], channels: int, unreadable: str) -> tuple[int, ...]:
    for path in paths:
        try:
            return decode(path, channels=channels).shape
        except HarnessError:
            if unreadable == "fail":
                raise
    raise HarnessError(f"none of the {len(paths)} images can be read", "check data.root")


def _width_by_height(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
