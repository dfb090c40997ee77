"""From a suite's `data` section to the splits of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness import registry
from harness.data.source import Dataset, DataSource, Split
from harness.data.split import hold_out, take
from harness.errors import HarnessError
from harness.spec import Augment, DataSection, ImageShape, parameters


@dataclass(frozen=True)
class Splits:
    """The images of a run. `validation` is empty unless the suite asks for one."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    skipped: tuple[str, ...]  # files that could not be read
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

    def evaluated(self, *, train: bool) -> list[tuple[str, Split]]:
        """Returns the splits that a run evaluates: those held out, and before them the training images if asked."""
        return [("train", self.train), *self.held_out()] if train else self.held_out()


def data_source(section: DataSection) -> DataSource:
    """Returns the dataset that a section names; nothing is read yet.

    Raises:
        HarnessError: images that have one size, or are brought to one, are to be taken as they are.
    """
    source = registry.build("dataset", section.name, **parameters(section))
    if section.evaluate and not source.load_varied:
        message = f"data.evaluate is for files of any size, and dataset '{section.name}' brings all to one size here"
        raise HarnessError(message, "leave out data.evaluate, or, of image_folder, data.size")
    return source


def fingerprint(section: DataSection, on_reading: Callable[[], None] = lambda: None) -> str:
    """Returns the identity of the data's content; files whose content is not known are read.

    Args:
        section: names the data.
        on_reading: is called before many bytes are read.

    Raises:
        HarnessError: the data are not where the section says.
    """
    key, source = (read_by(section), registry.version()), data_source(section)
    if not _identities.get(key):
        _identities[key] = _known(source)
        if not _identities[key]:
            on_reading()
            _identities[key] = source.fingerprint()
    return _identities[key]


def known_fingerprint(section: DataSection) -> str:
    """Returns the identity of the data's content, or an empty text where many bytes would have to be read for it.

    Raises:
        HarnessError: the data are not where the section says.
    """
    key, source = (read_by(section), registry.version()), data_source(section)
    if key not in _identities:
        _identities[key] = _known(source)
    return _identities[key]


_identities: dict[tuple[str, int], str] = {}  # one look for all configs that read the same data


def _known(source: DataSource) -> str:
    return source.known_fingerprint() if source.known_fingerprint else source.fingerprint()


def read_by(section: DataSection) -> str:
    """Returns what decides which data are read: the dataset and its own parameters, as JSON."""
    return section.model_dump_json(exclude=set(DataSection.model_fields) - {"name"})


def absent(sections: Iterable[DataSection]) -> dict[str, DataSource]:
    """Returns the published data that are not here, by `read_by` of the sections that name them; reads no file."""
    sources = {key: data_source(section) for key, section in {read_by(one): one for one in sections}.items()}
    return {key: source for key, source in sources.items() if source.archive and not source.archive.is_there()}


def prepare(section: DataSection, *, encoded: bool = False, planned: str = "") -> Splits:
    """Reads the data, takes the slices that the section asks for and holds out the validation split.

    The last result is kept, so that the runs of a process share one copy.

    Args:
        section: what to read.
        encoded: leave image files encoded, for a loader that decodes them itself.
        planned: the fingerprint that the data should have; empty for any.

    Raises:
        HarnessError: the data are missing, unreadable, fewer than the section asks for, or not what was planned.
    """
    key = section.model_dump_json(exclude={"augment", "normalize"}), encoded, planned
    splits, source = _kept.get(key), data_source(section)
    if not splits:
        _kept.clear()  # before the next data set is read, not after
        splits = _prepare(section, source, encoded)
        if splits.decode_seconds:  # the files may have changed meanwhile
            source = data_source(section)
    if planned and (encoded or key not in _kept):  # files that are left encoded are read again in each epoch
        _require_content(section, source, planned)
    _kept[key] = splits
    return splits


_kept: dict[tuple[str, bool, str], Splits] = {}


def _require_content(section: DataSection, source: DataSource, planned: str) -> None:
    if source.fingerprint() != planned:
        where = getattr(section, "root", None) or section.name
        message = f"the data of {where} are not those that this run was planned for: files have changed since"
        raise HarnessError(message, "plan again: `harness run SUITE`, or `harness submit SUITE`, reads what is there")


def _load_varied(section: DataSection, source: DataSource, encoded: bool) -> Dataset:
    assert source.load_varied and section.evaluate
    dataset = source.load_varied(section.evaluate)
    if encoded or not dataset.train.varied:
        return dataset
    squashed = dataset.train.varied.squashed
    squashed.survey(decode=True)
    return dataclasses.replace(dataset, decode_seconds=dataset.decode_seconds + squashed.seconds)


def _prepare(section: DataSection, source: DataSource, encoded: bool) -> Splits:
    if section.evaluate:
        dataset = _load_varied(section, source, encoded)
    else:
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
    told = dataset.skipped, dataset.rankable, dataset.decode_seconds
    return Splits(train, validation, test, dataset.class_names, *told)
