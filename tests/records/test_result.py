"""The schema of `result.json`, and its numbers by name."""

import json
import math

import pytest
from pydantic import ValidationError

from harness.records.result import (
    SCHEMA_VERSION,
    Clock,
    DataFacts,
    Energy,
    Memory,
    Metrics,
    RunResult,
    metric,
    metric_names,
)

NUMBERS = Metrics(accuracy=0.5, top5_accuracy=None, loss=math.nan, macro_recall=0.25, recall_by_class=[None, 1.0])
DATA = DataFacts(fingerprint="f00d", train_samples=8, validation_samples=0, test_samples=4, num_classes=2)


def result(**changes) -> RunResult:
    values = {
        "suite": "s",
        "label": "a",
        "run_id": "r",
        "config_id": "c",
        "system_id": "m",
        "seed": 0,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "ended_at": "2026-01-01T00:00:01.000+00:00",
        "num_processes": 1,
        "spec": {"train": {"epochs": 1}},
        "data": DATA,
    }
    return RunResult(**(values | changes))


def test_a_result_survives_json_with_what_is_not_finite():
    """A loss alone: that of a network whose logits overflowed."""
    before = result(metrics={"test": NUMBERS, "train": NUMBERS.model_copy(update={"loss": math.inf})})
    text = json.dumps(before.model_dump(mode="json"))
    after = RunResult.model_validate_json(text)
    assert math.isnan(after.metrics["test"].loss) and after.metrics["train"].loss == math.inf
    assert json.dumps(after.model_dump(mode="json")) == text


@pytest.mark.parametrize("changes", [{"status": "fine"}, {"seed": "x"}, {"more": 1}, {"clock": {"hours": 1}}], ids=str)
def test_what_is_no_result(changes):
    with pytest.raises(ValidationError):
        result(**changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test.accuracy", 0.5),
        ("test.macro_recall", 0.25),
        ("test.top5_accuracy", None),
        ("test.recall_by_class", None),
        ("validation.accuracy", None),
        ("clock.train_seconds", 3.0),
        ("clock.eval_seconds", None),
        ("throughput.steps", 7.0),
        ("memory.device_bytes", 1024.0),
        ("energy.train_joules", None),
        ("seed", None),
        ("label", None),
        ("nothing.at_all", None),
        ("", None),
    ],
)
def test_a_number_by_its_name(name, value):
    found = metric(
        result(
            metrics={"test": NUMBERS},
            clock=Clock(train_seconds=3),
            throughput={"steps": 7},
            memory=Memory(device_bytes=1024),
        ),
        name,
    )
    assert found == value and (value is None or type(found) is float)


def test_every_metric_name_is_a_number_of_a_full_result():
    def full(model):
        return dict.fromkeys(model.model_fields, 1)

    full_metrics = Metrics.model_validate(full(Metrics) | {"recall_by_class": []})
    filled = result(
        metrics=dict.fromkeys(("train", "validation", "test"), full_metrics),
        clock=full(Clock),
        throughput={"samples_per_second": 1, "data_wait_share": 1},
        memory=full(Memory),
        energy=full(Energy),
    )
    assert [name for name in metric_names() if metric(filled, name) is None] == []
    assert len(set(metric_names())) == len(metric_names()) > 20


def test_the_version_is_in_the_record():
    assert result().model_dump()["schema_version"] == SCHEMA_VERSION


def test_an_earlier_record_with_a_calibration_of_its_own_is_read_and_does_not_keep_it():
    """What the report derives stood in the record once, always null."""
    earlier = {**result().model_dump(mode="json"), "calibration": {"fraction_of_peak": None}}
    read = RunResult.model_validate_json(json.dumps(earlier))
    assert "calibration" not in read.model_dump(mode="json")
