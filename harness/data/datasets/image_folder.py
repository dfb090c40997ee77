"""Your own images: a folder a class."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from harness.data.images import SUFFIXES
from harness.data.listed import ListedFiles
from harness.data.source import DataSource, fingerprint_of
from harness.data.split import hold_out
from harness.data.varied import Found, source_of_files
from harness.errors import HarnessError
from harness.parameters import Fraction, NonNegativeInt, PositiveInt
from harness.paths import user_path
from harness.registry import dataset

ARCHIVER_FOLDER = "__MACOSX"  # beside what macOS packed: a shadow of each file, by the same name


Nested = Literal["refuse", "first", "last"]


class Listing(NamedTuple):
    """The paths of images by class; none was opened.

    Attributes:
        test: None where the folder is yet to be split.
        empty: folders that hold nothing, and are passed over.
        loose: how many images lie in no class folder, and are left out.
    """

    class_names: tuple[str, ...]
    train: list[list[str]]
    test: list[list[str]] | None
    empty: list[str]
    loose: int


@dataset("image_folder")
def image_folder(
    *,
    root: str,
    test_folder: str = "test",
    test_fraction: Fraction = 0.2,
    split_seed: NonNegativeInt = 0,
    nested: Literal["refuse", "first", "last"] = "refuse",
    size: PositiveInt | None = None,
    channels: Literal[1, 3] = 3,
    unreadable: Literal["fail", "skip"] = "fail",
) -> DataSource:
    """A folder of images: root/train/<class> and root/test/<class>, or root/<class> to be split.

    Args:
        root: The folder; in a suite it begins at the suite's folder, after --set at the current one.
        test_folder: Folder beside train with the test images, for instance val.
        test_fraction: Share of each class that is tested on, where root holds the classes themselves.
        split_seed: Seed of that split.
        nested: Of folders in folders, which names the class: the first below root (or train), or the last.
        size: Height and width in pixels (shorter side resized, centre cut out); null: all have one size, unless
            data.evaluate takes them as they are.
        channels: 1 for gray, 3 for colour; every image is converted.
        unreadable: What to do with an unreadable image; skip leaves it out and lists it.
    """
    folder = user_path(root)

    @functools.cache
    def listed() -> tuple[ListedFiles, tuple[str, ...], list[int], list[int]]:
        """Returns files, classes, and how many images each has to train on and to test on; the latter may be empty."""
        listing = list_images(folder, test_folder, nested)
        files = ListedFiles([*itertools.chain(*listing.train, *(listing.test or []))])
        return files, listing.class_names, [*map(len, listing.train)], [*map(len, listing.test or [])]

    def fingerprint(most_bytes: float) -> str:
        files, _, _, test_counts = listed()
        content = files.content(folder, most_bytes)
        split = [test_folder] if test_counts else [test_fraction, split_seed]
        return content and fingerprint_of("image_folder", content, split)

    def find() -> Found:
        import numpy as np

        files, names, counts, test_counts = listed()
        labels = np.repeat(np.arange(len(names)), counts)
        if test_counts:
            labels = np.append(labels, np.repeat(np.arange(len(names)), test_counts))
            train, test = np.split(np.arange(len(files)), [sum(counts)])
        else:
            train, test = hold_out(labels, test_fraction, split_seed)
        if not len(test):
            raise HarnessError("no image is left to test on", "raise data.test_fraction, or add images to the classes")
        return Found(files, labels, train, test, names)

    return source_of_files(fingerprint, find, channels=channels, size=size, unreadable=unreadable)


def list_images(root: Path, test_folder: str, nested: Nested = "refuse") -> Listing:
    """Lists the images of a folder and opens none; see `image_folder`.

    Raises:
        HarnessError: it is not laid out as `image_folder` says.
    """
    folders, beside = _entries(root)
    # A lone folder called train that holds images, not folders, is a class (of trains).
    if "train" not in folders or not (test_folder in folders or _entries(root / "train")[0]):
        return _list_classes(root, nested)
    if test_folder not in folders:
        others = ", ".join(sorted(set(folders) - {"train"})) or "nothing else"
        raise HarnessError(
            f"{root} holds train but no {test_folder}",
            f"set data.test_folder; beside train there is: {others}",
        )
    train, test = _list_classes(root / "train", nested), _list_classes(root / test_folder, nested)
    if train.class_names != test.class_names:
        odd = sorted(set(train.class_names) ^ set(test.class_names))
        raise HarnessError(
            f"{root}: train and {test_folder} have different classes: {', '.join(odd[:5])}",
            "give both the same class folders, with images in each",
        )
    loose = len(beside) + train.loose + test.loose
    return Listing(train.class_names, train.train, test.train, [*train.empty, *test.empty], loose)


def _list_classes(folder: Path, nested: Nested) -> Listing:
    folders, loose = _entries(folder)
    if not folders:
        raise HarnessError(f"{folder} holds no class folders", "each class is a folder: root/cat/1.jpg")
    of_class: dict[str, list[str]] = {}
    empty: list[str] = []
    for name in sorted(folders):
        for path, inner, images in _walk(folder / name):
            if inner and nested == "refuse":
                raise HarnessError(
                    f"class folder {path} holds folders ({sorted(inner)[0]})",
                    "data.root must hold train and test, or the classes; of classes with folders in them "
                    "data.nested=first or data.nested=last says which folder names the class",
                )
            if not inner and not images:
                empty.append(os.path.relpath(path, folder))
            of_class.setdefault(path.name if nested == "last" else name, []).extend(images)
    names = sorted(name for name, images in of_class.items() if images)
    if not names:
        raise HarnessError(f"no class folder in {folder} holds images", f"known: {' '.join(SUFFIXES)}")
    paths = [sorted(of_class[name]) for name in names]
    return Listing(tuple(map(_printable, names)), paths, None, list(map(_printable, empty)), len(loose))


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields a folder and all below it, each with what `_entries` finds there."""
    folders, images = _entries(folder)
    yield folder, folders, images
    for name in sorted(folders):
        yield from _walk(folder / name)


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Returns the folders (names) and the images (paths) in a folder, but not what is hidden or of an archiver."""
    folders, images = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name == ARCHIVER_FOLDER:
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.name.lower().endswith(SUFFIXES):
                    images.append(entry.path)
    except OSError as error:
        raise HarnessError(f"{folder} cannot be read: {error.strerror}", "check data.root") from None
    return folders, images


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")
