"""`harness calibrate`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.app import RESULTS, app, print_json, print_text
from harness.cli.options import AsJson, Output


@app.command()
def calibrate(
    output: Output = RESULTS,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Approximate duration of the measurement.")
    ] = 8.0,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of this system, for `fraction_of_peak`."""
    from harness.measure.calibration.calibrate import calibrate as measure
    from harness.records.calibration import as_text

    done = measure(output, seconds)
    if done is None:
        return  # a rank that has nothing to say
    calibration, path = done
    print_json(calibration.model_dump(mode="json")) if as_json else print_text(as_text(calibration))
    sys.stderr.write(f"written to {path}\n")
