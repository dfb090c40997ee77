"""Each chart as a table, for those who cannot see it or want its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from harness.durations import duration_text
from harness.report.answer import accuracy_text, seconds_text
from harness.report.charts.accuracy_over_cost import Paying
from harness.report.charts.beside_published import beside_published
from harness.report.charts.curve_lines import MOST_COLOURED, drawn
from harness.report.charts.interactions import interactions
from harness.report.charts.phases import PHASES, phase_seconds, timed
from harness.report.numbers.curves import ByEpoch
from harness.report.page.parts import Grid
from harness.report.tables import Table
from harness.report.texts import NOTHING, Beside, column_texts, one_line
from harness.results.columns import Column
from harness.statistics.intervals import summarise

MOST_ROWS = 100

_PROBABILITY = Column("", "", "probability")


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


def curve_grid(table: Table) -> Grid | None:
    """Returns test accuracies at parts of the longest train time that is drawn."""
    rows = drawn(table)[:MOST_COLOURED]
    if not rows:
        return None
    last = max(curve.seconds[-1] for row in rows for curve in table.curves[row.config_id])
    times = [last * share for share in (0.05, 0.1, 0.25, 0.5, 1.0)]
    cells = []
    for row in rows:
        reached = [[curve.at(time) for curve in table.curves[row.config_id]] for time in times]
        whole = [summarise(own) if None not in own else None for own in reached]
        cells.append((one_line(row.label), *(accuracy_text(one) if one else NOTHING for one in whole)))
    columns = [("config", False), *((f"at {duration_text(float(f'{time:.3g}'))}", True) for time in times)]
    return _grid("Test accuracy at a train time", columns, cells, "curves.svg")


def interaction_grid(table: Table) -> Grid | None:
    """Returns the means that the lines join."""
    chart = interactions(table)
    if chart is None:
        return None
    rows = [
        (panel.title, point["line"], point["x"], f"{point['y']:.4g}", f"{point['low']:.4g} to {point['high']:.4g}")
        for row in chart.rows
        for panel in row
        for point in panel.points
    ]
    titles = [("interaction", False), ("line", False), ("across", False), ("mean", True), ("bar", True)]
    return _grid("Means of the interactions: test accuracy in %, or train time in s", titles, rows, "what_mattered.csv")


def published_grid(table: Table) -> Grid | None:
    """Returns the points."""
    chart = beside_published(table)
    if chart is None:
        return None
    rows = [(point["row"], point["whose"], point["text"], point["verdict"]) for point in chart.points]
    titles = [("number", False), ("whose", False), ("value", True), ("verdict", False)]
    return _grid("Published numbers and ours", titles, rows, "references.csv")


def _grid(title: str, columns: Sequence[tuple[str, bool]], rows: Sequence[tuple[str, ...]], whole: str) -> Grid:
    left = len(rows) - MOST_ROWS
    more = (f"{left:,} more are in {whole}.",) if left > 0 else ()
    titles, numeric = zip(*columns, strict=True)
    return Grid(title, titles, numeric, tuple(rows[:MOST_ROWS]), (), more)


def cost_grid(paying: Sequence[Paying], cost: Column) -> Grid | None:
    """Returns what each config reaches and pays, those on the front first."""
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


def learning_grid(shown: Sequence[ByEpoch]) -> Grid | None:
    """Returns where the curves begin and end."""
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


def phase_grid(table: Table) -> Grid | None:
    """Returns the seconds of each phase."""
    rows = []
    for row in timed(table):
        spent = phase_seconds(row)
        total = sum(spent.values()) or 1.0
        cells = [
            f"{seconds_text(spent[one])} ({spent[one] / total:.0%})" if one in spent else NOTHING for one in PHASES
        ]
        rows.append((one_line(row.label), *cells))
    return _grid("Time of a run", [("config", False), *((one, True) for one in PHASES)], rows, "table.csv")


def speed_grid(shown: Sequence[ByEpoch]) -> Grid | None:
    """Returns the least and the most of each line."""
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
