"""Runs that learned nothing, and what guessing would reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.records.store import run_folder
from harness.report.derived import largest_class
from harness.report.formats import summary_rows


def _shown(report: Any) -> dict[str, Any]:
    return {column.name: column for column in report.tables[0].written()}


def _with_recall(result: Any, accuracy: float, recall: float) -> Any:
    result.metrics["test"] = result.metrics["test"].model_copy(update={"accuracy": accuracy, "macro_recall": recall})
    return result


@pytest.mark.parametrize(
    ("collapsed", "said"),
    [(0, "0 of 5: up to 45 %"), (1, "1 of 5: up to 66 %"), (5, "5 of 5: up to 100 %")],
)
def test_collapsed_runs_are_a_rate_with_its_limit(fake: Any, collapsed: int, said: str) -> None:
    results = [fake.result("a", seed=seed) for seed in range(5)]
    for seed, result in enumerate(results[:collapsed]):
        if seed % 2:
            _with_recall(result, 0.3, 0.104)  # one class of ten, of which the largest has 30 %
        else:
            results[seed] = fake.result("a", seed=seed, status="diverged")
    report = fake.report(results)
    [row] = summary_rows(report)
    assert (row["collapsed"], row["collapsed_runs"]) == (said, collapsed)
    if collapsed:
        assert _shown(report)["collapsed"].cells == [said]
        assert any("Clopper-Pearson" in note for note in report.tables[0].every_note)
    else:
        assert "collapsed" not in _shown(report)
        assert "No run collapsed. With so few runs, up to 45 % of a config's runs could still do so." in " ".join(
            report.tables[0].notes
        )


def test_a_machine_that_failed_is_no_collapse_and_synthetic_data_have_none(fake: Any) -> None:
    [row] = summary_rows(fake.report([fake.result("a"), fake.result("a", seed=1, status="oom")]))
    assert row["collapsed"] == "0 of 1: up to 95 %"
    [row] = summary_rows(fake.report([fake.result("a", rankable=False)]))
    assert row["collapsed"] is row["collapsed_runs"] is row["collapsed_share_at_most"] is None


def test_what_guessing_would_reach_is_counted_from_the_labels(fake: Any, tmp_path: Path) -> None:
    result = fake.result("a")
    folder = run_folder(tmp_path, result.suite, result.run_id, result.system_id).path
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "predictions.npz", label=np.array([0, 1, 1, 2]), prediction=np.zeros(4, int))
    report = fake.report([result], output=tmp_path)
    assert summary_rows(report)[0]["guessing_accuracy"] == 0.5
    assert "Guessing the largest of 10 classes would recognise 50.00 % of the test images." in report.tables[0].notes
    nothing = fake.report([result])
    assert summary_rows(nothing)[0]["guessing_accuracy"] is None
    assert not any(note.startswith("Guessing") for note in nothing.tables[0].notes)


def test_labels_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    assert largest_class(path) is None
    path.write_bytes(b"PK nothing")
    assert largest_class(path) is None
    np.savez(path, label=np.array([], int))
    assert largest_class(path) is None


def test_macro_recall_is_shown_where_the_classes_differ_in_size(fake: Any) -> None:
    assert "test_macro_recall" not in _shown(fake.report([fake.result("a")]))
    assert "test_macro_recall" not in _shown(fake.report([_with_recall(fake.result("a"), 0.9, 0.897)]))
    shown = _shown(fake.report([_with_recall(fake.result("a"), 0.9, 0.7)]))
    assert shown["test_macro_recall"].cells == ["70.00 %"]
    assert shown["test_macro_recall"].priority < shown["test_loss"].priority
