"""The tables as people and programs read them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.records.result import Selected, TargetReached
from harness.report.formats import (
    as_csv,
    as_json,
    columns_of,
    latex,
    markdown,
    rows_of_files,
    summary_rows,
)
from harness.report.terminal import MOST_ROWS, show
from harness.report.texts import column_texts
from harness.results.columns import Column
from harness.results.question import DeclaredFactor
from tests.report.conftest import run_rows

NASTY = "a|b <script>alert(1)</script> 50% & $x_1$ {#} ~^\\ [bold]né→日本[/bold]\nnext\x1b[31m"


def _terminal(report: Any, width: int, **options: Any) -> str:
    file = io.StringIO()
    show(report, Console(file=file, width=width, **options), explain=True)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_terminal_fits_and_keeps_what_matters(fake: Any, width: int) -> None:
    long = "model.name=resnet18, train.mixed_precision=bf16, optimizer.name=sgd, schedule.name=multistep"
    results = [
        *fake.suite(6, 3),
        *(fake.result(long, seed=seed, accuracy=0.95, seconds=9.0) for seed in range(2)),
    ]
    text = _terminal(fake.report(results), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "95.00 ± 0.00 %" in text  # never broken over lines
    label_cells = "".join(line[3:60].strip() for line in lines)
    assert "model.name=resnet18" in label_cells
    assert "schedule.name=multistep" in label_cells
    assert "more columns in table.md" in text


def test_a_long_table_shows_its_first_rows_and_the_front(fake: Any) -> None:
    slower = [fake.result(f"c{n}", config_id=f"c{n}", accuracy=0.9 - n / 1000, seconds=9.0) for n in range(120)]
    report = fake.report([*slower, fake.result("quick", config_id="quick", accuracy=0.5, seconds=1.0)])
    text = _terminal(report, 160)
    assert [n for n in range(120) if f" c{n} " in text] == list(range(MOST_ROWS))
    assert re.search(r"◆ +quick ", text) and "20 more rows in table.md" in text
    assert "more rows" not in _terminal(fake.report(slower[:MOST_ROWS]), 160)


def test_wider_terminals_show_more(fake: Any) -> None:
    report = fake.report(fake.suite(4, 2))
    assert "samples/s" not in _terminal(report, 80)
    assert "samples/s" in _terminal(report, 160)


def test_front_is_marked_without_colour(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    results = [
        fake.result("fast", seconds=1.0),
        fake.result("slow", seconds=2.0, accuracy=0.8, train={"epochs": 2}),
    ]
    text = _terminal(fake.report(results), 100, force_terminal=True)
    assert re.search(r"◆.*fast", text)
    assert not re.search(r"◆.*slow", text)
    assert not re.search(r"\x1b\[[0-9;]*3\d[;m]", text)


def test_terminal_neutralises_labels(fake: Any) -> None:
    text = _terminal(fake.report([fake.result(NASTY)]), 160)
    assert "[bold]né→日本[/bold] next[31m" in text
    assert "\x1b" not in text


def test_markdown_keeps_its_shape_whatever_the_labels(fake: Any) -> None:
    text = markdown(fake.report([fake.result(NASTY), fake.result("plain", train={"epochs": 2})]))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
    assert len(lines) == 4
    assert len(widths) == 1
    assert "<script>" not in text
    assert r"a\|b &lt;script&gt;" in text
    assert r"\$x_1\$" in text


def test_markdown_shows_intervals_only_where_there_are_some(fake: Any) -> None:
    results = [
        fake.result("one"),
        *(fake.result("two", seed=s, accuracy=0.9 + s / 50, train={"epochs": 2}) for s in (0, 1)),
    ]
    text = markdown(fake.report(results))
    assert "| 90.00 % |" in text
    assert "| 91.00 ± 12.71 % |" in text  # t(0.975, 1) = 12.706


def test_latex_escapes_everything(fake: Any) -> None:
    text = latex(fake.report([fake.result(NASTY), fake.result("[x]", train={"epochs": 2})]))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    label = next(line for line in body.splitlines() if "alert" in line)
    assert r"a\textbar{}b \textless{}script\textgreater{}" in label
    assert r"50\% \& \$x\_1\$ \{\#\} \textasciitilde{}\textasciicircum{}\textbackslash{}" in label
    columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", body)[1])  # type: ignore[index]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}
    assert "{[x]}" in body
    assert body.count("{") == body.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles(fake: Any, tmp_path: Path) -> None:
    table = latex(fake.report([fake.result(NASTY.replace("→日本", ""))]))
    head = "\\documentclass{article}\\usepackage{booktabs}\\usepackage[T1]{fontenc}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{table}\\end{{document}}")
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_csv_round_trip(fake: Any) -> None:
    report = fake.report([fake.result(NASTY), fake.result("dead", status="failed", train={"epochs": 2})])
    for rows in (summary_rows(report), run_rows(report)):
        read = list(csv.DictReader(io.StringIO(as_csv(columns_of(rows)).decode(), newline="")))
        assert [row["label"] for row in read] == [row["label"] for row in rows]
        assert read == [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]


def test_runs_have_dotted_fields_and_no_halves_of_sections(fake: Any) -> None:
    rows = run_rows(fake.report([fake.result("a"), fake.result("b", status="oom")]))
    assert rows[0]["metrics.test.accuracy"] == 0.9
    assert rows[0]["spec.train.epochs"] == 10
    assert rows[0]["resumed_at_steps"] == "[]"
    assert rows[1]["clock.train_seconds"] is None
    assert "resolved" not in rows[0]
    assert "data" not in rows[0]


def test_json_has_no_infinity(fake: Any) -> None:
    result = fake.result("a")
    result.metrics["test"].loss = float("inf")
    text = json.dumps(as_json(fake.report([result])), allow_nan=False)
    config = json.loads(text)["systems"][0]["configs"][0]
    assert config["test_loss_mean"] is None
    assert config["test_accuracy_mean"] == 0.9


def _everything(fake: Any) -> Any:
    selected = [Selected(selected_on=split, epoch=1, test=fake.metrics(0.9)) for split in ("validation", "test")]
    target = TargetReached(metric="test.accuracy", at_least=0.5, epoch=1, train_seconds=1.0)
    results = [
        fake.result("a", selected=selected, target=target, train={"mixed_precision": "auto"}),
        fake.result("b", num_processes=2, train={"epochs": 2}),
        fake.result(
            "c", extra_metrics={"own": {"unit": "", "title": "own", "better": "lower", "value": 2.0, "code": "c"}}
        ),
    ]
    results[1].resolved.loader = "dali"
    references = {results[0].config_id: [fake.Published("test.accuracy", 0.9, "report")]}
    factors = [DeclaredFactor(paths=[path], levels=2) for path in ("train.mixed_precision", "train.epochs")]
    return fake.report(results, references=references, factors=factors)


def _documented(file: str) -> list[str]:
    """Returns the names in the first cells of the tables in the section on a file."""
    text = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
    section = next(part for part in text.split("\n## ") if f"`{file}`" in part.partition("\n")[0])
    first_cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    names = [name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)]
    assert len(names) == len(set(names))
    return names


def test_docs_define_each_column_and_no_other(fake: Any) -> None:
    written = set(summary_rows(_everything(fake))[0])
    config = {name for name in written if name.startswith(("train.", "model.", "data.", "loader."))}
    assert config == {"train.epochs", "train.mixed_precision"}
    written = {name.replace("test_own_", "test_<metric>_") for name in written - config | {"<dotted path>"}}
    assert written == set(_documented("table.csv"))


def test_docs_define_the_columns_of_the_tables_beside(fake: Any) -> None:
    report = _everything(fake)
    assert list(rows_of_files(report)["references"][0]) == _documented("references.csv")
    assert list(rows_of_files(report)["what_mattered"][0]) == _documented("what_mattered.csv")


def test_docs_name_each_verdict() -> None:
    text = (Path(__file__).parents[2] / "docs" / "columns.md").read_text(encoding="utf-8")
    for verdict in ("reproduced", "differs", "one seed", "other system", "not measured", "not run"):
        assert f"\n| {verdict} | " in text


def test_small_numbers_are_not_shown_as_zero() -> None:
    column = Column("test_own", "own", "number")
    assert column_texts(column, [2.3e-5, 1.9e-5]) == ["0.000023", "0.000019"]
    assert column_texts(column, [0.5, 2.3e-5]) == ["0.5000", "0.0000"]


def test_a_probability_is_never_shown_as_certain() -> None:
    column = Column("front_probability", "on the front", "probability")
    assert column_texts(column, [0.0, 0.004, 0.5, 0.994, 1.0, None]) == [
        "< 1 %",
        "< 1 %",
        "50 %",
        "99 %",
        "> 99 %",
        "-",
    ]
