"""Images in files: read once, then kept on disk as one uint8 array that is mapped into memory.

An entry of the cache is a folder, keyed by the files' paths, sizes and times and by how they are decoded:
`survey.npz` (which files can be read, and how), `images.npy` (all of them decoded, where a loader wanted that) and
`plain/` (PNG copies of those that not every decoder reads alike). It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.cache import cache_root
from harness.data.images import for_each, read_image
from harness.data.listed import ListedFiles
from harness.errors import HarnessError, MachineError
from harness.records.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

VERSION = 1  # raise it when the same files would be decoded otherwise
SIZE_HINT = "set data.size to bring all images to one size, or data.evaluate to cut them as they are"


class Survey(NamedTuple):
    """What reading every file has shown.

    Attributes:
        readable: bool [M].
        plain: bool [M], see `harness.data.images.Image8`.
        shape: height, width and channels.
        sizes: int32 [M, 2], height and width of each, where they differ and stay as they are.
    """

    readable: np.ndarray
    plain: np.ndarray
    shape: tuple[int, int, int]
    sizes: np.ndarray | None = None


class ImageFiles:
    """A store (see `harness.data.source.ImageStore`) of M files, of which the unreadable ones have no pixels.

    Args:
        paths: the files.
        channels: 1 (gray) or 3 (RGB).
        size: as in `read_image`; None: all have one size.
        unreadable: "fail" stops at the first file that cannot be read, "skip" leaves those out.
        squash: as in `read_image`.

    Attributes:
        resized: whether images are cropped and resized; else all files have one size.
        seconds: what this process spent decoding; 0 where the cache had it all.
    """

    def __init__(
        self,
        paths: Sequence[str] | ListedFiles,
        *,
        channels: int,
        size: int | None = None,
        unreadable: Literal["fail", "skip"] = "fail",
        squash: bool = False,
    ) -> None:
        self._paths = paths if isinstance(paths, ListedFiles) else ListedFiles(paths)
        self._channels = channels
        self._size = size
        self._unreadable: Literal["fail", "skip"] = unreadable
        self._squash = squash
        self._options: tuple[object, ...] = (channels, size, *["squashed"] * squash)
        self.resized = size is not None
        self.seconds = 0.0

    @functools.cached_property
    def folder(self) -> Path:
        """The entry of the cache."""
        return cache_root() / "images" / self._paths.key(VERSION, *self._options)[:32]

    def survey(self, *, decode: bool) -> Survey:
        """Returns which files can be read.

        Args:
            decode: keep the pixels too.

        Raises:
            HarnessError: an image cannot be read or has an odd size, or the cache cannot be written.
        """
        found = self._stored_survey()
        if found is None or (decode and not (self.folder / "images.npy").exists()):
            found = self._read_all(decode)
        if self._unreadable == "fail" and not found.readable.all():
            read_image(self._paths[int(found.readable.argmin())], channels=self._channels)  # raises as before
            shutil.rmtree(self.folder, ignore_errors=True)  # it can be read now
            return self.survey(decode=decode)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """M, H, W and C."""
        return (len(self._paths), *self.survey(decode=False).shape)

    def array(self) -> np.ndarray:
        """Returns uint8 [M, H, W, C], mapped into memory; writes go to this process's own copy of a page."""
        import numpy as np

        shape = (len(self._paths), *self.survey(decode=True).shape)
        path = self.folder / "images.npy"
        for _ in range(2):
            try:
                images = np.load(path, mmap_mode="c")
                if images.shape == shape and images.dtype == np.uint8:
                    return np.asarray(images)
            except Exception:  # numpy raises almost anything on a damaged file
                pass
            self._read_all(decode=True)
        raise HarnessError(f"{path} is damaged", f"remove {self.folder}")

    def encoded(self) -> list[bytes]:
        """Returns the path of each image's file or of its PNG copy; of an unreadable one an empty one."""
        survey = self.survey(decode=False)
        copies = self.folder / "plain"
        return [
            b"" if not readable else os.fsencode(path if plain else copies / f"{row}.png")
            for row, (path, readable, plain) in enumerate(zip(self._paths, survey.readable, survey.plain, strict=True))
        ]

    def _stored_survey(self) -> Survey | None:
        import numpy as np

        try:
            content = io.BytesIO((self.folder / "survey.npz").read_bytes())  # numpy would not close a damaged file
            with np.load(content, allow_pickle=False) as stored:
                height, width, channels = (int(side) for side in stored["shape"])
                sizes = stored.get("sizes")
                found = Survey(stored["readable"], stored["plain"], (height, width, channels), sizes)
        except Exception:  # numpy and zipfile raise almost anything on a damaged file
            return None
        return found if len(found.readable) == len(self._paths) else None

    def _read_all(self, decode: bool) -> Survey:
        import numpy as np

        began = time.perf_counter()
        count = len(self._paths)
        shape = (self._size, self._size, self._channels) if self._size else self._first_shape()
        readable, plain = np.zeros(count, bool), np.ones(count, bool)
        temporary = self.folder / f"images.{uuid.uuid4().hex}.tmp"  # nodes that share the cache may share process ids
        with self._writing(temporary):
            self._make_folder(count * shape[0] * shape[1] * shape[2] if decode else 0)
            images = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, *shape)) if decode else None

            def read(row: int) -> None:
                try:
                    path = self._paths[row]
                    image = read_image(path, channels=self._channels, size=self._size, squash=self._squash)
                except HarnessError:
                    if self._unreadable == "fail":
                        raise
                    return
                if image.pixels.shape != shape:
                    message = f"{self._paths[row]} is {_width_by_height(image.pixels.shape)}, others are "
                    raise HarnessError(message + _width_by_height(shape), SIZE_HINT)
                readable[row], plain[row] = True, image.plain
                if images is not None:
                    images[row] = image.pixels
                if not image.plain:
                    self._copy_plainly(row)

            for_each(count, read, shape[0] * shape[1] * shape[2])
            self._require_some(readable)
            if images is not None:
                images.flush()
                temporary.replace(self.folder / "images.npy")
            survey = self._keep(Survey(readable, plain, shape))
        self.seconds += time.perf_counter() - began
        return survey

    @contextlib.contextmanager
    def _writing(self, temporary: Path | None = None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MachineError(
                f"{self.folder} cannot be written: {error.strerror}", "set HARNESS_CACHE to a folder with room"
            ) from None
        finally:
            if temporary:
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def _require_some(self, readable: np.ndarray) -> None:
        if not readable.any():
            raise HarnessError(f"none of the {len(readable)} images can be read", "check data.root")

    def _keep(self, survey: Survey) -> Survey:
        import numpy as np

        known = {name: values for name, values in survey._asdict().items() if values is not None}
        write_atomically(self.folder / "survey.npz", lambda file: np.savez(file, **known))
        return survey

    def _first_shape(self) -> tuple[int, int, int]:
        for path in self._paths:
            try:
                height, width, channels = read_image(path, channels=self._channels).pixels.shape
                return height, width, channels
            except HarnessError:
                if self._unreadable == "fail":
                    raise
        raise HarnessError(f"none of the {len(self._paths)} images can be read", "check data.root")

    def _make_folder(self, needed_bytes: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if needed_bytes > 0.9 * free:
            raise MachineError(
                f"the decoded images need {needed_bytes / 2**30:.1f} GiB in {self.folder}, "
                f"where {free / 2**30:.1f} GiB are free",
                "set HARNESS_CACHE to a folder with room, use a smaller data.size, or loader: dali",
            )

    def _copy_plainly(self, row: int) -> None:
        from PIL import Image

        pixels = read_image(self._paths[row], channels=self._channels).pixels
        copy = self.folder / "plain" / f"{row}.png"
        copy.parent.mkdir(exist_ok=True)
        image = Image.fromarray(pixels if self._channels > 1 else pixels[..., 0])
        write_atomically(copy, lambda file: image.save(file, "png", compress_level=1))


def _width_by_height(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
