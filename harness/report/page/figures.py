"""The charts of a system, each with what it shows in a sentence and in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.report.charts import of_report
from harness.report.charts.accuracy_over_cost import Paying
from harness.report.charts.accuracy_over_time import paying_energy, paying_memory, paying_time
from harness.report.charts.curve_lines import lines_of
from harness.report.charts.learning_curves import smoothed
from harness.report.charts.of_report import MOST_ON_SCREEN, chart_name, endings_of
from harness.report.charts.phases import MOST_BARS, timed
from harness.report.numbers.curves import ByEpoch
from harness.report.page.alternatives import (
    cost_grid,
    curve_grid,
    interaction_grid,
    learning_grid,
    phase_grid,
    published_grid,
    speed_grid,
)
from harness.report.page.parts import Figure, Grid, Link, View
from harness.report.page.source import Source
from harness.report.tables import Table
from harness.results.columns import INTERVAL, Column


class Figures:
    """Makes the figures of one table.

    Args:
        key: of the suite on the page.
        href: from the page to the folder of the suite's results.
    """

    def __init__(self, source: Source, table: Table, key: str, href: str) -> None:
        self._source, self._table, self._key, self._href = source, table, key, href

    def figure(
        self, stems: Sequence[tuple[str, str]], title: str, caption: str, grid: Callable[[], Grid | None]
    ) -> Figure | None:
        """Returns a figure of the charts that were drawn; None where none was.

        Args:
            stems: the kind of chart, and what its view is called where there are several.
            grid: makes the table.
        """
        views = tuple(view for stem, label in stems if (view := self._view(stem, label)))
        if not views:
            return None
        return Figure(f"{self._key}-chart-{self._name(stems[0][0])}", title, caption, views, grid())

    def _view(self, stem: str, label: str) -> View | None:
        specs = self._source.specs
        wide, narrow = (self._name(f"{stem}_{screen}") for screen in of_report.SIZES)
        whole = self._name(stem)
        wide, narrow = (wide, narrow) if wide in specs else (whole, whole)
        if wide not in specs:
            return None
        endings = [ending for ending in endings_of(stem, for_page=True) if ending != "html"]
        files = tuple(Link(ending.upper(), f"{self._href}{whole}.{ending}") for ending in endings)
        return View(label, f"{self._key}/{wide}", f"{self._key}/{narrow}", files)

    def _name(self, stem: str) -> str:
        return chart_name(stem, self._source.report, self._table)

    def over_time(self) -> Figure | None:
        """Accuracy over train time."""
        paying = paying_time(self._table)
        caption = (
            "Each point is a config: up is more accurate, left is faster. The line is the Pareto front: the configs "
            f"that no other beats in both.{_bars(paying)}{_dashes(paying)}{_cut(paying)}"
        )
        return self.figure(
            [(of_report.TIME, "")],
            "Accuracy over train time",
            caption,
            lambda: cost_grid(paying, Column("", "train time", "seconds", over=INTERVAL)),
        )

    def over_energy(self) -> Figure | None:
        """Accuracy over the energy of the GPUs."""
        paying = paying_energy(self._table)
        caption = f"As above, but paid in the energy of the GPUs over the train time.{_bars(paying)}{_cut(paying)}"
        return self.figure(
            [(of_report.ENERGY, "")],
            "Accuracy over energy",
            caption,
            lambda: cost_grid(paying, Column("", "GPU energy", "joules")),
        )

    def over_memory(self) -> Figure | None:
        """Accuracy over the memory of a GPU."""
        paying = paying_memory(self._table)
        caption = f"As above, but paid in the peak of a GPU's allocated memory.{_bars(paying)}{_cut(paying)}"
        return self.figure(
            [(of_report.MEMORY, "")],
            "Accuracy over memory",
            caption,
            lambda: cost_grid(paying, Column("", "peak GPU memory", "bytes")),
        )

    def learning(self, shown: Sequence[ByEpoch]) -> Figure | None:
        """Learning curves, by epoch and by train time."""
        others = sum(row.ranked for row in self._table.rows) - len(shown)
        caption = (
            "Accuracy and loss; solid lines are the test split, dashed ones the train split, taken during the epoch. "
            "Drag across the strip at the bottom to look closer; a click there shows all again."
        )
        if smoothed(shown):
            caption += " The train loss has label smoothing, the test loss none: they do not compare."
        if others > 0:
            caption += f" Those of the front come first, then the most accurate; {others:,} more are not drawn."
        return self.figure(
            [(of_report.BY_EPOCH, "by epoch"), (of_report.BY_TIME, "by train time")],
            "Learning curves",
            caption,
            lambda: learning_grid(shown),
        )

    def accuracy_curves(self) -> Figure | None:
        """Test accuracy over train time, with bands."""
        caption = (
            "The higher a line at a given time, the better that config for so short a training. An accuracy holds "
            "until the next evaluation; thick lines are on the Pareto front."
        )
        if any(line.banded for line in lines_of(self._table)):
            caption += " Bands are 95 % intervals over the seeds, drawn where they leave room."
        return self.figure(
            [(of_report.CURVES, "")], "Test accuracy while training", caption, lambda: curve_grid(self._table)
        )

    def interactions(self) -> Figure | None:
        """Interactions of factors."""
        caption = (
            "Lines that run in parallel mean that the factors act apart; lines that cross or fan out mean that what "
            "one does depends on the other."
        )
        return self.figure(
            [(of_report.INTERACTIONS, "")], "Interactions", caption, lambda: interaction_grid(self._table)
        )

    def published(self) -> Figure | None:
        """Published numbers beside ours."""
        caption = "Diamonds are the published numbers, circles ours, with the 95 % interval over our seeds."
        return self.figure(
            [(of_report.PUBLISHED, "")], "Published and ours", caption, lambda: published_grid(self._table)
        )

    def phases(self) -> Figure | None:
        """Where the time of a run went."""
        rows = timed(self._table)
        cut = f" The first {MOST_BARS} of {len(rows):,} configs." if len(rows) > MOST_BARS else ""
        caption = (
            "Waiting for data and computing make up the train time; evaluation and compiling are on clocks of their "
            f"own.{cut}"
        )
        return self.figure([(of_report.PHASES, "")], "Where the time goes", caption, lambda: phase_grid(self._table))

    def over_epochs(self, shown: Sequence[ByEpoch]) -> Figure | None:
        """Speed, waiting and power of each epoch."""
        caption = "Of each epoch: a line that falls or jumps is a machine that throttled, or that others used."
        return self.figure([(of_report.OVER_EPOCHS, "")], "Over the epochs", caption, lambda: speed_grid(shown))


def _bars(paying: Sequence[Paying]) -> str:
    several = any(one.accuracy.ci95 is not None for one in paying)
    return " Bars are 95 % intervals over the seeds." if several else " One seed each, so there are no intervals."


def _dashes(paying: Sequence[Paying]) -> str:
    unsure = any(one.place in ("unsure", "perhaps") for one in paying)
    return " A dashed outline says that a place on the front is unsure, with its probability." if unsure else ""


def _cut(paying: Sequence[Paying]) -> str:
    most = MOST_ON_SCREEN
    return f" The front and the most accurate {most} of {len(paying):,} configs." if len(paying) > most else ""
