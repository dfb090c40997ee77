"""Which test images a run recognised, from its stored predictions, and what that says of other images."""

from __future__ import annotations

import base64
import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.records.files import open_file
from harness.statistics.crossed import ImageNoise, image_noise, largest_image_noise

if TYPE_CHECKING:
    import numpy as np

    from harness.results.measured import MeasuredRun, TestImages

MOST_READ = 2000  # files of predictions: a second; of larger tables the largest variance over the images is taken


@dataclass(frozen=True, eq=False)
class Outcomes:
    """One bit for each test image.

    Attributes:
        labels_sha256: of the true labels in their order: two runs with the same saw the images in the same order.
        correct: whether the first prediction was right, bool [N].
    """

    labels_sha256: str
    correct: np.ndarray

    def packed(self) -> str:
        """Returns the bits as text: packed, deflated, base64."""
        import numpy as np

        return base64.b64encode(zlib.compress(np.packbits(self.correct).tobytes(), 9)).decode()

    @staticmethod
    def unpacked(labels_sha256: str, text: str, count: int) -> Outcomes:
        """Returns the outcomes of `packed`.

        Args:
            count: how many images there are.

        Raises:
            ValueError: the text is none, or is of another length.
        """
        import numpy as np

        try:
            packed = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(packed) != (count + 7) // 8:
            raise ValueError(f"{8 * len(packed)} bits for {count} images")
        return Outcomes(labels_sha256, np.unpackbits(packed, count=count).astype(bool))


def read_outcomes(path: Path) -> Outcomes:
    """Reads a run's `predictions.npz`.

    Raises:
        HarnessError: it is missing, or cannot be read.
    """
    import numpy as np

    hint = "run it again, or restore the file"
    try:
        with open_file(path) as file, np.load(file) as arrays:
            label, prediction = arrays["label"], arrays["prediction"]
    except FileNotFoundError:
        raise HarnessError(f"{path} is missing", hint) from None
    except (OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        raise HarnessError(f"{path} cannot be read", hint) from None
    if label.shape != prediction.shape or label.ndim != 1:
        message = f"{path} holds {label.size} labels and {prediction.size} predictions"
        raise HarnessError(message, hint)
    digest = hashlib.sha256(np.ascontiguousarray(label, dtype="<i4").tobytes()).hexdigest()
    return Outcomes(digest, label == prediction)


def noise_of_images(
    runs: Sequence[Mapping[int, MeasuredRun]], seeds: Sequence[int], accuracies: np.ndarray
) -> tuple[ImageNoise, list[bool]]:
    """Returns the noise of the test images in each pair, and whether the predictions of each config were kept.

    Args:
        runs: of each config, by seed.
        seeds: of the columns of the accuracies, [configs, seeds].
    """
    import numpy as np

    there = ~np.isnan(accuracies)
    means = np.where(there, accuracies, 0.0).sum(1) / np.maximum(there.sum(1), 1)
    shared, own = np.full((len(runs),) * 2, np.nan), np.zeros((len(runs),) * 2)
    kept = [False] * len(runs)
    tested: dict[TestImages, list[int]] = {}
    for place, by_seed in enumerate(runs):
        images = {run.images for run in by_seed.values()}
        if len(images) == 1 and all(run.rankable for run in by_seed.values()):
            tested.setdefault(images.pop(), []).append(place)
    for images, places in tested.items():
        shared[np.ix_(places, places)] = largest_image_noise(means[places], images.samples).shared
        if there.sum() > MOST_READ:
            continue
        right = np.zeros((len(places), len(seeds), images.samples), bool)
        labels, whole = "", []
        for row, place in enumerate(places):
            try:
                outcomes = {seed: runs[place][one].outcomes() for seed, one in enumerate(seeds) if there[place, seed]}
            except HarnessError:
                continue
            labels = labels or next((one.labels_sha256 for one in outcomes.values()), "")
            if all(len(one.correct) == images.samples > 1 and one.labels_sha256 == labels for one in outcomes.values()):
                whole.append(row)
                for seed, one in outcomes.items():
                    right[row, seed] = one.correct
        if whole:
            at = [places[row] for row in whole]
            found = image_noise(right[whole], there[at])
            shared[np.ix_(at, at)], own[np.ix_(at, at)] = found.shared, found.own
        for row in whole:
            kept[places[row]] = True
    return ImageNoise(shared, own, min((images.samples for images in tested), default=0)), kept
