"""A hundred suites by chance, as records on disk: every output says the same of each, in a report and in a comparison.

What may differ: two configs that are named (`compare SUITE A B`) are a family of their own, by their own seeds alone. A
table against its best is corrected over all pairs, and its variances are drawn together. The difference is the same.
"""

from __future__ import annotations

import contextlib
import csv
import html
import io
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.suite.plan import load_suite
from tests.compare.made import write_predictions
from tests.marked import MARKING
from tests.report.conftest import make_result, store

SUITES = 100
WITH_PAGE = 10  # of each so many one makes a page, too, and a report in the terminal
IMAGES = 500


@pytest.fixture(autouse=True)
def _no_data_and_no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)  # charts take seconds
    monkeypatch.setattr("harness.data.prepare.fingerprint", lambda *_: "f00d")
    monkeypatch.setenv("COLUMNS", "400")


def call(*words: str) -> str:
    """Returns what a command writes to stdout."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()), pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 0, words
    return out.getvalue()


def make(number: int, folder: Path) -> str:
    """Writes a suite and its records: configs, seeds, values, missing and marked runs and a margin, all by chance."""
    rng = random.Random(number)
    configs, seeds = rng.randint(2, 6), rng.choice([1, 2, 3, 3, 5])
    margin = rng.choice(["", "margin: 0.02\n", "margin: 0.05\n"])
    path = folder / "s.yaml"
    path.write_text(
        f"name: chance\nbase: {{model: mlp, data: digits, optimizer: {{name: sgd, lr: 0.1}}}}\n{margin}"
        f"matrix: {{train.epochs: {list(range(1, configs + 1))}}}\nseeds: {seeds}\n"
    )
    spread, noise, predictions = rng.choice([0.0, 0.01, 0.2]), rng.choice([0.0, 0.003, 0.02]), rng.random() < 0.5
    means = {epochs: 0.7 + spread * rng.random() for epochs in range(1, configs + 1)}
    lost = rng.choice([0.0, 0.0, 0.15])
    for run in load_suite(path).plan(lambda data: "f00d").runs:
        seed, epochs = run.spec.seed, run.spec.train.epochs
        if rng.random() < lost and not (epochs <= 2 and seed == 0):
            continue
        right = round(IMAGES * (means[epochs] + noise * rng.gauss(0, 1)))
        result = make_result(
            run.spec.label,
            seed=seed,
            accuracy=right / IMAGES,
            seconds=epochs * (1 + noise * rng.random()),
            config_id=run.config_id,
            run_id=run.run_id,
            suite="chance",
            **(rng.choice(list(MARKING.values())) if rng.random() < lost else {}),
        )
        assert result.data
        result.data.test_samples = IMAGES
        store(folder / "results", [result])
        if predictions:
            own = folder / "results" / "chance" / run.run_id / result.system_id
            write_predictions(own, right, images=IMAGES, shift=rng.randrange(IMAGES))
    return str(path)


def plain(text: str) -> str:
    """Returns a text without marks of a format, so that sentences can be looked for in it."""
    return " ".join(re.sub(r"[\\{}$“”`]", "", html.unescape(re.sub(r"<[^>]*>", "", text))).split())


@pytest.mark.parametrize("number", range(SUITES))
def test_every_output_says_the_same(number: int, tmp_path: Path) -> None:
    suite, output = make(number, tmp_path), ["--output", str(tmp_path / "results")]
    report = json.loads(call("report", suite, *output, "--json"))
    [table] = report["systems"]
    answer, files = table["answer"], tmp_path / "results" / "chance"
    written = {"table.md": plain((files / "table.md").read_text())}
    if number % WITH_PAGE == 0:
        written["terminal"] = plain(call("report", suite, *output, "--html"))
        written["page"] = plain((files / "report.html").read_text())
    for name, text in written.items():
        assert all(plain(sentence) in text for sentence in answer), name
    _same_numbers(table["configs"], files)

    compared = json.loads(call("compare", suite, *output, "--json"))
    first = compared["comparisons"][0]["b"]["label"]
    if len(compared["comparisons"]) > 1 or answer[0].startswith(f"“{first}”"):
        assert answer[0].startswith(f"“{first}”")
        _same_verdicts(answer[0], compared["comparisons"])
        _same_prices(report["prices"], first, compared["comparisons"])
    if len(compared["comparisons"]) > 1:
        _same_rows(call("compare", suite, *output).splitlines(), compared["comparisons"])
    one = compared["comparisons"][number % len(compared["comparisons"])]
    _related(one, suite, output, borrows=len(compared["comparisons"]) > 1)


def _same_numbers(rows: list[dict[str, Any]], files: Path) -> None:
    """Mean and interval of each config: JSON, CSV, table.md and LaTeX."""
    with (files / "table.csv").open() as file:
        by_label = {row["label"]: row for row in csv.DictReader(file)}
    texts = [plain((files / name).read_text()) for name in ("table.md", "table.tex")]
    for row in rows:
        mean, half = row["test_accuracy_mean"], row["test_accuracy_ci95"]
        assert [by_label[row["label"]][f"test_accuracy_{name}"] for name in ("mean", "ci95")] == [
            "" if value is None else str(value) for value in (mean, half)
        ]
        if mean is not None and (half or 0.0) <= mean / 2:
            cell = f"{100 * mean:.2f}" + (f" ± {100 * half:.2f}" if half is not None else "")
            assert all(cell in text.replace("ensuremathpm", "±") for text in texts), cell


def _same_verdicts(sentence: str, comparisons: list[dict[str, Any]]) -> None:
    """The first sentence of the report names who is equivalent and who is undecided, up to three of each."""
    said = {"equivalent": "equivalent within", "undecided": "leave undecided", "unknown": "not known whether"}
    found: dict[str, list[str]] = {"equivalent": [], "undecided": [], "unknown": []}
    for one in comparisons:
        assert one["accuracy"]["verdict"] != "a", "nothing is better than the best"
        verdict = one["accuracy"]["verdict"] or "unknown"
        found.setdefault(verdict, []).append(one["a"]["label"])
    if "by one run" in sentence:
        assert not any(one["accuracy"]["verdict"] for one in comparisons)
        return
    for verdict, words in said.items():
        assert (words in sentence) == bool(found[verdict]), (verdict, sentence)
        if len(found[verdict]) <= 4:
            assert all(f"“{label}”" in sentence for label in found[verdict])
    assert ("better than" in sentence.replace("whether it is better than", "")) == (not any(found[v] for v in said))


def _same_prices(steps: list[dict[str, Any]], best: str, comparisons: list[dict[str, Any]]) -> None:
    """The step of the price list that leads to the best config has the verdict of the comparison with it."""
    verdicts = {one["a"]["label"]: one["accuracy"]["verdict"] for one in comparisons}
    words = {"b": "better", None: "no verdict"}
    for step in steps:
        if step["to_label"] == best:
            verdict = verdicts[step["from_label"]]
            assert step["verdict"] == words.get(verdict, verdict)


def _same_rows(lines: list[str], comparisons: list[dict[str, Any]]) -> None:
    """The terminal's table has verdict and interval of each comparison."""
    words = {"accuracy": {"a": "better", "b": "worse"}, "time": {"a": "faster", "b": "slower"}}
    for one in comparisons:
        [line] = [line for line in lines if line.startswith(f"{one['a']['label']} ")]
        verdicts = re.findall("better|worse|faster|slower|undecided|equivalent", line)
        said = [(question, one[question]["verdict"]) for question in words if one[question]["verdict"]]
        assert verdicts == [words[question].get(verdict, verdict) for question, verdict in said]
        accuracy, time = one["accuracy"], one["time"]
        differences = re.findall(r"([-+][\d.]+) ± ([\d.]+) points", line)
        if accuracy["low"] is not None:
            mean, half = map(float, differences[0])
            expected = [100 * accuracy["low"], 100 * accuracy["high"]]
            assert [mean - half, mean + half] == pytest.approx(expected, abs=0.0101)
        ratios = re.findall(r"\(([\d.]+) to ([\d.]+)\)", line)
        assert len(ratios) == (time["low"] is not None)
        for shown in ratios:
            assert [float(end) for end in shown] == pytest.approx([time["low"], time["high"]], abs=0.0051, rel=0.006)


