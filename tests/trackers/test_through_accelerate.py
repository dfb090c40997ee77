"""TensorBoard's files say what the records say; other trackers are told the same through Accelerate's classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState
from accelerate import tracking as accelerate_tracking
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from harness.records.store import RunFolder
from harness.trackers.entries import read_entries
from harness.trackers.mirror import RunMirror
from harness.trackers.options import Tracking
from harness.trackers.through_accelerate import AccelerateRun
from tests.trackers import records


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Forgets that this process is one without a GPU, for the tests that come after."""
    yield
    PartialState._reset_state()


def tell(folder: RunFolder, name: str = "tensorboard") -> None:
    tracking = Tracking((name,), project="p")
    RunMirror(folder, lambda entries, run: AccelerateRun(entries, run, tracking)).advance(to_the_end=True)


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


def test_every_other_tracker_is_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Fake(accelerate_tracking.GeneralTracker):
        name = "fake"
        requires_logging_directory = False

        def __init__(self, run_name: str) -> None:
            super().__init__()
            told.append(run_name)

        @property
        def tracker(self) -> None:
            return None

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            told.append(values)

        def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
            told.append((step, values))

        def finish(self) -> None:
            told.append("finish")

    monkeypatch.setitem(accelerate_tracking.LOGGER_TYPE_TO_CLASS, "fake", Fake)
    tell(records.whole(tmp_path), "fake")
    project, config, *rows, summary, end = told
    assert (project, end) == ("p", "finish")
    assert config["optimizer.lr"] == 0.1 and all(
        isinstance(value, bool | int | float | str) for value in config.values()
    )
    assert [step for step, _ in rows] == [1, 2, 3] and summary[1]["summary/status"] == "ok"
