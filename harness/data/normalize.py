"""Mean and deviation that images are normalised with."""

from __future__ import annotations

import weakref

import numpy as np

from harness.data.cut import seen
from harness.data.source import Split
from harness.errors import HarnessError
from harness.spec import DataSection, MeanStd

PUBLISHED = {
    "none": ((0.0,), (1.0,)),
    "half": ((0.5,), (0.5,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
IMAGES_AT_ONCE = 512
MeanAndStd = tuple[tuple[float, ...], tuple[float, ...]]
_kept: weakref.WeakKeyDictionary[Split, MeanAndStd] = weakref.WeakKeyDictionary()


def normalization(section: DataSection, train: Split) -> MeanAndStd:
    """Returns mean and deviation for each channel; those of a split are kept, for the runs of a process.

    Args:
        section: its `normalize` says which.
        train: after the validation split was held out; its images are read where the section says `train`.

    Raises:
        HarnessError: a data set's published values do not fit the number of channels.
    """
    channels = train.shape[-1]
    if isinstance(section.normalize, MeanStd):
        mean, std = tuple(section.normalize.mean), tuple(section.normalize.std)
    elif section.normalize == "train":
        if train not in _kept:
            _kept[train] = _mean_and_std(train)
        return _kept[train]
    else:
        mean, std = PUBLISHED[section.normalize]
    if len(mean) == 1:
        mean, std = mean * channels, std * channels
    if len(mean) != channels or len(std) != channels:
        message = f"data.normalize has {len(mean)} means and {len(std)} deviations; the images have {channels} channels"
        raise HarnessError(message, "use normalize: train, or one value a channel")
    return mean, std


def _mean_and_std(train: Split) -> MeanAndStd:
    # Counting pixel values is exact; in parts, because bincount makes an int64 copy.
    values = np.arange(256) / 255
    height, width, channels = train.shape
    images = len(train.labels)
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, images, IMAGES_AT_ONCE):
        some = seen(train, np.arange(start, min(start + IMAGES_AT_ONCE, images)))
        counts += [np.bincount(some[..., channel].ravel(), minlength=256) for channel in range(channels)]
    means, stds = [], []
    for shares in counts / (height * width * images):
        mean = float(shares @ values)
        means.append(mean)
        stds.append(max(float(shares @ (values - mean) ** 2) ** 0.5, 1e-3))  # one colour only: do not divide by 0
    return tuple(means), tuple(stds)
