"""What a chart is: a specification, how to read it, and the same as a table; and what all charts are made of."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.charts.theme import GREY, PALETTE, frame
from harness.report.epochs import MOST_COLOURED, best_first
from harness.report.tables import Table
from harness.report.texts import NOTHING, TextColumn, TextTable, one_line, shortened, without_common_parts

Rows = list[dict[str, Any]]
_TYPES = {"Q": "quantitative", "N": "nominal"}
LOG_FROM = 10  # a span of values from which a linear axis would crowd the small ones
MARGIN = 0.06
# Of each kind of number: from what value on a unit is taken, what one of it is worth, and its name.
_UNITS = {
    "milliseconds": ((0.0, 0.001, "ms"),),
    "seconds": ((3600.0, 3600.0, "h"), (300.0, 60.0, "min"), (0.0, 1.0, "s")),
    "joules": ((1e6, 1e6, "MJ"), (1e3, 1e3, "kJ"), (0.0, 1.0, "J")),
    "bytes": ((2.0**30, 2.0**30, "GiB"), (0.0, 2.0**20, "MiB")),
}


@dataclass(frozen=True)
class Chart:
    """A chart of one system.

    Attributes:
        title: of the figure on the page; in the files a title of its own stands in the specification.
        caption: how to read it.
        spec: Vega-Lite.
        numbers: the same as a table.
    """

    title: str
    caption: str
    spec: dict[str, Any]
    numbers: TextTable


def chart(
    table: Table, title: str, said: Sequence[str], datasets: dict[str, Rows], numbers: TextTable, **view: Any
) -> Chart:
    """Returns a chart of one system, in the newest Vega-Lite that vl-convert has.

    Args:
        said: how to read it, in sentences: below the title in the files, beside the figure on the page. Empty ones
            are left out.
        datasets: rows by the name that layers call them by.
        view: what is drawn: e.g. `layer`, `width` and `height`.
    """
    caption = " ".join(filter(None, said))
    subtitle = textwrap.wrap(caption.replace(" %", "\u00a0%"), 100)
    spec = {**frame(f"{one_line(table.suite)} on {table.system}", subtitle), **view, "datasets": datasets}
    return Chart(title, caption, spec, numbers)


def numbers_table(title: str, points: Rows, **titles: str) -> TextTable:
    """Returns points as a table.

    Args:
        titles: of the columns, by the fields that they show.
    """
    columns = []
    for field, name in titles.items():
        values = [point.get(field) for point in points]
        cells = [one if isinstance(one, str) else NOTHING if one is None else f"{one:,.4g}" for one in values]
        columns.append(TextColumn(field, name, cells, numeric=field not in ("config", "label", "split")))
    return TextTable(title, tuple(columns))


def channel(shorthand: str, title: str | None = None, **more: Any) -> dict[str, Any]:
    """Returns the encoding of a field, e.g. `share:Q`; without a title where none is given."""
    field, _, kind = shorthand.partition(":")
    return {"field": field, "type": _TYPES[kind], "title": title, **more}


def tooltip(*shorthands: str, **titles: str) -> list[dict[str, Any]]:
    """Returns what is told of a mark: `FIELD:TYPE:FORMAT`, the format where it has one."""
    found = []
    for text in shorthands:
        field, kind, *form = text.split(":", 2)
        found.append(channel(f"{field}:{kind}", titles.get(field, field), **({"format": form[0]} if form else {})))
    return found


def layer(data: str, kind: str, encoding: dict[str, Any], where: str = "", **look: Any) -> dict[str, Any]:
    """Returns marks of one kind.

    Args:
        data: the name of the data set.
        where: an expression of what is drawn.
    """
    drawn = {"transform": [{"filter": where}]} if where else {}
    return {"data": {"name": data}, "mark": {"type": kind, **look}, "encoding": encoding, **drawn}


def coloured(table: Table) -> dict[str, tuple[str, str]]:
    """Returns name and colour of the configs that have one, by config_id: the same in every chart of the system."""
    rows = best_first(table.rows)[:MOST_COLOURED]
    names = [shortened(text, 40) for text in without_common_parts([one_line(row.label) for row in rows])]
    names = [f"{name} ({at})" if name in names[:at] else name for at, name in enumerate(names)]
    return {row.config_id: own for row, own in zip(rows, zip(names, PALETTE, strict=False), strict=True)}


def config_colour(shown: Sequence[tuple[str, str]], in_grey: int = 0, **legend: Any) -> dict[str, Any]:
    """Returns the colour of the marks of each config, by the field `config`.

    Args:
        shown: name and colour, in the legend's order.
        in_grey: how many configs have no colour: their name is empty.
    """
    names, colours = [name for name, _ in shown], [colour for _, colour in shown]
    title = f"config ({in_grey:,} more in grey)" if in_grey else "config"
    scale = {"domain": [*names, ""], "range": [*colours, GREY]}
    legend = {"symbolType": "stroke", "symbolStrokeWidth": 3, "symbolOpacity": 1, "labelLimit": 260, **legend}
    return channel("config:N", title, scale=scale, legend={"values": names, **legend} if names else None)


@dataclass(frozen=True)
class Axis:
    """An axis in units of its own."""

    title: str
    unit: float
    low: float
    high: float
    logarithmic: bool = False

    def clipped(self, value: float) -> float:
        """Returns a value in units of the axis, or the axis's end where it lies beyond."""
        return min(max(value / self.unit, self.low), self.high)

    def share(self, value: float) -> float:
        """Returns where a value, in units of the axis, lies between its ends: 0 to 1."""
        low, high, at = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return (at - low) / (high - low)

    def channel(self, field: str, **more: Any) -> dict[str, Any]:
        """Returns the encoding of a field, with scale and ticks."""
        scale = {"type": "log" if self.logarithmic else "linear", "domain": [self.low, self.high]}
        ticks: dict[str, Any] = {"tickCount": 6}
        if self.logarithmic:  # Vega's own would rule the whole chart
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = (digit * 10.0**power for power in powers for digit in (1, 2, 5))
            ticks = {"values": [tick for tick in every if self.low <= tick <= self.high], "format": ",~f"}
        return channel(f"{field}:Q", self.title, scale=scale, axis=ticks, **more)


