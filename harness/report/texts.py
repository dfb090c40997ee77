"""How values are written where people read them. One column is written with one precision."""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from harness.results.columns import INTERVAL, Column, number
from harness.statistics.intervals import CensoredMedian, Summary

FRONT = "◆"
NOTHING = "-"
LEAST_LABEL = 16
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # reverse the text that follows
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class TextColumn:
    """A column as people read it.

    Attributes:
        name: "label" for the one column whose cells may fold.
        priority: a narrow table keeps the smallest.
        numeric: to be aligned at the right.
    """

    name: str
    title: str
    cells: list[str]
    priority: int = 0
    numeric: bool = False


@dataclass(frozen=True)
class TextTable:
    """A table as people read it: the ranking of a system, what stands below it, or the numbers of a chart.

    Attributes:
        faint: which rows have nothing to tell; empty where all have.
        records: a flat mapping per row, or more of them, for programs; all with the same keys.
    """

    title: str
    columns: tuple[TextColumn, ...]
    faint: tuple[bool, ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells of each row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


def written(column: Column, values: Sequence[Any]) -> TextColumn:
    """Returns a column of the ranking as people read it."""
    numeric = column.kind not in ("text", "flag")
    return TextColumn(column.name, column.title, column_texts(column, values), column.priority or 0, numeric)


def judged(
    question: str,
    found: Sequence[Summary | None],
    verdicts: Sequence[str],
    p: Sequence[float | None],
    states: Sequence[str] = (),
) -> list[TextColumn]:
    """Returns the columns of differences of accuracy, or of ratios of train time: what they are, verdict and p.

    Args:
        question: accuracy or time.
        found: differences as fractions, or logarithms of ratios.
        states: why there is no number; "ok" where there is one.
    """
    pairs = zip(found, p, strict=True)
    known = [one if one is None or (own is not None and one.has_noise) else _alone(one) for one, own in pairs]
    if is_time := question == "time":
        texts = [NOTHING if one is None else _ratio_cell(one) for one in known]
    else:
        texts = column_texts(Column("", "", "percent", over=INTERVAL, signed=True), known)
    cells = [state if state != "ok" else text for state, text in zip(states or ["ok"] * len(found), texts, strict=True)]
    title, priority = ("train time, ratio", 3) if is_time else ("test accuracy, difference", 1)
    columns = [TextColumn(question, title, cells, priority, numeric=True)]
    if any(verdicts):
        p_cells = [NOTHING if one is None else "< 0.001" if one < 0.001 else f"{one:.3f}" for one in p]
        named = [one or NOTHING for one in verdicts]
        columns.append(TextColumn(f"{question}_verdict", f"verdict on {question}", named, priority + 1))
        columns.append(TextColumn(f"{question}_p", f"p, {question}", p_cells, 5, numeric=True))
    return columns


def _alone(found: Summary) -> Summary:
    """Returns a mean without its interval, of which nothing is known."""
    return dataclasses.replace(found, ci95=None)


def _ratio_cell(log_time: Summary) -> str:
    """Returns e.g. `x 1.32 (1.20 to 1.45)`."""
    text = f"x {ratio_text(log_time.mean)}"
    return text if log_time.ci95 is None else f"{text} ({span(ratio_text(log_time.low), ratio_text(log_time.high))})"


def fit(columns: Sequence[TextColumn], width: int, gap: int) -> tuple[list[tuple[TextColumn, int]], int]:
    """Chooses the most important columns that fit, in their usual order, each with its width, and counts the others.

    A column is never cut; only the label may fold, and gets at least two fifths of the width where it needs them.
    Columns of the config come last, as the label usually tells them.
    """
    # A heading may break between words, a cell may not.
    natural = {
        column.name: max(max(map(cell_len, column.title.split()), default=1), *map(cell_len, column.cells), 0)
        for column in columns
    }
    least = min(natural["label"], max(LEAST_LABEL, width * 2 // 5))
    room = width - least
    kept = {"label"}
    for column in sorted(columns, key=lambda column: column.priority):
        if column.name != "label" and (column.priority <= 2 or natural[column.name] + gap <= room):
            kept.add(column.name)
            room -= natural[column.name] + gap
    natural["label"] = max(min(natural["label"], LEAST_LABEL), min(natural["label"], least + room))
    return [(column, natural[column.name]) for column in columns if column.name in kept], len(columns) - len(kept)


def column_texts(column: Column, values: Sequence[Any]) -> list[str]:
    """Returns the cells of one column."""
    if column.name == "on_front":
        return [FRONT if value else "" for value in values]
    decimals = _decimals(column, values)
    return [_cell(column, value, decimals) for value in values]


def span(low: str, high: str) -> str:
    """Returns `91.61 to 92.41 %` from two cells, with their unit once."""
    number_, space, unit = low.partition(" ")
    return f"{number_ if space and high.endswith(f' {unit}') else low} to {high}"


def ratio_of(log_ratio: float) -> float:
    """Returns a ratio from its natural logarithm; infinite where no float is as large."""
    return math.exp(log_ratio) if log_ratio < 700 else math.inf


def ratio_text(log_ratio: float) -> str:
    """Returns a ratio with three digits, or four near 1, from its natural logarithm."""
    ratio = ratio_of(log_ratio)
    if not 0.001 <= ratio < 1e6:  # two seeds can leave any number of zeros
        return f"{ratio:.0e}"
    return f"{ratio:,.{max(0, min(3, 2 - math.floor(math.log10(ratio)) + (0.9 < ratio < 1.1)))}f}"


def one_line(text: str) -> str:
    """Returns the text without line breaks and without characters that would steer a terminal."""
    joined = " ".join(text.split())
    if joined.isprintable():
        return joined
    return "".join(char for char in joined if unicodedata.category(char) != "Cc" and char not in _TURNING)


def shortened(text: str, most: int) -> str:
    """Returns the text, with its middle left out where it is too long: both ends of a label tell it apart."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def without_common_parts(texts: Sequence[str], line: int = 30) -> list[str]:
    """Drops what all labels say, where they are too long for a line and made of parts with commas."""
    parts = [text.split(", ") for text in texts]
    if len(texts) < 2 or max(map(len, texts)) <= line:
        return list(texts)
    common = set(parts[0]).intersection(*parts[1:])
    return [", ".join(one for one in own if one not in common) or text for own, text in zip(parts, texts, strict=True)]


def quoted(label: str) -> str:
    """Returns a label in quotes, as labels hold commas."""
    return f"“{one_line(label)}”"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Returns the names in one line, and how many more there are."""
    shown = ", ".join(one_line(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _decimals(column: Column, values: Sequence[Any]) -> int:
    """Returns as many decimals as give the column's smallest number three digits."""
    if column.kind == "percent":
        return 1 if column.name == "data_wait_share" else 2
    unit = 0.001 if column.kind == "milliseconds" else 1.0
    sizes = [abs(one) / unit for one in map(number, values) if isinstance(one, int | float) and math.isfinite(one)]
    smallest = min((size for size in sizes if size > 0), default=1.0)
    largest = max(sizes, default=1.0) or 1.0
    most = max(4, 1 - math.floor(math.log10(largest)))  # two digits of a column of small numbers
    return min(most, max(0, 2 - math.floor(math.log10(smallest))))


def _cell(column: Column, value: Any, decimals: int) -> str:
    if value is None:
        return NOTHING
    if column.kind == "flag":
        return "yes" if value else "no"
    if column.kind == "text":
        return one_line(str(value)) or NOTHING
    if column.kind == "probability":
        return "< 1 %" if value < 0.005 else "> 99 %" if value >= 0.995 else f"{100 * value:.0f} %"
    if isinstance(value, CensoredMedian) and value.seconds is None:
        return f"> {value.above:,.{decimals}f} s"
    scale, unit = _unit(column, number(value))
    if column.kind in ("count", "bytes", "joules"):
        scaled = number(value) / scale
        whole = scale == 1 or not math.isfinite(scaled)
        text = f"{scaled:,.0f}" if whole else f"{scaled:.{max(0, 2 - math.floor(math.log10(scaled)))}f}"
        return f"{text}{unit}"
    text = f"{number(value) / scale:{'+' if column.signed else ''},.{decimals}f}"
    if column.over == INTERVAL and isinstance(value, Summary) and value.ci95 is not None:
        if value.shows_range and not column.signed:
            text += f" ({_plain(value.least, scale, decimals)} to {_plain(value.most, scale, decimals)})"
        else:
            text += f" ± {_plain(value.ci95, scale, decimals)}"
    return f"{text}{unit}"


def _plain(value: float | None, scale: float, decimals: int) -> str:
    return f"{(value or 0.0) / scale:,.{decimals}f}"


def _unit(column: Column, value: float) -> tuple[float, str]:
    """Returns what one unit is worth, and its name with the space before it."""
    if column.kind == "percent":
        return 0.01, " points" if column.signed else " %"
    if column.kind == "seconds":
        return 1.0, " s"
    if column.kind == "milliseconds":
        return 0.001, " ms"
    if column.kind == "watts":
        return 1.0, " W"
    if column.kind == "bytes":
        return (2.0**30, " GiB") if value >= 2**30 else (2.0**20, " MiB") if value >= 2**20 else (1.0, " B")
    if column.kind in ("count", "joules"):
        scale, prefix = next(((size, prefix) for size, prefix in _PREFIXES if value >= size), (1.0, ""))
        unit = f"{prefix}{'J' if column.kind == 'joules' else ''}"
        return scale, f" {unit}" if unit else ""
    return 1.0, ""
