"""The loss landscape along the gradient, while runs train anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import altair

from harness.counted import counted, is_are
from harness.errors import HarnessError
from harness.parameters import PositiveFloat, PositiveInt
from harness.registry import picture
from harness.report.texts import listed
from harness.visualize.charts import colours, finished, names_of, shared_title, table, up, write_numbers
from harness.visualize.landscape import AlongGradient, train_and_measure
from harness.visualize.picture import Picture
from harness.visualize.trained import Trained

WIDTH, HEIGHT = 700, 190
PANELS = {
    "loss": "loss",
    "predictiveness": "gradient difference, l2",
    "smoothness": "effective β-smoothness",
}


@picture("landscape")
def landscape(
    runs: Sequence[Trained],
    *,
    steps: PositiveInt = 200,
    every: PositiveInt = 10,
    step_sizes: tuple[PositiveFloat, ...] = (0.05, 0.1, 0.2, 0.4),
) -> list[Picture]:
    """The loss along the gradient during training: variation of loss and gradient, effective beta-smoothness.

    As figure 4 of "How Does Batch Normalization Help Optimization?" (arXiv 1805.11604) and report 4, figure 10. Each
    run is trained anew from its spec, see `harness.visualize.landscape`; the numbers are written beside the picture
    as `landscape.json`.

    Args:
        steps: optimizer steps to train; a run that has fewer trains all of its own
        every: steps between two measurements
        step_sizes: what the gradient is multiplied by; the greatest is the 0.4 at which the paper stops

    Raises:
        HarnessError: no step size was given, or a training diverged.
    """
    if not step_sizes:
        raise HarnessError("step_sizes is empty", "name some, e.g. --set step_sizes=[0.05,0.4]")
    names = names_of(runs)
    measured: list[list[AlongGradient]] = []
    of_runs: list[dict[str, Any]] = []
    for run in runs:
        try:
            anew = train_and_measure(run.spec, run.splits, step_sizes, steps, every)
        except HarnessError as error:
            raise HarnessError(f"{run.title}: {error.message}", error.hint) from None
        measured.append(anew.measured)
        who = {"run_id": run.result.run_id, "label": run.result.label, "seed": run.result.seed}
        of_runs.append({**who, "steps": anew.steps, "measured": [asdict(each) for each in anew.measured]})
    record = {"every": every, "step_sizes": list(step_sizes), "runs": of_runs}
    write_numbers(runs[0].folder.path, "landscape", record)
    return [_picture(runs, names, measured, step_sizes)]


def _picture(
    runs: Sequence[Trained],
    names: dict[str, str],
    measured: Sequence[Sequence[AlongGradient]],
    step_sizes: Sequence[float],
) -> Picture:
    rows: list[dict[str, Any]] = []
    left_out = 0
    for run, own in zip(runs, measured, strict=True):
        common = {"name": names[run.result.config_id], "run": run.result.run_id}
        for each in own:
            for quantity, line, values in (
                ("loss", each.loss, each.losses),
                ("predictiveness", None, each.predictiveness),
                ("smoothness", each.smoothness, []),
            ):
                known = [value for value in values if math.isfinite(value)]
                left_out += len(values) - len(known)
                if line is not None and not math.isfinite(line):
                    left_out, line = left_out + 1, None
                low, high = (min(known), max(known)) if known else (None, None)
                row = {**common, "step": each.step, "quantity": quantity, "line": line, "low": low, "high": high}
                rows.append(row)
    sizes = ", ".join(f"{size:g}" for size in step_sizes)
    say = [
        f"Bands: least to greatest over {len(step_sizes)} step sizes along the negative gradient ({sizes}).",
        "Line in the first chart: the loss before the step. β: greatest gradient difference / distance moved.",
    ]
    if left_out:
        say.append(f"Left out: {counted(left_out, 'value')} that {is_are(left_out)} not finite.")
    chart = finished(_chart(rows, list(names.values())), f"Loss along the gradient · {shared_title(runs)}", say)
    of = listed(list(names.values()))
    caption = (
        f"Loss landscape along the gradient by training step, after arXiv 1805.11604, of {of}: loss "
        f"(cross entropy, nats), l2 distance between the gradient at the weights and further along it, and effective "
        f"beta-smoothness (ratio of that distance to the distance moved). {' '.join(say)}"
    )
    return Picture("landscape", caption, chart)


def _chart(rows: list[dict[str, Any]], names: list[str]) -> altair.VConcatChart:
    colour = colours(names)
    furthest = max(row["step"] for row in rows)
    panels = []
    for quantity, title in PANELS.items():
        own = [row for row in rows if row["quantity"] == quantity]
        y = up([row[key] for row in own for key in ("line", "low", "high")], title)
        last = quantity == "smoothness"
        axis = altair.Axis(labels=last, ticks=last, grid=False, format=",d")
        x = altair.X("step:Q", title="optimizer step" if last else None, axis=axis)
        x = x.scale(domain=[0, max(furthest, 1)], nice=False)
        base = altair.Chart(table(own)).encode(x=x, color=colour, detail="run:N")
        layers = []
        if quantity != "smoothness":
            low = altair.Y("low:Q", **y)
            layers.append(base.mark_area(opacity=0.3).encode(y=low, y2="high:Q"))
            # Where it was measured; a band of one place between two that were not finite has no area.
            layers.append(base.mark_rule(opacity=0.5, strokeWidth=1.2).encode(y=low, y2="high:Q"))
        if quantity != "predictiveness":
            points = altair.OverlayMarkDef(size=16, filled=True)
            layers.append(base.mark_line(strokeWidth=1.6, point=points).encode(y=altair.Y("line:Q", **y)))
        panels.append(altair.LayerChart(layer=layers, width=WIDTH, height=HEIGHT))
    return altair.vconcat(*panels, spacing=16)
