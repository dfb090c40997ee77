"""The charts of a system, each with what it shows in a sentence and in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.report.charts import of_report
from harness.report.charts.accuracy_over_cost import Paying
from harness.report.charts.accuracy_over_time import paying_energy, paying_memory, paying_time
from harness.report.charts.of_report import MOST_ON_SCREEN, chart_name, endings_of
from harness.report.charts.phases import MOST_BARS, PHASES, phase_seconds, timed
from harness.report.numbers.by_epoch import ByEpoch
from harness.report.numbers.columns import INTERVAL, Column
from harness.report.page.parts import Figure, Grid, Link, View
from harness.report.page.source import Source
from harness.report.page.words import accuracy_text, seconds_text
from harness.report.tables import Table
from harness.report.texts import NOTHING, Beside, column_texts, one_line

MOST_ROWS = 100  # of a table that says in words what a chart shows

_PROBABILITY = Column("", "", "probability")


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
        return Figure(f"{self._key}-{self._name(stems[0][0])}", title, caption, views, grid())

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
            "Each point is a config: up is more accurate, left is faster. The line is the Pareto front: the configs that "
            f"no other beats in both.{_bars(paying)}{_dashes(paying)}{_cut(paying)}"
        )
        return self.figure(
            [(of_report.TIME, "")],
            "Accuracy over train time",
            caption,
            lambda: _cost_grid(paying, Column("", "train time", "seconds", over=INTERVAL)),
        )

    def over_energy(self) -> Figure | None:
        """Accuracy over the energy of the GPUs."""
        paying = paying_energy(self._table)
        caption = f"As above, but paid in the energy of the GPUs over the train time.{_bars(paying)}{_cut(paying)}"
        return self.figure(
            [(of_report.ENERGY, "")],
            "Accuracy over energy",
            caption,
            lambda: _cost_grid(paying, Column("", "GPU energy", "joules")),
        )

    def over_memory(self) -> Figure | None:
        """Accuracy over the memory of a GPU."""
        paying = paying_memory(self._table)
        caption = f"As above, but paid in the peak of a GPU's allocated memory.{_bars(paying)}{_cut(paying)}"
        return self.figure(
            [(of_report.MEMORY, "")],
            "Accuracy over memory",
            caption,
            lambda: _cost_grid(paying, Column("", "peak GPU memory", "bytes")),
        )

    def learning(self, shown: Sequence[ByEpoch]) -> Figure | None:
        """Learning curves, by epoch and by train time."""
        others = sum(row.ranked for row in self._table.rows) - len(shown)
        caption = (
            "Accuracy and loss; solid lines are the test split, dashed ones the train split, taken during the epoch. "
            "Drag across the strip at the bottom to look closer; a click there shows all again."
        )
        if others > 0:
            caption += f" Those of the front come first, then the most accurate; {others:,} more are not drawn."
        return self.figure(
            [(of_report.BY_EPOCH, "by epoch"), (of_report.BY_TIME, "by train time")],
            "Learning curves",
            caption,
            lambda: _learning_grid(shown),
        )

    def accuracy_curves(self) -> Figure | None:
        """Test accuracy over train time, with bands."""
        caption = (
            "Test accuracy while training: the higher a line at a given time, the better that config for so short a "
            "training. An accuracy holds until the next evaluation; thick lines are on the Pareto front."
        )
        return self.figure([(of_report.CURVES, "")], "Test accuracy while training", caption, lambda: None)

    def interactions(self) -> Figure | None:
        """Interactions of factors."""
        caption = (
            "Lines that run in parallel mean that the factors act apart; lines that cross or fan out mean that what one "
            "does depends on the other."
        )
        return self.figure([(of_report.INTERACTIONS, "")], "Interactions", caption, lambda: None)

    def published(self) -> Figure | None:
        """Published numbers beside ours."""
        caption = "Diamonds are the published numbers, circles ours, with the 95 % interval over our seeds."
        return self.figure([(of_report.PUBLISHED, "")], "Published and ours", caption, lambda: None)

    def phases(self) -> Figure | None:
        """Where the time of a run went."""
        rows = timed(self._table)
        cut = f" The first {MOST_BARS} of {len(rows):,} configs." if len(rows) > MOST_BARS else ""
        caption = (
            "Waiting for data and computing make up the train time; evaluation and compiling are on clocks of their own."
            f"{cut}"
        )
        return self.figure([(of_report.PHASES, "")], "Where the time goes", caption, lambda: _phase_grid(self._table))

    def over_epochs(self, shown: Sequence[ByEpoch]) -> Figure | None:
        """Speed, waiting and power of each epoch."""
        caption = "Of each epoch: a line that falls or jumps is a machine that throttled, or that others used."
        return self.figure([(of_report.OVER_EPOCHS, "")], "Over the epochs", caption, lambda: _speed_grid(shown))


def grid_of(beside: Beside) -> Grid:
    """Returns a table that stands below the ranking."""
    rows = tuple(zip(*(column.cells for column in beside.columns), strict=True))
    left = len(rows) - MOST_ROWS
    more = (f"{left:,} more rows are in table.md.",) if left > 0 else ()
    return Grid(
        one_line(beside.title),
        tuple(column.title for column in beside.columns),
        tuple(column.numeric for column in beside.columns),
        rows[:MOST_ROWS],
        beside.faint[:MOST_ROWS],
        (*more, *beside.notes),
    )


def _bars(paying: Sequence[Paying]) -> str:
    several = any(one.accuracy.ci95 is not None for one in paying)
    return " Bars are 95 % intervals over the seeds." if several else " One seed each, so there are no intervals."


def _dashes(paying: Sequence[Paying]) -> str:
    unsure = any(one.place in ("unsure", "perhaps") for one in paying)
    return " A dashed outline says that a place on the front is unsure, with its probability." if unsure else ""


def _cut(paying: Sequence[Paying]) -> str:
    most = MOST_ON_SCREEN
    return f" The front and the most accurate {most} of {len(paying):,} configs." if len(paying) > most else ""


def _grid(title: str, columns: Sequence[tuple[str, bool]], rows: Sequence[tuple[str, ...]], whole: str) -> Grid:
    left = len(rows) - MOST_ROWS
    more = (f"{left:,} more are in {whole}.",) if left > 0 else ()
    titles, numeric = zip(*columns, strict=True)
    return Grid(title, titles, numeric, tuple(rows[:MOST_ROWS]), (), more)


def _cost_grid(paying: Sequence[Paying], cost: Column) -> Grid | None:
    if not paying:
        return None
    ordered = sorted(paying, key=lambda one: (not one.on_front, -one.accuracy.mean))
    paid = column_texts(cost, [one.paid for one in ordered])
    probabilities = column_texts(_PROBABILITY, [one.probability for one in ordered])
    rows = [
        (one_line(one.row.label), accuracy_text(one.accuracy), text, "yes" if one.on_front else "no", probability)
        for one, text, probability in zip(ordered, paid, probabilities, strict=True)
    ]
    titles = [
        ("config", False),
        ("test accuracy", True),
        (cost.title, True),
        ("on the front", False),
        ("how surely", True),
    ]
    return _grid(f"Test accuracy and {cost.title}", titles, rows, "table.csv")


def _learning_grid(shown: Sequence[ByEpoch]) -> Grid | None:
    rows = []
    for one in shown:
        first, last = one.epochs[0], one.epochs[-1]
        tested = [epoch for epoch in one.epochs if "test.accuracy" in epoch.values]
        best = max(tested, key=lambda epoch: epoch.values["test.accuracy"], default=None)
        rows.append(
            (
                one_line(one.row.label),
                str(last.number),
                _percent(first.values.get("test.accuracy")),
                _percent(last.values.get("test.accuracy")),
                _percent(last.values.get("train.accuracy")),
                _number(last.values.get("test.loss")),
                _number(last.values.get("train.loss")),
                f"{_percent(best.values['test.accuracy'])} ({best.number})" if best else NOTHING,
            )
        )
    titles = [
        "config",
        "epochs",
        "test, first epoch",
        "test, last",
        "train, last",
        "test loss, last",
        "train loss, last",
    ]
    columns = [(title, at > 0) for at, title in enumerate([*titles, "best test (epoch)"])]
    return _grid("Learning curves: accuracy and loss", columns, rows, "table.csv") if rows else None


def _phase_grid(table: Table) -> Grid | None:
    rows = []
    for row in timed(table):
        spent = phase_seconds(row)
        total = sum(spent.values()) or 1.0
        cells = [
            f"{seconds_text(spent[one])} ({spent[one] / total:.0%})" if one in spent else NOTHING for one in PHASES
        ]
        rows.append((one_line(row.label), *cells))
    return _grid("Time of a run", [("config", False), *((one, True) for one in PHASES)], rows, "table.csv")


def _speed_grid(shown: Sequence[ByEpoch]) -> Grid | None:
    rows = []
    for one in shown:
        cells = []
        for name, form in (("samples_per_second", "{:,.0f}"), ("wait_share", "{:.1%}"), ("gpu_watts", "{:.0f} W")):
            values = [epoch.values[name] for epoch in one.epochs if name in epoch.values]
            least, most = (form.format(end(values)) for end in (min, max)) if values else (NOTHING, NOTHING)
            cells.append(f"{least} to {most}" if values and least != most else least)
        rows.append((one_line(one.row.label), *cells))
    columns = [("config", False), ("samples/s", True), ("waited for data", True), ("GPU power", True)]
    return _grid("Least and most of an epoch", columns, rows, "table.csv") if rows else None


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"
