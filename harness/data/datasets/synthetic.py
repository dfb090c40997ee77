"""Random images of any size, for measuring speed without data."""

from __future__ import annotations

from harness.data.source import Dataset, DataSource, Split, fingerprint_of, require_memory
from harness.parameters import NonNegativeInt, PositiveInt
from harness.registry import dataset


@dataset("synthetic")
def synthetic(
    *,
    size: PositiveInt = 32,
    channels: PositiveInt = 3,
    classes: PositiveInt = 10,
    train: PositiveInt = 50_000,
    test: PositiveInt = 10_000,
    seed: NonNegativeInt = 0,
) -> DataSource:
    """Random pixels and labels: run time can be measured on them, accuracy means nothing.

    Args:
        size: Height and width in pixels.
        channels: Channels of an image.
        classes: Number of classes, as equally frequent as can be.
        train: Images in the train split.
        test: Images in the test split.
        seed: Seed of the pixels.
    """

    def load() -> Dataset:
        import numpy as np

        require_memory((train + test) * size * size * channels)
        generator = np.random.Generator(np.random.PCG64(seed))

        def split(count: int) -> Split:
            images = generator.integers(0, 256, (count, size, size, channels), np.uint8)
            return Split(images, np.arange(count, dtype=np.int64) % classes)

        names = tuple(f"class {label}" for label in range(classes))
        return Dataset(train=split(train), test=split(test), class_names=names, rankable=False)

    return DataSource(
        fingerprint=lambda: fingerprint_of("synthetic", size, channels, classes, train, test, seed), load=load
    )
