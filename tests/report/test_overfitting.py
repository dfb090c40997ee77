"""The column that says whether a config over- or underfits."""

from __future__ import annotations

from typing import Any

import pytest

from harness.report.derived import overfitting_notes
from harness.report.formats import markdown

# Report 1, table 1: train and test accuracy in percent, and its author's verdict.
REPORT_1 = [
    (84.23, 85.25, "underfitting"),
    (89.72, 87.78, "no"),
    (90.69, 89.45, "no"),
    (93.25, 89.21, "no"),
    (94.49, 92.12, "no"),
    (92.21, 88.25, "no"),
]


def _runs(fake: Any, trains: list[float], tests: list[float], **options: Any) -> list[Any]:
    runs = []
    for seed, (train, test) in enumerate(zip(trains, tests, strict=True)):
        run = fake.result("a", seed=seed, accuracy=test, **options)
        run.metrics["train"] = fake.metrics(train)
        runs.append(run)
    return runs


def _verdict(fake: Any, trains: list[float], tests: list[float]) -> str | None:
    return fake.report(_runs(fake, trains, tests)).tables[0].rows[0].values["overfitting"]


@pytest.mark.parametrize(("train", "test", "verdict"), REPORT_1)
def test_report_1_comes_out(fake: Any, train: float, test: float, verdict: str) -> None:
    assert _verdict(fake, [train / 100], [test / 100]) == verdict


@pytest.mark.parametrize(
    ("train", "test", "verdict"),
    [
        (1.00, 0.8633, "overfitting"),  # report 2
        (0.8574, 0.6633, "overfitting"),  # report 3, 4E
        (0.3700, 0.3606, "underfitting"),  # report 3, 5A: it cannot read its own training images
        (0.1007, 0.1011, "underfitting"),  # report 3, 5B
        (0.97, 0.99, "no"),  # a train accuracy below the test accuracy, but high: dropout and moving weights
        (0.9501, 0.90, "overfitting"),
        (0.9499, 0.90, "no"),
        (0.80, 0.7801, "underfitting"),  # gap 1.99 < a tenth of 20
        (0.80, 0.7799, "no"),
        (0.30, 0.24, "underfitting"),  # both hold: a gap of 6 is less than a tenth of 70
    ],
)
def test_thresholds(fake: Any, train: float, test: float, verdict: str) -> None:
    assert _verdict(fake, [train], [test]) == verdict


def test_overfitting_must_exceed_the_noise_of_the_seeds(fake: Any) -> None:
    # Gaps 0.02 and 0.10: mean 0.06, sd 0.0566, half an interval 12.706 * 0.0566 / sqrt(2) = 0.508.
    assert _verdict(fake, [0.92, 1.00], [0.90, 0.90]) == "no"
    assert _verdict(fake, [0.959, 0.961], [0.90, 0.90]) == "overfitting"


def test_the_gap_is_paired_by_run(fake: Any) -> None:
    gap = fake.report(_runs(fake, [0.90, 0.96], [0.80, 0.88])).tables[0].rows[0].values["accuracy_gap"]
    assert (gap.mean, gap.n) == (pytest.approx(0.09), 2)
    assert gap.sd == pytest.approx(0.01 * 2**0.5)


def test_unknown_where_train_metrics_are_missing_or_data_mean_nothing(fake: Any) -> None:
    run = fake.result("a")
    del run.metrics["train"]
    assert fake.report([run]).tables[0].rows[0].values["overfitting"] is None
    assert "overfitting" not in [column.name for column in fake.report([run]).tables[0].shown()]
    assert fake.report([fake.result("a", rankable=False)]).tables[0].rows[0].values["overfitting"] is None


def test_its_definition_stands_where_the_column_does(fake: Any) -> None:
    report = fake.report(_runs(fake, [1.0], [0.5]))
    assert "| overfitting? |" in markdown(report)
    assert "more than 5 points above test accuracy" in markdown(report)


def test_train_metrics_of_a_pass_of_their_own_need_no_caution(fake: Any) -> None:
    def notes(**train: Any) -> int:
        return len(overfitting_notes(fake.report(_runs(fake, [1.0], [0.5], train=train)).tables[0].rows))

    assert (notes(), notes(evaluate_train=True)) == (2, 1)
