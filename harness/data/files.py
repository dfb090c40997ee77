"""Images in files: read once, then kept on disk as one uint8 array that is mapped into memory.

An entry of the cache is a folder, keyed by the files' paths, sizes and times and by how they are decoded:
`survey.npz` (which files can be read, and how), `images.npy` (all of them decoded, where a loader wanted that) and
`plain/` (PNG copies of those that not every decoder reads alike). The hash of their content is kept by the same sizes
and times. It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import math
import os
import shutil
import time
import uuid
from array import array
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.cache import cache_root, remember, remembered
from harness.data.images import for_each, read_image
from harness.data.source import fingerprint_of
from harness.errors import HarnessError, MachineError
from harness.records.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

VERSION = 1  # raise it when the same files would be decoded otherwise
QUICK_BYTES = 256 * 2**20  # that are read, where their content is not known, even for a plan: once, for seconds
STAMP = 3  # numbers of a file's stamp: size, time of its content, time of its entry
HASH_BYTES, READ_BYTES, NAMES_AT_ONCE = 32, 2**20, 10_000
SIZE_HINT = "set data.size to bring all images to one size, or data.evaluate to cut them as they are"


def content_of(paths: Sequence[str], root: Path, *, most_bytes: float = math.inf) -> str:
    """Returns the hash of the files' content and of their names below `root`.

    It is kept until a size or a time of a file changes.

    Args:
        paths: the files, below `root`.
        root: a folder; where it lies is no part of the hash.
        most_bytes: read the files, where their content is not known, if all of them together are no larger.

    Returns:
        sha256 (hex); empty where the content is not known and the files are too large to be read for it.

    Raises:
        HarnessError: the files change while they are read.
    """
    stamps = _stamps(paths)
    total, key = sum(stamps[::STAMP]), _key(paths, stamps, os.fsencode(root.absolute()).hex())
    if total > most_bytes:
        return remembered("content", key) or ""

    def make() -> str:
        hashes = bytearray(HASH_BYTES * len(paths))
        unreadable: set[int] = set()

        def hash_one(row: int) -> None:
            stamp = stamps[STAMP * row : STAMP * (row + 1)]
            try:
                digest = _hash_of(paths[row], stamp)
            except OSError:  # a broken link: the dataset says what becomes of unreadable files
                unreadable.add(row)
            else:
                hashes[HASH_BYTES * row : HASH_BYTES * (row + 1)] = digest

        for_each(len(paths), hash_one, total / max(len(paths), 1))
        return _content(paths, root, hashes, unreadable)

    return remember("content", key, make)


def _hash_of(path: str, stamp: array[int]) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        digest = hashlib.sha256()
        while part := os.read(handle, READ_BYTES):
            digest.update(part)
            if len(part) < READ_BYTES:
                break
        if _stamp(os.fstat(handle)) != tuple(stamp):
            raise HarnessError(f"{path} changes while it is read", "wait until all files are there")
    finally:
        os.close(handle)
    return digest.digest()


def _content(paths: Sequence[str], root: Path, hashes: bytearray, unreadable: Set[int]) -> str:
    """Returns the hash of the names and the hashes of their content, by name; as `fingerprint_of` a list of pairs."""
    begin = f"{root}{os.sep}"
    digest, between = hashlib.sha256(b"[["), b""
    for row in sorted(range(len(paths)), key=lambda row: os.fsencode(paths[row])):
        path = paths[row]
        name = os.fsencode(path[len(begin) :] if path.startswith(begin) else os.path.relpath(path, root)).hex()
        of_file = "unreadable" if row in unreadable else hashes[HASH_BYTES * row : HASH_BYTES * (row + 1)].hex()
        digest.update(between + f'["{name}", "{of_file}"]'.encode())
        between = b", "
    digest.update(b"]]")
    return digest.hexdigest()


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
        paths: Sequence[str],
        *,
        channels: int,
        size: int | None = None,
        unreadable: Literal["fail", "skip"] = "fail",
        squash: bool = False,
    ) -> None:
        self._paths = list(paths)
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
        key = _key(self._paths, _stamps(self._paths), VERSION, *self._options)
        return cache_root() / "images" / key[:32]

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
            read_image(self._paths[found.readable.argmin()], channels=self._channels)  # raises what it did at first
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


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    """Returns what tells that a file was changed or replaced; an archive that is unpacked sets mtime, but not ctime."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _stamps(paths: Sequence[str]) -> array[int]:
    """Returns the stamps of files one after the other: of a million files, tuples would take 200 MB."""
    stamps = array("q")
    for path in paths:
        try:
            stamps.extend(_stamp(os.stat(path)))  # noqa: PTH116 - of each of a million files
        except OSError:  # a broken link
            stamps.extend((0, -1, -1))
    return stamps


def _key(paths: Sequence[str], stamps: array[int], *parts: object) -> str:
    """Returns a hash of files by their paths and stamps, and of other parts."""
    digest = hashlib.sha256(fingerprint_of(*parts).encode())
    digest.update(stamps)
    for start in range(0, len(paths), NAMES_AT_ONCE):
        digest.update(os.fsencode("\0".join(paths[start : start + NAMES_AT_ONCE])))
    return digest.hexdigest()


def _width_by_height(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
