"""Files as they were listed: their paths in one block of memory, and what tells whether their content is known."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import pickle
import re
import time
from array import array
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex

from harness.cache import remember, remembered
from harness.data.images import THREADS_OF_SMALL, for_each
from harness.data.source import fingerprint_of
from harness.errors import HarnessError

if TYPE_CHECKING:
    import numpy as np

QUICK_BYTES = 256 * 2**20  # that are read, where their content is not known, even for a plan: once, for seconds
STAMP = 3  # numbers of a file's stamp: size, time of its content, time of its entry
HASH_BYTES, READ_BYTES = 32, 2**20
FIRST, AT_ONCE_SECONDS = 256, 50e-6  # files that tell how quick the others are; a file in memory takes 10 us


class ListedFiles:
    """The paths of files, and their sizes and times as they are when they are first asked for.

    The paths are one text: a million of them as strings would take 130 MB in each rank and, as Python counts who refers
    to them, in each worker that a rank forks.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._count = len(paths)
        self._joined: bytes | memoryview = os.fsencode("\0".join(paths))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> str:
        start = self._ends[row - 1] + 1 if row else 0
        return os.fsdecode(bytes(self._joined[start : self._ends[row]]))

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self._each())

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        """Leaves the stamps out. From protocol 5 on the paths may stay outside of the pickle."""
        joined = pickle.PickleBuffer(self._joined) if int(protocol) >= 5 else bytes(self._joined)
        return ListedFiles, ((),), {"_count": self._count, "_joined": joined, "_ends": self._ends}

    @functools.cached_property
    def stamps(self) -> array[int]:
        """Size, time of the content and time of the entry of each file: as tuples they would take 200 MB."""
        stamps = array("q")
        for path in self._each():
            try:
                stamps.extend(_stamp(os.stat(path)))  # noqa: PTH116 - of each of a million files
            except OSError:  # a broken link
                stamps.extend((0, -1, -1))
        return stamps

    def key(self, *parts: object) -> str:
        """Returns a hash of the paths and stamps, and of other parts."""
        digest = hashlib.sha256(fingerprint_of(*parts).encode())
        digest.update(self.stamps)
        digest.update(self._joined)
        return digest.hexdigest()

    def content(self, root: Path, most_bytes: float = math.inf) -> str:
        """Returns the hash of the files' content and of their names below `root`.

        It is kept until a size or a time of a file changes.

        Args:
            root: a folder; where it lies is no part of the hash.
            most_bytes: read the files, where their content is not known, if all of them together are no larger.

        Returns:
            sha256 (hex); empty where the content is not known and the files are too large to be read for it.

        Raises:
            HarnessError: the files change while they are read.
        """
        total, key = sum(self.stamps[::STAMP]), self.key(os.fsencode(root.absolute()).hex())
        if total > most_bytes:
            return remembered("content", key) or ""
        return remember("content", key, lambda: self._read_all(root, total / max(len(self), 1)))

    def _read_all(self, root: Path, each_bytes: float) -> str:
        paths = list(self._each())
        hashes = bytearray(HASH_BYTES * len(self))
        unreadable: set[int] = set()

        def hash_one(row: int) -> None:
            stamp = self.stamps[STAMP * row : STAMP * (row + 1)]
            try:
                digest = _hash_of(paths[row], stamp)
            except OSError:  # a broken link: the dataset says what becomes of unreadable files
                unreadable.add(row)
            else:
                hashes[HASH_BYTES * row : HASH_BYTES * (row + 1)] = digest

        first = min(FIRST, len(self))
        began = time.perf_counter()
        for row in range(first):
            hash_one(row)
        at_once = time.perf_counter() - began < first * AT_ONCE_SECONDS
        threads = 1 if at_once else THREADS_OF_SMALL  # which wait for a disk together, and else for each other
        for_each(len(self) - first, lambda row: hash_one(first + row), each_bytes, small_threads=threads)
        return _content(paths, root, hashes, unreadable)

    def _each(self) -> Iterator[bytes]:
        return (found[0] for found in re.finditer(rb"[^\0]+", self._joined))

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        import numpy as np

        joined = np.frombuffer(self._joined, np.uint8)
        return np.append(np.flatnonzero(joined == 0), len(joined))


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    """Returns what tells that a file was changed or replaced; an archive that is unpacked sets mtime, but not ctime."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hash_of(path: bytes, stamp: array[int]) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        digest = hashlib.sha256()
        while part := os.read(handle, READ_BYTES):
            digest.update(part)
            if len(part) < READ_BYTES:
                break
        if _stamp(os.fstat(handle)) != tuple(stamp):
            raise HarnessError(f"{os.fsdecode(path)} changes while it is read", "wait until all files are there")
    finally:
        os.close(handle)
    return digest.digest()


def _content(paths: Sequence[bytes], root: Path, hashes: bytearray, unreadable: Set[int]) -> str:
    """Returns the hash of the names and the hashes of their content, by name; as `fingerprint_of` a list of pairs."""
    folder = os.fsencode(root)
    begin = folder + os.fsencode(os.sep)
    digest, between = hashlib.sha256(b"[["), b""
    for row in sorted(range(len(paths)), key=paths.__getitem__):
        path = paths[row]
        name = (path[len(begin) :] if path.startswith(begin) else os.path.relpath(path, folder)).hex()
        of_file = "unreadable" if row in unreadable else hashes[HASH_BYTES * row : HASH_BYTES * (row + 1)].hex()
        digest.update(between + f'["{name}", "{of_file}"]'.encode())
        between = b", "
    digest.update(b"]]")
    return digest.hexdigest()
