"""What `harness report --wandb` sends to W&B, drawn here: the specification's panels, filled from the records.

    python benchmarks/method/wandb_picture.py [--suite benchmarks/five_minutes.yaml] [--results results/reference]
        [--set data.root=cifar10-jpeg] [--output docs/wandb.png]

Panels, their places, axes, groups and filters are read from the specification, and the numbers from what a tracker is
told of each run. The colours and fonts are not W&B's. The tables in Markdown that come first, and most rows of the run
comparer, are left out. A run is found by its config and seed, so the images need not be here.
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import vl_convert
from PIL import Image

from harness.records.read import read_suite
from harness.records.store import run_folder
from harness.report.build import build_report
from harness.report.to_wandb import specification, wandb_report
from harness.results.study import study_of_plans
from harness.suite.plan import load_suite
from harness.trackers.entries import Entries, read_entries

COLUMN, ROW, GAP = 42, 34, 70  # of W&B's grid, and between two panels, in pixels
FONT = {"font": "sans-serif", "fontSize": 11}
Panel = dict[str, Any]


def main() -> None:
    """Makes the specification, draws it and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, default=Path("benchmarks/five_minutes.yaml"))
    parser.add_argument("--results", type=Path, default=Path("results/reference"))
    parser.add_argument("--set", action="append", default=["data.root=cifar10-jpeg"], help="as of `harness report`")
    parser.add_argument("--output", type=Path, default=Path("docs/wandb.png"))
    asked = parser.parse_args()

    plan = load_suite(asked.suite, asked.set).plan(lambda data: "", num_processes=1)
    stored = read_suite(asked.results, plan.suite.name)
    report = build_report(study_of_plans([plan], stored, [asked.results]))
    sent = specification(wandb_report(report, "team", "project", with_project_id=False))
    folders = [run_folder(asked.results, plan.suite.name, one.run_id, one.system_id) for one in stored.results]
    told = [entries for folder in folders if (entries := read_entries(folder))]
    grids = [block["metadata"] for block in sent["spec"]["blocks"] if block["type"] == "panel-grid"]
    drawing = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {"text": sent["title"], "fontSize": 16, "anchor": "start"},
        "background": "white",
        "vconcat": [{"hconcat": [draw(panel, shown(grid, told)) for panel in panels(grid)]} for grid in grids],
        "resolve": {"scale": {"color": "shared"}},
        "config": {"view": {"stroke": "#ddd"}, "legend": {"orient": "top", "title": None}},
    }
    picture = Image.open(io.BytesIO(vl_convert.vegalite_to_png(drawing, scale=1)))
    picture.convert("RGB").quantize(256).save(asked.output, optimize=True)
    sys.stdout.write(f"{asked.output}: {sum(len(panels(grid)) for grid in grids)} panels of {len(told)} runs\n")


def panels(grid: dict[str, Any]) -> list[Panel]:
    """Returns the panels of a grid, from left to right."""
    return sorted(grid["panelBankSectionConfig"]["panels"], key=lambda panel: panel["layout"]["x"])


def shown(grid: dict[str, Any], told: list[Entries]) -> list[Entries]:
    """Returns the runs that the grid's run set lets through."""
    [run_set] = grid["runSets"]
    conditions = [(one["key"]["name"], one["op"], one["value"]) for one in run_set["filters"]["filters"]]

    def passes(config: dict[str, Any]) -> bool:
        return all(config[name] == value if op == "=" else config[name] in value for name, op, value in conditions)

    return [entries for entries in told if passes(entries.config)]


def draw(panel: Panel, told: list[Entries]) -> dict[str, Any]:
    """Returns a panel as Vega-Lite, in the size that the specification gives it."""
    kinds = {
        "Scatter Plot": scatter,
        "Parallel Coordinates Plot": parallel,
        "Run History Line Plot": lines,
        "Run Comparer": comparer,
    }
    made = kinds[panel["viewType"]](panel["config"], told)
    layout, title = panel["layout"], panel["config"].get("chartTitle", panel["viewType"])
    return {
        "title": {"text": title, "fontSize": 12},
        "width": layout["w"] * COLUMN - GAP,
        "height": layout["h"] * ROW - GAP,
        **made,
    }


def value_of(accessor: str, entries: Entries) -> Any:
    """Returns what an accessor of W&B names, e.g. `config:optimizer.value.name` or `summary:test/accuracy`."""
    section, _, name = accessor.rpartition(":")
    if section == "summary":
        return entries.ending.get(name) if entries.ending else None
    found: Any = entries.config
    for part in name.replace(".value", "", 1).split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def colour(field: str) -> dict[str, Any]:
    """Returns the colour of a config, and its entry in the legend."""
    return {"field": field, "type": "nominal", "scale": {"scheme": "tableau10"}}


