"""Looks at a folder of images: classes, counts, sizes, formats, and files that cannot be read."""

from __future__ import annotations

import itertools
import random
import statistics
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.datasets.image_folder import ARCHIVER_FOLDER, Listing, Nested, list_images
from harness.data.images import FORMATS, for_each, read_image
from harness.errors import HarnessError
from harness.paths import user_path

MOST_OPENED = 2000
TEST_FOLDERS = ("test", "val", "valid", "validation")
GRAY_MODES = ("1", "L", "I;16", "I;16B", "I")


@dataclass
class Look:
    """What a folder holds.

    Attributes:
        root: absolute.
        test_folder: the one beside `train`; None where the folder holds the classes themselves.
        unused: folders beside the two that no run will see.
        nested: how the class of images in nested folders is told, as of `image_folder`.
        passed_over: folders that hold no image.
        loose: how many images lie in no class folder.
        train, test: images by class; `test` is empty where there is no folder for it.
        opened: how many of all images were read, chosen at random where they are many.
        sizes: width and height of each that was.
        formats: of these.
        all_gray: whether none of them has colours.
        unreadable: those of them that cannot be read, with the reason.
    """

    root: Path
    test_folder: str | None
    unused: list[str]
    train: dict[str, int]
    test: dict[str, int]
    nested: Nested = "refuse"
    passed_over: list[str] = field(default_factory=list)
    loose: int = 0
    opened: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    all_gray: bool = True
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """All that were listed."""
        return sum(self.train.values()) + sum(self.test.values())

    @property
    def looked_at_all(self) -> bool:
        """Whether each image was read."""
        return self.opened == self.images

    @property
    def short_side(self) -> int:
        """The median of the shorter sides, in pixels."""
        return round(statistics.median(min(size) for size in self.sizes))

    @property
    def one_size(self) -> tuple[int, int] | None:
        """The width and height of every image; None where they differ, or where not each was read."""
        return self.sizes[0] if self.looked_at_all and len(set(self.sizes)) == 1 else None

    @property
    def train_images(self) -> int:
        """Those that remain to train on, where a fifth is to be held out."""
        return sum(self.train.values()) if self.test_folder else round(0.8 * sum(self.train.values()))


def look_at(folder: Path, nested: Nested = "refuse") -> Look:
    """Reads what a folder holds; of many images a sample.

    Args:
        nested: see `harness.data.datasets.image_folder`.

    Raises:
        HarnessError: it is not laid out as the dataset `image_folder` reads it, or none of its images can be read.
    """
    root = user_path(folder).resolve()
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise HarnessError(f"the name of {str(root)!r} is not UTF-8", "rename it: a suite is UTF-8") from None
    test_folder, listing = _list(root, nested)
    names = listing.class_names
    train = dict(zip(names, map(len, listing.train), strict=True))
    test = dict(zip(names, map(len, listing.test), strict=True)) if listing.test is not None else {}
    folders = _folders(root)
    used = {"train", test_folder, ARCHIVER_FOLDER} if test else set(folders)
    unused = [name for name in folders if name not in used]
    passed_over = listing.empty + [name for name in folders if name == ARCHIVER_FOLDER]
    found = Look(root, test_folder if test else None, unused, train, test, nested, passed_over, listing.loose)
    _open(found, [*itertools.chain(*listing.train, *(listing.test or []))])
    return found


def _list(root: Path, nested: Nested) -> tuple[str, Listing]:
    """Returns the listing, and the name of the folder that is tested on where there is one beside `train`."""
    there = [name for name in TEST_FOLDERS if (root / name).is_dir()]
    name = there[0] if there and (root / "train").is_dir() else "test"
    try:
        return name, list_images(root, name, nested)
    except HarnessError as error:
        raise HarnessError(error.message, _hint(root, error)) from None


def _hint(root: Path, error: HarnessError) -> str:
    if "data.nested" in error.hint:
        return (
            "--recursive first takes the first folder below for the class of an image, --recursive last the one that "
            "holds it"
        )
    if (root / "train").is_dir() and "data.test_folder" in error.hint:
        return (
            f"put test images into {root}/test/<class>, or call `harness init {root}/train`: "
            "of each class a fifth becomes the test split"
        )
    return (
        "it should hold train/<class>/*.jpg and test/<class>/*.jpg, or <class>/*.jpg alone, "
        "of which a fifth becomes the test split"
    )


def _open(found: Look, files: list[str]) -> None:
    chosen = files if len(files) <= MOST_OPENED else random.Random(0).sample(files, MOST_OPENED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, as `for_each` does
        for_each(len(chosen), lambda index: _open_one(found, chosen[index]))
    found.opened = len(chosen)
    if not found.sizes:
        raise HarnessError(f"none of the {len(chosen)} images in {found.root} can be read", "repair or replace them")


def _open_one(found: Look, path: str) -> None:
    from PIL import Image

    try:
        read_image(path, channels=3)
        with Image.open(path, formats=FORMATS) as image:
            # Lists and counters take it from several threads: one item at a time, under the interpreter's lock.
            turned = image.getexif().get(0x0112, 1) >= 5
            found.sizes.append((image.height, image.width) if turned else image.size)
            found.formats[image.format or "unknown"] += 1
            if image.mode not in GRAY_MODES:
                found.all_gray = False
    except HarnessError as error:
        found.unreadable[path] = error.message.rpartition(": ")[2]


def _folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
