"""What a person reads last in a terminal: the answer, the best rows, and what could change a decision."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.report.answer import answer
from harness.report.formats import as_csv, as_json, columns_of, markdown, summary_rows
from harness.report.terminal import MOST_CAUTIONS, show


def _screen(report: Any, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    file = io.StringIO()
    show(report, Console(file=file, width=width, height=height, force_terminal=True, color_system=None), **options)
    return file.getvalue().splitlines()


def _troubled(fake: Any) -> Any:
    """Returns a report of 12 configs with everything that may go wrong."""
    results = [
        fake.result(f"config {n}", seed=seed, accuracy=0.9 - n / 100 + seed / 1000, seconds=10.0 + n, config_id=f"c{n}")
        for n in range(12)
        for seed in range(3)
    ]
    results[0].status = "diverged"
    results[3].disturbed = ["others used 40 % of the cores"]
    for result in results[-3:]:
        result.metrics["test"] = result.metrics["test"].model_copy(update={"accuracy": 0.1, "macro_recall": 0.1})
    results[6].data = results[6].data.model_copy(
        update={"skipped_files": 7, "skipped_names": ["train/a/1.jpg", "train/a/2.jpg"]}
    )
    return fake.report(results)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (160, 50)])
def test_the_answer_and_the_best_rows_fit_on_one_screen(fake: Any, width: int, height: int) -> None:
    report = _troubled(fake)
    lines = _screen(report, width, height)
    assert len(lines) < height - 1, "the files' line and the prompt follow"
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for sentence in answer(report.tables[0]):
        assert sentence in text
    assert text.index("is the most accurate") < text.index("config 1 ") < text.index("“config 0”, seed 0: diverged")
    assert ("config 10 " in text) == (height == 50), "as many rows as there is room for"
    assert "table.md" in lines[-1]


def test_only_what_could_change_a_decision_stands_below_the_table_and_at_most_three_of_it(fake: Any) -> None:
    report = _troubled(fake)
    [table] = report.tables
    assert [caution.partition(":")[0] for caution in table.cautions[:4]] == [
        "“config 0”, seed 0",
        "No better than guessing one class",
        "7 files of the data could not be read and are in no run here (train/a/1.jpg, train/a/2.jpg, 5 more).",
        "Disturbed (others used 40 % of the cores)",
    ]
    text = " ".join(_screen(report, 160, 60))
    assert sum(caution in text for caution in table.cautions) == MOST_CAUTIONS
    assert f"{len(table.cautions) - MOST_CAUTIONS} more note" in text
    assert not any(note in text for note in table.notes)
    explained = " ".join(_screen(report, 400, 60, explain=True))
    assert all(note in explained for note in table.every_note)


def test_every_output_says_the_same_answer(fake: Any) -> None:
    report = _troubled(fake)
    said = answer(report.tables[0])
    assert as_json(report)["systems"][0]["answer"] == said == list(report.tables[0].answer)
    assert " ".join(said) in markdown(report).replace("\\", "")
    json.dumps(as_json(report), allow_nan=False)


def test_a_spreadsheet_runs_no_label(fake: Any) -> None:
    label = '=HYPERLINK("http://x","y")'
    text = as_csv(columns_of(summary_rows(fake.report([fake.result(label)])))).decode()
    assert "\"'=HYPERLINK(" in text
    assert "'-" not in text, "numbers stay numbers"


def test_a_part_of_a_suite_has_files_of_its_own(fake: Any, tmp_path: Path) -> None:
    whole = fake.report(fake.suite(2, 2))
    part = fake.report(fake.suite(1, 1), selection=("model.name=resnet18", "seed=0"))
    odd = [fake.report(fake.suite(1, 1), selection=(text,)).place for text in ("label=a b", "label=a/b", "x" * 300)]
    assert (whole.place, part.place) == ("", "only-model.name=resnet18+seed=0")
    assert len(set(odd)) == 3 and all("/" not in place and len(place) < 150 for place in odd)
