"""Which classes a trained network takes for which."""

from __future__ import annotations

import zipfile
from typing import Any, Literal

import altair
import numpy as np

from harness.errors import HarnessError
from harness.records.files import open_file
from harness.registry import picture
from harness.report.charts.theme import INK, MUTED
from harness.report.texts import one_line, shortened
from harness.visualize.charts import finished, table
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

SIDE = 620
NUMBERS_UP_TO = 12  # classes whose cells hold a count and a percentage at a readable size
NAMES_UP_TO = 40
SHADES = ["#ffffff", "#c3d5e9", "#4c78a8", "#1b3556"]  # one hue, from white


@picture("confusion")
def confusion(run: Trained, *, split: Literal["test", "validation", "train"] = "test") -> list[Picture]:
    """The confusion matrix after the last epoch: counts, and the share of each true class.

    Args:
        split: whose images; those of `train` are counted while the weights moved, unless the run has evaluate_train

    Raises:
        HarnessError: the run recorded no such matrix.
    """
    counts = recorded(run, split)
    names = run.splits.class_names
    total, right = int(counts.sum()), int(counts.trace())
    how = f"{right:,} of {total:,} {split} images right ({right / max(total, 1):.2%})."
    many = len(names) > NUMBERS_UP_TO
    say = [how, "Colour: share of the true class's images" + ("." if many else "; in each cell its count and share.")]
    if many:
        say.append("Cells without an image are white.")
    chart = finished(_chart(counts, names), f"Confusion · {run.title}", say)
    caption = f"Confusion matrix of {run.title}, {split} split: rows are true classes, columns predictions. {how}"
    return [Picture(f"confusion {split}", caption, chart)]


def recorded(run: Trained, split: str) -> np.ndarray:
    """Returns the counts of the last epoch, int [C, C] (rows: true classes, columns: predictions).

    Raises:
        HarnessError: the run recorded none of that split.
    """
    path = run.folder.path / "predictions.npz"
    try:
        with open_file(path) as file, np.load(file) as arrays:
            there = [name.removeprefix("confusion_") for name in arrays.files if name.startswith("confusion_")]
            if split in there:
                return arrays[f"confusion_{split}"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise HarnessError(f"{path} cannot be read", "run it again, or restore the file") from None
    raise HarnessError(f"{path} has no confusion matrix of the {split} split", f"it has those of {', '.join(there)}")


def _chart(counts: np.ndarray, names: tuple[str, ...]) -> altair.LayerChart:
    classes = len(names)
    sums = counts.sum(1)
    rows: list[dict[str, Any]] = []
    for true, predicted in zip(*np.nonzero(counts if classes > NUMBERS_UP_TO else np.ones_like(counts)), strict=True):
        count = int(counts[true, predicted])
        share = count / sums[true] if sums[true] else 0.0
        text = f"{share:.0%}" if 0.01 <= share < 0.995 or count == 0 else f"{share:.1%}"
        # A count of 0 is left blank: a matrix of a good network would be full of noughts.
        cell = {"x": int(predicted), "y": int(true), "share": float(share)}
        rows.append({**cell, "count": f"{count:,}" if count else "", "percent": text if count else ""})
    scale = altair.Scale(domain=[-0.5, classes - 0.5], nice=False, zero=False)
    down = altair.Scale(domain=[-0.5, classes - 0.5], nice=False, zero=False, reverse=True)
    x = altair.X("left:Q", title="predicted class", scale=scale, axis=_axis(names, -40 if classes > 3 else 0))
    y = altair.Y("top:Q", title="true class", scale=down, axis=_axis(names, 0))
    legend = altair.Legend(format=".0%", title=["share of", "true class"], gradientLength=200)
    # Among very many classes a cell is a dot: even the palest must be seen.
    shades = SHADES if classes <= NUMBERS_UP_TO else SHADES[1:]
    shade = altair.Color("share:Q", scale=altair.Scale(range=shades, interpolate="lab", domain=[0, 1]), legend=legend)
    edges = {"left": "datum.x - 0.5", "right": "datum.x + 0.5", "top": "datum.y - 0.5", "bottom": "datum.y + 0.5"}
    base = altair.Chart(table(rows)).transform_calculate(**edges)
    layers = [base.mark_rect(strokeWidth=0).encode(x=x, x2="right:Q", y=y, y2="bottom:Q", color=shade)]
    if classes <= NUMBERS_UP_TO:
        ink = altair.condition("datum.share > 0.5", altair.value("white"), altair.value(INK))
        at = {"x": altair.X("x:Q", scale=scale), "y": altair.Y("y:Q", scale=down)}
        layers.append(base.mark_text(fontSize=13, dy=-7).encode(**at, text="count:N", color=ink))
        layers.append(base.mark_text(fontSize=10.5, dy=8).encode(**at, text="percent:N", color=ink))
    return altair.LayerChart(layer=layers, width=SIDE, height=SIDE)


def _axis(names: tuple[str, ...], angle: int) -> altair.Axis:
    """Returns an axis with the classes' names, or, of very many, their numbers."""
    common: dict[str, Any] = {"grid": False, "domain": False, "ticks": len(names) > NAMES_UP_TO}
    if len(names) > NAMES_UP_TO:
        step = next(step for step in (5, 10, 20, 50, 100, 200, 500, 1000) if len(names) / step <= 12)
        return altair.Axis(values=list(range(0, len(names), step)), titleColor=MUTED, **common)
    texts = [shortened(one_line(name), 18) for name in names]
    size = 12 if len(names) <= 20 else 10
    return altair.Axis(
        values=list(range(len(names))),
        labelExpr=f"{texts}[datum.value]",
        labelAngle=angle if max(map(len, texts)) > 3 else 0,
        labelFontSize=size,
        **common,
    )
