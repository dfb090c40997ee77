"""Caltech-256 (https://data.caltech.edu/records/nyy15-4j048): photographs of many sizes."""

from __future__ import annotations

from pathlib import Path

from harness.counted import counted
from harness.data.download import Archive, unpack
from harness.data.listed import ListedFiles
from harness.data.source import DataSource, data_root, fingerprint_of
from harness.data.split import rank_in_class
from harness.data.varied import Found, source_of_files
from harness.errors import HarnessError
from harness.parameters import NonNegativeInt, PositiveInt
from harness.registry import dataset

URL = "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar"
ARCHIVE = "256_ObjectCategories.tar"
SIZE_BYTES = 1_183_006_720
CHECKSUM = "md5:67b4f42ca05d46448c6bb8ecd2220f6d"
FOLDER = "256_ObjectCategories"
CLUTTER = "257.clutter"
IMAGES = {True: 30_607, False: 29_780}  # with and without the clutter class
CONTENT = ".content"  # in the folder: the hash of what the archive held, to tell files that were changed later


@dataset("caltech256")
def caltech256(
    *,
    root: str | None = None,
    download: bool = False,
    size: PositiveInt = 224,
    train_per_class: PositiveInt = 32,
    test_per_class: PositiveInt = 8,
    split_seed: NonNegativeInt = 0,
    clutter: bool = False,
) -> DataSource:
    """Colour photographs in 256 classes of at least 80 images, of which a seeded choice is taken.

    Args:
        root: Folder with 256_ObjectCategories.tar or 256_ObjectCategories; default $HARNESS_DATA, else data.
        download: Fetch the archive (1.2 GB) if it is not there.
        size: Height and width in pixels: the shorter side is resized, the centre is cut out.
        train_per_class: Images of each class to train on.
        test_per_class: Images of each class to test on; they do not depend on train_per_class.
        split_seed: Seed of the choice.
        clutter: Take the 257th class, images of nothing in particular, too.
    """
    folder = data_root(root) / FOLDER
    archive = folder.parent / ARCHIVE
    published = Archive("Caltech-256", URL, SIZE_BYTES, CHECKSUM, archive, folder)

    def fetch_and_unpack() -> None:
        if not folder.is_dir():
            published.fetch()
            unpack(archive, CHECKSUM, folder, _note_content)

    def find() -> Found:
        if not folder.is_dir():
            if not archive.is_file():
                raise published.missing()
            unpack(archive, CHECKSUM, folder, _note_content)
        return _find(folder, train_per_class, test_per_class, split_seed, clutter)

    def fingerprint(most_bytes: float) -> str:
        own = CHECKSUM, size, train_per_class, test_per_class, split_seed, clutter
        if not folder.is_dir():
            return fingerprint_of("caltech256", *own)
        content = _images(folder).content(folder, most_bytes)
        if not content:
            return ""
        return fingerprint_of("caltech256", *own, *([] if content == _noted_content(folder) else [content]))

    fetch = fetch_and_unpack if download else None
    return source_of_files(fingerprint, find, channels=3, size=size, download=fetch, archive=published)


def _images(folder: Path) -> ListedFiles:
    return ListedFiles(sorted(map(str, folder.glob("*/*.jpg"))))


def _note_content(folder: Path) -> None:
    (folder / CONTENT).write_text(_images(folder).content(folder), encoding="utf-8")


def _noted_content(folder: Path) -> str | None:
    try:
        return (folder / CONTENT).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _find(folder: Path, train_per_class: int, test_per_class: int, split_seed: int, clutter: bool) -> Found:
    import numpy as np

    class_folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if not clutter:
        class_folders = [path for path in class_folders if path.name != CLUTTER]
    of_class = [sorted(str(path) for path in class_folder.glob("*.jpg")) for class_folder in class_folders]
    paths = [path for class_paths in of_class for path in class_paths]
    # The fingerprint is the archive's, so the folder must be its whole content.
    if len(paths) != IMAGES[clutter]:
        raise HarnessError(
            f"{folder} holds {counted(len(paths), 'image')}, not {IMAGES[clutter]}",
            f"remove it and unpack {ARCHIVE} again",
        )
    labels = np.repeat(np.arange(len(of_class)), [len(class_paths) for class_paths in of_class])
    smallest = min(len(class_paths) for class_paths in of_class)
    if train_per_class + test_per_class > smallest:
        raise HarnessError(
            f"{train_per_class} + {test_per_class} images a class were asked for, the smallest has {smallest}",
            "lower data.train_per_class or data.test_per_class",
        )
    rank = rank_in_class(labels, split_seed)
    test = np.flatnonzero(rank < test_per_class)
    train = np.flatnonzero((rank >= test_per_class) & (rank < test_per_class + train_per_class))
    chosen, count = np.append(train, test), len(train)
    names = tuple(path.name.partition(".")[2] for path in class_folders)
    files = ListedFiles([paths[index] for index in chosen])
    return Found(files, labels[chosen], np.arange(count), np.arange(count, len(chosen)), names)