def axis_of(word: str, kind: str, least: float, most: float, *, starts: float | None = None) -> Axis:
    """Returns the axis of times, energies or sizes; logarithmic where they span more than a factor of ten.

    Args:
        least, most: of what is shown.
        starts: where the earliest of it begins, if it is more than points.
    """
    begin = least if starts is None else starts
    logarithmic = begin > 0 and is_wide(least, most)
    middle = math.sqrt(begin * most) if logarithmic else most / 3
    unit, name = next((worth, name) for start, worth, name in _UNITS[kind] if middle >= start)
    title = f"{word[:1].upper()}{word[1:]} ({name}{', log scale' if logarithmic else ''})"
    if logarithmic:
        room = (most / begin) ** MARGIN
        return Axis(title, unit, begin / room / unit, most * room / unit, logarithmic)
    room = MARGIN * max(most - begin, 0.1 * most or 1.0)
    return Axis(title, unit, max(0.0, begin - room) / unit if starts is None else 0.0, (most + room) / unit)


def accuracy_axis(least: float, most: float) -> Axis:
    """Returns the axis of test accuracies, fractions, in percent."""
    room = max(MARGIN * (most - least), 0.001)
    return Axis("Test accuracy (%)", 0.01, max(0.0, 100 * (least - room)), min(100.0, 100 * (most + room)))


def is_wide(low: float, high: float) -> bool:
    """Tells whether a linear axis would press the small values together."""
    return low > 0 and high / low > LOG_FROM
