"""TensorBoard's files say what the records say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate import PartialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.records.store import RunFolder
from harness.trackers.entries import read_entries
from harness.trackers.mirror import RunMirror
from harness.trackers.options import Tracking
from harness.trackers.tensorboard_run import TensorBoardRun
from tests.trackers import records


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Forgets that this process is one without a GPU, for the tests that come after."""
    yield
    PartialState._reset_state()


def tell(folder: RunFolder) -> None:
    tracking = Tracking(("tensorboard",), project="p")
    RunMirror(folder, lambda entries, run: TensorBoardRun(entries, run, tracking)).advance(to_the_end=True)


def read(root: Path) -> EventAccumulator:
    [path] = (root / "made/tensorboard").glob("*/*/events.out.tfevents.*")
    found = EventAccumulator(str(path))
    found.Reload()
    return found


def test_tensorboard_has_the_numbers_of_the_records(tmp_path: Path) -> None:
    folder = records.whole(tmp_path)
    tell(folder)
    found, entries = read(tmp_path), read_entries(folder)
    assert entries and entries.ending
    for name in entries.rows[1]:
        if name != "timestamp":
            expected = [(number, pytest.approx(row[name])) for number, row in entries.rows.items()]
            assert [(event.step, event.value) for event in found.Scalars(name)] == expected
    [seconds] = found.Scalars("summary/clock/train_seconds")
    assert (seconds.step, seconds.value) == (3, pytest.approx(entries.ending["clock/train_seconds"]))
    assert "summary/status/text_summary" in found.Tags()["tensors"]


def test_telling_it_again_doubles_nothing(tmp_path: Path) -> None:
    root = tmp_path
    folder = records.begin(root)
    records.epoch_event(folder, 0)
    tell(folder)
    records.begin(root, resumed_at_step=12)
    records.epoch_event(folder, 1)
    records.end(root)
    tell(folder)
    assert [event.step for event in read(root).Scalars("test/accuracy")] == [1, 2]
