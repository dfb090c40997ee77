"""What `write_report` leaves, and the chart."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import vl_convert
from PIL import Image

from harness.report.build import build_report
from harness.report.charts.accuracy_over_cost import HEIGHT, accuracy_over_cost
from harness.report.charts.chart import axis_of
from harness.report.charts.drawing import Drawing
from harness.report.charts.theme import FONT_SIZE
from harness.report.epochs import Curve
from harness.report.write import write_report
from harness.results.study import study_of_folders

TABLES = ["runs.csv", "table.csv", "table.md", "table.tex"]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.launch
def test_from_disk_to_all_files(fake: Any, tmp_path: Path) -> None:
    fake.store(tmp_path / "results", fake.suite(4, 2, suite="s"))
    report = build_report(study_of_folders([tmp_path / "results" / "s"]))
    written, _ = write_report(tmp_path / "report", report)
    assert _names(tmp_path / "report") == ["accuracy_over_time.png", "accuracy_over_time.svg", "prices.csv", *TABLES]
    assert sorted(path.name for path in written) == _names(tmp_path / "report")


@pytest.mark.slow
@pytest.mark.launch
def test_a_chart_per_system_and_none_left_over(fake: Any, tmp_path: Path) -> None:
    write_report(tmp_path, fake.report([fake.result()]))
    write_report(tmp_path, fake.report([fake.result(), fake.result(system_id="../b")]))
    pictures = [name for name in _names(tmp_path) if name.endswith(".png")]
    assert pictures == ["accuracy_over_time_.._b.png", "accuracy_over_time_a1b2c3.png"]
    text = (tmp_path / "table.md").read_text()
    assert text.count("\n## ") == 2


@pytest.mark.parametrize("status", ["failed", None])
def test_nothing_to_draw(fake: Any, tmp_path: Path, status: str | None) -> None:
    write_report(tmp_path, fake.report([fake.result(status=status)] if status else []))
    assert _names(tmp_path) == TABLES


@pytest.mark.launch
def test_without_vl_convert_the_rest_is_written(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = fake.report([fake.result()])
    write_report(tmp_path, report)
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    write_report(tmp_path, report)
    assert _names(tmp_path) == ["runs.csv", "table.csv", "table.md", "table.tex"]
    said = capsys.readouterr().err
    assert said == "not written: the charts accuracy_over_time\nhint: pip install vl-convert-python\n"


@pytest.mark.launch
@pytest.mark.parametrize("configs", [1, 9, pytest.param(60, marks=pytest.mark.slow)])
def test_png_is_a_picture_of_two_pixels_a_unit(fake: Any, configs: int) -> None:
    chart = accuracy_over_cost(fake.report(fake.suite(configs, 2)).tables[0])
    assert chart
    with Drawing() as drawing:
        drawing.begin({"chart": chart.spec})
        image = Image.open(io.BytesIO(drawing.files()["chart.png"])).convert("RGB")
    small = Image.open(io.BytesIO(vl_convert.vegalite_to_png(chart.spec)))
    assert image.size == (2 * small.width, 2 * small.height)
    assert 750 <= small.width <= 1020  # labels are as wide as the machine's fonts
    assert 470 <= small.height <= 540
    assert len(image.getcolors(maxcolors=1_000_000) or []) > 20
    assert image.getpixel((2, 2)) == (255, 255, 255)


@pytest.mark.launch
def test_one_process_draws_for_several_suites_and_gives_the_script_of_their_page(fake: Any) -> None:
    chart = accuracy_over_cost(fake.report(fake.suite(1, 2)).tables[0])
    assert chart
    with Drawing(for_page=True) as drawing:
        for name in ("first", "second"):
            drawing.begin({name: chart.spec})
            assert drawing.files()[f"{name}.svg"].startswith(b"<svg")
        assert "vegaEmbed" in drawing.script()
        drawing.begin({"odd": {"mark": 3}})
        with pytest.raises(RuntimeError, match=r"the chart could not be drawn: (?s:.*)conversion failed"):
            drawing.files()


def test_chart_has_the_numbers_of_the_table(fake: Any) -> None:
    table = fake.report(fake.suite(9, 3)).tables[0]
    points = {point["label"]: point for point in fake.spec(accuracy_over_cost(table))["datasets"]["points"]}
    assert len(points) == len(table.rows)
    for row in table.rows:
        point = points[row.label]
        accuracy = row.values["test_accuracy"]
        assert point["y"] == pytest.approx(100 * accuracy.mean)
        assert point["on_front"] == row.values["on_front"]
        assert point["y_high"] - point["y_low"] == pytest.approx(200 * accuracy.ci95)


def test_front_of_the_chart_is_a_rising_staircase(fake: Any) -> None:
    spec = fake.spec(accuracy_over_cost(fake.report(fake.suite(30, 2)).tables[0]))
    steps = spec["datasets"]["front"]
    assert len(steps) > 3
    assert all(a["x"] < b["x"] and a["y"] < b["y"] for a, b in itertools.pairwise(steps[:-1]))
    assert steps[-1]["y"] == steps[-2]["y"]


@pytest.mark.parametrize(("slowest", "logarithmic"), [(90.0, False), (110.0, True), (20_000.0, True)])
def test_time_axis_is_logarithmic_beyond_a_factor_of_ten(fake: Any, slowest: float, logarithmic: bool) -> None:
    results = [fake.result("a", seconds=10.0), fake.result("b", seconds=slowest, train={"epochs": 2})]
    scale = fake.spec(accuracy_over_cost(fake.report(results).tables[0]))["layer"][0]["encoding"]["x"]["scale"]
    assert scale["type"] == ("log" if logarithmic else "linear")
    axis = axis_of("train time", "seconds", 10.0, slowest)
    assert axis.logarithmic == logarithmic
    assert scale["domain"] == pytest.approx([axis.low, axis.high])
    assert all(0 < axis.share(seconds / axis.unit) < 1 for seconds in (10.0, slowest))
    middle = (axis.low * axis.high) ** 0.5 if logarithmic else (axis.low + axis.high) / 2
    assert axis.share(middle) == pytest.approx(0.5)


def test_labels_stand_where_the_front_leaves_room(fake: Any) -> None:
    """No config is cheaper and more accurate than one of the front; and no label covers another."""
    spec = fake.spec(accuracy_over_cost(fake.report(fake.suite(60, 3)).tables[0]))
    labels, points = spec["datasets"]["labels"], spec["datasets"]["points"]
    front = {point["label"]: point for point in points if point["on_front"]}
    assert 3 <= len(labels) <= len(front)
    low, high = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    heights = [HEIGHT * (one["y"] - low) / (high - low) for one in labels]
    assert all(above - below >= FONT_SIZE for above, below in itertools.pairwise(heights))
    for label in labels:
        assert not [one for one in points if one["x"] < label["x"] and one["y"] > label["y"]]
        assert 0.5 <= label["room"] <= 1


def test_no_torch_and_nothing_heavy_at_import() -> None:
    import subprocess

    code = (
        "import sys, harness.report.write, harness.report.terminal\n"
        "heavy = {'torch', 'altair', 'scipy', 'pandas', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.launch
def test_curves_are_two_files_that_the_table_links_to(fake: Any, tmp_path: Path) -> None:
    results = [fake.result(label, seed=seed, config_id=label) for label in ("a", "b") for seed in range(3)]
    curve = Curve((50.0, 100.0), (0.5, 0.9))
    write_report(tmp_path, fake.report(results, curve_of=lambda run: curve))
    assert {f"curves.{ending}" for ending in ("png", "svg")} <= set(_names(tmp_path))
    text = (tmp_path / "table.md").read_text()
    assert "![Test accuracy over train time](curves.png)" in text
    assert "The same as [SVG](curves.svg)." in text
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    write_report(tmp_path, fake.report(results))  # of records without evaluations there is nothing to draw
    assert not list(tmp_path.glob("curves*"))
    assert "curves" not in (tmp_path / "table.md").read_text()
