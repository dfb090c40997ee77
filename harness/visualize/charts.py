"""What charts of runs share: one look, with the tables' chart; scales; the names of runs; numbers beside a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import altair

from harness.errors import HarnessError
from harness.records.files import write_json
from harness.report.charts.theme import PALETTE, frame
from harness.report.texts import listed, one_line, without_common_parts
from harness.visualize.trained import Trained

SEQUENTIAL = "viridis"  # even steps look even, also in grey and to most colour-blind eyes
WIDE_RANGE = 20  # from this ratio of largest to smallest on, a scale is logarithmic

_Chart = TypeVar("_Chart", altair.Chart, altair.LayerChart, altair.HConcatChart, altair.VConcatChart)


def finished(chart: _Chart, title: str, subtitle: Sequence[str] = ()) -> _Chart:
    """Returns the chart with its title, margins and fonts, ready for print.

    Args:
        chart: the outermost one.
        title: what is drawn, of which run.
        subtitle: lines below it: how to read the chart.
    """
    return chart.properties(**frame(title, subtitle))


def up(values: Iterable[float | None], title: str, format: str = ".4~g", *, ticks: int = 5) -> dict[str, Any]:
    """Returns the arguments of a `y` that shows all values, on a logarithmic scale where they differ widely.

    Args:
        values: what is drawn; None and what is not finite is left out. Percentages are never on a logarithmic scale.
        title: the quantity; where the scale is logarithmic, a second line says so.
        format: of the ticks' labels.
        ticks: about how many.
    """
    seen = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(seen, default=0.0), max(seen, default=1.0)
    look: dict[str, Any] = {"format": format, "titleX": -62, "titleAnchor": "middle"}
    if low > 0 and high > WIDE_RANGE * low and "%" not in format:
        low, high = low / 1.1, high * 1.1
        scale = altair.Scale(type="log", nice=False, domain=[low, high])
        if low < 1e-3:
            look["format"] = "~e"  # 1e-6 is shorter than its noughts
        axis = altair.Axis(values=log_axis_values(low, high, 2 * ticks - 1), **look)
        return {"title": [title, "(log scale)"], "scale": scale, "axis": axis}
    scale = altair.Scale(type="linear", zero=False, nice=True)
    return {"title": [title], "scale": scale, "axis": altair.Axis(tickCount=ticks, **look)}


def log_axis_values(low: float, high: float, most: int = 9) -> list[float]:
    """Returns round numbers from `low` to `high`, both above 0: 1, 2, 5, 10, ..., or fewer where they are too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for factors, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 5)):
        # From the text, so that 5e-05 is the number that is written so.
        found = [float(f"{factor}e{power}") for power in powers for factor in factors if power % every == 0]
        found = [value for value in found if low <= value <= high]
        if len(found) <= most:
            break
    return found


def names_of(runs: Sequence[Trained]) -> dict[str, str]:
    """Returns the legend's names by `config_id`: label, then its seeds; what all labels share is left out."""
    seeds: dict[str, list[int]] = {}
    labels: dict[str, str] = {}
    for run in runs:
        labels.setdefault(run.result.config_id, one_line(run.result.label))
        seeds.setdefault(run.result.config_id, []).append(run.result.seed)
    short = without_common_parts(list(labels.values()))
    names: dict[str, str] = {}
    for config, label in zip(labels, short, strict=True):
        own = sorted(set(seeds[config]))
        names[config] = f"{label} · {'seed' if len(own) == 1 else 'seeds'} {_ranges(own)}"
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {config: f"{name} · {config[:6]}" if name in twice else name for config, name in names.items()}


def colours(names: Sequence[str], title: str = "") -> altair.Color:
    """Returns the colours of a nominal field `name`, in the order of the names.

    Raises:
        HarnessError: there are more names than colours that can be told apart.
    """
    if len(names) > len(PALETTE):
        message = f"{len(names)} configs in one chart cannot be told apart: {listed(list(names))}"
        raise HarnessError(message, f"draw {len(PALETTE)} configs at most; repeats of one config count once")
    columns = 1 if max(map(len, names)) > 40 else 2
    symbol = {"symbolType": "stroke", "symbolStrokeWidth": 3, "symbolOpacity": 1}
    legend = altair.Legend(orient="bottom", columns=columns, labelLimit=600, **symbol)
    domain, shades = list(names), list(PALETTE[: len(names)])
    return altair.Color("name:N", title=title or None, scale=altair.Scale(domain=domain, range=shades), legend=legend)


def shared_title(runs: Sequence[Trained]) -> str:
    """Returns what a picture of several runs is named after: the run, or the suites."""
    if len(runs) == 1:
        return runs[0].title
    return f"{listed(sorted({run.result.suite for run in runs}))}: {len(runs)} runs"


def table(rows: Sequence[dict[str, Any]]) -> altair.InlineData:
    """Returns rows as a chart's data, numbers that are not finite as null; any number of rows is allowed."""
    return altair.InlineData(values=finite(list(rows)))


def finite(value: Any) -> Any:
    """Returns JSON-able data with null for each number that is not finite, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, list | tuple) else value


def write_numbers(folder: Path, name: str, numbers: Any) -> None:
    """Writes what a picture was drawn from beside it: `pictures/NAME.json` in a run's folder; not finite is null."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    write_json(pictures / f"{name}.json", json.loads(json.dumps(finite(numbers), allow_nan=False)))


def _ranges(numbers: list[int]) -> str:
    consecutive = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{numbers[0]} to {numbers[-1]}" if consecutive else ", ".join(map(str, numbers))
