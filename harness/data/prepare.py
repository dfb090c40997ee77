"""From a suite's `data` section to the splits of a run."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness import registry
from harness.data.source import DataSource, Split
from harness.data.split import hold_out, take
from harness.spec import DataSection, ImageShape, parameters, section_model

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Splits:
    """The images of a run. `validation` is empty unless the suite asks for one."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped_files: int
    rankable: bool

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width."""
        _, height, width, channels = self.train.images.shape
        return ImageShape(channels, height, width)

    def held_out(self) -> list[tuple[str, Split]]:
        """Returns the splits that are evaluated, the test split last."""
        validation = [("validation", self.validation)] if len(self.validation.labels) else []
        return [*validation, ("test", self.test)]


def data_source(section: DataSection) -> DataSource:
    """Returns the dataset that a section names; nothing is read yet."""
    return registry.build("dataset", section.name, **parameters(section))


def fingerprint(section: DataSection) -> str:
    """Returns the identity of the data's content.

    Raises:
        HarnessError: the data are not where the section says.
    """
    return _fingerprint(section.model_dump_json())


def prepare(section: DataSection) -> Splits:
    """Reads the data, takes the slices that the section asks for and holds out the validation split.

    The last result is kept, so that the runs of a process share one copy.

    Raises:
        HarnessError: the data are missing, unreadable, or fewer than the section asks for.
    """
    text = section.model_dump_json(exclude={"augment", "normalize"})
    if text not in _kept:
        _kept.clear()  # before the next data set is read, not after
        _kept[text] = _prepare(section)
    return _kept[text]


_kept: dict[str, Splits] = {}


@functools.cache
def _fingerprint(section: str) -> str:
    values = json.loads(section)
    return data_source(section_model("data", values["name"]).model_validate_json(section)).fingerprint()  # type: ignore[arg-type]


def _prepare(section: DataSection) -> Splits:
    dataset = data_source(section).load()
    train, test = dataset.train, dataset.test
    if section.train_samples:
        train = _select(train, take(train.labels, section.train_samples, seed=0))
    if section.test_samples:
        test = _select(test, take(test.labels, section.test_samples, seed=0))
    kept, held = hold_out(train.labels, section.validation, section.validation_seed)
    validation = _select(train, held)
    if len(held):
        train = _select(train, kept)
    return Splits(train, validation, test, dataset.class_names, len(dataset.skipped), dataset.rankable)


def _select(split: Split, indices: np.ndarray) -> Split:
    return Split(split.images[indices], split.labels[indices])
