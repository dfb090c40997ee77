"""Which of a config's columns the chart's colours and shapes stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.charts.theme import GREY, PALETTE
from harness.report.numbers.differences import at
from harness.report.numbers.rows import Row
from harness.report.texts import one_line, shortened
from harness.results.columns import CONFIG_PRIORITY, Column

SHAPES: tuple[str, ...] = ("circle", "square", "triangle-up", "diamond", "cross")
OTHERS = "others"
NO_VALUE = "-"


@dataclass(frozen=True)
class Encoding:
    """A colour for every value of one column, and shapes for those of another that has few."""

    colour_title: str
    colour_path: str
    colours: dict[str, str]
    shape_title: str
    shape_path: str
    shapes: dict[str, str]

    def colour_of(self, row: Row) -> str:
        """Returns the value that decides the row's colour."""
        value = _value(row, self.colour_path)
        return value if value in self.colours else OTHERS

    def shape_of(self, row: Row) -> str:
        """Returns the value that decides the row's shape."""
        return _value(row, self.shape_path) if self.shapes else ""


def encodings(rows: Sequence[Row], columns: Iterable[Column]) -> Encoding:
    """Colours the architectures; with only one, the first thing that differs.

    Shapes take the next that has few values and by which configs of one colour differ.
    """
    titles = {column.name: column.title for column in columns if column.priority == CONFIG_PRIORITY}
    titles = {
        "model.name": "architecture",
        **{path: title for path, title in titles.items() if path != "model.name"},
    }
    counts = {path: Counter(_value(row, path) for row in rows) for path in titles}
    several = [path for path in titles if len(counts[path]) > 1]
    # A parameter of one plug-in only would leave most configs without a value.
    few = [path for path in several if len(counts[path]) <= len(SHAPES) and NO_VALUE not in counts[path]]
    colour = "model.name" if "model.name" in several else next(iter(few), "model.name")
    shape = next((path for path in few if _tells_apart(rows, colour, path)), "")

    values = list(counts[colour])
    if len(values) > len(PALETTE):
        # Those on the front are told apart first, then those with the most configs.
        on_front = {_value(row, colour) for row in rows if row.values["on_front"]}
        values.sort(key=lambda value: (value not in on_front, -counts[colour][value]))
        colours = {**dict(zip(values, PALETTE[:-1], strict=False)), OTHERS: GREY}
    else:
        colours = dict(zip(sorted(values), PALETTE, strict=False))
    shapes = dict(zip(sorted(counts[shape]), SHAPES, strict=False)) if shape else {}
    return Encoding(titles[colour], colour, colours, titles.get(shape, ""), shape, shapes)


def _tells_apart(rows: Sequence[Row], colour: str, path: str) -> bool:
    pairs = {(_value(row, colour), _value(row, path)) for row in rows}
    return len(pairs) > len({of_colour for of_colour, _ in pairs})


def _value(row: Row, path: str) -> str:
    value = row.values.get(path, at(row.runs[0].spec, path))
    return NO_VALUE if value is None else shortened(one_line(str(value)), 28)
