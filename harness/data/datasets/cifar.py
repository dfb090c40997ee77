"""CIFAR-10 and CIFAR-100, from the Python archives of https://www.cs.toronto.edu/~kriz/cifar.html."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data.download import Archive, verify
from harness.data.source import Dataset, DataSource, Split, data_root, fingerprint_of
from harness.errors import HarnessError
from harness.registry import dataset

if TYPE_CHECKING:
    import numpy as np

URL = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Edition:
    """One of the two datasets: its archive, the checksums of its files, and their keys."""

    name: str
    title: str
    archive: str
    size_bytes: int
    checksum: str
    folder: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    meta: Mapping[str, str]
    labels_key: str
    names_key: str


CIFAR10 = Edition(
    name="cifar10",
    title="CIFAR-10",
    archive="cifar-10-python.tar.gz",
    size_bytes=170_498_071,
    checksum="sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    folder="cifar-10-batches-py",
    train={
        "data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
        "data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "md5:634d18415352ddfa80567beed471001a",
        "data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "md5:40351d587109b95175f43aff81a1287e"},
    meta={"batches.meta": "md5:5ff9c542aee3614f3951f8cda6e48888"},
    labels_key="labels",
    names_key="label_names",
)
CIFAR100 = Edition(
    name="cifar100",
    title="CIFAR-100",
    archive="cifar-100-python.tar.gz",
    size_bytes=169_001_437,
    checksum="sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
    folder="cifar-100-python",
    train={"train": "md5:16019d7e3df5f24257cddd939b257f8d"},
    test={"test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"},
    meta={"meta": "md5:7973b15100ade9c7d40fb424638fde48"},
    labels_key="fine_labels",
    names_key="fine_label_names",
)


@dataset("cifar10")
def cifar10(*, root: str | None = None, download: bool = False) -> DataSource:
    """60,000 colour photographs of 32 x 32 in 10 classes; 50,000 to train, 10,000 to test.

    Args:
        root: Folder with cifar-10-python.tar.gz or cifar-10-batches-py; default $HARNESS_DATA, else data.
        download: Fetch the archive (170 MB) if it is not there.
    """
    return _source(CIFAR10, data_root(root), download)


@dataset("cifar100")
def cifar100(*, root: str | None = None, download: bool = False) -> DataSource:
    """60,000 colour photographs of 32 x 32 in 100 (fine) classes; 50,000 to train, 10,000 to test.

    Args:
        root: Folder with cifar-100-python.tar.gz or cifar-100-python; default $HARNESS_DATA, else data.
        download: Fetch the archive (169 MB) if it is not there.
    """
    return _source(CIFAR100, data_root(root), download)


def _source(edition: Edition, root: Path, download: bool) -> DataSource:
    url = URL + edition.archive
    path, folder = root / edition.archive, root / edition.folder
    archive = Archive(edition.title, url, edition.size_bytes, edition.checksum, path, folder)
    return DataSource(
        fingerprint=lambda: fingerprint_of(edition.name, edition.checksum),
        load=lambda: _load(edition, archive),
        download=archive.fetch if download else None,
        archive=archive,
    )


def _load(edition: Edition, archive: Archive) -> Dataset:
    files = _read_verified(edition, archive)
    (meta,) = (_unpickle(files[name]) for name in edition.meta)
    return Dataset(
        train=_split(edition, [_unpickle(files[name]) for name in edition.train]),
        test=_split(edition, [_unpickle(files[name]) for name in edition.test]),
        class_names=tuple(meta[edition.names_key]),
    )


def _split(edition: Edition, batches: list[dict[str, Any]]) -> Split:
    import numpy as np

    rows = np.concatenate([batch["data"] for batch in batches])  # uint8 [N, 3 * 32 * 32], channels first
    images = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Split(images, np.concatenate([np.array(batch[edition.labels_key], np.int64) for batch in batches]))


def _read_verified(edition: Edition, archive: Archive) -> dict[str, bytes]:
    """Returns the files' bytes by name: the very bytes that were verified are those unpickled later."""
    folder = archive.folder
    checksums = {**edition.train, **edition.test, **edition.meta}
    if folder.is_dir():
        files = {name: _read(folder / name) for name in checksums}
    elif archive.path.is_file():
        verify(archive.path, edition.checksum, str(archive.path))
        files = _read_members(archive.path, edition.folder)
    else:
        raise archive.missing()
    for name, checksum in checksums.items():
        verify(files[name], checksum, f"{edition.folder}/{name}")
    return files


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise HarnessError(
            f"{path} cannot be read: {error.strerror}", f"remove {path.parent} and unpack it again"
        ) from None


def _read_members(archive: Path, folder: str) -> dict[str, bytes]:
    files = {}
    with tarfile.open(archive, "r|gz") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name.removeprefix(f"{folder}/")] = content.read()
    return files


class _BatchUnpickler(pickle.Unpickler):
    """Builds lists, dicts and arrays, and nothing else that a pickle could name."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        def dtype(spec: str, align: int = False, copy: int = False) -> np.dtype:
            # Python 2 wrote 0 and 1, which numpy no longer takes.
            return np.dtype(spec, bool(align), bool(copy))

        if (module, name) == ("numpy", "dtype"):
            return dtype
        if (module, name) in {
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"unexpected {module}.{name}")


def _unpickle(content: bytes) -> dict[str, Any]:
    return _BatchUnpickler(io.BytesIO(content), encoding="latin1").load()
