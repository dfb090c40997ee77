"""How much of what its system can do a run made use of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.counted import counted
from harness.records.calibration import Calibration, Rate
from harness.records.result import RunResult
from harness.spec.settings import value_at
from harness.statistics.intervals import Summary, summarise

# A multiply-accumulate is two operations. The backward pass makes two products for each one of the forward pass, for
# the gradients of weights and of inputs: training is three forward passes (Kaplan et al., arXiv 2001.08361, 2.1).
OPERATIONS_PER_MULTIPLY_ACCUMULATE = 2 * 3


def precision_of(run: RunResult) -> str | None:
    """Returns the precision of a run's products, as calibrations name it."""
    if run.resolved is None:
        return None
    if run.resolved.mixed_precision != "no":
        return run.resolved.mixed_precision.removesuffix("-true")  # the products are the same
    return "tf32" if run.resolved.device == "cuda" and value_at(run.spec, "train.tf32") else "fp32"


def peak_of(run: RunResult, calibration: Calibration | None) -> Rate | None:
    """Returns the calibrated rate of matrix products in the precision that ran, of one GPU or of all CPUs."""
    precision = precision_of(run)
    device = run.resolved.device if run.resolved else None
    if calibration is None or precision is None or calibration.device != device:
        return None
    return calibration.rate(f"matmul.{precision}")


def fraction_of_peak(runs: Sequence[RunResult], calibration: Calibration | None) -> Summary | None:
    """Returns the model FLOPs a second of a config's runs over the calibrated rate of their devices.

    A run has none where a number is missing, and where a part of the network is frozen: how much of the backward pass
    is then left out is not recorded. None where any run has more than 1: then the calibration is wrong for all of them.
    """
    found = [_fraction(run, calibration) for run in runs] if calibration else []
    return None if any(one is not None and one > 1 for one in found) else summarise(found)


def _fraction(run: RunResult, calibration: Calibration | None) -> float | None:
    peak, model, rate = peak_of(run, calibration), run.model, run.throughput.samples_per_second
    if peak is None or rate is None or model is None or model.multiply_accumulates is None:
        return None
    if model.trainable_parameters is not None and model.trainable_parameters < model.parameters:
        return None
    # A process has a GPU of its own; on CPUs the processes of a machine share what was calibrated as one.
    devices = run.num_processes if run.resolved and run.resolved.device == "cuda" else 1
    return OPERATIONS_PER_MULTIPLY_ACCUMULATE * model.multiply_accumulates * rate / peak.median / devices


def peak_notes(runs: Sequence[RunResult], calibration: Calibration | None) -> tuple[str, ...]:
    """Returns what a reader of the column must know: the rates that it is over."""
    if calibration is None:
        return ()
    told = [
        f"{name} {_gigaflops(peak)} GFLOP/s ± {peak.relative_error:.1%}"
        for name, peak in _peaks(runs, calibration)
        if peak
    ]
    if not told:
        return ()
    operations = f"{OPERATIONS_PER_MULTIPLY_ACCUMULATE} x multiply-accumulates x samples/s"
    measured = f"calibrated here on {calibration.measured_at[:10]}"
    note = f"Of peak: {operations} over the rate of matrix products {measured}: {', '.join(told)}."
    return (note, f"Of peak: {disturbed}: too high.") if (disturbed := calibration.disturbed()) else (note,)


def _gigaflops(peak: Rate) -> str:
    rate = peak.median / 1e9
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def no_peak_notes(runs: Sequence[RunResult], calibration: Calibration | None) -> Iterator[str]:
    """Yields why runs on a calibrated system have no peak to be compared with."""
    if calibration is None:
        return
    for name, peak in _peaks(runs, calibration):
        if peak is None:
            yield f"Of peak: no rate to compare with in {name} ({calibration.unavailable.get(name, 'not measured')})."
    if beyond := sum((_fraction(run, calibration) or 0) > 1 for run in runs):
        yield (
            f"Of peak: {counted(beyond, 'run')} {'was' if beyond == 1 else 'were'} faster than the calibrated rate of "
            "matrix products, so the calibration ran on a busy or throttled machine: run `harness calibrate` again."
        )


def _peaks(runs: Sequence[RunResult], calibration: Calibration | None) -> list[tuple[str, Rate | None]]:
    by_precision = {precision_of(run): peak_of(run, calibration) for run in runs}
    return sorted((name, peak) for name, peak in by_precision.items() if name)
