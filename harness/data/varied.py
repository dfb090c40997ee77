"""Image files of any size, which stay as they are: what is seen of each is one box of it, brought to one size."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.data.files import ImageFiles, Survey
from harness.data.images import for_each, look_at, read_image
from harness.data.listed import QUICK_BYTES, ListedFiles
from harness.data.source import Dataset, DataSource, Split
from harness.errors import HarnessError
from harness.spec import Evaluate

if TYPE_CHECKING:
    import numpy as np

    from harness.data.download import Archive

HEADER_BYTES = 4096  # about what is read of a file for its size


class VariedFiles(ImageFiles):
    """A store (see `harness.data.source.ImageStore`) of M files of any size, seen through boxes.

    Args:
        paths, channels, unreadable: as of `ImageFiles`.
        evaluate: what evaluation sees; the size of its crop is that of every box when it was cut.
    """

    def __init__(
        self,
        paths: Sequence[str] | ListedFiles,
        *,
        channels: int,
        evaluate: Evaluate,
        unreadable: Literal["fail", "skip"] = "fail",
    ) -> None:
        super().__init__(paths, channels=channels, size=evaluate.crop, unreadable=unreadable)
        self._evaluate = evaluate
        self._options = (*self._options, "as they are")

    @property
    def shape(self) -> tuple[int, ...]:
        """M, and H, W and C of a box that was cut."""
        return (len(self._paths), self._evaluate.crop, self._evaluate.crop, self._channels)

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of each image, upright, int32 [M, 2]; of an unreadable one zeros."""
        sizes = self._surveyed.sizes
        assert sizes is not None
        return sizes

    @functools.cached_property
    def squashed(self) -> SquashedFiles:
        """The images in a form that `resident` can hold."""
        return SquashedFiles(self, self._paths, self._channels, self._evaluate.resize, self._unreadable)

    def array(self) -> np.ndarray:
        """There is none: images of several sizes are no array."""
        raise HarnessError("this loader takes images of one size only", "use loader: pinned, dali or resident")

    def boxes(self, rows: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
        """Returns the box of each image that is seen, int32 [n, 4] (top, left, height, width): drawn, or the middle."""
        return middle_boxes(self.sizes[rows], self._evaluate) if drawn is None else drawn

    def path(self, row: int) -> str:
        """Returns the path of a file."""
        return self._paths[row]

    @functools.cached_property
    def _surveyed(self) -> Survey:
        return self.survey(decode=False)

    def _read_all(self, decode: bool) -> Survey:
        import numpy as np

        began = time.perf_counter()
        count = len(self._paths)
        readable, plain, sizes = np.zeros(count, bool), np.ones(count, bool), np.zeros((count, 2), np.int32)

        def read(row: int) -> None:
            try:
                looked = look_at(self._paths[row], channels=self._channels)
                if not looked.plain:
                    self._copy_plainly(row)
            except HarnessError:
                if self._unreadable == "fail":
                    raise
                return
            readable[row], plain[row], sizes[row] = True, looked.plain, looked.size

        with self._writing():
            self._make_folder(0)
            for_each(count, read, HEADER_BYTES)
            self._require_some(readable)
            _, height, width, channels = self.shape
            survey = self._keep(Survey(readable, plain, (height, width, channels), sizes))
        self.seconds += time.perf_counter() - began
        return survey


class SquashedFiles(ImageFiles):
    """Images of any size, each squashed to a square of one size; a box of the original becomes a box of that.

    Args:
        original: the files as they are.
        paths, channels, unreadable: as of `ImageFiles`.
        size: height and width of a square.
    """

    def __init__(
        self, original: VariedFiles, paths: ListedFiles, channels: int, size: int, unreadable: Literal["fail", "skip"]
    ) -> None:
        super().__init__(paths, channels=channels, size=size, unreadable=unreadable, squash=True)
        self._original = original

    def survey(self, *, decode: bool) -> Survey:
        """As of `ImageFiles`; what its header called readable, must be.

        Raises:
            HarnessError: a file has a good header, and cannot be decoded.
        """
        found = super().survey(decode=decode)
        bad = self._original.survey(decode=False).readable & ~found.readable
        if bad.any():
            read_image(self._paths[int(bad.argmax())], channels=self._channels)  # raises what it did at first
        return found

    @property
    def sizes(self) -> np.ndarray:
        """Height and width of each original, int32 [M, 2]."""
        return self._original.sizes

    def boxes(self, rows: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
        """As of `VariedFiles`, in pixels of the squares: to the nearest, and one at least."""
        import numpy as np

        assert self._size
        boxes = self._original.boxes(rows, drawn)
        scale = self._size / np.tile(self.sizes[rows], 2)
        first, last = np.rint(boxes[:, :2] * scale[:, :2]), np.rint((boxes[:, :2] + boxes[:, 2:]) * scale[:, 2:])
        first = np.minimum(first, self._size - 1)
        return np.concatenate([first, np.maximum(last - first, 1)], 1).astype(np.int32)


def middle_boxes(sizes: np.ndarray, evaluate: Evaluate) -> np.ndarray:
    """Returns the square that evaluation sees of each image, int32 [n, 4] (top, left, height, width).

    It is the middle `crop` x `crop` pixels of the image whose shorter side was resized to `resize`, in whole pixels of
    the original.

    Args:
        sizes: int32 [n, 2], height and width.
        evaluate: what evaluation sees.
    """
    import numpy as np

    side = np.maximum(np.rint(sizes.min(1) * (evaluate.crop / evaluate.resize)), 1).astype(np.int32)
    return np.concatenate([(sizes - side[:, None]) // 2, side[:, None], side[:, None]], 1).astype(np.int32)


class Found(NamedTuple):
    """The files of a data set.

    Attributes:
        labels: int64 [M], of the files.
        train, test: int64, which files are trained and tested on.
        class_names: one a label.
    """

    files: ListedFiles
    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray
    class_names: tuple[str, ...]


def source_of_files(
    fingerprint: Callable[[float], str],
    find: Callable[[], Found],
    *,
    channels: int,
    size: int | None,
    unreadable: Literal["fail", "skip"] = "fail",
    download: Callable[[], None] | None = None,
    archive: Archive | None = None,
) -> DataSource:
    """Returns a data set of files.

    Args:
        fingerprint: of their content, empty where it is not known and more than a number of bytes had to be read.
        find: the files.
        channels, size, unreadable: as of `ImageFiles`.
        download, archive: as of `DataSource`.
    """

    def load(*, decode: bool = True, evaluate: Evaluate | None = None) -> Dataset:
        found = find()
        if evaluate:
            files: ImageFiles = VariedFiles(found.files, channels=channels, evaluate=evaluate, unreadable=unreadable)
        else:
            files = ImageFiles(found.files, channels=channels, size=size, unreadable=unreadable)
        return _data_set(files, found, decode)

    return DataSource(
        fingerprint=lambda: fingerprint(math.inf),
        load=load,
        load_encoded=lambda: load(decode=False),
        load_varied=None if size else lambda evaluate: load(decode=False, evaluate=evaluate),
        download=download,
        archive=archive,
        known_fingerprint=lambda: fingerprint(QUICK_BYTES),
    )


def _data_set(files: ImageFiles, found: Found, decode: bool) -> Dataset:
    import numpy as np

    readable, labels = files.survey(decode=decode).readable, found.labels
    train, test = found.train[readable[found.train]], found.test[readable[found.test]]
    missing = sorted(set(range(len(found.class_names))) - set(labels[train].tolist()))
    if missing or not len(test):
        where = f"to train on of class '{found.class_names[missing[0]]}'" if missing else "to test on"
        raise HarnessError(f"no readable image is left {where}", "repair the files, or leave the class out")
    skipped = [os.fsencode(found.files[row]) for row in np.flatnonzero(~readable).tolist()]
    return Dataset(
        train=Split(files, labels[train], train),
        test=Split(files, labels[test], test),
        class_names=found.class_names,
        skipped=tuple(path.decode("utf-8", "replace") for path in skipped),
        decode_seconds=files.seconds,
    )
