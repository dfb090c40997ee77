"""Where the time of a run went: waiting for data, computing, evaluating, compiling; a bar for each config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.report.charts.axes import time_unit
from harness.report.charts.theme import FONT_SIZE, INK, PALETTE, frame
from harness.report.numbers.rows import Row
from harness.report.tables import Table
from harness.report.texts import one_line, shortened
from harness.statistics.intervals import Summary

if TYPE_CHECKING:
    import altair

WIDTH, BAR, ROW = 700, 15, 44
MOST_BARS = 30
PHASES = ("waiting for data", "computing", "evaluating", "compiling")
_COLOURS = (PALETTE[1], PALETTE[0], PALETTE[2], PALETTE[5])


@dataclass(frozen=True)
class Phases:
    """The chart of one system as plain data.

    Attributes:
        bars: `config`, `phase`, `seconds` and the ends `low` and `high` in the axis's unit, and `share`.
        configs: from the top.
    """

    title: str
    subtitle: str
    unit: str
    bars: list[dict[str, Any]]
    configs: list[str]

    def draw(self) -> altair.LayerChart:
        """Returns the chart.

        Raises:
            ImportError: altair is not installed.
        """
        import altair

        present = [phase for phase in PHASES if any(bar["phase"] == phase for bar in self.bars)]
        colours = [_COLOURS[PHASES.index(phase)] for phase in present]
        across = altair.X("low:Q", title=f"Mean time of a run ({self.unit})", axis=altair.Axis(tickCount=6))
        rows = altair.Scale(paddingInner=0, paddingOuter=0)
        down = altair.Y("config:N", sort=self.configs, title=None, axis=None, scale=rows)
        base = altair.Chart(altair.NamedData("bars")).encode(y=down)
        bars = base.mark_bar(height=BAR, yOffset=8).encode(
            x=across,
            x2="high:Q",
            color=altair.Color(
                "phase:N",
                title=None,
                sort=present,
                scale=altair.Scale(domain=present, range=colours),
                legend=altair.Legend(orient="top", direction="horizontal", labelLimit=160),
            ),
            tooltip=[
                altair.Tooltip("config:N"),
                altair.Tooltip("phase:N"),
                altair.Tooltip("seconds:Q", title="seconds", format=".3~g"),
                altair.Tooltip("share:Q", title="of the run", format=".1%"),
            ],
        )
        names = base.transform_filter("datum.low == 0").mark_text(
            align="left", baseline="bottom", yOffset=-3, fontSize=FONT_SIZE, color=INK
        )
        return altair.LayerChart(
            layer=[bars, names.encode(x=altair.value(0), text="config:N")],
            datasets={"bars": self.bars},
            width=WIDTH,
            height=ROW * len(self.configs),
            **frame(self.title, [self.subtitle]),
        )


def phases(table: Table) -> Phases | None:
    """Returns the chart of one system; None where no config was timed."""
    rows = timed(table)[:MOST_BARS]
    if not rows:
        return None
    unit, name = time_unit(max(sum(phase_seconds(row).values()) for row in rows) / 3)
    bars: list[dict[str, Any]] = []
    labels = [shortened(one_line(row.label), 60) for row in rows]
    labels = [f"{text} ({at})" if text in labels[:at] else text for at, text in enumerate(labels)]
    for row, label in zip(rows, labels, strict=True):
        spent = phase_seconds(row)
        total, low = sum(spent.values()) or 1.0, 0.0
        for phase, seconds in spent.items():
            ends = {"low": low / unit, "high": (low + seconds) / unit}
            bars.append({"config": label, "phase": phase, "seconds": seconds, "share": seconds / total, **ends})
            low += seconds
    return Phases(f"{one_line(table.suite)} on {table.system}", "Means over the runs that ended ok", name, bars, labels)


def timed(table: Table) -> Sequence[Row]:
    """Returns the rows that have a train time."""
    return [row for row in table.rows if row.values["train_seconds"]]


def phase_seconds(row: Row) -> dict[str, float]:
    """Returns the mean seconds of each phase; one that was not measured, or took none, is left out."""
    train = row.values["train_seconds"].mean
    share: Summary | None = row.values["data_wait_share"]
    waiting = train * share.mean if share else 0.0
    found = {"waiting for data": waiting, "computing": train - waiting}
    for phase, column in (("evaluating", "eval_seconds"), ("compiling", "compile_seconds")):
        found[phase] = row.values[column].mean if row.values[column] else 0.0
    return {phase: seconds for phase, seconds in found.items() if seconds > 0}
