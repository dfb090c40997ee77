"""What every dataset promises."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from harness.contracts.promise import Promise, require
from harness.data.source import DataSource, Split

HEAVY = ("torch", "torchvision", "numpy", "PIL", "sklearn")


def promises(build: Callable[[], DataSource], module: str, root: Path) -> Iterator[Promise]:
    """Yields what is promised.

    Args:
        build: the function, with its parameters.
        module: that it stands in.
        root: the folder that the module is imported from.
    """
    yield "importing it imports nothing heavy", functools.partial(imports_nothing_heavy, module, root)
    yield "it is described without being read", lambda: described(build())
    yield "its fingerprint is always the same", lambda: has_a_fingerprint(build)
    yield "it has the images and labels that training takes", lambda: can_be_trained_on(build())
    yield "it is the same each time", lambda: is_the_same_again(build)


def imports_nothing_heavy(module: str, root: Path) -> None:
    """Importing the module imports nothing that takes seconds: `harness plan` does it."""
    found = f"print(*[name for name in {HEAVY} if name in sys.modules])"
    program = f"import sys; sys.path.append({str(root)!r}); import {module}; {found}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    require(done.returncode == 0, f"it cannot be imported alone: {done.stderr.strip().rpartition(chr(10))[2]}")
    names = ", ".join(done.stdout.split())
    require(not names, f"it imports {names}, for which every plan would wait: do that inside of functions")


def described(source: DataSource) -> None:
    """The function returns a source, and fetches nothing unless it is asked to."""
    require(isinstance(source, DataSource), f"it returns no DataSource, but a {type(source).__name__}")
    require(source.download is None, "it would fetch data without being asked to")


def has_a_fingerprint(build: Callable[[], DataSource]) -> None:
    """The fingerprint is a text, the same each time, and the quick one is the same or empty."""
    first, again = build().fingerprint(), build().fingerprint()
    require(isinstance(first, str) and first, f"the fingerprint is {first!r}, not a text")
    require(first == again, "asked twice, it gives two fingerprints")
    quick = build().known_fingerprint
    require(quick is None or quick() in ("", first), "known_fingerprint gives another one than fingerprint")


def can_be_trained_on(source: DataSource) -> None:
    """Both splits have uint8 images of one shape, and int64 labels that are indices into the names of classes."""
    data = source.load()
    classes = len(data.class_names)
    require(classes > 1, f"it has {classes} classes")
    require(data.train.shape == data.test.shape, f"images are {data.train.shape} in train, {data.test.shape} in test")
    for name, split in (("train", data.train), ("test", data.test)):
        images, labels = split.images, split.labels
        count = len(labels)
        require(count > 0, f"{name} has no images")
        require(images.dtype == np.uint8, f"the images of {name} are {images.dtype}, not uint8")
        require(images.shape == (count, *split.shape), f"{name} has images {images.shape} and {count} labels")
        require(split.shape[2] in (1, 3), f"the images of {name} have {split.shape[2]} channels, not 1 or 3")
        require(labels.dtype == np.int64, f"the labels of {name} are {labels.dtype}, not int64")
        low, high = int(labels.min()), int(labels.max())
        require(low >= 0 and high < classes, f"the labels of {name} are {low} to {high}, with {classes} classes")


def is_the_same_again(build: Callable[[], DataSource]) -> None:
    """What is loaded twice is equal."""
    first, again = build().load(), build().load()
    for name, one, other in (("train", first.train, again.train), ("test", first.test, again.test)):
        require(_equal(one, other), f"loaded twice, {name} differs")


def _equal(one: Split, other: Split) -> bool:
    return np.array_equal(one.labels, other.labels) and np.array_equal(one.images, other.images)
