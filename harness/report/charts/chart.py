"""What a chart is: a specification, a caption, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST_ROWS = 100
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


def grid(title: str, columns: str, rows: Sequence[tuple[str, ...]], whole: str) -> Grid:
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
        told = {"field": field, "type": _TYPES[kind], "title": titles.get(field, field)}
        found.append({**told, **({"format": form[0]} if form else {})})
    return found


def layer(data: str, kind: str, encoding: dict[str, Any], where: str = "", **look: Any) -> dict[str, Any]:
    """Returns marks of one kind.

    Args:
        data: the name of the data set.
        where: an expression of what is drawn.
    """
    drawn = {"transform": [{"filter": where}]} if where else {}
    return {"data": {"name": data}, "mark": {"type": kind, **look}, "encoding": encoding, **drawn}


def specification(datasets: dict[str, list[dict[str, Any]]], frame: dict[str, Any], **view: Any) -> dict[str, Any]:
    """Returns the whole specification, in the newest Vega-Lite that vl-convert has.

    Args:
        view: e.g. `layer`, `width` and `height`.
    """
    return {**frame, **view, "datasets": datasets}
