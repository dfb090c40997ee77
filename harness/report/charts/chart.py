"""What a chart is: a specification, how to read it, and the same as a table; and what all charts are made of."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.charts.labels import without_common_parts
from harness.report.charts.theme import GREY, PALETTE, frame
from harness.report.numbers.curves import MOST_COLOURED, best_first
from harness.report.tables import Table
from harness.report.texts import one_line, shortened

MOST_ROWS = 100
Rows = list[dict[str, Any]]
_TYPES = {"Q": "quantitative", "N": "nominal"}


@dataclass(frozen=True)
class Grid:
    """A plain table.

    Attributes:
        numeric: of each column, whether it is aligned at the right.
        faint: of each row, whether it has nothing to tell.
    """

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    faint: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart of one system.

    Attributes:
        title: of the figure on the page; in the files a title of its own stands in the specification.
        caption: how to read it.
        spec: Vega-Lite.
        grid: the same as a table.
    """

    title: str
    caption: str
    spec: dict[str, Any]
    grid: Grid


def chart(table: Table, title: str, said: Sequence[str], datasets: dict[str, Rows], grid: Grid, **view: Any) -> Chart:
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
    return Chart(title, caption, spec, grid)


def grid(title: str, columns: str, rows: Sequence[tuple[str, ...]], whole: str = "table.csv") -> Grid:
    """Returns a table of a chart's numbers, of `MOST_ROWS` rows at most.

    Args:
        columns: their titles, with bars between; those of numbers begin with `#`.
        whole: the file that has all rows.
    """
    titles = columns.split("|")
    left = len(rows) - MOST_ROWS
    more = (f"{left:,} more are in {whole}.",) if left > 0 else ()
    numeric = tuple(text.startswith("#") for text in titles)
    return Grid(title, tuple(text.lstrip("#") for text in titles), numeric, tuple(rows[:MOST_ROWS]), (), more)


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
    labels = without_common_parts([one_line(row.label) for row in rows])
    return {row.config_id: own for row, own in zip(rows, zip(distinct(labels), PALETTE, strict=False), strict=True)}


def distinct(labels: Sequence[str]) -> list[str]:
    """Returns a short name for each label, no two alike."""
    names = [shortened(text, 40) for text in labels]
    return [f"{name} ({index})" if name in names[:index] else name for index, name in enumerate(names)]


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