def _related(one: dict[str, Any], suite: str, output: list[str], *, borrows: bool) -> None:
    """What a comparison of a table has to do with the same two configs by themselves, and with `--to`."""
    a, b = one["a"]["label"], one["b"]["label"]
    [pair] = json.loads(call("compare", suite, a, b, *output, "--json"))["comparisons"]
    sentences = plain(call("compare", suite, a, b, *output))
    named = json.loads(call("compare", suite, "--to", b, *output, "--json"))["comparisons"]
    to = next(other for other in named if other["a"]["label"] == a)
    for question, size in (("accuracy", "difference"), ("time", "ratio")):
        table, alone, beside = one[question], pair[question], to[question]
        assert plain(alone["sentence"]) in sentences
        for other in (table, beside):
            assert other["seeds"] == alone["seeds"] and other[size] == alone[size]
        if alone["p"] is None:
            assert beside["verdict"] is None
            continue
        assert [beside[name] for name in ("p", "low", "high")] == pytest.approx(
            [alone[name] for name in ("p", "low", "high")], rel=1e-9
        ), "`--to` borrows nothing from the table"
        assert (beside["p_holm"] or beside["p"]) >= alone["p"] * (1 - 1e-9)
        if beside["verdict"] in ("a", "b"):
            assert alone["verdict"] == beside["verdict"]
        assert {table["verdict"], alone["verdict"]} != {"a", "b"}, "never the opposite"
        if not borrows:
            assert (table["verdict"], table["p"], table["low"]) == (alone["verdict"], alone["p"], alone["low"])