def scatter(config: dict[str, Any], told: list[Entries]) -> dict[str, Any]:
    """A point for each run."""
    axes = {axis: config[f"{axis}Axis"] for axis in ("x", "y")}
    rows = [{axis: value_of(name, one) for axis, name in axes.items()} | {"label": one.label} for one in told]
    scales = {
        axis: {
            "type": "log" if config.get(f"{axis}AxisLogScale") else "linear",
            "zero": False,
            "nice": False,
            "padding": 15,
        }
        for axis in axes
    }
    encoding = {
        axis: {"field": axis, "type": "quantitative", "scale": scales[axis], "title": name.rpartition(":")[2]}
        for axis, name in axes.items()
    }
    return {
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 60},
        "encoding": {**encoding, "color": colour("label")},
    }


def parallel(config: dict[str, Any], told: list[Entries]) -> dict[str, Any]:
    """A line for each run, over an axis for each column."""
    rows, ticks = [], []
    for number, column in enumerate(config["columns"]):
        accessor, log = column["accessor"], column.get("log", False)
        name = accessor.rpartition(":")[2].replace(".value", "").removesuffix(".name")
        values = [value_of(accessor, one) for one in told]
        heights, labels = scale_of(values, log=bool(log))
        axis = f"{number}|{name}"
        ticks += [{"axis": axis, "y": y, "text": text} for text, y in labels]
        for one, y in zip(told, heights, strict=True):
            seed = one.seed
            rows.append({"axis": axis, "y": y, "label": one.label, "seed": seed})
    x = {
        "field": "axis",
        "type": "ordinal",
        "title": None,
        "axis": {"labelExpr": "split(datum.label, '|')[1]", "labelAngle": -25, "grid": True},
    }
    y = {"field": "y", "type": "quantitative", "axis": None}
    line = {"color": colour("label"), "detail": {"field": "seed"}}
    return {
        "layer": [
            {"data": {"values": rows}, "mark": {"type": "line", "opacity": 0.7}, "encoding": {"x": x, "y": y, **line}},
            {
                "data": {"values": ticks},
                "mark": {"type": "text", "fontSize": 9, "dy": -6},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}},
            },
        ]
    }


def scale_of(values: list[Any], *, log: bool) -> tuple[list[float], list[tuple[str, float]]]:
    """Returns where values stand on an axis from 0 to 1, and what is written beside it."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values) or len(set(numbers)) == 1:
        order = sorted({str(value) for value in values})
        places = {text: (index + 0.5) / len(order) for index, text in enumerate(order)}
        return [places[str(value)] for value in values], list(places.items())
    scaled = [math.log(number) if log else number for number in numbers]
    low, high = min(scaled), max(scaled)
    return [(one - low) / (high - low) for one in scaled], [(f"{min(numbers):.4g}", 0.0), (f"{max(numbers):.4g}", 1.0)]


def lines(config: dict[str, Any], told: list[Entries]) -> dict[str, Any]:
    """The mean of each group, and its range, over the rows of the runs' histories."""
    groups: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for one in told:
        for step, row in one.rows.items():
            if config["xAxis"] in row:
                place = (row[config["xAxis"]], row[config["metrics"][0]])
                groups[str(value_of(config["groupBy"], one)), step].append(place)
    rows = []
    for (label, _), places in groups.items():
        heights = [y for _, y in places]
        x, y = statistics.mean(x for x, _ in places), statistics.mean(heights)
        rows.append({"label": label, "x": x, "y": y, "low": min(heights), "high": max(heights)})
    x = {"field": "x", "type": "quantitative", "title": config["xAxisTitle"]}
    y = {"type": "quantitative", "title": config["metrics"][0], "scale": {"zero": False}}
    return {
        "data": {"values": rows},
        "encoding": {"x": x, "color": colour("label")},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.2},
                "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {"mark": "line", "encoding": {"y": {**y, "field": "y"}}},
        ],
    }


def comparer(config: dict[str, Any], told: list[Entries], most: int = 8) -> dict[str, Any]:
    """A column for each run, a row for each setting in which they differ."""
    told = sorted(told, key=lambda one: one.label)
    settings = {path for one in told for path in flat(one.config)}
    differing = [path for path in sorted(settings) if len({str(value_of(path, one)) for one in told}) > 1]
    differing = [path for path in differing if not path.endswith("_id")]
    left = f" ({most} of {len(differing)})" if len(differing) > most else ""
    cells = [
        {"row": path, "run": one.name, "text": text_of(value_of(path, one))}
        for path in differing[:most]
        for one in told
    ]
    title = f"Run comparer: settings that differ{left}"
    return {
        "title": {"text": title, "fontSize": 12},
        "height": 24 * most,
        "data": {"values": cells},
        "mark": {"type": "text", **FONT},
        "encoding": {
            "x": {"field": "run", "type": "nominal", "title": None, "axis": {"orient": "top", "labelAngle": 0}},
            "y": {"field": "row", "type": "nominal", "title": None},
            "text": {"field": "text"},
        },
    }


def text_of(value: Any) -> str:
    """Returns a value as a cell shows it."""
    return "" if value is None else str(value)[:24]


def flat(values: dict[str, Any], prefix: str = "") -> list[str]:
    """Returns the dotted paths of nested values."""
    paths = []
    for name, value in values.items():
        paths += flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return paths


if __name__ == "__main__":
    main()
