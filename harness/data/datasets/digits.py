"""scikit-learn's digits: real, tiny and always there."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from harness.data.source import Dataset, DataSource, Split, fingerprint_of
from harness.data.split import hold_out
from harness.errors import HarnessError
from harness.parameters import PositiveInt
from harness.registry import dataset

# Part of what the name "digits" means: another split or content is another dataset.
TEST_FRACTION = 0.2
SPLIT_SEED = 0
CONTENT_SHA256 = "65e5b4619795efb40c1082f4c350c049e4ad552200d369b6ae99e21eef5e72c5"


@dataset("digits")
def digits(*, size: PositiveInt = 8) -> DataSource:
    """1,797 gray 8 x 8 images of handwritten digits, from scikit-learn; a fifth is the test split.

    Args:
        size: Height and width in pixels; larger or smaller images are interpolated.
    """
    return DataSource(
        fingerprint=lambda: fingerprint_of("digits", CONTENT_SHA256, TEST_FRACTION, SPLIT_SEED, size),
        load=lambda: _load(size),
    )


def _load(size: int) -> Dataset:
    import numpy as np
    from PIL import Image

    rows = np.loadtxt(_file(), np.uint8, delimiter=",")  # 64 intensities from 0 to 16, then the digit
    raw, labels = rows[:, :-1].copy(), rows[:, -1].astype("<i8")
    if hashlib.sha256(raw.tobytes() + labels.tobytes()).hexdigest() != CONTENT_SHA256:
        raise HarnessError("scikit-learn's digits differ from the expected ones", "reinstall scikit-learn")
    images = np.round(raw.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    if size != 8:
        resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR) for image in images]
        images = np.stack([np.asarray(image) for image in resized])
    images = images[..., None]
    train, test = hold_out(labels, TEST_FRACTION, SPLIT_SEED)
    return Dataset(
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        class_names=tuple("0123456789"),
    )


def _file() -> Path:
    """Returns the file that scikit-learn ships; to import scikit-learn takes as long as to import torch."""
    found = importlib.util.find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        if (path := Path(folder) / "datasets" / "data" / "digits.csv.gz").is_file():
            return path
    raise HarnessError("dataset 'digits' needs scikit-learn", "pip install scikit-learn")
