"""From a suite's `data` section to the splits of a run."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from harness import registry
from harness.data.source import DataSource, Split
from harness.data.split import hold_out, take
from harness.spec import Augment, DataSection, ImageShape, parameters, section_model


@dataclass(frozen=True)
class Splits:
    """The images of a run. `validation` is empty unless the suite asks for one."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped_files: int
    rankable: bool
    decode_seconds: float = 0.0

    def image_shape(self, augment: Augment) -> ImageShape:
        """Returns channels, height and width as a network sees them."""
        height, width, channels = self.train.shape
        return ImageShape(channels, *augment.output_size(height, width))

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


def prepare(section: DataSection, *, encoded: bool = False) -> Splits:
    """Reads the data, takes the slices that the section asks for and holds out the validation split.

    The last result is kept, so that the runs of a process share one copy.

    Args:
        section: what to read.
        encoded: leave image files encoded, for a loader that decodes them itself.

    Raises:
        HarnessError: the data are missing, unreadable, or fewer than the section asks for.
    """
    key = section.model_dump_json(exclude={"augment", "normalize"}), encoded
    if key not in _kept:
        _kept.clear()  # before the next data set is read, not after
        _kept[key] = _prepare(section, encoded)
    return _kept[key]


_kept: dict[tuple[str, bool], Splits] = {}


@functools.cache
def _fingerprint(section: str) -> str:
    values = json.loads(section)
    return data_source(section_model("data", values["name"]).model_validate_json(section)).fingerprint()  # type: ignore[arg-type]


def _prepare(section: DataSection, encoded: bool) -> Splits:
    source = data_source(section)
    dataset = source.load_encoded() if encoded and source.load_encoded else source.load()
    train, test = dataset.train, dataset.test
    if section.train_samples:
        train = train.take(take(train.labels, section.train_samples, seed=0))
    if section.test_samples:
        test = test.take(take(test.labels, section.test_samples, seed=0))
    kept, held = hold_out(train.labels, section.validation, section.validation_seed)
    validation = train.take(held)
    if len(held):
        train = train.take(kept)
    skipped = len(dataset.skipped)
    return Splits(train, validation, test, dataset.class_names, skipped, dataset.rankable, dataset.decode_seconds)
