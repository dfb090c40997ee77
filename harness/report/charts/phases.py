"""Where the time of a run went: waiting for data, computing, evaluating, compiling; a bar for each config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.answer import seconds_text
from harness.report.charts.axes import unit_of
from harness.report.charts.chart import Chart, Grid, channel, chart, distinct, grid, layer, tooltip
from harness.report.charts.theme import GREY, INK, PALETTE
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import NOTHING, one_line
from harness.statistics.intervals import Summary

WIDTH, ROW = 620, 22
MOST_BARS = 30
# None of these is the colour of a config.
PHASES = {"waiting for data": PALETTE[8], "computing": GREY, "evaluating": INK, "compiling": PALETTE[9]}


def phases(table: Table) -> Chart | None:
    """Returns the chart of one system; None where no config was timed."""
    every = [row for row in table.rows if row.values["train_seconds"]]
    if not every:
        return None
    spent = [phase_seconds(row) for row in every[:MOST_BARS]]
    labels = distinct([one_line(row.label) for row in every[:MOST_BARS]])
    unit, name = unit_of("seconds", max(sum(own.values()) for own in spent) / 3)
    bars = []
    for label, own in zip(labels, spent, strict=True):
        for phase, seconds in own.items():
            same = {"config": label, "phase": phase, "order": list(PHASES).index(phase), "time": seconds / unit}
            bars.append({**same, "seconds": seconds, "share": seconds / sum(own.values())})
    present = [phase for phase in PHASES if any(phase in own for own in spent)]
    legend = {"orient": "top", "direction": "horizontal", "labelLimit": 160}
    scale = {"domain": present, "range": [PHASES[phase] for phase in present]}
    encoding = {
        "x": channel("time:Q", f"Mean time of a run ({name})", axis={"tickCount": 6}),
        "y": channel("config:N", sort=labels, axis={"domain": False, "ticks": False, "labelLimit": 220}),
        "color": channel("phase:N", sort=present, scale=scale, legend=legend),
        "order": channel("order:Q"),
        "tooltip": tooltip("config:N", "phase:N", "seconds:Q:.3~g", "share:Q:.1%", share="of the run"),
    }
    said = [
        "Means over the runs that ended ok.",
        "Waiting for data and computing make up the train time; the others have separate clocks.",
        f"The first {MOST_BARS} of {len(every):,} configs." * (len(every) > MOST_BARS),
    ]
    view: dict[str, Any] = {"width": WIDTH, "height": ROW * len(labels)}
    view["layer"] = [layer("bars", "bar", encoding, height=ROW - 8)]
    return chart(table, "Where the time goes", said, {"bars": bars}, _grid(every), **view)


def phase_seconds(row: Row) -> dict[str, float]:
    """Returns the mean seconds of each phase; one that was not measured, or took none, is left out."""
    train = row.values["train_seconds"].mean
    share: Summary | None = row.values["data_wait_share"]
    waiting = train * share.mean if share else 0.0
    found = {"waiting for data": waiting, "computing": train - waiting}
    for phase, column in (("evaluating", "eval_seconds"), ("compiling", "compile_seconds")):
        found[phase] = row.values[column].mean if row.values[column] else 0.0
    return {phase: seconds for phase, seconds in found.items() if seconds > 0}


def _grid(every: Sequence[Row]) -> Grid:
    rows = []
    for row in every:
        spent = phase_seconds(row)
        total = sum(spent.values()) or 1.0
        cells = (
            f"{seconds_text(spent[one])} ({spent[one] / total:.0%})" if one in spent else NOTHING for one in PHASES
        )
        rows.append((one_line(row.label), *cells))
    return grid("Time of a run", "|".join(["config", *(f"#{one}" for one in PHASES)]), rows)
