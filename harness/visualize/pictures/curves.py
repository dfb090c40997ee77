"""How runs trained: accuracy, loss and learning rate over the run."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import altair
import numpy as np

from harness.errors import HarnessError
from harness.records.comparable import untimed_by
from harness.records.files import open_file
from harness.registry import picture
from harness.report.texts import listed
from harness.visualize.charts import colours, finished, names_of, shared_title, table, up
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

By = Literal["epoch", "step", "seconds"]
WIDTH = 700
AXES = {"epoch": "epoch", "step": "optimizer step", "seconds": "train time / s"}
DASHES = {"train": [5, 4], "test": [1, 0], "validation": [2, 2]}
SMOOTHED = "train, smoothed"
MOST_RAW_POINTS = 4000  # of each run; beyond, the chart holds more points than pixels


@picture("curves")
def curves(runs: Sequence[Trained], *, by: Literal["epoch", "step", "seconds"] = "epoch") -> list[Picture]:
    """Accuracy, loss and learning rate over the run, of several runs in one chart.

    Train metrics are those of the epoch's own steps, on augmented images and moving weights, unless the runs have
    train.evaluate_train. By step, the train loss is that of each optimizer step.

    Args:
        by: what is on the x axis; seconds are of train time, which evaluation is not part of

    Raises:
        HarnessError: a run recorded no epochs or, by step, no losses; by seconds, the runs are of several systems, or
            one is marked, so that its times are not its own; that of a run which was resumed is.
    """
    systems = sorted({run.result.system_id for run in runs})
    if by == "seconds" and len(systems) > 1:
        message = f"the runs' times are of {len(systems)} systems: {', '.join(systems)}"
        raise HarnessError(message, "draw the runs of one system, or by=epoch")
    for run in runs if by == "seconds" else ():
        if why := untimed_by(run.result, with_resumed=True):
            found = ", ".join(f"{mark} ({reason})" for mark, reason in why.items())
            message = f"run {run.result.run_id} is {found}: its times are not its own"
            raise HarnessError(message, "draw by=epoch")
    names = names_of(runs)
    rows = [row for run in runs for row in _epoch_rows(run, names, by)]
    raw: list[dict[str, Any]] = []
    if by == "step":
        rows = [row for row in rows if (row["quantity"], row["split"]) != ("loss", "train")]
        for run in runs:
            name = {"name": names[run.result.config_id], "run": run.result.run_id}
            own = _step_rows(run, name)
            raw += [row for row in own if row["split"] == "train"]
            rows += [row for row in own if row["split"] == SMOOTHED]
    caption = (
        f"Accuracy (fraction), loss (cross entropy, nats) and learning rate by {AXES[by]} of "
        f"{listed(list(names.values()))}. {_how_to_read(rows, by)}"
    )
    chart = finished(_chart(rows, raw, list(names.values()), by), shared_title(runs), [_how_to_read(rows, by)])
    return [Picture(f"curves by {by}", caption, chart)]


def _epoch_rows(run: Trained, names: dict[str, str], by: By) -> list[dict[str, Any]]:
    """Returns a row for each number of each epoch of the last attempt."""
    events = list(run.folder.epochs().values())
    if not events:
        path = run.folder.path / "events.jsonl"
        raise HarnessError(f"{path} records no epoch of the last attempt", "run it again, or restore the file")
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    for event in events:
        seconds += event["train_seconds"]
        done = event["epoch"] + 1
        x = {"epoch": done, "step": done * run.result.throughput.steps / run.result.epochs, "seconds": seconds}[by]
        common = {"name": names[run.result.config_id], "run": run.result.run_id, "x": x}
        for split, metrics in event["metrics"].items():
            for quantity in ("accuracy", "loss"):
                rows.append({**common, "split": split, "quantity": quantity, "y": metrics[quantity]})
        rows.append({**common, "split": "train", "quantity": "learning rate", "y": event["learning_rate"]})
    return rows


def _step_rows(run: Trained, common: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns rows of the loss of each step, raw (`train`) and smoothed."""
    losses = step_losses(run.folder.path)
    window = max(1, len(losses) // 50)
    smooth = moving_average(losses, window)
    every = -(-len(losses) // MOST_RAW_POINTS)
    rows = []
    for split, values in (("train", losses), (SMOOTHED, smooth)):
        for step in range(0, len(values), every):
            row = {**common, "x": step + 1, "split": split, "quantity": "loss", "y": float(values[step])}
            rows.append(row)
    return rows


def step_losses(folder: Path) -> np.ndarray:
    """Returns the mean train loss of each optimizer step of a run, float [steps].

    Raises:
        HarnessError: the run did not record it.
    """
    path = folder / "losses.npz"
    hint = "draw by=epoch or by=seconds, or run it again: results of older versions have no losses of steps"
    if not path.exists():
        raise HarnessError(f"{path} does not exist", hint)
    try:
        with open_file(path) as file, np.load(file) as arrays:
            return arrays["loss"].astype(np.float64)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile):
        raise HarnessError(f"{path} does not hold the losses of steps", hint) from None


def moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Returns the mean of each value and the `window` - 1 before it, fewer at the beginning; float [N] -> [N]."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (sums[ends] - sums[starts]) / (ends - starts)


def _how_to_read(rows: list[dict[str, Any]], by: By) -> str:
    splits = {row["split"] for row in rows}
    words = ["test solid, train dashed"]
    if "validation" in splits:
        words.append("validation dotted")
    if by == "step":
        words.append("train loss: each step faint, mean of the last 2 % of the steps bold")
    return "; ".join(words).capitalize() + "."


def _chart(rows: list[dict[str, Any]], raw: list[dict[str, Any]], names: list[str], by: By) -> altair.VConcatChart:
    colour = colours(names)
    panels = []
    for quantity, height in (("accuracy", 250), ("loss", 250), ("learning rate", 100)):
        drawn = [row for row in rows if row["quantity"] == quantity]
        faint = raw if quantity == "loss" else []
        format = ".0%" if quantity == "accuracy" else ".4~g"
        last = quantity == "learning rate"
        counted = {} if by == "seconds" else {"format": ",d", "values": _whole_numbers(rows)}
        x_axis = altair.Axis(labels=last, ticks=last, grid=False, **counted)
        x = altair.X("x:Q", title=AXES[by] if last else None, axis=x_axis, scale=_x_scale(rows, raw))
        y = altair.Y("y:Q", **up([row["y"] for row in [*drawn, *faint]], quantity, format, ticks=3 if last else 5))
        panels.append(_panel(drawn, faint, x, y, colour, quantity, height))
    return altair.vconcat(*panels, spacing=14)


def _panel(
    rows: list[dict[str, Any]],
    raw: list[dict[str, Any]],
    x: altair.X,
    y: altair.Y,
    colour: altair.Color,
    quantity: str,
    height: int,
) -> altair.LayerChart:
    layers = []
    if raw:
        base = altair.Chart(table(raw)).encode(x=x, y=y, color=colour, detail="run:N")
        layers.append(base.mark_line(strokeWidth=0.6, opacity=0.3))
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        alone = max(sum(row["run"] == run for row in own) for run in {row["run"] for row in own}) < 12
        points = altair.OverlayMarkDef(size=22, filled=True) if alone else False
        solid = quantity == "learning rate" or split == SMOOTHED
        dash = [1, 0] if solid else DASHES.get(split, [1, 0])
        base = altair.Chart(table(own)).encode(x=x, y=y, color=colour, detail="run:N")
        layers.append(base.mark_line(strokeDash=dash, strokeWidth=1.8, opacity=0.9, point=points))
    return altair.LayerChart(layer=layers, width=WIDTH, height=height)


def _whole_numbers(rows: list[dict[str, Any]]) -> list[int]:
    """Returns at most about ten ticks, all of them whole: there is no epoch 1.5."""
    low, high = math.ceil(min(row["x"] for row in rows)), math.floor(max(row["x"] for row in rows))
    steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= 10)
    return [value for value in range(low, high + 1) if value % step == 0 or high - low < step]


def _x_scale(rows: list[dict[str, Any]], raw: list[dict[str, Any]]) -> altair.Scale:
    places = [row["x"] for row in [*rows, *raw]]
    return altair.Scale(domain=[min(*places, 0) if raw else min(places), max(places)], nice=False, zero=False)
